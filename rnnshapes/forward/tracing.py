"""What ``trace`` answers: y_hat and h at every time step, from NumPy and from Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rnnshapes import memory
from rnnshapes.errors import InputError
from rnnshapes.forward import replay
from rnnshapes.forward import scan as recurrence
from rnnshapes.forward.difference import Difference, StepErrors, largest_difference, y_hat_of
from rnnshapes.forward.non_finite import NonFinite, NonFiniteFinder
from rnnshapes.load.inputs import InputSources, describe_inputs
from rnnshapes.network.graph import ITEM_BYTES, Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.result import Result

#: Handed each block of steps, and which samples it is of.
Seen = Callable[[recurrence.Block, slice], None]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What a recurrence does at every step of its input, by name, each (N, T, M).

    ``states`` and ``gates`` are NumPy's, in float64, ``keras`` holds the same states from Keras.
    With ``reverse`` the steps are read from the last one; t is still that of the input. Where
    ``mask`` (N, T) is False, a step does not count: the states are those of the step before,
    and there are no gates (NaN). ``steps`` is the symbol of the time axis;
    ``candidates`` are the gates that have the name of a state.
    """

    name: str
    index: str
    steps: str
    reverse: bool
    states: Mapping[str, Array]
    keras: Mapping[str, Array]
    gates: Mapping[str, Array]
    mask: Array | None
    candidates: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing of it was asked for."""
        return not self.states and not self.gates and self.mask is None

    def showing(self, parts: Sequence[str]) -> LayerTrace:
        """The states and gates that are among ``parts``."""
        keys = [key for key in self.states if key.rstrip("0123456789") in parts]
        keras = _pick(self.keras, keys) if self.keras else {}
        gates = self.gates if "gates" in parts else {}
        return replace(self, states=_pick(self.states, keys), keras=keras, gates=gates)


@dataclass(frozen=True, repr=False, eq=False)
class Trace(Result):
    """y_hat at every time step, computed in NumPy float64 from the model's own weights.

    ``y_hat`` is (N, T, K), ``None`` where the head joins the time steps, so that there is none
    at a single one; ``output`` is what the model itself returns. ``keras`` holds what Keras
    computes, ``None`` without it; ``difference`` compares the two. ``unsupported`` names
    unsupported layers, whose values were taken from Keras.

    ``step_errors`` are there if they were asked for, of ``y_hat`` and ``lstm.h``, over all
    samples: at each step, the error of Keras against one step of the equation from its own
    states, and its bound (see :mod:`rnnshapes.verification.residuals`).
    """

    schema = "rnnshapes.trace/1"
    renderer = "tracing"

    network: Network
    source: str
    y_hat: Array | None
    output: Array
    layers: tuple[LayerTrace, ...]
    not_finite: NonFinite | None
    keras: ModelOutputs | None
    unsupported: tuple[str, ...] = ()
    step_errors: Mapping[str, StepErrors] = field(default_factory=dict)

    @property
    def y_hat_keras(self) -> Array | None:
        """y_hat at every time step from Keras, (N, T, K)."""
        if self.keras is None or self.y_hat is None:
            return None
        return y_hat_of(self.network, self.keras)

    @property
    def output_keras(self) -> Array | None:
        """What the model's own predict answers."""
        return None if self.keras is None else self.keras.outputs[0]

    @property
    def difference(self) -> Difference | None:
        """The largest difference between the two y_hat, or between the outputs."""
        if self.y_hat is not None and self.y_hat_keras is not None:
            return largest_difference(self.y_hat, self.y_hat_keras)
        return (
            None
            if self.output_keras is None
            else largest_difference(self.output, self.output_keras)
        )

    def showing(self, show: str | Iterable[str], layer: str | None = None) -> Trace:
        """What :func:`trace_network` answers for ``show`` and ``layer``, from a trace of all."""
        parts, chosen = check_show(self.network, show), check_layer(self.network, layer)
        layers = [found.showing(parts) for found in self.layers if found.name in chosen]
        return replace(self, layers=tuple(found for found in layers if not found.empty))


