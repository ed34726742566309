"""Weight files that PyTorch and ONNX write, computed by rnnshapes and by their own programs.

Random networks of PyTorch: each module, 1 to 3 layers, one direction or both, with bias and
without, with projection. Random operators of ONNX, as ONNX Runtime computes them: each direction,
activations with constants, clip, peepholes, input_forget and linear_before_reset. Each number is
compared with a bound of what rounding can do: h and c at every step of every layer, one step from
given states; and the whole run, its outputs at every step and its last states. The bound is proven
but for the error of each activation function, which is measured.
Run: ``python -m tests.benchmarks.frameworks [NETWORKS]``.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import torch

import rnnshapes
from rnnshapes.forward.numpy_run import numpy_outputs
from rnnshapes.forward.scan import states_before
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.session import open_session
from rnnshapes.verification.bounds import bounded_steps
from tests.helpers import bounded_run, foreign

KINDS = {"simple": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
#: Networks of larger states are left out.
LARGEST = 1e6
#: States by name, each (directions, N, M).
States = Mapping[str, np.ndarray]
#: Takes the number of a layer, x (N, D), and states; returns those after one step.
Step = Callable[[int, np.ndarray, States], States]


class Checks(NamedTuple):
    """The largest difference / bound of single steps and of whole runs, each with its count.

    ``dtype`` is that of the computation, ``bound`` the largest bound of a whole run.
    """

    dtype: str
    steps: tuple[float, int]
    run: tuple[float, int]
    bound: float


class Opened(NamedTuple):
    """The network of a file, its weights, and its run in NumPy."""

    network: Network
    weights: Weights
    trace: rnnshapes.Trace


def opened(path: Path, x: np.ndarray) -> Opened:
    """Return what is needed of a file; the trace is the one that users get."""
    with open_session(path, x=x) as session:
        weights = session.weights()
        return Opened(session.network, weights, rnnshapes.trace(path, x=x, show="all"))


def step_checks(file: Opened, x: np.ndarray, step: Step, ops: BoundedOps) -> tuple[float, int]:
    """Compare one step of each layer from each of its states, rounded to the dtype of x."""
    ours = numpy_outputs(file.network, file.weights, [x])
    traced = {layer.name: layer.states for layer in file.trace.layers}
    checks, precision = [], PRECISIONS[str(x.dtype)]
    for number, node in enumerate(file.network.recurrent):
        tap = node.sources[0]
        inputs = ours.values[file.network.nodes[tap.node].name][tap.output].astype(x.dtype)
        n, t = inputs.shape[:2]
        before = {
            name: {
                key: values.astype(x.dtype)
                for key, values in states_before(direction, traced[name], {}).items()
            }
            for name, direction in node.scans
        }
        keys = next(iter(before.values()))
        given = {key: np.stack([b[key] for b in before.values()]) for key in keys}
        flat = {key: v.reshape(len(v), n * t, -1) for key, v in given.items()}
        after = step(number, inputs.reshape(n * t, -1), flat)
        for index, (name, direction) in enumerate(node.scans):
            weights = vars(bind(direction.name, file.weights, "float64"))
            w = SimpleNamespace(**{k: Bounded.exact(v, precision) for k, v in weights.items()})
            with np.errstate(over="ignore", invalid="ignore"):
                values, bounds = bounded_steps(
                    direction, inputs, before[name], w, precision, ops=ops
                )
            for key, states in after.items():
                expected = Bounded(values[key], bounds[key], precision)
                actual = states[index].reshape(values[key].shape)
                checks.append(bounded_run.ratio(actual, expected))
    return bounded_run.largest(checks)


def run_checks(
    file: Opened, x: np.ndarray, outputs: Mapping[str, np.ndarray], ops: BoundedOps
) -> tuple[tuple[float, int], float]:
    """Compare a whole run: outputs and last states, by ``RECURRENCE.STATE``, or ``y_hat``.

    Returns:
        The largest difference / bound with the count of numbers, and the largest bound.
    """
    run = bounded_run.run(file.network, file.weights, [x], str(x.dtype), ops)
    traced = {layer.name: layer for layer in file.trace.layers}
    checks, bounds = [], []
    for name, actual in outputs.items():
        if name == "y_hat":
            ours, bounded = file.trace.y_hat, run.outputs[0].error
        else:
            layer, key = name.rsplit(".", 1)
            ours, bounded = traced[layer].states[key], run.states[layer][key].error.swapaxes(0, 1)
        assert ours is not None
        if actual.ndim < ours.ndim:
            end = 0 if traced[layer].reverse else -1
            ours, bounded = ours[:, end], bounded[:, end]
        checks.append(bounded_run.ratio(actual, Bounded(ours, bounded, PRECISIONS[str(x.dtype)])))
        bounds.append(np.max(bounded, initial=0.0, where=np.isfinite(bounded)))
    return bounded_run.largest(checks), float(max(bounds))


def pytorch_case(rng: np.random.Generator, folder: Path) -> Checks:
    """Save a random module in PyTorch, and compare its numbers."""
    cell, dtype = str(rng.choice(list(KINDS))), str(rng.choice(["float64", "float32"]))
    D, M, n, steps = (int(size) for size in rng.integers(1, [9, 9, 4, 13]))
    options: dict[str, Any] = {
        "num_layers": int(rng.integers(1, 4)),
        "bidirectional": bool(rng.integers(2)),
        "bias": bool(rng.integers(2)),
    }
    if cell == "lstm" and M > 1 and rng.integers(2):
        options["proj_size"] = int(rng.integers(1, M))
    module = pytorch_module(cell, D, M, dtype, **options)
    weights = {f"net.{name}": value for name, value in module.state_dict().items()}
    if rng.integers(2):
        path = folder / "m.pt"
        torch.save({"model": weights, "epoch": 3} if rng.integers(2) else weights, path)
    else:
        path = folder / "m.safetensors"
        path.write_bytes(foreign.safetensors({k: v.numpy() for k, v in weights.items()}))
    x = rng.standard_normal((n, steps, D)).astype(dtype)
    file = opened(path, x)
    with torch.inference_mode():
        output, last = module(torch.from_numpy(x))
    names = [name for node in file.network.recurrent for name, _ in node.scans]
    actual = {"y_hat": output.numpy()}
    for key, states in zip("hc", last if cell == "lstm" else (last,), strict=False):
        actual |= {f"{name}.{key}": v for name, v in zip(names, states.numpy(), strict=True)}

    def step(number: int, inputs: np.ndarray, states: States) -> States:
        one = pytorch_module(cell, inputs.shape[1], M, dtype, **{**options, "num_layers": 1})
        of_layer = ((k, v) for k, v in module.state_dict().items() if f"_l{number}" in k)
        one.load_state_dict({k.replace(f"_l{number}", "_l0"): v for k, v in of_layer})
        given = tuple(torch.from_numpy(states[key]) for key in "hc" if key in states)
        with torch.inference_mode():
            x_t = torch.from_numpy(inputs[:, None])
            _, after = one(x_t, given if cell == "lstm" else given[0])
        after = after if cell == "lstm" else (after,)
        return {key: value.numpy() for key, value in zip(states, after, strict=True)}

    ops = BoundedOps()
    return Checks(dtype, step_checks(file, x, step, ops), *run_checks(file, x, actual, ops))


def pytorch_module(cell: str, D: int, M: int, dtype: str, **options: Any) -> torch.nn.Module:
    """Return a module with random weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = KINDS[cell](D, M, batch_first=True, **options)
    return module.to(getattr(torch, dtype))


