"""The table of layouts in ``docs/layouts.md``, checked with programs in each layout.

The programs are written out here as the documentation of ``torch.nn.RNN``, ``LSTM`` and ``GRU``
and of ONNX's operators of these names have them. That they are what these libraries run,
``tests/benchmarks/porting.py`` shows with the libraries themselves.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.cells.registry import BY_NAME
from rnnshapes.layouts.frameworks import LAYOUTS, layout_of
from rnnshapes.network.from_sizes import from_sizes
from tests.helpers.cells import LAYERS
from tests.helpers.pages import CELLS, OUTPUTS, PAGES, PATHS, table
from tests.helpers.port_layouts import (
    CASES,
    OTHERS,
    TABLE,
    Array,
    in_onnx,
    in_pytorch,
    onnx_scan,
    order,
    torch_scan,
)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gate_orders_of_the_table_are_known(kind: str) -> None:
    """The table and ``layouts/`` agree, with each framework's own letters."""
    assert order(kind, "Keras") == BY_NAME[kind.lower()].gate_names
    for framework in ("Keras", *OTHERS):
        layout = layout_of(framework, kind.lower())
        assert order(kind, framework) == layout.gates
        assert TABLE[f"{kind}, order of gates"][framework] == layout.order_text


@pytest.mark.parametrize("row", ["kernel", "recurrent kernel", "biases", "GRU, biases"])
def test_table_has_names_and_shapes_of_layouts(row: str) -> None:
    cell = "gru" if row.startswith("GRU") else "lstm"
    position = {"kernel": 0, "recurrent kernel": 1}.get(row, 2)
    for framework in ("Keras", *OTHERS):
        array = layout_of(framework, cell).arrays[position]
        dims = ", ".join(array.dims).replace("G", "3" if cell == "gru" else "G").replace("23", "6")
        text = TABLE[row][framework]
        assert f"`{array.name}" in text
        assert f"({dims}{',' * (len(array.dims) == 1)})" in text


def test_other_frameworks_are_those_of_layouts() -> None:
    rows = {row[0]: row[1:] for row in table("docs/layouts", "Flax linen `SimpleCell`")}
    others = [each for each in LAYOUTS if each.framework not in ("Keras", *OTHERS)]
    assert list(rows) == [f"{each.framework} `{each.class_name}`" for each in others]
    for each, (gates, arrays, remarks) in zip(others, rows.values(), strict=True):
        assert (gates, remarks) == (each.order_text, each.remarks)
        for array in each.arrays:
            dims = ", ".join(array.dims) + "," * (len(array.dims) == 1)
            assert f"`{array.name}` ({dims})" in arrays


def shapes(text: str, **sizes: int) -> list[tuple[int, ...]]:
    """``weight_ih_l0 (GM, D)`` with numbers for the letters."""

    def number(term: str) -> int:
        count, letters = re.fullmatch(r"(\d*)(dirs|[A-Z]*)", term).groups()  # type: ignore[union-attr]
        made = int(count or 1)
        for letter in [letters] if letters == "dirs" else letters:
            made *= sizes[letter]
        return made

    found = re.findall(r"\(((?:\d*[A-Z]*|dirs)(?:, ?(?:\d*[A-Z]+|dirs))*,?)\)", text)
    return [tuple(number(term.strip()) for term in one.split(",") if term.strip()) for one in found]


WEIGHTS = {
    "kernel": ("kernel", "weight_ih_l0", "W"),
    "recurrent kernel": ("recurrent_kernel", "weight_hh_l0", "R"),
    "biases": ("bias", "bias_ih_l0", "B"),
    "GRU, biases": ("bias", "bias_ih_l0", "B"),
}


@pytest.mark.parametrize("row", WEIGHTS)
@pytest.mark.parametrize("cell", CASES)
def test_the_table_names_the_weights_of_scripts(row: str, cell: str) -> None:
    if row == "biases" and cell == "gru":
        return  # it has a row of its own
    made = run_script(cell)
    n, t, d, m = (*made["golden"]["x"].shape, made["recurrent_kernel"].shape[0])
    sizes = {"N": n, "T": t, "D": d, "M": m, "G": max(1, len(BY_NAME[cell].gate_names)), "dirs": 1}
    forms = ({key: made[key] for key in ("kernel", "recurrent_kernel", "bias")}, *forms_of(made))
    for where, name, arrays in zip(("Keras", *OTHERS), WEIGHTS[row], forms, strict=True):
        said = TABLE[row][where]
        assert f"`{name}`" in said
        if row.startswith("GRU") and cell != "gru":
            continue
        assert arrays[name].shape == shapes(said, **sizes)[0], (row, where)


