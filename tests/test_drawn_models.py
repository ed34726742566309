"""Models of every kind are drawn, with characters and by Matplotlib."""

from __future__ import annotations

import math

import pytest

from rnnshapes.forward import tracing
from rnnshapes.network.summary import Inspection
from rnnshapes.render import plots
from rnnshapes.render.document import Sheet
from rnnshapes.render.flow_layout import FlowLayout, LayerBox, layout
from rnnshapes.render.text_art import flow, weights
from rnnshapes.render.text_art.canvas import text_width
from rnnshapes.session import open_session
from tests.helpers.keras_runs import inspection_of
from tests.helpers.models import MODELS, model_of
from tests.helpers.plots import flow_frames, words
from tests.helpers.text_art import drawn_frames, text_lines, words_in


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_drawn_with_characters(name: str) -> None:
    """Graphs, masks, stacks, what is called again: every call, whatever its graph."""
    result = inspection_of(name)
    drawn = layout(result)
    check_layout(result, drawn.boxes)
    check_text_art(result, drawn)


#: Models of each form of graph; chains of layers are all plotted in one way.
PLOTTED = (
    *("normalized", "masked, both", "stacked cells, both, masked", "shared", "merged", "unmerged"),
    *("encoder, decoder, both", "given states", "other features", "called again", "sliced"),
    *("shared by lengths", "partly masked", "states alone", "two ranks", "nested", "deep"),
)


@pytest.mark.parametrize("name", PLOTTED)
def test_each_form_of_graph_is_plotted(name: str) -> None:
    result = inspection_of(name)
    figure = plots.figure(result)
    assert len(flow_frames(figure)) == len(layout(result).boxes)
    written = words(figure)
    for box in layout(result).boxes:  # a long title is shown without its middle
        assert any(text.startswith(box.title[:8]) for text in written)


@pytest.mark.parametrize(
    "name", ["masked, backwards", "stacked cells, both, masked", "unmerged", "two ranks", "nested"]
)
def test_trace_of_each_kind_of_recurrence_is_plotted(name: str) -> None:
    with open_session(model_of(name), N=2) as session:
        show = tracing.all_parts(session.network) if "stacked" in name else "h"
        trace = session.trace(show=show, keras=False)
    assert len(plots.figure(trace).axes) > len(trace.layers)


def check_layout(result: Inspection, boxes: tuple[LayerBox, ...]) -> None:
    """A box for each call, with arrows from those calls whose output it takes."""
    nodes = result.network.nodes
    calls = [node for node in nodes if node.sources]
    assert [box.name for box in boxes] == [node.name for node in calls]
    for box, node in zip(boxes, calls, strict=True):
        assert box.label == node.layer.label
        producers = [nodes[tap.node].name for tap in node.sources]
        assert [tensor.producer for tensor in box.sources] == producers
        assert [arrow.name for arrow in box.entering] == [tensor.name for tensor in box.inputs]


def check_text_art(result: Inspection, drawn: FlowLayout) -> None:
    """A frame for each box on sheets of any width; every shape where there is room."""
    for width in (40, 160):
        lines = text_lines(flow.draw(drawn, Sheet(width)))
        assert max(map(text_width, lines)) <= width
        assert len(drawn_frames(lines)) == len(drawn.boxes)
        blocks = text_lines(weights.draw(result, Sheet(width)))
        assert max(map(text_width, blocks), default=0) <= width
        written = {*words_in(lines).split()}
        for arrow in (arrow for box in drawn.boxes for arrow in box.entering):
            origin = arrow.origin if len(arrow.origin) < width - 5 else ""
            assert {*f"{arrow.name} {arrow.shapes} {origin}".split()} <= written
    # Those of the wide sheet.
    folded = [w for layer in result.layers for w in layer.weights if len(w.shape) > 2]
    words = words_in(blocks)
    assert words.count(", as ") == len(folded)
    for weight in folded:
        assert f"{weight.shape[-1]}), as {math.prod(weight.shape[:-1])} rows" in words
    words = words_in(lines)
    for box, frame in zip(drawn.boxes, drawn_frames(lines), strict=True):
        inside = words_in(lines[frame.top : frame.bottom])
        for text in (box.rule, *box.notes):
            assert text in inside
        assert f"{box.title} {box.parameters}".rstrip() in words
        for tensor in (*box.sources, *box.outputs):
            assert f"{tensor.name} {tensor.shapes}" in words
