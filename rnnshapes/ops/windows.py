"""Windows that slide over an axis: how many there are, and which steps each holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnshapes.ops.dims import Dim

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: One axis, or several.
Axes = int | tuple[int, ...]
#: Beyond the ends of any axis; twice as many still fit into int64.
_FAR = 2**62


@dataclass(frozen=True)
class Window:
    """``size`` steps, ``dilation`` apart; the next window begins ``stride`` steps later.

    ``mode`` is ``valid``, ``same`` or ``causal``; ``steps`` is the number of windows, as a symbol
    where it depends on one, ``fill`` the value beyond the ends.
    Source: ``keras/src/ops/operation_utils.py``, ``compute_conv_output_shape``.
    """

    size: int
    stride: int
    mode: str
    steps: Dim
    dilation: int = 1
    fill: float = 0.0

    @property
    def span(self) -> int:
        """The number of steps from the first one of a window to the last."""
        return (self.size - 1) * self.dilation + 1

    def length(self, steps: int) -> int:
        """Return how many windows fit into ``steps``."""
        if self.mode == "valid":
            return (steps - self.span) // self.stride + 1
        return -(-steps // self.stride)

    def positions(self, steps: int) -> Array:
        """Return the steps of each window, (T', size); ``steps`` stands for all beyond the ends."""
        import numpy as np

        first = np.arange(self.length(steps))[:, None] * self.stride
        places = (n * self.dilation - self._before(steps) for n in range(self.size))
        found = first + np.array([min(max(place, -_FAR), _FAR) for place in places])
        return np.where((found >= 0) & (found < steps), found, steps)

    def _before(self, steps: int) -> int:
        """Return how many steps the first window begins before the first step."""
        if self.mode == "valid":
            return 0
        if self.mode == "causal":
            return self.span - 1
        return max(0, (self.length(steps) - 1) * self.stride + self.span - steps) // 2


def window_axes(windows: Sequence[Window]) -> tuple[int, ...]:
    """Return the axes inside windows that were cut along the axes from 1 on: 2, or 2 and 4."""
    return tuple(range(2, 2 * len(windows) + 1, 2))
