"""Starts the process that reads a saved model; the command does so before it loads itself.

This stands alone, and imports little, so that both can load at the same time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: What the process runs.
SCRIPT = Path(__file__).with_name("hdf5_child.py")
_begun: dict[str, subprocess.Popen[bytes]] = {}


def begin(arguments: Sequence[str]) -> None:
    """Start reading the model that a command line names, if it is there."""
    if len(arguments) > 1 and Path(arguments[1]).is_file():
        _begun[arguments[1]] = start(arguments[1])


def process(path: str) -> subprocess.Popen[bytes]:
    """The process that reads ``path``: the one that was begun, or a new one."""
    return _begun.pop(path, None) or start(path)


def start(path: str) -> subprocess.Popen[bytes]:
    """A process that reads ``path``. Raises OSError where none can be started."""
    # -P: nothing is imported from the folder of the script or of the file.
    command = [sys.executable, "-P", str(SCRIPT), path]
    # One thread is enough to copy numbers, and plugins are code that others have put somewhere.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    return subprocess.Popen(  # noqa: S603 - no shell, and nothing of the user's but a path
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
