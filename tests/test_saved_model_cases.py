"""Saved models that are easy to misread, and what users ask of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError, UnsupportedError
from tests.helpers.files import saved
from tests.helpers.models import Doubled, functional, randomized, sequential

T, D = 5, 4


def on_x(make: Any) -> keras.Model:
    """Return a model of one input."""
    x = keras.Input((T, D))
    return keras.Model(x, make(x))


def frozen_half(*, backward: bool) -> keras.Model:
    """One direction is frozen: HDF5 has trained arrays first."""
    both = la.Bidirectional(la.LSTM(5))
    model = on_x(lambda x: la.Dense(2)(both(x)))
    (both.backward_layer if backward else both.forward_layer).trainable = False
    return model


def frozen_cell(first: type) -> keras.Model:
    """One cell of a stack is frozen."""
    return on_x(la.RNN([first(5, trainable=False), la.LSTMCell(5)]))


def inside(model: keras.Model) -> keras.Model:
    """Return a model with a model inside it."""
    return on_x(lambda x: la.Dense(3)(model(x)))


def from_dictionary() -> keras.Model:
    """Return a model that calls one inside it on a dictionary, in another order."""
    z, a = keras.Input((T, D), name="zeta"), keras.Input((T, D), name="alpha")
    inner = keras.Model([z, a], la.Concatenate()([la.LSTM(3)(z), la.GRU(2)(a)]))
    p, q = keras.Input((T, D)), keras.Input((T, D))
    return keras.Model([p, q], la.Dense(2)(inner({"zeta": p, "alpha": q})))


def other_backward() -> keras.Model:
    """Return a model whose two directions are of different classes."""
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
    """Return a model whose mask passes through a model inside it."""
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


#: Models of which Keras is built and run once more; the others differ from these by their files.
VERIFIED = ("from a dictionary", "other backward layer", "odd names", "masked from outside")
#: Those of them that Keras builds from the file.
FROM_FILE = ("other backward layer", "odd names")


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("name", RIGHT)
def test_counts_and_output_are_those_of_keras(name: str, tmp_path: Path) -> None:
    """From the live model and from each form of file."""
    model = randomized(RIGHT[name]())
    rng = np.random.default_rng(3)
    xs = [rng.normal(size=(3, T, D)).astype("float32") for _ in model.inputs]
    xs[0][:, 3:] = 0
    x = xs if len(xs) > 1 else xs[0]
    expected = model.predict(x, verbose=0)
    files = [saved(model, tmp_path / f"model{form}") for form in (".keras", ".h5")]
    for given in (model, *files):
        result = rnnshapes.inspect(given)
        assert all(layer.supported for layer in result.layers)
        assert result.agrees
        assert result.params == model.count_params()
        assert result.trainable == sum(int(np.prod(w.shape)) for w in model.trainable_weights)
        traced = rnnshapes.trace(given, x=x, keras=False)
        np.testing.assert_allclose(traced.output, expected, atol=1e-5)
    if name in VERIFIED:
        given = files[0] if name in FROM_FILE else model
        assert rnnshapes.verify(given, x=x).passed


def masked_by_hand() -> keras.Model:
    """Return a model that gives a model inside it the mask of another tensor."""
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
    """Return a model with an operation that has the name of a layer."""
    steps = la.LSTM(4, return_sequences=True)
    return on_x(lambda x: la.Dense(3)(keras.ops.average(steps(x), axis=1)))


class Parted(la.Layer):
    """A layer with a weight of its own, beside those of the layers in it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.parts = [la.LSTM(4, return_sequences=True), la.Dense(3)]

    def build(self, shape: Any) -> None:
        for part, features in zip(self.parts, (shape[-1], 4), strict=True):
            part.build((None, None, features))
        self.scale = self.add_weight(shape=(3,), name="scale")

    def call(self, x: Any) -> Any:
        return self.parts[1](self.parts[0](x)) * self.scale


UNSUPPORTED = {
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
    "parts": (lambda: on_x(lambda x: la.GRU(2)(Parted(name="parted")(x))), "parted"),
}


