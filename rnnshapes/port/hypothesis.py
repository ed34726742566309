"""Hypotheses about a port: the network as the port may compute it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.port.quantities import ReportedQuantity


class Mistake(NamedTuple):
    """A known mistake of ports: ``id`` for programs (``gates.order``), ``text`` for people."""

    id: str
    text: str


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """A network as a port may compute it, and the quantities that the port reports.

    ``xs`` are the inputs (N, T, D). ``mistakes`` are those by which the hypothesis differs from
    the network of the user; ``families`` names for each of them what it is about, such as
    ``gates``. Of each family a hypothesis has at most one mistake.
    """

    network: Network
    weights: Weights
    xs: tuple[Array, ...]
    quantities: tuple[ReportedQuantity, ...]
    mistakes: tuple[Mistake, ...] = ()
    families: tuple[str, ...] = ()

    def with_mistake(self, family: str, mistake: Mistake) -> Hypothesis:
        """Return the same hypothesis, labelled with one more mistake."""
        return replace(self, mistakes=(*self.mistakes, mistake), families=(*self.families, family))