def check_show(network: Network, show: str | Iterable[str]) -> tuple[str, ...]:
    """The parts of ``show``: ``"y,h"``, ``"all"`` or a list.

    InputError for one that is not there.
    """
    parts = show.split(",") if isinstance(show, str) else show
    chosen = tuple(str(part).strip() for part in parts)
    kinds = " and ".join(dict.fromkeys(node.layer.type for node in network.recurrent))
    have = everything(network)
    if chosen == ("all",):
        return have
    for part in chosen:
        if part not in have:
            raise InputError(
                f"show {part!r}: {kinds} has {', '.join(have)}; choose from these, or all"
            )
    return chosen


def everything(network: Network) -> tuple[str, ...]:
    """All parts that there are to show: ``y``, ``h``, ``c``, ``gates``."""
    cells = [direction.cell for node in network.recurrent for _, direction in node.scans]
    states = dict.fromkeys(key.rstrip("0123456789") for cell in cells for key in cell.states)
    return ("y", *states, *(("gates",) if any(cell.gates for cell in cells) else ()))


def check_layer(network: Network, name: str | None) -> tuple[str, ...]:
    """The recurrences of the layer ``name``, or all; InputError if there is no such layer."""
    have = {node.name: [scan for scan, _ in node.scans] for node in network.recurrent}
    if not have:
        raise InputError(f"{network.no_recurrence_reason}: there are no time steps to trace")
    every = [scan for scans in have.values() for scan in scans]
    if name is None:
        return tuple(every)
    if name not in have and name not in every:
        names = dict.fromkeys([*have, *every])
        raise InputError(f"layer {name!r}: the recurrent layers are {', '.join(names)}")
    return tuple(have.get(name, [name]))


def trace_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    show: str | Iterable[str] = "y",
    keras: ModelOutputs | None = None,
    layer: str | None = None,
    seen: Seen | None = None,
) -> Trace:
    """Run the recurrence in NumPy, to stand beside what Keras computed.

    ``seen`` is handed each block.
    """
    parts, chosen = check_show(network, show), check_layer(network, layer)
    behind = [f"layer {node.name!r} ({node.layer.type})" for node in network.unsupported]
    if behind and keras is None:
        raise InputError(
            f"{behind[0]} is not derived: without Keras nothing behind it can be computed"
        )
    run = _Run(network, weights, sources, parts, chosen, keras)
    y_hat, output = run.compute(seen)
    layers = [la for la in run.layers if not la.empty]
    if keras is not None:
        layers = [replace(la, keras=_pick(keras.states[la.name], la.states)) for la in layers]
    for values in (
        y_hat,
        output,
        *(v for la in layers for v in (*la.states.values(), *la.gates.values())),
    ):
        if values is not None:
            values.setflags(write=False)
    found = run.finder.result
    return Trace(
        *(
            network,
            describe_inputs(sources, network),
            y_hat,
            output,
            tuple(layers),
            found,
            keras,
            tuple(behind),
        )
    )


def require_memory(
    network: Network,
    show: str | Iterable[str] = "y",
    *,
    with_keras: bool = False,
    beside: int = 0,
) -> None:
    """Raise TooLargeError if weights, input and result do not fit into memory.

    ``beside`` counts numbers that are kept beside these.
    """
    parts = check_show(network, show)
    n, t = network.size("N"), network.size("T") if "T" in network.sizes else 1
    directions = [d for node in network.recurrent for _, d in node.scans]
    out = _numbers(network, network.output_shapes)
    for direction in directions:
        cell = direction.cell
        kept = [dim for key, dim in cell.states.items() if key.rstrip("0123456789") in parts]
        kept += cell.gates.values() if "gates" in parts else ()
        out += sum(network.count(dim) for dim in kept)
    # Weights as they are drawn and in float64; with Keras its own, and as bounds.
    numbers = network.parameters * (4 if with_keras else 2) + n * t * out + beside
    if with_keras:
        states = [dim for d in directions for dim in d.cell.states.values()]
        flows = [_numbers(network, flow) for flow in network.node_shapes if flow.steps is not None]
        numbers += n * t * (sum(network.count(dim) for dim in states) + sum(flows))
    what = f"a trace of N={n:,} samples over T={t:,} steps with {network.parameters:,} parameters"
    memory.require(numbers * ITEM_BYTES["float64"], what)


def _numbers(network: Network, flow: NodeShapes) -> int:
    """How many numbers a sample has of it at one step."""
    return math.prod(network.count(dim) for dim in flow.at_step[1:])


