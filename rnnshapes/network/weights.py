"""The numbers in a network's weights: drawn from a seed, or taken from a model."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array

#: Arrays by the group that owns them and by key in the equation: ``weights["lstm"]["Wx"]``.
Weights = Mapping[str, Mapping[str, Array]]


def draw(network: Network, seed: int) -> Weights:
    """Random weights in the network's dtype, the same for the same seed and sizes.

    Matrices have the variance that keeps activations alive (Glorot and Bengio, 2010); biases
    are not zero, as Keras would start them, so that a lost bias shows.
    """
    rng = np.random.default_rng(streams(seed)[0])
    return {
        name: {weight.key: _draw(rng, network, weight) for weight in group}
        for layer in network.layers
        for name, group in layer.groups.items()
    }


def streams(seed: int, more: int = 0) -> list[np.random.SeedSequence]:
    """Independent streams of random numbers: for weights, and for the input ``more``."""
    found = np.random.SeedSequence(seed).spawn(2 + more)
    return [found[0], found[1 + more]]


def bind(group: str, weights: Weights, dtype: str) -> SimpleNamespace:
    """A group of weights as the attributes that its equation uses, in ``dtype``."""
    return SimpleNamespace(
        **{key: np.asarray(array, dtype=dtype) for key, array in weights.get(group, {}).items()}
    )


def _draw(rng: np.random.Generator, network: Network, weight: Weight) -> Array:
    shape = tuple(network.count(dim) for dim in weight.dims)
    scale = np.sqrt(2 / sum(shape)) if len(shape) > 1 else 0.1
    numbers = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    return numbers.astype(network.dtype, copy=False)
