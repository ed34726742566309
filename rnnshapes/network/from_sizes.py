"""A network given by numbers: sizes, a cell and its options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from rnnshapes.cells.registry import BY_NAME
from rnnshapes.errors import InputError
from rnnshapes.network.assemble import Call, Plan, assemble
from rnnshapes.network.graph import Network, Tap, check_size
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.ops.interface import ACTIVATIONS

#: The sizes of the reference network.
DEFAULTS = MappingProxyType({"N": 1, "T": 10, "D": 3, "M": 5, "K": 2})


def from_sizes(
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    cell: str | None = None,
    bidirectional: bool | None = None,
    merge_mode: str | None = None,
    go_backwards: bool | None = None,
    return_sequences: bool | None = None,
    **options: Any,
) -> Network:
    """``Input((T, D)) → SimpleRNN(M) → Dense(K)``, or another cell; several M give a stack.

    A size left out has its default: N=1 T=10 D=3 M=5 K=2; an option that is ``None`` has that
    of Keras. Raises InputError for a size that is not a whole number from 1 to 2**63 - 1, and
    for an option that the cell does not have.
    """
    given = {"N": N, "T": T, "D": D, "K": K}
    plain = {
        name: check_size(name, DEFAULTS[name] if value is None else value)
        for name, value in given.items()
    }
    if merge_mode is not None and merge_mode not in MERGE_MODES:
        raise InputError(f"merge_mode {merge_mode!r}: there are {', '.join(MERGE_MODES)}")
    if merge_mode is not None and not bidirectional:
        raise InputError(
            "merge_mode (--merge-mode) joins two directions: give bidirectional "
            "(--bidirectional), too"
        )
    if bidirectional and go_backwards:
        raise InputError(
            "go_backwards (--go-backwards) reads from the end alone, bidirectional "
            "(--bidirectional) from both ends: give one of them"
        )
    kind, config = _cell(cell or "simple", options)
    calls = [Call("input", "InputLayer", {"batch_shape": (None, plain["T"], plain["D"])})]
    units = _hidden(M)
    for position, size in enumerate(units):
        last = position == len(units) - 1
        more = {
            "units": size,
            "return_sequences": bool(return_sequences) if last else True,
            "go_backwards": bool(go_backwards),
        }
        base = keras_name(BY_NAME[cell or "simple"].default_name, position)
        own = {**config, **more, "name": base}
        if bidirectional:
            inner = {"class_name": kind, "config": own}
            both = {"layer": inner, "merge_mode": merge_mode or "concat"}
            name = keras_name("bidirectional", position)
            calls.append(Call(name, "Bidirectional", both, (Tap(position),)))
        else:
            calls.append(Call(base, kind, own, (Tap(position),)))
    calls.append(Call("dense", "Dense", {"units": plain["K"]}, (Tap(len(calls) - 1),)))
    return assemble(Plan(tuple(calls), (Tap(len(calls) - 1),), samples=plain["N"]))


def _hidden(M: Any) -> list[int]:
    try:
        hidden = list(M)
    except TypeError:
        hidden = [DEFAULTS["M"] if M is None else M]
    if not hidden:
        raise InputError("M (hidden units) needs a size for at least one recurrent layer")
    return [check_size("M", value) for value in hidden]


def _cell(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The Keras class of a cell by its name, and its options."""
    if name not in BY_NAME:
        raise InputError(f"cell {name!r}: there are {', '.join(BY_NAME)}")
    kind = BY_NAME[name]
    known = [f.name for f in fields(kind) if f.name != "units"]
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in known:
            have = ", ".join(known)
            raise InputError(f"{option} is no option of {kind.keras_class}; it has {have}")
        if option.endswith("activation") and value not in ACTIVATIONS:
            raise InputError(f"{option} {value!r} {_unknown(value)}")
    return kind.keras_class, given


def _unknown(activation: Any) -> str:
    """What is said of an activation that there is none of."""
    import difflib

    near = difflib.get_close_matches(str(activation).lower(), ACTIVATIONS, n=1)
    meant = f": did you mean {near[0]}?" if near else ";"
    return f"is no activation that is supported{meant} rnnshapes inspect --help lists all"


def keras_name(base: str, position: int) -> str:
    """Keras's own name for the layer at ``position`` among those of its kind."""
    return base if position == 0 else f"{base}_{position}"
