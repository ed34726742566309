"""Rows as a pandas data frame: the columns of the CSV form, with numbers as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rnnshapes.errors import CannotRunError

_TRUTH = {"true": True, "false": False}


def frame(rows: Iterable[Sequence[object]]) -> Any:
    """A ``pandas.DataFrame`` of rows, of which the first holds the headings.

    Cells without a value are NaN among floats and ``pd.NA`` among whole numbers and truth
    values. Raises CannotRunError where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise CannotRunError(
            'to_frame() needs pandas, which is not installed: pip install "rnnshapes[frame]"'
        ) from None

    lines = iter(rows)
    headings = [str(heading) for heading in next(lines)]
    columns = list(zip(*lines, strict=True)) or [()] * len(headings)
    typed = map(_typed, columns)
    made = pd.DataFrame({at: pd.Series(v, dtype=kind) for at, (v, kind) in enumerate(typed)})
    made.columns = pd.Index(headings)
    return made


def _typed(values: Sequence[Any]) -> tuple[list[Any], str]:
    """Values, and the dtype that all of them have; text and what is too large for 64 bits stay."""
    there = [value for value in values if value is not None and value != ""]
    whole = len(there) == len(values)
    kinds = set(map(type, there))
    if kinds == {str} and set(there) <= set(_TRUTH):
        return [_TRUTH.get(value) for value in values], "bool" if whole else "boolean"
    if kinds and kinds <= {bool, int, float}:
        cells = [None if value == "" else value for value in values]
        if kinds == {bool}:
            return cells, "bool" if whole else "boolean"
        if float in kinds:
            return cells, "float64"
        if all(-(2**63) <= value < 2**63 for value in there):
            return cells, "int64" if whole else "Int64"
    return list(values), "object"
