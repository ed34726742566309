"""A network: named sizes and layers in order, validated once."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rnnshapes.algebra.dims import Dim, Shape
from rnnshapes.cells.cell import Cell
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.errors import InputError
from rnnshapes.layers import Dense, Layer, Recurrent

#: What each size counts, in the order in which it is written.
MEANING = MappingProxyType(
    {
        "N": "samples",
        "T": "time steps",
        "D": "input features",
        "M": "hidden units",
        "K": "outputs",
    }
)
#: The sizes of the reference network.
DEFAULTS = MappingProxyType({"N": 1, "T": 10, "D": 3, "M": 5, "K": 2})
#: No axis of an array can be longer (a 64-bit signed integer).
LARGEST_SIZE = 2**63 - 1
#: Bytes of one number.
ITEM_BYTES = MappingProxyType({"float32": 4, "float64": 8})


@dataclass(frozen=True)
class Network:
    """``Input((T, D))`` and the layers that follow it.

    ``named`` holds N, T, D, each M and K with their values (``None`` where open), ``dtype`` is
    that of weights and computation in Keras.
    """

    named: tuple[tuple[str, int | None], ...]
    layers: tuple[Layer, ...]
    dtype: str = "float32"

    @property
    def sizes(self) -> dict[str, int | None]:
        """The value of each size by name, in the order in which data meets them."""
        return dict(self.named)

    @property
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers, in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Recurrent))

    @property
    def head(self) -> tuple[Layer, ...]:
        """The layers behind the last recurrent one: they turn h_t into y_hat_t."""
        return self.layers[self.layers.index(self.recurrent[-1]) + 1 :]

    @property
    def returns_sequences(self) -> bool:
        """Whether the model answers at every time step, and not only at the last."""
        return self.recurrent[-1].return_sequences

    @property
    def input_shape(self) -> Shape:
        """(N, T, D)."""
        return (Dim.named("N"), Dim.named("T"), self.layers[0].features)

    @property
    def outputs(self) -> Dim:
        """The last axis of y_hat: K, or M where nothing follows the recurrent layer."""
        return self.layers[-1].units

    @property
    def parameters(self) -> int:
        """The exact number of parameters."""
        return sum(self.count(layer.count) for layer in self.layers)

    def value(self, dim: Dim) -> int | None:
        """A symbolic size or count as a number, ``None`` where it is open."""
        return dim.value(self.sizes)

    def count(self, dim: Dim) -> int:
        """A symbolic size or count that is never open: of weights, features or units."""
        value = dim.value(self.sizes)
        if value is None:
            raise InputError(f"{dim} is open in this model")
        return value

    def known(self, name: str) -> int:
        """The size called ``name``; InputError where it is open."""
        value = self.sizes[name]
        if value is None:
            raise InputError(f"{name} ({MEANING[name[0]]}) is open in this model: give {name}")
        return value

    def numbers(self, shape: Shape) -> tuple[int | None, ...]:
        """A symbolic shape in numbers."""
        return tuple(self.value(dim) for dim in shape)

    def with_sizes(self, **sizes: int) -> Network:
        """The same layers with values for N and T; InputError for one that is fixed otherwise."""
        for name, value in sizes.items():
            if self.sizes[name] not in (None, value):
                raise InputError(f"{name} is {self.sizes[name]} in this model, not {value}")
        return replace(self, named=tuple({**self.sizes, **sizes}.items()))


def check_size(name: str, value: object) -> int:
    """``value`` as the size called ``name``.

    Raises InputError unless it is a whole number from 1 to 2**63 - 1.
    """
    wanted = f"{name} ({MEANING[name[0]]}) is a whole number of at least 1"
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{wanted}, got {_shown(value)}") from None
    if isinstance(value, bool) or number < 1:
        raise InputError(f"{wanted}, got {_shown(value)}")
    if number > LARGEST_SIZE:
        raise InputError(f"{wanted} and at most 2**63 - 1, got {_shown(number)}")
    return number


def from_sizes(
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    cell: Cell | None = None,
) -> Network:
    """``Input((T, D)) → SimpleRNN(M) → Dense(K)``, or another cell; several M give a stack.

    A size left out has its default: N=1 T=10 D=3 M=5 K=2. Raises InputError for a size that
    is not a whole number from 1 to 2**63 - 1.
    """
    given = {"N": N, "T": T, "D": D, "K": K}
    plain = {
        name: check_size(name, DEFAULTS[name] if value is None else value)
        for name, value in given.items()
    }
    try:
        hidden: list[object] = list(M)  # type: ignore[arg-type]
    except TypeError:
        hidden = [DEFAULTS["M"] if M is None else M]
    units = [check_size("M", value) for value in hidden]
    if not units:
        raise InputError("M (hidden units) needs a size for at least one recurrent layer")
    return stack(cell or SimpleRNNCell(), units, plain)


def stack(cell: Cell, units: Sequence[int], sizes: Mapping[str, int]) -> Network:
    """Recurrent layers of ``units`` one on top of the other, and a Dense head of K outputs."""
    names = numbered("M", len(units))
    features = Dim.named("D")
    layers: list[Layer] = []
    for position, name in enumerate(names):
        layers.append(
            Recurrent(
                name=keras_name(cell.base, position),
                index=name[1:],
                features=features,
                units=Dim.named(name),
                cell=cell,
                return_sequences=position < len(names) - 1,
            )
        )
        features = Dim.named(name)
    layers.append(Dense(name="dense", index="0", features=features, units=Dim.named("K")))
    values = dict(zip(names, units, strict=True))
    ordered = {n: sizes[n] for n in "NTD"} | values | {"K": sizes["K"]}
    return Network(tuple(ordered.items()), tuple(layers))


def numbered(letter: str, count: int) -> list[str]:
    """``["M"]`` for a single one, ``["M1", "M2"]`` for several."""
    return [letter] if count == 1 else [f"{letter}{i}" for i in range(1, count + 1)]


def keras_name(base: str, position: int) -> str:
    """Keras's own name for the layer at ``position`` among those of its kind."""
    return base if position == 0 else f"{base}_{position}"


def _shown(value: object) -> str:
    """What was given, at a length that fits into a line."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a number of more than 4300 digits"
    return text if len(text) <= 60 else f"{text[:30]}… ({len(text)} characters)"
