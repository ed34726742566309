"""What ``verify`` proves: that shapes, counts and every step are what Keras has and computes.

The rule is the one-step residual. Keras's own states s_{t-1} go through one step of the
equation in float64; s_t may be no farther from the result than rounding in Keras's precision
can have taken it in that one step. T and the spectral radius of Wh play no part in the bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from rnnshapes import comparison
from rnnshapes.algebra.arrays import Array
from rnnshapes.algebra.bounded import PRECISIONS, Bounded, BoundedOps, Precision
from rnnshapes.algebra.dims import shape_text
from rnnshapes.display import Displayed
from rnnshapes.inputs import Source, whole
from rnnshapes.layers import Layer
from rnnshapes.network import Network
from rnnshapes.recurrence import block_steps
from rnnshapes.reference import Answers, Built, Engine
from rnnshapes.tracing import Difference, NotFinite, Place, place_of, trace_network
from rnnshapes.weights import Weights, bind

_OPS = BoundedOps()


@dataclass(frozen=True)
class Check:
    """One check: what was expected, what was found, and how many numbers were compared.

    ``ratio`` is the largest |found - expected| / bound, ``None`` where things are equal or
    not; ``place`` is where it is. ``passed`` needs at least one comparison.
    """

    name: str
    passed: bool
    compared: int
    expected: str
    found: str
    ratio: float | None = None
    place: Place | None = None
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

    Where an overflow ends the comparison, the model's own output comes too late to be compared.
    """
    before = x
    overflow: int | None = None
    for layer in network.layers:
        after = keras.steps[layer.name]
        residual = _residual(network, (layer,), weights, before, after, after)
        overflow = residual.overflow if overflow is None else overflow
        yield _check(f"{layer.name}: {_what(network, layer)} at every step", residual)
        before = after
    if overflow is None:
        yield _check("predict: own output", _output(network, weights, x, keras))


@dataclass(frozen=True)
class _Residual:
    """The largest |found - expected| / bound, where, over how many, and where it had to end."""

    ratio: float
    place: Place
    compared: int
    overflow: int | None


def _output(network: Network, weights: Weights, x: Array, keras: Answers) -> _Residual:
    """The model's own output against one step of the last recurrence and the head."""
    last = network.recurrent[-1]
    place = network.layers.index(last)
    before = x if place == 0 else keras.steps[network.layers[place - 1].name]
    states, output = keras.steps[last.name], keras.output
    chain = (last, *network.head)
    if network.returns_sequences:
        return _residual(network, chain, weights, before, states, output)
    return _residual(network, chain, weights, before, states, output[:, None], x.shape[1] - 1)


@np.errstate(over="ignore", invalid="ignore")  # judged below: inf ends it, NaN fails it
def _residual(
    network: Network,
    chain: Sequence[Layer],
    weights: Weights,
    x: Array,
    states: Array,
    found: Array,
    first: int = 0,
) -> _Residual:
    """Send x_t and Keras's states of t-1 through ``chain``, for every t from ``first`` on.

    x is (N, T, F), states (N, T, M); ``found`` (N, T - first, units) is what to expect.
    """
    precision = PRECISIONS[network.dtype]
    bound = [(layer, _bounded(bind(layer, weights, "float64"), precision)) for layer in chain]
    size = block_steps(network, "float64")
    worst, place, compared = -1.0, Place(0, first, 0), 0
    for start in range(first, x.shape[1], size):
        end = min(start + size, x.shape[1])
        expected = _expected(bound, x[:, start:end], _before(states, start, end), precision)
        there = found[:, start - first : end - first]
        shape = there.shape
        beyond = np.isinf(expected.error.reshape(shape)).any(axis=(0, 2))
        usable = int(np.argmax(beyond)) if beyond.any() else end - start
        apart = np.abs(there - expected.value.reshape(shape)) / expected.error.reshape(shape)
        apart = apart[:, :usable]
        compared += apart.size
        if apart.size and not apart.max() <= worst:  # also where it is NaN
            worst, at = float(apart.max()), place_of(apart, int(np.argmax(apart)))
            place = Place(at.sample, start + at.t, at.unit)
        if usable < end - start or np.isnan(worst):
            return _Residual(worst, place, compared, start + usable if beyond.any() else None)
    return _Residual(worst, place, compared, None)


def _expected(
    bound: list[tuple[Layer, SimpleNamespace]], x: Array, before: Array, precision: Precision
) -> Bounded:
    """The chain's output with its bound, from x (N, B, F) and the states before (N, B, M)."""
    values = Bounded.exact(x.reshape(-1, x.shape[-1]), precision)
    previous = Bounded.exact(before.reshape(-1, before.shape[-1]), precision)
    for layer, w in bound:
        values = layer.at_step(_OPS, values, dict.fromkeys(layer.states, previous), w)
    return values


def _before(states: Array, start: int, end: int) -> Array:
    """The states at ``start - 1`` to ``end - 2``; before the first step there are zeros."""
    if start > 0:
        return states[:, start - 1 : end - 1]
    return np.concatenate([np.zeros_like(states[:, :1]), states[:, : end - 1]], axis=1)


def _bounded(weights: SimpleNamespace, precision: Precision) -> SimpleNamespace:
    exact = {key: Bounded.exact(array, precision) for key, array in vars(weights).items()}
    return SimpleNamespace(**exact)


def _check(name: str, residual: _Residual) -> Check:
    at, ratio = residual.place, residual.ratio
    none = residual.compared == 0
    where = f"sample {at.sample}, t {at.t}, unit {at.unit}"
    detail = [] if none else [f"worst at {where}"]
    if residual.overflow is not None:
        until = residual.overflow
        detail.append(f"compared up to t = {until - 1}, overflow at t = {until}")
    return Check(
        name=name,
        passed=not none and ratio <= 1.0,
        compared=residual.compared,
        expected="ratio <= 1",
        found="nothing to compare" if none else f"ratio {ratio:.3g}",
        ratio=None if none else ratio,
        place=None if none else at,
        detail="; ".join(detail),
    )


def _what(network: Network, layer: Layer) -> str:
    if layer is network.layers[-1]:
        return "y_hat"
    return layer.states[0] if layer.states else "output"


def _number_text(value: tuple[int, ...] | int) -> str:
    return shape_text(value) if isinstance(value, tuple) else str(value)
