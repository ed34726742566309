"""Comparison of reported quantities with the network, against what rounding can explain.

Where a port reports all states of a recurrence at every step, each step is computed from the
port's own states before it, with a proven bound of that one step; the number of steps plays no
part. Where a port reports less, the whole run is compared. Its bound is how far the run moves
when rounding changes every weight and every number of x, in several random directions. Source:
Kenney and Laub, "Small-sample statistical condition estimates", SIAM J. Sci. Comput. 15 (1994).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from rnnshapes.forward import numpy_run
from rnnshapes.forward.difference import Index
from rnnshapes.forward.scan import states_before
from rnnshapes.network.graph import Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.masking import Masking
from rnnshapes.network.weights import bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.elementwise import Elementwise
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import PRECISIONS, Precision
from rnnshapes.port.batched_networks import batched_groups, batched_weights, networks_at_once
from rnnshapes.port.error_summary import ErrorSummary
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import Residual, bounded_steps, largest_step_errors

#: In how many random directions a run is perturbed, and after how many a hopeless one is left.
DIRECTIONS, _FIRST_DIRECTIONS = 8, 3
#: A bound is at least this share of those of the same unit nearby, but at most so many times its
#: own: one large sample widens no others.
_SHARE_OF_TYPICAL, _MOST_RAISED = 0.5, 4.0
#: A ratio above this after the first directions does not come down to 1 after all of them: one
#: random direction shows less than a thousandth of the bound for one number in a thousand.
_HOPELESS_RATIO = 1e3
#: Where a bound is more than this share of the largest number, the step is not compared. A proven
#: bound may be so many units of the last place: those of bfloat16 are large themselves.
LARGEST_SHARE, _LARGEST_UNITS = 1 / 16, 64
#: Where an estimated bound is more than this share, wrong numbers would be within it as well: the
#: step shows mistakes, but proves nothing. In a coarse dtype it is so many unit roundoffs.
_LARGEST_ESTIMATE, _ESTIMATE_UNITS = 1e-3, 128
#: But a number is compared all the same if its difference is so many times its bound.
_FAR_RATIO = 16.0
#: A larger ratio says no more.
_LARGEST_RATIO = 2.0**60
#: Rounding of activations and sums, beside that of products, in units of the last place.
_OTHER_UNITS = 10
#: Rounding of activations in units in the last place of 1, beside 16 bits. Ports compute tanh(z)
#: as 2 sigmoid(2 z) - 1, and sigmoid(z) as (1 + tanh(z / 2)) / 2. The others are exact.
_UNITS_OF_ONE = {"tanh": 8, "sigmoid": 4, "relu": 0, "linear": 0}
#: Rounding of one state or gate in one step: sums and products after the activation.
_NAMED_UNITS = 2


class Pattern(NamedTuple):
    """The units, samples and time steps of the port that differ, and the shape (N, L, units).

    ``first_units`` are those that differ at the first step that does, in the port's order.
    """

    units: tuple[int, ...]
    samples: tuple[int, ...]
    steps: tuple[int, ...]
    shape: tuple[int, ...]
    first_units: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """One reported quantity, compared with the network.

    Attributes:
        quantity: The quantity in words: ``lstm: h at every step``.
        residual: The largest |reported - expected| / bound, and how many numbers were compared.
            Its index has the port's own time steps.
        first: The first index, by t, at which the ratio is above 1.
        first_values: The reported and the expected number there.
        differing: How many ratios are above 1.
        left_out: How many numbers are not compared, because rounding alone may have changed them
            too much.
        wide: How many of those compared have a bound so wide that they prove nothing.
        width: The largest bound of these, as a share of the largest number.
        only_zeros: Whether every expected number is 0.
        max_abs: The largest difference of all numbers.
        proven: Whether the bound is that of one step, from the port's own states.
        pattern: Which units, samples and steps differ.
        steps: The port's time steps (L,), to which the residual's step errors belong.
        shape: An error text for an array with samples and time exchanged. The other fields then
            describe the array with its axes exchanged back.
        narrow_dtype: That of the quantity.
        bits: How far the numbers are beyond their bounds: the sum of the logarithms of all
            ratios above 1, to the base 2.
        bound: The median of the bounds.
        error: The error over the whole run, where it is known.
    """

    quantity: str
    residual: Residual
    first: Index | None
    first_values: tuple[float, float] | None
    differing: int
    left_out: int
    wide: int
    width: float
    only_zeros: bool
    max_abs: float
    proven: bool
    pattern: Pattern
    steps: Array | None = field(compare=False, repr=False)
    shape: str
    narrow_dtype: str
    bits: float = field(compare=False)
    bound: float = field(compare=False)
    error: ErrorSummary | None = None

    @property
    def ratio(self) -> float:
        """The largest ratio; negative where nothing was compared."""
        return self.residual.ratio

    @property
    def index(self) -> Index:
        """The index of the largest ratio; meaningless where nothing was compared."""
        return self.residual.index

    @property
    def compared(self) -> int:
        """How many numbers were compared."""
        return self.residual.compared

    @property
    def agrees(self) -> bool:
        """Whether more was compared than left out, and every difference is within its bound."""
        return _is_conclusive(self) and self.ratio <= 1.0

    @property
    def passed(self) -> bool:
        """Whether it agrees in the network's order of axes, and that proves something."""
        return self.agrees and not self.is_wide and not self.shape

    @property
    def is_wide(self) -> bool:
        """Whether most numbers prove nothing, as rounding alone may change them too much."""
        return self.compared - self.wide <= self.left_out + self.wide


