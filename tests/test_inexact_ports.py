"""``verify --against``: inexact ports, their errors, and the tolerance that accepts them."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import (
    FUNCTIONS,
    LAYERS,
    SIZES,
    Arrays,
    Port,
    explained,
    given,
    mentions,
    ported,
    weights_of,
)

LONG = {**SIZES, "T": 16}
Function = Callable[[np.ndarray], np.ndarray]


def quantized(cell: str, what: str, **options: Any) -> Arrays:
    """A port with weights of 8 bits, one scale for each array."""
    golden = rnnshapes.golden(**LONG, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    for name, values in weights.items():
        scale = np.abs(values).max() / 127
        weights[name] = (np.rint(values / scale) * scale).astype("f")
    return given(Port(cell, **options).run(weights, golden["x"]), what)


def of_gates(w: np.ndarray) -> np.ndarray:
    """Integers of 8 bits, with a scale for the block of each gate."""
    blocks = np.split(w, 3, axis=1)
    return np.concatenate([np.rint(b / s) * s for b in blocks if (s := np.abs(b).max() / 127)], 1)


def with_zero_point(w: np.ndarray) -> np.ndarray:
    """Integers from 0 to 255, of which one is 0."""
    low = min(w.min(), 0.0)
    scale = (max(w.max(), 0.0) - low) / 255
    zero = np.rint(-low / scale)
    return (np.clip(np.rint(w / scale) + zero, 0, 255) - zero) * scale


def halved(w: np.ndarray) -> np.ndarray:
    """Integers from -128 to 127, where 127.5 would be the largest number."""
    scale = np.abs(w).max() / 127.5
    return np.clip(np.rint(w / scale), -128, 127) * scale


@pytest.mark.parametrize(
    ("rounded", "what", "word"),
    [
        (of_gates, "last", "each gate"),
        (with_zero_point, "y_hat", "zero point"),
        (halved, "h", "127.5"),
    ],
)
def test_kernels_on_other_grids_are_inexact(
    rounded: Callable[[np.ndarray], np.ndarray], what: str, word: str
) -> None:
    golden = rnnshapes.golden(**SIZES, cell="gru").arrays
    weights = weights_of(golden, "gru")
    for name in ("kernel", "recurrent_kernel"):
        weights[name] = rounded(np.float64(weights[name])).astype("f")
    port = given(Port("gru").run(weights, golden["x"]), what)
    result = rnnshapes.verify(**SIZES, cell="gru", against=port)
    assert explained(result) == [("weights.quantized",)]
    assert mentions(result, word)
    assert result.verdict == "inexact"


@pytest.mark.parametrize("what", ["y_hat", "h"])
def test_inexact_port_has_measured_errors(what: str) -> None:
    """Over the whole run, and as shares of the range of each unit and sample."""
    port = quantized("lstm", what)
    golden = rnnshapes.golden(**LONG, cell="lstm").arrays
    expected = golden["y_hat" if what == "y_hat" else "lstm.h"]
    difference = np.abs(port[what] - expected)
    result = rnnshapes.verify(**LONG, cell="lstm", against=port)
    assert (result.verdict, result.passed) == ("inexact", False)
    record = result.to_dict()
    assert (record["verdict"], record["tolerance"]) == ("inexact", None)
    (check,) = record["checks"]
    error = check["error"]
    ranges = np.maximum(np.ptp(expected, axis=1), np.sqrt(np.mean(expected**2, axis=1)))
    assert error["max_abs"] == pytest.approx(difference.max())
    assert error["relative"] == pytest.approx((difference / ranges[:, None]).max())
    assert error["rms"] == pytest.approx(np.sqrt(np.mean(difference**2)))
    first, last = (np.mean(part**2) for part in (difference[:, :4], difference[:, -4:]))
    assert error["growth"] == pytest.approx(np.sqrt(last / first))


def test_tolerance_is_the_largest_accepted_error(run, in_folder) -> None:
    port = quantized("gru", "h")
    np.savez("port.npz", **port)
    (check,) = rnnshapes.verify(**LONG, cell="gru", against=port).checks
    largest = check.error.relative
    sizes = [part for name, size in LONG.items() for part in (f"--{name}", size)]
    command = ["verify", *sizes, "--cell", "gru", "--against", "port.npz", "--tolerance"]
    done = run(*command, 1.01 * largest)
    assert (done.status, done.out.split()[0]) == (0, "INEXACT")
    done = run(*command, 0.99 * largest, "--format", "csv")
    assert done.status == 1
    assert ["verdict", "false"] in [row[:2] for row in csv.reader(done.out.splitlines())]
    done = run(*command, 1.01 * largest, "--format", "json")
    record = json.loads(done.out)
    assert (record["verdict"], record["passed"], record["tolerance"]) == (
        *("inexact", True),
        1.01 * largest,
    )
    assert not record["checks"][0]["passed"]


@pytest.mark.parametrize("mistake", ["order", "one weight"])
def test_no_tolerance_accepts_a_mistake(mistake: str) -> None:
    """A thousandth on one weight is less than most tolerances."""
    golden = rnnshapes.golden(**SIZES, cell="lstm").arrays
    weights = weights_of(golden, "lstm")
    port = Port("lstm", order=("i", "c", "f", "o"))
    if mistake == "one weight":
        weights["bias"] = weights["bias"] + np.float32(1e-3) * (np.arange(20) == 7)
        port = Port("lstm")
    numbers = given(port.run(weights, golden["x"]), "states")
    result = rnnshapes.verify(**SIZES, cell="lstm", against=numbers, tolerance=1.0)
    assert (result.verdict, result.passed) == ("failed", False)


@pytest.mark.parametrize("wrong", ["sample", "number", "first step agrees"])
def test_tolerance_holds_for_each_sample(wrong: str) -> None:
    """Sample 0 is a thousand times as large as sample 1."""
    sizes: dict[str, Any] = {"M": 6, "K": 3, "cell": "simple", "activation": "relu"}
    x = np.random.default_rng(0).normal(size=(2, 8, 4)).astype("f")
    x[0] *= 1000
    y_hat = rnnshapes.golden(**sizes, x=x).arrays["y_hat"].astype("f")
    if wrong == "sample":
        y_hat[1] = 0
    elif wrong == "number":
        y_hat[0, 4, 1] *= np.float32(1.002)
    else:
        y_hat[:, 1:] *= np.float32(1.001)
    result = rnnshapes.verify(**sizes, x=x, against={"y_hat": y_hat}, tolerance=0.05)
    assert (result.verdict, result.passed) == ("failed", False)


@pytest.mark.parametrize("wrong", [slice(None), (1, 3, 0)])
def test_small_errors_everywhere_are_inexact(wrong: Any) -> None:
    """A single wrong number is none."""
    y_hat = rnnshapes.golden(**SIZES).arrays["y_hat"]
    noise = np.random.default_rng(0).uniform(-1, 1, y_hat.shape)
    port = y_hat.astype("f")
    port[wrong] += (5e-3 * np.ptp(y_hat) * noise)[wrong]
    result = rnnshapes.verify(**SIZES, against={"y_hat": port})
    assert result.verdict == ("inexact" if wrong == slice(None) else "failed")


def test_unfinished_search_accepts_nothing() -> None:
    """Where not everything was tried, or no single weight, a mistake may be left."""
    y_hat = rnnshapes.golden(**LONG).arrays["y_hat"]
    noise = np.random.default_rng(0).uniform(-1, 1, y_hat.shape)
    port = (y_hat + 2e-3 * np.ptp(y_hat) * noise).astype("f")
    result = rnnshapes.verify(**LONG, against={"y_hat": port}, tolerance=0.05)
    assert (result.verdict, result.passed) == ("inexact", True)
    for left_out in ("complete", "weights_tried"):
        less = dataclasses.replace(result.diagnosis, **{left_out: False})
        unfinished = dataclasses.replace(result, diagnosis=less)
        assert (unfinished.verdict, unfinished.passed) == ("failed", False)


def test_one_weight_of_many_is_not_inexact() -> None:
    """Its sign is other, and y_hat differs by little."""
    sizes = {**SIZES, "M": 17}
    golden = rnnshapes.golden(**sizes, cell="lstm").arrays
    weights = weights_of(golden, "lstm")
    weights["kernel"] = weights["kernel"] * np.where(np.arange(68) == 36, -1, 1).astype("f")
    port = given(Port("lstm").run(weights, golden["x"]), "y_hat")
    result = rnnshapes.verify(**sizes, cell="lstm", against=port, tolerance=1.0)
    assert (result.verdict, result.passed) == ("failed", False)


@pytest.mark.parametrize("what", ["states", "y_hat"])
def test_mistake_is_named_beside_quantized_weights(what: str) -> None:
    port = quantized("lstm", what, squashed=False)
    result = rnnshapes.verify(**LONG, cell="lstm", against=port, tolerance=0.2)
    assert explained(result) == [("lstm.c_not_activated", "weights.quantized")]
    assert result.verdict == "failed"


def test_mistake_is_near_beside_unknown_errors() -> None:
    golden = rnnshapes.golden(**LONG, cell="lstm").arrays
    port = Port("lstm", squashed=False).run(weights_of(golden, "lstm"), golden["x"])
    noise = np.random.default_rng(0).uniform(-1, 1, port["y_hat"].shape)
    wrong = np.abs(port["y_hat"] - golden["y_hat"]).max()
    y_hat = (port["y_hat"] + 0.12 * wrong * noise).astype("f")
    result = rnnshapes.verify(**LONG, cell="lstm", against=y_hat, tolerance=1.0)
    assert (result.verdict, result.passed) == ("failed", False)
    (nearest,) = result.to_dict()["nearest"]["mistakes"]
    assert nearest["id"] == "lstm.c_not_activated"


def test_zeros_are_never_accepted() -> None:
    port = {"y_hat": np.zeros((3, 9, 2), "f")}
    assert not rnnshapes.verify(**SIZES, against=port, tolerance=1.0).passed


def test_right_port_agrees_with_any_tolerance() -> None:
    result = rnnshapes.verify(**SIZES, against=given(ported(Port("simple")), "h"), tolerance=0)
    assert (result.verdict, result.passed) == ("agrees", True)


@pytest.mark.parametrize("tolerance", ["-0.1", "nan", "1.01", "inf", "0.5%", ""])
def test_senseless_tolerance_exits_2(tolerance: str, run, in_folder) -> None:
    np.save("port.npy", ported(Port("simple"))["y_hat"])
    done = run("verify", "--against", "port.npy", f"--tolerance={tolerance}")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--tolerance" in done.err


@pytest.mark.parametrize(
    ("cell", "what", "options", "words"),
    [
        ("simple", "h", {"activation": "rational_tanh"}, ["Padé", "2.4e-02", "|z| = 1.6"]),
        ("gru", "y_hat", {"activation": "rational_tanh"}, ["tanh", "Padé"]),
        ("lstm", "last", {"recurrent_activation": "tabled_sigmoid"}, ["sigmoid", "256 entries"]),
        ("gru", "h", {"recurrent_activation": "softsign"}, ["z / (1 + |z|)"]),
        ("lstm", "y_hat", {"recurrent_activation": "schraudolph"}, ["C = 366393"]),
        ("simple", "last", {"activation": "taylor"}, ["degree 5, clipped"]),
    ],
)
def test_approximated_activation_is_named(
    cell: str, what: str, options: dict[str, str], words: list[str]
) -> None:
    port = given(ported(Port(cell, **options)), what)
    result = rnnshapes.verify(**SIZES, cell=cell, against=port)
    assert explained(result) == [("activation.approximated",)]
    assert mentions(result, *words)
    assert result.verdict == "inexact"


def fraction(z: np.ndarray) -> np.ndarray:
    """Return Lambert's continued fraction of tanh, at most 1."""
    z, value = np.clip(z, -4, 4), np.array(9.0)
    for odd in (7, 5, 3, 1):
        value = odd + z * z / value
    return np.clip(z / value, -1, 1)


