"""Screens of ``verify`` and ``verify --against``: the verdict first, then what it rests on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import reference, render
from rnnshapes.render.document import Line, Table
from rnnshapes.render.formats import markdown, notebook
from rnnshapes.render.number_text import share_text
from rnnshapes.render.view import View
from tests.helpers.handmade import LAYERS, Port, weights_of

SIZES = {"N": 2, "T": 6}


def lines_of(text: str) -> list[str]:
    """Return the lines, without the one that proposes a command."""
    return [line for line in text.splitlines() if not line.startswith("Next: ")]


def rows_of(text: str) -> list[str]:
    """Return the rows of checks."""
    return [line for line in text.splitlines() if re.match(r"(ok|FAIL) ", line)]


@cache
def passing() -> Any:
    """Return a verification in which every check passes."""
    return rnnshapes.verify(**SIZES)


def failing(count: int) -> Any:
    """Return a verification in which the first checks fail."""
    checks = passing().checks
    wrong = [replace(check, passed=False) for check in checks[:count]]
    return replace(passing(), checks=(*wrong, *checks[count:]))


@pytest.fixture
def ports(in_folder: Path) -> Path:
    """Write what a right and several wrong ports of an LSTM compute."""
    golden = rnnshapes.golden(cell="lstm", **SIZES).arrays
    weights = weights_of(golden, LAYERS["lstm"])
    right = Port("lstm").run(weights, golden["x"])
    wrong = Port("lstm", order=("i", "o", "f", "c")).run(weights, golden["x"])
    noise = np.random.default_rng(0).standard_normal(right["y_hat"].shape).astype("float32")
    np.save("right.npy", right["y_hat"])
    np.savez("gates.npz", **wrong, spare=np.ones(3))
    np.save("noise.npy", noise)
    np.save("zeros.npy", 0 * np.abs(noise))
    np.save("swapped.npy", right["y_hat"].swapaxes(0, 1).copy())
    return in_folder


def against(name: str) -> tuple[str | int, ...]:
    """Return the command for a port; random numbers are compared with what is soon searched."""
    cell = "simple" if name == "noise.npy" else "lstm"
    ignored = ("--ignore", "spare") if name == "gates.npz" else ()
    return ("verify", "--cell", cell, "--N", 2, "--T", 6, "--against", name, *ignored)


PORTS = ["right.npy", "gates.npz", "noise.npy", "zeros.npy", "swapped.npy"]


# --- A network that is verified -----------------------------------------------------------------


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_passing_screen_has_14_lines(cell: str, run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("verify", "--cell", cell, "--T", 2)
    assert done.status == 0
    lines = done.out.splitlines()
    assert len(lines) <= 14
    assert max(map(len, lines[:-1])) <= 80


def test_first_line_is_the_verdict(run) -> None:
    first, *others = run("verify").out.splitlines()
    for word in ("VERIFIED", "21 checks", "Keras", "float32", "float64"):
        assert word in first
    assert not any("VERIFIED" in line for line in others)


def test_each_layer_has_one_row(run) -> None:
    """Each row counts its checks; together they are all."""
    result = rnnshapes.verify(T=3, M=[4, 5], bidirectional=True)
    rows = rows_of(repr(result))
    layers = ["bidirectional", "bidirectional_1", "dense"]
    assert [row.split()[1] for row in rows[1:-1]] == layers
    counts = [int(re.findall(r" {2,}(\d+) {2,}", row)[0]) for row in rows]
    assert sum(counts) == len(result.checks)
    for layer, row in zip(layers, rows[1:-1], strict=True):
        worst = max(c.ratio for c in result.checks if c.ratio and c.layer.split("/")[0] == layer)
        assert share_text(worst) in row


def test_worst_index_is_in_words() -> None:
    checks = [check for check in passing().checks if check.layer == "simple_rnn"]
    worst = max(checks, key=lambda check: check.ratio or 0)
    assert str(worst.index) in next(r for r in rows_of(repr(passing())) if "simple_rnn" in r)


def test_equal_layers_share_a_row() -> None:
    from keras import layers as la

    from tests.helpers.models import randomized, sequential

    layers = (la.GRU(5, return_sequences=True), la.Flatten(), la.Dropout(0.1), la.Dense(2))
    shown = repr(rnnshapes.verify(randomized(sequential(*layers, shape=(4, 3))), N=2))
    assert len(rows_of(shown)) == 5
    assert not [row for row in rows_of(shown) if "flatten" in row or "dropout" in row]


def test_overflow_and_unsupported_layers_are_warned_of() -> None:
    """Before the table, each with what to do."""
    from tests.helpers.models import live

    model, x = live("relu", scale=10.0, steps=30)
    shown = repr(rnnshapes.verify(model, x=x)).splitlines()
    assert shown[1].startswith("! ")
    assert re.search(r"t = \d+", shown[1])


# --- A network that is not ----------------------------------------------------------------------


def test_failure_lists_failed_checks_only() -> None:
    first, second, *_ = lines = repr(failing(3)).splitlines()
    names = [check.name for check in failing(3).checks[:3]]
    assert (first.split()[0], "3 of 21" in first) == ("FAILED", True)
    assert names[0] in second
    rows = rows_of("\n".join(lines))
    assert [row.split()[:2] for row in rows] == [["FAIL", name] for name in names]


def test_failure_lists_twelve_checks_at_most() -> None:
    shown = repr(failing(20))
    assert len(rows_of(shown)) == 12
    assert "8 more" in shown
    assert "--view numbers" in shown


def test_failed_number_shows_where_it_is(run, monkeypatch) -> None:
    real = reference.run

    def wrong(*args: Any) -> reference.ModelOutputs:
        outputs = real(*args)
        return replace(outputs, outputs=(outputs.outputs[0] + np.float32(1),))

    monkeypatch.setattr(reference, "run", wrong)
    first, second, *others = run("verify").out.splitlines()
    assert (first.split()[0], "1 of 21" in first) == ("FAILED", True)
    assert "predict: own output" in second
    assert "sample 0, unit" in second
    (row,) = rows_of("\n".join(others))
    assert "sample 0, unit" in row


# --- Which parts are shown ----------------------------------------------------------------------


def test_view_numbers_lists_every_check(run) -> None:
    done = run("verify", "--N", 2, "--T", 6, "--view", "numbers", "-q")
    assert done.out.startswith("VERIFIED")
    assert len(rows_of(done.out)) == 21
    for check in passing().checks:
        name = f"{check.layer}: {check.quantity}" if check.precision else check.name
        assert name in done.out


def test_view_all_shows_summary_and_numbers(run) -> None:
    summary, numbers, everything = (
        rows_of(run("verify", "--T", 2, "--view", part).out)
        for part in ("summary", "numbers", "all")
    )
    assert everything == [*summary, *numbers]


def test_quiet_prints_the_verdict_alone(run, in_folder, monkeypatch) -> None:
    """A file holds what it would without --quiet."""
    verify = ("verify", "--T", 2)
    monkeypatch.setenv("COLUMNS", "40")
    done = run(*verify, "-q")
    assert (done.status, done.out.count("\n"), done.err) == (0, 1, "")
    assert run(*verify).out.startswith(done.out)
    run(*verify, "-q", "-o", "quiet.txt")
    run(*verify, "-o", "loud.txt")
    assert Path("quiet.txt").read_text("utf-8") == Path("loud.txt").read_text("utf-8")
    assert len(json.loads(run(*verify, "-q", "--format", "json").out)["checks"]) == 21


@pytest.mark.parametrize("name", PORTS)
def test_quiet_port_prints_one_line(name: str, run, ports) -> None:
    done = run(*against(name), "-q")
    assert done.status == (name != "right.npy")
    assert done.out.count("\n") == 1
    assert done.out.split()[0] == ("FAILED" if done.status else "AGREES")
    assert run(*against(name)).out.startswith(done.out)


# --- A port -------------------------------------------------------------------------------------


def test_right_port_agrees_on_line_1(run, ports) -> None:
    done = run(*against("right.npy"))
    first = done.out.splitlines()[0]
    assert re.search(r"^AGREES .* 24 numbers .* \d+ % .* float32$", first)
    (row,) = rows_of(done.out)
    assert "y_hat at every step" in row


def test_explanation_is_the_verdict(run, ports) -> None:
    """Then what agrees with it, the fix, the first number that differs, and what was left out."""
    lines = run(*against("gates.npz")).out.splitlines()
    for word in ("FAILED", "i, o, f, c", "ONNX", "i, f, c, o"):
        assert word in lines[0]
    assert "144 numbers" in lines[1]
    assert lines.pop(2).startswith("fix")
    assert re.search(r"lstm: [hc] at every step, .*t 0, unit 0: \S+, expected \S+", lines[2])
    assert (lines[3][:2], "spare" in lines[3]) == ("! ", True)
    assert len(rows_of("\n".join(lines))) == 3


def test_unexplained_port_shows_what_was_tried(run, ports) -> None:
    """How many numbers differ, the first of them, and to compare with the same x."""
    done = run(*against("noise.npy"))
    first, *others = done.out.splitlines()
    tried = rnnshapes.verify(**SIZES, against=np.load("noise.npy")).diagnosis.tried
    assert "24 of 24 numbers" in first
    assert re.search(r"t 0, unit 0: \S+, expected \S+", others[0])
    assert any(f"{tried:,}" in line for line in others[1:3])
    (warning,) = [line for line in others if line.startswith("! ")]
    assert "--input" in warning


def test_exchanged_axes_show_both_shapes(run, ports) -> None:
    done = run(*against("swapped.npy"))
    assert "(T, N, …)" in done.out.splitlines()[0]
    assert "(6, 2, 2)" in done.out
    assert "(2, 6, 2)" in done.out


def test_each_explanation_has_its_lines() -> None:
    """Several mistakes that explain a port are alternatives."""
    golden = rnnshapes.golden(cell="lstm", **SIZES).arrays
    port = Port("lstm", order=("i", "o", "f", "c")).run(
        weights_of(golden, LAYERS["lstm"]), golden["x"]
    )
    result = rnnshapes.verify(cell="lstm", **SIZES, against=port["h"])
    (one,) = result.diagnosis.explanations
    other = replace(one, mistakes=(one.mistakes[0]._replace(text="another mistake"),))
    diagnosis = replace(result.diagnosis, explanations=(one, other))
    lines = repr(replace(result, diagnosis=diagnosis)).splitlines()
    assert one.text in lines[0]
    assert lines[2].startswith("fix")
    (second,) = [line for line in lines if "another mistake" in line]
    assert second.split()[0] == "or"


# --- Formats and widths -------------------------------------------------------------------------


@pytest.mark.parametrize("result", [passing, lambda: failing(3)], ids=["passing", "failing"])
@pytest.mark.parametrize("chunks", [markdown.chunks, notebook.chunks], ids=["markdown", "notebook"])
def test_formats_share_one_layout(chunks: Callable[..., Any], result: Callable[[], Any]) -> None:
    document = render.to_document(result(), View())
    text = re.sub(r"\\(.)|<wbr>", r"\1", "".join(chunks(document)))
    texts = [block.text for block in document if isinstance(block, Line)]
    texts += [
        cell
        for block in document
        if isinstance(block, Table)
        for row in block.rows
        for cell in row.cells
    ]
    assert [one for one in texts if one.replace("&", "&amp;") not in text] == []
    assert text.index(texts[0].split()[0]) < text.index(texts[-1].split()[0])


@pytest.mark.parametrize("width", [40, 80, 160])
def test_screens_fit_every_width(width: int, run, ports, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    outputs = [repr(passing()), *(run(*against(name)).out for name in PORTS)]
    for output in outputs:
        assert max(map(len, lines_of(output))) <= width


def test_share_above_the_bound_exceeds_100_percent() -> None:
    """It is rounded up, so that only 0 is 0 %."""
    assert share_text(0.0) == "0 %"
    assert share_text(1.0) == "100 %"
    assert share_text(math.nextafter(0.0, 1.0)) == "1 %"
    assert share_text(1.0001) == "101 %"
    texts = [share_text(ratio) for ratio in (12.0, 1e5, 1e9, math.inf, math.nan, None)]
    assert len(set(texts)) == len(texts)
    assert not any("%" in text for text in texts)
