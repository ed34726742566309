"""What pictures show: the numbers of the result, each where it belongs, and what is not drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.text import Text

import rnnshapes
from rnnshapes.forward.difference import Index, StepErrors
from rnnshapes.forward.tracing import Trace
from rnnshapes.render import palette, plots
from rnnshapes.render.plots import ratios, series, style
from rnnshapes.render.view import View
from rnnshapes.verification.bounds import Residual
from tests.helpers.models import MODELS
from tests.helpers.plots import SIZES, ported, saved, traced, verified

pytestmark = pytest.mark.usefixtures("eager")


def words(figure: Figure) -> list[str]:
    """Everything that is written on it."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def panel(figure: Figure, title: str) -> Axes:
    """The panel whose title begins so."""
    return next(a for a in figure.axes if a.get_title(loc="left").startswith(title))


def drawn(axes: Axes, label: str) -> Any:
    """The numbers of the line with this label."""
    (line,) = [one for one in axes.get_lines() if one.get_label() == label]
    return np.asarray(line.get_ydata(), float)


def images(figure: Figure) -> list[Any]:
    """The numbers of what is shown in colours, from top to bottom."""
    return [a.get_images()[0].get_array().data for a in figure.axes if a.get_images()]


# --- trace --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", [0, 1])
def test_y_hat_is_drawn_from_both_sides(sample: int) -> None:
    """NumPy as lines, Keras as open markers, unit by unit, over t."""
    result = traced()
    axes = panel(plots.figure(result, View(sample=sample)), "y_hat")
    keras = [line for line in axes.get_lines() if line.get_linestyle() == "None"]
    for unit in range(2):
        assert np.array_equal(drawn(axes, f"y_hat[{unit}]"), result.y_hat[sample, :, unit])
        assert np.array_equal(keras[unit].get_ydata(), result.y_hat_keras[sample, :, unit])
        assert list(keras[unit].get_xdata()) == list(range(7))
        assert keras[unit].get_markerfacecolor() == "none"
    assert len({line.get_marker() for line in keras}) == 2  # told apart without colours


def test_states_and_gates_are_drawn_in_colours() -> None:
    """h, c, i, f, c~, o of the sample, unit 0 on top; the candidate is signed, gates are not."""
    result, figure = traced(), plots.figure(traced(), View(sample=1))
    layer = result.layers[0]
    wanted = [*layer.states.values(), *layer.gates.values()]
    assert len(images(figure)) == len(wanted) == 6
    for found, values in zip(images(figure), wanted, strict=True):
        assert np.array_equal(found, values[1].T)
    named = [a for a in figure.axes if a.get_images() and a.get_ylabel()]
    assert [a.get_ylabel() for a in named] == ["h", "c", "i", "f", "c~", "o"]
    limits = {a.get_ylabel(): a.get_images()[0].get_clim() for a in named}
    assert limits["i"] == limits["f"] == limits["o"] == (0, 1)
    assert limits["c~"][0] == -limits["c~"][1]
    assert all(a.get_ylim() == (3.5, -0.5) for a in named)


def test_differences_stand_beside_their_bounds() -> None:
    """One step below its bound at each t, of all samples; the whole runs of the one shown."""
    figure = plots.figure(traced())
    for name, key in (("y_hat", "y_hat"), ("h of lstm", "lstm.h"), ("c of lstm", "lstm.c")):
        axes = panel(figure, f"difference of {name}")
        step, bound = drawn(axes, "one step"), drawn(axes, "proven bound of one step")
        course = traced().step_errors[key]
        assert np.array_equal(step, course.error)
        assert np.array_equal(bound, course.bound)
        assert (step <= bound).all()
        assert axes.get_yscale() == "log"
        assert not any("above" in text for text in words(figure))
    whole = np.abs(traced().y_hat - traced().y_hat_keras)[0].max(axis=1)
    assert np.array_equal(drawn(panel(figure, "difference of y_hat"), "whole runs"), whole)
    said = " ".join(words(figure))
    assert "one step of the equation that starts from Keras's own" in said


