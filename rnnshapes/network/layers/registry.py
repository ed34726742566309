"""All supported layers, found in the modules of this package by their classes in Keras."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module

from rnnshapes.cells.registry import BY_CLASS, by_cudnn_class
from rnnshapes.network import layers
from rnnshapes.network.layers.base import Layer, UnsupportedError
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent, is_cell_layer

#: The modules with the layers of a network by sizes. They are searched first, so that such a
#: network needs no other module.
_FIRST = ("core", "rnn")


def layer_class(class_name: str) -> type[Layer]:
    """Return the layer for a class in Keras; UnsupportedError if it is not supported."""
    return Recurrent if class_name in BY_CLASS else _layer_class(class_name)


def supported_classes() -> tuple[str, ...]:
    """Return the names of all classes in Keras that are supported."""
    return (*BY_CLASS, *(name for kind in _layers() for name in kind.keras_classes))


def is_recurrent(class_name: str) -> bool:
    """Return whether layers of this class, in any version of Keras, have a recurrence."""
    has_cell = is_cell_layer(class_name) or by_cudnn_class(class_name) is not None
    return has_cell or class_name in Bidirectional.keras_classes


def takes_sequence(class_name: str) -> bool:
    """Return whether layers of this class take sequences (N, T, features) and nothing else."""
    try:
        return is_recurrent(class_name) or layer_class(class_name).takes_sequence
    except UnsupportedError:
        return False


@cache
def _layer_class(class_name: str) -> type[Layer]:
    for kind in _layers():
        if class_name in kind.keras_classes:
            return kind
    raise UnsupportedError(f"the type {class_name} is not supported")


def _layers() -> Iterator[type[Layer]]:
    """Yield the layers module by module; a module is imported when its turn comes."""
    names = [module.name for module in pkgutil.iter_modules(layers.__path__)]
    for name in sorted(names, key=lambda name: name not in _FIRST):
        module = import_module(f"{layers.__name__}.{name}")
        for value in vars(module).values():
            is_layer = isinstance(value, type) and issubclass(value, Layer)
            if is_layer and value.__module__ == module.__name__:
                yield value
