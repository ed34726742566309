"""Scan over time: a network's equations evaluated on arrays, one block of time steps at a time.

Arrays with a time axis are time-major here, (B, N, M) for a block of B steps, so that each step
works on one contiguous (N, M). x_t Wx + bh of many steps is one product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes import progress
from rnnshapes.cells.cell import StepResult
from rnnshapes.errors import InputError
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction, Layer, Masks
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.network.weights import Weights, bind_all
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.outputs import States

#: About how many bytes the projected inputs of one block take: they fit into the cache.
BLOCK_BYTES = 2**18
#: The fewest steps of a block, because each block has a cost of its own.
LEAST_STEPS = 8

#: About how many bytes the samples of one run take.
SAMPLES_BYTES = 2**27

_OPS = NumpyOps()


class NodeValue(NamedTuple):
    """The output of a node, time-major: arrays, or bounded numbers.

    Attributes:
        outputs: The outputs of the layer, sequences as (B, N, F).
        at_steps: The same outputs at each step, (B, N, F); None where a step has none.
        mask: Which steps count, (B, N), or (B, N, …) in a model at each step; None if all do.
        joined: How many outputs have the mask; others have none.
    """

    outputs: tuple[Array, ...]
    at_steps: tuple[Array | None, ...]
    mask: Array | None
    joined: int = 1


class Scan(NamedTuple):
    """States and gates of one recurrence over a block, (B, N, M), indexed by input time step.

    Attributes:
        states: The states after each step. A masked step repeats those of the step before.
        gates: The gates of each step, NaN where it is masked; empty if not asked for.
        mask: Which steps count, (B, N); None if all do.
        initial: The states before the first step of the block, (N, M).
    """

    states: dict[str, Array]
    gates: dict[str, Array]
    mask: Array | None
    initial: Mapping[str, Array] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Block:
    """The values of all nodes and all recurrences over B time steps.

    Attributes:
        start: The first time step.
        values: The value of each node, by its position.
        scans: States and gates, by recurrence.
        final_states: The states after the last step, by recurrence.
    """

    start: int
    values: tuple[NodeValue, ...]
    scans: Mapping[str, Scan]
    final_states: States


def block_steps(network: Network, dtype: str) -> int:
    """Return the number of time steps of a block, practically infinite if time cannot be cut."""
    if not network.runs_in_blocks:
        return 2**62
    one_step = network.size("N") * _widest(network) * np.dtype(dtype).itemsize
    return max(LEAST_STEPS, BLOCK_BYTES // one_step)


def samples_at_once(network: Network, dtype: str) -> int:
    """Return how many samples to run together, so that they take a few MiB."""
    sizes = [
        math.prod(network.count(dim) for dim in shapes.at_step[1:])
        for shapes in network.node_shapes
    ]
    steps = LEAST_STEPS
    if not network.runs_in_blocks:
        steps = max(map(network.step_count, network.node_shapes))
    one_sample = steps * sum(sizes) * np.dtype(dtype).itemsize
    return max(32, min(network.size("N"), SAMPLES_BYTES // one_sample))


def _widest(network: Network) -> int:
    return max(network.count(shapes.at_step[-1]) for shapes in network.node_shapes)


def run(
    network: Network,
    weights: Weights,
    blocks: Iterable[Sequence[Array]],
    dtype: str = "float64",
    *,
    gates: bool = False,
    initial: States | None = None,
    unsupported: Mapping[str, Sequence[Array]] | None = None,
    masks: Mapping[str, Array] | None = None,
    ops: NumpyOps = _OPS,
) -> Iterator[Block]:
    """Compute all layers block by block; only one block is in memory.

    Args:
        network: The network.
        weights: Its weights.
        blocks: Blocks of input in time order, (N, B, D) for each input of the network. A network
            that does not run in blocks takes a single one.
        dtype: The dtype of the computation.
        gates: Whether to store the gates.
        initial: The states before the first step, by recurrence, (N, M); zeros if missing.
        unsupported: The outputs of unsupported layers, by node, (N, …).
        masks: Which steps of these count, by node, (N, T).
        ops: The interpreter of each step.
    """
    bound = bind_all(network.groups, weights, dtype)
    states: States = initial or {}
    counted: dict[str, Array] = {}
    start = 0
    for xs in blocks:
        pending = iter(xs)
        values: list[NodeValue] = []
        scans: dict[str, Scan] = {}
        for position, node in enumerate(network.nodes):
            if isinstance(node.layer, Input):
                value = _input_value(node.layer, next(pending), dtype)
            elif node.layer.declared_shapes is not None:
                outputs = (unsupported or {})[node.name]
                value = _unsupported_value(outputs, dtype, (masks or {}).get(node.name))
            elif isinstance(node.layer, RecurrentLayer):
                node_scans = _scan_node(network, node, values, bound, states, ops, gates=gates)
                scans |= node_scans
                at_steps = recurrence_outputs(node, node_scans, counted)
                states_of = {name: each.states for name, each in node_scans.items()}
                value = join_directions(_OPS, node, at_steps, values, states_of)
            else:
                mask = output_mask(node, values)
                shapes = network.node_shapes[position]
                value = apply_layer(_OPS, node, values, bound[node.group], mask, shapes)
            values.append(value)
        states = _final_states(network, scans)
        yield Block(start, tuple(values), scans, states)
        start += len(values[0].outputs[0])


def _input_value(layer: Input, x: Array, dtype: str) -> NodeValue:
    """Return an input (N, B, D), time-major and in the dtype of the computation."""
    turned = np.swapaxes(x, 0, 1) if layer.timed else x
    value = np.ascontiguousarray(turned, dtype=None if layer.integers else dtype)
    return NodeValue((value,), (value if layer.timed else None,), None)


def _unsupported_value(outputs: Sequence[Array], dtype: str, mask: Array | None) -> NodeValue:
    """Return the outputs (N, …) of an unsupported layer as the value of its node."""
    arrays = [np.asarray(output, dtype=dtype) for output in outputs]
    arrays = [np.swapaxes(array, 0, 1) if array.ndim > 2 else array for array in arrays]
    at_steps = tuple(array if array.ndim > 2 else None for array in arrays)
    return NodeValue(tuple(arrays), at_steps, swap_mask(mask), len(arrays))


def swap_mask(mask: Array | None) -> Array | None:
    """Exchange samples and time in a mask (N, T, …) or (T, N, …); return None for None."""
    return None if mask is None else np.swapaxes(mask, 0, 1)


def source_mask(values: Sequence[NodeValue], tap: Tap) -> Array | None:
    """Return which steps of an output count, (B, N); None if all do."""
    value = values[tap.node]
    return value.mask if tap.output < value.joined else None


def output_mask(node: Node, values: Sequence[NodeValue]) -> Array | None:
    """Return which steps of a node's output count, (B, N)."""
    inputs = [values[tap.node].outputs[tap.output] for tap in node.sources]
    masks = [source_mask(values, tap) for tap in node.sources]
    mask: Array | None = node.layer.mask(inputs, masks)
    return mask


