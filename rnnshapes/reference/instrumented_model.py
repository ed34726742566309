"""Instrumented model: a second Keras model that returns every layer's output and every state.

It uses the model's own layers and cells, and changes none of them. :mod:`rnnshapes.reference`,
the only module that imports Keras, passes it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rnnshapes import progress
from rnnshapes.load.live.graph import KerasCall, name_layer_options, read_graph, recurrent_layers
from rnnshapes.load.live.keras_private import get_mask, keep_masks, takes_training
from rnnshapes.load.live.recorded_model import own_model
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.operations import Operation
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.reference.builder import call_at_each_step, call_layer

#: Kind of a returned array (value, mask, states, start, each), its node or recurrence, its part.
Label = tuple[str, str, str]


def steps_per_batch(network: Network, size: int, samples: int) -> list[int]:
    """Return the number of recurrent steps in each batch of ``size`` samples."""
    each = network.scan_steps // samples
    return [each * min(size, samples - start) for start in range(0, samples, size)]


@dataclass(frozen=True, eq=False)
class InstrumentedModel:
    """A Keras model that returns every layer's output and every state, with a label for each."""

    network: Network
    model: Any
    labels: list[Label]

    @classmethod
    def of(cls, keras: Any, model: Any, network: Network) -> InstrumentedModel:
        """Build the instrumented model of ``model``, compiled in the same way."""
        labels: list[Label] = []
        instrumented = _build(keras, model, network, labels)
        own = own_model(model)
        compiled = {"jit_compile": own.jit_compile, "run_eagerly": own.run_eagerly}
        if compiled != {
            "jit_compile": instrumented.jit_compile,
            "run_eagerly": instrumented.run_eagerly,
        }:
            instrumented.compile(**compiled)
        return cls(network, instrumented, labels)

    def run(self, xs: Sequence[Array], size: int) -> list[Array]:
        """Compute all outputs, in batches of ``size`` samples as ``predict``."""
        # predict itself would first build a data pipeline, which costs more than the network.
        batches = []
        starts = range(0, len(xs[0]), size)
        for start, steps in zip(
            starts, steps_per_batch(self.network, size, len(xs[0])), strict=True
        ):
            batches.append(self.model.predict_on_batch([x[start : start + size] for x in xs]))
            progress.advance(steps)
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]

    def fields(self, arrays: list[Array]) -> dict[str, dict[str, Any]]:
        """Sort the arrays of :meth:`run` into the fields of ModelOutputs."""
        kinds: dict[str, dict[str, Any]] = {}
        for (kind, name, part), array in zip(self.labels, arrays, strict=True):
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
                joined = single["states"][name]
                joined = joined[:, ::-1] if direction.reverse else joined
                states[name], start = {}, 0
                for key, dim in direction.cell.states.items():
                    width = self.network.count(dim)
                    states[name][key] = joined[..., start : start + width]
                    start += width
        return {
            "values": several["value"],
            "each": several["each"],
            "states": states,
            "starts": kinds.get("start", {}),
            "masks": single["mask"],
        }