def cubic(z: np.ndarray) -> np.ndarray:
    s = np.clip(z / 1.5, -1, 1)
    return 1.5 * s - 0.5 * s**3


def three_lines(z: np.ndarray) -> np.ndarray:
    size = np.abs(z)
    lines = [size / 32 + 0.84375, size / 8 + 0.625, size / 4 + 0.5]
    above = np.select([size >= 5, size >= 2.375, size >= 1], [size * 0 + 1, *lines[:2]], lines[2])
    return np.where(z < 0, 1 - above, above)


def from_sigmoid(sigmoid: Function) -> Function:
    """Return 2 sigmoid(2 z) - 1."""
    return lambda z: 2 * sigmoid(2 * z) - 1


def power(n: int) -> Function:
    return from_sigmoid(lambda z: 1 / (1 + (1 - z / n) ** n))


def tabled(entries: int, limit: float, kind: str) -> Function:
    nodes = np.linspace(-limit, limit, entries)
    if kind == "interpolated":
        return lambda z: np.interp(z, nodes, np.tanh(nodes))
    index = np.rint if kind == "nearest" else np.floor
    per_unit = (entries - 1) / (2 * limit)
    return lambda z: np.tanh(nodes)[
        index((np.clip(z, -limit, limit) + limit) * per_unit).astype(int)
    ]


