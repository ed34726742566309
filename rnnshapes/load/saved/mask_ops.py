"""Masks that a config gives to layers: whether they are those that follow from the layers.

Keras 3 writes what its layers compute as masks into the graph, as operations. Here, a mask is
the set of comparisons of which at least one has to hold at a step.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved.config_graph import GraphFlattener, ModelCall
from rnnshapes.load.saved.inbound_nodes import InboundNode, TensorRef, inbound_nodes
from rnnshapes.network.graph import COMPUTE_DTYPES, DTYPES_16BIT, Network, Node, Tap
from rnnshapes.network.layers.config import is_operation


@dataclass(frozen=True)
class UnequalMask:
    """The steps at which a tensor is not equal to a value, for one of ``comparisons``.

    Each has the tensor, the 16-bit dtype in which it is compared or an empty text, and the value.
    ``None`` in place of the comparisons stands for all steps. ``ndim`` is the number of axes.
    """

    comparisons: frozenset[tuple[Tap, str, float]] | None
    ndim: int = field(default=2, compare=False)

    def any(self, axis: int) -> UnequalMask:
        """Return the same steps, for a comparison of features."""
        return replace(self, ndim=self.ndim - 1)

    def __or__(self, other: object) -> UnequalMask:
        if not isinstance(other, UnequalMask):
            return replace(self, comparisons=None)
        if self.comparisons is None or other.comparisons is None:
            return replace(self, comparisons=None)
        return replace(self, comparisons=self.comparisons | other.comparisons)

    __ror__ = __or__


class _Tensor:
    """A tensor that a layer compares with a value to compute its mask, and its 16-bit dtype."""

    def __init__(self, tap: Tap, dtype: str, ndim: int = 2) -> None:
        self.tap, self.dtype, self.ndim = tap, dtype, ndim

    def astype(self, dtype: Any) -> _Tensor:
        """Return the tensor in another dtype: only one of 16 bits rounds."""
        name = getattr(dtype, "name", None) or getattr(dtype, "__name__", dtype)
        return _Tensor(self.tap, name if name in DTYPES_16BIT else self.dtype, self.ndim)

    def __ne__(self, value: object) -> Any:
        comparison = (self.tap, self.dtype, float(value))  # type: ignore[arg-type]
        return UnequalMask(frozenset({comparison}), self.ndim)

    __hash__ = None  # type: ignore[assignment]


_CONSTANTS = {"ZerosLike": UnequalMask(frozenset()), "OnesLike": UnequalMask(None)}
#: Operations whose result holds at the steps at which one of their inputs does.
_UNIONS = ("Any", "ExpandDims", "LogicalOr", "Concatenate", "ConvertToTensor")


def foreign_masks(network: Network, graph: GraphFlattener) -> set[int]:
    """Return the positions of calls that are given another mask than their input has."""
    masks: list[UnequalMask | None] = []
    positions: set[int] = set()
    for position, (node, call) in enumerate(zip(network.nodes, graph.calls, strict=True)):
        source_masks = _source_masks(network, node, masks)
        if call.mask is not None:
            assert call.model_call is not None
            expected = source_masks[0] if source_masks else None
            written = _written_mask(network, call.model_call, call.mask)
            if written is None or written != expected:  # None is a mask, but an unknown one
                positions.add(position)
        masks.append(_computed_mask(network, node, source_masks))
    return positions


def submodels_with_foreign_masks(network: Network, graph: GraphFlattener) -> set[str]:
    """Return the names of models inside the model that are given another mask than their input."""
    masks: list[UnequalMask | None] = []
    for node in network.nodes:
        masks.append(_computed_mask(network, node, _source_masks(network, node, masks)))
    foreign = set()
    for call in graph.submodel_calls:
        if call.mask is not None:
            written = _written_mask(network, call.model_call, call.mask)
            if written is None or written != masks[call.sources[0].node]:
                foreign.add(call.layer.name)
    return foreign


def _source_masks(
    network: Network, node: Node, masks: Sequence[UnequalMask | None]
) -> list[UnequalMask | None]:
    """Return the mask of each tensor that a call takes."""
    return [
        masks[tap.node] if tap.output < network.node_shapes[tap.node].joined else None
        for tap in node.sources
    ]


def _computed_mask(
    network: Network, node: Node, source_masks: list[UnequalMask | None]
) -> UnequalMask | None:
    """Return the mask of a call's output; ``None`` for none, or for an unsupported layer."""
    if node.layer.declared_shapes is not None:
        return None
    tensors = [
        _Tensor(tap, _dtype(network, tap), len(network.shapes_at(tap).shapes[0]))
        for tap in node.sources
    ]
    mask: UnequalMask | None = node.layer.mask(tensors, source_masks)
    return mask


