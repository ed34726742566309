"""``verify --sweep``: the grid, what is verified of each network, and how it is reported."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import memory, reference
from rnnshapes.cells.gru import GRUCell
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.verification import grid, sweeping
from tests.helpers.commands import process

SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6}
#: One network of each cell and form of it; only the activation of gates still varies.
ONE: dict[str, Any] = {
    **SIZES,
    "activation": "tanh",
    "use_bias": True,
    "return_sequences": True,
    "bidirectional": False,
    "go_backwards": False,
}
LSTM = {**ONE, "cell": "lstm", "recurrent_activation": "sigmoid"}
FLAGS = ["--N", 2, "--T", 5, "--D", 3, "--M", 4, "--K", 6, "--activation", "tanh", "--bias"]
FLAGS += ["--return-sequences", "--one-direction", "--forwards"]


# --- The grid -----------------------------------------------------------------------------------


def test_the_default_grid_has_each_cell_with_each_option() -> None:
    """Between 150 and 300 networks, none twice, and every choice of every axis."""
    planned = grid.networks({})
    rows = [options for options, _ in planned]
    assert 150 <= len(rows) <= 300
    assert len({network for _, network in planned}) == len(rows)
    for cell in ("simple", "lstm", "gru"):
        own = [row for row in rows if row["cell"] == cell]
        for option in ({}, {"use_bias": False}, {"go_backwards": True}, {"return_sequences": True}):
            assert any(option.items() <= row.items() for row in own)
        assert {row.get("merge_mode") for row in own} == {None, "sum", "mul", "ave"}
        for size in "NTDMK":
            assert any(row[size] == 1 for row in own)
        assert any(isinstance(row["M"], tuple) for row in own)
        assert any(row["T"] == 50 and row["M"] == 64 for row in own)
        assert len({row.get("activation") for row in own}) > 5
    assert any(row["cell"] == "gru" and row.get("reset_after") is False for row in rows)


def test_the_usual_sizes_are_all_different() -> None:
    """A mistaken axis shows only where no two sizes are equal."""
    (usual,) = grid.USUAL
    assert len(set(usual.values())) == len("NTDMK")


@pytest.mark.parametrize(
    ("fixed", "count"),
    [
        ({"cell": "lstm"}, None),
        ({"M": 64, "T": 100}, None),
        ({"activation": "mish"}, None),  # which the grid itself does not have
        ({"recurrent_activation": "tanh"}, None),  # which a SimpleRNN does not have
        ({"merge_mode": "sum"}, None),
        ({"reset_after": False}, None),
        ({"M": (7, 8, 9)}, None),
        (ONE, 4 + 3 * 3),  # the gates' activation still varies
        ({**ONE, "cell": "gru", "reset_after": True, "recurrent_activation": "relu"}, 1),
    ],
    ids=str,
)
def test_an_option_that_is_given_is_fixed(fixed: dict[str, Any], count: int | None) -> None:
    """Every configuration has it, and the others vary as before."""
    rows = grid.networks(fixed)
    assert len(rows) == count if count else len(rows) > 10
    for options, network in rows:
        for name, value in fixed.items():
            assert options.get(name, grid.LEFT_OUT.get(name)) == value
        assert network == from_sizes(**options)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--recurrent-activation", "foo"], "recurrent_activation 'foo' is no activation"),
        (["--merge-mode", "foo"], "there are concat, sum, mul, ave"),
        (["--bidirectional", "--go-backwards"], "give one of them"),
        (["--cell", "lstm", "--no-reset-after"], "reset_after is no option of LSTM"),
        (["--input", "x.npy"], "leave --input (x.npy) out, or --sweep"),
        (["model.keras"], "leave MODEL (model.keras) out, or --sweep"),
        (["-o", "x.npz"], "the ending .npz stands for no format here"),
    ],
)
def test_what_no_network_can_have_is_one_line_and_status_2(args, message, run, in_folder) -> None:
    """Before Keras is waited for."""
    done = run("verify", "--sweep", *args)
    assert done.status == 2
    assert done.out == ""
    assert done.err.startswith("rnnshapes: error: ")
    assert done.err.count("\n") == 1
    assert message in done.err


# --- Correct networks ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def swept() -> sweeping.Sweep:
    """One direction and both, one size, one seed that is not 0."""
    return rnnshapes.sweep(
        seed=3, use_bias=True, activation="tanh", return_sequences=False, **SIZES
    )


def test_every_configuration_is_verified_in_both_precisions(swept: sweeping.Sweep) -> None:
    """Shapes, counts, directions, wiring, and each number of each step twice."""
    assert swept.passed
    assert len(swept.configurations) > 20
    n, t, m, k = (SIZES[name] for name in "NTMK")
    for found in swept.configurations:
        assert set(dict(found.ratios)) == {"float32", "float64"}
        assert all(0 < ratio <= 1 for _, ratio in found.ratios)
        assert found.worst
        assert found.place is not None
        states = sum(len(d.cell.states) for node in found.network.recurrent for _, d in node.scans)
        assert found.compared >= 2 * (n * t * m * states + n * t * k)
        assert found.seconds > 0


def test_a_sweep_has_the_checks_of_verify_and_more() -> None:
    """All of float64, the structure, the steps in float32; beside them the wiring."""
    network = from_sizes(cell="lstm", bidirectional=True, **SIZES)
    names = {check.name for check in sweeping.checked(network, 0, {})}
    alone = rnnshapes.verify(cell="lstm", bidirectional=True, **SIZES)
    exact = {c.name for c in alone.checks if c.ratio is None or c.precision == "float64"}
    assert exact - {"weights: numbers"} <= names
    assert "bidirectional: wiring, in float64" in names
    for state in ("initial state", "h at every step", "c at every step"):
        assert f"bidirectional/backward_lstm: {state}, in float32" in names
    assert "dense: y_hat at every step, in float32" in names


def test_kept_cells_have_the_weights_of_each_network() -> None:
    """The same networks in another order, each alone and all together, give the same ratios."""
    planned = [from_sizes(cell="gru", bidirectional=both, **SIZES) for both in (True, False, True)]
    kept: dict[Any, Any] = {}
    for network in planned:
        alone = [check.ratio for check in sweeping.checked(network, 1, {})]
        together = [check.ratio for check in sweeping.checked(network, 1, kept)]
        assert alone == together
    assert kept


def test_large_layers_are_not_kept() -> None:
    """The memory of a sweep does not grow with the number of its networks."""
    kept: dict[Any, Any] = {}
    list(sweeping.checked(from_sizes(N=1, T=2, D=3, M=300, K=2), 0, kept))
    assert [part.label for part, *_ in kept if hasattr(part, "label")] == ["Dense(K)"] * 2


def test_keras_is_left_as_it_was() -> None:
    """No variable is left to be made, and what is in a model of the user's does not change."""
    import keras

    layers = [keras.Input((4, 3)), keras.layers.LSTM(5), keras.layers.Dense(2)]
    x = np.ones((2, 4, 3), dtype="float32")
    model = keras.Sequential(layers)
    before = model.predict(x, verbose=0)
    assert rnnshapes.sweep(**LSTM).passed
    state = keras.src.backend.common.global_state
    assert state.get_global_attribute(reference._PENDING, []) == []
    assert np.array_equal(model.predict(x, verbose=0), before)
    keras.Sequential(layers)


