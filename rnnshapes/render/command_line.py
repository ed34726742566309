"""Command lines to copy and run, from the options of an earlier command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnshapes.render.document import printable

#: Options with one name for on and one for off.
_SWITCHES = {
    "use_bias": ("--bias", "--no-bias"),
    "reset_after": ("--reset-after", "--no-reset-after"),
    "bidirectional": ("--bidirectional", "--one-direction"),
    "go_backwards": ("--go-backwards", "--forwards"),
    "return_sequences": ("--return-sequences", "--last-only"),
}
#: Options that describe a network, and those that describe its input.
NETWORK = (
    *("model", "cell", "N", "T", "D", "M", "K", "activation", "recurrent_activation"),
    *(*_SWITCHES, "merge_mode"),
)
DATA = ("input", "probe", "seed")


def command_line(command: str, options: Mapping[str, Any], names: Iterable[str], *more: str) -> str:
    """Return a command with the options ``names`` as given: ``rnnshapes trace model.keras --T 20``.

    Args:
        command: Name of the command.
        options: Options of the earlier command by name; ``None`` for those left out.
        names: Names of the options to repeat.
        *more: Words to append.
    """
    words = ["rnnshapes", command]
    for name in names:
        words += _words(name, options.get(name))
    return printable(shlex.join([*words, *more]))


def _words(name: str, value: Any) -> list[str]:
    if value is None or (name in ("seed", "probe") and not value):
        return []
    if name == "probe":
        return ["--probe"]
    if name == "model":
        return [_path(value)]
    if name in _SWITCHES:
        return [_SWITCHES[name][not value]]
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return [f"--{name.replace('_', '-')}", text]


def _path(path: Path) -> str:
    """Return a path that no command takes for an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
