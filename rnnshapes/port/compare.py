"""How far what a port says is from what it should be, against what rounding may have done.

Where a port gives all states of a recurrence at every step, each step is taken from the port's
own states, with a proven bound of that one step: T plays no part. Where it gives less, the
whole run is compared, and the bound is how far the run moves when every weight and every
number of x is moved by what rounding may do to it, in several random directions. Source:
Kenney and Laub, "Small-sample statistical condition estimates", SIAM J. Sci. Comput. 15 (1994).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np

from rnnshapes.forward import replay
from rnnshapes.forward.scan import before
from rnnshapes.forward.tracing import Place
from rnnshapes.network.graph import Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.normalization import Masking
from rnnshapes.network.weights import bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.precision import PRECISIONS, Precision
from rnnshapes.port.hypothesis import Reading
from rnnshapes.port.quantities import Claim
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import one_step

#: In how many random directions a run is moved; after so few it is seen what is hopeless.
DIRECTIONS, _FEW = 8, 3
#: A ratio above this does not come down to 1: a random direction misses by a thousand for one
#: number in a thousand, and all of a few do not.
_HOPELESS = 1e3
#: Where a bound is more than this share of the largest number, that step is not compared.
LARGEST_SHARE = 1 / 16
#: But for one that is so many times as far off as runs part that are right.
_WILD = 16.0
#: Beside the products: activations and sums, in units of the last place.
_MORE_UNITS = 10
#: What one step does to a state or a gate: the sums and products behind an activation.
_NAMED_UNITS = 2
#: What changes the last step by no more than this share is forgotten; so many steps are looked at.
_FORGOTTEN, _LEAST_REACH = 0.01, 8


@dataclass(frozen=True)
class Agreement:
    """The largest |port - ours| / bound over the numbers that can be compared, and where.

    ``first`` is the first place, by t, at which the ratio is above 1, ``there`` what the port has
    at it and what is expected, and ``differing`` at how many it is. ``apart`` is the largest
    difference. ``proven`` says that the bound is that of one step; where it is not, numbers are
    ``left_out`` that rounding alone may have changed too much. ``course`` is the largest ratio
    at each of the port's ``steps``, NaN where nothing is compared. ``shape`` says what an array
    has and should have whose first two axes are exchanged; all else is said of it put right.
    """

    claim: str
    ratio: float
    place: Place
    first: Place | None
    there: tuple[float, float] | None
    differing: int
    compared: int
    left_out: int
    apart: float
    proven: bool
    steps: Array | None = field(default=None, compare=False, repr=False)
    course: Array | None = field(default=None, compare=False, repr=False)
    shape: str = ""

    @property
    def agrees(self) -> bool:
        """Whether more was compared than left out, and all of it is within the bound."""
        return self.compared > self.left_out and self.ratio <= 1.0


def precision_of(name: str) -> Precision:
    """The format of a port, which sums products in float16 where it computes in float16."""
    own = PRECISIONS[name]
    return replace(own, factors=0.0) if name == "float16" else own


def agreements(reading: Reading, dtype: str, *, whole: bool = True) -> tuple[Agreement, ...]:
    """Each claim of a port that computes in ``dtype``, against the reading.

    Without ``whole`` it ends early where nothing can agree any more.
    """
    ours = replay.computed(reading.network, reading.weights, reading.xs)
    p = precision_of(dtype)
    found = {
        number: _compared(reading.claims[number], expected, error, proven=True)
        for number, (expected, error) in _stepped(reading, ours, p)
    }
    runs = {
        number: _Runs(claim, claim.expected(reading.network, ours), p)
        for number, claim in enumerate(reading.claims)
        if number not in found
    }
    for done, moved in enumerate(_moved(reading, p) if runs else (), 1):
        for run in runs.values():
            run.part(run.claim.expected(reading.network, moved))
        if not whole and done == _FEW and any(r.judged().ratio > _HOPELESS for r in runs.values()):
            break
    found |= {number: run.judged() for number, run in runs.items()}
    return tuple(found[number] for number in range(len(reading.claims)))


def _compared(claim: Claim, expected: Array, error: Array, *, proven: bool) -> Agreement:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        apart = np.abs(claim.values - expected)
        ratio = apart / (error + claim.off)
        scale = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
        widest = np.max(error, axis=2, keepdims=True)
        fair = np.isfinite(error) & (proven | (widest <= LARGEST_SHARE * scale))
        fair |= np.isfinite(error) & (ratio > _WILD)
        fair &= np.isfinite(expected)
    ratio = np.where(fair, ratio, -1.0)
    at = int(np.argmax(ratio))
    beyond = np.argwhere(np.swapaxes(ratio > 1.0, 0, 1))
    first, there = None, None
    if len(beyond):
        t, sample, unit = (int(i) for i in beyond[0])
        first = _place(claim, sample, t, unit)
        there = (float(claim.values[sample, t, unit]), float(expected[sample, t, unit]))
    sample, t, unit = (int(i) for i in np.unravel_index(at, ratio.shape))
    place = _place(claim, sample, t, unit)
    compared = int(fair.sum())
    return Agreement(
        *(claim.text, float(ratio.flat[at]), place, first, there, len(beyond)),
        *(compared, fair.size - compared, float(np.max(apart)), proven),
        steps=None if claim.times is None else claim.steps,
        course=None if claim.times is None else _course(ratio),
        shape=_shape(claim),
    )


def _shape(claim: Claim) -> str:
    n, t, units = claim.values.shape
    return f"shape {(t, n, units)}, expected {(n, t, units)}" if claim.swapped else ""


def _course(ratio: Array) -> Array:
    """The largest at each step of (N, L, units); what is not compared is negative."""
    largest = np.max(np.where(np.isnan(ratio), np.inf, ratio), axis=(0, 2))
    made: Array = np.where(largest < 0, np.nan, largest)
    return made


def _place(claim: Claim, sample: int, t: int, unit: int) -> Place:
    """By the port's own steps; what the network answers itself has no t."""
    return Place(sample, None if claim.times is None else int(claim.steps[t]), unit)


