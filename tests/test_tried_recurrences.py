"""Known mistakes of cells, directions, stacks and masks: what a port with each of them gives.

Every row is written out here by hand, and shares no code with the package.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import ml_dtypes
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where
from rnnshapes.port.mistakes import (
    axes,
    clipping,
    direction,
    quantity,
    restarts,
    stack,
    state,
    steps,
)
from rnnshapes.port.mistakes import mask as masks
from rnnshapes.port.mistakes.cell_changes import with_directions
from rnnshapes.port.mistakes.rounding import rounded_states, with_digits
from rnnshapes.port.screening import relative_distance, relative_distances, residuals_of
from rnnshapes.reference.outputs import STATES
from tests.helpers.handmade import LAYERS, SIZES
from tests.helpers.mgu import MGUCell
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import (
    FUNCTIONS,
    Function,
    Row,
    base_of,
    hypothesis_of,
    moved,
    sigmoid,
    tried_from,
    untried,
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


#: Families of mistakes about activations, and about masks.
OF_ACTIVATIONS = {
    *("activation", "recurrent_activation", "single activations", "wrong functions"),
}
OF_MASKS = {
    *("mask", "other masks", "shifted masks", "masks alone", "lengths of samples"),
    *("updated states", "zeroed outputs", "zeroed states"),
}
OF_ONE_MASK = {"masks alone", "zeroed outputs", "zeroed states"}
GATES = {"simple": "", "lstm": "i f o", "gru": "z r"}
CANDIDATES = {"simple": "h", "lstm": "c~ c", "gru": "h~"}


def other_activations(cell: str) -> Iterator[tuple[str, str, Act]]:
    """Yield id, a word and activations of every mistake in all activations of one name."""
    gates, others = GATES[cell], CANDIDATES[cell]
    for name in ("relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"):
        yield "activation.other", "not tanh", instead(others, FUNCTIONS[name])
    for name in ("hard_sigmoid", "older", "tanh", "linear") if gates else ():
        yield "activation.other", "not sigmoid", instead(gates, FUNCTIONS[name])
    for text, factor in (("-z", -1), ("z / 2", 0.5), ("2 z", 2)):
        of_tanh, of_sigmoid = (lambda z, f=f, n=factor: f(n * z) for f in (np.tanh, sigmoid))
        yield "activation.argument", f"tanh({text})", instead(others, of_tanh)
        if gates:
            yield "activation.argument", f"sigmoid({text})", instead(gates, of_sigmoid)
    yield "activation.twice", "tanh(tanh(z))", instead(others, twice(np.tanh))
    yield "activation.other", "1.7159", instead(others, lambda z: 1.7159 * np.tanh(2 * z / 3))
    yield "activation.other", "arctan", instead(others, np.arctan)
    if not gates:
        return
    for text, function in (
        *(("clip(z, 0, 1)", lambda z: np.clip(z, 0, 1)), ("z > 0", lambda z: 1.0 * (z > 0))),
        *(("0.2 z + 0.5", lambda z: 0.2 * z + 0.5), ("z / 6 + 0.5", lambda z: z / 6 + 0.5)),
    ):
        yield "activation.other", text, instead(gates, function)
    yield "activation.twice", "sigmoid(sigmoid(z))", instead(gates, twice(sigmoid))
    yield "activation.exchanged", "", lambda use, z: right("h" if use in gates else "o", z)
    yield "activation.twice", "every", lambda use, z: right(use, right(use, z))
    yield from single_activations(cell)


def single_activations(cell: str) -> Iterator[tuple[str, str, Act]]:
    """Yield id, a word and activations of every mistake in one use alone."""
    for use in (*GATES[cell].split(), *CANDIDATES[cell].split()):
        id_ = "activation.gate" if use in GATES[cell] else "activation.candidate"
        id_ = "activation.state" if use == "c" else id_
        names = ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear", "hard_tanh")
        for name in names[:4] if use == "c" else names:
            function = FUNCTIONS[name]
            own = np.tanh if id_ != "activation.gate" else sigmoid
            yield id_, use, instead(use, twice(function) if function is own else function)


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
    rows = [
        (id_, {**where, "says": [word]}, head(run(cell, w, x, act)["h"]))
        for id_, word, act in other_activations(cell)
    ]
    assert untried_results(base, rows, whole=OF_ACTIVATIONS) == []
    wrong = [one.mistakes[0] for one in tried_from(base) if one.families == ("wrong functions",)]
    functions = [re.match(r"(tanh|sigmoid)\(z\) = ", one.fix) for one in wrong]  # the right ones
    assert all(f and f[1] in one.text for f, one in zip(functions, wrong, strict=True))


def test_usual_activations_are_tried_for_rare_ones() -> None:
    names = {"activation": "relu", "recurrent_activation": "hard_sigmoid"}
    base, weights, x, head = parts_of("lstm", **names)

    def h_of(of_gates: str, of_c: str) -> Array:
        act = {"c": FUNCTIONS[of_c], "c~": FUNCTIONS[of_c]}
        other = FUNCTIONS[of_gates]
        return run("lstm", weights["lstm"], x, lambda use, z: act.get(use, other)(z))["h"]

    pairs = [("hard_sigmoid", name) for name in ("tanh", "linear", "sigmoid", "hard_tanh")]
    pairs += [("hard_sigmoid", name) for name in ("softsign", "elu")]
    pairs += [(name, "relu") for name in ("sigmoid", "older", "tanh", "linear")]
    rows = [("activation.other", {"layer": "lstm"}, head(h_of(*pair))) for pair in pairs]
    exchanged = head(h_of("relu", "hard_sigmoid"))
    rows.append(("activation.exchanged", {"layer": "lstm"}, exchanged))
    whole = {"activation", "recurrent_activation"}
    assert untried_results(base, rows, whole=whole) == []


def test_cells_without_activation_names_keep_their_activations() -> None:
    """In a stack, those of the LSTM alone are all applied twice."""
    base = base_of(**{**SIZES, "M": [5, 5]}, cell="lstm")
    lstm, other = (node.layer.name for node in base.network.recurrent)
    arrays = {key: array[..., :10] for key, array in base.weights[other].items()}
    position = base.network.nodes.index(base.network.recurrent[1])
    mgu = with_directions(base, position, lambda d: replace(d, cell=MGUCell(units=d.cell.units)))
    tried = tried_from(mgu.with_arrays(other, arrays))
    every = [one.mistakes[0] for one in tried if one.families == ("single activations",)]
    assert [one.where.layer for one in every if one.id == "activation.twice"] == [lstm]


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
    assert untried_results(base, rows, whole={"states", "rounded states"}) == []


def test_rounded_states_are_the_reason_for_few_digits() -> None:
    """What a port gives is then as exact as it stands; other mistakes remain."""
    base = base_of(**SIZES, cell="simple")
    base = base.map_quantities(lambda q: replace(q, values=np.round(q.values, 2)))
    first, last = Mistake("gates.order", "first"), Mistake("head.bias", "last")
    rounded = with_digits(base.with_mistake("gates", first)).with_mistake("head", last)
    assert [mistake.id for mistake in rounded.mistakes] == [first.id, "numeric.rounded", last.id]
    tried = [one for _, one in rounded_states(rounded)]
    assert tried != []
    for one in tried:
        assert (one.mistakes, one.families) == ((first, last), ("gates", "head"))
        assert not any(q.rounding.any() for q in one.quantities)


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
    assert untried_results(base, rows, whole={"clipping"}) == []


LIMITS = (0.5, 1, 2, 3, 4, 5, 6, 8, 10)


@pytest.mark.parametrize(
    ("given", "units", "expected"),
    [
        ("y_hat", 5, LIMITS),
        ("h", 5, ()),
        ("clipped h", 5, (2.5,)),
        ("zeros", 5, ()),
        ("last", 5, (4.5, 5, 6, 8, 10)),
        ("last", 2, (5, 6, 8, 10)),
        ("last zeros", 5, LIMITS),
    ],
)
def test_limits_are_those_that_a_port_can_have(given: str, units: int, expected: Any) -> None:
    """What it gives at every step has reached its limit; two numbers are no evidence of one."""
    spec = {**SIZES, "N": 3 if units > 2 else 1, "M": units, "cell": "simple", "activation": "relu"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    h = 40 * arrays["simple_rnn.h"]  # as for a larger x and bias
    assert h.max() > 10
    last = np.clip(h[:, -1], 0, 4.5)
    last[0, 0] = 4.5
    name, values = {
        "y_hat": ("y_hat", arrays["y_hat"]),
        "h": ("simple_rnn.h", h),
        "clipped h": ("simple_rnn.h", np.clip(h, 0, 2.5)),
        "zeros": ("simple_rnn.h", 0 * h),
        "last": ("simple_rnn.h", last),
        "last zeros": ("simple_rnn.h", 0 * last),
    }[given]
    base = hypothesis_of({name: values}, **spec)
    base = replace(base, xs=(40 * base.xs[0],))
    bias = base.weights["simple_rnn"]["bh"]
    base = base.with_arrays("simple_rnn", {"bh": 40 * bias})
    texts = [mistake.text for mistake, _ in clipping.clipped(base) if mistake.id == "state.clipped"]
    assert texts == [f"h is clipped to ±{limit:g} after each step" for limit in expected]


def test_limit_of_h_is_not_that_of_c() -> None:
    """Each has reached its own, if a port gives both."""
    spec = {**SIZES, "cell": "lstm"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    limits = {key: np.abs(arrays[f"lstm.{key}"]).max() / 2 for key in "hc"}
    for clipped_ in ("h", "c"):
        given = {f"lstm.{key}": arrays[f"lstm.{key}"] for key in "hc"}
        limit = limits[clipped_]
        given[f"lstm.{clipped_}"] = np.clip(given[f"lstm.{clipped_}"], -limit, limit)
        found = [m for m, _ in clipping.clipped(hypothesis_of(given, **spec))]
        texts = {m.text.partition(" after")[0] for m in found if m.id == "state.clipped"}
        assert texts == {f"{clipped_} is clipped to ±{limit:.5g}"}


# --- From sample to sample ----------------------------------------------------------------------


def one_by_one(
    cell: str, w: Arrays, x: Array, start: States, carried: str = "h c", times: int = 1
) -> Array:
    """Return h of samples, each of which starts from some of the last states of the one before."""
    zeros, every = start, []
    for n in [*range(len(x))] * times:
        states = run(cell, w, x[n : n + 1], start=start)
        every.append(states["h"])
        start = {k: v[:, -1] if k in carried else zeros[k] for k, v in states.items()}
    return np.concatenate(every[-len(x) :])


def in_turn(cell: str, w: Arrays, x: Array, states: States) -> Array:
    """Return h of samples that share one buffer for their states."""
    h = np.zeros((*x.shape[:2], len(w["Wh"])))
    for t, n in itertools.product(range(x.shape[1]), range(len(x))):
        states = step(cell, w, x[n : n + 1, t], states, right)
        h[n, t] = states["h"][0]
    return h


def carried_samples(cell: str, w: Arrays, x: Array) -> Iterator[tuple[str, str, Array]]:
    """Yield the id of a mistake between samples, words of its text, and h."""
    keys = ("h", "c") if cell == "lstm" else ("h",)
    zeros = {key: np.zeros((1, len(w["Wh"]))) for key in keys}
    ends = {key: a[:, -1] for key, a in run(cell, w, x).items()}
    yield "state.carried", "one sample to the next", one_by_one(cell, w, x, zeros)
    yield "state.carried", "earlier run", run(cell, w, x, start=ends)["h"]
    twice_ = one_by_one(cell, w, x, zeros, times=2)
    yield "state.carried", "one sample to the next, and the states of an earlier run", twice_
    yield "state.shared_by_samples", "one buffer", in_turn(cell, w, x, zeros)
    for key in keys if len(keys) > 1 else ():
        yield "state.carried", f"only all {key} are", one_by_one(cell, w, x, zeros, key)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_each_way_of_carrying_states_is_tried(cell: str, last: bool) -> None:
    """To the next sample, to the next run, or to the next sample at each step."""
    spec = {**SIZES, "cell": cell}
    _, weights, x, head = parts_of(cell)
    for id_, words, h in carried_samples(cell, weights[LAYERS[cell]], x):
        y_hat = head(h)
        base = hypothesis_of({"y_hat": y_hat[:, -1] if last else y_hat}, **spec)
        assert [m for m in carried_in(base) if m.id == id_ and words in m.text] != []


def carried_in(base: Hypothesis) -> list[Mistake]:
    """Return the mistakes between samples that a port makes."""
    ways = (state.carried_states, state.carried_runs, state.states_of_samples)
    tried = [one for way in (*ways, state.carried_alone) for one in way(base)]
    distances = relative_distances([hypothesis for _, hypothesis in tried])
    return [mistake for (mistake, _), d in zip(tried, distances, strict=True) if d < 1e-6]


def pooled_model() -> Any:
    layers = [la.SimpleRNN(5, return_sequences=True), la.GlobalAveragePooling1D(), la.Dense(2)]
    return randomized(sequential(*layers, shape=(9, 4)), seed=3)


def stateful_model() -> Any:
    layer = la.SimpleRNN(5, return_sequences=True, stateful=True)
    return randomized(keras.Sequential([keras.Input(batch_shape=(3, 9, 4)), layer]), seed=3)


@pytest.mark.parametrize(
    ("spec", "counts"),
    [
        ({**SIZES, "cell": "lstm"}, (1, 2, 1, 2)),
        ({**SIZES, "cell": "simple", "N": 1}, (0, 1, 0, 0)),
        ({**SIZES, "cell": "lstm", "N": 17}, (1, 2, 1, 0)),
        ({**SIZES, "cell": "lstm", "M": [5, 3], "N": 16}, (1, 2, 1, 4)),
        ({**SIZES, "cell": "simple", "bidirectional": True}, (0, 0, 0, 3)),
        ({"model": pooled_model, "N": 3, "what": "output"}, (0, 0, 0, 1)),
        ({"model": stateful_model, "N": 3, "what": "output"}, (0, 0, 0, 0)),
    ],
)
def test_states_are_carried_where_they_can_be(spec: Any, counts: tuple[int, ...]) -> None:
    """From one of several samples to the next, and where an output has time steps."""
    spec = {key: make() if callable(make) else make for key, make in spec.items()}
    base = base_of(**spec)
    ways = (state.carried_states, state.carried_runs, state.states_of_samples)
    assert tuple(len(list(way(base))) for way in (*ways, state.carried_alone)) == counts


@pytest.mark.parametrize("carried", ["first", "second"])
def test_states_of_one_layer_alone_are_carried(carried: str) -> None:
    options = {"M": [5, 3], "return_sequences": True}
    _, weights, h, head = parts_of("simple", **options)
    names = ("simple_rnn", "simple_rnn_1")
    for name, which in zip(names, ("first", "second"), strict=True):
        w = weights[name]
        start = {"h": np.zeros((1, len(w["Wh"])))}
        h = one_by_one("simple", w, h, start) if which == carried else run("simple", w, h)["h"]
    base = hypothesis_of({"y_hat": head(h)}, **{**SIZES, **options}, cell="simple")
    name = names[carried == "second"]
    assert [m.text for m in carried_in(base) if f"those of {name} are" in m.text] != []


def test_states_of_both_directions_are_carried() -> None:
    """Each from its own last step, which is the first one of x in the backward direction."""
    options = {"bidirectional": True, "return_sequences": True}
    _, weights, x, head = parts_of("simple", **options)
    start, sides = {"h": np.zeros((1, SIZES["M"]))}, []
    for way, turn in (("forward", 1), ("backward", -1)):
        w = weights[f"bidirectional/{way}_simple_rnn"]
        sides.append(one_by_one("simple", w, x[:, ::turn], start)[:, ::turn])
    y_hat = head(np.concatenate(sides, axis=-1))
    base = hypothesis_of({"y_hat": y_hat}, **SIZES, cell="simple", **options)
    (mistake,) = carried_in(base)
    assert mistake.id == "state.carried"
    assert "only" not in mistake.text


WAYS = ("forward", "backward")

# --- Steps and samples ----------------------------------------------------------------------------


def misplaced(y: Array, *ends: Any) -> Iterator[Row]:
    """Yield right numbers at wrong places, or with each end of the array left at 0."""
    for end in ends:
        unwritten = y.copy()
        unwritten[end] = 0
        yield "axes.end_unwritten", {}, unwritten
    other = np.full_like(y[:1], 0.3)
    yield "axes.samples_shifted", {}, np.concatenate([other, y[:-1]])
    yield "axes.samples_shifted", {}, np.concatenate([y[1:], other])
    yield "axes.samples_permuted", {"array": "y_hat"}, y[[*range(1, len(y)), 0]]
    yield "axes.units_permuted", {"array": "y_hat"}, y[..., ::-1]


def other_steps(cell: str, w: Arrays, x: Array, head: Function) -> Iterator[Row]:
    """Yield what a port gives of every step, y_hat (N, T, K), with each mistake."""
    layer, of_x, (n, t) = {"layer": LAYERS[cell]}, {"array": "x"}, x.shape[:2]
    h, count = run(cell, w, x)["h"], np.arange(t)
    y = head(h)
    yield "time.shifted", {}, np.concatenate([y[:, :1] + 1, y[:, :-1]], axis=1)
    yield "time.shifted", {}, np.concatenate([y[:, 1:], y[:, :1] + 1], axis=1)
    yield "time.reversed_and_back", {}, head(run(cell, w, x[:, ::-1])["h"][:, ::-1])
    yield "time.output_reversed", {}, y[:, ::-1]
    yield "time.last_repeated", {}, y[:, [-1] * t]
    for step in range(1, t):
        without = run(cell, w, np.delete(x, step, axis=1))["h"]
        where = {**of_x, "step": step}
        yield "time.step_omitted", where, head(without[:, count - (count >= step)])
    for length in (2, 4):
        windows = [run(cell, w, x[:, max(0, k + 1 - length) : k + 1])["h"][:, -1] for k in count]
        yield "time.window", of_x, head(np.stack(windows, axis=1))
        blocks = [run(cell, w, x[:, k : k + length])["h"] for k in range(0, t, length)]
        yield "state.zeroed_in_blocks", {}, head(np.concatenate(blocks, axis=1))
    alternate = 0 * h
    for start in (0, 1):
        alternate[:, start::2] = run(cell, w, x[:, start::2])["h"]
    yield "state.two_before", {}, head(alternate)
    later = run(cell, w, x[:, 1:])["h"]
    yield "time.first_omitted", layer, head(np.concatenate([0 * h[:, :1], later], axis=1))
    yield "time.last_omitted", layer, head(h * (count < t - 1)[:, None])
    over_samples = run(cell, w, np.swapaxes(x, 0, 1))["h"]
    yield "axes.loop_over_samples", {}, head(np.swapaxes(over_samples, 0, 1))
    yield "axes.output_reshaped", {}, np.swapaxes(y, 0, 1).reshape(y.shape)
    yield "axes.output_reshaped", {}, y.ravel(order="F").reshape(y.shape)
    yield from misplaced(y, np.s_[-1, -1, -1], np.s_[:, -1], np.s_[-1])
    if n == t:
        yield "axes.output_swapped", {}, np.swapaxes(y, 0, 1)


#: Mistakes about which steps are computed, and which are given.
OF_STEPS = (
    *(steps.misplaced_time, steps.other_steps, steps.other_outputs, steps.omitted_steps),
    *(steps.other_lengths, steps.regrouped_steps, restarts.states_set_to_0),
    *(restarts.unprocessed_ends, axes.swapped_axes, axes.reshaped_axes, axes.other_samples),
    *(axes.permuted_outputs, axes.unwritten_ends, direction.other_directions),
)


def unexplained(rows: Iterable[tuple[str, Any, Any]], **spec: Any) -> list[Any]:
    """Return the rows that no mistake about steps makes of a network, with this id and place.

    The last entry of a row is y_hat, or all arrays that a port gives.
    """
    missing = []
    for number, (id_, where, given) in enumerate(rows):
        base = hypothesis_of(given if isinstance(given, dict) else {"y_hat": given}, **spec)
        tried = [one for way in OF_STEPS for one in way(base) if one[0].id == id_]
        distances = relative_distances([one for _, one in tried])
        near = [m.where for (m, _), d in zip(tried, distances, strict=True) if d < 1e-6]
        if Where(**where) not in near:
            missing.append((number, id_, where))
    return missing


@pytest.mark.parametrize("sizes", [{}, {"T": 8, "N": 8}, {"N": 2}])
def test_each_port_of_other_steps_is_explained(sizes: Any) -> None:
    _, weights, x, head = parts_of("simple", **sizes)
    rows = other_steps("simple", weights["simple_rnn"], x, head)
    assert unexplained(rows, **{**SIZES, **sizes}, cell="simple") == []


def test_repeated_samples_are_no_other_order() -> None:
    """Two that are the same in x do not explain a third one, nor units of h those of y_hat."""
    base = base_of(**SIZES, cell="simple", what="simple_rnn.h y_hat")
    x = base.xs[0].copy()
    x[1] = x[0]
    base = replace(base, xs=(x,))
    h, y_hat = (q.values for q in computed_of(base))
    wrong = y_hat + 5 * (np.arange(len(x)) == 1)[:, None, None]
    for given in ((h, wrong), (h[..., ::-1], wrong)):
        quantities = [replace(q, values=a) for q, a in zip(base.quantities, given, strict=True)]
        assert list(axes.permuted_outputs(replace(base, quantities=tuple(quantities)))) == []


def test_order_of_thousands_of_samples_is_right() -> None:
    base = base_of(cell="simple", N=3000, T=1, D=2, M=3, K=1)
    assert list(axes.permuted_outputs(base)) == []


def computed_of(base: Hypothesis) -> list[Any]:
    """Return the quantities as the network itself has them."""
    residuals = residuals_of([base])[0]
    return [
        replace(q, values=q.values - left)
        for q, left in zip(base.quantities, residuals, strict=True)
    ]


@pytest.mark.parametrize(
    ("sizes", "count"),
    [({}, 3), ({"N": 1}, 2), ({"T": 1}, 2), ({"N": 1, "T": 1}, 1), ({"N": 1, "T": 1, "K": 1}, 0)],
)
def test_an_unwritten_end_is_not_all_of_an_array(sizes: dict[str, int], count: int) -> None:
    """The last number, step or sample: zeros alone may be anything."""
    base = base_of(**{**SIZES, **sizes}, cell="simple")
    zeros = base.map_quantities(lambda q: replace(q, values=0 * q.values))
    assert len(list(axes.unwritten_ends(zeros))) == count


def last_steps(w: Arrays, x: Array, head: Function) -> Iterator[Row]:
    """Yield what a port gives of the last step, y_hat (N, K), with each mistake."""
    h, of_x = run("simple", w, x)["h"], {"array": "x"}
    y = head(h[:, -1])

    def last(x: Array) -> Array:
        return head(run("simple", w, x)["h"][:, -1])

    yield "time.last_omitted", {}, head(h[:, -2])
    yield "time.first_only", {}, head(h[:, 0])
    yield "time.reversed", {}, last(x[:, ::-1])
    yield "time.first_omitted", of_x, last(x[:, 1:])
    yield "time.end_repeated", of_x, last(np.concatenate([x, x[:, -1:]], axis=1))
    yield "time.window", of_x, head(h[:, 3])
    yield "time.window", of_x, last(x[:, -4:])
    yield "time.padded", of_x, last(np.pad(x, ((0, 0), (0, 2), (0, 0))))
    yield "axes.loop_over_samples", {}, head(run("simple", w, x[:, -1][None])["h"][0])
    yield from misplaced(y, np.s_[-1, -1], np.s_[-1])


def beside_states(w: Arrays, x: Array, head: Function) -> Iterator[tuple[str, Any, Arrays]]:
    """Yield h and y_hat of every step, one of which alone shows a mistake, or both."""
    h = run("simple", w, x)["h"]
    y, order = head(h), [2, 0, 1, 4, 3]
    zeroed = h * (np.arange(h.shape[1]) < h.shape[1] - 1)[:, None]
    yield "axes.end_unwritten", {}, {"simple_rnn.h": zeroed, "y_hat": y}
    yield "axes.units_permuted", {"array": "h"}, {"simple_rnn.h": h[..., order], "y_hat": y}
    yield (
        "axes.units_permuted",
        {"array": "h"},
        {"simple_rnn.h": h[..., order], "y_hat": y[..., ::-1]},
    )
    turned = h[[*range(1, len(h)), 0]]
    yield "axes.samples_permuted", {"array": "h"}, {"simple_rnn.h": turned, "y_hat": head(turned)}
    yield "time.output_reversed", {}, {"simple_rnn.h": h[:, ::-1], "y_hat": y[:, ::-1]}
    first = {"simple_rnn.h": zeroed, "y_hat": head(zeroed)}
    yield "time.last_omitted", {"layer": "simple_rnn"}, first
    later = np.concatenate([0 * h[:, :1], run("simple", w, x[:, 1:])["h"]], axis=1)
    both = {"simple_rnn.h": later, "y_hat": head(later)}
    yield "time.first_omitted", {"layer": "simple_rnn"}, both
    yield "time.first_omitted", {"layer": "simple_rnn"}, {"simple_rnn.h": later}


@pytest.mark.parametrize("rows", [last_steps, beside_states])
def test_ports_of_last_steps_or_states_are_explained(rows: Any) -> None:
    _, weights, x, head = parts_of("simple")
    found = rows(weights["simple_rnn"], x, head)
    assert unexplained(found, **SIZES, cell="simple") == []


def without_end(w: Arrays, x: Array, which: str, *, last: bool) -> Array:
    """Return h without its first or its last step, where it is 0; or the last h."""
    part = x[:, 1:] if which == "first" else x[:, :-1]
    h = run("simple", w, part)["h"]
    if last:
        return h[:, -1]
    zeros = 0 * h[:, :1]
    return np.concatenate([zeros, h] if which == "first" else [h, zeros], axis=1)


def in_blocks(w: Arrays, x: Array, length: int) -> Array:
    parts = [run("simple", w, x[:, k : k + length])["h"] for k in range(0, x.shape[1], length)]
    return np.concatenate(parts, axis=1)


def directed(
    sides: list[Arrays], x: Array, *, last: bool
) -> Iterator[tuple[str, Any, list[Array]]]:
    """Yield h of each side in the order of processing, with mistakes in one or all.

    The first side goes backwards if it is alone, otherwise the second does.
    """
    xs = [x[:, ::-1]] if len(sides) == 1 else [x, x[:, ::-1]]
    name = "simple_rnn" if len(sides) == 1 else "bidirectional"
    each = [run("simple", w, one)["h"] for w, one in zip(sides, xs, strict=True)]
    each = [h[:, -1] for h in each] if last else each
    for length in (2, 3, 5):
        blocks = [in_blocks(w, one, length) for w, one in zip(sides, xs, strict=True)]
        yield "state.zeroed_in_blocks", {}, [h[:, -1] for h in blocks] if last else blocks
    for which in ("first", "last"):
        short = [without_end(w, one, which, last=last) for w, one in zip(sides, xs, strict=True)]
        if len(sides) > 1:
            yield f"time.{which}_omitted", {}, short
        for number, way in enumerate(WAYS[: len(sides)]):
            where = {"layer": name, **({"direction": way} if len(sides) > 1 else {})}
            changed = [short[k] if k == number else h for k, h in enumerate(each)]
            yield f"time.{which}_omitted", where, changed


def model_of_two_inputs() -> Any:
    inputs = [keras.Input((9, 4), name=name) for name in "ab"]
    rnn = la.SimpleRNN(5, return_sequences=True, name="rnn")
    return randomized(keras.Model(inputs, rnn(la.Add(name="add")(inputs))), seed=3)


def test_states_are_set_to_0_in_one_sequence() -> None:
    """In blocks or windows; not in one of several inputs, nor where a batch keeps its states."""
    plain = sequential(la.SimpleRNN(5, return_sequences=True), shape=(9, 4))
    texts, ways = [], (restarts.states_set_to_0, steps.regrouped_steps)
    for model in (plain, model_of_two_inputs(), stateful_model()):
        base = base_of(model=model, N=3, what="output")
        late = 0.5 * (np.arange(9) >= 4)[:, None]
        wrong = base.map_quantities(lambda q, late=late: replace(q, values=q.values + late))
        texts += [[mistake.text for mistake, _ in way(wrong)] for way in ways]
    assert [len(some) for some in texts] == [1, 1, 0, 0, 0, 0]
    assert all(" 4 steps" in text for some in texts for text in some)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_steps_are_omitted_in_each_direction(bidirectional: bool, last: bool) -> None:
    options = {"bidirectional": True} if bidirectional else {"go_backwards": True}
    options["return_sequences"] = not last
    _, weights, x, head = parts_of("simple", **options)
    sides = [w for name, w in weights.items() if name != "dense"]
    rows = []
    for id_, where, (*first, second) in directed(sides, x, last=last):
        turned = second if last or not first else second[:, ::-1]
        rows.append((id_, where, head(np.concatenate([*first, turned], axis=-1))))
    assert unexplained(rows, **SIZES, cell="simple", **options) == []


def test_masked_steps_are_omitted_in_each_direction() -> None:
    """Its last state is that of the step before."""
    x, mask = padded_x()
    both = la.Bidirectional(la.SimpleRNN(3, name="rnn"), name="both")
    layers = [la.Masking(-1.25), both, la.Dense(2, name="dense")]
    model = randomized(sequential(*layers, shape=(9, 4)), seed=3)
    arrays = base_of(model=model, x=x, what="output").weights
    *sides, dense = ({k: a.astype(float) for k, a in w.items()} for w in arrays.values() if w)
    count, rows = np.arange(9), []
    for number, which in itertools.product((0, 1), ("first", "last")):
        kept = count > 0 if (which == "first") == (number == 0) else count < 8
        h = [
            masked("simple", w, x[:, ::turn], (mask & (kept | (side != number)))[:, ::turn])["h"]
            for side, (w, turn) in enumerate(zip(sides, (1, -1), strict=True))
        ]
        output = np.concatenate([a[:, -1] for a in h], axis=-1) @ dense["W"] + dense["b"]
        where = {"layer": "both", "direction": WAYS[number]}
        rows.append((f"time.{which}_omitted", where, {"output": output}))
    assert unexplained(rows, model=model, x=x) == []


def test_ends_alone_have_plainer_mistakes() -> None:
    """Of a port that gives the last step, or states of which the last ones are 0."""
    spec = {**SIZES, "cell": "simple"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    h = arrays["simple_rnn.h"]
    zeroed = h * (np.arange(h.shape[1]) < h.shape[1] - 1)[:, None]
    assert list(restarts.unprocessed_ends(hypothesis_of({"simple_rnn.h": zeroed}, **spec))) == []
    for given in ({"simple_rnn.h": h[:, -1]}, {"y_hat": arrays["y_hat"][:, -1]}):
        base = hypothesis_of(given, **spec)
        assert [*restarts.unprocessed_ends(base), *restarts.states_set_to_0(base)] == []


def with_states(first: Arrays, second: Arrays, x: Array, head: Function) -> Iterator[Any]:
    """Yield the states of both directions and y_hat, or the last of each, with a mistake."""
    where: dict[str, Any] = {"layer": "bidirectional"}
    forth, back = {**where, "direction": "forward"}, {**where, "direction": "backward"}
    names = [f"bidirectional/{way}_simple_rnn.h" for way in WAYS]

    def h_of(w: Arrays, *, turned: bool, start: States | None = None) -> Array:
        h = run("simple", w, x[:, ::-1] if turned else x, start=start)["h"]
        return h[:, ::-1] if turned else h

    def given(f: Array, b: Array, joined: Array | None = None) -> Arrays:
        every = np.concatenate([f, b], axis=-1) if joined is None else joined
        return {names[0]: f, names[1]: b, "y_hat": head(every)}

    f, b = h_of(first, turned=False), h_of(second, turned=True)
    units = f.shape[-1]
    yield "direction.states_exchanged", where, given(b, f, np.concatenate([f, b], -1))
    yield "direction.halves_swapped", where, given(b, f)
    yield "direction.halves_swapped", where, given(f, b, np.concatenate([b, f], -1))
    mixed = np.stack([f, b], axis=-1).reshape(*f.shape[:2], -1)
    yield "merge.mode", where, given(f, b, mixed)
    yield "merge.mode", where, given(mixed[..., :units], mixed[..., units:])
    yield "direction.not_reversed_back", back, given(f, b[:, ::-1])
    for turn in (1, -1):
        yield "direction.reversed", back, given(f, h_of(second, turned=False)[:, ::turn])
        yield "direction.reversed", forth, given(h_of(first, turned=True)[:, ::turn], b)
    carried = h_of(second, turned=True, start={"h": f[:, -1]})
    yield "direction.states_carried", back, given(f, carried)


def test_each_port_of_both_directions_is_explained() -> None:
    options = {"bidirectional": True, "return_sequences": True}
    _, weights, x, head = parts_of("simple", **options)
    first, second = (w for name, w in weights.items() if name != "dense")
    rows = list(with_states(first, second, x, head))
    assert unexplained(rows, **SIZES, cell="simple", **options) == []


def test_each_port_of_last_states_is_explained() -> None:
    """Each direction ends at its own end of x, and a port takes another one."""
    _, weights, x, head = parts_of("simple", bidirectional=True)
    first, second = (w for name, w in weights.items() if name != "dense")
    forth, back = ({"layer": "bidirectional", "direction": way} for way in WAYS)
    names = [f"bidirectional/{way}_simple_rnn.h" for way in WAYS]
    f, b = run("simple", first, x)["h"], run("simple", second, x[:, ::-1])["h"]
    f_back, b_forth = run("simple", first, x[:, ::-1])["h"], run("simple", second, x)["h"]
    rows = [
        (
            id_,
            where,
            {"output": head(np.concatenate(ends, -1)), **dict(zip(names, ends, strict=True))},
        )
        for id_, where, ends in (
            ("direction.reversed", back, (f[:, -1], b_forth[:, -1])),
            ("direction.reversed", forth, (f_back[:, -1], b[:, -1])),
        )
    ]
    place = {"layer": "bidirectional"}
    for id_, where, ends in (
        ("direction.last_step", place, (f[:, -1], b[:, 0])),
        ("direction.last_step", place, (f[:, 0], b[:, -1])),
        ("direction.reversed", back, (f[:, -1], b_forth[:, 0])),
        ("direction.reversed", forth, (f_back[:, 0], b[:, -1])),
    ):
        rows.append((id_, where, {"output": head(np.concatenate(ends, -1))}))
    assert unexplained(rows, **SIZES, cell="simple", bidirectional=True) == []


def test_last_states_below_another_layer_are_explained() -> None:
    """They are not joined to the output: the layer above receives all steps."""
    options = {"bidirectional": True, "M": [5, 3]}
    _, weights, x, head = parts_of("simple", **options)
    sides, above = [*weights.values()][:2], [*weights.values()][2:4]

    def both(sides: list[Arrays], x: Array, turns: tuple[int, int] = (1, -1)) -> list[Array]:
        pairs = zip(sides, turns, strict=True)
        return [run("simple", w, x[:, ::turn])["h"][:, ::turn] for w, turn in pairs]

    rows = []
    for number, (way, turns) in enumerate(zip(WAYS, ((-1, -1), (1, 1)), strict=True)):
        h = both(sides, x, turns)
        f, b = both(above, np.concatenate(h, axis=-1))
        output = head(np.concatenate([f[:, -1], b[:, 0]], axis=-1))
        where = {"layer": "bidirectional", "direction": way}
        for end in (0, -1):
            given = {f"bidirectional/{way}_simple_rnn.h": h[number][:, end], "output": output}
            rows.append(("direction.reversed", where, given))
        for which in ("first", "last"):
            h, turn = both(sides, x), 1 - 2 * number
            h[number] = without_end(sides[number], x[:, ::turn], which, last=False)[:, ::turn]
            f, b = both(above, np.concatenate(h, axis=-1))
            output = head(np.concatenate([f[:, -1], b[:, 0]], axis=-1))
            rows.append((f"time.{which}_omitted", where, {"output": output}))
    assert unexplained(rows, **{**SIZES, **options}, cell="simple") == []


@pytest.mark.parametrize("backwards", [False, True])
def test_fixes_say_in_which_order_x_is_read(backwards: bool) -> None:
    """By one of two layers, by the first one of all, or by each of both directions."""

    def rnn(name: str, *, reverse: bool = False) -> Any:
        return la.SimpleRNN(5, return_sequences=True, go_backwards=reverse, name=name)

    sides = rnn("one", reverse=backwards), rnn("two", reverse=not backwards)
    joined = la.Bidirectional(sides[0], backward_layer=sides[1], name="both")
    layers = ([rnn("one", reverse=backwards), rnn("other")], [joined])
    models = (randomized(sequential(*some, shape=(9, 4)), seed=3) for some in layers)
    one, both = (base_of(model=model, N=3) for model in models)
    found = [*steps.misplaced_time(one), *direction.other_directions(one)]
    fixes = {mistake.id: mistake.fix for mistake, _ in found if mistake.where.layer != "other"}
    for id_ in ("time.reversed", "time.reversed_and_back", "direction.reversed"):
        assert ("process x[:, ::-1]" in fixes[id_]) == backwards
    names = [d.name for d in both.network.recurrent[0].layer.directions]
    first, second = names[:: -1 if backwards else 1]
    of_both = [m.fix for m, _ in direction.other_directions(both) if m.id == "direction.reversed"]
    assert len(of_both) == 4
    assert all(
        0 < fix.index(first) < fix.index("x[:, ::-1]") < fix.index(second) for fix in of_both
    )


def test_ports_of_reverse_layers_are_explained() -> None:
    """Its outputs begin with the last step of x, its states with the first one."""
    options = {"go_backwards": True, "return_sequences": True}
    _, weights, x, head = parts_of("simple", **options)
    w, where = weights["simple_rnn"], {"layer": "simple_rnn"}
    h, forwards = (run("simple", w, one)["h"] for one in (x[:, ::-1], x))
    rows = [
        ("direction.reversed_back", where, head(h[:, ::-1])),
        ("direction.reversed_back", where, {"simple_rnn.h": h}),
        ("direction.reversed_back", where, {"simple_rnn.h": h, "y_hat": head(h)}),
        ("direction.reversed", where, head(forwards)),
        ("direction.reversed", where, {"simple_rnn.h": forwards}),
        ("time.reversed", {}, head(forwards)),
        ("time.reversed_and_back", {}, head(forwards[:, ::-1])),
    ]
    assert unexplained(rows, **SIZES, cell="simple", **options) == []


@pytest.mark.parametrize(
    ("given", "is_tried"),
    [("h c", True), ("h c y_hat", True), ("h", False), ("c y_hat", False), ("h last_c", False)],
)
def test_h_and_c_are_exchanged_if_both_given(given: str, is_tried: bool) -> None:
    spec = {**SIZES, "cell": "lstm"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    h, c = arrays["lstm.h"], arrays["lstm.c"]
    every = {"h": ("lstm.h", c), "c": ("lstm.c", h), "last_c": ("lstm.c", h[:, -1])}
    every["y_hat"] = ("y_hat", arrays["y_hat"])
    base = hypothesis_of(dict(every[name] for name in given.split()), **spec)
    tried = list(quantity.other_quantities(base))
    assert [mistake.id for mistake, _ in tried] == ["state.h_c_swapped"] * is_tried
    assert all(distance < 1e-6 for distance in relative_distances([one for _, one in tried]))


def test_unnamed_array_may_be_h_or_y_hat() -> None:
    spec = {**SIZES, "K": SIZES["M"], "cell": "simple"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    for name in ("y_hat", "simple_rnn.h"):
        base = hypothesis_of(arrays[name], **spec)
        ((mistake, other),) = quantity.other_quantities(base)
        assert mistake.id == "quantity.other"
        found = [
            distance < 1e-6 for distance in (relative_distance(base), relative_distance(other))
        ]
        assert found == [name == "y_hat", name != "y_hat"]


# --- Directions ---------------------------------------------------------------------------------


#: How the outputs of both directions are joined.
JOINED: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda f, b: np.concatenate([f, b], axis=-1),
    "sum": lambda f, b: f + b,
    "mul": lambda f, b: f * b,
    "ave": lambda f, b: (f + b) / 2,
}


def directions(cell: str, weights: dict[str, Arrays], x: Array, mode: str) -> Iterator[Row]:
    """Yield h of both directions, (N, T, 2 M) or (N, T, M), with each mistake."""
    names = [f"bidirectional/{way}_{LAYERS[cell]}" for way in WAYS]
    first, second = (weights[name] for name in names)
    where: dict[str, Any] = {"layer": "bidirectional"}
    forth, back = {**where, "direction": "forward"}, {**where, "direction": "backward"}

    def h_of(w: Arrays, x: Array, *, turned: bool = False, start: States | None = None) -> Array:
        turn = -1 if turned else 1
        return run(cell, w, x[:, ::turn], start=start)["h"][:, ::turn]

    both = JOINED[mode]
    f, b = h_of(first, x), h_of(second, x, turned=True)
    if mode == "concat":
        yield "direction.halves_swapped", where, both(b, f)
        yield "merge.mode", where, np.stack([f, b], axis=-1).reshape(*f.shape[:2], -1)
    else:
        for other in {*JOINED} - {mode, "concat"}:
            yield "merge.mode", where, JOINED[other](f, b)
    carried = h_of(second, x, turned=True, start={"h": f[:, -1]})
    yield "direction.states_carried", back, both(f, carried)
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


@pytest.mark.parametrize(
    ("cell", "mode"), [("gru", "concat"), *(("simple", mode) for mode in JOINED)]
)
def test_each_mistake_of_directions_is_tried(cell: str, mode: str) -> None:
    options = {"bidirectional": True, "merge_mode": mode, "return_sequences": True}
    base, weights, x, head = parts_of(cell, **options)
    rows = [(id_, where, head(h)) for id_, where, h in directions(cell, weights, x, mode)]
    assert untried_results(base, rows, whole={"direction"}) == []


def test_only_outputs_join_the_ends_of_directions() -> None:
    names = [f"bidirectional/{way}_simple_rnn.h" for way in WAYS]
    for given, joined in ((names, 0), (["output"], 2), ([*names, "output"], 2)):
        base = base_of(**SIZES, cell="simple", bidirectional=True, what=" ".join(given))
        ids = [one.mistakes[0].id for one in tried_from(base)]
        assert ids.count("direction.last_step") == joined


def test_carried_states_are_those_that_a_port_gives() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, (SIZES["N"], SIZES["T"], SIZES["M"]))
    spec = {**SIZES, "cell": "lstm"}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    h, c = (arrays[f"lstm.{key}"] + noise for key in "hc")
    tried = [
        one for _, one in state.carried_alone(hypothesis_of({"lstm.h": h, "lstm.c": c}, **spec))
    ]
    starts = [one.weights[f"{STATES}lstm"] for one in tried]
    for start, (of_h, of_c) in zip(starts, ((1, 0), (0, 1)), strict=True):
        for key, given, carried in (("h", h, of_h), ("c", c, of_c)):
            np.testing.assert_array_equal(start[key][0], 0)
            np.testing.assert_allclose(start[key][1:], carried * given[:-1, -1], rtol=1e-6)
    spec = {**SIZES, "cell": "simple", "bidirectional": True}
    names = [f"bidirectional/{way}_simple_rnn" for way in WAYS]
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    f, b = (arrays[f"{name}.h"] + noise for name in names)
    base = hypothesis_of({f"{names[0]}.h": f, f"{names[1]}.h": b}, **spec)
    carried_ = [one for mistake, one in state.carried_alone(base) if "only" not in mistake.text]
    (starts,) = [one.weights for one in carried_]
    np.testing.assert_allclose(starts[STATES + names[0]]["h"][1:], f[:-1, -1], rtol=1e-6)
    np.testing.assert_allclose(starts[STATES + names[1]]["h"][1:], b[:-1, 0], rtol=1e-6)
    tried_ = direction.other_directions(base)
    (carried,) = (one for mistake, one in tried_ if mistake.id == "direction.states_carried")
    np.testing.assert_allclose(carried.weights[STATES + names[1]]["h"], f[:, -1], rtol=1e-6)


def of_two_sizes() -> Any:
    forward, backward = (
        la.SimpleRNN(units, return_sequences=True, go_backwards=units == 3, name=f"of_{units}")
        for units in (5, 3)
    )
    both = la.Bidirectional(forward, backward_layer=backward, name="both")
    return randomized(sequential(both, shape=(9, 4)), seed=3)


@pytest.mark.parametrize(
    ("last", "sizes", "counts"),
    [
        ((False, False), "one", (1, 2, 2, 4, 8, 1)),
        ((True, True), "one", (1, 2, 2, 4, 8, 1)),
        ((False, True), "one", (0, 1, 1, 4, 8, 1)),
        ((False,), "one", (0, 1, 1, 4, 8, 1)),
        ((False, False), "two", (0, 1, 1, 4, 0, 0)),
    ],
)
def test_states_of_one_shape_are_exchanged(last: Any, sizes: str, counts: Any) -> None:
    """If a port gives those of both directions, at the same steps, beside y_hat."""
    options = {"bidirectional": True, "return_sequences": True, "cell": "simple"}
    spec = {**SIZES, **options} if sizes == "one" else {"model": of_two_sizes(), "N": 3}
    arrays = rnnshapes.golden(**spec, keras=False).arrays
    given = {"y_hat": arrays["y_hat"]}
    for name, end, is_last in zip(
        [n for n in arrays if n.endswith(".h")], (-1, 0), last, strict=False
    ):
        given[name] = arrays[name][:, end] if is_last else arrays[name]
    base = hypothesis_of(given, **spec)
    ids = [mistake.id for mistake, _ in direction.other_directions(base)]
    ways = (
        "states_exchanged",
        "halves_swapped",
        "mode",
        "missing",
        "shared_weights",
        "states_carried",
    )
    assert tuple(sum(id_.endswith(f".{way}") for id_ in ids) for way in ways) == counts


@pytest.mark.parametrize("options", [{"M": 7}, {"M": 11}, {"M": 5, "bidirectional": True}])
def test_a_loop_over_too_many_features_reads_on(options: dict[str, Any]) -> None:
    """From x into its next steps, and from each kernel into the recurrent one."""
    every = {"return_sequences": True, **options}
    base, weights, x, head = parts_of("simple", **every)
    flat = np.append(x.ravel(), np.zeros(11))
    starts = x.shape[2] * np.arange(x.shape[0] * x.shape[1])
    read = np.stack([flat[at : at + options["M"]] for at in starts]).reshape(*x.shape[:2], -1)
    sides = []
    for w, turn in zip(
        (w for name, w in weights.items() if name != "dense"), (1, -1), strict=False
    ):
        overrun = {**w, "Wx": np.concatenate([w["Wx"], w["Wh"]])[: options["M"]]}
        sides.append(run("simple", overrun, read[:, ::turn])["h"][:, ::turn])
    y_hat = head(np.concatenate(sides, axis=-1))
    assert untried_results(base, [("input.overrun", {"array": "x"}, y_hat)]) == []


def of_stacked_cells() -> Any:
    cells = [la.SimpleRNNCell(7), la.SimpleRNNCell(7)]
    return randomized(sequential(la.RNN(cells, return_sequences=True), shape=(9, 4)), seed=3)


@pytest.mark.parametrize("make", [of_two_sizes, of_stacked_cells])
def test_no_loop_reads_on_over_cells_of_two_kinds(make: Any) -> None:
    base = base_of(model=make(), N=3)
    assert "input.overrun" not in {one.mistakes[0].id for one in tried_from(base)}


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
    assert untried_results(base, rows, whole={"stack"}) == []


def test_shared_states_are_those_that_a_port_gives() -> None:
    options = {"D": 5, "M": [5, 5, 5], "T": 4}
    _, weights, x, head = parts_of("simple", **options)
    *layers, _ = weights
    states, given = {"h": np.zeros((len(x), 5))}, {f"{name}.h": [] for name in layers}
    for t in range(x.shape[1]):
        of_x = x[:, t]
        for name in layers:
            states = step("simple", weights[name], of_x, states, right)
            of_x = states["h"]
            given[f"{name}.h"].append(of_x)
    arrays: Arrays = {name: np.stack(values, axis=1) for name, values in given.items()}
    arrays["y_hat"] = head(arrays[f"{layers[-1]}.h"])
    base = hypothesis_of(arrays, **{**SIZES, **options}, cell="simple")
    tried = [
        one for mistake, one in stack.other_stacks(base) if mistake.id == "stack.shared_states"
    ]
    assert relative_distances(tried)[0] < 1e-6


def test_steps_in_reverse_are_passed_on() -> None:
    """Its last h is at its last output."""
    options = {"return_sequences": True}
    layers = [
        la.SimpleRNN(5, go_backwards=True, name="first", **options),
        la.SimpleRNN(3, name="second", **options),
    ]
    model = randomized(sequential(*layers, shape=(9, 4)), seed=3)
    base = base_of(model=model, N=3)
    weights = {g: {k: a.astype(float) for k, a in w.items()} for g, w in base.weights.items()}
    h = run("simple", weights["first"], base.xs[0].astype(float)[:, ::-1])["h"]
    where = {"layer": "second"}
    rows = [
        (id_, where, run("simple", weights["second"], passed)["h"])
        for id_, passed in (
            ("stack.last_repeated", np.repeat(h[:, -1:], 9, axis=1)),
            ("stack.previous_step", moved(h, 1)),
        )
    ]
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
    rows.append(("mask.zeroed_state", whose, y_hat(with_zeros(cell, w, zeroed, mask))))
    if cell == "lstm":
        rows += [("mask.state_updated", {}, with_mask(x, mask, held)) for held in "hc"]
    assert untried_results(base, rows, whole=OF_MASKS) == []


@pytest.mark.parametrize("samples", [3, 1])
def test_the_same_output_for_every_x_says_little(samples: int) -> None:
    """All that makes a network ignore x explains it, and so no other mistake is tried."""
    x, _ = padded_x()
    model = masked_model("lstm", -1.25, sequences=False)
    ids = []
    for output in (np.full((samples, 2), 0.7), np.linspace(0, 1, 2 * samples).reshape(-1, 2)):
        base = hypothesis_of({"output": output}, model=model, x=x[:samples])
        ways = (masks.zeroed_outputs, masks.zeroed_states, masks.other_masks, *OF_STEPS)
        ids.append({mistake.id for way in ways for mistake, _ in way(base)})
    missing = {"mask.zeroed_output", "mask.zeroed_state", "mask.inverted", "axes.loop_over_samples"}
    missing |= {"time.end_repeated", "time.padded", "time.window"}
    found = ids[1] - ids[0]
    assert (found & missing) == (missing if samples > 1 else set())
    assert ("mask.zeroed_state" in ids[1]) == (samples > 1)


def test_any_masked_feature_is_one_of_x() -> None:
    """At least one step of x has some: what a layer before the mask gives is not x."""
    x, _ = padded_x()
    layers = [la.Masking(-1.25), la.SimpleRNN(5, return_sequences=True)]
    for before, some, tried in (([], True, 1), ([], False, 0), ([la.Dense(4)], True, 0)):
        x[1, 1, 2] = -1.25 if some else 0.5
        model = randomized(sequential(*before, *layers, shape=(9, 4)), seed=3)
        base = base_of(model=model, x=x, what="output")
        ids = [mistake.id for mistake, _ in masks.other_masks(base)]
        assert ids.count("mask.any_feature") == tried


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("padding", [slice(7, 8), slice(7, 9), slice(8, 9)])
def test_padding_is_masked_at_the_end_of_samples(words: bool, padding: slice) -> None:
    """Others have no first step of it to be processed, nor any to stand before them."""
    layers = [la.Embedding(7, 4, mask_zero=True)] if words else [la.Masking(0.0)]
    layers += [la.SimpleRNN(5, return_sequences=True)]
    model = randomized(sequential(*layers, shape=(9,) if words else (9, 4)), seed=3)
    x = np.random.default_rng(6).integers(1, 7, (3, 9) if words else (3, 9, 4))
    x[1, 2] = x[0, padding] = 0
    found = masks.shifted_masks(base_of(model=model, x=x, what="output"))
    longer = ["mask.shifted"] * (not words) + ["mask.padding_first"]
    expected = ["mask.shifted", *(longer if padding.stop == 9 else [])]
    assert [mistake.id for mistake, _ in found] == expected


def test_words_without_mask_have_no_padding() -> None:
    layers = [la.Embedding(7, 4), la.SimpleRNN(5, return_sequences=True)]
    model = randomized(sequential(*layers, shape=(9,)), seed=3)
    x = np.arange(18).reshape(2, 9) % 7
    ids = {one.mistakes[0].id for one in tried_from(base_of(model=model, x=x, what="output"))}
    assert not any(id_.startswith("mask.") for id_ in ids)


def two_masked(zeroed: bool, *, bidirectional: bool) -> Any:
    """Return a model of two layers behind a mask, of which the second may give zeros."""
    first = la.SimpleRNN(4, return_sequences=True, name="first")
    options = {"return_sequences": True, "zero_output_for_mask": zeroed}
    layers = [la.Masking(-1.25), first, la.SimpleRNN(3, name="second", **options)]
    if bidirectional:
        layers = [la.Masking(-1.25), la.Bidirectional(la.SimpleRNN(3, **options), name="both")]
    return randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9, 4)), seed=3)


def padded_x() -> tuple[Array, Array]:
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("f")
    x[0, 7:] = x[1, 5:] = x[2, 4] = x[0, 2] = -1.25
    return x, (x != -1.25).any(axis=-1)


def with_zeros(cell: str, w: Arrays, x: Array, mask: Array) -> Array:
    """Return h of a run whose states are set to 0 at masked steps."""
    counts = iter(mask.T)

    def after(states: States) -> States:
        kept = next(counts)[:, None]
        return {k: v * kept for k, v in states.items()}

    return run(cell, w, x, after=after)["h"]


@pytest.mark.parametrize("zeroed", [False, True])
def test_each_mistake_of_one_masked_layer_is_tried(zeroed: bool) -> None:
    x, mask = padded_x()
    base = base_of(model=two_masked(zeroed, bidirectional=False), x=x)
    weights = {g: {k: a.astype(float) for k, a in w.items()} for g, w in base.weights.items()}
    first, second, head = (weights[name] for name in ("first", "second", "dense"))
    counts = mask[..., None]
    x_zeroed = np.where(counts, x, 0)
    h = masked("simple", first, x, mask)["h"]
    unmasked = run("simple", first, x)["h"]

    def y_hat(h: Array, *, zeros: bool = zeroed) -> Array:
        return h * (counts if zeros else 1) @ head["W"] + head["b"]

    def of_second(h: Array) -> Array:
        return masked("simple", second, h, mask)["h"]

    one, other = {"layer": "first"}, {"layer": "second"}
    updated = run("simple", second, h)["h"]
    first_zeroed = with_zeros("simple", first, x_zeroed, mask)
    rows: list[Row] = [
        ("mask.ignored", one, y_hat(of_second(unmasked))),
        ("mask.ignored", other, y_hat(updated, zeros=False)),
        ("mask.zeroed_output", one, y_hat(of_second(h * counts))),
        ("mask.zeroed_state", {}, y_hat(with_zeros("simple", second, first_zeroed, mask))),
        ("mask.zeroed_state", one, y_hat(of_second(first_zeroed))),
        ("mask.zeroed_state", other, y_hat(with_zeros("simple", second, h, mask))),
    ]
    if zeroed:
        rows.append(("mask.ignored", other, y_hat(updated)))
    else:
        rows.append(("mask.zeroed_output", other, y_hat(of_second(h), zeros=True)))
    assert untried_results(base, rows, whole=OF_ONE_MASK) == []


def test_each_mistake_of_one_masked_direction_is_tried() -> None:
    """Keras gives 0 at the masked steps of both."""
    x, mask = padded_x()
    base = base_of(model=two_masked(True, bidirectional=True), x=x)
    weights = {g: {k: a.astype(float) for k, a in w.items()} for g, w in base.weights.items()}
    *sides, head = (w for w in weights.values() if w)
    counts = mask[..., None]
    right_h, ignored, zeroed = [], [], []
    for w, turn in zip(sides, (1, -1), strict=True):
        xs, steps_ = x[:, ::turn], mask[:, ::turn]
        h = masked("simple", w, xs, steps_)["h"][:, ::turn]
        right_h.append(h * counts)
        ignored.append(run("simple", w, xs)["h"][:, ::turn])
        zeroed.append(with_zeros("simple", w, xs, steps_)[:, ::turn] * counts)

    def y_hat(sides: list[Array]) -> Array:
        return np.concatenate(sides, axis=-1) @ head["W"] + head["b"]

    rows: list[Row] = [
        ("mask.ignored", {"layer": "both"}, y_hat([h * counts for h in ignored])),
        ("mask.zeroed_state", {"layer": "both"}, y_hat(zeroed)),
    ]
    for number, way in enumerate(WAYS):
        for zeros in (False, True):
            each = [ignored[k] if k == number else h for k, h in enumerate(right_h)]
            each[number] = each[number] * (counts if zeros else 1)
            rows.append(("mask.ignored", {"layer": "both", "direction": way}, y_hat(each)))
    assert untried_results(base, rows, whole=OF_ONE_MASK) == []


@pytest.mark.parametrize("backwards", [False, True])
def test_zero_states_at_masked_steps_are_recognized(backwards: bool) -> None:
    """As PyTorch gives those of packed sequences; other states are compared as they are."""
    x, mask = padded_x()
    layer = la.LSTM(5, return_sequences=True, go_backwards=backwards, name="rnn")
    model = randomized(sequential(la.Masking(-1.25), layer, shape=(9, 4)), seed=3)
    arrays = rnnshapes.golden(model, x=x, keras=False).arrays
    h, c = (arrays[f"rnn.{key}"] for key in "hc")
    given = {"rnn.h": h * mask[..., None], "rnn.c": c}
    base = hypothesis_of(given, model=model, x=x)
    found = [one for one in masks.zeroed_outputs(base) if "is given" in one[0].text]
    assert len(found) == 1
    assert "h of rnn" in found[0][0].text
    assert "c of rnn" not in found[0][0].text
    assert relative_distances([found[0][1]])[0] < 1e-6


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


def by_bits(z: Array, shift: int) -> Array:
    """Return Schraudolph's exp(z)."""
    bits = (z * (2**23 / np.log(2)) + (127 * 2**23 - shift)).astype("i4")
    return bits.view("f4").astype(float)


