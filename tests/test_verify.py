"""``verify``: correct networks pass, wrong ones never do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

import rnnshapes
from rnnshapes import reference
from rnnshapes.cells.cell import StepResult
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.forward.difference import Index
from rnnshapes.load.inputs import full_array
from rnnshapes.ops.precision import Precision
from rnnshapes.reference.instrumented_model import InstrumentedModel
from rnnshapes.session import open_session
from rnnshapes.verification import bounds, report
from tests.helpers.commands import mentioning
from tests.helpers.keras_runs import (
    KerasRun,
    changed,
    keras_run,
    numeric_checks,
    one_run,
    with_cell,
    with_number,
    with_outputs,
)
from tests.helpers.models import functional, live, randomized, sequential
from tests.helpers.results import result_of


def failed(checks: list[report.Check]) -> list[str]:
    """The names of the checks that fail."""
    return [check.name for check in checks if not check.passed]


# --- Equations that are wrong -------------------------------------------------------------------


def answer(h: Any) -> StepResult:
    """A step of a cell with a single state."""
    return StepResult(h, {"h": h}, {})


class Transposed(SimpleRNNCell):
    """Wh the other way round: it is square, so no shape tells."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        turned = replace(w.Wh, value=w.Wh.value.T)
        return answer(ops.activate(self.activation, xz + state["h"] @ turned))


class BiasLost(SimpleRNNCell):
    """x_t Wx without bh."""

    def project(self, ops: Any, x: Any, w: Any) -> Any:
        return x @ w.Wx


class BiasTwice(SimpleRNNCell):
    """Two biases, as a port from PyTorch may have it."""

    def project(self, ops: Any, x: Any, w: Any) -> Any:
        return x @ w.Wx + w.bh + w.bh


class NoRecurrence(SimpleRNNCell):
    """h_{t-1} forgotten."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return answer(ops.activate(self.activation, xz))


class NoActivation(SimpleRNNCell):
    """tanh forgotten."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return answer(xz + state["h"] @ w.Wh)


