"""Pictures and files that cannot be written are known before the work begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.commands import process

COMMANDS = ["inspect --no-keras", "trace --no-keras", "verify"]

#: Options, and what is said of them.
WRONG = {
    "--plot a.gif": "a.gif: a picture ends in one of .png, .svg, .pdf; give it such a name",
    "--plot a": "a: a picture ends in one of .png, .svg, .pdf; give it such a name",
    "--plot folder.png": "folder.png: is a folder; give the name of a file to write",
    "--plot none/a.png": "none/a.png: there is no folder none; make it first",
    "--plot a.svg -o a.svg": "a.svg: is the output, too; give the picture another name",
    "--plot a.svg -o ../here/a.svg": "a.svg: is the output, too; give the picture another name",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds a folder whose name is that of a picture."""
    (made := tmp_path / "here").mkdir()
    (made / "folder.png").mkdir()
    monkeypatch.chdir(made)
    return made


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("options", "said"), WRONG.items())
def test_a_picture_that_cannot_be_written(options, said, command, run, here, monkeypatch) -> None:
    """One line, status 2, no work done and nothing written."""
    monkeypatch.setattr("rnnshapes.session.network_of", None)
    done = run(*command.split(), *options.split())
    assert (done.status, done.out, done.err) == (2, "", f"rnnshapes: error: {said}\n")
    assert [path.name for path in here.iterdir()] == ["folder.png"]


def test_a_picture_does_not_replace_what_is_read(run, here) -> None:
    """Whatever the input is called."""
    Path("x.svg").write_text("1,2,3\n", encoding="utf-8")
    done = run("trace", "--input", "x.svg", "--plot", "x.svg")
    assert (done.status, "is the input, too" in done.err) == (2, True)
    assert Path("x.svg").read_text("utf-8") == "1,2,3\n"


def test_without_matplotlib_the_extra_is_named(run, here, monkeypatch) -> None:
    """At once, and all else works."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("inspect", "--no-keras", "--plot", "a.png")
    assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)
    assert 'pip install "rnnshapes[plot]"' in done.err
    assert not Path("a.png").exists()
    assert run("inspect", "--no-keras").status == 0


STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.mark.parametrize("command", COMMANDS[:3])
@pytest.mark.parametrize(("ending", "start"), STARTS.items())
def test_each_command_draws_beside_what_it_shows(command, ending, start, run, here) -> None:
    """``--plot`` takes nothing away from the result."""
    picture = Path(f"a{ending.upper()}")
    plain, done = run(*command.split()), run(*command.split(), "--plot", picture)
    assert done == plain
    assert picture.read_bytes().startswith(start)


def test_a_picture_of_a_full_disk(here) -> None:
    """What is said is one line."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    Path("a.png").symlink_to("/dev/full")
    done = process("inspect", "--no-keras", "--plot", "a.png")
    assert done.status == 2
    assert done.err == "rnnshapes: error: a.png: cannot be written: No space left on device\n"


def test_the_matter_of_case_is_not_one(run) -> None:
    """``--cell LSTM`` is ``--cell lstm``."""
    assert run("inspect", "--cell", "LSTM", "--no-keras", "-q").out == (
        run("inspect", "--cell", "lstm", "--no-keras", "-q").out
    )


def test_all_is_every_part_that_there_is(run) -> None:
    """``--show all`` is y, h, c and gates of an LSTM, y and h of a SimpleRNN."""
    for cell, parts in {"lstm": "y,h,c,gates", "gru": "y,h,gates", "simple": "y,h"}.items():
        given = ("trace", "--cell", cell, "--no-keras", "-q", "--show")
        assert run(*given, "all").out == run(*given, parts).out


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_view_of_data_is_refused(form: str, run) -> None:
    """They hold everything, so it would have no effect."""
    done = run("inspect", "--no-keras", "--view", "flow", "--format", form)
    assert done.status == 2
    assert f"--view flow: {form} holds everything; leave --view out" in done.err
