"""Random functional models over all layers and operations that are supported.

Run: ``python -m tests.benchmarks.random_models [COUNT] [FIRST_SEED]``; status 1 if a model fails.
For each model, ``verify`` passes, the trace of its saved file equals ``predict`` (in 16 bits, the
trace of the live model), and counts equal ``count_params()``; models have masks, and one of
Keras's dtype policies. The end lists layers that are not supported as they were called, and
supported classes that no model had.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as la
from keras import ops

import rnnshapes
from rnnshapes.network.graph import DTYPES_16BIT
from rnnshapes.network.layers.config import OPERATION
from rnnshapes.network.layers.registry import supported_classes
from tests.helpers.keras_runs import run_compiled, run_eagerly
from tests.helpers.models import randomized

POLICIES = (*["float32"] * 6, "float64", "mixed_float16", "mixed_bfloat16")
#: The largest difference of NumPy in float64 from Keras, relative to the largest number.
TOLERANCES = {"float32": 2e-4, "float64": 1e-6}
SAMPLES = 13
#: The most numbers of a sample in one tensor, and axes.
MOST_NUMBERS, MOST_AXES = 1200, 4
#: The share of inputs that are sequences of sequences, and most layers in a model at each step.
NESTED, MOST_INSIDE = 0.25, 5
_ACTIVATIONS = ("tanh", "relu", "sigmoid", "elu", "selu", "softplus", "gelu", "silu", "softmax")
_FUNCTIONS = ("relu", "relu6", "sigmoid", "silu", "celu", "elu", "selu", "softplus", "softsign")
_FUNCTIONS += ("squareplus", "hard_sigmoid", "hard_silu", "hard_tanh", "hard_shrink", "tanh")
_FUNCTIONS += ("soft_shrink", "tanh_shrink", "sparse_plus", "sparse_sigmoid", "log_sigmoid")
_FUNCTIONS += ("log_softmax", "leaky_relu", "gelu", "negative", "absolute", "copy", "expm1")
_COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")

Maker = Callable[["Draw", Any], Any]


@dataclass
class Draw:
    """Random choices for one model, and the tensors that it has."""

    random: random.Random
    policy: str
    tensors: list[Any] = field(default_factory=list)

    def size(self, most: int = 5) -> int:
        """Return a size from 1 on."""
        return self.random.randint(1, most)

    def flag(self) -> bool:
        """Return True or False."""
        return self.random.random() < 0.5

    def one(self, *values: Any) -> Any:
        """Return one of the values."""
        return self.random.choice(values)

    def axis(self, x: Any) -> int:
        """Return an axis after that of the samples, counted from either end."""
        axis = self.random.randrange(1, len(x.shape))
        return self.one(axis, axis - len(x.shape))

    def like(self, x: Any) -> Any:
        """Return a tensor of the same shape."""
        return self.one(*(t for t in self.tensors if t.shape == x.shape and t.dtype == x.dtype))

    def array(self, *sizes: int, like: Any) -> Any:
        """Return an array of numbers that Keras does not compute in another dtype."""
        numbers = [round(self.random.uniform(-2, 2), 2) for _ in range(int(np.prod(sizes)))]
        return np.asarray(numbers, like.dtype).reshape(sizes)


# --- Layers --------------------------------------------------------------------------------------


def _recurrent(draw: Draw, *, sequences: bool | None = None) -> Any:
    kind = draw.one(la.LSTM, la.GRU, la.SimpleRNN)
    options = {
        "return_sequences": draw.flag() if sequences is None else sequences,
        "go_backwards": draw.random.random() < 0.2,
        "use_bias": draw.random.random() < 0.8,
        "activation": draw.one("tanh", "tanh", "sigmoid", "softsign"),
    }
    if kind is la.GRU:
        options["reset_after"] = draw.flag()
    return kind(draw.size(), **options)


def _bidirectional(draw: Draw, x: Any) -> Any:
    layer = _recurrent(draw)
    layer.go_backwards = False
    return la.Bidirectional(layer, merge_mode=draw.one("concat", "sum", "mul", "ave"))(x)


def _stacked(draw: Draw, x: Any) -> Any:
    cells = [draw.one(la.LSTMCell, la.GRUCell, la.SimpleRNNCell)(draw.size()) for _ in range(2)]
    return la.RNN(cells, return_sequences=draw.flag())(x)


def _window(draw: Draw) -> dict[str, Any]:
    return {"padding": draw.one("valid", "same"), "strides": draw.size(2)}


def _convolution(draw: Draw, x: Any) -> Any:
    if draw.flag():
        padding = draw.one("valid", "same", "causal")
        return la.Conv1D(draw.size(), draw.size(3), padding=padding, dilation_rate=draw.size(2))(x)
    if draw.flag():
        return la.Conv1DTranspose(draw.size(), draw.size(3), **_window(draw))(x)
    if draw.flag():
        return la.SeparableConv1D(draw.size(), draw.size(3), padding=draw.one("valid", "same"))(x)
    return la.DepthwiseConv1D(draw.size(3), padding=draw.one("valid", "same"))(x)


def _images(draw: Draw, x: Any) -> Any:
    size = (draw.size(2), draw.size(2))
    kinds = (
        lambda: la.Conv2D(draw.size(), size, **_window(draw)),
        lambda: la.SeparableConv2D(draw.size(), size),
        lambda: la.DepthwiseConv2D(size, padding=draw.one("valid", "same")),
        lambda: draw.one(la.MaxPooling2D, la.AveragePooling2D)(size, padding="same"),
        lambda: la.ZeroPadding2D(size),
        lambda: la.Cropping2D(((0, 1), (1, 0))),
        lambda: la.UpSampling2D(size),
        draw.one(la.GlobalMaxPooling2D, la.GlobalAveragePooling2D),
        lambda: la.TimeDistributed(_recurrent(draw)),
        lambda: la.TimeDistributed(la.Conv1D(draw.size(), 2, padding="same")),
        *[lambda: la.ConvLSTM1D(draw.size(3), draw.size(2), **_recurrent_convolution(draw))] * 2,
    )
    return draw.one(*kinds)()(x)


def _recurrent_convolution(draw: Draw) -> dict[str, Any]:
    return {
        "return_sequences": draw.flag(),
        "go_backwards": draw.random.random() < 0.2,
        "use_bias": draw.random.random() < 0.8,
        "padding": draw.one("valid", "same"),
    }


def _sequence_of_images(draw: Draw, x: Any) -> Any:
    images = la.Reshape((-1, x.shape[-1], 1, 1))(x)
    if draw.flag():
        strides = (draw.size(2), draw.size(2), 1)
        return la.Conv3D(draw.size(), draw.size(2), strides=strides, padding="same")(images)
    return la.ConvLSTM2D(2, (draw.size(2), 1), **_recurrent_convolution(draw))(images)


def _normalization(draw: Draw, x: Any) -> Any:
    options = {"center": draw.flag(), "scale": draw.flag()}
    groups = draw.one(*(g for g in (1, 2, 3, -1) if g < 0 or x.shape[-1] % g == 0))
    kinds = (
        *[lambda: draw.one(la.LayerNormalization, la.BatchNormalization)(**options)] * 3,
        lambda: la.GroupNormalization(groups, **options),
        la.UnitNormalization,
        la.RMSNormalization,
        lambda: la.Normalization(draw.one(None, -1), invert=draw.flag()),
        lambda: la.Normalization(-1, mean=0.3, variance=draw.one(0.5, 2.0)),
    )
    return draw.one(*kinds)()(x)


def _einsum_dense(draw: Draw, x: Any) -> Any:
    units, bias = draw.size(), draw.flag()
    if len(x.shape) == 2:
        return la.EinsumDense("ab,bc->ac", units, bias_axes=draw.one(None, "c"))(x)
    equations = {
        "abc,cd->abd": ((None, units), "d" if bias else None),
        "abc,bd->adc": ((units, None), None),
        "abc,cde->abde": ((None, 2, units), "de" if bias else None),
        "abc,bcd->ad": (units, "d" if bias else None),
    }
    equation = draw.one(*equations)
    output, axes = equations[equation]
    return la.EinsumDense(equation, output, bias_axes=axes)(x)


def _activation(draw: Draw, x: Any) -> Any:
    kinds = (
        lambda: la.Activation(draw.one(*_ACTIVATIONS)),
        lambda: la.ReLU(max_value=draw.one(None, 1.5), negative_slope=draw.one(0.0, 0.2)),
        lambda: la.LeakyReLU(0.25),
        lambda: la.ELU(draw.one(1.0, 0.7)),
        la.PReLU,
        la.Softmax,
        lambda: la.Softmax(draw.axis(x)),
    )
    return draw.one(*kinds)()(x)


def _inactive(draw: Draw, x: Any) -> Any:
    kinds = [la.Dropout, la.GaussianDropout, la.AlphaDropout, la.GaussianNoise]
    kinds += [la.SpatialDropout1D] if len(x.shape) == 3 else []
    layer = draw.one(*(kind(0.2) for kind in kinds), la.Identity(), la.ActivityRegularization(0.1))
    return layer(x)


def _merged(draw: Draw, x: Any) -> Any:
    names = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    return getattr(la, draw.one(*names))()([x, draw.like(x)])


def _weighted(draw: Draw, x: Any) -> Any:
    weights = la.Softmax(axis=1)(la.Dense(1)(x))
    pooled = draw.one(la.GlobalMaxPooling1D, la.GlobalAveragePooling1D)(keepdims=True)(x)
    other = draw.one(weights, pooled)
    joined = draw.one(la.Multiply(), la.Add(), la.Maximum(), ops.multiply, ops.subtract)
    return (
        joined(draw.one([x, other], [other, x]))
        if isinstance(joined, la.Layer)
        else joined(x, other)
    )


def _attention(draw: Draw, x: Any) -> Any:
    if draw.flag():
        return la.AdditiveAttention()([x, draw.like(x)], use_causal_mask=draw.flag())
    inputs = [x, draw.like(x)]
    if draw.flag():
        options = {"value_dim": draw.one(None, draw.size()), "dropout": draw.one(0.0, 0.2)}
        options |= {"use_bias": draw.flag(), "output_shape": draw.one(None, draw.size())}
        options["use_gate"] = draw.random.random() < 0.3
        layer = la.MultiHeadAttention(draw.size(3), draw.size(), **options)
        scores = draw.random.random() < 0.2
        called = {"use_causal_mask": draw.flag(), "return_attention_scores": scores}
        if draw.random.random() < 0.3:
            mask = ops.einsum("btd,bsd->bts", *inputs) > draw.one(0.0, -0.5)
            called["attention_mask"] = draw.one(mask, ops.cast(mask, x.dtype))
        called = layer(*inputs, **called)
        return draw.one(*called) if scores else called
    return la.Attention(score_mode=draw.one("dot", "concat"))(inputs, use_causal_mask=draw.flag())


def _at_each_step(draw: Draw, x: Any) -> Any:
    """Return a random model, which may make masks, at each step of x."""
    inner = keras.Input(x.shape[2:], dtype=x.dtype)
    first = inner
    if "int" in str(x.dtype):
        first = la.Embedding(7, draw.size(), mask_zero=draw.flag())(inner)
    elif len(inner.shape) == 3 and draw.flag():
        first = la.Masking()(inner)
    inside = Draw(draw.random, draw.policy, [first])
    _add_tensors(inside, 1 + draw.size(MOST_INSIDE))
    return la.TimeDistributed(keras.Model(inner, inside.tensors[-1]))(x)


SEQUENCE_LAYERS: tuple[Maker, ...] = (
    *[lambda draw, x: _recurrent(draw)(x)] * 4,
    *[lambda draw, x: _recurrent(draw, sequences=True)(la.Masking()(x))] * 2,
    _bidirectional,
    _stacked,
    _convolution,
    _attention,
    _weighted,
    lambda draw, x: la.Concatenate(axis=1)([x, draw.like(x)]),
    lambda draw, x: la.TimeDistributed(la.Dense(draw.size()))(x),
    _at_each_step,
    lambda draw, x: draw.one(la.MaxPooling1D, la.AveragePooling1D)(2, **_window(draw))(x),
    lambda draw, x: draw.one(la.GlobalMaxPooling1D, la.GlobalAveragePooling1D)()(x),
    lambda draw, x: draw.one(la.ZeroPadding1D(2), la.Cropping1D((1, 0)), la.UpSampling1D(2))(x),
    lambda draw, x: la.Dot(axes=draw.one(1, 2))([x, draw.like(x)]),
    _sequence_of_images,
    _einsum_dense,
)
LAYERS: tuple[Maker, ...] = (
    lambda draw, x: la.Dense(draw.size(), activation=draw.one(None, *_ACTIVATIONS))(x),
    _normalization,
    _activation,
    _inactive,
    *[_merged] * 2,
    lambda draw, x: la.Flatten()(x),
    lambda draw, x: la.Rescaling(0.5, 0.25)(x),
    lambda draw, x: la.Reshape((-1, x.shape[-1]))(x),
    lambda draw, x: la.Permute((2, 1))(x),
    lambda draw, x: la.RepeatVector(draw.size())(x),
    _einsum_dense,
)

# --- Operations ----------------------------------------------------------------------------------


def _arithmetic(draw: Draw, x: Any) -> Any:
    choices = (draw.like(x), round(draw.random.uniform(-3, 3), 2), draw.size())
    arrays = (draw.array(x.shape[-1], like=x), draw.array(*x.shape[1:], like=x))
    other = draw.one(*choices, *arrays)
    function = draw.one(ops.add, ops.subtract, ops.multiply, ops.maximum, ops.minimum)
    return function(*draw.one((x, other), (other, x)))


def _divided(draw: Draw, x: Any) -> Any:
    above = ops.absolute(draw.like(x)) + draw.one(0.5, 1.5)
    function = draw.one(ops.divide, ops.true_divide)
    return draw.one(function(x, above), function(2.0, above), ops.reciprocal(above), x / 2.5)


def _function(draw: Draw, x: Any) -> Any:
    kinds = (
        lambda: getattr(ops, draw.one(*_FUNCTIONS))(x),
        lambda: getattr(ops, draw.one(*_FUNCTIONS))(x),
        lambda: ops.softmax(x, axis=draw.axis(x)),
        lambda: ops.gelu(x, approximate=draw.flag()),
        lambda: keras.activations.relu(x),
        lambda: ops.leaky_relu(x, negative_slope=0.3),
        lambda: ops.sqrt(ops.square(x) + 0.1),
        lambda: ops.log(ops.exp(ops.tanh(x)) + 0.3),
        lambda: ops.tanh(x) ** draw.one(2, 3, 5),
        lambda: ops.stop_gradient(ops.cast(x, x.dtype)),
        lambda: ops.cast(
            ops.cast(x, draw.one("float16", "bfloat16")), draw.one(x.dtype, "float16")
        ),
        lambda: ops.clip(x, -0.3, draw.one(0.2, 1)),
        lambda: ops.rsqrt(ops.square(x) + 0.3) * ops.log1p(ops.absolute(x)),
        lambda: keras.activations.relu(x, 0.1, draw.one(None, 0.4), draw.one(0, 0.1)),
        lambda: ops.elu(x, 0.7),
    )
    return draw.one(*kinds)()


def _chosen(draw: Draw, x: Any) -> Any:
    def compared(t: Any) -> Any:
        return getattr(ops, draw.one(*_COMPARISONS))(t, draw.one(0, 0.1, draw.like(t)))

    joined = draw.one(ops.logical_and, ops.logical_or, ops.logical_xor)(compared(x), compared(x))
    condition = draw.one(compared(x), joined, ops.logical_not(joined))
    if draw.flag():
        return draw.one(ops.where(condition, x, draw.one(0.0, -1.5, draw.like(x))), x * condition)
    return ops.cast(condition, x.dtype)


def _reduction(draw: Draw, x: Any) -> Any:
    function = draw.one(ops.sum, ops.mean, ops.max, ops.min, ops.amax, ops.amin, ops.var, ops.std)
    axes = draw.one(draw.axis(x), tuple({draw.axis(x) % len(x.shape), draw.axis(x) % len(x.shape)}))
    return function(x, axis=axes, keepdims=draw.flag())


def _repeated(draw: Draw, x: Any) -> Any:
    function = draw.one(ops.sum, ops.mean, ops.max)
    return draw.one(ops.multiply, ops.add)(x, function(x, axis=draw.axis(x), keepdims=True))


def _moved(draw: Draw, x: Any) -> Any:
    axes = [*range(1, len(x.shape))]
    draw.random.shuffle(axes)
    kinds = (
        lambda: ops.transpose(x, (0, *axes)),
        lambda: ops.swapaxes(x, draw.axis(x), draw.axis(x)),
        lambda: ops.moveaxis(x, draw.axis(x), draw.axis(x)),
        lambda: ops.flip(x, axis=draw.axis(x)),
        lambda: ops.expand_dims(x, draw.axis(x)),
        lambda: ops.squeeze(ops.expand_dims(x, 1), 1),
        lambda: ops.reshape(x, (-1, *draw.one(x.shape[:0:-1], (int(np.prod(x.shape[1:])),)))),
        lambda: ops.reshape(x, (-1, 1, *x.shape[1:])),
    )
    return draw.one(*kinds)()


def _joined(draw: Draw, x: Any) -> Any:
    tensors = [x, *(draw.like(x) for _ in range(draw.size(2)))]
    return draw.one(ops.concatenate, ops.stack)(tensors, axis=draw.axis(x))


def _split(draw: Draw, x: Any) -> Any:
    axis = draw.axis(x)
    size = x.shape[axis]
    parts = draw.one(size, [1], [1, size - 1]) if size > 2 else size
    return draw.one(*ops.split(x, parts, axis=axis))


def _indexed(draw: Draw, x: Any) -> Any:
    keys = (-1, 0, slice(1, None), slice(None, None, -1), slice(None, None, 2), slice(-1, None))
    axis = draw.random.randrange(1, len(x.shape))
    if draw.flag():
        return x[(slice(None),) * axis + (draw.one(*keys),)]
    return x[..., draw.one(slice(0, 2), slice(None), None)]


def _product(draw: Draw, x: Any) -> Any:
    y, width = draw.like(x), x.shape[-1]
    kinds = [
        lambda: ops.matmul(x, draw.array(width, draw.size(), like=x)),
        lambda: ops.einsum("...d,df->...f", x, draw.array(width, draw.size(), like=x)),
    ]
    if len(x.shape) == 3:
        kinds += [
            lambda: x @ ops.transpose(y, (0, 2, 1)),
            lambda: ops.matmul(draw.array(draw.size(), x.shape[1], like=x), x),
            lambda: ops.einsum("btd,bsd->bts", x, y),
            lambda: ops.einsum("btd,btd->bd", x, y),
            lambda: ops.einsum("btd,df->bft", x, draw.array(width, draw.size(), like=x)),
        ]
    return draw.one(*kinds)()


OPERATIONS: tuple[Maker, ...] = (
    *[_arithmetic] * 2,
    _divided,
    *[_function] * 3,
    _reduction,
    _chosen,
    _repeated,
    *[_moved] * 2,
    _joined,
    _split,
    _indexed,
    _product,
)

# --- Models --------------------------------------------------------------------------------------


def _nested_input(draw: Draw) -> tuple[Any, Any]:
    """Return an input of sequences of sequences, and one number or more for each of them."""
    sizes, is_index = (draw.random.randint(2, 4), draw.random.randint(3, 5)), draw.flag()
    dtype = "int32" if is_index else "float64" if draw.policy == "float64" else None
    x = keras.Input(sizes if is_index else (*sizes, draw.size(3)), dtype=dtype)
    each = _at_each_step(draw, x)
    return x, each if len(each.shape) == 3 else la.TimeDistributed(la.Flatten())(each)


def _input(draw: Draw) -> tuple[Any, Any]:
    """Return an input, and a tensor of numbers that follows from it."""
    if draw.random.random() < NESTED:
        return _nested_input(draw)
    steps, features = draw.random.randint(3, 6), draw.size()
    if draw.random.random() < 0.2:
        x = keras.Input((steps,), dtype="int32")
        return x, la.Embedding(7, features, mask_zero=draw.flag())(x)
    x = keras.Input((steps, features), dtype="float64" if draw.policy == "float64" else None)
    return x, la.Masking()(x) if draw.random.random() < 0.4 else x


def _is_usable(x: Any) -> bool:
    """Return whether a tensor has few numbers, and no open axis."""
    sizes = tuple(x.shape[1:])
    is_small = 0 < len(sizes) < MOST_AXES and None not in sizes
    return is_small and 0 < int(np.prod(sizes)) <= MOST_NUMBERS and "float" in str(x.dtype)


def _add_tensors(draw: Draw, wanted: int) -> None:
    """Add tensors that follow from those that there are, until there are as many as wanted."""
    choices = draw.random
    for _ in range(40):
        if len(draw.tensors) >= wanted:
            return
        x = choices.choice(draw.tensors[-4:])
        makers = OPERATIONS if draw.flag() else LAYERS
        if len(x.shape) == 3 and choices.random() < 0.5:
            makers = SEQUENCE_LAYERS
        if len(x.shape) == 4 and choices.random() < 0.5:
            makers = (_images, _at_each_step)
        try:
            result = choices.choice(makers)(draw, x)
        except (ValueError, TypeError, IndexError):  # it does not fit, says Keras
            continue
        if _is_usable(result):
            draw.tensors.append(result)


def draw_model(seed: int) -> tuple[keras.Model, str]:
    """Return a random model with random weights, and its dtype policy."""
    choices = random.Random(seed)  # noqa: S311 - not for secrets
    draw = Draw(choices, choices.choice(POLICIES))
    keras.backend.clear_session()
    keras.config.set_dtype_policy(draw.policy)
    try:
        inputs, first = _input(draw)
        draw.tensors = [_recurrent(draw, sequences=True)(first)]
        _add_tensors(draw, 2 + draw.size(8))
        outputs = draw.tensors[-1:] + ([draw.tensors[-2]] if choices.random() < 0.2 else [])
        if draw.flag():
            outputs[0] = la.Dense(draw.size())(outputs[0])
        model = keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0])
    finally:
        keras.config.set_dtype_policy("float32")
    return randomized(model, seed), draw.policy


def draw_input(model: keras.Model, seed: int) -> Any:
    """Return samples, of which some steps are masked.

    The first step of each inner sequence never is: the mean of no step is NaN in Keras.
    No tensor has as many features as there are samples: Keras (3.15.1) would take a (N, 1) that
    is added to a (N, N) for a bias (``keras/src/backend/tensorflow/numpy.py``, ``add``).
    """
    rng = np.random.default_rng(seed)
    shape = (SAMPLES, *model.inputs[0].shape[1:])
    if str(model.inputs[0].dtype).startswith("int"):
        words = rng.integers(0, 7, shape)
        if len(shape) > 2:
            words[..., 0] = np.maximum(words[..., 0], 1)
        return words
    x = rng.standard_normal(shape).astype("float32")
    for sample in range(1, SAMPLES):
        masked = x[sample, rng.integers(1, shape[1]) :]
        (masked[:, 1:] if len(shape) > 3 else masked)[...] = 0.0
    return x


def check_model(
    model: keras.Model, policy: str, seed: int, folder: Path, reasons: Counter[str]
) -> list[str]:
    """Return what is wrong with the model of a seed; one of ten is compiled, as usual."""
    (run_eagerly if seed % 10 else run_compiled)()
    x = draw_input(model, seed)
    wrong = []
    result = rnnshapes.inspect(model)
    for layer in result.layers:
        if not layer.supported:
            reasons[f"{layer.type}: {layer.notes[0].text}"] += 1
    if result.params != model.count_params():
        wrong.append(f"{result.params} parameters, not {model.count_params()}")
    verified = rnnshapes.verify(model, x=x)
    if not verified.passed:
        failed = [f"{check.name} ({check.found})" for check in verified.checks if not check.passed]
        wrong.append(f"verify: {'; '.join(failed[:4])}")
    is_cast = any(name in DTYPES_16BIT for name in result.network.precisions)
    compares = any(node.layer.is_boolean for node in result.network.nodes)
    # Rounding to 16 bits may turn a comparison round, and what depends on it.
    if all(layer.supported for layer in result.layers) and not (is_cast and compares):
        path = folder / f"model.{'h5' if seed % 3 == 0 else 'keras'}"
        model.save(path)
        wrong += _file_mistakes(model, path, x, None if is_cast else TOLERANCES[policy])
    return wrong


def _file_mistakes(model: keras.Model, path: Path, x: Any, tolerance: float | None) -> list[str]:
    """Return what is wrong with the trace of a saved model.

    It equals ``predict`` within the tolerance; without one, it equals the trace of the live model,
    which verify has compared: a normalization may magnify the rounding to 16 bits at will.
    """
    if tolerance is None:
        predicted, tolerance = rnnshapes.trace(model, x=x).output, 1e-9
    else:
        predicted = model.predict(x, verbose=0)
    predicted = np.asarray(predicted[0] if isinstance(predicted, list) else predicted, "float64")
    computed = np.asarray(rnnshapes.trace(path, x=x, keras=False).output)
    if computed.shape != predicted.shape:
        return [f"trace of the file: {computed.shape}, not {predicted.shape}"]
    with np.errstate(invalid="ignore"):
        error = np.abs(computed - predicted).max() / max(1.0, np.abs(predicted).max())
    return [] if error <= tolerance else [f"trace of the file: off by {error:.2g}"]


def _runs(model: keras.Model, seed: int) -> bool:
    """Return whether Keras can run a model that it has built, with numbers as its result.

    The mean of no step, where a layer masks all of them, is NaN.
    """
    try:
        outputs = keras.tree.flatten(model(draw_input(model, seed)))
    except (IndexError, ValueError, tf.errors.InvalidArgumentError):
        return False
    return not any(np.isnan(keras.ops.convert_to_numpy(output)).any() for output in outputs)


def _classes(model: keras.Model) -> set[str]:
    names = set()
    for operation in model.operations:
        kind = type(operation)
        is_layer = kind.__module__.startswith("keras.src.layers")
        names.add(kind.__name__ if is_layer else f"{OPERATION}{kind.__name__}")
    return names


def main() -> int:
    """Check as many models as the command line asks for."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    reasons: Counter[str] = Counter()
    unused, failures, not_run = set(supported_classes()), 0, 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            try:
                model, policy = draw_model(seed)
                if not _runs(model, seed):
                    not_run += 1
                    continue
                unused -= _classes(model)
                wrong = check_model(model, policy, seed, Path(folder), reasons)
            except Exception as error:
                wrong = [f"{type(error).__name__}: {error}"]
            failures += bool(wrong)
            for text in wrong:
                print(f"seed {seed}: {text}", flush=True)
    seconds = time.monotonic() - started
    ran = f"{count - not_run} models, {failures} failed, in {seconds:.0f} s"
    print(f"{ran}; {not_run} more that Keras itself cannot run")
    for reason, number in reasons.most_common():
        print(f"not supported, {number} times: {reason}")
    print(f"in no model: {', '.join(sorted(unused)) or 'nothing'}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
