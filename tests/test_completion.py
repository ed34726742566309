"""Completion: what a shell offers after the Tab key, and that it loads nothing heavy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rnnshapes import cli
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.cli.options import DTYPES
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.ops.interface import ACTIVATIONS
from rnnshapes.port import report
from rnnshapes.render.schemas import NAMES
from rnnshapes.render.view import INSPECT_PARTS, TRACE_PARTS, VERIFY_PARTS
from tests.helpers.commands import loaded_by

Complete = Callable[..., list[str]]


@pytest.fixture
def complete(monkeypatch, capsys) -> Complete:
    """What bash offers for the last of the words."""

    def offered(*words: str) -> list[str]:
        monkeypatch.setenv("_RNNSHAPES_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["rnnshapes", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        with pytest.raises(SystemExit) as ended:
            cli.main([])
        assert ended.value.code == 0
        return capsys.readouterr().out.split()

    return offered


ALL = [
    (["inspect", "--activation"], ACTIVATIONS),
    (["trace", "--recurrent-activation"], ACTIVATIONS),
    (["verify", "--merge-mode"], MERGE_MODES),
    (["inspect", "--cell"], BY_NAME),
    (["trace", "--show"], ["y", "h", "c", "gates", "all"]),
    (["verify", "--dtype"], DTYPES),
    (["inspect", "--view"], INSPECT_PARTS),
    (["trace", "--view"], TRACE_PARTS),
    (["verify", "--view"], VERIFY_PARTS),
    (["trace", "--format"], ["table", "json", "csv", "markdown", "html", "svg", "npz"]),
    (["inspect", "--format"], ["table", "json", "csv", "markdown", "html", "svg"]),
    (["schema"], NAMES),
]


@pytest.mark.parametrize(("words", "values"), ALL, ids=lambda v: " ".join(v)[:40])
def test_all_values_are_offered(words, values, complete: Complete) -> None:
    assert complete(*words, "") == list(values)


BEGUN = [
    ("inspect --activation hard_t", ["hard_tanh"]),
    ("inspect --view flow,we", ["flow,weights"]),
    ("trace --show y,h,g", ["y,h,gates"]),
    ("trace --show y,a", []),
    ("trace --show gates,h,", ["gates,h,y", "gates,h,c"]),
    ("inspect --recurrent-a", ["--recurrent-activation"]),
    ("inspect --cell nothing --merge-mode s", ["sum"]),
    ("sch", ["schema"]),
    ("model.keras --view f", []),
    ("inspect --activation nothing", []),
]


@pytest.mark.parametrize(("line", "values"), BEGUN)
def test_value_is_completed(line: str, values: list[str], complete: Complete) -> None:
    assert complete(*line.split(" ")) == values


def test_parts_are_offered_with_explanations(monkeypatch, capsys) -> None:
    monkeypatch.setenv("_RNNSHAPES_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "rnnshapes inspect --view ")
    with pytest.raises(SystemExit):
        cli.main([])
    lines = capsys.readouterr().out.splitlines()
    assert dict(line.split("\t") for line in lines) == INSPECT_PARTS


def test_dtypes_are_those_of_ports() -> None:
    assert set(DTYPES) == set(report.DTYPES)


def test_completion_loads_nothing_heavy() -> None:
    environment = {
        "_RNNSHAPES_COMPLETE": "complete_bash",
        "COMP_WORDS": "rnnshapes verify --dtype ",
        "COMP_CWORD": "3",
    }
    code = f"import os; os.environ.update({environment})\nfrom rnnshapes import cli\n"
    assert loaded_by(f"{code}try: cli.main([])\nexcept SystemExit: pass") == set()
