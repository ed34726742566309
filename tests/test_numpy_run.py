"""A whole run in NumPy, against a loop over its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rnnshapes.forward import scan
from rnnshapes.forward.difference import y_hat_of
from rnnshapes.forward.keras_replay import keras_replay
from rnnshapes.forward.numpy_run import NUMPY, numpy_outputs
from rnnshapes.forward.tracing import trace_network
from rnnshapes.load.inputs import ArrayInput
from rnnshapes.network import weights
from rnnshapes.network.assemble import LayerCall, LayerGraph, assemble
from rnnshapes.network.graph import Network, Tap
from rnnshapes.reference.outputs import STATES, ModelOutputs
from tests.helpers.layer_calls import network

DENSE = "Dense", {"units": 2}


def simple(**options: Any) -> tuple[str, Any]:
    return "SimpleRNN", {"units": 4, "return_sequences": True, **options}


def numbers(*shape: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def drawn(net: Network, **states: np.ndarray) -> dict[str, Any]:
    """Return random weights, and stored states by the name of the recurrence."""
    stored = {STATES + name: {"h": values} for name, values in states.items()}
    return {**weights.draw(net, 3), **stored}


def loop(w: Any, x: np.ndarray, h: np.ndarray, mask: np.ndarray, back: bool) -> np.ndarray:
    """Return h after each step; a step that does not count leaves it alone."""
    states = np.empty((*x.shape[:2], h.shape[-1]))
    for t in range(x.shape[1])[:: -1 if back else 1]:
        after = np.tanh(x[:, t] @ w["Wx"].astype(float) + w["bh"] + h @ w["Wh"].astype(float))
        h = states[:, t] = np.where(mask[:, t, None], after, h)
    return states


def dense(w: Any, h: np.ndarray) -> np.ndarray:
    return h @ w["W"].astype(float) + w["b"]


EVERY_STEP = np.ones((5, 6), bool)


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("stored", [False, True])
def test_batches_start_where_the_one_before_ended(back: bool, stored: bool) -> None:
    """Before the first step that counts, a layer shows zeros, but goes on from its states."""
    layer = simple(stateful=True, go_backwards=back)
    net = network(("Masking", {}), layer, DENSE, batch=2)
    start = numbers(2, 4, seed=6) if stored else np.zeros((2, 4))
    w, x = drawn(net, **({"l2": start} if stored else {})), numbers(4, 6, 3)
    x[0, :2] = x[1, 3] = x[2, 5] = x[3] = 0.0
    found, mask = numpy_outputs(net, w, [x]), (x != 0).any(axis=-1)
    starts, states = [start], []
    for batch in (slice(0, 2), slice(2, 4)):
        states.append(loop(w["l2"], x[batch], starts[-1], mask[batch], back))
        starts.append(states[-1][:, 0 if back else -1])
    order = slice(None, None, -1 if back else 1)
    seen = np.logical_or.accumulate(mask[:, order], axis=1)[:, order, None]
    shown = np.where(seen, np.concatenate(states), 0.0)
    np.testing.assert_allclose(found.states["l2"]["h"], shown, atol=1e-14)
    np.testing.assert_allclose(found.starts["l2"]["h"], np.concatenate(starts[:2]), atol=1e-14)
    np.testing.assert_allclose(found.values["l2"][0], shown[:, order], atol=1e-14)
    np.testing.assert_allclose(found.outputs[0], dense(w["l3"], shown[:, order]), atol=1e-14)
    assert found.engine == NUMPY
    assert list(found.masks) == ["l1", "l2", "l3"]
    np.testing.assert_array_equal(found.masks["l1"], mask)
    np.testing.assert_array_equal(found.masks["l3"], mask)  # which Keras does not turn
    np.testing.assert_array_equal(found.values["l1"][0], x)


@pytest.mark.parametrize("stateful", [(False, False), (True, False), (False, True)])
def test_other_layers_start_anew_in_each_batch(stateful: tuple[bool, ...]) -> None:
    """Those that are not stateful, whatever the layers beside them do."""
    net = network(*(simple(stateful=stays) for stays in stateful), batch=2)
    net = replace(net, declared_sizes=(*net.declared_sizes, ("N", 4)))
    x, zeros = numbers(4, 6, 3).astype("f"), np.zeros((2, 4))
    w, h = drawn(net), x.astype(float)
    found = numpy_outputs(net, w, [x])
    for name, stays in zip(("l1", "l2"), stateful, strict=True):
        first = loop(w[name], h[:2], zeros, EVERY_STEP[:2], False)
        start = first[:, -1] if stays else zeros
        h = np.concatenate([first, loop(w[name], h[2:], start, EVERY_STEP[:2], False)])
        np.testing.assert_allclose(found.states[name]["h"], h, atol=1e-14)
        assert (name in found.starts) == stays
    trace = trace_network(net, w, (ArrayInput(x, "x"),), ("h",))
    np.testing.assert_allclose(trace.output, h, atol=1e-14)


def test_each_step_is_stored_without_return_sequences() -> None:
    net, x = network(simple(return_sequences=False), DENSE), numbers(5, 6, 3)
    w = drawn(net)
    found = numpy_outputs(net, w, [x])
    states = loop(w["l1"], x, np.zeros((5, 4)), EVERY_STEP, False)
    np.testing.assert_allclose(found.states["l1"]["h"], states, atol=1e-14)
    np.testing.assert_allclose(found.values["l1"][0], states[:, -1], atol=1e-14)
    np.testing.assert_allclose(found.each["l1"][0], states, atol=1e-14)
    np.testing.assert_allclose(found.each["l2"][0], dense(w["l2"], states), atol=1e-14)
    np.testing.assert_allclose(found.outputs[0], dense(w["l2"], states[:, -1]), atol=1e-14)
    assert (found.starts, found.masks) == ({}, {})


@pytest.mark.parametrize("stateful", [False, True])
def test_layer_starts_from_the_output_of_another(stateful: bool) -> None:
    """And not from the states that it keeps."""
    initial = {"sources": (Tap(0),), "initial": (Tap(2),)}
    layer = (*simple(stateful=stateful), initial)
    parts = ("GlobalAveragePooling1D", {}), ("Dense", {"units": 4}), layer
    net, x = network(*parts, batch=1 if stateful else None), numbers(5, 6, 3)
    w = drawn(net)
    found = numpy_outputs(net, w, [x])
    start = dense(w["l2"], x.mean(axis=1))
    states = loop(w["l3"], x, start, EVERY_STEP, False)
    np.testing.assert_allclose(found.starts["l3"]["h"], start, atol=1e-14)
    np.testing.assert_allclose(found.outputs[0], states, atol=1e-14)


def test_outputs_of_unsupported_layers_are_those_of_keras() -> None:
    """Each batch takes its own samples of them."""
    own = "Own", {}, {"outputs": ((2, 6, 5), (2, 7))}
    net, x = network(simple(stateful=True), own, DENSE, batch=2), numbers(4, 6, 3)
    given, other = numbers(4, 6, 5, seed=7), numbers(4, 7, seed=8)
    w = drawn(net)
    keras = ModelOutputs(NUMPY, {"l2": (given, other)}, {}, {}, {}, {}, ())
    found = numpy_outputs(net, w, [x], keras)
    for values, expected in zip(found.values["l2"], (given, other), strict=True):
        np.testing.assert_array_equal(values, expected)
    (each,) = found.each["l2"]
    np.testing.assert_array_equal(each, given)
    np.testing.assert_allclose(found.outputs[0], dense(w["l3"], given), atol=1e-14)


def test_words_stay_integers() -> None:
    words = LayerCall("x", "InputLayer", {"batch_shape": (None, 6), "integers": True})
    table = LayerCall("l1", "Embedding", {"input_dim": 7, "output_dim": 3}, (Tap(0),))
    net = assemble(LayerGraph((words, table), (Tap(1),)))
    w, x = drawn(net), np.random.default_rng(4).integers(0, 7, (5, 6))
    found = numpy_outputs(net, w, [x])
    np.testing.assert_array_equal(found.outputs[0], w["l1"]["E"][x])
    np.testing.assert_array_equal(found.values["x"][0], x)
    assert found.values["x"][0].dtype == x.dtype


LAST = simple(return_sequences=False)
TRACED = {
    "every step": (simple(), ("LSTM", {"units": 5, "return_sequences": True}), DENSE),
    "last step": (("GRU", {"units": 5, "return_sequences": True}), LAST, DENSE),
    "backwards": (simple(go_backwards=True), DENSE),
    "masked": (("Masking", {}), LAST, DENSE),
    "no steps": (simple(), ("Flatten", {}), DENSE),
    "images": (simple(), ("Flatten", {}), ("Reshape", {"target_shape": [2, 3, 4]})),
    "other steps": (LAST, ("RepeatVector", {"n": 5}), ("GRU", {"units": 3}), DENSE),
}


@pytest.mark.parametrize("samples", [5, 40])
@pytest.mark.parametrize("name", TRACED)
def test_traces_hold_the_whole_run(name: str, samples: int, monkeypatch: Any) -> None:
    """Whatever steps and samples are computed at once."""
    net, x = network(*TRACED[name]), numbers(samples, 6, 3).astype("f")
    net = replace(net, declared_sizes=(*net.declared_sizes, ("N", samples)))
    x[0, :2] = x[1, 3] = x[2, 5] = 0.0
    w = drawn(net)
    whole = numpy_outputs(net, w, [x])
    monkeypatch.setattr(scan, "LEAST_STEPS", 4)
    for limit in ("BLOCK_BYTES", "SAMPLES_BYTES"):
        monkeypatch.setattr(scan, limit, 1)
    found = trace_network(net, w, (ArrayInput(x, "x"),), ("y", "h"))
    np.testing.assert_allclose(found.output, whole.outputs[0], rtol=1e-12)
    y_hat = y_hat_of(net, whole)
    assert (found.y_hat is None) == (y_hat is None) == (name == "no steps")
    if y_hat is not None:
        np.testing.assert_allclose(found.y_hat, y_hat, rtol=1e-12)
    assert {layer.name for layer in found.layers} == set(whole.states)
    types = {node.name: node.layer.type for node in net.recurrent}
    candidates = {"SimpleRNN": (), "LSTM": ("c",), "GRU": ("h",)}
    for layer in found.layers:
        np.testing.assert_allclose(layer.states["h"], whole.states[layer.name]["h"], rtol=1e-12)
        assert layer.candidates == candidates[types[layer.name]]


def test_bytes_decide_what_is_computed_at_once(monkeypatch: Any) -> None:
    """Steps by the widest layer, samples by all layers at some steps, or at all."""
    sizes = {"every step": (3 + 4 + 2) * 2, "no steps": (3 + 4 + 24 + 2) * 6}
    monkeypatch.setattr(scan, "LEAST_STEPS", 2)
    monkeypatch.setattr(scan, "BLOCK_BYTES", 4 * (40 * 4 * 8) + 7)
    for name, size in sizes.items():
        head = (DENSE,) if name == "every step" else (("Flatten", {}), DENSE)
        net, x = network(simple(), *head), numbers(40, 6, 3).astype("f")
        net = replace(net, declared_sizes=(*net.declared_sizes, ("N", 40)))
        monkeypatch.setattr(scan, "SAMPLES_BYTES", 36 * 8 * size - 1)
        seen: list[Any] = []

        def note(block: scan.Block, batch: slice, seen: list[Any] = seen) -> None:
            seen.append((batch.start, block.start, block.values[0].outputs[0].shape))

        trace_network(net, drawn(net), (ArrayInput(x, "x"),), "y", on_block=note)
        times = [(0, 4), (4, 2)] if name == "every step" else [(0, 6)]
        assert seen == [(n, t, (b, c, 3)) for n, c in ((0, 35), (35, 5)) for t, b in times]


@pytest.mark.parametrize("back", [False, True])
def test_each_step_is_repeated_from_the_state_before(back: bool) -> None:
    """Numbers are rounded to the dtype, but not indices; masked steps repeat the state before."""
    net = network(("Masking", {}), simple(stateful=True, go_backwards=back), DENSE, batch=2)
    start, x = numbers(2, 4, seed=6), numbers(2, 6, 3)
    w = drawn(net, l2=start)
    x[0, 2:4] = x[1, 5] = 0.0
    ours = numpy_outputs(net, w, [x])
    words = {"words": (np.arange(12).reshape(2, 6),), "letters": (np.ones((2, 6), "uint8"),)}
    ours = replace(ours, values={**ours.values, **words})
    mask, seen = (x != 0).any(axis=-1), {}

    def step(dtyped: Network, given: Any, cast: ModelOutputs, before: Any) -> ModelOutputs:
        seen.update(dtype=dtyped.dtype, weights=given, cast=cast, before=before["l2"]["h"])
        return replace(cast, states={"l2": {"h": before["l2"]["h"] + 1}})

    found = keras_replay(net, w, ours, "float32", step)
    states = loop(w["l2"], x, start, mask, back).astype("float32")
    order = range(6)[:: -1 if back else 1]
    expected, repeated, h = np.empty_like(states), np.empty_like(states), start.astype("float32")
    for t in order:
        expected[:, t] = h
        h = states[:, t]
    h = np.zeros((2, 4), "float32")
    for t in order:
        h = repeated[:, t] = np.where(mask[:, t, None], expected[:, t] + 1, h)
    np.testing.assert_allclose(seen["before"], expected, atol=1e-6)
    np.testing.assert_allclose(found.states["l2"]["h"], repeated, atol=1e-6)
    assert (seen["dtype"], seen["weights"]) == ("float32", w)
    dtypes = {name: str(values[0].dtype) for name, values in seen["cast"].values.items()}
    own = {"words": "int64", "letters": "uint8"}
    assert dtypes == {**dict.fromkeys(ours.values, "float32"), **own}
    assert seen["cast"].starts["l2"]["h"].dtype == np.float32
