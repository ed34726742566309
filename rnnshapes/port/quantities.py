"""Quantities that a port reports: its arrays, matched to y_hat, output, h or c.

An array is matched by its name, or, where it is the only one, by its shape.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.forward.difference import y_hat_of
from rnnshapes.forward.golden import array_names
from rnnshapes.network.graph import Network
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.arrays import UNNAMED, Port, PortArray
from rnnshapes.port.framework_arrays import (
    STATE_NAMES,
    as_pytorch_output,
    may_end_in,
    split_states,
    split_unnamed,
)
from rnnshapes.reference.outputs import ModelOutputs

Y_HAT, OUTPUT = "y_hat", "output"
#: Arrays of PyTorch beside which ``output`` is h, as PyTorch calls it.
PYTORCH_STATES = frozenset({"h_n", "c_n"})
#: How many names of unknown arrays an error lists.
_LISTED_NAMES = 4
Shape = tuple[int, ...]
#: The last step of an output that is not that of any step.
_WITHOUT_TIME = -1


@dataclass(frozen=True, eq=False)
class ReportedQuantity:
    """One quantity as a port reports it: values (N, L, units) at L time steps.

    ``name`` is ``y_hat``, ``output`` or the name of a recurrence; for a recurrence, ``key`` is
    the name of the state (``h``), and otherwise it is empty. ``rounding`` is how far each
    value may be off because it was written with few digits, in the shape of ``values``.
    ``dtype`` is that of the array. ``narrow_dtype`` is the same where it has 16 bits and other
    arrays have more, so that its numbers alone are known to 16 bits; empty otherwise.
    ``steps`` (L,) are the time steps in the port's count; ``network_steps`` (L,) are the steps of
    the network to which the values belong, or ``None`` for the model's own output, which has no
    time axis. ``axes_swapped`` says that the port's array is (T, N, units). ``alternatives`` are
    other quantities of the same shape that an array without a name may be. ``note`` is that of the
    array.
    """

    name: str
    key: str
    values: Array
    rounding: Array
    network_steps: Array | None
    steps: Array
    dtype: str
    axes_swapped: bool = False
    alternatives: tuple[ReportedQuantity, ...] = ()
    narrow_dtype: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The quantity in words: ``lstm: h at every step``."""
        what = f"{self.name}: {self.key}" if self.key else self.name
        if self.name == OUTPUT:
            return what
        return f"{what} at every step" if self.values.shape[1] > 1 else f"{what} at the last step"

    @cached_property
    def is_unbroken(self) -> bool:
        """Whether its steps are the first ones of the network, in order."""
        steps = self.network_steps
        return steps is not None and np.array_equal(steps, np.arange(len(steps)))

    def expected(self, network: Network, ours: ModelOutputs) -> Array:
        """Return the same quantity from the NumPy forward pass ``ours``, (N, L, units)."""
        every = self.expected_at_all_steps(network, ours)
        if self.network_steps is None or every.shape[1] == 1:
            return every
        return every[:, self.network_steps]

    def expected_at_all_steps(self, network: Network, ours: ModelOutputs) -> Array:
        """Return the quantity at every step of the network, (N, T, units), or the output alone."""
        values = None
        if self.network_steps is not None:
            values = ours.states[self.name][self.key] if self.key else y_hat_of(network, ours)
        if values is None:  # an output without time
            output = ours.outputs[0]
            return output.reshape(len(output), 1, -1)
        return values.reshape(*values.shape[:2], -1)

    def map(self, function: Callable[[Array], Array]) -> ReportedQuantity:
        """Return the quantity with a function applied to its values and to their rounding."""
        return replace(self, values=function(self.values), rounding=function(self.rounding))

    def at_steps(self, selection: slice | Array, network_steps: Array) -> ReportedQuantity:
        """Return some of the steps, as values of other steps of the network."""
        some, steps = self.map(lambda values: values[:, selection]), self.steps[selection]
        return replace(some, steps=steps, network_steps=network_steps)

    def in_reverse(self) -> ReportedQuantity:
        """Return the same numbers, as values of the network's steps in reverse order."""
        steps = self.network_steps
        return self if steps is None else replace(self, network_steps=steps[::-1])


