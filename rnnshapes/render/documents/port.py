"""A PortVerification as a document, as JSON and as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.port.compare import Comparison
from rnnshapes.port.error_summary import ErrorSummary
from rnnshapes.port.explanation import Diagnosis, Explanation
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.mistakes.axes import SWAPPED_OUTPUT
from rnnshapes.port.report import PortVerification
from rnnshapes.render.document import Column, Document, Line, Meaning, Row, Table
from rnnshapes.render.number_text import (
    count_text,
    distinct_texts,
    magnitude_text,
    ratio_bar,
    share_text,
)
from rnnshapes.render.phrases import (
    CHECK_HEADINGS,
    INDEX_COLUMN,
    RATIO_COLUMNS,
    check_row,
    index_cell,
    index_record,
    input_text,
    labelled_line,
    names_text,
    network_line,
    ratio_cells,
    sizes_record,
    verdict_lines,
    warning_line,
)
from rnnshapes.render.view import View

#: How many names of unknown arrays are shown.
_LISTED_NAMES = 4
_EXPECTED = "ratio <= 1"
#: An error that grows or shrinks over t by less than this factor is steady.
_STEADY = 1.5
#: A tolerance for a larger error, as a share of the range, is not proposed.
_LARGEST_ACCEPTED = 0.05
#: The pairs of mistakes that were tried, in words.
_PAIRS = {"all": " and pairs of them", "head": ", and pairs after the recurrent layers", "": ""}
#: The word of each verdict and its meaning.
_WORDS: dict[str, tuple[str, Meaning]] = {
    "inexact": ("INEXACT", "warning"),
    "failed": ("FAILED", "bad"),
}


def document(result: PortVerification, view: View) -> Document:
    """Return the verdict, and below it a summary, every number of each comparison, or both."""
    verdict, *others = _verdict(result, view)
    blocks: list[Line | Table] = [verdict]
    if view.parts:
        blocks += others
        blocks += (labelled_line("note", note) for note in result.notes)
    if view.has("summary"):
        blocks += _summary(result)
    if view.has("numbers"):
        blocks += _numbers(result)
    return tuple(blocks)


def record(result: PortVerification) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.verify/1``; its engine is null, as Keras is not used."""
    diagnosis = result.diagnosis
    explanations = () if diagnosis is None else diagnosis.explanations
    return {
        "schema": result.schema,
        "passed": result.passed,
        "verdict": result.verdict,
        "tolerance": result.tolerance,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None,
        "port": result.port,
        "dtype": result.dtype,
        "checks": [_check_record(check) for check in result.checks],
        "where": [{**one.where._asdict(), "text": one.text} for one in result.locations],
        "unjudged": result.unknown_arrays,
        "uncompared_layers": result.uncompared_layers,
        "notes": result.notes,
        "diagnosis": [
            _explanation_record(one, mistakes, number)
            for number, one in enumerate(explanations)
            for mistakes in one.by_layer
        ]
        + [
            _mistakes_record((mistake,), alternative=0, dtype=result.dtype)
            for mistake in (() if diagnosis is None else diagnosis.appearance)
        ],
        "tried": 0 if diagnosis is None else diagnosis.tried,
        "nearest": None if diagnosis is None or explanations else _nearest_record(diagnosis),
        "steps_needed": _steps_needed(diagnosis),
    }


def rows(result: PortVerification) -> Iterator[Sequence[object]]:
    """Yield the headings, one row for each array, and one row for each explanation."""
    yield CHECK_HEADINGS
    for check in result.checks:
        ratio = check.ratio if _has_ratio(check) else ""
        yield (
            check.quantity,
            str(check.passed).lower(),
            check.compared,
            _EXPECTED,
            _found(check),
            ratio,
            _detail(check),
        )
    for one in () if result.diagnosis is None else result.diagnosis.explanations:
        found = f"ratio {one.ratio:.3g}"
        yield ("explanation", "true", one.compared, _EXPECTED, found, one.ratio, one.text)
    if result.verdict == "inexact":
        numbers = sum(check.compared + check.left_out for check in result.checks)
        expected = f"error / range <= {result.tolerance or 0:g}"
        found = f"error / range {result.largest_error:.3g}"
        passed = str(result.passed).lower()
        yield ("verdict", passed, numbers, expected, found, "", "; ".join(_errors(result)))


