"""Cells, layers and interpreters: each is complete, and known everywhere once it is written."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import pytest

import rnnshapes
from rnnshapes import ops
from rnnshapes.cells import registry as cells
from rnnshapes.errors import CannotRunError
from rnnshapes.network.layers import registry as layers
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.config import OPERATION, LayerConfig
from rnnshapes.ops.interface import CellOps, LayerOps, Tensor
from tests.helpers import golden, models
from tests.helpers.commands import loaded_by
from tests.helpers.mgu import MGUCell

SUPPORTED = Path(__file__).parent.parent / ".github" / "docs" / "limits.md"
SIZES = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 2}


def interpreters() -> list[type]:
    """Each class of operations in the package."""
    modules = (import_module(m.name) for m in pkgutil.iter_modules(ops.__path__, "rnnshapes.ops."))
    return [
        value
        for module in modules
        for name, value in vars(module).items()
        if name.endswith("Ops") and value.__module__ == module.__name__
        if value not in (CellOps, LayerOps)
    ]


def operations(kind: type) -> dict[str, list[str]]:
    """The parameters of each public method."""
    methods = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: list(inspect.signature(method).parameters)
        for name, method in methods
        if not name.startswith("_")
    }


def test_all_interpreters_are_found() -> None:
    names = {"SymbolicOps", "ShapeOps", "NumpyOps", "BoundedOps", "RecorderOps", "FixedPointOps"}
    names |= {"OnnxOps"}
    assert {kind.__name__ for kind in interpreters()} == names


@pytest.mark.parametrize("kind", interpreters(), ids=lambda kind: kind.__name__)
def test_interpreter_has_every_operation(kind: type) -> None:
    expected = operations(LayerOps)
    assert {"activate", "let", "windows", "rearrange"} < set(expected)
    assert {name: operations(kind).get(name) for name in expected} == expected


def test_every_supported_layer_is_in_test_models() -> None:
    """And each that is there is supported."""
    used = set(re.findall(r"\bla\.(\w+)", inspect.getsource(models)))
    for make in models.OPERATIONS.values():
        kinds = {type(each) for each in make().operations}
        used |= {f"{OPERATION}{k.__name__}" for k in kinds if not issubclass(k, keras.Layer)}
    parts = {"Layer", "StackedRNNCells", *(f"{name}Cell" for name in cells.BY_CLASS)}
    parts.add(f"{OPERATION}Any")  # of a mask
    assert set(layers.supported_classes()) - {"InputLayer"} == used - parts


def test_every_supported_layer_is_in_documentation() -> None:
    rows = "\n".join(re.findall(r"^\|.*\|$", SUPPORTED.read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\w+", rows))
    classes = {name.removeprefix(OPERATION) for name in layers.supported_classes()}
    assert classes - named == {"InputLayer"}


@pytest.mark.parametrize(
    "code",
    ["assert layer_class('Conv1D').__name__ == 'Conv'", "assert 'Dot' in supported_classes()"],
)
def test_modules_of_layers_are_loaded_when_needed(code: str) -> None:
    start = f"from {layers.__name__} import _BY_CLASS, layer_class, supported_classes"
    assert loaded_by(f"{start}; assert 'Conv1D' not in _BY_CLASS; {code}") == set()


def test_every_cell_has_golden_arrays_by_hand() -> None:
    assert {options["cell"] for options in golden.CELLS} == set(cells.BY_NAME)


# --- A new cell is one class ---------------------------------------------------------------------


@pytest.fixture
def mgu() -> Iterator[None]:
    cells.register(MGUCell)
    yield
    cells.unregister(MGUCell)


def mgu_by_hand(w: Any, x: np.ndarray) -> np.ndarray:
    """The states of the minimal gated unit, (N, T, M), in plain NumPy."""
    kernel, recurrent, bias = w["mgu/kernel"], w["mgu/recurrent_kernel"], w["mgu/bias"]
    (x_f, x_h), (W_f, W_h) = np.split(x @ kernel + bias, 2, -1), np.split(recurrent, 2, -1)
    h, states = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        f = 1 / (1 + np.exp(-(x_f[:, t] + h @ W_f)))
        h = (1 - f) * h + f * np.tanh(x_h[:, t] + (f * h) @ W_h)
        states.append(h)
    return np.stack(states, axis=1)


def test_new_cell_is_inspected(mgu: None) -> None:
    layer = rnnshapes.inspect(cell="mgu", **SIZES).layers[0]
    assert (layer.label, layer.name, layer.params) == ("MGU(M)", "mgu", 2 * 4 * (3 + 4 + 1))
    assert layer.weights[0].gates[0].name == "f"


def test_new_cell_is_computed(mgu: None) -> None:
    arrays = rnnshapes.golden(cell="mgu", keras=False, seed=5, **SIZES).arrays
    expected = mgu_by_hand(arrays, arrays["x"].astype("float64"))
    np.testing.assert_allclose(arrays["mgu.h"], expected, rtol=1e-12)
    trace = rnnshapes.trace(cell="mgu", keras=False, seed=5, show="all", **SIZES)
    np.testing.assert_allclose(trace.layers[0].states["h"], expected, rtol=1e-12)
    assert set(trace.layers[0].gates) == {"f", "h"}


def test_gate_order_of_a_new_cell_is_diagnosed(mgu: None) -> None:
    arrays = rnnshapes.golden(cell="mgu", keras=False, seed=5, **SIZES).arrays
    assert rnnshapes.verify(cell="mgu", seed=5, against={"h": arrays["mgu.h"]}, **SIZES).passed
    exchanged = {name: np.roll(w, 4, axis=-1) for name, w in arrays.items() if "mgu/" in name}
    h = mgu_by_hand(exchanged, arrays["x"].astype("float64"))
    result = rnnshapes.verify(cell="mgu", seed=5, against={"h": h}, **SIZES)
    assert not result.passed
    assert [e.ids for e in result.diagnosis.explanations] == [("gates.order",)]


@pytest.mark.parametrize("command", ["inspect", "trace"])
def test_command_line_knows_new_cell(mgu: None, command: str, run: Any) -> None:
    done = run(command, "--cell", "MGU", "--no-keras", "--bidirectional")
    assert done.status == 0
    assert "Bidirectional(MGU(M))" in done.out


def test_keras_is_not_asked_for_new_cell(mgu: None) -> None:
    with pytest.raises(CannotRunError, match="MGU"):
        rnnshapes.trace(cell="mgu", **SIZES)
    with pytest.raises(CannotRunError, match="MGU"):
        rnnshapes.verify(cell="mgu", **SIZES)
    assert "MGU" in str(rnnshapes.inspect(cell="mgu", keras=True, **SIZES).not_built)


def test_two_cells_cannot_share_a_name() -> None:
    class Impostor(MGUCell):
        name = "lstm"

    with pytest.raises(ValueError, match="LSTMCell and Impostor"):
        cells.register(Impostor)
    assert "MGU" not in cells.BY_CLASS


#: The year in which each cell was published.
YEARS = {"simple": 1990, "lstm": 1997, "gru": 2014}


def test_cells_are_in_the_order_of_publication() -> None:
    class EarlyCell(MGUCell):
        name, class_name, year = "early", "Early", 1995

    cells.register(EarlyCell)
    by_name, by_class = list(cells.BY_NAME.values()), list(cells.BY_CLASS.values())
    cells.unregister(EarlyCell)
    assert {name: cells.BY_NAME[name].year for name in cells.BY_NAME} == YEARS
    years = [kind.year for kind in by_name]
    assert years == sorted(years)
    assert years[0] < EarlyCell.year < years[-1]
    assert by_name == by_class


# --- A new layer is one class --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ELU(Layer):
    """z for z > 0, exp(z) - 1 elsewhere, as if it were new."""

    keras_classes = ("ELU",)

    @classmethod
    def from_config(cls, config: LayerConfig) -> Self:
        config.require(alpha=1.0)
        return cls(**config.shared)

    def call(self, ops: LayerOps, inputs: Any, w: Any, masks: Masks) -> Tensor:
        return ops.activate("elu", inputs[0])

    def keras_arguments(self, size_of: Any) -> dict[str, Any]:
        return {}


@pytest.fixture
def elu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known = dict(layers._BY_CLASS)
    known.pop("ELU", None)
    monkeypatch.setattr(layers, "_BY_CLASS", known)
    layers.register(ELU)
    yield
    layers.unregister(ELU)


def test_new_layer_is_read_computed_and_verified(elu: None) -> None:
    from keras import layers as la

    model = models.sequential(la.LSTM(4, return_sequences=True), la.ELU(), la.Dense(2))
    assert [layer.supported for layer in rnnshapes.inspect(model).layers] == [True] * 3
    verification = rnnshapes.verify(models.randomized(model), N=2)
    assert verification.passed
    name = model.layers[1].name
    assert f"{name}: output at every step" in [check.name for check in verification.checks]


def test_two_layers_cannot_stand_for_one_class() -> None:
    class Impostor(ELU):
        keras_classes = ("Dense",)

    with pytest.raises(ValueError, match="Dense and Impostor"):
        layers.register(Impostor)