@dataclass(frozen=True)
class _Candidate:
    """A quantity that a port may report, at each of ``steps`` steps, or at step ``last`` alone.

    ``last`` is ``_WITHOUT_TIME`` for an output that is no step's.

    ``units`` is its shape at one step in numbers, ``symbols`` the same in letters.
    """

    name: str
    key: str
    steps: int
    last: int
    units: tuple[int, ...]
    symbols: tuple[str, ...]


def name_arrays(network: Network, port: Port) -> Port:
    """Return the port with its arrays under the names of quantities, as far as they have one.

    States are split into those of each recurrence. ``lstm/h`` and ``lstm_h`` are ``lstm.h``.
    PyTorch's ``output`` is h of the last recurrent layer.

    Raises InputError for two arrays of one quantity.
    """
    candidates, golden = _candidates(network), array_names(network)
    spellings = {name.replace(".", separator): name for name in candidates for separator in "/_"}
    given = {array.name: array for array in port.arrays}
    is_pytorch, last = bool(PYTORCH_STATES & given.keys()), given.get("h_n")

    def named(array: PortArray) -> PortArray:
        name = spellings.get(array.name, array.name)
        if array.name not in {*candidates, *golden} and name not in given:
            return replace(array, name=name)
        if array.name != OUTPUT:
            return array
        if _is_output(network, array) and not (is_pytorch and may_end_in(array, last)):
            return array
        return as_pytorch_output(network, array, last)

    arrays = tuple(map(named, port.arrays))
    before: dict[str, str] = {}
    for array, given_array in zip(arrays, port.arrays, strict=True):
        other = before.setdefault(array.name, given_array.name)
        if other != given_array.name:
            names = f"{other!r} and {given_array.name!r}"
            raise InputError(f"{port.name}: {names} both hold {array.name}; remove one of them")
    return split_states(network, replace(port, arrays=arrays))


def _is_output(network: Network, array: PortArray) -> bool:
    """Return whether an array has the shape of the model's output, or of y_hat at every step."""
    candidates = [candidate for _, candidate in _outputs(network)]
    return any(_matched(network, array, c, axes_swapped=False) is not None for c in candidates)


def match_arrays(network: Network, port: Port, given_x: str = "") -> tuple[ReportedQuantity, ...]:
    """Match the arrays of a port to quantities of the network.

    ``port`` is one of :func:`name_arrays`.
    ``given_x`` says what x is where the user or a probe gives it, and is empty if it is random.

    Raises InputError, in N, T, K and M, for an array that is none of them, or that has another
    shape than the quantity of its name.
    """
    candidates = _candidates(network)
    single = port.arrays[0] if len(port.arrays) == 1 else None
    if single is not None and single.name == UNNAMED and not _fits(network, single, candidates):
        port = replace(port, arrays=split_unnamed(network, single))
        single = port.arrays[0] if len(port.arrays) == 1 else None
    if single is not None and single.name not in candidates and not _is_name(network, single.name):
        return (_by_shape(network, port, single, candidates, given_x),)
    known = [array for array in port.arrays if array.name in candidates]
    if not known:
        names = " or ".join(dict.fromkeys(name for name in candidates if name != UNNAMED))
        raise InputError(
            f"{port.name}: it holds {_listed([a.name for a in port.arrays])}; name at least one "
            f"of them {names}"
        )
    quantities: list[ReportedQuantity] = []
    for array in known:
        options = [candidates[array.name]]
        if array.name == OUTPUT and Y_HAT in candidates:
            options.append(candidates[Y_HAT])
        quantity = _by_name(network, port, array, list(dict.fromkeys(options)), given_x)
        if not any(_are_same(quantity, other) for other in quantities):
            quantities.append(quantity)
    return tuple(quantities)


def _is_name(network: Network, name: str) -> bool:
    """Return whether a name is more than a word of the user's own: that of a layer's array."""
    return "." in name or "/" in name or name in STATE_NAMES or name in array_names(network)


