"""Outputs and states of a model, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnshapes.network.structure import Engine

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: Prefix of the groups that hold the states of a stateful model, among its weights.
STATES = "states of "
#: Arrays by the name of the recurrence and of the state.
States = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """Outputs of a model and its layers for an input x; the first axis is that of samples.

    Attributes:
        engine: What computed them.
        values: Outputs of each node.
        each: Outputs of the last recurrences and of the layers after them at each step,
            (N, T, units).
        states: States of each recurrence after each step, (N, T, M), indexed by input time step.
            At a masked step they are what the layer returns there.
        starts: States before the first step, (N, M), where they are not zeros.
        masks: Which steps of a node's output are not masked, (N, T).
        outputs: Outputs of ``model.predict(x)``.
        origins: States from which each step was taken, where these are not ``states`` itself.
        origin_values: Outputs of each node in the run that had these states.
    """

    engine: Engine
    values: Mapping[str, tuple[Array, ...]]
    each: Mapping[str, tuple[Array, ...]]
    states: States
    starts: States
    masks: Mapping[str, Array]
    outputs: tuple[Array, ...]
    origins: States = field(default_factory=dict)
    origin_values: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
