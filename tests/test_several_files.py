"""Several saved models in one table: a row each, and the exit status of the worst."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import h5py
import keras
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.network.file_summary import FileSummary, failure, summarize
from rnnshapes.network.graph import UNROLLED_MASK, Tap
from rnnshapes.network.structure import Fact, FileCheck
from rnnshapes.network.summary import inspect_network
from rnnshapes.render import write_file
from rnnshapes.render.view import View
from tests.helpers.commands import assert_refused, loaded_by
from tests.helpers.files import layers_of, repacked, saved
from tests.helpers.layer_calls import network
from tests.helpers.models import sequential

FORMATS = ["table", "json", "csv", "markdown", "html", "svg"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models: a stack, both directions, one with a Lambda, one without an array."""
    folder = tmp_path_factory.mktemp("models")
    stack = (la.LSTM(5, return_sequences=True), la.GRU(4), la.Dense(2))
    saved(sequential(*stack, shape=(6, 3)), folder / "a.keras")
    both = (la.Bidirectional(la.SimpleRNN(7)), la.Dense(2))
    saved(sequential(*both, shape=(None, 3)), folder / "b.h5")

    def to_lambda(config) -> None:
        layers_of(config)[-1].update(class_name="Lambda", config={"name": "double"})

    def without_bias(file: h5py.File) -> None:
        del file["layers/dense/vars/1"]

    good = saved(sequential(la.LSTM(5), la.Dense(2), shape=(6, 3)), folder / "good.keras")
    repacked(good, folder / "lambda.keras", config=to_lambda)
    repacked(good, folder / "lost.keras", weights=without_bias)
    (folder / "bad.keras").write_text("nothing", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _in_folder_of_models(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)


def test_each_file_has_its_record(run) -> None:
    done = run("inspect", "a.keras", "b.h5", "lambda.keras", "--format", "json")
    assert done.status == 0
    record = json.loads(done.out)
    assert record["schema"] == "rnnshapes.inspect-files/1"
    first, second, third = record["files"]
    assert (first["cells"], first["M"], first["params"]) == (["LSTM", "GRU"], [5, 4], 322)
    assert (second["path"], second["cells"]) == ("b.h5", ["Bidirectional(SimpleRNN)"])
    assert [first["warnings"], first["error"], first["agrees"]] == [[], None, True]
    assert any("double" in warning for warning in third["warnings"])


def test_csv_has_a_row_for_each_file(run) -> None:
    lines = run("inspect", "a.keras", "bad.keras", "b.h5", "--format", "csv").out.splitlines()
    rows = list(csv.DictReader(lines))
    assert [row["file"] for row in rows] == ["a.keras", "bad.keras", "b.h5"]
    assert [row["params"] for row in rows][::2] == ["322", str(2 * (3 * 7 + 7 * 7 + 7) + 30)]
    assert bool(rows[1]["error"])


@pytest.mark.parametrize(
    ("names", "status"),
    [
        (["a.keras", "b.h5"], 0),
        (["a.keras", "lambda.keras"], 0),
        (["a.keras", "lost.keras"], 1),
        (["a.keras", "bad.keras"], 2),
        (["missing.keras", "lost.keras", "a.keras"], 2),
    ],
)
def test_exit_status_is_that_of_the_worst(names: list[str], status: int, run) -> None:
    done = run("inspect", *names)
    assert done.status == status
    assert all(name in done.out for name in names)
    assert done.err.count("\n") == (status != 0)


def test_every_format_names_every_file() -> None:
    result = rnnshapes.inspect_files(["a.keras", "b.h5", "bad.keras"])
    for form in FORMATS:
        stream = TextIOWrapper(BytesIO(), encoding="utf-8")
        write_file.write_text(result, form, View(), stream)
        stream.seek(0)
        text = stream.read()
        assert all(name in text for name in ("a.keras", "b.h5", "bad.keras"))


def test_table_has_one_row_per_file(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run("inspect", "a.keras", "b.h5", "good.keras", "-q").out.splitlines()
    for name in ("a.keras", "b.h5", "good.keras"):
        assert sum(name in line for line in lines) == 1
    assert any("LSTM, GRU" in line and "322" in line for line in lines)
    assert len(lines) <= 8


def test_sizes_apply_to_all_files(run) -> None:
    record = json.loads(run("inspect", "a.keras", "b.h5", "-T", 4, "--format", "json").out)
    assert [bool(file["error"]) for file in record["files"]] == [True, False]


@pytest.mark.parametrize("option", [["--plot", "x.png"], ["--view", "flow"], ["-o", "a.keras"]])
def test_senseless_option_exits_2(option: list[str], run) -> None:
    assert_refused(run("inspect", "a.keras", "b.h5", *option), option[0].strip("-o") or "a.keras")


def test_results_are_the_same_in_python() -> None:
    result = rnnshapes.inspect_files(["a.keras", Path("bad.keras")])
    assert [file.params for file in result.files] == [322, None]
    assert result.exit_status == 2
    assert len(result.to_frame()) == 2


def test_no_file_is_no_failure() -> None:
    assert rnnshapes.inspect_files([]).exit_status == 0


def test_several_files_load_no_keras() -> None:
    code = "from rnnshapes import cli; cli.main(['inspect', 'a.keras', 'b.h5'])"
    assert loaded_by(code) == set()


@pytest.mark.parametrize("command", ["trace", "verify"])
def test_unsupported_layer_exits_4(command: str, run) -> None:
    assert_refused(run(command, "lambda.keras"), "lambda.keras", "double", "Lambda", status=4)


def test_unsupported_layer_exits_4_without_keras(run, tmp_path: Path) -> None:
    for options in ((), ("--golden", tmp_path / "g.npz")):
        assert_refused(run("trace", "lambda.keras", "--no-keras", *options), "Lambda", status=4)
    assert not (tmp_path / "g.npz").exists()


def test_port_of_unsupported_model_exits_4(run, tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "y.npy", np.ones((1, 2)))
    assert_refused(run("verify", "lambda.keras", "--against", tmp_path / "y.npy"), status=4)


def test_unsupported_layer_is_inspected(run) -> None:
    done = run("inspect", "lambda.keras", "--no-keras")
    assert done.status == 0
    assert "Lambda" in done.out


def test_warnings_of_a_file_name_its_layers(models: Path) -> None:
    good, unknown, lost = rnnshapes.inspect_files(
        ["good.keras", "lambda.keras", "lost.keras"]
    ).files
    assert (good.warnings, good.exit_status, lost.exit_status) == ((), 0, 1)
    assert unknown.warnings[0].startswith("double: ")
    (warning,) = lost.warnings
    differences = rnnshapes.inspect("lost.keras").file.differences
    assert warning.startswith(f"{len(differences)} ")
    both = models / "both.keras"

    def lambdas(config) -> None:
        layers_of(config)[-1].update(class_name="Lambda", config={"name": "double"})
        layers_of(config)[-2].update(class_name="Lambda", config={"name": "first"})

    repacked(models / "good.keras", both, config=lambdas)
    warnings = rnnshapes.inspect_files([both]).files[0].warnings
    assert len([text for text in warnings if "double" in text]) == 1
    assert len(set(warnings)) == len(warnings)
    unbuilt = saved(keras.Sequential([la.LSTM(5)]), models / "unbuilt.keras")
    assert rnnshapes.inspect_files([unbuilt]).files[0].agrees is None


def test_refused_layer_has_one_warning(tmp_path: Path) -> None:
    """What Keras itself would refuse is said once, and makes the file wrong."""

    def negative(config) -> None:
        layers_of(config)[-1]["config"]["units"] = -1

    repacked(Path("good.keras"), tmp_path / "wrong.keras", config=negative)
    (wrong,) = rnnshapes.inspect_files([tmp_path / "wrong.keras"]).files
    (warning,) = wrong.warnings
    assert "dense" in warning
    assert (wrong.agrees, wrong.exit_status) == (False, 1)


def gru(units: int, **options: Any) -> dict[str, Any]:
    return {"name": "g", "units": units, "return_sequences": True, **options}


def test_summary_has_the_cells_and_units_of_a_file() -> None:
    cells = [
        {"class_name": "LSTMCell", "config": gru(4)},
        {"class_name": "GRUCell", "config": gru(5)},
    ]
    stack = {"cell": {"class_name": "StackedRNNCells", "config": {"cells": cells}}}
    both = {"layer": {"class_name": "GRU", "config": gru(7)}}
    net = network(("RNN", stack | {"return_sequences": True}), ("Bidirectional", both))
    agreeing = Fact("k", "(K,)", (2,), (2,))
    check = FileCheck("b.h5", "HDF5", "2.3.0", (agreeing,), (), unbuilt=False)
    found = inspect_network(net)
    params = 4 * 4 * (3 + 4 + 1) + 3 * 5 * (4 + 5 + 2) + 6 * 7 * (5 + 7 + 2)
    expected = FileSummary(
        *("b.h5", "HDF5", "2.3.0", ("LSTM + GRU", "Bidirectional(GRU)"), (4, 5, 7)),
        params=params,
        agrees=True,
    )
    assert summarize("b.h5", replace(found, file=check)) == expected
    unbuilt = replace(check, facts=(), unbuilt=True)
    assert summarize("b.h5", replace(found, file=unbuilt)) == replace(expected, agrees=None)
    wrong = summarize("b.h5", replace(found, file=replace(unbuilt, contradictions=("why",))))
    assert wrong == replace(expected, agrees=False, exit_status=1, warnings=("why",))


def test_summary_names_the_worst_of_a_file_first() -> None:
    unrolled = gru(4, go_backwards=True, unroll=True, zero_output_for_mask=True)
    apart = {"sources": (Tap(1),)}
    own = [(kind, {}, apart) for kind in ("Own", "Own", "Other")]
    refused = ("Dense", {"units": -1}, apart)
    net = network(("Masking", {}), ("GRU", unrolled), *own, refused)
    facts = [Fact("k", "(K,)", (2,), found) for found in ((2,), (3,), None)]
    reasons = net.unsupported_reasons
    for count, text in ((1, "1 difference "), (2, "2 differences ")):
        check = FileCheck(
            "a.keras",
            ".keras",
            "3.1",
            facts=tuple(facts[: 1 + count]),
            notes=("a note", "a note", "l5: " + reasons["l5"]),
            unbuilt=False,
            contradictions=("refused",),
        )
        found = summarize("a.keras", replace(inspect_network(net), file=check))
        first, differences, *others = found.warnings
        assert (first, differences.startswith(text)) == ("refused", True)
        assert others == [
            f"l2: {UNROLLED_MASK}",
            f"l3, l4: {reasons['l3']}",
            f"l5: {reasons['l5']}",
            "a note",
        ]
        assert (found.cells, found.params) == (("GRU",), 3 * 4 * (3 + 4 + 2))
        assert (found.agrees, found.error, found.exit_status) == (False, "", 1)


def test_failure_says_why_without_the_path() -> None:
    for error in (InputError("a.keras: not\n  a  file"), InputError("not a file")):
        assert failure("a.keras", error) == FileSummary(
            "a.keras", error="not a file", exit_status=2
        )
    assert failure("a.keras", UnsupportedError("b.keras: no")).error == "b.keras: no"
    assert failure("a.keras", UnsupportedError("no")).exit_status == 4
