"""The weights of a port's last layer, recovered from its outputs."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.recovery.recovered_heads import explained_by_head
from tests.helpers.handmade import scaled
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import FUNCTIONS, hypothesis_of

Array = np.ndarray
N, T, D, M, K = 4, 6, 2, 5, 3


@cache
def model_of(activation: str, use_bias: bool = True, sequences: bool = True, more: str = "") -> Any:
    """Return a network with a Dense layer at its end, and another layer before it."""
    before = {"dense": la.Dense(M, name="between"), "dropout": la.Dropout(0.5, name="between")}
    layers = [
        la.SimpleRNN(M, return_sequences=sequences, name="rnn"),
        *([before[more]] if more else []),
        la.Dense(K, activation, use_bias=use_bias, name="head"),
    ]
    return randomized(sequential(*layers, shape=(T, D)), seed=2)


def port_with_head(
    activation: str,
    kernel: Any,
    bias: Any = lambda b: b,
    of_y: Any = lambda y: y,
    n: int = N,
    **options: Any,
) -> Hypothesis:
    """Return a port that has other weights in its last layer, and gives y_hat."""
    model = model_of(activation, **options)
    arrays = rnnshapes.golden(model, N=n, keras=False).arrays
    b = bias(arrays["head/bias"].astype("d")) if "head/bias" in arrays else 0.0
    h = arrays["rnn.h"].astype("d")
    if "between/kernel" in arrays:
        h = h @ arrays["between/kernel"] + arrays["between/bias"]
    y = of_y(FUNCTIONS[activation](h @ kernel(arrays["head/kernel"].astype("d")) + b))
    return hypothesis_of(
        {"y_hat": y if options.get("sequences", True) else y[:, -1]}, model=model, N=n
    )


def same(a: Array) -> Array:
    return a


def explained(base: Hypothesis, roundoff: float = 1e-7) -> list[tuple[list[Any], int]]:
    """Return id, array and unit of each mistake, and how many numbers are fitted."""
    return [
        ([(m.id, m.where.array, m.where.unit) for m in one.mistakes], numbers)
        for one, numbers in explained_by_head(base, roundoff)
    ]


ACTIVATIONS = ["linear", "sigmoid", "tanh", "exponential", "softmax"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    ("kernel", "bias", "mistakes", "numbers"),
    [
        (same, scaled(1, 2.5), [("weights.one_wrong", "bias", 1)], K),
        (scaled((3, 2), -1.5), same, [("weights.one_wrong", "kernel", 2)], M * K),
        (
            *(scaled((4, 0), 3.0), scaled(2, 1.5)),
            [("weights.one_wrong", "kernel", 0), ("weights.one_wrong", "bias", 2)],
            M * K + K,
        ),
    ],
)
def test_the_fewest_weights_of_the_head_are_recovered(
    activation: str, kernel: Any, bias: Any, mistakes: list[Any], numbers: int
) -> None:
    """Though a softmax cancels a constant."""
    first, *_ = explained(port_with_head(activation, kernel, bias))
    assert first == (mistakes, numbers)


def test_head_without_bias_has_only_a_kernel() -> None:
    found = explained(port_with_head("tanh", scaled((3, 2), -1.5), use_bias=False))
    assert found == [([("weights.one_wrong", "kernel", 2)], M * K)]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_number_of_the_head_is_recovered(activation: str) -> None:
    """But a constant of each row, before a softmax, of which most numbers are right."""
    rng = np.random.default_rng(4)
    kernel = rng.normal(0, 0.3, (M, K)) * (np.arange(K) == 1)
    base = port_with_head(activation, lambda a: a + kernel, scaled(0, 2.0))
    (one, numbers) = next(explained_by_head(base, 1e-7))
    right = base.weights["head"]
    assert numbers == M * K + K
    found = one.weights["head"]
    assert np.allclose(found["W"], right["W"] + kernel, rtol=0, atol=1e-5)
    assert np.allclose(found["b"], scaled(0, 2.0)(right["b"]), rtol=0, atol=1e-5)
    assert set(one.families) == {"recovered"}


def test_a_bias_of_zeros_is_a_multiple() -> None:
    """Not one whose smallest numbers are 0."""
    (one, _) = next(explained_by_head(port_with_head("linear", same, lambda b: 0 * b), 1e-7))
    assert [mistake.id for mistake in one.mistakes] == ["weights.scaled"]
    assert one.mistakes[0].text.endswith("by 0")


@pytest.mark.parametrize(
    ("n", "sequences", "count"),
    [(1, True, 0), (2, True, 1), (6, False, 0), (7, False, 1), (2, False, 0)],
)
def test_kernel_needs_a_quarter_more_steps_than_rows(n: int, sequences: bool, count: int) -> None:
    """Of all samples: seven for five rows, and eight for five rows and a bias."""
    base = port_with_head("sigmoid", scaled((3, 2), -1.5), n=n, sequences=sequences)
    found = explained(base)
    assert [numbers for _, numbers in found[:1]] == [M * K] * count


def test_steps_whose_output_is_saturated_are_left_out() -> None:
    """Their z is not known; the others tell the weights."""

    def saturated(y: Array) -> Array:
        y = y.copy()
        y[:, 1, 0], y[0, 3, 2] = 1.0, 0.0
        return y

    first, *_ = explained(port_with_head("sigmoid", scaled((3, 2), -1.5), of_y=saturated))
    assert first == ([("weights.one_wrong", "kernel", 2)], M * K)


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "softmax"])
def test_noise_is_not_explained_by_a_head(activation: str) -> None:
    rng = np.random.default_rng(1)
    base = port_with_head(activation, same, of_y=lambda y: y * rng.uniform(0.99, 1.01, y.shape))
    assert explained(base) == []


@pytest.mark.parametrize(
    ("activation", "options", "count"),
    [
        ("relu", {}, 0),
        ("softplus", {}, 0),
        ("linear", {"more": "dense"}, 0),
        ("linear", {"more": "dropout"}, 1),
    ],
)
def test_head_without_inverse_activation_is_not_recovered(
    activation: str, options: dict[str, Any], count: int
) -> None:
    """Nor where other weights of a layer before the head would do as well."""
    found = explained(port_with_head(activation, scaled((3, 2), -1.5), **options))
    assert len(found[:1]) == count


def test_port_without_dense_output_recovers_no_head() -> None:
    """It gives states alone, or h is the output."""
    states = rnnshapes.golden(model_of("linear"), N=N, keras=False).arrays["rnn.h"]
    assert explained(hypothesis_of({"rnn.h": 2 * states}, model=model_of("linear"), N=N)) == []
    layer = la.GRU(M, return_sequences=True, name="rnn")
    model = randomized(sequential(layer, shape=(T, D)), seed=2)
    output = rnnshapes.golden(model, N=N, keras=False).arrays["output"]
    assert explained(hypothesis_of({"output": 2 * output}, model=model, N=N)) == []


def test_the_last_output_tells_a_head() -> None:
    base = port_with_head("sigmoid", scaled((3, 2), -1.5), n=7, sequences=False)
    (quantity,) = base.quantities
    model = model_of("sigmoid", sequences=False)
    output = hypothesis_of({"output": quantity.values[:, 0]}, model=model, N=7)
    assert explained(output)[0] == ([("weights.one_wrong", "kernel", 2)], M * K)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_saturated_outputs_count_less(activation: str) -> None:
    """They are near 1, in float32, where z follows from them with large errors."""
    base = port_with_head(activation, lambda a: 4 * a, of_y=lambda y: y.astype("f"), n=12)
    values = np.abs(base.quantities[0].values)
    assert 1 - values.max() < 1e-4
    (one, _) = next(explained_by_head(base, 1e-7))
    assert [mistake.id for mistake in one.mistakes] == ["weights.scaled"]
    assert one.mistakes[0].text.endswith("by 4")


def test_outputs_that_are_all_saturated_tell_nothing() -> None:
    assert explained(port_with_head("sigmoid", same, of_y=np.ones_like)) == []
