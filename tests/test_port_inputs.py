"""``verify --against``: x that is rounded or clipped, outputs cut short, layers and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Arrays, Port, explained, mentions, weights_of
from tests.helpers.models import randomized, sequential

Change = Callable[[np.ndarray], np.ndarray]


def from_x(change: Change) -> tuple[np.ndarray, Any]:
    """h (N, T, M) of a port that reads other numbers of x, and what is said of it."""
    golden = rnnshapes.golden(**SIZES, cell="simple", seed=4).arrays
    h = Port("simple").run(weights_of(golden, "simple_rnn"), change(golden["x"]))["h"]
    return h, rnnshapes.verify(**SIZES, cell="simple", seed=4, against={"h": h})


def step_zero(x: np.ndarray) -> np.ndarray:
    return x * (np.arange(x.shape[1]) < x.shape[1] - 1)[:, None]


@pytest.mark.parametrize(
    ("change", "id_", "words"),
    [
        (lambda x: np.trunc(x * 16) / 16, "input.rounded", "multiples of 1/16"),
        (lambda x: np.clip(x, -1, 1), "input.clipped", "[-1, 1]"),
        (lambda x: x - x.mean((0, 1)), "input.normalized", "each feature of x"),
        (step_zero, "input.step_zero", "last step"),
    ],
)
def test_other_numbers_of_x_are_named(change: Change, id_: str, words: str) -> None:
    _, result = from_x(change)
    assert explained(result) == [(id_,)]
    assert mentions(result, words)


@pytest.mark.parametrize("cell", ["simple", "gru"])
@pytest.mark.parametrize(
    ("change", "id_", "words"),
    [
        (lambda x: x[:, 1:], "time.first_omitted", "first"),
        (lambda x: np.delete(x, 4, axis=1), "time.step_omitted", "step 4"),
        (lambda x: x[:, [*range(9), 8]], "time.end_repeated", "last"),
        (lambda x: x[:, [0, *range(9)]], "time.end_repeated", "first"),
        (lambda x: x[:, ::2], "time.strided", "x[:, 0::2]"),
        (lambda x: x[:, 1::2], "time.strided", "x[:, 1::2]"),
        (lambda x: x[:, -3:], "time.window", "last 3"),
        (lambda x: x[:, :5], "time.window", "first 5"),
        (lambda x: np.pad(x, ((0, 0), (0, 3), (0, 0))), "time.padded", "3 steps of zeros after"),
        (lambda x: np.pad(x, ((0, 0), (2, 0), (0, 0))), "time.padded", "2 steps of zeros before"),
    ],
)
def test_another_number_of_steps_is_named(cell: str, change: Change, id_: str, words: str) -> None:
    sizes = {**SIZES, "cell": cell, "seed": 4}
    golden = rnnshapes.golden(**sizes).arrays
    port = Port(cell).run(weights_of(golden, LAYERS[cell]), change(golden["x"]))
    result = rnnshapes.verify(**sizes, against={"y_hat": port["y_hat"][:, -1]})
    assert explained(result) == [(id_,)]
    assert mentions(result, words)


def in_blocks(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port that sets the states to 0 after every 4 of 9 steps."""
    parts = [port.run(weights, x[:, start : start + 4]) for start in (0, 4, 8)]
    return {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}


