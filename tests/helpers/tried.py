"""Hypotheses that are tried for a port, to be compared with mistakes that are written out."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

import rnnshapes
from rnnshapes.load.inputs import full_array
from rnnshapes.port.arrays import read_port
from rnnshapes.port.hypothesis import Hypothesis, Where
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.port.quantities import match_arrays
from rnnshapes.port.screening import residuals_of
from rnnshapes.session import open_session
from tests.helpers.activations import sigmoid, softmax

Array = np.ndarray
#: The id of a mistake, where it is, and numbers after it. ``says`` are words of its text.
Row = tuple[str, dict[str, Any], Array]
Function = Callable[[Array], Array]


#: Activations by hand; ``older`` is the hard sigmoid of Keras 2.
FUNCTIONS: dict[str, Function] = {
    "linear": lambda z: z,
    "softmax": softmax,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "softplus": lambda z: np.log1p(np.exp(z)),
    "exponential": np.exp,
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "hard_sigmoid": lambda z: np.clip(z / 6 + 0.5, 0, 1),
    "older": lambda z: np.clip(0.2 * z + 0.5, 0, 1),
    "hard_tanh": lambda z: np.clip(z, -1, 1),
    "softsign": lambda z: z / (1 + np.abs(z)),
}


def base_of(*, last: bool = False, what: str = "y_hat", **spec: Any) -> Hypothesis:
    """Return a right port of a network that gives y_hat at every step, at the last, or h."""
    golden = rnnshapes.golden(**spec, keras=False).arrays
    given = {name: golden[name][:, -1] if last else golden[name] for name in what.split()}
    return hypothesis_of(given, **spec)


def hypothesis_of(port: Any, **spec: Any) -> Hypothesis:
    """Return a network as it is, with what a port reports."""
    with open_session(**spec) as session:
        network, weights = session.network, session.weights()
        xs = tuple(full_array(source) for source in session.sources)
    return Hypothesis(network, weights, xs, match_arrays(network, read_port(port)))


def moved(values: Array, late: int) -> Array:
    """Return (N, T, M) so many steps late, after zeros; or early, before zeros."""
    around = np.pad(values, ((0, 0), (abs(late), abs(late)), (0, 0)))
    return around[:, abs(late) - late :][:, : values.shape[1]]


def tried_from(base: Hypothesis) -> list[Hypothesis]:
    return [*hypotheses(base), *hypotheses(base, rare=True)]


def computed(tried: Sequence[Hypothesis]) -> list[Array]:
    """Return what each hypothesis computes for the first quantity of a port."""
    return [
        one.quantities[0].values - residuals[0]
        for one, residuals in zip(tried, residuals_of(tried), strict=True)
    ]


def place_of(where: Where) -> tuple[Any, ...]:
    return where.layer, where.direction, where.array, where.gate, where.unit, where.step


def without_place(tried: Iterable[Hypothesis]) -> list[str]:
    """Return the texts that do not name the array, gate, unit or step where their mistake is."""
    texts = []
    for one in tried:
        (mistake,) = one.mistakes
        at, words = mistake.where, set(re.findall(r"[\w.]+", mistake.text))
        places = {at.array, at.gate, at.unit, at.step} - {None, "x", "embeddings"}
        if not {str(place) for place in places} <= words:
            texts.append(mistake.text)
    return texts


def untried(
    tried: Sequence[Hypothesis],
    numbers: Iterable[Array],
    rows: Iterable[Row],
    tolerance: float,
    whole: Collection[str] = (),
) -> list[Any]:
    """Return the rows that no hypothesis with such numbers has: with this id, place and words.

    Of ``whole`` families, texts of hypotheses that no row has follow.
    """
    known: dict[Any, dict[int, Array]] = {}
    for number, (one, found) in enumerate(zip(tried, numbers, strict=True)):
        (mistake,) = one.mistakes
        place = mistake.id, place_of(mistake.where), found.shape
        known.setdefault(place, {})[number] = found
    stacked = {place: np.stack([*some.values()]) for place, some in known.items()}
    missing, listed = list[Any](), set[int]()
    for number, (id_, where, wanted) in enumerate(rows):
        at = Where(**{name: value for name, value in where.items() if name != "says"})
        place = id_, place_of(at), wanted.shape
        texts = [tried[k].mistakes[0].text for k in known.get(place, ())]
        has_words = [all(word in text for word in where.get("says", ())) for text in texts]
        some = stacked.get(place, np.zeros((0, *wanted.shape)))
        same = np.isclose(some, wanted, rtol=tolerance, atol=tolerance)
        is_same = same.reshape(len(some), wanted.size).all(axis=1) & np.array(has_words, bool)
        missing += [] if is_same.any() else [(number, id_, where)]
        listed |= {k for k, one in zip(known.get(place, ()), is_same, strict=True) if one}
    others = (one for k, one in enumerate(tried) if k not in listed)
    return missing + [one.mistakes[0].text for one in others if one.families[0] in whole]


def untried_results(
    base: Hypothesis, rows: Sequence[Row], tolerance: float = 1e-5, whole: Collection[str] = ()
) -> list[Any]:
    """Return the rows, with what a port gives, of which no hypothesis computes these numbers.

    Of ``whole`` families, texts of hypotheses that no row has follow.
    """
    ids = {id_ for id_, *_ in rows}
    tried = [
        one for one in tried_from(base) if one.mistakes[0].id in ids or one.families[0] in whole
    ]
    return untried(tried, computed(tried), rows, tolerance, whole)
