"""Files, widths, JSON, and results that display themselves."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnshapes
from rnnshapes.render.document import Column, Line, Row, Span, Table, printable
from rnnshapes.render.formats import json_csv, markdown, notebook, terminal
from rnnshapes.session import Session
from tests.helpers.results import KINDS, result_of

COMMANDS = [["inspect", "--no-keras", "-q"], ["trace", "--no-keras", "-q"], ["verify"]]
FORMATS = {"json": "json", "csv": "csv", "md": "markdown", "txt": "table"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c[0])
@pytest.mark.parametrize(("ending", "form"), FORMATS.items())
def test_file_holds_what_standard_output_would(
    command, ending, form, run, in_folder, monkeypatch
) -> None:
    """The ending decides the format, unless --format does."""
    verified = result_of("verify")
    monkeypatch.setattr(Session, "verify", lambda session: verified)
    shown = re.sub(r"Next: .*\n", "", run(*command, "--format", form).out)
    assert run(*command, "-o", f"a.{ending}").out == ""
    assert run(*command, "--format", form, "-o", "b.other").out == ""
    assert Path(f"a.{ending}").read_text("utf-8") == shown == Path("b.other").read_text("utf-8")
    assert shown.endswith("\n")
    assert shown.strip()


def test_replaced_file_keeps_its_mode(run, in_folder) -> None:
    """No other file is left behind."""
    Path("a.json").write_text("old", encoding="utf-8")
    Path("a.json").chmod(0o640)
    assert run("inspect", "--no-keras", "-o", "a.json").status == 0
    assert json.loads(Path("a.json").read_text("utf-8"))["total"]["params"] == 57
    if sys.platform != "win32":
        assert stat.S_IMODE(Path("a.json").stat().st_mode) == 0o640
    assert [path.name for path in in_folder.iterdir()] == ["a.json"]


def test_symbolic_link_stays_a_link(run, in_folder) -> None:
    Path("real.json").write_text("old", encoding="utf-8")
    try:
        Path("link.json").symlink_to("real.json")
    except OSError:
        pytest.skip("no symbolic links here")
    assert run("inspect", "--no-keras", "-o", "link.json").status == 0
    assert Path("link.json").is_symlink()
    assert "57" in Path("real.json").read_text("utf-8")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_while_writing_leaves_the_old_file(error, run, in_folder, monkeypatch) -> None:
    Path("a.csv").write_text("old", encoding="utf-8")

    def failing(rows):
        yield "half"
        raise error

    monkeypatch.setattr(json_csv, "csv_chunks", failing)
    done = run("inspect", "--no-keras", "-o", "a.csv")
    assert done.status == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert Path("a.csv").read_text("utf-8") == "old"
    assert [path.name for path in in_folder.iterdir()] == ["a.csv"]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user's rights")
def test_missing_permission_is_an_error_before_work(run, in_folder) -> None:
    Path("locked").mkdir()
    Path("locked").chmod(0o500)
    assert "no permission" in run("verify", "-o", "locked/a.json").err
    Path("a.json").touch(0o400)
    assert "no permission" in run("verify", "-o", "a.json").err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipe_is_written_and_not_replaced(run, in_folder) -> None:
    """A shell makes one for ``-o >(jq)``."""
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert run("inspect", "--no-keras", "--format", "csv", "-o", "pipe").status == 0
    assert os.read(reader, 65536).startswith(b"layer,type,weight")
    os.close(reader)
    assert Path("pipe").is_fifo()


SCREENS = [
    (["inspect"], 0),
    (["inspect", "--cell", "gru", "--bidirectional", "--M", 5, "--M", 4], 0),
    (["inspect", "--view", "all"], 80),
    (["trace", "--K", 20, "--show", "y,h"], 0),
    (["trace", "--cell", "lstm", "--M", 4, "--show", "all"], 0),
    (["trace", "--K", 20, "--show", "y,h", "--view", "numbers"], 999),
    (["trace", "--cell", "lstm", "--T", 12, "--step", 11], 0),
]


@pytest.mark.parametrize(("args", "complete"), SCREENS, ids=lambda v: str(v)[:40])
def test_no_line_is_wider_than_the_terminal(args, complete, run, monkeypatch) -> None:
    """The terminal wraps the line that proposes a command. A table names columns it lacks."""
    for width in (40, 60, 80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        out = run(*args, "--no-keras", "--quiet").out
        assert max(map(len, out.splitlines())) <= width
        assert ("Left out for width" in out) == (width < complete)


def test_narrow_terminal_shows_names_shapes_and_counts(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = run("inspect", "--no-keras").out
    words = out.split()
    for word in ("recurrent_kernel", "(5,", "25", "45", "57"):
        assert word in words


def test_foreign_text_is_escaped_in_every_format() -> None:
    hostile = "[red]a[/red]\x1b[31m|b<script>*c*"
    document = (Line(hostile), Table("t", (Column("x"),), (Row((hostile,)),)))
    stream = StringIO()
    terminal.draw(document, terminal.plain(stream))
    assert stream.getvalue().count("[red]a[/red]\\x1b[31m|b<script>*c*") == 2
    text = "".join(markdown.chunks(document))
    assert "\x1b" not in text
    assert "<script>" not in text.replace("\\<", "")
    assert "|b" not in text.replace("\\|", "")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.floats()).map(np.array),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    max_leaves=10,
)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_json_round_trips_any_value(value) -> None:
    """Text of any kind, integers of any size; NaN and infinity become null."""

    def plain(part):
        if isinstance(part, float | np.floating):
            return float(part) if np.isfinite(part) else None
        if isinstance(part, dict):
            return {key: plain(inner) for key, inner in part.items()}
        return [plain(inner) for inner in part] if isinstance(part, list | np.ndarray) else part

    text = "".join(json_csv.json_chunks(value))
    assert json.loads(text, parse_constant=pytest.fail) == plain(value)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3), (2, 9000, 1)])
def test_arrays_of_any_rank_become_nested_lists(shape: tuple[int, ...]) -> None:
    """Large ones are written in several pieces."""
    array = np.random.default_rng(0).standard_normal(shape)
    assert json.loads("".join(json_csv.json_chunks({"a": array}))) == {"a": array.tolist()}


def test_results_display_as_text_html_and_dict() -> None:
    for result in map(result_of, ("inspect", "trace", "verify", "port")):
        assert "Input((T, D)) → " in repr(result)
        html = result._repr_html_()
        assert html.count("<table>") == html.count("</table>") >= 1
        assert result.to_dict()["schema"] == result.schema
    assert "40 steps" in repr(rnnshapes.trace(T=50, keras=False))


def test_lines_of_a_screen_are_cut_and_never_wrapped() -> None:
    """Each stays one line of a drawing."""
    screen = terminal.plain(StringIO(), 10)
    lines = [[Span("one two "), Span("three")], [], [Span("x" * 10)], [Span("y")]]
    shown = [line.rstrip() for line in terminal.encode_lines(lines, screen)]
    assert shown == ["one two th", "", "x" * 10, "y"]


def test_html_escapes_names() -> None:
    document = (Line("<b>"), Table("<i>", (Column("<u>"),), (Row(("<s>",)),)))
    text = "".join(notebook.chunks(document))
    for tag in ("<b>", "<i>", "<u>", "<s>"):
        assert tag not in text


def test_results_are_frozen() -> None:
    for result in map(result_of, KINDS):
        with pytest.raises(AttributeError):
            result.network = None


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1bb", "a\\x1bb"),
        ("\udcff.csv", "\\udcff.csv"),
        ("a\u202eb", "a\\u202eb"),
        ("ä\n", "ä\n"),
    ],
)
def test_unprintable_characters_are_escaped(name: str, shown: str) -> None:
    """A byte of a file name that is no UTF-8 is one of them."""
    assert printable(name) == shown
