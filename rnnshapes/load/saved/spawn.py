"""The process that reads a saved model, started before the command has loaded itself.

This module imports little, so that both can load at the same time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: The script that the process runs.
SCRIPT = Path(__file__).with_name("hdf5_child.py")
#: What the names of files of PyTorch and ONNX end in, which this process does not read.
FOREIGN_ENDINGS = (".safetensors", ".pt", ".pth", ".onnx")
_started: dict[str, subprocess.Popen[bytes]] = {}


def start_early(arguments: Sequence[str]) -> None:
    """Start a process for the model that a command line names, if there is such a file."""
    # Unlike Path.is_file, isfile does not fail if the path is too long.
    is_other = len(arguments) > 1 and arguments[1].lower().endswith(FOREIGN_ENDINGS)
    if len(arguments) > 1 and not is_other and os.path.isfile(arguments[1]):  # noqa: PTH113
        _started[arguments[1]] = start(arguments[1])


def end_unused() -> None:
    """End the processes that were started early and that nobody has asked for."""
    for process in _started.values():
        process.kill()
        process.wait()


def get_process(path: str) -> subprocess.Popen[bytes]:
    """Return the process that reads ``path``: the one that was started early, or a new one."""
    return _started.pop(path, None) or start(path)


def start(path: str) -> subprocess.Popen[bytes]:
    """Start a process that reads ``path``. Raises OSError where none can be started."""
    # -P: Python imports nothing from the folder of the script or of the file.
    command = [sys.executable, "-P", str(SCRIPT), path]
    # One thread is enough to copy numbers. HDF5 plugins are code of others, so they stay off.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}
    return subprocess.Popen(  # noqa: S603 - no shell, and nothing of the user's but a path
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
