"""Hints: the line at the end of each command that proposes the next one."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import memory
from tests.helpers.results import result_of

#: Commands, and the command that each proposes.
NEXT = [
    ("inspect --no-keras", "trace"),
    ("inspect --T 7 --D 4 --M 6 --M 5 --no-keras --view flow", "trace --T 7 --D 4 --M 6,5"),
    ("inspect --M 10000000 --no-keras", "inspect --M 10000000 --format json"),
    ("inspect --bidirectional --no-bias --no-keras", "trace --no-bias --bidirectional"),
    ("inspect model.keras --no-keras", "trace model.keras"),
    ("inspect open.keras --no-keras", "trace open.keras --T 10"),
    ("inspect model.keras open.keras", "inspect model.keras"),
    ("inspect plain.keras --no-keras", "verify plain.keras"),
    ("inspect unknown.keras --no-keras", "inspect unknown.keras --format json"),
    ("inspect unbuilt.keras --no-keras", "inspect unbuilt.keras --format json"),
    ("trace --T 7 --seed 4 --no-keras", "verify --T 7 --seed 4"),
    ("trace --T 4", "verify --T 4"),
    ("trace model.keras --input 'my x.npy' --no-keras", "verify model.keras --input 'my x.npy'"),
    ("trace --T 4 --no-keras --golden g.h", "verify --T 4 --against y_hat.npy"),
    ("verify --T 4 --cell lstm", "trace --cell lstm --T 4 --golden golden.npz"),
    ("verify plain.keras", "inspect plain.keras"),
    ("verify --T 4 --against good.npy", "trace --T 4 --golden golden.h"),
    ("verify --T 4 --against bad.npy", "trace --T 4 --golden golden.npz"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, an input, and the outputs of two ports."""
    import keras
    from keras import layers as la

    from rnnshapes import api
    from tests.helpers.files import saved
    from tests.helpers.models import Doubled, randomized, sequential

    made = tmp_path_factory.mktemp("hints")
    models = {
        "model": ([la.LSTM(5), la.Dense(2)], (6, 3)),
        "open": ([la.LSTM(5), la.Dense(2)], (None, 3)),
        "plain": ([la.Flatten(), la.Dense(4)], (6, 3)),
        "unknown": ([la.LSTM(5), Doubled()], (6, 3)),
    }
    for name, (layers, shape) in models.items():
        saved(randomized(sequential(*layers, shape=shape)), made / f"{name}.keras")
    saved(keras.Sequential([la.LSTM(5)]), made / "unbuilt.keras")
    np.save(made / "my x.npy", np.random.default_rng(4).standard_normal((2, 6, 3)))
    y_hat = api.trace(T=4, keras=False).y_hat
    np.save(made / "good.npy", y_hat.astype("float32"))
    np.save(made / "bad.npy", y_hat.astype("float32") + 1)
    return made


def proposals(out: str) -> list[str]:
    """Return the lines that propose a command; only lines about options may follow."""
    lines = out.splitlines()
    found = [line for line in lines if line.startswith("Next: ")]
    assert len(lines) - lines.index(found[0]) <= 2
    return found


@pytest.mark.parametrize(("typed", "proposed"), NEXT, ids=[typed for typed, _ in NEXT])
def test_end_of_output_proposes_the_next_command(typed, proposed, folder, run, monkeypatch) -> None:
    """It repeats the options that describe the network."""
    monkeypatch.chdir(folder)
    (hint,) = proposals(run(*shlex.split(typed)).out)
    command, _, reason = hint.removeprefix("Next: rnnshapes ").partition("  ")
    assert command == proposed
    assert reason


@pytest.mark.parametrize("proposed", sorted({proposed for _, proposed in NEXT}))
def test_proposed_commands_run(proposed, folder, run, monkeypatch) -> None:
    """One of them needs a file that the port has to write first."""
    monkeypatch.chdir(folder)
    without = () if proposed.startswith("verify") else ("--no-keras",)
    done = run(*shlex.split(proposed), *without)
    if "y_hat.npy" in proposed:  # which the port has to write first
        assert "y_hat.npy" in done.err
    else:
        assert (done.status, "error" in done.err) == (0, False)


