"""One step of a recurrence as a picture: what comes in, each operation, what goes on."""

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
from rnnshapes.render import palette
from rnnshapes.render.document import PLAIN, Ink, Sheet, Span, StyledLines
from rnnshapes.render.number_text import count_text, operation_text
from rnnshapes.render.text_art.canvas import clean, cut

_STRONG, _DIM = Ink(meaning="strong"), Ink(meaning="dim")
_GOOD, _BAD = Ink(meaning="good"), Ink(meaning="bad")
#: Up to how many numbers of a list are to be seen before shapes give way to them, and of how many
#: the beginning will do.
_WANTED, _SOME = 8, 4
#: The longest equation that stands in one row with its shapes and numbers.
_LONGEST = 20
#: Decimals of a number.
_FEWEST, _MOST = 3, 6

#: Makes of a text what the sheet can show.
Say = Callable[[str], str]


class _Line(NamedTuple):
    """A line of text; ``beside`` stands at its right end where there is room for it."""

    text: str
    ink: Ink = PLAIN
    beside: str = ""


class _Row(NamedTuple):
    """A value: what it is called, its shapes in symbols and in numbers, and its numbers.

    ``short`` is the shape in numbers without what it is made of. What
    ``stands_out`` is coloured, number by number.
    """

    label: str
    dims: str
    shape: str
    short: str
    values: tuple[float, ...] | None
    stands_out: bool
    ink: Ink = PLAIN


class _Columns(NamedTuple):
    """How wide the columns of rows are; without ``label`` the numbers have a line of their own."""

    label: int
    dims: int
    shape: int
    short: bool = False
    digits: int = _FEWEST

    @property
    def front(self) -> int:
        """How wide they are together."""
        return self.label + self.dims + self.shape


def header(
    step: StepView, recurrence: RecurrenceSteps, sample: int, which: str, sheet: Sheet
) -> StyledLines:
    """Two lines: the layer, and how far it has read. ``which`` tells it from other layers."""
    say = partial(clean, sheet=sheet)
    n = recurrence.network.size("N")
    name, more = say(recurrence.name), [*([which] if which else []), f"sample {sample} of {n}"]
    rights = [say(text) for text in (", ".join(more), more[0], "")]
    fits = (right for right in rights if cell_len(name + right) + 2 <= sheet.width)
    right = next(fits, "")
    label = ", ".join((recurrence.node.layer.label, *recurrence.direction.cell.activations))
    name, kind = cut(name, sheet.width, sheet), say(f"  {label}")
    kind = kind if cell_len(name + kind + right) + 2 <= sheet.width else ""
    gap = sheet.width - cell_len(name + kind + right)
    first = [Span(name, _STRONG), Span(kind, _DIM)]
    first += [Span(" " * gap + right, _DIM)] if gap >= 1 else []
    return [first, _bar(step, recurrence, sheet)]


def body(
    step: StepView, recurrence: RecurrenceSteps, sheet: Sheet, *, full: bool = False
) -> StyledLines:
    """All of the step, from what comes in to y_hat; every number of it, if it is to be full."""
    blocks = list(_blocks(step, recurrence, partial(clean, sheet=sheet)))
    most = max(len(_numbers(state) or ()) for state in step.states)
    columns = _columns([row for row in blocks if isinstance(row, _Row)], most, sheet)
    lines: list[list[Span]] = []
    for block in blocks:
        if isinstance(block, _Line):
            lines += _text(block, columns, sheet)
        else:
            lines += _row(block, columns, sheet, full=full)
    return lines


def summary(step: StepView, recurrence: RecurrenceSteps, sample: int) -> str:
    """The step in one line, with its numbers in full."""
    shown = step.states[:1] if step.prediction is None else (step.prediction.y_hat,)
    texts = [
        f"{q.name} = {' '.join(f'{v:.8g}' for v in q.values[:8])}"
        for q in shown
        if q.values is not None
    ]
    more = " …" if any(q.values is not None and len(q.values) > 8 for q in shown) else ""
    return f"{recurrence.name}, sample {sample}, t = {step.t}: {', '.join(texts)}{more}"


def figure(value: float, digits: int) -> str:
    """A number in at most ``digits`` + 3 characters, with so many decimals if they fit."""
    width = digits + 3
    if not math.isfinite(value):
        return str(value)
    short = re.sub(r"e([+-])0*(?=\d)", lambda e: f"e{e[1].strip('+')}", f"{value:.0e}")
    if value and abs(value) < 0.5 * 10**-digits and len(short) <= width:
        return short
    texts = (f"{value:.{places}f}" for places in range(digits, -1, -1))
    return next((text for text in texts if len(text) <= width), short)


