"""Configurations per second: ``verify --sweep`` against Keras building and predicting each.

Run: ``python tests/benchmarks/sweep.py [RUNS]``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers as la

from rnnshapes.verification import grid, sweeping

BUDGET = 5.0
#: Every fifth configuration of the default grid.
SAMPLE = grid.networks({})[::5]
LAYERS = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}


def predicted(options: dict[str, Any]) -> None:
    """Build one with keras.Sequential, and let it predict."""
    own = dict(options)
    kind = LAYERS[own.pop("cell")]
    n, t, d, hidden, k = (own.pop(name) for name in "NTDMK")
    units = hidden if isinstance(hidden, tuple) else (hidden,)
    both, mode = own.pop("bidirectional", False), own.pop("merge_mode", "concat")
    sequences = own.pop("return_sequences", False)
    model = keras.Sequential([keras.Input((t, d))])
    for place, size in enumerate(units, 1):
        layer = kind(size, return_sequences=sequences or place < len(units), **own)
        model.add(la.Bidirectional(layer, merge_mode=mode) if both else layer)
    model.add(la.Dense(k))
    x = np.random.default_rng(0).standard_normal((n, t, d), dtype=np.float32)
    model.predict(x, verbose=0)


def with_keras() -> None:
    """All of the sample, one after the other."""
    for options, _ in SAMPLE:
        predicted(options)


def with_sweep() -> None:
    """The same by the sweep, all checks included."""
    assert sweeping.sweep(SAMPLE, seed=0).passed


def rate(work: Callable[[], None]) -> float:
    """Configurations per second."""
    start = time.perf_counter()
    work()
    return len(SAMPLE) / (time.perf_counter() - start)


def main() -> int:
    """The median of the ratios of pairs; status 1 if it misses the budget."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    predicted(SAMPLE[0][0])  # what TensorFlow does only once
    sweeping.sweep(SAMPLE[:1], seed=0)
    pairs = [(rate(with_sweep), rate(with_keras)) for _ in range(runs)]
    ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    found = statistics.median(a / b for a, b in pairs)
    least = min(a / b for a, b in pairs)
    print(f"{len(SAMPLE)} configurations, {runs} runs")
    print(f"verify --sweep                  {ours:6.1f} per second")
    print(f"keras.Sequential and predict    {theirs:6.1f} per second")
    print(f"ratio {found:.2f}, at least {least:.2f}  (budget {BUDGET:.0f})")
    return int(found < BUDGET)


if __name__ == "__main__":
    sys.exit(main())
