"""Symbolic evaluation of layers: the shape of every tensor, and the formula of every operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, NamedTuple

from rnnshapes.cells.cell import Weight
from rnnshapes.errors import InputError
from rnnshapes.network.layers.base import Direction, Layer, Masks
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.dims import Dim, Shape, shape_text
from rnnshapes.ops.symbolic import ShapeMismatchError, Symbol, SymbolicOperation, SymbolicOps


@dataclass(frozen=True)
class NodeShapes:
    """Symbolic shapes of the outputs of one node, and their time axis.

    ``steps`` is the number of time steps of the first ``joined`` outputs, ``None`` where they
    have no time axis. For a ``final`` output (the last step alone) it is the number of steps of
    the recurrence. The outputs after the first ``joined`` ones are states. Their mask has
    ``mask_axes`` axes, 0 where they have none: two, (N, T), or more at each step of a
    TimeDistributed. In a ``causal``
    sequence no step depends on one after it, as far as the layers since the last recurrence go.
    ``intermediates`` are the shapes of what a layer without recurrence computes on the way.
    """

    shapes: tuple[Shape, ...]
    steps: Dim | None
    final: bool = False
    mask_axes: int = 0
    joined: int = 1
    causal: bool = True
    intermediates: tuple[Shape, ...] = field(default=(), repr=False, compare=False)

    @property
    def masked(self) -> bool:
        """Whether the first outputs have a mask."""
        return self.mask_axes > 0

    def output(self, number: int) -> NodeShapes:
        """Return one of the outputs by itself; a state has no time axis."""
        if number >= len(self.shapes):
            return NodeShapes((), None)
        if number < self.joined:
            return replace(self, shapes=(self.shapes[number],), joined=1)
        shape = self.shapes[number]
        return NodeShapes((shape,), shape[1] if len(shape) > 2 else None)

    @property
    def at_step(self) -> Shape:
        """Shape of the first output at one time step."""
        shape = self.shapes[0]
        return shape if self.steps is None or self.final else (shape[0], *shape[2:])


class SymbolicEvaluation(NamedTuple):
    """An equation evaluated on symbolic shapes.

    ``shape`` is that of the result, ``operations`` are in the order of evaluation, and
    ``equations`` hold what each named value equals. ``more`` are the shapes of further outputs.
    """

    shape: Shape
    operations: list[SymbolicOperation]
    equations: list[tuple[str, str]]
    more: tuple[Shape, ...] = ()


class _AllStepsOps(SymbolicOps):
    """Symbolic interpreter that gives each operation on one step the shape of all steps."""

    def each_step(self, function: Callable[..., Any], inputs: Sequence[Symbol], rank: int) -> Any:
        x = inputs[0]
        start, steps = len(x.operations), x.shape[1:2] if len(x.shape) != rank else ()
        result = super().each_step(function, inputs, rank)
        x.operations[start:] = [
            replace(operation, shape=(*operation.shape[:1], *steps, *operation.shape[1:]))
            for operation in x.operations[start:]
        ]
        return result


def evaluate_node(layer: Layer, sources: Sequence[NodeShapes]) -> NodeShapes:
    """Return the output shapes of a layer that is called on ``sources``.

    Raises:
        InputError: the shapes do not fit the layer.
    """
    if isinstance(layer, Input):
        return NodeShapes((layer.shape,), layer.shape[1] if layer.timed else None)
    if (declared := layer.declared_shapes) is not None:
        steps = declared[0][1] if declared and len(declared[0]) > 2 else None
        return NodeShapes(declared, steps, mask_axes=layer.new_mask_axes(()), causal=False)
    shapes = [source.shapes[0] for source in sources]
    masks = [_MaskAxes(source.mask_axes) if source.masked else None for source in sources]
    if isinstance(layer, RecurrentLayer):
        return _evaluate_recurrent(layer, shapes[0], _mask_axes(layer, masks))
    ops = _AllStepsOps(layer.index)
    evaluation = evaluate_layer(layer, layer.groups, layer.own_shapes(shapes), ops=ops)
    shape = evaluation.shape
    mask_axes = layer.new_mask_axes(shape) or _mask_axes(layer, masks)
    intermediates = tuple(operation.shape for operation in evaluation.operations)
    if layer.stepwise:
        shapes_at_steps = _evaluate_stepwise(layer, shape, sources, mask_axes)
        return replace(shapes_at_steps, intermediates=intermediates)
    steps = shape[1] if len(shape) > 2 else None
    outputs = (shape, *evaluation.more)
    return NodeShapes(
        outputs, steps, mask_axes=mask_axes, causal=False, intermediates=intermediates
    )


def _evaluate_stepwise(
    layer: Layer, shape: Shape, sources: Sequence[NodeShapes], mask_axes: int
) -> NodeShapes:
    """Return the output shape of a layer that computes each step from the same step of others."""
    timed = [source for source in sources if source.steps is not None]
    sequences = [source for source in timed if not source.final]
    if layer.last_step:
        return NodeShapes(((shape[0], *shape[2:]),), timed[0].steps, final=True)
    if not timed:
        steps = shape[1] if len(shape) > 2 else None
        return NodeShapes((shape,), steps, mask_axes=mask_axes, causal=False)
    if sequences:
        causal = all(source.causal and not source.final for source in timed)
        return NodeShapes((shape,), sequences[0].steps, mask_axes=mask_axes, causal=causal)
    same = all(source.steps == timed[0].steps for source in timed)
    return NodeShapes((shape,), timed[0].steps if same else None, same, mask_axes)


def evaluate_layer(
    layer: Layer,
    groups: Mapping[str, tuple[Weight, ...]],
    shapes: Sequence[Shape],
    texts: Sequence[str] | None = None,
    name: str | None = None,
    ops: SymbolicOps | None = None,
) -> SymbolicEvaluation:
    """Evaluate a layer without recurrence on tensors of ``shapes``.

    Args:
        layer: The layer.
        groups: Its weights, by group.
        shapes: Symbolic shapes of its inputs.
        texts: How the inputs are written; ``x`` if left out.
        name: How the output is written.
        ops: The symbolic interpreter; a plain one if left out.

    Raises:
        InputError: the shapes do not fit the layer.
    """
    tape: list[SymbolicOperation] = []
    ops = SymbolicOps(layer.index) if ops is None else ops
    texts = texts or ["x"] * len(shapes)
    inputs = [ops.tensor(text, shape, tape) for text, shape in zip(texts, shapes, strict=True)]
    weights = {
        w.key: ops.tensor(w.key + layer.index, w.dims, tape)
        for group in groups.values()
        for w in group
    }
    try:
        result = layer.call(ops, inputs, SimpleNamespace(**weights), Masks())
    except ShapeMismatchError as error:
        fed = ", ".join(shape_text(shape) for shape in shapes)
        raise InputError(f"layer {layer.name!r} does not fit its input {fed}: {error}") from None
    output, *more = result if isinstance(result, tuple) else (result,)
    returned = [text for text, value in zip(texts, inputs, strict=True) if value is output]
    if name is not None and name not in (output.text, *returned, *ops.names[-1:]):
        ops.named(name, output)
    shapes_of_more = tuple(value.shape for value in more)
    return SymbolicEvaluation(output.shape, tape, ops.equations, shapes_of_more)


def evaluate_step(
    direction: Direction, x: str, ops: SymbolicOps | None = None
) -> SymbolicEvaluation:
    """Evaluate one time step of a recurrence.

    Args:
        direction: The recurrence.
        x: How its input is written.
        ops: The symbolic interpreter; a plain one if left out.
    """
    tape: list[SymbolicOperation] = []
    n, index = Dim.named("N"), direction.index
    ops = SymbolicOps(index) if ops is None else ops
    weights = {w.key: ops.tensor(w.key + index, w.dims, tape) for w in direction.weights}
    before = "{t+1}" if direction.reverse else "{t-1}"
    state = {
        key: ops.tensor(f"{key}{index}_{before}", (n, dim), tape)
        for key, dim in direction.cell.states.items()
    }
    w = SimpleNamespace(**weights)
    xz = direction.cell.project(ops, ops.tensor(x, (n, direction.features), tape), w)
    step = direction.cell.step(ops, xz, state, w)
    return SymbolicEvaluation(step.output.shape, tape, ops.equations)


def _evaluate_recurrent(layer: RecurrentLayer, shape: Shape, mask_axes: int) -> NodeShapes:
    n, steps, _ = shape
    lead = (n, steps) if layer.return_sequences else (n,)
    symbols = [Symbol("h", (*lead, d.cell.output), []) for d in layer.directions]
    shapes = [symbol.shape for symbol in layer.join(SymbolicOps(), symbols)]
    joined = len(shapes)
    if layer.return_state:
        shapes += [(n, dim) for d in layer.directions for dim in d.cell.states.values()]
    causal = not any(direction.reverse for direction in layer.directions)
    return NodeShapes(tuple(shapes), steps, not layer.return_sequences, mask_axes, joined, causal)


class _MaskAxes(NamedTuple):
    """A mask of which only the number of axes is known."""

    ndim: int

    def __or__(self, other: object) -> _MaskAxes:
        return self


def _mask_axes(layer: Layer, masks: Sequence[_MaskAxes | None]) -> int:
    """Return the number of axes of the mask of an output, 0 without one, from the inputs' masks."""
    mask = layer.mask([], masks)
    return 0 if mask is None else int(mask.ndim)
