"""The only door to Keras and its backend: numbers go in as NumPy arrays, and come out so.

Keras is imported inside functions, the first time it is needed. While Keras works, what it or
TensorFlow writes to standard error is held back: TensorFlow's C++ side writes to file
descriptor 2 whatever TF_CPP_MIN_LOG_LEVEL says. It is handed on if the work fails.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from rnnshapes import memory
from rnnshapes.errors import CannotRunError, KerasUnavailableError
from rnnshapes.layers import Layer, Recurrent
from rnnshapes.network import ITEM_BYTES, Network

if TYPE_CHECKING:
    from rnnshapes.algebra.arrays import Array
    from rnnshapes.weights import Weights

_descriptor_2 = threading.RLock()
#: How many samples ``predict`` takes at once, Keras's default.
BATCH = 32
#: A ``keras.Model``, which this package treats as an opaque value outside this file.
Model = Any


@dataclass(frozen=True)
class Engine:
    """What computes the reference: Keras's version, its backend and the backend's version."""

    version: str
    backend: str
    backend_version: str


@dataclass(frozen=True)
class Built:
    """What Keras says of a model: (name, shape) of each weight and the count of each layer."""

    weights: tuple[tuple[str, tuple[int, ...]], ...]
    counts: tuple[tuple[str, int], ...]
    total: int


@dataclass(frozen=True, eq=False)
class Answers:
    """What Keras computes for an input x.

    ``steps`` is what each layer answers at every time step, (N, T, units), by layer name, and
    ``states`` each state of each recurrent layer, (N, T, M), by layer name and state;
    ``output`` is ``model.predict(x)``: (N, K), or (N, T, K) where the model returns sequences.
    """

    engine: Engine
    steps: Mapping[str, Array]
    states: Mapping[str, Mapping[str, Array]]
    output: Array


def engine() -> Engine:
    """The Keras that is installed and the backend it runs on."""
    keras = _keras()
    backend = str(keras.config.backend())
    module = sys.modules.get(backend)
    return Engine(str(keras.__version__), backend, str(getattr(module, "__version__", "?")))


def floatx() -> str:
    """What Keras rounds a model's input to."""
    return str(_keras().config.floatx())


def build(network: Network, weights: Weights | None = None) -> Model:
    """The network as a ``keras.Sequential``, with ``weights`` or with zeros.

    Raises TooLargeError before anything is allocated if the weights do not fit into memory,
    and CannotRunError if Keras is not there or cannot build it.
    """
    require_memory(network)
    keras = _keras()
    with _at_work("build the network"):
        shape = (network.known("T"), network.count(network.layers[0].features))
        layers = [_layer(keras, network, layer) for layer in network.layers]
        model = keras.Sequential([keras.Input(shape, dtype=network.dtype), *layers])
        if weights is not None:
            model.set_weights(
                [weights[la.name][w.key] for la in network.layers for w in la.weights]
            )
    return model


def require_memory(network: Network) -> None:
    """Raise TooLargeError if the weights alone do not fit into memory."""
    needed = network.parameters * ITEM_BYTES[network.dtype]
    memory.require(needed, f"building it ({network.parameters:,} parameters)")


def built(model: Model, network: Network) -> Built:
    """Names, shapes and counts as Keras has them."""
    layers = _layers(model, network)
    weights = [
        (f"{layer.name}/{variable.name}", tuple(int(n) for n in variable.shape))
        for layer in layers
        for variable in layer.weights
    ]
    counts = [(layer.name, int(layer.count_params())) for layer in layers]
    return Built(tuple(weights), tuple(counts), int(model.count_params()))


def weights_of(model: Model, network: Network) -> Weights:
    """The model's weights by layer name and by key in the equation."""
    found = {}
    for layer, keras_layer in zip(network.layers, _layers(model, network), strict=True):
        keys = [weight.key for weight in layer.weights]
        found[layer.name] = dict(zip(keys, keras_layer.get_weights(), strict=True))
    return found


