"""Networks and their weights drawn by Matplotlib: closed boxes, arrows that meet, one scale."""

from __future__ import annotations

import re
from functools import cache
from itertools import combinations, cycle, groupby, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Annotation, Text

import rnnshapes
from rnnshapes.render import palette, plots
from rnnshapes.render.flow_layout import FlowLayout, layout
from rnnshapes.render.plots import diagram, weights
from tests.helpers.cells import NAMES
from tests.helpers.keras_runs import inspection_of
from tests.helpers.models import MODELS
from tests.helpers.plots import (
    cut_off_texts,
    drawn_texts,
    flow_frames,
    overlapping_texts,
    saved,
    words,
)

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
    found = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    ends = [(*one.xyann, *one.xy) for one in found if one.arrow_patch is not None]
    return [Arrow(*(round(place, 6) for place in places)) for places in ends]


def named_shapes(figure: Figure) -> list[tuple[str, str]]:
    """The name beside each arrow, and the shapes right after it."""
    texts = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    after = [text for text in texts if isinstance(text.xycoords, Text)]
    return [(text.xycoords.get_text(), text.get_text()) for text in after]


def steps(figure: Figure) -> list[Box]:
    """The boxes of time steps: those on a frame."""
    patches = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    inner = [p for p in patches if p.get_zorder() > min(p.get_zorder() for p in patches)]
    sides = [(p.get_x(), p.get_x() + p.get_width()) for p in inner]
    ends = [(p.get_y(), p.get_y() + p.get_height()) for p in inner]
    return [
        Box(*(round(place, 6) for place in places))
        for places in ((*x, *y) for x, y in zip(sides, ends, strict=True))
    ]


def rows_of_texts(figure: Figure, right: float = np.inf) -> list[list[str]]:
    """The texts at the same height up to ``right``, from left to right, from top to bottom."""
    texts = sorted(
        (round(text.get_position()[1], 4), text.get_position()[0], text.get_text())
        for text in figure.axes[0].texts
        if text.get_text() and text.get_position()[0] < right
    )
    return [[text for *_, text in group] for _, group in groupby(texts, key=lambda one: one[0])]


# --- Data flow ----------------------------------------------------------------------------------

WAYS: dict[str, dict[str, Any]] = {
    "few steps": {"T": 2, "bidirectional": True},
    "both": {"bidirectional": True},
    "forward": {},
    "stack": {"M": [4, 3]},
    "backward": {"go_backwards": True, "return_sequences": True},
}


@pytest.mark.parametrize(("cell", "way"), [*zip(cycle(NAMES), WAYS, strict=False)])
def test_steps_are_boxes_that_arrows_meet(cell: str, way: str) -> None:
    """What goes in and out, and states from one step to the next, in the order of the lane."""
    result = rnnshapes.inspect(cell=cell, **{**SIZES, **WAYS[way]})
    figure = plots.figure(result)
    boxes, rows = steps(figure), rows_of_texts(figure, flow_frames(figure)[0].x1)
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
        assert all(equation in written for equation in unrolled.equations)
        assert unrolled.each_step in written
        for lane in unrolled.lanes:
            named = [step for step in lane.steps if step]
            assert [step.input for step in named] in rows
            assert [lane.kernel] * len(named) in rows
            assert ([lane.heading] in rows) == (len(unrolled.lanes) > 1)
            assert [lane.recurrent_kernel] * (len(lane.steps) - 1) in rows
            assert [f"t = {step.step}" for step in named] in [
                [text for text in row if text.startswith("t = ")] for row in rows
            ]
            assert not lane.remark or any(lane.remark in row for row in rows)
            outputs = [step.output for step in named if step.output]
            assert outputs in [[text for text in row if text != lane.remark] for row in rows]
            beside = [[t for t in row if t != "…" and not t.startswith("t = ")] for row in rows]
            for state in lane.states:
                assert [state.initial] in beside
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


