"""A live keras.Model is read as a network, or refused with a line that names the place."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import rnnshapes
from rnnshapes import InputError


def sequential(*parts: Any, shape: tuple = (6, 3)) -> keras.Sequential:
    """A model with this input."""
    return keras.Sequential([keras.Input(shape), *parts])


def functional(shape: tuple = (6, 3)) -> keras.Model:
    """The same graph, built as a functional model with names of its own."""
    x = keras.Input(shape)
    h = layers.SimpleRNN(5, name="memory")(x)
    return keras.Model(x, layers.Dense(2, name="answer")(h))


def test_a_model_shows_its_own_names_shapes_and_counts() -> None:
    """N is open; Keras agrees, without anything being built again."""
    result = rnnshapes.inspect(functional())
    assert [layer.name for layer in result.layers] == ["memory", "answer"]
    assert result.params == 57
    assert result.layers[0].input_shape == (None, 6, 3)
    assert result.macs is None
    assert result.keras is not None
    assert result.keras.agrees


def test_bytes_are_those_of_the_models_dtype() -> None:
    """float64 takes eight each."""
    result = rnnshapes.inspect(sequential(layers.SimpleRNN(5, dtype="float64")))
    assert result.bytes == 8 * result.params == 8 * 45
    assert result.layers[0].weights[0].dtype == "float64"
    assert result.layers[0].weights[0].bytes == 8 * 15


def test_a_head_behind_sequences_runs_at_every_step() -> None:
    """Its multiply-adds count T times."""
    model = sequential(layers.SimpleRNN(5, return_sequences=True), layers.Dense(2))
    assert rnnshapes.inspect(model, N=4).macs == 4 * 6 * (3 * 5 + 5 * 5 + 5 * 2)


def test_biases_activations_and_frozen_layers_are_read() -> None:
    """They change weights, equation and what is trainable."""
    model = sequential(
        layers.SimpleRNN(5, use_bias=False, activation="relu", trainable=False),
        layers.Dense(4, activation="sigmoid"),
        layers.Dense(2, use_bias=False),
    )
    result = rnnshapes.inspect(model)
    assert [layer.formula for layer in result.layers] == ["M(D+M)", "K1(M+1)", "K1·K2"]
    assert [layer.equations for layer in result.layers] == [
        (("h_t", "relu(x_t Wx + h_{t-1} Wh)"),),
        (("y0_t", "sigmoid(h_t W0 + b0)"),),
        (("y_hat_t", "y0_t W1"),),
    ]
    assert result.params - result.trainable == 5 * (3 + 5)
    assert result.keras.agrees


@pytest.mark.parametrize(
    "model",
    [
        functional,
        lambda: functional((None, 3)),
        lambda: sequential(layers.SimpleRNN(5, activation="relu"), layers.Dense(2)),
        lambda: sequential(
            layers.SimpleRNN(5), layers.Dense(4, activation="tanh"), layers.Dense(2)
        ),
        lambda: sequential(layers.Dense(4), layers.SimpleRNN(5, use_bias=False)),
        lambda: sequential(
            layers.SimpleRNN(5, return_sequences=True), layers.SimpleRNN(4), layers.Dense(2)
        ),
        lambda: sequential(layers.SimpleRNN(5, return_sequences=True), layers.Dense(2)),
        lambda: sequential(layers.SimpleRNN(5, unroll=True), layers.Dense(2)),
    ],
)
def test_models_are_traced_and_verified(model: Any) -> None:
    """With the user's own weights, biases not zero, and input."""
    model = model()
    rng = np.random.default_rng(4)
    model.set_weights([rng.standard_normal(w.shape) for w in model.get_weights()])
    x = rng.standard_normal((4, 6, 3))
    traced = rnnshapes.trace(model, x=x, show=("y", "h"))
    np.testing.assert_allclose(traced.output, model.predict(x, verbose=0), atol=1e-4)
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result


def test_a_model_with_open_steps_takes_them_from_the_caller() -> None:
    """Or from the data; without either the message says which size is missing."""
    model = functional((None, 3))
    assert rnnshapes.trace(model, N=2, T=4).y_hat.shape == (2, 4, 2)
    with pytest.raises(InputError, match=r"T .* is open in this model: give T"):
        rnnshapes.trace(model, N=1)


def test_without_keras_the_weights_of_a_live_model_still_serve() -> None:
    """Only Keras's own numbers are left out."""
    model = functional()
    alone = rnnshapes.trace(model, N=2, keras=False)
    both = rnnshapes.trace(model, N=2)
    assert alone.keras is None
    np.testing.assert_array_equal(alone.y_hat, both.y_hat)


