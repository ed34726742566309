"""Saved models: read without Keras, compared with their config, traced and verified."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import warnings
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as la
from keras.src.legacy.saving import legacy_h5_format

import rnnshapes
from rnnshapes import InputError, UnsupportedError
from rnnshapes.load.saved import spawn
from rnnshapes.load.saved.hdf5_client import Hdf5Client
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import inspect_network
from rnnshapes.network.weights import Weights
from rnnshapes.session import open_session
from tests.helpers.commands import assert_refused
from tests.helpers.files import layers_of, repacked, saved
from tests.helpers.keras_runs import run_of
from tests.helpers.models import (
    MODELS,
    Doubled,
    encoder_decoder,
    functional,
    model_of,
    randomized,
    sequential,
)

#: Written by Keras 3 in each form, from models of every kind.
FORMS = (".keras", ".h5")


@pytest.mark.parametrize("name", MODELS)
def test_saved_model_has_shapes_and_output_of_original(name: str, tmp_path: Path) -> None:
    """Shapes, counts, and the output that NumPy computes; both forms hold the same network."""
    model, run = model_of(name), run_of(name)
    read: list[tuple[Network, Weights]] = []
    for form in FORMS:
        path = saved(model, tmp_path / f"model{form}")
        with open_session(path, N=4, seed=5) as session:
            file = session.model.check(session.network)
            assert file.agrees, file.differences
            assert file.notes == ()
            read.append((session.network, session.weights()))
            if form == FORMS[0]:
                output = session.trace(keras=False).output
    np.testing.assert_allclose(output, run.keras.outputs[0], atol=1e-4)
    (network, weights), (other_network, other_weights) = read
    assert other_network == network
    np.testing.assert_equal(other_weights, weights)
    result = inspect_network(network)
    frozen = model.count_params() - sum(w.size for w in map(np.asarray, model.trainable_weights))
    assert result.params == model.count_params()
    assert result.params - result.trainable == frozen
    assert all(layer.supported for layer in result.layers)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *(("nested", ".keras"), ("deep", ".h5"), ("embedded, masked", ".keras")),
        *(("branches", ".h5"), ("given states", ".keras")),
    ],
)
def test_saved_model_is_verified(name: str, form: str, tmp_path: Path) -> None:
    """The network is built in Keras from what is known of it, and each step is proven."""
    path = saved(model_of(name), tmp_path / f"model{form}")
    result = rnnshapes.verify(path, N=3)
    assert result.passed, result
    assert rnnshapes.inspect(path, keras=True).keras.agrees


def test_changed_weight_changes_output(lstm: Path) -> None:
    """Each array of the file is the weight that it is in Keras."""
    before = rnnshapes.trace(lstm, keras=False, N=2).output
    outputs = []
    for group in ("layers/lstm/cell", "layers/dense"):
        for number in (0, 1):
            changed = lstm.with_name("changed.keras")

            def change(file: h5py.File, place: str = f"{group}/vars/{number}") -> None:
                file[place][...] = file[place][...] * 1.5

            repacked(lstm, changed, weights=change)
            outputs.append(rnnshapes.trace(changed, keras=False, N=2).output)
            assert not np.allclose(outputs[-1], before)
            assert rnnshapes.verify(changed, N=2).passed
    assert not any(np.allclose(a, b) for a, b in itertools.pairwise(outputs))


def test_layer_names_are_those_of_config(lstm: Path, run) -> None:
    """Not those of the classes, by which the groups of the file are named."""
    done = run("inspect", lstm, "--no-keras")
    assert done.status == 0
    rows = [line.split() for line in done.out.splitlines()]
    names = [row[0] for row in rows if row[:1] and row[-1].isdecimal()]
    assert names == ["encode", "kernel", "recurrent_kernel", "bias", "answer", "kernel", "bias"]
    assert keras.__version__ in done.out


def test_groups_are_matched_by_layer_name(tmp_path: Path) -> None:
    """Two layers of one class have exchanged groups."""
    model = randomized(
        sequential(la.GRU(5, name="a", return_sequences=True), la.GRU(5, name="b"), shape=(6, 5))
    )
    path = saved(model, tmp_path / "model.keras")

    def swap(file: h5py.File) -> None:
        file.move("layers/gru", "layers/c")
        file.move("layers/gru_1", "layers/gru")
        file.move("layers/c", "layers/gru_1")

    swapped = repacked(path, tmp_path / "swapped.keras", weights=swap)
    one, other = (rnnshapes.trace(p, keras=False).output for p in (path, swapped))
    np.testing.assert_array_equal(one, other)


def test_reading_imports_neither_keras_nor_h5py(lstm: Path) -> None:
    """Nor does a trace of the file without Keras."""
    code = (
        "import sys; from rnnshapes.cli import main; "
        f"s = [main([c, {str(lstm)!r}, '--no-keras']) for c in ('inspect', 'trace')]; "
        "assert s == [0, 0]; "
        "assert not {'keras', 'tensorflow', 'h5py', 'torch', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_file_type_is_detected_by_content(lstm: Path, tmp_path: Path) -> None:
    """Some HDF5 files are named .keras."""
    hdf5 = saved(randomized(sequential(la.GRU(5), shape=(6, 3))), tmp_path / "other.h5")
    renamed = hdf5.rename(tmp_path / "other.keras")
    assert rnnshapes.inspect(renamed).params == 3 * 5 * (3 + 5 + 2)
    zipped = lstm.rename(tmp_path / "model.h5")
    assert rnnshapes.inspect(zipped).params == 4 * 5 * (3 + 5 + 1) + 2 * (5 + 1)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_repacked_archive_is_read(lstm: Path, tmp_path: Path, method: int) -> None:
    """Also with compressed weights."""
    again = repacked(lstm, tmp_path / "again.keras", method=method)
    one, other = (rnnshapes.trace(p, keras=False).output for p in (lstm, again))
    np.testing.assert_array_equal(one, other)


#: Commands that compute with the weights of a model.
COMPUTING = [
    *("trace", "trace --no-keras --step 3", "trace --no-keras --golden g.h", "verify"),
    *("trace --quantize int8", "verify --against y.npy", "convert -o w.safetensors"),
]


def test_weight_of_other_shape_exits_1(lstm: Path, tmp_path: Path, in_folder: Path, run) -> None:
    """inspect names it; what computes with it exits with 2."""

    def shorten(file: h5py.File) -> None:
        del file["layers/lstm/cell/vars/2"]
        file["layers/lstm/cell/vars/2"] = np.ones(15, "float32")

    broken = repacked(lstm, tmp_path / "broken.keras", weights=shorten)
    done = run("inspect", broken, "--no-keras")
    assert done.status == 1
    difference = rnnshapes.inspect(broken).file.differences[0]
    assert (difference.name, difference.expected, difference.found) == ("encode/bias", (20,), (15,))
    assert run("inspect", broken, "--no-keras", "--format", "json").status == 1
    np.save(in_folder / "y.npy", np.zeros((1, 6, 2), "float32"))
    for command in COMPUTING:
        name, *options = command.split()
        assert_refused(run(name, broken, *options), "encode/bias", "(20,)", "(15,)")
    assert_refused(run("inspect", broken, "--no-keras", "--view", "values"), broken.name)
    assert {path.name for path in in_folder.iterdir()} == {"model.keras", "broken.keras", "y.npy"}


@pytest.mark.parametrize(("lost", "name"), [("0", "encode/bias"), ("2", "encode/bias")])
def test_missing_array_is_a_difference(lstm: Path, tmp_path: Path, lost, name) -> None:
    """Arrays have only numbers for names, so it is always the last that is missing."""

    def lose(file: h5py.File) -> None:
        del file[f"layers/lstm/cell/vars/{lost}"]

    broken = repacked(lstm, tmp_path / "broken.keras", weights=lose)
    differences = rnnshapes.inspect(broken).file.differences
    assert name in [fact.name for fact in differences if fact.found is None]


def test_extra_array_is_a_difference(lstm: Path, tmp_path: Path) -> None:
    """In a layer; an array outside of all layers is a note."""

    def add(file: h5py.File) -> None:
        file["layers/lstm/cell/vars/3"] = np.ones(4, "float32")
        file["layers/more/vars/0"] = np.ones(4, "float32")

    file = rnnshapes.inspect(repacked(lstm, tmp_path / "more.keras", weights=add)).file
    assert next(fact.name for fact in file.differences) == "encode/cell/vars/3"
    assert any("layers/more/vars/0" in note for note in file.notes)


def test_unknown_arrays_are_counted_beyond_three(lstm: Path, tmp_path: Path) -> None:
    for count, rest in ((3, []), (5, ["2"])):

        def add(weights: h5py.File, count: int = count) -> None:
            for letter in "abcde"[:count]:
                weights[f"layers/{letter}/vars/{letter}"] = np.ones(4, "float32")

        file = rnnshapes.inspect(repacked(lstm, tmp_path / f"{count}.keras", weights=add)).file
        (note,) = (note for note in file.notes if "layers/a/vars/a" in note)
        assert re.findall(r"\d+", note) == rest


def test_optimizer_arrays_are_not_counted(tmp_path: Path) -> None:
    """The sum of all arrays would be three times as large."""
    model = randomized(sequential(la.GRU(4), la.Dense(2), shape=(6, 3)))
    model.compile("adam", "mse")
    model.fit(np.ones((2, 6, 3)), np.ones((2, 2)), verbose=0)
    for form in FORMS:
        result = rnnshapes.inspect(saved(model, tmp_path / f"model{form}"))
        assert result.params == model.count_params()
        assert any("optimizer" in text for text in result.file.extras)


def test_frozen_weights_are_not_trainable(tmp_path: Path) -> None:
    """The config has it layer by layer."""
    model = sequential(la.GRU(4, trainable=False), la.Dense(2), shape=(6, 3))
    for form in FORMS:
        result = rnnshapes.inspect(saved(model, tmp_path / f"model{form}"))
        assert result.trainable == 2 * (4 + 1)


def test_unbuilt_model_has_symbolic_shapes(tmp_path: Path, run) -> None:
    """D is open until it is given; there are no weights to trace with."""
    path = saved(keras.Sequential([la.LSTM(4), la.Dense(2)]), tmp_path / "model.keras")
    done = run("inspect", path, "--no-keras")
    assert done.status == 0
    assert "(D, 4M)" in done.out
    assert "(?, 16)" in done.out
    assert json.loads(run("inspect", path, "--format", "json").out)["file"]["built"] is False
    assert run("inspect", path, "--D", 3).status == 0
    assert rnnshapes.inspect(path, D=3).params == 4 * 4 * (3 + 4 + 1) + 2 * (4 + 1)
    done = run("trace", path, "--D", 3, "--T", 5, "--no-keras")
    assert done.status == 2


@pytest.mark.parametrize("form", [".weights.h5", "legacy"])
def test_weights_alone_show_layers_and_shapes(tmp_path: Path, run, form: str) -> None:
    """There is no graph, so nothing can be traced; gates are known by the shapes of a cell."""
    model = randomized(sequential(la.LSTM(5), la.Dense(2), shape=(6, 3)))
    path = tmp_path / "model.weights.h5"
    if form == "legacy":
        with h5py.File(path, "w") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save_weights(path)
    result = rnnshapes.inspect(path)
    assert result.params == model.count_params()
    done = run("inspect", path, "--no-keras")
    assert done.status == 0
    assert "(5, 20)" in done.out
    gates = [
        [gate.name for gate in w.gates] for layer in result.layers for w in layer.weights if w.gates
    ]
    assert gates == [["i", "f", "c", "o"]] * 3
    assert run("inspect", path, "--format", "csv").status == 0
    np.save(tmp_path / "x.npy", np.ones((2, 6, 3)))
    refused = run("trace", path, "--no-keras")
    assert_refused(refused, path.name)
    assert run("trace", path, "--no-keras", "--input", tmp_path / "x.npy") == refused


def test_weights_of_a_subclassed_model_have_its_attributes(tmp_path: Path) -> None:
    """They are names of layers, in a file without the group of all layers."""

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.answer = la.LSTM(5), la.Dense(2)

        def call(self, x: Any) -> Any:
            return self.answer(self.encode(x))

    model = Own()
    model(np.zeros((1, 6, 3), "float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_weights(path := tmp_path / "model.weights.h5")
    result = rnnshapes.inspect(path)
    assert {layer.name: layer.params for layer in result.layers} == {"encode": 180, "answer": 12}


def test_own_layer_is_shown_and_never_run(tmp_path: Path, run) -> None:
    """Its arrays, its shape from the graph, and the layers behind it."""
    model = functional(lambda x: la.Dense(2)(la.LSTM(5)(Doubled(name="own")(x))), (6, 3))
    path = saved(model, tmp_path / "model.keras")
    result = rnnshapes.inspect(path)
    assert [layer.name for layer in result.layers if not layer.supported] == ["own"]
    assert result.layers[1].type == "LSTM"
    assert result.params == model.count_params()
    done = run("trace", path)
    assert done.status == 4
    assert "'own'" in done.err


def test_operation_differs_from_layer_of_same_name(tmp_path: Path) -> None:
    """x * 2 has the class Multiply in the config, as the layer with two inputs has."""
    model = randomized(functional(lambda x: la.Dense(2)(la.LSTM(5)(x * 2.0)), (6, 3)))
    for form in FORMS:
        path = saved(model, tmp_path / f"model{form}")
        assert rnnshapes.inspect(path).layers[0].label == "Multiply(2)"
        assert rnnshapes.verify(path, N=2).passed


@pytest.mark.parametrize("by_position", [False, True])
@pytest.mark.parametrize(("value", "supported"), [(0, True), (3, False)])
def test_only_mask_of_input_is_supported(
    value: int, supported: bool, by_position: bool, tmp_path: Path
) -> None:
    """Of two masks of an Embedding's index, one is what Keras makes."""
    x = keras.Input((6,))
    mask = keras.ops.not_equal(x, value)
    words = la.Embedding(11, 4, mask_zero=True)(x)
    lstm = la.LSTM(5)
    h = lstm(words, None, mask) if by_position else lstm(words, mask=mask)
    path = saved(randomized(keras.Model(x, la.Dense(2)(h))), tmp_path / "model.keras")
    layers = {layer.type: layer.supported for layer in rnnshapes.inspect(path).layers}
    assert layers["LSTM"] is supported


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_masking_behind_a_cast_is_supported(dtype: str, form: str, tmp_path: Path) -> None:
    """The cast is a call of the model, and Masking may add one of its own."""

    def graph(x: Any) -> Any:
        masked = la.Masking(dtype="float32")(keras.ops.cast(x > 0.1, dtype))
        return la.LSTM(5)(masked)

    path = saved(functional(graph), tmp_path / f"model{form}")
    assert all(layer.supported for layer in rnnshapes.inspect(path).layers)


