"""Ports whose equation is wrong in one place: each is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.activations import sigmoid
from tests.helpers.handmade import FUNCTIONS, Port, explained, weights_of

SIZES = {"cell": "lstm", "N": 3, "T": 6, "D": 2, "M": 4, "K": 5}
KEYS = ("kernel", "recurrent_kernel", "bias")
Arrays = dict[str, np.ndarray]
#: sigmoid of -0.5 and of 0.5.
LIMITS = 1 / (1 + np.exp(0.5)), 1 / (1 + np.exp(-0.5))
#: c_t and h_t from i, f, o and the candidate, before and after its activation, and c_{t-1}.
Rule = Callable[..., tuple[np.ndarray, np.ndarray]]


def lstm(w: Arrays, x: np.ndarray, rule: Rule) -> Arrays:
    """Return h and c (N, T, M) of an LSTM with another rule for the states."""
    h = c = np.zeros((len(x), SIZES["M"]))
    states: dict[str, list[np.ndarray]] = {"h": [], "c": []}
    for t in range(x.shape[1]):
        z = x[:, t] @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
        zi, zf, zg, zo = np.split(z, 4, axis=1)
        c, h = rule(i=sigmoid(zi), f=sigmoid(zf), o=sigmoid(zo), z=zg, g=np.tanh(zg), c=c)
        states["h"].append(h)
        states["c"].append(c)
    return {key: np.stack(values, axis=1) for key, values in states.items()}


def after(c: np.ndarray, o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return c_t and the right h_t."""
    return c, o * np.tanh(c)