class OtherActivation(SimpleRNNCell):
    """sigmoid for tanh."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        return answer(ops.activate("sigmoid", xz + state["h"] @ w.Wh))


@pytest.mark.parametrize(
    "cell", [Transposed, BiasLost, BiasTwice, NoRecurrence, NoActivation, OtherActivation]
)
@pytest.mark.parametrize("name", ["small_run", "stacked_run"])
def test_wrong_equation_fails(cell: type, name: str, request) -> None:
    run = request.getfixturevalue(name)
    network = with_cell(run.network, lambda right: cell(right.units))
    checks = numeric_checks(replace(run, network=network))
    recurrent = [f"{node.name}: h at every step" for node in network.recurrent]
    assert set(recurrent) <= set(failed(checks))
    assert all(check.ratio > 1e3 for check in checks if not check.passed)


# --- Weights that are wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "key", "change", "check"),
    [
        ("simple_rnn", "Wh", np.transpose, "simple_rnn: h at every step"),
        ("simple_rnn", "Wx", lambda w: w[::-1], "simple_rnn: h at every step"),
        ("simple_rnn", "Wx", lambda w: w[:, ::-1], "simple_rnn: h at every step"),
        ("simple_rnn", "bh", np.zeros_like, "simple_rnn: h at every step"),
        ("simple_rnn", "bh", np.flip, "simple_rnn: h at every step"),
        ("simple_rnn", "Wh", lambda w: w * np.float32(1 + 1e-4), "simple_rnn: h at every step"),
        ("dense", "W", lambda w: w[:, ::-1], "dense: y_hat at every step"),
        ("dense", "W", lambda w: w * np.float32(1 + 1e-4), "dense: y_hat at every step"),
        ("dense", "b", np.zeros_like, "dense: y_hat at every step"),
    ],
)
def test_wrong_weight_fails_its_layer(layer, key, change, check, small_run: KerasRun) -> None:
    found = failed(numeric_checks(changed(small_run, layer, key, change)))
    more = ["predict: own output"] if layer == "dense" else []
    assert [name for name in found if name != "simple_rnn: initial state"] == [check, *more]


# --- States and outputs that are wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda h: np.roll(h, 1, axis=1),  # shifted by one step
        lambda h: h[:, ::-1],  # reversed in time
        lambda h: np.roll(h, 1, axis=0),  # another sample's
        lambda h: h[:, :, ::-1],  # units in another order
        lambda h: np.float32(1.0001) * h,
    ],
)
def test_wrong_states_fail(change: Callable[[Any], Any], small_run: KerasRun) -> None:
    """The state at t follows from the state at t-1 and x_t, for each sample."""
    states = {"simple_rnn": {"h": change(small_run.keras.states["simple_rnn"]["h"])}}
    assert "simple_rnn: h at every step" in failed(
        numeric_checks(with_outputs(small_run, states=states))
    )


def test_start_from_another_state_fails() -> None:
    """A run continued from another sequence fails at its first step."""
    run = keras_run(N=2, T=6, D=3, M=5, K=2)
    cut = run.keras.states["simple_rnn"]["h"][:, 2:]
    outputs = replace(run.keras, states={"simple_rnn": {"h": cut}})
    network = replace(
        run.network, declared_sizes=tuple({**dict(run.network.declared_sizes), "T": 4}.items())
    )
    check = next(iter(report.residual_checks(network, run.weights, [run.xs[0][:, 2:]], outputs)))
    assert not check.passed
    assert check.index.t == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.keras.each["dense"][0][:, 0],  # the first step for the last
        lambda run: run.keras.each["dense"][0][:, -2],
        lambda run: run.keras.outputs[0][::-1],
        lambda run: run.keras.outputs[0] + np.float32(1e-5),
    ],
)
def test_wrong_output_fails(change: Callable[[KerasRun], Any], small_run: KerasRun) -> None:
    """The output is the last state, sent through the head."""
    run = with_outputs(small_run, outputs=(change(small_run),))
    assert failed(numeric_checks(run)) == ["predict: own output"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("layer", ["simple_rnn", "dense"])
def test_nan_and_infinity_never_pass(value: float, layer: str, small_run: KerasRun) -> None:
    checks = numeric_checks(with_number(small_run, layer, (1, 4, 1), value))
    names = {"simple_rnn": "simple_rnn: h at every step", "dense": "dense: y_hat at every step"}
    assert names[layer] in failed(checks)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_nan_and_infinity_in_x_never_pass(value: float, run, in_folder) -> None:
    """NaN on both sides is not equality, and infinity is no overflow."""
    x = np.random.default_rng(1).standard_normal((2, 5, 3))
    x[0, 2, 1] = value
    np.save("x.npy", x)
    done = run("verify", "--input", "x.npy")
    assert done.status == 1
    assert "NaN" in done.out


# --- Correct networks ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        {"N": 1, "T": 1, "D": 1, "M": 1, "K": 1},
        {"N": 33, "T": 100, "D": 8, "M": 64, "K": 3},  # more than one batch of predict
        {"N": 3, "T": 8, "D": 5, "M": [6, 4, 7], "K": 2},
    ],
    ids=str,
)
def test_correct_networks_pass(sizes: dict[str, Any], request) -> None:
    """Every number of every step is compared."""
    if sizes["T"] == 100:
        request.getfixturevalue("compiled")
    result = rnnshapes.verify(**sizes, seed=2)
    assert result.passed
    n, t = result.network.sizes["N"], result.network.sizes["T"]
    layers = result.network.recurrent
    for dtype in ("float32", "float64"):
        numeric = [check for check in result.checks if check.precision == dtype]
        numeric = [check for check in numeric if check.quantity != "unrolled"]
        assert len(numeric) == 3 * len(layers) + 2
        for start, steps, node in zip(numeric[::3], numeric[1::3], layers, strict=False):
            units = result.network.count(node.layer.cell.units)
            assert start.compared == n * units
            assert steps.compared == n * t * units
            assert 0 < steps.ratio <= 1
        assert numeric[-2].compared == n * t * result.network.sizes["K"]
        assert numeric[-1].compared == n * result.network.sizes["K"]


@pytest.mark.parametrize(
    ("activation", "dtype", "scale"),
    [
        ("tanh", "float32", 100.0),  # saturated
        ("tanh", "float32", 0.0),
        ("tanh", "float32", 1e-20),
        ("tanh", "float64", 4.0),
        ("sigmoid", "float32", 30.0),
        ("relu", "float32", 0.4),
        ("linear", "float64", 0.2),
    ],
)
def test_hard_but_correct_networks_pass(activation: str, dtype: str, scale: float) -> None:
    """They are saturated, zero or tiny."""
    model, x = live(activation, dtype, scale, steps=12)
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result


def test_moved_output_before_a_recurrence_passes() -> None:
    """Its numbers are those of NumPy's run, from which Keras's own differ by rounding."""
    from keras import layers as la

    def make(x: Any) -> Any:
        h = la.Dense(6, activation="softmax")(la.GRU(5, return_sequences=True)(x))
        return [la.Flatten()(h), la.LSTM(4)(h)]

    result = rnnshapes.verify(randomized(functional(make, (7, 3))), N=3)
    assert result.passed, result


def test_cancellation_before_a_recurrence_passes() -> None:
    """1 + erf cancels below zero: Keras's own gelu differs from NumPy's by many of its digits."""
    from keras import layers as la

    model = sequential(la.Dense(2, activation="gelu"), la.SimpleRNN(5, use_bias=False))
    wx, b, *others = randomized(model).get_weights()
    model.set_weights([wx, b - 5, *others])
    result = rnnshapes.verify(model, N=7)
    assert result.passed, result


def test_chaotic_network_passes(compiled: None) -> None:
    """NumPy and Keras end far apart, and both are correct: no fixed tolerance would do."""
    import keras

    layers = [keras.Input((1000, 3)), keras.layers.SimpleRNN(50), keras.layers.Dense(2)]
    model = keras.Sequential(layers)
    rng = np.random.default_rng(8)
    wx, wh, bh, *dense = (rng.standard_normal(w.shape) for w in model.get_weights())
    wh *= 4 / np.abs(np.linalg.eigvals(wh)).max()
    model.set_weights([0.1 * wx, wh, bh, *dense])
    result = rnnshapes.verify(model, N=2)
    assert result.passed
    assert result.difference.max_abs > 1


def test_overflow_ends_the_comparison() -> None:
    """relu that grows without bound is verified as far as float32 reaches."""
    model, x = live("relu", scale=10.0, steps=30)
    result = rnnshapes.verify(model, x=x)
    check = next(check for check in result.checks if check.name.endswith("h at every step"))
    assert result.passed
    assert 10 < check.residual.overflow < 30
    assert 0 < check.compared < 3 * 30 * 7
    assert not any(check.name.startswith("predict") for check in result.checks)
    assert f"t = {result.overflow}" in repr(result)


def test_samples_without_overflow_are_compared() -> None:
    model, x = live("relu", scale=10.0, steps=30)
    x[1] = 0.0
    weights = model.get_weights()
    weights[2][:] = 0.0  # without a bias, zeros stay zeros
    model.set_weights(weights)
    result = rnnshapes.verify(model, x=x)
    h, _, y_hat, output = [c for c in result.checks if c.precision == "float32"][1:]
    assert result.passed
    assert 30 * 7 < h.compared < 3 * 30 * 7
    assert 30 * 2 < y_hat.compared <= h.compared // 7 * 2
    assert output.compared == 2


@pytest.mark.parametrize("how", ["jit_compile", "run_eagerly"])
def test_compiled_options_of_the_model_are_kept(compiled: None, how: str) -> None:
    """XLA and eager mode round otherwise, so the probe has to run the same way."""
    model, x = live("tanh", scale=4.0, steps=40)
    model.compile(loss="mse", **{how: True})
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    instrumented = InstrumentedModel.of(keras, model, result.network).model
    assert getattr(instrumented, how) is True


def known(check: report.Check) -> report.Check:
    """Return a check without what rounding decides: the ratio, and where NumPy's is largest."""
    if check.residual is None:
        return check
    residual = replace(check.residual, ratio=0.0)
    if check.passed and check.layer == "trace":
        residual = replace(residual, index=Index(0, None, 0))
    return replace(check, residual=residual, found="")


