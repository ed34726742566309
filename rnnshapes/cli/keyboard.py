"""Keys as they are typed, without Enter, on a terminal of POSIX or of Windows."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Waits so many seconds for a key and gives its name, ``None`` if none was typed. A character
#: that can be printed is its own name; what means nothing here is ``"other"``.
Read = Callable[[float], "str | None"]

_ENDS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERS = {1: "home", 4: "end", 5: "page up", 6: "page down", 7: "home", 8: "end"}
_PLAIN = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x1b": "escape",
    "\x03": "interrupt",
    "\x04": "q",
}
#: What Windows says after a first character of 0 or 224.
_WINDOWS = {
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
_REST = 0.05  # seconds in which the rest of a sequence comes, if there is one


@contextmanager
def reading() -> Iterator[Read]:
    """Keys from standard input, a terminal, which is then as it was before.

    KeyboardInterrupt for Ctrl-C. Where nothing more can come, as when the terminal has gone,
    the key is ``q``.
    """
    if sys.platform == "win32":
        yield _windows
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
        yield _Typed(descriptor).read
    finally:
        with _gone():
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def first(typed: str) -> tuple[str, str]:
    """The first key of what was typed, and what is left of it."""
    if (found := _SEQUENCE.match(typed)) is not None:
        number = re.match(r"\d+", found[1] or "")
        name = _ENDS.get(found[2] or found[3], "other")
        if found[2] == "~" and number:
            name = _NUMBERS.get(int(number[0]), "other")
        return name, typed[found.end() :]
    if typed[0] == "\x1b" and len(typed) > 1:  # with Alt, or cut off
        return "other", "" if typed[1] in "[O" else typed[2:]
    key = typed[0] if typed[0].isprintable() else "other"
    return _PLAIN.get(typed[0], key), typed[1:]


class _Typed:
    """What was typed on a terminal of POSIX and is not yet handed out."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.typed = descriptor, ""

    def read(self, seconds: float) -> str | None:
        """The next key."""
        if not self.typed and not self._more(seconds):
            return None
        while self._unfinished and self._more(_REST):
            pass
        name, self.typed = first(self.typed)
        if name == "interrupt":
            raise KeyboardInterrupt
        return name

    @property
    def _unfinished(self) -> bool:
        return self.typed.startswith("\x1b") and _SEQUENCE.match(self.typed) is None

    def _more(self, seconds: float) -> bool:
        import select

        if not select.select([self.descriptor], [], [], max(0.0, seconds))[0]:
            return False
        data = b"q"
        with _gone():
            data = os.read(self.descriptor, 4096) or data
        self.typed += data.decode("utf-8", errors="replace")
        return True


@contextmanager
def _gone() -> Iterator[None]:
    """A terminal that is no longer there is no error."""
    try:
        yield
    except OSError:
        pass
    except Exception as error:
        if type(error).__name__ != "error":  # termios.error, which is no OSError
            raise


def _windows(seconds: float) -> str | None:  # pragma: no cover - cannot be tested elsewhere
    import msvcrt

    until = time.monotonic() + seconds
    while not msvcrt.kbhit():  # type: ignore[attr-defined]
        if time.monotonic() >= until:
            return None
        time.sleep(0.01)
    key = msvcrt.getwch()  # type: ignore[attr-defined]
    if key in "\0\xe0":
        return _WINDOWS.get(msvcrt.getwch(), "other")  # type: ignore[attr-defined]
    name, _ = first(key)
    if name == "interrupt":
        raise KeyboardInterrupt
    return name
