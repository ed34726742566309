"""Whole runs of a network with a proven bound of each number, in any floating-point dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward.scan import NodeValue, apply_layer
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.weights import Weights, bind_all
from rnnshapes.ops.activations import FORMULAS
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.verification.bounds import compare, samples_first
from rnnshapes.verification.unrolled import bounded_run


class Run(NamedTuple):
    """The outputs of a network, samples first, and the states after each step, (T, N, M)."""

    outputs: tuple[Bounded, ...]
    states: Mapping[str, Mapping[str, Bounded]]


class RuntimeOps(BoundedOps):
    """The bounded interpreter for ONNX Runtime.

    Its RNN and LSTM compute tanh from exponentials, and sigmoid as a fraction of polynomials. Their
    error is some units in the last place of 1 where the result is close to 0. (Measured for 1.32:
    at most 3 such units.)
    """

    def activate(self, name: str, z: Bounded) -> Bounded:
        if name in FORMULAS:  # silu has the runtime's sigmoid
            formula: Bounded = FORMULAS[name](self.activate, z)
            return formula
        result = super().activate(name, z)
        more = 4 * z.precision.unit_roundoff if name in ("tanh", "sigmoid") else 0.0
        return result.widened(more) if more else result


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def run(
    network: Network,
    weights: Weights,
    xs: Sequence[np.ndarray],
    dtype: str,
    ops: BoundedOps | None = None,
) -> Run:
    """Run a network without masks and initial states; the bounds are those of ``dtype``.

    Raises:
        ValueError: A recurrent layer has a mask or initial states.
    """
    precision, pending, ops = PRECISIONS[dtype], iter(xs), ops or BoundedOps()
    exact = {
        group: SimpleNamespace(**{k: Bounded.exact(v, precision) for k, v in vars(w).items()})
        for group, w in bind_all(network.groups, weights, "float64").items()
    }
    values: list[Any] = []
    states: dict[str, dict[str, Bounded]] = {}
    for node, shapes in zip(network.nodes, network.node_shapes, strict=True):
        if isinstance(node.layer, Input):
            x = next(pending)
            x = np.swapaxes(x, 0, 1) if node.layer.timed else x
            bounded: Any = Bounded.exact(x, precision)
            value = NodeValue((bounded,), (bounded if node.layer.timed else None,), None)
        elif isinstance(node.layer, RecurrentLayer):
            tap = node.sources[0]
            if node.initial or values[tap.node].mask is not None:
                raise ValueError(f"{node.name} has a mask or initial states")
            x = values[tap.node].outputs[tap.output]
            value, own = bounded_run(network, node, x, weights, ops)
            states |= own
        else:
            sources = [values[tap.node] for tap in node.sources]
            mask = node.layer.mask([s.outputs[0] for s in sources], [s.mask for s in sources])
            if mask is not None:
                raise ValueError(f"{node.name} makes a mask")
            value = apply_layer(ops, node, values, exact[node.group], None, shapes)
        values.append(value)
    outputs = [samples_first(values[tap.node].outputs[tap.output]) for tap in network.outputs]
    return Run(tuple(outputs), states)


def ratio(actual: np.ndarray, expected: Bounded) -> tuple[float, int]:
    """Return the largest difference / bound, and how many numbers were compared.

    Numbers whose bound is infinite, because they may have overflowed, are not.
    """
    residual, _ = compare(actual, expected, np.ones(actual.shape[: max(1, actual.ndim - 1)], bool))
    return residual.ratio, residual.compared


def largest(checks: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """Return the largest ratio of several checks, and how many numbers all of them compared."""
    ratios, counts = zip(*checks, strict=True)
    return float(np.max(ratios)), sum(counts)
