"""Commands on saved models, as whole processes, against the same in Keras.

Budgets: ``inspect FILE --no-keras`` at most 1/10 of ``load_model`` and ``summary()``; at most
0.5 s and 100 MiB for a file of 1 GB, of which no weight is read; ``trace FILE --no-keras`` at
most 1/8 of ``load_model`` and ``predict``. Run: ``python tests/benchmarks/files.py [ROUNDS]``.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAKE = """
import sys, keras
from keras import layers as la
keras.Sequential([keras.Input((20, 3)), la.LSTM(32), la.Dense(2)]).save(sys.argv[1])
keras.Sequential(
    [keras.Input((20,)), la.Embedding(1_000_000, 256), la.LSTM(32), la.Dense(2)]
).save(sys.argv[2])
"""
SUMMARY = "import sys, keras; keras.models.load_model(sys.argv[1]).summary()"
PREDICT = """
import sys, keras, numpy as np
model = keras.models.load_model(sys.argv[1])
print(model.predict(np.ones((1, 20, 3), "float32"), verbose=0))
"""


def run(*command: str) -> tuple[float, float]:
    """How long a process takes, and the most MiB that it or a child of it had."""
    start = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> int:
    """Print medians and ratios; status 1 if a budget is not kept."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as name:
        small, large = f"{name}/small.keras", f"{name}/large.keras"
        run("-c", MAKE, small, large)
        commands = {
            "load_model, summary": ("-c", SUMMARY, small),
            "load_model, predict": ("-c", PREDICT, small),
            "inspect": ("-m", "rnnshapes", "inspect", small, "--no-keras"),
            "inspect, 1 GB": ("-m", "rnnshapes", "inspect", large, "--no-keras"),
            "trace": ("-m", "rnnshapes", "trace", small, "--no-keras"),
        }
        print(f"1 GB: {Path(large).stat().st_size / 2**20:,.0f} MiB")
        found = {key: [run(*command) for _ in range(rounds)] for key, command in commands.items()}
    seconds = {key: statistics.median(s for s, _ in runs) for key, runs in found.items()}
    memory = {key: max(m for _, m in runs) for key, runs in found.items()}
    for key, value in seconds.items():
        print(f"{key:<22}{value:8.3f} s {memory[key]:8.1f} MiB")
    inspect = seconds["inspect"] / seconds["load_model, summary"]
    trace = seconds["trace"] / seconds["load_model, predict"]
    print(f"inspect / summary {inspect:.3f} (0.100), trace / predict {trace:.3f} (0.125)")
    kept = inspect <= 0.1 and trace <= 0.125
    return int(not (kept and seconds["inspect, 1 GB"] <= 0.5 and memory["inspect, 1 GB"] <= 100))


if __name__ == "__main__":
    sys.exit(main())
