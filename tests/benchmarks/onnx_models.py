"""Keras models that were converted to ONNX, run by ONNX Runtime and by Keras.

Random networks: one to three recurrent layers of any cell, in one direction, in reverse or in
both, with other activations, joined in any way, with a head at each step or at the last. Then the
models of the test suite that can be converted. Needs ONNX Runtime.
Run: ``python -m tests.benchmarks.onnx_models [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
from keras import layers as la

import rnnshapes
from rnnshapes import UnsupportedError
from tests.helpers.models import MODELS, OPERATIONS, randomized

#: Without softplus, which overflows above 88 in the recurrent operators of ONNX Runtime 1.32.
ACTIVATIONS = ("tanh", "sigmoid", "relu", "softsign", "elu")
#: The largest difference, of the largest number or of 1.
LARGEST = 2e-5


def layer(rng: np.random.Generator, *, sequences: bool) -> Any:
    """Return a random recurrent layer."""
    kind = [la.SimpleRNN, la.LSTM, la.GRU][rng.integers(3)]
    options: dict[str, Any] = {"return_sequences": sequences, "use_bias": rng.random() < 0.8}
    if rng.random() < 0.4:
        options["activation"] = str(rng.choice(ACTIVATIONS))
    if kind is not la.SimpleRNN and rng.random() < 0.4:
        options["recurrent_activation"] = "hard_sigmoid"
    if kind is la.GRU:
        options["reset_after"] = bool(rng.integers(2))
    both = rng.random() < 0.4
    made = kind(int(rng.integers(1, 9)), go_backwards=not both and rng.random() < 0.3, **options)
    mode = str(rng.choice(["concat", "sum", "mul", "ave"]))
    return la.Bidirectional(made, merge_mode=mode) if both else made


def network(rng: np.random.Generator) -> keras.Model:
    """Return a random model."""
    x = y = keras.Input((None, int(rng.integers(1, 9))))
    count, sequences = int(rng.integers(1, 4)), bool(rng.integers(2))
    for number in range(count):
        y = layer(rng, sequences=sequences or number < count - 1)(y)
    head = str(rng.choice(["linear", "softmax", "tanh", "gelu", "silu", "hard_sigmoid"]))
    return keras.Model(x, la.Dense(int(rng.integers(1, 9)), head)(y))


def models(count: int) -> Iterator[tuple[str, keras.Model]]:
    """Yield random models, and those of the test suite."""
    for seed in range(count):
        model = network(np.random.default_rng(seed))
        yield f"seed {seed}", model
        keras.utils.clear_session()
    for name, make in {**MODELS, **OPERATIONS}.items():
        yield name, make()


def error(model: keras.Model, path: Path) -> float:
    """Return the largest relative difference between both, for random inputs."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    rng, xs = np.random.default_rng(0), {}
    for each, tensor in zip(session.get_inputs(), model.inputs, strict=True):
        shape = (3, *(size or 6 for size in tensor.shape[1:]))
        is_index = "int" in each.type
        xs[each.name] = (
            rng.integers(0, 4, shape) if is_index else np.float32(rng.normal(size=shape))
        )
    arrays = list(xs.values())
    expected = keras.tree.flatten(model(arrays if len(arrays) > 1 else arrays[0]))
    errors = []
    for array, own in zip(session.run(None, xs), expected, strict=True):
        values = np.asarray(own)
        assert array.shape == values.shape
        errors.append(np.abs(array - values).max() / max(1, np.abs(values).max()))
    return float(max(errors))


def main() -> int:
    """Run, and print how many are equal; status 1 if one is not."""
    count = int(sys.argv[1]) if sys.argv[1:] else 400
    counts: Counter[str] = Counter()
    largest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        for name, model in models(count):
            try:
                rnnshapes.convert(randomized(model), path)
            except UnsupportedError as reason:
                counts["refused"] += 1
                if name.startswith("seed"):
                    print(f"{name}: {reason}")
                continue
            difference = error(model, path)
            largest = max(largest, difference)
            counts["equal" if difference <= LARGEST else "different"] += 1
            if difference > LARGEST:
                print(f"{name}: {difference:.1e}")
    version = onnxruntime.__version__
    print(f"ONNX Runtime {version}: {dict(counts)}, largest difference {largest:.1e}")
    return int(bool(counts["different"]))


if __name__ == "__main__":
    sys.exit(main())
