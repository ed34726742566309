"""A Verification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from rnnshapes.render.document import Column, Document, Line, Meaning, Row, Table
from rnnshapes.render.number_text import bar, small, whole
from rnnshapes.render.phrases import (
    PLACE,
    engine_text,
    network_text,
    not_finite_record,
    not_finite_text,
    place_cell,
    place_text,
    sizes_record,
)
from rnnshapes.render.view import View
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
        "checks": [_record_of(check) for check in result.checks],
        "difference": None
        if difference is None
        else {"max_abs": difference.max_abs, **asdict(difference.place)},
        "not_derived": result.unsupported,
        "not_finite": not_finite_record(result.not_finite),
        "diagnosis": result.diagnosis,
    }


def _record_of(check: Check) -> dict[str, Any]:
    """All but the course, which is as long as the sequence and says no more of the verdict."""
    found = asdict(replace(check, course=None))
    del found["course"]
    return found


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
    known = [check for check in checks if not check.precision]
    if known:
        yield Table("Names, shapes and counts", columns, tuple(map(_fact, known)))
    bounded = (
        Column(""),
        Column("check"),
        Column("ratio", numeric=True),
        Column("of 1", rank=1),
        Column("compared", numeric=True, rank=2),
        Column(PLACE),
    )
    numeric = [check for check in checks if check.precision]
    if numeric:
        yield Table("Numbers", bounded, tuple(map(_number, numeric)))


def _fact(check: Check) -> Row:
    cells = (check.name, check.expected, check.found, whole(check.compared))
    return Row((_mark(check), *cells), _meaning(check))


def _number(check: Check) -> Row:
    ratio = "none" if check.ratio is None else f"{check.ratio:.3g}"
    name = f"{check.layer}: {check.what}, {check.precision}"
    cells = (name, ratio, bar(check.ratio), whole(check.compared))
    return Row((_mark(check), *cells, place_cell(check.place)), _meaning(check))


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
            f"by at most {small(apart.max_abs)} ({place_text(apart.place)}).",
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
