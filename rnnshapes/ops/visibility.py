"""Which keys a query of attention sees, and what Keras does with the others.

Sources: ``keras/src/layers/attention`` and ``keras/src/layers/activations/softmax.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array


@dataclass(frozen=True, eq=False)
class Visibility:
    """The keys that count for each query: the masks of both, and none after it if ``causal``.

    Keras takes a huge number from the scores of the others, or puts one in their place if
    ``replaced``: their shares are exactly 0. A query that sees no key then has equal shares of
    all, or with ``nothing`` a share of 0 in each; but in float64, a difference to a huge
    number is nearly as good as the score itself.
    """

    queries: Any = None
    keys: Any = None
    causal: bool = False
    replaced: bool = False
    nothing: bool = False

    @property
    def name(self) -> str:
        """How the operation is called where operations are listed."""
        return "causal_softmax" if self.causal else "softmax"

    def visible(self, shape: tuple[int, ...]) -> Array | None:
        """Return which keys count for scores (N, …, queries, keys); ``None`` if all do."""
        import numpy as np

        masks = []
        between = (1,) * (len(shape) - 3)
        if self.queries is not None:
            masks.append(self.queries.reshape(len(self.queries), *between, -1, 1))
        if self.keys is not None:
            masks.append(self.keys.reshape(len(self.keys), *between, 1, -1))
        if self.causal:
            masks.append(np.tri(*shape[-2:], dtype=bool))
        if not masks:
            return None
        visible: Array = np.broadcast_to(reduce(np.logical_and, masks), shape)
        return visible
