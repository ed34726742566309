"""How inputs, layers with a recurrence and dense layers are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.network.from_config.base import (
    Config,
    LayerConfig,
    Namer,
    Reader,
    activation,
    is_keras,
    size_in,
)
from rnnshapes.network.layers.base import Direction, Layer, UnsupportedError
from rnnshapes.network.layers.core import Dense, Input
from rnnshapes.network.layers.rnn import MERGE_MODES, Bidirectional, Recurrent
from rnnshapes.ops.dims import Dim

#: More cells in one layer than anyone would read the equations of.
MOST_CELLS = 32


def cell_of(kind: str, config: Config, units: Dim) -> Cell:
    """A cell by the class name of its layer."""
    made: dict[str, Any] = {
        f.name: bool(config[f.name])
        for f in fields(BY_CLASS[kind])
        if f.name != "units" and not f.name.endswith("activation") and f.name in config
    }
    for f in fields(BY_CLASS[kind]):
        if f.name.endswith("activation"):
            made[f.name] = activation(config, f.name, str(f.default))
    return BY_CLASS[kind](units, **made)


def _steps_of(entry: LayerConfig) -> BaseCell:
    """The cell of SimpleRNN, LSTM, GRU, or of an RNN around one cell or several."""
    if entry.class_name in BY_CLASS:
        units = entry.names.size("M", entry.one("units"))
        return cell_of(entry.class_name, entry.config, units)
    inner = entry.config["cell"]
    if inner.get("class_name") == "StackedRNNCells":
        parts = inner["config"]["cells"]
        if len(parts) > MOST_CELLS:
            raise UnsupportedError(f"it has {len(parts)} cells, more than {MOST_CELLS}")
        cells = [_cell_from(part, entry.names) for part in parts]
        names = [str(part["config"].get("name", part["class_name"])) for part in parts]
        from rnnshapes.cells.stacked import StackedCells

        return StackedCells(tuple(cells), tuple(names))
    return _cell_from(inner, entry.names)


def _cell_from(part: Config, names: Namer) -> Cell:
    kind = str(part.get("class_name", "?"))
    if not is_keras(part) or kind.removesuffix("Cell") not in BY_CLASS:
        raise UnsupportedError(f"its cell is of type {kind}")
    config = part["config"]
    return cell_of(kind.removesuffix("Cell"), config, names.size("M", size_in(config, "units")))


def _said(config: Config) -> tuple[str, ...]:
    """Options that make no difference to the numbers, and say so."""
    said = [
        f"{name}={config[name]:g}: no effect at inference"
        for name in ("dropout", "recurrent_dropout")
        if config.get(name)
    ]
    if config.get("unroll"):
        said.append("unroll=True: the loop is written out, the numbers are the same")
    if config.get("stateful"):
        said.append("stateful=True: each batch goes on from the states of the one before")
    return tuple(said)


def _options(entry: LayerConfig) -> dict[str, Any]:
    """What a layer with a recurrence is told beside its cell."""
    names = ("return_sequences", "return_state", "stateful", "zero_output_for_mask")
    options = {name: bool(entry.config.get(name, False)) for name in names}
    inner = entry.config.get("cell", {}).get("config", entry.config)
    return options | {"option_notes": _said({**inner, **entry.config})}


def _direction(
    entry: LayerConfig, name: str, arrow: str = "", index: str | None = None
) -> Direction:
    if entry.steps is None or len(entry.shapes[0]) != 3:
        raise UnsupportedError("its input is not a sequence (N, T, features)")
    cell = _steps_of(entry)
    index = entry.names.index("recurrent") if index is None else index
    reverse = bool(entry.config.get("go_backwards", False))
    return Direction(
        name=name, index=index + arrow, features=entry.features, cell=cell, reverse=reverse
    )


def _recurrent(entry: LayerConfig) -> Layer:
    entry.plain(time_major=False)
    direction = _direction(entry, entry.name)
    return Recurrent(index=direction.index, direction=direction, **entry.shared, **_options(entry))


def _bidirectional(entry: LayerConfig) -> Layer:
    config, parts = entry.config, []
    entry.plain(time_major=False)
    first = config["layer"]
    second = config.get("backward_layer") or {
        **first,
        "config": {**first["config"], "go_backwards": not first["config"].get("go_backwards")},
    }
    index = entry.names.index("recurrent")
    shared_size = dict(entry.names.sizes), dict(entry.names.used)
    for part, arrow, word in ((first, "→", "forward"), (second, "←", "backward")):
        if part is second and _units(part) == _units(first):
            entry.names.sizes, entry.names.used = shared_size  # both have M
        kind = str(part["class_name"])
        if kind not in (*BY_CLASS, "RNN"):
            raise UnsupportedError(f"the layer in it is of type {kind}")
        inner_config = part["config"]
        if inner_config.get("time_major"):
            raise UnsupportedError("time_major=True is not supported, only False")
        base = str(part["config"].get("name", kind.lower())).removeprefix(f"{word}_")
        inner = LayerConfig(
            *(f"{word}_{base}", kind, part["config"], entry.shapes, entry.steps, True),
            *(entry.dtype, entry.names, entry.reader, entry.masked),
        )
        _own(part)
        parts.append(_direction(inner, f"{entry.name}/{inner.name}", arrow, index))
        options = _options(inner)
    options["zero_output_for_mask"] = options["return_sequences"]  # as Bidirectional forces it
    mode = config.get("merge_mode", "concat")
    if mode not in (None, *MERGE_MODES):
        raise UnsupportedError(f"merge_mode={mode!r:.40} is not supported")
    ends = {"forward": parts[0], "backward": parts[1], "merge_mode": mode}
    return Bidirectional(index=index, **ends, **entry.shared, **options)


def _own(part: Config) -> None:
    """UnsupportedError for a layer in another one that is no layer of Keras."""
    if not is_keras(part):
        raise UnsupportedError(f"the layer in it is of a type {part['class_name']} of your own")


def _units(part: Config) -> list[Any]:
    """The sizes of the cells of a layer."""
    config = part["config"]
    inner = config.get("cell", {}).get("config", config)
    return [cell["config"].get("units") for cell in inner.get("cells", [{"config": inner}])]


def _input(entry: LayerConfig) -> Layer:
    shape = entry.config.get("batch_shape") or entry.config.get("batch_input_shape")
    sizes = list(shape or ())[1:]
    integers = bool(entry.config.get("integers"))
    letters = ["T" if integers else "D"] if len(sizes) == 1 else ["T", "D"]
    dims = [entry.names.size(letter, n) for letter, n in zip(letters, sizes, strict=False)]
    dims += [Dim.of(n) if n else entry.names.size("A", None) for n in sizes[2:]]  # further axes
    return Input(shape=(Dim.named("N"), *dims), integers=integers, **entry.shared)


def _dense(entry: LayerConfig) -> Layer:
    units = entry.names.size("K", entry.one("units"))
    return Dense(
        index=str(int(str(units)[1:] or 1) - 1),
        features=entry.features,
        units=units,
        activation=entry.activation(),
        use_bias=bool(entry.config.get("use_bias", True)),
        **entry.shared,
    )


READERS: Mapping[str, Reader] = {
    "InputLayer": _input,
    **dict.fromkeys((*BY_CLASS, "RNN"), _recurrent),
    "Bidirectional": _bidirectional,
    "Dense": _dense,
}
