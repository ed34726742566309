"""Progress of long work: what is reported, and the bar that a terminal shows."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from rnnshapes import progress, reference
from rnnshapes.cli.progress import show_progress
from rnnshapes.forward import golden, numpy_run, quantized, tracing
from rnnshapes.load.inputs import full_array
from rnnshapes.ops.fixed_point import Scheme
from rnnshapes.session import Session, open_session
from rnnshapes.verification import report

#: How often each step is counted, without and with Keras.
TRACE, GOLDEN = (1, 3), (2, 4)
VERIFY = 6

NETWORKS = [
    ({"N": 1, "T": 1}, 1),
    ({"N": 1, "T": 4000, "M": 2}, 4000),
    ({"N": 70, "T": 4}, 280),
    ({"N": 3, "T": 5, "cell": "lstm", "M": [4, 2]}, 2 * 15),
    ({"N": 2, "T": 700, "cell": "gru", "bidirectional": True}, 2 * 1400),
]


def reports(compute: Callable[[Session], Any], spec: dict[str, Any]) -> list[tuple[int, int]]:
    """Return all progress that a computation reports."""
    reported: list[tuple[int, int]] = []
    listening = progress.listening(lambda *at: reported.append(at))
    with open_session(**spec) as session, listening:
        compute(session)
    return reported


def check(reported: list[tuple[int, int]], total: int, fewest: int) -> None:
    """Check that progress rises with each of at least ``fewest`` reports, and ends at the total."""
    done = [steps for steps, _ in reported]
    assert {of for _, of in reported} == {total}
    assert done == sorted(set(done))
    assert done[0] > 0
    assert done[-1] == total
    assert len(reported) >= fewest


@pytest.mark.parametrize(("spec", "steps"), NETWORKS)
def test_trace_counts_steps_of_all_samples(spec: dict[str, Any], steps: int) -> None:
    check(reports(lambda s: s.trace(keras=False), spec), TRACE[0] * steps, 1)
    check(reports(lambda s: s.trace_with_golden(keras=False), spec), GOLDEN[0] * steps, 2)


@pytest.mark.parametrize(
    ("spec", "steps"),
    [
        ({"N": 1, "T": 1}, 1),
        ({"N": 70, "T": 4}, 280),
        ({"N": 2, "T": 6, "cell": "gru", "bidirectional": True}, 2 * 12),
    ],
)
def test_progress_counts_keras_too(spec: dict[str, Any], steps: int) -> None:
    batches = -(-spec["N"] // 32)
    check(reports(Session.trace, spec), TRACE[1] * steps, 2 * batches + 1)
    check(reports(Session.trace_with_golden, spec), GOLDEN[1] * steps, 2 * batches + 2)
    check(reports(Session.verify, spec), VERIFY * steps, 2 * batches + 4)
    check(reports(lambda s: s.trace(bounds=True), spec), (TRACE[1] + 1) * steps, 2 * batches + 2)
    both = reports(lambda s: s.trace_with_golden(bounds=True), spec)
    check(both, (GOLDEN[1] + 1) * steps, 2 * batches + 3)


def test_each_pass_counts_all_steps() -> None:
    """It counts those of all samples in both directions; the sizes are all different."""
    sizes: dict[str, Any] = {"N": 7, "T": 5, "D": 3, "M": 4, "K": 2}
    with open_session(**sizes, cell="gru", bidirectional=True) as session:
        network, weights, sources = session.network, session.weights(), session.sources
        model, xs = session.keras_model(weights), list(map(full_array, sources))
        given = network, weights, sources
        found, engine = numpy_run.numpy_outputs(network, weights, xs), reference.engine()
        scheme = Scheme.from_name("q3.12")
        passes: list[tuple[int, Callable[[], Any]]] = [
            (1, lambda: tracing.trace_network(*given, "y")),
            (2, lambda: golden.record_network(*given)),
            (1, lambda: quantized.quantize_network(*given, scheme, with_numbers=False)),
            (1, lambda: numpy_run.numpy_outputs(network, weights, xs)),
            (1, lambda: list(report.residual_checks(network, weights, xs, found))),
            (2, lambda: reference.run(model, network, xs)),
            (2, lambda: list(report.float64_checks(network, weights, xs, found, engine))),
        ]
        for times, compute in passes:
            told: list[tuple[int, int]] = []
            listening = progress.listening(lambda *at, told=told: told.append(at))
            with listening, progress.work(10**9):
                compute()
            assert told[-2][0] == times * 2 * 7 * 5  # the last call ends the work


def test_integer_scales_take_their_own_pass() -> None:
    spec = {"N": 2, "T": 5, "cell": "gru", "M": 4}
    for to, passes in (("q3.12", 1), ("int8", 2), ("int16-columns", 2)):
        check(reports(lambda s, to=to: s.quantize(to), spec), passes * 10, passes)


@pytest.mark.parametrize("backwards", [False, True])
def test_single_long_sample_reports_in_parts(backwards: bool) -> None:
    spec = {"N": 1, "T": 200_000, "M": 1, "K": 1, "go_backwards": backwards}
    reported = reports(lambda s: s.trace(keras=False), spec)
    check(reported, 200_000, 4)
    jumps = [b - a for (a, _), (b, _) in zip([(0, 0), *reported], reported, strict=False)]
    assert max(jumps) < 200_000 / 4


def test_progress_ends_once_at_the_total() -> None:
    reported: list[tuple[int, int]] = []
    with progress.listening(lambda *at: reported.append(at)):
        with progress.work(20):
            for steps in (0, 4, 0, 9, 100):
                progress.advance(steps)
        with progress.work(10):
            progress.advance(3)
        progress.advance(5)
        with suppress(ZeroDivisionError), progress.work(10):
            raise ZeroDivisionError
        progress.advance(5)
    with progress.work(10):  # nobody listens
        progress.advance(3)
    assert reported == [(4, 20), (13, 20), (20, 20), (3, 10), (10, 10)]


pty = pytest.importorskip("pty") if sys.platform != "win32" else None


@pytest.mark.skipif(pty is None, reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "━"), ("ascii", "-")])
def test_bar_disappears_at_the_end(
    encoding: str, bar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown = shown_on_terminal(encoding, monkeypatch)
    assert " 1,000/1,000 steps" in shown
    assert "Working [hard]" in shown
    assert bar in shown
    _, after = shown.rsplit("steps", 1)
    assert after.count("\n") == after.count("\x1b[1A") == 1  # up again by as many lines
    assert re.sub(r"\s|\x1b\[(\?25[lh]|1A|2K)", "", after) == ""
    assert after.endswith("\x1b[2K")


def shown_on_terminal(
    encoding: str, monkeypatch: pytest.MonkeyPatch, text: str = "Working [hard]"
) -> str:
    """What is written to standard error while it is a terminal."""
    ours, theirs = os.openpty()
    saved = os.dup(2)
    try:
        with os.fdopen(os.dup(theirs), "w", encoding=encoding) as stream:
            os.dup2(theirs, 2)
            monkeypatch.setattr(sys, "stderr", stream)
            with show_progress(text), progress.work(1000):
                for steps in (250, 250, 500):
                    progress.advance(steps)
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(theirs)
    os.set_blocking(ours, False)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # all is read
        pass
    os.close(ours)
    return shown.decode(encoding)


@pytest.mark.skipif(pty is None, reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [160, 80, 60, 40, 20])
def test_bar_fits_every_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text gives way to the bar, and the count to a percentage."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = shown_on_terminal("utf-8", monkeypatch, "Building the network in Keras")
    rows = [re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", row) for row in re.split(r"[\r\n]", shown)]
    assert 0 < max(map(len, rows)) <= columns
    assert max(row.count("━") for row in rows) >= 10
    assert ("1,000/1,000 steps" in shown) == (columns >= 60)
    assert ("100 %" in shown) == (columns < 60)
    bars = " ".join(row for row in rows if "━" in row)
    assert [word in bars for word in ("Building", "in Keras")] == [columns > 20, columns >= 60]


@pytest.mark.parametrize("command", ["inspect", "trace", "verify"])
def test_pipe_gets_no_progress(command: str, run) -> None:
    done = run(command, "--T", 3)
    assert done.status == 0
    assert done.err == ""
