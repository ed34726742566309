"""Fixed-point pass: what a network computes from integers of few bits, beside float64.

Each equation is evaluated by the fixed-point interpreter (:mod:`rnnshapes.ops.fixed_point`), step
by step from the states that fixed point has reached. Where each value has a scale of its own, a
first pass in float64 measures its largest magnitude.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes import progress
from rnnshapes.cells.cell import Weight
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.forward.golden import (
    SCALE,
    Golden,
    GoldenArray,
    RecordedRecurrence,
    recorded_recurrences,
)
from rnnshapes.forward.scan import (
    NodeValue,
    Scan,
    apply_layer,
    join_directions,
    recurrence_outputs,
    run,
    source_mask,
)
from rnnshapes.load.inputs import InputSources, describe_inputs, full_array
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.fixed_point import (
    FixedPoint,
    FixedPointOps,
    Format,
    Scheme,
    StoredValues,
    stacked,
)
from rnnshapes.result import Result

#: The dtype that holds integers of so many bits.
_INTEGERS = {8: "int8", 16: "int16", 32: "int32"}


@dataclass(frozen=True, eq=False)
class QuantizedValue:
    """One value of the network in fixed point, and how far it is from float64.

    Attributes:
        name: Its name, as in a golden file: ``lstm.z_i``, ``lstm/kernel``, ``y_hat``.
        kind: ``input``, ``weight``, ``state`` (of a recurrence, with all its intermediates) or
            ``output`` (of a layer).
        format: The name of its format, ``int8`` or ``Q3.12``; ``exact`` for a sum of products
            that is not stored.
        scale: The value of the integer 1, the largest of all columns; None if it is exact.
        low: Its smallest number in float64.
        high: Its largest number in float64.
        saturated: The share of its numbers that were beyond the ends of the format.
        errors: The largest error at each step, (T,), indexed by input time step; (1,) without
            time. NaN where every sample is masked.
        rms: The root mean square of the errors at each step, (T,).
        timed: Whether it has a value at every step.
        count: How many numbers are compared at each step, (T,).
        scales: The scale, or that of each column; None if it is exact.
        bits: The bits of its format; None if it is exact.
        numbers: Its numbers in fixed point as a golden file has them, (N, T, units); None unless
            asked for. At a masked step, states are those of the step before, and all else is 0.
    """

    name: str
    kind: str
    format: str
    scale: float | None
    low: float
    high: float
    saturated: float
    errors: Array
    rms: Array
    timed: bool
    count: Array
    scales: Array | None = None
    bits: int | None = None
    numbers: Array | None = None

    @property
    def integers(self) -> Array:
        """The integers that stand for its numbers, in units of its scale."""
        assert self.numbers is not None
        assert self.scales is not None
        assert self.bits is not None
        dtype = next(dtype for bits, dtype in _INTEGERS.items() if self.bits <= bits)
        return np.rint(self.numbers / self.scales).astype(dtype)

    @property
    def largest(self) -> float:
        """The largest error of all steps."""
        return float(np.nanmax(self.errors, initial=0.0))

    @property
    def worst_step(self) -> int | None:
        """The step of the largest error; None without time."""
        return int(np.nanargmax(self.errors)) if self.timed and self.count.any() else None

    @property
    def total_rms(self) -> float:
        """The root mean square of all errors."""
        squares = np.nansum(self.rms**2 * self.count)
        return float(np.sqrt(squares / max(1, self.count.sum())))


@dataclass(frozen=True, repr=False, eq=False)
class Quantization(Result):
    """Every value of a network in fixed point: range, saturation, and error over time.

    ``source`` is where the input comes from. ``values`` are in the order of computation.
    """

    schema = "rnnshapes.quantize/1"
    renderer = "quantized"

    network: Network
    source: str
    scheme: Scheme
    values: tuple[QuantizedValue, ...]


def quantize_network(
    network: Network,
    weights: Weights,
    sources: InputSources,
    scheme: Scheme,
    *,
    with_numbers: bool,
) -> Quantization:
    """Run a network in fixed point.

    Args:
        network: The network.
        weights: Its weights.
        sources: Its inputs.
        scheme: The bits of each value.
        with_numbers: Whether to store all numbers, for a golden file.

    Raises:
        UnsupportedError: a layer is not supported, or keeps its states between batches.
        InputError: a number of the input, or of the run in float64, is not finite.
    """
    for node in network.unsupported:
        raise UnsupportedError(
            f"layer {node.name!r} ({node.layer.type}) is not supported in fixed point"
        )
    for node in network.recurrent:
        if getattr(node.layer, "stateful", False):
            raise UnsupportedError(
                f"layer {node.name!r} ({node.layer.type}) is stateful, which is not supported in "
                "fixed point"
            )
    with np.errstate(all="ignore"):  # what is not finite is reported
        fixed = _FixedPointPass(network, weights, sources, scheme)
        if scheme.fraction is None:
            fixed.storage.measuring = True
            fixed.compute()
            fixed.storage.measuring = False
        fixed.with_numbers = with_numbers
        values = fixed.compute()
    return Quantization(network, describe_inputs(sources, network), scheme, values)


def golden_integers(golden: Golden, quantization: Quantization) -> Golden:
    """Return a golden file with the integers of a run in fixed point, and the value of one.

    Masks stay, and exact sums are left out. Outputs of layers, which a golden file in float64 does
    not have, follow at the end.

    Args:
        golden: The arrays in float64, in Keras's layout.
        quantization: The same network in fixed point, with its numbers.
    """
    values = {value.name: value for value in quantization.values if value.scale is not None}
    entries: list[GoldenArray] = []
    known = {entry.name for entry in golden.entries}
    outputs = [v for v in values.values() if v.kind == "output" and v.name not in known]
    for entry in (*golden.entries, *map(_output_entry, outputs)):
        value = values.get(entry.name)
        if value is None:
            entries += [entry] if entry.values.dtype.kind in "bi" else []
            continue
        assert value.scales is not None
        size = f"{value.scale:.9g}"
        size = f"up to {size}, by column" if value.scales.ndim else size
        unit = f"{entry.description}, in units of {size}"
        entries.append(replace(entry, values=value.integers, description=unit))
        if quantization.scheme.fraction is None:
            entries.append(
                GoldenArray(
                    name=f"{entry.name}{SCALE}",
                    values=value.scales,
                    dims=entry.dims[-1:] if value.scales.ndim else (),
                    description=f"the value of one in {entry.name}",
                    is_weight=entry.is_weight,
                )
            )
    return replace(golden, entries=tuple(entries), scheme=quantization.scheme.name)


def _output_entry(value: QuantizedValue) -> GoldenArray:
    """Return the array of the output of a layer, (N, T, …), or (N, …) without time."""
    assert value.numbers is not None
    dims = (Dim.named("N"), *map(Dim.of, value.numbers.shape[1:]))
    return GoldenArray(value.name, value.numbers, dims, f"the output of {value.name}")


class _Statistics:
    """Range, saturation and errors of one value, collected step by step."""

    def __init__(self, steps: int, *, with_numbers: bool) -> None:
        self.numbers: dict[int, Array] | None = {} if with_numbers else None
        self.low, self.high, self.beyond = np.inf, -np.inf, 0
        self.not_finite: int | None = None
        self.errors = np.full(steps, np.nan)
        self.squares, self.count = np.zeros(steps), np.zeros(steps, dtype=np.int64)
        self.format: Format | None = None

    def add(self, t: int, x: FixedPoint, mask: Array | None = None) -> None:
        """Add the numbers of step t, once, of the samples (N,) that count."""
        chosen = ... if mask is None else mask
        if self.numbers is not None:
            rows = True if mask is None else mask.reshape(-1, *(1,) * (x.value.ndim - 1))
            self.numbers[t] = np.where(rows, x.value, 0.0)
        ideal, error = x.ideal[chosen], np.abs(x.value[chosen] - x.ideal[chosen])
        if not ideal.size:
            return
        if self.not_finite is None and not np.isfinite(error).all():
            self.not_finite = t
        self.format = x.format
        self.low, self.high = min(self.low, ideal.min()), max(self.high, ideal.max())
        self.beyond += 0 if x.beyond is None else int(x.beyond[chosen].sum())
        self.errors[t] = error.max()
        self.squares[t] = np.square(error).sum()
        self.count[t] = error.size

    def value(self, name: str, kind: str, *, timed: bool) -> QuantizedValue:
        """Return the collected statistics; raise InputError for a number that is not finite."""
        empty = not self.count.any()
        if self.not_finite is not None:
            where = f" at step {self.not_finite}" if timed else ""
            raise InputError(
                f"{name} has numbers that are not finite{where}, so that no format holds them; "
                "give another x or other weights"
            )
        count = np.maximum(1, self.count)
        numbers = self.numbers or {}
        return QuantizedValue(
            name=name,
            kind=kind,
            format="exact" if self.format is None else self.format.name,
            scale=None if self.format is None else float(np.max(self.format.scale)),
            low=0.0 if empty else float(self.low),
            high=0.0 if empty else float(self.high),
            saturated=self.beyond / max(1, int(self.count.sum())),
            errors=self.errors,
            rms=np.where(self.count > 0, np.sqrt(self.squares / count), np.nan),
            timed=timed,
            count=self.count,
            scales=None if self.format is None else np.asarray(self.format.scale),
            bits=None if self.format is None else self.format.bits,
            numbers=np.stack([*numbers.values()], axis=1) if timed and numbers else numbers.get(0),
        )


class _FixedPointPass:
    """A network in fixed point; each pass computes all of it."""

    def __init__(
        self, network: Network, weights: Weights, sources: InputSources, scheme: Scheme
    ) -> None:
        self.network, self.sources, self.scheme = network, sources, scheme
        self.storage = StoredValues(scheme)
        self.with_numbers = False
        self.ops = FixedPointOps(self.storage, in_cells=False)
        self.cell_ops = FixedPointOps(self.storage, in_cells=True)
        self.counted = _counted_steps(network, weights, sources)
        self.recurrences = {each.name: each for each in recorded_recurrences(network)}
        self.bound = {
            name: {w.key: _bind(scheme, w, weights[name][w.key]) for w in group}
            for layer in network.layers
            for name, group in layer.groups.items()
        }

    def compute(self) -> tuple[QuantizedValue, ...]:
        """Compute the whole network, and return all values."""
        values: list[NodeValue] = []
        found: list[QuantizedValue] = []
        inputs = iter(self.sources)
        for position, node in enumerate(self.network.nodes):
            self.storage.begin(node.name)
            found += self._weights(node, found)
            if isinstance(node.layer, Input):
                value = self._input(position, node.layer, full_array(next(inputs)))
                name = "x" if len(self.sources) == 1 else node.name
                kind = "input"
            elif isinstance(node.layer, RecurrentLayer):
                value, intermediates = self._scan(position, node, values)
                found += intermediates
                values.append(value)
                continue
            else:
                value = self._apply(position, node, values)
                name, kind = self._output_name(position), "output"
            values.append(value)
            if not getattr(node.layer, "integers", False):
                found += self._outputs(position, name, kind, value)
        return tuple(found)

    def _output_name(self, position: int) -> str:
        """Return the name of what a node returns: ``y_hat`` for the output of the network."""
        is_y_hat = position == self.network.outputs[0].node
        return "y_hat" if is_y_hat else self.network.nodes[position].name

    def _statistics(self, steps: int) -> _Statistics:
        return _Statistics(steps, with_numbers=self.with_numbers)

    def _weights(self, node: Node, found: Sequence[QuantizedValue]) -> Iterator[QuantizedValue]:
        """Yield the weights of a layer, at its first call."""
        known = {value.name for value in found}
        for group, members in node.layer.groups.items():
            for weight in members:
                name, statistics = f"{group}/{weight.name}", self._statistics(1)
                if name not in known:
                    statistics.add(0, self.bound[group][weight.key])
                    yield statistics.value(name, "weight", timed=False)

    def _input(self, position: int, layer: Input, x: Array) -> NodeValue:
        """Return an input (N, T, …), time-major and stored as an operand."""
        turned = np.swapaxes(x, 0, 1) if layer.timed else x
        if layer.integers:
            value = FixedPoint.exact(turned, self.storage)
        else:
            exact = FixedPoint.exact(np.asarray(turned, dtype=np.float64), self.storage)
            counted = exact.at_counted_steps(self.counted[position])
            value = self.storage.store(counted, self.scheme.operands)
        return _value((value,), (value if layer.timed else None,), None)

    def _apply(self, position: int, node: Node, values: Sequence[NodeValue]) -> NodeValue:
        """Return the output of a layer without recurrence, which is stored."""
        inputs = [_output(values, tap).ideal for tap in node.sources]
        masks = [source_mask(values, tap) for tap in node.sources]
        mask = node.layer.mask(inputs, masks)
        weights = SimpleNamespace(**self.bound[node.group])
        shapes = self.network.node_shapes[position]
        value: Any = apply_layer(self.ops, node, values, weights, mask, shapes)
        return self._stored(position, value, self.scheme.values)

    def _stored(self, position: int, value: NodeValue, bits: int) -> NodeValue:
        """Return the value of a node with a format for all numbers that have none."""
        counted = self.counted[position]

        def stored(x: Any) -> Any:
            if x is None or x.format is not None:
                return x
            return self.storage.store(x.at_counted_steps(counted), bits)

        outputs = [stored(x) for x in value.outputs]
        same = zip(value.at_steps, value.outputs, outputs, strict=True)
        at_steps = [s if x is output else stored(x) for x, output, s in same]
        return _value(outputs, at_steps, value.mask, value.joined)

    def _outputs(
        self, position: int, name: str, kind: str, value: NodeValue
    ) -> Iterator[QuantizedValue]:
        """Yield each output of a node: at every step, where it has one there."""
        counted = self.counted[position]
        for number, (output, at_steps) in enumerate(
            zip(value.outputs, value.at_steps, strict=True)
        ):
            x: Any = output if at_steps is None else at_steps
            timed = at_steps is not None
            statistics = self._statistics(len(x.ideal) if timed else 1)
            for t in range(len(statistics.errors)):
                step = x.on_both(lambda array, t=t: array[t]) if timed else x
                mask = counted[t] if timed and counted is not None else None
                statistics.add(t, step, mask)
            yield statistics.value(f"{name}[{number}]" if number else name, kind, timed=timed)

    def _scan(
        self, position: int, node: Node, values: Sequence[NodeValue]
    ) -> tuple[NodeValue, list[QuantizedValue]]:
        """Return the outputs of a recurrent layer, and the values of each of its recurrences."""
        tap = node.sources[0]
        x = replace(_output(values, tap), counted=None)  # its mask says so instead
        mask = None if node.mask_dropped else source_mask(values, tap)
        start = self._initial(node, values)
        scans: dict[str, dict[str, FixedPoint]] = {}
        intermediates: list[QuantizedValue] = []
        for name, initial in start.items():
            statistics = self._statistics(1)
            statistics.add(0, initial)
            intermediates.append(statistics.value(name, "state", timed=False))
        for name, _ in node.scans:
            none = self.scheme.format(self.scheme.operands, 0.0)
            state = {
                key: FixedPoint.exact(np.zeros((x.ideal.shape[1], width)), self.storage, none)
                for key, width in self.network.widths[name].items()
            }
            state = {key: start.get(f"{name}.{key}_initial", zero) for key, zero in state.items()}
            scans[name], by_name = self._steps(self.recurrences[name], x, state, mask)
            intermediates += [
                each.value(f"{name}.{key}", "state", timed=True) for key, each in by_name.items()
            ]
        value = self._joined(node, values, scans, mask)
        self.storage.begin(f"{node.name} joined")
        stored = self._stored(position, value, self.scheme.operands)
        if stored.outputs[0] is not value.outputs[0]:  # a sum, or parts of several formats
            rows = self._outputs(position, self._output_name(position), "output", stored)
            intermediates.append(next(rows))
        return stored, intermediates

    def _initial(self, node: Node, values: Sequence[NodeValue]) -> dict[str, FixedPoint]:
        """Return the given states, by name: ``lstm.h_initial``; stored as those of each step."""
        self.storage.begin(f"{node.name} initial")
        keys = [(name, key) for name, _ in node.scans for key in self.network.widths[name]]
        return {
            f"{name}.{key}_initial": self.cell_ops.let(
                key.rstrip(string.digits), _output(values, tap)
            )
            for (name, key), tap in zip(keys, node.initial, strict=False)
        }

    def _steps(
        self,
        recurrence: RecordedRecurrence,
        x: FixedPoint,
        state: Mapping[str, FixedPoint],
        mask: Array | None,
    ) -> tuple[dict[str, FixedPoint], dict[str, _Statistics]]:
        """Compute all steps of a recurrence; return its states (T, N, M) and statistics."""
        direction = recurrence.direction
        weights = SimpleNamespace(**self.bound[direction.name])
        steps = len(x.ideal)
        statistics = {name: self._statistics(steps) for name in recurrence.noted}
        after: dict[int, Mapping[str, FixedPoint]] = {}
        for t in range(steps)[:: -1 if direction.reverse else 1]:
            counted = None if mask is None else mask[t]
            self.storage.begin(recurrence.name, counted)
            x_t = x.on_both(lambda array, t=t: array[t])  # type: ignore[misc]
            xz = direction.cell.project(self.cell_ops, x_t, weights)
            new = direction.cell.step(self.cell_ops, xz, state, weights).states
            state = new if counted is None else _where(counted, new, state)
            after[t] = state
            noted = dict(zip(reversed(recurrence.noted), self.storage.noted[::-1], strict=True))
            for name, value in noted.items():  # of a value noted twice the first
                statistics[name].add(t, value, counted)
            progress.advance(x.ideal.shape[1])
        states = {key: stacked([after[t][key] for t in range(steps)]) for key in state}
        for each in statistics.values():
            each.numbers = dict(sorted((each.numbers or {}).items()))
        for key in statistics.keys() & states.keys():
            if self.with_numbers:  # a masked step repeats the states of the step before
                statistics[key].numbers = dict(enumerate(states[key].value))
        return states, statistics

    def _joined(
        self,
        node: Node,
        values: Sequence[NodeValue],
        states: Mapping[str, Mapping[str, FixedPoint]],
        mask: Array | None,
    ) -> NodeValue:
        """Return the outputs of a recurrent layer, joined from those of its directions."""
        both = []
        for part in ("value", "ideal"):
            arrays = {
                name: Scan({key: getattr(v, part) for key, v in each.items()}, {}, mask)
                for name, each in states.items()
            }
            both.append(recurrence_outputs(node, arrays, {}))
        outputs = {}
        for name, direction in node.scans:
            h = states[name][direction.cell.output_state]
            outputs[name] = replace(h, value=both[0][name], ideal=both[1][name])
        return join_directions(self.ops, node, outputs, values, states)


def _counted_steps(network: Network, weights: Weights, sources: InputSources) -> list[Array | None]:
    """Return which steps of each node count, (T, N): those of its mask; None if all do.

    Before a mask is made, those count which it lets through; they are of no other use.
    """
    if not any(node.layer.makes_mask for node in network.nodes):
        return [None] * len(network.nodes)
    (block,) = run(network, weights, [[full_array(source) for source in sources]])
    masks = [value.mask for value in block.values]
    returned = {tap.node for tap in network.outputs}
    for position in reversed(range(len(masks))):
        users = [
            (node, mask)
            for node, mask in zip(network.nodes, masks, strict=True)
            if any(tap.node == position for tap in (*node.sources, *node.initial))
        ]
        by_step = all(n.layer.stepwise and not n.layer.last_step for n, _ in users)
        if masks[position] is None and by_step and position not in returned:
            used = [mask for _, mask in users if mask is not None and mask.ndim == 2]
            if used and len(used) == len(users):
                masks[position] = np.logical_or.reduce(used)
    return [None if mask is None or mask.ndim > 2 else mask for mask in masks]


def _bind(scheme: Scheme, weight: Weight, values: Array) -> FixedPoint:
    """Return a weight in fixed point; all but kernels are added, and have more bits."""
    is_kernel = len(weight.dims) > 1 and "bias" not in weight.name
    return scheme.weight(values, is_kernel=is_kernel)


def _where(
    mask: Array, new: Mapping[str, FixedPoint], old: Mapping[str, FixedPoint]
) -> dict[str, FixedPoint]:
    """Return the states after a step for samples where it counts, those before it elsewhere."""
    rows = mask[:, None]
    return {
        key: replace(
            new[key],
            value=np.where(rows, new[key].value, old[key].value),
            ideal=np.where(rows, new[key].ideal, old[key].ideal),
        )
        for key in new
    }


def _value(
    outputs: Sequence[Any], at_steps: Sequence[Any], mask: Array | None, joined: int = 1
) -> NodeValue:
    """Return the value of a node that holds fixed-point numbers."""
    return NodeValue(tuple(outputs), tuple(at_steps), mask, joined)


def _output(values: Sequence[NodeValue], tap: Any) -> FixedPoint:
    """Return one output of a node."""
    output: Any = values[tap.node].outputs[tap.output]
    return output  # type: ignore[no-any-return]
