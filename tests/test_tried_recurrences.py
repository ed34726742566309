"""Known mistakes of cells, directions, stacks and masks: what a port with each of them gives.

Every row is written out here by hand, and shares no code with the package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from keras import layers as la

from tests.helpers.handmade import LAYERS, SIZES
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import (
    FUNCTIONS,
    Function,
    Row,
    base_of,
    moved,
    sigmoid,
    tried_from,
    untried_results,
)

Array = np.ndarray
Arrays = dict[str, Array]
#: The value of an activation by its name: of a gate (``f``), a candidate (``c~``) or c in h.
Act = Callable[[str, Array], Array]
States = dict[str, Array]
Change = Callable[[States], States]


def same(states: States) -> States:
    return states


def right(use: str, z: Array) -> Array:
    return np.tanh(z) if use in ("c", "c~", "h~", "h") else sigmoid(z)


def run(
    cell: str,
    w: Arrays,
    x: Array,
    act: Act = right,
    before: Change = same,
    after: Change = same,
    start: States | None = None,
) -> States:
    """Return all states (N, T, M), with other states before or after each step."""
    zeros = np.zeros((len(x), len(w["Wh"])))
    states = start or ({"h": zeros, "c": zeros} if cell == "lstm" else {"h": zeros})
    every: dict[str, list[Array]] = {key: [] for key in states}
    for t in range(x.shape[1]):
        states = after(step(cell, w, x[:, t], before(states), act))
        for key, values in states.items():
            every[key].append(values)
    return {key: np.stack(values, axis=1) for key, values in every.items()}


def step(cell: str, w: Arrays, x: Array, states: States, act: Act) -> States:
    h = states["h"]
    if cell == "simple":
        return {"h": act("h", x @ w["Wx"] + h @ w["Wh"] + w["bh"])}
    if cell == "lstm":
        zi, zf, zc, zo = np.split(x @ w["Wx"] + h @ w["Wh"] + w["bh"], 4, axis=1)
        c = act("f", zf) * states["c"] + act("i", zi) * act("c~", zc)
        return {"h": act("o", zo) * act("c", c), "c": c}
    of_x, of_h = (
        np.split(a, 3, axis=1) for a in (x @ w["Wx"] + w["bh"][0], h @ w["Wh"] + w["bh"][1])
    )
    z, r = (act(use, of_x[k] + of_h[k]) for k, use in enumerate("zr"))
    return {"h": z * h + (1 - z) * act("h~", of_x[2] + r * of_h[2])}


def instead(uses: str, function: Function) -> Act:
    """Return activations of which those with these names are another function."""
    return lambda use, z: function(z) if use in uses.split() else right(use, z)


def twice(function: Function) -> Function:
    return lambda z: function(function(z))


GATES = {"simple": "", "lstm": "i f o", "gru": "z r"}
CANDIDATES = {"simple": "h", "lstm": "c~ c", "gru": "h~"}


def other_activations(cell: str) -> Iterator[tuple[str, Act]]:
    """Yield id and activations of every mistake in all activations of one name."""
    gates, others = GATES[cell], CANDIDATES[cell]
    for name in ("relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"):
        yield "activation.other", instead(others, FUNCTIONS[name])
    for name in ("hard_sigmoid", "older", "tanh", "linear") if gates else ():
        yield "activation.other", instead(gates, FUNCTIONS[name])
    for function in (*(lambda z: np.tanh(-z), lambda z: np.tanh(z / 2), lambda z: np.tanh(2 * z)),):
        yield "activation.argument", instead(others, function)
    yield "activation.twice", instead(others, twice(np.tanh))
    yield "activation.other", instead(others, lambda z: 1.7159 * np.tanh(2 * z / 3))
    yield "activation.other", instead(others, np.arctan)
    if not gates:
        return
    for function in (lambda z: sigmoid(-z), lambda z: sigmoid(z / 2), lambda z: sigmoid(2 * z)):
        yield "activation.argument", instead(gates, function)
    for function in (
        *(lambda z: np.clip(z, 0, 1), lambda z: 0.2 * z + 0.5, lambda z: z / 6 + 0.5),
        lambda z: 1.0 * (z > 0),
    ):
        yield "activation.other", instead(gates, function)
    yield "activation.twice", instead(gates, twice(sigmoid))
    yield "activation.exchanged", lambda use, z: right("h" if use in gates else "o", z)
    yield "activation.twice", lambda use, z: right(use, right(use, z))
    yield from single_activations(cell)


def single_activations(cell: str) -> Iterator[tuple[str, Act]]:
    """Yield id and activations of every mistake in one use alone."""
    for use in (*GATES[cell].split(), *CANDIDATES[cell].split()):
        id_ = "activation.gate" if use in GATES[cell] else "activation.candidate"
        id_ = "activation.state" if use == "c" else id_
        names = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "hard_tanh")
        for name in names[:4] if use == "c" else names:
            function = FUNCTIONS[name]
            own = np.tanh if id_ != "activation.gate" else sigmoid
            yield id_, instead(use, twice(function) if function is own else function)


def parts_of(cell: str, **options: Any) -> tuple[Any, dict[str, Arrays], Array, Function]:
    """Return a right port, weights and x in float64, and the head."""
    base = base_of(**{**SIZES, **options}, cell=cell)
    weights = {g: {k: a.astype(float) for k, a in w.items()} for g, w in base.weights.items()}
    head = weights["dense"]
    return base, weights, base.xs[0].astype(float), lambda h: h @ head["W"] + head["b"]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_each_wrong_activation_is_tried(cell: str) -> None:
    base, weights, x, head = parts_of(cell)
    w, where = weights[LAYERS[cell]], {"layer": LAYERS[cell]}
    rows = [(id_, where, head(run(cell, w, x, act)["h"])) for id_, act in other_activations(cell)]
    assert untried_results(base, rows) == []


def changed_states(cell: str, units: int) -> Iterator[tuple[str, Change, Change]]:
    """Yield id, and what happens to the states before and after each step."""
    keys = "hc" if cell == "lstm" else "h"
    some = [keys, *keys] if len(keys) > 1 else [keys]
    for chosen in some:
        zeroed = {key: 0.0 if key in chosen else 1.0 for key in keys}
        yield (
            "state.zeroed_each_step",
            lambda s, z=zeroed: {k: v * z[k] for k, v in s.items()},
            same,
        )
        for id_, function in roundings():

            def rounded(states: States, chosen: Any = chosen, f: Any = function) -> States:
                return {k: f(v) if k in chosen else v for k, v in states.items()}

            yield id_, same, rounded
    for unit in (0, units - 1):
        kept = np.arange(units) != unit
        yield "state.unit_omitted", same, lambda s, k=kept: {n: v * k for n, v in s.items()}


def roundings() -> Iterator[tuple[str, Function]]:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        name = f"numeric.{np.dtype(dtype).name}"
        yield name, lambda a, d=dtype: a.astype("f").astype(d).astype(float)
    for parts in (127, 128, 256, 1024, 4096, 32768):
        yield "numeric.rounded", lambda a, p=parts: np.round(a * p) / p
        yield "numeric.rounded", lambda a, p=parts: np.floor(a * p) / p
    for digits in (1, 2, 3, 4):
        yield "numeric.rounded", lambda a, d=digits: np.round(a * 10**d) / 10**d


@pytest.mark.parametrize("cell", ["simple", "lstm"])
def test_each_change_of_states_is_tried(cell: str) -> None:
    base, weights, x, head = parts_of(cell, T=4)
    w, where = weights[LAYERS[cell]], {"layer": LAYERS[cell]}
    rows = [
        (id_, where if "state" in id_ else {}, head(run(cell, w, x, right, before, after)["h"]))
        for id_, before, after in changed_states(cell, SIZES["M"])
    ]
    if cell == "lstm":
        rows.append(("state.c_passed_on", where, head(run(cell, w, x)["c"])))
    assert untried_results(base, rows) == []


def changed(states: States, key: str, function: Function) -> States:
    return {**states, key: function(states[key])}


def test_each_limit_of_states_is_tried() -> None:
    """c grows up to 10, and more, where its activations are linear."""
    base, weights, x, head = parts_of("lstm", activation="linear", T=5)
    x = 20 * x
    base, w, where = replace(base, xs=(x,)), weights["lstm"], {"layer": "lstm"}

    def act(use: str, z: Array, inside: str = "", function: Function = np.asarray) -> Array:
        z = function(z) if use in inside.split() else z
        return z if use in ("c", "c~") else sigmoid(z)

    states = run("lstm", w, x, act)
    assert min(np.abs(a).max() for a in states.values()) > 10
    rows: list[Row] = []
    for limit in (0.5, 1, 2, 3, 4, 5, 6, 8, 10):
        clip = partial(np.clip, a_min=-limit, a_max=limit)
        late = partial(changed, key="c", function=clip)
        for change, inside in (
            *((partial(changed, key="h", function=clip), ""), (late, ""), (late, "c")),
        ):
            h = run("lstm", w, x, partial(act, inside=inside, function=clip), after=change)["h"]
            rows.append(("state.clipped", where, head(h)))
        for uses in ("i f o", "c c~", "i f o c c~"):
            h = run("lstm", w, x, partial(act, inside=uses, function=clip))["h"]
            rows.append(("activation.clipped", where, head(h)))
    assert untried_results(base, rows) == []


# --- Directions ---------------------------------------------------------------------------------

WAYS = ("forward", "backward")


def directions(cell: str, weights: dict[str, Arrays], x: Array) -> Iterator[Row]:
    """Yield h of both directions, (N, T, 2 M), with each mistake."""
    names = [f"bidirectional/{way}_{LAYERS[cell]}" for way in WAYS]
    first, second = (weights[name] for name in names)
    where: dict[str, Any] = {"layer": "bidirectional"}
    forth, back = {**where, "direction": "forward"}, {**where, "direction": "backward"}

    def h_of(w: Arrays, x: Array, *, turned: bool = False) -> Array:
        return run(cell, w, x[:, ::-1] if turned else x)["h"][:, :: -1 if turned else 1]

    def both(f: Array, b: Array) -> Array:
        return np.concatenate([f, b], axis=-1)

    f, b = h_of(first, x), h_of(second, x, turned=True)
    yield "direction.halves_swapped", where, both(b, f)
    yield "merge.mode", where, np.stack([f, b], axis=-1).reshape(*f.shape[:2], -1)
    yield "direction.missing", forth, both(0 * f, b)
    yield "direction.missing", back, both(f, 0 * b)
    yield "direction.missing", forth, both(b, b)
    yield "direction.missing", back, both(f, f)
    for late in (1, -1):
        yield "direction.shifted", forth, both(moved(f, late), b)
        yield "direction.shifted", back, both(f, moved(b, late))
    yield "direction.not_reversed_back", back, both(f, b[:, ::-1])
    yield "direction.features_reversed", back, both(f, h_of(second, x[..., ::-1]))
    yield "direction.features_reversed", back, both(f, h_of(second, x[..., ::-1])[:, ::-1])
    yield "direction.reversed", back, both(f, h_of(second, x))
    yield "direction.reversed", back, both(f, h_of(second, x)[:, ::-1])
    yield "direction.reversed", forth, both(h_of(first, x, turned=True), b)
    yield "direction.reversed", forth, both(h_of(first, x, turned=True)[:, ::-1], b)
    yield "direction.weights_exchanged", where, both(h_of(second, x), h_of(first, x, turned=True))
    yield "direction.shared_weights", back, both(f, h_of(first, x, turned=True))
    yield "direction.shared_weights", forth, both(h_of(second, x), b)
    for key, array in (("Wx", "kernel"), ("Wh", "recurrent_kernel"), ("bh", "bias")):
        own, other = {**first, key: second[key]}, {**second, key: first[key]}
        of_own, of_other = h_of(own, x), h_of(other, x, turned=True)
        yield "direction.shared_weights", {**forth, "array": array}, both(of_own, b)
        yield "direction.shared_weights", {**back, "array": array}, both(f, of_other)
        yield "direction.weights_exchanged", {**where, "array": array}, both(of_own, of_other)


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_each_mistake_of_directions_is_tried(cell: str) -> None:
    base, weights, x, head = parts_of(cell, bidirectional=True, return_sequences=True)
    rows = [(id_, where, head(h)) for id_, where, h in directions(cell, weights, x)]
    assert untried_results(base, rows) == []


@pytest.mark.parametrize("right_mode", ["sum", "mul", "ave"])
def test_each_way_of_joining_directions_is_tried(right_mode: str) -> None:
    options = {"bidirectional": True, "merge_mode": right_mode, "return_sequences": True}
    base, weights, x, head = parts_of("simple", **options)
    names = [f"bidirectional/{way}_simple_rnn" for way in WAYS]
    f = run("simple", weights[names[0]], x)["h"]
    b = run("simple", weights[names[1]], x[:, ::-1])["h"][:, ::-1]
    modes = {"sum": f + b, "mul": f * b, "ave": (f + b) / 2}
    where = {"layer": "bidirectional"}
    rows = [("merge.mode", where, head(h)) for mode, h in modes.items() if mode != right_mode]
    assert untried_results(base, rows) == []
    assert sum(one.mistakes[0].id == "merge.mode" for one in tried_from(base)) == 2


# --- Stacks -------------------------------------------------------------------------------------


def stacks(cell: str, weights: dict[str, Arrays], x: Array) -> Iterator[Row]:
    """Yield h of the second of two layers, both of the size of x, with each mistake."""
    names = (LAYERS[cell], f"{LAYERS[cell]}_1")
    first, second = (weights[name] for name in names)
    one, other = ({"layer": name} for name in names)

    def of_both(a: Arrays, b: Arrays) -> Array:
        return run(cell, b, run(cell, a, x)["h"])["h"]

    h = run(cell, first, x)["h"]
    yield "layer.omitted", one, run(cell, second, x)["h"]
    yield "layer.omitted", other, h
    yield "stack.layer_skipped", other, run(cell, second, x)["h"]
    yield "stack.layers_swapped", {}, of_both(second, first)
    yield "stack.shared_weights", other, of_both(first, first)
    yield "stack.shared_weights", one, of_both(second, second)
    for key, array in (("Wx", "kernel"), ("Wh", "recurrent_kernel"), ("bh", "bias")):
        a, b = {**first, key: second[key]}, {**second, key: first[key]}
        yield "stack.shared_weights", {**one, "array": array}, of_both(a, second)
        yield "stack.shared_weights", {**other, "array": array}, of_both(first, b)
        yield "stack.layers_swapped", {"array": array}, of_both(a, b)
    last = np.repeat(h[:, -1:], h.shape[1], axis=1)
    yield "stack.last_repeated", other, run(cell, second, last)["h"]
    yield "stack.previous_step", other, run(cell, second, moved(h, 1))["h"]
    for name in ("relu", "tanh", "sigmoid"):
        yield "stack.activated", other, run(cell, second, FUNCTIONS[name](h))["h"]
    ends = {key: values[:, -1] for key, values in run(cell, first, x).items()}
    yield "state.passed_up", other, run(cell, second, h, start=ends)["h"]
    every, states = [], {key: 0 * values for key, values in ends.items()}
    for t in range(x.shape[1]):
        states = step(cell, first, x[:, t], states, right)
        states = step(cell, second, states["h"], states, right)
        every.append(states["h"])
    yield "stack.shared_states", other, np.stack(every, axis=1)


@pytest.mark.parametrize("cell", ["simple", "lstm"])
def test_each_mistake_of_a_stack_is_tried(cell: str) -> None:
    base, weights, x, head = parts_of(cell, D=5, M=[5, 5], T=4)
    rows = [(id_, where, head(h)) for id_, where, h in stacks(cell, weights, x)]
    assert untried_results(base, rows) == []


# --- Masks --------------------------------------------------------------------------------------


def masked_model(cell: str, value: float, *, sequences: bool) -> Any:
    layer = {"simple": la.SimpleRNN, "lstm": la.LSTM}[cell](
        5, name="rnn", return_sequences=sequences
    )
    layers = [la.Masking(value, name="masking"), layer, la.Dense(2, name="dense")]
    return randomized(sequential(*layers, shape=(9, 4)), seed=3)


def masked(cell: str, w: Arrays, x: Array, mask: Array, held: str = "hc") -> States:
    """Return the states of a run in which masked steps leave some of them as they are."""
    steps = iter(range(x.shape[1]))
    last: States = {}

    def before(states: States) -> States:
        last.update(states)
        return states

    def after(states: States) -> States:
        counts = mask[:, next(steps), None]
        return {k: np.where(counts | (k not in held), v, last[k]) for k, v in states.items()}

    return run(cell, w, x, right, before, after)


def masks_of(mask: Array) -> Iterator[Array]:
    """Yield the steps of each sample that are taken for those that count."""
    yield np.logical_and.accumulate(mask, axis=1)
    yield np.arange(mask.shape[1]) < mask.sum(axis=1)[:, None]
    yield np.logical_or.accumulate(mask[:, ::-1], axis=1)[:, ::-1]
    yield mask[[0] * len(mask)]
    yield mask[[-1] * len(mask)]


@pytest.mark.parametrize(
    ("cell", "value", "sequences"),
    [("simple", 0.0, True), ("simple", -1.25, False), ("lstm", -1.25, True)],
)
def test_each_mistake_of_a_mask_is_tried(cell: str, value: float, sequences: bool) -> None:
    model = masked_model(cell, value, sequences=sequences)
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("f")
    x[0, 7:] = x[1, 5:] = x[2, 4] = x[0, 2] = value
    x[1, 1, 2] = value  # one feature alone
    base = base_of(model=model, x=x, last=not sequences)
    weights = {g: {k: a.astype(float) for k, a in w.items()} for g, w in base.weights.items()}
    w, head, mask = weights["rnn"], weights["dense"], (x != value).any(axis=-1)
    zeroed = np.where(mask[..., None], x, 0)  # as Masking gives it

    def y_hat(h: Array) -> Array:
        return (h if sequences else h[:, -1:]) @ head["W"] + head["b"]

    def with_mask(x: Array, mask: Array, held: str = "hc") -> Array:
        return y_hat(masked(cell, w, x, mask, held)["h"])

    place, whose = {"layer": "masking"}, {"layer": "rnn"}
    rows: list[Row] = [("mask.ignored", {}, y_hat(run(cell, w, x)["h"]))]
    rows.append(("mask.inverted", place, with_mask(x, ~mask)))
    rows.append(("mask.any_feature", place, with_mask(x, (x != value).all(axis=-1))))
    rows += [("mask.length", {}, with_mask(x, other)) for other in masks_of(mask)]
    shorter, longer = mask.copy(), mask.copy()
    shorter[[0, 1, 2], [6, 4, 8]] = False
    longer[[0, 1], [7, 5]] = True
    rows += [("mask.shifted", {}, with_mask(x, other)) for other in (shorter, longer)]
    moved = np.stack([np.roll(one, steps, axis=0) for one, steps in zip(x, (2, 4, 0), strict=True)])
    rows.append(("mask.padding_first", {}, y_hat(run(cell, w, moved)["h"])))
    right_h = masked(cell, w, x, mask)["h"]
    rows.append(("mask.zeroed_output", whose, y_hat(right_h * mask[..., None])))
    counts = iter(mask.T)

    def reset(states: States) -> States:
        kept = next(counts)[:, None]
        return {k: v * kept for k, v in states.items()}

    rows.append(("mask.zeroed_state", whose, y_hat(run(cell, w, zeroed, after=reset)["h"])))
    if cell == "lstm":
        rows += [("mask.state_updated", {}, with_mask(x, mask, held)) for held in "hc"]
    assert untried_results(base, rows) == []


# --- Approximations, and states that are written too early --------------------------------------


def tables_of(function: Function) -> Iterator[Function]:
    for entries in (64, 128, 256, 512, 1024, 2048, 4096):
        for limit in (4.0, 5.0, 6.0, 8.0, 10.0):
            nodes = np.linspace(-limit, limit, entries)
            per_unit = (entries - 1) / (2 * limit)

            def entry(z: Array, limit: float = limit, per_unit: float = per_unit) -> Array:
                return (np.clip(z, -limit, limit) + limit) * per_unit

            yield lambda z, n=nodes: np.interp(z, n, function(n))
            yield lambda z, n=nodes, e=entry: function(n)[np.round(e(z)).astype(int)]
            yield lambda z, n=nodes, e=entry: function(n)[np.floor(e(z)).astype(int)]


def by_bits(shift: int) -> Function:
    def sigmoid(z: Array) -> Array:
        bits = (-z * (2**23 / np.log(2)) + (127 * 2**23 - shift)).astype("i4")
        return 1 / (1 + bits.view("f4").astype(float))

    return sigmoid


def three_lines(z: Array) -> Array:
    size = np.abs(z)
    above = np.where(size < 1, size / 4 + 0.5, np.where(size < 2.375, size / 8 + 0.625, 0))
    above = np.where(size >= 2.375, np.where(size < 5, size / 32 + 0.84375, 1), above)
    return np.where(z < 0, 1 - above, above)


def fraction(z: Array, odd: int) -> Array:
    """Return Lambert's continued fraction of tanh."""
    value: Any = float(odd)
    for term in range(odd - 2, 0, -2):
        value = term + z * z / value
    return z / value


