"""Options: what is refused, in one line that says what to do, and what --help shows."""

from __future__ import annotations

import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import __version__, memory
from tests.helpers.files import saved
from tests.helpers.models import sequential

BAD = [
    (["inspect", "--T", "0"], "T (time steps) is a whole number of at least 1, got 0"),
    (["inspect", "--D=-3"], "D (input features) is a whole number of at least 1, got -3"),
    (["trace", "--M", "2.5"], "M (hidden units) is a whole number of at least 1, got '2.5'"),
    (["verify", "--K", "two"], "K (outputs) is a whole number of at least 1, got 'two'"),
    (["inspect", "--N", ""], "N (samples) is a whole number of at least 1, got ''"),
    (["inspect", "--M", "9" * 70], "at most 2**63 - 1, got 999"),
    (["inspect", "--M", "9" * 9000], "M (hidden units) is a whole number"),
    (["inspect", "--M", "5", "--M", "0"], "got 0"),
    (["inspect", "--M"], "'--M' requires an argument"),
    (["inspect", "--depth", "3"], "No such option: --depth"),
    (["inspect", "model.keras"], "model.keras"),
    (["inspekt"], "No such command 'inspekt'"),
    (["inspect", "--format", "xml"], "'xml' is not one of 'table', 'json', 'csv', 'markdown'"),
    (["verify", "--format", "npz"], "'npz' is not one of"),
    (["trace", "--format", "npz"], "--format npz is binary"),
    (["inspect", "--no-keras", "-o", "x.npz"], "the ending .npz stands for no format here"),
    (["verify", "-o", "x.npz"], "the ending .npz stands for no format here"),
    (
        ["trace", "-o", "x.npy"],
        "choose one with --format: table, json, csv, markdown, html, svg, npz, c",
    ),
    (["trace", "--seed", "-1"], "--seed"),
    (["trace", "--seed", "x"], "--seed"),
    (["trace", "--N", "2", "--sample", "9"], "0 to 1"),
    (["trace", "--sample", "-1"], "--sample -1"),
    (["trace", "--steps", "3:99"], "T = 10"),
    (["trace", "--steps", "4:4"], "a must be below b"),
    (["trace", "--steps=-11:"], "from the end"),
    (["trace", "--steps", "5"], "expected a:b"),
    (["trace", "--steps", "a:b"], "expected a:b"),
    (["trace", "--steps", "9" * 99 + ":"], "expected a:b"),
    (["trace", "--show", "c"], "SimpleRNN has y, h"),
    (["trace", "--show", "y,,h"], "SimpleRNN has y, h"),
    (["trace", "--input", ""], "a file of type .npy, .npz or .csv"),
    (["trace", "-o", "missing/x.json"], "there is no folder missing"),
    (["trace", "-o", "."], "is a folder"),
    (["trace", "-o", "x" * 300 + ".json"], "cannot be written"),
    (["trace", "--steps=-:5"], "expected a:b"),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=lambda v: " ".join(v)[:40])
def test_wrong_usage_exits_2_in_one_line(args, message, run, in_folder) -> None:
    done = run(*args)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("rnnshapes: error: ")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert list(in_folder.iterdir()) == []


@pytest.mark.parametrize("args", [["trace"], ["trace", "--no-keras"], ["verify"]])
@pytest.mark.parametrize("sizes", [["--M", 10**9], ["--T", 10**15, "--N", 10**15]])
def test_too_large_network_exits_3(args, sizes, run) -> None:
    """The size is computed; nothing is allocated."""
    done = run(*args, *sizes)
    assert done.status == 3
    assert done.err.count("\n") == 1
    assert "of memory" in done.err
    assert "are available here" in done.err


def test_error_line_holds_no_control_characters(run, in_folder) -> None:
    """A name from the command line cannot steer the terminal."""
    done = run("trace", "--input", "a\x1b[31m\nb.npy")
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_usage_error_names_the_commands_help(run) -> None:
    assert run("trace", "--depth", 3).err.endswith("see rnnshapes trace --help\n")
    assert run("inspekt").err.endswith("see rnnshapes --help\n")


@pytest.mark.parametrize("command", [[], ["inspect"], ["trace"], ["verify"]])
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_examples(command: list[str], option: str, run) -> None:
    done = run(*command, option)
    assert done.status == 0
    assert "Examples:" in done.out
    assert f"rnnshapes {' '.join(command)}".rstrip() in done.out
    for size in "NTDMK":
        assert f"--{size} " in done.out or not command


def test_examples_in_help_run(run, in_folder) -> None:
    import numpy as np

    np.save("x.npy", np.ones((6, 3)))
    np.savetxt("x.csv", np.ones((6, 3)), delimiter=",")
    saved(sequential(la.GRU(4), la.Dense(2), shape=(6, 3)), in_folder / "model.keras")
    y_hat = rnnshapes.trace("model.keras", x="x.npy", keras=False).y_hat
    np.save("y_hat.npy", y_hat.astype("float32"))
    examples = set()
    for command in ([], ["inspect"], ["trace"], ["verify"]):
        lines = run(*command, "--help").out.splitlines()
        examples |= {line.strip() for line in lines if line.strip().startswith("rnnshapes ")}
    assert len(examples) >= 10
    for example in examples:
        args = example.split()[1:]
        if "1000000" in args:
            args[args.index("1000000")] = "1000"
        assert run(*args).status == 0, example


def test_version_is_printed(run) -> None:
    assert run("--version").out == f"rnnshapes {__version__}\n"


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
    assert memory.amount(count) == text


def test_available_memory_is_plausible() -> None:
    assert 10**8 < memory.available() < 10**15
