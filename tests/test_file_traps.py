"""Saved models that are easy to misread: each has once been, and Keras says what is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from tests.helpers.files import layer, legacy_file, numbers, saved, sequential
from tests.helpers.models import randomized

pytestmark = pytest.mark.usefixtures("eager")

T, D = 6, 4


def on_x(make: Any) -> keras.Model:
    """A model of one input."""
    x = keras.Input((T, D))
    return keras.Model(x, make(x))


def frozen_half(*, backward: bool) -> keras.Model:
    """HDF5 has first what is trained, whichever direction that is."""
    both = la.Bidirectional(la.LSTM(5))
    model = on_x(lambda x: la.Dense(2)(both(x)))
    (both.backward_layer if backward else both.forward_layer).trainable = False
    return model


def frozen_cell(first: type) -> keras.Model:
    """The same for the cells of a stack."""
    return on_x(la.RNN([first(5, trainable=False), la.LSTMCell(5)]))


def inside(model: keras.Model) -> keras.Model:
    """A model in a model."""
    return on_x(lambda x: la.Dense(3)(model(x)))


def from_dictionary() -> keras.Model:
    """Inputs by name, in another order than the inner model takes them."""
    z, a = keras.Input((T, D), name="zeta"), keras.Input((T, D), name="alpha")
    inner = keras.Model([z, a], la.Concatenate()([la.LSTM(3)(z), la.GRU(2)(a)]))
    p, q = keras.Input((T, D)), keras.Input((T, D))
    return keras.Model([p, q], la.Dense(2)(inner({"zeta": p, "alpha": q})))


def other_backward() -> keras.Model:
    """The backward layer is of another class than the forward one."""
    back = la.RNN([la.LSTMCell(3), la.GRUCell(5)], go_backwards=True)
    return on_x(la.Bidirectional(la.LSTM(5), backward_layer=back))


def odd_names() -> keras.Model:
    """Names that also stand in the paths of weights."""
    inner = keras.Sequential(
        [
            keras.Input((T, D)),
            la.LSTM(3, name="enc", return_sequences=True),
            la.Dense(2, name="kernel"),
            la.Dense(3, name="lstm_cell"),
            la.Dense(4, name="model_weights"),
        ],
        name="enc",
    )
    return on_x(lambda x: la.GRU(2)(inner(x)))


def masked_inside() -> keras.Model:
    """A mask that comes from outside goes through the inner model."""
    y = keras.Input((T, D))
    inner = keras.Model(y, la.LSTM(3)(y))
    return on_x(lambda x: la.Dense(2)(inner(la.Masking()(x))))


RIGHT = {
    "forward frozen": lambda: frozen_half(backward=False),
    "backward frozen": lambda: frozen_half(backward=True),
    "first cell frozen": lambda: frozen_cell(la.LSTMCell),
    "first cell frozen, another": lambda: frozen_cell(la.GRUCell),
    "frozen half inside": lambda: inside(frozen_half(backward=False)),
    "both halves frozen": lambda: on_x(la.Bidirectional(la.LSTM(5, trainable=False))),
    "frozen at each step": lambda: on_x(
        lambda x: la.GRU(3)(la.TimeDistributed(la.Dense(5, trainable=False))(x))
    ),
    "from a dictionary": from_dictionary,
    "other backward layer": other_backward,
    "odd names": odd_names,
    "masked from outside": masked_inside,
}


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("form", [".keras", ".h5", "live"])
@pytest.mark.parametrize("name", RIGHT)
def test_counts_and_answers_are_those_of_keras(name: str, form: str, tmp_path: Path) -> None:
    """From the file and from the model itself."""
    model = randomized(RIGHT[name]())
    given = model if form == "live" else saved(model, tmp_path / f"model{form}")
    result = rnnshapes.inspect(given)
    assert all(layer.supported for layer in result.layers)
    assert result.agrees
    assert result.params == model.count_params()
    assert result.trainable == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    rng = np.random.default_rng(3)
    xs = [rng.normal(size=(3, T, D)).astype("float32") for _ in model.inputs]
    xs[0][:, 4:] = 0
    x = xs if len(xs) > 1 else xs[0]
    answers = model.predict(x, verbose=0)
    np.testing.assert_allclose(rnnshapes.trace(given, x=x).output, answers, atol=1e-5)
    assert rnnshapes.verify(given, x=x).passed


def masked_by_hand() -> keras.Model:
    """An inner model is handed a mask of another tensor."""
    y = keras.Input((T, D))
    inner = keras.Model(y, la.LSTM(3)(y), name="inner")
    x, other = keras.Input((T, D)), keras.Input((T, D))
    masked = la.Masking()(other)
    parts = [inner(x, mask=masked._keras_mask), la.GRU(2)(masked)]
    return keras.Model([x, other], la.Dense(2)(la.Concatenate()(parts)))


@keras.saving.register_keras_serializable(package="tests", name="LSTM")
class OwnLSTM(la.LSTM):
    """It has the name of Keras's own, and computes something else."""

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return super().call(*args, **kwargs) * 2


