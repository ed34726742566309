"""The parts of a layer that own arrays: cells, directions, what a wrapper holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.load.saved.naming import counted, snake_case


@dataclass(frozen=True)
class Part:
    """A part of a layer: its class, and whether its arrays are trained.

    ``place`` is where they are within the layer's group in a file of Keras 3.
    """

    kind: str
    place: str
    trained: bool


def parts_of(
    kind: str, config: Mapping[str, Any], place: str = "", *, trained: bool = True
) -> Iterator[Part]:
    """All parts that may own arrays, in the order of ``layer.weights``."""
    trained = trained and config.get("trainable", True) is not False
    if kind in BY_CLASS:
        yield Part(kind, f"{place}cell/", trained)
    elif kind == "RNN":
        yield from _cells(_inner(config, "cell"), f"{place}cell/", trained=trained)
    elif kind == "Bidirectional":
        forward = _inner(config, "layer")
        backward = _inner(config, "backward_layer") or forward
        for name, layer in (("forward_layer/", forward), ("backward_layer/", backward)):
            yield from _of(layer, place + name, trained=trained)
    elif kind == "TimeDistributed":
        yield from _of(_inner(config, "layer"), f"{place}layer/", trained=trained)
    else:
        yield Part(kind, place, trained)


def _cells(cell: Mapping[str, Any], place: str, *, trained: bool) -> Iterator[Part]:
    """One cell, or those of a stack, each of which may be frozen."""
    cells = _inner(cell, "config").get("cells")
    if cell.get("class_name") != "StackedRNNCells" or not isinstance(cells, list):
        cells, names = [cell], [""]
    else:
        used: dict[str, int] = {}
        kinds = [str(part.get("class_name")) if isinstance(part, dict) else "" for part in cells]
        names = [f"cells/{counted(snake_case(kind), used)}/" for kind in kinds]
    for found, name in zip(cells, names, strict=True):
        part = found if isinstance(found, dict) else {}
        kind = str(part.get("class_name")).removesuffix("Cell")
        own = _inner(part, "config").get("trainable", True) is not False
        yield Part(kind, place + name, trained and own)


def _of(layer: Mapping[str, Any], place: str, *, trained: bool) -> Iterator[Part]:
    config = _inner(layer, "config")
    yield from parts_of(str(layer.get("class_name")), config, place, trained=trained)


def _inner(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = config.get(name)
    return found if isinstance(found, dict) else {}
