"""What screens say of a result: each of its facts is shown, and nothing that does not hold."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from io import StringIO
from itertools import groupby
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.forward.difference import Difference, Index
from rnnshapes.forward.non_finite import NonFinite
from rnnshapes.network.file_summary import FileSummaries, FileSummary
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.structure import Engine, Fact, FileCheck
from rnnshapes.port.error_summary import ErrorSummary
from rnnshapes.port.explanation import Diagnosis, Explanation
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.location import Location
from rnnshapes.port.recovery.equations import TooFewSteps
from rnnshapes.port.weight_files.comparison import WeightCheck, WeightVerification
from rnnshapes.render.document import Drawing, Line, Meaning, Sheet, Table
from rnnshapes.render.formats import json_csv
from rnnshapes.render.number_text import ratio_bar
from rnnshapes.render.view import View
from tests.helpers.blocks import tables_of
from tests.helpers.models import Doubled, functional, randomized, sequential

SIZES: dict[str, Any] = {"N": 2, "T": 6, "D": 3, "M": 4, "K": 5}


def shown(result: Any, *parts: str, **view: Any) -> str:
    """Return all lines, headings and cells of some parts of a result."""
    chosen = View(parts=frozenset(parts or ("summary",)), **view)
    texts: list[str] = []
    for block in render.to_document(result, chosen):
        if isinstance(block, Line):
            assert block.meaning in get_args(Meaning)
            if block.indent == 8:  # the other lines stand below the text behind a short label
                assert block.text[7] == " "
                assert block.text[8:].strip()
            texts.append(f"{block.meaning}: {block.text}")
        elif isinstance(block, Table):
            assert {len(row.cells) for row in block.rows} <= {len(block.columns)}
            texts += [block.title, *(column.heading for column in block.columns)]
            texts += [" | ".join((row.meaning, *row.cells)) for row in block.rows]
        else:
            assert isinstance(block, Drawing)
            texts.append(block.title)
    return "\n".join(texts)


#: A word, or several of one line.
Words = str | tuple[str, ...]


def assert_shown(text: str, present: Iterable[Words], absent: Iterable[Words] = ()) -> None:
    """Check that some line has these words, and that none has those."""
    lines = text.split("\n")

    def has_line(words: Words) -> bool:
        words = (words,) if isinstance(words, str) else words
        return any(all(word in line for word in words) for line in lines)

    assert [words for words in present if not has_line(words)] == []
    assert [words for words in absent if has_line(words)] == []


def rows_of(result: Any) -> list[dict[str, str]]:
    """Return the rows of the CSV form of a result."""
    text = "".join(json_csv.csv_chunks(render.to_rows(result)))
    return list(csv.DictReader(StringIO(text)))


# --- A port -------------------------------------------------------------------------------------

Change = Callable[[Any], Any]


@cache
def port(right: bool = False) -> Any:
    """Return a port that is right, or one whose y_hat is noise."""
    y_hat = rnnshapes.golden(**SIZES).arrays["y_hat"].astype("float32")
    noise = np.random.default_rng(0).standard_normal(y_hat.shape).astype("float32")
    return rnnshapes.verify(**SIZES, against={"y_hat": y_hat if right else noise})


def with_check(result: Any, **changes: Any) -> Any:
    """Return a port with other facts of its only array."""
    (check,) = result.checks
    return replace(result, checks=(replace(check, **changes),))


def searched(**changes: Any) -> Any:
    """Return a port that a search has not explained."""
    nearest = (Mistake("time.reversed", "a nearer one"),)
    diagnosis = Diagnosis((), 1234, nearest, 0.25)
    return replace(port(), diagnosis=replace(diagnosis, **changes), random_input=False)


def explained(*mistakes: Mistake, **changes: Any) -> Any:
    """Return a port that mistakes explain."""
    explanation = Explanation(mistakes, "float32", port(right=True).checks)
    return replace(port(), diagnosis=Diagnosis((replace(explanation, **changes),), 1234))


def inexact(relative: float, *, tolerance: float | None = None, growth: float | None = None) -> Any:
    """Return a port that a rounded weight explains, with an error of this share of the range."""
    mistake = Mistake("weights.float16", "weights in 16 bits", Where("simple_rnn"))
    error = ErrorSummary(0.5, 0.25, relative, relative / 2, 2.0, growth)
    result = with_check(explained(mistake), error=error)
    return replace(result, tolerance=tolerance)


def twice(result: Any, **changes: Any) -> Any:
    """Return a port with a second array."""
    (check,) = result.checks
    return replace(result, checks=(check, replace(check, quantity="second array", **changes)))


def named(count: int) -> tuple[str, ...]:
    return tuple(f"array{number}" for number in range(1, count + 1))


ONE = {"residual": replace(port(right=True).checks[0].residual, compared=1)}
#: Two explanations of one port, each with a mistake in two layers.
LAYERS = [Mistake("gates.order", f"{name} wrong", Where(name)) for name in ("first", "second")]

#: A port, what it must show, and what it must not. All words of a tuple stand in one line.
PORTS: dict[str, tuple[Callable[[], Any], list[Words], list[Words]]] = {
    "four unknown": (lambda: replace(port(), unknown_arrays=named(4)), ["array4"], []),
    "six unknown": (
        lambda: replace(port(), unknown_arrays=named(6)),
        [("array4", " 2 ")],
        ["array5"],
    ),
    "unseen layers": (
        lambda: replace(port(right=True), uncompared_layers=("unseen",)),
        [("warning: ", "unseen")],
        [],
    ),
    "unseen layers of a wrong port": (
        lambda: replace(port(), uncompared_layers=("unseen",)),
        [],
        ["unseen"],
    ),
    "left out": (lambda: with_check(port(right=True), left_out=23), [("warning: ", "23")], []),
    "nothing left out": (lambda: port(right=True), [("good: ", "60")], ["warning: "]),
    "one number": (lambda: with_check(port(right=True), **ONE), ["good: "], [("good: ", " 1 ")]),
    "16 bits": (
        lambda: with_check(port(right=True), narrow_dtype="bfloat16"),
        ["bfloat16"],
        [],
    ),
    "wide": (
        lambda: with_check(port(), wide=11, width=0.0234),
        [("warning: ", "11", "60", "2.3 %")],
        [],
    ),
    "zeros": (
        lambda: with_check(port(right=True), only_zeros=True),
        [("warning: ", "y_hat")],
        [],
    ),
    "zeros of a wrong port": (
        lambda: with_check(port(), only_zeros=True),
        [],
        [("warning: ", "y_hat")],
    ),
    "tried": (
        searched,
        ["1,234", ("a nearer one", "2.5e-01"), ("bad: ", "60")],
        ["second array", "--input"],
    ),
    "nothing near": (lambda: searched(nearest=()), ["1,234"], ["2.5e-01"]),
    "too few steps": (
        lambda: searched(too_few_steps=TooFewSteps("rnn", 12, 3456)),
        [("3,456", "12", "rnn")],
        [],
    ),
    "random x": (
        lambda: replace(searched(), random_input=True),
        [("warning: ", "--input")],
        [],
    ),
    "looks": (
        lambda: searched(appearance=(Mistake("numeric.noise", "some noise"),)),
        ["some noise"],
        [],
    ),
    "two arrays": (
        lambda: twice(port(), first=Index(0, 0, 0), first_values=(0.5, 0.75)),
        [("plain: ", "y_hat", "sample 0", "t 0"), ("bad: ", "120")],
        [],
    ),
    "an array without differences": (
        lambda: twice(port(), first=None, first_values=None, differing=0),
        [("plain: ", "y_hat", "sample 0", "t 0"), ("bad: ", "60", "120")],
        [],
    ),
    "an array without time": (
        lambda: twice(with_check(port(), first=Index(0, None, 3)), first=Index(1, 2, 4)),
        [("plain: ", "second array", "sample 1", "t 2", "unit 4")],
        [("plain: ", "y_hat")],
    ),
    "one array": (port, [("plain: ", "sample 0", "t 0")], [("plain: ", "y_hat")]),
    "mistakes": (
        lambda: explained(*LAYERS, Mistake("time.reversed", "in reverse", own_fix="turn it")),
        [("bad: ", "first wrong"), ("bad: ", "second wrong"), "turn it", ("plain: ", " 60 ")],
        ["--dtype"],
    ),
    "arithmetic": (
        lambda: explained(
            arithmetic=Mistake("numeric.float16", "in 16 bits"), dtype="float16", mixed=True
        ),
        ["in 16 bits", "--dtype float16"],
        [],
    ),
    "arithmetic beside a mistake": (
        lambda: explained(
            LAYERS[0], arithmetic=Mistake("numeric.other", "in 16 bits"), dtype="float16"
        ),
        ["in 16 bits"],
        ["--dtype float16"],
    ),
    "places": (
        lambda: replace(port(), locations=(Location(Where(), "at a place"), Location(Where(), ""))),
        ["at a place"],
        [],
    ),
    "places of an explained port": (
        lambda: replace(
            explained(LAYERS[0]),
            locations=(Location(Where(), "at a place"), Location(Where(), "in a line", True)),
        ),
        ["in a line"],
        ["at a place"],
    ),
    "inexact": (
        lambda: inexact(0.0123),
        [("warning: ", "weights in 16"), ("1.2 %", "0.61 %"), "--tolerance 0.013"],
        ["y_hat, "],
    ),
    "inexact by much": (lambda: inexact(0.0501), ["warning: ", " 5 %"], ["--tolerance"]),
    "inexact by less": (lambda: inexact(0.0499), ["--tolerance 0.05"], []),
    "growing": (lambda: inexact(0.01, growth=1.51), ["1.5"], []),
    "shrinking": (lambda: inexact(0.01, growth=0.66), ["0.66"], []),
    "accepted": (
        lambda: inexact(0.0123, tolerance=0.02),
        [("1.2 %", "2 %"), ("plain: ", "weights in 16")],
        ["--tolerance"],
    ),
    "a mistake within the tolerance": (
        lambda: replace(
            with_check(explained(LAYERS[0]), error=ErrorSummary(1, 1, 0.001, 0.001, 1, None)),
            tolerance=0.01,
        ),
        ["bad: ", "0.1 %"],
        [],
    ),
    "shape": (
        lambda: with_check(port(), shape="shape (6, 2), expected (2, 6)"),
        [("plain: shape ", "(6, 2)", "(2, 6)")],
        ["60 | 60"],
    ),
    "notes": (lambda: replace(port(), notes=("read as text",)), ["read as text"], []),
    "one sample": (
        lambda: replace(port(), network=from_sizes(**{**SIZES, "N": 1})),
        [("plain: ", "t 0")],
        ["sample 0"],
    ),
    "little compared": (
        lambda: replace(with_check(port(), differing=0, left_out=100), diagnosis=None),
        [("bad: ", "60", "160")],
        [],
    ),
    "differing by itself": (
        lambda: replace(with_check(port(), differing=7, left_out=41), diagnosis=None),
        [("bad: ", " 7 of 60 ")],
        ["101"],
    ),
    "one explained number": (
        lambda: explained(LAYERS[0], comparisons=with_check(port(right=True), **ONE).checks),
        ["first wrong"],
        [("plain: ", " 1 ")],
    ),
    "three times the bound": (
        lambda: with_check(port(), residual=replace(port().checks[0].residual, ratio=3.0)),
        ["| 300 % |"],
        [],
    ),
    "errors of two arrays": (
        lambda: twice(inexact(0.0123)),
        [("second array", "1.2 %"), ("y_hat", "1.2 %")],
        [],
    ),
    "more than the range": (lambda: inexact(1.5, tolerance=0.01), ["bad: ", "150 %"], []),
    "nearly the range": (
        lambda: inexact(0.9971, tolerance=0.01),
        [("error", "100 % of", "50 %")],
        ["1e+02"],
    ),
    "tiny error": (lambda: inexact(3e-8), ["3e-06 %"], []),
    "infinite error": (lambda: inexact(float("inf")), ["bad: "], []),
}


@pytest.mark.parametrize("name", PORTS)
def test_port_shows_its_facts(name: str) -> None:
    make, present, absent = PORTS[name]
    assert_shown(shown(make(), width=200), present, absent)


@settings(deadline=None, max_examples=30)
@given(st.floats(1e-6, 0.05))
def test_proposed_tolerance_accepts_the_error(share: float) -> None:
    """In two digits, and hardly more than that."""
    (words,) = re.findall(r"--tolerance (\S+)", shown(inexact(share)))
    assert share <= float(words) <= share * 1.11
    assert f"{float(words):.2g}" == words


@pytest.mark.parametrize("part", ["summary", "numbers"])
def test_failed_arrays_stand_first(part: str) -> None:
    (right,) = port(right=True).checks
    checks = (replace(right, quantity="right"), *twice(port()).checks)
    document = render.to_document(replace(port(), checks=checks), View(parts=frozenset({part})))
    (table,) = [block for block in document if isinstance(block, Table)]
    assert [row.meaning for row in table.rows] == ["bad", "bad", "plain"]
    assert table.rows[-1].cells[1] == "right"


NOWHERE = Location(Where(), "")
#: Ports of which no two look alike.
TOLD_APART: list[list[Callable[[], Any]]] = [
    [partial(inexact, 0.01, growth=growth) for growth in (None, 1.0, 1.51, 0.66)],
    [partial(inexact, 0.0123, tolerance=tolerance) for tolerance in (0.01, 0.02)],
    [
        lambda: with_check(port(right=True), **ONE),
        lambda: with_check(port(right=True), **ONE, left_out=1),
    ],
    [partial(explained, Mistake(f"numeric.{id_}", "int8")) for id_ in ("fixed_point", "int8")],
    [
        lambda: replace(port(), locations=()),
        lambda: replace(port(), locations=(Location(Where(), "at a place"),)),
    ],
]


@pytest.mark.parametrize("makes", TOLD_APART)
def test_ports_with_other_facts_look_otherwise(makes: list[Callable[[], Any]]) -> None:
    assert len({shown(make()) for make in makes}) == len(makes)


def test_ports_without_other_facts_look_alike() -> None:
    """Growth up to a half, either way, is none; a tolerance may be too small, a place empty."""
    for makes in (
        [partial(inexact, 0.01, growth=growth) for growth in (0.67, 1.0, 1.49)],
        [partial(inexact, 0.0123, tolerance=tolerance) for tolerance in (None, 0.01)],
        [lambda: replace(port(), locations=()), lambda: replace(port(), locations=(NOWHERE,))],
    ):
        assert len({shown(make()) for make in makes}) == 1


#: Facts of a search, each of which changes the screen.
SEARCHES = {
    "pairs of the head": {"pairs": "head"},
    "no pairs": {"pairs": ""},
    "cut off": {"cut_off": True},
    "no single weights": {"weights_tried": False},
    "no single weights, incomplete": {"weights_tried": False, "complete": False},
    "no single weights, pairs of the head": {"weights_tried": False, "pairs": "head"},
    "too few numbers": {"too_few_numbers": True},
    "zeros": {"tried": 0},
}


def test_each_fact_of_a_search_is_shown() -> None:
    texts = {name: shown(searched(**changes)) for name, changes in SEARCHES.items()}
    texts |= {"all": shown(searched()), "by itself": shown(replace(searched(), diagnosis=None))}
    proven = with_check(searched(weights_tried=False), proven=True)
    texts |= {"no single weights, proven": shown(proven)}
    texts |= {"exchanged": shown(replace(searched(), axes_swapped=True))}
    texts |= {"one number": shown(with_check(searched(), **ONE))}
    assert len(set(texts.values())) == len(texts)
    assert "1,234" not in texts["zeros"]
    verdicts = [texts[name] for name in ("all", "too few numbers", "zeros", "by itself")]
    verdicts = [text.partition("\n")[0] for text in (*verdicts, texts["exchanged"])]
    assert len(set(verdicts)) == len(verdicts)


def test_verdict_tells_whether_all_is_compared() -> None:
    right = port(right=True)
    ports = (right, with_check(right, left_out=23), replace(right, unknown_arrays=("array1",)))
    everything, some, same = (shown(result).partition("\n")[0] for result in ports)
    assert everything != some == same


def test_small_unexplained_errors_are_called_small() -> None:
    failed = searched(nearest=())
    small = with_check(failed, error=ErrorSummary(1, 1, 0.01, 0.005, 1, None))
    assert shown(failed).startswith("bad: ")
    assert shown(small).startswith("warning: ")
    texts = [shown(one).partition("\n")[0].partition(": ")[2][8:] for one in (failed, small)]
    assert texts[1].removeprefix(texts[0]) not in ("", texts[1])


def test_refused_tolerance_has_a_reason() -> None:
    mistake = with_check(explained(LAYERS[0]), error=ErrorSummary(1, 1, 0.001, 0.001, 1, None))
    unfinished = replace(mistake.diagnosis, explanations=(), complete=False, tried=5)
    reasons = set()
    for diagnosis in (mistake.diagnosis, unfinished):
        result = replace(mistake, diagnosis=diagnosis)
        refused = shown(replace(result, tolerance=0.01)).split("\n")
        reasons.add(frozenset(refused) - set(shown(result).split("\n")))
    assert len(reasons - {frozenset()}) == 2


def test_only_failed_ports_show_what_to_try() -> None:
    for result in (inexact(0.01), explained(LAYERS[0])):
        assert "1,234" not in shown(result)
    assert_shown(shown(with_check(port(right=True), first=None)), (), [("bad: ", "60")])


def test_numbers_of_a_port_show_each_difference() -> None:
    text = shown(port(), "numbers")
    (check,) = port().checks
    index = f"{check.index.sample}, {check.index.t}, {check.index.unit}"
    assert_shown(text, [f"{check.ratio:.3g}", f"{check.max_abs:.1e}", index])
    assert_shown(text, [("bad: ", "y_hat", "60")])
    assert f"| {check.max_abs:.1e} |" in shown(port())
    assert "bad: " not in shown(port(right=True), "numbers")
    swapped = shown(with_check(port(), shape="shape (6, 2), expected (2, 6)"), "numbers")
    (row,) = [line for line in swapped.split("\n") if line.startswith("bad | ")]
    assert row.split(" | ")[3:6] == ["none", "", ""]  # ratio, bar and difference
    assert_shown(swapped, [("bad: ", "y_hat", "(6, 2)", "(2, 6)")])
    assert_shown(shown(inexact(0.01), "numbers"), ["warning | "])
    proven = with_check(port(), proven=True)
    assert shown(proven, "numbers") != text
    assert shown(proven) != shown(port())
    nothing = with_check(port(), residual=replace(check.residual, compared=0), first=None)
    assert f"{check.ratio:.3g}" not in shown(nothing, "numbers")


def test_quiet_port_shows_no_notes() -> None:
    noted = replace(port(), notes=("read as text",))
    (line,) = render.to_document(noted, View(parts=frozenset()))
    assert line.meaning == "bad"


def test_rows_of_a_port_have_its_numbers() -> None:
    (check,) = port().checks
    (row,) = rows_of(port())
    assert (row["name"], row["passed"], row["compared"]) == (check.quantity, "false", "60")
    assert float(row["ratio"]) == check.ratio
    first = port().checks[0].first
    assert str(first) in row["detail"]
    assert len(rows_of(port(right=True))) == 1
    _, second = rows_of(explained(LAYERS[0]))
    assert (second["name"], second["passed"], second["compared"]) == ("explanation", "true", "60")
    assert (second["detail"], float(second["ratio"])) == (
        *("first wrong", explained(LAYERS[0]).diagnosis.explanations[0].ratio),
    )
    *_, verdict = rows_of(twice(inexact(0.0123)))
    assert (verdict["name"], verdict["passed"], verdict["compared"]) == ("verdict", "false", "120")
    assert [verdict[key].split()[-1] for key in ("expected", "found")] == ["0", "0.0123"]
    assert (verdict["ratio"], verdict["detail"].count("1.2 %")) == ("", 2)
    *_, verdict = rows_of(inexact(0.0123, tolerance=0.5))
    assert (verdict["passed"], "0.5" in verdict["expected"]) == ("true", True)
    left_out = with_check(inexact(0.0123), left_out=40)
    assert rows_of(left_out)[-1]["compared"] == "100"
    empty = with_check(port(), residual=replace(check.residual, compared=0), first=None)
    (row,) = rows_of(empty)
    assert (row["ratio"], row["detail"]) == ("", "")
    swapped = with_check(port(), shape="shape (6, 2), expected (2, 6)")
    assert (rows_of(swapped)[0]["ratio"], "(6, 2)" in rows_of(swapped)[0]["found"]) == ("", True)


def test_json_of_a_port_has_its_facts() -> None:
    record = searched(too_few_steps=TooFewSteps("rnn", 12, 34)).to_dict()
    assert (record["tried"], record["steps_needed"]) == (1234, 34)
    assert (record["nearest"]["max_abs"], record["nearest"]["mistakes"][0]["id"]) == (
        *(0.25, "time.reversed"),
    )
    assert searched().to_dict()["steps_needed"] is None
    record = port(right=True).to_dict()
    assert (record["tried"], record["nearest"], record["diagnosis"]) == (0, None, [])
    assert record["checks"][0]["dtype"] is None
    record = explained(*LAYERS, arithmetic=Mistake("numeric.float16", "bits")).to_dict()
    assert record["nearest"] is None
    ids = ["gates.order", "gates.order", "numeric.float16"]
    assert [one["id"] for one in record["diagnosis"]] == ids
    assert [one["alternative"] for one in record["diagnosis"]] == [0, 0, 0]
    conventions = [one["conventions"] for one in record["diagnosis"]]
    assert conventions == [["first wrong"], ["second wrong"], []]
    assert record["diagnosis"][1]["where"]["layer"] == "second"
    assert record["diagnosis"][0]["compared"] == 60
    appearance = searched(appearance=(Mistake("numeric.noise", "noise"),)).to_dict()["diagnosis"]
    facts = ("id", "ratio", "compared", "alternative")
    assert [[one[fact] for fact in facts] for one in appearance] == [["numeric.noise", None, 0, 0]]
    (check,) = with_check(port(), shape="shape (6, 2), expected (2, 6)").to_dict()["checks"]
    assert (check["ratio"], check["place"], check["max_abs"], check["error"]) == (None,) * 4
    (check,) = port().to_dict()["checks"]
    assert None not in (check["ratio"], check["place"], check["max_abs"], check["error"])
    (check,) = with_check(port(), narrow_dtype="float16").to_dict()["checks"]
    assert check["dtype"] == "float16"


# --- A network that is verified -----------------------------------------------------------------


@cache
def verified() -> Any:
    """Return a verification in which all passes."""
    return rnnshapes.verify(**SIZES)


def with_checks(choose: Callable[[Any], bool], **changes: Any) -> Any:
    """Return a verification in which some checks are others."""
    checks = verified().checks
    return replace(
        verified(), checks=tuple(replace(c, **changes) if choose(c) else c for c in checks)
    )


def with_ratio(name: str, ratio: float, **changes: Any) -> Any:
    """Return a verification in which a check has another ratio."""
    (check,) = [c for c in verified().checks if c.name == name]
    residual = replace(check.residual, ratio=ratio, **changes)
    facts = {"passed": residual.passed, "compared": residual.compared, "residual": residual}
    return with_checks(lambda c: c is check, **facts)


NAN = NonFinite(1234, Index(1, 2, 3), None, "")
TOO_LARGE = NonFinite(1, Index(1, 2, 3), 1e300, "float32")
JAX = Engine("3.99", "jax", "0.7.7", tensor_float_32=True)
H = "simple_rnn: h at every step"
#: What the line of the difference from Keras has.
Y_HAT = ("plain: ", "y_hat")

VERIFIED: dict[str, tuple[Callable[[], Any], list[Words], list[Words]]] = {
    "all": (
        verified,
        [("good: ", "21", "float32", "float64"), "simple_rnn", " | 10 |"],
        ["warning: ", "bad: "],
    ),
    "nothing": (lambda: replace(verified(), checks=()), ["bad: "], [("bad: ", " 0 ")]),
    "NaN": (
        lambda: replace(with_ratio(H, np.nan), not_finite=NAN),
        [("bad: ", " 1 ", "21"), ("bad: ", "1,234", "sample 1", "t 2", "feature 3")],
        [("bad: ", H)],
    ),
    "too large": (
        lambda: replace(with_ratio(H, np.nan), not_finite=TOO_LARGE),
        [("bad: ", "1e+300", "float32", "feature 3")],
        [],
    ),
    "reason": (
        lambda: replace(with_ratio(H, 3.0), is_random=True),
        ["300 %", ("bad: ", "SeedGenerator")],
        [("bad: ", H)],
    ),
    "no reason": (
        lambda: with_ratio(H, 3.0),
        [("bad: ", H), ("bad | ", "simple_rnn: h", "float32", "300 %"), ("dim: ", "%")],
        ["SeedGenerator"],
    ),
    "nothing compared": (
        lambda: with_ratio(H, 0.5, compared=0),
        [("bad | ", "simple_rnn: h", "float32")],
        ["50 %", "None"],
    ),
    "exact": (
        lambda: with_checks(lambda c: c.name == "count_params()", passed=False, found="58"),
        [("bad | ", "count_params()", "58"), ("bad: ", "count_params()", "58")],
        [("dim: ", "%")],
    ),
    "weights": (
        lambda: with_checks(
            lambda c: c.name == "weights: numbers", passed=False, found="not equal: dense/kernel"
        ),
        [("bad | ", "| dense/kernel")],
        [],
    ),
    "many": (
        lambda: with_checks(lambda c: c.residual is None or c.layer == "dense", passed=False),
        [("bad: ", "12", "21")],
        ["dim: 0 "],
    ),
    "overflow": (lambda: with_ratio(H, 0.5, overflow=4), [("warning: ", "t = 4")], []),
    "other backend": (
        lambda: replace(verified(), engine=JAX),
        [
            ("good: ", "Keras 3.99", "JAX 0.7.7", "TensorFloat-32"),
            ("warning: ", "KERAS_BACKEND=tensorflow"),
        ],
        [("good: ", "float64")],
    ),
    "no difference": (lambda: replace(verified(), difference=None), ["seed 0"], [Y_HAT]),
    "infinite difference": (
        lambda: replace(verified(), difference=Difference(np.inf, Index(0, 0, 0))),
        ["seed 0"],
        [Y_HAT],
    ),
    "difference": (
        lambda: replace(verified(), difference=Difference(0.0123, Index(0, 0, 0))),
        [(*Y_HAT, "1.2e-02", "seed 0")],
        [],
    ),
    "x": (
        lambda: replace(verified(), difference=Difference(0.0123, Index(0, 0, 0)), source="x"),
        [(*Y_HAT, "1.2e-02")],
        [(*Y_HAT, "x"), (*Y_HAT, "()")],
    ),
    "failed, with an overflow": (
        lambda: replace(
            with_ratio(H, 3.0, overflow=4), difference=Difference(0.0123, Index(0, 0, 0))
        ),
        ["bad: ", ("warning: ", "t = 4"), "1.2e-02"],
        [],
    ),
    "several equal": (
        lambda: with_checks(
            lambda c: c.residual is not None and c.layer not in ("predict", "trace"),
            residual=replace(verified().checks[-1].residual, ratio=0.0),
        ),
        [("plain | ", "2 ", " | 9 | ")],
        ["dense |"],
    ),
    "largest": (
        lambda: with_ratio("dense: y_hat at every step", 0.87),
        [("| dense | 2 | 87 % |", "y_hat, sample")],
        [],
    ),
    "whole model": (
        lambda: with_ratio("predict: own output", 0.99),
        [("| 2 | 99 % |", "| predict, sample")],
        [],
    ),
    "equal": (
        lambda: with_checks(
            lambda c: c.layer == "dense",
            residual=replace(verified().checks[-1].residual, ratio=0.0),
        ),
        ["| dense | 2 | "],
        [("| dense |", "%"), ("| dense |", "sample")],
    ),
}


@pytest.mark.parametrize("name", VERIFIED)
def test_verification_shows_its_facts(name: str) -> None:
    make, present, absent = VERIFIED[name]
    assert_shown(shown(make(), "summary", width=300), present, absent)


def test_both_directions_are_told_apart() -> None:
    result = rnnshapes.verify(N=2, T=3, D=4, M=5, K=2, cell="gru", bidirectional=True)
    for way in ("forward", "backward"):
        found = tuple(
            replace(c, residual=replace(c.residual, ratio=0.99))
            if c.name == f"bidirectional/{way}_gru: h at every step"
            else c
            for c in result.checks
        )
        assert_shown(shown(replace(result, checks=found)), [(way, " h, ", "99 %")])


def test_uncovered_layers_stand_in_the_verdict() -> None:
    def verdict(*layers: Any) -> str:
        result = rnnshapes.verify(randomized(sequential(*layers, la.GRU(4))), N=2)
        assert result.passed
        return shown(result).partition("\n")[0]

    one = verdict(Doubled(name="own"))
    assert "own" in one
    assert "2 " in verdict(Doubled(name="own"), Doubled(name="other"))


def test_output_of_an_unsupported_layer_is_not_checked() -> None:
    model = randomized(sequential(la.GRU(4, name="rnn"), Doubled(name="own")))
    result = rnnshapes.verify(model, N=2)
    assert result.passed
    assert_shown(shown(result), [("good: ", "own"), ("warning: ", "own"), "| rnn | "])


def test_bounds_are_of_a_step_or_layer() -> None:
    """Where there is no recurrence, no text mentions a step."""
    result = rnnshapes.verify(randomized(sequential(la.Flatten(), la.Dense(4), la.Dense(2))), N=2)
    failed = tuple(replace(check, passed=False) for check in result.checks)
    for one in (result, replace(result, checks=failed)):
        assert "step" not in shown(one, "all")
    assert "one step" in shown(verified(), "all")


def test_source_without_a_name_has_no_line() -> None:
    result = replace(verified(), difference=None, source="x")
    assert "dim: " not in shown(result).split("\n")


def test_verdict_alone_has_the_reason() -> None:
    for result, words in (
        (replace(with_ratio(H, np.nan), not_finite=NAN), "1,234"),
        (replace(with_ratio(H, 3.0), is_random=True), "SeedGenerator"),
        (with_ratio(H, 3.0), "21"),
        (verified(), "21"),
    ):
        (line,) = render.to_document(result, View(parts=frozenset(), width=10))
        assert words in line.text
        assert ("SeedGenerator" in line.text) == (words == "SeedGenerator")
        first, *others = shown(result, width=300).split("\n")
        assert ("1,234" in first, "SeedGenerator" in first) == (False, False)  # lines say that
        assert words == "21" or any(words in text for text in others)


def test_every_check_has_its_numbers() -> None:
    text = shown(with_ratio(H, 3.0), "numbers")
    for check in with_ratio(H, 3.0).checks:
        if check.residual is None:
            assert f"{check.name} | {check.expected} | {check.found} | {check.compared}" in text
            continue
        index = check.index
        t = "-" if index.t is None else index.t
        end = f" | {check.compared} | {index.sample}, {t}, {index.unit}"
        assert any(f"{check.ratio:.3g} |" in row and row.endswith(end) for row in text.split("\n"))
    failed = [row for row in text.split("\n") if row.startswith("bad |")]
    assert len(failed) == 1
    assert next(row for row in text.split("\n") if "float32 |" in row) == failed[0]


def test_records_of_checks_have_their_facts() -> None:
    result = with_ratio(H, 3.0, overflow=4)
    record = result.to_dict()
    for check, found, row in zip(result.checks, record["checks"], rows_of(result), strict=True):
        assert (found["name"], found["passed"]) == (check.name, check.passed)
        assert (row["name"], row["passed"]) == (check.name, str(check.passed).lower())
        assert found["ratio"] == check.ratio
        assert row["ratio"] == ("" if check.ratio is None else str(check.ratio))
        assert found["overflow"] == (4 if check.name == H else None)
        assert (found["place"] is None) == (check.residual is None)
        assert (found["detail"] == "") == (check.residual is None)
    assert record["not_finite"] is None
    assert replace(result, not_finite=NAN).to_dict()["not_finite"]["count"] == 1234
    assert replace(result, difference=None).to_dict()["difference"] is None


# --- Several files ------------------------------------------------------------------------------

FILES = FileSummaries(
    (
        FileSummary("a.keras", ".keras", "3.9", ("LSTM", "GRU"), (5, None), 1234, True),
        FileSummary("b.h5", "HDF5", "", ("GRU",), (7,), None, None, ("first", "second", "third")),
        FileSummary("c.h5", "HDF5", "2.1", (), (), 5, False, ("only",), exit_status=1),
        FileSummary("d.h5", error="not a model", exit_status=2),
    )
)


def test_summaries_of_files_show_their_facts() -> None:
    heading, *lines = shown(FILES).split("\n")
    assert [word for word in heading.replace(",", "").split() if word.isdecimal()] == list("4112")
    rows = [line.split(" | ") for line in lines if " | " in line]
    assert [row[0] for row in rows] == ["plain", "warning", "bad", "bad"]
    assert rows[0][2:] == ["a.keras", "LSTM, GRU", "5, ?", "1,234", ""]
    assert rows[1][2:] == ["b.h5", "GRU", "7", "?", "3"]
    assert rows[2][5:] == ["5", "1"]
    assert rows[3][4:] == ["", "", ""]
    remarks = lines[-3:]
    words = ("first", "only", "not a model")
    assert all(word in line for word, line in zip(words, remarks, strict=True))
    assert [re.findall(r"(\d+) more", line) for line in remarks] == [["2"], [], []]
    assert [line.partition(":")[0] for line in remarks] == ["warning", "bad", "bad"]
    assert shown(FileSummaries(FILES.files[:1])).split("\n")[-1].startswith("plain | ")


def test_records_of_files_have_their_facts() -> None:
    first, second, third, last = FILES.to_dict()["files"]
    assert (first["M"], first["params"], first["agrees"]) == ((5, None), 1234, True)
    assert (first["error"], second["keras_version"], last["kind"]) == (None, None, None)
    assert (first["kind"], first["keras_version"]) == (".keras", "3.9")
    assert (third["keras_version"], third["agrees"], last["error"]) == ("2.1", False, "not a model")
    rows = rows_of(FILES)
    assert [row["M"] for row in rows] == ["5, ?", "7", "", ""]
    assert [row["warnings"] for row in rows] == ["", "first; second; third", "only", ""]
    assert FILES.exit_status == 2


# --- Weight files -------------------------------------------------------------------------------


def weight_file(failed: int, count: int = 3, **changes: Any) -> WeightVerification:
    """Return a comparison in which the first arrays are wrong."""
    checks = [WeightCheck(f"own{n}", (f"a{n}", f"b{n}"), "as it is", 411) for n in range(count)]
    for n in range(failed):
        mistake = Mistake("weights.other", f"wrong{n}", Where("rnn"), "mend it")
        checks[n] = checks[n]._replace(rule="", mistake=mistake)
    network = verified().network
    result = WeightVerification(network, "w.pt", "PyTorch", "state_dict", tuple(checks), (), ())
    return replace(result, **changes)


WEIGHT_FILES: dict[str, tuple[Callable[[], Any], list[Words], list[Words]]] = {
    "right": (
        lambda: weight_file(0),
        [("good: ", "1,233", "3"), ("own2", "a2"), ("b2", "as it is"), ("state_dict", "PyTorch")],
        ["bad", "warning"],
    ),
    "wrong": (
        lambda: weight_file(2),
        [("bad: ", "own0", "wrong0"), ("bad: ", "own1", "wrong1"), "mend it", "bad | FAIL | own1"],
        ["good: "],
    ),
    "without a remedy": (
        lambda: weight_file(
            0, checks=(WeightCheck("own0", ("a0",), "", 411, Mistake("weights.own", "wrong0")),)
        ),
        [("bad: ", "own0", "wrong0")],
        [],
    ),
    "six": (lambda: weight_file(6, 8), [("bad: ", "wrong5")], ["good: ", ("bad: ", " more")]),
    "seven": (lambda: weight_file(7, 8), [("bad: ", "wrong5"), ("bad: ", "1 more")], ["wrong6"]),
    "empty": (lambda: weight_file(0, 0), ["bad: "], ["good: ", ("bad: ", "0")]),
    "four unknown": (
        lambda: weight_file(0, unknown_arrays=named(4)),
        [("warning: ", "array4", "w.pt")],
        [("warning: ", " 1 "), ("warning: ", " 0 ")],
    ),
    "five unknown": (
        lambda: weight_file(0, unknown_arrays=named(5)),
        [("warning: ", "array4", " 1 ")],
        ["array5"],
    ),
    "assumption": (
        lambda: weight_file(0, assumptions=("an option",)),
        [("warning: ", "an option")],
        [],
    ),
    "known kind": (
        lambda: weight_file(0, path="w.onnx", framework="ONNX", kind=".onnx"),
        [("w.onnx", "ONNX")],
        [("w.onnx", " .onnx")],
    ),
    "safetensors": (
        lambda: weight_file(0, path="W.SAFETENSORS", kind=".safetensors"),
        [("W.SAFETENSORS", "PyTorch")],
        [".safetensors"],
    ),
}


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weight_file_shows_its_facts(name: str) -> None:
    make, present, absent = WEIGHT_FILES[name]
    assert_shown(shown(make(), "summary", width=300), present, absent)


def test_records_of_weight_files_have_their_facts() -> None:
    wrong, right = rows_of(weight_file(1, 2))
    assert (wrong["passed"], wrong["id"], wrong["detail"]) == ("false", "weights.other", "wrong0")
    assert (right["passed"], right["id"], right["detail"]) == ("true", "", "")
    assert (right["arrays"], right["rule"], right["compared"]) == ("a1, b1", "as it is", "411")
    record = weight_file(1, 2).to_dict()
    assert [check["rule"] for check in record["checks"]] == [None, "as it is"]
    assert [check["passed"] for check in record["checks"]] == [False, True]
    assert [one["id"] for one in record["diagnosis"]] == ["weights.other"]


def test_mistakes_of_a_kind_have_one_remedy() -> None:
    assert shown(weight_file(2)).count("mend it") == 1


def test_quiet_weight_file_is_one_line() -> None:
    (line,) = render.to_document(weight_file(2), View(parts=frozenset()))
    assert "own0" in line.text


@pytest.mark.parametrize("width", [20, 300])
def test_verdict_is_whole_at_any_width(width: int) -> None:
    for result, words in (
        (verified(), ("21 ", "Keras 3", "float32 and float64")),
        (port(right=True), ("60 ", "%", "float32")),
        (weight_file(0), ("3 ", "1,233 ")),
    ):
        lines = shown(result, width=width).split("\n")
        verdict = [line for line in lines if line.startswith("good: ")]
        assert len(verdict) == (1 if width > 20 else len(words))
        for word in words:
            assert any(word in line for line in verdict)


# --- Fixed point --------------------------------------------------------------------------------


@cache
def quantized(to: str = "q1.6") -> Any:
    return rnnshapes.quantize(**{**SIZES, "T": 21}, cell="lstm", to=to)


def test_saturated_values_are_warned_of() -> None:
    values = quantized().values
    shares = [0.005, 0.01, 0.02, 0.03, 0.04, *[0.0] * len(values)]
    changed = [
        replace(value, saturated=share, low=-9.0, high=2.0)
        for value, share in zip(values, shares, strict=False)
    ]
    text = shown(replace(quantized(), values=tuple(changed)))
    warnings = [line for line in text.split("\n") if line.startswith("warning: ")]
    names = [value.name for value in values[:5]]
    for line, name, share in zip(warnings, names[:1:-1], ("4.0 %", "3.0 %", "2.0 %"), strict=False):
        assert name in line
        assert share in line
        assert "9" in line
        assert "Q4" in line
    assert len(warnings) == 4
    assert "1 " in warnings[3]
    three = tuple(replace(v, saturated=0.0) if v.name == names[1] else v for v in changed)
    text = shown(replace(quantized(), values=three))
    assert text.count("warning: ") == 3
    small = tuple(replace(v, low=-0.2, high=0.1) for v in three)
    assert "Q0" in shown(replace(quantized(), values=small))
    zeros = tuple(replace(v, low=0.0, high=0.0) for v in three)
    assert "Q0" in shown(replace(quantized(), values=zeros))
    own = tuple(replace(value, saturated=0.5) for value in quantized("int8").values)
    assert "warning: " not in shown(replace(quantized("int8"), values=own))


def test_values_in_fixed_point_show_their_numbers() -> None:
    text = shown(quantized(), "summary")
    for value in quantized().values:
        name = value.name.rpartition("/")[2] if value.kind == "weight" else value.name
        name = name.rpartition(".")[2] if value.kind == "state" else name
        rows = [row for row in text.split("\n") if f" {name} | {value.format} |" in row]
        numbers = f"{value.low:.3g} … {value.high:.3g}"
        (row,) = [row for row in rows if numbers in row]
        saturated, largest, t, rms = row.split(" | ")[4:]
        assert ("%" in saturated) == (value.scale is not None)
        assert [float(largest), float(rms)] == [
            float(f"{number:.1e}") for number in (value.largest, value.total_rms)
        ]
        assert t == ("" if value.worst_step is None else str(value.worst_step))
    assert "None" not in text
    owners = [v.name.rpartition("/" if v.kind == "weight" else ".")[0] for v in quantized().values]
    groups = [name for name, _ in groupby(owners) if name]
    headings = [row.split(" | ")[1] for row in text.split("\n") if row.startswith("strong |")]
    assert headings == groups
    lines = [("strong: ", "T=21"), ("dim: ", "seed 0"), ("-2", "1.98438"), ("error", "saturated")]
    assert_shown(shown(quantized()), lines)


@pytest.mark.parametrize(
    ("to", "bits"), [("int8", [8, 16]), ("int8-columns", [8, 16]), ("int16", [8, 16, 16])]
)
def test_scheme_in_fixed_point_shows_its_bits(to: str, bits: list[int]) -> None:
    """Those of kernels, of x and h if they are others, and of gates."""
    (line,) = [line for line in shown(quantized(to)).split("\n") if f": {to}: " in line]
    text = line.partition(f"{to}: ")[2]
    assert [int(number) for number in re.findall(r"\d+", text)] == bits
    assert ("column" in text) == ("column" in to)


def test_shares_in_fixed_point_have_one_decimal() -> None:
    """Only nothing is 0 %."""
    weight = next(value for value in quantized().values if value.kind == "weight")
    shares = {0.0: "0 %", 1e-9: "< 0.1 %", 0.00099: "< 0.1 %", 0.00101: "0.1 %", 0.0456: "4.6 %"}
    for share, text in shares.items():
        values = (replace(weight, saturated=share), *quantized().values[-1:])
        assert tables_of(replace(quantized(), values=values))[0].rows[1].cells[3] == text


def test_long_tables_in_fixed_point_omit_the_middle() -> None:
    for parts, steps in (
        (("summary",), [*range(5), None, *range(16, 21)]),
        (("numbers",), range(21)),
    ):
        document = render.to_document(quantized(), View(parts=frozenset(parts)))
        *_, table = [block for block in document if isinstance(block, Table)]
        assert [row.cells[0] for row in table.rows] == ["…" if t is None else str(t) for t in steps]
        headings = [column.heading for column in table.columns]
        shown_names = ["lstm.c", "lstm.h", "y_hat"]
        assert [heading.partition(":")[0] for heading in headings[1::3]] == shown_names
        values = {value.name: value for value in quantized().values}
        for number, name in enumerate(shown_names):
            cells = table.rows[-1].cells[1 + 3 * number :]
            assert cells[0] == f"{values[name].errors[20]:.1e}"
            assert cells[1] == f"{values[name].rms[20]:.1e}"
            assert cells[2] == ratio_bar(values[name].errors[20] / values[name].largest)
    short = rnnshapes.quantize(**{**SIZES, "T": 10}, cell="lstm", to="int8")
    *_, table = [b for b in render.to_document(short, View()) if isinstance(b, Table)]
    assert len(table.rows) == 10


def test_records_in_fixed_point_have_every_value() -> None:
    """Those of weights have no errors at each step."""
    kept = ("name", "kind", "format", "scale", "low", "high", "saturated", "largest")
    for value, found in zip(quantized().values, quantized().to_dict()["values"], strict=True):
        assert {key: found[key] for key in kept} == {key: getattr(value, key) for key in kept}
        assert (found["rms"], found["t"]) == (value.total_rms, value.worst_step)
        errors = {"largest": value.errors, "rms": value.rms} if value.timed else None
        np.testing.assert_equal(found["errors"], errors)


def test_rows_in_fixed_point_have_every_step() -> None:
    rows = rows_of(quantized())
    for value in quantized().values:
        own = [row for row in rows if row["value"] == value.name]
        facts = (value.kind, value.format, str(value.low), str(value.high), str(value.saturated))
        names = ("kind", "format", "low", "high", "saturated")
        assert {tuple(row[name] for name in names) for row in own} == {facts}
        steps = [str(t) for t in range(21)] if value.timed else [""]
        assert [row["t"] for row in own] == steps
        assert float(own[-1]["largest_error"]) == value.errors[-1]
        assert float(own[-1]["rms_error"]) == value.rms[-1]
        assert own[0]["scale"] == ("" if value.scale is None else str(value.scale))


def test_masked_steps_in_fixed_point_are_empty() -> None:
    gap = np.arange(21) == 3
    values = [
        replace(v, errors=np.where(gap, np.nan, v.errors)) if v.timed else v
        for v in quantized().values
    ]
    result = replace(quantized(), values=tuple(values))
    *_, table = [b for b in render.to_document(result, View()) if isinstance(b, Table)]
    assert [set(row.cells[1:]) == {""} for row in table.rows[:5]] == [False] * 3 + [True, False]
    (row,) = [row for row in rows_of(result) if (row["value"], row["t"]) == ("y_hat", "3")]
    assert (row["largest_error"], row["rms_error"] == "") == ("", False)


def test_errors_over_time_may_have_other_lengths() -> None:
    """Empty cells follow the last step; an output with the name of a state has no columns."""
    values = {value.name: value for value in quantized().values}
    h = values["lstm.h"]
    values["lstm.h"] = replace(h, errors=h.errors[:3], rms=h.rms[:3])
    values["c"] = replace(values["y_hat"], name="c")
    result = replace(quantized(), values=tuple(values.values()))
    document = render.to_document(result, View(parts=frozenset({"numbers"})))
    *_, table = [block for block in document if isinstance(block, Table)]
    headings = [column.heading.partition(":")[0] for column in table.columns]
    assert headings[1::3] == ["lstm.c", "lstm.h", "y_hat"]
    for t, row in enumerate(table.rows):
        assert len(row.cells) == len(headings) == 10
        assert ("" in row.cells[1:4] + row.cells[7:], {*row.cells[4:7]} == {""}) == (False, t > 2)


def test_fixed_point_without_steps_has_one_table() -> None:
    """Errors over time are those of states, and of an output at each step."""
    (table,) = tables_of(rnnshapes.quantize(as_a_whole()), parts=frozenset({"all"}))
    assert table.rows[-1].cells[0] == "y_hat"


def test_output_in_fixed_point_is_the_verdict() -> None:
    last = shown(quantized()).split("\n")[-1]
    (value,) = [value for value in quantized().values if value.name == "y_hat"]
    share = value.largest / max(-value.low, value.high)
    numbers = (f"{value.largest:.1e}", f"{100 * share:.1f} %", f"{value.total_rms:.1e}")
    assert_shown(last, [("y_hat", *numbers)])
    zeros = tuple(replace(v, low=0.0, high=0.0) for v in quantized().values)
    assert "%" not in shown(replace(quantized(), values=zeros)).split("\n")[-1]
    tiny = tuple(replace(v, errors=1e-9 * v.errors) for v in quantized().values)
    assert "< 0.1 %" in shown(replace(quantized(), values=tiny)).split("\n")[-1]
    others = tuple(v for v in quantized().values if v.name != "y_hat")
    assert others[-1].name in shown(replace(quantized(), values=others)).split("\n")[-1]


# --- A trace ------------------------------------------------------------------------------------


def as_a_whole() -> Any:
    """Return a model whose only recurrence is computed as a whole."""
    parts = (la.ConvLSTM1D(4, 3), la.Flatten(), la.Dense(2, name="out"))
    return randomized(sequential(*parts, shape=(6, 8, 3)))


@cache
def traced(name: str = "plain", *, keras: bool = False) -> Any:
    """Return a trace of a network of this kind, in which all sizes differ."""
    options: dict[str, Any] = {**SIZES, "show": "all", "keras": keras, "seed": 3}
    both: dict[str, Any] = {"bidirectional": True, "cell": "gru"}
    by_sizes: dict[str, dict[str, Any]] = {
        "plain": {},
        "lstm": {"cell": "lstm"},
        "both": both,
        "sequences": {"return_sequences": True},
        "reverse": {"go_backwards": True, "return_sequences": True},
        "stack": {"M": [4, 5]},
        "wide": {"K": 50},
        "long": {"T": 20_001, "M": 1, "K": 1, "D": 1, "N": 1},
        "one step": {"T": 1},
    }
    if name in by_sizes:
        return rnnshapes.trace(**{**options, **by_sizes[name]})
    sequence = {"return_sequences": True}
    models: dict[str, Callable[[], Any]] = {
        "masked": lambda: sequential(la.Masking(), la.GRU(4), la.Dense(2)),
        "joined": lambda: sequential(la.LSTM(4, **sequence), la.Flatten(), la.Dense(9)),
        "joined by few": lambda: sequential(la.LSTM(4, **sequence), la.Flatten(), la.Dense(8)),
        "convolved": lambda: sequential(la.Conv1D(4, 2), la.GRU(3), la.Dense(2)),
        "as a whole": as_a_whole,
        "own": lambda: sequential(Doubled(name="own"), la.GRU(3), la.Dense(2)),
        "two own": lambda: sequential(
            Doubled(name="own"), Doubled(name="other"), la.GRU(3), la.Dense(2)
        ),
        "two outputs": lambda: functional(
            lambda x: [la.Dense(2, name="a")(h := la.GRU(3)(x)), la.Dense(4, name="b")(h)]
        ),
        "two inputs": lambda: functional(
            lambda x, y: la.Dense(2)(la.Concatenate()([la.GRU(3)(x), la.GRU(4)(y)])),
            *((6, 3), (7, 2)),
        ),
    }
    return rnnshapes.trace(randomized(models[name]()), N=2, show="all", keras=keras)


def differing(largest: float, name: str = "plain") -> Any:
    """Return a trace in which y_hat of Keras is another at one step of sample 1."""
    result = traced(name, keras=True)
    y_hat = np.array(result.y_hat)
    y_hat[1, 3, 2] += largest
    return replace(result, y_hat=y_hat)


def without_predict(name: str, change: Callable[[Any], Any]) -> Any:
    """Return a trace in which Keras's own predict returns something else."""
    result = traced(name, keras=True)
    outputs = tuple(map(change, result.keras.outputs))
    return replace(result, keras=replace(result.keras, outputs=outputs))


