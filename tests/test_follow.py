"""``trace --follow`` on a terminal: its keys, its delay, and that it leaves the terminal as it was.

A process of its own runs on a pseudo-terminal, and pyte shows what a person would see.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from keras import layers as la

from rnnshapes.cli import follow, keyboard
from rnnshapes.cli.follow import StepBrowser
from rnnshapes.cli.options import SelectionArguments, TextOutputArguments
from rnnshapes.errors import InputError
from rnnshapes.forward.recurrence_steps import steps_of_sample
from rnnshapes.render.document import Sheet
from rnnshapes.render.view import View
from rnnshapes.session import open_session
from tests.helpers.commands import mentioning
from tests.helpers.fork_server import ForkServer
from tests.helpers.models import functional, randomized

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
ENTER, LEAVE = b"\x1b[?1049h\x1b[?25l", b"\x1b[?25h\x1b[?1049l"


class Terminal:
    """A command on a terminal, what it shows, and a way to type."""

    def __init__(
        self, commands: ForkServer, columns: int, lines: int, *args: str, **env: str
    ) -> None:
        import pty
        import termios

        pyte = pytest.importorskip("pyte")
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.received = b""
        self.process = commands.fork(
            "rnnshapes.__main__",
            "main",
            [self.slave] * 3,
            argv=["rnnshapes", *args],
            environment={"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **env},
        )

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        import fcntl
        import struct
        import termios

        self.screen.resize(lines, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    @property
    def shown(self) -> str:
        """What stands on it."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, until: Callable[[], bool]) -> None:
        """Read what it is sent, until what is waited for holds."""
        end = time.monotonic() + 240
        while not until():
            runs = self.process.poll() is None and time.monotonic() < end
            assert self.read(0.05) or runs or until(), self.shown

    def read(self, seconds: float) -> bool:
        """Take what it is sent within some time, and tell whether there was anything."""
        import select

        if not select.select([self.master], [], [], seconds)[0]:
            return False
        part = os.read(self.master, 65536)
        self.received += part
        self.stream.feed(part)
        return True

    def see(self, *texts: str) -> str:
        """Wait until texts are shown together, and return all that is shown then."""
        self.wait(lambda: all(text in self.shown for text in texts))
        return self.shown

    def type(self, typed: bytes) -> None:
        """Press keys."""
        os.write(self.master, typed)

    def ends(self) -> int:
        """Wait for the end, and give the exit status."""
        self.wait(lambda: self.process.poll() is not None)
        while self.read(0.1):
            pass
        return self.process.wait()

    def restored(self) -> bool:
        """Whether it echoes as before, and shows what was there before, with a cursor."""
        import termios

        entered, left = self.received.rfind(ENTER), self.received.rfind(LEAVE)
        return termios.tcgetattr(self.slave) == self.before and 0 <= entered < left


@contextmanager
def opened(
    commands: ForkServer, *args: str, columns: int = 80, lines: int = 24, **env: str
) -> Iterator[Terminal]:
    """``trace --follow`` with these options, without Keras."""
    found = Terminal(commands, columns, lines, "trace", "--follow", *args, **env)
    try:
        yield found
    finally:
        found.process.kill()
        found.process.wait()
        os.close(found.master)
        os.close(found.slave)


@pytest.fixture
def terminal(commands: ForkServer) -> Callable[..., AbstractContextManager[Terminal]]:
    """Terminals with a command, which runs in a process of its own."""
    return partial(opened, commands)


