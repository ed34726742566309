"""Run the NumPy forward pass, and let Keras replay each of its steps.

Keras's own cells and layers take the float64 states of the run in NumPy: one step from each state,
or one call on what precedes a layer. Keras needs no loop over time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes import reference
from rnnshapes.cells.cell import StepResult
from rnnshapes.forward import scan
from rnnshapes.forward.scan import (
    Block,
    flat_steps,
    processing_order,
    repeat_masked,
    states_before,
)
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.structure import Engine
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.outputs import STATES, ModelOutputs, States

_OPS = NumpyOps()
#: What an array is (``value``, ``state``), the node or recurrence it belongs to, and which part.
_Key = tuple[str, str, str]
#: Computes one step of each recurrence and one call of each layer in Keras. Takes a network, its
#: weights, the numbers of NumPy, and the states before each step.
KerasStep = Callable[[Network, Weights, ModelOutputs, States], ModelOutputs]
#: The engine of the outputs that NumPy computes.
NUMPY = Engine(np.__version__, "numpy", np.__version__)


def numpy_outputs(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    keras: ModelOutputs | None = None,
    ops: NumpyOps = _OPS,
) -> ModelOutputs:
    """Compute every value, state and output of the network in NumPy, in float64.

    Args:
        network: The network.
        weights: Its weights.
        xs: Its inputs, (N, T, D).
        keras: What Keras computed; the outputs of unsupported layers are taken from it.
        ops: The interpreter of each step.
    """
    samples = len(xs[0])
    size = network.batch or samples
    initial = stored_states(weights)
    batches: list[dict[_Key, Array]] = []
    for start in range(0, samples, size):
        batch = slice(start, start + size)
        block = _run_batch(network, weights, [x[batch] for x in xs], initial, keras, batch, ops)
        batches.append(
            dict(chain(_node_arrays(network, block), _state_arrays(network, block, initial)))
        )
        initial = block.final_states if network.batch else initial
    arrays = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return _model_outputs(network, arrays)


def keras_replay(
    network: Network,
    weights: Weights,
    ours: ModelOutputs,
    dtype: str,
    step: KerasStep = reference.repeat_steps,
) -> ModelOutputs:
    """Let Keras compute, in ``dtype``, one step or one call from each number of NumPy."""
    states = {name: _cast(arrays, dtype) for name, arrays in ours.states.items()}
    starts = {name: _cast(arrays, dtype) for name, arrays in ours.starts.items()}
    recurrences = [(*scan, node) for node in network.recurrent for scan in node.scans]
    masks = {name: _input_mask(network, node, ours) for name, _, node in recurrences}
    before = {
        name: states_before(direction, states[name], starts.get(name, {}), masks[name])
        for name, direction, _ in recurrences
    }
    values = {
        name: tuple(v if v.dtype.kind in "iu" else _cast_array(v, dtype) for v in outputs)
        for name, outputs in ours.values.items()
    }
    cast = replace(ours, values=values, states=states, starts=starts)
    outputs = step(network.with_dtype(dtype), weights, cast, before)
    repeated = {
        name: repeat_masked(direction, outputs.states[name], {}, masks[name])
        for name, direction, _ in recurrences
    }
    return replace(outputs, states=repeated)


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
    return np.swapaxes(cell.project_output(h, w).reshape(*x.shape[1::-1], -1), 0, 1)


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


def stored_states(weights: Weights) -> States:
    """Return the states that a stateful model stores beside its weights."""
    return {
        name.removeprefix(STATES): dict(arrays)
        for name, arrays in weights.items()
        if name.startswith(STATES)
    }


def unsupported_outputs(
    network: Network, keras: ModelOutputs | None, batch: slice
) -> tuple[dict[str, list[Array]], dict[str, Array]]:
    """Return what Keras computed of unsupported layers, for some samples.

    Returns:
        The outputs of unsupported layers, and all masks, by node.
    """
    if keras is None:
        return {}, {}
    outputs = {
        node.name: [values[batch] for values in keras.values[node.name]]
        for node in network.unsupported
    }
    return outputs, {name: mask[batch] for name, mask in keras.masks.items()}


def _cast(arrays: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    return {key: _cast_array(values, dtype) for key, values in arrays.items()}


@np.errstate(over="ignore")  # the comparison sees infinite numbers
def _cast_array(values: Array, dtype: str) -> Array:
    return values.astype(dtype, copy=False)


def _input_mask(network: Network, node: Node, ours: ModelOutputs) -> Array | None:
    """Return which steps of the input of a recurrent layer count, (N, T)."""
    tap = node.sources[0]
    has_none = node.mask_dropped or tap.output >= network.node_shapes[tap.node].joined
    return None if has_none else ours.masks.get(network.nodes[tap.node].name)


def _run_batch(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    initial: States,
    keras: ModelOutputs | None,
    batch: slice,
    ops: NumpyOps,
) -> Block:
    """Compute some of the samples, all time steps in one block."""
    unsupported, masks = unsupported_outputs(network, keras, batch)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the comparison sees them
        (block,) = scan.run(
            network,
            weights,
            [xs],
            initial=initial,
            unsupported=unsupported,
            masks=masks,
            ops=ops,
        )
    return block


def _node_arrays(network: Network, block: Block) -> Iterator[tuple[_Key, Array]]:
    """Yield the outputs and masks of the nodes in a block, samples first."""
    for node, value in zip(network.nodes, block.values, strict=True):
        timed = isinstance(node.layer, Input) and node.layer.timed
        for number, output in enumerate(value.outputs):
            turned = np.swapaxes(output, 0, 1) if timed or output.ndim > 2 else output
            yield ("value", node.name, str(number)), turned
        for number, at_steps in enumerate(value.at_steps):
            if at_steps is not None:
                yield ("each", node.name, str(number)), np.swapaxes(at_steps, 0, 1)
        if value.mask is not None:
            yield ("mask", node.name, ""), np.swapaxes(value.mask, 0, 1)


def _state_arrays(network: Network, block: Block, initial: States) -> Iterator[tuple[_Key, Array]]:
    """Yield the states of the recurrences in a block and those before it, samples first."""
    for node in network.recurrent:
        starts = _initial_states(node, block, initial)
        for name, direction in node.scans:
            # Keras returns zeros before the first step that counts, also for other initial states
            nonzero = block.scans[name].mask if name in starts else None
            if nonzero is not None:
                order = processing_order(direction)
                nonzero = np.logical_or.accumulate(nonzero[order])[order]
            for key, values in block.scans[name].states.items():
                shown = values if nonzero is None else np.where(nonzero[..., None], values, 0.0)
                yield ("state", name, key), np.swapaxes(shown, 0, 1)
            for key, values in starts.get(name, {}).items():
                yield ("start", name, key), np.asarray(values)


def _initial_states(node: Node, block: Block, initial: States) -> States:
    """Return the states from which the recurrences of a node start, where they are not zeros."""
    sources = iter([block.values[tap.node].outputs[tap.output] for tap in node.initial])
    starts: dict[str, Mapping[str, Array]] = {}
    for name, _ in node.scans:
        states = block.scans[name].states
        if name in initial:
            starts[name] = initial[name]
        elif node.initial:
            starts[name] = {key: next(sources) for key in states}
        elif getattr(node.layer, "stateful", False):  # the next batch starts from others
            starts[name] = {key: np.zeros_like(values[0]) for key, values in states.items()}
    return starts


def _model_outputs(network: Network, arrays: Mapping[_Key, Array]) -> ModelOutputs:
    """Return arrays in the form in which those of Keras come."""
    kinds: dict[str, dict[str, dict[str, Array]]] = {}
    for (kind, name, part), array in arrays.items():
        kinds.setdefault(kind, {}).setdefault(name, {})[part] = array
    values = {name: tuple(parts.values()) for name, parts in kinds["value"].items()}
    names = [network.nodes[tap.node].name for tap in network.outputs]
    outputs = [values[name][tap.output] for name, tap in zip(names, network.outputs, strict=True)]
    return ModelOutputs(
        engine=NUMPY,
        values=values,
        each={name: tuple(parts.values()) for name, parts in kinds.get("each", {}).items()},
        states=kinds.get("state", {}),
        starts=kinds.get("start", {}),
        masks={name: parts[""] for name, parts in kinds.get("mask", {}).items()},
        outputs=tuple(outputs),
    )
