"""Files without a graph: weights alone, or those of a model whose graph is in its own code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.errors import InputError
from rnnshapes.load.saved import weight_paths
from rnnshapes.load.saved.config_layers import Owner
from rnnshapes.load.saved.converted import Held
from rnnshapes.load.saved.hdf5_client import Store
from rnnshapes.load.saved.naming import snake_case
from rnnshapes.load.saved.weight_paths import Arrays
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.unsupported import UnsupportedLayer
from rnnshapes.ops.dims import Dim

#: What such a file is called.
WEIGHTS = "weights alone"
#: By the names of their groups, which are those of the classes.
_CLASSES = {snake_case(name): name for name in (*BY_CLASS, "Dense", "Embedding", "Bidirectional")}


def understood(store: Store, config: Mapping[str, Any] | None) -> tuple[Network, Arrays, str]:
    """Layers and shapes, as a network of layers that are not derived, and what the file is.

    Raises InputError for HDF5 that no Keras has written.
    """
    kind = WEIGHTS
    if config is not None:
        if "class_name" not in config:
            raise InputError("its config names no class of a model")
        kind = f"a model of class {config['class_name']}, whose graph is in its own code"
    found = _found(store)
    calls = tuple(
        LayerCall(
            name=name,
            class_name=_class_of(name),
            config={},
            stored=tuple((h.name, h.shape) for h in held),
            unsupported_reason=f"the file holds {kind}",
        )
        for name, held in found.by_layer.items()
        if held
    )
    if not calls:
        raise InputError("there are no weights of Keras in it, and no config of a model")
    return _with_gates(assemble(LayerGraph(calls, ()))), found, kind


def _found(store: Store) -> Arrays:
    """The arrays of each layer: by the names of layers, or by groups as Keras 3 has them."""
    for root in ("", "model_weights"):
        names = store.groups.get(root, {}).get("layer_names")
        if names:
            owners = [Owner(name, name, _class_of(name), {}, True, "", name) for name in names]
            return weight_paths.of_hdf5(store, owners)
    groups: dict[str, list[Held]] = {}
    optimizer, rest = [], []
    for dataset in sorted(store.datasets, key=lambda d: (d.place[:-1], weight_paths.number(d))):
        if dataset.place[0].startswith("optimizer"):
            optimizer.append(dataset)
        elif "vars" not in dataset.place:
            rest.append(dataset)
        elif "seed_generator" not in dataset.place:
            name, inner = _layer_of(dataset.place)
            groups.setdefault(name, []).append(Held(inner, dataset.shape, (dataset,)))
    by_layer = {name: tuple(held) for name, held in groups.items()}
    return Arrays(by_layer, tuple(optimizer), tuple(rest), named=False)


def _layer_of(place: Sequence[str]) -> tuple[str, str]:
    """The layer that an array is in, and the rest of its name."""
    if place[0] == "layers" and len(place) > 2:
        place = place[1:]
    return place[0], "/".join(place[1:])


def _class_of(group: str) -> str:
    """The class of a layer by the name of its group, as far as it can be told."""
    return _CLASSES.get(re.sub(r"_\d+$", "", group), "?")


def _with_gates(network: Network) -> Network:
    """The same, in which arrays that can only be those of a cell have their names and gates."""
    nodes = []
    for node in network.nodes:
        layer = node.layer
        assert isinstance(layer, UnsupportedLayer)
        nodes.append(
            replace(
                node,
                layer=replace(layer, stored_weights=tuple(_named(network, layer.stored_weights))),
            )
        )
    return replace(network, nodes=tuple(nodes))


def _named(network: Network, held: Sequence[Weight]) -> Iterator[Weight]:
    """The weights of a layer, group by group."""
    left = list(held)
    while left:
        front = _front(left[0])
        group = [weight for weight in left if _front(weight) == front]
        left = left[len(group) :]
        shapes = [tuple(network.count(dim) for dim in weight.dims) for weight in group]
        found = next(_cells(front, shapes), None)
        if found is None:
            yield from group
            continue
        front = front.removesuffix("vars/").removesuffix("cell/")
        for weight in found:
            yield replace(weight, key=front + weight.key, name=front + weight.name)


def _front(weight: Weight) -> str:
    """The group that a weight is in, with a slash behind it."""
    return weight.name[: weight.name.rfind("/") + 1]


def _cells(front: str, shapes: Sequence[tuple[int, ...]]) -> Iterator[tuple[Weight, ...]]:
    """The weights of each cell that would have arrays of these shapes, and nothing else would."""
    if len(shapes) < 2 or any(len(shape) != 2 for shape in shapes[:2]):
        return
    (features, width), (units, _) = shapes[:2]
    for kind in BY_CLASS.values():
        if width == units and "cell" not in front:
            continue  # as two Dense layers would have
        for cell in kind.with_all_switches(Dim.of(units)):
            weights = cell.weights(Dim.of(features))
            if [tuple(dim.value({}) for dim in weight.dims) for weight in weights] == list(shapes):
                yield weights
