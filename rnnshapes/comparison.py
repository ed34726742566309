"""What the algebra derives, held against what a built model has: names, shapes, counts."""

from __future__ import annotations

from dataclasses import dataclass

from rnnshapes.algebra.dims import shape_text
from rnnshapes.network import Network
from rnnshapes.reference import Built


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


def facts(network: Network, built: Built) -> tuple[Fact, ...]:
    """Every weight's name and shape, every layer's count, and the total."""
    shapes = list(built.weights)
    counts = dict(built.counts)
    rows = []
    for layer in network.layers:
        for weight in layer.weights:
            name = f"{layer.name}/{weight.name}"
            numbers = tuple(network.count(dim) for dim in weight.dims)
            found = next((held for held in shapes if held[0] == name), None)
            if found is not None:
                shapes.remove(found)
            symbols = shape_text(weight.dims)
            rows.append(Fact(name, symbols, numbers, None if found is None else found[1]))
    rows += [Fact(name, "", None, shape) for name, shape in shapes]
    for layer in network.layers:
        count = network.count(layer.count)
        name = f"{layer.name} parameters"
        rows.append(Fact(name, str(layer.count), count, counts.get(layer.name)))
    formula = " + ".join(str(layer.count) for layer in network.layers)
    rows.append(Fact("count_params()", formula, network.parameters, built.total))
    return tuple(rows)
