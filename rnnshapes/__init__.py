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
    UnsupportedError,
)
from rnnshapes.result import show_with

if TYPE_CHECKING:
    from types import ModuleType

    from rnnshapes.api import convert, golden, inspect, inspect_files, quantize, trace, verify
    from rnnshapes.render.schemas import schema

__version__ = "0.1.0"
__all__ = [
    "CannotRunError",
    "InputError",
    "KerasUnavailableError",
    "RnnshapesError",
    "TooLargeError",
    "UnsupportedError",
    "convert",
    "golden",
    "inspect",
    "inspect_files",
    "quantize",
    "schema",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    # The functions come with their modules when first used: importing rnnshapes is immediate.
    if name == "schema":
        from rnnshapes.render import schemas

        return schemas.schema
    if name in __all__:
        from rnnshapes import api

        return getattr(api, name)
    raise AttributeError(f"module 'rnnshapes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def _load_render() -> ModuleType:
    from rnnshapes import render

    return render


show_with(_load_render)
