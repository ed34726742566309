"""The few steps and samples by which hypotheses about a port are first told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.batched_networks import batched_groups, networks_at_once
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.screening import (
    measured_reach,
    memory_length,
    relative_distance,
    relative_distances,
    residuals_of,
    window,
)
from rnnshapes.reference.outputs import STATES
from tests.helpers.handmade import SIZES
from tests.helpers.models import functional, model_of, randomized, sequential
from tests.helpers.tried import base_of, hypothesis_of

Array = np.ndarray
H = "simple_rnn.h"


@pytest.mark.parametrize(
    ("step", "start", "stop"), [(0, 0, 4), (2, 0, 4), (3, 1, 5), (6, 4, 8), (8, 5, 9)]
)
@pytest.mark.parametrize("backwards", [False, True])
def test_reported_states_start_anywhere(step: int, start: int, stop: int, backwards: bool) -> None:
    """From the port's own states, and their rounding, before the first step in either order."""
    base = base_of(**SIZES, what=H, go_backwards=backwards)
    rounding = np.random.default_rng(0).uniform(0, 1e-3, (3, 9, 5))
    base = base.map_quantities(lambda q: replace(q, rounding=rounding))
    part = window(base, 4, step=step)
    (quantity,) = part.quantities
    assert part.is_exact
    assert (quantity.steps.tolist(), quantity.network_steps.tolist()) == (
        list(range(start, stop)),
        list(range(4)),
    )
    np.testing.assert_array_equal(quantity.values, base.quantities[0].values[:2, start:stop])
    np.testing.assert_array_equal(part.xs[0], base.xs[0][:2, start:stop])
    before = stop if backwards else start - 1
    if 0 <= before < 9:
        values = base.quantities[0].values[:2, before]
        np.testing.assert_array_equal(part.starts[f"{STATES}simple_rnn"]["h"], values)
        np.testing.assert_array_equal(part.start_rounding["simple_rnn"]["h"], rounding[:2, before])
    else:
        assert (part.starts, part.start_rounding) == ({}, {})
    assert relative_distance(part.of(base)) < 1e-6


def steps_of(base: Hypothesis, *args: int, **options: int) -> tuple[Any, ...]:
    """Return the shape of x, the steps of the network, and whether they decide."""
    part = window(base, *args, **options)
    assert relative_distance(part.of(base)) < 0.2
    steps = [
        q.network_steps if q.network_steps is None else q.network_steps.tolist()
        for q in part.quantities
    ]
    return part.xs[0].shape[:2], *steps, part.is_exact


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_outputs_start_with_the_run(samples: int) -> None:
    base = base_of(**SIZES)
    assert steps_of(base, 4, samples) == ((samples, 4), [0, 1, 2, 3], True)
    assert steps_of(base, 20, samples) == ((samples, 9), list(range(9)), True)
    assert steps_of(replace(base, unwindowed=True), 4, samples) == (
        (samples, 9),
        list(range(9)),
        False,
    )


@pytest.mark.parametrize("steps", [6, 8, 9])
def test_the_last_output_follows_from_the_last_steps(steps: int) -> None:
    base = base_of(**SIZES, last=True)
    assert steps_of(base, steps) == ((2, steps), [steps - 1], steps == 9)


def test_several_outputs_start_with_the_first_one() -> None:
    """What the port gives of earlier steps has to be computed."""
    golden = rnnshapes.golden(**SIZES).arrays
    port = {"h": golden[H][:, -1], "y_hat": golden["y_hat"]}
    base = hypothesis_of(port, **SIZES)
    part = window(base, 4)
    assert [q.name for q in part.quantities] == ["y_hat"]
    assert part.is_exact
    part = window(base, 9)
    assert [q.name for q in part.quantities] == ["simple_rnn", "y_hat"]