def _pick(found: Mapping[str, Array], keys: Iterable[str]) -> dict[str, Array]:
    return {key: found[key] for key in keys}


class _Run:
    """The computation in NumPy, block by block, and what is kept of it."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        sources: InputSources,
        parts: Sequence[str],
        chosen: Sequence[str],
        keras: ModelOutputs | None,
    ) -> None:
        self.network, self.weights, self.sources = network, weights, sources
        self.initial = replay.kept_states(weights)
        self.keras = keras
        self.gates = "gates" in parts
        self.samples = network.size("N")
        self.finder = NonFiniteFinder()
        self.layers = [
            self._empty(node, scan, direction, parts)
            for node in network.recurrent
            for scan, direction in node.scans
            if scan in chosen
        ]

    def _empty(
        self, node: Node, scan: str, direction: Direction, parts: Sequence[str]
    ) -> LayerTrace:
        flow, cell = self.network.node_shapes[node.sources[0].node], direction.cell
        assert flow.steps is not None
        t = self.network.count(flow.steps)
        states = {
            key: np.empty((self.samples, t, self.network.count(dim)))
            for key, dim in cell.states.items()
            if key.rstrip("0123456789") in parts
        }
        gates = {
            key: np.empty((self.samples, t, self.network.count(dim)))
            for key, dim in cell.gates.items()
            if self.gates
        }
        mask = np.ones((self.samples, t), dtype=bool) if flow.masked else None
        index, steps = direction.index + node.primes, str(flow.steps)
        return LayerTrace(
            *(scan, index, steps, direction.reverse, states, {}, gates, mask),
            candidates=tuple(gate for gate in cell.gates if gate in cell.states),
        )

    def compute(self, seen: Seen | None = None) -> tuple[Array | None, Array]:
        """y_hat and the output of all samples."""
        network = self.network
        flow, tap = network.output_shapes, network.outputs[0]
        y_hat = None
        if flow.steps is not None:
            shape = (network.count(flow.steps), *map(network.count, flow.at_step[1:]))
            y_hat = np.empty((self.samples, *shape))
        outputs = []
        initial = self.initial
        batch = network.batch or recurrence.samples_at_once(network, "float64")
        for start in range(0, self.samples, batch):
            part = slice(start, start + batch)
            blocks = self.finder.blocks(
                self.sources, recurrence.block_steps(network, "float64"), part
            )
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # it is reported
                for block in self._run(blocks, part, initial):
                    self._keep(block, part)
                    if seen is not None:
                        seen(block, part)
                    value = block.values[tap.node]
                    each = value.each[tap.output]
                    if y_hat is not None and each is not None:
                        span = slice(block.start, block.start + len(each))
                        y_hat[part, span] = np.swapaxes(each, 0, 1)
            initial = block.carried if any(map(_stateful, network.layers)) else initial
            own = value.outputs[tap.output]
            outputs.append(np.array(np.swapaxes(own, 0, 1) if own.ndim > 2 else own))
        if network.returns_sequences and y_hat is not None:
            return y_hat, y_hat
        return y_hat, np.array(np.concatenate(outputs))

    def _run(
        self,
        blocks: Iterable[Sequence[Array]],
        part: slice,
        initial: recurrence.Carried,
    ) -> Iterator[recurrence.Block]:
        given = {
            node.name: [values[part] for values in self.keras.values[node.name]]
            for node in self.network.unsupported
            if self.keras is not None
        }
        return recurrence.run(
            *(self.network, self.weights, blocks),
            gates=self.gates,
            initial=initial,
            given=given,
            masks={} if self.keras is None else {k: v[part] for k, v in self.keras.masks.items()},
        )

    def _keep(self, block: recurrence.Block, part: slice) -> None:
        for kept in self.layers:
            scan = block.scans[kept.name]
            for arrays, found in ((kept.states, scan.states), (kept.gates, scan.gates)):
                for key, values in arrays.items():
                    stop = block.start + len(found[key])
                    values[part, block.start : stop] = np.swapaxes(found[key], 0, 1)
            if scan.mask is not None and kept.mask is not None:
                kept.mask[part, block.start : block.start + len(scan.mask)] = scan.mask.T


def _stateful(layer: object) -> bool:
    return bool(getattr(layer, "stateful", False))
