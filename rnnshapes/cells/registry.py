"""All cells, found in the modules of this package."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from types import MappingProxyType

from rnnshapes import cells
from rnnshapes.cells.cell import Cell

_BY_NAME: dict[str, type[Cell]] = {}
_BY_CLASS: dict[str, type[Cell]] = {}
#: The cells by their names on the command line: ``simple``, ``lstm``, ``gru``.
BY_NAME: Mapping[str, type[Cell]] = MappingProxyType(_BY_NAME)
#: The cells by the class of their layer: ``SimpleRNN``, ``LSTM``, ``GRU``.
BY_CLASS: Mapping[str, type[Cell]] = MappingProxyType(_BY_CLASS)


def register(*kinds: type[Cell]) -> None:
    """Make cells known to the whole package, in the order of their publication.

    Raises ValueError for a name or a class that another cell has.
    """
    for kind in kinds:
        for other in _BY_NAME.values():
            if kind.name == other.name or kind.class_name == other.class_name:
                shared = kind.name if kind.name == other.name else kind.class_name
                raise ValueError(f"{other.__name__} and {kind.__name__} are both {shared!r}")
        _BY_NAME[kind.name] = kind
    ordered = sorted(_BY_NAME.values(), key=lambda kind: (kind.year, kind.name))
    _BY_NAME.clear()
    _BY_NAME.update((kind.name, kind) for kind in ordered)
    _BY_CLASS.clear()
    _BY_CLASS.update((kind.class_name, kind) for kind in ordered)


def unregister(kind: type[Cell]) -> None:
    """Forget a cell that was registered."""
    del _BY_NAME[kind.name], _BY_CLASS[kind.class_name]


def by_cudnn_class(class_name: str) -> type[Cell] | None:
    """Return the cell of one of Keras 2's layers for CuDNN, if it is one."""
    return next((kind for kind in BY_NAME.values() if kind.cudnn_class == class_name), None)


def _in_package() -> Iterator[type[Cell]]:
    """Yield the cells in the modules of this package: those that have a name of their own."""
    for module_info in pkgutil.iter_modules(cells.__path__, f"{cells.__name__}."):
        module = import_module(module_info.name)
        for value in vars(module).values():
            is_cell = isinstance(value, type) and issubclass(value, Cell)
            if is_cell and "name" in vars(value) and value.__module__ == module.__name__:
                yield value


register(*_in_package())
