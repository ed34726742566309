"""``verify --against``: inexact ports, their errors, and the tolerance that accepts them."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Arrays, Port, given, ported, weights_of

LONG = {**SIZES, "T": 16}


def quantized(cell: str, what: str) -> Arrays:
    """A port with weights of 8 bits, one scale for each array."""
    golden = rnnshapes.golden(**LONG, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    for name, values in weights.items():
        scale = np.abs(values).max() / 127
        weights[name] = (np.rint(values / scale) * scale).astype("f")
    return given(Port(cell).run(weights, golden["x"]), what)


@pytest.mark.parametrize("what", ["y_hat", "h"])
def test_inexact_port_has_measured_errors(what: str) -> None:
    """Over the whole run, from the differences to the golden file."""
    port = quantized("lstm", what)
    golden = rnnshapes.golden(**LONG, cell="lstm").arrays
    expected = golden["y_hat" if what == "y_hat" else "lstm.h"]
    difference = np.abs(port[what] - expected)
    result = rnnshapes.verify(**LONG, cell="lstm", against=port)
    assert (result.verdict, result.passed) == ("inexact", False)
    record = result.to_dict()
    assert (record["verdict"], record["tolerance"]) == ("inexact", None)
    (check,) = record["checks"]
    error = check["error"]
    assert error["relative"] == pytest.approx(difference.max() / np.ptp(expected))
    assert error["rms"] == pytest.approx(np.sqrt(np.mean(difference**2)))
    first, last = (np.mean(part**2) for part in (difference[:, :4], difference[:, -4:]))
    assert error["growth"] == pytest.approx(np.sqrt(last / first))


def test_tolerance_is_the_largest_accepted_error(run, in_folder) -> None:
    port = quantized("gru", "h")
    np.savez("port.npz", **port)
    (check,) = rnnshapes.verify(**LONG, cell="gru", against=port).checks
    largest = check.error.relative
    sizes = [part for name, size in LONG.items() for part in (f"--{name}", size)]
    command = ["verify", *sizes, "--cell", "gru", "--against", "port.npz", "--tolerance"]
    done = run(*command, 1.01 * largest)
    assert (done.status, done.out.split()[0]) == (0, "INEXACT")
    done = run(*command, 0.99 * largest, "--format", "csv")
    assert done.status == 1
    assert ["verdict", "false"] in [row[:2] for row in csv.reader(done.out.splitlines())]
    done = run(*command, 1.01 * largest, "--format", "json")
    record = json.loads(done.out)
    assert (record["verdict"], record["passed"], record["tolerance"]) == (
        *("inexact", True),
        1.01 * largest,
    )
    assert not record["checks"][0]["passed"]


@pytest.mark.parametrize("mistake", ["order", "one weight"])
def test_no_tolerance_accepts_a_mistake(mistake: str) -> None:
    """A thousandth on one weight is less than most tolerances."""
    golden = rnnshapes.golden(**SIZES, cell="lstm").arrays
    weights = weights_of(golden, "lstm")
    port = Port("lstm", order=("i", "c", "f", "o"))
    if mistake == "one weight":
        weights["bias"] = weights["bias"] + np.float32(1e-3) * (np.arange(20) == 7)
        port = Port("lstm")
    numbers = given(port.run(weights, golden["x"]), "states")
    result = rnnshapes.verify(**SIZES, cell="lstm", against=numbers, tolerance=1.0)
    assert result.within_tolerance
    assert (result.verdict, result.passed) == ("failed", False)


@pytest.mark.parametrize("wrong", [slice(None), (1, 3, 0)])
def test_small_errors_everywhere_are_inexact(wrong: Any) -> None:
    """A single wrong number is none."""
    y_hat = rnnshapes.golden(**SIZES).arrays["y_hat"]
    noise = np.random.default_rng(0).uniform(-1, 1, y_hat.shape)
    port = y_hat.astype("f")
    port[wrong] += (5e-3 * np.ptp(y_hat) * noise)[wrong]
    verdict = rnnshapes.verify(**SIZES, against={"y_hat": port}).verdict
    assert verdict == ("inexact" if wrong == slice(None) else "failed")


def test_zeros_are_never_accepted() -> None:
    port = {"y_hat": np.zeros((3, 9, 2), "f")}
    assert not rnnshapes.verify(**SIZES, against=port, tolerance=1.0).passed


def test_right_port_agrees_with_any_tolerance() -> None:
    result = rnnshapes.verify(**SIZES, against=given(ported(Port("simple")), "h"), tolerance=0)
    assert (result.verdict, result.passed) == ("agrees", True)


@pytest.mark.parametrize("tolerance", ["-0.1", "nan", "1.01", "inf", "0.5%", ""])
def test_senseless_tolerance_exits_2(tolerance: str, run, in_folder) -> None:
    np.save("port.npy", ported(Port("simple"))["y_hat"])
    done = run("verify", "--against", "port.npy", f"--tolerance={tolerance}")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "--tolerance" in done.err
