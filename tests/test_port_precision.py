"""``verify --against``: ports that compute partly in float32, and numbers that were rounded.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Port, explained, mentions, ported, weights_of


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
