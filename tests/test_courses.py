"""How it went from step to step: what is kept of ratios, differences and bounds over time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.ops.bounded import Bounded
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.verification import bounds, residuals
from tests.helpers.keras_runs import KerasRun, answered, changed, judge, run_model, with_number
from tests.helpers.models import MODELS, live

pytestmark = pytest.mark.usefixtures("eager")

SIZES: dict[str, Any] = {"N": 3, "T": 7, "D": 2, "M": 4, "K": 5}


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_every_check_of_steps_has_a_course_and_no_other(cell: str) -> None:
    """Its largest is the ratio of the check, at the step that the place names."""
    checks = rnnshapes.verify(cell=cell, bidirectional=cell == "gru", **SIZES).checks
    timed = [check for check in checks if check.name.split(",")[0].endswith("at every step")]
    assert [check for check in checks if check.course is not None] == timed
    assert len(timed) >= 4
    for check in timed:
        assert check.course.shape == (7,)
        assert check.course.dtype == np.float64
        assert check.course.max() == check.ratio == check.course[check.place.t]


def test_a_course_is_in_no_record_and_no_row() -> None:
    """It is as long as the sequence; the JSON form stays what it was."""
    result = rnnshapes.verify(**SIZES)
    keys = {"name", "passed", "compared", "expected", "found", "ratio", "place", "overflow"}
    for check in result.to_dict()["checks"]:
        assert set(check) == keys | {"detail", "layer", "what", "precision"}
    json.dumps(result.to_dict())
    assert all(len(row) == 7 for row in render.to_rows(result))
    assert "course" not in repr(result.checks)


def courses(run: KerasRun) -> Any:
    """Those of a run of Keras."""
    return residuals.courses(run.network, run.weights, run.xs, run.answers)


def test_a_right_network_stays_below_its_bound_at_every_step(small_run: KerasRun) -> None:
    """Of h, from Keras's own states, and of y_hat, from Keras's own h."""
    found = courses(small_run)
    assert list(found) == ["simple_rnn.h", "y_hat"]
    for course in found.values():
        assert course.ratio.shape == course.apart.shape == course.bound.shape == (9,)
        assert (course.apart <= course.bound).all()
        assert (course.bound > 0).all()
        assert np.array_equal(course.ratio, course.apart / course.bound)


def test_the_difference_is_that_of_a_number_to_the_equation(small_run: KerasRun) -> None:
    """Taken one step from what Keras had before, in float64, at the unit nearest its bound."""
    h = small_run.answers.states["simple_rnn"]["h"].astype(np.float64)
    w = {key: value.astype(np.float64) for key, value in small_run.weights["simple_rnn"].items()}
    before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    x = small_run.xs[0].astype(np.float64)
    apart = np.abs(h - np.tanh(x @ w["Wx"] + w["bh"] + before @ w["Wh"]))
    course = courses(small_run)["simple_rnn.h"]
    nearest = np.abs(apart - course.apart[None, :, None]).min(axis=(0, 2))
    assert (nearest < 1e-15).all()
    assert (course.apart <= apart.max(axis=(0, 2)) + 1e-15).all()


def test_a_mutated_network_goes_above_its_bound(small_run: KerasRun) -> None:
    """A lost bias at every step of h, and in no step of y_hat, which follows from Keras's h."""
    found = courses(changed(small_run, "simple_rnn", "bh", np.zeros_like))
    assert (found["simple_rnn.h"].apart > found["simple_rnn.h"].bound).all()
    assert (found["y_hat"].ratio <= 1).all()


def test_a_wrong_number_is_seen_where_it_is(small_run: KerasRun) -> None:
    """In its own step, and in the one that starts from it."""
    value = small_run.answers.states["simple_rnn"]["h"][2, 4, 1] + 1e-3
    course = courses(with_number(small_run, "simple_rnn", (2, 4, 1), value))["simple_rnn.h"]
    assert list(np.flatnonzero(course.ratio > 1)) == [4, 5]


@pytest.mark.parametrize("layer", ["simple_rnn", "dense"])
def test_a_nan_is_infinitely_far_off(layer: str, small_run: KerasRun) -> None:
    """It is no step at which nothing was compared."""
    found = courses(with_number(small_run, layer, (1, 3, 0), np.nan))
    course = found["simple_rnn.h" if layer == "simple_rnn" else "y_hat"]
    assert course.ratio[3] == course.apart[3] == np.inf
    assert (course.ratio[:3] < 1).all()


