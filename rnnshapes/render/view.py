"""Which part of a result a person sees; files for programs hold all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rnnshapes.errors import InputError

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


def parse_view(samples: int, time_steps: int, sample: int, steps: str | None) -> View:
    """Return the view that ``--sample`` and ``--steps a:b`` ask for.

    Args:
        samples: How many samples there are.
        time_steps: How many time steps there are.
        sample: The number of the sample.
        steps: The steps as a slice in Python: ``0:5``, ``-5:``; None for all.

    Raises:
        InputError: The sample or a step does not exist.
    """
    if not 0 <= sample < samples:
        raise InputError(f"--sample {sample}: must be 0 to {samples - 1}, since N = {samples}")
    if steps is None:
        return View(sample)
    match = re.fullmatch(r"(-?\d{1,18}|):(-?\d{1,18}|)", steps)
    if match is None:
        raise InputError(f"--steps {steps}: expected a:b as in Python, for example 0:5 or -5:")
    start = _step(match[1], 0, time_steps)
    end = _step(match[2], time_steps, time_steps)
    if not 0 <= start < end <= time_steps:
        raise InputError(
            f"--steps {steps}: a must be below b, and both from 0 to T = {time_steps}, or "
            "negative, counted from the end"
        )
    return View(sample, start, end)


def _step(text: str, default: int, time_steps: int) -> int:
    """Return the step that a part of a slice stands for."""
    if not text:
        return default
    return int(text) + (time_steps if text.startswith("-") else 0)
