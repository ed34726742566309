"""The configurations of a sweep: axes of options, in parts with all combinations of some axes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import MEANING, Network

#: Options of a network by name, as ``from_sizes`` takes them.
Options = Mapping[str, Any]
#: A network with the options that make it.
Planned = tuple[dict[str, Any], Network]
#: What is chosen together, one after the other.
Axis = tuple[Options, ...]


def _axis(*names: str) -> Any:
    """An axis of which each choice has these options."""

    def choices(*values: Sequence[object]) -> Axis:
        return tuple(dict(zip(names, value, strict=True)) for value in values)

    return choices


CELLS = (
    {"cell": "simple"},
    {"cell": "lstm"},
    {"cell": "gru", "reset_after": True},
    {"cell": "gru", "reset_after": False},
)
GATED = CELLS[1:]
BIAS = _axis("use_bias")([True], [False])
ONE_WAY = _axis("bidirectional", "go_backwards")([False, False], [False, True])
BOTH_WAYS = _axis("bidirectional", "go_backwards", "merge_mode")(
    *([True, False, mode] for mode in ("concat", "sum", "mul", "ave"))
)
SEQUENCES = _axis("return_sequences")([False], [True])
ACTIVATION = _axis("activation")(
    *(["relu"], ["linear"], ["sigmoid"], ["hard_sigmoid"], ["softsign"], ["elu"], ["gelu"])
)
GATE_ACTIVATION = _axis("recurrent_activation")(["hard_sigmoid"], ["tanh"], ["relu"])
_SIZES = _axis("N", "T", "D", "M", "K")
USUAL = _SIZES([2, 6, 3, 5, 4])
SIZES = _SIZES(
    [1, 6, 3, 5, 4],
    [2, 1, 3, 5, 4],
    [2, 6, 1, 5, 4],
    [2, 6, 3, 1, 4],
    [2, 6, 3, 5, 1],
    [1, 1, 1, 1, 1],
    [40, 6, 3, 5, 4],
    [4, 50, 16, 64, 8],
)
STACK = _SIZES([2, 6, 3, (5, 7), 4])

#: Where sizes stand for many others, they are all different.
GRID: tuple[tuple[Axis, ...], ...] = (
    (CELLS, BIAS, (*ONE_WAY, *BOTH_WAYS), SEQUENCES, USUAL),
    (CELLS, (*ONE_WAY, *BOTH_WAYS[:1]), SEQUENCES, STACK),
    (CELLS, ACTIVATION, USUAL),
    (GATED, GATE_ACTIVATION, USUAL),
    (CELLS, (ONE_WAY[0], BOTH_WAYS[0]), SIZES),
)
#: What an option is where it is left out.
LEFT_OUT = MappingProxyType(
    {
        "use_bias": True,
        "reset_after": True,
        "bidirectional": False,
        "merge_mode": "concat",
        "go_backwards": False,
        "return_sequences": False,
    }
)


def networks(fixed: Options) -> list[Planned]:
    """Every configuration once, in the order of the grid, by the options that are not Keras's own.

    A ``fixed`` option leaves of its axis what agrees with it, and stands where there is none; a
    fixed size stands in place of all others. A cell that does not have the option is left out.
    Raises InputError where nothing is left.
    """
    found: dict[Any, Planned] = {}
    refused = None
    for row in _rows({name: _hashable(value) for name, value in fixed.items()}):
        options = {k: v for k, v in row.items() if k not in LEFT_OUT or v != LEFT_OUT[k]}
        key = tuple(sorted(options.items()))
        if key not in found:
            try:
                found[key] = options, from_sizes(**row)
            except InputError as error:
                refused = error
    if not found and refused is not None:
        raise refused
    return list(found.values())


def _hashable(value: Any) -> Any:
    """Several M as a tuple, one as itself."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else tuple(value)


def _rows(fixed: Options) -> Iterator[dict[str, Any]]:
    """Combinations, of which some may be the same."""
    for part in GRID:
        for choices in product(*(_left(axis, fixed) for axis in part)):
            row: dict[str, Any] = {}
            for choice in choices:
                row |= choice
            yield {**row, **fixed}


def _left(axis: Axis, fixed: Options) -> Sequence[Options]:
    """The choices that agree with what is fixed; a choice of that alone where none does."""
    names = {name for choice in axis for name in choice if name not in MEANING}
    own = {name: value for name, value in fixed.items() if name in names}
    agreeing = [c for c in axis if all(c.get(name) == value for name, value in own.items())]
    return agreeing or [own]