#: The sample and the step where a check fails, if it has one, and the steps that are proposed.
FAILED = [
    ((1, 5, 0), "--sample 1 --steps 2:6"),
    ((0, 3, 2), "--sample 0 --steps 0:4"),
    ((2, 1, 2), "--sample 2 --steps 0:2"),
    ((0, 0, 2), "--sample 0 --steps 0:1"),
    ((0, None, 2), ""),
    (None, ""),
]


@pytest.mark.parametrize(("index", "steps"), FAILED)
def test_steps_around_a_failure_are_proposed(index: Any, steps: str) -> None:
    from rnnshapes.cli import next_command
    from rnnshapes.cli.options import DataArguments, NetworkArguments
    from rnnshapes.forward.difference import Index

    verified = result_of("verify")
    bounded = [check for check in verified.checks if check.residual is not None]
    failed = replace(verified.checks[0], passed=False)
    if index is not None:
        residual = replace(bounded[0].residual, ratio=3.0, index=Index(*index))
        failed = replace(bounded[0], passed=False, residual=residual)
    for checks in ((failed,), (replace(verified.checks[0], passed=False), failed)):
        result = replace(verified, checks=(*checks, *bounded))
        hint = next_command.after_verify(result, NetworkArguments(), DataArguments())
        command, _, reason = hint.removeprefix("Next: ").partition("  ")
        assert command == f"rnnshapes trace --show all {steps}".rstrip()
        assert reason


def test_verify_is_proposed_for_cells_of_keras() -> None:
    """Others are compared by a golden file."""
    from rnnshapes.cli.next_command import after_trace
    from rnnshapes.cli.options import DataArguments, NetworkArguments

    options = NetworkArguments(model=Path("m.onnx"))
    for lacking, golden, command in (
        (("Own",), None, "trace m.onnx --golden golden.npz"),
        (("Own",), Path("g.h"), "verify m.onnx --against y_hat.npy"),
        ((), None, "verify m.onnx"),
    ):
        network = SimpleNamespace(not_in_keras=lacking, recurrent=("rnn",))
        result: Any = SimpleNamespace(network=network, keras=None)
        hint = after_trace(result, options, DataArguments(), golden)
        assert hint.startswith(f"Next: rnnshapes {command}  ")


def test_files_with_a_difference_are_proposed_first() -> None:
    from rnnshapes.cli.next_command import after_files
    from rnnshapes.network.file_summary import FileSummaries, FileSummary

    fine = FileSummary("a.keras", ".keras", "3.9", ("LSTM",), (5,), 12, True)
    warned = replace(fine, path="b.keras", warnings=("one",))
    failed = replace(fine, path="c.keras", exit_status=1)
    broken = FileSummary("d.keras", error="not a model", exit_status=2)
    for files, path in (
        ((fine, warned, failed), "b.keras"),
        ((fine, failed, warned), "c.keras"),
        ((broken, fine), "a.keras"),
        ((broken,), None),
    ):
        hint = after_files(FileSummaries(files))
        assert hint.startswith(f"Next: rnnshapes inspect {path}  " if path else "")
        assert bool(hint) == bool(path)


def test_converted_files_are_proposed_where_they_are_read() -> None:
    from rnnshapes.cli.next_command import after_conversion, other_views

    for name in ("w.pt", "W.SAFETENSORS", "w.onnx"):
        assert f"inspect {name}" in after_conversion(Path(name), to_keras=False)
    assert after_conversion(Path("w.npz"), to_keras=False) == ""
    assert "load_weights('w.weights.h5')" in after_conversion(Path("w.weights.h5"), to_keras=True)
    views = ("summary", "flow", "values", "all")
    assert "flow, values, all " in other_views(views, has_model=True)
    assert "flow, all " in other_views(views, has_model=False)
    assert "summary" not in other_views(views, has_model=True)


