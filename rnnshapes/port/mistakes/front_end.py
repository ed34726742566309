"""Known mistakes of ports about Dense and convolutional layers before the last recurrence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.layers.convolutional import Conv
from rnnshapes.network.layers.core import Dense
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.cell_changes import Arrays, differ
from rnnshapes.port.mistakes.layout import FLAT, FORTRAN, as_flat, by_columns

_ACTIVATIONS = ("linear", "relu", "tanh", "sigmoid")


def front_ends(hypothesis: Hypothesis) -> Variations:
    """Use another activation, bias, padding or order of the kernel before the last recurrence."""
    network = hypothesis.network
    for position, node in enumerate(network.nodes):
        layer: Any = node.layer
        arrays = hypothesis.weights.get(layer.name)
        if position in network.head or arrays is None or not isinstance(layer, Dense | Conv):
            continue
        for other in _ACTIVATIONS:
            if other != layer.activation:
                text = f"the activation of {layer.name} is {other}, not {layer.activation}"
                if other == "linear":
                    text = f"the activation of {layer.name} ({layer.activation}) is left out"
                mistake = Mistake("layer.activation", text, Where(layer=layer.name))
                changed = hypothesis.with_layer(position, replace(layer, activation=other))
                yield mistake, changed
        for mistake, arrays_read in _other_arrays(layer, arrays):
            if differ(arrays_read, arrays):
                yield mistake, hypothesis.with_arrays(layer.name, arrays_read)
        if isinstance(layer, Conv) and len(layer.windows) == 1:
            yield from _other_padding(hypothesis, position)


def _other_arrays(layer: Any, arrays: Mapping[str, Array]) -> Iterator[tuple[Mistake, Arrays]]:
    """Yield the bias of a layer, or its kernel, as a port may use it."""
    key, bias = ("Wc", "bc") if isinstance(layer, Conv) else ("W", "b")
    for how, factor in (("left out", 0.0), ("added twice", 2.0)) if bias in arrays else ():
        text, where = f"the bias of {layer.name} is {how}", Where(layer.name, array="bias")
        yield Mistake("layer.bias", text, where), {bias: arrays[bias] * factor}
    for mistake, kernel in _other_kernels(layer, arrays[key]):
        yield mistake, {key: kernel}


def _other_kernels(layer: Any, kernel: Array) -> Iterator[tuple[Mistake, Array]]:
    """Yield a kernel, (D, K) or (k, D, F), as a port reads it that takes it for another order."""
    where = Where(layer=layer.name, array="kernel")
    if kernel.ndim == 2:
        for id_, how, read in (
            ("layout.fortran", FORTRAN, by_columns),
            ("layout.flat_buffer", FLAT, as_flat),
        ):
            yield Mistake(id_, f"the kernel of {layer.name} is {how}", where), read(kernel)
    if kernel.ndim == 3:
        text = f"the kernel of {layer.name} is reversed over its steps: a true convolution"
        yield Mistake("layer.kernel_reversed", text, where), kernel[::-1]
        text = (
            f"the kernel of {layer.name} is a buffer of (filters, D, steps), as PyTorch stores it, "
            "read as (steps, D, filters)"
        )
        fix = "kernel = buffer.reshape(filters, D, steps).transpose(2, 1, 0)"
        flat = np.ascontiguousarray(kernel.transpose(2, 1, 0)).reshape(kernel.shape)
        yield Mistake("layout.flat_buffer", text, where, fix), flat


def _other_padding(hypothesis: Hypothesis, position: int) -> Variations:
    """Pad before x alone where both sides are right, or the reverse."""
    layer: Any = hypothesis.network.nodes[position].layer
    (window,) = layer.windows
    if window.mode == "valid" or window.size == 1:
        return
    for other in ("same", "causal"):
        if other != window.mode:
            text = f"the padding of {layer.name} is {other}, not {window.mode}"
            mistake = Mistake("layer.padding", text, Where(layer=layer.name))
            changed = replace(layer, windows=(replace(window, mode=other),))
            yield mistake, hypothesis.with_whole_layer(position, changed)
