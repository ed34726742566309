"""A network as a port may have read it.

A :class:`Reading` is a network with weights and input, and what a port says of it. A convention
(:mod:`rnnshapes.port.mistakes`) changes one of these as the port may have done.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.port.quantities import Claim


@dataclass(frozen=True, eq=False)
class Reading:
    """A network as a port may have read it, and what the port says of it.

    ``said`` names the conventions by which it differs from the network, ``families`` what each
    is about: of one family there is one.
    """

    network: Network
    weights: Weights
    xs: tuple[Array, ...]
    claims: tuple[Claim, ...]
    said: tuple[str, ...] = ()
    families: tuple[str, ...] = ()

    def called(self, family: str, said: str) -> Reading:
        """The same under one more convention."""
        return replace(self, said=(*self.said, said), families=(*self.families, family))
