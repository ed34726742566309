"""A saved model: its network, what its file holds, and its weights when they are needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.opened_file import OpenedFile
from rnnshapes.load.saved import network as config_network
from rnnshapes.load.saved import old_keras, untrusted_json, weight_paths, weights_only
from rnnshapes.load.saved.config_layers import NO_LAYERS, has_graph
from rnnshapes.load.saved.hdf5_client import Hdf5Client, StoredWeight
from rnnshapes.load.saved.weight_paths import FileWeights, WeightsByLayer
from rnnshapes.network.graph import ITEM_BYTES, Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.config import MODEL_CLASSES, Config, is_keras
from rnnshapes.network.structure import FileCheck, ModelStructure, facts

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights


#: More paths through a graph than any model has; TensorFlow follows each of them.
MOST_PATHS = 10**6


@dataclass(frozen=True, eq=False)
class ModelFile(OpenedFile):
    """A saved model.

    ``structure`` is what the file holds of each layer; ``None`` if it has no graph or no weights.
    ``keras_version`` is that of the Keras that wrote it, ``notes`` are warnings for the user,
    ``extras`` says what it holds besides the model. ``unbuilt`` says that it holds no weights,
    ``dtypes`` are those of the weights. ``contradictions`` say what Keras itself would refuse, but
    for layers of the network.
    """

    path: Path
    network: Network
    kind: str
    keras_version: str
    structure: ModelStructure | None
    notes: tuple[str, ...]
    unbuilt: bool
    dtypes: tuple[str, ...]
    client: Hdf5Client
    stored_weights: WeightsByLayer
    extras: tuple[str, ...]
    contradictions: tuple[str, ...] = ()

    def check(self, network: Network) -> FileCheck:
        checked = () if self.structure is None else facts(network, self.structure)
        path = untrusted_json.printable(str(self.path))
        return FileCheck(
            path,
            self.kind,
            self.keras_version,
            checked,
            self.notes,
            self.unbuilt,
            self.extras,
            self._contradictions(network),
        )

    def _contradictions(self, network: Network) -> tuple[str, ...]:
        """Return what Keras itself would refuse, by layer."""
        texts = [*self.contradictions]
        texts += [f"layer {name!r}: {reason}" for name, reason in network.contradictions.items()]
        for layer in network.layers:
            if layer.declared_shapes is None:
                texts += [
                    f"the weight {'/'.join(dataset.path)} of layer {layer.name!r} is of dtype "
                    f"{dataset.dtype:.40}, which holds no real numbers"
                    for weight in self.stored_weights.get(layer.name, ())
                    for dataset in weight.datasets
                    if not dataset.is_real
                ]
        return tuple(texts)

    def require_computable(self, network: Network, *, keras: bool) -> None:
        for contradiction in self._contradictions(network):
            raise InputError(
                f"{self.path}: it contradicts itself: {contradiction}; save the model again"
            )
        if why := network.not_buildable_reason:
            error = InputError if self.kind == weights_only.WEIGHTS else UnsupportedError
            raise error(f"{self.path}: {why}{self._advice(network)}")
        if self.unbuilt:
            raise InputError(
                f"{self.path}: it was saved before it was built and holds no weights; "
                "build the model, and save it again"
            )
        wrong = next((fact for fact in self.check(network).facts if not fact.agrees), None)
        if wrong is not None:
            raise InputError(
                f"{self.path}: {wrong.name} is {_shape_text(wrong.expected)} by its config, "
                f"{_shape_text(wrong.found)} in the file; rnnshapes inspect shows all differences"
            )
        if keras and network.path_count > MOST_PATHS:
            raise UnsupportedError(
                f"{self.path}: its graph has {network.path_count:.1e} paths, too many for "
                "TensorFlow; trace --no-keras computes it in NumPy"
            )
        if keras and len(self.dtypes) > 1:
            raise UnsupportedError(
                f"{self.path}: its weights are of {' and '.join(self.dtypes)}; Keras can only "
                "trace and verify models whose weights share one dtype; use trace --no-keras"
            )

    def _advice(self, network: Network) -> str:
        """Return what to do about a model that cannot be built from its file."""
        if self.kind == weights_only.WEIGHTS:
            return f" ({self.kind}); save the whole model, with model.save"
        why = "" if network.inputs else f" ({self.kind})"
        return (
            f"{why}, so the file alone does not say what it computes; load the model in Keras, and "
            "give it to rnnshapes.trace or rnnshapes.verify in Python"
        )

    def weights(self) -> Weights:
        from rnnshapes import memory

        count = sum(math.prod(w.shape) for stored in self.stored_weights.values() for w in stored)
        memory.require(4 * count * ITEM_BYTES["float32"], f"reading {count:,} parameters")
        arrays = {}
        for layer in self.network.layers:
            stored = iter(self.in_weight_order(layer))
            for name, group in layer.groups.items():
                arrays[name] = {weight.key: next(stored).values(self.client) for weight in group}
        return arrays

    def in_weight_order(self, layer: Layer) -> list[StoredWeight]:
        """Return a layer's arrays in the order of its weights, by their names if they have these.

        A .keras file has numbers instead of names.
        """
        stored = self.stored_weights.get(layer.name, ())
        names = _weight_names(layer)
        if sorted(names) != sorted(weight.name for weight in stored):
            return list(stored)
        remaining = list(stored)
        ordered = []
        for name in names:
            weight = next(weight for weight in remaining if weight.name == name)
            remaining.remove(weight)
            ordered.append(weight)
        return ordered


def _shape_text(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _weight_names(layer: Layer) -> list[str]:
    """Return Keras's names of a layer's weights, in the order of ``layer.weights``."""
    return [w.name.split("/")[-1] for group in layer.groups.values() for w in group]


@contextmanager
def open_model_file(path: Path) -> Iterator[ModelFile]:
    """Open a saved model. Raises InputError, naming the file, for what cannot be one."""
    with closing(Hdf5Client(path)) as client:
        try:
            model = _read(path, client)
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(str(path)) else f"{path}: {text}") from None
        yield model


def _read(path: Path, client: Hdf5Client) -> ModelFile:
    version = _keras_version(client)
    config = _config(client)
    if config is None or not has_graph(config):
        network, weights, kind = weights_only.read_weights_only(client, config)
        notes = tuple(_weight_notes(client, weights))
        return ModelFile(
            path,
            network,
            kind,
            version,
            None,
            notes,
            False,
            (),
            client,
            weights.by_layer,
            _extras(weights),
            () if config is None else _model_contradictions(config),
        )
    legacy = client.kind == "hdf5" and _major(version) < 3
    graph, outputs = config_network.flatten(config, legacy=legacy)
    layers = list(graph.layers.values())
    assign = weight_paths.assign_by_group if client.kind == "keras" else weight_paths.assign_by_name
    weights = assign(client, layers)
    network = config_network.build_network(graph, outputs, weights.by_layer, weights.aliases)
    has_arrays = any(weights.by_layer.values()) or bool(weights.unassigned)
    unbuilt = not has_arrays and client.holds_weights
    policies = config_network.mixed_policies(layers)
    notes = (
        *_weight_notes(client, weights),
        *_config_notes(config, policies, legacy=legacy, unbuilt=unbuilt),
    )
    return ModelFile(
        path,
        network,
        ".keras" if client.kind == "keras" else "HDF5",
        version,
        None if unbuilt else _structure(network, weights),
        notes,
        unbuilt,
        config_network.weight_dtypes(layers),
        client,
        weights.by_layer,
        _extras(weights),
    )


def _keras_version(client: Hdf5Client) -> str:
    if client.metadata is not None:
        metadata = untrusted_json.parse(client.metadata, "its metadata.json")
        version = untrusted_json.all_printable(metadata).get("keras_version")
        return version[:40] if isinstance(version, str) else "?"
    for group in ("", "model_weights"):
        version = client.groups.get(group, {}).get("keras_version")
        if version:
            return str(version)[:40]
    return "3" if any("vars" in dataset.path for dataset in client.datasets) else "1"


def _major(version: str) -> int:
    """Return the first number of a version, or 3."""
    head = version.split(".", 1)[0]
    return int(head) if head.isdecimal() and len(head) < 4 else 3


def _config(client: Hdf5Client) -> dict[str, Any] | None:
    """Return the model as Keras writes it, or ``None`` if the file does not hold it."""
    text = client.config
    if text is None:
        text = client.groups.get("", {}).get("model_config")
    if text is None:
        return None
    if text.lstrip()[:1] == "[":  # a list of layers, as the first Keras wrote it
        text = f'{{"class_name": "Sequential", "config": {text}}}'
    config: dict[str, Any] = untrusted_json.all_printable(untrusted_json.parse(text, "its config"))
    return config


def _model_contradictions(model: Config) -> tuple[str, ...]:
    """Return why Keras would refuse a model that does not list its layers: it is no class of it."""
    class_name = model.get("class_name")
    if not isinstance(class_name, str) or not class_name:
        return ("the model has no class_name",)
    is_own = class_name in MODEL_CLASSES and is_keras(model)
    return (f"the model is a {class_name}, but {NO_LAYERS}",) if is_own else ()


def _structure(network: Network, file_weights: FileWeights) -> ModelStructure:
    """Return what the file holds by layer; numbered arrays get the names of weights."""
    weights, counts = {}, {}
    for layer in network.layers:
        stored = file_weights.by_layer.get(layer.name, ())
        names = _weight_names(layer)
        if file_weights.named and {weight.name for weight in stored} & set(names):
            names = [weight.name for weight in stored]
        names += [weight.name for weight in stored[len(names) :]]
        weights[layer.name] = tuple(
            (name, weight.shape) for name, weight in zip(names, stored, strict=False)
        )
        counts[layer.name] = sum(math.prod(weight.shape) for weight in stored)
    return ModelStructure(weights, counts, sum(counts.values()))


def _extras(weights: FileWeights) -> tuple[str, ...]:
    """Return what the file holds besides the model."""
    if not weights.optimizer:
        return ()
    count = sum(math.prod(dataset.shape) for dataset in weights.optimizer)
    arrays = len(weights.optimizer)
    return (f"also {arrays} optimizer array{'s' * (arrays != 1)} ({count:,} numbers)",)


def _weight_notes(client: Hdf5Client, weights: FileWeights) -> Iterator[str]:
    """Yield warnings about the arrays in the file."""
    if not client.holds_weights:
        yield "it has no member model.weights.h5, in which its weights should be"
    if weights.unassigned:
        names = ", ".join("/".join(dataset.path) for dataset in weights.unassigned[:3])
        more = len(weights.unassigned) - 3
        rest = f" and {more} more" if more > 0 else ""
        yield f"these arrays belong to no layer of its config: {names}{rest}"


def _config_notes(
    config: Mapping[str, Any], policies: str, *, legacy: bool, unbuilt: bool
) -> Iterator[str]:
    """Yield remarks on the config."""
    if unbuilt:
        yield "saved before it was built: it holds no weights, and all shapes come from its config"
    if policies:
        yield f"its dtype policy is {policies}: Keras computes parts of it in another dtype"
    if legacy and (why := old_keras.keras3_refusal(config)):
        yield f"Keras 3 would not load it: {why}"
