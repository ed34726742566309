"""Errors of a port over the whole run, and a first step that follows from other states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.compare import compare_quantities
from rnnshapes.port.error_summary import summarize_error, summarize_errors
from rnnshapes.port.first_step import other_start
from tests.helpers.handmade import LAYERS, Port, weights_of
from tests.helpers.models import functional, randomized
from tests.helpers.tried import hypothesis_of

Array = np.ndarray
RNG = np.random.default_rng(4)
EXPECTED = RNG.uniform(-1, 1, (2, 8, 3)) + np.array([5.0, 0.0, 0.0])
ERRORS = RNG.uniform(0.01, 0.02, (2, 8, 3)) * RNG.choice([-1, 1], (2, 8, 3))


def ranges(values: Array) -> Array:
    """Return the larger one of the span and the root mean square of each unit and sample."""
    span = values.max(axis=1) - values.min(axis=1)
    return np.maximum(span, np.sqrt((values**2).mean(axis=1)))


@pytest.mark.parametrize("sample", [0, 1])
def test_errors_are_measured_by_unit_and_sample(sample: int) -> None:
    errors = ERRORS.copy()
    errors[sample, 5, 2] = -0.5
    found = summarize_error(EXPECTED + errors, EXPECTED)
    shares = np.abs(errors) / ranges(EXPECTED)[:, None]
    assert found.max_abs == pytest.approx(0.5)
    assert found.rms == pytest.approx(np.sqrt((errors**2).mean()))
    assert found.relative == pytest.approx(shares.max())
    assert found.relative_rms == pytest.approx(np.sqrt((shares**2).mean()))
    assert found.range == pytest.approx(ranges(EXPECTED)[sample, 2])
    first, last = (np.sqrt((part**2).mean()) for part in (errors[:, :2], errors[:, 6:]))
    assert found.growth == pytest.approx(last / first)


@pytest.mark.parametrize(("steps", "quarter"), [(7, 0), (8, 2), (11, 2), (12, 3)])
def test_growth_takes_eight_steps(steps: int, quarter: int) -> None:
    errors = np.arange(1.0, steps + 1)[None, :, None] * np.ones((2, 1, 3))
    found = summarize_error(errors + 1, np.ones_like(errors))
    numbers = np.arange(1.0, steps + 1) ** 2
    growth = np.sqrt(numbers[-quarter:].mean() / numbers[:quarter].mean()) if quarter else None
    assert found.growth == (None if growth is None else pytest.approx(growth))


def test_growth_from_nothing_is_unknown() -> None:
    errors = ERRORS.copy()
    errors[:, :2] = 0
    assert summarize_error(EXPECTED + errors, EXPECTED).growth is None
    errors = ERRORS.copy()
    errors[0, 7, 0] = np.inf
    found = summarize_error(EXPECTED + errors, EXPECTED)
    assert (found.growth, found.max_abs, found.relative) == (None, np.inf, np.inf)


def test_errors_of_constant_zeros_are_infinite() -> None:
    """A right number of them has no error."""
    zeros = np.zeros((1, 2, 2))
    wrong = np.array([[[0.0, 0.0], [0.0, 0.25]]])
    found = summarize_error(wrong, zeros)
    assert (found.relative, found.max_abs, found.range) == (np.inf, 0.25, 0.0)
    assert summarize_error(zeros, zeros).relative == 0.0
    overflown = np.array([[[1.0, np.inf], [1.0, 1.0]]])
    assert summarize_error(overflown, overflown).range == 0.0


def test_ranges_are_those_of_all_steps() -> None:
    last, error = EXPECTED[:, -1:], np.array([0.0, 0.1, 0.0])
    found = summarize_error(last + error, last, EXPECTED)
    assert found.relative == pytest.approx((error / ranges(EXPECTED)).max())


# --- The first step -----------------------------------------------------------------------------

SIZES: dict[str, Any] = {"N": 3, "T": 9, "D": 4, "M": 5, "K": 2}


def started(
    spec: dict[str, Any], start: float = 0.5, *, but: str | None = None
) -> dict[str, Array]:
    """Return the states of a port that starts from random ones, in all directions but one."""
    sizes = {**SIZES, **spec}
    cell, both = sizes["cell"], sizes.get("bidirectional", False)
    golden, given = rnnshapes.golden(**sizes).arrays, {}
    rng, shape = np.random.default_rng(0), (2, sizes["N"], sizes["M"])
    ways = ("forward", "backward") if both else ("backward" if "go_backwards" in sizes else "",)
    for way in ways:
        name = f"bidirectional/{way}_{LAYERS[cell]}" if both else LAYERS[cell]
        order = slice(None, None, -1 if way == "backward" else 1)
        h, c = start * rng.uniform(0.5, 1, shape) * rng.choice([-1, 1], shape)
        if way == but:
            h = c = None
        run = Port(cell, "float64", activation=sizes.get("activation", "tanh")).run
        found = run(weights_of(golden, name, ""), golden["x"][:, order], start=h, start_c=c)
        given |= {f"{name}.{k}": v[:, order] for k, v in found.items()}
    return given


def start_of(given: dict[str, Array], spec: dict[str, Any], dtype: str = "float64") -> Any:
    hypothesis = hypothesis_of(given, **{**SIZES, **spec})
    return other_start(hypothesis, compare_quantities(hypothesis, dtype), dtype)


BOTH = {"cell": "gru", "bidirectional": True}
STARTS: list[tuple[dict[str, Any], float, str | None, int]] = [
    ({"cell": "simple"}, 0.5, "simple_rnn", 0),
    ({"cell": "lstm"}, 0.5, "lstm", 0),
    ({"cell": "gru", "go_backwards": True}, 0.5, "gru", 8),
    ({**BOTH, "T": 5}, 0.5, "bidirectional", 0),
    ({"cell": "simple", "activation": "linear"}, 9.5, "simple_rnn", 0),
    ({"cell": "simple"}, 5.0, "simple_rnn", 0),
    ({"cell": "simple", "activation": "relu", "M": 7}, 2.0, "simple_rnn", 0),
]


@pytest.mark.parametrize(("spec", "size", "layer", "step"), STARTS)
def test_states_before_the_first_step_are_found(
    spec: dict[str, Any], size: float, layer: str, step: int
) -> None:
    given = started(spec, size)
    mistake, comparisons = start_of(given, spec)
    assert mistake.id == "state.starts_nonzero"
    assert (mistake.where.layer, mistake.where.step) == (layer, step)
    for one, values in zip(comparisons, given.values(), strict=True):
        assert (one.agrees, one.differing) == (True, 0)
        assert one.compared == values[:, 1:].size


def test_states_of_one_direction_are_found() -> None:
    mistake, comparisons = start_of(started(BOTH, but="forward"), BOTH)
    assert (mistake.where.layer, mistake.where.step) == ("bidirectional", 8)
    assert [one.compared for one in comparisons] == [3 * 9 * 5, 3 * 8 * 5]


def test_starts_of_two_layers_have_no_single_place() -> None:
    """Both read x itself."""
    both = [la.SimpleRNN(5, name=name, return_sequences=True) for name in ("one", "other")]
    model = randomized(
        functional(lambda x: la.Concatenate()([layer(x) for layer in both]), (9, 4)), seed=3
    )
    golden = rnnshapes.golden(model, N=3).arrays
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 5))
    given = {}
    for name in ("one", "other"):
        run = Port("simple", "float64").run
        given[f"{name}.h"] = run(weights_of(golden, name, ""), golden["x"], start=start)["h"]
    right = {name: golden[name].astype(float) for name in given}
    for port, place in (
        (given, (None, None)),
        ({**given, "other.h": right["other.h"]}, ("one", 0)),
    ):
        hypothesis = hypothesis_of(port, model=model, N=3)
        mistake, _ = other_start(hypothesis, compare_quantities(hypothesis, "float64"), "float64")
        assert (mistake.where.layer, mistake.where.step) == place


def changed(given: dict[str, Array], at: Any, values: Any) -> dict[str, Array]:
    (name,) = given
    array = given[name].copy()
    array[at] = values
    return {name: array}


SIMPLE = {"cell": "simple"}


def states_after(first: Array) -> dict[str, Array]:
    """Return the states of a SimpleRNN after these, (N, M), at the first step."""
    golden = rnnshapes.golden(**SIZES, **SIMPLE).arrays
    weights = weights_of(golden, "simple_rnn", "")
    rest = Port("simple", "float64").run(weights, golden["x"][:, 1:], start=first)["h"]
    return {"simple_rnn.h": np.concatenate([first[:, None], rest], axis=1)}


NEAR_CASES: list[tuple[dict[str, Any], float, Any]] = [
    ({"cell": "simple", "activation": "linear"}, 21.0, lambda given: given),  # too large
    (SIMPLE, 0.5, lambda given: changed(given, np.s_[:, 4], 0.1)),  # another step
    (SIMPLE, 0.5, lambda given: states_after(0.0 * given["simple_rnn.h"][:, 0])),  # left out
    (SIMPLE, 0.5, lambda given: states_after(1.5 + given["simple_rnn.h"][:, 0])),  # no tanh
    ({**SIMPLE, "M": 257, "T": 2}, 0.5, lambda given: given),  # too many
    (SIMPLE, 0.5, lambda given: {k: v[:, -1] for k, v in given.items()}),  # one step alone
    ({"cell": "lstm"}, 0.5, lambda given: {k: v for k, v in given.items() if "h" in k}),
    (SIMPLE, 0.0, lambda given: given),  # right
]


@pytest.mark.parametrize(("spec", "size", "change"), NEAR_CASES)
def test_other_differences_are_no_other_start(
    spec: dict[str, Any], size: float, change: Any
) -> None:
    assert start_of(change(started(spec, size)), spec) is None


def test_a_closed_forget_gate_tells_no_start() -> None:
    """No c before the first step changes anything."""
    spec = {**SIZES, "cell": "lstm", "recurrent_activation": "hard_sigmoid"}
    golden = rnnshapes.golden(**spec).arrays
    weights = weights_of(golden, "lstm", "")
    weights["bias"] = weights["bias"] + np.where(np.arange(20) // 5 == 1, -200, 0)
    h, c = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 3, 5))
    port = Port("lstm", "float64", recurrent_activation="hard_sigmoid")
    rest = port.run(weights, golden["x"][:, 1:], start=h, start_c=c)
    first = {"h": h, "c": c}
    given = {f"lstm.{k}": np.concatenate([first[k][:, None], rest[k]], axis=1) for k in "hc"}
    base = hypothesis_of(given, **spec).with_arrays("lstm", {"bh": weights["bias"]})
    checks = compare_quantities(base, "float64")
    assert [check.pattern.steps for check in checks] == [(0,), (0,)]
    assert other_start(base, checks, "float64") is None


@pytest.mark.parametrize(
    ("units", "samples", "expected"), [(3, 3, True), (2, 3, False), (5, 2, False)]
)
def test_most_units_of_all_samples_start_otherwise(
    units: int, samples: int, expected: bool
) -> None:
    """Few wrong numbers are no other start, nor what a sample leaves to the next one."""
    wrong = started(SIMPLE, 0.0)["simple_rnn.h"][:, 0].copy()
    wrong[3 - samples :, :units] *= 0.98
    assert (start_of(states_after(wrong), SIMPLE) is not None) == expected


@pytest.mark.parametrize("x", [0.0, "next"])
def test_another_first_x_is_found_before_states(x: Any) -> None:
    golden = rnnshapes.golden(**SIZES, **SIMPLE).arrays
    other = golden["x"].astype(float)
    other[:, 0] = other[:, 1] if x == "next" else x
    weights = weights_of(golden, "simple_rnn", "")
    given = {"simple_rnn.h": Port("simple", "float64").run(weights, other)["h"]}
    assert start_of(given, SIMPLE) is None


@pytest.mark.parametrize("backwards", [False, True])
def test_growth_follows_the_order_of_processing(backwards: bool) -> None:
    spec = {**SIMPLE, "go_backwards": backwards, "T": 8}
    given = started({**spec} if backwards else {**SIMPLE, "T": 8}, 0.0)
    ramp = 1e-3 * np.arange(1.0, 9)[:, None]
    given = {key: values + ramp for key, values in given.items()}
    (found,) = summarize_errors(hypothesis_of(given, **{**SIZES, **spec}))
    assert (found.growth > 1) != backwards


@pytest.mark.parametrize(("what", "shape"), [("h", (2, 3, 5)), ("output", (2, 6))])
def test_wrong_numbers_may_be_huge(what: str, shape: tuple[int, ...]) -> None:
    """Though squares of them overflow."""
    wrong = 1e300 * np.random.default_rng(0).normal(size=shape)
    spec = {"cell": "simple", "N": 2, "T": 3, "D": 4, "M": 5, "K": 6}
    assert rnnshapes.verify(**spec, against={what: wrong}).verdict == "failed"


def test_a_start_is_told_by_later_steps() -> None:
    """Not where these are so large that none can be compared."""
    spec = {"cell": "simple", "N": 2, "T": 3, "D": 4, "M": 5, "K": 6}
    h = 1.7e308 * np.random.default_rng(0).choice([-1.0, 1.0], (2, 3, 5))
    base = hypothesis_of({"h": h}, **spec)
    checks = compare_quantities(base, "float64")
    assert checks[0].pattern.steps == (0,)
    assert other_start(base, checks, "float64") is None
    assert "later steps agree" not in repr(rnnshapes.verify(**spec, against={"h": h}))
