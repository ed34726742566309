"""Results to be plotted, computed once, and the files of their pictures."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import rnnshapes
from rnnshapes.forward import tracing
from rnnshapes.forward.tracing import Trace
from rnnshapes.render import plots
from rnnshapes.render.view import View
from rnnshapes.result import Result
from rnnshapes.session import open_session

SIZES: dict[str, Any] = {"N": 2, "T": 7, "D": 3, "M": 4, "K": 2}


@cache
def traced() -> Trace:
    """All that a trace can hold."""
    return rnnshapes.trace(cell="lstm", show="y,h,c,gates", bounds=True, **SIZES)


@cache
def verified() -> Any:
    """Every check of a network."""
    return rnnshapes.verify(cell="gru", **SIZES)


@cache
def ported() -> Any:
    """A port whose gates are in another order, and what explains it."""
    with open_session(cell="lstm", **SIZES) as session:
        weights = {group: dict(arrays) for group, arrays in session.weights().items()}
        for key, array in weights["lstm"].items():
            parts = np.split(array, 4, axis=-1)
            weights["lstm"][key] = np.concatenate([parts[1], parts[0], *parts[2:]], axis=-1)
        port = tracing.trace_network(session.network, weights, session.sources, "h,c")
    states = {key: v.astype("float32") for key, v in port.layers[0].states.items()}
    return rnnshapes.verify(cell="lstm", against=states, **SIZES)


RESULTS: dict[str, Any] = {
    "inspect": lambda: rnnshapes.inspect(cell="lstm", **SIZES),
    "trace": traced,
    "verify": verified,
    "port": ported,
}


@cache
def figure_of(name: str, **view: Any) -> Figure:
    """The figure of one of the results, for tests that only look at it."""
    return plots.figure(RESULTS[name](), View(**view))


def saved(result: Result, kind: str, view: View | None = None) -> bytes:
    """The bytes of the file."""
    stream = BytesIO()
    plots.save(result, stream, kind, view)
    return stream.getvalue()


def words(figure: Figure) -> list[str]:
    """Everything that is written on a figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def flow_frames(figure: Figure) -> list[Bbox]:
    """The frames of layers, from top to bottom: the boxes behind everything else."""
    boxes = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]
    behind = min((box.get_zorder() for box in boxes), default=0.0)
    frames = [
        Bbox.from_bounds(box.get_x(), box.get_y(), box.get_width(), box.get_height())
        for box in boxes
        if box.get_zorder() == behind
    ]
    return sorted(frames, key=lambda frame: (frame.y0, frame.x0))


class _TextRecorder(RendererAgg):
    """A renderer that records the texts that are drawn: labels of ticks out of view are not."""

    def __init__(self, figure: Figure) -> None:
        width, self.height_in_pixels = figure.get_size_inches() * figure.dpi
        super().__init__(width, self.height_in_pixels, figure.dpi)
        self.drawn: list[tuple[str, Bbox]] = []

    def draw_text(self, gc: Any, x: float, y: float, s: str, prop: Any, *_: Any, **__: Any) -> None:
        """Record a line of text, of which (x, y) is the start of its base line, from above."""
        width, height, descent = self.get_text_width_height_descent(s, prop, ismath=False)
        bottom = self.height_in_pixels - y - descent
        self.drawn.append((s, Bbox.from_bounds(x, bottom, width, height)))


def drawn_texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """Every line of text that is drawn, with the box that it takes in pixels."""
    figure.draw(recorder := _TextRecorder(figure))
    return recorder.drawn


def cut_off_texts(figure: Figure, drawn: list[tuple[str, Bbox]]) -> list[str]:
    """The texts that are not as a whole inside the figure."""
    width, height = figure.bbox.size
    return [
        text
        for text, box in drawn
        if not (0 <= box.x0 <= box.x1 <= width and 0 <= box.y0 <= box.y1 <= height)
    ]


def overlapping_texts(drawn: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """The pairs of texts of which one lies on the other."""
    left, low, right, high = np.reshape([box.extents for _, box in drawn], (-1, 4)).T
    wide = np.minimum.outer(right, right) - np.maximum.outer(left, left) > 1
    tall = np.minimum.outer(high, high) - np.maximum.outer(low, low) > 2
    return [(drawn[i][0], drawn[j][0]) for i, j in np.argwhere(np.triu(wide & tall, k=1))]