def test_outputs_without_time_need_the_whole_run() -> None:
    layers = [la.SimpleRNN(5, return_sequences=True, name="rnn"), la.Flatten()]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9, 4)))
    base = base_of(model=model, N=3, what="output")
    assert steps_of(base, 4) == ((2, 9), None, False)


def forgetful(factor: float, steps: int = 80, **options: Any) -> Any:
    """Return a model whose recurrences forget, if the factor of their states is small."""
    layer = la.SimpleRNN(4, "linear", name="rnn", **options.pop("layer", {}))
    if options.pop("both", True):
        layer = la.Bidirectional(layer, name="both")
    model = randomized(sequential(layer, la.Dense(2, name="dense"), shape=(steps, 3)), seed=3)
    recurrent = factor * np.eye(4, dtype="f")
    model.set_weights([recurrent if a.shape == (4, 4) else a for a in model.get_weights()])
    return model


def test_forgotten_steps_are_left_out() -> None:
    """Both directions have both ends of x."""
    for what, sequences in (("y_hat", True), ("output", False)):
        model = forgetful(0.05, layer={"return_sequences": sequences})
        base = base_of(model=model, N=3, what=what)
        reach = measured_reach(base, 4)
        assert reach == 16
        (n, t), steps, is_exact = steps_of(base, 4, reach=reach)
        assert (n, t) == (2, 20 if sequences else 32)
        assert (steps, is_exact) == ([0, 1, 2, 3] if sequences else None, False)
    short = base_of(model=forgetful(0.05, 30), N=3, what="output")
    assert steps_of(short, 4, reach=16)[0] == (2, 30)


def test_output_without_time_needs_all_steps() -> None:
    spec = {**SIZES, "T": 30, "cell": "gru", "bidirectional": True}
    base = base_of(**spec, what="bidirectional/forward_gru.h output")
    assert steps_of(base, 4, reach=8) == ((2, 30), list(range(30)), None, False)


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (lambda: forgetful(0.05, both=False, layer={"return_sequences": True}), "y_hat"),
        (lambda: forgetful(1.0, layer={"return_sequences": True}), "y_hat"),
        (lambda: forgetful(0.05, 15, layer={"return_sequences": True}), "y_hat"),
    ],
)
def test_other_networks_have_no_reach(model: Any, what: str) -> None:
    """They are causal, remember, or are short."""
    assert measured_reach(base_of(model=model(), N=3, what=what), 4) == 0


@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize(
    ("factor", "reach"), [(0.05, 16), (0.7, 32), (0.85, 64), (0.95, 0), (1.0, 0)]
)
def test_reach_is_twice_as_far_as_x_matters(factor: float, reach: int, wrong: bool) -> None:
    """To a hundredth; whatever the port gives, and however large it is."""
    base = base_of(model=forgetful(factor, layer={"return_sequences": True}), N=3, what="y_hat")
    if wrong:
        rng = np.random.default_rng(0)
        base = base.map_quantities(lambda q: replace(q, values=rng.normal(9, 1, q.values.shape)))
    assert measured_reach(base, 4) == reach


def started(x: Any, h: Any, g: Any) -> Any:
    rnn = la.SimpleRNN(4, "linear", return_sequences=True)
    return la.Dense(2)(la.Bidirectional(rnn, name="both")(x, initial_state=[h, g]))


def pooled(x: Any) -> Any:
    rnn = la.Bidirectional(la.SimpleRNN(4, "linear", return_sequences=True), name="both")
    h = rnn(x)
    return la.Dense(2)(la.Add()([h, la.RepeatVector(80)(la.GlobalMaxPooling1D()(h))]))


@pytest.mark.parametrize("kind", ["started", "pooled", "in batches", "plain"])
def test_what_depends_on_more_has_no_reach(kind: str) -> None:
    """Given states, all steps at once, or batches."""
    model = {
        "started": lambda: functional(started, (80, 3), (4,), (4,)),
        "pooled": lambda: functional(pooled, (80, 3)),
    }.get(kind, lambda: forgetful(0.05, layer={"return_sequences": True}))()
    weights = [a * (0.05 if a.shape == (4, 4) else 1) for a in model.get_weights()]
    model.set_weights(weights)
    base = base_of(model=model, N=3, what="y_hat")
    if kind == "in batches":
        base = replace(base, network=replace(base.network, batch=3))
    assert measured_reach(base, 4) == (16 if kind == "plain" else 0)


