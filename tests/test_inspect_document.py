"""What ``inspect`` shows beside its drawings: views, counts, and columns that tell something."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import render
from rnnshapes.network.summary import Inspection
from rnnshapes.render.document import Drawing, Table
from rnnshapes.render.view import View

#: For each view, how many drawings it has of a small and of a large network, and if tables.
VIEWS = {"all": (2, 1, True), "flow": (2, 2, False), "tables": (0, 0, True)}


@pytest.mark.parametrize("blocks", VIEWS)
def test_the_view_chooses_drawings_or_tables(blocks: Any) -> None:
    """A network of many layers has no flow beside its tables; the total is always there."""
    small, large, has_tables = VIEWS[blocks]
    for drawings, result in (
        (small, rnnshapes.inspect(T=12, M=5)),
        (large, rnnshapes.inspect(M=[3] * 9)),
    ):
        document = render.to_document(result, View(blocks=blocks))
        assert len([part for part in document if isinstance(part, Drawing)]) == drawings
        assert any(isinstance(part, Table) for part in document) == has_tables
        assert any(result.formula in getattr(part, "text", "") for part in document)


def test_a_single_layer_is_no_plural() -> None:
    """Layers are counted where the network is no chain."""
    x = keras.Input((6, 3))
    both = la.Bidirectional(la.GRU(4, return_sequences=True), merge_mode=None)
    one = rnnshapes.inspect(keras.Model(x, both(x)))
    two = rnnshapes.inspect(keras.Model(x, la.Add()(both(x))))
    assert " 1 layer " in render.to_document(one)[0].text
    assert " 2 layers " in render.to_document(two)[0].text


def table(result: Inspection, heading: str) -> Table:
    """The table with a column of this heading."""
    return next(
        part
        for part in render.to_document(result)
        if isinstance(part, Table) and heading in [column.heading for column in part.columns]
    )


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_sizes_without_names_are_written_once(tmp_path) -> None:
    """A column that tells nothing is left out."""
    model = keras.Sequential([keras.Input((6, 3)), la.LSTM(4)])
    model.save_weights(path := tmp_path / "x.weights.h5")
    result = rnnshapes.inspect(path)
    found = table(result, "weight")
    assert [column.heading for column in found.columns] == ["weight", "shape", "params", "bytes"]
    assert all(len(row.cells) == 4 for row in found.rows)
    lines = [part.text for part in render.to_document(result) if hasattr(part, "text")]
    (gates,) = [line for line in lines if "(3, 16)" in line]
    assert gates.count("(3, 16)") == 1
    for columns in ("i [:, 0:4]", "f [:, 4:8]", "c [:, 8:12]", "o [:, 12:16]"):
        assert columns in gates


def test_narrow_tables_keep_the_shape() -> None:
    """Costs that N leaves open have no column."""
    model = keras.Sequential([keras.Input((6, 3)), la.Bidirectional(la.GRU(4))])
    columns = table(rnnshapes.inspect(model), "tensor").columns
    assert {column.heading: column.rank for column in columns} == {
        "tensor": 0,
        "dims": 1,
        "shape": 0,
    }
    assert len(table(rnnshapes.inspect(model, N=2), "tensor").columns) == 4