# --- One step from the port's own states --------------------------------------------------------


def known_states(reading: Reading) -> Iterator[tuple[Node, str, Direction, dict[str, int]]]:
    """The recurrences of which the port gives every state at every step, and by which claims.

    What such a recurrence is fed with has to be the input itself, which no port has computed.
    """
    network = reading.network
    for node in network.recurrent:
        source = network.nodes[node.sources[0].node]
        if not isinstance(source.layer, Input) or node.initial:
            continue
        x = reading.xs[network.inputs.index(source)]
        for name, direction in node.scans:
            claims = {
                claim.key: number
                for number, claim in enumerate(reading.claims)
                if claim.name == name and _is_whole(claim, x)
            }
            if set(claims) == set(direction.cell.states):
                yield node, name, direction, claims


def _is_whole(claim: Claim, x: Array) -> bool:
    """Whether it says something of every step of x."""
    return claim.times is not None and np.array_equal(claim.times, np.arange(x.shape[1]))


def _stepped(
    reading: Reading, ours: ModelOutputs, p: Precision
) -> Iterator[tuple[int, tuple[Array, Array]]]:
    """By number of the claim: one step from the port's own states, and its bound."""
    for node, name, direction, claims in known_states(reading):
        x = ours.values[reading.network.nodes[node.sources[0].node].name][0]
        found = {key: reading.claims[number] for key, number in claims.items()}
        exact = vars(bind(direction.name, reading.weights, "float64")).items()
        w = SimpleNamespace(**{key: Bounded.exact(values, p) for key, values in exact})
        start = ours.starts.get(name, {})
        states = {k: _one_before(direction, c.values, start.get(k)) for k, c in found.items()}
        off = {k: _one_before(direction, c.off) for k, c in found.items()}
        with np.errstate(over="ignore", invalid="ignore"):
            expected, error = one_step(direction, x, states, w, p, off)
        for key, number in claims.items():
            yield number, (expected[key], error[key])


def _one_before(direction: Direction, values: Array, first: Array | None = None) -> Array:
    """What stands one step before each (N, T, M), by the time of x; zeros before the first."""
    order = slice(None, None, -1 if direction.reverse else 1)
    start = np.zeros_like(values[:, 0]) if first is None else first
    return before(values[:, order], start)[:, order]


# --- The whole run, moved a little --------------------------------------------------------------


def _moved(reading: Reading, p: Precision) -> Iterator[ModelOutputs]:
    """The run with weights and x moved by what rounding may do, in several directions."""
    rng = np.random.default_rng(0)
    layers = [node.layer for node in reading.network.nodes]
    marks = [layer.value for layer in layers if isinstance(layer, Masking)]
    for _ in range(DIRECTIONS):
        weights = {
            group: {key: _nudged(rng, a, p) for key, a in arrays.items()}
            for group, arrays in reading.weights.items()
        }
        xs = tuple(_nudged_input(rng, x, marks, p) for x in reading.xs)
        ops = _Rounding(rng, p)
        yield replay.computed(reading.network, weights, xs, ops=ops)


class _Rounding(NumpyOps):
    """Whatever has a name in a cell's equation is off, each time by what rounding may do to it.

    At every step in the same direction: where a state hardly changes, rounding repeats itself.
    """

    def __init__(self, rng: np.random.Generator, p: Precision) -> None:
        self.rng, self.unit = rng, p.unit_roundoff
        self.factors: dict[tuple[str, tuple[int, ...]], Array] = {}

    def let(self, name: str, value: Array) -> Array:
        key = (name, value.shape)
        if key not in self.factors:
            self.factors[key] = 1 + _NAMED_UNITS * self.unit * _signs(self.rng, value.shape)
        return value * self.factors[key]


def _nudged_input(rng: np.random.Generator, x: Array, marks: list[float], p: Precision) -> Array:
    """Whole numbers, and those by which a step is known to be masked, stay as they are."""
    if x.dtype.kind in "iu":
        return x
    kept = np.isin(x, np.asarray(marks, x.dtype)) | (x == np.round(x))
    made: Array = np.where(kept, x, x * (1 + 2 * p.unit_roundoff * _signs(rng, x.shape)))
    return made


