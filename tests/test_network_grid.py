"""Every option of a recurrent network, verified against Keras in both precisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnshapes import reference
from rnnshapes.cells.cell import StepResult
from rnnshapes.cells.gru import GRUCell
from rnnshapes.cells.lstm import LSTMCell
from rnnshapes.cells.simple_rnn import SimpleRNNCell
from rnnshapes.forward import keras_replay, numpy_run
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import Tap
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent
from rnnshapes.reference.builder import LayerBuilder
from rnnshapes.verification import unrolled
from tests.helpers import cells, network_grid

SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6}
SEQUENCES = {**SIZES, "return_sequences": True}


def ids(options: dict[str, Any]) -> str:
    return "-".join(map(str, options.values()))


@pytest.mark.parametrize("cell", network_grid.CELLS, ids=ids)
def test_each_option_is_verified_in_both_precisions(cell: dict[str, Any]) -> None:
    for options in network_grid.networks(cell):
        network = from_sizes(**options)
        checks = list(network_grid.checks(network, seed=3))
        assert [check.name for check in checks if not check.passed] == [], options
        precisions = {check.precision for check in checks if check.ratio is not None}
        assert precisions == {"float32", "float64"}
        n, k, length = (network.sizes[name] for name in "NKT")
        assert None not in (n, k, length)
        widths = [sum(states.values()) for states in network.widths.values()]
        compared = sum(check.compared for check in checks if check.ratio is not None)
        assert compared >= 2 * (n * length * sum(widths) + n * length * k)


def failed(network: Any) -> list[str]:
    """Return the names of the checks that fail."""
    return [check.name for check in network_grid.checks(network, seed=3) if not check.passed]


class Transposed(SimpleRNNCell):
    """A SimpleRNN that uses the transposed recurrent kernel."""

    def step(self, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        turned = ops.rearrange(w.Wh, np.transpose)
        h = ops.activate(self.activation, xz + state["h"] @ turned)
        return StepResult(h, {"h": h}, {})


def gates_swapped(kind: Any, one: int, other: int) -> Any:
    """Return the step of a cell that uses two gates in each other's place."""
    gates = list(kind.gate_names)
    gates[one], gates[other] = gates[other], gates[one]
    right = kind.step

    def step(self: Any, ops: Any, xz: Any, state: Any, w: Any) -> Any:
        class Swapped:
            def __getattr__(self, name: str) -> Any:
                return getattr(ops, name)

            def split(self, z: Any, base: str, names: Any) -> list[Any]:
                blocks = dict(zip(gates, ops.split(z, base, names), strict=True))
                return [blocks[name] for name in kind.gate_names]

        return right(self, Swapped(), xz, state, w)

    return step


@pytest.mark.parametrize(
    ("cell", "kind", "step"),
    [
        ("simple", SimpleRNNCell, Transposed.step),
        ("lstm", LSTMCell, gates_swapped(LSTMCell, 0, 1)),
        ("lstm", LSTMCell, gates_swapped(LSTMCell, 2, 3)),
        ("gru", GRUCell, gates_swapped(GRUCell, 0, 1)),
    ],
)
def test_wrong_equation_fails_each_check(cell, kind, step, monkeypatch) -> None:
    monkeypatch.setattr(kind, "step", step)
    network = from_sizes(cell=cell, **SEQUENCES)
    checks = list(network_grid.checks(network, seed=3))
    name = network.recurrent[0].name
    wrong = {check.precision for check in checks if check.layer == name and not check.passed}
    assert wrong == {"float32", "float64"}
    worst = {dtype: max(c.ratio for c in checks if c.precision == dtype) for dtype in wrong}
    assert all(ratio > 1e3 for ratio in worst.values())
    assert f"{name}: unrolled, in float64" in [check.name for check in checks if not check.passed]


