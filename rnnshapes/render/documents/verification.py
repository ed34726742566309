"""A Verification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import count_text, magnitude_text
from rnnshapes.render.phrases import (
    CHECK_HEADINGS,
    INDEX_COLUMN,
    RATIO_COLUMNS,
    check_row,
    difference_record,
    engine_record,
    engine_text,
    index_cell,
    index_record,
    network_text,
    not_finite_record,
    not_finite_text,
    ratio_cells,
    sizes_record,
)
from rnnshapes.render.view import View
from rnnshapes.verification.report import Check, Verification


def document(result: Verification, view: View) -> Document:
    """Return every check, what explains a failure, and the verdict."""
    formats = ", ".join(result.network.precisions)
    return (
        Line(network_text(result.network), "strong"),
        Line(f"{engine_text(result.engine)}, {formats}; x: {result.source}"),
        *_tables(result),
        *_notes(result),
        _verdict(result),
    )


def record(result: Verification) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.verify/1``."""
    return {
        "schema": result.schema,
        "passed": result.passed,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": engine_record(result.engine),
        "checks": [_check_record(check) for check in result.checks],
        "difference": difference_record(result.difference),
        "not_derived": result.unsupported,
        "not_finite": not_finite_record(result.not_finite),
        "diagnosis": result.diagnosis,
    }


def _check_record(check: Check) -> dict[str, Any]:
    """Return one check in JSON; its errors at each step are left out."""
    residual = check.residual
    return {
        "name": check.name,
        "passed": check.passed,
        "compared": check.compared,
        "expected": check.expected,
        "found": check.found,
        "ratio": check.ratio,
        "place": index_record(check.index),
        "overflow": None if residual is None else residual.overflow,
        "detail": check.detail,
        "layer": check.layer,
        "what": check.quantity,
        "precision": check.precision,
    }


def rows(result: Verification) -> Iterator[Sequence[object]]:
    """Yield the headings, then one row for each check."""
    yield CHECK_HEADINGS
    for c in result.checks:
        ratio = "" if c.ratio is None else c.ratio
        passed = str(c.passed).lower()
        yield (c.name, passed, c.compared, c.expected, c.found, ratio, c.detail)


def _tables(result: Verification) -> Iterator[Table]:
    """Yield the exact comparisons, then those with a bound; failed checks come first."""
    checks = sorted(result.checks, key=lambda check: check.passed)
    exact = [check for check in checks if check.residual is None]
    bounded = [check for check in checks if check.residual is not None]
    columns: tuple[Column, ...] = (
        Column(""),
        Column("check"),
        Column("expected", rank=1),
        Column("found"),
        Column("compared", numeric=True, rank=2),
    )
    if exact:
        yield Table("Names, shapes and counts", columns, tuple(map(_exact_row, exact)))
    columns = (
        Column(""),
        Column("check"),
        *RATIO_COLUMNS,
        Column("compared", numeric=True, rank=2),
        INDEX_COLUMN,
    )
    if bounded:
        yield Table("Numbers", columns, tuple(map(_bounded_row, bounded)))


def _exact_row(check: Check) -> Row:
    cells = (check.name, check.expected, check.found, count_text(check.compared))
    return check_row(cells, passed=check.passed)


def _bounded_row(check: Check) -> Row:
    name = f"{check.layer}: {check.quantity}, {check.precision}"
    compared, index = count_text(check.compared), index_cell(check.index)
    return check_row((name, *ratio_cells(check.ratio), compared, index), passed=check.passed)


def _notes(result: Verification) -> Iterator[Line]:
    """Yield what fails and why, what a ratio is, and what no check covers."""
    if result.not_finite is not None:
        yield Line(not_finite_text(result.not_finite), "bad")
    for check in result.checks:
        if not check.passed and check.detail:
            yield Line(f"{check.name}: {check.detail}", "bad")
        elif not check.passed and check.compared == 0:
            yield Line(f"{check.name}: there is nothing to compare", "bad")
    for reason in result.diagnosis:
        yield Line(f"Reason: {reason}", "bad")
    step = "one step" if result.network.recurrent else "one layer"
    float64 = "Keras repeats each step of NumPy's trace"
    if not result.engine.float64:
        backend = result.engine.backend
        float64 = f"NumPy's trace is checked alone, since Keras on {backend} does not compute in it"
    yield Line(
        f"ratio = error of {step} / largest error that rounding can cause; up to 1 passes. "
        f"In float64, {float64}."
    )
    if (difference := result.difference) is not None:
        yield Line(
            "For information: over the whole run, y_hat of NumPy in float64 and y_hat of Keras "
            f"differ by at most {magnitude_text(difference.max_abs)} ({difference.index}).",
            "dim",
        )
    if result.unsupported:
        yield Line(f"Not covered by any check: {', '.join(result.unsupported)}", "bad")
    for name, reason in result.network.unsupported_reasons.items():
        yield Line(f"{name}: not checked: {reason}", "bad")


def _verdict(result: Verification) -> Line:
    """Return the last line: whether all checks pass, and what they leave out."""
    count, overflow = len(result.checks), ""
    if result.overflow is not None:
        overflow = f"; from t = {result.overflow} on, samples that overflow are not compared"
    if result.passed:
        exceptions = f", except for {', '.join(result.unsupported)}" if result.unsupported else ""
        return Line(f"Verified{exceptions}: all {count} checks passed{overflow}", "good")
    failed = sum(not check.passed for check in result.checks)
    return Line(f"FAILED: {failed} of {count} checks{overflow}", "bad")