TABLES = [
    *((64, 4, "nearest"), (128, 5, "below"), (256, 6, "interpolated"), (512, 8, "nearest")),
    *((1024, 10, "below"), (2048, 4, "nearest"), (4096, 6, "below"), (64, 8, "interpolated")),
]
FORMS: list[tuple[Function, tuple[str, ...]]] = [
    (fraction, ("5", "4")),
    (cubic, ("1.5", "0.5")),
    (from_sigmoid(three_lines), ("PLAN",)),
    *((power(n), (f"{n})^{n}",)) for n in (64, 128, 256, 512, 1024, 4096)),
    *((tabled(*row), (f" {row[0]} ", f" {row[1]},")) for row in TABLES),
]


@pytest.mark.parametrize(
    ("function", "words"), FORMS, ids=lambda value: "" if callable(value) else "".join(value)
)
def test_each_form_of_tanh_is_named(function: Function, words: Any, monkeypatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "own", lambda z: function(z.astype(float)).astype(z.dtype))
    port = given(ported(Port("simple", activation="own")), "h")
    result = rnnshapes.verify(**SIZES, cell="simple", against=port)
    assert explained(result) == [("activation.approximated",)]
    assert mentions(result, *words)


@pytest.mark.parametrize("unit", [1e-4, 1 / 512])
def test_rounded_numbers_are_named(unit: float) -> None:
    """Together with a mistake of the port, too."""
    for order, ids in (((), ()), (("i", "o", "f", "c"), ("gates.order",))):
        found = given(ported(Port("lstm", order=order)), "states")
        port = {key: (np.rint(values / unit) * unit).astype("f") for key, values in found.items()}
        result = rnnshapes.verify(**SIZES, cell="lstm", against=port)
        assert explained(result) == [("numeric.rounded", *ids)]
        assert result.verdict == ("failed" if order else "inexact")