def change_layers(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Make Keras's layers other than the network says, by ``change(layer)``."""
    build = LayerBuilder.build_layer

    def layer(self: LayerBuilder, asked: Any) -> Any:
        built = build(self, asked)
        if asked.directions:
            change(built)
        return built

    monkeypatch.setattr(LayerBuilder, "build_layer", layer)


def reverse(layer: Any) -> None:
    layer.go_backwards = not layer.go_backwards


def start_from_ones(layer: Any) -> None:
    right = layer.get_initial_state
    layer.get_initial_state = lambda batch_size: [1 + state for state in right(batch_size)]


def return_last_only(layer: Any) -> None:
    layer.return_sequences = False


@pytest.mark.parametrize("change", [reverse, start_from_ones, return_last_only])
@pytest.mark.parametrize("cell", cells.NAMES)
def test_wrong_loop_fails_the_unrolled_check(change, cell, monkeypatch) -> None:
    change_layers(monkeypatch, change)
    network = from_sizes(cell=cell, **SEQUENCES)
    name = network.recurrent[0].name
    said = [f"{name}: direction"] if change is reverse else []
    assert failed(network) == [*said, f"{name}: unrolled, in float64"]


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("mode", ["sum", "ave", "mul", "concat"])
def test_wrong_merge_fails_the_unrolled_check(mode, sequences, monkeypatch) -> None:
    other = {"sum": "ave", "ave": "mul", "mul": "sum", "concat": "sum"}[mode]
    change_layers(monkeypatch, lambda layer: setattr(layer, "merge_mode", other))
    network = from_sizes(bidirectional=True, merge_mode=mode, return_sequences=sequences, **SIZES)
    assert failed(network) == ["bidirectional: unrolled, in float64"]


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Recurrent, {"go_backwards": True}), (Bidirectional, {"bidirectional": True})],
)
def test_wrong_order_of_a_sequence_fails(kind, options, monkeypatch) -> None:
    unchanged = (False,) if kind is Recurrent else (False, True)
    monkeypatch.setattr(kind, "reversed_outputs", unchanged)
    network = from_sizes(cell="gru", **SEQUENCES, **options)
    assert f"{network.recurrent[0].name}: unrolled, in float64" in failed(network)


@pytest.mark.parametrize(
    "change",
    [
        lambda output: output[..., ::-1],
        lambda output: output[:, :1],
        lambda output: output * (1 + 1e-12),
        lambda output: output * np.nan,
        lambda output: output[..., :0],
        None,
    ],
    ids=["units reversed", "fewer steps", "1e-12 more", "NaN", "empty", "missing"],
)
def test_any_other_output_fails_the_unrolled_check(change: Any, monkeypatch) -> None:
    right = unrolled.unrolled_residuals

    def changed(*given: Any) -> Any:
        *before, called, steps = given
        other = {n: tuple(map(change, outputs)) for n, outputs in called.items()} if change else {}
        return right(*before, other, steps)

    monkeypatch.setattr(unrolled, "unrolled_residuals", changed)
    assert failed(from_sizes(cell="lstm", **SEQUENCES)) == ["lstm: unrolled, in float64"]


@pytest.mark.parametrize("options", [{"go_backwards": True}, {"bidirectional": True}])
def test_repeated_steps_have_the_output_at_each_step(options: Any) -> None:
    network = from_sizes(cell="gru", **SIZES, **options).with_dtype("float64")
    drawn = weights.draw(network, seed=1)
    xs = [inputs.full_array(source) for source in inputs.random_inputs(network, seed=1)]
    ours = numpy_run.numpy_outputs(network, drawn, xs)
    repeated = keras_replay.keras_replay(network, drawn, ours, "float64")
    assert len(repeated.each) == 2
    for name, arrays in repeated.each.items():
        np.testing.assert_allclose(arrays, ours.each[name], rtol=0, atol=1e-12)


def test_each_layer_is_called_on_the_given_numbers() -> None:
    """Each step is taken from the state before it; these numbers follow from nothing."""
    network = from_sizes(cell="lstm", **{**SIZES, "M": [4, 7]}, go_backwards=True)
    network = network.with_dtype("float64")
    drawn = weights.draw(network, seed=1)
    xs = [inputs.full_array(source) for source in inputs.random_inputs(network, seed=1)]
    ours = numpy_run.numpy_outputs(network, drawn, xs)
    rng = np.random.default_rng(2)
    values = {
        name: tuple(rng.normal(size=array.shape) for array in arrays)
        for name, arrays in ours.values.items()
    }
    states, before = (
        {
            name: {k: rng.normal(size=v.shape) for k, v in own.items()}
            for name, own in ours.states.items()
        }
        for _ in range(2)
    )
    given = replace(ours, values=values, states=states)
    found = reference.repeat_steps(network, drawn, given, before)

    def sigmoid(z: Any) -> Any:
        return 1 / (1 + np.exp(-z))

    for name, source in (("lstm", network.inputs[0].name), ("lstm_1", "lstm")):
        w, own = drawn[name], before[name]
        z = values[source][0] @ w["Wx"] + own["h"] @ w["Wh"] + w["bh"]
        i, f, c, o = np.split(z, 4, axis=-1)
        c = sigmoid(f) * own["c"] + sigmoid(i) * np.tanh(c)
        for key, expected in (("c", c), ("h", sigmoid(o) * np.tanh(c))):
            np.testing.assert_allclose(found.states[name][key], expected, rtol=0, atol=1e-12)
    kernel, bias = drawn["dense"].values()
    ends = {"lstm_1": states["lstm_1"]["h"]}
    ends["dense"] = ends["lstm_1"] @ kernel + bias
    assert list(found.each) == list(ends)
    for name, end in ends.items():
        np.testing.assert_allclose(found.each[name], [end], rtol=0, atol=1e-12)
    y_hat = values["lstm_1"][0] @ kernel + bias
    np.testing.assert_allclose(found.values["dense"], [y_hat], rtol=0, atol=1e-12)
    assert (found.origins, found.origin_values) == (states, values)


