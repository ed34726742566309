"""A Sweep as a document, as JSON and as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import bar, whole
from rnnshapes.render.phrases import engine_text, network_text, place_text, sizes_record
from rnnshapes.render.view import View
from rnnshapes.verification.sweeping import Configuration, Sweep, severity

_PRECISIONS = ("float32", "float64")
#: The ratios of a network that was not run, when it is looked for the largest.
_NONE = (("", -1.0),)
#: The options of a network, in the order in which they are written.
_OPTIONS = (
    *("cell", "N", "T", "D", "M", "K", "activation", "recurrent_activation", "use_bias"),
    *("reset_after", "bidirectional", "merge_mode", "go_backwards", "return_sequences"),
)


def document(result: Sweep, view: View) -> Document:
    """What fails first; then what sums it up by cell, and every configuration if asked for."""
    count, engine = len(result.configurations), engine_text(result.engine)
    blocks: list[Line | Table] = [
        Line(f"{count} configurations, drawn with seed {result.seed}; {engine}", "strong")
    ]
    if result.failed:
        blocks.append(_each("Failed", result, result.failed))
    blocks.append(_summary(result))
    if view.every:
        blocks.append(_each("Configurations", result, result.configurations))
    blocks += _worst_lines(result)
    blocks.append(Line(_ABOUT))
    blocks += _verdict(result)
    return tuple(blocks)


def record(result: Sweep) -> dict[str, Any]:
    """The JSON form ``rnnshapes.sweep/1``."""
    return {
        "schema": result.schema,
        "passed": result.passed,
        "seed": result.seed,
        "engine": asdict(result.engine),
        "configurations": [_record(found, result.seed) for found in result.configurations],
    }


def rows(result: Sweep) -> Iterator[Sequence[object]]:
    """A line of headings, and one row for each configuration."""
    ratios = [f"ratio {precision}" for precision in _PRECISIONS]
    results = ["passed", "checks", "compared", *ratios, "worst", "failed", "problem", "seconds"]
    yield [*_OPTIONS, *results, "command"]
    for found in result.configurations:
        options = dict(found.options)
        values = [options.get(name, "") for name in _OPTIONS]
        yield [
            *(" ".join(map(str, v)) if isinstance(v, tuple) else _plain(v) for v in values),
            *(_plain(found.passed), found.checks, found.compared),
            *(dict(found.ratios).get(precision, "") for precision in _PRECISIONS),
            *(_worst(found), "; ".join(found.failed), found.problem, round(found.seconds, 4)),
            command(found, result.seed),
        ]


def command(found: Configuration, seed: int) -> str:
    """The command line that verifies this configuration alone, with the same numbers."""
    options = dict(found.options)
    words = ["rnnshapes verify"]
    for name in _OPTIONS:
        if name in options:
            words += _flags(name, options[name])
    return " ".join([*words, *([f"--seed {seed}"] if seed else [])])


_ABOUT = (
    "ratio: how far Keras's value is from one step of the equation taken from NumPy's state "
    "before, or from the layer's equation, against what rounding may do there"
)


def _flags(name: str, value: Any) -> list[str]:
    flag = name.removeprefix("use_").replace("_", "-")
    if isinstance(value, bool):
        return [f"--{'' if value else 'no-'}{flag}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{flag} {part}" for part in values]


def _plain(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _record(found: Configuration, seed: int) -> dict[str, Any]:
    place = {} if found.place is None else asdict(found.place)
    return {
        "command": command(found, seed),
        "options": dict(found.options),
        "network": network_text(found.network),
        "sizes": sizes_record(found.network),
        "passed": found.passed,
        "checks": found.checks,
        "compared": found.compared,
        "ratios": dict(found.ratios),
        "worst": {"check": found.worst, **place} if found.worst else None,
        "failed": found.failed,
        "problem": found.problem,
        "seconds": found.seconds,
    }


def _summary(result: Sweep) -> Table:
    columns = (
        Column("cell"),
        Column("configurations", numeric=True, rank=1),
        Column("checks", numeric=True, rank=3),
        Column("numbers", numeric=True, rank=4),
        *(Column(f"{precision}\nratio", numeric=True) for precision in _PRECISIONS),
        Column("of 1", rank=2),
    )
    return Table("By cell", columns, tuple(_cell_row(*item) for item in _by_cell(result)))


def _by_cell(result: Sweep) -> list[tuple[str, list[Configuration]]]:
    """The configurations of each cell; cells of which one fails come first."""
    by_cell: dict[str, list[Configuration]] = {}
    for found in result.configurations:
        by_cell.setdefault(found.cell, []).append(found)
    return sorted(by_cell.items(), key=lambda item: all(one.passed for one in item[1]))


def _cell_row(cell: str, found: list[Configuration]) -> Row:
    cells = (
        *(cell, whole(len(found)), whole(sum(one.checks for one in found))),
        *(whole(sum(one.compared for one in found)), *_ratios(found)),
    )
    return Row(cells, "plain" if all(one.passed for one in found) else "bad")


def _worst_lines(result: Sweep) -> Iterator[Line]:
    """The worst of each cell, and the command that repeats it."""
    for cell, found in _by_cell(result):
        worst = max(found, key=lambda one: max(severity(r) for _, r in one.ratios or _NONE))
        ratio = _largest([worst])
        if ratio is not None:
            said = f"{cell}: ratio {ratio:.3g} of {_worst(worst)}"
            yield Line(f"{said}: {command(worst, result.seed)}", "plain" if worst.passed else "bad")


def _each(title: str, result: Sweep, found: Sequence[Configuration]) -> Table:
    columns = (
        Column(""),
        Column("command"),
        Column("compared", numeric=True, rank=3),
        *(Column(f"{precision}\nratio", numeric=True, rank=1) for precision in _PRECISIONS),
        Column("of 1", rank=2),
        Column("what fails"),
    )
    first = sorted(found, key=lambda one: one.passed)
    return Table(title, columns, tuple(_row(one, result.seed) for one in first))


def _row(found: Configuration, seed: int) -> Row:
    mark = "ok" if found.passed else "NOT RUN" if found.problem else "FAIL"
    fails = ", ".join(found.failed) + (
        f" ({_worst(found)})" if found.failed and found.place else ""
    )
    cells = (mark, command(found, seed), whole(found.compared), *_ratios([found]))
    return Row((*cells, found.problem or fails), "plain" if found.passed else "bad")


def _ratios(found: Sequence[Configuration]) -> Iterator[str]:
    """The largest in each precision, and a bar for the larger of them."""
    for precision in _PRECISIONS:
        ratios = [dict(one.ratios)[precision] for one in found if precision in dict(one.ratios)]
        yield f"{max(ratios, key=severity):.3g}" if ratios else ""
    yield bar(_largest(found))


def _largest(found: Sequence[Configuration]) -> float | None:
    ratios = [ratio for one in found for _, ratio in one.ratios]
    return max(ratios, key=severity, default=None)


def _worst(found: Configuration) -> str:
    return found.worst if found.place is None else f"{found.worst}, {place_text(found.place)}"


def _verdict(result: Sweep) -> Iterator[Line]:
    count, failed = len(result.configurations), result.failed
    not_run = sum(bool(found.problem) for found in failed)
    if result.passed:
        checks = sum(found.checks for found in result.configurations)
        yield Line(f"Verified: {whole(checks)} checks of {count} configurations passed", "good")
        return
    without = f", {not_run} could not be run" if not_run else ""
    yield Line(f"FAILED: {len(failed) - not_run} of {count} configurations{without}", "bad")
