"""Known mistakes of ports: what each makes of x, of the weights and of what a port gives.

Every row is written out here by hand, and shares no code with the package.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import rnnshapes
from rnnshapes.port.hypothesis import Mistake
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.port.screening import relative_distance, relative_distances
from tests.helpers.handmade import LAYERS, SIZES
from tests.helpers.tried import (
    Row,
    base_of,
    computed,
    hypothesis_of,
    moved,
    tried_from,
    untried,
    without_place,
)

Array = np.ndarray
Change = Callable[[Array], Array]


def at(x: Array, indices: Any, axis: int) -> Array:
    return np.take(x, np.asarray(indices, int), axis)


def replaced(count: int, index: int, other: int) -> list[int]:
    return [other if i == index else i for i in range(count)]


def exchanged(count: int, one: int, other: int) -> list[int]:
    order = list(range(count))
    order[one], order[other] = other, one
    return order


# --- x ------------------------------------------------------------------------------------------


def features(x: Array) -> Iterator[Row]:
    count, where = x.shape[2], {"array": "x"}
    yield "input.first_repeated", where, at(x, [0] * count, 2)
    yield "input.permuted", where, x[..., ::-1]
    for shift in (1, -1):
        yield "input.permuted", where, at(x, [(k - shift) % count for k in range(count)], 2)
    for one, other in itertools.combinations(range(count), 2):
        yield "input.permuted", where, at(x, exchanged(count, one, other), 2)
    for one, other in itertools.permutations(range(count), 2):
        yield "input.repeated", {**where, "unit": one}, at(x, replaced(count, one, other), 2)


def bits_of_bfloat16(x: Array) -> Array:
    bits = np.asarray(x, "f").view("u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype("u4").view("f")


def normalized(x: Array) -> Iterator[Array]:
    for axes in ((0, 1, 2), (0, 1), (1, 2), (1,)):
        low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
        yield x - x.mean(axes, keepdims=True)
        yield (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
        yield x / np.abs(x).max(axes, keepdims=True)
        yield (x - low) / (high - low)


def numbers(x: Array) -> Iterator[Row]:
    where = {"array": "x"}
    for step in (0, -1):
        zeroed = x.copy()
        zeroed[:, step] = 0
        yield "input.step_zero", where, zeroed
    for unit in (1, 0.1, 0.01, 1e-3, 1e-4, *(0.5**bits for bits in range(1, 17))):
        yield "input.rounded", where, np.round(x / unit) * unit
        yield "input.rounded", where, np.trunc(x / unit) * unit
    yield "input.rounded", where, x.astype("f2")
    yield "input.rounded", where, bits_of_bfloat16(x)
    for axes in (None, (0, 1)):
        scale = np.abs(x).max(axes, keepdims=True) / 127
        yield "input.rounded", where, np.round(x / scale) * scale
    for one in (2.0**7, 2.0**15):
        whole = np.round(x * one)
        yield "input.overflow", where, np.clip(whole, -one, one - 1) / one
        yield "input.overflow", where, ((whole + one) % (2 * one) - one) / one
    for low, high in ((-1, 1), (0, 1), (-0.5, 0.5), (-2, 2), (-3, 3), (-4, 4), (-5, 5), (-8, 8)):
        yield "input.clipped", where, np.clip(x, low, high)
    for changed in normalized(x):
        yield "input.normalized", where, changed
    for word, changed in (
        *(("|x| is", np.abs(x)), ("max(x, 0) is", np.maximum(x, 0))),
        ("the sign of x", np.sign(x) * np.log(1 + np.abs(x))),
        *(("summed up", np.cumsum(x, axis=1)), ("log(1 + max", np.log(1 + np.maximum(x, 0)))),
        ("x_t - x_{t-1} is", np.diff(x, axis=1, prepend=np.zeros_like(x[:, :1]))),
    ):
        yield "input.transformed", {**where, "says": [word]}, changed


def steps(x: Array) -> Iterator[Row]:
    count, where = x.shape[1], {"array": "x"}
    yield "time.reversed", {}, x[:, ::-1]
    yield "time.first_repeated", where, at(x, [0] * count, 1)
    for late in (1, -1, *range(2, min(count, 9))):
        read = f"x_{{t-{late}}}" if late > 0 else "x_{t+1}"
        yield "time.shifted", {"says": [read]}, moved(x, late)
    yield "time.shifted", {"says": ["late", "x_0 is"]}, at(x, [0, *range(count - 1)], 1)
    early = {"says": ["early", "last step is"]}
    yield "time.shifted", early, at(x, [*range(1, count), count - 1], 1)
    yield "time.every_repeated", where, at(x, [t // 2 for t in range(count)], 1)
    read = x[:, ::2]
    yield "time.strided", where, np.concatenate([read, 0 * x], axis=1)[:, :count]
    for step in range(1, count) if count <= 32 else ():
        first = {**where, "says": [f"step {step} is"]}
        yield "time.rotated", first, at(x, [(t + step) % count for t in range(count)], 1)
        there = {**where, "step": step - 1}
        yield "time.permuted", there, at(x, exchanged(count, step - 1, step), 1)
        kept = [t for t in range(count) if t != step - 1]
        yield "time.step_omitted", there, at(x, [*kept, count - 1], 1)
        yield "time.step_omitted", there, np.concatenate([at(x, kept, 1), 0 * x[:, :1]], axis=1)


def axes(x: Array) -> Iterator[Row]:
    n, t, d = x.shape
    flat, where = x.ravel(), {"array": "x"}
    index = np.arange(flat.size)
    # Each number of the buffer that is read, by its place in x (N, T, D).
    place, unit = index // d, index % d
    yield "axes.input_swapped", {}, flat[((place % t) * n + place // t) * d + unit].reshape(x.shape)
    yield "axes.input_swapped", {}, flat[((place % n) * t + place // n) * d + unit].reshape(x.shape)
    sample, step = place // t, place % t
    yield "axes.features_swapped", where, flat[(sample * d + unit) * t + step].reshape(x.shape)
    inside = index % (t * d)
    there = (sample * t + inside % t) * d + inside // t
    yield "axes.features_swapped", where, flat[there].reshape(x.shape)
    for one in (0, n - 1):
        yield "axes.sample_repeated", {}, at(x, [one] * n, 0)
    for some in (slice(None, -1), slice(1, None)):
        yield "axes.samples_shifted", {}, x[some]


def lengths(x: Array) -> Iterator[Row]:
    """Yield other numbers of steps than 9."""
    where = {"array": "x"}
    yield "time.first_omitted", where, x[:, 1:]
    yield "time.end_repeated", where, at(x, [0, *range(9)], 1)
    yield "time.end_repeated", where, at(x, [*range(9), 8], 1)
    yield "time.strided", where, at(x, [0, 2, 4, 6, 8], 1)
    yield "time.strided", where, at(x, [1, 3, 5, 7], 1)
    for count in range(2, 8):
        yield "time.window", where, at(x, range(count), 1)
        yield "time.window", where, at(x, range(9 - count, 9), 1)
    for step in range(1, 8):
        yield "time.step_omitted", where, at(x, [t for t in range(9) if t != step], 1)
    for count in (1, 2, 3, 4, 6, 7):
        zeros = np.zeros((len(x), count, x.shape[2]))
        yield "time.padded", where, np.concatenate([x, zeros], axis=1)
        yield "time.padded", where, np.concatenate([zeros, x], axis=1)


#: Families of mistakes that read x otherwise, and of some that take it for another length.
OF_X = {"input", "numbers of x", "other steps", "other samples", "other lengths"}


@pytest.mark.parametrize(
    ("last", "largest"), [(False, 9.0), (True, 9.0), (False, 1.0), (False, 0.99)]
)
def test_each_misreading_of_x_is_tried(last: bool, largest: float) -> None:
    """A feature that is 0 remains 0; fractions end below 1."""
    base = base_of(**SIZES, cell="simple", last=last)
    x = base.xs[0] * (largest / np.abs(base.xs[0]).max().astype(float))
    x[..., 1] *= largest > 1
    base = replace(base, xs=(x,))
    kinds = (features, numbers, steps, axes, *((lengths,) if last else ()))
    with np.errstate(invalid="ignore"):
        every = [(*row, np.nan_to_num(a)) for kind in kinds for *row, a in kind(x)]
    rows = [row for row in every if not (np.array_equal(row[2], x) or is_no_overflow(row[0], x))]
    tried = tried_from(base)
    assert untried(tried, [one.xs[0] for one in tried], rows, 1e-9, OF_X) == []


def is_no_overflow(id_: str, x: Array) -> bool:
    return id_ == "input.overflow" and np.abs(x).max() < 1


def test_other_lengths_end_at_their_last_step() -> None:
    base = base_of(**SIZES, cell="simple", last=True)
    for one in hypotheses(base, rare=True):
        if one.families == ("other lengths",):
            assert one.quantities[0].network_steps.tolist() == [one.xs[0].shape[1] - 1]


@pytest.mark.parametrize(
    ("count", "pairs", "copies"), [(2, 1, 1), (6, 15, 30), (7, 21, 12), (12, 66, 22), (13, 0, 24)]
)
def test_few_features_are_exchanged_in_pairs(count: int, pairs: int, copies: int) -> None:
    base = base_of(cell="simple", N=3, T=2, D=count, M=4, K=1)
    ids = Counter(one.mistakes[0].id for one in hypotheses(base, rare=True))
    assert (ids["input.permuted"], ids["input.repeated"]) == (pairs + 3, copies)


@pytest.mark.parametrize(("count", "each"), [(3, 2), (32, 31), (33, 0)])
def test_steps_of_a_short_x_are_left_out(count: int, each: int) -> None:
    base = base_of(cell="simple", N=2, T=count, D=3, M=4, K=1)
    ids = Counter(one.mistakes[0].id for one in hypotheses(base, rare=True))
    assert (ids["time.rotated"], ids["time.permuted"]) == (each, each)
    assert ids["time.step_omitted"] == 3 * each
    last = base_of(cell="simple", N=2, T=count, D=3, M=4, K=1, last=True)
    ids = Counter(one.mistakes[0].id for one in hypotheses(last, rare=True))
    assert ids["time.step_omitted"] == 2 * each + max(each - 1, 0)


def test_usual_lengths_of_windows_are_tried() -> None:
    base = base_of(cell="simple", N=1, T=1030, D=1, M=2, K=1, last=True)
    tried = [one for one in hypotheses(base, rare=True) if one.families == ("other lengths",)]
    found = {(one.mistakes[0].id, one.xs[0].shape[1]) for one in tried}
    tens = (10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 160, 200, 250, 300, 400, 500, 800, 1000)
    others = (15, 25, 12, 24, 48, 96, *(2**power for power in range(1, 11)))
    assert found >= {("time.window", count) for count in {*range(2, 11), *tens, *others}}
    assert {count - 1030 for id_, count in found if id_ == "time.padded"} == {1, 2, 3, 4}
    assert ("time.step_omitted", 1029) not in found


#: Sizes and options with few features, steps, samples or units, or in another direction.
FORMS: list[dict[str, Any]] = [
    *(
        {"D": 7},
        {"D": 5},
        {"T": 2},
        {"T": 3},
        {"D": 1},
        {"N": 1},
        {"N": 2, "K": 5},
        {"N": 9, "D": 5},
    ),
    *({"go_backwards": True}, {"cell": "gru", "reset_after": False, "T": 4, "N": 2}),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_mistakes_of_small_networks_change_something(form: dict[str, Any], last: bool) -> None:
    """Each has a text of its own, and a remedy. A limit may lie above all numbers."""
    base = base_of(**{**SIZES, "cell": "simple", **form}, last=last)
    errors = np.random.default_rng(1).normal(0, 1e-3, base.quantities[0].values.shape)
    base = base.map_quantities(lambda q: replace(q, values=q.values + errors))
    tried = [one for one in tried_from(base) if not one.mistakes[0].id.endswith(".clipped")]
    changes = np.abs(np.array(relative_distances(tried)) - relative_distance(base))
    assert [tried[k].mistakes[0].text for k in np.flatnonzero(changes < 1e-9)] == []
    texts = Counter(one.mistakes[0].text for one in tried)
    assert [text for text, count in texts.items() if count > 1] == []
    assert all(one.mistakes[0].fix for one in tried)
    assert without_place(tried) == []


# --- Weights ------------------------------------------------------------------------------------

#: Arrays of a cell by name, and how Keras calls them.
NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}
Arrays = dict[str, Array]
#: The id of a mistake, where it is, and the arrays that it changes.
ArrayRow = tuple[str, dict[str, Any], Arrays]


def columns(a: Array, index: Any) -> Array:
    return a[..., np.asarray(index, int)]


def each_array(
    w: Arrays, id_: str, change: Change, *groups: str, array: bool = True
) -> Iterator[ArrayRow]:
    """Yield the change of the arrays of each group, whose keys are one word each."""
    for keys in (group.split() for group in groups):
        where = {"array": NAMES[keys[0]]} if array and len(keys) == 1 else {}
        yield id_, where, {key: change(w[key]) for key in keys}


def gates_read_otherwise(w: Arrays, gates: str) -> Iterator[ArrayRow]:
    """Yield gates in another order, or read twice."""
    m, count = len(w["Wh"]), len(gates)
    blocks = np.arange(count * m).reshape(count, m)
    for order in list(itertools.permutations(range(count)))[1:]:
        read = blocks[np.argsort(order)].ravel()
        yield "gates.order", {}, {key: columns(a, read) for key, a in w.items()}
        for key, name in NAMES.items():
            yield f"gates.order.{name}", {"array": name}, {key: columns(w[key], read)}
        for row in range(len(w["bh"]) if w["bh"].ndim == 2 else 0):
            rows = w["bh"].copy()
            rows[row] = columns(rows[row], read)
            yield "gates.order.bias", {"array": "bias"}, {"bh": rows}
    for one, other in itertools.permutations(range(count), 2):
        read = blocks[replaced(count, one, other)].ravel()
        yield "gates.repeated", {"gate": gates[one]}, {k: columns(a, read) for k, a in w.items()}
        for key, name in NAMES.items():
            where = {"gate": gates[one], "array": name}
            yield "gates.repeated", where, {key: columns(w[key], read)}


def gates_alone(w: Arrays, gates: str) -> Iterator[ArrayRow]:
    """Yield the block of one gate transposed, its bias alone, or one number of it."""
    m, count = len(w["Wh"]), len(gates)
    for k, gate in enumerate(gates):
        block = slice(k * m, k * m + m)
        turned, alone = w["Wh"].copy(), 0 * w["bh"]
        turned[:, block] = w["Wh"][:, block].T
        alone[..., block] = w["bh"][..., block]
        yield "layout.transposed", {"gate": gate, "array": "recurrent_kernel"}, {"Wh": turned}
        for bias in (alone, w["bh"] - alone):
            yield "bias.omitted", {"gate": gate, "array": "bias"}, {"bh": bias}
    first = np.arange(count * m)
    for read in (first % m, first // m * m):
        yield "bias.first_repeated", {"array": "bias"}, {"bh": columns(w["bh"], read)}


def gate_columns(w: Arrays, gates: str) -> Iterator[ArrayRow]:
    """Yield arrays whose gates are split at other columns, side by side, or added up."""
    m, count = len(w["Wh"]), len(gates)
    every = np.arange(count * m)
    apart = np.minimum(every // m * len(w["Wx"]) + every % m, count * m)  # beyond the last one, 0
    wide = {key: np.concatenate([a, 0 * a[..., :1]], axis=-1) for key, a in w.items()}
    yield "gates.stride", {}, {key: columns(a, apart) for key, a in wide.items()}
    groups = ("Wx Wh bh", "Wx Wh", "Wx", "Wh", "bh")
    for sizes in ((m, count), (count, m)):
        turn = partial(columns, index=every.reshape(sizes).T.ravel())
        yield from each_array(w, "layout.interleaved", turn, *groups)
    for step in (1, -1):
        beside = np.where(every < m, every, (every + step) % (count * m))
        yield "weights.shifted", {}, {key: columns(a, beside) for key, a in w.items()}
    blocks = {key: np.split(a, count, axis=-1) for key, a in w.items()}
    summed = {k: np.concatenate([b.cumsum(-1) for b in bs], axis=-1) for k, bs in blocks.items()}
    yield "sum.not_reset", {}, summed

    def of_one_gate(kernel: Array) -> Array:
        return kernel.ravel()[np.arange(len(kernel))[:, None] * m + every]

    yield from each_array(w, "layout.row_stride", of_one_gate, "Wx", "Wh", "Wx Wh")


def blocks_turned(kernel: Array) -> Array:
    """Return a recurrent kernel whose blocks are transposed."""
    m = len(kernel)
    return np.concatenate([kernel[:, k : k + m].T for k in range(0, kernel.shape[1], m)], axis=1)


def gate_axes(w: Arrays, gates: str) -> Iterator[ArrayRow]:
    """Yield buffers of rows, gates and units that are read in another order of axes."""
    m, count = len(w["Wh"]), len(gates)

    def reread(a: Array, stored: Any, read: Any) -> Array:
        sizes = (len(a), count, m)
        buffer = np.moveaxis(a.reshape(sizes), stored, (0, 1, 2)).ravel()
        found = buffer.reshape([sizes[axis] for axis in read])
        return np.moveaxis(found, (0, 1, 2), read).reshape(a.shape)

    keys = ("Wx Wh", "Wx", "Wh", *(("bh",) if w["bh"].ndim == 2 else ()))
    for stored, read in itertools.permutations(itertools.permutations(range(3)), 2):
        change = partial(reread, stored=stored, read=read)
        turned = np.array_equal(change(w["Wh"]), blocks_turned(w["Wh"]))
        some = [key for key in keys if not (turned and key == "Wh")]
        yield from each_array(w, "layout.flat_buffer", change, *some)


def by_column(w: Arrays) -> Iterator[ArrayRow]:
    """Yield arrays that are read a number, a column or a row beside the right one."""
    m = len(w["Wh"])
    for key, step in itertools.product(NAMES, (1, -1)):
        where, a = {"array": NAMES[key]}, w[key]
        index = (np.arange(a.size) + step) % a.size
        cyclic = a.ravel()[index].reshape(a.shape)
        yield "weights.shifted", where, {key: cyclic}
        ended = cyclic.copy()
        ended[(-1,) * a.ndim if step == 1 else (0,) * a.ndim] = 0
        yield "weights.shifted", where, {key: ended}
        beside = (np.arange(a.shape[-1]) + step) % a.shape[-1]
        yield "weights.shifted", where, {key: columns(a, beside)}
    for step in (1, -1):
        moved = {k: columns(a, (np.arange(a.shape[-1]) + step) % a.shape[-1]) for k, a in w.items()}
        yield "weights.shifted", {}, moved
        where = {"array": "recurrent_kernel"}
        rows = w["Wh"][(np.arange(m) + step) % m]
        yield "weights.permuted", where, {"Wh": rows}
        yield "weights.permuted", where, {"Wh": beyond(w["Wh"], step)}
        yield "weights.permuted", {"array": "kernel"}, {"Wx": beyond(w["Wx"], step)}
    yield "weights.permuted", {"array": "recurrent_kernel"}, {"Wh": w["Wh"][::-1]}
    late = np.concatenate([w["Wx"][1:], w["Wh"][:1]])
    yield "weights.shifted", {"array": "kernel"}, {"Wx": late}
    late = np.concatenate([w["Wh"][1:], np.reshape(w["bh"], (-1, w["Wh"].shape[1]))[:1]])
    yield "weights.shifted", {"array": "recurrent_kernel"}, {"Wh": late}
    yield from each_array(w, "weights.sign_lost", np.abs, "Wx", "Wh", "bh", "Wx Wh bh")
    yield "sum.not_reset", {}, {key: np.cumsum(a, axis=-1) for key, a in w.items()}
    for factor, id_ in ((0, "bias.omitted"), (2, "bias.twice")):
        yield id_, {}, {"bh": factor * w["bh"]}


def beyond(a: Array, step: int) -> Array:
    """Return an array whose rows are read one beside; there are zeros around it."""
    around = np.pad(a, ((1, 1), (0, 0)))
    return around[1 + step :][: len(a)]


def by_row(w: Arrays) -> Iterator[ArrayRow]:
    """Yield arrays without some rows or units, and rows with another stride."""
    m, d = len(w["Wh"]), len(w["Wx"])
    gates = w["Wh"].shape[1] // m
    for unit in range(1, m - 1):
        kept = np.tile(np.arange(m) != unit, gates)
        yield "state.unit_omitted", {"unit": unit}, {key: a * kept for key, a in w.items()}
    for unit, other in itertools.permutations(range(m), 2):
        if abs(unit - other) == 1:
            where = {"unit": unit, "array": "recurrent_kernel"}
            yield "weights.permuted", where, {"Wh": w["Wh"][replaced(m, unit, other)]}
    for row in (0, m - 1):
        kept = (np.arange(m) != row)[:, None]
        yield "weights.row_omitted", {"array": "recurrent_kernel"}, {"Wh": w["Wh"] * kept}
    for key, rows, name in (("Wh", d, "recurrent_kernel"), ("Wx", m, "kernel")):
        if len(w[key]) - rows > 1:
            kept = (np.arange(len(w[key])) < rows)[:, None]
            yield "weights.row_omitted", {"array": name}, {key: w[key] * kept}
    rows = np.concatenate([w["Wx"], w["Wh"]])
    id_ = "layout.kernels_exchanged" if d == m else "layout.concatenation"
    yield id_, {}, {"Wh": rows[:m], "Wx": rows[m:]}


def by_stride(w: Arrays) -> Iterator[ArrayRow]:
    """Yield kernels whose rows are padded in their buffer, or read as if they were."""
    count = w["Wh"].shape[1]

    def padded(a: Array, held: int, read: int) -> Array:
        buffer = np.zeros(2 * len(a) * max(held, read))
        for row, values in enumerate(a):
            buffer[row * held : row * held + count] = values
        return np.stack([buffer[row * read :][:count] for row in range(len(a))])

    for multiple in (4, 8, 16, 32):
        wide = int(np.ceil(count / multiple)) * multiple
        for held, read in ((wide, count), (count, wide)) if wide > count else ():
            change = partial(padded, held=held, read=read)
            yield from each_array(w, "layout.row_stride", change, "Wx", "Wh", "Wx Wh")


def by_order(w: Arrays) -> Iterator[ArrayRow]:
    """Yield kernels whose numbers are read in another order."""
    gates = w["Wh"].shape[1] // len(w["Wh"])
    yield "layout.transposed", {"array": "recurrent_kernel"}, {"Wh": blocks_turned(w["Wh"])}

    def by_columns(a: Array) -> Array:
        return a.ravel().reshape(a.shape, order="F")

    def flat(a: Array) -> Array:
        return a.ravel(order="F").reshape(a.shape)

    groups = ("Wx", "Wh", "Wx Wh") if gates > 1 else ("Wx", "Wx Wh")
    for id_, read in (("layout.fortran", by_columns), ("layout.flat_buffer", flat)):
        yield from each_array(w, id_, read, *groups)
    if w["Wx"].shape == w["Wh"].shape:
        yield "layout.transposed", {"array": "kernel"}, {"Wx": blocks_turned(w["Wx"])}


def by_unit(w: Arrays) -> Iterator[ArrayRow]:
    """Yield arrays in which one unit has the columns of another, in all gates or in one."""
    m = len(w["Wh"])
    gates = {1: [], 3: [*"zrh"], 4: [*"ifco"]}[w["Wh"].shape[1] // m]
    for unit, other in itertools.permutations(range(m), 2):
        for which in (None, *gates):
            index = np.arange(w["Wh"].shape[1])
            inside = (index % m == unit) & (which is None or index // m == gates.index(which))
            read = np.where(inside, index + other - unit, index)
            where = {"unit": unit, "gate": which}
            yield "weights.permuted", where, {key: columns(a, read) for key, a in w.items()}


def by_length(w: Arrays) -> Iterator[ArrayRow]:
    """Yield arrays whose last numbers are 0, but not one row, or a gate's bias, or all."""
    m, d, count = len(w["Wh"]), len(w["Wx"]), w["Wh"].shape[1]
    known = {"Wx": {count, (d - m) * count}, "Wh": {count, (m - d) * count}}
    known["bh"] = {*range(m, w["bh"].size, m), count}
    for key, name in NAMES.items():
        for lost in {*range(2, min(w[key].size, 65))} - known[key]:
            kept = np.arange(w[key].size) < w[key].size - lost
            shorter = w[key] * kept.reshape(w[key].shape)
            yield "weights.buffer_short", {"array": name}, {key: shorter}


