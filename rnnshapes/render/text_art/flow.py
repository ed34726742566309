"""The network as it flows, drawn with characters: a box for each layer, recurrences unrolled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from rnnshapes.render.document import PLAIN, Ink, Picture, Sheet
from rnnshapes.render.palette import kind
from rnnshapes.render.text_art.canvas import Canvas, clean, cut, length
from rnnshapes.render.text_art.spacing import FIRST, RAIL, Plan, plan_for
from rnnshapes.render.text_art.unrolled import Lane, Moment, Stage, Tensor, at

#: The narrowest sheet on which boxes with texts can be read.
_NARROWEST = 24
#: How much of a layer's name is shown in any case, before what kind of layer it is.
_NAME = 14
#: Stands for a space at which no line is broken; no text that is shown holds one.
_FIXED = "\0"
_SHAPE = re.compile(r"\([^()]*\)( = \([^()]*\))?")

_FRAME, _TITLE = Ink(meaning="dim"), Ink(meaning="strong")
#: What comes in at each step, and each state: colours that can be read on dark and on light.
_INPUT, _STATES = Ink(kind(2)), (Ink(kind(0)), Ink(kind(5)), Ink(kind(3)))


def draw(stages: Sequence[Stage], sheet: Sheet) -> Picture:
    """All stages from top to bottom; empty where the sheet is too narrow for them."""
    plan = plan_for([stage for stage in stages if stage.lanes], sheet)
    if not stages or plan is None or sheet.width < _NARROWEST:
        return ()
    sketch = _Sketch(sheet, plan, stages)
    for before, stage in pairwise((None, *stages)):
        assert stage is not None
        sketch.enter(stage, before)
        sketch.stage(stage)
    sketch.leave(stages[-1])
    return sketch.canvas.picture()


class _Sketch:
    """The canvas, and the row at which it goes on."""

    def __init__(self, sheet: Sheet, plan: Plan, stages: Sequence[Stage]) -> None:
        self.sheet, self.plan = sheet, plan
        self.canvas = Canvas(sheet.width, sheet)
        self.row = 0
        made = {stage.name for stage in stages}
        taps = [tensor.maker for stage in stages for tensor in stage.inputs]
        others = set(taps) - made
        #: Makers that need no mention.
        self.known = others if len(others) == 1 else set()
        wanted = [plan.width(stage) for stage in stages if stage.lanes]
        wanted += [length(self.say(text)) + 10 for s in stages for text in (s.title, s.rule)]
        wanted += [length(self.say(s.title)) + len(s.parameters) + 12 for s in stages]
        self.width = min(max(wanted), sheet.width)

    def say(self, text: str) -> str:
        return clean(text, self.sheet)

    def cut(self, text: str, width: int) -> str:
        return cut(text, width, self.sheet)

    def enter(self, stage: Stage, before: Stage | None) -> None:
        """What goes in: directly from the stage before, or from where it says."""
        if before is not None and stage.follows(before):
            self._tensor("│", before.output)
            return
        if before is not None:
            self.leave(before)
            self.row += 1
        for source in stage.inputs:
            self._tensor("│", source, "" if source.maker in self.known else source.maker)

    def leave(self, stage: Stage) -> None:
        """What goes out, to where others say that they have it from, or as the answer."""
        for output in stage.outputs:
            self._tensor("▼", output)

    def _tensor(self, sign: str, tensor: Tensor, maker: str = "") -> None:
        name, shapes = self.say(tensor.name), self.say(f" {tensor.shapes}")
        where = self.say(f" from {maker}") if maker else ""
        room = self.sheet.width - FIRST
        if length(name + shapes + where) > room and where:
            self.canvas.text(self.row, RAIL, "│")
            self.canvas.text(self.row, FIRST, self.cut(where[1:], room))
            self.row, where = self.row + 1, ""
        self.canvas.text(self.row, RAIL, sign)
        self.canvas.text(self.row, FIRST, name, _TITLE)
        rest = self.cut(shapes + where, room - length(name))
        self.canvas.text(self.row, FIRST + length(name), rest)
        self.row += 1

    def stage(self, stage: Stage) -> None:
        """The frame, its title, and what is inside."""
        top = self.row
        self.row += 1
        if stage.lanes:
            self._recurrence(stage)
        else:
            for text in (stage.rule, *stage.notes):
                self._lines(text)
        for side in (0, self.width - 1):
            self.canvas.down(side, top + 1, self.row, _FRAME)
        middle = "─" * (self.width - 2)
        self.canvas.text(top, 0, f"┌{middle}┐", _FRAME)
        self.canvas.text(self.row, 0, f"└{middle}┘", _FRAME)
        if stage.sources:
            self.canvas.text(top, RAIL, "▼")
        self.canvas.text(self.row, RAIL, "┼" if stage.lanes else "┬")
        self._head(top, stage)
        self.row += 1

    def _head(self, top: int, stage: Stage) -> None:
        room = self.width - FIRST - 4
        name, label = self.say(stage.name), self.say(f": {stage.label}")
        label = self.cut(label, room - min(length(name), _NAME))
        title = self.cut(name, room - length(label)) + label
        self.canvas.text(top, FIRST, f" {title} ", _TITLE)
        count = stage.parameters
        if count and length(title) + len(count) + 4 <= room:
            self.canvas.text(top, self.width - len(count) - 4, f" {count} ", _FRAME)

    def _lines(self, text: str, ink: Ink = PLAIN) -> None:
        """A text on as many lines as it takes, beside the rail if that is there."""
        from textwrap import wrap

        room = self.width - FIRST - 2
        whole_shapes = _SHAPE.sub(_unbroken, self.say(text))
        for line in wrap(whole_shapes, room):
            self.canvas.text(self.row, FIRST, self.cut(line.replace(_FIXED, " "), room), ink)
            self.row += 1

    def _recurrence(self, stage: Stage) -> None:
        moments = stage.shown(self.plan.style.most)
        ends = []
        for number, lane in enumerate(stage.lanes):
            if len(stage.lanes) > 1:
                self.canvas.down(RAIL, self.row, self.row + 1)
                self._lines(lane.name, _FRAME)
            self._inputs(stage, moments, lined=number == 0)
            if number:
                self.canvas.down(RAIL, self.row - 1, self.row + len(lane.states) + 2)
            self._lane(lane, stage, moments)
            self._outputs(lane, stage, moments, "├" if number else "┌")
            last = moments[lane.end]
            assert last is not None
            ends.append(f"{lane.output}_t" if stage.sequences else at(lane.output, last.step))
        start = self.row
        if stage.joined:
            suffix = "_t" if stage.sequences else ""
            self._lines(f"{stage.output.name}{suffix} = {stage.joined.format(*ends)}")
        self._lines(stage.each_step, _FRAME)
        for note in stage.notes:
            self._lines(note, _FRAME)
        self.canvas.down(RAIL, start, self.row)

    def _inputs(self, stage: Stage, moments: Sequence[Moment | None], *, lined: bool) -> None:
        """The names of what comes in at each step, on a line from the rail to the last."""
        names = [None if m is None else at(stage.step.name, m.read) for m in moments]
        self._names(names, moments, "└" if lined else "", _INPUT)
        self.row += 1

    def _names(
        self, names: Sequence[str | None], moments: Sequence[Moment | None], corner: str, ink: Ink
    ) -> tuple[int, int]:
        """Names above or below the boxes of their steps; where the first begins, the last ends."""
        columns = self.plan.columns(moments)
        placed = []
        for name, moment, column in zip(names, moments, columns, strict=True):
            if moment is None:
                dots = self.say("…")
                placed.append((column + (3 - len(dots)) // 2, dots, PLAIN))
            elif name is not None:
                text = self.say(name)
                middle = column + self.plan.box // 2
                placed.append((max(FIRST, middle - length(text) // 2), text, ink))
        if corner:
            self.canvas.text(self.row, RAIL, corner)
            self.canvas.across(self.row, RAIL + 1, placed[-1][0])
        for column, text, own in placed:
            self.canvas.text(self.row, column - 1, f" {text} ", own)
        last, text, _ = placed[-1]
        return placed[0][0], last + length(text)

    def _lane(self, lane: Lane, stage: Stage, moments: Sequence[Moment | None]) -> None:
        """The boxes of the steps, and what is handed from one to the next."""
        plan, top, height = self.plan, self.row, len(lane.states) + 2
        columns = plan.columns(moments)
        for moment, column in zip(moments, columns, strict=True):
            if moment is None:
                continue
            text, middle = self.say(plan.style.step_text(moment.step)), column + plan.box // 2
            self.canvas.box(top, column, plan.box, height)
            self.canvas.text(top, middle, "▼", _INPUT)
            place = column + 1 + (plan.box - 2 - length(text)) // 2
            self.canvas.text(top + 1, place, text, _TITLE)
            if stage.sequences or moment is moments[lane.end]:
                self.canvas.text(top + height - 1, middle, "┬", _STATES[0])
        for number, state in enumerate(lane.states):
            self.row = top + 1 + number
            ink = _STATES[number % len(_STATES)]
            self._handed(lane, state.name, moments, columns, ink)
            self._start(lane, lane.starts[number], columns, ink)
        self.row = top + height

    def _handed(
        self,
        lane: Lane,
        state: str,
        moments: Sequence[Moment | None],
        columns: Sequence[int],
        ink: Ink,
    ) -> None:
        plan, places = self.plan, list(zip(moments, columns, strict=True))
        for (moment, column), (after, _) in pairwise(places):
            if moment is None:  # what is handed comes from, or goes to, a step that is not drawn
                assert after is not None
                self.canvas.text(self.row, column, f"{self.say('…'):^3}")
                made = after.step if lane.reverse else after.step + -1
                named = plan.style.named and plan.style.far
                start, stop = column + 3, column + 3 + plan.far
            else:
                made = moment.step + 1 if lane.reverse else moment.step
                named = plan.style.named
                start, stop = column + plan.box, column + plan.box + plan.gap
            self._arrow(start, stop, at(state, made) if named else "", lane, ink)

    def _arrow(self, start: int, stop: int, name: str, lane: Lane, ink: Ink) -> None:
        self.canvas.across(self.row, start, stop, ink)
        text = self.say(name)
        room = stop - start - 2
        place = start + (2 if lane.reverse else 1) + max(0, room - length(text)) // 2
        self.canvas.text(self.row, place, text, ink)
        head = start if lane.reverse else stop - 1
        self.canvas.text(self.row, head, "◄" if lane.reverse else "►", ink)

    def _start(self, lane: Lane, start: str, columns: Sequence[int], ink: Ink) -> None:
        """What a state starts from, on the side where the lane begins."""
        text = self.cut(self.say(start), self.plan.style.start)
        space = 0 if self.plan.style.tight else 1
        if lane.reverse:
            column = columns[-1] + self.plan.box
            self.canvas.text(self.row, column, "◄─", ink)
            self.canvas.text(self.row, column + 2 + space, text, ink)
        else:
            self.canvas.text(self.row, columns[0] - 2, "─►", ink)
            self.canvas.text(self.row, columns[0] - 2 - space - length(text), text, ink)

    def _outputs(
        self, lane: Lane, stage: Stage, moments: Sequence[Moment | None], corner: str
    ) -> None:
        """What goes out: every step's output, or that of the last step read alone."""
        end = moments[lane.end]
        names = [
            at(lane.output, m.step) if m and (stage.sequences or m is end) else None
            for m in moments
        ]
        if stage.sequences:
            self._names(names, moments, corner, _STATES[0])
            self.row += 1
            return
        place = len(moments) - 1 if lane.end else 0
        columns = self.plan.columns(moments)
        text = self.say(at(lane.output, end.step) if end else "")
        column = columns[place] + self.plan.box // 2 - length(text) // 2
        self.canvas.text(self.row, RAIL, corner)
        self.canvas.across(self.row, RAIL + 1, column - 1)
        self.canvas.text(self.row, column, text, _STATES[0])
        self._alone(lane, column, column + length(text))
        self.row += 1

    def _alone(self, lane: Lane, start: int, stop: int) -> None:
        """Say that nothing else goes on, where there is room for it."""
        said = self.say(f"only the last {lane.output} goes on")
        if start - FIRST >= length(said) + 4:
            self.canvas.text(self.row, start - length(said) - 4, f" {said} ", _FRAME)
        elif self.width - stop >= length(said) + 4:
            self.canvas.text(self.row, stop + 2, said, _FRAME)
        else:
            self.row += 1
            self.canvas.text(self.row, RAIL, "│")
            self.canvas.text(self.row, FIRST, self.cut(said, self.width - FIRST - 2), _FRAME)


def _unbroken(shape: re.Match[str]) -> str:
    return shape[0].replace(" ", _FIXED)
