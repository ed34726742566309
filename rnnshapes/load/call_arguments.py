"""The arguments of one call of a layer, sorted: inputs, initial states, mask, and other options.

A live model holds them as Keras tensors, a saved config as references to tensors. Both are sorted
here, in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rnnshapes.network.layers.config import LAST_INPUT
from rnnshapes.network.layers.registry import call_options

T = TypeVar("T")
#: Parameters of ``call`` that are not its inputs, in the order in which Keras's RNN has them.
OPTIONS = ("initial_state", "mask", "training")
#: Names that Keras's layers give their inputs, in their order.
_INPUTS = ("sequences", "inputs", "query", "value", "key")


@dataclass(frozen=True)
class CallArguments(Generic[T]):
    """What a layer is called with.

    ``inputs`` are the arguments that it is called on, ``initial`` the tensors of its initial
    states, ``mask`` is the value given as a mask. ``settings`` are options that the layer
    supports, ``options`` others that were given, ``unsupported`` the names of what rnnshapes
    cannot interpret.
    """

    inputs: tuple[Any, ...]
    initial: tuple[T, ...]
    mask: Any
    options: Mapping[str, Any]
    unsupported: tuple[str, ...]
    settings: Mapping[str, Any]


def sort_arguments(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    tensors_in: Callable[[Any], Iterator[T]],
    class_name: str,
) -> CallArguments[T]:
    """Sort the arguments of a call.

    Args:
        args: Positional arguments, without options (see :func:`name_options`).
        kwargs: Arguments by name.
        tensors_in: Yields the tensors in a value, however they are nested.
        class_name: The class of the layer.
    """
    options = {name: value for name, value in kwargs.items() if name not in _INPUTS}
    inputs = (*args, *(kwargs[name] for name in _INPUTS if name in kwargs))
    states, mask = options.pop("initial_state", None), options.pop("mask", None)
    options = {name: v for name, v in options.items() if v is not None and v is not False}
    initial = tuple(tensors_in(states))
    settings = {n: options.pop(n) for n in call_options(class_name) if n in options}
    for name, value in settings.items():
        if list(tensors_in(value)):
            inputs, settings[name] = (*inputs, value), LAST_INPUT
    unsupported = list(options)
    if not initial and is_given(states):
        unsupported.append("initial_state")
    return CallArguments(inputs, initial, mask, options, tuple(unsupported), settings)


def name_options(
    args: Sequence[Any], kwargs: Mapping[str, Any], parameters: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return arguments in which the options of a layer have names, also if given by position.

    Args:
        args: Positional arguments.
        kwargs: Arguments by name.
        parameters: The names of the positional parameters, the input first.
    """
    positional, named = list(args), dict(kwargs)
    names = list(parameters)[: len(positional)]
    for name in reversed(OPTIONS):
        if name in names[1:]:
            named[name] = positional.pop(names.index(name))
    return positional, named


def is_given(value: Any) -> bool:
    """Return whether a value holds anything but ``None``, however it is nested."""
    if isinstance(value, list | tuple | dict):
        return any(map(is_given, value.values() if isinstance(value, dict) else value))
    return value is not None
