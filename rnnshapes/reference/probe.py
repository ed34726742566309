"""A second model that hands out what is in a Keras model: every layer's output, every state.

It uses the model's own layers and cells, and changes none of them. Keras is handed in by
:mod:`rnnshapes.reference`, the only module that imports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnshapes import progress
from rnnshapes.load.live.graph import KerasCall, arguments_by_name, read_graph, recurrent_layers
from rnnshapes.load.live.keras_private import get_mask, takes_training
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.reshaping import Concatenate, Merge
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array

#: What is known of an array that is handed out: of what kind it is, of what, and which part.
Label = tuple[str, str, str]


def share_of(network: Network, size: int, samples: int) -> list[int]:
    """How many of all steps each batch of so many samples takes."""
    each = network.scan_steps // samples
    return [each * min(size, samples - start) for start in range(0, samples, size)]


@dataclass(frozen=True, eq=False)
class Watch:
    """The second model with labels for what it hands out."""

    network: Network
    model: Any
    labels: list[Label]

    @classmethod
    def of(cls, keras: Any, model: Any, network: Network) -> Watch:
        """The second model of ``model``, run the same way."""
        labels: list[Label] = []
        made = _model(keras, model, network, labels)
        compiled = {"jit_compile": model.jit_compile, "run_eagerly": model.run_eagerly}
        if compiled != {"jit_compile": made.jit_compile, "run_eagerly": made.run_eagerly}:
            made.compile(**compiled)
        return cls(network, made, labels)

    def over(self, xs: Sequence[Array], size: int) -> list[Array]:
        """All that is handed out, computed in the batches that ``predict`` takes."""
        # predict itself would first build a data pipeline, which costs more than the network.
        batches = []
        starts = range(0, len(xs[0]), size)
        for start, steps in zip(starts, share_of(self.network, size, len(xs[0])), strict=True):
            batches.append(self.model.predict_on_batch([x[start : start + size] for x in xs]))
            progress.advance(steps)
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    def sorted_out(self, found: list[Array]) -> dict[str, dict[str, Any]]:
        """Values, values at each step, states, starts and masks, as ModelOutputs has them."""
        kinds: dict[str, dict[str, Any]] = {}
        for (kind, name, part), array in zip(self.labels, found, strict=True):
            kinds.setdefault(kind, {}).setdefault(name, {})[part] = array
        several = {
            kind: {name: tuple(parts.values()) for name, parts in kinds.get(kind, {}).items()}
            for kind in ("value", "each")
        }
        single = {
            kind: {name: next(iter(parts.values())) for name, parts in kinds.get(kind, {}).items()}
            for kind in ("mask", "states")
        }
        states: dict[str, dict[str, Array]] = {}
        for node in self.network.recurrent:
            for name, direction in node.scans:
                whole = single["states"][name]
                whole = whole[:, ::-1] if direction.reverse else whole
                states[name], start = {}, 0
                for key, dim in direction.cell.states.items():
                    width = self.network.count(dim)
                    states[name][key] = whole[..., start : start + width]
                    start += width
        return {
            "values": several["value"],
            "each": several["each"],
            "states": states,
            "starts": kinds.get("start", {}),
            "masks": single["mask"],
        }


def _model(keras: Any, model: Any, network: Network, labels: list[Label]) -> Any:
    calls = read_graph(model).calls
    nodes = list(zip(network.nodes, calls, strict=True))
    layers = {node.name: call.layer for node, call in nodes}
    loops = {
        name: _loop(keras, recurrent_layers(layers[node.name])[place])
        for node in network.recurrent
        for place, (name, _) in enumerate(node.scans)
    }

    class Watching(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(autocast=False)  # whatever the user's global policy is
            self.parts = list({id(layer): layer for layer in layers.values()}.values())
            self.loops = list(loops.values())
            self.built = True  # so that Keras does not try it out on symbolic tensors

        def call(self, inputs: Any, training: bool = False) -> Any:
            flat = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
            starts = dict(_kept_states(keras, network, layers))
            made = _called(keras, calls, flat)
            values = {node.name: made[place] for place, (node, _) in enumerate(nodes)}
            seen = Seen(keras, network, layers, values)
            seen.run_loops(loops, starts)
            handed = list(seen.all())
            labels[:] = [label for label, _ in handed]
            return [tensor for _, tensor in handed]

    return Watching()


def _called(keras: Any, calls: Sequence[KerasCall], inputs: list[Any]) -> list[list[Any]]:
    """What each call yields, in order; none of them is added to the user's graph."""
    made: list[list[Any]] = []
    left = iter(inputs)
    for call in calls:
        if not call.sources and not call.given:
            made.append([keras.ops.cast(next(left), call.outputs[0].dtype)])
            continue
        values = {tensor: made[place][output] for tensor, (place, output) in call.given.items()}
        args, kwargs = arguments_by_name(call.layer, *call.arguments.fill_in(values))
        if call.mask_given and call.initial:  # beside which Keras passes on no mask by itself
            place, output = call.sources[0]
            kwargs["mask"] = get_mask(made[place][output])
        if takes_training(call.layer):
            kwargs["training"] = False
        made.append(keras.tree.flatten(call.layer(*args, **kwargs)))
    return made


