"""A live ``keras.Model`` read as a Network: by class names and configs, without importing Keras."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from rnnshapes.algebra.dims import Dim
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.errors import InputError
from rnnshapes.layers import Dense, Layer, Recurrent
from rnnshapes.network import ITEM_BYTES, Network, numbered

_SUPPORTED = "Input, SimpleRNN and Dense, one after the other"
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "linear")
#: Options of SimpleRNN that change what it computes, with the value that is understood.
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
    recurrent = [layer for layer in layers if _kind(layer) == "SimpleRNN"]
    if not recurrent:
        raise InputError("this model has no SimpleRNN layer: there is no recurrence to show")
    return _Reader(model, layers).network()


class _Reader:
    """Gives each layer its named sizes, in the order in which the data meets them."""

    def __init__(self, model: Any, layers: list[Any]) -> None:
        self.layers = layers
        self.dtype = _dtype(layers)
        _, t, d = model.input_shape
        self.sizes: dict[str, int | None] = {"N": None, "T": t, "D": d}
        counts = {kind: sum(_kind(la) == kind for la in layers) for kind in ("SimpleRNN", "Dense")}
        self.names = {
            "SimpleRNN": iter(numbered("M", counts["SimpleRNN"])),
            "Dense": iter(numbered("K", counts["Dense"])),
        }

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
        activation = _activation(layer.activation, where)
        config = layer.get_config()
        name = next(self.names[_kind(layer)])
        self.sizes[name] = config["units"]
        bias = config["use_bias"]
        shared = {
            "name": layer.name,
            "features": features,
            "units": Dim.named(name),
            "trainable": layer.trainable,
        }
        if _kind(layer) == "Dense":
            index = str(int(name[1:] or 1) - 1)
            return Dense(index=index, activation=activation, use_bias=bias, **shared)
        for option, understood in _PLAIN.items():
            if config.get(option, understood) != understood:
                raise InputError(
                    f"{where}: {option}={config[option]} is not supported; only {understood} is"
                )
        return Recurrent(
            index=name[1:],
            cell=SimpleRNNCell(activation, bias),
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
        if _kind(layer) not in ("SimpleRNN", "Dense"):
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


def _activation(function: Any, where: str) -> str:
    """The name of one of Keras's own activations; a user's function may share its name."""
    name = str(getattr(function, "__name__", type(function).__name__))
    own = str(getattr(function, "__module__", "")).split(".")[0] == "keras"
    if not own or name not in _ACTIVATIONS:
        what = repr(name) if own else f"a function of your own, {name!r},"
        raise InputError(
            f"{where}: the activation {what} is not supported; "
            f"supported are Keras's {', '.join(_ACTIVATIONS)}"
        )
    return name
