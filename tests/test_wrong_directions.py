"""``verify --against``: directions and layers with wrong outputs, weights or states are named.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Arrays, Port, explained, weights_of

#: h of the backward direction, (N, T, M), from the weights of both directions, and x.
Backward = Callable[[Port, Arrays, Arrays, np.ndarray], np.ndarray]


def right(port: Port, forward: Arrays, backward: Arrays, x: np.ndarray) -> np.ndarray:
    return port.run(backward, x[:, ::-1])["h"][:, ::-1]


def late(port: Port, forward: Arrays, backward: Arrays, x: np.ndarray) -> np.ndarray:
    h = right(port, forward, backward, x)
    return np.concatenate([h[:, :1] * 0, h[:, :-1]], axis=1)


def without_first_step(port: Port, forward: Arrays, backward: Arrays, x: np.ndarray) -> np.ndarray:
    h = right(port, forward, backward, x[:, :-1])
    return np.concatenate([h, h[:, :1] * 0], axis=1)


def without_last_step(port: Port, forward: Arrays, backward: Arrays, x: np.ndarray) -> np.ndarray:
    h = right(port, forward, backward, x)
    return np.concatenate([h[:, :1] * 0, h[:, 1:]], axis=1)


BACKWARD: list[tuple[str, Backward]] = [
    ("time.first_omitted", without_first_step),
    ("time.last_omitted", without_last_step),
    ("direction.reversed", lambda port, f, b, x: port.run(b, x)["h"]),
    ("direction.reversed", lambda port, f, b, x: port.run(b, x)["h"][:, ::-1]),
    ("direction.features_reversed", lambda port, f, b, x: port.run(b, x[..., ::-1])["h"]),
    ("direction.features_reversed", lambda port, f, b, x: port.run(b, x[..., ::-1])["h"][:, ::-1]),
    ("direction.missing", lambda port, f, b, x: port.run(f, x)["h"]),
    ("direction.shifted", late),
    (
        "direction.weights_exchanged",
        lambda port, f, b, x: right(port, f, {**b, "bias": f["bias"]}, x),
    ),
]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("id_", "backward"), BACKWARD)
def test_a_wrong_backward_direction_is_named(cell: str, id_: str, backward: Backward) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True, "return_sequences": True, "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    names = [f"bidirectional/{way}_{LAYERS[cell]}" for way in ("forward", "backward")]
    first, second = (weights_of(golden, name, "") for name in names)
    own = {**first, "bias": second["bias"]} if id_ == "direction.weights_exchanged" else first
    h = [Port(cell).run(own, golden["x"])["h"], backward(Port(cell), first, second, golden["x"])]
    y_hat = np.concatenate(h, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    assert explained(rnnshapes.verify(**sizes, against={"y_hat": y_hat})) == [(id_,)]


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
@pytest.mark.parametrize(
    ("id_", "part"), [("time.first_omitted", np.s_[:, 1:]), ("time.last_omitted", np.s_[:, :-1])]
)
def test_omitted_steps_before_last_states_are_named(cell: str, id_: str, part: Any) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True, "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    x, last = golden["x"][part], []
    for way, order in (("forward", 1), ("backward", -1)):
        weights = weights_of(golden, f"bidirectional/{way}_{LAYERS[cell]}", "")
        last.append(Port(cell).run(weights, x[:, ::order])["h"][:, -1])
    y_hat = np.concatenate(last, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    assert explained(rnnshapes.verify(**sizes, against={"output": y_hat})) == [(id_,)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_of_blocks_are_named_in_both_directions(cell: str) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True, "return_sequences": True, "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    x, h = golden["x"], []
    for way, order in (("forward", 1), ("backward", -1)):
        weights = weights_of(golden, f"bidirectional/{way}_{LAYERS[cell]}", "")
        blocks = (x[:, ::order][:, t : t + 3] for t in range(0, x.shape[1], 3))
        states = np.concatenate([Port(cell).run(weights, block)["h"] for block in blocks], axis=1)
        h.append(states[:, ::order])
    y_hat = np.concatenate(h, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("state.zeroed_in_blocks",)]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_alternating_units_of_both_directions_are_named(cell: str) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True, "return_sequences": True, "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    sides = []
    for way, order in (("forward", 1), ("backward", -1)):
        weights = weights_of(golden, f"bidirectional/{way}_{LAYERS[cell]}", "")
        found = Port(cell).run(weights, golden["x"][:, ::order])
        sides.append({key: found[key][:, ::order] for key in "hc" if key in found})
    port = {
        key: np.stack([side[key] for side in sides], axis=-1).reshape(*a.shape[:2], -1)
        for key, a in sides[0].items()
    }
    assert explained(rnnshapes.verify(**sizes, against=port)) == [("merge.mode",)]


def run_samples(port: Port, weights: Arrays, x: np.ndarray, keys: str) -> Arrays:
    """Run a port whose samples start from the final states of the sample before, by name."""
    found: list[Arrays] = []
    for one in x:
        last = {key: found[-1][key][:, -1] if found else None for key in keys}
        found.append(port.run(weights, one[None], start=last.get("h"), start_c=last.get("c")))
    return {key: np.concatenate([arrays[key] for arrays in found]) for key in found[0]}


@pytest.mark.parametrize(("cell", "keys"), [("lstm", "c"), ("lstm", "hc"), ("gru", "h")])
def test_states_carried_in_both_directions_are_named(cell: str, keys: str) -> None:
    sizes = {**SIZES, "cell": cell, "bidirectional": True, "return_sequences": True, "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    names = [f"bidirectional/{way}_{LAYERS[cell]}" for way in ("forward", "backward")]
    x, h = golden["x"], []
    for name, order in zip(names, (1, -1), strict=True):
        weights = weights_of(golden, name, "")
        h.append(run_samples(Port(cell), weights, x[:, ::order], keys)["h"][:, ::order])
    y_hat = np.concatenate(h, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    assert explained(rnnshapes.verify(**sizes, against={"y_hat": y_hat})) == [("state.carried",)]


@pytest.mark.parametrize("samples", [2, 3])
def test_carried_states_with_noise_are_searched(samples: int) -> None:
    sizes: dict[str, Any] = {"N": samples, "T": 4, "D": 3, "M": 4, "K": 2, "cell": "lstm"}
    golden = rnnshapes.golden(**sizes, seed=5).arrays
    found = run_samples(Port("lstm"), weights_of(golden, "lstm"), golden["x"], "h")["y_hat"][:, -1]
    noise = np.random.default_rng(0).normal(0, 0.01 * np.abs(found).max(), found.shape)
    result = rnnshapes.verify(**sizes, seed=5, against={"y_hat": (found + noise).astype("f")})
    assert explained(result) == []


@pytest.mark.parametrize("what", ["h", "y_hat"])
def test_states_carried_in_one_layer_are_named(what: str) -> None:
    sizes: dict[str, Any] = {**SIZES, "cell": "gru", "M": [5, 6], "seed": 3}
    sizes["return_sequences"] = True
    golden = rnnshapes.golden(**sizes).arrays
    first = Port("gru").run(weights_of(golden, "gru", ""), golden["x"])["h"]
    second = run_samples(Port("gru"), weights_of(golden, "gru_1", ""), first, "h")["h"]
    y_hat = second @ golden["dense/kernel"] + golden["dense/bias"]
    port = {"h": {"gru.h": first, "gru_1.h": second}, "y_hat": {"y_hat": y_hat}}[what]
    result = rnnshapes.verify(**sizes, against=port)
    assert explained(result) == [("state.carried",)]


def test_quantized_weights_of_one_layer_are_named() -> None:
    sizes = {**SIZES, "cell": "lstm", "M": [5, 6], "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    first, second = (weights_of(golden, name, "") for name in ("lstm", "lstm_1"))
    for name in ("kernel", "recurrent_kernel"):
        scale = np.abs(second[name]).max() / 127
        second[name] = (np.rint(second[name] / scale) * scale).astype("f")
    h = Port("lstm").run(second, Port("lstm").run(first, golden["x"])["h"])["h"]
    y_hat = h[:, -1] @ golden["dense/kernel"] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("weights.quantized",)]
    assert result.diagnosis.explanations[0].mistakes[0].where.layer == "lstm_1"


def test_exchanged_biases_of_two_layers_are_named() -> None:
    sizes = {**SIZES, "cell": "lstm", "M": [5, 5], "seed": 3}
    golden = rnnshapes.golden(**sizes).arrays
    first, second = (weights_of(golden, name, "") for name in ("lstm", "lstm_1"))
    h = Port("lstm").run({**first, "bias": second["bias"]}, golden["x"])["h"]
    h = Port("lstm").run({**second, "bias": first["bias"]}, h)["h"]
    y_hat = h[:, -1] @ golden["dense/kernel"] + golden["dense/bias"]
    result = rnnshapes.verify(**sizes, against={"y_hat": y_hat})
    assert explained(result) == [("stack.layers_swapped",)]
    assert result.diagnosis.explanations[0].mistakes[0].where.array == "bias"
