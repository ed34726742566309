"""The numbers in a network's weights: drawn from a seed, or taken from a model."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np

from rnnshapes.algebra.arrays import Array
from rnnshapes.layers import Layer
from rnnshapes.network import Network

#: Arrays by layer name and by key in the equation: ``weights["simple_rnn"]["Wx"]``.
Weights = Mapping[str, Mapping[str, Array]]


def draw(network: Network, seed: int) -> Weights:
    """Random weights in the network's dtype, the same for the same seed and sizes.

    Matrices have the variance that keeps activations alive (Glorot and Bengio, 2010); biases
    are not zero, as Keras would start them, so that a lost bias shows.
    """
    rng = np.random.default_rng(streams(seed)[0])
    return {
        layer.name: {w.key: _draw(rng, network, layer, w.key) for w in layer.weights}
        for layer in network.layers
    }


def streams(seed: int) -> list[np.random.SeedSequence]:
    """Independent streams of random numbers for weights and input."""
    return np.random.SeedSequence(seed).spawn(2)


def bind(layer: Layer, weights: Weights, dtype: str) -> SimpleNamespace:
    """A layer's weights as the attributes that its equation uses, in ``dtype``."""
    return SimpleNamespace(
        **{key: np.asarray(array, dtype=dtype) for key, array in weights[layer.name].items()}
    )


def _draw(rng: np.random.Generator, network: Network, layer: Layer, key: str) -> Array:
    dims = next(w.dims for w in layer.weights if w.key == key)
    shape = tuple(network.count(dim) for dim in dims)
    scale = np.sqrt(2 / sum(shape)) if len(shape) > 1 else 0.1
    numbers = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    return numbers.astype(network.dtype, copy=False)