def power(z: Array, n: int) -> Array:
    return (1 + z / n) ** n


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


def forms() -> Iterator[tuple[Function, Function, str]]:
    """Yield tanh and sigmoid in each form, and a word for it."""
    tanhs: dict[str, Function] = {
        "27 + 9 z²": lambda z: (c := np.clip(z, -3, 3)) * (27 + c**2) / (27 + 9 * c**2),
        "degrees 5 and 4": lambda z: np.clip(fraction(np.clip(z, -4, 4), 9), -1, 1),
        "degrees 7 and 6": lambda z: np.clip(fraction(np.clip(z, -5, 5), 13), -1, 1),
        "z - z³/3,": lambda z: z - z**3 / 3,
        "z - z³/3 + 2 z⁵/15,": lambda z: z - z**3 / 3 + 2 * z**5 / 15,
        "degree 3, clipped": lambda z: np.clip(z - z**3 / 3, -1, 1),
        "degree 5, clipped": lambda z: np.clip(z - z**3 / 3 + 2 * z**5 / 15, -1, 1),
        "cubic": lambda z: 1.5 * (s := np.clip(z * 2 / 3, -1, 1)) - 0.5 * s**3,
    }
    for word, tanh in tanhs.items():
        yield tanh, lambda z, f=tanh: (1 + f(z / 2)) / 2, word
    for word, sigmoid_ in (
        *(("PLAN", three_lines), (", moved to 0", lambda z: (1 + z / (1 + np.abs(z))) / 2)),
    ):
        yield lambda z, f=sigmoid_: 2 * f(2 * z) - 1, sigmoid_, word
    yield lambda z: z / (1 + np.abs(z)), sigmoid_, "for sigmoid moved"
    for word, exp in (
        *((f")^{n}", partial(power, n=n)) for n in (64, 128, 256, 512, 1024, 4096)),
        *((f"C = {c}", partial(by_bits, shift=c)) for c in (0, 298765, 366393, 486411)),
    ):
        of_exp: Function = lambda z, e=exp: 1 / (1 + e(-z))  # noqa: E731
        yield lambda z, e=exp: 2 / (1 + e(-2 * z)) - 1, of_exp, f"{word}, tanh from exp(-2 z)"
        yield lambda z, e=exp: 1 - 2 / (1 + e(2 * z)), of_exp, f"{word}, tanh from exp(2 z)"
        both: Function = lambda z, e=exp: (e(z) - e(-z)) / (e(z) + e(-z))  # noqa: E731
        yield both, of_exp, f"{word}, tanh from exp(z) and exp(-z)"
    words = (
        f"{entries} entries over |z| <= {limit}, {kind}"
        for entries in (64, 128, 256, 512, 1024, 2048, 4096)
        for limit in (4, 5, 6, 8, 10)
        for kind in ("interpolated", "nearest entry", "entry below")
    )
    yield from zip(tables_of(np.tanh), tables_of(sigmoid), words, strict=True)


