"""``verify --against``: ports whose states are right, and whose head is not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.activations import sigmoid, softmax
from tests.helpers.handmade import Arrays, explained
from tests.helpers.models import functional, randomized, sequential

N, T, D, M, K = 4, 9, 3, 5, 4
#: The output of a port from h, the kernel and the bias of the head.
Head = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


ACTIVATIONS = {"linear": lambda z: z, "softmax": softmax, "sigmoid": sigmoid}


@cache
def model_of(activation: str, units: int, bias: float) -> tuple[Any, Arrays]:
    """A model whose first output has a bias more, and the arrays of its golden file."""
    head = la.Dense(units, activation=activation, name="head")
    layers = [la.SimpleRNN(M, return_sequences=True, name="rnn"), head]
    model = randomized(sequential(*layers, shape=(T, D)), seed=2)
    model.set_weights([*model.get_weights()[:-1], head.get_weights()[1] + bias * np.eye(units)[0]])
    return model, rnnshapes.golden(model, N=N).arrays


def ported(
    activation: str, head: Head, *, last: bool = False, units: int = K, bias: float = 0.0
) -> Any:
    """Return the result of a port with another head."""
    model, golden = model_of(activation, units, bias)
    arrays = (golden[name].astype(float) for name in ("rnn.h", "head/kernel", "head/bias"))
    y_hat = head(*arrays).astype("f")
    return rnnshapes.verify(model, N=N, against={"y_hat": y_hat[:, -1] if last else y_hat})


RNG = np.random.default_rng(6)
FACTORS, SHIFTS = RNG.uniform(1.5, 3.0, K), RNG.uniform(1.0, 2.0, K)
OTHER, OTHER_BIAS = RNG.standard_normal((M, K)), RNG.standard_normal(K)
CASES: list[tuple[str, str, str, Head]] = [
    ("head.scaled", "softmax", "percent", lambda h, w, b: 100 * softmax(h @ w + b)),
    ("head.scaled", "linear", "0.7 y - 0.4", lambda h, w, b: 0.7 * (h @ w + b) - 0.4),
    ("head.scaled", "softmax", "temperature", lambda h, w, b: softmax(0.6 * (h @ w + b))),
    ("head.scaled", "sigmoid", "", lambda h, w, b: FACTORS * sigmoid(h @ w + b) - SHIFTS),
    ("head.bias", "softmax", "after", lambda h, w, b: softmax(h @ w) + b),
    ("head.activation", "softmax", "2^z", lambda h, w, b: softmax(np.log(2) * (h @ w + b))),
    ("head.activation", "sigmoid", "-z", lambda h, w, b: 1 - sigmoid(h @ w + b)),
    ("head.activation", "softmax", "from 1", lambda h, w, b: 1 - softmax(h @ w + b)),
    (
        *("head.activation", "softmax", "last unit"),
        lambda h, w, b: (e := np.exp(h @ w + b)) / e[..., :-1].sum(-1, keepdims=True),
    ),
    ("head.clipped", "linear", "[0, 1]", lambda h, w, b: np.clip(h @ w + b, 0, 1)),
    ("head.activation", "linear", "sign", lambda h, w, b: np.abs(h @ w + b)),
    ("sum.not_reset", "softmax", "", lambda h, w, b: softmax(np.cumsum(h @ w + b, -1))),
    ("head.activation", "sigmoid", "2 z", lambda h, w, b: sigmoid(2 * (h @ w + b))),
    ("stack.activated", "softmax", "tanh", lambda h, w, b: softmax(np.tanh(h) @ w + b)),
    ("weights.row_omitted", "linear", "last", lambda h, w, b: h[..., :-1] @ w[:-1] + b),
    ("weights.other", "sigmoid", "(kernel)", lambda h, w, b: sigmoid(h @ (5 * OTHER) + b)),
    ("weights.other", "softmax", "(bias)", lambda h, w, b: softmax(h @ OTHER + OTHER_BIAS)),
    (
        *("weights.permuted", "linear", "2, 0, 4, 1, 3"),
        lambda h, w, b: h @ w[[2, 0, 4, 1, 3]] + b,
    ),
]


@pytest.mark.parametrize(("id_", "activation", "word", "head"), CASES)
def test_a_wrong_head_is_named(id_: str, activation: str, word: str, head: Head) -> None:
    result = ported(activation, head)
    assert explained(result) == [(id_,)]
    assert word in result.diagnosis.explanations[0].text
    assert result.verdict == "failed"


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (lambda z: z, "left out"),
        (softmax, "softmax, not sigmoid"),
        (lambda z: sigmoid(sigmoid(z)), "sigmoid(sigmoid(z))"),
    ],
)
def test_a_wrong_activation_at_each_step_is_named(head: Any, word: str) -> None:
    dense = la.TimeDistributed(la.Dense(K, activation="sigmoid"), name="head")
    layers = [la.GRU(M, return_sequences=True, name="rnn"), dense]
    model = randomized(sequential(*layers, shape=(T, D)), seed=2)
    h = rnnshapes.golden(model, N=N).arrays["rnn.h"]
    kernel, bias = dense.get_weights()
    result = rnnshapes.verify(model, N=N, against={"y_hat": head(h @ kernel + bias).astype("f")})
    assert explained(result) == [("head.activation",)]
    assert word in result.diagnosis.explanations[0].text


def test_some_other_weights_of_a_softmax_are_measured() -> None:
    """A number that is added to all weights of a row changes nothing."""
    changes = np.zeros((M, K))
    changes[1, 2], changes[3, 0] = 0.6, -0.8
    result = ported("softmax", lambda h, w, b: softmax(h @ (w + changes) + b))
    assert explained(result) == [("weights.other",)]
    _, golden = model_of("softmax", K, 0.0)
    percent = 100 / np.linalg.norm(golden["head/kernel"])
    assert f"{percent:.2g} %" in result.diagnosis.explanations[0].text


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_decisions_are_named_if_they_are_enough(activation: str) -> None:
    """Four samples of the last step hold too few bits."""

    def decided(h: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = ACTIVATIONS[activation](h @ w + b)
        return 1.0 * (y == y.max(-1, keepdims=True)) if activation == "softmax" else np.rint(y)

    assert explained(ported(activation, decided)) == [("head.decided",)]
    few = ported(activation, decided, last=True)
    assert explained(few) == []
    assert few.diagnosis.too_few_numbers


def test_constant_decisions_prove_nothing() -> None:
    """The model, too, always decides for the first class."""
    result = ported("softmax", lambda h, w, b: np.tile(np.eye(K)[0], (N, T, 1)), bias=9.0)
    assert explained(result) == []
    assert result.diagnosis.too_few_numbers


def test_decisions_beside_right_states_are_few() -> None:
    """h proves that the cell is right, and says nothing of the head."""
    model, golden = model_of("softmax", K, 0.0)
    port = {"rnn.h": golden["rnn.h"].astype("f"), "y_hat": np.tile(np.eye(K)[1], (N, T, 1))}
    assert explained(rnnshapes.verify(model, N=N, against=port)) == []


@pytest.mark.parametrize(("activation", "number"), [("sigmoid", 0.5), ("softmax", 0.25)])
def test_constant_outputs_prove_nothing(activation: str, number: float) -> None:
    result = ported(activation, lambda h, w, b: np.full((N, T, K), number))
    assert explained(result) == []


@pytest.mark.parametrize(
    "model",
    [
        lambda: sequential(
            la.LSTM(4, return_sequences=True),
            la.TimeDistributed(la.Dense(3, activation="softmax")),
        ),
        lambda: functional(
            lambda x: la.Attention(use_scale=True)([h := la.GRU(4, return_sequences=True)(x), h])
        ),
        lambda: functional(
            lambda x: la.MultiHeadAttention(2, 3)(
                h := la.GRU(4, return_sequences=True)(x), h, return_attention_scores=True
            )[1]
        ),
        lambda: sequential(la.SimpleRNN(3, "relu", return_sequences=True), la.Dense(2)),
    ],
)
def test_noise_is_never_an_error(model: Callable[[], Any]) -> None:
    """Nothing explains it, whatever the head."""
    built = randomized(model())
    if any(isinstance(layer, la.SimpleRNN) for layer in built.layers):  # it diverges
        built.set_weights([20 * array for array in built.get_weights()])
    y_hat = rnnshapes.golden(built, N=2).arrays["y_hat"]
    noise = np.random.default_rng(1).standard_normal(y_hat.shape).astype("f")
    result = rnnshapes.verify(built, N=2, against={"y_hat": noise})
    assert result.verdict == "failed"
    assert explained(result) == []


def test_a_constant_output_is_no_scaled_one() -> None:
    ramp = np.linspace(1.0, 2.0, K)
    result = ported("linear", lambda h, w, b: np.broadcast_to(ramp, (*h.shape[:2], K)))
    assert "head.scaled" not in {id_ for ids in explained(result) for id_ in ids}


def test_factors_of_float64_outputs_are_exact() -> None:
    model, golden = model_of("linear", K, 0.0)
    y_hat = 1.3 * golden["y_hat"].astype("float64")
    result = rnnshapes.verify(model, N=N, against={"y_hat": y_hat})
    assert explained(result) == [("head.scaled",)]
    assert result.dtype == "float64"


def test_two_classes_exchanged_are_not_subtracted() -> None:
    """1 - softmax, and a softmax of -z, have the same numbers."""
    result = ported("softmax", lambda h, w, b: softmax(h @ w + b)[..., ::-1], units=2)
    assert explained(result) == [("axes.units_permuted",)]


def test_embeddings_that_are_scaled_are_named() -> None:
    parts = [la.Embedding(11, 6, name="table"), la.SimpleRNN(M, return_sequences=True, name="rnn")]
    model = randomized(sequential(*parts, shape=(T,), dtype="int32"))
    x = np.random.default_rng(3).integers(0, 11, (N, T))
    table, *weights = (np.asarray(a, float) for a in model.get_weights())
    states = [np.zeros((N, M))]
    for t in range(T):
        z = np.sqrt(6) * table[x[:, t]] @ weights[0] + states[-1] @ weights[1] + weights[2]
        states.append(np.tanh(z))
    h = np.stack(states[1:], axis=1).astype("f")
    assert explained(rnnshapes.verify(model, x=x, against={"h": h})) == [("weights.scaled",)]
