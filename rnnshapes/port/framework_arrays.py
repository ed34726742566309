"""States as frameworks return them, as arrays of each recurrence.

A bidirectional layer of Keras and PyTorch returns h of both directions side by side, (N, T, 2M);
PyTorch's ``output`` is h, (T, N, M), or (N, T, M) with ``batch_first=True``. ONNX's Y is
(T, dirs, N, M), or (N, T, dirs, M) with ``layout=1``; its Y_h and Y_c, and PyTorch's h_n and c_n
are (dirs, N, M), PyTorch's for all layers together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from rnnshapes.network.graph import Network, Node
from rnnshapes.ops.activations import Array
from rnnshapes.ops.dims import shape_text
from rnnshapes.port.arrays import Port, PortArray

#: The state that an array has, by the names that frameworks give it.
STATE_NAMES = MappingProxyType(
    {"h": "h", "c": "c", "Y": "h", "Y_h": "h", "Y_c": "c", "h_n": "h", "c_n": "c"}
)
#: Two arrays hold the same states if they differ by at most this share of the largest number.
_SAME_STATE = 1e-3
#: Those of the last states alone.
_LAST = ("Y_h", "Y_c", "h_n", "c_n")


def split_states(network: Network, port: Port) -> Port:
    """Return the port with arrays of several recurrences as one array for each of them."""
    arrays = [part for array in port.arrays for part in _parts(network, array)]
    return replace(port, arrays=tuple(arrays))


def split_unnamed(network: Network, array: PortArray) -> tuple[PortArray, ...]:
    """Return an array without a name as h of each direction, or itself where it is not.

    It may be of both directions, or ONNX's Y.
    """
    parts = tuple(_parts(network, replace(array, name="h")))
    if all(part.values.shape == array.values.shape for part in parts):
        return (array,)
    note = (
        f"the array {shape_text(array.values.shape)} is read as h of {network.recurrent[-1].name}"
    )
    return tuple(replace(part, note=note) for part in parts)


def as_pytorch_output(network: Network, array: PortArray, last: PortArray | None) -> PortArray:
    """Return PyTorch's ``output`` as h of the last recurrent layer, (N, T, dirs * M).

    An array of another shape is returned as it is. ``last`` is ``h_n``, the last step of the
    output, if it is given: it decides where N = T.
    """
    node = network.recurrent[-1]
    n, t = network.size("N"), network.steps_of(node)
    width = sum(network.widths[scan].get("h", 0) for scan, _ in node.scans)
    shapes: dict[str, tuple[int, ...]] = {"N, T": (n, t, width), "T, N": (t, n, width)}
    if n == 1:
        shapes["T"] = (t, width)
    units = width // len(node.scans)
    if last is not None and last.values.size and last.values.shape[-2:] == (n, units):
        forward = last.values.reshape(-1, n, units)[-len(node.scans) :][0]
        if array.values.shape == (t, n, width) and np.array_equal(
            array.values[-1, :, :units], forward
        ):
            del shapes["N, T"]
    for axes, shape in shapes.items():
        if array.values.shape == shape:
            note = f"'{array.name}' is read as h of {node.name}, ({axes}, …), as PyTorch returns it"
            h = replace(array, name=f"{node.name}.h", note=note)
            return _swapped(h) if axes == "T, N" else h
    return array


def may_end_in(array: PortArray, last: PortArray | None) -> bool:
    """Return whether ``h_n`` may be the last step of an array, or is not given."""
    if last is None or array.values.ndim != 3 or last.values.ndim < 2:
        return True
    if not (array.values.size and last.values.size):
        return True
    n, units = last.values.shape[-2:]
    for time_first in (True, False):
        steps = array.values if time_first else np.swapaxes(array.values, 0, 1)
        if steps.shape[1] != n or steps.shape[2] < units:
            continue
        # Of samples of different lengths, each ends at another step.
        for state in last.values.reshape(-1, n, units):
            farthest = np.abs(steps[..., :units] - state).max(axis=2).min(axis=0)
            if np.all(farthest <= _SAME_STATE * np.abs(state).max()):
                return True
    return False


def _swapped(array: PortArray) -> PortArray:
    """Return an array with its first two axes exchanged."""
    values, rounding = (np.swapaxes(part, 0, 1) for part in (array.values, array.rounding))
    return replace(array, values=values, rounding=rounding)


def _parts(network: Network, array: PortArray) -> Iterator[PortArray]:
    """Yield the states in an array, or the array itself."""
    layer, _, name = array.name.rpartition(".")
    key = STATE_NAMES.get(name)
    nodes = [node for node in network.recurrent if layer in ("", node.name)]
    if key is None or not nodes:
        yield array
        return
    found = list(_of_all_layers(network, key, array)) if name in _LAST and not layer else []
    yield from found or list(_of_node(network, nodes[-1], key, name, array)) or [array]


def _of_node(
    network: Network, node: Node, key: str, name: str, array: PortArray
) -> Iterator[PortArray]:
    """Yield the states of each direction of a layer, if the array has the shape of them all."""
    n, t = network.size("N"), network.steps_of(node)
    dirs, shape = len(node.scans), array.values.shape
    widths = {network.widths[scan].get(key) for scan, _ in node.scans}
    m = widths.pop()
    if widths or m is None:
        return
    choose: Callable[[int, Array], Array]
    # (T, N, …) stays so: its axes are exchanged, like those of one direction.
    if dirs > 1 and shape in ((n, t, dirs * m), (t, n, dirs * m), (n, dirs * m)):
        choose = lambda d, values: values[..., d * m : (d + 1) * m]  # noqa: E731
    elif shape == (t, dirs, n, m):
        choose = lambda d, values: np.swapaxes(values[:, d], 0, 1)  # noqa: E731
    elif shape == (n, t, dirs, m):
        choose = lambda d, values: values[:, :, d]  # noqa: E731
    elif shape == (dirs, n, m) and (dirs > 1 or name in _LAST):
        choose = lambda d, values: values[d]  # noqa: E731
    elif name in STATE_NAMES.values():
        return
    else:
        choose = lambda d, values: values  # noqa: E731
        if dirs > 1:
            return
    for number, (scan, _) in enumerate(node.scans):
        yield _chosen(array, f"{scan}.{key}", number, choose)


def _of_all_layers(network: Network, key: str, array: PortArray) -> Iterator[PortArray]:
    """Yield the last states of all layers, (layers·dirs, N, M), as PyTorch returns them."""
    scans = [scan for node in network.recurrent for scan, _ in node.scans]
    widths = {network.widths[scan].get(key) for scan in scans}
    if array.values.shape == (len(scans), network.size("N"), *widths):
        for number, scan in enumerate(scans):
            yield _chosen(array, f"{scan}.{key}", number, lambda d, values: values[d])


def _chosen(
    array: PortArray, name: str, number: int, choose: Callable[[int, Array], Array]
) -> PortArray:
    values, rounding = choose(number, array.values), choose(number, array.rounding)
    return replace(array, name=name, values=values, rounding=rounding)
