"""JSON from a file that is not trusted: bounded, and with names that can be shown."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from rnnshapes.errors import InputError

#: More than any model has; each object in memory takes about a hundred times its text.
MOST_NODES = 500_000
MOST_DEPTH = 64
#: Of a text that has to be changed before it is shown, and of a number.
MOST_LETTERS, MOST_DIGITS = 1000, 40


def parse(text: str | bytes, what: str) -> dict[str, Any]:
    """The object that ``text`` holds; InputError, naming ``what``, for anything else."""
    if _nodes(text) > MOST_NODES:
        raise InputError(f"{what} has more than {MOST_NODES:,} parts: no model has")
    try:
        found = json.loads(text, parse_constant=_refuse, parse_int=_whole)
        _require_depth(found, MOST_DEPTH)
    except RecursionError:
        raise InputError(f"{what} is nested more than {MOST_DEPTH} deep: no model is") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{what} is no JSON that a model has: {reason}") from None
    if not isinstance(found, dict):
        raise InputError(f"{what} holds no JSON object")
    return found


def printable(text: str) -> str:
    """``text`` with an escape for each character that could steer a terminal or be unseen."""
    if text.isprintable():
        return text
    if len(text) > MOST_LETTERS:  # each becomes an object of its own below
        return printable(text[:MOST_LETTERS]) + "…"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _nodes(text: str | bytes) -> int:
    """At least as many as there are values and keys."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return sum(data.count(mark) for mark in (b",", b"[", b"{", b":"))


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of a model")


def _require_depth(value: Any, depth: int) -> None:
    if depth < 0:
        raise RecursionError
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _require_depth(part, depth - 1)


def shown(value: Any) -> Any:
    """The same with every string in it :func:`printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [shown(part) for part in value]
    if isinstance(value, dict):
        return {printable(key): shown(part) for key, part in value.items()}
    return value
