"""The forms of ``trace --golden``: .npz, .json and a C header, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.forward.golden import GoldenArray, array_names
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.ops.dims import Dim
from rnnshapes.port.arrays import read_port
from rnnshapes.render.formats import c_header
from rnnshapes.session import open_session
from tests.helpers import foreign
from tests.helpers.commands import assert_refused, mentioning
from tests.helpers.golden import SIZES, WARNINGS, by_hand, compare, from_header
from tests.helpers.models import randomized, sequential
from tests.helpers.port_layouts import CASES, onnx_scan, torch_scan


@pytest.mark.parametrize("options", [{"cell": "gru"}, {"M": [5, 6], "bidirectional": True}])
def test_npz_json_and_header_hold_the_same_numbers(options: Any, tmp_path: Path) -> None:
    result = rnnshapes.golden(**{**SIZES, **options})
    for ending in ("npz", "json", "h"):
        result.save(tmp_path / f"g.{ending}")
    record = json.loads((tmp_path / "g.json").read_text("utf-8"))
    text = (tmp_path / "g.h").read_text("utf-8")
    header = from_header(text)
    assert record["schema"] == "rnnshapes.golden/1"
    assert record["sizes"]["T"] == 6
    with np.load(tmp_path / "g.npz", allow_pickle=False) as arrays:
        assert arrays.files == list(record["arrays"]) == list(result.arrays)
        assert len(header) == len(arrays.files)
        for name, in_c in zip(arrays.files, header.values(), strict=True):
            said = record["arrays"][name]
            in_json = np.array(said["data"], dtype=said["dtype"])
            assert list(arrays[name].shape) == said["shape"] == list(in_json.shape)
            assert arrays[name].dtype == in_json.dtype == in_c.dtype
            np.testing.assert_array_equal(arrays[name], in_json)
            np.testing.assert_array_equal(arrays[name], in_c)
            assert "\n" not in said["meaning"]
    assert text.isascii()
    assert max(len(line) for line in text.splitlines() if " g_" not in line) <= 100


def test_meanings_give_equation_shape_and_columns() -> None:
    arrays = rnnshapes.golden(cell="gru", go_backwards=True).to_dict()["arrays"]
    meaning = {name: entry["meaning"] for name, entry in arrays.items()}
    assert meaning["x"] == "the input, (N, T, D)"
    gates = "z [:, 0:5], r [:, 5:10], h [:, 10:15]"
    assert meaning["gru/kernel"] == f"Wx, (D, 3M); {gates}"
    assert meaning["gru/bias"] == f"bh, (2, 3M); {gates}; rows: input, recurrent"
    assert meaning["gru.h Wh"] == "h_{t+1} Wh, (N, T, 3M)"
    assert meaning["gru.x_z"] == "x_z x_r x_h = x_t Wx + bx, (N, T, M)"
    assert meaning["gru.gate_z"] == "z_t = sigmoid(x_z + h_z), (N, T, M)"
    assert meaning["gru.h"] == "h_t = z_t × h_{t+1} + (1 - z_t) × h~_t, (N, T, M)"


COMPILERS = [
    pytest.param(name, marks=pytest.mark.skipif(shutil.which(name) is None, reason="not there"))
    for name in ("gcc", "cc", "g++")
]


def compiled(compiler: str, folder: Path, lines: str, *headers: str) -> list[str]:
    """What a program prints that includes the headers."""
    source = folder / ("p.cpp" if "+" in compiler else "p.c")
    includes = "".join(f'#include "{header}"\n' for header in headers or ("g.h",))
    program = f"{includes}#include <stdio.h>\nint main(void)\n{{\n{lines}\nreturn 0;\n}}\n"
    source.write_text(program, encoding="utf-8")
    standard = "-std=c++11" if "+" in compiler else "-std=c99"
    unused = () if compiler == "cc" else ("-Wunused-const-variable=2",)
    command = [compiler, standard, *WARNINGS, *unused, str(source), "-o", str(folder / "p")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run([folder / "p"], check=True, capture_output=True, text=True)
    return done.stdout.split()


@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_program_reads_the_same_numbers(compiler: str, tmp_path: Path) -> None:
    """It compiles without a warning, though most arrays are unused."""
    result = rnnshapes.golden(**SIZES, cell="lstm")
    result.save(tmp_path / "g.h")
    lines = """int width = (int)(sizeof g_lstm_kernel[0] / sizeof(float));
        printf("%d %d %d\\n", G_T, G_M, width);
        printf("%.17g %.17g\\n", g_lstm_h_Wh[1][5][19], g_y_hat[G_N - 1][0][2]);
        printf("%.9g\\n", (double)g_lstm_kernel[3][7]);"""
    t, m, width, h_wh, y_hat, weight = compiled(compiler, tmp_path, lines)
    found = result.arrays
    assert (int(t), int(m), int(width)) == (6, 5, 20)
    assert float(h_wh) == found["lstm.h Wh"][1, 5, 19]
    assert float(y_hat) == found["y_hat"][1, 0, 2]
    assert np.float32(weight) == found["lstm/kernel"][3, 7]


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_two_headers_fit_into_one_program(tmp_path: Path) -> None:
    headers = ("first.h", "2nd-one.h")
    for units, header in zip((4, 5), headers, strict=True):
        rnnshapes.golden(M=units).save(tmp_path / header)
    rows = ("first_simple_rnn_kernel", "rnn_2nd_one_simple_rnn_kernel")
    lines = f"""printf("%d %d ", FIRST_M, RNN_2ND_ONE_M);
        printf("%d %d\\n", {", ".join(f"(int)(sizeof {r}[0] / sizeof(float))" for r in rows)});"""
    assert compiled("gcc", tmp_path, lines, *headers) == ["4", "5", "4", "5"]


class Scaled(keras.layers.Layer):
    """A layer that is not derived, with weights of every kind."""

    def build(self, shape: Any) -> None:
        kinds = {"count": "int32", "flag": "bool", "byte": "uint8", "big": "int64"}
        for name, dtype in kinds.items():
            self.add_weight(shape=(), dtype=dtype, name=name, trainable=False, initializer="ones")
        self.scale = self.add_weight(shape=(shape[-1],), name="scale", initializer="ones")

    def call(self, x: Any) -> Any:
        """Twice the scale."""
        return 2 * x * self.scale


def test_unsupported_layers_are_recorded_from_keras(tmp_path: Path) -> None:
    words = keras.Input((7,), dtype="int32")
    embedding = la.Embedding(9, 3, name="a-b")
    steps = la.Masking(name="a_b")(Scaled(name="double")(embedding(words)))
    h = la.LSTM(4, name="int", return_sequences=True)(steps)
    model = keras.Model(words, la.Dense(2, name="a.b")(la.GRU(3, name="gru")(h)))
    embedding.set_weights([np.arange(27).reshape(9, 3) * (np.arange(9) > 0)[:, None]])
    x = np.array([[1, 2, 3, 4, 0, 0, 0], [5, 6, 7, 8, 1, 2, 0]])
    result = rnnshapes.golden(model, x=x)
    assert result.arrays["x"].dtype == "int32"
    assert np.isnan(result.arrays["gru.x Wx"]).any()
    with pytest.raises(rnnshapes.UnsupportedError, match="double"):
        rnnshapes.golden(model, x=x, keras=False)
    result.save(tmp_path / "g.h")
    result.save(tmp_path / "g.json")
    record = json.loads((tmp_path / "g.json").read_text("utf-8"))
    mask = record["arrays"]["gru.mask"]["data"]
    assert mask[0][-1] is False
    assert record["arrays"]["gru.x Wx"]["data"][0][-1] == [None] * 9
    assert record["arrays"]["double/count"]["data"] == 1
    if shutil.which("gcc"):
        lines = 'printf("%d %g\\n", g_gru_mask[0][6], g_gru_x_Wx[0][6][8]);'
        assert compiled("gcc", tmp_path, lines) == ["0", "nan"]


#: Arrays, and how C writes them.
LITERALS: list[tuple[Any, str]] = [
    (np.array([0.1, -2.0, 1e300]), "double a[3] = {0.1, -2.0, 1e+300};"),
    (np.float32([0.1, -2, 1e10]), "float a[3] = {0.100000001f, -2.0f, 1e+10f};"),
    (np.float16([0.1, 2]), "float a[2] = {0.0999755859f, 2.0f};"),
    (np.float32([np.nan, np.inf, -np.inf]), "float a[3] = {NAN, INFINITY, -INFINITY};"),
    (np.array([True, False]), "unsigned char a[2] = {1, 0};"),
    (np.int8([1, -2]), "signed char a[2] = {1, -2};"),
    (np.uint8([1, 2]), "unsigned char a[2] = {1u, 2u};"),
    (np.int16([1, -2]), "short a[2] = {1, -2};"),
    (np.int32([1, -2]), "int a[2] = {1, -2};"),
    (np.uint32([1, 2]), "unsigned int a[2] = {1u, 2u};"),
    (np.int64([1, -2]), "long long a[2] = {1LL, -2LL};"),
    (np.uint64([1, 2]), "unsigned long long a[2] = {1uLL, 2uLL};"),
    (np.array(2.5), "double a = 2.5;"),
    (np.arange(4, dtype="int8"), "signed char a[4] = {0, 1, 2, 3};"),
    (np.arange(9, dtype="int8"), "signed char a[9] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 };"),
    (np.int8([[1, 2], [3, 4], [5, 6]]), "signed char a[3][2] = { {1, 2}, {3, 4}, {5, 6} };"),
]


@pytest.mark.parametrize(("values", "text"), LITERALS)
def test_header_writes_each_type_of_number(values: Any, text: str) -> None:
    entry = GoldenArray("a", values, tuple(map(Dim.of, values.shape)), "")
    made = "".join(c_header.chunks(c_header.CHeader("", (), from_sizes(), ((entry, ""),))))
    (found,) = re.findall(r"^static const (.*?;)$", made, re.MULTILINE | re.DOTALL)
    assert re.sub(r"\s+", " ", found.replace("_a", "a")) == text
    assert max(line.count(",") for line in found.splitlines()) <= 4


def test_header_has_lengths_as_macros() -> None:
    """Where a symbol stands for the length of the array."""
    n, t, d, m = map(Dim.named, "NTDM")
    network = from_sizes(N=2, T=3, D=5, M=4)
    cases = {
        (n, t, d): "[G_N][G_T][G_D]",
        (d, 4 * m): "[G_D][4 * G_M]",
        (2 * m + 1, d * m): "[2 * G_M + 1][G_D * G_M]",
        (Dim.of(7),): "[7]",
    }
    for dims, lengths in cases.items():
        values = np.zeros([network.value(dim) for dim in dims], "int8")
        for shape, expected in ((values, lengths), (values[:1], None)):
            entry = GoldenArray("a", shape, dims, "")
            header = c_header.CHeader("g", (), network, ((entry, ""),))
            made = "".join(c_header.chunks(header))
            (found,) = re.findall(r"g_a((?:\[.*?\])+)", made)
            assert found == (expected or "[1]" + lengths[lengths.index("]") + 1 :])
    for name, size in {"N": 2, "T": 3, "D": 5, "M": 4, "K": 2}.items():
        assert f"#define G_{name} {size}\n" in made


@pytest.mark.parametrize(
    ("stem", "name"),
    [("golden-2", "golden_2"), ("2nd", "rnn_2nd"), ("--", "rnn"), ("a.b c", "a_b_c"), ("_x_", "x")],
)
def test_header_is_named_after_its_file(stem: str, name: str) -> None:
    assert c_header.name_from(Path(f"{stem}.h")) == name


def test_header_explains_itself_in_comments() -> None:
    entry = GoldenArray("lstm.h Wh", np.zeros(1), (Dim.of(1),), "")
    about = ("one × two", "  indented " + "word " * 40)
    made = "".join(
        c_header.chunks(c_header.CHeader("g", about, from_sizes(), ((entry, "h → Wh"),)))
    )
    first, *others = made.partition("*/")[0].splitlines()
    assert (first, others[0]) == ("/*", " * one * two")
    assert len(others) >= 3
    assert all(line.startswith(" *   ") and len(line) < 100 for line in others[1:-1])
    assert "/* lstm.h Wh: h -> Wh; float64 */\n" in made
    assert "    (void)g_lstm_h_Wh;\n" in made
    assert re.search(r"#ifndef (\w+)\n#define \1\n", made)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_array_named_like_a_size_compiles(tmp_path: Path) -> None:
    """In a file whose name has capitals alone."""
    result = rnnshapes.golden(N=3)
    entries = (replace(result.entries[0], name="N"), *result.entries[1:])
    replace(result, entries=entries).save(tmp_path / "Q.h")
    lines = 'printf("%d %.9g\\n", Q_N, Q_N_2[2][0][0]);'
    size, number = compiled("gcc", tmp_path, lines, "Q.h")
    assert (int(size), np.float32(number)) == (3, result.entries[0].values[2, 0, 0])


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler")
def test_no_name_or_number_breaks_a_header(tmp_path: Path) -> None:
    """Names may end a comment, be alike or empty; numbers may be NaN, infinite or tiny."""
    result = rnnshapes.golden()
    names = ["*/ int x;", "???/*/", "a\\\nb /*", "é", "", "use_all", "a b", "a_b", "a.b", *"xyz"]
    hard = [np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308, 1e22, -0.0, 0.1]
    values = [np.array(hard), np.float32([*hard[:3], 1e-45, 3.4028235e38, 1e10, 2, 0.1])]
    values += [np.array(v) for v in (2.5, np.float32(3), np.int64(-5), np.uint32(2**32 - 1))]
    entries = [
        replace(
            result.entries[0], name=name, description=name, values=v, dims=(Dim.of(8),) * v.ndim
        )
        for name, v in zip(names, values * 2, strict=True)
    ]
    replace(result, entries=tuple(entries)).save(tmp_path / "g.h")
    text = (tmp_path / "g.h").read_text("utf-8")
    found = re.findall(r"^static const (?:unsigned |long )*\w+ (\w+)", text, re.MULTILINE)
    assert found[5:9] == ["g_use_all_2", *(f"g_a_b_{i}" for i in (2, 3, 4))]
    assert len(set(found)) == len(names)
    prints = "\n".join(
        f'for (int i = 0; i < 8; i++) printf("%.17g\\n", (double){name}[i]);' for name in found[:2]
    )
    said = [float(word) for word in compiled("gcc", tmp_path, prints)]
    np.testing.assert_array_equal(said, [*values[0], *values[1].astype("float64")])


def test_saved_model_is_recorded_without_keras(lstm: Path, run, in_folder) -> None:
    np.save("x.npy", np.random.default_rng(1).standard_normal((2, 6, 3)))
    args = ("trace", lstm.name, "--input", "x.npy", "--no-keras")
    plain, done = run(*args, "--quiet"), run(*args, "--golden", "g.npz")
    assert (done.status, done.out.splitlines()[:-1]) == (0, plain.out.splitlines())
    assert re.fullmatch(r"rnnshapes: g.npz holds 20 arrays, [\d.]+ KiB\n", done.err)
    with np.load("g.npz") as arrays:
        found = dict(arrays)
    np.testing.assert_array_equal(found["x"], np.load("x.npy").astype("float32"))
    compare(found, by_hand(found, "encode", found["x"].astype("float64"), "lstm"))


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_golden_does_not_change_the_output(form: str, run, in_folder) -> None:
    args = ("trace", "--T", 4, "--M", 5, "--M", 4, "--cell", "lstm", "--show", "h")
    args = (
        *args,
        "--layer",
        "lstm_1",
        "--format",
        form,
        *([] if form == "table" else ["--no-keras"]),
    )
    plain, done = run(*args), run(*args, "--golden", "g.json")
    assert done.out.partition("\nNext: ")[0] == plain.out.partition("\nNext: ")[0]
    assert done.err.count("\n") == 1
    assert "g.json" in done.err
    assert run(*args, "-q", "--golden", "g.json").err == ""
    written = json.loads(Path("g.json").read_text("utf-8"))["arrays"]
    assert {"lstm.c", "lstm_1.gate_f", "y_hat"} <= set(written)


# --- Parts, layouts and dtypes ------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("cell", CASES)
def test_weights_have_the_layout_of_the_framework(cell: str, options: Any) -> None:
    sizes: Any = {**SIZES, "cell": cell, **options}
    golden = rnnshapes.golden(**sizes).arrays
    x = golden["x"].swapaxes(0, 1).astype("float64")
    scans = [name.removesuffix(".h") for name in golden if name.endswith(".h")]
    h = np.stack([golden[f"{scan}.h"].swapaxes(0, 1) for scan in scans], axis=1)
    found = {}
    for layout in ("pytorch", "onnx"):
        written = rnnshapes.golden(**sizes, layout=layout, only="weights")
        arrays = {n.rpartition("/")[2]: v for n, v in written.arrays.items() if "dense" not in n}
        found[layout] = {name: values.astype("float64") for name, values in arrays.items()}
        for entry in written.entries:
            assert entry.values.shape == written.network.shape_numbers(entry.dims)
    ends = ("", "_reverse")[: len(scans)]
    for d, end in enumerate(ends):
        np.testing.assert_allclose(torch_scan(cell, x, found["pytorch"], end), h[:, d], atol=1e-12)
    way = "bidirectional" if options else "forward"
    np.testing.assert_allclose(onnx_scan(cell, x, found["onnx"], way, before=1), h, atol=1e-12)


@pytest.mark.parametrize(
    ("cell", "options"),
    [("gru", {}), ("simple", {"bias": False}), ("lstm", {"proj_size": 2, "both": True})],
)
def test_weights_of_a_file_come_back(cell: str, options: Any, tmp_path: Path) -> None:
    arrays = foreign.state_dict(cell, 3, 5, prefix="rnn.", **options)
    path = foreign.written(tmp_path / "m.pt", foreign.torch_file(arrays))
    golden = rnnshapes.golden(path, layout="pytorch", only="weights", T=2)
    assert set(golden.arrays) == {name.replace(".", "/") for name in arrays}
    for entry in golden.entries:
        np.testing.assert_array_equal(entry.values, arrays[entry.name.replace("/", ".")])
        assert entry.values.shape == golden.network.shape_numbers(entry.dims)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"M": [4, 6]}], ids=str)
@pytest.mark.parametrize("cell", CASES)
def test_names_of_all_arrays_are_known(cell: str, options: Any) -> None:
    """Those of each layout, of masks, and of given states."""
    sizes: Any = {**SIZES, "cell": cell, **options}
    written = [rnnshapes.golden(**sizes, layout=one) for one in ("keras", "pytorch", "onnx")]
    names = {name for golden in written for name in golden.arrays}
    for name in written[0].arrays:
        scan, _, state = name.rpartition(".")
        if state in ("h", "c"):
            names |= {f"{scan}.mask", f"{scan}.{state}_initial"}
    network = written[0].network
    names |= {node.name for node in network.inputs} | {"input y_hat", "input output"}
    assert names <= array_names(network)
    assert all("/" in name for name in array_names(network) - names)  # of more of a framework


def test_layout_without_the_cell_exits_4(run, in_folder) -> None:
    args = ("trace", "--no-keras", "--cell", "gru", "--no-reset-after", "--golden", "g.h")
    assert run(*args, "--layout", "onnx").status == 0
    Path("g.h").unlink()
    assert_refused(run(*args, "--layout", "pytorch"), "gru", "PyTorch", status=4)
    assert list(in_folder.iterdir()) == []


def test_only_h_selects_each_cell_and_its_scale() -> None:
    """A number in integers means nothing without its scale."""
    cells = la.RNN([keras.layers.LSTMCell(4), keras.layers.GRUCell(3)], name="rnn")
    model = randomized(sequential(cells, la.Dense(2, name="dense"), shape=(5, 3)))
    assert list(rnnshapes.golden(model, only=["h"]).arrays) == ["rnn.h1", "rnn.h2"]
    integers = rnnshapes.golden(model, only=["h2", "dense/bias"], quantize="int8").arrays
    assert list(integers) == ["dense/bias", "dense/bias scale", "rnn.h2", "rnn.h2 scale"]


def test_no_array_is_an_input_error() -> None:
    with pytest.raises(rnnshapes.InputError, match="y_hat"):
        rnnshapes.golden(only=[], keras=False)


def test_only_selects_arrays_by_name(run, in_folder) -> None:
    args = ("trace", "--no-keras", "--M", "5,4", "--cell", "lstm", "--golden")
    assert run(*args, "g.npz", "--only", "h,y_hat,lstm_1.c").status == 0
    assert np.load("g.npz").files == ["lstm.h", "lstm_1.c", "lstm_1.h", "y_hat"]
    assert run(*args, "g.h", "--only", "weights").status == 0
    weights = {name for name in rnnshapes.golden(cell="lstm", M=[5, 4]).arrays if "/" in name}
    assert {array.name for array in read_port("g.h").arrays} == weights
    assert rnnshapes.verify(cell="lstm", M=[5, 4], against="g.npz").passed


@pytest.mark.parametrize("ending", ["npz", "json", "h"])
def test_dtype_holds_for_every_number(ending: str, tmp_path: Path) -> None:
    golden = rnnshapes.golden(cell="gru", dtype="float32", layout="onnx")
    golden.save(tmp_path / f"g.{ending}")
    assert {values.dtype.name for values in golden.arrays.values()} == {"float32"}
    port = rnnshapes.verify(cell="gru", against=tmp_path / f"g.{ending}")
    assert (port.passed, port.dtype) == (True, "float32")
    exact = rnnshapes.golden(cell="gru").arrays["gru.h"]
    np.testing.assert_array_equal(golden.arrays["gru.h"], exact.astype("float32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_words_and_masks_keep_their_dtype(dtype: str) -> None:
    golden = rnnshapes.golden(T=3, M=4)
    arrays = [np.ones(3, kind) for kind in ("int32", "uint8", "bool", "float32")]
    arrays.append(np.full(3, 1e300))
    entries = tuple(GoldenArray(array.dtype.name, array, (), "") for array in arrays)
    found = replace(golden, entries=entries).in_dtype(dtype).arrays
    kinds = {name: array.dtype.name for name, array in found.items()}
    integers = {name: name for name in ("int32", "uint8", "bool")}
    assert kinds == {**integers, "float32": dtype, "float64": dtype}
    assert np.isinf(found["float64"]).all() == (dtype == "float32")


#: What is typed, and what the line of error mentions.
REFUSED = [
    (["--golden", "g.csv"], ["g.csv", ".npz", ".json", ".h"]),
    (["--golden", "g"], [".npz", ".json", ".h"]),
    (["--golden", ""], [".npz", ".json", ".h"]),
    (["--golden", "missing/g.h"], ["missing"]),
    (["--golden", "folder.npz"], ["folder.npz"]),
    (["--golden", "x.npz", "--input", "x.npz"], ["x.npz", "input"]),
    (["model.h", "--golden", "model.h"], ["model.h"]),
    (["--golden", "g.json", "-o", "./g.json"], ["g.json", "output"]),
    (["--golden", "g.h", "--show", "c"], ["c", "SimpleRNN", "y, h"]),
    (["--golden", "g.h", "--layer", "gru"], ["gru", "simple_rnn"]),
    (["--golden", "full.json"], ["full.json"]),
    (["--golden", "g.h", "--only", "y_hut"], ["y_hut", "y_hat"]),
    (["--golden", "g.h", "--only", ""], ["weights"]),
    (["--golden", "g.h", "--layout", "flax"], ["flax", "keras, pytorch, onnx"]),
    (["--golden", "g.h", "--dtype", "float16"], ["float16", "float32"]),
    (["--only", "weights"], ["--only", "--golden"]),
    (["--layout", "onnx"], ["--layout", "--golden"]),
    (["--dtype", "float32"], ["--dtype", "--golden"]),
]


@pytest.mark.parametrize(("args", "names"), REFUSED, ids=lambda v: " ".join(v)[:40])
def test_impossible_target_exits_2_and_writes_nothing(args, names, run, in_folder) -> None:
    Path("folder.npz").mkdir()
    if Path("/dev/full").exists():
        Path("full.json").symlink_to("/dev/full")
    elif "full.json" in args:
        pytest.skip("needs /dev/full")
    np.savez("x.npz", np.ones((2, 6, 3)))
    Path("model.h").write_bytes(b"not a model")
    before = {path.name: path.stat().st_size for path in in_folder.iterdir()}
    assert_refused(run("trace", "--no-keras", *args), *names)
    assert {path.name: path.stat().st_size for path in in_folder.iterdir()} == before


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        (["--M", 10**9, "--T", 7, "--N", 4], ["N=4", "T=7"]),
        (["--T", 10**15, "--N", 10**14], [f"{10**15:,}", f"N={10**14:,}"]),
    ],
    ids=["units", "steps"],
)
def test_too_large_network_exits_3(sizes, named, run, in_folder) -> None:
    done = run("trace", "--no-keras", *sizes, "--golden", "g.npz")
    assert_refused(done, "memory", *named, status=3)
    assert list(in_folder.iterdir()) == []


def test_recorded_arrays_count_as_memory(run, in_folder, monkeypatch) -> None:
    """They are computed for a golden file alone."""
    monkeypatch.setattr("rnnshapes.memory.available", lambda: 10**6)
    options = {"cell": "lstm", "T": 500, "M": 16}
    with open_session(**options) as session:
        session.trace(show="y,h,c,gates", keras=False)
    with pytest.raises(rnnshapes.TooLargeError):
        rnnshapes.golden(**options)
    args = ("trace", "--no-keras", "--cell", "lstm", "--T", 500, "--M", 16, "--show", "all")
    assert run(*args).status == 0
    assert_refused(run(*args, "--golden", "g.npz"), "memory", status=3)


def test_golden_result_is_frozen_and_displays_itself() -> None:
    result = rnnshapes.golden(cell="lstm")
    for values in result.arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            values[...] = 0
    for name in result.arrays:
        assert name in repr(result)
    assert "<table" in result._repr_html_()


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch) -> None:
    result = rnnshapes.golden()
    path = tmp_path / "g.h"
    path.write_text("before", encoding="utf-8")

    def broken(found: Any):
        yield "/* half"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rnnshapes.render.formats.c_header.chunks", broken)
    with pytest.raises(rnnshapes.InputError, match="No space left"):
        result.save(path)
    assert path.read_text("utf-8") == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["g.h"]
    with pytest.raises(rnnshapes.InputError, match=mentioning("g.csv", ".npz", ".json", ".h")):
        result.save(tmp_path / "g.csv")
