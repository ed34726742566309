"""``verify --against``: x that is rounded or clipped, outputs cut short, layers and states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import SIZES, Port, explained, mentions, weights_of

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
def test_pooling_in_place_of_the_last_step_is_named(function: str) -> None:
    sizes = {**SIZES, "cell": "simple"}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "simple_rnn")
    pooled = getattr(Port("simple").run(weights, golden["x"])["h"], function)(1)
    result = rnnshapes.verify(**sizes, against={"output": pooled @ weights["W"] + weights["b"]})
    assert explained(result) == [("time.pooled",)]


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


def test_outputs_of_a_direction_left_at_zero_are_named() -> None:
    sizes = {**SIZES, "cell": "simple", "bidirectional": True}
    golden = rnnshapes.golden(**sizes).arrays
    h = golden["bidirectional/forward_simple_rnn.h"]
    output = h[:, -1] @ golden["dense/kernel"][: h.shape[2]] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"output": output.astype("float32")})
    assert explained(result) == [("direction.missing",)]


def test_a_recurrent_layer_that_is_left_out_is_named() -> None:
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
