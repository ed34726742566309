"""Where a port differs, and how far the difference extends, from which numbers are wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

from rnnshapes.forward import scan
from rnnshapes.network.graph import Network
from rnnshapes.network.weights import bind
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.arrays import read_port
from rnnshapes.port.compare import Comparison, compare_with, fully_reported
from rnnshapes.port.location import Extent, Location, extent_of, locate, outputs_that_follow
from rnnshapes.port.quantities import ReportedQuantity, match_arrays
from rnnshapes.session import open_session
from tests.helpers.handmade import SIZES
from tests.helpers.models import functional, sequential
from tests.helpers.tried import base_of

Array = np.ndarray
#: Indices (samples, steps, units) of wrong numbers, by the name of an array.
Wrong = dict[str, Any]
ALL = np.s_[:]
FLOAT32 = PRECISIONS["float32"]


def compared(
    wrong: Wrong, *, right: str = "", proven: str = "all", error: float = 0.5, **spec: Any
) -> tuple[Network, tuple[ReportedQuantity, ...], list[Comparison]]:
    """Compare arrays, wrong and right ones, within a bound of a millionth."""
    with open_session(**(spec if "model" in spec else {**SIZES, **spec})) as session:
        network = session.network
    n, t = network.size("N"), network.size("T")
    k = network.count(network.output_shapes.at_step[-1])
    widths = {f"{name}.{key}": m for name, w in network.widths.items() for key, m in w.items()}
    rng, port = np.random.default_rng(0), {}
    for name in [*wrong, *right.split()]:
        shape = (n, k) if name == "output" else (n, t, widths.get(name, k))
        port[name] = rng.uniform(0.1, 0.8, shape).astype("f")
    quantities, checks = [], []
    for quantity, name in zip(match_arrays(network, read_port(port)), port, strict=True):
        values = quantity.values.copy()
        if name in wrong:
            values[wrong[name]] += error
        changed = replace(quantity, values=values)
        check = compare_with(changed, quantity.values, np.full(values.shape, 1e-6))
        quantities.append(changed)
        checks.append(replace(check, proven=proven == "all" or name in proven.split()))
    return network, tuple(quantities), checks


def located(*args: Any, **options: Any) -> tuple[Location, ...]:
    return locate(*compared(*args, **options))


LSTM, GRU = {"cell": "lstm"}, {"cell": "gru"}
BOTH = {"cell": "gru", "bidirectional": True}
WAYS = [f"bidirectional/{way}_gru.h" for way in ("forward", "backward")]
#: Options of the network, wrong numbers, right arrays, and the layer, direction, array, gate, unit
#: and step of each place.
PLACES: list[tuple[dict[str, Any], Wrong, str, list[tuple[Any, ...]]]] = [
    (LSTM, {"lstm.h": np.s_[1, 4:, 2]}, "lstm.c", [("lstm", None, "h", "o", 2, 4)]),
    (LSTM, {"lstm.h": np.s_[1, 4:, 2]}, "", [("lstm", None, "h", None, 2, 4)]),
    (
        LSTM,
        {"lstm.h": np.s_[:, 3:], "lstm.c": np.s_[:, 2:]},
        "",
        [("lstm", None, "c", None, None, 2)],
    ),
    (
        LSTM,
        {"lstm.c": np.s_[:, 3:], "lstm.h": np.s_[:, 3:]},
        "",
        [("lstm", None, "c", None, None, 3)],
    ),
    (GRU, {"gru.h": np.s_[:, 3:, 1:3]}, "", [("gru", None, "h", None, None, 3)]),
    (
        {**LSTM, "go_backwards": True},
        {"lstm.h": np.s_[:, :7], "lstm.c": np.s_[:, :8]},
        "",
        [("lstm", None, "c", None, None, 0)],
    ),
    (BOTH, {WAYS[1]: np.s_[:, :6]}, WAYS[0], [("bidirectional", "backward", "h", None, None, 0)]),
    (
        BOTH,
        {WAYS[0]: np.s_[:, 4, 1], WAYS[1]: np.s_[:, 5, 3]},
        "",
        [
            ("bidirectional", "forward", "h", None, 1, 4),
            ("bidirectional", "backward", "h", None, 3, 5),
        ],
    ),
    (GRU, {"y_hat": np.s_[2, :, 1]}, "gru.h", [("dense", None, "y_hat", None, 1, 0)]),
    (GRU, {"output": np.s_[2, :, 1]}, "gru.h", [("dense", None, "output", None, 1, 8)]),
    (BOTH, {"y_hat": ALL}, WAYS[0], [(None, None, "y_hat", None, None, 0)]),
    (BOTH, {"y_hat": ALL}, " ".join(WAYS), [("dense", None, "y_hat", None, None, 0)]),
    (
        {"cell": "simple", "M": [4, 5]},
        {"simple_rnn_1.h": ALL, "y_hat": ALL},
        "simple_rnn.h",
        [("simple_rnn_1", None, "h", None, None, 0)],
    ),
    (
        {"cell": "simple", "M": [4, 5]},
        {"y_hat": ALL},
        "simple_rnn.h",
        [(None, None, "y_hat", None, None, 0)],
    ),
]


@pytest.mark.parametrize(("spec", "wrong", "right", "places"), PLACES)
def test_a_difference_has_its_place(
    spec: dict[str, Any], wrong: Wrong, right: str, places: list[Any]
) -> None:
    """y_hat, whose bound is not that of one step, follows from a wrong state."""
    states = " ".join(name for name in wrong if "." in name)
    found = located(wrong, right=right, proven=states, **spec)
    assert [tuple(one.where) for one in found] == places
    for one in found:
        assert (one.where.layer or "") in one.text
        assert (one.where.direction or "") in one.text


@pytest.mark.parametrize(
    ("names", "layer"),
    [("dense", "dense"), ("drop dense", "dense"), ("more dense", None), ("drop", None), ("", None)],
)
def test_one_layer_with_weights_after_right_states_is_wrong(names: str, layer: Any) -> None:
    kinds = {"dense": la.Dense(2, name="dense"), "more": la.Dense(4), "drop": la.Dropout(0.5)}
    head = [kinds[name] for name in names.split()]
    model = sequential(la.GRU(5, return_sequences=True, name="gru"), *head, shape=(9, 4))
    (one,) = located({"y_hat": ALL}, right="gru.h", model=model, N=3)
    assert one.where.layer == layer


def test_layers_without_recurrence_have_no_place() -> None:
    model = sequential(la.Dense(2), shape=(9, 4))
    (one,) = located({"y_hat": ALL}, model=model, N=3)
    assert (one.where.layer, one.where.array) == (None, "y_hat")


def hints(one: Location) -> list[str]:
    """Return what may be the cause, after the place."""
    return one.text.split("; ")[1:]


def test_steps_of_a_direction_count_from_its_start() -> None:
    (late,) = located({WAYS[1]: np.s_[:, :6]}, **BOTH)
    (early,) = located({WAYS[1]: np.s_[:, 3:]}, **BOTH)
    assert [len(hints(late)), len(hints(early))] == [1, 0]


def test_unit_of_no_layer_is_described() -> None:
    (one,) = located({"y_hat": np.s_[..., 1]}, right=WAYS[0], **BOTH)
    assert one.where.layer is None
    assert "1" in one.text


def test_what_is_not_compared_by_step_follows() -> None:
    wrong = {WAYS[0]: np.s_[:, 4, 1], WAYS[1]: np.s_[:, 5, 3]}
    found = located(wrong, proven="none", **BOTH)
    assert [one.where.direction for one in found] == ["forward"]


def described(at: Any) -> tuple[list[int], list[str]]:
    """Return the numbers of the place, and the hints, for nine steps, seven samples, five units."""
    (one,) = located({"gru.h": at}, N=7, **GRU)
    place = one.text.partition("; ")[0]
    return [int(number) for number in re.findall(r"\d+", place)], hints(one)


#: A clear case of each hint.
HINTED = {"late": np.s_[:, 1:], "first": np.s_[:, 0], "samples": np.s_[1:], "": ALL}


@pytest.mark.parametrize(
    ("at", "numbers", "hint"),
    [
        (np.s_[:, 2:6, 1], [1, 4, 9, 2, 5], "late"),
        (np.s_[:, 3, 1], [1, 3], ""),
        (np.s_[:, :, 1:3], [1, 2], ""),
        (np.s_[:, 0], [0], "first"),
        (np.s_[:, 2:, :4], [0, 1, 2, 3, 7, 9, 2, 8], "late"),
        (np.s_[:, :8, :3], [0, 1, 2, 8, 9, 0, 7], ""),
        (np.s_[:5], [0, 1, 2, 3, 1], ""),
        (np.s_[2:4, 1:, 4], [4, 2, 3, 8, 9, 1, 8], "late"),
        (np.s_[1:], [1, 2, 3, 4, 2], "samples"),
        (np.s_[1:, :, :3], [0, 1, 2, 1, 2, 3, 4, 2], "samples"),
        (np.s_[1:, :, :2], [0, 1, 1, 2, 3, 4, 2], ""),
        (np.s_[2:], [2, 3, 4, 5, 1], ""),
        (np.s_[:6], [0, 1, 2, 3, 2], ""),
        (np.s_[1:, 1:, :2], [0, 1, 1, 2, 3, 4, 2, 8, 9, 1, 8], "late"),
    ],
)
def test_units_samples_and_steps_are_counted(at: Any, numbers: list[int], hint: str) -> None:
    """At most four are listed."""
    assert described(at) == (numbers, described(HINTED[hint])[1])


def test_half_of_the_units_may_be_of_another_sample() -> None:
    (one,) = located({"y_hat": np.s_[1:, :, 0]}, N=7, **GRU)
    assert hints(one) == described(HINTED["samples"])[1]


def test_the_only_step_is_not_told() -> None:
    (one,) = located({"gru.h": ALL}, T=1, **GRU)
    assert re.findall(r"\d", one.text) == []


def test_first_step_of_a_run_hints_at_nothing() -> None:
    """Later steps do not start from the port's own states."""
    (one,) = located({"gru.h": np.s_[:, 0]}, proven="none", N=7, **GRU)
    assert hints(one) == []


