"""Right and wrong weight files of PyTorch against the networks that they were made from.

Random networks: each cell, one to three layers, one direction or both, in float32 and float16.
Each right file has to pass. In a wrong one, one array of one layer has one mistake: it has to fail,
at that array and no other. Run: ``python -m tests.benchmarks.weight_files [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import rnnshapes
from tests.helpers import foreign
from tests.helpers.cells import LAYERS
from tests.helpers.foreign import GATES, written
from tests.helpers.port_layouts import in_pytorch

Arrays = dict[str, np.ndarray]


def permuted(array: np.ndarray, gates: int, rng: np.random.Generator) -> np.ndarray:
    """Return the blocks of rows in another order."""
    order = np.roll(np.arange(gates), int(rng.integers(1, gates)))
    return np.concatenate([np.split(array, gates)[place] for place in order])


def one_wrong(array: np.ndarray, gates: int, rng: np.random.Generator) -> np.ndarray:
    """Return the array with another number somewhere."""
    wrong = array.copy()
    wrong.reshape(-1)[rng.integers(array.size)] += np.asarray(0.05, array.dtype)
    return wrong


#: Mistakes in one array, with the ids by which they may be named.
MISTAKES: dict[str, tuple[Callable[..., np.ndarray], set[str]]] = {
    "gates": (permuted, {"gates.order", "layout.flat_buffer"}),
    "flat": (lambda a, g, r: a.T.reshape(a.shape), {"layout.flat_buffer", "gates.order"}),
    "one number": (one_wrong, {"weights.one_wrong", "weights.quantized", "weights.other"}),
    "other": (lambda a, g, r: r.permutation(a.reshape(-1)).reshape(a.shape), {"weights.other"}),
    "zeros": (lambda a, g, r: 0 * a, set()),
}


def network(rng: np.random.Generator) -> tuple[dict[str, Any], Arrays, list[str]]:
    """Return the options of a network, its state_dict, and the names of its recurrences."""
    cell, both = str(rng.choice(list(LAYERS))), bool(rng.integers(2))
    sizes = {name: int(rng.integers(1, 9)) for name in "DK"}
    units = [int(size) for size in rng.integers(2, 7, rng.integers(1, 4))]
    options: dict[str, Any] = {"cell": cell, "M": units, **sizes, "bidirectional": both}
    options |= {"seed": int(rng.integers(1000))}
    golden = rnnshapes.golden(T=1, **options).arrays
    arrays: Arrays = {"fc.weight": golden["dense/kernel"].T, "fc.bias": golden["dense/bias"]}
    names = []
    for number in range(len(units)):
        end = f"_{number}" * (number > 0)
        own = [f"{LAYERS[cell]}{end}"]
        if both:
            inner = own[0]
            own = [f"bidirectional{end}/{way}_{inner}" for way in ("forward", "backward")]
            own = own if f"{own[0]}/kernel" in golden else sorted_names(golden, number)
        for name, array in in_pytorch(cell, golden, own).items():
            arrays[f"rnn{number}.{name}"] = array
        names += own
    return options, arrays, names


def sorted_names(golden: Any, number: int) -> list[str]:
    """Return the names of both directions of a layer, from those of the weights."""
    kernels = [name for name in golden if name.endswith("/kernel") and "ward_" in name]
    return [name.removesuffix("/kernel") for name in kernels[2 * number : 2 * number + 2]]


def main() -> int:
    """Run, and print how many were right; status 1 if a right file fails or a wrong one passes."""
    count = int(sys.argv[1]) if sys.argv[1:] else 1000
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.pt"
        for seed in range(count):
            rng = np.random.default_rng(seed)
            options, arrays, _ = network(rng)
            dtype = "float16" if rng.integers(4) == 0 else "float32"
            right = {k: np.ascontiguousarray(a).astype(dtype) for k, a in arrays.items()}
            written(path, foreign.torch_file(right))
            if rnnshapes.verify(against=path, **options).passed:
                counts["right, passed"] += 1
            else:
                counts["false alarm"] += 1
                print(f"seed {seed}: false alarm")
            kind = str(rng.choice(list(MISTAKES)))
            name = str(rng.choice([key for key in right if "weight_" in key]))
            change, ids = MISTAKES[kind]
            gates = GATES[options["cell"]]
            if kind == "gates" and gates == 1:
                continue
            array = np.ascontiguousarray(change(right[name], gates, rng))
            if np.array_equal(array, right[name]):
                continue
            written(path, foreign.torch_file({**right, name: array}))
            mistakes = rnnshapes.verify(against=path, **options).mistakes
            place = "kernel" if "weight_ih" in name else "recurrent_kernel"
            where = {(m.where.array, m.where.direction == "backward") for m in mistakes}
            at_place = where == {(place, name.endswith("_reverse"))}
            verdict = "missed" if not mistakes else "located" if at_place else "elsewhere"
            counts[f"wrong, {verdict}"] += 1
            if verdict != "located":
                print(f"seed {seed}: {kind} in {name}: {verdict}, {[m.id for m in mistakes]}")
            elif ids and mistakes[0].id in ids:
                counts["wrong, named"] += 1
    print(dict(counts))
    return int(bool(counts["false alarm"] + counts["wrong, missed"] + counts["wrong, elsewhere"]))


if __name__ == "__main__":
    sys.exit(main())
