"""``verify --against``: right ports pass, wrong numbers fail where they are, and the command.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnshapes
from tests.helpers.handmade import (
    ALL,
    GIVEN,
    LAYERS,
    SIZES,
    Port,
    explained,
    given,
    mentions,
    ported,
    scale_weights,
    weights_of,
)

# --- What no convention explains ----------------------------------------------------------------


@pytest.mark.parametrize(("cell", "what"), [("simple", "h"), ("simple", "last")])
def test_noise_is_explained_by_nothing(cell: str, what: str) -> None:
    """What was tried is counted, and the nearest named."""
    rng = np.random.default_rng(3)
    found = given(ported(Port(cell)), what)
    port = {key: rng.standard_normal(a.shape).astype("f") for key, a in found.items()}
    result = rnnshapes.verify(**SIZES, cell=cell, against=port)
    assert explained(result) == []
    assert result.diagnosis.tried > 200
    assert 0.5 < result.diagnosis.max_abs < 10
    assert result.checks[0].first.t == (8 if what == "last" else 0)


@pytest.mark.parametrize(
    ("cell", "what", "error"),
    [
        *(("simple", what, 1e-4) for what in ("y_hat", "last")),
        *(("lstm", "states", 1e-4), ("gru", "h", 0.3)),
    ],
)
def test_a_single_wrong_number_is_located(cell: str, what: str, error: float) -> None:
    """It alone differs, but for a state, with the step after it; the network itself is nearest."""
    port = given(ported(Port(cell), seed=2), what)
    key = list(port)[-1]
    at = (2, 1) if what == "last" else (2, 6, 1)
    port[key][at] += np.float32(error)
    result = rnnshapes.verify(**SIZES, cell=cell, seed=2, against=port)
    assert explained(result) == []
    check = result.checks[-1]
    assert (check.first.sample, check.first.t, check.first.unit) == (
        2,
        8 if what == "last" else 6,
        1,
    )
    assert check.first_values[0] == pytest.approx(check.first_values[1] + error, rel=1e-3)
    if what in ("y_hat", "last"):
        assert check.differing == 1
        assert result.diagnosis.nearest == ()
        assert result.diagnosis.max_abs == pytest.approx(error, rel=1e-2)


@pytest.mark.parametrize(
    ("cell", "what", "key"),
    [
        *(("simple", "last", key) for key in ("kernel", "recurrent_kernel", "bias")),
        ("gru", "h", "recurrent_kernel"),
    ],
)
def test_a_tiny_error_in_one_weight_fails(cell: str, what: str, key: str) -> None:
    """One part in a thousand of the largest number; no coarser format is named for it."""
    golden = rnnshapes.golden(**SIZES, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    weights[key] = np.array(weights[key])
    weights[key].flat[np.argmax(np.abs(weights[key]))] *= np.float32(1.001)
    port = given(Port(cell).run(weights, golden["x"]), what)
    result = rnnshapes.verify(**SIZES, cell=cell, against=port)
    assert explained(result) == [("weights.one_wrong",)]
    assert all(check.max_abs < 1e-2 for check in result.checks)


def test_a_millionth_in_a_weight_fails_in_float64() -> None:
    """Float32 may hide it, which the diagnosis says. Numbers of float32 do not pass either."""
    golden = rnnshapes.golden(**SIZES).arrays
    weights = weights_of(golden, LAYERS["simple"])
    right = Port("simple", dtype="float64").run(weights, golden["x"])["y_hat"]
    assert rnnshapes.verify(**SIZES, against=right).passed
    wrong = {**weights, "recurrent_kernel": weights["recurrent_kernel"] * 1.000001}
    wrong["recurrent_kernel"] = wrong["recurrent_kernel"].astype("float64")
    port = Port("simple", dtype="float64").run(wrong, golden["x"])["y_hat"]
    assert explained(rnnshapes.verify(**SIZES, against=port)) in (
        [],
        [("numeric.float32",)],
    )
    assert explained(rnnshapes.verify(**SIZES, against=port, dtype="float64")) == []
    rough = ported(Port("simple"))["y_hat"]
    result = rnnshapes.verify(**SIZES, against=rough, dtype="float64")
    assert explained(result) == [("numeric.float32",)]


# --- What is right ------------------------------------------------------------------------------

RIGHT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    *(({"cell": cell}, {}) for cell in ALL),
    *(({"cell": cell, "use_bias": False}, {}) for cell in ALL),
    ({"cell": "gru", "reset_after": False}, {"reset_after": False}),
    ({"cell": "simple", "activation": "relu"}, {"activation": "relu"}),
    (
        {"cell": "lstm", "recurrent_activation": "hard_sigmoid"},
        {"recurrent_activation": "hard_sigmoid"},
    ),
]
#: The cells without options.
PLAIN = RIGHT[: len(ALL)]


@pytest.mark.parametrize(
    ("sizes", "options", "dtype"),
    [
        *((sizes, options, "float32") for sizes, options in RIGHT),
        *((sizes, options, dtype) for dtype in ("float16", "float64") for sizes, options in PLAIN),
    ],
    ids=str,
)
def test_a_right_port_passes(sizes: Any, options: Any, dtype: str) -> None:
    """Every number is compared, in each precision."""
    golden = rnnshapes.golden(**SIZES, **sizes, seed=4).arrays
    cell = sizes["cell"]
    found = Port(cell, dtype=dtype, **options).run(weights_of(golden, LAYERS[cell]), golden["x"])
    for what in GIVEN:
        port = given(found, what)
        result = rnnshapes.verify(**SIZES, **sizes, seed=4, against=port)
        assert result.passed, result
        assert result.dtype == dtype
        assert sum(c.compared for c in result.checks) == sum(a.size for a in port.values())
        assert all(
            check.proven == (what == "states" or (what == "h" and cell != "lstm"))
            for check in result.checks
        )


@pytest.mark.parametrize("cell", ALL)
def test_directions_and_stacks_pass(cell: str) -> None:
    """States by their whole names, y_hat at every step, and what the model answers."""
    layer, backwards = LAYERS[cell], Port(cell, reverse=True, turned_back=True)
    sizes = {**SIZES, "cell": cell, "seed": 3}
    golden = rnnshapes.golden(**sizes, go_backwards=True).arrays
    found = backwards.run(weights_of(golden, layer), golden["x"])
    port = {"h": found["h"], "y_hat": found["y_hat"], "output": found["y_hat"][:, 0]}
    for part in (port, {"": port["output"]}):
        assert rnnshapes.verify(**sizes, go_backwards=True, against=part).passed
    if cell == "simple":
        wrong = rnnshapes.verify(**sizes, go_backwards=True, against=found["y_hat"][:, -1])
        assert not wrong.passed

    golden = rnnshapes.golden(**sizes, bidirectional=True).arrays
    names = [f"bidirectional/{side}_{layer}" for side in ("forward", "backward")]
    ends = [
        port.run(weights_of(golden, name, ""), golden["x"])
        for port, name in zip((Port(cell), backwards), names, strict=True)
    ]
    y_hat = np.concatenate([end["h"] for end in ends], axis=-1) @ golden["dense/kernel"]
    output = (
        np.concatenate([ends[0]["h"][:, -1], ends[1]["h"][:, 0]], axis=-1) @ golden["dense/kernel"]
    )
    port = {f"{name}.{key}": end[key] for name, end in zip(names, ends, strict=True) for key in end}
    port |= {"y_hat": y_hat + golden["dense/bias"]}
    for part in (port, {"output": output + golden["dense/bias"]}):
        assert rnnshapes.verify(**sizes, bidirectional=True, against=part).passed

    sizes["M"] = [5, 6]
    golden = rnnshapes.golden(**sizes).arrays
    first = Port(cell).run(weights_of(golden, layer, ""), golden["x"])
    second = Port(cell).run(weights_of(golden, f"{layer}_1"), first["h"])
    port = {f"{layer}.h": first["h"], "h": second["h"], "y_hat": second["y_hat"]}
    result = rnnshapes.verify(**sizes, against=port)
    assert result.passed
    assert [c.quantity for c in result.checks][1] == f"{layer}_1: h at every step"
    wrong = Port(cell, bias=0).run(weights_of(golden, layer, ""), golden["x"])
    wrong = Port(cell, bias=0).run(weights_of(golden, f"{layer}_1"), wrong["h"])
    assert explained(rnnshapes.verify(**sizes, against=wrong["y_hat"])) == [("bias.omitted",)]


@pytest.mark.parametrize("cell", ALL)
def test_chaotic_ports_are_compared_step_by_step(cell: str, monkeypatch) -> None:
    """Numbers of y_hat alone that rounding may change too much are left out and counted."""
    scale_weights(monkeypatch, LAYERS[cell], "Wh", 6)
    sizes = {"N": 2, "T": 100, "D": 4, "M": 16, "K": 3}
    golden = rnnshapes.golden(**sizes, cell=cell, seed=3).arrays
    found = Port(cell).run(weights_of(golden, LAYERS[cell]), golden["x"])
    for what in ("y_hat", "states"):
        result = rnnshapes.verify(**sizes, cell=cell, seed=3, against=given(found, what))
        assert result.passed == (what == "states" or cell != "simple"), result
        assert what == "y_hat" or sum(check.left_out for check in result.checks) == 0
    if cell != "simple":
        return
    result = rnnshapes.verify(**sizes, seed=3, against=given(found, "y_hat"))
    verdict = repr(result).splitlines()[0]
    assert verdict.startswith("FAILED")
    assert f"{result.checks[0].compared:,} of " in verdict
    found["y_hat"][1, 99, 2] = 1e6
    assert not rnnshapes.verify(**sizes, seed=3, against=found["y_hat"]).passed
    result = rnnshapes.verify(**sizes, seed=3, against=given(found, "last"))
    assert result.checks[0].left_out > 0
    found["h"][1, 75, 3] += np.float32(1e-4)
    result = rnnshapes.verify(**sizes, seed=3, against=given(found, "states"))
    assert result.checks[0].first == rnnshapes.forward.difference.Index(1, 75, 3)


def test_numbers_left_out_fail_if_far_off(monkeypatch) -> None:
    """Rounding may change them, but not by a million."""
    scale_weights(monkeypatch, "simple_rnn", "Wh", 6)
    sizes = {"N": 2, "T": 40, "D": 4, "M": 16, "K": 3}
    golden = rnnshapes.golden(**sizes, seed=3).arrays
    y_hat = Port("simple").run(weights_of(golden, "simple_rnn"), golden["x"])["y_hat"]
    result = rnnshapes.verify(**sizes, seed=3, against=y_hat)
    assert result.passed
    assert result.checks[0].left_out > 0
    y_hat[1, 39, 2] = 1e6
    assert not rnnshapes.verify(**sizes, seed=3, against=y_hat).passed


@pytest.mark.parametrize("bias", [6, 14])
def test_saturated_gates_do_not_fail_right_ports(bias: int, monkeypatch) -> None:
    """The rounding of each step stays in the state, and perturbed weights do not show it."""
    draw = rnnshapes.network.weights.draw

    def holding(network: Any, seed: int) -> Any:
        found = {name: dict(arrays) for name, arrays in draw(network, seed).items()}
        found["gru"]["bh"] = found["gru"]["bh"] + np.float32(bias) * (np.arange(24) < 8)
        return {**found, "gru": {k: a.astype("float32") for k, a in found["gru"].items()}}

    monkeypatch.setattr("rnnshapes.network.weights.draw", holding)
    sizes = {"N": 2, "T": 500, "D": 4, "M": 8, "K": 3, "cell": "gru"}
    golden = rnnshapes.golden(**sizes).arrays
    port = Port("gru").run(weights_of(golden, "gru"), golden["x"])["y_hat"]
    result = rnnshapes.verify(**sizes, against=port)
    assert result.passed, result
    assert result.checks[0].left_out == 0


def test_pytorch_agrees_by_its_documented_order_and_biases() -> None:
    """torch.nn.LSTM and GRU with Keras's weights, the gates put in PyTorch's order."""
    torch = pytest.importorskip("torch")
    for cell, order, kind in (
        ("lstm", (0, 1, 2, 3), torch.nn.LSTM),
        ("gru", (1, 0, 2), torch.nn.GRU),
    ):
        golden = rnnshapes.golden(**SIZES, cell=cell).arrays
        layer = kind(4, 5, batch_first=True)

        def turned(values: np.ndarray, order: tuple[int, ...] = order) -> Any:
            parts = np.split(values, len(order), axis=-1)
            return torch.from_numpy(np.concatenate([parts[i] for i in order], axis=-1).T.copy())

        bias = golden[f"{cell}/bias"]
        rows = bias if bias.ndim > 1 else np.stack([bias, 0 * bias])
        with torch.no_grad():
            layer.weight_ih_l0.copy_(turned(golden[f"{cell}/kernel"]))
            layer.weight_hh_l0.copy_(turned(golden[f"{cell}/recurrent_kernel"]))
            layer.bias_ih_l0.copy_(turned(rows[0]))
            layer.bias_hh_l0.copy_(turned(rows[1]))
            h, _ = layer(torch.from_numpy(np.array(golden["x"])))
        assert rnnshapes.verify(**SIZES, cell=cell, against={"h": h.numpy()}).passed


# --- What a review has found --------------------------------------------------------------------


def test_every_array_of_a_known_name_is_compared() -> None:
    """The output, too, beside y_hat or h; an unknown name is an error, unless it is ignored."""
    sizes = {"N": 2, "T": 5}
    golden = rnnshapes.golden(**sizes).arrays
    good = {"simple_rnn.h": golden["simple_rnn.h"]}
    for wrong in ("y_hat", "output"):
        result = rnnshapes.verify(**sizes, against={**good, wrong: golden[wrong] + 100})
        assert not result.passed
    misspelt = {**good, "y_hatt": golden["y_hat"]}
    with pytest.raises(
        rnnshapes.InputError, match=r"'y_hatt' \(did you mean 'y_hat'\?\).*--ignore"
    ):
        rnnshapes.verify(**sizes, against=misspelt)
    assert rnnshapes.verify(**sizes, against=golden).passed
    result = rnnshapes.verify(**sizes, against=misspelt, ignore=["y_hatt"])
    assert result.passed
    assert result.unknown_arrays == ("y_hatt",)
    assert "y_hatt" in repr(result)
    assert result.to_dict()["unjudged"] == ("y_hatt",)


def test_x_that_is_no_number_is_refused() -> None:
    """Nothing that is computed from it can be judged."""
    x = np.ones((2, 4, 3))
    x[1, 2, 0] = np.nan
    with pytest.raises(rnnshapes.InputError, match="NaN or infinite"):
        rnnshapes.verify(x=x, against=np.ones((2, 4, 2)))


@pytest.mark.parametrize("how", [{"bidirectional": True}, {"go_backwards": True}])
def test_the_last_step_of_a_reversed_sequence_passes(how: Any) -> None:
    """Its first step fails."""
    sizes = {"N": 2, "T": 4, "return_sequences": True, **how}
    y_hat = rnnshapes.golden(**sizes).arrays["y_hat"]
    assert rnnshapes.verify(**sizes, against=y_hat[:, -1]).passed
    assert not rnnshapes.verify(**sizes, against=y_hat[:, 0]).passed


def test_a_short_format_of_the_model_explains() -> None:
    """The output of Keras itself agrees only with its dtype."""
    import keras

    from tests.helpers.models import randomized, sequential

    layers = (keras.layers.SimpleRNN(6, dtype="mixed_float16"), keras.layers.Dense(2))
    model = randomized(sequential(*layers, shape=(7, 3)))
    x = np.random.default_rng(0).standard_normal((3, 7, 3)).astype("float32")
    output = np.asarray(model(x))
    result = rnnshapes.verify(model, x=x, against=output)
    assert not result.passed
    assert explained(result) == [("numeric.float16",)]
    assert mentions(result, "--dtype float16")
    assert rnnshapes.verify(model, x=x, against=output, dtype="float16").passed