@POSIX
def test_keys_step_through_a_trace(terminal) -> None:
    with terminal("--T", "12") as it:
        equation = "h_0 = tanh(x_0 Wx + bh + h_{-1} Wh)"
        shown = it.see("step 1 of 12", equation, "(1, 3)·(3, 5) → (1, 5)", "last")
        assert {"q", "p", "g", "G"} <= set(shown.splitlines()[-1].split())
        it.type(b" ")
        it.see("step 2 of 12", "h_1 = tanh(x_1 Wx + bh + h_0 Wh)")
        it.type(b"\x1b[C")
        it.see("step 3 of 12")
        it.type(b"G")
        it.see("step 12 of 12")
        it.type(b"\x1b[D\x1b[D")
        it.see("step 10 of 12")
        it.type(b"q")
        assert it.ends() == 0
        assert it.restored()
        last = it.received.rpartition(LEAVE)[2].decode()
        assert "simple_rnn" in last
        assert "y_hat_9 = " in last
        assert last.count("\n") == 1


@POSIX
@pytest.mark.parametrize(
    ("typed", "status"), [(b"q", 0), (b"\x1b", 0), (b"\x03", 130), (b"\x04", 0)]
)
def test_every_exit_key_restores_the_terminal(terminal, typed: bytes, status: int) -> None:
    """Only Ctrl-C is no success, and prints nothing more."""
    import termios

    with terminal() as it:
        it.see("step 1 of 10")
        assert not termios.tcgetattr(it.slave)[3] & termios.ECHO
        it.type(typed)
        assert it.ends() == status
        assert it.restored()
        assert (b"y_hat_0 = " in it.received.rpartition(LEAVE)[2]) == (status == 0)
        assert b"Traceback" not in it.received


@POSIX
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signal_restores_the_terminal(terminal, name: str) -> None:
    """The exit status says which signal it was."""
    import signal

    number = getattr(signal, name)
    with terminal() as it:
        it.see("step 1 of 10")
        os.kill(it.process.pid, number)
        assert it.ends() == 128 + number
        assert it.restored()
        assert b"Traceback" not in it.received


@POSIX
def test_playing_pauses_and_stops_at_the_end(terminal) -> None:
    """Space pauses and goes on; at the last step it waits for a key."""
    with terminal("--T", "400", "--delay", "0.02") as it:
        it.wait(lambda: re.search(r"step ([3-9]|\d\d+) of 400", it.shown) is not None)
        it.type(b" ")
        shown = it.see("space play")
        step = next(line for line in shown.splitlines() if "of 400" in line)
        assert not it.read(0.5)
        assert step in it.shown
        it.type(b"Gpp ")
        it.see("step 400 of 400")
        it.see("space play")
        assert it.process.poll() is None
        it.type(b"q")
        assert it.ends() == 0


@POSIX
def test_resized_terminal_is_redrawn(terminal) -> None:
    with terminal("--cell", "lstm") as it:
        it.see("step 1 of 10")
        it.resize(40, 12)
        it.wait(lambda: len(it.shown.splitlines()) == 12 and "x_0" in it.shown)
        assert "y_hat_0" not in it.shown
        for _ in range(9):
            it.type(b"\x1b[6~")
        it.see("step 1 of 10", "y_hat_0")
        it.resize(160, 40)
        it.type(b"\x1b[5~" * 9)  # pages down may still have been on their way
        it.see("f_0 = sigmoid(z_f)", "(N, D)·(D, 4M) → (N, 4M)")


def numbers(shown: str) -> int:
    """Return how many decimal numbers stand in a text."""
    return len(re.findall(r"\d\.\d", shown))


@POSIX
def test_w_shows_all_numbers_of_a_step(terminal) -> None:
    with terminal("--cell", "lstm", "--M", "18", "--bidirectional", columns=80, lines=50) as it:
        it.see("step 1 of 10", "quit")
        few = numbers(it.shown)
        it.type(b"w")
        it.wait(lambda: numbers(it.shown) > few)
        it.resize(40, 24)
        it.see("Tab")
        it.type(b"q")
        assert it.ends() == 0


@POSIX
@pytest.mark.parametrize(("columns", "lines"), [(1, 1), (3, 2), (9, 4), (20, 5), (300, 90)])
def test_any_terminal_size_is_drawn(terminal, columns: int, lines: int) -> None:
    with terminal("--bidirectional", columns=columns, lines=lines) as it:
        it.wait(lambda: "s" in it.shown)
        it.type(b"n\tpG")
        it.type(b"q")
        assert it.ends() == 0
        assert it.restored()


