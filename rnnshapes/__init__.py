"""Shapes, steps and proofs for recurrent networks.

>>> import rnnshapes
>>> rnnshapes.inspect(T=10, D=3, M=5).params
57
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnshapes.errors import (
    CannotRunError,
    InputError,
    KerasUnavailableError,
    RnnshapesError,
    TooLargeError,
)
from rnnshapes.result import Result, register_renderers

if TYPE_CHECKING:
    from pathlib import Path

    from rnnshapes.api import golden, inspect, trace, verify
    from rnnshapes.render.schemas import schema

__version__ = "0.1.0"
__all__ = [
    "CannotRunError",
    "InputError",
    "KerasUnavailableError",
    "RnnshapesError",
    "TooLargeError",
    "golden",
    "inspect",
    "schema",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    # The functions come with their modules when first used: importing rnnshapes is immediate.
    if name in ("golden", "inspect", "trace", "verify"):
        from rnnshapes import api

        return getattr(api, name)
    if name == "schema":
        from rnnshapes.render import schemas

        return schemas.schema
    raise AttributeError(f"module 'rnnshapes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _text(result: Result) -> str:
    from rnnshapes import render

    return render.text(result)


def _html(result: Result) -> str:
    from rnnshapes import render

    return render.html(result)


def _record(result: Result) -> dict[str, Any]:
    from rnnshapes import render

    return render.record(result)


def _frame(result: Result) -> Any:
    from rnnshapes import render

    return render.frame(result)


def _file(result: Result, path: Path) -> None:
    from rnnshapes.render import write_file

    write_file.check_golden(path)
    write_file.write_golden(result, path)


def _figure(result: Result) -> Any:
    from rnnshapes.render import plots

    return plots.figure(result)


register_renderers(text=_text, html=_html, record=_record, frame=_frame, file=_file, figure=_figure)
