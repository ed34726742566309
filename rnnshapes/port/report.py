"""Verification of a port: whether it computes what the network computes, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.inputs import InputSources, RandomInput, describe_inputs, full_array
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.core import Input
from rnnshapes.network.weights import Weights
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.appearance import appearance
from rnnshapes.port.arrays import Port
from rnnshapes.port.compare import Comparison, compare_quantities
from rnnshapes.port.diagnosis import diagnose
from rnnshapes.port.error_summary import summarize_errors
from rnnshapes.port.explanation import Diagnosis, Explanation, in_layer, joined
from rnnshapes.port.first_step import other_start
from rnnshapes.port.fixed_point_mistake import as_fixed_point
from rnnshapes.port.golden_arrays import check_golden_arrays
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.inexact_verdict import is_inexact, largest_share
from rnnshapes.port.intermediates import Intermediates, compare_intermediates
from rnnshapes.port.location import Extent, Location, extent_of, locate, outputs_that_follow
from rnnshapes.port.mistakes.axes import SWAPPED_OUTPUT
from rnnshapes.port.mistakes.direction import carried_states
from rnnshapes.port.mistakes.rounding import with_digits
from rnnshapes.port.quantities import (
    OUTPUT,
    Y_HAT,
    ReportedQuantity,
    are_numbers_of,
    check_names,
    match_arrays,
    name_arrays,
    unknown_names,
)
from rnnshapes.port.sections import compare_sections, sections
from rnnshapes.result import Result

#: Numbers whose rounding is more than this share of the largest are written with few digits.
_COARSE_ROUNDING = 1e-5
#: The dtypes in which a port may compute.
DTYPES = tuple(PRECISIONS)


@dataclass(frozen=True, repr=False)
class PortVerification(Result):
    """Every array of a port, compared with the network's equations.

    ``dtype`` is the dtype of the port's arithmetic; a check has its own where the array has 16
    bits and others have more. ``axes_swapped`` says that an array has its
    samples and time exchanged. ``unknown_arrays`` are the names of arrays that are not compared.
    ``diagnosis`` is there where an array differs, ``locations`` say where. ``random_input`` says
    that an x is random. ``tolerance`` is the largest error that the user accepts, as a share of
    the range of each unit and sample; ``None`` if the bounds of rounding decide alone.
    ``uncompared_layers`` are the names of layers, or of directions of one, on which no array of
    the port depends. ``notes`` say how arrays were read, and which are written with few digits.
    """

    schema = "rnnshapes.verify/1"
    renderer = "port"

    network: Network
    source: str
    port: str
    dtype: str
    checks: tuple[Comparison, ...]
    axes_swapped: bool
    unknown_arrays: tuple[str, ...]
    diagnosis: Diagnosis | None
    random_input: bool
    locations: tuple[Location, ...] = ()
    tolerance: float | None = None
    uncompared_layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``agrees``, ``inexact`` or ``failed``."""
        if self.axes_swapped:
            return "failed"
        if all(check.passed for check in self.checks):
            return "agrees"
        if all(check.agrees for check in self.checks):  # within bounds that prove nothing
            return "inexact"
        inexact = is_inexact(self.checks, self.diagnosis, self.tolerance)
        return "inexact" if inexact else "failed"

    @property
    def passed(self) -> bool:
        """Whether all arrays agree, or are inexact and within the tolerance of the user."""
        verdict = self.verdict
        return verdict == "agrees" or (verdict == "inexact" and self.within_tolerance)

    @property
    def within_tolerance(self) -> bool:
        """Whether the user gave a tolerance, and every error is at most that."""
        return self.tolerance is not None and self.largest_error <= self.tolerance

    @property
    def largest_error(self) -> float:
        """The largest error over the whole run, as a share of a range; infinite if unknown."""
        return largest_share(self.checks)


