"""Where a port differs: layer, direction, quantity, gate, units, samples and steps.

All of it follows from the comparison of the port's own numbers, without any hypothesis.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.forward import scan
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.core import Dense
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.precision import Precision
from rnnshapes.port.compare import Comparison, ReportedRecurrence, fully_reported
from rnnshapes.port.hypothesis import Hypothesis, Where, direction_of
from rnnshapes.port.quantities import OUTPUT, Y_HAT, ReportedQuantity

#: So many units or samples are listed.
_LISTED = 4
#: A difference is isolated if at most this share of the numbers differ.
_ISOLATED = 1 / 16
#: A difference of so few steps, beside more that agree, tells no weights.
_FEW_STEPS = 2
#: A ratio that no coarser arithmetic of the same dtype has.
_FAR = 1e3
#: Where activations saturate, and how near a unit is that hardly follows its inputs.
_SATURATED, _NEARLY = (-1.0, 0.0, 1.0), 1e-3
#: The largest error of an h that follows from c, in units of rounding.
_FOLLOWS = 64.0


class Location(NamedTuple):
    """One place where a port differs, and what can be seen there, in words.

    ``is_line`` says that it is a line of the equation, which an intermediate of the port shows.
    """

    where: Where
    text: str
    is_line: bool = False


class Extent(NamedTuple):
    """How far a difference extends, which tells mistakes that cannot be its cause.

    Attributes:
        unit: The quantity that fails first, and its only unit that does at the first step.
        step: The first step that differs.
        sample: The first sample that does at this step.
        is_isolated: Whether a few numbers differ, and at least half of the steps agree.
        is_brief: Whether one or two steps differ, and more agree.
        differing: How many numbers differ.
        in_head: Whether some units of the output differ, and others agree, behind a layer that
            mixes all of its inputs. Then these, and the recurrences before, are most likely right.
    """

    unit: tuple[str, int] | None = None
    step: int = 0
    sample: int = 0
    is_isolated: bool = False
    is_brief: bool = False
    differing: int = 0
    in_head: bool = False


def locate(
    network: Network,
    quantities: Sequence[ReportedQuantity],
    checks: Sequence[Comparison],
    follows: Collection[str] = (),
) -> tuple[Location, ...]:
    """Return where the quantities that fail differ, in the order of the layers.

    Where a layer differs, those after it follow, unless each step starts from the port's own
    states; only the first is returned then. ``follows``: see :func:`outputs_that_follow`.
    """
    pairs = _in_order(network, quantities, checks)
    failed = [pair for pair in pairs if pair[2].differing]
    located: list[Location] = []
    for number, name in enumerate(dict.fromkeys(q.name for _, q, _ in failed)):
        # The other states of a recurrence follow from the one that differs first.
        same = [pair for pair in failed if pair[1].name == name]
        if name in follows:
            same = [pair for pair in same if pair[1].key == "c"] or same
        position, quantity, check = min(same, key=lambda pair: _first_step(network, *pair[1:]))
        if number and not check.proven:
            break
        agreeing = {q.key for _, q, c in pairs if q.name == quantity.name and c.agrees}
        before = {q.name for at, q, c in pairs if at < position and c.agrees}
        before -= {q.name for _, q, _ in failed}
        where = _where(
            network, quantity, check, agreeing, heads_alone=_covers_last(network, before)
        )
        words = [*_words(network, quantity, check, where)]
        h_agrees = any(
            q.name == name and q.key == "h" and (c.agrees or _first_step(network, q, c) > 0)
            for _, q, c in pairs
        )
        c_differs = quantity.key == "c" and check.pattern.shape[1] > 1
        if c_differs and h_agrees and _first_step(network, quantity, check) == 0:
            words.append("h agrees at the first step: what is given as c is not the c of this h")
        c_differs_at_steps = any(q.key == "c" and len(c.pattern.steps) > 1 for _, q, c in same)
        if c_differs_at_steps and name in follows:
            words.append("h follows from this c: it is i, f, c~ or what is done to c, not o")
        if len(before) == 1:
            words.append(f"{before.pop()} agrees")
        located.append(Location(where, "; ".join(filter(None, words))))
    return tuple(located)


def outputs_that_follow(parts: Iterable[Hypothesis], precision: Precision) -> frozenset[str]:
    """Return the LSTMs of a port whose h follows from c, as it does if gate o is right.

    In 16 bits the error of a wrong gate is no larger than that of rounding: none is returned.

    Args:
        parts: The parts of the network that each start from the port's own numbers.
        precision: The precision of the port's arithmetic.
    """
    if precision.is_16bit:
        return frozenset()
    most = _FOLLOWS * precision.unit_roundoff
    return frozenset(
        one.name
        for part in parts
        if not part.network.batch
        for one in fully_reported(part)
        if isinstance(one.direction.cell, LSTMCell) and _error_of_h(one, part.weights) <= most
    )


def _error_of_h(one: ReportedRecurrence, weights: Weights) -> float:
    """Return how far h is from what follows from c, as a share of the largest h."""
    given = one.states["h"]
    with np.errstate(all="ignore"):
        w = bind(one.direction.name, weights, "float64")
        h = scan.outputs_of_states(one.direction, one.x, one.states, w)
        return float(np.max(np.abs(given - h)) / np.max(np.abs(given)))


def extent_of(
    network: Network, quantities: Sequence[ReportedQuantity], checks: Sequence[Comparison]
) -> Extent:
    """Return how far the difference of a port extends."""
    failed = [pair for pair in _in_order(network, quantities, checks) if pair[2].differing]
    if not failed:
        return Extent()
    name = failed[0][1].name
    units = {u for _, q, check in failed if q.name == name for u in check.pattern.first_units}
    detailed = [pair for pair in failed if pair[1].name != OUTPUT] or failed
    first = [check.first for *_, check in detailed if check.first is not None]
    step, sample = min((index.t or 0, index.sample) for index in first)
    return Extent(
        unit=(name, units.pop()) if len(units) == 1 else None,
        step=step,
        sample=sample,
        is_isolated=all(_is_isolated(check) for *_, check in detailed),
        is_brief=all(_is_brief(check) for *_, check in detailed),
        differing=sum(check.differing for *_, check in detailed),
        in_head=all(_is_in_head(network, q, check) for _, q, check in detailed),
    )


def _first_step(network: Network, quantity: ReportedQuantity, check: Comparison) -> int:
    """Return after how many steps of its recurrence a quantity differs; T if it does not."""
    count, steps = check.pattern.shape[1], check.pattern.steps
    if not steps:
        return count
    return count - 1 - steps[-1] if _is_reversed(network, quantity) else steps[0]


def _is_reversed(network: Network, quantity: ReportedQuantity) -> bool:
    """Return whether the recurrence of a quantity starts at the last step."""
    scans = (scan for node in network.recurrent for scan in node.scans)
    return any(direction.reverse for name, direction in scans if name == quantity.name)


def _is_isolated(check: Comparison) -> bool:
    """Return whether a few numbers of a quantity differ, far more than by rounding."""
    most = _ISOLATED * check.compared
    steps, every = len(check.pattern.steps), check.pattern.shape[1]
    few = check.differing <= most and check.left_out <= most
    return few and 2 * steps <= every and check.ratio > _FAR


def _is_brief(check: Comparison) -> bool:
    """Return whether a few steps of a quantity differ, and more agree."""
    steps = len(check.pattern.steps)
    return steps <= _FEW_STEPS and 2 * steps < check.pattern.shape[1]


def _is_in_head(network: Network, quantity: ReportedQuantity, check: Comparison) -> bool:
    """Return whether some units of an output differ, and others agree behind a Dense layer.

    What changes the input of such a layer changes all of its units, but for those that are
    constant, or saturated: all of their numbers are where an activation saturates.
    """
    units = sorted(set(range(check.pattern.shape[2])) - set(check.pattern.units))
    agreeing = quantity.values[..., units]
    distances = np.abs(agreeing[..., None] - np.array(_SATURATED)).min(axis=-1)
    varies = (distances > _NEARLY).any(axis=(0, 1))
    if agreeing.shape[:2] != (1, 1):
        varies &= np.ptp(agreeing, axis=(0, 1)) > 0
    heads = [network.nodes[position].layer for position in network.head]
    return (
        quantity.name in (Y_HAT, OUTPUT)
        and network.is_chain
        and any(isinstance(layer, Dense) for layer in heads)
        and not check.left_out
        and check.ratio > _FAR
        and bool(varies.any())
    )


def _in_order(
    network: Network, quantities: Sequence[ReportedQuantity], checks: Sequence[Comparison]
) -> list[tuple[int, ReportedQuantity, Comparison]]:
    """Return quantities and checks after the position of their recurrence, in this order."""
    names = [name for node in network.recurrent for name, _ in node.scans]
    pairs = [
        (names.index(q.name) if q.name in names else len(names), q, check)
        for q, check in zip(quantities, checks, strict=True)
    ]
    return sorted(pairs, key=lambda pair: pair[0])


def _covers_last(network: Network, names: set[str]) -> bool:
    """Return whether the names are those of all recurrences of the last layer with any."""
    last = network.recurrent[-1:]
    return bool(last) and {name for name, _ in last[0].scans} <= names


def _where(
    network: Network,
    quantity: ReportedQuantity,
    check: Comparison,
    agreeing: set[str],
    *,
    heads_alone: bool,
) -> Where:
    """Return where a quantity differs, as far as it is in one place."""
    assert check.first is not None
    pattern = check.pattern
    where = Where(array=quantity.key or quantity.name, step=check.first.t)
    if len(pattern.units) == 1:
        where = where._replace(unit=pattern.units[0])
    for node in network.recurrent:
        for name, direction in node.scans:
            if name == quantity.name:
                which = direction_of(node.layer, direction.name)
                gate = "o" if "o" in direction.cell.gates and "c" in agreeing else None
                return where._replace(layer=node.name, direction=which, gate=gate)
    heads = [network.nodes[position] for position in network.head]
    weighted = [node.layer.name for node in heads if node.layer.weights]
    if heads_alone and len(weighted) == 1:
        where = where._replace(layer=weighted[0])
    return where


def _words(
    network: Network, quantity: ReportedQuantity, check: Comparison, where: Where
) -> Iterator[str]:
    """Yield what can be seen: which steps, units and samples differ."""
    pattern, name = check.pattern, where.layer or "the port"
    name = f"{name}, {where.direction}" if where.direction else name
    units, samples = len(pattern.units), len(pattern.samples)
    parts = [f"{name}: {where.array}"]
    if units < pattern.shape[2]:
        parts.append(f"only {_listed('unit', pattern.units)}")
    if samples < pattern.shape[0]:
        parts.append(f"only {_listed('sample', pattern.samples)}")
    at_first = _first_step(network, quantity, check) == 0
    count, every = len(pattern.steps), pattern.shape[1]
    if every > 1 and count == 1:
        parts.append(f"only t {pattern.steps[0]}")
    elif every > 1 and count < every:
        parts.append(f"{count} of {every} steps, t {pattern.steps[0]} to {pattern.steps[-1]}")
    if where.layer or len(parts) > 1:
        yield ", ".join(parts)
    if where.gate == "o":
        yield _about_output_gate(quantity, check)
    others = 0 not in pattern.samples and samples == pattern.shape[0] - 1
    # States of another sample change most units from the first step on.
    # But a mask, too, leaves samples without masked steps right.
    has_mask = any(shapes.masked for shapes in network.node_shapes)
    most_units = 2 * len(pattern.first_units) >= pattern.shape[2]
    if others and at_first and most_units and not has_mask:
        yield "sample 0 agrees: something is carried from sample to sample"
    elif every > 1 and (quantity.key or network.is_causal):
        given = network.batch is not None or any(node.initial for node in network.nodes)
        from_0 = not (quantity.key or given)
        yield _about_first_step(check, at_first=at_first, from_0=from_0)


def _about_output_gate(quantity: ReportedQuantity, check: Comparison) -> str:
    """Return a hint where h of an LSTM differs, and c does not."""
    zeros = np.all(quantity.values == 0, axis=2)
    if check.differing == zeros.sum() * quantity.values.shape[2]:
        return "c agrees, and h is 0 there"
    return "c agrees: it is the output gate, the activation of c, or what is done to h"


def _about_first_step(check: Comparison, *, at_first: bool, from_0: bool) -> str:
    """Return a hint if the first step agrees, is the only one that differs, or one of all.

    ``from_0``: the output follows from states of 0 before the first step.
    """
    count, errors = len(check.pattern.steps), check.residual.step_errors
    is_later_compared = errors is not None and np.count_nonzero(~np.isnan(errors.ratio)) > 1
    if not at_first and count > 1:
        return "the first step agrees: the error comes with the states of t-1, or later steps of x"
    if at_first and count == 1 and check.proven and is_later_compared:
        return "all later steps agree: look at the states before the first step, and at its x"
    if at_first and from_0 and count == check.pattern.shape[1]:
        return "the first step, where h_{t-1} is 0, differs: it is not the recurrent kernel alone"
    return ""


def _listed(what: str, numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"{what}{'s' if len(numbers) > 1 else ''} {shown}{more}"