class Seen:
    """What is to be handed out of one run, while Keras computes it."""

    def __init__(
        self, keras: Any, network: Network, layers: dict[str, Any], values: dict[str, list[Any]]
    ) -> None:
        self.keras, self.network, self.layers, self.values = keras, network, layers, values
        self.states: dict[str, Any] = {}
        self.starts: dict[str, dict[str, Any]] = {}

    def run_loops(self, loops: dict[str, Any], kept: dict[str, dict[str, Any]]) -> None:
        """All states of each recurrence at each step, from the states that it starts from."""
        for node in self.network.recurrent:
            given = iter([self._tap(tap) for tap in node.initial])
            for name, direction in node.scans:
                keys = list(direction.cell.states)
                start = kept.get(name) or (
                    {key: next(given) for key in keys} if node.initial else None
                )
                loop, x = loops[name], self._tap(node.sources[0])
                mask = None if node.mask_dropped else get_mask(x)
                options = {} if mask is None else {"mask": mask}
                if node.mask_dropped:
                    x = self.keras.ops.copy(x)
                if start is not None:
                    self.starts[name] = start
                    options["initial_state"] = loop.nested(list(start.values()))
                self.states[name] = loop(x, **options)

    def all(self) -> Iterator[tuple[Label, Any]]:
        """Everything with its label."""
        for node in self.network.nodes:
            if not isinstance(node.layer, Input):
                for place, tensor in enumerate(self.values[node.name]):
                    yield ("value", node.name, str(place)), tensor
            mask = get_mask(self.values[node.name][0])
            if mask is not None:
                yield ("mask", node.name, ""), mask
        for name, tensor in self.states.items():
            yield ("states", name, ""), tensor
        for name, tensors in self.starts.items():
            for key, tensor in tensors.items():
                yield ("start", name, key), tensor
        for name, parts in self._each().items():
            for place, tensor in enumerate(parts):
                yield ("each", name, str(place)), tensor

    def _tap(self, tap: Tap) -> Any:
        return self.values[self.network.nodes[tap.node].name][tap.output]

    def _each(self) -> dict[str, tuple[Any, ...]]:
        """What the last recurrences and the layers behind them answer at each step."""
        found: dict[str, tuple[Any, ...]] = {}
        nodes, flows = self.network.nodes, self.network.node_shapes
        for place, (node, flow) in enumerate(zip(nodes, flows, strict=True)):
            if flow.steps is None or not flow.final:
                continue
            if node.layer.directions:
                found[node.name] = self._put_out(node)
            elif place in self.network.head:
                found[node.name] = (self._applied(node, found),)
        return found

    def _put_out(self, node: Node) -> tuple[Any, ...]:
        """What a layer with a recurrence would answer had each direction ended at t."""
        ops, parts, layer = self.keras.ops, [], node.layer
        assert isinstance(layer, RecurrentLayer)
        mask = get_mask(self._tap(node.sources[0]))
        mask = None if node.mask_dropped else mask
        for name, direction in node.scans:
            start = 0
            for key, dim in direction.cell.states.items():
                width = self.network.count(dim)
                if key == direction.cell.output_state:
                    part = self.states[name][..., start : start + width]
                start += width
            part = ops.flip(part, axis=1) if direction.reverse else part
            if mask is not None and layer.zero_output_for_mask:
                part = ops.where(ops.expand_dims(mask, -1), part, 0)
            parts.append(part)
        made: tuple[Any, ...] = layer.join(_KerasOps(ops), parts)  # type: ignore[arg-type]
        return made

    def _applied(self, node: Node, found: dict[str, tuple[Any, ...]]) -> Any:
        """The layer, applied to each step as to one sample: it was built for (N, units)."""
        ops = self.keras.ops
        taps = [(self.network.nodes[tap.node].name, tap) for tap in node.sources]
        parts = (_part_of(found, name, tap) for name, tap in taps)
        timed = next(part for part in parts if part is not None)  # (N, T, units)
        n, t = ops.shape(timed)[0], ops.shape(timed)[1]
        flat = [
            ops.reshape(found[name][tap.output], (-1, found[name][tap.output].shape[-1]))
            if _part_of(found, name, tap) is not None
            else ops.repeat(self._tap(tap), t, axis=0)
            for name, tap in taps
        ]
        several = isinstance(node.layer, Concatenate | Merge)
        made = self.layers[node.name](flat if several else flat[0])
        return ops.reshape(made, (n, t, *made.shape[1:]))


