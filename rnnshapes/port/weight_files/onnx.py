"""Conversion of a Keras network to an ONNX graph.

A recurrent layer becomes the operator RNN, LSTM or GRU, with the weights in ONNX's layout; the
equation of any other layer is evaluated by the ONNX interpreter (:mod:`rnnshapes.ops.onnx_ops`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, overload

import numpy as np

from rnnshapes.cells.cell import Cell
from rnnshapes.errors import UnsupportedError
from rnnshapes.layouts.stored_arrays import lay_out
from rnnshapes.load.foreign.model import ForeignFile
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Layer, Masks
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.embedding import Embedding
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.layers.time_distributed import layer_at_step
from rnnshapes.network.layers.unsupported import require_supported
from rnnshapes.network.weights import Weights
from rnnshapes.ops.dims import Shape
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.onnx_ops import OnnxGraph, OnnxOps, OnnxTensor, OnnxValue
from rnnshapes.port.hypothesis import Mistake
from rnnshapes.port.weight_files.comparison import (
    WeightCheck,
    WeightVerification,
    compare_recurrence,
)
from rnnshapes.port.weight_files.matching import recurrences_of

_OPERATORS = MappingProxyType({"simple": "RNN", "lstm": "LSTM", "gru": "GRU"})
#: Activations of recurrent operators, with alpha and beta, by the names in Keras.
_ACTIVATIONS: Mapping[str, tuple[str, tuple[float, ...]]] = MappingProxyType(
    {
        "tanh": ("Tanh", ()),
        "sigmoid": ("Sigmoid", ()),
        "relu": ("Relu", ()),
        "softsign": ("Softsign", ()),
        "softplus": ("Softplus", ()),
        "elu": ("Elu", (1.0,)),
        "leaky_relu": ("LeakyRelu", (0.2,)),
        "linear": ("Affine", (1.0, 0.0)),
        "hard_sigmoid": ("HardSigmoid", (1 / 6, 0.5)),
        KERAS2_HARD_SIGMOID: ("HardSigmoid", (0.2, 0.5)),
    }
)
_MASKED = "its input has a mask"


class OnnxExport(NamedTuple):
    """A graph with its inputs and outputs."""

    graph: OnnxGraph
    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]


def to_onnx(network: Network, weights: Weights) -> OnnxExport:
    """Return a network as an ONNX graph, all in float32.

    Raises:
        UnsupportedError: A layer has no counterpart in ONNX, or computes in another dtype.
    """
    require_supported(node.layer for node in network.unsupported)
    if network.precisions != ("float32",) or network.dtype != "float32":
        dtypes = ", ".join(dict.fromkeys((network.dtype, *network.precisions)))
        raise UnsupportedError(
            f"an ONNX model is written in float32, and this model is of {dtypes}"
        )
    return _Exporter(network, weights).export()


class _SourceMasks(Sequence[None]):
    """The masks of the inputs of a layer, which may be read only where there is none."""

    def __init__(self, masked: list[bool]) -> None:
        self.masked = masked

    def __len__(self) -> int:
        return len(self.masked)

    @overload
    def __getitem__(self, index: int) -> None: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[None]: ...
    def __getitem__(self, index: int | slice) -> Sequence[None] | None:
        chosen = self.masked[index]
        if True in (chosen if isinstance(chosen, list) else [chosen]):
            raise UnsupportedError(_MASKED)
        return [None] * len(chosen) if isinstance(chosen, list) else None


class _Exporter:
    def __init__(self, network: Network, weights: Weights) -> None:
        self.network, self.weights, self.graph = network, weights, OnnxGraph()
        self.values: dict[Tap, OnnxTensor] = {}

    def export(self) -> OnnxExport:
        """Return the whole graph."""
        nodes, inputs = self.network.nodes, []
        for position, node in enumerate(nodes):
            if isinstance(node.layer, Input):
                dtype = "int64" if node.layer.integers else "float32"
                name = self.graph.unique(node.name)
                inputs.append(OnnxValue(name, dtype, self._sizes(node.layer.shape)))
                tensor = self._tensor(name, node.layer.shape)
                self.values[Tap(position)] = replace(tensor, dtype=dtype)
        names = [self.graph.unique(nodes[tap.node].name) for tap in self.network.outputs]
        for position, node in enumerate(nodes):
            if isinstance(node.layer, Input):
                continue
            self.graph.layer = node.name
            try:
                results = list(self._node(node))
            except UnsupportedError as error:
                if str(error).startswith("layer "):
                    raise
                label = f"layer {node.layer.name!r} ({node.layer.type})"
                raise UnsupportedError(f"{label} cannot be converted: {error}") from None
            self.values |= {Tap(position, number): each for number, each in enumerate(results)}
        outputs = []
        for name, tap in zip(names, self.network.outputs, strict=True):
            shape, value = self.network.shapes_at(tap).shapes[0], self.values[tap]
            self.graph.add("Identity", value.name, name=f"{name}/Identity", result=name)
            outputs.append(OnnxValue(name, value.dtype, self._sizes(shape)))
        self.graph.require_dtypes({value.name: value.dtype for value in (*inputs, *outputs)})
        return OnnxExport(self.graph, tuple(inputs), tuple(outputs))

    def _value(self, tap: Tap) -> OnnxTensor:
        """Return a value in float32."""
        return self.values[tap].cast("float32")

    def _sizes(self, shape: Shape) -> tuple[int | str, ...]:
        """Return a shape in numbers; N and open sizes by name."""
        sizes = [self.network.value(dim) for dim in shape]
        named = [str(dim) if size is None else size for dim, size in zip(shape, sizes, strict=True)]
        return ("N", *named[1:])

    def _tensor(self, name: str, shape: Shape) -> OnnxTensor:
        return OnnxOps(self.graph).tensor("x", shape, name)

    def _node(self, node: Node) -> Iterator[OnnxTensor]:
        """Yield the outputs of a call of a layer."""
        shapes = [self.network.shapes_at(tap) for tap in node.sources]
        masked = [each.masked and not node.mask_dropped for each in shapes]
        layer = node.layer
        if layer.uses_mask and True in masked:
            raise UnsupportedError(_MASKED)
        takes_indices = isinstance(layer_at_step(layer), Embedding)
        inputs = [self.values[tap] if takes_indices else self._value(tap) for tap in node.sources]
        if isinstance(layer, RecurrentLayer):
            yield from self._recurrence(node, layer, inputs[0])
            return
        if layer.last_step:
            n, _, *rest = inputs[0].symbol.shape
            yield self._tensor(self.graph.gather(inputs[0].name, -1, 1), (n, *rest))
            return
        named = layer.own_shapes([each.shapes[0] for each in shapes])
        inputs = [
            replace(self._tensor(x.name, shape), dtype=x.dtype)
            for x, shape in zip(inputs, named, strict=True)
        ]
        ops = OnnxOps(self.graph, layer.index)
        w = SimpleNamespace(**dict(self._arrays(layer, ops)))
        result = layer.call(ops, inputs, w, Masks(_SourceMasks(masked)))
        yield from result if isinstance(result, tuple) else (result,)

    def _arrays(self, layer: Layer, ops: OnnxOps) -> Iterator[tuple[str, OnnxTensor]]:
        """Yield the weights of a layer without recurrence, by key."""
        for group, members in layer.groups.items():
            for weight in members:
                values = np.asarray(self.weights[group][weight.key], np.float32)
                name = self.graph.array(f"{group}/{weight.name}", values)
                yield weight.key, ops.tensor(weight.key, weight.dims, name)

    def _recurrence(self, node: Node, layer: RecurrentLayer, x: OnnxTensor) -> Iterator[OnnxTensor]:
        """Yield the outputs of a recurrent layer, and its last states if it returns them."""
        if layer.stateful:
            raise UnsupportedError("it keeps its states from batch to batch (stateful)")
        graph, reversals = self.graph, [direction.reverse for direction in layer.directions]
        if len(reversals) > 1 and reversals not in ([False, True], [True, False]):
            raise UnsupportedError("both directions process the sequence in the same order")
        names = {}
        for weight, values in lay_out(layer, self.weights, "ONNX"):
            names[weight.name] = graph.array(f"{layer.name}/{weight.name}", values)
        one_direction = "reverse" if reversals[0] else "forward"
        order = sorted(range(len(reversals)), key=lambda number: reversals[number])
        cells = [layer.cells[number] for number in order]
        states = tuple(cells[0].states)
        initial = self._initial(node, order, states)
        has_states = any(initial)
        outputs = graph.add(
            _OPERATORS[cells[0].name],
            graph.transpose(x.name, 1, 0, 2),
            names["W"],
            names["R"],
            *([names.get("B", "")] if "B" in names or has_states else []),
            *(["", *initial] if has_states else []),
            outputs=1 + len(states),
            name=node.name,
            direction="bidirectional" if len(reversals) > 1 else one_direction,
            hidden_size=self.network.count(cells[0].units),
            **_attributes(cells),
        )
        whole = self.network.shapes_at(Tap(self.network.nodes.index(node)))
        results = []
        for number, direction in enumerate(layer.directions):
            place = order.index(number)
            if layer.return_sequences:
                name = graph.gather(outputs[0], place, 1)
                if layer.reversed_outputs[number]:
                    name = graph.cut(name, {0: slice(None, None, -1)})
                name = graph.transpose(name, 1, 0, 2)
            else:
                name = graph.gather(outputs[1], place, 0)
            results.append(self._tensor(name, (*whole.shapes[0][:-1], direction.cell.output)))
        yield from layer.join(OnnxOps(graph, layer.index), results)
        if layer.return_state:
            for number, direction in enumerate(layer.directions):
                for last, dim in zip(outputs[1:], direction.cell.states.values(), strict=True):
                    name = graph.gather(last, order.index(number), 0)
                    yield self._tensor(name, (whole.shapes[0][0], dim))

    def _initial(self, node: Node, order: Sequence[int], states: Sequence[str]) -> list[str]:
        """Return the names of initial states (dirs, N, M); empty where they are zeros."""
        if not node.initial:
            return []
        taps = [self._value(tap).name for tap in node.initial]
        joined = []
        for state in range(len(states)):
            own = [taps[number * len(states) + state] for number in order]
            axis = self.graph.numbers([0])
            rows = [self.graph.add("Unsqueeze", name, axis)[0] for name in own]
            joined.append(self.graph.add("Concat", *rows, axis=0)[0])
        return joined


def _attributes(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the attributes that options of cells set, one cell for each direction.

    The cells are those of a layer that :func:`lay_out` takes, of one kind.
    """
    names: list[str] = []
    alphas: list[float] = []
    betas: list[float] = []
    for cell in cells:
        options = ["recurrent_activation", "activation", "activation"]
        options = {"simple": options[1:2], "gru": options[:2], "lstm": options}[cell.name]
        for option in options:
            function = getattr(cell, option)
            if function not in _ACTIVATIONS:
                raise UnsupportedError(f"ONNX's {_OPERATORS[cell.name]} has no {option} {function}")
            name, constants = _ACTIVATIONS[function]
            names.append(name)
            alphas += constants[:1]
            betas += constants[1:]
    attributes: dict[str, Any] = {"activations": names}
    attributes |= {"activation_alpha": alphas} if alphas else {}
    attributes |= {"activation_beta": betas} if betas else {}
    after = getattr(cells[0], "reset_after", None)
    return attributes if after is None else {**attributes, "linear_before_reset": int(after)}


