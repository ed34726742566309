"""The one-step residual: Keras's own numbers through the equations, with a bound for each.

States go through one step, and what a layer was fed goes through that layer, in float64. What
Keras has found may be no farther from it than rounding in its precision can have taken it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from rnnshapes.algebra.activations import Array
from rnnshapes.algebra.bounded import PRECISIONS, Bounded, BoundedOps
from rnnshapes.layers.layer import Direction
from rnnshapes.layers.plain import Input
from rnnshapes.layers.recurrent import RecurrentLayer
from rnnshapes.network import Network, Node
from rnnshapes.recurrence import Scan, Value, apply, joined, mask_of
from rnnshapes.reference import Answers
from rnnshapes.tracing import Place
from rnnshapes.weights import Weights, bind

#: About how many numbers are judged at once.
PART = 2**18

_OPS = BoundedOps()


@dataclass(frozen=True)
class Finding:
    """The largest |found - expected| / bound, where it is, and over how many numbers.

    ``overflow`` is the first step from which on a sample is not compared any more.
    """

    ratio: float
    place: Place
    compared: int
    overflow: int | None = None


def findings(
    network: Network, weights: Weights, xs: Sequence[Array], keras: Answers
) -> Iterator[tuple[str, Finding]]:
    """Each finding with its name: by node, in order, and the model's own output last."""
    return _Proof(network, weights, xs, keras).findings()


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
        self, network: Network, weights: Weights, xs: Sequence[Array], keras: Answers
    ) -> None:
        self.network, self.keras = network, keras
        self.precision = PRECISIONS[network.dtype]
        self.weights = {
            name: self._exact_weights(bind(name, weights, "float64")) for name in network.groups
        }
        self.xs = iter(xs)
        self.plain: list[Value] = []
        self.usable: list[_Usable] = []
        self.bounded: dict[int, Value] = {}

    def findings(self) -> Iterator[tuple[str, Finding]]:
        for place, node in enumerate(self.network.nodes):
            self.plain.append(self._plain(place, node))
            if isinstance(node.layer, Input) or node.layer.held_shapes is not None:
                self.usable.append(self._from_sources(place, node))
                continue
            yield from self._mask(place, node)
            if isinstance(node.layer, RecurrentLayer):
                yield from self._recurrence(place, node)
            else:
                name, found = self._layer(place, node)
                if found is not None:
                    yield name, found
        yield from self._predict()

    def _plain(self, place: int, node: Node) -> Value:
        """Keras's own numbers of a node, time-major, with the mask that they should have."""
        timed = isinstance(node.layer, Input) and node.layer.timed
        outputs = (
            (next(self.xs),) if isinstance(node.layer, Input) else self.keras.values[node.name]
        )
        turned = tuple(np.swapaxes(v, 0, 1) if timed or v.ndim > 2 else v for v in outputs)
        each: tuple[Array | None, ...] = tuple(v if timed or v.ndim > 2 else None for v in turned)
        if self.network.flows[place].final and node.name in self.keras.each:
            found = [np.swapaxes(v, 0, 1) for v in self.keras.each[node.name]]
            each = (*found, *each[len(found) :])
        mask = mask_of(node, self.plain)
        if node.layer.held_shapes is not None and node.name in self.keras.masks:
            mask = self.keras.masks[node.name].T
        return Value(turned, each, mask)

    def _from_sources(self, place: int, node: Node) -> _Usable:
        """What is usable of what a node is fed with."""
        first = self.plain[place].outputs[0]
        timed = self.plain[place].each[0] is not None
        n = first.shape[1] if timed and not self.network.flows[place].final else first.shape[0]
        own = np.ones(n, dtype=bool)
        for tap in (*node.sources, *node.initial):
            own &= self.usable[tap.node].own
        steps = self.network.flows[place].steps
        if steps is None:
            return _Usable(own, None)
        t = self.network.count(steps)
        each = np.ones((n, t), dtype=bool)
        for tap in node.sources:
            source = self.usable[tap.node]
            fits = source.each is not None and source.each.shape[1] == t
            each &= source.each if fits and source.each is not None else source.own[:, None]
        return _Usable(own, each)

    def _mask(self, place: int, node: Node) -> Iterator[tuple[str, Finding]]:
        """The mask has to be the one that follows from what the layer was fed."""
        ours, theirs = self.plain[place].mask, self.keras.masks.get(node.name)
        if ours is None and theirs is None:
            return
        if ours is None or theirs is None or ours.T.shape != theirs.shape:
            yield f"{node.name}: mask", Finding(np.inf, Place(0, None, 0), 1)
            return
        wrong = theirs != ours.T
        at = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        ratio = np.inf if wrong.any() else 0.0
        yield f"{node.name}: mask", Finding(ratio, Place(int(at[0]), int(at[1]), 0), wrong.size)

    def _recurrence(self, place: int, node: Node) -> Iterator[tuple[str, Finding]]:
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
            judged = _judge_steps(
                direction,
                x,
                self.keras.states[name],
                self.keras.starts.get(name, {}),
                None if mask is None else mask.T,
                fed.each & fed.own[:, None],
                self.weights[direction.name],
                self.precision,
            )
            for key, found in judged.findings.items():
                yield f"{name}: {key} at every step", found
            emitted[name] = judged.emitted(mask, zero=layer.zero_output_for_mask)
            scans[name] = Scan(judged.last_states(), {}, None)  # type: ignore[arg-type]
            usable.append(judged.usable)
        self.bounded[place] = joined(_OPS, node, emitted, self.plain, scans)
        ends = [u[:, 0 if d.reverse else -1] for u, (_, d) in zip(usable, node.scans, strict=True)]
        flipped = [u[:, ::-1] if f else u for u, f in zip(usable, layer.flips, strict=True)]
        each = np.logical_and.reduce(flipped if layer.return_sequences else usable)
        own = np.logical_and.reduce(ends)
        self.usable.append(_Usable(own, each))
        for number, expected in enumerate(self.bounded[place].outputs):
            there = self.keras.values[node.name][number]
            part = "" if number == 0 else f" {number}"
            rows = each if there.ndim > 2 else own
            if rows.any():  # else no sample has come so far without an overflow
                yield f"{node.name}: output{part}", _compare(there, _by_sample(expected), rows)[0]

    def _layer(self, place: int, node: Node) -> tuple[str, Finding | None]:
        """A layer without recurrence, from what Keras fed it with; None where nothing is usable."""
        fed = self._from_sources(place, node)
        flow = self.network.flows[place]
        found, rows = self.keras.values[node.name][0], fed.own
        at_steps = flow.final and node.name in self.keras.each
        if at_steps:
            found = self.keras.each[node.name][0]
        if fed.each is not None and (at_steps or not flow.final):
            rows = fed.each
        elif found.ndim > 2:
            rows = np.broadcast_to(fed.own[:, None], found.shape[:2])
        parts = []
        for part in _parts(found):
            values = [self._fed(node, tap.node, part) for tap in node.sources]
            made = self._applied(place, node, values, part)
            expected = made.each[0] if at_steps else made.outputs[0]
            parts.append(_compare(found[part], _by_sample(expected), rows[part], part.start))
        finding, left = _together(parts)
        own = left if left.ndim == 1 else left.all(axis=1)
        own = fed.own if at_steps else own
        self.usable.append(_Usable(own & fed.own, left if left.ndim > 1 else fed.each))
        is_output = any(tap.node == place for tap in self.network.outputs)
        what = "y_hat" if is_output else "output"
        name = f"{node.name}: {what}" + (" at every step" if rows.ndim > 1 else "")
        return name, finding if rows.any() else None

    def _predict(self) -> Iterator[tuple[str, Finding]]:
        """The model's own output: the last recurrences, by one step each, and the head."""
        network, outputs = self.network, self.keras.outputs
        for number, (tap, found) in enumerate(zip(network.outputs, outputs, strict=True)):
            parts = []
            usable = self.usable[tap.node]
            rows = usable.own if found.ndim < 3 or usable.each is None else usable.each
            if found.ndim > 2 and rows.ndim < 2:
                rows = np.broadcast_to(rows[:, None], found.shape[:2])
            for part in _parts(found):
                values: dict[int, Value] = {}
                for place in network.head:
                    node = network.nodes[place]
                    sources = [self._source(t.node, values, part) for t in node.sources]
                    values[place] = self._applied(place, node, sources, part)
                made = self._source(tap.node, values, part).outputs[tap.output]
                parts.append(_compare(found[part], _by_sample(made), rows[part], part.start))
            finding, _ = _together(parts)
            if finding.compared:
                which = "own output" if len(outputs) == 1 else f"own output {number}"
                yield f"predict: {which}", finding

    def _source(self, place: int, values: Mapping[int, Value], part: slice) -> Value:
        if place in values:
            return values[place]
        if place in self.bounded:
            return self._cut(self.bounded[place], part, exact=False)
        return self._cut(self.plain[place], part, exact=True)

    def _fed(self, node: Node, source: int, part: slice) -> Value:
        """What a layer was fed with: Keras's own numbers, taken as exact.

        A dropout rounds nothing, and is fused with what is in front of it: the numbers that it
        passes on may have been computed anew, within the bound of that layer.
        """
        inner = self.network.nodes[source]
        derived = inner.sources and inner.layer.held_shapes is None and source not in self.bounded
        if getattr(node.layer, "inner", node.layer).letter or not derived:
            return self._cut(self.plain[source], part, exact=True)
        values = [self._fed(inner, tap.node, part) for tap in inner.sources]
        return self._applied(source, inner, values, part)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")  # judged later
    def _applied(self, place: int, node: Node, sources: list[Value], part: slice) -> Value:
        mask = self.plain[place].mask
        after = None if mask is None else mask[:, part]
        w = self.weights[node.group]
        values = dict(zip((tap.node for tap in node.sources), sources, strict=True))
        flow = self.network.flows[place]
        return apply(_OPS, node, values, w, after, flow)  # type: ignore[arg-type]

    def _cut(self, value: Value, part: slice, *, exact: bool) -> Value:
        """Some samples of a node's numbers."""

        def cut(numbers: Any, *, timed: bool) -> Bounded:
            def pick(array: Array) -> Array:
                return array[:, part] if timed else array[part]

            if exact:
                return Bounded.exact(pick(numbers), self.precision)
            made: Bounded = numbers.over(pick)
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

    def _exact_weights(self, weights: SimpleNamespace) -> SimpleNamespace:
        exact = {key: Bounded.exact(array, self.precision) for key, array in vars(weights).items()}
        return SimpleNamespace(**exact)