def biases(w: Arrays) -> Iterator[ArrayRow]:
    """Yield what the cells themselves have for mistakes of a bias."""
    b, m = w["bh"], len(w["Wh"])
    yield "bias.first_repeated", {"array": "bias"}, {"bh": columns(b, 0 * np.arange(b.shape[-1]))}
    if b.size == 4 * m:
        forget = np.repeat([0, 1, 0, 0], m)
        yield "bias.forget_twice", {}, {"bh": b * (1 + forget)}
        for step in (1, -1):
            yield "bias.forget_again", {}, {"bh": b + step * forget}
        for rest in (0, 1):
            yield "bias.untrained", {}, {"bh": rest * b * (1 - forget) + forget}
    if b.size == 6 * m:
        rows, both, zero = np.array([[1], [0]]), b.sum(axis=0), 0 * b
        yield "bias.recurrent_row_omitted", {}, {"bh": b * rows}
        yield "bias.input_row_omitted", {}, {"bh": b * rows[::-1]}
        for kept in (rows, rows[::-1]):
            yield "bias.rows_summed", {}, {"bh": both * kept}
            yield "bias.row_repeated", {}, {"bh": zero + (b * kept).sum(axis=0)}
        yield "bias.rows_exchanged", {}, {"bh": b[::-1]}
        for lost in range(6):
            kept = np.arange(6 * m) // m != lost
            yield "bias.omitted", {}, {"bh": b * kept.reshape(b.shape)}


