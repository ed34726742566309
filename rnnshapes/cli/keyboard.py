"""Keys of a terminal as they are typed, without Enter, on POSIX and on Windows."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Waits so many seconds for a key and returns its name, ``None`` if no key was typed. A printable
#: character is its own name; a key without a meaning is ``"other"``.
ReadKey = Callable[[float], "str | None"]

_FINAL_LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERS = {1: "home", 4: "end", 5: "page up", 6: "page down", 7: "home", 8: "end"}
_CHARACTERS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x1b": "escape",
    "\x03": "interrupt",
    "\x04": "q",
}
#: What Windows sends after a first character of 0 or 224.
_WINDOWS_CODES = {
    "H": "up",
    "P": "down",
    "M": "right",
    "K": "left",
    "G": "home",
    "O": "end",
    "I": "page up",
    "Q": "page down",
}
_SEQUENCE = re.compile(r"\x1b(?:\[([0-9;?<]*)[ -/]*([@-~])|O(.))", re.DOTALL)
_SEQUENCE_TIME = 0.05  # seconds within which a terminal sends the rest of a sequence


@contextmanager
def open_keyboard() -> Iterator[ReadKey]:
    """Read single keys from standard input, a terminal, and restore its mode afterwards.

    The key is ``q`` once nothing more can come, as when the terminal was closed.

    Raises:
        KeyboardInterrupt: Ctrl-C was typed.
    """
    if sys.platform == "win32":
        yield _read_windows_key
        return
    import termios

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    mode = termios.tcgetattr(descriptor)
    mode[0] &= ~termios.IXON
    # Without ISIG a Ctrl-Z cannot leave a terminal behind in which nothing is echoed.
    mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
        yield _PosixKeyboard(descriptor).read
    finally:
        with _ignore_closed_terminal():
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def split_key(typed: str) -> tuple[str, str]:
    """Return the name of the first key in the characters ``typed``, and the other characters."""
    if (sequence := _SEQUENCE.match(typed)) is not None:
        number = re.match(r"\d+", sequence[1] or "")
        name = _FINAL_LETTERS.get(sequence[2] or sequence[3], "other")
        if sequence[2] == "~" and number:
            name = _NUMBERS.get(int(number[0]), "other")
        return name, typed[sequence.end() :]
    if typed[0] == "\x1b" and len(typed) > 1:  # with Alt, or cut off
        return "other", "" if typed[1] in "[O" else typed[2:]
    character = typed[0] if typed[0].isprintable() else "other"
    return _CHARACTERS.get(typed[0], character), typed[1:]


class _PosixKeyboard:
    """Characters typed on a POSIX terminal, of which ``pending`` are not yet returned as keys."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.pending = descriptor, ""

    def read(self, seconds: float) -> str | None:
        """Return the next key."""
        if not self.pending and not self._receive(seconds):
            return None
        while self._has_part_of_sequence and self._receive(_SEQUENCE_TIME):
            pass
        name, self.pending = split_key(self.pending)
        if name == "interrupt":
            raise KeyboardInterrupt
        return name

    @property
    def _has_part_of_sequence(self) -> bool:
        return self.pending.startswith("\x1b") and _SEQUENCE.match(self.pending) is None

    def _receive(self, seconds: float) -> bool:
        import select

        if not select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            return False
        data = b"q"
        with _ignore_closed_terminal():
            data = os.read(self.descriptor, 4096) or data
        self.pending += data.decode("utf-8", errors="replace")
        return True


@contextmanager
def _ignore_closed_terminal() -> Iterator[None]:
    try:
        yield
    except OSError:
        pass
    except Exception as error:
        if type(error).__name__ != "error":  # termios.error, which is no OSError
            raise


def _read_windows_key(
    seconds: float,
) -> str | None:  # pragma: no cover - cannot be tested elsewhere
    import msvcrt

    end = time.monotonic() + seconds
    while not msvcrt.kbhit():  # type: ignore[attr-defined]
        if time.monotonic() >= end:
            return None
        time.sleep(0.01)
    character = msvcrt.getwch()  # type: ignore[attr-defined]
    if character in "\0\xe0":
        return _WINDOWS_CODES.get(msvcrt.getwch(), "other")  # type: ignore[attr-defined]
    name, _ = split_key(character)
    if name == "interrupt":
        raise KeyboardInterrupt
    return name
