"""A Trace as a picture: x, y_hat from both sides, states and gates over time, and rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.render import palette
from rnnshapes.render.documents.tracing import y_hat_mask
from rnnshapes.render.phrases import engine_text, input_text, network_text, not_finite_text
from rnnshapes.render.plots.diagram import text_width
from rnnshapes.render.plots.panels import Panel, legend, stack, step_axis
from rnnshapes.render.plots.series import (
    LARGEST,
    MASKED,
    MOST_MARKERS,
    MOST_STEPS,
    MOST_UNITS,
    draw_bars,
    draw_heat_map,
    draw_line,
    draw_log_line,
    draw_markers,
    set_log_scale,
    shade_masked,
)
from rnnshapes.render.plots.style import BAD, DASHES, DIM, MARKERS, font_text
from rnnshapes.render.time_axis import group_size
from rnnshapes.render.view import View

#: More units than that are colours, not lines.
_MOST_LINES = 8
#: So many recurrences are drawn, and so many quantities in the panel on rounding.
_MOST_RECURRENCES, _MOST_ERRORS = 8, 5
#: Inches.
_LINES_HEIGHT, _HEAT_HEIGHT, _BARS_HEIGHT, _ROUNDING_HEIGHT = 1.3, 0.36, 0.5, 0.6


@dataclass(frozen=True, eq=False)
class _SampleSeries:
    """A quantity of one sample over time, (T, units), and which steps are not masked, (T,).

    ``axis`` is its time axis, ``T`` or another. A ``fraction`` goes from 0 to 1.
    """

    name: str
    axis: str
    numpy: Array
    keras: Array | None = None
    mask: Array | None = None
    fraction: bool = False

    def between(self, start: int, end: int) -> _SampleSeries:
        """Return the steps from ``start`` to before ``end``."""
        keras, mask = (None if a is None else a[start:end] for a in (self.keras, self.mask))
        return replace(self, numpy=self.numpy[start:end], keras=keras, mask=mask)


def figure(result: Trace, view: View) -> Figure:
    """Draw x, y_hat, the states and gates of each recurrence, and the rounding of one step."""
    y_hat = _y_hat(result, view.sample)
    panels = [_panel(x, view, _draw_x, title=title) for x, title in _inputs(result, view)]
    if y_hat is None:
        title = "output of the model, which has no y_hat at a single step"
        draw = partial(_draw_output, result, view.sample)
        panels.append(Panel(_LINES_HEIGHT, draw, label="unit", title=title))
    else:
        panels.append(_panel(y_hat, view, _draw_y_hat, title=_y_hat_title(y_hat)))
    for layer in result.layers[:_MOST_RECURRENCES]:
        panels += _states_and_gates(layer, view)
    axes = list(dict.fromkeys(panel.axis for panel in panels))
    panels.sort(key=lambda panel: axes.index(panel.axis))  # those of one axis together
    if result.step_errors:
        axis = axes[0] if len(axes) == 1 else "t of each quantity"
        title = "rounding: error of one step / its proven bound"
        draw = partial(_draw_rounding, result, view)
        panels.append(Panel(_ROUNDING_HEIGHT, draw, axis, "t", title))
    margin = max(panel.margin for panel in panels)
    panels = [panel._replace(margin=margin) for panel in panels]
    title = "" if view.embedded else network_text(result.network)
    return stack(title, panels, list(_notes(result, view)))


def _panel(series: _SampleSeries, view: View, draw: Callable[..., None], *, title: str) -> Panel:
    """Return a panel over the steps of the view; ``draw`` gets these, and the first of them.

    A single step has a bar for each unit instead.
    """
    start, end = _span(view, len(series.numpy))
    steps, units = series.between(start, end), series.numpy.shape[1]
    margin = text_width(f"{series.name}_0", 10) + 0.1
    if len(steps.numpy) == 1:
        draw_bars_of = partial(_draw_step, steps, start)
        return Panel(_BARS_HEIGHT, draw_bars_of, title=title, margin=margin)

    def draw_steps(axes: Axes) -> None:
        step_axis(axes, start, end)
        shade_masked(axes, steps.mask, start)
        draw(axes, steps, start)

    is_lines = draw is _draw_y_hat and units <= _MOST_LINES
    height = _LINES_HEIGHT if is_lines else _HEAT_HEIGHT + 0.013 * min(units, 40)
    label = "t" if series.axis == "T" else f"t, of {series.axis} steps"
    return Panel(height, draw_steps, series.axis, label, title, margin)


def _span(view: View, length: int) -> tuple[int, int]:
    """Return the steps that are shown of an axis; all where it is too short for the view."""
    start, end = view.start or 0, length if view.end is None else min(view.end, length)
    return (start, end) if start < end else (0, length)


# --- Quantities of one sample -------------------------------------------------------------------


def _inputs(result: Trace, view: View) -> Iterator[tuple[_SampleSeries, str]]:
    """Yield each input that has a time axis, and the title of its panel."""
    network = result.network
    for source, node, shapes in zip(
        result.sources, network.inputs, network.node_shapes, strict=False
    ):
        if shapes.steps is None:
            continue
        block = next(source.blocks(2**62, slice(view.sample, view.sample + 1)))
        values = block[0].reshape(block.shape[1], -1).astype(np.float64)
        name = "x" if len(network.inputs) == 1 else font_text(node.name)
        dims = shape_text(shapes.shapes[0])
        numbers = shape_text(network.shape_numbers(shapes.shapes[0]))
        of = f", sample {view.sample} of {len(result.output):,}"
        yield _SampleSeries(name, str(shapes.steps), values), f"{name} {dims} = {numbers}{of}"


def _y_hat(result: Trace, sample: int) -> _SampleSeries | None:
    """Return y_hat of a sample; None where there is none at a single step."""
    if result.y_hat is None:
        return None
    numpy, keras = result.y_hat[sample], result.y_hat_keras
    flat = (len(numpy), -1)
    mask = y_hat_mask(result)
    return _SampleSeries(
        name="y_hat",
        axis=str(result.network.output_shapes.steps),
        numpy=numpy.reshape(flat),
        keras=None if keras is None else keras[sample].reshape(flat),
        mask=None if mask is None else mask[sample],
    )


def _y_hat_title(y_hat: _SampleSeries) -> str:
    units = y_hat.numpy.shape[1]
    return "y_hat" if units <= _MOST_LINES else f"y_hat from NumPy, {units:,} units"


def _states_and_gates(layer: LayerTrace, view: View) -> Iterator[Panel]:
    """Yield a panel for each state, then for each gate of a recurrence."""
    of_layer = partial(
        _SampleSeries,
        axis=layer.steps,
        mask=None if layer.mask is None else layer.mask[view.sample],
    )
    series = []
    for key, values in layer.states.items():
        keras = layer.keras[key][view.sample] if key in layer.keras else None
        series.append(of_layer(f"{key}{layer.index}", numpy=values[view.sample], keras=keras))
    for gate, values in layer.gates.items():
        candidate = gate in layer.candidates
        name = f"{gate}{'~' * candidate}{layer.index}"
        series.append(of_layer(name, numpy=values[view.sample], fraction=not candidate))
    for number, one in enumerate(series):
        title = "" if number else _heading(layer, one.numpy.shape[1])
        yield _panel(one, view, _draw_heat_map, title=title)


def _heading(layer: LayerTrace, units: int) -> str:
    """Return ``lstm: states and gates of 8 units``."""
    kinds = " and ".join(["states"] * bool(layer.states) + ["gates"] * bool(layer.gates))
    order = ", processed in reverse" if layer.reverse else ""
    return f"{font_text(layer.name)}: {kinds} of {units:,} unit{'s' * (units > 1)}{order}"


# --- What is in a panel -------------------------------------------------------------------------


def _draw_x(axes: Axes, x: _SampleSeries, start: int) -> None:
    """Draw the features as colours; a single one as a line, since it may be a word."""
    if x.numpy.shape[1] > 1:
        _draw_heat_map(axes, x, start)
        return
    draw_line(axes, x.numpy[:, 0], start, color=DIM)
    _name_rows(axes, x.name)


def _draw_y_hat(axes: Axes, y_hat: _SampleSeries, start: int) -> None:
    """Draw each unit as a line with Keras's markers on it; many as colours, NumPy's alone."""
    units = y_hat.numpy.shape[1]
    if units > _MOST_LINES:
        _draw_heat_map(axes, y_hat, start)
        return
    for unit in range(units):
        colour = palette.category(unit)
        dash, marker = DASHES[unit % len(DASHES)], MARKERS[unit % len(MARKERS)]
        draw_line(axes, y_hat.numpy[:, unit], start, dash, color=colour, label=f"y_hat[{unit}]")
        if y_hat.keras is not None:
            draw_markers(axes, y_hat.keras[:, unit], start, marker, colour)
    _y_hat_legend(axes, y_hat)


def _y_hat_legend(axes: Axes, y_hat: _SampleSeries) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if y_hat.keras is not None:
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec=DIM))
        labels.append("open: Keras")
    if y_hat.mask is not None:
        handles.append(Patch(**MASKED))
        labels.append("masked")
    legend(axes, handles=handles, labels=labels)


def _draw_output(result: Trace, sample: int, axes: Axes) -> None:
    """Draw the output of a model that has no y_hat at a single step, unit by unit."""
    numpy, keras = result.output[sample].reshape(-1), result.output_keras
    draw_line(axes, numpy, 0, "", color=palette.category(0), marker=".", label="NumPy")
    if keras is not None:
        draw_markers(axes, keras[sample].reshape(-1), 0, "o", BAD)
        axes.plot([], [], ls="", marker="o", mfc="none", mec=BAD, label="Keras")
    step_axis(axes, 0, len(numpy))
    legend(axes)


def _draw_heat_map(axes: Axes, series: _SampleSeries, start: int) -> None:
    draw_heat_map(axes, series.numpy, series.name, start, fraction=series.fraction)


def _draw_step(series: _SampleSeries, t: int, axes: Axes) -> None:
    """Draw the units of a single step as bars."""
    colour = palette.category(0 if series.fraction else 4)
    draw_bars(axes, series.numpy[0], None if series.keras is None else series.keras[0], colour)
    if series.fraction:
        axes.set_ylim(0, 1)
    _name_rows(axes, f"{series.name}_{t}")
    if series.name == "y_hat":
        _y_hat_legend(axes, series)


def _name_rows(axes: Axes, name: str) -> None:
    """Write the name of a quantity beside its panel."""
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=12)


def _draw_rounding(result: Trace, view: View, axes: Axes) -> None:
    """Draw the error of one step as a share of its bound; those with the largest have a colour."""
    worst = sorted(result.step_errors.items(), key=lambda item: -_largest(item[1].ratio))
    ends = [_span(view, len(errors.ratio)) for _, errors in worst]
    step_axis(axes, min(start for start, _ in ends), max(end for _, end in ends))
    for number, ((key, errors), (start, end)) in enumerate(zip(worst, ends, strict=True)):
        name, ratio = font_text(key), errors.ratio[start:end]
        looks: dict[str, Any] = {"color": palette.CATEGORIES[number % 5], "label": name}
        if number >= _MOST_ERRORS:
            rest = len(worst) - _MOST_ERRORS
            looks = {"color": "#AAAAAA", "lw": 0.8, "zorder": 1.5}
            looks |= {"label": f"{rest} more"} if number == _MOST_ERRORS else {}
        draw_log_line(axes, ratio, start, DASHES[number % len(DASHES)], **looks)
        _mark_beyond(axes, ratio, start, name)
    axes.axhline(1.0, color="black", lw=1)
    set_log_scale(axes, 1.0)
    legend(axes)


def _largest(ratios: Array) -> float:
    """Return the largest ratio; 0 where nothing was compared."""
    return float(np.max(ratios, initial=0.0, where=~np.isnan(ratios)))


def _mark_beyond(axes: Axes, ratios: Array, start: int, name: str) -> None:
    """Mark the steps whose error is above its bound."""
    beyond = np.flatnonzero(ratios > 1)
    if len(beyond):
        shown = beyond[ratios[beyond] <= LARGEST]  # the others have a cross on top
        shown = shown[:: group_size(len(shown), 4 * MOST_MARKERS)]
        label = f"{name} above its bound at {len(beyond):,} step{'s' * (len(beyond) > 1)}"
        looks: Any = {"ls": "", "marker": "X", "color": BAD, "ms": 7, "label": label}
        axes.plot(start + shown, ratios[shown], **looks)


# --- Notes below the panels ---------------------------------------------------------------------


def _notes(result: Trace, view: View) -> Iterator[str]:
    """Yield what the numbers are, and what of them is not drawn."""
    keras = "not compared with Keras"
    if result.keras is not None:
        keras = f"{engine_text(result.keras.engine)} in {result.network.dtype}"
    source = input_text(result.source)
    yield f"Sample {view.sample}{source and f'; {source}'}. NumPy in float64; {keras}."
    if result.not_finite is not None:
        yield not_finite_text(result.not_finite)
    yield from _group_notes(result, view)
    if result.y_hat is not None and not result.network.is_causal:
        yield "y_hat at t depends on steps after t, too."
    if any(la.mask is not None for la in result.layers):
        yield "A masked step does not change the states, and has no gates."
    if len(result.layers) > _MOST_RECURRENCES:
        yield (
            f"Only {_MOST_RECURRENCES} of {len(result.layers)} recurrent layers and directions are "
            "drawn; choose another with --layer."
        )
    if result.keras is not None:
        yield _rounding_note(result)


def _group_notes(result: Trace, view: View) -> Iterator[str]:
    """Yield how many steps stand for one, and which units are drawn."""
    arrays = [a for la in result.layers for a in (*la.states.values(), *la.gates.values())]
    arrays += [] if result.y_hat is None else [result.y_hat.reshape(*result.y_hat.shape[:2], -1)]
    units = max((a.shape[2] for a in arrays), default=1)
    if (size := group_size(units, MOST_UNITS)) > 1:
        yield f"Of {units:,} units, one of every {size:,} is drawn."
    for steps in dict.fromkeys(a.shape[1] for a in arrays):
        start, end = _span(view, steps)
        size = group_size(end - start, MOST_STEPS)
        if size > 1:
            yield (
                f"Each point stands for {size:,} of {end - start:,} steps: lines and bands show "
                "their smallest and largest value, colours their mean."
            )
        every = size * group_size(-(-(end - start) // size), MOST_MARKERS)
        if every > 1 and result.y_hat_keras is not None and steps == result.y_hat_keras.shape[1]:
            yield f"Keras is marked at one of every {every:,} steps."


def _rounding_note(result: Trace) -> str:
    """Return what the panel on rounding shows."""
    if not result.step_errors:
        return "trace(bounds=True) adds the error of one step and its proven bound."
    samples = len(result.output)
    of = "" if samples == 1 else f" of all {samples:,} samples"
    return (
        "Each step starts from Keras's previous state (y_hat: from the input of its last layer). "
        f"At each t, the unit{of} nearest its bound is drawn. Up to 1, rounding explains the "
        "error; a triangle marks 0."
    )