def test_arithmetic_on_a_grid_has_no_dtype() -> None:
    """Every value is a multiple of 1/256, and wrong by more than that."""
    golden = rnnshapes.golden(**SIZES, cell="simple").arrays
    weights = weights_of(golden, "simple_rnn")
    w = {name: np.rint(array * 256) / 256 for name, array in weights.items()}
    h = [np.zeros((len(golden["x"]), w["bias"].size))]
    for t in range(golden["x"].shape[1]):
        z = golden["x"][:, t] @ w["kernel"] + h[-1] @ w["recurrent_kernel"] + w["bias"]
        h.append(np.rint(np.tanh(np.rint(z * 256) / 256) * 256) / 256)
    port = {"h": np.stack(h[1:], axis=1).astype("f")}
    result = rnnshapes.verify(**SIZES, cell="simple", against=port)
    assert not any(
        id_ in ("numeric.float16", "numeric.bfloat16") for ids in explained(result) for id_ in ids
    )
    assert result.verdict == "inexact"


@pytest.mark.parametrize("columns", [False, True])
def test_quantized_weights_are_named(columns: bool) -> None:
    """With one scale for each array, or for each column; the biases are not quantized."""
    golden = rnnshapes.golden(**LONG, cell="gru").arrays
    weights = weights_of(golden, "gru")
    for key in ("kernel", "recurrent_kernel"):
        scale = np.abs(weights[key]).max(axis=0 if columns else None) / 127
        weights[key] = (np.rint(weights[key] / scale) * scale).astype("f")
    port = given(Port("gru").run(weights, golden["x"]), "h")
    result = rnnshapes.verify(**LONG, cell="gru", against=port)
    assert explained(result) == [("weights.quantized",)]
    assert mentions(result, "int8", "each column" if columns else "each array")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_arithmetic_of_16_bits_is_named(dtype: str) -> None:
    """Of the states alone, whose head is not rounded, and of everything.

    With the dtype that the cure proposes, the port agrees.
    """
    golden = rnnshapes.golden(**SIZES).arrays
    weights = weights_of(golden, "simple_rnn")
    kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16

    def rounded(values: np.ndarray) -> np.ndarray:
        return values.astype(kind).astype("f")

    for short in (lambda values: values, rounded):
        w = {key: short(values) for key, values in weights.items()}
        h, steps = np.zeros((3, 5), "f"), []
        for t in range(9):
            z = short(short(golden["x"][:, t].astype("f")) @ w["kernel"])
            z = short(z + short(h @ w["recurrent_kernel"]) + w["bias"])
            h = rounded(np.tanh(z))
            steps.append(short(h @ w["W"] + w["b"]))
        port = np.stack(steps, 1)
        result = rnnshapes.verify(**SIZES, against=port)
        assert explained(result) == [(f"numeric.{dtype}",)]
        (one,) = result.to_dict()["diagnosis"]
        assert dtype in one["text"]
        assert (one["conventions"] == []) == (short is rounded)
    accepted = one["dtype"]
    assert f"--dtype {accepted}" in one["cure"]
    assert f"--dtype {accepted}" in str(result)
    assert rnnshapes.verify(**SIZES, against=port, dtype=accepted).passed


