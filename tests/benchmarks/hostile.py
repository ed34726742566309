"""Each hostile file of the tests through ``inspect --no-keras``: how long, and how much memory.

Run: ``python -m tests.benchmarks.hostile``; status 1 if one takes more than 3 s or 200 MiB.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from keras import layers as la

from tests.helpers.files import saved
from tests.helpers.hostile import BAD, MOST_MIB
from tests.helpers.models import sequential

#: Runs the command from a small process, since a process counts the memory that it was forked with.
LAUNCHER = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "rnnshapes", *sys.argv[2:]])
_, status, usage = os.wait4(child.pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss // 1024))  # kB on Linux
sys.exit(os.waitstatus_to_exitcode(status))
"""

SECONDS = 3.0


def main() -> int:
    """Print the slowest and the largest."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layers = (la.LSTM(5, name="lstm"), la.Dense(2, name="dense"))
        good = saved(sequential(*layers, shape=(6, 3)), folder / "good.keras")
        for number, (what, (make, _)) in enumerate(BAD.items()):
            own = folder / str(number)
            own.mkdir()
            path, memory = make(good, own), own / "memory"
            command = [sys.executable, "-c", LAUNCHER, str(memory), "inspect", str(path)]
            start = time.perf_counter()
            subprocess.run([*command, "--no-keras"], check=False, capture_output=True)
            rows.append((time.perf_counter() - start, int(memory.read_text("ascii")), what))
    for place, unit in ((0, "s"), (1, "MiB")):
        for row in sorted(rows, key=lambda row: -row[place])[:5]:
            print(f"{row[place]:8.2f} {unit:<4} {row[2]}")
    print(f"{len(rows)} files")
    return int(any(row[0] > SECONDS or row[1] > MOST_MIB for row in rows))


if __name__ == "__main__":
    sys.exit(main())