def test_what_is_above_its_bound_is_marked() -> None:
    """With a cross, and how often it is so."""
    course = traced().step_errors["lstm.h"]
    apart = course.error.copy()
    apart[[2, 5]] = 1.0
    wrong = StepErrors(apart / course.bound, apart, course.bound)
    figure = plots.figure(replace(traced(), step_errors={**traced().step_errors, "lstm.h": wrong}))
    axes = panel(figure, "difference of h")
    (marks,) = [one for one in axes.get_lines() if "above" in str(one.get_label())]
    assert marks.get_label() == "above its bound at 2 steps"
    assert marks.get_marker() == "X"
    assert list(marks.get_xdata()) == [2, 5]


def test_without_bounds_the_whole_runs_alone_are_drawn_and_without_keras_nothing() -> None:
    """And the picture says so."""
    figure = plots.figure(replace(traced(), step_errors={}))
    axes = panel(figure, "difference of h")
    assert {line.get_label() for line in axes.get_lines()} >= {"whole runs"}
    assert "proven bound of one step" not in words(figure)
    assert any("were not asked for" in text for text in words(figure))
    alone = plots.figure(rnnshapes.trace(keras=False, show="y,h", **SIZES))
    assert not any("difference" in text for text in words(alone))
    assert any("Keras was left out" in text for text in words(alone))


def test_only_the_steps_that_are_asked_for_are_drawn() -> None:
    """Counted as in the sequence."""
    figure = plots.figure(traced(), View(sample=1, start=2, end=5))
    axes = panel(figure, "y_hat")
    assert np.array_equal(drawn(axes, "y_hat[0]"), traced().y_hat[1, 2:5, 0])
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
    """In every panel over t; there are no gates at them."""
    result = masked()
    for sample, spans in ((0, []), (1, [(0.5, 1.5), (2.5, 5.5)])):
        figure = plots.figure(result, View(sample=sample))
        for axes in figure.axes:
            if axes.get_xlabel() or axes.get_images():
                found = [p for p in axes.patches if isinstance(p, Rectangle) and p.get_hatch()]
                shown = [(p.get_x(), p.get_x() + p.get_width()) for p in found]
                assert shown in (spans, []) if axes.get_ylabel() == "" else shown == spans
    assert np.isnan(images(plots.figure(result, View(sample=1)))[1][:, 3:]).all()


def test_what_has_no_y_hat_at_a_step_shows_its_answer_unit_by_unit() -> None:
    """As points, which no line joins: units are no time."""
    result = rnnshapes.trace(MODELS["flattened"](), N=2, show="h")
    axes = panel(plots.figure(result), "output of the model")
    numpy, keras = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert np.array_equal(numpy.get_ydata(), result.output[0])
    assert np.array_equal(keras.get_ydata(), result.output_keras[0])
    assert numpy.get_linestyle() == keras.get_linestyle() == "None"


def test_panels_of_one_time_axis_stand_together_and_share_it() -> None:
    """Of a sequence of T1 steps and one of T2."""
    result = rnnshapes.trace(MODELS["encoder, decoder"](), N=2, show="h", keras=False)
    figure = plots.figure(result)
    spans = [axes.get_xlim() for axes in figure.axes if axes.get_label() != "<colorbar>"]
    assert spans == [(-0.5, 5.5), (-0.5, 5.5), (-0.5, 8.5)]
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels == ["t, of T2 steps", "t, of T1 steps"]


# --- Sizes, numbers and names that are hard -----------------------------------------------------


def test_a_single_step_and_a_single_unit() -> None:
    """Have points, since a line needs two."""
    result = rnnshapes.trace(T=1, M=1, K=1, N=1, show="y,h", keras=False)
    axes = panel(plots.figure(result), "y_hat")
    (line,) = axes.get_lines()
    assert line.get_marker() == "."
    assert saved(result, "png")


def test_many_steps_are_bands_between_the_smallest_and_the_largest() -> None:
    """No peak is lost, and the picture says how many stand for one."""
    result = rnnshapes.trace(T=100_000, M=3, K=1, show="y,h", keras=False)
    y_hat = result.y_hat.copy()
    y_hat[0, 54_321, 0] = 77.0
    result = replace(result, y_hat=y_hat)
    figure = plots.figure(result)
    high = drawn(panel(figure, "y_hat"), "y_hat[0]")
    assert len(high) == series.MOST_STEPS
    assert high.max() == 77.0
    assert images(figure)[0].shape == (3, 1000)
    assert np.allclose(images(figure)[0][:, 0], result.layers[0].states["h"][0, :100].mean(axis=0))
    assert any("the smallest and the largest of every 100" in text for text in words(figure))
    assert len(saved(result, "svg")) < 1_000_000


def test_many_units_are_means_and_many_outputs_are_colours() -> None:
    """And the picture says so."""
    result = rnnshapes.trace(T=4, M=1000, K=30, show="y,h", keras=False)
    figure = plots.figure(result)
    assert np.array_equal(images(figure)[0], result.y_hat[0].T)
    assert images(figure)[1].shape == (125, 4)
    assert any("Of 1,000 units, a colour is the mean of 8" in text for text in words(figure))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_cannot_be_drawn_are_left_out(value: float) -> None:
    """Of a sequence that has them from t = 3 on."""
    x = np.ones((1, 6, 3))
    x[0, 3] = value
    result = rnnshapes.trace(x=x, M=4, K=2, activation="relu", keras=False, show="y,h")
    assert saved(result, "png")


def test_names_are_written_as_they_are() -> None:
    """No mathematics, no control characters; what the font does not have, as its number."""
    import keras

    la = keras.layers
    parts = [keras.Input((5, 3)), la.GRU(4, name="a$b_1$c"), la.Dense(2, name="d$_^")]
    model = keras.Sequential(parts)
    for result in (
        rnnshapes.inspect(model, N=2),
        rnnshapes.trace(model, N=2, keras=False, show="y,h,gates"),
    ):
        figure = plots.figure(result)
        assert any("a$b_1$c" in text for text in words(figure))
        named = [text for text in figure.findobj(Text) if "$" in text.get_text()]
        assert not any(text.get_parse_math() for text in named)
        assert saved(result, "svg")
    assert style.font_text("\x1b[31m漢·→ h̃") == "\\x1b[31m\\u6f22·→ h̃"


# --- verify, a port --------------------------------------------------------------------


def test_ratios_are_drawn_over_t_below_their_limit() -> None:
    """One line for each check that has steps, by format; the worst is ringed and told."""
    figure = plots.figure(verified())
    for precision in ("float32", "float64"):
        axes = panel(figure, f"Ratio in {precision}")
        checks = [
            check
            for check in verified().checks
            if check.precision == precision and check.residual.step_errors is not None
        ]
        assert len(checks) == 2
        for check in checks:
            found = drawn(axes, f"{check.layer}: {check.quantity}  {check.ratio:.3g}")
            ratios_at_steps = check.residual.step_errors.ratio
            wanted = np.where(ratios_at_steps > 0, ratios_at_steps, np.nan)
            assert np.array_equal(found, wanted, equal_nan=True)
        worst = max(checks, key=lambda check: check.ratio)
        (ring,) = [line for line in axes.get_lines() if line.get_markersize() == 11]
        assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (worst.index.t, worst.ratio)
        assert any(
            f"{worst.ratio:.3g} at sample {worst.index.sample}, t" in w for w in words(figure)
        )
    assert "limit 1" in words(figure)
    rest = panel(figure, "Checks without a time axis").texts
    alone = [c for c in verified().checks if c.precision and c.residual.step_errors is None]
    wanted = sorted(f"{c.layer}: {c.quantity}, {c.precision}  {c.ratio:.3g}" for c in alone)
    assert sorted(text.get_text() for text in rest) == wanted
    assert any("All" in text and "passed" in text for text in words(figure))


def test_a_number_between_two_that_are_none_has_a_point() -> None:
    """Of many steps, too, where the others have none; and so has a group of steps."""
    for steps, size in ((100, 1), (5 * series.MOST_STEPS, 5)):
        course = np.zeros(steps)
        course[[10 * size, 40 * size, 40 * size + size]] = 0.5
        axes = Figure().add_subplot()
        with style.fixed_settings():
            check = ratios.RatioSeries("a", True, Residual(0.5, Index(0, None, 0), 9), course)
            ratios.ratios_over_time("", [check]).draw(axes)
        for one in axes.get_lines():
            if np.sum(np.asarray(one.get_ydata()) == 0.5) == 3:
                assert one.get_marker() == "."
                assert list(one.get_markevery()) == [10]


@pytest.mark.parametrize(("ratio", "below"), [(0.0, False), (0.5, False), (np.nan, True)])
def test_what_is_said_of_the_worst_stands_off_the_axis(ratio: float, below: bool) -> None:
    """Above what lies at the bottom, and below what lies on top."""
    course = np.full(5, ratio)
    axes = Figure().add_subplot()
    rated = ratios.RatioSeries("a", True, Residual(ratio, Index(0, 1, 0), 5), course)
    with style.fixed_settings():
        ratios.ratios_over_time("", [rated]).draw(axes)
    (said,) = [text for text in axes.texts if "sample 0" in text.get_text()]
    assert (said.xyann[1] < 0) == below


def failing() -> Any:
    """The same with a wrong number at t = 4, and a NaN somewhere else."""
    checks = []
    for check in verified().checks:
        changes: dict[str, Any] = {}
        if check.name == "gru: h at every step":
            at_steps = check.residual.step_errors.ratio.copy()
            at_steps[4] = 50.0
            errors = check.residual.step_errors._replace(ratio=at_steps)
            wrong = {"ratio": 50.0, "index": Index(1, 4, 2), "step_errors": errors}
            changes = {"residual": replace(check.residual, **wrong), "passed": False}
        elif check.name == "predict: own output":
            changes = {"residual": replace(check.residual, ratio=np.nan), "passed": False}
        elif check.name == "gru/kernel":
            changes = {"passed": False, "found": "(12, 3)"}
        checks.append(replace(check, **changes))
    return replace(verified(), checks=tuple(checks))


def test_failing_checks_stand_out() -> None:
    """In vermilion and with a word, so that no colour is needed; facts are told."""
    figure = plots.figure(failing())
    axes = panel(figure, "Ratio in float32")
    (line,) = [one for one in axes.get_lines() if str(one.get_label()).startswith("FAIL gru: h")]
    assert to_hex(line.get_color()).upper() == style.BAD
    others = [one.get_color() for one in axes.get_lines() if "dense" in str(one.get_label())]
    assert style.BAD not in others
    said = " ".join(words(figure))
    assert "50 at sample 1, t 4, unit 2" in said
    assert "FAILED: 3 of" in said
    assert "FAIL gru/kernel: (D, 3M) = (3, 12) expected, (12, 3) found" in said
    first = panel(figure, "Checks without a time axis").texts[0]
    assert first.get_text() == "FAIL predict: own output, float32  NaN"
    assert saved(failing(), "png")


def test_a_port_is_drawn_as_it_is_and_as_it_is_explained() -> None:
    """The ratio over t of each array, above the limit and below it."""
    figure = plots.figure(ported())
    lines = {
        title: [one for one in panel(figure, title).get_lines() if ": " in str(one.get_label())]
        for title in ("the port as it is", "the port as explanation 1 has it")
    }
    given, explained = lines.values()
    assert len(given) == len(explained) == 2
    assert all(np.nanmin(line.get_ydata()) > 1 for line in given)
    assert all(np.nanmax(line.get_ydata()) <= 1 for line in explained)
    assert any("f, i, c, o" in text for text in words(figure))


# --- inspect ------------------------------------------------------------------------------------


def rectangles(figure: Figure, colour: str) -> list[Rectangle]:
    """Those of this colour, from left to right, from top to bottom."""
    found = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    return [p for p in found if to_hex(p.get_facecolor()).upper() == colour]


def test_weights_are_drawn_to_one_scale_and_by_gate() -> None:
    """(D, 4M) is seen: four parts of M columns each, in four colours, and D rows."""
    figure = plots.figure(rnnshapes.inspect(cell="lstm", **SIZES))
    scale = set()
    for number, gate in enumerate("ifco"):
        kernel, recurrent, bias = rectangles(figure, palette.category(number))
        for part, rows in ((kernel, 3), (recurrent, 4), (bias, 1)):
            scale |= {round(part.get_width() / 4, 9), round(part.get_height() / rows, 9)}
        letters = [text for text in figure.findobj(Text) if text.get_text() == gate]
        assert len(letters) == 3
        for letter in letters:  # no grid behind it
            ground = to_hex(letter.get_bbox_patch().get_facecolor())
            assert ground.upper() == palette.category(number)
    assert len(scale) == 1
    for text in ("kernel Wx", "(D, 4M) = (3, 16)", "recurrent_kernel Wh", "(4M,) = (16,)"):
        assert text in words(figure)


