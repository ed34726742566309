"""A saved model: its network, what the file has of it, and its weights when they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved import keras2, untrusted_json, weight_paths, weights_only
from rnnshapes.load.saved import network as plans
from rnnshapes.load.saved.converted import Held
from rnnshapes.load.saved.hdf5_client import Store
from rnnshapes.load.saved.weight_paths import Arrays
from rnnshapes.network.graph import ITEM_BYTES, Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.structure import FileCheck, ModelStructure, facts

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights


#: More ways through a graph than any model has; TensorFlow goes each of them.
MOST_PATHS = 10**6


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A saved model. ``built`` is what the file has of each layer, where its config names them.

    ``keras_version`` is that of the Keras that wrote it, ``notes`` what else has to be said of
    the file. ``unbuilt`` says that it holds no weights, ``dtypes`` are those of the weights.
    """

    path: Path
    network: Network
    kind: str
    keras_version: str
    built: ModelStructure | None
    notes: tuple[str, ...]
    unbuilt: bool
    dtypes: tuple[str, ...]
    store: Store
    held: Mapping[str, Sequence[Held]]

    def check(self, network: Network) -> FileCheck:
        """The file against what is derived for ``network``, in which open sizes have values."""
        found = () if self.built is None else facts(network, self.built)
        path = untrusted_json.printable(str(self.path))
        return FileCheck(path, self.kind, self.keras_version, found, self.notes, self.unbuilt)

    def require_computable(self, network: Network, *, keras: bool) -> None:
        """Raise InputError where too little is known of the model to compute anything."""
        if why := network.not_buildable_reason:
            raise InputError(f"{self.path}: {why}{self._advice(network)}")
        if self.unbuilt:
            raise InputError(
                f"{self.path}: it was saved before it was built and holds no weights; "
                "build the model, and save it anew"
            )
        wrong = next((fact for fact in self.check(network).facts if not fact.agrees), None)
        if wrong is not None:
            raise InputError(
                f"{self.path}: {wrong.name} is {_text(wrong.expected)} by its config, "
                f"{_text(wrong.found)} in the file; rnnshapes inspect shows all of it"
            )
        if keras and network.path_count > MOST_PATHS:
            raise InputError(
                f"{self.path}: its graph has {network.path_count:.1e} paths, too many for "
                "TensorFlow; "
                "trace --no-keras computes it in NumPy"
            )
        if keras and len(self.dtypes) > 1:
            raise InputError(
                f"{self.path}: its weights are of {' and '.join(self.dtypes)}; next to Keras only "
                "a model with one dtype for all of them can be traced and verified; "
                "trace --no-keras computes it in NumPy"
            )

    def _advice(self, network: Network) -> str:
        """What to do about a model that cannot be built from its file."""
        if network.unsupported and network.inputs:
            return (
                ", so the file alone does not say what it computes; load the model in Keras, and "
                "give it to rnnshapes.trace or rnnshapes.verify in Python"
            )
        if self.kind == weights_only.WEIGHTS:
            return f" ({self.kind}); save the whole model, with model.save"
        return "" if network.inputs else f" ({self.kind}); build it with keras.Model or Sequential"

    def weights(self) -> Weights:
        """The numbers of all layers, as today's Keras has them.

        Raises TooLargeError where they do not fit into memory.
        """
        from rnnshapes import memory

        count = sum(math.prod(h.shape) for held in self.held.values() for h in held)
        memory.require(4 * count * ITEM_BYTES["float32"], f"reading {count:,} parameters")
        found = {}
        for layer in self.network.layers:
            left = iter(_in_order(layer, self.held.get(layer.name, ())))
            for name, group in layer.groups.items():
                found[name] = {weight.key: next(left).values(self.store) for weight in group}
        return found