@pytest.mark.parametrize("value", [np.nan, 1e39, 1.0])
def test_block_size_does_not_change_the_verdict(value: float, monkeypatch) -> None:
    model, x = live("relu", scale=10.0, steps=30)
    x[2, 3, 1] = value
    results = []
    with one_run(model, x=x) as session:
        for size in (1, 2**11, 2**30):
            monkeypatch.setattr(bounds, "CHUNK", size)
            results.append(session.verify())
    first, *others = ([known(check) for check in result.checks] for result in results)
    assert all(checks == first for checks in others)
    for other in results[1:]:
        assert other.not_finite == results[0].not_finite
    assert results[0].passed == (value == 1.0)
    if value != 1.0:
        assert results[0].not_finite.first == Index(2, 3, 1)


@pytest.mark.parametrize("layer", ["simple_rnn", "dense"])
def test_nan_in_an_early_block_fails(layer, small_run: KerasRun, monkeypatch) -> None:
    monkeypatch.setattr(bounds, "CHUNK", 1)
    checks = numeric_checks(with_number(small_run, layer, (1, 2, 1), np.nan))
    check = next(c for c in checks if c.name.startswith(layer) and "every step" in c.name)
    assert not check.passed
    assert np.isnan(check.ratio)


def test_more_terms_than_float32_sums_fails(small_run: KerasRun, monkeypatch) -> None:
    """Where no bound exists, nothing is verified: here from 5 terms on, in truth from 2**24."""
    real = Precision.gamma

    def gamma(self: Precision, terms: int, *roundings: int) -> float:
        return np.inf if terms >= 5 else real(self, terms, *roundings)

    monkeypatch.setattr(Precision, "gamma", gamma)
    checks = numeric_checks(small_run)
    assert "simple_rnn: h at every step" in failed(checks)
    assert any(check.compared == 0 for check in checks)