@pytest.mark.parametrize("dtype", ["int32", "float16"])
def test_mask_of_a_rounded_input_is_unsupported(dtype: str, tmp_path: Path) -> None:
    """Rounding to integers, or to 16 bits, masks steps that Masking in float32 does not."""

    def graph(x: Any) -> Any:
        mask = keras.ops.any(keras.ops.not_equal(keras.ops.cast(x, dtype), 0.0), -1)
        return la.LSTM(5)(la.Masking()(x), mask=mask)

    path = saved(functional(graph), tmp_path / "model.keras")
    assert not rnnshapes.inspect(path).layers[-1].supported


def test_mask_that_is_an_input_is_unsupported(tmp_path: Path) -> None:
    x, mask = keras.Input((4, 3)), keras.Input((4,), dtype="bool")
    path = saved(keras.Model([x, mask], la.LSTM(5)(x, mask=mask)), tmp_path / "mask.keras")
    assert [node.layer.type for node in rnnshapes.inspect(path).network.unsupported] == ["LSTM"]


def test_initial_states_drop_the_mask(tmp_path: Path) -> None:
    """Keras passes on no mask to a layer with initial states."""
    model = randomized(functional(encoder_decoder, (6, 3), (7, 4)))
    path = saved(model, tmp_path / "model.keras")
    assert rnnshapes.verify(path, N=3).passed