def test_shapes_are_read_from_the_text() -> None:
    """Other tests compare with these shapes."""
    sizes = {"D": 3, "M": 5, "G": 4, "dirs": 2}
    assert shapes("`W` (dirs, GM, D), (2, 3M): (3M,)", **sizes) == [(2, 20, 3), (2, 15), (15,)]


# --- The scripts of the pages -------------------------------------------------------------------


def run_script(cell: str) -> dict[str, Any]:
    """What the script of a cell's page makes."""
    made: dict[str, Any] = {}
    (script,) = OUTPUTS.scripts(PAGES[CELLS[cell]])
    exec(script, made)  # noqa: S102 - the page's own
    return made


def forms_of(made: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The weights as PyTorch and as ONNX has them."""
    return made["pytorch"], made["onnx"]


def expected(made: Mapping[str, Any], cell: str) -> tuple[Array, Array]:
    """x (T, N, D) in float64, and h (T, N, M) as the equations have it."""
    golden = made["golden"]
    x = golden["x"].swapaxes(0, 1).astype("float64")
    return x, golden[f"{LAYERS[cell]}.h"].swapaxes(0, 1)


def close(one: Array, other: Array) -> bool:
    """The same but for rounding in float64."""
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", CASES)
def test_the_scripts_make_what_pytorch_and_onnx_take(cell: str) -> None:
    """Every h at every step is that of Keras's equations."""
    made = run_script(cell)
    x, h = expected(made, cell)
    pytorch, onnx = forms_of(made)
    assert close(torch_scan(cell, x, pytorch), h)
    assert close(onnx_scan(cell, x, onnx, before=1)[:, 0], h)


@pytest.mark.parametrize("cell", CASES)
def test_the_scripts_come_back_to_what_keras_has(cell: str) -> None:
    """Kernel, recurrent kernel and bias, exactly, and in the order of ``set_weights``."""
    made = run_script(cell)
    names = ("kernel", "recurrent_kernel", "bias")
    for name, found in zip(names, made["keras"], strict=True):
        np.testing.assert_array_equal(found, made[name])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("form", OTHERS)
def test_no_other_order_of_gates_gives_the_same(cell: str, form: str) -> None:
    """The programs can tell one order from another."""
    made = run_script(cell)
    x, h = expected(made, cell)
    arrays = dict(zip(OTHERS, forms_of(made), strict=True))[form]
    axis = 0 if form == "PyTorch" else 1
    count = len(BY_NAME[cell].gate_names)
    same = []
    for permutation in itertools.permutations(range(count)):
        wrong = {}
        for name, array in arrays.items():
            blocks = np.split(array, array.shape[axis] // h.shape[2], axis=axis)
            places = [n - n % count + permutation[n % count] for n in range(len(blocks))]
            wrong[name] = np.concatenate([blocks[place] for place in places], axis=axis)
        made_h = (
            torch_scan(cell, x, wrong)
            if form == "PyTorch"
            else onnx_scan(cell, x, wrong, before=1)[:, 0]
        )
        same.append(close(made_h, h))
    assert same == [True] + [False] * (len(same) - 1)


# --- Rows about more than weights ---------------------------------------------------------------


SIZES: dict[str, Any] = {"N": 2, "T": 4, "D": 3, "M": 5, "K": 2}


@pytest.mark.parametrize("cell", CASES)
def test_x_and_h_have_layouts_of_the_table(cell: str) -> None:
    golden = rnnshapes.golden(cell=cell, **SIZES).arrays
    x, h = expected({"golden": golden}, cell)
    output = torch_scan(cell, x, in_pytorch(cell, golden, [LAYERS[cell]]))
    Y = onnx_scan(cell, x, in_onnx(cell, golden, [LAYERS[cell]]), before=1)
    own = h.swapaxes(0, 1)
    found = {
        "x": {"Keras": golden["x"], "PyTorch": x, "ONNX": x},
        "h at every step": {"Keras": own, "PyTorch": output, "ONNX": Y},
        "last h": {"Keras": own[:, -1], "PyTorch": output[-1:], "ONNX": Y[-1]},
    }
    for row, arrays in found.items():
        for where, array in arrays.items():
            assert array.shape == shapes(TABLE[row][where], **SIZES, dirs=1)[0], (row, where)
    for row in ("x", "h at every step"):
        *_, first = TABLE[row]["PyTorch"].split("; ")
        assert "`batch_first=True`" in first
        assert shapes(first, **SIZES) == [found[row]["Keras"].shape]


def test_reset_before_is_linear_before_reset_0() -> None:
    """The other value gives other numbers."""
    golden = rnnshapes.golden(cell="gru", reset_after=False, **SIZES).arrays
    w = in_onnx("gru", golden, ["gru"])
    x, h = expected({"golden": golden}, "gru")
    assert close(onnx_scan("gru", x, w, before=0)[:, 0], h)
    assert not close(onnx_scan("gru", x, w, before=1)[:, 0], h)


@pytest.mark.parametrize("cell", CASES)
def test_directions_are_joined_at_both_ends(cell: str) -> None:
    """``Y`` is indexed by input time step; Keras joins ``Y_h[0]`` and ``Y_h[1]``, not ``Y[-1]``."""
    golden = rnnshapes.golden(cell=cell, bidirectional=True, **SIZES).arrays
    names = [f"bidirectional/{way}_{LAYERS[cell]}" for way in ("forward", "backward")]
    x = golden["x"].swapaxes(0, 1).astype("float64")
    Y = onnx_scan(cell, x, in_onnx(cell, golden, names), "bidirectional", before=1)
    pytorch = in_pytorch(cell, golden, names)
    for d, (name, end) in enumerate(zip(names, ("", "_reverse"), strict=True)):
        h = golden[f"{name}.h"].swapaxes(0, 1)
        assert close(Y[:, d], h)
        assert close(torch_scan(cell, x, pytorch, end), h)

    def answer(forward: Array, backward: Array) -> Array:
        both = np.concatenate([forward, backward], axis=-1)
        return both @ golden["dense/kernel"].astype("float64") + golden["dense/bias"]

    assert close(answer(Y[-1, 0], Y[0, 1]), golden["output"])
    assert not close(answer(*Y[-1]), golden["output"])


@pytest.mark.parametrize("cell", CASES)
def test_only_keras_returns_reversed_sequences_reversed(cell: str) -> None:
    """Keras's first row of ``go_backwards`` is the last of ONNX's ``direction="reverse"``."""
    options = {"cell": cell, "go_backwards": True, "return_sequences": True, **SIZES}
    golden = rnnshapes.golden(**options).arrays
    x = golden["x"].swapaxes(0, 1).astype("float64")
    Y = onnx_scan(cell, x, in_onnx(cell, golden, [LAYERS[cell]]), "reverse", before=1)[:, 0]
    y_hat = Y @ golden["dense/kernel"].astype("float64") + golden["dense/bias"]
    keras = rnnshapes.trace(keras=False, **options).output.swapaxes(0, 1)
    assert close(y_hat[::-1], keras)
    assert not close(y_hat, keras)


def test_hard_sigmoids_have_formulas_of_the_table() -> None:
    """Keras's and ONNX's."""
    from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
    from rnnshapes.ops.numpy_ops import NumpyOps

    row = TABLE["hard_sigmoid of the gates"]
    z = np.linspace(-4, 4, 33)
    for where, name, slope in (
        ("Keras", "hard_sigmoid", 1 / 6),
        ("ONNX", KERAS2_HARD_SIGMOID, 0.2),
    ):
        found = NumpyOps().activate(name, z)
        np.testing.assert_allclose(found, np.clip(slope * z + 0.5, 0, 1), atol=1e-15)
        assert {"Keras": "clip(z/6 + 0.5, 0, 1)", "ONNX": "clip(0.2 z + 0.5, 0, 1)"}[where] in (
            row[where]
        )


def test_every_cell_has_a_page_and_a_case() -> None:
    assert list(CELLS) == CASES == list(BY_NAME)
    for cell, page in CELLS.items():
        assert from_sizes(cell=cell).layers[0].name == PATHS[page].stem
