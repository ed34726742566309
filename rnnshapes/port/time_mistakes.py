"""Known mistakes of ports about the sequence: masks, time, samples, and their axes.

Each function yields the mistakes of one kind that the network allows, each with the hypothesis
that the port makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.masking import Masking
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.quantities import ReportedQuantity

#: The output has its first two axes exchanged.
SWAPPED_OUTPUT = Mistake(
    "axes.output_swapped", "samples and time are exchanged: the port gives (T, N, …)"
)
_REVERSED = "time is reversed: the port starts at the last step of x"


def ignored_masks(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Process masked steps like all others."""
    nodes = []
    for node in hypothesis.network.nodes:
        layer: Any = node.layer
        if isinstance(layer, Masking):
            layer = replace(layer, value=np.nan)  # no number equals it
        elif isinstance(layer, Embedding):
            layer = replace(layer, mask_zero=False)
        nodes.append(node if layer == node.layer else replace(node, layer=layer))
    if tuple(nodes) != hypothesis.network.nodes:
        network = replace(hypothesis.network, nodes=tuple(nodes))
        mistake = Mistake("mask.ignored", "masked steps are processed like all others")
        yield mistake, replace(hypothesis, network=network)


def misplaced_time(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Reverse or shift the steps of x, or the steps to which the output belongs."""
    inputs = hypothesis.network.inputs
    timed = [i for i, node in enumerate(inputs) if getattr(node.layer, "timed", False)]
    if all(hypothesis.xs[i].shape[1] == 1 for i in timed):
        return

    def with_x(change: Callable[[Array], Array]) -> Hypothesis:
        """Return the hypothesis with every input that has time steps changed."""
        xs = tuple(change(x) if i in timed else x for i, x in enumerate(hypothesis.xs))
        return replace(hypothesis, xs=xs)

    backwards = with_x(lambda x: x[:, ::-1])
    yield Mistake("time.reversed", _REVERSED), backwards
    if any(q.values.shape[1] > 1 for q in hypothesis.quantities):
        text = f"{_REVERSED}, and gives its output in the order of x"
        yield (
            Mistake("time.reversed_and_back", text),
            replace(backwards, quantities=_reversed_steps(hypothesis)),
        )
        yield from _shifted_output(hypothesis)
    yield (
        Mistake("time.shifted", "x is one step late: the port reads x_{t-1} at t"),
        with_x(lambda x: np.concatenate([x[:, :1] * 0, x[:, :-1]], axis=1)),
    )
    yield (
        Mistake("time.shifted", "x is one step early: the port reads x_{t+1} at t"),
        with_x(lambda x: np.concatenate([x[:, 1:], x[:, -1:] * 0], axis=1)),
    )
    yield from _wrong_last_step(hypothesis)


def _reversed_steps(hypothesis: Hypothesis) -> tuple[ReportedQuantity, ...]:
    """Return the quantities as values of the network's steps in reverse order."""
    return tuple(
        q if q.network_steps is None else replace(q, network_steps=q.network_steps[::-1])
        for q in hypothesis.quantities
    )


def _wrong_last_step(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the one step that a port gives for another step than the last.

    The first one of x in reverse is not tried: it has the numbers of states that are set to 0 at
    every step, a more common mistake.
    """
    last = [
        (q, q.network_steps)
        for q in hypothesis.quantities
        if q.network_steps is not None and len(q.network_steps) == 1
    ]
    if not last or len(last) < len(hypothesis.quantities) or not hypothesis.network.is_causal:
        return
    if not all(step[0] > 0 for _, step in last):
        return
    second_last = tuple(q.at_steps(slice(None), step - 1) for q, step in last)
    first = tuple(q.at_steps(slice(None), step * 0) for q, step in last)
    yield (
        Mistake("time.last_omitted", "the last step is left out"),
        replace(hypothesis, quantities=second_last),
    )
    yield (
        Mistake("time.first_only", "the output is that of the first step"),
        replace(hypothesis, quantities=first),
    )


def _shifted_output(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take what the port gives at t for the values of the step before or after."""
    for source, port, network in (
        ("t - 1", slice(1, None), slice(None, -1)),
        ("t + 1", slice(None, -1), slice(1, None)),
    ):
        quantities = tuple(
            q.at_steps(port, q.network_steps[network])
            for q in hypothesis.quantities
            if q.network_steps is not None and len(q.network_steps) > 1
        )
        if len(quantities) == len(hypothesis.quantities):
            text = f"the output is shifted: the port gives at t the values of {source}"
            yield Mistake("time.shifted", text), replace(hypothesis, quantities=quantities)


def carried_states(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Start each sample from the final states of the sample before."""
    network, xs = hypothesis.network, hypothesis.xs
    if not network.runs_in_blocks or len(xs) != 1 or len(xs[0]) == 1:
        return
    n, t = xs[0].shape[:2]
    starts = np.arange(n)[:, None] * t
    quantities = []
    for q in hypothesis.quantities:
        if q.network_steps is None:
            return
        steps = (starts + q.network_steps).reshape(-1)
        quantities.append(
            replace(
                q,
                values=q.values.reshape(1, len(steps), -1),
                rounding=q.rounding.reshape(1, len(steps), -1),
                network_steps=steps,
                steps=steps,
            )
        )
    one_sequence = xs[0].reshape(1, n * t, *xs[0].shape[2:])
    yield (
        Mistake("state.carried", "the state is carried over from one sample to the next"),
        replace(hypothesis, xs=(one_sequence,), quantities=tuple(quantities)),
    )


def swapped_axes(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the first two axes of x, or of what the port gives, for each other."""
    x = hypothesis.xs[0]
    timed = getattr(hypothesis.network.inputs[0].layer, "timed", False)
    if len(hypothesis.xs) != 1 or not timed or x.shape[0] == 1:
        return
    n, t = x.shape[:2]
    mixed = np.swapaxes(x.reshape(t, n, -1), 0, 1)
    if t > 1:
        text = "samples and time are exchanged: x (N, T, D) is read as if it were (T, N, D)"
        yield (
            Mistake("axes.input_swapped", text),
            replace(hypothesis, xs=(mixed.reshape(x.shape),)),
        )
    if n == t and all(
        q.network_steps is not None and len(q.network_steps) == t for q in hypothesis.quantities
    ):
        quantities = tuple(map(_with_axes_swapped, hypothesis.quantities))
        yield SWAPPED_OUTPUT, replace(hypothesis, quantities=quantities)
    yield from _loop_over_samples(hypothesis)


def _with_axes_swapped(quantity: ReportedQuantity) -> ReportedQuantity:
    """Return the quantity with samples for steps and steps for samples."""
    return replace(
        quantity,
        values=np.swapaxes(quantity.values, 0, 1),
        rounding=np.swapaxes(quantity.rounding, 0, 1),
    )


def _loop_over_samples(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Loop over axis 0 of x, so that the steps are samples."""
    x = hypothesis.xs[0]
    steps = hypothesis.quantities[0].network_steps if hypothesis.quantities else None
    if (
        not hypothesis.network.runs_in_blocks
        or len(hypothesis.xs) != 1
        or len(x) == 1
        or steps is None
    ):
        return
    if not all(
        q.network_steps is not None and np.array_equal(q.network_steps, steps)
        for q in hypothesis.quantities
    ):
        return
    samples = np.arange(len(x))
    quantities = tuple(
        replace(_with_axes_swapped(q), network_steps=samples, steps=samples)
        for q in hypothesis.quantities
    )
    text = "the loop runs over the samples, axis 0 of x, as PyTorch's does without batch_first"
    yield (
        Mistake("axes.loop_over_samples", text),
        replace(hypothesis, xs=(np.swapaxes(x[:, steps], 0, 1),), quantities=quantities),
    )
