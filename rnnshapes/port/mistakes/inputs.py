"""Known mistakes of ports about x: its features, and its numbers, rounded, scaled or transformed.

Other factors and shifts are fitted (:mod:`rnnshapes.port.fits.fitted_numbers`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where
from rnnshapes.port.mistakes.weight_rounding import fractions, multiples_of

#: Steps to which ports round x, in words: whole numbers, printed digits, and fractional bits.
_UNITS = {
    1.0: "whole numbers",
    **{10.0**-digits: f"{digits} decimal places" for digits in (1, 2, 3, 4)},
    **{2.0**-bits: f"multiples of 1/{2**bits}" for bits in range(1, 17)},
}
#: Intervals to which ports clip x.
_INTERVALS = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5), *((-n, n) for n in (2.0, 3.0, 4.0, 5.0, 8.0)))
#: Functions of x that ports compute before the first layer, in words.
_FUNCTIONS: MappingProxyType[str, Callable[[Array], Array]] = MappingProxyType(
    {
        "|x| is read instead of x": np.abs,
        "max(x, 0) is read instead of x": lambda x: np.maximum(x, 0),
        "the sign of x times log(1 + |x|) is read instead of x": lambda x: (
            np.sign(x) * np.log1p(np.abs(x))
        ),
        "x_t - x_{t-1} is read instead of x_t": lambda x: np.diff(x, axis=1, prepend=0),
        "x is summed up over time": lambda x: np.cumsum(x, axis=1, dtype=np.float64),
        "log(1 + max(x, 0)) is read instead of x": lambda x: np.log1p(np.maximum(x, 0)),
    }
)
#: Of so many features of x, every exchange of two is tried, and every copy of one.
_MOST_EXCHANGED, _MOST_COPIED = 12, 6
#: Sums of squares are not divided by less.
_TINY = 1e-30


def permuted_features(hypothesis: Hypothesis) -> Variations:
    """Reverse the features of x, exchange two of them, shift them, or read one for all."""
    x = hypothesis.xs[0]
    if len(hypothesis.xs) != 1 or x.ndim != 3 or x.shape[2] == 1:
        return
    features = np.arange(x.shape[2])
    orders = {"reversed": features[::-1]}
    if len(features) <= _MOST_EXCHANGED:
        for one, other in itertools.combinations(features, 2):
            order = features.copy()
            order[[one, other]] = other, one
            orders[f"exchanged: {one} and {other}"] = order
    for shift in (1, -1):
        orders[f"shifted by {shift}"] = np.roll(features, shift)
    text = "feature 0 of x is read in place of every feature"
    first = np.repeat(x[..., :1], len(features), axis=2)
    mistake = Mistake("input.first_repeated", text, Where(array="x"))
    yield mistake, replace(hypothesis, xs=(first,))
    for feature, other in itertools.permutations(features, 2):
        if len(features) == 2 and other == 0:  # every feature is read as feature 0
            continue
        if len(features) <= _MOST_COPIED or abs(feature - other) == 1:
            order = np.where(features == feature, other, features)
            text = f"feature {other} of x is read in place of feature {feature}"
            mistake = Mistake("input.repeated", text, Where(array="x", unit=int(feature)))
            yield mistake, replace(hypothesis, xs=(x[..., order],))
    for how, order in orders.items():
        mistake = Mistake("input.permuted", f"the features of x are {how}", Where(array="x"))
        yield mistake, replace(hypothesis, xs=(x[..., order],))


def overrun_features(hypothesis: Hypothesis) -> Variations:
    """Loop over M features of x, not D, and read on in the buffers of x and of both kernels."""
    x, network = hypothesis.xs[0], hypothesis.network
    readers = [node for node in network.nodes if any(tap.node == 0 for tap in node.sources)]
    groups = [direction.name for node in readers for direction in node.layer.directions]
    arrays = [hypothesis.weights[name] for name in groups]
    if len(hypothesis.xs) != 1 or x.ndim != 3 or not all(n.layer.directions for n in readers):
        return
    units = {len(a["Wh"]) for a in arrays} if all({"Wx", "Wh"} <= set(a) for a in arrays) else ()
    if len(units) != 1:
        return
    (count,), features = units, x.shape[2]
    if count <= features:
        return
    starts = np.arange(x.shape[0] * x.shape[1])[:, None] * features
    buffer = np.concatenate([x.reshape(-1), np.zeros(count, x.dtype)])
    read = buffer[starts + np.arange(count)].reshape(*x.shape[:2], count)
    weights = dict(hypothesis.weights)
    for name, array in zip(groups, arrays, strict=True):
        rows = np.concatenate([array["Wx"], array["Wh"]])[:count]
        weights[name] = {**array, "Wx": rows}
    text = (
        "the loop over x has M terms, not D: it reads on into the next steps of x, and from kernel "
        "into recurrent_kernel"
    )
    mistake = Mistake("input.overrun", text, Where(array="x"), "multiply x[d] by row d for d < D")
    yield mistake, replace(hypothesis, xs=(read,), weights=weights)


def changed_numbers(hypothesis: Hypothesis) -> Variations:
    """Round, clip or normalize x, or read its first or last step as 0."""
    x = hypothesis.xs[0]
    if len(hypothesis.xs) != 1 or x.ndim != 3:
        return
    functions = (("input.transformed", text, change(x)) for text, change in _FUNCTIONS.items())
    for id_, text, changed in itertools.chain(
        _normalized(x), _rounded(x), _clipped(x), _without_ends(x), _overflowed(x), functions
    ):
        if np.isfinite(changed).all() and not np.array_equal(changed, x):
            yield Mistake(id_, text, Where(array="x")), replace(hypothesis, xs=(changed,))


#: The id and the text of a mistake, and x after it.
_Changed = tuple[str, str, Array]


def _rounded(x: Array) -> Iterator[_Changed]:
    """Yield x rounded to a grid, or truncated towards 0."""
    for unit, what in _UNITS.items():
        yield "input.rounded", f"x is rounded to {what}", multiples_of(unit)(x)
        yield "input.rounded", f"x is truncated towards 0 to {what}", np.trunc(x / unit) * unit
    for dtype in ("float16", "bfloat16"):
        yield "input.rounded", f"x is rounded to {dtype}", PRECISIONS[dtype].rounded(x)
    for axes, what in ((None, "x"), ((0, 1), "each feature")):
        scale = np.maximum(np.abs(x).max(axes), _TINY) / 127
        text = f"x is rounded to int8 (one scale for {what})"
        yield "input.rounded", text, np.rint(x / scale) * scale


def _overflowed(x: Array) -> Iterator[_Changed]:
    """Yield x stored as fractions between -1 and 1, if it has numbers beyond."""
    for bits, wraps in itertools.product((7, 15), (False, True)) if np.abs(x).max() >= 1 else ():
        how = "wraps around" if wraps else "is saturated"
        text = f"x has {bits} fractional bits, and {how} at -1 and 1"
        yield "input.overflow", text, fractions(bits, wraps=wraps)(x)


def _clipped(x: Array) -> Iterator[_Changed]:
    for low, high in _INTERVALS:
        yield "input.clipped", f"x is clipped to [{low:g}, {high:g}]", np.clip(x, low, high)


def _normalized(x: Array) -> Iterator[_Changed]:
    """Yield x normalized by its own numbers: those of all samples, or of each."""
    for axes, what in (
        ((0, 1, 2), "x"),
        ((0, 1), "each feature of x"),
        ((1, 2), "each sample of x"),
        ((1,), "each feature of each sample of x"),
    ):
        mean, largest = x.mean(axes, keepdims=True), np.abs(x).max(axes, keepdims=True)
        low, high = x.min(axes, keepdims=True), x.max(axes, keepdims=True)
        deviation = np.maximum(x.std(axes, keepdims=True), _TINY)
        for how, changed in (
            ("shifted to mean 0", x - mean),
            ("standardized (mean 0, variance 1)", (x - mean) / deviation),
            ("divided by its largest |x|", x / np.maximum(largest, _TINY)),
            ("scaled to [0, 1]", (x - low) / np.maximum(high - low, _TINY)),
        ):
            yield "input.normalized", f"{what} is {how}", changed


def _without_ends(x: Array) -> Iterator[_Changed]:
    for step, which in ((-1, "last"), (0, "first")) if x.shape[1] > 1 else ():
        changed = np.array(x)
        changed[:, step] = 0
        yield "input.step_zero", f"the {which} step of x is read as 0", changed
