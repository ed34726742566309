"""Ports that compute in fixed point, as ``trace --quantize`` does.

Every number of such a port is a multiple of one scale, and is that of the fixed-point run, or next
to it where the port rounds otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnnshapes.errors import RnnshapesError
from rnnshapes.forward import numpy_run
from rnnshapes.forward.quantized import quantize_network
from rnnshapes.load.inputs import InputSources
from rnnshapes.ops.activations import Array
from rnnshapes.ops.fixed_point import OUTPUT, Scheme
from rnnshapes.port.compare import Comparison, compare_with
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.quantities import ReportedQuantity, has_only_zeros_and_ones

#: Bits of a number, and bits behind the point, of Qm.n.
_BITS, _FRACTIONS = (8, 16, 32), range(2, 16)
#: Fewer numbers may be multiples of a scale by chance.
_LEAST_NUMBERS = 20
#: At least this share of the numbers is exactly that of the run, in a format that other ports may
#: round to, and in one that is the run's own.
_LEAST_EQUAL, _LEAST_EQUAL_ON_OWN_GRID = 0.9, 0.5


class _Run(NamedTuple):
    """A run in fixed point, and the share of a port's numbers that are exactly those of it."""

    scheme: Scheme
    equal: float
    comparisons: tuple[Comparison, ...]


def as_fixed_point(
    hypothesis: Hypothesis, sources: InputSources
) -> tuple[Mistake, tuple[Comparison, ...]] | None:
    """Return the mistake of a port in fixed point, with its comparisons, if it has no other.

    Args:
        hypothesis: The network, and what the port reports.
        sources: The inputs of the network.
    """
    if not _are_whole(hypothesis):
        return None
    runs = [
        run
        for scheme, least_equal in (*_scaled(hypothesis), *_q_formats(hypothesis))
        if (run := _compared(hypothesis, sources, scheme)) and run.equal >= least_equal
    ]
    if not runs:
        return None
    nearest = max(runs, key=lambda run: run.equal)
    name = nearest.scheme.name.lower()
    text = f"it computes in fixed point, as trace --quantize {name} does"
    fix = "use more bits, or accept it with --tolerance"
    return Mistake("numeric.fixed_point", text, own_fix=fix), nearest.comparisons


def _scaled(hypothesis: Hypothesis) -> Iterator[tuple[Scheme, float]]:
    """Yield int8 and int16, where all numbers are multiples of the scales that these have."""
    ours = numpy_run.numpy_outputs(hypothesis.network, hypothesis.weights, hypothesis.xs)
    largest = {
        q: float(np.abs(q.expected(hypothesis.network, ours)).max()) for q in hypothesis.quantities
    }
    for name in ("int8", "int16", "int8-columns", "int16-columns"):
        scheme = Scheme.from_name(name)
        if all(any(_on_grid(q, s) for s in _scales(scheme, q, m)) for q, m in largest.items()):
            yield scheme, _LEAST_EQUAL_ON_OWN_GRID


def _q_formats(hypothesis: Hypothesis) -> Iterator[tuple[Scheme, float]]:
    """Yield Qm.n of some widths, where all numbers are multiples of 2^-n.

    They may also be rounded to that, and computed otherwise.
    """
    grids = (n for n in _FRACTIONS if all(_on_grid(q, 2.0**-n) for q in hypothesis.quantities))
    for fraction in itertools.islice(grids, 1):
        for bits in _BITS:
            if bits > fraction:
                yield Scheme.from_name(f"q{bits - 1 - fraction}.{fraction}"), _LEAST_EQUAL


def _scales(scheme: Scheme, quantity: ReportedQuantity, largest: float) -> Iterator[float]:
    """Yield the scales that a quantity may have: by its largest magnitude, or from -1 to 1."""
    bits = scheme.operands if quantity.key == OUTPUT else scheme.values
    for form in (scheme.format(bits, largest), scheme.format(scheme.values, 1.0)):
        yield float(form.scale)


def _are_whole(hypothesis: Hypothesis) -> bool:
    """Return whether there are enough numbers, of every step, and not only zeros and ones."""
    quantities = hypothesis.quantities
    if all(has_only_zeros_and_ones(q.values) for q in quantities):  # which are on every grid
        return False
    numbers = sum(np.count_nonzero(q.values) for q in quantities)
    steps = [0 if q.network_steps is None else len(q.network_steps) for q in quantities]
    return not hypothesis.mistakes and min(steps) > 1 and bool(numbers >= _LEAST_NUMBERS)


def _on_grid(quantity: ReportedQuantity, scale: float) -> bool:
    """Return whether all numbers are multiples of a scale, within the rounding of float32."""
    multiples = quantity.values / scale
    rounding = 2.0**-22 * np.abs(multiples) + quantity.rounding / scale
    if float(rounding.max(initial=0.0)) > 0.1:  # all numbers are near a multiple
        return False
    return bool((np.abs(multiples - np.rint(multiples)) <= rounding).all())


def _compared(hypothesis: Hypothesis, sources: InputSources, scheme: Scheme) -> _Run | None:
    """Return a run in fixed point, if every number is one of it or next to it."""
    try:
        pairs = list(_runs(hypothesis, sources, scheme))
    except RnnshapesError:  # it is stateful, or has numbers that are not finite
        return None
    comparisons = []
    equal = count = 0
    for quantity, expected, scale in pairs:
        comparison = compare_with(quantity, expected, np.full(expected.shape, 1.01 * scale))
        if not comparison.agrees:
            return None
        equal += int((np.abs(quantity.values - expected) < scale / 2).sum())
        count += expected.size
        comparisons.append(comparison)
    if len(pairs) < len(hypothesis.quantities):
        return None
    return _Run(scheme, equal / count, tuple(comparisons))


def _runs(
    hypothesis: Hypothesis, sources: InputSources, scheme: Scheme
) -> Iterator[tuple[ReportedQuantity, Array, float]]:
    """Yield each quantity with its numbers in the fixed-point run, and the scale of these."""
    network = hypothesis.network
    run = quantize_network(network, hypothesis.weights, sources, scheme, with_numbers=True)
    values = {value.name: value for value in run.values}
    for quantity in hypothesis.quantities:
        name = f"{quantity.name}.{quantity.key}" if quantity.key else quantity.name
        value, steps = values.get(name), quantity.network_steps
        if value is not None and value.numbers is not None and value.scale and steps is not None:
            numbers = value.numbers.reshape(*value.numbers.shape[:2], -1)
            yield quantity, numbers[:, steps], value.scale