@pytest.mark.parametrize("start", ["zeros", "given", "in batches"])
def test_first_output_follows_from_zeros_alone(start: str) -> None:
    """Not from given states, nor from those of the batch before."""

    def started(x: Any, h: Any) -> Any:
        return la.Dense(2)(la.GRU(5, return_sequences=True)(x, initial_state=h))

    spec = {"model": functional(started, (9, 4), (5,)), "N": 3} if start == "given" else GRU
    network, quantities, checks = compared({"y_hat": ALL}, **spec)
    network = replace(network, batch=3 if start == "in batches" else None)
    (one,) = locate(network, quantities, checks)
    assert bool(one.text) == (start == "zeros")


def test_each_kind_of_difference_has_its_hint() -> None:
    every = [described(at)[1] for at in HINTED.values()]
    assert [len(some) for some in every] == [1, 1, 1, 0]
    assert len({*map(tuple, every)}) == 4


@pytest.mark.parametrize(
    ("wrong", "hinted"),
    [
        ({"lstm.c": np.s_[:], "lstm.h": np.s_[:, 1:]}, True),
        ({"lstm.c": np.s_[:, 1:], "lstm.h": np.s_[:, 2:]}, False),
        ({"lstm.c": np.s_[:], "lstm.h": np.s_[:]}, False),
    ],
)
def test_another_c_is_told_from_wrong_states(wrong: Wrong, hinted: bool) -> None:
    """h is right at the first step, at which c is not."""
    (one,) = located(wrong, **LSTM)
    assert one.where.array == "c"
    assert bool({*hints(one)} - {*described(HINTED["late"])[1]}) == hinted


