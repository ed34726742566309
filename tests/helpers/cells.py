"""The cells of the registry that Keras has, and their forms, for tests of each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.registry import BY_NAME

#: Switches that are no form of a cell: each cell has a bias, and one is about training alone.
_NO_FORMS = ("use_bias", "unit_forget_bias")


def _forms(name: str, kind: type[Cell]) -> Iterator[dict[str, Any]]:
    """The cell with each combination of the switches that choose another equation."""
    switches = [f.name for f in fields(kind) if isinstance(f.default, bool)]
    switches = [switch for switch in switches if switch not in _NO_FORMS]
    for values in itertools.product((True, False), repeat=len(switches)):
        yield {"cell": name, **dict(zip(switches, values, strict=True))}


_IN_KERAS = {name: kind for name, kind in BY_NAME.items() if kind.in_keras}
NAMES = tuple(_IN_KERAS)
GATED = tuple(name for name, kind in _IN_KERAS.items() if kind.gate_names)
#: The name of a layer with each cell, which is that of the cell's module and page, too.
LAYERS = {name: kind.default_name for name, kind in _IN_KERAS.items()}
#: Options of each form of each cell: LSTM, GRU with ``reset_after`` and without.
FORMS = tuple(form for name, kind in _IN_KERAS.items() for form in _forms(name, kind))
