"""What ``verify`` proves: that shapes, counts and every step are what Keras has and computes.

The rule is the one-step residual. Keras's own states s_{t-1} go through one step of the
equation in float64; s_t may be no farther from the result than rounding in Keras's precision
can have taken it in that one step. T and the spectral radius of Wh play no part in the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnshapes import progress, reference
from rnnshapes.forward import replay
from rnnshapes.forward.tracing import Difference, NotFinite, Place, Watch, difference
from rnnshapes.load.inputs import InputSources, describe_inputs
from rnnshapes.network import structure as comparison
from rnnshapes.network.graph import Network
from rnnshapes.network.structure import Engine, ModelStructure
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.result import Result
from rnnshapes.verification import residuals, unrolled
from rnnshapes.verification.bounds import Finding

#: How many times each step is taken beside what Keras does by itself.
PASSES = 4
_DIRECTIONS = MappingProxyType(
    {False: "from t = 0 on", True: "from the last t back", None: "no recurrence"}
)


@dataclass(frozen=True)
class Check:
    """One check: what was expected, what was found, and how many numbers were compared.

    ``ratio`` is the largest |found - expected| / bound, ``None`` where things are equal or
    not; ``place`` is where it is, in ``layer``. ``what`` of it was judged, which Keras has
    computed in ``precision``. From step ``overflow`` on, samples whose numbers may have
    become too large for the precision are not compared. ``passed`` needs a comparison.
    ``course`` (T,) is the largest ratio at each step, for what has steps: NaN where nothing was
    compared, infinite for a NaN that was found.
    """

    name: str
    passed: bool
    compared: int
    expected: str
    found: str
    ratio: float | None = None
    place: Place | None = None
    overflow: int | None = None
    detail: str = ""
    layer: str = ""
    what: str = ""
    precision: str = ""
    course: Array | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, repr=False)
class Verification(Result):
    """Every check of a network against Keras. ``difference`` is information, not a check.

    ``passed`` speaks of the checks alone: ``unsupported`` names the layers that no check covers,
    and is empty where everything is checked.
    """

    schema = "rnnshapes.verify/1"
    renderer = "verification"

    network: Network
    source: str
    engine: Engine
    checks: tuple[Check, ...]
    difference: Difference | None
    not_finite: NotFinite | None
    unsupported: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them pass."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """What explains a failure."""
        found = {} if self.passed else self.network.changed_meanings
        return tuple(f"{name}: {what}" for name, what in found.items())

    @property
    def overflow(self) -> int | None:
        """The first step at which a sample may have overflowed, ``None`` if none has."""
        steps = [check.overflow for check in self.checks if check.overflow is not None]
        return min(steps, default=None)


def verify_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    built: ModelStructure,
    held: Weights,
    keras: ModelOutputs,
) -> Verification:
    """Check what Keras built, holds and computed against the network.

    Each step is taken ``PASSES`` times: NumPy computes it, it is checked, Keras repeats it in
    float64, and it is checked again.
    """
    watch = Watch()
    (xs,) = watch.over(sources, 2**62, slice(0, None))
    ours = replay.computed(network, weights, xs, keras)
    checks = (
        *structure(network, built),
        *numbers(network, weights, held),
        *values(network, weights, xs, keras),
        *formulas(network, weights, xs, ours, keras.engine),
    )
    unknown = tuple(f"{node.name} ({node.layer.type})" for node in network.unsupported)
    apart = difference(network, ours, keras) if network.recurrent else None
    return Verification(
        network,
        describe_inputs(sources, network),
        keras.engine,
        checks,
        apart,
        watch.found,
        unknown,
    )


def structure(network: Network, built: ModelStructure) -> Iterator[Check]:
    """Every weight's name and shape, every count."""
    for fact in comparison.facts(network, built):
        numbers = "nothing" if fact.expected is None else _number_text(fact.expected)
        yield Check(
            name=fact.name,
            passed=fact.agrees,
            compared=1,
            expected=numbers if fact.symbols in ("", numbers) else f"{fact.symbols} = {numbers}",
            found="nothing" if fact.found is None else _number_text(fact.found),
        )
    for layer in network.layers:
        for direction in layer.directions:
            expected, found = direction.reverse, built.backwards.get(direction.name)
            yield Check(
                name=f"{direction.name}: direction",
                passed=found == expected,
                compared=1,
                expected=_DIRECTIONS[expected],
                found=_DIRECTIONS[found],
                layer=direction.name,
            )


