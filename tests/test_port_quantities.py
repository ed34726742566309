"""Which quantity an array of a port is, and which of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.mistakes.rounding import with_digits
from rnnshapes.port.quantities import are_numbers_of, has_only_zeros_and_ones
from tests.helpers.handmade import SIZES
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import hypothesis_of

Array = np.ndarray
RNG = np.random.default_rng(0)


def matched(port: Any, **spec: Any) -> Any:
    return hypothesis_of(port, **{**SIZES, **spec}).quantities


def random(*shape: int) -> Array:
    return RNG.uniform(0.1, 0.9, shape)


GRU = {"cell": "gru"}
BACK = {"cell": "gru", "go_backwards": True}
BOTH = {"cell": "gru", "bidirectional": True}
#: Options, a name and a shape; the name, key and steps of the quantity, and of the network.
MATCHES: list[tuple[dict[str, Any], str, tuple[int, ...], tuple[str, str], Any, Any]] = [
    (GRU, "y_hat", (3, 9, 2), ("y_hat", ""), range(9), range(9)),
    (GRU, "y_hat", (3, 2), ("y_hat", ""), [8], [8]),
    (GRU, "output", (3, 2), ("output", ""), [8], [8]),
    (GRU, "output", (3, 9, 2), ("y_hat", ""), range(9), range(9)),
    ({**GRU, "return_sequences": True}, "output", (3, 9, 2), ("y_hat", ""), range(9), range(9)),
    (GRU, "h", (3, 9, 5), ("gru", "h"), range(9), range(9)),
    (GRU, "gru.h", (3, 5), ("gru", "h"), [8], [8]),
    (BACK, "h", (3, 5), ("gru", "h"), [0], [0]),
    (BACK, "output", (3, 2), ("output", ""), [-1], None),
    (BACK, "y_hat", (3, 2), ("y_hat", ""), [8], None),
    ({**BACK, "return_sequences": True}, "y_hat", (3, 2), ("y_hat", ""), [8], [8]),
    (BOTH, "bidirectional/backward_gru.h", (3, 5), ("bidirectional/backward_gru", "h"), [0], [0]),
    (BOTH, "output", (3, 2), ("output", ""), [-1], None),
    ({**GRU, "N": 1}, "h", (9, 5), ("gru", "h"), range(9), range(9)),
    ({**GRU, "N": 1}, "h", (5,), ("gru", "h"), [8], [8]),
    ({**GRU, "M": [4, 5]}, "h", (3, 9, 5), ("gru_1", "h"), range(9), range(9)),
    ({**GRU, "M": [4, 5]}, "gru.h", (3, 9, 4), ("gru", "h"), range(9), range(9)),
    (GRU, "", (3, 9, 5), ("gru", "h"), range(9), range(9)),
    (GRU, "anything", (3, 9, 5), ("gru", "h"), range(9), range(9)),
    (GRU, "", (3, 2), ("y_hat", ""), [8], [8]),
]


@pytest.mark.parametrize(("spec", "name", "shape", "which", "steps", "of_network"), MATCHES)
def test_an_array_is_matched_to_its_steps(
    spec: Any, name: str, shape: Any, which: Any, steps: Any, of_network: Any
) -> None:
    values = random(*shape)
    (one,) = matched({name: values} if name else values, **spec)
    assert (one.name, one.key) == which
    assert one.steps.tolist() == list(steps)
    found = one.network_steps
    assert (found if found is None else found.tolist()) == (
        None if of_network is None else list(of_network)
    )
    np.testing.assert_array_equal(one.values.ravel(), values.ravel())
    assert one.rounding.shape == one.values.shape
    assert not one.axes_swapped
    assert bool(one.note) == (name == "anything")


@pytest.mark.parametrize(
    ("shape", "which"), [((9, 3, 2), "y_hat"), ((9, 3, 5), "h"), ((9, 1, 5), "h")]
)
def test_time_before_samples_is_seen_by_shape(shape: tuple[int, ...], which: str) -> None:
    values = random(*shape)
    spec = {**GRU, "N": shape[1]}
    for port in ({which: values}, values):
        (one,) = matched(port, **spec)
        assert one.axes_swapped
        np.testing.assert_array_equal(one.values, values.swapaxes(0, 1))


def test_outputs_of_several_axes_are_flat() -> None:
    layers = [la.SimpleRNN(6, return_sequences=True, name="rnn"), la.Reshape((9, 2, 3))]
    model = randomized(sequential(*layers, shape=(9, 4)))
    golden = rnnshapes.golden(model, N=3).arrays
    y_hat = golden["y_hat"]
    assert y_hat.shape == (3, 9, 2, 3)
    for port in (y_hat, y_hat.reshape(3, 9, 6)):
        assert rnnshapes.verify(model, N=3, against={"y_hat": port}).passed
    one = rnnshapes.golden(model, N=1).arrays["y_hat"][0]
    for port in (one, one.reshape(9, 6)):
        assert rnnshapes.verify(model, N=1, against={"y_hat": port}).passed


def test_an_unnamed_array_has_alternatives() -> None:
    """It is y_hat, and may be h where these have one shape; the last step is the output, too."""
    (one,) = matched(random(3, 9, 5), K=5, **GRU)
    assert one.name == "y_hat"
    assert [(other.name, other.key) for other in one.alternatives] == [("gru", "h")]
    (last,) = matched(random(3, 5), K=5, cell="lstm")
    assert [other.key for other in last.alternatives] == ["h", "c"]
    (alone,) = matched(random(3, 9, 2), **GRU)
    assert alone.alternatives == ()


def test_the_same_numbers_count_once() -> None:
    values = random(3, 9, 2)
    assert len(matched({"y_hat": values, "output": values}, **GRU)) == 1
    for other in (values + 0.1, values[:, -1], values.astype("f")):
        assert len(matched({"y_hat": values, "output": other}, **GRU)) == 2


def test_quantities_are_the_networks_own_numbers() -> None:
    spec = {**SIZES, "cell": "lstm"}
    golden = rnnshapes.golden(**spec).arrays
    names = {"y_hat": golden["y_hat"], "output": golden["output"], "h": golden["lstm.h"]}
    names |= {"c": golden["lstm.c"][:, -1]}
    base = hypothesis_of(names, **spec)
    ours = compute_outputs(base)
    texts = []
    for one, values in zip(base.quantities, names.values(), strict=True):
        expected = one.expected(base.network, ours)
        np.testing.assert_allclose(expected.ravel(), values.ravel(), rtol=1e-6)
        steps = one.expected_at_all_steps(base.network, ours).shape[1]
        assert steps == (9 if one.name != "output" or one.network_steps is not None else 1)
        assert one.is_unbroken == (len(one.steps) == 9)
        texts.append(one.text)
    assert len(set(texts)) == 4


def test_some_steps_keep_the_count_of_the_port() -> None:
    (one,) = matched({"h": random(3, 9, 5)}, **GRU)
    some = one.at_steps(slice(2, 6), np.arange(4))
    assert (some.steps.tolist(), some.network_steps.tolist()) == ([2, 3, 4, 5], [0, 1, 2, 3])
    np.testing.assert_array_equal(some.values, one.values[:, 2:6])
    assert some.rounding.shape == some.values.shape
    turned = one.in_reverse()
    assert turned.network_steps.tolist() == list(range(8, -1, -1))
    assert not turned.is_unbroken
    (output,) = matched({"output": random(3, 2)}, **BOTH)
    assert output.in_reverse() is output
    assert not output.is_unbroken


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_numbers_of_a_dtype_are_known(dtype: str) -> None:
    short = {"bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    values = random(3, 9, 5).astype(short).astype(float)
    right, (c,) = matched({"h": values}, **GRU), matched({"y_hat": random(3, 9, 2)}, **GRU)
    assert are_numbers_of(dtype, right)
    assert not are_numbers_of(dtype, [*right, c])
    wrong = values.copy()
    wrong[2, 8, 4] *= 1 + 1e-9
    assert not are_numbers_of(dtype, matched({"h": wrong}, **GRU))


def test_decisions_are_zeros_and_ones() -> None:
    assert has_only_zeros_and_ones(np.array([[0.0, 1.0], [1.0, 1.0]]))
    assert not has_only_zeros_and_ones(np.array([[0.0, 0.5]]))
    assert not has_only_zeros_and_ones(np.array([[0.0, -1.0]]))


# --- Numbers of few digits ------------------------------------------------------------------------


def rounded(values: Array, unit: float, dtype: str = "float64") -> Any:
    base = hypothesis_of({"y_hat": (np.rint(values / unit) * unit).astype(dtype)}, **SIZES)
    return base, with_digits(base)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "unit", [*(10.0**-digits for digits in range(1, 6)), *(2.0**-bits for bits in range(4, 17))]
)
def test_rounded_numbers_are_known_to_half_a_unit(unit: float, dtype: str) -> None:
    base, found = rounded(random(3, 9, 2), unit, dtype)
    assert [mistake.id for mistake in found.mistakes] == ["numeric.rounded"]
    assert found.families == ("digits",)
    np.testing.assert_allclose(found.quantities[0].rounding, unit / 2)
    assert found.mistakes[0].is_inexact
    assert not base.quantities[0].rounding.any()


@pytest.mark.parametrize(
    "values",
    [
        random(3, 9, 2),
        np.rint(random(3, 9, 2)),
        np.rint(random(3, 9, 2) * 1e6) / 1e6,
        np.rint(random(3, 9, 2) * 2.0**17) / 2.0**17,
        random(3, 9, 2).astype("f2"),
        random(3, 9, 2).astype(ml_dtypes.bfloat16).astype("f"),
        np.where(np.arange(2) == 1, random(3, 9, 2), np.rint(random(3, 9, 2) * 10) / 10),
    ],
)
def test_other_numbers_are_not_rounded(values: Array) -> None:
    """Decisions, finer grids and numbers of 16 bits are none of few digits."""
    base = hypothesis_of({"y_hat": values}, **SIZES)
    assert with_digits(base) is base


@pytest.mark.parametrize(("count", "is_rounded"), [(1, False), (2, True)])
def test_one_short_number_may_be_so_by_chance(count: int, is_rounded: bool) -> None:
    spec = {**SIZES, "N": 1, "T": 1, "K": count}
    base = hypothesis_of({"y_hat": np.full((1, 1, count), 0.37, "f")}, **spec)
    assert (with_digits(base) is not base) == is_rounded


def test_short_numbers_of_all_arrays_are_rounded() -> None:
    short, long = np.rint(random(3, 9, 2) * 100) / 100, random(3, 9, 5)
    base = hypothesis_of({"y_hat": short, "h": long}, **GRU, **SIZES)
    assert with_digits(base) is base
    text = base.map_quantities(lambda q: replace(q, rounding=q.rounding + 1e-3))
    assert with_digits(text) is text