def apply_layer(
    ops: Any,
    node: Node,
    values: Sequence[NodeValue],
    w: Any,
    mask: Array | None,
    shapes: NodeShapes,
) -> NodeValue:
    """Return the output of a layer without recurrence.

    Args:
        ops: The interpreter: of arrays, or of bounded numbers.
        node: The call of the layer.
        values: The values of the nodes before it, by position.
        w: Its weights.
        mask: Which steps of its output count.
        shapes: The symbolic shapes of its output.

    Raises:
        InputError: The layer does not fit a T that the model leaves open.
    """
    layer = node.layer
    inputs = [values[tap.node].outputs[tap.output] for tap in node.sources]
    before = [source_mask(values, tap) for tap in node.sources]
    if not layer.stepwise:
        samples_first = [ops.swap_time(x) if ops.rank(x) > 2 else x for x in inputs]
        masks = Masks(before, mask).map(swap_mask)
        result = _call(ops, layer, samples_first, w, masks)
        results = result if isinstance(result, tuple) else (result,)
        outputs = tuple(ops.swap_time(x) if ops.rank(x) > 2 else x for x in results)
        return NodeValue(outputs, tuple(x if ops.rank(x) > 2 else None for x in outputs), mask)
    if layer.last_step:
        x = inputs[0]
        return NodeValue((ops.rearrange(x, lambda part: part[-1]),), (x,), mask)
    masks = Masks(before, mask)
    output = _call_stepwise(ops, layer, inputs, w, masks)
    if shapes.steps is None or not shapes.final:
        return NodeValue((output,), (None if shapes.steps is None else output,), mask)
    each = [values[tap.node].at_steps[tap.output] for tap in node.sources]
    each = [x if e is None else e for e, x in zip(each, inputs, strict=True)]
    same = all(a is b for a, b in zip(each, inputs, strict=True))
    at_steps = output if same else _call_stepwise(ops, layer, each, w, masks)
    return NodeValue((output,), (at_steps,), mask)


