"""Numbers over time as characters: cells, means, signs, marks, the scale and the width."""

from __future__ import annotations

import re
from io import StringIO
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.style import Style
from rich.text import Text

from rnnshapes.render import palette, time_axis
from rnnshapes.render.document import Sheet, Span
from rnnshapes.render.formats import terminal
from rnnshapes.render.text_art import strips
from rnnshapes.render.text_art.strips import (
    ASCII_MINUS,
    DIGITS,
    MASKED,
    MINUS,
    MOST_UNITS,
    NOT_FINITE,
    PLUS,
    ZERO,
    ScaleKind,
    Strip,
)

KINDS: list[ScaleKind] = ["signed", "fraction"]
EACH_KIND = pytest.mark.parametrize("kind", KINDS)
EACH_ENCODING = pytest.mark.parametrize("encoding", ["utf-8", "ascii"])


def numbers(kind: ScaleKind, steps: int, units: int, seed: int = 3) -> np.ndarray:
    """Numbers with both signs, or those of a gate."""
    rng = np.random.default_rng(seed)
    drawn = rng.standard_normal((steps, units)) + rng.standard_normal(units)
    return 1 / (1 + np.exp(-drawn)) if kind == "fraction" else drawn


def strip(kind: ScaleKind, values: Any, **more: Any) -> Strip:
    """A strip of this kind."""
    return Strip("title", "h", np.array(values, float), kind, **more)


