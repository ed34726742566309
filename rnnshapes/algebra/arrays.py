"""The second reading of an equation: over NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Activation(NamedTuple):
    """A monotone activation, and how many units in the last place its kernels may be off.

    ``ulps`` is 0 where the function only selects or copies. 8 covers TensorFlow's tanh and
    sigmoid: a sweep of 26.7 million float32 found at most 5.4 and 5.9.
    """

    function: Callable[[Array], Array]
    ulps: int


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)): exact to some units in the last place also where it is tiny.

    Where exp(-z) overflows, 1 / inf is the 0 that it should be: callers ignore NumPy's warning.
    """
    return 1.0 / (1.0 + np.exp(-z))


def relu(z: Array) -> Array:
    """max(z, 0)."""
    return np.maximum(z, 0)


def linear(z: Array) -> Array:
    """z itself."""
    return z


#: Keras's names, from ``keras/src/activations/activations.py``.
ACTIVATIONS = MappingProxyType(
    {
        "tanh": Activation(np.tanh, 8),
        "sigmoid": Activation(sigmoid, 8),
        "relu": Activation(relu, 0),
        "linear": Activation(linear, 0),
    }
)


class ArrayOps:
    """The operations of this reading that are not operators; the dtype is that of the data."""

    def activate(self, name: str, z: Array) -> Array:
        """The activation ``name`` of ``z``, element by element."""
        return ACTIVATIONS[name].function(z)

    def split(self, z: Array, base: str, parts: tuple[str, ...]) -> list[Array]:
        """The last axis of ``z`` in equal parts."""
        width = z.shape[-1] // len(parts)  # np.split takes longer than a small step
        return [z[..., i * width : (i + 1) * width] for i in range(len(parts))]

    def rows(self, b: Array, names: tuple[str, ...]) -> list[Array]:
        """The rows of ``b``."""
        return list(b)

    def let(self, name: str, value: Array) -> Array:
        """``value`` itself."""
        return value
