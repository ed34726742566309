"""The arrays of Keras 1 and 2 as those that Keras 3 would have.

Source: ``preprocess_weights_for_loading`` in ``keras/saving/hdf5_format.py`` of Keras 2.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.registry import BY_CLASS
from rnnshapes.load.saved.hdf5_client import Dataset, Store
from rnnshapes.ops.dims import Dim

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array


@dataclass(frozen=True)
class Held:
    """A weight as the file has it: its name there, its shape, and where its numbers are.

    ``make`` turns the numbers of ``datasets`` into those of the weight; ``trained`` is false
    where the part of the layer that owns it is frozen.
    """

    name: str
    shape: tuple[int, ...]
    datasets: tuple[Dataset, ...]
    make: Callable[[Sequence[Array]], Array] | None = None
    trained: bool = True

    def values(self, store: Store) -> Array:
        """Its numbers."""
        found = store.values(self.datasets)
        return found[0] if self.make is None else self.make(found)


def modern(kind: str, held: Sequence[Held], backend: str) -> tuple[Held, ...]:
    """The arrays of a part of a layer as Keras 3 would have them.

    ``backend`` is what Keras 1 or 2 ran on: Theano turned its kernels over.
    """
    cell = BY_CLASS.get(kind)
    if cell is not None and cell.keras1_gate_order and len(held) == 3 * len(cell.gate_names):
        # Keras 1 wrote kernel, recurrent kernel and bias for one gate after the other.
        return _joined(held, [3 * cell.keras1_gate_order.index(gate) for gate in cell.gate_names])
    if cell is not None and cell.cudnn_class and len(held) == 3:
        return _from_cudnn(cell, held)
    return tuple(_today(kind, each, backend) for each in held)


def _today(kind: str, held: Held, backend: str) -> Held:
    names = {"W": "embeddings" if kind == "Embedding" else "kernel"}
    names |= {"b": "bias", "U": "recurrent_kernel"}
    held = replace(held, name=names.get(held.name.rsplit("_", 1)[-1], held.name))
    if kind != "Conv1D" or held.name != "kernel":
        return held
    flip = slice(None, None, -1 if backend == "theano" else 1)
    if len(held.shape) == 4 and held.shape[1] == 1:  # (k, 1, D, F)
        size, _, features, filters = held.shape
        return replace(held, shape=(size, features, filters), make=lambda v: v[0][flip, 0])
    if len(held.shape) == 4 and held.shape[3] == 1:  # (F, D, k, 1)
        filters, features, size, _ = held.shape
        shape = (size, features, filters)
        return replace(held, shape=shape, make=lambda v: v[0][..., 0].transpose(2, 1, 0)[flip])
    return replace(held, make=lambda v: v[0][flip]) if backend == "theano" else held


def _joined(held: Sequence[Held], order: Sequence[int]) -> tuple[Held, ...]:
    """Kernel, recurrent kernel and bias from those of each gate, W U b after W U b."""
    made = []
    for offset, name in enumerate(("kernel", "recurrent_kernel", "bias")):
        parts = [held[start + offset] for start in order]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1 or not parts[0].shape:
            return tuple(held)
        shape = (*parts[0].shape[:-1], len(order) * parts[0].shape[-1])
        datasets = tuple(dataset for part in parts for dataset in part.datasets)
        made.append(Held(name, shape, datasets, _side_by_side))
    return tuple(made)


def _side_by_side(values: Sequence[Array]) -> Array:
    import numpy as np

    return np.concatenate(list(values), axis=-1)


def _from_cudnn(cell: type[Cell], held: Sequence[Held]) -> tuple[Held, ...]:
    """The weights of a CuDNN layer, which are told by their two biases in one row."""
    kernel, recurrent, bias = held
    gates = len(cell.gate_names)
    if len(recurrent.shape) != 2 or bias.shape != (2 * recurrent.shape[0] * gates,):
        return tuple(held)
    units = recurrent.shape[0]
    # A cell that keeps both biases has them as two rows; any other adds them.
    dims = cell(Dim.of(units)).bias(Dim.of(gates * units)).dims
    shape = tuple(dim.value({}) or 0 for dim in dims)

    def turned(values: Sequence[Array]) -> Array:
        import numpy as np

        parts = np.split(values[0], gates, axis=-1)
        return np.concatenate([p.T.reshape(p.shape, order="F") for p in parts], axis=-1)

    def turned_square(values: Sequence[Array]) -> Array:
        import numpy as np

        return np.concatenate([p.T for p in np.split(values[0], gates, axis=-1)], axis=-1)

    def biases(values: Sequence[Array]) -> Array:
        rows: Array = values[0].reshape(2, -1)
        return rows if len(shape) == 2 else rows.sum(axis=0)

    return (
        replace(kernel, make=turned),
        replace(recurrent, make=turned_square),
        replace(bias, shape=shape, make=biases),
    )