@pytest.mark.parametrize(("t", "hinted"), [(1, False), (2, True)])
def test_a_last_c_may_be_wrong_itself(t: int, hinted: bool) -> None:
    """Of one step, h alone does not tell whether it is the c of another step."""
    (one,) = located({"lstm.c": ALL}, right="lstm.h", T=t, **LSTM)
    assert bool(hints(one)) == hinted


@pytest.mark.parametrize("zeros", [True, False])
def test_zero_h_is_told_from_a_wrong_gate(zeros: bool) -> None:
    network, (h, c), checks = compared({"lstm.h": np.s_[1, 4:]}, right="lstm.c", **LSTM)
    values = h.values.copy()
    values[1, 4:] *= not zeros
    (one,) = locate(network, [replace(h, values=values), c], checks)
    assert ("0" in hints(one)[0]) == zeros


def test_outputs_of_no_known_layer_are_the_ports() -> None:
    (one,) = located({"y_hat": np.s_[:, 2:, 1]}, **GRU)
    assert (one.where.layer, one.where.array, one.where.unit) == (None, "y_hat", 1)
    assert "None" not in one.text


STACK = {"cell": "lstm", "M": [4, 5]}


@pytest.mark.parametrize(
    ("spec", "wrong", "right", "mentioned"),
    [
        (BOTH, {"y_hat": ALL}, WAYS[0], WAYS[0]),
        (BOTH, {"y_hat": ALL}, " ".join(WAYS), ""),
        (GRU, {"output": ALL}, "y_hat", ""),
        (STACK, {"lstm_1.h": ALL}, "lstm.h", "lstm.h"),
        (STACK, {"lstm_1.h": ALL, "lstm.c": ALL}, "lstm.h", ""),
    ],
)
def test_one_right_recurrence_is_mentioned(
    spec: Any, wrong: Wrong, right: str, mentioned: str
) -> None:
    *_, one = located(wrong, right=right, **spec)
    names = [
        name for name in right.split() if re.search(rf"\b{name.partition('.')[0]}\b", one.text)
    ]
    assert " ".join(names) == mentioned