#: A trace, options of the view, what is shown, and what is not.
TRACES: dict[str, tuple[Callable[[], Any], dict[str, Any], list[Words], list[Words]]] = {
    "plain": (
        traced,
        {},
        [("(2, 6, 3)", "seed 3"), (", t = 1", "h_t")],
        ["warning: ", "good: ", "Keras 3", "simple_rnn", "predict"],
    ),
    "Keras": (
        lambda: traced(keras=True),
        {},
        [("good: ", "Keras 3", "float32", "every step"), ("y_hat_t", "Keras")],
        ["dim: ", "warning: "],
    ),
    "several equations": (lambda: traced("lstm"), {}, [", t = 1"], [("t = 1", "Wx")]),
    "stack": (lambda: traced("stack"), {}, [("simple_rnn", "t = 1")], []),
    "one step": (lambda: traced("one step"), {}, [", t = 0"], []),
    "long": (lambda: traced("long"), {"abridged": True}, ["19,991"], [", t = "]),
    "long, chosen step": (lambda: traced("long"), {"start": 7, "end": 9}, ["t = 7"], ["19,9"]),
    "x": (lambda: replace(traced(), source="x"), {}, ["x (2, 6, 3)"], [("x (2", "seed")]),
    "NaN": (lambda: replace(traced(), not_finite=NAN), {}, [("warning: ", "1,234")], []),
    "own layer": (
        lambda: traced("own", keras=True),
        {},
        [("warning: ", "'own"), ("strong: y_hat", "own")],
        ["'other"],
    ),
    "own layers": (
        lambda: traced("two own", keras=True),
        {},
        [("warning: ", "'own", "'other")],
        [],
    ),
    "two outputs": (
        lambda: traced("two outputs"),
        {},
        [("warning: ", "2", " a,", " b", "rnnshapes verify")],
        [],
    ),
    "two inputs": (lambda: traced("two inputs"), {}, [("(2, 6, 3)", "(2, 7, 2)")], ["x (2"]),
    "both directions": (
        lambda: traced("both"),
        {},
        [("strong: y_hat", "bidirectional/backward_gru"), ("plain: ", "backward_gru", "h← at t")],
        [("plain: ", "forward_gru"), "predict", "h→ at t", "mask"],
    ),
    "both directions in Keras": (
        lambda: traced("both", keras=True),
        {},
        [("plain: ", "predict", "NumPy")],
        [("predict", "…")],
    ),
    "convolved": (lambda: traced("convolved"), {}, ["strong: y_hat"], [("strong: y_hat", "gru")]),
    "as a whole": (
        lambda: traced("as a whole", keras=True),
        {},
        [("output", "Keras"), ("good: ", "Keras 3")],
        [", t = ", "h_t"],
    ),
    "in reverse": (
        lambda: traced("reverse"),
        {},
        [("strong: y_hat", "simple_rnn"), ("plain: ", "simple_rnn", "T-1-t"), "h at t+1"],
        [],
    ),
    "masked": (lambda: traced("masked"), {}, [("plain: ", "mask", "gates")], []),
    "joined": (
        lambda: traced("joined", keras=True),
        {},
        [("output", "NumPy"), ("output", "Keras"), ("good: ", "Keras"), "strong: "],
        ["predict", ("good: ", "every step")],
    ),
    "joined, without Keras": (lambda: traced("joined"), {}, ["NumPy"], [("output", "Keras")]),
    "wide": (lambda: traced("wide", keras=True), {"width": 80}, [" 50 ", " …"], []),
    "difference": (
        lambda: differing(0.0123),
        {},
        [("warning: ", "Keras 3", "1.2e-02", "sample 1, t 3, unit 2", "rnnshapes verify")],
        ["good: "],
    ),
    "NaN in Keras": (
        lambda: differing(np.nan),
        {},
        [("warning: ", "y_hat", "NaN", "sample 1, t 3, unit 2")],
        ["good: ", ("warning: ", "Keras 3")],
    ),
    "infinite": (lambda: differing(np.inf), {}, [("warning: ", "Keras 3")], ["good: ", "inf,"]),
}


