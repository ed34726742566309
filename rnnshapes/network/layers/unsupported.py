"""A layer that is not supported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rnnshapes.cells.cell import Weight
from rnnshapes.errors import UnsupportedError
from rnnshapes.network.layers.base import Layer, LayerOfClass
from rnnshapes.ops.dims import Shape


@dataclass(frozen=True, kw_only=True)
class UnsupportedLayer(LayerOfClass):
    """A layer of which only weights and output shapes are known, as the model states them.

    ``reason`` says why it is not supported, ``contradicts`` whether Keras itself would refuse its
    config, ``mask_axes`` how many axes the mask of its output has, 0 without one.
    """

    reason: str
    stored_weights: tuple[Weight, ...]
    output_shapes: tuple[Shape, ...]
    contradicts: bool = False
    mask_axes: int = 0

    output_symbol = "v"
    stepwise = False
    passes_mask = False

    @property
    def weights(self) -> tuple[Weight, ...]:
        return self.stored_weights

    @property
    def declared_shapes(self) -> tuple[Shape, ...]:
        return self.output_shapes

    @property
    def equation_lines(self) -> int:
        return 0

    @property
    def makes_mask(self) -> bool:
        return self.mask_axes > 0

    def new_mask_axes(self, shape: Shape) -> int:
        return self.mask_axes

    @property
    def notes(self) -> tuple[str, ...]:
        return (f"{self.reason}: shapes are shown, values are not checked",)


def require_supported(layers: Iterable[Layer]) -> None:
    """Raise UnsupportedError, with the reasons, for layers of which one is not supported."""
    reasons = [
        f"layer {layer.name!r} ({layer.type}) cannot be converted: {layer.reason}"
        for layer in {layer.name: layer for layer in layers}.values()
        if isinstance(layer, UnsupportedLayer)
    ]
    if reasons:
        raise UnsupportedError("; ".join(reasons))