#: Families of mistakes that read the arrays of cells otherwise.
OF_ARRAYS = {
    *("kernel", "interleaved", "axes of kernels", "gates", "gates of arrays", "misread parts"),
    *("units", "short buffers", "sums", "blocks of the bias", "bias", "rows"),
}


@pytest.mark.parametrize(
    ("cell", "gates", "sizes"),
    [
        *(("lstm", "ifco", {}), ("gru", "zrh", {}), ("simple", "", {})),
        *(("lstm", "ifco", {"D": 7}), ("gru", "zrh", {"D": 3, "M": 6}), ("simple", "", {"D": 7})),
        ("simple", "", {"D": 5}),
    ],
)
def test_each_misreading_of_weights_is_tried(cell: str, gates: str, sizes: Any) -> None:
    base = base_of(**{**SIZES, **sizes}, cell=cell)
    name = LAYERS[cell]
    w = {key: a.astype(float) for key, a in base.weights[name].items()}
    tried = [one for one in tried_from(base) if one.touched == {name}]
    of_all = (by_column, by_row, by_stride, by_order, by_unit, by_length, biases)
    kinds = [kind(w) for kind in of_all]
    of_gates = (gates_read_otherwise, gates_alone, gate_columns, gate_axes)
    kinds += [kind(w, gates) for kind in of_gates if gates]
    rows = [
        (id_, {"layer": name, **where}, raveled({**w, **arrays}))
        for id_, where, arrays in itertools.chain.from_iterable(kinds)
        if any(not np.array_equal(a, w[key]) for key, a in arrays.items())
    ]
    numbers = [raveled(one.weights[name]) for one in tried]
    assert untried(tried, numbers, rows, 1e-9, OF_ARRAYS) == []