def test_each_approximation_is_tried() -> None:
    """Of tanh, of sigmoid, and of both; its text ends with the largest error, and where it is."""
    base = base_of(**{**SIZES, "N": 2, "T": 2}, cell="gru")
    tried = [one for one in tried_from(base) if one.families == ("approximation",)]
    cells = [one.network.recurrent[0].scans[0][1].cell for one in tried]
    z, every = np.random.default_rng(3).uniform(-12, 12, 400), np.linspace(-10, 10, 8001)
    found = [np.stack([c.activate(NumpyOps(), use, z) for use in ("z", "r", "h~")]) for c in cells]
    rows: list[Row] = []
    for tanh, of_gates, form in forms():
        of_sigmoid = form.partition(", tanh from")[0]
        for one, other, *says in (
            (np.tanh, of_gates, "sigmoid is approximated", of_sigmoid),
            (tanh, sigmoid, "tanh is approximated", form),
            (tanh, of_gates, form, "sigmoid is approximated: ", of_sigmoid),
        ):
            numbers = np.stack([other(z), other(z), one(z)])
            rows.append(("activation.approximated", {"says": says}, numbers))
    assert untried(tried, found, rows, 1e-12, {"approximation"}) == []
    assert len({one.mistakes[0].text for one in tried}) == len(tried)
    far = np.array([-500.0, 500.0])
    for one, cell in zip(tried, cells, strict=True):
        if "Taylor" not in one.mistakes[0].text:  # far away, its series have another sign
            for use, ends in (("z", [0, 1]), ("h~", [-1, 1])):
                np.testing.assert_allclose(cell.activate(NumpyOps(), use, far), ends, atol=0.05)
        if " and tanh is" not in one.mistakes[0].text:
            of_tanh = np.abs(cell.activate(NumpyOps(), "h~", every) - np.tanh(every))
            of_sigmoid = np.abs(cell.activate(NumpyOps(), "z", every) - sigmoid(every))
            error = of_sigmoid if of_sigmoid.any() else of_tanh
            *_, size, at = re.findall(r"\d\.\de[-+]\d\d|\d+\.\d", one.mistakes[0].text)
            assert float(size) == pytest.approx(error.max(), rel=0.05)
            assert error[np.isclose(np.abs(every), float(at), atol=0.051)].max() == error.max()


@pytest.mark.parametrize(("share", "is_tried"), [(1e-5, True), (0.14, True), (0.16, False)])
def test_approximations_are_as_far_off_as_the_port(share: float, is_tried: bool) -> None:
    """Those whose errors near 0 have another size are not tried, nor any for a far port."""
    base = base_of(**SIZES, cell="simple")
    far = base.map_quantities(lambda q: replace(q, values=q.values / (1 - share)))
    texts = [one.mistakes[0].text for one in tried_from(far) if "approximation" in one.families]
    errors = [float(re.findall(r"\d\.\de[-+]\d\d", text)[-1]) for text in texts]
    assert (errors != []) == is_tried
    assert all(share / 1000 < error < (1000 * share if share < 0.1 else np.inf) for error in errors)
    assert len(set(texts)) == len(texts)


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
    assert untried_results(base, rows, whole={"overwritten states"}) == []
