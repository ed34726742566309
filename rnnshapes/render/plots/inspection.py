"""An Inspection as a picture: the data flow, and beside it the weights to scale."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnshapes.network.summary import Inspection
from rnnshapes.render.flow_layout import FlowLayout, layout
from rnnshapes.render.number_text import count_text
from rnnshapes.render.phrases import network_text
from rnnshapes.render.plots import flow, weights
from rnnshapes.render.plots.diagram import WIDTH, Diagram
from rnnshapes.render.plots.style import DIM
from rnnshapes.render.view import View

#: The share of the width that a column of boxes takes, and inches between it and the weights.
_FLOW, _APART = 0.58, 0.35
#: A figure that fits a slide of 4:3 is that high.
_HIGHEST = WIDTH * 3 / 4


def figure(result: Inspection, view: View) -> Figure:
    """Draw the title and the count, then the flow, and the weights beside it or below it."""
    diagram = Diagram(is_slide=not view.embedded)
    if not view.embedded:
        diagram.lines(network_text(result.network), size=11, fontweight="bold")
    count = f"{count_text(result.params)} parameters = {result.formula}"
    diagram.lines(count, fontweight="bold")
    diagram.y += 0.1
    flow_layout = layout(result, flow.MOST_BOXES)
    if not flow_layout.boxes:
        diagram.lines(result.network.no_recurrence_reason, color=DIM)
    elif flow.width_of(flow_layout) > 1:
        flow.draw(flow_layout, diagram)
    else:
        _draw_beside(result, flow_layout, diagram)
        return diagram.figure()
    diagram.y += 0.12
    _draw_weights(result, diagram, _HIGHEST - diagram.y)
    return diagram.figure()


def _draw_beside(result: Inspection, flow_layout: FlowLayout, diagram: Diagram) -> None:
    """Draw the flow on the left and the weights on the right."""
    top, right = diagram.y, diagram.right
    diagram.right = diagram.left + _FLOW * (right - diagram.left)
    flow.draw(flow_layout, diagram)
    bottom = diagram.y
    diagram.left, diagram.right, diagram.y = diagram.right + _APART, right, top
    _draw_weights(result, diagram, max(bottom, _HIGHEST) - top)
    diagram.y = max(diagram.y, bottom)


def _draw_weights(result: Inspection, diagram: Diagram, room: float) -> None:
    diagram.lines("Weights", size=11, fontweight="bold")
    weights.draw(result, diagram, room - 0.4)
