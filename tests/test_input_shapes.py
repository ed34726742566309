"""Data of another shape: its sizes, those of the model, and the one change that would fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError, progress
from rnnshapes.forward import scan, tracing
from rnnshapes.load import check_shape, inputs
from rnnshapes.session import open_session
from tests.helpers.commands import assert_refused
from tests.helpers.files import saved
from tests.helpers.models import model_of, sequential

MODEL = sequential(la.LSTM(5), la.Dense(2), shape=(10, 3))
OPEN = sequential(la.LSTM(5), la.Dense(2), shape=(None, 3))
ONE = sequential(la.LSTM(5), la.Dense(2), shape=(10, 1))
WORDS = sequential(la.Embedding(11, 4), la.LSTM(5), shape=(10,))

#: The model, the shape of the data, and the code that the message advises.
ADVICE = [
    (MODEL, (10, 7, 3), "x.transpose(1, 0, 2)"),
    (MODEL, (7, 3, 10), "x.transpose(0, 2, 1)"),
    (MODEL, (3, 10), "x[None].transpose(0, 2, 1)"),
    (OPEN, (3, 8), "x[None].transpose(0, 2, 1)"),
    (ONE, (7, 10), "x[..., None]"),
    (MODEL, (7, 10, 3, 1), "x.squeeze(3)"),
    (WORDS, (7, 10, 1), "x.squeeze(2)"),
    (MODEL, (7, 30), "x.reshape(-1, 10, 3)"),
    (OPEN, (7, 6), "x.reshape(-1, 2, 3)"),
    (OPEN, (7, 30), "x.reshape(-1, 10, 3)"),
    (MODEL, (7, 10, 4), "x[..., 1:]"),
    (MODEL, (7, 10, 5), "x[..., :3]"),
    (MODEL, (7, 12, 3), "x[:, :10]"),
]
#: The shape of the data, and facts that the message has to mention.
FACTS = {
    (7, 10, 4): ("D (input features)", "4", "3"),
    (7, 12, 3): ("T (time steps)", "12", "10"),
    (7, 8, 3): ("T (time steps)", "8", "10", "2 are missing"),
    (7, 10, 2): ("D (input features)", "2", "3", "1 is missing"),
    (7, 3, 10): ("axes", "order"),
    (2, 7, 10, 3): ("4 axes", "3"),
    (7, 11, 5): ("no one change",),
}


@pytest.mark.parametrize(("model", "shape", "code"), ADVICE)
def test_advised_code_makes_data_fit(model: Any, shape: Any, code: str) -> None:
    """The code is run."""
    x = np.zeros(shape)
    with pytest.raises(InputError, match=re.escape(code)) as error:
        rnnshapes.trace(model, x=x)
    assert "\n" not in str(error.value)
    made = eval(code, {"x": x})  # noqa: S307 - the code is that of the table above
    network, _ = check_shape.match_input(rnnshapes.load.live.network.read_model(model), made, {})
    assert network.sizes["N"] == len(made)


def test_rows_are_steps_of_sequences_alone() -> None:
    """Neither of images, nor of vectors."""
    for shape, given in (((15, 3, 2), (7, 30)), ((3,), (7, 9))):
        network = rnnshapes.load.live.network.read_model(sequential(la.Flatten(), shape=shape))
        with pytest.raises(InputError) as error:
            check_shape.match_input(network, np.zeros(given), {})
        assert "reshape" not in str(error.value)


def test_a_single_sample_needs_no_axis() -> None:
    """Where the model takes one sample at once, too."""
    x = np.random.default_rng(2).standard_normal((9, 3))
    for batch in (None, 1):
        model = keras.Sequential([keras.Input(batch_shape=(batch, 9, 3)), la.GRU(4)])
        one, other = (rnnshapes.trace(model, x=given, keras=False) for given in (x, x[None]))
        np.testing.assert_array_equal(one.output, other.output)


@pytest.mark.parametrize("shape", FACTS)
def test_message_has_both_shapes(shape: tuple[int, ...]) -> None:
    """That of the data and that of the model, in N, T and D."""
    with pytest.raises(InputError) as error:
        rnnshapes.trace(MODEL, x=np.zeros(shape))
    for fact in (str(shape), "(N, T, D) = (N, 10, 3)", *FACTS[shape]):
        assert fact in str(error.value)


def test_input_of_other_shape_exits_2(tmp_path: Path, run) -> None:
    """With one line."""
    np.save(tmp_path / "x.npy", np.zeros((10, 7, 3)))
    path = saved(MODEL, tmp_path / "model.keras")
    done = run("trace", path, "--input", tmp_path / "x.npy", "--no-keras")
    assert done.status == 2
    assert "x.transpose(1, 0, 2)" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["masked, both", "flattened", "embedded, masked"])
def test_samples_in_parts_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is reported for each part."""
    with open_session(model_of(name), N=100) as session:
        weights = session.weights()
        whole = tracing.trace_network(session.network, weights, session.sources, "y,h")
        monkeypatch.setattr(scan, "SAMPLES_BYTES", 1)
        told: list[tuple[int, int]] = []
        with progress.listening(lambda *at: told.append(at)), progress.work(10**9):
            parts = tracing.trace_network(session.network, weights, session.sources, "y,h")
    assert told[-2][0] == session.network.scan_steps
    assert len(told) >= 4
    np.testing.assert_allclose(parts.output, whole.output, atol=1e-12)
    for one, other in zip(parts.layers, whole.layers, strict=True):
        np.testing.assert_allclose(one.states["h"], other.states["h"], atol=1e-12)


