"""Replay of a run in NumPy by single steps, one from each of its states, in Keras or in NumPy.

Keras's own cells and layers take the float64 states of the run in NumPy: one step from each state,
or one call on what precedes a layer. Keras needs no loop over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes import reference
from rnnshapes.cells.cell import StepResult
from rnnshapes.forward.scan import flat_steps, repeat_masked, states_before
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.outputs import ModelOutputs, States

_OPS = NumpyOps()
#: Computes one step of each recurrence and one call of each layer in Keras. Takes a network, its
#: weights, the numbers of NumPy, and the states before each step.
KerasStep = Callable[[Network, Weights, ModelOutputs, States], ModelOutputs]


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
