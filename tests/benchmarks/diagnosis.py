"""How long ``verify --against`` takes to diagnose a 200-step LSTM port, after imports.

One mistake, a pair of mistakes, and what nothing explains: a single wrong number, for which no
pairs are tried, and noise, for which everything is. At the end both directions, for which there is
no budget. Times are those of the process, so that others on the machine do not count.
Run: ``python -m tests.benchmarks.diagnosis``. Status 1 if one of them takes more than 2 s.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import rnnshapes

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers.handmade import Port, weights_of

SIZES = {"T": 200, "D": 8, "M": 64, "K": 3, "cell": "lstm"}
BUDGET = 2.0
MISTAKES: Mapping[str, Mapping[str, Any]] = {
    "one mistake": {"order": ("i", "o", "f", "c")},
    "two mistakes": {"order": ("i", "f", "o", "c"), "recurrent_activation": "hard_sigmoid"},
    "a wrong number": {},
    "noise": {},
}
UNEXPLAINED = ("a wrong number", "noise")


def given(found: Mapping[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """The arrays of a port that gives so much."""
    if what == "last y_hat":
        return {"y_hat": found["y_hat"][:, -1]}
    return {key: found[key] for key in what.split(", ")}


def timed(port: Mapping[str, np.ndarray], **options: Any) -> tuple[float, Any]:
    """The seconds of a diagnosis, and its result."""
    start = time.process_time()
    result = rnnshapes.verify(**SIZES, **options, against=port)
    return time.process_time() - start, result


def both_directions() -> None:
    """Print how long noise in a bidirectional port takes."""
    golden = rnnshapes.golden(**SIZES, bidirectional=True).arrays
    rng = np.random.default_rng(0)
    states = [name for name in golden if name.endswith((".h", ".c"))]
    hs = [name for name in states if name.endswith(".h")]
    for what, names in (("y_hat", ["y_hat"]), ("output", ["output"]), ("h", hs), ("h, c", states)):
        factors = {name: rng.uniform(0.5, 1.5, golden[name].shape) for name in names}
        port = {name: (golden[name] * factors[name]).astype("f") for name in names}
        seconds, result = timed(port, bidirectional=True)
        tried = f"{result.diagnosis.tried:,} tried"
        print(f"{1:>3}  {'noise, both ways':16}{what:16}{seconds:>8.2f}      {tried}")


def main() -> int:
    """Print the seconds of each diagnosis, and what it found."""
    kept = True
    print(f"{'N':>3}  {'mistake':16}{'the port gives':16}{'seconds':>8}  budget {BUDGET:g} s")
    for n in (1, 4):
        golden = rnnshapes.golden(N=n, **SIZES).arrays
        for name, options in MISTAKES.items():
            found = Port("lstm", **options).run(weights_of(golden, "lstm"), golden["x"])
            if name == "a wrong number":
                for values in found.values():
                    values[0, -1, 1] += np.float32(0.01)
            if name == "noise":
                rng = np.random.default_rng(0)
                found = {key: rng.standard_normal(a.shape).astype("f") for key, a in found.items()}
            for what in ("y_hat", "last y_hat", "h", "h, c"):
                seconds, result = timed(given(found, what), N=n)
                explained = bool(result.diagnosis.explanations)
                good = seconds <= BUDGET and explained == (name not in UNEXPLAINED)
                kept &= good
                said = "explained" if explained else "unexplained"
                tried = f"{said}, {result.diagnosis.tried:,} tried"
                print(
                    f"{n:>3}  {name:16}{what:16}{seconds:>8.2f}  {'ok' if good else 'NO'}  {tried}"
                )
    both_directions()
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