@POSIX
def test_ascii_and_no_color_are_respected(terminal) -> None:
    with terminal("--bidirectional", PYTHONIOENCODING="ascii", NO_COLOR="1") as it:
        it.see("step 1 of 10", "h->_0 = tanh(x_0 Wx->")
        it.type(b"\tq")
        assert it.ends() == 0
        assert it.received.isascii()
        assert b"\x1b[38" not in it.received
        assert b"\x1b[48" not in it.received


@POSIX
def test_numbers_are_coloured_by_value(terminal) -> None:
    with terminal("--cell", "gru", COLORTERM="truecolor") as it:
        it.see("step 1 of 10")
        assert b";48;2;" in it.received


#: TERM, whether standard input and output are terminals, and whether that is enough.
TERMINALS = [
    *(("xterm", True, True, True), ("", True, True, True), ("dumb", True, True, False)),
    *(("unknown", True, True, False), ("xterm", False, True, False), ("xterm", True, False, False)),
]


@pytest.mark.parametrize(("term", "stdin", "stdout", "enough"), TERMINALS)
def test_follow_requires_a_terminal(term, stdin, stdout, enough, monkeypatch) -> None:
    """For input and output, on which the cursor can move."""
    monkeypatch.setenv("TERM", term)
    for name, is_terminal in (("stdin", stdin), ("stdout", stdout)):
        monkeypatch.setattr(sys, name, SimpleNamespace(isatty=lambda is_it=is_terminal: is_it))
    options = (SelectionArguments(), TextOutputArguments(), None, None)
    with nullcontext() if enough else pytest.raises(InputError, match="--golden FILE"):
        follow.check_options(*options, follow=True, delay=None)


#: Options that contradict --follow, and what the message has to name.
WRONG = [
    (["--delay", "1"], ["--delay", "--follow"]),
    (["--follow", "--delay", "0"], ["--delay", "0"]),
    (["--follow", "--delay", "-2"], ["--delay", "-2"]),
    (["--follow", "--delay", "nan"], ["--delay", "nan"]),
    (["--follow", "--delay", "inf"], ["--delay", "inf"]),
    (["--follow", "-o", "x.csv"], ["--follow", "--output"]),
    (["--follow", "--format", "json"], ["--follow", "--format"]),
    (["--follow", "--golden", "x.npz"], ["--follow", "--golden"]),
    (["--follow", "--plot", "x.png"], ["--follow", "--plot"]),
    (["--follow", "--show", "h"], ["--follow", "--show"]),
    (["--follow", "--step", "3"], ["--follow", "--step"]),
    (["--follow", "--quantize", "int8"], ["--follow", "--quantize"]),
    (["--follow", "--delay", "0.5"], ["--follow", "terminal"]),
    (["--follow"], ["--follow", "terminal", "--golden FILE"]),
]


@pytest.mark.parametrize(("args", "named"), WRONG)
def test_options_that_contradict_follow_exit_2(args, named, run, in_folder) -> None:
    done = run("trace", *args)
    assert (done.status, done.out) == (2, "")
    assert [text for text in named if text not in done.err] == []
    assert done.err.count("\n") == 1
    assert list(Path().iterdir()) == []


@POSIX
def test_wrong_steps_exit_2_before_the_screen(terminal) -> None:
    with terminal("--steps", "3:99") as it:
        assert it.ends() == 2
        assert b"--steps 3:99: " in it.received
        assert ENTER not in it.received


