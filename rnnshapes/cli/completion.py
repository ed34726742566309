"""Values that a shell completes: one name, or several joined by commas.

Each function returns what Typer takes as ``autocompletion``. Nothing here loads NumPy or Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

#: Values that continue what was typed, each with its explanation.
Completer = Callable[[str], list[tuple[str, str]]]


def one_of(values: Mapping[str, str] | Iterable[str]) -> Completer:
    """Complete one of ``values``, which may have explanations."""
    texts = _with_texts(values)

    def complete(incomplete: str) -> list[tuple[str, str]]:
        return [(value, text) for value, text in texts.items() if value.startswith(incomplete)]

    return complete


def joined(values: Mapping[str, str] | Iterable[str]) -> Completer:
    """Complete the last of several values, joined by commas: each once, and ``all`` alone."""
    texts = _with_texts(values)

    def complete(incomplete: str) -> list[tuple[str, str]]:
        *before, last = incomplete.split(",")
        excluded = {*before, "all"} if before else ()
        return [
            (",".join([*before, value]), text)
            for value, text in texts.items()
            if value.startswith(last) and value not in excluded
        ]

    return complete


def _with_texts(values: Mapping[str, str] | Iterable[str]) -> Mapping[str, str]:
    return values if isinstance(values, Mapping) else dict.fromkeys(values, "")
