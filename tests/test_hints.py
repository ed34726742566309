"""Hints: the line at the end of each command that proposes the next one."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest

#: Commands, and the command that each proposes.
NEXT = [
    ("inspect --no-keras", "trace"),
    ("inspect --T 7 --D 4 --M 6 --M 5 --no-keras --view flow", "trace --T 7 --D 4 --M 6,5"),
    ("inspect --M 10000000 --no-keras", "inspect --M 10000000 --format json"),
    ("inspect --bidirectional --no-bias --no-keras", "trace --no-bias --bidirectional"),
    ("inspect model.keras --no-keras", "trace model.keras"),
    ("inspect open.keras --no-keras", "trace open.keras --T 10"),
    ("inspect plain.keras --no-keras", "verify plain.keras"),
    ("inspect unknown.keras --no-keras", "inspect unknown.keras --format json"),
    ("inspect unbuilt.keras --no-keras", "inspect unbuilt.keras --format json"),
    ("trace --T 7 --seed 4 --no-keras", "verify --T 7 --seed 4"),
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
