"""One step with its bound, compared number by number: in which steps, and where it is worst."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnshapes.forward.difference import Index, StepErrors, index_of, largest_difference
from rnnshapes.forward.non_finite import NonFinite, NonFiniteFinder
from rnnshapes.forward.scan import NodeValue, repeat_masked, source_mask, states_before
from rnnshapes.load.inputs import ArrayInput
from rnnshapes.network.graph import Tap
from rnnshapes.ops.bounded import Bounded
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.compare import exact_weights
from rnnshapes.port.hypothesis import recast
from rnnshapes.verification import bounds
from rnnshapes.verification.bounds import (
    MISMATCH,
    Residual,
    bounded_steps,
    combine,
    compare,
    largest_step_errors,
    recurrence_residuals,
)
from tests.helpers.handmade import SIZES
from tests.helpers.tried import base_of

Array = np.ndarray
N, T, D, M = (SIZES[size] for size in "NTDM")
DOUBLE, SINGLE = PRECISIONS["float64"], PRECISIONS["float32"]
RNG = np.random.default_rng(0)
X, START = RNG.uniform(-1, 1, (N, T, D)), RNG.uniform(-1, 1, (N, M))
ALL = np.ones((N, T), dtype=bool)


class Recurrence:
    """A SimpleRNN, its weights, and the states that a loop computes."""

    def __init__(self, *, reverse: bool = False, activation: str = "tanh") -> None:
        spec = {**SIZES, "go_backwards": reverse, "activation": activation}
        base = base_of(**spec, what="simple_rnn.h")
        ((self.name, self.direction),) = base.network.recurrent[0].scans
        self.reverse, self.relu = reverse, activation == "relu"
        self.arrays = {k: np.asarray(a, float) for k, a in base.weights[self.name].items()}
        self.base = base

    def step(self, x: Array, h: Array) -> Array:
        z = x @ self.arrays["Wx"] + self.arrays["bh"] + h @ self.arrays["Wh"]
        return np.maximum(z, 0) if self.relu else np.tanh(z)

    def run(self, x: Array = X, start: Array | float = 0.0, mask: Array = ALL) -> Array:
        h, states = np.broadcast_to(start, (N, M)), np.zeros((N, T, M))
        for t in range(T)[:: -1 if self.reverse else 1]:
            h = np.where(mask[:, t, None], self.step(x[:, t], h), h)
            states[:, t] = h
        return states

    def compared(self, h: Array, x: Array = X, precision: Any = DOUBLE, **options: Any) -> Any:
        w = exact_weights(self.base, self.direction, precision)
        given = {"origins": None, "initial": {}, "mask": None, "usable": ALL, **options}
        return recurrence_residuals(self.direction, x, {"h": h}, w=w, precision=precision, **given)


def of_steps(found: Any) -> Residual:
    """Return the residual of all steps."""
    residual: Residual = found.residuals["h at every step"]
    return residual


@pytest.mark.parametrize("reverse", [False, True])
def test_states_that_follow_from_each_other_agree(reverse: bool) -> None:
    one, first = Recurrence(reverse=reverse), T - 1 if reverse else 0
    found = one.compared(one.run(), precision=SINGLE)
    assert list(found.residuals) == ["initial state", "h at every step"]
    start = found.residuals["initial state"]
    assert (start.compared, start.index.t, start.overflow) == (N * M, first, None)
    assert (of_steps(found).compared, of_steps(found).overflow) == (N * T * M, None)
    assert all(residual.passed for residual in found.residuals.values())
    assert found.usable.all()
    assert (found.bounds["h"] > 0).all()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_start_belongs_to_the_first_step(reverse: bool) -> None:
    one, first = Recurrence(reverse=reverse), T - 1 if reverse else 0
    h = one.run(start=START)
    found = one.compared(h, initial={"h": START})
    assert found.residuals["initial state"].passed
    wrong = one.compared(h)
    assert not wrong.residuals["initial state"].passed
    assert wrong.residuals["initial state"].index.t == first
    ratio = of_steps(wrong).step_errors.ratio
    assert np.flatnonzero(ratio > 1).tolist() == [first]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_wrong_state_is_wrong_in_two_steps(reverse: bool) -> None:
    """Its own, and the next, which starts from it."""
    one, next_step = Recurrence(reverse=reverse), 3 if reverse else 5
    right = one.run()
    h = right.copy()
    h[1, 4, 2] += 1e-3
    found = one.compared(h)
    residual = of_steps(found)
    assert residual.index == Index(1, 4, 2)
    assert residual.ratio == pytest.approx(1e-3 / found.bounds["h"][1, 4, 2], rel=1e-6)
    ratio, error, bound = residual.step_errors
    assert np.flatnonzero(ratio > 1).tolist() == sorted([4, next_step])
    assert error[4] == pytest.approx(1e-3, rel=1e-6)
    assert bound[4] == found.bounds["h"][1, 4, 2]
    np.testing.assert_allclose(ratio, error / bound)
    again = one.step(X[1:2, next_step], h[1:2, 4])
    expected = np.abs(again - right[1, next_step]).max()
    assert error[next_step] == pytest.approx(expected, rel=1e-2)


def test_nan_is_the_worst() -> None:
    one = Recurrence()
    h = one.run()
    h[2, 3, 1], h[0, 6, 0] = np.nan, 9.0
    residual = of_steps(one.compared(h))
    assert np.isnan(residual.ratio)
    assert residual.index == Index(2, 3, 1)
    assert not residual.passed
    assert residual.step_errors.ratio[3] == residual.step_errors.error[3] == np.inf


@pytest.mark.parametrize("reverse", [False, True])
def test_masked_steps_repeat_the_state_before(reverse: bool) -> None:
    one, mask = Recurrence(reverse=reverse), ALL.copy()
    mask[0, [0, 3, 4, 8]] = mask[2, 4] = mask[:, 6] = False
    h = one.run(mask=mask)
    found = one.compared(h, mask=mask)
    assert [part[6] for part in of_steps(found).step_errors] == [0, 0, 0]
    assert of_steps(found).passed
    assert of_steps(found).compared == N * T * M
    before, at = (5, 4) if reverse else (2, 3)
    np.testing.assert_array_equal(found.bounds["h"][0, at], found.bounds["h"][0, before])
    assert not found.bounds["h"][0, 8 if reverse else 0].any()
    for t in (0, 3, 8):
        wrong = h.copy()
        wrong[0, t, 1] = np.nextafter(wrong[0, t, 1], 2)
        residual = of_steps(one.compared(wrong, mask=mask))
        assert (residual.ratio, residual.index.sample, residual.index.t) == (np.inf, 0, t)
        assert residual.step_errors.ratio[t] == residual.step_errors.error[t] == np.inf
    zeroed = found.bounded_outputs(mask)
    np.testing.assert_array_equal(zeroed.value.swapaxes(0, 1), h * mask[..., None])
    assert not zeroed.error.swapaxes(0, 1)[~mask].any()
    np.testing.assert_array_equal(found.bounded_outputs(None).value.swapaxes(0, 1), h)
    (state,) = found.bounded_states().values()
    np.testing.assert_array_equal(state.value.swapaxes(0, 1), h)
    np.testing.assert_array_equal(state.error.swapaxes(0, 1), found.bounds["h"])


def test_states_of_a_masked_layer_have_no_mask() -> None:
    h, mask = np.ones((6, 3, 4)), np.ones((6, 3), dtype=bool)
    value = NodeValue((h, h, h[-1]), (h, h, None), mask, joined=2)
    assert [source_mask([value], Tap(0, n)) is mask for n in range(3)] == [True, True, False]
    assert source_mask([value._replace(mask=None)], Tap(0)) is None


def test_bounded_states_repeat_what_masked_outputs_may_not() -> None:
    """Keras may give zeros at masked steps; the state stays that of the step before."""
    one, mask = Recurrence(), ALL.copy()
    mask[0, :2] = mask[1, 5] = False
    h = one.run(start=START, mask=mask)
    given = h * mask[..., None]
    found = one.compared(given, mask=mask, initial={"h": START})
    np.testing.assert_array_equal(found.carried["h"], h)
    np.testing.assert_array_equal(found.states["h"], given)


@pytest.mark.parametrize("reverse", [False, True])
def test_nothing_follows_an_overflow(reverse: bool) -> None:
    """Of the same sample; a step that receives nothing usable is none."""
    one = Recurrence(reverse=reverse, activation="relu")
    x, usable = X.copy(), ALL.copy()
    x[1, 4] = 3e38 * np.sign(one.arrays["Wx"][:, 0])  # the sum of a unit is beyond float32
    usable[2, 6] = False
    with np.errstate(over="ignore"):
        found = one.compared(one.run(x), x, SINGLE, usable=usable)
    expected = ALL.copy()
    for sample, t in ((1, 4), (2, 6)):
        expected[sample, slice(t + 1) if reverse else slice(t, None)] = False
    np.testing.assert_array_equal(found.usable, expected)
    assert of_steps(found).compared == expected.sum() * M
    assert of_steps(found).overflow == (0 if reverse else 4)
    masked = ALL.copy()
    masked[1, 4] = False  # a masked step plays no part
    h = one.run(x, mask=masked)
    assert one.compared(h, x, SINGLE, mask=masked).usable.all()


@pytest.mark.parametrize(("precision", "is_compared"), [(DOUBLE, True), (SINGLE, False)])
def test_steps_start_from_their_origins(precision: Any, is_compared: bool) -> None:
    """In float64, the origins are compared as well."""
    one = Recurrence()
    origins, h = one.run(), one.run()
    h[1, 4, 2] += 1e-12  # the next steps start from the origins
    found = one.compared(h, precision=precision, origins={"h": origins})
    ratio = of_steps(found).step_errors.ratio
    assert np.flatnonzero(ratio > 1).tolist() == ([4] if is_compared else [])
    wrong = origins.copy()
    wrong[0, 3, 1] += 1e-3
    after = origins.copy()
    after[:, 4] = one.step(X[:, 4], wrong[:, 3])
    ratio = of_steps(
        one.compared(after, precision=precision, origins={"h": wrong})
    ).step_errors.ratio
    assert np.flatnonzero(ratio > 1).tolist() == ([3, 4] if is_compared else [])


def test_errors_of_states_and_x_widen_bounds() -> None:
    """By the sum of the magnitudes of their weights, as a linear layer has it."""
    one = Recurrence(activation="linear")
    w = exact_weights(one.base, one.direction, DOUBLE)
    h, errors = RNG.uniform(-1, 1, (2, N, T, M))
    x_error = RNG.uniform(0, 1, (N, T, D))
    errors = np.abs(errors)
    after, bound = bounded_steps(one.direction, X, {"h": h}, w, DOUBLE)
    z = X @ one.arrays["Wx"] + one.arrays["bh"] + h @ one.arrays["Wh"]
    np.testing.assert_allclose(after["h"], z, rtol=1e-12, atol=1e-12)
    assert (bound["h"] < 1e-13).all()
    more = {"errors": {"h": errors}, "x_error": x_error}
    _, wide = bounded_steps(one.direction, X, {"h": h}, w, DOUBLE, **more)
    expected = errors @ np.abs(one.arrays["Wh"]) + x_error @ np.abs(one.arrays["Wx"])
    np.testing.assert_allclose(wide["h"], expected, rtol=1e-9)


def test_chunks_of_steps_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Recurrence()
    h = one.run()
    h[2, 7, 3] += 0.5
    options = {"x_error": np.full(X.shape, 1e-3)}
    whole = one.compared(h, **options)
    monkeypatch.setattr(bounds, "CHUNK", 70)
    parts = one.compared(h, **options)
    np.testing.assert_allclose(parts.bounds["h"], whole.bounds["h"], rtol=1e-9)
    assert of_steps(parts).ratio == pytest.approx(of_steps(whole).ratio)


# --- States before each step ----------------------------------------------------------------------


def before_by_hand(
    h: Array, first: Array, mask: Array, *, reverse: bool, restarts: tuple[int, ...]
) -> tuple[Array, Array]:
    """Return the states before each step, and those after it where a masked step repeats them."""
    before, after, state = np.empty_like(h), np.empty_like(h), first
    for t in range(h.shape[1])[:: -1 if reverse else 1]:
        before[:, t] = first if t in restarts else state
        state = np.where(mask[:, t, None], h[:, t], state)
        after[:, t] = state
    return before, after


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("restarts", [(), (3,), (2, 6)])
def test_states_before_steps_equal_a_loop(
    reverse: bool, masked: bool, started: bool, restarts: tuple[int, ...]
) -> None:
    direction = recast(Recurrence(reverse=reverse).direction, restarts=restarts)
    h, mask = RNG.uniform(-1, 1, (N, T, M)), ALL.copy()
    if masked:
        mask[0, [0, 1, 4, 8]] = mask[2, 5:] = False
    initial = {"h": START} if started else {}
    first = START if started else np.zeros((N, M))
    expected, after = before_by_hand(h, first, mask, reverse=reverse, restarts=restarts)
    given = mask if masked else None
    (found,) = states_before(direction, {"h": h}, initial, given).values()
    np.testing.assert_array_equal(found, expected)
    (repeated,) = repeat_masked(direction, {"h": h}, initial, given).values()
    np.testing.assert_array_equal(repeated, after)
    if not masked:
        turned = {"h": h.swapaxes(0, 1)}
        (found,) = states_before(direction, turned, initial, time_axis=0).values()
        np.testing.assert_array_equal(found, expected.swapaxes(0, 1))


# --- Numbers beside bounded numbers ---------------------------------------------------------------


def bounded(shape: tuple[int, ...], error: Any = 0.5) -> Bounded:
    return Bounded(np.zeros(shape), np.broadcast_to(error, shape).astype(float), DOUBLE)


@pytest.mark.parametrize(
    ("shape", "usable", "at", "index"),
    [
        ((3, 4), (3,), (2, 1), Index(12, None, 1)),
        ((3, 4, 5), (3,), (2, 1, 3), Index(12, None, 8)),
        ((3,), (3,), (1,), Index(11, None, 0)),
        ((3, 4, 5), (3, 4), (2, 1, 3), Index(12, 1, 3)),
        ((3, 4, 2, 5), (3, 4), (2, 1, 1, 3), Index(12, 1, 8)),
        ((3, 4), (3, 4), (2, 1), Index(12, 1, 0)),
    ],
)
def test_the_worst_number_has_its_index(shape: Any, usable: Any, at: Any, index: Index) -> None:
    actual = RNG.uniform(-0.4, 0.4, shape)
    actual[at] = -2.0
    residual, compared = compare(actual, bounded(shape), np.ones(usable, bool), 10)
    assert (residual.index, residual.compared) == (index, actual.size)
    assert residual.ratio == pytest.approx(4)
    assert compared.all()
    assert residual.overflow is None
    if len(usable) == 1:
        assert residual.step_errors is None
    else:
        largest = np.abs(actual).max(axis=(0, *range(2, actual.ndim)))
        np.testing.assert_allclose(residual.step_errors.error, largest)
        np.testing.assert_allclose(residual.step_errors.ratio, largest / 0.5)


def test_other_shapes_are_not_compared() -> None:
    residual, compared = compare(np.zeros((3, 4)), bounded((3, 5)), np.ones(3, bool))
    assert residual == MISMATCH
    assert (residual.ratio, residual.compared, residual.index) == (np.inf, 1, Index(0, None, 0))
    assert not residual.passed
    assert compared.tolist() == [False] * 3


def test_what_is_only_moved_is_equal() -> None:
    """Its bound is 0 but for the smallest number of the dtype."""
    exact = bounded((3, 4), 0.0)
    assert compare(np.zeros((3, 4)), exact, np.ones(3, bool))[0].passed
    assert not compare(np.full((3, 4), 1e-300), exact, np.ones(3, bool))[0].passed


@pytest.mark.parametrize("timed", [True, False])
def test_numbers_without_a_bound_are_left_out(timed: bool) -> None:
    error, usable = np.full((3, 4, 2), 0.5), np.ones((3, 4) if timed else 3, bool)
    error[1, 2, 0] = error[2, 0] = np.inf
    usable[2] = False
    actual = np.where(np.isinf(error), 9.0, 0.1)
    residual, compared = compare(actual, bounded((3, 4, 2), error), usable)
    expected = usable & ~np.isinf(error).any(axis=2 if timed else (1, 2))
    np.testing.assert_array_equal(compared, expected)
    assert residual.compared == expected.sum() * (2 if timed else 8)
    assert residual.overflow == (2 if timed else None)
    assert residual.ratio == pytest.approx(0.2)
    nothing, _ = compare(actual, bounded((3, 4, 2), error), np.zeros_like(usable))
    assert (nothing.compared, nothing.passed) == (0, False)


def test_a_residual_passes_up_to_its_bound() -> None:
    for ratio, compared, passed in ((1.0, 1, True), (1.001, 1, False), (0.5, 0, False)):
        residual = Residual(ratio, Index(0, 0, 0), compared)
        assert residual.passed == passed
        steps = StepErrors(*np.ones((3, 2)))
        assert replace(residual, step_errors=steps) == replace(residual, step_errors=steps[:2])
        assert replace(residual, precision="float64") != residual


def test_each_step_shows_its_largest_ratio() -> None:
    """With the error and the bound of that number, and nothing where nothing is compared."""
    error, bound = RNG.uniform(1, 2, (2, 3, 4, 5))
    ratio, compared = error / bound, np.ones((3, 4), bool)
    ratio[2, 1, 3], compared[:, 2], compared[0, 3] = np.nan, False, False
    ratio[0, 3] *= 10
    found = largest_step_errors(ratio, error, bound, compared)
    n, u = np.unravel_index(int(np.argmax(ratio[:, 0])), (3, 5))
    assert [part[0] for part in found] == [a[n, 0, u] for a in (ratio, error, bound)]
    assert (found.ratio[1], found.error[1]) == (np.inf, error[2, 1, 3])
    assert all(np.isnan(part[2]) for part in found)
    assert found.ratio[3] == ratio[1:, 3].max()


def chunk(ratio: float, compared: int, *steps: float, overflow: int | None = None) -> Any:
    """Return a residual, whose errors and bounds are told from its ratios."""
    ratios = np.array(steps)
    errors = StepErrors(ratios, ratios * 2, ratios * 3) if steps else None
    index = Index(compared, 1, 0)
    residual = Residual(ratio, index, compared, overflow, step_errors=errors)
    return residual, np.array([compared > 2])


def test_chunks_are_combined_to_the_worst() -> None:
    one = chunk(0.3, 2, 0.3, np.nan, 0.1, overflow=4)
    other = chunk(0.7, 3, 0.2, 0.7, np.nan, overflow=2)
    for chunks in ([one, other], [other, one]):
        found, compared = combine(chunks)
        assert (found.ratio, found.index, found.compared) == (0.7, Index(3, 1, 0), 5)
        assert found.overflow == 2
        assert compared.tolist() == [part[0] for _, part in chunks]
        for part, factor in zip(found.step_errors, (1, 2, 3), strict=True):
            np.testing.assert_allclose(part, factor * np.array([0.3, 0.7, 0.1]))
    assert combine([one, chunk(0.1, 1)])[0].step_errors is None
    assert combine([chunk(0.1, 1), chunk(0.2, 1)])[0].overflow is None
    first, second = chunk(np.nan, 7), chunk(np.nan, 8)
    assert combine([other, first, second])[0].index.sample == 7


# --- Indices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "at", "index"),
    [
        ((3, 4, 5), (2, 1, 3), Index(2, 1, 3)),
        ((3, 5), (2, 3), Index(2, None, 3)),
        ((3,), (2,), Index(2, None, 0)),
        ((3, 4, 2, 5), (2, 3, 1, 3), Index(2, 3, 8)),
    ],
)
def test_a_difference_has_its_index(shape: Any, at: Any, index: Index) -> None:
    ours, theirs = RNG.uniform(-1, 1, (2, *shape))
    ours[at] = theirs[at] - 7.0
    assert index_of(ours, int(np.ravel_multi_index(at, shape))) == index
    found = largest_difference(ours, theirs)
    assert (found.max_abs, found.index) == (pytest.approx(7), index)
    theirs[at] = np.nan
    found = largest_difference(ours, theirs)
    assert np.isnan(found.max_abs)
    assert found.index == index


@pytest.mark.parametrize("steps", [2, 4, 20])
def test_numbers_that_are_not_finite_are_counted(steps: int) -> None:
    """Over all blocks; the first is told by its step."""
    x = RNG.uniform(-1, 1, (3, 9, 4))
    x[1, 5, 2], x[2, 5, 1], x[0, 7, 3] = np.inf, np.nan, -np.inf
    finder = NonFiniteFinder()
    source = ArrayInput(x, "x")
    blocks = [block for (block,) in finder.blocks((source,), steps, slice(1, 3))]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), x[1:3].astype("f"))
    assert finder.result == NonFinite(2, Index(1, 5, 2), None, "")
    large = np.where(np.isfinite(x), x, 1e39)
    finder = NonFiniteFinder()
    list(finder.blocks((ArrayInput(large, "x"),), steps, slice(0, 3)))
    assert finder.result is not None
    assert replace(finder.result, first=Index(1, 5, 2)) == NonFinite(
        3, Index(1, 5, 2), 1e39, "float32"
    )
