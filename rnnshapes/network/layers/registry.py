"""All supported layers, found in the modules of this package by their classes in Keras."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType

from rnnshapes.cells.registry import BY_CLASS as CELLS_BY_CLASS
from rnnshapes.cells.registry import by_cudnn_class
from rnnshapes.errors import UnsupportedError
from rnnshapes.network import layers
from rnnshapes.network.layers import core, rnn
from rnnshapes.network.layers.base import Layer

_BY_CLASS: dict[str, type[Layer]] = {}


def register(kind: type[Layer]) -> None:
    """Make a layer known to the whole package.

    Raises ValueError for a class in Keras that another layer stands for.
    """
    for class_name in kind.keras_classes:
        other = _BY_CLASS.get(class_name, kind)
        if other is not kind:
            raise ValueError(f"{other.__name__} and {kind.__name__} are both {class_name!r}")
    _BY_CLASS.update(dict.fromkeys(kind.keras_classes, kind))


def unregister(kind: type[Layer]) -> None:
    """Forget a layer that was registered."""
    for class_name in kind.keras_classes:
        del _BY_CLASS[class_name]


def layer_class(class_name: str) -> type[Layer]:
    """Return the layer for a class in Keras; UnsupportedError if it is not supported."""
    if class_name in CELLS_BY_CLASS:
        return rnn.Recurrent
    if class_name not in _BY_CLASS:
        _register_all()
    if class_name not in _BY_CLASS:
        raise UnsupportedError(f"{class_name} is not supported")
    return _BY_CLASS[class_name]


def supported_classes() -> tuple[str, ...]:
    """Return the names of all classes in Keras that are supported."""
    _register_all()
    return (*CELLS_BY_CLASS, *_BY_CLASS)


def is_recurrent(class_name: str) -> bool:
    """Return whether layers of this class, in any version of Keras, have a recurrence."""
    has_cell = rnn.is_cell_layer(class_name) or by_cudnn_class(class_name) is not None
    return has_cell or class_name in rnn.Bidirectional.keras_classes


def takes_sequence(class_name: str) -> bool:
    """Return whether layers of this class take sequences (N, T, features) and nothing else."""
    try:
        return is_recurrent(class_name) or class_name in layer_class(class_name).sequence_classes
    except UnsupportedError:
        return False


def call_inputs(class_name: str) -> tuple[str, ...]:
    """Return the names of the inputs of a class, where Keras calls it on several tensors."""
    try:
        return layer_class(class_name).call_inputs
    except UnsupportedError:
        return ()


def call_options(class_name: str) -> tuple[str, ...]:
    """Return the names of further arguments of a call of a class that are supported."""
    try:
        return layer_class(class_name).call_options
    except UnsupportedError:
        return ()


@cache
def _register_all() -> None:
    """Register the layers of every module; a network by sizes does without most of them."""
    for module in pkgutil.iter_modules(layers.__path__, f"{layers.__name__}."):
        _register_module(import_module(module.name))


def _register_module(module: ModuleType) -> None:
    for value in vars(module).values():
        is_layer = isinstance(value, type) and issubclass(value, Layer)
        if is_layer and value.__module__ == module.__name__:
            register(value)


for _module in (core, rnn):
    _register_module(_module)