def _check_record(check: Comparison) -> dict[str, Any]:
    """Return one array in JSON."""
    has_ratio = _has_ratio(check)
    return {
        "name": check.quantity,
        "passed": check.passed,
        "compared": check.compared,
        "differing": check.differing,
        "left_out": check.left_out,
        "wide": check.wide,
        "expected": _EXPECTED,
        "found": _found(check),
        "ratio": check.ratio if has_ratio else None,
        "place": index_record(check.index) if has_ratio else None,
        "first": index_record(check.first),
        "max_abs": None if check.shape else check.max_abs,
        "proven": check.proven,
        "dtype": check.narrow_dtype or None,
        "error": None if check.error is None or check.shape else _error_record(check.error),
        "detail": _detail(check),
    }


def _error_record(error: ErrorSummary) -> dict[str, Any]:
    """Return the error of one array over the whole run in JSON."""
    return asdict(error)


def _explanation_record(
    explanation: Explanation, mistakes: tuple[Mistake, ...], alternative: int
) -> dict[str, Any]:
    """Return the mistakes of an explanation in one layer in JSON.

    ``conventions`` has the texts of the mistakes without that of the arithmetic.
    """
    conventions = [mistake.text for mistake in mistakes if mistake != explanation.arithmetic]
    return {
        **_mistakes_record(mistakes, alternative=alternative, dtype=explanation.dtype),
        "conventions": conventions,
        "ratio": explanation.ratio,
        "compared": explanation.compared,
    }


def _mistakes_record(
    mistakes: tuple[Mistake, ...], *, alternative: int, dtype: str
) -> dict[str, Any]:
    """Return mistakes in JSON, as what a difference looks like."""
    return {
        "id": " + ".join(mistake.id for mistake in mistakes),
        "where": _common([mistake.where for mistake in mistakes])._asdict(),
        "text": "; ".join(mistake.text for mistake in mistakes),
        "cure": "; ".join(mistake.fix for mistake in mistakes),
        "alternative": alternative,
        "mistakes": [_mistake_record(mistake) for mistake in mistakes],
        "conventions": [mistake.text for mistake in mistakes],
        "dtype": dtype,
        "ratio": None,
        "compared": 0,
    }


def _common(places: Sequence[Where]) -> Where:
    """Return what all of the places have in common."""
    fields = zip(*places, strict=True)
    return Where(*(values[0] if len(set(values)) == 1 else None for values in fields))


def _steps_needed(diagnosis: Diagnosis | None) -> int | None:
    """Return how many steps of all samples would tell the weights of the port, if more do."""
    too_few = None if diagnosis is None else diagnosis.too_few_steps
    return None if too_few is None else too_few.needed


