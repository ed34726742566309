"""What plots show: the numbers of the result, each at its index, and what is not drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

import rnnshapes
from rnnshapes.forward.difference import Index, StepErrors
from rnnshapes.forward.tracing import Trace
from rnnshapes.render import palette, plots
from rnnshapes.render.plots import ratios, series, style
from rnnshapes.render.view import View
from rnnshapes.session import open_session
from rnnshapes.verification.bounds import Residual
from tests.helpers.models import model_of
from tests.helpers.plots import (
    SIZES,
    drawn_texts,
    figure_of,
    overlapping_texts,
    ported,
    saved,
    traced,
    verified,
    words,
)


def panel(figure: Figure, title: str) -> Axes:
    """The panel whose title begins so."""
    return next(a for a in figure.axes if a.get_title(loc="left").startswith(title))


def line(axes: Axes, label: str) -> Line2D:
    """The line whose label contains this."""
    (found,) = [one for one in axes.get_lines() if label in str(one.get_label())]
    return found


def numbers(axes: Axes, label: str) -> Any:
    """The numbers of a line."""
    return np.asarray(line(axes, label).get_ydata(), float)


def maps(figure: Figure) -> dict[str, Axes]:
    """The panels in colours by the name of their quantity, from top to bottom."""
    return {a.get_ylabel(): a for a in figure.axes if a.get_images()}


def images(figure: Figure) -> list[Any]:
    """The numbers of what is shown in colours, from top to bottom; without x."""
    panels = {name: axes for name, axes in maps(figure).items() if name != "x"}
    return [axes.get_images()[0].get_array().data for axes in panels.values()]


def has_markers(one: Line2D) -> bool:
    """Whether some of its numbers have a marker."""
    return one.get_marker() not in ("", "None", None)


def joins(one: Line2D) -> bool:
    """Whether a line goes from number to number."""
    return one.get_linestyle() not in ("", "None")


# --- trace --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [{}, {"sample": 1}])
def test_y_hat_is_drawn_from_both_sides(view: dict[str, int]) -> None:
    """NumPy as lines, Keras as open markers, unit by unit, over t."""
    result, sample = traced(), view.get("sample", 0)
    axes = panel(figure_of("trace", **view), "y_hat")
    keras = [one for one in axes.get_lines() if not joins(one)]
    for unit in range(2):
        assert np.array_equal(numbers(axes, f"y_hat[{unit}]"), result.y_hat[sample, :, unit])
        assert np.array_equal(keras[unit].get_ydata(), result.y_hat_keras[sample, :, unit])
        assert list(keras[unit].get_xdata()) == list(range(7))
        assert keras[unit].get_markerfacecolor() == "none"
    assert len({one.get_marker() for one in keras}) == 2  # told apart without colours


def test_states_and_gates_are_drawn_in_colours() -> None:
    """h, c, i, f, c~, o of the sample, unit 0 on top; the candidate is signed, gates are not."""
    result, figure = traced(), figure_of("trace", sample=1)
    layer = result.layers[0]
    wanted = [*layer.states.values(), *layer.gates.values()]
    assert len(images(figure)) == len(wanted) == 6
    for found, values in zip(images(figure), wanted, strict=True):
        assert np.array_equal(found, values[1].T)
    assert list(maps(figure)) == ["x", "h", "c", "i", "f", "c~", "o"]
    limits = {name: axes.get_images()[0].get_clim() for name, axes in maps(figure).items()}
    assert limits["i"] == limits["f"] == limits["o"] == (0, 1)
    for name, (low, high) in limits.items():
        assert low == -high or name in "ifo"
    for name, axes in maps(figure).items():
        bottom, top = axes.get_ylim()
        assert top < 0
        assert bottom > (2 if name == "x" else 3)


def test_x_of_the_sample_is_drawn() -> None:
    """Its shape stands above it, in letters and in numbers."""
    with open_session(cell="lstm", **SIZES) as session:
        (source,) = session.sources
        x = next(source.blocks(99))
    axes = maps(figure_of("trace", sample=1, start=2, end=5))["x"]
    assert np.array_equal(axes.get_images()[0].get_array().data, x[1, 2:5].T)
    for text in ("(N, T, D)", "(2, 7, 3)"):
        assert text in axes.get_title(loc="left")


def test_colours_follow_the_numbers() -> None:
    """The largest has the end of the palette, and the same number the same colour."""
    result = traced()
    axes = next(a for a in figure_of("trace").axes if a.get_ylabel() == "h")
    (image,) = axes.get_images()
    _, high = image.get_clim()
    assert high == np.abs(result.layers[0].states["h"][0]).max()
    for value in (-high, 0.0, high):
        red, green, blue, _ = image.cmap(image.norm(value), bytes=True)
        wanted = palette.signed(value / high)
        shown = np.array([red, green, blue], int)
        assert np.abs(shown - [int(wanted[i : i + 2], 16) for i in (1, 3, 5)]).max() <= 2


def test_one_panel_shows_rounding_of_one_step() -> None:
    """The error of one step as a share of its bound: nothing else, for each quantity."""
    figure = figure_of("trace")
    axes = panel(figure, "rounding")
    for key, errors in traced().step_errors.items():
        assert np.array_equal(numbers(axes, key), errors.ratio)
    assert {"y_hat", "lstm.h", "lstm.c"} == set(traced().step_errors)
    assert axes.get_yscale() == "log"
    assert [a for a in figure.axes if a.get_yscale() == "log"] == [axes]
    height = axes.get_position().height
    assert height < 0.15
    assert height < panel(figure, "y_hat").get_position().height
    assert not any("above" in text for text in words(figure))


def test_what_is_above_its_bound_is_marked() -> None:
    """A note counts the marks."""
    errors = traced().step_errors["lstm.h"]
    error = errors.error.copy()
    error[[2, 5]] = 1.0
    wrong = StepErrors(error / errors.bound, error, errors.bound)
    figure = plots.figure(replace(traced(), step_errors={**traced().step_errors, "lstm.h": wrong}))
    marks = line(panel(figure, "rounding"), "above")
    assert " 2 steps" in str(marks.get_label())
    assert has_markers(marks)
    assert not joins(marks)
    assert list(marks.get_xdata()) == [2, 5]
    assert list(marks.get_ydata()) == list(wrong.ratio[[2, 5]])


def test_only_what_is_known_is_drawn() -> None:
    """Notes say what is missing."""
    few = replace(traced(), layers=(), step_errors={})
    figure = plots.figure(few)
    assert not any("rounding" in axes.get_title(loc="left") for axes in figure.axes)
    assert any("bounds=True" in text for text in words(figure))
    alone = plots.figure(rnnshapes.trace(keras=False, show="y", **SIZES))
    assert not any("bound" in text for text in words(alone))


def test_only_steps_that_are_asked_for_are_drawn() -> None:
    """Counted as in the sequence."""
    figure = figure_of("trace", sample=1, start=2, end=5)
    axes = panel(figure, "y_hat")
    assert np.array_equal(numbers(axes, "y_hat[0]"), traced().y_hat[1, 2:5, 0])
    assert list(line(axes, "y_hat[0]").get_xdata()) == [2, 3, 4]
    assert axes.get_xlim() == (1.5, 4.5)
    assert np.array_equal(images(figure)[0], traced().layers[0].states["h"][1, 2:5].T)


def masked() -> Trace:
    """Three steps masked at the end of the second sample, one in the middle."""
    import keras

    la = keras.layers
    model = keras.Sequential([keras.Input((6, 3)), la.Masking(), la.GRU(4), la.Dense(2)])
    x = np.random.default_rng(3).standard_normal((2, 6, 3))
    x[1, [1, 3, 4, 5]] = 0
    return rnnshapes.trace(model, x=x, keras=False, show="y,h,gates")


def test_masked_steps_are_shaded() -> None:
    """Gates have no values at them."""
    result = masked()
    for sample, spans in ((0, []), (1, [(0.5, 1.5), (2.5, 5.5)])):
        figure = plots.figure(result, View(sample=sample))
        for axes in (
            *(maps(figure)[name] for name in ("h", "z", "r", "h~")),
            panel(figure, "y_hat"),
        ):
            hatched = [p for p in axes.patches if p.get_hatch()]
            assert [(p.get_x(), p.get_x() + p.get_width()) for p in hatched] == spans
    assert np.isnan(images(figure)[1][:, 3:]).all()


def test_output_without_steps_is_drawn_by_unit() -> None:
    """No line joins units, which are no time."""
    result = rnnshapes.trace(model_of("flattened"), N=2, show="h")
    axes = panel(plots.figure(result), "output of the model")
    numpy, keras = [one for one in axes.get_lines() if len(one.get_xdata())]
    assert np.array_equal(numpy.get_ydata(), result.output[0])
    assert np.array_equal(keras.get_ydata(), result.output_keras[0])
    assert not joins(numpy)
    assert not joins(keras)


def test_panels_of_one_time_axis_stand_together() -> None:
    result = rnnshapes.trace(model_of("encoder, decoder"), N=2, show="h", keras=False)
    figure = plots.figure(result)
    spans = [axes.get_xlim() for axes in figure.axes]
    assert spans == [(-0.5, 8.5)] * 2 + [(-0.5, 5.5)] * 3
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert [label.split()[-2] for label in labels] == ["T1", "T2"]


# --- Sizes, numbers and names that are hard -----------------------------------------------------


def test_a_single_step_has_a_bar_per_unit() -> None:
    """No cell fills a panel, and Keras is marked on the bars."""
    result = rnnshapes.trace(T=1, M=4, K=2, cell="lstm", show="y,h,c,gates")
    figure = plots.figure(result)
    assert not maps(figure)
    assert any("(1, 1, 3)" in text for text in words(figure))
    (layer,) = result.layers
    values = {"y_hat": result.y_hat, **layer.states, **layer.gates}
    for axes in figure.axes[1:]:
        name = axes.get_ylabel().removesuffix("_0").rstrip("~")
        wanted = layer.gates["c"] if "~" in axes.get_ylabel() else {**values, **layer.states}[name]
        (bars,) = axes.collections
        assert [segment[1][1] for segment in bars.get_segments()] == list(wanted[0, 0])
    markers = [one for one in panel(figure, "y_hat").get_lines() if has_markers(one)]
    assert list(markers[0].get_ydata()) == list(result.y_hat_keras[0, 0])
    assert drawn_texts(plots.figure(rnnshapes.trace(T=1, M=1, K=1, show="y,h", keras=False)))


def test_many_steps_are_bands_of_their_extremes() -> None:
    """No peak is lost, and a note says how many stand for one."""
    steps = 10 * series.MOST_STEPS
    result = rnnshapes.trace(T=steps, M=3, K=1, show="y,h", keras=False)
    y_hat = result.y_hat.copy()
    y_hat[0, 5_432, 0], y_hat[0, 1_234, 0] = 77.0, -66.0
    result = replace(result, y_hat=y_hat)
    figure = plots.figure(result)
    axes = panel(figure, "y_hat")
    high, low = (np.asarray(one.get_ydata()) for one in axes.get_lines())
    assert len(high) == len(low) == series.MOST_STEPS
    assert (high.max(), low.min()) == (77.0, -66.0)
    assert (high >= low).all()
    size = steps // series.MOST_STEPS
    h = result.layers[0].states["h"][0]
    assert images(figure)[0].shape == (3, series.MOST_STEPS)
    assert np.allclose(images(figure)[0][:, 0], h[:size].mean(axis=0))
    assert np.allclose(images(figure)[0][:, -1], h[-size:].mean(axis=0))
    assert any(f" {size:,} " in text for text in words(figure))
    assert len(saved(result, "svg")) < 1_000_000


def test_an_envelope_holds_every_number() -> None:
    """What is not finite does not count."""
    values = np.random.default_rng(0).standard_normal(series.MOST_STEPS * 3 - 1)
    values[::5], values[30:33] = np.inf, np.nan
    band = series.envelope(values, start=10)
    assert band.size == 3
    for group, (low, high) in enumerate(zip(band.low, band.high, strict=True)):
        part = values[3 * group : 3 * group + 3]
        part = part[np.isfinite(part)]
        assert band.t[group] == 10 + 3 * group + 1
        if len(part):
            assert (low, high) == (part.min(), part.max())
        else:
            assert np.isnan([low, high]).all()
    few = series.envelope(values[:9], start=4)
    assert (few.size, list(few.t)) == (1, list(range(4, 13)))


def test_every_unit_has_its_row() -> None:
    """Neighbours among units have nothing in common: none is the mean of several."""
    result = rnnshapes.trace(T=4, M=series.MOST_UNITS, K=30, show="y,h", keras=False)
    figure = plots.figure(result)
    assert np.array_equal(images(figure)[0], result.y_hat[0].T)
    assert np.array_equal(images(figure)[1], result.layers[0].states["h"][0].T)
    assert not any("every" in text for text in words(figure))
    many = rnnshapes.trace(T=2, M=series.MOST_UNITS + 1, show="h", keras=False)
    shown = plots.figure(many)
    assert np.array_equal(images(shown)[0], many.layers[0].states["h"][0, :, ::2].T)
    assert any("every 2" in text for text in words(shown))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_cannot_be_drawn_are_left_out(value: float) -> None:
    x = np.ones((1, 6, 3))
    x[0, 3] = value
    result = rnnshapes.trace(x=x, M=4, K=2, activation="relu", keras=False, show="y,h")
    assert drawn_texts(plots.figure(result))


def test_names_are_written_as_they_are() -> None:
    """No mathematics, no control characters; what the font does not have, as its number."""
    import keras

    la = keras.layers
    parts = [keras.Input((5, 3)), la.GRU(4, name="a$b_1$c"), la.Dense(2, name="d$_^")]
    model = keras.Sequential(parts)
    for result in (
        rnnshapes.inspect(model, N=2),
        rnnshapes.trace(model, N=2, keras=False, show="h"),
    ):
        figure = plots.figure(result)
        assert any("a$b_1$c" in text for text in words(figure))
        named = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert not any(text.get_parse_math() for text in named)
        assert drawn_texts(figure)
    assert style.font_text("\x1b[31m漢·→ h̃") == "\\x1b[31m\\u6f22·→ h̃"


# --- verify and a port --------------------------------------------------------------------------


def pointed_at(axes: Axes, text: str) -> tuple[float, float]:
    """Where the text with these words points to."""
    (found,) = [one for one in axes.texts if text in one.get_text()]
    return found.xy


def test_ratios_are_drawn_over_t_below_their_limit() -> None:
    """One line for each check that has steps, by format; the largest is pointed at."""
    figure = figure_of("verify")
    for precision in ("float32", "float64"):
        axes = panel(figure, f"Ratio in {precision}")
        checks = [
            check
            for check in verified().checks
            if check.precision == precision and check.residual.step_errors is not None
        ]
        assert len(checks) == 2
        for check in checks:
            label = f"{check.layer}: {check.quantity}  {check.ratio:.3g}"
            per_step = check.residual.step_errors.ratio
            wanted = np.where(per_step > 0, per_step, np.nan)
            assert np.array_equal(numbers(axes, label), wanted, equal_nan=True)
            assert (per_step <= 1).all()
        worst = max(checks, key=lambda check: check.ratio)
        place = pointed_at(axes, f"{worst.ratio:.3g} at {worst.index}")
        assert place == (worst.index.t, worst.ratio)
        limits = [one for one in axes.get_lines() if set(one.get_ydata()) == {1.0}]
        assert len(limits) == 1
    rest = panel(figure, "Checks without a time axis")
    alone = [c for c in verified().checks if c.precision and c.residual.step_errors is None]
    wanted = sorted(f"{c.layer}: {c.quantity}, {c.precision}  {c.ratio:.3g}" for c in alone)
    assert sorted(text.get_text() for text in rest.get_yticklabels()) == wanted
    assert not any("FAIL" in text for text in words(figure))


def drawn_ratios(ratio: float, index: Index, per_step: Any) -> Axes:
    """A panel with one check."""
    axes = Figure().add_subplot()
    check = ratios.RatioSeries("a", True, Residual(ratio, index, 9), per_step)
    with style.fixed_settings():
        ratios.ratios_over_time("", [check]).draw(axes)
    return axes


@pytest.mark.parametrize("size", [1, 5])
def test_isolated_numbers_have_a_point(size: int) -> None:
    """A line needs two neighbours."""
    per_step = np.zeros(100 if size == 1 else size * series.MOST_STEPS)
    per_step[[10 * size, 40 * size, 40 * size + size]] = 0.5
    axes = drawn_ratios(0.5, Index(0, None, 0), per_step)
    lines = [one for one in axes.get_lines() if np.sum(np.asarray(one.get_ydata()) == 0.5) == 3]
    assert lines
    for one in lines:
        assert has_markers(one)
        assert list(one.get_markevery()) == [10]


@pytest.mark.parametrize("ratio", [0.0, 0.5, np.nan])
def test_texts_stay_off_the_axis(ratio: float) -> None:
    """What is written of the largest ratio stands inside its panel."""
    axes = drawn_ratios(ratio, Index(0, 1, 0), np.full(5, ratio))
    axes.get_figure().draw_without_rendering()
    (text,) = [one for one in axes.texts if "sample 0" in one.get_text()]
    box, inside = text.get_window_extent(), axes.get_window_extent()
    assert inside.y0 < box.y0 < box.y1 < inside.y1
    assert inside.x0 < box.x0 < box.x1 < inside.x1


def failing() -> Any:
    """The same with a wrong number at t = 4, and a NaN somewhere else."""
    checks = []
    for check in verified().checks:
        changes: dict[str, Any] = {}
        if check.name == "gru: h at every step":
            per_step = check.residual.step_errors.ratio.copy()
            per_step[4] = 50.0
            errors = check.residual.step_errors._replace(ratio=per_step)
            wrong = {"ratio": 50.0, "index": Index(1, 4, 2), "step_errors": errors}
            changes = {"residual": replace(check.residual, **wrong), "passed": False}
        elif check.name == "predict: own output":
            changes = {"residual": replace(check.residual, ratio=np.nan), "passed": False}
        elif check.name == "gru/kernel":
            changes = {"passed": False, "found": "(12, 3)"}
        checks.append(replace(check, **changes))
    return replace(verified(), checks=tuple(checks))


def test_failing_checks_stand_out() -> None:
    """A word marks them beside the colour."""
    result = failing()
    figure = plots.figure(result)
    axes = panel(figure, "Ratio in float32")
    failed, passing = line(axes, "FAIL gru: h"), line(axes, "dense")
    assert failed.get_color() != passing.get_color()
    assert failed.get_linewidth() > passing.get_linewidth()
    assert pointed_at(axes, f"50 at {Index(1, 4, 2)}") == (4, 50.0)
    text = " ".join(words(figure))
    assert f"3 of {len(result.checks)}" in text
    assert "FAIL gru/kernel: (D, 3M) = (3, 12)" in text
    first = panel(figure, "Checks without a time axis").get_yticklabels()[0].get_text()
    assert first.startswith("FAIL predict: own output, float32")
    assert first.endswith("NaN")
    assert drawn_texts(figure)


def test_passing_names_stay_below_the_limit() -> None:
    """What lies beyond it is empty but for the limit's own name."""
    figure = figure_of("verify")
    texts = [(text, box) for text, box in drawn_texts(figure) if ": " in text or "unit" in text]
    for axes in figure.axes:
        inside, (x, y) = axes.get_window_extent(), axes.transData.transform((1.0, 1.0))
        for text, box in texts:
            if inside.y0 <= (box.y0 + box.y1) / 2 <= inside.y1:
                assert (box.y1 <= y) if axes.get_yscale() == "log" else (box.x1 <= x), text
    assert len(texts) > 7


@pytest.mark.parametrize("name", ["trace", "verify"])
def test_figures_fit_a_slide(name: str) -> None:
    """Of 16:9 or 4:3, and no text lies on another."""
    figure = figure_of(name)
    width, height = figure.get_size_inches()
    assert round(width / height, 3) in (1.333, 1.778)
    assert width * 150 <= 1600
    assert overlapping_texts(drawn_texts(figure)) == []


def test_a_port_is_drawn_with_its_explanation() -> None:
    """The ratio over t of each array: above the limit as it is, below as it is explained."""
    figure = figure_of("port")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    given, explained = ([one for one in a.get_lines() if "  " in one.get_label()] for a in panels)
    assert len(given) == len(explained) == 2
    assert all(np.nanmin(one.get_ydata()) > 1 for one in given)
    assert all(np.nanmax(one.get_ydata()) <= 1 for one in explained)
    assert any(ported().diagnosis.explanations[0].text in text for text in words(figure))