def precision_of(dtype: str) -> Precision:
    """Return the rounding of a port that computes in ``dtype``, and sums products in it, too.

    Sums of bfloat16 are computed in float32. In float64, its constants may be more exact than those
    of TensorFlow.
    """
    precision = replace(PRECISIONS[dtype], exact_constants=dtype == "float64")
    return replace(precision, sums_in_float32=False) if dtype == "float16" else precision


def compare_quantities(
    hypothesis: Hypothesis,
    dtype: str,
    *,
    stop_early: bool = False,
    ours: ModelOutputs | None = None,
) -> tuple[Comparison, ...]:
    """Compare each quantity with the hypothesis, for a port that computes in ``dtype``.

    Args:
        hypothesis: The network as the port may compute it, and what the port reports.
        dtype: The dtype of the port's arithmetic. Arrays of a ``narrow_dtype`` are compared in it.
        stop_early: Whether to stop as soon as a quantity can no longer agree.
        ours: The run of the hypothesis in NumPy, if it is there already.

    Returns:
        One comparison for each quantity, in the same order.
    """
    if ours is None and not is_stepwise(hypothesis):
        ours = compute_outputs(hypothesis)
    numbers: dict[str, list[int]] = {}
    for number, quantity in enumerate(hypothesis.quantities):
        own = max(dtype, quantity.narrow_dtype or dtype, key=_unit_roundoff)
        numbers.setdefault(own, []).append(number)
    comparisons: dict[int, Comparison] = {}
    for own, some in numbers.items():
        comparisons |= _compare_in(own, hypothesis, ours, some, stop_early=stop_early)
    return tuple(comparisons[number] for number in range(len(hypothesis.quantities)))


def compute_outputs(hypothesis: Hypothesis) -> ModelOutputs:
    """Compute the whole run of a hypothesis in NumPy."""
    return numpy_run.numpy_outputs(hypothesis.network, hypothesis.weights, hypothesis.xs)


def _unit_roundoff(dtype: str) -> float:
    return PRECISIONS[dtype].unit_roundoff


def _compare_in(
    dtype: str,
    hypothesis: Hypothesis,
    ours: ModelOutputs | None,
    numbers: list[int],
    *,
    stop_early: bool,
) -> dict[int, Comparison]:
    """Return the comparison of some quantities, by their numbers, in one dtype."""
    precision = precision_of(dtype)
    comparisons = _one_step_comparisons(hypothesis, ours, numbers, precision)
    if dtype == "float16" and not all(map(_is_conclusive, comparisons.values())):
        # Few ports sum so many products in float16; float32 sums have a bound that proves something
        narrow = _one_step_comparisons(hypothesis, ours, numbers, PRECISIONS[dtype])
        comparisons = {n: c if _is_conclusive(c) else narrow[n] for n, c in comparisons.items()}
    if ours is None or set(numbers) <= set(comparisons):
        return comparisons
    spreads = {
        number: _Spread(quantity, quantity.expected(hypothesis.network, ours), precision)
        for number, quantity in enumerate(hypothesis.quantities)
        if number in numbers and number not in comparisons
    }
    count = 0
    for directions, perturbed in _perturbed_runs(hypothesis, precision):
        for spread in spreads.values():
            spread.include(spread.quantity.expected(hypothesis.network, perturbed))
        count += directions
        if stop_early and count == _FIRST_DIRECTIONS:
            ratios = [spread.comparison().ratio for spread in spreads.values()]
            if any(ratio > _HOPELESS_RATIO for ratio in ratios):
                break
    return comparisons | {number: spread.comparison() for number, spread in spreads.items()}


