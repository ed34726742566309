"""The weights that follow from a port's own states, one step from each of them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from keras import layers as la

from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.recovery import equations
from rnnshapes.port.recovery.equations import (
    RecoveredWeights,
    TooFewSteps,
    UnitEquations,
    wrong_recurrences,
)
from rnnshapes.port.recovery.recovered_mistakes import explained_by_weights
from tests.helpers.handmade import LAYERS, Port
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import base_of, hypothesis_of

Array = np.ndarray
Arrays = dict[str, Array]
SIZES: dict[str, Any] = {"N": 5, "T": 9, "D": 2, "M": 3, "K": 1}
#: Arrays by key, and their names in Keras.
NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}
#: The unit roundoff of float64 and of float32.
EXACT, SINGLE = 2.0**-53, 2.0**-24


@cache
def right_weights(cell: str, **sizes: Any) -> tuple[Array, Arrays]:
    """Return x and the weights of a recurrence by key, in float64."""
    base = base_of(**{**SIZES, "cell": cell, **sizes})
    arrays = base.weights[LAYERS[cell]]
    return base.xs[0], {key: np.asarray(array, "d") for key, array in arrays.items()}


def port_with_weights(
    cell: str,
    wrong: Arrays,
    dtype: str = "float64",
    sizes: dict[str, Any] | None = None,
    **options: Any,
) -> Hypothesis:
    """Return a port with other weights that gives its states."""
    spec = {**SIZES, "cell": cell, **(sizes or {})}
    x, right = right_weights(cell, **(sizes or {}))
    weights = {NAMES[key]: array for key, array in {**right, **wrong}.items()}
    found = Port(cell, dtype, **options).run(weights, x)
    states = {key: found[key] for key in ("h", "c") if key in found}
    return hypothesis_of(states, **spec)


def equations_of(
    cell: str, wrong: Arrays, dtype: str = "float64", **options: Any
) -> UnitEquations | None:
    """Return the equations of a port with other weights, if the right ones do not explain it."""
    roundoff = EXACT if dtype == "float64" else SINGLE
    return next(wrong_recurrences(port_with_weights(cell, wrong, dtype, **options), roundoff), None)


def recovered(cell: str, wrong: Arrays, *args: Any, **options: Any) -> RecoveredWeights:
    system = equations_of(cell, wrong, *args, **options)
    assert system is not None
    found = system.recovered()
    assert isinstance(found, RecoveredWeights)
    return found


def noisy(cell: str, keys: tuple[str, ...], share: float = 0.05, **sizes: Any) -> Arrays:
    """Return other arrays, each number off by some percent."""
    rng = np.random.default_rng(3)
    _, right = right_weights(cell, **sizes)
    return {k: right[k] * rng.uniform(1 - share, 1 + share, right[k].shape) for k in keys}


def decided(cell: str, bias: Array) -> Array:
    """Return what the states tell of a bias: of two rows, the sum, but for the last gate."""
    if cell != "gru":
        return bias
    return np.concatenate([bias[:, :-3].sum(0), bias[0, -3:], bias[1, -3:]])


SUBSETS = [keys for n in (1, 2, 3) for keys in itertools.combinations(NAMES, n)]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
@pytest.mark.parametrize("keys", SUBSETS)
def test_the_fewest_arrays_are_recovered(cell: str, keys: tuple[str, ...]) -> None:
    """All of the port's numbers, with errors that hold what is left."""
    wrong = noisy(cell, keys)
    found = recovered(cell, wrong)
    _, right = right_weights(cell)
    assert set(found.arrays) == set(found.errors) == set(keys)
    assert found.group == LAYERS[cell]
    assert {weight.key for weight in found.weights} == set(right)
    assert found.complete
    for key in keys:
        array, error = found.arrays[key], found.errors[key]
        assert array.shape == error.shape == right[key].shape
        assert error.max() < 1e-9
        off = np.abs(array - wrong[key])
        if key == "bh":
            off, error = (np.abs(decided(cell, a)) for a in (array - wrong[key], error))
        assert np.all(off <= error)


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_weights_and_rounding_have_no_equations(cell: str, dtype: str) -> None:
    assert equations_of(cell, {}, dtype) is None


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_errors_hold_the_rounding_of_a_port(cell: str) -> None:
    """In float32, and are not much larger."""
    wrong = noisy(cell, ("Wx", "Wh"))
    found = recovered(cell, wrong, "float32")
    for key, array in found.arrays.items():
        off = np.abs(array - wrong[key])
        assert np.all(off <= found.errors[key])
        assert found.errors[key].max() < 1e-2
        assert np.median(found.errors[key]) < 200 * np.median(off)