def test_a_keras_without_that_list_gives_the_same(monkeypatch) -> None:
    """Variables are then made as always."""
    import keras

    expected = rnnshapes.sweep(**LSTM).configurations
    with monkeypatch.context() as patch:
        patch.delattr(keras.src.backend.common, "global_state")
        found = rnnshapes.sweep(**LSTM).configurations
    assert [one.ratios for one in found] == [one.ratios for one in expected]


def gates_swapped(kind: Any, one: int, other: int) -> Any:
    """The cell with two gates read in each other's place."""
    parts = list(kind.gate_names)
    parts[one], parts[other] = parts[other], parts[one]

    def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        class Swapped:
            def __getattr__(self, name: str) -> Any:
                return getattr(ops, name)

            def split(self, z: Any, base: str, names: Any) -> list[Any]:
                found = dict(zip(parts, ops.split(z, base, names), strict=True))
                return [found[name] for name in kind.gate_names]

        return real(self, Swapped(), xz, state, w)

    real = kind.step
    return step


# --- What is reported ---------------------------------------------------------------------------


def test_the_table_sums_up_by_cell_and_the_status_is_0(run) -> None:
    """Configurations, checks, compared numbers, the worst ratios and where they are."""
    done = run("verify", "--sweep", *FLAGS, "--seed", 7)
    assert done.status == 0
    assert done.err == ""
    cells = [line.split()[0] for line in done.out.splitlines() if "━" in line]
    assert cells == ["simple", "lstm", "gru"]
    worst = [line.split(":")[0] for line in done.out.splitlines() if ": ratio " in line]
    assert worst == cells
    assert "rnnshapes verify --cell lstm --N 2 --T 5" in done.out
    assert "of 13 configurations passed" in done.out


