"""Live models: read as a network, or refused with one line."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import rnnshapes
from rnnshapes import InputError, UnsupportedError, reference
from rnnshapes.load.inputs import full_array
from rnnshapes.session import open_session
from tests.helpers.models import dtype_policy, randomized


def sequential(*parts: Any, shape: tuple = (6, 3)) -> keras.Sequential:
    """Return a model with this input."""
    return keras.Sequential([keras.Input(shape), *parts])


def functional(shape: tuple = (6, 3)) -> keras.Model:
    """Return a functional model with names of its own."""
    x = keras.Input(shape)
    h = layers.SimpleRNN(5, name="memory")(x)
    return keras.Model(x, layers.Dense(2, name="answer")(h))


def test_live_model_shows_names_shapes_and_counts() -> None:
    """N is 1; they are those of Keras, which builds nothing."""
    result = rnnshapes.inspect(functional())
    assert [layer.name for layer in result.layers] == ["memory", "answer"]
    assert result.params == 57
    assert result.layers[0].input_shape == (1, 6, 3)
    assert result.macs == 6 * (3 * 5 + 5 * 5) + 5 * 2
    assert result.keras is not None
    assert result.keras.agrees


def test_a_live_model_is_run_itself() -> None:
    """Keras builds another one only of a network that has none, and once."""
    model = functional()
    with open_session(model) as session:
        assert session.keras_model(session.weights()) is model
    with open_session(M=5) as session:
        built = session.keras_model(session.weights())
        assert session.keras_model(session.weights()) is built


def test_bytes_follow_the_dtype() -> None:
    """float64 takes eight for each number."""
    result = rnnshapes.inspect(sequential(layers.SimpleRNN(5, dtype="float64")))
    assert result.bytes == 8 * result.params == 8 * 45
    assert result.layers[0].weights[0].dtype == "float64"
    assert result.layers[0].weights[0].bytes == 8 * 15


def test_head_behind_sequences_counts_every_step() -> None:
    """Its multiply-adds count T times."""
    model = sequential(layers.SimpleRNN(5, return_sequences=True), layers.Dense(2))
    assert rnnshapes.inspect(model, N=4).macs == 4 * 6 * (3 * 5 + 5 * 5 + 5 * 2)


def test_options_of_layers_are_read() -> None:
    """Bias, activation and trainable change weights, equations and counts."""
    model = sequential(
        layers.SimpleRNN(5, use_bias=False, activation="relu", trainable=False),
        layers.Dense(4, activation="sigmoid"),
        layers.Dense(2, use_bias=False),
    )
    result = rnnshapes.inspect(model)
    assert [layer.formula for layer in result.layers] == ["M(D+M)", "K1(M+1)", "K1·K2"]
    assert [[str(equation) for equation in layer.equations] for layer in result.layers] == [
        ["h_t = relu(x_t Wx + h_{t-1} Wh)"],
        ["y0 = sigmoid(h_{T-1} W0 + b0)"],
        ["y_hat = y0 W1"],
    ]
    assert result.params - result.trainable == 5 * (3 + 5)
    assert result.keras.agrees


@pytest.mark.parametrize("shape", [(6, 3), (None, 3)])
def test_live_model_is_traced_and_verified(shape: tuple) -> None:
    """With the weights of the model, and given x."""
    model = randomized(functional(shape))
    x = np.random.default_rng(4).standard_normal((4, 6, 3))
    traced = rnnshapes.trace(model, x=x, show=("y", "h"))
    np.testing.assert_allclose(traced.output, model.predict(x, verbose=0), atol=1e-4)
    result = rnnshapes.verify(model, x=x)
    assert result.passed, result


def test_inputs_of_a_dictionary_keep_their_names() -> None:
    """Keras orders them by key, whatever their shapes."""
    b, a = keras.Input((6, 3), name="b"), keras.Input((6, 3), name="a")
    joined = layers.Subtract()([layers.LSTM(4)(b), layers.GRU(4)(a)])
    made = randomized(keras.Model({"b": b, "a": a}, layers.Dense(2)(joined)))
    rng = np.random.default_rng(4)
    x = {name: rng.standard_normal((3, 6, 3)).astype("f") for name in ("b", "a")}
    traced = rnnshapes.trace(made, x=x)
    expected = made.predict(x, verbose=0)
    np.testing.assert_array_equal(traced.output_keras, expected)
    np.testing.assert_allclose(traced.output, expected, atol=1e-5)


def test_open_steps_come_from_caller() -> None:
    """Or from the data; without either the message names the missing size."""
    model = functional((None, 3))
    assert rnnshapes.trace(model, N=2, T=4).y_hat.shape == (2, 4, 2)
    with pytest.raises(InputError, match=r"T .* is unknown in this model: give T"):
        rnnshapes.trace(model, N=1)


def test_trace_without_keras_uses_live_weights() -> None:
    """Only the numbers of Keras are missing."""
    model = functional()
    alone = rnnshapes.trace(model, N=2, keras=False)
    both = rnnshapes.trace(model, N=2)
    assert alone.keras is None
    np.testing.assert_array_equal(alone.y_hat, both.y_hat)


class OwnRNN(layers.SimpleRNN):
    """A subclass may compute anything."""


def with_state() -> keras.Model:
    """Return a model whose states start from a constant."""
    x = keras.Input((6, 3))
    state = keras.ops.ones((1, 5))
    return keras.Model(x, layers.Dense(2)(layers.SimpleRNN(5)(x, initial_state=state)))


def with_mask() -> keras.Model:
    """Return a model with a mask of the user's own."""
    x = keras.Input((6, 3))
    mask = keras.Input((6,), dtype="bool")
    return keras.Model([x, mask], layers.Dense(2)(layers.SimpleRNN(5)(x, mask=mask)))


