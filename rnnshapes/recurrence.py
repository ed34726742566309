"""The loop over time: a network's equations read over arrays, a block of steps at a time.

Everything inside is time-major, (B, N, M) for a block of B steps, so that each step works on
one contiguous (N, M). x_t Wx + bh of a whole block is one product.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from rnnshapes.algebra.arrays import Array, ArrayOps
from rnnshapes.layers import Layer, Recurrent
from rnnshapes.network import Network
from rnnshapes.weights import Weights, bind

#: About how many bytes the projected inputs of one block take: they stay in the cache.
BLOCK_BYTES = 2**18

_OPS = ArrayOps()


@dataclass(frozen=True, eq=False)
class Block:
    """What B time steps from ``start`` on yield.

    ``states[layer name][state]`` and ``gates[layer name][gate]`` are (B, N, M), ``output`` is
    the last layer's, (B, N, K).
    """

    start: int
    states: Mapping[str, Mapping[str, Array]]
    gates: Mapping[str, Mapping[str, Array]]
    output: Array


def block_steps(network: Network, dtype: str) -> int:
    """How many time steps make a block."""
    widest = max(network.count(dim) for lay in network.layers for dim in (lay.features, lay.units))
    one_step = network.known("N") * widest * np.dtype(dtype).itemsize
    return max(1, BLOCK_BYTES // one_step)


def run(
    network: Network,
    weights: Weights,
    blocks: Iterable[Array],
    dtype: str = "float64",
    *,
    gates: bool = False,
) -> Iterator[Block]:
    """Feed blocks of input, (N, B, D) in time order, through all layers.

    Every layer runs at every step, so ``output`` at t is y_hat_t. The gates are kept if asked
    for. Memory: one block.
    """
    bound = [(layer, bind(layer, weights, dtype)) for layer in network.layers]
    carried: dict[str, dict[str, Array]] = {}
    start = 0
    for x in blocks:
        values = np.ascontiguousarray(np.swapaxes(x, 0, 1), dtype=dtype)  # (B, N, D)
        scans: dict[str, Scan] = {}
        for layer, w in bound:
            if isinstance(layer, Recurrent):
                before = carried.get(layer.name) or _zeros(network, layer, values)
                scans[layer.name] = found = scan(layer, values, before, w, gates=gates)
                carried[layer.name] = {key: kept[-1] for key, kept in found.states.items()}
                values = found.states[layer.states[0]]
            else:
                output = layer.at_step(_OPS, _flat(values), {}, w).output
                values = _unflat(output, values)
        states = {name: found.states for name, found in scans.items()}
        yield Block(start, states, {name: found.gates for name, found in scans.items()}, values)
        start += len(values)


class Scan(NamedTuple):
    """States and gates of one layer over a block, each (B, N, M)."""

    states: dict[str, Array]
    gates: dict[str, Array]


def scan(
    layer: Recurrent,
    x: Array,
    state: dict[str, Array],
    w: SimpleNamespace,
    *,
    gates: bool = False,
) -> Scan:
    """All states over a block, x (B, N, D), and all gates if they are asked for."""
    projected = _unflat(layer.cell.project(_OPS, _flat(x), w), x)  # (B·N, D)·(D, M) → (B·N, M)
    like = state[layer.states[0]]
    kept = {key: np.empty((len(x), *like.shape), x.dtype) for key in layer.states}
    gated = {key: np.empty_like(kept[layer.states[0]]) for key in layer.cell.gates if gates}
    step = layer.cell.step
    with np.errstate(over="ignore"):
        for t, xz in enumerate(projected):
            made = step(_OPS, xz, state, w)
            state = made.states
            for key, values in kept.items():
                values[t] = state[key]
            for key, values in gated.items():
                values[t] = made.gates[key]
    return Scan(kept, gated)


def _zeros(network: Network, layer: Layer, like: Array) -> dict[str, Array]:
    """The state before the first step: zeros, (N, M)."""
    shape = (like.shape[1], network.count(layer.units))
    return {key: np.zeros(shape, like.dtype) for key in layer.states}


def _flat(values: Array) -> Array:
    # One product of (B·N, D) is many times as fast as B products of (N, D).
    return values.reshape(-1, values.shape[-1])


def _unflat(values: Array, like: Array) -> Array:
    return values.reshape(*like.shape[:2], -1)
