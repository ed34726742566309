"""What screens say of a result: each of its facts is shown, and nothing that does not hold."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from io import StringIO
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.forward.difference import Difference, Index
from rnnshapes.forward.non_finite import NonFinite
from rnnshapes.network.file_summary import FileSummaries, FileSummary
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.structure import Engine, Fact, FileCheck
from rnnshapes.port.diagnosis import Diagnosis, Explanation
from rnnshapes.port.error_summary import ErrorSummary
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.location import Location
from rnnshapes.port.recovery.equations import TooFewSteps
from rnnshapes.port.weight_files.comparison import WeightCheck, WeightVerification
from rnnshapes.render.document import Drawing, Line, Sheet, Table
from rnnshapes.render.formats import json_csv
from rnnshapes.render.view import View
from tests.helpers.models import Doubled, functional, randomized, sequential

SIZES: dict[str, Any] = {"N": 2, "T": 6, "D": 3, "M": 4, "K": 5}


def shown(result: Any, *parts: str, **view: Any) -> str:
    """Return all lines, headings and cells of some parts of a result."""
    chosen = View(parts=frozenset(parts or ("summary",)), **view)
    texts: list[str] = []
    for block in render.to_document(result, chosen):
        if isinstance(block, Line):
            texts.append(f"{block.meaning}: {block.text}")
        elif isinstance(block, Table):
            assert {len(row.cells) for row in block.rows} <= {len(block.columns)}
            texts += [block.title, *(column.heading for column in block.columns)]
            texts += [" | ".join((row.meaning, *row.cells)) for row in block.rows]
        else:
            assert isinstance(block, Drawing)
            texts.append(block.title)
    return "\n".join(texts)


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
    return replace(port(), diagnosis=Diagnosis((replace(explanation, **changes),), 7))


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

#: A port, what it must show, and what it must not.
PORTS: dict[str, tuple[Callable[[], Any], list[str], list[str]]] = {
    "four unknown": (
        lambda: replace(port(), unknown_arrays=named(4)),
        ["array4"],
        ["more: not"],
    ),
    "six unknown": (
        lambda: replace(port(), unknown_arrays=named(6)),
        ["array4", "2 more"],
        ["array5"],
    ),
    "unseen layers": (
        lambda: replace(port(right=True), uncompared_layers=("unseen",)),
        ["warning: ! unseen"],
        [],
    ),
    "unseen layers of a wrong port": (
        lambda: replace(port(), uncompared_layers=("unseen",)),
        [],
        ["unseen"],
    ),
    "left out": (
        lambda: with_check(port(right=True), left_out=23),
        ["23 numbers", "60 numbers that"],
        [],
    ),
    "nothing left out": (lambda: port(right=True), ["60 numbers"], ["60 numbers that", "! "]),
    "one number": (lambda: with_check(port(right=True), **ONE), ["the only number"], ["all 1 "]),
    "one of several": (
        lambda: replace(with_check(port(right=True), **ONE), unknown_arrays=named(1)),
        ["the only number that"],
        ["numbers that were"],
    ),
    "16 bits": (
        lambda: with_check(port(right=True), narrow_dtype="bfloat16"),
        ["bfloat16"],
        [],
    ),
    "wide": (
        lambda: with_check(port(), wide=11, width=0.0234),
        ["11 of 60", "2.3 %"],
        [],
    ),
    "zeros": (lambda: with_check(port(right=True), only_zeros=True), ["! y_hat"], []),
    "zeros of a wrong port": (lambda: with_check(port(), only_zeros=True), [], ["! y_hat"]),
    "tried": (
        searched,
        ["1,234", "a nearer one", "2.5e-01", "60 of 60"],
        ["single weights", "second array", "--input"],
    ),
    "nothing near": (lambda: searched(nearest=()), ["1,234"], ["nearest", "2.5e-01"]),
    "too few steps": (
        lambda: searched(too_few_steps=TooFewSteps("rnn", 12, 3456)),
        ["3,456", "not 12", "rnn"],
        [],
    ),
    "random x": (
        lambda: replace(searched(), random_input=True),
        ["--input", "! x was"],
        [],
    ),
    "looks": (
        lambda: searched(appearance=(Mistake("numeric.noise", "some noise"),)),
        ["some noise"],
        [],
    ),
    "two arrays": (
        lambda: twice(port(), first=Index(0, 0, 0), first_values=(0.5, 0.75)),
        ["y_hat at every step, sample 0, t 0", "120 of 120"],
        [],
    ),
    "an array without differences": (
        lambda: twice(port(), first=None, first_values=None, differing=0),
        ["y_hat at every step, sample 0, t 0", "60 of 120"],
        [],
    ),
    "an array without time": (
        lambda: twice(with_check(port(), first=Index(0, None, 3)), first=Index(1, 2, 4)),
        ["second array, sample 1, t 2, unit 4"],
        ["first   y_hat"],
    ),
    "one array": (port, ["first   sample 0, t 0"], ["first   y_hat"]),
    "mistakes": (
        lambda: explained(*LAYERS, Mistake("time.reversed", "in reverse", own_fix="turn it")),
        ["bad: FAILED  first wrong", "bad: and     second wrong", "fix     turn it", "all 60"],
        ["tried", "--dtype"],
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
    "fixed point": (
        lambda: explained(Mistake("numeric.fixed_point", "in int8")),
        ["all 60 numbers", "unit"],
        ["corrected"],
    ),
    "places": (
        lambda: replace(port(), locations=(Location(Where(), "at a place"), Location(Where(), ""))),
        ["where   at a place"],
        ["where   \n"],
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
        ["warning: INEXACT", "1.2 %", "0.61 %", "--tolerance 0.013"],
        ["over t", "at the start"],
    ),
    "inexact by much": (lambda: inexact(0.0501), ["INEXACT", "5 %"], ["--tolerance"]),
    "inexact by less": (lambda: inexact(0.0499), ["--tolerance 0.05"], []),
    "steady": (lambda: inexact(0.01, growth=1.49), ["steady"], ["1.5 times"]),
    "steady and smaller": (lambda: inexact(0.01, growth=0.67), ["steady"], ["0.67 times"]),
    "growing": (lambda: inexact(0.01, growth=1.51), ["1.5 times"], ["steady"]),
    "shrinking": (lambda: inexact(0.01, growth=0.66), ["0.66 times"], ["steady"]),
    "accepted": (
        lambda: inexact(0.0123, tolerance=0.02),
        ["INEXACT within", "1.2 % of the range", "2 % is accepted", "plain:         weights in 16"],
        ["--tolerance"],
    ),
    "not accepted": (
        lambda: inexact(0.0123, tolerance=0.01),
        ["warning: INEXACT weights in 16", "--tolerance 0.013"],
        ["accepted"],
    ),
    "a mistake within the tolerance": (
        lambda: replace(
            with_check(explained(LAYERS[0]), error=ErrorSummary(1, 1, 0.001, 0.001, 1, None)),
            tolerance=0.01,
        ),
        ["FAILED", "0.1 %", "the tolerance is"],
        [],
    ),
    "shape": (
        lambda: with_check(port(), shape="shape (6, 2), expected (2, 6)"),
        ["shape   (6, 2), expected (2, 6)", "axes"],
        ["60 | 60"],
    ),
    "notes": (lambda: replace(port(), notes=("read as text",)), ["note    read as text"], []),
    "one sample": (
        lambda: replace(port(), network=from_sizes(**{**SIZES, "N": 1})),
        ["first   t 0"],
        ["sample 0"],
    ),
    "little compared": (
        lambda: replace(with_check(port(), differing=0, left_out=100), diagnosis=None),
        ["FAILED  only 60 of 160"],
        [],
    ),
    "one explained number": (
        lambda: explained(LAYERS[0], comparisons=with_check(port(right=True), **ONE).checks),
        ["once corrected"],
        ["all 1 "],
    ),
    "three times the bound": (
        lambda: with_check(port(), residual=replace(port().checks[0].residual, ratio=3.0)),
        ["| 300 % |"],
        [],
    ),
    "errors of two arrays": (
        lambda: twice(inexact(0.0123)),
        ["error   second array, 1.2 %", "error   y_hat, 1.2 %"],
        [],
    ),
    "error of the only array": (lambda: inexact(0.0123), ["error   1.2 %"], []),
    "more than the range": (lambda: inexact(1.5, tolerance=0.01), ["FAILED", "150 %"], []),
    "tiny error": (lambda: inexact(3e-8), ["3e-06 %"], []),
    "infinite error": (lambda: inexact(float("inf")), ["FAILED"], []),
}


@pytest.mark.parametrize("name", PORTS)
def test_port_shows_its_facts(name: str) -> None:
    make, present, absent = PORTS[name]
    text = shown(make(), "summary", width=200)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


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


def test_small_unexplained_errors_are_called_small() -> None:
    failed = searched(nearest=())
    small = with_check(failed, error=ErrorSummary(1, 1, 0.01, 0.005, 1, None))
    texts = [shown(result).partition("\n")[0] for result in (failed, small)]
    assert [text.split()[:2] for text in texts] == [["bad:", "FAILED"], ["warning:", "INEXACT"]]
    assert len({text.partition("known")[2] for text in texts}) == 2


def test_refused_tolerance_has_a_reason() -> None:
    mistake = with_check(explained(LAYERS[0]), error=ErrorSummary(1, 1, 0.001, 0.001, 1, None))
    unfinished = replace(mistake.diagnosis, explanations=(), complete=False, tried=5)
    texts = []
    for diagnosis in (mistake.diagnosis, unfinished):
        result = replace(mistake, diagnosis=diagnosis, tolerance=0.01)
        texts.append([line for line in shown(result).split("\n") if "the tolerance" in line])
    assert [len(lines) for lines in texts] == [1, 1]
    assert texts[0] != texts[1]


def test_only_failed_ports_show_what_to_try() -> None:
    for result in (port(right=True), inexact(0.01), explained(LAYERS[0])):
        assert "tried" not in shown(result)
    assert "60 of 60" not in shown(with_check(port(right=True), first=None))


def test_numbers_of_a_port_show_each_difference() -> None:
    text = shown(port(), "numbers")
    (check,) = port().checks
    assert f"{check.ratio:.3g}" in text
    assert f"{check.max_abs:.1e}" in text
    assert f"{check.index.sample}, {check.index.t}, {check.index.unit}" in text
    assert "bad: y_hat at every step: 60 of 60 numbers differ" in text
    right = shown(port(right=True), "numbers")
    assert "bad: " not in right
    assert "ok" in right
    swapped = shown(with_check(port(), shape="shape (6, 2), expected (2, 6)"), "numbers")
    assert f"{check.max_abs:.1e}" not in swapped.partition("bad: ")[0]
    assert "bad: y_hat at every step: shape (6, 2), expected (2, 6); " in swapped
    assert "warning | near" in shown(inexact(0.01), "numbers")
    proven = with_check(port(), proven=True)
    assert shown(proven, "numbers") != text
    assert shown(proven) != shown(port())
    nothing = with_check(port(), residual=replace(check.residual, compared=0), first=None)
    assert "none" in shown(nothing, "numbers")


def test_quiet_port_shows_no_notes() -> None:
    noted = replace(port(), notes=("read as text",))
    (line,) = render.to_document(noted, View(parts=frozenset()))
    assert "FAILED" in line.text


def test_rows_of_a_port_have_its_numbers() -> None:
    (check,) = port().checks
    (row,) = rows_of(port())
    assert (row["name"], row["passed"], row["compared"]) == (check.quantity, "false", "60")
    assert float(row["ratio"]) == check.ratio
    first = port().checks[0].first
    assert str(first) in row["detail"]
    _, second = rows_of(explained(LAYERS[0]))
    assert (second["name"], second["passed"], second["compared"]) == ("explanation", "true", "60")
    *_, verdict = rows_of(inexact(0.0123))
    assert (verdict["name"], verdict["passed"], verdict["compared"]) == ("verdict", "false", "60")
    assert ("0.0123" in verdict["found"], verdict["expected"][-3:]) == (True, "<= 0"[-3:])
    *_, verdict = rows_of(inexact(0.0123, tolerance=0.5))
    assert (verdict["passed"], "0.5" in verdict["expected"]) == ("true", True)
    left_out = with_check(inexact(0.0123), left_out=40)
    assert rows_of(left_out)[-1]["compared"] == "100"
    empty = with_check(port(), residual=replace(check.residual, compared=0), first=None)
    (row,) = rows_of(empty)
    assert (row["ratio"], row["detail"]) == ("", "")
    assert [row["ratio"], row["found"]] != [str(check.ratio), rows_of(port())[0]["found"]]
    swapped = with_check(port(), shape="shape (6, 2), expected (2, 6)")
    assert (rows_of(swapped)[0]["ratio"], rows_of(swapped)[0]["found"]) == ("", "shape (6, 2)")


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
    assert [(one["id"], one["ratio"], one["compared"]) for one in appearance] == [
        ("numeric.noise", None, 0)
    ]
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


NAN = NonFinite(1234, Index(1, 2, 3))
TOO_LARGE = NonFinite(1, Index(1, 2, 3), 1e300, "float32")
JAX = Engine("3.99", "jax", "0.7.7", tensor_float_32=True)
H = "simple_rnn: h at every step"

VERIFIED: dict[str, tuple[Callable[[], Any], list[str], list[str]]] = {
    "all": (
        verified,
        [
            *("good: VERIFIED  all 21 checks", "simple_rnn", "whole model"),
            *("float32 and float64", "names, shapes, counts | 10 |"),
        ],
        ["! ", "FAILED", "more failed"],
    ),
    "nothing": (lambda: replace(verified(), checks=()), ["bad: FAILED"], ["0 of 0", "all 0"]),
    "NaN": (
        lambda: replace(with_ratio(H, np.nan), not_finite=NAN),
        ["bad: FAILED  1 of 21", "1,234", "sample 1, t 2, feature 3"],
        ["first   "],
    ),
    "too large": (
        lambda: replace(with_ratio(H, np.nan), not_finite=TOO_LARGE),
        ["1e+300", "float32"],
        [],
    ),
    "reason": (
        lambda: replace(with_ratio(H, 3.0), is_random=True),
        ["300 %", "reason  predict"],
        ["first"],
    ),
    "no reason": (
        lambda: with_ratio(H, 3.0),
        ["first", "bad | FAIL | simple_rnn: h, float32 | 300 %", "t "],
        ["reason"],
    ),
    "nothing compared": (
        lambda: with_ratio(H, 0.5, compared=0),
        ["FAIL | simple_rnn: h, float32 | none"],
        ["50 %", "None"],
    ),
    "exact": (
        lambda: with_checks(lambda c: c.name == "count_params()", passed=False, found="58"),
        ["bad | FAIL | count_params() | 58", "first   count_params(): 58"],
        ["×"],
    ),
    "weights": (
        lambda: with_checks(
            lambda c: c.name == "weights: numbers", passed=False, found="not equal: dense/kernel"
        ),
        ["weights: numbers | not equal |  | dense/kernel"],
        [],
    ),
    "many": (
        lambda: with_checks(lambda c: c.residual is None, passed=False),
        ["10 of 21"],
        ["more failed", "×"],
    ),
    "overflow": (
        lambda: with_ratio(H, 0.5, overflow=4),
        ["warning: ! ", "t = 4"],
        [],
    ),
    "other backend": (
        lambda: replace(verified(), engine=JAX),
        ["Keras 3.99 (JAX 0.7.7", "TensorFloat-32", "warning: ! ", "KERAS_BACKEND=tensorflow"],
        ["float32 and float64"],
    ),
    "no difference": (lambda: replace(verified(), difference=None), ["x: random"], ["differs"]),
    "infinite difference": (
        lambda: replace(verified(), difference=Difference(np.inf, Index(0, 0, 0))),
        ["x: random"],
        ["differs"],
    ),
    "difference": (
        lambda: replace(verified(), difference=Difference(0.0123, Index(0, 0, 0))),
        ["at most 1.2e-02", "random"],
        [],
    ),
    "x": (
        lambda: replace(verified(), difference=Difference(0.0123, Index(0, 0, 0)), source="x"),
        ["at most 1.2e-02"],
        ["(x", "x: ", "()"],
    ),
    "failed, with an overflow": (
        lambda: replace(
            with_ratio(H, 3.0, overflow=4), difference=Difference(0.0123, Index(0, 0, 0))
        ),
        ["FAILED", "t = 4", "at most 1.2e-02"],
        [],
    ),
    "several equal": (
        lambda: with_checks(
            lambda c: c.residual is not None and c.layer not in ("predict", "trace"),
            residual=replace(verified().checks[-1].residual, ratio=0.0),
        ),
        ["2 other layers | 9 | equal"],
        ["dense |"],
    ),
    "largest": (
        lambda: with_ratio("dense: y_hat at every step", 0.87),
        ["| dense | 2 | 87 % |", "y_hat, sample"],
        [],
    ),
    "equal": (
        lambda: with_checks(
            lambda c: c.layer == "dense",
            residual=replace(verified().checks[-1].residual, ratio=0.0),
        ),
        ["| dense | 2 | equal |"],
        [],
    ),
}


@pytest.mark.parametrize("name", VERIFIED)
def test_verification_shows_its_facts(name: str) -> None:
    make, present, absent = VERIFIED[name]
    text = shown(make(), "summary", width=300)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


def test_both_directions_are_told_apart() -> None:
    result = rnnshapes.verify(N=2, T=3, D=4, M=5, K=2, cell="gru", bidirectional=True)
    for way in ("forward", "backward"):
        found = tuple(
            replace(c, residual=replace(c.residual, ratio=0.99))
            if c.name == f"bidirectional/{way}_gru: h at every step"
            else c
            for c in result.checks
        )
        assert f"| {way} h, sample" in shown(replace(result, checks=found))


def test_uncovered_layers_stand_in_the_verdict() -> None:
    def verdict(*layers: Any) -> str:
        result = rnnshapes.verify(randomized(sequential(*layers, la.GRU(4))), N=2)
        assert result.passed
        return shown(result).partition("\n")[0]

    one = verdict(Doubled(name="own"))
    assert "own" in one
    assert "2 layers" in verdict(Doubled(name="own"), Doubled(name="other"))


def test_verdict_alone_has_the_reason() -> None:
    for result, words in (
        (replace(with_ratio(H, np.nan), not_finite=NAN), "1,234"),
        (replace(with_ratio(H, 3.0), is_random=True), "SeedGenerator"),
        (with_ratio(H, 3.0), "1 of 21 checks"),
        (verified(), "all 21 checks"),
    ):
        (line,) = render.to_document(result, View(parts=frozenset(), width=10))
        assert words in line.text
        assert ("SeedGenerator" in line.text) == (words == "SeedGenerator")


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
    numbers = text[text.index("Numbers") :]
    assert numbers.index("FAIL") < numbers.index(" ok ")


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
    (first,) = {replace(result, not_finite=NAN).to_dict()["not_finite"]["count"]}
    assert first == 1234
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
    assert ["2 more" in line for line in remarks] == [True, False, False]
    assert [line.partition(":")[0] for line in remarks] == ["warning", "bad", "bad"]
    assert shown(FileSummaries(FILES.files[:1])).split("\n")[-1].startswith("plain | ok")


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


WEIGHT_FILES: dict[str, tuple[Callable[[], Any], list[str], list[str]]] = {
    "right": (
        lambda: weight_file(0),
        ["good: AGREES", "1,233", " 3 arrays", "own2 | a2\nb2 | as it is", "state_dict of PyTorch"],
        ["FAIL", "! "],
    ),
    "wrong": (
        lambda: weight_file(2),
        ["FAILED  own0: wrong0", "and     own1: wrong1", "fix     mend it", "FAIL | own1"],
        ["AGREES", "and     own0", "more", "fix     mend it\nplain: fix"],
    ),
    "six": (lambda: weight_file(6, 8), ["own5: wrong5"], ["more", "AGREES"]),
    "seven": (lambda: weight_file(7, 8), ["own5: wrong5", "1 more"], ["own6: wrong6"]),
    "empty": (lambda: weight_file(0, 0), ["FAILED"], ["AGREES", "0 arrays"]),
    "four unknown": (
        lambda: weight_file(0, unknown_arrays=named(4)),
        ["warning: ! ", "array4 (w.pt)"],
        [" more"],
    ),
    "five unknown": (
        lambda: weight_file(0, unknown_arrays=named(5)),
        ["array4 and 1 more"],
        ["array5"],
    ),
    "assumption": (lambda: weight_file(0, assumptions=("an option",)), ["! an option"], []),
    "known kind": (
        lambda: weight_file(0, path="w.onnx", framework="ONNX", kind=".onnx"),
        ["(ONNX)"],
        [],
    ),
    "safetensors": (
        lambda: weight_file(0, path="W.SAFETENSORS", kind=".safetensors"),
        ["(PyTorch)"],
        [],
    ),
}


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_weight_file_shows_its_facts(name: str) -> None:
    make, present, absent = WEIGHT_FILES[name]
    text = shown(make(), "summary", width=300)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


def test_records_of_weight_files_have_their_facts() -> None:
    wrong, right = rows_of(weight_file(1, 2))
    assert (wrong["passed"], wrong["id"], wrong["detail"]) == ("false", "weights.other", "wrong0")
    assert (right["passed"], right["id"], right["detail"]) == ("true", "", "")
    assert (right["arrays"], right["rule"], right["compared"]) == ("a1, b1", "as it is", "411")
    record = weight_file(1, 2).to_dict()
    assert [check["rule"] for check in record["checks"]] == [None, "as it is"]
    assert [check["passed"] for check in record["checks"]] == [False, True]
    assert [one["id"] for one in record["diagnosis"]] == ["weights.other"]


def test_quiet_weight_file_is_one_line() -> None:
    (line,) = render.to_document(weight_file(2), View(parts=frozenset()))
    assert "own0" in line.text


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
        assert "Q4.n" in line
    assert len(warnings) == 4
    assert "1 more" in warnings[3]
    three = tuple(replace(v, saturated=0.0) if v.name == names[1] else v for v in changed)
    text = shown(replace(quantized(), values=three))
    assert text.count("warning: ") == 3
    small = tuple(replace(v, low=-0.2, high=0.1) for v in three)
    assert "Q0.n" in shown(replace(quantized(), values=small))
    zeros = tuple(replace(v, low=0.0, high=0.0) for v in three)
    assert "Q0.n" in shown(replace(quantized(), values=zeros))
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
        assert row.endswith(f"| {value.total_rms:.1e}")
        assert f"{value.largest:.1e}" in row
        assert value.worst_step is None or f"| {value.worst_step} |" in row
    assert "None" not in text
    owners = [v.name.rpartition("/" if v.kind == "weight" else ".")[0] for v in quantized().values]
    groups = [name for name, _ in groupby(owners) if name]
    headings = [row.split(" | ")[1] for row in text.split("\n") if row.startswith("strong |")]
    assert headings == groups
    assert "saturated" not in shown(quantized(), "numbers")
    texts = [shown(quantized(to)) for to in ("int8", "int8-columns", "int16", "q1.6")]
    assert all(name in text for name, text in zip(("int8", "int8-c"), texts, strict=False))
    assert len({text.split("\n")[2].partition(": ")[2].partition(": ")[2] for text in texts}) == 4
    assert "-2 to 1.98438" in texts[3]


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
        assert headings[1::3] == [f"{name}: largest" for name in shown_names]
        values = {value.name: value for value in quantized().values}
        for number, name in enumerate(shown_names):
            cells = table.rows[-1].cells[1 + 3 * number :]
            assert cells[0] == f"{values[name].errors[20]:.1e}"
            assert cells[1] == f"{values[name].rms[20]:.1e}"
    short = rnnshapes.quantize(**{**SIZES, "T": 10}, cell="lstm", to="int8")
    *_, table = [b for b in render.to_document(short, View()) if isinstance(b, Table)]
    assert len(table.rows) == 10


def test_rows_in_fixed_point_have_every_step() -> None:
    rows = rows_of(quantized())
    for value in quantized().values:
        own = [row for row in rows if row["value"] == value.name]
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


def test_output_in_fixed_point_is_the_verdict() -> None:
    last = shown(quantized()).split("\n")[-1]
    (value,) = [value for value in quantized().values if value.name == "y_hat"]
    share = value.largest / max(-value.low, value.high)
    for words in (
        "y_hat",
        f"{value.largest:.1e}",
        f"{100 * share:.1f} %",
        f"{value.total_rms:.1e}",
    ):
        assert words in last
    zeros = tuple(replace(v, low=0.0, high=0.0) for v in quantized().values)
    assert "%" not in shown(replace(quantized(), values=zeros)).split("\n")[-1]
    tiny = tuple(replace(v, errors=1e-9 * v.errors) for v in quantized().values)
    assert "< 0.1 %" in shown(replace(quantized(), values=tiny)).split("\n")[-1]
    others = tuple(v for v in quantized().values if v.name != "y_hat")
    assert others[-1].name in shown(replace(quantized(), values=others)).split("\n")[-1]


# --- A trace ------------------------------------------------------------------------------------


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


TRACES: dict[str, tuple[Callable[[], Any], dict[str, Any], list[str], list[str]]] = {
    "plain": (
        traced,
        {},
        ["(2, 6, 3)", "random, seed 3", "One step, t = 1:", "h_t"],
        ["! ", "of simple_rnn,", "ok  ", "Keras 3", "units of y_hat", "steps in the middle"],
    ),
    "Keras": (
        lambda: traced(keras=True),
        {},
        ["good: ok  Keras 3", "at every step", "float32", "y_hat_t Keras"],
        ["Not compared", "! "],
    ),
    "several equations": (lambda: traced("lstm"), {}, ["One step, t = 1"], ["t = 1:"]),
    "stack": (lambda: traced("stack"), {}, ["One step of simple_rnn, t = 1:"], []),
    "one step": (lambda: traced("one step"), {}, ["One step, t = 0:"], []),
    "chosen step": (traced, {"start": 4}, ["One step, t = 4:"], []),
    "long": (lambda: traced("long"), {"most_rows": 30}, ["19,991 steps"], ["One step"]),
    "long, chosen step": (lambda: traced("long"), {"start": 7, "end": 9}, ["t = 7:"], ["19,9"]),
    "x": (lambda: replace(traced(), source="x"), {}, ["x (2, 6, 3)"], ["(2, 6, 3):"]),
    "NaN": (lambda: replace(traced(), not_finite=NAN), {}, ["warning: ! ", "1,234"], []),
    "own layer": (
        lambda: traced("own", keras=True),
        {},
        ["warning: ! Not supported: layer 'own", "may not be", "own is not supported"],
        ["other"],
    ),
    "own layers": (lambda: traced("two own", keras=True), {}, ["'own", "'other"], []),
    "two outputs": (
        lambda: traced("two outputs"),
        {},
        ["warning: ! ", "2 outputs", "first, a,", "not b", "rnnshapes verify"],
        [],
    ),
    "two inputs": (lambda: traced("two inputs"), {}, ["(2, 6, 3)", "(2, 7, 2)"], ["x (2"]),
    "both directions": (
        lambda: traced("both"),
        {},
        ["strong: y_hat at t", "bidirectional/backward_gru starts", "reverse", "h← at t"],
        ["forward_gru starts", "masked step", "own predict", "h→ at t"],
    ),
    "both directions in Keras": (
        lambda: traced("both", keras=True),
        {},
        ["own predict returns", "NumPy differs by"],
        [", …"],
    ),
    "convolved": (lambda: traced("convolved"), {}, ["strong: y_hat", "combine"], ["reverse"]),
    "in reverse": (
        lambda: traced("reverse"),
        {},
        ["simple_rnn returns them", "states at T-1-t", "simple_rnn processes"],
        [],
    ),
    "masked": (lambda: traced("masked"), {}, ["masked step"], []),
    "joined": (
        lambda: traced("joined", keras=True),
        {},
        ["output NumPy", "output Keras", "diff", "ok  Keras", "no y_hat"],
        ["at every step,", "own predict", "units of y_hat"],
    ),
    "joined, without Keras": (
        lambda: traced("joined"),
        {},
        ["output NumPy"],
        ["output Keras", "diff"],
    ),
    "wide": (
        lambda: traced("wide", keras=True),
        {"width": 80},
        [" of 50 units", " …"],
        [],
    ),
    "difference": (
        lambda: differing(0.0123),
        {},
        ["warning: ! Keras 3", "1.2e-02", "sample 1, t 3, unit 2", "rnnshapes verify"],
        ["ok  "],
    ),
    "NaN in Keras": (
        lambda: differing(np.nan),
        {},
        ["warning: ! y_hat is NaN", "sample 1, t 3, unit 2"],
        ["ok  ", "differs"],
    ),
    "infinite": (lambda: differing(np.inf), {}, ["warning: ! Keras 3"], ["ok  ", "inf,"]),
}


@pytest.mark.parametrize("name", TRACES)
def test_trace_shows_its_facts(name: str) -> None:
    make, view, present, absent = TRACES[name]
    text = shown(make(), "summary", **{"width": 200, **view})
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


NUMBERS: dict[str, tuple[Callable[[], Any], list[str], list[str]]] = {
    "without Keras": (traced, ["float64"], ["computes in float32", "predict"]),
    "last row": (
        lambda: without_predict("plain", lambda output: output + np.float32(0.5)),
        ["Row t = 5", "5.0e-01", "verify"],
        ["Every row"],
    ),
    "every row": (
        lambda: without_predict("sequences", lambda output: output + np.float32(0.5)),
        ["Every row", "5.0e-01"],
        ["Row t = 5"],
    ),
    "NaN": (
        lambda: without_predict("plain", lambda output: output * np.float32(np.nan)),
        ["Row t = 5"],
        ["is NaN", "bit for bit"],
    ),
    "no row": (
        lambda: without_predict("both", lambda output: output + np.float32(0.5)),
        ["own predict returns", "5.0e-01"],
        ["Row t", "Every row"],
    ),
    "nine outputs": (lambda: traced("joined", keras=True), [", …"], ["Row t"]),
    "eight outputs": (
        lambda: traced("joined by few", keras=True),
        ["own predict returns"],
        [", …"],
    ),
    "output": (
        lambda: traced("joined", keras=True),
        ["output of the model, sample 0 of 2", "difference", "plain | 8 | "],
        ["plain | 9 | "],
    ),
    "titles": (lambda: traced("two inputs"), ["each of T1 time", "each of T2 time"], []),
    "title": (traced, ["y_hat, h at each time step, sample 0 of 2"], ["each of T "]),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_a_trace_show_its_facts(name: str) -> None:
    make, present, absent = NUMBERS[name]
    text = shown(make(), "numbers", width=200)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


def test_equal_output_of_predict_is_said() -> None:
    exact = traced("sequences", keras=True)
    nan = rnnshapes.trace(x=np.full((2, 6, 3), np.nan), M=4, return_sequences=True)
    texts = []
    for result, output in (
        (exact, exact.y_hat_keras),
        (nan, nan.output_keras),
        (exact, exact.y_hat_keras + 1),
    ):
        changed = replace(result, keras=replace(result.keras, outputs=(output,)))
        lines = shown(changed, "numbers").split("\n")
        texts += [line for line in lines if "Every row" in line]
    assert [line.partition(":")[0] for line in texts] == ["good", "bad", "plain"]


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
        text = shown(traced("long"), part, start=5, end=65, most_rows=30, width=200)
        assert "plain | 35 |" in text
        assert ("y_hat" in shown(traced(), part, show=("h",))) is True
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
        view = View(parts=frozenset({part}), most_rows=30, width=200)
        (table,) = [b for b in render.to_document(result, view) if isinstance(b, Table)]
        assert len(table.rows) == (steps if steps == least else 2 * ends + 1)
        assert (f"{steps - 2 * ends} steps" in shown(result, part, most_rows=30)) == (steps > least)
        assert len(shown(result, part).split("plain | ")) >= steps
        few = View(parts=frozenset({part}), most_rows=least - 1, width=200)
        (table,) = [b for b in render.to_document(result, few) if isinstance(b, Table)]
        assert len(table.rows) == 2 * ends + 1


def test_drawings_name_what_they_draw() -> None:
    def titles(result: Any, *parts: str) -> list[str]:
        view = View(parts=frozenset(parts), width=200)
        document = render.to_document(result, view)
        return [block.title for block in document if isinstance(block, Drawing)]

    assert titles(traced(), "flow")[0].startswith("y_hat over t, sample 0 of 2")
    assert titles(traced("long"), "flow")[0] == "y_hat over t"
    drawn = titles(traced("both"), "flow")
    assert ["reverse" in title for title in drawn] == ["backward" in title for title in drawn]
    assert sum("gate h~" in title for title in drawn) == 2


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
        "two sizes": {**SIZES, "cell": "lstm", "M": [4, 7]},
        "equal sizes": {**SIZES, "cell": "lstm", "M": [4, 4]},
        "sequences": {**SIZES, **sequence},
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
        "no layers": lambda: sequential(la.LSTM(4), la.Dropout(0.1, name="drop")),
    }
    return rnnshapes.inspect(models[name]())


INSPECTIONS: dict[str, tuple[str, list[str], list[str]]] = {
    "plain": (
        "plain",
        ["57 parameters = M(D+M+1) + K(M+1) = 4·(3+4+1) + 5·(4+1) = 32 + 25"],
        ["→ simple_rnn:", "Gates", "no recurrence", "in reverse"],
    ),
    "one layer": ("one layer", ["128 parameters = 4M(D+M+1) = 4·4·(3+4+1)"], ["= 128"]),
    "gru": ("gru", ["bias: row 0 is bx", "row 1 is bh", "z update 0:4"], ["gru: z"]),
    "two sizes": (
        "two sizes",
        ["lstm: i input 0:4", "lstm_1: i input 0:7", "lstm_1: as lstm, with"],
        ["i2_t"],
    ),
    "equal sizes": ("equal sizes", ["i input 0:4"], ["lstm: i", "lstm_1: i"]),
    "sequences": ("sequences", ["| (2, 6, 3) → (2, 6, 4) |", "| (2, 6, 4) → (2, 6, 5) |"], []),
    "reverse": ("reverse", ["simple_rnn: processes the sequence in reverse"], []),
    "both": ("both", ["in reverse, the same with Wx← Wh← bh←"], ["bidirectional: "]),
    "no recurrence": ("no recurrence", ["no recurrent layer"], ["Once", "At every"]),
    "around": ("around", ["At every t = 0 … 5", "Once, at the end"], ["Once, at the start"]),
    "before": ("before", ["Once, at the start", "Once, at the end"], ["over all"]),
    "between": ("between", ["Once, over all steps", "Once, at the end"], ["at the start"]),
    "branches": ("branches", ["a, b → sum: Add", " → a: GRU(M1)"], []),
    "open": ("open", ["At every t, with", "T=?"], ["0 …"]),
    "own": ("own", ["warning: ! own, other: ", "strong | ? own |"], ["warning: ! other"]),
    "no layers": ("no layers", ["strong | drop | Dropout | (1, 4) |  | "], []),
}


@pytest.mark.parametrize("name", INSPECTIONS)
def test_inspection_shows_its_facts(name: str) -> None:
    kind, present, absent = INSPECTIONS[name]
    text = shown(replace(inspected(kind), keras=None), "summary", width=200)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


def test_views_of_an_inspection_show_their_facts() -> None:
    gates = shown(inspected("gru"), "gates", width=200)
    assert gates.count(" by gate") == 1
    assert "rows: input, recurrent" in gates
    assert "dense" not in gates.partition("\n")[2].partition("parameters")[2]
    steps = shown(inspected("open"), "steps", width=200)
    assert "T is unknown: set --T" in steps
    assert "a step × T steps" in steps
    steps = shown(inspected("both"), "steps", width=200)
    assert "a step × 6 steps" in steps
    assert "unknown" not in steps
    assert "drop" not in shown(inspected("no layers"), "steps", width=200)


def file_of(**changes: Any) -> Any:
    """Return an inspection of a file in which these facts are others."""
    fact = Fact("rnn/kernel", "(D, M)", (3, 4), (3, 4))
    file = FileCheck("m.keras", ".keras", "3.9", (fact,), (), False)
    return replace(inspected(), keras=None, file=replace(file, **changes))


WRONG = Fact("rnn/bias", "(M,)", (4,), (5,))
INSPECTED_FILES: dict[str, tuple[dict[str, Any], list[str], list[str]]] = {
    "right": (
        {},
        ["good: ok  m.keras (.keras, written by Keras 3.9)", "1 arrays"],
        ["FAILED", "! "],
    ),
    "notes": ({"notes": ("a note",), "extras": ("more",)}, ["! m.keras: a note", "; more"], []),
    "wrong": (
        {"facts": (WRONG,)},
        ["bad: FAILED", "(4,) expected", "(5,)", "its config"],
        ["ok  "],
    ),
    "contradiction": (
        {"contradictions": ("a wrong layer",)},
        ["bad: FAILED  m.keras contradicts itself: a wrong layer"],
        ["ok  ", "its config"],
    ),
    "eight": ({"facts": (WRONG,) * 8}, ["FAILED"], [" more, which"]),
    "nine": ({"facts": (WRONG,) * 9}, ["; and 1 more"], []),
    "no arrays": ({"facts": ()}, ["plain: m.keras: .keras"], ["ok  "]),
    "other framework": (
        {"framework": "PyTorch", "kind": "state_dict", "path": "w.pt"},
        ["state_dict of PyTorch"],
        ["written by"],
    ),
}


@pytest.mark.parametrize("name", INSPECTED_FILES)
def test_inspected_file_shows_its_facts(name: str) -> None:
    changes, present, absent = INSPECTED_FILES[name]
    text = shown(file_of(**changes), "summary", width=200)
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


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
    assert "good: ok  Keras" in shown(right)
    assert "5 weights and 57 parameters" in shown(right)
    facts = tuple(
        replace(fact, found=99) if fact.name == "count_params()" else fact
        for fact in right.keras.facts
    )
    wrong = replace(right, keras=replace(right.keras, facts=facts))
    assert "bad: FAILED  Keras" in shown(wrong)
    assert "99" in shown(wrong)
    nothing = replace(right, keras=replace(right.keras, facts=()))
    assert "bad: FAILED  Keras" in shown(nothing)
    assert shown(nothing).split("\n")[-1] != shown(wrong).split("\n")[-1]
    file = replace(file_of(facts=(WRONG,)), keras=right.keras)
    assert "good: " not in shown(file)
    assert "5 weights and 57 parameters" in shown(file)
    assert "dim: Not compared with Keras: why" in shown(replace(right, not_built="why"))
    assert "Keras" not in shown(replace(right, keras=None))


# --- A step and a golden file -------------------------------------------------------------------


def test_layers_of_a_step_are_counted() -> None:
    def text(result: Any) -> str:
        drawings = [b for b in render.to_document(result, View()) if isinstance(b, Drawing)]
        lines = [line for drawing in drawings for line in drawing.draw(Sheet(120))]
        return "\n".join("".join(span.text for span in spans) for spans in lines)

    assert "layer 1 of" not in text(traced().step(2))
    both = text(traced("both").step(2))
    assert "layer 1 of 2" in both
    assert "layer 2 of 2" in both


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
    for note, words in zip(notes, ("float64", "Keras", "PyTorch", "float32", "int8"), strict=False):
        assert words in note
    assert "NaN" not in notes[1]
