"""The few steps and samples by which hypotheses about a port are first told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.screening import (
    measured_reach,
    memory_length,
    relative_distance,
    relative_distances,
    window,
)
from rnnshapes.reference.outputs import STATES
from tests.helpers.handmade import SIZES
from tests.helpers.models import model_of, randomized, sequential
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