def _nearest_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the nearest hypothesis in JSON."""
    return {
        "mistakes": [_mistake_record(mistake) for mistake in diagnosis.nearest],
        "conventions": [mistake.text for mistake in diagnosis.nearest],
        "max_abs": diagnosis.max_abs,
    }


def _mistake_record(mistake: Mistake) -> dict[str, Any]:
    """Return a known mistake in JSON."""
    where = mistake.where._asdict()
    return {"id": mistake.id, "where": where, "text": mistake.text, "cure": mistake.fix}


# --- The verdict --------------------------------------------------------------------------------


def _verdict(result: PortVerification, view: View) -> Iterator[Line]:
    """Yield whether the port agrees, or what explains that it does not."""
    if result.verdict == "agrees":
        yield from _agreement(result, view)
        return
    word, meaning = _WORDS[result.verdict]
    if result.passed:
        yield labelled_line(word, _accepted(result), meaning)
        word, meaning = "", "plain"
    diagnosis = result.diagnosis
    if diagnosis is not None and diagnosis.explanations:
        yield from _explanations(diagnosis, word, meaning)
    else:
        yield labelled_line(word, _unproven(result) or _unexplained(result), meaning)
        if result.passed:
            yield labelled_line("", "an unknown mistake of that size would be accepted as well")
        for mistake in () if diagnosis is None else diagnosis.appearance:
            yield labelled_line("looks", f"like {mistake.text}")
    yield from _exactness(result)
    for shape in dict.fromkeys(check.shape for check in result.checks if check.shape):
        yield labelled_line("shape", shape.removeprefix("shape "))
    if (first := _first_difference(result)) is not None:
        yield labelled_line("first", first)
    explained = diagnosis is not None and diagnosis.explanations
    yield from _places(result, lines_alone=bool(explained))
    if diagnosis is not None and diagnosis.tried and not explained:
        yield from _search(result, diagnosis)


def _explanations(diagnosis: Diagnosis, word: str, meaning: Meaning) -> Iterator[Line]:
    """Yield the mistakes of each explanation, what they make agree, and how to fix them."""
    for number, one in enumerate(diagnosis.explanations):
        for group, mistakes in enumerate(one.by_layer):
            label = "and" if group else "or" if number else word
            yield labelled_line(label, "; ".join(m.text for m in mistakes), meaning)
        yield labelled_line("", _consequence(one))
        for fix in filter(None, dict.fromkeys(mistake.fix for mistake in one.all_mistakes)):
            yield labelled_line("fix", fix)


def _exactness(result: PortVerification) -> Iterator[Line]:
    """Yield the errors over the whole run, and the tolerance that would accept them."""
    if result.verdict == "inexact" or result.tolerance is not None:
        for line in _errors(result):
            yield labelled_line("error", line)
    if result.verdict == "failed" and result.within_tolerance:
        diagnosis = result.diagnosis
        text = "the tolerance is for numbers that are all inexact, and not for mistakes"
        if diagnosis is not None and not (diagnosis.complete and diagnosis.weights_tried):
            text = "the tolerance accepts nothing that a mistake that was not tried may explain"
        yield labelled_line("", text)
    is_small = result.largest_error <= _LARGEST_ACCEPTED
    if result.verdict == "inexact" and not result.passed and is_small:
        yield labelled_line("accept", f"with --tolerance {_tolerance_above(result.largest_error)}")


def _accepted(result: PortVerification) -> str:
    """Return what the tolerance of the user accepts."""
    largest = _percent(result.largest_error)
    tolerance = _percent(result.tolerance or 0.0)
    return f"within the tolerance: up to {largest} of the range, and {tolerance} is accepted"


def _errors(result: PortVerification) -> Iterator[str]:
    """Yield the largest error of each array that does not agree, its rms and growth over t."""
    shown = [check for check in result.checks if check.error is not None and not check.passed]
    for check in shown:
        assert check.error is not None
        text = f"{_percent(check.error.relative)} of the range"
        name = (
            f"{check.quantity.removesuffix(' at every step')}, " if len(result.checks) > 1 else ""
        )
        rms = f", rms {_percent(check.error.relative_rms)}"
        yield f"{name}{text}{rms}{_growth_text(check.error.growth)}"


def _growth_text(growth: float | None) -> str:
    """Return how an error changes over t; empty where that is not known."""
    if growth is None:
        return ""
    if 1 / _STEADY <= growth <= _STEADY:
        return ", steady over t"
    return f", {growth:.2g} times as large at the end as at the start"


def _percent(share: float) -> str:
    """Return ``1.3 %``: two digits, with a power of ten where it is tiny."""
    if not math.isfinite(share):
        return "infinitely much"
    percent = 100 * share
    return f"{percent:.2g} %" if percent < 99.5 else f"{percent:,.0f} %"


def _tolerance_above(share: float) -> str:
    """Return a tolerance of two digits that is at least the share."""
    if share <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(share)) - 1)
    return f"{min(1.0, (math.floor(share / unit) + 1) * unit):.2g}"


def _places(result: PortVerification, *, lines_alone: bool) -> Iterator[Line]:
    """Yield where the port differs, as far as it is in one place; or lines of an equation alone."""
    for location in result.locations:
        if location.text and (location.is_line or not lines_alone):
            yield labelled_line("where", location.text)


def _agreement(result: PortVerification, view: View) -> Iterator[Line]:
    """Yield how many numbers agree, and how near the worst is to its bound."""
    compared = sum(check.compared for check in result.checks)
    some = result.unknown_arrays or any(check.left_out for check in result.checks)
    worst = share_text(max(check.ratio for check in result.checks))
    numbers = "the only number" if compared == 1 else f"all {count_text(compared)} numbers"
    details = (
        numbers + " compared" * bool(some),
        f"at most {worst} of the rounding bound",
        " and ".join(dict.fromkeys(check.narrow_dtype or result.dtype for check in result.checks)),
    )
    for line in verdict_lines("AGREES", details, view.width):
        yield Line(line, "good")


def _consequence(explanation: Explanation) -> str:
    """Return what an explanation makes agree: ``once corrected, all 100 numbers agree``."""
    count, worst = count_text(explanation.compared), share_text(explanation.ratio)
    agree = "the number agrees" if explanation.compared == 1 else f"all {count} numbers agree"
    if explanation.ids == ("numeric.fixed_point",):
        return f"all {count} numbers are those of that run, to within one unit of the last bit"
    condition = "once corrected"
    if explanation.arithmetic is not None and not explanation.mistakes:
        condition = f"with --dtype {explanation.dtype}"
    return f"{condition}, {agree} ({worst} of the rounding bound)"


def _unproven(result: PortVerification) -> str:
    """Return how far rounding alone may change numbers, if all agree and that proves nothing."""
    if result.axes_swapped or not all(check.agrees for check in result.checks):
        return ""
    width = max(check.width for check in result.checks)
    return (
        "all numbers are within the rounding bound, which is too wide to prove it: up to "
        f"{_percent(width)} of the largest number"
    )


def _unexplained(result: PortVerification) -> str:
    """Return what is wrong where no known mistake explains it."""
    compared = sum(check.compared for check in result.checks)
    if result.diagnosis is None and not any(check.differing for check in result.checks):
        total = compared + sum(check.left_out for check in result.checks)
        return f"only {count_text(compared)} of {count_text(total)} numbers can be compared"
    if result.diagnosis is not None and not result.diagnosis.tried:
        return "all numbers of the port are 0: was the result written into the array?"
    count = count_text(sum(check.differing for check in result.checks))
    differ = f"{count} of {count_text(compared)} numbers differ"
    if compared == 1:
        differ = "the only number differs"
    if result.axes_swapped:
        return f"{SWAPPED_OUTPUT.text}; exchanged back, {differ}, and no known mistake explains it"
    small = ", all by little" if result.verdict == "inexact" else ""
    if result.diagnosis is None:
        return f"outputs and states agree, and intermediates do not: {differ}{small}"
    if result.diagnosis.too_few_numbers:
        return f"{differ}: too few to name the mistake, as known mistakes fit them by chance"
    return f"no known mistake explains it: {differ}{small}"


def _search(result: PortVerification, diagnosis: Diagnosis) -> Iterator[Line]:
    """Yield the nearest mistake, what was tried in vain, and what to try."""
    if diagnosis.nearest:
        nearest = "; ".join(mistake.text for mistake in diagnosis.nearest)
        most = magnitude_text(diagnosis.max_abs)
        yield labelled_line("nearest", f"{nearest}; a difference of up to {most} remains")
    tried = f"{count_text(diagnosis.tried)} known mistakes{_PAIRS[diagnosis.pairs]}"
    if diagnosis.cut_off:
        tried += "; there are more, but they would take long: try a shorter x, or fewer layers"
    elif not diagnosis.weights_tried:
        why = ": too many weights, or too few numbers that differ" if diagnosis.complete else ""
        tried += f"; single weights were not tried{why}"
    yield labelled_line("tried", tried)
    proven = any(check.proven for check in result.checks)
    states = "give h (and c of an LSTM) at every step"
    if diagnosis.too_few_numbers:
        yield labelled_line("try", f"{states}, or more samples, to tell mistakes from chance")
    elif not (diagnosis.weights_tried or diagnosis.pairs == "head" or proven):
        yield labelled_line("try", f"{states}: they tell the port's weights")
    if diagnosis.too_few_steps is not None:
        name, reported, needed = diagnosis.too_few_steps
        steps = f"give {count_text(needed)} steps of {name} or more, not {count_text(reported)}"
        yield labelled_line("try", f"{steps} (all samples together), to recover the port's weights")
    if result.random_input:
        yield warning_line(
            f"x was {result.source}: did the port use the same x? Save it with rnnshapes trace "
            "--golden golden.npz, or pass your own with --input FILE"
        )


def _first_difference(result: PortVerification) -> str | None:
    """Return the first number that differs, by t: ``t 0, unit 0: 0.146, expected 0.058``."""
    steps = [
        (math.inf if check.first.t is None else check.first.t, number)
        for number, check in enumerate(result.checks)
        if check.first is not None
    ]
    if not steps:
        return None
    check = result.checks[min(steps)[1]]
    assert check.first is not None
    assert check.first_values is not None
    port, expected = distinct_texts(*check.first_values)
    index = str(check.first)
    if result.network.size("N") == 1:
        index = index.removeprefix("sample 0, ")
    name = f"{check.quantity}, " if len(result.checks) > 1 else ""
    return f"{name}{index}: {port}, expected {expected}"


# --- Tables -------------------------------------------------------------------------------------


def _summary(result: PortVerification) -> Iterator[Line | Table]:
    """Yield what is not compared, and a row for each array."""
    yield from _warnings(result)
    source = input_text(result.source)
    yield Line(f"{result.port}, in {result.dtype}{source and f'; {source}'}", "dim")
    yield network_line(result.network, "dim")
    columns = (
        Column(""),
        Column("array"),
        Column("numbers", numeric=True, rank=1),
        Column("differ", numeric=True, rank=2),
        Column("by at most", numeric=True, rank=2),
        Column("worst", numeric=True),
        Column("", rank=3),
    )
    yield Table(
        "",
        columns,
        tuple(_summary_row(result, check) for check in _failed_first(result)),
        "--view numbers",
    )
    yield Line(f"worst = difference / {_bound_text(result)}", "dim")


def _summary_row(result: PortVerification, check: Comparison) -> Row:
    """Return the row of one array in a summary."""
    ratio = check.ratio if _has_ratio(check) else None
    shares = (share_text(ratio), ratio_bar(ratio))
    if check.shape:
        shares = ("axes", "")
    cells = (
        check.quantity,
        count_text(check.compared),
        "" if check.shape else count_text(check.differing),
        "" if check.shape else magnitude_text(check.max_abs),
        *shares,
    )
    return _status_row(result, check, cells)


def _status_row(result: PortVerification, check: Comparison, cells: tuple[str, ...]) -> Row:
    """Return a row with ``ok``, ``FAIL``, or ``near`` where the port is inexact."""
    if result.verdict == "inexact" and not check.passed:
        return Row(("near", *cells), "warning")
    return check_row(cells, passed=check.passed)


def _failed_first(result: PortVerification) -> list[Comparison]:
    return sorted(result.checks, key=lambda check: check.passed)


def _bound_text(result: PortVerification) -> str:
    """Return what a difference is compared with."""
    if any(check.proven for check in result.checks):
        return "the rounding bound of one step from the port's own states"
    return "the rounding bound of the whole run"


def _warnings(result: PortVerification) -> Iterator[Line]:
    """Yield what was not compared or proves little, with a remedy where there is one."""
    if result.unknown_arrays:
        shown = ", ".join(result.unknown_arrays[:_LISTED_NAMES])
        rest = len(result.unknown_arrays) - _LISTED_NAMES
        more = f" and {rest} more" if rest > 0 else ""
        yield warning_line(f"{shown}{more}: not compared")
    if result.uncompared_layers and result.passed:
        layers = names_text(result.uncompared_layers)
        yield warning_line(f"{layers}: not compared, because no array of the port depends on it")
    for check in result.checks:
        remedy = "give every state at every step, to check each step by itself"
        if check.left_out:
            yield warning_line(
                f"{check.quantity}: {count_text(check.left_out)} numbers are not compared, because "
                f"rounding alone may change them too much; {remedy}"
            )
        if check.wide:
            yield warning_line(
                f"{check.quantity}: rounding alone may change {count_text(check.wide)} of "
                f"{count_text(check.compared)} numbers by up to {_percent(check.width)} of the "
                f"largest: a mistake may be within that; {remedy}"
            )
        if check.only_zeros and check.passed:
            yield warning_line(
                f"{check.quantity}: all numbers are 0, also in the network: another x tests more"
            )


def _numbers(result: PortVerification) -> Iterator[Line | Table]:
    """Yield every number of each comparison, and the first difference of each array."""
    columns = (
        Column(""),
        Column("array"),
        *RATIO_COLUMNS,
        Column("differs by\nat most", numeric=True, rank=2),
        Column("compared", numeric=True, rank=3),
        INDEX_COLUMN,
    )
    yield Table("Port", columns, tuple(_row(result, check) for check in _failed_first(result)))
    yield Line(f"ratio = difference / {_bound_text(result)}; up to 1 passes", "dim")
    for check in result.checks:
        if detail := _detail(check):
            yield Line(f"{check.quantity}: {detail}", "bad", indent=2)


def _row(result: PortVerification, check: Comparison) -> Row:
    """Return the row of one array."""
    ratio, index = (check.ratio, check.index) if _has_ratio(check) else (None, None)
    cells = (
        check.quantity,
        *ratio_cells(ratio),
        "" if check.shape else magnitude_text(check.max_abs),
        count_text(check.compared),
        index_cell(index),
    )
    return _status_row(result, check, cells)


def _has_ratio(check: Comparison) -> bool:
    """Return whether numbers of the array were compared where they stand."""
    return bool(check.compared) and not check.shape


def _found(check: Comparison) -> str:
    """Return what was found, in a few words."""
    if check.shape:
        return check.shape.partition(", expected")[0]
    return f"ratio {check.ratio:.3g}" if check.compared else "nothing to compare"


def _detail(check: Comparison) -> str:
    """Return how many numbers differ and the first of them; empty if none does."""
    if check.first is None or check.first_values is None:
        return check.shape
    port, expected = distinct_texts(*check.first_values)
    count = f"{count_text(check.differing)} of {count_text(check.compared)} numbers differ"
    first = f"the first at {check.first}: {port}, and {expected} is expected"
    detail = f"{count}, {first}"
    return f"{check.shape}; with its axes swapped back, {detail}" if check.shape else detail