def raveled(arrays: Arrays) -> Array:
    return np.concatenate([np.ravel(arrays[key]) for key in NAMES])


def after_fix(mistake: Mistake, array: Array, name: str) -> Array:
    """Return an array after the code that a mistake has for it."""
    values = {"np": np, "W": array, name: array, "G": 3, "M": SIZES["M"]}
    what, _, code = mistake.fix.removeprefix("replace ").partition(" by ")
    fixed: Array = array.copy()
    at = int(what[-2]) if what.endswith("]") else ...
    fixed[at] = eval(code or mistake.fix.partition(" = ")[2], values)  # noqa: S307 - our own text
    return fixed


def test_code_of_fixes_undoes_misread_weights() -> None:
    """What the port reads of the fixed array is the right one."""
    base = base_of(**SIZES, cell="gru")
    places = {k: np.arange(a.size).reshape(a.shape) for k, a in base.weights["gru"].items()}
    count = Counter[str]()
    for one in tried_from(base.with_arrays("gru", places)):
        (mistake,) = one.mistakes
        for key, right in places.items() if one.touched else ():
            read = one.weights["gru"][key].astype(int)
            if mistake.id.startswith(("gates.order", "layout.inter")) and (read != right).any():
                fixed = after_fix(mistake, right, NAMES[key])
                np.testing.assert_array_equal(fixed.ravel()[read], right)
                count[mistake.id] += 1
    orders = {f"gates.order.{name}": 5 for name in NAMES.values()}
    assert count == {"gates.order": 15, **orders, "gates.order.bias": 15, "layout.interleaved": 16}


