"""NaN and infinite numbers in the input: how many there are, and the first of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rnnshapes.forward.difference import Index, index_of
from rnnshapes.load.inputs import ArrayInput, InputSource, InputSources
from rnnshapes.ops.activations import Array


@dataclass(frozen=True)
class NonFinite:
    """How many numbers of the input are NaN or infinite, and the index of the first.

    ``too_large`` is the number at that index in x, if it is finite there, and ``dtype`` the
    dtype that cannot represent it.
    """

    count: int
    first: Index
    too_large: float | None
    dtype: str


class NonFiniteFinder:
    """Counts numbers that are not finite in the blocks of the first input."""

    def __init__(self) -> None:
        self.result: NonFinite | None = None

    def blocks(self, sources: InputSources, steps: int, samples: slice) -> Iterator[list[Array]]:
        """Yield the blocks of all inputs together, for some of the samples."""
        start = 0
        for blocks in zip(*(source.blocks(steps, samples) for source in sources), strict=True):
            self._count(blocks[0], start, samples.start, sources[0])
            yield list(blocks)
            start += blocks[0].shape[1] if blocks[0].ndim > 1 else 1

    def _count(self, block: Array, start: int, sample: int, source: InputSource) -> None:
        non_finite = ~np.isfinite(block)
        if non_finite.any():
            index = index_of(non_finite, int(np.argmax(non_finite)))
            first = Index(sample + index.sample, start + (index.t or 0), index.unit)
            before = self.result or NonFinite(0, first, *_too_large(source, first))
            self.result = replace(before, count=before.count + int(non_finite.sum()))


def _too_large(source: InputSource, first: Index) -> tuple[float | None, str]:
    """Return a finite number of x that Keras's dtype cannot represent, and that dtype."""
    if not isinstance(source, ArrayInput) or source.array.ndim != 3:
        return None, ""
    value = float(source.array[first.sample, first.t, first.unit])
    return (value, source.dtype) if math.isfinite(value) else (None, "")
