"""Weights of layers without recurrence, by their names in another framework."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.time_distributed import layer_at_step

#: Names of arrays in a framework, by the class in Keras and the name there.
Names = Mapping[str, Mapping[str, str]]


class PlainWeight(NamedTuple):
    """A weight: its group and its key in the network, its name in Keras, and that elsewhere."""

    group: str
    key: str
    name: str
    new_name: str


def plain_weights(layer: Layer, names: Names) -> Iterator[PlainWeight]:
    """Yield the weights of a layer, also of one at each step, with their names elsewhere.

    Raises:
        UnsupportedError: One of them has no name there.
    """
    kind = layer_at_step(layer).type
    for group, members in layer.groups.items():
        for weight in members:
            name = names.get(kind, {}).get(weight.name)
            if name is None:
                raise not_converted(layer, f"the weights of a {kind} are not converted")
            yield PlainWeight(group, weight.key, weight.name, name)


def window_options(layer: Layer, padding: str) -> Iterator[str]:
    """Yield the options of a convolution that are not a framework's defaults.

    Args:
        layer: The layer, which may have no windows.
        padding: What the framework pads by default.
    """
    for window in getattr(layer_at_step(layer), "windows", ()) if layer.weights else ():
        options = {
            "padding": (window.mode, padding),
            "strides": (window.stride, 1),
            "dilation_rate": (window.dilation, 1),
        }
        for name, (value, default) in options.items():
            if value != default:
                yield f"the file does not hold {name}: {layer.name} has {name}={value!r}"


def not_converted(layer: Layer, reason: str) -> UnsupportedError:
    """Return the error for a layer without a counterpart."""
    return UnsupportedError(f"layer {layer.name!r} cannot be converted: {reason}")
