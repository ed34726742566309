"""What ``verify`` proves: that shapes, counts and every step are what Keras has and computes.

The rule is the one-step residual. Keras's own states s_{t-1} go through one step of the
equation in float64; s_t may be no farther from the result than rounding in Keras's precision
can have taken it in that one step. T and the spectral radius of Wh play no part in the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from rnnshapes import comparison
from rnnshapes.algebra.arrays import Array
from rnnshapes.algebra.bounded import PRECISIONS, Bounded, BoundedOps, Precision
from rnnshapes.algebra.dims import shape_text
from rnnshapes.cells.cell import Step
from rnnshapes.display import Displayed
from rnnshapes.inputs import Source, whole
from rnnshapes.layers import Layer
from rnnshapes.network import Network
from rnnshapes.recurrence import block_steps
from rnnshapes.reference import Answers, Built, Engine
from rnnshapes.tracing import Difference, NotFinite, Place, place_of, trace_network
from rnnshapes.weights import Weights, bind

_OPS = BoundedOps()
_OUTPUT = "output"


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
    """Every check of a network against Keras. ``difference`` is information, not a check."""

    schema = "rnnshapes.verify/1"

    network: Network
    source: str
    engine: Engine
    checks: tuple[Check, ...]
    difference: Difference
    not_finite: NotFinite | None

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them pass."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def overflow(self) -> int | None:
        """The first step at which a sample may have overflowed, ``None`` if none has."""
        steps = [check.overflow for check in self.checks if check.overflow is not None]
        return min(steps, default=None)


def verify_network(
    network: Network,
    weights: Weights,
    source: Source,
    built: Built,
    keras: Answers,
) -> Verification:
    """Check what Keras built and computed against the network that it is said to be."""
    trace = trace_network(network, weights, source, keras=keras)
    assert trace.difference is not None
    checks = (*structure(network, built), *values(network, weights, whole(source), keras))
    return Verification(
        network, source.text, keras.engine, checks, trace.difference, trace.not_finite
    )


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


def values(network: Network, weights: Weights, x: Array, keras: Answers) -> Iterator[Check]:
    """Every layer's output at every step and sample, and the model's own output.

    From the step at which a sample may have overflowed it is not compared any more. Where that
    is so for every sample, there is no check of the model's own output.
    """
    before = x
    usable = np.ones(x.shape[:2], dtype=bool)
    for layer in network.layers:
        answers = keras.states.get(layer.name) or {_OUTPUT: keras.steps[layer.name]}
        states = keras.states.get(layer.name, {})
        for key, found in answers.items():
            residual = _residual(network, (layer,), weights, before, states, key, found, usable)
            usable = residual.usable
            yield _check(f"{layer.name}: {_what(network, layer, key)} at every step", residual)
        before = keras.steps[layer.name]
    if network.returns_sequences or usable[:, -1].any():
        yield _check("predict: own output", _output(network, weights, x, keras, usable))


@dataclass(frozen=True, eq=False)
class _Residual:
    """The largest |found - expected| / bound, where it is, and over how many numbers.

    ``usable`` (N, T) tells what was compared; ``overflow`` is the first step at which a sample
    that was to be compared may have overflowed.
    """

    ratio: float
    place: Place
    compared: int
    usable: Array
    overflow: int | None


def _output(
    network: Network, weights: Weights, x: Array, keras: Answers, usable: Array
) -> _Residual:
    """The model's own output against one step of the last recurrence and the head."""
    last = network.recurrent[-1]
    place = network.layers.index(last)
    before = x if place == 0 else keras.steps[network.layers[place - 1].name]
    found, chain = keras.output, (last, *network.head)
    if not network.returns_sequences:
        usable = usable & (np.arange(x.shape[1]) == x.shape[1] - 1)
        found = np.broadcast_to(found[:, None], (*x.shape[:2], found.shape[-1]))
    states = keras.states[last.name]
    return _residual(network, chain, weights, before, states, _OUTPUT, found, usable)


