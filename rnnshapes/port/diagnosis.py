"""Diagnosis: search for known mistakes that explain why a port does not agree.

The search tries the common mistakes alone, then rare ones and those of one layer or direction,
then coarser arithmetic, then every two common mistakes of different families, and then the nearest
of all with every other one. A first look at a few steps sorts the hypotheses. Only the nearest are
compared in full, by the same rule as the port itself.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.compare import Comparison, compare_quantities, compute_outputs, is_stepwise
from rnnshapes.port.evidence import explained_bits, least_bits
from rnnshapes.port.explanation import FORMATS, Diagnosis, Explanation, Pairs, is_needless
from rnnshapes.port.fits.fitted_numbers import MOST_ALIKE, fitted
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.location import Extent
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.port.quantities import are_numbers_of
from rnnshapes.port.recovery.equations import TooFewSteps
from rnnshapes.port.recovery.recovered_heads import explained_by_head
from rnnshapes.port.recovery.recovered_mistakes import explained_by_weights
from rnnshapes.port.screening import (
    StepWindow,
    measured_reach,
    memory_length,
    relative_distances,
    run_differences,
    window,
)
from rnnshapes.reference.outputs import ModelOutputs

#: How many of the nearest hypotheses are compared in full, and how near they must be.
_COMPARED, _NEAR = 6, 0.1
#: How many of the nearest are combined with every other one, and how many these are at most.
_COMBINED, _MOST_COMBINED = 3, 4000
#: How many of each sorted list can be the nearest of all.
_NEAREST = 3
#: After one hypothesis that agrees, another is compared only if it is about as near: at most so
#: many times its distance, where a distance counts as at least the second number.
_AS_NEAR, _LEAST_DISTANCE = 100.0, 1e-7
#: How many steps the first look computes, for one mistake and for two.
_FIRST_STEPS, _FIRST_STEPS_OF_PAIRS = 8, 4
#: To reach the first difference, it computes up to so many times as many, of so many samples.
_MANY_TIMES, _MOST_SAMPLES = 8, 8
#: Where a port reports the last step alone, how many steps before it: at least; at most, for one
#: mistake; at most, for two.
_LEAST_LAST_STEPS, _LAST_STEPS, _LAST_STEPS_OF_PAIRS = 16, 400, 48
#: How many steps of a small cell a search computes at most, in about two seconds, and how many
#: products count as one. Weights that do not fit into a cache take up to four times as long.
_MOST_WORK, _PRODUCTS_OF_A_STEP = 8e4, 1e5
#: How many hypotheses are screened in one go, how many numbers they may hold, and how many of
#: one structure there are about.
_AT_ONCE, _MOST_NUMBERS, _TOGETHER = 1024, 2**23, 8
#: The nearest hypothesis is named if it is so many times nearer than the network itself.
_MUCH_NEARER = 10.0
#: Otherwise a wrong equation is named if it leaves at most the first share of the root mean square
#: of a quantity, and at most the second of any, where there are so many numbers.
_MOST_OF_IT, _NOT_FARTHER, _LEAST_NUMBERS = 1 / 3, 1.1, 12
#: The dtype in which a port may compute some of its float64 numbers.
MIXED = "float32"
#: The coarsest dtype. Finer ones have its numbers, too.
_COARSEST = "bfloat16"
#: A mistake is tried before a coarser dtype alone if it makes the port so much nearer: the bounds
#: of such a dtype are so wide that much would agree without it.
_CLEARLY_NEARER = 0.3


def diagnose(
    base: Hypothesis,
    dtype: str,
    *,
    mixed: bool = False,
    extent: Extent,
    deep: bool = True,
) -> Diagnosis:
    """Search for what explains a port that does not agree.

    Args:
        base: The network, and what the port reports. A mistake that the shapes of the port's
            arrays show is in it already.
        dtype: The dtype in which the port computes: as the user states it, or that of its arrays.
        mixed: Whether a part of a float64 port may compute in float32.
        extent: How far the difference extends. Where few numbers or steps differ, what would
            change more is not tried. Where only the head differs, its mistakes are tried first,
            then all others, each alone.
        deep: Whether to try fitted numbers, pairs of mistakes and other weights, too.
    """
    base = replace(base, weights=_in_float64(base.weights))
    search = _Search(base, dtype, extent, mixed=mixed, deep=deep)
    explanations = next(filter(None, search.stages()), [])
    if explanations:
        return Diagnosis(tuple(explanations), search.tried)
    difference, nearest = search.nearest(base)
    cut_off = search.work >= _MOST_WORK
    return Diagnosis(
        (),
        search.tried,
        nearest.mistakes,
        difference,
        complete=not (cut_off or extent.in_head or search.too_few_numbers),
        cut_off=cut_off,
        pairs=search.pairs,
        weights_tried=search.weights_tried,
        too_few_steps=search.too_few_steps,
        too_few_numbers=search.too_few_numbers,
    )


def _in_float64(weights: Weights) -> Weights:
    """Return the weights with every number in float64, so that no search converts them again."""
    return {
        group: {
            key: a if a.dtype.kind in "iub" else np.asarray(a, np.float64)
            for key, a in arrays.items()
        }
        for group, arrays in weights.items()
    }


def _last_steps(base: Hypothesis) -> int:
    """Return how many of the last steps decide the last output, and a few more."""
    return max(memory_length(base, _LAST_STEPS), _LEAST_LAST_STEPS)


#: A hypothesis after its relative distance in the first look.
Screened = tuple[float, Hypothesis]


class _Search:
    """A search that counts the hypotheses and remembers the nearest.

    ``work`` is how many steps were computed so far; a step with many weights counts more.
    """

    def __init__(
        self, base: Hypothesis, dtype: str, extent: Extent, *, mixed: bool, deep: bool
    ) -> None:
        self.base, self.dtype, self.extent = base, dtype, extent
        self.mixed, self.deep = mixed, deep
        # Two mistakes change more than a few numbers.
        few = extent.is_isolated or not deep
        self.pairs: Pairs = "" if few else "head" if extent.in_head else "all"
        #: Whether each single weight was tried, and how many steps would tell all weights.
        self.weights_tried = False
        self.too_few_steps: TooFewSteps | None = None
        #: How many steps the first look computes before the last one, if that is all there is.
        self.last_steps = _last_steps(base) if _reports_last_step_only(base) else 0
        self.reach = measured_reach(base, self.last_steps or _FIRST_STEPS)
        self.sizes: dict[Hypothesis, tuple[float, Array]] = {}
        self.scans = sum(len(node.scans) for node in base.network.recurrent)
        self.products = base.network.parameters / _PRODUCTS_OF_A_STEP
        self.tried, self.work = 0, 0.0
        self.nearest_of_lists: list[Hypothesis] = []
        #: The comparison of the network itself, by dtype, and whether something agreed that so few
        #: numbers do not tell from chance.
        self.unchanged: dict[str, tuple[Comparison, ...]] = {}
        self.too_few_numbers = False

    def stages(self) -> Iterator[list[Explanation]]:
        """Yield what each stage of the search finds, the most likely mistakes first.

        Each stage is slower than those before, or what it finds is less likely.
        """
        base, dtype, in_head = self.base, self.dtype, self.extent.in_head or None
        alone = self.screened([base], margin=True)
        singles = self.screened(hypotheses(base, in_head=in_head), margin=True)
        if "digits" in base.families:  # the states may be rounded, not only what the port gives
            rare = hypotheses(base, rare=True)
            rounded = (one for one in rare if one.families[-1] == "rounded states")
            yield self.explanations(self.screened(rounded), [dtype])
        if base.mistakes:  # one that the shape shows may be the only one
            yield self.explanations(alone, [dtype])
        yield self.explanations(singles, [dtype])
        others = self.screened(hypotheses(base, rare=True, in_head=in_head))
        yield self.explanations(others, [dtype])
        partly, coarser = (MIXED,) if self.mixed else (), self._coarser_dtypes()
        # An approximation would only fit a part of what a coarser dtype rounds.
        singles = [s for s in singles + others if s[1].mistakes[-1].id != "activation.approximated"]
        nearer = [one for one in singles if alone and one[0] < _CLEARLY_NEARER * alone[0][0]]
        yield self.explanations(nearer, coarser)
        yield self.explanations(alone, coarser)
        yield self.explanations(singles, partly)
        if self.deep:
            yield self.fits()
        if self.pairs:
            pairs = self.screened(
                pair
                for one in hypotheses(base, in_head=in_head)
                for pair in hypotheses(one, after=one.families[-1], in_head=in_head)
            )
            yield self.explanations(pairs, [dtype, *partly])
            yield self.explanations([*alone, *singles], coarser)
            more = itertools.islice(self.with_another(alone, singles), _MOST_COMBINED)
            yield self.explanations(self.screened(more), [dtype])
        if in_head:
            both = (False, True)
            rest = (h for rare in both for h in hypotheses(base, rare=rare, in_head=False))
            yield self.explanations(self.screened(rest), [dtype, *partly])
        if self.deep and not base.mistakes and not self.extent.is_brief:
            yield self.recovered_head()
            yield self.recovered()

    def _coarser_dtypes(self) -> list[str]:
        """Return the dtypes in which a port with these numbers may compute, beside its own."""
        # Rounded numbers do not tell the dtype.
        rounded = any(mistake.id == "numeric.rounded" for mistake in self.base.mistakes)
        coarser = [
            name
            for name in FORMATS[FORMATS.index(self.dtype) + 1 :]
            if (self.mixed and name == MIXED)
            or (not rounded and are_numbers_of(name, self.base.quantities))
        ]
        return coarser[::-1] if _COARSEST in coarser else coarser

    def screened(self, candidates: Iterable[Hypothesis], *, margin: bool = False) -> list[Screened]:
        """Take a first look at the hypotheses, and return the nearest, the first of them first.

        With a margin it computes more steps than the network remembers, as some mistakes make it
        remember more.
        """
        every = self._looks(candidates, margin=margin)
        looks = heapq.nsmallest(_COMPARED, every, key=_distance)
        self.nearest_of_lists += [hypothesis for _, hypothesis in looks[:_NEAREST]]
        return looks

    def _looks(self, candidates: Iterable[Hypothesis], *, margin: bool) -> Iterator[Screened]:
        """Yield each hypothesis after its relative distance, in order."""
        remaining = iter(candidates)
        while parts := self._parts(remaining, margin=margin):
            distances = relative_distances([part for part, _ in parts])
            yield from zip(distances, (hypothesis for _, hypothesis in parts), strict=True)

    def _parts(
        self, candidates: Iterator[Hypothesis], *, margin: bool
    ) -> list[tuple[Hypothesis, Hypothesis]]:
        """Return the next hypotheses after the steps of each that the first look computes.

        They are as many as fit into memory with the arrays that they change. There are none when
        the search has become too much work.
        """
        parts: list[tuple[Hypothesis, Hypothesis]] = []
        windows: dict[tuple[object, ...], StepWindow] = {}
        kinds: dict[tuple[object, ...], tuple[object, ...]] = {}
        counted: set[int] = set()
        numbers = 0
        while self.work < _MOST_WORK and len(parts) < _AT_ONCE and numbers < _MOST_NUMBERS:
            hypothesis = next(candidates, None)
            if hypothesis is None:
                break
            network, xs, quantities = hypothesis.network, hypothesis.xs, hypothesis.quantities
            data = (id(xs), id(quantities), len(hypothesis.mistakes), hypothesis.unwindowed)
            if (known := (id(network), *data)) not in kinds:
                kinds[known] = (
                    *(*data, network.runs_in_blocks, is_stepwise(hypothesis)),
                    *(d.reverse for node in network.recurrent for _, d in node.scans),
                )
            key = kinds[known]
            if key not in windows:
                windows[key] = self._window(hypothesis, margin=margin)
            part = windows[key].of(hypothesis)
            parts.append((part, hypothesis))
            for array in (
                *xs,
                *(a for group in hypothesis.weights.values() for a in group.values()),
            ):
                numbers += 0 if id(array) in counted else array.size
                counted.add(id(array))
            self._count(part)
        return parts

    def _count(self, part: Hypothesis) -> None:
        """Count a hypothesis, and the work of its part; most parts are computed with others."""
        steps = part.cost * max(x.shape[1] if x.ndim > 1 else 1 for x in part.xs)
        alone = part.unwindowed or part.cost > 1
        scans = self.scans if alone else self.scans / _TOGETHER
        self.tried += 1
        self.work += steps * (scans + len(part.xs[0]) * self.products)

    def _window(self, hypothesis: Hypothesis, *, margin: bool) -> StepWindow:
        """Return the few steps of a hypothesis that the first look computes."""
        single, samples = len(hypothesis.mistakes) <= 1, 2
        steps = _FIRST_STEPS if single else _FIRST_STEPS_OF_PAIRS
        if not (self.extent.is_isolated or is_stepwise(hypothesis)):
            steps = max(steps, min(self.extent.step + 2, _MANY_TIMES * steps))
            samples = max(samples, min(self.extent.sample + 1, _MOST_SAMPLES))
        reach = self.reach if margin else self.reach // 2
        if self.last_steps:
            few = max(self.last_steps // 2, _LEAST_LAST_STEPS)
            steps = self.last_steps if margin else few
            if not single:
                steps, samples = min(steps, _LAST_STEPS_OF_PAIRS), 1
        return window(hypothesis, steps, samples, reach, self.extent.step)

    def fits(self) -> list[Explanation]:
        """Return the mistakes with fitted numbers with which all agrees."""
        fits, every_weight = fitted(self.base, self.extent, self.reach, self.last_steps)
        for nearest, numbers, tried in fits:
            explanations = self.explanations(
                nearest, [self.dtype], fitted_numbers=numbers, more_tried=tried
            )
            if explanations:
                return explanations if len(explanations) <= MOST_ALIKE else []
        self.weights_tried = every_weight and not self.too_few_numbers
        return []

    def with_another(
        self, alone: Iterable[Screened], singles: Iterable[Screened]
    ) -> Iterator[Hypothesis]:
        """Yield the nearest hypotheses, if nearer than the network, with each further mistake.

        Those that leave numbers of the port out, as a shift does, agree by chance too easily.
        """
        farthest = min((distance for distance, _ in alone), default=np.inf)
        nearer = [one for one in singles if one[0] < farthest]
        count = _number_count(self.base)
        in_head = self.extent.in_head or None
        for _, hypothesis in heapq.nsmallest(_COMBINED, nearer, key=_distance):
            # Mistakes that are not of cells are built from the x and the steps of the user.
            changes_steps = hypothesis.xs is not self.base.xs or hypothesis.unwindowed
            for rare in (False, True):
                several = hypotheses(
                    hypothesis,
                    rare=rare,
                    in_head=in_head,
                    beside="cells" if changes_steps else "all",
                )
                yield from (one for one in several if _number_count(one) >= count)

    def recovered_head(self) -> list[Explanation]:
        """Return the weights that the last layer of a port must have, if they explain it."""
        roundoff = PRECISIONS[self.dtype].unit_roundoff
        for hypothesis, numbers in explained_by_head(self.base, roundoff):
            candidates = [(0.0, hypothesis)]
            explanations = self.explanations(candidates, [self.dtype], fitted_numbers=numbers)
            if explanations:
                return explanations
        return []

    def recovered(self) -> list[Explanation]:
        """Return the weights that a port must have, if they explain it."""
        roundoff = PRECISIONS[self.dtype].unit_roundoff
        hypothesis, self.too_few_steps = explained_by_weights(self.base, roundoff)
        return self.explanations([] if hypothesis is None else [(0.0, hypothesis)], [self.dtype])

    def nearest(self, base: Hypothesis) -> tuple[float, Hypothesis]:
        """Return the hypothesis of the smallest largest difference, after that difference.

        It is the network itself, ``base``, unless another is much nearer. Each mistake more has
        to halve the difference: of a thousand hypotheses, some are nearer by chance. Where none
        is, it is the one whose wrong equation alone explains most of the difference.
        """
        unchanged, rms = self._sizes_of_differences(base)
        measured = [(*self._sizes_of_differences(h), h) for h in self.nearest_of_lists]
        measured = [one for one in measured if np.isfinite(one[0])] or measured
        most, _, nearest = min(measured, key=lambda one: one[0] * 2 ** len(one[2].mistakes))
        if _MUCH_NEARER * most <= unchanged:
            bits = self.extent.differing * np.log2(unchanged / max(most, 1e-300))
            return (most, nearest) if bits >= least_bits(self.tried) else (unchanged, base)
        wrong = []
        for most, sizes, hypothesis in measured:
            shares = sizes / np.maximum(rms, np.finfo(float).tiny)
            several = sum(not mistake.is_inexact for mistake in hypothesis.mistakes) != 1
            if not several and shares.min() <= _MOST_OF_IT and shares.max() <= _NOT_FARTHER:
                wrong.append((shares.sum() * 2 ** len(hypothesis.mistakes), most, hypothesis))
        if not wrong or sum(q.values.size for q in base.quantities) < _LEAST_NUMBERS:
            return unchanged, base
        _, most, nearest = min(wrong, key=lambda one: one[0])
        return most, nearest

    def explanations(
        self,
        screened: Iterable[Screened],
        dtypes: Iterable[str],
        *,
        fitted_numbers: int = 0,
        more_tried: int = 0,
    ) -> list[Explanation]:
        """Return the nearest hypotheses with which all agrees, in the first dtype that has any.

        Those that agree by chance too easily are left out. ``fitted_numbers`` counts what each
        hypothesis fits, and ``more_tried`` hypotheses that are not screened.
        """
        near = sorted((one for one in screened if one[0] <= _NEAR), key=_distance)
        for dtype in dtypes:
            explanations: list[Explanation] = []
            farthest = np.inf
            for distance, hypothesis in near[:_COMPARED]:
                comparisons = self._agreeing(hypothesis, dtype) if distance <= farthest else None
                if comparisons is not None:
                    explanations.append(self._explanation(hypothesis, dtype, comparisons))
                    farthest = min(farthest, _AS_NEAR * _distance((distance, hypothesis)))
            evident = [
                one
                for one in explanations
                if self._is_evident(one, fitted_numbers, self.tried + more_tried)
            ]
            self.too_few_numbers |= len(evident) < len(explanations)
            if evident:
                return [one for one in evident if not is_needless(evident, one)]
        return []

    def _is_evident(self, explanation: Explanation, fitted_numbers: int, tried: int) -> bool:
        """Return whether an explanation is unlikely to agree by chance.

        The network itself, in a coarser dtype, is not one of many.
        """
        if explanation.mistakes == self.base.mistakes:
            return True
        dtype = explanation.dtype
        if dtype not in self.unchanged:
            self.unchanged[dtype] = compare_quantities(self.base, dtype)
        unchanged = self.unchanged[dtype]
        bits = explained_bits(self.base.quantities, unchanged, explanation.comparisons)
        differing = sum(check.differing for check in unchanged)
        free = 1 - fitted_numbers / max(differing, fitted_numbers, 1)
        return bool(free * bits >= least_bits(tried))

    def _agreeing(self, hypothesis: Hypothesis, dtype: str) -> tuple[Comparison, ...] | None:
        """Return the comparisons if every quantity agrees, and ``None`` otherwise."""
        part = window(hypothesis, _FIRST_STEPS, step=self.extent.step)
        if part.is_exact:
            some_steps = compare_quantities(part.of(hypothesis), dtype, stop_early=True)
            if any(comparison.ratio > 1.0 for comparison in some_steps):
                return None
        ours = None
        if dtype == self.dtype and (self.extent.is_isolated or not is_stepwise(hypothesis)):
            ours = compute_outputs(hypothesis)
            if not self._is_nearer(hypothesis, ours):
                return None
        comparisons = compare_quantities(hypothesis, dtype, stop_early=True, ours=ours)
        return comparisons if all(comparison.agrees for comparison in comparisons) else None

    def _is_nearer(self, hypothesis: Hypothesis, ours: ModelOutputs) -> bool:
        """Return whether a hypothesis, whose run is ``ours``, is nearer than the network itself.

        Of an isolated difference, it has to halve the largest number.
        """
        most, sizes = self._sizes_of_differences(hypothesis, ours)
        unchanged, rms = self._sizes_of_differences(self.base)
        return 2 * most <= unchanged if self.extent.is_isolated else bool(np.any(sizes <= rms))

    def _sizes_of_differences(
        self, hypothesis: Hypothesis, ours: ModelOutputs | None = None
    ) -> tuple[float, Array]:
        """Return the largest difference over the whole run, and the rms of each quantity's."""
        if hypothesis not in self.sizes:
            differences = run_differences(hypothesis, ours or compute_outputs(hypothesis))
            with np.errstate(invalid="ignore", over="ignore"):
                rms = np.array([np.sqrt(np.mean(np.square(values))) for values in differences])
            self.sizes[hypothesis] = float(max(map(np.max, differences))), rms
        return self.sizes[hypothesis]

    def _explanation(
        self, hypothesis: Hypothesis, dtype: str, comparisons: tuple[Comparison, ...]
    ) -> Explanation:
        """Return a hypothesis that agrees as an explanation, with the arithmetic if it is other."""
        if dtype == self.dtype:
            return Explanation(hypothesis.mistakes, dtype, comparisons)
        mixed = dtype == MIXED and not are_numbers_of(dtype, hypothesis.quantities)
        text = f"a part was computed in {dtype}" if mixed else f"the arithmetic is {dtype}"
        if dtype != _COARSEST and are_numbers_of(_COARSEST, hypothesis.quantities):
            text = f"the arithmetic is {_COARSEST}, which agrees within the bounds of {dtype}"
            fix = f"compute in float32, or accept it with --dtype {dtype}"
            arithmetic = Mistake(f"numeric.{_COARSEST}", text, own_fix=fix)
            return Explanation(hypothesis.mistakes, dtype, comparisons, arithmetic)
        if mixed and not hypothesis.mistakes:
            text = (
                f"the numbers are float64, but agree only as {dtype}: a part was computed in "
                f"{dtype}, or has an error of that size; --dtype {dtype} accepts it"
            )
        arithmetic = Mistake(f"numeric.{dtype}", text)
        return Explanation(hypothesis.mistakes, dtype, comparisons, arithmetic, mixed)


def _distance(screened: Screened) -> float:
    """Return the distance by which hypotheses are sorted; of rounding, all count as equal."""
    return max(screened[0], _LEAST_DISTANCE)


def _number_count(hypothesis: Hypothesis) -> int:
    """Return how many numbers of the port are compared."""
    return sum(quantity.values.size for quantity in hypothesis.quantities)


def _reports_last_step_only(hypothesis: Hypothesis) -> bool:
    """Return whether every quantity has one step alone."""
    return all(quantity.values.shape[1] == 1 for quantity in hypothesis.quantities)
