"""The inbound nodes of a functional config: on what a layer was called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.network.layers.registry import is_recurrent

#: More calls of a layer, or outputs of a call, than there are in any model.
MOST_TENSORS = 2**16


class Ref(NamedTuple):
    """A tensor as a config names it: a layer, the number of its call, and of its output."""

    layer: str
    node: int
    tensor: int


@dataclass(frozen=True)
class Inbound:
    """On what a layer was called once.

    ``arguments`` are what stands behind the first one; ``other`` names options that were given
    and are not understood. ``keys_given`` are the names of the sources, where they were given in
    a dictionary.
    """

    sources: tuple[Ref, ...]
    initial: tuple[Ref, ...] = ()
    mask: Ref | None = None
    other: tuple[str, ...] = ()
    arguments: tuple[Any, ...] = ()
    keys_given: tuple[str, ...] = ()

    @property
    def keys(self) -> list[tuple[str, int]]:
        """The calls that have to be made before."""
        return [(ref.layer, ref.node) for ref in (*self.sources, *self.initial)]

    def moved(self, shift: Callable[[Ref], Ref]) -> Inbound:
        """The same with references that count as the file holds them."""
        return replace(
            self,
            sources=tuple(map(shift, self.sources)),
            initial=tuple(map(shift, self.initial)),
        )


def inbound(layer: Mapping[str, Any], *, legacy: bool) -> list[Inbound]:
    """All calls of a layer."""
    found = layer.get("inbound_nodes") or []
    if not isinstance(found, list):
        raise InputError(f"the inbound nodes of layer {layer.get('name')!r} are no list")
    # In Keras 2 a layer with a recurrence takes its initial states as further inputs.
    recurrent = is_recurrent(str(layer.get("class_name")))
    return [
        _keras3(node, recurrent) if isinstance(node, dict) else _lists(node, recurrent)
        for node in found
    ]


def _keras3(node: Mapping[str, Any], recurrent: bool) -> Inbound:
    args, kwargs = node.get("args") or [], dict(node.get("kwargs") or {})
    args = [*args, *(kwargs.pop(name) for name in ("sequences", "inputs") if name in kwargs)]
    states = [args.pop(1)] if recurrent and len(args) > 1 else []
    states += [kwargs.pop("initial_state", None)]
    initial = tuple(references(states))
    given = kwargs.pop("mask", None)
    masks = list(references(given))
    mask = masks[0] if len(masks) == 1 else None
    rest = {name: value for name, value in kwargs.items() if value not in (None, False)}
    other = tuple(rest)
    if states != [None] and not initial and any(states):
        other = (*other, "initial_state")
    if len(masks) > 1 or (not masks and _is_given(given)):
        other = (*other, "mask")
    if len(args) > 1:  # an operation may have the name of a layer, which takes one
        other = (*other, "more than one argument")
    first = args[0] if args and isinstance(args[0], dict) else {}
    keys = () if first.get("class_name") == "__keras_tensor__" else tuple(sorted(first))
    sources = (*references(args), *references(rest))
    return Inbound(sources, initial, mask, other, tuple(args[1:]), keys)


def _is_given(value: Any) -> bool:
    """Whether anything is in it, however it is nested."""
    if isinstance(value, list | dict):
        return any(map(_is_given, value.values() if isinstance(value, dict) else value))
    return value is not None


def _lists(node: Any, recurrent: bool) -> Inbound:
    """``[["lstm", 0, 0, {}], …]``, as Keras 1 and 2 write it."""
    if isinstance(node, list) and len(node) in (3, 4) and isinstance(node[0], str):
        node = [node]
    found = list(references(node))
    more: dict[str, Any] = {}
    for part in node if isinstance(node, list) else ():
        if isinstance(part, list) and len(part) > 3 and isinstance(part[3], dict):
            more |= part[3]
    initial = list(references(more.pop("initial_state", None)))
    rest = {name: value for name, value in more.items() if value not in (None, False)}
    if recurrent and len(found) > 1:
        found, initial = found[:1], [*found[1:], *initial]
    return Inbound((*found, *references(rest)), tuple(initial), None, tuple(rest))


def references(value: Any) -> Iterator[Ref]:
    """All tensors in a value, however they are nested, in order."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield _ref((value.get("config") or {}).get("keras_history"))
            return
        for name in sorted(value):  # as Keras flattens a dictionary
            yield from references(value[name])
    elif isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str):
            yield _ref(value[:3])
            return
        for part in value:
            yield from references(part)


def _ref(value: Any) -> Ref:
    whole = isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)
    if not whole or not all(type(n) is int and 0 <= n < MOST_TENSORS for n in value[1:]):
        raise InputError(
            f"its graph names a tensor as {value!r}: [layer, call, output] is expected"
        )
    return Ref(*value)


def known_shapes(layers: Any, shift: Callable[[Ref], Ref]) -> dict[tuple[str, int], Any]:
    """The shapes of outputs, by call and number, where the config tells them."""
    found: dict[tuple[str, int], dict[int, tuple[int | None, ...]]] = {}
    stack = [layer.get("inbound_nodes") for layer in layers if isinstance(layer, dict)]
    while stack:
        value = stack.pop()
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            config = value.get("config") or {}
            ref = shift(_ref(config.get("keras_history")))
            shape = shape_of(config.get("shape"))
            if shape is not None:
                found.setdefault((ref.layer, ref.node), {})[ref.tensor] = shape
        elif isinstance(value, dict | list):
            stack += value.values() if isinstance(value, dict) else value
    return found


def shape_of(value: Any) -> tuple[int | None, ...] | None:
    """A shape in a config, with ``None`` for what is open; ``None`` for what is no shape."""
    if not isinstance(value, list) or len(value) > 16:
        return None
    if not all(n is None or (type(n) is int and 0 < n < 2**63) for n in value):
        return None
    return tuple(value)
