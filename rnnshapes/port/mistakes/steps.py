"""Known mistakes of ports about time: which step of x is read, and which is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, with_outputs
from rnnshapes.port.quantities import OUTPUT, ReportedQuantity

_REVERSED = "time is reversed: the port starts at the last step of x"
_FORWARDS = "go_backwards is ignored: the port starts at t = 0, not at the last step of x"
_STARTS_LAST = "start at the last step: process x[:, ::-1], as go_backwards=True in Keras"


def misplaced_time(hypothesis: Hypothesis) -> Variations:
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
    first = [d.reverse for node in hypothesis.network.recurrent[:1] for _, d in node.scans]
    text, fix = (_FORWARDS, _STARTS_LAST) if first == [True] else (_REVERSED, "")
    yield Mistake("time.reversed", text, own_fix=fix), backwards
    if any(q.values.shape[1] > 1 for q in hypothesis.quantities):
        # The states of a network that goes backwards are in the order of x already.
        text = f"{text}, and gives its {'states' if fix else 'output'} in the order of x"
        mistake = Mistake("time.reversed_and_back", text, own_fix=fix)
        yield mistake, backwards.map_quantities(ReportedQuantity.in_reverse)
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


def other_steps(hypothesis: Hypothesis) -> Variations:
    """Stay at the first step of x, repeat an end of it, or begin one step too late."""
    x = hypothesis.sequences
    if x is not None and x.shape[1] > 1:
        text = "every step reads x_0"
        mistake = Mistake("time.first_repeated", text, Where(array="x"))
        yield mistake, replace(hypothesis, xs=(np.repeat(x[:, :1], x.shape[1], axis=1),))
        late = np.concatenate([x[:, :1], x[:, :-1]], axis=1)
        early = np.concatenate([x[:, 1:], x[:, -1:]], axis=1)
        for how, moved in (("late, and x_0 is read twice", late), ("early", early)):
            more = ", and the last step is read twice" if moved is early else ""
            mistake = Mistake("time.shifted", f"x is one step {how}{more}")
            yield mistake, replace(hypothesis, xs=(moved,))
        yield from _without_first(hypothesis)


def _without_first(hypothesis: Hypothesis) -> Variations:
    """Leave out the first step of x, where the port gives the last step alone."""
    changed = _with_last_step(hypothesis, lambda step: step - 1)
    if changed is not None and all(len(q.steps) == 1 for q in hypothesis.quantities):
        mistake = Mistake("time.first_omitted", "the first step is left out")
        yield mistake, replace(changed, xs=(hypothesis.xs[0][:, 1:],))


def _wrong_last_step(hypothesis: Hypothesis) -> Variations:
    """Take the one step that a port gives for another step than the last.

    The first one of x in reverse is not tried: it has the numbers of states that are set to 0 at
    every step, a more common mistake.
    """
    second_last = _with_last_step(hypothesis, lambda step: step - 1)
    first = _with_last_step(hypothesis, lambda step: step * 0)
    if second_last is not None and first is not None:
        yield Mistake("time.last_omitted", "the last step is left out"), second_last
        yield Mistake("time.first_only", "the output is that of the first step"), first


def _with_last_step(hypothesis: Hypothesis, other: Callable[[Array], Array]) -> Hypothesis | None:
    """Return the hypothesis that what is given at the last step alone is of another step.

    ``None`` if nothing is, the first step is the last, or x of later steps plays a part.
    """
    steps = [q.network_steps for q in hypothesis.quantities if q.network_steps is not None]
    last = [step for step in steps if len(step) == 1]
    if not last or len(steps) < len(hypothesis.quantities) or not hypothesis.network.is_causal:
        return None
    if any(step[0] == 0 for step in last):
        return None
    return hypothesis.map_quantities(
        lambda q: (
            q
            if q.network_steps is None or len(q.network_steps) > 1
            else replace(q, network_steps=other(q.network_steps))
        )
    )


def _shifted_output(hypothesis: Hypothesis) -> Variations:
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


def pooled_steps(hypothesis: Hypothesis) -> Variations:
    """Pass the mean or the largest h over time on, where the last h is right."""
    network = hypothesis.network
    node = network.recurrent[-1] if network.recurrent else None
    layer: Any = node.layer if node else None
    alone = all(q.key or len(q.steps) == 1 for q in hypothesis.quantities)
    if node is None or layer.return_sequences or layer.return_state or not alone:
        return
    shapes = network.shapes_at(node.sources[0])
    if shapes.masked or network.step_count(shapes) == 1 or network.returns_sequences:
        return
    quantities = tuple(
        q if q.key else replace(q, name=OUTPUT, network_steps=None) for q in hypothesis.quantities
    )
    for how, function in (("mean", "mean"), ("largest", "max")):
        sequence = replace(layer, return_sequences=True)
        changed = with_outputs(sequence, partial(_pooled, function))
        text = f"{node.name} passes the {how} h over time on, not the last one"
        pooled = hypothesis.with_whole_layer(network.nodes.index(node), changed)
        mistake = Mistake("time.pooled", text, Where(layer=node.name))
        yield mistake, replace(pooled, quantities=quantities)


def _pooled(function: str, ops: Any, outputs: Any) -> Any:
    """Return the mean or the largest number over time of each output (T, N, M)."""
    return [getattr(ops, function)(output, 0) for output in outputs]
