"""Programs in the layouts of PyTorch and ONNX, and the weights of a golden file in these layouts.

The programs are written as the documentation of ``torch.nn.RNN``, ``LSTM`` and ``GRU`` and of
ONNX's operators of these names have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from rnnshapes.cells.registry import BY_NAME
from tests.helpers.activations import sigmoid
from tests.helpers.pages import table

Array = np.ndarray

#: The cells that PyTorch and ONNX have, too.
CASES = ["simple", "lstm", "gru"]


# --- PyTorch ------------------------------------------------------------------------------------


def torch_step(cell: str, x: Array, h: Array, c: Array, w: Mapping[str, Array], end: str) -> Any:
    """One step for x (N, D) as ``torch.nn`` documents it: h and c."""
    given = x @ w[f"weight_ih_l0{end}"].T + w[f"bias_ih_l0{end}"]
    state = h @ w[f"weight_hh_l0{end}"].T + w[f"bias_hh_l0{end}"]
    if cell == "simple":
        return np.tanh(given + state), c
    if cell == "lstm":
        i, f, g, o = np.split(given + state, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (ir, iz, in_), (hr, hz, hn) = np.split(given, 3, axis=1), np.split(state, 3, axis=1)
    r, z = sigmoid(ir + hr), sigmoid(iz + hz)
    n = np.tanh(in_ + r * hn)
    return (1 - z) * n + z * h, c


def torch_scan(cell: str, x: Array, w: Mapping[str, Array], end: str = "") -> Array:
    """``output`` (T, N, M) of x (T, N, D); weights that end in ``_reverse`` read from the end."""
    h = c = np.zeros((x.shape[1], w[f"weight_hh_l0{end}"].shape[1]))
    order = range(len(x))[:: -1 if end else 1]
    found = {}
    for t in order:
        h, c = torch_step(cell, x[t], h, c, w, end)
        found[t] = h
    return np.stack([found[t] for t in range(len(x))])


# --- ONNX ---------------------------------------------------------------------------------------


def onnx_step(
    cell: str, x: Array, h: Array, c: Array, w: Mapping[str, Array], d: int, before: int
) -> Any:
    """One step for x (N, D) as the operator's equations have it: h and c of direction ``d``."""
    W, R = w["W"][d], w["R"][d]
    Wb, Rb = np.split(w["B"][d], 2)
    if cell == "simple":
        return np.tanh(x @ W.T + h @ R.T + Wb + Rb), c
    if cell == "lstm":
        i, o, f, g = np.split(x @ W.T + h @ R.T + Wb + Rb, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (Wz, Wr, Wh), (Rz, Rr, Rh) = np.split(W, 3), np.split(R, 3)
    (Wbz, Wbr, Wbh), (Rbz, Rbr, Rbh) = np.split(Wb, 3), np.split(Rb, 3)
    z = sigmoid(x @ Wz.T + h @ Rz.T + Wbz + Rbz)
    r = sigmoid(x @ Wr.T + h @ Rr.T + Wbr + Rbr)
    inner = r * (h @ Rh.T + Rbh) if before else (r * h) @ Rh.T + Rbh
    return (1 - z) * np.tanh(x @ Wh.T + inner + Wbh) + z * h, c


def onnx_scan(
    cell: str, x: Array, w: Mapping[str, Array], direction: str = "forward", before: int = 0
) -> Array:
    """``Y`` (T, dirs, N, M) of x (T, N, D); ``before`` is linear_before_reset."""
    reversals = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}[direction]
    found = np.zeros((len(x), len(reversals), x.shape[1], w["R"].shape[2]))
    for d, way in enumerate(reversals):
        h = c = np.zeros(found.shape[2:])
        for t in range(len(x))[::way]:
            h, c = onnx_step(cell, x[t], h, c, w, d, before)
            found[t, d] = h
    return found


# --- The table ----------------------------------------------------------------------------------

TABLE = {
    name: dict(zip(("Keras", "PyTorch", "ONNX"), row, strict=True))
    for name, *row in table("docs/layouts", "layer")
}
OTHERS = ("PyTorch", "ONNX")
#: What PyTorch calls the candidate.
MEANT = {"LSTM": {"g": "c"}, "GRU": {"n": "h"}}


def order(kind: str, where: str) -> tuple[str, ...]:
    """The order of gates in a column of the table, by Keras's letters."""
    cell = TABLE[f"{kind}, order of gates"][where]
    letters, _, said = cell.partition(" (")
    if said:
        named = dict([said.rstrip(")").split(" is ")])
        assert named == MEANT[kind]
        letters = letters.translate(str.maketrans(named))
    return tuple(letters.split())


# --- Weights --------------------------------------------------------------------------------------


def ported(cell: str, array: Array, where: str) -> Array:
    """Its blocks of columns in the order that the table has for PyTorch or ONNX."""
    parts = BY_NAME[cell].gate_names
    if not parts:
        return array
    blocks = dict(zip(parts, np.split(array, len(parts), axis=-1), strict=True))
    return np.concatenate([blocks[gate] for gate in order(cell.upper(), where)], axis=-1)


def rows(bias: Array) -> Array:
    """That of the input and that of the state, which is zeros where Keras has one for both."""
    return bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])


def in_onnx(cell: str, arrays: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    """The weights of one direction or two by the rows of the table."""

    def turned(name: str) -> Array:
        return ported(cell, arrays[name], "ONNX").T

    biases = [ported(cell, rows(arrays[f"{name}/bias"]), "ONNX") for name in names]
    return {
        "W": np.stack([turned(f"{name}/kernel") for name in names]),
        "R": np.stack([turned(f"{name}/recurrent_kernel") for name in names]),
        "B": np.stack([both.reshape(-1) for both in biases]),
    }


def in_pytorch(cell: str, arrays: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    """The same; what reads from the end has names of its own."""
    found = {}
    for name, end in zip(names, ("", "_reverse"), strict=False):
        found[f"weight_ih_l0{end}"] = ported(cell, arrays[f"{name}/kernel"], "PyTorch").T
        found[f"weight_hh_l0{end}"] = ported(cell, arrays[f"{name}/recurrent_kernel"], "PyTorch").T
        both = ported(cell, rows(arrays[f"{name}/bias"]), "PyTorch")
        places = re.findall(r"`(\w+)` \(3M,\) is row (\d)", TABLE["GRU, biases"]["PyTorch"])
        assert len(places) == 2
        found |= {f"{bias}{end}": both[int(row)] for bias, row in places}
    return found
