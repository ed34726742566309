"""A Verification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.render.document import Column, Document, Line, Meaning, Row, Table
from rnnshapes.render.number_text import bar, small, whole
from rnnshapes.render.phrases import (
    INDEX,
    engine_text,
    index_cell,
    network_text,
    not_finite_record,
    not_finite_text,
    sizes_record,
)
from rnnshapes.render.view import View
from rnnshapes.verification.bounds import Residual
from rnnshapes.verification.report import Check, Verification


def document(result: Verification, view: View) -> Document:
    """Every check, and the verdict."""
    formats = ", ".join(result.network.precisions)
    return (
        Line(network_text(result.network), "strong"),
        Line(f"{engine_text(result.engine)}, {formats}; x: {result.source}"),
        *_tables(result),
        *_notes(result),
    )


def record(result: Verification) -> dict[str, Any]:
    """The JSON form ``rnnshapes.verify/1``."""
    difference = result.difference
    return {
        "schema": result.schema,
        "passed": result.passed,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": asdict(result.engine),
        "checks": [_check_record(check) for check in result.checks],
        "difference": None
        if difference is None
        else {"max_abs": difference.max_abs, **asdict(difference.index)},
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
        "place": None if check.index is None else asdict(check.index),
        "overflow": None if residual is None else residual.overflow,
        "detail": check.detail,
        "layer": check.layer,
        "what": check.quantity,
        "precision": check.precision,
    }


def rows(result: Verification) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each check."""
    yield ["name", "passed", "compared", "expected", "found", "ratio", "detail"]
    for c in result.checks:
        ratio = "" if c.ratio is None else c.ratio
        passed = str(c.passed).lower()
        yield (c.name, passed, c.compared, c.expected, c.found, ratio, c.detail)


def _tables(result: Verification) -> Iterator[Table]:
    """What is equal or not, and what is compared within a bound; what fails comes first."""
    columns = (
        Column(""),
        Column("check"),
        Column("expected", rank=1),
        Column("found"),
        Column("compared", numeric=True, rank=2),
    )
    checks = sorted(result.checks, key=lambda check: check.passed)
    known = [check for check in checks if check.residual is None]
    if known:
        yield Table("Names, shapes and counts", columns, tuple(map(_fact, known)))
    bounded = (
        Column(""),
        Column("check"),
        Column("ratio", numeric=True),
        Column("of 1", rank=1),
        Column("compared", numeric=True, rank=2),
        Column(INDEX),
    )
    numeric = [_number(check, check.residual) for check in checks if check.residual is not None]
    if numeric:
        yield Table("Numbers", bounded, tuple(numeric))


def _fact(check: Check) -> Row:
    cells = (check.name, check.expected, check.found, whole(check.compared))
    return Row((_mark(check), *cells), _meaning(check))


def _number(check: Check, residual: Residual) -> Row:
    ratio = "none" if check.ratio is None else f"{check.ratio:.3g}"
    name = f"{check.layer}: {check.quantity}, {residual.precision}"
    cells = (name, ratio, bar(check.ratio), whole(check.compared))
    return Row((_mark(check), *cells, index_cell(check.index)), _meaning(check))


def _mark(check: Check) -> str:
    return "ok" if check.passed else "FAIL"


def _meaning(check: Check) -> Meaning:
    return "plain" if check.passed else "bad"


def _notes(result: Verification) -> Iterator[Line]:
    if result.not_finite is not None:
        yield Line(not_finite_text(result.not_finite), "bad")
    for check in result.checks:
        if not check.passed and check.detail:
            yield Line(f"{check.name}: {check.detail}", "bad")
        elif not check.passed and check.compared == 0:
            yield Line(f"{check.name}: there is nothing to compare", "bad")
    for reason in result.diagnosis:
        yield Line(f"Reason: {reason}", "bad")
    apart = result.difference
    step = "one step of the equation taken from the state before"
    of = step if result.network.recurrent else "the layer's equation, from what it was fed with"
    also = "Keras repeats each step of NumPy's trace"
    if not result.engine.float64:
        also = f"it is NumPy's own trace alone, since Keras has none on {result.engine.backend}"
    yield Line(
        f"ratio: how far Keras's value is from {of}, against what rounding may do in that step; at "
        f"most 1 passes. In float64 {also}"
    )
    if apart is not None:
        yield Line(
            "For information: the whole trajectories of y_hat, NumPy float64 and Keras, differ "
            f"by at most {small(apart.max_abs)} ({apart.index}).",
            "dim",
        )
    if result.unsupported:
        yield Line(f"Not covered by any check: {', '.join(result.unsupported)}", "bad")
    for name, why in result.network.unsupported_reasons.items():
        yield Line(f"{name}: not derived: {why}", "bad")
    yield from _verdict(result)


def _verdict(result: Verification) -> Iterator[Line]:
    count, over = len(result.checks), ""
    if result.overflow is not None:
        over = f"; from t = {result.overflow} on, samples that overflow are not compared"
    if result.passed:
        but = f", but for {', '.join(result.unsupported)}" if result.unsupported else ""
        yield Line(f"Verified{but}: all {count} checks passed{over}", "good")
    else:
        failed = sum(not check.passed for check in result.checks)
        yield Line(f"FAILED: {failed} of {count} checks{over}", "bad")
