"""The paper on which every picture is drawn: settings, panels one below the other, files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from textwrap import wrap
from typing import Any, BinaryIO, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from rnnshapes.render import palette
from rnnshapes.render.document import printable

#: Inches; about as many characters of the title and of a note fit on a line.
WIDTH, _TITLE_WIDTH, _NOTE_WIDTH = 10.0, 104, 150
#: About as many characters fit above a panel.
_ABOVE = 156
#: Ink of what is said beside the data, and of what is not there.
DIM, ABSENT = "#555555", "#BDBDBD"
#: What went wrong: vermilion, which differs from the others in brightness, too.
BAD = palette.KINDS[5]
#: Lines that can be told apart without their colours.
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")

_SETTINGS: Any = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "savefig.dpi": 150,
    "svg.fonttype": "path",
    "svg.hashsalt": "rnnshapes",
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
#: What would differ from one day or one version to the next.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


class Picture(Figure):
    """A figure that shows itself in a notebook without pyplot."""

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        write(self, stream, "png")
        return stream.getvalue()


class Panel(NamedTuple):
    """A part of a picture, ``height`` inches high. Those of the same ``axis`` share their x."""

    height: float
    draw: Callable[[Axes], None]
    axis: str = ""
    label: str = ""


@contextmanager
def own_settings() -> Iterator[None]:
    """Settings of our own, whatever the user's are; afterwards those are in force again."""
    with warnings.catch_warnings(), mpl.rc_context(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def stacked(title: str, panels: Sequence[Panel], notes: Sequence[str]) -> Figure:
    """Panels one below the other, under a title and above notes."""
    heading = "\n".join(row for line in title.split("\n") for row in wrap(text(line), _TITLE_WIDTH))
    lines = [line for note in notes for line in wrap(text(note), _NOTE_WIDTH)]
    height = sum(p.height for p in panels) + 0.22 * (heading.count("\n") + 2) + 0.16 * len(lines)
    made = Picture(figsize=(WIDTH, height), layout="constrained")
    made.set_constrained_layout_pads(hspace=0.0, h_pad=0.03, w_pad=0.06)  # type: ignore[attr-defined]
    made.suptitle(heading, x=0.008, ha="left", fontsize=11, fontweight="bold")
    made.supxlabel("\n".join(lines), x=0.008, ha="left", fontsize=8, color=DIM)
    grid = made.add_gridspec(len(panels), 1, height_ratios=[p.height for p in panels])
    first: dict[str, Axes] = {}
    for place, panel in enumerate(panels):
        shared = first.get(panel.axis) if panel.axis else None
        axes = made.add_subplot(grid[place], sharex=shared)
        if panel.axis:
            first.setdefault(panel.axis, axes)
        panel.draw(axes)
        below = panels[place + 1].axis if place + 1 < len(panels) else ""
        if panel.axis and below == panel.axis:
            axes.tick_params(labelbottom=False)
        elif panel.label:
            axes.set_xlabel(panel.label)
    return made


def write(made: Figure, target: BinaryIO | Path, kind: str) -> None:
    """Write a figure; the same one gives the same bytes."""
    with own_settings(), _in_place(made):
        made.savefig(target, format=kind, metadata=_METADATA[kind])


@contextmanager
def _in_place(made: Figure) -> Iterator[None]:
    """Axes stand where the layout has them, to a millionth of the figure.

    The last digits that its solver finds depend on addresses in memory, and names in an SVG file
    on all digits.
    """
    engine = made.get_layout_engine()
    if engine is None:
        yield
        return
    engine.execute(made)
    made.set_layout_engine("none")
    for axes in made.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6).tolist())
    try:
        yield
    finally:
        made.set_layout_engine(engine)


def text(name: str) -> str:
    """A name as it can be drawn: what the font does not have is written as its number."""
    known = _characters()
    return "".join(
        c if c == "\n" or ord(c) in known else c.encode("ascii", "backslashreplace").decode()
        for c in printable(name)
    )


@lru_cache
def _characters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def steps_axis(axes: Axes, start: int, end: int) -> None:
    """x is the time step: whole numbers from ``start`` to before ``end``."""
    axes.set_xlim(start - 0.5, end - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def log_axis(axis: Any) -> None:
    """Powers of ten, as 10⁻⁸: matplotlib's own would be mathematics, which names are not."""
    axis.set_major_locator(LogLocator(numticks=6))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))


def _power(value: float) -> str:
    if value <= 0 or not np.isfinite(value):
        return ""
    power = round(float(np.log10(value)))
    if power in (0, 1):
        return str(10**power)
    return "10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def legend(axes: Axes, **more: Any) -> None:
    """Above the panel, to the right of its title, in as many columns as there is room for."""
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = more.pop("handles", handles), more.pop("labels", labels)
    longest = max(map(len, labels), default=0)
    columns = int((_ABOVE - 1.3 * len(axes.get_title(loc="left"))) / (longest + 7))
    axes.legend(
        *(handles, labels),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=max(1, min(columns, len(labels))),
        borderaxespad=0.1,
        columnspacing=1.4,
        handlelength=2.2,
        **more,
    )


def colours(of: Callable[[float], str], low: float) -> ListedColormap:
    """The colours of the palette from ``low`` to 1; grey for what is not there."""
    made = ListedColormap([of(float(value)) for value in np.linspace(low, 1.0, 255)])
    made.set_bad(ABSENT)
    return made
