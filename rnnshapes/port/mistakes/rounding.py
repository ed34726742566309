"""Known mistakes of ports that round the states, or what they give."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations
from rnnshapes.port.mistakes.approximations import PortFunction
from rnnshapes.port.mistakes.cell_changes import (
    CellChange,
    cells_of,
    changed_cells,
    step_change,
)
from rnnshapes.port.mistakes.weight_rounding import multiples_below, multiples_of
from rnnshapes.port.quantities import ReportedQuantity, are_numbers_of, has_only_zeros_and_ones

#: Numbers are rounded if so many in a row are on a grid only once in so many cases (log10).
_LEAST_SURPRISE, _LEAST_SURPRISE_OF_16_BITS = 9.0, 4.0
_DECIMALS, _BITS = range(1, 6), range(4, 17)


def rounded_states(hypothesis: Hypothesis) -> Variations:
    """Round the states, or one of them, after each step to 16 bits, or to a grid."""
    keys = tuple(dict.fromkeys(key for cell in cells_of(hypothesis) for key in cell.state_names))
    whose = {"the states are": keys}
    if len(keys) > 1:
        whose |= {f"{key} is": (key,) for key in keys}
    hypothesis = _without_digits(hypothesis)  # its numbers are rounded already
    for (id_, how, rounded), (what, some) in itertools.product(_ROUNDED, whose.items()):
        text = f"{what} {how} after each step"
        mistake = Mistake(id_, text, own_fix="keep the states in float32")
        change = _after(PortFunction("rounded", rounded, ulps=2), some)
        yield from changed_cells(hypothesis, mistake, change)


#: The id of a mistake, how it rounds states in words, and the function.
_ROUNDED = (
    *((f"numeric.{d}", f"rounded to {d}", PRECISIONS[d].rounded) for d in ("bfloat16", "float16")),
    *(
        ("numeric.rounded", f"{how} to multiples of 1/{parts:,}", function(1 / parts))
        for parts in (127, *(2**bits for bits in (7, 8, 10, 12, 15)))
        for how, function in (("rounded", multiples_of), ("rounded down", multiples_below))
    ),
    *(
        ("numeric.rounded", f"rounded to {digits} decimals", multiples_of(10.0**-digits))
        for digits in (1, 2, 3, 4)
    ),
)


def _after(rounding: PortFunction, keys: Collection[str]) -> CellChange:
    """Return a change to a cell some of whose states are rounded after each step."""

    def step(cell: Any, right: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        result = right(ops, xz, state, w)
        rounded = {
            k: ops.elementwise(v, rounding) if k in keys else v for k, v in result.states.items()
        }
        return result._replace(output=rounded[cell.output_state], states=rounded)

    return step_change(step)


def with_digits(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis with the rounding of numbers of few decimals, or bits after the point.

    It has this as a mistake, and is the same one where the numbers are not rounded so.
    """
    quantities = hypothesis.quantities
    if any(q.rounding.any() for q in quantities):  # text, whose digits are known
        return hypothesis
    if all(has_only_zeros_and_ones(q.values) for q in quantities):  # decisions
        return hypothesis
    grids = [
        (10.0**-d, f"{d} decimal{'s' * (d > 1)}", "give the numbers in full") for d in _DECIMALS
    ]
    grids += [
        (2.0**-b, f"multiples of 1/{2**b:,}", "keep more bits after the point") for b in _BITS
    ]
    shorter = [d for d in ("bfloat16", "float16") if are_numbers_of(d, quantities)]
    for unit, what, fix in grids:
        if all(_on_grid(q, unit, (*shorter, q.dtype)[0]) for q in quantities):
            rounded = tuple(replace(q, rounding=q.rounding + unit / 2) for q in quantities)
            mistake = Mistake("numeric.rounded", f"the numbers are rounded to {what}", own_fix=fix)
            return replace(hypothesis, quantities=rounded).with_mistake("digits", mistake)
    return hypothesis


def _without_digits(hypothesis: Hypothesis) -> Hypothesis:
    """Return the hypothesis as it was before :func:`with_digits`."""
    if "digits" not in hypothesis.families:
        return hypothesis
    exact = hypothesis.map_quantities(lambda q: replace(q, rounding=q.rounding * 0.0))
    at = hypothesis.families.index("digits")
    mistakes, families = (
        (*parts[:at], *parts[at + 1 :]) for parts in (hypothesis.mistakes, hypothesis.families)
    )
    return replace(exact, mistakes=mistakes, families=families)


def _on_grid(quantity: ReportedQuantity, unit: float, dtype: str) -> bool:
    """Return whether all values are multiples of a unit, and not because they are of a dtype."""
    values = np.abs(quantity.values[quantity.values != 0])
    stored = 2.0**-53 if quantity.dtype == "float64" else 2.0**-24
    if np.any(np.abs(values - np.rint(values / unit) * unit) > 2 * stored * values):
        return False
    precision = PRECISIONS.get(dtype, PRECISIONS["float32"])
    last_bits = 2 * precision.unit_roundoff * 2.0 ** np.floor(np.log2(values))
    least = _LEAST_SURPRISE_OF_16_BITS if precision.is_16bit else _LEAST_SURPRISE
    chances = np.clip((1 if precision.is_16bit else 4) * last_bits / unit, 1e-12, 1.0)
    return float(-np.log10(chances).sum()) >= least
