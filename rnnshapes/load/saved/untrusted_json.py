"""JSON from an untrusted file: of bounded size, and with names that are safe to print."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from rnnshapes.errors import InputError

#: More values and keys than any model has; an object in memory takes 100 times its text.
MOST_NODES = 500_000
MOST_NESTING = 64
#: Of a text that has to be changed before it is printed, and of a number.
MOST_LETTERS, MOST_DIGITS = 1000, 40


def parse(text: str | bytes, what: str, *, unique_keys: bool = False) -> dict[str, Any]:
    """Return the JSON object that a text holds.

    Args:
        text: The text.
        what: What it is, for messages.
        unique_keys: Whether a key that comes twice is an error.

    Raises:
        InputError: It is too large or nested too deep, no JSON, or no object.
    """
    if _count_nodes(text) > MOST_NODES:
        raise InputError(f"{what} has more than {MOST_NODES:,} parts: no model has")
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_parse_int,
            object_pairs_hook=_unique if unique_keys else None,
        )
        _require_depth(value, MOST_NESTING)
    except RecursionError:
        raise InputError(f"{what} is nested more than {MOST_NESTING} deep: no model is") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{what} is not JSON of a model: {reason}") from None
    if not isinstance(value, dict):
        raise InputError(f"{what} is not a JSON object")
    return value


def printable(text: str) -> str:
    """Return a text with escapes for characters that a terminal would obey, or not show."""
    if text.isprintable():
        return text
    if len(text) > MOST_LETTERS:  # each becomes an object of its own below
        return printable(text[:MOST_LETTERS]) + "…"
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def all_printable(value: Any) -> Any:
    """Return a value with every text in it :func:`printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [all_printable(part) for part in value]
    if isinstance(value, dict):
        return {printable(key): all_printable(part) for key, part in value.items()}
    return value


def _count_nodes(text: str | bytes) -> int:
    """Return at least as many as there are values and keys."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return sum(data.count(mark) for mark in (b",", b"[", b"{", b":"))


def _parse_int(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key comes twice")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of a model")


def _require_depth(value: Any, depth: int) -> None:
    """Raise RecursionError for a value that is nested more than ``depth`` deep."""
    if depth < 0:
        raise RecursionError
    if isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            _require_depth(part, depth - 1)
