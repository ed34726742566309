"""Which quantity an array of a port is, and which of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.network.graph import Network
from rnnshapes.port.arrays import Port, PortArray
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.framework_arrays import (
    as_pytorch_output,
    may_end_in,
    split_states,
    split_unnamed,
)
from rnnshapes.port.mistakes.rounding import with_digits
from rnnshapes.port.quantities import (
    are_numbers_of,
    check_names,
    has_only_zeros_and_ones,
    match_arrays,
    unknown_names,
)
from rnnshapes.session import open_session
from tests.helpers.handmade import SIZES
from tests.helpers.models import functional, randomized, sequential
from tests.helpers.tried import hypothesis_of

Array = np.ndarray
RNG = np.random.default_rng(0)


def matched(port: Any, **spec: Any) -> Any:
    return hypothesis_of(port, **{**SIZES, **spec}).quantities


def network_from(**spec: Any) -> Network:
    with open_session(**{**SIZES, **spec}) as session:
        return session.network


def array_of(name: str, values: Array) -> PortArray:
    """Return an array whose rounding is told from its values."""
    return PortArray(name, values, values / 1e3, "float32")


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


def test_exchanged_axes_are_not_two_directions() -> None:
    """With T = 2, and K = M, both have one shape."""
    values = random(2, 3, 5)
    (one,) = matched(values, **{**BOTH, "T": 2, "K": 5})
    assert (one.name, one.axes_swapped) == ("y_hat", True)
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


def test_output_is_the_first_of_several() -> None:
    def two_heads(x: Any) -> list[Any]:
        h = la.Bidirectional(la.LSTM(5))(x)
        return [la.Dense(2)(h), la.Dense(3)(h)]

    model = functional(two_heads, (9, 4))
    golden = rnnshapes.golden(model, N=3, keras=False).arrays["output"]
    base = hypothesis_of({"output": golden}, model=model, N=3)
    (found,) = (q.expected(base.network, compute_outputs(base)) for q in base.quantities)
    np.testing.assert_allclose(found[:, 0], golden, rtol=1e-6)


def test_some_steps_keep_the_count_of_the_port() -> None:
    (one,) = matched({"h": random(3, 9, 5)}, **GRU)
    some = one.at_steps(slice(2, 6), np.arange(4))
    assert (some.steps.tolist(), some.network_steps.tolist()) == ([2, 3, 4, 5], [0, 1, 2, 3])
    np.testing.assert_array_equal(some.values, one.values[:, 2:6])
    assert some.rounding.shape == some.values.shape
    assert one.at_steps(slice(8, 9), np.array([8])).text != one.text == some.text
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
        # on a grid only as these have so few bits
        np.random.default_rng(0).uniform(0.5, 1, (3, 9, 2)).astype("f2").astype("f"),
        np.random.default_rng(0).uniform(0.5, 1, (3, 9, 2)).astype(ml_dtypes.bfloat16).astype("f"),
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


def refusal(
    name: str, values: Array, given_x: str = "", file: str = "port.npy", **spec: Any
) -> str:
    """Return what is said of an array that is no quantity."""
    with pytest.raises(InputError) as error:
        match_arrays(network_from(**spec), Port(file, (array_of(name, values),)), given_x)
    return str(error.value)


SHAPE, RANDOM = "h (N, T, M) = (3, 9, 5)", "--input x.npy"
#: The name and the shape of an array of a GRU, and what is said of it.
REMEDIES: list[tuple[str, tuple[int, ...], list[str]]] = [
    ("y_hat", (3, 9, 2, 1), ["leave out", "axes of length 1, for (3, 9, 2)"]),
    ("y_hat", (1, 3, 9, 2), ["leave out", "axes of length 1, for (3, 9, 2)"]),
    ("y_hat", (2, 9, 3), ["transpose", "(3, 9, 2)"]),
    ("y_hat", (2, 3), ["transpose", "(3, 2)"]),
    ("h", (5, 9, 1, 3), [SHAPE, "transpose", "(3, 9, 5)"]),
    ("h", (27, 5), [SHAPE, "reshape it to (3, 9, 5)", "sample 0"]),
    ("h", (15, 9), [SHAPE, "(3, 9, 5): reshape"]),
    ("h", (135,), [SHAPE, "(3, 9, 5): reshape"]),
    ("h", (15,), [SHAPE, "(3, 5): reshape"]),
    ("h", (4, 9, 5), [SHAPE, "4 samples, the input 3", RANDOM, "or --N 4"]),
    ("h", (1, 9, 5), [SHAPE, "1 sample, the input 3", RANDOM, "or --N 1"]),
    ("h", (4, 5), [SHAPE, "4 samples, the input 3", "or --N 4"]),
    ("h", (4, 8, 5), [SHAPE, "4 samples of 8 steps, the input 3 of 9", "--N 4 --T 8"]),
    ("h", (3, 1, 5), [SHAPE, "axes of length 1, for (3, 5)"]),
    ("h", (4, 1, 5), [SHAPE, "4 samples of 1 step, the input", "--N 4 --T 1"]),
    ("h", (3, 0, 5), ["empty", "(3, 0, 5)"]),
    ("y_hat", (9, 1, 3, 5), ["(N, T, K) = (3, 9, 2)"]),
]


@pytest.mark.parametrize(("name", "shape", "words"), REMEDIES)
def test_another_shape_is_told_how_to_fit(
    name: str, shape: tuple[int, ...], words: list[str]
) -> None:
    text = refusal(name, random(*shape), **GRU)
    assert [word for word in words if word not in text] == []
    assert ("--N" in text) == any("--N" in word for word in words)


@pytest.mark.parametrize(
    ("given_x", "remedy"), [("probe (2 samples)", "x of trace --probe"), ("my.npy", "on my.npy")]
)
@pytest.mark.parametrize("shape", [(4, 9, 5), (4, 8, 5)])
def test_ports_of_another_x_have_a_remedy(given_x: str, remedy: str, shape: Any) -> None:
    text = refusal("h", random(*shape), given_x, **GRU)
    assert remedy in text
    assert "--N" not in text


def test_shapes_that_fit_are_listed_once() -> None:
    text = refusal("y_hat", random(3, 9, 7), **GRU)
    shapes = ("y_hat (N, T, K) = (3, 9, 2)", "(N, K) = (3, 2)")
    assert [text.count(shape) for shape in shapes] == [1, 1]
    assert not any(word in text for word in ("reshape", "transpose", "--N"))
    unnamed = refusal("", random(3, 9, 7), **GRU)
    shapes = ("= (3, 9, 2)", "= (3, 2)", "= (3, 9, 5)", "= (3, 5)")
    assert [unnamed.count(shape) for shape in shapes] == [1, 1, 1, 1]
    both = refusal("output", random(3, 9, 7), **BOTH)
    assert [both.count(shape) for shape in ("= (3, 9, 2)", "= (3, 2)")] == [1, 2]
    rows = refusal("h", random(27, 5), file="port.csv", **GRU)
    assert "sample and t" in rows


@pytest.mark.parametrize("spec", [{**GRU, "M": [5, 6]}, BOTH])
def test_only_h_of_the_last_layer_needs_no_name(spec: Any) -> None:
    """Of both directions, or those of a lower layer, any may be meant."""
    assert "(3, 9, 5)" in refusal("", random(3, 9, 5), **spec)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_of_a_port_have_to_be_finite(number: float) -> None:
    """The first that is not is told by sample, step and unit."""
    values = random(3, 9, 5)
    values[2, 7, 1] = values[1, 4, 3] = values[2, 2, 0] = number
    text = refusal("h", values, **GRU)
    assert "3, the first for sample 1, t 4, unit 3" in text
    last = random(3, 5)
    last[1, 2] = number
    assert "sample 1, t 0, unit 2" in refusal("h", last, **BACK)


def test_unknown_names_are_listed() -> None:
    """At most four, with the nearest known one; what is ignored is not compared."""
    network = network_from(**GRU)
    names = ["y_hat", "gruu.h", "b", "c1", "d", "e", "x", "gru/kernel"]
    port = Port("port", tuple(array_of(name, random(3, 9, 2)) for name in names), ("left",))
    with pytest.raises(InputError) as error:
        check_names(network, port)
    text = str(error.value)
    assert "'gruu.h', 'b', 'c1', 'd' and 1 more (did you mean 'gru.h'?)" in text
    assert "--ignore gruu.h" in text
    assert unknown_names(network, port) == (*names[1:], "left")
    (found,) = match_arrays(network, replace(port, arrays=(port.arrays[2], port.arrays[0])))
    assert (found.name, found.note) == ("y_hat", "")
    right = replace(port, arrays=tuple(a for a in port.arrays if a.name in ("y_hat", "x")))
    check_names(network, right)
    assert unknown_names(network, right) == ("x", "left")
    alone = replace(port, arrays=port.arrays[1:2], ignored=())
    check_names(network, alone)
    assert unknown_names(network, alone) == ()


# --- States as frameworks return them -----------------------------------------------------------


STACK = {"cell": "gru", "M": [5, 5]}
F, B = (f"bidirectional/{way}_gru.h" for way in ("forward", "backward"))
Split = dict[str, Callable[[Array], Array]]
SIDES: Split = {F: lambda v: v[..., :5], B: lambda v: v[..., 5:]}
FIRST: Split = {F: lambda v: v[0], B: lambda v: v[1]}
#: Options, a name and a shape, and what each array has that it is split into.
STATES: list[tuple[dict[str, Any], str, tuple[int, ...], Split]] = [
    (GRU, "Y", (9, 1, 3, 5), {"gru.h": lambda v: v[:, 0].swapaxes(0, 1)}),
    (GRU, "Y", (3, 9, 1, 5), {"gru.h": lambda v: v[:, :, 0]}),
    (GRU, "gru.Y", (3, 9, 1, 5), {"gru.h": lambda v: v[:, :, 0]}),
    (GRU, "Y_h", (1, 3, 5), {"gru.h": lambda v: v[0]}),
    (GRU, "h_n", (1, 3, 5), {"gru.h": lambda v: v[0]}),
    (GRU, "h_n", (3, 5), {"gru.h": lambda v: v}),
    (GRU, "h", (3, 9, 5), {"h": lambda v: v}),
    (GRU, "h", (1, 3, 5), {"h": lambda v: v}),
    (GRU, "gru.h", (3, 9, 5), {"gru.h": lambda v: v}),
    (GRU, "c_n", (1, 3, 5), {"c_n": lambda v: v}),
    (GRU, "dense.h_n", (1, 3, 5), {"dense.h_n": lambda v: v}),
    ({"cell": "lstm"}, "c_n", (1, 3, 5), {"lstm.c": lambda v: v[0]}),
    ({"cell": "lstm"}, "Y_c", (1, 3, 5), {"lstm.c": lambda v: v[0]}),
    (BOTH, "h", (3, 9, 10), SIDES),
    (BOTH, "h", (9, 3, 10), SIDES),
    (BOTH, "bidirectional.h", (3, 10), SIDES),
    (BOTH, "h", (3, 9, 5), {"h": lambda v: v}),
    (BOTH, "h", (2, 3, 5), FIRST),
    (BOTH, "Y_h", (2, 3, 5), FIRST),
    (
        BOTH,
        "Y",
        (9, 2, 3, 5),
        {F: lambda v: v[:, 0].swapaxes(0, 1), B: lambda v: v[:, 1].swapaxes(0, 1)},
    ),
    (BOTH, "Y", (3, 9, 2, 5), {F: lambda v: v[:, :, 0], B: lambda v: v[:, :, 1]}),
    (BOTH, "Y", (3, 9, 5), {"Y": lambda v: v}),
    (STACK, "h_n", (2, 3, 5), {"gru.h": lambda v: v[0], "gru_1.h": lambda v: v[1]}),
    (STACK, "h_n", (1, 3, 5), {"gru_1.h": lambda v: v[0]}),
    (STACK, "gru.h_n", (1, 3, 5), {"gru.h": lambda v: v[0]}),
    (STACK, "gru.h_n", (2, 3, 5), {"gru.h": lambda v: v}),
]


@pytest.mark.parametrize(("spec", "name", "shape", "parts"), STATES)
def test_states_of_frameworks_are_split(
    spec: Any, name: str, shape: tuple[int, ...], parts: Split
) -> None:
    values = random(*shape)
    found = split_states(network_from(**spec), Port("port", (array_of(name, values),))).arrays
    assert [one.name for one in found] == list(parts)
    for one, part in zip(found, parts.values(), strict=True):
        np.testing.assert_array_equal(one.values, part(values))
        np.testing.assert_array_equal(one.rounding, part(values / 1e3))


@pytest.mark.parametrize(
    ("spec", "shape", "names"),
    [
        (BOTH, (3, 9, 10), [F, B]),
        (BOTH, (3, 10), [F, B]),
        (BOTH, (3, 9, 2, 5), [F, B]),
        (GRU, (9, 1, 3, 5), ["gru.h"]),
        (GRU, (3, 9, 5), [""]),
        (BOTH, (3, 9, 2), [""]),
    ],
)
def test_unnamed_states_are_split_by_shape(spec: Any, shape: Any, names: list[str]) -> None:
    found = split_unnamed(network_from(**spec), array_of("", random(*shape)))
    assert [one.name for one in found] == names
    assert all(bool(one.note) == (names != [""]) for one in found)


#: Options, the shape of PyTorch's ``output``, the name that it gets, and whether time is first.
OUTPUTS: list[tuple[dict[str, Any], tuple[int, ...], str, bool]] = [
    (GRU, (3, 9, 5), "gru.h", False),
    (GRU, (9, 3, 5), "gru.h", True),
    (GRU, (3, 9, 4), "output", False),
    (GRU, (9, 5), "output", False),
    ({**GRU, "N": 1}, (9, 5), "gru.h", False),
    ({**GRU, "N": 1}, (1, 9, 5), "gru.h", False),
    ({**GRU, "M": [4, 5]}, (9, 3, 5), "gru_1.h", True),
    (BOTH, (3, 9, 10), "bidirectional.h", False),
    (BOTH, (9, 3, 10), "bidirectional.h", True),
    (BOTH, (9, 3, 5), "output", False),
    ({**GRU, "N": 9}, (9, 9, 5), "gru.h", False),
]


@pytest.mark.parametrize(("spec", "shape", "name", "time_first"), OUTPUTS)
def test_output_of_pytorch_has_either_order(
    spec: Any, shape: tuple[int, ...], name: str, time_first: bool
) -> None:
    values = random(*shape)
    found = as_pytorch_output(network_from(**spec), array_of("output", values), None)
    assert (found.name, bool(found.note)) == (name, name != "output")
    expected = values.swapaxes(0, 1) if time_first else values
    np.testing.assert_array_equal(found.values, expected)
    np.testing.assert_array_equal(found.rounding, expected / 1e3)


@pytest.mark.parametrize("spec", [GRU, BOTH, {**GRU, "M": [4, 5]}])
@pytest.mark.parametrize(
    ("row", "time_first"), [("last step", True), ("first step", False), ("last sample", False)]
)
def test_last_states_tell_the_order_of_squares(spec: Any, row: str, time_first: bool) -> None:
    """Of the last layer, forward; with as many samples as steps."""
    network, dirs = network_from(**{**spec, "N": 9}), 2 if spec is BOTH else 1
    output = random(9, 9, 5 * dirs)
    choose = {"last step": np.s_[-1], "first step": np.s_[0], "last sample": np.s_[:, -1]}
    h_n = random(2, 9, 5)
    h_n[-dirs] = output[choose[row]][:, :5]
    found = as_pytorch_output(network, array_of("output", output), array_of("h_n", h_n))
    expected = output.swapaxes(0, 1) if time_first else output
    np.testing.assert_array_equal(found.values, expected)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, True), (0.9e-3, True), (1.1e-3, False), (-1.1e-3, False)]
)
@pytest.mark.parametrize("time_first", [True, False])
def test_an_output_may_end_in_last_states(share: float, expected: bool, time_first: bool) -> None:
    """Each sample at another step, in any layer, within a thousandth of the largest number."""
    output = random(9, 3, 7)
    h_n = random(2, 3, 5)
    h_n[1] = output[[8, 3, 5], range(3), :5]
    h_n[1, 1, 2] += share * h_n[1].max()
    given = output if time_first else output.swapaxes(0, 1)
    assert may_end_in(array_of("output", given), array_of("h_n", h_n)) == expected


@pytest.mark.parametrize(
    ("output", "h_n", "expected"),
    [
        ((9, 3, 5), None, True),
        ((9, 5), (1, 3, 5), True),
        ((9, 3, 5), (5,), True),
        ((9, 3, 5), (3, 5), False),
        ((9, 3, 5), (1, 4, 5), False),
        ((3, 0, 5), (1, 3, 5), True),
        ((9, 3, 5), (1, 3, 0), True),
        ((9, 3, 5), (0, 3, 5), True),
    ],
)
def test_states_of_other_shapes_decide_nothing(output: Any, h_n: Any, expected: bool) -> None:
    last = None if h_n is None else array_of("h_n", random(*h_n))
    assert may_end_in(array_of("output", random(*output)), last) == expected


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5), (0, 3, 5), (3, 10), (2, 15), (5,)])
def test_output_of_pytorch_needs_no_last_states(shape: tuple[int, ...]) -> None:
    """Those of another shape leave samples first where N = T."""
    network = network_from(**{**BOTH, "N": 3, "T": 3})
    output = array_of("output", random(3, 3, 10))
    found = as_pytorch_output(network, output, array_of("h_n", random(*shape)))
    assert found.name == "bidirectional.h"
    np.testing.assert_array_equal(found.values, output.values)