def _part_of(found: dict[str, tuple[Any, ...]], name: str, tap: Tap) -> Any:
    """What an output is at each step, (N, T, units); None for one that has no time."""
    parts = found.get(name, ())
    return parts[tap.output] if tap.output < len(parts) else None


class _KerasOps:
    """What joins the directions of a layer, done by Keras."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def concatenate(self, values: Sequence[Any]) -> Any:
        """One behind the other on the last axis."""
        return self.ops.concatenate(list(values), axis=-1)


def _kept_states(
    keras: Any, network: Network, layers: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The states that stateful layers have kept from the batch before."""
    for node in network.recurrent:
        if isinstance(node.layer, RecurrentLayer) and node.layer.stateful:
            parts = recurrent_layers(layers[node.name])
            for (name, direction), part in zip(node.scans, parts, strict=True):
                kept = [keras.ops.copy(v) for v in keras.tree.flatten(part.states)]
                yield name, dict(zip(direction.cell.states, kept, strict=True))


def _loop(keras: Any, rnn: Any) -> Any:
    """Keras's own cell of a layer in a loop that hands out all states at each step."""
    cell = rnn.cell
    sizes = keras.tree.flatten(cell.state_size)

    class Revealing(keras.layers.Layer):  # type: ignore[misc]
        state_size = cell.state_size
        output_size = sum(sizes)

        def __init__(self) -> None:
            super().__init__(dtype=cell.dtype_policy)
            self.cell = cell
            self.built = True

        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            _, after = cell(inputs, states, training=False)
            flat = keras.tree.flatten(after)
            return (keras.ops.concatenate(flat, axis=-1) if len(flat) > 1 else flat[0]), after

        def get_initial_state(self, batch_size: Any = None) -> Any:
            return cell.get_initial_state(batch_size)

    class Loop(keras.layers.RNN):  # type: ignore[misc]
        def nested(self, states: list[Any]) -> Any:
            """States in the order of Keras, nested as the cell has them."""
            size = cell.state_size
            whole = size if isinstance(size, list | tuple) else [size]
            return keras.tree.pack_sequence_as(list(whole), states)

    return Loop(
        Revealing(),
        return_sequences=True,
        go_backwards=rnn.go_backwards,
        unroll=rnn.unroll,
        dtype=rnn.dtype_policy,
    )
