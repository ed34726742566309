"""A model's config as the calls of its layers, those of models inside it among them.

Sources: ``keras/src/models/functional.py`` (``functional_from_config``, ``serialize_node``) and
``keras/src/models/sequential.py``; for the lists of Keras 1 and 2 ``deserialize_node`` there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved.config_layers import Container, Owner, container, sequential_input
from rnnshapes.load.saved.inbound_nodes import Inbound, Ref, inbound, known_shapes, references
from rnnshapes.network.graph import Tap

#: More calls than any network that someone reads shape by shape; each nested model counts anew.
MOST_CALLS = 1500
Config = Mapping[str, Any]


class ClosedError(Exception):
    """A model inside the model cannot be gone into; ``args`` has its name."""


@dataclass(frozen=True)
class FileCall:
    """One call of a layer: on what, and what the file says of its outputs.

    ``mask`` is the reference that is handed on as a mask, ``shapes`` are those of outputs, by
    number.
    """

    owner: Owner
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    mask: Ref | None = None
    other: tuple[str, ...] = ()
    shapes: Mapping[int, tuple[int | None, ...]] = field(default_factory=dict)
    scope: Scope | None = None


class Scope:
    """One call of a functional model: its layers, and what their calls have become."""

    def __init__(self, box: Container) -> None:
        self.box = box
        self.made: dict[tuple[str, int], list[Tap] | int] = {}

    def tap(self, ref: Ref) -> Tap:
        """Where a tensor comes from; InputError if it was not made."""
        found = self.made.get((ref.layer, ref.node))
        if isinstance(found, int):
            return Tap(found, ref.tensor)
        if found is None or not 0 <= ref.tensor < len(found):
            raise InputError(f"layer {ref.layer!r} has no output {ref.tensor}")
        return found[ref.tensor]


@dataclass(frozen=True)
class Entered:
    """A model inside the model, where it was called: on ``sources``, with a mask."""

    owner: Owner
    sources: tuple[Tap, ...]
    mask: Ref | None
    scope: Scope


class Flattening:
    """Goes through a model, and through the models in it, call by call."""

    def __init__(self, *, legacy: bool, closed: frozenset[str] = frozenset()) -> None:
        """``closed`` are models inside the model that are not gone into."""
        self.legacy, self.closed = legacy, closed
        self.calls: list[FileCall] = []
        self.owners: dict[str, Owner] = {}
        self.entered: list[Entered] = []

    def model(
        self, model: Config, given: Sequence[Tap] | None = None, within: Any = None
    ) -> list[Tap]:
        """The outputs of a model called on ``given``, or on inputs of its own."""
        box = container(model, within, legacy=self.legacy)
        for owner in box.owners.values():
            if owner.inner is None or owner.name in self.closed:
                known = self.owners.setdefault(owner.name, owner)
                if (known.group, known.top) != (owner.group, owner.top):
                    raise InputError(f"two layers of its config are named {owner.name!r}")
        if box.sequential:
            return self._sequential(box, given)
        return self._functional(box, given)

    def _add(self, call: FileCall) -> int:
        self.calls.append(call)
        self._require_few()
        return len(self.calls) - 1

    def _require_few(self) -> None:
        if len(self.calls) + len(self.entered) > MOST_CALLS:
            raise InputError(f"its graph has more than {MOST_CALLS:,} calls of layers")

    def _sequential(self, box: Container, given: Sequence[Tap] | None) -> list[Tap]:
        owners = list(box.owners.values())
        if given is None:
            first = sequential_input(box)
            current = [Tap(self._add(FileCall(first)))]
        else:
            current = list(given)
        owners = [owner for owner in owners if owner.class_name != "InputLayer"]
        for owner, after in zip(owners, [*owners[1:], None], strict=True):
            if owner.inner is not None and owner.name not in self.closed:
                current = self.model(owner.inner, current, owner)
                continue
            shape = None if after is None else after.built_on
            shapes = {} if shape is None else {0: shape}
            place = self._add(FileCall(owner, tuple(current), shapes=shapes))
            current = [Tap(place)]
        return current

    def _functional(self, box: Container, given: Sequence[Tap] | None) -> list[Tap]:
        scope = Scope(box)
        nodes = {name: inbound(layer, legacy=self.legacy) for name, layer in box.layers.items()}
        self._enter(scope, box, given)
        outputs = list(references(box.config.get("output_layers")))
        if not outputs:
            raise InputError(f"model {box.name!r} has no outputs")
        shift = _shifts(box, nodes, outputs, legacy=self.legacy)
        outputs = [shift(ref, output=True) for ref in outputs]
        shapes = known_shapes(box.config.get("layers"), shift)
        for ref in outputs:
            self._reach(scope, (ref.layer, ref.node), nodes, shift, shapes)
        return [scope.tap(ref) for ref in outputs]

    def _enter(self, scope: Scope, box: Container, given: Sequence[Tap] | None) -> None:
        """The inputs, in the order in which the model takes them."""
        names = [ref.layer for ref in references(box.config.get("input_layers"))]
        if given is not None and len(given) != len(names):
            raise InputError(
                f"model {box.name!r} takes {len(names)} inputs, {len(given)} are given"
            )
        for place, name in enumerate(names):
            if name not in box.owners:
                raise InputError(f"model {box.name!r} has no layer {name!r}, which is its input")
            if given is None:
                scope.made[name, 0] = self._add(FileCall(box.owners[name]))
            else:
                scope.made[name, 0] = [given[place]]

    def _reach(
        self, scope: Scope, key: tuple[str, int], nodes: Any, shift: Any, shapes: Any
    ) -> None:
        """Make a call, and before it those that it is fed by; no call is made twice."""
        stack, begun = [key], set()
        while stack:
            key = stack[-1]
            if key in scope.made:
                stack.pop()
                continue
            node = _node(scope.box, nodes, key)
            node = node.moved(shift)
            missing = [k for k in node.keys if k not in scope.made]
            if any(k in begun for k in missing) or (missing and key in begun):
                raise InputError(f"its graph has a loop through layer {key[0]!r}")
            if missing:
                begun.add(key)
                stack += missing
                continue
            stack.pop()
            scope.made[key] = self._call(scope, key, node, shapes.get(key, {}))

    def _call(
        self, scope: Scope, key: tuple[str, int], node: Inbound, shapes: Any
    ) -> list[Tap] | int:
        owner = scope.box.owners[key[0]]
        sources = tuple(map(scope.tap, node.sources))
        initial = tuple(map(scope.tap, node.initial))
        if owner.inner is not None and owner.name not in self.closed:
            if node.other or initial:
                raise ClosedError(owner.name)
            self.entered.append(Entered(owner, sources, node.mask, scope))
            self._require_few()
            return self.model(owner.inner, _by_name(owner.inner, node.keys_given, sources), owner)
        return self._add(FileCall(owner, sources, initial, node.mask, node.other, shapes, scope))


def _by_name(model: Config, keys: tuple[str, ...], sources: tuple[Tap, ...]) -> tuple[Tap, ...]:
    """Inputs that were given in a dictionary, in the order in which the model takes them."""
    config = model.get("config")
    taken = config.get("input_layers") if isinstance(config, dict) else None
    if isinstance(taken, dict):  # both in the order of their keys
        return sources
    names = [ref.layer for ref in references(taken)]
    if not keys or sorted(keys) != sorted(names):
        return sources
    return tuple(sources[keys.index(name)] for name in names)


def _node(box: Container, nodes: Mapping[str, list[Inbound]], key: tuple[str, int]) -> Inbound:
    name, number = key
    if name not in nodes:
        raise InputError(f"its graph asks for a layer {name!r} that is not there")
    if not 0 <= number < len(nodes[name]):
        raise InputError(f"its graph asks for call {number} of layer {name!r}, which is not there")
    return nodes[name][number]


def _shifts(box: Container, nodes: Any, outputs: list[Ref], *, legacy: bool) -> Any:
    """What turns the number of a call into its place among those that the file holds.

    A model inside a model has a call 0 of its own, which the file does not hold; Keras 2 counts
    it everywhere, Keras 3 for the outputs of the model alone.
    """
    models = {name for name, owner in box.owners.items() if owner.inner is not None}
    if not models:
        return lambda ref, output=False: ref
    lowest: dict[str, int] = {}
    for ref in (*_all_references(nodes), *(outputs if legacy else ())):
        lowest[ref.layer] = min(ref.node, lowest.get(ref.layer, ref.node))

    def shifted(ref: Ref, *, output: bool = False) -> Ref:
        if ref.layer not in models:
            return ref
        kind = box.owners[ref.layer].class_name
        by = (
            int(kind != "Sequential") if output and not legacy else min(1, lowest.get(ref.layer, 0))
        )
        return Ref(ref.layer, ref.node - by, ref.tensor)

    return shifted


def _all_references(nodes: Mapping[str, list[Inbound]]) -> Iterator[Ref]:
    for calls in nodes.values():
        for node in calls:
            yield from (*node.sources, *node.initial)
