"""Remedies for unknown options, cells, files and commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rnnshapes.cells.registry import BY_NAME
from rnnshapes.network.sizes import SIZE_MEANINGS

#: Names of sizes in other programs, by the size that is meant.
_SIZES = {
    "N": "samples batch batch-size n-samples num-samples",
    "T": "timesteps time-steps time steps seq-len seq-length sequence-length length num-steps",
    "D": "features input-features n-features num-features input-dim input-size inputs input-shape",
    "M": "units hidden hidden-units hidden-size hidden-dim n-units num-units rnn-units neurons",
    "K": "outputs output output-dim output-size output-units classes num-classes n-outputs",
}
#: Other options, by what to write instead.
_OTHER_OPTIONS = {
    "--input X": "x data",
    "--cell CELL": "rnn type layer-type",
    "--bidirectional": "bi both",
    "--M 6,4 for two layers": "layers num-layers n-layers",
    "--against PORT": "port compare reference expected",
    "--format json": "json",
    "--format csv": "csv",
    "--output FILE": "out save",
    "--view all": "all verbose full",
    "the path of the file alone, without an option": "model model-file model-path path file",
}


def option_remedy(name: str, command: str, options: Mapping[str, Iterable[str]]) -> str:
    """Return what to use instead of an option that a command lacks, or an empty text.

    Args:
        name: The option as written, ``--units``.
        command: The command, or an empty text if none was given.
        options: The options of each command.
    """
    others = [other for other, names in options.items() if name in names]
    if others and not command:
        return f"put the command first, as in rnnshapes {others[0]} {name} …"
    if command == "verify" and name == "--no-keras":
        return (
            "verify needs Keras, except with --against PORT; to compute without Keras, use "
            "rnnshapes trace --no-keras"
        )
    word = name.lstrip("-").lower().replace("_", "-")
    if meant := _intended_option(word, options.get(command, ())):
        return f"use {meant}"
    return f"{' and '.join(others)} {'have' if others[1:] else 'has'} this option" if others else ""


def _intended_option(word: str, known: Iterable[str]) -> str:
    """Return the option that a word means, if it is among the known ones."""
    flags = set(known)
    for size, words in _SIZES.items():
        if word == size.lower() or word in words.split():
            return f"--{size} ({SIZE_MEANINGS[size]})"
    if text := cell_remedy(word):
        return text.removeprefix("use ")
    for flag, words in _OTHER_OPTIONS.items():
        if word in words.split() and (not flag.startswith("--") or flag.split()[0] in flags):
            return flag
    return ""


def cell_remedy(name: str) -> str:
    """Return which options choose a cell, for ``lstm``, ``bilstm`` or ``bi-gru``."""
    word = name.lower()
    for known, kind in BY_NAME.items():
        if word in (known, kind.class_name.lower()):
            return f"use --cell {known}"
        if word.removeprefix("bi").lstrip("-_") in (known, kind.class_name.lower()):
            return f"use --cell {known} --bidirectional"
    return ""


def model_remedy(path: str) -> str:
    """Return what was meant instead of a file that does not exist: a cell, or a further size."""
    if Path(path).suffix or not (path.isdecimal() or cell_remedy(path)) or os.path.exists(path):  # noqa: PTH110
        return ""
    return cell_remedy(path) or "a size needs its option, as in --T 10, or --M 6,4 for two layers"


def command_remedy(name: str, commands: Iterable[str]) -> str:
    """Return what to write instead of a command that does not exist, or an empty text."""
    first = next(iter(commands))
    if text := cell_remedy(name):
        return f"write rnnshapes {first} {text.removeprefix('use ')}"
    if name == "help":
        return "write rnnshapes --help"
    if Path(name).suffix:
        return f"write the command first: rnnshapes {first} {name}"
    return ""


def unknown_option(error: Any) -> str:
    """Return the message about an unknown option, or an empty text for another error or option.

    ``error`` is Typer's; only that of an unknown option has ``possibilities``.
    """
    context = getattr(error, "ctx", None)
    if context is None or not hasattr(error, "possibilities"):
        return ""
    program = context.parent.command if context.parent else context.command
    options = {
        name: [flag for param in known.params for flag in (*param.opts, *param.secondary_opts)]
        for name, known in program.commands.items()
    }
    command = context.info_name if context.parent else ""
    remedy = option_remedy(error.option_name, command, options)
    text = f"{command or 'rnnshapes'} has no option {error.option_name}; {remedy}"
    return text if remedy else ""
