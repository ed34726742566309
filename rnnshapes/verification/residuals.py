"""The one-step residual: Keras's own numbers through the equations, with a bound for each.

States go through one step, and what a layer was fed goes through that layer, in float64. What
Keras has found may be no farther from it than rounding in its precision can have taken it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes.forward.scan import Scan, Value, apply, joined, mask_of
from rnnshapes.forward.tracing import Course, Place
from rnnshapes.network.graph import Network, Node
from rnnshapes.network.layers.base import Layer
from rnnshapes.network.layers.core import Input
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.network.weights import Weights, bind
from rnnshapes.ops.activations import Array
from rnnshapes.ops.bounded import Bounded, BoundedOps
from rnnshapes.ops.precision import PRECISIONS, TENSOR_FLOAT_32, Precision
from rnnshapes.reference.outputs import ModelOutputs
from rnnshapes.verification.bounds import (
    Finding,
    by_sample,
    compare,
    in_parts,
    judge_steps,
    together,
)

_OPS = BoundedOps()
#: The layer or recurrence, what of it was judged, and the result.
Named = tuple[str, str, Finding]


def findings(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    keras: ModelOutputs,
) -> Iterator[Named]:
    """Each finding: by node, in order, and the model's own output last."""
    return _Proof(network, weights, xs, keras).findings()


def courses(
    network: Network,
    weights: Weights,
    xs: Sequence[Array],
    keras: ModelOutputs,
) -> dict[str, Course]:
    """How far Keras is at each step from one step of the equation, and its proven bound.

    States by recurrence and key, ``lstm.h``, each step from Keras's own states before; ``y_hat``
    is that of the last layer, from what Keras fed it with, and missing where that is a recurrence.
    """
    scans = {name: d.cell.states for node in network.recurrent for name, d in node.scans}
    last = network.nodes[network.outputs[0].node].name
    found = {}
    for name, what, finding in findings(network, weights, xs, keras):
        key = what.removesuffix(" at every step")
        if finding.course is None or not finding.compared:
            continue
        if key in scans.get(name, {}):
            found[f"{name}.{key}"] = finding.course
        elif name == last and key == "y_hat":
            found["y_hat"] = finding.course
    return found


@dataclass(frozen=True, eq=False)
class _Usable:
    """Which samples, (N,), and which steps, (N, T), can be compared."""

    own: Array
    each: Array | None