def with_peephole(gate: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return a gate whose argument has c as another term."""
    return sigmoid(np.log(gate / (1 - gate)) + c)


RULES: list[tuple[str, Rule]] = [
    ("lstm.c_not_activated", lambda i, f, o, z, g, c: (n := f * c + i * g, o * n)),
    ("lstm.c_before", lambda i, f, o, z, g, c: (f * c + i * g, o * np.tanh(c))),
    ("activation.state", lambda i, f, o, z, g, c: (n := f * c + i * g, o * sigmoid(n))),
    ("activation.candidate", lambda i, f, o, z, g, c: after(f * c + i * z, o)),
    ("activation.candidate", lambda i, f, o, z, g, c: after(f * c + i * sigmoid(z), o)),
    ("lstm.gate_omitted", lambda i, f, o, z, g, c: after(f * c + i * g, np.ones_like(o))),
    ("lstm.gate_omitted", lambda i, f, o, z, g, c: after(f * c + g, o)),
    ("lstm.gate_omitted", lambda i, f, o, z, g, c: after(c + i * g, o)),
    ("lstm.gates_coupled", lambda i, f, o, z, g, c: after((1 - i) * c + i * g, o)),
    ("lstm.gates_coupled", lambda i, f, o, z, g, c: after(f * c + (1 - f) * g, o)),
    ("lstm.forget_complement", lambda i, f, o, z, g, c: after((1 - f) * c + i * g, o)),
    ("lstm.candidate_forgotten", lambda i, f, o, z, g, c: after(f * (c + i * g), o)),
    ("lstm.sum_for_product", lambda i, f, o, z, g, c: after(f * c + i + g, o)),
    ("lstm.sum_for_product", lambda i, f, o, z, g, c: after(f + c + i * g, o)),
    ("lstm.gate_twice", lambda i, f, o, z, g, c: after(f * c + i * i * g, o)),
    (
        "activation.other",
        lambda i, f, o, z, g, c: after((f > 0.5) * c + (i > 0.5) * g, 1.0 * (o > 0.5)),
    ),
    ("lstm.peepholes", lambda i, f, o, z, g, c: after(n := f * c + i * g, with_peephole(o, n))),
    (
        "lstm.peepholes",
        lambda i, f, o, z, g, c: after(
            n := with_peephole(f, c) * c + with_peephole(i, c) * g, with_peephole(o, n)
        ),
    ),
    ("lstm.candidate_subtracted", lambda i, f, o, z, g, c: after(f * c - i * g, o)),
    ("lstm.c_stored_activated", lambda i, f, o, z, g, c: after(np.tanh(f * c + i * g), o)),
    ("lstm.output_activated", lambda i, f, o, z, g, c: (n := f * c + i * g, np.tanh(o * n))),
    ("lstm.gate_omitted", lambda i, f, o, z, g, c: (n := f * c + i * g, n)),
    ("activation.state", lambda i, f, o, z, g, c: (n := f * c + i * g, o * np.maximum(n, 0))),
    ("activation.candidate", lambda i, f, o, z, g, c: after(f * c + i * np.tanh(g), o)),
    ("activation.candidate", lambda i, f, o, z, g, c: after(f * c + i * np.clip(z, -1, 1), o)),
    ("activation.gate", lambda i, f, o, z, g, c: after(f * c + sigmoid(i) * g, o)),
    ("activation.gate", lambda i, f, o, z, g, c: after(np.log(f / (1 - f)) * c + i * g, o)),
    (
        "activation.twice",
        lambda i, f, o, z, g, c: after(sigmoid(f) * c + sigmoid(i) * g, sigmoid(o)),
    ),
    (
        "activation.twice",
        lambda i, f, o, z, g, c: (
            n := sigmoid(f) * c + sigmoid(i) * np.tanh(g),
            sigmoid(o) * np.tanh(np.tanh(n)),
        ),
    ),
]


@pytest.mark.parametrize(("id_", "rule"), RULES, ids=[f"{i}" for i in range(len(RULES))])
def test_wrong_states_of_an_lstm_are_named(id_: str, rule: Rule) -> None:
    golden = rnnshapes.golden(**SIZES).arrays
    w = {key.removeprefix("lstm/"): np.float64(a) for key, a in golden.items() if "lstm/" in key}
    result = rnnshapes.verify(**SIZES, against=lstm(w, np.float64(golden["x"]), rule))
    (explanation,) = result.diagnosis.explanations
    assert [mistake.id for mistake in explanation.mistakes] == [id_]


def test_right_states_of_an_lstm_pass() -> None:
    golden = rnnshapes.golden(**SIZES).arrays
    w = {key.removeprefix("lstm/"): np.float64(a) for key, a in golden.items() if "lstm/" in key}
    port = lstm(w, np.float64(golden["x"]), lambda i, f, o, z, g, c: after(f * c + i * g, o))
    assert rnnshapes.verify(**SIZES, against=port).passed


def gru(w: Arrays, x: np.ndarray, rule: Callable[..., np.ndarray]) -> Arrays:
    """Return h (N, T, M) of a GRU with another rule for h."""
    h, states = np.zeros((len(x), SIZES["M"])), []
    for t in range(x.shape[1]):
        of_x = np.split(x[:, t] @ w["kernel"] + w["bias"][0], 3, axis=1)
        of_h = np.split(h @ w["recurrent_kernel"] + w["bias"][1], 3, axis=1)
        z, r = (sigmoid(one + other) for one, other in zip(of_x[:2], of_h[:2], strict=True))
        h = rule(z=z, r=r, x=of_x[2], u=of_h[2], h=h)
        states.append(h)
    return {"h": np.stack(states, axis=1)}


def mixed(z: np.ndarray, h: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the right h_t."""
    return z * h + (1 - z) * new


GRU_RULES: list[tuple[str, Callable[..., np.ndarray]]] = [
    ("gru.state_omitted", lambda z, r, x, u, h: (1 - z) * np.tanh(x + r * u)),
    ("gru.z_omitted", lambda z, r, x, u, h: h + (1 - z) * np.tanh(x + r * u)),
    ("gru.gate_omitted", lambda z, r, x, u, h: np.tanh(x + r * u)),
    ("state.overwritten", lambda z, r, x, u, h: mixed(z, r * h, np.tanh(x + r * u))),
    ("gru.reset_of_input", lambda z, r, x, u, h: mixed(z, h, np.tanh(r * x + u))),
    ("gru.reset_of_candidate", lambda z, r, x, u, h: mixed(z, h, r * np.tanh(x + u))),
    ("gru.output_activated", lambda z, r, x, u, h: np.tanh(mixed(z, h, np.tanh(x + r * u)))),
    ("gru.complement_omitted", lambda z, r, x, u, h: z * h + z * np.tanh(x + r * u)),
    ("gru.candidate_without_h", lambda z, r, x, u, h: mixed(z, h, np.tanh(x))),
    ("activation.gate", lambda z, r, x, u, h: mixed(z, h, np.tanh(x + sigmoid(r) * u))),
    (
        "activation.clipped",
        lambda z, r, x, u, h: mixed(np.clip(z, *LIMITS), h, np.tanh(x + np.clip(r, *LIMITS) * u)),
    ),
]


@pytest.mark.parametrize(("id_", "rule"), GRU_RULES, ids=[f"{i}" for i in range(len(GRU_RULES))])
def test_wrong_states_of_a_gru_are_named(id_: str, rule: Callable[..., np.ndarray]) -> None:
    sizes = {**SIZES, "cell": "gru"}
    golden = rnnshapes.golden(**sizes).arrays
    w = {key.removeprefix("gru/"): np.float64(a) for key, a in golden.items() if "gru/" in key}
    port = gru(w, np.float64(golden["x"]), rule)
    assert explained(rnnshapes.verify(**sizes, against=port)) == [(id_,)]


def test_h_added_to_its_activation_is_named() -> None:
    sizes = {**SIZES, "cell": "simple"}
    golden = rnnshapes.golden(**sizes).arrays
    w = weights_of(golden, "simple_rnn")
    h = [np.zeros((SIZES["N"], SIZES["M"]))]
    for t in range(SIZES["T"]):
        z = golden["x"][:, t] @ w["kernel"] + h[-1] @ w["recurrent_kernel"] + w["bias"]
        h.append(h[-1] + np.tanh(z))
    result = rnnshapes.verify(**sizes, against={"h": np.stack(h[1:], axis=1).astype("f")})
    assert explained(result) == [("simple.state_added",)]


def test_reset_before_product_without_its_bias_is_named() -> None:
    sizes = {**SIZES, "cell": "gru"}
    golden = rnnshapes.golden(**sizes).arrays
    port = Port("gru", reset_after=False, rows="input")
    h = port.run(weights_of(golden, "gru"), golden["x"])["h"]
    assert explained(rnnshapes.verify(**sizes, against={"h": h})) == [("gru.reset_before",)]


#: Two mistakes at once, one of which at least is rare.
TWO: list[tuple[tuple[str, str], Rule, Callable[[Arrays], Arrays]]] = [
    (
        ("lstm.c_before", "bias.omitted"),
        lambda i, f, o, z, g, c: (f * c + i * g, o * np.tanh(c)),
        lambda w: {**w, "bias": w["bias"] * 0},
    ),
    (
        ("lstm.gate_omitted", "weights.sign_lost"),
        lambda i, f, o, z, g, c: after(f * c + g, o),
        lambda w: {**w, "kernel": np.abs(w["kernel"])},
    ),
    (
        ("activation.candidate", "gates.order"),
        lambda i, f, o, z, g, c: after(f * c + i * z, o),
        lambda w: {
            k: np.concatenate([np.split(a, 4, -1)[n] for n in (0, 1, 3, 2)], -1)
            for k, a in w.items()
        },
    ),
]


@pytest.mark.parametrize("given", ["h", "y_hat"])
@pytest.mark.parametrize(("ids", "rule", "read"), TWO, ids=["-".join(one[0]) for one in TWO])
def test_a_rare_mistake_and_another_are_named(
    ids: tuple[str, str], rule: Rule, read: Callable[[Arrays], Arrays], given: str
) -> None:
    golden = rnnshapes.golden(**SIZES).arrays
    w = {key.removeprefix("lstm/"): np.float64(a) for key, a in golden.items() if "lstm/" in key}
    port = lstm(read(w), np.float64(golden["x"]), rule)
    if given == "y_hat":
        port = {"y_hat": port["h"] @ golden["dense/kernel"] + golden["dense/bias"]}
    found = explained(rnnshapes.verify(**SIZES, against=port))
    assert [sorted(one) for one in found] == [sorted(ids)]


STACK: dict[str, Any] = {"cell": "lstm", "N": 3, "T": 5, "D": 2, "M": [4, 4], "K": 5}


def test_each_layer_has_the_mistake_that_it_makes() -> None:
    """Neither is named for both layers, in one of which the other would undo it."""
    rules: list[Rule] = [
        lambda i, f, o, z, g, c: (n := f * c + i * np.maximum(z, 0), o * np.maximum(n, 0)),
        lambda i, f, o, z, g, c: (n := f * c + i * z, o * n),
    ]
    golden = rnnshapes.golden(**STACK).arrays
    h, names = golden["x"], ("lstm", "lstm_1")
    for name, rule in zip(names, rules, strict=True):
        weights = {key: np.float64(golden[f"{name}/{key}"]) for key in KEYS}
        h = lstm(weights, np.float64(h), rule)["h"]
    y_hat = h @ golden["dense/kernel"] + golden["dense/bias"]
    (explanation,) = rnnshapes.verify(**STACK, against={"y_hat": y_hat}).diagnosis.explanations
    places = {mistake.where.layer: mistake.id for mistake in explanation.mistakes}
    assert places == dict.fromkeys(names, "activation.other")
    texts = {mistake.where.layer: mistake.text for mistake in explanation.mistakes}
    assert "relu" in texts["lstm"]


def _tanh_as_sigmoid(z: np.ndarray) -> np.ndarray:
    return 2 / (1 + np.exp(-2 * z)) - 1


def _tanh_of_exp(z: np.ndarray) -> np.ndarray:
    return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))


