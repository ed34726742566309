"""The loop over time: a network's equations read over arrays, a block of steps at a time.

What has a time axis is time-major inside, (B, N, M) for a block of B steps, so that each step
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
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction, Layer, Masks
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.symbolic import NodeShapes
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps

#: About how many bytes the projected inputs of one block take: they stay in the cache.
BLOCK_BYTES = 2**18
#: And at least how many steps: each block has a cost of its own.
LEAST_STEPS = 8

#: About how many bytes the samples take that are run together.
SAMPLES_BYTES = 2**27

_OPS = NumpyOps()
#: The states of each recurrence, by its name and the state's: (N, M).
Carried = Mapping[str, Mapping[str, Array]]


class Value(NamedTuple):
    """What a node yields.

    ``outputs`` are its own, sequences as (B, N, F). ``each`` are the same at each step,
    (B, N, F), where they are known there. ``mask`` (B, N) says which steps count.
    """

    outputs: tuple[Array, ...]
    each: tuple[Array | None, ...]
    mask: Array | None


class Scan(NamedTuple):
    """States and gates of one recurrence over a block, each (B, N, M), by the time of x.

    A masked step has the states of the one before, and NaN for gates. ``start`` are the states
    before the first step that is read, (N, M).
    """

    states: dict[str, Array]
    gates: dict[str, Array]
    mask: Array | None
    start: Mapping[str, Array] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Block:
    """What B time steps from ``start`` on yield, by position of the node and by recurrence.

    ``carried`` are the states after the last step that was read.
    """

    start: int
    values: tuple[Value, ...]
    scans: Mapping[str, Scan]
    carried: Carried


def block_steps(network: Network, dtype: str) -> int:
    """How many time steps make a block: all of them where they cannot be cut."""
    if not network.runs_in_blocks:
        return 2**62
    one_step = network.size("N") * _widest(network) * np.dtype(dtype).itemsize
    return max(LEAST_STEPS, BLOCK_BYTES // one_step)


def samples_at_once(network: Network, dtype: str) -> int:
    """How many samples are run together: all of them, where what they take fits into a few MiB."""
    sizes = [
        math.prod(network.count(dim) for dim in flow.at_step[1:]) for flow in network.node_shapes
    ]
    steps = (
        LEAST_STEPS
        if network.runs_in_blocks
        else max(map(network.step_count, network.node_shapes), default=1)
    )
    one_sample = steps * sum(sizes) * np.dtype(dtype).itemsize
    return max(32, min(network.size("N"), SAMPLES_BYTES // one_sample))


def _widest(network: Network) -> int:
    dims = {flow.at_step[-1] for flow in network.node_shapes}
    dims |= {d.cell.output for node in network.recurrent for _, d in node.scans}
    return max(network.count(dim) for dim in dims)


def run(
    network: Network,
    weights: Weights,
    blocks: Iterable[Sequence[Array]],
    dtype: str = "float64",
    *,
    gates: bool = False,
    initial: Carried | None = None,
    given: Mapping[str, Sequence[Array]] | None = None,
    masks: Mapping[str, Array] | None = None,
    ops: NumpyOps = _OPS,
) -> Iterator[Block]:
    """Feed blocks of input through all layers: (N, B, D) for each input of the network.

    The blocks are in time order; a network that does not stream takes a single one. The gates
    are kept if asked for. ``initial`` are the states to start from, zeros where there are none;
    ``given`` holds what layers yield that are not derived, (N, …), ``masks`` (N, T) which steps
    of it count, and ``ops`` what each step is computed with.
    Memory: one block.
    """
    bound = {name: bind(name, weights, dtype) for name in network.groups}
    carried: Carried = initial or {}
    started: dict[str, Array] = {}
    start = 0
    for xs in blocks:
        pending = iter(xs)
        values: list[Value] = []
        scans: dict[str, Scan] = {}
        for position, node in enumerate(network.nodes):
            if isinstance(node.layer, Input):
                value = _entered(node.layer, next(pending), dtype)
            elif node.layer.declared_shapes is not None:
                value = known((given or {})[node.name], dtype, (masks or {}).get(node.name))
            elif isinstance(node.layer, RecurrentLayer):
                found = _recur(network, node, values, bound, carried, ops, gates=gates)
                scans |= found
                value = joined(_OPS, node, emissions(node, found, started), values, found)
            else:
                after = mask_of(node, values)
                flow = network.node_shapes[position]
                value = apply(_OPS, node, values, bound[node.group], after, flow)
            values.append(value)
        carried = _after(network, scans)
        yield Block(start, tuple(values), scans, carried)
        start += len(values[0].outputs[0])


def _entered(layer: Input, x: Array, dtype: str) -> Value:
    """An input (N, B, D), time-major and in the dtype of the computation."""
    turned = np.swapaxes(x, 0, 1) if layer.timed else x
    value = np.ascontiguousarray(turned, dtype=None if layer.integers else dtype)
    return Value((value,), (value if layer.timed else None,), None)


def known(outputs: Sequence[Array], dtype: str, mask: Array | None) -> Value:
    """Outputs that are given, (N, …), as a node's value."""
    found = [np.asarray(v, dtype=dtype) for v in outputs]
    found = [np.swapaxes(v, 0, 1) if v.ndim > 2 else v for v in found]
    each = tuple(v if v.ndim > 2 else None for v in found)
    return Value(tuple(found), each, None if mask is None else mask.T)


