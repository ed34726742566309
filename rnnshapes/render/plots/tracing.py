"""A Trace as a picture: y_hat from both sides, states and gates as colours, and differences."""

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

from rnnshapes.forward.difference import StepErrors
from rnnshapes.forward.tracing import LayerTrace, Trace
from rnnshapes.ops.activations import Array
from rnnshapes.render import palette
from rnnshapes.render.phrases import engine_text, network_text, not_finite_text
from rnnshapes.render.plots.panels import Panel, legend, stack, step_axis
from rnnshapes.render.plots.series import (
    MASKED,
    MOST_MARKERS,
    MOST_STEPS,
    MOST_UNITS,
    draw_heat_map,
    draw_line,
    draw_log_line,
    draw_markers,
    envelope,
    set_log_scale,
    shade_masked,
)
from rnnshapes.render.plots.style import BAD, DASHES, DIM, MARKERS, font_text
from rnnshapes.render.time_axis import group_size
from rnnshapes.render.view import View

#: More units than that are colours, not lines.
_MOST_LINES = 8
#: So many recurrences are drawn.
_MOST_RECURRENCES = 8
#: Inches.
_LINES_HEIGHT, _HEAT_HEIGHT, _DIFFERENCE_HEIGHT = 2.1, 0.62, 1.35


@dataclass(frozen=True, eq=False)
class _SampleSeries:
    """A quantity of one sample over time, (T, units), and which steps are not masked, (T,).

    ``key`` names its per-step error in the trace, ``axis`` its time axis, ``T`` or another.
    """

    key: str
    name: str
    axis: str
    numpy: Array
    keras: Array | None
    mask: Array | None = None

    def between(self, start: int, end: int) -> _SampleSeries:
        """Return the steps from ``start`` to before ``end``."""
        keras, mask = (None if a is None else a[start:end] for a in (self.keras, self.mask))
        return replace(self, numpy=self.numpy[start:end], keras=keras, mask=mask)


def figure(result: Trace, view: View) -> Figure:
    """Draw y_hat, then each recurrence, then how far both differ from Keras."""
    y_hat = _y_hat(result, view.sample)
    layers = result.layers[:_MOST_RECURRENCES]
    panels: list[Panel] = []
    if y_hat is None:
        panels.append(Panel(_LINES_HEIGHT, partial(_draw_output, result, view.sample), "", "unit"))
    else:
        panels.append(_step_panel(y_hat, view, _y_hat_height(y_hat), _draw_y_hat))
    for layer in layers:
        panels += _heat_maps(layer, view)
    states = [series for layer in layers for series in _states(layer, view.sample)]
    for series in [*([] if y_hat is None else [y_hat]), *states]:
        if series.keras is not None:
            draw = partial(_draw_difference, result.step_errors.get(series.key))
            panels.append(_step_panel(series, view, _DIFFERENCE_HEIGHT, draw))
    order = list(dict.fromkeys(panel.axis for panel in panels))
    panels.sort(key=lambda panel: order.index(panel.axis))  # those of one axis together
    title = network_text(result.network) if view.titled else ""
    return stack(title, panels, list(_notes(result, view)))


def _step_panel(
    series: _SampleSeries, view: View, height: float, draw: Callable[..., None]
) -> Panel:
    """Return a panel over the steps of the view; ``draw`` gets these, and the first of them."""
    start, end = _span(view, len(series.numpy))

    def draw_steps(axes: Axes) -> None:
        steps = series.between(start, end)
        step_axis(axes, start, end)
        shade_masked(axes, steps.mask, start)
        draw(axes, steps, start)

    label = "t" if series.axis == "T" else f"t, of {series.axis} steps"
    return Panel(height, draw_steps, series.axis, label)


def _span(view: View, length: int) -> tuple[int, int]:
    """Return the steps that are shown of an axis; all where it is too short for the view."""
    start, end = view.start or 0, length if view.end is None else min(view.end, length)
    return (start, end) if start < end else (0, length)


def _y_hat(result: Trace, sample: int) -> _SampleSeries | None:
    """Return y_hat of a sample; None where there is none at a single step."""
    if result.y_hat is None:
        return None
    numpy, keras = result.y_hat[sample], result.y_hat_keras
    flat = (len(numpy), -1)
    axis = str(result.network.output_shapes.steps)
    masks = [la.mask for la in result.layers if la.mask is not None and la.steps == axis]
    return _SampleSeries(
        key="y_hat",
        name="y_hat",
        axis=axis,
        numpy=numpy.reshape(flat),
        keras=None if keras is None else keras[sample].reshape(flat),
        mask=masks[-1][sample] if masks else None,
    )


