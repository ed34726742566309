"""``verify --against``: arrays and x that a port reads wrongly, in one recurrence or in all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import Arrays, Port, explained, given, scale_weights, weights_of

SIZES = {"N": 3, "T": 9, "D": 3, "M": 6, "K": 2}
LAYERS = {"lstm": "lstm", "gru": "gru", "simple": "simple_rnn"}


def by_block(w: np.ndarray) -> np.ndarray:
    """A recurrent kernel whose rows begin M numbers apart."""
    rows, columns = w.shape
    return np.stack([w.reshape(-1)[m * rows :][:columns] for m in range(rows)])


def wrapped(w: np.ndarray) -> np.ndarray:
    """Fractions of 7 bits that overflow."""
    return (((np.rint(w * 128) + 128) % 256 - 128) / 128).astype("float32")


def short(w: np.ndarray) -> np.ndarray:
    """Rows beyond the third of 0."""
    return np.where(np.arange(len(w))[:, None] < SIZES["D"], w, 0).astype("float32")


def of_gates(w: np.ndarray) -> np.ndarray:
    """A buffer (rows, gates, units) that is read as (gates, rows, units)."""
    rows, columns = w.shape
    return w.reshape(columns // SIZES["M"], rows, SIZES["M"]).swapaxes(0, 1).reshape(w.shape)


def gate_transposed(w: np.ndarray) -> np.ndarray:
    """A recurrent kernel with the block of its second gate transposed."""
    units = len(w)
    return np.concatenate([w[:, :units], w[:, units : 2 * units].T, w[:, 2 * units :]], axis=1)


#: Factors of the rows of a recurrent kernel.
ONE_NEGATIVE = np.where(np.arange(SIZES["M"]) == 2, -1, 1)[:, None].astype("float32")


def cut(w: np.ndarray) -> np.ndarray:
    """The first 16 bits of each number."""
    return (w.astype("f").view("u4") & np.uint32(0xFFFF0000)).view("f")


def other_scale(w: np.ndarray) -> np.ndarray:
    """Integers of 8 bits that are read again with another scale."""
    size = np.abs(w).max()
    return (np.rint(w / size * 127) * size / 128).astype("f")


def power_of_two(w: np.ndarray) -> np.ndarray:
    """Integers of 8 bits times a power of two."""
    scale = 2 ** np.ceil(np.log2(np.abs(w).max() / 127))
    return (np.rint(w / scale) * scale).astype("f")


def below_1(w: np.ndarray) -> np.ndarray:
    return np.clip(w, -1, 1 - 2.0**-7)


def from_smallest(w: np.ndarray) -> np.ndarray:
    """Integers of 8 bits that count from the smallest number."""
    scale = np.ptp(w) / 255
    return (np.rint((w - w.min()) / scale) * scale + w.min()).astype("f")


def truncated(w: np.ndarray) -> np.ndarray:
    return (np.trunc(w * 100) / 100).astype("f")


def pruned(w: np.ndarray) -> np.ndarray:
    return np.where(np.abs(w) < 0.05, 0, w)


def without_end(w: np.ndarray, count: int) -> np.ndarray:
    """An array whose buffer lacks the last numbers."""
    flat = w.reshape(-1).copy()
    flat[-count:] = 0
    return flat.reshape(w.shape)


def of_another_unit(w: np.ndarray) -> np.ndarray:
    """Weights whose forget gate of unit 2 is that of unit 4."""
    w = w.copy()
    w[..., SIZES["M"] + 2] = w[..., SIZES["M"] + 4]
    return w


CASES: list[tuple[str, str, str, str, Callable[[np.ndarray], np.ndarray]]] = [
    ("layout.row_stride", "lstm", "h", "recurrent_kernel", by_block),
    ("weights.row_omitted", "gru", "last", "recurrent_kernel", short),
    ("layout.flat_buffer", "lstm", "h", "kernel recurrent_kernel", of_gates),
    ("layout.flat_buffer", "gru", "last", "kernel", of_gates),
    ("layout.transposed", "gru", "y_hat", "recurrent_kernel", gate_transposed),
    ("weights.scaled", "simple", "last", "recurrent_kernel", lambda w: -w),
    ("weights.scaled", "simple", "y_hat", "recurrent_kernel", lambda w: w * ONE_NEGATIVE),
    ("input.repeated", "simple", "last", "x", lambda x: x[..., [0, 1, 1]]),
    (
        "input.transformed",
        "simple",
        "y_hat",
        "x",
        lambda x: np.diff(x, axis=1, prepend=x[:, :1] * 0),
    ),
    ("input.transformed", "simple", "last", "x", np.abs),
    ("input.overflow", "gru", "last", "x", wrapped),
    ("weights.quantized", "lstm", "last", "kernel recurrent_kernel", other_scale),
    ("weights.quantized", "gru", "y_hat", "kernel recurrent_kernel", power_of_two),
    ("weights.bfloat16", "gru", "last", "kernel recurrent_kernel bias", cut),
    (
        "weights.clipped",
        "lstm",
        "y_hat",
        "kernel recurrent_kernel bias",
        lambda w: w.clip(-0.5, 0.5),
    ),
    ("weights.clipped", "simple", "last", "recurrent_kernel kernel bias", below_1),
    ("weights.quantized", "lstm", "last", "kernel recurrent_kernel", from_smallest),
    ("weights.quantized", "gru", "y_hat", "kernel recurrent_kernel bias", truncated),
    ("weights.pruned", "lstm", "last", "kernel recurrent_kernel", pruned),
    ("weights.buffer_short", "gru", "y_hat", "recurrent_kernel", lambda w: without_end(w, 9)),
    ("weights.permuted", "lstm", "last", "kernel recurrent_kernel bias", of_another_unit),
    ("input.first_repeated", "simple", "h", "x", lambda x: np.repeat(x[..., :1], 3, 2)),
]


@pytest.mark.parametrize(("id_", "cell", "what", "names", "read"), CASES)
def test_arrays_that_are_misread_are_named(
    id_: str, cell: str, what: str, names: str, read: Callable[[np.ndarray], np.ndarray]
) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell, seed=5).arrays
    arrays: Arrays = {**weights_of(golden, LAYERS[cell]), "x": golden["x"]}
    arrays |= {name: read(arrays[name]) for name in names.split()}
    found = Port(cell).run(arrays, arrays["x"])
    result = rnnshapes.verify(**SIZES, cell=cell, seed=5, against=given(found, what))
    assert explained(result) == [(id_,)]


@pytest.mark.parametrize(
    "read", [("kernel",), ("recurrent_kernel",), ("kernel", "recurrent_kernel")]
)
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_the_scale_of_another_array_is_named(cell: str, read: tuple[str, ...]) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell, seed=5).arrays
    arrays = weights_of(golden, LAYERS[cell])
    sizes = {name: np.abs(arrays[name]).max() for name in ("kernel", "recurrent_kernel")}
    for name, size in sizes.items():
        other = sum(sizes.values()) - size if name in read else size
        arrays[name] = (np.rint(arrays[name] / size * 127) * other / 127).astype("f")
    found = Port(cell).run(arrays, golden["x"])
    result = rnnshapes.verify(**SIZES, cell=cell, seed=5, against=given(found, "y_hat"))
    assert explained(result) == [("weights.other_scale",)]


@pytest.mark.parametrize("what", ["h", "y_hat", "last"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_too_long_a_loop_over_x_is_named(cell: str, what: str) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell, seed=5).arrays
    n, t, d, m = (SIZES[name] for name in "NTDM")
    buffer = np.concatenate([golden["x"].reshape(-1), np.zeros(m, "f")])
    x = np.stack([buffer[step * d :][:m] for step in range(n * t)]).reshape(n, t, m)
    arrays = weights_of(golden, LAYERS[cell])
    arrays["kernel"] = np.concatenate([arrays["kernel"], arrays["recurrent_kernel"][: m - d]])
    found = Port(cell).run(arrays, x)
    result = rnnshapes.verify(**SIZES, cell=cell, seed=5, against=given(found, what))
    assert explained(result) == [("input.overrun",)]


def test_weights_below_1_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are rounded alone."""
    golden = rnnshapes.golden(**SIZES, cell="simple", seed=5).arrays
    factors = {n: 0.9 / np.abs(a).max() for n, a in weights_of(golden, "simple_rnn").items()}
    keys = {"kernel": "Wx", "recurrent_kernel": "Wh", "bias": "bh"}
    for name, key in keys.items():
        scale_weights(monkeypatch, "simple_rnn", key, min(1.0, factors[name]))
    golden = rnnshapes.golden(**SIZES, cell="simple", seed=5).arrays
    weights = weights_of(golden, "simple_rnn")
    assert max(np.abs(weights[name]).max() for name in keys) < 1
    rounded = {n: (np.rint(weights[n] * 128) / 128).astype("f") for n in keys}
    port = given(Port("simple").run({**weights, **rounded}, golden["x"]), "y_hat")
    result = rnnshapes.verify(**SIZES, cell="simple", seed=5, against=port)
    assert explained(result) == [("weights.quantized",)]


