"""Names of the tensors of a network, as formulas write them: x_t, h_t, y_hat_t, c1_{T-1}."""

from __future__ import annotations

from collections import Counter

from rnnshapes.network.graph import Network, Tap
from rnnshapes.network.layers.base import Direction


class TensorNames:
    """Names of all outputs of all nodes: x_t, h_t, y_hat_t; h1_t, h2_t in a stack.

    ``bases`` are the names without time, by position of the node.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        plain = [n for n in network.nodes if not (n.layer.directions or n.layer.last_step)]
        totals = Counter(node.layer.symbol for node in plain)
        used: Counter[str] = Counter()
        self.bases: list[str] = []
        for position, node in enumerate(network.nodes):
            layer = node.layer
            if layer.directions:
                cell = layer.directions[0].cell
                base = f"{cell.output_state}{layer.index}"
            elif (number := _output_number(network, position)) is not None and node.sources:
                base = f"y_hat{number}"
            elif layer.symbol == "" or layer.last_step:
                base = self.bases[node.sources[0].node]
            elif layer.symbol in ("y", "h"):
                base = f"{layer.symbol}{layer.index}"
            else:
                used[layer.symbol] += 1
                count = used[layer.symbol] if totals[layer.symbol] > 1 else ""
                base = f"{layer.symbol}{count}"
            self.bases.append(base + node.primes)

    def of(self, tap: Tap) -> str:
        """Return the name of an output of a node, at time step t if it has one."""
        shapes, node = self.network.node_shapes[tap.node], self.network.nodes[tap.node]
        directions = node.layer.directions
        if shapes.joined > 1 and tap.output < shapes.joined:  # each direction for itself
            direction = directions[tap.output]
            return f"{direction.cell.output_state}{direction.index}{node.primes}_t"
        if tap.output:
            return f"{self.bases[tap.node]}[{tap.output}]"
        reverse = len(directions) == 1 and directions[0].reverse
        if shapes.steps is not None and not shapes.final and reverse:
            return f"{self.bases[tap.node]}_{{{shapes.steps}-1-t}}"
        return self.bases[tap.node] + ("_t" if shapes.steps is not None else "")

    def whole(self, tap: Tap) -> str:
        """Return the name of an output with all of its time steps: ``h``."""
        if tap.output < self.network.node_shapes[tap.node].joined:
            return self.bases[tap.node]
        return f"{self.bases[tap.node]}[{tap.output}]"

    def at_end(self, tap: Tap) -> str:
        """Return the name of an output after the last time step: ``h_{T-1}``, ``y_hat``.

        Both directions of a layer end at different steps: their joined output has no step.
        """
        shapes, node = self.network.node_shapes[tap.node], self.network.nodes[tap.node]
        directions = node.layer.directions
        if not shapes.final or tap.output >= shapes.joined:
            return self.of(tap)
        if node.layer.last_step and self.bases[tap.node] == self.bases[node.sources[0].node]:
            return f"{self.bases[tap.node]}_{{{shapes.steps}-1}}"
        if (len(directions) > 1 and shapes.joined == 1) or not directions:
            return self.bases[tap.node]
        direction = directions[tap.output]
        last = last_step(direction, shapes.steps)
        return f"{direction.cell.output_state}{direction.index}{node.primes}_{last}"


def last_step(direction: Direction, steps: object) -> str:
    """Return at which time step a recurrence ends: ``{T-1}``, or 0 in reverse."""
    return "0" if direction.reverse else f"{{{steps}-1}}"


def state_name(network: Network, tap: Tap) -> str:
    """Return the name of a final state that another layer starts from: ``c1_{T-1}``."""
    node, shapes = network.nodes[tap.node], network.node_shapes[tap.node]
    states = [(key, d) for d in node.layer.directions for key in d.cell.states]
    position = tap.output - (len(shapes.shapes) - len(states))
    if tap.output == 0 or not 0 <= position < len(states):
        return node.name
    key, direction = states[position]
    return f"{key}{direction.index}{node.primes}_{last_step(direction, shapes.steps)}"


def _output_number(network: Network, position: int) -> str | None:
    """Return the number of the output that a node is, from 1, empty for a single output."""
    numbers = [i for i, tap in enumerate(network.outputs, 1) if tap.node == position]
    return None if not numbers else str(numbers[0]) if len(network.outputs) > 1 else ""
