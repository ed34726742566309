"""The only door to Keras and its backend: numbers go in as NumPy arrays, and come out so.

Keras is imported inside functions, the first time it is needed. While Keras works, what it or
TensorFlow writes to standard error is held back: TensorFlow's C++ side writes to file
descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says. It is handed on if the work fails.
"""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from rnnshapes import memory, progress
from rnnshapes.errors import CannotRunError, KerasUnavailableError
from rnnshapes.load.live.keras_private import all_layers, input_structure
from rnnshapes.network.graph import ITEM_BYTES, SHORT_DTYPES, Network
from rnnshapes.network.structure import Engine, ModelStructure
from rnnshapes.reference.outputs import STATES, ModelOutputs

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.ops.activations import Array
    from rnnshapes.reference.outputs import States

_descriptor_2 = threading.RLock()
#: How many samples ``predict`` takes at once, Keras's default.
BATCH = 32
#: A ``keras.Model``, which this package treats as an opaque value outside this file.
Model = Any


def engine() -> Engine:
    """The Keras that is installed and the backend it runs on."""
    keras = _keras()
    backend = str(keras.config.backend())
    module = sys.modules.get(backend)
    version = str(getattr(module, "__version__", "?"))
    with held_back():  # TensorFlow looks for GPUs the first time
        short = _tensor_float_32(backend, module)
    return Engine(str(keras.__version__), backend, version, short)


def _tensor_float_32(backend: str, module: Any) -> bool:
    """Whether products of float32 are rounded to TensorFloat-32, which only GPUs do."""
    if backend == "tensorflow":
        gpus = module.config.list_physical_devices("GPU")
        return bool(gpus and module.config.experimental.tensor_float_32_execution_enabled())
    if backend == "torch":
        return bool(module.cuda.is_available() and module.backends.cuda.matmul.allow_tf32)
    return False


def floatx() -> str:
    """What Keras rounds a model's input to."""
    return str(_keras().config.floatx())


def build(network: Network, weights: Weights | None = None) -> Model:
    """The network as a Keras model, with ``weights`` or with zeros.

    Raises TooLargeError before anything is allocated if the weights do not fit into memory,
    and CannotRunError if Keras is not there or cannot build it.
    """
    require_memory(network)
    keras = _keras()
    from rnnshapes.reference import builder

    with _at_work("build the network"):
        return builder.build(keras, network, weights)


def require_memory(network: Network) -> None:
    """Raise TooLargeError if the weights alone do not fit into memory."""
    needed = network.parameters * ITEM_BYTES[network.dtype]
    memory.require(needed, f"building it ({network.parameters:,} parameters)")


def built(model: Model, network: Network) -> ModelStructure:
    """Names, shapes and counts as Keras has them."""
    return _built(_layers(model, network), network, int(model.count_params()))


def _built(layers: dict[str, Any], network: Network, total: int | None = None) -> ModelStructure:
    from rnnshapes.load.live.graph import recurrent_layers

    known = {layer.name: layer for layer in network.layers}
    weights = {
        name: tuple((v.name, tuple(int(n) for n in v.shape)) for v in layer.weights)
        for name, layer in layers.items()
    }
    counts = {name: int(layer.count_params()) for name, layer in layers.items()}
    backwards = {
        direction.name: bool(part.go_backwards)
        for name, layer in layers.items()
        for direction, part in zip(known[name].directions, recurrent_layers(layer), strict=False)
    }
    return ModelStructure(
        weights, counts, sum(counts.values()) if total is None else total, backwards
    )


def weights_of(model: Model, network: Network) -> Weights:
    """The model's weights by group and by key in the equation, and the states that it keeps."""
    from rnnshapes.load.live.graph import recurrent_layers

    found: dict[str, dict[str, Array]] = {}
    layers = _layers(model, network)
    for layer in network.layers:
        if layer.groups and layer.name in layers:
            arrays = iter(layers[layer.name].get_weights())
            for name, group in layer.groups.items():
                found[name] = {weight.key: next(arrays) for weight in group}
    for node in network.recurrent:
        if getattr(node.layer, "stateful", False):
            for (name, direction), rnn in zip(
                node.scans, recurrent_layers(layers[node.layer.name]), strict=True
            ):
                values = [_numpy(v) for v in _flat(rnn.states)]
                found[STATES + name] = dict(zip(direction.cell.states, values, strict=True))
    return found


def run(model: Model, network: Network, xs: Sequence[Array]) -> ModelOutputs:
    """What the model answers to its inputs, and what is in it at every t.

    A second model hands out what the model's own layers yield, and runs each of its cells once
    more in a loop that hands out all states at each step. The model itself is left as it was,
    also where it keeps states. Each step is reported twice, batch by batch: once for each model.
    """
    from rnnshapes.reference.probe import Watch, share_of  # which needs NumPy

    keras = _keras()
    if floatx() in SHORT_DTYPES:
        raise CannotRunError(
            f"Keras's floatx is {floatx()}, to which predict rounds x; set it to float32"
        )
    size = network.batch or BATCH
    kept = _changing(model)
    before = [_numpy(variable) for variable in kept]
    given = xs[0] if len(xs) == 1 else list(xs)
    structure = input_structure(model)
    if isinstance(structure, dict):
        given = keras.tree.pack_sequence_as(structure, list(xs))
    with _at_work("run the model"):
        try:
            callbacks = _progress_callbacks(keras, share_of(network, size, len(xs[0])))
            outputs = model.predict(given, batch_size=size, verbose=0, callbacks=callbacks)
            _restore(kept, before)
            watch = Watch.of(keras, model, network)
            found = watch.over(xs, size)
        finally:
            _restore(kept, before)
    outputs = tuple(keras.tree.flatten(outputs))
    parts = watch.sorted_out(found)
    for values in (*outputs, *found):
        values.setflags(write=False)
    return ModelOutputs(engine=engine(), outputs=outputs, **parts)


