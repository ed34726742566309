"""Known mistakes of ports about the sequence: masks, time, and states carried over.

Each function yields the mistakes of one kind that the network allows, each with the hypothesis
that the port makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rnnshapes.forward import replay
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.masking import Masking
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.port.hypothesis import Hypothesis, Mistake, Variations, Where, recast
from rnnshapes.port.quantities import ReportedQuantity
from rnnshapes.reference.outputs import STATES

#: So many samples are run one after the other.
_MOST_CARRIED = 16
#: A number that is not 0, and changes nothing.
_NOT_MASKED = 1e-30
_REVERSED = "time is reversed: the port starts at the last step of x"


def ignored_masks(hypothesis: Hypothesis) -> Variations:
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


def shifted_masks(hypothesis: Hypothesis) -> Variations:
    """Mask one step more or less at the end of each sample, or process the padding before it."""
    x = hypothesis.xs[0]
    layers: list[Any] = [node.layer for node in hypothesis.network.nodes]
    values = [layer.value for layer in layers if isinstance(layer, Masking)]
    tokens = any(isinstance(layer, Embedding) and layer.mask_zero for layer in layers)
    if len(hypothesis.xs) != 1 or len(values) + tokens != 1 or x.ndim != (2 if tokens else 3):
        return
    value = 0 if tokens else values[0]
    counts = x != value if tokens else (x != value).any(axis=2)
    samples = np.flatnonzero(counts.any(axis=1))
    last = x.shape[1] - 1 - np.argmax(counts[samples, ::-1], axis=1)
    shorter = np.array(x)
    shorter[samples, last] = value
    mistake = Mistake("mask.shifted", "the last step before the padding is masked, too")
    yield mistake, replace(hypothesis, xs=(shorter,))
    padded = last < x.shape[1] - 1
    if not tokens and padded.any():
        longer = np.array(x)
        other = np.nextafter(np.float32(value), np.float32(np.inf)) if value else _NOT_MASKED
        longer[samples[padded], last[padded] + 1] = other
        mistake = Mistake("mask.shifted", "the first step of the padding is processed, too")
        yield mistake, replace(hypothesis, xs=(longer,))
    if padded.any():
        moved = np.array(x)
        for sample, at in zip(samples, last, strict=True):
            moved[sample] = np.roll(x[sample], x.shape[1] - 1 - at, axis=0)
        text = "the padding stands before each sample, not after it, and is processed"
        for _, ignored in ignored_masks(replace(hypothesis, xs=(moved,))):
            yield Mistake("mask.padding_first", text), ignored


def zeroed_outputs(hypothesis: Hypothesis) -> Variations:
    """Give zeros at masked steps for the output of a recurrent layer."""
    nodes = hypothesis.network.nodes
    if not any(isinstance(node.layer, Masking | Embedding) for node in nodes):
        return
    for position, node in enumerate(nodes):
        layer: Any = node.layer
        sequences = isinstance(layer, RecurrentLayer) and layer.return_sequences
        if sequences and not layer.zero_output_for_mask:
            text = f"{node.name} gives 0 at masked steps, not the output of the step before"
            mistake = Mistake("mask.zeroed_output", text, Where(layer=node.name))
            changed = replace(layer, zero_output_for_mask=True)
            yield mistake, hypothesis.with_layer(position, changed)


def zeroed_states(hypothesis: Hypothesis) -> Variations:
    """Set the states to 0 at masked steps, in all recurrent layers or in one of them.

    The last output of one sample is then the same for every x, if its last step is masked.
    """
    network = hypothesis.network
    masked = [
        position
        for position, node in enumerate(network.nodes)
        if node.layer.directions
        and network.shapes_at(node.sources[0]).masked
        and not node.mask_dropped
    ]
    one_output = all(q.values[..., 0].size == 1 for q in hypothesis.quantities)
    if one_output or hypothesis.is_constant_over_samples or not masked:
        return
    each = [[position] for position in masked] if len(masked) > 1 else []
    for positions in (masked, *each):
        names = [network.nodes[position].name for position in positions]
        alone = f", in {names[0]} alone" if positions != masked else ""
        where = Where(layer=names[0] if len(names) == 1 else None)
        changed = replace(hypothesis, unwindowed=True)
        for position in positions:
            layer: Any = network.nodes[position].layer
            changed = changed.with_layer(position, layer.map_directions(_zeroed_when_masked))
        text = f"the states are set to 0 at masked steps, not left as they are{alone}"
        yield Mistake("mask.zeroed_state", text, where), changed


def _zeroed_when_masked(direction: Direction) -> Direction:
    def zeros(self: Any, state: Mapping[str, Array]) -> dict[str, Array]:
        return {key: values * 0.0 for key, values in state.items()}

    return replace(direction, cell=recast(direction.cell, states_after_masked=zeros))


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
    yield Mistake("time.reversed", _REVERSED), backwards
    if any(q.values.shape[1] > 1 for q in hypothesis.quantities):
        text = f"{_REVERSED}, and gives its output in the order of x"
        mistake = Mistake("time.reversed_and_back", text)
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
    last = [
        (q, q.network_steps)
        for q in hypothesis.quantities
        if q.network_steps is not None and len(q.network_steps) == 1
    ]
    if len(last) < len(hypothesis.quantities) or not hypothesis.network.is_causal:
        return
    if not all(step[0] > 0 for _, step in last):
        return
    quantities = tuple(q.at_steps(slice(None), step - 1) for q, step in last)
    changed = replace(hypothesis, xs=(hypothesis.xs[0][:, 1:],), quantities=quantities)
    yield Mistake("time.first_omitted", "the first step is left out"), changed


def _wrong_last_step(hypothesis: Hypothesis) -> Variations:
    """Take the one step that a port gives for another step than the last.

    The first one of x in reverse is not tried: it has the numbers of states that are set to 0 at
    every step, a more common mistake.
    """
    last = {
        id(q): q.network_steps
        for q in hypothesis.quantities
        if q.network_steps is not None and len(q.network_steps) == 1
    }
    untimed = any(q.network_steps is None for q in hypothesis.quantities)
    if not last or untimed or not hypothesis.network.is_causal:
        return
    if not all(step[0] > 0 for step in last.values()):
        return

    def given_at(other: Callable[[Array], Array]) -> tuple[ReportedQuantity, ...]:
        return tuple(
            q.at_steps(slice(None), other(last[id(q)])) if id(q) in last else q
            for q in hypothesis.quantities
        )

    second_last, first = given_at(lambda step: step - 1), given_at(lambda step: step * 0)
    yield (
        Mistake("time.last_omitted", "the last step is left out"),
        replace(hypothesis, quantities=second_last),
    )
    yield (
        Mistake("time.first_only", "the output is that of the first step"),
        replace(hypothesis, quantities=first),
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


def carried_states(hypothesis: Hypothesis) -> Variations:
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
        joined = q.map(lambda values: values.reshape(1, -1, values.shape[2]))
        quantities.append(replace(joined, network_steps=steps, steps=steps))
    one_sequence = xs[0].reshape(1, n * t, *xs[0].shape[2:])
    yield (
        Mistake("state.carried", "the state is carried over from one sample to the next"),
        replace(hypothesis, xs=(one_sequence,), quantities=tuple(quantities)),
    )


def carried_alone(hypothesis: Hypothesis) -> Variations:
    """Start each sample from one of the states of the sample before, and zeros for the others."""
    network, xs = hypothesis.network, hypothesis.xs
    if not network.runs_in_blocks or len(xs) != 1 or not 1 < len(xs[0]) <= _MOST_CARRIED:
        return
    reported = {
        (q.name, q.key): q.values[:, -1]
        for q in hypothesis.quantities
        if q.key and len(q.steps) == xs[0].shape[1]
    }
    keys = dict.fromkeys(key for states in network.widths.values() for key in states)
    for key in keys if len(keys) > 1 else ():
        starts = {
            name: {k: np.zeros((len(xs[0]), width)) for k, width in states.items()}
            for name, states in network.widths.items()
        }
        for n in range(1, len(xs[0])):
            before = {
                STATES + name: {k: a[n - 1 : n] for k, a in starts[name].items()} for name in starts
            }
            weights = {**hypothesis.weights, **before}
            ours = replay.numpy_outputs(network, weights, (xs[0][n - 1 : n],))
            for name, states in starts.items():
                if key in states:
                    known = reported.get((name, key))
                    final = ours.states[name][key][0, -1] if known is None else known[n - 1]
                    states[key][n] = final
        text = f"{key} alone is carried over from one sample to the next"
        started = {STATES + name: arrays for name, arrays in starts.items()}
        changed = replace(hypothesis, weights={**hypothesis.weights, **started})
        yield Mistake("state.carried", text), changed
