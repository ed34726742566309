"""The public functions: sizes or a live model go in, a frozen result comes out."""

from __future__ import annotations

import operator
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from rnnshapes import reference
from rnnshapes.errors import InputError
from rnnshapes.network.from_sizes import DEFAULTS, from_sizes
from rnnshapes.network.graph import Network, check_size
from rnnshapes.network.summary import Inspection, inspect_network
from rnnshapes.result import Done, Meter, Tick

if TYPE_CHECKING:
    from rnnshapes.forward.golden import Golden
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.load.inputs import InputSources
    from rnnshapes.network.weights import Weights
    from rnnshapes.port.report import PortVerification
    from rnnshapes.reference.outputs import Answers
    from rnnshapes.verification.report import Verification
    from rnnshapes.verification.sweeping import Sweep


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

    Give a live ``keras.Model``, the path of a saved model, or the keywords of :class:`Spec` for
    ``Input((T, D)) → SimpleRNN(M) → Dense(K)``. A live model's counts are compared with Keras's
    own; with ``keras=True`` those of a network by sizes or from a file are, too, for which it is
    built. A file is read without Keras, and nothing in it is run.

    Raises InputError for a size that is no whole number of at least 1, an option that the cell
    does not have, or what is no model.
    """
    with _opened(model) as given:
        network = _network(given, **spec)
    if network.batch is not None:  # so many samples, or several times as many
        network = network if network.sizes["N"] else network.with_sizes(N=network.batch)
        _check_batch(network)
    if given is not None and not _is_saved(given):
        return inspect_network(network).against(given)
    result = inspect_network(network)
    if given is not None:
        result = replace(result, file=given.check(network))
    return result.checked() if keras else result


def trace(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    show: str | Iterable[str] = "y",
    layer: str | None = None,
    keras: bool = True,
    bounds: bool = False,
    **spec: Unpack[Spec],
) -> Trace:
    """y_hat at each time step, in NumPy and in Keras; with ``show="y,h,c,gates"`` these, too.

    Takes a model or the keywords of :class:`Spec`, as :func:`inspect` does. ``x`` is an array
    (N, T, D), or (T, D) for one sample, of real numbers, or the path of a .npy, .npz or .csv
    file, or a list of these for several inputs; left out, it is drawn from ``seed``, as the
    weights are of a network that is given by its sizes. ``layer`` names the recurrent layer to
    show. ``keras=False`` leaves Keras out. With ``bounds=True`` the result says at each step how
    far rounding may have taken Keras, and how far it is (``courses``).

    Raises InputError for bad sizes or data, and CannotRunError where Keras cannot be imported
    or there is not enough memory.
    """
    options: dict[str, Any] = {"show": show, "layer": layer, "keras": keras, "bounds": bounds}
    with prepare(model, x=x, seed=seed, **spec) as task:
        return trace_prepared(task, **options)


def trace_prepared(
    task: Task,
    *,
    show: str | Iterable[str] = "y",
    layer: str | None = None,
    keras: bool = True,
    bounds: bool = False,
    tick: Tick | None = None,
) -> Trace:
    """:func:`trace` for what :func:`prepare` handed out; ``tick`` is told how far it is."""
    from rnnshapes.forward import scan, tracing

    network = task.network
    task.require_known(keras=keras)
    tracing.check_layer(network, layer)
    show = tracing.check_show(network, show)
    tracing.require_memory(network, show, with_keras=keras)
    weights = task.weights()
    meter = Meter(tick, scan.steps_of(network), (3 if keras else 1) + (keras and bounds))
    answers = task.answers(weights, meter) if keras else None
    made = tracing.trace_network(network, weights, task.sources, show, answers, layer, meter)
    made = _bounded(made, task, weights, meter) if bounds else made
    meter.finish()
    return made


def _bounded(made: Trace, task: Task, weights: Weights, done: Done) -> Trace:
    """The same with its courses, where Keras has run."""
    from rnnshapes.load import inputs
    from rnnshapes.verification import residuals

    if made.keras is None:
        return made
    xs = [inputs.full_array(source) for source in task.sources]
    return replace(made, courses=residuals.courses(task.network, weights, xs, made.keras, done))


def golden(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    keras: bool = True,
    **spec: Unpack[Spec],
) -> Golden:
    """What a port of the network has to reproduce: ``result.arrays`` by name.

    Weights, input, every intermediate of each recurrence (N, T, units) and the answer, in NumPy
    float64. Takes what :func:`trace` takes, and raises what it raises. Keras is asked for the
    values of layers that are not derived, and for nothing else; with ``keras=False`` these are
    an InputError.
    """
    with prepare(model, x=x, seed=seed, **spec) as task:
        return golden_prepared(task, keras=keras and bool(task.network.unknown))[1]


def golden_prepared(
    task: Task,
    *,
    show: str | Iterable[str] = "y",
    layer: str | None = None,
    keras: bool = True,
    bounds: bool = False,
    tick: Tick | None = None,
) -> tuple[Trace, Golden]:
    """:func:`trace_prepared` and :func:`golden` in one run."""
    from rnnshapes.forward import golden as recording
    from rnnshapes.forward import scan, tracing

    network = task.network
    task.require_known(keras=keras)
    tracing.check_layer(network, layer)
    show = tracing.check_show(network, show)
    recording.require_memory(network, with_keras=keras)
    weights = task.weights()
    meter = Meter(tick, scan.steps_of(network), (4 if keras else 2) + (keras and bounds))
    answers = task.answers(weights, meter) if keras else None
    whole, found = recording.record_network(network, weights, task.sources, answers, meter)
    whole = _bounded(whole, task, weights, meter) if bounds else whole
    meter.finish()
    return whole.showing(show, layer), found


def verify(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    against: Any = None,
    dtype: str | None = None,
    **spec: Unpack[Spec],
) -> Verification | PortVerification:
    """Check names, shapes, counts and every step against Keras; ``result.passed`` is the answer.

    ``result.not_derived`` names layers that no check covers, of which ``passed`` says nothing.

    Takes what :func:`trace` takes, and raises what it raises. With ``against``, what an
    implementation of the user's own has computed is checked instead: an array of y_hat or h, at
    every step or at the last, a mapping of such arrays by name, or the path of a file (.npy,
    .npz, .csv, .json, .h). ``dtype`` is the format in which that one computes, if it is not that
    of the arrays; ``result.diagnosis`` explains a failure.
    """
    with prepare(model, x=x, seed=seed, **spec) as task:
        if against is not None:
            return compare_prepared(task, against, dtype)
        if dtype is not None:
            raise InputError("dtype (--dtype) is that of a port: give against (--against), too")
        return verify_prepared(task)


def compare_prepared(task: Task, against: Any, dtype: str | None = None) -> PortVerification:
    """:func:`verify` of a port for what :func:`prepare` handed out."""
    from rnnshapes.forward import tracing
    from rnnshapes.port import arrays
    from rnnshapes.port.report import check_dtype, compare

    dtype = check_dtype(dtype)
    port = arrays.read_port(against)
    network = task.network
    task.require_known(keras=False)
    tracing.require_memory(network, tracing.everything(network))
    return compare(network, task.weights(), task.sources, port, dtype)


def verify_prepared(task: Task, *, tick: Tick | None = None) -> Verification:
    """:func:`verify` for what :func:`prepare` handed out; ``tick`` is told how far it is."""
    from rnnshapes.forward import scan, tracing
    from rnnshapes.verification.report import PASSES, verify_network

    network = task.network
    task.require_known(keras=True)
    tracing.require_memory(network, "y", with_keras=True)
    weights = task.weights()
    meter = Meter(tick, scan.steps_of(network), 2 + PASSES)
    answers = task.answers(weights, meter)
    model = task.keras_model(weights)
    built, held = reference.built(model, network), reference.weights_of(model, network)
    result = verify_network(network, weights, task.sources, built, held, answers, meter)
    meter.finish()
    return result


def sweep(*, seed: int = 0, tick: Tick | None = None, **spec: Unpack[Spec]) -> Sweep:
    """Verify a grid of cells, options and sizes in this process; ``result.passed`` is the answer.

    What is given of :class:`Spec` is fixed, the rest varies. ``tick`` is told how many networks
    are done, and of how many.

    Raises InputError for a size or an option that no network can have, and CannotRunError where
    Keras cannot be imported or not one of the networks fits into memory.
    """
    from rnnshapes.verification import grid, sweeping

    seed = check_seed(seed)
    fixed = {name: value for name, value in spec.items() if value is not None}
    return sweeping.sweep(grid.networks(fixed), seed, tick)


class Task:
    """A network with its input, its weights, and its model in Keras, each made once."""

    def __init__(self, network: Network, sources: InputSources, given: Any, seed: int) -> None:
        self.network, self.sources, self.given, self.seed = network, sources, given, seed
        self.model = None if given is None or _is_saved(given) else given

    def require_known(self, *, keras: bool) -> None:
        """InputError for a file of which too little is known to compute anything."""
        if _is_saved(self.given):
            self.given.require_computable(self.network, keras=keras)

    def weights(self) -> Weights:
        """The numbers in the weights."""
        if self.given is None:
            from rnnshapes.network import weights

            return weights.draw(self.network, self.seed)
        if _is_saved(self.given):
            found: Weights = self.given.weights()
            return found
        return reference.weights_of(self.given, self.network)

    def keras_model(self, weights: Weights) -> reference.Model:
        """The user's own model, or one with these weights."""
        if self.model is None:
            self.model = reference.build(self.network, weights)
        return self.model

    def answers(self, weights: Weights, done: Done | None) -> Answers:
        """What Keras computes."""
        from rnnshapes.load import inputs

        xs = [inputs.full_array(source) for source in self.sources]
        return reference.run(self.keras_model(weights), self.network, xs, done)


