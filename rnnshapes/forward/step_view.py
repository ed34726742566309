"""What ``trace --follow`` shows: one step of a recurrence, with every operand and every result.

A moment is made when it is looked at, by one more reading of the equation
(:mod:`rnnshapes.ops.recorder`), from the states that the trace has found: so a long trace
takes no more memory than its states do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace
from typing import TypeVar

import numpy as np

from rnnshapes.forward import head as heads
from rnnshapes.forward import scan as recurrence
from rnnshapes.forward import tracing
from rnnshapes.forward.head import Answer, Head
from rnnshapes.forward.scan import Block
from rnnshapes.forward.scenes import SAMPLES, General, Quantity, Scene, filled, quantity, scenes
from rnnshapes.load.inputs import InputSource, InputSources
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.naming import TensorNames
from rnnshapes.network.symbolic import evaluate_step
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.recorder import RecorderOps, Recording
from rnnshapes.reference.outputs import ModelOutputs

_Key = TypeVar("_Key")
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of a recurrence: the ``number``-th of ``count``, in the order in which it reads.

    ``t`` is the time of x. ``given`` are x_t and the states before, ``scenes`` the equations with
    this step's numbers, of which a ``masked`` step has none, ``states`` those after. ``answer``
    is y_hat, where the head looks at this recurrence, step by step.
    """

    t: int
    number: int
    count: int
    masked: bool
    given: tuple[Quantity, ...]
    scenes: tuple[Scene, ...]
    states: tuple[Quantity, ...]
    answer: Answer | None


@dataclass(frozen=True, eq=False)
class Recurrence:
    """One recurrence of one sample, from which each of its moments can be made.

    ``x`` (T, F), ``states`` (T, M) and ``mask`` (T,) are by the time of x, in float64; ``start``
    are the states (M,) before the first step that is read.
    """

    network: Network
    place: int
    name: str
    direction: Direction
    weights: SimpleNamespace
    x: Array
    states: Mapping[str, Array]
    start: Mapping[str, Array]
    mask: Array | None
    head: Head | None

    @property
    def node(self) -> Node:
        """Where the layer is called."""
        return self.network.nodes[self.place]

    @property
    def count(self) -> int:
        """How many steps it reads."""
        return len(self.x)

    @property
    def reverse(self) -> bool:
        """Whether it reads from the last step."""
        return self.direction.reverse

    @property
    def users(self) -> tuple[str, ...]:
        """The layers that go on with what it puts out."""
        users = (
            n.name for n in self.network.nodes if self.place in {tap.node for tap in n.sources}
        )
        return tuple(dict.fromkeys(users))

    def moment(self, t: int) -> Moment:
        """Step t, by the time of x."""
        masked = self.mask is not None and not self.mask[t]
        given, found = self._computed(t, masked=masked)
        at = None if self.head is None else self.head.step_of(self.place, self.direction, t)
        return Moment(
            t=t,
            number=self.count - t if self.reverse else t + 1,
            count=self.count,
            masked=masked,
            given=given,
            scenes=found,
            states=tuple(
                quantity(self.network, self._state(key, t), (SAMPLES, dim), self.states[key][t])
                for key, dim in self.direction.cell.states.items()
            ),
            answer=None if at is None or self.head is None else self.head.at(at),
        )

    def _computed(self, t: int, *, masked: bool) -> tuple[tuple[Quantity, ...], tuple[Scene, ...]]:
        """What comes in, and the equations with what they give."""
        direction, recording = self.direction, Recording()
        cell, index, before = direction.cell, direction.index, t + 1 if self.reverse else t - 1
        numbers = self._states_before(t)
        x = recording.tensor(
            filled(self._x, t, self.count), (SAMPLES, direction.features), self.x[t][None]
        )
        states = {
            key: recording.tensor(self._state(key, before), (SAMPLES, dim), numbers[key][None])
            for key, dim in cell.states.items()
        }
        given = tuple(
            quantity(self.network, v.symbol.text, v.symbol.shape, v.array)
            for v in (x, *states.values())
        )
        if masked:
            return given, ()
        w = SimpleNamespace(
            **{
                weight.key: recording.tensor(
                    weight.key + index, weight.dims, vars(self.weights)[weight.key]
                )
                for weight in direction.weights
            }
        )
        ops = RecorderOps(recording, index, f"{self.node.primes}_{t}")
        with np.errstate(all="ignore"):  # what is not finite is shown as it is
            cell.step(ops, cell.project(ops, x, w), states, w)
        return given, tuple(scenes(self.network, recording, self._general))

    def _states_before(self, t: int) -> dict[str, Array]:
        """Return the states (M,) from which step t starts."""
        steps = slice(t, t + 2) if self.reverse else slice(max(t - 1, 0), t + 1)
        around = {key: values[steps] for key, values in self.states.items()}
        before = recurrence.states_before(self.direction, around, self.start, time_axis=0)
        return {key: values[0 if self.reverse else -1] for key, values in before.items()}

    def _state(self, key: str, t: int) -> str:
        """``h→_3``; ``h_{-1}`` for the start."""
        return f"{key}{self.direction.index}{self.node.primes}_{t if t >= 0 else f'{{{t}}}'}"

    @cached_property
    def _x(self) -> str:
        return TensorNames(self.network).of(self.node.sources[0])

    @cached_property
    def _general(self) -> list[General]:
        return evaluate_step(self.direction, self._x).equations


