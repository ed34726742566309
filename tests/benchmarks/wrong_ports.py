"""A catalogue of wrong ports: which mistakes ``verify --against`` names, and which it locates.

Every mistake with every network that can have it and with all that a port may give, by programs
in plain NumPy that share no code with the package. Weights, x and the units that a mistake
concerns are drawn anew from SEED for each port. Run:
``python -m tests.benchmarks.wrong_ports [COUNT [SEED [FAMILY]]]``; COUNT ports are drawn, 0 stands
for all. Status 1 if a wrong port passes or a right one does not.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ml_dtypes
import numpy as np

import rnnshapes

Array = np.ndarray
SIZES = {"N": 3, "T": 12, "D": 5, "K": 4}
GATES = {"simple": ("h",), "lstm": ("i", "f", "c", "o"), "gru": ("z", "r", "h")}
BASES = {"simple": "simple_rnn", "lstm": "lstm", "gru": "gru"}


def sigmoid(z: Array) -> Array:
    """The logistic function."""
    return 1 / (1 + np.exp(-z))


def rational_tanh(z: Array) -> Array:
    """A Padé approximation of tanh, as audio code has it."""
    z = np.clip(z, -3, 3)
    return z * (27 + z * z) / (27 + 9 * z * z)


def rational_sigmoid(z: Array) -> Array:
    """The same for sigmoid."""
    return (1 + rational_tanh(z / 2)) / 2


def quadratic_tanh(z: Array) -> Array:
    """A tanh of two parabolas, which end at 2 (Kwan, 1992)."""
    z = np.clip(z, -2, 2)
    return z * (1 - np.abs(z) / 4)


def sigmoid_by_lines(z: Array) -> Array:
    """A sigmoid interpolated between whole numbers."""
    nodes = np.arange(-6.0, 7.0)
    return np.interp(z, nodes, sigmoid(nodes)).astype(z.dtype)


def relu(z: Array) -> Array:
    """The larger one of z and 0."""
    return np.maximum(z, 0)


def table_of(function: Callable[[Array], Array], entries: int) -> Callable[[Array], Array]:
    """A function looked up in a table over [-8, 8], without interpolation."""
    grid = np.linspace(-8, 8, entries)
    values = function(grid).astype("f")
    step = 16 / (entries - 1)
    return lambda z: values[np.clip(np.rint((z + 8) / step), 0, entries - 1).astype(int)]


@dataclass
class Recurrence:
    """One direction of one layer, as a port has it."""

    name: str
    cell: str
    kernel: Array
    recurrent: Array
    bias: Array
    reverse: bool = False
    act: Callable[[Array], Array] = np.tanh
    act_of_c: Callable[[Array], Array] | None = None
    gate: Callable[[Array], Array] = sigmoid
    reset_after: bool = True
    flags: frozenset[str] = frozenset()
    start: float = 0.0
    noise: Callable[[Array], Array] = lambda h: h

    def has(self, flag: str) -> bool:
        """Whether it makes this mistake."""
        return flag in self.flags

    def run(self, x: Array) -> dict[str, Array]:
        """h, and c of an LSTM, (N, T, M), by the time of x."""
        n, t, _ = x.shape
        m = len(self.recurrent)
        reverse = self.reverse ^ self.has("other way")
        xs = x[:, ::-1] if reverse else x
        if self.has("carried"):
            xs = xs.reshape(1, n * t, -1)
        zeros = np.zeros((len(xs), m), x.dtype)
        state = {"h": zeros + x.dtype.type(self.start), "c": zeros + x.dtype.type(self.start)}
        steps = []
        for at in range(xs.shape[1]):
            before = {k: v * 0 for k, v in state.items()} if self.has("zeroed") else state
            if self.has("not kept"):
                before = {**state, "c": state["c"] * 0}
            state = {
                k: self.noise(v).astype(x.dtype) for k, v in self.step(xs[:, at], before).items()
            }
            steps.append(state)
        found = {k: np.stack([s[k] for s in steps], 1).reshape(n, t, m) for k in steps[0]}
        if reverse and not self.has("not turned back"):
            found = {k: v[:, ::-1] for k, v in found.items()}
        return found

    def step(self, x: Array, s: Mapping[str, Array]) -> dict[str, Array]:
        """One step."""
        return getattr(self, f"_{self.cell}")(x, s)

    def _simple(self, x: Array, s: Mapping[str, Array]) -> dict[str, Array]:
        h = s["h"]
        return {"h": self.act(x @ self.kernel + h @ self.recurrent + self.bias)}

    def _lstm(self, x: Array, s: Mapping[str, Array]) -> dict[str, Array]:
        h, c = (s["c"], s["h"]) if self.has("states exchanged") else (s["h"], s["c"])
        z = x @ self.kernel + h @ self.recurrent + self.bias
        z_i, z_f, z_c, z_o = np.split(z, 4, -1)
        i, f = self.gate(z_i), self.gate(z_f)
        if self.has("f with h"):
            c = h
        if self.has("coupled"):
            f = 1 - i
        if self.has("forget complement"):
            f = 1 - f
        new = z_c if self.has("candidate not activated") else self.act(z_c)
        after = f * c + i * new
        if self.has("c swapped"):
            after = i * c + f * new
        if self.has("no input gate"):
            after = f * c + new
        of_c = self.act_of_c or self.act
        shown = c if self.has("output of c before") else after
        o = self.gate(z_o)
        h = o * (shown if self.has("c not activated") else of_c(shown))
        if self.has("no output gate"):
            h = of_c(after)
        return {"h": h, "c": of_c(after) if self.has("activated in place") else after}

    def _gru(self, x: Array, s: Mapping[str, Array]) -> dict[str, Array]:
        h = s["h"]
        rows = self.bias if self.bias.ndim > 1 else np.stack([self.bias, self.bias * 0])
        x_z, x_r, x_h = np.split(x @ self.kernel + rows[0], 3, -1)
        W_z, W_r, W_h = np.split(self.recurrent, 3, -1)
        b_z, b_r, b_h = np.split(rows[1], 3, -1)
        z, r = self.gate(x_z + h @ W_z + b_z), self.gate(x_r + h @ W_r + b_r)
        inner = r * (h @ W_h + b_h) if self.reset_after else (r * h) @ W_h + b_h
        if self.has("no reset"):
            inner = h @ W_h + b_h
        if self.has("reset of all"):
            inner = None
            new = self.act(r * (x_h + h @ W_h + b_h))
        else:
            new = self.act(x_h + inner)
        if self.has("candidate not activated"):
            new = x_h + inner
        if self.has("z complement"):
            z = 1 - z
        return {"h": z * h + (new if self.has("no complement") else (1 - z) * new)}


@dataclass
class Port:
    """A whole port; each default is right."""

    layers: list[list[Recurrence]]
    W: Array
    b: Array
    x: Array
    rng: np.random.Generator
    merge: str = "concat"
    head: Callable[[Array], Array] = lambda y: y
    flags: set[str] = field(default_factory=set)
    out: Callable[[Array], Array] = lambda values: values
    dtype: str = "float32"

    def run(self) -> dict[str, Array]:
        """Every quantity by its name."""
        x, found = self.x.astype(self.dtype), {}
        layers = self.layers[:-1] if "last layer left out" in self.flags else self.layers
        shared = self._with_one_buffer(x) if "shared states" in self.flags else None
        for number, layer in enumerate(layers):
            ran = [one.run(x) for one in layer] if shared is None else [shared[number]]
            if "one set of weights" in self.flags and len(layer) > 1:
                ran[1] = replace(layer[0], reverse=True).run(x)
            if "states kept" in self.flags:
                ran[1] = replace(layer[1], start=ran[0]["h"][:, -1]).run(x)
            for one, states in zip(layer, ran, strict=True):
                found |= {f"{one.name}.{k}": v for k, v in states.items()}
            sides = [states["h"] for states in ran]
            if "halves swapped" in self.flags:
                sides = sides[::-1]
            x = self._joined(sides)
            last = self._joined(
                [
                    s[:, 0 if one.reverse and "last of both" not in self.flags else -1]
                    for s, one in zip(
                        sides, layer[::-1] if "halves swapped" in self.flags else layer, strict=True
                    )
                ]
            )
            if "last repeated" in self.flags and number + 1 < len(layers):
                x = np.repeat(x[:, -1:], x.shape[1], 1)
            if "relu between" in self.flags and number + 1 < len(layers):
                x = relu(x)
            if "states passed up" in self.flags and number + 1 < len(layers):
                self.layers[number + 1][0].start = ran[0]["h"][:, -1]
        W = self.W.astype(self.dtype)
        found["y_hat"] = self.head(x @ W + self.b.astype(self.dtype))
        found["last"] = self.head(last @ W + self.b.astype(self.dtype))
        return {k: np.asarray(self.out(v), v.dtype) for k, v in found.items()}

    def _with_one_buffer(self, x: Array) -> list[dict[str, Array]]:
        """The states of each layer, step by step, where all have one buffer for them."""
        zeros = np.zeros((len(x), len(self.all[0].recurrent)), x.dtype)
        state, steps = {"h": zeros, "c": zeros}, [[] for _ in self.all]
        for at in range(x.shape[1]):
            value = x[:, at]
            for one, states in zip(self.all, steps, strict=True):
                state = one.step(value, state)
                states.append(state)
                value = state["h"]
        return [{k: np.stack([s[k] for s in some], 1) for k in some[0]} for some in steps]

    def _joined(self, sides: list[Array]) -> Array:
        if len(sides) == 1:
            return sides[0]
        if self.merge == "concat":
            return np.concatenate(sides, -1)
        return {
            "sum": sides[0] + sides[1],
            "ave": (sides[0] + sides[1]) / 2,
            "mul": sides[0] * sides[1],
        }[self.merge]

    @property
    def all(self) -> list[Recurrence]:
        """Every recurrence."""
        return [one for layer in self.layers for one in layer]


@dataclass(frozen=True)
class InjectedMistake:
    """A mistake: ``ids`` that name it, and what it changes in a port."""

    family: str
    ids: tuple[str, ...]
    text: str
    apply: Callable[[Port], None]
    kinds: tuple[str, ...] = ("simple", "lstm", "gru")
    nets: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    where: str = ""


#: Networks: their cell, and their options.
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "simple": ("simple", {"M": 6}),
    "lstm": ("lstm", {"M": 6}),
    "gru": ("gru", {"M": 6}),
    "gru before": ("gru", {"M": 6, "reset_after": False}),
    "both simple": ("simple", {"M": 6, "bidirectional": True}),
    "both lstm": ("lstm", {"M": 6, "bidirectional": True}),
    "both gru": ("gru", {"M": 6, "bidirectional": True}),
    "two simple": ("simple", {"M": [6, 7]}),
    "two lstm": ("lstm", {"M": [6, 7]}),
    "two gru": ("gru", {"M": [6, 6]}),
}
SINGLE = tuple(NETS)[:4]
BOTH = tuple(net for net in NETS if net.startswith("both"))
TWO = tuple(net for net in NETS if net.startswith("two"))
GIVEN = ("h", "states", "y_hat", "last", "all")


def each(change: Callable[[Recurrence], None]) -> Callable[[Port], None]:
    """Change every recurrence."""

    def apply(port: Port) -> None:
        for one in port.all:
            change(one)

    return apply


def one(change: Callable[[Recurrence], None]) -> Callable[[Port], None]:
    """Change one recurrence, drawn at random."""

    def apply(port: Port) -> None:
        change(port.all[port.rng.integers(len(port.all))])

    return apply


def flagged(*flags: str) -> Callable[[Recurrence], None]:
    """Set flags of a recurrence."""

    def change(r: Recurrence) -> None:
        r.flags = r.flags | set(flags)

    return change


def setting(**options: Any) -> Callable[[Recurrence], None]:
    """Set attributes of a recurrence."""

    def change(r: Recurrence) -> None:
        for name, value in options.items():
            setattr(r, name, value)

    return change


def arrays(
    change: Callable[[Array, Recurrence], Array], *keys: str
) -> Callable[[Recurrence], None]:
    """Change some of the weights of a recurrence."""

    def apply(r: Recurrence) -> None:
        for key in keys or ("kernel", "recurrent", "bias"):
            setattr(r, key, change(getattr(r, key), r))

    return apply


def reordered(order: tuple[int, ...]) -> Callable[[Array, Recurrence], Array]:
    """Blocks in another order."""
    return lambda a, r: np.concatenate([np.split(a, len(order), -1)[i] for i in order], -1)


def flat_transposed(a: Array, r: Recurrence) -> Array:
    """A buffer (GM, D) read as (D, GM)."""
    return np.ascontiguousarray(a.T).reshape(a.shape)


def fortran(a: Array, r: Recurrence) -> Array:
    """A buffer read column by column."""
    return a.reshape(a.shape[::-1]).T


def interleaved(a: Array, r: Recurrence) -> Array:
    """Gates of one unit side by side, read as blocks."""
    g = len(GATES[r.cell])
    return a.reshape(*a.shape[:-1], g, -1).swapaxes(-1, -2).reshape(a.shape)


def from_interleaved(a: Array, r: Recurrence) -> Array:
    """Blocks, read as gates of one unit side by side."""
    g = len(GATES[r.cell])
    return a.reshape(*a.shape[:-1], -1, g).swapaxes(-1, -2).reshape(a.shape)


def rows_of_one_block(a: Array, r: Recurrence) -> Array:
    """Rows that begin as far apart as a block has columns."""
    rows, columns = a.shape
    width = columns // len(GATES[r.cell])
    return np.stack([a.reshape(-1)[row * width :][:columns] for row in range(rows)])


def transposed(a: Array, r: Recurrence) -> Array:
    """Each square block transposed."""
    return np.concatenate([b.T for b in np.split(a, len(GATES[r.cell]), -1)], -1)


def block(gate: str, change: Callable[[Array], Array]) -> Callable[[Array, Recurrence], Array]:
    """Change the block of one gate."""

    def apply(a: Array, r: Recurrence) -> Array:
        parts = np.split(a.copy(), len(GATES[r.cell]), -1)
        position = GATES[r.cell].index(gate)
        parts[position] = change(parts[position]).astype(a.dtype)
        return np.concatenate(parts, -1)

    return apply


def one_weight(key: str, change: Callable[[float], float]) -> Callable[[Port], None]:
    """Change one number of one array."""

    def apply(port: Port) -> None:
        if key == "W":
            port.W = port.W.copy()
            at = port.rng.integers(port.W.size)
            port.W.flat[at] = change(port.W.flat[at])
            return
        r = port.all[port.rng.integers(len(port.all))]
        a = getattr(r, key).copy()
        at = port.rng.integers(a.size)
        a.flat[at] = change(a.flat[at])
        setattr(r, key, a)

    return apply


def of_port(**options: Any) -> Callable[[Port], None]:
    """Set attributes of the port."""

    def apply(port: Port) -> None:
        for name, value in options.items():
            setattr(port, name, value)

    return apply


def flags_of_port(*flags: str) -> Callable[[Port], None]:
    """Set flags of the port."""
    return lambda port: port.flags.update(flags)


def x_changed(change: Callable[[Array], Array]) -> Callable[[Port], None]:
    """Change x."""

    def apply(port: Port) -> None:
        port.x = np.ascontiguousarray(change(port.x))

    return apply


def out_changed(change: Callable[[Array], Array]) -> Callable[[Port], None]:
    """Change all that the port gives."""
    return lambda port: setattr(port, "out", change)


def late(x: Array) -> Array:
    """One step late."""
    return np.concatenate([x[:, :1] * 0, x[:, :-1]], 1)


def without_last(x: Array) -> Array:
    """x with zeros at its last step."""
    return np.concatenate([x[:, :-1], x[:, -1:] * 0], 1)


def quantized(bits: int, *, per_column: bool = False) -> Callable[[Array, Recurrence], Array]:
    """Rounded to a grid of so many bits."""

    def change(a: Array, r: Recurrence) -> Array:
        scale = np.abs(a).max(0, keepdims=True) if per_column else np.abs(a).max()
        scale = np.maximum(scale, 1e-12) / (2 ** (bits - 1) - 1)
        return (np.rint(a / scale) * scale).astype("f")

    return change


def hard(slope: float) -> Callable[[Array], Array]:
    """A hard sigmoid."""
    return lambda z: np.clip(z * z.dtype.type(slope) + z.dtype.type(0.5), 0, 1)


def permuted(axis: int) -> Callable[[Array, Recurrence], Array]:
    """Two neighbours exchanged along an axis."""

    def change(a: Array, r: Recurrence) -> Array:
        order = np.arange(a.shape[axis])
        order[[1, 2]] = order[[2, 1]]
        return np.take(a, order, axis)

    return change


GATED, LSTM, GRU = ("lstm", "gru"), ("lstm",), ("gru",)
#: GRUs whose bias has two rows.
TWO_ROWS = tuple(net for net in NETS if "gru" in net and net != "gru before")


def gates_and_layouts() -> Iterator[InjectedMistake]:
    """Yield mistakes about the order of gates and of kernels."""
    orders = {
        "lstm": [
            (0, 3, 1, 2),
            (0, 2, 1, 3),
            (1, 0, 2, 3),
            (3, 0, 1, 2),
            (2, 0, 1, 3),
            (0, 1, 3, 2),
        ],
        "gru": [(1, 0, 2), (2, 0, 1), (0, 2, 1), (2, 1, 0)],
    }
    for cell, all_of_cell in orders.items():
        for order in all_of_cell:
            change = reordered(order)
            yield InjectedMistake(
                "gates", ("gates.order",), f"{order}", each(arrays(change)), (cell,)
            )
        for key, name in (
            ("kernel", "kernel"),
            ("recurrent", "recurrent_kernel"),
            ("bias", "bias"),
        ):
            for order in all_of_cell[:2]:
                text = f"{order} in {name}"
                change = reordered(order)
                ids = (f"gates.order.{name}",)
                yield InjectedMistake("gates", ids, text, each(arrays(change, key)), (cell,))
        change = reordered(all_of_cell[0])
        yield InjectedMistake(
            "gates", ("gates.order",), "in one", one(arrays(change)), (cell,), (*BOTH, *TWO)
        )
    for key in ("kernel", "recurrent"):
        yield InjectedMistake(
            "layout",
            ("layout.flat_buffer",),
            f"flat transposed {key}",
            each(arrays(flat_transposed, key)),
            GATED if key == "recurrent" else ("simple", "lstm", "gru"),
        )
        yield InjectedMistake(
            "layout",
            ("layout.fortran",),
            f"fortran {key}",
            each(arrays(fortran, key)),
            GATED if key == "recurrent" else ("simple", "lstm", "gru"),
        )
        yield InjectedMistake(
            "layout",
            ("layout.interleaved",),
            f"interleaved {key}",
            each(arrays(interleaved, key)),
            GATED,
        )
    both_keys = ("kernel", "recurrent")
    yield InjectedMistake(
        "layout",
        ("layout.flat_buffer",),
        "flat transposed both",
        each(arrays(flat_transposed, *both_keys)),
        GATED,
    )
    yield InjectedMistake(
        "layout", ("layout.fortran",), "fortran both", each(arrays(fortran, *both_keys)), GATED
    )
    yield InjectedMistake(
        "layout", ("layout.interleaved",), "interleaved", each(arrays(interleaved)), GATED
    )
    yield InjectedMistake(
        "layout", ("layout.interleaved",), "from interleaved", each(arrays(from_interleaved)), GATED
    )
    yield InjectedMistake(
        "layout",
        ("layout.transposed",),
        "transposed recurrent",
        each(arrays(transposed, "recurrent")),
    )
    yield InjectedMistake(
        "layout",
        ("layout.transposed",),
        "transposed in one",
        one(arrays(transposed, "recurrent")),
        nets=(*BOTH, *TWO),
    )
    yield InjectedMistake(
        "layout",
        ("layout.flat_buffer",),
        "flat in one",
        one(arrays(flat_transposed, "kernel")),
        nets=(*BOTH, *TWO),
    )


def biases() -> Iterator[InjectedMistake]:
    """Yield mistakes about biases."""
    for number, text in ((0.0, "omitted"), (2.0, "twice")):
        change = lambda a, r, number=number: a * np.float32(number)  # noqa: E731
        yield InjectedMistake("bias", (f"bias.{text}",), text, each(arrays(change, "bias")))
        yield InjectedMistake(
            "bias",
            (f"bias.{text}",),
            f"{text} in one",
            one(arrays(change, "bias")),
            nets=(*BOTH, *TWO),
        )
    yield InjectedMistake(
        "bias",
        ("bias.forget_again",),
        "forget + 1",
        each(arrays(block("f", lambda a: a + 1), "bias")),
        LSTM,
    )
    yield InjectedMistake(
        "bias",
        ("bias.forget_again",),
        "forget + 1 in one",
        one(arrays(block("f", lambda a: a + 1), "bias")),
        LSTM,
        (*BOTH, *TWO),
    )
    for row, text in ((1, "recurrent_row_omitted"), (0, "input_row_omitted")):
        change = lambda a, r, row=row: np.where(np.arange(2)[:, None] == row, 0, a).astype("f")  # noqa: E731
        yield InjectedMistake(
            "bias", (f"bias.{text}",), text, each(arrays(change, "bias")), GRU, TWO_ROWS
        )
    summed = lambda a, r: np.stack([a.sum(0), a[0] * 0])  # noqa: E731
    yield InjectedMistake(
        "bias", ("bias.rows_summed",), "rows summed", each(arrays(summed, "bias")), GRU, TWO_ROWS
    )
    for row in (0, 1):
        change = lambda a, r, row=row: np.where(  # noqa: E731
            np.arange(2)[:, None] == row, reordered((1, 0, 2))(a, r), a
        )
        yield InjectedMistake(
            "bias",
            ("gates.order.bias",),
            f"order of row {row}",
            each(arrays(change, "bias")),
            GRU,
            TWO_ROWS,
        )
    added_up = each(arrays(lambda a, r: a.cumsum(-1)))
    yield InjectedMistake("bias", ("sum.not_reset",), "units added up", added_up)
    exchanged = lambda a, r: a[::-1].copy()  # noqa: E731
    yield InjectedMistake(
        "bias",
        ("bias.rows_exchanged",),
        "rows exchanged",
        each(arrays(exchanged, "bias")),
        GRU,
        TWO_ROWS,
    )


def equations() -> Iterator[InjectedMistake]:
    """Yield mistakes about the equation."""
    for flag, id_, cells in (
        ("coupled", "lstm.gates_coupled", LSTM),
        ("forget complement", "lstm.forget_complement", LSTM),
        ("c not activated", "lstm.c_not_activated", LSTM),
        ("output of c before", "lstm.c_before", LSTM),
        ("activated in place", "lstm.c_stored_activated", LSTM),
        ("no output gate", "lstm.gate_omitted", LSTM),
        ("no input gate", "lstm.gate_omitted", LSTM),
        ("states exchanged", "lstm.states_exchanged", LSTM),
        ("f with h", "lstm.states_exchanged", LSTM),
        ("z complement", "gru.z_complement", GRU),
        ("reset of all", "gru.reset_of_input", GRU),
        ("no complement", "gru.complement_omitted", GRU),
        ("no reset", "gru.gate_omitted", GRU),
        ("candidate not activated", "activation.candidate", LSTM),
        ("candidate not activated", "activation.other", GRU),  # its only activation
    ):
        yield InjectedMistake("equation", (id_,), flag, each(flagged(flag)), cells)
        yield InjectedMistake(
            "equation", (id_,), f"{flag} in one", one(flagged(flag)), cells, (*BOTH, *TWO)
        )
    swapped = ("gates.order", "lstm.c_exchanged")
    yield InjectedMistake("equation", swapped, "i and f at c", each(flagged("c swapped")), LSTM)
    yield InjectedMistake(
        "equation",
        ("gru.reset_before",),
        "reset before",
        each(setting(reset_after=False)),
        GRU,
        TWO_ROWS,
    )
    yield InjectedMistake(
        "equation",
        ("gru.reset_after",),
        "reset after",
        each(setting(reset_after=True)),
        GRU,
        ("gru before",),
    )


def activations() -> Iterator[InjectedMistake]:
    """Yield mistakes about activations."""
    for text, option in (
        ("relu", {"act": relu}),
        ("linear", {"act": lambda z: z}),
        ("sigmoid", {"act": sigmoid}),
        ("hard_sigmoid", {"gate": hard(1 / 6)}),
        ("old hard_sigmoid", {"gate": hard(0.2)}),
        ("tanh gates", {"gate": np.tanh}),
        ("arctan", {"act": np.arctan}),
        ("sigmoid(-z)", {"gate": lambda z: sigmoid(-z)}),
        ("(1 + tanh(z)) / 2", {"gate": lambda z: 0.5 * (1 + np.tanh(z))}),
        ("tanh(z / 2)", {"act": lambda z: 2 * sigmoid(z) - 1}),
    ):
        cells = GATED if "gate" in option else ("simple", "lstm", "gru")
        ids = ("activation.argument" if "(" in text else "activation.other",)
        yield InjectedMistake("activation", ids, text, each(setting(**option)), cells)
        yield InjectedMistake(
            "activation",
            ids,
            f"{text} in one",
            one(setting(**option)),
            cells,
            (*BOTH, *TWO),
        )
    yield InjectedMistake(
        "activation",
        ("activation.exchanged",),
        "exchanged",
        each(setting(act=sigmoid, gate=np.tanh)),
        GATED,
    )
    for text, option in (
        ("Padé tanh", {"act": rational_tanh}),
        ("table of tanh", {"act": table_of(np.tanh, 256)}),
        ("table of sigmoid", {"gate": table_of(sigmoid, 256)}),
        ("table of 200 entries", {"act": table_of(np.tanh, 200)}),
        ("quadratic tanh", {"act": quadratic_tanh}),
        ("Padé sigmoid", {"gate": rational_sigmoid}),
        ("Padé tanh and sigmoid", {"act": rational_tanh, "gate": rational_sigmoid}),
        ("sigmoid by lines", {"gate": sigmoid_by_lines}),
    ):
        cells = GATED if "gate" in option else ("simple", "lstm", "gru")
        yield InjectedMistake(
            "approximation",
            ("activation.approximated",),
            text,
            each(setting(**option)),
            cells,
            SINGLE,
        )


def sequences() -> Iterator[InjectedMistake]:
    """Yield mistakes about states and time."""
    yield InjectedMistake(
        "state", ("state.carried",), "carried", each(flagged("carried")), nets=SINGLE
    )
    yield InjectedMistake("state", ("state.zeroed_each_step",), "zeroed", each(flagged("zeroed")))
    yield InjectedMistake(
        "state",
        ("state.zeroed_each_step",),
        "zeroed in one",
        one(flagged("zeroed")),
        nets=(*BOTH, *TWO),
    )
    yield InjectedMistake(
        "state",
        ("state.c_not_kept", "state.zeroed_each_step"),
        "c not kept",
        each(flagged("not kept")),
        LSTM,
    )
    yield InjectedMistake(
        "state",
        ("state.starts_nonzero",),
        "starts at 1",
        each(setting(start=1.0)),
        given=GIVEN[:3] + GIVEN[4:],
    )
    yield InjectedMistake(
        "state",
        ("state.starts_nonzero",),
        "starts at -0.3",
        each(setting(start=-0.3)),
        given=("h", "states", "all"),
    )

    yield InjectedMistake(
        "state",
        ("state.h_c_swapped",),
        "h and c exchanged",
        flags_of_port("h c exchanged"),
        LSTM,
        given=("states", "all"),
    )
    yield InjectedMistake(
        "time", ("time.reversed",), "reversed", x_changed(lambda x: x[:, ::-1]), nets=SINGLE
    )
    yield InjectedMistake("time", ("time.shifted",), "late", x_changed(late), nets=SINGLE)
    yield InjectedMistake(
        "time",
        ("time.shifted",),
        "early",
        x_changed(lambda x: late(x[:, ::-1])[:, ::-1]),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "time",
        ("time.shifted",),
        "given late",
        out_changed(lambda v: late(v) if v.ndim > 2 else v),
        nets=SINGLE,
        given=("h", "states", "y_hat"),
    )
    yield InjectedMistake(
        "time",
        ("time.reversed_and_back",),
        "both reversed",
        lambda p: (
            x_changed(lambda x: x[:, ::-1])(p),
            out_changed(lambda v: v[:, ::-1] if v.ndim > 2 else v)(p),
        )[0],
        nets=SINGLE,
        given=("h", "states", "y_hat"),
    )
    yield InjectedMistake(
        "time",
        ("axes.input_swapped",),
        "axes",
        x_changed(lambda x: x.reshape(x.shape[1], x.shape[0], -1).swapaxes(0, 1)),
        nets=SINGLE,
    )


def directions_and_stacks() -> Iterator[InjectedMistake]:
    """Yield mistakes about how layers are joined."""
    yield InjectedMistake(
        "direction",
        ("direction.halves_swapped",),
        "halves",
        flags_of_port("halves swapped"),
        nets=BOTH,
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "direction",
        ("direction.not_reversed_back",),
        "not turned back",
        lambda p: flagged("not turned back")(p.all[1]),
        nets=BOTH,
        given=("h", "all", "y_hat"),
    )
    yield InjectedMistake(
        "direction",
        ("direction.reversed",),
        "backward reads forwards",
        lambda p: flagged("other way")(p.all[1]),
        nets=BOTH,
    )
    yield InjectedMistake(
        "direction",
        ("direction.shared_weights",),
        "one set of weights",
        flags_of_port("one set of weights"),
        nets=BOTH,
    )
    yield InjectedMistake(
        "direction",
        ("direction.weights_exchanged",),
        "weights exchanged",
        exchange_weights,
        nets=BOTH,
    )
    yield InjectedMistake(
        "direction",
        ("direction.states_carried",),
        "states kept",
        flags_of_port("states kept"),
        ("simple", "gru"),
        nets=BOTH,
        given=("h", "y_hat", "last"),
    )
    yield InjectedMistake(
        "direction",
        ("direction.last_step",),
        "output[-1]",
        flags_of_port("last of both"),
        nets=BOTH,
        given=("last",),
    )
    yield InjectedMistake(
        "stack", ("stack.layers_swapped",), "layers swapped", swap_layers, nets=("two gru",)
    )
    yield InjectedMistake(
        "stack",
        ("stack.shared_states",),
        "shared states",
        flags_of_port("shared states"),
        nets=("two gru",),
    )
    yield InjectedMistake(
        "stack",
        ("layer.omitted",),
        "last layer left out",
        flags_of_port("last layer left out"),
        nets=("two gru",),
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "stack", ("stack.last_repeated",), "last repeated", flags_of_port("last repeated"), nets=TWO
    )
    yield InjectedMistake(
        "stack", ("stack.activated",), "relu between", flags_of_port("relu between"), nets=TWO
    )
    yield InjectedMistake(
        "stack",
        ("state.passed_up",),
        "states passed up",
        flags_of_port("states passed up"),
        nets=("two gru",),
    )


def heads_and_inputs() -> Iterator[InjectedMistake]:
    """Yield mistakes about the head and x."""
    yield InjectedMistake(
        "head",
        ("head.bias",),
        "no bias",
        lambda p: setattr(p, "b", p.b * 0),
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "head",
        ("layout.fortran", "layout.flat_buffer", "layout.transposed"),
        "fortran",
        lambda p: setattr(p, "W", fortran(p.W, p.all[0])),
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "head",
        ("layout.flat_buffer", "layout.fortran"),
        "flat",
        lambda p: setattr(p, "W", flat_transposed(p.W, p.all[0])),
        given=("y_hat", "last"),
    )
    for text, function in (
        ("softmax", lambda y: np.exp(y) / np.exp(y).sum(-1, keepdims=True)),
        ("sigmoid", sigmoid),
        ("relu", lambda y: np.maximum(y, 0)),
        ("tanh", np.tanh),
    ):
        yield InjectedMistake(
            "head", ("head.activation",), text, of_port(head=function), given=("y_hat", "last")
        )
    yield InjectedMistake(
        "head",
        ("head.bias",),
        "bias twice",
        lambda p: setattr(p, "b", p.b * 2),
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "head",
        ("axes.units_permuted",),
        "outputs permuted",
        out_changed(lambda v: v[..., ::-1]),
        nets=SINGLE,
        given=("y_hat", "last"),
    )
    yield InjectedMistake(
        "input", ("input.scaled",), "scaled", x_changed(lambda x: x / np.float32(255))
    )
    yield InjectedMistake(
        "input", ("input.scaled",), "scaled by 2", x_changed(lambda x: x * np.float32(2))
    )
    yield InjectedMistake(
        "input",
        ("input.normalized", "input.scaled", "input.shifted"),
        "standardized",
        x_changed(lambda x: ((x - x.mean((0, 1))) / x.std((0, 1))).astype("f")),
    )
    yield InjectedMistake(
        "input", ("input.clipped",), "clipped", x_changed(lambda x: np.clip(x, -1, 1))
    )
    yield InjectedMistake(
        "input", ("input.rounded",), "rounded", x_changed(lambda x: np.round(x * 64) / 64)
    )
    yield InjectedMistake(
        "input",
        ("input.first_repeated",),
        "first feature for all",
        x_changed(lambda x: np.repeat(x[..., :1], x.shape[-1], -1)),
    )
    for shift in (1, -1):
        yield InjectedMistake(
            "head",
            ("weights.permuted",),
            f"rows moved by {shift}",
            lambda p, shift=shift: setattr(p, "W", np.roll(p.W, shift, 0)),
            given=("y_hat", "last"),
        )
    for key in ("kernel", "recurrent"):
        yield InjectedMistake(
            "layout",
            ("layout.row_stride",),
            f"{key} of one block",
            each(arrays(rows_of_one_block, key)),
            GATED,
        )
    for key in ("kernel", "recurrent", "bias"):
        yield InjectedMistake(
            "direction",
            ("direction.shared_weights", "direction.weights_exchanged"),
            f"{key} of forward in backward",
            lambda p, key=key: setattr(p.all[1], key, getattr(p.all[0], key)),
            nets=BOTH,
        )
    yield InjectedMistake(
        "numeric",
        ("weights.quantized",),
        "rounded down to 1/256",
        each(arrays(lambda a, r: (np.floor(a * 256) / 256).astype("f"))),
    )
    yield InjectedMistake("input", ("input.step_zero",), "no last step", x_changed(without_last))
    yield InjectedMistake(
        "input", ("input.shifted",), "shifted", x_changed(lambda x: x + np.float32(0.5))
    )
    yield InjectedMistake(
        "input", ("input.permuted",), "permuted", x_changed(lambda x: x[..., [0, 2, 1, 3, 4]])
    )
    yield InjectedMistake(
        "input", ("input.permuted",), "reversed features", x_changed(lambda x: x[..., ::-1])
    )
    yield InjectedMistake(
        "input",
        ("input.feature_zero", "input.scaled"),
        "one feature 0",
        x_changed(lambda x: x * np.array([1, 1, 0, 1, 1], "f")),
    )


def numbers() -> Iterator[InjectedMistake]:
    """Yield mistakes about the numbers, and two at once."""
    yield InjectedMistake(
        "numeric", ("weights.float16",), "weights in float16", rounded_weights("float16")
    )
    yield InjectedMistake(
        "numeric",
        ("weights.float16",),
        "weights of the cells in float16",
        each(arrays(lambda a, r: a.astype("float16").astype("f"))),
    )
    yield InjectedMistake(
        "numeric", ("weights.bfloat16",), "weights in bfloat16", rounded_weights("bfloat16")
    )
    yield InjectedMistake(
        "numeric", ("weights.quantized",), "int8 per tensor", each(arrays(quantized(8)))
    )
    yield InjectedMistake(
        "numeric",
        ("weights.quantized",),
        "int8 per column",
        each(arrays(quantized(8, per_column=True), "kernel", "recurrent")),
    )
    yield InjectedMistake(
        "numeric",
        ("numeric.rounded",),
        "rounded to 3 decimals",
        out_changed(lambda v: np.round(v, 3)),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "numeric",
        ("numeric.rounded",),
        "rounded to 4 decimals",
        out_changed(lambda v: np.round(v, 4)),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "numeric",
        ("numeric.noise", "numeric.inexact"),
        "noise of 1e-4",
        noisy(1e-4),
        nets=SINGLE,
        given=("h", "states", "all"),
    )
    for name, kind in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)):
        yield InjectedMistake(
            "numeric",
            (f"numeric.{name}",),
            f"states in {name}",
            each(setting(noise=lambda h, kind=kind: h.astype(kind))),
            nets=SINGLE,
        )
    yield InjectedMistake(
        "numeric",
        ("numeric.rounded",),
        "rounded to 1/256",
        out_changed(lambda v: np.round(v * 256) / 256),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "numeric",
        ("numeric.rounded", "gates.order"),
        "rounded, and the order",
        lambda p: (
            each(arrays(reordered({"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}[p.all[0].cell])))(p),
            out_changed(lambda v: np.round(v, 4))(p),
        )[0],
        GATED,
        SINGLE,
    )
    for key in ("kernel", "recurrent", "bias", "W"):
        given = ("y_hat", "last") if key == "W" else GIVEN
        yield InjectedMistake(
            "single",
            ("weights.one_wrong",),
            f"{key} + 0.05",
            one_weight(key, lambda w: w + 0.05),
            given=given,
        )
        yield InjectedMistake(
            "single", ("weights.one_wrong",), f"-{key}", one_weight(key, lambda w: -w), given=given
        )
        yield InjectedMistake(
            "single",
            ("weights.one_wrong",),
            f"{key} of 0",
            one_weight(key, lambda w: 0),
            given=given,
        )
    yield InjectedMistake(
        "weights",
        ("weights.other",),
        "all by 2 %",
        each(
            arrays(
                lambda a, r: (
                    a * (1 + 0.02 * np.random.default_rng(a.size).standard_normal(a.shape))
                ).astype("f")
            )
        ),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "weights",
        ("weights.other",),
        "other kernel",
        each(
            arrays(
                lambda a, r: (
                    np.random.default_rng(a.size).standard_normal(a.shape).astype("f") * a.std()
                ),
                "kernel",
            )
        ),
        nets=SINGLE,
    )
    yield InjectedMistake(
        "weights",
        ("weights.permuted", "input.permuted"),
        "rows of Wx",
        each(arrays(permuted(0), "kernel")),
        nets=SINGLE,
    )
    for position, (first, second) in enumerate(
        (("order", "no bias"), ("flat", "no bias"), ("hard", "head"))
    ):
        yield InjectedMistake(
            "two",
            ("gates.order", "layout.flat_buffer", "activation.other", "bias.omitted", "head.bias"),
            f"{first} and {second}",
            two_at_once(position),
            GATED,
            SINGLE,
        )
    yield InjectedMistake(
        "two layers", ("gates.order",), "order and bias in two layers", two_layers, GATED, TWO
    )


#: Yield every mistake.
CATALOGUE = (
    gates_and_layouts,
    biases,
    equations,
    activations,
    sequences,
    directions_and_stacks,
    heads_and_inputs,
    numbers,
)


def two_at_once(position: int) -> Callable[[Port], None]:
    """Two mistakes of one port."""

    def apply(port: Port) -> None:
        no_bias = each(arrays(lambda a, r: a * 0, "bias"))
        if position == 0:
            order = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}[port.all[0].cell]
            each(arrays(reordered(order)))(port)
            no_bias(port)
        elif position == 1:
            each(arrays(flat_transposed, "kernel"))(port)
            no_bias(port)
        else:
            each(setting(gate=hard(1 / 6)))(port)
            port.b = port.b * 0

    return apply


def two_layers(port: Port) -> None:
    """The order of gates in the first layer, the bias of the second."""
    order = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}[port.all[0].cell]
    arrays(reordered(order))(port.all[0])
    arrays(lambda a, r: a * 0, "bias")(port.all[1])


def noisy(size: float) -> Callable[[Port], None]:
    """Add noise to all that the port gives."""

    def apply(port: Port) -> None:
        port.out = lambda v: v + size * port.rng.standard_normal(v.shape)

    return apply


def rounded_weights(dtype: str) -> Callable[[Port], None]:
    """Round every weight."""
    kind = np.float16 if dtype == "float16" else ml_dtypes.bfloat16

    def apply(port: Port) -> None:
        each(arrays(lambda a, r: a.astype(kind).astype("f")))(port)
        port.W, port.b = (a.astype(kind).astype("f") for a in (port.W, port.b))

    return apply


def exchange_weights(port: Port) -> None:
    """Give each direction the weights of the other."""
    forward, backward = port.all
    for key in ("kernel", "recurrent", "bias"):
        one, other = getattr(forward, key), getattr(backward, key)
        setattr(forward, key, other)
        setattr(backward, key, one)


def swap_layers(port: Port) -> None:
    """Exchange the weights of two layers, as far as their shapes agree."""
    first, second = port.all
    for key in ("kernel", "recurrent", "bias"):
        one, other = getattr(first, key), getattr(second, key)
        if one.shape == other.shape:
            setattr(first, key, other)
            setattr(second, key, one)


# --- Runs ---------------------------------------------------------------------------------------


def right_port(net: str, seed: int) -> tuple[Port, dict[str, Any]]:
    """A right port of a network, and the options of the network."""
    cell, options = NETS[net]
    options = {**SIZES, "cell": cell, **options, "seed": seed}
    golden = rnnshapes.golden(**options).arrays
    base = BASES[cell]
    names = [[base]]
    if options.get("bidirectional"):
        names = [[f"bidirectional/{way}_{base}" for way in ("forward", "backward")]]
    elif isinstance(options["M"], list):
        names = [[base], [f"{base}_1"]]
    layers = [
        [
            Recurrence(
                name,
                cell,
                *(golden[f"{name}/{key}"].copy() for key in ("kernel", "recurrent_kernel", "bias")),
                reverse="backward" in name,
                reset_after=options.get("reset_after", True),
            )
            for name in layer
        ]
        for layer in names
    ]
    rng = np.random.default_rng([seed, 1])
    x = golden["x"].astype("f")
    return Port(layers, golden["dense/kernel"].copy(), golden["dense/bias"].copy(), x, rng), options


def given(port: Port, found: Mapping[str, Array], what: str) -> dict[str, Array]:
    """So much of what the port computes."""
    last = port.layers[-1]
    keys = {k.rpartition(".")[2] for k in found if "." in k}
    if what == "y_hat":
        return {"y_hat": found["y_hat"]}
    if what == "last":
        return {"y_hat" if len(last) == 1 else "output": found["last"]}
    if what == "h":
        return {f"{r.name}.h": found[f"{r.name}.h"] for r in last}
    if what == "states":
        names = {f"{r.name}.{k}": f"{r.name}.{k}" for r in last for k in keys}
    else:
        names = {f"{r.name}.h": f"{r.name}.h" for r in port.all}
        if "h c exchanged" in port.flags:
            names |= {f"{r.name}.c": f"{r.name}.c" for r in port.all}
    if "h c exchanged" in port.flags:
        other = {"h": "c", "c": "h"}
        names = {n: n[:-1] + other[n[-1]] for n in names}
    return {n: found[k] for n, k in names.items()}


def cases(count: int, seed: int, family: str) -> list[tuple[InjectedMistake, str, str]]:
    """Mistakes with networks and what is given, ``count`` of them at random."""
    every = [
        (mistake, net, what)
        for yielded in CATALOGUE
        for mistake in yielded()
        if family in ("", mistake.family)
        for net in mistake.nets or NETS
        if NETS[net][0] in mistake.kinds
        for what in mistake.given or GIVEN
        if (what != "states" or NETS[net][0] == "lstm")
        and (what != "all" or net in TWO or "h c exchanged" in str(mistake.text))
    ]
    if 0 < count < len(every):
        chosen = np.random.default_rng(seed).permutation(len(every))[:count]
        every = [every[i] for i in sorted(chosen)]
    return every


def difference(one: Mapping[str, Array], other: Mapping[str, Array]) -> float:
    """The largest difference of two ports."""
    return max(float(np.abs(one[k] - other[k]).max()) for k in one)


def named_ids(result: Any) -> list[str]:
    """The ids of all mistakes in all explanations."""
    record = result.to_dict()["diagnosis"]
    return [mistake["id"] for one in record for mistake in one["mistakes"]]


def located(result: Any) -> bool:
    """Whether the report says where the difference lies."""
    record = result.to_dict()
    places = [one.get("where") for one in record["diagnosis"]]
    places += record["where"]
    keys = ("layer", "direction", "gate", "unit", "step")
    return any(place and any(place[key] is not None for key in keys) for place in places)


class Tally:
    """What was found of each wrong port, by the family of its mistake and by what is given."""

    def __init__(self) -> None:
        self.totals: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_given: dict[str, Counter[str]] = defaultdict(Counter)
        self.unnamed: Counter[str] = Counter()
        self.slowest, self.failures = 0.0, 0

    def judge(self, mistake: InjectedMistake, net: str, what: str, seed: int) -> None:
        """Verify one wrong port, unless its mistake changes nothing."""
        port, options = right_port(net, seed)
        right = given(port, port.run(), what)
        port, _ = right_port(net, seed)
        mistake.apply(port)
        with np.errstate(over="ignore"):
            wrong = given(port, port.run(), what)
        if difference(right, wrong) < 1e-6 or not all(np.isfinite(a).all() for a in wrong.values()):
            return
        start = time.perf_counter()
        result = rnnshapes.verify(**options, against=wrong)
        self.slowest = max(self.slowest, time.perf_counter() - start)
        ids = [] if result.passed else named_ids(result)
        total = Counter(["ports"])
        label = f"{mistake.family}: {mistake.text} | {net} | {what} | seed {seed}"
        if result.passed:
            total["false passes"] += 1
            self.failures += 1
            print(f"PASSED  {label}")
        elif set(ids) & set(mistake.ids):
            total["named"] += 1
            total["located"] += 1
        elif ids:
            total["wrong"] += 1
            print(f"WRONG   {label}: {ids}")
        else:
            self.unnamed[f"{mistake.family}: {mistake.text} ({what})"] += 1
            total["located"] += located(result)
        self.totals[mistake.family] += total
        self.by_given["y_hat alone" if what in ("y_hat", "last") else "h is given"] += total

    def print(self) -> None:
        """Print a table by family, and what was not named."""
        keys = ("ports", "named", "located", "wrong", "false passes")
        rows = {**self.totals, **self.by_given, "all": sum(self.totals.values(), Counter())}
        print(f"{'family':16}" + "".join(f"{key:>14}" for key in keys))
        for name, total in rows.items():
            print(f"{name:16}" + "".join(_share(total, key) for key in keys))
        print(f"slowest {self.slowest:.2f} s")
        for label, times in self.unnamed.most_common():
            print(f"unnamed {times:3}  {label}")


def main() -> int:
    """Print shares by family, and each wrong explanation; status 1 for a false pass or alarm."""
    given_arguments = [*sys.argv[1:], *("200", "0", "")[len(sys.argv) - 1 :]]
    count, seed, family = int(given_arguments[0]), int(given_arguments[1]), given_arguments[2]
    tally = Tally()
    for number, case in enumerate(cases(count, seed, family)):
        tally.judge(*case, seed=1000 * seed + number)
    for net in NETS:
        for what in GIVEN:
            port, options = right_port(net, seed + 7)
            result = rnnshapes.verify(**options, against=given(port, port.run(), what))
            if not result.passed:
                tally.failures += 1
                print(f"ALARM   {net} | {what}")
    tally.print()
    return int(tally.failures > 0)


def _share(total: Counter[str], key: str) -> str:
    if key == "ports":
        return f"{total[key]:>14,}"
    return f"{total[key]:>7} {100 * total[key] / max(1, total['ports']):>4.0f} %"


if __name__ == "__main__":
    sys.exit(main())
