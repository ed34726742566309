"""Where the arrays of each layer lie in a file, and which layer an array belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.saved import old_keras
from rnnshapes.load.saved.config_layers import SavedLayer, numbered, snake_case
from rnnshapes.load.saved.hdf5_client import Dataset, Hdf5Client, StoredWeight
from rnnshapes.network.layers.config import Config
from rnnshapes.network.layers.registry import layer_class

#: How deep layers that wrap another one may be nested.
MOST_WRAPPERS = 8
#: The arrays of each layer, by the layer's name.
WeightsByLayer = Mapping[str, Sequence[StoredWeight]]


@dataclass(frozen=True)
class FileWeights:
    """All arrays of a file: ``by_layer``, those of the ``optimizer``, and the ``unassigned``.

    ``named`` says whether the file has names of weights, and not only numbers. ``aliases`` are
    layers that stand in several models: a layer without arrays, and the one that has them.
    """

    by_layer: WeightsByLayer
    optimizer: tuple[Dataset, ...]
    unassigned: tuple[Dataset, ...]
    named: bool
    aliases: Mapping[str, str] = field(default_factory=dict)


def _assign(
    client: Hdf5Client, by_layer: Mapping[str, tuple[StoredWeight, ...]], *, named: bool
) -> FileWeights:
    """Return all arrays of a file, given those of its layers; seeds of dropouts are left out."""
    assigned = {d.number for weights in by_layer.values() for w in weights for d in w.datasets}
    others = [dataset for dataset in client.datasets if dataset.number not in assigned]
    optimizer = [d for d in others if d.path[0].startswith("optimizer")]
    seeds = [d for d in others if "seed_generator" in d.path]
    unassigned = [d for d in others if d not in optimizer and d not in seeds]
    return FileWeights(by_layer, tuple(optimizer), tuple(unassigned), named)


# --- .keras: by class and number ----------------------------------------------------------------


def assign_by_group(client: Hdf5Client, layers: Sequence[SavedLayer]) -> FileWeights:
    """Assign the arrays of a .keras file to layers, by the groups of HDF5.

    An array is at ``layers/lstm/cell/vars/0``: ``keras/src/saving/saving_lib.py`` says where.
    """
    by_group: dict[str, list[Dataset]] = {}
    for dataset in client.datasets:
        by_group.setdefault("/".join(dataset.path[:-1]), []).append(dataset)
    groups_by_name = _groups_by_name(client)
    by_layer = {}
    for layer in layers:
        parent_group = layer.group.rsplit("/", 1)[0]
        groups = groups_by_name.get((parent_group, layer.own_name), [])
        group = groups[0] if len(groups) == 1 else layer.group
        depth = group.count("/") + 1
        weights = [
            StoredWeight("/".join(d.path[depth:]), d.shape, (d,), trained=owner.trained)
            for owner in weight_owners(layer.class_name, layer.config)
            for d in _arrays_of(by_group, f"{group}/{owner.path}", owner)
        ]
        if not weights:
            datasets = _all_in_group(by_group, group)
            weights = [StoredWeight("/".join(d.path[depth:]), d.shape, (d,)) for d in datasets]
        by_layer[layer.name] = tuple(weights)
    assigned = _assign(client, by_layer, named=False)
    return replace(assigned, aliases=_aliases(layers, by_layer))


def _aliases(layers: Sequence[SavedLayer], by_layer: WeightsByLayer) -> dict[str, str]:
    """Return layers without arrays that are, in another model, a layer with arrays.

    Keras writes the arrays of a layer once, and its config in each model.
    """
    with_arrays: dict[tuple[str, str], list[SavedLayer]] = {}
    for layer in layers:
        if by_layer[layer.name]:
            with_arrays.setdefault((layer.own_name, layer.class_name), []).append(layer)
    aliases = {}
    for layer in layers:
        others = with_arrays.get((layer.own_name, layer.class_name), [])
        if (
            not by_layer[layer.name]
            and len(others) == 1
            and _without_object_ids(others[0].config) == _without_object_ids(layer.config)
        ):
            aliases[layer.name] = others[0].name
    return aliases


def _without_object_ids(config: Any) -> Any:
    """Return a config without the numbers by which Keras tells objects apart."""
    if isinstance(config, list):
        return [_without_object_ids(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {
        name: _without_object_ids(part)
        for name, part in config.items()
        if name != "shared_object_id"
    }


def _groups_by_name(client: Hdf5Client) -> dict[tuple[str, str], list[str]]:
    """Return the groups of layers, by the group around them and by the layer's name in them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for path, attributes in client.groups.items():
        group, _, last = path.rpartition("/")
        if last == "vars" and "name" in attributes:
            groups.setdefault((group.rsplit("/", 1)[0], attributes["name"]), []).append(group)
    return groups


