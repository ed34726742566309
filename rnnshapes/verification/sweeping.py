"""``verify --sweep``: many networks in one process, each verified without a model of its own.

Keras's layers are made and called as they are, nothing is compiled. In float64 they are looked
at and run, too; in float32 their cells take each step, and are kept for the next network.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from rnnshapes import reference
from rnnshapes.errors import CannotRunError, KerasUnavailableError
from rnnshapes.forward import replay, tracing
from rnnshapes.forward.tracing import Place
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.graph import Network
from rnnshapes.reference.outputs import Answers, Engine
from rnnshapes.result import Displayed, Tick
from rnnshapes.verification import grid, unrolled
from rnnshapes.verification.report import Check, check_of, repeats, structure


@dataclass(frozen=True)
class Configuration:
    """One network of a sweep, and how it went.

    ``options`` are those in which it differs from Keras's defaults, with all sizes. ``ratios``
    are the largest of |found - expected| / bound by the precision in which Keras computed;
    ``worst`` is the check of the largest of all, ``place`` where that is. ``failed`` names the
    checks that fail, ``problem`` says why the network could not be run.
    """

    options: tuple[tuple[str, Any], ...]
    network: Network
    checks: int
    compared: int
    ratios: tuple[tuple[str, float], ...]
    worst: str
    place: Place | None
    failed: tuple[str, ...]
    problem: str
    seconds: float

    @property
    def cell(self) -> str:
        """The cell by its name on the command line."""
        return str(dict(self.options)["cell"])

    @property
    def passed(self) -> bool:
        """Whether it was run, there are checks, and all of them pass."""
        return not self.problem and self.checks > 0 and not self.failed


@dataclass(frozen=True, repr=False)
class Sweep(Displayed):
    """Every configuration of a grid, verified against Keras."""

    schema = "rnnshapes.sweep/1"

    engine: Engine
    seed: int
    configurations: tuple[Configuration, ...]

    @property
    def failed(self) -> tuple[Configuration, ...]:
        """Those that fail, or could not be run."""
        return tuple(found for found in self.configurations if not found.passed)

    @property
    def passed(self) -> bool:
        """Whether there are configurations and all of them pass."""
        return bool(self.configurations) and not self.failed


def sweep(planned: Sequence[grid.Planned], seed: int, tick: Tick | None = None) -> Sweep:
    """Verify each of the networks that are ``planned``; ``tick`` is told how many are done.

    Raises CannotRunError where Keras cannot be imported or not one of the networks can be run.
    """
    if not reference.engine().float64:
        raise CannotRunError(
            "the sweep compares in float64, in which Keras computes on the TensorFlow backend "
            "alone: set KERAS_BACKEND=tensorflow"
        )
    kept: dict[Any, Any] = {}
    found: list[Configuration] = []
    errors: list[CannotRunError] = []
    with _without_searching():
        for options, network in planned:
            checks: list[Check] = []
            start = time.perf_counter()
            try:
                tracing.require_memory(network, "y", with_keras=True)
                reference.engine()  # its import is not the configuration's
                start = time.perf_counter()
                checks += checked(network, seed, kept)
                problem = ""
            except KerasUnavailableError:
                raise
            except CannotRunError as error:
                errors.append(error)
                problem = str(error)
            seconds = time.perf_counter() - start
            found.append(_summed_up(options, network, checks, problem, seconds))
            if tick is not None:
                tick(len(found), len(planned))
    if len(errors) == len(planned):
        raise errors[0]
    return Sweep(reference.engine(), seed, tuple(found))


def checked(network: Network, seed: int, kept: dict[Any, Any]) -> Iterator[Check]:
    """Every check of a network; ``kept`` holds Keras's cells from one network to the next."""
    drawn = weights.draw(network, seed)
    xs = [inputs.full_array(source) for source in inputs.random_inputs(network, seed)]
    exact, single = network.all_in("float64"), network.all_in("float32")
    ours = replay.computed(exact, drawn, xs)
    seen: list[reference.Examined] = []

    def examine(*given: Any) -> Answers:
        seen.append(reference.examine(kept, unrolled.FEW, *given))
        return seen[0].answers

    again = replay.repeated(exact, drawn, ours, "float64", examine)
    yield from structure(network, seen[0].built)
    for layer, what, finding in unrolled.findings(exact, drawn, ours, seen[0].called, unrolled.FEW):
        yield check_of(layer, what, finding, ", in float64")
    yield from repeats(exact, drawn, xs, again, "float64")
    again = replay.repeated(single, drawn, ours, "float32", partial(reference.step_cells, kept))
    yield from repeats(single, drawn, xs, again, "float32")


def _summed_up(
    options: Mapping[str, Any],
    network: Network,
    checks: list[Check],
    problem: str,
    seconds: float,
) -> Configuration:
    rated = [(check.ratio, check) for check in checks if check.ratio is not None]
    rated.sort(key=lambda pair: severity(pair[0]))
    worst = rated[-1][1] if rated else None
    return Configuration(
        options=tuple(options.items()),
        network=network,
        checks=len(checks),
        compared=sum(check.compared for check in checks),
        ratios=tuple({check.precision: ratio for ratio, check in rated}.items()),
        worst="" if worst is None else worst.name,
        place=None if worst is None else worst.place,
        failed=tuple(check.name for check in checks if not check.passed),
        problem=problem,
        seconds=seconds,
    )


def severity(ratio: float) -> float:
    """What ratios are sorted by: NaN is the worst of all."""
    return math.inf if math.isnan(ratio) else ratio


@contextmanager
def _without_searching() -> Iterator[None]:
    """No search for garbage in what is there already: with TensorFlow it takes 0.2 s each time."""
    own = gc.get_freeze_count() == 0  # else the user has frozen something
    if own:
        gc.freeze()
    try:
        yield
    finally:
        if own:
            gc.unfreeze()
