"""The values of a model's weights in a few numbers: range, norm, NaN, spectral radius."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array

#: The largest matrix whose eigenvalues are computed, which takes time M³.
_MOST_UNITS = 1024


@dataclass(frozen=True)
class WeightValues:
    """The values of a weight, or of one of its gates.

    Attributes:
        name: Keras's name of the weight.
        symbol: Its symbol in the equations.
        gate: The gate; empty for a weight without gates.
        minimum: The smallest finite value; ``None`` if there is none.
        maximum: The largest finite value.
        mean: The mean of the finite values.
        norm: The Euclidean norm of the finite values.
        not_finite: How many values are NaN or infinite.
        spectral_radius: The largest absolute eigenvalue of a recurrent matrix (M, M); ``None`` for
            other weights, for values that are not finite, and above M = 1024.
    """

    name: str
    symbol: str
    gate: str
    minimum: float | None
    maximum: float | None
    mean: float | None
    norm: float | None
    not_finite: int
    spectral_radius: float | None


def summarize_weights(network: Network, weights: Weights) -> tuple[WeightValues, ...]:
    """Summarize the values of all supported layers, gate by gate, in float64."""
    return tuple(
        values
        for layer in network.layers
        if layer.declared_shapes is None
        for group, members in layer.groups.items()
        for weight in members
        for values in _summarize(
            weight, group, layer.index_of(group), np.asarray(weights[group][weight.key])
        )
    )


def _summarize(weight: Weight, group: str, index: str, array: Array) -> Iterator[WeightValues]:
    parts = [("", array)]
    if weight.gates:
        blocks = np.split(array, len(weight.gates), axis=-1)
        parts = list(zip(weight.gates, blocks, strict=True))
    for gate, part in parts:
        values = part.astype(np.float64).reshape(-1)
        finite = values[np.isfinite(values)]
        is_square = part.ndim == 2 and part.shape[0] == part.shape[1]
        is_recurrent = weight.name.endswith("recurrent_kernel") and is_square
        has_radius = is_recurrent and len(finite) == part.size and len(part) <= _MOST_UNITS
        yield WeightValues(
            name=f"{group}/{weight.name}",
            symbol=weight.key + index,
            gate=gate,
            minimum=float(finite.min()) if finite.size else None,
            maximum=float(finite.max()) if finite.size else None,
            mean=float(finite.mean()) if finite.size else None,
            norm=_norm(finite) if finite.size else None,
            not_finite=len(values) - len(finite),
            spectral_radius=_spectral_radius(part) if has_radius else None,
        )


def _norm(values: Array) -> float:
    """Return the Euclidean norm, also of values whose squares overflow."""
    largest = float(np.abs(values).max())
    return largest * float(np.linalg.norm(values / largest)) if largest else 0.0


def _spectral_radius(matrix: Array) -> float:
    return float(np.abs(np.linalg.eigvals(matrix.astype(np.float64))).max())