def compare_with(quantity: ReportedQuantity, expected: Array, bound: Array) -> Comparison:
    """Compare a quantity with expected values, within a bound that is known, (N, L, units)."""
    return _comparison(quantity, expected, bound, proven=True, largest_share=1.0)


def _one_step_comparisons(
    hypothesis: Hypothesis, ours: ModelOutputs | None, numbers: list[int], precision: Precision
) -> dict[int, Comparison]:
    """Return the comparison of each state of a fully reported recurrence, by its number."""
    share = max(LARGEST_SHARE, _LARGEST_UNITS * precision.unit_roundoff)
    return {
        number: _comparison(
            hypothesis.quantities[number], expected, bound, proven=True, largest_share=share
        )
        for number, expected, bound in _one_step_bounds(hypothesis, ours, precision)
        if number in numbers
    }


def _is_conclusive(comparison: Comparison) -> bool:
    """Return whether more was compared than left out."""
    return comparison.compared > comparison.left_out


def _comparison(
    quantity: ReportedQuantity,
    expected: Array,
    bound: Array,
    *,
    proven: bool,
    largest_share: float = LARGEST_SHARE,
    telling_share: float = math.inf,
    own_bound: Array | None = None,
) -> Comparison:
    """Compare reported with expected values (N, L, units), element by element.

    ``own_bound`` tells which steps have too wide a bound, where ``bound`` was raised.
    A step whose bound is more than ``largest_share`` of the largest number is left out, and proves
    nothing if it is more than ``telling_share``. Where all expected numbers are 0, those that the
    port has as 0 are equal. Where they are not, zeros alone prove nothing.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        difference = np.abs(quantity.values - expected)
        total_bound = bound + quantity.rounding
        ratio = difference / total_bound
        largest = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
        own_bound = bound if own_bound is None else own_bound
        widest = np.max(own_bound, axis=2, keepdims=True)
        comparable = widest <= largest_share * largest
        if largest == 0.0:
            comparable = (quantity.values == 0.0) | (ratio <= 1.0)
        elif not np.any(comparable & (expected != 0.0)):
            comparable = np.zeros_like(comparable)
        comparable = (comparable | (ratio > _FAR_RATIO)) & np.isfinite(bound)
        comparable &= np.isfinite(expected)
        is_wide = comparable & (widest > telling_share * largest) & (largest > 0.0)
        width = np.max(own_bound, initial=0.0, where=is_wide) / largest if is_wide.any() else 0.0
    ratio = np.where(comparable, ratio, -1.0)
    beyond = np.argwhere(np.swapaxes(ratio > 1.0, 0, 1))  # by t, then by sample
    first, first_values = None, None
    if len(beyond):
        t, sample, unit = (int(i) for i in beyond[0])
        first = _index(quantity, sample, t, unit)
        first_values = (
            float(quantity.values[sample, t, unit]),
            float(expected[sample, t, unit]),
        )
    worst = int(np.argmax(ratio))
    sample, t, unit = (int(i) for i in np.unravel_index(worst, ratio.shape))
    compared = int(comparable.sum())
    has_steps = quantity.network_steps is not None
    return Comparison(
        quantity=quantity.text,
        residual=Residual(
            ratio=float(ratio.flat[worst]),
            index=_index(quantity, sample, t, unit),
            compared=compared,
            step_errors=(
                largest_step_errors(ratio, difference, total_bound, comparable.any(axis=2))
                if has_steps
                else None
            ),
        ),
        first=first,
        first_values=first_values,
        differing=len(beyond),
        left_out=comparable.size - compared,
        wide=int(is_wide.sum()),
        width=float(width),
        only_zeros=bool(largest == 0.0),
        max_abs=float(np.max(difference)),
        proven=proven,
        pattern=_pattern(quantity, ratio > 1.0),
        steps=quantity.steps if has_steps else None,
        shape=_shape_error(quantity),
        narrow_dtype=quantity.narrow_dtype,
        bits=float(np.log2(np.clip(ratio, 1.0, _LARGEST_RATIO)).sum()),
        bound=float(np.median(total_bound[comparable])) if compared else 0.0,
    )


def _pattern(quantity: ReportedQuantity, differs: Array) -> Pattern:
    """Return which units, samples and steps of an array (N, L, units) differ."""
    by_step: Array = np.any(differs, axis=0)
    steps = np.flatnonzero(by_step.any(axis=1))
    first = np.flatnonzero(by_step[steps[0]]) if len(steps) else steps

    def listed(indices: Array) -> tuple[int, ...]:
        return tuple(int(i) for i in indices)

    return Pattern(
        units=listed(np.flatnonzero(by_step.any(axis=0))),
        samples=listed(np.flatnonzero(differs.any(axis=(1, 2)))),
        steps=listed(quantity.steps[steps]),
        shape=differs.shape,
        first_units=listed(first),
    )


def _shape_error(quantity: ReportedQuantity) -> str:
    """Return both shapes of an array with samples and time exchanged, and nothing otherwise."""
    n, t, units = quantity.values.shape
    return f"shape {(t, n, units)}, expected {(n, t, units)}" if quantity.axes_swapped else ""


def _index(quantity: ReportedQuantity, sample: int, t: int, unit: int) -> Index:
    """Return an index with the port's own step, or without a step for the model's output."""
    step = None if quantity.network_steps is None else int(quantity.steps[t])
    return Index(sample, step, unit)


# --- One step from the port's own states --------------------------------------------------------


class ReportedRecurrence(NamedTuple):
    """A recurrence of which the port reports every state at every step.

    Attributes:
        node: Its layer.
        name: Its name.
        direction: Its cell, and its direction.
        x: Its input, (N, T, D), which is one of the network, so that no port computes it.
        numbers: Which quantity each state is.
        quantities: These quantities, by state.
    """

    node: Node
    name: str
    direction: Direction
    x: Array
    numbers: dict[str, int]
    quantities: dict[str, ReportedQuantity]

    @property
    def states(self) -> dict[str, Array]:
        """The port's own states, (N, T, M)."""
        return {key: quantity.values for key, quantity in self.quantities.items()}

    @property
    def rounding(self) -> dict[str, Array]:
        """How far the port's states may be off, (N, T, M)."""
        return {key: quantity.rounding for key, quantity in self.quantities.items()}