def test_saved_model_takes_input_from_file(lstm: Path, tmp_path: Path, run) -> None:
    """With and without Keras."""
    x = np.random.default_rng(2).normal(size=(3, 6, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    for more in ((), ("--no-keras",)):
        done = run(
            "trace",
            lstm,
            "--input",
            tmp_path / "x.npy",
            "--format",
            "npz",
            *more,
            "-o",
            tmp_path / "out.npz",
        )
        assert done.status == 0, done.err
    with np.load(tmp_path / "out.npz") as found:
        expected = keras.models.load_model(lstm).predict(x, verbose=0)
        np.testing.assert_allclose(found["y_hat"][:, -1], expected, atol=1e-5)
    assert run("verify", lstm, "--input", tmp_path / "x.npy").status == 0


def test_several_inputs_come_from_one_npz(tmp_path: Path, run) -> None:
    """Each has the name of an input."""
    a, b = keras.Input((6, 3), name="left"), keras.Input((4, 2), name="right")
    model = keras.Model([a, b], la.Dense(2)(la.Concatenate()([la.GRU(4)(a), la.LSTM(5)(b)])))
    path = saved(randomized(model), tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", right=np.ones((3, 4, 2)), left=np.zeros((3, 6, 3)))
    assert run("verify", path, "--input", tmp_path / "x.npz").status == 0
    np.savez(tmp_path / "x.npz", left=np.ones((3, 6, 3)))
    done = run("verify", path, "--input", tmp_path / "x.npz")
    assert done.status == 2
    assert "right" in done.err


@pytest.mark.parametrize("options", [("--M", 7), ("--cell", "gru"), ("--T", 7)])
def test_option_that_file_fixes_exits_2(options: tuple[str, Any], lstm: Path, run) -> None:
    """The message names the option."""
    done = run("inspect", lstm, *options, "--no-keras")
    assert done.status == 2
    assert options[0].strip("-") in done.err


def test_model_is_not_overwritten(lstm: Path, run) -> None:
    """-o cannot name the file that is read."""
    before = lstm.read_bytes()
    assert run("inspect", lstm, "--format", "json", "-o", lstm).status == 2
    assert lstm.read_bytes() == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_traced_and_verified(tmp_path: Path, run, dtype: str) -> None:
    """With NumPy alone and next to Keras."""
    options = {"dtype": dtype, "recurrent_initializer": "glorot_uniform"}
    x = keras.Input((6, 3), dtype=dtype)
    model = keras.Model(x, la.Dense(2, dtype=dtype)(la.LSTM(5, **options)(x)))
    path = saved(model, tmp_path / "half.keras")
    assert rnnshapes.inspect(path).bytes == 2 * model.count_params()
    x = np.ones((1, 6, 3), "float32")
    trace = rnnshapes.trace(path, x=x, keras=False)
    np.testing.assert_allclose(
        trace.output, np.asarray(model.predict(x, verbose=0), float), atol=0.05
    )
    result = rnnshapes.verify(path, N=3)
    assert result.passed
    assert {check.precision for check in result.checks} == {"", dtype, "float64"}


def test_json_describes_the_file(lstm: Path) -> None:
    """Which Keras wrote it, whether it is as expected, and what differs."""
    record = rnnshapes.inspect(lstm).to_dict()["file"]
    assert record["agrees"] is True
    assert record["built"] is True
    assert record["keras_version"] == keras.__version__
    assert record["differences"] == []
    assert rnnshapes.inspect().to_dict()["file"] is None


def test_missing_file_is_named() -> None:
    """From Python, too."""
    with pytest.raises(InputError, match=r"^nowhere.keras: "):
        rnnshapes.inspect("nowhere.keras")


def test_subclassed_model_shows_weights_alone(lstm: Path, tmp_path: Path) -> None:
    """Its config names a class and lists no layers."""

    def other(config: dict[str, Any]) -> dict[str, Any]:
        return {"module": "mine", "class_name": "MyModel", "config": {}, "registered_name": "x"}

    path = repacked(lstm, tmp_path / "own.keras", config=other)
    result = rnnshapes.inspect(path)
    assert "MyModel" in result.file.kind
    assert result.params == 192
    with pytest.raises(UnsupportedError, match="MyModel"):
        rnnshapes.trace(path, x=np.zeros((2, 10, 3)), keras=False)


def test_own_activation_is_unsupported(lstm: Path, tmp_path: Path) -> None:
    """The layer is shown with its arrays, and with the reason."""

    def change(config: dict[str, Any]) -> None:
        layers_of(config)[1]["config"]["activation"] = {
            "class_name": "function",
            "config": "mine",
            "module": "builtins",
            "registered_name": "function",
        }

    layers = rnnshapes.inspect(repacked(lstm, tmp_path / "own.keras", config=change)).layers
    assert not layers[0].supported
    assert any("activation" in note.text for note in layers[0].notes)


def test_early_process_reads_the_file(lstm: Path) -> None:
    """It starts while the command loads; for what is no file none starts."""
    spawn.start_early(["inspect", "nowhere.keras"])
    spawn.start_early(["inspect"])
    assert not spawn._started
    spawn.start_early(["inspect", str(lstm)])
    (process,) = spawn._started.values()
    with closing(Hdf5Client(lstm)) as client:
        assert client._process is process
        assert not spawn._started
    assert process.poll() is not None