def test_the_flow_shows_every_shape_and_the_steps() -> None:
    """Unrolled over time, in both directions, with what joins them."""
    result = rnnshapes.inspect(cell="gru", bidirectional=True, N=2, T=30, D=3, M=4, K=5)
    found = words(plots.figure(result))
    for text in ("(N, T, D) = (2, 30, 3)", "(N, 2M) = (2, 8)", "(N, K) = (2, 5)", "x_0", "x_{T-1}"):
        assert text in found, text
    for text in ("t = 0", "t = 1", "t = T-1", "h→_0", "h→_{T-2}", "h←_{T-1}"):
        assert text in found, text
    assert "h = concatenate(h→_{T-1}, h←_0)" in found


def upright(figure: Figure) -> list[tuple[float, float, float]]:
    """The arrows between layers: x, where each begins and where it ends."""
    found = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch)]
    places = [p._posA_posB for p in found if to_hex(p.get_edgecolor()) == "#777777"]
    return [(x, top, end) for (x, top), (_, end) in places]


def frames(figure: Figure) -> list[tuple[float, float]]:
    """Where the boxes of layers begin and end."""
    boxes = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    return [(p.get_y(), p.get_y() + p.get_height()) for p in boxes if p.get_width() > 9]


@pytest.mark.parametrize("states", [1, 2, 5, 30])
@pytest.mark.parametrize("name", ["a", "n" * 200])
def test_arrows_end_at_their_box_and_cross_nothing_that_is_written(states: int, name: str) -> None:
    """However many states are handed over: none ends in empty space or goes on as another."""
    import keras

    la, x, read = keras.layers, keras.Input((9, 3)), keras.Input((4, 2))
    cells = [[la.GRUCell(3 + unit) for unit in range(states)] for _ in range(2)]
    _, *made = la.RNN(cells[0], return_state=True, name=name)(x)
    y = la.RNN(cells[1], name="reader")(read, initial_state=made)
    figure = plots.figure(rnnshapes.inspect(keras.Model([x, read], la.Dense(2)(y)), N=2))
    (_, out), (into, _), _ = frames(figure)
    arrows = upright(figure)
    starts = {x for x, top, _ in arrows if top == out}
    ends = {x for x, _, end in arrows if end == into}
    assert (len(starts), len(ends)) == (min(1 + states, 24), min(1 + states, 24))
    edges = {edge for frame in frames(figure) for edge in frame}
    assert all(top in edges or end in edges for _, top, end in arrows)
    dropped = [end for _, top, end in arrows if top == out]
    assert max(dropped) + 0.1 < min(top for _, top, end in arrows if end == into)
    rest = [
        text for text in words(figure) if text == f"and {states - 23} more, which the tables have"
    ]
    assert len(rest) == (2 if states > 23 else 0)

    figure.draw_without_rendering()
    back = figure.axes[0].transData.inverted()
    for text in figure.axes[0].texts:
        (left, low), (right, high) = back.transform(text.get_window_extent())
        assert right < style.WIDTH, text
        crossed = [x for x, top, end in arrows if left < x < right and top < low and high < end]
        assert not crossed, text


@pytest.mark.parametrize(
    "sizes",
    [
        {"M": 10**9},
        {"T": 1, "M": 1, "D": 1, "K": 1},
        {"T": 2, "cell": "lstm", "M": [300, 2], "K": 5000},
        {"M": [3] * 40, "cell": "gru"},
    ],
)
def test_networks_of_any_size_have_a_picture(sizes: dict[str, Any]) -> None:
    """Nothing of their size is allocated; what is not drawn is told."""
    result = rnnshapes.inspect(**sizes)
    assert len(saved(result, "png")) < 2_000_000
    many = any("more, which the tables have" in text for text in words(plots.figure(result)))
    assert many == (sizes.get("M") == [3] * 40)
