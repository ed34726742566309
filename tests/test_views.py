"""``--sample``, ``--steps`` and ``--view``: which part of a result is shown."""

from __future__ import annotations

from typing import Any

import pytest

from rnnshapes.cli.completion import joined, one_of
from rnnshapes.cli.options import parse_view
from rnnshapes.errors import InputError
from rnnshapes.render.view import TRACE_PARTS, View, parse_parts
from rnnshapes.session import check_seed
from tests.helpers.commands import mentioning

#: What ``--steps`` says of seven steps, and where it begins and ends.
STEPS = [
    ("0:5", 0, 5),
    ("2:3", 2, 3),
    ("0:7", 0, 7),
    (":", 0, 7),
    (":4", 0, 4),
    ("6:", 6, 7),
    ("-5:", 2, 7),
    ("-5:-1", 2, 6),
    (":-6", 0, 1),
    ("-7:7", 0, 7),
    ("003:004", 3, 4),
]


@pytest.mark.parametrize(("text", "start", "end"), STEPS)
def test_steps_are_a_slice(text: str, start: int, end: int) -> None:
    assert parse_view(3, 7, 2, text) == View(2, start, end)
    assert list(range(7)[start:end]) == list(range(7)[slice(*map(number, text.split(":")))])


def number(text: str) -> int | None:
    """Return a part of a slice."""
    return int(text) if text else None


@pytest.mark.parametrize(
    "text", ["3:3", "4:3", "0:8", "7:", "7:8", "-8:", ":-7", ":0", "-1:-2", "-9:2"]
)
def test_steps_that_do_not_exist_are_an_error(text: str) -> None:
    with pytest.raises(InputError, match=mentioning("--steps", text, "7")):
        parse_view(3, 7, 0, text)


@pytest.mark.parametrize(
    "text", ["", "3", "a:b", "1:2:3", "1.0:2", "--1:", "1 :2", "+1:2", "1" * 19 + ":"]
)
def test_other_steps_are_no_slice(text: str) -> None:
    with pytest.raises(InputError, match=mentioning("--steps", "a:b")):
        parse_view(3, 7, 0, text)


def test_samples_count_from_0() -> None:
    assert [parse_view(3, 7, sample, None) for sample in range(3)] == [View(s) for s in range(3)]
    for sample in (-1, 3):
        with pytest.raises(InputError, match=mentioning("--sample", str(sample), "2")):
            parse_view(3, 7, sample, None)


@pytest.mark.parametrize(
    ("view", "has"),
    [
        (View(), False),
        (View(start=0), True),
        (View(end=0), True),
        (View(start=2, end=4), True),
        (View(sample=1), False),
    ],
)
def test_view_knows_whether_steps_were_chosen(view: View, has: bool) -> None:
    assert view.has_step_range == has


def test_parts_are_joined_by_commas() -> None:
    assert parse_parts("flow, numbers", TRACE_PARTS) == {"flow", "numbers"}
    for parts, shown in (({"flow"}, [False, True]), ({"all"}, [True, True]), (set(), [False] * 2)):
        view = View(parts=frozenset(parts))
        assert [view.has(part) for part in ("summary", "flow")] == shown
    for text in ("flow,", "", "flow;numbers", "Flow"):
        with pytest.raises(InputError, match=mentioning("--view", *TRACE_PARTS)):
            parse_parts(text, TRACE_PARTS)


#: What a shell has so far of one value or of several, and what may follow.
COMPLETED: list[tuple[Any, str, list[str]]] = [
    (one_of, "", ["y", "h", "hidden", "all"]),
    (one_of, "h", ["h", "hidden"]),
    (one_of, "z", []),
    (one_of, "y,h", []),
    (joined, "", ["y", "h", "hidden", "all"]),
    (joined, "hi", ["hidden"]),
    (joined, "y,", ["y,h", "y,hidden"]),
    (joined, "y,h,h", ["y,h,hidden"]),
    (joined, "y,a", []),
]


@pytest.mark.parametrize(("complete", "typed", "values"), COMPLETED)
def test_values_are_completed_once_each(complete: Any, typed: str, values: list[str]) -> None:
    names = ["y", "h", "hidden", "all"]
    assert [value for value, _ in complete(names)(typed)] == values
    explained = complete({name: name.upper() for name in names})(typed)
    assert [text for _, text in explained] == [v.rpartition(",")[2].upper() for v in values]


@pytest.mark.parametrize("seed", [0, 7, 2**70, True, -1, 1.0, "7", None])
def test_seeds_are_whole_numbers(seed: Any) -> None:
    if type(seed) is int and seed >= 0:
        assert check_seed(seed) == seed
    else:
        with pytest.raises(InputError, match="seed"):
            check_seed(seed)
