"""Networks and their weights drawn by Matplotlib: closed boxes, arrows that meet, one scale."""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text

import rnnshapes
from rnnshapes.render import palette, plots
from rnnshapes.render.flow_layout import BoxArrow, FlowLayout, LayerBox, layout
from rnnshapes.render.plots import flow, style
from rnnshapes.render.plots.diagram import Diagram
from tests.helpers.cells import NAMES
from tests.helpers.models import MODELS
from tests.helpers.plots import flow_frames, saved, words

SIZES: dict[str, Any] = {"N": 2, "T": 30, "D": 3, "M": 4, "K": 5}


class Arrow(NamedTuple):
    """Where an arrow begins and where its head is."""

    x: float
    y: float
    head_x: float
    head_y: float


class Box(NamedTuple):
    """Where the sides of a box are; y grows downwards."""

    left: float
    right: float
    top: float
    bottom: float


def arrows(figure: Figure) -> list[Arrow]:
    """All arrows."""
    found = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    ends = [(*start, *head) for start, head in (patch._posA_posB for patch in found)]
    return [Arrow(*(round(place, 6) for place in places)) for places in ends]


def steps(figure: Figure) -> list[Box]:
    """The boxes of time steps: those inside a frame."""
    patches = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    widest = max(p.get_width() for p in patches)
    inner = [p for p in patches if p.get_width() < widest]
    sides = [(p.get_x(), p.get_x() + p.get_width()) for p in inner]
    ends = [(p.get_y(), p.get_y() + p.get_height()) for p in inner]
    return [
        Box(*(round(place, 6) for place in places))
        for places in ((*x, *y) for x, y in zip(sides, ends, strict=True))
    ]


def rows_of_texts(figure: Figure) -> list[list[str]]:
    """The texts at the same height, from left to right, from top to bottom."""
    texts = sorted(
        (round(text.get_position()[1], 4), text.get_position()[0], text.get_text())
        for text in figure.axes[0].texts
    )
    return [[text for *_, text in group] for _, group in groupby(texts, key=lambda one: one[0])]


# --- Data flow ----------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "forward": {},
    "backward": {"go_backwards": True, "return_sequences": True},
    "both": {"bidirectional": True},
    "few steps": {"T": 2, "bidirectional": True},
    "stack": {"M": [4, 3]},
}


@pytest.mark.parametrize("cell", NAMES)
@pytest.mark.parametrize("way", WAYS)
def test_steps_are_boxes_that_arrows_meet(cell: str, way: str) -> None:
    """What goes in and out, and states from one step to the next, in the order of the lane."""
    result = rnnshapes.inspect(cell=cell, **{**SIZES, **WAYS[way]})
    figure = plots.figure(result)
    boxes, rows = steps(figure), rows_of_texts(figure)
    edges = {side for box in boxes for side in (box.left, box.right)}
    dots = [t.get_position()[0] for t in figure.axes[0].texts if t.get_text() == "…"]
    across = [arrow for arrow in arrows(figure) if arrow.y == arrow.head_y]
    for arrow in across:
        at_dots = any(abs(arrow.head_x - x) < 0.2 for x in dots)
        assert arrow.head_x in edges or at_dots
        assert any(box.top < arrow.y < box.bottom for box in boxes)
    drawn = 0
    for box in layout(result).boxes:
        if not box.recurrence:
            continue
        unrolled = box.recurrence.unroll(5)
        written = " ".join(words(figure))
        assert unrolled.merge in written
        assert unrolled.each_step in written
        for lane in unrolled.lanes:
            named = [step for step in lane.steps if step]
            assert [step.input for step in named] in rows
            assert [f"t = {step.step}" for step in named] in [
                [text for text in row if text.startswith("t = ")] for row in rows
            ]
            outputs = [step.output for step in named if step.output]
            assert outputs in [[text for text in row if text != lane.remark] for row in rows]
            for state in lane.states:
                assert any(set(state.labels) <= set(row) for row in rows)
            lane_boxes = boxes[drawn : drawn + len(named)]
            drawn += len(named)
            assert_lane(lane, lane_boxes, across)
    assert drawn == len(boxes)


