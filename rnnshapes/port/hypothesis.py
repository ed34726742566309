"""Hypotheses about a port: the network as the port may compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.port.fixes import FIXES
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.reference.outputs import STATES

#: Beginnings of the ids of mistakes after which the equation is right, and its numbers inexact.
_INEXACT = (
    *("numeric.", "activation.approximated", "input.rounded"),
    *("weights.float16", "weights.bfloat16", "weights.quantized"),
)


class Where(NamedTuple):
    """Where in a port something is wrong; None for what it does not depend on, or is not known.

    ``layer`` is the name of a layer, ``direction`` is ``forward`` or ``backward``, ``array`` the
    name of a weight in Keras or of a quantity, ``gate`` one of the cell's gates. ``unit`` and
    ``step`` count from 0.
    """

    layer: str | None = None
    direction: str | None = None
    array: str | None = None
    gate: str | None = None
    unit: int | None = None
    step: int | None = None


class Mistake(NamedTuple):
    """A known mistake of ports: ``id`` for programs (``gates.order``), ``text`` for people.

    ``own_fix`` is a line of code or a sentence, where the mistake has another than all of its id.
    """

    id: str
    text: str
    where: Where = Where()
    own_fix: str = ""

    @property
    def fix(self) -> str:
        """What to change in the port, in one line."""
        return self.own_fix or FIXES.get(self.id, "")

    @property
    def is_inexact(self) -> bool:
        """Whether the equation is right, and its numbers alone are not exact enough."""
        return self.id.startswith(_INEXACT)


def direction_of(layer: Layer, group: str) -> str | None:
    """Return which direction of a layer has a group of weights: ``forward`` or ``backward``.

    ``None`` where the layer has one direction alone, or the group is that of none.
    """
    groups = [direction.name for direction in layer.directions]
    both = len(groups) > 1 and group in groups
    return ("forward", "backward")[groups.index(group)] if both else None


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A network as a port may compute it, and the quantities that the port reports.

    ``xs`` are the inputs (N, T, D). ``mistakes`` are those by which the hypothesis differs from the
    network of the user; ``families`` names for each of them what it is about, such as ``gates``. Of
    each family a hypothesis has at most one mistake, but for those of cells. ``scope`` are the
    groups of weights that the next mistake concerns, and None for all; ``touched`` are those that
    the last mistake about cells changed. ``unwindowed``: it must be computed over all steps.
    ``cost`` is how many steps of the network one of its steps takes. ``start_rounding`` is how far
    the states before the first step may be off, by recurrence and state, (N, M), where they are the
    port's own numbers.
    """

    network: Network
    weights: Weights
    xs: tuple[Array, ...]
    quantities: tuple[ReportedQuantity, ...]
    mistakes: tuple[Mistake, ...] = ()
    families: tuple[str, ...] = ()
    scope: frozenset[str] | None = None
    touched: frozenset[str] = frozenset()
    unwindowed: bool = False
    cost: float = 1.0
    start_rounding: Weights = field(default_factory=dict)

    def with_mistake(self, family: str, mistake: Mistake) -> Hypothesis:
        """Return the same hypothesis, labelled with one more mistake; the next concerns all."""
        mistakes, families = (*self.mistakes, mistake), (*self.families, family)
        return replace(self, mistakes=mistakes, families=families, scope=None)

    def with_layer(self, position: int, layer: Any) -> Hypothesis:
        """Return the same hypothesis with another layer at a position of its graph."""
        nodes = list(self.network.nodes)
        nodes[position] = replace(nodes[position], layer=layer)
        return replace(self, network=self.network.with_nodes(tuple(nodes)))

    def with_arrays(self, group: str, arrays: Mapping[str, Array]) -> Hypothesis:
        """Return the same hypothesis with other arrays, by key, in a group of weights."""
        changed = {**self.weights.get(group, {}), **arrays}
        return replace(self, weights={**self.weights, group: changed})

    def map_quantities(
        self, function: Callable[[ReportedQuantity], ReportedQuantity]
    ) -> Hypothesis:
        """Return the same hypothesis with a function applied to each quantity."""
        return replace(self, quantities=tuple(map(function, self.quantities)))

    def of_samples(self, samples: slice) -> Hypothesis:
        """Return the hypothesis for some of the samples alone."""
        some = self.map_quantities(lambda q: q.map(lambda values: values[samples]))
        starts = {
            name: {key: array[samples] for key, array in arrays.items()}
            for name, arrays in self.weights.items()
            if name.startswith(STATES)
        }
        xs = tuple(x[samples] for x in self.xs)
        return replace(some, xs=xs, weights={**self.weights, **starts})

    def with_whole_layer(self, position: int, layer: Any) -> Hypothesis:
        """Return the hypothesis with another layer, to be computed over all steps."""
        return replace(self.with_layer(position, layer), unwindowed=True)

    @property
    def sequences(self) -> Array | None:
        """x, if it is the only input and has time steps: (N, T, D) or (N, T)."""
        timed = getattr(self.network.inputs[0].layer, "timed", False)
        return self.xs[0] if timed and len(self.xs) == 1 else None

    @property
    def is_constant_over_samples(self) -> bool:
        """Whether the port gives one step alone, with the same numbers for several samples.

        All that makes the network ignore x explains them, such as a kernel of zeros.
        """
        several = all(len(q.values) > 1 and q.values.shape[1] == 1 for q in self.quantities)
        return several and not any(np.ptp(q.values, axis=0).any() for q in self.quantities)

    def concerns(self, group: str) -> bool:
        """Return whether the next mistake concerns a group of weights."""
        return self.scope is None or group in self.scope


#: Mistakes of one kind that a network allows, each with the hypothesis that the port makes it.
Variations = Iterator[tuple[Mistake, Hypothesis]]


def recast(value: Any, **methods: Any) -> Any:
    """Return a layer or cell with the same fields, and other methods or attributes."""
    kind = type(value)
    values = {f.name: getattr(value, f.name) for f in fields(value)}
    return type(kind.__name__, (kind,), methods)(**values)


def with_outputs(layer: Any, change: Callable[[Any, Any], Any]) -> Any:
    """Return a recurrent layer that joins other outputs of its directions than its own.

    ``change`` takes an interpreter and the output of each direction, time first, and returns the
    outputs to be joined.
    """
    kind = type(layer)

    def join(self: Any, ops: Any, outputs: Any) -> Any:
        return kind.join(self, ops, change(ops, outputs))

    return recast(layer, join=join)
