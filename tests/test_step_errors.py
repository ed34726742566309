"""Ratios, errors and bounds at each time step, in verify and in trace."""

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
from tests.helpers import cells
from tests.helpers.keras_runs import (
    KerasRun,
    changed,
    numeric_checks,
    run_model,
    with_number,
    with_outputs,
)
from tests.helpers.models import MODELS, live, model_of

SIZES: dict[str, Any] = {"N": 3, "T": 7, "D": 2, "M": 4, "K": 5}


@pytest.mark.parametrize("cell", cells.NAMES)
def test_checks_of_steps_have_step_errors(cell: str) -> None:
    checks = rnnshapes.verify(cell=cell, bidirectional=cell == "gru", **SIZES).checks
    timed = [check for check in checks if check.name.split(",")[0].endswith("at every step")]
    numeric = [check for check in checks if check.residual is not None]
    assert [check for check in numeric if check.residual.step_errors is not None] == timed
    assert len(timed) >= 4
    for check in timed:
        ratio = check.residual.step_errors.ratio
        assert ratio.shape == (7,)
        assert ratio.dtype == np.float64
        assert ratio.max() == check.ratio == ratio[check.index.t]


def test_documents_leave_step_errors_out() -> None:
    result = rnnshapes.verify(**SIZES)
    keys = {"name", "passed", "compared", "expected", "found", "ratio", "place", "overflow"}
    for check in result.to_dict()["checks"]:
        assert set(check) == keys | {"detail", "layer", "what", "precision"}
    json.dumps(result.to_dict())
    assert all(len(row) == 7 for row in render.to_rows(result))
    assert "step_errors" not in repr(result.checks)


def errors_of(run: KerasRun) -> Any:
    """Return the step errors of a run of Keras."""
    return residuals.network_step_errors(run.network, run.weights, run.xs, run.keras)


def test_right_network_stays_below_its_bounds(small_run: KerasRun) -> None:
    errors = errors_of(small_run)
    assert list(errors) == ["simple_rnn.h", "y_hat"]
    for ratio, error, bound in errors.values():
        assert ratio.shape == error.shape == bound.shape == (9,)
        assert (error <= bound).all()
        assert (bound > 0).all()
        assert np.array_equal(ratio, error / bound)


def test_error_is_the_difference_from_the_equation(small_run: KerasRun) -> None:
    h = small_run.keras.states["simple_rnn"]["h"].astype(np.float64)
    w = {key: value.astype(np.float64) for key, value in small_run.weights["simple_rnn"].items()}
    before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    x = small_run.xs[0].astype(np.float64)
    difference = np.abs(h - np.tanh(x @ w["Wx"] + w["bh"] + before @ w["Wh"]))
    error = errors_of(small_run)["simple_rnn.h"].error
    nearest = np.abs(difference - error[None, :, None]).min(axis=(0, 2))
    assert (nearest < 1e-15).all()
    assert (error <= difference.max(axis=(0, 2)) + 1e-15).all()


def test_lost_bias_exceeds_every_bound(small_run: KerasRun) -> None:
    errors = errors_of(changed(small_run, "simple_rnn", "bh", np.zeros_like))
    assert (errors["simple_rnn.h"].error > errors["simple_rnn.h"].bound).all()
    assert (errors["y_hat"].ratio <= 1).all()  # it follows from Keras's own h


def test_wrong_number_shows_at_its_steps(small_run: KerasRun) -> None:
    value = small_run.keras.states["simple_rnn"]["h"][2, 4, 1] + 1e-3
    errors = errors_of(with_number(small_run, "simple_rnn", (2, 4, 1), value))["simple_rnn.h"]
    assert list(np.flatnonzero(errors.ratio > 1)) == [4, 5]  # 5 starts from it


@pytest.mark.parametrize("layer", ["simple_rnn", "dense"])
def test_nan_has_an_infinite_error(layer: str, small_run: KerasRun) -> None:
    errors = errors_of(with_number(small_run, layer, (1, 3, 0), np.nan))
    ratio, error, _ = errors["simple_rnn.h" if layer == "simple_rnn" else "y_hat"]
    assert ratio[3] == error[3] == np.inf
    assert (ratio[:3] < 1).all()


