"""Masks in the graph of a live model: those that follow from the layers, and others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import rnnshapes
from rnnshapes.load.inputs import full_array
from rnnshapes.session import open_session
from tests.helpers.files import saved
from tests.helpers.models import randomized, sequential

Model = keras.Model


def words() -> Any:
    """Four word numbers."""
    return keras.Input((4,), dtype="int32")


def embedded(x: Any) -> Any:
    """Four features for each word, with 0 masked."""
    return layers.Embedding(7, 4, mask_zero=True)(x)


def stacked() -> Model:
    """Return a model whose mask passes from layer to layer."""
    x = words()
    h = layers.LSTM(5, return_sequences=True)(embedded(x))
    return Model(x, layers.Dense(2)(layers.GRU(3)(h)))


def joined_masks() -> Model:
    """Return a model whose mask joins two, by comparisons and an or."""
    x = keras.Input((4, 3))
    h = layers.Masking(0.0)(x)
    h = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(h)
    h = layers.Concatenate()([h, layers.Masking(0.0)(x)])
    return Model(x, layers.Dense(2)(layers.GRU(3)(h)))


def nested() -> Model:
    """Return a model with a mask inside the model in it."""
    inside = words()
    encoder = Model(inside, layers.LSTM(5)(embedded(inside)), name="encoder")
    x = words()
    return Model(x, layers.Dense(2)(encoder(x)))


def translating(**options: Any) -> Model:
    """Keras passes on no mask beside initial states."""
    x = words()
    e = embedded(x)
    state = layers.Dense(5)(layers.GRU(3)(e))
    given = dict.fromkeys(options, e._keras_mask)
    return Model(x, layers.Dense(2)(layers.GRU(5)(e, initial_state=state, **given)))


def masked_by(make: Callable[[Any, Any], Any], *, by_name: bool = True) -> Model:
    """Return an LSTM with a mask that ``make`` computes from words and their features."""
    x = words()
    e = embedded(x)
    mask = make(x, e)
    h = layers.LSTM(5)(e, mask=mask) if by_name else layers.LSTM(5)(e, None, mask)
    return Model(x, layers.Dense(2)(h))


def loaded(model: Model) -> Model:
    """As it comes back from a file."""
    return type(model).from_config(model.get_config())


def itself(model: Model) -> Model:
    """As the user has built it."""
    return model


@pytest.mark.parametrize(
    "model",
    [
        stacked,
        joined_masks,
        nested,
        translating,
        lambda: translating(mask=True),
        lambda: masked_by(lambda x, e: ops.not_equal(x, 0)),
        lambda: masked_by(lambda x, e: ops.not_equal(x, 0), by_name=False),
        lambda: masked_by(lambda x, e: e._keras_mask, by_name=False),
    ],
    ids=["stacked", "joined", "nested", "states", "both", "own", "positional", "same"],
)
def test_mask_of_input_is_supported(model: Any) -> None:
    """However it came into the graph; after Keras has rebuilt it, each step is proven."""
    original = randomized(model())
    copies = [keras.models.clone_model(original), loaded(original)]
    for each in (original, *copies):
        assert all(layer.supported for layer in rnnshapes.inspect(each).layers)
    traced = rnnshapes.trace(original, N=3, keras=False)
    with open_session(original, N=3) as session:
        x = full_array(session.sources[0])
    np.testing.assert_allclose(traced.output, original(x), atol=1e-5)
    result = rnnshapes.verify(randomized(copies[1]), N=3)
    assert result.passed, result
    assert not result.unsupported


@pytest.mark.parametrize("again", [itself, loaded])
@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda x, e: ops.not_equal(x, 1),
        lambda x, e: ops.equal(x, 0),
        lambda x, e: ops.not_equal(ops.add(x, 1), 0),
        lambda x, e: ops.logical_not(ops.not_equal(x, 0)),
        lambda x, e: ops.any(ops.not_equal(e, 0), axis=-1),
        lambda x, e: ops.flip(ops.not_equal(x, 0), axis=1),
        lambda x, e: ops.not_equal(layers.Identity()(x), 0),
    ],
    ids=["value", "equal", "sum", "not", "features", "order", "tensor"],
)
def test_other_mask_is_unsupported(make: Any, by_name: bool, again: Any) -> None:
    """The report names the layer and the reason; its neighbours are supported."""
    result = rnnshapes.inspect(again(masked_by(make, by_name=by_name)))
    unknown = [layer.type for layer in result.layers if not layer.supported]
    assert unknown[-1] == "LSTM"
    assert "called with mask" in " ".join(repr(result).split())
    assert [layer.supported for layer in result.layers if layer.type in ("Embedding", "Dense")] == [
        True,
        True,
    ]


def test_mask_from_array_is_unsupported() -> None:
    """Operations with arrays are not compared."""
    mask = masked_by(lambda x, e: ops.not_equal(x, ops.zeros((4,), "int32")))
    assert [layer.type for layer in rnnshapes.inspect(mask).layers if not layer.supported][-1:] == [
        "LSTM"
    ]


@keras.saving.register_keras_serializable(package="tests")
class Scaled(layers.Layer):
    """A layer of the user's own, which passes the mask on."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, x: Any) -> Any:
        return x * 2.0