def browser(monkeypatch: pytest.MonkeyPatch, view: View | None = None, **spec: Any) -> StepBrowser:
    """What is shown, on a terminal of 80 columns and 24 lines that nobody sees."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rnnshapes.cli.follow.terminal_size", lambda: (80, 24))
    with open_session(**spec) as session:
        recurrences = steps_of_sample(session.network, session.weights(), session.sources)
    return StepBrowser(recurrences, view or View(), None)


KEYS = [
    ({}, ["right"], 0, 1),
    ({}, [" ", "n", "enter", "l"], 0, 4),
    ({}, ["G"], 0, 6),
    ({}, ["end", "right", "right"], 0, 6),
    ({}, ["left", "backspace"], 0, 0),
    ({}, ["G", "p", "left", "h", "backspace"], 0, 2),
    ({}, ["end", "home"], 0, 0),
    ({}, ["G", "g", "right"], 0, 1),
    ({}, ["tab", "x", "other", "up", "down", "5"], 0, 0),
    ({"go_backwards": True}, [], 0, 6),
    ({"go_backwards": True}, ["right", "right"], 0, 4),
    ({"go_backwards": True}, ["G", "left"], 0, 1),
    ({"go_backwards": True}, ["G", "g"], 0, 6),
    ({"bidirectional": True}, ["right", "right", "tab"], 1, 2),
    ({"bidirectional": True}, ["right", "right", "tab", "right"], 1, 1),
    ({"bidirectional": True}, ["tab", "g", "tab"], 0, 6),
]


@pytest.mark.parametrize(("spec", "typed", "at", "t"), KEYS)
def test_each_key_moves_to_its_step(spec, typed, at, t, monkeypatch, capsys) -> None:
    shown = browser(monkeypatch, T=7, **spec)
    left = iter([*typed, "q"])
    shown.run(lambda seconds: next(left))
    assert (shown.layer_index, shown.t, shown.step.t) == (at, t, t)
    texts = [equation.text for equation in shown.recurrence.step(t).equations]
    assert [equation.text for equation in shown.step.equations] == texts
    assert list(left) == []
    last = capsys.readouterr().out.rpartition("\x1b[1;1H")[2]
    assert f"t = {t} " in last
    assert "sample 0 of 1" in last
    assert (f"layer {at + 1} of 2" in last) == ("bidirectional" in spec)


@pytest.mark.parametrize("key", ["q", "Q", "escape"])
def test_key_leaves(key: str, monkeypatch) -> None:
    typed = iter([key])
    browser(monkeypatch, T=7).run(lambda seconds: next(typed))
    assert next(typed, None) is None


def test_follow_shows_only_requested_steps(monkeypatch, capsys) -> None:
    for back, ends in ((False, (2, 4)), (True, (4, 2))):
        shown = browser(monkeypatch, View(0, 2, 5), T=7, go_backwards=back)
        assert shown.t == ends[0]
        left = iter([*["right"] * 9, "q"])
        shown.run(lambda seconds: next(left))  # noqa: B023 - it is played at once
        assert shown.t == ends[1]


#: What is typed at which second of a trace of seven steps, and at which each next step is shown.
PLAYED: list[tuple[float | None, dict[int, str], dict[int, int]]] = [
    (10.0, {}, {0: 0, 10: 1, 20: 2, 30: 3, 40: 4, 50: 5, 60: 6}),
    (10.0, {4: "right", 12: "x"}, {0: 0, 4: 1, 22: 2, 32: 3, 42: 4, 52: 5, 62: 6}),
    (10.0, {14: " ", 33: " "}, {0: 0, 10: 1, 43: 2, 53: 3, 63: 4, 73: 5}),
    (10.0, {1: "G", 25: "g", 28: " "}, {0: 0, 1: 6, 25: 0, 38: 1, 48: 2, 58: 3, 68: 4, 78: 5}),
    (None, {5: " ", 7: " "}, {0: 0, 5: 1, 7: 2}),
]


@pytest.mark.parametrize(("delay", "typed", "moves"), PLAYED, ids=[str(case[1]) for case in PLAYED])
def test_steps_come_after_the_delay(delay, typed, moves, monkeypatch, capsys) -> None:
    """It begins again with each key; at the last step and in a pause nothing moves."""
    now, remaining = 0.0, dict(typed)
    shown = browser(monkeypatch, T=7)
    shown.delay, shown.playing = delay, delay is not None
    seen: dict[int, int] = {}

    def read(seconds: float) -> str | None:
        nonlocal now
        if shown.t not in list(seen.values())[-1:]:
            seen[round(now)] = shown.t
        at = next((at for at in remaining if now <= at < now + seconds), None)
        now = now + seconds if at is None else at
        return "q" if now > 79 else None if at is None else remaining.pop(at)

    monkeypatch.setattr(follow, "time", SimpleNamespace(monotonic=lambda: now))
    shown.run(read)
    assert seen == moves


def test_follow_ends_with_the_last_step(run, monkeypatch) -> None:
    """In one line, which ``--quiet`` leaves out."""
    monkeypatch.setattr(follow, "check_options", lambda *_, **__: None)
    for options, typed, words in (
        (("--steps", "2:5"), "nq", ("y_hat_3", "sample 1")),
        (("--quiet", "--delay", 5), "q", ()),
    ):
        left = iter(typed)
        read = nullcontext(lambda seconds: next(left))  # noqa: B023 - it is played at once
        monkeypatch.setattr(keyboard, "open_keyboard", lambda read=read: read)
        done = run("trace", "--follow", "--no-keras", "--N", 2, "--sample", 1, *options)
        shown, _, last = done.out.rpartition(LEAVE.decode())
        assert (done.status, shown.startswith(ENTER.decode())) == (0, True)
        assert ("space pause" in shown) == ("--delay" in options)
        assert [word for word in words if word not in last] == []
        assert last.count("\n") == bool(words)


@pytest.mark.parametrize(
    ("size", "expected"), [((132, 43), (132, 43)), ((0, 0), (80, 24)), (None, (80, 24))]
)
def test_terminal_without_a_size_has_80_columns(size: Any, expected: Any, monkeypatch) -> None:
    def get_size(descriptor: int) -> os.terminal_size:
        if size is None:
            raise OSError
        return os.terminal_size(size)

    monkeypatch.setattr(os, "get_terminal_size", get_size)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(fileno=lambda: 1))
    assert follow.terminal_size() == expected


def test_screen_is_drawn_before_a_key_is_awaited(monkeypatch) -> None:
    """As wide as the terminal, whatever COLUMNS says; nothing stays in the buffer."""
    monkeypatch.setenv("COLUMNS", "200")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="utf-8"))
    shown, left, lengths = browser(monkeypatch, T=7), iter("nq"), []

    def read(seconds: float) -> str:
        lengths.append(len(written.getvalue()))
        assert f"t = {shown.t} " in written.getvalue().decode().rpartition("\x1b[1;1H")[2]
        return next(left)

    shown.run(read)
    assert 0 < lengths[0] < lengths[1]
    rows = re.split(r"\x1b\[\d+;1H\x1b\[2K", written.getvalue().decode())
    assert {len(re.sub(r"\x1b\[[\d;]*m", "", row)) for row in rows if "simple_rnn" in row} == {80}


@pytest.mark.parametrize(("units", "abridged"), [(3, False), (90, True)])
def test_legend_names_w_where_numbers_are_missing(units, abridged, monkeypatch, capsys) -> None:
    for typed, words in (("q", "w all"), ("wq", "w fewer"), ("wwq", "w all")):
        left = iter(typed)
        browser(monkeypatch, T=7, M=units).run(lambda seconds: next(left))  # noqa: B023
        legend = capsys.readouterr().out.rpartition("space")[2]
        assert (words in legend) == abridged


def test_scrolling_ends_where_the_step_ends(monkeypatch) -> None:
    """The scroll position stays from step to step."""
    shown = browser(monkeypatch, T=7, cell="lstm")
    left = iter([*["down"] * 3, "right", *["page down"] * 5, "up", "q"])
    shown.run(lambda seconds: next(left))
    assert (shown.first_line > 3, shown.lines_below) == (True, 1)


def shown_on(browser: StepBrowser, lines: int, width: int = 80) -> list[str]:
    """Return the picture of a browser, line by line."""
    picture = browser.picture(Sheet(width, height=lines))
    return ["".join(span.text for span in line) for line in picture]


def test_picture_is_as_high_as_the_screen(monkeypatch) -> None:
    shown = browser(monkeypatch, T=7, cell="lstm")
    whole = shown_on(shown, 99)
    end = len(whole) - 1
    while not whole[end - 1]:
        end -= 1
    body = whole[3:end]
    dense = [line for line in body if line]
    for lines in range(1, 60):
        shown.first_line = 0
        picture = shown_on(shown, lines)
        assert len(picture) == lines
        room = max(0, lines - 4)
        expected = dense if len(dense) <= room < len(body) else body
        assert shown.lines_below == max(0, len(expected) - room)
        if lines > 4:
            assert picture[:2] == whole[:2]
            assert [line for line in picture[3:-1] if line] == [ln for ln in expected[:room] if ln]
        below = re.search(r"(\d+) more", picture[-1])
        assert (below and int(below[1])) == (shown.lines_below or None)


def test_scrolling_shows_every_line(monkeypatch) -> None:
    shown = browser(monkeypatch, T=7, cell="lstm")
    whole = [line for line in shown_on(shown, 99)[3:-1] if line]
    seen: list[str] = []
    for first in range(99):
        shown.first_line = first
        part = shown_on(shown, 12)[3:-1]
        assert len(part) == 8
        if shown.first_line < first:
            break
        seen += part if first == 0 else part[-1:]
    assert [line for line in seen if line] == whole
    assert shown.lines_below == 0
    assert "up" in shown_on(shown, 12)[-1]
    for shown.first_line in (0, 99):
        legend = shown.picture(Sheet(80, "ascii", 12))[-1]
        assert all(span.text.isascii() for span in legend)
    shown.first_line = -5
    shown_on(shown, 12)
    assert shown.first_line == 0


@pytest.mark.parametrize(
    ("key", "lines"),
    [("down", 1), ("j", 1), ("page down", 10), ("up", 0), ("k", 0), ("page up", 0), ("x", 0)],
)
def test_keys_scroll_by_lines(key: str, lines: int, monkeypatch, capsys) -> None:
    def first_line(*typed: str) -> int:
        shown = browser(monkeypatch, T=7, cell="lstm", M=3)
        left = iter([*typed, "q"])
        shown.run(lambda seconds: next(left))
        return shown.first_line

    assert first_line(key) == min(lines, first_line("page down", "page down", "page down"))
    back = {"up": 1, "k": 1, "page up": 10}.get(key)
    if back is not None:
        assert first_line("page down", key) == max(0, first_line("page down") - back)


@pytest.mark.parametrize(
    ("spec", "delay", "present", "absent"),
    [
        ({"M": 2}, None, ["space next", "q quit", "p back", "G last"], ["Tab", " w ", "play"]),
        ({"M": 2, "bidirectional": True}, None, ["Tab"], [" w ", "pause"]),
        ({"M": 90}, None, ["w all"], ["w fewer"]),
        ({"M": 2}, 1.0, ["space pause"], ["space next", "play"]),
    ],
)
def test_legend_names_keys_that_do_something(spec, delay, present, absent, monkeypatch) -> None:
    """On a narrow screen, the last ones are left out."""
    shown = browser(monkeypatch, T=7, **spec)
    shown.delay, shown.playing = delay, delay is not None
    legend = shown_on(shown, 60, 119)[-1]
    assert [words for words in present if words not in legend] == []
    assert [words for words in absent if words in legend] == []
    if spec == {"M": 2}:
        keys = legend.split("  ")
        for width in range(3, 90, 3):
            found = shown_on(shown, 60, width)[-1]
            here = [*keys[:2], *["w all"] * shown.abridged, *keys[2:]]
            fitting = [n for n in range(2, len(here) + 1) if len("  ".join(here[:n])) <= width]
            assert found == "  ".join(here[: max(fitting, default=1)])[:width]
    shown.playing, shown.full = False, True
    legend = shown_on(shown, 60, 119)[-1]
    assert ("space play" in legend) == (delay is not None)
    assert ("w fewer" in legend) == (spec == {"M": 90})


#: How many steps two layers have, the steps that are asked for, and which each can show.
CHOSEN = [
    (View(), [range(6), range(7)]),
    (View(start=6), [range(6, 7)]),
    (View(start=2, end=4), [range(2, 4), range(2, 4)]),
    (View(end=99), [range(6), range(7)]),
    (View(start=4), [range(4, 6), range(4, 7)]),
]


def two_lengths() -> Any:
    """Return the recurrences of a network with sequences of six and of seven steps."""

    def joined(x: Any, y: Any) -> Any:
        return la.Concatenate()([la.GRU(3)(x), la.GRU(4)(y)])

    with open_session(randomized(functional(joined, (6, 3), (7, 2)))) as session:
        return steps_of_sample(session.network, session.weights(), session.sources)


def test_layers_without_chosen_steps_are_left_out() -> None:
    recurrences = two_lengths()
    for view, ranges in CHOSEN:
        assert [steps for _, steps in StepBrowser(recurrences, view, None).layers] == ranges
    for view, words in ((View(start=7), "7:"), (View(start=8, end=9), "8:9")):
        with pytest.raises(InputError, match=mentioning(words, "0 to 6")):
            StepBrowser(recurrences, view, None)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("q", ["q"]),
        ("\x1b[C\x1b[D", ["right", "left"]),
        ("\x1bOC\x1bOH\x1bOF", ["right", "home", "end"]),
        ("\x1b[1;5C", ["right"]),
        ("\x1b[H\x1b[1~\x1b[4~\x1b[7~\x1b[8~", ["home", "home", "end", "home", "end"]),
        ("\x1b[5~\x1b[6~\x1b[3~\x1b[15~", ["page up", "page down", "other", "other"]),
        ("\x1b", ["escape"]),
        ("\x1bq", ["other"]),
        ("\x1b[", ["other"]),
        ("\x1b[<0;3;4M", ["other"]),
        ("\r\n\t\x7f\b ", ["enter", "enter", "tab", "backspace", "backspace", " "]),
        ("é\x00\x1a", ["é", "other", "other"]),
        ("\x03", ["interrupt"]),
    ],
)
def test_escape_sequences_are_keys(typed: str, expected: list[str]) -> None:
    """An unknown sequence is one key too."""
    found = []
    while typed:
        key, typed = keyboard.split_key(typed)
        found.append(key)
    assert found == expected


@POSIX
def test_exception_restores_the_terminal(monkeypatch) -> None:
    import pty
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with os.fdopen(slave, closefd=True) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with suppress(ZeroDivisionError), keyboard.open_keyboard() as read:
            iflag, oflag, cflag, lflag, *_ = termios.tcgetattr(slave)
            without = termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN
            assert [iflag, lflag] == [before[0] & ~termios.IXON, before[3] & ~without]
            assert [oflag, cflag] == before[1:3]
            os.write(master, b"k")
            assert read(5) == "k"
            os.write(master, b"\x1b[A\x03")
            assert read(5) == "up"
            with pytest.raises(KeyboardInterrupt):
                read(5)
            assert read(0) is None
            raise ZeroDivisionError
        assert termios.tcgetattr(slave) == before
    os.close(master)


def test_tables_do_not_load_follow(run) -> None:
    code = "from rnnshapes import cli; import sys; cli.main(['trace', '--no-keras', '--T', '3']); "
    code += "sys.exit('rnnshapes.cli.follow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL)
    assert done.returncode == 0
    assert "--follow" in run("trace", "--help").out
