"""What Keras says of a model and computes in it, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnshapes.network.structure import Engine

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: Under this and the name of a recurrence, the states of a stateful model among its weights.
STATES = "states of "
#: Arrays by the name of the recurrence and that of the state.
States = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """What Keras computes for an input x; samples come first in every array.

    ``values`` are the outputs of the model's own layers, by node. ``states`` are those of every
    recurrence at each step (N, T, M), by the time of x, where a step is masked those put out
    there; ``starts`` the states before the first step (N, M), where they are not zeros;
    ``masks`` (N, T) say which steps of a node's output count. ``each`` is what the last
    recurrences and the layers behind them would answer at each step, (N, T, units).
    ``outputs`` are those of ``model.predict(x)``. ``origins`` holds states like ``states``, where
    each step was taken from these instead of from Keras's own.
    """

    engine: Engine
    values: Mapping[str, tuple[Array, ...]]
    each: Mapping[str, tuple[Array, ...]]
    states: States
    starts: States
    masks: Mapping[str, Array]
    outputs: tuple[Array, ...]
    origins: States = field(default_factory=dict)