@dataclass(frozen=True, eq=False)
class _Steps:
    """How a recurrence was judged; arrays are (N, T, …) by the time of x."""

    findings: dict[str, Finding]
    found: Mapping[str, Array]
    errors: dict[str, Array]
    output: str
    reverse: bool
    usable: Array
    carried: Mapping[str, Array]
    precision: Any

    def emitted(self, mask: Array | None, *, zero: bool) -> Bounded:
        """What it puts out at each step, time-major, with the bound of one step."""
        value, error = self.found[self.output], self.errors[self.output]
        if mask is not None and zero:
            value = np.where(mask.T[..., None], value, 0)
            error = np.where(mask.T[..., None], error, 0)
        turned = [np.swapaxes(part, 0, 1) for part in (value, error)]
        return Bounded(turned[0].astype("float64"), turned[1], self.precision)

    def last_states(self) -> dict[str, Bounded]:
        """The states after each step, time-major, with the bound of one step."""
        return {
            key: Bounded(
                np.swapaxes(values, 0, 1).astype("float64"),
                np.swapaxes(self.errors[key], 0, 1),
                self.precision,
            )
            for key, values in self.carried.items()
        }


@np.errstate(over="ignore", invalid="ignore")  # judged below: inf ends it, NaN fails it
def _judge_steps(
    direction: Direction,
    x: Array,
    found: Mapping[str, Array],
    start: Mapping[str, Array],
    mask: Array | None,
    usable: Array,
    w: SimpleNamespace,
    precision: Any,
) -> _Steps:
    """One step from each of Keras's states, for x (N, T, D), in the order of reading."""
    order = slice(None, None, -1 if direction.reverse else 1)
    n, t = x.shape[:2]
    x, usable = x[:, order], usable[:, order]
    mask = None if mask is None else mask[:, order]
    seen = {key: values[:, order] for key, values in found.items()}
    first = {k: start.get(k, np.zeros_like(v[:, 0])) for k, v in seen.items()}
    carried = {key: _carried(values, first[key], mask) for key, values in seen.items()}
    before = {
        key: np.concatenate([first[key][:, None], values[:, :-1]], axis=1).reshape(n * t, -1)
        for key, values in carried.items()
    }
    errors = {key: np.empty(values.shape) for key, values in seen.items()}
    worst = {key: np.empty((n, t)) for key in seen}
    units = {key: np.zeros((n, t), dtype=np.int64) for key in seen}
    rows = x.reshape(n * t, -1)
    width = max(x.shape[2], *(4 * values.shape[2] for values in seen.values()))
    for at in range(0, n * t, size := max(1, PART // width)):
        part = slice(at, at + size)
        state = {key: Bounded.exact(values[part], precision) for key, values in before.items()}
        xz = direction.cell.project(_OPS, Bounded.exact(rows[part], precision), w)
        made = direction.cell.step(_OPS, xz, state, w)
        for key, expected in made.states.items():
            flat = errors[key].reshape(n * t, -1)
            flat[part] = expected.error
            there = seen[key].reshape(n * t, -1)[part]
            ratio = np.abs(there - expected.value) / expected.error
            units[key].reshape(-1)[part] = np.argmax(ratio, axis=1)
            worst[key].reshape(-1)[part] = np.max(ratio, axis=1)
    left = _left(usable, errors, mask)
    if mask is not None:
        _judge_masked(seen, errors, worst, mask)
    findings = {
        key: _finding(
            worst[key][:, order], units[key][:, order], left[:, order], usable[:, order], v
        )
        for key, v in found.items()
    }
    back = [{k: v[:, order] for k, v in part.items()} for part in (errors, carried)]
    return _Steps(
        *(findings, found, back[0], direction.cell.output_state, direction.reverse),
        *(left[:, order], back[1], precision),
    )


def _carried(values: Array, first: Array, mask: Array | None) -> Array:
    """The states after each step: where one is masked, those of the last that was not."""
    if mask is None:
        return values
    at = np.maximum.accumulate(np.where(mask, np.arange(mask.shape[1]), -1), axis=1)
    kept = np.take_along_axis(values, np.maximum(at, 0)[..., None], axis=1)
    return np.where((at < 0)[..., None], first[:, None], kept)


def _left(usable: Array, errors: Mapping[str, Array], mask: Array | None) -> Array:
    """Which steps can be compared: none behind an overflow of the same sample."""
    lost = np.logical_or.reduce([np.isinf(error).any(axis=2) for error in errors.values()])
    lost = lost if mask is None else lost & mask
    made: Array = ~np.logical_or.accumulate(lost | ~usable, axis=1)
    return made


def _judge_masked(
    seen: Mapping[str, Array],
    errors: Mapping[str, Array],
    worst: Mapping[str, Array],
    mask: Array,
) -> None:
    """A masked step puts out exactly what the last one did that was not, or zeros before it."""
    for key, values in seen.items():
        zeros = np.zeros_like(values[:, 0])
        wanted = _carried(values, zeros, mask)
        apart = np.where((values == wanted).all(axis=2), 0.0, np.inf)
        worst[key][~mask] = apart[~mask]
        errors[key][...] = _carried(errors[key], zeros, mask)


def _finding(worst: Array, units: Array, left: Array, usable: Array, found: Array) -> Finding:
    worst = np.where(left, worst, -1.0)
    at = np.unravel_index(int(np.argmax(worst)), worst.shape)
    place = Place(int(at[0]), int(at[1]), int(units[at]))
    compared = int(left.sum()) * found.shape[2]
    ended = (usable & ~left).any(axis=0)
    overflow = int(np.argmax(ended)) if ended.any() else None
    return Finding(float(worst[at]), place, compared, overflow)


def _parts(found: Array) -> list[slice]:
    """The samples in parts of which the numbers fit into the cache."""
    size = max(1, PART // max(1, found[0].size))
    return [slice(start, start + size) for start in range(0, len(found), size)]


def _by_sample(expected: Any) -> Bounded:
    """Bounded numbers with the samples first."""
    made: Bounded = _OPS.turned(expected) if _OPS.rank(expected) > 2 else expected
    return made


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def _compare(found: Array, expected: Bounded, rows: Array, start: int = 0) -> tuple[Finding, Array]:
    """What was found against what was expected, where ``rows`` can be used, and what is left."""
    inner = tuple(range(rows.ndim, found.ndim))
    p = expected.precision
    error = expected.error + p.tiny  # what is only moved has none, and a ratio needs one
    error = np.broadcast_to(error, found.shape)
    lost = np.isinf(error).any(axis=inner)
    left = rows & ~lost
    ratio = np.abs(found - expected.value) / error
    ratio = np.where(left.reshape(left.shape + (1,) * len(inner)), ratio, -1.0)
    at = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    t = int(at[1]) if rows.ndim > 1 else None
    unit = int(np.ravel_multi_index(at[rows.ndim :], found.shape[rows.ndim :]))
    place = Place(start + int(at[0]), t, unit)
    compared = int(left.sum()) * int(np.prod(found.shape[rows.ndim :]))
    ended = (rows & ~left).any(axis=0) if rows.ndim > 1 else np.zeros(1, bool)
    overflow = int(np.argmax(ended)) if ended.any() else None
    return Finding(float(ratio[at]), place, compared, overflow), left


def _together(parts: Sequence[tuple[Finding, Array]]) -> tuple[Finding, Array]:
    """The findings of several parts of the samples as one; the first NaN is the worst."""
    found = [finding for finding, _ in parts]
    nan = next((f for f in found if np.isnan(f.ratio)), None)
    worst = nan or max(found, key=lambda f: f.ratio)
    steps = [f.overflow for f in found if f.overflow is not None]
    whole = Finding(
        worst.ratio, worst.place, sum(f.compared for f in found), min(steps, default=None)
    )
    return whole, np.concatenate([left for _, left in parts])
