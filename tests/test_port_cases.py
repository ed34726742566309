"""``verify --against``: last states alone, GRUs of every form, large numbers, and two samples.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rnnshapes
from rnnshapes.network.from_sizes import from_sizes
from tests.helpers.handmade import (
    ALL,
    LAYERS,
    SIZES,
    Port,
    explained,
    mentions,
    ported,
    scale_weights,
    weights_of,
)

ONNX_ORDER = ("i", "o", "f", "c")

# --- The last state alone, (N, M) ---------------------------------------------------------------


def last_states(found: dict[str, np.ndarray], step: int = -1) -> dict[str, np.ndarray]:
    """h, and c of an LSTM, at one step."""
    return {key: found[key][:, step] for key in ("h", "c") if key in found}


@pytest.mark.parametrize("cell", ALL)
def test_last_states_pass_and_wrong_ones_fail(cell: str) -> None:
    """h needs no name."""
    sizes = {**SIZES, "cell": cell}
    port = last_states(ported(Port(cell)))
    full = {f"{LAYERS[cell]}.{key}": values for key, values in port.items()}
    for right in (port, full, {"": port["h"]}):
        result = rnnshapes.verify(**sizes, against=right)
        assert result.passed, result
        assert sum(check.compared for check in result.checks) == 15 * len(right)
        assert {check.index.t for check in result.checks} == {8}
    if cell == "gru":
        return
    key = list(port)[-1]
    wrong = {**port, key: port[key] + np.float32(1e-4) * (np.arange(5) == 3)}
    result = rnnshapes.verify(**sizes, against=wrong)
    assert explained(result) == []
    first = result.checks[-1].first
    assert (first.sample, first.t, first.unit) == (0, 8, 3)
    assert result.checks[-1].differing == 3


@pytest.mark.parametrize("cell", ALL)
def test_an_earlier_state_is_not_the_last(cell: str) -> None:
    """The first one, and the one before the last, which is explained."""
    found = ported(Port(cell))
    for step, id_ in ((0, "time.first_only"), (-2, "time.last_omitted")):
        result = rnnshapes.verify(**SIZES, cell=cell, against=last_states(found, step))
        assert explained(result) == [(id_,)]


@pytest.mark.parametrize(
    ("cell", "options", "id_"),
    [
        ("lstm", {"order": ONNX_ORDER}, "gates.order"),
        ("lstm", {"more_forget": 1}, "bias.forget_again"),
        ("gru", {"z_is_new": True}, "gru.z_complement"),
        ("gru", {"carried": True}, "state.carried"),
        ("simple", {"bias": 0}, "bias.omitted"),
        ("simple", {"over_samples": True}, "axes.loop_over_samples"),
    ],
)
def test_a_mistake_is_named_from_last_states(cell: str, options: Any, id_: str) -> None:
    port = last_states(ported(Port(cell, **options), seed=1))
    assert explained(rnnshapes.verify(**SIZES, cell=cell, seed=1, against=port)) == [(id_,)]


@pytest.mark.parametrize("cell", ["simple", "lstm"])
def test_a_reversed_layer_ends_at_step_0(cell: str) -> None:
    """Its last state is the one at t = 0, and no other passes."""
    sizes = {**SIZES, "cell": cell, "go_backwards": True}
    golden = rnnshapes.golden(**sizes).arrays
    port = Port(cell, reverse=True, turned_back=True)
    found = port.run(weights_of(golden, LAYERS[cell]), golden["x"])
    result = rnnshapes.verify(**sizes, against=last_states(found, 0))
    assert result.passed, result
    assert {check.index.t for check in result.checks} == {0}
    if cell == "simple":
        assert not rnnshapes.verify(**sizes, against=last_states(found, -1)).passed


@pytest.mark.parametrize("cell", ["simple", "lstm"])
def test_last_states_of_both_directions_pass(cell: str) -> None:
    """The last state of the backward layer is that at t = 0."""
    sizes = {**SIZES, "cell": cell, "bidirectional": True}
    golden = rnnshapes.golden(**sizes).arrays
    ports = {"forward": (Port(cell), -1), "backward": (Port(cell, reverse=True), -1)}
    right, wrong = {}, {}
    for side, (port, step) in ports.items():
        name = f"bidirectional/{side}_{LAYERS[cell]}"
        found = port.run(weights_of(golden, name, ""), golden["x"])
        right |= {f"{name}.{k}": v for k, v in last_states(found, step).items()}
        wrong |= {f"{name}.{k}": v for k, v in last_states(found, 0).items()}
    result = rnnshapes.verify(**sizes, against=right)
    assert result.passed, result
    assert [check.index.t for check in result.checks if check.quantity.endswith("step")]
    if cell == "simple":
        failed = rnnshapes.verify(**sizes, against=wrong)
        assert not any(check.passed for check in failed.checks)


# --- GRUs without a bias, and with reset_after=False ---------------------------------------------

GRUS = {
    "no bias": {"use_bias": False},
    "reset before": {"reset_after": False},
    "reset before, no bias": {"reset_after": False, "use_bias": False},
}
RESET = {"reset before": "gru.reset_after", "reset before, no bias": "gru.reset_after"}


@pytest.mark.parametrize("form", GRUS)
def test_a_gru_lists_only_mistakes_it_can_have(form: str) -> None:
    """Without two rows of bias there is no row to leave out."""
    cell = from_sizes(cell="gru", **GRUS[form]).layers[0].directions[0].cell
    ids = {"gru.z_complement", RESET.get(form, "gru.reset_before")}
    ids |= {"gru.gate_omitted", "gru.r_complement", "gru.complement_omitted", "gru.reset_of_input"}
    ids |= {"gru.state_omitted", "gru.z_omitted", "gru.candidate_without_h", "gru.output_activated"}
    ids |= {"gru.reset_of_candidate"}
    assert {variant.id for variant in cell.variants} == ids


@pytest.mark.parametrize(("form", "what"), [*zip(GRUS, ("h", "y_hat", "last"), strict=True)])
def test_every_form_of_gru_is_diagnosed(form: str, what: str) -> None:
    """A right port passes, and each mistake that the form allows is named."""
    options, sizes = GRUS[form], {**SIZES, "cell": "gru", **GRUS[form], "seed": 2}
    golden = rnnshapes.golden(**sizes).arrays
    weights, reset_after = weights_of(golden, "gru"), options.get("reset_after", True)

    def explanations(**mistake: Any) -> Any:
        port = Port("gru", **{"reset_after": reset_after, **mistake})
        found = port.run(weights, golden["x"])
        against = {"y_hat": found["y_hat"][:, -1]} if what == "last" else {what: found[what]}
        result = rnnshapes.verify(**sizes, against=against)
        return None if result.passed else explained(result)

    assert explanations() is None
    reset = RESET.get(form, "gru.reset_before")
    assert explanations(reset_after=not reset_after) == [(reset,)]
    assert explanations(z_is_new=True) == [("gru.z_complement",)]
    assert explanations(order=("r", "z", "h")) == [("gates.order",)]
    assert explanations(activation="relu") == [("activation.other",)]
    if form == "reset before":
        assert explanations(bias=0) == [("bias.omitted",)]
        assert explanations(bias=2) == [("bias.twice",)]


# --- Numbers far from 1 -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "last", "dtype", "factor"),
    [
        ("simple", True, "float64", 1e5),
        ("simple", True, "float32", 1e-5),
        ("simple", False, "float32", 1e9),
    ],
)
def test_numbers_far_from_1_are_compared(
    cell: str, last: bool, dtype: str, factor: float, monkeypatch: Any
) -> None:
    """Right ones pass, one that is wrong by a ten-thousandth fails, and a mistake is named."""
    scale_weights(monkeypatch, "dense", "W b", factor)
    sizes = {**SIZES, "cell": cell, "seed": 5}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, LAYERS[cell])

    def y_hat(**mistake: Any) -> np.ndarray:
        found = Port(cell, dtype=dtype, **mistake).run(weights, golden["x"])["y_hat"]
        return found[:, -1:] if last else found

    def verified(port: np.ndarray) -> Any:
        return rnnshapes.verify(**sizes, against=port[:, 0] if last else port)

    right = y_hat()
    assert np.abs(right).max() > 1e4 or factor < 1
    result = verified(right)
    assert result.passed, result
    assert result.checks[0].compared == right.size
    wrong = right.copy()
    wrong[1, -1, 1] *= 1.0001
    result = verified(wrong)
    assert explained(result) == []
    assert result.checks[0].differing == 1
    assert explained(verified(y_hat(bias=0))) == [("bias.omitted",)]
    assert explained(verified(y_hat(late=1))) == [("time.shifted",)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_far_from_1_are_compared_by_step(dtype: str, monkeypatch: Any) -> None:
    """States of 2e4, which relu lets grow."""
    scale_weights(monkeypatch, "simple_rnn", "Wx", 2e4)
    sizes = {**SIZES, "activation": "relu", "seed": 1}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "simple_rnn")
    right = Port("simple", dtype=dtype, activation="relu")
    h = right.run(weights, golden["x"])["h"]
    assert np.abs(h).max() > 2e4
    result = rnnshapes.verify(**sizes, against={"h": h})
    assert result.passed, result
    assert result.checks[0].proven
    wrong = h.copy()
    at = tuple(int(i) for i in np.unravel_index(np.argmax(h), h.shape))
    wrong[at] *= 1.0001
    result = rnnshapes.verify(**sizes, against={"h": wrong})
    assert explained(result) == []
    first = result.checks[0].first
    assert (first.sample, first.t, first.unit) == at
    linear = Port("simple", dtype=dtype, activation="linear")
    wrong = linear.run(weights, golden["x"])["h"]
    assert explained(rnnshapes.verify(**sizes, against={"h": wrong})) == [("activation.other",)]


# --- Two samples --------------------------------------------------------------------------------

TWO_SAMPLES = {
    "axes.input_swapped": {"misread_axes": True},
    "axes.loop_over_samples": {"over_samples": True},
    "state.carried": {"carried": True},
}


@pytest.mark.parametrize(("cell", "t"), [("simple", 2), ("gru", 2), ("simple", 9), ("lstm", 9)])
def test_two_samples_are_not_taken_for_time(cell: str, t: int) -> None:
    """(T, N, K) for (N, T, K), x read as (T, N, D), a loop over samples, and a state carried."""
    sizes = {"N": 2, "T": t, "D": 4, "M": 5, "K": 3}
    verify = {**sizes, "cell": cell}
    right = ported(Port(cell), **sizes)
    assert rnnshapes.verify(**verify, against=right["y_hat"]).passed
    result = rnnshapes.verify(**verify, against=right["y_hat"].swapaxes(0, 1))
    assert explained(result) == [("axes.output_swapped",)]
    assert result.axes_swapped == (t != 2)
    for id_, mistake in TWO_SAMPLES.items():
        port = ported(Port(cell, **mistake), **sizes)
        for against in ({"y_hat": port["y_hat"]}, {"h": port["h"]}):
            assert explained(rnnshapes.verify(**verify, against=against)) == [(id_,)]


def test_two_samples_swapped_mention_their_shapes() -> None:
    """Where the shape shows it, both shapes are named."""
    sizes = {"N": 2, "T": 9, "D": 4, "M": 5, "K": 3}
    y_hat = ported(Port("gru"), **sizes)["y_hat"].swapaxes(0, 1)
    result = rnnshapes.verify(**sizes, cell="gru", against=y_hat)
    assert mentions(result, "(T, N, …)")
    (check,) = result.to_dict()["checks"]
    assert "(9, 2, 3)" in check["detail"]
    assert "(2, 9, 3)" in check["detail"]
