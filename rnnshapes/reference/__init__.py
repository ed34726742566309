"""The only package that imports Keras: NumPy arrays go in, NumPy arrays come out.

Keras is imported inside functions, when it is first needed. While Keras works, nothing that it or
TensorFlow writes to standard error is shown, unless the work fails.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rnnshapes import memory, progress
from rnnshapes.errors import (
    CannotRunError,
    KerasUnavailableError,
    SignalExit,
    UnsupportedError,
)
from rnnshapes.load.live.keras_private import all_layers, calls_forgotten, input_structure
from rnnshapes.load.live.recorded_model import RecordedModel, own_model
from rnnshapes.network.graph import DTYPES_16BIT, ITEM_BYTES, Network, Tap
from rnnshapes.network.structure import Engine, ModelStructure
from rnnshapes.reference.outputs import STATES, ModelOutputs
from rnnshapes.reference.quiet import (
    captured_stderr,
    interruptible,
    keras_at_work,
    one_line,
    read_log,
)

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.ops.activations import Array
    from rnnshapes.ops.dims import Shape
    from rnnshapes.reference.outputs import States

#: How many samples ``predict`` takes at once by default.
BATCH = 32
#: Numbers of time steps for which the shapes behind unsupported layers are compared.
_STEPS = (13, 1009)
#: Bytes of address space without which TensorFlow ends the process and not its import.
_ADDRESS_SPACE = 2300 * 2**20
#: A ``keras.Model``, an opaque value outside this package; or a RecordedModel of one.
Model = Any


def engine() -> Engine:
    """Return the version of the installed Keras and the backend that it runs on."""
    keras = _import_keras()
    backend = str(keras.config.backend())
    module = sys.modules.get(backend)
    version = str(getattr(module, "__version__", "?"))
    with captured_stderr():  # TensorFlow looks for GPUs the first time
        tensor_float_32 = _uses_tensor_float_32(backend, module)
    return Engine(str(keras.__version__), backend, version, tensor_float_32)


def _uses_tensor_float_32(backend: str, module: Any) -> bool:
    """Return whether float32 products are rounded to TensorFloat-32, which only GPUs do."""
    if backend == "tensorflow":
        gpus = module.config.list_physical_devices("GPU")
        return bool(gpus and module.config.experimental.tensor_float_32_execution_enabled())
    if backend == "torch":
        return bool(module.cuda.is_available() and module.backends.cuda.matmul.allow_tf32)
    return False


def floatx() -> str:
    """Return the dtype to which Keras rounds a model's input."""
    return str(_import_keras().config.floatx())


def build(network: Network, weights: Weights | None = None) -> Model:
    """Build the network as a Keras model, with ``weights`` or with zeros.

    Raises:
        TooLargeError: the weights do not fit into memory; nothing is allocated then.
        CannotRunError: Keras is not installed, or cannot build the network.
    """
    require_memory(network)
    keras = _import_keras_for(network)
    from rnnshapes.reference import builder

    with keras_at_work("build the network"):
        return builder.build(keras, network, weights)


def save(model: Model, path: Path) -> None:
    """Save a model as a .keras file. Raises CannotRunError if Keras cannot."""
    with keras_at_work("save the model"):
        model.save(path)


def require_memory(network: Network) -> None:
    """Raise TooLargeError if the weights alone do not fit into memory."""
    needed = network.parameters * ITEM_BYTES[network.dtype]
    memory.require(needed, f"building it ({network.parameters:,} parameters)")


def structure_of(model: Model, network: Network) -> ModelStructure:
    """Return names, shapes and counts as Keras has them."""
    return _structure(_layers(model, network), network, int(own_model(model).count_params()))


def _structure(
    layers: dict[str, Any], network: Network, total: int | None = None
) -> ModelStructure:
    from rnnshapes.load.live.graph import recurrent_layers

    by_name = {layer.name: layer for layer in network.layers}
    weights = {
        name: tuple((v.name, tuple(int(n) for n in v.shape)) for v in layer.weights)
        for name, layer in layers.items()
    }
    # An unsupported layer without weights may be a part of another one, where they count.
    counted = {la.name for la in network.layers if la.weights or la.declared_shapes is None}
    counts = {name: int(la.count_params()) for name, la in layers.items() if name in counted}
    backwards = {
        direction.name: bool(rnn.go_backwards)
        for name, layer in layers.items()
        for direction, rnn in zip(by_name[name].directions, recurrent_layers(layer), strict=False)
    }
    total = sum(counts.values()) if total is None else total
    return ModelStructure(weights, counts, total, backwards)


