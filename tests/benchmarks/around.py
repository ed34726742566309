"""Models with layers around the recurrence: a trace in NumPy against ``model.predict``.

A model that reads images as sequences (T = 64), and an LSTM with attention (T = 200, M = 64), as
models that are open in Python. Run: ``python -m tests.benchmarks.around``; status 1 if ``predict``
is faster.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import keras
import numpy as np
from keras import layers as la

import rnnshapes
from tests.helpers.models import functional, randomized, sequential

ROUNDS = 7


def images() -> keras.Model:
    """A Conv2D front end, whose rows an LSTM reads in both directions."""
    return sequential(
        la.Conv2D(8, 3, padding="same", activation="relu"),
        la.MaxPooling2D((1, 2)),
        la.TimeDistributed(la.Flatten()),
        la.Bidirectional(la.LSTM(32, return_sequences=True)),
        la.Dense(11, activation="softmax"),
        shape=(64, 16, 1),
    )


def attention() -> keras.Model:
    """An LSTM whose states attend to each other."""

    def graph(x: keras.KerasTensor) -> keras.KerasTensor:
        h = la.LSTM(64, return_sequences=True)(x)
        return la.Dense(5)(la.GlobalAveragePooling1D()(la.Attention()([h, h])))

    return functional(graph, (200, 16))


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> int:
    """Print the ratio of each pair of times, and its median."""
    slower = False
    for make in (images, attention):
        model = randomized(make())
        for samples in (1, 8):
            shape = (samples, *model.input_shape[1:])
            x = np.random.default_rng(0).standard_normal(shape).astype("float32")
            trace = lambda: rnnshapes.trace(model, x=x, keras=False)  # noqa: E731, B023
            predict = lambda: model.predict(x, verbose=0)  # noqa: E731, B023
            trace(), predict()  # Keras compiles
            pairs = [(seconds(predict), seconds(trace)) for _ in range(ROUNDS)]
            ratios = sorted(keras_time / ours for keras_time, ours in pairs)
            middle = statistics.median(ratios)
            slower |= middle < 1
            ours = statistics.median(ours for _, ours in pairs)
            print(
                f"{make.__name__:10} N={samples}  trace {1e3 * ours:6.1f} ms, predict "
                f"{middle:5.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