def forms() -> Iterator[tuple[Function, Function]]:
    """Yield tanh and sigmoid in each form."""
    tanhs: list[Function] = [
        lambda z: (c := np.clip(z, -3, 3)) * (27 + c**2) / (27 + 9 * c**2),
        lambda z: np.clip(fraction(np.clip(z, -4, 4), 9), -1, 1),
        lambda z: np.clip(fraction(np.clip(z, -5, 5), 13), -1, 1),
        lambda z: z - z**3 / 3,
        lambda z: z - z**3 / 3 + 2 * z**5 / 15,
        lambda z: np.clip(z - z**3 / 3, -1, 1),
        lambda z: np.clip(z - z**3 / 3 + 2 * z**5 / 15, -1, 1),
        lambda z: 1.5 * (s := np.clip(z * 2 / 3, -1, 1)) - 0.5 * s**3,
    ]
    for tanh in tanhs:
        yield tanh, lambda z, f=tanh: (1 + f(z / 2)) / 2
    sigmoids: list[Function] = [three_lines, lambda z: (1 + z / (1 + np.abs(z))) / 2]
    sigmoids += [lambda z, n=n: 1 / (1 + (1 - z / n) ** n) for n in (64, 128, 256, 512, 1024, 4096)]
    sigmoids += [by_bits(shift) for shift in (0, 298765, 366393, 486411)]
    for sigmoid_ in sigmoids:
        yield lambda z, f=sigmoid_: 2 * f(2 * z) - 1, sigmoid_
    yield lambda z: z / (1 + np.abs(z)), sigmoids[1]
    yield from zip(tables_of(np.tanh), tables_of(sigmoid), strict=True)


