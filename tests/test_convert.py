"""Weights of Keras models written for PyTorch and C, and read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import CannotRunError, InputError, UnsupportedError
from rnnshapes.load import array_files
from rnnshapes.load.array_files import read_c_header
from rnnshapes.port.weight_files import pytorch
from tests.helpers import foreign
from tests.helpers.files import layer, legacy_file, numbers
from tests.helpers.files import saved as save
from tests.helpers.files import sequential as legacy_sequential
from tests.helpers.models import randomized, sequential

RECURRENT = {
    "simple": lambda **options: la.SimpleRNN(5, name="rnn", return_sequences=True, **options),
    "lstm": lambda **options: la.LSTM(5, name="rnn", return_sequences=True, **options),
    "gru": lambda **options: la.GRU(5, name="rnn", return_sequences=True, **options),
}


def stored(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .safetensors file."""
    from rnnshapes.load.foreign.byte_source import ByteSource
    from rnnshapes.load.foreign.safetensors import read_tensors

    source = ByteSource(path)
    arrays = {t.name: t.read().reshape(t.shape) for t in read_tensors(source)}
    source.close()
    return arrays


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("cell", RECURRENT)
def test_converted_layer_computes_the_same(cell: str, both: bool, tmp_path: Path) -> None:
    layer = RECURRENT[cell]()
    layer = la.Bidirectional(layer, name="rnn") if both else layer
    model = randomized(sequential(layer, la.Dense(2, name="head"), shape=(4, 3)))
    path = tmp_path / "w.safetensors"
    assert rnnshapes.convert(model, path).passed
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    arrays = stored(path)
    kernel, bias = model.get_layer("head").get_weights()
    np.testing.assert_array_equal(arrays["head.weight"], kernel.T)
    np.testing.assert_array_equal(arrays["head.bias"], bias)
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    own = {name.removeprefix("rnn."): array for name, array in arrays.items()}
    expected = rnnshapes.trace(model, x=x, show="h", keras=False)
    h = np.concatenate([trace.states["h"] for trace in expected.layers], axis=-1)
    np.testing.assert_allclose(foreign.torch_output(cell, x, own), h, rtol=1e-9, atol=1e-12)
    if cell != "gru":
        assert not arrays["rnn.bias_hh_l0"].any()


def test_layers_around_are_converted(tmp_path: Path) -> None:
    layers = (
        la.Embedding(7, 3, name="words"),
        la.Conv1D(4, 2, name="conv"),
        la.BatchNormalization(name="batch"),
        la.LSTM(5, name="rnn", use_bias=False),
        la.LayerNormalization(name="norm"),
    )
    model = randomized(keras.Sequential([keras.Input((6,)), *layers]))
    path = tmp_path / "w.safetensors"
    result = rnnshapes.convert(model, path)
    assert result.passed
    arrays = stored(path)
    assert sum(a.size for a in arrays.values()) == model.count_params()
    assert arrays["conv.weight"].shape == (4, 3, 2)
    np.testing.assert_array_equal(arrays["words.weight"], layers[0].get_weights()[0])
    np.testing.assert_array_equal(arrays["batch.running_var"], layers[2].get_weights()[3])


def test_options_that_no_file_holds_are_said(tmp_path: Path) -> None:
    """With PyTorch's defaults, the same weights would compute other numbers."""
    layers = (
        la.Conv1D(3, 2, strides=2, padding="same", name="conv"),
        la.MaxPooling1D(2, padding="same", name="without weights"),
        la.Bidirectional(la.SimpleRNN(4, activation="relu"), merge_mode="sum", name="rnn"),
        la.LayerNormalization(epsilon=0.02, name="norm"),
    )
    model = randomized(sequential(*layers, shape=(7, 3)))
    said = rnnshapes.convert(model, tmp_path / "w.safetensors").assumptions
    assert len(said) == len({*said}) == 5
    for words in (
        ("0.02", "norm"),
        ("relu", "rnn"),
        ("sum", "rnn"),
        ("padding", "same", "conv"),
        ("strides", "2", "conv"),
    ):
        assert any(all(word in one for word in words) for one in said)


def both(forward: Any, backward: Any) -> Any:
    """Two layers of other options, in both directions."""
    return la.Bidirectional(forward, backward_layer=backward, name="rnn")


