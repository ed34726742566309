"""Which convention would explain a port that does not match.

Every convention alone is tried, then coarser arithmetic, then every two of different families.
A first look at a few steps sorts them; only what comes near is judged, by the same rule as the
port itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.compare import Agreement, agreements, farthest, nearness, reach, window
from rnnshapes.port.hypothesis import Reading
from rnnshapes.port.mistakes import FAMILIES, readings
from rnnshapes.port.quantities import Claim

#: How many of the nearest readings are judged, and how near a first look has to find them.
_JUDGED, _NEAR = 6, 0.1
#: Of each list so many of the nearest are kept, to tell which comes nearest of all.
_KEPT = 3
#: Beside one that agrees, only what comes about as near can agree, too.
_AS_NEAR, _LEAST_SHARE = 100.0, 1e-7
#: How many steps the first look is at; and where only the last is known, how many before it.
_FIRST_STEPS, _LAST_STEPS, _LAST_STEPS_OF_PAIRS = 8, 400, 48
#: What comes nearest is named where it is so many times nearer than the port as it is.
_MUCH_NEARER = 10.0
#: Formats from the finest on.
_FORMATS = tuple(sorted(PRECISIONS, key=lambda name: PRECISIONS[name].unit_roundoff))
#: In what a port may compute a part of it, where its numbers are float64.
MIXED = "float32"
#: Its bound is so wide that much else could pass: it is tried last.
_COARSEST = "bfloat16"


@dataclass(frozen=True)
class Explanation:
    """Conventions, and the format of the arithmetic, under which all of a port agrees.

    ``plain`` says that the format is the one that the port is said to have, ``mixed`` that its
    numbers are not of the format, in which only a part of it can be computed.
    """

    said: tuple[str, ...]
    dtype: str
    plain: bool
    agreements: tuple[Agreement, ...]
    mixed: bool = False

    @property
    def text(self) -> str:
        """In a sentence: the conventions, and the arithmetic where that is part of it."""
        if self.mixed and not self.said:
            return (
                "the numbers are float64, but agree only as float32 arithmetic would: some of it "
                "was computed in float32, or something is off by as little; --dtype float32 "
                "judges it so"
            )
        how = "some of it was computed in" if self.mixed else "the arithmetic is"
        return "; ".join([*self.said, *([] if self.plain else [f"{how} {self.dtype}"])])


@dataclass(frozen=True)
class Diagnosis:
    """What explains a port; nothing, if no convention does.

    ``tried`` is how many readings were looked at, ``nearest`` the one that came nearest, with
    the largest difference that is left.
    """

    explanations: tuple[Explanation, ...]
    tried: int
    nearest: tuple[str, ...]
    apart: float


def diagnose(reading: Reading, dtype: str, *, mixed: bool = False) -> Diagnosis:
    """Look for what explains a port that computes in ``dtype`` and does not agree.

    ``mixed`` says that some of it may be computed in float32, though its numbers are not such.
    """
    search = _Search(dtype, reach(reading, _LAST_STEPS) if _only_last(reading) else 0)
    base = search.looked_at([reading])
    singles = search.looked_at(readings(reading))
    # What the shape of the port tells already may be all that there is.
    found = search.judged([*(base if reading.said else ()), *singles], [dtype])
    coarser = _FORMATS[_FORMATS.index(dtype) + 1 :]
    half = (MIXED,) if mixed else ()
    coarser = tuple(n for n in coarser if n in half or are_numbers_of(n, reading.claims))
    found = found or search.judged(base, [name for name in coarser if name != _COARSEST])
    found = found or search.judged(singles, half)
    if not found:
        known = len(reading.said)
        pairs = search.looked_at(both for _, one in singles for both in _further(one, known))
        found = search.judged(pairs, [dtype, *half]) or search.judged([*base, *singles], coarser)
    if found:
        return Diagnosis(tuple(found), search.tried, (), 0.0)
    apart, nearest = search.nearest()
    if not _MUCH_NEARER * apart <= (as_it_is := farthest(reading)):
        apart, nearest = as_it_is, reading
    return Diagnosis((), search.tried, nearest.said, apart)


def are_numbers_of(dtype: str, claims: Iterable[Claim]) -> bool:
    """Whether each number is one of the format, as those are that were computed in it.

    The bound of a coarse format is so wide that errors of other kinds would pass for it.
    """
    rounded = PRECISIONS[dtype].rounded if PRECISIONS[dtype].short else _as_float32
    return all(bool(np.all(np.abs(c.values - rounded(c.values)) <= c.off)) for c in claims)


def _as_float32(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def _further(one: Reading, known: int) -> Iterator[Reading]:
    """The reading with a second convention, of a family that comes later: each pair once."""
    if len(one.families) == known:
        return
    order = {name: place for place, name in enumerate(FAMILIES)}
    for both in readings(one):
        if order[both.families[-1]] > order[one.families[-1]]:
            yield both


#: A reading with its share of difference at a first look.
Looked = tuple[float, Reading]


class _Search:
    """Counts what is tried, and keeps what comes nearest."""

    def __init__(self, dtype: str, reach: int) -> None:
        self.dtype, self.reach = dtype, reach
        self.tried = 0
        self.seen: list[Reading] = []

    def looked_at(self, found: Iterable[Reading]) -> list[Looked]:
        """The readings, the nearest first."""
        looked = []
        for reading in found:
            look = (_FIRST_STEPS, 2)
            if _only_last(reading):
                pair = len(reading.said) > 1
                look = (min(self.reach, _LAST_STEPS_OF_PAIRS), 1) if pair else (self.reach, 2)
            looked.append((nearness(reading, *look), reading))
        looked.sort(key=lambda one: one[0])
        self.tried += len(looked)
        self.seen += [reading for _, reading in looked[:_KEPT]]
        return looked

    def nearest(self) -> Looked:
        """What comes nearest of all, by its largest difference.

        A convention more has to halve it: of a thousand, some come nearer by chance.
        """
        looked = [(farthest(reading), reading) for reading in self.seen]
        looked = [one for one in looked if np.isfinite(one[0])] or looked
        return min(looked, key=lambda one: one[0] * 2 ** len(one[1].said))

    def judged(self, looked: Iterable[Looked], formats: Iterable[str]) -> list[Explanation]:
        """Those of the nearest under which everything agrees, in the finest of the formats."""
        near = sorted((one for one in looked if one[0] <= _NEAR), key=lambda one: one[0])
        for dtype in formats:
            made: list[Explanation] = []
            farthest = np.inf
            for share, reading in near[:_JUDGED]:
                agreed = _agreed(reading, dtype) if share <= farthest else None
                if agreed is not None:
                    mixed = dtype == MIXED and not are_numbers_of(dtype, reading.claims)
                    plain = dtype == self.dtype
                    made.append(
                        Explanation(reading.said, dtype, plain, agreed, mixed and not plain)
                    )
                    farthest = min(farthest, _AS_NEAR * max(share, _LEAST_SHARE))
            if made:  # less says the same where a convention changes nothing that is compared
                return [one for one in made if not any(set(o.said) < set(one.said) for o in made)]
        return []


def _agreed(reading: Reading, dtype: str) -> tuple[Agreement, ...] | None:
    """What is compared, if all of it agrees, and more than is left out."""
    part, begins = window(reading, _FIRST_STEPS)
    if begins and any(one.ratio > 1.0 for one in agreements(part, dtype, whole=False)):
        return None
    found = agreements(reading, dtype, whole=False)
    return found if all(one.agrees for one in found) else None


def _only_last(reading: Reading) -> bool:
    return all(claim.values.shape[1] == 1 for claim in reading.claims)