@pytest.mark.parametrize(("cell", "sequences"), [("simple", False), ("lstm", True)])
def test_inputs_and_outputs_meet_their_steps(cell: str, sequences: bool) -> None:
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
    figure = plots.figure(result)
    found = words(figure)
    text = " ".join(" ".join(found).split())
    assert f"{result.params:,} parameters = {result.formula}" in text
    for box in layout(result).boxes:
        assert {box.title, box.parameters} <= set(found)
        assert all(part in text for part in (box.rule, *box.notes))
    arrows_of = [a for box in layout(result).boxes for a in (*box.entering, *box.leaving)]
    assert named_shapes(figure) == [(arrow.name, arrow.shapes) for arrow in arrows_of]


def many_states() -> Any:
    """Seven states go from one layer to the next, and all outputs have long names."""
    la = keras.layers
    cells, again = ([la.GRUCell(3) for _ in range(7)] for _ in range(2))
    x = keras.Input((5, 3), name="n" * 90)
    _, *states = la.RNN(cells, return_state=True, name="a" * 90)(x)
    return keras.Model(x, la.RNN(again)(x, initial_state=states))


def uneven() -> Any:
    """A recurrence stands to the left of a layer that is not as high."""
    la, x = keras.layers, keras.Input((5, 3))
    return keras.Model(x, la.Concatenate()([la.LSTM(4)(x), la.GlobalMaxPooling1D()(x)]))


#: Networks that are no chain.
GRAPHS: dict[str, Any] = {
    "states": MODELS["encoder, decoder"],
    "branches": MODELS["branches"],
    "past a layer": MODELS["residual"],
    "outputs": MODELS["two outputs"],
    "many states": many_states,
    "uneven": uneven,
}


@cache
def drawn_graph(name: str) -> tuple[FlowLayout, Figure]:
    """A network that is no chain, and its figure."""
    result = rnnshapes.inspect(GRAPHS[name](), N=2)
    return layout(result), plots.figure(result)


@pytest.fixture(params=GRAPHS, scope="module")
def graph(request: pytest.FixtureRequest) -> tuple[FlowLayout, Figure]:
    """Each of these networks."""
    return drawn_graph(request.param)


def test_arrows_of_a_graph_end_at_their_boxes(graph: tuple[FlowLayout, Figure]) -> None:
    """One for each tensor that a layer takes; lines come from what returns it."""
    boxes, figure = graph
    frames = [box.extents for box in flow_frames(figure)]
    for (left, top, right, low), (x0, y0, x1, y1) in combinations(frames, 2):
        assert right < x0 or x1 < left or low < y0 or y1 < top
    heads = [(arrow.head_x, arrow.head_y) for arrow in arrows(figure)]
    into = [sum(x0 < x < x1 and abs(y - y0) < 1e-5 for x, y in heads) for x0, y0, x1, _ in frames]
    assert sorted(into) == sorted(len(box.inputs) for box in boxes.boxes)
    inputs = [one for box in boxes.boxes for one in box.inputs]
    tensors = {(one.name, one.shapes) for one in (*inputs, *boxes.outputs)}
    found = {pair for pair in named_shapes(figure) if pair[1] and "…" not in "".join(pair)}
    assert found <= tensors
    for tensor in boxes.outputs:
        assert (tensor.name, tensor.shapes) in found
    lowest = max(y1 for *_, y1 in frames)
    for x, y in heads:  # at or in a box, or behind the last one
        assert y > lowest or any(
            x0 < x < x1 and y0 - 1e-5 < y < y1 + 1e-5 for x0, y0, x1, y1 in frames
        )
    for line in figure.axes[0].get_lines():
        x, y = (np.linspace(ends[:-1], ends[1:]) for ends in line.get_data())
        for x0, y0, x1, y1 in frames:  # no line crosses a box
            inside = (x > x0 + 1e-6) & (x < x1 - 1e-6) & (y > y0 + 1e-6) & (y < y1 - 1e-6)
            assert not inside.any() or line.get_color() == "white"


def ways(figure: Figure) -> list[list[tuple[float, float]]]:
    """Return the points of each line of a graph, from top to bottom, without grids."""
    lines = [one for one in figure.axes[0].get_lines() if one.get_color() != "white"]
    found = [list(map(tuple, np.round(one.get_xydata(), 5).tolist())) for one in lines]
    return [points if points[0][1] <= points[-1][1] else points[::-1] for points in found]