def test_random_input_is_the_same_in_parts() -> None:
    """Some samples alone are those of all."""
    with open_session(N=9, T=5) as session:
        source = session.sources[0]
    part = next(source.blocks(2**62, slice(3, 6)))
    np.testing.assert_array_equal(part, inputs.full_array(source)[3:6])


@pytest.mark.parametrize("lines", ["1\n2\n3\n", "sample,t,word\n0,0,1\n0,1,2\n0,2,3\n"])
def test_csv_of_words_has_one_per_line(lines: str, tmp_path: Path) -> None:
    """A line is a time step, as for features."""
    (tmp_path / "x.csv").write_text(lines)
    model = sequential(la.Embedding(11, 4), la.LSTM(5), shape=(None,))
    network, found = check_shape.match_input(
        rnnshapes.load.live.network.read_model(model), tmp_path / "x.csv", {}
    )
    assert (network.sizes["N"], network.sizes["T"]) == (1, 3)
    np.testing.assert_array_equal(found[0].array, [[1, 2, 3]])


def test_line_of_one_word_is_a_sample(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("7\n")
    model = sequential(la.TimeDistributed(la.Embedding(11, 4)), la.Flatten(), shape=(1, 1))
    network = rnnshapes.load.live.network.read_model(model)
    _, found = check_shape.match_input(network, tmp_path / "x.csv", {})
    assert found[0].array.tolist() == [[[7]]]


@pytest.mark.parametrize("at_each_step", [False, True])
@pytest.mark.parametrize("index", [99, 11, -1, 2.5])
def test_message_has_index_out_of_range(index: float, at_each_step: bool) -> None:
    """And its sample and time step."""
    words = la.Embedding(11, 4)
    model = sequential(la.TimeDistributed(words), la.Flatten(), shape=(10, 2))
    network = rnnshapes.load.live.network.read_model(model if at_each_step else WORDS)
    x = np.full((2, 10, 2) if at_each_step else (2, 10), 10.0)
    check_shape.match_input(network, x, {})
    x[1, 3] = index
    with pytest.raises(InputError, match=rf"sample 1.* t 3 .* {index}$"):
        check_shape.match_input(network, x, {})


UNFIT: dict[str, Any] = {
    "reshape": la.Reshape((6, 4), name="reshape"),
    "add": lambda h: la.Add(name="add")([h, la.Conv1D(4, 2)(h)]),
}


@pytest.mark.parametrize("name", UNFIT)
def test_open_steps_that_do_not_fit_are_refused(name: str, run: Any, tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    h = la.LSTM(4, return_sequences=True)(x)
    path = saved(keras.Model(x, la.Dense(2)(UNFIT[name](h))), tmp_path / "model.keras")
    for command in (("trace", "--no-keras"), ("trace", "--quantize", "int8")):
        result = run(command[0], path, *command[1:], "--T", 5)
        assert_refused(result, name)
