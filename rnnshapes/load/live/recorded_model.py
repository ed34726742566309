"""A live subclassed model with the calls of its layers, as one symbolic call records them.

Nothing of Keras is imported: :mod:`rnnshapes.reference.symbolic_call` makes the call.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnnshapes.load.live.keras_private import sublayers

#: The class from which all layers of Keras are made, and the only one of Keras's layers that a
#: layer may be made from whose calls are recorded inside.
_BASE = "keras.src.layers.layer"


@dataclass(frozen=True, eq=False)
class RecordedModel:
    """A subclassed model, and the symbolic tensors of one call.

    ``structure`` is how the model takes its inputs, ``shapes`` are those of the inputs that it was
    built with. ``layers`` are all layers by name, those inside another one before it.
    """

    model: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    structure: Any
    shapes: tuple[tuple[int | None, ...], ...]
    layers: Mapping[str, Any]

    @property
    def names(self) -> dict[int, str]:
        """Name of each layer by its id."""
        return {id(layer): name for name, layer in self.layers.items()}


@dataclass(frozen=True, eq=False)
class UncalledWeights:
    """Weights of a model that no called layer has, as a layer of their own.

    They belong to a layer that is not called, or are the ``own`` ones of a layer or model whose
    calls are recorded inside.
    """

    name: str
    layer: Any
    weights: tuple[Any, ...]
    own: bool

    @property
    def trainable_weights(self) -> list[Any]:
        """Those of the weights that are trained."""
        return [weight for weight in self.weights if weight.trainable]

    def get_weights(self) -> list[Any]:
        """Return the numbers of the weights."""
        return [weight.numpy() for weight in self.weights]

    def count_params(self) -> int:
        """Return how many numbers they hold."""
        return sum(math.prod(weight.shape) for weight in self.weights)


def own_model(model: Any) -> Any:
    """Return the user's own model, recorded or not."""
    return model.model if isinstance(model, RecordedModel) else model


def layers_inside(model: Any) -> dict[str, Any]:
    """Return all layers of a subclassed model by name, those inside another one before it.

    A layer of a class of the user's that calls other layers has their names behind its own:
    ``encoder/lstm``. The model itself is the last one.
    """
    layers: dict[str, Any] = {}
    known: dict[int, str] = {}

    def add(layer: Any, prefix: str) -> None:
        if id(layer) in known:
            return
        # Two layers may have one name.
        known[id(layer)] = name = unused_name(f"{prefix}{layer.name}", known.values())
        if layer is model or calls_layers(layer):
            for inner in sublayers(layer):
                add(inner, "" if layer is model else f"{name}/")
        layers[name] = layer

    add(model, "")
    return layers


def unused_name(name: str, used: Collection[str]) -> str:
    """Return a name, with a number behind it if it is used."""
    numbered = (f"{name}_{number}" if number else name for number in itertools.count())
    return next(each for each in numbered if each not in used)


def calls_layers(layer: Any) -> bool:
    """Return whether a layer is of a class of the user's that calls other layers."""
    modules = [kind.__module__ for kind in type(layer).__mro__]
    from_keras = [m for m in modules if m.startswith("keras.src.layers.") and m != _BASE]
    is_own = not modules[0].startswith("keras.src.")
    return is_own and not from_keras and bool(sublayers(layer))


def weights_outside(recorded: RecordedModel, called: Iterable[Any]) -> Iterator[UncalledWeights]:
    """Yield the weights that none of the ``called`` layers has."""
    known = {id(weight) for layer in called for weight in getattr(layer, "weights", ())}
    for name, layer in recorded.layers.items():
        weights = tuple(weight for weight in layer.weights if id(weight) not in known)
        known |= set(map(id, weights))
        if weights:
            own = layer is recorded.model or calls_layers(layer)
            yield UncalledWeights(name, layer, weights, own)
