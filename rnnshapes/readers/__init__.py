"""How each of Keras's layers is read: from its config to the layer as the network knows it.

A config is what ``layer.get_config()`` gives; what is not in it has Keras's default.
"""

from __future__ import annotations

from rnnshapes.layers.layer import UnsupportedError
from rnnshapes.readers import recurrent
from rnnshapes.readers.entry import Reader


def reader(class_name: str) -> Reader:
    """How this class is read; UnsupportedError for one that is not known."""
    if class_name in recurrent.READERS:
        return recurrent.READERS[class_name]
    from rnnshapes.readers import others  # its layers take a tenth of the start of the command

    if class_name not in others.READERS:
        raise UnsupportedError(f"the type {class_name} is not supported")
    return others.READERS[class_name]
