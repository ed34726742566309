"""An Inspection as a picture: the data flow, and the weights as rectangles to scale."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnshapes.network.summary import Inspection
from rnnshapes.render.flow_layout import layout
from rnnshapes.render.number_text import count_text
from rnnshapes.render.phrases import network_text
from rnnshapes.render.plots import flow, weights
from rnnshapes.render.plots.diagram import Diagram
from rnnshapes.render.plots.style import DIM
from rnnshapes.render.view import View


def figure(result: Inspection, view: View) -> Figure:
    """Draw, from top to bottom, the title, the flow, the weights and their count."""
    diagram = Diagram()
    if view.titled:
        diagram.lines(network_text(result.network), 11, fontweight="bold")
        diagram.y += 0.08
    flow_layout = layout(result, flow.MOST_BOXES)
    if flow_layout.boxes:
        flow.draw(flow_layout, diagram)
    else:
        diagram.lines(result.network.no_recurrence_reason, color=DIM)
    diagram.y += 0.12
    diagram.lines("Weights", 11, fontweight="bold")
    weights.draw(result, diagram)
    diagram.y += 0.06
    diagram.lines(f"{count_text(result.params)} parameters = {result.formula}", fontweight="bold")
    return diagram.figure()
