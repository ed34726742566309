"""Commands that are interrupted at random moments: exit status, child processes, files.

For each of SIGINT, SIGTERM and SIGHUP, and each command, COUNT interruptions. Each must end with
128 + n, or with its own status if it was done; it leaves no child process and no temporary file,
and its target is either untouched or whole. Run: ``python -m tests.benchmarks.signals [COUNT]``;
status 1 if anything else happened.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from keras import layers as la

from tests.helpers.commands import interruptible
from tests.helpers.files import saved
from tests.helpers.models import sequential

COMMANDS = {
    "trace -o": ("trace", "--no-keras", "--T", "30000", "-o", "t.json"),
    "trace FILE -o": ("trace", "m.keras", "--N", "2000", "--no-keras", "-o", "t.json"),
    "verify": ("verify", "--T", "200", "--format", "json", "-o", "t.json"),
}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Print how often each command ended in each way."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    rng = random.Random(7)  # noqa: S311 - the same moments in each run
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        saved(sequential(la.LSTM(5), la.Dense(2), shape=(6, 3)), folder / "m.keras")
        for what, command in COMMANDS.items():
            duration = _duration(folder, command)
            for number in SIGNALS:
                ends = Counter(
                    _interrupt(folder, command, number, rng.uniform(0.03, 1.05) * duration)
                    for _ in range(count)
                )
                failures += sum(n for end, n in ends.items() if end not in ("ended", "done"))
                print(f"{what:14} {number.name:8} {dict(ends)}", flush=True)
    return int(failures > 0)


def _start(folder: Path, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    with interruptible():  # a process in the background, or of nohup, would ignore some signals
        return subprocess.Popen(
            [sys.executable, "-m", "rnnshapes", *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _duration(folder: Path, command: tuple[str, ...]) -> float:
    start = time.perf_counter()
    assert _start(folder, command).wait() == 0
    return time.perf_counter() - start


def _interrupt(folder: Path, command: tuple[str, ...], number: signal.Signals, delay: float) -> str:
    """Return how a command ended that got a signal after ``delay`` seconds."""
    target = folder / "t.json"
    target.write_text('"old"', encoding="utf-8")
    running = _start(folder, command)
    time.sleep(delay)
    running.send_signal(number)
    status = running.wait()
    if status not in (0, 128 + number, -number):  # -n: before Python could handle it
        return f"status {status}"
    if [path.name for path in folder.iterdir() if path.name not in ("t.json", "m.keras")]:
        return "left a file"
    if _has_processes(running.pid):
        return "left a process"
    try:
        content = json.loads(target.read_text("utf-8"))
    except ValueError:
        return "left half a file"
    if status == 0:
        return "done" if content != "old" else "did not write"
    return "ended"


def _has_processes(group: int) -> bool:
    """Return whether a process of the group still runs after five seconds."""
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    sys.exit(main())
