"""Weights carried to PyTorch and ONNX Runtime by the table of layouts, and what these compute.

Networks of random sizes, each cell, forwards, from the end and both; every h at every step is
held against Keras's equations in float64. Run: ``python tests/benchmarks/porting.py [NETWORKS]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import rnnshapes

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.helpers import port_layouts
from tests.helpers.cells import LAYERS

#: The largest difference of h, which is at most 1, that float32 may make in so few steps.
MOST = 1e-5
KINDS = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
Case = Mapping[str, Any]


def drawn(rng: np.random.Generator) -> dict[str, Any]:
    """A network: its sizes, its cell and its options."""
    names, most = ("N", "T", "D", "M", "K"), (4, 12, 8, 12, 4)
    sizes = {name: int(rng.integers(1, n + 1)) for name, n in zip(names, most, strict=True)}
    cell = str(rng.choice(list(KINDS)))
    more = {"reset_after": bool(rng.integers(2))} if cell == "gru" else {}
    ways: list[dict[str, Any]] = [{}, {"go_backwards": True}, {"bidirectional": True}]
    return {**sizes, "cell": cell, **ways[rng.integers(3)], **more}


def in_pytorch(case: Case, x: np.ndarray, w: Mapping[str, np.ndarray]) -> np.ndarray:
    """``output`` (T, N, dirs·M)."""
    kind = getattr(torch.nn, KINDS[case["cell"]])
    layer = kind(case["D"], case["M"], bidirectional=case.get("bidirectional", False))
    layer.load_state_dict({name: torch.from_numpy(a.copy()) for name, a in w.items()})
    with torch.inference_mode():
        output, _ = layer(torch.from_numpy(x))
    return output.numpy()


def in_onnx(case: Case, x: np.ndarray, w: Mapping[str, np.ndarray], layout: int = 0) -> np.ndarray:
    """``Y`` (T, dirs, N, M) as ONNX Runtime's CPU computes it."""
    real = onnx.TensorProto.FLOAT
    options: dict[str, Any] = {"hidden_size": case["M"], "layout": layout}
    ways = {"bidirectional": "bidirectional", "go_backwards": "reverse"}
    options["direction"] = next((way for key, way in ways.items() if key in case), "forward")
    if case["cell"] == "gru":
        options["linear_before_reset"] = int(case.get("reset_after", True))
    node = onnx.helper.make_node(KINDS[case["cell"]], ["X", "W", "R", "B"], ["Y"], **options)
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [onnx.helper.make_tensor_value_info("X", real, x.shape)],
        [onnx.helper.make_tensor_value_info("Y", real, None)],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in w.items()],
    )
    opset = onnx.helper.make_opsetid("", 22)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), quiet, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"X": x})[0]


def differences(case: Case) -> dict[str, float]:
    """How far each library is from the equations, at the most.

    PyTorch has one form of a GRU, and cannot read from the end alone.
    """
    golden = rnnshapes.golden(**case).arrays
    base = LAYERS[case["cell"]]
    names = [base]
    if "bidirectional" in case:
        names = [f"bidirectional/{way}_{base}" for way in ("forward", "backward")]
    x = np.array(golden["x"].swapaxes(0, 1), "float32", order="C")
    h = np.stack([golden[f"{name}.h"].swapaxes(0, 1) for name in names], axis=1)
    Y = in_onnx(case, x, port_layouts.in_onnx(case["cell"], golden, names))
    found = {"ONNX Runtime": float(np.abs(Y - h).max())}
    if case.get("reset_after", True) and "go_backwards" not in case:
        output = in_pytorch(case, x, port_layouts.in_pytorch(case["cell"], golden, names))
        side_by_side = np.concatenate(list(h.swapaxes(0, 1)), axis=-1)
        found["PyTorch"] = float(np.abs(output - side_by_side).max())
    return found


def refused(run: Callable[[], object]) -> bool:
    """Whether ONNX Runtime says that it cannot."""
    try:
        run()
    except Exception as error:  # its classes have no public name
        return "layout" in str(error)
    return False


def layout_1(cell: str) -> Callable[[], object]:
    """A layer that takes (N, T, D)."""
    case = {"N": 2, "T": 4, "D": 3, "M": 5, "cell": cell}
    golden = rnnshapes.golden(**case).arrays
    w = port_layouts.in_onnx(cell, golden, [LAYERS[cell]])
    return lambda: in_onnx(case, golden["x"].astype("float32"), w, layout=1)


def main() -> int:
    """Print the largest difference of each library; status 1 if one is too large."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    rng = np.random.default_rng(0)
    print(f"PyTorch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, {count} networks")
    largest: dict[str, list[float]] = {}
    for _ in range(count):
        case = drawn(rng)
        for library, difference in differences(case).items():
            largest.setdefault(library, []).append(difference)
            if difference > MOST:
                print(f"{library}: {difference:.2e} in {case}")
    for library, found in largest.items():
        print(f"{library}: {len(found)} networks, largest difference of h {max(found):.1e}")
    only_0 = {cell: refused(layout_1(cell)) for cell in KINDS}
    print(f"ONNX Runtime's CPU refuses layout=1: {only_0}")
    return int(max(map(max, largest.values())) > MOST or not all(only_0.values()))


if __name__ == "__main__":
    sys.exit(main())