class _Proof:
    """Goes through the nodes in order and keeps what the next ones need.

    ``plain`` are Keras's own numbers, time-major, ``bounded`` the outputs of recurrences with
    the bound of one step.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        xs: Sequence[Array],
        keras: ModelOutputs,
    ) -> None:
        self.network, self.keras = network, keras
        self.weights = {
            name: self._exact_weights(layer, bind(name, weights, "float64"))
            for layer in network.layers
            for name in layer.groups
        }
        self.xs = iter(xs)
        self.plain: list[Value] = []
        self.usable: list[_Usable] = []
        self.bounded: dict[int, Value] = {}

    def findings(self) -> Iterator[Named]:
        for place, node in enumerate(self.network.nodes):
            self.plain.append(self._plain(place, node))
            if isinstance(node.layer, Input) or node.layer.declared_shapes is not None:
                self.usable.append(self._from_sources(place, node))
                continue
            yield from self._mask(place, node)
            if isinstance(node.layer, RecurrentLayer):
                yield from self._recurrence(place, node)
            else:
                what, found = self._layer(place, node)
                if found is not None:
                    precision = self.network.precision(node.layer)
                    yield node.name, what, replace(found, precision=precision)
        yield from self._predict()

    def _plain(self, place: int, node: Node) -> Value:
        """Keras's own numbers of a node, time-major, with the mask that they should have."""
        timed = isinstance(node.layer, Input) and node.layer.timed
        outputs = (
            (next(self.xs),) if isinstance(node.layer, Input) else self.keras.values[node.name]
        )
        turned = tuple(np.swapaxes(v, 0, 1) if timed or v.ndim > 2 else v for v in outputs)
        each: tuple[Array | None, ...] = tuple(v if timed or v.ndim > 2 else None for v in turned)
        if self.network.node_shapes[place].final and node.name in self.keras.each:
            found = [np.swapaxes(v, 0, 1) for v in self.keras.each[node.name]]
            each = (*found, *each[len(found) :])
        mask = mask_of(node, self.plain)
        if node.layer.declared_shapes is not None and node.name in self.keras.masks:
            mask = self.keras.masks[node.name].T
        return Value(turned, each, mask)

    def _from_sources(self, place: int, node: Node) -> _Usable:
        """What is usable of what a node is fed with."""
        first = self.plain[place].outputs[0]
        timed = self.plain[place].each[0] is not None
        n = (
            first.shape[1]
            if timed and not self.network.node_shapes[place].final
            else first.shape[0]
        )
        own = np.ones(n, dtype=bool)
        for tap in (*node.sources, *node.initial):
            own &= self.usable[tap.node].own
        steps = self.network.node_shapes[place].steps
        if steps is None:
            return _Usable(own, None)
        t = self.network.count(steps)
        each = np.ones((n, t), dtype=bool)
        for tap in node.sources:
            source = self.usable[tap.node]
            fits = source.each is not None and source.each.shape[1] == t
            each &= source.each if fits and source.each is not None else source.own[:, None]
        return _Usable(own, each)

    def _started(self, node: Node, samples: int) -> Array:
        """Which samples have usable states to start from."""
        own = [self.usable[tap.node].own for tap in node.initial]
        made: Array = np.logical_and.reduce([np.ones(samples, dtype=bool), *own])
        return made

    def _mask(self, place: int, node: Node) -> Iterator[Named]:
        """The mask has to be the one that follows from what the layer was fed."""
        ours, theirs = self.plain[place].mask, self.keras.masks.get(node.name)
        precision = self.network.precision(node.layer)
        if ours is None and theirs is None:
            return
        if ours is None or theirs is None or ours.T.shape != theirs.shape:
            yield node.name, "mask", Finding(np.inf, Place(0, None, 0), 1, precision=precision)
            return
        wrong = theirs != ours.T
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        ratio = np.inf if wrong.any() else 0.0
        where = Place(int(at[0]), int(at[1]), 0)
        yield node.name, "mask", Finding(ratio, where, wrong.size, precision=precision)

    def _recurrence(self, place: int, node: Node) -> Iterator[Named]:
        """Each state at each step, and what the layer makes of them."""
        layer = node.layer
        assert isinstance(layer, RecurrentLayer)
        source = node.sources[0]
        x = np.swapaxes(self.plain[source.node].outputs[source.output], 0, 1)
        mask = None if node.mask_dropped else self.plain[source.node].mask
        fed = self._from_sources(place, node)
        assert fed.each is not None
        emitted: dict[str, Bounded] = {}
        scans: dict[str, Scan] = {}
        usable = []
        for name, direction in node.scans:
            judged = judge_steps(
                direction,
                x,
                self.keras.states[name],
                self.keras.origins.get(name),
                self.keras.starts.get(name, {}),
                None if mask is None else mask.T,
                fed.each & self._started(node, len(fed.own))[:, None],
                self.weights[direction.name],
                self._precision(layer),
            )
            for key, found in judged.findings.items():
                yield name, key, replace(found, precision=self.network.precision(layer))
            emitted[name] = judged.emitted(mask, zero=layer.zero_output_for_mask)
            scans[name] = Scan(judged.last_states(), {}, None)  # type: ignore[arg-type]
            usable.append(judged.usable)
        self.bounded[place] = joined(_OPS, node, emitted, self.plain, scans)
        ends = [u[:, 0 if d.reverse else -1] for u, (_, d) in zip(usable, node.scans, strict=True)]
        flipped = [
            u[:, ::-1] if f else u for u, f in zip(usable, layer.reversed_outputs, strict=True)
        ]
        each = np.logical_and.reduce(flipped if layer.return_sequences else usable)
        joined_each = self.bounded[place].each[0]
        if joined_each is not None:  # what joins two directions may overflow by itself
            each &= ~np.isinf(joined_each.error).any(axis=2).T  # type: ignore[attr-defined]
        own = np.logical_and.reduce(ends)
        self.usable.append(_Usable(own, each))
        precision = self.network.precision(layer)
        for number, expected in enumerate(self.bounded[place].outputs):
            there = self.keras.values[node.name][number]
            part = "" if number == 0 else f" {number}"
            rows = each if there.ndim > 2 else own
            finding, left = compare(there, by_sample(expected), rows)
            if there.ndim < 3:
                own &= left
            if finding.compared:  # else no sample has come so far without an overflow
                yield node.name, f"output{part}", replace(finding, precision=precision)

    def _layer(self, place: int, node: Node) -> tuple[str, Finding | None]:
        """A layer without recurrence, from what Keras fed it with; None where nothing is usable."""
        fed = self._from_sources(place, node)
        flow = self.network.node_shapes[place]
        found, rows = self.keras.values[node.name][0], fed.own
        at_steps = flow.final and node.name in self.keras.each
        if at_steps:
            found = self.keras.each[node.name][0]
        if fed.each is not None and (at_steps or not flow.final):
            rows = fed.each
        elif found.ndim > 2:
            rows = np.broadcast_to(fed.own[:, None], found.shape[:2])
        parts = []
        for part in in_parts(found):
            values = [self._fed(node, tap.node, part) for tap in node.sources]
            made = self._applied(place, node, values, part)
            expected = made.each[0] if at_steps else made.outputs[0]
            parts.append(compare(found[part], by_sample(expected), rows[part], part.start))
        finding, left = together(parts)
        own = left if left.ndim == 1 else left.all(axis=1)
        own = fed.own if at_steps else own
        self.usable.append(_Usable(own & fed.own, left if left.ndim > 1 else fed.each))
        is_output = any(tap.node == place for tap in self.network.outputs)
        what = "y_hat" if is_output else "output"
        what += " at every step" if rows.ndim > 1 else ""
        return what, finding if rows.any() else None

    def _predict(self) -> Iterator[Named]:
        """The model's own output: the last recurrences, by one step each, and the head."""
        network, outputs = self.network, self.keras.outputs
        for number, (tap, found) in enumerate(zip(network.outputs, outputs, strict=True)):
            parts = []
            usable = self.usable[tap.node]
            rows = usable.own if found.ndim < 3 or usable.each is None else usable.each
            if found.ndim > 2 and rows.ndim < 2:
                rows = np.broadcast_to(rows[:, None], found.shape[:2])
            for part in in_parts(found):
                values: dict[int, Value] = {}
                for place in network.head:
                    node = network.nodes[place]
                    p = self._entering(node.layer)
                    sources = [self._source(t.node, values, part, p) for t in node.sources]
                    values[place] = self._applied(place, node, sources, part)
                last = self._precision(network.nodes[tap.node].layer)
                made = self._source(tap.node, values, part, last).outputs[tap.output]
                parts.append(compare(found[part], by_sample(made), rows[part], part.start))
            finding, _ = together(parts)
            if finding.compared:
                which = "own output" if len(outputs) == 1 else f"own output {number}"
                layer = network.nodes[tap.node].layer
                yield "predict", which, replace(finding, precision=network.precision(layer))

    def _source(
        self, place: int, values: Mapping[int, Value], part: slice, precision: Precision
    ) -> Value:
        if place in values:
            return values[place]
        if place in self.bounded:
            return self._cut(self.bounded[place], part)
        return self._cut(self.plain[place], part, precision)

    def _fed(self, node: Node, source: int, part: slice) -> Value:
        """What a layer was fed with: Keras's own numbers, taken as exact.

        A dropout rounds nothing, and is fused with what is in front of it: the numbers that it
        passes on may have been computed anew, within the bound of that layer.
        """
        inner = self.network.nodes[source]
        known = inner.sources and inner.layer.declared_shapes is None
        derived = known and source not in self.bounded
        if getattr(node.layer, "inner", node.layer).output_symbol or not derived:
            return self._cut(self.plain[source], part, self._entering(node.layer))
        values = [self._fed(inner, tap.node, part) for tap in inner.sources]
        return self._applied(source, inner, values, part)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # judged later
    def _applied(self, place: int, node: Node, sources: list[Value], part: slice) -> Value:
        mask = self.plain[place].mask
        after = None if mask is None else mask[:, part]
        w = self.weights[node.group]
        own, inside = self._precision(node.layer), self._inside(node.layer)
        rounded = [_cast(value, self._entering(node.layer)) for value in sources]
        entered = [_cast(value, inside) for value in rounded]
        values = dict(zip((tap.node for tap in node.sources), entered, strict=True))
        flow = self.network.node_shapes[place]
        return _cast(apply(_OPS, node, values, w, after, flow), own)  # type: ignore[arg-type]

    def _precision(self, layer: Layer) -> Precision:
        """The format in which Keras computes a layer."""
        name = self.network.precision(layer)
        if name == "float32" and self.keras.engine.tensor_float_32:
            return TENSOR_FLOAT_32
        return PRECISIONS[name]

    def _entering(self, layer: Layer) -> Precision:
        """The format in which a layer takes its input."""
        return self._precision(layer) if layer.rounds_input else self._inside(layer)

    def _inside(self, layer: Layer) -> Precision:
        """The same, but float32 for a layer that computes in it and rounds only its result."""
        own = self._precision(layer)
        return PRECISIONS["float32"] if layer.upcasts and own.short else own

    def _cut(self, value: Value, part: slice, precision: Precision | None = None) -> Value:
        """Some samples of a node's numbers; those of Keras are exact, in ``precision``."""

        def cut(numbers: Any, *, timed: bool) -> Bounded:
            def pick(array: Array) -> Array:
                return array[:, part] if timed else array[part]

            if precision is not None:
                return Bounded.exact(pick(numbers), precision)
            made: Bounded = numbers.rearranged(pick)
            return made

        each = [None if e is None else cut(e, timed=True) for e in value.each]
        outputs = [
            each[i]
            if own is value.each[i]
            else cut(own, timed=np.ndim(getattr(own, "value", own)) > 2)
            for i, own in enumerate(value.outputs)
        ]
        mask = None if value.mask is None else value.mask[:, part]
        return Value(tuple(outputs), tuple(each), mask)  # type: ignore[arg-type]

    def _exact_weights(self, layer: Layer, weights: SimpleNamespace) -> SimpleNamespace:
        p = self._inside(layer)
        return SimpleNamespace(**{k: Bounded.exact(v, p) for k, v in vars(weights).items()})


def _cast(value: Value, precision: Precision) -> Value:
    """A node's bounded numbers, rounded to another format."""

    def cast(numbers: Any) -> Any:
        return None if numbers is None else numbers.cast(precision)

    outputs = tuple(map(cast, value.outputs))
    each = (
        outputs[i] if i < len(outputs) and e is value.outputs[i] else cast(e)
        for i, e in enumerate(value.each)
    )
    return Value(outputs, tuple(each), value.mask)
