"""What a small difference looks like that no known mistake explains: smooth, in steps, or noise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.appearance import appearance
from rnnshapes.port.compare import compare_quantities, fully_reported
from rnnshapes.port.hypothesis import Mistake
from tests.helpers.handmade import FUNCTIONS, LAYERS, Port, weights_of
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import hypothesis_of

Array = np.ndarray
SIZES: dict[str, Any] = {"N": 3, "T": 30, "D": 4, "M": 5, "K": 2}
NOISE = np.random.default_rng(3).standard_normal((2, 3, 30, 5))


def states_of(port: Port, **options: Any) -> dict[str, Array]:
    golden = rnnshapes.golden(**{**SIZES, **options}, cell=port.cell).arrays
    found = port.run(weights_of(golden, LAYERS[port.cell], ""), golden["x"])
    return {key: found[key].astype(float) for key in ("h", "c") if key in found}


def looks_of(states: dict[str, Array], **spec: Any) -> tuple[Mistake, ...]:
    return appearance(hypothesis_of(states, **{**SIZES, **spec}), "float32")


def ids(looks: tuple[Mistake, ...]) -> list[str]:
    assert all(one.where.layer for one in looks)
    return [one.id for one in looks]


def numbers_in(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e-\d\d)?", text)]


def plus(states: dict[str, Array], errors: Any) -> dict[str, Array]:
    """Return states with an error each."""
    return {k: a + e for (k, a), e in zip(states.items(), errors, strict=False)}


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
@pytest.mark.parametrize("size", [1e-4, 3e-3])
def test_noise_of_one_size_is_measured(cell: str, size: float) -> None:
    (look,) = looks_of(plus(states_of(Port(cell)), size * NOISE), cell=cell)
    assert (look.id, look.where.layer) == ("numeric.noise", LAYERS[cell])
    (measured,) = numbers_in(look.text)
    assert 0.95 * size < measured < 2 * size  # each step starts from states with noise


def with_peak(states: dict[str, Array]) -> dict[str, Array]:
    noise = 1e-3 * NOISE.copy()
    noise[0, 1, 4, 2] = 0.02
    return plus(states, noise)


def wrong_after_ten_steps(states: dict[str, Array]) -> dict[str, Array]:
    """Return states that are wrong after twenty thousand right numbers."""
    noise = 1e-3 * np.random.default_rng(0).standard_normal((1, 100, 15, 20))
    noise[:, :, :10] = 0.0
    return plus(states, noise)


NEAR_CASES: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda states: plus(states, 0.06 * NOISE)),  # too large
    ({}, with_peak),
    ({"N": 1, "T": 15}, lambda states: plus(states, 1e-3 * NOISE[:, :1, :15])),  # too few
    ({}, lambda states: states),  # right
    ({"N": 100, "M": 20, "T": 15}, wrong_after_ten_steps),
]


@pytest.mark.parametrize(("spec", "change"), NEAR_CASES)
def test_other_errors_are_no_noise(spec: dict[str, Any], change: Any) -> None:
    states = change(states_of(Port("simple"), **spec))
    assert ids(looks_of(states, cell="simple", **spec)) == []


@pytest.mark.parametrize(("share", "expected"), [(0.4, []), (4.0, ["numeric.noise"])])
def test_noise_within_rounding_looks_like_nothing(share: float, expected: list[str]) -> None:
    """Though some numbers are so small that their own bounds are smaller."""
    spec = {**SIZES, "cell": "gru", "activation": "linear"}
    spec["x"] = rnnshapes.golden(**spec).arrays["x"] * np.array([1e-3, 1, 1], "f")[:, None, None]
    right = hypothesis_of({"h": rnnshapes.golden(**spec).arrays["gru.h"]}, **spec)
    (check,) = compare_quantities(right, "float32")
    noise = share * check.bound * np.sign(NOISE[0])
    wrong = right.map_quantities(lambda q: replace(q, values=q.values + noise))
    assert not compare_quantities(wrong, "float32")[0].agrees
    assert ids(appearance(wrong, "float32")) == expected


def test_few_numbers_look_like_nothing() -> None:
    """Any fifteen of them are smooth in z."""
    sizes = {"N": 1, "T": 3}
    states = plus(states_of(Port("gru"), **sizes), 1e-3 * NOISE[:, :1, :3])
    assert looks_of(states, cell="gru", **sizes) == ()


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_infinite_steps_look_like_nothing(cell: str) -> None:
    """The states of a SimpleRNN are infinite, those of a GRU NaN."""
    x = np.full((3, 30, 4), 1e4, "f")
    assert looks_of({"h": NOISE[0]}, cell=cell, activation="exponential", x=x) == ()


def test_stacks_of_cells_look_like_nothing() -> None:
    cells = [la.SimpleRNNCell(5, name="one"), la.GRUCell(4, name="other")]
    rnn = la.RNN(cells, return_sequences=True, name="rnn")
    model = randomized(sequential(rnn, shape=(30, 4)))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays
    states = {key: golden[key].astype(float) for key in ("rnn.h1", "rnn.h2")}
    noisy = {key: a + 1e-3 * NOISE[0, ..., : a.shape[2]] for key, a in states.items()}
    base = hypothesis_of(noisy, model=model, N=3)
    assert [one.name for one in fully_reported(base)] == ["rnn"]
    assert appearance(base, "float32") == ()


def test_other_weights_are_no_noise() -> None:
    golden = rnnshapes.golden(**SIZES, cell="gru").arrays
    weights = weights_of(golden, "gru", "")
    rng = np.random.default_rng(0)
    weights |= {
        k: (a * (1 + 1e-3 * rng.standard_normal(a.shape))).astype("f") for k, a in weights.items()
    }
    h = Port("gru").run(weights, golden["x"])["h"].astype(float)
    assert ids(looks_of({"h": h}, cell="gru")) == []


def test_wrong_bias_is_no_table() -> None:
    """Steps in z would explain so few numbers, too."""
    spec = {"N": 1, "T": 30, "D": 1, "M": 3, "seed": 55, "cell": "gru"}
    golden = rnnshapes.golden(**{**SIZES, **spec}).arrays
    weights = weights_of(golden, "gru", "")
    error = 1e-3 * np.random.default_rng(55).standard_normal(weights["bias"].shape)
    h = Port("gru").run({**weights, "bias": weights["bias"] + error}, golden["x"])["h"]
    assert looks_of({"h": h.astype(float)}, **spec) == ()


def test_noise_in_z_is_no_noise_of_states() -> None:
    """It is smaller in states for which tanh is flat."""
    golden = rnnshapes.golden(**SIZES, cell="simple").arrays
    weights, x = weights_of(golden, "simple_rnn", ""), golden["x"].astype(float)
    h, steps = np.zeros((3, 5)), []
    for t in range(30):
        z = x[:, t] @ weights["kernel"] + h @ weights["recurrent_kernel"] + weights["bias"]
        h = np.tanh(z + 3e-3 * np.sign(NOISE[0, :, t]))
        steps.append(h)
    assert looks_of({"h": np.stack(steps, axis=1)}, cell="simple") == ()


@pytest.mark.parametrize("both", [False, True])
def test_several_recurrences_are_looked_at_apart(both: bool) -> None:
    """A right one looks like nothing; the direction is said."""
    spec = {"cell": "gru", "bidirectional": True}
    golden = rnnshapes.golden(**SIZES, **spec).arrays
    names = [f"bidirectional/{way}_gru.h" for way in ("forward", "backward")]
    states = {name: golden[name].astype(float) for name in names}
    for name, noise in zip(names[0 if both else 1 :], 1e-3 * NOISE, strict=False):
        states[name] = states[name] + noise
    looks = looks_of(states, **spec)
    assert ids(looks) == ["numeric.noise"] * (2 if both else 1)
    assert names[1][:-2] in looks[-1].text


def off_tanh(z: Array) -> Array:
    return np.tanh(z) + 0.02 * np.cos(z)


def off_sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z)) + 0.02 * np.sin(z)


SMOOTH: list[tuple[str, dict[str, Any], str]] = [
    ("simple", {"activation": off_tanh}, "tanh"),
    ("gru", {"recurrent_activation": off_sigmoid}, "sigmoid"),
    ("lstm", {"activation": off_tanh}, "tanh"),
    ("lstm", {"activation": off_tanh, "recurrent_activation": off_sigmoid}, "tanh sigmoid"),
]


@pytest.mark.parametrize(("cell", "functions", "names"), SMOOTH)
@pytest.mark.parametrize("backwards", [False, True])
def test_smooth_errors_of_activations_are_seen(
    cell: str, functions: dict[str, Any], names: str, backwards: bool, monkeypatch: Any
) -> None:
    """In each, or in both of them together, at whichever z it is largest."""
    for option, function in functions.items():
        monkeypatch.setitem(FUNCTIONS, option, function)
    golden = rnnshapes.golden(**SIZES, cell=cell, go_backwards=backwards).arrays
    order = slice(None, None, -1 if backwards else 1)
    port = Port(cell, "float64", **{option: option for option in functions})
    found = port.run(weights_of(golden, LAYERS[cell], ""), golden["x"][:, order])
    states = {key: found[key][:, order] for key in ("h", "c") if key in found}
    (look,) = looks_of(states, cell=cell, go_backwards=backwards)
    assert look.id == "activation.approximated"
    assert [name for name in ("tanh", "sigmoid") if name in look.text] == names.split()


@pytest.mark.parametrize(("error", "small"), [(0.12, True), (0.18, False)])
def test_approximations_are_off_by_little(error: float, small: bool, monkeypatch: Any) -> None:
    """The largest error counts, though only few z have it."""
    monkeypatch.setitem(FUNCTIONS, "own", lambda z: np.tanh(z) - error * np.exp(-((z - 2) ** 2)))
    states = states_of(Port("simple", dtype="float64", activation="own"))
    assert ids(looks_of(states, cell="simple")) == ["activation.approximated"] * small


def test_the_largest_smooth_error_is_measured() -> None:
    (look,) = looks_of(states_of(Port("simple", activation="parabolas")), cell="simple")
    error, z = numbers_in(look.text)
    assert error == pytest.approx(abs(FUNCTIONS["parabolas"](np.float64(z)) - np.tanh(z)), rel=0.2)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_errors_of_both_activations_are_measured(
    cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though each changes the effect of the other."""
    monkeypatch.setitem(FUNCTIONS, "low", lambda z: np.tanh(z) - 0.1)
    monkeypatch.setitem(FUNCTIONS, "high", lambda z: 1 / (1 + np.exp(-z)) + 0.1)
    port = Port(cell, "float64", activation="low", recurrent_activation="high")
    (look,) = looks_of(states_of(port), cell=cell)
    assert numbers_in(look.text)[::2] == pytest.approx([0.1, 0.1], rel=0.03)


