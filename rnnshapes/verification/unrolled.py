"""Keras's own recurrent layers on a few steps, against the equations over those steps.

One step after the other is proven elsewhere. This is how they are put together: that the states
start from zeros, in which direction the steps are read, what is handed out, and how both
directions are joined. The bound is carried from step to step, which only float64 leaves tight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from rnnshapes.forward import scan
from rnnshapes.forward.scan import Scan, Value
from rnnshapes.forward.tracing import Place
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import Finding, by_sample, compare
from rnnshapes.verification.residuals import Named

#: How many steps verify looks at.
STEPS = 8
_OPS = BoundedOps()
_FLOAT64 = PRECISIONS["float64"]


def findings(
    network: Network,
    weights: Weights,
    ours: ModelOutputs,
    called: Mapping[str, tuple[Array, ...]],
    steps: int,
) -> Iterator[Named]:
    """Each output of Keras's layers, ``called`` on the first ``steps``, against the equations.

    For recurrences that start from zeros and have no mask.
    """
    for node in network.recurrent:
        tap = node.sources[0]
        stateful = getattr(node.layer, "stateful", False)
        if node.initial or stateful or ours.masks.get(network.nodes[tap.node].name) is not None:
            continue
        x = ours.values[network.nodes[tap.node].name][tap.output][:, :steps]
        expected = [by_sample(part) for part in _expected(network, node, x, weights)]
        found = called.get(node.name, ())
        same = [part.shape for part in found] == [_OPS.shape(part) for part in expected]
        if not same:
            yield node.name, "wiring", Finding(np.inf, Place(0, None, 0), 1)
            continue
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            rows = np.ones(one.shape[: one.ndim - 1], dtype=bool)
            finding, _ = compare(one, other, rows)
            what = "wiring" if number == 0 else f"wiring {number}"
            yield node.name, what, replace(finding, precision="float64")


@np.errstate(over="ignore", invalid="ignore")  # judged by compare
def _expected(network: Network, node: Node, x: Array, weights: Weights) -> tuple[Bounded, ...]:
    """What the layer hands out, from x (N, B, D)."""
    fed = Bounded.exact(np.swapaxes(x, 0, 1), _FLOAT64)
    states = {
        name: _states(direction, fed, network.widths[name], weights)
        for name, direction in node.scans
    }
    emitted = {name: states[name][d.cell.output_state] for name, d in node.scans}
    scans = {name: Scan(found, {}, None) for name, found in states.items()}  # type: ignore[arg-type]
    values = {node.sources[0].node: Value((), (), None)}
    made = scan.joined(_OPS, node, emitted, values, scans)  # type: ignore[arg-type]
    return made.outputs  # type: ignore[return-value]


def _states(
    direction: Direction, x: Bounded, widths: Mapping[str, int], weights: Weights
) -> dict[str, Bounded]:
    """The states after each step, (B, N, M) by the time of x, from zeros on."""
    bound = vars(bind(direction.name, weights, "float64"))
    w = SimpleNamespace(**{key: Bounded.exact(v, _FLOAT64) for key, v in bound.items()})
    steps, samples = _OPS.shape(x)[:2]
    state = {
        key: Bounded.exact(np.zeros((samples, width)), _FLOAT64) for key, width in widths.items()
    }
    after: dict[int, dict[str, Bounded]] = {}
    for t in range(steps)[:: -1 if direction.reverse else 1]:
        x_t = Bounded(x.value[t], x.error[t], _FLOAT64)
        xz = direction.cell.project(_OPS, x_t, w)
        state = direction.cell.step(_OPS, xz, state, w).states
        after[t] = state
    return {key: _stacked([after[t][key] for t in range(steps)]) for key in widths}


def _stacked(parts: list[Bounded]) -> Bounded:
    values, errors = zip(*((part.value, part.error) for part in parts), strict=True)
    return Bounded(np.stack(values), np.stack(errors), _FLOAT64)
