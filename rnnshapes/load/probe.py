"""Probe: a short x after which the numbers of a port identify every weight, gate and activation.

The first sample is zeros: its first step shows biases and activations. Each of the next begins
with one feature alone, which shows a row of the kernel, and a step of zeros, which h drives. All
other steps are random numbers of several magnitudes, or zeros. With h given (and c of an LSTM),
each unit then has 8 equations for each weight of a gate, and the rows [x_t, h_{t-1}, 1] are far
from dependent.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rnnshapes.load.inputs import ArrayInput, InputSources, RandomInput, random_inputs
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.core import Input
from rnnshapes.ops.activations import Array

#: Time steps where the network leaves them open.
STEPS = 10
#: Equations for each weight of a gate.
_EQUATIONS = 8
#: Magnitudes of steps. Larger ones saturate gates, whose weights then change nothing.
_MAGNITUDES = np.array([0.5, 1.0, 1.5, 3.0])
#: Magnitudes of an input without time, which may be a state.
_STATE_MAGNITUDES = np.array([0.25, 0.5, 1.0])
#: Numbers are multiples of this, so that few digits hold them.
_UNIT = 1 / 16
#: The share of steps that are zeros.
_ZEROS = 0.15
#: Features that are shown alone, at most.
_MOST_ALONE = 1024


def with_probe_samples(network: Network) -> Network:
    """Return a network with as many samples as its probe needs, in whole batches."""
    batch = network.batch or 1
    sizes = {**dict(network.declared_sizes), "N": -(-_samples(network) // batch) * batch}
    return replace(network, declared_sizes=tuple(sizes.items()))


def probe_inputs(network: Network, seed: int) -> InputSources:
    """Return the inputs of a probe, the same for the same network and seed."""
    sources = []
    for index, (node, source) in enumerate(
        zip(network.inputs, random_inputs(network, seed), strict=True)
    ):
        assert isinstance(node.layer, Input)
        assert isinstance(source, RandomInput)
        rng = np.random.default_rng([seed, index])
        n, *rest = source.shape
        if source.words is not None:
            x = _words(rng, source.shape, source.words)
        elif node.layer.timed:
            steps, *features = rest
            x = _sequences(rng, n, steps, int(np.prod(features)))
        else:
            x = _vectors(rng, n, int(np.prod(rest)))
        sources.append(ArrayInput(x.reshape(source.shape), f"probe, seed {seed}"))
    return tuple(sources)


def _samples(network: Network) -> int:
    """Return how many samples give each unit enough equations."""
    needed = [2]
    for node in network.recurrent:
        steps = network.steps_of(node)
        needed += [
            -(-_EQUATIONS * _weights(network, direction) // steps) for _, direction in node.scans
        ]
    for node, source in zip(network.inputs, random_inputs(network, 0), strict=True):
        assert isinstance(node.layer, Input)
        assert isinstance(source, RandomInput)
        _, *rest = source.shape
        if source.words is not None:
            needed.append(-(-source.words // int(np.prod(rest))))
        else:
            features = int(np.prod(rest[node.layer.timed :]))
            needed.append(2 + min(features, _MOST_ALONE))
    return max(needed)


def _weights(network: Network, direction: Direction) -> int:
    """Return how many weights a gate of one unit has: of x, of h, and its bias."""
    cells = direction.cell.cells_by_suffix.values()
    units = sum(network.count(cell.units) for cell in cells)
    return network.count(direction.features) + units + 1


def _sequences(rng: np.random.Generator, samples: int, steps: int, features: int) -> Array:
    """Return sequences (N, T, D)."""
    sizes = rng.choice(_MAGNITUDES, (samples, steps, 1))
    x: Array = _rounded(rng.standard_normal((samples, steps, features)) * sizes)
    x[rng.random((samples, steps)) < _ZEROS] = 0
    alone = min(features, _MOST_ALONE)
    x[: alone + 1, :2] = 0
    x[np.arange(1, alone + 1), 0, np.arange(alone)] = np.resize(_MAGNITUDES, alone)
    return x


def _vectors(rng: np.random.Generator, samples: int, features: int) -> Array:
    """Return vectors (N, D): zeros, each feature alone, then all together."""
    sizes = rng.choice(_STATE_MAGNITUDES, (samples, 1))
    x: Array = _rounded(rng.standard_normal((samples, features)) * sizes)
    alone = min(features, _MOST_ALONE)
    x[: alone + 1] = 0
    x[np.arange(1, alone + 1), np.arange(alone)] = np.resize(_STATE_MAGNITUDES, alone)
    return x


def _words(rng: np.random.Generator, shape: tuple[int, ...], words: int) -> Array:
    """Return indices in which each word is, if there is room."""
    count = int(np.prod(shape))
    each = [rng.permutation(words) for _ in range(-(-count // words))]
    return np.concatenate(each)[:count].reshape(shape)


def _rounded(values: Array) -> Array:
    return np.round(values / _UNIT) * _UNIT