def test_tensors_come_from_what_returns_them(graph: tuple[FlowLayout, Figure]) -> None:
    """Each arrow has the name of its tensor beside it, and leads back to its producer."""
    boxes, figure = graph
    texts = [(*t.get_position(), t.get_text()) for t in figure.axes[0].texts if t.get_text()]
    above = {points[-1]: points[0] for points in ways(figure)}
    shapes = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    sides = [
        (p.get_x(), p.get_y(), p.get_x() + p.get_width(), p.get_y() + p.get_height())
        for p in shapes
    ]
    names = {one.producer for box in boxes.boxes for one in box.inputs}
    names |= {box.name for box in boxes.boxes}
    frames: dict[str, Any] = {}
    for x0, y0, x1, y1 in sides:  # the first text inside is the title, or the name of an input
        inside = [(y, x, text) for x, y, text in texts if x0 < x < x1 and y0 < y < y1]
        title = min(inside)[2].partition(": ")[0].partition("…")[0]
        name = min((name for name in names if name.startswith(title)), key=len, default="")
        frames.setdefault(name, (x0, y0, x1, y1))
    for box in boxes.boxes:
        x0, y0, x1, _ = frames[box.name]
        found = []
        for arrow in arrows(figure):
            if abs(arrow.head_y - y0) > 1e-5 or not x0 < arrow.head_x < x1:
                continue
            at = round(arrow.x, 5), round(arrow.y, 5)
            while at in above:
                at = above[at]
            (producer,) = (
                name
                for name, (left, _, right, bottom) in frames.items()
                if left < at[0] < right and abs(at[1] - bottom) < 1e-4
            )
            beside = [(x, text) for x, y, text in texts if x > arrow.x and arrow.y < y < y0]
            found.append((producer, min(beside)[1].partition("…")[0]))
        wanted = [(one.producer, one.name) for one in box.inputs]
        assert len(found) == len(wanted)
        for (producer, text), (of, name) in zip(sorted(found), sorted(wanted), strict=True):
            assert (producer, name[: len(text)]) == (of, text), box.name