def _text(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _in_order(layer: Layer, held: Sequence[Held]) -> list[Held]:
    """The arrays in the order of the layer's weights, found by their names where they have any."""
    names = [w.name.split("/")[-1] for group in layer.groups.values() for w in group]
    if sorted(names) != sorted(each.name for each in held):
        return list(held)
    left = list(held)
    found = []
    for name in names:
        each = next(each for each in left if each.name == name)
        left.remove(each)
        found.append(each)
    return found


@contextmanager
def open_model_file(path: Path) -> Iterator[ModelFile]:
    """Read a saved model; InputError, naming the file, for what cannot be one."""
    with closing(Store(path)) as store:
        yield _understood(path, store)


def _understood(path: Path, store: Store) -> ModelFile:
    try:
        return _read(path, store)
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None


def _read(path: Path, store: Store) -> ModelFile:
    version = _version(store)
    config = _config(store)
    old = store.kind == "hdf5" and config is not None and _major(version) < 3
    if config is None or not _has_graph(config):
        network, found, kind = weights_only.understood(store, config)
        said = tuple(_notes(store, found))
        return ModelFile(path, network, kind, version, None, said, False, (), store, found.by_layer)
    flat, outputs = plans.flattened(config, legacy=old)
    owners = list(flat.owners.values())
    sort = weight_paths.of_keras3 if store.kind == "keras" else weight_paths.of_hdf5
    found = sort(store, owners)
    network = plans.network_of(flat, outputs, found.by_layer, found.same)
    unbuilt = not any(found.by_layer.values()) and not found.rest and store.holds_weights
    policy = plans.policy(owners)
    notes = [*_notes(store, found), *_meanings(config, policy, old=old, unbuilt=unbuilt)]
    return ModelFile(
        path,
        network,
        ".keras" if store.kind == "keras" else "HDF5",
        version,
        None if unbuilt else _built(network, found),
        tuple(notes),
        unbuilt,
        plans.dtypes(owners),
        store,
        found.by_layer,
    )


def _version(store: Store) -> str:
    if store.metadata is not None:
        found = untrusted_json.shown(untrusted_json.parse(store.metadata, "its metadata.json"))
        version = found.get("keras_version")
        return version[:40] if isinstance(version, str) else "?"
    for place in ("", "model_weights"):
        version = store.groups.get(place, {}).get("keras_version")
        if version:
            return str(version)[:40]
    return "3" if any("vars" in d.place for d in store.datasets) else "1"


def _major(version: str) -> int:
    head = version.split(".", 1)[0]
    return int(head) if head.isdecimal() and len(head) < 4 else 3


def _config(store: Store) -> dict[str, Any] | None:
    text = store.config
    if text is None:
        text = store.groups.get("", {}).get("model_config")
    if text is None:
        return None
    if text.lstrip()[:1] == "[":  # a list of layers, as the first Keras wrote it
        text = f'{{"class_name": "Sequential", "config": {text}}}'
    found: dict[str, Any] = untrusted_json.shown(untrusted_json.parse(text, "its config"))
    return found


def _has_graph(config: Mapping[str, Any]) -> bool:
    """Whether it lists layers: a bare list is how Keras 1 and 2.0 wrote a Sequential."""
    inner = config.get("config")
    layers = inner.get("layers") if isinstance(inner, dict) else inner
    return isinstance(layers, list)


def _built(network: Network, found: Arrays) -> ModelStructure:
    """What the file has, by layer; numbered arrays get the names of the weights they stand for."""
    weights, counts = {}, {}
    for layer in network.layers:
        held = found.by_layer.get(layer.name, ())
        names = [w.name.split("/")[-1] for group in layer.groups.values() for w in group]
        if found.named and {h.name for h in held} & set(names):
            names = [h.name for h in held]
        names += [h.name for h in held[len(names) :]]
        weights[layer.name] = tuple(
            (name, each.shape) for name, each in zip(names, held, strict=False)
        )
        counts[layer.name] = sum(math.prod(each.shape) for each in held)
    return ModelStructure(weights, counts, sum(counts.values()))


def _notes(store: Store, found: Arrays) -> Iterator[str]:
    """What has to be said of the arrays in the file."""
    if not store.holds_weights:
        yield "it has no member model.weights.h5, in which its weights should be"
    if found.optimizer:
        count = sum(math.prod(d.shape) for d in found.optimizer)
        yield (
            f"beside the weights it holds {len(found.optimizer)} arrays of the optimizer, "
            f"{count:,} numbers, which are not the model's"
        )
    if found.rest:
        names = ", ".join("/".join(d.place) for d in found.rest[:3])
        more = f" and {len(found.rest) - 3} more" if len(found.rest) > 3 else ""
        yield f"these arrays belong to no layer of its config: {names}{more}"


def _meanings(config: Mapping[str, Any], policy: str, *, old: bool, unbuilt: bool) -> Iterator[str]:
    """What has to be said of the config."""
    if unbuilt:
        yield "saved before it was built: it holds no weights, and all shapes come from its config"
    if policy:
        yield f"its dtype policy is {policy}: Keras computes not all of it in that of the weights"
    if old and (why := keras2.refusal(config)):
        yield f"Keras 3 would not load it: {why}"