def weights_of(model: Model, network: Network) -> Weights:
    """Return the model's weights by group and key, and the states that its layers hold."""
    from rnnshapes.load.live.graph import recurrent_layers

    weights: dict[str, dict[str, Array]] = {}
    layers = _layers(model, network)
    for layer in network.layers:
        if layer.groups and layer.name in layers:
            arrays = iter(layers[layer.name].get_weights())
            for name, group in layer.groups.items():
                weights[name] = {weight.key: next(arrays) for weight in group}
    for node in network.recurrent:
        if node.keeps_states:
            rnns = recurrent_layers(layers[node.layer.name])
            for (name, direction), rnn in zip(node.scans, rnns, strict=True):
                values = [_numpy(variable) for variable in _flatten(rnn.states)]
                weights[STATES + name] = dict(zip(direction.cell.states, values, strict=True))
    return weights


def run(model: Model, network: Network, xs: Sequence[Array]) -> ModelOutputs:
    """Run the model; return its outputs, and the outputs and states of its layers at every t.

    A second model (:mod:`.instrumented_model`) returns what the model's own layers compute, and
    runs each of its cells once more in a loop that returns all states at each step. The model
    itself, with its weights and the states that it holds, stays as it was. Each step is reported
    as progress twice, once for each model.
    """
    from rnnshapes.reference.instrumented_model import (  # needs NumPy
        InstrumentedModel,
        steps_per_batch,
    )

    keras = _import_keras()
    if floatx() in DTYPES_16BIT:
        raise CannotRunError(
            f"Keras's floatx is {floatx()}, to which predict rounds x; set it to float32"
        )
    size = network.batch or BATCH
    callbacks = _progress_callbacks(keras, steps_per_batch(network, size, len(xs[0])))
    with keras_at_work("run the model"), _unchanged(own_model(model)):
        outputs = _predict(keras, model, network, xs, callbacks)
    with keras_at_work("run the model"), _unchanged(own_model(model)):
        instrumented = InstrumentedModel.of(keras, model, network)
        arrays = instrumented.run(xs, size)
    for array in (*outputs, *arrays):
        array.setflags(write=False)
    fields = instrumented.fields(arrays)
    _require_samples(network, fields["values"], len(xs[0]))
    return ModelOutputs(engine=engine(), outputs=outputs, **fields)


def is_random(
    model: Model, network: Network, xs: Sequence[Array], outputs: Sequence[Array]
) -> bool:
    """Return whether another ``predict`` on the same x gives other ``outputs``."""
    keras = _import_keras()
    with keras_at_work("run the model"), _unchanged(own_model(model)):
        again = _predict(keras, model, network, xs)
    return any(map(_differ, outputs, again))


def _predict(
    keras: Any, model: Model, network: Network, xs: Sequence[Array], callbacks: Sequence[Any] = ()
) -> tuple[Array, ...]:
    """Return the outputs of the model's own ``predict``, one after the other."""
    own = own_model(model)
    x = xs[0] if len(xs) == 1 else list(xs)
    is_recorded = isinstance(model, RecordedModel)
    structure = model.structure if is_recorded else input_structure(model)
    if isinstance(structure, dict):
        x = keras.tree.pack_sequence_as(structure, list(xs))
    with _known_sizes(own) if "float16" in network.precisions else nullcontext():
        outputs = own.predict(x, batch_size=network.batch, verbose=0, callbacks=list(callbacks))
    return tuple(keras.tree.flatten(outputs))


@contextmanager
def _unchanged(own: Any) -> Iterator[None]:
    """Restore the weights and states of a model afterwards."""
    variables = _variables(own)
    before = [_numpy(variable) for variable in variables]
    try:
        yield
    finally:
        _restore(variables, before)


def _differ(first: Array, second: Array) -> bool:
    """Return whether two arrays differ by much more than rounding would cause."""
    import numpy as np

    if first.shape != second.shape:
        return True
    one, other = first.astype("float64"), second.astype("float64")
    largest = np.max(np.abs(one), initial=0.0, where=np.isfinite(one))
    return not np.allclose(one, other, rtol=0.0, atol=0.01 * largest, equal_nan=True)


