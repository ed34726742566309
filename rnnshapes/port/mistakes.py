"""Known mistakes of ports: each turns a hypothesis about a port into another one.

Sources: the documentation of torch.nn.LSTM and torch.nn.GRU, of ONNX's LSTM and GRU, and of
Keras 1 and 2. Mistakes in the equation of one cell are in the cell's own module
(:class:`rnnshapes.cells.cell.Variant`), mistakes about time in
:mod:`rnnshapes.port.time_mistakes`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from rnnshapes.cells.cell import BaseCell, Cell
from rnnshapes.layouts.frameworks import frameworks_by_order
from rnnshapes.network.graph import Network
from rnnshapes.network.layers.base import Direction
from rnnshapes.network.layers.rnn import RecurrentLayer
from rnnshapes.ops.activations import Array
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID
from rnnshapes.ops.precision import PRECISIONS
from rnnshapes.port import (
    axes_mistakes,
    clipping_mistakes,
    exactness_mistakes,
    layer_mistakes,
    misread_arrays,
    state_mistakes,
    time_mistakes,
    topology_mistakes,
)
from rnnshapes.port.exactness_mistakes import multiples_of
from rnnshapes.port.hypothesis import CellChange, Hypothesis, Mistake, Where, recast
from rnnshapes.port.screening import expected_quantities

Arrays = dict[str, Array]
_FORTRAN = "read column by column (Fortran order)"
_FLAT = "a flat buffer of (columns, rows), as PyTorch stores it, read as (rows, columns)"
#: The arrays of a cell in Keras, by their keys.
ARRAY_NAMES = {"Wx": "kernel", "Wh": "recurrent_kernel", "bh": "bias"}


def hypotheses(
    base: Hypothesis,
    *,
    after: str | None = None,
    rare: bool = False,
    in_head: bool | None = None,
) -> Iterator[Hypothesis]:
    """Yield the hypothesis with one more mistake, of each family of which it has none yet.

    Args:
        base: The hypothesis.
        after: The name of a family: only mistakes of the families after it are added. Two
            mistakes are so combined in one order alone.
        rare: False for common mistakes, which all cells make alike, and which are tried in pairs,
            too; true for those that are tried alone: rare mistakes, and common ones that the
            cells of one layer or direction make, and no others.
        in_head: True for mistakes that leave all values before the head as they are, false for
            all others; None for both.
    """
    first = 0 if after is None else FAMILIES.index(after) + 1
    for family in _FAMILIES[first:]:
        if family.name in base.families or in_head not in (None, family.in_head):
            continue
        scopes: list[frozenset[str] | None] = [None] if rare != family.combined else []
        if rare and family.of_cells:
            scopes += _scopes(base)
        seen: set[tuple[str, frozenset[str]]] = set()
        if rare and scopes and family.combined:  # those of all cells were yielded as not rare
            seen |= {(m.text, changed.touched) for m, changed in family.variations(base)}
        for scope in scopes:
            for mistake, changed in family.variations(replace(base, scope=scope)):
                if family.of_cells:
                    if (mistake.text, changed.touched) in seen:
                        continue
                    seen.add((mistake.text, changed.touched))
                    located = _located(mistake, changed)
                else:
                    located = mistake
                one = changed.with_mistake(family.name, located)
                yield one if family.cost is None else replace(one, cost=family.cost(one))


def array_mistakes(base: Hypothesis, group: str) -> Iterator[tuple[Mistake, Arrays]]:
    """Yield each mistake about the arrays of one cell, and the arrays that it makes of them."""
    alone = replace(base, scope=frozenset([group]))
    expected = base.weights[group]
    for family in _FAMILIES:
        if family.of_arrays:
            for mistake, changed in family.variations(alone):
                made = changed.weights[group]
                arrays = {k: a for k, a in made.items() if not np.array_equal(a, expected[k])}
                yield _located(mistake, changed), arrays


def _directions(hypothesis: Hypothesis) -> list[Direction]:
    return [d for node in hypothesis.network.recurrent for _, d in node.scans]


def _scopes(hypothesis: Hypothesis) -> list[frozenset[str]]:
    """Return the groups of weights of each layer, and of each direction, but not all of them."""
    layers = {node.layer.name: node.layer.directions for node in hypothesis.network.recurrent}
    scopes = [frozenset(d.name for d in directions) for directions in layers.values()]
    every: frozenset[str] = frozenset().union(*scopes)
    scopes += [frozenset([name]) for name in sorted(every)]
    return [scope for scope in dict.fromkeys(scopes) if scope != every]


def _located(mistake: Mistake, changed: Hypothesis) -> Mistake:
    """Return a mistake of cells with the layer and the direction that make it, if one does."""
    layers = {node.layer.name: node.layer for node in changed.network.recurrent}
    touched = {
        name: [d for d in layer.directions if d.name in changed.touched]
        for name, layer in layers.items()
    }
    concerned = [name for name, directions in touched.items() if directions]
    if len(concerned) != 1:
        return mistake
    (name,) = concerned
    where, text = mistake.where._replace(layer=name), mistake.text
    directions, label = layers[name].directions, name
    if len(touched[name]) < len(directions):
        (direction,) = touched[name]
        way = "backward" if direction is directions[1] else "forward"
        where, label = where._replace(direction=way), direction.name
    if where.direction or len(layers) > 1:
        text = f"{text}, in {label} alone"
    return mistake._replace(where=where, text=text)


# --- Cells and their weights --------------------------------------------------------------------


def _with_change(hypothesis: Hypothesis, change: CellChange) -> Hypothesis | None:
    """Return the hypothesis with every cell changed, or ``None`` where nothing changes."""
    weights = dict(hypothesis.weights)
    cells: dict[str, BaseCell] = {}
    touched = set()
    # A layer that is called again has the same cell each time.
    for name, direction in {one.name: one for one in _directions(hypothesis)}.items():
        if not hypothesis.concerns(name):
            continue
        cell, changed = _changed_cell(direction, weights[name], change)
        if _differ(changed, weights[name]):
            weights[name] = {**weights[name], **changed}
            touched.add(name)
        if cell is not direction.cell and cell != direction.cell:
            touched.add(name)
            cells[name] = cell
    if not touched:
        return None
    network = _with_cells(hypothesis.network, cells) if cells else hypothesis.network
    return replace(hypothesis, network=network, weights=weights, touched=frozenset(touched))


def _with_cells(network: Network, cells: Mapping[str, BaseCell]) -> Network:
    """Return the network with other cells, by the names of their directions."""

    def direction_of(direction: Direction) -> Direction:
        return replace(direction, cell=cells.get(direction.name, direction.cell))

    nodes = [
        replace(node, layer=node.layer.map_directions(direction_of))
        if isinstance(node.layer, RecurrentLayer)
        else node
        for node in network.nodes
    ]
    return network.with_nodes(tuple(nodes))


def _changed_cell(
    direction: Direction, weights: Mapping[str, Array], change: CellChange
) -> tuple[BaseCell, Arrays]:
    """Return the changed cell of a direction, and the weights that are changed."""
    cells: dict[str, Cell] = {}
    changed_weights: Arrays = {}
    for suffix, cell in direction.cell.cells_by_suffix.items():
        keys = [key.removesuffix(suffix) for key in weights if key.endswith(suffix)]
        # A port adds to a bias in its own arithmetic, which may be float64.
        arrays = {key: np.asarray(weights[key + suffix], np.float64) for key in keys}
        changed = change(cell, dict(arrays))
        cells[suffix] = cell if changed is None else changed[0]
        if changed is not None:
            changed_weights |= {
                key + suffix: array
                for key, array in changed[1].items()
                if array is not arrays.get(key)
            }
    remaining = iter(cells.values())
    return direction.cell.map_cells(lambda _: next(remaining)), changed_weights


def _differ(some: Mapping[str, Array], others: Mapping[str, Array]) -> bool:
    """Return whether any array differs from that of the same key among the others."""
    return any(
        others[key] is not a and not np.array_equal(others[key], a) for key, a in some.items()
    )


def _cells(hypothesis: Hypothesis) -> Iterator[Cell]:
    """Yield each kind of cell once."""
    seen = set()
    for node in hypothesis.network.recurrent:
        for _, direction in node.scans:
            if not hypothesis.concerns(direction.name):
                continue
            for cell in direction.cell.cells_by_suffix.values():
                if (key := (type(cell), *cell.keras_options.values())) not in seen:
                    seen.add(key)
                    yield cell


def _changed(
    hypothesis: Hypothesis, changes: Iterable[tuple[Mistake, CellChange]]
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Yield each mistake that changes at least one cell."""
    for mistake, change in changes:
        changed = _with_change(hypothesis, change)
        if changed is not None:
            yield mistake, changed


