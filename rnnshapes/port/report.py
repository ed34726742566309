"""What ``verify --against`` answers: whether a port does what the network does, and if not, why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.load.inputs import InputSources, describe_inputs, full_array
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.arrays import Port
from rnnshapes.port.compare import Agreement, agreements, farthest
from rnnshapes.port.diagnosis import Diagnosis, Explanation, are_numbers_of, diagnose
from rnnshapes.port.hypothesis import Reading
from rnnshapes.port.quantities import OUTPUT, Claim, claims_of, unjudged
from rnnshapes.result import Result

#: The formats in which a port may compute.
FORMATS = tuple(PRECISIONS)
SWAPPED = "samples and time are exchanged: the port gives (T, N, …)"


@dataclass(frozen=True, repr=False)
class PortVerification(Result):
    """Each array of a port against the network's equations, in ``dtype``, the port's arithmetic.

    ``unjudged`` are the names of arrays of which nothing is known. ``diagnosis`` is there where
    one that is judged differs.
    """

    schema = "rnnshapes.verify/1"

    network: Network
    source: str
    port: str
    dtype: str
    checks: tuple[Agreement, ...]
    swapped: bool
    unjudged: tuple[str, ...]
    diagnosis: Diagnosis | None

    @property
    def passed(self) -> bool:
        """Whether all agree, in the order of axes that the network has."""
        return not self.swapped and all(check.agrees for check in self.checks)


def compare(
    network: Network,
    weights: Weights,
    sources: InputSources,
    port: Port,
    dtype: str | None = None,
) -> PortVerification:
    """Judge what a port gives for x, and look for what explains it where it does not agree.

    ``dtype`` is the format in which the port computes; left out, that of its arrays. Raises
    InputError for a port that gives nothing that can be judged.
    """
    for node in network.unknown:
        raise InputError(
            f"layer {node.name!r} ({node.layer.type}) is not derived: a port of this model cannot "
            "be judged"
        )
    claims = claims_of(network, port)
    xs = tuple(map(full_array, sources))
    if not all(x.dtype.kind in "iu" or np.isfinite(x).all() for x in xs):
        raise InputError(
            "x holds NaN or infinite numbers, or such as do not fit into float32: no port can be "
            "judged on them; trace says where"
        )
    chosen, dtype = dtype, dtype or _dtype(claims)
    reading = Reading(network, weights, xs, claims)
    found = agreements(reading, dtype)
    swapped = any(claim.swapped for claim in claims)
    diagnosis = None
    if swapped or any(a.differing for a in found):
        reading = replace(reading, claims=_telling(claims, found))
        reading = reading.called("axes", SWAPPED) if swapped else reading
        rough = chosen is None and dtype == "float64"
        empty = not any(claim.values.any() for claim in claims)
        if empty and not swapped:  # nothing was computed: no convention explains that
            diagnosis = Diagnosis((), 0, (), farthest(reading))
        else:
            diagnosis = diagnose(reading, dtype, mixed=rough)
        if not empty and chosen is None and not diagnosis.explanations and not swapped:
            diagnosis = replace(diagnosis, explanations=tuple(_as_the_model(reading)))
    left = unjudged(network, port)
    text = describe_inputs(sources, network)
    return PortVerification(network, text, port.name, dtype, found, swapped, left, diagnosis)


def _as_the_model(reading: Reading) -> Iterator[Explanation]:
    """That it computes as the model itself does, where that is in a short format."""
    for dtype in reading.network.precisions:
        if PRECISIONS[dtype].short:
            found = agreements(reading, dtype)
            if all(one.agrees for one in found):
                said = f"it computes in {dtype}, as the model does (--dtype {dtype})"
                yield Explanation((said,), dtype, True, found)


def _telling(claims: tuple[Claim, ...], found: tuple[Agreement, ...]) -> tuple[Claim, ...]:
    """Without the output where what it is made of differs already: a step of it says less."""
    more = [(c, a) for c, a in zip(claims, found, strict=True) if c.name != OUTPUT]
    return tuple(c for c, _ in more) if any(a.differing for _, a in more) else claims


def _dtype(claims: tuple[Claim, ...]) -> str:
    """The coarsest format of the arrays; that of integers is taken for float32.

    So is float64 where every number is one of float32: a list, say, of what was computed so.
    """
    known = [claim.dtype if claim.dtype in PRECISIONS else "float32" for claim in claims]
    dtype = max(known, key=lambda name: PRECISIONS[name].unit_roundoff)
    if dtype == "float64" and are_numbers_of("float32", claims):
        return "float32"
    return dtype


def check_dtype(dtype: str | None) -> str | None:
    """InputError for what is no format."""
    if dtype is not None and dtype not in FORMATS:
        raise InputError(f"dtype {dtype!r}: a port computes in {', '.join(FORMATS)}")
    return dtype