@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_weights_and_errors_are_those_of_least_squares(noise: float) -> None:
    """In a linear cell: a dozen standard errors of what is left, at least of rounding."""
    spec, rng = (
        {**SIZES, "N": 2, "cell": "simple", "activation": "linear"},
        np.random.default_rng(7),
    )
    base = base_of(**spec)
    x, w = base.xs[0], base.weights["simple_rnn"]
    wrong = {key: w[key] * rng.uniform(0.9, 1.1, w[key].shape) for key in ("Wx", "Wh")}
    h = np.zeros((2, 10, 3))
    for t in range(9):
        z = x[:, t] @ wrong["Wx"] + w["bh"] + h[:, t] @ wrong["Wh"]
        h[:, t + 1] = z + noise * rng.uniform(-1, 1, z.shape)
    (system,) = wrong_recurrences(hypothesis_of({"h": h[:, 1:]}, **spec), 1e-6)
    found = system.recovered()
    assert isinstance(found, RecoveredWeights)
    inputs = np.concatenate([x, h[:, :-1]], axis=2).reshape(18, 5)
    outputs = (h[:, 1:] - w["bh"]).reshape(18, 3)
    nearest = np.linalg.lstsq(inputs, outputs)[0]
    np.testing.assert_allclose(np.vstack([*found.arrays.values()]), nearest, rtol=0, atol=2e-8)
    left = np.sqrt(np.mean((outputs - inputs @ nearest) ** 2, axis=0))
    least = 1e-6 * np.sqrt(np.mean(h[:, 1:] ** 2))
    assert (left > least).all() == (noise > 0)
    errors = np.sqrt(np.diag(np.linalg.inv(inputs.T @ inputs)))[:, None] * np.maximum(left, least)
    ratio = np.vstack([*found.errors.values()]) / errors
    assert 9 < ratio.min() <= ratio.max() < 1.0001 * ratio.min() < 18


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_weights_of_a_missing_feature_are_unchanged(cell: str) -> None:
    """The states do not decide them; they decide the others."""
    _, right = right_weights(cell)
    wrong = {"Wx": 1.1 * right["Wx"]}
    spec = {**SIZES, "cell": cell}
    base = base_of(**spec)
    x = base.xs[0] * [0.0, 1.0]
    weights = {NAMES[key]: array for key, array in {**right, **wrong}.items()}
    found = Port(cell, "float64").run(weights, x)
    states = {key: found[key] for key in ("h", "c") if key in found}
    base = replace(hypothesis_of(states, **spec), xs=(x,))
    (system,) = wrong_recurrences(base, EXACT)
    result = system.recovered()
    assert isinstance(result, RecoveredWeights)
    (first, second), error = result.arrays["Wx"], result.errors["Wx"]
    assert np.array_equal(first, right["Wx"][0])
    assert error[0].min() > 1
    assert np.all(np.abs(second - wrong["Wx"][1]) <= error[1])
    assert error[1].max() < 1e-9


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_all_weights_of_another_network_are_recovered(cell: str) -> None:
    """Though nothing is left of the expected ones."""
    sizes = {"T": 15}
    _, wrong = right_weights(cell, **sizes)
    rng = np.random.default_rng(2)
    wrong = {key: rng.uniform(-0.9, 0.9, array.shape) for key, array in wrong.items()}
    found = recovered(cell, wrong, sizes=sizes)
    for key, array in found.arrays.items():
        off = array - wrong[key]
        off = decided(cell, off) if key == "bh" else off
        assert np.abs(off).max() < 1e-9


