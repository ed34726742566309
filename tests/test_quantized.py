"""``trace --quantize``: the fixed-point interpreter, against loops over integers."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.ops.fixed_point import Scheme
from tests.helpers.commands import assert_refused
from tests.helpers.files import saved
from tests.helpers.golden import WARNINGS, sigmoid
from tests.helpers.models import model_of, randomized, sequential

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
    for entry in rnnshapes.golden(**options, quantize="int8-columns").entries:
        assert len(entry.dims) == entry.values.ndim
    np.testing.assert_array_equal(np.abs(kernel).max(axis=0), 127)
    np.testing.assert_allclose(kernel * scale, golden["lstm/kernel"], atol=scale.max() / 2 * 1.001)


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
    states = [la.Dense(5)(start), la.Dense(5)(start)]
    h = la.LSTM(5, return_sequences=True, name="rnn")(x, initial_state=states)
    model = randomized(keras.Model([x, start], la.Dense(2)(h)))
    exact, stored = (rnnshapes.golden(model, N=2, quantize=q).arrays for q in (None, "int8"))
    for name, bits in {"h": 8, "c": 16, **dict.fromkeys(("z_i", "z_f", "z_c", "z_o"), 16)}.items():
        form = Integers.scaled(bits, exact[f"rnn.{name}"])
        assert stored[f"rnn.{name} scale"] == pytest.approx(form.scale, rel=1e-9), name
    for key, dtype in {"h": "int8", "c": "int16"}.items():
        initial = stored[f"rnn.{key}_initial"]
        scale = stored[f"rnn.{key}_initial scale"]
        assert initial.dtype == dtype
        np.testing.assert_allclose(initial * scale, exact[f"rnn.{key}_initial"], atol=0.05)


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
    *(["--view", "flow"], ["--format", "npz", "-o", "t.npz"]),
]


@pytest.mark.parametrize("args", COMBINED, ids=" ".join)
def test_other_outputs_cannot_be_combined(args: list[str], run, in_folder) -> None:
    assert_refused(run("trace", "--quantize", "int8", *args), "--quantize")
    assert list(in_folder.iterdir()) == []


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