def test_empty_comparison_fails(small_run: KerasRun) -> None:
    """An overflow at t = 0 leaves nothing to compare."""
    x = np.full((4, 9, 3), 3e38, "float32")
    check = next(
        iter(report.residual_checks(small_run.network, small_run.weights, [x], small_run.keras))
    )
    assert check.compared == 0
    assert not check.passed
    assert check.ratio is None


def test_no_checks_at_all_fails() -> None:
    result = result_of("verify")
    assert result.passed
    assert not replace(result, checks=()).passed


def test_only_a_failure_has_reasons() -> None:
    result = result_of("verify")
    x, node, *head = result.network.nodes
    layer = replace(node.layer, runtime_differences="own")
    network = result.network.with_nodes((x, replace(node, layer=layer), *head))
    wrong = (replace(result.checks[0], passed=False), *result.checks[1:])
    for changes, expected in (
        ({"network": network, "is_random": True}, []),
        ({"checks": wrong}, []),
        ({"checks": wrong, "network": network}, [layer.name]),
        ({"checks": wrong, "network": network, "is_random": True}, [layer.name, "predict"]),
    ):
        reasons = replace(result, **changes).diagnosis
        assert [reason.partition(": ")[0] for reason in reasons] == expected
        assert all(reason == f"{layer.name}: own" for reason in reasons[:1])


