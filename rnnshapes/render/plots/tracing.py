"""A Trace as a picture: y_hat from both sides, states and gates as colours, and how far apart."""

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
from rnnshapes.render.plots import heat
from rnnshapes.render.plots.canvas import (
    BAD,
    DASHES,
    DIM,
    MARKERS,
    Panel,
    legend,
    stacked,
    steps_axis,
    text,
)
from rnnshapes.render.plots.lines import MARKS, MASKED, line, log_line, log_scale, markers, shade
from rnnshapes.render.plots.thinning import ACROSS, DOWN, group_size, thinned
from rnnshapes.render.view import View

#: More units than that are colours, not lines.
_LINES = 8
#: So many recurrences are drawn.
_RECURRENCES = 8
#: Inches.
_LINES_HIGH, _HEAT_HIGH, _APART_HIGH = 2.1, 0.62, 1.35


@dataclass(frozen=True, eq=False)
class _Quantity:
    """Of one sample, (T, units): ``key`` names its errors, ``steps`` its time axis."""

    key: str
    name: str
    steps: str
    ours: Array
    theirs: Array | None
    mask: Array | None = None


def figure(result: Trace, view: View) -> Figure:
    """y_hat, then each recurrence, then what Keras has beside it."""
    y_hat = _y_hat(result, view.sample)
    layers = result.layers[:_RECURRENCES]
    panels: list[Panel] = []
    if y_hat is None:
        panels.append(Panel(_LINES_HIGH, partial(_output, result, view.sample), "", "unit"))
    else:
        panels.append(_over(y_hat.steps, view, y_hat, _value_height(y_hat), _values))
    for layer in layers:
        panels += _colours(layer, view)
    states = [q for layer in layers for q in _states(layer, view.sample)]
    for quantity in [*([] if y_hat is None else [y_hat]), *states]:
        if quantity.theirs is not None:
            errors = result.step_errors.get(quantity.key)
            draw = partial(_apart, errors)
            panels.append(_over(quantity.steps, view, quantity, _APART_HIGH, draw))
    order = list(dict.fromkeys(panel.axis for panel in panels))
    panels.sort(key=lambda panel: order.index(panel.axis))  # those of one axis together
    title = network_text(result.network) if view.titled else ""
    return stacked(title, panels, list(_notes(result, view)))


def _over(
    steps: str, view: View, quantity: _Quantity, height: float, draw: Callable[..., None]
) -> Panel:
    """A panel over the steps of the view."""
    start, end = _span(view, len(quantity.ours))

    def drawn(axes: Axes) -> None:
        cut = _cut(quantity, start, end)
        steps_axis(axes, start, end)
        shade(axes, cut.mask, start)
        draw(axes, cut, start)

    return Panel(height, drawn, steps, _axis_label(steps))


def _span(view: View, length: int) -> tuple[int, int]:
    """The steps that are shown of an axis; all where it is too short for the view."""
    start, end = view.start or 0, length if view.end is None else min(view.end, length)
    return (start, end) if start < end else (0, length)


def _axis_label(steps: str) -> str:
    return "t" if steps == "T" else f"t, of {steps} steps"


def _cut(q: _Quantity, start: int, end: int) -> _Quantity:
    theirs, mask = (None if a is None else a[start:end] for a in (q.theirs, q.mask))
    return replace(q, ours=q.ours[start:end], theirs=theirs, mask=mask)


def _y_hat(result: Trace, sample: int) -> _Quantity | None:
    if result.y_hat is None:
        return None
    ours, theirs = result.y_hat[sample], result.y_hat_keras
    flat = (len(ours), -1)
    keras = None if theirs is None else theirs[sample].reshape(flat)
    steps = str(result.network.output_shapes.steps)
    masks = [la.mask for la in result.layers if la.mask is not None and la.steps == steps]
    mask = masks[-1][sample] if masks else None
    return _Quantity("y_hat", "y_hat", steps, ours.reshape(flat), keras, mask)