def test_each_approximation_is_tried() -> None:
    """Of tanh, of sigmoid, and of both, for a port that is near."""
    base, weights, x, head = parts_of("gru", T=2, N=2)
    rows: list[Row] = []
    for tanh, of_gates in forms():
        for uses in ("h~", "z r", "h~ z r"):
            act = partial(approximated, uses=uses, functions=(tanh, of_gates))
            y_hat = head(run("gru", weights["gru"], x, act)["h"])
            rows.append(("activation.approximated", {}, y_hat))
    assert untried_results(base, rows, 1e-7) == []


def approximated(use: str, z: Array, uses: str, functions: tuple[Function, Function]) -> Array:
    function = functions[0] if use == "h~" else functions[1]
    return function(z) if use in uses.split() else right(use, z)


@pytest.mark.parametrize(("share", "is_tried"), [(0.14, True), (0.16, False)])
def test_no_approximation_is_tried_for_a_far_port(share: float, is_tried: bool) -> None:
    base = base_of(**SIZES, cell="simple")
    far = base.map_quantities(lambda q: replace(q, values=q.values / (1 - share)))
    ids = {one.mistakes[0].id for one in tried_from(far)}
    assert ("activation.approximated" in ids) == is_tried


def overwritten(cell: str, w: Arrays, x: Array, *, candidate: bool = False) -> Array:
    """Return h of a loop that writes each unit of h before it computes the next one."""
    states = {key: 0 * v[:, 0] for key, v in run(cell, w, x[:, :1]).items()}
    every = []
    for t in range(x.shape[1]):
        written = dict(states)
        for unit in range(len(w["Wh"])):
            new = step(cell, w, x[:, t], written, right)
            if candidate:
                h = one_gru_step(w, x[:, t], states["h"], of_candidate=written["h"])
                new = {"h": h}
            here = np.arange(len(w["Wh"])) == unit
            written = {key: np.where(here, new[key], old) for key, old in written.items()}
        states = written
        every.append(states["h"])
    return np.stack(every, axis=1)


