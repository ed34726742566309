"""Weight files that PyTorch writes, computed by rnnshapes and by PyTorch itself.

Random networks: each module, 1 to 3 layers, one direction or both, with bias and without, with
projection; every output at every step. Run: ``python -m tests.benchmarks.frameworks [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

import rnnshapes
from tests.helpers import foreign

#: The largest difference of h that float64 may make, and in float32 that rounding may.
MOST = {"float64": 1e-12, "float32": 2e-5}
KINDS = {"simple": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def pytorch_case(rng: np.random.Generator, folder: Path) -> tuple[str, float]:
    """Save a random module in PyTorch; return its dtype and how far rnnshapes is from it."""
    cell, dtype = str(rng.choice(list(KINDS))), str(rng.choice(list(MOST)))
    D, M, n, steps = (int(size) for size in rng.integers(1, [9, 9, 4, 13]))
    options: dict[str, Any] = {
        "num_layers": int(rng.integers(1, 4)),
        "bidirectional": bool(rng.integers(2)),
        "bias": bool(rng.integers(2)),
    }
    if cell == "lstm" and M > 1 and rng.integers(2):
        options["proj_size"] = int(rng.integers(1, M))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = KINDS[cell](D, M, batch_first=True, **options).to(getattr(torch, dtype))
    weights = {f"net.{name}": value for name, value in module.state_dict().items()}
    if rng.integers(2):
        path = folder / "m.pt"
        torch.save({"model": weights, "epoch": 3} if rng.integers(2) else weights, path)
    else:
        path = folder / "m.safetensors"
        path.write_bytes(foreign.safetensors({k: v.numpy() for k, v in weights.items()}))
    x = rng.standard_normal((n, steps, D)).astype(dtype)
    with torch.inference_mode():
        output, (states) = module(torch.from_numpy(x))
    trace = rnnshapes.trace(path, x=x, show="all")
    assert trace.y_hat is not None
    worst = float(np.abs(trace.y_hat - output.numpy()).max())
    last = states[1] if cell == "lstm" else states
    key = "c" if cell == "lstm" else "h"
    for layer, expected in zip(trace.layers, last.numpy(), strict=True):
        values = layer.states[key]
        end = values[:, 0] if layer.reverse else values[:, -1]
        worst = max(worst, float(np.abs(end - expected).max()))
    return dtype, worst


def main() -> int:
    """Run, and print the largest differences; status 1 if one is too large."""
    count = int(sys.argv[1]) if sys.argv[1:] else 400
    worst: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for seed in range(count):
            torch.manual_seed(seed)
            dtype, difference = pytorch_case(np.random.default_rng(seed), Path(name))
            if difference > MOST[dtype]:
                print(f"seed {seed}: {dtype}, {difference:.1e}")
            worst[dtype] = max(worst[dtype], difference)  # type: ignore[assignment]
    print(f"PyTorch {torch.__version__}, {count} networks:")
    for dtype, difference in sorted(worst.items()):
        print(f"  {dtype}: differs by at most {difference:.1e}")
    return int(any(difference > MOST[dtype] for dtype, difference in worst.items()))


if __name__ == "__main__":
    sys.exit(main())
