"""``verify --against``: ports that compute partly in float32, and numbers that were rounded.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

import math
import re
from typing import Any

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 then
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port import compare
from tests.helpers.handmade import (
    LAYERS,
    SIZES,
    Port,
    explained,
    mentions,
    ported,
    scale_weights,
    weights_of,
)
from tests.helpers.models import randomized, sequential


def partly(cell: str, options: dict[str, Any], error: float = 0.0) -> np.ndarray:
    """y_hat of a port in float64, but for the product of x, which is rounded to float32."""
    golden = rnnshapes.golden(**SIZES, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    made = Port(cell, dtype="float64", **options).run(weights, golden["x"])["y_hat"]
    size = np.abs(made) * 2.0**-24
    return made + size * np.random.default_rng(0).uniform(0.3, 1, made.shape) + error


@pytest.mark.parametrize(
    ("cell", "options", "ids"),
    [
        ("simple", {}, ()),
        ("gru", {}, ()),
        ("simple", {"bias": 0}, ("bias.omitted",)),
        ("simple", {"bias": 0, "reverse": True}, ("bias.omitted", "time.reversed")),
    ],
)
def test_a_partly_float32_port_is_named(cell: str, options: Any, ids: tuple[str, ...]) -> None:
    """It fails as float64, its other mistakes are named, and with dtype float32 it passes."""
    port = partly(cell, options)
    result = rnnshapes.verify(**SIZES, cell=cell, against=port)
    assert result.dtype == "float64"
    assert explained(result) == [(*ids, "numeric.float32")]
    assert result.diagnosis.explanations[0].mixed
    if not ids:
        assert mentions(result, "--dtype float32")
        assert "float32" in repr(result).splitlines()[0]
        assert rnnshapes.verify(**SIZES, cell=cell, against=port, dtype="float32").passed
    assert explained(rnnshapes.verify(**SIZES, cell=cell, against=port, dtype="float64")) == []


def test_an_error_beyond_float32_is_unexplained() -> None:
    """A ten-thousandth is more than rounding does."""
    assert explained(rnnshapes.verify(**SIZES, against=partly("simple", {}, 1e-4))) == []


def test_numbers_that_differ_are_shown_to_differ() -> None:
    """They have at least eight decimals."""
    y_hat = rnnshapes.golden(**SIZES, seed=4).arrays["y_hat"].astype("float64")
    shown = " ".join(repr(rnnshapes.verify(**SIZES, seed=4, against=y_hat + 1e-11)).split())
    one, other = re.findall(r"unit 0: (\S+), expected (\S+)", shown)[0]
    assert one != other
    assert len(one) > len("0.12345678")


@pytest.mark.parametrize("what", ["y_hat", "h"])
@pytest.mark.parametrize(
    ("cell", "options", "id_"),
    [
        ("lstm", {"more_forget": 1}, "bias.forget_again"),
        ("gru", {"rows": "summed"}, "bias.rows_summed"),
    ],
)
def test_a_float64_port_adds_to_biases_in_float64(
    cell: str, options: Any, id_: str, what: str
) -> None:
    """The weights are float32."""
    golden = rnnshapes.golden(**SIZES, cell=cell, seed=5).arrays
    weights = {key: a.astype("float64") for key, a in weights_of(golden, LAYERS[cell]).items()}
    port = Port(cell, dtype="float64", **options).run(weights, golden["x"].astype("float64"))[what]
    result = rnnshapes.verify(**SIZES, cell=cell, seed=5, against={what: port})
    assert result.dtype == "float64"
    assert explained(result) == [(id_,)]


def test_exchanged_axes_have_shapes_and_no_ratio() -> None:
    """Nothing explains them that is not compared: the head plays no part in h."""
    golden = rnnshapes.golden(**SIZES, cell="lstm", seed=4).arrays
    h = golden["lstm.h"].swapaxes(0, 1)
    result = rnnshapes.verify(**SIZES, cell="lstm", seed=4, against=h)
    assert len(explained(result)) == 1
    (check,) = result.to_dict()["checks"]
    assert (check["passed"], check["ratio"], check["max_abs"]) == (False, None, None)
    assert str(h.shape) in check["detail"]
    assert str(golden["lstm.h"].shape) in check["detail"]


def test_a_port_of_zeros_tries_nothing() -> None:
    """No known mistake makes every number 0."""
    result = rnnshapes.verify(**SIZES, against=np.zeros_like(partly("simple", {})))
    assert explained(result) == []
    assert result.diagnosis.tried == 0
    assert "all numbers of the port are 0" in repr(result).splitlines()[0]


@pytest.mark.parametrize("more_forget", [0, 1])
def test_wide_layers_are_compared_in_float16(more_forget: int) -> None:
    """Sums of 320 products in float16 have a bound that the mistake is within."""
    made = ported(Port("lstm", more_forget=more_forget), N=1, T=5, D=16, M=320)
    states = {key: made[key].astype("float16") for key in ("h", "c")}
    result = rnnshapes.verify(cell="lstm", N=1, T=5, D=16, M=320, K=2, against=states)
    assert result.passed == (not more_forget)
    if more_forget:
        assert explained(result) == [("bias.forget_again",)]


def test_zeros_never_agree_in_float16() -> None:
    """Of so many units, numbers below the smallest normal one add up to the size of the states."""
    zeros = np.zeros((1, 2, 1024), "float16")
    sizes = {"cell": "lstm", "N": 1, "T": 2, "D": 3, "M": 1024}
    assert not rnnshapes.verify(**sizes, against={"h": zeros, "c": zeros}).passed


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_16_bits_of_a_number_are_relative(size: float) -> None:
    """Outputs far from 1 are as exact as their own size allows."""
    model = randomized(sequential(la.LSTM(5), la.Dense(2), shape=(6, 3)))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * size, bias * size])
    traced = rnnshapes.trace(model, N=4, keras=False, show="h")
    h, output = traced.layers[0].states["h"].astype("float32"), np.asarray(traced.output)
    for factor in (1.0, 1.2):
        port = {"h": h, "output": (output * factor).astype("float16")}
        assert rnnshapes.verify(model, N=4, against=port).passed == (factor == 1)


def test_a_16_bit_array_widens_no_other() -> None:
    """h and y_hat in float16 are compared as such, and what is in float32 as float32."""
    golden = rnnshapes.golden(**SIZES, cell="lstm").arrays
    weights = weights_of(golden, "lstm")
    right = Port("lstm").run(weights, golden["x"])
    weights["kernel"] = weights["kernel"] + 0.004 * (np.arange(20) == 7)
    wrong = Port("lstm").run(weights, golden["x"])
    for short, made in (("y_hat", right), ("h", right), ("y_hat", wrong)):
        arrays = {key: made[key].astype("float32") for key in ("h", "c", "y_hat")}
        arrays[short] = arrays[short].astype("float16")
        result = rnnshapes.verify(**SIZES, cell="lstm", against=arrays)
        assert result.passed == (made is right)
        assert [c.narrow_dtype for c in result.checks].count("float16") == 1
    assert rnnshapes.verify(**SIZES, cell="lstm", against=arrays, dtype="float16").passed


#: The dtypes of h and y_hat, that of the port, and those of arrays that have one of their own.
DTYPES: list[tuple[str, str, str, tuple[str, str]]] = [
    ("float32", "float32", "float32", ("", "")),
    ("float64", "float64", "float64", ("", "")),
    ("float64", "float32", "float32", ("", "")),
    ("float32", "float64", "float32", ("", "")),
    ("float16", "float16", "float16", ("", "")),
    ("bfloat16", "bfloat16", "bfloat16", ("", "")),
    ("float16", "bfloat16", "float16", ("", "bfloat16")),
    ("float16", "float32", "float32", ("float16", "")),
    ("float64", "bfloat16", "float64", ("", "bfloat16")),
    ("float32 in float64", "float32 in float64", "float32", ("", "")),
    ("float32 in float64", "float64", "float64", ("", "")),
]


@pytest.mark.parametrize(("h", "y_hat", "dtype", "own"), DTYPES)
def test_arrays_tell_the_dtype_of_a_port(h: str, y_hat: str, dtype: str, own: Any) -> None:
    """The coarsest of more than 16 bits, or the finest of 16; float64 that is used."""
    golden = rnnshapes.golden(**SIZES).arrays
    port = {}
    for name, text in (("simple_rnn.h", h), ("y_hat", y_hat)):
        numbers, _, stored = text.partition(" in ")
        port[name] = golden[name].astype(numbers).astype(stored or numbers)
    result = rnnshapes.verify(**SIZES, against=port)
    assert result.dtype == dtype
    assert tuple(check.narrow_dtype for check in result.checks) == own
    stated = rnnshapes.verify(**SIZES, against=port, dtype="bfloat16")
    assert stated.dtype == "bfloat16"
    assert tuple(check.narrow_dtype for check in stated.checks) == ("", "")


# --- What rounding alone does --------------------------------------------------------------------

#: Formulas that subtract numbers which are nearly equal, as ports write them.
CANCELLING = {
    "gelu": lambda z: z / 2 * (1 + np.vectorize(math.erf)(z / math.sqrt(2)).astype(z.dtype)),
    "elu": lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "leaky_relu": lambda z: np.where(z > 0, z, z / 5),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float32") for name in ("gelu", "elu", "softplus")),
        *((name, "float64") for name in ("gelu", "leaky_relu")),
    ],
)
def test_rounding_of_an_activation_agrees(name: str, dtype: str) -> None:
    """Also where the result is tiny, and where Keras rounds a constant to float32."""
    sizes: dict[str, Any] = {"cell": "simple", "N": 30, "T": 1, "D": 3, "M": 8}
    sizes |= {"activation": name, "x": np.random.default_rng(0).normal(0, 5, (30, 1, 3))}
    golden = rnnshapes.golden(**sizes).arrays
    kernel, bias = (golden[f"simple_rnn/{key}"] for key in ("kernel", "bias"))
    z = golden["x"].astype(dtype) @ kernel.astype(dtype) + bias.astype(dtype)
    h = CANCELLING[name](z)
    assert h.dtype == dtype
    for port in (h, h[:, -1]):
        assert rnnshapes.verify(**sizes, against={"h": port}, dtype=dtype).passed
    wrong = h[:, -1] + 1e-4 * np.abs(h).max() * (np.arange(8) == 3)
    assert not rnnshapes.verify(**sizes, against={"h": wrong}, dtype=dtype).passed


def test_one_wrong_number_is_not_carried_over() -> None:
    y_hat = rnnshapes.golden(**SIZES | {"N": 2}).arrays["y_hat"].astype("float32")
    y_hat[1, 3, 0] += 0.1
    result = rnnshapes.verify(**SIZES | {"N": 2}, against=y_hat)
    assert "carried" not in " ".join(location.text for location in result.locations)


def test_a_chaotic_run_proves_little(monkeypatch: Any) -> None:
    """A port that is as near as rounding passes only with its states, or a tolerance."""
    scale_weights(monkeypatch, "simple_rnn", "Wh", 3.0)
    sizes: dict[str, Any] = {"cell": "simple", "N": 1, "T": 30, "D": 3, "M": 16, "K": 1}
    golden = rnnshapes.golden(**sizes).arrays
    made = Port("simple").run(weights_of(golden, "simple_rnn"), golden["x"])
    last = made["y_hat"][:, -1]
    result = rnnshapes.verify(**sizes, against=last)
    assert (result.verdict, result.passed) == ("inexact", False)
    assert (result.checks[0].agrees, result.checks[0].wide) == (True, 1)
    assert result.to_dict()["checks"][0]["wide"] == 1
    assert rnnshapes.verify(**sizes, against=last, tolerance=0.05).passed
    assert rnnshapes.verify(**sizes, against={"h": made["h"], "y_hat": last}).passed


def test_numbers_that_are_all_0_are_compared() -> None:
    """Zeros are right where the network has zeros, and nothing else is."""
    sizes: dict[str, Any] = {"cell": "simple", "N": 2, "T": 3, "D": 6, "M": 4}
    sizes["activation"] = "relu"
    kernel = rnnshapes.golden(**sizes).arrays["simple_rnn/kernel"]
    x = np.tile(-9 * np.ones((2, 1, 4)) @ np.linalg.pinv(kernel), (1, 3, 1))  # no z is above 0
    zeros = np.zeros((2, 3, 4), "float32")
    for h in (zeros, zeros[:, -1]):
        assert rnnshapes.verify(**sizes, x=x, against={"h": h}).passed
        assert not rnnshapes.verify(**sizes, x=x, against={"h": h + np.float32(1e-6)}).passed
        assert not rnnshapes.verify(**sizes, x=-x, against={"h": h}).passed


def test_bound_that_is_small_by_chance_fails_nothing(monkeypatch: Any) -> None:
    """Three random directions do not move every one of 2,000 numbers."""
    monkeypatch.setattr(compare, "DIRECTIONS", 3)
    sizes = {"cell": "lstm", "N": 20, "T": 20, "D": 4, "M": 5}
    golden = rnnshapes.golden(**sizes).arrays
    h = Port("lstm").run(weights_of(golden, "lstm"), golden["x"])["h"]
    assert rnnshapes.verify(**sizes, against={"h": h}).passed
    h[3, 7, 2] += 1e-5
    assert not rnnshapes.verify(**sizes, against={"h": h}).passed


def test_a_large_sample_widens_no_other() -> None:
    layers = [la.LSTM(5, activation="relu", return_sequences=True, name="rnn"), la.Dense(3)]
    model = randomized(sequential(*layers, shape=(12, 2)), seed=3)
    x = np.random.default_rng(0).standard_normal((8, 12, 2)).astype("f")
    x[0] *= 1e5
    y_hat = rnnshapes.golden(model, x=x).arrays["y_hat"].astype("f")
    y_hat[3, 11] += np.float32(1e-3)
    assert not rnnshapes.verify(model, x=x, against={"y_hat": y_hat}).passed
