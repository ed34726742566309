"""Which part of a result a person is shown. Files for programs hold all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rnnshapes.errors import InputError

#: What ``inspect --view`` chooses from.
Parts = Literal["all", "flow", "tables"]


@dataclass(frozen=True)
class View:
    """One sample, and the time steps from ``start`` to ``end``; ``None`` for the first, the last.

    ``most_rows`` is how many time steps may be shown before the middle is left out, ``None``
    for all of them: what goes into a file is never cut, but for a picture of a terminal.
    ``parts`` chooses between pictures (``flow``) and ``tables``, ``show`` which quantities of a
    trace stand in tables, ``None`` for all that it has. A picture that is not ``titled`` stands
    where the network has been named already.
    """

    sample: int = 0
    start: int | None = None
    end: int | None = None
    most_rows: int | None = None
    parts: Parts = "all"
    show: tuple[str, ...] | None = None
    titled: bool = True

    @property
    def chosen(self) -> bool:
        """Whether the user asked for particular steps."""
        return self.start is not None or self.end is not None


def view(samples: int, time_steps: int, sample: int, steps: str | None) -> View:
    """The part that ``--sample`` and ``--steps a:b`` ask for, counted as in Python.

    Raises InputError for a sample or a step that is not there.
    """
    if not 0 <= sample < samples:
        raise InputError(
            f"--sample {sample}: there are N = {samples} samples, so it is 0 to {samples - 1}"
        )
    if steps is None:
        return View(sample)
    given = re.fullmatch(r"(-?\d{1,18}|):(-?\d{1,18}|)", steps)
    if given is None:
        raise InputError(f"--steps {steps}: a:b was expected, as in Python, for example 0:5 or -5:")
    start = _step(given[1], 0, time_steps)
    end = _step(given[2], time_steps, time_steps)
    if not 0 <= start < end <= time_steps:
        raise InputError(
            f"--steps {steps}: there are T = {time_steps} steps, so a and b are from 0 to "
            f"{time_steps}, or negative as counted from the end, and a comes before b"
        )
    return View(sample, start, end)


def _step(text: str, default: int, time_steps: int) -> int:
    if not text:
        return default
    return int(text) + (time_steps if text.startswith("-") else 0)
