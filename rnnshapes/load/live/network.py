"""The network of a live ``keras.Model``, from class names and configs, without importing Keras."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.live.graph import (
    KerasCall,
    KerasGraph,
    is_model,
    positional_arguments,
    read_graph,
    uncalled_weights,
)
from rnnshapes.load.live.keras_private import get_mask
from rnnshapes.load.live.recorded_model import UncalledWeights
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble, stored_weights
from rnnshapes.network.graph import COMPUTE_DTYPES, Network
from rnnshapes.network.layers.config import OPERATION, OPERATION_MODULES
from rnnshapes.network.layers.registry import layer_class
from rnnshapes.network.layers.unsupported import UnsupportedLayer


def read_model(model: Any, keeps_steps: Collection[int] = ()) -> Network:
    """Return the network of a built model, or of a recorded one.

    N is open, and T where the model leaves it open. A layer that is not supported is part of the
    network, without equations.

    Args:
        model: The model.
        keeps_steps: The positions of unsupported layers whose output has as many steps as their
            input.

    Raises:
        InputError: An input or the weights are of a dtype that is not supported.
    """
    graph = read_graph(model)
    calls = tuple(
        replace(_layer_call(graph, position), keeps_steps=position in keeps_steps)
        for position in range(len(graph.calls))
    )
    inputs = [call for call in graph.calls if _class_name(call.layer) == "InputLayer"]
    batch = next((n for call in inputs if (n := call.outputs[0].shape[0]) is not None), None)
    network = assemble(LayerGraph(calls, graph.outputs, _common_dtype(graph), batch=batch))
    return replace(network, uncalled=tuple(map(_uncalled_layer, uncalled_weights(model, graph))))


def has_graph(model: Any) -> bool:
    """Return whether a model was built as Sequential or functional, and not as a class.

    Raises:
        InputError: It is not a model, or not built.
    """
    if isinstance(model, type) or not hasattr(model, "get_weights"):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InputError(f"a keras.Model was expected, got {got}")
    if not model.built:
        raise InputError(
            "this model has no weights yet: build it with an Input((T, D)), or call it on an x"
        )
    return bool(getattr(model, "inputs", None) and getattr(model, "outputs", None))


def _uncalled_layer(uncalled: UncalledWeights) -> UnsupportedLayer:
    """Return weights that no called layer has as a layer that is not supported."""
    why = (
        "weights of its own, outside its layers"
        if uncalled.own
        else "it was not called, or only inside tf.while_loop"
    )
    return UnsupportedLayer(
        name=uncalled.name,
        trainable=bool(uncalled.layer.trainable),
        keras_class=_class_name(uncalled.layer),
        reason=why,
        stored_weights=stored_weights(tuple(_stored_shapes(uncalled))),
        output_shapes=(),
        trainable_count=_trainable_count(uncalled),
    )


def _layer_call(graph: KerasGraph, position: int) -> LayerCall:
    call = graph.calls[position]
    layer, class_name = call.layer, _class_name(call.layer)
    sources = [graph.calls[tap.node].outputs[tap.output] for tap in call.sources]
    why = ""
    config: Mapping[str, Any] = {}
    if class_name == "InputLayer":
        config = _input_config(graph, position)
    elif getattr(layer, "reruns_model", False):
        class_name = "Operations"
        why = "computed by functions outside keras.ops; use keras.ops to have them checked"
    elif call.unsupported:
        why = f"it is called with {', '.join(call.unsupported)}, which is not supported"
    elif any(map(_is_integer, sources)) and not _takes_integers(layer):
        why = "it computes with integers"
    elif any(_mask_axes(source) == 1 for source in sources):
        why = "its input has a mask of whole samples"
    else:
        why = _unknown_class(class_name) or _own_function(layer)
        config = {} if why else _config(layer)
    holder = _holder(graph, layer) if why else ""
    counted = None if holder else layer
    is_operation = class_name.startswith(OPERATION)
    return LayerCall(
        name=call.name,
        class_name=class_name,
        config=config,
        sources=call.sources,
        initial=call.initial,
        stored=tuple(_stored_shapes(counted)),
        outputs=tuple(tuple(tensor.shape) for tensor in call.outputs),
        trainable=bool(getattr(layer, "trainable", True)),
        trainable_count=_trainable_count(counted),
        computes_in=_compute_dtype(call),
        output_dtype=_if_float(str(call.outputs[0].dtype)),
        mask_dropped=bool(call.initial) and not call.has_mask,
        masked=_mask_axes(call.outputs[0]) > 1,
        unsupported_reason=f"{why}; its weights are counted in {holder}" if holder else why,
        call_options=tuple(call.settings.items()),
        arguments=positional_arguments(call) if is_operation else (),
        nesting=call.nesting,
        models_ended=call.models_ended,
    )


def _mask_axes(tensor: Any) -> int:
    """Return the number of axes of the mask of a tensor; 0 without one."""
    mask = get_mask(tensor)
    return 0 if mask is None else len(mask.shape)


def _holder(graph: KerasGraph, layer: Any) -> str:
    """Return the name of another called layer that a layer is a part of: the RNN of a cell."""
    others = (call for call in graph.calls if call.layer is not layer)
    holders = (c.name for c in others if any(part is layer for part in _inner_layers(c.layer)))
    return next(holders, "")


def _input_config(graph: KerasGraph, position: int) -> dict[str, Any]:
    """Return shape and kind of an input, which is an index if an Embedding takes it."""
    call = graph.calls[position]
    dtype = str(call.outputs[0].dtype)
    integers = takes_indices(graph, position) or _is_integer(call.outputs[0])
    if not integers and dtype not in (*COMPUTE_DTYPES, "bool"):
        raise InputError(f"input {call.layer.name!r} is of dtype {dtype}: not supported")
    return {"batch_shape": tuple(call.outputs[0].shape), "integers": integers}


def _is_integer(tensor: Any) -> bool:
    return "int" in str(tensor.dtype)


def takes_indices(graph: KerasGraph, position: int) -> bool:
    """Return whether an Embedding takes the output of a call."""
    users = [other.layer for other in graph.calls if (position, 0) in other.sources]
    return any(map(_takes_integers, users))


def _takes_integers(layer: Any) -> bool:
    """Return whether a layer is an Embedding, also one at each step."""
    inner = layer.layer if _class_name(layer) == "TimeDistributed" else layer
    return _class_name(inner) == "Embedding"


def _stored_shapes(layer: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield name and shape of each weight of a layer."""
    for variable in getattr(layer, "weights", ()):
        yield variable.name, tuple(int(size) for size in variable.shape)


