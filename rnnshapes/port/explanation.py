"""Explanations of a port that does not agree: known mistakes with which all of it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rnnshapes.network.graph import Network
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.compare import Comparison
from rnnshapes.port.hypothesis import Mistake
from rnnshapes.port.recovery.equations import TooFewSteps

#: Dtypes, the finest first.
FORMATS = tuple(sorted(PRECISIONS, key=lambda name: PRECISIONS[name].unit_roundoff))
#: Of which mistakes every two are tried.
Pairs = Literal["all", "head", ""]


@dataclass(frozen=True)
class Explanation:
    """Known mistakes, and the dtype of the arithmetic, with which all of a port agrees.

    ``arithmetic`` is one more mistake where ``dtype`` is not the stated dtype of the port.
    ``mixed`` says that the port's numbers are not numbers of ``dtype``, so that only a part of
    the port can compute in it.
    """

    mistakes: tuple[Mistake, ...]
    dtype: str
    comparisons: tuple[Comparison, ...]
    arithmetic: Mistake | None = None
    mixed: bool = False

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of every mistake, with that of the arithmetic."""
        return tuple(mistake.id for mistake in self.all_mistakes)

    @property
    def id(self) -> str:
        """The ids of every mistake in one text: ``bias.omitted + time.reversed``."""
        return " + ".join(self.ids)

    @property
    def text(self) -> str:
        """The mistakes in one sentence, without a full stop."""
        return "; ".join(mistake.text for mistake in self.all_mistakes)

    @property
    def ratio(self) -> float:
        """The largest ratio of all quantities."""
        return max(comparison.ratio for comparison in self.comparisons)

    @property
    def compared(self) -> int:
        """How many numbers were compared."""
        return sum(comparison.compared for comparison in self.comparisons)

    @property
    def all_mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes, and that of the arithmetic if it is one."""
        return (*self.mistakes, *([] if self.arithmetic is None else [self.arithmetic]))

    @property
    def by_layer(self) -> tuple[tuple[Mistake, ...], ...]:
        """The mistakes of each layer together, and those of no layer."""
        groups: dict[str | None, list[Mistake]] = {}
        for mistake in self.all_mistakes:
            groups.setdefault(mistake.where.layer, []).append(mistake)
        return tuple(map(tuple, groups.values()))


@dataclass(frozen=True)
class Diagnosis:
    """What explains a port that does not agree.

    ``explanations`` is empty where no known mistake explains it. ``tried`` counts the hypotheses
    of the first look. ``nearest`` are then the mistakes of the nearest hypothesis, if it is much
    nearer than the network itself, and ``max_abs`` is the largest difference that is left.
    ``pairs`` says of which mistakes every two were tried: ``all``, ``head`` (those after the last
    recurrence) or none. ``cut_off`` is true if more could be tried, but would have taken too long.
    ``complete`` is false if something that may explain it was not tried, and ``weights_tried`` if
    not every single weight was: they are too many, or before the head. ``too_few_steps`` says how
    many steps would tell the weights that the port must have, if they are too few.
    ``too_few_numbers`` says that some mistakes explain the port, but as well by chance.
    ``appearance`` is what an unexplained difference looks like, which is not proven.
    """

    explanations: tuple[Explanation, ...] = ()
    tried: int = 0
    nearest: tuple[Mistake, ...] = ()
    max_abs: float = 0.0
    complete: bool = True
    cut_off: bool = False
    pairs: Pairs = "all"
    weights_tried: bool = True
    too_few_steps: TooFewSteps | None = None
    too_few_numbers: bool = False
    appearance: tuple[Mistake, ...] = ()


def in_layer(explanation: Explanation, network: Network) -> Explanation:
    """Return the explanation of a part of a network, with the layer whose mistakes these are."""
    names = {node.name for node in network.recurrent}
    if len(names) != 1:
        return explanation
    (name,) = names

    def located(mistake: Mistake) -> Mistake:
        if mistake.where.layer not in (None, name):
            return mistake
        text = mistake.text if name in mistake.text else f"{mistake.text}, in {name}"
        return mistake._replace(where=mistake.where._replace(layer=name), text=text)

    return replace(explanation, mistakes=tuple(map(located, explanation.mistakes)))


def joined(explanations: Sequence[Explanation], agreeing: Iterable[Comparison] = ()) -> Explanation:
    """Return explanations of several parts as one, with what agrees in the other parts."""
    dtype = max((one.dtype for one in explanations), key=FORMATS.index)
    other = [one for one in explanations if one.dtype == dtype and one.arithmetic is not None]
    return Explanation(
        tuple(mistake for one in explanations for mistake in one.mistakes),
        dtype,
        (*(check for one in explanations for check in one.comparisons), *agreeing),
        other[0].arithmetic if other else None,
        any(one.mixed for one in explanations),
    )


def is_needless(explanations: Iterable[Explanation], one: Explanation) -> bool:
    """Return whether another explanation needs only some of the mistakes of this one.

    A mistake more may change nothing that is compared. Of explanations with the same ids and the
    same numbers, one is enough, and so it is of pairs of mistakes with the same numbers.
    """
    earlier = list(itertools.takewhile(lambda other: other is not one, explanations))
    same = any(
        _same_numbers(other, one) and (other.ids == one.ids or len(one.mistakes) > 1)
        for other in earlier
    )
    return same or any(set(other.mistakes) < set(one.mistakes) for other in explanations)


def _same_numbers(one: Explanation, other: Explanation) -> bool:
    """Return whether two explanations expect the same numbers, but for rounding."""
    pairs = zip(one.comparisons, other.comparisons, strict=True)
    return all(
        a.compared == b.compared and np.isclose(a.max_abs, b.max_abs, rtol=1e-6, atol=1e-12)
        for a, b in pairs
    )
