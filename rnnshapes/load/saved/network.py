"""The network of a model's config: its layers, their arrays in the file, and their connections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved import mask_ops
from rnnshapes.load.saved.config_graph import GraphFlattener, SavedCall
from rnnshapes.load.saved.config_layers import SavedLayer
from rnnshapes.load.saved.hdf5_client import StoredWeight
from rnnshapes.load.saved.inbound_nodes import shape_of
from rnnshapes.load.saved.weight_paths import WeightsByLayer
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import COMPUTE_DTYPES, ITEM_BYTES, Network, Tap
from rnnshapes.network.layers.config import OPERATION, Config
from rnnshapes.network.layers.registry import is_recurrent

#: More equations than anyone reads; they take about three seconds to write.
MOST_LINES = 1000
#: More terms in the formula of a parameter count, and in all of them, than anyone reads.
MOST_TERMS, MOST_TERMS_IN_ALL = 200, 5000
#: More tensors in one formula than anyone reads.
MOST_SOURCES = 32


@contextmanager
def config_errors() -> Iterator[None]:
    """Raise InputError for any error that a config sets off which Keras would not write."""
    try:
        yield
    except InputError:
        raise
    except RecursionError:
        raise InputError("its config is nested deeper than that of a model") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise InputError(f"its config is not one that Keras writes ({reason})") from None


def flatten(config: Config, *, legacy: bool) -> tuple[GraphFlattener, tuple[Tap, ...]]:
    """Return all calls of layers in a model, and which of them are its outputs.

    A model inside the model stays one layer where it is called with more than tensors.

    Args:
        config: The model as Keras writes it.
        legacy: Whether Keras 1 or 2 wrote it.
    """
    opaque: frozenset[str] = frozenset()
    with config_errors():
        while True:
            graph = GraphFlattener(legacy=legacy, opaque=opaque)
            outputs = tuple(graph.add_model(config))
            more_opaque = graph.more_opaque
            if not more_opaque and any(call.mask is not None for call in graph.submodel_calls):
                network = assemble(_layer_graph(graph, outputs, {}))
                more_opaque = mask_ops.submodels_with_foreign_masks(network, graph)
            if not more_opaque - opaque:
                return graph, outputs
            opaque |= more_opaque


def build_network(
    graph: GraphFlattener,
    outputs: tuple[Tap, ...],
    weights: WeightsByLayer,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Network:
    """Return the network of a model.

    Args:
        graph: All calls of layers.
        outputs: The outputs of the model.
        weights: The arrays that the file holds for each layer.
        aliases: Layers that are another layer, by the names of both.

    Raises:
        InputError: Shapes do not fit, or the network is too large to be shown.
    """
    with config_errors():
        layer_graph = _layer_graph(graph, outputs, weights)
        calls = [replace(c, name=aliases.get(c.name, c.name)) for c in layer_graph.calls]
        layer_graph = replace(layer_graph, calls=tuple(calls))
        if any(call.mask is not None for call in graph.calls):
            foreign = mask_ops.foreign_masks(assemble(layer_graph), graph)
            why = "it is called with a mask that its input does not have"
            calls = [
                replace(c, unsupported_reason=why) if i in foreign else c
                for i, c in enumerate(calls)
            ]
            layer_graph = replace(layer_graph, calls=tuple(calls))
        network = assemble(layer_graph.ordered())
        lines = sum(node.layer.equation_lines for node in network.nodes)
        if lines > MOST_LINES:
            raise InputError(f"its equations would take about {lines:,} lines, more than are shown")
        terms = [len(layer.count.terms) for layer in network.layers]
        if max(terms) > MOST_TERMS or sum(terms) > MOST_TERMS_IN_ALL:
            raise InputError(f"its formulas would have {sum(terms):,} terms, more than are shown")
        return network


def _layer_graph(
    graph: GraphFlattener, outputs: tuple[Tap, ...], weights: WeightsByLayer
) -> LayerGraph:
    layers = list(graph.layers.values())
    users: dict[Tap, list[SavedCall]] = {}
    for call in graph.calls:
        for tap in dict.fromkeys(call.sources):
            users.setdefault(tap, []).append(call)
    calls = [
        _layer_call(call, users.get(Tap(position), []), weights, legacy=graph.legacy)
        for position, call in enumerate(graph.calls)
    ]
    inputs = [call for call in calls if call.class_name == "InputLayer"]
    batch = next((b for c in inputs if (b := c.config["batch_shape"][0]) is not None), None)
    return LayerGraph(tuple(calls), outputs, _common_dtype(layers), batch=batch)


def _layer_call(
    call: SavedCall, users: Sequence[SavedCall], weights: WeightsByLayer, *, legacy: bool
) -> LayerCall:
    """Return a call; ``users`` are the calls that take its first output."""
    layer, config = call.layer, call.layer.config
    why = ""
    if layer.class_name == "InputLayer":
        config = _input_config(layer, users)
    elif call.unsupported:
        why = f"it is called with {', '.join(call.unsupported)}, which is not supported"
    elif _is_quantized(layer):
        why = "it is quantized, or has LoRA"
    elif layer.submodel is not None:
        why = "it is a model inside the model that is called with more than tensors"
        if not layer.is_model:
            why = "it applies a model without layers: its output is its input"
    elif len(call.sources) > MOST_SOURCES:
        why = f"it is called on {len(call.sources)} tensors, more than {MOST_SOURCES}"
    stored = weights.get(layer.name, ())
    shapes = call.shapes or _shape_from_kernel(users, weights)
    numbers = range(max(shapes, default=-1) + 1)
    output_shapes = tuple(shapes[n] for n in numbers if n in shapes)
    return LayerCall(
        name=layer.name,
        class_name=layer.class_name,
        config=config,
        sources=call.sources,
        initial=call.initial,
        stored=tuple((weight.name, weight.shape) for weight in stored),
        named=False,
        outputs=output_shapes if len(output_shapes) == len(numbers) else (),
        trainable=layer.trainable,
        trainable_count=_trainable_count(layer, stored),
        computes_in=_compute_dtype(layer),
        mask_dropped=bool(call.initial) and call.mask is None and not legacy,
        unsupported_reason=why,
        contradiction=layer.contradiction,
        arguments=call.arguments,
        call_options=call.settings,
        nesting=layer.nesting,
        models_ended=call.models_ended,
    )


def _input_config(layer: SavedLayer, users: Sequence[SavedCall]) -> dict[str, Any]:
    """Return shape and kind of an input, which is an index if an Embedding takes it."""
    shape = shape_of(layer.config.get("batch_shape"))
    shape = shape or shape_of(layer.config.get("batch_input_shape"))
    if not shape:
        raise InputError(f"input {layer.name!r} has no shape")
    integers = any(_looks_up(user.layer) for user in users)
    return {"batch_shape": shape, "integers": integers}


def _looks_up(layer: SavedLayer) -> bool:
    """Return whether a layer takes indices: an Embedding, also one at each step."""
    inner = layer.config.get("layer") if layer.class_name == "TimeDistributed" else None
    name = inner.get("class_name") if isinstance(inner, dict) else layer.class_name
    return bool(name == "Embedding")


def _shape_from_kernel(
    users: Sequence[SavedCall], weights: WeightsByLayer
) -> Mapping[int, tuple[int | None, ...]]:
    """Return the output shape of a call by the kernel of the recurrent layer that takes it."""
    for call in users:
        kernel = next(iter(weights.get(call.layer.name, ())), None)
        class_name = call.layer.class_name
        # The first array of an RNN around a user's cell may be anything.
        has_kernel = is_recurrent(class_name) and class_name != "RNN"
        if len(call.sources) == 1 and has_kernel and kernel is not None and len(kernel.shape) == 2:
            return {0: (None, None, kernel.shape[0])}
    return {}


def _trainable_count(layer: SavedLayer, weights: Sequence[StoredWeight]) -> int | None:
    """Return how many parameters are trained, if a part of the layer is frozen, else ``None``."""
    if not layer.trainable or all(weight.trained for weight in weights):
        return None
    return sum(math.prod(weight.shape) for weight in weights if weight.trained)


# --- Number formats -----------------------------------------------------------------------------


def _is_quantized(layer: SavedLayer) -> bool:
    policy = layer.config.get("dtype")
    kind = policy.get("class_name") if isinstance(policy, dict) else None
    options = layer.config.get("quantization_config"), layer.config.get("lora_rank")
    return any(options) or "Quantized" in str(kind)


def mixed_policies(layers: Sequence[SavedLayer]) -> str:
    """Return the dtype policies under which Keras computes in another dtype than that of weights.

    The text is empty where all layers compute in the one dtype of their weights.
    """
    policies = _policies(layers)
    is_plain = len(policies) == 1 and not policies[0].startswith("mixed_")
    return "" if is_plain else ", ".join(policies)


def weight_dtypes(layers: Sequence[SavedLayer]) -> tuple[str, ...]:
    """Return the dtypes of weights, each once."""
    dtypes = ("float32" if name.startswith("mixed_") else name for name in _policies(layers))
    return tuple(dict.fromkeys(dtypes))


def _common_dtype(layers: Sequence[SavedLayer]) -> str:
    """Return the dtype of weights that all layers have, or float32."""
    dtypes = weight_dtypes(layers)
    return dtypes[0] if len(dtypes) == 1 else "float32"


def _policies(layers: Sequence[SavedLayer]) -> list[str]:
    """Return the dtype policies of all layers, but for operations, which have none."""
    names = {
        _policy(layer)
        for layer in layers
        if layer.class_name != "InputLayer" and not layer.class_name.startswith(OPERATION)
    }
    return sorted(n for n in names if n.startswith("mixed_") or n in ITEM_BYTES) or ["float32"]


def _compute_dtype(layer: SavedLayer) -> str:
    """Return the dtype in which a layer computes, or that of an input; empty if it is no float."""
    name = _policy(layer).removeprefix("mixed_")
    return name if name in COMPUTE_DTYPES else ""


def _policy(layer: SavedLayer) -> str:
    """Return the name of a layer's dtype policy."""
    policy: Any = layer.config.get("dtype")
    if isinstance(policy, dict):
        policy = policy.get("config")
        policy = policy.get("name") if isinstance(policy, dict) else None
    return policy if isinstance(policy, str) else "float32"