def _states(layer: LayerTrace, sample: int) -> Iterator[_SampleSeries]:
    """Yield the states of a layer, of a sample."""
    for key, values in layer.states.items():
        keras = layer.keras.get(key)
        yield _SampleSeries(
            key=f"{layer.name}.{key}",
            name=f"{key}{layer.index} of {layer.name}",
            axis=layer.steps,
            numpy=values[sample],
            keras=None if keras is None else keras[sample],
            mask=None if layer.mask is None else layer.mask[sample],
        )


# --- Values -------------------------------------------------------------------------------------


def _y_hat_height(y_hat: _SampleSeries) -> float:
    return _LINES_HEIGHT if y_hat.numpy.shape[1] <= _MOST_LINES else 2 * _HEAT_HEIGHT


def _draw_y_hat(axes: Axes, y_hat: _SampleSeries, start: int) -> None:
    """Draw each unit as a line with Keras's markers on it; many as colours, NumPy's alone."""
    units = y_hat.numpy.shape[1]
    if units > _MOST_LINES:
        axes.set_title(f"y_hat from NumPy, {units:,} units")
        draw_heat_map(axes, y_hat.numpy, "y_hat", start)
        return
    axes.set_title("y_hat")
    for unit in range(units):
        colour = palette.category(unit)
        dash, marker = DASHES[unit % len(DASHES)], MARKERS[unit % len(MARKERS)]
        draw_line(axes, y_hat.numpy[:, unit], start, dash, color=colour, label=f"y_hat[{unit}]")
        if y_hat.keras is not None:
            draw_markers(axes, y_hat.keras[:, unit], start, marker, colour)
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
    axes.set_title("output of the model, which has no y_hat at a single step")
    draw_line(axes, numpy, 0, "", color=palette.category(0), marker=".", label="NumPy")
    if keras is not None:
        draw_markers(axes, keras[sample].reshape(-1), 0, "o", BAD)
        axes.plot([], [], ls="", marker="o", mfc="none", mec=BAD, label="Keras")
    step_axis(axes, 0, len(numpy))
    legend(axes)


# --- States and gates ---------------------------------------------------------------------------


def _heat_maps(layer: LayerTrace, view: View) -> Iterator[Panel]:
    """Yield a panel for each state, then for each gate of a recurrence."""
    mask = None if layer.mask is None else layer.mask[view.sample]
    signed = {*layer.states, *layer.candidates}
    quantities = [(key, f"{key}{layer.index}", values) for key, values in layer.states.items()]
    for gate, values in layer.gates.items():
        is_candidate = gate in layer.candidates
        name = f"{gate}{'~' * is_candidate}{layer.index}"
        quantities.append(("" if is_candidate else gate, name, values))
    for number, (key, name, values) in enumerate(quantities):
        units = values.shape[2]
        series = _SampleSeries(key, name, layer.steps, values[view.sample], None, mask)
        title = "" if number else _heading(layer, units)
        draw = partial(_draw_heat_map, title=title, fraction=key not in signed and key != "")
        height = _HEAT_HEIGHT + 0.015 * min(units, 32) + 0.2 * bool(title)
        yield _step_panel(series, view, height, draw)


def _heading(layer: LayerTrace, units: int) -> str:
    """Return ``lstm: states and gates of 8 units``."""
    kinds = " and ".join(["states"] * bool(layer.states) + ["gates"] * bool(layer.gates))
    order = ", processed in reverse" if layer.reverse else ""
    return f"{font_text(layer.name)}: {kinds} of {units:,} unit{'s' * (units > 1)}{order}"


def _draw_heat_map(
    axes: Axes, series: _SampleSeries, start: int, *, title: str, fraction: bool
) -> None:
    if title:
        axes.set_title(title)
    draw_heat_map(axes, series.numpy, series.name, start, fraction=fraction)


# --- Differences --------------------------------------------------------------------------------