REFUSED: dict[str, Any] = {
    "relu and tanh": lambda: both(la.SimpleRNN(4, "relu"), la.SimpleRNN(4, go_backwards=True)),
    "behind": lambda: both(la.GRU(4, go_backwards=True), la.GRU(4)),
    "use_bias": lambda: both(la.GRU(4), la.GRU(4, use_bias=False, go_backwards=True)),
    "units": lambda: both(la.LSTM(4), la.LSTM(5, go_backwards=True)),
    "LayerNormalization": lambda: la.LayerNormalization(axis=[1, 2]),
    "reset_after": lambda: RECURRENT["gru"](reset_after=False),
    "or reset_after": lambda: both(la.GRU(4), la.GRU(4, reset_after=False, go_backwards=True)),
    "hard_sigmoid": lambda: RECURRENT["lstm"](recurrent_activation="hard_sigmoid"),
    "relu": lambda: RECURRENT["lstm"](activation="relu"),
    "reverse": lambda: RECURRENT["gru"](go_backwards=True),
    "PReLU": la.PReLU,
    "stack": lambda: la.RNN([la.LSTMCell(4), la.LSTMCell(4)]),
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_pytorch_lacks_is_refused(word: str, tmp_path: Path) -> None:
    model = randomized(sequential(REFUSED[word](), la.Dense(2), shape=(4, 3)))
    with pytest.raises(UnsupportedError, match=word):
        rnnshapes.convert(model, tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_names_are_attributes_of_modules(tmp_path: Path) -> None:
    inner = sequential(la.LSTM(5, return_sequences=True, name="a"), shape=(4, 3))
    model = sequential(inner, la.TimeDistributed(la.Dense(2), name="td"), shape=(4, 3))
    inner.name = "enc"
    path = tmp_path / "w.safetensors"
    assert rnnshapes.convert(randomized(model), path).passed
    arrays = stored(path)
    assert {name.rpartition(".")[0] for name in arrays} == {"enc.a", "td"}
    np.testing.assert_array_equal(arrays["td.weight"], model.layers[-1].get_weights()[0].T)
    save(model, tmp_path / "m.keras")
    rnnshapes.convert(path, tmp_path / "new.weights.h5", like=tmp_path / "m.keras")
    assert (tmp_path / "new.weights.h5").is_file()


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".onnx", ".h"])
def test_nan_and_no_weights_are_named(ending: str, tmp_path: Path) -> None:
    model = randomized(sequential(la.LSTM(4, name="rnn"), shape=(4, 3)))
    kernel, recurrent, bias = model.get_weights()
    model.set_weights([kernel, recurrent, np.where(bias == bias[1], np.nan, bias)])
    with pytest.raises(InputError, match="rnn/bias holds NaN"):
        rnnshapes.convert(model, tmp_path / f"w{ending}")
    with pytest.raises(InputError, match="no weights"):
        rnnshapes.convert(sequential(la.Dropout(0.3), shape=(4, 3)), tmp_path / f"w{ending}")


def test_weights_of_several_dtypes_are_converted(tmp_path: Path) -> None:
    """Keras, which does not run here, could not compute with such a file."""
    model = randomized(sequential(la.LSTM(5, dtype="float64"), la.Dense(2), shape=(6, 3)))
    path = save(model, tmp_path / "m.keras")
    assert rnnshapes.convert(path, tmp_path / "w.safetensors").passed
    dtypes = [str(array.dtype) for array in stored(tmp_path / "w.safetensors").values()]
    assert sorted(dtypes) == ["float32"] * 2 + ["float64"] * 4
    with pytest.raises(UnsupportedError, match="dtype"):
        rnnshapes.verify(path)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_file_without_its_weights_is_not_converted(tmp_path: Path) -> None:
    """It was not built, has an array of another shape, or lacks the config."""
    unbuilt = save(keras.Sequential([la.LSTM(5)]), tmp_path / "unbuilt.keras")
    config = legacy_sequential(layer("SimpleRNN", "rnn", units=5, batch_input_shape=[None, 6, 4]))
    shapes = {"kernel:0": (5, 4), "recurrent_kernel:0": (5, 5), "bias:0": (5,)}
    arrays = [(name, numbers(*shape)) for name, shape in shapes.items()]
    turned = legacy_file(tmp_path / "turned.h5", config, {"rnn": arrays})
    alone = tmp_path / "alone.weights.h5"
    sequential(la.LSTM(5), shape=(6, 4)).save_weights(alone)
    for path in (unbuilt, turned, alone):
        with pytest.raises(InputError, match=path.name):
            rnnshapes.convert(path, target := tmp_path / "w.safetensors")
        assert not target.exists()
    source = foreign.written(tmp_path / "m.pt", foreign.torch_file(foreign.state_dict("lstm")))
    with pytest.raises(InputError, match=unbuilt.name):
        rnnshapes.convert(source, target := tmp_path / "new.weights.h5", like=unbuilt)
    assert not target.exists()


