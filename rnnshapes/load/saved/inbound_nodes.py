"""Inbound nodes of a functional config: the inputs of each layer call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.load.call_arguments import OPTIONS, is_given, name_options, sort_arguments
from rnnshapes.network.layers.config import LAST_INPUT, Source, is_operation
from rnnshapes.network.layers.registry import call_inputs, is_recurrent
from rnnshapes.ops.constant import constant_of

#: More calls of a layer, or outputs of a call, than there are in any model.
MOST_TENSORS = 2**16


class TensorRef(NamedTuple):
    """A tensor as a config names it: a layer, the number of its call, and of its output."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True)
class InboundNode:
    """One call of a layer.

    ``more`` are the positional arguments after the first, ``arguments`` those of an operation,
    with a Source for each tensor. ``unsupported`` are the names of arguments that are not
    interpreted, ``settings`` those that the layer supports. ``input_names`` are the names of the
    sources, if they were given in a dictionary.
    """

    sources: tuple[TensorRef, ...]
    initial: tuple[TensorRef, ...]
    unsupported: tuple[str, ...]
    mask: TensorRef | None = None
    more: tuple[Any, ...] = ()
    input_names: tuple[str, ...] = ()
    arguments: tuple[Any, ...] = ()
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def required_calls(self) -> list[tuple[str, int]]:
        """The calls whose outputs it needs: layer and number."""
        return [(ref.layer, ref.node) for ref in (*self.sources, *self.initial)]

    def map_references(self, change: Callable[[TensorRef], TensorRef]) -> InboundNode:
        """Return the same call with changed references, except for the mask."""
        return replace(
            self,
            sources=tuple(map(change, self.sources)),
            initial=tuple(map(change, self.initial)),
        )


def inbound_nodes(layer: Mapping[str, Any]) -> list[InboundNode]:
    """Return all calls of a layer, from its config."""
    nodes = layer.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise InputError(f"the inbound nodes of layer {layer.get('name')!r} are not a list")
    class_name = str(layer.get("class_name"))
    recurrent = is_recurrent(class_name)
    return [
        _keras3_node(node, class_name, recurrent=recurrent, operation=is_operation(layer))
        if isinstance(node, dict)
        else _keras2_node(node, recurrent=recurrent)
        for node in nodes
    ]


def _keras3_node(
    node: Mapping[str, Any], class_name: str, *, recurrent: bool, operation: bool
) -> InboundNode:
    """Return a call as Keras 3 writes it: ``{"args": [...], "kwargs": {...}}``."""
    args, kwargs = node.get("args") or [], dict(node.get("kwargs") or {})
    if recurrent:
        args, kwargs = name_options(args, kwargs, ("sequences", *OPTIONS))
    call = sort_arguments(args, kwargs, references, class_name)
    masks = list(references(call.mask))
    unsupported = call.unsupported
    is_list = isinstance(call.mask, list)  # with a mask for each of several inputs
    if (is_list and masks) or len(masks) > 1 or (not masks and is_given(call.mask)):
        unsupported = (*unsupported, "mask")
    tensors = len(call.inputs) - list(call.settings.values()).count(LAST_INPUT)
    if tensors > max(1, len(call_inputs(class_name))) and not operation:
        unsupported = (*unsupported, "more than one argument")
    first = call.inputs[0] if call.inputs and isinstance(call.inputs[0], dict) else {}
    is_tensor = first.get("class_name") == "__keras_tensor__"
    return InboundNode(
        sources=(*references(list(call.inputs)), *references(dict(call.options))),
        initial=call.initial,
        mask=masks[0] if len(masks) == 1 else None,
        unsupported=unsupported,
        more=call.inputs[1:],
        input_names=() if is_tensor else tuple(sorted(first)),
        arguments=_positional_arguments(args) if operation else (),
        settings=tuple(call.settings.items()),
    )


def _positional_arguments(args: Any) -> tuple[Any, ...]:
    """Return positional arguments as Python values, with a Source for each tensor."""
    numbers = iter(range(MOST_TENSORS))

    def value_of(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(value_of, value))
        if not isinstance(value, dict):
            return value
        kind, config = value.get("class_name"), value.get("config")
        if kind == "__keras_tensor__":
            return Source(next(numbers))
        if kind == "__ellipsis__":
            return Ellipsis
        special = _special_value(kind, config) if isinstance(config, dict) else None
        return value if special is None else special

    return tuple(map(value_of, args))


def _special_value(kind: Any, config: Mapping[str, Any]) -> Any:
    """Return a slice or an array of a config; ``None`` for anything else."""
    if kind == "__slice__":
        return slice(*(config.get(name) for name in ("start", "stop", "step")))
    if kind not in ("__numpy__", "__tensor__"):
        return None
    return constant_of(config.get("value"), config.get("dtype"))


def _keras2_node(node: Any, *, recurrent: bool) -> InboundNode:
    """Return a call as Keras 1 and 2 write it: ``[["lstm", 0, 0, {}], …]``.

    There, a recurrent layer takes its initial states as further inputs.
    """
    if isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):
        node = [node]
    inputs = list(references(node))
    kwargs: dict[str, Any] = {}
    for part in node if isinstance(node, list) else ():
        if isinstance(part, list) and len(part) > 3 and isinstance(part[3], dict):
            kwargs |= part[3]
    initial = list(references(kwargs.pop("initial_state", None)))
    options = {name: v for name, v in kwargs.items() if v is not None and v is not False}
    if recurrent and len(inputs) > 1:
        inputs, initial = inputs[:1], [*inputs[1:], *initial]
    return InboundNode(
        sources=(*inputs, *references(options)),
        initial=tuple(initial),
        unsupported=tuple(options),
    )


def references(value: Any) -> Iterator[TensorRef]:
    """Yield all tensors in a value of a config, however they are nested, in order."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield _reference((value.get("config") or {}).get("keras_history"))
            return
        for name in sorted(value):  # the order in which Keras flattens a dictionary
            yield from references(value[name])
    elif isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str):
            yield _reference(value[:3])
            return
        for part in value:
            yield from references(part)


def _reference(value: Any) -> TensorRef:
    is_triple = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    if not is_triple or not all(type(n) is int and 0 <= n < MOST_TENSORS for n in value[1:]):
        raise InputError(
            f"its graph names a tensor as {value!r}: [layer, call, output] is expected"
        )
    return TensorRef(*value)


def known_shapes(
    layers: Any, change: Callable[[TensorRef], TensorRef]
) -> dict[tuple[str, int], dict[int, tuple[int | None, ...]]]:
    """Return the shapes of outputs, by call and number, as far as a config has them.

    Args:
        layers: The layers as Keras writes them.
        change: Changes each reference, as in :meth:`InboundNode.map_references`.
    """
    shapes: dict[tuple[str, int], dict[int, tuple[int | None, ...]]] = {}
    stack = [layer.get("inbound_nodes") for layer in layers if isinstance(layer, dict)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            config = value.get("config") or {}
            ref = change(_reference(config.get("keras_history")))
            shape = shape_of(config.get("shape"))
            if shape is not None:
                shapes.setdefault((ref.layer, ref.node), {})[ref.tensor] = shape
        elif isinstance(value, dict | list):
            stack += value.values() if isinstance(value, dict) else value
    return shapes


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """Return a shape of a config, with ``None`` for an open size; ``None`` if it is not a shape."""
    if not isinstance(value, list) or len(value) > 16:
        return None
    if not all(n is None or (type(n) is int and 0 < n < 2**63) for n in value):
        return None
    return tuple(value)