def with_old_buffers(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port whose steps read the states of t-2."""
    arrays = {}
    for start in (0, 1):
        for key, values in port.run(weights, x[:, start::2]).items():
            shape = (*x.shape[:2], values.shape[2])
            arrays.setdefault(key, np.empty(shape, values.dtype))[:, start::2] = values
    return arrays


def without_first_step(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port whose buffer of states stays 0 at the first step."""
    found = port.run(weights, x[:, 1:])
    return with_output(port, weights, found, lambda h: np.concatenate([h[:, :1] * 0, h], axis=1))


def without_last_step(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port whose buffer of states stays 0 at the last step."""
    found = port.run(weights, x[:, :-1])
    return with_output(port, weights, found, lambda h: np.concatenate([h, h[:, :1] * 0], axis=1))


def with_output(
    port: Port, weights: Arrays, found: Arrays, written: Callable[[np.ndarray], np.ndarray]
) -> Arrays:
    """The states as they are written, with the output of the head for them."""
    states = {key: written(found[key]) for key in ("h", "c") if key in found}
    return {**states, "y_hat": states["h"] @ weights["W"] + weights["b"]}


def after_another_run(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port that keeps the states of an earlier run."""
    twice = port.run(weights, np.concatenate([x, x], axis=1))
    return {key: values[:, x.shape[1] :] for key, values in twice.items()}


def in_windows(port: Port, weights: Arrays, x: np.ndarray) -> Arrays:
    """The arrays of a port that computes each step from the last 3 alone."""
    ends = [port.run(weights, x[:, max(t - 2, 0) : t + 1]) for t in range(x.shape[1])]
    return {key: np.stack([part[key][:, -1] for part in ends], axis=1) for key in ends[0]}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("run", "what", "id_"),
    [
        (in_blocks, "h c", "state.zeroed_in_blocks"),
        (in_blocks, "y_hat", "state.zeroed_in_blocks"),
        (with_old_buffers, "h c", "state.two_before"),
        (with_old_buffers, "y_hat", "state.two_before"),
        (without_first_step, "h c", "time.first_omitted"),
        (without_first_step, "y_hat", "time.first_omitted"),
        (without_last_step, "y_hat", "time.last_omitted"),
        (after_another_run, "y_hat", "state.carried"),
        (in_windows, "h c", "time.window"),
        (in_windows, "y_hat", "time.window"),
    ],
)
def test_states_of_another_step_are_named(
    cell: str, run: Callable[..., Arrays], what: str, id_: str
) -> None:
    sizes = {**SIZES, "cell": cell, "seed": 4}
    golden = rnnshapes.golden(**sizes, return_sequences=True).arrays
    arrays = run(Port(cell), weights_of(golden, LAYERS[cell]), golden["x"])
    port = {key: arrays[key] for key in what.split() if key in arrays}
    result = rnnshapes.verify(**sizes, return_sequences=True, against=port)
    assert explained(result) == [(id_,)]


def test_wrong_first_steps_are_no_windows() -> None:
    """A network that forgets computes its later steps from a few as well."""
    layers = [la.SimpleRNN(4, return_sequences=True, name="rnn"), la.Dense(3, name="head")]
    model = randomized(sequential(*layers, shape=(40, 2)), seed=3)
    kernel, recurrent, *others = model.get_weights()
    model.set_weights([kernel, recurrent * 0.05, *others])
    y_hat = rnnshapes.golden(model, N=3).arrays["y_hat"].astype("f")
    y_hat[:, :3] += np.random.default_rng(0).standard_normal((3, 3, 3)).astype("f")
    assert explained(rnnshapes.verify(model, N=3, against={"y_hat": y_hat})) == []


def test_wrong_numbers_behind_last_block_are_not_explained() -> None:
    sizes: dict[str, Any] = {**SIZES, "cell": "gru", "seed": 4, "return_sequences": True}
    golden = rnnshapes.golden(**sizes).arrays
    arrays = in_blocks(Port("gru"), weights_of(golden, "gru"), golden["x"])
    arrays["y_hat"][:, 8] += np.float32(0.1)
    assert explained(rnnshapes.verify(**sizes, against={"y_hat": arrays["y_hat"]})) == []


def test_states_of_run_over_all_samples_are_named() -> None:
    sizes = {**SIZES, "cell": "gru", "seed": 4}
    golden = rnnshapes.golden(**sizes).arrays
    n, t, d = golden["x"].shape
    samples = np.tile(golden["x"].reshape(1, n * t, d), (1, 2, 1))
    arrays = Port("gru").run(weights_of(golden, "gru"), samples)
    y_hat = arrays["y_hat"][0, n * t :].reshape(n, t, -1)[:, -1]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("state.carried",)]
    assert mentions(result, "earlier run")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda h: np.rint(h * 127) / 127, "rounded to multiples of 1/127"),
        (lambda h: np.floor(h * 128) / 128, "rounded down to multiples of 1/128"),
        (lambda h: np.rint(h * 1000) / 1000, "3 decimals"),
        (lambda h: np.rint(h * 128) / 128, "the states are rounded to multiples of 1/128"),
    ],
)
@pytest.mark.parametrize("what", ["h", "y_hat"])
def test_h_rounded_at_each_step_is_named(function: Change, words: str, what: str) -> None:
    sizes: dict[str, Any] = {**SIZES, "cell": "simple", "seed": 4, "return_sequences": True}
    golden = rnnshapes.golden(**sizes).arrays
    w, h = weights_of(golden, "simple_rnn"), [np.zeros((SIZES["N"], SIZES["M"]))]
    for t in range(SIZES["T"]):
        z = golden["x"][:, t] @ w["kernel"] + h[-1] @ w["recurrent_kernel"] + w["bias"]
        h.append(function(np.tanh(z)))
    states = np.stack(h[1:], axis=1).astype("f")
    port = {"h": states, "y_hat": (states @ w["W"] + w["b"]).astype("f")}
    result = rnnshapes.verify(**sizes, against={what: port[what]})
    assert explained(result) == [("numeric.rounded",)]
    assert mentions(result, words)


