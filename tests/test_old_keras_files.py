"""Files of Keras 1 and 2: read and traced as they were trained, whatever Keras 3 computes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError
from tests.helpers.activations import sigmoid
from tests.helpers.files import layer, legacy_file, numbers, sequential

T, D, M, K = 6, 4, 5, 2
SHAPE = [None, T, D]


def old_hard_sigmoid(z: Any) -> Any:
    """Return hard_sigmoid of Keras 1 and 2."""
    return np.clip(0.2 * z + 0.5, 0, 1)


def lstm_by_hand(x: Any, kernel: Any, recurrent: Any, bias: Any, gate: Any) -> Any:
    """Return the last h of an LSTM, written out."""
    h = c = np.zeros((len(x), M))
    for t in range(T):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
        c = gate(f) * c + gate(i) * np.tanh(g)
        h = gate(o) * np.tanh(c)
    return h


def gru_by_hand(x: Any, kernel: Any, recurrent: Any, bias: Any, gate: Any) -> Any:
    """Return the last h of a GRU that resets h before its product, written out."""
    h = np.zeros((len(x), M))
    (kz, kr, kh), (uz, ur, uh) = np.split(kernel, 3, axis=-1), np.split(recurrent, 3, axis=-1)
    bz, br, bh = np.split(bias, 3)
    for t in range(T):
        z = gate(x[:, t] @ kz + h @ uz + bz)
        r = gate(x[:, t] @ kr + h @ ur + br)
        h = z * h + (1 - z) * np.tanh(x[:, t] @ kh + (r * h) @ uh + bh)
    return h


def lstm_weights(gates: int = 4) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias, large enough to reach the ends of hard_sigmoid."""
    return [3 * numbers(D, gates * M), 2 * numbers(M, gates * M), numbers(gates * M)]


