"""Rows of the CSV form as a pandas data frame, with numbers as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rnnshapes.errors import CannotRunError

_BOOLEANS = {"true": True, "false": False}


def frame(rows: Iterable[Sequence[object]]) -> Any:
    """Return a ``pandas.DataFrame`` of rows, of which the first holds the headings.

    Cells without a value are NaN among floats, and ``pd.NA`` among integers and Booleans.

    Raises:
        CannotRunError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise CannotRunError(
            'to_frame() needs pandas, which is not installed: pip install "rnnshapes[frame]"'
        ) from None

    remaining = iter(rows)
    headings = [str(heading) for heading in next(remaining)]
    columns = list(zip(*remaining, strict=True)) or [()] * len(headings)
    series = (pd.Series(values, dtype=dtype) for values, dtype in map(_typed, columns))
    data_frame = pd.DataFrame(dict(enumerate(series)))
    data_frame.columns = pd.Index(headings)
    return data_frame


def _typed(values: Sequence[Any]) -> tuple[list[Any], str]:
    """Return a column and its dtype: ``object`` for text and for integers beyond 64 bits."""
    present = [value for value in values if value is not None and value != ""]
    complete = len(present) == len(values)
    types = set(map(type, present))
    if types == {str} and set(present) <= set(_BOOLEANS):
        return [_BOOLEANS.get(value) for value in values], "bool" if complete else "boolean"
    if types and types <= {bool, int, float}:
        cells = [None if value == "" else value for value in values]
        if types == {bool}:
            return cells, "bool" if complete else "boolean"
        if float in types:
            return cells, "float64"
        if all(-(2**63) <= value < 2**63 for value in present):
            return cells, "int64" if complete else "Int64"
    return list(values), "object"