@np.errstate(all="ignore")  # the numbers of a port may have any size
def verify_port(
    network: Network,
    weights: Weights,
    sources: InputSources,
    port: Port,
    dtype: str | None,
    tolerance: float | None,
) -> PortVerification:
    """Compare what a port reports for x, and search for an explanation where it does not agree.

    Args:
        network: The network that the port implements.
        weights: Its weights.
        sources: The inputs x.
        port: The port's arrays.
        dtype: The dtype in which the port computes; that of its arrays if left out.
        tolerance: The largest error to accept, as a share of the range of each unit and sample.

    Raises:
        InputError: An array has an unknown name, the port reports nothing that can be compared,
            or x has numbers that are not finite.
        UnsupportedError: A layer of the network is not supported.
    """
    for node in network.unsupported:
        raise UnsupportedError(
            f"layer {node.name!r} ({node.layer.type}) is not supported: no port of this model can "
            "be verified"
        )
    source = describe_inputs(sources, network)
    random_input = any(isinstance(each, RandomInput) for each in sources)
    port = name_arrays(network, port)
    quantities = match_arrays(network, port, "" if random_input else source)
    check_names(network, port)
    xs = tuple(map(full_array, sources))
    if not all(np.isfinite(x).all() for x in xs):
        raise InputError(
            "x has NaN or infinite numbers, or numbers that do not fit into float32: no port can "
            "be verified with them; rnnshapes trace shows where they are"
        )
    stated, dtype = dtype, dtype or _dtype_of(quantities)
    notes = tuple(_notes(quantities))
    quantities = quantities if stated else _narrowed(quantities, dtype)
    hypothesis = Hypothesis(network, weights, xs, quantities)
    parts = sections(hypothesis, at_last_step=True)
    checks = compare_sections(parts, quantities, dtype)
    follows: frozenset[str] = frozenset()
    if not all(check.passed for check in checks):
        follows = outputs_that_follow(parts, PRECISIONS[dtype])
        errors = summarize_errors(hypothesis)
        checks = tuple(replace(c, error=e) for c, e in zip(checks, errors, strict=True))
    axes_swapped = any(quantity.axes_swapped for quantity in quantities)
    lines = Intermediates()
    if not axes_swapped:
        lines = compare_intermediates(network, weights, xs, port, quantities, dtype)
        others = set(unknown_names(network, port)) - lines.names
        check_golden_arrays(network, weights, sources, port, others)
    locations = (
        *lines.locations,
        *(
            location
            for location in locate(network, quantities, checks, follows)
            if location.where.layer not in {line.where.layer for line in lines.locations}
        ),
    )
    diagnosis = None
    if axes_swapped or any(check.differing for check in checks):
        whole = hypothesis
        hypothesis = replace(hypothesis, quantities=_most_detailed(quantities, checks))
        if axes_swapped:
            hypothesis = hypothesis.with_mistake("axes", SWAPPED_OUTPUT)
        exact, hypothesis = hypothesis, with_digits(hypothesis)
        extent = extent_of(network, quantities, checks)
        parts = sections(hypothesis)
        explained = as_fixed_point(exact, sources)
        if explained is None and len(parts) == 1:
            explained = _other_start(whole, checks, dtype)
        if explained is not None:
            mistake, comparisons = explained
            diagnosis = Diagnosis((Explanation((mistake,), dtype, comparisons),))
        elif len(parts) > 1:
            diagnosis = _diagnosis_by_sections(hypothesis, parts, dtype, extent, stated=stated)
        else:
            diagnosis = _diagnosis(hypothesis, dtype, extent, stated=stated)
    return PortVerification(
        network=network,
        source=source,
        port=port.name,
        dtype=dtype,
        checks=(*checks, *lines.checks),
        axes_swapped=axes_swapped,
        unknown_arrays=unknown_names(network, port) if axes_swapped else port.ignored,
        diagnosis=diagnosis,
        random_input=random_input,
        locations=locations,
        tolerance=tolerance,
        uncompared_layers=_uncompared_layers(network, quantities),
        notes=notes,
    )