def _are_same(one: ReportedQuantity, other: ReportedQuantity) -> bool:
    """Return whether both are the same numbers of the same quantity, as y_hat and output may be."""
    return (one.text, one.dtype) == (other.text, other.dtype) and all(
        np.array_equal(a, b)
        for a, b in ((one.values, other.values), (one.rounding, other.rounding))
    )


def check_names(network: Network, port: Port) -> None:
    """Raise InputError for an array whose name is not known.

    A misspelt name would otherwise hide numbers that are wrong.
    """
    known = {*_candidates(network), *array_names(network)}
    unknown = [array.name for array in port.arrays if array.name not in known]
    if len(port.arrays) > 1 and unknown:
        compared = [name for name in _candidates(network) if name != UNNAMED]
        close = difflib.get_close_matches(unknown[0], compared, 1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise InputError(
            f"{port.name}: it has arrays of unknown names: {_listed(unknown)}{meant}; rename what "
            f"is to be compared, and leave out the rest with --ignore {unknown[0]}"
        )


def unknown_names(network: Network, port: Port) -> tuple[str, ...]:
    """Return the names of arrays that are ignored, or match no quantity beside others."""
    candidates = _candidates(network)
    names = [array.name for array in port.arrays]
    unknown = [name for name in names if name not in candidates] if len(names) > 1 else []
    return (*unknown, *port.ignored)


def _candidates(network: Network) -> dict[str, _Candidate]:
    """Return every quantity that a port may report, by each name that it has."""
    return {**dict(_states(network)), **dict(_outputs(network))}


def _outputs(network: Network) -> Iterator[tuple[str, _Candidate]]:
    """Yield y_hat, where the output has time steps, and the model's own output."""
    flow = network.output_shapes
    at_step, symbols = flow.at_step[1:], tuple(str(dim) for dim in flow.at_step[1:])
    units = tuple(map(network.count, at_step))
    if flow.steps is not None:
        t = network.count(flow.steps)
        yield Y_HAT, _Candidate(Y_HAT, "", t, t - 1, units, symbols)
    if not network.returns_sequences:
        dims = flow.shapes[0][1:]
        shape = tuple(map(network.count, dims))
        last = _WITHOUT_TIME
        if flow.steps is not None and network.is_causal and shape == units:
            last = network.count(flow.steps) - 1
        yield OUTPUT, _Candidate(OUTPUT, "", 0, last, shape, tuple(map(str, dims)))
    elif flow.steps is not None:
        yield OUTPUT, _Candidate(Y_HAT, "", t, t - 1, units, symbols)


def _states(network: Network) -> Iterator[tuple[str, _Candidate]]:
    """Yield each state by its full name (``lstm.h``), those of one direction also as ``h``.

    A later recurrence replaces an earlier one under the short name.
    """
    for node in network.recurrent:
        flow = network.shapes_at(node.sources[0])
        t = network.step_count(flow)
        for name, direction in node.scans:
            last = 0 if direction.reverse else t - 1
            for key, dim in direction.cell.states.items():
                units = (network.count(dim),)
                candidate = _Candidate(name, key, t, last, units, (str(dim),))
                yield f"{name}.{key}", candidate
                if len(node.scans) == 1:
                    yield key, candidate


def _fits(network: Network, array: PortArray, candidates: Mapping[str, _Candidate]) -> bool:
    """Return whether an array has the shape of any quantity."""
    return any(
        _matched(network, array, candidate, axes_swapped=swapped) is not None
        for candidate in candidates.values()
        for swapped in (False, True)
    )


def _by_shape(
    network: Network,
    port: Port,
    array: PortArray,
    candidates: Mapping[str, _Candidate],
    given_x: str,
) -> ReportedQuantity:
    """Match the only array of a port by its shape: y_hat, the output, or a state."""
    named = [candidates[n] for n in (Y_HAT, OUTPUT) if n in candidates]
    named += [c for name, c in candidates.items() if "." not in name and c.key]
    ordered = list(dict.fromkeys(named))
    for axes_swapped in (False, True):
        matches = [_matched(network, array, c, axes_swapped=axes_swapped) for c in ordered]
        quantities = [quantity for quantity in matches if quantity is not None]
        if quantities:
            # y_hat at the last step has the numbers of the output, too
            others = tuple(q for q in quantities[1:] if q.name != OUTPUT)
            quantity = replace(quantities[0], alternatives=others)
            if array.name:
                note = f"'{array.name}' is read as {quantity.text}, because of its shape"
                quantity = replace(quantity, note=note)
            return _checked_finite(quantity, port)
    raise InputError(_misfit(network, port, array, ordered, given_x))


def _by_name(
    network: Network,
    port: Port,
    array: PortArray,
    candidates: Sequence[_Candidate],
    given_x: str,
) -> ReportedQuantity:
    """Match an array to a quantity of its name, in either order of samples and time."""
    for axes_swapped in (False, True):
        for candidate in candidates:
            quantity = _matched(network, array, candidate, axes_swapped=axes_swapped)
            if quantity is not None:
                return _checked_finite(quantity, port)
    raise InputError(_misfit(network, port, array, candidates, given_x))


def _matched(
    network: Network, array: PortArray, candidate: _Candidate, *, axes_swapped: bool
) -> ReportedQuantity | None:
    """Return the array as this quantity, at every step or at the last; ``None`` if it is not.

    Args:
        network: The network, with N and T in numbers.
        array: An array of the port, of any shape.
        candidate: What the array may be.
        axes_swapped: Whether to take the first two axes for T and N.
    """
    n, t, units = network.size("N"), candidate.steps, candidate.units
    shape = array.values.shape
    lead = (t, n) if axes_swapped else (n, t)
    width = int(np.prod(units))
    network_steps: Array | None
    at_every_step = [(*lead, *units), (*lead, width)] if t else []
    if t and n == 1 and not axes_swapped:
        at_every_step += [(t, *units), (t, width)]
    if shape in at_every_step:
        values, error = (part.reshape(*lead, width) for part in (array.values, array.rounding))
        if axes_swapped:
            values, error = np.swapaxes(values, 0, 1), np.swapaxes(error, 0, 1)
        network_steps = steps = np.arange(t)
    elif not axes_swapped and shape in [(n, *units), *([units] if n == 1 else [])]:
        values, error = (part.reshape(n, 1, width) for part in (array.values, array.rounding))
        # The one output of a network that is not causal is not its y_hat at the last step.
        one_output = not network.is_causal and not network.returns_sequences
        without_time = candidate.name in (Y_HAT, OUTPUT) and one_output
        without_time |= candidate.last == _WITHOUT_TIME
        network_steps = None if without_time else np.array([candidate.last])
        steps = np.array([candidate.last])
    else:
        return None
    return ReportedQuantity(
        name=candidate.name,
        key=candidate.key,
        values=values,
        rounding=error,
        network_steps=network_steps,
        steps=steps,
        dtype=array.dtype,
        axes_swapped=axes_swapped,
        note=array.note,
    )


def _checked_finite(quantity: ReportedQuantity, port: Port) -> ReportedQuantity:
    """Raise InputError for NaN or infinite values, and return the quantity otherwise."""
    bad = ~np.isfinite(quantity.values)
    if bad.any():
        n, step, unit = (int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        raise InputError(
            f"{port.name}: {quantity.text} has NaN or infinite numbers: {int(bad.sum())}, the "
            f"first for sample {n}, t {quantity.steps[step]}, unit {unit}; "
            "a port must give finite numbers"
        )
    return quantity


def _misfit(
    network: Network,
    port: Port,
    array: PortArray,
    candidates: Sequence[_Candidate],
    given_x: str,
) -> str:
    """Return an error text: the array's shape, the shapes that fit, and how to reach one."""
    shape = array.values.shape
    which = f"the array {array.name!r}" if array.name else "the array"
    if not array.values.size:
        return f"{port.name}: {which} is empty, {shape_text(shape)}"
    n = network.size("N")
    options = []
    if candidates[0].name == Y_HAT:  # its last step has the output's shape
        candidates = [c for c in candidates if c.name != OUTPUT or c.units != candidates[0].units]
    for candidate in candidates:
        what = candidate.key or candidate.name
        if candidate.steps:
            axes = shape_text(("N", "T", *candidate.symbols))
            options.append(f"{what} {axes} = {shape_text((n, candidate.steps, *candidate.units))}")
        axes = shape_text(("N", *candidate.symbols))
        last = f"its last step {axes}" if candidate.steps else f"{what} {axes}"
        options.append(f"{last} = {shape_text((n, *candidate.units))}")
    text = f"{port.name}: the shape of {which} is {shape_text(shape)}"
    advice = _advice(network, port, shape, candidates, given_x)
    return f"{text}; expected {', or '.join(options)}{advice}"


def _advice(
    network: Network, port: Port, shape: Shape, candidates: Sequence[_Candidate], given_x: str
) -> str:
    """Return which change would make the shape fit one of the candidates, or nothing."""
    n = network.size("N")
    full = [(n, c.steps, *c.units) for c in candidates if c.steps]
    expected = list(dict.fromkeys([*full, *((n, *c.units) for c in candidates)]))
    for other in expected:
        if advice := _rearranged(port, shape, other):
            return f"; {advice}"
    random = ", which is random: give the x of your port with --input x.npy, or"
    for other in expected:
        if shape and shape[1:] == other[1:]:
            remedy = f": {given}" if (given := _on_given_x(given_x)) else f"{random} --N {shape[0]}"
            return f"; it has {_counted(shape[0], 'sample')}, the input {n}{remedy}"
    for other in full:
        if len(shape) == len(other) and shape[2:] == other[2:]:
            sizes = f"--N {shape[0]} --T {shape[1]}"
            remedy = f": {given}" if (given := _on_given_x(given_x)) else f"{random} {sizes}"
            count = f"{_counted(shape[0], 'sample')} of {_counted(shape[1], 'step')}"
            return f"; it has {count}, the input {n} of {other[1]}{remedy}"
    return ""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _rearranged(port: Port, shape: Shape, other: Shape) -> str:
    """Return how to make an array of the same numbers one of shape ``other``, or nothing."""
    if math.prod(shape) != math.prod(other):
        return ""
    long, other_long = ([size for size in each if size > 1] for each in (shape, other))
    if long == other_long:
        what = "add" if len(shape) < len(other) else "leave out its"
        return f"{what} axes of length 1, for {shape_text(other)}"
    if sorted(long) == sorted(other_long):
        return f"its axes are in another order: transpose it to {shape_text(other)}"
    if len(shape) == 2 and shape == (other[0] * other[1], math.prod(other[2:])):
        if port.name.lower().endswith(".csv"):
            return "add columns sample and t, which say what each row belongs to"
        return f"reshape it to {shape_text(other)}, if all steps of sample 0 come first"
    return f"it has as many numbers as an array of shape {shape_text(other)}: reshape it"


def _on_given_x(given_x: str) -> str:
    """Return the remedy for a port that was not run on the x that is given."""
    if given_x.startswith("probe"):
        return "run the port on the x of trace --probe"
    return f"run the port on {given_x}" if given_x else ""


def _listed(names: Sequence[str]) -> str:
    """Return the first names in quotes, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:_LISTED_NAMES])
    rest = len(names) - _LISTED_NAMES
    return f"{shown} and {rest} more" if rest > 0 else shown


def are_numbers_of(dtype: str, quantities: Iterable[ReportedQuantity]) -> bool:
    """Return whether every reported number is a number of the dtype.

    The bound of a coarse dtype is so wide that errors of other kinds would agree as rounding.
    """
    rounded = PRECISIONS[dtype].rounded if PRECISIONS[dtype].is_16bit else _as_float32
    return all(bool(np.all(np.abs(q.values - rounded(q.values)) <= q.rounding)) for q in quantities)


def has_only_zeros_and_ones(values: Array) -> bool:
    """Return whether every number is 0 or 1, as after a decision."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def _as_float32(values: Array) -> Array:
    """Return float64 values rounded to float32."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)