@pytest.mark.parametrize("name", TRACES)
def test_trace_shows_its_facts(name: str) -> None:
    make, view, present, absent = TRACES[name]
    assert_shown(shown(make(), "summary", **{"width": 200, **view}), present, absent)


#: How near y_hat of both sides is called equal in each dtype.
NEAR = {"float64": (), "float32": (1e-9, 1e-6), "float16": (1e-9, 1e-6, 1e-2)}
NEAR |= {"bfloat16": (1e-9, 1e-6, 1e-2, 4.0)}


@pytest.mark.parametrize("dtype", NEAR)
def test_differences_are_small_for_their_dtype(dtype: str) -> None:
    found = []
    for largest in (1e-9, 1e-6, 1e-2, 4.0):
        result = differing(largest)
        y_hat = result.y_hat_keras.astype("float64")
        y_hat[1, 3, 2] += largest
        network = result.network.with_dtype(dtype)
        text = shown(replace(result, network=network, y_hat=y_hat), width=200)
        found += [largest] if "good: " in text else []
        assert f"computes in {dtype}" in text
    assert tuple(found) == NEAR[dtype]


def half_off(name: str) -> Any:
    return without_predict(name, lambda output: output + np.float32(0.5))


PREDICT = ("plain: ", "predict")
NUMBERS: dict[str, tuple[Callable[[], Any], list[Words], list[Words]]] = {
    "without Keras": (traced, ["float64"], [("plain: ", "Keras"), PREDICT]),
    "last row": (lambda: half_off("plain"), [(*PREDICT, "t = 5", "5.0e-01", "verify")], []),
    "every row": (
        lambda: half_off("sequences"),
        [(*PREDICT, "5.0e-01")],
        [(*PREDICT, "t = 5")],
    ),
    "NaN": (
        lambda: without_predict("plain", lambda output: output * np.float32(np.nan)),
        [(*PREDICT, "t = 5")],
        [("warning: ", "NaN")],
    ),
    "no row": (
        lambda: half_off("both"),
        [(*PREDICT, "NumPy", "5.0e-01")],
        [(*PREDICT, "t = ")],
    ),
    "nine outputs": (lambda: traced("joined", keras=True), [(*PREDICT, "…")], [(*PREDICT, "t = ")]),
    "eight outputs": (
        lambda: traced("joined by few", keras=True),
        [PREDICT],
        [(*PREDICT, "…")],
    ),
    "output": (
        lambda: traced("joined", keras=True),
        [("output", "sample 0 of 2"), "plain | 8 | "],
        ["plain | 9 | "],
    ),
    "titles": (lambda: traced("two inputs"), ["T1 ", "T2 "], []),
    "title": (traced, ["y_hat, h "], [" T "]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_a_trace_show_its_facts(name: str) -> None:
    make, present, absent = NUMBERS[name]
    assert_shown(shown(make(), "numbers", width=200), present, absent)


def test_equal_output_of_predict_is_good() -> None:
    exact = traced("sequences", keras=True)
    nan = rnnshapes.trace(x=np.full((2, 6, 3), np.nan), M=4, return_sequences=True)
    meanings = []
    for result, output in (
        (exact, exact.y_hat_keras),
        (nan, nan.output_keras),
        (exact, exact.y_hat_keras + 1),
    ):
        changed = replace(result, keras=replace(result.keras, outputs=(output,)))
        lines = shown(changed, "numbers").split("\n")
        meanings += [line.partition(":")[0] for line in lines if "predict" in line]
    assert meanings == ["good", "bad", "plain"]


def test_chosen_steps_stand_in_all_tables() -> None:
    for part in ("summary", "numbers"):
        for start, end, steps in (
            (2, 4, [2, 3]),
            (4, None, [4, 5]),
            (None, 2, [0, 1]),
            (4, 99, [4, 5]),
        ):
            view = View(parts=frozenset({part}), start=start, end=end, width=200)
            (table,) = [b for b in render.to_document(traced(), view) if isinstance(b, Table)]
            assert [row.cells[0] for row in table.rows] == list(map(str, steps))
        text = shown(traced("long"), part, start=5, end=65, abridged=True, width=200)
        assert "plain | 35 |" in text


def test_numbers_have_y_hat_beside_chosen_states() -> None:
    assert "y_hat[4]" in shown(traced(), "numbers", show=("h",), width=999)


def test_json_of_a_trace_has_its_engine() -> None:
    for result in (traced(), traced(keras=True)):
        record = result.to_dict()
        assert (record["engine"] is None) == (record["difference"] is None) == (not result.keras)
        assert "mask" not in record["layers"][0]
    assert "mask" in traced("masked").to_dict()["layers"][0]


@pytest.mark.parametrize(("part", "least", "ends"), [("summary", 12, 5), ("numbers", 22, 10)])
def test_middle_is_left_out_of_long_tables(part: str, least: int, ends: int) -> None:
    for steps in (least, least + 1):
        result = rnnshapes.trace(T=steps, keras=False)
        view = View(parts=frozenset({part}), abridged=True, width=200)
        (table,) = [b for b in render.to_document(result, view) if isinstance(b, Table)]
        middle = [*range(ends), "…", *range(steps - ends, steps)]
        numbers = range(steps) if steps == least else middle
        assert [row.cells[0] for row in table.rows] == list(map(str, numbers))
        lines = shown(result, part, abridged=True).split("\n")
        omitted = f"dim: {steps - 2 * ends} "
        assert any(omitted in line for line in lines) == (steps > least)
        assert len(shown(result, part).split("plain | ")) >= steps


def test_drawings_name_what_they_draw() -> None:
    def titles(result: Any, *parts: str) -> list[str]:
        view = View(parts=frozenset(parts), width=200)
        document = render.to_document(result, view)
        return [block.title for block in document if isinstance(block, Drawing)]

    assert_shown(titles(traced(), "flow")[0], [("y_hat", "sample 0", "2")])
    assert_shown(titles(traced("long"), "flow")[0], ["y_hat"], ["sample"])
    drawn = titles(traced("both"), "flow")
    assert sum("h~" in title for title in drawn) == 2
    turned = {title.replace("forward", "backward").replace("→", "←") for title in drawn}
    assert len(turned | {*drawn}) == len(drawn) + sum("forward" in title for title in drawn)


def test_columns_hold_the_numbers_of_their_sample() -> None:
    result = traced(keras=True)
    (table,) = [
        b
        for b in render.to_document(result, View(parts=frozenset({"numbers"}), sample=1, width=999))
        if isinstance(b, Table)
    ]
    headings = [column.heading for column in table.columns]
    h, keras = result.layers[0].states["h"], result.layers[0].keras["h"]
    for t, row in enumerate(table.rows):
        cells = dict(zip(headings, row.cells, strict=True))
        assert cells["y_hat[3]\nNumPy"] == f"{result.y_hat[1, t, 3]:.8f}"
        assert cells["y_hat[3]\nKeras"] == f"{result.y_hat_keras[1, t, 3]:.8f}"
        assert cells["h[2]\nNumPy"] == f"{h[1, t, 2]:.8f}"
        assert cells["h[2]\nKeras"] == f"{keras[1, t, 2]:.8f}"
        assert float(cells["h\ndifference"]) == pytest.approx(
            np.abs(h - keras)[1, t].max(), rel=0.06, abs=1e-12
        )
    (table,) = tables_of(traced("lstm"), parts=frozenset({"numbers"}), show=("y", "c"), width=999)
    names = [column.heading.partition("[")[0] for column in table.columns]
    assert list(dict.fromkeys(names)) == ["t", "y_hat", "c"]


# --- An inspection ------------------------------------------------------------------------------


@cache
def inspected(name: str = "plain") -> Any:
    """Return an inspection of a network of this kind."""
    sequence = {"return_sequences": True}
    by_sizes: dict[str, dict[str, Any]] = {
        "plain": SIZES,
        "gru": {**SIZES, "cell": "gru"},
        "both": {**SIZES, "cell": "lstm", "bidirectional": True},
        "reverse": {**SIZES, "go_backwards": True},
        "both, stacked": {**SIZES, "cell": "lstm", "M": [4, 7], "bidirectional": True},
        "two sizes": {**SIZES, "cell": "lstm", "M": [4, 7]},
        "equal sizes": {**SIZES, "cell": "lstm", "M": [4, 4]},
        "sequences": {**SIZES, **sequence},
        "one step": {**SIZES, "T": 1},
    }
    if name in by_sizes:
        return rnnshapes.inspect(**by_sizes[name])
    models: dict[str, Callable[[], Any]] = {
        "no recurrence": lambda: sequential(la.Flatten(), la.Dense(2, name="fc")),
        "around": lambda: sequential(
            la.LSTM(4, **sequence), la.Flatten(name="flat"), la.Dense(2), la.Dense(7)
        ),
        "before": lambda: functional(
            lambda x: la.Dense(2)(la.GRU(4)(la.Dot(axes=(1, 2))([x, la.Permute((2, 1))(x)])))
        ),
        "between": lambda: functional(
            lambda x: la.Dense(2)(
                la.GRU(4)(la.RepeatVector(3)(la.Flatten()(la.SimpleRNN(5, **sequence)(x))))
            )
        ),
        "branches": lambda: functional(
            lambda x: la.Add(name="sum")([la.GRU(4, name="a")(x), la.LSTM(4, name="b")(x)])
        ),
        "one layer": lambda: sequential(la.LSTM(4)),
        "open": lambda: sequential(la.LSTM(4), la.Dense(2), shape=(None, 3)),
        "own": lambda: sequential(Doubled(name="own"), Doubled(name="other"), la.GRU(4)),
        "own steps": lambda: sequential(la.Lambda(lambda x: x[:, :4]), la.GRU(4), shape=(None, 3)),
        "no layers": lambda: sequential(la.LSTM(4), la.Dropout(0.1, name="drop")),
        "nothing": lambda: functional(lambda x: x),
    }
    return rnnshapes.inspect(models[name]())


INSPECTIONS: dict[str, tuple[str, list[Words], list[Words]]] = {
    "plain": (
        "plain",
        [("57 ", "= M(D+M+1) + K(M+1) = 4·(3+4+1) + 5·(4+1) = 32 + 25")],
        ["→ simple_rnn:", "0:4", "dim: "],
    ),
    "one step": ("one step", ["t = 0"], ["0 … "]),
    "one layer": ("one layer", [("128 ", "= 4M(D+M+1) = 4·4·(3+4+1)")], ["= 128"]),
    "gru": ("gru", [("bias", "0", "bx", "1", "bh"), ("z ", " 0:4")], ["gru: z"]),
    "two sizes": (
        "two sizes",
        [("lstm: i", "0:4"), ("lstm_1: i", "0:7"), ("lstm_1: ", "lstm, ", "Wx2", "Wh2", "bh2")],
        ["i2_t"],
    ),
    "equal sizes": ("equal sizes", [("i ", " 0:4")], ["lstm: i", "lstm_1: i"]),
    "sequences": ("sequences", ["| (2, 6, 3) → (2, 6, 4) |", "| (2, 6, 4) → (2, 6, 5) |"], []),
    "reverse": ("reverse", [("dim: ", "simple_rnn", "T-1")], []),
    "both": ("both", ["Wx← Wh← bh←"], ["bidirectional: "]),
    "both, stacked": (
        "both, stacked",
        [("bidirectional_1: as bidirectional, ", "Wx2 Wh2 bh2"), "h1_t = ", "h2 = "],
        ["h2→_t", "Wx2→ Wh2→", "h1←_t = "],
    ),
    "no recurrence": ("no recurrence", ["y_hat = "], [" t ", "y_hat_t"]),
    "around": ("around", ["t = 0 … 5"], [": as "]),
    "between": ("between", ["t = 0 … 5", "t = 0 … 2"], []),
    "branches": ("branches", [("a, b → sum", "Add"), (" → a", "GRU(M1)")], []),
    "open": ("open", [" t", "T=?"], ["0 …"]),
    "own": ("own", [("warning: ", "own, other"), ("strong | ", " own |")], []),
    "no layers": ("no layers", ["strong | drop | Dropout | (1, 4) |  | "], []),
    "nothing": ("nothing", [("strong: ", "0 ")], ["layer / weight", "0 = "]),
}


@pytest.mark.parametrize("name", INSPECTIONS)
def test_inspection_shows_its_facts(name: str) -> None:
    kind, present, absent = INSPECTIONS[name]
    assert_shown(shown(replace(inspected(kind), keras=None), "summary", width=200), present, absent)


def test_each_phase_of_a_model_has_its_heading() -> None:
    def headings(kind: str) -> list[str]:
        lines = shown(replace(inspected(kind), keras=None), width=200).split("\n")
        lines = [line for line in lines if "kernel" not in line]  # those of gates
        return [line for line in lines if line.startswith("plain: ") and line.endswith(":")]

    before, between, around = headings("before"), headings("between"), headings("around")
    assert [len(before), len(between), len(around)] == [3, 4, 2]
    assert len(headings("sequences")) == 1
    assert before[-1] == between[-1] == around[-1] == headings("plain")[-1]
    assert len({before[0], between[1], around[-1]}) == 3
    assert ["weights" in heading for heading in between] == [True, False, False, False]
    assert headings("no recurrence") == []


def test_views_of_an_inspection_show_their_facts() -> None:
    gates = shown(inspected("gru"), "gates", width=200)
    assert_shown(gates, [("input", "recurrent")])
    assert "dense" not in gates.partition("\n")[2].partition("parameters")[2]
    assert_shown(shown(inspected("open"), "steps", width=200), ["--T", " × T "])
    assert_shown(shown(inspected("both"), "steps", width=200), [" × 6 "], ["--T"])
    assert_shown(shown(inspected("own steps"), "steps", width=200), [" × T' ", "T'"], ["--T"])


def file_of(**changes: Any) -> Any:
    """Return an inspection of a file in which these facts are others."""
    fact = Fact("rnn/kernel", "(D, M)", (3, 4), (3, 4))
    file = FileCheck("m.keras", ".keras", "3.9", (fact,), (), False)
    return replace(inspected(), keras=None, file=replace(file, **changes))


WRONG = Fact("rnn/bias", "(M,)", (4,), (5,))
INSPECTED_FILES: dict[str, tuple[dict[str, Any], list[Words], list[Words]]] = {
    "right": ({}, [("good: ", "m.keras", ".keras", "Keras 3.9", " 1 ")], ["bad: ", "warning: "]),
    "notes": (
        {"notes": ("a note",), "extras": ("more",)},
        [("warning: ", "m.keras", "a note"), ("good: ", "more")],
        [],
    ),
    "wrong": ({"facts": (WRONG,)}, [("bad: ", "m.keras", "rnn/bias", "(4,)", "(5,)")], ["good: "]),
    "contradiction": (
        {"contradictions": ("a wrong layer",)},
        [("bad: ", "m.keras", "a wrong layer")],
        ["good: "],
    ),
    "eight": ({"facts": (WRONG,) * 8}, ["bad: "], [("bad: ", " more")]),
    "nine": ({"facts": (WRONG,) * 9}, [("bad: ", " 1 more")], []),
    "no arrays": ({"facts": ()}, [("plain: ", "m.keras", ".keras")], ["good: "]),
    "other framework": (
        {"framework": "PyTorch", "kind": "state_dict", "path": "w.pt"},
        [("w.pt", "state_dict of PyTorch")],
        [("w.pt", "Keras 3.9")],
    ),
}


@pytest.mark.parametrize("name", INSPECTED_FILES)
def test_inspected_file_shows_its_facts(name: str) -> None:
    changes, present, absent = INSPECTED_FILES[name]
    assert_shown(shown(file_of(**changes), "summary", width=200), present, absent)


def test_json_of_an_inspected_file_has_its_facts() -> None:
    record = file_of(facts=(WRONG,), keras_version="", notes=("a",), extras=("b",)).to_dict()[
        "file"
    ]
    assert (record["agrees"], record["keras_version"], record["built"]) == (False, None, True)
    assert record["notes"] == ["a", "b"]
    (difference,) = record["differences"]
    assert "(5,)" in difference
    record = file_of(facts=(), unbuilt=True).to_dict()["file"]
    assert (record["agrees"], record["built"]) == (None, False)
    record = file_of(facts=(), contradictions=("c",)).to_dict()["file"]
    assert (record["agrees"], record["differences"]) == (False, ["c"])


def test_comparison_with_keras_is_one_line() -> None:
    right = rnnshapes.inspect(**SIZES, keras=True)
    assert_shown(shown(right), [("good: ", "Keras", "5", "57")])
    facts = tuple(
        replace(fact, found=99) if fact.name == "count_params()" else fact
        for fact in right.keras.facts
    )
    wrong = replace(right, keras=replace(right.keras, facts=facts))
    nothing = replace(right, keras=replace(right.keras, facts=()))
    assert_shown(shown(wrong), [("bad: ", "Keras", "99")])
    assert_shown(shown(nothing), [("bad: ", "Keras")], ["99"])
    file = replace(file_of(facts=(WRONG,)), keras=right.keras)
    assert_shown(shown(file), [("dim: ", "Keras", "5", "57")], ["good: "])
    assert_shown(shown(replace(right, not_built="why")), [("dim: ", "Keras", "why")])
    assert "Keras" not in shown(replace(right, keras=None))


# --- A step and a golden file -------------------------------------------------------------------


def test_layers_of_a_step_are_counted() -> None:
    def text(result: Any) -> str:
        drawings = [b for b in render.to_document(result, View()) if isinstance(b, Drawing)]
        lines = [line for drawing in drawings for line in drawing.draw(Sheet(120))]
        return "\n".join("".join(span.text for span in spans) for spans in lines)

    layers = [("layer 1", "2"), ("layer 2", "2")]
    assert_shown(text(traced().step(2)), (), layers)
    assert_shown(text(traced("both").step(2)), layers)


def test_golden_arrays_say_how_to_read_them() -> None:
    options: dict[str, Any] = {**SIZES, "cell": "lstm"}
    notes = [
        rnnshapes.golden(**options).to_dict()["reading"],
        rnnshapes.golden(**options, only="weights").to_dict()["reading"],
        rnnshapes.golden(**options, layout="pytorch").to_dict()["reading"],
        rnnshapes.golden(**options, dtype="float32").to_dict()["reading"],
        rnnshapes.golden(**options, quantize="int8").to_dict()["reading"],
        rnnshapes.golden(**options, quantize="q1.6").to_dict()["reading"],
    ]
    assert len(set(notes)) == len(notes)
    for note, word in zip(notes, ("float64", "Keras", "PyTorch", "float32", "int8"), strict=False):
        assert word in note
    assert "NaN" not in notes[1]
    assert "Keras" in notes[2]  # in whose layout all other weights are


# --- All of them --------------------------------------------------------------------------------

#: What stands in a column of numbers: numbers, ranges, shares, and signs for what has none.
NUMBER = re.compile(
    r"(-?[\d.]+ … -?[\d.]+|-?[\d,]*\.?\d+(e[+-]\d+)?( %| ×)?|2 × [\d,]+"
    r"|equal|-?inf|nan|infinite|NaN|none|[-?…]|)"
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: inspected("both"),
        lambda: rnnshapes.inspect(randomized(sequential(la.LSTM(4), la.Dense(2))), values=True),
        lambda: traced("masked", keras=True),
        lambda: traced("joined", keras=True),
        verified,
        port,
        lambda: port(right=True),
        quantized,
        lambda: FILES,
        lambda: weight_file(1),
        lambda: traced().step(2),
        lambda: rnnshapes.golden(**SIZES),
    ],
)
def test_numbers_and_only_they_are_aligned_right(make: Callable[[], Any]) -> None:
    """Names and shapes are aligned left, and so are numbers side by side."""
    for table in tables_of(make(), parts=frozenset({"all"}), width=400):
        for column, cells in zip(
            table.columns, zip(*(row.cells for row in table.rows), strict=True), strict=True
        ):
            if not {"", "…", "-", "masked"}.issuperset(cells):
                is_number = all(NUMBER.fullmatch(cell) for cell in cells)
                assert column.numeric == is_number, (column.heading, cells)


#: Tables, and the headings of their columns in the order in which they give way, the last first.
RANKED: list[tuple[Callable[[], Any], int, list[str]]] = [
    (lambda: inspected("both"), 1, ["tensor, shape", "dims", "multiply- adds"]),
    (verified, 0, [", part of the model, worst", "checks", "where", ""]),
    (verified, 1, [", check, found", "expected", "compared"]),
    (verified, 2, [", check, ratio, worst at sample, t, unit", "of 1", "compared"]),
    (lambda: with_ratio(H, 3.0), 0, [", check, found", "expected or where", ""]),
    (port, 0, [", array, worst", "numbers", "differ, by at most", ""]),
    (
        port,
        1,
        [", array, ratio, worst at sample, t, unit", "of 1", "differs by at most", "compared"],
    ),
    (quantized, 0, ["value, largest error", "saturated, rms", "range", "format", "at t"]),
    (
        quantized,
        1,
        ["t, y_hat: largest, rms, ", "lstm.h: largest, rms, ", "lstm.c: largest, rms, "],
    ),
    (lambda: FILES, 0, [", file, recurrent layers, parameters", "M", "warnings"]),
    (lambda: rnnshapes.golden(**SIZES), 0, ["array, shape", "dims", "dtype", "what it is"]),
    (traced, 0, ["t, y_hat_t NumPy, "]),
]


@pytest.mark.parametrize(("make", "number", "groups"), RANKED)
def test_what_matters_most_stays_on_narrow_screens(make: Any, number: int, groups: Any) -> None:
    table = tables_of(make(), parts=frozenset({"all"}), width=40)[number]
    by_rank: dict[int, list[str]] = {}
    for column in table.columns:
        by_rank.setdefault(column.rank, []).append(column.heading.replace("\n", " "))
    assert [", ".join(by_rank[rank]) for rank in sorted(by_rank)] == groups
    assert min(by_rank) == 0