def named(group: str, *weights: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """As Keras 2 names the weights of a recurrent layer."""
    names = ("kernel:0", "recurrent_kernel:0", "bias:0")
    return [(f"{group}/{name}", w) for name, w in zip(names, weights, strict=True)]


x = np.random.default_rng(1).normal(0, 1, (4, T, D)).astype("float32")
#: An LSTM as Keras 2.2 writes it.
LSTM = {
    "trainable": True,
    "batch_input_shape": SHAPE,
    "dtype": "float32",
    "return_sequences": False,
    "units": M,
    "activation": "tanh",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": True,
    "unit_forget_bias": True,
    "implementation": 1,
}


def output(path: Path) -> Any:
    """Return what NumPy computes from the file."""
    return rnnshapes.trace(path, x=x, keras=False).output


@pytest.mark.parametrize("bare", [False, True])
def test_hard_sigmoid_is_that_of_keras_2(tmp_path: Path, bare: bool) -> None:
    """Outputs are those of the Keras that trained it; the config may be a list of layers."""
    weights, head = lstm_weights(), (numbers(M, K), numbers(K))
    config = sequential(layer("LSTM", "lstm_1", **LSTM), layer("Dense", "dense_1", units=K))
    if bare:
        config["config"] = config["config"]["layers"]
    arrays = {
        "lstm_1": named("lstm_1", *weights),
        "dense_1": [("dense_1/kernel:0", head[0]), ("dense_1/bias:0", head[1])],
    }
    path = legacy_file(tmp_path / "old.h5", config, arrays)
    expected = lstm_by_hand(x, *weights, old_hard_sigmoid) @ head[0] + head[1]
    np.testing.assert_allclose(output(path), expected, atol=1e-6)
    result = rnnshapes.inspect(path)
    assert result.file.agrees
    assert result.params == 4 * M * (D + M + 1) + K * (M + 1)
    assert result.file.keras_version == "2.2.4"
    assert any("clip(0.2 z + 0.5, 0, 1)" in note.text for note in result.layers[0].notes)


def test_verify_explains_old_hard_sigmoid(tmp_path: Path, run) -> None:
    """Keras 3 differs by more than rounding; trace shows both."""
    weights = lstm_weights()
    config = sequential(layer("LSTM", "lstm_1", **LSTM))
    path = legacy_file(tmp_path / "old.h5", config, {"lstm_1": named("lstm_1", *weights)})
    np.save(tmp_path / "x.npy", x)
    done = run("verify", path, "--input", tmp_path / "x.npy")
    assert done.status == 1
    reason = done.out.splitlines()[1]
    assert "lstm_1: hard_sigmoid is clip(0.2 z + 0.5, 0, 1)" in reason
    assert rnnshapes.verify(path, x=x).to_dict()["diagnosis"]
    trace = rnnshapes.trace(path, x=x)
    assert trace.difference.max_abs > 1e-3
    today = lstm_by_hand(x, *weights, lambda z: np.clip(z / 6 + 0.5, 0, 1))
    np.testing.assert_allclose(trace.output_keras, today, atol=1e-5)
    assert "in Keras 3 it is clip(z/6 + 0.5, 0, 1)" in repr(trace)


def test_layer_of_same_meaning_is_verified(tmp_path: Path) -> None:
    """With sigmoid gates, Keras 3 computes what Keras 2 did."""
    weights = lstm_weights()
    config = sequential(layer("LSTM", "lstm_1", **{**LSTM, "recurrent_activation": "sigmoid"}))
    path = legacy_file(tmp_path / "old.h5", config, {"lstm_1": named("lstm_1", *weights)})
    np.testing.assert_allclose(output(path), lstm_by_hand(x, *weights, sigmoid), atol=1e-6)
    assert rnnshapes.verify(path, x=x).passed


@pytest.mark.parametrize("version", ["2.0.6", "1.2.2", None])
def test_old_gru_has_one_bias(tmp_path: Path, version: str | None) -> None:
    """There was no reset_after, so it is false."""
    weights = lstm_weights(3)
    config = sequential(
        layer("GRU", "gru_1", units=M, batch_input_shape=SHAPE, recurrent_activation="hard_sigmoid")
    )
    path = legacy_file(tmp_path / "old.h5", config, {"gru_1": named("gru_1", *weights)}, version)
    np.testing.assert_allclose(output(path), gru_by_hand(x, *weights, old_hard_sigmoid), atol=1e-6)
    assert rnnshapes.inspect(path).params == 3 * M * (D + M + 1)


#: Versions of Keras, and their names of options and arrays.
NAMES = {
    "2.2.4": ("units", "use_bias", "recurrent_activation", ("kernel:0", "recurrent_kernel:0")),
    "1.2.2": ("output_dim", "bias", "inner_activation", ("layer_W", "layer_U")),
}


@pytest.mark.parametrize("version", NAMES)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SimpleRNN", {}),
        ("LSTM", {"recurrent_activation": "sigmoid"}),
        ("GRU", {"recurrent_activation": "sigmoid", "reset_after": False}),
        ("GRU", {"recurrent_activation": "sigmoid", "reset_after": True}),
    ],
)
def test_layers_without_bias_are_read(
    kind: str, options: dict[str, Any], version: str, tmp_path: Path
) -> None:
    """The recurrent layer has two arrays, the Dense layer one."""
    recurrent = getattr(keras.layers, kind)(M, use_bias=False, **options)
    head = keras.layers.Dense(K, use_bias=False)
    model = keras.Sequential([keras.Input((T, D)), recurrent, head])
    weights = [numbers(*variable.shape) for variable in model.weights]
    model.set_weights(weights)
    units, bias, gate_activation, arrays = NAMES[version]
    old_options = {
        gate_activation if name == "recurrent_activation" else name: value
        for name, value in options.items()
    }
    config = sequential(
        layer(kind, "r", **{units: M, bias: False}, batch_input_shape=SHAPE, **old_options),
        layer("Dense", "d", **{units: K, bias: False}),
    )
    stored = {
        "r": list(zip(arrays, weights[:2], strict=True)),
        "d": [(arrays[0], weights[2])],
    }
    path = legacy_file(tmp_path / "old.h5", config, stored, version)
    result = rnnshapes.inspect(path)
    assert result.file.agrees
    assert result.params == model.count_params()
    np.testing.assert_allclose(output(path), model.predict(x, verbose=0), atol=1e-6)


#: Keras 1's options of a recurrent layer.
KERAS1 = {
    "output_dim": M,
    "init": "glorot_uniform",
    "inner_init": "orthogonal",
    "activation": "tanh",
    "inner_activation": "hard_sigmoid",
    "dropout_W": 0.0,
    "dropout_U": 0.0,
    "batch_input_shape": SHAPE,
    "go_backwards": False,
}