def fully_reported(hypothesis: Hypothesis) -> Iterator[ReportedRecurrence]:
    """Yield the recurrences of which the port reports every state at every step.

    The input of such a recurrence must be an input of the network.
    """
    network = hypothesis.network
    for node in network.recurrent:
        source = network.nodes[node.sources[0].node]
        if not isinstance(source.layer, Input) or node.initial:
            continue
        x = hypothesis.xs[network.inputs.index(source)]
        for name, direction in node.scans:
            numbers = {
                quantity.key: number
                for number, quantity in enumerate(hypothesis.quantities)
                if quantity.name == name and _covers_every_step(quantity, x)
            }
            if set(numbers) == set(direction.cell.states):
                quantities = {key: hypothesis.quantities[n] for key, n in numbers.items()}
                yield ReportedRecurrence(node, name, direction, x, numbers, quantities)


def is_stepwise(hypothesis: Hypothesis) -> bool:
    """Return whether each reported number follows in one step from the port's own states."""
    if hypothesis.network.batch:
        return False
    stepped = [key for one in fully_reported(hypothesis) for key in one.numbers]
    lengths = {len(quantity.steps) for quantity in hypothesis.quantities}
    return len(stepped) == len(hypothesis.quantities) and len(lengths) == 1


def _covers_every_step(quantity: ReportedQuantity, x: Array) -> bool:
    """Return whether the quantity has a value for every step of x (N, T, D), in order."""
    return quantity.is_unbroken and len(quantity.steps) == x.shape[1]