def with_lora() -> keras.Model:
    """More arrays stand beside the kernel."""
    model = sequential(layers.SimpleRNN(5), layers.Dense(2))
    model.layers[-1].enable_lora(2)
    return model


def tanh(z: Any) -> Any:
    """Not what its name says."""
    return keras.ops.relu(z)


class Padded(layers.ZeroPadding1D):
    """A layer of the user's own, which changes the number of steps."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: keras.Sequential([layers.SimpleRNN(5)]), "build it"),
        (
            lambda: sequential(layers.SimpleRNN(5, dtype="float64"), layers.Dense(2)),
            "the weights of this model are of float32, float64",
        ),
        (lambda: 5, "a keras.Model was expected, got int"),
        (lambda: keras.Sequential, "got the class Sequential"),
    ],
)
def test_model_without_graph_is_refused(model: Any, message: str) -> None:
    """By all three functions."""
    made = model()
    for function in (rnnshapes.inspect, rnnshapes.trace, rnnshapes.verify):
        with pytest.raises(InputError, match=message):
            function(made)


@pytest.mark.parametrize(
    ("model", "name", "why"),
    [
        (
            lambda: sequential(OwnRNN(5), layers.Dense(2)),
            "own_rnn",
            "OwnRNN",
        ),
        (lambda: sequential(Padded(1), layers.SimpleRNN(5)), "padded", "Padded"),
        (lambda: sequential(layers.SimpleRNN(5, activation="glu")), "simple", "activation='glu'"),
        (
            lambda: sequential(layers.SimpleRNN(5, activation=lambda z: z)),
            "simple",
            "a custom function",
        ),
        (lambda: sequential(layers.SimpleRNN(5, activation=tanh)), "simple", "a custom function"),
        (lambda: sequential(layers.Conv1D(6, 1, groups=3), layers.GRU(2)), "conv1d", "groups=3"),
        (with_state, "simple_rnn", "called with initial_state"),
        (with_mask, "simple_rnn", "called with mask"),
        (with_lora, "dense", "has it LoRA"),
    ],
)
def test_unsupported_layer_is_shown_with_reason(model, name, why) -> None:
    """With its weights; the count is right, and other layers have equations."""
    made = model()
    result = rnnshapes.inspect(made)
    (unknown,) = [layer for layer in result.layers if not layer.supported]
    assert unknown.name.startswith(name)
    assert unknown.equations == ()
    assert result.params == made.count_params()
    assert unknown.params == sum(
        int(np.prod(v.shape)) for v in made.get_layer(unknown.name).weights
    )
    assert result.keras.agrees
    shown = " ".join(repr(result).split())
    assert unknown.name in shown
    assert why in shown
    assert all(layer.equations for layer in result.layers if layer.supported)


def test_states_inside_time_distributed_start_nothing() -> None:
    """Only the reason why the layer is not supported mentions its initial states."""
    x = keras.Input((5, 3))
    _, *states = layers.LSTM(4, return_state=True)(x)
    inner = keras.Model(x, layers.LSTM(4)(x, initial_state=states))
    made = randomized(sequential(layers.TimeDistributed(inner), layers.GRU(2), shape=(6, 5, 3)))
    result = rnnshapes.inspect(made)
    assert [layer.supported for layer in result.layers] == [False, False, True]
    notes = [(note.topic, "initial state" in note.text) for note in result.layers[1].notes]
    assert notes == [("warning", True)]


def test_layers_behind_unsupported_one_are_verified() -> None:
    """From the numbers that Keras has there; the report names the unsupported layer."""
    model = randomized(sequential(layers.LSTM(5, return_sequences=True), Padded(1), layers.GRU(4)))
    traced = rnnshapes.trace(model, N=2, show="h")
    assert [layer.states["h"].shape for layer in traced.layers] == [(2, 6, 5), (2, 8, 4)]
    np.testing.assert_allclose(traced.output, traced.output_keras, atol=1e-5)
    assert "layer 'padded" in repr(traced)
    result = rnnshapes.verify(model, N=2)
    assert result.passed
    assert result.unsupported
    assert "Padded is not supported" in " ".join(repr(result).split())
    verdict = repr(result).splitlines()[0]
    assert (verdict.split()[0], "padded" in verdict) == ("VERIFIED", True)
    assert not any(check.name.startswith("padded") for check in result.checks)
    with pytest.raises(UnsupportedError, match=r"layer 'padded.*' \(.*Padded\) is not"):
        rnnshapes.trace(model, keras=False)
    with pytest.raises(UnsupportedError, match=r"layer 'padded.*' \(.*Padded\) is not"):
        rnnshapes.verify(model, against=np.zeros((2, 8, 4)))


@pytest.mark.parametrize(
    ("change", "large", "passed"), [(1e-6, 1.0, True), (0.1, 1.0, False), (0.1, 1e6, False)]
)
def test_unsupported_layer_may_round_otherwise_in_predict(change, large, passed) -> None:
    class Unsteady(layers.Layer):
        """The first sample has large numbers, the second one changes from call to call."""

        calls = 0

        def call(self, x):
            type(self).calls += 1
            return keras.ops.stack([x[0] * large, x[1] * (1 + change * self.calls)])

    parts = (layers.LSTM(5, return_sequences=True), Unsteady(), layers.Dense(3))
    result = rnnshapes.verify(randomized(sequential(*parts)), N=2)
    assert [check.passed for check in result.checks if check.name.startswith("predict")] == [passed]


def test_random_numbers_explain_failure() -> None:
    noisy = layers.Lambda(lambda v: 1e-3 * v * (1 + 0.1 * keras.random.normal(keras.ops.shape(v))))
    result = rnnshapes.verify(randomized(sequential(layers.LSTM(5), layers.Dense(3), noisy)), N=2)
    assert [check.name for check in result.checks if not check.passed] == ["predict: own output"]
    assert [reason.partition(":")[0] for reason in result.diagnosis] == ["predict"]


def test_row_of_unsupported_weights_has_no_formula() -> None:
    """Words stand in its place."""

    class Weighted(layers.Layer):
        def build(self, shape):
            self.factors = self.add_weight(shape=(shape[-1], 4), name="factors")

        def call(self, x):
            return x @ self.factors

    result = rnnshapes.inspect(sequential(layers.LSTM(5), Weighted(name="own"), layers.Dense(2)))
    (row,) = (line for line in repr(result).splitlines() if line.startswith("? own"))
    assert re.search(r"\)  +[a-z][a-z ]+  20$", row)


def test_sizes_keep_names_behind_unsupported_layer() -> None:
    double = layers.Lambda(lambda v: v[:, ::2] * 2.0, output_shape=(3, 5))
    parts = (layers.LSTM(5, return_sequences=True), double, layers.GRU(4), layers.Dense(2))
    result = rnnshapes.inspect(sequential(*parts))
    assert result.layers[1].output_dims == ("N", "3", "M1")
    assert result.formula == "4M1(D+M1+1) + 3M2(M1+M2+2) + K(M2+1)"


def test_open_steps_keep_their_name_behind_unsupported_layer(monkeypatch) -> None:
    """Where they are as many for two numbers of steps; a third may show that they are not."""
    first_four = layers.Lambda(lambda v: v[:, :4])
    model = randomized(sequential(first_four, layers.SimpleRNN(5), shape=(None, 3)))
    assert rnnshapes.inspect(model).layers[0].output_dims == ("N", "T'", "D")
    assert rnnshapes.trace(model, T=6, show="h").layers[0].states["h"].shape == (1, 4, 5)
    monkeypatch.setattr(reference, "_STEPS", (2, 3))
    assert rnnshapes.inspect(model).layers[0].output_dims == ("N", "T", "D")
    with pytest.raises(UnsupportedError, match=r"returns \(4, 3\) .* and not \(6, 3\)"):
        rnnshapes.trace(model, T=6)


@pytest.mark.parametrize("number", [0, 1])
def test_steps_behind_unsupported_layer_are_those_of_its_first_input(number: int) -> None:
    class OneOfTwo(layers.Layer):
        def call(self, xs):
            return xs[number] * 2

    x, y = (keras.Input((None, 3)) for _ in range(2))
    result = rnnshapes.inspect(keras.Model([x, y], layers.SimpleRNN(5)(OneOfTwo()([x, y]))))
    assert result.layers[0].output_dims[1] == ("T1", "T'")[number]


@pytest.mark.parametrize("factor", [1, 2])
def test_layer_that_makes_samples_is_unsupported(factor: int) -> None:
    repeated = layers.Lambda(lambda v: keras.ops.concatenate([v] * factor, axis=0))
    model = randomized(sequential(layers.SimpleRNN(5), repeated))
    if factor == 1:
        assert rnnshapes.verify(model, N=3).passed
    else:
        with pytest.raises(UnsupportedError, match=r"\(6, 5\) for 3 samples"):
            rnnshapes.verify(model, N=3)


def test_code_may_accept_only_some_lengths() -> None:
    """T stays open, though most lengths are refused."""

    class ByFours(layers.Layer):
        def call(self, x):
            if x.shape[1] is not None and x.shape[1] % 4:
                raise ValueError("not four")
            return 2 * x

    model = randomized(sequential(ByFours(), layers.SimpleRNN(5), shape=(None, 3)))
    assert rnnshapes.inspect(model).layers[0].output_dims == ("N", "T'", "D")
    assert rnnshapes.trace(model, T=8, show="h").layers[0].states["h"].shape == (1, 8, 5)


def test_another_run_is_compared_by_magnitude() -> None:
    """Rounding makes no model random; another shape, NaN, or a hundredth of the largest does."""
    with open_session(N=3, T=4, D=3, M=5, K=2, return_sequences=True) as session:
        weights = session.weights()
        model, (y_hat,) = session.keras_model(weights), session.keras_outputs(weights).outputs
        xs = [full_array(source) for source in session.sources]
        largest = np.abs(y_hat).max()
        for changed, expected in (
            (y_hat, False),
            (y_hat + np.float32(0.009 * largest), False),
            (y_hat + np.float32(0.02 * largest), True),
            (y_hat[:, 1:], True),
            (np.where(y_hat == y_hat[2, 1, 1], np.nan, y_hat), True),
            (np.where(y_hat == y_hat[2, 1, 1], np.inf, y_hat), True),
        ):
            given = (changed.astype("float32"),)
            assert reference.is_random(model, session.network, xs, given) == expected
        xs[0][1, 2] = np.nan
        again = (model.predict(xs[0], verbose=0),)
        assert np.isnan(again[0][1]).any()
        assert not reference.is_random(model, session.network, xs, again)


def test_steps_behind_unsupported_layer_come_from_keras() -> None:
    """An unsupported layer may change T, which is open until it is given."""
    parts = (layers.LSTM(5, return_sequences=True), Padded(1), layers.GRU(4))
    model = randomized(sequential(*parts, shape=(None, 3)))
    assert rnnshapes.inspect(model).layers[1].output_shape == (1, None, 5)
    x = np.random.default_rng(4).standard_normal((2, 7, 3))
    assert rnnshapes.trace(model, x=x, show="h").layers[1].states["h"].shape == (2, 9, 4)


def test_model_without_recurrence_is_verified() -> None:
    """There are no time steps to trace."""
    model = randomized(sequential(layers.Conv1D(4, 2), layers.Flatten(), layers.Dense(2)))
    result = rnnshapes.inspect(model)
    assert result.keras.agrees
    assert result.formula == "F(2D+1) + K(T'·F+1)"
    assert "no recurrent layer" in repr(result)
    assert rnnshapes.verify(model, N=3).passed
    with pytest.raises(InputError, match="no recurrent layer"):
        rnnshapes.trace(model)


def test_size_that_model_fixes_is_refused() -> None:
    """And data of another shape."""
    model = functional()
    with pytest.raises(InputError, match="M is 5 in this model"):
        rnnshapes.inspect(model, M=7)
    with pytest.raises(InputError, match="T is 6 in this model, not 7"):
        rnnshapes.inspect(model, T=7)
    with pytest.raises(InputError, match=r"\(6, 4\), and the model takes .* = \(N, 6, 3\)"):
        rnnshapes.trace(model, x=np.zeros((6, 4)))


def test_variables_of_a_model_are_restored() -> None:
    """Also those that its own code counts with."""

    class Counting(layers.Layer):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.count.assign_add(1.0)
            return x * 1.0

    counting = Counting()
    model = randomized(sequential(layers.SimpleRNN(5, return_sequences=True), counting))
    counting.count.assign(7.0)
    rnnshapes.trace(model, N=2)
    assert float(counting.count.value) == 7.0


def test_predict_function_of_a_model_is_restored() -> None:
    """Though the sizes of its graph have to be known where it sums in float16."""
    with dtype_policy("mixed_float16"):
        model = randomized(sequential(layers.SimpleRNN(5), layers.Dense(2), shape=(None, 3)))
    model.make_predict_function()
    before = model.predict_function
    rnnshapes.trace(model, N=2, T=4)
    assert model.predict_function is before


def test_open_length_of_vectors_keeps_its_name() -> None:
    class Parity(layers.Layer):
        def call(self, x):
            return keras.ops.stack([x % 2.0, x], axis=-1)

        def compute_output_shape(self, shape):
            return (*shape, 2)

    x = keras.Input((None,))
    model = keras.Model(x, layers.SimpleRNN(5)(Parity()(x)))
    assert rnnshapes.inspect(model).layers[0].output_dims == ("N", "D", "2")
