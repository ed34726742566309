"""Masks that Keras's MultiHeadAttention removes from its inputs while the model runs.

It removes the mask of each tensor that it is called on, so that another layer with the same input
may see none. Recurrent and pooling layers keep theirs: Keras passes it to them when the model is
built. Source: ``keras/src/layers/attention/multi_head_attention.py``, ``call``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.symbolic import NodeShapes

_REMOVES_MASKS = "MultiHeadAttention"


class _Call(Protocol):
    @property
    def class_name(self) -> str: ...
    @property
    def sources(self) -> tuple[Tap, ...]: ...


class LostMasks:
    """Record, call by call, of which outputs may be without their mask."""

    def __init__(self, calls: Sequence[_Call]) -> None:
        """Prepare for these calls."""
        removed = [set(c.sources) for c in calls if c.class_name == _REMOVES_MASKS]
        self._removers = Counter(tap for taps in removed for tap in taps)
        self._lost: list[bool] = []

    def before(self, call: _Call, node_shapes: Sequence[NodeShapes]) -> bool:
        """Return whether an input of a call may have lost its mask to another call."""
        own = int(call.class_name == _REMOVES_MASKS)
        return any(
            node_shapes[tap.node].output(tap.output).masked
            and (self._lost[tap.node] or self._removers[tap] > own)
            for tap in call.sources
        )

    def add(self, layer: Layer, *, lost: bool) -> None:
        """Add a call, of which an input may have lost its mask."""
        self._lost.append(lost and not layer.uses_mask)
