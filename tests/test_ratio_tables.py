"""Tables of ratios: what fails comes first, with bars, and the index of the largest."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import cache
from io import BytesIO, TextIOWrapper
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.forward.difference import Index
from rnnshapes.port.report import PortVerification
from rnnshapes.render.document import Table, for_encoding
from rnnshapes.render.formats import terminal
from rnnshapes.render.number_text import BAR, ratio_bar
from rnnshapes.render.view import View
from rnnshapes.verification import report

# --- Bars ---------------------------------------------------------------------------------------

#: Characters of a bar, whole, half and empty, and the one behind a bar that is more than full.
WHOLE, HALF, EMPTY = ratio_bar(1.0)[0], ratio_bar(1e-9)[0], ratio_bar(0.0)[0]
OVER = ratio_bar(2.0)[-1]


def halves(text: str) -> int:
    """How many halves of a character are filled."""
    return 2 * text.count(WHOLE) + text.count(HALF)


def test_a_bar_is_full_at_1() -> None:
    """Empty at 0 alone; what is above 1, and NaN, which passes nothing, has a mark."""
    assert len({WHOLE, HALF, EMPTY, OVER}) == 4
    assert ratio_bar(None) == ""
    for ratio in (0.0, 1e-9, 1 / 16, 0.07, 0.5, 0.51, 0.999, 1.0):
        assert halves(ratio_bar(ratio)) == math.ceil(2 * BAR * ratio)
        assert OVER not in ratio_bar(ratio)
    for ratio in (math.nextafter(1.0, 2.0), 3e11, math.inf, math.nan):
        assert ratio_bar(ratio) == ratio_bar(1.0) + OVER


def test_bars_grow_with_the_ratio() -> None:
    """Never shorter for a larger one, and of one width; filled from the left."""
    ratios = np.sort(np.random.default_rng(2).uniform(0, 1.2, 500)).tolist()
    bars = [ratio_bar(ratio) for ratio in ratios]
    lengths = [halves(text) + text.count(OVER) for text in bars]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 2 * BAR + 1
    for ratio, text in zip(ratios, bars, strict=True):
        assert len(text) == BAR + (ratio > 1)
        assert text == WHOLE * text.count(WHOLE) + text.lstrip(WHOLE)
        assert text.rstrip(EMPTY + OVER).count(EMPTY) == 0


def test_bars_differ_in_ascii_too() -> None:
    for ratio in (0.0, 1e-9, 0.3, 1.0, 2.0):
        plain = for_encoding(ratio_bar(ratio), "ascii")
        assert plain.isascii()
        assert len(plain) == len(ratio_bar(ratio))
    assert len({for_encoding(mark, "ascii") for mark in (WHOLE, HALF, EMPTY, OVER)}) == 4


# --- Results in which something fails, but not what comes first ---------------------------------


@cache
def failing() -> report.Verification:
    """Several checks of each kind fail, one of them with nothing to compare."""
    result = rnnshapes.verify(N=2, T=4)
    wrong: dict[str, dict[str, Any]] = {
        "simple_rnn/bias": {"found": "(6,)"},
        "count_params()": {"found": "58"},
        "simple_rnn: output, in float64": {"compared": 0},
    }
    wrong_numbers = {
        "dense: y_hat at every step": {"ratio": 1234.5, "index": Index(1, 3, 1)},
        "predict: own output": {"ratio": math.nan, "index": Index(0, None, 1)},
    }
    checks = []
    for check in result.checks:
        if check.name in wrong_numbers:
            residual = replace(check.residual, **wrong_numbers[check.name])
            checks.append(replace(check, passed=False, residual=residual))
        elif check.name in wrong:
            checks.append(replace(check, passed=False, **wrong[check.name]))
        else:
            checks.append(check)
    return replace(result, checks=tuple(checks))


@cache
def wrong_port() -> PortVerification:
    """y_hat is wrong at one place, and stands between arrays that are right."""
    arrays = dict(rnnshapes.golden(N=2, T=5).arrays)
    arrays["y_hat"] = np.array(arrays["y_hat"])
    arrays["y_hat"][1, 3, 1] += 1e-3
    port = {name: arrays[name] for name in ("simple_rnn.h", "y_hat", "output")}
    return rnnshapes.verify(N=2, T=5, against=port)


RESULTS = {"verify": failing, "port": wrong_port}


@pytest.fixture(scope="module", params=RESULTS)
def result(request: pytest.FixtureRequest) -> Any:
    """Each of them."""
    return RESULTS[request.param]()


#: Every check in a row of its own.
NUMBERS = View(parts=frozenset({"numbers"}))


def tables(result: Any) -> list[Table]:
    """Return the tables of its document."""
    return [b for b in render.to_document(result, NUMBERS) if isinstance(b, Table)]


def columns(table: Table) -> list[list[str]]:
    """Its cells, column by column."""
    return [list(cells) for cells in zip(*(row.cells for row in table.rows), strict=True)]


def column(table: Table, pattern: str) -> list[str]:
    """The column in which some cell is so, and no cell is otherwise unless it is empty."""
    (found,) = [
        cells
        for cells in columns(table)
        if any(cells) and all(re.fullmatch(pattern, cell) for cell in cells if cell)
    ]
    return found


#: An index: sample, t if there is one, unit.
INDEX = r"\d+, (\d+|-), \d+"


def text(result: Any, width: int, encoding: str = "utf-8", view: View = NUMBERS) -> str:
    """The document on a screen so wide."""
    stream = TextIOWrapper(BytesIO(), encoding=encoding)
    terminal.draw(render.to_document(result, view), terminal.plain(stream, width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


# --- What comes first ---------------------------------------------------------------------------


def test_what_fails_comes_first(result: Any) -> None:
    """Red rows stand above all others."""
    for table in tables(result):
        red = [row.meaning == "bad" for row in table.rows]
        assert red == sorted(red, reverse=True)
        assert any(red)
        assert column(table, "ok|FAIL") == ["FAIL" if one else "ok" for one in red]
    assert not all(row.meaning == "bad" for table in tables(result) for row in table.rows)


def names_in(table: Table, names: list[str]) -> list[str]:
    """Which of some names each row holds."""
    return [next((name for name in names if name in row.cells), "") for row in table.rows]


def test_apart_from_that_the_order_stays() -> None:
    checks = failing().checks
    facts, ratios = tables(failing())
    exact = [check.name for check in checks if not check.precision]
    wrong = [check.name for check in checks if not check.precision and not check.passed]
    assert len(wrong) == 2
    right = [name for name in exact if name not in wrong]
    assert names_in(facts, exact) == [*wrong, *right]
    failed = [check for check in checks if check.precision and not check.passed]
    assert len(failed) == 3
    for check, row in zip(failed, ratios.rows, strict=False):
        assert any(f"{check.layer}: {check.quantity}" in cell for cell in row.cells)
        bars = {cell for cell in row.cells if cell.startswith((WHOLE, HALF, EMPTY))}
        assert bars == {ratio_bar(check.ratio)} - {""}
    (port,) = tables(wrong_port())
    assert column(port, INDEX) == ["1, 3, 1", "0, 0, 0", "0, 4, 0"]


def test_files_keep_the_order_of_checks(result: Any) -> None:
    """JSON and CSV do not sort."""
    checks = result.to_dict()["checks"]
    passed = [getattr(c, "passed", getattr(c, "agrees", None)) for c in result.checks]
    assert [check["passed"] for check in checks] == passed
    headings, *lines = render.to_rows(result)
    written = [line[headings.index("passed")] for line in lines]
    assert written == [str(check["passed"]).lower() for check in checks]
    assert written != sorted(written)


# --- What stays at every width ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_every_index_stays_at_every_width(width: int, encoding: str, result: Any) -> None:
    """It stands in the table, or below it with its check."""
    shown = text(result, width, encoding)
    assert max(map(len, shown.splitlines())) <= width
    if encoding == "ascii":
        assert "\\u" not in shown
    for index in column(tables(result)[-1], INDEX):
        assert index in shown


def test_bars_stay_where_counts_have_no_room(result: Any) -> None:
    """Counts come back where there is room."""
    *others, last = tables(result)[-1].columns
    heading = max(others, key=lambda column: column.rank).heading
    for width in (80, 160):
        shown = text(result, width)
        assert ratio_bar(2.0) in shown
        ends = last.heading.split("\n")[-1]
        headings = [line for line in shown.splitlines() if line.endswith(ends)]
        assert [heading in line for line in headings] == [width == 160] * len(headings) != []
