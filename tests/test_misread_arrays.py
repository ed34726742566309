"""``verify --against``: what is read at a wrong index, or written too early, is named.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Arrays, Port, explained, weights_of

Change = Callable[[np.ndarray], np.ndarray]


def check_explanation(
    cell: str, id_: str, what: str, change: Callable[[Arrays, np.ndarray], Arrays], **sizes: Any
) -> None:
    """Run a port on changed arrays, and check what explains it."""
    spec = {**SIZES, "cell": cell, "return_sequences": True, **sizes}
    golden = rnnshapes.golden(**spec).arrays
    found = change(weights_of(golden, LAYERS[cell]), golden["x"])
    given = {k: found[k] for k in (("h", "c") if what == "h" else (what,)) if k in found}
    assert explained(rnnshapes.verify(**spec, against=given)) == [(id_,)]


def blocks(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Return blocks of the last axis in an order."""
    parts = np.split(array, len(order), axis=-1)
    return np.concatenate([parts[k] for k in order], axis=-1)


def without_last_row(array: np.ndarray) -> np.ndarray:
    """Return the array with zeros in its last row."""
    return np.concatenate([array[:-1], array[-1:] * 0])


def blocks_first(rows: np.ndarray) -> np.ndarray:
    """Return an array (gates, rows, units) as (rows, gates * units)."""
    return rows.swapaxes(0, 1).reshape(rows.shape[1], -1)


def units_first(rows: np.ndarray) -> np.ndarray:
    """Return a buffer of (rows, gates, units) that is read as (units, gates, rows)."""
    return rows.reshape(rows.shape[::-1]).transpose(2, 1, 0).reshape(len(rows), -1)


def padded(array: np.ndarray, stored: int, read: int) -> np.ndarray:
    """Return rows that are stored so many numbers apart, and read so many apart."""
    rows, columns = array.shape
    buffer = np.zeros((2 * rows, max(stored, read)), array.dtype).reshape(-1)
    for row in range(rows):
        buffer[row * stored :][:columns] = array[row]
    return np.stack([buffer[row * read :][:columns] for row in range(rows)])