@contextmanager
def _known_sizes(own: Any) -> Iterator[None]:
    """Build the graph of ``predict`` anew, in which all sizes but N are known.

    After calls with other numbers of steps, T is open in the model's own graph. There ``einsum``
    sums in float16: :func:`rnnshapes.ops.contraction.einsum_sums_in_float16`.
    """
    before, own.predict_function = own.predict_function, None
    try:
        yield
    finally:
        own.predict_function = before


def _require_samples(
    network: Network, values: Mapping[str, tuple[Array, ...]], samples: int
) -> None:
    """Raise UnsupportedError for a layer of unknown equation that joins or adds samples.

    Also for one whose output has another shape than for other numbers of steps.
    """
    for node in network.unsupported:
        for output, dims in zip(values[node.name], node.layer.declared_shapes or (), strict=False):
            expected = network.shape_numbers(dims)[1:]
            if output.shape[1:] != expected and None not in expected:
                raise UnsupportedError(
                    f"layer {node.name!r} ({node.layer.type}) returns {output.shape[1:]} for each "
                    f"sample, and not {expected} as for other numbers of time steps"
                )
        for output in values[node.name]:
            if len(output) != samples:
                raise UnsupportedError(
                    f"layer {node.name!r} ({node.layer.type}) returns {output.shape} for {samples} "
                    "samples: an output that mixes samples is not supported"
                )


def with_computed_sizes(model: Model, network: Network) -> Network:
    """Return the network with the sizes that unsupported layers leave open, as Keras has them.

    They stay open where those of the inputs are.
    """
    from rnnshapes.reference.instrumented_model import output_shapes

    shapes = [network.shape_numbers(node.layer.shape) for node in network.inputs]  # type: ignore[attr-defined]
    is_open = any(None in map(network.value, dims) for _, dims in _declared_shapes(network))
    known = [tuple(n for n in shape if n is not None) for shape in shapes]
    if not is_open or known != shapes:
        return network
    with keras_at_work("compute the shapes behind layers that are not supported"):
        computed = output_shapes(_import_keras(), model, known)
    sizes = {
        str(dim): size
        for (position, number), dims in _declared_shapes(network)
        for dim, size in zip(dims, computed[position][number], strict=True)
        if network.value(dim) is None and size is not None
    }
    return network.with_sizes(**sizes)


def keeping_steps(model: Model, network: Network) -> frozenset[int]:
    """Return the unsupported layers whose output has as many steps as their first input.

    These are positions of nodes that leave the number of steps open; it is compared for two numbers
    of steps of the model's inputs.
    """
    from rnnshapes.reference.instrumented_model import output_shapes

    is_open = {
        tap.node
        for tap, dims in _declared_shapes(network)
        if len(dims) > 1 and network.value(dims[1]) is None and network.nodes[tap.node].sources
    }
    for steps in _STEPS if is_open else ():
        shapes = []
        for number, node in enumerate(network.inputs):
            sizes = network.shape_numbers(node.layer.shape)[1:]  # type: ignore[attr-defined]
            first = [steps + number if size is None else size for size in sizes[:1]]
            shapes.append((network.batch or 1, *first, *(size for size in sizes[1:] if size)))
        try:
            with keras_at_work("compute shapes"):
                computed = output_shapes(_import_keras(), model, shapes)
        except CannotRunError:  # its code takes only some numbers of steps
            return frozenset()
        for position in tuple(is_open):
            source = network.nodes[position].sources[0]
            before, after = computed[source.node][source.output], computed[position][0]
            if len(before) < 2 or len(after) < 2 or before[1] != after[1]:
                is_open.remove(position)
    return frozenset(is_open)


def _declared_shapes(network: Network) -> Iterator[tuple[Tap, Shape]]:
    """Yield the shape of each output of the layers that are not supported."""
    for position, node in enumerate(network.nodes):
        for number, shape in enumerate(node.layer.declared_shapes or ()):
            yield Tap(position, number), shape


@contextmanager
def recorded(model: Model) -> Iterator[RecordedModel]:
    """Record the calls of layers in a subclassed model by one symbolic call of it.

    The records are removed afterwards: the model stays as it was.

    Raises:
        UnsupportedError: its code needs numbers, or more than one argument.
    """
    from rnnshapes.reference import symbolic_call

    with calls_forgotten(all_layers(model)):
        yield symbolic_call.record(_import_keras(), model)


