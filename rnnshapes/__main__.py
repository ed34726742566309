"""The command ``rnnshapes``, also as ``python -m rnnshapes``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from types import FrameType

from rnnshapes.errors import SignalExit


def main() -> int:
    """Run the command line and return its exit status.

    The status is 130 for Ctrl-C at any time, 128 + n for SIGTERM and SIGHUP.
    """
    try:
        _end_by_exception()
        _ignore_absurd_width()
        if sys.argv[2:3] and not sys.argv[2].startswith("-"):  # a saved model
            from rnnshapes.load.saved import spawn

            # The process that reads the file starts while this one still imports its modules.
            with suppress(OSError, RuntimeError):  # the reader of the file tells why
                spawn.start_early(sys.argv[1:])
        from rnnshapes import cli

        gc.freeze()  # imported modules stay: no collection, also none at exit, visits them (12 %)
        status = cli.main()
        with suppress(ValueError):  # main() runs in a thread
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done
        return status
    except (KeyboardInterrupt, Exception) as error:
        if (interrupted := _interruption_status(error)) is not None:
            return interrupted
        if not isinstance(error, ImportError | MemoryError):
            raise
        reason = " ".join(str(error).split())[:200] or "not enough memory"
        if isinstance(error, ImportError):
            reason += "; install rnnshapes with its dependencies: python -m pip install ."
        sys.stderr.write(f"rnnshapes: error: this machine cannot run the command: {reason}\n")
        return 3
    finally:
        if (spawn_module := sys.modules.get("rnnshapes.load.saved.spawn")) is not None:
            spawn_module.end_unused()


def _interruption_status(error: BaseException | None) -> int | None:
    """Return the exit status for a signal that ended as another exception; else ``None``.

    What is raised while Python makes a class, or C code imports a module, may arrive as the cause
    of a RuntimeError or an ImportError.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return 130
        if isinstance(error, SignalExit):
            return error.code
        error = error.__cause__ or error.__context__
    return None


def _end_by_exception() -> None:
    """Let SIGTERM and SIGHUP raise an exception, so that temporary files are removed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SignalExit(128 + number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # main() runs in a thread
                signal.signal(number, end)


def _ignore_absurd_width() -> None:
    """Remove a COLUMNS that no terminal has from the environment: Rich cannot compute with it."""
    columns = os.environ.get("COLUMNS", "")
    if columns and not (columns.isascii() and columns.isdigit() and len(columns) < 6):
        del os.environ["COLUMNS"]


if __name__ == "__main__":
    status = main()
    # If Ctrl-C arrives inside exec(), which dataclasses use, Python remembers it and ends
    # ``python -m`` by SIGINT, even though main() caught it. A new exec() clears that memory.
    exec("")  # noqa: S102 - runs nothing
    sys.exit(status)
