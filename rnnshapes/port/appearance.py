"""Appearance of a small difference that no known mistake explains: smooth, in steps, or noise.

Where a port reports all states at every step, each step is computed from its own states. What is
left is looked at as a function of z, the argument of each activation: an approximated activation
leaves a smooth function of z, a table leaves a sawtooth of z, and noise leaves no function at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.forward.scan import single_steps, states_before
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.weights import bind
from rnnshapes.ops.activations import MONOTONE, Array
from rnnshapes.port.compare import compare_quantities, fully_reported
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Where, recast

#: At most so many numbers are looked at.
_MOST_NUMBERS = 20_000
#: A change from which derivatives are taken.
_STEP = 1e-4
#: Nodes of the smooth function of z, how many numbers each requires, and how often it is fitted.
_NODES = np.array([-8.0, -6.0, -5.0, *np.arange(-4.0, 4.25, 0.5), 5.0, 6.0, 8.0])
_NUMBERS_EACH, _ITERATIONS = 4, 2
#: The share of the variance that a smooth function has to explain, and that the first harmonic of a
#: sawtooth has to, which has 61 % of it.
_SMOOTH, _SAWTOOTH = 0.97, 0.4
#: A first fit that explains less of the variance is no start for a better one.
_LEAST_OF_FIRST_FIT = 0.5
#: A node counts if it changes the states by so much, as a share of the node that does most.
_LEAST_EFFECT = 0.05
#: The largest error of an approximation.
_LARGEST_ERROR = 0.15
#: Frequencies of a sawtooth in 1/z, each the sum of a coarse and a fine one, and how many numbers
#: are used to find them.
_COARSE, _FINE, _NUMBERS_OF_SAWTOOTH = np.arange(2.0, 150.0, 2.0), np.arange(0.0, 2.0, 0.04), 256
_FREQUENCIES = (_COARSE[:, None] + _FINE).reshape(-1)
#: In how many cases one of them may explain so much by chance.
_CHANCE = 1e-3
#: Noise: how much of it x and the states may explain, how many steps that takes for each of them,
#: its largest number over its root mean square, and this over the range.
_LARGEST_LINEAR, _STEPS_EACH, _LARGEST_PEAK, _LARGEST_NOISE = 0.15, 2, 6.0, 0.02
#: How much more likely (log) noise of one size must be than noise as large as the slopes of the
#: activations, and the least slope, as a share of the root mean square.
_MORE_LIKELY, _LEAST_SLOPE = 5.0, 0.05


def appearance(hypothesis: Hypothesis, dtype: str) -> tuple[Mistake, ...]:
    """Return what the difference looks like in each wrong recurrence that reports all its states.

    ``hypothesis`` is the network itself, with what the port reports; ``dtype`` is that of the
    port's arithmetic.
    """
    network, mistakes = hypothesis.network, list[Mistake]()
    for one in fully_reported(hypothesis):
        if len(one.direction.cell.cells_by_suffix) > 1:  # a stack of cells
            continue
        alone = replace(hypothesis, quantities=tuple(one.quantities.values()))
        checks = compare_quantities(alone, dtype)
        if all(check.agrees for check in checks):
            continue  # what is left is rounding
        x = np.asarray(one.x, np.float64)
        w = bind(one.direction.name, hypothesis.weights, "float64")
        with np.errstate(all="ignore"):
            steps = _Steps(one.direction, x, one.states, w)
            mistake = _recurrence_appearance(steps, max(check.bound for check in checks))
        if mistake is not None:
            several = len(network.recurrent) > 1 or len(one.node.scans) > 1
            text = f"{mistake.text}, in {one.name}" if several else mistake.text
            mistakes.append(mistake._replace(text=text, where=Where(layer=one.node.name)))
    return tuple(mistakes)


def _recurrence_appearance(steps: _Steps, rounding: float) -> Mistake | None:
    """Return what the difference of one recurrence looks like, if it looks like anything.

    ``rounding`` is the median bound of its states: about how far rounding alone moves them.
    """
    if not np.isfinite(steps.residual).all() or np.abs(steps.residual).max() <= rounding:
        return None
    return (_is_small(steps) and (_smooth(steps) or _sawtooth(steps))) or _noise(steps)


def _is_small(steps: _Steps) -> bool:
    """Return whether activations that are off by a little can change the states so much."""
    effects = sum(float(np.sqrt(np.mean(use.effect**2))) for use in steps.uses)
    return float(np.sqrt(np.mean(steps.residual**2))) <= _LARGEST_ERROR * effects


#: What is added to the value of an activation: from the number of its use in the step, its name
#: and z.
Error = Callable[[int, str, Array], Array]


def _none(number: int, name: str, z: Array) -> Array:
    """Return no error."""
    return np.zeros_like(z)


def _moved(error: Error, at: int) -> Error:
    """Return an error with a small number added to one use of an activation."""

    def moved(number: int, name: str, z: Array) -> Array:
        return error(number, name, z) + _STEP * (number == at)

    return moved


class _ActivationUse(NamedTuple):
    """One use of an activation in a step.

    ``z`` is its argument, ``effect`` the derivative of the states after the step by its value;
    both are vectors like the residual.
    """

    name: str
    z: Array
    effect: Array


class _Steps:
    """One step from each of the port's own states, (N, T, M), as a function of the activations.

    ``residual`` is the difference of all states after the step, as one vector.
    """

    def __init__(self, direction: Direction, x: Array, states: Mapping[str, Array], w: Any) -> None:
        steps = max(1, _MOST_NUMBERS // (len(x) * sum(v.shape[2] for v in states.values())))
        if direction.reverse:  # the first steps in the order of processing
            x, states = x[:, -steps:], {key: v[:, -steps:] for key, v in states.items()}
        self.direction, self.w = direction, w
        self.x, self.states = x[:, :steps], {key: v[:, :steps] for key, v in states.items()}
        self.reported = np.concatenate([v.reshape(-1) for v in self.states.values()])
        self.residual = self.reported - self.computed(_none)
        self.extent = float(np.ptp(self.reported))

    def computed(self, error: Error) -> Array:
        """Return the states after each step, as one vector."""
        numbers = itertools.count()

        def activate(self: Any, ops: Any, use: str, z: Array) -> Array:
            name = self.activation_names[use]
            more = error(next(numbers), name, z)
            result: Array = ops.activate(name, z) + more
            return result

        cell = self.direction.cell.map_cells(lambda cell: recast(cell, activate=activate))
        direction = replace(self.direction, cell=cell)
        after = single_steps(direction, self.x, self.states, self.w)
        return np.concatenate([after[key].reshape(-1) for key in self.states])

    @cached_property
    def uses(self) -> list[_ActivationUse]:
        """Each use of an activation, with the right values."""
        return self.activation_names(_none)

    def activation_names(self, error: Error) -> list[_ActivationUse]:
        """Return each use of an activation, where their values have an error already."""
        arguments: list[tuple[str, Array]] = []

        def noted(number: int, name: str, z: Array) -> Array:
            arguments.append((name, np.array(z)))
            return error(number, name, z)

        before = self.computed(noted)
        uses = []
        for at, (name, z) in enumerate(arguments):
            effect = (self.computed(_moved(error, at)) - before) / _STEP
            samples_first = np.swapaxes(z.reshape(*self.x.shape[1::-1], -1), 0, 1).reshape(-1)
            uses.append(_ActivationUse(name, np.tile(samples_first, len(self.states)), effect))
        return uses


def _chosen_names(uses: list[_ActivationUse]) -> Iterator[tuple[str, ...]]:
    """Yield the names of activations that may be approximated: one of them, then all."""
    names = tuple(dict.fromkeys(use.name for use in uses if use.name in MONOTONE))
    yield from ((name,) for name in names)
    if len(names) > 1:
        yield names


# --- Functions of z -----------------------------------------------------------------------------


def _smooth(steps: _Steps) -> Mistake | None:
    """Return the mistake of a smooth approximation of z, if one explains the residual."""
    for names in _chosen_names(steps.uses):
        if steps.residual.size < _NUMBERS_EACH * len(names) * len(_NODES):
            continue
        errors = {name: np.zeros(len(_NODES)) for name in names}
        effects = {name: np.zeros(len(_NODES)) for name in names}

        def error(number: int, name: str, z: Array, errors: Any = errors) -> Array:
            return np.interp(z, _NODES, errors[name]) if name in errors else z * 0

        uses, residual = steps.uses, steps.residual
        for iteration in range(_ITERATIONS):
            if iteration:
                uses = steps.activation_names(error)
            columns = np.concatenate([_columns(uses, name) for name in names], axis=1)
            change, _, rank, _ = np.linalg.lstsq(columns, residual, rcond=1e-4)
            for name, part, size in zip(
                names,
                np.split(change, len(names)),
                np.split(np.linalg.norm(columns, axis=0), len(names)),
                strict=True,
            ):
                errors[name] += part
                effects[name] = size
            residual = steps.reported - steps.computed(error)
            left = np.mean(residual**2) / np.mean(steps.residual**2)
            explained = 1 - left * len(residual) / max(1, len(residual) - int(rank))
            if explained < _LEAST_OF_FIRST_FIT:
                break
        if explained >= _SMOOTH:
            return _smooth_mistake(errors, effects)
    return None


def _columns(uses: list[_ActivationUse], name: str) -> Array:
    """Return the derivative of the residual by the value at each node, (numbers, nodes)."""
    columns = np.zeros((len(uses[0].z), len(_NODES)))
    rows = np.arange(len(columns))
    for use in uses:
        if use.name == name:  # linear between two nodes
            z = np.clip(use.z, _NODES[0], _NODES[-1])
            after = np.clip(np.searchsorted(_NODES, z), 1, len(_NODES) - 1)
            share = (z - _NODES[after - 1]) / (_NODES[after] - _NODES[after - 1])
            columns[rows, after - 1] += (1 - share) * use.effect
            columns[rows, after] += share * use.effect
    return columns


def _smooth_mistake(errors: Mapping[str, Array], effects: Mapping[str, Array]) -> Mistake | None:
    """Return the mistake from the errors of each function at the nodes, and their effects."""
    texts = []
    for name, values in errors.items():
        sizes = np.where(effects[name] >= _LEAST_EFFECT * effects[name].max(), np.abs(values), 0.0)
        worst = int(np.argmax(sizes))
        if sizes[worst] > _LARGEST_ERROR:
            return None
        texts.append(f"{name}, off by up to {sizes[worst]:.1e} near z = {_NODES[worst]:g}")
    text = f"an approximation of {' and '.join(texts)}, smooth in z"
    return Mistake("activation.approximated", text)


def _sawtooth(steps: _Steps) -> Mistake | None:
    """Return the mistake of a table of activations, if a sawtooth of z explains the residual."""
    uses = steps.uses
    chosen = np.linspace(0, len(steps.residual) - 1, _NUMBERS_OF_SAWTOOTH).astype(int)
    chosen = np.unique(chosen)
    residual = steps.residual[chosen]
    waves = [(c.name, _slopes(c)[chosen] * _wave(c.z[chosen])) for c in uses if c.name in MONOTONE]
    best: tuple[float, str] = (0.0, "")
    for names in _chosen_names(uses):
        wave = sum((part for name, part in waves if name in names), np.zeros(1))
        shares = _explained_shares(wave.real, wave.imag, residual)
        at = int(np.argmax(shares))
        if shares[at] > best[0]:
            width = 1 / _FREQUENCIES[at]
            best = shares[at], f"a table of {' and '.join(names)} with an entry every {width:.3g}"
    if best[0] < _SAWTOOTH or not _is_evident(best[0], residual):
        return None
    linear = _linear_share(steps)
    if linear is not None and linear > _LARGEST_LINEAR:
        return None  # other weights explain it, too
    return Mistake("activation.approximated", f"{best[1]} in z")


def _is_evident(share: float, residual: Array) -> bool:
    """Return whether no frequency explains such a share of a residual by chance.

    A few large numbers count as few.
    """
    numbers = float(np.sum(residual**2) ** 2 / np.sum(residual**4))
    likelihood = -numbers / 2 * np.log(max(1 - share, 1e-12))
    return bool(likelihood >= np.log(len(_FREQUENCIES) / _CHANCE))


def _wave(z: Array) -> Array:
    """Return exp(2 π i f z) for each frequency f, (frequencies, numbers)."""
    coarse, fine = (np.exp(2j * np.pi * f[:, None] * z) for f in (_COARSE, _FINE))
    return np.asarray(coarse[:, None] * fine).reshape(-1, len(z))


def _slopes(use: _ActivationUse) -> Array:
    """Return the derivative of the states by z."""
    function = MONOTONE[use.name].function
    slope: Array = (function(use.z + _STEP) - function(use.z - _STEP)) / (2 * _STEP)
    return use.effect * slope


def _explained_shares(one: Array, other: Array, residual: Array) -> Array:
    """Return how much of a residual (E,) the best sum of two columns explains, for each row.

    ``one`` and ``other`` are (rows, E).
    """
    a, b, c = (np.sum(p, axis=1) for p in (one * one, one * other, other * other))
    p, q = one @ residual, other @ residual
    determinant = a * c - b * b
    share = (c * p * p - 2 * b * p * q + a * q * q) / (determinant * (residual @ residual))
    usable = determinant > 1e-6 * a * c
    return np.where(usable, share, 0.0)


# --- Noise --------------------------------------------------------------------------------------


def _noise(steps: _Steps) -> Mistake | None:
    """Return the mistake of noise, if the residual has one size and nothing explains any of it."""
    residual = steps.residual
    rms = float(np.sqrt(np.mean(residual**2)))
    if rms > _LARGEST_NOISE * steps.extent or np.abs(residual).max() > _LARGEST_PEAK * rms:
        return None
    linear = _linear_share(steps)
    if linear is None or linear > _LARGEST_LINEAR:
        return None
    squares = sum((_slopes(c) ** 2 for c in steps.uses if c.name in MONOTONE), np.zeros(1))
    slopes = np.sqrt(np.maximum(squares, _LEAST_SLOPE**2 * np.mean(squares)))
    # Logarithms of the likelihoods of normal distributions, one of them as wide as the slopes.
    even = -len(residual) * np.log(rms)
    relative = np.sqrt(np.mean((residual / slopes) ** 2))
    with_slopes = -len(residual) * np.log(relative) - np.log(slopes).sum()
    if not even > with_slopes + _MORE_LIKELY:
        return None
    text = f"noise of about {rms:.1e}, whatever x, the states and z are"
    return Mistake("numeric.noise", text)


def _linear_share(steps: _Steps) -> float | None:
    """Return how much of the residual a linear function of x and the states before explains.

    Wrong weights leave such a function. It is ``None`` where there are too few steps to tell.
    """
    rows = steps.x.shape[0] * steps.x.shape[1]
    before = states_before(steps.direction, steps.states, {})
    parts = [steps.x, *before.values()]
    features = np.concatenate([np.ones((rows, 1)), *(p.reshape(rows, -1) for p in parts)], axis=1)
    if rows < _STEPS_EACH * features.shape[1]:
        return None
    units = np.concatenate(
        [part.reshape(rows, -1) for part in np.split(steps.residual, len(steps.states))], axis=1
    )
    fitted, _, rank, _ = np.linalg.lstsq(features, units, rcond=None)
    left = np.mean((units - features @ fitted) ** 2) / (1 - int(rank) / rows)
    return float(1 - left / np.mean(units**2))
