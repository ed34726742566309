"""A layer that is called again: each call is checked like the first one."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from rnnshapes.errors import InputError
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap

#: Options of a layer that is called on inputs of these shapes, the first and the second time.
TWO_LENGTHS = (7, 4), (10, 4)
HEADS: dict[str, Any] = {"num_heads": 2, "key_dim": 3}
INNER = {"class_name": "LSTM", "config": {"name": "lstm", "units": 3}}


def twice(
    kind: str, config: Any, *shapes: Any, first: Any, second: Any, masked: bool = False
) -> Network:
    """Assemble a layer that is called on inputs by their numbers, last on one that is masked."""
    calls = [
        LayerCall(f"x{number}", "InputLayer", {"batch_shape": (None, *shape)})
        for number, shape in enumerate(shapes)
    ]
    if masked:
        calls.append(LayerCall("masking", "Masking", {}, (Tap(len(calls) - 1),)))
    calls += [
        LayerCall("shared", kind, config, tuple(map(Tap, inputs))) for inputs in (first, second)
    ]
    return assemble(LayerGraph(tuple(calls), (Tap(len(calls) - 1),)))


@pytest.mark.parametrize(
    ("kind", "config", "shapes", "first", "second"),
    [
        ("MultiHeadAttention", HEADS, TWO_LENGTHS, (0, 1, 1), (0, 1, 0)),
        ("MultiHeadAttention", HEADS, TWO_LENGTHS, (0, 1), (0,)),
        ("MultiHeadAttention", HEADS, ((7, 4), (5, 7, 4)), (0, 0), (1, 1)),
        (
            "EinsumDense",
            {"equation": "abc,cd->abd", "output_shape": (None, 3)},
            ((7, 4), (5, 7, 4)),
            (0,),
            (1,),
        ),
        ("LSTM", {"units": 3}, ((7, 4), (4,)), (0,), (1,)),
    ],
)
def test_repeated_call_with_other_axes_is_refused(
    kind: str, config: Any, shapes: Any, first: Any, second: Any
) -> None:
    with pytest.raises(InputError, match="shared"):
        twice(kind, config, *shapes, first=first, second=second)


@pytest.mark.parametrize(
    ("kind", "config", "shape"),
    [
        ("ConvLSTM1D", {"filters": 2, "kernel_size": 3}, (5, 7, 4)),
        ("TimeDistributed", {"layer": INNER}, (5, 7, 4)),
    ],
)
def test_repeated_call_with_mask_is_refused(kind: str, config: Any, shape: Any) -> None:
    assert not twice(kind, config, shape, first=(0,), second=(0,), masked=True).unsupported
    with pytest.raises(InputError, match="shared"):
        twice(kind, config, shape, first=(0,), second=(1,), masked=True)


def test_repeated_call_with_other_length_is_supported() -> None:
    network = twice("LSTM", {"units": 3}, *TWO_LENGTHS, first=(0,), second=(1,))
    assert not network.unsupported


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        ({"strides": 2}, 13),
        ({"strides": 2, "padding": "same"}, 12),
        ({}, 8),
        ({"padding": "same"}, 6),
    ],
)
def test_transposed_convolution_has_its_length_again(config: Any, steps: int) -> None:
    shared = "Conv1DTranspose", {"filters": 4, "kernel_size": 3, **config}
    calls = (
        LayerCall("x0", "InputLayer", {"batch_shape": (None, 10, 2)}),
        LayerCall("x1", "InputLayer", {"batch_shape": (None, 12)}),
        LayerCall("reshape", "Reshape", {"target_shape": (6, 2)}, (Tap(1),)),
        *(LayerCall("shared", *shared, (Tap(source),)) for source in (0, 2)),
    )
    network = assemble(LayerGraph(calls, (Tap(4),), samples=1))
    assert tuple(map(network.value, network.node_shapes[-1].shapes[0])) == (1, steps, 4)


@pytest.mark.parametrize(("steps", "fits"), [(3, True), (2, False)])
def test_convolution_needs_a_window_of_steps_again(steps: int, *, fits: bool) -> None:
    shared = "Conv1D", {"filters": 4, "kernel_size": 3}
    calls = (
        LayerCall("x0", "InputLayer", {"batch_shape": (None, 10, 2)}),
        LayerCall("x1", "InputLayer", {"batch_shape": (None, 2 * steps)}),
        LayerCall("reshape", "Reshape", {"target_shape": (steps, 2)}, (Tap(1),)),
        *(LayerCall("shared", *shared, (Tap(source),)) for source in (0, 2)),
    )
    with nullcontext() if fits else pytest.raises(InputError, match="shared"):
        assemble(LayerGraph(calls, (Tap(4),), samples=1))
