"""Data of another shape: what came, what the model takes, and the one change that would fit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError, progress
from rnnshapes.forward import scan
from rnnshapes.load import check_shape, inputs
from rnnshapes.session import open_session
from tests.helpers.files import saved
from tests.helpers.models import MODELS, randomized, sequential

pytestmark = pytest.mark.usefixtures("eager")

MODEL = sequential(la.LSTM(5), la.Dense(2), shape=(10, 3))
OPEN = sequential(la.LSTM(5), la.Dense(2), shape=(None, 3))
ONE = sequential(la.LSTM(5), la.Dense(2), shape=(10, 1))
WORDS = sequential(la.Embedding(11, 4), la.LSTM(5), shape=(10,))

#: The model, the shape of the data, and the advice, of which ``x…`` is tried out.
ADVICE = [
    (MODEL, (10, 7, 3), "x.transpose(1, 0, 2)"),
    (MODEL, (7, 3, 10), "x.transpose(0, 2, 1)"),
    (MODEL, (3, 10), "x[None].transpose(0, 2, 1)"),
    (OPEN, (3, 8), "x[None].transpose(0, 2, 1)"),
    (ONE, (7, 10), "x[..., None]"),
    (MODEL, (7, 10, 3, 1), "x.squeeze(3)"),
    (WORDS, (7, 10, 1), "x.squeeze(2)"),
    (MODEL, (7, 30), "x.reshape(-1, 10, 3)"),
    (OPEN, (7, 30), "x.reshape(-1, 10, 3)"),
    (MODEL, (7, 10, 4), "x[..., 1:]"),
    (MODEL, (7, 10, 5), "x[..., :3]"),
    (MODEL, (7, 12, 3), "x[:, :10]"),
]
WORDS_OF = {
    (7, 10, 4): "D (input features) is 4, and 3 are wanted",
    (7, 12, 3): "T (time steps) is 12, and 10 are wanted",
    (7, 8, 3): "T (time steps) is 8, and 10 are wanted: 2 are missing",
    (7, 10, 2): "D (input features) is 2, and 3 are wanted: 1 is missing",
    (7, 3, 10): "its axes are in another order",
    (2, 7, 10, 3): "it has 4 axes, and 3 are wanted (N, T, D)",
    (7, 11, 5): "no one change of its axes would make it fit",
}


@pytest.mark.parametrize(("model", "shape", "code"), ADVICE)
def test_the_change_that_is_advised_makes_it_fit(model: Any, shape: Any, code: str) -> None:
    """It is said as code, and the code does it."""
    x = np.zeros(shape)
    with pytest.raises(InputError, match=re.escape(code)) as error:
        rnnshapes.trace(model, x=x)
    assert "\n" not in str(error.value)
    made = eval(code, {"x": x})  # noqa: S307 - the code is that of the table above
    network, _ = check_shape.match_input(rnnshapes.load.live.model.read_model(model), made, {})
    assert network.sizes["N"] == len(made)


@pytest.mark.parametrize("shape", WORDS_OF)
def test_sizes_are_named(shape: tuple[int, ...]) -> None:
    """With what came and what the model takes, in N, T and D."""
    with pytest.raises(InputError) as error:
        rnnshapes.trace(MODEL, x=np.zeros(shape))
    assert str(error.value) == (
        f"x: its shape is {shape}, and the model takes (N, T, D) = (N, 10, 3); "
        + str(error.value).split("; ", 1)[1]
    )
    assert WORDS_OF[shape] in str(error.value)


def test_the_command_says_it_of_a_file(tmp_path: Path, run) -> None:
    """One line, exit status 2."""
    np.save(tmp_path / "x.npy", np.zeros((10, 7, 3)))
    path = saved(MODEL, tmp_path / "model.keras")
    done = run("trace", path, "--input", tmp_path / "x.npy", "--no-keras")
    assert done.status == 2
    assert "x.transpose(1, 0, 2) has shape (7, 10, 3)" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["masked, both", "flattened", "backwards", "embedded, masked"])
def test_many_samples_go_through_in_parts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same, and how far it is can be watched."""
    with open_session(randomized(MODELS[name]()), N=100) as session:
        weights = session.weights()
        whole = rnnshapes.forward.tracing.trace_network(
            session.network, weights, session.sources, "y,h"
        )
        monkeypatch.setattr(scan, "SAMPLES_BYTES", 1)
        told: list[tuple[int, int]] = []
        with progress.listening(lambda *at: told.append(at)), progress.work(10**9):
            parts = rnnshapes.forward.tracing.trace_network(
                session.network, weights, session.sources, "y,h"
            )
    assert told[-2][0] == session.network.scan_steps
    assert len(told) >= 4
    np.testing.assert_allclose(parts.output, whole.output, atol=1e-12)
    for one, other in zip(parts.layers, whole.layers, strict=True):
        np.testing.assert_allclose(one.states["h"], other.states["h"], atol=1e-12)


def test_drawn_numbers_are_the_same_in_parts() -> None:
    """Some samples alone are those of all."""
    with open_session(N=9, T=5) as session:
        source = session.sources[0]
    part = next(source.blocks(2**62, slice(3, 6)))
    np.testing.assert_array_equal(part, inputs.full_array(source)[3:6])


@pytest.mark.parametrize("lines", ["1\n2\n3\n", "sample,t,word\n0,0,1\n0,1,2\n0,2,3\n"])
def test_words_in_a_csv_file_stand_one_in_a_line(lines: str, tmp_path: Path) -> None:
    """A line is a time step, as it is for features."""
    (tmp_path / "x.csv").write_text(lines)
    model = sequential(la.Embedding(11, 4), la.LSTM(5), shape=(None,))
    network, found = check_shape.match_input(
        rnnshapes.load.live.model.read_model(model), tmp_path / "x.csv", {}
    )
    assert (network.sizes["N"], network.sizes["T"]) == (1, 3)
    np.testing.assert_array_equal(found[0].array, [[1, 2, 3]])


def test_a_wrong_index_is_shown_with_its_place() -> None:
    """Which it is, and where."""
    x = np.ones((2, 10))
    x[1, 3] = 99
    with pytest.raises(InputError, match="at sample 1, t 3 there is 99"):
        rnnshapes.trace(WORDS, x=x)
