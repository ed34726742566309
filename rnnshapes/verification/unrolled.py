"""Unrolled check: Keras's own recurrent layers on a few steps, against the unrolled equations.

The residuals prove one step at a time. This check proves how a layer joins its steps: the
states start from zeros, the steps are taken in the right direction, the right ones are returned,
and both directions are joined. The error bound grows from step to step; only float64 leaves it
small enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from rnnshapes.forward.scan import NodeValue, join_directions
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import MISMATCH, compare, samples_first
from rnnshapes.verification.residuals import LayerResidual

#: How many steps are unrolled.
STEPS = 8
_OPS = BoundedOps()
_FLOAT64 = PRECISIONS["float64"]


def unrolled_residuals(
    network: Network,
    weights: Weights,
    keras: ModelOutputs,
    called: Mapping[str, tuple[Array, ...]],
    steps: int,
) -> Iterator[LayerResidual]:
    """Compare each output of Keras's recurrent layers with the unrolled equations.

    Layers with a mask, an initial state or ``stateful`` are left out.

    Args:
        network: The network.
        weights: Its weights.
        keras: Keras's own numbers, of which the layers receive the first ``steps``. They are
            exact: the rounding of the layers before is no part of the bound.
        called: What Keras's layers return for these, by node.
        steps: How many steps are unrolled.
    """
    for node in network.recurrent:
        tap = node.sources[0]
        source = network.nodes[tap.node].name
        if node.initial or node.keeps_states or keras.masks.get(source) is not None:
            continue
        x = keras.values[source][tap.output][:, :steps]
        time_major = Bounded.exact(np.swapaxes(x, 0, 1), _FLOAT64)
        value, _ = bounded_run(network, node, time_major, weights)
        expected = [samples_first(part) for part in value.outputs]
        actual = called.get(node.name, ())
        if [part.shape for part in actual] != [_OPS.shape(part) for part in expected]:
            mismatch = replace(MISMATCH, precision="float64")
            yield LayerResidual(node.name, "unrolled", mismatch)
            continue
        for number, (one, other) in enumerate(zip(actual, expected, strict=True)):
            residual, _ = compare(one, other, np.ones(one.shape[: one.ndim - 1], dtype=bool))
            quantity = "unrolled" if number == 0 else f"unrolled {number}"
            yield LayerResidual(node.name, quantity, replace(residual, precision="float64"))


@np.errstate(over="ignore", invalid="ignore")  # compare sees inf and NaN
def bounded_run(
    network: Network, node: Node, x: Bounded, weights: Weights, ops: BoundedOps = _OPS
) -> tuple[NodeValue, dict[str, dict[str, Bounded]]]:
    """Run a recurrent layer from states of zeros, with bounds that grow from step to step.

    Args:
        network: The network.
        node: The call of the layer, without mask and initial state.
        x: Its input (T, N, D), of which the precision is that of the computation.
        weights: The weights of the network.
        ops: The interpreter of each step.

    Returns:
        The outputs of the layer, and the states after each step, (T, N, M), by recurrence and
        name, indexed by input time step.
    """
    states = {
        name: _states(direction, x, network.widths[name], weights, ops)
        for name, direction in node.scans
    }
    outputs = {name: states[name][d.cell.output_state] for name, d in node.scans}
    values = {node.sources[0].node: NodeValue((), (), None)}
    return join_directions(ops, node, outputs, values, states), states  # type: ignore[arg-type]


def _states(
    direction: Direction,
    x: Bounded,
    widths: Mapping[str, int],
    weights: Weights,
    ops: BoundedOps,
) -> dict[str, Bounded]:
    """Return the states after each step from zeros, (T, N, M), indexed by input time step."""
    bound, p = vars(bind(direction.name, weights, "float64")), x.precision
    w = SimpleNamespace(**{key: Bounded.exact(v, p) for key, v in bound.items()})
    steps, samples = ops.shape(x)[:2]
    state = {key: Bounded.exact(np.zeros((samples, width)), p) for key, width in widths.items()}
    after: dict[int, dict[str, Bounded]] = {}
    for t in range(steps)[:: -1 if direction.reverse else 1]:
        xz = direction.cell.project(ops, Bounded(x.value[t], x.error[t], p), w)
        state = direction.cell.step(ops, xz, state, w).states
        after[t] = state
    return {key: _stack([after[t][key] for t in range(steps)]) for key in widths}


def _stack(steps: Sequence[Bounded]) -> Bounded:
    values, errors = zip(*((step.value, step.error) for step in steps), strict=True)
    return Bounded(np.stack(values), np.stack(errors), steps[0].precision)