@pytest.mark.parametrize(
    ("kind", "order", "by_hand"),
    [("LSTM", "icfo", lstm_by_hand), ("GRU", "zrh", gru_by_hand)],
)
def test_keras_1_arrays_per_gate_are_joined(tmp_path: Path, kind: str, order: str, by_hand) -> None:
    """Twelve for an LSTM, in the order i, c, f, o; nine for a GRU; the Dense layer has W and b."""
    today = "ifco" if kind == "LSTM" else "zrh"
    whole = lstm_weights(len(order))
    parts = [dict(zip(today, np.split(w, len(today), axis=-1), strict=True)) for w in whole]
    arrays = [
        (f"rnn_1_{name}_{gate}", parts[place][gate])
        for gate in order
        for place, name in enumerate("WUb")
    ]
    head = (numbers(M, K), numbers(K))
    layers = [layer(kind, "rnn_1", **KERAS1), layer("Dense", "d", output_dim=K, bias=True)]
    path = legacy_file(
        tmp_path / "old.h5",
        sequential(*layers),
        {"rnn_1": arrays, "d": [("d_W", head[0]), ("d_b", head[1])]},
        "1.2.2",
    )
    expected = by_hand(x, *whole, old_hard_sigmoid) @ head[0] + head[1]
    np.testing.assert_allclose(output(path), expected, atol=1e-6)
    assert rnnshapes.inspect(path).file.agrees


def to_cudnn(kernel: Any, recurrent: Any, gates: int) -> list[Any]:
    """As ``convert_lstm_weights`` of Keras 2.4 does it, for one gate after the other."""
    turned = [k.T.reshape(k.shape, order="C") for k in np.hsplit(kernel, gates)]
    return [np.hstack(turned), np.hstack([k.T for k in np.hsplit(recurrent, gates)])]


def test_cudnn_lstm_becomes_lstm(tmp_path: Path) -> None:
    """Its two biases are added, its kernels transposed gate by gate."""
    kernel, recurrent, bias = lstm_weights()
    half = numbers(4 * M)
    stored = [*to_cudnn(kernel, recurrent, 4), np.concatenate([half, bias - half])]
    config = sequential(layer("CuDNNLSTM", "lstm", units=M, batch_input_shape=SHAPE))
    path = legacy_file(tmp_path / "old.h5", config, {"lstm": named("lstm", *stored)})
    expected = lstm_by_hand(x, kernel, recurrent, bias, sigmoid)
    np.testing.assert_allclose(output(path), expected, atol=1e-5)
    result = rnnshapes.inspect(path)
    assert result.file.agrees
    assert any("CuDNNLSTM" in note for note in result.file.notes)
    assert rnnshapes.verify(path, x=x).passed


def test_cudnn_gru_becomes_gru_that_resets_after(tmp_path: Path) -> None:
    """Its bias of 6 M numbers becomes two rows."""
    layers = keras.layers
    model = keras.Sequential([keras.Input((T, D)), layers.GRU(M)])
    kernel, recurrent, bias = numbers(D, 3 * M), numbers(M, 3 * M), numbers(2, 3 * M)
    model.set_weights([kernel, recurrent, bias])
    stored = [*to_cudnn(kernel, recurrent, 3), bias.reshape(-1)]
    config = sequential(layer("CuDNNGRU", "gru", units=M, batch_input_shape=SHAPE))
    path = legacy_file(tmp_path / "old.h5", config, {"gru": named("gru", *stored)})
    np.testing.assert_allclose(output(path), model.predict(x, verbose=0), atol=1e-6)
    assert rnnshapes.verify(path, x=x).passed