@pytest.mark.parametrize(("feature", "factor"), [(0, 2.5), (2, 0.0)])
def test_scaled_feature_of_x_is_located(feature: int, factor: float) -> None:
    factors = np.where(np.arange(SIZES["D"]) == feature, factor, 1).astype("float32")
    _, result = from_x(lambda x: x * factors)
    assert explained(result) == [("input.scaled",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert (where["array"], where["unit"]) == ("x", feature)
    assert mentions(result, f"{factor:g}")


def test_features_of_x_are_scaled_and_shifted_apart() -> None:
    scales, shifts = np.array([2.5, 1, 1, 0.75], "f"), np.array([0, 0.375, 0, -1.5], "f")
    _, result = from_x(lambda x: x * scales + shifts)
    assert explained(result) == [("input.scaled",)]
    assert mentions(result, "2.5 x at index 0", "x + 0.375 at index 1", "0.75 x - 1.5 at index 3")


def test_too_few_numbers_name_no_mistake() -> None:
    sizes = {**SIZES, "cell": "simple", "seed": 4, "N": 1, "K": 1}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "simple_rnn")
    port = Port("simple").run(weights, golden["x"].astype("float16").astype(float))
    result = rnnshapes.verify(**sizes, against={"output": port["y_hat"][:, -1]})
    assert explained(result) == []
    assert result.diagnosis.too_few_numbers
    every_step = rnnshapes.verify(**sizes, against={"h": port["h"]})
    assert explained(every_step) == [("input.rounded",)]


@pytest.mark.parametrize("end", ["number", "step", "sample"])
def test_an_end_that_is_not_written_is_named(end: str) -> None:
    h, _ = from_x(np.array)
    h[{"number": np.s_[-1, -1, -1], "step": np.s_[:, -1], "sample": np.s_[-1]}[end]] = 0
    result = rnnshapes.verify(**SIZES, cell="simple", seed=4, against={"h": h})
    assert explained(result) == [("axes.end_unwritten",)]
    assert mentions(result, f"last {end}")


def test_zeros_at_the_end_explain_no_other_number() -> None:
    h, _ = from_x(np.array)
    h[:, -1] = 0
    h[0, 3, 1] += 0.01
    result = rnnshapes.verify(**SIZES, cell="simple", seed=4, against={"h": h})
    assert explained(result) == []


@pytest.mark.parametrize("function", ["mean", "max"])
def test_pooling_in_place_of_last_step_is_named(function: str) -> None:
    sizes = {**SIZES, "cell": "simple"}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "simple_rnn")
    pooled = getattr(Port("simple").run(weights, golden["x"])["h"], function)(1)
    result = rnnshapes.verify(**sizes, against={"output": pooled @ weights["W"] + weights["b"]})
    assert explained(result) == [("time.pooled",)]


@pytest.mark.parametrize("function", ["mean", "max"])
def test_pooled_outputs_are_named(function: str) -> None:
    layers = [la.GRU(5, name="gru"), la.Dense(4, activation="sigmoid", name="dense")]
    model = randomized(sequential(*layers, shape=(7, 3)))
    x = np.random.default_rng(8).standard_normal((3, 7, 3)).astype("f")
    weights = weights_of(rnnshapes.golden(model, x=x, keras=False).arrays, "gru")
    every = 1 / (1 + np.exp(-Port("gru").run(weights, x)["y_hat"]))
    result = rnnshapes.verify(model, x=x, against={"y_hat": getattr(every, function)(1)})
    assert explained(result) == [("time.pooled",)]