def computed(network: Network, *, keras: bool) -> Network:
    """The network with as many samples as have to be computed so that one can be looked at."""
    if keras or network.batch is not None:
        return network
    return replace(network, declared_sizes=tuple({**dict(network.declared_sizes), "N": 1}.items()))


def follow_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    sample: int = 0,
    layer: str | None = None,
    keras: ModelOutputs | None = None,
) -> tuple[Recurrence, ...]:
    """Each recurrence of one sample, or those of the layer ``layer``.

    Takes and raises what :func:`rnnshapes.forward.tracing.trace_network` does, and TooLargeError
    where there is not enough memory. No other sample is computed, unless states go on from it or
    Keras was asked.
    """
    chosen, whole = tracing.check_layer(network, layer), network
    network = computed(network, keras=keras is not None)
    if network is not whole:
        sources, sample = tuple(_One(source, sample) for source in sources), 0
    show = tuple(part for part in tracing.everything(network) if part != "gates")
    tracing.require_memory(network, show, with_keras=keras is not None)
    kept = _Kept(network, sample)
    traced = tracing.trace_network(network, weights, sources, show, keras, seen=kept.keep)
    head = None
    if traced.y_hat is not None and heads.at_steps(network):
        rows = traced.y_hat[sample].reshape(traced.y_hat.shape[1], -1)
        head = Head(whole, weights, _whole(kept.emitted), _whole(kept.entering), rows)
    layers = {la.name: la for la in traced.layers}
    return tuple(
        Recurrence(
            network=whole,
            place=place,
            name=name,
            direction=direction,
            weights=bind(direction.name, weights, "float64"),
            x=np.concatenate(kept.x[name]),
            states={key: values[sample] for key, values in layers[name].states.items()},
            start=kept.starts[name],
            mask=None if (mask := layers[name].mask) is None else mask[sample],
            head=head,
        )
        for place, node in enumerate(network.nodes)
        for name, direction in node.scans
        if name in chosen
    )


@dataclass(frozen=True)
class _One:
    """One sample of an input."""

    source: InputSource
    sample: int

    @property
    def description(self) -> str:
        return self.source.description

    def blocks(self, steps: int, part: slice = _ALL) -> Iterator[Array]:
        return self.source.blocks(steps, slice(self.sample, self.sample + 1))


class _Kept:
    """What is kept of one sample, block by block."""

    def __init__(self, network: Network, sample: int) -> None:
        self.network, self.sample = network, sample
        self.x: dict[str, list[Array]] = defaultdict(list)
        self.emitted: dict[str, list[Array]] = defaultdict(list)
        self.entering: dict[Tap, list[Array]] = defaultdict(list)
        self.starts: dict[str, dict[str, Array]] = {}
        self.taps = [t for t in heads.taps(network) if not network.nodes[t.node].layer.directions]
        self.started: dict[str, Array] = {}

    def keep(self, block: Block, part: slice) -> None:
        """Keep the sample, if it is among those of the block."""
        mine = self.sample - part.start
        if not 0 <= mine < part.stop - part.start:
            return
        for node in self.network.recurrent:
            tap = node.sources[0]
            x = block.values[tap.node].outputs[tap.output]
            emitted = recurrence.emissions(node, block.scans, self.started)
            for name, _ in node.scans:
                scan = block.scans[name]
                if block.start == 0:
                    self.starts[name] = {key: v[mine].copy() for key, v in scan.start.items()}
                self.x[name].append(x[:, mine].copy())
                self.emitted[name].append(emitted[name][:, mine].copy())
        for tap in self.taps:
            value = block.values[tap.node]
            each = value.each[tap.output]
            found = value.outputs[tap.output][None] if each is None else each
            self.entering[tap].append(found[:, mine].copy())


def _whole(parts: Mapping[_Key, list[Array]]) -> dict[_Key, Array]:
    """All steps of each."""
    return {name: np.concatenate(found) for name, found in parts.items()}
