"""Replay in Keras of a run in NumPy, by single steps.

Keras's own cells and layers take the float64 states of the run in NumPy: one step from each state,
or one call on what precedes a layer. Keras needs no loop over time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from rnnshapes import reference
from rnnshapes.forward.scan import repeat_masked, states_before
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.reference.outputs import ModelOutputs, States

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
