"""A first look at a few steps, which sorts hypotheses by their distance to a port.

It is cheap and has no bounds: only the nearest hypotheses are compared in full.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rnnshapes.forward import numpy_run, scan
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.port.batched_networks import batched_groups, batched_weights, networks_at_once
from rnnshapes.port.compare import compute_outputs, fully_reported, is_stepwise
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.reference.outputs import STATES, ModelOutputs

#: A change of the last step by less than this share is negligible.
_NEGLIGIBLE = 0.01
#: The fewest steps that :func:`memory_length` looks at, and :func:`measured_reach`.
_LEAST_STEPS, _LEAST_REACH = 8, 8


def relative_distance(part: Hypothesis) -> float:
    """Return about how far a hypothesis is from the port, as a share of the port's numbers.

    Returns:
        The largest relative distance of all quantities; infinity if none can be computed.
    """
    return relative_distances([part])[0]


def relative_distances(parts: Sequence[Hypothesis]) -> list[float]:
    """Return the relative distance of each part: the root of the mean square, as a share."""
    distances = []
    for part, residuals in zip(parts, residuals_of(parts), strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            pairs = [
                (_size(residual), _size(quantity.values))
                for quantity, residual in zip(part.quantities, residuals, strict=True)
            ]
        shares = [residual / size if size else residual for residual, size in pairs]
        farthest = max(shares, default=np.inf)
        distances.append(farthest if np.isfinite(sum(shares)) else np.inf)
    return distances


def _size(values: Array) -> float:
    """Return the root of the mean square."""
    flat = values.reshape(-1)
    return float(np.sqrt(flat @ flat / len(flat)))


def residuals_of(parts: Sequence[Hypothesis]) -> list[list[Array]]:
    """Return what the port reports minus what each part computes, for each of its quantities.

    Parts of the same structure differ in weights of cells and Dense layers, in x, and in what
    the port reports. They are computed at once: their samples stand one behind the other.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, part in enumerate(parts):
        groups.setdefault(_structure(part) or number, []).append(number)
    residuals: list[list[Array]] = [[] for _ in parts]
    for numbers in groups.values():
        part = parts[numbers[0]]
        count = networks_at_once(part.network, part.weights, part.xs)
        for start in range(0, len(numbers), count):
            some = numbers[start : start + count]
            computed = _residuals([parts[number] for number in some])
            for number, of_part in zip(some, computed, strict=True):
                residuals[number] = of_part
    return residuals


def _structure(part: Hypothesis) -> Hashable:
    """Return what parts have in common that can be computed at once; ``None`` for one alone."""
    network = part.network
    if network.batch:
        return None
    batched = batched_groups(network)

    def is_batched(group: str) -> bool:
        return group in batched or group.startswith(STATES)

    try:
        hash(network.nodes)
        return (
            # Cells and layers with other methods are equal, but are of other classes.
            *(type(node.layer) for node in network.nodes),
            *(type(d.cell) for node in network.recurrent for _, d in node.scans),
            network.nodes,
            network.outputs,
            tuple(x.shape for x in part.xs),
            tuple(
                (q.name, q.key, q.values.shape, _listed(q.network_steps)) for q in part.quantities
            ),
            tuple(
                (group, key, array.shape if is_batched(group) else id(array))
                for group, arrays in part.weights.items()
                for key, array in arrays.items()
            ),
        )
    except TypeError:  # a layer with an option that has no hash
        return None


def _listed(steps: Array | None) -> bytes | None:
    return None if steps is None else steps.tobytes()


def _residuals(parts: Sequence[Hypothesis]) -> list[list[Array]]:
    """Return the residuals of parts of one structure."""
    xs = tuple(np.concatenate(several) for several in zip(*(p.xs for p in parts), strict=True))
    quantities = tuple(
        replace(several[0], values=np.concatenate([q.values for q in several]))
        for several in zip(*(p.quantities for p in parts), strict=True)
    )
    several = [part.weights for part in parts]
    rows = len(parts[0].xs[0])
    weights = batched_weights(parts[0].network, several, rows)
    if len(parts) > 1:
        weights = {**weights, **_joined_starts(several, rows)}
    every = replace(parts[0], xs=xs, quantities=quantities, weights=weights)
    residuals = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for quantity, expected in expected_quantities(every):
            residuals[id(quantity)] = np.split(quantity.values - expected, len(parts))
    in_order = [residuals[id(quantity)] for quantity in quantities]
    return [list(of_part) for of_part in zip(*in_order, strict=True)] or [[] for _ in parts]