def test_wrapped_layers_are_converted(tmp_path: Path) -> None:
    """In both directions, and at each step."""
    forward, backward, head = lstm_weights(), lstm_weights(), [numbers(2 * M, K), numbers(K)]
    inner = layer("LSTM", "lstm", **{**LSTM, "return_sequences": True})
    config = sequential(
        layer("Bidirectional", "both", layer=inner, merge_mode="concat", batch_input_shape=SHAPE),
        layer("TimeDistributed", "each", layer=layer("Dense", "dense", units=K)),
    )
    arrays = {
        "both": [*named("both/forward_lstm", *forward), *named("both/backward_lstm", *backward)],
        "each": [("each/kernel:0", head[0]), ("each/bias:0", head[1])],
    }
    path = legacy_file(tmp_path / "old.h5", config, arrays, "2.1.6")
    last = lstm_by_hand(x, *forward, old_hard_sigmoid)
    first = lstm_by_hand(x[:, ::-1], *backward, old_hard_sigmoid)
    found = output(path)
    np.testing.assert_allclose(
        np.concatenate([last, first], axis=-1) @ head[0] + head[1],
        found[:, -1] + found[:, 0] - _other_halves(path, head, last, first, found),
        atol=1e-5,
    )
    assert rnnshapes.inspect(path).file.agrees


def _other_halves(path: Path, head: Any, last: Any, first: Any, found: Any) -> Any:
    """Return what the steps at both ends have of the direction that begins there."""
    left = found[:, -1] - last @ head[0][:M] - head[1]
    right = found[:, 0] - first @ head[0][M:] - head[1]
    return left + right + head[1]


def functional_config() -> dict[str, Any]:
    """Return a functional model of Keras 2 with initial states and a model inside it."""
    node = [["x", 0, 0, {}]]
    inner = {
        "name": "head",
        "layers": [
            {
                **layer("InputLayer", "z", batch_input_shape=[None, M]),
                "name": "z",
                "inbound_nodes": [],
            },
            {
                **layer("Dense", "dense", units=K),
                "name": "dense",
                "inbound_nodes": [[["z", 0, 0, {}]]],
            },
        ],
        "input_layers": [["z", 0, 0]],
        "output_layers": [["dense", 0, 0]],
    }
    states = {**LSTM, "return_state": True}
    layers = [
        {**layer("InputLayer", "x", batch_input_shape=SHAPE), "name": "x", "inbound_nodes": []},
        {**layer("LSTM", "encode", **states), "name": "encode", "inbound_nodes": [node]},
        {
            **layer("LSTM", "decode", **LSTM),
            "name": "decode",
            "inbound_nodes": [[["x", 0, 0, {}], ["encode", 0, 1, {}], ["encode", 0, 2, {}]]],
        },
        {
            "class_name": "Model",
            "config": inner,
            "name": "head",
            "inbound_nodes": [[["decode", 0, 0, {}]]],
        },
    ]
    return {
        "class_name": "Model",
        "config": {
            "name": "model",
            "layers": layers,
            "input_layers": [["x", 0, 0]],
            "output_layers": [["head", 1, 0]],
        },
    }


def test_keras_2_model_inside_model_is_read(tmp_path: Path) -> None:
    """Keras 2 counts the calls of a model from 1, and has states as further inputs."""
    encode, decode, head = lstm_weights(), lstm_weights(), [numbers(M, K), numbers(K)]
    arrays = {
        "x": [],
        "encode": named("encode", *encode),
        "decode": named("decode", *decode),
        "head": [("dense/kernel:0", head[0]), ("dense/bias:0", head[1])],
    }
    path = legacy_file(tmp_path / "old.h5", functional_config(), arrays, "2.3.1")
    result = rnnshapes.inspect(path)
    assert [layer.name for layer in result.layers] == ["encode", "decode", "head/dense"]
    assert result.file.agrees
    h = c = np.zeros((len(x), M))
    for weights in (encode, decode):
        kernel, recurrent, bias = weights
        for t in range(T):
            parts = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=-1)
            i, f, o = (old_hard_sigmoid(parts[place]) for place in (0, 1, 3))
            c = f * c + i * np.tanh(parts[2])
            h = o * np.tanh(c)
    np.testing.assert_allclose(output(path), h @ head[0] + head[1], atol=1e-6)


REFUSED = {
    "a list of layers": ({}, True),
    "time_major": ({"time_major": False}, False),
    "output_dim": ({"output_dim": M}, False),
    "slash": ({"name": "block/lstm"}, False),
    "batch_input_shape": ({}, False),
}