def test_default_view_names_the_others(run, folder, monkeypatch) -> None:
    """Values are those of a model."""
    monkeypatch.chdir(folder)
    for args, named in (
        ((), "flow, weights, steps, gates, all"),
        (("model.keras",), "flow, weights, steps, gates, values, all"),
        (("--view", "flow"), ""),
    ):
        last = run("inspect", "--no-keras", *args).out.splitlines()[-1]
        assert named in last
        assert bool(named) == ("--view" in last)


def test_contradicting_file_is_shown_as_json() -> None:
    from keras import layers as la

    from rnnshapes.cli.next_command import after_inspect
    from rnnshapes.cli.options import NetworkArguments
    from rnnshapes.network.structure import Fact, FileCheck
    from tests.helpers.models import sequential

    fact = Fact("rnn/kernel", "(D, M)", (3, 4), (4, 3))
    file = FileCheck("m.keras", ".keras", "3.9", (fact,), (), False)
    options = NetworkArguments(model=Path("m.keras"))
    for found, command in (
        ((4, 3), "inspect m.keras --format json"),
        ((3, 4), "trace m.keras"),
    ):
        facts = (replace(fact, found=found),)
        result = replace(result_of("inspect"), keras=None, file=replace(file, facts=facts))
        assert after_inspect(result, options).startswith(f"Next: rnnshapes {command}  ")
    foreign = replace(file, facts=(), framework="PyTorch")
    result = replace(result_of("inspect"), keras=None, file=foreign)
    assert "rnnshapes trace m.keras  " in after_inspect(result, options)
    with_open_steps = rnnshapes.inspect(sequential(la.LSTM(5), shape=(None, 3)))
    hint = after_inspect(replace(with_open_steps, keras=None, file=foreign), options)
    assert "rnnshapes trace m.keras --T 10  " in hint


@pytest.mark.parametrize(
    ("free", "command"), [(None, "trace"), (10**9, "trace"), (8 * 10**3, "inspect")]
)
def test_trace_is_proposed_where_memory_is_enough(free: Any, command: str, monkeypatch) -> None:
    from rnnshapes.cli.next_command import after_inspect
    from rnnshapes.cli.options import NetworkArguments

    result = result_of("inspect")
    assert result.params is not None
    assert result.params > 300
    monkeypatch.setattr(memory, "available", lambda: free)
    hint = after_inspect(result, NetworkArguments())
    assert hint.startswith(f"Next: rnnshapes {command} ")


@pytest.mark.parametrize("command", ["inspect --no-keras", "trace --no-keras"])
def test_quiet_removes_only_the_hint(command, run) -> None:
    loud, quiet, short = (run(*command.split(), *more) for more in ((), ("--quiet",), ("-q",)))
    (hint,) = proposals(loud.out)
    assert quiet.out == short.out == loud.out[: loud.out.index(hint)]


@pytest.mark.parametrize("more", ["--format json", "--format csv", "-o a.txt", "--format markdown"])
def test_no_hint_where_no_person_reads(more, run, in_folder) -> None:
    done = run("trace", "--no-keras", *more.split())
    assert (done.status, "Next" in done.out, done.err) == (0, False, "")
    assert not Path("a.txt").exists() or "Next" not in Path("a.txt").read_text("utf-8")


def test_hint_quotes_hostile_file_names(run, in_folder, folder) -> None:
    """An escape sequence, and a name that looks like an option."""
    for name in ("\x1b[31mred.keras", "-o.keras"):
        Path(name).write_bytes((folder / "model.keras").read_bytes())
    for typed, shown in (
        ("\x1b[31mred.keras", "'\\x1b[31mred.keras'"),
        ("./-o.keras", "./-o.keras"),
    ):
        (hint,) = proposals(run("inspect", typed, "--no-keras").out)
        assert hint.startswith(f"Next: rnnshapes trace {shown}")