def array_order(dataset: Dataset) -> tuple[int, str]:
    """Return what sorts the arrays of a group by their number: 10 comes after 9."""
    name = dataset.path[-1]
    return (int(name), "") if name.isdecimal() and len(name) < 9 else (10**9, name)


def _arrays_of(
    by_group: Mapping[str, list[Dataset]], path: str, owner: WeightOwner
) -> list[Dataset]:
    """Return the arrays of an owner; a class of the user's may have some in parts of it."""
    if owner.is_known:
        return sorted(by_group.get(f"{path}vars", []), key=array_order)
    return _all_in_group(by_group, path.removesuffix("/"))


def _all_in_group(by_group: Mapping[str, list[Dataset]], group: str) -> list[Dataset]:
    """Return all arrays of an unknown layer, without the seeds of its dropouts."""
    return [
        dataset
        for path, datasets in by_group.items()
        if path.startswith(f"{group}/") and "seed_generator" not in path.split("/")
        for dataset in sorted(datasets, key=array_order)
    ]


# --- HDF5 of Keras 1, 2 and 3: by the name of the layer -----------------------------------------


def assign_by_name(client: Hdf5Client, layers: Sequence[SavedLayer]) -> FileWeights:
    """Assign the arrays of an HDF5 file to layers, by the names of weights.

    An array is at ``model_weights/lstm/lstm/kernel:0``: ``legacy_h5_format.py`` says where.
    """
    root = "model_weights" if any(p.startswith("model_weights") for p in client.groups) else ""
    backend = str(client.groups.get(root, {}).get("backend", ""))
    by_path = {"/".join(dataset.path): dataset for dataset in client.datasets}
    by_top_layer: dict[str, list[SavedLayer]] = {}
    for layer in layers:
        by_top_layer.setdefault(layer.top_layer, []).append(layer)
    by_layer: dict[str, tuple[StoredWeight, ...]] = {}
    for top_layer, inside in by_top_layer.items():
        path = f"{root}/{top_layer}".strip("/")
        names = client.groups.get(path, {}).get("weight_names", [])
        datasets = [by_path[f"{path}/{n}"] for n in names if f"{path}/{n}" in by_path]
        depth = path.count("/") + 1
        assigned: dict[str, list[Dataset]] = {layer.name: [] for layer in inside}
        for dataset in datasets:
            inner_path = dataset.path[depth:-1]
            layer = inside[0] if len(inside) == 1 else _layer_in_path(inside, inner_path)
            assigned[layer.name].append(dataset)
        for layer in inside:
            by_layer[layer.name] = tuple(_in_layer_order(layer, assigned[layer.name], backend))
    return _assign(client, by_layer, named=True)


def _layer_in_path(layers: Sequence[SavedLayer], path: Sequence[str]) -> SavedLayer:
    """Return the layer of a model inside the model whose name is in the path of a weight.

    It is the one for which most names of the models around it are there, too; then the first in
    the path, since the name of a cell follows that of its layer.
    """

    def match(layer: SavedLayer) -> tuple[int, int]:
        names = layer.name.split("/")
        for length in range(len(names), 0, -1):
            end = tuple(names[-length:])
            for start in range(len(path) - length + 1):
                if tuple(path[start : start + length]) == end:
                    return length, -start
        return 0, 0

    return max(layers, key=match)