WEIGHTS: list[tuple[str, str, str, str, Change]] = [
    ("lstm", "gates.repeated", "h", "recurrent_kernel", lambda a: blocks(a, (0, 0, 2, 3))),
    ("gru", "weights.shifted", "h", "recurrent_kernel", lambda a: np.roll(a, -1, axis=1)),
    ("simple", "weights.row_omitted", "y_hat", "recurrent_kernel", without_last_row),
    ("gru", "bias.row_repeated", "y_hat", "bias", lambda a: a[[0, 0]]),
    ("lstm", "bias.omitted", "y_hat", "bias", lambda a: a * np.repeat(np.float32([1, 0, 1, 1]), 5)),
    ("gru", "bias.omitted", "y_hat", "bias", lambda a: a * np.repeat([0, 0, 1], 5)),
    ("gru", "bias.omitted", "h", "bias", lambda a: a * np.repeat([[1, 1, 1], [1, 1, 0]], 5, 1)),
    ("gru", "layout.flat_buffer", "h", "bias", lambda a: blocks_first(a.reshape(3, 2, 5))),
    ("lstm", "bias.first_repeated", "y_hat", "bias", lambda a: np.repeat(a[:1], len(a))),
    ("lstm", "bias.forget_again", "y_hat", "bias", lambda a: a - np.repeat([0, 1, 0, 0], 5)),
    ("lstm", "bias.untrained", "h", "bias", lambda a: np.repeat(np.float32([0, 1, 0, 0]), 5)),
    ("lstm", "bias.untrained", "y_hat", "bias", lambda a: np.where(np.arange(20) // 5 == 1, 1, a)),
    ("gru", "bias.first_repeated", "y_hat", "bias", lambda a: np.tile(a[:, :5], (1, 3))),
    ("lstm", "weights.sign_lost", "y_hat", "recurrent_kernel", np.abs),
    ("gru", "weights.sign_lost", "y_hat", "kernel", np.abs),
    ("gru", "weights.permuted", "y_hat", "recurrent_kernel", lambda a: a[[0, 1, 1, 3, 4]]),
    ("gru", "bias.first_repeated", "h", "bias", lambda a: np.repeat(a[:, ::5], 5, axis=1)),
    ("simple", "weights.permuted", "y_hat", "recurrent_kernel", lambda a: a[::-1]),
    ("gru", "layout.flat_buffer", "y_hat", "bias", lambda a: units_first(a.reshape(2, 3, 5))),
    ("lstm", "weights.permuted", "y_hat", "kernel", lambda a: np.pad(a[:-1], ((1, 0), (0, 0)))),
    ("simple", "layout.row_stride", "y_hat", "kernel", lambda a: padded(a, 5, 8)),
    ("gru", "layout.row_stride", "h", "recurrent_kernel", lambda a: padded(a, 16, 15)),
    (
        "gru",
        "weights.permuted",
        "y_hat",
        "recurrent_kernel",
        lambda a: np.append(a[1:], 0 * a[:1], 0),
    ),
    ("simple", "weights.quantized", "y_hat", "recurrent_kernel", lambda a: a),
]


@pytest.mark.parametrize(("cell", "id_", "what", "name", "change"), WEIGHTS)
def test_a_misread_array_is_named(
    cell: str, id_: str, what: str, name: str, change: Change
) -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        weights = {**weights, name: change(weights[name])}
        if id_ == "weights.quantized":  # printed with two decimals
            weights = {key: np.round(array, 2) for key, array in weights.items()}
        return Port(cell).run(weights, x)

    check_explanation(cell, id_, what, port)


def test_exchanged_kernels_are_named() -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        exchanged = {"kernel": "recurrent_kernel", "recurrent_kernel": "kernel"}
        return Port("lstm").run({k: weights[exchanged.get(k, k)] for k in weights}, x)

    check_explanation("lstm", "layout.kernels_exchanged", "y_hat", port, D=5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("id_", "columns"),
    [
        ("weights.shifted", lambda gates: np.roll(np.arange(5 * gates), -1)),
        ("weights.shifted", lambda gates: np.arange(5 * gates) - (np.arange(5 * gates) >= 5)),
        ("gates.stride", lambda gates: np.add.outer(4 * np.arange(gates), np.arange(5)).ravel()),
    ],
)
def test_gates_split_at_wrong_columns_are_named(
    cell: str, id_: str, columns: Callable[[int], np.ndarray]
) -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        gates = weights["kernel"].shape[1] // 5
        names = ("kernel", "recurrent_kernel", "bias")
        moved = {name: weights[name][..., columns(gates)] for name in names}
        return Port(cell).run({**weights, **moved}, x)

    check_explanation(cell, id_, "y_hat", port)


def test_a_kernel_one_row_late_is_named() -> None:
    """Its last row is what follows in the buffer."""

    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        rows = np.concatenate([weights["recurrent_kernel"][1:], weights["bias"][None]])
        return Port("lstm").run({**weights, "recurrent_kernel": rows}, x)

    check_explanation("lstm", "weights.shifted", "y_hat", port)


def test_rows_read_as_if_padded_are_named() -> None:
    def read(array: np.ndarray) -> np.ndarray:
        rows, columns = array.shape
        buffer = np.append(array.reshape(-1), np.zeros(rows * 16, "f"))
        return np.stack([buffer[16 * row :][:columns] for row in range(rows)])

    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        return Port("gru").run({**weights, "kernel": read(weights["kernel"])}, x)

    check_explanation("gru", "layout.row_stride", "y_hat", port)


def test_rows_of_kernels_with_short_stride_are_named() -> None:
    def read(array: np.ndarray) -> np.ndarray:
        flat, columns = array.reshape(-1), array.shape[1]
        return np.stack([flat[row * 5 :][:columns] for row in range(len(array))])

    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        names = ("kernel", "recurrent_kernel")
        return Port("gru").run({**weights, **{n: read(weights[n]) for n in names}}, x)

    check_explanation("gru", "layout.row_stride", "y_hat", port)


@pytest.mark.parametrize(("cell", "unit"), [("lstm", 3), ("gru", 1)])
def test_a_unit_without_weights_is_named(cell: str, unit: int) -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        changed = {}
        for name in ("kernel", "recurrent_kernel", "bias"):
            changed[name] = weights[name].copy()
            changed[name][..., unit::5] = 0
        return Port(cell).run({**weights, **changed}, x)

    check_explanation(cell, "state.unit_omitted", "y_hat", port)


INPUTS: list[tuple[str, Change]] = [
    ("time.rotated", lambda x: np.roll(x, -2, axis=1)),
    ("time.permuted", lambda x: x[:, [0, 1, 3, 2, *range(4, 9)]]),
    ("time.step_omitted", lambda x: np.delete(np.pad(x, ((0, 0), (0, 1), (0, 0))), 4, axis=1)),
    ("time.step_omitted", lambda x: x[:, [*range(4), *range(5, 9), 8]]),
    ("time.strided", lambda x: np.pad(x[:, ::2], ((0, 0), (0, 4), (0, 0)))),
    ("axes.input_swapped", lambda x: x.swapaxes(0, 1).reshape(x.shape)),
    ("input.transformed", lambda x: np.maximum(x, 0)),
    ("time.shifted", lambda x: np.pad(x[:, :-3], ((0, 0), (3, 0), (0, 0)))),
    ("time.every_repeated", lambda x: np.repeat(x, 2, axis=1)[:, : x.shape[1]]),
    ("time.shifted", lambda x: np.concatenate([x[:, :1], x[:, :-1]], axis=1)),
    ("axes.features_swapped", lambda x: x.reshape(3, 4, 9).swapaxes(1, 2)),
    ("axes.samples_shifted", lambda x: np.concatenate([x[:1], x[:-1]])),
]


@pytest.mark.parametrize(("id_", "change"), INPUTS)
def test_a_misread_input_is_named(id_: str, change: Change) -> None:
    check_explanation("gru", id_, "y_hat", lambda weights, x: Port("gru").run(weights, change(x)))


@pytest.mark.parametrize("step", [slice(None), -1])
@pytest.mark.parametrize(
    ("samples", "id_"),
    [
        *(([0, 0], "axes.sample_repeated"), ([1, 1], "axes.sample_repeated")),
        ([1, 0], "axes.samples_shifted"),
    ],
)
def test_one_sample_of_two_is_not_shifted(samples: list[int], id_: str, step: Any) -> None:
    """Sample 0 is right where both samples read it."""
    spec: dict[str, Any] = {**SIZES, "cell": "simple", "N": 2, "T": 30}
    h = rnnshapes.golden(**spec).arrays["simple_rnn.h"].astype("f")
    found = {
        id_ for (id_,) in explained(rnnshapes.verify(**spec, against={"h": h[samples][:, step]}))
    }
    assert found - {"axes.samples_permuted"} == {id_}


@pytest.mark.parametrize(
    ("id_", "give"),
    [
        ("time.output_reversed", lambda a: a[:, ::-1]),
        ("time.last_repeated", lambda a: np.repeat(a[:, -1:], 9, axis=1)),
        ("axes.output_reshaped", lambda a: a.reshape(-1, order="F").reshape(a.shape)),
    ],
)
def test_outputs_given_otherwise_are_named(id_: str, give: Change) -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        return {key: give(values) for key, values in Port("gru").run(weights, x).items()}

    check_explanation("gru", id_, "y_hat", port)


@pytest.mark.parametrize(("cell", "what"), [("lstm", "h"), ("gru", "y_hat")])
def test_one_buffer_for_all_samples_is_named(cell: str, what: str) -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        n, t, d = x.shape
        in_turn = Port(cell).run(weights, x.swapaxes(0, 1).reshape(1, t * n, d))
        return {k: a.reshape(t, n, -1).swapaxes(0, 1) for k, a in in_turn.items()}

    check_explanation(cell, "state.shared_by_samples", what, port)


def test_a_reshaped_output_is_named() -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        h = Port("gru").run(weights, x)["h"]
        return {"h": h.swapaxes(0, 1).reshape(h.shape)}

    check_explanation("gru", "axes.output_reshaped", "h", port)


@pytest.mark.parametrize(
    ("cell", "what", "id_", "options"),
    [
        ("gru", "y_hat", "state.overwritten", {"overwritten": True}),
        ("lstm", "h", "state.overwritten", {"overwritten": True}),
        ("simple", "y_hat", "state.unit_omitted", {"last_unit": False}),
    ],
)
def test_a_wrong_loop_over_units_is_named(
    cell: str, what: str, id_: str, options: dict[str, bool]
) -> None:
    """h is written unit by unit, or its last unit never."""
    check_explanation(cell, id_, what, lambda weights, x: Port(cell, **options).run(weights, x))


def test_a_state_that_is_carried_alone_is_named() -> None:
    """c is not set to 0 between samples."""

    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        samples, c = [], None
        for one in x:
            samples.append(Port("lstm").run(weights, one[None], start_c=c))
            c = samples[-1]["c"][:, -1]
        return {k: np.concatenate([found[k] for found in samples]) for k in samples[0]}

    check_explanation("lstm", "state.carried", "y_hat", port)


def test_c_passed_on_is_named() -> None:
    def port(weights: Arrays, x: np.ndarray) -> Arrays:
        return {"y_hat": Port("lstm").run(weights, x)["c"] @ weights["W"] + weights["b"]}

    check_explanation("lstm", "state.c_passed_on", "y_hat", port)
