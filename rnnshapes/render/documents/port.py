"""A PortVerification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.port.compare import Comparison
from rnnshapes.port.diagnosis import Diagnosis, Explanation
from rnnshapes.port.hypothesis import Mistake
from rnnshapes.port.report import PortVerification
from rnnshapes.port.time_mistakes import SWAPPED_OUTPUT
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import count_text, distinct_texts, magnitude_text
from rnnshapes.render.phrases import (
    CHECK_HEADINGS,
    INDEX_COLUMN,
    RATIO_COLUMNS,
    check_row,
    index_cell,
    index_record,
    network_text,
    ratio_cells,
    sizes_record,
)
from rnnshapes.render.view import View

#: How many names of unknown arrays are shown.
_LISTED_NAMES = 4
_EXPECTED = "ratio <= 1"


def document(result: PortVerification, view: View) -> Document:
    """Return each array of the port, what explains a failure, and the verdict."""
    return (
        Line(network_text(result.network), "strong"),
        Line(f"{result.port}, in {result.dtype}; x: {result.source}"),
        _table(result),
        *_notes(result),
        *_diagnosis_lines(result),
        _verdict(result),
    )


def record(result: PortVerification) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.verify/1``; its engine is null, as Keras is not used."""
    diagnosis = result.diagnosis
    explanations = () if diagnosis is None else diagnosis.explanations
    return {
        "schema": result.schema,
        "passed": result.passed,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None,
        "port": result.port,
        "dtype": result.dtype,
        "checks": [_check_record(check) for check in result.checks],
        "unjudged": result.unknown_arrays,
        "diagnosis": [_explanation_record(one) for one in explanations],
        "tried": 0 if diagnosis is None else diagnosis.tried,
        "nearest": None if diagnosis is None or explanations else _nearest_record(diagnosis),
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


def _check_record(check: Comparison) -> dict[str, Any]:
    """Return one array in JSON."""
    has_ratio = _has_ratio(check)
    return {
        "name": check.quantity,
        "passed": check.passed,
        "compared": check.compared,
        "differing": check.differing,
        "left_out": check.left_out,
        "expected": _EXPECTED,
        "found": _found(check),
        "ratio": check.ratio if has_ratio else None,
        "place": index_record(check.index) if has_ratio else None,
        "first": index_record(check.first),
        "max_abs": None if check.shape else check.max_abs,
        "proven": check.proven,
        "detail": _detail(check),
    }


def _explanation_record(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation in JSON.

    ``conventions`` has the texts of the mistakes without that of the arithmetic.
    """
    return {
        "id": explanation.id,
        "text": explanation.text,
        "mistakes": [_mistake_record(mistake) for mistake in explanation.all_mistakes],
        "conventions": [mistake.text for mistake in explanation.mistakes],
        "dtype": explanation.dtype,
        "ratio": explanation.ratio,
        "compared": explanation.compared,
    }


def _nearest_record(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the nearest hypothesis in JSON."""
    return {
        "mistakes": [_mistake_record(mistake) for mistake in diagnosis.nearest],
        "conventions": [mistake.text for mistake in diagnosis.nearest],
        "max_abs": diagnosis.max_abs,
    }


def _mistake_record(mistake: Mistake) -> dict[str, str]:
    """Return a known mistake in JSON."""
    return {"id": mistake.id, "text": mistake.text}


def _table(result: PortVerification) -> Table:
    """Return a table of the arrays, those that fail first."""
    columns = (
        Column(""),
        Column("what the port gives"),
        *RATIO_COLUMNS,
        Column("differs by\nat most", numeric=True, rank=2),
        Column("compared", numeric=True, rank=3),
        INDEX_COLUMN,
    )
    checks = sorted(result.checks, key=lambda check: check.passed)
    return Table("Port", columns, tuple(map(_row, checks)))


def _row(check: Comparison) -> Row:
    """Return the row of one array."""
    ratio, index = (check.ratio, check.index) if _has_ratio(check) else (None, None)
    cells = (
        check.quantity,
        *ratio_cells(ratio),
        "" if check.shape else magnitude_text(check.max_abs),
        count_text(check.compared),
        index_cell(index),
    )
    return check_row(cells, passed=check.passed)


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


def _notes(result: PortVerification) -> Iterator[Line]:
    """Yield what a ratio is, what differs, and what was not compared."""
    proven = any(check.proven for check in result.checks)
    how = "each step is computed from the port's own states before it"
    if not proven:
        how = "bound = largest change that rounding of weights and x causes over the run"
    yield Line(f"ratio: difference / bound in {result.dtype}; {how}", "dim")
    for check in result.checks:
        if detail := _detail(check):
            yield Line(f"{check.quantity}: {detail}", "bad")
    if result.unknown_arrays:
        shown = ", ".join(result.unknown_arrays[:_LISTED_NAMES])
        rest = len(result.unknown_arrays) - _LISTED_NAMES
        more = f" and {rest} more" if rest > 0 else ""
        yield Line(f"Not compared, because no state or output has this name: {shown}{more}")
    for check in result.checks:
        if check.left_out:
            yield Line(
                f"{check.quantity}: {count_text(check.left_out)} numbers are not compared, because "
                "rounding alone may change them that much; with h at every step, each step is "
                "checked by itself"
            )


def _diagnosis_lines(result: PortVerification) -> Iterator[Line]:
    """Yield the explanations, or what was tried in vain."""
    diagnosis = result.diagnosis
    if diagnosis is None:
        return
    for number, one in enumerate(diagnosis.explanations):
        yield Line(
            f"{'Or' if number else 'Explanation'}: {one.text}. "
            f"With this, all {count_text(one.compared)} numbers agree, ratio {one.ratio:.3g}",
            "good",
        )
    if diagnosis.explanations:
        return
    if not diagnosis.tried:
        yield Line("All numbers are 0: was the result written into the array?", "bad")
        return
    if result.axes_swapped:
        yield Line(f"{SWAPPED_OUTPUT.text}.", "bad")
    if diagnosis.nearest:
        nearest = "; ".join(mistake.text for mistake in diagnosis.nearest)
        yield Line(
            "The closest known mistake still leaves a difference of up to "
            f"{magnitude_text(diagnosis.max_abs)}: {nearest}.",
            "bad",
        )
    count = count_text(diagnosis.tried)
    yield Line(f"None of {count} known mistakes explains the difference.", "bad")
    if sum(len(node.scans) for node in result.network.recurrent) > 1:
        yield Line("Mistakes in only one layer or direction were not tried.")
    if result.random_input:
        yield Line(
            f"x was {result.source}: did the port use the same x? Pass it with --input FILE."
        )


def _verdict(result: PortVerification) -> Line:
    """Return the last line: whether the port agrees, or how many checks fail and why."""
    count = len(result.checks)
    if result.passed:
        compared = sum(check.compared for check in result.checks)
        return Line(
            f"The port agrees: all {count_text(compared)} numbers that were compared", "good"
        )
    failed = sum(not check.passed for check in result.checks)
    why = "too little can be compared"
    if result.diagnosis is not None:
        explanations = result.diagnosis.explanations
        why = "explained" if explanations else "unexplained"
        if explanations and explanations[0].mixed and not explanations[0].mistakes:
            why = "explained: it agrees as float32"
    return Line(f"FAILED: {failed} of {count} checks, {why}", "bad")
