"""An equation at one time step, for one sample: each operation with its shapes and its numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import Dim, Shape
from rnnshapes.ops.recorder import Recording

SAMPLES = Dim.named("N")
#: An equation for any step: what is given a name, and what it equals.
General = tuple[str, str]
_TURNED = re.compile(r"_\{[^{}]*-1-t\}$")


@dataclass(frozen=True, eq=False)
class Quantity:
    """A value by its name at this step, ``h_3``: its shape for all samples, and one's numbers.

    ``values`` are ``None`` for what is made of weights alone.
    """

    text: str
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    values: Array | None


@dataclass(frozen=True, eq=False)
class Taken:
    """One operation: ``x_3 Wx``, (1, 3)·(3, 5) → (1, 5), and what it made.

    ``label`` has what came just before shortened to ``…``; ``sign`` is that of
    :class:`rnnshapes.ops.symbolic.SymbolicOperation`; only a split has several ``results``.
    """

    label: str
    sign: str
    operands: tuple[tuple[str, ...], ...]
    operand_shapes: tuple[tuple[int | None, ...], ...]
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    results: tuple[Quantity, ...]


@dataclass(frozen=True, eq=False)
class Scene:
    """One equation, ``h_3 = tanh(x_3 Wx + bh + h_2 Wh)``, and the operations that compute it.

    ``general`` is the same for any t. Where an equation is another name and nothing else, there
    are no operations; ``values`` are what it gives a name, in any case.
    """

    text: str
    general: str
    taken: tuple[Taken, ...]
    values: tuple[Quantity, ...]


def filled(text: str, t: int, count: int) -> str:
    """A tensor's name at step ``t`` of ``count``: ``h_t`` is ``h_3``, ``h_{T-1-t}`` is ``h_6``."""
    if _TURNED.search(text):
        return _TURNED.sub(f"_{count - 1 - t}", text)
    return f"{text[:-1]}{t}" if text.endswith("_t") else text


def quantity(network: Network, text: str, shape: Shape, values: Array) -> Quantity:
    """A value with its shape in symbols and in numbers; ``values`` has one row for one sample."""
    mine = values.reshape(-1) if shape[:1] == (SAMPLES,) else None
    return Quantity(text, _texts(shape), network.shape_numbers(shape), mine)


def scenes(network: Network, recording: Recording, general: Sequence[General]) -> Iterator[Scene]:
    """Yield each recorded equation beside the same for any step."""
    start = 0
    for named, (name, text) in zip(recording.equations, general, strict=True):
        values = tuple(
            quantity(network, called, value.symbol.shape, value.array)
            for called, value in zip(named.names, named.values, strict=True)
        )
        taken = [_taken(network, recording, at, values) for at in range(start, named.end)]
        names = " ".join(named.names)
        yield Scene(f"{names} = {named.text}", f"{name} = {text}", tuple(taken), values)
        start = named.end
    assert start == len(recording.operations), "the last operation is given a name"


def _taken(network: Network, recording: Recording, at: int, values: tuple[Quantity, ...]) -> Taken:
    made = recording.operations[at]
    last = any(named.end == at + 1 for named in recording.equations)
    label = made.label
    if last and made.symbol != "split":
        label = f"{values[0].text} = {label}"
    made_here = (quantity(network, text, made.shape, v) for text, v in recording.results[at])
    return Taken(
        label=label,
        sign=made.symbol,
        operands=tuple(map(_texts, made.operands)),
        operand_shapes=tuple(map(network.shape_numbers, made.operands)),
        dims=_texts(made.shape),
        shape=network.shape_numbers(made.shape),
        results=values if last else tuple(made_here),
    )


def _texts(shape: Shape) -> tuple[str, ...]:
    return tuple(map(str, shape))