def looks_of(cell: str, port: Arrays) -> list[tuple[str, str]]:
    """The id and the text of what an unexplained difference looks like."""
    result = rnnshapes.verify(**LONG, cell=cell, against=port)
    assert explained(result) == []
    records = result.to_dict()["diagnosis"]
    assert all(one["ratio"] is None and one["compared"] == 0 for one in records)
    assert "looks" in repr(result) or not records
    return [(one["id"], one["text"]) for one in records]


@pytest.mark.parametrize(
    ("cell", "options", "name", "words"),
    [
        ("gru", {"activation": "parabolas"}, "tanh", ["smooth"]),
        ("simple", {"activation": "tabled"}, "tanh", ["table", "every 0.080"]),
    ],
)
def test_unknown_approximation_looks_like_one(
    cell: str, options: dict[str, str], name: str, words: list[str]
) -> None:
    port = given(ported(Port(cell, **options), **LONG), "states")
    ((id_, text),) = looks_of(cell, port)
    assert id_ == "activation.approximated"
    assert all(word in text for word in [name, *words])


def test_noise_looks_like_noise() -> None:
    """Another x does not."""
    golden = rnnshapes.golden(**LONG, cell="gru").arrays
    noise = 1e-4 * np.random.default_rng(1).standard_normal(golden["gru.h"].shape)
    ((id_, text),) = looks_of("gru", {"h": golden["gru.h"] + noise})
    assert (id_, "1.1e-04" in text) == ("numeric.noise", True)
    x = (golden["x"] + 0.003 * golden["x"] ** 2).astype("f")
    port = Port("gru").run(weights_of(golden, "gru"), x)
    assert looks_of("gru", {"h": port["h"]}) == []