def _sigmoid_as_tanh(z: np.ndarray) -> np.ndarray:
    return (1 + np.tanh(z / 2)) / 2


@pytest.mark.parametrize(
    ("option", "function"),
    [
        ("activation", _tanh_as_sigmoid),
        ("activation", _tanh_of_exp),
        ("recurrent_activation", _sigmoid_as_tanh),
    ],
)
def test_each_step_may_have_another_form_of_activation(
    option: str, function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many steps, each from the port's own states, some have a small bound."""
    monkeypatch.setitem(FUNCTIONS, "other", function)
    sizes: dict[str, Any] = {"N": 4, "T": 600, "D": 3, "M": 5, "K": 2, "cell": "lstm"}
    golden = rnnshapes.golden(**sizes, seed=7).arrays
    port = Port("lstm", **{option: "other"}).run(weights_of(golden, "lstm"), golden["x"])
    assert rnnshapes.verify(**sizes, seed=7, against={key: port[key] for key in "hc"}).passed


@pytest.mark.parametrize(
    ("option", "function", "wrong"),
    [
        ("activation", _tanh_as_sigmoid, ""),
        ("activation", _tanh_of_exp, ""),
        ("recurrent_activation", _sigmoid_as_tanh, ""),
        ("activation", lambda z: _tanh_as_sigmoid(-z), "states"),  # of h, the signs cancel
        ("activation", lambda z: _tanh_as_sigmoid(z / 2), "states, y_hat"),
        ("recurrent_activation", lambda z: _sigmoid_as_tanh(2 * z), "states, y_hat"),
    ],
)
@pytest.mark.parametrize("given", ["states", "y_hat"])
def test_an_activation_in_another_form_rounds_more(
    option: str,
    function: Callable[..., Any],
    wrong: str,
    given: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of the first layer is given, so that the second layer's x is computed."""
    monkeypatch.setitem(FUNCTIONS, "other", function)
    sizes: dict[str, Any] = {"N": 3, "T": 12, "D": 5, "M": [6, 7], "K": 4, "cell": "lstm"}
    golden = rnnshapes.golden(**sizes, seed=2).arrays
    port = Port("lstm", **{option: "other"})
    first = port.run(weights_of(golden, "lstm", ""), golden["x"])["h"]
    second = port.run(weights_of(golden, "lstm_1"), first)
    states = {f"lstm_1.{key}": second[key] for key in "hc"}
    against = states if given == "states" else {"y_hat": second["y_hat"]}
    result = rnnshapes.verify(**sizes, seed=2, against=against)
    assert result.passed is (given not in wrong)
    assert result.passed or explained(result) == [("activation.argument",)]
