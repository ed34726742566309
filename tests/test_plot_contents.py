"""What plots show: the numbers of the result, each at its index, and what is not drawn."""

from __future__ import annotations

import re
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
from rnnshapes.forward.non_finite import NonFinite
from rnnshapes.forward.tracing import Trace
from rnnshapes.port.mistakes.axes import SWAPPED_OUTPUT
from rnnshapes.render import palette, plots
from rnnshapes.render.phrases import not_finite_text
from rnnshapes.render.plots import panels, ratios, series, style
from rnnshapes.render.view import View
from rnnshapes.session import open_session
from rnnshapes.verification.bounds import Residual
from tests.helpers.models import model_of
from tests.helpers.plots import (
    SIZES,
    cut_off_texts,
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


def legend_of(axes: Axes) -> list[str]:
    """Return the texts of a legend."""
    return [text.get_text() for text in axes.get_legend().get_texts()]


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
    numpy = [line(axes, f"y_hat[{unit}]") for unit in range(2)]
    assert len({one.get_marker() for one in keras}) == 2  # told apart without colours
    assert len({one.get_linestyle() for one in numpy}) == 2


def test_states_and_gates_are_drawn_in_colours() -> None:
    """h, c, i, f, c~, o of the sample, unit 0 on top; the candidate is signed, gates are not."""
    result, figure = traced(), figure_of("trace", sample=1)
    layer = result.layers[0]
    wanted = [*layer.states.values(), *layer.gates.values()]
    assert len(images(figure)) == len(wanted) == 6
    for found, values in zip(images(figure), wanted, strict=True):
        assert np.array_equal(found, values[1].T)
    assert list(maps(figure)) == ["x", "h", "c", "i", "f", "c~", "o"]
    titles = [axes.get_title(loc="left") for axes in maps(figure).values()]
    assert titles[1] == "lstm: states and gates of 4 units"
    assert titles[2:] == [""] * 5
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
    for text in ("(N, T, D)", "(2, 7, 3)", "sample 1 of 2"):
        assert text in axes.get_title(loc="left")
    assert traced().source in " ".join(words(figure_of("trace")))


def grids() -> Any:
    """A model whose input has two axes at each step."""
    import keras

    parts = [keras.layers.Reshape((5, 6)), keras.layers.SimpleRNN(4)]
    return keras.Sequential([keras.Input((5, 2, 3)), *parts])


@pytest.mark.parametrize("name", ["given states", "grids"])
def test_only_inputs_over_time_are_drawn(name: str) -> None:
    """All numbers of a step stand below each other."""
    model = grids() if name == "grids" else model_of(name)
    result = rnnshapes.trace(model, N=2, show="h", keras=False)
    figure = plots.figure(result, View(sample=1))
    x = next(result.sources[0].blocks(99))[1]
    shown = figure.axes[0].get_images()[0].get_array().data
    assert np.array_equal(shown, x.reshape(len(x), -1).T)
    first, *others = (node.name for node in result.network.inputs)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names[0] == (first if others else "x")
    assert {*others}.isdisjoint(names)


def test_a_single_feature_is_a_line() -> None:
    """It may be a word; more features are colours alone."""
    x = np.random.default_rng(1).standard_normal((2, 6, 1)).astype("float32")
    result = rnnshapes.trace(x=x, M=4, K=2, keras=False, show="y")
    (axes,) = (
        a for a in plots.figure(result, View(sample=1, start=2)).axes if a.get_ylabel() == "x"
    )
    (one,) = axes.get_lines()
    assert (list(one.get_xdata()), list(one.get_ydata())) == ([2, 3, 4, 5], list(x[1, 2:, 0]))
    assert not axes.get_images()
    assert not maps(figure_of("trace"))["x"].get_lines()


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
    *bad, alpha = image.cmap.get_bad()  # of what is missing, on white
    bad = 1 - alpha * (1 - np.array(bad))
    others = image.cmap(np.linspace(0, 1, 255))[:, :3]
    assert np.abs(others - bad).max(axis=1).min() > 0.1


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
    assert [a.get_xlabel() for a in figure.axes if a.get_xlabel()] == ["t"]


def test_what_is_above_its_bound_is_marked() -> None:
    """A note counts the marks."""
    errors = traced().step_errors["lstm.h"]
    error = errors.error.copy()
    error[[2, 5]], error[3] = 1.0, errors.bound[3]  # up to the bound it is right
    wrong = StepErrors(error / errors.bound, error, errors.bound)
    figure = plots.figure(replace(traced(), step_errors={**traced().step_errors, "lstm.h": wrong}))
    marks = line(panel(figure, "rounding"), "above")
    assert " 2 steps" in str(marks.get_label())
    assert has_markers(marks)
    assert not joins(marks)
    assert list(marks.get_xdata()) == [2, 5]
    assert list(marks.get_ydata()) == list(wrong.ratio[[2, 5]])


def test_largest_errors_of_a_step_are_named() -> None:
    """The others are counted, and what is above its bound has a mark at its own step."""
    errors = {}
    for number in range(8):
        ratio = np.full(7, 0.01 * (number + 1))
        ratio[number % 7] = 0.1 * (number + 1)
        errors[f"q{number}"] = StepErrors(ratio, ratio, np.ones(7))
    errors["q2"].ratio[[3, 4]] = 1e308, 3.0
    errors["q1"].ratio[:] = np.nan
    figure = plots.figure(replace(traced(), step_errors=errors), View(start=2, end=6))
    axes = panel(figure, "rounding")
    handles, named = axes.get_legend_handles_labels()
    assert len({one.get_linestyle() for one in handles[:4]}) == 4  # told apart without colours
    (limit,) = [one for one in axes.get_lines() if set(one.get_ydata()) == {1.0}]
    assert limit.get_linewidth() > 0
    assert [name for name in named if " " not in name] == ["q2", "q7", "q6", "q5", "q4"]
    assert [name for name in named if "more" in name] == ["3 more"]
    (mark,) = [one for one in axes.get_lines() if "above" in str(one.get_label())]
    assert "q2 above its bound at 2 steps" in str(mark.get_label())
    assert drawn_texts(figure)
    assert (list(mark.get_xdata()), list(mark.get_ydata())) == ([4], [3.0])
    assert np.array_equal(numbers(axes, "q7"), errors["q7"].ratio[2:6])
    assert list(line(axes, "q7").get_xdata()) == [2, 3, 4, 5]
    assert axes.get_xlim() == (1.5, 5.5)


def test_notes_say_what_is_drawn() -> None:
    """The sample, and how many steps and units stand for one."""
    steps, units = 3 * series.MOST_STEPS, 2 * series.MOST_UNITS + 1
    (layer,) = traced().layers
    none = (replace(layer, states={}, gates={}),)
    alone = replace(traced(), layers=none, keras=None, step_errors={})

    def notes(*shape: int, **view: int) -> str:
        return " ".join(words(plots.figure(replace(alone, y_hat=np.zeros(shape)), View(**view))))

    long = notes(2, steps, 1, sample=1)
    assert "Sample 1" in long
    assert f" 3 of {steps:,} steps" in long
    assert "Keras is marked" not in long
    assert " steps:" not in notes(2, steps, 1, start=5, end=series.MOST_STEPS + 5)
    for shape in ((units,), (3, units // 3)):
        assert f"Of {units:,} units, one of every 3 " in notes(2, 2, *shape)
    assert " units, one" not in notes(2, 2, series.MOST_UNITS)


@pytest.mark.parametrize(
    ("steps", "view", "every"),
    [
        (series.MOST_MARKERS, {}, 1),
        (series.MOST_MARKERS + 1, {}, 2),
        (6 * series.MOST_MARKERS, {"start": 3, "end": 3 + 2 * series.MOST_MARKERS + 1}, 3),
        (3 * series.MOST_STEPS, {}, 3 * -(-series.MOST_STEPS // series.MOST_MARKERS)),
    ],
)
def test_notes_count_the_steps_between_markers(steps: int, view: Any, every: int) -> None:
    y_hat = np.random.default_rng(1).standard_normal((2, steps, 2))
    keras = replace(traced().keras, each={"dense": (y_hat,)})
    result = replace(traced(), layers=(), step_errors={}, y_hat=y_hat, keras=keras)
    figure = plots.figure(result, View(**view))
    markers = [one for one in panel(figure, "y_hat").get_lines() if not joins(one)]
    assert markers
    assert {np.diff(one.get_xdata()).min() for one in markers} == {every}
    size = max(1, steps // series.MOST_STEPS)  # of a group both ends are marked
    ends = [(unit, end) for unit in (0, 1) for end in ([max, min] if size > 1 else [max])]
    for one, (unit, end) in zip(markers, ends, strict=True):
        groups = [y_hat[0, int(t - size / 2 + 0.5) :][:size, unit] for t in one.get_xdata()]
        assert list(one.get_ydata()) == list(map(end, groups))
    found = re.search(r"Keras \D*every ([\d,]+) steps", " ".join(words(figure)))
    assert (found and int(found[1].replace(",", ""))) == (every if every > 1 else None)


@pytest.mark.parametrize("units", [1, 7, 8, 9, 30])
def test_few_units_of_y_hat_are_lines(units: int) -> None:
    """More are colours, and the title tells that they are those of NumPy alone."""
    y_hat = np.random.default_rng(1).standard_normal((2, 5, units))
    keras = replace(traced().keras, each={"dense": (y_hat + 1e-3,)})
    result = replace(traced(), layers=(), step_errors={}, y_hat=y_hat, keras=keras)
    axes = panel(plots.figure(result), "y_hat")
    title, lines = axes.get_title(loc="left"), axes.get_lines()
    many = bool(axes.get_images())
    assert many == (units > 8)
    assert (f" {units} units" in title, "NumPy" in title) == (many, many)
    drawn = [list(one.get_ydata()) for one in lines if len(one.get_ydata()) == 5]
    wanted = [] if many else [*map(list, y_hat[0].T), *map(list, y_hat[0].T + 1e-3)]
    assert sorted(drawn) == sorted(wanted)


def test_notes_say_what_holds_for_the_network() -> None:
    """Only what is so: Keras, masks, and samples of the rounding."""
    bare = [replace(layer, states={}, gates={}) for layer in traced().layers]
    whole = replace(traced(), layers=tuple(bare))
    few = replace(whole, keras=None, step_errors={})
    holds: dict[str, tuple[Any, list[str]]] = {
        "all": (whole, ["Keras 3", "of all 2 samples"]),
        "one sample": (replace(whole, output=whole.output[:1]), ["Keras 3"]),
        "few": (few, ["not compared"]),
        "masked": (masked(), ["not compared", "masked step"]),
    }
    texts = {text for _, those in holds.values() for text in those}
    version = f"Keras {traced().keras.engine.version}"
    for name, (result, wanted) in holds.items():
        notes = " ".join(words(plots.figure(result))).replace(version, "Keras 3")
        assert {text for text in texts if text in notes} == set(wanted), name


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
    keras = [one for one in axes.get_lines() if not joins(one)]
    assert [list(one.get_xdata()) for one in keras] == [[2, 3, 4]] * 2
    drawn = np.array([one.get_ydata() for one in keras])
    assert np.array_equal(drawn.T, traced().y_hat_keras[1, 2:5])


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
    ends = [(0.5, 1.5), (2.5, 5.5)]
    for view, spans in (
        (View(sample=0), []),
        (View(sample=1, start=1, end=4), [ends[0], (2.5, 3.5)]),
        (View(sample=1), ends),
    ):
        figure = plots.figure(result, view)
        for axes in (
            *(maps(figure)[name] for name in ("h", "z", "r", "h~")),
            panel(figure, "y_hat"),
        ):
            hatched = [p for p in axes.patches if p.get_hatch()]
            assert [(p.get_x(), p.get_x() + p.get_width()) for p in hatched] == spans
    assert np.isnan(images(figure)[1][:, 3:]).all()


def test_y_hat_in_reverse_order_is_not_shaded() -> None:
    """Its rows are not those of the mask."""
    import keras

    la = keras.layers
    layers = [la.Masking(), la.GRU(4, go_backwards=True, return_sequences=True), la.Dense(2)]
    x = np.random.default_rng(3).standard_normal((1, 6, 3))
    x[0, 1] = 0
    result = rnnshapes.trace(
        keras.Sequential([keras.Input((6, 3)), *layers]), x=x, keras=False, show="h"
    )
    figure = plots.figure(result)
    shaded = [
        sum(bool(p.get_hatch()) for p in axes.patches)
        for axes in (panel(figure, "y_hat"), maps(figure)["h"])
    ]
    assert shaded == [0, 1]


def test_output_without_steps_is_drawn_by_unit() -> None:
    """No line joins units, which are no time."""
    result = rnnshapes.trace(model_of("flattened"), N=2, show="h")
    axes = panel(figure := plots.figure(result), "output of the model")
    assert "after t" not in " ".join(words(figure))
    numpy, keras = [one for one in axes.get_lines() if len(one.get_xdata())]
    assert np.array_equal(numpy.get_ydata(), result.output[0])
    assert np.array_equal(keras.get_ydata(), result.output_keras[0])
    units = list(range(result.output.shape[1]))
    assert list(numpy.get_xdata()) == list(keras.get_xdata()) == units
    assert not joins(numpy)
    assert not joins(keras)
    alone = panel(plots.figure(replace(result, keras=None)), "output of the model")
    (only,) = alone.get_lines()
    assert np.array_equal(only.get_ydata(), result.output[0])
    assert [legend_of(each) for each in (axes, alone)] == [["NumPy", "Keras"], ["NumPy"]]


def test_panels_of_one_time_axis_stand_together() -> None:
    result = rnnshapes.trace(model_of("encoder, decoder"), N=2, show="h", keras=False)
    figure = plots.figure(result)
    spans = [axes.get_xlim() for axes in figure.axes]
    assert spans == [(-0.5, 8.5)] * 2 + [(-0.5, 5.5)] * 3
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert [label.split()[-2] for label in labels] == ["T1", "T2"]
    assert {axes.xaxis.get_major_formatter()(1234.0) for axes in figure.axes} == {"1,234"}
    first, second = (node.name for node in result.network.inputs)
    assert [axes.get_ylabel() for axes in figure.axes] == [first, "h1", second, "", "h2"]
    shapes = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert f"{first} (N, T1, D1) = (2, 9, 3)" in shapes[0]
    assert f"{second} (N, T2, D2) = (2, 6, 4)" in shapes[1]
    errors = {"h2": StepErrors(*np.full((3, 12), 0.5))}
    figure = plots.figure(replace(result, step_errors=errors))
    assert [axes.get_xlim() for axes in figure.axes] == [*spans, (-0.5, 11.5)]


def test_steps_beyond_an_axis_do_not_hide_it() -> None:
    """All of it is drawn beside the chosen steps of a longer one."""
    result = rnnshapes.trace(model_of("encoder, decoder"), N=2, show="h", keras=False)
    figure = plots.figure(result, View(sample=1, start=6, end=8))
    spans = [axes.get_xlim() for axes in figure.axes]
    assert spans == [(5.5, 7.5)] * 2 + [(-0.5, 5.5)] * 3
    encoder, decoder = (layer.states["h"][1].T for layer in result.layers)
    of_encoder, of_decoder = (shown for shown in images(figure) if shown.shape[0] == len(encoder))
    assert np.array_equal(of_encoder, encoder[:, 6:8])
    assert np.array_equal(of_decoder, decoder)


def test_legend_has_only_what_is_drawn() -> None:
    """The units, Keras and the shade of masked steps."""
    for result, view, others in (
        (traced(), View(sample=1), ["Keras"]),
        (replace(traced(), keras=None), View(start=3, end=4), []),
        (replace(traced(), keras=None), View(), []),
        (masked(), View(sample=1), ["masked"]),
    ):
        axes = panel(plots.figure(result, view), "y_hat")
        labels = legend_of(axes)
        units = [label for label in labels if label.startswith("y_hat[")]
        assert units == ([] if view.end else ["y_hat[0]", "y_hat[1]"])
        assert [word for word in ("Keras", "masked") if word in str(labels)] == others


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
        assert axes.get_xlim() == (-0.5, wanted.shape[2] - 0.5)
        assert (axes.get_ylim() == (0, 1)) == (name in ("i", "f", "o"))
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
    (band,) = axes.collections
    assert [*band.get_datalim(axes.transData).intervaly] == [-66.0, 77.0]
    size = steps // series.MOST_STEPS
    h = result.layers[0].states["h"][0]
    assert images(figure)[0].shape == (3, series.MOST_STEPS)
    assert np.allclose(images(figure)[0][:, 0], h[:size].mean(axis=0))
    assert np.allclose(images(figure)[0][:, -1], h[-size:].mean(axis=0))
    assert any(f" {size:,} " in text for text in words(figure))
    assert len(saved(result, "svg")) < 1_000_000


def test_an_envelope_holds_every_number() -> None:
    """What is not finite does not count."""
    values = np.random.default_rng(0).standard_normal(series.MOST_STEPS * 4 - 1)
    values[::5], values[32:36] = np.inf, np.nan
    band = series.envelope(values, start=10)
    assert band.size == 4
    for group, (low, high) in enumerate(zip(band.low, band.high, strict=True)):
        part = values[4 * group : 4 * group + 4]
        part = part[np.isfinite(part)]
        assert band.t[group] == 10 + 4 * group + 1.5
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
    assert " 30 units" in panel(figure, "y_hat").get_title(loc="left")
    assert not any("every" in text for text in words(figure))
    many = rnnshapes.trace(T=2, M=series.MOST_UNITS + 1, show="h", keras=False)
    shown = plots.figure(many)
    assert np.array_equal(images(shown)[0], many.layers[0].states["h"][0, :, ::2].T)
    assert any("every 2" in text for text in words(shown))


def test_log_lines_mark_zeros_and_infinite_numbers() -> None:
    """They stand at the ends of the panel, and have no part in its scale."""
    axes = Figure().add_subplot()
    values = np.array([0.0, 0.5, np.inf, np.nan, 2.0, 0.0, 1e250])
    series.draw_log_line(axes, values, 3, "-", color="black")
    positive, zeros, infinite = axes.get_lines()
    drawn = [np.nan, 0.5, np.nan, np.nan, 2.0, np.nan, np.nan]
    np.testing.assert_array_equal(positive.get_xdata(), np.arange(3, 10))
    np.testing.assert_array_equal(positive.get_ydata(), drawn)
    assert (list(zeros.get_xdata()), list(infinite.get_xdata())) == ([3, 8], [5, 9])
    assert max(zeros.get_ydata()) < 0.5 < min(infinite.get_ydata())
    series.set_log_scale(axes, 1.0)
    assert axes.get_ylim() == (0.125, 8.0)
    series.set_log_scale(axes, 10.0)
    assert axes.get_ylim() == (0.125, 40.0)
    texts = {number: axes.yaxis.get_major_formatter()(number) for number in (1e-8, 1, 10, 1e12, 0)}
    assert texts == {1e-8: "10⁻⁸", 1: "1", 10: "10", 1e12: "10¹²", 0: ""}


@pytest.mark.parametrize(
    ("mask", "spans"),
    [
        ("111", []),
        ("000", [(6.5, 9.5)]),
        ("011", [(6.5, 7.5)]),
        ("110", [(8.5, 9.5)]),
        ("10010", [(7.5, 9.5), (10.5, 11.5)]),
    ],
)
def test_masked_steps_are_shaded_from_end_to_end(mask: str, spans: Any) -> None:
    axes = Figure().add_subplot()
    series.shade_masked(axes, np.array([letter == "1" for letter in mask]), 7)
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches] == spans
    series.shade_masked(axes, None, 7)
    assert len(axes.patches) == len(spans)


def test_many_masked_steps_are_shaded_in_groups() -> None:
    axes = Figure().add_subplot()
    mask = np.ones(1000, bool)
    mask[[7, 503]] = False
    series.shade_masked(axes, mask, 0)
    spans = [(p.get_x(), p.get_x() + p.get_width()) for p in axes.patches]
    assert spans == [(4.5, 9.5), (499.5, 504.5)]


#: Numbers, whether they are shares, and the ends of the scale of colours.
SCALES = [
    ([[0.25, -3.0], [1.0, 2.0]], False, (-3.0, 3.0)),
    ([[0.25, 0.5], [np.nan, np.inf]], False, (-0.5, 0.5)),
    ([[0.25, 0.5], [1.0, 0.0]], True, (0.0, 1.0)),
    ([[0.25, 0.5], [1.5, 0.0]], True, (-1.5, 1.5)),
    ([[0.25, 0.5], [-0.5, 0.0]], True, (-0.5, 0.5)),
    ([[0.0, 0.0]], False, (-1.0, 1.0)),
    ([[0.25, -1.7e308], [1.0, 2.0]], False, (-2.0, 2.0)),
]


@pytest.mark.parametrize(("values", "fraction", "ends"), SCALES)
def test_heat_maps_have_a_scale_for_their_numbers(values: Any, fraction: bool, ends: Any) -> None:
    axes = Figure().add_subplot()
    array = np.array(values)
    with style.fixed_settings():
        series.draw_heat_map(axes, array, "h", 5, fraction=fraction)
    (image,) = axes.get_images()
    assert image.get_clim() == ends
    assert image.get_extent() == [4.5, 4.5 + len(array), 1.5, -0.5]
    shown = np.ma.filled(image.get_array(), np.nan)
    np.testing.assert_array_equal(shown, np.where(np.abs(array) < 1e99, array, np.nan).T)
    assert axes.get_ylim() == (1.5, -0.5)
    (bar,) = axes.child_axes
    labels = [label.get_text() for label in bar.get_yticklabels()]
    assert labels == [f"{each:.2g}" for each in (ends[0], sum(ends) / 2, ends[1])]


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_cannot_be_drawn_are_left_out(value: float) -> None:
    x = np.ones((1, 6, 3))
    x[0, 3] = value
    result = rnnshapes.trace(x=x, M=4, K=2, activation="relu", keras=False, show="y,h")
    assert drawn_texts(figure := plots.figure(result))
    assert not_finite_text(result.not_finite) in " ".join(words(figure)).replace("\n", " ")


def test_numbers_too_large_to_draw_are_left_out() -> None:
    """As points of lines, and as bars."""
    y_hat = traced().y_hat.copy()
    y_hat[0, 3] = 1.7e308, -1.7e308
    keras = replace(traced().keras, each={"dense": (y_hat,)})
    result = replace(traced(), y_hat=y_hat, layers=(), keras=keras)
    figure = plots.figure(result)
    drawn = np.where(np.abs(y_hat) < 1e99, y_hat, np.nan)
    np.testing.assert_array_equal(numbers(panel(figure, "y_hat"), "y_hat[1]"), drawn[0, :, 1])
    bars = plots.figure(result, View(start=3, end=4))
    assert {"x_3", "y_hat_3"} <= {axes.get_ylabel() for axes in bars.axes}
    for each in (figure, bars):
        assert drawn_texts(each)


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
        assert axes.get_xlim() == (-0.5, 6.5)
    rest = panel(figure, "Checks without a time axis")
    alone = [c for c in verified().checks if c.precision and c.residual.step_errors is None]
    wanted = sorted(f"{c.layer}: {c.quantity}, {c.precision}  {c.ratio:.3g}" for c in alone)
    assert sorted(text.get_text() for text in rest.get_yticklabels()) == wanted
    assert [a.get_xlabel() for a in figure.axes if a.get_xlabel()] == ["t", "ratio"]
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


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1e295, np.nan])
def test_texts_stay_off_the_axis(ratio: float) -> None:
    """What is written of the largest ratio stands inside its panel."""
    axes = drawn_ratios(ratio, Index(0, 1, 0), np.full(5, ratio))
    axes.get_figure().draw_without_rendering()
    (text,) = [one for one in axes.texts if "sample 0" in one.get_text()]
    box, inside = text.get_window_extent(), axes.get_window_extent()
    assert inside.y0 < box.y0 < box.y1 < inside.y1
    assert inside.x0 < box.x0 < box.x1 < inside.x1


def ratio_series(name: str, ratio: float, t: int = 0, **options: Any) -> ratios.RatioSeries:
    """A check with 100 steps, of which the largest ratio is at step t; it fails above 1."""
    per_step = np.full(100, ratio / 2)
    per_step[t] = ratio
    residual = Residual(ratio, Index(1, t, 2), options.pop("compared", 9))
    return ratios.RatioSeries(name, ratio <= 1, residual, per_step, **options)


def drawn_panel(made: Any) -> Axes:
    """The axes of a panel alone."""
    axes = Figure().add_subplot()
    with style.fixed_settings():
        made.draw(axes)
    return axes


def test_each_ratio_has_a_row_and_a_marker() -> None:
    """What fails stands on top, and then the largest; without a number the marker is at an end."""
    values = {"a": 0.5, "d": 3.0, "b": 31.0, "g": 1e308, "c": 0.02, "e": np.nan, "f": 0.0}
    made = ratios.ratio_rows("title", [ratio_series(*each) for each in values.items()])
    axes = drawn_panel(made)
    order = ["e", "g", "b", "d", "a", "c", "f"]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == [
        *("FAIL e  NaN", "FAIL g  1e+308", "FAIL b  31", "FAIL d  3"),
        *("a  0.5", "c  0.02", "f  0"),
    ]
    markers = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    low, high = axes.get_xlim()
    for number, (name, marker) in enumerate(zip(order, markers, strict=True)):
        (x,), (y,) = marker.get_xdata(), marker.get_ydata()
        assert y == number
        assert low < x < high
        if 0 < values[name] < 1e99:
            assert x == values[name]
    stems = [line for line in axes.get_lines() if len({*line.get_xdata()}) == 2]
    ends = [(*line.get_xdata(), *line.get_ydata()) for line in stems]
    assert ends == [(low, *m.get_xdata(), *m.get_ydata(), *m.get_ydata()) for m in markers]
    assert markers[0].get_xdata()[0] == markers[1].get_xdata()[0] > 31
    assert markers[-1].get_xdata()[0] < 0.02
    shapes = [marker.get_marker() for marker in markers]
    colours = [marker.get_color() for marker in markers]
    for looks in (shapes, colours):
        assert {*looks[:4]}.isdisjoint(looks[4:])  # what fails is told apart
        assert (len({*looks[:4]}), len({*looks[4:6]})) == (1, 1)
    assert shapes[6] not in shapes[:6]  # no number stands at this end
    bottom, top = axes.get_ylim()
    assert (top < 0, bottom > 6, axes.get_xscale()) == (True, True, "log")
    assert axes.xaxis.get_major_formatter()(1e-3) == "10⁻³"
    assert made.title == "title"


def test_rows_that_are_left_out_are_counted() -> None:
    checks = [ratio_series(f"{number}", number / 100) for number in range(1, 31)]
    made = ratios.ratio_rows("title", checks)
    rows = [label.get_text() for label in drawn_panel(made).get_yticklabels()]
    assert rows == [f"{n}  {n / 100:.3g}" for n in range(30, 30 - len(rows), -1)]
    assert f" {30 - len(rows)} more" in made.title
    assert 20 <= len(rows) < 30


def test_long_names_leave_room_for_ratios() -> None:
    """They have no middle."""
    checks = [ratio_series(f"first{'x' * 300}last", 0.5), ratio_series("a", 0.25)]
    (axes,) = panels.stack("", [ratios.ratio_rows("", checks)], []).axes
    long, short = (label.get_text() for label in axes.get_yticklabels())
    assert re.fullmatch("firstx+…x+last  0.5", long)
    assert short == "a  0.25"
    assert axes.get_position().width > 0.3


def test_largest_ratios_have_lines_of_their_own() -> None:
    """The others share a name; what fails is in front, in one colour, and pointed at."""
    passing = [ratio_series(f"p{n}", 0.1 * n, n) for n in range(1, 9)]
    failed = [
        ratio_series("f3", 5.0, 72),
        ratio_series("f1", 20.0, 40),
        ratio_series("f2", 9.0, 70),
    ]
    axes = drawn_panel(ratios.ratios_over_time("", [*passing, *failed]))
    handles, named = axes.get_legend_handles_labels()
    lines = dict(zip(named, handles, strict=True))
    assert named == [
        *("FAIL f1  20", "FAIL f2  9", "FAIL f3  5"),
        *(f"p{n}  {0.1 * n:.3g}" for n in (8, 7, 6, 5, 4)),
        "3 more, at most 0.3",
    ]
    shown = legend_of(axes)
    assert shown == named[: len(shown)] != []
    colours = [lines[name].get_color() for name in named]
    assert (len(set(colours)), len({*colours[:3]})) == (1 + 6, 1)
    assert len({lines[name].get_linestyle() for name in named[:3]}) == 3
    depths = [lines[name].get_zorder() for name in named]
    assert min(depths[:3]) > max(depths[3:8]) >= min(depths[3:8]) > depths[8]
    points = [
        (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.get_lines()
        if len(line.get_xdata()) == 1
    ]
    assert points == [(40, 20.0), (70, 9.0)]  # the third is too near the second
    texts = [text.get_text() for text in axes.texts]
    assert f"20 at {Index(1, 40, 2)}" in texts
    only = drawn_panel(ratios.ratios_over_time("", passing))
    assert f"0.8 at {Index(1, 8, 2)}" in [text.get_text() for text in only.texts]
    assert sum(" at sample" in text.get_text() for text in only.texts) == 1


def test_lines_have_gaps_where_ports_have_no_steps() -> None:
    steps = np.array([3, 4, 9])
    check = replace(ratio_series("a", 0.5), per_step=np.array([0.25, 0.5, 0.125]), steps=steps)
    other = replace(check, name="b", steps=steps + 2)
    axes = drawn_panel(ratios.ratios_over_time("", [check, other]))
    handles, named = axes.get_legend_handles_labels()
    (found,) = [line for line, name in zip(handles, named, strict=True) if name.startswith("a ")]
    known = ~np.isnan(np.asarray(found.get_ydata(), float))
    np.testing.assert_array_equal(np.asarray(found.get_xdata())[known], steps)
    np.testing.assert_array_equal(np.asarray(found.get_ydata())[known], [0.25, 0.5, 0.125])
    assert len(found.get_ydata()) == 7
    assert axes.get_xlim() == (2.5, 11.5)


@pytest.mark.parametrize(
    ("ratio", "compared", "text", "peak"),
    [(31.41, 9, "31.4", 4), (0.0, 9, "0", 4), (np.nan, 9, "NaN", 4), (0.5, 0, "nothing", None)],
)
def test_ratio_of_a_series_is_written(ratio: float, compared: int, text: str, peak: Any) -> None:
    series_of = ratio_series("a", ratio, 4, compared=compared)
    assert text in series_of.ratio_text
    assert series_of.peak == peak
    assert series_of.label.startswith("a  " if ratio <= 1 else "FAIL a  ")
    assert (series_of.ratio is None) == (compared == 0)
    failed = [replace(series_of, name=name, passed=False) for name in "ab"]
    axes = drawn_panel(ratios.ratios_over_time("", failed))
    pointed = [one for one in axes.texts if " at sample" in one.get_text()]
    assert len(pointed) == (peak is not None)  # the other is at the same step


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
    texts = drawn_texts(figure)
    assert overlapping_texts(texts) == cut_off_texts(figure, texts) == []


def test_a_port_is_drawn_with_its_explanation() -> None:
    """The ratio over t of each array: above the limit as it is, below as it is explained."""
    figure = figure_of("port")
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    given, explained = ([one for one in a.get_lines() if "  " in one.get_label()] for a in panels)
    assert len(given) == len(explained) == 2
    assert all(np.nanmin(one.get_ydata()) > 1 for one in given)
    assert all(np.nanmax(one.get_ydata()) <= 1 for one in explained)
    text = " ".join(" ".join(words(figure)).split())
    for number, explanation in enumerate(ported().diagnosis.explanations, 1):
        assert f" {number}: {' '.join(explanation.text.split())}." in text
    for fact in (ported().port, ported().dtype, ported().source):
        assert fact in text
    first, *_ = ported().checks
    timeless = replace(first, residual=replace(first.residual, step_errors=None), steps=None)
    figure = plots.figure(replace(ported(), checks=(timeless, *ported().checks)))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert ["without" in title for title in titles] == [False, False, True]


def test_a_port_is_drawn_as_what_it_gives() -> None:
    """All lines of its checks; rows where there is no time; exchanged axes as they belong."""
    result = rnnshapes.trace(cell="gru", show="y,h", keras=False, **SIZES)
    y_hat = result.y_hat.astype("float32")
    states = result.layers[0].states["h"].astype("float32")

    def ports(against: Any) -> Any:
        return rnnshapes.verify(cell="gru", against=against, **SIZES)

    def drawn(port: Any) -> tuple[list[tuple[str, int, list[str]]], str]:
        """Each panel with its number of lines and its rows, and all that is written."""
        figure = plots.figure(port)
        ratios_of = [check.residual.step_errors for check in port.checks]
        found = []
        for axes in figure.axes:
            lines = [one for one in axes.get_lines() if "  " in str(one.get_label())]
            for one in lines:
                values = np.asarray(one.get_ydata(), float)
                assert any(np.array_equal(values, each.ratio) for each in ratios_of)
            rows = [label.get_text() for label in axes.get_yticklabels()] if not lines else []
            found.append((axes.get_title(loc="left"), len(lines), rows))
        return found, " ".join(words(figure))

    ((_, lines, _),), text = drawn(port := ports({"y_hat": y_hat, "gru.h": states}))
    assert (lines, any(check.proven for check in port.checks)) == (2, True)
    assert ("own states" in text, SWAPPED_OUTPUT.text in text) == (True, False)
    assert " 84 numbers" in text
    ((title, lines, rows),), text = drawn(last := ports(y_hat[:, -1]))
    assert (lines, len(rows)) == (0, 1)
    assert rows[0].endswith(f"  {last.checks[0].residual.ratio:.3g}")
    assert "without a time axis" in title
    assert " 4 numbers" in text
    assert (any(check.proven for check in last.checks), "own states" in text) == (False, False)
    (check,) = last.checks
    timeless = replace(check, residual=replace(check.residual, step_errors=None), steps=None)
    assert drawn(replace(last, checks=(timeless,))) == ([(title, lines, rows)], text)
    exchanged = ports(y_hat.swapaxes(0, 1))
    ((title, lines, _),), text = drawn(exchanged)
    assert (lines, "explanation 1" in title) == (1, True)
    assert f"{exchanged.verdict.upper()}: 1 of 1 checks" in text
    assert SWAPPED_OUTPUT.text in text
    unexplained = replace(exchanged.diagnosis, explanations=(), max_abs=0.25)
    alone = replace(exchanged, diagnosis=unexplained)
    ((title, lines, _),), text = drawn(alone)
    assert (lines, "swapped back" in title) == (1, True)
    assert f"{exchanged.diagnosis.tried:,} known mistakes" in text
    assert "2.5e-01" in text
    _, text = drawn(replace(ported(), diagnosis=None))
    assert f"{len(ported().checks)} of {len(ported().checks)} checks" in text


def test_notes_of_a_verification_count_its_facts() -> None:
    result = verified()
    facts = [check for check in result.checks if check.residual is None]
    others = [check for check in result.checks if check.residual is not None]

    def notes(figure: Figure) -> str:
        return " ".join(" ".join(words(figure)).split())

    text = notes(figure_of("verify"))
    assert f"All {len(result.checks)} checks passed" in text
    assert f" {len(facts)} names" in text
    for fact in (*result.network.precisions, result.engine.version, result.source):
        assert fact in text
    assert not any(word in text for word in ("FAIL", "t = 5 ", "overed", "None"))
    late = replace(others[0], residual=replace(others[0].residual, overflow=5))
    wrong = [replace(check, passed=False, found=f"found {n}") for n, check in enumerate(facts)]
    checks = (*wrong[:2], *facts[2:], late, *others[1:])
    missing = NonFinite(7, Index(1, 3, 2), None, "")
    nodes = [
        replace(node, layer=replace(node.layer, runtime_differences="known reason"))
        if node.layer.directions
        else node
        for node in result.network.nodes
    ]
    network = replace(result.network, nodes=tuple(nodes))
    failed = replace(result, checks=checks, unsupported=("one", "two"), not_finite=missing)
    failed = replace(failed, network=network)
    text = notes(plots.figure(failed))
    assert not_finite_text(missing) in text
    assert [word in text for word in ("t = 5 ", "overed", ": one, two")] == [True] * 3
    assert f"FAILED: 2 of {len(result.checks)} checks" in text
    assert failed.diagnosis == ("gru: known reason",)
    assert failed.diagnosis[0] in text
    assert (f" {len(facts)} names" in text, "FAIL: " in text) == (False, False)
    for check in wrong[:2]:
        assert f"FAIL {check.name}: {check.expected} expected, {check.found} found" in text
    text = notes(plots.figure(replace(result, checks=(*wrong, *others))))
    named = [check for check in wrong if f"FAIL {check.name}: " in text]
    assert " steps, a band" not in text
    assert named == wrong[: len(named)]
    assert f"FAIL: {len(wrong) - len(named)} more" in text
    assert len(named) < len(wrong)
    steps = 3 * series.MOST_STEPS
    long = replace(others[0].residual, step_errors=StepErrors(*np.zeros((3, steps))))
    text = notes(plots.figure(replace(result, checks=(replace(others[0], residual=long),))))
    assert (f" {steps:,} steps" in text, "every 3." in text) == (True, True)


def test_time_axes_of_other_lengths_have_own_panels() -> None:
    """The longest first; each has the checks of its length and precision."""
    checks = []
    for check in verified().checks:
        residual = check.residual
        if residual is not None and residual.step_errors is not None and check.layer == "gru":
            errors = residual.step_errors
            short = StepErrors(errors.ratio[:3], errors.error[:3], errors.bound[:3])
            residual = replace(residual, step_errors=short)
        checks.append(replace(check, residual=residual))
    figure = plots.figure(replace(verified(), checks=tuple(checks)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    expected = [(steps, kind) for steps in (7, 3) for kind in ("float32", "float64")]
    timed = [title for title in titles if title.startswith("Ratio in ")]
    assert [
        all(word in title for word in (kind, f" {steps} steps"))
        for title, (steps, kind) in zip(timed, expected, strict=True)
    ] == [True] * 4
    for axes, (steps, _) in zip(figure.axes, expected, strict=False):
        lines = [one for one in axes.get_lines() if "  " in str(one.get_label())]
        assert {len(one.get_ydata()) for one in lines} == {steps}
        assert all(("gru" in str(one.get_label())) == (steps == 3) for one in lines)


def test_further_recurrences_are_counted() -> None:
    """Panels of the first ones, in their order."""
    (layer,) = traced().layers
    states = {"h": layer.states["h"]}
    many = tuple(replace(layer, name=f"r{n}", index=str(n), states=states) for n in range(10))
    many = tuple(replace(each, gates={}) for each in many)
    figure = plots.figure(replace(traced(), layers=many, step_errors={}))
    names = [axes.get_ylabel() for axes in figure.axes if axes.get_images()]
    drawn = len(names) - 1
    assert names == ["x", *(f"h{n}" for n in range(drawn))]
    assert f"{drawn} of 10 " in " ".join(" ".join(words(figure)).split())
    assert 1 < drawn < 10


def test_y_hat_of_both_directions_needs_later_steps() -> None:
    texts = []
    for both in (False, True):
        options = {"bidirectional": both, "return_sequences": True, **SIZES}
        result = rnnshapes.trace(show="y,h", keras=False, **options)
        figure = plots.figure(result)
        titles = [maps(figure)[f"h{arrow}"].get_title(loc="left") for arrow in "→←"[: 2 * both]]
        assert ["reverse" in title for title in titles] == [False, True][: 2 * both]
        texts.append(" ".join(words(figure)))
    assert ["after t" in text for text in texts] == [False, True]
