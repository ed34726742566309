"""Numbers over time as characters: cells, means, signs, marks, the scale and the width."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rnnshapes.render import palette
from rnnshapes.render.document import Sheet
from rnnshapes.render.text_art import strips, timeline
from rnnshapes.render.text_art.strips import DIGITS, HEIGHTS, MASKED, NOT_FINITE, PLUS, Kind, Strip

KINDS: list[Kind] = ["line", "signed", "share"]


def numbers(kind: Kind, steps: int, units: int, seed: int = 3) -> np.ndarray:
    """Numbers with both signs, or those of a gate."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((steps, units)) + rng.standard_normal(units)
    return 1 / (1 + np.exp(-drawn)) if kind == "share" else drawn


def strip(kind: Kind, values: Any, **more: Any) -> Strip:
    """A strip of this kind."""
    return Strip("title", "h", np.array(values, float), kind, **more)


def drawn(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of its picture, without ink."""
    (drawing,) = strips.drawings([one])
    picture = drawing.draw(Sheet(width, encoding))
    return ["".join(span.text for span in spans) for spans in picture]


def rows(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """Of each unit, what stands behind its label."""
    lines = drawn(one, width, encoding)
    labels = [f"h[{unit}]" for unit in one.units]
    margin = len(labels[-1]) + 1
    found = [line for line in lines if line.startswith("h[")]
    assert [line[:margin].strip() for line in found] == labels
    return [line[margin:] for line in found]


def key(one: Strip, width: int = 80, encoding: str = "utf-8") -> str:
    """What stands below the steps, as one line."""
    return " ".join(drawn(one, width, encoding)[len(one.units) + 1 :])


# --- Cells and their means ----------------------------------------------------------------------

#: Steps and width of the sheet; how many cells there are, and of how many characters.
CELLS = [
    (1, 40, 1, 12),
    (2, 40, 2, 12),
    (3, 40, 3, 11),
    (10, 40, 10, 3),
    (10, 80, 10, 7),
    (17, 40, 17, 2),
    (18, 40, 18, 1),
    (35, 40, 35, 1),
    (36, 40, 35, 1),
    (70, 40, 35, 1),
    (71, 40, 35, 1),
    (7, 160, 7, 12),
    (100, 160, 100, 1),
    (156, 160, 155, 1),
    (5_000, 160, 155, 1),
    (100_000, 80, 75, 1),
]


def expected(values: np.ndarray, counts: np.ndarray | None, many: int) -> np.ndarray:
    """The mean of each cell, cell by cell, as NumPy has it; (cells, units)."""
    steps = len(values)
    found = np.full((many, values.shape[1]), np.nan)
    for cell in range(many):
        part = np.arange(cell * steps // many, (cell + 1) * steps // many)
        part = part if counts is None else part[counts[part]]
        if len(part):
            found[cell] = np.mean(values[part], axis=0)
    return found


def glyph(kind: Kind, value: float, low: float, high: float, *, ascii_only: bool) -> str:
    """What stands for a number, worked out anew."""
    if kind == "signed":
        third = min(int(3 * abs(value) / max(abs(low), abs(high))), 2)
        return (
            "." if value == 0 else ("+*#" if value > 0 else "-=%" if ascii_only else "-=≡")[third]
        )
    marks = DIGITS if kind == "share" or ascii_only else "▁▂▃▄▅▆▇█"
    place = value if kind == "share" else (value - low) / (high - low)
    return marks[min(int(place * len(marks)), len(marks) - 1)]


def check(kind: Kind, steps: int, width: int, many: int, encoding: str = "utf-8") -> None:
    """A drawing in which each cell is what NumPy's mean of its steps says."""
    values, counts = numbers(kind, steps, 3), np.random.default_rng(steps).random(steps) < 0.6
    for mask in (None, counts):
        one = strip(kind, values, counts=mask)
        means = expected(values, mask, many)
        low, high = np.nanmin(means, initial=np.inf), np.nanmax(means, initial=-np.inf)
        for unit, text in enumerate(rows(one, width, encoding)):
            wide = len(text) // many
            assert len(text) == many * wide
            for cell, value in enumerate(means[:, unit]):
                shown = text[cell * wide : (cell + 1) * wide]
                if np.isnan(value):
                    assert set(shown) == {MASKED}
                elif re.fullmatch(r" *-?\d+\.\d+ *", shown):
                    assert float(shown) == pytest.approx(value, abs=0.051)
                    assert wide >= 5
                elif low < high:
                    ascii_only = encoding == "ascii"
                    assert set(shown) == {glyph(kind, value, low, high, ascii_only=ascii_only)}


@pytest.mark.parametrize(("steps", "width", "many", "wide"), CELLS)
def test_a_cell_is_a_step_or_the_mean_of_neighbours(steps, width, many, wide) -> None:
    """As many cells as there are steps, or as fit; all steps are in one, in order."""
    cells = timeline.cells(7, steps, width - len("h[0] "))
    assert (cells.number, cells.width, cells.start, cells.steps) == (many, wide, 7, steps)
    assert cells.edges[0] == 0
    sizes = np.diff(cells.edges)
    assert sizes.sum() == steps
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
    for kind in KINDS:
        assert {len(text) for text in rows(strip(kind, numbers(kind, steps, 2)), width)} == {
            many * wide
        }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize(("steps", "width", "many", "wide"), CELLS[:-2])
def test_what_is_drawn_is_what_numpy_says(steps, width, many, wide, encoding, kind) -> None:
    """Each cell of each unit, with masked steps and without."""
    check(kind, steps, width, many, encoding)


@pytest.mark.parametrize("steps", [36, 71, 5_000, 100_000])
def test_a_mean_is_of_all_steps_that_count(steps: int) -> None:
    """Nothing is sampled; also where the sum of a cell would be too large for float64."""
    cells = timeline.cells(0, steps, 35)
    for values in (numbers("signed", steps, 4), np.full((steps, 4), 1.7e308)):
        for counts in (None, np.random.default_rng(1).random(steps) < 0.5):
            found = timeline.means(values.T, counts, cells)
            with np.errstate(over="ignore"):
                wanted = expected(values / 1e4, counts, 35) * 1e4
            np.testing.assert_allclose(found.values.T, wanted, rtol=1e-9)
            none = np.isnan(wanted).all(axis=1)
            np.testing.assert_array_equal(found.masked, none)


MUTANTS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "the first step of a cell for all": (
        timeline,
        "means",
        lambda real: (
            lambda v, c, into: real(
                v[:, into.edges[:-1]], None, timeline.cells(0, into.number, 500)
            )
        ),
    ),
    "masked steps counted": (
        timeline,
        "means",
        lambda real: lambda v, c, into: real(v, None, into),
    ),
    "time reversed": (
        timeline,
        "means",
        lambda real: lambda v, c, into: real(v[:, ::-1], None if c is None else c[::-1], into),
    ),
    "units exchanged": (timeline, "means", lambda real: lambda v, c, into: real(v[::-1], c, into)),
    "cells that overlap by a step": (
        timeline,
        "means",
        lambda real: lambda v, c, into: real(np.roll(v, 1, axis=1), c, into),
    ),
    "a sign lost": (strips._Scale, "glyph", lambda real: lambda self, v: real(self, abs(v))),
    "a sign turned": (strips._Scale, "glyph", lambda real: lambda self, v: real(self, -v)),
    "a scale of its own for 0 to 1": (
        strips._Scale,
        "glyph",
        lambda real: lambda self, v: real(self, (v - self.low) / (self.high - self.low)),
    ),
}


