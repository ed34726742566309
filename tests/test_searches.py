"""What the search for an explanation tries, and what it says of a port that nothing explains."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import ml_dtypes  # noqa: F401  NumPy knows bfloat16 then
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port import diagnosis
from rnnshapes.port.diagnosis import diagnose
from rnnshapes.port.explanation import Diagnosis
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.location import Extent
from rnnshapes.port.recovery.equations import TooFewSteps
from tests.helpers.handmade import Port, weights_of
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import base_of, hypothesis_of

SIZES: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": 4, "K": 6, "cell": "simple"}
Array = np.ndarray
WHOLE = Extent(differing=60)


@cache
def noisy(size: float = 1.0) -> Hypothesis:
    """Return a port of random numbers."""
    base = base_of(**SIZES)
    noise = np.random.default_rng(1).uniform(-size, size, (2, 5, 6))
    return base.map_quantities(lambda q: replace(q, values=q.values + noise))


@cache
def searched(extent: Extent, *, deep: bool = True) -> Diagnosis:
    return diagnose(noisy(), "float32", extent=extent, deep=deep)


@pytest.mark.parametrize(
    ("extent", "deep", "pairs", "complete", "weights_tried"),
    [
        (WHOLE, True, "all", True, True),
        (WHOLE._replace(is_isolated=True, unit=("y_hat", 2)), True, "", True, True),
        (WHOLE._replace(in_head=True), True, "head", False, False),
        (WHOLE, False, "", True, False),
    ],
)
def test_how_much_is_tried_follows_from_the_extent(
    extent: Extent, deep: bool, pairs: str, complete: bool, weights_tried: bool
) -> None:
    found = searched(extent, deep=deep)
    assert found.explanations == ()
    assert (found.pairs, found.complete, found.weights_tried) == (pairs, complete, weights_tried)
    assert not found.cut_off
    assert not found.too_few_numbers


def test_pairs_are_more_than_single_mistakes() -> None:
    every, head = searched(WHOLE), searched(WHOLE._replace(in_head=True))
    alone = searched(WHOLE, deep=False)
    assert alone.tried <= head.tried < every.tried
    assert every.tried > 2 * alone.tried


@pytest.mark.parametrize("deep", [False, True])
def test_a_search_that_takes_long_is_cut_off(deep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(WHOLE, deep=False)
    monkeypatch.setattr(diagnosis, "_MOST_WORK", 100)
    found = diagnose(noisy(), "float32", extent=WHOLE, deep=deep)
    assert (found.cut_off, found.complete) == (True, False)
    assert found.tried < whole.tried


def unexplained(noise: float, bias: float = 2.0, **sizes: Any) -> tuple[Diagnosis, Array, Array]:
    """Return what is said of a mistake beside noise, the difference, and what is left of it."""
    spec = {**SIZES, **sizes}
    golden = rnnshapes.golden(**spec).arrays
    weights = weights_of(golden, "simple_rnn")
    wrong = Port("simple", "float64", bias=bias).run(weights, golden["x"])["y_hat"]
    right = golden["y_hat"]
    rms = np.sqrt(np.mean((wrong - right) ** 2)) if bias != 1 else 1.0
    left = noise * rms * np.random.default_rng(2).choice([-1.0, 1.0], right.shape)
    base = hypothesis_of({"y_hat": (wrong + left).astype("f")}, **spec)
    extent = Extent(differing=right.size)
    found = diagnose(base, "float32", extent=extent, deep=False)
    assert found.explanations == ()
    return found, np.abs(wrong + left - right), np.abs(left)


@pytest.mark.parametrize("noise", [1e-3, 0.02, 0.2])
def test_a_mistake_beside_noise_is_near(noise: float) -> None:
    """What is left of the difference is measured."""
    found, _, left = unexplained(noise)
    assert [mistake.id for mistake in found.nearest] == ["bias.twice"]
    assert found.max_abs == pytest.approx(left.max(), rel=1e-2)


@pytest.mark.parametrize(("noise", "bias"), [(0.6, 2.0), (0.3, 1.0)])
def test_the_network_is_nearest_to_much_noise(noise: float, bias: float) -> None:
    found, difference, _ = unexplained(noise, bias)
    assert found.nearest == ()
    assert found.max_abs == pytest.approx(difference.max(), rel=1e-3)


@pytest.mark.parametrize(("count", "named"), [(6, True), (5, False)])
def test_few_numbers_have_no_near_mistake(count: int, named: bool) -> None:
    """Twelve numbers are enough, ten are not."""
    found, *_ = unexplained(0.25, N=1, T=2, K=count)
    assert bool(found.nearest) == named


#: The dtype of the numbers, the noise of each step, the dtype that is stated, whether a part may
#: be float32, and what explains the port: dtype, and whether it is in a part alone.
COARSER: list[tuple[str, float, str, bool, tuple[str, bool] | None]] = [
    ("bfloat16", 4e-3, "float32", False, ("bfloat16", False)),
    ("bfloat16", 0.1, "float32", False, None),
    ("float16", 5e-4, "float32", False, ("float16", False)),
    ("float32", 5e-4, "float32", False, None),
    ("float64", 5e-8, "float64", True, ("float32", True)),
    ("float64", 5e-8, "float64", False, None),
    ("float32", 5e-8, "float64", False, ("float32", False)),
    ("float32", 5e-8, "float64", True, ("float32", False)),
]


@pytest.mark.parametrize(("numbers", "noise", "stated", "mixed", "expected"), COARSER)
def test_coarser_arithmetic_explains_its_own_numbers(
    numbers: str, noise: float, stated: str, mixed: bool, expected: Any
) -> None:
    """Those of a finer dtype were not computed in it, but in a part, which may be float32."""
    base = base_of(**SIZES, what="simple_rnn.h")
    w = {key: np.asarray(a, float) for key, a in base.weights["simple_rnn"].items()}
    rng, h, steps = np.random.default_rng(0), np.zeros((2, 4)), []
    for t in range(5):
        z = base.xs[0][:, t] @ w["Wx"] + w["bh"] + h @ w["Wh"]
        h = (np.tanh(z) + noise * rng.uniform(-1, 1, h.shape)).astype(numbers).astype(float)
        steps.append(h)
    base = base.map_quantities(lambda q: replace(q, values=np.stack(steps, axis=1)))
    extent = Extent(differing=40)
    found = diagnose(base, stated, mixed=mixed, extent=extent, deep=False).explanations
    if expected is None:
        assert found == ()
        return
    dtype, in_part = expected
    (one,) = found
    assert (one.ids, one.dtype, one.mixed) == ((f"numeric.{dtype}",), dtype, in_part)
    assert dtype in one.text
    rounded = base.with_mistake("digits", Mistake("numeric.rounded", "few digits"))
    again = diagnose(rounded, stated, mixed=mixed, extent=extent, deep=False).explanations
    assert [each.dtype for each in again] == ([dtype] if mixed else [])
    few = diagnose(base, stated, mixed=mixed, extent=extent._replace(is_isolated=True), deep=False)
    assert [each.dtype for each in few.explanations] == [dtype]


# --- A search with few mistakes -----------------------------------------------------------------

#: What each mistake adds to the bias of the head. Those in capitals are rare, those in ``IN_HEAD``
#: leave all before the head as it is, and the last three are found by fits and by other weights.
ADDED = dict(
    zip("abcXYFHW", np.vstack([np.diag([0.5, 0.4, 0.3, 0.35, 0.45, 0.5])] * 2), strict=False)
)
ADDED |= {"H": -ADDED["F"], "W": 2 * ADDED["F"]}
IN_HEAD = "bcY"


def mistaken(base: Hypothesis, names: str) -> Hypothesis:
    for name in names:
        b = base.weights["dense"]["b"] + ADDED[name]
        base = base.with_arrays("dense", {"b": b}).with_mistake(name, Mistake(name, name))
    return base


def few_mistakes(
    base: Hypothesis, *, after: str | None = None, rare: bool = False, in_head: Any = None, **_: Any
) -> Any:
    for name in "XY" if rare else "abc":
        if (
            name not in base.families
            and name > (after or "")
            and in_head in (None, name in IN_HEAD)
        ):
            yield mistaken(base, name)
    if rare and in_head is None and "short" not in base.families:
        short = base.map_quantities(lambda q: q.at_steps(slice(1, 5), np.arange(1, 5)))
        yield short.with_mistake("short", Mistake("short", "a step is left out"))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {
        "hypotheses": few_mistakes,
        "fitted": lambda base, *_: ([([(0.0, mistaken(base, "F"))], 1, 1)], True),
        "explained_by_head": lambda base, _: iter([(mistaken(base, "H"), 1)]),
        "explained_by_weights": lambda base, _: (mistaken(base, "W"), None),
    }
    for name, function in found.items():
        monkeypatch.setattr(diagnosis, name, function)


BRIEF, HEAD = WHOLE._replace(is_brief=True), WHOLE._replace(in_head=True)
FEW = WHOLE._replace(is_isolated=True)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("wrong", "made", "extent", "deep", "found", "tried"),
    [
        ("a", "", WHOLE, True, "a", 1 + 3),
        ("Y", "", WHOLE, True, "Y", 4 + 3),
        ("F", "", WHOLE, True, "F", 7),
        ("F", "", WHOLE, False, "", 7),
        ("ac", "", WHOLE, True, "ac", 7 + 3),
        ("ac", "", WHOLE, False, "", 7),
        ("ac", "", FEW, True, "", 7),
        ("aY", "", WHOLE, True, "aY", 10 + 4 + 4),
        ("XY", "", WHOLE, True, "YX", 10 + 4 + 4),
        ("H", "", WHOLE, True, "H", 10),
        ("H", "", BRIEF, True, "", 10),
        ("H", "", WHOLE, False, "", 7),
        ("W", "", WHOLE, True, "W", 10),
        ("a", "a", WHOLE, True, "a", 1 + 2),
        ("ab", "a", WHOLE, True, "ab", 1 + 2),
        ("H", "a", WHOLE, True, "", 7),
        ("b", "", HEAD, True, "b", 1 + 2),
        ("bc", "", HEAD, True, "bc", 3 + 1 + 1),
        ("bY", "", HEAD, True, "Yb", 5 + 2 + 2),
        ("a", "", HEAD, True, "a", 5 + 2),
    ],
)
def test_likely_mistakes_are_tried_first(
    wrong: str, made: str, extent: Extent, deep: bool, found: str, tried: int
) -> None:
    """Alone, fitted, in pairs, the nearest with each other, and then other weights."""
    right = base_of(**SIZES)
    values = right.quantities[0].values + sum(ADDED[name] for name in wrong)
    base = mistaken(right, made).map_quantities(lambda q: replace(q, values=values))
    result = diagnose(base, "float32", extent=extent, deep=deep)
    assert ["".join(one.ids) for one in result.explanations] == ([found] if found else [])
    assert result.tried == tried


#: What each unit is off by, beside signs, for a port with such a mistake; what is said to be near.
LEFT: list[tuple[str, list[float], bool, str]] = [
    ("a", [0.01] * 6, False, "a"),
    ("a", [0.06] * 6, False, "a"),
    ("a", [0.1] * 6, False, ""),
    ("a", [0.06, 0, 0, 0, 0, 0], False, "a"),
    ("a", [0.3, 0, 0, 0, 0, 0], False, ""),
    ("Y", [0.0] * 5 + [0.01], False, "Y"),
    ("ab", [0.01] * 6, False, ""),
    ("ab", [0.01] * 6, True, "ab"),
    ("ab", [0.0] * 5 + [0.3], True, ""),
    ("abY", [0.01] * 6, True, ""),
]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("wrong", "left", "deep", "near"), LEFT)
def test_the_nearest_mistakes_leave_little(
    wrong: str, left: list[float], deep: bool, near: str
) -> None:
    right = base_of(**SIZES)
    rest = left * np.random.default_rng(3).choice([-1.0, 1.0], (2, 5, 6))
    error = rest + sum(ADDED[name] for name in wrong)
    base = right.map_quantities(lambda q: replace(q, values=q.values + error))
    found = diagnose(base, "float32", extent=WHOLE, deep=deep)
    assert found.explanations == ()
    assert "".join(one.id for one in found.nearest) == near
    largest = np.abs(rest if near else error).max()
    assert found.max_abs == pytest.approx(largest, rel=1e-3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("differing", "near"), [(1, []), (2, ["a"])])
def test_few_wrong_numbers_may_be_near_by_chance(differing: int, near: list[str]) -> None:
    """Of seven hypotheses, one number is fifty times nearer by chance; two are not."""
    values = base_of(**SIZES).quantities[0].values + ADDED["a"] + 0.01
    base = base_of(**SIZES).map_quantities(lambda q: replace(q, values=values))
    extent = Extent(differing=differing)
    found = diagnose(base, "float32", extent=extent, deep=False)
    assert [one.id for one in found.nearest] == near
    assert found.max_abs == pytest.approx(0.01 if near else 0.51, rel=1e-3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("wrong", "numbers", "stated", "mixed", "found", "tried"),
    [
        ("", "float16", "float32", False, ["numeric.float16"], 7),
        ("a", "float16", "float32", False, ["a", "numeric.float16"], 7),
        ("Y", "float16", "float32", False, ["Y", "numeric.float16"], 7),
        ("ac", "float16", "float32", False, [], 10 + 4 + 4),
        ("a", "bfloat16", "float32", False, ["a", "numeric.bfloat16"], 7),
        ("a", "float32", "float32", False, [], 10 + 4),
        ("", "float64", "float64", True, ["numeric.float32"], 7),
        ("a", "float64", "float64", True, ["a", "numeric.float32"], 7),
        ("ac", "float64", "float64", True, ["a", "c", "numeric.float32"], 10),
        ("a", "float64", "float64", False, [], 10 + 4),
        ("a", "float32", "float64", False, ["a", "numeric.float32"], 7),
    ],
)
def test_mistakes_may_stand_beside_coarser_arithmetic(
    wrong: str, numbers: str, stated: str, mixed: bool, found: list[str], tried: int
) -> None:
    """One of them, or two where a part alone may be coarser; those of bfloat16 agree as float16."""
    roundoff = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-15}
    noise = np.random.default_rng(5).uniform(-0.5, 0.5, (2, 5, 6))
    noise *= 2.0**-24 if "float64" in (numbers, stated) else roundoff[numbers]
    base = base_of(**SIZES)
    values = base.quantities[0].values + sum(ADDED[name] for name in wrong) + noise
    values = values.astype(numbers).astype("float64")
    base = base.map_quantities(lambda q: replace(q, values=values))
    result = diagnose(base, stated, mixed=mixed, extent=WHOLE)
    assert [one.ids for one in result.explanations] == ([tuple(found)] if found else [])
    assert result.tried == tried
    for one in result.explanations:
        dtype = "float16" if numbers == "bfloat16" else found[-1].partition(".")[2]
        assert (one.mixed, one.dtype) == (numbers == "float64", dtype)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("alike", "numbers", "more", "every", "found", "too_few"),
    [
        (1, 1, 1, True, 1, False),
        (3, 5, 1, True, 3, False),
        (4, 1, 1, True, 0, False),
        (0, 1, 1, True, 0, False),
        (0, 1, 1, False, 0, False),
        (1, 10, 1, True, 0, True),
        (1, 99, 1, True, 0, True),
        (1, 1, 2.0**900, True, 0, True),
    ],
)
def test_fits_that_agree_by_chance_are_left_out(
    alike: int, numbers: int, more: int, every: bool, found: int, too_few: bool, monkeypatch: Any
) -> None:
    """Those of as many numbers as differ, of very many fits, and many that do as well."""

    def fitted(base: Hypothesis, *_: Any) -> Any:
        right = base.with_arrays("dense", {"b": base.weights["dense"]["b"] + ADDED["F"]})
        some = [right.with_mistake(name, Mistake(name, name)) for name in "1234"[:alike]]
        wrong = [mistaken(base, "H"), *some]
        return iter([([(0.0, one) for one in wrong], numbers, more), ([], 1, 1)]), every

    monkeypatch.setattr(diagnosis, "fitted", fitted)
    values = base_of(**SIZES).quantities[0].values + ADDED["F"]
    base = base_of(**SIZES).map_quantities(lambda q: replace(q, values=values))
    result = diagnose(base, "float32", extent=WHOLE)
    assert [one.ids for one in result.explanations] == [(name,) for name in "123"[:found]]
    if not found:
        assert (result.too_few_numbers, result.complete) == (too_few, not too_few)
        assert result.weights_tried == (every and not alike)


@pytest.mark.parametrize(
    ("step", "sample", "last", "back"),
    [
        (0, 0, False, 0),
        (20, 0, False, 0),
        (38, 0, False, 0),
        (0, 5, False, 0),
        (20, 6, False, 0),
        (0, 0, True, 80),
        (85, 1, True, 30),
    ],
)
def test_a_first_look_reaches_what_differs(
    step: int, sample: int, last: bool, back: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its step and sample, or the steps that decide the last one; many mistakes change nothing."""
    rnn = la.SimpleRNN(3, "linear", return_sequences=True, name="rnn")
    model = randomized(sequential(rnn, la.Dense(2, name="dense"), shape=(90, 3)), seed=3)
    model.layers[0].set_weights([model.get_weights()[0], 0.97 * np.eye(3), np.ones(3)])
    base = base_of(model=model, N=7, last=last)
    x = base.xs[0].copy()
    x[sample:, 90 - back if last else step :] += 1.0
    wrong = replace(base, xs=(x,))
    golden = rnnshapes.golden(model, x=x, keras=False).arrays["y_hat"]
    port = base.map_quantities(lambda q: replace(q, values=golden[:, -1:] if last else golden))

    def many(base: Hypothesis, *, rare: bool = False, **_: Any) -> Any:
        for name in () if rare else "1234567x":
            changed = replace(base, xs=wrong.xs if name == "x" else base.xs)
            yield changed.with_mistake(name, Mistake(name, name))

    monkeypatch.setattr(diagnosis, "hypotheses", many)
    extent = Extent(step=step, sample=sample, differing=golden.size)
    found = diagnose(port, "float32", extent=extent, deep=False)
    assert [one.ids for one in found.explanations] == [("x",)]


