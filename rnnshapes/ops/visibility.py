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
    """The keys that each query sees: by the masks of both, and no key after it if ``causal``.

    Keras subtracts a huge number from the scores of hidden keys, or if ``replaced`` sets them to a
    huge negative one, so that their attention weights are exactly 0. A query that sees no key then
    has equal weights for all keys, or with ``nothing`` weights of 0. In float64, a score minus a
    huge number still tells keys apart.
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

    def visible(self, shape: tuple[int, ...], mask: Array | None = None) -> Array | None:
        """Return which keys are visible for scores (N, …, queries, keys); ``None`` if all are.

        A ``mask`` (N, queries, keys) is 0 for more hidden keys.
        """
        import numpy as np

        masks = []
        between = (1,) * (len(shape) - 3)
        if self.queries is not None:
            masks.append(self.queries.reshape(len(self.queries), *between, -1, 1))
        if self.keys is not None:
            masks.append(self.keys.reshape(len(self.keys), *between, 1, -1))
        if self.causal:
            masks.append(np.tri(*shape[-2:], dtype=bool))
        if mask is not None:
            masks.append(mask.reshape(len(mask), *between, *mask.shape[1:]) != 0)
        if not masks:
            return None
        visible: Array = np.broadcast_to(reduce(np.logical_and, masks), shape)
        return visible