def _build(keras: Any, model: Any, network: Network, labels: list[Label]) -> Any:
    """Build the second model; each run of it sets ``labels``."""
    calls = read_graph(model).calls
    nodes = list(zip(network.nodes, calls, strict=True))
    layers = {node.name: call.layer for node, call in nodes}
    loops = {
        name: _loop(keras, recurrent_layers(layers[node.name])[number])
        for node in network.recurrent
        for number, (name, _) in enumerate(node.scans)
    }

    class EveryOutput(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(autocast=False)  # whatever the user's global policy is
            self.model_layers = list({id(layer): layer for layer in layers.values()}.values())
            self.loops = list(loops.values())
            self.built = True  # else Keras calls it on symbolic tensors first

        def call(self, inputs: Any, training: bool = False) -> Any:
            flat = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
            starts = dict(_stateful_starts(keras, network, layers))
            outputs = _repeat_calls(keras, calls, flat)
            values = {node.name: outputs[i] for i, (node, _) in enumerate(nodes)}
            tensors = LayerTensors(keras, network, layers, values)
            tensors.run_loops(loops, starts)
            labelled = list(tensors.labelled())
            labels[:] = [label for label, _ in labelled]
            return [tensor for _, tensor in labelled]

    return EveryOutput()


def output_shapes(
    keras: Any, model: Any, shapes: Sequence[tuple[int, ...]]
) -> list[list[tuple[int | None, ...]]]:
    """Return the shapes of all outputs of each call in a model, for inputs of these shapes."""
    calls = read_graph(model).calls

    class CallsLayer(keras.layers.Layer):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            return _repeat_calls(keras, calls, inputs)

    dtypes = [call.outputs[0].dtype for call in calls]
    inputs = list(map(keras.KerasTensor, shapes, dtypes[: len(shapes)]))
    outputs = CallsLayer().compute_output_spec(inputs)
    return [[tuple(tensor.shape) for tensor in tensors] for tensors in outputs]


def _repeat_calls(keras: Any, calls: Sequence[KerasCall], inputs: list[Any]) -> list[list[Any]]:
    """Repeat each call of the user's graph in order; return the outputs of each."""
    outputs: list[list[Any]] = []
    remaining = iter(inputs)
    for call in calls:
        if not call.sources and not call.taps:
            outputs.append([keras.ops.cast(next(remaining), call.outputs[0].dtype)])
            continue
        values = {tensor: outputs[i][number] for tensor, (i, number) in call.taps.items()}
        options = {}
        if call.has_mask and call.initial:  # beside which Keras passes on no mask by itself
            place, output = call.sources[0]
            options["mask"] = get_mask(outputs[place][output])
        if takes_training(call.layer):
            options["training"] = False
        repeat: Any = partial(_repeat_call, call, list(values), options)
        for ended in range(call.nesting):  # the innermost model first
            repeat = partial(
                call_at_each_step, keras, repeat, stays_inside=ended >= call.models_ended
            )
        outputs.append(keras.tree.flatten(repeat(*values.values())))
    return outputs


def _repeat_call(
    call: KerasCall, keys: Sequence[int], options: dict[str, Any], *tensors: Any
) -> Any:
    """Repeat a call on tensors in place of those with these keys; return its outputs."""
    values = dict(zip(keys, tensors, strict=True))
    args, kwargs = name_layer_options(call.layer, *call.arguments.fill_in(values))
    return keep_masks(partial(call.layer, *args, **{**kwargs, **options}), tensors)


class LayerTensors:
    """Tensors of one run of a model: outputs of its layers, states of its recurrences."""

    def __init__(
        self, keras: Any, network: Network, layers: dict[str, Any], values: dict[str, list[Any]]
    ) -> None:
        self.keras, self.network, self.layers, self.values = keras, network, layers, values
        self.states: dict[str, Any] = {}
        self.starts: dict[str, dict[str, Any]] = {}

    def run_loops(self, loops: dict[str, Any], starts: dict[str, dict[str, Any]]) -> None:
        """Run each recurrence in a loop that returns all states."""
        for node in self.network.recurrent:
            initial = iter([self._tap(tap) for tap in node.initial])
            for name, direction in node.scans:
                keys = list(direction.cell.states)
                start = starts.get(name) or (
                    {key: next(initial) for key in keys} if node.initial else None
                )
                loop, x = loops[name], self._tap(node.sources[0])
                # Beside initial states, Keras passes on no mask by itself.
                mask = None if node.mask_dropped else get_mask(x)
                options = {} if mask is None else {"mask": mask}
                if start is not None:
                    self.starts[name] = start
                    options["initial_state"] = loop.nested(list(start.values()))
                self.states[name] = loop(x, **options)

    def labelled(self) -> Iterator[tuple[Label, Any]]:
        """Yield every tensor with its label."""
        for node in self.network.nodes:
            if not isinstance(node.layer, Input):
                for number, tensor in enumerate(self.values[node.name]):
                    yield ("value", node.name, str(number)), tensor
            mask = get_mask(self.values[node.name][0])
            if mask is not None and len(mask.shape) > 1:  # not one of whole samples
                yield ("mask", node.name, ""), mask
        for name, tensor in self.states.items():
            yield ("states", name, ""), tensor
        for name, tensors in self.starts.items():
            for key, tensor in tensors.items():
                yield ("start", name, key), tensor
        for name, outputs in self._outputs_at_each_step().items():
            for number, tensor in enumerate(outputs):
                yield ("each", name, str(number)), tensor

    def _tap(self, tap: Tap) -> Any:
        return self.values[self.network.nodes[tap.node].name][tap.output]

    def _outputs_at_each_step(self) -> dict[str, tuple[Any, ...]]:
        """Return the output at each step of the last recurrences and of the layers after them."""
        outputs: dict[str, tuple[Any, ...]] = {}
        nodes, node_shapes = self.network.nodes, self.network.node_shapes
        for position, (node, shapes) in enumerate(zip(nodes, node_shapes, strict=True)):
            if not shapes.final:
                continue
            if node.layer.directions:
                outputs[node.name] = self._recurrent_outputs(node)
            elif node.layer.last_step:
                outputs[node.name] = (self._tap(node.sources[0]),)
            elif position in self.network.head:
                outputs[node.name] = (self._head_output(node, outputs),)
        return outputs

    def _recurrent_outputs(self, node: Node) -> tuple[Any, ...]:
        """Return the output of a recurrent layer, had each direction ended at t."""
        ops, emitted, layer = self.keras.ops, [], node.layer
        assert isinstance(layer, RecurrentLayer)
        mask = get_mask(self._tap(node.sources[0]))
        mask = None if node.mask_dropped else mask
        for name, direction in node.scans:
            start = 0
            for key, dim in direction.cell.states.items():
                width = self.network.count(dim)
                if key == direction.cell.output_state:
                    output = self.states[name][..., start : start + width]
                start += width
            output = ops.flip(output, axis=1) if direction.reverse else output
            if mask is not None and layer.zero_output_for_mask:
                output = ops.where(ops.expand_dims(mask, -1), output, 0)
            emitted.append(output)
        joined: tuple[Any, ...] = layer.join(_KerasOps(ops), emitted)  # type: ignore[arg-type]
        return joined

    def _head_output(self, node: Node, outputs: dict[str, tuple[Any, ...]]) -> Any:
        """Apply a layer to each step as to one sample: it was built for (N, units)."""
        ops = self.keras.ops
        taps = [(self.network.nodes[tap.node].name, tap) for tap in node.sources]
        sequences = (_sequence(outputs, name, tap) for name, tap in taps)
        timed = next(x for x in sequences if x is not None)  # (N, T, units)
        n, t = ops.shape(timed)[0], ops.shape(timed)[1]
        flat = [
            ops.reshape(outputs[name][tap.output], (-1, outputs[name][tap.output].shape[-1]))
            if _sequence(outputs, name, tap) is not None
            else ops.repeat(self._tap(tap), t, axis=0)
            for name, tap in taps
        ]
        if isinstance(node.layer, Operation):
            dtype = self.network.precision(node.layer)  # a cast is no more than this
            flat = [ops.cast(x, dtype) if "float" in str(x.dtype) else x for x in flat]
            output = node.layer.call_keras(self.keras, flat)
        else:
            output = call_layer(node.layer, self.layers[node.name], flat)
        return ops.reshape(output, (n, t, *output.shape[1:]))


def _sequence(outputs: dict[str, tuple[Any, ...]], name: str, tap: Tap) -> Any:
    """Return an output at each step, (N, T, units), or ``None`` for one without a time axis."""
    sequences = outputs.get(name, ())
    return sequences[tap.output] if tap.output < len(sequences) else None


class _KerasOps:
    """Operations of Keras that join the two directions of a layer."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def concatenate(self, values: Sequence[Any]) -> Any:
        """Concatenate on the last axis."""
        return self.ops.concatenate(list(values), axis=-1)


def _stateful_starts(
    keras: Any, network: Network, layers: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the states that stateful layers hold from the batch before."""
    for node in network.recurrent:
        if node.keeps_states:
            rnns = recurrent_layers(layers[node.name])
            for (name, direction), rnn in zip(node.scans, rnns, strict=True):
                states = [keras.ops.copy(v) for v in keras.tree.flatten(rnn.states)]
                yield name, dict(zip(direction.cell.states, states, strict=True))


def _loop(keras: Any, rnn: Any) -> Any:
    """Return a Keras loop over a layer's own cell that returns all states at each step."""
    cell = rnn.cell
    sizes = keras.tree.flatten(cell.state_size)

    class AllStatesCell(keras.layers.Layer):  # type: ignore[misc]
        state_size = cell.state_size
        output_size = sum(sizes)

        def __init__(self) -> None:
            super().__init__(dtype=cell.dtype_policy)
            self.cell = cell
            self.built = True

        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            _, after = cell(inputs, states, training=False)
            flat = keras.tree.flatten(after)
            return keras.ops.concatenate(flat, axis=-1), after

        def get_initial_state(self, batch_size: Any = None) -> Any:
            return cell.get_initial_state(batch_size)

    class Loop(keras.layers.RNN):  # type: ignore[misc]
        def nested(self, states: list[Any]) -> Any:
            """Nest states as the cell expects them."""
            size = cell.state_size
            sizes = size if isinstance(size, list | tuple) else [size]
            return keras.tree.pack_sequence_as(list(sizes), states)

    return Loop(
        AllStatesCell(),
        return_sequences=True,
        go_backwards=rnn.go_backwards,
        unroll=rnn.unroll,
        dtype=rnn.dtype_policy,
    )
