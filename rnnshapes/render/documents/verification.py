"""A Verification as a document, as JSON and as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.render.document import Column, Document, Line, Meaning, Row, Table
from rnnshapes.render.number_text import count_text, magnitude_text, ratio_bar, share_text
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
    input_text,
    labelled_line,
    listed_text,
    names_text,
    network_line,
    not_finite_record,
    not_finite_text,
    ratio_cells,
    sizes_record,
    verdict_lines,
    warning_line,
)
from rnnshapes.render.view import View
from rnnshapes.verification.report import Check, Verification

#: How many failed checks a summary lists.
_LISTED = 12


def document(result: Verification, view: View) -> Document:
    """Return the verdict, and below it a summary, every check, or both."""
    meaning: Meaning = "good" if result.passed else "bad"
    word, details = _verdict(result)
    if not view.parts and not result.passed:  # the verdict alone
        non_finite = result.not_finite
        reason = "" if non_finite is None else not_finite_text(non_finite)
        reason = reason or next(iter(result.diagnosis), "")
        details[0] += f": {reason}" if reason else ""
    verdict, *others = verdict_lines(word, details, view.width)
    blocks: list[Line | Table] = [Line(verdict, meaning)]
    if view.parts:
        blocks += [Line(text, meaning) for text in others]
    if view.has("summary"):
        blocks += _summary(result) if result.passed else _failure(result)
    if view.has("numbers"):
        blocks += _tables(result)
        blocks += [Line(_ratio_text(result), "dim")]
    return tuple(blocks)


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
        passed = str(c.passed).lower()
        yield (c.name, passed, c.compared, c.expected, c.found, c.ratio, c.detail)


# --- The verdict ---------------------------------------------------------------------------------


def _verdict(result: Verification) -> tuple[str, list[str]]:
    """Return the word of the verdict, and what stands behind it: checks, Keras, dtypes."""
    count = len(result.checks)
    failed = sum(not check.passed for check in result.checks)
    if not count:
        checks = "nothing can be checked"
    elif failed:
        checks = f"{count_text(failed)} of {count_text(count)} checks"
    else:
        checks = f"all {count_text(count)} checks"
        if result.unsupported:
            checks = f"except for {_unsupported_text(result)}: {checks}"
    details = [checks, engine_text(result.engine)]
    if precisions := _precisions(result):
        details.append(precisions)
    return "VERIFIED" if result.passed else "FAILED", details


def _unsupported_text(result: Verification) -> str:
    """Return the name of the layer that no check covers, or how many there are."""
    names = [node.name for node in result.network.unsupported]
    return names[0] if len(names) == 1 else f"{len(names)} layers"


def _precisions(result: Verification) -> str:
    """Return the dtypes in which Keras computed: ``float32 and float64``."""
    precisions = dict.fromkeys(check.precision for check in result.checks if check.precision)
    if not result.engine.float64:
        precisions.pop("float64", None)
    return listed_text(list(precisions) or [""])


# --- The summary ---------------------------------------------------------------------------------


def _summary(result: Verification) -> Iterator[Line | Table]:
    """Yield warnings, a row for each layer, and how far both whole runs differ."""
    yield from _warnings(result)
    yield network_line(result.network, "dim")
    columns = (
        Column(""),
        Column("part of the model"),
        Column("checks", numeric=True, rank=1),
        Column("worst", numeric=True),
        Column("", rank=3),
        Column("where", rank=2),
    )
    yield Table("", columns, tuple(_summary_rows(result)), "--view numbers")
    yield Line(
        f"worst = error of {_unit(result)} / its rounding bound; every check: --view numbers",
        "dim",
    )
    yield from _difference(result)


def _summary_rows(result: Verification) -> Iterator[Row]:
    """Yield a row for the exact checks, one for each layer, and one for the whole model.

    Layers whose numbers are all equal share a row.
    """
    layers = {node.name: node.name for node in result.network.nodes}
    layers |= {name: node.name for node in result.network.recurrent for name, _ in node.scans}
    groups: dict[str, list[Check]] = {}
    for check in result.checks:
        if check.residual is not None:
            groups.setdefault(layers.get(check.layer, ""), []).append(check)
    whole = groups.pop("", [])
    equal = [name for name, checks in groups.items() if not any(check.ratio for check in checks)]
    exact = sum(check.residual is None for check in result.checks)
    yield Row(("ok", "names, shapes, counts", count_text(exact), "equal", "", ""))
    for name, checks in groups.items():
        if name not in equal:
            yield _summary_row(result, name, checks)
    if equal:
        name = equal[0] if len(equal) == 1 else f"{len(equal)} other layers"
        yield _summary_row(result, name, [check for one in equal for check in groups[one]])
    if whole:
        yield _summary_row(result, "whole model", whole)


def _summary_row(result: Verification, name: str, checks: Sequence[Check]) -> Row:
    """Return the row of one layer, with the check that comes nearest to its bound."""
    worst = max(checks, key=lambda check: check.ratio or 0.0)
    count = count_text(len(checks))
    if not worst.ratio:
        return Row(("ok", name, count, "equal", "", ""))
    index = f"{_quantity_text(result, worst)}, {worst.index}"
    return Row(("ok", name, count, share_text(worst.ratio), ratio_bar(worst.ratio), index))


def _quantity_text(result: Verification, check: Check) -> str:
    """Return ``h``, ``backward h`` of one direction of two, or ``predict`` of the whole model."""
    if check.layer == "predict":
        return check.layer
    quantity = check.quantity.removesuffix(" at every step")
    for node in result.network.recurrent:
        names = [name for name, _ in node.scans]
        if len(names) == 2 and check.layer in names:
            return f"{('forward', 'backward')[names.index(check.layer)]} {quantity}"
    return quantity


def _failure(result: Verification) -> Iterator[Line | Table]:
    """Yield the reason of a failure, warnings, and the checks that failed."""
    yield from _reasons(result)
    yield from _warnings(result)
    yield network_line(result.network, "dim")
    failed = [check for check in result.checks if not check.passed]
    columns = (
        Column(""),
        Column("check"),
        Column("found"),
        Column("", rank=3),
        Column("expected or where", rank=2),
    )
    if failed:
        rows = tuple(map(_failed_row, failed[:_LISTED]))
        yield Table("", columns, rows, "--view numbers")
    notes = ["every check: --view numbers"]
    if any(check.residual is not None for check in failed[:_LISTED]):
        notes.insert(0, f"% and × = error of {_unit(result)} / its rounding bound")
    if len(failed) > _LISTED:
        notes.insert(0, f"{count_text(len(failed) - _LISTED)} more failed")
    yield Line("; ".join(notes), "dim")
    yield from _difference(result)


def _failed_row(check: Check) -> Row:
    """Return the row of a failed check: what was found, and what is expected, or where."""
    if check.residual is None:
        found, _, names = check.found.partition(": ")
        cells = (check.name, found, "", names or f"{check.expected} expected")
    else:
        where = "nothing to compare" if check.ratio is None else f"at {check.index}"
        name = _bounded_name(check, " at every step")
        cells = (name, share_text(check.ratio), ratio_bar(check.ratio), where)
    return check_row(cells, passed=False)


def _reasons(result: Verification) -> Iterator[Line]:
    """Yield the known reasons of a failure, or else the first check that fails."""
    if result.not_finite is not None:
        text = f"{not_finite_text(result.not_finite)}; remove them"
        yield labelled_line("reason", text, "bad")
    for reason in result.diagnosis:
        yield labelled_line("reason", reason, "bad")
    if result.not_finite is not None or result.diagnosis:
        return
    first = next((check for check in result.checks if not check.passed), None)
    if first is None:
        return
    what = f"{first.found}, expected {first.expected}"
    if first.residual is not None and first.ratio is None:
        what = first.found
    elif first.ratio is not None:
        what = f"{share_text(first.ratio)} of the rounding bound, at {first.index}"
    yield labelled_line("first", f"{first.name}: {what}", "bad")


def _warnings(result: Verification) -> Iterator[Line]:
    """Yield what no check covers, each with a remedy."""
    names_by_reason: dict[str, list[str]] = {}
    for name, reason in result.network.unsupported_reasons.items():
        names_by_reason.setdefault(reason, []).append(name)
    for reason, names in names_by_reason.items():
        verb, whose = ("is", "its output") if len(names) == 1 else ("are", "their outputs")
        yield warning_line(
            f"{names_text(names)} {verb} not checked: {reason}; the layers that follow are checked "
            f"from {whose} in Keras"
        )
    if result.overflow is not None:
        yield warning_line(
            f"samples that overflow are not compared from t = {result.overflow} on; to compare "
            "all steps, scale x or the weights down"
        )
    if not result.engine.float64:
        yield warning_line(
            f"{engine_text(result.engine)} does not compute in float64: the float64 checks "
            "cover NumPy only; set KERAS_BACKEND=tensorflow to check both"
        )


def _difference(result: Verification) -> Iterator[Line]:
    """Yield how far y_hat of both whole runs differs, and where x comes from."""
    difference, source = result.difference, input_text(result.source)
    if difference is not None and math.isfinite(difference.max_abs):
        most = magnitude_text(difference.max_abs)
        known = f" ({source})" if source else ""
        yield Line(f"y_hat differs from Keras by at most {most}{known}")
    elif source:
        yield Line(source, "dim")


def _unit(result: Verification) -> str:
    """Return what a bound is for: one step, or one layer in a network without recurrence."""
    return "one step" if result.network.recurrent else "one layer"


# --- Every check --------------------------------------------------------------------------------


def _ratio_text(result: Verification) -> str:
    return f"ratio = error of {_unit(result)} / largest possible rounding error; up to 1 passes"


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
    name = _bounded_name(check)
    compared, index = count_text(check.compared), index_cell(check.index)
    return check_row((name, *ratio_cells(check.ratio), compared, index), passed=check.passed)


def _bounded_name(check: Check, suffix: str = "") -> str:
    """Return ``lstm: h at every step, float32``, without a suffix of the quantity."""
    return f"{check.layer}: {check.quantity.removesuffix(suffix)}, {check.precision}"