def test_h_that_is_not_compared_may_be_right() -> None:
    network, quantities, checks = compared({"lstm.c": ALL}, right="lstm.h", **LSTM)
    left_out = [replace(check, left_out=check.left_out + 10**6) for check in checks]
    texts = [locate(network, quantities, some)[0].text for some in (checks, left_out)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("share", "dtype", "expected"),
    [
        (0.0, "float32", {"lstm"}),
        (60 * 2**-24, "float32", {"lstm"}),
        (70 * 2**-24, "float32", set()),
        (0.1, "float32", set()),
        (0.0, "float16", set()),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_h_follows_from_c_within_its_rounding(
    share: float, dtype: str, expected: set[str], sign: int
) -> None:
    """Also where c is wrong; in 16 bits, rounding is too large to tell."""
    base = base_of(**SIZES, **LSTM, what="lstm.h lstm.c")
    (one,) = fully_reported(base)
    rng = np.random.default_rng(0)
    states = {"c": one.states["c"] + rng.normal(0, 0.3, one.states["c"].shape)}
    w = bind("lstm", base.weights, "float64")
    right = one.states["h"].copy()
    for t in range(9):  # each step starts from the h before it
        h = scan.outputs_of_states(one.direction, one.x, {"h": right, **states}, w)
        right[:, t] = h[:, t]
    small = np.unravel_index(int(np.argmin(np.abs(right[:, -1]))), right[:, -1].shape)
    right[small[0], -1, small[1]] += sign * share * np.abs(right).max()
    states["h"] = right
    base = base.map_quantities(lambda q: replace(q, values=states[q.key]))
    assert outputs_that_follow([base], PRECISIONS[dtype]) == expected


@pytest.mark.parametrize(
    ("wrong", "arrays", "hinted"),
    [
        ({"lstm.h": np.s_[:, 2:], "lstm.c": np.s_[:, 3:]}, ["h", "c"], True),
        ({"lstm.h": np.s_[:, 2:], "lstm.c": np.s_[:, 3:5]}, ["h", "c"], True),
        ({"lstm.h": np.s_[:, 2:], "lstm.c": np.s_[:, 3]}, ["h", "c"], False),
        ({"lstm.h": np.s_[:, 2:]}, ["h", "h"], False),
        ({"lstm.c": np.s_[:, 2:]}, ["c", "c"], True),
    ],
)
def test_h_that_follows_leads_to_c(wrong: Wrong, arrays: list[str], hinted: bool) -> None:
    """Where nothing is known of h, and where it follows from c."""
    compared_ = compared(wrong, **LSTM)
    found = [locate(*compared_, follows) for follows in ((), {"lstm"})]
    assert [one.where.array for (one,) in found] == arrays
    unknown, right = (set(hints(one)) for (one,) in found)
    assert bool(right - unknown) == hinted


def test_only_an_lstm_has_an_output_gate() -> None:
    assert outputs_that_follow([base_of(**SIZES, **GRU, what="gru.h")], FLOAT32) == set()
    lstm = base_of(**SIZES, **LSTM, what="lstm.h lstm.c")
    assert outputs_that_follow([lstm], FLOAT32) == {"lstm"}
    batched = replace(lstm, network=replace(lstm.network, batch=3))
    assert outputs_that_follow([batched], FLOAT32) == set()


# --- Extents ------------------------------------------------------------------------------------


def extent(*args: Any, **options: Any) -> Extent:
    return extent_of(*compared(*args, **options))


@pytest.mark.parametrize(
    ("at", "t", "error", "expected"),
    [
        (np.s_[:4, :4, 1], 8, 0.5, True),
        (np.s_[:4, 3:7, 1], 8, 0.5, True),
        (np.s_[:8, 2, :], 8, 0.5, True),
        (np.s_[:1, :5, 1], 8, 0.5, False),
        (np.s_[:9, 2, :], 8, 0.5, False),
        (np.s_[:1, :5, 1], 9, 0.5, False),
        (np.s_[:1, :4, 1], 9, 0.5, True),
        (np.s_[:4, 2, 1], 8, 2e-3, True),
        (np.s_[:4, 2, 1], 8, 9e-4, False),
    ],
)
def test_few_wrong_numbers_are_isolated(at: Any, t: int, error: float, expected: bool) -> None:
    """They are a sixteenth of all, at half of the steps at most, and far from right."""
    assert extent({"y_hat": at}, N=16, T=t, K=2, error=error).is_isolated == expected


@pytest.mark.parametrize(("left_out", "expected"), [(16, True), (17, False)])
def test_isolated_numbers_stand_among_right_ones(left_out: int, expected: bool) -> None:
    """Few of the others are not compared."""
    network, quantities, checks = compared({"y_hat": np.s_[:4, 2, 1]}, N=16, T=8, K=2)
    checks = [replace(check, left_out=left_out) for check in checks]
    assert extent_of(network, quantities, checks).is_isolated == expected


@pytest.mark.parametrize(
    ("steps", "t", "expected"),
    [
        (slice(0, 2), 5, True),
        (slice(0, 2), 4, False),
        (slice(0, 1), 3, True),
        (slice(0, 1), 2, False),
        (slice(4, 7), 9, False),
    ],
)
def test_two_wrong_steps_of_five_are_brief(steps: slice, t: int, expected: bool) -> None:
    assert extent({"y_hat": np.s_[:, steps]}, T=t).is_brief == expected


def test_an_extent_begins_with_the_first_wrong_number() -> None:
    wrong = {"gru.h": np.s_[1, 5:, 2], "y_hat": np.s_[2, 4:, 0], "output": ALL}
    found = extent(wrong, **GRU)
    assert (found.unit, found.step, found.sample) == (("gru", 2), 4, 2)
    assert found.differing == 4 + 5
    assert not found.is_brief
    assert extent({"output": np.s_[1:, 0, 1]}, **GRU)[:3] == (("output", 1), 8, 1)
    assert extent({"gru.h": np.s_[1, 5:, 2:4]}, **GRU).unit is None
    assert extent({"gru.h": np.s_[1:2, 5:6, 3]}, right="y_hat", **GRU).unit == ("gru", 3)
    nothing = (None, 0, 0, False, False, 0, False)
    assert extent({}, right="gru.h y_hat", **GRU) == nothing


def test_steps_count_alike_in_all_wrong_arrays() -> None:
    one, many = np.s_[0, 3, 1], np.s_[:, 2:]
    assert extent({"gru.h": one}, right="y_hat", **GRU).is_isolated
    assert not extent({"gru.h": one, "y_hat": many}, **GRU).is_isolated
    assert not extent({"gru.h": one, "y_hat": many}, **GRU).is_brief


@pytest.mark.parametrize(
    ("spec", "wrong", "right", "number", "error", "expected"),
    [
        (GRU, {"y_hat": np.s_[..., 1]}, "", None, 0.5, True),
        (GRU, {"output": np.s_[..., 1]}, "", None, 0.5, True),
        (GRU, {"gru.h": np.s_[..., 1]}, "", None, 0.5, False),
        (GRU, {"y_hat": ALL}, "", None, 0.5, False),
        (GRU, {"y_hat": np.s_[..., 1]}, "", None, 9e-4, False),
        (GRU, {"y_hat": np.s_[..., 1]}, "", 0.3, 0.5, False),
        (GRU, {"y_hat": np.s_[..., 1]}, "", 1.0, 0.5, False),
        ({**GRU, "N": 1, "T": 1}, {"y_hat": np.s_[..., 1]}, "", 0.3, 0.5, True),
        ({**GRU, "N": 1, "T": 1}, {"y_hat": np.s_[..., 1]}, "", 1.0, 0.5, False),
        ({**GRU, "N": 1, "T": 1}, {"y_hat": np.s_[..., 1]}, "", 5e-4, 0.5, False),
        ({**GRU, "N": 2, "T": 1}, {"y_hat": np.s_[..., 1]}, "", 0.3, 0.5, False),
    ],
)
def test_right_units_that_vary_leave_the_head(
    spec: Any, wrong: Wrong, right: str, number: float | None, error: float, expected: bool
) -> None:
    """A constant unit, or a saturated one, proves nothing."""
    network, quantities, checks = compared(wrong, right=right, error=error, **spec)
    if number is not None:
        values = quantities[0].values.copy()
        values[..., 0] = number
        quantities = (replace(quantities[0], values=values),)
    assert extent_of(network, quantities, checks).in_head == expected


def without_mixing(x: Any) -> Any:
    return la.GRU(2, return_sequences=True)(la.Dense(3)(x))


def beside_another(x: Any) -> Any:
    rnns = la.GRU(5, return_sequences=True), la.LSTM(6, return_sequences=True)
    return la.Concatenate()([la.Dense(1)(rnn(x)) for rnn in rnns])


@pytest.mark.parametrize("build", [None, without_mixing, beside_another])
def test_only_a_dense_layer_after_all_is_the_head(build: Any) -> None:
    """Where no number is left out."""
    spec = {"model": functional(build, (9, 4)), "N": 3} if build else GRU
    network, quantities, checks = compared({"y_hat": np.s_[..., 1]}, **spec)
    assert extent_of(network, quantities, checks).in_head == (build is None)
    checks = [replace(check, left_out=1) for check in checks]
    assert not extent_of(network, quantities, checks).in_head
