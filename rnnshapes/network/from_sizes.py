"""Networks from sizes, a cell and its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rnnshapes.cells.registry import BY_NAME
from rnnshapes.errors import InputError
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.rnn import MERGE_MODES
from rnnshapes.network.sizes import DEFAULT_SIZES, check_size
from rnnshapes.ops.interface import ACTIVATIONS

#: More recurrent layers than anyone reads the equations of.
MOST_LAYERS = 100


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
    """Build ``Input((T, D)) → SimpleRNN(M) → Dense(K)``, or the same with another cell.

    Several M give a stack. A size that is ``None`` has its default (N=1 T=10 D=3 M=5 K=2), an
    option that is ``None`` has Keras's.

    Raises:
        InputError: a size is not a whole number from 1 to 2**63 - 1, or the cell does not have an
            option.
    """
    sizes = {
        name: check_size(name, DEFAULT_SIZES[name] if value is None else value)
        for name, value in {"N": N, "T": T, "D": D, "K": K}.items()
    }
    if merge_mode is not None and merge_mode not in MERGE_MODES:
        raise InputError(f"unknown merge_mode {merge_mode!r}: use one of {', '.join(MERGE_MODES)}")
    if merge_mode is not None and not bidirectional:
        raise InputError("merge_mode (--merge-mode) requires bidirectional (--bidirectional)")
    if bidirectional and go_backwards:
        raise InputError(
            "go_backwards (--go-backwards) cannot be combined with bidirectional (--bidirectional)"
        )
    kind, config = _cell(cell or "simple", options)
    calls = [LayerCall("input", "InputLayer", {"batch_shape": (None, sizes["T"], sizes["D"])})]
    hidden = _hidden_sizes(M)
    for position, size in enumerate(hidden):
        last = position == len(hidden) - 1
        layer_options = {
            "units": size,
            "return_sequences": bool(return_sequences) if last else True,
            "go_backwards": bool(go_backwards),
        }
        base = keras_name(BY_NAME[cell or "simple"].default_name, position)
        layer_config = {**config, **layer_options, "name": base}
        if bidirectional:
            inner = {"class_name": kind, "config": layer_config}
            both = {"layer": inner, "merge_mode": merge_mode or "concat"}
            name = keras_name("bidirectional", position)
            calls.append(LayerCall(name, "Bidirectional", both, (Tap(position),)))
        else:
            calls.append(LayerCall(base, kind, layer_config, (Tap(position),)))
    calls.append(LayerCall("dense", "Dense", {"units": sizes["K"]}, (Tap(len(calls) - 1),)))
    return assemble(LayerGraph(tuple(calls), (Tap(len(calls) - 1),), samples=sizes["N"]))


def _hidden_sizes(M: Any) -> list[int]:
    try:
        hidden = list(M)
    except TypeError:
        hidden = [DEFAULT_SIZES["M"] if M is None else M]
    if not hidden:
        raise InputError("M (hidden units) needs a size for at least one recurrent layer")
    if len(hidden) > MOST_LAYERS:
        raise InputError(f"M has {len(hidden):,} sizes: give at most {MOST_LAYERS} layers")
    return [check_size("M", value) for value in hidden]


def _cell(name: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the Keras class of a cell, and the options that are given for it."""
    if name not in BY_NAME:
        raise InputError(f"unknown cell {name!r}: use one of {', '.join(BY_NAME)}")
    kind = BY_NAME[name]
    known = kind.option_names()
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in known:
            raise InputError(f"{kind.class_name} has no option {option}; {_remedy(option, known)}")
        if option.endswith("activation") and value not in ACTIVATIONS:
            raise InputError(f"{option}: {_unknown_activation(value)}")
    return kind.class_name, given


def _remedy(option: str, known: Sequence[str]) -> str:
    """Return what to use instead of an option that a cell lacks."""
    cells = [name for name, kind in BY_NAME.items() if option in kind.option_names()]
    flag = f"--{option.replace('_', '-')}"
    remedy = (
        f"{flag} requires --cell {' or '.join(cells)}" if cells else f"it has {', '.join(known)}"
    )
    near = [other for other in known if option.endswith(other)]
    return f"use --{near[0]} here; {remedy}" if near else remedy


def _unknown_activation(name: Any) -> str:
    """Return an error message for an unknown activation, with the nearest known one."""
    import difflib

    near = difflib.get_close_matches(str(name).lower(), ACTIVATIONS, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown activation {name!r}{hint}: use one of {', '.join(ACTIVATIONS)}"


def keras_name(base: str, position: int) -> str:
    """Return the name that Keras gives to layer number ``position`` of its class."""
    return base if position == 0 else f"{base}_{position}"