# --- The command --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "unsupported", "asked"),
    [(True, (), 0), (False, (), 0), (True, ("own",), 0), (False, ("own",), 1)],
)
def test_only_unknown_layers_may_be_random(passed, unsupported, asked, monkeypatch) -> None:
    """Keras runs again for that, if a check fails."""
    result = result_of("verify")
    checks = tuple(replace(check, passed=passed) for check in result.checks)
    result = replace(result, checks=checks, unsupported=unsupported)
    calls: list[Any] = []
    monkeypatch.setattr(report, "verify_network", lambda *args: result)
    monkeypatch.setattr(reference, "is_random", lambda *args: calls.append(args) or True)
    with open_session(N=2, T=3) as session:
        assert session.verify() == replace(result, is_random=bool(asked))
        for _, network, xs, outputs in calls:
            assert network is session.network
            np.testing.assert_array_equal(xs[0], full_array(session.sources[0]))
            assert outputs[0].shape == (2, 2)
    assert len(calls) == asked


def test_command_exits_0_and_lists_the_checks(run) -> None:
    done = run("verify", "--N", 2, "--T", 5, "--view", "numbers")
    assert done.status == 0
    rows = [line for line in done.out.splitlines() if line.startswith("ok ")]
    assert len(rows) == 5 + 3 + 2 + 5 + 6 == 21
    assert any("simple_rnn/kernel" in row and "(D, M) = (3, 5)" in row for row in rows)
    assert any("count_params()" in row and "M(D+M+1) + K(M+1) = 57" in row for row in rows)
    assert any("y_hat at every step" in row and "float64" in row for row in rows)
    assert "21 checks" in done.out


def test_command_exits_1_and_names_the_place(run, monkeypatch) -> None:
    real = reference.run

    def wrong(*args: Any) -> reference.ModelOutputs:
        outputs = real(*args)
        return replace(outputs, outputs=(outputs.outputs[0] + np.float32(1),))

    monkeypatch.setattr(reference, "run", wrong)
    done = run("verify")
    assert done.status == 1
    assert [row for row in done.out.splitlines() if row.startswith("FAIL  predict: own output")]
    assert re.search(mentioning("1 of 21", "sample 0, unit"), done.out)
    done = run("verify", "--format", "json")
    record = json.loads(done.out)
    assert done.status == 1
    assert record["passed"] is False
    assert [c["name"] for c in record["checks"] if not c["passed"]] == ["predict: own output"]


def test_json_has_the_documented_keys(run) -> None:
    record = json.loads(run("verify", "--format", "json").out)
    assert record["schema"] == "rnnshapes.verify/1"
    assert record["passed"] is True
    assert record["diagnosis"] == []
    for check in record["checks"]:
        assert {"name", "passed", "compared", "ratio", "detail"} <= set(check)
        assert check["compared"] > 0


def test_wrong_count_exits_1(run, monkeypatch) -> None:
    real = reference.structure_of
    monkeypatch.setattr(reference, "structure_of", lambda *args: replace(real(*args), total=58))
    done = run("verify")
    assert done.status == 1
    assert "FAIL  count_params()" in done.out


def test_reason_of_a_failure_stands_behind_its_label(monkeypatch) -> None:
    real = reference.structure_of
    monkeypatch.setattr(reference, "structure_of", lambda *args: replace(real(*args), total=58))
    result = replace(rnnshapes.verify(M=5), is_random=True)
    (reason,) = result.diagnosis
    columns = [line.find(reason[:20]) for line in repr(result).splitlines()]
    assert 0 not in columns
    assert max(columns) > 0
    unexplained = repr(replace(result, is_random=False)).splitlines()
    assert set(unexplained) - set(repr(result).splitlines())  # the first check that fails