def spans(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[list[Span]]:
    """The lines of its picture."""
    (drawing,) = strips.drawings([one])
    return [list(line) for line in drawing.draw(Sheet(width, encoding))]


def drawn(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of its picture, without ink."""
    return ["".join(span.text for span in line) for line in spans(one, width, encoding)]


def rows(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """Of each unit, what stands behind its label."""
    lines = drawn(one, width, encoding)
    labels = one.labels(encoding)
    margin = len(labels[-1]) + 1
    assert [line[:margin].strip() for line in lines[: len(labels)]] == labels
    return [line[margin:] for line in lines[: len(labels)]]


def cells(one: Strip, width: int = 80, encoding: str = "utf-8") -> list[list[str]]:
    """Of each unit the text of each cell; cells are all of one width."""
    many = min(len(one.values), width - len(one.labels(encoding)[-1]) - 1)
    texts = rows(one, width, encoding)
    assert len({len(text) for text in texts}) == 1
    wide, rest = divmod(len(texts[0]), many)
    assert rest == 0 < wide
    return [[text[c * wide : c * wide + wide] for c in range(many)] for text in texts]


def key(one: Strip, width: int = 80, encoding: str = "utf-8") -> str:
    """What stands below the steps, as one line."""
    return " ".join(drawn(one, width, encoding)[len(one.units) + 1 :])


# --- Cells and their means ----------------------------------------------------------------------


def means(values: np.ndarray, unmasked: np.ndarray | None, many: int) -> np.ndarray:
    """The mean of each cell, cell by cell, as NumPy has it; (cells, units)."""
    steps = len(values)
    found = np.full((many, values.shape[1]), np.nan)
    for cell in range(many):
        part = np.arange(cell * steps // many, (cell + 1) * steps // many)
        part = part if unmasked is None else part[unmasked[part]]
        if len(part):
            found[cell] = np.mean(values[part], axis=0)
    return found


def glyph(kind: ScaleKind, value: float, low: float, high: float, encoding: str) -> str:
    """What stands for a number: the part of the scale that it lies in."""
    if kind == "signed":
        minus = ASCII_MINUS if encoding == "ascii" else MINUS
        marks, part = (PLUS if value > 0 else minus), abs(value) / max(abs(low), abs(high))
    else:
        marks, part = DIGITS, value
    return marks[min(int(part * len(marks)), len(marks) - 1)]


def check(kind: ScaleKind, steps: int, width: int, encoding: str = "utf-8") -> None:
    """Each cell is what NumPy's mean of its steps says, with masked steps and without."""
    values, some = numbers(kind, steps, 3), np.random.default_rng(steps).random(steps) < 0.6
    for unmasked in (None, some):
        found = cells(strip(kind, values, unmasked=unmasked), width, encoding)
        wanted = means(values, unmasked, len(found[0]))
        low, high = np.nanmin(wanted, initial=np.inf), np.nanmax(wanted, initial=-np.inf)
        for unit, texts in enumerate(found):
            for text, value in zip(texts, wanted[:, unit], strict=True):
                if np.isnan(value):
                    assert set(text) == {MASKED}
                elif re.fullmatch(r" *-?\d+\.\d+ *", text):
                    assert float(text) == pytest.approx(value, abs=0.051)
                elif low < high:
                    assert set(text) == {glyph(kind, value, low, high, encoding)}


@EACH_KIND
@EACH_ENCODING
@pytest.mark.parametrize("width", [40, 80, 160])
def test_cells_show_the_means_numpy_computes(width: int, encoding: str, kind: ScaleKind) -> None:
    """A cell is a step where there is room, else the mean of neighbours."""
    for steps in (1, 2, 3, 10, 17, 18, 35, 36, 70, 71, 100, 156, 5_000):
        check(kind, steps, width, encoding)


def test_cells_are_no_wider_than_numbers_need() -> None:
    """A single step does not fill a line; a few have numbers in them."""
    assert len(rows(strip("signed", [[0.5]]), 160)[0]) < 20
    for kind in ("signed", "fraction"):
        few = numbers(kind, 8, 2)
        found = [[float(text) for text in texts] for texts in cells(strip(kind, few))]
        np.testing.assert_allclose(found, few.T, atol=0.0051)


def mutants() -> dict[str, tuple[str, Any]]:
    """What a wrong drawing would have instead, by the name of the mistake."""
    real, grouped = time_axis.group_means, time_axis.balanced_groups

    def first_step(values: Any, weights: Any, edges: Any) -> Any:
        return values[:, edges[:-1]], weights[edges[:-1]]

    return {
        "the first step of a cell for all": ("group_means", first_step),
        "masked steps counted": ("group_means", lambda v, w, e: real(v, np.ones_like(w), e)),
        "time reversed": ("group_means", lambda v, w, e: real(v[:, ::-1], w[::-1], e)),
        "units exchanged": ("group_means", lambda v, w, e: real(v[::-1], w, e)),
        "cells a step too late": ("group_means", lambda v, w, e: real(np.roll(v, 1, 1), w, e)),
        "groups in another order": ("balanced_groups", lambda n, c: c - grouped(n, c)[::-1]),
        "a sign lost": ("MINUS", PLUS),
        "a sign turned": ("PLUS", MINUS),
        "digits turned": ("DIGITS", DIGITS[::-1]),
    }


@pytest.mark.parametrize("name", mutants())
def test_a_wrong_drawing_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison with NumPy sees it."""
    monkeypatch.setattr(strips, *mutants()[name])
    with pytest.raises(AssertionError):
        check_each()


def check_each() -> None:
    """A sequence of two steps to a cell, of every kind."""
    for kind in KINDS:
        check(kind, 71, 40)


# --- Without colour, and with it ----------------------------------------------------------------


@EACH_ENCODING
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e5, 1e-300, 1e308])
@pytest.mark.parametrize("steps", [8, 60])
def test_the_character_shows_the_sign(steps: int, size: float, encoding: str) -> None:
    """It does so down to the least number."""
    values = size * np.linspace(-1, 1, steps)[:, None]
    values[3] *= 1e-6
    (texts,) = cells(strip("signed", values), 80, encoding)
    minus = set(MINUS + ASCII_MINUS)
    for text, value in zip(texts, values[:, 0], strict=True):
        assert ("-" in text or set(text) <= minus) == (value < 0), text
        assert not set(text) & (minus if value > 0 else set(PLUS))


def test_characters_follow_the_order_of_numbers() -> None:
    """The lowest number has the first character."""
    values = np.sort(np.random.default_rng(1).uniform(0, 1, 60))
    values[[0, -1]] = 0, 1
    (texts,) = cells(strip("fraction", values[:, None]))
    places = [DIGITS.index(text[0]) for text in texts]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, len(DIGITS) - 1)


def test_a_fraction_is_drawn_between_0_and_1() -> None:
    """Other numbers do not matter."""
    values = np.linspace(0.3, 0.6, 60)[:, None]
    (alone,) = rows(strip("fraction", values))
    (beside,) = rows(strip("fraction", np.append(values[:-1], [[1.0]], axis=0)))
    assert alone[:-1] == beside[:-1]
    assert {span.ink.ground for span in spans(strip("fraction", values))[0][1:]} <= {
        palette.fraction(round(100 * value) / 100) for value in values[:, 0]
    }


@pytest.mark.parametrize(
    ("kind", "colour"), [("signed", palette.signed), ("fraction", palette.fraction)]
)
@pytest.mark.parametrize("width", [40, 80])
def test_cells_have_the_colour_of_their_number(kind, colour, width) -> None:
    """Their text is black or white, and can be read."""
    values = numbers(kind, 11, 1)
    limit = np.abs(values).max() if kind == "signed" else 1.0
    (label, *pieces), *_ = spans(strip(kind, values), width)
    characters = [span for span in pieces for _ in span.text]
    wide = len(characters) // 11
    for step, value in enumerate(values[:, 0]):
        for span in characters[step * wide : step * wide + wide]:
            assert span.ink.ground == colour(round(100 * value / limit) / 100)
            assert span.ink.colour == palette.text_on(span.ink.ground)
    assert not label.ink.ground


#: The colours of xterm, by their number.
XTERM = ["000000", "CD0000", "00CD00", "CDCD00", "0000EE", "CD00CD", "00CDCD", "E5E5E5"]
XTERM += ["7F7F7F", "FF0000", "00FF00", "FFFF00", "5C5CFF", "FF00FF", "00FFFF", "FFFFFF"]


def sixteen_grounds(kind: ScaleKind, lowest: float) -> list[int]:
    """The grounds of rising numbers on a terminal of 16 colours, each once."""
    rising = strip(kind, np.linspace(lowest, 1, 150)[:, None])
    screen = Console(
        file=StringIO(), width=160, force_terminal=True, color_system="standard", highlight=False
    )
    encoded = terminal.encode_lines(spans(rising, 160), screen)[0]
    found = [style.bgcolor.number for style in ansi_styles(encoded) if style.bgcolor]
    return [number for number, _ in groupby(found)]


def ansi_styles(encoded: str) -> list[Style]:
    """The styles of a line of a terminal, from left to right."""
    return [span.style for span in Text.from_ansi(encoded).spans]


def brightness(number: int) -> float:
    """How bright a colour of xterm is, about."""
    red, green, blue = bytes.fromhex(XTERM[number])
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2


def test_sixteen_colours_keep_the_order_of_numbers() -> None:
    """Each stands for one part of the scale, and is darker than the next one to the middle."""
    signed, fraction = sixteen_grounds("signed", -1), sixteen_grounds("fraction", 0)
    assert len(signed) == len(set(signed)) == 7
    assert len(fraction) == len(set(fraction)) == 4
    light = [brightness(number) for number in signed]
    assert light[:4] == sorted(light[:4])
    assert light[3:] == sorted(light[3:], reverse=True)
    dark = [brightness(number) for number in fraction]
    assert dark == sorted(dark, reverse=True)
    for lights in (light, dark):
        assert all(abs(a - b) > 0.05 * max(lights) for a, b in pairwise(lights))


def test_categories_differ_in_sixteen_colours() -> None:
    """Gates, states and units, as texts and as grounds."""
    for grounds in (True, False):
        names = {
            palette.sixteen(colour, colour if grounds else "") for colour in palette.CATEGORIES
        }
        assert len(names) == len(palette.CATEGORIES)


def luminance(colour: str) -> float:
    """The relative luminance of ``#rrggbb``, as WCAG 2.1 defines it."""
    parts = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_texts_on_colours_can_be_read() -> None:
    """Their contrast is what WCAG 2.1 asks for, on every colour that is used."""
    grounds = {*palette.CATEGORIES, *map(palette.signed, np.linspace(-1, 1, 201))}
    grounds |= {*map(palette.fraction, np.linspace(0, 1, 101))}
    for ground in grounds:
        low, high = sorted((luminance(ground), luminance(palette.text_on(ground))))
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize("steps", [8, 60])
def test_each_line_may_have_its_own_scale(steps: int) -> None:
    values = numbers("signed", steps, 2) * [1.0, 100.0]
    both = rows(strip("signed", values, own_scales=True))
    alone = [rows(strip("signed", values[:, [unit]]))[0] for unit in (0, 1)]
    assert [row.split() for row in both] == [row.split() for row in alone]
    assert rows(strip("signed", values))[0] != both[0]
    ends = zip(values.min(axis=0), values.max(axis=0), strict=True)
    named = [f"h[{unit}] {low:.3g} to {high:.3g}" for unit, (low, high) in enumerate(ends)]
    assert key(strip("signed", values, own_scales=True)).endswith(": " + ", ".join(named))
    assert "h[" not in key(strip("signed", values))
    for own in (True, False):  # marks are explained where cells hold no numbers
        marks = {PLUS[-1], MINUS[-1]} & {*key(strip("signed", values, own_scales=own))}
        assert len(marks) == (2 if steps == 60 else 0)
    first = values[:, [0]]  # a line alone needs no scale of its own
    assert key(strip("signed", first, own_scales=True)) == key(strip("signed", first))


# --- Marks --------------------------------------------------------------------------------------


@EACH_KIND
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("steps", [8, 30, 400])
def test_what_is_not_finite_is_marked(steps: int, value: float, kind: ScaleKind) -> None:
    """One such step is enough for a cell; the scale is that of the others."""
    values = numbers(kind, steps, 2)
    assert NOT_FINITE not in key(strip(kind, values))
    values[steps // 2, 1] = value
    one = strip(kind, values)
    first, second = cells(one)
    assert not any(NOT_FINITE in text for text in first)
    (marked,) = [text for text in second if NOT_FINITE in text]
    assert set(marked) == {NOT_FINITE}
    assert f"{NOT_FINITE} is " in key(one)
    assert not re.search(r"(?<!\w)(nan|inf)(?!\w)", key(one))


@pytest.mark.parametrize("own_scales", [False, True])
def test_without_finite_numbers_none_is_named(*, own_scales: bool) -> None:
    one = strip("signed", np.full((8, 2), np.nan), own_scales=own_scales)
    assert not re.search(r"\d", key(one))


@EACH_KIND
@pytest.mark.parametrize("steps", [8, 30])
def test_masked_steps_are_marked(steps: int, kind: ScaleKind) -> None:
    """Gates have no numbers there, which is no reason for the mark of NaN."""
    values = numbers(kind, steps, 2)
    unmasked = np.arange(steps) % 3 > 0
    values[~unmasked] = np.nan
    one = strip(kind, values, unmasked=unmasked)
    for texts in cells(one):
        assert [set(text) == {MASKED} for text in texts] == (~unmasked).tolist()
        assert not any(NOT_FINITE in text for text in texts)
    assert f"{MASKED} is " in key(one)
    assert NOT_FINITE not in key(one)


def test_without_finite_numbers_there_is_no_scale() -> None:
    """All masked, or all NaN."""
    assert "lowest" not in key(strip("signed", np.full((5, 2), np.nan)))
    texts = [key(strip("signed", np.full((140, 2), value))) for value in (np.nan, 0.5)]
    assert ["0.5" in text for text in texts] == [False, True]
    assert ["from" in text for text in texts] == [False, True]
    masked = strip("signed", np.ones((50, 2)), unmasked=np.zeros(50, bool))
    assert "lowest" not in key(masked)
    assert rows(masked) == [MASKED * 50] * 2


def test_numbers_that_are_all_the_same_are_drawn() -> None:
    """Zeros, too: there is no sign."""
    assert set(rows(strip("signed", np.zeros((60, 1))))[0]) == {ZERO}
    level = strip("signed", np.full((60, 1), 3.25))
    assert set(rows(level)[0]) == {PLUS[-1]}
    assert "3.25" in key(level)
    assert "lowest" not in key(level)


def test_masked_steps_have_no_part_in_the_scale() -> None:
    values, unmasked = numbers("signed", 200, 2), np.arange(200) % 3 > 0
    wanted = key(strip("signed", values, unmasked=unmasked))
    values[~unmasked] = 99
    assert key(strip("signed", values, unmasked=unmasked)) == wanted


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0, 0.5, 1.0], "fraction"),
        ([0.5, np.nan], "fraction"),
        ([0.5, 1.01], "signed"),
        ([-0.01, 0.5], "signed"),
        ([np.inf], "signed"),
    ],
)
def test_gates_outside_0_to_1_are_signed(values: list[float], kind: ScaleKind) -> None:
    """A linear or relu recurrent activation yields such gates."""
    assert strips.scale_kind(np.array(values)) == kind