@pytest.mark.parametrize("why", REFUSED)
def test_file_that_keras_3_refuses_is_traced(tmp_path: Path, why: str) -> None:
    """Keras does refuse it; a note has the reason."""
    more, bare = REFUSED[why]
    options = {**LSTM, "recurrent_activation": "sigmoid", **more}
    if why == "output_dim":
        del options["units"]
    name = options.pop("name", "lstm_1")
    config = sequential(layer("LSTM", name, **options))
    if bare:
        config["config"] = config["config"]["layers"]
    weights = lstm_weights()
    path = legacy_file(tmp_path / "old.h5", config, {name: named(name, *weights)})
    with warnings.catch_warnings(), pytest.raises((ValueError, TypeError)):  # noqa: PT012
        warnings.simplefilter("ignore")
        keras.models.load_model(path)
    result = rnnshapes.inspect(path)
    assert any(why in note for note in result.file.notes)
    np.testing.assert_allclose(output(path), lstm_by_hand(x, *weights, sigmoid), atol=1e-6)


@pytest.mark.parametrize(("with_module", "why"), [(True, "go_backwards"), (False, "module")])
def test_inner_layers_that_keras_3_refuses_are_told(
    with_module: bool, why: str, tmp_path: Path
) -> None:
    """Keras 2 turned a copy of what is in reverse, and named no modules."""
    options = {**LSTM, "recurrent_activation": "sigmoid", "go_backwards": with_module}
    del options["batch_input_shape"]
    module = {"module": "keras.layers", "registered_name": None} if with_module else {}
    config = sequential(
        layer("InputLayer", "x", batch_input_shape=SHAPE, dtype="float32", sparse=False),
        layer("Bidirectional", "both", layer={**layer("LSTM", "l", **options), **module}),
    )
    first, second = (lstm_weights() for _ in range(2))
    arrays = [*named("both/forward_l", *first), *named("both/backward_l", *second)]
    path = legacy_file(tmp_path / "old.h5", config, {"both": arrays})
    with warnings.catch_warnings(), pytest.raises((ValueError, TypeError)):  # noqa: PT012
        warnings.simplefilter("ignore")
        keras.models.load_model(path)
    assert [why in note for note in rnnshapes.inspect(path).file.notes] == [True]
    turned = (x[:, ::-1], x) if with_module else (x, x[:, ::-1])
    expected = [
        lstm_by_hand(part, *w, sigmoid) for part, w in zip(turned, (first, second), strict=True)
    ]
    np.testing.assert_allclose(output(path), np.concatenate(expected, axis=1), atol=1e-6)


def test_file_that_keras_3_loads_has_no_note(tmp_path: Path) -> None:
    """TensorFlow 2 wrote it: its input is a layer."""
    options = {k: v for k, v in LSTM.items() if k != "batch_input_shape"}
    config = sequential(
        layer("InputLayer", "x", batch_input_shape=SHAPE, dtype="float32", sparse=False),
        layer("LSTM", "lstm", **{**options, "recurrent_activation": "sigmoid"}),
    )
    path = legacy_file(
        tmp_path / "old.h5", config, {"lstm": named("lstm", *lstm_weights())}, "2.11.0"
    )
    assert keras.models.load_model(path).count_params() == rnnshapes.inspect(path).params
    assert rnnshapes.inspect(path).file.notes == ()


def test_old_options_that_change_output_are_unsupported(tmp_path: Path) -> None:
    """Normalization of another axis, and time as the first axis."""
    for number, (kind, config, weights) in enumerate(
        (
            ("BatchNormalization", {"mode": 1, "axis": -1}, [numbers(D)] * 4),
            (
                "SimpleRNN",
                {"units": 5, "time_major": True},
                [numbers(D, 5), numbers(5, 5), numbers(5)],
            ),
        )
    ):
        found = sequential(layer(kind, "a", batch_input_shape=SHAPE, **config))
        arrays = {"a": [(f"a/{place}:0", w) for place, w in enumerate(weights)]}
        path = legacy_file(tmp_path / f"{number}.h5", found, arrays)
        assert not rnnshapes.inspect(path).layers[0].supported


