"""The flow picture drawn by Matplotlib: a box for each layer, recurrences unrolled over time.

A chain of layers is a column of boxes. Any other graph stands in rows by depth, in which a tensor
that passes a row has a slot of its own: no arrow crosses a box.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from rnnshapes.render import palette
from rnnshapes.render.flow_layout import (
    BoxArrow,
    FlowLayout,
    FlowTensor,
    Lane,
    LayerBox,
    RecurrentDiagram,
    StateArrows,
    StepBox,
)
from rnnshapes.render.plots.diagram import LINE, Diagram, shortened, text_width
from rnnshapes.render.plots.style import DIM

#: So many boxes are drawn, and so many recurrences unrolled.
MOST_BOXES, _MOST_UNROLLED = 24, 6
#: So many steps of a recurrence are drawn, and inches for each of them.
_STEPS, _PITCH = 5, 0.85
#: Where everything flows down, how much of an initial state's name fits, where texts begin.
_RAIL, _INITIAL, _TEXT = 0.25, 10, 0.12
#: What comes in at each step, and each state.
_INPUT, _STATES = (
    palette.category(2),
    (palette.category(0), palette.category(5), palette.category(3)),
)
_STEP_FILL, _FRAME_FILL = "#EEF4FA", "#FBFBFB"
#: Inches: an arrow between boxes, a step with one state, each more state.
_DOWN, _STEP_HEIGHT, _STATE_HEIGHT = 0.36, 0.34, 0.32
#: Inches: beside the steps of a lane, above and below them.
_SIDE, _ABOVE = 0.82, 0.4
#: Inches between two rows of a graph, of these for an arrow with its label; what a passing
#: tensor takes, and what lies between two slots.
_BETWEEN, _LABEL, _PASSING, _GAP = 0.72, 0.38, 0.3, 0.25


def is_chain(layout: FlowLayout) -> bool:
    """Return whether one tensor goes from each box to the next."""
    first, *_ = layout.boxes
    return len(first.inputs) == 1 and not any(box.leaving for box in layout.boxes[:-1])


def draw(layout: FlowLayout, diagram: Diagram) -> None:
    """Draw all boxes, the first recurrences unrolled, and write how many boxes are omitted."""
    unrolled = [box.name for box in layout.boxes if box.recurrence][:_MOST_UNROLLED]
    if is_chain(layout):
        for box in layout.boxes:
            _arrows(diagram, box.entering)
            _frame(diagram, box, unrolled=box.name in unrolled)
            _arrows(diagram, box.leaving)
    else:
        _GraphPicture(layout, unrolled, diagram).draw()
    if layout.omitted:
        diagram.lines(f"and {layout.omitted} more: see the tables", color=DIM)


def width_of(layout: FlowLayout) -> int:
    """Return how many boxes stand side by side at the most."""
    depths = sorted(_depths(layout.boxes).values())
    return max(len(list(row)) for _, row in groupby(depths))


def _arrows(diagram: Diagram, arrows: Sequence[BoxArrow]) -> None:
    """Draw an arrow down, with its tensor; those out of the last box beside each other."""
    if not arrows:
        return
    each = (diagram.right - diagram.left - _RAIL) / len(arrows)
    for number, arrow in enumerate(arrows):
        x = diagram.left + _RAIL + number * each
        diagram.arrow((x, diagram.y), (x, diagram.y + _DOWN))
        end = x + each - 0.1
        diagram.named(x + 0.12, diagram.y + 0.45 * _DOWN, arrow.name, arrow.shapes, end)
    diagram.y += _DOWN


def _frame(diagram: Diagram, box: LayerBox, *, unrolled: bool) -> None:
    """Draw the frame between the sides of the diagram, its title, and what is inside."""
    top, left, right = diagram.y, diagram.left + _TEXT, diagram.right - _TEXT
    diagram.y += 0.08
    room = right - left - (text_width(box.parameters, 9) + 0.2 if box.parameters else 0.0)
    title = shortened(box.title, 11.25, room)
    diagram.text(left, diagram.y + LINE / 2, title, fontweight="bold")
    diagram.text(right, diagram.y + LINE / 2, box.parameters, ha="right", color=DIM)
    diagram.y += LINE + 0.02
    if box.recurrence:
        _recurrence(diagram, box.recurrence, unrolled=unrolled)
    else:
        diagram.lines(box.rule, indent=_TEXT, color="black")
    for note in box.notes:
        diagram.lines(note, indent=_TEXT, color=DIM)
    diagram.y += 0.06
    width = diagram.right - diagram.left
    diagram.box(diagram.left, top, width, diagram.y - top, fc=_FRAME_FILL, zorder=1)


# --- A graph, in rows by depth ------------------------------------------------------------------


class _Slot(NamedTuple):
    """A slot in a row: a box, an input of the network, or a tensor that passes."""

    name: str
    box: LayerBox | None = None
    tensor: FlowTensor | None = None

    @property
    def width(self) -> float:
        """Return the width in inches; 0 for a box, which takes what is left."""
        if self.box is not None:
            return 0.0
        return _PASSING if self.tensor is not None else text_width(self.name, 9) + 0.3


def _depths(boxes: Sequence[LayerBox]) -> dict[str, int]:
    """Return the row of each box, by name: that below the last of its inputs."""
    depths: dict[str, int] = {}
    for box in boxes:
        producers = (depths.get(tensor.producer, 0) for tensor in box.inputs)
        depths[box.name] = 1 + max(producers, default=0)
    return depths


class _GraphPicture:
    """Boxes and inputs in rows by depth, and the arrows between them."""

    def __init__(self, layout: FlowLayout, unrolled: Sequence[str], diagram: Diagram) -> None:
        boxes = layout.boxes
        self.boxes, self.diagram, self.unrolled = boxes, diagram, unrolled
        self.depths = _depths(boxes)
        entering = {tensor for box in boxes for tensor in box.inputs}
        every = {tensor for box in boxes for tensor in box.outputs}
        self.outputs = {*layout.outputs, *(every - entering if layout.omitted else ())}
        for box in boxes:
            for tensor in box.inputs:  # what no box returns is an input, right above its first use
                if tensor.producer not in self.depths:
                    uses = [
                        self.depths[user.name]
                        for user in boxes
                        if any(one.producer == tensor.producer for one in user.inputs)
                    ]
                    self.depths[tensor.producer] = min(uses) - 1
        self.rows = self._rows()
        #: Where tensors leave the row above: x and y by producer and name.
        self.starts: dict[tuple[str, str], tuple[float, float]] = {}

    def _rows(self) -> list[list[_Slot]]:
        """Return the slots of each row, ordered like what they are connected to."""
        of_name = {box.name: box for box in self.boxes}
        rows: list[list[_Slot]] = [[] for _ in range(max(self.depths.values()) + 1)]
        for name, depth in self.depths.items():
            rows[depth].append(_Slot(name, of_name.get(name)))
        passing = dict.fromkeys(
            (depth, tensor)
            for box in self.boxes
            for tensor in box.inputs
            for depth in range(self.depths[tensor.producer] + 1, self.depths[box.name])
        )
        for depth, tensor in passing:
            rows[depth].append(_Slot(tensor.name, tensor=tensor))
        for above, row in pairwise(rows):
            _sort_below(row, above)
        for below, row in pairwise(reversed(rows)):
            _sort_above(row, below)
        return rows

    def draw(self) -> None:
        """Draw the rows from top to bottom."""
        for depth, row in enumerate(self.rows):
            if not row:
                continue
            slots = list(self._slots_with_sides(row))
            if depth and self.starts:
                self.diagram.y += _BETWEEN
            top = self.diagram.y
            arrivals = [self._arrivals(*slot) for slot in slots]
            for heads in arrivals:
                for (x, tensor), end in heads:
                    self._arrow(tensor, x, top, end)
            bottoms = [self._draw_slot(*slot, top) for slot in slots]
            self.diagram.y = max(bottoms)
            self._leave(slots, bottoms)

    def _slots_with_sides(self, row: Sequence[_Slot]) -> Iterator[tuple[_Slot, float, float]]:
        """Yield each slot with its sides."""
        left, right = self.diagram.left, self.diagram.right
        boxes = sum(slot.box is not None for slot in row)
        free = right - left - sum(slot.width for slot in row) - _GAP * (len(row) - 1)
        x, each = left, max(free, 0.5) / max(1, boxes)
        for slot in row:
            width = slot.width or each
            yield slot, x, x + width
            x += width + (_GAP if boxes else _GAP + max(0.0, free) / len(row))

    def _arrivals(
        self, slot: _Slot, left: float, right: float
    ) -> list[tuple[tuple[float, FlowTensor], float]]:
        """Return where the tensors of a slot arrive, in the order in which they leave."""
        if slot.tensor is not None:
            return [(((left + right) / 2, slot.tensor), left)]
        tensors = sorted(slot.box.inputs if slot.box else (), key=self._start)
        each = (right - left - _RAIL) / max(1, len(tensors))
        xs = [left + _RAIL + each * number for number in range(len(tensors))]
        return [((x, t), x + each - 0.1) for x, t in zip(xs, tensors, strict=True)]

    def _start(self, tensor: FlowTensor) -> tuple[float, float]:
        return self.starts.get((tensor.producer, tensor.name), (0.0, 0.0))

    def _arrow(self, tensor: FlowTensor, x: float, top: float, end: float) -> None:
        """Draw the way of a tensor from where it leaves to the row below, and its label."""
        start, bend = self._start(tensor), top - _LABEL
        if end < x:  # it passes this row
            self.diagram.line(start, (start[0], top - _BETWEEN), (x, bend), (x, top))
            return
        self.diagram.line(start, (start[0], top - _BETWEEN), (x, bend))
        self.diagram.arrow((x, bend), (x, top))
        self.diagram.named(x + 0.1, top - 0.2, tensor.name, tensor.shapes, end)

    def _draw_slot(self, slot: _Slot, left: float, right: float, top: float) -> float:
        """Draw what is in a slot, and return where it ends."""
        diagram = self.diagram
        if slot.box is None:
            if slot.tensor is not None:
                return top
            name = shortened(slot.name, 9, right - left)
            diagram.box(left, top, right - left, 0.3, fc=_STEP_FILL)
            diagram.text((left + right) / 2, top + 0.15, name, ha="center")
            return top + 0.3
        sides, diagram.left, diagram.right, diagram.y = (
            (diagram.left, diagram.right),
            *(left, right, top),
        )
        _frame(diagram, slot.box, unrolled=slot.name in self.unrolled)
        diagram.left, diagram.right = sides
        return diagram.y

    def _leave(self, slots: Sequence[tuple[_Slot, float, float]], bottoms: Sequence[float]) -> None:
        """Note where tensors leave this row, and draw those that leave the network."""
        leaves = False
        for (slot, left, right), bottom in zip(slots, bottoms, strict=True):
            if slot.tensor is not None:
                middle = (left + right) / 2
                self.diagram.line((middle, bottom), (middle, self.diagram.y))
                self.starts[slot.tensor.producer, slot.tensor.name] = middle, self.diagram.y
                continue
            outputs = slot.box.outputs if slot.box else (self._tensor_of(slot.name),)
            each = (right - left - _RAIL) / len(outputs)
            for number, tensor in enumerate(outputs):
                x = left + _RAIL + each * number
                x = (left + right) / 2 if slot.box is None else x
                self.starts[tensor.producer, tensor.name] = x, bottom
                if tensor in self.outputs:
                    leaves = True
                    self.diagram.arrow((x, bottom), (x, bottom + _DOWN))
                    end = x + each - 0.1
                    y = bottom + 0.45 * _DOWN
                    self.diagram.named(x + 0.1, y, tensor.name, tensor.shapes, end)
        self.diagram.y += _DOWN * leaves

    def _tensor_of(self, name: str) -> FlowTensor:
        """Return the tensor of an input."""
        tensors = (tensor for box in self.boxes for tensor in box.inputs)
        return next(tensor for tensor in tensors if tensor.producer == name)


def _sort_below(row: list[_Slot], above: Sequence[_Slot]) -> None:
    """Order a row like what enters it."""
    index = {key: n for n, slot in enumerate(above) for key in _keys(slot)}
    _sort(row, lambda slot: [index[k] for k in _sources(slot) if k in index])


def _sort_above(row: list[_Slot], below: Sequence[_Slot]) -> None:
    """Order a row like what it enters."""
    targets: dict[str, list[int]] = {}
    for number, slot in enumerate(below):
        for key in _sources(slot):
            targets.setdefault(key, []).append(number)
    _sort(row, lambda slot: [n for key in _keys(slot) for n in targets.get(key, [])])


def _sort(row: list[_Slot], neighbours: Callable[[_Slot], Sequence[int]]) -> None:
    """Order a row by the mean index of its neighbours; without any, a slot stays."""
    slots = {}
    for number, slot in enumerate(row):
        indices = neighbours(slot)
        slots[slot] = sum(indices) / len(indices) if indices else number
    row.sort(key=lambda slot: slots[slot])


def _keys(slot: _Slot) -> tuple[str, ...]:
    """Return what a slot passes down: all of a box, or the tensor that passes."""
    if slot.tensor is not None:
        return (f"{slot.tensor.producer}\0{slot.tensor.name}", slot.tensor.producer)
    return (slot.name,)


def _sources(slot: _Slot) -> tuple[str, ...]:
    """Return the producers of what enters a slot."""
    if slot.tensor is not None:
        return (slot.tensor.producer,)
    return tuple(tensor.producer for tensor in slot.box.inputs) if slot.box else ()


# --- A recurrence, step by step -----------------------------------------------------------------


def _recurrence(diagram: Diagram, recurrence: RecurrentDiagram, *, unrolled: bool) -> None:
    """Draw the lanes one below the other, and the texts below them."""
    fitting = int((diagram.right - diagram.left - 2 * _SIDE) / _PITCH) - 1
    drawn = recurrence.unroll(min(max(2, fitting), _STEPS))
    for lane in drawn.lanes if unrolled and fitting >= 2 else ():
        if len(drawn.lanes) > 1:
            diagram.lines(lane.heading, indent=_TEXT, color=DIM)
        _LanePicture(diagram, lane).draw()
    diagram.lines(drawn.merge, *drawn.equations, indent=_TEXT)
    diagram.lines(drawn.each_step, indent=_TEXT, color=DIM)


class _LanePicture:
    """One direction: the steps that are shown, from left to right."""

    def __init__(self, diagram: Diagram, lane: Lane) -> None:
        self.diagram, self.lane = diagram, lane
        pitch = (diagram.right - diagram.left - 2 * _SIDE) / len(lane.steps)
        longest = max(len(step.step) for step in lane.steps if step)
        self.width = min(max(0.5, text_width("t = " + longest * "9", 9)), 0.6 * pitch)
        start = diagram.left + _SIDE
        self.middles = [start + pitch * (i + 0.5) for i in range(len(lane.steps))]
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
            self._state(state, y, colour, "" if number else self.lane.recurrent_kernel)
            self._initial(state.initial, y, colour)
        self.diagram.y = self.top + self.height + _ABOVE

    def _step(self, x: float, step: StepBox) -> None:
        """Draw the box of a step whose middle is at ``x``, its input above, its output below."""
        diagram, width = self.diagram, self.width
        diagram.text(x, diagram.y + 0.08, step.input, ha="center", color=_INPUT)
        diagram.arrow((x, diagram.y + 0.17), (x, self.top), color=_INPUT)
        diagram.text(x + 0.06, self.top - 0.12, self.lane.kernel, 8, color=_INPUT)
        diagram.box(x - width / 2, self.top, width, self.height, fc=_STEP_FILL)
        diagram.text(x, self.top + self.height / 2, f"t = {step.step}", ha="center")
        if step.output:
            self._output(x, step.output)

    def _output(self, x: float, name: str) -> None:
        """Draw the arrow to an output, and beside its name the remark of the lane."""
        below, colour = self.top + self.height, _STATES[0]
        self.diagram.arrow((x, below), (x, below + 0.18), color=colour)
        self.diagram.text(x, below + 0.27, name, ha="center", color=colour, fontweight="bold")
        if self.lane.remark:
            beside, left = 0.2 + text_width(name) / 2, x > sum(self.middles) / len(self.middles)
            start, side = (x - beside, "right") if left else (x + beside, "left")
            self.diagram.text(start, below + 0.27, self.lane.remark, 8, ha=side, color=DIM)

    def _state(self, state: StateArrows, y: float, colour: str, kernel: str) -> None:
        """Draw the arrows of a state from each step to the next, and what it is multiplied with."""
        edges = [
            (x - half, x + half)
            for x, step in zip(self.middles, self.lane.steps, strict=True)
            for half in (0.14 if step is None else self.width / 2,)
        ]
        for (_, left), (right, _), label in zip(edges, edges[1:], state.labels, strict=False):
            ends = ((right, y), (left, y)) if self.lane.reverse else ((left, y), (right, y))
            self.diagram.arrow(*ends, color=colour)
            middle = (left + right) / 2
            self.diagram.text(middle, y - 0.09, label, 8, ha="center", color=colour)
            self.diagram.text(middle, y + 0.1, kernel, 8, ha="center", color=colour)

    def _initial(self, initial: str, y: float, colour: str) -> None:
        """Draw what a state starts from, on the side where the lane begins."""
        text = initial if len(initial) <= _INITIAL else f"{initial[: _INITIAL - 1]}…"
        edge, away = self.middles[0] - self.width / 2, -1
        if self.lane.reverse:
            edge, away = self.middles[-1] + self.width / 2, 1
        self.diagram.arrow((edge + away * 0.35, y), (edge, y), color=colour)
        side = "left" if self.lane.reverse else "right"
        self.diagram.text(edge + away * 0.42, y, text, 8, ha=side, color=colour)