def check_each() -> None:
    """One size, every kind."""
    for kind in KINDS:
        check(kind, 70, 40, 35)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_drawing_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the comparison with NumPy above."""
    where, what, change = MUTANTS[name]
    check_each()
    monkeypatch.setattr(where, what, change(getattr(where, what)))
    with pytest.raises(AssertionError):
        check_each()


# --- Without colour, and with it ----------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e5, 1e-300])
@pytest.mark.parametrize("steps", [8, 60])
def test_the_sign_is_read_from_the_character(steps: int, size: float, encoding: str) -> None:
    """Whatever the size, down to the least number."""
    values = size * np.linspace(-1, 1, steps + steps % 2)[:, None]
    values[3] *= 1e-6
    (text,) = rows(strip("signed", values), 80, encoding)
    wide = len(text) // len(values)
    for t, value in enumerate(values[:, 0]):
        shown = text[t * wide : (t + 1) * wide].strip()
        assert ("-" in shown or set(shown) <= set("-=≡%")) == (value < 0), shown
        assert not set(shown) & set("-=≡%" if value > 0 else PLUS)


@pytest.mark.parametrize(("kind", "colour"), [("signed", palette.signed), ("share", palette.share)])
@pytest.mark.parametrize("width", [40, 80])
def test_cells_are_coloured_and_their_text_can_be_read(kind, colour, width) -> None:
    """The ground is that of the number, on the scale of the key; the text is black or white."""
    values = numbers(kind, 11, 1)
    limit = np.abs(values).max() if kind == "signed" else 1.0
    (drawing,) = strips.drawings([strip(kind, values)])
    spans = drawing.draw(Sheet(width))[0][1:]
    wide = sum(len(span.text) for span in spans) // 11
    at = 0
    for span in spans:
        value = values[at // wide, 0] / limit
        assert span.ink.ground == colour(round(100 * value) / 100)
        assert span.ink.colour == palette.on(span.ink.ground)
        at += len(span.text)


def test_lines_have_a_colour_for_each_unit_and_one_scale() -> None:
    """The highest of all units is full, the lowest of all the least."""
    one = strip("line", [[0.0, 5.0], [1.0, 10.0], [2.0, 0.5]])
    (drawing,) = strips.drawings([one])
    first, second = drawing.draw(Sheet())[:2]
    assert [first[1].ink.colour, second[1].ink.colour] == [palette.kind(0), palette.kind(1)]
    assert [text[::12] for text in rows(one)] == ["▁▁▂", "▅█▁"]
    assert key(one) == f"lowest 0 {HEIGHTS} 10 highest"


# --- Marks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("steps", [8, 30, 400])
def test_what_is_not_finite_has_a_mark_of_its_own(steps: int, value: float, kind: Kind) -> None:
    """One such step is enough for a cell; the scale is that of the others."""
    values = numbers(kind, steps, 2)
    before = key(strip(kind, values))
    values[steps // 2, 1] = value
    one = strip(kind, values)
    first, second = rows(one)
    assert NOT_FINITE not in first
    wide = 9 if steps == 8 else 2 if steps == 30 else 1
    assert second.count(NOT_FINITE) == wide
    assert f"{NOT_FINITE} is NaN or infinite" in key(one)
    assert "NaN" not in before
    assert not re.search(r"(?<!\w)(nan|inf)(?!\w)", key(one))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [8, 30])
def test_masked_steps_have_a_mark_of_their_own(steps: int, kind: Kind) -> None:
    """Gates have no numbers there, which is no reason for the mark of NaN."""
    values = numbers(kind, steps, 2)
    counts = np.arange(steps) % 3 > 0
    values[~counts] = np.nan
    one = strip(kind, values, counts=counts)
    wide = len(rows(one)[0]) // steps
    for text in rows(one):
        assert [text[t * wide] == MASKED for t in range(steps)] == (~counts).tolist()
        assert NOT_FINITE not in text
    assert key(one).endswith(f"{MASKED} is masked")


def test_where_nothing_is_finite_nothing_is_said_of_a_scale() -> None:
    """All masked, or all NaN."""
    assert "lowest" not in key(strip("signed", np.full((5, 2), np.nan)))
    nothing = strip("line", np.ones((50, 2)), counts=np.zeros(50, bool))
    assert "lowest" not in key(nothing)
    assert rows(nothing) == [MASKED * 50] * 2


def test_numbers_that_are_all_the_same_are_drawn() -> None:
    """Zeros, too: there is no sign, and the line is at half its height."""
    assert set(rows(strip("signed", np.zeros((60, 1))))[0]) == {"."}
    assert set(rows(strip("line", np.full((60, 1), 3.25)))[0]) == {"▅"}
    assert key(strip("line", np.full((60, 1), 3.25))) == "all numbers are 3.25"


def test_masked_steps_have_no_part_in_the_scale() -> None:
    """Neither in that of cells nor in that of their steps."""
    values, counts = numbers("signed", 200, 2), np.arange(200) % 3 > 0
    wanted = key(strip("signed", values, counts=counts))
    values[~counts] = 99
    assert key(strip("signed", values, counts=counts)) == wanted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0, 0.5, 1.0], "share"),
        ([0.5, np.nan], "share"),
        ([0.5, 1.01], "signed"),
        ([-0.01, 0.5], "signed"),
        ([np.inf], "signed"),
    ],
)
def test_gates_outside_0_to_1_are_signed(values: list[float], kind: Kind) -> None:
    """As those of a linear or relu recurrent activation."""
    assert strips.kind_of(np.array(values)) == kind


# --- What stands below --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (75, None),
        (150, "each cell is the mean of 2 steps"),
        (100, "each cell is the mean of 1 or 2 steps"),
        (2_775, "each cell is the mean of 37 steps"),
        (2_800, "each cell is the mean of about 37 steps"),
        (100_000, "each cell is the mean of about 1,333 steps"),
    ],
)
def test_the_key_says_what_a_cell_is_and_how_far_numbers_go(steps: int, said: str | None) -> None:
    """The lowest and the highest cell; beside them the lowest and the highest step."""
    values = numbers("signed", steps, 1)
    one = strip("signed", values)
    means = expected(values, None, min(steps, 75))
    assert f"lowest {means.min():.3g} " in key(one)
    assert f" {means.max():.3g} highest" in key(one)
    assert ("mean" in key(one)) == (said is not None)
    if said:
        assert f"{said}, which go from {values.min():.3g} to {values.max():.3g}" in key(one)


@pytest.mark.parametrize(
    ("start", "steps", "width", "line"),
    [
        (0, 1, 40, "     0"),
        (0, 10, 40, " 0  1  2  3  4  5  6  7  8  9"),
        (37, 5, 40, "  37     38     39     40     41"),
        (0, 30, 40, "0    5    10   15   20      29"),
        (0, 100_000, 40, "0      20000  40000  60000    99999"),
        (300, 700, 40, "300  400  500  600  700  800    999"),
    ],
)
def test_steps_stand_below_their_cells(start: int, steps: int, width: int, line: str) -> None:
    """The first and the last always; others at round numbers, never one over another."""
    shown = drawn(strip("signed", numbers("signed", steps, 1), start=start), width)[1]
    assert shown[:5] == "t    "
    assert shown[5:] == line


def test_units_beyond_sixteen_are_counted() -> None:
    """And not drawn."""
    assert len(rows(strip("signed", numbers("signed", 9, 16)))) == 16
    many = strip("signed", numbers("signed", 9, 64))
    assert len(rows(many)) == 16
    assert key(many).endswith("; 48 of 64 units are left out")
    assert "left out" not in key(strip("signed", numbers("signed", 9, 16)))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [20, 40, 80, 160])
@pytest.mark.parametrize("kind", KINDS)
def test_no_line_is_wider_than_the_sheet(kind: Kind, width: int, encoding: str) -> None:
    """Nor has it characters that cannot be shown."""
    for steps in (1, 9, 39, 1_000):
        values, counts = numbers(kind, steps, 20), np.arange(steps) % 5 > 0
        values[steps // 2 :: 7] = np.nan
        lines = drawn(strip(kind, values, counts=counts)._replace(name="c~1←"), width, encoding)
        assert max(map(len, lines)) <= width
        if encoding == "ascii":
            assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(
    ("shape", "width"), [((9, 2), 19), ((0, 2), 80), ((9, 0), 80), ((9, 2), 0)]
)
def test_where_there_is_nothing_to_draw_the_picture_is_empty(shape, width: int) -> None:
    """And its title is left out with it."""
    assert drawn(strip("signed", np.ones(shape)), width) == []