#: Samples, and the sizes of an image.
IMAGE = [None, 5, 5, 1]
#: How Keras 1 and 2 stored the kernel (k, D, F) of a Conv1D.
KERNEL_LAYOUTS = {
    "(k, D, F)": lambda kernel: kernel,
    "(k, 1, D, F)": lambda kernel: kernel[:, None],
    "(F, D, k, 1)": lambda kernel: kernel.transpose(2, 1, 0)[..., None],
}


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("layout", KERNEL_LAYOUTS)
def test_old_convolution_kernels_are_converted(layout: str, backend: str, tmp_path: Path) -> None:
    """Theano flips kernels along time."""
    kernel, bias = numbers(3, D, 5), numbers(5)
    stored = KERNEL_LAYOUTS[layout](kernel[::-1] if backend == "theano" else kernel)
    config = sequential(
        layer("Convolution1D", "c", nb_filter=5, filter_length=3, batch_input_shape=SHAPE),
        layer("LSTM", "l", units=2, recurrent_activation="sigmoid"),
    )
    weights = [numbers(5, 8), numbers(2, 8), numbers(8)]
    arrays = {"c": [("c_W", stored), ("c_b", bias)], "l": named("l", *weights)}
    path = legacy_file(tmp_path / "old.h5", config, arrays, "1.2.2", backend=backend)
    model = keras.Sequential([keras.Input((T, D)), keras.layers.Conv1D(5, 3), keras.layers.LSTM(2)])
    model.set_weights([kernel, bias, *weights])
    assert rnnshapes.inspect(path).file.agrees
    np.testing.assert_allclose(output(path), model.predict(x, verbose=0), atol=1e-6)


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
def test_old_image_kernels_are_converted(backend: str, tmp_path: Path) -> None:
    """Theano flips kernels; the kernel of a DepthwiseConv2D had another name."""
    kernel, depthwise, volume = numbers(2, 3, 1, 4), numbers(2, 1, 4, 1), numbers(2, 1, 3, 1, 2)
    options = {"padding": "valid", "use_bias": False, "data_format": "channels_last"}
    config = sequential(
        layer("Conv2D", "c", filters=4, kernel_size=[2, 3], **options, batch_input_shape=IMAGE),
        layer("DepthwiseConv2D", "d", kernel_size=[2, 1], **options),
        layer("Reshape", "s", target_shape=[3, 3, 4, 1]),
        layer("Conv3D", "v", filters=2, kernel_size=[2, 1, 3], **options),
        layer("Reshape", "r", target_shape=[2, 12]),
        layer("LSTM", "l", units=2, recurrent_activation="sigmoid"),
    )
    weights = [numbers(12, 8), numbers(2, 8), numbers(8)]
    step = -1 if backend == "theano" else 1
    arrays = {"c": [("kernel", kernel[::step, ::step])], "d": [("depthwise_kernel", depthwise)]}
    arrays |= {"s": [], "v": [("kernel", volume[::step, ::step, ::step])], "r": []}
    arrays["l"] = named("l", *weights)
    path = legacy_file(tmp_path / "old.h5", config, arrays, "2.2.4", backend=backend)
    model = keras.Sequential(
        [
            keras.Input(IMAGE[1:]),
            keras.layers.Conv2D(4, (2, 3), use_bias=False),
            keras.layers.DepthwiseConv2D((2, 1), use_bias=False),
            keras.layers.Reshape((3, 3, 4, 1)),
            keras.layers.Conv3D(2, (2, 1, 3), use_bias=False),
            keras.layers.Reshape((2, 12)),
            keras.layers.LSTM(2),
        ]
    )
    model.set_weights([kernel, depthwise, volume, *weights])
    images = np.random.default_rng(6).standard_normal((3, *IMAGE[1:]))
    assert rnnshapes.inspect(path).file.agrees
    traced = rnnshapes.trace(path, x=images, keras=False)
    np.testing.assert_allclose(traced.output, model.predict(images, verbose=0), atol=1e-6)


def test_two_layers_of_one_name_are_refused(tmp_path: Path) -> None:
    """A layer named a/d, and a layer d in a model a."""
    inner = {
        "class_name": "Sequential",
        "config": {"name": "a", "layers": [layer("Dense", "d", units=3)]},
    }
    config = sequential(
        layer("InputLayer", "x", batch_input_shape=SHAPE), inner, layer("Dense", "a/d", units=3)
    )
    path = legacy_file(tmp_path / "old.h5", config, {"a": []})
    with pytest.raises(InputError, match="'a/d'"):
        rnnshapes.inspect(path)
