"""Command lines made of options that were given before, to be typed as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnshapes.render.document import printable

#: Options that are switched on and off by two names.
_SWITCHES = {
    "use_bias": ("--bias", "--no-bias"),
    "reset_after": ("--reset-after", "--no-reset-after"),
    "bidirectional": ("--bidirectional", "--one-direction"),
    "go_backwards": ("--go-backwards", "--forwards"),
    "return_sequences": ("--return-sequences", "--last-only"),
}
#: What makes a network, and what goes into it.
NETWORK = (
    *("model", "cell", "N", "T", "D", "M", "K", "activation", "recurrent_activation"),
    *(*_SWITCHES, "merge_mode"),
)
DATA = ("input", "seed")


def command_line(command: str, given: Mapping[str, Any], names: Iterable[str], *more: str) -> str:
    """``rnnshapes trace model.keras --T 20``: the options called ``names`` as they were given."""
    words = ["rnnshapes", command]
    for name in names:
        words += _words(name, given.get(name))
    return printable(shlex.join([*words, *more]))


def _words(name: str, value: Any) -> list[str]:
    if value is None or (name == "seed" and value == 0):
        return []
    if name == "model":
        return [_path(value)]
    if name in _SWITCHES:
        return [_SWITCHES[name][not value]]
    option = f"--{name.replace('_', '-')}"
    values = value if isinstance(value, list | tuple) else [value]
    return [word for each in values for word in (option, str(each))]


def _path(path: Path) -> str:
    """A path that is not taken for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