def _bar(step: StepView, recurrence: RecurrenceSteps, sheet: Sheet) -> list[Span]:
    """``t = 3  ━━━━▶───────  step 4 of 10``; from the right where it reads from the end."""
    left = f"t = {str(step.t).ljust(len(str(step.count - 1)))}  "
    right = f"  step {count_text(step.number)} of {count_text(step.count)}"
    if recurrence.reverse:
        right += ", from the end" if sheet.width >= 60 else ""
    width = sheet.width - len(left) - len(right)
    if width < 4:
        return [Span(cut(f"t = {step.t}{right}", sheet.width, sheet), _STRONG)]
    read, here, rest, masked = ("=#-.", "━●─·")[not sheet.ascii_only]
    last = step.count - 1
    at = round(step.t * (width - 1) / last) if last else 0
    marks = []
    for place in range(width):
        t = round(place * last / (width - 1))
        skipped = recurrence.mask is not None and not recurrence.mask[t]
        done = place > at if recurrence.reverse else place < at
        marks.append(masked if skipped else read if done else rest)
    marks[at] = here
    ink = Ink(colour=palette.category(4), meaning="strong")
    parts = ["".join(marks[:at]), here, "".join(marks[at + 1 :])]
    inks = [_DIM, ink, ink] if recurrence.reverse else [ink, ink, _DIM]
    spans = [Span(text, each) for text, each in zip(parts, inks, strict=True)]
    return [Span(left, _STRONG), *spans, Span(right, _DIM)]


def _blocks(step: StepView, recurrence: RecurrenceSteps, say: Say) -> Iterator[_Line | _Row]:
    """What there is to say of a step, from top to bottom."""
    for value in step.inputs:
        yield _value(value, say, "→ ")
    yield _Line("")
    if step.masked:
        zeroed = getattr(recurrence.node.layer, "zero_output_for_mask", False)
        zero = ", 0 is put out" if zeroed else ""
        yield _Line(say(f"t = {step.t} is masked: skipped, the states stay{zero}"), _BAD)
        for state, before in zip(step.states, step.inputs[1:], strict=True):
            yield _value(state, say, "", f" = {before.name}")
    for equation in step.equations:
        yield from _equation(equation, say)
    yield _Line("")
    yield from (_Line(say(text), _DIM) for text in _goes_on(step, recurrence))
    if step.prediction is None:
        return
    yield _Line("")
    for equation in step.prediction.equations:
        yield from _equation(equation, say)
    if not step.prediction.equations:
        yield _value(step.prediction.y_hat, say, "")
    if step.prediction.is_output:
        yield _Line(say(f"{step.prediction.y_hat.name} is the model's own answer"), _GOOD)
    elif recurrence.network.is_causal:
        name = step.prediction.y_hat.name
        yield _Line(say(f"{name}: the model's answer, had x ended here"), _DIM)


def _goes_on(step: StepView, recurrence: RecurrenceSteps) -> Iterator[str]:
    """Where the states are handed on to."""
    after = step.t + (-1 if recurrence.reverse else 1)
    names = ", ".join(state.name for state in step.states)
    last = not 0 <= after < step.count
    to = [] if last else [f"t = {after}"]
    shapes = recurrence.network.node_shapes[recurrence.position]
    if step.prediction is None and (last or not shapes.final):
        to += recurrence.users
    if last:
        yield f"t = {step.t} is the last step that is read"
    if to:
        yield f"{names} → handed on to {', '.join(to)}"


def _equation(equation: EvaluatedEquation, say: Say) -> Iterator[_Line | _Row]:
    """An equation and its operations, in one row where there is one."""
    general = equation.general if "{t" in equation.general else ""
    if len(equation.operations) == 1 and equation.operations[0].label == equation.text:
        if len(equation.text) <= _LONGEST:
            yield from _operation(equation.operations[0], say, "", last=True, ink=_STRONG)
            return
        named = replace(equation.operations[0], label=equation.values[0].name)
        equation = replace(equation, operations=(named,))
    yield _Line(say(equation.text), _STRONG, say(general))
    for position, operation in enumerate(equation.operations, 1):
        yield from _operation(operation, say, "  ", last=position == len(equation.operations))


def _operation(
    operation: EvaluatedOperation, say: Say, indent: str, *, last: bool, ink: Ink = PLAIN
) -> Iterator[_Row]:
    """An operation: a row, or one for each part of a split."""
    sign = "," if operation.symbol.isalpha() else operation.symbol
    dims = operation_text(operation.operands, sign, operation.dims).replace(" , ", ", ")
    shape = operation_text(operation.operand_shapes, sign, operation.shape).replace(" , ", ", ")
    short = shape if operation.symbol in ("·", "split") else shape_text(operation.shape)
    if operation.symbol != "split":
        values = _numbers(operation.results[0])
        label = operation.label
        if indent and len(label) > _LONGEST - len(indent):
            label = label.rpartition(" = ")[2]
        label = indent + say(label)
        yield _Row(label, say(dims), say(shape), say(short), values, last, ink)
        return
    for place, part in enumerate(operation.results):
        texts = ("", "", "") if place else (say(dims), say(shape), say(short))
        yield _Row(indent + say(part.name), *texts, _numbers(part), stands_out=False, ink=ink)


