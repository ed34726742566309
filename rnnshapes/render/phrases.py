"""What several results say in the same words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rnnshapes.network.graph import Network
from rnnshapes.network.structure import Engine, Fact
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.number_text import number_text, whole

if TYPE_CHECKING:
    from rnnshapes.forward.difference import Index
    from rnnshapes.forward.non_finite import NonFinite
    from rnnshapes.network.summary import Gate

#: The heading of a column of indices.
INDEX = "worst at\nsample, t, unit"
_BACKEND_NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


def network_text(network: Network) -> str:
    """``Input((T, D)) → SimpleRNN(M) → Dense(K)   N=1 T=10 D=3 M=5 K=2``.

    A network that is no chain is told by its inputs and the number of its layers.
    """
    sizes = " ".join(f"{name}={_size(value)}" for name, value in network.sizes.items())
    inputs = [f"Input({shape_text(node.layer.shape[1:])})" for node in network.inputs]  # type: ignore[attr-defined]
    if network.is_chain:
        chain = " → ".join([*inputs, *(layer.label for layer in network.layers)])
        return f"{chain}   {sizes}"
    count = f"{len(network.layers)} layer{'s' * (len(network.layers) > 1)}"
    if not inputs:
        return f"{count}, whose graph is not known"
    return f"{', '.join(inputs)} → {count}   {sizes}"


def sizes_record(network: Network) -> dict[str, Any]:
    """All sizes by name; M as a list with one for each cell, K that of the last Dense layer."""
    sizes = dict(network.sizes)
    hidden = [name for name in sizes if name[0] == "M"]
    outputs = [name for name in sizes if name[0] == "K"]
    plain = {name: value for name, value in sizes.items() if name not in (*hidden, *outputs)}
    return {
        **plain,
        "M": [sizes[name] for name in hidden],
        "K": sizes[outputs[-1]] if outputs else None,
    }


def engine_text(engine: Engine) -> str:
    """``Keras 3.15.1 (TensorFlow 2.21.0)``."""
    backend = _BACKEND_NAMES.get(engine.backend, engine.backend)
    short = ", matrix products in TensorFloat-32" if engine.tensor_float_32 else ""
    return f"Keras {engine.version} ({backend} {engine.backend_version}{short})"


def difference_text(fact: Fact, who: str = "Keras") -> str:
    """``dense/kernel: (5, 2) expected, Keras has (2, 5)``."""
    return (
        f"{fact.name}: {number_text(fact.expected)} expected, {who} has {number_text(fact.found)}"
    )


def index_cell(index: Index | None) -> str:
    """Return ``0, 3, 1``, for the column :data:`INDEX`; ``-`` stands for no time step."""
    if index is None:
        return ""
    return f"{index.sample}, {'-' if index.t is None else index.t}, {index.unit}"


def gates_text(gates: Iterable[Gate], axes: int, sign: str = " · ") -> str:
    """``i [:, 0:5] · f [:, 5:10]``: the last axis of a weight, part by part."""
    front = ":, " * (axes - 1)
    return sign.join(f"{g.name} [{front}{g.columns[0]}:{g.columns[1]}]" for g in gates)


def not_finite_text(found: NonFinite) -> str:
    """What is said of an input that holds NaN or infinite numbers."""
    first = f"sample {found.first.sample}, t {found.first.t}, feature {found.first.unit}"
    if found.too_large is not None:
        return (
            f"x does not fit into {found.dtype}, in which Keras takes it: {found.too_large:g} at "
            f"{first} becomes infinite. NaN or infinite numbers: {whole(found.count)}"
        )
    return f"x holds NaN or infinite numbers: {whole(found.count)}, the first at {first}"


def not_finite_record(found: NonFinite | None) -> dict[str, Any] | None:
    """The same in JSON."""
    return None if found is None else {"count": found.count, "first": vars(found.first)}


def _size(value: int | None) -> str:
    return "?" if value is None else str(value)