def _states(layer: LayerTrace, sample: int) -> Iterator[_Quantity]:
    mask = None if layer.mask is None else layer.mask[sample]
    for key, values in layer.states.items():
        theirs = layer.keras.get(key)
        keras = None if theirs is None else theirs[sample]
        name = f"{key}{layer.index} of {layer.name}"
        yield _Quantity(f"{layer.name}.{key}", name, layer.steps, values[sample], keras, mask)


# --- Values -------------------------------------------------------------------------------------


def _value_height(y_hat: _Quantity) -> float:
    return _LINES_HIGH if y_hat.ours.shape[1] <= _LINES else 2 * _HEAT_HIGH


def _values(axes: Axes, y_hat: _Quantity, start: int) -> None:
    """Each unit as a line with Keras's markers on it; many as colours, NumPy's alone."""
    units = y_hat.ours.shape[1]
    if units > _LINES:
        axes.set_title(f"y_hat from NumPy, {units:,} units")
        heat.draw(axes, y_hat.ours, "y_hat", start)
        return
    axes.set_title("y_hat")
    for unit in range(units):
        colour = palette.kind(unit)
        dash, marker = DASHES[unit % len(DASHES)], MARKERS[unit % len(MARKERS)]
        line(axes, y_hat.ours[:, unit], start, dash, color=colour, label=f"y_hat[{unit}]")
        if y_hat.theirs is not None:
            markers(axes, y_hat.theirs[:, unit], start, marker, colour)
    handles, labels = axes.get_legend_handles_labels()
    if y_hat.theirs is not None:
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec=DIM))
        labels.append("open: Keras")
    if y_hat.mask is not None:
        handles.append(Patch(**MASKED))
        labels.append("masked")
    legend(axes, handles=handles, labels=labels)


def _output(result: Trace, sample: int, axes: Axes) -> None:
    """What the model answers where there is no y_hat at a single step."""
    ours, theirs = result.output[sample].reshape(-1), result.output_keras
    axes.set_title("output of the model, which has no y_hat at a single step")
    line(axes, ours, 0, "", color=palette.kind(0), marker=".", label="NumPy")
    if theirs is not None:
        markers(axes, theirs[sample].reshape(-1), 0, "o", BAD)
        axes.plot([], [], ls="", marker="o", mfc="none", mec=BAD, label="Keras")
    steps_axis(axes, 0, len(ours))
    legend(axes)


# --- States and gates ---------------------------------------------------------------------------


def _colours(layer: LayerTrace, view: View) -> Iterator[Panel]:
    """Each state, then each gate of a recurrence."""
    signed = {*layer.states, *layer.candidates}
    mask = None if layer.mask is None else layer.mask[view.sample]
    shown = [(f"{key}{layer.index}", key, v) for key, v in layer.states.items()]
    for gate, values in layer.gates.items():
        mark = "~" if gate in layer.candidates else ""
        shown.append((f"{gate}{mark}{layer.index}", "" if mark else gate, values))
    for place, (name, key, values) in enumerate(shown):
        quantity = _Quantity(key, name, layer.steps, values[view.sample], None, mask)
        title = _heading(layer, values.shape[2]) if place == 0 else ""
        draw = partial(_coloured, title=title, share=key not in signed and key != "")
        height = _HEAT_HIGH + 0.015 * min(values.shape[2], 32) + 0.2 * bool(title)
        yield _over(layer.steps, view, quantity, height, draw)


def _heading(layer: LayerTrace, units: int) -> str:
    parts = "states and gates" if layer.gates and layer.states else "states"
    parts = parts if layer.states else "gates"
    reads = ", read from the last t to the first" if layer.reverse else ""
    return f"{text(layer.name)}: {parts} of {units:,} unit{'s' * (units > 1)}{reads}"


def _coloured(axes: Axes, quantity: _Quantity, start: int, *, title: str, share: bool) -> None:
    if title:
        axes.set_title(title)
    heat.draw(axes, quantity.ours, quantity.name, start, share=share)


# --- How far apart ------------------------------------------------------------------------------


