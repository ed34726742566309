"""How ports are known to differ about the sequence: masks, time, samples, and their axes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.layers.normalization import Embedding, Masking
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Reading


def unmasked(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Steps that do not count are read like the others."""
    nodes = []
    for node in reading.network.nodes:
        layer: Any = node.layer
        if isinstance(layer, Masking):
            layer = replace(layer, value=np.nan)  # which no number is
        elif isinstance(layer, Embedding):
            layer = replace(layer, mask_zero=False)
        nodes.append(node if layer == node.layer else replace(node, layer=layer))
    if tuple(nodes) != reading.network.nodes:
        network = replace(reading.network, nodes=tuple(nodes))
        yield "masked steps are read like all others", replace(reading, network=network)


def times_of_x(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Time is read, or what belongs to it is put out, the other way round or a step apart."""
    timed = [i for i, node in enumerate(reading.network.inputs) if getattr(node.layer, "timed", 0)]
    if all(reading.xs[i].shape[1] == 1 for i in timed):
        return

    def with_x(change: Callable[[Array], Array]) -> tuple[Array, ...]:
        return tuple(change(x) if i in timed else x for i, x in enumerate(reading.xs))

    turned = replace(reading, xs=with_x(lambda x: x[:, ::-1]))
    yield "time is reversed: x is read from its last step", turned
    if any(claim.values.shape[1] > 1 for claim in reading.claims):
        claims = [
            replace(c, times=c.times[::-1]) if c.times is not None else c for c in reading.claims
        ]
        said = "time is reversed: x is read from its last step, and put out in the order of x"
        yield said, replace(turned, claims=tuple(claims))
        yield from _shifted(reading)
    yield (
        "x is one step late: the port reads x_{t-1} at t",
        replace(reading, xs=with_x(lambda x: np.concatenate([x[:, :1] * 0, x[:, :-1]], axis=1))),
    )
    yield (
        "x is one step early: the port reads x_{t+1} at t",
        replace(reading, xs=with_x(lambda x: np.concatenate([x[:, 1:], x[:, -1:] * 0], axis=1))),
    )
    yield from _other_ends(reading, turned)


def _other_ends(reading: Reading, turned: Reading) -> Iterator[tuple[str, Reading]]:
    """What the port puts out at the end belongs to another step."""
    last = [c for c in reading.claims if c.times is not None and len(c.times) == 1]
    if not last or len(last) < len(reading.claims) or not reading.network.causal:
        return
    if not all(c.times is not None and c.times[0] > 0 for c in last):
        return
    before = tuple(c.moved(slice(None), c.times - 1) for c in last if c.times is not None)
    first = tuple(c.moved(slice(None), c.times * 0) for c in last if c.times is not None)
    yield "the last step is left out", replace(reading, claims=before)
    yield "what is put out is that of the first step", replace(reading, claims=first)
    said = "time is reversed, and what is put out is that of the step that is read first"
    yield said, replace(turned, claims=first)


def _shifted(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """What the port puts out at t belongs to the step before or after."""
    for said, port, network in (
        ("what belongs to t - 1 is put out at t", slice(1, None), slice(None, -1)),
        ("what belongs to t + 1 is put out at t", slice(None, -1), slice(1, None)),
    ):
        claims = [
            c.moved(port, c.times[network])
            for c in reading.claims
            if c.times is not None and len(c.times) > 1
        ]
        if len(claims) == len(reading.claims):
            yield f"the output is shifted: {said}", replace(reading, claims=tuple(claims))


def carried_over(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Each sample starts from the states with which the one before has ended."""
    network, xs = reading.network, reading.xs
    if not network.streams or len(xs) != 1 or len(xs[0]) == 1:
        return
    n, t = xs[0].shape[:2]
    starts = np.arange(n)[:, None] * t
    claims = []
    for claim in reading.claims:
        if claim.times is None:
            return
        values, off = (part.reshape(1, -1, part.shape[2]) for part in (claim.values, claim.off))
        times = (starts + claim.times).reshape(-1)
        claims.append(replace(claim, values=values, off=off, times=times, steps=times))
    joined = xs[0].reshape(1, n * t, *xs[0].shape[2:])
    yield (
        "the state is carried over from one sample to the next",
        replace(reading, xs=(joined,), claims=tuple(claims)),
    )


def axes(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """The first two axes of x, or of what the port gives, are taken for each other."""
    x = reading.xs[0]
    timed = getattr(reading.network.inputs[0].layer, "timed", False)
    if len(reading.xs) != 1 or not timed or x.shape[0] == 1:
        return
    n, t = x.shape[:2]
    mixed = np.swapaxes(x.reshape(t, n, -1), 0, 1)
    said = "samples and time are exchanged: x (N, T, D) is read as if it were (T, N, D)"
    if x.shape[1] > 1:
        yield said, replace(reading, xs=(mixed.reshape(x.shape),))
    if n == t and all(c.times is not None and len(c.times) == t for c in reading.claims):
        claims = [
            replace(c, values=np.swapaxes(c.values, 0, 1), off=np.swapaxes(c.off, 0, 1))
            for c in reading.claims
        ]
        said = "samples and time are exchanged: the output is (T, N, …)"
        yield said, replace(reading, claims=tuple(claims))
    yield from _over_samples(reading)


def _over_samples(reading: Reading) -> Iterator[tuple[str, Reading]]:
    """The loop runs over axis 0 of x, and the steps are samples to it."""
    x = reading.xs[0]
    times = reading.claims[0].times if reading.claims else None
    if not reading.network.streams or len(reading.xs) != 1 or len(x) == 1 or times is None:
        return
    if not all(c.times is not None and np.array_equal(c.times, times) for c in reading.claims):
        return
    steps = np.arange(len(x))
    claims = tuple(
        replace(
            c,
            values=np.swapaxes(c.values, 0, 1),
            off=np.swapaxes(c.off, 0, 1),
            times=steps,
            steps=steps,
        )
        for c in reading.claims
    )
    said = "the loop runs over the samples, axis 0 of x, as PyTorch's does without batch_first"
    yield said, replace(reading, xs=(np.swapaxes(x[:, times], 0, 1),), claims=claims)