def _call(ops: Any, layer: Layer, inputs: Sequence[Any], w: Any, masks: Masks) -> Any:
    """Call a layer. Raises InputError if it does not fit a T that the model leaves open."""
    try:
        return layer.call(ops, inputs, w, masks)
    except InputError:
        raise
    except ValueError as error:  # of NumPy
        reason = " ".join(str(error).split())[:100]
        raise InputError(
            f"layer {layer.name!r} does not fit these sizes ({reason}); "
            "give an x, or a T, that the model takes"
        ) from None


def _call_stepwise(ops: Any, layer: Layer, inputs: Sequence[Any], w: Any, masks: Masks) -> Any:
    """Call a stepwise layer on all steps at once.

    One product of (B·N, M) is faster than B products of (N, M).
    """
    x = inputs[0]
    if len(inputs) > 1 or masks.any or ops.rank(x) != 3:
        return _call(ops, layer, inputs, w, masks)
    output = _call(ops, layer, [ops.rearrange(x, flat_steps)], w, masks)
    shape = ops.shape(x)[:2]
    return ops.rearrange(output, lambda part: part.reshape(*shape, *part.shape[1:]))


def _scan_node(
    network: Network,
    node: Node,
    values: Sequence[NodeValue],
    bound: Mapping[str, SimpleNamespace],
    states: States,
    ops: NumpyOps,
    *,
    gates: bool,
) -> dict[str, Scan]:
    """Scan the recurrences of a node over a block."""
    tap = node.sources[0]
    source = values[tap.node]
    x = source.outputs[tap.output]
    initial = iter([values[t.node].outputs[t.output] for t in node.initial])
    scans = {}
    for name, direction in node.scans:
        before = states.get(name)
        if before is None:
            zeros = {
                key: np.zeros((x.shape[1], width), x.dtype)
                for key, width in network.widths[name].items()
            }
            before = {key: next(initial, zero) for key, zero in zeros.items()}
        w = bound[direction.name]
        mask = None if node.mask_dropped else direction.counted_steps(source_mask(values, tap))
        scans[name] = scan(direction, x, before, w, mask, gates=gates, ops=ops)
    return scans


def scan(
    direction: Direction,
    x: Array,
    initial: Mapping[str, Array],
    w: SimpleNamespace,
    mask: Array | None,
    *,
    gates: bool,
    ops: NumpyOps,
) -> Scan:
    """Compute all states of a recurrence over a block.

    Args:
        direction: The recurrence.
        x: Its input, (B, N, D).
        initial: The states before the first step, (N, M), or (1, M) for all samples.
        w: Its weights.
        mask: Which steps count, (B, N); None if all do.
        gates: Whether to store the gates.
        ops: The interpreter of each step.
    """
    cell = direction.cell
    initial = state = {
        key: np.broadcast_to(np.asarray(values, x.dtype), (x.shape[1], values.shape[-1]))
        for key, values in initial.items()
    }
    states = {key: np.empty((len(x), *v.shape), x.dtype) for key, v in state.items()}
    shapes = {}
    if gates:
        sizes = dict(zip(cell.states.values(), state.values(), strict=True))
        shapes = {gate: sizes[dim].shape for gate, dim in cell.gates.items()}
    gate_values = {gate: np.empty((len(x), *shape), x.dtype) for gate, shape in shapes.items()}
    with np.errstate(over="ignore"):
        for times, projected in _projections(direction, x, w):
            for t, xz in zip(times, projected, strict=True):
                if t in direction.restarts:
                    state = initial
                step = cell.step(ops, xz, state, w)
                if mask is None:
                    state = step.states
                else:
                    masked = direction.states_after_masked(state, step.states)
                    state = _where(mask[t], step.states, masked)
                for key, values in states.items():
                    values[t] = state[key]
                for key, values in gate_values.items():
                    values[t] = step.gates[key]
            progress.advance(len(times) * x.shape[1])
    if mask is not None:
        for values in gate_values.values():
            values[~mask] = np.nan
    return Scan(states, gate_values, mask, initial)


