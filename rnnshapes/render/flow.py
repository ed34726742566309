"""The network as it flows, drawn with characters: a box for each layer, recurrences unrolled."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from rnnshapes.algebra.dims import Dim, shape_text
from rnnshapes.render.canvas import Canvas, clean, cut, length
from rnnshapes.render.document import PLAIN, Ink, Picture, Sheet
from rnnshapes.render.figures import whole
from rnnshapes.render.palette import kind
from rnnshapes.render.unrolled import Lane, Moment, Stage, Tensor, at

#: The column in which everything flows down, and the first one right of it.
_RAIL, _FIRST = 2, 4
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


class _Style(NamedTuple):
    """How roomy: how many steps are drawn, and whether arrows say what they hand on.

    ``pad`` is the space around a step's text, ``far`` says whether the arrow behind the steps
    that are left out has a name, too, ``start`` how much of the name of a given state is shown.
    """

    most: int
    pad: int = 0
    tight: bool = False
    named: bool = True
    far: bool = True
    start: int = 12

    def step_text(self, step: Dim) -> str:
        return f"t={step}" if self.tight else f"t = {step}"


#: From the widest to the narrowest; the first that fits is taken.
_STYLES = (
    *(_Style(most, pad) for most in range(10, 2, -1) for pad in (1, 0)),
    *(_Style(most, pad, far=False) for most in (4, 3) for pad in (1, 0)),
    *(_Style(most, tight=True, far=False) for most in (3, 2)),
    *(_Style(most, tight=True, named=False, far=False) for most in (3, 2)),
    _Style(2, tight=True, named=False, far=False, start=3),
)


class _Plan(NamedTuple):
    """Measures that all recurrences share, so that their steps stand one below the other.

    ``box`` is how wide a step is, ``gap`` the arrow between two, ``far`` the one behind what is
    left out; ``start`` and ``finish`` are the margins where states come from.
    """

    style: _Style
    box: int = 0
    gap: int = 0
    far: int = 0
    start: int = 0
    finish: int = 0

    def columns(self, moments: Sequence[Moment | None]) -> list[int]:
        """Where the box of each moment begins; for ``None``, where the dots do."""
        found, column = [], _FIRST + self.start
        for moment in moments:
            found.append(column)
            column += 3 + self.far if moment is None else self.box + self.gap
        return found

    def width(self, stage: Stage) -> int:
        moments = stage.shown(self.style.most)
        return self.columns(moments)[-1] + self.box + self.finish + 2


def draw(stages: Sequence[Stage], sheet: Sheet) -> Picture:
    """All stages from top to bottom; empty where the sheet is too narrow for them."""
    plan = _plan([stage for stage in stages if stage.lanes], sheet)
    if not stages or plan is None or sheet.width < _NARROWEST:
        return ()
    sketch = _Sketch(sheet, plan, stages)
    for before, stage in pairwise((None, *stages)):
        assert stage is not None
        sketch.enter(stage, before)
        sketch.stage(stage)
    sketch.leave(stages[-1])
    return sketch.canvas.picture()


def _plan(recurrent: Sequence[Stage], sheet: Sheet) -> _Plan | None:
    """The roomiest plan in which every recurrence fits."""
    for style in _STYLES:
        plan = _measured(style, recurrent, sheet)
        if all(plan.width(stage) <= sheet.width for stage in recurrent):
            return plan
    return None


def _measured(style: _Style, recurrent: Sequence[Stage], sheet: Sheet) -> _Plan:
    def widest(texts: Iterable[str]) -> int:
        return max((length(clean(text, sheet)) for text in texts), default=0)

    moments = [(stage, m) for stage in recurrent for m in stage.shown(style.most) if m]
    handed = [
        (m.step, at(state.name, m.step))
        for stage, m in moments
        for lane in stage.lanes
        for state in lane.states
    ]
    near = widest(text for step, text in handed if str(step).isdigit())
    bare = 2 if style.tight else 3
    start = 2 if style.tight else 3
    lanes = [lane for stage in recurrent for lane in stage.lanes]

    def margin(*, reverse: bool) -> int:
        starts = [s for lane in lanes if lane.reverse == reverse for s in lane.starts]
        return min(widest(starts), style.start) + start if starts else 0

    return _Plan(
        style,
        box=widest(style.step_text(m.step) for _, m in moments) + 2 + 2 * style.pad,
        gap=near + 3 if style.named else bare,
        far=widest(text for _, text in handed) + 3 if style.far else bare,
        start=margin(reverse=False),
        finish=margin(reverse=True),
    )


class _Sketch:
    """The canvas, and the row at which it goes on."""

    def __init__(self, sheet: Sheet, plan: _Plan, stages: Sequence[Stage]) -> None:
        self.sheet, self.plan = sheet, plan
        self.canvas = Canvas(sheet.width, sheet)
        self.row = 0
        made = {stage.name for stage in stages}
        taps = [tensor.maker for stage in stages for tensor in (*stage.sources, *stage.given)]
        others = set(taps) - made
        #: Makers that need no mention.
        self.known = others if len(others) == 1 else set()
        wanted = [plan.width(stage) for stage in stages if stage.lanes]
        wanted += [length(self.say(text)) + 10 for s in stages for text in (_title(s), s.rule)]
        wanted += [length(self.say(_title(s))) + len(_count(s)) + 12 for s in stages]
        self.width = min(max(wanted), sheet.width)

    def say(self, text: str) -> str:
        return clean(text, self.sheet)

    def cut(self, text: str, width: int) -> str:
        return cut(text, width, self.sheet)

    def enter(self, stage: Stage, before: Stage | None) -> None:
        """What goes in: directly from the stage before, or from where it says."""
        needed = (*stage.sources, *stage.given)
        if before is not None and needed == before.outputs and len(needed) == 1:
            self._tensor("│", before.outputs[0])
            return
        if before is not None:
            self.leave(before)
            self.row += 1
        for source in needed:
            self._tensor("│", source, "" if source.maker in self.known else source.maker)

    def leave(self, stage: Stage) -> None:
        """What goes out, to where others say that they have it from, or as the answer."""
        for output in stage.outputs:
            self._tensor("▼", output)

    def _tensor(self, sign: str, tensor: Tensor, maker: str = "") -> None:
        name, shapes = self.say(tensor.name), self.say(f" {_shapes(tensor)}")
        where = self.say(f" from {maker}") if maker else ""
        room = self.sheet.width - _FIRST
        if length(name + shapes + where) > room and where:
            self.canvas.text(self.row, _RAIL, "│")
            self.canvas.text(self.row, _FIRST, self.cut(where[1:], room))
            self.row, where = self.row + 1, ""
        self.canvas.text(self.row, _RAIL, sign)
        self.canvas.text(self.row, _FIRST, name, _TITLE)
        rest = self.cut(shapes + where, room - length(name))
        self.canvas.text(self.row, _FIRST + length(name), rest)
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
        if self.row == top + 1:
            self._lines(stage.kind)
        for side in (0, self.width - 1):
            self.canvas.down(side, top + 1, self.row, _FRAME)
        middle = "─" * (self.width - 2)
        self.canvas.text(top, 0, f"┌{middle}┐", _FRAME)
        self.canvas.text(self.row, 0, f"└{middle}┘", _FRAME)
        if stage.sources:
            self.canvas.text(top, _RAIL, "▼")
        self.canvas.text(self.row, _RAIL, "┼" if stage.lanes else "┬")
        self._head(top, stage)
        self.row += 1

    def _head(self, top: int, stage: Stage) -> None:
        room = self.width - _FIRST - 4
        name, label = self.say(stage.name), self.say(f": {stage.label}")
        label = self.cut(label, room - min(length(name), _NAME))
        title = self.cut(name, room - length(label)) + label
        self.canvas.text(top, _FIRST, f" {title} ", _TITLE)
        count = _count(stage)
        if count and length(title) + len(count) + 4 <= room:
            self.canvas.text(top, self.width - len(count) - 4, f" {count} ", _FRAME)

    def _lines(self, text: str, ink: Ink = PLAIN) -> None:
        """A text on as many lines as it takes, beside the rail if that is there."""
        from textwrap import wrap

        room = self.width - _FIRST - 2
        whole_shapes = _SHAPE.sub(_unbroken, self.say(text))
        for line in wrap(whole_shapes, room):
            self.canvas.text(self.row, _FIRST, self.cut(line.replace(_FIXED, " "), room), ink)
            self.row += 1

    def _recurrence(self, stage: Stage) -> None:
        moments = stage.shown(self.plan.style.most)
        ends = []
        for number, lane in enumerate(stage.lanes):
            if len(stage.lanes) > 1:
                self.canvas.down(_RAIL, self.row, self.row + 1)
                self._lines(lane.name, _FRAME)
            self._inputs(stage, moments, lined=number == 0)
            if number:
                self.canvas.down(_RAIL, self.row - 1, self.row + len(lane.states) + 2)
            self._lane(lane, stage, moments)
            self._outputs(lane, stage, moments, "├" if number else "┌")
            last = moments[lane.end]
            assert last is not None
            ends.append(f"{lane.output}_t" if stage.sequences else at(lane.output, last.step))
        start = self.row
        if stage.joined:
            suffix = "_t" if stage.sequences else ""
            self._lines(f"{stage.outputs[0].name}{suffix} = {stage.joined.format(*ends)}")
        self._lines(_each_step(stage), _FRAME)
        for note in stage.notes:
            self._lines(note, _FRAME)
        self.canvas.down(_RAIL, start, self.row)

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
                placed.append((max(_FIRST, middle - length(text) // 2), text, ink))
        if corner:
            self.canvas.text(self.row, _RAIL, corner)
            self.canvas.across(self.row, _RAIL + 1, placed[-1][0])
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
        self.canvas.text(self.row, _RAIL, corner)
        self.canvas.across(self.row, _RAIL + 1, column - 1)
        self.canvas.text(self.row, column, text, _STATES[0])
        self._alone(lane, column, column + length(text))
        self.row += 1

    def _alone(self, lane: Lane, start: int, stop: int) -> None:
        """Say that nothing else goes on, where there is room for it."""
        said = self.say(f"only the last {lane.output} goes on")
        if start - _FIRST >= length(said) + 4:
            self.canvas.text(self.row, start - length(said) - 4, f" {said} ", _FRAME)
        elif self.width - stop >= length(said) + 4:
            self.canvas.text(self.row, stop + 2, said, _FRAME)
        else:
            self.row += 1
            self.canvas.text(self.row, _RAIL, "│")
            self.canvas.text(self.row, _FIRST, self.cut(said, self.width - _FIRST - 2), _FRAME)


def _unbroken(shape: re.Match[str]) -> str:
    return shape[0].replace(" ", _FIXED)


def _title(stage: Stage) -> str:
    return f"{stage.name}: {stage.label}"


def _count(stage: Stage) -> str:
    if stage.params == 0:
        return ""
    return "1 parameter" if stage.params == 1 else f"{whole(stage.params)} parameters"


def _each_step(stage: Stage) -> str:
    """``each step reads x_t (N, D) = (1, 3) and hands on h_t, c_t (N, M) = (1, 5)``."""
    t = f"_{{{stage.steps + -1}-t}}" if stage.turned else "_t"
    read = f"{stage.step.name}{t} {_shapes(stage.step)}"
    groups: dict[str, list[str]] = {}
    for state in _states(stage):
        groups.setdefault(_shapes(state), []).append(f"{state.name}_t")
    handed = "; ".join(f"{', '.join(names)} {shapes}" for shapes, names in groups.items())
    return f"each step reads {read} and hands on {handed}"


def _states(stage: Stage) -> Iterator[Tensor]:
    for lane in stage.lanes:
        yield from lane.states


def _shapes(tensor: Tensor) -> str:
    return f"{shape_text(tensor.dims)} = {shape_text(tensor.shape)}"
