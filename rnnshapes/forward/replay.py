"""What NumPy computes, in the form in which Keras's answers come, for Keras to repeat each step.

The states of the loop in NumPy, in float64, are handed to Keras's own cells and layers: one step
from each of them, or one call on what stands in front of a layer. A loop in Keras is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes import reference
from rnnshapes.forward import scan
from rnnshapes.forward.scan import Block, Carried, repeat_masked, states_before
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.network.structure import Engine
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.reference.outputs import STATES, ModelOutputs, States

_OPS = NumpyOps()
#: An array with its kind, the node or recurrence that it is of, and which part it is.
Labelled = tuple[tuple[str, str, str], Array]
#: Lets Keras repeat each step: from a network, weights, NumPy's answers, the states before each.
Step = Callable[[Network, Weights, ModelOutputs, States], ModelOutputs]
#: What stands in the place of Keras.
NUMPY = Engine(np.__version__, "numpy", np.__version__)


def computed(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    keras: ModelOutputs | None = None,
    ops: NumpyOps = _OPS,
) -> ModelOutputs:
    """Every value, state and output of the network, by the loop in NumPy, in float64.

    ``xs`` are the inputs (N, T, D). Of layers that are not derived the values are Keras's. Each
    step is computed with ``ops``.
    """
    samples = len(xs[0])
    size = network.batch or samples
    carried = kept_states(weights)
    parts: list[dict[tuple[str, ...], Array]] = []
    for start in range(0, samples, size):
        part = slice(start, start + size)
        block = _block(network, weights, [x[part] for x in xs], carried, keras, part, ops)
        named = chain(_named(network, block), _named_states(network, block, carried))
        parts.append(dict(named))
        carried = block.carried if network.batch else carried
    whole = {key: np.concatenate([made[key] for made in parts]) for key in parts[0]}
    return _sorted(network, whole)


def repeated(
    network: Network,
    weights: Weights,
    ours: ModelOutputs,
    dtype: str,
    step: Step = reference.repeat_steps,
) -> ModelOutputs:
    """What Keras makes of each state and each value that NumPy has found, in ``dtype``."""
    states = {name: _cast(found, dtype) for name, found in ours.states.items()}
    starts = {name: _cast(found, dtype) for name, found in ours.starts.items()}
    scans = [
        (name, direction, node) for node in network.recurrent for name, direction in node.scans
    ]
    masks = {name: _mask(network, node, ours) for name, _, node in scans}
    before = {
        name: states_before(direction, states[name], starts.get(name, {}), masks[name])
        for name, direction, _ in scans
    }
    values = {
        name: tuple(v if v.dtype.kind in "iu" else _in(dtype, v) for v in found)
        for name, found in ours.values.items()
    }
    given = replace(ours, values=values, states=states, starts=starts)
    found = step(network.with_dtype(dtype), weights, given, before)
    repeated = {
        name: repeat_masked(direction, found.states[name], {}, masks[name])
        for name, direction, _ in scans
    }
    return replace(found, states=repeated)


def one_step(
    direction: Direction, x: Array, states: Mapping[str, Array], w: SimpleNamespace
) -> dict[str, Array]:
    """One step in NumPy from each of these states (N, T, M), for x (N, T, D), from zeros."""
    n, t = x.shape[:2]
    before = states_before(direction, states, {})
    flat = {key: values.reshape(n * t, -1) for key, values in before.items()}
    xz = direction.cell.project(_OPS, np.asarray(x.reshape(n * t, -1), np.float64), w)
    made = direction.cell.step(_OPS, xz, flat, w)
    return {key: values.reshape(n, t, -1) for key, values in made.states.items()}


def _cast(found: Mapping[str, Array], dtype: str) -> dict[str, Array]:
    return {key: _in(dtype, values) for key, values in found.items()}


@np.errstate(over="ignore")  # judged later
def _in(dtype: str, values: Array) -> Array:
    return values.astype(dtype, copy=False)


def _mask(network: Network, node: Node, ours: ModelOutputs) -> Array | None:
    name = network.nodes[node.sources[0].node].name
    return None if node.mask_dropped else ours.masks.get(name)


def kept_states(weights: Weights) -> Carried:
    """The states that a stateful model holds, which stand beside its weights."""
    return {
        name.removeprefix(STATES): dict(found)
        for name, found in weights.items()
        if name.startswith(STATES)
    }


def _block(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    carried: Carried,
    keras: ModelOutputs | None,
    part: slice,
    ops: NumpyOps,
) -> Block:
    given, masks = {}, {}
    if keras is not None:
        given = {
            node.name: [v[part] for v in keras.values[node.name]] for node in network.unsupported
        }
        masks = {name: mask[part] for name, mask in keras.masks.items()}
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # judged later
        options: Any = {"initial": carried, "given": given, "masks": masks}
        (block,) = scan.run(network, weights, [xs], ops=ops, **options)
    return block


def _named(network: Network, block: Block) -> Iterator[Labelled]:
    """What the nodes yield in a block, samples first, under (kind, node, part)."""
    for node, value in zip(network.nodes, block.values, strict=True):
        timed = isinstance(node.layer, Input) and node.layer.timed
        for place, made in enumerate(value.outputs):
            turned = np.swapaxes(made, 0, 1) if timed or made.ndim > 2 else made
            yield ("value", node.name, str(place)), turned
        for place, known in enumerate(value.each):
            if known is not None:
                yield ("each", node.name, str(place)), np.swapaxes(known, 0, 1)
        if value.mask is not None:
            yield ("mask", node.name, ""), value.mask.T


def _named_states(network: Network, block: Block, carried: Carried) -> Iterator[Labelled]:
    """The states in a block, samples first, and those before it, under (kind, recurrence, key)."""
    for node in network.recurrent:
        starts = _starts(node, block, carried)
        for name, direction in node.scans:
            found = block.scans[name]
            shown = found.mask
            if shown is not None:
                order = slice(None, None, -1 if direction.reverse else 1)
                shown = np.logical_or.accumulate(shown[order])[order]
            for key, made in found.states.items():
                put_out = made if shown is None else np.where(shown[..., None], made, 0.0)
                yield ("state", name, key), np.swapaxes(put_out, 0, 1)
            for key, made in starts.get(name, {}).items():
                yield ("start", name, key), np.asarray(made)


def _starts(node: Node, block: Block, carried: Carried) -> dict[str, Mapping[str, Array]]:
    """The states from which the recurrences of a node start, where they are not zeros."""
    given = iter([block.values[tap.node].outputs[tap.output] for tap in node.initial])
    found: dict[str, Mapping[str, Array]] = {}
    for name, _ in node.scans:
        states = block.scans[name].states
        if name in carried:
            found[name] = carried[name]
        elif node.initial:
            found[name] = {key: next(given) for key in states}
        elif getattr(node.layer, "stateful", False):  # which has others in the next batch
            found[name] = {key: np.zeros_like(values[0]) for key, values in states.items()}
    return found


def _sorted(network: Network, whole: Mapping[tuple[str, ...], Array]) -> ModelOutputs:
    kinds: dict[str, dict[str, dict[str, Array]]] = {}
    for (kind, name, part), array in whole.items():
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
