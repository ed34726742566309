"""Which masks a config hands on: whether they are those that follow from the layers.

Keras 3 writes what its layers compute as masks into the graph, as operations of their own. A
mask is read here as the set of comparisons of which at least one has to hold.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved.config_graph import FileCall, Flattening, Scope
from rnnshapes.load.saved.inbound_nodes import Inbound, Ref, inbound
from rnnshapes.network.graph import Network, Node, Tap


@dataclass(frozen=True)
class Mask:
    """Steps at which one of ``unequal`` holds: that a tensor is not a value. ``None``: all."""

    unequal: frozenset[tuple[Tap, float]] | None

    def any(self, axis: int) -> Mask:
        """Over features: the same steps."""
        return self

    def __or__(self, other: object) -> Mask:
        if not isinstance(other, Mask) or other.unequal is None or self.unequal is None:
            return Mask(None)
        return Mask(self.unequal | other.unequal)

    __ror__ = __or__


class _Tensor:
    """A tensor that a layer compares with a value."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap

    def __ne__(self, value: object) -> Any:
        return Mask(frozenset({(self.tap, float(value))}))  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


_CONSTANTS = {"ZerosLike": Mask(frozenset()), "OnesLike": Mask(None)}
#: Operations that say the same of each step as what they are applied to.
_JOINED = ("Any", "ExpandDims", "LogicalOr", "Concatenate")


def not_as_derived(network: Network, flat: Flattening) -> set[int]:
    """The calls, by position, that are handed another mask than the one of their input."""
    found: list[Mask | None] = []
    wrong: set[int] = set()
    for place, (node, call) in enumerate(zip(network.nodes, flat.calls, strict=True)):
        before = [found[tap.node] for tap in node.sources]
        if call.mask is not None and _written(call) != (before[0] if before else None):
            wrong.add(place)
        found.append(_made(node, before))
    return wrong


def of_models(network: Network, flat: Flattening) -> set[str]:
    """The models inside the model, by name, that are handed another mask than their input has."""
    found: list[Mask | None] = []
    for node in network.nodes:
        found.append(_made(node, [found[tap.node] for tap in node.sources]))
    return {
        entered.owner.name
        for entered in flat.entered
        if entered.mask is not None
        and _known(entered.scope, entered.mask) != found[entered.sources[0].node]
    }


def _made(node: Node, before: list[Mask | None]) -> Mask | None:
    if node.layer.declared_shapes is not None:
        return None
    mask: Mask | None = node.layer.mask([_Tensor(tap) for tap in node.sources], before)
    return mask


def _written(call: FileCall) -> Mask | None:
    """The mask that the config hands to a call; ``None`` for one that cannot be read."""
    assert call.scope is not None
    assert call.mask is not None
    return _known(call.scope, call.mask)


def _known(scope: Scope, ref: Ref) -> Mask | None:
    try:
        return _read(scope, ref, {})
    except InputError:
        return None


def _read(scope: Scope, ref: Ref, known: dict[Ref, Mask | None]) -> Mask | None:
    if ref in known:
        return known[ref]
    known[ref] = None  # a loop is no mask
    layer = scope.box.layers.get(ref.layer, {})
    if not str(layer.get("module", "keras.src.ops")).startswith("keras.src.ops"):
        return None  # HDF5 files name no modules
    nodes = inbound(layer, legacy=False)
    if not 0 <= ref.node < len(nodes):
        return None
    known[ref] = _operation(scope, layer, nodes[ref.node], known)
    return known[ref]


def _operation(
    scope: Scope, layer: Mapping[str, Any], node: Inbound, known: dict[Ref, Mask | None]
) -> Mask | None:
    kind, config = str(layer.get("class_name")), layer.get("config")
    axis = config.get("axis", -1) if isinstance(config, dict) else None
    if axis not in (-1, [-1]):
        return None
    if kind == "NotEqual" and len(node.sources) == 1 and len(node.arguments) == 1:
        value = node.arguments[0]
        return _Tensor(scope.tap(node.sources[0])) != value if _is_number(value) else None
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    parts = [_read(scope, source, known) for source in node.sources]
    if kind not in _JOINED or not parts or None in parts:
        return None
    return functools.reduce(operator.or_, parts)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