def cross(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two lines, each of two points, cross between their ends."""
    sides = []
    for (start, end), points in ((one, other), (other, one)):
        (dx, dy), offsets = end - start, points - start
        sides.append(dx * offsets[:, 1] - dy * offsets[:, 0])
    return all(a * b < -1e-9 for a, b in sides)


@pytest.mark.parametrize("name", ["heads", "sentences"])
def test_tensors_cross_only_where_they_have_to(name: str) -> None:
    """Layers stand side by side in an order that keeps them apart."""
    parts = [
        [np.array(pair) for pair in pairwise(points)]
        for points in ways(plots.figure(inspection_of(name)))
    ]
    assert len(parts) > 9
    for one, other in combinations(parts, 2):
        assert not any(cross(a, b) for a, b in product(one, other))


def test_a_layer_stands_below_what_it_needs(graph: tuple[FlowLayout, Figure]) -> None:
    """Layers that do not need each other stand side by side."""
    boxes, figure = graph
    titles = {t.get_text(): t.get_position()[1] for t in figure.axes[0].texts}
    heights = {
        box.name: next(y for t, y in titles.items() if t[:9] == box.title[:9])
        for box in boxes.boxes
    }
    for box in boxes.boxes:
        for tensor in box.inputs:
            if tensor.producer in heights and tensor.producer[:9] != box.name[:9]:
                assert heights[tensor.producer] < heights[box.name]
    if any(box.name.startswith("concatenate") for box in boxes.boxes):
        assert len(set(heights.values())) < len(heights)


def test_texts_of_a_graph_stand_apart(graph: tuple[FlowLayout, Figure]) -> None:
    """No text lies on another, over the edge, or under an arrow."""
    _, figure = graph
    texts = drawn_texts(figure)
    assert overlapping_texts(texts) == cut_off_texts(figure, texts) == []
    upright = [arrow for arrow in arrows(figure) if arrow.x == arrow.head_x]
    back = figure.axes[0].transData.inverted()
    for text, box in texts:
        (left, low), (right, high) = back.transform(box)
        for arrow in upright:
            if left < arrow.x < right:
                assert not (arrow.y < low and high < arrow.head_y), text


def test_a_tensor_passes_each_row_once() -> None:
    """Three rows, of which two lie above two layers that take it."""
    la, x = keras.layers, keras.Input((5, 4))
    a = la.GRU(4, return_sequences=True)(x)
    b = la.GRU(4, return_sequences=True)(a)
    y = la.Add()([la.Add()([b, x]), x])
    figure = plots.figure(rnnshapes.inspect(keras.Model(x, y), N=2))
    assert sum(len(points) == 4 for points in ways(figure)) == 3


def test_only_outputs_of_the_network_leave() -> None:
    """A state that nothing uses has no arrow into empty space."""
    _, figure = drawn_graph("states")
    frames = flow_frames(figure)
    heads = [arrow.head_y for arrow in arrows(figure)]
    assert sum(y > max(frame.y1 for frame in frames) for y in heads) == 1


def test_each_of_several_inputs_has_its_name() -> None:
    """Also where all that follows is a chain."""
    a, b = keras.Input((6, 3), name="left"), keras.Input((6, 4), name="right")
    joined = keras.layers.Concatenate()([a, b])
    figure = plots.figure(rnnshapes.inspect(keras.Model([a, b], joined), N=2))
    assert ["left", "right"] in rows_of_texts(figure)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"cell": "lstm", "T": 1000, "M": 64},
        {"cell": "gru", "M": 512},
        {"cell": "lstm", "M": [64, 32], "T": 1},
        {"cell": "gru", "M": [16, 8], "bidirectional": True},
    ],
)
def test_usual_networks_fit_a_slide(sizes: dict[str, Any]) -> None:
    """Of 16:9 or 4:3, or hardly higher; no text lies on another."""
    figure = plots.figure(rnnshapes.inspect(**sizes))
    width, height = figure.get_size_inches()
    assert height / width <= 0.82
    if not sizes.get("bidirectional"):
        assert round(width / height, 3) in (1.333, 1.778)
    texts = drawn_texts(figure)
    assert overlapping_texts(texts) == cut_off_texts(figure, texts) == []


def test_layers_before_a_recurrence_leave_its_steps() -> None:
    """And the figure is as high as they need."""
    la = keras.layers
    before = [la.ReLU() for _ in range(14)]
    model = keras.Sequential([keras.Input((6, 3)), *before, la.LSTM(5), la.Dense(2)])
    figure = plots.figure(rnnshapes.inspect(model, N=2))
    assert len(steps(figure)) > 1
    assert cut_off_texts(figure, drawn_texts(figure)) == []


def test_boxes_that_are_not_drawn_are_counted() -> None:
    figure = plots.figure(rnnshapes.inspect(M=[3] * 30))
    frames = len(flow_frames(figure))
    assert frames < 31
    assert any(text.startswith(f"and {31 - frames} more") for text in words(figure))
    weights = sum(bool(re.match(r"(recurrent_)?kernel |bias ", text)) for text in words(figure))
    assert any(text.startswith(f"and {92 - weights} more") for text in words(figure))


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


def middles(figure: Figure, colour: str) -> list[tuple[float, float]]:
    """Return the middles of the rectangles of a colour."""
    found = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    of_colour = [p for p in found if to_hex(p.get_facecolor()).upper() == colour]
    return [(p.get_x() + p.get_width() / 2, p.get_y() + p.get_height() / 2) for p in of_colour]


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
        places = [letter.get_position() for letter in letters]
        np.testing.assert_allclose(
            sorted(places), sorted(middles(figure, palette.category(number)))
        )
        for letter in letters:  # no grid behind it
            ground = to_hex(letter.get_bbox_patch().get_facecolor())
            assert ground.upper() == palette.category(number)
    assert len(scale) == 1
    (of_inch,) = (text for text in words(figure) if "an inch" in text)
    assert float(re.findall(r"[\d.]+\d", of_inch)[0]) == pytest.approx(1 / scale.pop(), rel=0.06)
    for text in (
        "lstm",
        "dense",
        "kernel Wx",
        "(D, 4M) = (3, 24)",
        "recurrent_kernel Wh",
        "(4M,) = (24,)",
    ):
        assert text in words(figure)


@pytest.mark.parametrize("size", [25, 400])
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
    figure = plots.figure(inspection_of("flattened"))
    cut = [text for text in words(figure) if text.endswith(", cut")]
    assert [text.split(" = ")[1] for text in cut] == ["(30, 2), cut"]
    ((width, height),) = [one for one in rectangles(figure, "#FFFFFF") if one[1] < 0.1]
    assert width > height


#: Sizes, whether parts are too thin, whether some are cut, and whether there are gates.
NOTED = [
    ({"cell": "simple"}, (False, False, False)),
    ({"cell": "lstm"}, (False, False, True)),
    ({"M": [300, 2]}, (True, False, False)),
    ({"cell": "gru", "K": 400}, (False, True, True)),
]


@pytest.mark.parametrize(("sizes", "holds"), NOTED)
def test_scale_of_weights_names_its_exceptions(sizes: Any, holds: Any) -> None:
    page = diagram.Diagram()
    weights.draw(rnnshapes.inspect(**sizes), page, 5.0)
    (text,) = (text for text in words(page.figure()) if "To scale" in text)
    assert tuple(word in text for word in ("thin", "gap", "above a gate")) == holds


def test_long_texts_keep_their_ends() -> None:
    text = "abcdefghijklmnopqrstuvwxyz"
    for most in (2, 5, 8, 25, 26, 30):
        short = diagram.shortened(text, 9.0, diagram.text_width("x" * most, 9.0) + 1e-9)
        start, dots, end = short.partition("…")
        assert len(short) == min(most, 26)
        assert (text.startswith(start), text.endswith(end), bool(dots)) == (True, True, most < 26)
        assert abs(len(start) - len(end)) <= 1 or not dots


@pytest.mark.parametrize("units", [4, 60, 400])
def test_each_gate_of_a_weight_is_named(units: int) -> None:
    """Inside its rectangle or, where that is too low, beside the number of its first column."""
    figure = plots.figure(rnnshapes.inspect(cell="lstm", D=3, M=units))
    for number, gate in enumerate("ifco"):
        alone, beside = words(figure).count(gate), f"{number * units:,} {gate}"
        assert alone + words(figure).count(beside) == 3
        assert (alone < 3) == (units > 4)


def test_as_much_stands_after_a_name_as_fits() -> None:
    """All of it, where there is hardly more room than that takes."""
    whole = 0.0
    for end in np.arange(0.6, 3.1, 0.1):
        page = diagram.Diagram()
        page.named(0.2, 0.1, "h[1]", "(N, M) = (2, 5)", end)
        figure = page.figure()
        texts = drawn_texts(figure)
        last = max(box.x1 for _, box in texts) / figure.dpi
        assert last < end
        assert texts[0][0] == "h[1]"
        if [text for text, _ in texts] == ["h[1]", "(N, M) = (2, 5)"]:
            whole = whole or end / last
    assert 1 < whole < 1.3


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
    """Each in the middle of its row, from top to bottom."""
    figure = plots.figure(rnnshapes.inspect(cell="gru", N=2, T=3))
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    found = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    rows = [(p.get_y() + p.get_height() * n / 4) for p in found for n in (1, 3)]
    assert heights["input"] < heights["recurrent"]
    for name in ("input", "recurrent"):
        assert any(row == pytest.approx(heights[name]) for row in rows)
    assert not any("rows: " in text for text in heights)
    figure = plots.figure(rnnshapes.inspect(cell="gru", M=60))  # of which rows are too low
    assert "(2, 3M) = (2, 180); rows: input, recurrent" in words(figure)
    assert not {"input", "recurrent"} & {*words(figure)}


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_weights_without_a_graph_are_drawn_alone(tmp_path: Path) -> None:
    """The reason stands where the flow would be."""
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    result = rnnshapes.inspect(path)
    figure = plots.figure(result)
    assert flow_frames(figure) == []
    assert result.network.no_recurrence_reason in " ".join(words(figure))
    assert len([p for p in figure.axes[0].patches if isinstance(p, Rectangle)]) >= 3


def test_networks_without_weights_have_a_picture() -> None:
    model = keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(name="flat")])
    figure = plots.figure(rnnshapes.inspect(model, N=2))
    assert "flat: Flatten" in words(figure)
    assert not [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