def test_chunks_of_samples_do_not_matter(
    small_run: KerasRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = errors_of(small_run)
    monkeypatch.setattr(bounds, "CHUNK", 1)
    for name, errors in errors_of(small_run).items():
        assert np.allclose(errors.ratio, expected[name].ratio, rtol=0.2)
        assert np.allclose(errors.bound, expected[name].bound)


def test_masked_steps_are_compared_exactly() -> None:
    run = run_model(MODELS["masked"](), N=3)
    (mask,) = [m for name, m in run.keras.masks.items() if "masking" in name]
    all_masked = ~mask.any(axis=0)
    name = run.network.recurrent[0].name
    errors = errors_of(run)[f"{name}.h"]
    assert all_masked.any()
    assert (errors.ratio[all_masked] == 0).all()
    assert (errors.bound[all_masked] == 0).all()
    states = {key: v.copy() for key, v in run.keras.states[name].items()}
    t = int(np.flatnonzero(all_masked)[0])
    states["h"][0, t, 0] += np.float32(1e-6)
    wrong = errors_of(with_outputs(run, states={**run.keras.states, name: states}))[f"{name}.h"]
    assert wrong.ratio[t] == np.inf


def test_nothing_is_compared_after_an_overflow() -> None:
    model, x = live("relu", scale=10.0)
    checks = numeric_checks(run_model(model, x=x))
    check = next(check for check in checks if check.name.endswith("h at every step"))
    ratio, overflow = check.residual.step_errors.ratio, check.residual.overflow
    assert overflow is not None
    assert (ratio[:overflow] <= 1).all()
    assert np.isnan(ratio[-1])


def test_only_usable_samples_count() -> None:
    expected = Bounded(np.zeros((2, 3, 2)), np.full((2, 3, 2), 0.5), PRECISIONS["float64"])
    actual = np.array([[[0, 1], [3, 0], [0, 0]], [[2, 0], [9, 9], [9, 9]]], float)
    usable = np.array([[True, True, False], [True, False, False]])
    residual, compared = bounds.compare(actual, expected, usable)
    assert np.array_equal(compared, usable)
    assert residual.step_errors.ratio[:2] == pytest.approx([4, 6])
    assert residual.step_errors.error[:2] == pytest.approx([2, 3])
    assert all(np.isnan(part[2]) for part in residual.step_errors)


def test_trace_with_bounds_has_step_errors() -> None:
    result = rnnshapes.trace(cell="lstm", bounds=True, **SIZES)
    assert set(result.step_errors) == {"lstm.h", "lstm.c", "y_hat"}
    checks = {check.name: check for check in rnnshapes.verify(cell="lstm", **SIZES).checks}
    for name, key in (("lstm: h", "lstm.h"), ("lstm: c", "lstm.c"), ("dense: y_hat", "y_hat")):
        residual = checks[f"{name} at every step"].residual
        assert np.array_equal(result.step_errors[key].ratio, residual.step_errors.ratio)
    assert "step_errors" not in result.to_dict()


def test_trace_without_bounds_has_no_step_errors() -> None:
    assert rnnshapes.trace(cell="lstm", **SIZES).step_errors == {}
    assert rnnshapes.trace(cell="lstm", keras=False, bounds=True, **SIZES).step_errors == {}


def test_recurrence_without_head_has_errors_of_states() -> None:
    import keras

    layer = keras.layers.GRU(4, return_sequences=True, name="gru")
    model = keras.Sequential([keras.Input((6, 3)), layer])
    assert set(rnnshapes.trace(model, N=2, bounds=True).step_errors) == {"gru.h"}


def test_port_has_ratios_at_its_own_steps() -> None:
    ours = rnnshapes.trace(show="h", keras=False, **SIZES)
    h = ours.layers[0].states["h"].astype("float32")
    h[1, 5, 2] += np.float32(0.01)
    port = {"h": h, "output": ours.output.astype("float32")}
    states, output = rnnshapes.verify(against=port, **SIZES).checks
    assert list(states.steps) == list(range(7))
    ratios = states.residual.step_errors.ratio
    assert ratios.max() == states.ratio == ratios[states.index.t]
    assert list(np.flatnonzero(ratios > 1)) == [5, 6]
    assert list(output.steps) == [6]


def test_outputs_without_steps_have_no_step_errors() -> None:
    result = rnnshapes.trace(model_of("flattened"), N=2, bounds=True)
    assert set(result.step_errors) == {"lstm.h", "lstm.c"}
