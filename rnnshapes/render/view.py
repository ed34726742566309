"""Selection of the parts of a result that a person sees; files for programs hold all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnshapes.errors import InputError
from rnnshapes.render.document import PAGE

#: What ``inspect --view`` chooses from.
INSPECT_PARTS = {
    "summary": "every weight, its gates, and the equations (default)",
    "flow": "data flow, unrolled over time",
    "weights": "weights drawn to scale",
    "steps": "the shape of every tensor at one time step, with multiply-adds",
    "gates": "rows and columns of each gate in each weight",
    "values": "range, norm and NaN count of each weight, by gate",
    "all": "all of these",
}
#: What ``trace --view`` chooses from.
TRACE_PARTS = {
    "summary": "one step in full, and y_hat at each step (default)",
    "flow": "y_hat, states and gates drawn over time",
    "numbers": "every number with eight digits",
    "all": "all of these",
}
#: What ``verify --view`` chooses from.
VERIFY_PARTS = {
    "summary": "the verdict, and the checks of each layer in one row (default)",
    "numbers": "every check in a row of its own",
    "all": "all of these",
}


@dataclass(frozen=True)
class View:
    """A sample and its time steps, and which parts of the document are shown.

    Attributes:
        sample: The number of the sample.
        start: The first time step; None for that of the sequence.
        end: The step after the last one; None for the end of the sequence.
        abridged: Whether the middle of a long table is left out, as on a terminal. What goes into
            a file is not cut, except in a picture of a terminal.
        parts: The names of the parts that are shown, as in ``--view``.
        show: The quantities of a trace that stand in tables; None for all that it has.
        embedded: Whether a plot stands on a page, whose heading names the network, and not alone
            as a slide.
        width: Width of the text in characters.
    """

    sample: int = 0
    start: int | None = None
    end: int | None = None
    abridged: bool = False
    parts: frozenset[str] = frozenset({"summary"})
    show: tuple[str, ...] | None = None
    embedded: bool = False
    width: int = PAGE

    def has(self, part: str) -> bool:
        """Tell whether a part is shown."""
        return part in self.parts or "all" in self.parts

    @property
    def has_step_range(self) -> bool:
        """Whether the user asked for particular steps."""
        return self.start is not None or self.end is not None


def parse_parts(text: str, known: Mapping[str, str]) -> frozenset[str]:
    """Return the parts that ``--view`` names, such as ``flow,weights``.

    Args:
        text: The names, joined by commas.
        known: The parts of this command by name.

    Raises:
        InputError: A name is not among ``known``.
    """
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in known:
            raise InputError(f"--view {text}: unknown view {part!r}; use {', '.join(known)}")
    return frozenset(parts)
