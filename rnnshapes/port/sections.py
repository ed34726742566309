"""Sections of a network: layers that start from the port's own h of the layer before.

Where a port reports h of a layer at every step, all that follows is computed from it. Each section
has a bound of its own, and is explained alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import Bidirectional, RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.port.compare import Comparison, compare_quantities
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.quantities import OUTPUT, Y_HAT, ReportedQuantity


def sections(hypothesis: Hypothesis, *, at_last_step: bool = False) -> list[Hypothesis]:
    """Return the parts of a hypothesis, each with what the port reports of it.

    With ``at_last_step`` a part may also start from the last output of a layer, (N, features).

    There is one alone where the layers are not a chain, where steps are masked, and where the
    port does not report what a layer passes on.
    """
    network = hypothesis.network
    masked = any(shapes.masked for shapes in network.node_shapes)
    if not network.is_chain or network.batch or masked:
        return [hypothesis]
    parts, start, x = [], 0, hypothesis.xs[0]
    for position in range(len(network.nodes) - 1):
        passed_on = _passed_on(hypothesis, network.nodes[position], at_last_step=at_last_step)
        if passed_on is not None:
            parts.append(_section(hypothesis, start, position, x))
            start, x = position + 1, passed_on
    parts.append(_section(hypothesis, start, len(network.nodes) - 1, x))
    return [part for part in parts if part.quantities]


def compare_sections(
    parts: Sequence[Hypothesis], quantities: Sequence[ReportedQuantity], dtype: str
) -> tuple[Comparison, ...]:
    """Compare each quantity with the section that it belongs to, in the given order."""
    checks = {
        id(quantity): check
        for part in parts
        for quantity, check in zip(part.quantities, compare_quantities(part, dtype), strict=True)
    }
    return tuple(checks[id(quantity)] for quantity in quantities)


def _passed_on(hypothesis: Hypothesis, node: Node, *, at_last_step: bool) -> Array | None:
    """Return what the port's layer passes on, if the port reports it exactly.

    It is (N, T, features), or (N, features) where the layer passes on its last output alone.
    """
    layer = node.layer
    if not isinstance(layer, RecurrentLayer) or layer.return_state:
        return None
    heads = [q for q in hypothesis.quantities if q.name in (Y_HAT, OUTPUT)]
    at_last_step = at_last_step and all(q.values.shape[1] == 1 for q in heads)
    if not layer.return_sequences and not at_last_step:
        return None
    if isinstance(layer, Bidirectional) and layer.merge_mode != "concat":
        return None
    outputs = []
    for (name, direction), is_reversed in zip(node.scans, layer.reversed_outputs, strict=True):
        for quantity in hypothesis.quantities:
            if quantity.name == name and quantity.key == direction.cell.output_state:
                break
        else:
            return None
        steps, every = quantity.network_steps, np.arange(hypothesis.xs[0].shape[1])
        if steps is None or not np.array_equal(steps, every) or quantity.rounding.any():
            return None
        if not layer.return_sequences:
            outputs.append(quantity.values[:, 0 if direction.reverse else -1])
        else:
            outputs.append(quantity.values[:, ::-1] if is_reversed else quantity.values)
    return np.concatenate(outputs, axis=-1)


def _section(hypothesis: Hypothesis, start: int, stop: int, x: Array) -> Hypothesis:
    """Return the nodes from ``start`` to ``stop`` with the input ``x``, and what is reported."""
    network = part_of(hypothesis.network, start, stop)
    names = {name for node in network.recurrent for name, _ in node.scans}
    if stop == len(hypothesis.network.nodes) - 1:
        names |= {Y_HAT, OUTPUT}
    return replace(
        hypothesis,
        network=network,
        weights={g: a for g, a in hypothesis.weights.items() if g in network.groups},
        xs=(x,),
        quantities=tuple(q for q in hypothesis.quantities if q.name in names),
    )


def part_of(network: Network, start: int, stop: int) -> Network:
    """Return a chain of some nodes, behind an input in place of the node before them."""
    nodes = list(network.nodes[start : stop + 1])
    if start:
        first = network.nodes[0]
        shape = network.shapes_at(Tap(start - 1)).shapes[0]
        layer = Input(name=first.name, shape=shape)
        moved = [replace(n, sources=(Tap(i),)) for i, n in enumerate(nodes)]
        nodes = [Node(first.name, layer), *moved]
    return replace(network, nodes=tuple(nodes), outputs=(Tap(len(nodes) - 1),), uncalled=())