def _progress_callbacks(keras: Any, steps: Sequence[int]) -> list[Any]:
    """Return a Keras callback that reports the steps of each finished batch."""
    reported = 0

    def on_batch_end(batch: int, logs: object) -> None:
        nonlocal reported
        progress.advance(sum(steps[reported : batch + 1]))
        reported = batch + 1

    return [keras.callbacks.LambdaCallback(on_predict_batch_end=on_batch_end)]


def repeat_steps(
    network: Network, weights: Weights, computed: ModelOutputs, before: States
) -> ModelOutputs:
    """Let new Keras layers and cells repeat each step that NumPy has computed.

    Args:
        network: The network; its dtype is that of the computation.
        weights: Its weights.
        computed: What NumPy has computed: the inputs of the layers.
        before: States (N, T, M) from which the cells take one step each.
    """
    from rnnshapes.reference.single_step import SingleStep

    keras = _import_keras_for(network)
    with keras_at_work("repeat each step"):
        outputs = SingleStep(keras, network, weights, computed, before).run()
    return replace(outputs, engine=engine())


class RepeatedRun(NamedTuple):
    """What :func:`repeat_steps` returns, the layers' structure, and their outputs as a whole."""

    outputs: ModelOutputs
    structure: ModelStructure
    unrolled: Mapping[str, tuple[Array, ...]]


def repeat_steps_and_layers(
    steps: int, network: Network, weights: Weights, computed: ModelOutputs, before: States
) -> RepeatedRun:
    """Do what :func:`repeat_steps` does, and call each recurrent layer on its first ``steps``."""
    from rnnshapes.reference.single_step import SingleStep

    keras = _import_keras_for(network)
    with keras_at_work("repeat each step"):
        single_step = SingleStep(keras, network, weights, computed, before)
        outputs = replace(single_step.run(), engine=engine())
        structure = _structure(single_step.builder.layers, network)
        return RepeatedRun(outputs, structure, single_step.unrolled(steps))


def _variables(model: Model) -> list[Any]:
    """Return all variables of a model, each of which its code may assign, and its states."""
    from rnnshapes.load.live.graph import recurrent_layers

    rnns = [rnn for layer in all_layers(model) for rnn in recurrent_layers(layer)]
    variables = [variable for rnn in rnns for variable in _flatten(rnn.states or [])]
    return [*model.variables, *variables]


def _restore(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _numpy(variable: Any) -> Array:
    array: Array = variable.numpy()
    return array


def _flatten(states: Any) -> list[Any]:
    """Return variables in one list, however they are nested."""
    if isinstance(states, list | tuple):
        return [variable for inner in states for variable in _flatten(inner)]
    return [states]


def _layers(model: Model, network: Network) -> dict[str, Any]:
    """Return the layers of the model by their names in the network."""
    from rnnshapes.load.live.graph import layers_by_name
    from rnnshapes.reference.builder import name_in_keras

    by_name = layers_by_name(model)
    names = {layer.name: layer.name for layer in network.layers}
    names = {name: name if name in by_name else name_in_keras(name) for name in names}
    return {name: by_name[own] for name, own in names.items() if own in by_name}


def _import_keras_for(network: Network) -> Any:
    """Import Keras, or raise CannotRunError if it does not have a cell of the network."""
    if network.not_in_keras:
        raise CannotRunError(f"Keras has no {network.not_in_keras[0]} (use --no-keras)")
    return _import_keras()


def _import_keras() -> Any:
    if "keras" in sys.modules:
        return sys.modules["keras"]
    memory.require_address_space(_ADDRESS_SPACE, "Keras with its backend")
    with interruptible(), captured_stderr() as log, garbage_collection_paused():
        try:
            import keras
        except SignalExit:
            raise
        except (Exception, SystemExit) as error:
            raise KerasUnavailableError(
                f"Keras cannot be imported ({one_line(error)}); {_remedy()}",
                log=read_log(log),
            ) from error
    return keras


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection: an import makes objects that stay, and 4 % of its time goes."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _remedy() -> str:
    """Return what to do where Keras or its backend cannot be imported."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        return f"KERAS_BACKEND is {backend!r}: unset it, or install that backend"
    return (
        "install it with pip install --upgrade keras tensorflow, "
        "or choose another backend with KERAS_BACKEND"
    )
