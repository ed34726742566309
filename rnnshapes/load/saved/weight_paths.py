"""Which arrays of a file belong to which layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from rnnshapes.load.saved.config_layers import Owner
from rnnshapes.load.saved.converted import Held, modern
from rnnshapes.load.saved.hdf5_client import Dataset, Store
from rnnshapes.load.saved.parts import Part, parts_of


@dataclass(frozen=True)
class Arrays:
    """All arrays of a file: those of each layer, and the rest.

    ``named`` says whether they have the names of weights, and not only numbers. ``same`` are
    layers that are another one, by the names of both.
    """

    by_layer: Mapping[str, tuple[Held, ...]]
    optimizer: tuple[Dataset, ...]
    rest: tuple[Dataset, ...]
    named: bool
    same: Mapping[str, str] = field(default_factory=dict)


# --- Keras 3: by class, counted, and by number --------------------------------------------------


def of_keras3(store: Store, owners: Sequence[Owner]) -> Arrays:
    """``layers/lstm/cell/vars/0``: where ``keras/src/saving/saving_lib.py`` puts it."""
    by_group: dict[str, list[Dataset]] = {}
    for dataset in store.datasets:
        by_group.setdefault("/".join(dataset.place[:-1]), []).append(dataset)
    named = _named_groups(store)
    found = {}
    for owner in owners:
        front = owner.group.rsplit("/", 1)[0]
        groups = named.get((front, owner.own), [])
        group = groups[0] if len(groups) == 1 else owner.group
        cut = group.count("/") + 1
        held = [
            Held("/".join(d.place[cut:]), d.shape, (d,), trained=part.trained)
            for part in parts_of(owner.class_name, owner.config)
            for d in sorted(by_group.get(f"{group}/{part.place}vars", []), key=number)
        ]
        if not held:
            everything = _all_in(by_group, group)
            held = [Held("/".join(d.place[cut:]), d.shape, (d,)) for d in everything]
        found[owner.name] = tuple(held)
    return replace(_sorted_out(store, found, named=False), same=_same(owners, found))


def _same(owners: Sequence[Owner], found: Mapping[str, tuple[Held, ...]]) -> dict[str, str]:
    """Layers that stand in several models: Keras writes their arrays once."""
    known: dict[tuple[str, str], list[Owner]] = {}
    for owner in owners:
        if found[owner.name]:
            known.setdefault((owner.own, owner.class_name), []).append(owner)
    made = {}
    for owner in owners:
        others = known.get((owner.own, owner.class_name), [])
        if (
            not found[owner.name]
            and len(others) == 1
            and _plain(others[0].config) == _plain(owner.config)
        ):
            made[owner.name] = others[0].name
    return made


def _plain(config: Any) -> Any:
    """A config without the numbers that tell objects apart."""
    if isinstance(config, list):
        return [_plain(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {name: _plain(part) for name, part in config.items() if name != "shared_object_id"}


def _named_groups(store: Store) -> dict[tuple[str, str], list[str]]:
    """The groups of layers by what they are in, and by the name that they give."""
    found: dict[tuple[str, str], list[str]] = {}
    for place, attributes in store.groups.items():
        group, _, last = place.rpartition("/")
        if last == "vars" and "name" in attributes:
            found.setdefault((group.rsplit("/", 1)[0], attributes["name"]), []).append(group)
    return found


def number(dataset: Dataset) -> tuple[int, str]:
    """Its place among the arrays of a group: 10 comes after 9."""
    last = dataset.place[-1]
    return (int(last), "") if last.isdecimal() and len(last) < 9 else (10**9, last)


def _all_in(by_group: Mapping[str, list[Dataset]], group: str) -> list[Dataset]:
    """All arrays of a layer of which nothing is known, but for the states of its dropouts."""
    if not group:
        return []
    return [
        dataset
        for place, datasets in by_group.items()
        if place.startswith(f"{group}/") and "seed_generator" not in place.split("/")
        for dataset in sorted(datasets, key=number)
    ]


# --- Keras 1 and 2, and HDF5 of Keras 3: by the name of the layer -------------------------------


def of_hdf5(store: Store, owners: Sequence[Owner]) -> Arrays:
    """``model_weights/lstm/lstm/kernel:0``: where ``legacy_h5_format.py`` puts it."""
    root = "model_weights" if any(p.startswith("model_weights") for p in store.groups) else ""
    backend = str(store.groups.get(root, {}).get("backend", ""))
    by_place = {"/".join(dataset.place): dataset for dataset in store.datasets}
    tops: dict[str, list[Owner]] = {}
    for owner in owners:
        tops.setdefault(owner.top, []).append(owner)
    found: dict[str, tuple[Held, ...]] = {}
    for top, inside in tops.items():
        place = f"{root}/{top}".strip("/")
        names = store.groups.get(place, {}).get("weight_names", [])
        datasets = [by_place[f"{place}/{n}"] for n in names if f"{place}/{n}" in by_place]
        cut = place.count("/") + 1
        shared: dict[str, list[Dataset]] = {owner.name: [] for owner in inside}
        for dataset in datasets:
            path = dataset.place[cut:-1]
            owner = inside[0] if len(inside) == 1 else _owner_of(inside, path)
            shared[owner.name].append(dataset)
        for owner in inside:
            found[owner.name] = tuple(_in_order(owner, shared[owner.name], backend))
    return _sorted_out(store, found, named=True)


def _owner_of(owners: Sequence[Owner], path: Sequence[str]) -> Owner:
    """The layer of a model inside the model whose name stands in the path of a weight.

    The one of which most names of the models around it stand there, too; else the first in the
    path, since behind the layer its cell follows.
    """

    def match(owner: Owner) -> tuple[int, int]:
        chain = owner.name.split("/")
        for length in range(len(chain), 0, -1):
            part = tuple(chain[-length:])
            for start in range(len(path) - length + 1):
                if tuple(path[start : start + length]) == part:
                    return length, -start
        return 0, 0

    return max(owners, key=match)


def _in_order(owner: Owner, datasets: Sequence[Dataset], backend: str) -> Iterator[Held]:
    """The arrays of a layer, part by part, in the order of ``layer.weights``.

    The file has those first that are trained (``_legacy_weights``), each part in one piece.
    """
    held = [Held(_weight_name(d.place[-1]), d.shape, (d,)) for d in datasets]
    parts = list(parts_of(owner.class_name, owner.config))
    pieces = [list(part) for _, part in groupby(held, key=lambda h: h.datasets[0].place[:-1])]
    if len(pieces) != len(parts) and held and len(held) % len(parts) == 0:  # names without paths
        size = len(held) // len(parts)
        pieces = [held[start : start + size] for start in range(0, len(held), size)]
    if len(pieces) != len(parts):
        yield from held
        return
    order = sorted(range(len(parts)), key=lambda place: not parts[place].trained)
    by_part: dict[int, list[Held]] = dict(zip(order, pieces, strict=True))
    for place, part in enumerate(parts):
        yield from _of_part(part, by_part[place], backend)


def _of_part(part: Part, held: Sequence[Held], backend: str) -> Iterator[Held]:
    for each in modern(part.kind, held, backend):
        yield replace(each, trained=part.trained)


def _weight_name(text: str) -> str:
    """``kernel`` from ``kernel:0``."""
    return text.rsplit(":", 1)[0]


def _sorted_out(store: Store, found: Mapping[str, tuple[Held, ...]], *, named: bool) -> Arrays:
    taken = {d.number for held in found.values() for each in held for d in each.datasets}
    left = [dataset for dataset in store.datasets if dataset.number not in taken]
    optimizer = [d for d in left if d.place[0].startswith("optimizer")]
    seeds = [d for d in left if "seed_generator" in d.place]
    rest = [d for d in left if d not in optimizer and d not in seeds]
    return Arrays(found, tuple(optimizer), tuple(rest), named)