def one_gru_step(
    w: Arrays, x: Array, h: Array, of_candidate: Any = None, factor: Any = None
) -> Array:
    """Return h after a step whose candidate reads other states, or whose h is another one."""
    m = h.shape[1]
    of_x, of_h = x @ w["Wx"] + w["bh"][0], h @ w["Wh"] + w["bh"][1]
    z, r = (sigmoid(of_x[:, k * m : k * m + m] + of_h[:, k * m : k * m + m]) for k in (0, 1))
    read = h if of_candidate is None else of_candidate
    read = z * h if factor == "z" else read
    inner = read @ w["Wh"][:, 2 * m :] + w["bh"][1][2 * m :]
    new = np.tanh(of_x[:, 2 * m :] + r * inner)
    kept = h if of_candidate is None else of_candidate
    kept = r * h if factor == "r" else kept
    return z * kept + (1 - z) * new


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_each_state_written_too_early_is_tried(cell: str) -> None:
    base, weights, x, head = parts_of(cell, T=4)
    w, where = weights[LAYERS[cell]], {"layer": LAYERS[cell]}
    rows: list[Row] = [("state.overwritten", where, head(overwritten(cell, w, x)))]
    if cell == "gru":
        for factor in "zr":
            h, steps = np.zeros((len(x), 5)), []
            for t in range(4):
                h = one_gru_step(w, x[:, t], h, factor=factor)
                steps.append(h)
            rows.append(("state.overwritten", where, head(np.stack(steps, axis=1))))
        rows.append(("state.overwritten", where, head(overwritten(cell, w, x, candidate=True))))
    assert untried_results(base, rows) == []
