"""Every cell there is, by the name of its Keras layer and by that of the command line."""

from __future__ import annotations

from dataclasses import fields
from types import MappingProxyType
from typing import Any

from rnnshapes.cells.cell import ACTIVATIONS, Cell
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.errors import InputError

_CELLS: tuple[type[Cell], ...] = (SimpleRNNCell, LSTMCell, GRUCell)
#: ``SimpleRNN``, ``LSTM``, ``GRU``.
BY_CLASS = MappingProxyType({cell.keras_class: cell for cell in _CELLS})
#: ``simple``, ``lstm``, ``gru``.
BY_NAME = MappingProxyType({cell.base.removesuffix("_rnn"): cell for cell in _CELLS})


def make(name: str, **options: Any) -> Cell:
    """The cell called ``name`` with these options; one that is ``None`` has Keras's default.

    Raises InputError for a cell, an option or an activation that is not known.
    """
    if name not in BY_NAME:
        raise InputError(f"cell {name!r}: there are {', '.join(BY_NAME)}")
    kind = BY_NAME[name]
    known = [field.name for field in fields(kind)]
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in known:
            have = ", ".join(known)
            raise InputError(f"{option} is no option of {kind.keras_class}; it has {have}")
        if option.endswith("activation") and value not in ACTIVATIONS:
            raise InputError(f"{option} {value!r}: supported are {', '.join(ACTIVATIONS)}")
    return kind(**given)
