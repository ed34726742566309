"""The flow picture drawn with characters: a box for each layer, recurrences unrolled over time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rnnshapes.render.document import PLAIN, Ink, Sheet, StyledLines
from rnnshapes.render.flow_layout import (
    BoxArrow,
    FlowLayout,
    Lane,
    LayerBox,
    RecurrentDiagram,
    StateArrows,
    StepBox,
    UnrolledRecurrence,
    packed,
)
from rnnshapes.render.palette import category
from rnnshapes.render.text_art.canvas import Canvas, clean, cut, text_width

#: The narrowest sheet on which boxes with texts can be read.
_NARROWEST = 24
#: How much of a layer's name is shown in any case, before what kind of layer it is.
_NAME = 14
#: The column in which everything flows down, and the first one right of it.
_RAIL, _FIRST = 2, 4
#: How wide the dots are that stand for steps.
_DOTS = 3
#: Stands for a space at which no line is broken; no text that is shown holds one.
_FIXED = "\0"
_SHAPE = re.compile(r"\([^()]*\)( = \([^()]*\))?")

_FRAME, _TITLE = Ink(meaning="dim"), Ink(meaning="strong")
#: What comes in at each step, and each state: colours that can be read on dark and on light.
_INPUT, _STATES = Ink(category(2)), (Ink(category(0)), Ink(category(5)), Ink(category(3)))


def draw(layout: FlowLayout, sheet: Sheet) -> StyledLines:
    """Return all boxes from top to bottom; nothing where the sheet is too narrow for them."""
    boxes = layout.boxes
    recurrences = [box.recurrence for box in boxes if box.recurrence]
    columns = _fitting_columns(recurrences, sheet)
    if not boxes or columns is None or sheet.width < _NARROWEST:
        return ()
    picture = _FlowPicture(boxes, columns, sheet)
    for box in boxes:
        picture.draw(box)
    return picture.canvas.lines()


# --- How wide steps are -------------------------------------------------------------------------


class _Detail(NamedTuple):
    """How many steps are drawn, and how roomy.

    ``pad`` is the space around a step's text. Arrows have labels if ``labelled``, the one behind
    the steps that are left out only if ``far_labelled``. ``initial`` is how much of the name of
    an initial state is shown.
    """

    most: int
    pad: int = 0
    tight: bool = False
    labelled: bool = True
    far_labelled: bool = True
    initial: int = 12

    def step_text(self, box: StepBox) -> str:
        """Return ``t = 0``, or ``t=0`` where there is little room."""
        return f"t={box.step}" if self.tight else f"t = {box.step}"


#: From the widest to the narrowest; the first that fits is used.
_DETAILS = (
    *(_Detail(most, pad) for most in range(10, 2, -1) for pad in (1, 0)),
    *(_Detail(most, pad, far_labelled=False) for most in (4, 3) for pad in (1, 0)),
    *(_Detail(most, tight=True, far_labelled=False) for most in (3, 2)),
    *(_Detail(most, tight=True, labelled=False, far_labelled=False) for most in (3, 2)),
    _Detail(2, tight=True, labelled=False, far_labelled=False, initial=3),
)


class _Columns(NamedTuple):
    """Widths that all recurrences share, so that their steps stand one below the other.

    ``step`` is how wide the box of a step is, ``arrow`` the arrow between two, ``far_arrow`` the
    one behind the dots; ``left`` and ``right`` are the margins from which states come.
    """

    detail: _Detail
    step: int
    arrow: int
    far_arrow: int
    left: int
    right: int

    def of(self, steps: Sequence[StepBox | None]) -> list[int]:
        """Return where the box of each step begins; for ``None``, where the dots do."""
        starts, column = [], _FIRST + self.left
        for step in steps:
            starts.append(column)
            column += _DOTS + self.far_arrow if step is None else self.step + self.arrow
        return starts

    def width(self, unrolled: UnrolledRecurrence) -> int:
        """Return the width of a frame around this recurrence."""
        return self.of(unrolled.lanes[0].steps)[-1] + self.step + self.right + 2


def _fitting_columns(recurrences: Sequence[RecurrentDiagram], sheet: Sheet) -> _Columns | None:
    """Return the widths with the most detail at which every recurrence fits; None if none do."""
    for detail in _DETAILS:
        unrolled = [recurrence.unroll(detail.most) for recurrence in recurrences]
        columns = _measured(detail, unrolled, sheet)
        if all(columns.width(one) <= sheet.width for one in unrolled):
            return columns
    return None


def _measured(detail: _Detail, unrolled: Sequence[UnrolledRecurrence], sheet: Sheet) -> _Columns:
    """Return the widths that the texts of these recurrences need."""

    def widest(texts: Iterable[str]) -> int:
        return max((text_width(clean(text, sheet)) for text in texts), default=0)

    lanes = [lane for one in unrolled for lane in one.lanes]
    labels = [
        (label, step is None)
        for lane in lanes
        for state in lane.states
        for step, label in zip(lane.steps, state.labels, strict=False)
    ]
    bare = 2 if detail.tight else 3

    def margin(*, reverse: bool) -> int:
        initial = [s.initial for lane in lanes if lane.reverse == reverse for s in lane.states]
        return min(widest(initial), detail.initial) + bare if initial else 0

    step = widest(detail.step_text(step) for lane in lanes for step in lane.steps if step)
    step += 2 + 2 * detail.pad
    beyond = widest(lane.kernel for lane in lanes) + 2 - (step + 1) // 2  # beside the last step
    return _Columns(
        detail,
        step=step,
        arrow=widest(label for label, far in labels if not far) + 3 if detail.labelled else bare,
        far_arrow=widest(label for label, _ in labels) + 3 if detail.far_labelled else bare,
        left=margin(reverse=False),
        right=max(margin(reverse=True), beyond),
    )


# --- From top to bottom -------------------------------------------------------------------------


class _FlowPicture:
    """The canvas, and the row that is drawn next."""

    def __init__(self, boxes: Sequence[LayerBox], columns: _Columns, sheet: Sheet) -> None:
        self.sheet, self.columns = sheet, columns
        self.canvas = Canvas(sheet)
        self.row = 0
        widths = [
            columns.width(box.recurrence.unroll(columns.detail.most))
            for box in boxes
            if box.recurrence
        ]
        widths += [text_width(self.clean(text)) + 10 for b in boxes for text in (b.title, b.rule)]
        widths += [text_width(self.clean(b.title)) + len(b.parameters) + 12 for b in boxes]
        self.width = min(max(widths), sheet.width)

    def clean(self, text: str) -> str:
        return clean(text, self.sheet)

    def cut(self, text: str, width: int) -> str:
        return cut(text, width, self.sheet)

    def draw(self, box: LayerBox) -> None:
        """Draw what enters, the frame with what is inside, and what leaves."""
        for arrow in box.entering:
            self._arrow("│", arrow)
        self._frame(box)
        for arrow in box.leaving:
            self._arrow("▼", arrow)
        if box.leaving:
            self.row += 1

    def _arrow(self, sign: str, arrow: BoxArrow) -> None:
        """Draw a tensor beside the rail, on a second line what has no room on one."""
        name, shapes = self.clean(arrow.name), self.clean(f" {arrow.shapes}")
        origin = self.clean(f" {arrow.origin}") if arrow.origin else ""
        room = self.sheet.width - _FIRST
        if text_width(name + shapes + origin) > room and origin:
            self.canvas.text(self.row, _RAIL, "│")
            self.canvas.text(self.row, _FIRST, self.cut(origin[1:], room))
            self.row, origin = self.row + 1, ""
        if text_width(name + shapes) > room and " = " in shapes:  # the numbers below the symbols
            symbols, _, numbers = shapes.rpartition(" = ")
            self.canvas.text(self.row, _RAIL, "│")
            self.canvas.text(self.row, _FIRST, name, _TITLE)
            rest = self.cut(symbols, room - text_width(name))
            self.canvas.text(self.row, _FIRST + text_width(name), rest)
            self.row, name, shapes = self.row + 1, "", f"= {numbers}"
        self.canvas.text(self.row, _RAIL, sign)
        self.canvas.text(self.row, _FIRST, name, _TITLE)
        rest = self.cut(shapes + origin, room - text_width(name))
        self.canvas.text(self.row, _FIRST + text_width(name), rest)
        self.row += 1

    def _frame(self, box: LayerBox) -> None:
        """Draw the frame, its title, and what is inside."""
        top = self.row
        self.row += 1
        if box.recurrence:
            self._recurrence(box.recurrence, box.notes)
        else:
            for text in (box.rule, *box.notes):
                self._lines(text)
        for side in (0, self.width - 1):
            self.canvas.down(side, top + 1, self.row, _FRAME)
        line = "─" * (self.width - 2)
        self.canvas.text(top, 0, f"┌{line}┐", _FRAME)
        self.canvas.text(self.row, 0, f"└{line}┘", _FRAME)
        self.canvas.text(top, _RAIL, "▼")
        self.canvas.text(self.row, _RAIL, "┼" if box.recurrence else "┬")
        self._title(top, box)
        self.row += 1

    def _title(self, row: int, box: LayerBox) -> None:
        """Write the title and the count of parameters into the frame."""
        room = self.width - _FIRST - 4
        name, label = self.clean(box.name), self.clean(f": {box.label}")
        label = self.cut(label, room - min(text_width(name), _NAME))
        title = self.cut(name, room - text_width(label)) + label
        self.canvas.text(row, _FIRST, f" {title} ", _TITLE)
        count = box.parameters
        if count and text_width(title) + len(count) + 4 <= room:
            self.canvas.text(row, self.width - len(count) - 4, f" {count} ", _FRAME)

    def _lines(self, text: str, ink: Ink = PLAIN) -> None:
        """Write a text beside the rail, on as many lines as it takes."""
        from textwrap import wrap

        room = self.width - _FIRST - 2
        shapes_kept = _SHAPE.sub(_unbroken, self.clean(text))
        for line in wrap(shapes_kept, room):
            self.canvas.text(self.row, _FIRST, self.cut(line.replace(_FIXED, " "), room), ink)
            self.row += 1

    # --- A recurrence, from left to right -------------------------------------------------------

    def _recurrence(self, recurrence: RecurrentDiagram, notes: Sequence[str]) -> None:
        """Draw the lanes one below the other, and the texts below them."""
        unrolled = recurrence.unroll(self.columns.detail.most)
        for number, lane in enumerate(unrolled.lanes):
            top = self.row
            if len(unrolled.lanes) > 1:
                self._lines(lane.name, _FRAME)
            turn = self.row
            self._inputs(lane, from_rail=number == 0)
            self._kernels(lane)
            self._steps(lane)
            # The rail turns to the first inputs, and goes on beside other lanes.
            self.canvas.down(_RAIL, top, self.row if number else turn)
            self._outputs(lane, "├" if number else "┌", all_steps=recurrence.sequences)
        top = self.row
        self._lines(unrolled.merge)
        equations = [self.clean(text) for text in unrolled.equations]
        for line in packed(equations, self.width - _FIRST - 2):
            self.canvas.text(self.row, _FIRST, line)
            self.row += 1
        for text in (unrolled.each_step, *notes):
            self._lines(text, _FRAME)
        self.canvas.down(_RAIL, top, self.row)

    def _inputs(self, lane: Lane, *, from_rail: bool) -> None:
        """Write what enters each step, on a line from the rail to the last one."""
        names = [step and step.input for step in lane.steps]
        self._names(names, lane.steps, "└" if from_rail else "", _INPUT)

    def _kernels(self, lane: Lane) -> None:
        """Write the kernel beside the lines from the inputs to the steps."""
        if not lane.kernel:
            return
        for step, column in zip(lane.steps, self.columns.of(lane.steps), strict=True):
            if step is not None:
                middle = column + self.columns.step // 2
                self.canvas.text(self.row, middle, "│", _INPUT)
                self.canvas.text(self.row, middle + 2, self.clean(lane.kernel), _INPUT)
        self.row += 1

    def _recurrent_kernels(self, lane: Lane, columns: Sequence[int]) -> None:
        """Write the recurrent kernel above the arrows from step to step, where it fits."""
        text, widths = self.clean(lane.recurrent_kernel), self.columns
        for step, column in list(zip(lane.steps, columns, strict=True))[:-1]:
            start, room = column + widths.step, widths.arrow
            if step is None:
                start, room = column + _DOTS, widths.far_arrow
            if text_width(text) <= room:
                start += (room - text_width(text)) // 2
                self.canvas.text(self.row, start, text, _STATES[0])

    def _names(
        self,
        names: Sequence[str | None],
        steps: Sequence[StepBox | None],
        corner: str,
        ink: Ink,
    ) -> None:
        """Write names above or below the boxes of their steps; dots for steps left out."""
        texts = []
        for name, step, column in zip(names, steps, self.columns.of(steps), strict=True):
            if step is None:
                dots = self.clean("…")
                texts.append((column + (_DOTS - len(dots)) // 2, dots, PLAIN))
            elif name:
                text = self.clean(name)
                start = column + self.columns.step // 2 - text_width(text) // 2
                texts.append((max(_FIRST, start), text, ink))
        if corner:
            self.canvas.text(self.row, _RAIL, corner)
            self.canvas.across(self.row, _RAIL + 1, texts[-1][0])
        for column, text, text_ink in texts:
            self.canvas.text(self.row, column - 1, f" {text} ", text_ink)
        self.row += 1

    def _steps(self, lane: Lane) -> None:
        """Draw the boxes of the steps, and the states that go from one to the next."""
        columns, top, height = self.columns.of(lane.steps), self.row, len(lane.states) + 2
        width = self.columns.step
        for step, column in zip(lane.steps, columns, strict=True):
            if step is None:
                continue
            text, middle = self.clean(self.columns.detail.step_text(step)), column + width // 2
            self.canvas.box(top, column, width, height)
            self.canvas.text(top, middle, "▼", _INPUT)
            start = column + 1 + (width - 2 - text_width(text)) // 2
            self.canvas.text(top + 1, start, text, _TITLE)
            if step.output:
                self.canvas.text(top + height - 1, middle, "┬", _STATES[0])
        self._recurrent_kernels(lane, columns)
        for number, state in enumerate(lane.states):
            self.row = top + 1 + number
            ink = _STATES[number % len(_STATES)]
            self._state(lane, state, columns, ink)
            self._initial(lane, state.initial, columns, ink)
        self.row = top + height

    def _state(self, lane: Lane, state: StateArrows, columns: Sequence[int], ink: Ink) -> None:
        """Draw the arrows of a state between the boxes."""
        detail, widths = self.columns.detail, self.columns
        for step, column, label in zip(lane.steps, columns, state.labels, strict=False):
            if step is None:
                self.canvas.text(self.row, column, f"{self.clean('…'):^{_DOTS}}")
                start, stop = column + _DOTS, column + _DOTS + widths.far_arrow
                labelled = detail.far_labelled
            else:
                start, stop = column + widths.step, column + widths.step + widths.arrow
                labelled = detail.labelled
            self._state_arrow(start, stop, label if labelled else "", lane, ink)

    def _state_arrow(self, start: int, stop: int, label: str, lane: Lane, ink: Ink) -> None:
        """Draw an arrow from ``start`` to before ``stop``, or back, with its label on it."""
        self.canvas.across(self.row, start, stop, ink)
        text = self.clean(label)
        room = stop - start - 2
        column = start + (2 if lane.reverse else 1) + max(0, room - text_width(text)) // 2
        self.canvas.text(self.row, column, text, ink)
        head = start if lane.reverse else stop - 1
        self.canvas.text(self.row, head, "◄" if lane.reverse else "►", ink)

    def _initial(self, lane: Lane, initial: str, columns: Sequence[int], ink: Ink) -> None:
        """Draw what a state starts from, on the side where the lane begins."""
        text = self.cut(self.clean(initial), self.columns.detail.initial)
        space = 0 if self.columns.detail.tight else 1
        if lane.reverse:
            column = columns[-1] + self.columns.step
            self.canvas.text(self.row, column, "◄─", ink)
            self.canvas.text(self.row, column + 2 + space, text, ink)
        else:
            self.canvas.text(self.row, columns[0] - 2, "─►", ink)
            self.canvas.text(self.row, columns[0] - 2 - space - text_width(text), text, ink)

    def _outputs(self, lane: Lane, corner: str, *, all_steps: bool) -> None:
        """Draw what leaves: every step's output, or the last one with the lane's remark."""
        if all_steps:
            names = [step and step.output for step in lane.steps]
            self._names(names, lane.steps, corner, _STATES[0])
            return
        for step, column in zip(lane.steps, self.columns.of(lane.steps), strict=True):
            if step and step.output:
                text = self.clean(step.output)
                start = column + self.columns.step // 2 - text_width(text) // 2
                self.canvas.text(self.row, _RAIL, corner)
                self.canvas.across(self.row, _RAIL + 1, start - 1)
                self.canvas.text(self.row, start, text, _STATES[0])
                self._remark(self.clean(lane.remark), start, start + text_width(text))
                self.row += 1

    def _remark(self, text: str, start: int, stop: int) -> None:
        """Write a text beside the output from ``start`` to ``stop``, or below it."""
        if start - _FIRST >= text_width(text) + 4:
            self.canvas.text(self.row, start - text_width(text) - 4, f" {text} ", _FRAME)
        elif self.width - stop >= text_width(text) + 4:
            self.canvas.text(self.row, stop + 2, text, _FRAME)
        else:
            self.row += 1
            self.canvas.text(self.row, _RAIL, "│")
            self.canvas.text(self.row, _FIRST, self.cut(text, self.width - _FIRST - 2), _FRAME)


def _unbroken(shape: re.Match[str]) -> str:
    """Return a shape whose spaces do not break a line."""
    return shape[0].replace(" ", _FIXED)
