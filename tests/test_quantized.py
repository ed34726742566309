"""``trace --quantize``: the fixed-point interpreter, against loops over integers."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.forward.quantized import QuantizedValue, quantize_network
from rnnshapes.load.inputs import ArrayInput
from rnnshapes.network import weights
from rnnshapes.network.graph import Tap
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.fixed_point import FixedPoint, FixedPointOps, Scheme, StoredValues
from rnnshapes.ops.numpy_ops import NumpyOps
from rnnshapes.ops.windows import Window
from rnnshapes.port.fixed_point_mistake import as_fixed_point
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.session import open_session
from tests.helpers.activations import sigmoid
from tests.helpers.commands import assert_refused
from tests.helpers.files import saved
from tests.helpers.golden import WARNINGS
from tests.helpers.layer_calls import network
from tests.helpers.models import model_of, randomized, sequential
from tests.helpers.tried import hypothesis_of

SIZES: dict[str, Any] = {"N": 3, "T": 7, "D": 4, "M": 5, "K": 2}
Array = np.ndarray


class Integers:
    """Numbers as a C program has them: integers in units of ``scale``, which saturate."""

    def __init__(self, bits: int, scale: float, lowest: int) -> None:
        self.scale, self.ends = scale, (lowest, 2 ** (bits - 1) - 1)

    @classmethod
    def scaled(cls, bits: int, values: Array) -> Integers:
        """Those that hold the largest of the values, with one scale."""
        highest = 2 ** (bits - 1) - 1
        return cls(bits, float(np.abs(values).max()) / highest, -highest)

    def store(self, values: Array) -> Array:
        """The numbers that are stored."""
        return np.clip(np.floor(values / self.scale + 0.5), *self.ends) * self.scale


def by_column(kernel: Array) -> Array:
    """A kernel of 8 bits with a scale for each column."""
    columns = [Integers.scaled(8, column).store(column) for column in kernel.T.astype("float64")]
    return np.stack(columns, axis=1)


def lstm_int8(golden: dict[str, Array], *, columns: bool = False) -> dict[str, Array]:
    """An LSTM with kernels, x and h of 8 bits and all else of 16, as numbers (N, T, …)."""

    def form(name: str, bits: int) -> Integers:
        return Integers.scaled(bits, golden[name])

    def weight(name: str, bits: int) -> Array:
        return form(name, bits).store(golden[name].astype("float64"))

    Wx, Wh = weight("lstm/kernel", 8), weight("lstm/recurrent_kernel", 8)
    if columns:
        Wx, Wh = by_column(golden["lstm/kernel"]), by_column(golden["lstm/recurrent_kernel"])
    b, x = weight("lstm/bias", 32), weight("x", 8)
    table = Integers(16, 1 / 32767, -32767)
    h = c = np.zeros((x.shape[0], len(Wh)))
    made: dict[str, list[Array]] = {}
    for t in range(x.shape[1]):
        step = {"x Wx": x[:, t] @ Wx, "h Wh": h @ Wh}
        z = dict(zip("ifco", np.split(step["x Wx"] + step["h Wh"] + b, 4, axis=-1), strict=True))
        for gate, numbers in z.items():
            step[f"z_{gate}"] = form(f"lstm.z_{gate}", 16).store(numbers)
            activated = (np.tanh if gate == "c" else sigmoid)(step[f"z_{gate}"])
            step[f"gate_{gate}"] = table.store(activated)
        c = form("lstm.c", 16).store(step["gate_f"] * c + step["gate_i"] * step["gate_c"])
        h = form("lstm.h", 8).store(step["gate_o"] * table.store(np.tanh(c)))
        for key, numbers in {**step, "c": c, "h": h}.items():
            made.setdefault(f"lstm.{key}", []).append(numbers)
    return {name: np.stack(steps, axis=1) for name, steps in made.items()}


def gru_q(golden: dict[str, Array], whole: int, fraction: int) -> dict[str, Array]:
    """A GRU without reset_after, with all numbers in one format."""
    store = Integers(1 + whole + fraction, 2.0**-fraction, -(2 ** (whole + fraction))).store
    Wx, Wh, b = (store(golden[f"gru/{n}"]) for n in ("kernel", "recurrent_kernel", "bias"))
    W_z, W_r, W_h = np.split(Wh, 3, axis=-1)
    x, h, states = store(golden["x"]), np.zeros((len(golden["x"]), len(Wh))), []
    for t in range(x.shape[1]):
        x_z, x_r, x_h = map(store, np.split(x[:, t] @ Wx + b, 3, axis=-1))
        z, r = store(sigmoid(store(x_z + h @ W_z))), store(sigmoid(store(x_r + h @ W_r)))
        candidate = store(np.tanh(store(x_h + store(r * h) @ W_h)))
        h = store(z * h + (1 - z) * candidate)
        states.append(h)
    return {"gru.h": np.stack(states, axis=1)}


def check_errors(result: Any, golden: dict[str, Array], expected: dict[str, Array]) -> None:
    """Compare the errors at each step with those of numbers computed by hand."""
    values = {value.name: value for value in result.values}
    for name, numbers in expected.items():
        error = np.abs(numbers - golden[name])
        assert error.max() > 0
        np.testing.assert_allclose(values[name].errors, error.max(axis=(0, 2)), rtol=1e-6)
        rms = np.sqrt(np.square(error).mean(axis=(0, 2)))
        np.testing.assert_allclose(values[name].rms, rms, rtol=1e-6)
        ends = (values[name].low, values[name].high)
        np.testing.assert_allclose(ends, (golden[name].min(), golden[name].max()), rtol=1e-12)


def test_int8_lstm_equals_a_loop_over_integers() -> None:
    golden = rnnshapes.golden(cell="lstm", **SIZES, seed=4).arrays
    result = rnnshapes.quantize(cell="lstm", **SIZES, seed=4, to="int8")
    check_errors(result, golden, lstm_int8(golden))
    formats = {value.name: value.format for value in result.values}
    assert (formats["lstm/kernel"], formats["lstm/bias"]) == ("int8", "int32")
    assert (formats["lstm.h"], formats["lstm.c"], formats["y_hat"]) == ("int8", "int16", "int16")


def test_golden_file_has_the_integers_of_a_loop(run, in_folder) -> None:
    golden = rnnshapes.golden(cell="lstm", **SIZES, seed=4).arrays
    args = [f"--{name}={size}" for name, size in SIZES.items()]
    done = run("trace", "--cell", "lstm", *args, "--seed", 4, "--quantize=int8", "--golden=g.npz")
    assert done.status == 0
    assert "g.npz" in done.err
    written = dict(np.load("g.npz"))
    for name, numbers in lstm_int8(golden).items():
        if "W" in name:  # an exact sum
            assert name not in written
            continue
        integers = np.rint(numbers / written[f"{name} scale"])
        np.testing.assert_array_equal(written[name], integers, err_msg=name)
        assert written[name].dtype == ("int8" if name == "lstm.h" else "int16")
    for name, dtype in {"x": "int8", "lstm/kernel": "int8", "lstm/bias": "int32"}.items():
        assert written[name].dtype == dtype
        error = written[name] * written[f"{name} scale"] - golden[name]
        assert np.abs(error).max() <= written[f"{name} scale"] / 2 * 1.0001


#: An LSTM over the integers of a golden file; it counts those that it does not reproduce.
PROGRAM = """
#include "g.h"
#include <stdio.h>

enum { N = G_N, T = G_T, D = G_D, M = G_M };

