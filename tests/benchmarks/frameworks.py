"""Weight files that PyTorch and ONNX write, computed by rnnshapes and by their own programs.

Random networks of PyTorch: each module, 1 to 3 layers, one direction or both, with bias and
without, with projection; every output at every step. Random operators of ONNX, as ONNX Runtime
computes them: each direction, activations with constants, clip, peepholes, input_forget and
linear_before_reset. Run: ``python -m tests.benchmarks.frameworks [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
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


ACTIVATIONS = ("Tanh", "Sigmoid", "HardSigmoid", "Softsign", "Elu", "LeakyRelu", "ScaledTanh")
#: How many constants alpha and beta each activation takes.
CONSTANTS = {"HardSigmoid": (1, 1), "Elu": (1, 0), "LeakyRelu": (1, 0), "ScaledTanh": (1, 1)}


def onnx_case(rng: np.random.Generator, folder: Path) -> tuple[str, float]:
    """Save a random operator; return its dtype and how far rnnshapes is from ONNX Runtime."""
    kind = str(rng.choice(["RNN", "LSTM", "GRU"]))
    D, M, n, steps = (int(size) for size in rng.integers(1, [9, 9, 4, 13]))
    direction = str(rng.choice(["forward", "reverse", "bidirectional"]))
    dirs, gates = 1 + (direction == "bidirectional"), {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    weights = {"W": (dirs, gates * M, D), "R": (dirs, gates * M, M)}
    if rng.integers(3):
        weights["B"] = (dirs, 2 * gates * M)
    options: dict[str, Any] = {"hidden_size": M, "direction": direction}
    if kind == "LSTM" and rng.integers(2):
        weights["P"] = (dirs, 3 * M)
        options["input_forget"] = int(rng.integers(2))
    if kind == "GRU":
        options["linear_before_reset"] = int(rng.integers(2))
    if rng.integers(3) == 0:
        options["clip"] = float(rng.uniform(0.2, 2))
    if rng.integers(2):
        number = {"RNN": 1, "LSTM": 3, "GRU": 2}[kind] * dirs
        names = [str(name) for name in rng.choice(ACTIVATIONS, number)]
        taken = np.array([CONSTANTS.get(name, (0, 0)) for name in names]).sum(axis=0)
        options["activations"] = names
        if rng.integers(3) or "ScaledTanh" in names:  # which has no default
            for name, number in zip(("activation_alpha", "activation_beta"), taken, strict=True):
                options |= {name: rng.uniform(0.1, 0.9, number).tolist()} if number else {}
    arrays = {k: rng.uniform(-0.7, 0.7, shape).astype("float32") for k, shape in weights.items()}
    x = rng.standard_normal((n, steps, D)).astype("float32")
    path = folder / "m.onnx"
    onnx.save(onnx_model(kind, arrays, options), path)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        path.read_bytes(), quiet, providers=["CPUExecutionProvider"]
    )
    (Y,) = session.run(None, {"X": x.swapaxes(0, 1)})  # (T, dirs, N, M)
    trace = rnnshapes.trace(path, x=x, show="all")
    found = np.stack([layer.states["h"] for layer in trace.layers])  # (dirs, N, T, M)
    largest = np.abs(Y).max()
    if not largest < 1e6:  # activations without bounds, in gates
        return "float32", 0.0
    return "float32", float(np.abs(found.transpose(2, 0, 1, 3) - Y).max() / max(1, largest))


def onnx_model(
    kind: str, arrays: dict[str, np.ndarray], options: dict[str, Any]
) -> onnx.ModelProto:
    """Return a model of one operator."""
    inputs = ["X", "W", "R", "B" if "B" in arrays else ""]
    inputs += ["", "", "", "P"] if "P" in arrays else []
    real = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, ["Y"], **options)],
        "layer",
        [onnx.helper.make_tensor_value_info("X", real, ["T", "N", arrays["W"].shape[2]])],
        [onnx.helper.make_tensor_value_info("Y", real, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = onnx.helper.make_opsetid("", 22)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)


CASES = {
    f"PyTorch {torch.__version__}": pytorch_case,
    f"ONNX Runtime {onnxruntime.__version__}": onnx_case,
}


def main() -> int:
    """Run, and print the largest differences; status 1 if one is too large."""
    count, failed = int(sys.argv[1]) if sys.argv[1:] else 400, False
    for framework, case in CASES.items():
        worst: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as name:
            for seed in range(count):
                torch.manual_seed(seed)
                dtype, difference = case(np.random.default_rng(seed), Path(name))
                if not difference <= MOST[dtype]:
                    print(f"seed {seed}: {dtype}, {difference:.1e}")
                    failed = True
                worst[dtype] = max(worst.get(dtype, 0.0), difference)
        texts = [f"{dtype} by at most {value:.1e}" for dtype, value in sorted(worst.items())]
        print(f"{framework}, {count} networks: differs in {', in '.join(texts)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