def test_what_fails_comes_first_with_the_command_that_repeats_it(run, monkeypatch) -> None:
    """Exit status 1; the command, run by itself, fails as well."""
    monkeypatch.setattr(GRUCell, "step", gates_swapped(GRUCell, 0, 1))
    done = run("verify", "--sweep", *FLAGS, "--seed", 7)
    assert done.status == 1
    assert "FAILED: 8 of 13 configurations" in done.out
    lines = [line for line in done.out.splitlines() if line.startswith("FAIL ")]
    assert len(lines) == 8
    assert done.out.index(lines[0]) < done.out.index("By cell")
    assert "gru: h at every step, in float32" in lines[0]
    words = lines[-1].split("rnnshapes ")[1].split("  ")[0].split()
    assert words[:3] == ["verify", "--cell", "gru"]
    assert {"--no-reset-after", "--seed", "7", "--return-sequences"} <= set(words)
    assert run(*words).status == 1


def test_every_command_is_one_that_the_command_line_takes(swept: sweeping.Sweep) -> None:
    """With it, ``verify`` makes the very network that was swept."""
    from rnnshapes import api, cli

    passed = SimpleNamespace(passed=True)
    for found in swept.to_dict()["configurations"]:
        with pytest.MonkeyPatch.context() as patch:
            made: list[Any] = []
            patch.setattr(
                api, "verify_prepared", lambda task, tick, made=made: made.append(task) or passed
            )
            patch.setattr(cli.Outlet, "deliver", lambda *_: None)
            patch.setattr(cli.Outlet, "hint", lambda *_: None)
            assert cli.main(found["command"].split()[1:]) == 0
        assert made[0].seed == 3
        assert made[0].network in [one.network for one in swept.configurations]
        assert made[0].network.sizes["M"] == found["options"]["M"]


def test_json_csv_and_markdown_have_a_row_for_each_configuration(run, in_folder) -> None:
    """And a file is written as for the other commands."""
    record = json.loads(run("verify", "--sweep", *FLAGS, "--format", "json").out)
    assert record["schema"] == "rnnshapes.sweep/1"
    assert record["passed"] is True
    assert len(record["configurations"]) == 13
    for found in record["configurations"]:
        assert found["passed"] is True
        assert found["ratios"].keys() == {"float32", "float64"}
        assert found["worst"]["check"]
        assert found["sizes"] == {"N": 2, "T": 5, "D": 3, "M": [4], "K": 6}
    done = run("verify", "--sweep", *FLAGS, "-o", "sweep.csv")
    assert (done.status, done.out) == (0, "")
    rows = list(csv.DictReader(io.StringIO((in_folder / "sweep.csv").read_text("utf-8"))))
    assert [row["cell"] for row in rows] == [
        "simple",
        "lstm",
        "gru",
        "gru",
        *["lstm"] * 3,
        *["gru"] * 6,
    ]
    assert [row["reset_after"] for row in rows[:4]] == ["", "", "", "false"]
    assert all(row["passed"] == "true" and float(row["seconds"]) > 0 for row in rows)
    text = run("verify", "--sweep", *FLAGS, "--format", "markdown").out
    assert text.count("rnnshapes verify --cell") >= 13
    assert "### Configurations" in text


def test_a_network_that_cannot_be_run_is_reported_and_not_passed(run, monkeypatch) -> None:
    """The others are verified; the status is 1, and says why in its row."""
    monkeypatch.setattr(memory, "available", lambda: 6_000)
    done = run("verify", "--sweep", *FLAGS)
    assert done.status == 1
    assert "NOT RUN" in done.out
    assert "of memory; 5.9 KiB are available here" in done.out
    assert "FAILED: 0 of 13 configurations, 8 could not be run" in done.out


def test_where_no_network_can_be_run_the_status_is_3(run) -> None:
    """One line, as from ``verify`` for such a size."""
    done = run("verify", "--sweep", "--M", 10**9)
    assert done.status == 3
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert "of memory" in done.err


# --- The process --------------------------------------------------------------------------------

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")


def test_nothing_but_the_result_is_written() -> None:
    """TensorFlow's messages reach neither standard output nor standard error."""
    done = process("verify", "--sweep", "--cell", "simple", *FLAGS, "--format", "json")
    assert done.status == 0
    assert done.err == ""
    assert len(json.loads(done.out)["configurations"]) == 1


@POSIX
def test_a_bar_counts_configurations_and_ctrl_c_ends_with_130() -> None:
    """On a terminal, on standard error; nothing of a result is written."""
    import pty

    main, end = pty.openpty()
    command = [sys.executable, "-m", "rnnshapes", "verify", "--sweep"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as running:
        os.close(end)
        seen, start = b"", time.monotonic()
        while b"configurations" not in seen and time.monotonic() - start < 120:
            seen += os.read(main, 4096)
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=120)
    os.close(main)
    assert b"configurations" in seen
    assert running.returncode == 130
    assert out == b""
