"""Hypotheses that are tried for a port, to be compared with mistakes that are written out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
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
#: The id of a mistake, where it is, and numbers after it.
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
    tried: Iterable[Hypothesis], numbers: Iterable[Array], rows: Iterable[Row], tolerance: float
) -> list[Any]:
    """Return the rows that no hypothesis with such numbers has: with this id and place."""
    known: dict[Any, list[Array]] = {}
    for one, found in zip(tried, numbers, strict=True):
        (mistake,) = one.mistakes
        known.setdefault((mistake.id, place_of(mistake.where), found.shape), []).append(found)
    missing = []
    for number, (id_, where, wanted) in enumerate(rows):
        some = known.get((id_, place_of(Where(**where)), wanted.shape), [])
        if not any(np.allclose(one, wanted, rtol=tolerance, atol=tolerance) for one in some):
            missing.append((number, id_, where))
    return missing


def untried_results(base: Hypothesis, rows: Sequence[Row], tolerance: float = 1e-5) -> list[Any]:
    """Return the rows, with what a port gives, of which no hypothesis computes these numbers."""
    ids = {id_ for id_, *_ in rows}
    tried = [one for one in tried_from(base) if one.mistakes[0].id in ids]
    return untried(tried, computed(tried), rows, tolerance)
