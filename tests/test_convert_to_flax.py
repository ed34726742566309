"""Weights of Keras models as parameters of Flax linen, whose equations stand here."""

from __future__ import annotations

from collections.abc import Mapping
from math import erf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import CannotRunError, InputError, UnsupportedError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.weights import draw
from rnnshapes.ops.interface import ACTIVATIONS
from rnnshapes.port.weight_files import flax
from tests.helpers.activations import sigmoid
from tests.helpers.models import randomized, sequential

CELLS = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}
Arrays = Mapping[str, np.ndarray]


def flax_step(cell: str, x: np.ndarray, h: Any, c: Any, p: Arrays) -> tuple[Any, Any]:
    """Return h and c as ``SimpleCell``, ``LSTMCell`` and ``GRUCell`` document them."""

    def dense(name: str, of: np.ndarray) -> np.ndarray:
        return of @ p[f"{name}/kernel"] + p.get(f"{name}/bias", 0)

    if cell == "simple":
        return np.tanh(dense("i", x) + dense("h", h)), c
    if cell == "gru":
        r, z = (sigmoid(dense(f"i{g}", x) + dense(f"h{g}", h)) for g in "rz")
        n = np.tanh(dense("in", x) + r * dense("hn", h))
        return (1 - z) * n + z * h, c
    i, f, g, o = (dense(f"i{gate}", x) + dense(f"h{gate}", h) for gate in "ifgo")
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def flax_states(cell: str, x: np.ndarray, p: Arrays) -> np.ndarray:
    h = c = np.zeros((len(x), p[next(k for k in p if k.startswith("h"))].shape[-1]))
    states = []
    for t in range(x.shape[1]):
        h, c = flax_step(cell, x[:, t], h, c, p)
        states.append(h)
    return np.stack(states, axis=1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_flax_computes_the_same(cell: str, bias: bool, tmp_path: Path) -> None:
    layer = CELLS[cell](5, return_sequences=True, use_bias=bias)
    layers = la.Bidirectional(layer, name="rnn"), la.Dense(2, name="head")
    model = randomized(sequential(*layers, shape=(4, 3)))
    path = tmp_path / "w.npz"
    assert rnnshapes.convert(model, path).passed
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    arrays = {name: array.astype("float64") for name, array in np.load(path).items()}
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    expected = rnnshapes.trace(model, x=x, show="h", keras=False)
    for trace, way in zip(expected.layers, ("forward", "backward"), strict=True):
        prefix = f"rnn/{way}/"
        own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
        step = 1 if way == "forward" else -1
        h = flax_states(cell, x[:, ::step], own)[:, ::step]
        np.testing.assert_allclose(h, trace.states["h"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(arrays["head/kernel"], model.get_layer("head").get_weights()[0])


def test_names_and_shapes_are_those_of_flax(tmp_path: Path) -> None:
    model = randomized(sequential(la.GRU(5, name="rnn"), shape=(4, 3)))
    rnnshapes.convert(model, tmp_path / "w.npz", to="flax")
    shapes = {name: array.shape for name, array in np.load(tmp_path / "w.npz").items()}
    expected = {f"rnn/i{gate}/kernel": (3, 5) for gate in "rzn"}
    expected |= {f"rnn/h{gate}/kernel": (5, 5) for gate in "rzn"}
    expected |= {f"rnn/{name}/bias": (5,) for name in ("ir", "iz", "in", "hn")}
    assert shapes == expected


def test_each_array_of_keras_is_compared(tmp_path: Path) -> None:
    layers = (
        la.Embedding(7, 3, name="words"),
        la.Bidirectional(la.GRU(5, return_sequences=True, name="gru"), name="both"),
        la.LSTM(4, use_bias=False, return_sequences=True, name="rnn"),
        la.BatchNormalization(name="norm"),
        la.SimpleRNN(2, name="plain"),
        la.Dense(6, name="head"),
    )
    path = tmp_path / "w.npz"
    result = rnnshapes.convert(randomized(sequential(*layers, shape=(4,))), path)
    expected: list[tuple[str, list[str], str, int]] = [
        ("words/embeddings", ["words/embedding"], "as it is", 7 * 3)
    ]
    for way in ("forward", "backward"):
        kernels, recurrent = ([f"both/{way}/{k}{g}/kernel" for g in "rzn"] for k in "ih")
        biases = [f"both/{way}/{gate}/bias" for gate in ("ir", "iz", "in", "hn")]
        expected += [
            (f"both/{way}_gru/kernel", kernels, "by gate", 3 * 15),
            (f"both/{way}_gru/recurrent_kernel", recurrent, "by gate", 5 * 15),
            (f"both/{way}_gru/bias", biases, "by gate; rows of z r added", 2 * 15),
        ]
    names = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
    expected += [
        ("rnn/kernel", [f"rnn/i{g}/kernel" for g in "ifgo"], "by gate", 10 * 16),
        ("rnn/recurrent_kernel", [f"rnn/h{g}/kernel" for g in "ifgo"], "by gate", 4 * 16),
        ("rnn/bias", [f"rnn/h{g}/bias" for g in "ifgo"], "zeros", 0),
        *((f"norm/{name}", [f"norm/{new}"], "as it is", 4) for name, new in names.items()),
        ("plain/kernel", ["plain/i/kernel"], "as it is", 4 * 2),
        ("plain/recurrent_kernel", ["plain/h/kernel"], "as it is", 2 * 2),
        ("plain/bias", ["plain/i/bias"], "as it is", 2),
        ("head/kernel", ["head/kernel"], "as it is", 2 * 6),
        ("head/bias", ["head/bias"], "as it is", 6),
    ]
    assert [(c.name, list(c.arrays), c.rule, c.compared) for c in result.checks] == expected
    assert (result.path, result.framework, result.kind) == (str(path), "Flax", ".npz")
    words = ("epsilon", "mean", "both/forward_gru/bias", "both/backward_gru/bias")
    for text, word in zip(result.assumptions, words, strict=True):
        assert word in text


def test_added_rows_and_options_are_said(tmp_path: Path) -> None:
    layers = (
        la.GRU(5, recurrent_activation="hard_sigmoid", return_sequences=True, name="gru"),
        la.LSTM(4, activation="relu", go_backwards=True, name="lstm"),
        la.LayerNormalization(epsilon=0.02, name="norm"),
        la.Reshape((4, 1)),
        la.Conv1D(2, 2, dilation_rate=2, name="conv"),
        la.Bidirectional(
            la.SimpleRNN(3, "leaky_relu"),
            backward_layer=la.SimpleRNN(3, "gelu", go_backwards=True),
            merge_mode="sum",
            name="both",
        ),
    )
    model = randomized(sequential(*layers, shape=(6, 3)))
    said = rnnshapes.convert(model, tmp_path / "w.npz").assumptions
    for words in (
        ("gate_fn=jax.nn.hard_sigmoid", "gru"),
        ("gru/bias", "added"),
        ("activation_fn=jax.nn.relu", "lstm"),
        ("jax.nn.leaky_relu(z, 0.2)", "both/forward"),
        ("approximate=False", "both/backward"),
        ("reverse", "lstm"),
        ("0.02", "norm"),
        ("sum", "both"),
        ("padding", "valid", "conv"),
        ("dilation_rate", "2", "conv"),
    ):
        assert any(all(word in one for word in words) for one in said)
    assert len(said) == 10


def test_only_reversed_directions_are_named(tmp_path: Path) -> None:
    """Here the first direction processes the sequence in reverse, the second does not."""
    ends = [la.GRU(3, go_backwards=way) for way in (True, False)]
    layer = la.Bidirectional(ends[0], backward_layer=ends[1], name="both")
    model = randomized(sequential(layer, shape=(4, 2)))
    said = rnnshapes.convert(model, tmp_path / "w.npz").assumptions
    (text,) = (text for text in said if "reverse" in text)
    assert ["both/forward" in text, "both/backward" in text] == [True, False]


def test_added_rows_agree_up_to_rounding() -> None:
    network = from_sizes(cell="gru")
    weights = draw(network, 3)
    arrays = flax.to_flax(network, weights)
    rows = np.abs(np.split(weights["gru"]["bh"], 3, axis=1)[1].astype("float64")).sum(axis=0)
    for steps, passed in ((0.5, True), (3, False)):
        off = arrays["gru/ir/bias"] + steps * 2.0**-24 * rows
        wrong = {**arrays, "gru/ir/bias": off}
        if passed:
            assert flax.verify_flax(network, weights, wrong, "w.npz").passed
        else:
            with pytest.raises(CannotRunError):
                flax.verify_flax(network, weights, wrong, "w.npz")


@pytest.mark.parametrize("word", ["reset_after", "stack", "PReLU", "hard_shrink", "axis"])
def test_what_flax_lacks_is_refused(word: str, tmp_path: Path) -> None:
    layer = {
        "reset_after": lambda: la.GRU(4, reset_after=False),
        "stack": lambda: la.RNN([la.LSTMCell(4), la.LSTMCell(4)]),
        "PReLU": la.PReLU,
        "axis": lambda: la.LayerNormalization(axis=[1, 2]),
        "hard_shrink": lambda: la.LSTM(4, "hard_shrink"),
    }[word]()
    model = randomized(sequential(layer, la.Dense(2), shape=(4, 3)))
    with pytest.raises(UnsupportedError, match=word):
        rnnshapes.convert(model, tmp_path / "w.npz")
    assert not list(tmp_path.iterdir())


def test_ending_has_to_be_that_of_the_framework(tmp_path: Path) -> None:
    model = randomized(sequential(la.GRU(5), shape=(4, 3)))
    for to, name in (
        ("flax", "w.safetensors"),
        ("torch", "w.npz"),
        (None, "w.bin"),
        ("x", "w.npz"),
    ):
        with pytest.raises(InputError):
            rnnshapes.convert(model, tmp_path / name, to=to)


#: Activations that JAX has under another name, and what it computes for -0.7.
OTHERS = {
    "tanh": np.tanh(-0.7),
    "linear": -0.7,
    "exponential": np.exp(-0.7),
    "gelu": -0.7 * 0.5 * (1 + erf(-0.7 / 2**0.5)),
    "leaky_relu": -0.14,
}


class _Jax:
    """The functions of JAX whose names or constants are not those of Keras."""

    numpy = np

    class nn:  # noqa: N801 - its name in JAX
        @staticmethod
        def gelu(z: float, approximate: bool) -> float:
            return 0.0 if approximate else z * 0.5 * (1 + erf(z / 2**0.5))

        @staticmethod
        def leaky_relu(z: float, slope: float) -> float:
            return z if z > 0 else slope * z


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_jax_has_the_same_activation(name: str) -> None:
    network = from_sizes(cell="lstm", activation=name, recurrent_activation=name)
    weights = draw(network, 3)
    if name.endswith("shrink"):
        with pytest.raises(UnsupportedError, match=name):
            flax.to_flax(network, weights)
        return
    result = flax.verify_flax(network, weights, flax.to_flax(network, weights), "w.npz")
    said = [text.partition("_fn=")[2].rpartition(" in ")[0] for text in result.assumptions]
    assert len(said) == (1 if name in ("tanh", "sigmoid") else 2)
    for text in said:
        if name in OTHERS:
            function = eval(text, {"jax": _Jax})  # noqa: S307 - our own text
            assert function(-0.7) == pytest.approx(OTHERS[name])
        else:
            assert text == f"jax.nn.{ {'softsign': 'soft_sign'}.get(name, name) }"


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_each_wrong_array_is_found(cell: str, bias: bool) -> None:
    network = from_sizes(cell=cell, use_bias=bias, bidirectional=True)
    weights = draw(network, 3)
    arrays = flax.to_flax(network, weights)
    assert flax.verify_flax(network, weights, arrays, "w.npz").passed
    wrong = [{**arrays, name: array + np.float32(1e-5)} for name, array in arrays.items()]
    for each in (*wrong, {**arrays, "more": np.zeros(3)}):
        with pytest.raises(CannotRunError):
            flax.verify_flax(network, weights, each, "w.npz")
