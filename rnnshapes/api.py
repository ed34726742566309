"""The three functions: sizes or a live model go in, a frozen result comes out."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from rnnshapes import reference
from rnnshapes.cells import registry
from rnnshapes.errors import InputError
from rnnshapes.inspection import Inspection, inspect_network
from rnnshapes.network import DEFAULTS, Network, check_size, from_sizes

if TYPE_CHECKING:
    from rnnshapes.inputs import Source
    from rnnshapes.tracing import Trace
    from rnnshapes.verification import Verification


class Spec(TypedDict, total=False):
    """A network given by its sizes and its cell; what is left out has its default.

    N=1 T=10 D=3 M=5 K=2; several M give a stack. ``cell`` is ``"simple"``, ``"lstm"`` or
    ``"gru"``; the options are those of the Keras layer, with Keras's defaults.
    """

    N: int | None
    T: int | None
    D: int | None
    M: int | Sequence[int] | None
    K: int | None
    cell: str | None
    activation: str | None
    recurrent_activation: str | None
    use_bias: bool | None
    reset_after: bool | None


def inspect(model: Any = None, *, keras: bool = False, **spec: Unpack[Spec]) -> Inspection:
    """Every weight's shape and count, and every shape that flows.

    Give a live ``keras.Model``, or the keywords of :class:`Spec` for
    ``Input((T, D)) → SimpleRNN(M) → Dense(K)``. A model's counts are compared with Keras's own;
    with ``keras=True`` those of a network by sizes are, too, for which it is built.

    Raises InputError for a size that is no whole number of at least 1, an option that the cell
    does not have, or a model with a layer that is not supported.
    """
    network = _network(model, **spec)
    if model is not None:
        return inspect_network(network).against(model)
    return inspect_network(network).checked() if keras else inspect_network(network)


def trace(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    show: str | Iterable[str] = "y",
    keras: bool = True,
    **spec: Unpack[Spec],
) -> Trace:
    """y_hat at each time step, in NumPy and in Keras; with ``show="y,h,c,gates"`` these, too.

    Takes a model or the keywords of :class:`Spec`, as :func:`inspect` does. ``x`` is an array
    (N, T, D), or (T, D) for one sample, of real numbers, or the path of a .npy, .npz or .csv
    file; left out, it is drawn from ``seed``, as the weights are of a network that is given by
    its sizes. ``keras=False`` leaves Keras out.

    Raises InputError for bad sizes or data, and CannotRunError where Keras cannot be imported
    or there is not enough memory.
    """
    network, source = prepare(model, x=x, seed=seed, **spec)
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
    model: Any = None, *, x: Any = None, seed: int = 0, **spec: Unpack[Spec]
) -> Verification:
    """Check names, shapes, counts and every step against Keras; ``result.passed`` is the answer.

    Takes what :func:`trace` takes, and raises what it raises.
    """
    from rnnshapes import tracing
    from rnnshapes.verification import verify_network

    network, source = prepare(model, x=x, seed=seed, **spec)
    tracing.require_memory(network, "y,h", with_keras=True)
    model = _built(network, seed) if model is None else model
    weights = reference.weights_of(model, network)
    answers = _run(model, network, source)
    return verify_network(network, weights, source, reference.built(model, network), answers)


def prepare(
    model: Any = None, *, x: Any = None, seed: int = 0, **spec: Unpack[Spec]
) -> tuple[Network, Source]:
    """The network and its input; where x is given, N, T and D are those of the data.

    Raises InputError where sizes, data and model contradict each other.
    """
    from rnnshapes import inputs

    seed = check_seed(seed)
    if x is None:
        network = _network(model, **spec)
        network = network if network.sizes["N"] else network.with_sizes(N=DEFAULTS["N"])
        return network, inputs.drawn(network, seed)
    data = inputs.read(Path(x)) if isinstance(x, str | Path) else inputs.given(x, "x")
    inputs.check_stated(data, {name: spec.get(name) for name in "NTD"})
    n, t, d = data.array.shape
    if model is None:
        spec |= {"N": n, "T": t, "D": d}
    else:
        spec |= {"N": None, "T": None, "D": None}
        data = replace(data, dtype=reference.floatx())
    return inputs.fit(_network(model, **spec), data), data


def _network(
    model: Any,
    *,
    N: int | None = None,
    T: int | None = None,
    D: int | None = None,
    M: int | Sequence[int] | None = None,
    K: int | None = None,
    cell: str | None = None,
    **options: Any,
) -> Network:
    """The network that sizes and options describe; or a live model, with N and T as given."""
    if model is None:
        return from_sizes(N, T, D, M, K, registry.make(cell or "simple", **options))
    from rnnshapes import live

    network = live.read(model)
    for name, value in {"D": D, "M": M, "K": K, "cell": cell, **options}.items():
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
