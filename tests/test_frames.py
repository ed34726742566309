"""``to_frame()``: the rows of the CSV form as a data frame, with numbers as numbers."""

from __future__ import annotations

import csv
import sys
from io import StringIO

import keras
import numpy as np
import pandas as pd
import pytest

import rnnshapes
from rnnshapes import render
from rnnshapes.render.formats import json_csv
from rnnshapes.result import Result
from tests.helpers.commands import process
from tests.helpers.results import KINDS, SIZES, result_of

#: Dtypes of some columns of the result of each kind.
DTYPES: dict[str, dict[str, str]] = {
    "inspect": {"params": "int64"},
    "trace": {
        "sample": "int64",
        "t": "int64",
        "y_hat[4]": "float64",
        "gru.gate_z[0]": "float64",
    },
    "verify": {"passed": "bool", "compared": "int64", "ratio": "float64"},
    "port": {"passed": "bool", "ratio": "float64"},
    "golden": {},
}


def check_frame(result: Result, dtypes: dict[str, str]) -> None:
    """Assert that the frame has the headings, the rows and the cells of the CSV form."""
    frame = result.to_frame()
    text = "".join(json_csv.csv_chunks(render.to_rows(result)))
    headings, *lines = list(csv.reader(StringIO(text)))
    assert list(frame.columns) == headings
    assert len(frame) == len(lines) > 0
    for row, line in zip(frame.itertuples(index=False), lines, strict=True):
        assert [csv_text(value) for value in row] == [cell.removeprefix("'") for cell in line]
    assert {column: str(frame[column].dtype) for column in dtypes} == dtypes


@pytest.mark.parametrize("kind", KINDS)
def test_frame_equals_the_csv_form(kind: str) -> None:
    check_frame(result_of(kind), DTYPES[kind])


def test_frame_without_rows_has_its_headings() -> None:
    """Of a network without weights."""
    x = keras.Input((6, 3))
    result = rnnshapes.inspect(keras.Model(x, keras.layers.Flatten()(x)))
    frame = result.to_frame()
    assert (list(frame.columns), len(frame)) == (list(next(render.to_rows(result))), 0)


def test_counts_beyond_64_bits_stay_integers() -> None:
    check_frame(rnnshapes.inspect(M=10**12), {"params": "object"})


def csv_text(value: object) -> str:
    """Return a cell as the CSV form writes it."""
    if pd.isna(value):
        return ""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return str(value).removeprefix("'")


def test_cells_without_value_are_missing() -> None:
    """An open size among integers, a ratio among floats, an option among Booleans."""
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2)])
    assert rnnshapes.inspect(model).to_frame()["params"].sum() == 4 * 4 * (3 + 4 + 1) + 2 * (4 + 1)
    checks = result_of("verify").to_frame()
    assert checks["ratio"].isna().any()
    assert checks["ratio"].max() <= 1
    rows = [["a", "b", "c"], [1, "true", True], [None, "", False], [3, "false", True]]
    from rnnshapes.render.formats import pandas_frame

    frame = pandas_frame.frame(rows)
    assert list(map(str, frame.dtypes)) == ["Int64", "boolean", "bool"]
    assert frame["a"].sum() == 4
    assert frame.isna().to_numpy().tolist() == [[False] * 3, [True, True, False], [False] * 3]


def test_frame_of_a_trace_holds_its_exact_numbers() -> None:
    result = rnnshapes.trace(**SIZES, keras=False)
    frame = result.to_frame().set_index(["sample", "t"])
    assert frame.loc[(1, 3), "y_hat[2]"] == result.y_hat[1, 3, 2]
    np.testing.assert_array_equal(frame.to_numpy().reshape(2, 6, 5), result.y_hat)


def test_missing_pandas_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    result = rnnshapes.inspect()
    with pytest.raises(
        rnnshapes.CannotRunError, match=r'pip install "rnnshapes\[frame\]"'
    ) as error:
        result.to_frame()
    assert "\n" not in str(error.value)
    assert "57" in repr(result)


def test_pandas_loads_only_for_to_frame() -> None:
    code = "import sys, rnnshapes; rnnshapes.inspect().to_dict(); print('pandas' in sys.modules)"
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
    assert process("inspect", "--no-keras").status == 0
