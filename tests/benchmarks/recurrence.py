"""The NumPy recurrence in float32 against ``model.predict`` and PyTorch's RNN, LSTM and GRU.

All on the CPU. Ours and PyTorch's give every hidden state; ours, y_hat at every step, too. Run:
``python tests/benchmarks/recurrence.py [CELL ...]``.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from rnnshapes import reference
from rnnshapes.cells import registry
from rnnshapes.forward import scan
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.from_sizes import from_sizes

SIZES = [
    (1, 10, 3, 5, 2),
    (32, 100, 64, 128, 10),
    (256, 200, 128, 512, 10),
    (1, 10000, 16, 64, 2),
    (4096, 50, 32, 64, 2),
]
ROUNDS, IN_A_ROW = 3, 5


def measure(functions: list[Callable[[], object]]) -> list[float]:
    """The median time of each, in turns of several runs in a row.

    In a row, since each library's threads need a run to take over from those of another; the
    first run of a turn is not counted.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, kept in zip(functions, times, strict=True):
            function()
            for _ in range(IN_A_ROW):
                start = time.perf_counter()
                function()
                kept.append(time.perf_counter() - start)
    return [statistics.median(kept) for kept in times]


def functions(cell: str, sizes: tuple[int, ...]) -> list[Callable[[], object]]:
    """The same work in NumPy, Keras and PyTorch."""
    net = from_sizes(*sizes, cell=cell)
    n, t, d, m, _ = sizes
    w = weights.draw(net, 0)
    x = inputs.full_array(inputs.random_inputs(net, 0)[0])
    model = reference.build(net, w)
    kind = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}[cell]
    rnn = getattr(torch.nn, kind)(d, m, batch_first=True)
    tensor = torch.from_numpy(x)
    steps = scan.block_steps(net, "float32")

    def in_numpy() -> None:
        blocks = ([x[:, start : start + steps]] for start in range(0, t, steps))
        for _ in scan.run(net, w, blocks, "float32"):
            pass

    def in_keras() -> None:
        model.predict(x, batch_size=n, verbose=0)

    def in_torch() -> None:
        with torch.inference_mode():
            rnn(tensor)

    return [in_numpy, in_keras, in_torch]


def main() -> int:
    """Print times and ratios; status 1 if NumPy is slower than Keras, or a SimpleRNN than torch."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; NumPy {np.__version__}")
    print(
        f"{'':7}{'(N, T, D, M, K)':<26}{'NumPy':>10}{'Keras':>10}{'torch':>10}"
        "   Keras/ours torch/ours"
    )
    kept = True
    for cell in sys.argv[1:] or registry.BY_NAME:
        for sizes in SIZES:
            ours, keras, other = measure(functions(cell, sizes))
            kept &= ours < keras and (ours < other or cell != "simple")
            times = "".join(f"{1e3 * seconds:>8.2f}ms" for seconds in (ours, keras, other))
            print(f"{cell:7}{sizes!s:<26}{times}   {keras / ours:10.2f} {other / ours:10.2f}")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
