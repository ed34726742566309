"""One step of a recurrence as lines of text: its inputs, each operation, and where states go."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from rnnshapes.forward.recurrence_steps import RecurrenceSteps
from rnnshapes.forward.step_view import (
    EvaluatedEquation,
    EvaluatedOperation,
    StepValue,
    StepView,
)
from rnnshapes.ops.dims import shape_text
from rnnshapes.ops.symbolic import ABOVE
from rnnshapes.render import palette
from rnnshapes.render.document import BAD, DIM, GOOD, PLAIN, STRONG, Ink, Sheet, Span, StyledLines
from rnnshapes.render.number_text import count_text, operation_text
from rnnshapes.render.text_art.canvas import clean, cut

#: Numbers of a list that should be visible before shapes are shown beside them; of a longer list,
#: the first few are enough.
_WANTED_NUMBERS, _FIRST_NUMBERS = 8, 4
#: The longest equation that stands on one line with its shapes and numbers.
_LONGEST_LABEL = 20
#: Decimals of a number.
_FEWEST_DIGITS, _MOST_DIGITS = 3, 6
#: The narrowest sheet on which the time line says in which direction it is processed.
_WIDTH_FOR_DIRECTION = 60
#: The narrowest time line.
_LEAST_TIME_LINE = 4
#: Numbers in a summary.
_MOST_SUMMARIZED = 8

#: Replaces what a sheet cannot show.
Clean = Callable[[str], str]


class _TextRow(NamedTuple):
    """Line of text; ``beside`` stands at its right end where there is space for it."""

    text: str
    ink: Ink = PLAIN
    beside: str = ""


class _ValueRow(NamedTuple):
    """A value: its label, its shapes in symbols and in numbers, and its numbers.

    ``short`` is the shape in numbers without those of the operands. The numbers are coloured if
    the value is ``coloured``.
    """

    label: str
    dims: str
    shape: str
    short: str
    values: tuple[float, ...] | None
    coloured: bool
    ink: Ink = PLAIN


class _ColumnWidths(NamedTuple):
    """Widths of the columns in front of the numbers; all 0 if numbers have their own line."""

    label: int
    dims: int
    shape: int
    short: bool = False
    digits: int = _FEWEST_DIGITS

    @property
    def total(self) -> int:
        """Width of all columns in front of the numbers."""
        return self.label + self.dims + self.shape


def header(
    step: StepView, recurrence: RecurrenceSteps, sample: int, which: str, sheet: Sheet
) -> StyledLines:
    """Return two lines: the layer, and the time line.

    Args:
        step: The step that is shown.
        recurrence: The recurrence that it belongs to.
        sample: The sample.
        which: Tells the layer from others, ``layer 1 of 2``; empty if it is the only one.
        sheet: Space for the lines.
    """
    clean_text = partial(clean, sheet=sheet)
    n = recurrence.network.size("N")
    name = clean_text(recurrence.name)
    remarks = [*([which] if which else []), f"sample {sample} of {n}"]
    candidates = [clean_text(text) for text in (", ".join(remarks), remarks[0], "")]
    fitting = (text for text in candidates if cell_len(name + text) + 2 <= sheet.width)
    right = next(fitting, "")
    label = ", ".join((recurrence.node.layer.label, *recurrence.direction.cell.activations))
    name, kind = cut(name, sheet.width, sheet), clean_text(f"  {label}")
    kind = kind if cell_len(name + kind + right) + 2 <= sheet.width else ""
    gap = sheet.width - cell_len(name + kind + right)
    first = [Span(name, STRONG), Span(kind, DIM), Span(" " * gap + right, DIM)]
    return [first, _time_line(step, recurrence, sheet)]


def body(
    step: StepView, recurrence: RecurrenceSteps, sheet: Sheet, *, full: bool = False
) -> StyledLines:
    """Return the whole step, from its inputs to y_hat; with ``full``, every number of it."""
    rows = list(_rows(step, recurrence, partial(clean, sheet=sheet)))
    units = max(len(_numbers(state) or ()) for state in step.states)
    value_rows = [row for row in rows if isinstance(row, _ValueRow)]
    widths = _choose_widths(value_rows, units, sheet)
    lines: list[list[Span]] = []
    for row in rows:
        if isinstance(row, _TextRow):
            lines += _text_lines(row, widths, sheet)
        else:
            lines += _value_lines(row, widths, sheet, full=full)
    return lines


def compact(step: StepView, recurrence: RecurrenceSteps, sheet: Sheet) -> StyledLines:
    """Return the inputs of a step and its named values, each on one line.

    A cell with only one equation is shown with its products, too.
    """
    rows = list(_compact_rows(step, partial(clean, sheet=sheet)))
    units = max(len(_numbers(state) or ()) for state in step.states)
    widths = _choose_widths(rows, units, sheet)._replace(digits=_FEWEST_DIGITS)
    return [line for row in rows for line in _value_lines(row, widths, sheet, full=False)]


def _compact_rows(step: StepView, clean_text: Clean) -> Iterator[_ValueRow]:
    for value in step.inputs:
        yield _compact_row(value.name, value, clean_text)
    if step.masked:
        for state, before in zip(step.states, step.inputs[1:], strict=True):
            yield _compact_row(f"{state.name} = {before.name}, masked", state, clean_text)
    if len(step.equations) == 1:
        yield from _compact_operations(step.equations[0], clean_text)
        return
    for equation in step.equations:
        if len(equation.values) == 1:  # a split has several
            name = equation.values[0].name
            label = equation.text if len(equation.text) <= _LONGEST_LABEL else f"{name} = …"
            yield _compact_row(label, equation.values[0], clean_text)


def _compact_operations(equation: EvaluatedEquation, clean_text: Clean) -> Iterator[_ValueRow]:
    """Yield each product with what is added to it, and the named value."""
    rows: list[tuple[str, StepValue]] = []
    for operation in equation.operations[:-1]:
        added = operation.label.removeprefix(f"{ABOVE} + ")
        if operation.symbol == "·":
            rows.append((operation.label, operation.results[0]))
        elif rows and added not in (operation.label, ABOVE, *(label for label, _ in rows)):
            rows[-1] = (f"{rows[-1][0]} + {added}", operation.results[0])
    rows += [(operation.label, operation.results[0]) for operation in equation.operations[-1:]]
    for label, value in rows:
        yield _compact_row(label, value, clean_text)


def _compact_row(label: str, value: StepValue, clean_text: Clean) -> _ValueRow:
    row = _value_row(value, clean_text)
    return row._replace(label=f"  {clean_text(label)}", dims="")


def summary(step: StepView, recurrence: RecurrenceSteps, sample: int) -> str:
    """Return the step in one line: y_hat, or else the first state, with all digits."""
    value = step.states[0] if step.prediction is None else step.prediction.y_hat
    numbers = _numbers(value) or ()
    shown = " ".join(f"{number:.8g}" for number in numbers[:_MOST_SUMMARIZED])
    more = " …" if len(numbers) > _MOST_SUMMARIZED else ""
    return f"{recurrence.name}, sample {sample}, t = {step.t}: {value.name} = {shown}{more}"


def compact_number(value: float, digits: int) -> str:
    """Return a number in at most ``digits`` + 3 characters, with so many decimals if they fit."""
    width = digits + 3
    if not math.isfinite(value):
        return str(value)
    texts = (f"{value:.{decimals}f}" for decimals in range(digits, -1, -1))
    fitting = next((text for text in texts if len(text) <= width), "")
    if fitting and (not value or abs(value) >= 0.5 * 10**-digits):
        return fitting
    short = re.sub(r"e([+-])0*(?=\d)", lambda e: f"e{e[1].strip('+')}", f"{value:.0e}")
    return short if len(short) <= width else fitting or short


def _time_line(step: StepView, recurrence: RecurrenceSteps, sheet: Sheet) -> list[Span]:
    """Return ``t = 3  ━━━━●───────  step 4 of 10``; processed steps are strong."""
    left = f"t = {str(step.t).ljust(len(str(step.count - 1)))}  "
    right = f"  step {count_text(step.number)} of {count_text(step.count)}"
    if recurrence.reverse:
        right += ", in reverse" if sheet.width >= _WIDTH_FOR_DIRECTION else ""
    width = sheet.width - len(left) - len(right)
    if width < _LEAST_TIME_LINE:
        return [Span(cut(f"t = {step.t}{right}", sheet.width, sheet), STRONG)]
    done, current, ahead, masked = ("=#-.", "━●─·")[not sheet.ascii_only]
    last = step.count - 1
    position = round(step.t * (width - 1) / last) if last else 0
    marks = []
    for i in range(width):
        t = round(i * last / (width - 1))
        is_done = (i < position) != recurrence.reverse
        is_masked = recurrence.mask is not None and not recurrence.mask[t]
        marks.append(masked if is_masked else done if is_done else ahead)
    strong = Ink(colour=palette.category(4), meaning="strong")
    before, after = (DIM, strong) if recurrence.reverse else (strong, DIM)
    return [
        Span(left, STRONG),
        Span("".join(marks[:position]), before),
        Span(current, strong),
        Span("".join(marks[position + 1 :]), after),
        Span(right, DIM),
    ]


# --- What a step consists of --------------------------------------------------------------------


def _rows(
    step: StepView, recurrence: RecurrenceSteps, clean_text: Clean
) -> Iterator[_TextRow | _ValueRow]:
    """Yield the rows of a step, from top to bottom."""
    for value in step.inputs:
        yield _value_row(value, clean_text, prefix="→ ")
    yield _TextRow("")
    if step.masked:
        zero_output = getattr(recurrence.node.layer, "zero_output_for_mask", False)
        zero = ", its output is 0" if zero_output else ""
        yield _TextRow(
            clean_text(f"t = {step.t} is masked: skipped, the states do not change{zero}"), BAD
        )
        for state, before in zip(step.states, step.inputs[1:], strict=True):
            yield _value_row(state, clean_text, suffix=f" = {before.name}")
    for equation in step.equations:
        yield from _equation_rows(equation, clean_text)
    yield _TextRow("")
    yield from (_TextRow(clean_text(text), DIM) for text in _destinations(step, recurrence))
    prediction = step.prediction
    if prediction is None:
        return
    yield _TextRow("")
    for equation in prediction.equations:
        yield from _equation_rows(equation, clean_text)
    name = prediction.y_hat.name
    if not prediction.equations:
        yield _value_row(prediction.y_hat, clean_text)
    if prediction.is_output:
        yield _TextRow(clean_text(f"{name} is the model's own output"), GOOD)
    elif recurrence.network.is_causal:
        yield _TextRow(clean_text(f"{name}: the model's output if x ended here"), DIM)


def _destinations(step: StepView, recurrence: RecurrenceSteps) -> Iterator[str]:
    """Yield where the states go from here: to the next step, and to other layers."""
    next_t = step.t + (-1 if recurrence.reverse else 1)
    is_last = not 0 <= next_t < step.count
    destinations = [] if is_last else [f"t = {next_t}"]
    if step.prediction is None:
        destinations += recurrence.users(at_end=is_last)
    if is_last:
        yield f"t = {step.t} is the last step"
    if destinations:
        names = ", ".join(state.name for state in step.states)
        yield f"{names} → passed on to {', '.join(destinations)}"


def _equation_rows(
    equation: EvaluatedEquation, clean_text: Clean
) -> Iterator[_TextRow | _ValueRow]:
    """Yield an equation and its operations; on one row where it is short and has only one."""
    general = equation.general if "{t" in equation.general else ""
    operations = equation.operations
    if len(operations) == 1 and operations[0].label == equation.text:
        if len(equation.text) <= _LONGEST_LABEL:
            yield from _operation_rows(operations[0], clean_text, "", last=True, ink=STRONG)
            return
        operations = (replace(operations[0], label=equation.values[0].name),)
    yield _TextRow(clean_text(equation.text), STRONG, clean_text(general))
    for number, operation in enumerate(operations, 1):
        yield from _operation_rows(operation, clean_text, "  ", last=number == len(operations))


def _operation_rows(
    operation: EvaluatedOperation,
    clean_text: Clean,
    indent: str,
    *,
    last: bool,
    ink: Ink = PLAIN,
) -> Iterator[_ValueRow]:
    """Yield the row of an operation; for a split a row for each of its results."""
    sign = "," if operation.symbol.isalpha() else operation.symbol
    dims = operation_text(operation.operands, sign, operation.dims).replace(" , ", ", ")
    shape = operation_text(operation.operand_shapes, sign, operation.shape).replace(" , ", ", ")
    short = shape if operation.symbol in ("·", "split") else shape_text(operation.shape)
    shapes = (clean_text(dims), clean_text(shape), clean_text(short))
    if operation.symbol != "split":
        label = operation.label
        if indent and len(label) > _LONGEST_LABEL - len(indent):
            label = label.rpartition(" = ")[2]
        numbers = _numbers(operation.results[0])
        yield _ValueRow(indent + clean_text(label), *shapes, numbers, last, ink)
        return
    for value in operation.results:
        label = indent + clean_text(value.name)
        yield _ValueRow(label, *shapes, _numbers(value), coloured=False, ink=ink)
        shapes = ("", "", "")


def _value_row(
    value: StepValue, clean_text: Clean, prefix: str = "", suffix: str = ""
) -> _ValueRow:
    dims, shape = clean_text(shape_text(value.dims)), clean_text(shape_text(value.shape))
    label = clean_text(f"{prefix}{value.name}{suffix}")
    return _ValueRow(label, dims, shape, shape, _numbers(value), coloured=True)


def _numbers(value: StepValue) -> tuple[float, ...] | None:
    return None if value.values is None else tuple(value.values.tolist())


# --- Rows as lines ------------------------------------------------------------------------------


def _choose_widths(rows: Sequence[_ValueRow], units: int, sheet: Sheet) -> _ColumnWidths:
    """Choose what stands in front of the numbers: dims and shapes, shapes, short ones, nothing.

    ``units`` is the number of units of the states.
    """
    label, dims, shape, short = (
        max(cell_len(getattr(row, name)) for row in rows) for name in _ValueRow._fields[:4]
    )
    counts = [units]
    if units > _FIRST_NUMBERS:
        counts = [min(units, _WANTED_NUMBERS), _FIRST_NUMBERS]
    for count in counts:
        for widths in (
            _ColumnWidths(label + 1, dims + 2, shape),
            _ColumnWidths(label + 1, 0, shape),
            _ColumnWidths(label + 1, 0, short, short=True),
        ):
            available = sheet.width - widths.total
            more = len(f" ... {units}") if count < units else 0
            if available >= count * _number_width(_FEWEST_DIGITS) + more:
                return widths._replace(digits=_choose_digits(available, units))
    return _ColumnWidths(0, 0, 0, digits=_choose_digits(sheet.width - 2, units))


def _number_width(digits: int) -> int:
    """Return the width of a number, with the space before it."""
    return digits + 4


def _choose_digits(available: int, units: int) -> int:
    if units > _WANTED_NUMBERS:
        return _FEWEST_DIGITS
    return max(_FEWEST_DIGITS, min(_MOST_DIGITS, available // units - _number_width(0)))


def _value_lines(
    row: _ValueRow, widths: _ColumnWidths, sheet: Sheet, *, full: bool
) -> Iterator[list[Span]]:
    """Yield a row on one line, or on more where its numbers do not fit beside it."""
    shape = row.short if widths.short else row.shape
    if widths.label:
        front = [Span(set_cell_size(row.label, widths.label), row.ink)]
        if widths.dims:
            front.append(Span(set_cell_size(row.dims, widths.dims), DIM))
        front.append(Span(set_cell_size(shape, widths.shape), DIM))
        available = sheet.width - widths.total
        first, *more = _number_lines(row, widths.digits, available, sheet, full=full)
        yield [*front, *first]
        yield from ([Span(" " * widths.total), *line] for line in more)
        return
    if cell_len(row.label) + 2 + cell_len(shape) <= sheet.width:
        yield [Span(row.label, row.ink), Span(f"  {shape}", DIM)]
    else:
        yield [Span(cut(row.label, sheet.width, sheet), row.ink)]
        yield [Span(cut(f"  {shape}", sheet.width, sheet), DIM)]
    if row.values is not None:
        for line in _number_lines(row, widths.digits, sheet.width - 2, sheet, full=full):
            yield [Span("  "), *line]


def _number_lines(
    row: _ValueRow, digits: int, available: int, sheet: Sheet, *, full: bool
) -> list[list[Span]]:
    """Return one line of the numbers that fit and their count; with ``full``, all on many."""
    values = row.values or ()
    width, count = _number_width(digits), len(values)
    scale = max([1.0, *(abs(v) for v in values if math.isfinite(v))])
    spans = [
        Span(
            f" {compact_number(value, digits):>{width - 1}}",
            _number_ink(value, scale) if row.coloured else PLAIN,
        )
        for value in (values if full else values[: available // width + 1])
    ]
    if count * width <= available:
        return [spans]
    if full:
        per_line = max(1, available // width)
        return [spans[start : start + per_line] for start in range(0, count, per_line)]
    more = clean(f" … {count_text(count)}", sheet)
    shown = spans[: max(0, (available - len(more)) // width)]
    return [[*shown, Span(more, DIM)] if len(more) <= available else shown]


def _number_ink(value: float, scale: float) -> Ink:
    """Return the colour of a number on a scale up to this size: 1, or the largest beside it."""
    if not math.isfinite(value):
        return BAD
    ground = palette.signed(value / scale)
    return Ink(colour=palette.text_on(ground), ground=ground)


def _text_lines(row: _TextRow, widths: _ColumnWidths, sheet: Sheet) -> Iterator[list[Span]]:
    """Yield a text, wrapped, or with the text beside it if both fit on one line."""
    length, beside = cell_len(row.text), cell_len(row.beside)
    start = max(length + 3, widths.total + 1)
    start = min(start, sheet.width - beside)
    if row.beside and start >= length + 3:
        yield [Span(row.text, row.ink), Span(" " * (start - length) + row.beside, DIM)]
        return
    for line in textwrap.wrap(row.text, max(sheet.width, 8), subsequent_indent="    ") or [""]:
        yield [Span(cut(line, sheet.width, sheet), row.ink)]
