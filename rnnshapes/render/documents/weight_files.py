"""A WeightVerification as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.port.weight_files.comparison import WeightCheck, WeightVerification
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import count_text
from rnnshapes.render.phrases import (
    check_row,
    format_text,
    labelled_line,
    network_line,
    sizes_record,
    verdict_lines,
    warning_line,
)
from rnnshapes.render.view import View

#: How many mistakes the verdict shows, and how many names of arrays a warning.
_MOST_MISTAKES, _MOST_NAMES = 6, 4


def document(result: WeightVerification, view: View) -> Document:
    """Return the verdict, and below it a row for each array of Keras."""
    verdict, *others = _verdict(result, view)
    return (verdict, *(others if view.parts else ()), *(_table(result) if view.parts else ()))


def record(result: WeightVerification) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.verify/1`` of a weight file."""
    return {
        "schema": result.schema,
        "passed": result.passed,
        "sizes": sizes_record(result.network),
        "weights_file": result.path,
        "framework": result.framework,
        "checks": [_check_record(check) for check in result.checks],
        "unjudged": result.unknown_arrays,
        "assumptions": result.assumptions,
        "diagnosis": [
            {"id": m.id, "where": m.where._asdict(), "text": m.text, "cure": m.fix}
            for m in result.mistakes
        ],
    }


def rows(result: WeightVerification) -> Iterator[Sequence[object]]:
    """Yield the headings, and one row for each array of Keras."""
    yield ("name", "passed", "compared", "arrays", "rule", "id", "detail")
    for check in result.checks:
        mistake = check.mistake
        id_, text = ("", "") if mistake is None else (mistake.id, mistake.text)
        passed = str(mistake is None).lower()
        arrays = ", ".join(check.arrays)
        yield (check.name, passed, check.compared, arrays, check.rule, id_, text)


def _check_record(check: WeightCheck) -> dict[str, Any]:
    return {
        "name": check.name,
        "passed": check.mistake is None,
        "compared": check.compared,
        "arrays": check.arrays,
        "rule": check.rule or None,
    }


def _verdict(result: WeightVerification, view: View) -> Iterator[Line]:
    """Yield whether the file has all weights, or what is wrong where."""
    numbers = count_text(sum(check.compared for check in result.checks))
    if result.passed:
        details = (f"all {len(result.checks)} arrays of Keras", f"{numbers} numbers")
        for line in verdict_lines("AGREES", details, view.width):
            yield Line(line, "good")
    elif not result.checks:
        yield labelled_line("FAILED", "the network has no weights to compare", "bad")
    failed = [check for check in result.checks if check.mistake is not None]
    for number, check in enumerate(failed[:_MOST_MISTAKES]):
        assert check.mistake is not None
        label = "and" if number else "FAILED"
        yield labelled_line(label, f"{check.name}: {check.mistake.text}", "bad")
    if len(failed) > _MOST_MISTAKES:
        more = len(failed) - _MOST_MISTAKES
        yield labelled_line("and", f"{more} more; see the table", "bad")
    for fix in dict.fromkeys(mistake.fix for mistake in result.mistakes if mistake.fix):
        yield labelled_line("fix", fix)
    if result.unknown_arrays:
        names = ", ".join(result.unknown_arrays[:_MOST_NAMES])
        rest = len(result.unknown_arrays) - _MOST_NAMES
        shown = f"{names} and {rest} more" if rest > 0 else names
        yield warning_line(
            f"not compared, because the model has no such weights: {shown} ({result.path})"
        )
    for assumption in result.assumptions:
        yield warning_line(assumption)
    kind = format_text(result.path, result.kind, result.framework)
    yield Line(f"{result.path} ({kind})", "dim")
    yield network_line(result.network, "dim")


def _table(result: WeightVerification) -> Iterator[Table]:
    columns = (
        Column(""),
        Column("Keras"),
        Column(result.framework),
        Column("conversion or mistake"),
    )
    yield Table("", columns, tuple(map(_row, result.checks)))


def _row(check: WeightCheck) -> Row:
    conversion = check.rule if check.mistake is None else check.mistake.id
    cells = (check.name, "\n".join(check.arrays), conversion)
    return check_row(cells, passed=check.mistake is None)
