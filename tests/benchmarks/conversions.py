"""Random Keras models, converted for each framework, and back where there is a way.

Random networks: one to three recurrent layers of any cell, in one direction, in reverse or in
both, with other activations, joined in any way, with a head at each step or at the last. Then the
models of the test suite, for ONNX. What is written holds the model's own numbers: those that
``convert`` brings back, and those in Flax's parameters and in the C header, are equal bit for bit.
ONNX Runtime runs the ONNX file, and PyTorch its own modules with the weights; each number is
compared with a proven bound of what rounding can do in the whole run.
Run: ``python -m tests.benchmarks.conversions [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import torch
from keras import layers as la

import rnnshapes
from rnnshapes import UnsupportedError
from rnnshapes.load.array_files import read_c_header
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.safetensors import read_tensors
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.session import open_session
from tests.helpers import bounded_run
from tests.helpers.models import MODELS, OPERATIONS, randomized

#: Without softplus, which overflows above 88 in the recurrent operators of ONNX Runtime 1.32.
ACTIVATIONS = ("tanh", "sigmoid", "relu", "softsign", "elu")
#: The largest difference, of the largest number or of 1, in models of the test suite with masks or
#: initial states, for whose whole runs there is no bound.
LARGEST = 2e-5
TORCH = {"SimpleRNN": torch.nn.RNN, "LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU}
#: Flax's names of the gates, in the order of Keras's blocks.
FLAX = {"SimpleRNN": ("",), "LSTM": ("i", "f", "g", "o"), "GRU": ("z", "r", "n")}


def layer(rng: np.random.Generator, *, sequences: bool, plain: bool) -> Any:
    """Return a random recurrent layer; a plain one has no options that PyTorch lacks."""
    kind = [la.SimpleRNN, la.LSTM, la.GRU][rng.integers(3)]
    options: dict[str, Any] = {"return_sequences": sequences, "use_bias": rng.random() < 0.8}
    if not plain and rng.random() < 0.4:
        options["activation"] = str(rng.choice(ACTIVATIONS))
    if not plain and kind is not la.SimpleRNN and rng.random() < 0.4:
        options["recurrent_activation"] = "hard_sigmoid"
    if kind is la.GRU:
        options["reset_after"] = plain or bool(rng.integers(2))
    both = rng.random() < 0.4
    reverse = not (both or plain) and rng.random() < 0.3
    made = kind(int(rng.integers(1, 9)), go_backwards=reverse, **options)
    mode = str(rng.choice(["concat", "sum", "mul", "ave"]))
    return la.Bidirectional(made, merge_mode=mode) if both else made


def network(rng: np.random.Generator) -> keras.Model:
    """Return a random model; one of two has only plain layers."""
    x = y = keras.Input((None, int(rng.integers(1, 9))))
    count, sequences, plain = int(rng.integers(1, 4)), bool(rng.integers(2)), bool(rng.integers(2))
    for number in range(count):
        y = layer(rng, sequences=sequences or number < count - 1, plain=plain)(y)
    head = str(rng.choice(["linear", "softmax", "tanh", "gelu", "silu", "hard_sigmoid"]))
    return keras.Model(x, la.Dense(int(rng.integers(1, 9)), head)(y))


def random_inputs(model: keras.Model, types: Sequence[str]) -> list[np.ndarray]:
    """Return random inputs of some types, of which one may be of indices."""
    rng, xs = np.random.default_rng(0), []
    for kind, tensor in zip(types, model.inputs, strict=True):
        shape = (3, *(size or 6 for size in tensor.shape[1:]))
        is_index = "int" in kind
        xs.append(rng.integers(0, 4, shape) if is_index else np.float32(rng.normal(size=shape)))
    return xs


def runtime_outputs(path: Path, model: keras.Model) -> tuple[list[np.ndarray], list[Any]]:
    """Return random inputs, and the outputs of an ONNX file in ONNX Runtime."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    xs = random_inputs(model, [each.type for each in inputs])
    return xs, session.run(None, {each.name: x for each, x in zip(inputs, xs, strict=True)})


