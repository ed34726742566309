"""``verify --sweep`` with something wrong in it: each is caught by the check that it belongs to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes import reference
from rnnshapes.cells.cell import StepResult
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.forward.tracing import Place
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent
from rnnshapes.reference.builder import Making
from rnnshapes.verification import unrolled
from rnnshapes.verification.bounds import Finding
from tests.test_sweep import LSTM, ONE, SIZES, gates_swapped


class Transposed(SimpleRNNCell):
    """Wh the other way round."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        turned = w.Wh.rearranged(np.transpose) if hasattr(w.Wh, "rearranged") else w.Wh.T
        h = ops.activate(self.activation, xz + state["h"] @ turned)
        return StepResult(h, {"h": h}, {})


@pytest.mark.parametrize(
    ("cell", "kind", "step"),
    [
        ("simple", SimpleRNNCell, Transposed.step),
        ("lstm", LSTMCell, gates_swapped(LSTMCell, 0, 1)),
        ("lstm", LSTMCell, gates_swapped(LSTMCell, 2, 3)),
        ("gru", GRUCell, gates_swapped(GRUCell, 0, 1)),
    ],
)
def test_a_wrong_equation_is_caught(cell, kind, step, monkeypatch) -> None:
    """In float32, in float64, and in the wiring."""
    monkeypatch.setattr(kind, "step", step)
    (*_, found) = rnnshapes.sweep(cell=cell, **ONE).configurations
    name = found.network.recurrent[0].name
    assert not found.passed
    assert {f"{name}: h at every step, in {p}" for p in ("float32", "float64")} <= set(found.failed)
    assert f"{name}: wiring, in float64" in found.failed
    assert all(ratio > 1e3 for _, ratio in found.ratios)


def made_otherwise(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Keras's layer is another one than the network says: ``change`` is done to what is made."""
    real = Making.layer

    def layer(self: Making, asked: Any) -> Any:
        made = real(self, asked)
        if asked.directions:
            change(made)
        return made

    monkeypatch.setattr(Making, "layer", layer)


def turned_round(layer: Any) -> None:
    """Reads from the other end."""
    layer.go_backwards = not layer.go_backwards


def started_elsewhere(layer: Any) -> None:
    """Starts from ones."""
    real = layer.get_initial_state
    layer.get_initial_state = lambda batch_size: [1 + state for state in real(batch_size)]


def last_alone(layer: Any) -> None:
    """Answers at the last step where it should at each."""
    layer.return_sequences = False


@pytest.mark.parametrize("change", [turned_round, started_elsewhere, last_alone])
@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_a_layer_that_is_wired_otherwise_is_caught(change, cell, monkeypatch) -> None:
    """By the wiring alone, but for a direction that Keras also says."""
    made_otherwise(monkeypatch, change)
    for found in rnnshapes.sweep(cell=cell, **ONE).configurations:
        name = found.network.recurrent[0].name
        said = [f"{name}: direction"] if change is turned_round else []
        assert list(found.failed) == [*said, f"{name}: wiring, in float64"]


def merged_otherwise(layer: Any) -> None:
    """Joins both directions in another way."""
    layer.merge_mode = {"sum": "ave", "ave": "mul", "mul": "sum", "concat": "sum"}[layer.merge_mode]


def test_directions_that_are_joined_otherwise_are_caught(monkeypatch) -> None:
    """Each merge mode, for a sequence and for the last step, by the wiring alone."""
    made_otherwise(monkeypatch, merged_otherwise)
    fixed = {"cell": "simple", "bidirectional": True, "activation": "tanh", "use_bias": True}
    result = rnnshapes.sweep(**fixed, **SIZES)
    assert len(result.configurations) == 8
    for found in result.configurations:
        assert found.failed == ("bidirectional: wiring, in float64",)


@pytest.mark.parametrize(
    ("kind", "fixed"),
    [(Recurrent, {"go_backwards": True}), (Bidirectional, {"bidirectional": True})],
)
def test_a_sequence_said_to_be_in_another_order_is_caught(kind, fixed, monkeypatch) -> None:
    """The algebra's own idea of what is turned round is judged, too."""
    turned = (False,) if kind is Recurrent else (False, True)
    monkeypatch.setattr(kind, "flips", turned)
    spec = {"cell": "gru", "return_sequences": True, "activation": "tanh", "use_bias": True}
    result = rnnshapes.sweep(**spec, **fixed, **SIZES)
    assert result.configurations
    for found in result.configurations:
        name = found.network.recurrent[0].name
        assert f"{name}: wiring, in float64" in found.failed


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found[..., ::-1],
        lambda found: found[:, :1],
        lambda found: found * (1 + 1e-12),
        lambda found: found * np.nan,
        lambda found: found[..., :0],
    ],
)
def test_any_other_answer_of_a_layer_fails_the_wiring(change: Any) -> None:
    """Units in another order, fewer steps, 1e-12 more, NaN, and nothing at all."""
    run = {}
    real = unrolled.findings

    def kept(*given: Any) -> Any:
        run["given"] = given
        return real(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unrolled, "findings", kept)
        assert rnnshapes.sweep(**LSTM).passed
    *given, called, steps = run["given"]
    other = {name: tuple(change(part) for part in parts) for name, parts in called.items()}
    ((_, _, found),) = real(*given, other, steps)
    assert not found.ratio <= 1
    ((_, _, missing),) = real(*given, {}, steps)
    assert not missing.ratio <= 1


def test_a_layer_with_another_shape_name_or_count_is_caught(monkeypatch) -> None:
    """What Keras says of its layers is held against the algebra."""
    real = reference.examine

    def other(*given: Any) -> reference.Examined:
        found = real(*given)
        weights = {**found.built.weights, "dense": (("kernel", (4, 7)), ("bias", (6,)))}
        return found._replace(built=replace(found.built, weights=weights, total=1))

    monkeypatch.setattr(reference, "examine", other)
    (found,) = rnnshapes.sweep(**LSTM).configurations
    assert found.failed == ("dense/kernel", "count_params()")


def test_nothing_compared_and_nan_never_pass(monkeypatch) -> None:
    """A finding over no numbers fails, and NaN is the worst of all ratios."""
    for ratio, compared in ((0.0, 0), (np.nan, 5)):
        broken = Finding(ratio, Place(0, None, 0), compared)
        monkeypatch.setattr(
            unrolled, "findings", lambda *_, f=broken: iter([("lstm", "wiring", f)])
        )
        (found,) = rnnshapes.sweep(**LSTM).configurations
        assert found.failed == ("lstm: wiring, in float64",)
    assert found.worst == "lstm: wiring, in float64"
