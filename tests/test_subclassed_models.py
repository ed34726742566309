"""Live models that are classes: the calls of their layers are recorded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnshapes
from rnnshapes import InputError, UnsupportedError
from rnnshapes.render.document import Table
from rnnshapes.render.documents import inspection
from rnnshapes.render.view import View
from tests.helpers.commands import mentioning
from tests.helpers.subclassed import (
    Attentive,
    ByNumbers,
    ByStep,
    Classifier,
    Counting,
    Deceiver,
    Feedback,
    LastStep,
    OtherMask,
    Tagger,
    Translator,
    subclassed,
)

_STEPS = " ".join(f"get_item_{t}" for t in range(1, 6))
#: Names of all layers, the unsupported ones marked.
LAYERS = {
    Tagger: "embed encoder/gru encoder/dense concatenate encoder_1/gru encoder_1/dense mean out",
    Classifier: "lstm get_item subtract out ?add ?never ?own",
    Translator: "?scaled encoder decoder ?double out",
    ByStep: f"get_item dense {_STEPS} stack lstm",
    Feedback: "rnn out ?cell stack",
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_of_class_is_shown(kind: type[keras.Model]) -> None:
    model = subclassed(kind)
    result = rnnshapes.inspect(model)
    names = [f"{'' if layer.supported else '?'}{layer.name}" for layer in result.layers]
    assert " ".join(names) == LAYERS[kind]
    assert result.params == model.count_params()
    assert result.keras.agrees


@pytest.mark.parametrize(
    ("kind", "unsupported"),
    [(Tagger, []), (Translator, ["scaled", "double"]), (Feedback, ["cell", "cell:2"])],
)
def test_calls_of_layers_are_verified(kind: type[keras.Model], unsupported: list[str]) -> None:
    result = rnnshapes.verify(subclassed(kind), N=3)
    assert result.passed, result
    assert [text.split()[0] for text in result.unsupported] == unsupported


def test_weights_without_call_have_no_tensor() -> None:
    result = rnnshapes.inspect(subclassed(Classifier))
    tables = inspection.document(result, View(parts=frozenset({"steps"})))
    rows = [row for table in tables if isinstance(table, Table) for row in table.rows]
    assert rows
    assert all(row.cells[0] for row in rows)


def test_trace_of_class_equals_predict() -> None:
    """For another number of steps than that on which it was built."""
    model = subclassed(LastStep)
    x = np.random.default_rng(3).standard_normal((4, 9, 3))
    result = rnnshapes.trace(model, x=x, show="h")
    np.testing.assert_allclose(result.output, model.predict(x, verbose=0), atol=1e-5)
    assert result.layers[0].states["h"].shape == (4, 9, 5)
    assert rnnshapes.inspect(model).formula == "4M(D+M+1) + K(M+1)"


def test_operations_outside_keras_come_from_keras() -> None:
    """Such a row names its sources, and has the mask that a layer around it gives."""
    model = subclassed(Attentive)
    x = np.random.default_rng(3).standard_normal((3, 8, 3))
    x[1, 5:] = 0.0
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result
    assert [text.split()[0] for text in result.unsupported] == ["operations", "operations_1"]
    assert "gru: mask" in [check.name for check in result.checks]
    sources = {layer.name: layer.sources for layer in rnnshapes.inspect(model).layers}
    assert sources["operations"] == ("mask", "shifted/dense")
    assert sources["operations_1"] == ("gru", "score")


@pytest.mark.parametrize("kind", [LastStep, Attentive])
def test_recording_leaves_model_unchanged(kind: type[keras.Model]) -> None:
    model = subclassed(kind)
    layers = model._flatten_layers()
    call = keras.layers.Layer.__call__
    before = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    rnnshapes.inspect(model)
    after = [(set(vars(la)), len(la._inbound_nodes), len(la._outbound_nodes)) for la in layers]
    assert after == before
    assert keras.layers.Layer.__call__ is call


def test_weights_that_code_assigns_are_kept() -> None:
    """By the recording, and by each run in Keras."""
    model = subclassed(Counting)
    before = [weight.tolist() for weight in model.get_weights()]
    rnnshapes.inspect(model)
    assert [weight.tolist() for weight in model.get_weights()] == before
    assert rnnshapes.trace(model, N=2).keras is not None
    assert [weight.tolist() for weight in model.get_weights()] == before


def test_code_that_deceives_the_recording_fails() -> None:
    result = rnnshapes.verify(subclassed(Deceiver), N=2)
    assert [check.name for check in result.checks if not check.passed] == ["predict: own output"]


def test_steps_that_code_needs_are_fixed() -> None:
    with pytest.raises(InputError, match=mentioning("T", "6", "9")):
        rnnshapes.inspect(subclassed(ByStep), T=9)


def test_code_that_needs_numbers_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="ByNumbers"):
        rnnshapes.inspect(subclassed(ByNumbers))


def test_call_of_two_arguments_is_refused() -> None:
    class Decoder(keras.Model):
        def call(self, x, state):
            return x + state

    model = Decoder()
    model(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(UnsupportedError, match=mentioning("2", "x, state")):
        rnnshapes.inspect(model)


def test_mask_that_a_layer_adds_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="mask"):
        rnnshapes.inspect(subclassed(OtherMask))


def test_class_that_was_never_called_is_refused() -> None:
    with pytest.raises(InputError, match=mentioning("Input((T, D))")):
        rnnshapes.inspect(LastStep())


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_layer_may_be_called_inputs_or_outputs(name: str) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = keras.layers.GRU(4, name="rnn")
            setattr(self, name, keras.layers.Dense(2, name="dense"))

        def call(self, x):
            return getattr(self, name)(self.rnn(x))

    model = Own()
    model(np.zeros((2, 6, 3), "float32"))
    assert [layer.name for layer in rnnshapes.inspect(model).layers] == ["rnn", "dense"]


def test_reasons_of_uncalled_weights_differ() -> None:
    notes = {layer.name: layer.notes for layer in rnnshapes.inspect(subclassed(Classifier)).layers}
    assert notes["never"] != notes["own"]