def test_smooth_error_at_a_rare_z_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """One number alone is just below -3, and wrong by more."""
    monkeypatch.setitem(FUNCTIONS, "own", off_tanh)
    golden = rnnshapes.golden(**SIZES, cell="simple").arrays
    weights, x = weights_of(golden, "simple_rnn", ""), golden["x"].copy()
    port = Port("simple", "float64", activation="own")
    kernel, before = weights["kernel"][:, 0], port.run(weights, x)["h"][0, -2]
    z = x[0, -1] @ kernel + before @ weights["recurrent_kernel"][:, 0] + weights["bias"][0]
    x[0, -1] += (-3.05 - z) * kernel / (kernel @ kernel)
    h = port.run(weights, x)["h"]
    h[0, -1, 0] += 0.01
    (look,) = looks_of({"h": h}, cell="simple", x=x)
    assert numbers_in(look.text)[0] == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("cell", "per_unit"),
    [("simple", 12.4375), ("simple", 31.0), ("gru", 20.5), ("simple", 3.1), ("simple", 149.0)],
)
def test_tables_have_the_width_of_an_entry(cell: str, per_unit: float, monkeypatch: Any) -> None:
    monkeypatch.setitem(FUNCTIONS, "own", lambda z: np.tanh(np.rint(z * per_unit) / per_unit))
    (look,) = looks_of(states_of(Port(cell, dtype="float64", activation="own")), cell=cell)
    assert look.id == "activation.approximated"
    assert numbers_in(look.text) == [pytest.approx(1 / per_unit, rel=0.01)]
    assert "tanh" in look.text