class OwnRNN(layers.SimpleRNN):
    """A subclass may compute anything."""


def with_state() -> keras.Model:
    """The states do not start at zero."""
    x = keras.Input((6, 3))
    state = keras.ops.ones((1, 5))
    return keras.Model(x, layers.Dense(2)(layers.SimpleRNN(5)(x, initial_state=state)))


def with_two_inputs() -> keras.Model:
    """The second one is not used."""
    x = keras.Input((6, 3))
    return keras.Model([x, keras.Input((4,))], layers.SimpleRNN(5)(x))


def with_lora() -> keras.Model:
    """More arrays stand beside the kernel."""
    model = sequential(layers.SimpleRNN(5), layers.Dense(2))
    model.layers[-1].enable_lora(2)
    return model


def stateful() -> keras.Model:
    """The state of one call is the start of the next."""
    x = keras.Input(batch_shape=(2, 6, 3))
    return keras.Model(x, layers.SimpleRNN(5, stateful=True)(x))


def tanh(z: Any) -> Any:
    """Not what its name says."""
    return keras.ops.relu(z)


def subclassed() -> keras.Model:
    """Built, but Keras knows no order of its layers."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = layers.SimpleRNN(5)

        def call(self, x: Any) -> Any:
            return self.rnn(x)

    model = Own()
    model(np.zeros((1, 6, 3), "float32"))
    return model


def branching() -> keras.Model:
    """The states are used twice."""
    x = keras.Input((6, 3))
    h = layers.SimpleRNN(5)(x)
    return keras.Model(x, [layers.Dense(2)(h), layers.Dense(3)(h)])


def skipping() -> keras.Model:
    """A layer joins two paths."""
    x = keras.Input((6, 3))
    h = layers.SimpleRNN(5)(x)
    return keras.Model(x, layers.Dense(2)(layers.Concatenate()([h, h])))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: sequential(layers.Conv1D(5, 1)), r"layer 0 'conv.*' is of type Conv1D; supported"),
        (
            lambda: sequential(layers.SimpleRNN(5), layers.Dropout(0.1)),
            r"layer 1 'dropout.*Dropout",
        ),
        (lambda: sequential(OwnRNN(5)), r"tests\.test_live\.OwnRNN"),
        (lambda: sequential(layers.SimpleRNN(5, go_backwards=True)), "go_backwards=True"),
        (lambda: sequential(layers.SimpleRNN(5, activation="gelu")), "activation 'gelu'"),
        (lambda: sequential(layers.Dense(5)), "no recurrent layer"),
        (lambda: keras.Sequential([layers.SimpleRNN(5)]), "build it"),
        (lambda: sequential(layers.SimpleRNN(5, dtype="float16")), "float16"),
        (lambda: sequential(layers.SimpleRNN(5, dtype="mixed_float16")), "float16, float32"),
        (branching, "does not follow the one before it"),
        (skipping, "Concatenate"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)]), r"\(None, 4\)"),
        (lambda: "model.keras", "a keras.Model was expected, got str"),
        (with_state, "called with initial_state"),
        (with_two_inputs, "one \\(N, T, D\\)"),
        (with_lora, "has it LoRA"),
        (stateful, "stateful=True"),
        (lambda: sequential(layers.SimpleRNN(5, zero_output_for_mask=True)), "zero_output_for_m"),
        (lambda: keras.Sequential, "got the class Sequential"),
        (subclassed, "no graph of layers"),
        (lambda: sequential(layers.SimpleRNN(5, activation=lambda z: z)), "function of your own"),
        (lambda: sequential(layers.SimpleRNN(5, activation=tanh)), "of your own, 'tanh'"),
    ],
)
def test_what_is_not_understood_is_named(model: Any, message: str) -> None:
    """Never a wrong answer for a layer or an option that changes the computation."""
    made = model()
    for function in (rnnshapes.inspect, rnnshapes.trace, rnnshapes.verify):
        with pytest.raises(InputError, match=message):
            function(made)


def test_sizes_that_the_model_fixes_cannot_be_given_otherwise() -> None:
    """And data has to have the model's shape."""
    model = functional()
    with pytest.raises(InputError, match="M is fixed by the model"):
        rnnshapes.inspect(model, M=7)
    with pytest.raises(InputError, match="T is 6 in this model, not 7"):
        rnnshapes.inspect(model, T=7)
    with pytest.raises(InputError, match=r"\(1, 6, 4\), but the model takes \(\?, 6, 3\)"):
        rnnshapes.trace(model, x=np.zeros((6, 4)))
