"""Weights of several networks of one structure, to compute these at once as one large batch.

The samples of the networks stand one behind the other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from rnnshapes.network.graph import Network
from rnnshapes.network.layers.core import Dense
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.batched_weight import BatchedWeight

#: So many numbers are computed at once.
_MOST_NUMBERS = 2**21


def batched_groups(network: Network) -> set[str]:
    """Return the groups whose weights may differ between networks that are computed at once."""
    groups = {d.name for node in network.recurrent for _, d in node.scans}
    for node, shapes in zip(network.nodes, network.node_shapes, strict=True):
        if isinstance(node.layer, Dense) and len(shapes.at_step) == 2:
            groups.add(node.group)
    return groups


def networks_at_once(network: Network, weights: Weights, xs: Sequence[Array]) -> int:
    """Return how many networks are computed at once, so that their numbers fit into the cache."""
    if network.batch:
        return 1
    numbers = sum(a.size for g in batched_groups(network) for a in weights.get(g, {}).values())
    widths = [width for states in network.widths.values() for width in states.values()]
    rows = max((x.shape[0] * x.shape[1] for x in xs if x.ndim > 1), default=1)
    numbers += rows * sum(widths) + sum(x.size for x in xs)
    return max(1, _MOST_NUMBERS // numbers)


def batched_weights(network: Network, several: Sequence[Weights], rows: int) -> Weights:
    """Return the weights of several networks, batched where they differ.

    Args:
        network: Their structure.
        several: The weights of each; other groups than :func:`batched_groups` are all the same.
        rows: How many samples each network has.
    """
    first = several[0]
    batched = dict(first)
    for group in batched_groups(network) & set(first):
        arrays: dict[str, Array] = {}
        for key, array in first[group].items():
            every = [np.asarray(weights[group][key], np.float64) for weights in several]
            shared = [list(same) for _, same in itertools.groupby(every, key=id)]
            if len(shared) == 1 and shared[0][0] is array:
                arrays[key] = array
            else:
                values = np.stack([same[0] for same in shared])
                counts = tuple(map(len, shared))
                arrays[key] = BatchedWeight(values, counts, rows)  # type: ignore[assignment]
        batched[group] = arrays
    return batched