@pytest.mark.parametrize("what", ["h", "y_hat"])
def test_a_step_that_changes_no_state_is_named(what: str) -> None:
    sizes: dict[str, Any] = {**SIZES, "cell": "gru", "seed": 4, "return_sequences": True}
    golden = rnnshapes.golden(**sizes).arrays
    without = np.delete(golden["x"], 4, axis=1)
    arrays = Port("gru").run(weights_of(golden, "gru"), without)
    port = {what: arrays[what][:, [0, 1, 2, 3, 3, 4, 5, 6, 7]]}
    result = rnnshapes.verify(**sizes, against=port)
    assert explained(result) == [("time.step_omitted",)]
    assert result.to_dict()["diagnosis"][0]["where"]["step"] == 4


def test_outputs_in_the_order_of_x_are_named() -> None:
    sizes = {**SIZES, "cell": "simple", "go_backwards": True, "return_sequences": True}
    y_hat = rnnshapes.golden(**sizes, seed=2).arrays["y_hat"].astype("float32")
    result = rnnshapes.verify(**sizes, seed=2, against={"y_hat": y_hat[:, ::-1]})
    assert explained(result) == [("direction.reversed_back",)]


def test_states_in_the_order_of_processing_are_named() -> None:
    sizes = {**SIZES, "cell": "simple", "go_backwards": True, "return_sequences": True}
    h = rnnshapes.golden(**sizes, seed=2).arrays["simple_rnn.h"].astype("float32")
    result = rnnshapes.verify(**sizes, seed=2, against={"h": h[:, ::-1]})
    assert explained(result) == [("direction.reversed_back",)]


def test_ignored_go_backwards_is_named() -> None:
    sizes = {**SIZES, "cell": "simple", "seed": 2}
    h = rnnshapes.golden(**sizes).arrays["simple_rnn.h"].astype("float32")
    result = rnnshapes.verify(**sizes, go_backwards=True, against={"h": h})
    assert mentions(result, "go_backwards is ignored")


@pytest.mark.parametrize("step", [-1, 0])
def test_both_directions_of_one_step_are_named(step: int) -> None:
    sizes = {**SIZES, "cell": "gru", "bidirectional": True}
    golden = rnnshapes.golden(**sizes).arrays
    h = [golden[f"bidirectional/{way}_gru.h"][:, step] for way in ("forward", "backward")]
    output = np.concatenate(h, axis=1) @ golden["dense/kernel"] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"output": output.astype("float32")})
    assert explained(result) == [("direction.last_step",)]


def test_outputs_of_direction_left_at_zero_are_named() -> None:
    sizes = {**SIZES, "cell": "simple", "bidirectional": True}
    golden = rnnshapes.golden(**sizes).arrays
    h = golden["bidirectional/forward_simple_rnn.h"]
    output = h[:, -1] @ golden["dense/kernel"][: h.shape[2]] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"output": output.astype("float32")})
    assert explained(result) == [("direction.missing",)]


def test_omitted_recurrent_layer_is_named() -> None:
    sizes = {**SIZES, "cell": "simple", "M": [5, 5]}
    golden = rnnshapes.golden(**sizes).arrays
    y_hat = Port("simple").run(weights_of(golden, "simple_rnn"), golden["x"])["y_hat"]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("layer.omitted",)]
    assert mentions(result, "simple_rnn_1 is left out")


@pytest.mark.parametrize("what", ["y_hat", "h"])
def test_layers_with_one_buffer_for_states_are_named(what: str) -> None:
    sizes = {**SIZES, "cell": "simple", "M": [5, 5]}
    golden = rnnshapes.golden(**sizes, seed=1).arrays
    layers = [weights_of(golden, name) for name in ("simple_rnn", "simple_rnn_1")]
    h, steps = np.zeros((3, 5), "float32"), []
    for t in range(9):
        value = golden["x"][:, t]
        for w in layers:
            h = value = Port("simple").run(w, value[:, None], start=h)["h"][:, 0]
        steps.append(h)
    last = np.stack(steps, 1)
    y_hat = last @ golden["dense/kernel"] + golden["dense/bias"]
    against = {"simple_rnn_1.h": last} if what == "h" else {"y_hat": y_hat}
    result = rnnshapes.verify(**sizes, seed=1, against=against)
    assert explained(result) == [("stack.shared_states",)]


def test_a_state_activated_in_place_is_named() -> None:
    sizes = {**SIZES, "cell": "lstm"}
    golden = rnnshapes.golden(**sizes).arrays
    port = Port("lstm", squashed_in_place=True).run(weights_of(golden, "lstm"), golden["x"])
    result = rnnshapes.verify(**sizes, against={"y_hat": port["y_hat"]})
    assert explained(result) == [("lstm.c_stored_activated",)]