def averaged() -> keras.Model:
    """An operation with the name of a layer."""
    steps = la.LSTM(4, return_sequences=True)
    return on_x(lambda x: la.Dense(3)(keras.ops.average(steps(x), axis=1)))


NOT_DERIVED = {
    "masked by hand": (masked_by_hand, "inner"),
    "own in both directions": (
        lambda: on_x(la.Bidirectional(OwnLSTM(3), name="both")),
        "both",
    ),
    "own at each step": (
        lambda: on_x(lambda x: la.GRU(2)(la.TimeDistributed(OwnDense(3), name="each")(x))),
        "each",
    ),
    "average": (averaged, "average"),
}


@keras.saving.register_keras_serializable(package="tests", name="Dense")
class OwnDense(la.Dense):
    """It has the name of Keras's own, and computes something else."""

    def call(self, x: Any) -> Any:
        return super().call(x) * 2


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("name", NOT_DERIVED)
def test_what_only_looks_known_is_not_derived(name: str, form: str, tmp_path: Path) -> None:
    """It is shown with its arrays, and nothing is computed from it."""
    make, where = NOT_DERIVED[name]
    model = randomized(make())
    path = saved(model, tmp_path / f"model{form}")
    result = rnnshapes.inspect(path)
    unknown = [found.name for found in result.layers if not found.supported]
    assert any(found.startswith(where) for found in unknown)
    assert result.params == model.count_params()
    with pytest.raises(InputError, match=where):
        rnnshapes.trace(path, keras=False)


def test_a_layer_that_stands_in_two_models_counts_once(tmp_path: Path) -> None:
    """Keras writes its arrays once, and its config twice."""
    shared = la.Dense(4)
    y = keras.Input((T, D))
    inner = keras.Model(y, shared(y))
    model = randomized(on_x(lambda x: la.GRU(3)(inner(shared(x)))))
    result = rnnshapes.inspect(saved(model, tmp_path / "model.keras"))
    assert result.agrees
    assert result.params == model.count_params() == rnnshapes.inspect(model).params


def test_an_embedding_with_lora_takes_its_input_all_the_same(tmp_path: Path) -> None:
    """It is not derived, so nothing is said of its indices."""
    x = keras.Input((T,))
    table = la.Embedding(11, 3)
    model = keras.Model(x, la.LSTM(2)(table(x)))
    table.enable_lora(2)
    path = saved(randomized(model), tmp_path / "model.keras")
    with pytest.raises(InputError, match="embedding"):
        rnnshapes.trace(path, x=np.ones((2, T)), keras=False)


# --- Keras 1 and 2 ------------------------------------------------------------------------------

SHAPE = [None, T, D]


def test_options_of_old_that_change_the_answer_are_not_overlooked(tmp_path: Path) -> None:
    """Batches of another axis, and time in front, are not derived."""
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


@pytest.mark.parametrize(("backend", "old"), [("theano", False), ("tensorflow", True)])
def test_kernels_of_a_convolution_are_turned_as_they_were_meant(
    tmp_path: Path, backend: str, old: bool
) -> None:
    """Theano turned them over; the first Keras 1 had the filters in front."""
    kernel, bias = numbers(3, D, 5), numbers(5)
    stored = kernel[::-1] if backend == "theano" else kernel
    stored = stored.transpose(2, 1, 0)[..., None] if old else stored
    config = sequential(
        layer("Convolution1D", "c", nb_filter=5, filter_length=3, batch_input_shape=SHAPE),
        layer("LSTM", "l", units=2, recurrent_activation="sigmoid"),
    )
    weights = [numbers(5, 8), numbers(2, 8), numbers(8)]
    arrays = {
        "c": [("c_W", stored), ("c_b", bias)],
        "l": [("kernel:0", weights[0]), ("recurrent_kernel:0", weights[1]), ("bias:0", weights[2])],
    }
    path = legacy_file(tmp_path / "old.h5", config, arrays, "2.0.0", backend=backend)
    model = keras.Sequential([keras.Input((T, D)), la.Conv1D(5, 3), la.LSTM(2)])
    model.set_weights([kernel, bias, *weights])
    x = np.random.default_rng(1).normal(size=(2, T, D)).astype("float32")
    found = rnnshapes.trace(path, x=x, keras=False).output
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-6)


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
    with pytest.raises(InputError, match="two layers of its config are named 'a/d'"):
        rnnshapes.inspect(path)
