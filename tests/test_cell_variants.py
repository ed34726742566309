"""One step of each known mistake in ports of a cell, against the formula that its text names."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnnshapes.cells.cell import Cell, WrongEquation
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.numpy_ops import NumpyOps
from tests.helpers.activations import sigmoid

N, D, M = 4, 3, 5
Array = np.ndarray
Step = Callable[[SimpleNamespace, Array, Array, Array], tuple[Array, ...]]
tanh = np.tanh


def shapes_of(cell: Cell) -> dict[str, tuple[Any, ...]]:
    sizes = {"D": D, "M": M}
    weights = cell.weights(Dim.named("D"))
    return {weight.key: tuple(dim.value(sizes) for dim in weight.dims) for weight in weights}


def weights_of(cell: Cell, rng: np.random.Generator) -> dict[str, Array]:
    return {key: rng.uniform(-1, 1, shape) for key, shape in shapes_of(cell).items()}


def computed(cell: Cell, arrays: dict[str, Array], x: Array, *states: Array) -> tuple[Array, ...]:
    ops, w = NumpyOps(), SimpleNamespace(**arrays)
    before = dict(zip(cell.state_names, states, strict=False))
    result = cell.step(ops, cell.project(ops, x, w), before, w)
    assert result.output is result.states["h"]
    return tuple(result.states.values())


# --- SimpleRNN ------------------------------------------------------------------------------------

SIMPLE: dict[str, list[Step]] = {
    "": [lambda w, x, h, c: (tanh(x @ w.Wx + h @ w.Wh + w.bh),)],
    "simple.activated_early": [
        lambda w, x, h, c: (tanh(x @ w.Wx + w.bh) + h @ w.Wh,),
        lambda w, x, h, c: (x @ w.Wx + w.bh + tanh(h @ w.Wh),),
    ],
    "simple.state_added": [lambda w, x, h, c: (h + tanh(x @ w.Wx + h @ w.Wh + w.bh),)],
    "bias.after_activation": [lambda w, x, h, c: (tanh(x @ w.Wx + h @ w.Wh) + w.bh,)],
}


# --- LSTM -----------------------------------------------------------------------------------------


def lstm(w: SimpleNamespace, x: Array, h: Array, c: Array) -> SimpleNamespace:
    """Return z, gates, candidate g, and the states before and after."""
    z = np.split(x @ w.Wx + h @ w.Wh + w.bh, 4, axis=-1)
    i, f, o = (sigmoid(z[n]) for n in (0, 1, 3))
    g = tanh(z[2])
    return SimpleNamespace(z=z, i=i, f=f, g=g, o=o, c0=c, c=f * c + i * g)


def of_lstm(state: Any, output: Any = None) -> Step:
    """Return a step with c_t, and h_t if it is not o tanh(c_t), as functions of what is known."""

    def step(w: SimpleNamespace, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
        v = lstm(w, x, h, c)
        v.c = state(v)
        return (v.o * tanh(v.c) if output is None else output(v), v.c)

    return step


def with_forget_bias(change: Callable[[Array], Array], other: Any = None) -> Step:
    def step(w: SimpleNamespace, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
        i, f, g, o = np.split(w.bh, 4)
        rest = (i, g, o) if other is None else [part * other for part in (i, g, o)]
        changed = SimpleNamespace(**{**vars(w), "bh": np.r_[rest[0], change(f), *rest[1:]]})
        return right_lstm(changed, x, h, c)

    return step


def with_peepholes(w: SimpleNamespace, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
    v = lstm(w, x, h, c)
    i, f = sigmoid(v.z[0] + c), sigmoid(v.z[1] + c)
    after = f * c + i * v.g
    return (sigmoid(v.z[3] + after) * tanh(after), after)


def right_c(v: SimpleNamespace) -> Array:
    return v.c


right_lstm = of_lstm(right_c)
LSTM: dict[str, list[Step]] = {
    "": [right_lstm],
    "lstm.c_not_activated": [of_lstm(right_c, lambda v: v.o * v.c)],
    "lstm.c_before": [of_lstm(right_c, lambda v: v.o * tanh(v.c0))],
    "lstm.c_stored_activated": [
        of_lstm(lambda v: tanh(v.c), lambda v: v.o * v.c),
        of_lstm(lambda v: tanh(v.c)),
    ],
    "lstm.output_activated": [of_lstm(right_c, lambda v: tanh(v.o * v.c))],
    "lstm.gate_omitted": [
        of_lstm(right_c, lambda v: tanh(v.c)),
        of_lstm(right_c, lambda v: v.c),
        of_lstm(lambda v: v.f * v.c0 + v.g),
        of_lstm(lambda v: v.c0 + v.i * v.g),
    ],
    "lstm.peepholes": [
        of_lstm(right_c, lambda v: sigmoid(v.z[3] + v.c) * tanh(v.c)),
        with_peepholes,
    ],
    "lstm.gates_coupled": [
        of_lstm(lambda v: (1 - v.i) * v.c0 + v.i * v.g),
        of_lstm(lambda v: v.f * v.c0 + (1 - v.f) * v.g),
    ],
    "lstm.forget_complement": [of_lstm(lambda v: (1 - v.f) * v.c0 + v.i * v.g)],
    "lstm.candidate_forgotten": [of_lstm(lambda v: v.f * (v.c0 + v.i * v.g))],
    "lstm.sum_for_product": [
        of_lstm(lambda v: v.f * v.c0 + v.i + v.g),
        of_lstm(lambda v: v.f + v.c0 + v.i * v.g),
    ],
    "lstm.gate_twice": [of_lstm(lambda v: v.f * v.c0 + v.i**2 * v.g)],
    "lstm.candidate_subtracted": [of_lstm(lambda v: v.f * v.c0 - v.i * v.g)],
    "lstm.states_exchanged": [
        lambda w, x, h, c: right_lstm(w, x, c, h),
        lambda w, x, h, c: right_lstm(w, x, h, h),
        lambda w, x, h, c: right_lstm(w, x, c, c),
    ],
    "bias.forget_again": [with_forget_bias(lambda b: b + 1), with_forget_bias(lambda b: b - 1)],
    "bias.untrained": [with_forget_bias(np.ones_like), with_forget_bias(np.ones_like, 0)],
    "bias.forget_twice": [with_forget_bias(lambda b: 2 * b)],
}


# --- GRU ------------------------------------------------------------------------------------------


def gru(w: SimpleNamespace, x: Array, h: Array, *, after: bool) -> SimpleNamespace:
    """Return gates, the parts of the candidate, and h before; ``hh(r)`` is that of h, reset."""
    bx, bh = w.bh if after else (w.bh, np.zeros(3 * M))
    x_z, x_r, x_h = np.split(x @ w.Wx + bx, 3, axis=-1)
    U_z, U_r, U_h = np.split(w.Wh, 3, axis=-1)
    b_z, b_r, b_h = np.split(bh, 3)
    z, r = sigmoid(x_z + h @ U_z + b_z), sigmoid(x_r + h @ U_r + b_r)
    reset = (lambda r: r * (h @ U_h + b_h)) if after else (lambda r: (r * h) @ U_h)
    return SimpleNamespace(z=z, r=r, x_h=x_h, hh=reset, h=h, n=tanh(x_h + reset(r)))


def right_h(v: SimpleNamespace) -> Array:
    return v.z * v.h + (1 - v.z) * v.n


def of_gru(after: bool, output: Any = right_h, candidate: Any = None, bias: Any = None) -> Step:
    """Return a step with h_t, the candidate and the bias as functions of what is known."""

    def step(w: SimpleNamespace, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
        own = w if bias is None else SimpleNamespace(**{**vars(w), "bh": bias(w.bh)})
        v = gru(own, x, h, after=after)
        v.n = v.n if candidate is None else candidate(v)
        return (output(v),)

    return step


def without(row: int, gate: int) -> Callable[[Array], Array]:
    kept = np.ones((2, 3, 1))
    kept[row, gate] = 0
    return lambda b: (b.reshape(2, 3, M) * kept).reshape(2, 3 * M)


def gru_steps(*, after: bool) -> dict[str, list[Step]]:
    steps: dict[str, list[Step]] = {
        "": [of_gru(after)],
        "gru.z_complement": [of_gru(after, lambda v: (1 - v.z) * v.h + v.z * v.n)],
        "gru.gate_omitted": [
            of_gru(after, candidate=lambda v: tanh(v.x_h + v.hh(1))),
            of_gru(after, lambda v: v.n),
        ],
        "gru.r_complement": [of_gru(after, candidate=lambda v: tanh(v.x_h + v.hh(1 - v.r)))],
        "gru.candidate_without_h": [of_gru(after, candidate=lambda v: tanh(v.x_h))],
        "gru.reset_of_input": [
            of_gru(after, candidate=lambda v: tanh(v.r * v.x_h + v.hh(v.r))),
            of_gru(after, candidate=lambda v: tanh(v.r * v.x_h + v.hh(1))),
        ],
        "gru.reset_of_candidate": [
            of_gru(after, candidate=lambda v: v.r * tanh(v.x_h + v.hh(1))),
        ],
        "gru.output_activated": [of_gru(after, lambda v: tanh(right_h(v)))],
        "gru.complement_omitted": [
            of_gru(after, lambda v: v.z * v.h + v.n),
            of_gru(after, lambda v: v.z * v.h + v.z * v.n),
        ],
        "gru.state_omitted": [of_gru(after, lambda v: (1 - v.z) * v.n)],
        "gru.z_omitted": [of_gru(after, lambda v: v.h + (1 - v.z) * v.n)],
    }
    if not after:
        both = of_gru(True, bias=lambda b: np.stack([b, 0 * b]))
        return {**steps, "gru.reset_after": [both]}
    zero = np.array([[1], [0]])
    return {
        **steps,
        "gru.reset_before": [
            of_gru(False, bias=lambda b: b.sum(axis=0)),
            of_gru(False, bias=lambda b: b[0]),
        ],
        "bias.recurrent_row_omitted": [of_gru(True, bias=lambda b: b * zero)],
        "bias.input_row_omitted": [of_gru(True, bias=lambda b: b * (1 - zero))],
        "bias.rows_summed": [
            of_gru(True, bias=lambda b: b.sum(axis=0) * zero),
            of_gru(True, bias=lambda b: b.sum(axis=0) * (1 - zero)),
        ],
        "bias.row_repeated": [
            of_gru(True, bias=lambda b: np.stack([b[0], b[0]])),
            of_gru(True, bias=lambda b: np.stack([b[1], b[1]])),
        ],
        "bias.omitted": [
            of_gru(True, bias=without(row, gate)) for row in (0, 1) for gate in range(3)
        ],
        "bias.rows_exchanged": [of_gru(True, bias=lambda b: b[::-1])],
    }


CELLS: dict[str, tuple[Cell, dict[str, list[Step]]]] = {
    "simple": (BY_NAME["simple"](Dim.named("M")), SIMPLE),
    "lstm": (BY_NAME["lstm"](Dim.named("M")), LSTM),
    "gru": (BY_NAME["gru"](Dim.named("M")), gru_steps(after=True)),
    "gru, reset before": (
        BY_NAME["gru"](Dim.named("M"), reset_after=False),  # type: ignore[call-arg]
        gru_steps(after=False),
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_each_variant_has_the_equation_of_its_text(name: str) -> None:
    cell, steps = CELLS[name]
    rng = np.random.default_rng(3)
    arrays, x = weights_of(cell, rng), rng.standard_normal((N, D))
    states = rng.uniform(-1, 1, (2, N, M))
    before = {key: array.copy() for key, array in arrays.items()}
    seen: Counter[str] = Counter()
    for id_, own, change in [("", cell, dict), *((v.id, v.cell, v.arrays) for v in cell.variants)]:
        expected = steps[id_][seen[id_]](SimpleNamespace(**arrays), x, *states)
        changed = change(arrays)
        assert {key: array.shape for key, array in changed.items()} == shapes_of(own), id_
        found = computed(own, changed, x, *states)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12, err_msg=f"{id_} {seen[id_]}")
        seen[id_] += 1
    assert seen == {id_: len(each) for id_, each in steps.items()}
    assert all(np.array_equal(array, before[key]) for key, array in arrays.items())


def test_variants_need_a_bias_for_its_mistakes() -> None:
    for name in BY_NAME:
        cell = BY_NAME[name](Dim.named("M"), use_bias=False)
        assert not [v.id for v in cell.variants if v.id.startswith("bias.")]
        arrays = weights_of(cell, np.random.default_rng(1))
        assert all(v.arrays(arrays).keys() == arrays.keys() for v in cell.variants)


#: The mistakes of a bias, and the families in which each is.
FAMILIES: dict[str, dict[str, str]] = {
    "simple": {"after_activation": "equation"},
    "lstm": {"forget_again": "bias rows", "untrained": "rows", "forget_twice": "bias"},
    "gru": {
        "recurrent_row_omitted": "bias",
        "input_row_omitted": "bias",
        "rows_summed": "bias rows",
        "row_repeated": "rows",
        "omitted": "rows",
        "rows_exchanged": "rows",
    },
}


@pytest.mark.parametrize("name", BY_NAME)
def test_each_variant_has_a_text_of_its_own(name: str) -> None:
    for cell in BY_NAME[name].with_all_switches(Dim.named("M")):
        texts = [variant.text for variant in cell.variants]
        assert len({cell.name, *texts}) == 1 + len(texts)
        assert all(text.count(" ") > 1 for text in texts)
        assert {v.family for v in cell.variants} <= {"cell", "equation", "bias", "rows"}
        assert all(v.id.startswith((f"{name}.", "bias.")) for v in cell.variants)
    variants = BY_NAME[name](Dim.named("M")).variants
    found = {(v.id, v.family) for v in variants if v.id.startswith("bias.")}
    assert found == {(f"bias.{k}", f) for k, v in FAMILIES[name].items() for f in v.split()}


@pytest.mark.parametrize("name", CELLS)
def test_a_method_is_wrong_in_one_way_at_a_time(name: str) -> None:
    cell, _ = CELLS[name]
    wrong = [variant for variant in cell.variants if isinstance(variant.cell, WrongEquation)]
    assert wrong
    for variant in wrong:
        assert {v.text: v.cell for v in variant.cell.variants}[variant.text] is variant.cell


#: The options of each cell that, on together, have a note beside that of its gates.
NOTED: dict[str, tuple[str, ...]] = {
    "simple": (),
    "lstm": ("use_bias", "unit_forget_bias"),
    "gru": ("use_bias", "reset_after"),
}


@pytest.mark.parametrize("name", NOTED)
def test_cells_note_their_gates_and_options(name: str) -> None:
    switches, seen = NOTED[name], set()
    for cell in BY_NAME[name].with_all_switches(Dim.named("M")):
        notes = list(cell.notes)
        if cell.gate_names:
            gates = notes.pop(0)
            assert all(f"{key} " in gates for key in cell.gate_names)
        options = tuple(cell.keras_options[switch] for switch in switches)
        seen.add(options)
        assert len(notes) == (bool(switches) and all(options)), cell
        assert all(switches[1] in note for note in notes)
    assert seen == {*itertools.product((True, False), repeat=len(switches))}