def _notes(quantities: Sequence[ReportedQuantity]) -> Iterator[str]:
    """Yield how arrays were read, and of which numbers few digits are known."""
    yield from dict.fromkeys(quantity.note for quantity in quantities if quantity.note)
    for quantity in quantities:
        rounding, largest = (np.max(np.abs(a)) for a in (quantity.rounding, quantity.values))
        if rounding > _COARSE_ROUNDING * largest:
            yield (
                f"{quantity.text}: written with few digits, so that each number is known to "
                f"{rounding:.1g} only"
            )


def _uncompared_layers(network: Network, quantities: Sequence[ReportedQuantity]) -> tuple[str, ...]:
    """Return the layers, and directions of a layer, on which no reported quantity depends."""
    given = {quantity.name for quantity in quantities}
    reported = {
        index
        for index, node in enumerate(network.nodes)
        if given & {name for name, _ in node.scans}
    }
    whole = {network.outputs[0].node} if given & {Y_HAT, OUTPUT} else set()
    waiting = [*reported, *whole]
    while waiting:
        node = network.nodes[waiting.pop()]
        before = {tap.node for tap in (*node.sources, *node.initial)} - whole
        whole |= before
        waiting += before
    names: list[str] = []
    for index, node in enumerate(network.nodes):
        if index not in whole and not isinstance(node.layer, Input):
            directions = [name for name, _ in node.scans if name not in given]
            names += directions if index in reported else [node.name]
    return tuple(names)


def _other_start(
    hypothesis: Hypothesis, checks: Sequence[Comparison], dtype: str
) -> tuple[Mistake, tuple[Comparison, ...]] | None:
    """Return the mistake if other initial states explain every difference: of which, if known."""
    started = other_start(hypothesis, checks, dtype)
    for node in hypothesis.network.recurrent if started is not None else ():
        if len(node.scans) > 1:
            for mistake, changed in carried_states(hypothesis, node):
                comparisons = compare_quantities(changed, dtype)
                if all(comparison.agrees for comparison in comparisons):
                    return mistake, comparisons
    return started


def _diagnosis_by_sections(
    hypothesis: Hypothesis,
    parts: Sequence[Hypothesis],
    dtype: str,
    extent: Extent,
    *,
    stated: str | None,
) -> Diagnosis:
    """Return the diagnosis of a port whose layers each start from the port's own numbers.

    One mistake of the whole network is tried first, then each section alone, and then everything
    else in the whole network. ``extent`` and ``stated`` are those of :func:`_diagnosis`.
    """
    mixed = stated is None and dtype == "float64"
    whole = diagnose(hypothesis, dtype, mixed=mixed, extent=extent, deep=False)
    if whole.explanations:
        return whole
    explained: list[tuple[Explanation, ...]] = []
    agreeing: list[Comparison] = []
    for part in parts:
        checks = compare_quantities(part, dtype)
        if all(check.agrees for check in checks):
            agreeing += checks
        elif (started := _other_start(part, checks, dtype)) is not None:
            explained.append((Explanation((started[0],), dtype, started[1]),))
        else:
            of_part = extent_of(part.network, part.quantities, checks)
            alone = _diagnosis(part, dtype, of_part, stated=stated)
            explained.append(tuple(in_layer(one, part.network) for one in alone.explanations))
        if explained and not explained[-1]:
            return _diagnosis(hypothesis, dtype, extent, stated=stated)
    # Several explanations of one section are alternatives; of several sections, one each is given.
    alternatives = explained[0]
    if len(explained) > 1:
        alternatives = (joined([several[0] for several in explained]),)
    return Diagnosis(tuple(joined([one], agreeing) for one in alternatives), whole.tried)