def _one_step_bounds(
    hypothesis: Hypothesis, ours: ModelOutputs | None, precision: Precision
) -> Iterator[tuple[int, Array, Array]]:
    """Yield for each state of a fully reported recurrence one step from the port's own states.

    Yields:
        The number of the quantity, the expected values and their bounds, both (N, T, M).
    """
    starts = numpy_run.stored_states(hypothesis.weights) if ours is None else ours.starts
    for one in fully_reported(hypothesis):
        w = exact_weights(hypothesis, one.direction, precision)
        states = states_before(one.direction, one.states, starts.get(one.name, {}))
        start_rounding = hypothesis.start_rounding.get(one.name, {})
        errors = states_before(one.direction, one.rounding, start_rounding)
        x = np.asarray(one.x, np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            expected, bound = bounded_steps(
                one.direction, x, states, w, precision, errors, ops=PORT_OPS
            )
        for key, number in one.numbers.items():
            yield number, expected[key], bound[key]


def exact_weights(
    hypothesis: Hypothesis, direction: Direction, precision: Precision
) -> SimpleNamespace:
    """Return the weights of a direction, by key, without any rounding error of their own."""
    exact = vars(bind(direction.name, hypothesis.weights, "float64")).items()
    return SimpleNamespace(**{key: Bounded.exact(values, precision) for key, values in exact})


def _rounding_of_form(name: str, precision: Precision) -> float:
    """Return how far an activation may be off for the form in which a port computes it.

    In 16 bits it is computed in float32.
    """
    return 0.0 if precision.is_16bit else _UNITS_OF_ONE.get(name, 0) * precision.unit_roundoff


class _PortOps(BoundedOps):
    """An interpreter whose bounds hold for each form of an activation that ports compute."""

    def activate(self, name: str, z: Bounded) -> Bounded:
        return super().activate(name, z).widened(_rounding_of_form(name, z.precision))


PORT_OPS = _PortOps()


# --- The whole run, perturbed -------------------------------------------------------------------


def _perturbed_runs(
    hypothesis: Hypothesis, precision: Precision
) -> Iterator[tuple[int, ModelOutputs]]:
    """Yield the run with weights, x and states perturbed by rounding.

    Yields:
        A number of random directions, and the outputs in all of them, one behind the other.
    """
    rng = np.random.default_rng(0)
    network, xs = hypothesis.network, hypothesis.xs
    layers = [node.layer for node in network.nodes]
    mask_values = [layer.value for layer in layers if isinstance(layer, Masking)]
    for count in _directions_at_once(hypothesis):
        every = [
            {
                group: {key: _perturbed_weight(rng, a, precision) for key, a in arrays.items()}
                for group, arrays in hypothesis.weights.items()
            }
            for _ in range(count)
        ]
        several = [
            [_perturbed_input(rng, x, mask_values, precision) for _ in range(count)] for x in xs
        ]
        weights = every[0] if count == 1 else batched_weights(network, every, len(xs[0]))
        ops = _PerturbedOps(rng, precision)
        together = tuple(map(np.concatenate, several))
        yield count, numpy_run.numpy_outputs(network, weights, together, ops=ops)


def _directions_at_once(hypothesis: Hypothesis) -> Iterator[int]:
    """Yield how many random directions are computed at once, until all are."""
    network, weights = hypothesis.network, hypothesis.weights
    most = networks_at_once(network, weights, hypothesis.xs)
    if not set(weights) <= batched_groups(network):
        most = 1
    for count in (_FIRST_DIRECTIONS, DIRECTIONS - _FIRST_DIRECTIONS):
        for start in range(0, count, most):
            yield min(most, count - start)


class _PerturbedOps(NumpyOps):
    """An interpreter that changes every named value of a cell's equation by a rounding error.

    It does so, too, with activations that may subtract nearly equal numbers. The error has the
    same sign at every step: where a state hardly changes, rounding repeats.
    """

    def __init__(self, rng: np.random.Generator, precision: Precision) -> None:
        self.rng, self.precision = rng, precision
        self.signs: dict[tuple[str, tuple[int, ...]], Array] = {}

    def let(self, name: str, value: Array) -> Array:
        units = _NAMED_UNITS * self.precision.unit_roundoff
        return value * (1 + units * self._signs_of(name, value.shape))

    def activate(self, name: str, z: Array) -> Array:
        value = super().activate(name, z)
        if name in _UNITS_OF_ONE:
            error = np.full(value.shape, _rounding_of_form(name, self.precision))
        else:
            error = Bounded.exact(z, self.precision).activated(name).error
        return self._perturbed(name, value, error)

    def elementwise(self, x: Array, function: Elementwise) -> Array:
        bounded = BoundedOps().elementwise(Bounded.exact(x, self.precision), function)
        return self._perturbed(function.name, super().elementwise(x, function), bounded.error)

    def _perturbed(self, name: str, value: Array, error: Array) -> Array:
        finite = np.where(np.isfinite(error), error, 0.0)
        perturbed: Array = value + finite * self._signs_of(f"activation {name}", value.shape)
        return perturbed

    def _signs_of(self, name: str, shape: tuple[int, ...]) -> Array:
        if (name, shape) not in self.signs:
            self.signs[name, shape] = _signs(self.rng, shape)
        return self.signs[name, shape]


def _perturbed_input(
    rng: np.random.Generator, x: Array, mask_values: list[float], precision: Precision
) -> Array:
    """Return x changed by rounding, except for whole numbers and the values that mask a step."""
    if x.dtype.kind in "iu":
        return x
    exact = np.isin(x, np.asarray(mask_values, x.dtype)) | (x == np.round(x))
    factors = 1 + 2 * precision.unit_roundoff * _signs(rng, x.shape)
    perturbed: Array = np.where(exact, x, x * factors)
    return perturbed


def _perturbed_weight(rng: np.random.Generator, weight: Array, precision: Precision) -> Array:
    """Return a weight changed by the rounding of its products, sums and activations."""
    terms = int(np.prod(weight.shape[:-1])) if weight.ndim > 1 else 0
    share = precision.gamma(terms, 2) + _OTHER_UNITS * precision.unit_roundoff
    perturbed: Array = weight * (1 + share * _signs(rng, weight.shape))
    return perturbed


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return random signs, 1.0 or -1.0."""
    return 2.0 * rng.integers(0, 2, shape) - 1.0


class _Spread:
    """The largest distance of perturbed runs from the run itself, for one quantity.

    The bound is this spread and the rounding of the last operation.
    """

    def __init__(self, quantity: ReportedQuantity, expected: Array, precision: Precision) -> None:
        self.quantity, self.expected, self.precision = quantity, expected, precision
        last_rounding = _OTHER_UNITS * precision.unit_roundoff * np.abs(expected)
        self.last_operation = last_rounding + precision.tiny
        self.spread = np.zeros_like(expected)

    def include(self, perturbed: Array) -> None:
        """Widen the spread by more runs, one behind the other (runs * N, L, units)."""
        runs = perturbed.reshape(-1, *self.expected.shape)
        with np.errstate(invalid="ignore"):
            distances = np.abs(runs - self.expected).max(axis=0)
            self.spread = np.maximum(self.spread, distances)

    def comparison(self) -> Comparison:
        """Compare the quantity with the run, against the spread so far."""
        bound = np.maximum(self.spread, self._typical_spread()) + self.last_operation
        units = _ESTIMATE_UNITS * self.precision.unit_roundoff
        return _comparison(
            self.quantity,
            self.expected,
            bound,
            proven=False,
            telling_share=max(_LARGEST_ESTIMATE, units),
            own_bound=self.spread + self.last_operation,
        )

    def _typical_spread(self) -> Array:
        """Return a share of the root mean square of the spread, but few times the own one.

        It is that of all samples of a unit at a step and the one before. In a few directions, one
        number of many may hardly move by chance.
        """
        finite = np.where(np.isfinite(self.spread), self.spread, 0.0)
        of_steps = np.square(finite).mean(axis=0)
        before = np.concatenate([of_steps[:1], of_steps[:-1]])  # later ones may be much larger
        typical = np.sqrt((before + of_steps) / 2.0)
        floor: Array = np.minimum(_SHARE_OF_TYPICAL * typical, _MOST_RAISED * self.spread)
        return floor
