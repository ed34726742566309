"""The command line in a process of its own, and what a fresh Python loads."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

HEAVY = ("keras", "tensorflow", "torch", "jax", "numpy", "h5py", "pydantic")


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    out: str
    err: str


def assert_refused(done: Result, *names: str, status: int = 2) -> None:
    """Assert that a command wrote one line of error, which mentions all names, and no result."""
    assert (done.status, done.out) == (status, "")
    assert done.err.startswith("rnnshapes: error: ")
    assert done.err.count("\n") == 1
    assert [name for name in names if name not in done.err] == []


def mentioning(*names: str) -> str:
    """Return a pattern for messages that mention all names, in any order and any words."""
    return "(?s)" + "".join(f"(?=.*{re.escape(name)})" for name in names)


def process(*args: object, env: Mapping[str, str] | None = None, **options: Any) -> Result:
    """The command line in a process of its own, with ``env`` added to the environment."""
    command = [sys.executable, "-m", "rnnshapes", *map(str, args)]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE} | options
    done = subprocess.run(
        command,
        check=False,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        timeout=240,
        **options,
    )
    return Result(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())


@contextmanager
def interruptible() -> Iterator[None]:
    """Let this process, and those it starts inside the block, react to SIGINT and SIGHUP.

    A job in the background (``pytest &`` in a script) ignores the one, and a job of ``nohup`` the
    other, and so would its children.
    """
    handlers = {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}
    numbers = {getattr(signal, name): to for name, to in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, to) for number, to in numbers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def loaded_by(code: str) -> set[str]:
    """The heavy modules that a fresh Python holds after ``code``."""
    report = f"import sys; print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], check=True, capture_output=True, text=True
    )
    return set(eval(done.stderr.splitlines()[-1]))  # noqa: S307 - our own list
