"""Known mistakes of ports about time: which step of x is read, and which is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from rnnshapes.network.graph import Node, Tap
from rnnshapes.network.layers.pooling import GlobalPooling
from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, with_outputs
from rnnshapes.port.quantities import OUTPUT, ReportedQuantity

_REVERSED = "time is reversed: the port starts at the last step of x"
_FORWARDS = "go_backwards is ignored: the port starts at t = 0, not at the last step of x"
_LAST_OMITTED = "the last step is left out"
#: Lengths of blocks, windows and padded sequences.
_LENGTHS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 16, 20, 24, 25, 30, 32, 40, 48, 50, 60, 64, 80, 96),
    *(100, 120, 128, 150, 160, 200, 250, 256, 300, 400, 500, 512, 800, 1000, 1024),
)
#: How many steps of padding are tried in any case.
_PADDING = (1, 2, 3, 4)
#: By how many steps x is late, besides one.
_DELAYS = (2, 3, 4, 5, 6, 7, 8)
#: A port differs where the difference is more than this share of the largest number.
_BEYOND_ROUNDING = 1e-4
#: Windows of x may hold so many numbers.
_MOST_NUMBERS = 2**22
#: The longest sequence of which each step is left out in turn.
_MOST_OMITTED = 32
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
    """Read x at other steps: always the first, late, early, or each step twice."""
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
        for steps in _DELAYS:
            if steps < x.shape[1]:
                late = np.concatenate([np.zeros_like(x[:, :steps]), x[:, :-steps]], axis=1)
                text = f"x is {steps} steps late, after zeros: the port reads x_{{t-{steps}}} at t"
                yield Mistake("time.shifted", text), replace(hypothesis, xs=(late,))
        yield from _moved_steps(hypothesis, x)
        text = "each step of x is read twice: x_0, x_0, x_1, x_1, …"
        mistake = Mistake("time.every_repeated", text, Where(array="x"))
        yield mistake, replace(hypothesis, xs=(x[:, np.arange(x.shape[1]) // 2],))


def _moved_steps(hypothesis: Hypothesis, x: Array) -> Variations:
    """Rotate the steps of x, exchange two neighbours, or lose one; zeros or the last one follow."""
    count = x.shape[1]
    strided = np.concatenate([x[:, ::2], x[:, ::2] * 0], axis=1)[:, :count]
    text = "every second step of x is read, and zeros after them"
    yield Mistake("time.strided", text, Where(array="x")), replace(hypothesis, xs=(strided,))
    for step in range(1, count) if count <= _MOST_OMITTED else ():
        text = f"the steps of x are rotated: step {step} is read first"
        rotated = np.roll(x, -step, axis=1)
        mistake = Mistake("time.rotated", text, Where(array="x"))
        yield mistake, replace(hypothesis, xs=(rotated,))
        order = np.arange(count)
        order[[step - 1, step]] = step, step - 1
        text = f"steps {step - 1} and {step} of x are exchanged"
        mistake = Mistake("time.permuted", text, Where(array="x", step=step - 1))
        yield mistake, replace(hypothesis, xs=(x[:, order],))
        shorter = np.delete(x, step - 1, axis=1)
        for follows, last in (("zeros follow", x[:, -1:] * 0), ("the last one twice", x[:, -1:])):
            text = f"step {step - 1} of x is lost: the later ones are one early, and {follows}"
            mistake = Mistake("time.step_omitted", text, Where(array="x", step=step - 1))
            yield mistake, replace(hypothesis, xs=(np.concatenate([shorter, last], axis=1),))


def other_outputs(hypothesis: Hypothesis) -> Variations:
    """Give the outputs in reverse, or those of the last step at every step."""
    if not hypothesis.network.is_causal or hypothesis.sequences is None:
        return
    if gives_every_step(hypothesis) and hypothesis.xs[0].shape[1] > 1:
        text = "the outputs are given in reverse, the last step first"
        mistake = Mistake("time.output_reversed", text)
        yield mistake, hypothesis.map_quantities(ReportedQuantity.in_reverse)
        text = "every step is given as the last one: one buffer for all steps"
        count = hypothesis.xs[0].shape[1]
        at_end = partial(_at_other_steps, network_steps=np.full(count, count - 1))
        yield Mistake("time.last_repeated", text), hypothesis.map_quantities(at_end)


def other_lengths(hypothesis: Hypothesis) -> Variations:
    """Process more or fewer steps than T, where the port gives the last step alone."""
    x = hypothesis.sequences
    alone = all(len(q.steps) == 1 for q in hypothesis.quantities)
    if x is None or not alone or hypothesis.is_constant_over_samples:
        return
    ends_with_states = _returns_last_states(hypothesis)
    lengths = list(_other_lengths(x))
    if ends_with_states:  # of others, it is the step before
        lengths.insert(0, ("time.last_omitted", _LAST_OMITTED, x[:, :-1]))
    for id_, text, other in lengths:
        more = other.shape[1] - x.shape[1]
        changed: Hypothesis | None = hypothesis
        if not ends_with_states:
            changed = _with_last_step(hypothesis, partial(np.add, more))
        if changed is not None and other.shape[1]:
            mistake = Mistake(id_, text, Where(array="x"))
            yield mistake, replace(changed, xs=(np.ascontiguousarray(other),))


def _returns_last_states(hypothesis: Hypothesis) -> bool:
    """Return whether all that is given follows from last states, which are those of no one step.

    A bidirectional layer has such: of x at its last step, and at its first one.
    """
    network = hypothesis.network
    counts = {network.steps_of(node) for node in network.recurrent}
    return (
        all(q.network_steps is None for q in hypothesis.quantities)
        and network.is_chain
        and counts == {hypothesis.xs[0].shape[1]}
        and not cast(Any, network.recurrent[-1].layer).return_sequences
    )


def _other_lengths(x: Array) -> Iterator[tuple[str, str, Array]]:
    """Yield the id and the text of a mistake, and x with the steps that such a port processes."""
    steps = x.shape[1]
    yield "time.first_omitted", "the first step is left out", x[:, 1:]
    yield "time.end_repeated", "the last step is processed twice", x[:, [*range(steps), -1]]
    yield "time.end_repeated", "the first step is processed twice", x[:, [0, *range(steps)]]
    for first in (0, 1):
        text = f"only every second step is processed: x[:, {first}::2]"
        yield "time.strided", text, x[:, first::2]
    for count in _LENGTHS:
        if 1 < count < steps - 1:
            some = f"{count} steps are processed"
            yield "time.window", f"only the last {some}, from states of 0", x[:, -count:]
            yield "time.window", f"only the first {some}", x[:, :count]
    for count in dict.fromkeys([*_PADDING, *(n - steps for n in _LENGTHS)]):
        if 0 < count <= max(steps, _PADDING[-1]):
            zeros = np.zeros_like(x, shape=(len(x), count, *x.shape[2:]))
            how = f"{count} step{'s' * (count > 1)} of zeros"
            text = f"{how} after the last step are processed, too"
            yield "time.padded", text, np.concatenate([x, zeros], axis=1)
            text = f"{how} before the first step are processed, too"
            yield "time.padded", text, np.concatenate([zeros, x], axis=1)
    for step in range(1, steps - 1) if steps <= _MOST_OMITTED else ():
        yield "time.step_omitted", f"step {step} is left out", np.delete(x, step, axis=1)


def omitted_steps(hypothesis: Hypothesis) -> Variations:
    """Leave the states as they are at one step, where the port gives every step."""
    x = hypothesis.sequences
    if x is None or not 2 < x.shape[1] <= _MOST_OMITTED or not hypothesis.network.runs_in_blocks:
        return
    steps = np.arange(x.shape[1])
    if not gives_every_step(hypothesis):
        return
    for omitted in steps[1:]:
        text = f"step {omitted} is left out: its states and output are those of the step before"
        mistake = Mistake("time.step_omitted", text, Where(array="x", step=int(omitted)))
        changed = hypothesis.map_quantities(
            partial(_at_other_steps, network_steps=steps - (steps >= omitted))
        )
        yield mistake, replace(changed, xs=(np.delete(x, omitted, axis=1),))


def gives_every_step(hypothesis: Hypothesis) -> bool:
    """Return whether the port gives each quantity at all steps of x, in their order."""
    steps = np.arange(hypothesis.xs[0].shape[1])
    return all(
        q.network_steps is not None and np.array_equal(q.network_steps, steps)
        for q in hypothesis.quantities
    )


def _at_other_steps(quantity: ReportedQuantity, network_steps: Array) -> ReportedQuantity:
    return replace(quantity, network_steps=network_steps)


def regrouped_steps(hypothesis: Hypothesis) -> Variations:
    """Compute each step from the last few steps alone, or from the states of t-2.

    How many steps they are, the first step that differs tells.
    """
    x = hypothesis.sequences
    if x is None or not hypothesis.network.runs_in_blocks or hypothesis.network.batch:
        return
    if not gives_every_step(hypothesis):
        return
    count, first = x.shape[1], first_difference(hypothesis)
    if 1 < first < count:
        yield from _sliding(hypothesis, first)
    if first == 1 and count > 3:
        groups = np.pad(np.arange(count), (0, count % 2), constant_values=-1).reshape(-1, 2).T
        text = "step t reads the states of t-2, not of t-1: are two buffers exchanged at each step?"
        yield Mistake("state.two_before", text), _regrouped(hypothesis, groups)


def first_difference(hypothesis: Hypothesis) -> int:
    """Return the first step at which the port differs by more than rounding, or T."""
    ours = compute_outputs(hypothesis)
    differs = np.zeros(hypothesis.xs[0].shape[1], bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for quantity in hypothesis.quantities:
            difference = np.abs(quantity.values - quantity.expected(hypothesis.network, ours))
            size = np.abs(quantity.values).max(initial=0.0)
            differs |= (difference > _BEYOND_ROUNDING * size).any(axis=(0, 2))
    return int(np.argmax(differs)) if differs.any() else len(differs)


def _regrouped(hypothesis: Hypothesis, groups: Array) -> Hypothesis:
    """Process each group of steps (groups, steps) as a sample; -1 stands for no step."""
    (x,), (count, length) = hypothesis.xs, groups.shape
    missing = np.tile(groups < 0, (len(x), 1))

    def in_groups(values: Array) -> Array:
        return values[:, groups].reshape(len(x) * count, length, *values.shape[2:])

    steps = np.arange(length)
    quantities = [
        replace(q.map(in_groups), network_steps=steps, steps=steps) for q in hypothesis.quantities
    ]
    grouped = replace(hypothesis, xs=(in_groups(x),), quantities=tuple(quantities))
    ours = compute_outputs(grouped)
    for number, quantity in enumerate(quantities):  # what is missing agrees, whatever it is
        values, rounding = quantity.values.copy(), quantity.rounding.copy()
        values[missing] = quantity.expected(grouped.network, ours)[missing]
        rounding[missing] = np.inf
        quantities[number] = replace(quantity, values=values, rounding=rounding)
    return replace(grouped, quantities=tuple(quantities))


def _sliding(hypothesis: Hypothesis, length: int) -> Variations:
    """Compute each step from the last few alone; the first steps, which agree, have no more."""
    (x,), count = hypothesis.xs, hypothesis.xs[0].shape[1] - length + 1
    if x.size * length > _MOST_NUMBERS:
        return
    last = np.array([length - 1])

    def at_ends(values: Array) -> Array:
        return values[:, length - 1 :].reshape(len(x) * count, 1, *values.shape[2:])

    quantities = tuple(
        replace(q.map(at_ends), network_steps=last, steps=last) for q in hypothesis.quantities
    )
    text = f"each step is computed from the last {length} steps alone, from states of 0"
    windows = np.arange(count)[:, None] + np.arange(length)
    samples = x[:, windows].reshape(len(x) * count, length, *x.shape[2:])
    changed = replace(hypothesis, xs=(samples,), quantities=quantities)
    fix = "set the states to 0 once, before the loop over t, not for each window"
    yield Mistake("time.window", text, Where(array="x"), fix), changed


def _wrong_last_step(hypothesis: Hypothesis) -> Variations:
    """Take the one step that a port gives for another step than the last.

    The first one of x in reverse is not tried: it has the numbers of states that are set to 0 at
    every step, a more common mistake.
    """
    for id_, text, other in (
        ("time.last_omitted", _LAST_OMITTED, lambda step: step - 1),
        ("time.first_only", "the output is that of the first step", lambda step: step * 0),
    ):
        changed = _with_last_step(hypothesis, other)
        if changed is not None:
            yield Mistake(id_, text), changed


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
    """Take the mean or the largest h or output over time, where the last one is right."""
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
    sequence = replace(layer, return_sequences=True)
    for how, function in (("mean", "mean"), ("largest", "max")):
        changed = with_outputs(sequence, partial(_pooled, function))
        text = f"{node.name} passes the {how} h over time on, not the last one"
        pooled = hypothesis.with_whole_layer(network.nodes.index(node), changed)
        mistake = Mistake("time.pooled", text, Where(layer=node.name))
        yield mistake, replace(pooled, quantities=quantities)
    head: list[Any] = [network.nodes[position].layer for position in network.head]
    if len(network.outputs) > 1 or not head or not all(one.stepwise for one in head):
        return
    every_step = hypothesis.with_whole_layer(network.nodes.index(node), sequence)
    nodes = every_step.network.nodes
    kinds = {"largest": "GlobalMaxPooling1D"}
    if any(one.activations not in ((), ("linear",)) for one in head):
        kinds["mean"] = "GlobalAveragePooling1D"  # of a linear head it is that of the mean h
    for what, kind in kinds.items():
        text = f"the {what} output over time is given, not the last one"
        mistake = Mistake("time.pooled", text, own_fix="give the output of the last step")
        pooling = GlobalPooling(keras_class=kind, name="pooled", axes=(1,))
        changed = replace(
            every_step.network,
            nodes=(*nodes, Node("pooled", pooling, network.outputs)),
            outputs=(Tap(len(nodes)),),
        )
        yield mistake, replace(every_step, network=changed, quantities=quantities)


def _pooled(function: str, ops: Any, outputs: Any) -> Any:
    """Return the mean or the largest number over time of each output (T, N, M)."""
    return [getattr(ops, function)(output, 0) for output in outputs]
