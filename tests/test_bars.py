"""Tables of ratios: what fails comes first, bars of 1, and the place of the worst."""

from __future__ import annotations

import math
from dataclasses import replace
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

BARS = [
    (None, ""),
    (0.0, "╌╌╌╌╌╌╌╌"),
    (1e-9, "╸╌╌╌╌╌╌╌"),
    (1 / 16, "╸╌╌╌╌╌╌╌"),
    (0.07, "━╌╌╌╌╌╌╌"),
    (0.5, "━━━━╌╌╌╌"),
    (0.51, "━━━━╸╌╌╌"),
    (0.999, "━━━━━━━━"),
    (1.0, "━━━━━━━━"),
    (math.nextafter(1.0, 2.0), "━━━━━━━━>"),
    (3e11, "━━━━━━━━>"),
    (math.inf, "━━━━━━━━>"),
    (math.nan, "━━━━━━━━>"),
]


@pytest.mark.parametrize(("ratio", "text"), BARS)
def test_a_bar_is_full_at_1_and_says_what_is_above(ratio: float | None, text: str) -> None:
    """And NaN, which passes nothing, is above; the same in ASCII."""
    assert ratio_bar(ratio) == text
    plain = for_encoding(ratio_bar(ratio), "ascii")
    assert plain == text.translate({ord("━"): "=", ord("╸"): "-", ord("╌"): "."})


def test_bars_grow_with_the_ratio() -> None:
    """Never shorter for a larger one, all of one width, and > above 1 alone."""
    ratios = np.sort(np.random.default_rng(2).uniform(0, 1.2, 500)).tolist()
    bars = [ratio_bar(ratio) for ratio in ratios]
    lengths = [2 * text.count("━") + text.count("╸") + text.count(">") for text in bars]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) == 2 * BAR + 1
    for ratio, text in zip(ratios, bars, strict=True):
        assert (">" in text) == (ratio > 1)
        assert len(text) == BAR + (ratio > 1)


# --- Results in which something fails, but not what comes first ---------------------------------


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


def wrong_port() -> PortVerification:
    """y_hat is wrong at one place, and stands between arrays that are right."""
    arrays = dict(rnnshapes.golden(cell="gru", N=2, T=5).arrays)
    arrays["y_hat"] = np.array(arrays["y_hat"])
    arrays["y_hat"][1, 3, 1] += 1e-3
    port = {name: arrays[name] for name in ("gru.h", "y_hat", "output")}
    return rnnshapes.verify(cell="gru", N=2, T=5, against=port)


RESULTS = {"verify": failing, "port": wrong_port}


@pytest.fixture(scope="module", params=RESULTS)
def result(request: pytest.FixtureRequest) -> Any:
    """Each of them."""
    return RESULTS[request.param]()


def tables(result: Any) -> list[Table]:
    """The tables of its document, with every configuration."""
    return [b for b in render.to_document(result, View()) if isinstance(b, Table)]


def column(table: Table, heading: str) -> list[str]:
    """The cells below a heading."""
    (place,) = [i for i, c in enumerate(table.columns) if c.heading.split("\n")[0] == heading]
    return [row.cells[place] for row in table.rows]


def text(result: Any, width: int, encoding: str = "utf-8", view: View | None = None) -> str:
    """The document on a screen so wide."""
    stream = TextIOWrapper(BytesIO(), encoding=encoding)
    terminal.draw(render.to_document(result, view), terminal.plain(stream, width))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


# --- What comes first ---------------------------------------------------------------------------


def test_what_fails_comes_first_in_every_table(result: Any) -> None:
    """All red rows stand above all others, and there are some of both."""
    for table in tables(result):
        red = [row.meaning == "bad" for row in table.rows]
        assert red == sorted(red, reverse=True)
        assert any(red)
    assert not all(row.meaning == "bad" for table in tables(result) for row in table.rows)


def test_the_order_is_the_same_but_for_that() -> None:
    """Of those that fail, and of those that pass."""
    checks = failing()
    facts, ratios = tables(checks)
    names = [check.name for check in checks.checks if not check.precision]
    wrong = ["simple_rnn/bias", "count_params()"]
    assert column(facts, "check") == [*wrong, *(name for name in names if name not in wrong)]
    assert column(ratios, "")[:4] == ["FAIL", "FAIL", "FAIL", "ok"]
    assert column(ratios, "check")[:3] == [
        "dense: y_hat at every step, float32",
        "predict: own output, float32",
        "simple_rnn: output, float64",
    ]
    assert column(ratios, "ratio")[:3] == ["1.23e+03", "nan", "none"]
    assert column(ratios, "of 1")[:3] == [ratio_bar(2.0), ratio_bar(math.nan), ""]
    (port,) = tables(wrong_port())
    assert column(port, "what the port gives")[0] == "y_hat at every step"
    assert column(port, "worst at") == ["1, 3, 1", "0, 0, 0", "0, -, 0"]


def test_programs_are_given_the_order_of_before(result: Any) -> None:
    """JSON and CSV do not sort."""
    record = result.to_dict()
    listed = record["checks"]
    assert [part["passed"] for part in listed] == [
        getattr(part, "passed", getattr(part, "agrees", None)) for part in result.checks
    ]
    headings, *lines = render.to_rows(result)
    passed = [line[headings.index("passed")] for line in lines]
    assert passed == [str(part["passed"]).lower() for part in listed]
    assert passed != sorted(passed)


# --- What stays at every width ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [40, 80, 160])
def test_no_line_is_too_wide_and_the_worst_place_stays(width, encoding, result) -> None:
    """In the table, or below it with the check that it belongs to."""
    shown = text(result, width, encoding)
    assert max(map(len, shown.splitlines())) <= width
    if encoding == "ascii":
        assert "\\u" not in shown
    for place in column(tables(result)[-1], "worst at"):
        assert place in shown


@pytest.mark.parametrize("width", [80, 160])
def test_bars_stay_in_80_columns_and_what_was_compared_goes_first(width: int, result: Any) -> None:
    """The bar of a ratio above 1 is there with its mark; counts come back where there is room."""
    shown = text(result, width)
    assert ratio_bar(2.0) in shown
    headings = [line for line in shown.splitlines() if line.endswith("sample, t, unit")]
    assert [("compared" in line) for line in headings] == [width == 160] * len(headings)
    assert headings
