"""The flow picture drawn by Matplotlib: a box for each layer, recurrences unrolled over time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from rnnshapes.render import palette
from rnnshapes.render.flow_layout import (
    BoxArrow,
    FlowLayout,
    Lane,
    LayerBox,
    RecurrentDiagram,
    StateArrows,
    StepBox,
)
from rnnshapes.render.plots.diagram import LINE, MARGIN, Diagram, shortened, text_width
from rnnshapes.render.plots.style import DIM, WIDTH

#: So many boxes are drawn.
MOST_BOXES = 24
#: So many arrows into or out of one of them, and steps of a recurrence are drawn.
_ARROWS, _STEPS = 24, 5
#: Where the rest is.
_ELSEWHERE = ": see the tables"
#: Where everything flows down, how wide a frame is, how much of an initial state's name fits.
_RAIL, _INNER, _INITIAL = MARGIN + 0.25, WIDTH - 2 * MARGIN, 10
#: Where texts inside a frame begin.
_TEXT = MARGIN + 0.12
#: What comes in at each step, and each state.
_INPUT, _STATES = (
    palette.category(2),
    (palette.category(0), palette.category(5), palette.category(3)),
)
_STEP_FILL, _FRAME_FILL = "#EEF4FA", "#FBFBFB"
#: Inches: an arrow between boxes, the space between arrows that do not go on as each other, a
#: step with one state, each more state.
_DOWN, _APART, _STEP_HEIGHT, _STATE_HEIGHT = 0.42, 0.2, 0.36, 0.24
#: Inches: beside the steps of a lane, above and below them.
_SIDE, _ABOVE = 0.95, 0.46


def draw(layout: FlowLayout, diagram: Diagram) -> None:
    """Draw all boxes from top to bottom, and write how many are omitted."""
    for box in layout.boxes:
        _arrows(diagram, box.entering)
        _frame(diagram, box)
        _arrows(diagram, box.leaving, leaving=True)
        if box.leaving and box is not layout.boxes[-1]:
            diagram.y += _APART
    if layout.omitted:
        diagram.lines(f"and {layout.omitted} more{_ELSEWHERE}", color=DIM)


def _arrows(diagram: Diagram, arrows: Sequence[BoxArrow], *, leaving: bool = False) -> None:
    """Draw arrows down: beside each other where there is room, or else as stairs."""
    labels = [(arrow.name, f"{arrow.shapes} {arrow.origin}".rstrip()) for arrow in arrows]
    widths = [0.6 + text_width(name, 10) + text_width(shapes, 9) for name, shapes in labels]
    if len(labels) > 1 and _RAIL + sum(widths) > WIDTH - MARGIN:
        _stairs(diagram, labels, leaving=leaving)
        return
    for x, (name, shapes) in zip(accumulate(widths, initial=_RAIL), labels, strict=False):
        diagram.arrow((x, diagram.y), (x, diagram.y + _DOWN))
        diagram.named(x + 0.12, diagram.y + 0.45 * _DOWN, name, shapes)
    if labels:
        diagram.y += _DOWN


def _stairs(diagram: Diagram, labels: Sequence[tuple[str, str]], *, leaving: bool) -> None:
    """Draw arrows with a row for each label, to the right of its line, which no other crosses.

    Those into a box begin at their rows, the leftmost first; those out of one end there, the
    rightmost first.
    """
    shown = labels[:_ARROWS]
    rest = len(labels) - len(shown)
    step, top = min(0.24, 3 / len(shown)), diagram.y
    rows = [top + 0.19 + LINE * 1.15 * row for row in range(len(shown) + (rest > 0))]
    diagram.y = rows[-1] + 0.23
    columns = [_RAIL + step * number for number in range(len(shown))]
    if leaving:
        columns.reverse()
    for x, y, (name, shapes) in zip(columns, rows, shown, strict=False):
        diagram.arrow((x, top if leaving else y - 0.08), (x, y + 0.09 if leaving else diagram.y))
        diagram.named(x + 0.12, y, name, shapes)
    if rest:
        diagram.text(columns[-1] + 0.12, rows[-1], f"and {rest} more{_ELSEWHERE}", color=DIM)


def _frame(diagram: Diagram, box: LayerBox) -> None:
    """Draw the frame, its title, and what is inside."""
    top = diagram.y
    diagram.y += 0.08
    right = WIDTH - _TEXT
    title = shortened(box.title, 10.5, right - text_width(box.parameters, 10) - MARGIN - 0.4)
    diagram.text(_TEXT, diagram.y + LINE / 2, title, fontweight="bold")
    diagram.text(right, diagram.y + LINE / 2, box.parameters, ha="right", color=DIM)
    diagram.y += LINE + 0.02
    if box.recurrence:
        _recurrence(diagram, box.recurrence)
    else:
        diagram.lines(box.rule, x=_TEXT, color="black")
    for note in box.notes:
        diagram.lines(note, x=_TEXT, color=DIM)
    diagram.y += 0.06
    diagram.box(MARGIN, top, _INNER, diagram.y - top, fc=_FRAME_FILL, zorder=1)


# --- A recurrence, step by step -----------------------------------------------------------------


def _recurrence(diagram: Diagram, recurrence: RecurrentDiagram) -> None:
    """Draw the lanes one below the other, and the texts below them."""
    unrolled = recurrence.unroll(_STEPS)
    for lane in unrolled.lanes:
        if len(unrolled.lanes) > 1:
            diagram.lines(lane.heading, x=_TEXT, color=DIM)
        _LanePicture(diagram, lane).draw()
    if unrolled.merge:
        diagram.lines(unrolled.merge, x=_TEXT)
    diagram.lines(unrolled.each_step, x=_TEXT, color=DIM)


class _LanePicture:
    """One direction: the steps that are shown, from left to right."""

    def __init__(self, diagram: Diagram, lane: Lane) -> None:
        self.diagram, self.lane = diagram, lane
        pitch = (_INNER - 2 * _SIDE) / len(lane.steps)
        self.width = min(0.8, 0.52 * pitch)
        self.middles = [MARGIN + _SIDE + pitch * (i + 0.5) for i in range(len(lane.steps))]
        self.top = diagram.y + _ABOVE
        self.height = _STEP_HEIGHT + _STATE_HEIGHT * (len(lane.states) - 1)

    def draw(self) -> None:
        """Draw the steps with what enters and leaves, and the states between them."""
        for x, step in zip(self.middles, self.lane.steps, strict=True):
            if step is None:
                self.diagram.text(x, self.top + self.height / 2, "…", 13, ha="center")
            else:
                self._step(x, step)
        for number, state in enumerate(self.lane.states):
            y = self.top + self.height * (number + 0.5) / len(self.lane.states)
            colour = _STATES[number % len(_STATES)]
            self._state(state, y, colour)
            self._initial(state.initial, y, colour)
        self.diagram.y = self.top + self.height + _ABOVE

    def _step(self, x: float, step: StepBox) -> None:
        """Draw the box of a step whose middle is at ``x``, its input above, its output below."""
        diagram, width = self.diagram, self.width
        diagram.text(x, diagram.y + 0.12, step.input, ha="center", color=_INPUT)
        diagram.arrow((x, diagram.y + 0.22), (x, self.top), color=_INPUT)
        diagram.box(x - width / 2, self.top, width, self.height, fc=_STEP_FILL)
        diagram.text(x, self.top + self.height / 2, f"t = {step.step}", ha="center")
        if step.output:
            self._output(x, step.output)

    def _output(self, x: float, name: str) -> None:
        """Draw the arrow to an output, and beside its name the remark of the lane."""
        below, colour = self.top + self.height, _STATES[0]
        self.diagram.arrow((x, below), (x, below + 0.22), color=colour)
        self.diagram.text(x, below + 0.32, name, ha="center", color=colour, fontweight="bold")
        if self.lane.remark:
            beside, left = 0.2 + text_width(name) / 2, x > WIDTH / 2
            start, side = (x - beside, "right") if left else (x + beside, "left")
            self.diagram.text(start, below + 0.32, self.lane.remark, 8, ha=side, color=DIM)

    def _state(self, state: StateArrows, y: float, colour: str) -> None:
        """Draw the arrows of a state from each step to the next."""
        edges = [
            (x - half, x + half)
            for x, step in zip(self.middles, self.lane.steps, strict=True)
            for half in (0.14 if step is None else self.width / 2,)
        ]
        for (_, left), (right, _), label in zip(edges, edges[1:], state.labels, strict=False):
            ends = ((right, y), (left, y)) if self.lane.reverse else ((left, y), (right, y))
            self.diagram.arrow(*ends, color=colour)
            self.diagram.text((left + right) / 2, y - 0.09, label, 8, ha="center", color=colour)

    def _initial(self, initial: str, y: float, colour: str) -> None:
        """Draw what a state starts from, on the side where the lane begins."""
        text = initial if len(initial) <= _INITIAL else f"{initial[: _INITIAL - 1]}…"
        edge, away = self.middles[0] - self.width / 2, -1
        if self.lane.reverse:
            edge, away = self.middles[-1] + self.width / 2, 1
        self.diagram.arrow((edge + away * 0.35, y), (edge, y), color=colour)
        side = "left" if self.lane.reverse else "right"
        self.diagram.text(edge + away * 0.42, y, text, 8, ha=side, color=colour)