static long store(double value, double step, long highest)
{
    double number = floor(value / step + 0.5);
    return number > highest ? highest : number < -highest ? -highest : (long)number;
}

static double sigmoid(double z) { return 1 / (1 + exp(-z)); }

int main(void)
{
    const double one = 1.0 / 32767;
    const double steps[4] = {
        g_lstm_z_i_scale, g_lstm_z_f_scale, g_lstm_z_c_scale, g_lstm_z_o_scale
    };
    int wrong = 0;
    g_use_all();
    for (int n = 0; n < N; n++) {
        long h[M] = {0}, c[M] = {0}, next[M];
        for (int t = 0; t < T; t++) {
            for (int m = 0; m < M; m++) {
                double gate[4];
                for (int k = 0; k < 4; k++) {
                    int j = k * M + m;
                    long x_sum = 0, h_sum = 0;
                    for (int d = 0; d < D; d++) x_sum += (long)g_x[n][t][d] * g_lstm_kernel[d][j];
                    for (int i = 0; i < M; i++) h_sum += h[i] * g_lstm_recurrent_kernel[i][j];
                    double z = x_sum * g_x_scale * g_lstm_kernel_scale
                        + h_sum * g_lstm_h_scale * g_lstm_recurrent_kernel_scale
                        + g_lstm_bias[j] * g_lstm_bias_scale;
                    z = store(z, steps[k], 32767) * steps[k];
                    gate[k] = store(k == 2 ? tanh(z) : sigmoid(z), one, 32767) * one;
                }
                c[m] = store(gate[1] * c[m] * g_lstm_c_scale + gate[0] * gate[2],
                    g_lstm_c_scale, 32767);
                double tanh_c = store(tanh(c[m] * g_lstm_c_scale), one, 32767) * one;
                next[m] = store(gate[3] * tanh_c, g_lstm_h_scale, 127);
                wrong += next[m] != g_lstm_h[n][t][m] || c[m] != g_lstm_c[n][t][m];
            }
            for (int m = 0; m < M; m++) h[m] = next[m];
        }
    }
    printf("%d", wrong);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_c_program_reproduces_every_integer(tmp_path: Path) -> None:
    rnnshapes.golden(cell="lstm", **SIZES, seed=4, quantize="int8").save(tmp_path / "g.h")
    (tmp_path / "p.c").write_text(PROGRAM, encoding="utf-8")
    command = ["gcc", "-std=c99", *WARNINGS, "p.c", "-o", "p", "-lm"]
    subprocess.run(command, check=True, cwd=tmp_path)
    done = subprocess.run([tmp_path / "p"], check=True, capture_output=True, text=True)
    assert done.stdout == "0"


def test_columns_have_scales_of_their_own() -> None:
    options: Any = {"cell": "lstm", **SIZES, "seed": 4}
    golden = rnnshapes.golden(**options).arrays
    check_errors(
        rnnshapes.quantize(**options, to="int8-columns"), golden, lstm_int8(golden, columns=True)
    )
    written = rnnshapes.golden(**options, quantize="int8-columns").arrays
    kernel, scale = written["lstm/kernel"], written["lstm/kernel scale"]
    assert scale.shape == (20,)
    by_column, of_one_unit = (
        rnnshapes.golden(**options, quantize=to) for to in ("int8-columns", "q3.12")
    )
    for entry in by_column.entries:
        assert len(entry.dims) == entry.values.ndim
    notes = [golden.to_dict()["reading"] for golden in (by_column, of_one_unit)]
    assert ["scale" in note for note in notes] == [True, False]
    np.testing.assert_array_equal(np.abs(kernel).max(axis=0), 127)
    np.testing.assert_allclose(kernel * scale, golden["lstm/kernel"], atol=scale.max() / 2 * 1.001)


def test_columns_of_a_convolution_are_its_filters() -> None:
    layers = [la.Conv1D(6, 3, name="conv"), la.GRU(5, name="gru"), la.Dense(2, name="dense")]
    model = randomized(sequential(*layers, shape=(7, 4)))
    golden = rnnshapes.golden(model, N=2, quantize="int8-columns")
    shapes = {entry.name: (entry.values.shape, len(entry.dims)) for entry in golden.entries}
    assert shapes["conv/kernel scale"] == ((6,), 1)
    assert shapes["gru/recurrent_kernel scale"] == ((15,), 1)
    assert shapes["conv/bias scale"] == shapes["y_hat scale"] == ((), 0)
    exact = rnnshapes.golden(model, N=2).arrays["conv/kernel"]
    found = golden.arrays["conv/kernel"] * golden.arrays["conv/kernel scale"]
    np.testing.assert_allclose(found, exact, atol=golden.arrays["conv/kernel scale"].max())


@pytest.mark.parametrize("given", [("h", "c"), ("h",)], ids=" ".join)
def test_port_in_int8_is_named(given: tuple[str, ...]) -> None:
    """Also where one number in ten is next to that of the run."""
    options: Any = {"cell": "lstm", **SIZES, "seed": 4}
    golden = rnnshapes.golden(**options).arrays
    numbers = lstm_int8(golden)
    port = {key: numbers[f"lstm.{key}"].astype("float32") for key in given}
    for _ in range(2):
        result = rnnshapes.verify(**options, against=port)
        assert [one.ids for one in result.diagnosis.explanations] == [("numeric.fixed_point",)]
        assert (result.verdict, result.passed) == ("inexact", False)
        assert rnnshapes.verify(**options, against=port, tolerance=0.1).passed
        port["h"] = port["h"].copy()
        port["h"].flat[::10] += np.float32(np.abs(golden["lstm.h"]).max() / 127)
    port["h"].flat[:1] += np.float32(np.abs(golden["lstm.h"]).max() * 3 / 127)
    result = rnnshapes.verify(**options, against=port)
    assert ("numeric.fixed_point",) not in [one.ids for one in result.diagnosis.explanations]


@pytest.mark.parametrize(
    ("cell", "name"),
    [("simple", "int16"), ("gru", "q3.12"), ("simple", "q1.6"), ("gru", "int16-columns")],
)
def test_port_in_fixed_point_is_named(cell: str, name: str) -> None:
    options: Any = {"cell": cell, **SIZES, "seed": 5}
    arrays = rnnshapes.golden(**options, quantize=name).arrays
    unit = arrays["y_hat scale"] if "int" in name else 2.0 ** -int(name.rpartition(".")[2])
    y_hat = (arrays["y_hat"] * unit).astype("float32")
    result = rnnshapes.verify(**options, against={"y_hat": y_hat})
    (explanation,) = result.diagnosis.explanations
    assert explanation.ids == ("numeric.fixed_point",)
    assert f"--quantize {name} " in explanation.text


def test_wrong_port_in_fixed_point_is_not() -> None:
    """Its gates are in another order."""
    options: Any = {"cell": "lstm", **SIZES, "seed": 4}
    golden = rnnshapes.golden(**options).arrays
    wrong = dict(golden)
    for name in ("kernel", "recurrent_kernel", "bias"):
        i, f, c, o = np.split(golden[f"lstm/{name}"], 4, axis=-1)
        wrong[f"lstm/{name}"] = np.concatenate([i, o, c, f], axis=-1)
    h = lstm_int8(wrong)["lstm.h"].astype("float32")
    result = rnnshapes.verify(**options, against={"h": h})
    assert result.verdict == "failed"
    assert not [i for one in result.diagnosis.explanations for i in one.ids if "fixed" in i]


def fixed_port(name: str, what: str, **spec: Any) -> tuple[Hypothesis, Any, dict[str, float]]:
    """Return a port with the numbers of a run in fixed point, its inputs, and their units."""
    spec = {**SIZES, "seed": 4, **spec}
    golden = rnnshapes.golden(**spec, quantize=name).arrays
    point = 0.0 if "int" in name else 2.0 ** -int(name.rpartition(".")[2])
    units = {key: float(golden.get(f"{key} scale", point)) for key in what.split()}
    port = {key: golden[key] * unit for key, unit in units.items()}
    with open_session(**spec) as session:
        sources = session.sources
    return hypothesis_of(port, **spec), sources, units


def named(base: Hypothesis, sources: Any) -> str:
    """Return the format of the run that a port repeats, from what is said of it."""
    found = as_fixed_point(base, sources)
    if found is None:
        return ""
    mistake, comparisons = found
    assert mistake.id == "numeric.fixed_point"
    assert mistake.own_fix
    assert [c.quantity for c in comparisons] == [q.text for q in base.quantities]
    assert all(c.agrees for c in comparisons)
    (name,) = re.findall(r"--quantize (\S+)", mistake.text)
    return name


LSTM = {"cell": "lstm"}


@pytest.mark.parametrize(
    ("name", "what", "spec"),
    [
        ("int8", "lstm.h", LSTM),
        ("int8", "lstm.c y_hat", LSTM),
        ("int16", "lstm.h lstm.c y_hat", LSTM),
        ("int8-columns", "gru.h", {"cell": "gru"}),
        ("int8-columns", "y_hat", LSTM),
        ("q5.2", "y_hat", {}),
        ("q0.15", "y_hat", {}),
        ("q1.6", "gru.h y_hat", {"cell": "gru"}),
        ("q4.3", "bidirectional/forward_gru.h", {"cell": "gru", "bidirectional": True}),
    ],
)
def test_a_run_in_fixed_point_is_recognized(name: str, what: str, spec: Any) -> None:
    assert named(*fixed_port(name, what, **spec)[:2]) == name


@pytest.mark.parametrize(("share", "name"), [(0.05, "int8"), (0.3, "")])
def test_numbers_of_few_digits_tell_no_grid(share: float, name: str) -> None:
    """All of them are near a multiple of its unit."""
    base, sources, units = fixed_port("int8", "lstm.h", **LSTM)
    off = share * units["lstm.h"]
    base = base.map_quantities(lambda q: replace(q, rounding=np.full_like(q.values, off)))
    assert named(base, sources) == name


@pytest.mark.parametrize(
    ("sizes", "is_named"),
    [
        ({"N": 1, "T": 20, "K": 1}, True),
        ({"N": 1, "T": 19, "K": 1}, False),
        ({"N": 5, "T": 2, "K": 2}, True),
        ({"N": 10, "T": 1, "K": 3}, False),
    ],
)
def test_twenty_numbers_of_two_steps_are_recognized(sizes: Any, is_named: bool) -> None:
    base, sources, _ = fixed_port("int16", "y_hat", **sizes)
    assert base.quantities[0].values.all()
    assert (named(base, sources) == "int16") == is_named


def test_zeros_are_no_numbers_of_a_run() -> None:
    base, sources, _ = fixed_port("int16", "y_hat", N=1, T=20, K=1)
    values = base.quantities[0].values.copy()
    values[0, 3] = 0.0
    assert named(base.map_quantities(lambda q: replace(q, values=values)), sources) == ""


@pytest.mark.parametrize(
    ("name", "share", "units", "is_named"),
    [
        ("q3.6", 10, 1.0, True),
        ("q3.6", 9, 1.0, False),
        ("q3.6", 42, 2.0, False),
        ("int16", 2, 1.0, True),
        ("int16", 1, 1.0, False),
        ("int16", 42, 2.0, False),
        ("int16", 42, 0.3, False),
        ("q3.6", 42, 0.3, False),
    ],
)
def test_a_port_may_round_otherwise(name: str, share: int, units: float, is_named: bool) -> None:
    """A tenth of its numbers may be next to those of the run, half of them with its own scale."""
    base, sources, scales = fixed_port(name, "y_hat", N=5, T=8, K=2)
    values = base.quantities[0].values.copy()
    values.flat[::share] += units * scales["y_hat"]
    changed = base.map_quantities(lambda q: replace(q, values=values))
    assert bool(named(changed, sources)) == is_named


def test_decimals_in_fixed_point_are_rounded() -> None:
    base, sources, scales = fixed_port("int8", "lstm.h", **LSTM)
    for share, name in ((0.02, "int8"), (0.2, "")):  # no number is off the scale then
        rounding = np.full(base.quantities[0].values.shape, share * scales["lstm.h"])
        values = base.quantities[0].values + 0.9 * rounding
        rounded = base.map_quantities(
            lambda q, v=values, r=rounding: replace(q, values=v, rounding=r)
        )
        assert named(rounded, sources) == name
    exact = base.map_quantities(lambda q: replace(q, values=q.values + 0.02 * scales["lstm.h"]))
    assert named(exact, sources) == ""


def test_decisions_are_not_taken_for_fixed_point() -> None:
    """Zeros and ones are multiples of every scale."""
    layers = [la.GRU(4, return_sequences=True), la.Dense(2, "sigmoid", name="dense")]
    model = randomized(sequential(*layers, shape=(6, 3)))
    model.layers[-1].set_weights([400 * a for a in model.layers[-1].get_weights()])
    arrays = rnnshapes.golden(model, N=4, quantize="q5.2").arrays
    y_hat = arrays["y_hat"] / 4
    assert set(np.unique(y_hat)) == {0.0, 1.0}
    with open_session(model=model, N=4) as session:
        assert named(hypothesis_of({"y_hat": y_hat}, model=model, N=4), session.sources) == ""


@pytest.mark.parametrize("activation", ["softmax", "tanh"])
def test_runs_that_end_in_tables_are_recognized(activation: str) -> None:
    """Its numbers have the scale of the table, from -1 to 1."""
    layers = [la.GRU(4, return_sequences=True), la.Dense(2, activation, name="dense")]
    model = randomized(sequential(*layers, shape=(6, 3)))
    arrays = rnnshapes.golden(model, N=4, quantize="int8").arrays
    y_hat = arrays["y_hat"] * arrays["y_hat scale"]
    with open_session(model=model, N=4) as session:
        assert named(hypothesis_of({"y_hat": y_hat}, model=model, N=4), session.sources) == "int8"


def test_finer_multiples_are_not_tried() -> None:
    base, sources, _ = fixed_port("q14.16", "y_hat")
    assert named(base, sources) == ""


@pytest.mark.parametrize("name", ["int8", "q1.6"])
def test_outputs_that_are_states_have_no_run(name: str) -> None:
    """In fixed point, it has the name of the state."""
    model = randomized(sequential(la.GRU(4, return_sequences=True, name="gru"), shape=(6, 3)))
    arrays = rnnshapes.golden(model, N=4, quantize=name).arrays
    y_hat = arrays["gru.h"] * arrays.get("gru.h scale", 2.0**-6)
    with open_session(model=model, N=4) as session:
        for port, expected in (({"gru.h": y_hat}, name), ({"y_hat": y_hat}, "")):
            assert named(hypothesis_of(port, model=model, N=4), session.sources) == expected


def test_fixed_point_is_no_second_mistake() -> None:
    base, sources, _ = fixed_port("int8", "lstm.h", **LSTM)
    wrong = base.with_mistake("bias", Mistake("bias.omitted", "without the bias"))
    assert named(wrong, sources) == ""


def test_stateful_networks_have_no_run_in_fixed_point() -> None:
    layers = [la.GRU(5, stateful=True, return_sequences=True, name="gru"), la.Dense(2)]
    model = randomized(sequential(*layers, shape=(7, 4), batch_size=3))
    numbers = np.random.default_rng(0).integers(-9, 9, (3, 7, 5)) / 2**4
    base = hypothesis_of({"gru.h": numbers}, model=model)
    with open_session(model=model) as session:
        assert named(base, session.sources) == ""


def test_golden_integers_of_masked_steps() -> None:
    x = np.random.default_rng(2).standard_normal((2, 6, 3)).astype("float32")
    x[0, 2:4] = x[1, :2] = 0
    stack = (la.Masking(0.0), la.GRU(4, reset_after=False, name="rnn"), la.Dense(2))
    model = randomized(sequential(*stack, shape=(6, 3)))
    arrays = rnnshapes.golden(model, x=x, quantize="q3.12").arrays
    h, mask = arrays["rnn.h"], arrays["rnn.mask"]
    np.testing.assert_array_equal(h[0, 2:4], h[0, [1, 1]])
    assert not arrays["rnn.gate_z"][~mask].any()
    assert h.dtype == "int16"
    exact = rnnshapes.golden(model, x=x).arrays["rnn.h"]
    np.testing.assert_allclose(h / 2**12, exact, atol=1e-2)
    assert not any(name.endswith(" scale") for name in arrays)


@pytest.mark.parametrize(("whole", "fraction"), [(3, 12), (0, 7)])
def test_q_gru_equals_a_loop_over_integers(whole: int, fraction: int) -> None:
    options: Any = {"cell": "gru", "reset_after": False, **SIZES, "seed": 5}
    golden = rnnshapes.golden(**options).arrays
    result = rnnshapes.quantize(**options, to=f"q{whole}.{fraction}")
    check_errors(result, golden, gru_q(golden, whole, fraction))
    x = next(value for value in result.values if value.name == "x")
    beyond = (golden["x"] < -(2**whole)) | (golden["x"] > 2**whole - 2.0 ** -(fraction + 1))
    assert x.saturated == beyond.mean()
    assert (x.saturated > 0) == (whole == 0)


def test_kernels_alone_have_8_bits() -> None:
    layers = [la.SimpleRNN(5, return_sequences=True), la.BatchNormalization(), la.Dense(2)]
    model = randomized(sequential(*layers, shape=(6, 3)))
    values = rnnshapes.quantize(model, to="int8", N=2).to_dict()["values"]
    formats = {v["name"]: v["format"] for v in values if v["kind"] == "weight"}
    assert len(formats) == 9
    for name, stored in formats.items():
        assert stored == ("int8" if name.endswith("kernel") else "int32")


def test_more_bits_leave_smaller_errors() -> None:
    options: Any = {"cell": "gru", "bidirectional": True, "M": [4, 6], "T": 7}
    schemes = ("int8", "int16", "q3.12", "q3.24")
    y_hats = [rnnshapes.quantize(**options, to=name).values[-1] for name in schemes]
    errors = [value.largest for value in y_hats]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6
    trace = rnnshapes.trace(**options, keras=False).y_hat
    assert trace is not None
    assert (y_hats[0].low, y_hats[0].high) == pytest.approx((trace.min(), trace.max()))


def started_model() -> Any:
    """A model of two inputs, one of which gives the first states of an LSTM, and of two outputs."""
    import keras

    x, start = keras.Input((6, 3), name="x"), keras.Input((4,), name="start")
    states = [la.Dense(5, name="first")(start), la.Dense(5, name="second")(start)]
    lstm = la.LSTM(5, return_sequences=True, return_state=True, name="rnn")
    h, last, _ = lstm(x, initial_state=states)
    return randomized(keras.Model([x, start], [la.Dense(2, name="out")(h), last]))


def worded_model() -> Any:
    layers = [la.Embedding(9, 4, mask_zero=True, name="words"), la.SimpleRNN(5, name="rnn")]
    return randomized(sequential(*layers, la.Dense(2, name="out"), shape=(7,), dtype="int32"))


def joined_model() -> Any:
    rnn = la.SimpleRNN(4, return_sequences=True, name="rnn")
    both = la.Bidirectional(rnn, merge_mode="sum", name="both")
    return randomized(sequential(both, la.Dense(2, name="out"), shape=(6, 3)))


KERNELS = ("kernel int8 0", "recurrent_kernel int8 0", "bias int32 0")
SUMS = ("x Wx exact T", "h Wh exact T", "x Wx + bh + h Wh int16 T")
GATES = [f"z_{gate} int16 T" for gate in "ifco"] + [f"gate_{gate} int16 T" for gate in "ifc"]
#: Each value of a network in order, with its format in int8 and whether it has time steps.
VALUES = {
    worded_model: [
        *("words/embeddings int8 0", "words int8 T"),
        *(f"rnn/{one}" for one in KERNELS),
        *(f"rnn.{one}" for one in (*SUMS, "h int8 T")),
        *("out/kernel int8 0", "out/bias int32 0", "y_hat int16 T"),
    ],
    started_model: [
        *("x int8 T", "start int8 0"),
        *("first/kernel int8 0", "first/bias int32 0", "first int16 0"),
        *("second/kernel int8 0", "second/bias int32 0", "second int16 0"),
        *(f"rnn/{one}" for one in KERNELS),
        *("rnn.h_initial int8 0", "rnn.c_initial int16 0", "rnn.x Wx exact T", "rnn.h Wh exact T"),
        *(f"rnn.{one}" for one in (*GATES, "c int16 T", "gate_o int16 T", "h int8 T")),
        *("out/kernel int8 0", "out/bias int32 0", "y_hat int16 T"),
    ],
    joined_model: [
        "x int8 T",
        *(f"both/{way}_rnn/{one}" for way in ("forward", "backward") for one in KERNELS),
        *(
            f"both/{way}_rnn.{one}"
            for way in ("forward", "backward")
            for one in (*SUMS, "h int8 T")
        ),
        *("both int8 T", "out/kernel int8 0", "out/bias int32 0", "y_hat int16 T"),
    ],
}


def kind_of(name: str) -> str:
    if "." in name:
        return "state"
    if "/" in name:
        return "weight"
    return "input" if name in ("x", "start") else "output"


@pytest.mark.parametrize("model", VALUES)
def test_values_are_in_the_order_of_computation(model: Any) -> None:
    """Words have no format, and the golden file has no exact sums."""
    built = model()
    values = rnnshapes.quantize(built, N=2, to="int8").values
    found = [f"{value.name} {value.format} {'T' if value.timed else 0}" for value in values]
    assert found == VALUES[model]
    lengths = [(len(value.count), len(value.errors), len(value.rms)) for value in values]
    steps = 7 if model is worded_model else 6
    assert lengths == [(steps if value.timed else 1,) * 3 for value in values]
    assert [value.kind for value in values] == [kind_of(value.name) for value in values]
    stored = [value.name for value in values if value.format != "exact"]
    golden = rnnshapes.golden(built, N=2, quantize="int8")
    integers = {entry.name for entry in golden.entries if not entry.name.endswith("scale")}
    words = {"x", "rnn.mask"} if model is worded_model else set()
    assert integers == {*stored, *words}
    for entry in golden.entries:
        assert entry.values.ndim == len(entry.dims)
        assert entry.is_weight == (kind_of(entry.name) == "weight")


@pytest.mark.parametrize("name", ["shared", "called again"])
def test_weights_of_shared_layers_are_there_once(name: str) -> None:
    values = rnnshapes.quantize(model_of(name), N=2, to="int8").values
    weights = [value.name for value in values if value.kind == "weight"]
    assert sorted(weights) == sorted({*weights})
    assert len(weights) == len(model_of(name).get_weights())


def value_of(**fields: Any) -> QuantizedValue:
    known: dict[str, Any] = {"name": "h", "kind": "state", "format": "int8", "scale": 0.5}
    known |= {"low": -1.0, "high": 1.0, "saturated": 0.0, "timed": True}
    known |= {"errors": np.array([0.1, np.nan, 0.3]), "rms": np.array([0.1, np.nan, 0.2])}
    return QuantizedValue(**{**known, "count": np.array([4, 0, 1]), **fields})


def test_errors_of_all_steps_are_summed_up() -> None:
    """Steps without numbers play no part."""
    value = value_of()
    assert (value.largest, value.worst_step) == (0.3, 2)
    assert value.total_rms == pytest.approx(np.sqrt((4 * 0.1**2 + 0.2**2) / 5))
    assert value_of(timed=False).worst_step is None
    nothing = np.full(3, np.nan)
    empty = value_of(errors=nothing, rms=nothing, count=np.zeros(3, int))
    assert (empty.largest, empty.worst_step, empty.total_rms) == (0.0, None, 0.0)


@pytest.mark.parametrize(
    ("bits", "dtype"), [(8, "int8"), (9, "int16"), (16, "int16"), (17, "int32"), (32, "int32")]
)
def test_integers_have_the_smallest_dtype(bits: int, dtype: str) -> None:
    scales = np.array([0.5, 0.25])
    numbers = np.array([[1.0, -0.75], [0.0, 30.0]])
    found = value_of(numbers=numbers, scales=scales, bits=bits).integers
    assert found.dtype == dtype
    assert found.tolist() == [[2, -3], [0, 120]]


def test_masked_steps_have_no_error() -> None:
    model = randomized(
        sequential(la.Masking(0.0), la.LSTM(5, name="rnn"), la.Dense(2), shape=(9, 3))
    )
    x = np.random.default_rng(2).standard_normal((2, 9, 3)).astype("float32")
    x[:, 6:] = x[0, 2] = 0
    values = {value.name: value for value in rnnshapes.quantize(model, x=x, to="q3.12").values}
    state = values["rnn.z_i"]
    assert np.isnan(state.errors[6:]).all()
    assert np.isfinite(state.errors[:6]).all()
    assert list(state.count[:3]) == [10, 10, 5]
    golden = rnnshapes.golden(model, x=x).arrays
    assert values["rnn.h"].high == pytest.approx(golden["rnn.h"].max())


@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_joined_directions_have_one_scale(mode: str) -> None:
    """As operands of the next recurrence."""
    both = la.Bidirectional(
        la.GRU(4, return_sequences=True, name="gru"), merge_mode=mode, name="both"
    )
    rnn = la.SimpleRNN(3, return_sequences=True, name="rnn")
    model = randomized(sequential(both, rnn, la.Dense(2), shape=(6, 3)))
    exact, stored = (rnnshapes.golden(model, N=2, quantize=q).arrays for q in (None, "int8"))

    def joined(arrays: dict[str, Array]) -> Array:
        names = [name for name in exact if name.endswith("gru.h")]
        forward, backward = (arrays[n] * arrays.get(f"{n} scale", 1) for n in names)
        return forward + backward if mode == "sum" else np.concatenate([forward, backward], -1)

    x = Integers.scaled(8, joined(exact)).store(joined(stored))
    Wx, Wh, b = (
        stored[f"rnn/{name}"] * stored[f"rnn/{name} scale"]
        for name in ("kernel", "recurrent_kernel", "bias")
    )
    h, z = np.zeros((2, 3)), exact["rnn.x Wx"] + exact["rnn.h Wh"] + exact["rnn/bias"]
    form, table = Integers.scaled(8, exact["rnn.h"]), Integers(16, 1 / 32767, -32767)
    for t in range(6):
        argument = Integers.scaled(16, z).store(x[:, t] @ Wx + h @ Wh + b)
        h = form.store(table.store(np.tanh(argument)))
        np.testing.assert_array_equal(np.rint(h / form.scale), stored["rnn.h"][:, t])
    np.testing.assert_array_equal(np.rint(x / stored["both scale"]), stored["both"])


def test_given_states_leave_other_scales_alone() -> None:
    import keras

    x, start = keras.Input((6, 3)), keras.Input((4,))
    states = [30.0 * la.Dense(5)(start), la.Dense(5)(start)]
    rnn = la.LSTM(5, return_sequences=True, name="rnn")
    model = randomized(keras.Model([x, start], la.Dense(2)(rnn(x, initial_state=states))))
    kernel, recurrent, bias = rnn.get_weights()
    rnn.set_weights([kernel, recurrent / 100, bias])  # so that h at the start exceeds z
    exact, stored = (rnnshapes.golden(model, N=2, quantize=q).arrays for q in (None, "int8"))
    for name, bits in {"h": 8, "c": 16, **dict.fromkeys(("z_i", "z_f", "z_c", "z_o"), 16)}.items():
        form = Integers.scaled(bits, exact[f"rnn.{name}"])
        assert stored[f"rnn.{name} scale"] == pytest.approx(form.scale, rel=1e-9), name
    for key, dtype in {"h": "int8", "c": "int16"}.items():
        initial = stored[f"rnn.{key}_initial"]
        scale = stored[f"rnn.{key}_initial scale"]
        assert initial.dtype == dtype
        values = exact[f"rnn.{key}_initial"]
        np.testing.assert_allclose(initial * scale, values, atol=0.02 * np.abs(values).max())


def test_all_steps_count_of_an_unused_input() -> None:
    """Beside another one, of which a mask leaves some."""
    import keras

    x, unused = keras.Input((6, 3), name="x"), keras.Input((6, 4), name="unused")
    model = randomized(keras.Model([x, unused], la.LSTM(5)(la.Masking()(x))))
    given = np.random.default_rng(2).standard_normal((2, 6, 3)).astype("float32")
    given[1, 4:] = 0
    values = rnnshapes.quantize(model, x={"x": given, "unused": np.ones((2, 6, 4))}).values
    counts = {value.name: value.count.tolist() for value in values}
    assert counts["unused"] == [2 * 4] * 6
    assert counts["x"] == [2 * 3] * 4 + [3] * 2


def test_padding_plays_no_part() -> None:
    """As if x had no such steps: in each scale and range, before and behind the mask."""
    stack = (la.Activation("linear"), la.Masking(-999.0), la.Dense(6), la.Dense(4))
    stack += (la.Bidirectional(la.LSTM(5, return_sequences=True), merge_mode="sum"), la.Dense(2))
    model = randomized(sequential(*stack, shape=(None, 3)))
    x = 0.3 * np.random.default_rng(4).standard_normal((2, 9, 3)).astype("float32")
    x[:, [1, 3, 6]] = -999
    for name in ("int8", "q3.12"):
        padded = rnnshapes.quantize(model, x=x, to=name).values
        alone = rnnshapes.quantize(model, x=np.delete(x, [1, 3, 6], axis=1), to=name).values
        for long, short in zip(padded, alone, strict=True):
            for key in ("name", "scale", "low", "high", "saturated", "largest"):
                assert getattr(long, key) == getattr(short, key), (name, long.name, key)


def test_keys_of_attention_count_at_every_step() -> None:
    """Whichever queries are masked; what a mask lets through counts before it, too."""
    dense = "Dense", {"units": 3}
    net = network(
        *(dense, ("Masking", {}), (*dense, {"sources": (Tap(0),)})),
        ("Attention", {}, {"sources": (Tap(2), Tap(3))}),
        *(("GRU", {"units": 2}), dense),
    )
    net = replace(net, declared_sizes=(*net.declared_sizes, ("N", 4)))
    drawn, x = weights.draw(net, 3), np.random.default_rng(3).standard_normal((4, 6, 3))
    drawn["l1"]["b"][:] = 0.0
    x[0, 1] = x[1:3, 4] = 0.0
    found = quantize_network(
        net, drawn, (ArrayInput(x, "x"),), Scheme.from_name("int8"), with_numbers=False
    )
    counts = {value.name: value.count.tolist() for value in found.values if value.timed}
    seen = [4, 3, 4, 4, 2, 4]
    assert {tuple(counts[name]) for name in ("l1", "l2", "l4")} == {tuple(3 * n for n in seen)}
    assert counts["x"] == counts["l3"] == [12] * 6
    assert counts["l5.h"] == [2 * n for n in seen]


def test_layers_of_every_kind_are_computed() -> None:
    """Embedding, normalization, attention and a layer at each step of another."""
    scores = la.TimeDistributed(la.Dense(3, activation="softmax"))
    stack = (la.Embedding(9, 4, mask_zero=True), la.GRU(5, return_sequences=True))
    model = sequential(*stack, la.LayerNormalization(), scores, shape=(7,), dtype="int32")
    result = rnnshapes.quantize(randomized(model), N=2, to="q5.20")
    assert max(value.largest for value in result.values) < 1e-3


@pytest.mark.parametrize("name", ["normalized otherwise", "attending decoder"])
def test_output_of_models_is_near(name: str) -> None:
    model = model_of(name)
    y_hat = next(v for v in rnnshapes.quantize(model, N=2, to="q8.23").values if v.name == "y_hat")
    trace = rnnshapes.trace(model, N=2, keras=False)
    numbers = trace.output if trace.y_hat is None else trace.y_hat
    assert (y_hat.low, y_hat.high) == pytest.approx((numbers.min(), numbers.max()))
    assert 0 < y_hat.largest < 1e-4


def test_unsupported_layer_exits_4(run, in_folder) -> None:
    import keras

    @keras.saving.register_keras_serializable("quantized")
    class Odd(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            """Itself."""
            return x * 1.0

    saved(sequential(la.LSTM(4), Odd(name="odd"), la.Dense(2)), in_folder / "m.keras")
    done = run("trace", "m.keras", "--quantize", "int8")
    assert_refused(done, "odd", status=4)


@pytest.mark.parametrize("name", ["int4", "q40.3", "q0.0", "3.12", "q3", ""])
def test_unknown_format_exits_2(name: str, run) -> None:
    assert_refused(run("trace", "--quantize", name), "int8", "q3.12")


COMBINED = [
    *(["--plot", "p.png"], ["--step", "1"], ["--show", "h"], ["--layer", "simple_rnn"]),
    *(["--golden", "g.h", "--layout", "onnx"], ["--golden", "g.h", "--dtype", "float32"]),
    *(["--view", "flow"], ["--format", "npz", "-o", "t.npz"], ["--steps", "0:2"]),
]


@pytest.mark.parametrize("args", COMBINED, ids=" ".join)
def test_other_outputs_cannot_be_combined(args: list[str], run, in_folder) -> None:
    assert_refused(run("trace", "--quantize", "int8", *args), "--quantize")
    assert list(in_folder.iterdir()) == []


def test_values_without_error_are_shown() -> None:
    """Of weights that are all 0, every number is exact."""
    model = sequential(la.LSTM(5), la.Dense(2), shape=(6, 3))
    model.set_weights([np.zeros(array.shape) for array in model.get_weights()])
    result = rnnshapes.quantize(model)
    assert {value.name: value.largest for value in result.values}["y_hat"] == 0
    assert "y_hat" in repr(result)


def test_formats_hold_the_same_values(run) -> None:
    args = ("trace", "--cell", "lstm", "--T", 3, "--quantize", "q1.6")
    record = json.loads(run(*args, "--format", "json").out)
    rows = list(csv.DictReader(io.StringIO(run(*args, "--format", "csv").out)))
    assert record["schema"] == "rnnshapes.quantize/1"
    for value in record["values"]:
        own = [row for row in rows if row["value"] == value["name"]]
        assert len(own) == (3 if value["errors"] else 1)
        assert max(float(row["largest_error"]) for row in own) == value["largest"]
    table = run(*args).out
    for name in ("lstm", "kernel", "z_i", "gate_f", "y_hat", "Error over time"):
        assert name in table


def test_numbers_are_rounded_to_the_nearest() -> None:
    form = Scheme.from_name("Q1.2").format(4, 0.0)
    values, beyond = form.rounded(np.array([0.125, -0.125, 0.374, 5.0, -2.1, -2.2]))
    np.testing.assert_array_equal(values, [0.25, 0.0, 0.25, 1.75, -2.0, -2.0])
    np.testing.assert_array_equal(beyond, [False, False, False, True, False, True])


@pytest.mark.parametrize("number", [np.nan, -np.inf])
@pytest.mark.parametrize("name", ["int8", "q3.12"])
def test_numbers_that_are_not_finite_exit_2(name: str, number: float, run, in_folder) -> None:
    """In x, at a step that is not the first."""
    x = np.ones((2, 4, 3))
    x[1, 2, 1] = number
    np.save("x.npy", x)
    done = run("trace", "--cell", "lstm", "--M", 4, "--quantize", name, "--input", "x.npy")
    assert_refused(done, "x has", "finite", "step 2")


@pytest.mark.parametrize("name", ["int8", "q3.12"])
def test_first_infinite_or_nan_number_is_reported(name: str) -> None:
    """By its step, where it has one."""
    x = np.ones((2, 9, 3), "f")
    x[1, 5], x[0, 2, 1], x[0, 7] = np.inf, np.nan, np.nan
    with pytest.raises(rnnshapes.InputError, match=r"x has .* at step 2"):
        rnnshapes.quantize(cell="gru", x=x, to=name)
    start = np.full((2, 4), np.inf, "f")
    inputs = {"x": np.ones((2, 6, 3), "f"), "start": start}
    with pytest.raises(rnnshapes.InputError, match="start has") as error:
        rnnshapes.quantize(started_model(), x=inputs, to=name)
    assert "step" not in str(error.value)


@pytest.mark.parametrize("name", ["int8", "q3.12"])
def test_values_of_masked_steps_alone_are_empty(name: str) -> None:
    layers = [la.Masking(0.0, name="mask"), la.GRU(4, name="rnn"), la.Dense(2, name="out")]
    model = randomized(sequential(*layers, shape=(6, 3)))
    x = np.zeros((2, 6, 3), "f")
    values = {value.name: value for value in rnnshapes.quantize(model, x=x, to=name).values}
    gate = values["rnn.gate_z"]
    assert (gate.low, gate.high, gate.saturated) == (0.0, 0.0, 0.0)
    assert (gate.largest, gate.worst_step, gate.total_rms) == (0.0, None, 0.0)
    assert gate.count.tolist() == [0] * 6
    assert np.isnan([gate.errors, gate.rms]).all()


def test_exact_sums_saturate_nowhere() -> None:
    """What is stored does where it is beyond the ends of its format."""
    result = rnnshapes.quantize(**SIZES, cell="gru", to="q0.7")
    exact = [value for value in result.values if value.format == "exact"]
    assert exact
    assert {value.saturated for value in exact} == {0.0}
    x, golden = result.values[0], rnnshapes.golden(**SIZES, cell="gru").arrays["x"]
    beyond = (golden < -1) | (golden > 1 - 2**-8)
    assert (x.name, x.saturated) == ("x", beyond.mean())
    assert x.saturated > 0


# --- Rules of the interpreter -------------------------------------------------------------------

#: Names of schemes: bits of weights, of operands and of other values, and bits behind the point.
SCHEMES = {
    "int8": (8, 8, 16, None),
    "int16": (8, 16, 16, None),
    "int8-columns": (8, 8, 16, None),
    "int16-columns": (8, 16, 16, None),
    "Q3.12": (16, 16, 16, 12),
    "Q0.7": (8, 8, 8, 7),
    "Q1.0": (2, 2, 2, 0),
    "Q15.16": (32, 32, 32, 16),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_scheme_has_the_bits_of_its_name(name: str) -> None:
    scheme = Scheme.from_name(name)
    assert scheme == Scheme.from_name(name.replace("Q", "q"))
    assert (scheme.weights, scheme.operands, scheme.values, scheme.fraction) == SCHEMES[name]
    assert (scheme.name, scheme.by_column) == (name, name.endswith("columns"))


@pytest.mark.parametrize("name", ["q16.16", "q0.0", "q3.12-columns", "int8-column", "xq3.12"])
def test_other_names_are_no_scheme(name: str) -> None:
    with pytest.raises(rnnshapes.InputError, match=re.escape(name)):
        Scheme.from_name(name)


def test_zeros_in_front_do_not_matter() -> None:
    assert Scheme.from_name("q03.05") == Scheme.from_name("q3.5")


def test_formats_have_their_scales_and_ends() -> None:
    scheme = Scheme.from_name("int8")
    assert scheme.format(8, 2.54) == ("int8", 8, 2.54 / 127, -127, 127)
    assert scheme.format(16, 0.0) == ("int16", 16, 1.0, -32767, 32767)
    np.testing.assert_allclose(scheme.format(8, np.array([1.27, 0.0])).scale, [0.01, 1.0])
    assert Scheme.from_name("q1.6").format(8, 9.0) == ("Q1.6", 8, 2.0**-6, -128, 127)


#: A scheme, whether a weight is a kernel, its bits, and whether each column has a scale.
WEIGHTS = [
    *(("int8", True, 8, False), ("int8", False, 32, False), ("int16", True, 8, False)),
    *(("int8-columns", True, 8, True), ("int8-columns", False, 32, False)),
    *(("q3.4", True, 8, False), ("q3.4", False, 8, False)),
]


@pytest.mark.parametrize(("name", "is_kernel", "bits", "by_column"), WEIGHTS)
def test_weights_are_stored_in_their_bits(name, is_kernel, bits, by_column) -> None:
    values = np.random.default_rng(3).standard_normal((2, 3, 4))
    weight = Scheme.from_name(name).weight(values, is_kernel=is_kernel)
    assert (weight.format.bits, np.ndim(weight.format.scale)) == (bits, int(by_column))
    largest = np.abs(values).max(axis=(0, 1)) if by_column else np.abs(values).max()
    unit = 2.0**-4 if "q" in name else largest / (2 ** (bits - 1) - 1)
    np.testing.assert_allclose(weight.format.scale, unit, rtol=1e-12)
    np.testing.assert_array_equal(weight.ideal, values)
    np.testing.assert_allclose(weight.value, np.floor(values / unit + 0.5) * unit)
    assert weight.storage is None
    assert not weight.beyond.any()


def test_scales_hold_the_largest_of_all_evaluations() -> None:
    """Of the samples that count."""
    storage = StoredValues(Scheme.from_name("int8"), measuring=True)
    for counted, numbers in (
        (None, [1.0, -3.0]),
        (np.array([True, False]), [2.5, -9.0]),
        (np.array([False, False]), [7.0, 7.0]),
    ):
        storage.begin("h", counted)
        x = FixedPoint.exact(np.array(numbers), storage)
        measured = storage.store(x, 8)
        assert (measured.value is x.value, measured.format.bits) == (True, 8)
        storage.store(x * 2.0, 16)
    storage.begin("other")
    storage.store(x, 8)
    assert storage.by_equation == {"h": [3.0, 6.0], "other": [7.0]}
    storage.measuring = False
    storage.begin("h")
    short, long = storage.store(x, 8), storage.store(x * 2.0, 16)
    assert (short.format.scale, long.format.scale) == (3 / 127, 6 / 32767)
    np.testing.assert_allclose(short.value, [3.0, 3.0])
    np.testing.assert_array_equal(short.beyond, [True, True])
    np.testing.assert_array_equal(short.ideal, [7.0, 7.0])


def test_values_in_few_bits_are_not_stored_again() -> None:
    storage = StoredValues(Scheme.from_name("int8"))
    storage.begin("h")
    x = FixedPoint.exact(np.array([0.3, -0.7]), storage)
    weight = storage.scheme.weight(np.array([0.3]), is_kernel=True)
    stored = storage.store(x, 8, 1.0)
    assert storage.store(stored, 8) is storage.store(stored, 16) is stored
    assert storage.store(weight, 2) is weight
    assert storage.position == 1
    assert storage.store(storage.store(x, 16, 1.0), 8, 1.0).format.bits == 8
    assert storage.note(weight) is weight
    assert storage.noted == []
    assert storage.note(x) is x
    assert storage.noted == [x]


#: Operations, by whether their result is still stored as its operands are.
KEPT: dict[str, tuple[Any, bool]] = {
    "joined": (lambda ops, x, y: ops.concatenate([x, x]), True),
    "joined, of two formats": (lambda ops, x, y: ops.concatenate([x, y]), False),
    "larger": (lambda ops, x, y: ops.maximum(x, x), True),
    "smaller": (lambda ops, x, y: ops.minimum(x, x), True),
    "chosen": (lambda ops, x, y: ops.choose(x, x, x), True),
    "chosen, of two formats": (lambda ops, x, y: ops.choose(x, x, y), False),
    "largest": (lambda ops, x, y: ops.max(x, 1), True),
    "windows": (lambda ops, x, y: ops.windows(x, [Window(1, 2, "valid", Dim.of(1))]), True),
    "masked": (lambda ops, x, y: ops.where(np.ones((2, 3), bool), x, 0.0), True),
    "moved": (lambda ops, x, y: ops.rearrange(x, lambda array: array[:, ::-1]), True),
    "exchanged": (lambda ops, x, y: ops.swap_time(x), True),
    "sum": (lambda ops, x, y: x + x, False),
    "product": (lambda ops, x, y: x * 2.0, False),
    "mean": (lambda ops, x, y: ops.mean(x, 1), False),
    "exact sum": (lambda ops, x, y: ops.concatenate([x, x + x]), False),
}


@pytest.mark.parametrize("name", KEPT)
def test_only_moved_numbers_stay_in_their_format(name: str) -> None:
    compute, kept = KEPT[name]
    storage = StoredValues(Scheme.from_name("int8"))
    storage.begin("h")
    ops = FixedPointOps(storage, in_cells=False)
    values = np.random.default_rng(2).uniform(-1, 1, (2, 3, 4))
    x, y = (storage.store(FixedPoint.exact(values, storage), bits, 1.0) for bits in (8, 16))
    assert compute(ops, x, y).format == (x.format if kept else None)


def test_scales_by_column_are_not_shared() -> None:
    storage = StoredValues(Scheme.from_name("int8-columns"))
    ops = FixedPointOps(storage, in_cells=False)
    values = np.random.default_rng(2).uniform(-1, 1, (3, 4))
    kernel = storage.scheme.weight(values, is_kernel=True)
    assert ops.concatenate([kernel, kernel]).format is None
    assert ops.concatenate([kernel]).format is kernel.format


#: An activation, and whether a cell stores its result.
ACTIVATED = {
    **dict.fromkeys(("tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "softsign"), True),
    **dict.fromkeys(("sparse_sigmoid", "softmax", "keras2_hard_sigmoid"), True),
    **dict.fromkeys(("relu", "linear", "elu", "silu", "softplus"), False),
}


@pytest.mark.parametrize("in_cells", [False, True])
@pytest.mark.parametrize("name", ACTIVATED)
def test_cells_store_arguments_and_bounded_results(name: str, in_cells: bool) -> None:
    storage = StoredValues(Scheme.from_name("int8"), by_equation={"h": [2.0]})
    storage.begin("h")
    values = np.random.default_rng(2).uniform(-2, 2, (2, 5))
    x = FixedPoint.exact(values, storage)
    result = FixedPointOps(storage, in_cells=in_cells).activate(name, x)
    unit = 2.0 / 32767
    argument = np.floor(values / unit + 0.5) * unit if in_cells else values
    expected = NumpyOps().activate(name, argument)
    if in_cells and ACTIVATED[name]:
        assert (result.format.bits, result.format.scale) == (16, 1 / 32767)
        expected = np.floor(expected / (1 / 32767) + 0.5) * (1 / 32767)
    else:
        assert result.format is None
    np.testing.assert_allclose(result.value, expected, rtol=1e-12)
    np.testing.assert_array_equal(result.ideal, NumpyOps().activate(name, values))
    assert len(storage.noted) == in_cells


def test_values_with_a_name_are_stored() -> None:
    """The output of a cell has the bits of an operand."""
    storage = StoredValues(Scheme.from_name("int8"), by_equation={"h": [2.0, 2.0, 2.0, 2.0]})
    storage.begin("h")
    ops = FixedPointOps(storage, in_cells=True)
    x = FixedPoint.exact(np.random.default_rng(2).uniform(-2, 2, (2, 6)), storage)
    assert [ops.let(name, x).format.bits for name in ("h", "c")] == [8, 16]
    one, other = ops.split(x, "z", ("i", "f"))
    assert (one.format.bits, other.format.bits) == (16, 16)
    np.testing.assert_array_equal(other.ideal, x.ideal[:, 3:])
    assert (len(storage.noted), storage.position) == (4, 4)


def test_factors_of_products_are_stored_as_operands() -> None:
    storage = StoredValues(Scheme.from_name("int8"), by_equation={"h": [2.0, 2.0]})
    storage.begin("h")
    x = FixedPoint.exact(np.random.default_rng(2).uniform(-2, 2, (2, 3)), storage)
    w = storage.scheme.weight(np.random.default_rng(3).standard_normal((3, 4)), is_kernel=True)
    rounded = np.floor(x.value * 127 / 2 + 0.5) * 2 / 127
    ops = FixedPointOps(storage, in_cells=False)
    for product in (x @ w, ops.contract(Contraction("ab,bc->ac"), x, w)):
        np.testing.assert_allclose(product.value, rounded @ w.value, rtol=1e-12)
        np.testing.assert_allclose(product.ideal, x.ideal @ w.ideal, rtol=1e-12)
        assert product.format is None
    left, noted = storage.noted
    np.testing.assert_allclose(left.value, rounded, rtol=1e-12)
    np.testing.assert_allclose(noted.value, rounded @ w.value, rtol=1e-12)
    both = w @ storage.scheme.weight(np.eye(4), is_kernel=True)
    assert (both.storage, len(storage.noted)) == (None, 2)


@pytest.mark.parametrize("reverse", [False, True])
def test_steps_inside_a_layer_share_their_formats(reverse: bool) -> None:
    """Each value has one scale for all steps, also of images."""
    rng, storage = np.random.default_rng(4), StoredValues(Scheme.from_name("int8"))
    z = rng.uniform(-1, 1, (2, 5, 3, 4)) * np.arange(1, 6)[:, None, None]  # (N, T, R, 2M)
    w = storage.scheme.weight(rng.uniform(-1, 1, (2, 2)), is_kernel=True)
    ops = FixedPointOps(storage, in_cells=False)

    def step(z_t: FixedPoint, states: Any) -> list[FixedPoint]:
        (a, b), (h, c) = ops.split(z_t, "z", ("a", "b")), states
        c = ops.let("c", c + a)
        return [ops.let("h", c * 0.5 + b + ops.contract(Contraction("nrd,de->nre"), h, w)), c]

    for storage.measuring in (True, False):
        storage.begin("layer")
        x = FixedPoint.exact(z, storage)
        found = ops.scan(step, x, 2, ("h", "c"), reverse=reverse)

    def loop(kernel: Array, stores: list[Any]) -> list[Array]:
        a, b = (store(part) for store, part in zip(stores, np.split(z, 2, axis=-1), strict=False))
        h, c = np.zeros((2, 2, 5, 3, 2))
        h_t = c_t = np.zeros((2, 3, 2))
        for t in range(5)[:: -1 if reverse else 1]:
            c[:, t] = c_t = stores[2](c_t + a[:, t])
            h[:, t] = h_t = stores[3](c_t * 0.5 + b[:, t] + h_t @ kernel)
        return [a, b, c, h]

    exact = loop(w.ideal, [np.copy] * 4)
    forms = [Integers.scaled(bits, v) for bits, v in zip((16, 16, 16, 8), exact, strict=True)]
    np.testing.assert_allclose(found.ideal, exact[3], rtol=1e-12)
    stored = loop(w.value, [form.store for form in forms])
    np.testing.assert_allclose(found.value, stored[3], rtol=1e-9)
    assert found.format.scale == pytest.approx(forms[3].scale)


def test_padding_goes_with_its_numbers() -> None:
    storage = StoredValues(Scheme.from_name("int8"))
    x = FixedPoint.exact(np.arange(24.0).reshape(3, 2, 4), storage)
    mask = np.array([[True, False], [True, True], [False, True]])
    padded = x.at_counted_steps(mask)
    np.testing.assert_array_equal(padded.counted[..., 1], mask)
    turned = replace(padded, beyond=padded.ideal > 20).on_both(lambda array: array[::-1])
    np.testing.assert_array_equal(turned.counted[..., 3], mask[::-1])
    np.testing.assert_array_equal(turned.beyond, x.ideal[::-1] > 20)
    np.testing.assert_array_equal(turned.value, x.ideal[::-1])
    for other in (None, np.ones((2, 3), bool)):
        assert x.at_counted_steps(other) is x
    flat = FixedPoint.exact(np.ones((3, 2)), storage)
    assert flat.at_counted_steps(mask) is flat
