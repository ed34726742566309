"""Standard output and standard error, as they are: closed, full, or read by nobody any more."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TextIO

from rnnshapes.errors import InputError


@contextmanager
def standard_output() -> Iterator[SimpleNamespace]:
    """A closed pipe ends the output silently; a full device is an error of one line.

    What is handed out has ``closed`` set once nobody reads any more.
    """
    state = SimpleNamespace(closed=False)
    try:
        yield state
    except OSError as error:
        _discard_output()
        # Windows knows no broken pipe, but calls it an invalid argument.
        state.closed = error.errno == (errno.EINVAL if os.name == "nt" else errno.EPIPE)
        if not state.closed:
            raise InputError(f"standard output cannot be written: {error.strerror}") from None


def _discard_output() -> None:
    # What is left in the buffer would be written, and fail again, when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pass_on(text: str) -> None:
    """Write to standard error, if there is one and it takes what is written."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def watched(stream: TextIO | None) -> bool:
    """Whether a person looks at a stream: a terminal, and not a file or a pipe."""
    return stream is not None and stream.isatty()