def mask_of(node: Node, values: Sequence[Value]) -> Array | None:
    """Which steps of the node's output count, (B, N)."""
    inputs = [values[tap.node].outputs[tap.output] for tap in node.sources]
    made: Array | None = node.layer.mask(inputs, [values[tap.node].mask for tap in node.sources])
    return made


def apply(
    ops: Any, node: Node, values: Sequence[Value], w: Any, after: Array | None, flow: NodeShapes
) -> Value:
    """What a layer without recurrence yields, from arrays or from bounded numbers.

    ``after`` is the mask of its output, ``flow`` tells whether it has time steps.
    """
    layer = node.layer
    sources = [values[tap.node] for tap in node.sources]
    inputs = [values[tap.node].outputs[tap.output] for tap in node.sources]
    masks = Masks(sources[0].mask, after)
    if not layer.stepwise:
        turned = [ops.swap_time(x) if ops.rank(x) > 2 else x for x in inputs]
        before = None if masks.before is None else masks.before.T
        made = layer.call(ops, turned, w, Masks(before, after))
        made = ops.swap_time(made) if ops.rank(made) > 2 else made
        return Value((made,), (None if flow.steps is None else made,), after)
    made = _called(ops, layer, inputs, w, masks)
    if flow.steps is None or not flow.final:
        return Value((made,), (None if flow.steps is None else made,), after)
    found = [values[tap.node].each[tap.output] for tap in node.sources]
    each = [x if e is None else e for e, x in zip(found, inputs, strict=True)]
    same = all(a is b for a, b in zip(each, inputs, strict=True))
    at_steps = made if same else _called(ops, layer, each, w, masks)
    return Value((made,), (at_steps,), after)


def _called(ops: Any, layer: Layer, inputs: Sequence[Any], w: Any, masks: Masks) -> Any:
    """A stepwise layer at all steps: one product of (B·N, M) is faster than B of (N, M)."""
    x = inputs[0]
    if len(inputs) > 1 or masks.after is not None or ops.rank(x) != 3:
        return layer.call(ops, inputs, w, masks)
    made = layer.call(ops, [ops.rearrange(x, _flat)], w, masks)
    shape = ops.shape(x)[:2]
    return ops.rearrange(made, lambda part: part.reshape(*shape, -1))


def _recur(
    network: Network,
    node: Node,
    values: Sequence[Value],
    bound: Mapping[str, SimpleNamespace],
    carried: Carried,
    ops: NumpyOps,
    *,
    gates: bool,
) -> dict[str, Scan]:
    """The recurrences of a node over a block."""
    source, tap = values[node.sources[0].node], node.sources[0]
    x = source.outputs[tap.output]
    initial = iter([values[t.node].outputs[t.output] for t in node.initial])
    found = {}
    for name, direction in node.scans:
        before = carried.get(name)
        if before is None:
            zeros = {
                key: np.zeros((x.shape[1], width), x.dtype)
                for key, width in network.widths[name].items()
            }
            before = {key: next(initial, zero) for key, zero in zeros.items()}
        w = bound[direction.name]
        mask = None if node.mask_dropped else source.mask
        found[name] = scan(direction, x, before, w, mask, gates=gates, ops=ops)
    return found


def scan(
    direction: Direction,
    x: Array,
    state: Mapping[str, Array],
    w: SimpleNamespace,
    mask: Array | None = None,
    *,
    gates: bool = False,
    ops: NumpyOps = _OPS,
) -> Scan:
    """All states over a block, x (B, N, D), and all gates if they are asked for."""
    cell = direction.cell
    start = state = {key: np.asarray(values, x.dtype) for key, values in state.items()}
    kept = {key: np.empty((len(x), *v.shape), x.dtype) for key, v in state.items()}
    widths = {}
    if gates:
        sizes = dict(zip(cell.states.values(), state.values(), strict=True))
        widths = {gate: sizes[dim].shape for gate, dim in cell.gates.items()}
    gated = {gate: np.empty((len(x), *shape), x.dtype) for gate, shape in widths.items()}
    with np.errstate(over="ignore"):
        for times, projected in _projected(direction, x, w):
            for t, xz in zip(times, projected, strict=True):
                made = cell.step(ops, xz, state, w)
                state = made.states if mask is None else _held(mask[t], made.states, state)
                for key, values in kept.items():
                    values[t] = state[key]
                for key, values in gated.items():
                    values[t] = made.gates[key]
            progress.advance(len(times) * x.shape[1])
    if mask is not None:
        for values in gated.values():
            values[~mask] = np.nan
    return Scan(kept, gated, mask, start)


