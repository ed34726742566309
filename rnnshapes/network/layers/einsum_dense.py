"""A dense layer whose product is given in the notation of ``einsum``.

Source: ``keras/src/layers/core/einsum_dense.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig, size_in
from rnnshapes.ops.contraction import Contraction, einsum_sums_in_float16
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor

_EQUATION = re.compile(r"([a-zA-Z]{2,5}),([a-zA-Z]{1,5})->([a-zA-Z]{2,5})")


@dataclass(frozen=True, kw_only=True)
class EinsumDense(Layer):
    """activation(einsum(equation, x, kernel) + bias); ``output`` are the sizes given to Keras."""

    equation: str
    kernel: Shape
    bias: Shape | None
    bias_axes: str | None
    output: tuple[int | None, ...]
    activation: str

    keras_classes = ("EinsumDense",)
    output_symbol = "e"
    stepwise = False
    passes_mask = False

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        equation = str(config.options["equation"]).replace(" ", "")
        x, kernel, result = _letters(equation, config.rank)
        output = config.options["output_shape"]
        output = tuple(output) if isinstance(output, list | tuple) else (output,)
        if len(output) != len(result) - 1:
            raise ContradictionError(
                f"output_shape={output!r:.40} does not fit the result of {equation}"
            )
        dims = dict(zip(x, config.shape, strict=True))
        for letter, size in zip(result[1:], output, strict=True):
            if letter in dims and size is None:
                continue
            number = size_in({"output_shape": size}, "output_shape")
            if letter not in dims:
                dims[letter] = config.names.size("K", number)
            elif config.names.value(dims[letter]) not in (None, number):
                raise ContradictionError(
                    f"output_shape={output!r:.40} does not fit the input of {equation}"
                )
            else:
                config.require_same_size(dims[letter], Dim.of(number))
        axes = config.options.get("bias_axes") or None
        bias = None if axes is None else _bias(str(axes), result, dims)
        if bias is not None:
            config.require_plain_add(tuple(dims[letter] for letter in result), bias)
        return cls(
            index=config.names.index("einsum"),
            equation=equation,
            kernel=tuple(dims[letter] for letter in kernel),
            bias=bias,
            bias_axes=axes,
            output=output,
            activation=config.activation(),
            **config.shared,
        )

    @property
    def label(self) -> str:
        return f"EinsumDense({self.equation})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        kernel = Weight("We", "kernel", self.kernel)
        return (kernel,) if self.bias is None else (kernel, Weight("be", "bias", self.bias))

    @property
    def _contraction(self) -> Contraction:
        return Contraction(self.equation, einsum_sums_in_float16(self.equation))

    @property
    def activations(self) -> tuple[str, ...]:
        return (self.activation,)

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        x, kernel, _ = self._contraction.letters
        own = dict(zip(kernel, self.kernel, strict=True))
        return [tuple(own.get(a, dim) for a, dim in zip(x, shapes[0], strict=True))]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        z = ops.contract(self._contraction, inputs[0], w.We)
        z = z if self.bias is None else z + w.be
        return ops.activate(self.activation, z)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {
            "equation": self.equation,
            "output_shape": self.output,
            "bias_axes": self.bias_axes,
            "activation": self.activation,
            "kernel_initializer": "zeros",
        }


def _letters(equation: str, rank: int) -> tuple[str, str, str]:
    """Return the letters of x, of the kernel, and of the result.

    Raises UnsupportedError if the axis of the samples is not the first one, or a letter occurs
    twice in one tensor, or in one tensor alone.
    """
    match = _EQUATION.fullmatch(equation)
    if match is None or len(match[1]) != rank:
        raise UnsupportedError(f"equation={equation!r:.40} is not supported")
    x, kernel, result = match.groups()
    used = [sum(letter in part for part in (x, kernel, result)) for letter in x + kernel + result]
    unique = all(len(set(part)) == len(part) for part in (x, kernel, result))
    if not unique or min(used) < 2 or x[0] != result[0] or x[0] in kernel:
        raise UnsupportedError(f"equation={equation!r:.40} is not supported")
    return x, kernel, result


def _bias(axes: str, result: str, dims: dict[str, Dim]) -> Shape:
    """Return the shape of a bias, which has length 1 along other axes than ``axes``."""
    if not axes or not set(axes) <= set(result[1:]):
        raise UnsupportedError(f"bias_axes={axes!r:.40} is not supported")
    own = result[min(map(result.index, axes)) :]
    return tuple(dims[letter] if letter in axes else Dim.of(1) for letter in own)