def test_code_of_fixes_reads_buffers_and_outputs() -> None:
    base = base_of(**{**SIZES, "T": 8}, cell="gru")
    sizes = {"rows": SIZES["D"], "gates": 3, "units": SIZES["M"]}
    names = [*sizes]
    kernel = np.asarray(base.weights["gru"]["Wx"], float)
    blocks = kernel.reshape(*sizes.values())
    for one in tried_from(base):
        (mistake,) = one.mistakes
        code = mistake.fix.partition(" = ")[2]
        if one.families == ("axes of kernels",) and mistake.where.array == "kernel":
            stored, read = (
                [*map(names.index, re.findall("rows|gates|units", part))]
                for part in mistake.text.split("read as")
            )
            buffer = blocks.transpose(stored).ravel()
            fixed = eval(code, {"buffer": buffer, **sizes})  # noqa: S307 - our own text
            np.testing.assert_array_equal(fixed, kernel)
            wrong = np.moveaxis(buffer.reshape([blocks.shape[k] for k in read]), (0, 1, 2), read)
            np.testing.assert_array_equal(one.weights["gru"]["Wx"], wrong.reshape(kernel.shape))
        if mistake.id == "axes.output_reshaped":
            values = {"output": base.quantities[0].values, "T": 8, "N": SIZES["N"]}
            fixed = eval(code, values)  # noqa: S307 - our own text
            np.testing.assert_array_equal(one.quantities[0].values, fixed)


