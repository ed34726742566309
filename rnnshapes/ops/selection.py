"""Indexing by integers, slices, ``...`` and None: which axes are left, and how long each is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rnnshapes.ops.dims import Dim, Shape

#: A slice that keeps a whole axis.
WHOLE = slice(None)


@dataclass(frozen=True)
class Selection:
    """``x[key]``; ``lengths`` holds, for each part of the key, the new length of a cut axis.

    Source: ``keras/src/ops/numpy.py``, ``GetItem``.
    """

    key: tuple[Any, ...]
    lengths: tuple[Dim | None, ...]

    def shape(self, shape: Shape) -> Shape:
        """Return the shape of ``x[key]`` for an ``x`` of this shape."""
        left, selected = list(shape), []
        for number, (part, length) in enumerate(zip(self.key, self.lengths, strict=True)):
            if part is Ellipsis:
                after = sum(other is not None for other in self.key[number + 1 :])
                count = len(left) - after
                selected += left[:count]
                left = left[count:]
            elif part is None:
                selected.append(Dim.of(1))
            else:
                size = left.pop(0)
                if isinstance(part, slice):
                    selected.append(size if length is None else length)
        return (*selected, *left)

    def __str__(self) -> str:
        """Return the key as Python code: ``[:, -1]``."""
        return f"[{', '.join(map(_part_text, self.key))}]"


def _part_text(part: Any) -> str:
    if part is Ellipsis:
        return "..."
    if not isinstance(part, slice):
        return str(part)
    start, stop, step = ("" if n is None else str(n) for n in (part.start, part.stop, part.step))
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"
