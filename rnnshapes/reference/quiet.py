"""Run Keras without console output, and let Ctrl-C interrupt it.

TensorFlow's C++ code writes to file descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says, so the
descriptor itself is redirected.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import BinaryIO

from rnnshapes.errors import CannotRunError

_descriptor_2 = threading.RLock()


@contextmanager
def keras_at_work(task: str) -> Iterator[None]:
    """Run Keras silently; turn any failure of it into a CannotRunError of one line.

    ``task`` completes the sentence "Keras could not …".
    """
    random_state = random.getstate()  # Keras draws the seeds of layers from it
    with interruptible(), captured_stderr() as log:
        try:
            yield
        except Exception as error:
            message = f"Keras could not {task}: {one_line(error)[:300]}"
            raise CannotRunError(message, log=read_log(log)) from error
        finally:
            random.setstate(random_state)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for Ctrl-C even where C++ code has turned it into another error."""
    custom_handler = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if custom_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    except Exception:
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


@contextmanager
def captured_stderr() -> Iterator[BinaryIO]:
    """Redirect file descriptor 2 to a temporary file, and yield that file.

    All threads share one descriptor 2, so only one thread at a time may do this.
    """
    with _descriptor_2, tempfile.TemporaryFile() as log:
        try:
            saved = os.dup(2)
        except OSError:  # there is no standard error
            yield log
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def read_log(log: BinaryIO) -> str:
    """Return what was captured so far."""
    log.seek(0)
    return log.read().decode("utf-8", "replace")


def one_line(error: BaseException) -> str:
    """Return the type and message of an error in one line, without colours."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}")
    return " ".join(text.split())
