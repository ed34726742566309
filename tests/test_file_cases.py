"""Saved models of which a user would ask: what is said, and what is not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from tests.helpers.files import saved
from tests.helpers.models import Doubled, randomized, sequential

pytestmark = pytest.mark.usefixtures("eager")


def test_mixed_precision_is_not_taken_for_the_precision_of_the_weights(tmp_path: Path, run) -> None:
    """Keras computes in float16 what it keeps in float32, and each layer is judged by its own."""
    x = keras.Input((6, 3))
    model = keras.Model(x, la.Dense(2, dtype="float32")(la.LSTM(5, dtype="mixed_float16")(x)))
    path = saved(randomized(model), tmp_path / "mixed.keras")
    done = run("inspect", path, "--no-keras")
    assert "its dtype policy is float32, mixed_float16" in done.out
    for given in (path, model):
        result = rnnshapes.verify(given, N=3)
        assert result.passed
        own = [c for c in result.checks if c.ratio is not None and "in float64" not in c.name]
        assert {c.precision for c in own if c.layer.startswith("lstm")} == {"float16"}
        assert {c.precision for c in own if c.layer.startswith("dense")} == {"float32"}
        assert {c.precision for c in result.checks} == {"", "float16", "float32", "float64"}
    assert run("trace", path).status == 0


def test_weights_of_several_dtypes_are_refused_next_to_keras(tmp_path: Path, run) -> None:
    """NumPy computes them all the same."""
    x = keras.Input((6, 3))
    model = keras.Model(x, la.Dense(2, dtype="float64")(la.LSTM(5)(x)))
    path = saved(randomized(model), tmp_path / "several.keras")
    done = run("verify", path)
    assert done.status == 2
    assert "its weights are of float32 and float64" in done.err
    assert run("trace", path, "--no-keras").status == 0


def test_an_array_is_not_taken_for_several_inputs(tmp_path: Path, run) -> None:
    """One file of one array says nothing of two inputs."""
    a, b = keras.Input((6, 3), name="left"), keras.Input((6, 3), name="right")
    model = keras.Model([a, b], la.LSTM(5)(la.Concatenate()([a, b])))
    path = saved(model, tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3)))
    done = run("trace", path, "--input", tmp_path / "x.npy", "--no-keras")
    assert done.status == 2
    assert "give a .npz file with an array for each, by their names: left, right" in done.err


def test_of_several_outputs_it_is_said_which_is_shown(tmp_path: Path, run) -> None:
    """And that verify looks at the others."""
    x = keras.Input((6, 3))
    h = la.LSTM(5)(x)
    model = keras.Model(x, [la.Dense(2, name="tag")(h), la.Dense(1, name="score")(h)])
    path = saved(randomized(model), tmp_path / "model.keras")
    done = run("trace", path, "--no-keras")
    assert "The model has 2 outputs; shown is the first, tag, and not score." in done.out
    names = {layer.name: layer.tensor for layer in rnnshapes.inspect(path).layers}
    assert (names["tag"], names["score"]) == ("y_hat1_t", "y_hat2_t")


def test_open_lengths_of_several_inputs_take_one_number(tmp_path: Path) -> None:
    """--T gives T1 and T2."""
    a, b = keras.Input((None, 3)), keras.Input((None, 4))
    model = keras.Model([a, b], la.Concatenate()([la.LSTM(5)(a), la.GRU(2)(b)]))
    path = saved(model, tmp_path / "model.keras")
    sizes = rnnshapes.inspect(path, T=4).network.sizes
    assert (sizes["T1"], sizes["T2"]) == (4, 4)
    assert rnnshapes.trace(path, T=4, keras=False).output.shape == (1, 7)


def test_a_stateful_model_has_the_batch_of_its_config(tmp_path: Path) -> None:
    """N is that of the file, or several times as many."""
    layers = (la.GRU(5, stateful=True), la.Dense(2))
    model = keras.Sequential([keras.Input(batch_shape=(4, 6, 3)), *layers])
    path = saved(randomized(model), tmp_path / "model.keras")
    assert rnnshapes.inspect(path).network.sizes["N"] == 4
    assert rnnshapes.verify(path, N=8).passed
    with pytest.raises(InputError, match="4"):
        rnnshapes.inspect(path, N=3)


def test_what_stands_behind_an_unknown_layer_is_derived_from_its_kernel(tmp_path: Path) -> None:
    """HDF5 tells no shapes of outputs; the kernel that takes them does."""
    model = sequential(Doubled(name="own"), la.GRU(5), la.Dense(2), shape=(6, 3))
    result = rnnshapes.inspect(saved(model, tmp_path / "model.h5"))
    assert [layer.supported for layer in result.layers] == [False, True, True]
    assert result.params == model.count_params()


def test_weights_that_are_not_there_are_not_called_unbuilt(lstm: Path, tmp_path: Path, run) -> None:
    """A .keras file has a member for them, also where it is empty."""
    path = tmp_path / "lost.keras"
    with zipfile.ZipFile(lstm) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("config.json", old.read("config.json"))
    done = run("inspect", path, "--no-keras")
    assert done.status == 1
    assert "it has no member model.weights.h5" in done.out


def test_hdf5_of_others_is_refused(tmp_path: Path, run) -> None:
    """It holds no layers that Keras knows."""
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = np.ones((3, 20))
    done = run("inspect", tmp_path / "other.h5", "--no-keras")
    assert done.status == 2
    assert "there are no weights of Keras in it" in done.err


def test_a_misspelt_name_is_answered_with_one_that_is_there(lstm: Path, run) -> None:
    """As misspelt options are."""
    done = run("inspect", lstm.with_name("model.kears"), "--no-keras")
    assert done.status == 2
    assert f"did you mean {lstm}?" in done.err


def test_names_that_tensorflow_does_not_take_are_no_hindrance(tmp_path: Path) -> None:
    """A layer may have spaces and umlauts in its name."""
    model = sequential(la.GRU(5, name="größer als"), la.Dense(2, name="groesser"), shape=(6, 3))
    assert rnnshapes.verify(saved(randomized(model), tmp_path / "model.keras")).passed


def test_options_that_a_file_fixes_are_refused_beside_data_too(lstm: Path, tmp_path, run) -> None:
    """They are not passed over because sizes come from the data."""
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3)))
    for option, value in (("--cell", "gru"), ("--M", 7), ("--T", 7)):
        done = run("trace", lstm, "--input", tmp_path / "x.npy", "--no-keras", option, value)
        assert done.status == 2
        assert option in done.err