#: How many numbers of a unit each state has to tell, for x of 2 features and 3 units.
NUMBERS = {"simple": 6, "lstm": 18, "gru": 2 * 6 + 3 + 4}


@pytest.mark.parametrize("cell", NUMBERS)
def test_a_quarter_more_steps_than_numbers_are_needed(cell: str) -> None:
    """c of an LSTM tells three of its gates, so that h has to tell one alone."""
    needed = int(np.ceil(1.25 * NUMBERS[cell]))
    wrong = noisy(cell, ("Wx", "Wh", "bh"))
    for count in (needed - 1, needed):
        system = equations_of(cell, wrong, sizes={"N": 1, "T": count})
        assert system is not None
        found = system.recovered()
        if count < needed:
            assert found == TooFewSteps(LAYERS[cell], count, needed)
        else:
            assert isinstance(found, RecoveredWeights)


def test_steps_of_all_samples_are_counted() -> None:
    system = equations_of("simple", noisy("simple", ("Wx", "Wh")), sizes={"N": 2, "T": 3})
    assert system is not None
    assert system.recovered() == TooFewSteps("simple_rnn", 6, 8)


def test_few_steps_tell_few_numbers() -> None:
    """A bias, of which there is one number for each unit."""
    found = recovered("simple", noisy("simple", ("bh",)), sizes={"N": 1, "T": 2})
    assert set(found.arrays) == {"bh"}


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_no_weights_make_another_activation(cell: str) -> None:
    system = equations_of(cell, noisy(cell, ("bh",), 1.0), activation="relu")
    assert system is not None
    assert system.recovered() is None


def test_stacked_cells_are_not_recovered() -> None:
    """Only what the first of them receives is an input."""
    cells = [la.SimpleRNNCell(4), la.SimpleRNNCell(3)]
    layers = [la.RNN(cells, return_sequences=True, name="rnn"), la.Dense(2)]
    model = randomized(sequential(*layers, shape=(9, 2)), seed=2)
    base = base_of(model=model, N=4, what="rnn.h1 rnn.h2")
    far = base.map_quantities(lambda q: replace(q, values=q.values + 0.5))
    assert list(wrong_recurrences(far, EXACT)) == []


def test_states_reset_before_the_product_are_not_recovered() -> None:
    """r of each unit acts on the states of all others."""
    spec = {**SIZES, "cell": "gru", "reset_after": False}
    base = base_of(**spec, what="gru.h")
    far = base.map_quantities(lambda q: replace(q, values=q.values + 0.5))
    assert list(wrong_recurrences(far, EXACT)) == []


