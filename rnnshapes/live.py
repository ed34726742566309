"""A live ``keras.Model`` read as a Network: by class names and configs, without importing Keras."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any

from rnnshapes.algebra.dims import Dim
from rnnshapes.cells.cell import ACTIVATIONS
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.errors import InputError
from rnnshapes.layers import Dense, Layer, Recurrent
from rnnshapes.network import ITEM_BYTES, Network, numbered

_SUPPORTED = f"Input, {', '.join(BY_CLASS)} and Dense, one after the other"
#: Options of a recurrent layer that change what it computes, with the value that is understood.
_PLAIN = MappingProxyType(
    {"go_backwards": False, "stateful": False, "return_state": False, "zero_output_for_mask": False}
)


def read(model: Any) -> Network:
    """The layers and sizes of a built model; N, and T where the model leaves it open, are open.

    Raises InputError for a layer, an option or a graph that is not understood, with its place.
    """
    if isinstance(model, type) or not hasattr(model, "get_weights"):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise InputError(f"a keras.Model was expected, got {got}")
    if not model.built:
        raise InputError("this model has no weights yet: build it with an Input((T, D))")
    if not getattr(model, "inputs", None):
        raise InputError("this model has no graph of layers: a Sequential or functional one has")
    layers = [layer for layer in model.layers if _kind(layer) != "InputLayer"]
    _check_chain(model, layers)
    if not any(_kind(layer) in BY_CLASS for layer in layers):
        raise InputError("this model has no recurrent layer: there is no recurrence to show")
    return _Reader(model, layers).network()


class _Reader:
    """Gives each layer its named sizes, in the order in which the data meets them."""

    def __init__(self, model: Any, layers: list[Any]) -> None:
        self.layers = layers
        self.dtype = _dtype(layers)
        _, t, d = model.input_shape
        self.sizes: dict[str, int | None] = {"N": None, "T": t, "D": d}
        dense = sum(_kind(layer) == "Dense" for layer in layers)
        self.hidden = iter(numbered("M", len(layers) - dense))
        self.outputs = iter(numbered("K", dense))

    def network(self) -> Network:
        features = Dim.named("D")
        layers: list[Layer] = []
        for place, layer in enumerate(self.layers):
            layers.append(self._layer(place, layer, features))
            features = layers[-1].units
            found = [variable.name for variable in layer.weights]
            if found != (wanted := [weight.name for weight in layers[-1].weights]):
                raise InputError(
                    f"layer {place} {layer.name!r} has the weights {', '.join(found)} and not "
                    f"{', '.join(wanted)}: is it quantized, or has it LoRA? Neither is supported"
                )
        return Network(tuple(self.sizes.items()), tuple(layers), self.dtype)

    def _layer(self, place: int, layer: Any, features: Dim) -> Layer:
        where = f"layer {place} {layer.name!r}"
        # Before the config is asked for: Keras warns of a function that it cannot name.
        activations = {
            option: _activation(layer, option, where)
            for option in ("activation", "recurrent_activation")
            if hasattr(layer, option)
        }
        config = {**layer.get_config(), **activations}
        dense = _kind(layer) == "Dense"
        name = next(self.outputs if dense else self.hidden)
        self.sizes[name] = config["units"]
        shared = {
            "name": layer.name,
            "features": features,
            "units": Dim.named(name),
            "trainable": layer.trainable,
        }
        if dense:
            options = {key: config[key] for key in ("activation", "use_bias")}
            return Dense(index=str(int(name[1:] or 1) - 1), **options, **shared)
        for option, understood in _PLAIN.items():
            if config.get(option, understood) != understood:
                raise InputError(
                    f"{where}: {option}={config[option]} is not supported; only {understood} is"
                )
        kind = BY_CLASS[_kind(layer)]
        return Recurrent(
            index=name[1:],
            cell=kind(**{field.name: config[field.name] for field in fields(kind)}),
            return_sequences=config["return_sequences"],
            **shared,
        )


def _kind(layer: Any) -> str:
    """The class's name, if the class is Keras's own."""
    kind = type(layer)
    own = kind.__module__.split(".")[0] == "keras"
    return kind.__name__ if own else f"{kind.__module__}.{kind.__name__}"


def _check_chain(model: Any, layers: list[Any]) -> None:
    """Raise InputError unless the layers are known and each feeds the next and nothing else."""
    for place, layer in enumerate(layers):
        where = f"layer {place} {layer.name!r}"
        if _kind(layer) not in ("Dense", *BY_CLASS):
            raise InputError(f"{where} is of type {_kind(layer)}; supported: {_SUPPORTED}")
        source = layers[place - 1].output if place else model.inputs[0]
        if not layer._inbound_nodes or layer.input is not source:
            raise InputError(f"{where} does not follow the one before it; supported: {_SUPPORTED}")
        for name, value in layer._inbound_nodes[0].arguments.kwargs.items():
            if value is not None and value is not False:
                raise InputError(f"{where} is called with {name}, which is not supported")
    if len(model.inputs) != 1 or len(model.input_shape) != 3:
        raise InputError(f"the model's input is {model.input_shape}; supported: one (N, T, D)")
    if not layers or model.outputs[0] is not layers[-1].output or len(model.outputs) != 1:
        raise InputError(f"the model's output is not its last layer's; supported: {_SUPPORTED}")


def _dtype(layers: list[Any]) -> str:
    policies = {(str(la.compute_dtype), str(la.variable_dtype)) for la in layers}
    dtype = next(iter(policies))[0]
    if len(policies) > 1 or dtype not in ITEM_BYTES or policies != {(dtype, dtype)}:
        names = ", ".join(sorted({name for policy in policies for name in policy}))
        raise InputError(
            f"the model's dtypes are {names}; supported: one of {', '.join(ITEM_BYTES)}"
        )
    return dtype


def _activation(layer: Any, option: str, where: str) -> str:
    """The name of one of Keras's own activations; a user's function may share its name."""
    function = getattr(layer, option)
    name = str(getattr(function, "__name__", type(function).__name__))
    own = str(getattr(function, "__module__", "")).split(".")[0] == "keras"
    if not own or name not in ACTIVATIONS:
        what = repr(name) if own else f"a function of your own, {name!r},"
        raise InputError(
            f"{where}: the {option} {what} is not supported; "
            f"supported are Keras's {', '.join(ACTIVATIONS)}"
        )
    return name