def numbers(network: Network, weights: Weights, held: Weights) -> Iterator[Check]:
    """Every number in every weight, which in Keras is the same."""
    names = {
        (group, weight.key): f"{group}/{weight.name}"
        for layer in network.layers
        for group, found in layer.groups.items()
        for weight in found
        if layer.declared_shapes is None
    }
    pairs = {name: (weights[g][key], held[g][key]) for (g, key), name in names.items()}
    apart = [name for name, pair in pairs.items() if not np.array_equal(*pair)]
    if pairs:
        yield Check(
            name="weights: numbers",
            passed=not apart,
            compared=sum(one.size for one, _ in pairs.values()),
            expected="equal",
            found=f"not equal: {', '.join(apart)}" if apart else "equal",
        )


def values(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    keras: ModelOutputs,
) -> Iterator[Check]:
    """Every state at every step, every layer's output, masks, and the model's own output.

    From the step at which a sample may have overflowed it is not compared any more. Where that
    is so for every sample, there is no check of the model's own output.
    """
    for layer, what, found in residuals.findings(network, weights, xs, keras):
        yield check_of(layer, what, found)


def formulas(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    ours: ModelOutputs,
    engine: Engine,
) -> Iterator[Check]:
    """The same in float64, where an error of 1e-6 in a weight shows.

    Keras's own layers are made anew, and repeat each step of the loop in NumPy. Both have to
    agree with the equations, and the output of the trace with what they make of it. On a backend
    on which Keras has no float64, the loop in NumPy is judged alone.
    """
    if not engine.float64:
        yield from repeats(network, weights, xs, ours, "float64")
        return
    called: dict[str, tuple[Array, ...]] = {}

    def examine(*given: Any) -> ModelOutputs:
        found = reference.repeat_steps_and_layers(unrolled.STEPS, *given)
        called.update(found.unrolled)
        return found.outputs

    again = replay.repeated(network, weights, ours, "float64", examine)
    progress.advance(network.scan_steps)
    for layer, what, found in unrolled.findings(network, weights, ours, called, unrolled.STEPS):
        yield check_of(layer, what, found, ", in float64")
    yield from repeats(network, weights, xs, again, "float64")


def repeats(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    again: ModelOutputs,
    dtype: str,
) -> Iterator[Check]:
    """What Keras has made in ``dtype`` of each step and each layer of the loop in NumPy.

    In float64, in which that loop computes, what NumPy itself has made of it is judged, too.
    """
    recurrent = {node.name for node in network.recurrent}
    in_dtype = network.with_dtype(dtype)
    for layer, what, found in residuals.findings(in_dtype, weights, xs, again):
        own = layer == "predict"  # here the output of the loop in NumPy
        joined = own or (layer in recurrent and what.startswith("output"))
        if dtype == "float64" or not joined:
            who, which = ("trace", what.removeprefix("own ")) if own else (layer, what)
            yield check_of(who, which, found, f", in {dtype}")


def check_of(layer: str, what: str, found: Finding, told_by: str = "") -> Check:
    """A finding as a check, which needs a comparison."""
    none = found.compared == 0
    at, ratio = (None, None) if none else (found.place, found.ratio)
    return Check(
        name=f"{layer}: {what}{told_by}",
        layer=layer,
        what=what,
        precision=found.precision,
        passed=not none and found.ratio <= 1.0,
        compared=found.compared,
        expected="ratio <= 1",
        found="nothing to compare" if none else f"ratio {found.ratio:.3g}",
        ratio=ratio,
        place=at,
        overflow=found.overflow,
        detail="" if at is None else f"worst at {_where(at)}",
        course=None if none or found.course is None else found.course.ratio,
    )


def _where(place: Place) -> str:
    t = "" if place.t is None else f"t {place.t}, "
    return f"sample {place.sample}, {t}unit {place.unit}"


def _number_text(value: tuple[int, ...] | int) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)
