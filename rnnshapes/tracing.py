"""What ``trace`` answers: y_hat and h at every time step, from NumPy and from Keras."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnshapes import memory, recurrence
from rnnshapes.algebra.arrays import Array
from rnnshapes.display import Displayed
from rnnshapes.errors import InputError
from rnnshapes.inputs import Source
from rnnshapes.network import ITEM_BYTES, Network
from rnnshapes.reference import Answers
from rnnshapes.weights import Weights


@dataclass(frozen=True)
class Place:
    """A number in (N, T, units): sample, time step, unit."""

    sample: int
    t: int
    unit: int


@dataclass(frozen=True)
class Difference:
    """The largest |NumPy - Keras|, and where; NaN at the first place where either is NaN."""

    max_abs: float
    place: Place


@dataclass(frozen=True)
class NotFinite:
    """How many numbers of the input are NaN or infinite, and the first of them."""

    count: int
    first: Place


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What a recurrent layer does at every step, by name, each (N, T, M).

    ``states`` and ``gates`` are NumPy's, in float64, ``keras`` holds the same states from Keras.
    """

    name: str
    states: Mapping[str, Array]
    keras: Mapping[str, Array]
    gates: Mapping[str, Array]


@dataclass(frozen=True, repr=False, eq=False)
class Trace(Displayed):
    """y_hat at every time step, computed in NumPy float64 from the model's own weights.

    ``y_hat`` is (N, T, K); ``output`` is what the model itself returns, (N, K) or (N, T, K).
    ``keras`` holds what Keras computes, ``None`` without it; ``difference`` compares the two.
    """

    schema = "rnnshapes.trace/1"

    network: Network
    source: str
    y_hat: Array
    layers: tuple[LayerTrace, ...]
    not_finite: NotFinite | None
    keras: Answers | None

    @property
    def output(self) -> Array:
        """What the model returns, as NumPy computes it."""
        return self.y_hat if self.network.returns_sequences else self.y_hat[:, -1]

    @property
    def y_hat_keras(self) -> Array | None:
        """y_hat at every time step from Keras, (N, T, K)."""
        return None if self.keras is None else self.keras.steps[self.network.layers[-1].name]

    @property
    def difference(self) -> Difference | None:
        """The largest difference between the two y_hat."""
        return None if self.y_hat_keras is None else largest(self.y_hat, self.y_hat_keras)


def check_show(network: Network, show: str | Iterable[str]) -> tuple[str, ...]:
    """The parts of ``show``, ``"y,h"`` or a list; InputError for one that is not there."""
    parts = show.split(",") if isinstance(show, str) else show
    chosen = tuple(str(part).strip() for part in parts)
    have = ["y", *dict.fromkeys(state for layer in network.recurrent for state in layer.states)]
    have += ["gates"] if any(layer.cell.gates for layer in network.recurrent) else []
    for part in chosen:
        if part not in have:
            kinds = " and ".join(dict.fromkeys(layer.type for layer in network.recurrent))
            raise InputError(f"show {part!r}: {kinds} has {', '.join(have)}; choose from these")
    return chosen


def trace_network(
    network: Network,
    weights: Weights,
    source: Source,
    show: str | Iterable[str] = "y",
    keras: Answers | None = None,
) -> Trace:
    """Run the recurrence in NumPy, to stand beside what Keras computed."""
    y_hat, layers, not_finite = _compute(network, weights, source, check_show(network, show))
    if keras is not None:
        layers = [
            replace(layer, keras={key: keras.states[layer.name][key] for key in layer.states})
            for layer in layers
        ]
    return Trace(network, source.text, y_hat, tuple(layers), not_finite, keras)


def require_memory(
    network: Network, show: str | Iterable[str] = "y", *, with_keras: bool = False
) -> None:
    """Raise TooLargeError if weights, input and result do not fit into memory."""
    n, t = network.known("N"), network.known("T")
    parts = check_show(network, show)
    out, states = network.count(network.outputs), 0
    for layer in network.recurrent:
        units = network.count(layer.units)
        out += units * len([state for state in layer.states if state in parts])
        out += units * len(layer.cell.gates) * ("gates" in parts)
        states += units * len(layer.states)
    # Weights as they are drawn and in float64; with Keras its own, a twin's, and as bounds.
    numbers = network.parameters * (5 if with_keras else 2) + n * t * out
    if with_keras:
        numbers += n * t * (network.count(network.layers[0].features) + states)
    what = f"a trace of N={n:,} samples over T={t:,} steps with {network.parameters:,} parameters"
    memory.require(numbers * ITEM_BYTES["float64"], what)


def largest(ours: Array, theirs: Array) -> Difference:
    """The largest |ours - theirs| over (N, T, units); a NaN counts as larger than anything."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(ours - theirs)
    return Difference(float(np.max(apart)), place_of(apart, int(np.argmax(apart))))


def place_of(values: Array, position: int) -> Place:
    """The place of a flat position in (N, T, units)."""
    return Place(*(int(i) for i in np.unravel_index(position, values.shape)))


def _compute(
    network: Network, weights: Weights, source: Source, parts: Sequence[str]
) -> tuple[Array, list[LayerTrace], NotFinite | None]:
    n, t = network.known("N"), network.known("T")
    y_hat = np.empty((n, t, network.count(network.outputs)))
    layers = []
    for layer in network.recurrent:
        shape = (n, t, network.count(layer.units))
        states = {state: np.empty(shape) for state in layer.states if state in parts}
        gates = {gate: np.empty(shape) for gate in layer.cell.gates if "gates" in parts}
        if states or gates:
            layers.append(LayerTrace(layer.name, states, {}, gates))
    watch = _Watch()
    steps = recurrence.block_steps(network, "float64")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is reported
        x = watch.over(source, steps)
        for block in recurrence.run(network, weights, x, gates="gates" in parts):
            span = slice(block.start, block.start + len(block.output))
            y_hat[:, span] = np.swapaxes(block.output, 0, 1)
            for kept in layers:
                _copy(kept.states, block.states[kept.name], span)
                _copy(kept.gates, block.gates[kept.name], span)
    y_hat.setflags(write=False)
    for values in (v for la in layers for v in (*la.states.values(), *la.gates.values())):
        values.setflags(write=False)
    return y_hat, layers, watch.found


def _copy(kept: Mapping[str, Array], block: Mapping[str, Array], span: slice) -> None:
    for key, values in kept.items():
        values[:, span] = np.swapaxes(block[key], 0, 1)


class _Watch:
    """Looks for numbers that are not finite in blocks that pass by."""

    def __init__(self) -> None:
        self.found: NotFinite | None = None

    def over(self, source: Source, steps: int) -> Iterable[Array]:
        start = 0
        for block in source.blocks(steps):
            bad = ~np.isfinite(block)
            if bad.any():
                place = place_of(bad, int(np.argmax(bad)))
                first = Place(place.sample, start + place.t, place.unit)
                before = self.found or NotFinite(0, first)
                self.found = NotFinite(before.count + int(bad.sum()), before.first)
            yield block
            start += block.shape[1]