@keras.saving.register_keras_serializable(package="tests", name="Dense")
class OwnDense(la.Dense):
    """It has the name of Keras's own, and computes something else."""

    def call(self, x: Any) -> Any:
        return super().call(x) * 2


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_lookalike_layer_is_unsupported(name: str, form: str, tmp_path: Path) -> None:
    """Its arrays are shown, and nothing is computed."""
    make, where = UNSUPPORTED[name]
    model = randomized(make())
    path = saved(model, tmp_path / f"model{form}")
    result = rnnshapes.inspect(path)
    unknown = [found.name for found in result.layers if not found.supported]
    assert any(found.startswith(where) for found in unknown)
    assert result.params == model.count_params()
    with pytest.raises(UnsupportedError, match=where):
        rnnshapes.trace(path, keras=False)


def test_layer_shared_by_two_models_counts_once(tmp_path: Path) -> None:
    """Keras writes its arrays once, and its config twice."""
    shared = la.Dense(4)
    y = keras.Input((T, D))
    inner = keras.Model(y, shared(y))
    model = randomized(on_x(lambda x: la.GRU(3)(inner(shared(x)))))
    result = rnnshapes.inspect(saved(model, tmp_path / "model.keras"))
    assert result.agrees
    assert result.params == model.count_params() == rnnshapes.inspect(model).params


def test_embedding_with_lora_is_unsupported(tmp_path: Path) -> None:
    """Its indices are not checked."""
    x = keras.Input((T,))
    table = la.Embedding(11, 3)
    model = keras.Model(x, la.LSTM(2)(table(x)))
    table.enable_lora(2)
    path = saved(randomized(model), tmp_path / "model.keras")
    with pytest.raises(UnsupportedError, match="embedding"):
        rnnshapes.trace(path, x=np.ones((2, T)), keras=False)


# --- What users ask -----------------------------------------------------------------------------


def test_mixed_precision_is_verified_per_layer(tmp_path: Path, run) -> None:
    """Keras stores float32 and computes float16; each layer is checked in its own format."""
    x = keras.Input((6, 3))
    model = keras.Model(x, la.Dense(2, dtype="float32")(la.LSTM(5, dtype="mixed_float16")(x)))
    path = saved(randomized(model), tmp_path / "mixed.keras")
    done = run("inspect", path, "--no-keras")
    assert "float32, mixed_float16" in done.out
    for given in (path, model):
        result = rnnshapes.verify(given, N=3)
        assert result.passed
        own = [c for c in result.checks if c.ratio is not None and "in float64" not in c.name]
        assert {c.precision for c in own if c.layer.startswith("lstm")} == {"float16"}
        assert {c.precision for c in own if c.layer.startswith("dense")} == {"float32"}
        assert {c.precision for c in result.checks} == {"", "float16", "float32", "float64"}
    assert run("trace", path).status == 0


def test_weights_of_several_dtypes_need_no_keras(tmp_path: Path, in_folder: Path, run) -> None:
    """NumPy computes them; next to Keras they exit with 4."""
    x = keras.Input((6, 3))
    model = keras.Model(x, la.Dense(2, dtype="float64")(la.LSTM(5)(x)))
    path = saved(randomized(model), tmp_path / "several.keras")
    done = run("verify", path)
    assert done.status == 4
    assert "float32" in done.err
    assert "float64" in done.err
    np.save("y.npy", rnnshapes.trace(path, keras=False).y_hat)
    for command in ("trace --no-keras", "trace --no-keras --golden g.h", "trace --quantize int8"):
        name, *options = command.split()
        assert run(name, path, *options).status == 0
    for options in (("trace", "--step", 3), ("verify", "--against", "y.npy")):
        assert run(options[0], path, *options[1:]).status == 0


def test_one_array_for_two_inputs_exits_2(tmp_path: Path, run) -> None:
    """The message names the inputs."""
    a, b = keras.Input((6, 3), name="left"), keras.Input((6, 3), name="right")
    model = keras.Model([a, b], la.LSTM(5)(la.Concatenate()([a, b])))
    path = saved(model, tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3)))
    done = run("trace", path, "--input", tmp_path / "x.npy", "--no-keras")
    assert done.status == 2
    assert ".npz" in done.err
    assert "left, right" in done.err


