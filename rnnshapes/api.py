"""The three functions: sizes or a live model go in, a frozen result comes out."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from rnnshapes import reference
from rnnshapes.errors import InputError
from rnnshapes.inspection import Inspection, inspect_network
from rnnshapes.network import Network, check_size
from rnnshapes.sizes import DEFAULTS, from_sizes

if TYPE_CHECKING:
    from rnnshapes.inputs import Given, Sources
    from rnnshapes.tracing import Trace
    from rnnshapes.verification import Verification


class Spec(TypedDict, total=False):
    """A network given by its sizes and its cell; what is left out has its default.

    N=1 T=10 D=3 M=5 K=2; several M give a stack. ``cell`` is ``"simple"``, ``"lstm"`` or
    ``"gru"``; the options are those of the Keras layers, with Keras's defaults. With
    ``bidirectional`` each recurrent layer reads in both directions, which ``merge_mode`` joins.
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
    bidirectional: bool | None
    merge_mode: str | None
    go_backwards: bool | None
    return_sequences: bool | None


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
    layer: str | None = None,
    keras: bool = True,
    **spec: Unpack[Spec],
) -> Trace:
    """y_hat at each time step, in NumPy and in Keras; with ``show="y,h,c,gates"`` these, too.

    Takes a model or the keywords of :class:`Spec`, as :func:`inspect` does. ``x`` is an array
    (N, T, D), or (T, D) for one sample, of real numbers, or the path of a .npy, .npz or .csv
    file, or a list of these for several inputs; left out, it is drawn from ``seed``, as the
    weights are of a network that is given by its sizes. ``layer`` names the recurrent layer to
    show. ``keras=False`` leaves Keras out.

    Raises InputError for bad sizes or data, and CannotRunError where Keras cannot be imported
    or there is not enough memory.
    """
    network, sources = prepare(model, x=x, seed=seed, **spec)
    options: dict[str, Any] = {"show": show, "layer": layer, "keras": keras}
    return trace_prepared(network, sources, model, seed=seed, **options)


def trace_prepared(
    network: Network,
    sources: Sources,
    model: Any = None,
    *,
    seed: int = 0,
    show: str | Iterable[str] = "y",
    layer: str | None = None,
    keras: bool = True,
) -> Trace:
    """:func:`trace` for what :func:`prepare` returned."""
    from rnnshapes import tracing

    tracing.check_layer(network, layer)
    show = tracing.check_show(network, show)
    tracing.require_memory(network, show, with_keras=keras)
    if not keras and model is None:
        weights = _weights(network, seed)
        return tracing.trace_network(network, weights, sources, show, layer=layer)
    model = _built(network, seed) if model is None else model
    weights = reference.weights_of(model, network)
    answers = _run(model, network, sources) if keras else None
    return tracing.trace_network(network, weights, sources, show, answers, layer)


def verify(
    model: Any = None, *, x: Any = None, seed: int = 0, **spec: Unpack[Spec]
) -> Verification:
    """Check names, shapes, counts and every step against Keras; ``result.passed`` is the answer.

    Takes what :func:`trace` takes, and raises what it raises.
    """
    from rnnshapes import tracing
    from rnnshapes.verification import verify_network

    network, sources = prepare(model, x=x, seed=seed, **spec)
    tracing.require_memory(network, "y", with_keras=True)
    model = _built(network, seed) if model is None else model
    weights = reference.weights_of(model, network)
    answers = _run(model, network, sources)
    return verify_network(network, weights, sources, reference.built(model, network), answers)


def prepare(
    model: Any = None, *, x: Any = None, seed: int = 0, **spec: Unpack[Spec]
) -> tuple[Network, Sources]:
    """The network and its input; where x is given, N, T and D are those of the data.

    Raises InputError where sizes, data and model contradict each other.
    """
    from rnnshapes import inputs

    seed = check_seed(seed)
    if x is None:
        network = _network(model, **spec)
        default = network.batch or DEFAULTS["N"]
        network = network if network.sizes["N"] else network.with_sizes(N=default)
        _check_batch(network)
        return network, inputs.drawn(network, seed)
    if model is None:
        data = _data(x, "x", 3)
        inputs.check_stated(data, {name: spec.get(name) for name in "NTD"})
        n, t, d = data.array.shape
        return _network(None, **{**spec, "N": n, "T": t, "D": d}), (data,)
    network = _network(model)
    nodes = network.inputs
    parts = list(x.values()) if isinstance(x, dict) else x if len(nodes) > 1 else [x]
    floatx = reference.floatx()
    sources = []
    for i, (part, node) in enumerate(zip(parts, nodes, strict=False)):
        name = "x" if len(nodes) == 1 else f"x[{i}]"
        data = _data(part, name, len(getattr(node.layer, "shape", ())))
        stated = {str(d): spec.get(str(d)) for d in getattr(node.layer, "shape", ())}
        inputs.check_stated(data, stated)
        integers = getattr(node.layer, "integers", False)
        sources.append(data if integers else replace(data, dtype=floatx))
    network = inputs.fit(network, sources if len(parts) == len(nodes) else [])
    _check_batch(network)
    return network, tuple(sources)


def _data(x: Any, name: str, rank: int) -> Given:
    from rnnshapes import inputs

    if isinstance(x, str | Path):
        return inputs.read(Path(x), rank)
    return inputs.given(x, name, rank)


def _check_batch(network: Network) -> None:
    n = network.known("N")
    if network.batch is not None and n % network.batch:
        raise InputError(
            f"this model takes batches of {network.batch} samples, so N is a multiple of that, "
            f"not {n}"
        )


def _network(model: Any, **spec: Any) -> Network:
    """The network that sizes and options describe; or a live model, with N and T as given."""
    if model is None:
        return from_sizes(**spec)
    from rnnshapes import live

    network = live.read(model)
    sizes = network.sizes
    for name, value in spec.items():
        given = name in ("N", "T") or (name[:1] == "T" and name in sizes)
        if value is None or (given and name not in sizes):
            continue
        if given:
            network = network.with_sizes(**{name: check_size(name, value)})
        elif value != sizes.get(name):
            raise InputError(f"{name} is fixed by the model; leave {name} out")
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


def _run(model: Any, network: Network, sources: Sources) -> reference.Answers:
    from rnnshapes import inputs

    return reference.run(model, network, [inputs.whole(source) for source in sources])
