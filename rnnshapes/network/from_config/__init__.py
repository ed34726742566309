"""How each of Keras's layers is read: from its config to the layer as the network knows it.

A config is what ``layer.get_config()`` gives; what is not in it has Keras's default.
"""

from __future__ import annotations

from rnnshapes.network.from_config import rnn
from rnnshapes.network.from_config.base import Reader
from rnnshapes.network.layers.base import UnsupportedError


def reader(class_name: str) -> Reader:
    """How this class is read; UnsupportedError for one that is not known."""
    if class_name in rnn.READERS:
        return rnn.READERS[class_name]
    from rnnshapes.network.from_config import (
        other,  # its layers take a tenth of the start of the command
    )

    if class_name not in other.READERS:
        raise UnsupportedError(f"the type {class_name} is not supported")
    return other.READERS[class_name]
