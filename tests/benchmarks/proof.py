"""How far right networks are from the bound, and how far wrong ones, in both precisions.

    python tests/benchmarks/proof.py

Right: each cell, with spectral radii up to 4, T up to 10,000 and M up to 512, with relu,
saturated, tiny and zero weights. Wrong: every structural mutant, in each of several networks;
and a millionth more in the largest number of one array, which float64 has to see.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers import grid
from tests.helpers.cells import FORMS

SIZES = (
    *((1, 1, 1, 1, 1), (1, 1, 5, 7, 3), (4, 2, 3, 1, 2), (3, 10, 4, 5, 2), (32, 20, 6, 16, 3)),
    *((2, 300, 3, 64, 1), (1, 200, 8, 256, 2), (1, 60, 4, 512, 2), (1, 10_000, 16, 64, 2)),
)
RADII = (0.0, 0.5, 0.9, 1.0, 1.5, 4.0)


def right() -> Iterator[grid.CaseResult]:
    """Networks that have to pass."""
    for seed in (0, 1):
        yield from grid.right(grid.cases(SIZES, RADII, seed=seed))
    for cell, scale, name in itertools.product(
        FORMS, (0.0, 1e-30, 1e-3, 30.0, 1e3), ("tanh", "relu", "sigmoid", "softsign")
    ):
        spec = {"N": 3, "T": 30, "D": 4, "M": 6, "K": 2, "activation": name, **cell}
        yield from grid.right(iter([grid.Case(scale=scale, **spec)]))
    for cell, name, features in itertools.product(
        FORMS, ("tanh", "relu", "linear", "hard_sigmoid"), (1, 3)
    ):  # a single unit leaves the bound no room
        spec = {"N": 200, "T": 500, "D": features, "M": 1, "K": 1, "activation": name, **cell}
        yield from grid.right(iter([grid.Case(**spec)]))


def wrong() -> Iterator[grid.CaseResult]:
    """Networks that have to fail."""
    for cell, both, seed in itertools.product(FORMS, (False, True), range(4)):
        spec = {"N": 3, "T": 8, "D": 5, "M": 5, "K": 5, "bidirectional": both, "seed": seed}
        yield from grid.wrong(grid.Case(**spec, **cell))


def nudged() -> Iterator[grid.CaseResult]:
    """Networks that have to fail in float64."""
    for cell, seed in itertools.product(FORMS, range(10)):
        yield from grid.nudged(grid.Case(N=3, T=8, D=4, M=6, K=2, seed=seed, **cell))


def report(title: str, found: Iterable[grid.CaseResult]) -> list[grid.CaseResult]:
    """Print how many were judged, and the ratio nearest to 1, for each precision."""
    start, rows = time.perf_counter(), list(found)
    for dtype in grid.DTYPES:
        own = [row for row in rows if row.dtype == dtype]
        if not own:
            continue
        ratios = np.array([row.ratio for row in own])
        near = own[int(np.nanargmax(ratios) if title == "right" else np.nanargmin(ratios))]
        compared = sum(row.compared for row in own)
        print(
            f"{title:8} {dtype}: {len(own):5,} networks, {compared:13,} numbers; nearest to 1: "
            f"{near.ratio:.3g} ({near.name})"
        )
    print(f"{'':8} {time.perf_counter() - start:.0f} s")
    return rows


def main() -> int:
    """Print all three; 1 if a right one fails or a wrong one passes."""
    bad = [row for row in report("right", right()) if not row.ratio <= 1 or row.empty]
    bad += [row for row in report("wrong", wrong()) if row.ratio <= 1]
    bad += [row for row in report("millionth", nudged()) if row.ratio <= 1]
    for row in bad:
        print("MISJUDGED", row)
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
