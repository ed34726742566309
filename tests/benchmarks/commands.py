"""Whole processes: each command against the Keras script that it replaces, in pairs, and memory.

Run: ``python tests/benchmarks/commands.py [RUNS]``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUMMARY = """
import keras
keras.Sequential(
    [keras.Input((10, 3)), keras.layers.SimpleRNN(5), keras.layers.Dense(2)]
).summary()
"""
NOTEBOOK = """
import numpy as np
import keras
model = keras.Sequential(
    [keras.Input((10, 3)), keras.layers.SimpleRNN(5), keras.layers.Dense(2)]
)
x = np.random.default_rng(0).standard_normal((1, 10, 3))
y = model.predict(x, verbose=0)
Wx, Wh, bh, W0, b0 = model.get_weights()
h = np.zeros((1, 5))
for t in range(10):
    h = np.tanh(x[:, t] @ Wx + h @ Wh + bh)
print([w.shape for w in model.get_weights()], y, h @ W0 + b0)
"""
MIB = 2**20
LONG = ["trace", "--T", "1000000", "--N", "1", "--D", "16", "--M", "64", "--K", "2", "--no-keras"]


def ours(*args: str) -> list[str]:
    """A command of rnnshapes."""
    return [sys.executable, "-m", "rnnshapes", *args]


def seconds(command: list[str]) -> float:
    """How long the whole process takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def peak(command: list[str]) -> int:
    """The process's peak memory in bytes (Linux and macOS)."""
    child = os.posix_spawn(
        command[0],
        command,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, usage = os.wait4(child, 0)
    assert status == 0
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def ratio(name: str, args: list[str], script: str, budget: float, runs: int) -> bool:
    """The median of the ratios of pairs, which the machine's drift does not move."""
    theirs = [sys.executable, "-c", script]
    pairs = [(seconds(ours(*args)), seconds(theirs)) for _ in range(runs + 1)]
    pairs = pairs[1:]  # the first run reads the files
    found = statistics.median(a / b for a, b in pairs)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"{name:<42} {a:6.3f} s / {b:6.3f} s = {found:6.3f}  (budget {budget:.3f})")
    return found <= budget


def beyond(name: str, args: list[str], budget: float, runs: int) -> bool:
    """The median of what the process takes longer than the import of Keras alone."""
    alone = [sys.executable, "-c", "import keras"]
    pairs = [(seconds(ours(*args)), seconds(alone)) for _ in range(runs + 1)][1:]
    found = statistics.median(a - b for a, b in pairs)
    print(f"{name:<42} {found:6.3f} s beyond import keras  (budget {budget:.1f} s)")
    return found <= budget


def memory(name: str, args: list[str], budget: int, output: Path | None = None) -> bool:
    """Peak memory against a budget, beyond the bytes of the output where there is one."""
    found = peak(ours(*args))
    allowed = budget + (output.stat().st_size if output else 0)
    print(f"{name:<42} {found / MIB:6.1f} MiB  (budget {allowed / MIB:.1f} MiB)")
    return found <= allowed


def main() -> int:
    """Measure all of it; status 1 if a budget is missed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    kept = [
        ratio(
            "inspect --no-keras / Keras summary()", ["inspect", "--no-keras"], SUMMARY, 1 / 15, runs
        )
    ]
    kept += [
        ratio(f"{command} / the notebook's script", [command], NOTEBOOK, 1.15, runs)
        for command in ("inspect", "trace", "verify")
    ]
    long = ["verify", "--T", "10000", "--D", "16", "--M", "64", "--cell"]
    kept += [
        beyond(f"verify --T 10000 --M 64, {cell}", [*long, cell], 2.0, min(runs, 3))
        for cell in ("simple", "lstm", "gru")
    ]
    huge = ["inspect", "--M", "1000000000"]
    kept.append(memory("inspect --no-keras", ["inspect", "--no-keras"], 60 * MIB))
    kept.append(memory("inspect --M 1000000000", huge, 60 * MIB))
    print(f"{'inspect --M 1000000000':<42} {min(seconds(ours(*huge)) for _ in range(3)):6.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("npz", "csv"):
            out = Path(folder, f"out.{ending}")
            # y_hat as float64 is the output; as text it takes more room on the disk only.
            budget = 1_000_000 * 2 * 8 + 64 * MIB
            kept.append(
                memory(f"trace, T = 1000000, -o out.{ending}", [*LONG, "-o", str(out)], budget)
            )
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
