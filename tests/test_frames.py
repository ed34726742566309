"""``to_frame()``: the rows of the CSV form as a data frame, with numbers as numbers."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.render.formats import json_csv
from rnnshapes.result import Result
from tests.helpers.commands import process

pytestmark = pytest.mark.usefixtures("eager")

SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6}


def port() -> Result:
    """One that has the time steps the wrong way round."""
    y_hat = rnnshapes.golden(**SIZES).arrays["y_hat"]
    return rnnshapes.verify(**SIZES, against=y_hat[:, ::-1])


RESULTS: dict[str, tuple[Callable[[], Result], dict[str, str]]] = {
    "inspect": (lambda: rnnshapes.inspect(cell="gru", **SIZES), {"params": "int64"}),
    "inspect, huge": (lambda: rnnshapes.inspect(M=10**12), {"params": "object"}),
    "trace": (
        lambda: rnnshapes.trace(**SIZES, cell="lstm", show="y,h,gates"),
        {"sample": "int64", "t": "int64", "y_hat[5]": "float64", "lstm.gate_f[0]": "float64"},
    ),
    "verify": (
        lambda: rnnshapes.verify(**SIZES),
        {"passed": "bool", "compared": "int64", "ratio": "float64"},
    ),
    "port": (port, {"passed": "bool", "ratio": "float64"}),
    "golden": (lambda: rnnshapes.golden(**SIZES), {}),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_frame_says_what_the_csv_says(name: str) -> None:
    """The same headings, the same rows, cell by cell."""
    make, dtypes = RESULTS[name]
    result = make()
    frame = result.to_frame()
    text = "".join(json_csv.csv_chunks(render.to_rows(result)))
    headings, *lines = list(csv.reader(StringIO(text)))
    assert list(frame.columns) == headings
    assert len(frame) == len(lines) > 0
    for row, line in zip(frame.itertuples(index=False), lines, strict=True):
        assert [written(value) for value in row] == [cell.removeprefix("'") for cell in line]
    assert {column: str(frame[column].dtype) for column in dtypes} == dtypes


def written(value: object) -> str:
    """As the CSV form writes it."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return str(value).removeprefix("'")


def test_what_is_open_or_not_there_is_missing() -> None:
    """An open size among whole numbers, a ratio among floats, an option among truth values."""
    import keras

    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    assert rnnshapes.inspect(model).to_frame()["params"].sum() == 4 * 4 * (3 + 4 + 1) + 2 * (4 + 1)
    checks = rnnshapes.verify(**SIZES).to_frame()
    assert checks["ratio"].isna().any()
    assert checks["ratio"].max() <= 1
    rows = [["a", "b", "c"], [1, "true", True], [None, "", False], [3, "false", True]]
    from rnnshapes.render.formats import pandas_frame

    made = pandas_frame.frame(rows)
    assert list(map(str, made.dtypes)) == ["Int64", "boolean", "bool"]
    assert made["a"].sum() == 4
    assert made.isna().to_numpy().tolist() == [[False] * 3, [True, True, False], [False] * 3]


def test_numbers_of_a_trace_are_those_of_its_arrays() -> None:
    """To the last bit, by sample and step."""
    result = rnnshapes.trace(**SIZES, keras=False)
    frame = result.to_frame().set_index(["sample", "t"])
    assert frame.loc[(1, 3), "y_hat[2]"] == result.y_hat[1, 3, 2]
    np.testing.assert_array_equal(frame.to_numpy().reshape(2, 5, 6), result.y_hat)


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, and all else works."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = rnnshapes.inspect()
    with pytest.raises(
        rnnshapes.CannotRunError, match=r'pip install "rnnshapes\[frame\]"'
    ) as error:
        result.to_frame()
    assert "\n" not in str(error.value)
    assert "57" in repr(result)


def test_pandas_is_not_loaded_before_it_is_asked_for() -> None:
    """Neither by the package nor by a command."""
    code = "import sys, rnnshapes; rnnshapes.inspect().to_dict(); print('pandas' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert process("inspect", "--no-keras").status == 0