def test_first_of_several_outputs_is_shown(tmp_path: Path, run) -> None:
    """The trace names the outputs that it leaves out."""
    x = keras.Input((6, 3))
    h = la.LSTM(5)(x)
    model = keras.Model(x, [la.Dense(2, name="tag")(h), la.Dense(1, name="score")(h)])
    path = saved(randomized(model), tmp_path / "model.keras")
    done = run("trace", path, "--no-keras")
    assert done.status == 0
    assert "score" in done.out
    names = {layer.name: layer.tensor for layer in rnnshapes.inspect(path).layers}
    assert (names["tag"], names["score"]) == ("y_hat1_t", "y_hat2_t")


def test_states_of_several_cells_start_a_layer(tmp_path: Path) -> None:
    """Keras nests them by cell."""

    def graph(x: Any) -> Any:
        first, second = (
            la.RNN([la.LSTMCell(3), la.GRUCell(4)], return_state=True, return_sequences=sequences)
            for sequences in (False, True)
        )
        _, *states = first(x)
        return la.Dense(2)(second(x, initial_state=states)[0])

    path = saved(randomized(functional(graph)), tmp_path / "model.keras")
    assert rnnshapes.verify(path, N=2).passed


def test_one_length_sets_all_open_lengths(tmp_path: Path) -> None:
    """T gives T1 and T2."""
    a, b = keras.Input((None, 3)), keras.Input((None, 4))
    model = keras.Model([a, b], la.Concatenate()([la.LSTM(5)(a), la.GRU(2)(b)]))
    path = saved(model, tmp_path / "model.keras")
    sizes = rnnshapes.inspect(path, T=4).network.sizes
    assert (sizes["T1"], sizes["T2"]) == (4, 4)
    assert rnnshapes.trace(path, T=4, keras=False).output.shape == (1, 7)


def test_stateful_model_fixes_the_batch(tmp_path: Path) -> None:
    """N is that of the file, or a multiple of it."""
    layers = (la.GRU(5, stateful=True), la.Dense(2))
    model = keras.Sequential([keras.Input(batch_shape=(4, 6, 3)), *layers])
    path = saved(randomized(model), tmp_path / "model.keras")
    assert rnnshapes.inspect(path).network.sizes["N"] == 4
    assert rnnshapes.verify(path, N=8).passed
    with pytest.raises(InputError, match="4"):
        rnnshapes.inspect(path, N=3)


def test_kernel_shows_shape_behind_unsupported_layer(tmp_path: Path) -> None:
    """HDF5 has no shapes of outputs."""
    model = sequential(Doubled(name="own"), la.GRU(5), la.Dense(2), shape=(6, 3))
    result = rnnshapes.inspect(saved(model, tmp_path / "model.h5"))
    assert [layer.supported for layer in result.layers] == [False, True, True]
    assert result.params == model.count_params()


def test_lost_weights_exit_1(lstm: Path, tmp_path: Path, run) -> None:
    """Also a model that was not built has a member for weights."""
    path = tmp_path / "lost.keras"
    with zipfile.ZipFile(lstm) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("config.json", old.read("config.json"))
    done = run("inspect", path, "--no-keras")
    assert done.status == 1
    assert "model.weights.h5" in done.out


def test_hdf5_without_layers_exits_2(tmp_path: Path, run) -> None:
    """Another program wrote it."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.ones((3, 20))
    done = run("inspect", tmp_path / "other.h5", "--no-keras")
    assert done.status == 2


def test_misspelt_file_suggests_a_similar_one(lstm: Path, run) -> None:
    """As for misspelt options."""
    done = run("inspect", lstm.with_name("model.kears"), "--no-keras")
    assert done.status == 2
    assert str(lstm) in done.err


def test_layer_names_may_have_any_letters(tmp_path: Path) -> None:
    """TensorFlow takes neither spaces nor umlauts."""
    model = sequential(la.GRU(5, name="größer als"), la.Dense(2, name="groesser"), shape=(6, 3))
    assert rnnshapes.verify(saved(randomized(model), tmp_path / "model.keras")).passed


def test_option_that_file_fixes_exits_2_with_data(lstm: Path, tmp_path, run) -> None:
    """Although sizes come from the data."""
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3)))
    for option, value in (("--cell", "gru"), ("--M", 7), ("--T", 7)):
        done = run("trace", lstm, "--input", tmp_path / "x.npy", "--no-keras", option, value)
        assert done.status == 2
        assert option in done.err
