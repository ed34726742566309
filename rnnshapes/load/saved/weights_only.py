"""Files without a graph: weights alone, or those of a model whose graph is in its own code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rnnshapes.cells.cell import Weight
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.errors import InputError
from rnnshapes.load.saved import weight_paths
from rnnshapes.load.saved.config_layers import SavedLayer, snake_case
from rnnshapes.load.saved.hdf5_client import Hdf5Client, StoredWeight
from rnnshapes.load.saved.weight_paths import FileWeights
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.config import Config
from rnnshapes.network.layers.unsupported import UnsupportedLayer
from rnnshapes.ops.dims import Dim

#: What such a file is called.
WEIGHTS = "weights alone"
#: Classes by the names of their groups.
_CLASSES = {snake_case(name): name for name in (*BY_CLASS, "Dense", "Embedding", "Bidirectional")}


def read_weights_only(
    client: Hdf5Client, config: Config | None
) -> tuple[Network, FileWeights, str]:
    """Return layers and shapes as a network of unsupported layers, the arrays, and the file's kind.

    Args:
        client: The contents of the file.
        config: The config of a model without a graph, if there is one.

    Raises:
        InputError: No Keras wrote this file.
    """
    kind = WEIGHTS
    if config is not None:
        if "class_name" not in config:
            raise InputError("its config names no class of a model")
        kind = f"a model of class {config['class_name']}, whose graph is in its own code"
    file_weights = _assign(client)
    calls = tuple(
        LayerCall(
            name=name,
            class_name=_class_of(name),
            config={},
            stored=tuple((w.name, w.shape) for w in weights),
            unsupported_reason=f"the file holds {kind}",
        )
        for name, weights in file_weights.by_layer.items()
        if weights
    )
    if not calls:
        raise InputError(
            "it contains neither Keras weights nor a model config; save the model with model.save()"
        )
    return _with_gates(assemble(LayerGraph(calls, ()))), file_weights, kind


def _assign(client: Hdf5Client) -> FileWeights:
    """Return the arrays of each layer: by the names of layers, or by groups as in Keras 3."""
    for root in ("", "model_weights"):
        names = client.groups.get(root, {}).get("layer_names")
        if names:
            layers = [SavedLayer(n, n, _class_of(n), {}, True, "", n) for n in names]
            return weight_paths.assign_by_name(client, layers)
    by_layer: dict[str, list[StoredWeight]] = {}
    optimizer, unassigned = [], []
    for dataset in sorted(
        client.datasets, key=lambda d: (d.path[:-1], weight_paths.array_order(d))
    ):
        if dataset.path[0].startswith("optimizer"):
            optimizer.append(dataset)
        elif "vars" not in dataset.path:
            unassigned.append(dataset)
        elif "seed_generator" not in dataset.path:
            layer, name = _split_path(dataset.path)
            by_layer.setdefault(layer, []).append(StoredWeight(name, dataset.shape, (dataset,)))
    weights = {name: tuple(own) for name, own in by_layer.items()}
    return FileWeights(weights, tuple(optimizer), tuple(unassigned), named=False)


def _split_path(path: Sequence[str]) -> tuple[str, str]:
    """Return the layer that an array belongs to, and the rest of its path."""
    if path[0] == "layers" and len(path) > 2:
        path = path[1:]
    return path[0], "/".join(path[1:])


def _class_of(group: str) -> str:
    """Return the class of a layer by the name of its group, or ``?``."""
    return _CLASSES.get(re.sub(r"_\d+$", "", group), "?")


def _with_gates(network: Network) -> Network:
    """Return the network in which arrays that only a cell can have show their gates."""
    nodes = []
    for node in network.nodes:
        layer = node.layer
        assert isinstance(layer, UnsupportedLayer)
        named = tuple(_name_cells(network, layer.stored_weights))
        nodes.append(replace(node, layer=replace(layer, stored_weights=named)))
    return replace(network, nodes=tuple(nodes))


def _name_cells(network: Network, weights: Sequence[Weight]) -> Iterator[Weight]:
    """Yield the weights of a layer, group by group, with the names and gates of cells."""
    remaining = list(weights)
    while remaining:
        front = _group_of(remaining[0])
        group = [weight for weight in remaining if _group_of(weight) == front]
        remaining = remaining[len(group) :]
        shapes = [tuple(network.count(dim) for dim in weight.dims) for weight in group]
        cell_weights = next(_cells(front, shapes), None)
        if cell_weights is None:
            yield from group
            continue
        front = front.removesuffix("vars/").removesuffix("cell/")
        for weight in cell_weights:
            yield replace(weight, key=front + weight.key, name=front + weight.name)


def _group_of(weight: Weight) -> str:
    """Return the group of a weight, with a slash after it."""
    return weight.name[: weight.name.rfind("/") + 1]


def _cells(group: str, shapes: Sequence[tuple[int, ...]]) -> Iterator[tuple[Weight, ...]]:
    """Yield the weights of each cell that has arrays of these shapes, if no other layer has."""
    if len(shapes) < 2 or any(len(shape) != 2 for shape in shapes[:2]):
        return
    (features, width), (units, _) = shapes[:2]
    for cell_class in BY_CLASS.values():
        if width == units and "cell" not in group:
            continue  # two Dense layers have such shapes, too
        for cell in cell_class.with_all_switches(Dim.of(units)):
            weights = cell.weights(Dim.of(features))
            if [tuple(dim.value({}) for dim in weight.dims) for weight in weights] == list(shapes):
                yield weights
