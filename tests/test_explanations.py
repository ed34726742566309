"""Explanations as they are joined, sections of a port, and when a port is inexact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.errors import InputError
from rnnshapes.port.compare import Comparison, compare_with
from rnnshapes.port.error_summary import summarize_error
from rnnshapes.port.evidence import explained_bits, least_bits
from rnnshapes.port.explanation import Diagnosis, Explanation, in_layer, is_needless, joined
from rnnshapes.port.hypothesis import Mistake, Where, direction_of
from rnnshapes.port.inexact_verdict import check_tolerance, is_inexact, largest_share
from rnnshapes.port.report import PortVerification
from rnnshapes.port.sections import compare_sections, sections
from rnnshapes.reference.outputs import STATES
from tests.helpers.handmade import SIZES
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import hypothesis_of

Array = np.ndarray
WRONG = Mistake("bias.omitted", "the bias is left out", Where(array="bias"))
OTHER = Mistake("gates.order", "another order, in lstm", Where("lstm"), "reorder")
HEAD = Mistake("head.bias", "no bias", Where("dense"))
SHORT = Mistake("numeric.float16", "the arithmetic is float16")
ROUNDED = Mistake("weights.quantized", "8 bits")


def check_of(error: Array | float = 0.0, bound: float = 1e-6, shape: Any = (3, 9, 2)) -> Comparison:
    """Compare a random output that is off by an error."""
    (quantity,) = hypothesis_of(
        {"y_hat": np.random.default_rng(0).uniform(0.1, 0.9, shape)}, **{**SIZES, "T": shape[1]}
    ).quantities
    wrong = replace(quantity, values=quantity.values + error)
    check = compare_with(wrong, quantity.values, np.full(shape, bound))
    return replace(check, error=summarize_error(wrong.values, quantity.values))


def explanation(*mistakes: Mistake, dtype: str = "float32", **fields: Any) -> Explanation:
    return Explanation(mistakes, dtype, fields.pop("comparisons", (check_of(),)), **fields)


def test_an_explanation_has_ids_of_all_its_mistakes() -> None:
    checks = (check_of(5e-7), check_of(2.5e-7))
    one = explanation(WRONG, OTHER, arithmetic=SHORT, comparisons=checks)
    assert one.ids == ("bias.omitted", "gates.order", "numeric.float16")
    assert one.id == " + ".join(one.ids)
    assert all(mistake.text in one.text for mistake in (WRONG, OTHER, SHORT))
    assert one.ratio == pytest.approx(0.5)
    assert one.compared == 2 * 54
    assert explanation(WRONG).all_mistakes == (WRONG,)
    several = explanation(OTHER, HEAD, WRONG, OTHER, arithmetic=SHORT)
    assert several.by_layer == ((OTHER, OTHER), (HEAD,), (WRONG, SHORT))


def test_mistakes_of_a_section_have_its_layer() -> None:
    network = hypothesis_of({"h": np.zeros((3, 9, 5))}, **SIZES, cell="lstm").network
    located = in_layer(explanation(WRONG, OTHER, HEAD, arithmetic=SHORT), network)
    first, second, third = located.mistakes
    assert (first.where.layer, first.where.array) == ("lstm", "bias")
    assert "lstm" in first.text
    assert (second, third) == (OTHER, HEAD)
    assert located.arithmetic == SHORT
    stack = {**SIZES, "M": [5, 5], "cell": "lstm"}
    two = hypothesis_of({"h": np.zeros((3, 9, 5))}, **stack).network
    assert in_layer(explanation(WRONG), two) == explanation(WRONG)


def test_explanations_are_joined_in_the_coarsest_dtype() -> None:
    fine, coarse = explanation(WRONG), explanation(OTHER, dtype="float16", arithmetic=SHORT)
    rest = check_of(1e-7)
    for parts in ((fine, coarse), (coarse, fine)):
        both = joined(parts, [rest])
        assert both.mistakes == tuple(m for one in parts for m in one.mistakes)
        assert (both.dtype, both.arithmetic, both.mixed) == ("float16", SHORT, False)
        assert both.comparisons == (*fine.comparisons, *coarse.comparisons, rest)
    assert joined([fine]).arithmetic is None
    assert joined([fine, replace(fine, mixed=True)]).mixed
    lower = explanation(HEAD, dtype="bfloat16")
    assert joined([coarse, lower]).arithmetic is None


def test_an_explanation_that_needs_more_is_needless() -> None:
    """Another one with fewer mistakes, or an earlier one with the same numbers, is enough."""
    near, far = ((check_of(error),) for error in (1e-7, 2e-7))
    again, third = WRONG._replace(text="again"), OTHER._replace(id="third")
    fewer = (replace(near[0], residual=replace(near[0].residual, compared=9)),)
    for several, needless in (
        ([explanation(WRONG, OTHER, comparisons=near), explanation(WRONG, comparisons=far)], [0]),
        ([explanation(WRONG), explanation(WRONG, OTHER)], [1]),
        ([explanation(WRONG), explanation(OTHER)], []),
        ([explanation(WRONG), explanation(again)], [1]),
        ([explanation(WRONG, comparisons=near), explanation(again, comparisons=far)], []),
        ([explanation(WRONG, comparisons=near), explanation(again, comparisons=fewer)], []),
        ([explanation(WRONG, OTHER), explanation(WRONG, third)], [1]),
    ):
        assert [n for n, one in enumerate(several) if is_needless(several, one)] == needless


# --- Evidence -----------------------------------------------------------------------------------

NUMBERS = np.random.default_rng(0).uniform(0.1, 0.9, (3, 9, 2))
DECISIONS = np.eye(2)[np.arange(27) % 9 // 8].reshape(3, 9, 2)


def bits_of(
    values: Array, wrong: Any, before: float, after: float, steps: slice = slice(None)
) -> float:
    """Return how many bits an explanation holds: numbers off by 2^-8 are right with it."""
    error = np.zeros(values.shape)
    error[wrong] = 2.0**-8
    (quantity,) = hypothesis_of({"y_hat": values}, **SIZES).quantities
    some = quantity.at_steps(steps, np.arange(9)[steps])
    unchanged = compare_with(quantity, values - error, np.full(values.shape, before))
    right = compare_with(some, some.values, np.full(some.values.shape, after))
    return explained_bits([quantity], [unchanged], [right])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (2.0**-12, 2.0**-12, 6 * 4),
        (2.0**-12, 2.0**-10, 6 * 2),
        (2.0**-12, 2.0**-13, 6 * 5),
        (2.0**-12, 2.0**-14, 6 * 6),
        (2.0**-12, 2.0**-15, 6 * 4 + 54 * 3),
        (2.0**-12, 0.0, 6 * 4),
    ],
)
def test_bits_are_ratios_of_differences_and_bounds(
    before: float, after: float, expected: float
) -> None:
    """Of all numbers compared, if the bound is much smaller, and of those that differed if not."""
    wrong = np.s_[:, 4]
    assert bits_of(NUMBERS, wrong, before, after) == pytest.approx(expected)
    flat = np.repeat(NUMBERS[:, :1], 9, axis=1)  # each number is there nine times
    assert bits_of(flat, wrong, before, after) == pytest.approx(expected / 9)


def test_decisions_hold_few_bits() -> None:
    """As many as a draw of rows that are as frequent: 3 of 27 here."""
    entropy = -(3 * np.log2(3 / 27) + 24 * np.log2(24 / 27))
    found = bits_of(DECISIONS, np.s_[:], 2.0**-20, 2.0**-20)
    assert found == pytest.approx(entropy)
    assert bits_of(DECISIONS, np.s_[0, 0, 0], 2.0**-12, 2.0**-12) == pytest.approx(4)


@pytest.mark.parametrize(
    ("wrong", "steps", "expected"),
    [
        ([0], slice(1, None), 0),
        ([0, 3], slice(1, None), 48),
        ([8], slice(8), 0),
        ([0], slice(8), 24),
    ],
)
def test_steps_that_are_left_out_explain_nothing(
    wrong: list[int], steps: slice, expected: float
) -> None:
    found = bits_of(NUMBERS, (slice(None), wrong), 2.0**-12, 2.0**-12, steps)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(("tried", "bits"), [(0, 0), (1, 0), (2, 1), (1024, 10)])
def test_best_of_many_needs_more_evidence(tried: int, bits: int) -> None:
    assert least_bits(tried) == pytest.approx(bits + np.log2(100))


# --- Sections -----------------------------------------------------------------------------------


def parts_of(names: str, *, last: bool = False, model: Any = None, **spec: Any) -> list[Any]:
    """Return name and steps of what each section has of the port."""
    options = {"model": model, "N": 3} if model else {**SIZES, **spec}
    golden = rnnshapes.golden(**options, keras=False).arrays
    port = {}
    for word in names.split():
        name, _, step = word.partition("@")
        port[name] = golden[name][:, int(step)] if step else golden[name]
    base = hypothesis_of(port, **options)
    found = sections(base, at_last_step=last)
    for part in found:  # each is right alone
        for check in compare_sections([part], part.quantities, "float64"):
            assert check.agrees
    return [[one.name for one in part.quantities] for part in found]


STACK = {"cell": "simple", "M": [4, 5]}
LSTM = {"cell": "lstm", "return_sequences": True}
BOTH = {"cell": "gru", "bidirectional": True, "return_sequences": True}
FORWARD, BACKWARD = (f"bidirectional/{way}_gru" for way in ("forward", "backward"))


@pytest.mark.parametrize(
    ("names", "spec", "expected"),
    [
        ("simple_rnn.h simple_rnn_1.h", STACK, [["simple_rnn"], ["simple_rnn_1"]]),
        ("simple_rnn_1.h", STACK, [["simple_rnn_1"]]),
        ("simple_rnn.h y_hat", STACK, [["simple_rnn"], ["y_hat"]]),
        ("simple_rnn.h@-1 y_hat", STACK, [["simple_rnn", "y_hat"]]),
        ("y_hat", STACK, [["y_hat"]]),
        (f"{FORWARD}.h {BACKWARD}.h y_hat", BOTH, [[FORWARD, BACKWARD], ["y_hat"]]),
        (f"{FORWARD}.h y_hat", BOTH, [[FORWARD, "y_hat"]]),
        (
            f"{FORWARD}.h {BACKWARD}.h y_hat",
            {**BOTH, "merge_mode": "sum"},
            [[FORWARD, BACKWARD, "y_hat"]],
        ),
        ("lstm.h lstm.c y_hat", LSTM, [["lstm"] * 2, ["y_hat"]]),
        ("lstm.c y_hat", LSTM, [["lstm", "y_hat"]]),
        (
            "gru.h y_hat",
            {"cell": "gru", "go_backwards": True, "return_sequences": True},
            [["gru"], ["y_hat"]],
        ),
        ("gru.h output", {"cell": "gru"}, [["gru", "output"]]),
    ],
)
def test_each_layer_starts_from_what_the_port_has(
    names: str, spec: dict[str, Any], expected: list[list[str]]
) -> None:
    assert parts_of(names, **spec) == expected


@pytest.mark.parametrize(
    ("names", "spec", "expected"),
    [
        ("gru.h output", {"cell": "gru"}, [["gru"], ["output"]]),
        ("gru.h y_hat@-1", {"cell": "gru"}, [["gru"], ["y_hat"]]),
        ("gru.h y_hat", {"cell": "gru"}, [["gru", "y_hat"]]),
        ("gru.h output", {"cell": "gru", "go_backwards": True}, [["gru"], ["output"]]),
        (f"{FORWARD}.h {BACKWARD}.h output", {"cell": "gru", "bidirectional": True}, None),
    ],
)
def test_a_head_starts_from_the_last_state(names: str, spec: Any, expected: Any) -> None:
    expected = expected or [[FORWARD, BACKWARD], ["output"]]
    assert parts_of(names, last=True, **spec) == expected


def test_masked_layers_have_one_section() -> None:
    masked = [la.Masking(0.0), la.SimpleRNN(4, return_sequences=True, name="first")]
    model = randomized(sequential(*masked, la.GRU(5, name="second"), shape=(9, 4)))
    assert parts_of("first.h second.h", model=model) == [["first", "second"]]
    layers = [la.SimpleRNN(4, return_sequences=True, name="first"), la.GRU(5, name="second")]
    model = randomized(sequential(*layers, shape=(9, 4)))
    assert parts_of("first.h second.h", model=model) == [["first"], ["second"]]


# --- Inexact ports ------------------------------------------------------------------------------

SPREAD = np.random.default_rng(1).choice([-1.0, 1.0], (3, 9, 2))


def verdict(share: float, tolerance: float | None = None, **fields: Any) -> bool:
    """Return whether a port is inexact whose largest error is this share of a range."""
    check = check_of(1e-3 * SPREAD)
    check = replace(check, error=replace(check.error, relative=share))
    diagnosis = Diagnosis(**{"tried": 9, "max_abs": 1.0, **fields})
    assert largest_share([check]) == share
    return is_inexact([check], diagnosis, tolerance)


ROUNDING, LOOK = {"explanations": (explanation(ROUNDED),)}, {"appearance": (ROUNDED,)}


@pytest.mark.parametrize(
    ("fields", "limit"), [({}, 0.02), (LOOK, 0.05), (ROUNDING, 0.2), ({**ROUNDING, **LOOK}, 0.2)]
)
def test_an_inexact_port_is_off_by_little(fields: dict[str, Any], limit: float) -> None:
    """How little depends on what is known of the error; a tolerance allows more."""
    assert verdict(limit, **fields)
    assert not verdict(1.01 * limit, **fields)
    assert verdict(2 * limit, tolerance=2 * limit, **fields)
    assert not verdict(2 * limit, tolerance=1.9 * limit, **fields)
    assert verdict(limit, tolerance=0.5 * limit, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"explanations": (explanation(WRONG),)},
        {"explanations": (explanation(ROUNDED, WRONG),)},
        {"explanations": (explanation(ROUNDED), explanation(WRONG))},
        *({"nearest": (WRONG,)}, {"nearest": (ROUNDED, WRONG)}, {"nearest": (WRONG,), **LOOK}),
        *({"complete": False}, {"tried": 0}, {"weights_tried": False}, {"complete": False, **LOOK}),
    ],
)
def test_mistakes_and_short_searches_are_not_inexact(fields: dict[str, Any]) -> None:
    assert not verdict(1e-4, tolerance=1.0, **fields)


def test_an_unfinished_search_may_name_a_rounding() -> None:
    assert verdict(1e-4, complete=False, tried=0, weights_tried=False, **ROUNDING)
    assert verdict(1e-4, weights_tried=False, **LOOK)
    assert verdict(1e-4, nearest=(ROUNDED,))


@pytest.mark.parametrize(
    ("at", "shape", "expected"),
    [
        (np.s_[:], (3, 9, 2), True),
        *((np.s_[:], (3, steps, 2), True) for steps in (1, 2)),
        (np.s_[:, ::2], (3, 9, 2), True),
        (np.s_[:, :8], (3, 9, 2), False),
        (np.s_[:, 1:], (3, 9, 2), False),
        (np.s_[:, [0, 8]], (3, 9, 2), False),
        (np.s_[0], (3, 9, 2), False),
        (np.s_[1:], (3, 9, 2), True),
        (np.s_[..., 0], (3, 9, 2), True),
        ((np.arange(9) % 3, np.arange(9), np.arange(9) % 2), (3, 9, 2), False),
    ],
)
def test_unexplained_errors_are_spread(at: Any, shape: Any, expected: bool) -> None:
    """Over most units, samples and steps, with the first and the last one."""
    errors = np.zeros(shape)
    errors[at] = 1e-3
    check = check_of(errors, shape=shape)
    assert is_inexact([check], Diagnosis(tried=9), 1.0) == expected
    assert is_inexact([check, check_of()], Diagnosis(tried=9), 1.0) == expected
    assert is_inexact([check], None, 1.0) == expected
    assert not is_inexact([check], None, None)
    assert not is_inexact([check], None, 1e-6)


@pytest.mark.parametrize(
    ("at", "expected"), [(np.s_[:], True), (np.s_[:, [0, 1, 8]], False), (np.s_[0], False)]
)
def test_errors_among_few_compared_numbers_are_not_spread(at: Any, expected: bool) -> None:
    """If they are few of all steps or samples, though most of what is compared."""
    errors = np.zeros((3, 9, 2))
    errors[at] = 1e-3
    check = check_of(errors)
    some = replace(check, residual=replace(check.residual, compared=30), left_out=24)
    assert is_inexact([some], Diagnosis(tried=9), 1.0) == expected


def test_first_step_has_to_differ_too() -> None:
    errors = np.zeros((3, 9, 2))
    errors[:, 1:] = errors[:, 0, :1] = 1e-3
    check = check_of(errors)
    first = replace(check, pattern=check.pattern._replace(first_units=()))
    assert is_inexact([check], Diagnosis(tried=9), 1.0)
    assert not is_inexact([first], Diagnosis(tried=9), 1.0)
    assert largest_share([check, replace(check, error=None)]) == np.inf


def verification(*checks: Comparison, **fields: Any) -> PortVerification:
    network = hypothesis_of({"y_hat": np.zeros((3, 9, 2))}, **SIZES).network
    known = {"axes_swapped": False, "unknown_arrays": (), "diagnosis": None}
    known |= {"source": "x", "port": "port", "dtype": "float32", "random_input": True}
    return PortVerification(network, checks=checks, **{**known, **fields})


def of_share(share: float, **fields: Any) -> Comparison:
    """Return a check that differs by a share of the range, at every number."""
    check = check_of(1e-3 * SPREAD)
    return replace(check, error=replace(check.error, relative=share), **fields)


RIGHT, WIDE = check_of(), replace(check_of(), wide=54)
SEARCHED = Diagnosis(tried=9, max_abs=1.0)
NAMED = Diagnosis((explanation(WRONG),), 9)


@pytest.mark.parametrize(
    ("checks", "fields", "verdict", "passed"),
    [
        ([RIGHT], {}, "agrees", True),
        ([RIGHT], {"axes_swapped": True, "tolerance": 1.0}, "failed", False),
        ([RIGHT, WIDE], {}, "inexact", False),
        ([RIGHT, WIDE], {"tolerance": 0.1}, "inexact", True),
        ([RIGHT, replace(WIDE, error=None)], {"tolerance": 0.1}, "inexact", False),
        ([RIGHT, of_share(0.01)], {"diagnosis": SEARCHED}, "inexact", False),
        ([RIGHT, of_share(0.01)], {"diagnosis": SEARCHED, "tolerance": 0.01}, "inexact", True),
        ([RIGHT, of_share(0.011)], {"diagnosis": SEARCHED, "tolerance": 0.01}, "inexact", False),
        ([of_share(0.03), RIGHT], {"diagnosis": SEARCHED, "tolerance": 0.02}, "failed", False),
        ([of_share(0.01), RIGHT], {"diagnosis": NAMED, "tolerance": 0.1}, "failed", False),
        ([of_share(0.01), RIGHT], {}, "failed", False),
        ([of_share(0.01), RIGHT], {"tolerance": 0.01}, "inexact", True),
    ],
)
def test_a_verdict_follows_from_checks_and_search(
    checks: Any, fields: Any, verdict: str, passed: bool
) -> None:
    result = verification(*checks, **fields)
    assert (result.verdict, result.passed) == (verdict, passed)
    shares = [np.inf if check.error is None else check.error.relative for check in checks]
    assert result.largest_error == max(shares)


@pytest.mark.parametrize("number", [0, 1, 0.005, "0.5", None])
def test_a_tolerance_is_a_share(number: Any) -> None:
    assert check_tolerance(number) == (None if number is None else float(number))


@pytest.mark.parametrize("number", [-0.001, 1.001, np.nan, np.inf, "half", [], "1e400"])
def test_what_is_no_share_is_refused(number: Any) -> None:
    with pytest.raises(InputError):
        check_tolerance(number)


# --- Hypotheses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id_", "is_inexact_"),
    [
        ("numeric.noise", True),
        ("activation.approximated", True),
        ("activation.other", False),
        ("input.rounded", True),
        ("input.scaled", False),
        ("weights.float16", True),
        ("weights.bfloat16", True),
        ("weights.quantized", True),
        ("weights.other", False),
    ],
)
def test_some_mistakes_are_about_exactness(id_: str, is_inexact_: bool) -> None:
    assert Mistake(id_, "text").is_inexact == is_inexact_


def test_a_mistake_may_have_its_own_fix() -> None:
    assert Mistake("bias.twice", "text").fix
    assert Mistake("bias.twice", "text", own_fix="other").fix == "other"
    assert Mistake("no.such", "text").fix == ""


def test_some_samples_have_their_own_x_and_start() -> None:
    spec = {**SIZES, "cell": "lstm"}
    base = hypothesis_of({"lstm.h": np.random.default_rng(0).uniform(0, 1, (3, 9, 5))}, **spec)
    start = np.random.default_rng(1).uniform(0, 1, (3, 5))
    base = base.with_arrays(f"{STATES}lstm", {"h": start})
    some = base.of_samples(slice(1, 3))
    np.testing.assert_array_equal(some.xs[0], base.xs[0][1:])
    np.testing.assert_array_equal(some.quantities[0].values, base.quantities[0].values[1:])
    assert some.quantities[0].rounding.shape == (2, 9, 5)
    np.testing.assert_array_equal(some.weights[f"{STATES}lstm"]["h"], start[1:])
    assert some.weights["lstm"] is base.weights["lstm"]
    changed = base.with_arrays("lstm", {"b": start})
    assert set(changed.weights["lstm"]) == {*base.weights["lstm"], "b"}
    assert "b" not in base.weights["lstm"] or changed.weights["lstm"]["b"] is start


@pytest.mark.parametrize(
    ("shape", "at", "is_constant"),
    [
        ((3, 2), None, True),
        ((3, 2), (2, 1), False),
        ((3, 2), (0, 0), False),
        ((1, 2), None, False),
        ((3, 9, 2), None, False),
    ],
)
def test_one_step_may_be_constant_over_samples(shape: Any, at: Any, is_constant: bool) -> None:
    values = np.full(shape, 0.25)
    if at is not None:
        values[at] = 0.5
    base = hypothesis_of({"y_hat": values}, **{**SIZES, "N": shape[0]})
    assert base.is_constant_over_samples == is_constant


def test_a_scope_limits_the_next_mistake() -> None:
    base = hypothesis_of({"y_hat": np.zeros((3, 9, 2))}, **SIZES)
    assert base.concerns("dense")
    limited = replace(base, scope=frozenset({"simple_rnn"}))
    assert (limited.concerns("simple_rnn"), limited.concerns("dense")) == (True, False)
    more = limited.with_mistake("bias", WRONG).with_mistake("head", HEAD)
    assert (more.mistakes, more.families, more.scope) == ((WRONG, HEAD), ("bias", "head"), None)


@pytest.mark.parametrize(
    ("options", "groups"),
    [
        ({"bidirectional": True}, {"forward": "forward", "backward": "backward"}),
        ({}, {"": None}),
    ],
)
def test_directions_are_told_by_their_weights(options: Any, groups: dict[str, Any]) -> None:
    network = hypothesis_of({"y_hat": np.zeros((3, 9, 2))}, **SIZES, **options).network
    layer = network.recurrent[0].layer
    names = {"": "simple_rnn"} | {w: f"bidirectional/{w}_simple_rnn" for w in groups if w}
    assert {w: direction_of(layer, names[w]) for w in groups} == groups
    assert direction_of(layer, "dense") is None
