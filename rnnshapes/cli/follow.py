"""``trace --follow``: time steps one after the other on a terminal, by keys or at an interval."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rnnshapes.cli import keyboard
from rnnshapes.cli.options import (
    DataArguments,
    NetworkArguments,
    OutputArguments,
    SelectionArguments,
    parse_view,
)
from rnnshapes.cli.progress import show_progress
from rnnshapes.cli.streams import guard_stdout, is_terminal
from rnnshapes.errors import InputError
from rnnshapes.render.document import Ink, Sheet, Span, StyledLines, for_encoding
from rnnshapes.render.view import View
from rnnshapes.session import open_session

if TYPE_CHECKING:
    from rnnshapes.forward.recurrence_steps import RecurrenceSteps

#: Switch to the terminal's alternate screen and hide the cursor; undo both.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[0m\x1b[?25h\x1b[?1049l"
_POLL_SECONDS = 0.1  # how often the size of the terminal is checked
_DIM = Ink(meaning="dim")
_NEXT, _BACK = {"right", "n", "l", "enter"}, {"left", "p", "h", "backspace"}
_SCROLL = {"down": 1, "j": 1, "page down": 10, "up": -1, "k": -1, "page up": -10}
_FRAME_LINES = 4  # the header, the empty line below it, and the legend
_DEFAULT_LINES = 24


def check_options(
    selection: SelectionArguments,
    output: OutputArguments,
    golden: Path | None,
    quantize: str | None,
    *,
    follow: bool,
    delay: float | None,
) -> None:
    """Check that ``trace --follow`` can run with the options that were given.

    Raises:
        InputError: options contradict each other, or there is no terminal.
    """
    if not follow:
        raise InputError("--delay requires --follow")
    if delay is not None and not (delay > 0 and math.isfinite(delay)):
        raise InputError(f"--delay must be a positive number of seconds, got {delay:g}")
    others = {
        "--output": output.output,
        "--format": output.format,
        "--golden": golden,
        "--quantize": quantize,
        "--plot": output.plot,
        "--show": selection.show,
        "--step": selection.step,
    }
    for option, value in others.items():
        if value is not None:
            raise InputError(f"--follow cannot be combined with {option}")
    is_dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    if is_dumb or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise InputError(
            "--follow requires a terminal for input and output; without one, use trace for a "
            "table, or --golden FILE for every number of every step"
        )


def follow(
    network: NetworkArguments,
    data: DataArguments,
    selection: SelectionArguments,
    delay: float | None,
    *,
    with_keras: bool,
    quiet: bool,
) -> int:
    """Show time steps until the user leaves; return the exit status 0.

    Keras computes only the values of layers that are not supported.

    Raises:
        InputError: there is no such step, or what :func:`rnnshapes.api.trace` raises.
        KeyboardInterrupt: Ctrl-C was typed.
    """
    with open_session(
        network.model, **data.options, layer=selection.layer, **network.options
    ) as session:
        graph, sample = session.network, selection.sample
        steps = parse_view(graph.size("N"), graph.max_steps, sample, selection.steps)
        with show_progress("Running the recurrence in NumPy"):
            recurrences = session.steps(
                sample, selection.layer, keras=with_keras and bool(graph.unsupported)
            )
    browser = StepBrowser(recurrences, steps, delay)
    with guard_stdout():
        with _alternate_screen(), keyboard.open_keyboard() as read_key:
            browser.run(read_key)
        if not quiet:
            sys.stdout.write(for_encoding(browser.summary, sys.stdout.encoding) + "\n")
            sys.stdout.flush()
    return 0


class StepBrowser:
    """A terminal that shows one step of one recurrence at a time.

    Attributes:
        layers: Each recurrence that can be shown, with the steps of it that can.
        layer_index: The recurrence that is shown.
        t: The step that is shown, indexed by input time step.
        playing: Whether the next step comes by itself after ``delay`` seconds.
        full: Whether each number of the step is shown.
        abridged: Whether ``full`` changes anything.
        first_line: How many lines of the step are scrolled out at the top.
        lines_below: How many lines do not fit at the bottom.

    Raises:
        InputError: no recurrence has one of the requested steps.
    """

    def __init__(
        self, recurrences: Sequence[RecurrenceSteps], view: View, delay: float | None
    ) -> None:
        self.layers: list[tuple[RecurrenceSteps, range]] = []
        for recurrence in recurrences:
            count = recurrence.count
            end = count if view.end is None else min(view.end, count)
            if steps := range(view.start or 0, end):
                self.layers.append((recurrence, steps))
        if not self.layers:
            longest = max(recurrence.count for recurrence in recurrences)
            selected = f"{view.start or 0}:{'' if view.end is None else view.end}"
            raise InputError(
                f"--steps {selected} selects no step: this layer has steps 0 to {longest - 1}"
            )
        self.sample, self.delay = view.sample, delay
        self.playing = delay is not None
        self.full = self.abridged = False
        self.layer_index = self.first_line = self.lines_below = 0
        recurrence, steps = self.layers[0]
        self.t = steps[-1] if recurrence.reverse else steps[0]
        self.step = recurrence.step(self.t)

    @property
    def recurrence(self) -> RecurrenceSteps:
        """The recurrence that is shown."""
        return self.layers[self.layer_index][0]

    @property
    def summary(self) -> str:
        """The step that is shown, in one line."""
        from rnnshapes.render import step

        return step.summary(self.step, self.recurrence, self.sample)

    def run(self, read_key: keyboard.ReadKey) -> None:
        """Show steps until a key leaves."""
        size, interval = self._draw(), self.delay or 0.0
        next_time = time.monotonic() + interval
        while True:
            wait = min(_POLL_SECONDS, next_time - time.monotonic())
            key = read_key(wait if self.playing else _POLL_SECONDS)
            if key in ("q", "Q", "escape"):
                return
            if key is not None:
                self._handle(key)
                next_time = time.monotonic() + interval
            elif self.playing and time.monotonic() >= next_time:
                self.playing = self._move(1)
                next_time = time.monotonic() + interval
            elif terminal_size() == size:
                continue
            size = self._draw()

    def _handle(self, key: str) -> None:
        """Do what a key stands for; ignore a key without a meaning."""
        steps = self.layers[self.layer_index][1]
        if key == " " and self.delay is not None:
            self.playing = not self.playing
        elif key == " " or key in _NEXT:
            self._move(1)
        elif key in _BACK:
            self._move(-1)
        elif key in ("g", "home"):
            self._move(-len(steps))
        elif key in ("G", "end"):
            self._move(len(steps))
        elif key == "w":
            self.full = not self.full
        elif key == "tab":
            self.layer_index, self.first_line = (self.layer_index + 1) % len(self.layers), 0
            self._move(0)
        else:
            lines = _SCROLL.get(key, 0)
            last = self.first_line + self.lines_below
            self.first_line = max(0, min(self.first_line + lines, last))

    def _move(self, count: int) -> bool:
        """Go ``count`` steps on, in the direction of the layer; return whether ``t`` changed."""
        recurrence, steps = self.layers[self.layer_index]
        t = self.t + (-count if recurrence.reverse else count)
        t = min(max(t, steps[0]), steps[-1])
        has_moved, self.t = t != self.t, t
        self.step = recurrence.step(t)
        return has_moved

    def _draw(self) -> tuple[int, int]:
        """Draw the whole screen; return the size of the terminal."""
        from rnnshapes.render.formats import terminal

        size = terminal_size()
        screen = terminal.screen(sys.stdout)
        screen.width = min(screen.width, size[0])
        sheet = Sheet(screen.width, screen.encoding, size[1])
        lines = terminal.encode_lines(self.picture(sheet), screen)
        # Each line is erased first: erasing after a full line would remove its last character.
        rows = (f"\x1b[{row};1H\x1b[2K{line}" for row, line in enumerate(lines, 1))
        sys.stdout.write("".join(rows))
        sys.stdout.flush()
        return size

    def picture(self, sheet: Sheet) -> StyledLines:
        """Lay out as many lines as the sheet has: the header, a part of the step, the legend."""
        from rnnshapes.render import step

        count = len(self.layers)
        position = f"layer {self.layer_index + 1} of {count}" if count > 1 else ""
        header = step.header(self.step, self.recurrence, self.sample, position, sheet)
        body = step.body(self.step, self.recurrence, sheet, full=self.full)
        other = step.body(self.step, self.recurrence, sheet, full=not self.full)
        self.abridged = len(body) != len(other)
        height = sheet.height or _DEFAULT_LINES
        room = max(0, height - _FRAME_LINES)
        dense = [line for line in body if any(span.text for span in line)]
        body = dense if len(dense) <= room < len(body) else body
        self.first_line = max(0, min(self.first_line, len(body) - room))
        self.lines_below = max(0, len(body) - room - self.first_line)
        shown = [*body[self.first_line : self.first_line + room]]
        shown += [[]] * (room - len(shown))
        return [*[*header, [], *shown][: height - 1], self._legend(sheet)]

    def _legend(self, sheet: Sheet) -> list[Span]:
        """Name the keys that do something now; on a narrow sheet the most important ones."""
        keys = ["space next", "q quit"]
        if self.delay is not None:
            keys[0] = "space pause" if self.playing else "space play"
        if len(self.layers) > 1:
            keys.append("Tab layer")
        if self.abridged:
            keys.append("w fewer" if self.full else "w all")
        if self.lines_below:
            keys.append(f"{'down' if sheet.ascii_only else '↓'} {self.lines_below} more")
        elif self.first_line:
            keys.append("up" if sheet.ascii_only else "↑ up")
        keys += ["p back", "g first", "G last"]
        while len(keys) > 1 and len("  ".join(keys)) > sheet.width:
            keys.pop()
        return [Span("  ".join(keys)[: sheet.width], _DIM)]


def terminal_size() -> tuple[int, int]:
    """Return columns and lines of the terminal."""
    with suppress(OSError):
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or _DEFAULT_LINES
    return 80, _DEFAULT_LINES


@contextmanager
def _alternate_screen() -> Iterator[None]:
    """Use the terminal's alternate screen without a cursor, and restore the terminal after it."""
    try:
        sys.stdout.write(_ENTER)
        yield
    finally:
        with suppress(OSError):
            sys.stdout.write(_LEAVE)
            sys.stdout.flush()
