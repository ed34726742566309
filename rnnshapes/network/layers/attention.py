"""Attention: each step of a query takes a share of every step of the values.

Source: ``keras/src/layers/attention``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import LayerConfig
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection
from rnnshapes.ops.visibility import Visibility

_SCORES, _CONTEXT = Contraction("nqd,nkd->nqk"), Contraction("nqk,nkd->nqd")
_WEIGHTED_SUM = Contraction("nqkd,d->nqk")
_EACH_KEY = Selection((WHOLE, WHOLE, None), (None,) * 3)
_EACH_QUERY = Selection((WHOLE, None), (None,) * 2)


@dataclass(frozen=True, kw_only=True)
class Attending(Layer):
    """A layer called on a query, values, and keys, which are the values where they are left out.

    ``causal`` says that no step attends to one after it, ``returns_shares`` that the shares are
    its second output, ``masked`` that an input has a mask.
    """

    causal: bool = False
    returns_shares: bool = False

    masked: bool = False

    output_symbol = "ctx"
    stepwise = False
    call_options: ClassVar = ("use_causal_mask", "return_attention_scores")

    @staticmethod
    def called_with(config: LayerConfig) -> dict[str, Any]:
        """Return the fields that the arguments of the call decide."""
        options = {name: config.call_options.get(name, False) for name in Attending.call_options}
        for name, value in options.items():
            if not isinstance(value, bool):
                raise UnsupportedError(f"it is called with {name}={value!r:.40}")
        shapes = config.shapes
        if len(shapes) not in (2, 3):
            raise UnsupportedError(f"it is called on {len(shapes)} tensors, not on two or three")
        if any(len(shape) != 3 for shape in shapes):
            raise UnsupportedError("its inputs are not all sequences (N, T, features)")
        config.require_same_size(shapes[1][1], shapes[-1][1])
        causal, returns_shares = options.values()
        return {"causal": causal, "returns_shares": returns_shares, "masked": config.masked}

    @property
    def call_arguments(self) -> Mapping[str, Any]:
        values = zip(self.call_options, (self.causal, self.returns_shares), strict=True)
        return {name: value for name, value in values if value}

    @property
    def equation_lines(self) -> int:
        return 3


@dataclass(frozen=True, kw_only=True)
class Attention(Attending):
    """softmax(q kᵀ) v; with ``score_mode`` concat, the scores are Σ tanh(q + k)."""

    use_scale: bool = False
    score_mode: str = "dot"

    keras_classes = ("Attention",)
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        mode = config.options.get("score_mode", "dot")
        if mode not in ("dot", "concat"):
            raise ContradictionError(f"score_mode={mode!r:.40} is neither dot nor concat")
        called = cls.called_with(config)
        shapes = config.shapes
        config.require_same_size(shapes[0][-1], shapes[-1][-1])
        return cls(
            index=config.names.index("attention"),
            use_scale=bool(config.options.get("use_scale", cls.use_scale)),
            score_mode=mode,
            **called,
            **cls._sizes(config),
            **config.shared,
        )

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        return {}

    @property
    def weights(self) -> tuple[Weight, ...]:
        scale = (Weight("scale", "scale", ()),) if self.use_scale else ()
        concat = self.score_mode == "concat"
        return (*scale, Weight("w", "concat_score_weight", ())) if concat else scale

    @property
    def notes(self) -> tuple[str, ...]:
        causal = ("use_causal_mask: a step has shares of itself and of steps before it alone",)
        masked = (
            "a masked step of the values has a share of 0; at a masked step of the query the "
            "output is 0",
        )
        return causal * self.causal + masked * self.masked

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        query, value, *key = shapes
        keys = [(*shape[:1], value[1], query[-1]) for shape in key]
        return [query, (*value[:-1], query[-1]) if not keys else value, *keys]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        q, v, k = inputs[0], inputs[1], inputs[-1]
        scores = ops.define("scores", self._scores(ops, q, k, w))  # (N, T, T')
        visibility = Visibility(None, masks.of(1), self.causal)
        shares = ops.define("shares", ops.shares(scores, visibility))
        context = ops.contract(_CONTEXT, shares, v)  # (N, T, T')·(N, T', D) → (N, T, D)
        if masks.of(0) is not None:
            context = ops.where(masks.of(0), context)
        return (context, shares) if self.returns_shares else context

    def _scores(self, ops: LayerOps, q: Tensor, k: Tensor, w: Any) -> Tensor:
        if self.score_mode == "dot":
            scores = ops.contract(_SCORES, q, k)  # (N, T, D)·(N, T', D) → (N, T, T')
            return scores * w.scale if self.use_scale else scores
        pairs = _pairs(ops, q, k)
        pairs = pairs * w.scale if self.use_scale else pairs
        return ops.sum(ops.activate("tanh", pairs), 3) * w.w

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"use_scale": self.use_scale, "score_mode": self.score_mode}


def _pairs(ops: LayerOps, q: Tensor, k: Tensor) -> Tensor:
    """Return the sum of each query and each key, (N, T, T', D)."""
    return ops.rearrange(q, _EACH_KEY) + ops.rearrange(k, _EACH_QUERY)


@dataclass(frozen=True, kw_only=True)
class AdditiveAttention(Attention):
    """Attention with the scores Σ scale · tanh(q + k)."""

    use_scale: bool = True
    features: Dim

    keras_classes = ("AdditiveAttention",)

    @classmethod
    def _sizes(cls, config: LayerConfig) -> dict[str, Any]:
        return {"features": config.features}

    @property
    def weights(self) -> tuple[Weight, ...]:
        return (Weight("scale", "scale", (self.features,)),) if self.use_scale else ()

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        query, *others = shapes
        return super().own_shapes([(*query[:-1], self.features), *others])

    def _scores(self, ops: LayerOps, q: Tensor, k: Tensor, w: Any) -> Tensor:
        bent = ops.activate("tanh", _pairs(ops, q, k))  # (N, T, T', D)
        return ops.contract(_WEIGHTED_SUM, bent, w.scale) if self.use_scale else ops.sum(bent, 3)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"use_scale": self.use_scale}