def _projected(direction: Direction, x: Array, w: SimpleNamespace) -> Iterator[tuple[range, Array]]:
    """x_t Wx + bh for some t at once, in the order in which the steps are read."""
    size = max(1, 4 * BLOCK_BYTES // (x[0].nbytes or 1))
    starts = range(0, len(x), size)
    for start in reversed(starts) if direction.reverse else starts:
        part = x[start : start + size]
        projected = _unflat(direction.cell.project(_OPS, _flat(part), w), part)
        times = range(start, start + len(part))
        yield (times[::-1], projected[::-1]) if direction.reverse else (times, projected)


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
        first = initial.get(key)
        first = np.zeros_like(after.take(0, time_axis)) if first is None else first
        first = np.expand_dims(first, time_axis)
        steps: list[slice] = [slice(None)] * after.ndim
        steps[time_axis] = slice(1, None) if direction.reverse else slice(None, -1)
        moved = after[tuple(steps)]
        joined = [moved, first] if direction.reverse else [first, moved]
        before[key] = np.concatenate(joined, axis=time_axis)
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


def _held(mask: Array, after: Mapping[str, Array], before: Mapping[str, Array]) -> dict[str, Array]:
    """The states after a step that only some samples take."""
    return {key: np.where(mask[:, None], after[key], before[key]) for key in after}


def emissions(node: Node, scans: Mapping[str, Scan], started: dict[str, Array]) -> dict[str, Array]:
    """What each recurrence puts out at each step, (B, N, M): its h, where no mask says other.

    ``started`` says which samples had a step that counts before this block, and is brought up
    to date. Source: ``keras/src/backend/tensorflow/rnn.py``.
    """
    found = {}
    layer = node.layer
    assert isinstance(layer, RecurrentLayer)
    for name, direction in node.scans:
        h, mask = scans[name].states[direction.cell.output_state], scans[name].mask
        shown = mask
        if mask is not None and not layer.zero_output_for_mask:
            order = slice(None, None, -1 if direction.reverse else 1)
            shown = np.logical_or.accumulate(mask[order])[order]
            shown = shown | started.get(name, False)
            started[name] = shown[0 if direction.reverse else -1]
        found[name] = h if shown is None else np.where(shown[..., None], h, h.dtype.type(0))
    return found


def joined(
    ops: Any,
    node: Node,
    emitted: Mapping[str, Any],
    values: Sequence[Value],
    scans: Mapping[str, Scan],
) -> Value:
    """The outputs of a layer with a recurrence, from what its directions put out."""
    layer = node.layer
    assert isinstance(layer, RecurrentLayer)
    each = list(emitted.values())
    ends = [0 if d.reverse else -1 for _, d in node.scans]
    if layer.return_sequences:
        turned = [
            ops.rearrange(e, lambda part: part[::-1]) if flip else e
            for e, flip in zip(each, layer.reversed_outputs, strict=True)
        ]
        at_step: tuple[Any, ...] = layer.join(ops, turned)
        outputs = at_step
    else:
        last = [ops.rearrange(e, lambda p, t=t: p[t]) for e, t in zip(each, ends, strict=True)]
        outputs = layer.join(ops, last)
        at_step = layer.join(ops, each)
    if layer.return_state:
        for (name, _), t in zip(node.scans, ends, strict=True):
            found = scans[name].states.values()
            outputs = (*outputs, *(ops.rearrange(v, lambda p, t=t: p[t]) for v in found))
            at_step = (*at_step, *(None for _ in found))
    mask = values[node.sources[0].node].mask if layer.return_sequences else None
    return Value(tuple(outputs), at_step, mask)


def _after(network: Network, scans: Mapping[str, Scan]) -> Carried:
    """The states after the last step that was read."""
    return {
        name: {k: v[0 if d.reverse else -1] for k, v in scans[name].states.items()}
        for node in network.recurrent
        for name, d in node.scans
    }


def _flat(values: Array) -> Array:
    # One product of (B·N, D) is many times as fast as B products of (N, D).
    return values.reshape(-1, values.shape[-1])


def _unflat(values: Array, like: Array) -> Array:
    return values.reshape(*like.shape[:2], -1)
