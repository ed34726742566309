"""What a reader is given, and what gives sizes their names."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnshapes.network.layers.base import Layer, UnsupportedError
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.interface import ACTIVATIONS, KERAS2_HARD_SIGMOID

Config = Mapping[str, Any]


@dataclass
class Namer:
    """Gives sizes their names: M where there is one of a kind, M1, M2 where there are several."""

    totals: Mapping[str, int]
    sizes: dict[str, int | None] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)

    def size(self, letter: str, value: int | None) -> Dim:
        """A new size of this kind."""
        name = f"{letter}{self.index(letter)}"
        self.sizes[name] = value
        return Dim.named(name)

    def index(self, kind: str) -> str:
        """Which one of its kind this is; nothing for the only one."""
        self.used[kind] = self.used.get(kind, 0) + 1
        return str(self.used[kind]) if self.totals.get(kind, 2) > 1 else ""

    def primed(self) -> Dim:
        """T', T'' and so on."""
        self.used["'"] = self.used.get("'", 0) + 1
        return Dim.named("T" + "'" * self.used["'"])


@dataclass(frozen=True)
class LayerConfig:
    """What a reader is given: the layer's name, config, and its inputs.

    ``reader`` finds the reader of a layer inside this one.
    """

    name: str
    class_name: str
    config: Config
    shapes: Sequence[Shape]
    steps: Dim | None
    trainable: bool
    dtype: str
    names: Namer
    reader: Callable[[str], Reader]
    masked: bool = False

    @property
    def shared(self) -> dict[str, Any]:
        """What every layer has."""
        return {"name": self.name, "trainable": self.trainable}

    @property
    def features(self) -> Dim:
        """The last axis of the first input."""
        return self.shapes[0][-1]

    def plain(self, **understood: Any) -> None:
        """UnsupportedError for an option that is not as it is understood."""
        for option, value in understood.items():
            found = self.config.get(option, value)
            if found != value and found not in ([value], (value,)):
                raise UnsupportedError(f"{option}={found!r} is not supported, only {value!r}")

    def activation(self, default: str = "linear") -> str:
        """The name of its activation."""
        return activation(self.config, "activation", default)

    def one(self, option: str, default: Any = None) -> int:
        """A size that Keras may keep in a list of one; UnsupportedError for what is none."""
        return size_in(self.config, option, default)


def is_keras(part: Config) -> bool:
    """Whether a layer in a config is of a class of Keras's own.

    A class of the user's has another module, or none and a registered name.
    """
    module, registered = part.get("module", "keras"), part.get("registered_name")
    own = isinstance(module, str) and module.split(".", maxsplit=1)[0] == "keras"
    return own and registered in (None, part.get("class_name"))


def size_in(config: Config, option: str, default: Any = None) -> int:
    """A size in a config."""
    value = config.get(option, default)
    value = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    try:
        number = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = 0
    if not 0 < number < 2**63:
        raise UnsupportedError(f"{option}={value!r:.40} is no size")
    return number


def activation(config: Config, option: str, default: str) -> str:
    """The name of one of Keras's own activations."""
    name = config.get(option, default)
    name = "linear" if name is None else name
    if isinstance(name, str) and name in (*ACTIVATIONS, KERAS2_HARD_SIGMOID):
        return name
    what = repr(name) if isinstance(name, str) else "a function of your own"
    raise UnsupportedError(f"the {option} {what} is not supported")


#: How a layer is read.
Reader = Callable[[LayerConfig], Layer]