def _value(value: StepValue, say: Say, before: str, behind: str = "") -> _Row:
    dims, shape = say(shape_text(value.dims)), say(shape_text(value.shape))
    label = say(f"{before}{value.name}{behind}")
    return _Row(label, dims, shape, shape, _numbers(value), stands_out=True)


def _numbers(value: StepValue) -> tuple[float, ...] | None:
    return None if value.values is None else tuple(value.values.tolist())


def _columns(rows: Sequence[_Row], most: int, sheet: Sheet) -> _Columns:
    """What fits beside each other: dims, shapes, short shapes, or the numbers alone.

    ``most`` is how many units the states have.
    """
    label, dims, shape, short = (
        max(cell_len(getattr(row, name)) for row in rows) for name in _Row._fields[:4]
    )
    for count in (min(most, _WANTED), _SOME) if most > _SOME else (most,):
        for columns in (
            _Columns(label + 1, dims + 2, shape),
            _Columns(label + 1, 0, shape),
            _Columns(label + 1, 0, short, short=True),
        ):
            room = sheet.width - columns.front
            if room >= count * _field(_FEWEST) + (len(f" ... {most}") if count < most else 0):
                return columns._replace(digits=_digits(room, most))
    return _Columns(0, 0, 0, digits=_digits(sheet.width - 2, most))


def _field(digits: int) -> int:
    """How wide a number is, with the space before it."""
    return digits + 4


def _digits(room: int, most: int) -> int:
    if most > _WANTED:
        return _FEWEST
    return max(_FEWEST, min(_MOST, room // most - _field(0)))


def _row(row: _Row, columns: _Columns, sheet: Sheet, *, full: bool) -> Iterator[list[Span]]:
    """A row on one line, or on more where its numbers do not fit beside it."""
    shape = row.short if columns.short else row.shape
    if columns.label:
        front = [Span(set_cell_size(row.label, columns.label), row.ink)]
        if columns.dims:
            front.append(Span(set_cell_size(row.dims, columns.dims), _DIM))
        front.append(Span(set_cell_size(shape, columns.shape), _DIM))
        first, *more = _values(row, columns.digits, sheet.width - columns.front, sheet, full=full)
        yield [*front, *first]
        yield from ([Span(" " * columns.front), *part] for part in more)
        return
    if cell_len(row.label) + 2 + cell_len(shape) <= sheet.width:
        gap = "  " if shape else ""
        yield [Span(row.label, row.ink), Span(gap + shape, _DIM)]
    else:
        yield [Span(cut(row.label, sheet.width, sheet), row.ink)]
        yield [Span(cut(f"  {shape}", sheet.width, sheet), _DIM)]
    if row.values is not None:
        for part in _values(row, columns.digits, sheet.width - 2, sheet, full=full):
            yield [Span("  "), *part]


def _values(row: _Row, digits: int, room: int, sheet: Sheet, *, full: bool) -> list[list[Span]]:
    """Lines of numbers: those that fit and how many there are, or, if full, all of them."""
    values = row.values or ()
    field, most = _field(digits), len(values)
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    spans = [
        Span(
            f" {figure(value, digits):>{field - 1}}",
            _tile(value, largest) if row.stands_out else PLAIN,
        )
        for value in (values if full else values[: room // field + 1])
    ]
    if most * field <= room:
        return [spans]
    if full:
        each = max(1, room // field)
        return [spans[start : start + each] for start in range(0, most, each)]
    more = clean(f" … {count_text(most)}", sheet)
    shown = spans[: max(0, (room - len(more)) // field)]
    return [[*shown, Span(more, _DIM)] if len(more) <= room else shown]


def _tile(value: float, largest: float) -> Ink:
    """The colour of a number; numbers above 1 are compared with the largest beside them."""
    if not math.isfinite(value):
        return _BAD
    ground = palette.signed(value / max(1.0, largest))
    return Ink(colour=palette.text_on(ground), ground=ground)


def _text(line: _Line, columns: _Columns, sheet: Sheet) -> Iterator[list[Span]]:
    """A line, wrapped, and what stands beside it if both fit: above the numbers, or at the end."""
    length, beside = cell_len(line.text), cell_len(line.beside)
    at = max(length + 3, columns.front + 1)
    at = min(at, sheet.width - beside)
    if line.beside and at >= length + 3:
        yield [Span(line.text, line.ink), Span(" " * (at - length) + line.beside, _DIM)]
        return
    for part in textwrap.wrap(line.text, max(sheet.width, 8), subsequent_indent="    ") or [""]:
        yield [Span(cut(part, sheet.width, sheet), line.ink)]
