"""An opened weight file of PyTorch or ONNX: its network, what it holds, and its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnnshapes.cells.cell import Weight
from rnnshapes.cells.frameworks import FrameworkCell
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.foreign import onnx_graph, safetensors, torch_file
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.modules import Contents, Module, StoredArray
from rnnshapes.load.foreign.network import FileNetwork, build_network
from rnnshapes.load.foreign.onnx_file import read_onnx
from rnnshapes.load.foreign.state_dict import read_state_dict
from rnnshapes.load.foreign.tensors import ITEM_BYTES
from rnnshapes.load.opened_file import OpenedFile
from rnnshapes.load.regular_file import require_regular
from rnnshapes.load.saved.untrusted_json import printable
from rnnshapes.network.graph import Network
from rnnshapes.network.structure import Fact, FileCheck
from rnnshapes.ops.dims import shape_text

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.ops.activations import Array


@dataclass(frozen=True, eq=False)
class FileRecurrence:
    """A recurrent layer of a file: its cells, its sizes and its numbers.

    Attributes:
        name: The name of the layer: ``rnn.l1``.
        cells: The cell of each direction.
        reverse: Whether each direction processes the sequence in reverse.
        features: The size D of its input.
        units: Its number M of units.
        state: The size of h.
        order: The order of its G gates in the file.
        dtype: The dtype of its arrays.
        arrays: Its arrays in the file.
        parts: Of each direction the parts of the equation: Wx (D, G·M), Wh (M, G·M) and, if it
            has biases, bx and bh (G·M,), with the gates in the order of the equation.
        raw: The same matrices as they are stored: (G·M, D) and (G·M, M).
        says_activation: Whether the file names the activation of a cell without gates.
    """

    name: str
    cells: tuple[FrameworkCell, ...]
    reverse: tuple[bool, ...]
    features: int
    units: int
    state: int
    order: tuple[str, ...]
    dtype: str
    arrays: tuple[StoredArray, ...]
    parts: tuple[Mapping[str, Array], ...]
    raw: tuple[Mapping[str, Array], ...]
    says_activation: bool

    @property
    def cell(self) -> FrameworkCell:
        """The cell of the first direction, whose sizes are those of both."""
        return self.cells[0]

    def names(self, *parts: str, direction: int) -> tuple[str, ...]:
        """Return the names of the arrays that hold these parts in a direction."""
        return tuple(
            array.tensor.name
            for array in self.arrays
            if array.direction in (None, direction) and set(parts) & set(array.layout.parts)
        )


@dataclass(frozen=True, eq=False)
class ForeignFile(OpenedFile):
    """A weight file of PyTorch or ONNX."""

    path: Path
    contents: Contents
    file_network: FileNetwork
    unbuilt: bool = False

    @property
    def network(self) -> Network:  # type: ignore[override]
        """The network of its modules."""
        return self.file_network.network

    @property
    def framework(self) -> str:  # type: ignore[override]
        """The framework that wrote it."""
        return self.contents.framework

    @property
    def framework_weights(self) -> dict[str, tuple[Weight, ...]]:  # type: ignore[override]
        """The arrays of recurrent layers, as the framework lays them out."""
        return dict(self.file_network.weights)

    @property
    def input_dtype(self) -> str:
        return "float64" if self.network.dtype == "float64" else "float32"

    def check(self, network: Network) -> FileCheck:
        return FileCheck(
            path=printable(str(self.path)),
            kind=self.contents.kind,
            keras_version="",
            facts=tuple(self._facts(network)),
            notes=self.contents.warnings,
            unbuilt=False,
            contradictions=self.contents.contradictions,
            framework=self.framework,
        )

    def _facts(self, network: Network) -> Iterator[Fact]:
        """Yield the shape of each array, and that which its module requires."""
        for layer, arrays in self.file_network.stored.items():
            for weight, array in zip(self.file_network.weights[layer], arrays, strict=True):
                expected = tuple(network.count(dim) for dim in weight.dims)
                name = f"{layer}/{array.name}"
                yield Fact(name, shape_text(weight.dims), expected, array.tensor.shape)

    def recurrent(self, layer: str | None = None) -> ForeignFile:
        """Return the file with its recurrent modules alone, or the one module of a layer.

        The file itself is returned if its whole graph is known, and no layer is chosen.

        Raises:
            InputError: it has none, or no such layer.
        """
        if layer is None and self.file_network.is_whole:
            return self
        chosen = self.file_network.modules
        if not chosen:
            reasons = "".join(f"; {warning}" for warning in self.contents.warnings)
            raise InputError(f"{self.path}: it holds no recurrent layer{reasons}")
        names: dict[str, Module] = {}
        for module in chosen:
            both = [module.layer_name(number) for number in range(len(module.layers))]
            names |= dict.fromkeys([module.name, *both], module)
        if layer is not None:
            module_of_layer = names.get(layer) or names.get(layer.rpartition("/")[0])
            if module_of_layer is None:
                raise InputError(f"no recurrent layer {layer!r}: choose one of {', '.join(names)}")
            chosen = (module_of_layer,)
        contents = replace(self.contents, modules=chosen, others=(), chain=())
        return replace(self, contents=contents, file_network=build_network(contents))

    def require_computable(self, network: Network, *, keras: bool) -> None:
        if keras:
            raise UnsupportedError(
                f"{self.path}: Keras has no layers like those of {self.framework}; trace computes "
                "them in NumPy"
            )
        for contradiction in self.contents.contradictions:
            raise InputError(f"{self.path}: {contradiction}")
        for fact in self._facts(network):
            if not fact.agrees:
                raise InputError(
                    f"{self.path}: {fact.name} is {fact.found}, and its module requires "
                    f"{fact.expected}"
                )

    def recurrences(self) -> Iterator[FileRecurrence]:
        """Yield the recurrent layers of the file with their numbers, in its order.

        Raises InputError where its arrays do not fit together.
        """
        self.require_computable(self.network, keras=False)
        stored = self._read()
        weights = self._parts(stored)
        for layer in self.network.layers:
            if not layer.directions:
                continue
            arrays = self.file_network.stored[layer.name]
            raw: list[dict[str, Array]] = [{} for _ in layer.directions]
            for number in range(len(layer.directions)):
                for array in arrays:
                    if array.direction in (None, number) and len(array.layout.parts) == 1:
                        values = stored[array.tensor.name]
                        values = values[number] if array.layout.by_direction else values
                        raw[number][array.layout.parts[0]] = values
            cells = tuple(cell for cell in layer.cells if isinstance(cell, FrameworkCell))
            cell = cells[0]
            yield FileRecurrence(
                layer.name,
                cells,
                tuple(direction.reverse for direction in layer.directions),
                self.network.count(layer.directions[0].features),
                self.network.count(cell.units),
                self.network.count(cell.output),
                self.file_network.orders[layer.name],
                arrays[0].tensor.dtype,
                arrays,
                tuple(weights[direction.name] for direction in layer.directions),
                tuple(raw),
                self.framework == "ONNX",
            )

    def weights(self) -> Weights:
        return self._parts(self._read())

    def _read(self) -> dict[str, Array]:
        """Return the arrays of recurrent layers by name, each read once.

        Raises InputError, naming the file, for one that cannot be read.
        """
        from rnnshapes import memory

        groups = self.file_network.stored.values()
        tensors = {array.tensor.name: array.tensor for group in groups for array in group}
        count = sum(tensor.count for tensor in tensors.values())
        needed = sum(t.count * max(4, ITEM_BYTES[t.dtype]) for t in tensors.values())
        memory.require(4 * needed, f"reading {count:,} parameters")
        try:
            return {name: t.read().reshape(t.shape) for name, t in tensors.items()}
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None

    def _parts(self, stored: Mapping[str, Array]) -> Weights:
        """Return the parts of each equation, from arrays by name."""
        from rnnshapes.layouts.equation_parts import to_parts

        weights: dict[str, dict[str, Array]] = {}
        known: dict[object, dict[str, Array]] = {}  # of arrays that several layers share
        for layer in self.network.layers:
            for number, direction in enumerate(layer.directions):
                group = weights.setdefault(direction.name, {})
                order = self.file_network.orders[layer.name]
                for array in self.file_network.stored[layer.name]:
                    if array.direction in (None, number):
                        gates = tuple(direction.cell.gates)
                        key = array.tensor.name, array.layout, number, gates
                        if key not in known:
                            values = stored[array.tensor.name]
                            known[key] = to_parts(array.layout, values, number, order, gates)
                        group |= known[key]
            if self.file_network.is_whole and not layer.directions:
                weights[layer.name] = {
                    array.layout.parts[0]: values.T if array.layout.transposed else values
                    for array in self.file_network.stored[layer.name]
                    for values in (stored[array.tensor.name],)
                }
        return weights


@contextmanager
def open_foreign_file(path: Path) -> Iterator[ForeignFile | None]:
    """Open a weight file of PyTorch or ONNX; yield ``None`` for any other file.

    Raises InputError, naming the file, for one that is broken.
    """
    require_regular(path)
    source = ByteSource(path)
    try:
        try:
            contents = _read(source)
            file = None
            if contents is not None:
                file = ForeignFile(path, contents, build_network(contents))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        yield file
    finally:
        source.close()


def _read(source: ByteSource) -> Contents | None:
    """Return what a file holds; ``None`` for the file of another framework."""
    if safetensors.is_safetensors(source):
        return read_state_dict(safetensors.read_tensors(source), ".safetensors")
    if reason := torch_file.older_format(source):
        raise InputError(reason)
    is_named_so = source.path.suffix.lower() in (".pt", ".pth")
    if source.head(2) == b"PK":
        try:
            members = torch_file.torch_members(source)
        except InputError:  # the reader of .keras files says what is wrong with other archives
            if is_named_so:
                raise
            return None
        if members is None:
            return None
        tensors, where = torch_file.read_tensors(source, members)
        return read_state_dict(tensors, f"state_dict {where!r}" if where else "state_dict")
    if onnx_graph.is_onnx(source) or source.path.suffix.lower() == ".onnx":
        return read_onnx(source)
    return None