def torch_output(model: keras.Model, arrays: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return what PyTorch's modules compute with the weights of a state_dict."""
    y = torch.from_numpy(x)
    for each in model.layers[1:-1]:
        both = isinstance(each, la.Bidirectional)
        inner = each.forward_layer if both else each
        start = f"{each.name}."
        own = {
            name.removeprefix(start): torch.from_numpy(values)
            for name, values in arrays.items()
            if name.startswith(start)
        }
        options = {"nonlinearity": inner.activation.__name__} if "RNN" in str(type(inner)) else {}
        module = TORCH[type(inner).__name__](
            y.shape[-1],
            inner.units,
            batch_first=True,
            bidirectional=both,
            bias=inner.use_bias,
            **options,
        )
        module.load_state_dict(own)
        y, _ = module(y)
        y = joined(y, each.merge_mode, inner) if both else y if inner.return_sequences else y[:, -1]
    head = model.layers[-1]
    y = y @ torch.from_numpy(arrays[f"{head.name}.weight"]).T
    y = y + torch.from_numpy(arrays[f"{head.name}.bias"])
    return np.asarray(head.activation(y.numpy()))


def joined(y: torch.Tensor, mode: str, inner: Any) -> torch.Tensor:
    """Return the outputs of both directions, (N, T, 2M), joined as Keras joins them."""
    forward, backward = y.chunk(2, dim=-1)
    if not inner.return_sequences:
        forward, backward = forward[:, -1], backward[:, 0]
    if mode == "concat":
        return torch.cat([forward, backward], dim=-1)
    if mode == "mul":
        return forward * backward
    return (forward + backward) / (2 if mode == "ave" else 1)


def flax_is_equal(model: keras.Model, arrays: dict[str, np.ndarray]) -> bool:
    """Return whether the kernels of recurrent layers in Flax's parameters are those of Keras."""
    equal = []
    for each in model.layers[1:-1]:
        both = isinstance(each, la.Bidirectional)
        cells = (each.forward_layer, each.backward_layer) if both else (each,)
        own = {k: v for k, v in arrays.items() if k.startswith(f"{each.name}/")}
        for number, inner in enumerate(cells):
            gates, weights = FLAX[type(inner).__name__], inner.get_weights()
            for kind, kernel in zip("ih", weights, strict=False):
                names = [f"{kind}{gate}/kernel" for gate in gates]
                found = [[v for k, v in own.items() if k.endswith(f"/{name}")] for name in names]
                stored = np.concatenate([values[number] for values in found], axis=-1)
                equal.append(np.array_equal(stored, kernel))
    return all(equal)


def comes_back(model: keras.Model, path: Path) -> bool:
    """Return whether the weights of a file become those of another model, bit for bit."""
    own = model.get_weights()
    other = keras.models.clone_model(model)
    new = path.with_name("new.weights.h5")
    rnnshapes.convert(path, new, like=other)
    other.load_weights(new)
    return all(map(np.array_equal, own, other.get_weights()))


def bounds(model: keras.Model, xs: list[np.ndarray], ops: BoundedOps) -> list[Bounded]:
    """Return the outputs of a model in NumPy, with the bounds of float32.

    Raises ValueError for a model with masks or initial states.
    """
    with open_session(model, x=xs if len(xs) > 1 else xs[0]) as session:
        weights = session.weights()
        return list(bounded_run.run(session.network, weights, xs, "float32", ops).outputs)


def relative_error(model: keras.Model, xs: list[np.ndarray], outputs: list[Any]) -> float:
    """Return the largest difference from Keras, of the largest number or of 1."""
    expected = [np.asarray(y) for y in keras.tree.flatten(model(xs if len(xs) > 1 else xs[0]))]
    pairs = zip(outputs, expected, strict=True)
    return max(float(np.abs(y - own).max() / max(1, np.abs(own).max())) for y, own in pairs)


class Tally:
    """What came of the conversions, by framework."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.checks: dict[str, list[tuple[float, int]]] = {}
        self.failed = False

    def add(self, framework: str, name: str, what: str, *, is_right: bool = True) -> None:
        """Count one conversion."""
        self.counts.setdefault(framework, Counter())[what] += 1
        if not is_right:
            self.failed = True
            print(f"{framework}, {name}: {what}", flush=True)

    def check(self, framework: str, name: str, outputs: list[Any], bounded: list[Bounded]) -> None:
        """Compare the outputs of a framework with the bounds."""
        pairs = zip(outputs, bounded, strict=True)
        found = bounded_run.largest([bounded_run.ratio(y, expected) for y, expected in pairs])
        self.checks.setdefault(framework, []).append(found)
        is_within = found[0] <= 1 and found[1] > 0
        what = "computed within the bound" if is_within else f"beyond the bound: {found}"
        self.add(framework, name, what, is_right=is_within)


def convert_all(tally: Tally, name: str, model: keras.Model, folder: Path) -> None:
    """Convert a random model for each framework, and compare."""
    endings = {"torch": ".safetensors", "onnx": ".onnx", "flax": ".npz", "c": ".h"}
    for framework, ending in endings.items():
        path = folder / f"m{ending}"
        try:
            rnnshapes.convert(model, path)
        except UnsupportedError:
            tally.add(framework, name, "refused")
            continue
        tally.add(framework, name, "converted")
        if framework == "c":
            stored = [np.array(numbers, kind) for _, kind, numbers in read_c_header(path)]
            is_equal = all(map(np.array_equal, stored, model.get_weights()))
            tally.add(framework, name, "equal" if is_equal else "other", is_right=is_equal)
        elif framework == "flax":
            is_equal = flax_is_equal(model, dict(np.load(path)))
            tally.add(framework, name, "equal" if is_equal else "other", is_right=is_equal)
        else:
            is_equal = comes_back(model, path)
            what = "comes back" if is_equal else "comes back otherwise"
            tally.add(framework, name, what, is_right=is_equal)
            if framework == "onnx":
                xs, outputs = runtime_outputs(path, model)
                expected = bounds(model, xs, bounded_run.RuntimeOps())
            else:
                (x,) = random_inputs(model, ["float"])
                source = ByteSource(path)
                arrays = {t.name: t.read().reshape(t.shape) for t in read_tensors(source)}
                source.close()
                with torch.inference_mode():
                    outputs = [torch_output(model, arrays, x)]
                expected = bounds(model, [x], BoundedOps())
            tally.check(framework, name, outputs, expected)


def convert_suite(tally: Tally, folder: Path) -> None:
    """Convert the models of the test suite to ONNX, and compare."""
    path = folder / "m.onnx"
    for name, make in {**MODELS, **OPERATIONS}.items():
        model = randomized(make())
        try:
            rnnshapes.convert(model, path)
        except UnsupportedError:
            tally.add("onnx, models of tests", name, "refused")
            continue
        xs, outputs = runtime_outputs(path, model)
        try:
            expected = bounds(model, xs, bounded_run.RuntimeOps())
        except ValueError:
            error = relative_error(model, xs, outputs)
            what = f"differs by at most {LARGEST}" if error <= LARGEST else f"off by {error:.1e}"
            tally.add("onnx, models of tests", name, what, is_right=error <= LARGEST)
            continue
        tally.check("onnx, models of tests", name, outputs, expected)


def main() -> int:
    """Run, and print what came of it; status 1 if something is wrong."""
    count, tally = int(sys.argv[1]) if sys.argv[1:] else 400, Tally()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            model = randomized(network(np.random.default_rng(seed)), seed)
            convert_all(tally, f"seed {seed}", model, Path(folder))
            keras.utils.clear_session()
        convert_suite(tally, Path(folder))
    print(f"ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}")
    for framework, counts in tally.counts.items():
        print(f"{framework}: {dict(counts)}")
    for framework, checks in tally.checks.items():
        ratio, compared = bounded_run.largest(checks)
        print(f"{framework}: largest difference / bound {ratio:.2g}, of {compared:,} numbers")
    return int(tally.failed)


if __name__ == "__main__":
    sys.exit(main())
