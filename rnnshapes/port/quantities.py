"""What a port says of a network: which of its arrays is which quantity, at which steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.forward.tracing import y_hat_of
from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.port.arrays import UNNAMED, Port, PortArray
from rnnshapes.reference.outputs import ModelOutputs

Y_HAT, OUTPUT = "y_hat", "output"


@dataclass(frozen=True, eq=False)
class Claim:
    """Values (N, L, units) of one quantity at L steps, and how far each was cut when written.

    ``name`` is ``y_hat``, ``output`` or that of a recurrence; then ``key`` is that of its state.
    ``times`` (L,) are the steps of the network, and ``None`` for what it answers itself;
    ``steps`` are those of the port. ``swapped`` says that its first two axes are T and N.
    ``others`` is what else the same array may be, which has no name.
    """

    name: str
    key: str
    values: Array
    off: Array
    times: Array | None
    steps: Array
    dtype: str
    swapped: bool = False
    others: tuple[Claim, ...] = ()

    @property
    def text(self) -> str:
        """``lstm: h at every step``."""
        what = f"{self.name}: {self.key}" if self.key else self.name
        if self.name == OUTPUT:
            return what
        return f"{what} at every step" if self.values.shape[1] > 1 else f"{what} at the last step"

    def expected(self, network: Network, ours: ModelOutputs) -> Array:
        """The same as NumPy has computed it, (N, L, units)."""
        if self.times is None:
            made = ours.outputs[0]
            return made.reshape(len(made), 1, -1)
        found = ours.states[self.name][self.key] if self.key else y_hat_of(network, ours)
        assert found is not None
        return found.reshape(*found.shape[:2], -1)[:, self.times]

    def moved(self, keep: slice, times: Array) -> Claim:
        """Only some of its steps, said of other steps of the network."""
        values, off, steps = self.values[:, keep], self.off[:, keep], self.steps[keep]
        return replace(self, values=values, off=off, steps=steps, times=times)


@dataclass(frozen=True)
class _Quantity:
    """What a port may give: ``width`` numbers at each of ``steps`` steps, or at ``last``."""

    name: str
    key: str
    steps: int
    last: int
    units: tuple[int, ...]
    symbols: tuple[str, ...]


def claims_of(network: Network, port: Port) -> tuple[Claim, ...]:
    """What the arrays of a port say.

    Raises InputError, in N, T, K and M, for an array that is none of them, or has another shape.
    """
    known = {**dict(_states(network)), **dict(_answers(network))}
    single = port.arrays[0] if len(port.arrays) == 1 else None
    if single is not None and single.name not in known and "." not in single.name:
        return (_unnamed(network, port, single, known),)
    named = [(array, known[array.name]) for array in port.arrays if array.name in known]
    if not named:
        raise InputError(
            f"{port.name}: it holds {_listed([a.name for a in port.arrays])}; name at least one "
            f"of them {' or '.join(dict.fromkeys(q for q in known if q != UNNAMED))}"
        )
    return tuple(_claim(network, port, array, quantity) for array, quantity in named)


def unjudged(network: Network, port: Port) -> tuple[str, ...]:
    """The names of the arrays that are none of what is known, where others are."""
    known = {**dict(_states(network)), **dict(_answers(network))}
    names = [array.name for array in port.arrays]
    return tuple(name for name in names if name not in known) if len(names) > 1 else ()


def _answers(network: Network) -> Iterator[tuple[str, _Quantity]]:
    flow = network.output_flow
    at_step, symbols = flow.at_step[1:], tuple(str(dim) for dim in flow.at_step[1:])
    units = tuple(map(network.count, at_step))
    if flow.steps is not None:
        t = network.count(flow.steps)
        yield Y_HAT, _Quantity(Y_HAT, "", t, t - 1, units, symbols)
    if not network.returns_sequences:
        shape = flow.shapes[0][1:]
        own = tuple(map(network.count, shape))
        yield OUTPUT, _Quantity(OUTPUT, "", 0, 0, own, tuple(map(str, shape)))


def _states(network: Network) -> Iterator[tuple[str, _Quantity]]:
    """Each state by its whole name; those of the last recurrence also by their own."""
    for node in network.recurrent:
        flow = network.flows[node.sources[0].node]
        t = network.steps(flow)
        for name, direction in node.scans:
            last = 0 if direction.reverse else t - 1
            for key, dim in direction.cell.states.items():
                width = (network.count(dim),)
                made = _Quantity(name, key, t, last, width, (str(dim),))
                yield f"{name}.{key}", made
                if len(node.scans) == 1:
                    yield key, made


def _unnamed(
    network: Network, port: Port, array: PortArray, known: Mapping[str, _Quantity]
) -> Claim:
    """The one array of a port, told by its shape: y_hat, the output, or a state."""
    order = [known[n] for n in (Y_HAT, OUTPUT) if n in known]
    order += [quantity for name, quantity in known.items() if "." not in name and quantity.key]
    for swapped in (False, True):
        made = [_shaped(network, array, quantity, swapped=swapped) for quantity in order]
        found = [claim for claim in made if claim is not None]
        if found:
            others = tuple(c for c in found[1:] if c.name != OUTPUT)  # which y_hat has, too
            return _finite(replace(found[0], others=others), port, array)
    raise InputError(_misfit(network, port, array, order))


def _claim(network: Network, port: Port, array: PortArray, quantity: _Quantity) -> Claim:
    for swapped in (False, True):
        found = _shaped(network, array, quantity, swapped=swapped)
        if found is not None:
            return _finite(found, port, array)
    raise InputError(_misfit(network, port, array, [quantity]))


def _shaped(
    network: Network, array: PortArray, quantity: _Quantity, *, swapped: bool
) -> Claim | None:
    """The array as this quantity, at every step or at the last one, if its shape is such."""
    n, t, units = network.known("N"), quantity.steps, quantity.units
    shape = array.values.shape
    lead = (t, n) if swapped else (n, t)
    width = int(np.prod(units))
    times: Array | None
    every = [(*lead, *units), (*lead, width)] if t else []
    if t and n == 1 and not swapped:
        every += [(t, *units), (t, width)]
    if shape in every:
        values, off = (part.reshape(*lead, width) for part in (array.values, array.rounding))
        if swapped:
            values, off = np.swapaxes(values, 0, 1), np.swapaxes(off, 0, 1)
        times = steps = np.arange(t)
    elif not swapped and shape in [(n, *units), *([units] if n == 1 else [])]:
        values, off = (part.reshape(n, 1, width) for part in (array.values, array.rounding))
        # What a network answers once that is not causal is not what it puts out at the last step.
        once = not network.causal and not network.returns_sequences
        own = (quantity.name in (Y_HAT, OUTPUT) and once) or not t
        times, steps = None if own else np.array([quantity.last]), np.array([quantity.last])
    else:
        return None
    return Claim(quantity.name, quantity.key, values, off, times, steps, array.dtype, swapped)


def _finite(claim: Claim, port: Port, array: PortArray) -> Claim:
    bad = ~np.isfinite(claim.values)
    if bad.any():
        n, place, unit = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise InputError(
            f"{port.name}: {claim.text} has NaN or infinite numbers: {int(bad.sum())}, the first "
            f"for sample {n}, t {claim.steps[place]}, unit {unit}; a port gives numbers"
        )
    return claim


def _misfit(network: Network, port: Port, array: PortArray, wanted: Sequence[_Quantity]) -> str:
    """What came, what there may be, and which change would make it fit."""
    shape = array.values.shape
    which = f"the array {array.name!r}" if array.name else "the array"
    if not array.values.size:
        return f"{port.name}: {which} is empty, {shape_text(shape)}"
    n = network.known("N")
    options = []
    if wanted[0].name == Y_HAT:  # whose last step is the output
        wanted = [q for q in wanted if q.name != OUTPUT or q.units != wanted[0].units]
    for quantity in wanted:
        what = quantity.key or quantity.name
        if quantity.steps:
            axes = shape_text(("N", "T", *quantity.symbols))
            options.append(f"{what} {axes} = {shape_text((n, quantity.steps, *quantity.units))}")
        axes = shape_text(("N", *quantity.symbols))
        last = f"its last step {axes}" if quantity.steps else f"{what} {axes}"
        options.append(f"{last} = {shape_text((n, *quantity.units))}")
    text = f"{port.name}: the shape of {which} is {shape_text(shape)}"
    return f"{text}; wanted is {', or '.join(options)}{_advice(network, shape, wanted)}"


def _advice(network: Network, shape: tuple[int, ...], wanted: Sequence[_Quantity]) -> str:
    n = network.known("N")
    for quantity in wanted:
        full = (n, quantity.steps, *quantity.units) if quantity.steps else (n, *quantity.units)
        if sorted(shape) == sorted(full):
            return "; its axes are in another order: transpose it"
        if int(np.prod(shape)) == int(np.prod(full)):
            return f"; it has as many numbers as one of shape {shape_text(full)}: reshape it"
        if shape[1:] == full[1:]:
            return f"; it has {shape[0]} samples, the input {n}: give --input, or --N {shape[0]}"
        if len(shape) == len(full) > 2 and (shape[0], *shape[2:]) == (full[0], *full[2:]):
            return f"; it has {shape[1]} steps, and the input {full[1]}: give --input, or --T"
    return ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown
