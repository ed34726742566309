"""A live ``keras.Model`` read as a Network: by class names and configs, without importing Keras."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.live.graph import KerasCall, KerasGraph, is_model, read_graph
from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import COMPUTE_DTYPES, SHORT_DTYPES, Network, Tap
from rnnshapes.network.layers.base import UnsupportedError
from rnnshapes.network.layers.registry import layer_class


def read_model(model: Any) -> Network:
    """The layers and sizes of a built model; N, and T where the model leaves it open, are open.

    A layer that is not derived is in it as such. Raises InputError for what is no model with a
    graph of layers.
    """
    if isinstance(model, type) or not hasattr(model, "get_weights"):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InputError(f"a keras.Model was expected, got {got}")
    if not model.built:
        raise InputError("this model has no weights yet: build it with an Input((T, D))")
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise InputError(
            f"this model ({type(model).__name__}) has no graph of layers: "
            "build it with keras.Sequential or keras.Model(inputs, outputs)"
        )
    graph = read_graph(model)
    return assemble(_plan(graph))


def _plan(graph: KerasGraph) -> LayerGraph:
    calls = tuple(_call(graph, place, call) for place, call in enumerate(graph.calls))
    batches = {
        call.outputs[0].shape[0] for call in graph.calls if _kind(call.layer) == "InputLayer"
    }
    batch = next(iter(batches - {None}), None)
    outputs = tuple(Tap(*place) for place in graph.outputs)
    return LayerGraph(calls, outputs, _dtype(graph), batch=batch)


def _call(graph: KerasGraph, place: int, call: KerasCall) -> LayerCall:
    layer, kind = call.layer, _kind(call.layer)
    why = ""
    config: dict[str, Any] = {}
    if kind == "InputLayer":
        users = [c for c in graph.calls if (place, 0) in c.sources]
        integers = any(_kind(user.layer) == "Embedding" for user in users)
        dtype = str(call.outputs[0].dtype)
        if not integers and dtype not in (*COMPUTE_DTYPES, "bool"):
            raise InputError(f"input {layer.name!r} is of dtype {dtype}: not supported")
        config = {"batch_shape": tuple(call.outputs[0].shape), "integers": integers}
    elif call.other:
        why = f"it is called with {', '.join(call.other)}, which is not supported"
    else:
        why = _not_read(kind) or _foreign(layer)
        config = {} if why else _config(layer)
    weights = getattr(layer, "weights", ())
    return LayerCall(
        name=call.name,
        class_name=kind,
        config=config,
        sources=tuple(Tap(*source) for source in call.sources),
        initial=tuple(Tap(*source) for source in call.initial),
        stored=tuple((v.name, tuple(int(n) for n in v.shape)) for v in weights),
        outputs=tuple(tuple(tensor.shape) for tensor in call.outputs),
        trainable=bool(getattr(layer, "trainable", True)),
        trainable_count=sum(math.prod(v.shape) for v in getattr(layer, "trainable_weights", ())),
        computes_in=_computes_in(layer),
        mask_dropped=bool(call.initial) and not call.mask_given,
        masked=get_mask(call.outputs[0]) is not None,
        unsupported_reason=why,
    )


def _not_read(kind: str) -> str:
    """Why a class is not read; nothing if it is."""
    try:
        layer_class(kind)
    except UnsupportedError as error:
        return str(error)
    return ""


def _config(layer: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of functions that it cannot name
        config: dict[str, Any] = layer.get_config()
    return config


def _foreign(layer: Any) -> str:
    """What in a layer is not Keras's own: a user's function may share the name of one."""
    for part in _parts(layer):
        for option in ("activation", "recurrent_activation"):
            function = getattr(part, option, None)
            module = getattr(function, "__module__", type(function).__module__)
            if function is not None and str(module).split(".")[0] != "keras":
                return f"the {option} is a function of your own"
    return ""


def _parts(layer: Any) -> Iterator[Any]:
    """A layer, and the layers and cells in it."""
    yield layer
    for name in ("forward_layer", "backward_layer", "cell", "layer"):
        part = getattr(layer, name, None)
        if part is not None:
            yield from _parts(part)
    for cell in getattr(layer, "cells", ()):
        yield from _parts(cell)


def _kind(layer: Any) -> str:
    """The class's name, if the class is Keras's own."""
    kind = type(layer)
    own = kind.__module__.startswith(("keras.src.layers.", "keras.layers."))
    own = own or is_model(layer)
    return kind.__name__ if own else f"{kind.__module__}.{kind.__name__}"


def _computes_in(layer: Any) -> str:
    """The format in which a layer computes, where it is not that of its weights."""
    own = str(getattr(layer, "compute_dtype", ""))
    return own if own in SHORT_DTYPES else ""


def _dtype(graph: KerasGraph) -> str:
    """The dtype of the weights, which all layers share."""
    layers = [c.layer for c in graph.calls if _kind(c.layer) != "InputLayer"]
    layers = [layer for layer in layers if hasattr(layer, "variable_dtype")]
    dtypes = {str(layer.variable_dtype) for layer in layers} or {"float32"}
    if len(dtypes) > 1 or dtypes - set(COMPUTE_DTYPES):
        raise InputError(
            f"the weights of this model are of {', '.join(sorted(dtypes))}; supported: one of "
            f"{', '.join(COMPUTE_DTYPES)} for all of them"
        )
    return dtypes.pop()
