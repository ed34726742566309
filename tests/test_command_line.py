"""Options: what is refused, in one line that says what to do, and what --help shows."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import CannotRunError, InputError, __version__, cli, memory
from rnnshapes.api import conversion
from rnnshapes.ops.interface import ACTIVATIONS
from tests.helpers.commands import assert_refused
from tests.helpers.files import layer, legacy_file, saved
from tests.helpers.files import sequential as legacy_sequential
from tests.helpers.models import sequential
from tests.helpers.results import as_json

#: What is typed, and what the line of error mentions.
BAD = [
    (["inspect", "--T", "0"], ["T", "time steps", "0"]),
    (["inspect", "--D=-3"], ["D", "input features", "-3"]),
    (["trace", "--M", "2.5"], ["M", "hidden units", "2.5"]),
    (["verify", "--K", "two"], ["K", "outputs", "two"]),
    (["inspect", "--N", ""], ["N", "samples"]),
    (["inspect", "--M", "9" * 70], ["M", "2**63 - 1", "999"]),
    (["inspect", "--M", "9" * 9000], ["M", "hidden units"]),
    (["inspect", "--M", "5", "--M", "0"], ["M", "0"]),
    (["inspect", "--M"], ["--M"]),
    (["inspect", "--depth", "3"], ["--depth"]),
    (["inspect", "model.keras"], ["model.keras"]),
    (["inspekt"], ["inspekt"]),
    (["inspect", "--cell", "rnn"], ["--cell", "rnn", "simple", "lstm", "gru"]),
    (["verify", "--dtype", "float16"], ["--dtype", "--against"]),
    (["verify", "--tolerance", "0.01"], ["--tolerance", "--against"]),
    (["inspect", "--format", "xml"], ["xml", "table", "json", "csv", "markdown"]),
    (["verify", "--format", "npz"], ["npz"]),
    (["trace", "--format", "npz"], ["npz"]),
    (["inspect", "--no-keras", "-o", "x.npz"], [".npz"]),
    (["verify", "-o", "x.npz"], [".npz"]),
    (
        ["trace", "-o", "x.npy"],
        [".npy", "--format", "table", "json", "csv", "markdown", "html", "svg", "npz"],
    ),
    (["trace", "--seed", "-1"], ["--seed", "-1"]),
    (["trace", "--seed", "x"], ["--seed", "x"]),
    (["trace", "--N", "2", "--sample", "9"], ["--sample", "9", "N = 2"]),
    (["trace", "--sample", "-1"], ["--sample", "-1"]),
    (["trace", "--steps", "3:99"], ["--steps", "3:99", "T = 10"]),
    (["trace", "--steps", "4:4"], ["--steps", "4:4"]),
    (["trace", "--steps=-11:"], ["--steps", "-11:"]),
    (["trace", "--steps", "5"], ["--steps", "5", "a:b"]),
    (["trace", "--steps", "a:b"], ["--steps", "a:b"]),
    (["trace", "--steps", "9" * 99 + ":"], ["--steps", "a:b"]),
    (["trace", "--steps=-:5"], ["--steps", "-:5", "a:b"]),
    (["trace", "--show", "c"], ["c", "SimpleRNN", "y, h"]),
    (["trace", "--show", "y,,h"], ["SimpleRNN", "y, h"]),
    (["trace", "--show", ""], ["SimpleRNN", "y, h"]),
    (["trace", "--input", ""], [".npy", ".npz", ".csv"]),
    (["trace", "-o", "missing/x.json"], ["missing"]),
    (["trace", "-o", "."], ["folder"]),
    (["trace", "-o", "x" * 300 + ".json"], ["xxx"]),
]


@pytest.mark.parametrize(("args", "names"), BAD, ids=lambda v: " ".join(v)[:40])
def test_wrong_usage_exits_2_in_one_line(args, names, run, in_folder) -> None:
    assert_refused(run(*args), *names)
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize("args", [["trace"], ["trace", "--no-keras"], ["verify"]])
@pytest.mark.parametrize("sizes", [["--M", 10**9], ["--T", 10**15, "--N", 10**15]])
def test_too_large_network_exits_3(args, sizes, run) -> None:
    """The size is computed; nothing is allocated."""
    assert_refused(run(*args, *sizes), "memory", status=3)


def test_error_line_holds_no_control_characters(run, in_folder) -> None:
    """A name from the command line cannot steer the terminal."""
    done = run("trace", "--input", "a\x1b[31m\nb.npy")
    assert_refused(done, "b.npy")
    assert "\x1b" not in done.err


def test_usage_error_names_the_commands_help(run) -> None:
    assert_refused(run("trace", "--depth", 3), "rnnshapes trace --help")
    assert_refused(run("inspekt"), "rnnshapes --help")
    assert "--help" not in run("trace", "--seed", "x").err


COMMANDS = [[], ["inspect"], ["trace"], ["verify"], ["schema"]]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_examples(command: list[str], option: str, run) -> None:
    done = run(*command, option)
    assert done.status == 0
    assert f"rnnshapes {' '.join(command)}".rstrip() in done.out
    for size in "NTDMK":
        assert f"--{size} " in done.out or command in ([], ["schema"])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_60_lines(command: list[str], run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*command, "--help").out.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("columns", [40, 160])
def test_help_fits_the_terminal(command: list[str], columns: int, run, monkeypatch) -> None:
    """Only the examples, which are to be copied, may be longer."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run(*command, "--help").out.splitlines()
    text = [line for line in lines if not line.strip().startswith("rnnshapes ")]
    assert max(map(len, text)) <= min(columns, 80)
    assert sum(len(line) for line in text) / len(text) > 15


