"""What several results say in the same words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnshapes.comparison import Fact
from rnnshapes.layers import Recurrent
from rnnshapes.network import Network
from rnnshapes.reference import Engine
from rnnshapes.render.figures import number_text, whole

if TYPE_CHECKING:
    from rnnshapes.tracing import NotFinite, Place

_BACKEND_NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "jax": "JAX"}


def network_text(network: Network) -> str:
    """``Input((T, D)) → SimpleRNN(M) → Dense(K)   N=1 T=10 D=3 M=5 K=2``."""
    layers = " → ".join(f"{layer.type}({layer.units})" for layer in network.layers)
    sizes = " ".join(f"{name}={_size(value)}" for name, value in network.sizes.items())
    return f"Input((T, D)) → {layers}   {sizes}"


def sizes_record(network: Network) -> dict[str, Any]:
    """N, T, D and K by name, and M as a list with one size for each recurrent layer."""
    sizes = network.sizes
    last = network.layers[-1]
    return {
        **{name: sizes[name] for name in "NTD"},
        "M": [network.value(layer.units) for layer in network.recurrent],
        "K": None if isinstance(last, Recurrent) else network.value(last.units),
    }


def engine_text(engine: Engine) -> str:
    """``Keras 3.15.1 (TensorFlow 2.21.0)``."""
    backend = _BACKEND_NAMES.get(engine.backend, engine.backend)
    return f"Keras {engine.version} ({backend} {engine.backend_version})"


def difference_text(fact: Fact) -> str:
    """``dense/kernel: (5, 2) expected, Keras has (2, 5)``."""
    return (
        f"{fact.name}: {number_text(fact.expected)} expected, Keras has {number_text(fact.found)}"
    )


def place_text(place: Place) -> str:
    """``sample 0, t 3, unit 1``."""
    return f"sample {place.sample}, t {place.t}, unit {place.unit}"


def not_finite_text(found: NotFinite) -> str:
    """What is said of an input that holds NaN or infinite numbers."""
    first = f"sample {found.first.sample}, t {found.first.t}, feature {found.first.unit}"
    return f"x holds NaN or infinite numbers: {whole(found.count)}, the first at {first}"


def _size(value: int | None) -> str:
    return "?" if value is None else str(value)