def test_the_course_does_not_depend_on_how_samples_are_parted(
    small_run: KerasRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are put together step by step, the worst of each."""
    whole = courses(small_run)
    monkeypatch.setattr(bounds, "PART", 1)
    for name, course in courses(small_run).items():
        assert np.allclose(course.ratio, whole[name].ratio, rtol=0.2)
        assert np.allclose(course.bound, whole[name].bound)


def test_masked_steps_are_compared_exactly() -> None:
    """They repeat the state before: no difference, and no bound that could hide one."""
    run = run_model(MODELS["masked"](), N=3)
    (mask,) = [m for name, m in run.answers.masks.items() if "masking" in name]
    all_masked = ~mask.any(axis=0)
    name = run.network.recurrent[0].name
    course = courses(run)[f"{name}.h"]
    assert all_masked.any()
    assert (course.ratio[all_masked] == 0).all()
    assert (course.bound[all_masked] == 0).all()
    states = {key: v.copy() for key, v in run.answers.states[name].items()}
    t = int(np.flatnonzero(all_masked)[0])
    states["h"][0, t, 0] += np.float32(1e-6)
    wrong = courses(answered(run, states={name: states}))[f"{name}.h"]
    assert wrong.ratio[t] == np.inf


def test_behind_an_overflow_nothing_is_compared() -> None:
    """NaN, which is neither 0 nor a failure."""
    model, x = live("relu", scale=10.0)
    checks = judge(run_model(model, x=x))
    check = next(check for check in checks if check.name.endswith("h at every step"))
    assert check.overflow is not None
    assert (check.course[: check.overflow] <= 1).all()
    assert np.isnan(check.course[-1])


def test_what_is_not_to_be_used_has_no_course() -> None:
    """Of two samples the one that can be compared counts; of none, the step is NaN."""
    expected = Bounded(np.zeros((2, 3, 2)), np.full((2, 3, 2), 0.5), PRECISIONS["float64"])
    found = np.array([[[0, 1], [3, 0], [0, 0]], [[2, 0], [9, 9], [9, 9]]], float)
    rows = np.array([[True, True, False], [True, False, False]])
    finding, _ = bounds.compare(found, expected, rows)
    assert finding.course.ratio[:2] == pytest.approx([4, 6])
    assert finding.course.apart[:2] == pytest.approx([2, 3])
    assert all(np.isnan(part[2]) for part in finding.course)


def test_a_trace_has_courses_where_they_are_asked_for() -> None:
    """By the names of its arrays; those of verify in float32."""
    result = rnnshapes.trace(cell="lstm", bounds=True, **SIZES)
    assert set(result.courses) == {"lstm.h", "lstm.c", "y_hat"}
    checks = {check.name: check for check in rnnshapes.verify(cell="lstm", **SIZES).checks}
    for name, key in (("lstm: h", "lstm.h"), ("lstm: c", "lstm.c"), ("dense: y_hat", "y_hat")):
        course = result.courses[key].ratio
        assert np.array_equal(course, checks[f"{name} at every step"].course)
    assert rnnshapes.trace(cell="lstm", **SIZES).courses == {}
    assert rnnshapes.trace(cell="lstm", keras=False, bounds=True, **SIZES).courses == {}
    assert "courses" not in result.to_dict()


def test_a_recurrence_that_answers_itself_has_the_courses_of_its_states() -> None:
    """Without a head y_hat is h: it has been compared, and has no course of its own."""
    import keras

    layer = keras.layers.GRU(4, return_sequences=True, name="gru")
    model = keras.Sequential([keras.Input((6, 3)), layer])
    assert set(rnnshapes.trace(model, N=2, bounds=True).courses) == {"gru.h"}


def test_a_port_has_a_course_at_the_steps_that_it_gives() -> None:
    """The largest ratio of each; what is said of the answer alone has none."""
    ours = rnnshapes.trace(show="h", keras=False, **SIZES)
    h = ours.layers[0].states["h"].astype("float32")
    h[1, 5, 2] += np.float32(0.01)
    port = {"h": h, "output": ours.output.astype("float32")}
    states, output = rnnshapes.verify(against=port, **SIZES).checks
    assert list(states.steps) == list(range(7))
    assert states.course.max() == states.ratio == states.course[states.place.t]
    assert list(np.flatnonzero(states.course > 1)) == [5, 6]
    assert output.course is None