def run(model: Model, network: Network, x: Array) -> Answers:
    """What the model answers to x (N, T, D), and what each of its layers answers at every t.

    The latter comes from a twin of the model: the same layers with the same weights, and
    ``return_sequences=True``. Where a cell has more states than it answers with (c of an LSTM),
    the twin has Keras's own cell in a loop that hands out all of them.
    """
    keras = _keras()
    if floatx() not in ITEM_BYTES:
        raise CannotRunError(
            f"Keras's floatx is {floatx()}, to which predict rounds x; set it to float32"
        )
    with _at_work("run the model"):
        output = model.predict(x, verbose=0)
        found = _every_step(_twin(keras, model, network, x.shape[1:]), x)
    for values in (output, *found):
        values.setflags(write=False)
    steps: dict[str, Array] = {}
    states: dict[str, dict[str, Array]] = {}
    for layer, values in zip(network.layers, found, strict=True):
        width = network.count(layer.units)
        parts = {key: values[..., i * width :][..., :width] for i, key in enumerate(layer.states)}
        states |= {layer.name: parts} if parts else {}
        steps[layer.name] = values[..., :width]
    return Answers(engine(), steps, states, output)


def _layers(model: Model, network: Network) -> list[Any]:
    by_name = {layer.name: layer for layer in model.layers}
    return [by_name[layer.name] for layer in network.layers]


def _layer(keras: Any, network: Network, layer: Layer, **more: Any) -> Any:
    options = layer.keras_options | {"kernel_initializer": "zeros", "dtype": network.dtype}
    if isinstance(layer, Recurrent):
        # Keras's own start of recurrent kernels (orthogonal) takes O(M³), and without a seed
        # it would take one from the user's global generator.
        options |= {"recurrent_initializer": "zeros", "seed": 0} | more
    kind = getattr(keras.layers, layer.type)
    return kind(network.count(layer.units), name=layer.name, **options)


def _twin(keras: Any, model: Model, network: Network, shape: tuple[int, ...]) -> Model:
    """The same layers with the same weights, each answering at every step, run the same way."""
    values = inputs = keras.Input(shape, dtype=network.dtype)
    outputs = []
    for layer, original in zip(network.layers, _layers(model, network), strict=True):
        copy = _layer(keras, network, layer, return_sequences=True)
        if len(layer.states) > 1:
            cell = _revealing(keras, copy.cell)
            copy = keras.layers.RNN(cell, return_sequences=True, dtype=network.dtype)
        values = copy(values)
        copy.set_weights(original.get_weights())
        outputs.append(values)
        values = values[..., : network.count(layer.units)]
    twin = keras.Model(inputs, outputs)
    compiled = {"jit_compile": model.jit_compile, "run_eagerly": model.run_eagerly}
    if compiled != {"jit_compile": twin.jit_compile, "run_eagerly": twin.run_eagerly}:
        twin.compile(**compiled)
    return twin


def _revealing(keras: Any, cell: Any) -> Any:
    """A cell that answers with all states of ``cell``, one behind the other."""

    class Revealing(keras.layers.Layer):  # type: ignore[misc]
        state_size = cell.state_size
        output_size = sum(cell.state_size)

        def build(self, shape: Any) -> None:
            self.cell = cell
            cell.build(shape)

        def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
            _, after = cell(inputs, states, training=training)
            return keras.ops.concatenate(after, axis=-1), after

        def get_initial_state(self, batch_size: Any = None) -> Any:
            return cell.get_initial_state(batch_size)

    return Revealing(dtype=cell.dtype_policy)


def _every_step(twin: Model, x: Array) -> list[Array]:
    """The twin's outputs, computed in the batches that ``predict`` takes."""
    import numpy as np

    # predict itself would first build a data pipeline, which costs more than the network.
    batches = [twin.predict_on_batch(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
    batches = [batch if isinstance(batch, list | tuple) else [batch] for batch in batches]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


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
    with _interrupts_kept(), held_back() as log:
        try:
            yield
        except Exception as error:
            message = f"Keras could not {what}: {_one_line(error)[:300]}"
            raise CannotRunError(message, log=_read(log)) from error


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
    return " ".join(f"{type(error).__name__}: {error}".split())


def _read(log: BinaryIO) -> str:
    log.seek(0)
    return log.read().decode("utf-8", "replace")