def assert_lane(lane: Any, boxes: list[Box], across: list[Arrow]) -> None:
    """Arrows of a lane point in its direction: one between neighbours, one from its beginning."""
    top = boxes[0].top
    own = [arrow for arrow in across if top < arrow.y < boxes[0].bottom]
    assert all((arrow.head_x < arrow.x) == lane.reverse for arrow in own)
    assert len(own) == len(lane.states) * len(lane.steps)
    first = boxes[-1].right if lane.reverse else boxes[0].left
    begins = [arrow for arrow in own if arrow.head_x == first]
    assert len(begins) == len(lane.states)


@pytest.mark.parametrize("cell", NAMES)
def test_inputs_and_outputs_meet_their_steps(cell: str) -> None:
    for sequences in (True, False):
        result = rnnshapes.inspect(cell=cell, return_sequences=sequences, **SIZES)
        figure = plots.figure(result)
        boxes = steps(figure)
        upright = [arrow for arrow in arrows(figure) if arrow.x == arrow.head_x]
        into = [a for a in upright if any(a.head_y == b.top for b in boxes)]
        out = [a for a in upright if any(a.y == b.bottom for b in boxes)]
        assert len(into) == len(boxes) == 5
        assert len(out) == (5 if sequences else 1)
        for arrow in into + out:
            assert any(abs(arrow.x - (box.left + box.right) / 2) < 1e-5 for box in boxes)
        if not sequences:
            assert abs(out[0].x - (boxes[-1].left + boxes[-1].right) / 2) < 1e-5


def test_the_flow_shows_every_shape() -> None:
    result = rnnshapes.inspect(cell="gru", bidirectional=True, **SIZES)
    found = words(plots.figure(result))
    for box in layout(result).boxes:
        assert {box.title, box.parameters} <= set(found)
        for arrow in (*box.entering, *box.leaving):
            assert {arrow.name, arrow.shapes} <= set(found)


def handmade(count: int, name: str) -> FlowLayout:
    """Two boxes; so many states go from the first to the second, beside what comes and goes."""
    states = tuple(BoxArrow(f"h[{n}]", "(N, M) = (2, 3)") for n in range(count))
    given = tuple(arrow._replace(origin=f"from {name}") for arrow in states)
    one = BoxArrow("x", "(N, T, D) = (2, 9, 3)")
    boxes = (
        LayerBox(name, "RNN", (), (), 7, rule="y = x", entering=(one,), leaving=(one, *states)),
        LayerBox("b", "RNN", (), (), 0, rule="z = y", entering=(one, *given), leaving=(one,)),
    )
    return FlowLayout(boxes)


def drawn(boxes: FlowLayout) -> Figure:
    """A figure of some boxes."""
    with style.fixed_settings():
        diagram = Diagram()
        flow.draw(boxes, diagram)
        return diagram.figure()


@pytest.mark.parametrize("count", [1, 2, 5, 30])
@pytest.mark.parametrize("name", ["a", "n" * 200])
def test_arrows_end_at_their_box(count: int, name: str) -> None:
    """No arrow ends in empty space."""
    figure = drawn(handmade(count, name))
    (top, out), (into, end) = (
        (round(start, 6), round(stop, 6)) for start, stop in flow_frames(figure)
    )
    found = arrows(figure)
    leaving = [arrow for arrow in found if arrow.y == out]
    entering = [arrow for arrow in found if arrow.head_y == into]
    assert len(leaving) == len(entering) == min(1 + count, len(leaving))
    assert len({arrow.x for arrow in leaving}) == len({a.x for a in entering}) == len(leaving)
    assert all(arrow.y in (out, end) or arrow.head_y in (top, into) for arrow in found)
    assert len(found) == 2 * len(leaving) + 2
    assert max(a.head_y for a in leaving) + 0.1 < min(a.y for a in entering)
    rest = 1 + count - len(leaving)
    notes = [text for text in words(figure) if text.startswith(f"and {rest} more")]
    assert len(notes) == (2 if rest else 0)


@pytest.mark.parametrize("count", [1, 5, 30])
@pytest.mark.parametrize("name", ["a", "n" * 200])
def test_texts_stay_on_the_picture(count: int, name: str) -> None:
    """No arrow crosses a text."""
    figure = drawn(handmade(count, name))
    figure.draw_without_rendering()
    back = figure.axes[0].transData.inverted()
    for text in figure.axes[0].texts:
        (left, low), (right, high) = back.transform(text.get_window_extent())
        assert 0 < left <= right < style.WIDTH, text
        for arrow in arrows(figure):
            if left < arrow.x < right and arrow.x == arrow.head_x:
                assert not (arrow.y < low and high < arrow.head_y), text