@pytest.mark.parametrize("again", [itself, keras.models.clone_model, loaded])
def test_mask_passes_through_own_layer(again: Any) -> None:
    """The own layer is unsupported, the one behind it is not."""
    x = words()
    model = again(Model(x, layers.Dense(2)(layers.LSTM(5)(Scaled()(embedded(x))))))
    unsupported = [la.type for la in rnnshapes.inspect(model).layers if not la.supported]
    assert [name.split(".")[-1] for name in unsupported] == ["Scaled"]


@pytest.mark.parametrize(("masked", "unroll"), [(True, True), (True, False), (False, True)])
def test_inspect_warns_of_unrolled_masks_in_reverse(masked: bool, unroll: bool) -> None:
    both = layers.Bidirectional(layers.GRU(5, return_sequences=True, unroll=unroll))
    model = sequential(*([layers.Masking()] if masked else []), both)
    warned = "unroll=False" in repr(rnnshapes.inspect(model))
    assert warned is (masked and unroll)


@pytest.mark.parametrize("unroll", [True, False])
def test_unrolled_mask_in_reverse_names_its_reason(unroll: bool, tmp_path: Path) -> None:
    """Keras zeroes the wrong steps. Once it does not, this fails: then drop the warning."""
    both = layers.Bidirectional(layers.GRU(5, return_sequences=True, unroll=unroll))
    model = randomized(sequential(layers.Masking(), both))
    for source in (model, saved(model, tmp_path / "model.keras")):
        result = rnnshapes.verify(source, N=3)
        assert result.passed is not unroll
        assert any("unroll=False" in reason for reason in result.diagnosis) is unroll


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_masked_vectors_are_unsupported() -> None:
    """Their mask marks whole samples, and no steps."""
    inner = sequential(layers.Masking(), layers.Dense(3), shape=(4,))
    for model in (
        sequential(
            layers.Masking(), layers.Dense(3), layers.RepeatVector(5), layers.GRU(2), shape=(4,)
        ),
        sequential(layers.TimeDistributed(inner), layers.GRU(2), shape=(6, 4)),
    ):
        result = rnnshapes.verify(randomized(model), N=3)
        assert result.passed, result
        assert list(result.unsupported) != []


def test_softmax_of_masked_vectors_is_unsupported() -> None:
    """Keras masks its columns, where there are as many as samples."""
    model = randomized(sequential(layers.Masking(), layers.Dense(3), layers.Softmax(), shape=(4,)))
    x = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")
    x[1] = 0
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    assert "softmax" in " ".join(result.unsupported)
