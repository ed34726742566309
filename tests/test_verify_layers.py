"""A network that is said to be another one is caught by ``verify``."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.normalization import UnitNormalization
from rnnshapes.ops.constant import Constant
from rnnshapes.ops.elementwise import ELU, ClippedReLU, LeakyReLU
from rnnshapes.ops.visibility import Visibility
from tests.helpers.keras_runs import failed, numeric_checks, run_model, run_of, with_layer
from tests.helpers.models import functional, gated, randomized, sequential, stacked


def reversed_direction(direction: Direction) -> Direction:
    """The same recurrence, said to read the other way."""
    return replace(direction, reverse=not direction.reverse)


def test_wrong_direction_fails() -> None:
    run = run_model(
        randomized(sequential(la.GRU(5, go_backwards=True), la.Dense(2), shape=(4, 3))), N=3
    )
    assert failed(run) == []
    layer = run.network.recurrent[0].layer
    name = layer.name
    changed = with_layer(run.network, name, direction=reversed_direction(layer.direction))
    assert failed(replace(run, network=changed))
    run = run_model(
        randomized(sequential(la.Bidirectional(la.LSTM(5)), la.Dense(2), shape=(4, 3))), N=3
    )
    layer = run.network.recurrent[0].layer
    for end in ("forward", "backward"):
        turned = reversed_direction(getattr(layer, end))
        assert failed(replace(run, network=with_layer(run.network, layer.name, **{end: turned})))


def test_reversed_layer_starts_at_the_last_step() -> None:
    layer = la.SimpleRNN(5, go_backwards=True)
    run = run_model(randomized(sequential(layer, la.Dense(2), shape=(4, 3))), N=2)
    check = numeric_checks(run)[0]
    assert check.quantity == "initial state"
    assert check.index.t == 3


def test_output_in_wrong_order_fails(monkeypatch) -> None:
    both = la.Bidirectional(la.LSTM(5, return_sequences=True))
    run = run_model(randomized(sequential(both, la.Dense(2), shape=(4, 3))), N=3)
    kind = type(run.network.recurrent[0].layer)
    name = run.network.recurrent[0].name
    for flips in ((False, True), (True, False), (True, True)):
        with monkeypatch.context() as patch:
            patch.setattr(kind, "reversed_outputs", flips)
            assert f"{name}: output" in failed(run)


@pytest.mark.parametrize("mode", ["sum", "mul", "ave"])
def test_wrong_merge_mode_fails(mode: str) -> None:
    """Modes that keep the shape cannot be told by it."""
    both = la.Bidirectional(la.SimpleRNN(5), merge_mode=mode)
    run = run_model(randomized(sequential(both, la.Dense(2), shape=(4, 3))), N=2)
    assert failed(run) == []
    for other in {"sum", "mul", "ave"} - {mode}:
        changed = with_layer(run.network, run.network.recurrent[0].name, merge_mode=other)
        assert f"{run.network.recurrent[0].name}: output" in failed(replace(run, network=changed))


def test_wrong_or_missing_mask_fails() -> None:
    run = run_model(randomized(sequential(la.Masking(0.5), la.GRU(5), la.Dense(2))), N=4)
    assert failed(run) == []
    name = run.network.layers[0].name
    other = with_layer(run.network, name, value=0.25)
    assert f"{name}: mask" in failed(replace(run, network=other))
    monkey = replace(run, keras=replace(run.keras, masks={}))
    assert f"{name}: mask" in failed(monkey)


def test_wrong_output_of_masked_steps_fails() -> None:
    layer = la.GRU(5, return_sequences=True, zero_output_for_mask=True)
    run = run_model(randomized(sequential(la.Masking(), layer, la.Dense(2))), N=4)
    assert failed(run) == []
    name = run.network.recurrent[0].name
    changed = with_layer(run.network, name, zero_output_for_mask=False)
    assert f"{name}: output" in failed(replace(run, network=changed))


def test_missing_initial_state_fails() -> None:
    model = randomized(
        functional(lambda x, h: la.Dense(2)(la.SimpleRNN(5)(x, initial_state=h)), (9, 3), (5,))
    )
    run = run_model(model, N=3)
    assert failed(run) == []
    name = run.network.recurrent[0].name
    lost = replace(run, keras=replace(run.keras, starts={}))
    assert f"{name}: h at every step" in failed(lost)


def test_swapped_gates_of_stacked_cells_fail() -> None:
    run = run_model(randomized(sequential(stacked(), la.Dense(2), shape=(4, 3))), N=3)
    assert failed(run) == []
    name = run.network.recurrent[0].name
    for number, count in (("1", 4), ("2", 3)):
        for one, other in itertools.combinations(range(count), 2):
            order = list(range(count))
            order[one], order[other] = other, one
            swapped = dict(run.weights[name])
            for key in (f"Wx{number}", f"Wh{number}", f"bh{number}"):
                parts = np.split(swapped[key], count, axis=-1)
                swapped[key] = np.concatenate([parts[i] for i in order], axis=-1)
            assert failed(replace(run, weights={**run.weights, name: swapped}))


@pytest.mark.parametrize(
    "name",
    [
        *("normalized", "rectified", "attending decoder", "normalized otherwise"),
        *("convolved, same", "embedded", "at each step"),
    ],
)
def test_any_changed_weight_of_any_layer_fails(name: str) -> None:
    """A thousandth more in one array fails a check of the layer that owns it."""
    run = run_of(name)
    assert failed(run) == []
    for group, arrays in run.weights.items():
        for key, values in arrays.items():
            if key == "count":  # no number depends on how often a Normalization was adapted
                continue
            changed = {**arrays, key: values * np.float32(1.001)}
            found = failed(replace(run, weights={**run.weights, group: changed}))
            assert any(check.startswith(group.split("/")[0]) for check in found), (group, key)


OTHER_MEAN = Constant((0.1001,) * 36, (6, 6), "float32")


@pytest.mark.parametrize(
    ("name", "layer", "changes"),
    [
        ("convolved, pooled", "max_pooling1d", {"keras_class": "AveragePooling1D"}),
        ("other directions", "global_average_pooling1d", {"keras_class": "GlobalMaxPooling1D"}),
        ("merged", "add", {"keras_class": "Multiply"}),
        ("merged", "average", {"keras_class": "Add"}),
        ("merged", "subtract", {"keras_class": "Add"}),
        ("merged masks", "maximum", {"keras_class": "Minimum"}),
        ("merged", "dot", {"normalize": False}),
        ("merged masks", "multiply", {"keras_class": "Maximum"}),
        ("attention", "attention", {"use_scale": False}),
        ("attending decoder", "attention", {"causal": False}),
        ("attending decoder", "additive_attention", {"causal": True}),
        ("heads", "multi_head_attention", {"causal": True}),
        ("heads", "causal_heads", {"causal": False}),
        ("normalized otherwise", "normalization", {"invert": True}),
        ("normalized otherwise", "inverted", {"given": (OTHER_MEAN, OTHER_MEAN)}),
        ("normalized otherwise", "group_normalization", {"epsilon": 0.1}),
        ("normalized otherwise", "rms_normalization", {"epsilon": 0.1}),
        ("rectified", "leaky_re_lu", {"function": LeakyReLU(0.2)}),
        ("rectified", "re_lu", {"function": ClippedReLU(0.2, 0.3, 0.12)}),
        ("rectified", "elu", {"function": ELU(0.6)}),
        ("convolved, causal", "cropping1d", {"amounts": ((2, 1),)}),
        ("padded", "zero_padding1d", {"amounts": ((2, 1),)}),
        ("padded", "conv1d_transpose", {"mode": "valid"}),
        ("padded", "separable_conv1d", {"use_bias": False}),
        ("recurrent images", "conv_lstm2d", {"reverse": False}),
        ("recurrent images", "conv_lstm1d", {"reverse": True}),
        ("read from images", "zero_padding2d", {"amounts": ((1, 2), (1, 0))}),
        ("read from images", "cropping2d", {"amounts": ((1, 0), (0, 1))}),
        ("read from images", "rescaling", {"offset": -0.4}),
        ("read from images", "conv2d", {"use_bias": False}),
        ("read from images", "max_pooling2d", {"keras_class": "AveragePooling2D"}),
        ("images beside a sequence", "average_pooling2d", {"keras_class": "MaxPooling2D"}),
        ("images beside a sequence", "global_max", {"keras_class": "GlobalAveragePooling2D"}),
        ("images beside a sequence", "zero_padding3d", {"amounts": ((0, 1), (0, 2), (1, 1))}),
        ("images beside a sequence", "cropping3d", {"amounts": ((1, 0), (1, 0), (0, 1))}),
        ("images beside a sequence", "conv3d", {"activation": "linear"}),
        (
            "images beside a sequence",
            "global_max_pooling3d",
            {"keras_class": "GlobalAveragePooling3D"},
        ),
        ("normalized", "activation", {"activation": "silu"}),
        ("normalized", "batch_normalization", {"epsilon": 0.1}),
        ("normalized", "layer_normalization", {"epsilon": 0.1}),
    ],
)
def test_layer_of_another_kind_fails(name: str, layer: str, changes: Any) -> None:
    run = run_of(name)
    (found,) = [la.name for la in run.network.layers if la.name.startswith(layer)][:1]
    changed = with_layer(run.network, found, **changes)
    assert any(c.startswith(f"{found}:") for c in failed(replace(run, network=changed)))


def test_missing_or_changed_gate_fails() -> None:
    model = randomized(functional(gated))
    assert rnnshapes.verify(model, N=3).passed
    run = run_model(model, N=3)
    name = next(la.name for la in run.network.layers if la.name.startswith("multi_head"))
    changed = with_layer(run.network, name, use_gate=False)
    assert [check for check in failed(replace(run, network=changed)) if check.startswith(name)]
    for key in ("Wg", "bg"):
        weights = {**run.weights[name], key: run.weights[name][key] * np.float32(1.001)}
        found = failed(replace(run, weights={**run.weights, name: weights}))
        assert [check for check in found if check.startswith(name)]


def mean_instead(self: UnitNormalization, ops: Any, inputs: Any, w: Any, masks: Any) -> Any:
    """The features divided by their root mean square."""
    return inputs[0] * ops.rsqrt(ops.mean(inputs[0] * inputs[0], -1))


def test_wrong_norm_fails(monkeypatch) -> None:
    run = run_of("normalized otherwise")
    monkeypatch.setattr(UnitNormalization, "call", mean_instead)
    assert [check for check in failed(run) if check.startswith("unit_normalization")]


@pytest.mark.parametrize(
    ("name", "layer", "part"),
    [
        ("attention", "attention", "keys"),
        ("attending decoder", "additive_attention", "keys"),
        ("heads", "multi_head_attention", "keys"),
        ("heads", "multi_head_attention", "mask"),
    ],
)
def test_forgotten_attention_mask_fails(name: str, layer: str, part: str, monkeypatch) -> None:
    run = run_of(name)
    visible = Visibility.visible

    def forgetful(own: Visibility, shape: tuple[int, ...], mask: Any = None) -> Any:
        mask = None if part == "mask" else mask
        return visible(own if part == "mask" else replace(own, **{part: None}), shape, mask)

    monkeypatch.setattr(Visibility, "visible", forgetful)
    assert [check for check in failed(run) if check.startswith(layer)]


def test_an_early_output_may_come_from_another_run() -> None:
    """Its numbers differ from those of the layers by rounding, and by no more."""

    def graph(x: Any) -> Any:
        h = la.LSTM(5, return_sequences=True)(x)
        g = h + h * 0.7
        return [la.Dense(2)(la.GRU(4)(g)), g]

    run = run_model(randomized(functional(graph)), N=3)
    y_hat, early = run.keras.outputs
    for factor, fails in ((1 + 4e-7, False), (1 + 1e-4, True)):
        other = (y_hat, (early * factor).astype("float32"))
        found = failed(replace(run, keras=replace(run.keras, outputs=other)))
        assert bool(found) == fails
