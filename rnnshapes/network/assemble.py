"""A network from a plan: layers by class name and config, as Keras writes them, and who feeds whom.

A plan comes from sizes (:mod:`rnnshapes.network.from_sizes`) or from a live model
(:mod:`rnnshapes.load.live.model`). Here each layer gets its named sizes, in the order in
which the data meets them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnshapes.cells.cell import Weight
from rnnshapes.errors import InputError, RnnshapesError
from rnnshapes.network.from_config import reader
from rnnshapes.network.from_config.base import Config, LayerConfig, Namer
from rnnshapes.network.graph import Flow, Network, Node, Tap, flow_of
from rnnshapes.network.layers.base import Layer, UnsupportedError
from rnnshapes.ops.dims import Dim, Shape


@dataclass(frozen=True)
class Call:
    """A layer, where it is called.

    ``mask_dropped`` says that Keras does not hand the mask of the input on to it, ``masked``
    that its output has one. ``held`` are the names and shapes of the arrays that it owns, where
    they are known from elsewhere; they are ``named`` as weights are, or numbered. ``outputs``
    are the shapes of its outputs, ``why`` says why it cannot be derived. ``computes_in`` is the
    short format in which it computes, if it does.
    """

    name: str
    class_name: str
    config: Config
    sources: tuple[Tap, ...] = ()
    initial: tuple[Tap, ...] = ()
    held: tuple[tuple[str, tuple[int, ...]], ...] | None = None
    named: bool = True
    outputs: tuple[tuple[int | None, ...], ...] = ()
    trainable: bool = True
    trainable_count: int | None = None
    mask_dropped: bool = False
    masked: bool = False
    why: str = ""
    computes_in: str = ""


@dataclass(frozen=True)
class Plan:
    """The calls in an order in which each finds its sources, the inputs first."""

    calls: tuple[Call, ...]
    outputs: tuple[Tap, ...]
    dtype: str = "float32"
    samples: int | None = None
    batch: int | None = None

    def ordered(self) -> Plan:
        """The calls that lead to the outputs, in the order in which a live model is walked.

        That order is the one of :mod:`rnnshapes.load.live.graph`: inputs, then depth first.
        """
        order = [i for i, call in enumerate(self.calls) if call.class_name == "InputLayer"]
        seen = set(order)
        stack = [tap.node for tap in reversed(self.outputs)]
        while stack:
            call = self.calls[stack[-1]]
            taps = (*call.sources, *call.initial)
            missing = [tap.node for tap in taps if tap.node not in seen]
            if missing:
                stack += reversed(missing)
                continue
            place = stack.pop()
            if place not in seen:
                seen.add(place)
                order.append(place)
        moved = {old: new for new, old in enumerate(order)}

        def at(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
            return tuple(Tap(moved[tap.node], tap.output) for tap in taps)

        calls = (self.calls[old] for old in order)
        found = [replace(c, sources=at(c.sources), initial=at(c.initial)) for c in calls]
        return replace(self, calls=tuple(found), outputs=at(self.outputs))


def assemble(plan: Plan) -> Network:
    """The network of a plan; what cannot be derived is an UnsupportedLayer.

    Raises InputError where shapes do not fit a layer.
    """
    count = Namer({})
    _assemble(plan, count)
    return _assemble(plan, Namer(count.used))


def _assemble(plan: Plan, names: Namer) -> Network:
    names.sizes["N"] = plan.samples
    nodes: list[Node] = []
    flows: list[Flow] = []
    made: dict[str, Layer] = {}
    calls: dict[str, int] = {}
    for call in plan.calls:
        if call.name not in made or not made[call.name].weights:
            layer = made[call.name] = _layer(plan, call, flows, names)
        elif getattr(made[call.name], "stateful", False):
            raise InputError(f"layer {call.name!r} is stateful and called twice: not supported")
        else:
            shapes = _fed(call, flows)
            layer = made[call.name].with_inputs(shapes, names.primed)
        calls[call.name] = calls.get(call.name, 0) + 1
        name = call.name if calls[call.name] == 1 else f"{call.name}:{calls[call.name]}"
        node = Node(name, layer, call.sources, call.initial, call.mask_dropped)
        nodes.append(node)
        flows.append(flow_of(node, flows))
    ordered = {"N": plan.samples, **names.sizes}
    return Network(tuple(ordered.items()), tuple(nodes), plan.outputs, plan.dtype, plan.batch)


def _layer(plan: Plan, call: Call, flows: list[Flow], names: Namer) -> Layer:
    before = dict(names.sizes), dict(names.used)
    try:
        if call.why:
            raise UnsupportedError(call.why)
        layer = _read(plan, call, flows, names)
        _check_held(layer, call)
        layer = replace(layer, trainable_count=call.trainable_count, computes_in=call.computes_in)
    except UnsupportedError as error:
        names.sizes, names.used = before
        return _unknown(call, str(error), names)
    return layer


def _read(plan: Plan, call: Call, flows: list[Flow], names: Namer) -> Layer:
    read = reader(call.class_name)
    if not call.sources and call.class_name != "InputLayer":
        raise UnsupportedError("it is called on nothing")
    shapes = _fed(call, flows)
    steps = flows[call.sources[0].node].of(call.sources[0].output).steps if shapes else None
    about = (call.name, call.class_name, call.config, shapes, steps, call.trainable)
    masked = any(flows[tap.node].masked for tap in call.sources)
    try:
        return read(LayerConfig(*about, plan.dtype, names, reader, masked))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        # A config that Keras has not written, but for what is said of it on purpose.
        if isinstance(error, RnnshapesError):
            raise
        raise UnsupportedError(f"its config is damaged ({type(error).__name__})") from None


def _fed(call: Call, flows: list[Flow]) -> list[Shape]:
    """The shapes that a call is fed with."""
    sources = [flows[tap.node].of(tap.output) for tap in call.sources]
    if not all(source.shapes for source in sources):
        raise UnsupportedError("it is fed by a layer that is not derived, of unknown shape")
    return [source.shapes[0] for source in sources]


def _check_held(layer: Layer, call: Call) -> None:
    if call.held is None or not call.named:
        return
    found = [name for name, _ in call.held]
    wanted = [w.name.split("/")[-1] for group in layer.groups.values() for w in group]
    if found != wanted:
        raise UnsupportedError(
            f"it has the weights {', '.join(found)} and not {', '.join(wanted)} "
            "(is it quantized, or has it LoRA?)"
        )


def _unknown(call: Call, why: str, names: Namer) -> Layer:
    # Not needed where every layer is known.
    from rnnshapes.network.layers.reshaping import UnsupportedLayer

    names_held = [name for name, _ in call.held or ()]
    held = [
        Weight(f"{name}[{i}]", name if names_held.count(name) == 1 else f"{name}[{i}]", dims)
        for i, (name, shape) in enumerate(call.held or ())
        for dims in [tuple(map(Dim.of, shape))]
    ]
    shapes = [_held_shape(shape, names) for shape in call.outputs]
    return UnsupportedLayer(
        name=call.name,
        trainable=call.trainable,
        keras_name=call.class_name,
        reason=why,
        stored_weights=tuple(held),
        output_shapes=tuple(shapes),
        trainable_count=call.trainable_count,
        masked=call.masked,
    )


def _held_shape(shape: tuple[int | None, ...], names: Namer) -> Shape:
    """A shape that the model has, with N for its first axis; what is open gets a name."""
    steps = names.sizes.get("T", names.sizes.get("T1"))
    dims = [Dim.named("N")]
    for axis, size in enumerate(shape[1:], 1):
        if size is None:
            open_size = names.primed()
            names.sizes[str(open_size)] = None
            dims.append(open_size)
        elif axis == 1 and len(shape) > 2 and size == steps:
            dims.append(Dim.named("T" if "T" in names.sizes else "T1"))
        else:
            dims.append(Dim.of(size))
    return tuple(dims)