def _progress_callbacks(keras: Any, steps: Sequence[int]) -> list[Any]:
    """Return a Keras callback that reports the steps of each finished batch, if anybody listens."""
    if not progress.is_watched():
        return []
    reported = 0

    def on_batch_end(batch: int, logs: object) -> None:
        nonlocal reported
        progress.advance(sum(steps[reported : batch + 1]))
        reported = batch + 1

    return [keras.callbacks.LambdaCallback(on_predict_batch_end=on_batch_end)]


def step(network: Network, weights: Weights, ours: ModelOutputs, before: States) -> ModelOutputs:
    """What Keras's own layers and cells make of what NumPy has found, each called once.

    ``before`` are the states (N, T, M) from which the cells take one step each, ``ours`` the
    values that stand in front of the layers. The network's dtype is that of the computation.
    """
    from rnnshapes.reference.single_step import Stepping

    keras = _keras()
    with _at_work("repeat each step"):
        found = Stepping(keras, network, weights, ours, before).run()
    return replace(found, engine=engine())


class Examined(NamedTuple):
    """What Keras makes of each step, what it says of its layers, and what these answer."""

    answers: ModelOutputs
    built: ModelStructure
    called: Mapping[str, tuple[Array, ...]]


def examine(
    steps: int,
    network: Network,
    weights: Weights,
    ours: ModelOutputs,
    before: States,
) -> Examined:
    """:func:`step`, with more of the layers that Keras has made for it.

    Layers with a recurrence are called as they are, on the first ``steps`` of their input.
    """
    from rnnshapes.reference.single_step import Stepping

    keras = _keras()
    with _at_work("repeat each step"):
        stepping = Stepping(keras, network, weights, ours, before)
        found = replace(stepping.run(), engine=engine())
        seen = _built(stepping.making.layers, network)
        return Examined(found, seen, stepping.called(steps))


def _changing(model: Model) -> list[Any]:
    """What a run changes in a model: the states that layers keep, and the seeds of dropout."""
    from rnnshapes.load.live.graph import recurrent_layers

    layers = all_layers(model)
    states = [v for la in layers for rnn in recurrent_layers(la) for v in _flat(rnn.states or [])]
    states += [v for v in getattr(model, "non_trainable_variables", ()) if "seed" in v.name]
    return list({id(variable): variable for variable in states}.values())


def _restore(variables: list[Any], values: list[Array]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _numpy(variable: Any) -> Array:
    found: Array = variable.numpy()
    return found


def _flat(states: Any) -> list[Any]:
    """Variables, however they are nested."""
    if isinstance(states, list | tuple):
        return [variable for part in states for variable in _flat(part)]
    return [states]


def _layers(model: Model, network: Network) -> dict[str, Any]:
    """The layers of the model by the names that they have in the network."""
    from rnnshapes.load.live.graph import layers_by_name
    from rnnshapes.reference.builder import name_in_keras

    found = layers_by_name(model)
    names = {layer.name: layer.name for layer in network.layers}
    names = {name: name if name in found else name_in_keras(name) for name in names}
    return {name: found[own] for name, own in names.items() if own in found}


def _keras() -> Any:
    if "keras" in sys.modules:
        return sys.modules["keras"]
    with _interrupts_kept(), held_back() as log, _no_garbage_collection():
        try:
            import keras
        except (Exception, SystemExit) as error:
            raise KerasUnavailableError(
                f"Keras cannot be imported ({_one_line(error)}); {_advice()}",
                log=_read(log),
            ) from error
    return keras


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """An import makes objects that stay: looking for garbage among them takes 4 % of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _at_work(what: str) -> Iterator[None]:
    """Keras at work: silent, and any failure of it a CannotRunError of one line."""
    drawn = random.getstate()  # Keras draws seeds of layers from it
    with _interrupts_kept(), held_back() as log:
        try:
            yield
        except Exception as error:
            message = f"Keras could not {what}: {_one_line(error)[:300]}"
            raise CannotRunError(message, log=_read(log)) from error
        finally:
            random.setstate(drawn)


@contextmanager
def _interrupts_kept() -> Iterator[None]:
    """Make Ctrl-C a KeyboardInterrupt also where C++ code has turned it into another error."""
    own = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if own or threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception:
        if not interrupted:
            raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[BinaryIO]:
    """Send file descriptor 2 to a temporary file, which is handed out, for a while.

    There is one descriptor 2 for all threads, so one thread at a time may do so.
    """
    with _descriptor_2, tempfile.TemporaryFile() as log:
        try:
            saved = os.dup(2)
        except OSError:  # there is no standard error
            yield log
            return
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


def _advice() -> str:
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        return f"KERAS_BACKEND is {backend!r}: unset it, or install that backend"
    return (
        "install it with pip install --upgrade keras tensorflow, "
        "or choose another backend with KERAS_BACKEND"
    )


def _one_line(error: BaseException) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{type(error).__name__}: {error}")
    return " ".join(text.split())


def _read(log: BinaryIO) -> str:
    log.seek(0)
    return log.read().decode("utf-8", "replace")
