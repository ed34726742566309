"""Which part of a result a person sees; files for programs hold all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: What ``inspect --view`` chooses from.
ViewBlocks = Literal["all", "flow", "tables"]


@dataclass(frozen=True)
class View:
    """A sample and its time steps, and which blocks of the document are shown.

    Attributes:
        sample: The number of the sample.
        start: The first time step; None for that of the sequence.
        end: The step after the last one; None for the end of the sequence.
        most_rows: How many time steps a table may have before its middle is left out; None for
            any number. What goes into a file is not cut, except in a picture of a terminal.
        blocks: Whether drawings (``flow``), ``tables`` or both are shown.
        show: The quantities of a trace that stand in tables; None for all that it has.
        titled: Whether a plot names the network; on a page, the heading does.
    """

    sample: int = 0
    start: int | None = None
    end: int | None = None
    most_rows: int | None = None
    blocks: ViewBlocks = "all"
    show: tuple[str, ...] | None = None
    titled: bool = True

    @property
    def has_step_range(self) -> bool:
        """Whether the user asked for particular steps."""
        return self.start is not None or self.end is not None
