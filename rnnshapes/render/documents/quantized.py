"""A Quantization as a document, as JSON and as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from rnnshapes.forward.quantized import Quantization, QuantizedValue
from rnnshapes.render.document import Column, Document, Line, Row, Table
from rnnshapes.render.number_text import magnitude_text, ratio_bar
from rnnshapes.render.phrases import network_line, network_text, sizes_record, warning_line
from rnnshapes.render.view import View

#: Share of a value's numbers beyond its format, above which a warning says so.
_WARN_FROM = 0.01
#: Warnings that are shown.
_MOST_WARNINGS = 3
#: Steps that a summary shows.
_SUMMARY_STEPS = 10
#: Numbers of a state or an output are worth a column over time; others are in JSON and CSV.
_STATES = ("h", "c")


def document(result: Quantization, view: View) -> Document:
    """Return a row for each value, and the errors of states and outputs over time."""
    blocks: list[Line | Table] = [
        network_line(result.network),
        Line(f"x: {result.source}", "dim", indent=2),
        Line(_scheme_text(result), "dim", indent=2),
    ]
    blocks += _warnings(result)
    if view.has("summary"):
        blocks.append(_values(result))
        blocks.append(Line("error = fixed point - float64; saturated = beyond the format", "dim"))
    blocks += _over_time(result, None if view.has("numbers") else _SUMMARY_STEPS)
    blocks += _verdict(result)
    return tuple(blocks)


def record(result: Quantization) -> dict[str, Any]:
    """Return the JSON form ``rnnshapes.quantize/1``."""
    scheme = result.scheme
    return {
        "schema": result.schema,
        "sizes": sizes_record(result.network),
        "source": result.source,
        "network": network_text(result.network),
        "scheme": {
            "name": scheme.name,
            "weights": scheme.weights,
            "operands": scheme.operands,
            "values": scheme.values,
            "fraction": scheme.fraction,
            "by_column": scheme.by_column,
        },
        "values": [
            {
                "name": value.name,
                "kind": value.kind,
                "format": value.format,
                "scale": value.scale,
                "low": value.low,
                "high": value.high,
                "saturated": value.saturated,
                "largest": value.largest,
                "rms": value.total_rms,
                "t": value.worst_step,
                "errors": {"largest": value.errors, "rms": value.rms} if value.timed else None,
            }
            for value in result.values
        ],
    }


def rows(result: Quantization) -> Iterator[Sequence[object]]:
    """Yield the headings, then a row for each value at each step; weights have no step."""
    headings = ("value", "kind", "format", "scale", "low", "high", "saturated")
    yield (*headings, "t", "largest_error", "rms_error")
    for value in result.values:
        numbers = (value.scale, value.low, value.high, value.saturated)
        errors = zip(value.errors.tolist(), value.rms.tolist(), strict=True)
        for t, (largest, rms) in enumerate(errors):
            cells = ["" if math.isnan(number) else number for number in (largest, rms)]
            when = t if value.timed else ""
            yield (value.name, value.kind, value.format, *numbers, when, *cells)


def _scheme_text(result: Quantization) -> str:
    """Return what has how many bits."""
    scheme = result.scheme
    if scheme.fraction is not None:
        chosen = scheme.format(scheme.values, 0.0)
        low, high = chosen.lowest * chosen.scale, chosen.highest * chosen.scale
        return f"{scheme.name}: multiples of {chosen.scale:g} from {low:g} to {high:.6g}"
    operands = f"kernels, x and h in {scheme.operands} bits"
    if scheme.weights != scheme.operands:
        operands = f"kernels in {scheme.weights} bits, x and h in {scheme.operands}"
    scale = "each with its own scale" + ", kernels by column" * scheme.by_column
    return f"{scheme.name}: {operands}, gates and c in {scheme.values}; {scale}"


def _warnings(result: Quantization) -> Iterator[Line]:
    """Yield the values of which many numbers are beyond the format that all have."""
    if result.scheme.fraction is None:  # a scale of its own leaves little beyond it
        return
    many = sorted(
        (value for value in result.values if value.saturated >= _WARN_FROM),
        key=lambda value: -value.saturated,
    )
    for value in many[:_MOST_WARNINGS]:
        largest = max(-value.low, value.high)
        whole = max(0, math.floor(math.log2(largest)) + 1) if largest else 0
        yield warning_line(
            f"{value.name}: {_share(value.saturated)} saturates; its numbers reach {largest:.3g}, "
            f"which Q{whole}.n holds"
        )
    if len(many) > _MOST_WARNINGS:
        yield warning_line(f"{len(many) - _MOST_WARNINGS} more values saturate")


def _values(result: Quantization) -> Table:
    columns = (
        Column("value"),
        Column("format", rank=3),
        Column("range", numeric=True, rank=2),
        Column("saturated", numeric=True, rank=1),
        Column("largest error", numeric=True),
        Column("at t", numeric=True, rank=4),
        Column("rms", numeric=True, rank=1),
    )
    rows: list[Row] = []
    group = ""
    for value in result.values:
        owner, name = _owner(value)
        if owner != group and owner:
            rows.append(Row((owner, *[""] * (len(columns) - 1)), "strong"))
        group = owner
        rows.append(_value_row(value, f"  {name}" if owner else name))
    return Table("", columns, tuple(rows))


def _owner(value: QuantizedValue) -> tuple[str, str]:
    """Return the layer or direction of a value, and its name there."""
    owner, _, name = value.name.rpartition({"weight": "/", "state": "."}.get(value.kind, "\n"))
    return owner, name


def _value_row(value: QuantizedValue, name: str) -> Row:
    cells = (
        name,
        value.format,
        f"{value.low:.3g} … {value.high:.3g}",
        "" if value.scale is None else _share(value.saturated),
        magnitude_text(value.largest),
        "" if value.worst_step is None else str(value.worst_step),
        magnitude_text(value.total_rms),
    )
    return Row(cells)


def _share(share: float) -> str:
    """Return ``3.2 %``; ``0 %`` only for nothing."""
    if not share:
        return "0 %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "< 0.1 %"


def _over_time(result: Quantization, most: int | None) -> Iterator[Table]:
    """Yield a row for each step with the errors of the states and of the last output, if any."""
    shown = [value for value in result.values if value.timed and _is_result(value)]
    if not shown:
        return
    steps = max(len(value.errors) for value in shown)
    columns = [Column("t", numeric=True)]
    for number, value in enumerate(reversed(shown)):
        columns[1:1] = [
            Column(f"{value.name}: largest", numeric=True, rank=number),
            Column("rms", numeric=True, rank=number),
            Column("", rank=number),
        ]
    table = []
    for t in _shown_steps(steps, most):
        cells = ["…"] * len(columns) if t is None else [str(t)]
        if t is not None:
            for value in shown:
                cells += _step_cells(value, t)
        table.append(Row(tuple(cells), "dim" if t is None else "plain"))
    yield Table("Error over time", tuple(columns), tuple(table), "--format csv")


def _is_result(value: QuantizedValue) -> bool:
    """Return whether a value is a state, or the output of the network."""
    name = value.name.rpartition(".")[2].rstrip("0123456789")
    return value.name == "y_hat" or (value.kind == "state" and name in _STATES)


def _step_cells(value: QuantizedValue, t: int) -> list[str]:
    if t >= len(value.errors) or math.isnan(value.errors[t]):
        return ["", "", ""]
    largest, rms = float(value.errors[t]), float(value.rms[t])
    bar = ratio_bar(largest / value.largest) if value.largest else ""
    return [magnitude_text(largest), magnitude_text(rms), bar]


def _shown_steps(steps: int, most: int | None) -> Iterator[int | None]:
    """Yield the steps to show, and None for those that are left out."""
    if most is None or steps <= most:
        yield from range(steps)
        return
    half = most // 2
    yield from range(half)
    yield None
    yield from range(steps - half, steps)


def _verdict(result: Quantization) -> Iterator[Line]:
    """Yield how far y_hat is from float64, or the last value where there is no y_hat."""
    value = next((each for each in result.values if each.name == "y_hat"), result.values[-1])
    spread = max(-value.low, value.high)
    share = f", {_share(value.largest / spread)} of its largest number" if spread else ""
    yield Line(
        f"{value.name} differs from float64 by at most {magnitude_text(value.largest)}{share}; "
        f"rms {magnitude_text(value.total_rms)}"
    )