def _apart(errors: StepErrors | None, axes: Axes, quantity: _Quantity, start: int) -> None:
    """The difference of the whole runs; where there is a errors, one step and its bound, too."""
    assert quantity.theirs is not None
    axes.set_title(f"difference of {text(quantity.name)}")
    whole = np.max(np.abs(quantity.ours - quantity.theirs), axis=1)
    whole = np.where(np.isnan(whole), np.inf, whole)
    log_line(axes, whole, start, ":", color=DIM, label="whole runs")
    if errors is not None:
        end = start + len(quantity.ours)
        _one_step(axes, StepErrors(*(part[start:end] for part in errors)), start)
    log_scale(axes)
    legend(axes)


def _one_step(axes: Axes, errors: StepErrors, start: int) -> None:
    made = thinned(np.where(errors.bound > 0, errors.bound, np.nan), start)
    axes.fill_between(made.t, 0, made.low, color=palette.kind(1), alpha=0.13, lw=0)
    bound = np.where(errors.bound > 0, errors.bound, np.nan)
    log_line(axes, bound, start, "--", color=palette.kind(1), label="proven bound of one step")
    log_line(axes, errors.error, start, "-", color=palette.kind(0), label="one step")
    beyond = np.flatnonzero(errors.ratio > 1)
    if len(beyond):
        shown = beyond[:: group_size(len(beyond), 4 * MARKS)]
        label = f"above its bound at {len(beyond):,} step{'s' * (len(beyond) > 1)}"
        looks: Any = {"ls": "", "marker": "X", "color": BAD, "ms": 7, "label": label}
        axes.plot(start + shown, errors.error[shown], **looks)


# --- What is said below -------------------------------------------------------------------------


def _notes(result: Trace, view: View) -> Iterator[str]:
    yield f"Sample {view.sample} of {len(result.output)}; x: {result.source}."
    keras = "Keras was left out."
    if result.keras is not None:
        keras = f"{engine_text(result.keras.engine)} in {result.network.dtype}."
    yield f"NumPy in float64. {keras}"
    if result.not_finite is not None:
        yield not_finite_text(result.not_finite)
    yield from _thinning(result, view)
    if result.y_hat is not None and not result.network.is_causal:
        yield "y_hat at t depends on steps after t, too."
    if any(la.mask is not None for la in result.layers):
        yield "A masked step leaves the states as they are, and has no gates."
    if len(result.layers) > _RECURRENCES:
        yield f"{_RECURRENCES} of {len(result.layers)} recurrences are drawn: --layer chooses one."
    if result.keras is not None:
        yield from _differences(result)


def _thinning(result: Trace, view: View) -> Iterator[str]:
    """What is not drawn one by one."""
    arrays = [a for la in result.layers for a in (*la.states.values(), *la.gates.values())]
    arrays += [] if result.y_hat is None else [result.y_hat.reshape(*result.y_hat.shape[:2], -1)]
    units = max((a.shape[2] for a in arrays), default=1)
    if (size := group_size(units, DOWN)) > 1:
        yield f"Of {units:,} units, a colour is the mean of {size:,}."
    for steps in dict.fromkeys(a.shape[1] for a in arrays):
        start, end = _span(view, steps)
        size = group_size(end - start, ACROSS)
        if size > 1:
            yield (
                f"Of {end - start:,} steps, a line or a band shows the smallest and the largest of "
                f"every {size:,}, a colour their mean."
            )
        every = size * group_size(-(-(end - start) // size), MARKS)
        if every > 1 and result.y_hat_keras is not None and steps == result.y_hat_keras.shape[1]:
            yield f"Keras's markers stand at one of every {every:,} steps."


def _differences(result: Trace) -> Iterator[str]:
    yield (
        "whole runs: the largest |NumPy - Keras| over the units of this sample. Rounding of all "
        "steps before it adds up in it, so it has no bound. A triangle at the bottom: exactly 0."
    )
    if not result.step_errors:
        yield "One step and its proven bound were not asked for, as with trace(bounds=True)."
        return
    many = len(result.output)
    of = "" if many == 1 else f" of all {many:,} samples"
    yield (
        "one step: how far Keras is from one step of the equation that starts from Keras's own "
        "numbers (y_hat: from what its last layer was fed with), and the proven bound of rounding "
        f"in that step; at each t of the unit{of} that comes nearest its bound."
    )
