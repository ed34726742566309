"""Whole run of a network in NumPy, in the form in which Keras's outputs come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from rnnshapes.forward import scan
from rnnshapes.forward.scan import Block, processing_order
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.core import Input
from rnnshapes.network.structure import Engine
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.outputs import STATES, ModelOutputs, States

_OPS = NumpyOps()
#: What an array is (``value``, ``state``), the node or recurrence it belongs to, and which part.
_Key = tuple[str, str, str]
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
        initial = states_that_stay(network, block)
    arrays = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return _model_outputs(network, arrays)


def stored_states(weights: Weights) -> States:
    """Return the states that a stateful model stores beside its weights."""
    return {
        name.removeprefix(STATES): dict(arrays)
        for name, arrays in weights.items()
        if name.startswith(STATES)
    }


def states_that_stay(network: Network, block: Block) -> States:
    """Return the final states of the recurrences that keep them: the next batch starts there."""
    return {
        name: block.final_states[name]
        for node in network.recurrent
        if node.keeps_states
        for name, _ in node.scans
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
        elif node.keeps_states:  # the next batch starts from others
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
