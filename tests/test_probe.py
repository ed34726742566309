"""``--probe``: a short x after which the numbers of a port identify every weight."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.load.live.network import read_model
from rnnshapes.load.probe import probe_inputs, with_probe_samples
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import Tap
from tests.helpers.cells import LAYERS
from tests.helpers.commands import assert_refused
from tests.helpers.files import saved
from tests.helpers.golden import WARNINGS, by_hand
from tests.helpers.models import randomized, sequential
from tests.helpers.pages import OUTPUTS, PAGES

Array = np.ndarray


def design(x: Array, h: Array, *, reverse: bool = False) -> Array:
    """The rows [x_t, h_{t-1}, 1] of the least-squares problem of each unit, scaled by column."""
    first = np.zeros_like(h[:, :1])
    moved = [h[:, 1:], first] if reverse else [first, h[:, :-1]]
    before = np.concatenate(moved, axis=1)
    rows = np.concatenate([x, before, np.ones((*x.shape[:2], 1))], axis=-1)
    rows = rows.reshape(-1, rows.shape[-1]).astype("float64")
    return rows / np.linalg.norm(rows, axis=0)


@pytest.mark.parametrize("sizes", [(3, 5), (5, 4), (4, 24), (17, 8)], ids=str)
@pytest.mark.parametrize("cell", BY_NAME)
def test_each_unit_has_well_conditioned_equations(cell: str, sizes: tuple[int, int]) -> None:
    features, units = sizes
    options: Any = {"cell": cell, "D": features, "M": units, "keras": False}
    golden = rnnshapes.golden(**options, probe=True).arrays
    rows = design(golden["x"], golden[f"{LAYERS[cell]}.h"])
    assert len(rows) >= 8 * rows.shape[1]
    assert np.linalg.matrix_rank(rows) == features + units + 1
    assert np.linalg.cond(rows) < 40


def test_layers_of_a_stack_are_well_conditioned() -> None:
    golden = rnnshapes.golden(M=[6, 5], bidirectional=True, cell="gru", probe=True).arrays
    joined = np.concatenate(
        [golden[f"bidirectional/{way}_gru.h"] for way in ("forward", "backward")], axis=-1
    )
    for name, x in (("bidirectional/{}_gru", golden["x"]), ("bidirectional_1/{}_gru_1", joined)):
        for way in ("forward", "backward"):
            rows = design(x, golden[f"{name.format(way)}.h"], reverse=way == "backward")
            assert np.linalg.cond(rows) < 60


def test_samples_begin_with_zeros_and_single_features() -> None:
    x = rnnshapes.golden(D=4, M=5, probe=True, seed=3).arrays["x"]
    assert not x[0, :2].any()
    assert not x[1:5, 1].any()
    assert np.array_equal(x[1:5, 0] != 0, np.eye(4, dtype=bool))
    assert np.array_equal(x * 16, np.round(x * 16))
    other = rnnshapes.golden(D=4, M=5, probe=True, seed=4).arrays["x"]
    assert not np.array_equal(x, other)


@pytest.mark.parametrize(
    ("cell", "kind"), [*zip(BY_NAME, ("kernel", "recurrent_kernel", "bias"), strict=False)]
)
def test_any_wrong_weight_is_named(cell: str, kind: str) -> None:
    options: Any = {"cell": cell, "D": 4, "M": 5, "seed": 2}
    golden, layer = rnnshapes.golden(**options, probe=True).arrays, LAYERS[cell]
    wrong = golden[f"{layer}/{kind}"].copy()
    index = tuple(map(int, np.random.default_rng(2).integers(wrong.shape)))
    wrong[index] += 0.25
    arrays = {**golden, f"{layer}/{kind}": wrong}
    states = by_hand(arrays, layer, golden["x"].astype("float64"), cell)
    given = {
        key: states[f"{layer}.{key}"].astype("float32")
        for key in ("h", "c")
        if f"{layer}.{key}" in states
    }
    result = rnnshapes.verify(**options, probe=True, against=given)
    (explanation,) = result.to_dict()["diagnosis"]
    assert explanation["id"] == "weights.one_wrong"
    assert explanation["where"]["array"] == kind
    assert explanation["where"]["unit"] == index[-1] % 5


def test_saved_and_live_model_have_the_same_probe(tmp_path: Path) -> None:
    model = randomized(sequential(la.LSTM(4), la.Dense(2), shape=(None, 3)))
    live = rnnshapes.golden(model, probe=True).arrays["x"]
    file = rnnshapes.golden(str(saved(model, tmp_path / "m.keras")), probe=True).arrays["x"]
    np.testing.assert_array_equal(live, file)
    assert live.shape[1:] == (10, 3)
    shorter = rnnshapes.golden(model, probe=True, T=5).arrays["x"]
    assert shorter.shape[0] > live.shape[0]


def test_states_among_inputs_begin_with_single_numbers() -> None:
    """The first sample is all zeros, each of the next has one number, the others have all."""
    x, start = keras.Input((6, 3), name="x"), keras.Input((4,), name="start")
    model = randomized(keras.Model([x, start], la.GRU(4)(x, initial_state=start)))
    network = read_model(model).with_sizes(N=20)
    found = [next(source.blocks(2**62)) for source in probe_inputs(network, 3)]
    assert [array.shape for array in found] == [(20, 6, 3), (20, 4)]
    first = found[1]
    assert not first[0].any()
    assert np.array_equal(first[1:5] != 0, np.eye(4, dtype=bool))
    assert np.mean(first[5:] != 0) > 0.8
    assert first[5:].std() < 1  # as states have them
    assert np.linalg.matrix_rank(first[5:]) == 4
    assert np.array_equal(first * 16, np.round(first * 16))  # porting.md says so


def test_probe_holds_every_word() -> None:
    model = randomized(sequential(la.Embedding(50, 3), la.GRU(4), shape=(6,), dtype="int32"))
    x = rnnshapes.golden(model, probe=True).arrays["x"]
    assert set(x.ravel()) == set(range(50))


def test_probe_is_whole_batches_of_a_stateful_model() -> None:
    """Of the 10 samples that its 4 units need, 12 are three batches."""
    model = keras.Sequential([keras.Input(batch_shape=(4, 7, 3)), la.GRU(4, stateful=True)])
    assert len(rnnshapes.golden(randomized(model), probe=True).arrays["x"]) == 12


@pytest.mark.parametrize("args", [["--N", "3"], ["--input", "x.npy"]], ids=" ".join)
def test_probe_chooses_samples_and_x(args: list[str], run, in_folder) -> None:
    np.save("x.npy", np.ones((2, 5, 3)))
    assert_refused(run("trace", "--no-keras", "--probe", *args), "--probe", args[0])


# --- The example of the page --------------------------------------------------------------------


@pytest.fixture
def page() -> tuple[str, list[str], list[str]]:
    """The program in C, the commands, and what verify prints of a wrong and a right port."""
    text = PAGES["docs/porting"].partition("\n## Probe, port, verify\n")[2].partition("\n## ")[0]
    (code,), (commands,) = (
        re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("c", "sh")
    )
    return code, commands.splitlines(), re.findall(r"```text\n(.*?)```", text, re.DOTALL)


def run_program(code: str, commands: list[str], run: Any) -> str:
    """Return what the last of the commands of the page prints for a program."""
    Path("port.c").write_text(code, encoding="utf-8")
    trace, compiler, program, verify = (line.split() for line in commands)
    assert run(*trace[1:]).status == 0
    assert set(WARNINGS) <= set(compiler)
    subprocess.run(compiler, check=True)
    with Path(program[2]).open("w", encoding="utf-8") as output:
        subprocess.run([Path(program[0]).resolve()], check=True, stdout=output)
    printed: str = run(*verify[1:]).out
    return printed


@pytest.mark.skipif(shutil.which("cc") is None, reason="no compiler")
def test_program_of_the_page_agrees(page, run, in_folder) -> None:
    code, commands, (failed, agrees) = page
    assert OUTPUTS.difference(run_program(code, commands, run), agrees) is None
    right, wrong = "z * h[m] + (1 - z) * candidate", "(1 - z) * h[m] + z * candidate"
    assert right in code
    printed = run_program(code.replace(right, wrong), commands, run)
    assert OUTPUTS.difference(printed, failed) is None


@pytest.mark.parametrize(
    ("options", "samples"),
    [
        ({"D": 3, "M": 5, "T": 10}, 8),
        ({"D": 3, "M": 5, "T": 9}, 8),
        ({"D": 3, "M": 5, "T": 8}, 9),
        ({"D": 20, "M": 1, "T": 10}, 22),
        ({"D": 3, "M": [5, 11], "T": 10}, 14),
        ({"D": 3, "M": [5, 11], "T": 10, "bidirectional": True}, 18),
        ({"D": 1, "M": 1, "T": 100}, 3),
        ({"D": 2000, "M": 1, "T": 10_000}, 1026),
    ],
)
def test_samples_are_as_many_as_weights_need(options: dict[str, Any], samples: int) -> None:
    """Eight equations for each weight of a gate, and one sample for each feature and two more."""
    network = from_sizes(**options)
    assert with_probe_samples(network).sizes["N"] == samples


EMBEDDING: dict[str, Any] = {
    "class_name": "Embedding",
    "config": {"input_dim": 500, "output_dim": 3},
}
GRU_CELL, LSTM_CELL = (
    {"class_name": f"{kind}Cell", "config": {"units": units}}
    for kind, units in (("GRU", 4), ("LSTM", 6))
)


@pytest.mark.parametrize(
    ("shape", "kind", "config", "samples"),
    [
        ((40,), "Dense", {"units": 2}, 42),
        ((2, 40), "Dense", {"units": 2}, 42),
        ((7,), "Embedding", EMBEDDING["config"], 72),
        ((7, 5), "TimeDistributed", {"layer": EMBEDDING}, 15),
        ((7,), "Embedding", {"input_dim": 3, "output_dim": 3}, 2),
        (
            (7, 3),
            "RNN",
            {"cell": {"class_name": "StackedRNNCells", "config": {"cells": [GRU_CELL, LSTM_CELL]}}},
            16,
        ),
    ],
)
def test_samples_are_as_many_as_any_input_needs(
    shape: tuple[int, ...], kind: str, config: dict[str, Any], samples: int
) -> None:
    """Each word comes at least once, each feature alone, each cell's weights eight times."""
    source = LayerCall(
        "x", "InputLayer", {"batch_shape": (None, *shape), "integers": "input_dim" in str(config)}
    )
    network = assemble(LayerGraph((source, LayerCall("y", kind, config, (Tap(0),))), (Tap(1),)))
    assert with_probe_samples(network.with_sizes(N=1)).sizes["N"] == samples
