"""Arrays of a golden file that a port repeats: weights, x, and what no bound is known for.

They are compared with the golden arrays of the network itself, within the rounding of their dtype.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from rnnshapes.errors import InputError
from rnnshapes.forward.golden import (
    GoldenArray,
    inputs_alone,
    record_network,
    stored_weights,
    weights_alone,
)
from rnnshapes.load.inputs import InputSources
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import Weights
from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.arrays import Port, PortArray


def check_golden_arrays(
    network: Network, weights: Weights, sources: InputSources, port: Port, names: Collection[str]
) -> None:
    """Compare arrays of a port with the golden arrays of these names.

    Raises:
        InputError: An array is another one: it was computed from other weights or another x, or
            is an intermediate that differs and for which no bound is known.
    """
    arrays = {array.name: array for array in port.arrays if array.name in names}
    for expected in _expected(network, weights, sources, arrays):
        array = arrays[expected.name]
        if (different := _first_difference(array, expected.values)) is None:
            continue
        remedy = "give the same model, --seed and x"
        if not expected.is_weight and "." in expected.name:
            remedy = "give h (and c) at every step to compare it step by step"
        raise InputError(
            f"{port.name}: the array {array.name!r} is not that of this network: {different}; "
            f"{remedy}, or leave it out with --ignore '{array.name}'"
        )


def _expected(
    network: Network, weights: Weights, sources: InputSources, names: Collection[str]
) -> Iterator[GoldenArray]:
    """Yield the golden array of each name, which a framework may share with another."""
    missing = set(names)
    computed = (
        lambda: (*inputs_alone(network, sources), *weights_alone(network, weights).entries),
        lambda: stored_weights(network, weights),
        lambda: record_network(network, weights, sources)[1].entries,
    )
    for entries in computed:
        if missing:
            for entry in entries():
                if entry.name in missing:
                    missing.remove(entry.name)
                    yield entry


def _first_difference(array: PortArray, expected: Array) -> str | None:
    """Return the first number that differs by more than its rounding, in words."""
    if array.values.shape != expected.shape:
        return f"its shape is {array.values.shape}, expected {expected.shape}"
    numbers = np.asarray(expected, np.float64)
    unit = PRECISIONS.get(array.dtype, PRECISIONS["float32"]).unit_roundoff
    with np.errstate(invalid="ignore"):
        near = np.abs(array.values - numbers) <= array.rounding + 2 * unit * np.abs(numbers)
    same = (
        (near & np.isfinite(numbers))
        | (array.values == numbers)
        | (np.isnan(array.values) & np.isnan(numbers))
    )
    if same.all():
        return None
    index = tuple(int(i) for i in np.argwhere(~same)[0])
    at = f"[{', '.join(map(str, index))}] " if index else ""
    both = (array.values[index], numbers[index])
    texts = ([f"{number:.{digits}g}" for number in both] for digits in (6, 9, 17))
    given, wanted = next((a, b) for a, b in texts if a != b)
    return f"{at}is {given}, expected {wanted}"
