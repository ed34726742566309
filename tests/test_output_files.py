"""``--plot`` and ``-o``: what cannot be written is refused before the work begins."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rnnshapes.cli.output import OutputTarget
from rnnshapes.errors import InputError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.render import write_file
from rnnshapes.render.command_line import DATA, NETWORK, command_line
from rnnshapes.render.view import INSPECT_PARTS
from tests.helpers.commands import mentioning, process

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


ALL = ("table", "json", "csv", "markdown", "html", "svg", "npz")
#: The value of --format, the file, the formats of the command, and the format that is written.
FORMATS = [
    *(
        (None, None, "table"),
        ("json", None, "json"),
        (None, "a", "table"),
        (None, "a.txt", "table"),
    ),
    *((None, "a.JSON", "json"), (None, "a.csv", "csv"), (None, "a.md", "markdown")),
    *((None, "a.markdown", "markdown"), (None, "a.html", "html"), (None, "a.HTM", "html")),
    *((None, "a.svg", "svg"), (None, "a.npz", "npz"), ("csv", "a.json", "csv")),
    *(("npz", "a.b", "npz"), ("json", "a.png", "json")),
]


@pytest.mark.parametrize(("chosen", "name", "form"), FORMATS)
def test_format_or_ending_decides(chosen: str | None, name: str | None, form: str) -> None:
    path = None if name is None else Path(name)
    assert write_file.format_for(chosen, path, ALL) == form
    if path is not None:
        with pytest.raises(InputError, match="--format"):
            write_file.format_for(chosen, path, [each for each in ALL if each != form])


def test_format_without_a_file_is_text() -> None:
    with pytest.raises(InputError, match="npz"):
        write_file.format_for("npz", None, ALL)
    with pytest.raises(InputError, match=r"\.png"):
        write_file.format_for(None, Path("a.png"), ALL)


def test_names_of_one_file_are_one(here) -> None:
    Path("a").write_text("", encoding="utf-8")
    Path("b").hardlink_to("a")
    Path("c").write_text("", encoding="utf-8")
    same = [("a", "a"), ("a", "b"), ("a", "../here/a"), ("new", "../here/new")]
    others = [("a", "c"), ("new", "newer"), ("a", "new"), ("new", "c")]
    for pairs, expected in ((same, True), (others, False)):
        for one, other in pairs:
            assert write_file.same_file(Path(one), Path(other)) == expected


#: A file that cannot be written, and what the error names.
UNWRITABLE = [
    ("folder.png", ["folder.png", "folder"]),
    ("none/a.h", ["none/a.h", "no folder none"]),
    ("source.h", ["source.h", "input"]),
    ("linked.h", ["linked.h", "input"]),
    ("loop.h", ["loop.h", "cannot be written"]),
    ("a" * 300 + ".h", ["aaa.h", "cannot be written"]),
    ("a\0b.h", ["cannot be written"]),
    ("away.h", ["away.h", "no folder"]),
]


@pytest.mark.parametrize(("name", "words"), UNWRITABLE, ids=[name[:6] for name, _ in UNWRITABLE])
def test_unwritable_files_are_refused_before_work(name: str, words: list[str], here) -> None:
    source = Path("source.h")
    source.write_text("", encoding="utf-8")
    Path("linked.h").hardlink_to(source)
    for link, target in (("loop.h", "loop.h"), ("away.h", "none/a.h"), ("new.h", "folder.png/a")):
        Path(link).symlink_to(target)
    checks = [lambda path: write_file.check_writable(path, source)]
    if name.endswith(".h"):
        checks.append(lambda path: write_file.check_golden(path, None, source))
        checks.append(lambda path: write_file.check_golden(path, None, Path("other.h"), source))
    for check in checks:
        with pytest.raises(InputError, match=mentioning(*words)):
            check(Path(name))
        for fine in ("new.h", "folder.png/b.h", "b.h", "../here/b.h"):
            check(Path(fine))
    assert write_file.check_writable(None, source) is write_file.check_golden(None) is None
    with pytest.raises(InputError, match=mentioning("b.h")):
        write_file.check_golden(Path("b.h"), Path("../here/b.h"))
    write_file.check_golden(Path("b.h"), Path("c.h"))
    with pytest.raises(InputError, match=mentioning("b.txt", ".npz", ".json", ".h")):
        write_file.check_golden(Path("b.txt"))


#: A format, the file, and whether it is the screen, and for people, and shows pictures.
TARGETS = [
    *(("table", None, (True, True, False)), ("table", "a.txt", (False, True, False))),
    *(("json", None, (False, False, False)), ("csv", "a.csv", (False, False, False))),
    *(("markdown", None, (False, True, False)), ("svg", "a.svg", (False, True, False))),
    *(("html", "a.html", (False, True, True)), ("npz", "a.npz", (False, False, False))),
]


@pytest.mark.parametrize(("form", "name", "kind"), TARGETS)
def test_formats_are_for_people_or_programs(form: str, name: str | None, kind: Any) -> None:
    target = OutputTarget(form, None if name is None else Path(name), None, quiet=False)
    assert (target.is_screen, target.is_for_people, target.has_plots) == kind
    assert replace(target, plot=Path("a.png")).has_plots
    views = {"summary": True, "flow": kind[1], "values": kind[1] or form == "json"}
    for parts, allowed in views.items():
        if allowed:
            assert target.view(parts, INSPECT_PARTS).parts == {parts}
        else:
            with pytest.raises(InputError, match="--view"):
                target.view(parts, INSPECT_PARTS)
    assert not target.is_abridged


#: A format, a network, what is asked for, and what has to be computed.
QUANTITIES: list[tuple[str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ("table", {}, ("y",), ("y", "h")),
    ("svg", {"cell": "lstm"}, ("y", "c"), ("y", "c", "h")),
    ("table", {}, ("h",), ("h",)),
    ("json", {}, ("y",), ("y",)),
    ("table", {"T": 10**6}, ("y",), ("y",)),
    ("table", {"N": 10**6}, ("y",), ("y",)),
    ("table", {"M": [10**5, 10**5], "T": 11}, ("y",), ("y",)),
    ("table", {"M": [10**5, 1], "T": 11}, ("y",), ("y", "h")),
]


@pytest.mark.parametrize(("form", "sizes", "asked", "computed"), QUANTITIES)
def test_states_are_computed_where_they_are_drawn(form, sizes, asked, computed) -> None:
    """Not for programs, and not where they are very many."""
    target = OutputTarget(form, None, None, quiet=False)
    assert target.quantities(from_sizes(**sizes), asked) == computed


#: Options of an earlier command, and how they are repeated.
REPEATED = [
    ({"N": 2, "T": None, "M": [6, 4]}, ["--N", "2", "--M", "6,4"]),
    ({"model": Path("a b.keras"), "cell": None}, ["'a b.keras'"]),
    ({"model": Path("-a.keras")}, ["./-a.keras"]),
    ({"bidirectional": True, "use_bias": False}, ["--no-bias", "--bidirectional"]),
    ({"bidirectional": False, "use_bias": True}, ["--bias", "--one-direction"]),
    ({"go_backwards": True, "return_sequences": True}, ["--go-backwards", "--return-sequences"]),
    ({"go_backwards": False, "return_sequences": False}, ["--forwards", "--last-only"]),
    ({"reset_after": False, "merge_mode": "sum"}, ["--no-reset-after", "--merge-mode", "sum"]),
    ({"seed": 0, "probe": False, "input": Path("x.npy")}, ["--input", "x.npy"]),
    ({"seed": 7, "probe": True}, ["--probe", "--seed", "7"]),
    ({"recurrent_activation": "relu"}, ["--recurrent-activation", "relu"]),
]


@pytest.mark.parametrize(("options", "words"), REPEATED)
def test_options_are_repeated_as_given(options: Any, words: list[str]) -> None:
    line = command_line("trace", options, (*NETWORK, *DATA), "--golden", "g.h")
    assert line == " ".join(["rnnshapes trace", *words, "--golden g.h"])


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
