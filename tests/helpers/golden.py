"""What a golden file has to hold, computed by hand, and the arrays of a C header."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from tests.helpers.activations import sigmoid

SIZES = {"N": 2, "T": 6, "D": 4, "M": 5, "K": 3}
CELLS = [
    {"cell": "simple"},
    {"cell": "simple", "use_bias": False, "activation": "relu"},
    {"cell": "lstm"},
    {"cell": "lstm", "use_bias": False},
    {"cell": "gru"},
    {"cell": "gru", "use_bias": False},
    {"cell": "gru", "reset_after": False},
    {"cell": "gru", "reset_after": False, "use_bias": False},
]
WAYS = [{}, {"go_backwards": True}, {"bidirectional": True}]
Arrays = dict[str, np.ndarray]


def simple_step(w: Any, x: np.ndarray, s: Arrays, options: Any) -> Arrays:
    """h = tanh(x Wx + bh + h Wh), with all that is in between."""
    made = {"x Wx": x @ w["kernel"], "h Wh": s["h"] @ w["recurrent_kernel"]}
    z = made["x Wx"] + w.get("bias", 0) + made["h Wh"]
    made["x Wx + bh + h Wh" if "bias" in w else "x Wx + h Wh"] = z
    return made | {"h": np.maximum(z, 0) if options.get("activation") else np.tanh(z)}


def lstm_step(w: Any, x: np.ndarray, s: Arrays, options: Any) -> Arrays:
    """The textbook's LSTM, gates i, f, c, o."""
    made = {"x Wx": x @ w["kernel"], "h Wh": s["h"] @ w["recurrent_kernel"]}
    z = np.split(made["x Wx"] + made["h Wh"] + w.get("bias", 0), 4, axis=-1)
    made |= {f"z_{gate}": part for gate, part in zip("ifco", z, strict=True)}
    i, f, o = (sigmoid(z[place]) for place in (0, 1, 3))
    c = f * s["c"] + i * np.tanh(z[2])
    gates = {"gate_i": i, "gate_f": f, "gate_c": np.tanh(z[2]), "gate_o": o}
    return made | gates | {"c": c, "h": o * np.tanh(c)}


def gru_step(w: Any, x: np.ndarray, s: Arrays, options: Any) -> Arrays:
    """The textbook's GRU, gates z, r, h, in both forms."""
    Wh = w["recurrent_kernel"]
    after = options.get("reset_after", True)
    bx, bh = w["bias"] if "bias" in w and after else (w.get("bias", 0), 0)
    made = {"x Wx": x @ w["kernel"]}
    x_z, x_r, x_h = np.split(made["x Wx"] + bx, 3, axis=-1)
    made |= {"x_z": x_z, "x_r": x_r, "x_h": x_h}
    if after:
        made["h Wh"] = s["h"] @ Wh
        h_z, h_r, h_h = np.split(made["h Wh"] + bh, 3, axis=-1)
        made |= {"h_z": h_z, "h_r": h_r, "h_h": h_h}
        names = ("h_z", "h_r", "r × h_h")
    else:
        W_z, W_r, W_h = np.split(Wh, 3, axis=-1)
        names = ("h Wh_z", "h Wh_r", "(r × h) Wh_h")
        h_z, h_r = made[names[0]], made[names[1]] = s["h"] @ W_z, s["h"] @ W_r
    z, r = sigmoid(x_z + h_z), sigmoid(x_r + h_r)
    inner = r * h_h if after else (r * s["h"]) @ W_h
    made |= {} if after else {"r × h": r * s["h"], names[2]: inner}
    sums = (x_z + h_z, x_r + h_r, x_h + inner)
    made |= {f"x_{g} + {n}": v for g, n, v in zip("zrh", names, sums, strict=True)}
    g = np.tanh(sums[2])
    return made | {"gate_z": z, "gate_r": r, "gate_h": g, "h": z * s["h"] + (1 - z) * g}


STEPS = {"simple": simple_step, "lstm": lstm_step, "gru": gru_step}


def by_hand(
    found: Arrays,
    group: str,
    x: np.ndarray,
    cell: str,
    *,
    reverse: bool = False,
    mask: np.ndarray | None = None,
    start: Arrays | None = None,
    **options: Any,
) -> Arrays:
    """A loop over time in plain NumPy, from the written weights: each array (N, T, units)."""
    names = (name for name in found if name.startswith(f"{group}/"))
    w = {n.removeprefix(f"{group}/"): found[n].astype("float64") for n in names}
    units = len(w["recurrent_kernel"])
    s = start or {key: np.zeros((len(x), units)) for key in "hc"}
    steps: list[Any] = [None] * x.shape[1]
    for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
        made = STEPS[cell](w, x[:, t], s, options)
        if mask is not None:
            other = {key: s[key] if key in "hc" else np.nan for key in made}
            made = {k: np.where(mask[:, t, None], v, other[k]) for k, v in made.items()}
        s, steps[t] = made, made
    return {f"{group}.{key}": np.stack([made[key] for made in steps], axis=1) for key in steps[0]}


def compare(found: Arrays, expected: Arrays) -> None:
    """Each number, within rounding of float64."""
    for name, values in expected.items():
        assert found[name].dtype == "float64"
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-14, err_msg=name)


#: The strictest options of C compilers.
WARNINGS = ("-Wall", "-Wextra", "-pedantic", "-Werror")


def from_header(text: str) -> dict[str, np.ndarray]:
    """The numbers of each array, by the name in the comment in front of it."""
    found = {}
    sizes = dict(re.findall(r"#define (\w+) (\d+)", text))
    pattern = r"/\*\s+(.*?): .*?\*/\s+static const ([\w ]+?) (\w+)(\S*|(?:\[[^=]*\])) = ([^;]*);"
    for name, kind, _, shape, numbers in re.findall(pattern, text, re.DOTALL):
        axes = [
            math.prod(int(sizes.get(factor, factor)) for factor in axis.split(" * "))
            for axis in re.findall(r"\[(.*?)\]", shape)
        ]
        words = numbers.replace("{", " ").replace("}", " ").replace(",", " ").split()
        values = [
            float(word.lower().removesuffix("f") if kind == "float" else word) for word in words
        ]
        dtype = {"float": "float32", "double": "float64", "int": "int32"}.get(kind, "bool")
        found[name] = np.array(values).astype(dtype).reshape(axes)
    return found
