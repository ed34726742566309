"""Weights as rectangles: their rows, columns and gates, and what is written beside them.

Both pictures of weights show this; ``text_art/weights.py`` and ``plots/weights.py`` choose a scale
and draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import NamedTuple

from rnnshapes.network.summary import Inspection, WeightReport
from rnnshapes.render.number_text import count_text, shapes_text


class GateColumns(NamedTuple):
    """The columns from ``start`` to before ``stop``, which belong to a gate."""

    name: str
    start: int
    stop: int


class WeightBlock(NamedTuple):
    """A weight as a rectangle; axes in front of the last one are folded into ``rows``.

    ``group`` is what it stands below: a layer, or one direction of a layer.
    """

    weight: WeightReport
    group: str
    rows: int
    columns: int

    @property
    def is_recurrent(self) -> bool:
        """Whether a state is multiplied with it."""
        return self.weight.name.endswith("recurrent_kernel")

    @property
    def gates(self) -> tuple[GateColumns, ...]:
        """Each gate with its columns, or all columns under no name."""
        last = len(self.weight.shape) - 1
        gates = tuple(
            GateColumns(gate.name, *gate.range) for gate in self.weight.gates if gate.axis == last
        )
        return gates or (GateColumns("", 0, self.columns),)

    @property
    def title(self) -> str:
        """``kernel Wx``: the name within the group, and the symbol."""
        return f"{self.weight.name.removeprefix(f'{self.group}/')} {self.weight.symbol}".rstrip()

    @property
    def shapes(self) -> str:
        """``(D, 4M) = (3, 20)``."""
        text = shapes_text(self.weight.dims, self.weight.shape)
        return f"{text}, as {count_text(self.rows)} rows" if len(self.weight.shape) > 2 else text


class WeightBlocks(NamedTuple):
    """The weights that are drawn, and how many are not."""

    blocks: tuple[WeightBlock, ...]
    omitted: int


def weight_blocks(result: Inspection, most: int, *, by_direction: bool) -> WeightBlocks:
    """Return the first ``most`` weights of known shape, in the order of the report.

    Args:
        result: The report on the weights.
        most: How many may be drawn.
        by_direction: Whether each direction of a layer is a group of its own.
    """
    weights = [weight for layer in result.layers for weight in layer.weights]
    known = [weight for weight in weights if None not in weight.shape]
    blocks = tuple(_block(weight, by_direction=by_direction) for weight in known[:most])
    return WeightBlocks(blocks, len(weights) - len(blocks))


def with_recurrence(blocks: Sequence[WeightBlock]) -> list[WeightBlock]:
    """Return the blocks of those groups that have a recurrent kernel."""
    groups = {block.group for block in blocks if block.is_recurrent}
    return [block for block in blocks if block.group in groups]


def side_by_side(
    blocks: Sequence[WeightBlock], width: Callable[[WeightBlock], float], room: float, gap: float
) -> Iterator[list[WeightBlock]]:
    """Yield rows of blocks: as many as fit, and each group begins a row.

    Args:
        blocks: The blocks in their order.
        width: How wide a block is with all that belongs to it, in the unit of the drawing.
        room: How wide a row may be.
        gap: The space between two blocks.
    """
    row: list[WeightBlock] = []
    used = 0.0
    for block in blocks:
        if row and (row[-1].group != block.group or used + width(block) > room):
            yield row
            row, used = [], 0.0
        row.append(block)
        used += width(block) + gap
    if row:
        yield row


def _block(weight: WeightReport, *, by_direction: bool) -> WeightBlock:
    """Return a weight as a rectangle; one without axes has a single number."""
    group = weight.name.rpartition("/")[0] if by_direction else weight.name.partition("/")[0]
    *front, last = (size or 0 for size in weight.shape or (1,))
    return WeightBlock(weight, group, prod(front), last)