# --- What stands below --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "many"),
    [
        (75, ""),
        (150, "2"),
        (100, "1 or 2"),
        (2_775, "37"),
        (2_800, "about 37"),
        (100_000, "about 1,333"),
    ],
)
def test_key_tells_the_steps_of_a_cell(steps: int, many: str) -> None:
    values = numbers("signed", steps, 1)
    one = strip("signed", values)
    found = means(values, None, min(steps, 75))
    assert f"lowest {found.min():.3g} " in key(one)
    assert f" {found.max():.3g} highest" in key(one)
    assert ("mean" in key(one)) == bool(many)
    if many:
        assert f"mean of {many} steps" in key(one)
        assert f"from {values.min():.3g} to {values.max():.3g}" in key(one)


@pytest.mark.parametrize("width", [40, 80, 160])
@pytest.mark.parametrize(
    ("start", "steps"), [(0, 1), (0, 10), (37, 5), (0, 30), (0, 100_000), (300, 700), (98, 12)]
)
def test_steps_stand_below_their_cells(start: int, steps: int, width: int) -> None:
    """The first and the last always; others at round numbers, never one over another."""
    one = strip("signed", numbers("signed", steps, 1), start=start)
    (texts,) = cells(one, width)
    line = drawn(one, width)[1][len("h[0] ") :]
    found = [(int(word[0]), word.start(), word.end()) for word in re.finditer(r"\d+", line)]
    wide = len(texts[0])
    for t, left, right in found:
        cell = next(c for c in range(len(texts)) if (t - start) < (c + 1) * steps // len(texts))
        assert left < (cell + 1) * wide
        assert right > cell * wide
    shown = [t for t, _, _ in found]
    assert shown[0] == start
    assert shown[-1] == start + steps - 1
    assert shown == sorted(set(shown))
    inner = shown[1:-1]
    apart = {b - a for a, b in pairwise(inner)}
    assert len(apart) <= 1
    for every in apart:
        assert str(every).rstrip("0") in ("1", "2", "5")
        assert all(t % every == 0 for t in inner)
    if steps >= 30:
        assert len(inner) >= 3
        assert max(b[1] - a[2] for a, b in pairwise(found)) < 16


@pytest.mark.parametrize("own_scales", [False, True])
def test_lines_of_the_key_are_full(*, own_scales: bool) -> None:
    """Words stay whole: the next one would not fit."""
    one = strip("signed", numbers("signed", 200, 3), own_scales=own_scales)
    texts = set()
    for width in range(24, 120):
        lines = drawn(one, width)[4:]
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > width
        texts.add(" ".join(lines).partition("mean")[0])
    assert len(texts) < 96


def test_units_that_are_not_drawn_are_counted() -> None:
    assert len(rows(strip("signed", numbers("signed", 9, MOST_UNITS)))) == MOST_UNITS
    many = strip("signed", numbers("signed", 9, 64))
    assert len(rows(many)) == MOST_UNITS
    assert f"{64 - MOST_UNITS} of 64 units" in key(many)
    assert "units" not in key(strip("signed", numbers("signed", 9, MOST_UNITS)))


@EACH_ENCODING
@EACH_KIND
def test_no_line_is_wider_than_the_sheet(kind: ScaleKind, encoding: str) -> None:
    """Every character can be shown."""
    for steps in (1, 9, 39, 1_000):
        values, unmasked = numbers(kind, steps, 20), np.arange(steps) % 5 > 0
        values[steps // 2 :: 7] = np.nan
        one = strip(kind, values, unmasked=unmasked)._replace(name="c~1←")
        for width in (20, 21, 30, 40, 80, 160):
            lines = drawn(one, width, encoding)
            assert max(map(len, lines)) <= width
            if encoding == "ascii":
                assert all(line.isascii() for line in lines)


@pytest.mark.parametrize(
    ("shape", "width"), [((9, 2), strips.NARROWEST - 1), ((0, 2), 80), ((9, 0), 80), ((9, 2), 0)]
)
def test_strip_of_nothing_is_empty(shape, width: int) -> None:
    """Its title is left out too."""
    assert drawn(strip("signed", np.ones(shape)), width) == []
