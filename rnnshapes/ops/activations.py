"""Keras's activations as functions of arrays, and the errors of their kernels.

A :class:`Monotone` one is bounded at the ends of an interval. Any other is a formula over the
operations that every interpreter has, and is bounded as a formula is. ``softmax`` and
``log_softmax`` take a whole row; :mod:`rnnshapes.ops.bounded` has rules of their own.
Source: ``keras/src/activations/activations.py`` and ``keras/src/backend/tensorflow/nn.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Monotone(NamedTuple):
    """A monotone activation, and the largest error of its kernels.

    ``ulps`` counts units in the last place of the result, and is 0 where the function only
    selects or copies; ``ulps_of_one`` counts units in the last place of 1, for kernels that
    subtract 1 from exp(z), or add 1 to it. Both are above the errors of 9 million numbers in each
    precision. ``slope`` is the factor of negative numbers, where it is rounded to float32.
    """

    function: Callable[[Array], Array]
    ulps: int
    ulps_of_one: int = 0
    slope: float = 0.0


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + exp(-z)), exact to some units in the last place also where it is tiny.

    Where exp(-z) overflows, 1 / inf is the right result, 0: callers ignore NumPy's warning.
    """
    denominator = np.exp(-z)
    denominator += 1.0
    result: Array = 1.0 / denominator
    return result


def _expm1(z: Array) -> Array:
    return np.expm1(np.minimum(z, 0))


def _elu(z: Array) -> Array:
    return np.where(z > 0, z, _expm1(z))


def _softplus(z: Array) -> Array:
    result: Array = np.logaddexp(z.dtype.type(0), z)
    return result


def _sparse_plus(z: Array) -> Array:
    return np.where(z < 1, 0.25 * np.square(np.maximum(z, -1) + 1), z)


def _erf(z: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(z), dtype=z.dtype)


#: TensorFlow keeps the slope of leaky_relu as a float32, also for numbers in float64.
_SLOPE = float(np.float32(0.2))
#: TensorFlow has the square root of 1/2 for gelu as a float32, also for numbers in float64.
_SQRT_HALF = float(np.float32(math.sqrt(0.5)))
#: The constants of gelu's approximation with tanh.
_CUBIC, _ROOT = float(np.float32(0.044715)), math.sqrt(2 / math.pi)
#: The constants of Klambauer et al., "Self-normalizing neural networks" (2017).
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def unrounded(constant: float) -> float:
    """Return the number of which TensorFlow's constant is the nearest float32, in full."""
    if float(np.float32(constant)) != constant:
        return constant
    return math.sqrt(0.5) if constant == _SQRT_HALF else float(str(np.float32(constant)))


MONOTONE = MappingProxyType(
    {
        "tanh": Monotone(np.tanh, 8),
        "sigmoid": Monotone(sigmoid, 8),
        "relu": Monotone(lambda z: np.maximum(z, 0), 0),
        "linear": Monotone(lambda z: z, 0),
        "hard_sigmoid": Monotone(lambda z: np.clip(z + 3, 0, 6) / 6, 4, 1),
        # The hard_sigmoid of Keras 1 and 2.
        "keras2_hard_sigmoid": Monotone(lambda z: np.clip(0.2 * z + 0.5, 0, 1), 4, 1),
        "hard_tanh": Monotone(lambda z: np.clip(z, -1, 1), 0),
        "relu6": Monotone(lambda z: np.clip(z, 0, 6), 0),
        "leaky_relu": Monotone(lambda z: np.where(z > 0, z, _SLOPE * z), 2, slope=_SLOPE),
        "elu": Monotone(_elu, 8, 4),
        "selu": Monotone(lambda z: _SELU_SCALE * np.where(z > 0, z, _SELU_ALPHA * _expm1(z)), 8, 8),
        "celu": Monotone(_elu, 8, 4),
        "softplus": Monotone(_softplus, 16, 2),
        "softsign": Monotone(lambda z: z / (1 + np.abs(z)), 4),
        "log_sigmoid": Monotone(lambda z: -_softplus(-z), 16, 2),
        "exponential": Monotone(np.exp, 8),
        "sparse_plus": Monotone(_sparse_plus, 8),
        "sparse_sigmoid": Monotone(lambda z: np.clip(0.5 * (z + 1), 0, 1), 4),
        "soft_shrink": Monotone(lambda z: np.sign(z) * np.maximum(np.abs(z) - 0.5, 0), 4),
        "hard_shrink": Monotone(lambda z: np.where(np.abs(z) > 0.5, z, z * 0), 0),
        # Parts of the formulas below. TensorFlow fuses mish into one kernel, whose error is some
        # units in the last place of 1.
        "tanh_softplus": Monotone(lambda z: np.tanh(_softplus(z)), 16, 4),
        "erf": Monotone(_erf, 8),
        "sqrt": Monotone(lambda z: np.sqrt(np.maximum(z, 0)), 2),
    }
)

#: Applies an activation, by name, to a value of the interpreter at hand.
Activate = Callable[[str, Any], Any]

FORMULAS: MappingProxyType[str, Callable[[Activate, Any], Any]] = MappingProxyType(
    {
        "silu": lambda phi, z: z * phi("sigmoid", z),
        "hard_silu": lambda phi, z: z * phi("hard_sigmoid", z),
        "mish": lambda phi, z: z * phi("tanh_softplus", z),
        "gelu": lambda phi, z: (z * 0.5) * (1 + phi("erf", z * _SQRT_HALF)),
        # TensorFlow has the cubic factor as a float32, also for numbers in float64.
        "gelu_tanh": lambda phi, z: (z * 0.5) * (1 + phi("tanh", (z + z * z * z * _CUBIC) * _ROOT)),
        "tanh_shrink": lambda phi, z: z + phi("tanh", z) * -1.0,
        "squareplus": lambda phi, z: (z + phi("sqrt", z * z + 4.0)) * 0.5,
    }
)


def softmax(z: Array) -> Array:
    """Return exp(z) / Σ exp(z) over the last axis."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    softmaxed: Array = e / e.sum(axis=-1, keepdims=True)
    return softmaxed


def log_softmax(z: Array) -> Array:
    """Return z - log Σ exp(z) over the last axis."""
    shifted = z - z.max(axis=-1, keepdims=True)
    logarithms: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return logarithms


#: Activations of a whole row.
ROWWISE = MappingProxyType({"softmax": softmax, "log_softmax": log_softmax})


def activate(name: str, z: Array) -> Array:
    """Apply the activation ``name``."""
    if name in MONOTONE:
        return MONOTONE[name].function(z)
    if name in ROWWISE:
        return ROWWISE[name](z)
    result: Array = FORMULAS[name](activate, z)
    return result
