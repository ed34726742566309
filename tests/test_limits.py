"""Limits of what is read and written: just below each one is accepted, just above it is not."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers as la

import rnnshapes
from rnnshapes import InputError, memory
from rnnshapes.errors import TooLargeError
from rnnshapes.forward import tracing
from rnnshapes.load import array_files
from rnnshapes.load.inputs import read_input
from rnnshapes.load.saved import network as saved_network
from rnnshapes.load.saved import weight_paths
from rnnshapes.network import from_sizes
from rnnshapes.port.arrays import read_port
from rnnshapes.render.formats import json_csv
from rnnshapes.session import open_session
from tests.helpers.commands import assert_refused, interruptible, process
from tests.helpers.configs import read_config
from tests.helpers.hostile_graphs import call, graph, node
from tests.helpers.models import sequential

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def layer(class_name: str, name: str, **config: Any) -> dict[str, Any]:
    """Return a layer as Keras 3 writes it."""
    config = {"name": name, **config}
    return {"module": "keras.layers", "class_name": class_name, "config": config}


def keras_file(path: Path, *layers: Any, weights: bytes | None = None) -> Path:
    """Return a .keras file of a Sequential with input (None, 5, 3)."""
    first = layer("InputLayer", "x", batch_shape=[None, 5, 3])
    config = {"name": "model", "layers": [first, *layers]}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        model = {"module": "keras", "class_name": "Sequential", "config": config}
        archive.writestr("config.json", json.dumps(model))
        if weights is not None:
            archive.writestr("model.weights.h5", weights)
    return path


def wrapped(depth: int) -> dict[str, Any]:
    """Return a layer inside so many TimeDistributed layers."""
    inner = layer("Dense", "inner", units=4)
    for number in range(depth):
        inner = layer("TimeDistributed", f"around{number}", layer=inner)
    return inner


# --- Saved models -------------------------------------------------------------------------------


def test_layers_may_wrap_others_to_a_depth(tmp_path: Path) -> None:
    most = weight_paths.MOST_WRAPPERS
    assert rnnshapes.inspect(keras_file(tmp_path / "a.keras", wrapped(most))).layers
    with pytest.raises(InputError, match=str(most)):
        rnnshapes.inspect(keras_file(tmp_path / "b.keras", wrapped(most + 1)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["Bidirectional", "TimeDistributed", "RNN"]), max_size=40))
def test_nested_wrappers_never_hang(kinds: list[str]) -> None:
    config = layer("LSTM", "lstm", units=3)
    for number, kind in enumerate(kinds):
        key = "cell" if kind == "RNN" else "layer"
        config = layer(kind, f"around{number}", **{key: config})
    try:
        owners = list(weight_paths.weight_owners(config["class_name"], config["config"]))
    except InputError:
        assert len(kinds) > weight_paths.MOST_WRAPPERS
    else:
        assert len(owners) <= 2**weight_paths.MOST_WRAPPERS


def test_formulas_have_a_number_of_terms(tmp_path: Path, monkeypatch) -> None:
    path = keras_file(tmp_path / "m.keras", layer("LSTM", "lstm", units=4))
    terms = len(rnnshapes.inspect(path).network.layers[0].count.terms)
    monkeypatch.setattr(saved_network, "MOST_TERMS", terms)
    monkeypatch.setattr(saved_network, "MOST_TERMS_IN_ALL", terms)
    assert rnnshapes.inspect(path).layers
    for name in ("MOST_TERMS", "MOST_TERMS_IN_ALL"):
        with monkeypatch.context() as patch:
            patch.setattr(saved_network, name, terms - 1)
            with pytest.raises(InputError, match="terms"):
                rnnshapes.inspect(path)


#: Layers after an input (N, 60, 3), and the largest shape that they compute for one sample.
LARGEST = (
    (call("AdditiveAttention", "ctx", node("x", "x")), (60, 60, 3)),
    (call("MultiHeadAttention", "mha", node("x", "x"), num_heads=7, key_dim=1), (7, 60, 60)),
    (call("MaxPooling1D", "pool", node("x"), pool_size=20, strides=1), (41, 20, 3)),
    (
        call("TimeDistributed", "td", node("x"), layer=layer("RepeatVector", "repeated", n=50)),
        (60, 50, 3),
    ),
)


@pytest.mark.parametrize(
    ("config", "largest"), LARGEST, ids=[config["class_name"] for config, _ in LARGEST]
)
def test_largest_intermediate_counts_as_memory(
    config: dict[str, Any], largest: tuple[int, ...], monkeypatch
) -> None:
    x = call("InputLayer", "x", batch_shape=[None, 60, 3])
    network = read_config(graph([x, config], config["name"])).network.with_sizes(N=5)
    needed: list[int] = []
    monkeypatch.setattr(memory, "require", lambda size, what: needed.append(size))
    tracing.require_memory(network)
    assert 1 < needed[0] / (8 * 5 * math.prod(largest)) < 4


def test_weights_that_were_never_stored_are_refused(tmp_path: Path) -> None:
    """HDF5 would return zeros for them."""
    shapes = [(3, 400_000), (100_000, 400_000), (400_000,)]
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for number, shape in enumerate(shapes):
            path = f"layers/lstm/cell/vars/{number}"
            file.create_dataset(path, shape, "f4", chunks=tuple(min(n, 1000) for n in shape))
    lstm = layer("LSTM", "lstm", units=100_000)
    path = keras_file(tmp_path / "never.keras", lstm, weights=content.getvalue())
    assert rnnshapes.inspect(path).params
    with pytest.raises((InputError, TooLargeError)):
        rnnshapes.trace(path, keras=False)


def test_networks_by_sizes_have_a_number_of_layers(run) -> None:
    most = from_sizes.MOST_LAYERS
    assert len(rnnshapes.inspect(M=[2] * most).layers) == most + 1
    with pytest.raises(InputError, match=str(most)):
        rnnshapes.inspect(M=[2] * (most + 1))


# --- Array files --------------------------------------------------------------------------------


def npz(path: Path, shape: tuple[int, ...]) -> Path:
    """Return a compressed .npz file of zeros."""
    np.savez_compressed(path, x=np.zeros(shape))
    return path


@pytest.mark.parametrize("read", [read_input, read_port])
def test_compressed_arrays_have_a_ratio(read: Any, tmp_path: Path, monkeypatch) -> None:
    shape = (1, 5000, 3)
    path = npz(tmp_path / "x.npz", shape)
    size = 5000 * 3 * 8
    monkeypatch.setattr(array_files, "RATIO_FROM", size)
    assert read(path)
    monkeypatch.setattr(array_files, "RATIO_FROM", size - 1)
    with pytest.raises(InputError, match=r"x\.npz"):
        read(path)


def test_header_of_an_array_has_a_length(tmp_path: Path) -> None:
    most = array_files.MAX_HEADER_BYTES
    for length, is_read in ((most, True), (most + 1, False)):
        text = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2, 1)}".ljust(length - 1)
        start = b"\x93NUMPY\x02\x00" + length.to_bytes(4, "little") + text.encode() + b"\n"
        path = tmp_path / "x.npy"
        path.write_bytes(start + np.arange(2.0).tobytes())
        if is_read:
            np.testing.assert_array_equal(read_input(path).array, [[[0], [1]]])
        else:
            with pytest.raises(InputError, match=r"x\.npy"):
                read_input(path)


def test_numbers_in_decimal_have_a_length(tmp_path: Path) -> None:
    most = array_files.MAX_NUMBER_CHARACTERS
    path = tmp_path / "y.json"
    path.write_text(f"[[1.{'1' * (most - 2)}]]", encoding="utf-8")
    assert read_port(path).arrays[0].values.tolist() == [[pytest.approx(10 / 9)]]
    path.write_text(f"[[1.{'1' * (most - 1)}]]", encoding="utf-8")
    with pytest.raises(InputError, match=r"y\.json"):
        read_port(path)


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("x.csv", "1,2\n3,4\n", read_input),
        ("y.csv", "1,2\n3,4\n", read_port),
        ("y.json", "[[1, 2], [3, 4]]", read_port),
        ("y.h", "/* y_hat: y, float32 */\nstatic const float y[2] = {1.5, 2.5};\n", read_port),
    ],
)
def test_texts_must_fit_into_memory(name, text, read, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    needed: list[int] = []
    monkeypatch.setattr(memory, "require", lambda size, what: needed.append(size))
    assert read(path)
    monkeypatch.undo()
    for free, fits in ((max(needed), True), (max(needed) - 1, False)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        if fits:
            assert read(path)
        else:
            with pytest.raises(TooLargeError, match=name):
                read(path)


def test_memory_counts_windows_of_each_step(monkeypatch) -> None:
    """A convolution of images at each step holds many times its output."""
    needed: dict[int, int] = {}

    def require(size: int, what: str) -> None:
        needed[steps] = max(needed.get(steps, 0), size)

    monkeypatch.setattr(memory, "require", require)
    for steps in (4, 40):
        layers = (la.TimeDistributed(la.Conv2D(1, 5)), la.TimeDistributed(la.Flatten()))
        model = sequential(*layers, la.GRU(1), shape=(steps, 12, 12, 3))
        rnnshapes.trace(model, N=1, keras=False)
    windows = 8 * 8 * 5 * 5 * 3  # of one step
    assert needed[40] - needed[4] > 36 * 8 * windows


#: Options of a network (N, T, D, M, K = 3, 9, 4, 5, 2), what is traced of it, and how many numbers:
#: weights, y_hat and output, the outputs and the largest product of each layer, and states.
NUMBERS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {}, 2 * 62 + 3 * (18 + 2) + 3 * (36 + 45 + 18 + 18)),
    ({}, {"more_numbers": 7}, 2 * 62 + 3 * (18 + 2) + 3 * (36 + 45 + 18 + 18) + 7),
    ({}, {"show": "h"}, 2 * 62 + 3 * (18 + 2) + 3 * (36 + 45 + 18 + 18) + 3 * 45),
    (
        {},
        {"with_keras": True},
        4 * 62 + 3 * (18 + 2) + 3 * (36 + 45 + 18 + 18) + 3 * 45 + 3 * (36 + 45 + 18),
    ),
    ({"return_sequences": True}, {}, 2 * 62 + 3 * 18 + 3 * (36 + 45 + 18 + 18)),
    ({"M": [4, 5]}, {}, 2 * 98 + 3 * (18 + 2) + 3 * (36 + 36 + 45 + 18 + 18)),
    (
        {"cell": "lstm"},
        {"show": "all"},
        2 * 212 + 3 * (18 + 2) + 3 * (36 + 45 + 18 + 18) + 3 * 6 * 45,
    ),
    (
        {"cell": "gru", "bidirectional": True},
        {"show": "h"},
        2 * 352 + 3 * (18 + 2) + 3 * (36 + 90 + 18 + 18) + 3 * 2 * 45,
    ),
]


def numbers_of_trace(spec: dict[str, Any], options: dict[str, Any], monkeypatch: Any) -> int:
    needed: list[int] = []
    with open_session(**{"N": 3, "T": 9, "D": 4, "M": 5, "K": 2, **spec}) as session:
        network = session.network
    monkeypatch.setattr(memory, "require", lambda size, what: needed.append(size))
    tracing.require_memory(network, **options)
    assert needed[0] % 8 == 0
    return needed[0] // 8


@pytest.mark.parametrize(("spec", "options", "expected"), NUMBERS)
def test_a_trace_counts_all_of_its_numbers(spec, options, expected, monkeypatch) -> None:
    assert numbers_of_trace(spec, options, monkeypatch) == expected


def test_a_port_is_compared_with_all_states(monkeypatch) -> None:
    """It needs the memory of all of them, whatever it has."""
    spec, options, numbers = NUMBERS[6]
    assert options == {"show": "all"}
    needed: list[int] = []
    with open_session(**{"N": 3, "T": 9, "D": 4, "M": 5, "K": 2, **spec}) as session:
        y_hat = session.trace(keras=False).y_hat
        monkeypatch.setattr(memory, "require", lambda size, what: needed.append(size))
        assert session.compare(y_hat).passed
    assert needed[0] == 8 * numbers


@pytest.mark.parametrize(("size", "small", "large"), [("T", 9000, 90000), ("N", 10**6, 10**7)])
def test_only_results_grow_with_steps_and_samples(size, small, large, monkeypatch) -> None:
    """Layers are computed block by block."""
    counts = [numbers_of_trace({size: count}, {}, monkeypatch) for count in (small, large)]
    each = 3 * 2 if size == "T" else 9 * 2 + 2
    assert counts[1] - counts[0] == (large - small) * each


@pytest.mark.parametrize("ending", ["csv", "json", "h"])
def test_files_without_end_are_refused_at_once(ending: str, in_folder, run) -> None:
    with Path(f"y.{ending}").open("wb") as file:
        file.truncate(2**40)
    assert_refused(run("verify", "--against", f"y.{ending}"), f"y.{ending}", status=3)


PIECES = st.sampled_from(
    ["/*", "*/", " a: b", " float32 ", "static const float a[1] = {", "1.5f", "}", "};", "=", "\n"]
)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=12), times=st.integers(1, 3000))
def test_any_c_header_is_read_or_refused(pieces, times, tmp_path_factory) -> None:
    """Long ones too: a scan that goes back would take hours."""
    path = tmp_path_factory.mktemp("c") / "port.h"
    path.write_text("".join(pieces) * times, encoding="utf-8")
    try:
        port = read_port(path)
    except InputError:
        return
    assert port.arrays


@pytest.mark.parametrize("rows", [("", "1"), ("2", "")])
def test_rows_without_sample_or_step_are_refused(rows, tmp_path: Path) -> None:
    sample, t = rows
    path = tmp_path / "y.csv"
    path.write_text(f"sample,t,y_hat[0]\n0,0,1.5\n{sample},{t},2.5\n", encoding="utf-8")
    with pytest.raises(InputError, match="sample" if not sample else "t"):
        read_port(path)


def test_input_is_read_before_it_can_change(tmp_path: Path) -> None:
    """A mapped file that becomes shorter would end the process."""
    values = np.arange(6.0).reshape(1, 3, 2)
    np.save(path := tmp_path / "x.npy", values)
    x = read_input(path)
    path.write_bytes(b"")
    np.testing.assert_array_equal(x.array, values)


# --- Output -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["=1+1", " =1+1", "\u00a0=1+1", "\uff1d1+1", "\t@x", "+1", "-1"])
def test_names_are_no_formulas_in_csv(name: str) -> None:
    assert "".join(json_csv.csv_chunks([[name, -1.5]])).strip('"').startswith("'")


@POSIX
def test_file_in_shared_memory_is_replaced(run) -> None:
    folder = Path("/dev", "shm")
    if not os.access(folder, os.W_OK):
        pytest.skip("needs /dev/shm")
    path = folder / f"rnnshapes-test-{os.getpid()}.json"
    try:
        for _ in range(2):
            assert run("inspect", "--no-keras", "-q", "-o", path).status == 0
        assert json.loads(path.read_text("utf-8"))["total"]["params"] == 57
    finally:
        path.unlink(missing_ok=True)


@POSIX
def test_new_file_is_never_more_readable(in_folder, run, monkeypatch) -> None:
    path = Path("a.json")
    path.touch(0o600)
    modes = []
    real = os.replace

    def replace(unfinished: Path, target: Path) -> None:
        each = unfinished.parent, unfinished
        modes.extend(stat.S_IMODE(one.stat().st_mode) for one in each)
        real(unfinished, target)

    monkeypatch.setattr("os.replace", replace)
    assert run("inspect", "--no-keras", "-q", "-o", path).status == 0
    assert modes == [0o700, 0o600]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_plot_and_golden_are_two_files(in_folder, run) -> None:
    Path("p.svg").symlink_to("g.json")
    done = run("trace", "--no-keras", "--golden", "g.json", "--plot", "p.svg")
    assert_refused(done, "--plot", "--golden")
    assert not Path("g.json").exists()


#: Sends a signal to itself when a file is complete, but not yet in its place.
ENDED = """
import os, sys