def _trainable_count(layer: Any) -> int:
    return sum(math.prod(weight.shape) for weight in getattr(layer, "trainable_weights", ()))


def _unknown_class(class_name: str) -> str:
    """Return why a class is not supported, or an empty text."""
    try:
        layer_class(class_name)
    except UnsupportedError as error:
        return str(error)
    return ""


def _config(layer: Any) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of functions that it cannot name
        config: dict[str, Any] = layer.get_config()
    return config


def _own_function(layer: Any) -> str:
    """Return which activation in a layer is not Keras's own, or an empty text.

    A user's function may have the name of one of Keras's.
    """
    for part in _inner_layers(layer):
        for option in ("activation", "recurrent_activation"):
            function = getattr(part, option, None)
            module = getattr(function, "__module__", type(function).__module__)
            if function is not None and str(module).split(".")[0] != "keras":
                return f"the {option} is a custom function"
    return ""


def _inner_layers(layer: Any) -> Iterator[Any]:
    """Yield a layer, and the layers and cells in it."""
    yield layer
    for name in ("forward_layer", "backward_layer", "cell", "layer"):
        inner = getattr(layer, name, None)
        if inner is not None:
            yield from _inner_layers(inner)
    for cell in getattr(layer, "cells", ()):
        yield from _inner_layers(cell)


def _class_name(layer: Any) -> str:
    """Return the class of a layer, with its module in front unless it is a layer of Keras."""
    kind = type(layer)
    is_keras = kind.__module__.startswith("keras.src.layers.") or is_model(layer)
    if kind.__module__.startswith(OPERATION_MODULES):
        return f"{OPERATION}{kind.__name__}"
    return kind.__name__ if is_keras else f"{kind.__module__}.{kind.__name__}"


def _compute_dtype(call: KerasCall) -> str:
    """Return the dtype in which a layer computes, or an empty text.

    An input has the dtype of its tensor, whatever the policy is.
    """
    is_input = _class_name(call.layer) == "InputLayer"
    dtype = str(call.outputs[0].dtype if is_input else getattr(call.layer, "compute_dtype", ""))
    return _if_float(dtype)


def _if_float(dtype: str) -> str:
    return dtype if dtype in COMPUTE_DTYPES else ""


def _common_dtype(graph: KerasGraph) -> str:
    """Return the dtype of the weights. Raises InputError unless all layers share it."""
    layers = [call.layer for call in graph.calls if _class_name(call.layer) != "InputLayer"]
    layers = [layer for layer in layers if hasattr(layer, "variable_dtype")]
    dtypes = {str(layer.variable_dtype) for layer in layers} or {"float32"}
    if len(dtypes) > 1 or dtypes - set(COMPUTE_DTYPES):
        raise InputError(
            f"the weights of this model are of {', '.join(sorted(dtypes))}; supported: one of "
            f"{', '.join(COMPUTE_DTYPES)} for all of them"
        )
    return dtypes.pop()
