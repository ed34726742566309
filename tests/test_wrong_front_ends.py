"""``verify --against``: ports that compute layers before the recurrence wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.handmade import Port, explained, weights_of
from tests.helpers.models import randomized, sequential

N, T, D, F, M, K = 3, 8, 4, 5, 6, 2
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, before: int = 1) -> np.ndarray:
    """Return a Conv1D of 3 steps, of which so many are before the step."""
    padded = np.pad(x, ((0, 0), (before, 2 - before), (0, 0)))
    return bias + sum(padded[:, k : k + T] @ kernel[k] for k in range(3))


def of_pytorch(kernel: np.ndarray) -> np.ndarray:
    """Return a buffer (F, D, k), read as (k, D, F)."""
    return np.ascontiguousarray(kernel.transpose(2, 1, 0)).reshape(kernel.shape)


CASES: list[tuple[str, Callable[..., np.ndarray]]] = [
    ("layer.padding", lambda x, w, b: relu(convolved(x, w, b, before=2))),
    ("layer.activation", convolved),
    ("layer.activation", lambda x, w, b: np.tanh(convolved(x, w, b))),
    ("layer.kernel_reversed", lambda x, w, b: relu(convolved(x, w[::-1], b))),
    ("layout.flat_buffer", lambda x, w, b: relu(convolved(x, of_pytorch(w), b))),
]


def result_of(layer: Any, front_end: Callable[..., np.ndarray]) -> Any:
    """Return the result of a port that computes the first layer so."""
    layers = [layer, la.GRU(M, name="rnn"), la.Dense(K, name="dense")]
    model = randomized(sequential(*layers, shape=(T, D)), seed=3)
    golden = rnnshapes.golden(model, N=N, keras=False).arrays
    features = front_end(golden["x"], *layer.get_weights())
    y_hat = Port("gru").run(weights_of(golden, "rnn"), features)["y_hat"][:, -1]
    return rnnshapes.verify(model, N=N, against={"y_hat": y_hat})


@pytest.mark.parametrize(("id_", "front_end"), CASES)
def test_a_wrong_convolution_is_named(id_: str, front_end: Callable[..., np.ndarray]) -> None:
    layer = la.Conv1D(F, 3, padding="same", activation="relu", name="front")
    assert explained(result_of(layer, front_end)) == [(id_,)]


@pytest.mark.parametrize("factor", [0, 2])
@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_wrong_bias_before_the_recurrence_is_named(kind: str, factor: int) -> None:
    layer = la.Dense(F, activation="tanh", name="front")
    if kind == "convolution":
        layer = la.Conv1D(F, 3, padding="same", activation="tanh", name="front")
    z = convolved if kind == "convolution" else lambda x, w, b: x @ w + b
    result = result_of(layer, lambda x, w, b: np.tanh(z(x, w, b * factor)))
    assert explained(result) == [("layer.bias",)]


@pytest.mark.parametrize(
    ("id_", "read"),
    [
        ("layout.fortran", lambda w: w.reshape(F, D).T),
        ("layout.flat_buffer", lambda w: w.T.reshape(D, F)),
    ],
)
def test_a_misread_kernel_before_the_recurrence_is_named(
    id_: str, read: Callable[[np.ndarray], np.ndarray]
) -> None:
    layer = la.Dense(F, activation="tanh", name="front")
    result = result_of(layer, lambda x, w, b: np.tanh(x @ read(w) + b))
    assert explained(result) == [(id_,)]


def test_a_right_front_end_agrees() -> None:
    layer = la.Conv1D(F, 3, padding="same", activation="relu", name="front")
    assert result_of(layer, lambda x, w, b: relu(convolved(x, w, b))).passed
