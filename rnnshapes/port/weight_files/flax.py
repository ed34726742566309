"""Weights of a Keras network as parameters of Flax linen, and the proof that they are its weights.

A recurrent layer becomes the arrays of ``LSTMCell``, ``GRUCell`` or ``SimpleCell``, one for each
gate, under its name: ``encoder/ii/kernel``. Kernels are not transposed.
Source: ``flax/linen/recurrent.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.errors import CannotRunError
from rnnshapes.layouts.frameworks import layout_of
from rnnshapes.layouts.layout import CellLayout
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.network.layers.unsupported import require_supported
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.weight_files.comparison import WeightCheck, WeightVerification
from rnnshapes.port.weight_files.plain import (
    Names,
    not_converted,
    plain_weights,
    window_options,
)

FLAX = "Flax linen"
#: Names of arrays of other layers in Flax, by the class in Keras and the name there.
_OTHERS: Names = MappingProxyType(
    {
        "Dense": {"kernel": "kernel", "bias": "bias"},
        "Embedding": {"embeddings": "embedding"},
        "Conv1D": {"kernel": "kernel", "bias": "bias"},
        "LayerNormalization": {"gamma": "scale", "beta": "bias"},
        "BatchNormalization": {
            "gamma": "scale",
            "beta": "bias",
            "moving_mean": "mean",
            "moving_variance": "var",
        },
    }
)
#: The activations of a cell in Flax, by the options of Keras: argument and default.
_FUNCTIONS = MappingProxyType(
    {"activation": ("activation_fn", "tanh"), "recurrent_activation": ("gate_fn", "sigmoid")}
)
#: Activations in JAX that are those of Keras, by their names in Keras, where JAX has another name
#: or other constants. Source: ``jax/_src/nn/functions.py``.
_JAX = MappingProxyType(
    {
        "tanh": "jax.numpy.tanh",
        "linear": "lambda z: z",
        "exponential": "jax.numpy.exp",
        "softsign": "jax.nn.soft_sign",
        "gelu": "lambda z: jax.nn.gelu(z, approximate=False)",
        "gelu_tanh": "lambda z: jax.nn.gelu(z, approximate=True)",
        "leaky_relu": "lambda z: jax.nn.leaky_relu(z, 0.2)",
        KERAS2_HARD_SIGMOID: "lambda z: jax.numpy.clip(0.2 * z + 0.5, 0, 1)",
    }
)
#: Activations of ``jax.nn`` that are those of Keras.
_JAX_NN = (
    *("celu", "elu", "hard_sigmoid", "hard_silu", "hard_tanh", "log_sigmoid", "log_softmax"),
    *("mish", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "sparse_plus"),
    *("sparse_sigmoid", "squareplus"),
)
_KEYS = MappingProxyType({"Wx": "kernel", "Wh": "recurrent_kernel"})
#: Blocks of columns by gate; the gate of a cell without gates is empty.
_Blocks = dict[str, Array]


class _FlaxArray(NamedTuple):
    """An array of a cell in Flax: its name, and the part and the gates that it holds."""

    name: str
    part: str
    gates: tuple[str, ...]


def to_flax(network: Network, weights: Weights) -> dict[str, Array]:
    """Return the parameters of a network by their paths.

    Raises:
        UnsupportedError: A layer has no counterpart in Flax.
    """
    require_supported(layer for layer in network.layers if layer.weights)
    arrays: dict[str, Array] = {}
    for layer in network.layers:
        for direction, prefix, cell in _recurrences(layer):
            blocks = _blocks(cell, weights[direction.name])
            for name, part, gates in _arrays(cell):
                arrays[prefix + name] = np.concatenate([blocks[part][g] for g in gates], axis=-1)
        for group, key, _, name in () if layer.directions else plain_weights(layer, _OTHERS):
            arrays[f"{layer.name}/{name}"] = np.asarray(weights[group][key])
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def verify_flax(
    network: Network, weights: Weights, arrays: Mapping[str, Array], path: str
) -> WeightVerification:
    """Compare the arrays of a file that was converted from a network with its weights.

    Raises:
        CannotRunError: One of them differs.
    """
    checks: list[WeightCheck] = []
    for layer in network.layers:
        for direction, prefix, cell in _recurrences(layer):
            checks += _cell_checks(direction.name, prefix, cell, weights[direction.name], arrays)
        for group, key, name, new in () if layer.directions else plain_weights(layer, _OTHERS):
            values, stored = np.asarray(weights[group][key]), f"{layer.name}/{new}"
            is_same = np.array_equal(values, arrays[stored])
            rule = "as it is" if is_same else ""
            checks.append(WeightCheck(f"{group}/{name}", (stored,), rule, values.size))
    if not all(check.rule for check in checks) or len(arrays) != len(
        {name for check in checks for name in check.arrays}
    ):
        raise CannotRunError(f"{path}: what was written differs from the weights of the model")
    assumptions = tuple(_assumptions(network, checks))
    return WeightVerification(network, path, "Flax", ".npz", tuple(checks), (), assumptions)


def _recurrences(layer: Layer) -> Iterator[tuple[Direction, str, Cell]]:
    """Yield each direction of a layer, what the names of its arrays begin with, and its cell."""
    for name, direction in _named(layer):
        cells = list(direction.cell.cells_by_suffix.values())
        if len(cells) > 1:
            reason = "Flax has no cells of a stack in one layer; use a layer each"
            raise not_converted(layer, reason)
        if getattr(cells[0], "reset_after", True) is False:
            raise not_converted(layer, "Flax applies r after the product with Wh (reset_after)")
        for function in cells[0].activations:
            if function not in _JAX and function not in _JAX_NN:
                raise not_converted(layer, f"JAX has no activation {function}")
        yield direction, f"{name}/", cells[0]


def _layout(cell: Cell) -> CellLayout:
    return layout_of(FLAX, cell.name)


def _arrays(cell: Cell) -> Iterator[_FlaxArray]:
    """Yield the arrays of a cell in Flax."""
    layout = _layout(cell)
    for array in layout.arrays:
        name, gates = array.name.replace(".", "/"), array.gates or layout.gates or ("",)
        if "{gate}" not in name:
            yield _FlaxArray(name, array.parts[0], gates)
            continue
        for gate in gates:
            yield _FlaxArray(name.format(gate=layout.letter(gate)), array.parts[0], (gate,))


def _split(values: Array, cell: Cell) -> _Blocks:
    """Return the block of each gate of an array (…, G·M)."""
    gates = cell.gate_names or ("",)
    return dict(zip(gates, np.split(values, len(gates), axis=-1), strict=True))


def _blocks(cell: Cell, weights: Mapping[str, Array]) -> dict[str, _Blocks]:
    """Return the parts of a cell's equation by gate, with the biases that Flax has.

    Where it has one bias for a gate, both of Keras are added.
    """
    parts = {key: _split(np.asarray(weights[key]), cell) for key in _KEYS}
    held = {(array.part, gate) for array in _arrays(cell) for gate in array.gates}
    kernel = np.asarray(weights["Wx"])
    bias = np.asarray(weights.get("bh", np.zeros(kernel.shape[-1], kernel.dtype)))
    rows = [_split(row, cell) for row in (bias if bias.ndim == 2 else [bias])]
    parts |= {"bx": {}, "bh": {}}
    for gate in cell.gate_names or ("",):
        own = [row[gate] for row in rows]
        names = [part for part in ("bx", "bh") if (part, gate) in held]
        if len(names) == 1:
            own = [sum(own[1:], own[0])]
        own += [np.zeros_like(own[0])] * (len(names) - len(own))
        for part, values in zip(names, own, strict=True):
            parts[part][gate] = values
    return parts


def _cell_checks(
    owner: str, prefix: str, cell: Cell, weights: Mapping[str, Array], arrays: Mapping[str, Array]
) -> Iterator[WeightCheck]:
    """Yield the checks of a cell: each array of Keras against those of the file."""
    stored: dict[str, _Blocks] = {}
    names: dict[str, list[str]] = {}
    for name, part, held in _arrays(cell):
        blocks = np.split(arrays[prefix + name], len(held), axis=-1)
        stored.setdefault(part, {}).update(zip(held, blocks, strict=True))
        names.setdefault(part, []).append(prefix + name)
    gates = cell.gate_names or ("",)
    for key, name in _KEYS.items():
        values = np.asarray(weights[key])
        is_same = np.array_equal(values, np.concatenate([stored[key][g] for g in gates], axis=-1))
        rule = "by gate" if cell.gate_names else "as it is"
        yield WeightCheck(f"{owner}/{name}", tuple(names[key]), rule * is_same, values.size)
    bias_names = (*names.get("bx", ()), *names.get("bh", ()))
    bias = np.asarray(weights["bh"]) if "bh" in weights else None
    rule = _bias_rule(cell, bias, stored)
    yield WeightCheck(f"{owner}/bias", bias_names, rule, 0 if bias is None else bias.size)


def _bias_rule(cell: Cell, bias: Array | None, stored: Mapping[str, _Blocks]) -> str:
    """Return how the biases of the file make that of Keras; empty if they do not."""
    held = [stored.get(part, {}) for part in ("bx", "bh")]
    if bias is None:
        is_zero = not any(block.any() for blocks in held for block in blocks.values())
        return "zeros" if is_zero else ""
    rows = [_split(row, cell) for row in (bias if bias.ndim == 2 else [bias])]
    added = []
    for gate in cell.gate_names or ("",):
        own = [row[gate] for row in rows]
        blocks = [blocks[gate] for blocks in held if gate in blocks]
        if len(own) > len(blocks):
            added.append(gate)
            unit = PRECISIONS[str(bias.dtype)].unit_roundoff
            exact = [each.astype(np.float64) for each in own]
            bound = 2 * unit * sum(map(np.abs, exact))
            is_same = bool(np.all(np.abs(sum(exact) - blocks[0]) <= bound))
        else:
            own += [np.zeros_like(own[0])] * (len(blocks) - len(own))
            is_same = all(map(np.array_equal, own, blocks))
        if not is_same:
            return ""
    rule = "by gate" if cell.gate_names else "as it is"
    return f"{rule}; rows of {' '.join(added)} added" if added else rule


def _assumptions(network: Network, checks: Sequence[WeightCheck]) -> Iterator[str]:
    """Yield the options of layers that decide the numbers and are not in the file."""
    for layer in network.layers:
        yield from window_options(layer, "same")
        epsilon, mode = (getattr(layer, name, None) for name in ("epsilon", "merge_mode"))
        if epsilon is not None:
            yield f"the file does not hold epsilon: use epsilon={epsilon:g} in {layer.name}"
        if layer.type == "BatchNormalization":
            yield f"mean and var of {layer.name} belong into the collection batch_stats"
        if mode not in ("concat", None):
            yield f"Flax joins both directions by concat: {layer.name} joins them by {mode}"
        reversals = [direction.reverse for direction in layer.directions]
        if reversals != [False, True][: len(reversals)]:
            names = [name for name, direction in _named(layer) if direction.reverse]
            which = " and ".join(names)
            yield f"the file does not hold directions: {which} takes the sequence in reverse"
        for name, argument, function in _functions(layer):
            yield f"the file does not hold activations: use {argument}={function} in {name}"
    for check in checks:
        if "added" in check.rule:
            yield f"{check.name}: Flax has one bias for these gates, so two rows were added"


def _named(layer: Layer) -> Iterator[tuple[str, Direction]]:
    """Yield each direction of a layer with its name in Flax."""
    for number, direction in enumerate(layer.directions):
        direction_path = ("/forward", "/backward")[number] if len(layer.directions) > 1 else ""
        yield f"{layer.name}{direction_path}", direction


def _functions(layer: Layer) -> Iterator[tuple[str, str, str]]:
    """Yield the activations that are not Flax's defaults: the cell, the argument, its value."""
    for name, direction in _named(layer):
        (cell,) = direction.cell.cells_by_suffix.values()
        for option, (argument, default) in _FUNCTIONS.items():
            function = getattr(cell, option, default)
            if function != default:
                yield name, argument, _JAX.get(function, f"jax.nn.{function}")