TABLE = {"input_dim": 9, "output_dim": 3, "mask_zero": True}


@pytest.mark.parametrize("words", [False, True])
def test_repeated_layers_have_values_and_masks_of_the_run(words: bool) -> None:
    source = {"batch_shape": (None, 6) if words else (None, 6, 3), "integers": words}
    recurrent = {"units": 4, "return_sequences": True, "return_state": True}
    last = {"units": 5, "zero_output_for_mask": True}
    calls = [
        LayerCall("x", "InputLayer", source),
        LayerCall("masking", *(("Embedding", TABLE) if words else ("Masking", {})), (Tap(0),)),
        LayerCall("lstm", "LSTM", recurrent, (Tap(1),)),
        LayerCall("start", "Dense", {"units": 5}, (Tap(2, 2),)),
        LayerCall("gru", "GRU", last, (Tap(2),), (Tap(3),)),
        LayerCall("dense", "Dense", {"units": 2}, (Tap(4),)),
    ]
    network = assemble(LayerGraph(tuple(calls), (Tap(5),))).with_sizes(N=5)
    network = network.with_dtype("float64")
    rng = np.random.default_rng(3)
    x = rng.integers(0, 3, (5, 6)) if words else rng.normal(size=(5, 6, 3))
    if not words:
        x[1, :2] = x[3, 4:] = 0
    drawn = weights.draw(network, seed=1)
    ours = numpy_run.numpy_outputs(network, drawn, [x])
    repeated = keras_replay.keras_replay(network, drawn, ours, "float64")
    assert list(repeated.masks) == list(ours.masks) == ["masking", "lstm"]
    for name, mask in repeated.masks.items():
        np.testing.assert_array_equal(mask, ours.masks[name])
    for name in ("masking", "start", "dense"):
        found, expected = repeated.values[name], ours.values[name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert list(repeated.each) == ["gru", "dense"]
    for name, arrays in repeated.each.items():
        np.testing.assert_allclose(arrays, ours.each[name], rtol=0, atol=1e-12)


def test_output_of_a_cell_stands_for_its_state(monkeypatch: pytest.MonkeyPatch) -> None:
    def output_otherwise(layer: Any) -> None:
        right = layer.cell.call

        def call(*given: Any, **more: Any) -> Any:
            output, states = right(*given, **more)
            return output * (1 + 1e-12), states

        layer.cell.call = call

    change_layers(monkeypatch, output_otherwise)
    found = failed(from_sizes(cell="lstm", **SEQUENCES))
    assert {f"lstm: {what}, in float64" for what in ("h at every step", "unrolled")} <= set(found)


def test_wrong_shape_and_count_fail(monkeypatch) -> None:
    right = reference.repeat_steps_and_layers

    def examine(*given: Any) -> Any:
        examined = right(*given)
        counts = {**examined.structure.counts, "lstm": 1}
        weights = {**examined.structure.weights, "dense": (("kernel", (4, 7)), ("bias", (6,)))}
        built = type(examined.structure)(weights, counts, 1, examined.structure.backwards)
        return examined._replace(structure=built)

    monkeypatch.setattr(reference, "repeat_steps_and_layers", examine)
    network = from_sizes(cell="lstm", **SEQUENCES)
    assert failed(network) == ["dense/kernel", "lstm parameters", "count_params()"]


@pytest.mark.parametrize(("ratio", "compared"), [(0.0, 0), (np.nan, 5)])
def test_empty_comparison_and_nan_fail(ratio, compared, monkeypatch) -> None:
    right = unrolled.unrolled_residuals

    def unrolled_residuals(*given: Any) -> Any:
        for layer, quantity, residual in right(*given):
            yield layer, quantity, replace(residual, ratio=ratio, compared=compared)

    monkeypatch.setattr(unrolled, "unrolled_residuals", unrolled_residuals)
    assert failed(from_sizes(cell="lstm", **SEQUENCES)) == ["lstm: unrolled, in float64"]