def _projections(
    direction: Direction, x: Array, w: SimpleNamespace
) -> Iterator[tuple[range, Array]]:
    """Yield time steps in processing order, several at once, with x_t Wx + bh for each."""
    size = max(1, 4 * BLOCK_BYTES // (x[0].nbytes or 1))
    starts = range(0, len(x), size)
    for start in reversed(starts) if direction.reverse else starts:
        part = x[start : start + size]
        flat = direction.cell.project(_OPS, flat_steps(part), w)
        projected = flat.reshape(*part.shape[:2], -1)
        times = range(start, start + len(part))
        yield (times[::-1], projected[::-1]) if direction.reverse else (times, projected)


def _where(
    mask: Array, counted: Mapping[str, Array], masked: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the states after a step: of samples where it counts, and of those it is masked in."""
    return {key: np.where(mask[:, None], counted[key], masked[key]) for key in counted}


def processing_order(direction: Direction) -> slice:
    """Return the slice that puts time steps into the order in which a recurrence takes them."""
    return slice(None, None, -1 if direction.reverse else 1)


def states_before(
    direction: Direction,
    states: Mapping[str, Array],
    initial: Mapping[str, Array],
    mask: Array | None = None,
    *,
    time_axis: int = 1,
) -> dict[str, Array]:
    """Return the states from which each step starts, in the shape of ``states``.

    Args:
        direction: The recurrence.
        states: The states after each step, (N, T, M), indexed by input time step.
        initial: The states before the first step, (N, M); zeros for a missing state.
        mask: Which steps count, (N, T); others pass the states on. None if all do, or if the
            states of the others are repeated already.
        time_axis: The axis of T.
    """
    before = {}
    for key, after in repeat_masked(direction, states, initial, mask).items():
        zeros = np.zeros_like(after.take(0, time_axis))
        first = np.broadcast_to(initial.get(key, zeros), zeros.shape)
        first = np.expand_dims(first, time_axis)
        steps: list[slice] = [slice(None)] * after.ndim
        steps[time_axis] = slice(1, None) if direction.reverse else slice(None, -1)
        moved = after[tuple(steps)]
        joined = [moved, first] if direction.reverse else [first, moved]
        before[key] = np.concatenate(joined, axis=time_axis)
        for step in direction.restarts:
            steps[time_axis] = slice(step, step + 1)
            before[key][tuple(steps)] = first
    return before


def repeat_masked(
    direction: Direction,
    states: Mapping[str, Array],
    initial: Mapping[str, Array],
    mask: Array | None,
) -> dict[str, Array]:
    """Return states (N, T, M) in which a masked step repeats the last step that counts.

    ``mask`` (N, T) is False where a step does not count. Before the first that counts, the
    ``initial`` states (N, M) are repeated, zeros for a missing state.
    """
    if mask is None:
        return dict(states)
    order = processing_order(direction)
    counted = np.where(mask[:, order], np.arange(mask.shape[1]), -1)
    last = np.maximum.accumulate(counted, axis=1)[..., None]
    repeated = {}
    for key, values in states.items():
        first = initial.get(key, np.zeros_like(values[:, 0]))
        steps = np.take_along_axis(values[:, order], np.maximum(last, 0), axis=1)
        repeated[key] = np.where(last < 0, first[:, None], steps)[:, order]
    return repeated


def recurrence_outputs(
    node: Node, scans: Mapping[str, Scan], counted: dict[str, Array]
) -> dict[str, Array]:
    """Return the output of each recurrence at each step, (B, N, M).

    It is h, except for zeros at masked steps: at all of them with ``zero_output_for_mask``,
    otherwise before the first step that counts. Source:
    ``keras/src/backend/tensorflow/rnn.py``.

    Args:
        node: The call of a recurrent layer.
        scans: States and masks of its recurrences over a block.
        counted: Which samples (N,) had a step that counts before this block, by recurrence. It
            is updated.
    """
    outputs = {}
    layer = node.layer
    assert isinstance(layer, RecurrentLayer)
    for name, direction in node.scans:
        h, mask = scans[name].states[direction.cell.output_state], scans[name].mask
        nonzero = mask
        if mask is not None and not layer.zero_output_for_mask:
            order = processing_order(direction)
            nonzero = np.logical_or.accumulate(mask[order])[order]
            nonzero = nonzero | counted.get(name, False)
            counted[name] = nonzero[0 if direction.reverse else -1]
        zero = h.dtype.type(0)
        outputs[name] = h if nonzero is None else np.where(nonzero[..., None], h, zero)
    return outputs


def join_directions(
    ops: Any,
    node: Node,
    at_steps: Mapping[str, Any],
    values: Sequence[NodeValue],
    states: Mapping[str, Mapping[str, Any]],
) -> NodeValue:
    """Return the outputs of a recurrent layer from those of its directions.

    Args:
        ops: The interpreter: of arrays, or of bounded numbers.
        node: The call of the layer.
        at_steps: The output of each recurrence at each step, (B, N, M).
        values: The values of the nodes before it, by position.
        states: The states of each recurrence after each step, by name.
    """
    layer = node.layer
    assert isinstance(layer, RecurrentLayer)
    each = list(at_steps.values())
    ends = [0 if d.reverse else -1 for _, d in node.scans]
    if layer.return_sequences:
        turned = [
            ops.rearrange(e, lambda part: part[::-1]) if is_reversed else e
            for e, is_reversed in zip(each, layer.reversed_outputs, strict=True)
        ]
        outputs: tuple[Any, ...] = layer.join(ops, turned)
        joined: tuple[Any, ...] = outputs
    else:
        last = [ops.rearrange(e, lambda p, t=t: p[t]) for e, t in zip(each, ends, strict=True)]
        outputs, joined = layer.join(ops, last), layer.join(ops, each)
    masked = len(outputs)
    if layer.return_state:
        for (name, _), t in zip(node.scans, ends, strict=True):
            own = states[name].values()
            outputs = (*outputs, *(ops.rearrange(v, lambda p, t=t: p[t]) for v in own))
            joined = (*joined, *(None for _ in own))
    mask = source_mask(values, node.sources[0]) if layer.return_sequences else None
    return NodeValue(tuple(outputs), joined, mask, masked)


def _final_states(network: Network, scans: Mapping[str, Scan]) -> States:
    """Return the states after the last step of a block."""
    return {
        name: {k: v[0 if d.reverse else -1] for k, v in scans[name].states.items()}
        for node in network.recurrent
        for name, d in node.scans
    }


def flat_steps(values: Array) -> Array:
    """Return (B, N, D) as (B·N, D): one product of it is many times as fast as B of (N, D)."""
    return values.reshape(-1, values.shape[-1])


# --- Single steps ---------------------------------------------------------------------------------


def single_steps(
    direction: Direction,
    x: Array,
    states: Mapping[str, Array],
    w: SimpleNamespace,
    initial: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Compute one step in NumPy from the state before each step.

    Args:
        direction: The recurrence.
        x: Its input, (N, T, D).
        states: The states after each step, (N, T, M).
        w: Its weights.
        initial: The states before the first step, (N, M); zeros by default.

    Returns:
        The states one step after those before each step, (N, T, M).
    """
    n, t = x.shape[:2]
    before = _flat(states_before(direction, states, initial or {}))
    after = _single_steps(direction, x, before, w).states
    return {key: np.swapaxes(values.reshape(t, n, -1), 0, 1) for key, values in after.items()}


def outputs_of_states(
    direction: Direction, x: Array, states: Mapping[str, Array], w: SimpleNamespace
) -> Array:
    """Compute h of an LSTM from the c after each step, with the gate o of the same step.

    Args:
        direction: The recurrence, whose cell is an LSTM's.
        x: Its input, (N, T, D).
        states: The states after each step, (N, T, M).
        w: Its weights.

    Returns:
        h, (N, T, M).
    """
    cell: Any = direction.cell
    before = _flat(states_before(direction, states, {}))
    gates = _single_steps(direction, x, before, w).gates
    h = cell.output_of(_OPS, gates["o"], _flat(states)["c"], before["c"])
    return np.swapaxes(h.reshape(*x.shape[1::-1], -1), 0, 1)


def _flat(states: Mapping[str, Array]) -> dict[str, Array]:
    """Return states (N, T, M) as (T·N, M)."""
    return {key: flat_steps(np.swapaxes(values, 0, 1)) for key, values in states.items()}


def _single_steps(
    direction: Direction, x: Array, before: Mapping[str, Array], w: SimpleNamespace
) -> StepResult:
    """Compute every step at once, from the states before each, (T·N, M)."""
    flat_x = flat_steps(np.swapaxes(x, 0, 1))
    xz = direction.cell.project(_OPS, np.asarray(flat_x, np.float64), w)
    return direction.cell.step(_OPS, xz, dict(before), w)
