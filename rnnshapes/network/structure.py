"""Names, shapes and counts of a network, compared with those of a model or a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.ops.dims import shape_text


@dataclass(frozen=True)
class Engine:
    """Keras's version, its backend and the backend's version.

    With ``tensor_float_32`` it rounds the factors of float32 matrix products to 11 bits.
    """

    version: str
    backend: str
    backend_version: str
    tensor_float_32: bool = False

    @property
    def float64(self) -> bool:
        """Whether it keeps float64 in products (``keras/src/backend/common/dtypes.py``)."""
        return self.backend == "tensorflow"


@dataclass(frozen=True)
class ModelStructure:
    """Structure of a model or a file: (name, shape) of each weight, and the count, by layer.

    ``backwards`` tells for each recurrence whether it processes the sequence in reverse.
    """

    weights: Mapping[str, tuple[tuple[str, tuple[int, ...]], ...]]
    counts: Mapping[str, int]
    total: int
    backwards: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """One shape or count: the expected one, in symbols and numbers, and the one of the model.

    ``expected`` is ``None`` for a weight that only the model has, ``found`` for a missing one.
    """

    name: str
    symbols: str
    expected: tuple[int, ...] | int | None
    found: tuple[int, ...] | int | None

    @property
    def agrees(self) -> bool:
        """Whether both have it, and the same."""
        return self.expected is not None and self.expected == self.found


@dataclass(frozen=True)
class FileCheck:
    """Comparison of a saved model's arrays with its config, or of arrays with their modules.

    ``facts`` are empty for a file without weights (``unbuilt``) or without a config.
    ``contradictions`` say what Keras itself would refuse. ``notes`` are warnings about the file,
    ``extras`` says what it holds besides the model. ``framework`` is the one that wrote it.
    """

    path: str
    kind: str
    keras_version: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    unbuilt: bool
    extras: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    framework: str = "Keras"

    @property
    def differences(self) -> tuple[Fact, ...]:
        """Facts in which the file differs."""
        return tuple(fact for fact in self.facts if not fact.agrees)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs or contradicts itself."""
        return not (self.differences or self.contradictions)


def facts(network: Network, model: ModelStructure) -> tuple[Fact, ...]:
    """Compare every weight's name and shape, every layer's count, and the total.

    For a layer that is not supported, compare the count alone.
    """
    rows: list[Fact] = []
    for layer in network.layers:
        if layer.declared_shapes is None:
            rows += _weights(network, layer, model)
    for layer in network.layers:
        count = network.count(layer.count)
        if count or model.counts.get(layer.name):
            name = f"{layer.name} parameters"
            rows.append(Fact(name, str(layer.count), count, model.counts.get(layer.name)))
    formula = " + ".join(str(layer.count) for layer in network.layers if layer.weights)
    rows.append(Fact("count_params()", formula or "0", network.parameters, model.total))
    return tuple(rows)


def _weights(network: Network, layer: Layer, model: ModelStructure) -> Iterator[Fact]:
    """Pair each weight of a layer, in Keras's order, with the next one of its name in the model."""
    unpaired = list(model.weights.get(layer.name, ()))
    for group, weights in layer.groups.items():
        for weight in weights:
            last = weight.name.split("/")[-1]
            found = next((held for held in unpaired if held[0] == last), None)
            if found is not None:
                unpaired.remove(found)
            numbers = tuple(network.count(dim) for dim in weight.dims)
            shape = None if found is None else found[1]
            yield Fact(f"{group}/{weight.name}", shape_text(weight.dims), numbers, shape)
    for name, shape in unpaired:
        yield Fact(f"{layer.name}/{name}", "", None, shape)