@pytest.mark.parametrize("key", ["Wx", "Wh", "bh"])
def test_most_different_units_of_large_cells_are_fitted(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the others are the expected ones, of which nothing is known."""
    sizes = {"T": 20, "M": 20}
    _, right = right_weights("simple", **sizes)
    wrong = {key: right[key].copy()}
    wrong[key][..., [3, 11]] *= 1.5
    wrong[key][..., 7] *= 1.01
    monkeypatch.setattr(equations, "MOST_PRODUCTS", {"bh": 100, "Wx": 800, "Wh": 7e5}[key])
    found = recovered("simple", wrong, sizes=sizes)
    assert not found.complete
    others = np.delete(np.arange(20), [3, 11])
    assert np.isinf(found.errors[key][..., others]).all()
    assert np.array_equal(found.arrays[key][..., others], right[key][..., others])
    assert found.errors[key][..., [3, 11]].max() < 1e-9
    assert np.allclose(found.arrays[key][..., [3, 11]], wrong[key][..., [3, 11]], rtol=1e-9)


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_two_arrays_that_explain_a_port_are_found(cell: str) -> None:
    """Of several that each of them may be."""
    _, right = right_weights(cell)
    rng = np.random.default_rng(4)
    kernels, recurrents = (
        [right[key] * rng.uniform(0.9, 1.1, right[key].shape) for _ in range(count)]
        for key, count in (("Wx", 3), ("Wh", 4))
    )
    system = equations_of(cell, {"Wx": kernels[1], "Wh": recurrents[2]})
    assert system is not None
    looks = [
        [system.first_look(key, array) for array in arrays]
        for key, arrays in (("Wx", kernels), ("Wh", recurrents))
    ]
    assert list(system.explaining_pairs(("Wx", "Wh"), *looks)) == [(1, 2)]


# --- What explains them -------------------------------------------------------------------------


def ids_of(base: Hypothesis) -> list[tuple[str, str | None]]:
    """Return id and array of each mistake in the weights that explain a port."""
    found, too_few = explained_by_weights(base, EXACT)
    assert too_few is None
    return [] if found is None else [(m.id, m.where.array) for m in found.mistakes]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_an_order_of_features_needs_few_steps(cell: str) -> None:
    sizes = {"N": 2, "T": 3, "D": 4}
    _, right = right_weights(cell, **sizes)
    for order in ([1, 0, 2, 3], [2, 3, 1, 0]):
        wrong = right["Wx"][order]
        base = port_with_weights(cell, {"Wx": wrong}, sizes=sizes)
        assert ids_of(base) == [("input.permuted", "kernel")]
        found, _ = explained_by_weights(base, EXACT)
        assert found is not None
        assert np.array_equal(found.weights[LAYERS[cell]]["Wx"], wrong)
        assert str(order)[1:-1] in found.mistakes[0].text


def test_two_layouts_need_few_steps() -> None:
    sizes = {"N": 2, "T": 3}
    _, right = right_weights("lstm", **sizes)
    wrong = {
        "Wx": np.ascontiguousarray(right["Wx"].T).reshape(right["Wx"].shape),
        "Wh": np.concatenate([part.T for part in np.split(right["Wh"], 4, axis=1)], axis=1),
    }
    base = port_with_weights("lstm", wrong, sizes=sizes)
    expected = [("layout.flat_buffer", "kernel"), ("layout.transposed", "recurrent_kernel")]
    assert ids_of(base) == expected
    found, _ = explained_by_weights(base, EXACT)
    assert found is not None
    for key, array in {**right, **wrong}.items():
        assert np.array_equal(found.weights["lstm"][key], array)


def test_other_weights_need_more_steps() -> None:
    sizes = {"N": 1, "T": 7}
    base = port_with_weights("simple", noisy("simple", ("Wx", "Wh", "bh"), **sizes), sizes=sizes)
    assert explained_by_weights(base, EXACT) == (None, TooFewSteps("simple_rnn", 7, 8))


def test_right_weights_need_no_explanation() -> None:
    assert explained_by_weights(port_with_weights("gru", {}), EXACT) == (None, None)


def test_another_activation_is_not_explained_by_weights() -> None:
    base = port_with_weights("simple", noisy("simple", ("bh",), 1.0), activation="relu")
    assert explained_by_weights(base, EXACT) == (None, None)


def test_weights_of_both_directions_are_explained() -> None:
    """Each by its own states."""
    spec = {**SIZES, "cell": "simple", "bidirectional": True}
    names = [f"bidirectional/{way}_simple_rnn" for way in ("forward", "backward")]
    base = base_of(**spec)
    given = {}
    for name, factor in zip(names, (1.5, 0.5), strict=True):
        weights = {NAMES[key]: np.asarray(a, "d") for key, a in base.weights[name].items()}
        weights["recurrent_kernel"] *= factor
        x = base.xs[0][:, :: 1 if name == names[0] else -1]
        given[f"{name}.h"] = Port("simple", "float64").run(weights, x)["h"]
    given[f"{names[1]}.h"] = given[f"{names[1]}.h"][:, ::-1]
    found, _ = explained_by_weights(hypothesis_of(given, **spec), EXACT)
    assert found is not None
    assert [(m.id, m.where.direction) for m in found.mistakes] == [
        *(("weights.scaled", "forward"), ("weights.scaled", "backward")),
    ]
    assert ["1.5" in found.mistakes[0].text, "0.5" in found.mistakes[1].text] == [True, True]
