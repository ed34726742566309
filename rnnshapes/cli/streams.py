"""Standard output and standard error, which may be closed, full, or read by nobody any more."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

from rnnshapes.errors import InputError


@dataclass
class StdoutState:
    """Whether standard output is ``closed``: its reader has gone."""

    closed: bool = False


@contextmanager
def guard_stdout() -> Iterator[StdoutState]:
    """Handle errors of standard output: end silently if its reader has gone.

    Raises:
        InputError: it cannot be written for another reason, such as a full device.
    """
    state = StdoutState()
    try:
        yield state
    except OSError as error:
        _discard_output()
        # Windows has no error for a broken pipe and reports an invalid argument.
        state.closed = error.errno == (errno.EINVAL if os.name == "nt" else errno.EPIPE)
        if not state.closed:
            raise InputError(f"standard output cannot be written: {error.strerror}") from None


def _discard_output() -> None:
    # Python would write what is left in the buffer when it ends, and fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write_stderr(text: str) -> None:
    """Write to standard error, if it is open and can be written."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal, and not a file, a pipe or closed."""
    return stream is not None and stream.isatty()