def _in_layer_order(
    layer: SavedLayer, datasets: Sequence[Dataset], backend: str
) -> Iterator[StoredWeight]:
    """Yield the arrays of a layer, owner by owner, in the order of ``layer.weights``.

    The file has trained arrays first (``_legacy_weights``), those of each owner in one run.
    """
    weights = [StoredWeight(d.path[-1].rsplit(":", 1)[0], d.shape, (d,)) for d in datasets]
    owners = list(weight_owners(layer.class_name, layer.config))
    runs = [list(run) for _, run in groupby(weights, key=lambda w: w.datasets[0].path[:-1])]
    if len(runs) != len(owners) and weights and len(weights) % len(owners) == 0:
        size = len(weights) // len(owners)  # their names have no paths
        runs = [weights[start : start + size] for start in range(0, len(weights), size)]
    if len(runs) != len(owners):
        yield from weights
        return
    trained_first = sorted(range(len(owners)), key=lambda index: not owners[index].trained)
    run_of_owner = dict(zip(trained_first, runs, strict=True))
    for index, owner in enumerate(owners):
        for weight in old_keras.modernize_weights(owner.class_name, run_of_owner[index], backend):
            yield replace(weight, trained=owner.trained)


# --- The owners of arrays in a layer ------------------------------------------------------------


@dataclass(frozen=True)
class WeightOwner:
    """A cell, direction or inner layer that owns arrays of a layer.

    ``path`` is where they are within the layer's group in a .keras file. ``trained`` is false if
    it is frozen.
    """

    class_name: str
    path: str
    trained: bool

    @property
    def is_known(self) -> bool:
        """Whether it is of a class that is supported."""
        try:
            layer_class(self.class_name)
        except UnsupportedError:
            return False
        return True


def weight_owners(
    class_name: str, config: Config, path: str = "", *, trained: bool = True, depth: int = 0
) -> Iterator[WeightOwner]:
    """Yield all owners of arrays in a layer, in the order of ``layer.weights``.

    Args:
        class_name: The class of the layer.
        config: Its options.
        path: The path of the layer within the group of a layer around it.
        trained: Whether the layer around it is trained.
        depth: The number of layers around it.

    Raises:
        InputError: Layers are nested deeper than in any model. Each Bidirectional doubles them.
    """
    if depth > MOST_WRAPPERS:
        raise InputError(f"a layer wraps others more than {MOST_WRAPPERS} deep: no model does")
    trained = trained and config.get("trainable", True) is not False
    if class_name in (*BY_CLASS, "ConvLSTM1D", "ConvLSTM2D"):
        yield WeightOwner(class_name, f"{path}cell/", trained)
    elif class_name == "RNN":
        yield from _cell_owners(_object(config, "cell"), f"{path}cell/", trained=trained)
    elif class_name == "Bidirectional":
        forward = _object(config, "layer")
        backward = _object(config, "backward_layer") or forward
        yield from _inner_owners(forward, f"{path}forward_layer/", trained, depth)
        yield from _inner_owners(backward, f"{path}backward_layer/", trained, depth)
    elif class_name == "TimeDistributed":
        yield from _inner_owners(_object(config, "layer"), f"{path}layer/", trained, depth)
    elif class_name == "MultiHeadAttention":
        gate = ("_gate",) if config.get("use_gate") else ()
        for part in ("query", "key", *gate, "value", "output"):
            yield WeightOwner("EinsumDense", f"{path}{part}_dense/", trained)
    else:
        yield WeightOwner(class_name, path, trained)


def _cell_owners(cell: Config, path: str, *, trained: bool) -> Iterator[WeightOwner]:
    """Yield a cell, or the cells of a stack, each of which may be frozen."""
    stacked = _object(cell, "config").get("cells")
    if cell.get("class_name") == "StackedRNNCells" and isinstance(stacked, list):
        cells = [part if isinstance(part, dict) else {} for part in stacked]
        counts: dict[str, int] = {}
        groups = [numbered(snake_case(str(part.get("class_name", ""))), counts) for part in cells]
        paths = [f"{path}cells/{group}/" for group in groups]
    else:
        cells, paths = [dict(cell)], [path]
    for part, own_path in zip(cells, paths, strict=True):
        class_name = str(part.get("class_name")).removesuffix("Cell")
        own_trained = _object(part, "config").get("trainable", True) is not False
        yield WeightOwner(class_name, own_path, trained and own_trained)


def _inner_owners(
    layer: Config,
    path: str,
    trained: bool,
    depth: int,
) -> Iterator[WeightOwner]:
    class_name, config = str(layer.get("class_name")), _object(layer, "config")
    yield from weight_owners(class_name, config, path, trained=trained, depth=depth + 1)


def _object(config: Config, name: str) -> Config:
    """Return an object in a config, or an empty one."""
    value = config.get(name)
    return value if isinstance(value, dict) else {}
