"""Assembly of a graph of Keras layer configs into a network.

The layer graph comes from sizes (:mod:`rnnshapes.network.from_sizes`), from a live model or from
a file (:mod:`rnnshapes.load`). Here each layer gets its named sizes, in the order in which data
meets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.errors import ContradictionError, InputError, RnnshapesError, UnsupportedError
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import CALLED_ON_BOOLEANS, Layer
from rnnshapes.network.layers.config import (
    OPERATION,
    Config,
    LayerConfig,
    Namer,
    require_axes,
)
from rnnshapes.network.layers.registry import is_recurrent, layer_class
from rnnshapes.network.lost_masks import LostMasks
from rnnshapes.network.symbolic import NodeShapes, evaluate_node
from rnnshapes.ops.dims import Dim, Shape


@dataclass(frozen=True)
class LayerCall:
    """One call of a Keras layer, by class name and config.

    ``stored`` holds the names and shapes of its arrays, where a model or file tells them; if
    ``named``, they have the names of weights, else they are numbered. ``outputs`` are the shapes
    of its outputs. ``mask_dropped`` says that Keras does not pass the mask of the input on to it,
    ``masked`` that its output has a mask. ``unsupported_reason`` says why it cannot be supported,
    ``contradiction`` why Keras itself would refuse it.
    ``computes_in`` is the dtype in which it computes, ``output_dtype`` that of its output, where a
    model tells them. ``arguments`` are those of an operation, in which a Source stands for a
    tensor. ``call_options`` are the arguments of the call of a layer beside its inputs. With
    ``lost_mask`` Keras has taken the mask off an input.
    ``boolean_inputs`` says which inputs are Boolean. With ``keeps_steps`` its output has as many
    time steps as its first input. ``nesting`` counts the models around the layer that a
    TimeDistributed applies at each step; ``models_ended`` counts those of them whose output is
    this layer's output.
    """

    name: str
    class_name: str
    config: Config
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    stored: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    named: bool = True
    outputs: tuple[tuple[int | None, ...], ...] = ()
    trainable: bool = True
    trainable_count: int | None = None
    mask_dropped: bool = False
    masked: bool = False
    unsupported_reason: str = ""
    contradiction: str = ""
    computes_in: str = ""
    output_dtype: str = ""
    arguments: tuple[Any, ...] = ()
    call_options: tuple[tuple[str, Any], ...] = ()
    lost_mask: bool = False
    boolean_inputs: tuple[bool, ...] = ()
    keeps_steps: bool = False
    nesting: int = 0
    models_ended: int = 0


@dataclass(frozen=True)
class LayerGraph:
    """Calls of layers, each after its sources, the inputs first."""

    calls: tuple[LayerCall, ...]
    outputs: tuple[Tap, ...]
    dtype: str = "float32"
    samples: int | None = None
    batch: int | None = None

    def ordered(self) -> LayerGraph:
        """Return the calls that lead to the outputs, in the order of a live model.

        That order is the one of :mod:`rnnshapes.load.live.graph`: inputs, then depth first.
        """
        order = [i for i, call in enumerate(self.calls) if call.class_name == "InputLayer"]
        visited = set(order)
        stack = [tap.node for tap in reversed(self.outputs)]
        while stack:
            call = self.calls[stack[-1]]
            taps = (*call.sources, *call.initial)
            missing = [tap.node for tap in taps if tap.node not in visited]
            if missing:
                stack += reversed(missing)
                continue
            position = stack.pop()
            if position not in visited:
                visited.add(position)
                order.append(position)
        moved = {old: new for new, old in enumerate(order)}

        def at(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
            return tuple(Tap(moved[tap.node], tap.output) for tap in taps)

        calls = (self.calls[old] for old in order)
        reordered = (replace(c, sources=at(c.sources), initial=at(c.initial)) for c in calls)
        return replace(self, calls=tuple(reordered), outputs=at(self.outputs))


def assemble(graph: LayerGraph) -> Network:
    """Build the network of a layer graph; a layer that is not supported is an UnsupportedLayer.

    Raises:
        InputError: shapes do not fit a layer.
    """
    counting = Namer({})  # the first pass counts the sizes of each kind, for their names
    _assemble(graph, counting)
    return _assemble(graph, Namer(counting.used))


def _assemble(graph: LayerGraph, namer: Namer) -> Network:
    namer.sizes["N"] = graph.samples
    nodes: list[Node] = []
    node_shapes: list[NodeShapes] = []
    layers: dict[str, Layer] = {}
    calls: dict[str, int] = {}
    lost_masks = LostMasks(graph.calls)
    for each in graph.calls:
        feeding = [nodes[tap.node].layer for tap in each.sources]
        boolean_inputs = tuple(layer.is_boolean for layer in feeding)
        lost_mask = lost_masks.before(each, node_shapes)
        call = replace(each, lost_mask=lost_mask, boolean_inputs=boolean_inputs)
        if call.nesting:
            call = _at_each_step(graph, call, node_shapes)
        call = replace(call, computes_in=call.computes_in or graph.dtype)
        if call.class_name.startswith(OPERATION):
            call = replace(call, computes_in=_result_dtype(feeding))
            if any(getattr(layer, "integers", False) for layer in feeding):
                call = replace(call, unsupported_reason="it computes with integers")
        if call.name not in layers or not layers[call.name].weights:
            layer = layers[call.name] = _layer(graph, call, node_shapes, namer)
        elif getattr(layers[call.name], "stateful", False):
            raise InputError(
                f"layer {call.name!r} is stateful and called more than once, which is not "
                "supported; call it once, or set stateful=False"
            )
        elif _is_called_otherwise(layers[call.name], call):
            raise InputError(
                f"layer {call.name!r} is called with different options, which is not supported; "
                "use a layer for each call"
            )
        else:
            layer = layers[call.name]
            if layer.declared_shapes is None:
                _require_supported_again(graph, call, layer, node_shapes, namer)
                layer = layer.with_inputs(_input_shapes(call, node_shapes), namer.primed)
        namer.compute(layer.computed_sizes)
        calls[call.name] = calls.get(call.name, 0) + 1
        name = call.name if calls[call.name] == 1 else f"{call.name}:{calls[call.name]}"
        nodes.append(Node(name, layer, call.sources, call.initial, call.mask_dropped))
        node_shapes.append(evaluate_node(layer, _outputs(call.sources, node_shapes)))
        lost_masks.add(layer, lost=call.lost_mask)
    _require_outputs(graph.outputs, nodes, node_shapes)
    sizes = {"N": graph.samples, **namer.sizes}
    return Network(tuple(sizes.items()), tuple(nodes), graph.outputs, graph.dtype, graph.batch)


def _require_outputs(
    taps: Sequence[Tap], nodes: Sequence[Node], node_shapes: Sequence[NodeShapes]
) -> None:
    """Raise InputError for an output of the model that a supported layer does not have."""
    for tap in taps:
        node, count = nodes[tap.node], len(node_shapes[tap.node].shapes)
        if tap.output >= count and node.layer.declared_shapes is None:
            raise InputError(f"layer {node.name!r} has no output {tap.output}")


def _outputs(taps: Sequence[Tap], node_shapes: Sequence[NodeShapes]) -> list[NodeShapes]:
    """Return the shapes of outputs, each by itself."""
    return [node_shapes[tap.node].output(tap.output) for tap in taps]


def _result_dtype(feeding: Sequence[Layer]) -> str:
    """Return the dtype in which Keras computes an operation on the outputs of layers.

    Source: ``keras/src/backend/common/dtypes.py``, ``result_type``. Booleans and Python's numbers
    decide nothing.
    """
    dtypes = {layer.computes_in for layer in feeding if not layer.is_boolean}
    if len(dtypes) == 1:
        return dtypes.pop()
    return "float64" if "float64" in dtypes else "float32"


def _at_each_step(graph: LayerGraph, call: LayerCall, node_shapes: list[NodeShapes]) -> LayerCall:
    """Return a call of a layer in a model that TimeDistributed applies, as a call on all steps."""
    for tap, shapes in zip(call.sources, _outputs(call.sources, node_shapes), strict=True):
        nesting = graph.calls[tap.node].nesting
        if nesting < call.nesting and shapes.mask_axes > nesting + 2:
            reason = "TimeDistributed passes a mask with more axes than (N, T) to its model"
            call = replace(call, unsupported_reason=call.unsupported_reason or reason)
    if call.initial:
        call = replace(call, unsupported_reason="it has an initial state inside TimeDistributed")
    outputs = tuple((s[0], *(None,) * call.nesting, *s[1:]) for s in call.outputs if s)
    return replace(call, outputs=outputs)


def _is_called_otherwise(layer: Layer, call: LayerCall) -> bool:
    """Return whether a call has other options than the first one of the layer."""
    return layer.declared_shapes is None and dict(call.call_options) != layer.call_arguments


def _require_supported_again(
    graph: LayerGraph, call: LayerCall, layer: Layer, node_shapes: list[NodeShapes], namer: Namer
) -> None:
    """Raise InputError for a further call that would not be supported as the first one."""
    try:
        _read_layer(graph, call, node_shapes, namer.copy())
        shapes = _input_shapes(call, node_shapes)
        for shape, own in zip(shapes, layer.own_shapes(shapes), strict=True):
            if any(map(namer.differ, zip(shape, own, strict=True))):
                raise ContradictionError("its input has other sizes than its weights")
    except (UnsupportedError, ValueError) as error:
        raise InputError(
            f"layer {call.name!r} is called again in a way that is not supported: {error}; "
            "use a layer for each call"
        ) from None


def _layer(
    graph: LayerGraph, call: LayerCall, node_shapes: list[NodeShapes], namer: Namer
) -> Layer:
    before = dict(namer.sizes), dict(namer.used)
    try:
        layer = _read_layer(graph, call, node_shapes, namer)
        _check_stored(layer, call)
    except (UnsupportedError, ContradictionError) as error:
        namer.sizes, namer.used = before
        return _unsupported_layer(call, error, node_shapes, namer)
    computes_in = call.computes_in if layer.casts_to is None else layer.casts_to
    return replace(layer, trainable_count=call.trainable_count, computes_in=computes_in)


def _read_layer(
    graph: LayerGraph, call: LayerCall, node_shapes: list[NodeShapes], namer: Namer
) -> Layer:
    if call.contradiction:
        raise ContradictionError(call.contradiction)
    if call.unsupported_reason:
        raise UnsupportedError(call.unsupported_reason)
    kind = layer_class(call.class_name)
    if not call.sources and call.class_name != "InputLayer":
        raise UnsupportedError("it is called without inputs")
    if call.initial and not is_recurrent(call.class_name):
        raise UnsupportedError("it is called with initial_state, which is not supported")
    if any(call.boolean_inputs) and not kind.takes_booleans:
        raise UnsupportedError(CALLED_ON_BOOLEANS)
    reader = layer_class("TimeDistributed") if call.nesting else kind
    shapes = _input_shapes(call, node_shapes)
    for shape in shapes:
        require_axes(shape, "its input")
    sources = _outputs(call.sources, node_shapes)
    try:
        layer = reader.from_config(
            LayerConfig(
                name=call.name,
                class_name=call.class_name,
                options=call.config,
                shapes=shapes,
                steps=sources[0].steps if sources else None,
                trainable=call.trainable,
                dtype=graph.dtype,
                names=namer,
                mask_axes=max((source.mask_axes for source in sources), default=0),
                arguments=call.arguments,
                call_options=dict(call.call_options),
                lost_mask=call.lost_mask,
                causal=bool(sources) and _is_causal_sequence(sources[0]),
                computes_in=call.computes_in,
                boolean_inputs=call.boolean_inputs,
                stays_inside=tuple(call.models_ended < n for n in range(call.nesting, 0, -1)),
            )
        )
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        # A config that Keras did not write; errors raised on purpose pass through.
        if isinstance(error, RnnshapesError):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:80]
        raise ContradictionError(f"its config is not one that Keras writes ({reason})") from None
    _require_initial_states(layer, call, node_shapes, namer)
    return layer


def _require_initial_states(
    layer: Layer, call: LayerCall, node_shapes: list[NodeShapes], namer: Namer
) -> None:
    """Raise UnsupportedError for initial states that are certainly not those of a layer."""
    if not call.initial:
        return
    own = [dim for d in layer.directions for dim in d.cell.states.values()]
    states: list[Shape] = []
    for tap, shapes in zip(call.initial, _outputs(call.initial, node_shapes), strict=True):
        is_known = bool(node_shapes[tap.node].shapes)  # or else it is of an unsupported layer
        states += shapes.shapes if is_known else [()]
    if len(layer.directions) == 1:
        states = states[: len(own)]  # Keras ignores more of them
    differ = (
        state and (len(state) != 2 or namer.differ((state[1], dim)))
        for state, dim in zip(states, own, strict=False)
    )
    if len(states) != len(own) or any(differ):
        raise UnsupportedError("its initial states are not as many and as wide as its own")


def _is_causal_sequence(source: NodeShapes) -> bool:
    return source.steps is not None and not source.final and source.causal


def _input_shapes(call: LayerCall, node_shapes: list[NodeShapes]) -> list[Shape]:
    """Return the shapes of the inputs of a call."""
    sources = _outputs(call.sources, node_shapes)
    if not all(source.shapes for source in sources):
        raise UnsupportedError(
            "its input comes from a layer that is not supported, of unknown shape"
        )
    return [source.shapes[0] for source in sources]


def _check_stored(layer: Layer, call: LayerCall) -> None:
    """Raise UnsupportedError if the model has other weights than the layer."""
    if call.stored is None or not call.named:
        return
    stored = [name for name, _ in call.stored]
    expected = [w.name.split("/")[-1] for group in layer.groups.values() for w in group]
    if stored != expected:
        raise UnsupportedError(
            f"it has the weights {', '.join(stored)} and not {', '.join(expected)} "
            "(is it quantized, or has it LoRA?)"
        )


def _unsupported_layer(
    call: LayerCall, error: RnnshapesError, node_shapes: list[NodeShapes], namer: Namer
) -> Layer:
    # Loaded here, since most networks need none.
    from rnnshapes.network.layers.unsupported import UnsupportedLayer

    sources = _outputs(call.sources, node_shapes)
    source = next((each.shapes[0] for each in sources if each.shapes), ())
    # TimeDistributed passes on the mask of its own input, of samples and steps.
    masks = [each.mask_axes for each in sources]
    outer = max((axes for axes in masks if axes < 2 + call.nesting), default=0)
    return UnsupportedLayer(
        name=call.name,
        trainable=call.trainable,
        keras_class=call.class_name or "?",
        reason=str(error),
        contradicts=isinstance(error, ContradictionError),
        stored_weights=stored_weights(call.stored or ()),
        output_shapes=tuple(
            _declared_shape(shape, source, namer, keeps_steps=call.keeps_steps)
            for shape in call.outputs
        ),
        trainable_count=call.trainable_count,
        mask_axes=(2 + call.nesting) * (call.masked and not call.models_ended) or outer,
        computes_in=call.output_dtype or call.computes_in,
    )


def stored_weights(arrays: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[Weight, ...]:
    """Return arrays, by name and shape, as weights without symbols."""
    names = [name for name, _ in arrays]
    return tuple(
        Weight(f"{name}[{i}]", name if names.count(name) == 1 else f"{name}[{i}]", dims)
        for i, (name, shape) in enumerate(arrays)
        for dims in [tuple(map(Dim.of, shape))]
    )


def _declared_shape(
    shape: tuple[int | None, ...], source: Shape, namer: Namer, *, keeps_steps: bool
) -> Shape:
    """Return a shape that the model states, with N first and a new name for each open axis.

    A size that is equal to the one on the same axis of the ``source``, or on its last axis for the
    last one, has its name.
    """
    features = source[-1:]
    dims = [Dim.named("N")]
    for axis, size in enumerate(shape[1:], 1):
        axes = features if axis == len(shape) - 1 else source[axis : axis + 1]
        if size is None and axis == 1 and keeps_steps and len(source) > 1:
            dims.append(source[1])
        elif size is None:
            open_size = namer.primed()
            namer.sizes[str(open_size)] = None
            dims.append(open_size)
        else:
            dims += [dim for dim in axes if namer.value(dim) == size] or [Dim.of(size)]
    return tuple(dims)