def test_boxes_that_are_not_drawn_are_counted() -> None:
    figure = plots.figure(rnnshapes.inspect(M=[3] * 40, cell="gru"))
    frames = len(flow_frames(figure))
    assert frames < 41
    assert any(text.startswith(f"and {41 - frames} more") for text in words(figure))


@pytest.mark.parametrize(
    "sizes",
    [
        {"M": 10**9},
        {"T": 1, "M": 1, "D": 1, "K": 1},
        {"T": 2, "cell": "lstm", "M": [300, 2], "K": 5000},
    ],
)
def test_networks_of_any_size_have_a_picture(sizes: dict[str, Any]) -> None:
    """Nothing of their size is allocated."""
    assert len(saved(rnnshapes.inspect(**sizes), "png")) < 2_000_000


# --- Weights ------------------------------------------------------------------------------------


def rectangles(figure: Figure, colour: str) -> list[tuple[float, float]]:
    """How wide and high those of this colour are, from left to right, from top to bottom."""
    found = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    of_colour = [p for p in found if to_hex(p.get_facecolor()).upper() == colour]
    return [(p.get_width(), p.get_height()) for p in of_colour]


def test_weights_are_drawn_to_one_scale() -> None:
    """(D, 4M) is seen: four gates of M columns each, in four colours, and D rows."""
    result = rnnshapes.inspect(cell="lstm", N=2, T=7, D=3, M=6, K=2)
    figure = plots.figure(result)
    scale = set()
    for number, gate in enumerate("ifco"):
        kernel, recurrent, bias = rectangles(figure, palette.category(number))
        for (width, height), rows in ((kernel, 3), (recurrent, 6), (bias, 1)):
            scale |= {round(width / 6, 9), round(height / rows, 9)}
        letters = [text for text in figure.findobj(Text) if text.get_text() == gate]
        assert len(letters) == 3
        for letter in letters:  # no grid behind it
            ground = to_hex(letter.get_bbox_patch().get_facecolor())
            assert ground.upper() == palette.category(number)
    assert len(scale) == 1
    for text in ("kernel Wx", "(D, 4M) = (3, 24)", "recurrent_kernel Wh", "(4M,) = (24,)"):
        assert text in words(figure)


@pytest.mark.parametrize("size", [40, 400])
def test_too_large_weights_are_cut_at_a_gap(size: int) -> None:
    """A Dense layer of many outputs: what is shown of it is to the scale of the recurrence."""
    figure = plots.figure(rnnshapes.inspect(M=6, K=size))
    gaps = [width for width, _ in rectangles(figure, "#FFFFFF") if width < 0.1]
    cut = [text for text in words(figure) if text.endswith(", cut")]
    assert len(gaps) == len(cut) == (2 if size == 400 else 0)
    assert any("gap" in text for text in words(figure)) == (size == 400)
    colours = {to_hex(p.get_facecolor()).upper() for p in figure.axes[0].patches}
    plain = [rectangles(figure, colour) for colour in colours & set(palette.CATEGORIES)]
    ((Wx, _), (_, Wh), _, (_, W0), (_, b0)) = next(found for found in plain if len(found) == 5)
    assert (Wx, W0, b0) == pytest.approx((Wh, Wh, Wh / 6))


def test_weights_that_are_too_high_are_cut() -> None:
    """The gap goes across all columns."""
    figure = plots.figure(rnnshapes.inspect(MODELS["flattened"]()))
    cut = [text for text in words(figure) if text.endswith(", cut")]
    assert [text.split(" = ")[1] for text in cut] == ["(45, 2), cut"]
    ((width, height),) = [one for one in rectangles(figure, "#FFFFFF") if one[1] < 0.1]
    assert width > height


def test_columns_are_numbered_where_gates_begin() -> None:
    """There are as many numbers as have room."""
    figure = plots.figure(rnnshapes.inspect(cell="lstm", D=3, M=40))
    rows = [row for row in rows_of_texts(figure) if set(row) >= {"0", "160"}]
    assert rows
    for row in rows:
        assert [text for text in row if text in ("40", "80", "120")] == ["40", "80", "120"] * (
            row.count("160")
        )


def test_rows_of_a_bias_have_names() -> None:
    found = words(plots.figure(rnnshapes.inspect(cell="gru", N=2, T=3)))
    assert {"input", "recurrent"} <= set(found)
