"""What ``verify`` proves: that shapes, counts and every step are what Keras has and computes.

The rule is the one-step residual. Keras's own states s_{t-1} go through one step of the
equation in float64; s_t may be no farther from the result than rounding in Keras's precision
can have taken it in that one step. T and the spectral radius of Wh play no part in the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnshapes import comparison, proof
from rnnshapes.algebra.activations import Array
from rnnshapes.algebra.dims import shape_text
from rnnshapes.display import Displayed
from rnnshapes.inputs import Sources, text_of, whole
from rnnshapes.network import Network
from rnnshapes.reference import Answers, Built, Engine
from rnnshapes.tracing import Difference, NotFinite, Place, Watch, trace_network
from rnnshapes.weights import Weights


@dataclass(frozen=True)
class Check:
    """One check: what was expected, what was found, and how many numbers were compared.

    ``ratio`` is the largest |found - expected| / bound, ``None`` where things are equal or
    not; ``place`` is where it is. From step ``overflow`` on, samples whose numbers may have
    become too large for the precision are not compared. ``passed`` needs a comparison.
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


@dataclass(frozen=True, repr=False)
class Verification(Displayed):
    """Every check of a network against Keras. ``difference`` is information, not a check.

    ``not_derived`` names the layers that no check covers.
    """

    schema = "rnnshapes.verify/1"

    network: Network
    source: str
    engine: Engine
    checks: tuple[Check, ...]
    difference: Difference | None
    not_finite: NotFinite | None
    not_derived: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them pass."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def diagnosis(self) -> tuple[str, ...]:
        """What explains a failure."""
        found = {} if self.passed else self.network.old_meanings
        return tuple(f"{name}: {what}" for name, what in found.items())

    @property
    def overflow(self) -> int | None:
        """The first step at which a sample may have overflowed, ``None`` if none has."""
        steps = [check.overflow for check in self.checks if check.overflow is not None]
        return min(steps, default=None)


def verify_network(
    network: Network,
    weights: Weights,
    sources: Sources,
    built: Built,
    keras: Answers,
) -> Verification:
    """Check what Keras built and computed against the network that it is said to be."""
    difference, watch = None, Watch()
    if network.recurrent:
        trace = trace_network(network, weights, sources, keras=keras)
        difference, found = trace.difference, trace.not_finite
    else:
        for _ in watch.over(sources, 2**62, slice(0, None)):
            found = watch.found
    xs = [whole(source) for source in sources]
    checks = (*structure(network, built), *values(network, weights, xs, keras))
    unknown = tuple(f"{node.name} ({node.layer.type})" for node in network.unknown)
    return Verification(network, text_of(sources), keras.engine, checks, difference, found, unknown)


def structure(network: Network, built: Built) -> Iterator[Check]:
    """Every weight's name and shape, every count."""
    for fact in comparison.facts(network, built):
        numbers = "nothing" if fact.expected is None else _number_text(fact.expected)
        yield Check(
            name=fact.name,
            passed=fact.agrees,
            compared=1,
            expected=f"{fact.symbols} = {numbers}" if fact.symbols else numbers,
            found="nothing" if fact.found is None else _number_text(fact.found),
        )


def values(
    network: Network, weights: Weights, xs: Sequence[Array], keras: Answers
) -> Iterator[Check]:
    """Every state at every step, every layer's output, masks, and the model's own output.

    From the step at which a sample may have overflowed it is not compared any more. Where that
    is so for every sample, there is no check of the model's own output.
    """
    for name, found in proof.findings(network, weights, xs, keras):
        yield _check(name, found)


def _check(name: str, found: proof.Finding) -> Check:
    none = found.compared == 0
    at, ratio = (None, None) if none else (found.place, found.ratio)
    return Check(
        name=name,
        passed=not none and found.ratio <= 1.0,
        compared=found.compared,
        expected="ratio <= 1",
        found="nothing to compare" if none else f"ratio {found.ratio:.3g}",
        ratio=ratio,
        place=at,
        overflow=found.overflow,
        detail="" if at is None else f"worst at {_where(at)}",
    )


def _where(place: Place) -> str:
    t = "" if place.t is None else f"t {place.t}, "
    return f"sample {place.sample}, {t}unit {place.unit}"


def _number_text(value: tuple[int, ...] | int) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)
