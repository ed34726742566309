"""What the algebra derives, held against what a built model has: names, shapes, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.ops.dims import shape_text


@dataclass(frozen=True)
class Engine:
    """What computes the reference: Keras's version, its backend and the backend's version.

    ``tensor_float_32`` says that it rounds the factors of matrix products in float32 to 11 bits.
    """

    version: str
    backend: str
    backend_version: str
    tensor_float_32: bool = False

    @property
    def float64(self) -> bool:
        """Whether products of float64 stay so (``keras/src/backend/common/dtypes.py``)."""
        return self.backend == "tensorflow"


@dataclass(frozen=True)
class ModelStructure:
    """What Keras says of a model: (name, shape) of each weight and the count, by layer.

    ``backwards`` says by recurrence whether it reads from the last step.
    """

    weights: Mapping[str, tuple[tuple[str, tuple[int, ...]], ...]]
    counts: Mapping[str, int]
    total: int
    backwards: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """One shape or count: as derived, in symbols and numbers, and as found in the model.

    ``expected`` is ``None`` for a weight that only the model has, ``found`` for one it lacks.
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
    """A saved model: who wrote it, and whether it has what its config asks for.

    ``facts`` are empty for a file without weights (``unbuilt``), or without a config. ``notes``
    say what else is to be known of the file.
    """

    path: str
    kind: str
    keras_version: str
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    unbuilt: bool

    @property
    def differences(self) -> tuple[Fact, ...]:
        """The facts in which the file differs."""
        return tuple(fact for fact in self.facts if not fact.agrees)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def facts(network: Network, built: ModelStructure) -> tuple[Fact, ...]:
    """Every weight's name and shape, every layer's count, and the total.

    Of a layer that is not derived, only the count.
    """
    rows: list[Fact] = []
    for layer in network.layers:
        if layer.declared_shapes is None:
            rows += _weights(network, layer, built)
    for layer in network.layers:
        count = network.count(layer.count)
        if count or built.counts.get(layer.name):
            name = f"{layer.name} parameters"
            rows.append(Fact(name, str(layer.count), count, built.counts.get(layer.name)))
    formula = " + ".join(str(layer.count) for layer in network.layers if layer.weights)
    rows.append(Fact("count_params()", formula or "0", network.parameters, built.total))
    return tuple(rows)


def _weights(network: Network, layer: Layer, built: ModelStructure) -> Iterator[Fact]:
    """The layer's weights, in Keras's order, each with the first of its name that is left."""
    left = list(built.weights.get(layer.name, ()))
    for group, weights in layer.groups.items():
        for weight in weights:
            last = weight.name.split("/")[-1]
            found = next((held for held in left if held[0] == last), None)
            if found is not None:
                left.remove(found)
            numbers = tuple(network.count(dim) for dim in weight.dims)
            shape = None if found is None else found[1]
            yield Fact(f"{group}/{weight.name}", shape_text(weight.dims), numbers, shape)
    for name, shape in left:
        yield Fact(f"{layer.name}/{name}", "", None, shape)