@pytest.mark.parametrize("digits", [False, True])
def test_rounded_states_come_before_other_mistakes(
    digits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the port has few digits; both explain it."""

    def both(base: Hypothesis, *, rare: bool = False, **_: Any) -> Any:
        b = {"b": base.weights["dense"]["b"] + ADDED["a"]}
        for name in ("other", "rounded states") if rare else ("common",):
            yield base.with_arrays("dense", b).with_mistake(name, Mistake(name, name))

    monkeypatch.setattr(diagnosis, "hypotheses", both)
    values = base_of(**SIZES).quantities[0].values + ADDED["a"]
    base = base_of(**SIZES).map_quantities(lambda q: replace(q, values=values))
    if digits:
        base = base.with_mistake("digits", Mistake("numeric.rounded", "few digits"))
    found = diagnose(base, "float32", extent=WHOLE)
    expected = ("numeric.rounded", "rounded states") if digits else ("common",)
    assert [one.ids for one in found.explanations] == [expected]
    assert found.tried == (3 if digits else 2)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("made", ["", "a"])
def test_too_few_steps_for_other_weights_are_counted(made: str, monkeypatch: Any) -> None:
    """They are looked for where the network itself has no mistake yet."""
    monkeypatch.setattr(
        diagnosis, "explained_by_weights", lambda *_: (None, TooFewSteps("simple_rnn", 5, 9))
    )
    base = mistaken(noisy(), made)
    found = diagnose(base, "float32", extent=WHOLE)
    assert found.explanations == ()
    assert found.too_few_steps == (None if made else TooFewSteps("simple_rnn", 5, 9))