ACTIVATIONS = ("Tanh", "Sigmoid", "HardSigmoid", "Softsign", "Elu", "LeakyRelu", "ScaledTanh")
#: How many constants alpha and beta each activation takes.
CONSTANTS = {"HardSigmoid": (1, 1), "Elu": (1, 0), "LeakyRelu": (1, 0), "ScaledTanh": (1, 1)}


def random_operator(
    rng: np.random.Generator, D: int, M: int
) -> tuple[str, dict[str, np.ndarray], dict[str, Any]]:
    """Return the kind of an operator, its arrays, and its attributes."""
    kind = str(rng.choice(["RNN", "LSTM", "GRU"]))
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
    return kind, arrays, options


def onnx_case(rng: np.random.Generator, folder: Path) -> Checks | None:
    """Save a random operator, and compare what ONNX Runtime computes.

    Nothing is compared where activations without bounds let numbers grow beyond all.
    """
    D, M, n, steps = (int(size) for size in rng.integers(1, [9, 9, 4, 13]))
    kind, arrays, options = random_operator(rng, D, M)
    x = rng.standard_normal((n, steps, D)).astype("float32")
    path = folder / "m.onnx"
    onnx.save(onnx_model(kind, arrays, options), path)
    file = opened(path, x)
    numbers = [np.abs(v).max() for layer in file.trace.layers for v in layer.states.values()]
    if not max(numbers) < LARGEST:
        return None
    names = [layer.name for layer in file.trace.layers]
    Y, *last = runtime(path).run(None, {"X": x.swapaxes(0, 1)})  # Y is (T, dirs, N, M)
    actual = {f"{name}.h": Y[:, number].swapaxes(0, 1) for number, name in enumerate(names)}
    for key, states in zip("hc", last, strict=False):
        if key == "c":
            actual |= {f"{name}.c": states[number] for number, name in enumerate(names)}
    stepwise = folder / "step.onnx"
    onnx.save(onnx_model(kind, arrays, options, with_states=True), stepwise)
    session = runtime(stepwise)

    def step(number: int, inputs: np.ndarray, states: States) -> States:
        given = {f"initial_{key}": values for key, values in states.items()}
        _, *after = session.run(None, {"X": inputs[None], **given})
        return dict(zip(states, after, strict=True))

    ops = bounded_run.RuntimeOps()
    return Checks("float32", step_checks(file, x, step, ops), *run_checks(file, x, actual, ops))


