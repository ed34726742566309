"""Reading of drawings made of characters, by what their characters mean."""

from __future__ import annotations

import re
from functools import cache
from itertools import groupby
from typing import NamedTuple
from unicodedata import name

from rnnshapes.render.document import StyledLines


def text_lines(drawing: StyledLines) -> list[str]:
    """The lines of a drawing, without ink."""
    return ["".join(span.text for span in spans) for spans in drawing]


@cache
def is_line(character: str) -> bool:
    """Whether it is a piece of a line, a corner or a crossing."""
    return name(character, "").startswith("BOX DRAWINGS")


@cache
def points(character: str, direction: str) -> bool:
    """Whether it is the head of an arrow to the ``LEFT``, to the ``RIGHT`` or ``DOWN``."""
    return f"{direction}-POINTING" in name(character, "")


@cache
def is_head(character: str) -> bool:
    """Whether it is the head of an arrow."""
    return "-POINTING" in name(character, "")


class DrawnStep(NamedTuple):
    """The box of a time step: its text, and where its sides are."""

    step: str
    left: int
    right: int
    top: int
    bottom: int

    @property
    def middle(self) -> int:
        """The column in the middle."""
        return (self.left + self.right) // 2


def drawn_lanes(lines: list[str]) -> list[list[DrawnStep]]:
    """The boxes of steps, one list for each row of them, from top to bottom."""
    steps = [step for row in range(len(lines)) for step in _steps(lines, row)]
    return [list(group) for _, group in groupby(steps, key=lambda step: step.top)]


def _steps(lines: list[str], row: int) -> list[DrawnStep]:
    found = []
    for match in re.finditer(r"(?<![\w~])t ?= ?([\w{}()+-]+)", lines[row]):
        line = lines[row]
        left = next((c for c in reversed(range(match.start())) if line[c] != " "), 0)
        right = next((c for c in range(match.end(), len(line)) if line[c] != " "), 0)
        if right and is_line(line[left]) and is_line(line[right]) and _is_top(lines, row, left):
            bottom = next(r for r in range(row, len(lines)) if _is_side(lines[r], left, right))
            found.append(DrawnStep(match[1], left, right, row - 1, bottom))
    return found


def _is_top(lines: list[str], row: int, left: int) -> bool:
    above = lines[row - 1]
    return len(above) > left and "DOWN AND RIGHT" in name(above[left], "")


def _is_side(line: str, left: int, right: int) -> bool:
    """Whether a horizontal side goes from ``left`` to ``right``."""
    return all(is_line(c) or is_head(c) for c in line[left : right + 1])


def goes_down(line: str, left: int, right: int) -> bool:
    """Whether a line leaves the side from ``left`` to ``right`` downwards."""
    return any("DOWN" in name(character, "") for character in line[left + 1 : right])


class DrawnFrame(NamedTuple):
    """The frame of a layer: its first and last row, and its right column."""

    top: int
    bottom: int
    right: int


def drawn_frames(lines: list[str]) -> list[DrawnFrame]:
    """The frames that begin in the first column, from top to bottom; each is closed."""
    frames, top = [], None
    for row, line in enumerate(lines):
        corner = name(line[0], "") if line else ""
        if "DOWN AND RIGHT" in corner:
            top = row
        elif "UP AND RIGHT" in corner:
            assert top is not None
            right = len(line) - 1
            for inside in lines[top : row + 1]:
                assert len(inside) == right + 1
                assert is_line(inside[0])
                assert is_line(inside[right])
            frames.append(DrawnFrame(top, row, right))
    return frames


def words_in(lines: list[str]) -> str:
    """The words in some lines, without what is drawn around them."""
    texts = ("".join(" " if is_line(c) or is_head(c) else c for c in line) for line in lines)
    return " ".join(" ".join(texts).split())
