"""Weights of a network as arrays: random ones from a seed, and access by equation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes.cells.cell import Weight
from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.batched_weight import BatchedWeight

#: Arrays by the group that owns them and by key in the equation: ``weights["lstm"]["Wx"]``.
Weights = Mapping[str, Mapping[str, Array]]


def draw(network: Network, seed: int) -> Weights:
    """Draw random weights in the network's dtype, the same for the same seed and sizes.

    Matrices have the variance of Glorot and Bengio (2010). Biases are not zero, as Keras would
    initialize them, so that a missing bias shows.
    """
    rng = np.random.default_rng(streams(seed)[0])
    return {
        name: {weight.key: _draw(rng, network, weight) for weight in group}
        for layer in network.layers
        for name, group in layer.groups.items()
    }


def streams(seed: int, more: int = 0) -> list[np.random.SeedSequence]:
    """Return independent random streams: one for weights, one for input number ``more``."""
    spawned = np.random.SeedSequence(seed).spawn(2 + more)
    return [spawned[0], spawned[1 + more]]


def first_nan(network: Network, weights: Weights) -> str:
    """Return the name of the first array with a NaN; empty if there is none."""
    for layer in network.layers:
        for name, group in layer.groups.items():
            for weight in group:
                if np.isnan(weights[name][weight.key]).any():
                    return f"{name}/{weight.name}"
    return ""


def bind(group: str, weights: Weights, dtype: str) -> SimpleNamespace:
    """Return a group of weights as the attributes that its equation uses, in ``dtype``."""
    return bind_all([group], weights, dtype)[group]


def bind_all(groups: Iterable[str], weights: Weights, dtype: str) -> dict[str, SimpleNamespace]:
    """Return groups of weights as :func:`bind` does; an array that several have is copied once."""
    copies: dict[int, tuple[Array, Any]] = {}  # by id, beside the array, which keeps its id
    bound: dict[str, SimpleNamespace] = {}
    for group in groups:
        arrays: Mapping[str, Any] = weights.get(group, {})
        for array in arrays.values():
            if id(array) not in copies:
                is_batch = isinstance(array, BatchedWeight)
                copies[id(array)] = array, array if is_batch else np.asarray(array, dtype=dtype)
        bound[group] = SimpleNamespace(**{key: copies[id(a)][1] for key, a in arrays.items()})
    return bound


def _draw(rng: np.random.Generator, network: Network, weight: Weight) -> Array:
    shape = tuple(network.count(dim) for dim in weight.dims)
    scale = np.sqrt(2 / sum(shape)) if len(shape) > 1 else 0.1
    numbers = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    return numbers.astype(network.dtype, copy=False)