def _written_mask(network: Network, model_call: ModelCall, ref: TensorRef) -> UnequalMask | None:
    """Return the mask that a config gives; ``None`` for one that cannot be interpreted."""
    try:
        return _interpret(network, model_call, ref, {})
    except InputError:
        return None


def _interpret(
    network: Network,
    model_call: ModelCall,
    ref: TensorRef,
    known: dict[TensorRef, UnequalMask | None],
) -> UnequalMask | None:
    if ref in known:
        return known[ref]
    known[ref] = None  # a loop is no mask
    layer = model_call.model.layer_configs.get(ref.layer, {})
    if not str(layer.get("module", "keras.src.ops")).startswith("keras.src.ops"):
        return None  # HDF5 files name no modules
    nodes = inbound_nodes(layer)
    if ref.node >= len(nodes):
        return None
    known[ref] = _interpret_operation(network, model_call, layer, nodes[ref.node], known)
    return known[ref]


def _interpret_operation(
    network: Network,
    model_call: ModelCall,
    layer: Mapping[str, Any],
    node: InboundNode,
    known: dict[TensorRef, UnequalMask | None],
) -> UnequalMask | None:
    class_name, config = str(layer.get("class_name")), layer.get("config")
    axis = config.get("axis", -1) if isinstance(config, dict) else None
    if axis not in (-1, [-1]):
        return None
    if class_name == "NotEqual" and len(node.sources) == 1 and len(node.more) == 1:
        tensor, value = _compared(network, model_call, node.sources[0]), node.more[0]
        return tensor != value if tensor is not None and _is_number(value) else None
    if class_name in _CONSTANTS:
        return _CONSTANTS[class_name]
    masks = [_interpret(network, model_call, source, known) for source in node.sources]
    if class_name not in _UNIONS or not masks or None in masks:
        return None
    return functools.reduce(operator.or_, masks)


def _compared(network: Network, model_call: ModelCall, ref: TensorRef) -> _Tensor | None:
    """Return the tensor that is compared, also behind a cast by which a layer converts its input.

    Such a cast is no call of the model. ``None`` is for one to other than a floating-point dtype.
    """
    layer = model_call.model.layer_configs.get(ref.layer, {})
    is_call = (ref.layer, ref.node) in model_call.outputs
    if is_call or layer.get("class_name") != "Cast" or not is_operation(layer):
        tap = model_call.tap(ref)
        return _Tensor(tap, _dtype(network, tap))
    nodes, config = inbound_nodes(layer), layer.get("config")
    sources = nodes[ref.node].sources if ref.node < len(nodes) else ()
    dtype = config.get("dtype") if isinstance(config, dict) else None
    if len(sources) != 1 or dtype not in COMPUTE_DTYPES:
        return None
    tap = model_call.tap(sources[0])
    return _Tensor(tap, _dtype(network, tap)).astype(dtype)


def _dtype(network: Network, tap: Tap) -> str:
    """Return the 16-bit dtype of a tensor, or an empty text."""
    return network.nodes[tap.node].layer.dtype_16bit


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