def _nudged(rng: np.random.Generator, weight: Array, p: Precision) -> Array:
    terms = int(np.prod(weight.shape[:-1])) if weight.ndim > 1 else 0
    share = p.gamma(terms) + _MORE_UNITS * p.unit_roundoff
    made: Array = weight * (1 + share * _signs(rng, weight.shape))
    return made


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 2.0 * rng.integers(0, 2, shape) - 1.0


class _Runs:
    """How far the runs part for one claim, and what the last operation may add."""

    def __init__(self, claim: Claim, expected: Array, p: Precision) -> None:
        self.claim, self.expected = claim, expected
        self.last = _MORE_UNITS * p.unit_roundoff * np.abs(expected) + p.tiny
        self.spread = np.zeros_like(expected)

    def part(self, moved: Array) -> None:
        """One more run."""
        with np.errstate(invalid="ignore"):
            self.spread = np.maximum(self.spread, np.abs(moved - self.expected))

    def judged(self) -> Agreement:
        """The claim against the runs so far."""
        return _compared(self.claim, self.expected, self.spread + self.last, proven=False)


# --- A first look -------------------------------------------------------------------------------


def nearness(reading: Reading, steps: int, samples: int = 2) -> float:
    """About how far the reading is from the port, as a share of what the port says.

    Only ``steps`` steps of a few samples are looked at, the last of them the first that the port
    gives or one behind it; where they are not the first of all, from states of zero.
    """
    looked, _ = window(reading, steps, samples)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        found = [_share(claim, expected) for claim, expected in _glance(looked)]
    return max(found) if found else np.inf


def reach(reading: Reading, most: int) -> int:
    """About how many steps decide what the network gives at the last one, and at most so many."""
    steps, found = _LEAST_REACH, _at_the_end(reading, _LEAST_REACH)
    while steps < most:
        steps, before = 2 * steps, found
        found = _at_the_end(reading, steps)
        apart = [np.max(np.abs(a - b)) for a, b in zip(found, before, strict=True)]
        if max(apart) <= _FORGOTTEN * max(np.max(np.abs(values)) for values in found):
            break
    return min(steps, most)


def _at_the_end(reading: Reading, steps: int) -> list[Array]:
    cut, _ = window(reading, steps)
    with np.errstate(over="ignore", invalid="ignore"):
        ours = replay.computed(cut.network, cut.weights, cut.xs)
    return [claim.expected(cut.network, ours) for claim in cut.claims]


def _glance(reading: Reading) -> Iterator[tuple[Claim, Array]]:
    stepped = set()
    for node, _, direction, claims in known_states(reading):
        source = reading.network.nodes[node.sources[0].node]
        x = reading.xs[reading.network.inputs.index(source)]
        w = bind(direction.name, reading.weights, "float64")
        found = {key: reading.claims[number].values for key, number in claims.items()}
        made = replay.one_step(direction, x, found, w)
        for key, number in claims.items():
            stepped.add(number)
            yield reading.claims[number], made[key]
    left = [c for number, c in enumerate(reading.claims) if number not in stepped]
    if left:
        ours = replay.computed(reading.network, reading.weights, reading.xs)
        for claim in left:
            yield claim, claim.expected(reading.network, ours)


def _share(claim: Claim, expected: Array) -> float:
    size = np.sqrt(np.mean(np.square(claim.values)))
    apart = np.sqrt(np.mean(np.square(claim.values - expected)))
    share = float(apart / size) if size else float(apart)
    return share if np.isfinite(share) else np.inf


def window(reading: Reading, steps: int, samples: int = 2) -> tuple[Reading, bool]:
    """The same for a few steps and samples, where a part of them can be computed by itself.

    Beside it, whether it begins where the whole does: then what differs in it differs there.
    """
    network, xs = reading.network, reading.xs
    times = [claim.times for claim in reading.claims if claim.times is not None]
    if not network.streams or len(times) < len(reading.claims):
        return (reading if network.batch else _of_samples(reading, samples)), False
    start = max(0, int(min(map(np.min, times))) + 1 - steps)
    claims = []
    for claim, own in zip(reading.claims, times, strict=True):
        inside = np.flatnonzero((own >= start) & (own < start + steps))
        few = (claim.values[:samples, inside], claim.off[:samples, inside])
        if len(inside):
            moved = replace(claim, values=few[0], off=few[1], steps=claim.steps[inside])
            claims.append(replace(moved, times=own[inside] - start))
    cut = tuple(x[:samples, start : start + steps] for x in xs)
    return replace(reading, xs=cut, claims=tuple(claims)), start == 0


def _of_samples(reading: Reading, samples: int) -> Reading:
    """The same for some of the samples."""
    claims = [replace(c, values=c.values[:samples], off=c.off[:samples]) for c in reading.claims]
    return replace(reading, xs=tuple(x[:samples] for x in reading.xs), claims=tuple(claims))


def farthest(reading: Reading) -> float:
    """The largest difference between what a port says and the reading."""
    ours = replay.computed(reading.network, reading.weights, reading.xs)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = [np.abs(c.values - c.expected(reading.network, ours)) for c in reading.claims]
    return float(max(map(np.max, apart)))
