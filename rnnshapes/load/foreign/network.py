"""The recurrent modules of a file as a network: each stack has an input of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from rnnshapes.cells.cell import Weight
from rnnshapes.cells.frameworks import FrameworkCell, FrameworkLSTM, with_units
from rnnshapes.errors import InputError
from rnnshapes.layouts.layout import ArrayLayout, stored_weight
from rnnshapes.load.foreign.modules import (
    ChainDense,
    ChainRecurrence,
    Contents,
    Module,
    ModuleLayer,
    OtherModule,
    StoredArray,
    joined,
)
from rnnshapes.network.graph import Network, Node, Tap
from rnnshapes.network.layers.base import Direction, Layer
from rnnshapes.network.layers.config import Namer
from rnnshapes.network.layers.core import Dense, Input
from rnnshapes.network.layers.rnn import Bidirectional, Recurrent
from rnnshapes.network.layers.unsupported import UnsupportedLayer
from rnnshapes.ops.dims import Dim

#: More recurrent layers than anyone would read the equations of.
MOST_LAYERS = 100
#: Arrays without recurrence that are shown one by one; of more, each module shows their number.
MOST_ARRAYS = 1000
#: Names of inputs and outputs.
_RESERVED = frozenset({"x", "y_hat", "output", *(f"x{number}" for number in range(1, 100))})
_NO_PLACE = "the file does not say where it is called"


@dataclass(frozen=True, eq=False)
class FileNetwork:
    """The network of a file, and the arrays of each layer as the file lays them out.

    ``weights`` are by layer, with symbols for their shapes; ``stored`` are the arrays that they
    describe. ``orders`` are the orders of gates in them. ``modules`` are the recurrent ones, each
    with a name of its own. ``is_whole`` says that it is the graph of the file, and not only its
    modules.
    """

    network: Network
    weights: Mapping[str, tuple[Weight, ...]]
    stored: Mapping[str, tuple[StoredArray, ...]]
    orders: Mapping[str, tuple[str, ...]]
    modules: tuple[Module, ...]
    is_whole: bool = False


def build_network(contents: Contents) -> FileNetwork:
    """Return all modules of a file as a network.

    Raises:
        InputError: It has more recurrent layers than anyone would read.
    """
    layers = sum(len(module.layers) for module in contents.modules)
    if layers > MOST_LAYERS:
        raise InputError(f"it has {layers} recurrent layers, more than {MOST_LAYERS}")
    modules = _named_apart(contents.modules)
    if contents.chain and (whole := _Builder(modules, contents.others).build_chain(contents)):
        return whole
    return _Builder(modules, joined(contents.others)).build()


def _named_apart(modules: Sequence[Module]) -> tuple[Module, ...]:
    """Return modules of which no two, nor their layers, have the same name."""
    taken, named = set(_RESERVED), []
    for module in modules:
        renamed = module
        for number in count(2):
            names = {renamed.name, *map(renamed.layer_name, range(len(module.layers)))}
            if not names & taken:
                break
            renamed = replace(module, name=f"{module.name}:{number}")
        taken |= names
        named.append(renamed)
    return tuple(named)


class _Builder:
    def __init__(self, modules: tuple[Module, ...], others: Sequence[OtherModule]) -> None:
        self.modules, self.others = modules, others
        self.is_summed = sum(len(other.tensors) for other in others) > MOST_ARRAYS
        layers = [layer for module in modules for layer in module.layers]
        features = {module.layers[0].features for module in modules}
        projected = [1 for layer in layers if _projection(layer.cell)]
        self.namer = Namer(
            {"D": len(features), "M": len(layers), "P": len(projected), "recurrent": len(layers)}
        )
        self.nodes: list[Node] = []
        self.inputs: dict[int, Dim] = {}
        self.weights: dict[str, tuple[Weight, ...]] = {}
        self.stored: dict[str, tuple[StoredArray, ...]] = {}
        self.orders: dict[str, tuple[str, ...]] = {}
        self.names = set(_RESERVED)

    def build(self) -> FileNetwork:
        self.namer.sizes |= {"N": None, "T": None}
        for features in dict.fromkeys(module.layers[0].features for module in self.modules):
            self._add_input(features)
        positions = {features: position for position, features in enumerate(self.inputs)}
        outputs = []
        for module in self.modules:
            tap = Tap(positions[module.layers[0].features])
            dim = self.inputs[module.layers[0].features]
            for number, layer in enumerate(module.layers):
                name = module.layer_name(number)
                self.names.add(name)
                dim = self._add_layer(name, module, layer, tap, dim)
                tap = Tap(len(self.nodes) - 1)
            outputs.append(tap)
        for other in self.others:
            self._add_other(other)
        # With other modules, the outputs of recurrent ones are not those of the network.
        taps = tuple(outputs) if not self.others else ()
        sizes = tuple(self.namer.sizes.items())
        network = Network(sizes, tuple(self.nodes), taps, self._dtype())
        return FileNetwork(network, self.weights, self.stored, self.orders, self.modules)

    def build_chain(self, contents: Contents) -> FileNetwork | None:
        """Return the graph of the file; ``None`` if sizes do not fit, or it has other weights."""
        chain = contents.chain
        self.namer.sizes |= {"N": None, "T": contents.steps}
        dense = [link for link in chain if isinstance(link, ChainDense)]
        self.namer.totals = {**self.namer.totals, "K": len(dense)}
        used = {t.name for link in dense for t in (link.kernel, link.bias) if t is not None}
        if {tensor.name for other in self.others for tensor in other.tensors} - used:
            return None
        first = next(link for link in chain if isinstance(link, ChainRecurrence))
        width = self.modules[first.module].layers[0].features
        self._add_input(width)
        dim = self.inputs[width]
        for link in chain:
            tap = Tap(len(self.nodes) - 1)
            if isinstance(link, ChainDense):
                if link.kernel.shape[link.is_transposed] != dim.value(self.namer.sizes):
                    return None
                dim = self._add_dense(link, tap, dim)
                continue
            module = self.modules[link.module]
            if module.layers[0].features != dim.value(self.namer.sizes):
                return None
            self.names.add(module.name)
            dim = self._add_layer(module.name, module, module.layers[0], tap, dim, link)
        outputs = (Tap(len(self.nodes) - 1),)
        sizes = tuple(self.namer.sizes.items())
        network = Network(sizes, tuple(self.nodes), outputs, self._dtype())
        both = self.weights, self.stored
        return FileNetwork(network, *both, self.orders, self.modules, is_whole=True)

    def _add_dense(self, link: ChainDense, tap: Tap, features: Dim) -> Dim:
        """Add a dense layer, and return the size of its output."""
        name = self._unique(link.name)
        units = self.namer.size("K", link.kernel.shape[not link.is_transposed])
        index = str(int(str(units)[1:] or 1) - 1)
        layer = Dense(
            name=name,
            index=index,
            features=features,
            units=units,
            activation=link.activation,
            use_bias=link.bias is not None,
        )
        self.nodes.append(Node(name, layer, (tap,)))
        tensors = [tensor for tensor in (link.kernel, link.bias) if tensor is not None]
        self.stored[name] = tuple(
            StoredArray(t.name, ArrayLayout(t.name, (key,), transposed), t)
            for t, key, transposed in zip(tensors, "Wb", (link.is_transposed, False), strict=False)
        )
        dims = (units, features) if link.is_transposed else (features, units)
        symbols = f"W{index}{'ᵀ' * link.is_transposed}", f"b{index}"
        self.weights[name] = tuple(
            Weight(symbol, t.name, own)
            for t, symbol, own in zip(tensors, symbols, (dims, (units,)), strict=False)
        )
        return units

    def _add_input(self, features: int) -> None:
        dim = self.namer.size("D", features)
        self.inputs[features] = dim
        name = f"x{str(dim)[1:]}"
        layer = Input(name=name, shape=(Dim.named("N"), Dim.named("T"), dim))
        self.nodes.append(Node(name, layer))

    def _add_layer(
        self,
        name: str,
        module: Module,
        layer: ModuleLayer,
        tap: Tap,
        features: Dim,
        link: ChainRecurrence | None = None,
    ) -> Dim:
        """Add a recurrent layer, and return the size of its output."""
        units = self.namer.size("M", layer.cell.units.value({}))
        projection = _projection(layer.cell)
        if projection is not None:
            projection = self.namer.size("P", projection.value({}))
        cells = [with_units(cell, units, projection) for cell in layer.cells]
        cell, index = cells[0], self.namer.index("recurrent")
        both = len(layer.reverse) > 1
        directions = [
            Direction(
                name=f"{name}/{'backward' if reverse else 'forward'}" if both else name,
                index=index + (("←" if reverse else "→") if both else ""),
                features=features,
                cell=own_cell,
                reverse=reverse,
            )
            for own_cell, reverse in zip(cells, layer.reverse, strict=True)
        ]
        options: dict[str, Any] = {
            "name": name,
            "index": index,
            "return_sequences": link is None or link.return_sequences,
            "option_notes": layer.notes,
            "runtime_differences": layer.runtime_differences,
            "input_order": True,
        }
        added: Layer
        if both:
            options["merge_mode"] = "concat" if link is None else link.merge_mode
            added = Bidirectional(forward=directions[0], backward=directions[1], **options)
        else:
            added = Recurrent(direction=directions[0], **options)
        self.nodes.append(Node(name, added, (tap,)))
        sizes = {"D": features, "M": units, "P": cell.output, "dirs": Dim.of(len(directions))}
        self.weights[name] = tuple(
            stored_weight(array.layout, module.layout, sizes, array.name, _index(array, directions))
            for array in layer.arrays
        )
        self.stored[name] = layer.arrays
        self.orders[name] = module.layout.gates
        is_merged = link is not None and link.merge_mode != "concat"
        return cell.output * (1 if is_merged else len(directions))

    def _add_other(self, other: OtherModule) -> None:
        name = self._unique(other.name)
        weights = []
        if self.is_summed:
            count = sum(tensor.count for tensor in other.tensors)
            text = f"{len(other.tensors)} arrays"
            weights.append(Weight(text, text, (Dim.of(count),)))
        for tensor in () if self.is_summed else other.tensors:
            own = tensor.name.removeprefix(f"{other.name}.")
            learned = not own.startswith(("running_", "num_batches_"))
            shape = tuple(map(Dim.of, tensor.shape))
            weights.append(Weight(tensor.name, own, shape, learned=learned))
        layer = UnsupportedLayer(
            name=name,
            keras_class=other.class_name,
            reason=_NO_PLACE,
            stored_weights=tuple(weights),
            output_shapes=(),
        )
        self.nodes.append(Node(name, layer))

    def _unique(self, name: str) -> str:
        """Return a name that no node has."""
        for number in count(2):
            if name not in self.names:
                break
            name = f"{name.partition(':')[0]}:{number}"
        self.names.add(name)
        return name

    def _dtype(self) -> str:
        """Return the dtype of the arrays, the first of several."""
        arrays = (a.tensor.dtype for group in self.stored.values() for a in group)
        return next(arrays, "float32")


def _index(array: StoredArray, directions: Sequence[Direction]) -> str:
    """Return what the symbols of an array end in, without an arrow if it holds all directions."""
    if array.direction is None:
        return directions[0].index.rstrip("→←")
    return directions[array.direction].index


def _projection(cell: FrameworkCell) -> Dim | None:
    return cell.projection if isinstance(cell, FrameworkLSTM) else None
