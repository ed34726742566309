"""A PortVerification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.port.compare import Agreement
from rnnshapes.port.diagnosis import Explanation
from rnnshapes.port.report import SWAPPED, PortVerification
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import apart, bar, small, whole
from rnnshapes.render.phrases import PLACE, network_text, place_cell, place_text, sizes_record
from rnnshapes.render.view import View


def document(result: PortVerification, view: View) -> Document:
    """Each array of the port, what explains a failure, and the verdict."""
    return (
        Line(network_text(result.network), "strong"),
        Line(f"{result.port}, in {result.dtype}; x: {result.source}"),
        _table(result),
        *_notes(result),
        *_diagnosis(result),
        _verdict(result),
    )


def record(result: PortVerification) -> dict[str, Any]:
    """The JSON form ``rnnshapes.verify/1``; there is no engine where Keras has no part."""
    found = result.diagnosis
    return {
        "schema": result.schema,
        "passed": result.passed,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "engine": None,
        "port": result.port,
        "dtype": result.dtype,
        "checks": [_check(check, result) for check in result.checks],
        "unjudged": result.unjudged,
        "diagnosis": [] if found is None else [_explained(one) for one in found.explanations],
        "tried": 0 if found is None else found.tried,
        "nearest": None
        if found is None or found.explanations
        else {"conventions": found.nearest, "max_abs": found.apart},
    }


def rows(result: PortVerification) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each array; then one for each explanation."""
    yield ["name", "passed", "compared", "expected", "found", "ratio", "detail"]
    for c in result.checks:
        found = _found(c)
        ratio = c.ratio if c.compared and not c.shape else ""
        passed = str(c.agrees and not c.shape).lower()
        detail = _detail(c)
        yield (c.claim, passed, c.compared, "ratio <= 1", found, ratio, detail)
    for one in () if result.diagnosis is None else result.diagnosis.explanations:
        worst = max(a.ratio for a in one.agreements)
        compared = sum(a.compared for a in one.agreements)
        cells = ("explanation", "true", compared, "ratio <= 1", f"ratio {worst:.3g}", worst)
        yield (*cells, one.text)


def _check(check: Agreement, result: PortVerification) -> dict[str, Any]:
    return {
        "name": check.claim,
        "passed": check.agrees and not check.shape,
        "compared": check.compared,
        "differing": check.differing,
        "left_out": check.left_out,
        "expected": "ratio <= 1",
        "found": _found(check),
        "ratio": check.ratio if check.compared and not check.shape else None,
        "place": asdict(check.place) if check.compared and not check.shape else None,
        "first": None if check.first is None else asdict(check.first),
        "max_abs": None if check.shape else check.apart,
        "proven": check.proven,
        "detail": _detail(check),
    }


def _explained(one: Explanation) -> dict[str, Any]:
    return {
        "text": one.text,
        "conventions": one.said,
        "dtype": one.dtype,
        "ratio": max(a.ratio for a in one.agreements),
        "compared": sum(a.compared for a in one.agreements),
    }


def _table(result: PortVerification) -> Table:
    """Each array; what fails comes first."""
    columns = (
        Column(""),
        Column("what the port gives"),
        Column("ratio", numeric=True),
        Column("of 1", rank=1),
        Column("differs by\nat most", numeric=True, rank=2),
        Column("compared", numeric=True, rank=3),
        Column(PLACE),
    )
    checks = sorted(result.checks, key=lambda check: check.agrees and not check.shape)
    return Table("Port", columns, tuple(_row(check, result) for check in checks))


def _row(check: Agreement, result: PortVerification) -> Row:
    good = check.agrees and not check.shape
    judged = check.compared and not check.shape
    ratio, place = (check.ratio, check.place) if judged else (None, None)
    cells = (
        *("ok" if good else "FAIL", check.claim, "none" if ratio is None else f"{ratio:.3g}"),
        *(
            bar(ratio),
            "" if check.shape else small(check.apart),
            whole(check.compared),
            place_cell(place),
        ),
    )
    return Row(cells, "plain" if good else "bad")


def _found(check: Agreement) -> str:
    if check.shape:
        return check.shape.partition(", expected")[0]
    return f"ratio {check.ratio:.3g}" if check.compared else "nothing to compare"


def _detail(check: Agreement) -> str:
    if check.first is None or check.there is None:
        return check.shape
    port, expected = apart(*check.there)
    many = f"{whole(check.differing)} of {whole(check.compared)} numbers differ"
    first = f"the first at {place_text(check.first)}: {port}, and {expected} is expected"
    return f"{check.shape}; put right, {many}, {first}" if check.shape else f"{many}, {first}"


def _notes(result: PortVerification) -> Iterator[Line]:
    proven = any(check.proven for check in result.checks)
    what = "each step is taken from the port's own states before"
    if not proven:
        what = "the bound is how far the run moves with what rounding may do to weights and x"
    yield Line(f"ratio: difference / bound in {result.dtype}; {what}", "dim")
    for check in result.checks:
        if detail := _detail(check):
            yield Line(f"{check.claim}: {detail}", "bad")
    if result.unjudged:
        shown = ", ".join(result.unjudged[:4])
        more = f" and {len(result.unjudged) - 4} more" if len(result.unjudged) > 4 else ""
        yield Line(f"Not judged, since no state and no answer has such a name: {shown}{more}")
    for check in result.checks:
        if check.left_out:
            yield Line(
                f"{check.claim}: {whole(check.left_out)} numbers are not compared, since rounding "
                "alone may change them that much; give h at each step, and each step is judged "
                "by itself"
            )


def _diagnosis(result: PortVerification) -> Iterator[Line]:
    found = result.diagnosis
    if found is None:
        return
    for place, one in enumerate(found.explanations):
        worst = max(a.ratio for a in one.agreements)
        compared = sum(a.compared for a in one.agreements)
        yield Line(
            f"{'Or' if place else 'Explanation'}: {one.text}. "
            f"With this, all {whole(compared)} numbers agree, ratio {worst:.3g}",
            "good",
        )
    if not found.explanations and not found.tried:
        yield Line("All numbers are 0: was the result written into the array?", "bad")
    elif not found.explanations:
        if result.swapped:
            yield Line(SWAPPED, "bad")
        if found.nearest:
            near = "; ".join(found.nearest)
            yield Line(f"The nearest differs by up to {small(found.apart)}: {near}.", "bad")
        yield Line(
            f"No explanation among {whole(found.tried)} readings, which README.md lists.", "bad"
        )
        if sum(len(node.scans) for node in result.network.recurrent) > 1:
            yield Line("A mistake in one direction or one layer alone is not looked for.")
        if "drawn with seed" in result.source:
            yield Line(f"x was {result.source}: was the port run on it? --input gives another.")


def _verdict(result: PortVerification) -> Line:
    count = len(result.checks)
    if result.passed:
        compared = sum(check.compared for check in result.checks)
        return Line(f"The port agrees: all {whole(compared)} numbers that were compared", "good")
    failed = sum(not check.agrees or bool(check.shape) for check in result.checks)
    why = "too little can be compared"
    if result.diagnosis is not None:
        found = result.diagnosis.explanations
        why = "explained" if found else "unexplained"
        if found and found[0].mixed and not found[0].said:
            why = "explained: it agrees as float32"
    return Line(f"FAILED: {failed} of {count} checks, {why}", "bad")
