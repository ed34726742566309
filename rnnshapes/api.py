"""The three functions: sizes or a live model go in, a frozen result comes out."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnshapes import reference
from rnnshapes.errors import InputError
from rnnshapes.inspection import Inspection, inspect_network
from rnnshapes.network import DEFAULTS, Network, check_size, from_sizes

if TYPE_CHECKING:
    from rnnshapes.inputs import Source
    from rnnshapes.tracing import Trace
    from rnnshapes.verification import Verification


def inspect(
    model: Any = None,
    *,
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    keras: bool = False,
) -> Inspection:
    """Every weight's shape and count, and every shape that flows.

    Give a live ``keras.Model``, or sizes for ``Input((T, D)) → SimpleRNN(M) → Dense(K)`` (one
    left out has its default, N=1 T=10 D=3 M=5 K=2; several M give a stack). A model's counts
    are compared with Keras's own; with ``keras=True`` those of a network by sizes are, too,
    for which it is built.

    Raises InputError for a size that is no whole number of at least 1, or a model with a layer
    that is not supported.
    """
    if model is None:
        network = from_sizes(N, T, D, M, K)
        return inspect_network(network).checked() if keras else inspect_network(network)
    return inspect_network(_read(model, N, T, D, M, K)).against(model)


def trace(
    model: Any = None,
    *,
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    x: Any = None,
    seed: int = 0,
    show: str | Iterable[str] = "y",
    keras: bool = True,
) -> Trace:
    """y_hat, and with ``show="y,h"`` every h, at each time step, in NumPy and in Keras.

    ``x`` is an array (N, T, D), or (T, D) for one sample, of real numbers, or the path of a
    .npy, .npz or .csv file; left out, it is drawn from ``seed``, as the weights are of a
    network that is given by its sizes. ``keras=False`` leaves Keras out.

    Raises InputError for bad sizes or data, and CannotRunError where Keras cannot be imported
    or there is not enough memory.
    """
    network, source = prepare(model, N=N, T=T, D=D, M=M, K=K, x=x, seed=seed)
    return trace_prepared(network, source, model, seed=seed, show=show, keras=keras)


def trace_prepared(
    network: Network,
    source: Source,
    model: Any = None,
    *,
    seed: int = 0,
    show: str | Iterable[str] = "y",
    keras: bool = True,
) -> Trace:
    """:func:`trace` for what :func:`prepare` returned."""
    from rnnshapes import tracing

    show = tracing.check_show(network, show)
    tracing.require_memory(network, show, with_keras=keras)
    if not keras and model is None:
        return tracing.trace_network(network, _weights(network, seed), source, show)
    model = _built(network, seed) if model is None else model
    answers = _run(model, network, source) if keras else None
    weights = reference.weights_of(model, network)
    return tracing.trace_network(network, weights, source, show, answers)


def verify(
    model: Any = None,
    *,
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    x: Any = None,
    seed: int = 0,
) -> Verification:
    """Check names, shapes, counts and every step against Keras; ``result.passed`` is the answer.

    Takes what :func:`trace` takes, and raises what it raises.
    """
    from rnnshapes import tracing
    from rnnshapes.verification import verify_network

    network, source = prepare(model, N=N, T=T, D=D, M=M, K=K, x=x, seed=seed)
    tracing.require_memory(network, "y,h", with_keras=True)
    model = _built(network, seed) if model is None else model
    weights = reference.weights_of(model, network)
    answers = _run(model, network, source)
    return verify_network(network, weights, source, reference.built(model, network), answers)


def prepare(
    model: Any = None,
    *,
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    x: Any = None,
    seed: int = 0,
) -> tuple[Network, Source]:
    """The network and its input; where x is given, N, T and D are those of the data.

    Raises InputError where sizes, data and model contradict each other.
    """
    from rnnshapes import inputs

    seed = check_seed(seed)
    data = None
    if x is not None:
        data = inputs.read(Path(x)) if isinstance(x, str | Path) else inputs.given(x, "x")
        inputs.check_stated(data, {"N": N, "T": T, "D": D})
        N, T, D = data.array.shape if model is None else (None, None, None)
    network = from_sizes(N, T, D, M, K) if model is None else _read(model, N, T, D, M, K)
    if data is None:
        network = network if network.sizes["N"] else network.with_sizes(N=DEFAULTS["N"])
        return network, inputs.drawn(network, seed)
    if model is not None:
        data = replace(data, dtype=reference.floatx())
    return inputs.fit(network, data), data


def _read(model: Any, N: Any, T: Any, D: Any, M: Any, K: Any) -> Network:
    """A live model as a Network, with N, and T where it is open, as given."""
    from rnnshapes import live

    network = live.read(model)
    for name, value in (("D", D), ("M", M), ("K", K)):
        if value is not None and value != network.sizes.get(name):
            raise InputError(f"{name} is fixed by the model; leave {name} out")
    for name, value in (("N", N), ("T", T)):
        if value is not None:
            network = network.with_sizes(**{name: check_size(name, value)})
    return network


def check_seed(seed: Any) -> int:
    """A whole number of at least 0; InputError for anything else."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or number < 0:
        raise InputError(f"a seed is a whole number of at least 0, got {seed!r}")
    return number


def _weights(network: Network, seed: int) -> Any:
    from rnnshapes import weights

    return weights.draw(network, seed)


def _built(network: Network, seed: int) -> reference.Model:
    return reference.build(network, _weights(network, seed))


def _run(model: Any, network: Network, source: Source) -> reference.Answers:
    from rnnshapes import inputs

    return reference.run(model, network, inputs.whole(source))
