"""The network as it flows: a box for each layer, recurrences unrolled over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

from rnnshapes.ops.dims import Dim
from rnnshapes.render import palette
from rnnshapes.render.plots.canvas import DIM, WIDTH
from rnnshapes.render.plots.paper import LINE, MARGIN, Paper, fitted, width_of
from rnnshapes.render.text_art.unrolled import Lane, Moment, Stage, Tensor, at

#: So many stages, tensors into or out of one of them, and steps of a recurrence are drawn.
_STAGES, _TENSORS, _STEPS = 24, 24, 5
#: Where the rest is.
_ELSEWHERE = ", which the tables have"
#: Where everything flows down, how wide a frame is, how long the name of a start may be.
_RAIL, _INNER, _START = MARGIN + 0.25, WIDTH - 2 * MARGIN, 10
#: What comes in at each step, and each state.
_INPUT, _STATES = palette.kind(2), (palette.kind(0), palette.kind(5), palette.kind(3))
_CELL, _FRAME = "#EEF4FA", "#FBFBFB"
#: Inches: an arrow from stage to stage, what is between arrows that do not go on as each other,
#: a cell for one state and for each more.
_DOWN, _APART, _CELL_HIGH, _STATE_HIGH = 0.42, 0.2, 0.36, 0.24


def draw(paper: Paper, stages: Sequence[Stage]) -> None:
    """All stages from top to bottom."""
    made = {stage.name for stage in stages}
    others = {t.maker for stage in stages for t in stage.inputs} - made
    inputs = others if len(others) == 1 else set[str]()
    shown = stages[:_STAGES]
    for before, stage in pairwise((None, *shown)):
        assert stage is not None
        _enter(paper, stage, before, inputs)
        _stage(paper, stage)
    if shown:
        _leave(paper, shown[-1])
    if len(stages) > len(shown):
        paper.lines(f"and {len(stages) - len(shown)} more{_ELSEWHERE}", color=DIM)


def _enter(paper: Paper, stage: Stage, before: Stage | None, inputs: set[str]) -> None:
    """What goes in: from the stage above, or from where it says."""
    needed = stage.inputs
    straight = before is not None and stage.follows(before)
    if before is not None and not straight:
        _leave(paper, before)
        paper.y += _APART
    known = {tensor.maker for tensor in needed} if straight else inputs
    more = ["" if tensor.maker in known else f" from {tensor.maker}" for tensor in needed]
    _arrows(paper, needed, more)


def _leave(paper: Paper, stage: Stage) -> None:
    _arrows(paper, stage.outputs, [""] * len(stage.outputs), leaving=True)


def _arrows(
    paper: Paper, tensors: Sequence[Tensor], more: Sequence[str], *, leaving: bool = False
) -> None:
    """An arrow down for each tensor: beside each other where there is room, or else as stairs."""
    said = [(t.name, t.shapes + where) for t, where in zip(tensors, more, strict=True)]
    wide = [0.6 + width_of(name, 10) + width_of(shapes, 9) for name, shapes in said]
    if len(said) > 1 and _RAIL + sum(wide) > WIDTH - MARGIN:
        _stairs(paper, said, leaving=leaving)
        return
    for x, (name, shapes) in zip(accumulate(wide, initial=_RAIL), said, strict=False):
        paper.arrow((x, paper.y), (x, paper.y + _DOWN))
        paper.named(x + 0.12, paper.y + 0.45 * _DOWN, name, shapes)
    paper.y += _DOWN


def _stairs(paper: Paper, said: Sequence[tuple[str, str]], *, leaving: bool) -> None:
    """A row for each tensor, to the right of its line, which no other line crosses.

    Those into a box begin at their rows, the leftmost first; those out of one end there, the
    rightmost first.
    """
    shown = said[:_TENSORS]
    rest = len(said) - len(shown)
    step, top = min(0.24, 3 / len(shown)), paper.y
    rows = [top + 0.19 + LINE * 1.15 * row for row in range(len(shown) + (rest > 0))]
    paper.y = rows[-1] + 0.23
    places = [_RAIL + step * place for place in range(len(shown))]
    if leaving:
        places.reverse()
    for x, y, (name, shapes) in zip(places, rows, shown, strict=False):
        paper.arrow((x, top if leaving else y - 0.08), (x, y + 0.09 if leaving else paper.y))
        paper.named(x + 0.12, y, name, shapes)
    if rest:
        paper.write(places[-1] + 0.12, rows[-1], f"and {rest} more{_ELSEWHERE}", color=DIM)


def _stage(paper: Paper, stage: Stage) -> None:
    """The frame, its title, and what is inside."""
    top = paper.y
    paper.y += 0.08
    right = WIDTH - MARGIN - 0.12
    title = fitted(stage.title, 10.5, right - width_of(stage.parameters, 10) - MARGIN - 0.4)
    paper.write(MARGIN + 0.12, paper.y + LINE / 2, title, fontweight="bold")
    paper.write(right, paper.y + LINE / 2, stage.parameters, ha="right", color=DIM)
    paper.y += LINE + 0.02
    if stage.lanes:
        _recurrence(paper, stage)
    for said in (stage.rule, *stage.notes) if not stage.lanes else stage.notes:
        paper.lines(said, x=MARGIN + 0.12, color="black" if said == stage.rule else DIM)
    paper.y += 0.06
    paper.box(MARGIN, top, _INNER, paper.y - top, fc=_FRAME, zorder=1)


# --- A recurrence, step by step -----------------------------------------------------------------


def _recurrence(paper: Paper, stage: Stage) -> None:
    moments = stage.shown(_STEPS)
    ends = []
    for lane in stage.lanes:
        if len(stage.lanes) > 1:
            reads = "reads from the end" if lane.reverse else "reads from the start"
            paper.lines(f"{lane.name}, {reads}", x=MARGIN + 0.12, color=DIM)
        _Lane(paper, stage, lane, moments).draw()
        last = moments[lane.end]
        assert last is not None
        ends.append(f"{lane.output}_t" if stage.sequences else at(lane.output, last.step))
    if stage.joined:
        suffix = "_t" if stage.sequences else ""
        said = f"{stage.output.name}{suffix} = {stage.joined.format(*ends)}"
        paper.lines(said, x=MARGIN + 0.12)
    paper.lines(stage.each_step, x=MARGIN + 0.12, color=DIM)


class _Lane:
    """One direction: the cells of the steps that are shown, from left to right."""

    def __init__(
        self, paper: Paper, stage: Stage, lane: Lane, moments: Sequence[Moment | None]
    ) -> None:
        self.paper, self.stage, self.lane, self.moments = paper, stage, lane, moments
        side = 0.95
        self.pitch = (_INNER - 2 * side) / len(moments)
        self.cell = min(0.8, 0.52 * self.pitch)
        self.middle = [MARGIN + side + self.pitch * (i + 0.5) for i in range(len(moments))]
        self.top = paper.y + 0.46
        self.height = _CELL_HIGH + _STATE_HIGH * (len(lane.states) - 1)

    def draw(self) -> None:
        """What comes in, the cells, what they hand on, and what goes out."""
        paper, end = self.paper, self.moments[self.lane.end]
        for x, moment in zip(self.middle, self.moments, strict=True):
            if moment is None:
                paper.write(x, self.top + self.height / 2, "…", 13, ha="center")
                continue
            name = at(self.stage.step.name, moment.read)
            paper.write(x, paper.y + 0.12, name, ha="center", color=_INPUT)
            paper.arrow((x, paper.y + 0.22), (x, self.top), color=_INPUT)
            paper.box(x - self.cell / 2, self.top, self.cell, self.height, fc=_CELL)
            paper.write(x, self.top + self.height / 2, f"t = {moment.step}", ha="center")
            if self.stage.sequences or moment is end:
                self._out(x, moment.step)
        for number, state in enumerate(self.lane.states):
            y = self.top + self.height * (number + 0.5) / len(self.lane.states)
            colour = _STATES[number % len(_STATES)]
            self._handed(state.name, y, colour)
            self._start(self.lane.starts[number], y, colour)
        paper.y = self.top + self.height + 0.46

    def _out(self, x: float, step: Dim) -> None:
        below = self.top + self.height
        self.paper.arrow((x, below), (x, below + 0.22), color=_STATES[0])
        name = at(self.lane.output, step)
        self.paper.write(x, below + 0.32, name, ha="center", color=_STATES[0], fontweight="bold")
        if not self.stage.sequences:
            beside, left = 0.2 + width_of(name) / 2, x > WIDTH / 2
            place = (x - beside, "right") if left else (x + beside, "left")
            said = f"only the last {self.lane.output} goes on"
            self.paper.write(place[0], below + 0.32, said, 8, ha=place[1], color=DIM)

    def _handed(self, state: str, y: float, colour: str) -> None:
        """From each step to the next that is read."""
        places = zip(self.middle, self.moments, strict=True)
        for (x, moment), (other, after) in pairwise(places):
            left = x + (self.cell / 2 if moment is not None else 0.14)
            right = other - (self.cell / 2 if after is not None else 0.14)
            if moment is not None:
                made = moment.step + 1 if self.lane.reverse else moment.step
            else:
                assert after is not None
                made = after.step if self.lane.reverse else after.step + -1
            ends = ((right, y), (left, y)) if self.lane.reverse else ((left, y), (right, y))
            self.paper.arrow(*ends, color=colour)
            middle, name = (left + right) / 2, at(state, made)
            self.paper.write(middle, y - 0.09, name, 8, ha="center", color=colour)

    def _start(self, start: str, y: float, colour: str) -> None:
        edge = self.cell / 2
        start = start if len(start) <= _START else f"{start[: _START - 1]}…"
        if self.lane.reverse:
            x = self.middle[-1] + edge
            self.paper.arrow((x + 0.35, y), (x, y), color=colour)
            self.paper.write(x + 0.42, y, start, 8, color=colour)
        else:
            x = self.middle[0] - edge
            self.paper.arrow((x - 0.35, y), (x, y), color=colour)
            self.paper.write(x - 0.42, y, start, 8, ha="right", color=colour)