@pytest.mark.parametrize(("units", "count"), [(5, 8), (32, 62), (33, 0)])
def test_units_are_tried_alone_if_few(units: int, count: int) -> None:
    base = base_of(cell="simple", N=1, T=2, D=2, M=units, K=1)
    wheres = [one.mistakes[0].where for one in tried_from(base)]
    alone = [where for where in wheres if where.unit is not None and where.array in NAMES.values()]
    assert len(alone) == count


def test_no_mistake_leaves_out_what_a_port_gives() -> None:
    """A shift of y_hat says nothing of a last state beside it."""
    for name in ("simple_rnn.h", "output"):
        golden = rnnshapes.golden(**SIZES).arrays
        last = golden[name][:, -1] if golden[name].ndim == 3 else golden[name]
        base = hypothesis_of({"y_hat": golden["y_hat"], name: last}, **SIZES)
        assert {len(one.quantities) for one in tried_from(base)} == {2}


# --- Rounded weights ----------------------------------------------------------------------------


def on_scale(a: Array, scale: Array, divisor: float, decoded: float = 0.0, bits: int = 8) -> Array:
    """Return integers of so many bits, times the largest number over a divisor."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    whole = np.clip(np.round(a / (scale / divisor)), low, high)
    return whole * (scale / (decoded or divisor))


def on_power(a: Array, scale: Array) -> Array:
    power = 2.0 ** np.ceil(np.log2(scale / 127))
    return np.clip(np.round(a / power), -128, 127) * power


def with_zero_point(a: Array, axis: int | None) -> Array:
    low, high = (np.asarray(f(a, axis=axis, keepdims=True)) for f in (np.min, np.max))
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    return (np.clip(np.round(a / scale) + zero, 0, 255) - zero) * scale


def from_smallest(a: Array, axis: int | None) -> Array:
    low = a.min(axis, keepdims=True)
    scale = np.ptp(a, axis, keepdims=True) / 255
    return np.round((a - low) / scale) * scale + low


def grids_of_weights() -> Iterator[Change]:
    """Yield each grid of integers with one scale for each array, or for each column."""
    for by_column in (False, True):

        def size(a: Array, by_column: bool = by_column) -> Array:
            axis = 0 if by_column and a.ndim > 1 else None
            return np.asarray(np.abs(a).max(axis, keepdims=True))

        for bits in (4, 8, 16):
            highest = 2 ** (bits - 1) - 1
            yield lambda a, b=bits, h=highest, s=size: on_scale(a, s(a), h, bits=b)
        for divisor, decoded in ((128, 0), (127.5, 0), (127, 128), (128, 127)):
            yield lambda a, d=divisor, e=decoded, s=size: on_scale(a, s(a), d, e)
        yield lambda a, s=size: on_power(a, s(a))
        for f in (with_zero_point, from_smallest):
            yield lambda a, c=by_column, f=f: f(a, 0 if c and a.ndim > 1 else None)


def by_gate(a: Array, bits: int) -> Array:
    """Return the same with a scale for each gate of the GRU, and one for a layer without gates."""
    highest = 2 ** (bits - 1) - 1
    blocks = np.split(a, 3 if a.shape[-1] == 3 * SIZES["M"] else 1, axis=-1)
    return np.concatenate([on_scale(b, np.abs(b).max(), highest, bits=bits) for b in blocks], -1)


Weights = dict[str, Arrays]


def in_scopes(weights: Weights, id_: str, change: Change, biases: Any = (True,)) -> Iterator[Any]:
    """Yield the weights of the recurrence, or all, with or without biases, after a change."""
    for of_all, with_bias in itertools.product((False, True), biases):
        changed = {
            group: {
                key: change(a)
                if (of_all or group != "dense") and (with_bias or key[0] != "b")
                else a
                for key, a in arrays.items()
            }
            for group, arrays in weights.items()
        }
        yield id_, {}, every_number(changed)


def every_number(weights: Weights) -> Array:
    return np.concatenate(
        [np.ravel(weights[g][key]) for g in sorted(weights) for key in sorted(weights[g])]
    )


def cut(a: Array) -> Array:
    return (a.astype("f").view("u4") & np.uint32(0xFFFF0000)).view("f").astype(float)


def roundings_of(weights: Weights) -> Iterator[Row]:
    for dtype in ("f2", ml_dtypes.bfloat16):
        name = f"weights.{np.dtype(dtype).name}"
        yield from in_scopes(
            weights, name, lambda a, d=dtype: a.astype("f").astype(d).astype(float)
        )
    yield from in_scopes(weights, "weights.bfloat16", cut)
    for grid in grids_of_weights():
        yield from in_scopes(weights, "weights.quantized", grid, (True, False))
    for bits in (4, 8, 16):
        change = partial(by_gate, bits=bits)
        yield from in_scopes(weights, "weights.quantized", change, (True, False))
    tens = [0.1**digits for digits in (2, 3, 4, 5)]
    halves = [0.5**bits for bits in (4, 5, 6, 7, 8, 10, 11, 12, 15)]
    for unit in (*tens, *halves):
        for whole in (np.round, np.trunc, *([np.floor] if unit in halves else [])):
            change = partial(multiples, unit=unit, whole=whole)
            yield from in_scopes(weights, "weights.quantized", change)
    for digits in (3, 4, 5):
        change = np.vectorize(lambda a, d=digits: float(f"{a:.{d - 1}e}"))
        (*_, of_all) = in_scopes(weights, "weights.quantized", change)
        yield of_all
    yield from in_scopes(weights, "weights.quantized", np.trunc)
    for limit in (0.01, 0.02, 0.05, 0.1):
        change = partial(pruned, limit=limit)
        yield from in_scopes(weights, "weights.pruned", change, (True, False))
    scales = {key: np.abs(weights["gru"][key]).max() / 127 for key in ("Wx", "Wh")}
    for of_x, of_h in (("Wx", "Wx"), ("Wh", "Wh"), ("Wh", "Wx")):
        wrong = {
            key: np.round(weights["gru"][key] / scales[key]) * scales[read]
            for key, read in (("Wx", of_x), ("Wh", of_h))
        }
        changed = {**weights, "gru": {**weights["gru"], **wrong}}
        yield "weights.other_scale", {}, every_number(changed)


def multiples(a: Array, unit: float, whole: Change) -> Array:
    return whole(a / unit) * unit


def pruned(a: Array, limit: float) -> Array:
    return a * (np.abs(a) >= limit)


def overflows_of(weights: Weights) -> Iterator[Row]:
    for limit in (0.5, 1, 2):
        change = partial(np.clip, a_min=-limit, a_max=limit)
        yield from in_scopes(weights, "weights.clipped", change)
    for bits in (7, 15):
        change = partial(np.clip, a_min=-1, a_max=1 - 0.5**bits)
        yield from in_scopes(weights, "weights.clipped", change)
    for one in (2.0**7, 2.0**15):
        for change in (
            lambda a, n=one: np.clip(np.round(a * n), -n, n - 1) / n,
            lambda a, n=one: ((np.round(a * n) + n) % (2 * n) - n) / n,
        ):
            yield from in_scopes(weights, "weights.overflow", change)


def test_each_rounding_of_weights_is_tried() -> None:
    """Those that overflow are larger than 2."""
    base = base_of(**SIZES, cell="gru")
    weights = {
        group: {key: 3.0 * a.astype(float) for key, a in arrays.items()}
        for group, arrays in base.weights.items()
    }
    base = replace(base, weights=weights)
    (y_hat,) = computed([base])
    base = base.map_quantities(lambda q: replace(q, values=y_hat))
    right = every_number(weights)
    every = itertools.chain(roundings_of(weights), overflows_of(weights))
    rows = [row for row in every if not np.array_equal(row[2], right)]
    tried = tried_from(base)
    found = [every_number(one.weights) for one in tried]
    assert untried(tried, found, rows, 1e-9, {"weights", "quantized"}) == []


@pytest.mark.parametrize(
    ("largest", "ids"), [(0.49, set()), (0.6, {"clipped"}), (1.1, {"clipped", "overflow"})]
)
def test_weights_overflow_if_they_are_large(largest: float, ids: set[str]) -> None:
    base = base_of(**SIZES, cell="simple")
    for group, arrays in base.weights.items():
        scale = largest / max(np.abs(a).max() for a in arrays.values())
        base = base.with_arrays(group, {key: scale * a for key, a in arrays.items()})
    found = {one.mistakes[0].id for one in hypotheses(base, rare=True)}
    assert found & {"weights.clipped", "weights.overflow"} == {f"weights.{id_}" for id_ in ids}


def test_small_roundings_are_not_tried_for_far_ports() -> None:
    base = base_of(**SIZES, cell="simple")
    for share, is_tried in ((0.45, True), (0.55, False)):
        far = base.map_quantities(lambda q, s=share: replace(q, values=q.values / (1 - s)))
        ids = {one.mistakes[0].id for one in hypotheses(far, rare=True)}
        assert ("weights.bfloat16" in ids) == is_tried


def test_one_of_two_layers_is_rounded_alone() -> None:
    base = base_of(**{**SIZES, "M": [5, 6]}, cell="simple")
    rows, names = [], ("simple_rnn", "simple_rnn_1")
    for name, axis, with_bias in itertools.product(names, (None, 0), (True, False)):
        arrays = {k: a.astype(float) for k, a in base.weights[name].items()}
        for key, a in arrays.items():
            sizes = np.abs(a).max(axis if a.ndim > 1 else None, keepdims=True)
            if with_bias or key != "bh":
                arrays[key] = np.round(a / (sizes / 127)) * (sizes / 127)
        rounded = every_number({**base.weights, name: arrays})
        rows.append(("weights.quantized", {"layer": name}, rounded))
    tried = [one for one in tried_from(base) if one.mistakes[0].where.layer]
    found = [every_number(one.weights) for one in tried]
    assert untried(tried, found, rows, 1e-6, {"quantized"}) == []