@contextmanager
def prepare(
    model: Any = None, *, x: Any = None, seed: int = 0, **spec: Unpack[Spec]
) -> Iterator[Task]:
    """The network and its input; where x is given, N, T and D are those of the data.

    Raises InputError where sizes, data and model contradict each other.
    """
    seed = check_seed(seed)
    with _opened(model) as given:
        yield Task(*_fitted(given, x, seed, spec), given, seed)


def _fitted(given: Any, x: Any, seed: int, spec: Any) -> tuple[Network, InputSources]:
    from rnnshapes.load import check_shape, inputs

    if x is None:
        network = _network(given, **spec)
        default = network.batch or DEFAULTS["N"]
        network = network if network.sizes["N"] else network.with_sizes(N=default)
        _check_batch(network)
        return network, inputs.random_inputs(network, seed)
    if given is None:
        data = (
            inputs.read_input(Path(x)) if isinstance(x, str | Path) else inputs.array_input(x, "x")
        )
        check_shape.check_stated_sizes(data, {name: spec.get(name) for name in "NTD"})
        n, t, d = data.array.shape
        return _network(None, **{**spec, "N": n, "T": t, "D": d}), (data,)
    options = {name: value for name, value in spec.items() if name not in ("N", "T", "D")}
    network, found = check_shape.match_input(_network(given, **options), x, spec)
    floatx = "float32" if _is_saved(given) else reference.floatx()
    sources = [
        data if getattr(node.layer, "integers", False) else replace(data, dtype=floatx)
        for data, node in zip(found, network.inputs, strict=True)
    ]
    _check_batch(network)
    return network, tuple(sources)


