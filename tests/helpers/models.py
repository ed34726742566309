"""Keras models of every kind that is understood: one of each layer, option and graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import layers as la


def sequential(*parts: Any, shape: tuple = (6, 3), **options: Any) -> keras.Model:
    """Layers one after the other."""
    return keras.Sequential([keras.Input(shape, **options), *parts])


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Layers that are built within have this policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def functional(make: Callable[..., Any], *shapes: tuple, **options: Any) -> keras.Model:
    """A graph over inputs of these shapes."""
    inputs = [keras.Input(shape, **options) for shape in shapes or ((6, 3),)]
    return keras.Model(inputs if len(inputs) > 1 else inputs[0], make(*inputs))


def encoder_decoder(a: Any, b: Any) -> Any:
    """The decoder starts from the states of the encoder."""
    _, h, c = la.LSTM(5, return_state=True)(a)
    return la.Dense(2)(la.LSTM(5, return_sequences=True)(b, initial_state=[h, c]))


def both_ways(a: Any, b: Any) -> Any:
    """The same in both directions."""
    _, *states = la.Bidirectional(la.LSTM(5, return_state=True))(a)
    decoder = la.Bidirectional(la.LSTM(5, return_sequences=True))
    return la.Dense(2)(decoder(b, initial_state=states))


def branches(x: Any) -> Any:
    """Two recurrences side by side."""
    parts = [la.LSTM(5)(x), la.Bidirectional(la.GRU(4))(x)]
    return la.Dense(2, activation="softmax")(la.Concatenate()(parts))


def residual(x: Any) -> Any:
    """A path around a layer."""
    h = la.LSTM(5, return_sequences=True)(x)
    return la.Dense(2)(la.LSTM(4)(la.Add()([h, la.GRU(5, return_sequences=True)(h)])))


def shared_by_lengths(a: Any, b: Any) -> Any:
    """One convolution and one recurrence of two sequences."""
    conv, lstm = la.Conv1D(4, 3), la.LSTM(5)
    return la.Dense(2)(la.Concatenate()([lstm(conv(a)), lstm(conv(b))]))


def shared(x: Any) -> Any:
    """One layer, called twice."""
    gru = la.GRU(4)
    return la.Add()([gru(x), gru(la.Masking(0.0)(x))])


def two_outputs(x: Any) -> Any:
    """Two heads on one state, in a dictionary."""
    h = la.LSTM(5)(x)
    return {"b": la.Dense(2)(h), "a": la.Dense(3, activation="softmax")(h)}


def unmerged(x: Any) -> Any:
    """Both directions, each for itself: sequences, and the last states."""
    h = la.Concatenate()(la.Bidirectional(la.LSTM(5, return_sequences=True), merge_mode=None)(x))
    return la.Dense(2)(la.Add()(la.Bidirectional(la.GRU(4), merge_mode=None)(h)))


def merged(x: Any) -> Any:
    """Recurrences joined element by element, in each way."""
    parts = [la.LSTM(5)(x), la.GRU(5)(x), la.SimpleRNN(5)(x)]
    joined = [merge(parts) for merge in (la.Add(), la.Multiply(), la.Average())]
    joined += [la.Subtract()(parts[:2]), la.Dot(axes=-1, normalize=True)(parts[1:])]
    return la.Dense(2)(la.Concatenate()(joined))


def merged_masks(x: Any) -> Any:
    """Sequences with a mask, with another one, and without any, joined element by element."""
    a, b = (la.GRU(3, return_sequences=True)(la.Masking(value)(x)) for value in (0.0, 0.5))
    inputs = [a, b, la.LSTM(3, return_sequences=True)(x)]
    parts = [la.Multiply()(inputs), la.Maximum()(inputs), la.Minimum()(inputs[:2])]
    sums = [la.GRU(2)(part) for part in (*parts, la.Multiply()(inputs[:2]))]
    products = la.Dot(axes=(1, 2))([b, la.Permute((2, 1))(inputs[2])])
    return la.Dense(2)(la.Concatenate()([*sums, la.Flatten()(products)]))


def attention(x: Any) -> Any:
    """Attention written out with Softmax and Permute, and attention of each step to all."""
    h = la.Bidirectional(la.LSTM(3, return_sequences=True))(la.Masking()(x))
    energies = la.Dense(1, activation="tanh")(la.GRU(4, return_sequences=True)(x))
    weights = la.Softmax(axis=1)(energies)  # (N, T, K) with K = 1
    repeated = la.Permute((2, 1))(la.RepeatVector(6)(keras.ops.squeeze(weights, -1)))
    parts = [la.Attention(use_scale=True)([h, h]), la.Multiply()([h, repeated])]
    excited = la.Multiply()([la.GlobalAveragePooling1D(keepdims=True)(h), h])
    parts += [excited, la.Multiply()([weights, h]), weights * la.LSTM(6, return_sequences=True)(h)]
    return la.Dense(2)(la.Concatenate()([la.GlobalAveragePooling1D()(part) for part in parts]))


def attending_decoder(a: Any, b: Any) -> Any:
    """A decoder that attends to the masked encoder, and to its own earlier steps."""
    encoded, *states = la.GRU(4, return_sequences=True, return_state=True)(la.Masking()(a))
    h = la.GRU(4, return_sequences=True)(b, initial_state=states)
    own = la.Attention(use_scale=True, score_mode="concat")([h, h], use_causal_mask=True)
    context, weights = la.AdditiveAttention()([own, encoded], return_attention_scores=True)
    return [la.Dense(2)(la.Concatenate()([context, h])), weights]


def heads(a: Any, b: Any) -> Any:
    """Heads over a masked sequence, with an attention mask, and weights as an output."""
    h = la.LSTM(3, return_sequences=True)(b)
    cross = la.MultiHeadAttention(2, 3, value_dim=4, output_shape=3)
    near = keras.ops.einsum("btd,bsd->bts", h, a) > -0.2
    h = la.Add()([h, cross(query=h, value=la.Masking()(a), attention_mask=near)])
    own, weights = la.MultiHeadAttention(3, 2, use_bias=False, name="causal_heads")(
        h, h, use_causal_mask=True, return_attention_scores=True
    )
    return [la.Dense(2, use_bias=False)(own), weights]


def called_again(a: Any, b: Any) -> Any:
    """A layer on its own output, and one without weights on two lengths."""
    dense, flatten = la.Dense(3), la.Flatten()
    parts = [la.GRU(2, return_sequences=True)(x) for x in (dense(dense(a)), b)]
    return la.Dense(2)(la.Add()([la.Dense(4)(flatten(h)) for h in parts]))


def partly_masked(x: Any) -> Any:
    """One branch has a mask, the other has none."""
    parts = [la.GRU(3, return_sequences=True)(y) for y in (la.Masking()(x), x)]
    return la.LSTM(2)(la.Concatenate()(parts))


def states_alone(x: Any) -> Any:
    """States as outputs of the model, a sequence, and a head that looks at both states."""
    sequence, h, c = la.LSTM(4, return_state=True, return_sequences=True)(x)
    return [c, sequence, h, la.Dense(2)(la.Concatenate()([h, c]))]


def two_ranks(x: Any) -> Any:
    """A sequence and a last state, added."""
    return la.Add()([la.LSTM(4, return_sequences=True)(x), la.GRU(4)(x)])


def last_steps(x: Any) -> Any:
    """The head adds the last step of x to what it makes of the last h, and cuts both."""
    h = la.GRU(5, return_sequences=True)(la.Masking()(x))
    return la.Add()([la.Dense(2)(h[:, -1]), x[:, -1, 1:]])


def sliced(x: Any) -> Any:
    """Steps, features and single numbers of sequences."""
    h = la.LSTM(5, return_sequences=True)(x[:, 1:])
    features = la.GRU(4)(h[..., 1:4:2])
    numbers = [h[:, ::-2, 0], h[:, 0], h[:, :, None][:, 1, 0, :-1], h[:, ::-1, 3], features[:, 1:]]
    return la.Dense(2)(la.Concatenate()([*numbers, la.GRU(3)(h[:, 1:6:3])]))


def calculated(x: Any) -> Any:
    """Tensors and numbers, at each step and at the last one; a mask ends at an operation."""
    h = la.LSTM(4, return_sequences=True)(la.Masking()(x))
    g = la.GRU(4, return_sequences=True)(0.3 - h * 0.7)
    last = (g + h * g - 1.7)[:, -1]
    return 2 * la.Dense(2)(keras.ops.tanh(last)) - la.Dense(2)(last) + 1


def activated(x: Any) -> Any:
    """Activations as functions, at each step and at the last one, and all steps in one."""
    h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
    g = la.GRU(4)(ops.silu(ops.elu(h)))
    parts = [ops.relu(g), ops.sigmoid(g), ops.softmax(g), ops.gelu(g, approximate=False)]
    parts += [ops.softplus(g), ops.mean(h, axis=1), ops.max(h, axis=-2)]
    return la.Dense(2)(la.Concatenate()(parts))


def functions(x: Any) -> Any:
    """Functions of each number, constants, and sums over axes."""
    h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
    scale = np.asarray([0.5, -1.5, 2.0, 0.7], "float32")
    roots = ops.sqrt(ops.square(h) + 0.1) + ops.log(ops.exp(h) + 1.0) / 2.5
    part = ops.maximum(h * scale, ops.minimum(h, 0.2)) - ops.reciprocal(abs(h) + 1.0)
    g = la.GRU(3, return_sequences=True)(ops.divide(roots, 2.0 + h**2) + -part)
    normal = (g - ops.mean(g, axis=1, keepdims=True)) / (ops.std(g, axis=1, keepdims=True) + 0.1)
    sums = [
        ops.var(h, axis=1),
        ops.max(normal, axis=1),
        ops.sum(g, axis=1),
        ops.min(g, axis=1),
        ops.amax(g, axis=2),
        ops.amin(g, axis=[1]),
    ]
    last = g[:, -1] / (1.5 + ops.max(g[:, -1], axis=-1, keepdims=True))
    return la.Dense(2)(la.Concatenate()([*sums, ops.copy(last), ops.stop_gradient(g[:, 0])]))


def compared(x: Any) -> Any:
    """Numbers chosen by comparisons, and Booleans as numbers."""
    h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
    middle = ops.logical_and(h > -0.1, ops.less_equal(h, 0.1))
    outer = ops.logical_or(ops.less(h, x[..., :1]), ops.logical_xor(h >= 0.0, middle))
    g = ops.where(outer, h, ops.clip(h, -0.05, 0.1)) + np.ones((1, 6, 4), "float32")
    rising = ops.logical_not(ops.equal(h, ops.maximum(h, 0.0)))[:, :, :3]
    g = la.GRU(3, return_sequences=True)(g) * ops.cast(rising, "float32")
    half = g * ops.not_equal(g, 0.0)
    mixed = ops.matmul(np.tri(6, dtype="float32"), ops.expm1(g) * ops.rsqrt(ops.square(g) + 0.5))
    sums = ops.einsum("...d,...d->...", mixed, np.tri(6, 3, dtype="float32"))
    sums = ops.matmul(sums, np.tri(6, 3, dtype="float32")) + ops.einsum(
        "b...t,tk", mixed[:, 1], np.tri(3, dtype="float32")
    )
    parts = [sums, ops.relu(half[:, 1]), keras.activations.relu(g[:, 2], 0.2, 0.3, 0.1)]
    wide = ops.moveaxis(ops.expand_dims(half, (1, -1)), [1, 2], [2, 1])
    number = ops.log1p(ops.sum(ops.square(wide), axis=(1, 2, 3, 4)))
    return la.Dense(2)(la.Concatenate()([*parts, ops.expand_dims(ops.elu(-number, 0.5), 1)]))


def more_activations(x: Any) -> Any:
    """The other activations as functions, also along another axis, and a cast."""
    h, ops = la.LSTM(8, return_sequences=True)(x), keras.ops
    g = ops.cast(ops.softmax(h, axis=1), h.dtype) + ops.log_softmax(h)
    g = g + ops.leaky_relu(h, negative_slope=0.3) + ops.gelu(h) + keras.activations.relu(h)
    g = la.GRU(8)(g)
    names = ("celu", "selu", "relu6", "softsign", "squareplus", "hard_sigmoid", "hard_silu")
    names += ("hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink")
    names += ("sparse_plus", "sparse_sigmoid", "log_sigmoid")
    return la.Dense(2)(sum(getattr(ops, name)(g) for name in names[1:]) + ops.celu(g))


def moved(x: Any) -> Any:
    """Other shapes and orders, tensors joined, and attention written out."""
    h, ops = la.LSTM(4, return_sequences=True)(x), keras.ops
    scores = ops.softmax(ops.einsum("btd,bsd->bts", h, h))
    turned = ops.swapaxes(ops.moveaxis(ops.transpose(h, (0, 2, 1)), 2, 1), 1, 2)
    context = ops.matmul(scores, ops.swapaxes(turned, 1, 2))
    pairs = ops.squeeze(ops.stack([h, ops.flip(context, axis=1)], axis=3)[..., 1:], axis=-1)
    first, second, _ = ops.split(ops.concatenate([pairs, h], axis=1), [3, 10], axis=1)
    left, right = ops.split(la.GRU(6)(second), 2, axis=-1)
    longer = la.GRU(3)(first, initial_state=left) + right
    single = ops.expand_dims(longer, axis=1) * ops.reshape(h, (-1, 8, 3))
    return la.Dense(2)(ops.concatenate([ops.reshape(single, (-1, 24)), longer], axis=-1))


def repeated_axes(x: Any) -> Any:
    """Weights of each step, one row for all of them, and the last step repeated."""
    h = la.LSTM(5, return_sequences=True)(x)
    weighted = keras.ops.softmax(h) * h[..., 1:2]
    decoded = la.GRU(4)(la.Concatenate(axis=1)([la.RepeatVector(3)(h[:, -1]), h]))
    return la.Dense(2)(la.Concatenate()([la.GRU(3)(weighted + h[:, -1:] - h), decoded]))


def given_states(x: Any, h: Any) -> Any:
    """States from an input; beside them, Keras does not look for a mask."""
    masked = la.GRU(5, return_sequences=True)(la.Masking()(x), initial_state=h)
    parts = [la.SimpleRNN(5)(x, initial_state=h), la.GRU(4)(masked)]
    return la.Dense(2)(la.Concatenate()(parts))


def other_features(a: Any, b: Any, s: Any) -> Any:
    """Two sequences joined, and features that have no steps."""
    return la.Dense(2)(la.Concatenate()([la.GRU(5)(la.Concatenate()([a, b])), la.Dense(3)(s)]))


def stacked() -> Any:
    """Three cells in one layer."""
    return la.RNN(la.StackedRNNCells([la.LSTMCell(5), la.GRUCell(4), la.SimpleRNNCell(6)]))


def nested() -> keras.Model:
    """A model in a model, called twice, and one with a branch in it."""
    encoder = sequential(la.LSTM(4, return_sequences=True), la.Dropout(0.3), shape=(6, 3))
    inner = keras.Input((6, 4))
    both = la.Add()([la.GRU(4, return_sequences=True)(inner), inner])
    head = keras.Model(inner, both, name="head")
    x, y = keras.Input((6, 3)), keras.Input((6, 3))
    made = la.Concatenate()([head(encoder(x)), head(encoder(y))])
    return keras.Model([x, y], la.Dense(2)(la.Bidirectional(la.SimpleRNN(5))(made)))


def deep() -> keras.Model:
    """A model in a model in a model, with a mask that is made inside."""
    words = sequential(la.Embedding(11, 4, mask_zero=True), la.GRU(5), shape=(7,))
    inner = keras.Input((7,))
    x = keras.Input((7,))
    return keras.Model(x, la.Dense(2)(keras.Model(inner, words(inner), name="middle")(x)))


def images_beside_a_sequence(x: Any) -> Any:
    """Features of whole images and volumes, and a recurrence over their rows."""
    largest = la.GlobalMaxPooling2D(keepdims=True)
    volumes = la.ZeroPadding3D(((1, 0), (0, 2), (1, 1)))(la.Reshape((7, 5, 2, 2))(x))
    volumes = la.Conv3D(3, (2, 1, 3), strides=(1, 2, 1), activation="tanh")(volumes)
    volumes = la.UpSampling3D((1, 2, 1))(la.SpatialDropout3D(0.2)(volumes))
    rows = la.GRU(3)(la.Reshape((-1, 4))(x))
    parts = [
        la.GlobalAveragePooling3D()(la.Multiply()([volumes, rows])),
        la.Flatten()(la.Add()([la.Reshape((1, 3))(rows), rows])),
        la.GlobalAveragePooling3D()(la.Cropping3D(((0, 1), (1, 0), (0, 1)))(volumes)),
        la.GlobalMaxPooling3D()(volumes),
        la.Flatten()(la.GlobalMaxPooling3D("channels_first", keepdims=True)(volumes)),
        la.Flatten()(largest(la.SeparableConv2D(3, (2, 1), activation="relu")(x))),
        la.GlobalAveragePooling2D()(la.UpSampling2D((2, 3))(la.AveragePooling2D((3, 2))(x))),
        la.Flatten()(la.DepthwiseConv2D((2, 3), strides=2, padding="same")(x)),
        rows,
    ]
    return la.Dense(2)(la.Concatenate()(parts))


def sentence_encoder() -> keras.Model:
    """Masked words of a sentence, joined by attention and by a recurrence."""
    words = keras.Input((6,), dtype="int32")
    h = la.Embedding(11, 4, mask_zero=True)(words)
    h = la.Bidirectional(la.GRU(3, return_sequences=True))(h)
    scores = keras.ops.softmax(la.Dense(1)(la.Dense(5, activation="tanh")(h)), axis=1)
    last = la.SimpleRNN(5)(la.LSTM(2, go_backwards=True, return_sequences=True)(h))
    joined = [keras.ops.sum(la.Multiply()([h, scores]), axis=1), last]
    return keras.Model(words, la.Concatenate()(joined), name="sentence")


def models_at_each_step(x: Any) -> Any:
    """Two models of images at each step, one with branches; the other one is called again."""
    frames = sequential(
        la.Conv2D(3, 3), la.BatchNormalization(), la.Flatten(), la.Dense(4), shape=(5, 4, 2)
    )
    inner = keras.Input((5, 4, 2))
    pooled = sequential(la.AveragePooling2D(2), la.Dropout(0.2), shape=(5, 4, 2))(inner)
    branches = [la.GlobalMaxPooling2D()(pooled), keras.ops.max(la.Conv2D(2, 2)(inner), (1, 2))]
    pooling = keras.Model(inner, la.Concatenate()(branches))
    each = la.TimeDistributed(frames)
    parts = [each(x), la.TimeDistributed(pooling)(x), each(x[:, ::-1])]
    return la.Dense(2)(la.LSTM(3)(la.Concatenate()(parts)))


def cast_to_16_bits(x: Any) -> Any:
    """Sequences and last states in 16 bits and back; the trace in float64 does not round them."""
    h, ops = la.GRU(4, return_sequences=True)(x), keras.ops
    g = la.LSTM(3)(ops.cast(ops.cast(h, "float16"), "float32"))
    return la.Dense(2)(ops.cast(ops.cast(g, "bfloat16"), "float32"))


def gated(x: Any) -> Any:
    """Heads of attention to another sequence, with a gate."""
    h = la.LSTM(5, return_sequences=True)(x)
    return la.Dense(2)(la.MultiHeadAttention(2, 3, value_dim=4, use_gate=True)(h, x))


#: Models with operations, which are no layers in Keras.
OPERATIONS: dict[str, Callable[[], keras.Model]] = {
    "last step, masked, added": lambda: functional(last_steps),
    "sliced": lambda: functional(sliced),
    "calculated": lambda: functional(calculated),
    "activated": lambda: functional(activated),
    "functions": lambda: functional(functions),
    "compared": lambda: functional(compared),
    "more activations": lambda: functional(more_activations),
    "moved": lambda: functional(moved),
    "repeated axes": lambda: functional(repeated_axes),
}

#: Functions that build the models, by name.
MODELS: dict[str, Callable[[], keras.Model]] = {
    "masked": lambda: sequential(
        la.Masking(-1.1), la.LSTM(5, return_sequences=True), la.SimpleRNN(4), la.Dense(2)
    ),
    "masked zeros": lambda: sequential(
        la.Masking(), la.GRU(5, return_sequences=True, zero_output_for_mask=True), la.Dense(2)
    ),
    "masked, both": lambda: sequential(
        la.Masking(),
        la.Bidirectional(la.GRU(5, return_sequences=True)),
        la.Bidirectional(la.LSTM(4)),
        la.Dense(2),
    ),
    "masked, backwards": lambda: sequential(
        la.Masking(),
        la.GRU(5, go_backwards=True, return_sequences=True),
        la.SimpleRNN(3, return_sequences=True),
        la.LSTM(4, go_backwards=True),
        la.Dense(2),
    ),
    "embedded, masked": lambda: sequential(
        la.Embedding(11, 4, mask_zero=True),
        la.LSTM(5, zero_output_for_mask=True),
        la.Dense(1, activation="sigmoid"),
        shape=(9,),
        dtype="int32",
    ),
    "embedded": lambda: sequential(
        la.Embedding(11, 4), la.Bidirectional(la.LSTM(5), merge_mode="mul"), shape=(6,)
    ),
    "stacked cells, both, masked": lambda: sequential(
        la.Masking(), la.Bidirectional(stacked(), merge_mode="sum"), la.Dense(2), shape=(4, 3)
    ),
    "cells": lambda: sequential(
        la.RNN(la.GRUCell(5), return_sequences=True),
        la.TimeDistributed(la.Dense(2)),
        la.RNN(la.StackedRNNCells([la.SimpleRNNCell(4), la.GRUCell(3)]), return_sequences=True),
        la.RNN(la.StackedRNNCells([la.LSTMCell(6)])),
        shape=(4, 3),
    ),
    "at each step": lambda: sequential(
        la.LSTM(5, return_sequences=True),
        la.TimeDistributed(la.Dense(4, activation="relu")),
        la.TimeDistributed(la.LayerNormalization()),
        la.TimeDistributed(la.BatchNormalization()),
    ),
    "normalized": lambda: sequential(
        la.LayerNormalization(),
        la.LSTM(5),
        la.BatchNormalization(scale=False),
        la.Dropout(0.3),
        la.LayerNormalization(center=False),
        la.Dense(4),
        la.Activation("gelu"),
        la.ReLU(),
        la.Dense(3),
        la.Softmax(),
    ),
    "normalized otherwise": lambda: sequential(
        la.Normalization(mean=[0.3, -0.2, 1.1], variance=[0.5, 0.4, 2.0]),
        la.Normalization(axis=1),
        la.LSTM(6, return_sequences=True),
        la.Normalization(axis=(1, 2), mean=0.1, variance=0.7, invert=True, name="inverted"),
        la.GroupNormalization(3),
        la.UnitNormalization(),
        la.EinsumDense("abc,bdc->ad", output_shape=4),
        la.RepeatVector(2),
        la.GRU(4),
        la.RMSNormalization(),
        la.GroupNormalization(2, center=False),
        la.EinsumDense("ab,bc->ac", output_shape=2, bias_axes="c", activation="tanh"),
    ),
    "rectified": lambda: sequential(
        la.LSTM(5, return_sequences=True),
        la.PReLU(shared_axes=[1]),
        la.LeakyReLU(negative_slope=0.1),
        la.PReLU(),
        la.GRU(4),
        la.ReLU(max_value=0.2, negative_slope=0.3, threshold=0.1),
        la.Dense(3),
        la.ELU(alpha=0.5),
    ),
    "convolved, pooled": lambda: sequential(
        la.Conv1D(6, 3, activation="relu"), la.MaxPooling1D(2), la.LSTM(5), la.Dense(2)
    ),
    "convolved, same": lambda: sequential(
        la.Conv1D(6, 4, padding="same", strides=2, use_bias=False),
        la.AveragePooling1D(2, padding="same"),
        la.GRU(5, return_sequences=True),
        la.GlobalAveragePooling1D(),
        la.Dense(2),
    ),
    "convolved, causal": lambda: sequential(
        la.Conv1D(6, 2, padding="causal", dilation_rate=2),
        la.MaxPooling1D(3, strides=1, padding="same"),
        la.Cropping1D((1, 2)),
        la.GRU(5, return_sequences=True),
        la.Cropping1D((0, 1)),
        la.GlobalMaxPooling1D(),
        la.Dense(2),
    ),
    "padded": lambda: sequential(
        la.ZeroPadding1D((1, 2)),
        la.GRU(4, return_sequences=True),
        la.UpSampling1D(2),
        la.DepthwiseConv1D(3, strides=2, padding="same", depth_multiplier=2),
        la.SeparableConv1D(5, 3, dilation_rate=2, activation="tanh"),
        la.Conv1DTranspose(3, 4, strides=2, padding="same"),
        la.Permute((2, 1)),
        la.LSTM(3),
    ),
    "read from images": lambda: sequential(
        la.Rescaling(1 / 3, -0.5),
        la.Conv2D(4, 3, padding="same", activation="relu"),
        la.MaxPooling2D((2, 3)),
        la.SpatialDropout2D(0.2),
        la.Conv2D(5, (2, 3), use_bias=False, dilation_rate=(2, 1)),
        la.ZeroPadding2D(((2, 1), (0, 1))),
        la.Cropping2D(((0, 1), (1, 0))),
        la.Permute((1, 3, 2)),
        la.Reshape((5, -1)),
        la.Bidirectional(la.LSTM(3, return_sequences=True)),
        la.Dense(2),
        shape=(10, 12, 1),
    ),
    "images beside a sequence": lambda: functional(images_beside_a_sequence, (7, 5, 4)),
    "recurrent images": lambda: sequential(
        la.ConvLSTM2D(3, (2, 3), padding="same", return_sequences=True, go_backwards=True),
        la.TimeDistributed(la.Reshape((5, 12))),
        la.ConvLSTM1D(2, 2, strides=2, use_bias=False, recurrent_activation="hard_sigmoid"),
        la.LSTM(4),
        la.Dense(2),
        shape=(4, 5, 4, 1),
    ),
    "sentences": lambda: sequential(
        la.TimeDistributed(sentence_encoder()),
        la.Bidirectional(la.GRU(4)),
        la.Dense(2),
        shape=(3, 6),
        dtype="int32",
    ),
    "models at each step": lambda: functional(models_at_each_step, (3, 5, 4, 2)),
    "images at each step": lambda: sequential(
        la.TimeDistributed(la.Conv2D(4, 3, activation="relu")),
        la.TimeDistributed(la.MaxPooling2D()),
        la.TimeDistributed(la.Reshape((3, 8))),
        la.TimeDistributed(la.Conv1D(5, 2)),
        la.TimeDistributed(la.Flatten()),
        la.LSTM(3, return_sequences=True),
        la.TimeDistributed(la.RepeatVector(2)),
        la.TimeDistributed(la.TimeDistributed(la.Dense(2))),
        shape=(4, 8, 6, 1),
    ),
    "repeated": lambda: sequential(
        la.Masking(),
        la.SimpleRNN(5, unroll=True),
        la.RepeatVector(4),
        la.LSTM(3, return_sequences=True, unroll=True, dropout=0.2, recurrent_dropout=0.3),
        la.Dense(2),
    ),
    "flattened": lambda: sequential(la.LSTM(5, return_sequences=True), la.Flatten(), la.Dense(2)),
    "other directions": lambda: sequential(
        la.Masking(),
        la.Bidirectional(
            la.LSTM(5, return_sequences=True),
            backward_layer=la.GRU(5, go_backwards=True, return_sequences=True, activation="relu"),
            merge_mode="ave",
        ),
        la.GlobalAveragePooling1D(),
        la.Dense(2),
    ),
    "branches": lambda: functional(branches),
    "shared": lambda: functional(shared),
    "residual": lambda: functional(residual),
    "merged": lambda: functional(merged),
    "unmerged": lambda: functional(unmerged),
    "two outputs": lambda: functional(two_outputs),
    "encoder, decoder": lambda: functional(encoder_decoder, (9, 3), (6, 4)),
    "encoder, decoder, both": lambda: functional(both_ways, (5, 3), (4, 4)),
    "given states": lambda: functional(given_states, (6, 3), (5,)),
    "other features": lambda: functional(other_features, (6, 3), (6, 2), (4,)),
    "called again": lambda: functional(called_again, (5, 3), (4, 3)),
    "shared by lengths": lambda: functional(shared_by_lengths, (9, 3), (6, 3)),
    "merged masks": lambda: functional(merged_masks),
    "attention": lambda: functional(attention, (5, 3)),
    "attending decoder": lambda: functional(attending_decoder, (5, 3), (4, 2)),
    "heads": lambda: functional(heads, (5, 3), (4, 2)),
    "partly masked": lambda: functional(partly_masked, (5, 3)),
    "states alone": lambda: functional(states_alone),
    "two ranks": lambda: functional(two_ranks),
    **OPERATIONS,
    "nested": nested,
    "deep": deep,
    "regularized": lambda: sequential(
        la.LayerNormalization(),  # of one feature: its variance is zero
        la.GaussianNoise(0.1),
        la.Reshape((3, -1)),
        la.SpatialDropout1D(0.2),
        la.LSTM(5),
        la.GaussianDropout(0.3),
        la.AlphaDropout(0.4),
        la.ActivityRegularization(0.5),
        la.Identity(),
        la.Dense(6),
        la.Reshape((2, 3)),
        shape=(6, 1),
    ),
    "float64": lambda: sequential(
        la.Masking(dtype="float64"),
        la.Bidirectional(la.LSTM(5, dtype="float64"), dtype="float64"),
        la.BatchNormalization(dtype="float64"),
        la.Dense(2, activation="softmax", dtype="float64"),
        dtype="float64",
    ),
}


def stateful(layer: Any) -> keras.Model:
    """A model of two samples at once, whose states go on from batch to batch."""
    x = keras.Input(batch_shape=(2, 9, 3))
    return keras.Model(x, la.Dense(2)(layer(x)))


def randomized(model: keras.Model, seed: int = 4) -> keras.Model:
    """The same model with random weights: variances and scales above zero, biases not zero."""
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            rng.uniform(0.5, 1.5, v.shape)
            if v.name in ("gamma", "moving_variance", "variance")
            else 0.7 * rng.standard_normal(v.shape)
            for v in model.weights
        ]
    )
    for layer in model._flatten_layers():
        if isinstance(layer, la.Normalization):
            layer.finalize_state()  # it computes with the mean from before
    return model


@cache
def model_of(name: str) -> keras.Model:
    """One of ``MODELS`` with random weights, built once for the tests of all its aspects.

    The names of its layers have no numbers from models before.
    """
    keras.backend.clear_session(free_memory=False)
    return randomized(MODELS[name]())


def live(
    activation: str, dtype: str = "float32", scale: float = 1.0, steps: int = 60
) -> tuple[Any, Any]:
    """A model with random weights of a given scale, and an input for it."""
    layer = keras.layers.SimpleRNN(7, activation=activation, dtype=dtype)
    model = keras.Sequential(
        [keras.Input((steps, 3), dtype=dtype), layer, keras.layers.Dense(2, dtype=dtype)]
    )
    rng = np.random.default_rng(8)
    model.set_weights([scale * rng.standard_normal(w.shape) for w in model.get_weights()])
    return model, rng.standard_normal((3, steps, 3))


class Doubled(la.Layer):
    """A layer of the user's own."""

    def call(self, x: Any) -> Any:
        return x * 2.0
