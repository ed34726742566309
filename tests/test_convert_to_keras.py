"""Weights of PyTorch and ONNX files in the places of a Keras model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError, UnsupportedError
from tests.helpers import foreign
from tests.helpers.files import layers_of, repacked, saved
from tests.helpers.foreign import onnx_file, onnx_node, written
from tests.helpers.models import randomized, sequential
from tests.helpers.port_layouts import in_onnx

CELLS = {"simple": la.SimpleRNN, "lstm": la.LSTM, "gru": la.GRU}
Arrays = dict[str, np.ndarray]


def of_layers(*layers: Any, shape: tuple[int | None, ...] = (4, 3), seed: int = 0) -> keras.Model:
    """Return a sequential model with random weights."""
    return randomized(sequential(*layers, shape=shape), seed)


def taken(tmp_path: Path, source: Path, model: keras.Model) -> keras.Model:
    """Return the model with the weights of a file, which it reads itself."""
    like = tmp_path / "like.keras"
    saved(model, like)
    assert rnnshapes.convert(source, tmp_path / "new.weights.h5", like=like).passed
    model.load_weights(tmp_path / "new.weights.h5")
    return model


def several() -> tuple[Any, ...]:
    return (
        la.Bidirectional(la.LSTM(5, return_sequences=True), name="both"),
        la.BatchNormalization(name="norm"),
        la.Dropout(0.5, seed=3),
        la.Conv1D(4, 2, name="conv"),
        la.SimpleRNN(7, return_sequences=True, name="simple"),
        la.GRU(6, name="rnn"),
        la.Dense(2, name="head"),
    )


@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer")
@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_weights_come_back_bit_equal(tmp_path: Path) -> None:
    model, other = (of_layers(*several(), seed=seed) for seed in (0, 1))
    other.compile("adam", "mse")
    file, again = tmp_path / "w.safetensors", tmp_path / "again.safetensors"
    rnnshapes.convert(model, file)
    other = taken(tmp_path, file, other)
    for expected, array in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)
    rnnshapes.convert(other, again)
    assert again.read_bytes() == file.read_bytes()
    other.save_weights(tmp_path / "own.weights.h5")
    assert names_of(tmp_path / "new.weights.h5") == names_of(tmp_path / "own.weights.h5")


def names_of(path: Path) -> dict[str, str]:
    """Return the names that the groups of a file have, but for those of an optimizer."""
    found: dict[str, str] = {}
    with h5py.File(path) as file:
        file.visititems(lambda path, group: found.update({path: group.attrs.get("name", "")}))
    return {path: name for path, name in found.items() if name and "optimizer" not in path}


def test_seeds_of_dropouts_are_those_of_the_model(tmp_path: Path) -> None:
    """Some versions of Keras write them; the state of an optimizer is left out."""
    model, seed, place = of_layers(la.LSTM(5), la.Dropout(0.5)), [3, 7], "seed_generator/vars/0"
    rnnshapes.convert(model, tmp_path / "w.safetensors")
    like, new = saved(model, tmp_path / "like.keras"), tmp_path / "new.weights.h5"

    def add(file: h5py.File) -> None:
        file[f"layers/dropout/{place}"] = np.array(seed, "uint32")
        file["optimizer/vars/0"] = np.array(1)

    repacked(like, like, weights=add)
    rnnshapes.convert(tmp_path / "w.safetensors", new, like=like)
    with h5py.File(new) as file:
        assert file[f"layers/dropout/{place}"][:].tolist() == seed
        assert "optimizer" not in file


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_live_model_takes_weights(tmp_path: Path) -> None:
    model, other = (of_layers(la.LSTM(5, name="rnn"), seed=seed) for seed in (0, 1))
    before = other.get_weights()
    rnnshapes.convert(model, tmp_path / "w.safetensors")
    rnnshapes.convert(tmp_path / "w.safetensors", tmp_path / "b.weights.h5", like=other)
    np.testing.assert_array_equal(other.get_weights()[0], before[0])
    other.load_weights(tmp_path / "b.weights.h5")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_dtype_of_the_model_is_kept(dtype: str, tmp_path: Path) -> None:
    arrays = foreign.state_dict("gru", 3, 5, prefix="rnn.", dtype="float16")
    if dtype == "bfloat16":  # numbers of few digits, which it holds
        arrays = {name: np.round(array * 8) / 8 for name, array in arrays.items()}
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    model = taken(
        tmp_path, path, of_layers(la.GRU(5, recurrent_initializer="zeros", name="rnn", dtype=dtype))
    )
    kernel, _, bias = map(np.asarray, model.get_layer("rnn").get_weights())
    assert str(kernel.dtype) == dtype
    r, z, h = np.split(arrays["rnn.weight_ih_l0"].T, 3, axis=1)
    np.testing.assert_array_equal(kernel.astype("float64"), np.concatenate([z, r, h], axis=1))
    assert bias.shape == (2, 15)


def test_onnx_weights_are_taken(tmp_path: Path) -> None:
    model = of_layers(la.LSTM(5, name="lstm"), la.Dense(2, name="dense"), seed=3)
    kernel, recurrent, bias, head, head_bias = model.get_weights()
    golden = {"lstm/kernel": kernel, "lstm/recurrent_kernel": recurrent, "lstm/bias": bias}
    arrays = in_onnx("lstm", golden, ["lstm"]) | {"w": head, "b": head_bias}
    nodes = [
        onnx_node("LSTM", ["X", "W", "R", "B"], ["Y", "h"], hidden_size=5),
        onnx_node("Gemm", ["h", "w", "b"], ["y"]),
    ]
    file = onnx_file(nodes, {name: np.float32(array) for name, array in arrays.items()})
    path = written(tmp_path / "m.onnx", file)
    other = taken(tmp_path, path, of_layers(la.LSTM(5), la.Dense(2), seed=4))
    for expected, array in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_options_of_keras_are_said(tmp_path: Path) -> None:
    layers = (
        la.BatchNormalization(epsilon=0.02, name="norm"),
        la.Bidirectional(la.LSTM(5, return_sequences=True), name="joined as in PyTorch"),
        la.Bidirectional(la.SimpleRNN(4, "relu"), merge_mode="mul", name="rnn"),
    )
    model = of_layers(*layers)
    rnnshapes.convert(model, tmp_path / "w.safetensors")
    new = tmp_path / "new.weights.h5"
    said = rnnshapes.convert(tmp_path / "w.safetensors", new, like=model).assumptions
    pairs = ("norm", "epsilon=0.02"), ("rnn", "mul"), ("rnn", "relu")
    for one, (layer, word) in zip(said, pairs, strict=True):
        assert layer in one
        assert word in one


def test_options_in_an_onnx_file_are_not_said(tmp_path: Path) -> None:
    layer = la.Bidirectional(la.SimpleRNN(4, "relu"), merge_mode="mul", name="rnn")
    rnnshapes.convert(model := of_layers(layer), path := tmp_path / "m.onnx")
    saved(model, like := tmp_path / "like.keras")
    assert rnnshapes.convert(path, tmp_path / "new.weights.h5", like=like).assumptions == ()


def test_last_array_of_onnx_is_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    w, b, c = (rng.standard_normal(shape).astype("float32") for shape in ((3, 2), 2, 2))
    nodes = [
        onnx_node("MatMul", ["X", "w"], ["m"]),
        onnx_node("Identity", ["m"], ["n"]),
        onnx_node("Add", ["n", "b"], ["y"]),
    ]
    path = written(tmp_path / "m.onnx", onnx_file(nodes, {"w": w, "b": b}))
    model = taken(tmp_path, path, of_layers(la.Dense(2, name="fc"), shape=(3,)))
    np.testing.assert_array_equal(model.get_weights()[1], b)
    two = [*nodes, onnx_node("Add", ["y", "c"], ["z"])], {"w": w, "b": b, "c": c}
    for made, arrays in (two, (nodes, {"w": w, "b": np.ones(5, "float32")})):
        written(path, onnx_file(made, arrays))
        with pytest.raises(InputError, match="fc/bias"):
            rnnshapes.convert(path, tmp_path / "n.weights.h5", like=tmp_path / "like.keras")


def test_table_is_taken_beside_a_transposed_array(tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((7, 3)).astype("float32")
    arrays = {"words.other": np.zeros((3, 7), "float32"), "words.weight": table}
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    model = taken(tmp_path, path, of_layers(la.Embedding(7, 3, name="words"), shape=(4,)))
    np.testing.assert_array_equal(model.get_weights()[0], table)


def test_two_biases_are_added(tmp_path: Path) -> None:
    arrays = foreign.state_dict("lstm", 3, 5, prefix="rnn.")
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    like = tmp_path / "like.keras"
    model = of_layers(la.LSTM(5, name="rnn"))
    saved(model, like)
    (said,) = rnnshapes.convert(path, tmp_path / "a.weights.h5", like=like).assumptions
    assert "bias_ih_l0" in said
    assert "bias_hh_l0" in said
    model.load_weights(tmp_path / "a.weights.h5")
    total = arrays["rnn.bias_ih_l0"] + arrays["rnn.bias_hh_l0"]
    np.testing.assert_array_equal(model.get_weights()[2], total)


def test_layers_keep_their_order(tmp_path: Path) -> None:
    """A file may list net.10 before net.2."""
    layers = la.Dense(3), la.Dense(3)
    of_layers(*layers, shape=(3,))
    arrays = {}
    for layer, number in zip(layers[::-1], (10, 2), strict=True):
        kernel, bias = layer.get_weights()
        arrays |= {f"net.{number}.weight": kernel.T.copy(), f"net.{number}.bias": bias}
    path = written(tmp_path / "m.safetensors", foreign.safetensors(arrays))
    expected = [array for layer in layers for array in layer.get_weights()]
    other = of_layers(la.Dense(3), la.Dense(3), shape=(3,), seed=2)
    other.set_weights([*expected[2:], *expected[:2]])  # equal numbers decide nothing
    other = taken(tmp_path, path, other)
    for array, own in zip(expected, other.get_weights(), strict=True):
        np.testing.assert_array_equal(own, array)


def pytorch(cell: str, *names: str, dtype: str = "float32", **options: Any) -> Arrays:
    """Return a state_dict of modules of the same sizes."""
    arrays: Arrays = {}
    for seed, name in enumerate(names):
        arrays |= foreign.state_dict(cell, 5, 5, prefix=f"{name}.", seed=seed, **options)
    return {name: array.astype(dtype) for name, array in arrays.items()}


def linear(*names: str) -> Arrays:
    rng = np.random.default_rng(0)
    arrays = {f"{name}.weight": rng.standard_normal((5, 5)) for name in names}
    arrays |= {f"{name}.bias": rng.standard_normal(5) for name in names}
    return {name: array.astype("float32") for name, array in arrays.items()}


def stack(cell: str, **options: Any) -> tuple[Any, ...]:
    return tuple(CELLS[cell](5, return_sequences=True, name=n, **options) for n in ("a", "b"))


def of_two_sizes() -> Any:
    """A layer whose directions differ, as those of no other framework do."""
    return la.Bidirectional(la.GRU(5), backward_layer=la.GRU(4, go_backwards=True), name="a")


def without(name: str, arrays: Arrays) -> Arrays:
    """Return a state_dict without one array."""
    return {key: array for key, array in arrays.items() if key != name}


#: A file and layers that it does not fit, and a word of the reason.
REFUSED: dict[str, tuple[Arrays, tuple[Any, ...], str]] = {
    "order": (pytorch("lstm", "p", "q"), stack("lstm"), "p, q"),
    "rivals": (pytorch("lstm", "p", "q"), stack("lstm")[:1], "p, q"),
    "rivals beside a layer": (
        pytorch("lstm", "p", "q") | pytorch("gru", "r"),
        (*stack("lstm")[:1], la.GRU(5, name="z")),
        r"p, q \w+ a;",
    ),
    "heads": (linear("p", "q"), (la.Dense(5, name="fc"),), "p, q"),
    "missing": (pytorch("gru", "a"), stack("gru"), "units"),
    "extra": (pytorch("gru", "a", "b", "c"), stack("gru"), "no such"),
    "units": (pytorch("gru", "a"), (la.GRU(4, name="a"),), "units"),
    "directions": (pytorch("gru", "a", both=True), (of_two_sizes(),), "weights of a"),
    "cell": (pytorch("lstm", "a") | pytorch("gru", "c"), (la.GRU(5, name="a"),), "weights of a"),
    "reset": (pytorch("gru", "a"), (la.GRU(5, reset_after=False, name="a"),), "reset_after"),
    "activation": (pytorch("lstm", "a"), (la.LSTM(5, activation="relu", name="a"),), "relu"),
    "bias": (pytorch("lstm", "a"), (la.LSTM(5, use_bias=False, name="a"),), "bias"),
    "projection": (pytorch("lstm", "a", proj_size=5), (la.LSTM(5, name="a"),), "proj"),
    "named": (pytorch("gru", "a") | linear("b"), (la.Dense(5, name="a"),), "lacks a/kernel"),
    "lacks": (without("fc.bias", linear("fc", "p", "q")), (la.Dense(5, name="fc"),), "fc/bias"),
    "NaN": (
        {"fc.weight": np.full((5, 5), np.nan, "f4")},
        (la.Dense(5, name="fc", use_bias=False),),
        "NaN",
    ),
    "dtype": (pytorch("gru", "a"), (la.GRU(5, name="a", dtype="float16"),), "dtype"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_cannot_take_is_refused(name: str, tmp_path: Path) -> None:
    arrays, layers, word = REFUSED[name]
    (tmp_path / "in").mkdir()
    path = written(tmp_path / "in" / "m.pt", foreign.torch_file(arrays))
    like = tmp_path / "in" / "like.keras"
    saved(of_layers(*layers, shape=(4, 5)), like)
    with pytest.raises(InputError, match=word) as refused:
        rnnshapes.convert(path, tmp_path / "new.weights.h5", like=like)
    assert not str(refused.value).endswith("; ")  # as if a remedy followed
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("wrong", ["lost", "unknown", "unbuilt"])
def test_incomplete_model_takes_no_weights(wrong: str, tmp_path: Path) -> None:
    """Its own numbers are ignored, but each of its arrays has to be there."""
    path = written(tmp_path / "m.pt", foreign.torch_file(pytorch("gru", "a")))
    model = of_layers(la.GRU(5, name="a"), shape=(4, 5))
    like = saved(
        keras.Sequential([la.GRU(5)]) if wrong == "unbuilt" else model, tmp_path / "l.keras"
    )
    changes: dict[str, dict[str, Any]] = {
        "lost": {"weights": lambda file: file.__delitem__("layers/gru/cell/vars/1")},
        "unknown": {"config": lambda config: layers_of(config)[-1].update(class_name="Own")},
        "unbuilt": {},
    }
    repacked(like, like, **changes[wrong])
    error = UnsupportedError if wrong == "unknown" else InputError
    with pytest.raises(error, match="l.keras" if wrong != "unknown" else "Own"):
        rnnshapes.convert(path, tmp_path / "new.weights.h5", like=like)
    assert {p.name for p in tmp_path.iterdir()} == {"m.pt", "l.keras"}


def test_layer_of_an_inner_model_has_its_name(tmp_path: Path) -> None:
    """One array of it is missing, which is named; another layer has all that it needs."""
    inner = keras.Sequential([keras.Input((5,)), la.Dense(5, name="fc")], name="enc")
    model = randomized(keras.Sequential([keras.Input((5,)), inner, la.Dense(5, name="z")]))
    arrays = without("enc.fc.bias", linear("enc.fc", "z"))
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    with pytest.raises(InputError, match=r"enc/fc/bias \(5,\)"):
        taken(tmp_path, path, model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no limit of sizes")
def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    import resource

    like, out = tmp_path / "like.keras", tmp_path / "new"
    saved(of_layers(la.GRU(5, name="a"), shape=(4, 5)), like)
    path = written(tmp_path / "m.pt", foreign.torch_file(pytorch("gru", "a")))
    out.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, limits[1]))
    try:
        with pytest.raises(InputError, match=r"new/w\.weights\.h5: cannot be written"):
            rnnshapes.convert(path, out / "w.weights.h5", like=like)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("layer", "nodes", "word"),
    [
        (
            lambda: la.Dense(3, use_bias=False),
            [("Transpose", ["w"], ["t"]), ("MatMul", ["x", "t"], ["y"])],
            "transposed",
        ),
        (la.LayerNormalization, [("Own", ["x", "g", "b"], ["y"])], "b and g"),
    ],
)
def test_open_meaning_of_an_array_is_refused(
    layer: Any, nodes: list[Any], word: str, tmp_path: Path
) -> None:
    arrays = {"w": (3, 3), "g": (3,), "b": (3,)}
    used = {name for _, names, _ in nodes for name in names}
    values = {k: np.ones(shape, "float32") for k, shape in arrays.items() if k in used}
    path = written(tmp_path / "m.onnx", onnx_file([onnx_node(*node) for node in nodes], values))
    with pytest.raises(InputError, match=word):
        taken(tmp_path, path, of_layers(layer(), shape=(3,)))


def test_equal_numbers_decide_nothing(tmp_path: Path) -> None:
    """The same file gives the same weights, whatever the numbers in the model are."""
    model = of_layers(*stack("lstm"), shape=(4, 5))
    rnnshapes.convert(model, tmp_path / "w.safetensors")
    text = (tmp_path / "w.safetensors").read_bytes()
    for old, new in ((b'"a.', b'"p.'), (b'"b.', b'"q.')):
        text = text.replace(old, new)
    with pytest.raises(InputError, match="p, q"):
        taken(tmp_path, written(tmp_path / "w.safetensors", text), model)


def test_command_converts_for_keras(tmp_path: Path, run) -> None:
    model = of_layers(la.LSTM(5, name="rnn"), la.Dense(2, name="fc"), shape=(None, 3))
    like, file, new = (tmp_path / name for name in ("m.keras", "w.safetensors", "n.weights.h5"))
    saved(model, like)
    assert run("convert", like, "-o", file).status == 0
    done = run("convert", file, "--like", like, "-o", new)
    assert (done.status, done.out.split()[0]) == (0, "AGREES")
    assert str(new) in done.out
    old = tmp_path / "old.h5"
    saved(model, old)
    for wrong in (
        (file, "--like", like, "-o", tmp_path / "n.h5"),
        (file, "--like", like, "--to", "torch", "-o", new),
        (file, "--like", file, "-o", new),
        (file, "--like", old, "-o", new),
        (like, "--like", like, "-o", new),
        (file, "-o", tmp_path / "n.safetensors"),
    ):
        failed = run("convert", *wrong)
        assert (failed.status, failed.err.count("\n")) == (2, 1)


def test_missing_biases_are_zero(tmp_path: Path) -> None:
    arrays = pytorch("gru", "a")
    arrays = {name: array for name, array in arrays.items() if "bias" not in name}
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    model = taken(tmp_path, path, of_layers(la.GRU(5, name="a"), shape=(4, 5)))
    assert not model.get_weights()[2].any()


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_layers_without_weights_need_no_counterpart(ending: str, tmp_path: Path) -> None:
    model = of_layers(la.LSTM(4, name="rnn"), la.Lambda(lambda x: x * 2.0), la.Dense(2, name="fc"))
    assert rnnshapes.convert(model, tmp_path / f"w{ending}").passed
