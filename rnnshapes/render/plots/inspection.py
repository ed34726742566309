"""An Inspection as a picture: the network as it flows, and its weights as rectangles to scale."""

from __future__ import annotations

from matplotlib.figure import Figure

from rnnshapes.network.summary import Inspection
from rnnshapes.render.number_text import count_text
from rnnshapes.render.phrases import network_text
from rnnshapes.render.plots import flow, weights
from rnnshapes.render.plots.diagram import Diagram
from rnnshapes.render.view import View


def figure(result: Inspection, view: View) -> Figure:
    """From top to bottom: what it is, how it flows, which weights it has, how many there are."""
    diagram = Diagram()
    if view.titled:
        diagram.lines(network_text(result.network), 11, fontweight="bold")
        diagram.y += 0.08
    flow.draw(diagram, result)
    diagram.y += 0.12
    diagram.lines("Weights", 11, fontweight="bold")
    weights.draw(diagram, result)
    diagram.y += 0.06
    diagram.lines(f"{count_text(result.params)} parameters = {result.formula}", fontweight="bold")
    return diagram.figure()