def _diagnosis(
    hypothesis: Hypothesis, dtype: str, extent: Extent, *, stated: str | None
) -> Diagnosis:
    """Return the diagnosis of a port that computes in ``dtype``.

    ``extent`` is how far the difference extends; ``stated`` is the dtype that the user stated, or
    ``None`` if the arrays decided.
    """
    axes_swapped = SWAPPED_OUTPUT in hypothesis.mistakes
    all_zero = not any(quantity.values.any() for quantity in hypothesis.quantities)
    if all_zero and not axes_swapped:  # nothing was computed, and no mistake explains that
        return Diagnosis(max_abs=max(error.max_abs for error in summarize_errors(hypothesis)))
    mixed = stated is None and dtype == "float64"
    diagnosis = diagnose(hypothesis, dtype, mixed=mixed, extent=extent)
    if diagnosis.explanations or axes_swapped:
        return diagnosis
    if stated is None:
        diagnosis = replace(diagnosis, explanations=tuple(_in_dtype_of_model(hypothesis)))
    looks = () if diagnosis.explanations or extent.is_isolated else appearance(hypothesis, dtype)
    return replace(diagnosis, appearance=looks)


def _in_dtype_of_model(hypothesis: Hypothesis) -> Iterator[Explanation]:
    """Yield the explanation by each 16-bit dtype of the model itself with which all agrees."""
    for dtype in hypothesis.network.precisions:
        if PRECISIONS[dtype].is_16bit:
            comparisons = compare_quantities(hypothesis, dtype)
            if all(comparison.agrees for comparison in comparisons):
                text = (
                    f"the port computes in {dtype}, as the model does; --dtype {dtype} accepts it"
                )
                yield Explanation((Mistake(f"numeric.{dtype}", text),), dtype, comparisons)


def _most_detailed(
    quantities: tuple[ReportedQuantity, ...], checks: tuple[Comparison, ...]
) -> tuple[ReportedQuantity, ...]:
    """Return the quantities without the output, if another one differs.

    The output is computed from the others, and shows less of a mistake than every step does.
    """
    pairs = list(zip(quantities, checks, strict=True))
    others = [(quantity, check) for quantity, check in pairs if quantity.name != OUTPUT]
    if any(check.differing for _, check in others):
        return tuple(quantity for quantity, _ in others)
    return quantities


def _dtype_of(quantities: tuple[ReportedQuantity, ...]) -> str:
    """Return the coarsest dtype of the arrays of more than 16 bits, with float32 for integers.

    It is float32, too, for float64 arrays in which every number is one of float32: a list, for
    example, of what was computed in float32. Where all have 16 bits, it is the finest of these.
    """
    dtypes = sorted(map(_stored_dtype, quantities), key=lambda name: PRECISIONS[name].unit_roundoff)
    wide = [name for name in dtypes if not PRECISIONS[name].is_16bit]
    dtype = wide[-1] if wide else dtypes[0]
    if dtype == "float64" and are_numbers_of("float32", quantities):
        return "float32"
    return dtype


def _stored_dtype(quantity: ReportedQuantity) -> str:
    return quantity.dtype if quantity.dtype in PRECISIONS else "float32"


def _narrowed(quantities: tuple[ReportedQuantity, ...], dtype: str) -> tuple[ReportedQuantity, ...]:
    """Return the quantities, those of 16 bits with a dtype of their own if it is not ``dtype``."""
    narrowed = list(quantities)
    for number, quantity in enumerate(quantities):
        own = _stored_dtype(quantity)
        if own != dtype and PRECISIONS[own].is_16bit:
            stored = PRECISIONS[own].unit_roundoff * np.abs(quantity.values)
            rounding = quantity.rounding + stored
            narrowed[number] = replace(quantity, rounding=rounding, narrow_dtype=own)
    return tuple(narrowed)


def check_dtype(dtype: str | None) -> str | None:
    """Return the dtype in which a port computes; raise InputError for an unknown one."""
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: a port computes in {', '.join(DTYPES)}")
    return dtype
