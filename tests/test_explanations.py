"""Explanations as they are joined, sections of a port, and when a port is inexact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.compare import Comparison, compare_with
from rnnshapes.port.error_summary import summarize_error
from rnnshapes.port.explanation import Diagnosis, Explanation, in_layer, joined
from rnnshapes.port.hypothesis import Mistake, Where
from rnnshapes.port.inexact_verdict import is_inexact, largest_share
from rnnshapes.port.sections import compare_sections, sections
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
        {"y_hat": np.random.default_rng(0).uniform(0.1, 0.9, shape)}, **SIZES
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
        (np.s_[:, ::2], (3, 9, 2), True),
        (np.s_[:, :8], (3, 9, 2), False),
        (np.s_[:, 1:], (3, 9, 2), False),
        (np.s_[:, [0, 8]], (3, 9, 2), False),
        (np.s_[0], (3, 9, 2), False),
        (np.s_[1:], (3, 9, 2), True),
        (np.s_[..., 0], (3, 9, 2), True),
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


def test_first_step_has_to_differ_too() -> None:
    errors = np.zeros((3, 9, 2))
    errors[:, 1:] = errors[:, 0, :1] = 1e-3
    check = check_of(errors)
    first = replace(check, pattern=check.pattern._replace(first_units=()))
    assert is_inexact([check], Diagnosis(tried=9), 1.0)
    assert not is_inexact([first], Diagnosis(tried=9), 1.0)
    assert largest_share([check, replace(check, error=None)]) == np.inf
