"""Preprocessing layers that are part of a model.

Source: ``keras/src/layers/preprocessing``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LARGEST, LayerConfig, as_float32
from rnnshapes.ops.constant import MOST_NUMBERS, Constant, constant_of
from rnnshapes.ops.dims import Shape
from rnnshapes.ops.elementwise import SQRT
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection


@dataclass(frozen=True, kw_only=True)
class Rescaling(Layer):
    """x × scale + offset, with one number for each of the two.

    Keras rounds both to float32, even where it computes in float64
    (``keras/src/backend/tensorflow/core.py``, ``cast``).
    """

    scale: float
    offset: float

    keras_classes = ("Rescaling",)
    output_symbol = "s"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        scale, offset = config.options["scale"], config.options.get("offset", 0.0)
        for name, value in (("scale", scale), ("offset", offset)):
            if type(value) not in (int, float) or not abs(value) < LARGEST:
                raise UnsupportedError(f"{name}={value!r:.40} is not supported, only a number")
        scale, offset = map(as_float32, (scale, offset))
        return cls(scale=scale, offset=offset, **config.shared)

    @property
    def label(self) -> str:
        return f"Rescaling({self.scale:g})"

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        scaled = inputs[0] * self.scale
        return scaled + self.offset if self.offset else scaled

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"scale": self.scale, "offset": self.offset}


#: Keras's ``epsilon()``, the smallest standard deviation.
_EPSILON = Constant((1e-7,), (), "float64")


@dataclass(frozen=True, kw_only=True)
class Normalization(Layer):
    """(x - mean) / √variance, or x · √variance + mean if ``invert``.

    Mean and variance are weights that ``adapt`` computes, or given as options. They have the
    sizes ``kept`` of the input's axes ``axis``, and ``given`` holds both with these axes.
    """

    axis: tuple[int, ...]
    kept: Shape
    rank: int
    invert: bool
    given: tuple[Constant, Constant] | None

    keras_classes = ("Normalization",)
    output_symbol = "n"

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        shape, axes = config.shape, config.options.get("axis", -1)
        axes = () if axes is None else axes if isinstance(axes, list | tuple) else (axes,)
        rank = len(shape)
        if any(type(axis) is not int or not -rank <= axis < rank for axis in axes):
            raise ContradictionError(f"axis={axes!r:.40} are no axes of its input")
        axes = tuple(sorted({axis % rank for axis in axes}))
        if 0 in axes:
            raise UnsupportedError("it normalizes each sample of a batch by numbers of its own")
        kept = tuple(shape[axis] for axis in axes)
        return cls(
            index=config.names.index("normalization"),
            axis=axes,
            kept=kept,
            rank=rank,
            invert=bool(config.options.get("invert", False)),
            given=_given(config, kept),
            **config.shared,
        )

    @property
    def weights(self) -> tuple[Weight, ...]:
        if self.given is not None:
            return ()
        return (
            Weight("mean", "mean", self.kept, learned=False),
            Weight("var", "variance", self.kept, learned=False),
            Weight("count", "count", (), learned=False),
        )

    @property
    def stepwise(self) -> bool:
        return 1 not in self.axis or self.rank < 3

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        own = dict(zip(self.axis, self.kept, strict=True))
        return [tuple(own.get(axis, dim) for axis, dim in enumerate(shapes[0]))]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        x = inputs[0]
        if self.given is None:
            mean, variance = w.mean, w.var
        else:
            mean, variance = (ops.constant(part, x, self.kept) for part in self.given)
        first = self.axis[0] if self.axis else self.rank
        key = tuple(WHOLE if axis in self.axis else None for axis in range(first, self.rank))
        if None in key:  # (T,) → (T, 1)
            alone = Selection(key, (None,) * len(key))
            mean, variance = ops.rearrange(mean, alone), ops.rearrange(variance, alone)
        deviation = ops.elementwise(variance, SQRT)
        deviation = ops.maximum(deviation, ops.constant(_EPSILON, deviation))
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        values = [part.array().tolist() for part in self.given or ()] or [None, None]
        named = dict(zip(("mean", "variance"), values, strict=True))
        return {"axis": self.axis or None, "invert": self.invert, **named}


def _given(config: LayerConfig, kept: Shape) -> tuple[Constant, Constant] | None:
    """Return mean and variance among the options, for each number of the axes ``kept``."""
    mean, variance = config.options.get("mean"), config.options.get("variance")
    if mean is None and variance is None:
        return None
    full = [n for dim in kept if (n := config.names.value(dim)) is not None]
    if math.prod(full) > MOST_NUMBERS:
        raise UnsupportedError(f"its mean would have more than {MOST_NUMBERS:,} numbers")
    parts = constant_of(mean, "float32"), constant_of(variance, "float32")
    if parts[0] is None or parts[1] is None or parts[0].sizes != parts[1].sizes:
        raise ContradictionError("its mean and its variance are not arrays of one shape")
    own = parts[0].sizes
    if len(own) > len(kept) or len(full) < len(kept):
        raise UnsupportedError("its mean has more axes than it normalizes, or one of open length")
    if not all(size in (1, n) for size, n in zip(own[::-1], full[::-1], strict=False)):
        raise ContradictionError(f"its mean of shape {own} does not fit the axes {full}")
    return _repeated(parts[0], full), _repeated(parts[1], full)


def _repeated(part: Constant, sizes: Sequence[int]) -> Constant:
    """Return a constant in which axes of length 1 have these sizes."""
    import numpy as np

    full = np.broadcast_to(np.reshape(part.numbers, part.sizes), sizes)
    return Constant(tuple(full.ravel().tolist()), tuple(sizes), part.dtype)