@pytest.mark.parametrize(
    ("factor", "most", "expected"), [(0.05, 400, 16), (1.0, 64, 64), (0.05, 4, 4)]
)
def test_memory_is_as_long_as_it_matters(factor: float, most: int, expected: int) -> None:
    model = forgetful(factor, both=False)
    assert memory_length(base_of(model=model, N=3, last=True), most) == expected


def test_distances_are_shares_of_the_ports_numbers() -> None:
    """The largest of all quantities; infinite if one is not finite."""
    golden = rnnshapes.golden(**SIZES).arrays
    port = {"h": golden[H][:, :, :], "y_hat": golden["y_hat"]}
    base = hypothesis_of(port, **SIZES)
    h, y_hat = base.quantities
    errors = np.random.default_rng(0).normal(0, 0.1, y_hat.values.shape)
    off = replace(y_hat, values=y_hat.values + errors)
    share = np.sqrt((errors**2).mean() / (off.values**2).mean())
    for quantities in ((h, off), (off, h)):
        found = relative_distance(replace(base, quantities=quantities))
        assert found == pytest.approx(share, rel=1e-5)
    infinite = replace(base, xs=(base.xs[0] * np.inf,))
    with np.errstate(invalid="ignore"):
        assert relative_distances([base, infinite])[1] == np.inf
    assert relative_distances([base, infinite])[0] < 1e-6
    zeros = replace(y_hat, values=0 * y_hat.values)
    size = np.sqrt((y_hat.values**2).mean())
    assert relative_distance(replace(base, quantities=(zeros,))) == pytest.approx(size, rel=1e-5)
    assert relative_distance(replace(base, quantities=())) == np.inf


def test_each_sample_of_a_window_keeps_its_start() -> None:
    base = base_of(**SIZES)
    start = np.random.default_rng(0).uniform(-1, 1, (3, 5))
    started = base.with_arrays(f"{STATES}simple_rnn", {"h": start})
    part = window(base, 4).of(started)
    np.testing.assert_array_equal(part.weights[f"{STATES}simple_rnn"]["h"], start[:2])
    others = [base.with_arrays(f"{STATES}simple_rnn", {"h": k * start}) for k in (1.0, 0.5)]
    parts = [window(base, 4).of(one) for one in others]
    alone = [relative_distance(one) for one in parts]
    assert relative_distances(parts) == pytest.approx(alone)
    assert alone[0] != pytest.approx(alone[1])


@pytest.mark.parametrize("name", ["moved", "sliced"])
def test_layers_with_lists_are_computed_one_by_one(name: str) -> None:
    """Their options have no hash."""
    base = base_of(model=model_of(name), N=2, what="output")
    other = base.map_quantities(lambda q: replace(q, values=2 * q.values))
    assert relative_distances([base, other]) == pytest.approx([0, 0.5], abs=1e-5)


def scaled(base: Hypothesis, group: str, key: str, factor: float) -> Hypothesis:
    arrays = base.weights[group]
    return base.with_arrays(group, {**arrays, key: factor * arrays[key]})


