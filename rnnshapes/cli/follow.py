"""``trace --follow``: one step after the other on a terminal, by keys or by itself."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from rnnshapes.cli import keyboard
from rnnshapes.cli.progress import busy
from rnnshapes.cli.streams import standard_output, watched
from rnnshapes.errors import InputError
from rnnshapes.render.document import Ink, Sheet, Span, StyledLines, for_encoding
from rnnshapes.render.view import View, parse_view
from rnnshapes.session import NetworkOptions, open_session

if TYPE_CHECKING:
    from rnnshapes.forward.recurrence_steps import RecurrenceSteps

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
#: How often to look whether the terminal has another size, in seconds.
_LOOK = 0.1
_DIM = Ink(meaning="dim")
_NEXT, _BACK = {"right", "n", "l", "enter"}, {"left", "p", "h", "backspace"}
_DOWN, _UP = {"down": 1, "j": 1, "page down": 10}, {"up": -1, "k": -1, "page up": -10}
#: Options that write a result.
_WRITING = {"output": "-o", "format": "--format", "golden": "--golden", "plot": "--plot"}
_AROUND = 4  # lines: the header, the space below it, and the legend
_LEAST = 24


def follow(given: Mapping[str, Any], spec: NetworkOptions) -> int:
    """Show step after step until the user leaves; the exit status is 0.

    ``given`` are the options of ``trace`` by name, ``spec`` those that describe the network.
    Keras is asked for what layers answer that are not derived, and for nothing else. Raises
    InputError where there is no terminal or an option contradicts, what
    :func:`rnnshapes.api.trace` raises, and KeyboardInterrupt for Ctrl-C.
    """
    _check(given)
    x, seed, sample = given["input"], given["seed"], given["sample"]
    with open_session(given["model"], x=x, seed=seed, **spec) as session:
        network = session.network
        part = parse_view(network.size("N"), network.max_steps, sample, given["steps"])
        keras = not given["no_keras"] and bool(network.unsupported)
        with busy("Running the recurrence in NumPy"):
            found = session.steps(sample, given["layer"], keras=keras)
    player = Player(found, part, given["delay"])
    with standard_output():
        with _screen(), keyboard.reading() as read:
            player.play(read)
        if not given["quiet"]:
            sys.stdout.write(for_encoding(player.summary, sys.stdout.encoding) + "\n")
            sys.stdout.flush()
    return 0


def _check(given: Mapping[str, Any]) -> None:
    """Raise InputError for what cannot be followed, or not here."""
    delay = given["delay"]
    if not given["follow"]:
        raise InputError(f"--delay {delay:g} is that of --follow: give --follow, too")
    if delay is not None and not (delay > 0 and math.isfinite(delay)):
        raise InputError(f"--delay {delay:g}: a number of seconds above 0 was expected, as in 0.5")
    for name, option in _WRITING.items():
        if given[name] is not None:
            raise InputError(
                f"--follow shows steps on a terminal and writes nothing: leave {option} "
                f"{given[name]} out, or --follow"
            )
    if given["show"] is not None:
        raise InputError(
            f"--follow shows states and gates of every step: leave --show {given['show']} out, "
            "or --follow"
        )
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    if dumb or not (watched(sys.stdin) and watched(sys.stdout)):
        raise InputError(
            "--follow needs a terminal for its input and its output; leave --follow out for a "
            "table, or write every number of every step with --golden FILE"
        )


class Player:
    """Which step of which recurrence is shown, and from which line on.

    Raises InputError if no recurrence has one of the steps that were asked for.
    """

    def __init__(self, found: Sequence[RecurrenceSteps], part: View, delay: float | None) -> None:
        spans = [
            range(part.start or 0, r.count if part.end is None else min(part.end, r.count))
            for r in found
        ]
        self.shown = [pair for pair in zip(found, spans, strict=True) if len(pair[1])]
        if not self.shown:
            longest = max(r.count for r in found)
            raise InputError(f"--steps: this layer has {longest} steps, and none of these")
        self.sample, self.delay = part.sample, delay
        self.playing = delay is not None
        self.full = self.cut = False  # whether all numbers are shown, and whether some are not
        self.at = self.line = self.hidden = 0
        recurrence, span = self.shown[0]
        self.t = span[-1] if recurrence.reverse else span[0]
        self.step = recurrence.step(self.t)

    @property
    def recurrence(self) -> RecurrenceSteps:
        """What is shown."""
        return self.shown[self.at][0]

    @property
    def summary(self) -> str:
        """The step that is shown, in one line."""
        from rnnshapes.render import step

        return step.summary(self.step, self.recurrence, self.sample)

    def play(self, read: keyboard.Read) -> None:
        """Show steps, as keys say or one after the other, until a key leaves."""
        size = self._draw()
        due = time.monotonic() + (self.delay or 0)
        while True:
            wait = min(_LOOK, due - time.monotonic()) if self.playing else _LOOK
            key = read(wait)
            if key in ("q", "Q", "escape"):
                return
            if key is not None:
                self._act(key)
                due = time.monotonic() + (self.delay or 0)
            elif self.playing and time.monotonic() >= due:
                self.playing = self._move(1)
                due = time.monotonic() + (self.delay or 0)
            elif terminal_size() == size:
                continue
            size = self._draw()

    def _act(self, key: str) -> None:
        """Do what a key stands for; one that stands for nothing does nothing."""
        if key == " " and self.delay is not None:
            self.playing = not self.playing
        elif key == " " or key in _NEXT:
            self._move(1)
        elif key in _BACK:
            self._move(-1)
        elif key in ("g", "home"):
            self._move(-len(self.shown[self.at][1]))
        elif key in ("G", "end"):
            self._move(len(self.shown[self.at][1]))
        elif key == "w":
            self.full = not self.full
        elif key == "tab":
            self.at, self.line = (self.at + 1) % len(self.shown), 0
            self._move(0)
        else:
            by = {**_DOWN, **_UP}.get(key, 0)
            self.line = max(0, min(self.line + by, self.line + self.hidden))

    def _move(self, steps: int) -> bool:
        """Go on by so many steps in the order of reading, as far as there are any."""
        recurrence, span = self.shown[self.at]
        wanted = self.t + (-steps if recurrence.reverse else steps)
        there = min(max(wanted, span[0]), span[-1])
        moved, self.t = there != self.t, there
        self.step = recurrence.step(there)
        return moved

    def _draw(self) -> tuple[int, int]:
        """Write the whole screen; gives the size of the terminal."""
        from rnnshapes.render.formats import terminal

        size = terminal_size()
        screen = terminal.screen(sys.stdout)
        screen.width = min(screen.width, size[0])
        lines = terminal.encode_lines(
            self.picture(Sheet(screen.width, screen.encoding, size[1])), screen
        )
        # A line is emptied first: behind a full one, terminals would empty its last character.
        rows = (f"\x1b[{row};1H\x1b[2K{line}" for row, line in enumerate(lines, 1))
        sys.stdout.write("".join(rows))
        sys.stdout.flush()
        return size

    def picture(self, sheet: Sheet) -> StyledLines:
        """As many lines as the sheet has: the header, the step or a part of it, the legend."""
        from rnnshapes.render import step

        which = f"layer {self.at + 1} of {len(self.shown)}" if len(self.shown) > 1 else ""
        head = step.header(self.step, self.recurrence, self.sample, which, sheet)
        body = step.body(self.step, self.recurrence, sheet, full=self.full)
        other = step.body(self.step, self.recurrence, sheet, full=not self.full)
        self.cut = len(body) != len(other)
        height = sheet.height or _LEAST
        room = max(0, height - _AROUND)
        close = [line for line in body if any(span.text for span in line)]
        body = close if len(close) <= room < len(body) else body
        self.line = max(0, min(self.line, len(body) - room))
        self.hidden = max(0, len(body) - room - self.line)
        shown = [*body[self.line : self.line + room]]
        shown += [[]] * (room - len(shown))
        return [*[*head, [], *shown][: height - 1], self._legend(sheet)]

    def _legend(self, sheet: Sheet) -> list[Span]:
        """The keys that do something now; where there is little room, the most needed ones."""
        words = ["space next", "q quit"]
        if self.delay is not None:
            words[0] = "space pause" if self.playing else "space play"
        if len(self.shown) > 1:
            words.append("Tab layer")
        if self.cut:
            words.append("w fewer" if self.full else "w all")
        if self.hidden:
            words.append(f"{'down' if sheet.ascii_only else '↓'} {self.hidden} more")
        elif self.line:
            words.append("up" if sheet.ascii_only else "↑ up")
        words += ["p back", "g first", "G last"]
        while len(words) > 1 and len("  ".join(words)) > sheet.width:
            words.pop()
        return [Span("  ".join(words)[: sheet.width], _DIM)]


def terminal_size() -> tuple[int, int]:
    """Return how many columns and lines the terminal has."""
    with suppress(OSError):
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or _LEAST
    return 80, _LEAST


@contextmanager
def _screen() -> Iterator[None]:
    """The terminal's other screen, without a cursor; then what was there before, in any case."""
    before = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            if (number := getattr(signal, name, None)) is not None:
                before[number] = signal.signal(number, _stopped)
        sys.stdout.write(_ENTER)
        yield
    finally:
        with suppress(OSError):
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
