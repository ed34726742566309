"""``--plot`` and ``-o``: what cannot be written is refused before the work begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.commands import process

COMMANDS = ["inspect --no-keras", "trace --no-keras", "verify"]

#: Options that cannot be, and what the error has to name.
WRONG = {
    "--plot a.gif": ["a.gif", ".png, .svg, .pdf"],
    "--plot a": ["a:", ".png, .svg, .pdf"],
    "--plot folder.png": ["folder.png", "is a folder"],
    "--plot none/a.png": ["none/a.png", "no folder none"],
    "--plot a.svg -o a.svg": ["a.svg", "--plot", "--output"],
    "--plot a.svg -o ../here/a.svg": ["a.svg", "--plot", "--output"],
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that holds a folder with the name of a picture."""
    folder = tmp_path / "here"
    (folder / "folder.png").mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("options", "names"), WRONG.items())
def test_impossible_picture_exits_2_before_work(
    options, names, command, run, here, monkeypatch
) -> None:
    monkeypatch.setattr("rnnshapes.session.network_of", None)
    done = run(*command.split(), *options.split())
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("rnnshapes: error: ")
    for name in names:
        assert name in done.err
    assert [path.name for path in here.iterdir()] == ["folder.png"]


def test_picture_never_replaces_the_input(run, here) -> None:
    Path("x.svg").write_text("1,2,3\n", encoding="utf-8")
    done = run("trace", "--input", "x.svg", "--plot", "x.svg")
    assert (done.status, "the input" in done.err) == (2, True)
    assert Path("x.svg").read_text("utf-8") == "1,2,3\n"


def test_missing_matplotlib_exits_3_and_names_the_extra(run, here, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("inspect", "--no-keras", "--plot", "a.png")
    assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)
    assert 'pip install "rnnshapes[plot]"' in done.err
    assert not Path("a.png").exists()
    assert run("inspect", "--no-keras").status == 0


PICTURES = [
    ("inspect --no-keras", ".svg", b"<?xml"),
    ("trace --no-keras --T 2 --M 2", ".pdf", b"%PDF"),
    ("verify --T 2", ".png", b"\x89PNG"),
]


@pytest.mark.parametrize(("command", "ending", "start"), PICTURES)
def test_plot_changes_nothing_of_the_result(command, ending, start, run, here) -> None:
    picture = Path(f"a{ending.upper()}")
    assert run(*command.split(), "--plot", picture) == run(*command.split())
    assert picture.read_bytes().startswith(start)


def test_picture_on_full_disk_is_one_line(here) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    Path("a.png").symlink_to("/dev/full")
    done = process("inspect", "--no-keras", "--plot", "a.png")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "a.png" in done.err
    assert "No space left on device" in done.err


def test_cell_names_ignore_case(run) -> None:
    assert run("inspect", "--cell", "LSTM", "--no-keras", "-q").out == (
        run("inspect", "--cell", "lstm", "--no-keras", "-q").out
    )


def test_show_all_is_every_part_of_the_cell(run) -> None:
    for cell, parts in {"lstm": "y,h,c,gates", "gru": "y,h,gates", "simple": "y,h"}.items():
        options = ("trace", "--cell", cell, "--no-keras", "-q", "--show")
        assert run(*options, "all").out == run(*options, parts).out


@pytest.mark.parametrize("form", ["json", "csv"])
def test_view_of_data_formats_exits_2(form: str, run) -> None:
    done = run("inspect", "--no-keras", "--view", "flow", "--format", form)
    assert done.status == 2
    assert "--view flow" in done.err
    assert "--format" in done.err
    assert form not in done.err