os.replace = lambda *paths: os.kill(os.getpid(), {number})
from rnnshapes.__main__ import main
sys.exit(main())
"""


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_ended_command_leaves_no_temporary_file(number, in_folder) -> None:
    Path("t.json").write_text("old", encoding="utf-8")
    code = ENDED.format(number=int(number))
    command = [sys.executable, "-c", code, "inspect", "--no-keras", "-o", "t.json"]
    with interruptible():
        done = subprocess.run(command, check=False, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, b"", b"")
    assert [path.name for path in Path().iterdir()] == ["t.json"]
    assert Path("t.json").read_text("utf-8") == "old"


@pytest.mark.parametrize("columns", ["9" * 22, "-5", "x", ""])
def test_help_works_in_any_width(columns: str) -> None:
    done = process("trace", "--help", env={"COLUMNS": columns, "TERM": "", "HOME": "/nowhere"})
    assert (done.status, done.err) == (0, "")
    assert "--no-keras" in done.out


@POSIX
def test_keras_is_not_imported_into_too_little_memory(monkeypatch) -> None:
    import resource

    needed, none = 2**31, resource.RLIM_INFINITY
    for limit, fits in ((needed, True), (needed - 1, False), (none, True)):
        monkeypatch.setattr(resource, "getrlimit", lambda which, limit=limit: (limit, none))
        if fits:
            memory.require_address_space(needed, "it")
        else:
            with pytest.raises(TooLargeError):
                memory.require_address_space(needed, "it")


def test_plots_ignore_a_broken_environment(tmp_path: Path) -> None:
    path, env = tmp_path / "p.pdf", {"SOURCE_DATE_EPOCH": "abc", "MPLBACKEND": "evil"}
    small = ("--T", 2, "--M", 2)
    done = process("trace", *small, "--no-keras", "-q", "--plot", path, env=env)
    assert (done.status, done.err) == (0, "")
    assert path.stat().st_size > 0