def _joined_starts(several: Sequence[Weights], rows: int) -> Weights:
    """Return the states from which several networks of so many samples start, in one batch."""
    return {
        name: {
            key: np.concatenate(
                [np.broadcast_to(w[name][key], (rows, array.shape[-1])) for w in several]
            )
            for key, array in arrays.items()
        }
        for name, arrays in several[0].items()
        if name.startswith(STATES)
    }


def memory_length(hypothesis: Hypothesis, most: int) -> int:
    """Return about how many of the last steps decide the last output, and at most ``most``."""
    steps, at_end = _LEAST_STEPS, _at_last_step(hypothesis, _LEAST_STEPS)
    while steps < most:
        steps, with_fewer = 2 * steps, at_end
        at_end = _at_last_step(hypothesis, steps)
        changes = [np.max(np.abs(a - b)) for a, b in zip(at_end, with_fewer, strict=True)]
        if max(changes) <= _NEGLIGIBLE * max(np.max(np.abs(values)) for values in at_end):
            break
    return min(steps, most)


def measured_reach(hypothesis: Hypothesis, steps: int) -> int:
    """Return from how many steps away x changes what a part with ``steps`` steps computes.

    Returns:
        The number of steps, with a margin; 0 for a causal network, and where the whole run has
        to be computed.
    """
    longest = max(x.shape[1] for x in hypothesis.xs if x.ndim > 1)
    if hypothesis.network.is_causal or not _forgets(hypothesis):
        return 0
    some = hypothesis.of_samples(slice(2))
    with np.errstate(over="ignore", invalid="ignore"):
        ours = compute_outputs(some)
    exact = [replace(q, values=q.expected(some.network, ours)) for q in some.quantities]
    some = replace(some, quantities=tuple(exact))
    distance = _LEAST_REACH
    while 2 * distance < longest:
        if relative_distance(_run_window(some, steps, 2, distance).of(some)) <= _NEGLIGIBLE:
            return 2 * distance
        distance *= 2
    return 0


def _forgets(hypothesis: Hypothesis) -> bool:
    """Return whether x far away from a step hardly changes it, as recurrences forget."""
    network = hypothesis.network
    alone = not any(node.initial for node in network.nodes) and network.batch is None
    timed = all(getattr(node.layer, "timed", False) for node in network.inputs)
    return alone and timed and network.only_recurrences_mix_steps and bool(network.recurrent)


def _at_last_step(hypothesis: Hypothesis, steps: int) -> list[Array]:
    """Return what the network computes for each quantity from a few steps alone."""
    part = window(hypothesis, steps).of(hypothesis)
    with np.errstate(over="ignore", invalid="ignore"):
        ours = compute_outputs(part)
    return [quantity.expected(part.network, ours) for quantity in part.quantities]


def expected_quantities(
    hypothesis: Hypothesis,
) -> Iterator[tuple[ReportedQuantity, Array]]:
    """Yield each quantity with its expected values, from the port's own states if possible."""
    stepped = set()
    initial = numpy_run.stored_states(hypothesis.weights)
    batch = hypothesis.network.batch
    for one in fully_reported(hypothesis):
        if one.node.keeps_states and batch is not None and len(one.x) > batch:
            continue  # the second batch starts from the states after the first
        w = bind(one.direction.name, hypothesis.weights, "float64")
        after = scan.single_steps(one.direction, one.x, one.states, w, initial.get(one.name))
        for key, quantity in one.quantities.items():
            stepped.add(one.numbers[key])
            yield quantity, after[key]
    others = [q for number, q in enumerate(hypothesis.quantities) if number not in stepped]
    if others:
        ours = compute_outputs(hypothesis)
        for quantity in others:
            yield quantity, quantity.expected(hypothesis.network, ours)


