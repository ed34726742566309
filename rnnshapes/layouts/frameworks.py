"""The layout of each cell in Keras, PyTorch, ONNX, Flax, Equinox, Haiku and TensorFlow 1.

Sources: the documentation of ``torch.nn.RNN``, ``LSTM`` and ``GRU``; of ONNX's operators of these
names; ``flax/linen/recurrent.py``; ``equinox/nn/_rnn.py``; ``haiku/_src/recurrent.py``;
``tensorflow/python/ops/rnn_cell_impl.py`` of TensorFlow 1; and for Keras
``keras/src/layers/rnn``.
"""

from __future__ import annotations

from rnnshapes.layouts.layout import ArrayLayout, CellLayout

#: The gates of each cell in Keras's order, to which all other orders refer.
_GATES = {"simple": (), "lstm": ("i", "f", "c", "o"), "gru": ("z", "r", "h")}

_KERAS_KERNELS = (ArrayLayout("kernel", ("Wx",)), ArrayLayout("recurrent_kernel", ("Wh",)))
_KERAS = (*_KERAS_KERNELS, ArrayLayout("bias", ("bx",)))
_KERAS_TWO_ROWS = (*_KERAS_KERNELS, ArrayLayout("bias", ("bx", "bh"), stacked=True))
_PYTORCH = (
    ArrayLayout("weight_ih", ("Wx",), transposed=True),
    ArrayLayout("weight_hh", ("Wh",), transposed=True),
    ArrayLayout("bias_ih", ("bx",)),
    ArrayLayout("bias_hh", ("bh",)),
)
_ONNX = (
    ArrayLayout("W", ("Wx",), transposed=True, by_direction=True),
    ArrayLayout("R", ("Wh",), transposed=True, by_direction=True),
    ArrayLayout("B", ("bx", "bh"), by_direction=True),
)
_FLAX = (
    ArrayLayout("i{gate}.kernel", ("Wx",)),
    ArrayLayout("h{gate}.kernel", ("Wh",)),
)
_JOINED = ("Wx", "Wh")

LAYOUTS = (
    CellLayout("Keras", "simple", "SimpleRNN", _GATES["simple"], _KERAS),
    CellLayout("Keras", "lstm", "LSTM", _GATES["lstm"], _KERAS),
    CellLayout("Keras", "gru", "GRU", _GATES["gru"], _KERAS_TWO_ROWS),
    CellLayout("PyTorch", "simple", "nn.RNN", (), _PYTORCH),
    CellLayout(
        "PyTorch",
        "lstm",
        "nn.LSTM",
        ("i", "f", "c", "o"),
        (*_PYTORCH, ArrayLayout("weight_hr", ("Wp",), transposed=True)),
        "g",
    ),
    CellLayout("PyTorch", "gru", "nn.GRU", ("r", "z", "h"), _PYTORCH, "n"),
    CellLayout("ONNX", "simple", "RNN", (), _ONNX),
    CellLayout(
        "ONNX",
        "lstm",
        "LSTM",
        ("i", "o", "f", "c"),
        (*_ONNX, ArrayLayout("P", ("P",), by_direction=True, gates=("i", "o", "f"))),
    ),
    CellLayout("ONNX", "gru", "GRU", ("z", "r", "h"), _ONNX),
    CellLayout(
        "Flax linen",
        "simple",
        "SimpleCell",
        (),
        (
            ArrayLayout("i.kernel", ("Wx",)),
            ArrayLayout("h.kernel", ("Wh",)),
            ArrayLayout("i.bias", ("bx",)),
        ),
    ),
    CellLayout(
        "Flax linen",
        "lstm",
        "LSTMCell",
        ("i", "f", "c", "o"),
        (*_FLAX, ArrayLayout("h{gate}.bias", ("bh",))),
        "g",
        "the carry is (c, h)",
    ),
    CellLayout(
        "Flax linen",
        "gru",
        "GRUCell",
        ("r", "z", "h"),
        (
            *_FLAX,
            ArrayLayout("i{gate}.bias", ("bx",)),
            ArrayLayout("hn.bias", ("bh",), gates=("h",)),
        ),
        "n",
        "of the state's biases only that of n exists",
    ),
    CellLayout(
        "Flax nnx",
        "lstm",
        "OptimizedLSTMCell",
        ("i", "f", "c", "o"),
        (
            ArrayLayout("dense_i.kernel", ("Wx",)),
            ArrayLayout("dense_h.kernel", ("Wh",)),
            ArrayLayout("dense_h.bias", ("bh",)),
        ),
        "g",
    ),
    CellLayout(
        "Flax nnx",
        "gru",
        "GRUCell",
        ("r", "z", "h"),
        (
            ArrayLayout("dense_i.kernel", ("Wx",)),
            ArrayLayout("dense_i.bias", ("bx",)),
            ArrayLayout("dense_h.kernel", ("Wh",)),
        ),
        "n",
        "the state has no bias",
    ),
    CellLayout(
        "Equinox",
        "lstm",
        "LSTMCell",
        ("i", "f", "c", "o"),
        (*_PYTORCH[:2], ArrayLayout("bias", ("bx",))),
        "g",
    ),
    CellLayout(
        "Equinox",
        "gru",
        "GRUCell",
        ("r", "z", "h"),
        (*_PYTORCH[:2], ArrayLayout("bias", ("bx",)), ArrayLayout("bias_n", ("bh",), gates=("h",))),
        "n",
        "of the state's biases only that of n exists, (M,)",
    ),
    CellLayout(
        "Haiku",
        "lstm",
        "LSTM",
        ("i", "c", "f", "o"),
        (ArrayLayout("w", _JOINED), ArrayLayout("b", ("bx",))),
        "g",
        "1 is added to the forget gate in code",
    ),
    CellLayout(
        "Haiku",
        "gru",
        "GRU",
        ("z", "r", "h"),
        (ArrayLayout("w_i", ("Wx",)), ArrayLayout("w_h", ("Wh",)), ArrayLayout("b", ("bx",))),
        "a",
        "r acts before the product, and z is the share of the candidate",
    ),
    CellLayout(
        "TensorFlow 1",
        "lstm",
        "BasicLSTMCell",
        ("i", "c", "f", "o"),
        (ArrayLayout("kernel", _JOINED), ArrayLayout("bias", ("bx",))),
        "j",
        "forget_bias, 1 by default, is added to the forget gate in code",
    ),
)
_BY_NAME = {(layout.framework, layout.cell): layout for layout in LAYOUTS}


def layout_of(framework: str, cell: str) -> CellLayout:
    """Return the layout of a cell in a framework. Raises KeyError if there is none."""
    return _BY_NAME[framework, cell]


def frameworks_by_order(cell: str) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the frameworks whose gates are in another order than Keras's, by that order.

    A cell without layouts has none.
    """
    orders: dict[tuple[str, ...], dict[str, None]] = {}
    for layout in LAYOUTS:
        if layout.cell == cell and layout.gates != _GATES[cell]:
            orders.setdefault(layout.gates, {})[layout.framework] = None
    return {order: tuple(frameworks) for order, frameworks in orders.items()}
