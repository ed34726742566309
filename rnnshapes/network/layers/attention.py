"""Attention: each step of a query takes a weighted mean of all steps of the values.

Source: ``keras/src/layers/attention``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import Any, ClassVar, Self

from rnnshapes.cells.cell import SizeOf, Weight
from rnnshapes.errors import ContradictionError, UnsupportedError
from rnnshapes.network.layers.base import CALLED_ON_BOOLEANS, Layer, Masks
from rnnshapes.network.layers.config import LAST_INPUT, LayerConfig, Source, as_float32, size_in
from rnnshapes.ops.contraction import Contraction
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import LayerOps, Tensor
from rnnshapes.ops.rearrangements import WHOLE, Selection
from rnnshapes.ops.visibility import Visibility

_SCORES, _CONTEXT = Contraction("nqd,nkd->nqk"), Contraction("nqk,nkd->nqd")
_EACH_KEY = Selection((WHOLE, WHOLE, None), (None,) * 3)
_EACH_QUERY = Selection((WHOLE, None), (None,) * 2)


#: Why a layer whose mask Keras removes is not supported.
LOST_MASK = "a MultiHeadAttention with the same input removes the mask that it needs"


def causal_note(causal: bool) -> tuple[str, ...]:
    """Return the note of a layer that is called with ``use_causal_mask``."""
    note = "use_causal_mask: a step attends to itself and to earlier steps only"
    return (note,) * causal


@dataclass(frozen=True, kw_only=True)
class Attending(Layer):
    """A layer called on a query, values and keys; without keys, the values are the keys.

    ``causal`` says that no step attends to a later one, ``returns_attention`` that the attention
    weights are the second output, ``masked`` that an input has a mask.
    """

    causal: bool
    returns_attention: bool
    masked: bool

    output_symbol = "ctx"
    stepwise = False
    call_options: ClassVar[tuple[str, ...]] = ("use_causal_mask", "return_attention_scores")

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
        causal, returns_attention = options.values()
        return {"causal": causal, "returns_attention": returns_attention, "masked": config.masked}

    @property
    def call_arguments(self) -> Mapping[str, Any]:
        values = zip(Attending.call_options, (self.causal, self.returns_attention), strict=True)
        return {name: value for name, value in values if value}

    @property
    def equation_lines(self) -> int:
        return 3


@dataclass(frozen=True, kw_only=True)
class Attention(Attending):
    """softmax(q kᵀ) v; with ``score_mode`` concat, the scores are Σ tanh(q + k)."""

    use_scale: bool = False
    score_mode: str

    keras_classes = ("Attention",)
    takes_list = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        mode = config.options.get("score_mode", "dot")
        if mode not in ("dot", "concat"):
            raise ContradictionError(f"score_mode={mode!r:.40} is neither dot nor concat")
        if config.lost_mask:
            raise UnsupportedError(LOST_MASK)
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
        masked = (
            "the attention weight of a masked step of the values is 0; at a masked step of the "
            "query, the output is 0",
        )
        return causal_note(self.causal) + masked * self.masked

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        query, value, *key = shapes
        keys = [(*shape[:1], value[1], query[-1]) for shape in key]
        return [query, (*value[:-1], query[-1]) if not keys else value, *keys]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        q, v, k = inputs[0], inputs[1], inputs[-1]
        scores = ops.define("scores", self._scores(ops, q, k, w))  # (N, T, T')
        visibility = Visibility(None, masks.of(1), self.causal)
        attention = ops.define("attention", ops.attention_weights(scores, visibility))
        context = ops.contract(_CONTEXT, attention, v)  # (N, T, T')·(N, T', D) → (N, T, D)
        if masks.of(0) is not None:
            context = ops.where(masks.of(0), context, 0.0)
        return (context, attention) if self.returns_attention else context

    def _scores(self, ops: LayerOps, q: Tensor, k: Tensor, w: Any) -> Tensor:
        if self.score_mode == "dot":
            scores = ops.contract(_SCORES, q, k)  # (N, T, D)·(N, T', D) → (N, T, T')
            return scores * w.scale if self.use_scale else scores
        pairs = _pairs(ops, q, k)
        pairs = pairs * w.scale if self.use_scale else pairs
        return ops.reduce("sum", ops.activate("tanh", pairs), (3,), False) * w.w

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
        return ops.reduce("sum", bent * w.scale if self.use_scale else bent, (3,), False)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {"use_scale": self.use_scale}


_PROJECTION, _OUTPUT = Contraction("ntf,fhd->nthd"), Contraction("nqhd,hdf->nqf")
_HEAD_SCORES, _HEAD_CONTEXT = Contraction("nqhd,nkhd->nhqk"), Contraction("nhqk,nkhd->nqhd")
#: In ``dot_product_attention``, which calls ``tf.einsum``.
_FUSED_SCORES, _FUSED_CONTEXT = (
    replace(each, sums_in_float16=True) for each in (_HEAD_SCORES, _HEAD_CONTEXT)
)


@dataclass(frozen=True, kw_only=True)
class MultiHeadAttention(Attending):
    """H heads of attention over projected queries, keys and values, and an output projection.

    With ``use_gate`` the output of each head is multiplied with sigmoid(query Wg + bg);
    ``takes_mask`` says that the last input is an attention mask (N, T, T').

    Without dropout and returned attention weights, Keras computes them in float32
    (``keras/src/backend/tensorflow/nn.py``, ``dot_product_attention``); ``dropout`` is its rate.
    """

    features: tuple[Dim, ...]
    heads: Dim
    key_dim: Dim
    value_dim: Dim
    output: Dim
    scale: float
    use_bias: bool
    dropout: float
    given_output: bool
    use_gate: bool
    takes_mask: bool

    keras_classes = ("MultiHeadAttention",)
    call_inputs = ("query", "value", "key")
    call_options: ClassVar[tuple[str, ...]] = (*Attending.call_options, "attention_mask")
    takes_booleans = True

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config, takes_mask = _without_mask(config)
        config.require(sliding_window=None)
        if config.options.get("attention_axes") not in (None, [1], (1,)):
            raise UnsupportedError("attention_axes is not supported")
        if config.lost_mask:
            raise UnsupportedError(LOST_MASK)
        called, names = cls.called_with(config), config.names
        key_dim, value_dim = config.size("key_dim"), config.options.get("value_dim")
        value_dim = key_dim if value_dim is None else config.size("value_dim")
        use_bias, heads = bool(config.options.get("use_bias", True)), config.size("num_heads")
        use_gate = bool(config.options.get("use_gate", False))
        gate = ((0, value_dim),) * use_gate
        for i, size in ((0, key_dim), (1, value_dim), (-1, key_dim), *gate):
            bias = (Dim.of(heads), Dim.of(size)) if use_bias else ()
            config.require_plain_add((*config.shapes[i][:2], *bias), bias)
        per_head = names.size("P", key_dim)
        output = config.options.get("output_shape")
        if isinstance(output, list | tuple) and len(output) != 1:
            raise UnsupportedError(f"output_shape={output!r:.40} is not supported")
        output = {"output_shape": output[0] if isinstance(output, list | tuple) else output}
        given_output = output["output_shape"] is not None
        query, value, key = (config.shapes[i][-1] for i in (0, 1, -1))
        return cls(
            index=names.index("multi_head_attention"),
            features=(query, value, key),
            heads=names.size("H", heads),
            key_dim=per_head,
            value_dim=per_head if value_dim == key_dim else names.size("P", value_dim),
            output=names.size("F", size_in(output, "output_shape")) if given_output else query,
            scale=as_float32(1 / math.sqrt(key_dim)),
            use_bias=use_bias,
            dropout=config.number("dropout", 0.0),
            given_output=given_output,
            use_gate=use_gate,
            takes_mask=takes_mask,
            **called,
            **config.shared,
        )

    @property
    def label(self) -> str:
        return f"MultiHeadAttention({self.heads})"

    @property
    def weights(self) -> tuple[Weight, ...]:
        query, value, key = self.features
        h, p, u = self.heads, self.key_dim, self.value_dim
        shapes = {
            "q": ("query", (query, h, p)),
            "k": ("key", (key, h, p)),
            **({"g": ("gate", (query, h, u))} if self.use_gate else {}),
            "v": ("value", (value, h, u)),
            "o": ("attention_output", (h, u, self.output)),
        }
        weights = []
        for letter, (part, dims) in shapes.items():
            weights.append(Weight(f"W{letter}", f"{part}/kernel", dims))
            if self.use_bias:
                bias = dims[-1:] if letter == "o" else dims[1:]
                weights.append(Weight(f"b{letter}", f"{part}/bias", bias))
        return tuple(weights)

    @property
    def equation_lines(self) -> int:
        return 6 + self.use_gate

    @property
    def call_arguments(self) -> Mapping[str, Any]:
        named = super().call_arguments
        return {**named, "attention_mask": LAST_INPUT} if self.takes_mask else named

    @property
    def notes(self) -> tuple[str, ...]:
        masked = (
            "the attention weight of a masked step of the values is 0, unless the query is masked, "
            "too",
        )
        given = ("attention_mask: the attention weight of a key is 0 where the mask is 0",)
        return causal_note(self.causal) + masked * self.masked + given * self.takes_mask

    def own_shapes(self, shapes: Sequence[Shape]) -> Sequence[Shape]:
        if self.takes_mask:
            *inputs, mask = shapes
            return [*replace(self, takes_mask=False).own_shapes(inputs), mask]
        query, value, *keys = shapes
        query, value = ((*s[:-1], f) for s, f in zip((query, value), self.features, strict=False))
        return [query, value, *((*key[:1], value[1], self.features[2]) for key in keys)]

    def call(self, ops: LayerOps, inputs: Sequence[Tensor], w: Any, masks: Masks) -> Tensor:
        mask = inputs[-1] if self.takes_mask else None
        inputs = inputs[:-1] if self.takes_mask else inputs
        projected = []
        for letter, x in zip("qkv", (inputs[0], inputs[-1], inputs[1]), strict=True):
            # (N, T, F)·(F, H, P) → (N, T, H, P)
            projected.append(ops.define(letter, self._project(ops, x, letter, w)))
        q, k, v = projected
        visibility = self._visibility(masks, len(inputs))
        attention = ops.define("attention", self._attention_weights(ops, q, k, visibility, mask))
        mean = _FUSED_CONTEXT if self._is_fused else _HEAD_CONTEXT
        context = ops.contract(mean, attention, v)  # (N, H, T, T')·(N, T', H, P)
        if self.use_gate:
            gate = ops.activate("sigmoid", self._project(ops, inputs[0], "g", w))
            context = context * ops.define("g", gate)  # (N, T, H, P)
        output = ops.contract(_OUTPUT, context, w.Wo)  # (N, T, H, P)·(H, P, F) → (N, T, F)
        output = output + w.bo if self.use_bias else output
        return (output, attention) if self.returns_attention else output

    def _project(self, ops: LayerOps, x: Tensor, letter: str, w: Any) -> Tensor:
        """Return x times a kernel, (N, T, F)·(F, H, P) → (N, T, H, P), and plus its bias."""
        z = ops.contract(_PROJECTION, x, getattr(w, f"W{letter}"))
        return z + getattr(w, f"b{letter}") if self.use_bias else z

    @property
    def _is_fused(self) -> bool:
        return not (self.dropout or self.returns_attention)

    def _visibility(self, masks: Masks, inputs: int) -> Visibility:
        """Return which keys the masks of the first inputs show."""
        keys = [mask for mask in masks.inputs[1:inputs] if mask is not None]
        shown = reduce(and_, keys) if keys else None
        return Visibility(masks.of(0), shown, self.causal, True, not self._is_fused)

    def _attention_weights(
        self, ops: LayerOps, q: Tensor, k: Tensor, visibility: Visibility, mask: Tensor | None
    ) -> Tensor:
        """Return softmax(q kᵀ / √P), (N, H, T, T')."""
        if not self._is_fused:
            scores = ops.contract(_HEAD_SCORES, q * self.scale, k)
            return ops.attention_weights(ops.define("scores", scores), visibility, mask)
        scores = ops.widen(ops.contract(_FUSED_SCORES, q, k)) * self.scale
        weights = ops.attention_weights(ops.define("scores", scores), visibility, mask)
        return ops.narrow(weights, q)

    def keras_arguments(self, size_of: SizeOf) -> dict[str, Any]:
        return {
            "num_heads": size_of(self.heads),
            "key_dim": size_of(self.key_dim),
            "value_dim": size_of(self.value_dim),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "use_gate": self.use_gate,
            "output_shape": size_of(self.output) if self.given_output else None,
            "kernel_initializer": "zeros",
        }


def _without_mask(config: LayerConfig) -> tuple[LayerConfig, bool]:
    """Return the config of a call without its attention mask, and whether it has one."""
    options = dict(config.call_options)
    given = options.pop("attention_mask", None)
    shapes = config.shapes if given is None else config.shapes[:-1]
    if given is not None and not isinstance(given, Source):
        raise UnsupportedError("its attention_mask is not a tensor, which is not supported")
    if any(config.boolean_inputs[: len(shapes)]):
        raise UnsupportedError(CALLED_ON_BOOLEANS)
    if given is None:
        return config, False
    mask = config.shapes[-1]
    if len(mask) != 3 or len(shapes) < 2:
        raise UnsupportedError("its attention_mask has not the axes (N, queries, keys)")
    for dim, steps in zip(mask[1:], (shapes[0][1], shapes[1][1]), strict=True):
        if dim != 1:
            config.require_same_size(dim, steps)
    return replace(config, shapes=shapes, call_options=options), True