@pytest.mark.parametrize("columns", [40, 80])
def test_help_has_every_option_in_its_section(columns: int, run, monkeypatch) -> None:
    """Arguments first, and ``--help`` at the end of the last section."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for name, command in cli.command().commands.items():
        _, *parts = re.split(r"^(\w[\w ]*):\n", run(name, "--help").out, flags=re.MULTILINE)
        shown = {of: text.split() for of, text in zip(parts[::2], parts[1::2], strict=True)}
        context = command.make_context(name, [], resilient_parsing=True)
        params = command.get_params(context)
        arguments = [param for param in params if param.param_type_name == "argument"]
        expected: dict[str, list[str]] = {}
        for param in (*arguments, *(param for param in params if param not in arguments)):
            record = " ".join(param.get_help_record(context))
            panel = getattr(param, "rich_help_panel", None) or "Output"
            expected.setdefault(panel, []).extend(record.split())
        assert shown.pop("Examples")[:2] == ["rnnshapes", name]
        assert shown == expected
    commands = run("--help").out.partition("Commands:\n")[2].partition("\n\n")[0]
    texts = {name: command.help for name, command in cli.command().commands.items()}
    first = " ".join(f"{name} {text.partition(chr(10))[0]}" for name, text in texts.items())
    assert " ".join(commands.split()) == first


def test_help_lists_no_activations(run) -> None:
    """The error does."""
    assert "softsign" not in run("inspect", "--help").out
    assert_refused(run("inspect", "--activation", "softsing"), "softsing", *ACTIVATIONS)


def test_examples_in_help_run(run, in_folder) -> None:
    import numpy as np

    np.save("x.npy", np.ones((6, 3)))
    np.savetxt("x.csv", np.ones((6, 3)), delimiter=",")
    model = sequential(la.GRU(4), la.Dense(2), shape=(6, 3))
    saved(model, in_folder / "model.keras")
    saved(model, in_folder / "other.h5")
    y_hat = rnnshapes.trace("model.keras", x="x.npy", keras=False).y_hat
    np.save("y_hat.npy", y_hat.astype("float32"))
    examples = set()
    for command in ([], ["inspect"], ["trace"], ["verify"], ["schema"]):
        lines = run(*command, "--help").out.splitlines()
        examples |= {line.strip() for line in lines if line.strip().startswith("rnnshapes ")}
    assert len(examples) >= 8
    for example in examples:
        assert run(*example.split()[1:]).status == 0, example


#: Paths that no file can have, by the ending of the option.
PATHS = ["x" * 5000, "d/" * 2500 + "x", "a\0b", "folder", "broken", "loop", "x.csv/x"]
READ = [["inspect"], ["trace"], ["verify"], ["trace", "--input"], ["verify", "--against"]]
WRITTEN = [["trace", "--no-keras", "--golden"], ["inspect", "-o"], ["trace", "--plot"]]


@pytest.fixture
def awkward(in_folder: Path) -> Path:
    """A folder, a broken link and a loop of links, with each ending."""
    for ending in (".keras", ".npy", ".json", ".svg"):
        (in_folder / f"folder{ending}").mkdir()
        (in_folder / f"broken{ending}").symlink_to("nowhere/at/all")
        (in_folder / f"loop{ending}").symlink_to(f"loop{ending}")
    (in_folder / "x.csv").write_text("1,2\n", encoding="utf-8")
    return in_folder


@pytest.mark.parametrize("command", READ, ids=" ".join)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path[:9]))
def test_unreadable_path_exits_2(command: list[str], path: str, run, awkward: Path) -> None:
    ending = ".npy" if command[1:] else ".keras"
    assert_refused(run(*command, path + ending))


@pytest.mark.parametrize("command", WRITTEN, ids=" ".join)
@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path[:9]))
def test_unwritable_path_exits_2(command: list[str], path: str, run, awkward: Path) -> None:
    assert_refused(run(*command, path + (".svg" if "--plot" in command else ".json")))


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b", "\ud800"], ids=["long", "NUL", "surrogate"])
def test_impossible_path_is_an_input_error(path: str) -> None:
    for function, options in [
        (rnnshapes.inspect, {"model": f"{path}.keras"}),
        (rnnshapes.trace, {"model": f"{path}.keras", "keras": False}),
        (rnnshapes.trace, {"x": f"{path}.npy", "keras": False}),
        (rnnshapes.verify, {"against": f"{path}.npy"}),
    ]:
        with pytest.raises(rnnshapes.InputError):
            function(**options)


def test_version_is_printed(run) -> None:
    assert run("--version").out == f"rnnshapes {__version__}\n"


def test_package_has_its_public_names_alone() -> None:
    """Functions come with their modules when they are first used."""
    assert set(dir(rnnshapes)) == {*rnnshapes.__all__, "__version__"}
    for name in rnnshapes.__all__:
        assert getattr(rnnshapes, name).__name__ == name
    with pytest.raises(AttributeError, match="'trcae'"):
        _ = rnnshapes.trcae


def test_no_command_prints_help(run) -> None:
    done = run()
    assert done.status == 0
    assert "inspect" in done.out


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (228, "228 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10 * 2**30, "10.0 GiB"),
        (4 * 10**18, "3.5 EiB"),
    ],
)
def test_memory_is_rounded_above_1_kib(count: int, text: str) -> None:
    assert memory.format_bytes(count) == text


def test_available_memory_is_plausible() -> None:
    assert 10**8 < memory.available() < 10**15


#: Calls of functions with options that exclude each other, and what the error names.
EXCLUDING: list[tuple[str, tuple[Any, ...], dict[str, Any], list[str]]] = [
    ("inspect", (), {"values": True}, ["values"]),
    ("inspect_files", ("m.keras",), {}, ["m.keras", "list"]),
    ("inspect_files", (Path("m.keras"),), {}, ["m.keras", "list"]),
    ("golden", (), {"quantize": "int8", "layout": "pytorch"}, ["quantize", "layout"]),
    ("golden", (), {"quantize": "int8", "dtype": "float32"}, ["quantize", "dtype"]),
    *(
        ("verify", (), {"against": "w.pt", **option}, ["--against", "weight file"])
        for option in (
            {"x": [[1.0, 2.0, 3.0]]},
            {"probe": True},
            {"dtype": "float32"},
            {"tolerance": 0.0},
        )
    ),
    ("verify", (), {"dtype": "float32"}, ["dtype", "against"]),
    ("verify", (), {"tolerance": 0.0}, ["tolerance", "against"]),
    ("convert", ("w.pt", "n.weights.h5"), {"like": "m.keras", "to": "torch"}, ["--like", "--to"]),
    ("convert", ("w.pt", "n.h5"), {"like": "m.keras"}, ["n.h5", ".weights.h5"]),
    ("convert", (None, "n.weights.h5"), {"like": "m.keras"}, ["--like", "path"]),
    ("convert", ("m.keras", "w.safetensors"), {"to": "own"}, ["own", "torch", "flax", "onnx"]),
    ("convert", ("m.keras", "w.npz"), {"to": "torch"}, ["w.npz", ".safetensors"]),
    ("convert", ("m.keras", "w.txt"), {}, ["w.txt", ".safetensors", ".npz", ".onnx", ".h"]),
    ("convert", ("m.keras", "m.keras"), {}, ["m.keras"]),
]


@pytest.mark.parametrize(
    ("function", "args", "options", "names"),
    EXCLUDING,
    ids=[f"{case[0]}-{'-'.join(case[2])}" for case in EXCLUDING],
)
def test_excluding_arguments_are_input_errors(
    function: str, args: Any, options: Any, names: list[str], in_folder: Any
) -> None:
    with pytest.raises(InputError) as error:
        getattr(rnnshapes, function)(*args, **options)
    assert all(name in str(error.value) for name in names), str(error.value)
    assert not list(Path().iterdir())


def test_endings_name_the_framework() -> None:
    targets = {"a.Safetensors": "torch", "a.NPZ": "flax", "a.onnx": "onnx", "a.h": "c"}
    for name, expected in targets.items():
        assert conversion.target_of(Path(name), None) == expected
        assert conversion.target_of(Path(name), expected) == expected


def test_what_keras_wrote_stands_above_the_error(run, monkeypatch) -> None:
    """Shapes are known without Keras."""

    def fail(*args: Any) -> None:
        raise CannotRunError("it failed", "said by Keras\n")

    result = replace(rnnshapes.inspect(T=7), not_built="it failed", log="said by Keras\n")
    monkeypatch.setattr("rnnshapes.api.inspect_in_keras", lambda result_without: result)
    monkeypatch.setattr("rnnshapes.session.Session.verify", fail)
    done = run("verify")
    assert (done.status, done.err) == (3, "said by Keras\nrnnshapes: error: it failed\n")
    done = run("inspect", "--T", 7)
    assert (done.status, done.err) == (0, "said by Keras\n")
    assert "it failed" in done.out
    assert run("inspect", "--T", 7, "--no-keras").err == ""


def test_failures_in_files_are_told_on_standard_error(run, in_folder) -> None:
    """Nobody sees the file; what passes says nothing."""
    y_hat = rnnshapes.golden(N=2, T=4).arrays["y_hat"].astype("float32")
    np.savez("right.npz", y_hat=y_hat, unheard=np.zeros(3))
    np.save("wrong.npy", y_hat.swapaxes(0, 1))
    verify = ("verify", "--N", 2, "--T", 4, "--against")
    done = run(*verify, "wrong.npy", "-o", "r.json")
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert [word in done.err for word in ("FAILED", "r.json")] == [True, True]
    assert run(*verify, "wrong.npy", "-q").err == ""
    for options, names in (((), []), (("-q",), ["unheard"])):
        done = run(*verify, "right.npz", "--ignore", "unheard", "-o", "r.json", *options)
        assert (done.status, done.out, done.err.count("\n")) == (0, "", len(names))
        assert [name for name in names if name not in done.err] == []
    config = legacy_sequential(layer("SimpleRNN", "r", units=5, batch_input_shape=[None, 6, 4]))
    shapes = {"kernel:0": (4, 5), "recurrent_kernel:0": (5, 5), "b": (4,)}
    arrays = {"r": [(name, np.zeros(shape, "f")) for name, shape in shapes.items()]}
    legacy_file(in_folder / "odd.h5", config, arrays)
    for options in (("-o", "i.json"), ("-o", "i.json", "--no-keras")):
        done = run("inspect", "odd.h5", *options)
        assert (done.status, done.out) == (1, "")
        assert [word in done.err for word in ("FAILED", "i.json")] == [True, True]
    done = run("inspect", "odd.h5", "--format", "json")
    assert (done.status, done.err) == (1, "")
    done = run("inspect", "--no-keras", "-o", "i.json")
    assert (done.status, done.err) == (0, "")
    done = run("inspect", "odd.h5", "odd.h5")
    assert (done.status, done.err.count("\n")) == (1, 1)
    reason, *_ = rnnshapes.inspect_files(["odd.h5"]).files[0].warnings
    assert [word for word in ("2 of 2", "odd.h5", reason) if word not in done.err] == []
    Path("bad.keras").write_bytes(b"no model")
    done = run("inspect", "bad.keras", "odd.h5")
    assert done.status > 0
    assert [word in done.err for word in ("2 of 2", "bad.keras")] == [True, True]


#: What is typed, and the same in Python.
TYPED: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("-N 2 -T 6 -D 4 -M 7 -K 3", {"N": 2, "T": 6, "D": 4, "M": 7, "K": 3}),
    ("--N 2 --T 6 --D 4 --M 7 --K 3", {"N": 2, "T": 6, "D": 4, "M": 7, "K": 3}),
    ("--cell LSTM -M 6,4", {"cell": "lstm", "M": [6, 4]}),
    ("--cell SimpleRNN --M 6 --M 4,3", {"cell": "simple", "M": [6, 4, 3]}),
    ("--activation relu", {"activation": "relu"}),
    (
        "--cell gru --recurrent-activation relu --no-reset-after",
        {"cell": "gru", "recurrent_activation": "relu", "reset_after": False},
    ),
    ("--cell gru --reset-after", {"cell": "gru", "reset_after": True}),
    ("--no-bias", {"use_bias": False}),
    ("--bias --one-direction --forwards --last-only", {"use_bias": True}),
    ("--bidirectional --merge-mode sum", {"bidirectional": True, "merge_mode": "sum"}),
    ("--go-backwards --return-sequences", {"go_backwards": True, "return_sequences": True}),
]


@pytest.mark.parametrize(("typed", "options"), TYPED, ids=[typed for typed, _ in TYPED])
def test_options_are_those_of_the_functions(typed: str, options: Any, run) -> None:
    shown = run("inspect", *typed.split(), "--no-keras", "--format", "json")
    assert json.loads(shown.out) == as_json(rnnshapes.inspect(**options, keras=False))
    for seed in ((), ("--seed", "7")):
        more = {"seed": 7} if seed else {}
        shown = run("trace", *typed.split(), *seed, "--no-keras", "--show=h", "--format", "json")
        expected = as_json(rnnshapes.trace(**options, **more, keras=False, show="h"))
        assert json.loads(shown.out) == expected
