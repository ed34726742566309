"""Every cell there is, by the name of its Keras layer and by that of the command line."""

from __future__ import annotations

from types import MappingProxyType

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.cells.simple_rnn import SimpleRNNCell

_CELLS: tuple[type[Cell], ...] = (SimpleRNNCell, LSTMCell, GRUCell)
#: ``SimpleRNN``, ``LSTM``, ``GRU``.
BY_CLASS = MappingProxyType({cell.keras_class: cell for cell in _CELLS})
#: ``simple``, ``lstm``, ``gru``.
BY_NAME = MappingProxyType({cell.default_name.removesuffix("_rnn"): cell for cell in _CELLS})
