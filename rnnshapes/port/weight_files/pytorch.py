"""Weights of a Keras network as a state_dict of PyTorch.

A recurrent layer becomes the arrays of ``torch.nn.RNN``, ``LSTM`` or ``GRU`` under its name
(``encoder.weight_ih_l0``), a Dense layer those of ``Linear``, and so on. What PyTorch cannot
compute is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.layouts.stored_arrays import lay_out
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.unsupported import require_supported
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.port.weight_files.plain import Names, not_converted, plain_weights

#: Names of arrays of other layers in PyTorch, by the class in Keras and the name there. Kernels
#: have their axes in reverse.
_OTHERS: Names = {
    "Dense": {"kernel": "weight", "bias": "bias"},
    "Embedding": {"embeddings": "weight"},
    "Conv1D": {"kernel": "weight", "bias": "bias"},
    "LayerNormalization": {"gamma": "weight", "beta": "bias"},
    "BatchNormalization": {
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    },
}


def to_pytorch(network: Network, weights: Weights) -> dict[str, Array]:
    """Return the state_dict of a network.

    Raises:
        UnsupportedError: A layer has no counterpart in PyTorch.
    """
    require_supported(layer for layer in network.layers if layer.weights)
    arrays: dict[str, Array] = {}
    for layer in network.layers:
        if layer.directions:
            arrays |= _recurrent(layer, weights)
        else:
            for group, key, name, new_name in plain_weights(layer, _OTHERS):
                values = np.asarray(weights[group][key])
                values = values.T if name == "kernel" else values
                arrays[f"{module_name(layer.name)}.{new_name}"] = values
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def module_name(layer: str) -> str:
    """Return the name of a layer's module, which has dots between a model and its layers."""
    return layer.replace("/", ".")


def _recurrent(layer: Layer, weights: Weights) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a recurrent layer, with zeros for a second bias that Keras lacks."""
    stored = lay_out(layer, weights, "PyTorch")
    reversals = tuple(direction.reverse for direction in layer.directions)
    if reversals != (False, True)[: len(reversals)]:
        reason = "PyTorch has no layer that only processes the sequence in reverse"
        if len(reversals) > 1:
            reason = "PyTorch joins the direction in reverse behind the other one"
        raise not_converted(layer, reason)
    for cell in layer.cells:
        _require_pytorch(layer, cell)
    if len(names := {getattr(cell, "activation", "") for cell in layer.cells}) > 1:
        both = " and ".join(sorted(names))
        reason = f"its directions have {both}, and those of PyTorch have the same"
        raise not_converted(layer, reason)
    for array, values in stored:
        yield f"{module_name(layer.name)}.{array.name}", values


def _require_pytorch(layer: Layer, cell: Cell) -> None:
    """Raise UnsupportedError for activations that PyTorch's layers do not have."""
    allowed: dict[str, tuple[str, ...]] = {
        "activation": ("tanh",),
        "recurrent_activation": ("sigmoid",),
    }
    if cell.name == "simple":
        allowed["activation"] = ("tanh", "relu")
    for option, names in allowed.items():
        name = getattr(cell, option, names[0])
        if name not in names:
            raise not_converted(layer, f"PyTorch has {option} {' or '.join(names)}, not {name}")