def variants(spec: dict[str, Any]) -> list[Hypothesis]:
    """Return one port, and others that differ from it in one thing each."""
    base = base_of(**SIZES, **spec)
    start = np.random.default_rng(0).uniform(-1, 1, (3, 5))
    group = next(g for g in base.weights if g.endswith("gru"))
    few = [base_of(**{**SIZES, **spec, **more}) for more in ({"N": 2}, {"T": 8}, {"M": 6})]
    others = [
        base_of(**SIZES, **{**spec, **more})
        for more in ({"reset_after": False}, {"activation": "relu"}, {"merge_mode": "sum"})
        if "merge_mode" not in more or "bidirectional" in spec
    ]
    return [
        *(base, *few, *others),
        *(scaled(base, group, key, 2.0) for key in base.weights[group]),
        scaled(base, "dense", "b", 3.0),
        replace(base, xs=(base.xs[0][::-1],)),
        *(base.with_arrays(f"{STATES}{group}", {"h": k * start}) for k in (1.0, 0.5)),
        base.map_quantities(lambda q: replace(q, values=2 * q.values)),
        base.map_quantities(lambda q: q.at_steps(slice(2, 6), np.arange(2, 6))),
        base.map_quantities(lambda q: q.at_steps(slice(2, 6), np.arange(3, 7))),
        base.map_quantities(lambda q: q.in_reverse()),
        replace(
            base, quantities=hypothesis_of({"output": np.ones((3, 2))}, **SIZES, **spec).quantities
        ),
        replace(base, quantities=()),
    ]


@pytest.mark.parametrize("spec", [{"cell": "gru"}, {"cell": "gru", "bidirectional": True}])
def test_ports_are_computed_together_as_alone(spec: dict[str, Any]) -> None:
    several = variants(spec)
    for order in (several, several[::-1], [several[0], *several]):
        for one, found in zip(order, residuals_of(order), strict=True):
            (alone,) = residuals_of([one])
            assert len(found) == len(alone) == len(one.quantities)
            for a, b, q in zip(found, alone, one.quantities, strict=True):
                assert a.shape == q.values.shape
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_layers_with_other_numbers_are_computed_apart() -> None:
    """Those that are neither cells nor Dense layers."""
    layers = [la.LayerNormalization(name="norm"), la.GRU(5, return_sequences=True, name="gru")]
    model = randomized(sequential(*layers, la.Dense(2, name="dense"), shape=(9, 4)))
    base = base_of(model=model, N=3)
    keys = list(base.weights["norm"])
    several = [base, *(scaled(base, "norm", key, 2.0) for key in keys), base]
    found = [residuals for (residuals,) in residuals_of(several)]
    for one, residuals in zip(several, found, strict=True):
        np.testing.assert_allclose(residuals, residuals_of([one])[0][0], atol=1e-12)
    sizes = [np.abs(residuals).max() for residuals in found]
    assert sizes[0] == sizes[-1] < 1e-6 < min(sizes[1:-1])


def test_cells_and_dense_layers_are_batched() -> None:
    """Not those that see more than one row of units at a step, nor other layers."""
    layers = [la.LayerNormalization(name="norm"), la.Dense(4, name="first")]
    layers += [la.Bidirectional(la.GRU(6, return_sequences=True), name="both")]
    layers += [la.Reshape((9, 4, 3)), la.Dense(2, name="last")]
    model = randomized(sequential(*layers, shape=(9, 4)))
    network = base_of(model=model, N=3, what="y_hat").network
    groups = {name for name, _ in network.recurrent[0].scans}
    assert batched_groups(network) == {"first", *groups}


def test_fewer_large_networks_are_computed_at_once() -> None:
    """So that weights, states and x fit into the cache; one at least, and one with batches."""
    base = base_of(**SIZES)

    def count(n: int, t: int) -> int:
        return networks_at_once(base.network, base.weights, (np.broadcast_to(0.0, (n, t, 4)),))

    numbers = 5 * (4 + 5 + 1) + 2 * (5 + 1) + 3 * 9 * (5 + 4)
    more = numbers + (30 * 90 - 3 * 9) * (5 + 4)
    assert count(3, 9) / count(30, 90) == pytest.approx(more / numbers, rel=0.02)
    assert count(30, 9) == count(3, 90) < count(3, 9)
    assert count(3, 10**6) == 1
    batched = replace(base.network, batch=3)
    assert networks_at_once(batched, base.weights, base.xs) == 1