@dataclass(frozen=True)
class StepWindow:
    """A few steps and samples of x and of what a port reports, for several hypotheses.

    ``is_exact``: what differs in them differs in the whole run, too. ``starts`` are the port's own
    states before the first step, (N, M), as weights have them, if the run does not start there;
    ``start_rounding`` is how far they may be off, by recurrence.
    """

    xs: tuple[Array, ...]
    quantities: tuple[ReportedQuantity, ...]
    is_exact: bool
    starts: Weights = field(default_factory=dict)
    start_rounding: Weights = field(default_factory=dict)

    def of(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return this part of a hypothesis."""
        samples = len(self.xs[0])
        own_starts = {
            name: {key: array[:samples] for key, array in arrays.items()}
            for name, arrays in hypothesis.weights.items()
            if name.startswith(STATES)
        }
        return replace(
            hypothesis,
            xs=self.xs,
            quantities=self.quantities,
            weights={**hypothesis.weights, **own_starts, **self.starts},
            start_rounding=self.start_rounding,
        )


def window(
    hypothesis: Hypothesis, steps: int, samples: int = 2, reach: int = 0, step: int = 0
) -> StepWindow:
    """Return a few steps and samples, if a part of a hypothesis can be computed alone.

    Args:
        hypothesis: The network as the port may compute it, and what the port reports.
        steps: How many steps to compare. Where the port reports all states, they are around
            ``step``, and start from the port's own states before them, with their rounding.
            Otherwise they end at the first step that the port reports, or a little later, and
            start from the states from which the run starts.
        samples: How many samples to compute.
        reach: Where the network is not causal, how many more steps to compute: see
            :func:`measured_reach`.
        step: A step of interest. It is among those to compare where each of them starts from the
            port's own states.
    """
    if is_stepwise(hypothesis) and not hypothesis.unwindowed:
        return _stepwise_window(hypothesis, steps, samples, step)
    return _run_window(hypothesis, steps, samples, reach)


def _run_window(hypothesis: Hypothesis, steps: int, samples: int, reach: int) -> StepWindow:
    """Return the part of a run from its start, or from the same states before its last steps."""
    network = hypothesis.network
    timed = [q.network_steps for q in hypothesis.quantities if q.network_steps is not None]
    whole = hypothesis if network.batch else hypothesis.of_samples(slice(samples))
    if hypothesis.unwindowed or not (network.runs_in_blocks or reach):
        return StepWindow(whole.xs, whole.quantities, is_exact=False)
    if reach and not timed:
        # The last output of both directions depends on both ends of x.
        xs = tuple(_ends(x, reach) for x in whole.xs)
        return StepWindow(xs, whole.quantities, is_exact=False)
    if len(timed) < len(hypothesis.quantities):
        return StepWindow(whole.xs, whole.quantities, is_exact=False)
    start = max(0, int(min(map(np.min, timed))) + 1 - steps)
    quantities = []
    for quantity, network_steps in zip(whole.quantities, timed, strict=True):
        inside = np.flatnonzero((network_steps >= start) & (network_steps < start + steps))
        if len(inside):
            quantities.append(quantity.at_steps(inside, network_steps[inside] - start))
    xs = tuple(x[:, start : start + steps + reach] for x in whole.xs)
    return StepWindow(xs, tuple(quantities), is_exact=start == 0 and not reach)


def _stepwise_window(hypothesis: Hypothesis, steps: int, samples: int, step: int) -> StepWindow:
    """Return a few steps around a step, with the port's own states before the first of them."""
    count = len(hypothesis.quantities[0].steps)
    start = max(0, min(step - steps // 2, count - steps))
    stop = min(start + steps, count)
    starts: dict[str, dict[str, Array]] = {}
    start_rounding: dict[str, dict[str, Array]] = {}
    for one in fully_reported(hypothesis):
        before = stop if one.direction.reverse else start - 1
        if 0 <= before < count:
            starts[STATES + one.name] = {k: a[:samples, before] for k, a in one.states.items()}
            start_rounding[one.name] = {k: a[:samples, before] for k, a in one.rounding.items()}
    some, steps_of_network = hypothesis.of_samples(slice(samples)), np.arange(stop - start)
    quantities = tuple(q.at_steps(slice(start, stop), steps_of_network) for q in some.quantities)
    xs = tuple(
        x[:, start:stop] if getattr(node.layer, "timed", False) else x
        for node, x in zip(some.network.inputs, some.xs, strict=True)
    )
    return StepWindow(xs, quantities, True, starts, start_rounding)


def _ends(x: Array, steps: int) -> Array:
    """Return the first and the last steps of x (N, T, D), without those between them."""
    if x.shape[1] <= 2 * steps:
        return x
    return np.concatenate([x[:, :steps], x[:, -steps:]], axis=1)


def run_differences(hypothesis: Hypothesis, ours: ModelOutputs) -> list[Array]:
    """Return |reported - expected| of each quantity, (N, L, units), over the whole run ``ours``."""
    with np.errstate(invalid="ignore", over="ignore"):
        return [
            np.abs(q.values - q.expected(hypothesis.network, ours)) for q in hypothesis.quantities
        ]