@pytest.mark.parametrize("cell", ["simple", "lstm"])
def test_kernels_stacked_for_h_before_x_are_named(cell: str) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell, seed=5).arrays
    weights = weights_of(golden, LAYERS[cell])
    rows = np.concatenate([weights["kernel"], weights["recurrent_kernel"]])
    weights |= {"recurrent_kernel": rows[: SIZES["M"]], "kernel": rows[SIZES["M"] :]}
    port = given(Port(cell).run(weights, golden["x"]), "last")
    result = rnnshapes.verify(**SIZES, cell=cell, seed=5, against=port)
    assert explained(result) == [("layout.concatenation",)]


def test_weights_that_overflow_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scale_weights(monkeypatch, "simple_rnn", "Wx", 3.0)
    golden = rnnshapes.golden(**SIZES, cell="simple", seed=5).arrays
    weights = {n: wrapped(a) for n, a in weights_of(golden, "simple_rnn").items()}
    port = given(Port("simple").run(weights, golden["x"]), "last")
    result = rnnshapes.verify(**SIZES, cell="simple", seed=5, against=port)
    assert explained(result) == [("weights.overflow",)]


def test_one_array_of_another_layer_is_named() -> None:
    sizes = {**SIZES, "cell": "gru", "M": [6, 6]}
    golden = rnnshapes.golden(**sizes, seed=5).arrays
    h = Port("gru").run(weights_of(golden, "gru"), golden["x"])["h"]
    weights = {**weights_of(golden, "gru_1"), "bias": golden["gru/bias"]}
    port = given(Port("gru").run(weights, h), "y_hat")
    assert explained(rnnshapes.verify(**sizes, seed=5, against=port)) == [("stack.shared_weights",)]


def test_any_order_of_few_features_is_named() -> None:
    """The steps are too few to recover the weights of a GRU."""
    sizes = {**SIZES, "D": 4, "T": 6, "cell": "gru"}
    golden = rnnshapes.golden(**sizes, seed=5).arrays
    found = Port("gru").run(weights_of(golden, "gru"), golden["x"][..., [2, 3, 1, 0]])
    result = rnnshapes.verify(**sizes, seed=5, against=given(found, "h"))
    assert explained(result) == [("input.permuted",)]


def test_a_sample_left_out_is_no_second_mistake() -> None:
    """What is left agrees with weights of 0, as each sample does."""
    sizes: dict[str, Any] = {**SIZES, "K": 5, "cell": "gru", "seed": 5}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "gru")
    small = {name: np.trunc(weights[name]) for name in ("kernel", "recurrent_kernel", "bias")}
    y_hat = Port("gru").run({**weights, **small}, golden["x"])["y_hat"][:, -1]
    y_hat[0] += np.random.default_rng(3).normal(0, 0.05, 5).astype("f")
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == []
