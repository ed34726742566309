"""Ports whose equation is wrong in one place: each is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import rnnshapes

SIZES = {"cell": "lstm", "N": 3, "T": 6, "D": 2, "M": 4, "K": 5}
Arrays = dict[str, np.ndarray]
#: c_t and h_t from i, f, o and the candidate, before and after its activation, and c_{t-1}.
Rule = Callable[..., tuple[np.ndarray, np.ndarray]]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


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