def _gate_orders(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the gates in every other order."""
    gated = {cell.gate_names: cell.name for cell in _cells(hypothesis) if cell.gate_names}
    for gates, name in gated.items():
        frameworks = frameworks_by_order(name)
        for order in itertools.permutations(gates):
            if order != gates:
                owners = ", ".join(f"{owner}'s" for owner in frameworks.get(order, ()))
                whose = f" ({owners})" if owners else ""
                read, right = ", ".join(order), ", ".join(gates)
                text = f"the gates are read as {read}{whose}; Keras has {right}"
                mistake = Mistake("gates.order", text, Where(), _reordering(gates, order, "W"))
                yield from _changed(hypothesis, [(mistake, _reordered(gates, order))])


def _gate_orders_of_arrays(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the gates of one array in every other order."""
    for gates in {cell.gate_names for cell in _cells(hypothesis) if cell.gate_names}:
        for order in itertools.permutations(gates):
            for key, name in ARRAY_NAMES.items() if order != gates else ():
                read, right = ", ".join(order), ", ".join(gates)
                text = f"the gates of {name} are read as {read}; Keras has {right}"
                fix = _reordering(gates, order, name)
                mistake = Mistake(f"gates.order.{name}", text, Where(array=name), fix)
                yield from _changed(hypothesis, [(mistake, _reordered(gates, order, key))])


def _reordering(gates: tuple[str, ...], order: tuple[str, ...], name: str) -> str:
    """Return code that reorders Keras's blocks into the order that the port reads."""
    positions = tuple(gates.index(gate) for gate in order)
    array = "each array W" if name == "W" else name
    blocks = f"np.split({name}, {len(gates)}, -1)"
    return f"replace {array} by np.concatenate([{blocks}[k] for k in {positions}], -1)"


def _reordered(gates: tuple[str, ...], order: tuple[str, ...], only: str = "") -> CellChange:
    """Return a change that takes for each gate the block where ``order`` has it.

    ``only`` is the key of the one array that is read so; by default all are.
    """
    positions = [order.index(gate) for gate in gates]

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if cell.gate_names != gates:
            return None
        return cell, {
            key: a.reshape(*a.shape[:-1], len(gates), -1)[..., positions, :].reshape(a.shape)
            if only in ("", key)
            else a
            for key, a in arrays.items()
        }

    return change


def _layouts(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Read the kernels transposed, column by column, or as flat buffers of their transposes."""
    names = {key: name for key, name in ARRAY_NAMES.items() if key != "bh"}
    gated = any(cell.gate_names for cell in _cells(hypothesis))
    for key, name in names.items():
        where = Where(array=name)
        transposed = Mistake("layout.transposed", f"{name} is transposed", where)
        yield from _changed(hypothesis, [(transposed, _transposed(key))])
        # One square block that is read column by column is a transposed one.
        if gated or key == "Wx":
            fortran = Mistake("layout.fortran", f"{name} is {_FORTRAN}", where)
            yield from _changed(hypothesis, [(fortran, _each_array(_by_columns, key))])
            flat = Mistake("layout.flat_buffer", f"{name} is {_FLAT}", where)
            yield from _changed(hypothesis, [(flat, _each_array(_as_flat, key))])
    for id_, how, read in (
        ("layout.fortran", _FORTRAN, _by_columns),
        ("layout.flat_buffer", _FLAT, _as_flat),
    ):
        kernels = _with_change(hypothesis, _each_array(read, *names))
        if gated and kernels is not None:
            yield Mistake(id_, f"kernel and recurrent_kernel are {how}"), kernels
        if hypothesis.scope is None and (dense := _dense_names(hypothesis)):
            kernels = kernels or hypothesis
            weights = dict(kernels.weights)
            for name in dense:
                weights[name] = {**weights[name], "W": read(weights[name]["W"])}
            every = replace(kernels, weights=weights, touched=frozenset())
            yield Mistake(id_, f"every kernel is {how}"), every


def _interleaved(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take the gates of each unit side by side, where Keras has blocks, or the reverse."""
    for read, sizes, text in (
        (
            _unit_by_unit,
            "G, M",
            "the gates are read interleaved by unit, but stored as one block per gate",
        ),
        (
            _gate_by_gate,
            "M, G",
            "the gates are read as one block per gate, but stored interleaved by unit",
        ),
    ):
        fix = f"W = W.reshape(*W.shape[:-1], {sizes}).swapaxes(-1, -2).reshape(W.shape)"
        for keys in (tuple(ARRAY_NAMES), ("Wx", "Wh"), ("Wx",), ("Wh",), ("bh",)):
            names = " and ".join(ARRAY_NAMES[key] for key in keys)
            where = Where(array=names if len(keys) == 1 else None)
            what = "" if len(keys) == len(ARRAY_NAMES) else f", in {names}"
            mistake = Mistake("layout.interleaved", f"{text}{what}", where, fix)
            yield from _changed(hypothesis, [(mistake, _each_block(read, *keys))])


def _misread_parts(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Read blocks, columns or rows at the wrong index, or one kernel for the other."""
    for gates in {cell.gate_names for cell in _cells(hypothesis) if cell.gate_names}:
        yield from _changed(hypothesis, misread_arrays.repeated_gates(gates, ARRAY_NAMES))
    yield from _changed(hypothesis, misread_arrays.shifted_arrays(ARRAY_NAMES))
    text = "kernel and recurrent_kernel are exchanged: Wx multiplies h, and Wh multiplies x"
    exchanged = Mistake("layout.kernels_exchanged", text)
    yield from _changed(hypothesis, [(exchanged, misread_arrays.exchanged_kernels)])


def _dense_names(hypothesis: Hypothesis) -> list[str]:
    """Return the names of the layers after the last recurrence that have a matrix."""
    network, weights = hypothesis.network, hypothesis.weights
    names = dict.fromkeys(network.nodes[position].layer.name for position in network.head)
    matrices = {name: weights.get(name, {}).get("W") for name in names}
    return [name for name, matrix in matrices.items() if matrix is not None and matrix.ndim == 2]


def _by_columns(values: Array) -> Array:
    """Return a matrix whose rows were written and are read as its columns."""
    return values.reshape(values.shape[::-1]).T


def _as_flat(values: Array) -> Array:
    """Return a matrix whose columns were written and are read as its rows."""
    return np.ascontiguousarray(values.T).reshape(values.shape)


def _unit_by_unit(values: Array, gates: int) -> Array:
    """Return what a port takes for blocks (…, G M) that reads blocks as gates unit by unit."""
    parts = values.reshape(*values.shape[:-1], -1, gates)
    return np.swapaxes(parts, -1, -2).reshape(values.shape)


def _gate_by_gate(values: Array, gates: int) -> Array:
    """Return what a port takes for blocks (…, G M) that reads gates unit by unit as blocks."""
    parts = values.reshape(*values.shape[:-1], gates, -1)
    return np.swapaxes(parts, -1, -2).reshape(values.shape)


def _each_block(read: Callable[[Array, int], Array], *keys: str) -> CellChange:
    """Return a change that reads some arrays of a gated cell in another order."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if not cell.gate_names:
            return None
        count = len(cell.gate_names)
        changed = {key: read(arrays[key], count) for key in keys if key in arrays}
        return cell, {**arrays, **changed}

    return change


def _transposed(key: str) -> CellChange:
    """Return a change that transposes each gate's block of one kernel."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        count = max(1, len(cell.gate_names))
        if arrays[key].shape[0] * count != arrays[key].shape[1]:
            return None  # its blocks are not square
        transposed = [block.T for block in np.split(arrays[key], count, axis=1)]
        return cell, {**arrays, key: np.concatenate(transposed, axis=1)}

    return change


def _each_array(read: Callable[[Array], Array], *keys: str) -> CellChange:
    """Return a change that reads some kernels in another order."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        return cell, {**arrays, **{key: read(arrays[key]) for key in keys}}

    return change


def _biases(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave the bias out, add it twice, or make a mistake about the bias of one cell."""

    def scaled(factor: int) -> CellChange:
        def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
            return (cell, {**arrays, "bh": arrays["bh"] * factor}) if cell.use_bias else None

        return change

    changes = [
        (Mistake("bias.omitted", "the bias of the recurrent layer is left out"), scaled(0)),
        (Mistake("bias.twice", "the bias of the recurrent layer is added twice"), scaled(2)),
    ]
    yield from _changed(hypothesis, changes)
    yield from _variants(hypothesis, "bias")


def _variants(hypothesis: Hypothesis, family: str) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Yield the mistakes of one family that the cells themselves list."""
    for kind in _cells(hypothesis):
        for variant in kind.variants:
            if variant.family == family:
                mistake = Mistake(variant.id, variant.text)
                yield from _changed(hypothesis, [(mistake, _varied(kind, mistake))])


def _varied(kind: Cell, mistake: Mistake) -> CellChange:
    """Return a change to the variant with this mistake, for cells of the same class as ``kind``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if type(cell) is not type(kind):
            return None
        for variant in cell.variants:
            if (variant.id, variant.text) == (mistake.id, mistake.text):
                return variant.cell, variant.arrays(arrays)
        return None

    return change


#: Activations that ports have in place of the right one, by option of the cell.
_OTHER_ACTIVATIONS = {
    "activation": ("tanh", "relu", "linear", "sigmoid", "hard_tanh", "softsign", "elu"),
    "recurrent_activation": ("sigmoid", "hard_sigmoid", KERAS2_HARD_SIGMOID, "tanh", "linear"),
}
_ACTIVATION_TEXTS = {
    "hard_sigmoid": "Keras 3's hard_sigmoid, clip(z/6 + 0.5)",
    KERAS2_HARD_SIGMOID: "the older hard_sigmoid, clip(0.2 z + 0.5)",
    "linear": "none (linear)",
}


def _activations(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation of the state, or exchange it with that of the gates."""
    yield from _other_activations(hypothesis, "activation")
    text = "activation and recurrent_activation are exchanged"
    yield from _changed(hypothesis, [(Mistake("activation.exchanged", text), _exchanged)])


def _gate_activations(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation of the gates."""
    yield from _other_activations(hypothesis, "recurrent_activation")


def _other_activations(hypothesis: Hypothesis, option: str) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Replace the activation that an option of the cell names by each other one."""
    cells = [cell for cell in _cells(hypothesis) if option in cell.keras_options]
    right = dict.fromkeys(str(cell.keras_options[option]) for cell in cells)
    whose = " or ".join(_ACTIVATION_TEXTS.get(name, name) for name in right)
    for name in _OTHER_ACTIVATIONS[option]:
        text = f"{option} is {_ACTIVATION_TEXTS.get(name, name)}, not {whose}"
        mistake = Mistake("activation.other", text)
        yield from _changed(hypothesis, [(mistake, _activated(option, name))])


def _activated(option: str, name: str) -> CellChange:
    """Return a change of one option to the activation ``name``."""

    def change(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
        if cell.keras_options.get(option, name) == name:
            return None
        options: dict[str, Any] = {option: name}
        return replace(cell, **options), arrays

    return change


def _exchanged(cell: Cell, arrays: Arrays) -> tuple[Cell, Arrays] | None:
    """Return the cell with its two activations exchanged, if it has two that differ."""
    options = cell.keras_options
    inner, outer = options.get("recurrent_activation"), options["activation"]
    if inner in (None, outer):
        return None
    exchanged: dict[str, Any] = {"activation": inner, "recurrent_activation": outer}
    return replace(cell, **exchanged), arrays


# --- Layers after the last recurrence -----------------------------------------------------------


#: Activations that ports have after the last layer.
_HEAD_ACTIVATIONS = ("linear", "softmax", "sigmoid", "tanh", "relu")


def _heads(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave out the bias or the activation of a layer of the head, or misread its kernel."""
    for position in hypothesis.network.head:
        layer = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        arrays = dict(hypothesis.weights.get(name, {}))
        changes: list[tuple[Mistake, Arrays]] = []
        if "b" in arrays:
            at = where._replace(array="bias")
            mistake = Mistake("head.bias", f"the bias of {name} is left out", at)
            changes.append((mistake, {"b": arrays["b"] * 0}))
        kernel = arrays.get("W")
        if kernel is not None and kernel.ndim == 2:
            square = kernel.shape[0] == kernel.shape[1]
            id_, how, fix = (
                ("layout.transposed", "transposed", "W = W.T")
                if square
                else ("layout.fortran", _FORTRAN, "")
            )
            at = where._replace(array="kernel")
            mistake = Mistake(id_, f"the kernel of {name} is {how}", at, fix)
            changes.append((mistake, {"W": _by_columns(kernel)}))
        for mistake, changed in changes:
            if _differ(changed, {key: arrays[key] for key in changed}):
                weights = {**hypothesis.weights, name: {**arrays, **changed}}
                yield mistake, replace(hypothesis, weights=weights)
        if layer.activations not in ((), ("linear",)) and hasattr(layer, "activation"):
            text = f"the activation of {name} ({layer.activations[0]}) is left out"
            linear: dict[str, Any] = {"activation": "linear"}
            changed_layer: Any = replace(layer, **linear)
            mistake = Mistake("head.activation", text, where)
            yield mistake, hypothesis.with_layer(position, changed_layer)


def _other_heads(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Use another activation after the head, use it twice, or read its arrays otherwise."""
    for position in hypothesis.network.head:
        layer: Any = hypothesis.network.nodes[position].layer
        name, where = layer.name, Where(layer=layer.name)
        arrays = dict(hypothesis.weights.get(name, {}))
        if len(layer.activations) == 1 and hasattr(layer, "activation"):
            right = layer.activation
            more = ("log_softmax",) if right == "softmax" else ()
            for other in (*_HEAD_ACTIVATIONS, *more):
                if other not in (right, "linear"):
                    text = f"the activation of {name} is {other}, not {right}"
                    mistake = Mistake("head.activation", text, where)
                    changed = replace(layer, activation=other)
                    yield mistake, hypothesis.with_layer(position, changed)
            if right != "linear":
                text = f"the activation of {name} ({right}) is used twice"
                twice = recast(layer, call=_activated_again(type(layer)))
                mistake = Mistake("head.activation", text, where)
                yield mistake, hypothesis.with_layer(position, twice)
        for mistake, changed_arrays in _other_head_arrays(arrays, where):
            weights = {**hypothesis.weights, name: {**arrays, **changed_arrays}}
            yield mistake, replace(hypothesis, weights=weights)
        if layer.type == "BatchNormalization":
            yield from _other_normalizations(hypothesis, position)


def _other_head_arrays(arrays: Arrays, where: Where) -> Iterator[tuple[Mistake, Arrays]]:
    """Add the bias twice or at other outputs, or read the kernel otherwise, or rounded to int8."""
    if "b" in arrays:
        bias, at = f"the bias of {where.layer} is", where._replace(array="bias")
        yield Mistake("head.bias", f"{bias} added twice", at), {"b": arrays["b"] * 2}
        for shift in (1, -1) if arrays["b"].shape[-1] > 1 else ():
            fix = "add bias[k] to output k"
            shifted = np.roll(arrays["b"], shift, axis=-1)
            yield Mistake("head.bias", f"{bias} shifted by {shift}", at, fix), {"b": shifted}
    if "W" in arrays and arrays["W"].ndim == 2:
        kernel, at = f"the kernel of {where.layer} is", where._replace(array="kernel")
        if arrays["W"].shape[0] != arrays["W"].shape[1]:
            mistake = Mistake("layout.flat_buffer", f"{kernel} {_FLAT}", at)
            yield mistake, {"W": _as_flat(arrays["W"])}
        for per_column, scale in ((False, "the array"), (True, "each column")):
            text = f"{kernel} rounded to int8 (one scale for {scale})"
            rounded = on_grid(8, per_column=per_column)(arrays["W"])
            yield Mistake("weights.quantized", text, at), {"W": rounded}


def _other_normalizations(
    hypothesis: Hypothesis, position: int
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Leave a BatchNormalization out, or give it another epsilon."""
    layer: Any = hypothesis.network.nodes[position].layer
    where = Where(layer=layer.name)
    with_epsilon = f"sqrt(var + {layer.epsilon:g})"
    fix = f"y = gamma * (x - mean) / {with_epsilon} + beta, with the stored mean and var"
    mistake = Mistake("head.batchnorm", f"{layer.name} is left out", where, fix)
    yield mistake, _without_normalization(hypothesis, layer.name)
    for epsilon in (1e-5, 1e-3, 0.0):
        if epsilon != layer.epsilon:
            text = f"epsilon of {layer.name} is {epsilon:g}, not {layer.epsilon:g}"
            changed = hypothesis.with_layer(position, replace(layer, epsilon=epsilon))
            yield Mistake("head.batchnorm", text, where, fix), changed


def _without_normalization(hypothesis: Hypothesis, name: str) -> Hypothesis:
    """Return the hypothesis with a BatchNormalization that changes nothing."""
    layer: Any = next(la for la in hypothesis.network.layers if la.name == name)
    neutral = {"gamma": 1.0, "beta": 0.0, "mean": 0.0, "var": 1.0 - layer.epsilon}
    arrays = {
        key: np.full_like(a, neutral[key]) if key in neutral else a
        for key, a in hypothesis.weights[name].items()
    }
    return replace(hypothesis, weights={**hypothesis.weights, name: arrays})


def _activated_again(kind: type[Any]) -> Callable[..., Any]:
    """Return the call of a layer, followed by its activation once more."""

    def call(self: Any, ops: Any, *arguments: Any) -> Any:
        return ops.activate(self.activation, kind.call(self, ops, *arguments))

    return call


# --- States --------------------------------------------------------------------------------------


def _states(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take zeros for the states before each step, or for one of them."""
    keys = dict.fromkeys(key for cell in _cells(hypothesis) for key in cell.state_names)
    yield from _changed(hypothesis, state_mistakes.zeroed_states(tuple(keys)))
    yield from _changed(hypothesis, state_mistakes.omitted_units())
    yield from _changed(hypothesis, state_mistakes.cell_state_passed_on())


def _steps_of_units(hypothesis: Hypothesis) -> float:
    """Return how many steps a step takes in which the touched cells compute each unit alone."""
    groups = [hypothesis.weights[name] for name in hypothesis.touched]
    return 1.0 + max(len(a) for group in groups for key, a in group.items() if "Wh" in key)


def _clipped(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Clip the states or the arguments of activations of all cells, one layer or one direction."""
    group = {name: d.name for node in hypothesis.network.recurrent for name, d in node.scans}
    largest: dict[str, dict[str, float]] = {name: {} for name in group.values()}
    recorded = hypothesis
    for name, numbers in largest.items():
        alone = replace(recorded, scope=frozenset([name]))
        recorded = _with_change(alone, clipping_mistakes.recorded(numbers)) or recorded
    with np.errstate(over="ignore", invalid="ignore"):
        list(expected_quantities(recorded))
    seen: set[tuple[str, frozenset[str]]] = set()
    for scope in (None, *_scopes(hypothesis)):
        scoped = replace(hypothesis, scope=scope)
        computed = [numbers for name, numbers in largest.items() if scoped.concerns(name)]
        reported = [q for q in hypothesis.quantities if q.key and scoped.concerns(group[q.name])]
        for mistake, changed in _changed(scoped, clipping_mistakes.clipped(computed, reported)):
            if (mistake.text, changed.touched) not in seen:
                seen.add((mistake.text, changed.touched))
                yield _located(mistake, changed), changed


# --- All families -------------------------------------------------------------------------------


def _other_quantities(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take an array without a name for another quantity of the same shape, or h for c."""
    quantities = hypothesis.quantities
    if len(quantities) == 1:
        (quantity,) = quantities
        for other in quantity.alternatives:
            text = f"the array is not {quantity.text}, but {other.text}"
            yield Mistake("quantity.other", text), replace(hypothesis, quantities=(other,))
    yield from _swapped_states(hypothesis)


def _swapped_states(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Take h for c, and c for h, of every LSTM of which the port gives both."""
    by_name = {(q.name, q.key): q for q in hypothesis.quantities}
    swapped = []
    for quantity in hypothesis.quantities:
        other = by_name.get((quantity.name, {"h": "c", "c": "h"}.get(quantity.key, "")))
        if quantity.key and (other is None or other.values.shape != quantity.values.shape):
            return
        swapped.append(quantity if other is None else replace(other, key=quantity.key))
    if any(quantity.key for quantity in swapped):
        mistake = Mistake("state.h_c_swapped", "h and c are exchanged in what the port gives")
        yield mistake, replace(hypothesis, quantities=tuple(swapped))


def _rounded_weights(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Round every weight to float16 or bfloat16."""
    for dtype in ("float16", "bfloat16"):
        mistake = Mistake(f"weights.{dtype}", f"the weights are rounded to {dtype}")
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded)


def _quantized_weights(hypothesis: Hypothesis) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Round the weights of the recurrences to 16-bit numbers, or all to a grid of integers."""
    for dtype in ("float16", "bfloat16"):
        text = f"the weights of the recurrence are rounded to {dtype}"
        mistake = Mistake(f"weights.{dtype}", text)
        yield from _rounded(hypothesis, mistake, PRECISIONS[dtype].rounded, cells=True)
    for bits, per_column, biases, cells in itertools.product(
        (8, 16), (False, True), (True, False), (True, False)
    ):
        what = "the weights of the recurrence" if cells else "all weights"
        scale = "one scale for each column" if per_column else "one scale for each array"
        kept = "" if biases else ", the biases are not"
        text = f"{what} are rounded to int{bits} ({scale}){kept}"
        mistake = Mistake("weights.quantized", text)
        grid = on_grid(bits, per_column=per_column)
        yield from _rounded(hypothesis, mistake, grid, cells=cells, biases=biases)
    for unit, what in _STEPS_OF_WEIGHTS.items():
        for cells in (True, False):
            whose = "the weights of the recurrence" if cells else "all weights"
            mistake = Mistake("weights.quantized", f"{whose} are rounded to {what}")
            yield from _rounded(hypothesis, mistake, multiples_of(unit), cells=cells)


#: Steps to which ports round weights, in words: printed digits, and fractional bits.
_STEPS_OF_WEIGHTS = {
    **{10.0**-digits: f"{digits} decimal places" for digits in (2, 3, 4, 5)},
    **{2.0**-bits: f"{bits} fractional bits" for bits in (6, 7, 8, 10, 11, 12, 15)},
}


def on_grid(bits: int, *, per_column: bool) -> Callable[[Array], Array]:
    """Return a function that rounds an array to integers of so many bits times a scale."""

    def rounded(values: Array) -> Array:
        axis = 0 if per_column and values.ndim > 1 else None
        largest = np.max(np.abs(values), axis=axis, keepdims=True, initial=1e-30)
        scale = largest / (2 ** (bits - 1) - 1)
        return np.asarray(np.rint(values / scale) * scale)

    return rounded


def _rounded(
    hypothesis: Hypothesis,
    mistake: Mistake,
    rounded: Callable[[Array], Array],
    *,
    cells: bool = False,
    biases: bool = True,
) -> Iterator[tuple[Mistake, Hypothesis]]:
    """Round the weights, or those of cells alone, with or without the biases."""
    groups = {direction.name for direction in _directions(hypothesis)}
    kept = set() if biases else set(_biases_of(hypothesis))
    weights = {
        group: {
            key: rounded(np.asarray(a, np.float64))
            if (group in groups or not cells) and (group, key) not in kept
            else a
            for key, a in arrays.items()
        }
        for group, arrays in hypothesis.weights.items()
    }
    if any(_differ(weights[group], arrays) for group, arrays in hypothesis.weights.items()):
        yield mistake, replace(hypothesis, weights=weights)


def _biases_of(hypothesis: Hypothesis) -> Iterator[tuple[str, str]]:
    """Yield the group and the key of every bias; of stacked cells its name has the cell's first."""
    for layer in hypothesis.network.layers:
        for group, weights in layer.groups.items():
            for weight in weights:
                if weight.name.rpartition("/")[2] == "bias":
                    yield group, weight.key


#: Yields the mistakes of one kind that a network allows, each with the changed hypothesis.
Variations = Callable[[Hypothesis], Iterator[tuple[Mistake, Hypothesis]]]


class Family(NamedTuple):
    """What mistakes are about: ``name``, and ``variations``, which yields them.

    ``of_cells`` says that a cell makes them, alone or with all others; ``combined`` that they are
    tried together with mistakes of other families, too; ``of_arrays`` that they change nothing but
    the weights of cells; ``in_head`` that they leave all values before the head as they are.
    ``cost`` returns :attr:`Hypothesis.cost` of one that takes longer than the network.
    """

    name: str
    variations: Variations
    of_cells: bool = False
    combined: bool = True
    of_arrays: bool = False
    in_head: bool = False
    cost: Callable[[Hypothesis], float] | None = None


_FAMILIES: tuple[Family, ...] = (
    Family("quantity", _other_quantities, in_head=True),
    # A port reads a kernel before it splits it into gates.
    Family("kernel", _layouts, of_cells=True, of_arrays=True),
    Family("interleaved", _interleaved, of_cells=True, combined=False, of_arrays=True),
    Family("gates", _gate_orders, of_cells=True, of_arrays=True),
    Family(
        "gates of arrays", _gate_orders_of_arrays, of_cells=True, combined=False, of_arrays=True
    ),
    Family("misread parts", _misread_parts, of_cells=True, combined=False, of_arrays=True),
    # Before "cell", which may turn a bias of two rows into one row.
    Family("bias", _biases, of_cells=True, of_arrays=True),
    Family(
        "rows", lambda one: _variants(one, "rows"), of_cells=True, combined=False, of_arrays=True
    ),
    Family("cell", lambda one: _variants(one, "cell"), of_cells=True),
    Family("equation", lambda one: _variants(one, "equation"), of_cells=True, combined=False),
    Family("activation", _activations, of_cells=True),
    Family("recurrent_activation", _gate_activations, of_cells=True),
    Family(
        "approximation",
        lambda one: _changed(one, exactness_mistakes.approximated_activations(one)),
        combined=False,
    ),
    Family("states", _states, of_cells=True, combined=False),
    Family("clipping", _clipped, combined=False),
    Family(
        "overwritten states",
        lambda one: _changed(one, state_mistakes.overwritten_states()),
        of_cells=True,
        combined=False,
        cost=_steps_of_units,
    ),
    Family(
        "rounded states",
        lambda one: _changed(one, exactness_mistakes.rounded_states(one)),
        combined=False,
    ),
    Family("topology", topology_mistakes.misjoined, combined=False),
    Family("head", _heads, in_head=True),
    Family("other heads", _other_heads, combined=False, in_head=True),
    Family("head layers", layer_mistakes.head_layers, combined=False, in_head=True),
    Family("earlier layers", layer_mistakes.earlier_layers, combined=False),
    Family("mask", time_mistakes.ignored_masks),
    Family("shifted masks", time_mistakes.shifted_masks, combined=False),
    Family("zeroed outputs", time_mistakes.zeroed_outputs, combined=False),
    Family("zeroed states", time_mistakes.zeroed_states, combined=False),
    Family("input", axes_mistakes.permuted_features, combined=False),
    Family("time", time_mistakes.misplaced_time),
    Family("other steps", time_mistakes.other_steps, combined=False),
    Family("other samples", axes_mistakes.other_samples, combined=False),
    Family("carried", time_mistakes.carried_states),
    Family("carried alone", time_mistakes.carried_alone, combined=False),
    Family("axes", axes_mistakes.swapped_axes),
    Family("reshaped axes", axes_mistakes.reshaped_axes, combined=False),
    Family("order", axes_mistakes.permuted_outputs, combined=False, in_head=True),
    Family("weights", _rounded_weights),
    Family("quantized", _quantized_weights, combined=False),
)
#: What mistakes are about, in the order in which a port makes them, and in which they are tried.
FAMILIES = tuple(family.name for family in _FAMILIES)