def verify_onnx(network: Network, weights: Weights, file: ForeignFile) -> WeightVerification:
    """Compare the weights in a file that was converted from a network with those of the network.

    Recurrent operators are read in ONNX's layout; all other arrays have the names of weights.
    """
    checks: list[WeightCheck] = []
    missing = Mistake("weights.missing", "it is not in the file")
    stored = list(file.recurrences())
    tensors = {tensor.name: tensor for each in file.contents.others for tensor in each.tensors}
    called = {node.layer.name for node in network.nodes}
    for layer in (each for each in network.layers if each.name in called):
        if layer.directions:
            (recurrence,) = recurrences_of(network, weights, layer.name)
            recurrence = recurrence.forward_first()
            calls = [each for each in stored if each.arrays[0].tensor.name == f"{layer.name}/W"]
            if not calls:
                checks.append(WeightCheck(layer.name, (), "", 0, missing))
            for call in calls:
                checks += compare_recurrence(recurrence, call, stored)
            continue
        for group, members in layer.groups.items():
            for weight in members:
                name = f"{group}/{weight.name}"
                values = np.asarray(weights[group][weight.key])
                found = tensors[name].read() if name in tensors else None
                is_same = found is not None and np.array_equal(found, values)
                rule = "as it is" if is_same else ""
                checks.append(WeightCheck(name, (name,), rule, values.size))
                if not is_same:
                    checks[-1] = checks[-1]._replace(mistake=missing)
    path = file.check(file.network).path
    by_name = {check.name: check for check in checks}  # a layer may be called twice
    return WeightVerification(network, path, "ONNX", ".onnx", tuple(by_name.values()), (), ())