def runtime(path: Path) -> onnxruntime.InferenceSession:
    """Return a session that prints no warnings."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])


def onnx_model(
    kind: str,
    arrays: dict[str, np.ndarray],
    options: dict[str, Any],
    *,
    with_states: bool = False,
) -> onnx.ModelProto:
    """Return a model of one operator, whose initial states may be inputs."""
    real, M = onnx.TensorProto.FLOAT, options["hidden_size"]
    keys = "hc" if kind == "LSTM" else "h"
    states = [f"initial_{key}" for key in keys] if with_states else []
    inputs = ["X", "W", "R", "B" if "B" in arrays else "", "", *states]
    inputs += [""] * (7 - len(inputs)) + ["P"] if "P" in arrays else []
    outputs = ["Y", *(f"Y_{key}" for key in keys)]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, inputs, outputs, **options)],
        "layer",
        [
            value("X", real, ["T", "N", arrays["W"].shape[2]]),
            *(value(name, real, [len(arrays["W"]), "N", M]) for name in states),
        ],
        [value(name, real, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = onnx.helper.make_opsetid("", 22)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)


CASES = {
    f"PyTorch {torch.__version__}": pytorch_case,
    f"ONNX Runtime {onnxruntime.__version__}": onnx_case,
}


def main() -> int:
    """Run, and print the largest ratios; status 1 if one is above 1."""
    count, failed = int(sys.argv[1]) if sys.argv[1:] else 400, False
    for framework, case in CASES.items():
        found: list[Checks] = []
        with tempfile.TemporaryDirectory() as name:
            for seed in range(count):
                torch.manual_seed(seed)
                checks = case(np.random.default_rng(seed), Path(name))
                if checks is None:
                    continue
                found.append(checks)
                if not all(0 <= ratio <= 1 for ratio, _ in (checks.steps, checks.run)):
                    print(f"seed {seed}: {checks}", flush=True)
                    failed = True
        for dtype in sorted({checks.dtype for checks in found}):
            own = [checks for checks in found if checks.dtype == dtype]
            print(f"{framework}, {len(own)} networks in {dtype}: largest difference / bound")
            for kind in ("steps", "run"):
                ratio, compared = bounded_run.largest([getattr(checks, kind) for checks in own])
                print(f"  {kind}: {ratio:.2g}, of {compared:,} numbers")
            print(f"  largest bound of a run {max(checks.bound for checks in own):.1g}")
        if len(found) < count:
            print(f"  left out {count - len(found)}, with states above {LARGEST:.0e}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
