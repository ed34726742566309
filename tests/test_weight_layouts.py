"""Arrays of a framework, and the parts of an equation that they hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rnnshapes.layouts import frameworks
from rnnshapes.layouts.equation_parts import from_parts, in_order, to_parts
from rnnshapes.layouts.frameworks import frameworks_by_order, layout_of
from rnnshapes.layouts.layout import ArrayLayout, shape_in, stored_weight
from rnnshapes.ops.dims import Dim

Array = np.ndarray
#: Keras's order of the gates of an LSTM and of a GRU.
IFCO, ZRH = ("i", "f", "c", "o"), ("z", "r", "h")


def blocks(text: str, rows: int = 0, units: int = 2) -> Array:
    """Return an array whose numbers tell gate, row and unit: ``"ifco"``, in this order."""
    unit = np.arange(units) + 100.0 * np.arange(max(1, rows))[:, None]
    joined = np.concatenate([10 * "?ifcozrh".index(gate) + unit for gate in text], axis=-1)
    return joined if rows else joined[0]


def stacked(*arrays: Array) -> Array:
    return np.stack(arrays)


#: Framework, cell, array, its numbers in two directions or one, the direction, and its parts.
HELD: list[tuple[str, str, str, Array, int, dict[str, Array]]] = [
    ("Keras", "lstm", "kernel", blocks("ifco", 3), 0, {"Wx": blocks("ifco", 3)}),
    (
        *("Keras", "gru", "bias", stacked(blocks("zrh"), 5 + blocks("zrh")), 0),
        {"bx": blocks("zrh"), "bh": 5 + blocks("zrh")},
    ),
    ("PyTorch", "lstm", "weight_ih", blocks("ifco", 3).T, 0, {"Wx": blocks("ifco", 3)}),
    ("PyTorch", "gru", "weight_hh", blocks("rzh", 3).T, 0, {"Wh": blocks("zrh", 3)}),
    ("PyTorch", "gru", "bias_hh", blocks("rzh"), 0, {"bh": blocks("zrh")}),
    ("PyTorch", "simple", "bias_ih", blocks("h"), 0, {"bx": blocks("h")}),
    *(
        ("ONNX", "lstm", "W", stacked(both[0].T, both[1].T), way, {"Wx": blocks("ifco", 3) + way})
        for both in [(blocks("iofc", 3), blocks("iofc", 3) + 1)]
        for way in (0, 1)
    ),
    (
        *("ONNX", "gru", "B", np.concatenate([blocks("zrh"), 5 + blocks("zrh")])[None], 0),
        {"bx": blocks("zrh"), "bh": 5 + blocks("zrh")},
    ),
    ("ONNX", "lstm", "P", blocks("iof")[None], 0, {"P": blocks("ifo")}),
    ("Flax linen", "gru", "hn.bias", blocks("h"), 0, {"bh": blocks("h")}),
]


@pytest.mark.parametrize(("framework", "cell", "name", "values", "way", "parts"), HELD)
def test_arrays_hold_parts_in_keras_order(
    framework: str, cell: str, name: str, values: Array, way: int, parts: dict[str, Array]
) -> None:
    layout = layout_of(framework, cell)
    array, gates = layout.array(name), {"simple": (), "lstm": IFCO, "gru": ZRH}[cell]
    found = to_parts(array, values, way, layout.gates, gates)
    assert set(found) == set(parts)
    assert all(np.array_equal(found[key], parts[key]) for key in parts)
    every = [
        to_parts(array, values, k, layout.gates, gates)
        for k in range(len(values) if array.by_direction else 1)
    ]
    assert np.array_equal(from_parts(array, every, layout.gates, gates), values)


def test_blocks_are_put_in_another_order() -> None:
    assert np.array_equal(in_order(blocks("iofc", 3), "iofc", "ifco"), blocks("ifco", 3))
    assert np.array_equal(in_order(blocks("iofc"), "iofc", "fo"), blocks("fo"))
    same = blocks("zrh")
    assert in_order(same, "zrh", "zrh") is same
    assert in_order(same, "", "zrh") is same


GM_ROWS = "weight_ih GM·D Wx", "weight_hh GM·M Wh"
TORCH = (*GM_ROWS, "bias_ih GM bx", "bias_hh GM bh")
ONNX = "W dirs·GM·D Wx", "R dirs·GM·M Wh", "B dirs·2GM bx bh"
FLAX = "i{gate}.kernel D·M Wx", "h{gate}.kernel M·M Wh"
#: Every layout: its class, its order of gates, and name, shape and parts of each array, with the
#: gates in it where they are not those of the cell. Sources: see ``frameworks.py``.
LAYOUTS = {
    "Keras simple": ("SimpleRNN", "", "kernel D·GM Wx", "recurrent_kernel M·GM Wh", "bias GM bx"),
    "Keras lstm": ("LSTM", "i f c o", "kernel D·GM Wx", "recurrent_kernel M·GM Wh", "bias GM bx"),
    "Keras gru": ("GRU", "z r h", "kernel D·GM Wx", "recurrent_kernel M·GM Wh", "bias 2·GM bx bh"),
    "PyTorch simple": ("nn.RNN", "", *TORCH),
    "PyTorch lstm": ("nn.LSTM", "i f g o (g is c)", *TORCH, "weight_hr P·M Wp"),
    "PyTorch gru": ("nn.GRU", "r z n (n is h)", *TORCH),
    "ONNX simple": ("RNN", "", *ONNX),
    "ONNX lstm": ("LSTM", "i o f c", *ONNX, "P dirs·3M P: i o f"),
    "ONNX gru": ("GRU", "z r h", *ONNX),
    "Flax linen simple": ("SimpleCell", "", "i.kernel D·GM Wx", "h.kernel M·GM Wh", "i.bias GM bx"),
    "Flax linen lstm": ("LSTMCell", "i f g o (g is c)", *FLAX, "h{gate}.bias M bh"),
    "Flax linen gru": (
        *("GRUCell", "r z n (n is h)", *FLAX),
        *("i{gate}.bias M bx", "hn.bias M bh: h"),
    ),
    "Flax nnx lstm": (
        *("OptimizedLSTMCell", "i f g o (g is c)"),
        *("dense_i.kernel D·GM Wx", "dense_h.kernel M·GM Wh", "dense_h.bias GM bh"),
    ),
    "Flax nnx gru": (
        *("GRUCell", "r z n (n is h)"),
        *("dense_i.kernel D·GM Wx", "dense_i.bias GM bx", "dense_h.kernel M·GM Wh"),
    ),
    "Equinox lstm": ("LSTMCell", "i f g o (g is c)", *GM_ROWS, "bias GM bx"),
    "Equinox gru": ("GRUCell", "r z n (n is h)", *GM_ROWS, "bias GM bx", "bias_n M bh: h"),
    "Haiku lstm": ("LSTM", "i g f o (g is c)", "w D+M·GM Wx Wh", "b GM bx"),
    "Haiku gru": ("GRU", "z r a (a is h)", "w_i D·GM Wx", "w_h M·GM Wh", "b GM bx"),
    "TensorFlow 1 lstm": (
        *("BasicLSTMCell", "i j f o (j is c)"),
        *("kernel D+M·GM Wx Wh", "bias GM bx"),
    ),
}


def test_layouts_are_those_of_the_frameworks() -> None:
    found = {}
    for layout in frameworks.LAYOUTS:
        arrays = []
        for array in layout.arrays:
            gates = f": {' '.join(array.gates)}" if array.gates else ""
            arrays.append(f"{array.name} {'·'.join(array.dims)} {' '.join(array.parts)}{gates}")
        name = f"{layout.framework} {layout.cell}"
        found[name] = (layout.class_name, layout.order_text, *arrays)
    assert list(found.items()) == list(LAYOUTS.items())


SIZES = {"D": Dim.of(3), "M": Dim.of(5), "P": Dim.of(5), "dirs": Dim.of(2)}


@pytest.mark.parametrize(
    ("framework", "cell", "name", "shape"),
    [
        ("PyTorch", "lstm", "weight_ih", (20, 3)),
        ("PyTorch", "gru", "bias_hh", (15,)),
        ("PyTorch", "simple", "weight_hh", (5, 5)),
        ("ONNX", "gru", "B", (2, 30)),
        ("ONNX", "lstm", "P", (2, 15)),
        ("Keras", "gru", "bias", (2, 15)),
        ("Haiku", "lstm", "w", (8, 20)),
    ],
)
def test_arrays_have_sizes(framework: str, cell: str, name: str, shape: tuple[int, ...]) -> None:
    layout = layout_of(framework, cell)
    found = shape_in(layout.array(name), max(1, len(layout.gates)), SIZES)
    assert found == tuple(map(Dim.of, shape))


def test_a_projected_state_has_its_own_size() -> None:
    layout, sizes = layout_of("PyTorch", "lstm"), {**SIZES, "P": Dim.of(4)}
    shapes = dict.fromkeys(("weight_hh",), (20, 4)) | {"weight_hr": (4, 5), "bias_hh": (20,)}
    for name, shape in shapes.items():
        assert shape_in(layout.array(name), 4, sizes) == tuple(map(Dim.of, shape))


@pytest.mark.parametrize(
    ("framework", "cell", "name", "index", "symbol", "gates", "axis"),
    [
        ("PyTorch", "lstm", "weight_ih", "1→", "Wx1ᵀ→", IFCO, -2),
        ("PyTorch", "gru", "bias_hh", "", "bh", ("r", "z", "h"), -1),
        ("PyTorch", "lstm", "weight_hr", "2", "Wp2ᵀ", (), -2),
        ("ONNX", "lstm", "P", "", "P", ("i", "o", "f"), -1),
        ("ONNX", "simple", "B", "", "bx bh", ("Wb", "Rb"), -1),
        (
            *("ONNX", "gru", "B", "1←", "bx1← bh1←"),
            *(("Wb_z", "Wb_r", "Wb_h", "Rb_z", "Rb_r", "Rb_h"), -1),
        ),
    ],
)
def test_stored_arrays_have_symbols_and_gates(
    framework: str, cell: str, name: str, index: str, symbol: str, gates: Any, axis: int
) -> None:
    layout = layout_of(framework, cell)
    weight = stored_weight(layout.array(name), layout, {**SIZES, "P": Dim.of(4)}, "own", index)
    assert (weight.key, weight.name, weight.gates, weight.gate_axis) == (symbol, "own", gates, axis)


@pytest.mark.parametrize(
    ("framework", "cell", "order", "candidate"),
    [
        ("Keras", "lstm", "i f c o", ""),
        ("PyTorch", "lstm", "i f g o (g is c)", "c~ is PyTorch's g"),
        ("PyTorch", "gru", "r z n (n is h)", "h~ is PyTorch's n"),
        ("Haiku", "gru", "z r a (a is h)", "h~ is Haiku's a"),
        ("ONNX", "gru", "z r h", ""),
    ],
)
def test_orders_have_the_letters_of_the_framework(
    framework: str, cell: str, order: str, candidate: str
) -> None:
    layout = layout_of(framework, cell)
    assert (layout.order_text, layout.candidate_text) == (order, candidate)


def test_frameworks_of_another_order_are_listed() -> None:
    assert frameworks_by_order("simple") == {}
    assert frameworks_by_order("lstm") == {
        ("i", "o", "f", "c"): ("ONNX",),
        ("i", "c", "f", "o"): ("Haiku", "TensorFlow 1"),
    }
    assert frameworks_by_order("gru") == {
        ("r", "z", "h"): ("PyTorch", "Flax linen", "Flax nnx", "Equinox"),
    }
    assert frameworks_by_order("another") == {}


def test_an_unknown_layout_is_no_key() -> None:
    with pytest.raises(KeyError):
        layout_of("ONNX", "another")
    with pytest.raises(KeyError):
        layout_of("ONNX", "lstm").array("kernel")


def test_parts_of_a_kernel_are_stacked_or_joined() -> None:
    joined, rows = (ArrayLayout("a", ("bx", "bh"), stacked=one) for one in (False, True))
    parts = [{"bx": np.arange(2.0), "bh": 5 + np.arange(2.0)}]
    assert from_parts(joined, parts, (), ()).tolist() == [0, 1, 5, 6]
    assert from_parts(rows, parts, (), ()).tolist() == [[0, 1], [5, 6]]