def changed_bias(arrays: dict[str, np.ndarray]) -> None:
    arrays["head.bias"] = arrays["head.bias"] * 2


def added_array(arrays: dict[str, np.ndarray]) -> None:
    arrays["own.scale"] = np.ones(3, "f4")


@pytest.mark.parametrize("change", [changed_bias, added_array])
def test_wrong_state_dict_is_not_put_in_place(change: Any, tmp_path: Path, monkeypatch) -> None:
    right = pytorch.to_pytorch

    def wrong(*arguments: Any) -> Any:
        arrays = right(*arguments)
        change(arrays)
        return arrays

    monkeypatch.setattr(pytorch, "to_pytorch", wrong)
    model = sequential(RECURRENT["gru"](), la.Dense(2, name="head"), shape=(4, 3))
    with pytest.raises(CannotRunError):
        rnnshapes.convert(randomized(model), tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", ["a number", "a dtype", "a name"])
def test_wrong_header_is_not_put_in_place(wrong: str, tmp_path: Path, monkeypatch) -> None:
    def read(path: Path) -> list[Any]:
        (name, dtype, numbers), *others = read_c_header(path)
        if wrong == "a number":
            numbers = numbers[::-1]
        dtype = "float64" if wrong == "a dtype" else dtype
        return [(name + "_" * (wrong == "a name"), dtype, numbers), *others]

    monkeypatch.setattr(array_files, "read_c_header", read)
    model = randomized(sequential(RECURRENT["gru"](), shape=(4, 3)))
    with pytest.raises(CannotRunError):
        rnnshapes.convert(model, tmp_path / "w.h")
    assert not list(tmp_path.iterdir())


def test_links_and_permissions_are_kept(tmp_path: Path) -> None:
    file, link = tmp_path / "real.safetensors", tmp_path / "w.safetensors"
    file.write_bytes(b"old")
    file.chmod(0o600)
    link.symlink_to(file)
    rnnshapes.convert(randomized(sequential(la.GRU(4), shape=(4, 3))), link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(stored(file)) == 4


def test_command_converts_a_saved_model(tmp_path: Path, run) -> None:
    saved, path = tmp_path / "m.keras", tmp_path / "w.safetensors"
    save(randomized(sequential(RECURRENT["lstm"](), shape=(None, 3))), saved)
    done = run("convert", saved, "-o", path)
    assert (done.status, done.out.split()[0]) == (0, "AGREES")
    assert done.out.splitlines()[-1].startswith("Next: rnnshapes inspect ")
    assert run("verify", saved, "--against", path).status == 0
    path.unlink()
    quiet = run("convert", saved, "-o", path, "--quiet")
    assert (quiet.status, quiet.out, path.exists()) == (0, "", True)
    for wrong in (
        ("--to", "flax", "-o", path),
        ("--to", "x", "-o", path),
        ("-o", tmp_path / "w.pt"),
        ("-o", saved),
    ):
        assert run("convert", saved, *wrong).status == 2
    assert run("convert", path, "-o", tmp_path / "other.safetensors").status == 2
    save(sequential(la.LayerNormalization(axis=[1, 2]), shape=(4, 3)), saved)
    done = run("convert", saved, "-o", path)
    assert (done.status, done.err.count("\n")) == (4, 1)
    assert "axis" in done.err


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_c_header_has_every_weight(dtype: str, tmp_path: Path) -> None:
    layers = (
        la.Bidirectional(la.GRU(5, dtype=dtype), dtype=dtype, name="rnn"),
        la.Dense(2, dtype=dtype),
    )
    model = randomized(sequential(*layers, shape=(None, 3)))
    path = tmp_path / "weights.h"
    result = rnnshapes.convert(model, path)
    assert (result.passed, result.path) == (True, str(path))
    arrays = {name: (kind, numbers) for name, kind, numbers in read_c_header(path)}
    assert len(arrays) == len(model.weights)
    compared = [(check.name, check.arrays, check.compared) for check in result.checks]
    assert compared == [(name, (name,), np.size(given)) for name, (_, given) in arrays.items()]
    for kind, given in arrays.values():
        values = np.array(given, kind)
        assert kind == dtype
        assert any(np.array_equal(values, array) for array in model.get_weights())
    text = path.read_text()
    assert "z [:, 0:5]" in text
    assert "None" not in text
    assert text.count("static const float " if dtype == "float32" else "static const double ") == 8


def test_unknown_framework_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        rnnshapes.convert(None, tmp_path / "w.safetensors")
