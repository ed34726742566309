"""Modules of a PyTorch state_dict, known by the names and the shapes of its arrays.

Source: ``torch/nn/modules/rnn.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnshapes.cells.frameworks import BY_CELL, FrameworkCell
from rnnshapes.errors import InputError
from rnnshapes.layouts.frameworks import layout_of
from rnnshapes.load.foreign.modules import Contents, Module, ModuleLayer, OtherModule, StoredArray
from rnnshapes.load.foreign.tensors import Tensor, require_floats
from rnnshapes.ops.dims import Dim

#: ``encoder.weight_ih_l0_reverse``: the module, the array, its layer, its direction.
_RECURRENT = re.compile(r"(?:(.*)\.)?((?:weight|bias)_(?:ih|hh|hr))(?:_l(\d{1,4})(_reverse)?)?")
#: Cells by the number of their gates.
_CELLS = {1: "simple", 3: "gru", 4: "lstm"}
_UNKNOWN_ACTIVATION = "the file does not say whether its activation is tanh or relu: tanh is shown"

_ROLES = ("weight", "bias", "running_mean", "running_var")
#: Arrays of a direction by their names in the layout.
_Arrays = Mapping[str, Tensor]


def read_state_dict(tensors: Sequence[Tensor], kind: str) -> Contents:
    """Return the modules of a state_dict, and all other arrays by module.

    Raises:
        InputError: Two arrays have one name.
    """
    names = {tensor.name for tensor in tensors}
    if len(names) != len(tensors):
        raise InputError("two of its arrays have the same name")
    recurrent: dict[str, dict[tuple[int | None, bool], dict[str, Tensor]]] = {}
    others: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        match = _RECURRENT.fullmatch(tensor.name)
        if match is None:
            others.setdefault(tensor.name.rpartition(".")[0], []).append(tensor)
            continue
        path, array, layer, reverse = match.groups()
        key = (None if layer is None else int(layer), reverse is not None)
        recurrent.setdefault(path or "", {}).setdefault(key, {})[array] = tensor
    modules, contradictions = [], []
    for path, directions in recurrent.items():
        try:
            modules.append(_module(path, directions))
        except InputError as error:
            contradictions.append(f"{path or 'its recurrent module'}: {error}")
            left = [tensor for arrays in directions.values() for tensor in arrays.values()]
            others.setdefault(path, []).extend(left)
    return Contents(
        "PyTorch",
        kind,
        tuple(modules),
        tuple(_other(path, arrays) for path, arrays in others.items()),
        contradictions=tuple(contradictions),
    )


def _module(
    path: str, directions: Mapping[tuple[int | None, bool], Mapping[str, Tensor]]
) -> Module:
    """Return a recurrent module. Raises InputError if its arrays do not fit together."""
    numbers = sorted({-1 if number is None else number for number, _ in directions})
    if numbers not in ([-1], list(range(len(numbers)))):
        raise InputError(f"its layers are {', '.join(map(str, numbers))}, not 0, 1, 2, …")
    keys = [None] if numbers == [-1] else numbers
    count = 2 if any(reverse for _, reverse in directions) else 1
    layers: list[ModuleLayer] = []
    cell_name = ""
    for number in keys:
        group = [directions.get((number, reverse), {}) for reverse in (False, True)[:count]]
        name, layer = _layer(number, group)
        if cell_name not in ("", name):
            raise InputError("its layers have different numbers of gates")
        cell_name = name
        if layers:
            expected = _value(layers[-1].cell.output) * count
            if layer.features != expected:
                raise InputError(
                    f"layer {number} takes {layer.features} features, and {expected} come from "
                    "the layer before"
                )
        layers.append(layer)
    layout = layout_of("PyTorch", cell_name)
    default = "rnn" if cell_name == "simple" else cell_name
    return Module(path or default, layout, tuple(layers))


def _layer(number: int | None, group: Sequence[_Arrays]) -> tuple[str, ModuleLayer]:
    """Return the name of a layer's cell, and the layer; its directions must be alike."""
    made = [_cell(arrays) for arrays in group]
    if any(each != made[0] for each in made):
        raise InputError("its directions have different shapes")
    cell_name, features, cell = made[0]
    layout = layout_of("PyTorch", cell_name)
    suffix = "" if number is None else f"_l{number}"
    arrays = tuple(
        StoredArray(f"{name}{suffix}{'_reverse' * direction}", layout.array(name), t, direction)
        for direction, stored in enumerate(group)
        for name, t in sorted(stored.items(), key=lambda item: _position(layout.arrays, item[0]))
    )
    notes = (_UNKNOWN_ACTIVATION,) if cell_name == "simple" else ()
    reverse = (False, True)[: len(group)]
    return cell_name, ModuleLayer((cell,) * len(group), features, reverse, arrays, notes)


def _position(arrays: Sequence[object], name: str) -> int:
    return [getattr(array, "name", "") for array in arrays].index(name)


def _cell(arrays: _Arrays) -> tuple[str, int, FrameworkCell]:
    """Return the name of a cell, its number of features, and the cell.

    Raises InputError for arrays that no cell has.
    """
    missing = [name for name in ("weight_ih", "weight_hh") if name not in arrays]
    if missing:
        raise InputError(f"it has no {missing[0]}")
    require_floats(arrays)
    kernel, recurrent = arrays["weight_ih"].shape, arrays["weight_hh"].shape
    projection = arrays["weight_hr"].shape if "weight_hr" in arrays else None
    matrices = (kernel, recurrent, *(() if projection is None else (projection,)))
    if any(len(shape) != 2 or 0 in shape for shape in matrices):
        raise InputError("one of its weights is no matrix")
    units = recurrent[1] if projection is None else projection[1]
    gates, rest = divmod(recurrent[0], units)
    if rest or gates not in _CELLS or (projection is not None and gates != 4):
        raise InputError(
            f"weight_hh is {recurrent}: no cell has {recurrent[0]} rows for {units} units"
        )
    biases = [name in arrays for name in ("bias_ih", "bias_hh")]
    if biases[0] != biases[1]:
        raise InputError("it has one of its two biases")
    options: dict[str, Any] = {}
    if projection is not None:
        options["projection"] = Dim.of(projection[0])
    kind = BY_CELL[_CELLS[gates]]
    return _CELLS[gates], kernel[1], kind(Dim.of(units), use_bias=biases[0], **options)


def _value(dim: Dim) -> int:
    value = dim.value({})
    assert value is not None
    return value


def _other(path: str, tensors: Sequence[Tensor]) -> OtherModule:
    """Return arrays that belong to no recurrence, with the class that they suggest."""
    own = {tensor.name.rpartition(".")[2]: tensor.shape for tensor in tensors}
    roles = {tensor.name: tensor.name.rpartition(".")[2] for tensor in tensors}
    roles = {name: role for name, role in roles.items() if role in _ROLES}
    return OtherModule(path or "(top)", next(_classes(path, own), "?"), tuple(tensors), roles)


def _classes(path: str, own: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Yield the classes whose arrays have these names and shapes, the likeliest first."""
    weight, bias = own.get("weight"), own.get("bias")
    if "running_mean" in own:
        yield "BatchNorm"
    if weight is not None and len(weight) == 2 and bias in (weight[:1], None):
        yield "Embedding" if bias is None and "emb" in path.lower() else "Linear"
    if weight is not None and len(weight) == 1:
        yield "LayerNorm"
    if weight is not None and len(weight) > 2:
        yield f"Conv{len(weight) - 2}d"
