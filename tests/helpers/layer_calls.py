"""Layers made from their config alone, without Keras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.unsupported import UnsupportedLayer

#: Class and config of a layer, and other fields of its call.
Part = tuple[Any, ...]


def network(*parts: Part, outputs: tuple[Any, ...] = (), batch: int | None = None) -> Network:
    """Return a network of these layers on x (N, 6, 3), each called on the one before it.

    The third part of a layer has other fields of its call.
    """
    calls = [LayerCall("x", "InputLayer", {"batch_shape": (batch, 6, 3)})]
    for number, (kind, config, *more) in enumerate(parts, 1):
        call = LayerCall(f"l{number}", kind, config, (Tap(number - 1),))
        calls.append(replace(call, **(more[0] if more else {})))
    taps = outputs or (Tap(len(parts)),)
    return assemble(LayerGraph(tuple(calls), taps, batch=batch))


def shape_after(kind: str, config: dict[str, Any], shape: tuple[int | None, ...]) -> str:
    """Return the symbolic shape of a layer's output, for an input of this shape."""
    calls = (
        LayerCall("x", "InputLayer", {"batch_shape": (None, *shape)}),
        LayerCall("layer", kind, config, (Tap(0),)),
    )
    net = assemble(LayerGraph(calls, (Tap(1),)))
    return ", ".join(map(str, net.output_shapes.shapes[0]))


def called_on(kind: str, config: dict[str, Any], *shapes: Any, arguments: Any = ()) -> Layer:
    """Return a layer that is called on inputs of these shapes, without their samples."""
    return network_of(kind, config, *shapes, arguments=arguments).nodes[-1].layer


def network_of(kind: str, config: dict[str, Any], *shapes: Any, arguments: Any = ()) -> Network:
    """Return a network of one layer, on inputs of these shapes, without their samples."""
    inputs = [
        LayerCall(f"x{number}", "InputLayer", {"batch_shape": (None, *shape)})
        for number, shape in enumerate(shapes)
    ]
    taps = tuple(Tap(number) for number in range(len(shapes)))
    call = LayerCall("layer", kind, config, taps, arguments=arguments)
    return assemble(LayerGraph((*inputs, call), (Tap(len(inputs)),)))


def last_layer(*calls: LayerCall) -> Layer:
    """Return the layer of the last of some calls."""
    return assemble(LayerGraph(calls, (Tap(len(calls) - 1),))).nodes[-1].layer


def is_supported(layer: Layer) -> bool:
    """Return whether a layer is supported."""
    return layer.declared_shapes is None


def is_refused(layer: Layer) -> bool:
    """Return whether Keras refuses a layer."""
    return isinstance(layer, UnsupportedLayer) and layer.contradicts