def _draw_difference(
    errors: StepErrors | None, axes: Axes, series: _SampleSeries, start: int
) -> None:
    """Draw the difference of the whole runs and, if known, that of one step and its bound."""
    assert series.keras is not None
    axes.set_title(f"difference of {font_text(series.name)}")
    whole_runs = np.max(np.abs(series.numpy - series.keras), axis=1)
    whole_runs = np.where(np.isnan(whole_runs), np.inf, whole_runs)
    draw_log_line(axes, whole_runs, start, ":", color=DIM, label="whole runs")
    if errors is not None:
        end = start + len(series.numpy)
        _draw_one_step(axes, StepErrors(*(values[start:end] for values in errors)), start)
    set_log_scale(axes)
    legend(axes)


def _draw_one_step(axes: Axes, errors: StepErrors, start: int) -> None:
    """Draw how far one step is from Keras, its bound, and where it is above that."""
    bound = np.where(errors.bound > 0, errors.bound, np.nan)
    band = envelope(bound, start)
    axes.fill_between(band.t, 0, band.low, color=palette.category(1), alpha=0.13, lw=0)
    label = "proven bound of one step"
    draw_log_line(axes, bound, start, "--", color=palette.category(1), label=label)
    draw_log_line(axes, errors.error, start, "-", color=palette.category(0), label="one step")
    beyond = np.flatnonzero(errors.ratio > 1)
    if len(beyond):
        shown = beyond[:: group_size(len(beyond), 4 * MOST_MARKERS)]
        label = f"above its bound at {len(beyond):,} step{'s' * (len(beyond) > 1)}"
        looks: Any = {"ls": "", "marker": "X", "color": BAD, "ms": 7, "label": label}
        axes.plot(start + shown, errors.error[shown], **looks)


# --- Notes below the panels ---------------------------------------------------------------------


def _notes(result: Trace, view: View) -> Iterator[str]:
    """Yield what the numbers are, and what of them is not drawn."""
    yield f"Sample {view.sample} of {len(result.output)}; x: {result.source}."
    keras = "Not compared with Keras."
    if result.keras is not None:
        keras = f"{engine_text(result.keras.engine)} in {result.network.dtype}."
    yield f"NumPy in float64. {keras}"
    if result.not_finite is not None:
        yield not_finite_text(result.not_finite)
    yield from _group_notes(result, view)
    if result.y_hat is not None and not result.network.is_causal:
        yield "y_hat at t depends on steps after t, too."
    if any(la.mask is not None for la in result.layers):
        yield "A masked step does not change the states, and has no gates."
    if len(result.layers) > _MOST_RECURRENCES:
        yield (
            f"{_MOST_RECURRENCES} of {len(result.layers)} recurrences are drawn; choose others "
            "with --layer."
        )
    if result.keras is not None:
        yield from _difference_notes(result)


def _group_notes(result: Trace, view: View) -> Iterator[str]:
    """Yield how many units and steps stand for one."""
    arrays = [a for la in result.layers for a in (*la.states.values(), *la.gates.values())]
    arrays += [] if result.y_hat is None else [result.y_hat.reshape(*result.y_hat.shape[:2], -1)]
    units = max((a.shape[2] for a in arrays), default=1)
    if (size := group_size(units, MOST_UNITS)) > 1:
        yield f"Of {units:,} units, a colour is the mean of {size:,}."
    for steps in dict.fromkeys(a.shape[1] for a in arrays):
        start, end = _span(view, steps)
        size = group_size(end - start, MOST_STEPS)
        if size > 1:
            yield (
                f"Of {end - start:,} steps, a line or a band shows the smallest and the largest of "
                f"every {size:,}, a colour their mean."
            )
        every = size * group_size(-(-(end - start) // size), MOST_MARKERS)
        if every > 1 and result.y_hat_keras is not None and steps == result.y_hat_keras.shape[1]:
            yield f"Keras is marked at one of every {every:,} steps."


def _difference_notes(result: Trace) -> Iterator[str]:
    """Yield what the lines of the differences are."""
    yield (
        "whole runs: the largest |NumPy - Keras| over the units of this sample. It has no bound, "
        "since it contains the rounding of all steps before. A triangle at the bottom: exactly 0."
    )
    if not result.step_errors:
        yield "trace(bounds=True) adds the error of one step and its proven bound."
        return
    samples = len(result.output)
    of = "" if samples == 1 else f" of all {samples:,} samples"
    yield (
        "one step: error of one step from Keras's previous state (y_hat: from the input of its "
        f"last layer), and its proven bound, for the unit{of} nearest its bound."
    )
