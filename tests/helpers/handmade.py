"""Ports by hand: SimpleRNN, LSTM and GRU in plain NumPy, right, or with one mistake or several.

Nothing here uses the package's own cells. Weights are Keras's, by their Keras names.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.network import weights
from tests.helpers import cells

Arrays = dict[str, np.ndarray]


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def _clipped(slope: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: np.clip(z * z.dtype.type(slope) + z.dtype.type(0.5), 0, 1)


def _rational(z: np.ndarray) -> np.ndarray:
    return z * (27 + z * z) / (27 + 9 * z * z)


def _schraudolph(z: np.ndarray) -> np.ndarray:
    """Return sigmoid with exp as the bits of a float32."""
    bits = np.asarray(-z * (2**23 / np.log(2)) + (127 * 2**23 - 366393), np.int32)
    return (1 / (1 + bits.view(np.float32))).astype(z.dtype)


#: 256 values of sigmoid, from -8 to 8.
_TABLE = _sigmoid(np.linspace(-8, 8, 256)).astype("float32")

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "relu": lambda z: np.maximum(z, 0),
    "linear": lambda z: z,
    "hard_sigmoid": _clipped(1 / 6),
    "old_hard_sigmoid": _clipped(0.2),
    "rational_tanh": lambda z: _rational(np.clip(z, -3, 3)),
    "taylor": lambda z: np.clip(z - z**3 / 3 + z**5 * 2 / 15, -1, 1),
    "parabolas": lambda z: np.clip(z, -2, 2) * (1 - np.abs(np.clip(z, -2, 2)) / 4),
    "sigmoid_of_minus_z": lambda z: _sigmoid(-z),
    "sigmoid_of_half_z": lambda z: _sigmoid(z / 2),
    "tanh_of_minus_z": lambda z: np.tanh(-z),
    "tanh_of_twice_z": lambda z: np.tanh(2 * z),
    "tanh_of_lecun": lambda z: z.dtype.type(1.7159) * np.tanh(z * z.dtype.type(2 / 3)),
    "half_of_tanh": lambda z: z.dtype.type(0.5) * (1 + np.tanh(z)),
    "tanh_of_half_z": lambda z: (1 - np.exp(-z)) / (1 + np.exp(-z)),
    "arctan": np.arctan,
    "schraudolph": _schraudolph,
    "softsign": lambda z: (1 + z / (1 + np.abs(z))) / 2,
    "tabled": lambda z: np.tanh(np.rint(z * 12.4375) / 12.4375).astype(z.dtype),
    "tabled_sigmoid": lambda z: _TABLE[np.rint((np.clip(z, -8, 8) + 8) * 15.9375).astype(int)],
}


GATES = {"simple": ("h",), "lstm": ("i", "f", "c", "o"), "gru": ("z", "r", "h")}


@dataclass(frozen=True)
class Port:
    """How an implementation computes; each default is right."""

    cell: str
    dtype: str = "float32"
    activation: str = "tanh"
    recurrent_activation: str = "sigmoid"
    order: tuple[str, ...] = ()
    transposed: tuple[str, ...] = ()
    column_by_column: tuple[str, ...] = ()
    bias: float = 1.0
    rows: str = "both"
    reset_after: bool = True
    more_forget: float = 0.0
    times_forget: float = 1.0
    squashed: bool = True
    squashed_in_place: bool = False
    overwritten: bool = False
    last_unit: bool = True
    z_is_new: bool = False
    resets_input: bool = False
    read_states: tuple[str, str] = ("h", "c")
    units_added_up: bool = False
    order_of_row: int | None = None
    head_bias: bool = True
    carried: bool = False
    zeroed_when_masked: bool = False
    held_when_masked: str = "hc"
    late: int = 0
    reverse: bool = False
    turned_back: bool = False
    put_out_late: int = 0
    over_samples: bool = False
    misread_axes: bool = False
    rounded: str = ""

    def run(
        self,
        weights: Arrays,
        x: np.ndarray,
        mask: np.ndarray | None = None,
        start: np.ndarray | None = None,
        start_c: np.ndarray | None = None,
    ) -> Arrays:
        """h, c of an LSTM, and y_hat of a head, each (N, T, units), in ``dtype``.

        A step that ``mask`` (N, T) leaves out keeps the states; ``start`` and
        ``start_c`` are h and c before the first.
        """
        w = {name: self._read(name, values) for name, values in weights.items()}
        x = x.astype(self.dtype)
        n, t, d = x.shape
        if self.misread_axes:
            x = x.reshape(t, n, d).swapaxes(0, 1)
        if self.over_samples:
            x = x.swapaxes(0, 1)
        if self.late:
            x = _moved(x, self.late)
        x = x[:, ::-1] if self.reverse else x
        found = self._loop(w, x, mask, start, start_c)
        if self.turned_back:
            found = {key: values[:, ::-1] for key, values in found.items()}
        if self.put_out_late:
            found = {key: _moved(values, self.put_out_late) for key, values in found.items()}
        if self.over_samples:
            found = {key: values.swapaxes(0, 1) for key, values in found.items()}
        if "W" in w:
            found["y_hat"] = found["h"] @ w["W"] + (w["b"] if self.head_bias else 0)
        return {key: np.ascontiguousarray(values) for key, values in found.items()}

    def _read(self, name: str, values: np.ndarray) -> np.ndarray:
        """The weights as the port takes them from a file."""
        if self.rounded:
            values = values.astype(self.rounded)
        values = values.astype(self.dtype)
        if name in self.column_by_column:
            values = values.reshape(-1).reshape(values.shape, order="F")
        parts = 1 if name in "Wb" else len(GATES[self.cell])
        if self.units_added_up and name not in "Wb":
            values = values.cumsum(axis=-1)
        if self.order_of_row is not None and name == "bias":
            values = values.copy()
            values[self.order_of_row] = np.roll(values[self.order_of_row], values.shape[1] // 3)
        if name in self.transposed:
            values = np.concatenate([part.T for part in np.split(values, parts, axis=1)], axis=1)
        return values

    def _loop(
        self,
        w: Arrays,
        x: np.ndarray,
        mask: np.ndarray | None,
        start: np.ndarray | None,
        start_c: np.ndarray | None,
    ) -> Arrays:
        n, t, _ = x.shape
        if self.carried:
            x = x.reshape(1, n * t, -1)
        zeros = np.zeros((len(x), len(w["recurrent_kernel"])), x.dtype)
        state = {
            "h": zeros if start is None else start,
            "c": zeros if start_c is None else start_c,
        }
        step = {"simple": self._simple, "lstm": self._lstm, "gru": self._gru}[self.cell]
        steps = []
        for at in range(x.shape[1]):
            made = self._take_step(step, w, x[:, at], state)
            if mask is not None:
                kept = {k: state[k] * (not self.zeroed_when_masked) for k in made}
                made = {
                    k: np.where(mask[:, at, None] | (k not in self.held_when_masked), v, kept[k])
                    for k, v in made.items()
                }
            state = made
            steps.append(made)
        found = {key: np.stack([made[key] for made in steps], axis=1) for key in steps[0]}
        return {key: values.reshape(n, t, -1) for key, values in found.items()}

    def _take_step(
        self, step: Callable[..., Arrays], w: Arrays, x: np.ndarray, state: Arrays
    ) -> Arrays:
        """Compute one step; with ``overwritten``, write each unit before computing the next."""
        made = step(w, x, state)
        units = np.arange(len(w["recurrent_kernel"]))
        if self.overwritten:
            made = {key: state[key] for key in made}
            for unit in units:
                after = step(w, x, {**state, **made})
                made = {k: np.where(units == unit, after[k], old) for k, old in made.items()}
        return made if self.last_unit else {k: v * (units < units[-1]) for k, v in made.items()}

    def _split(self, values: np.ndarray) -> Arrays:
        names = self.order or GATES[self.cell]
        return dict(zip(names, np.split(values, len(names), axis=-1), strict=True))

    def _bias(self, w: Arrays) -> np.ndarray:
        if "bias" not in w:
            return np.zeros(w["kernel"].shape[1], w["kernel"].dtype)
        return w["bias"] * w["bias"].dtype.type(self.bias)

    def _simple(self, w: Arrays, x: np.ndarray, s: Arrays) -> Arrays:
        z = x @ w["kernel"] + s["h"] @ w["recurrent_kernel"] + self._bias(w)
        return {"h": FUNCTIONS[self.activation](z)}

    def _lstm(self, w: Arrays, x: np.ndarray, s: Arrays) -> Arrays:
        act, gate = FUNCTIONS[self.activation], FUNCTIONS[self.recurrent_activation]
        s = dict(zip("hc", (s[name] for name in self.read_states), strict=True))
        z = self._split(x @ w["kernel"] + s["h"] @ w["recurrent_kernel"])
        b = self._split(self._bias(w))
        b["f"] = b["f"] * x.dtype.type(self.times_forget) + x.dtype.type(self.more_forget)
        i, f, o = (gate(z[name] + b[name]) for name in "ifo")
        c = f * s["c"] + i * act(z["c"] + b["c"])
        stored = act(c) if self.squashed_in_place else c
        return {"c": stored, "h": o * (act(c) if self.squashed else c)}

    def _gru(self, w: Arrays, x: np.ndarray, s: Arrays) -> Arrays:
        act, gate = FUNCTIONS[self.activation], FUNCTIONS[self.recurrent_activation]
        bias = self._bias(w)
        rows = bias if bias.ndim > 1 else np.stack([bias, bias * 0])
        rows = {
            "both": rows,
            "input": rows * np.array([[1], [0]], rows.dtype),
            "recurrent": rows * np.array([[0], [1]], rows.dtype),
            "summed": np.stack([rows.sum(axis=0), rows[0] * 0]),
        }[self.rows]
        at_x, at_h = self._split(rows[0]), self._split(rows[1])
        xz, Wh = self._split(x @ w["kernel"]), self._split(w["recurrent_kernel"])
        hz = {name: s["h"] @ Wh[name] + at_h[name] for name in "zrh"}
        z, r = (gate(xz[name] + at_x[name] + hz[name]) for name in "zr")
        inner = r * hz["h"] if self.reset_after else (r * s["h"]) @ Wh["h"] + at_h["h"]
        from_x = xz["h"] + at_x["h"]
        new = act((r * from_x if self.resets_input else from_x) + inner)
        z = 1 - z if self.z_is_new else z
        return {"h": z * s["h"] + (1 - z) * new}


def _moved(values: np.ndarray, late: int) -> np.ndarray:
    """One step later, with zeros at the start; or earlier."""
    zeros = values[:, :1] * 0
    return np.concatenate([zeros, values[:, :-1]] if late > 0 else [values[:, 1:], zeros], axis=1)


def scaled(at: Any, factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return what multiplies some numbers of an array by a factor."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array[at] *= np.float32(factor)
        return array

    return change


def weights_of(arrays: Any, layer: str, head: str = "dense") -> Arrays:
    """Those of a layer, and of the Dense layer behind it, from golden arrays."""
    names = ("kernel", "recurrent_kernel", "bias")
    found = {n: arrays[f"{layer}/{n}"] for n in names if f"{layer}/{n}" in arrays}
    if f"{head}/kernel" in arrays:
        found |= {"W": arrays[f"{head}/kernel"], "b": arrays[f"{head}/bias"]}
    return found


#: N, T, D, M and K all differ.
SIZES: dict[str, Any] = {"N": 3, "T": 9, "D": 4, "M": 5, "K": 2}
LAYERS, ALL, GATED = cells.LAYERS, cells.NAMES, cells.GATED
GIVEN = ("y_hat", "last", "h", "states")


@functools.cache
def _golden(seed: int, **sizes: Any) -> Arrays:
    return rnnshapes.golden(**sizes, seed=seed).arrays


def ported(port: Port, seed: int = 0, **sizes: Any) -> Arrays:
    """What a port gives for the network of these sizes, drawn with this seed."""
    golden = _golden(seed, **{**SIZES, **sizes}, cell=port.cell)
    return port.run(weights_of(golden, LAYERS[port.cell]), golden["x"])


def given(found: Arrays, what: str) -> Arrays:
    """So much of it: y_hat at every step or at the last, h, or every state."""
    if what == "last":
        return {"y_hat": found["y_hat"][:, -1]}
    return (
        {key: found[key] for key in ("h", "c") if key in found}
        if what == "states"
        else {what: found[what]}
    )


def explained(result: Any) -> list[tuple[str, ...]]:
    """The ids of the mistakes in each explanation, with that of the arithmetic if it is one."""
    assert not result.passed
    return [explanation.ids for explanation in result.diagnosis.explanations]


def mentions(result: Any, *words: str) -> bool:
    """Whether the first explanation names each of these; ``; `` begins each mistake."""
    text = f"; {result.diagnosis.explanations[0].text}"
    return all(word in text for word in words)


def scale_weights(monkeypatch: pytest.MonkeyPatch, layer: str, keys: str, factor: float) -> None:
    """Multiply drawn weights of a layer."""
    draw = weights.draw

    def scaled(network: Any, seed: int) -> Any:
        drawn = {name: dict(arrays) for name, arrays in draw(network, seed).items()}
        for key in keys.split():
            drawn[layer][key] = drawn[layer][key] * np.float32(factor)
        return drawn

    monkeypatch.setattr(weights, "draw", scaled)