@contextmanager
def _opened(model: Any) -> Iterator[Any]:
    """A saved model for the path of one; anything else as it is."""
    if not isinstance(model, str | os.PathLike):
        yield model
        return
    from rnnshapes.load.saved.model import open_model_file

    with open_model_file(Path(model)) as saved:
        yield saved


def _is_saved(model: Any) -> bool:
    """Whether it is a saved model, for which its module has been loaded."""
    module = sys.modules.get("rnnshapes.load.saved.model")
    return module is not None and isinstance(model, module.ModelFile)


def _check_batch(network: Network) -> None:
    n = network.known("N")
    if network.batch is not None and n % network.batch:
        raise InputError(
            f"this model takes batches of {network.batch} samples, so N is a multiple of that, "
            f"not {n}"
        )


def _network(model: Any, **spec: Any) -> Network:
    """The network that sizes and options describe; or that of a model, with open sizes as given."""
    if model is None:
        return from_sizes(**spec)
    if _is_saved(model):
        network: Network = model.network
    else:
        from rnnshapes.load.live import model as live

        network = live.read_model(model)
    for name, value in spec.items():
        if value is not None:
            network = _sized(network, name, value)
    return network


def _sized(network: Network, name: str, value: Any) -> Network:
    """The network with one more size, for each input that leaves it open: T for T1 and T2."""
    sizes = network.sizes
    if name not in Spec.__annotations__ and name not in sizes:
        raise TypeError(f"{name!r} is no size and no option of a network")
    of_inputs = [n for n in sizes if re.fullmatch(rf"{name}\d*", n)]
    left_open = [n for n in of_inputs if sizes[n] is None]
    if left_open or name in ("N", "T"):
        wanted = dict.fromkeys(left_open or of_inputs, check_size(name, value))
        return network.with_sizes(**wanted)
    fixed = [sizes[n] for n in of_inputs]
    if value not in (fixed, *fixed):
        said = f"{name} is {', '.join(map(str, fixed))} in this model" if fixed else ""
        flag = f"--{name.replace('_', '-').removeprefix('use-')}"
        raise InputError(f"{said or f'{name} is fixed by the model'}; leave it ({flag}) out")
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