@np.errstate(over="ignore", invalid="ignore")  # judged below: inf ends it, NaN fails it
def _residual(
    network: Network,
    chain: Sequence[Layer],
    weights: Weights,
    x: Array,
    states: Mapping[str, Array],
    key: str,
    found: Array,
    usable: Array,
) -> _Residual:
    """Send x_t (N, T, F) and Keras's states of t-1, each (N, T, M), through ``chain``.

    ``found`` (N, T, units) is compared with the state ``key`` of the result, or with the
    output, where ``usable`` (N, T).
    """
    precision = PRECISIONS[network.dtype]
    bound = [(layer, _bounded(bind(layer, weights, "float64"), precision)) for layer in chain]
    size = block_steps(network, "float64")
    left = usable.copy()
    worst, place, compared = -1.0, Place(0, 0, 0), 0
    for start in range(0, x.shape[1], size):
        part = slice(start, min(start + size, x.shape[1]))
        if not left[:, part].any():
            continue
        there = found[:, part]
        previous = {name: _before(values, part) for name, values in states.items()}
        made = _expected(bound, x[:, part], previous, precision)
        expected: Bounded = made.output if key == _OUTPUT else made.states[key]
        error = expected.error.reshape(there.shape)
        lost: Array = np.logical_or.accumulate(np.isinf(error).any(axis=2), axis=1)
        left[:, part] &= ~lost
        left[lost[:, -1], part.stop :] = False
        ratio = np.abs(there - expected.value.reshape(there.shape)) / error
        ratio[~left[:, part]] = -1.0
        compared += int(left[:, part].sum()) * there.shape[2]
        if not np.isnan(worst) and not ratio.max() <= worst:  # the first NaN is the worst
            at = place_of(ratio, int(np.argmax(ratio)))
            worst, place = float(ratio.max()), Place(at.sample, start + at.t, at.unit)
    ended = (usable & ~left).any(axis=0)
    overflow = int(np.argmax(ended)) if ended.any() else None
    return _Residual(worst, place, compared, left, overflow)


def _expected(
    bound: list[tuple[Layer, SimpleNamespace]],
    x: Array,
    before: Mapping[str, Array],
    precision: Precision,
) -> Step:
    """One step of the chain with its bounds, from x (N, B, F) and the states before (N, B, M)."""
    output = Bounded.exact(x.reshape(-1, x.shape[-1]), precision)
    previous = {
        key: Bounded.exact(values.reshape(-1, values.shape[-1]), precision)
        for key, values in before.items()
    }
    for layer, w in bound:
        step = layer.at_step(_OPS, output, previous, w)
        output = step.output
    return step


def _before(states: Array, part: slice) -> Array:
    """The states one step before those of ``part``; before the first step there are zeros."""
    if part.start > 0:
        return states[:, part.start - 1 : part.stop - 1]
    return np.concatenate([np.zeros_like(states[:, :1]), states[:, : part.stop - 1]], axis=1)


def _bounded(weights: SimpleNamespace, precision: Precision) -> SimpleNamespace:
    exact = {key: Bounded.exact(array, precision) for key, array in vars(weights).items()}
    return SimpleNamespace(**exact)


def _check(name: str, residual: _Residual) -> Check:
    at, ratio = residual.place, residual.ratio
    none = residual.compared == 0
    worst = "" if none else f"worst at sample {at.sample}, t {at.t}, unit {at.unit}"
    return Check(
        name=name,
        passed=not none and ratio <= 1.0,
        compared=residual.compared,
        expected="ratio <= 1",
        found="nothing to compare" if none else f"ratio {ratio:.3g}",
        ratio=None if none else ratio,
        place=None if none else at,
        overflow=residual.overflow,
        detail=worst,
    )


def _what(network: Network, layer: Layer, key: str) -> str:
    if key != _OUTPUT:
        return key
    return "y_hat" if layer is network.layers[-1] else "output"


def _number_text(value: tuple[int, ...] | int) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)
