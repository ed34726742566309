"""Hostile and broken model files: read, or refused in one line; nothing is run or written."""

from __future__ import annotations

import os
import random
import sys
import threading
import unicodedata
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers as la

import rnnshapes
from rnnshapes import (
    InputError,
    RnnshapesError,
    TooLargeError,
    UnsupportedError,
    memory,
    reference,
)
from rnnshapes.forward import tracing
from tests.helpers.commands import Result
from tests.helpers.files import layers_of, repacked, saved
from tests.helpers.fork_server import ForkServer
from tests.helpers.hostile import BAD, ESCAPES, LARGE, MARKER, MOST_MIB
from tests.helpers.models import randomized, sequential

#: More than the budget of 3 s, for a machine that has other work.
PATIENCE = 30


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a good file to make bad ones of."""
    layers = (la.LSTM(5, name="lstm"), la.Dense(2, name="dense"))
    folder = tmp_path_factory.mktemp("good")
    return saved(randomized(sequential(*layers, shape=(6, 3))), folder / "good.keras")


def limited(server: ForkServer, *args: object, cwd: Path) -> tuple[Result, int]:
    """Run the command in its own process; also return the most MiB that it or a child used."""
    out, err = cwd.with_name("out"), cwd.with_name("err")
    argv = ["rnnshapes", *map(str, args)]
    with out.open("wb") as stdout, err.open("wb") as stderr, Path(os.devnull).open() as stdin:
        streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
        process = server.fork("rnnshapes.__main__", "main", streams, argv=argv, folder=str(cwd))
        timer = threading.Timer(PATIENCE, process.kill)
        timer.start()
        status = process.wait()
        timer.cancel()
    result = Result(status, out.read_text("utf-8"), err.read_text("utf-8"))
    return result, process.memory // 1024


def is_one_clean_line(text: str) -> bool:
    """Return whether a text is a line that any terminal can show."""
    return text.count("\n") == 1 and text[:-1].isprintable()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
@pytest.mark.parametrize("name", BAD)
def test_bad_file_is_read_or_refused(
    name: str, good: Path, tmp_path: Path, monkeypatch, commands: ForkServer, run
) -> None:
    """Nothing is written; what is read is neither traced nor verified.

    What might take much memory or time is read in a process of its own, which stays small.
    """
    folder, work = tmp_path / "files", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    make, expected = BAD[name]
    path = make(good, folder)
    before = sorted(folder.rglob("*"))
    monkeypatch.chdir(work)
    if name in LARGE:
        result, memory = limited(commands, "inspect", path, "--no-keras", cwd=work)
        if sys.platform == "linux":  # elsewhere there is no limit of memory to set
            assert memory < MOST_MIB
    else:
        result = run("inspect", path, "--no-keras")
    assert "Traceback" not in result.err
    readable = expected in ("read", "broken")
    if readable:
        assert result.err == ""
        assert result.status == (0 if expected == "read" else 1)
        assert "parameters" in result.out
        assert all(c.isprintable() or c == "\n" for c in result.out)
    else:
        assert result.status == 2
        assert result.out == ""
        assert is_one_clean_line(result.err)
        assert result.err.startswith("rnnshapes: error: ")
        assert expected in result.err
    for command in (("trace", "--no-keras"), ("verify",)) if readable else ():
        done = run(command[0], path, *command[1:])
        if name in STILL_TRACED:
            assert done.status in (0, 2, 3, 4), done.err
        else:
            assert done.status in (2, 3, 4), done.out
            assert is_one_clean_line(done.err)
    assert sorted(folder.rglob("*")) == before
    assert not list(work.iterdir())
    assert not (folder / MARKER).exists()


@pytest.mark.parametrize("name", ["bomb", "NaN", "loop", "soft link", "nothing"])
@pytest.mark.parametrize("command", ["trace", "verify", "convert"])
def test_no_command_takes_an_unreadable_file(
    command: str, name: str, good: Path, in_folder: Path, run
) -> None:
    path, expected = BAD[name][0](good, in_folder), BAD[name][1]
    before = sorted(in_folder.rglob("*"))
    options = ("--to", "torch", "-o", "x.safetensors") if command == "convert" else ()
    done = run(command, path, *options)
    assert done.status == 2
    assert is_one_clean_line(done.err)
    assert expected in done.err
    assert sorted(in_folder.rglob("*")) == before


#: Files in which only the size is wrong, or what is ignored.
STILL_TRACED = ("gzip bomb", "add of one", "many paths", "huge mask value")


BEYOND = [(name, 2**35) for name in BAD if "beyond" in name]


@pytest.mark.parametrize(("name", "free"), [*BEYOND, ("steps beyond any array", None)])
def test_oversized_layer_is_refused_before_allocation(
    name: str, free: int | None, good: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: free)
    monkeypatch.setattr(tracing, "trace_network", None)
    monkeypatch.setattr(reference, "build", None)
    path = BAD[name][0](good, tmp_path)
    for compute in (rnnshapes.verify, rnnshapes.trace, partial(rnnshapes.trace, keras=False)):
        with pytest.raises(TooLargeError):
            compute(path)


#: Options of a layer that Keras itself refuses.
REFUSED: tuple[dict[str, Any], ...] = (
    *({"units": size} for size in (-4, 0, "64", 2.5, None, [64], 2**70)),
    *({"activation": name} for name in ("swoosh", 5, [])),
    *({"class_name": name} for name in (None, 5, "")),
    {"dropout": "x"},
)


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_refused_config_contradicts_the_file(
    options: dict[str, Any], good: Path, tmp_path: Path
) -> None:
    def change(config: dict[str, Any]) -> None:
        layer = layers_of(config)[1]
        (layer if "class_name" in options else layer["config"]).update(options)

    path = repacked(good, tmp_path / "bad.keras", config=change)
    result = rnnshapes.inspect(path)
    assert not result.agrees
    file = result.to_dict()["file"]
    assert file["agrees"] is False
    assert any("lstm" in text for text in file["differences"])
    for compute in (lambda: rnnshapes.trace(path, keras=False), lambda: rnnshapes.verify(path)):
        with pytest.raises(InputError, match="lstm"):
            compute()


def test_unsupported_activation_is_no_contradiction(good: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layers_of(config)[1]["config"]["activation"] = "sparsemax"

    path = repacked(good, tmp_path / "other.keras", config=change)
    assert rnnshapes.inspect(path).agrees
    with pytest.raises(UnsupportedError):
        rnnshapes.verify(path)


def test_names_in_file_are_printed_as_plain_text(good: Path, tmp_path: Path, run) -> None:
    """Names of layers, classes and models, in tables, Markdown, CSV, JSON, HTML and errors."""
    path = BAD["names"][0](good, tmp_path)
    for form in ("table", "markdown", "csv", "json"):
        done = run("inspect", path, "--no-keras", "--format", form)
        assert done.status == 0
        assert not _unsafe(done.out)
    assert "red" in done.out
    assert not _unsafe(rnnshapes.inspect(path)._repr_html_())
    assert "[/][bold]" in run("inspect", path, "--no-keras").out
    for command in ("trace", "verify"):
        done = run(command, path)
        assert done.status == 4
        assert not _unsafe(done.err)


def _unsafe(text: str) -> str:
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(c for c in text if unicodedata.category(c) in kinds and c != "\n")


def test_path_is_printed_as_plain_text(run, tmp_path: Path) -> None:
    """No such file is there."""
    name = ESCAPES.replace("/", "").replace("\ud800", "")
    for text in (name, str(tmp_path / name)):
        done = run("inspect", text)
        assert done.status == 2
        assert is_one_clean_line(done.err)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_crash_of_hdf5_exits_2(good: Path, tmp_path: Path, monkeypatch, run) -> None:
    """A damaged file may crash the HDF5 library, which another process runs."""
    script = tmp_path / "child.py"
    script.write_text("import os; os.abort()")
    monkeypatch.setattr("rnnshapes.load.saved.spawn.SCRIPT", script)
    done = run("inspect", good, "--no-keras")
    assert done.status == 2
    assert is_one_clean_line(done.err)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_process_without_output_is_ended(good: Path, tmp_path: Path, monkeypatch, run) -> None:
    """It may wait for a disk."""
    script = tmp_path / "child.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr("rnnshapes.load.saved.spawn.SCRIPT", script)
    monkeypatch.setattr("rnnshapes.load.saved.hdf5_client.PATIENCE", 0.1)
    monkeypatch.setattr("rnnshapes.load.saved.hdf5_client.MOST_BYTES", 1)
    assert run("inspect", good, "--no-keras").status == 2


def flipped(data: bytes, seed: int) -> bytes:
    """Return data with some bytes changed or removed."""
    chance = random.Random(seed)  # noqa: S311 - the same damage each time
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(made))
        if chance.random() < 0.2:
            del made[place : place + chance.randrange(1, 64)]
        else:
            made[place] = chance.randrange(256)
    return bytes(made)


@pytest.mark.parametrize("seed", range(15))
def test_damaged_file_is_read_or_refused(good: Path, tmp_path: Path, seed: int) -> None:
    """No other error is raised; tests/benchmarks/fuzz.py does this for longer."""
    path = tmp_path / "damaged.keras"
    path.write_bytes(flipped(good.read_bytes(), seed))
    try:
        repr(rnnshapes.inspect(path))
    except RnnshapesError as error:
        assert "\n" not in str(error)  # noqa: PT017 - there need not be one


# --- Configs, without a file --------------------------------------------------------------------

#: What may stand where anything else was.
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(-2, 9), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)

CHANGED = (
    *("deep", "nested", "convolved, same", "given states"),
    "stacked cells, both, masked",
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), name=st.sampled_from(CHANGED))
def test_changed_config_is_read_or_refused(data: st.DataObject, name: str) -> None:
    """Any value in it becomes another one, or is removed."""
    from tests.helpers.configs import changed, read_config

    made = changed(name, data, VALUES)
    try:
        repr(read_config(made))
    except RnnshapesError as error:
        assert "\n" not in str(error)  # noqa: PT017 - there need not be one
