"""Networks that Keras has run, and the same runs with one thing changed."""

from __future__ import annotations

import functools
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import rnnshapes
from rnnshapes import reference
from rnnshapes.load import inputs
from rnnshapes.network import weights
from rnnshapes.network.graph import Network
from rnnshapes.network.summary import Inspection
from rnnshapes.session import Session, open_session
from rnnshapes.verification import report


@dataclass(frozen=True)
class KerasRun:
    """A network, its weights and input, and what Keras computed from them."""

    network: Network
    weights: weights.Weights
    sources: inputs.InputSources
    built: reference.ModelStructure
    keras: reference.ModelOutputs

    @property
    def xs(self) -> list[Any]:
        """The input as arrays."""
        return [inputs.full_array(source) for source in self.sources]


@functools.cache
def _spare_from_collections() -> None:
    """Leave the objects of TensorFlow, about a million, out of each collection from now on."""
    gc.freeze()


@functools.cache
def _keep_kernels() -> None:
    """Let ``keras.backend.clear_session`` reset names, and not the kernels of TensorFlow.

    Each costs milliseconds to build again, more than the numbers of a test.
    """
    from tensorflow.python.eager import context

    context.Context.clear_kernel_cache = lambda self: None


def run_eagerly() -> None:
    """Let Keras run without compiling and without a pipeline of data, where it is imported."""
    if "keras" not in sys.modules or "tensorflow" not in sys.modules:
        return
    _spare_from_collections()
    _keep_kernels()
    sys.modules["tensorflow"].config.run_functions_eagerly(True)
    sys.modules["keras"].Model.predict = predict_by_batches


def run_compiled() -> None:
    """Let Keras run as it does for users."""
    import keras
    import tensorflow as tf

    tf.config.run_functions_eagerly(False)
    if "predict" in vars(keras.Model):
        del keras.Model.predict  # the method of its base class remains


def predict_by_batches(
    model: Any, x: Any, batch_size: int | None = None, callbacks: Any = (), **options: Any
) -> Any:
    """Return the output of ``keras.Model.predict`` without its pipeline, which is slow."""
    import keras

    def rounded(array: Any) -> Any:
        array = np.asarray(array)
        return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array

    x, size = keras.tree.map_structure(rounded, x), batch_size or 32
    outputs = []
    for number, start in enumerate(range(0, len(keras.tree.flatten(x)[0]), size)):
        batch = keras.tree.map_structure(lambda array, at=start: array[at : at + size], x)
        outputs.append(model.predict_on_batch(batch))
        for callback in callbacks or ():
            callback.on_predict_batch_end(number, {})
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)


@contextmanager
def one_run(model: Any, run: KerasRun | None = None, **options: Any) -> Iterator[Session]:
    """Open a session in which Keras runs the model once, for all that is computed, or has run."""
    with open_session(model, **options) as session:
        outputs = run.keras if run else session.keras_outputs(session.weights())
        session.keras_outputs = lambda weights: outputs
        yield session


def keras_run(seed: int = 5, **sizes: Any) -> KerasRun:
    """Build and run the network of these sizes in Keras."""
    with open_session(**sizes, seed=seed) as session:
        model = session.keras_model(session.weights())
        return model_run(model, session.network, session.sources)


def model_run(model: Any, network: Network, sources: inputs.InputSources) -> KerasRun:
    """Run a model that is this network."""
    xs = [inputs.full_array(source) for source in sources]
    return KerasRun(
        network=network,
        weights=reference.weights_of(model, network),
        sources=sources,
        built=reference.structure_of(model, network),
        keras=reference.run(model, network, xs),
    )


def numeric_checks(run: KerasRun) -> list[report.Check]:
    """Return the numeric checks of a run."""
    return list(report.residual_checks(run.network, run.weights, run.xs, run.keras))


def failed(run: KerasRun) -> list[str]:
    """Return the names of the checks that fail."""
    return [check.name for check in numeric_checks(run) if not check.passed]


def with_layer(network: Network, name: str, **changes: Any) -> Network:
    """Return the network with other options of one layer."""
    nodes = tuple(
        replace(node, layer=replace(node.layer, **changes)) if node.layer.name == name else node
        for node in network.nodes
    )
    return replace(network, nodes=nodes)


def with_cell(network: Network, make: Callable[[Any], Any]) -> Network:
    """Return the network with another cell in each of its one-way recurrent layers."""
    for node in network.recurrent:
        direction = node.layer.directions[0]
        changed = replace(direction, cell=make(direction.cell))
        network = with_layer(network, node.layer.name, direction=changed)
    return network


def run_model(model: Any, **options: Any) -> KerasRun:
    """Read a model and run it in Keras."""
    with open_session(model, seed=5, **options) as session:
        return model_run(model, session.network, session.sources)


@functools.cache
def run_of(name: str) -> KerasRun:
    """Return one run, not compiled, of one of ``MODELS``."""
    from tests.helpers.models import model_of

    return run_model(model_of(name), N=4)


@functools.cache
def inspection_of(name: str) -> Inspection:
    """Return the shapes of one of ``MODELS``, for two samples, compared with Keras."""
    from tests.helpers.models import model_of

    return rnnshapes.inspect(model_of(name), N=2)


def changed(run: KerasRun, layer: str, key: str, change: Callable[[Any], Any]) -> KerasRun:
    """Return the run with one array of weights changed."""
    values = {**run.weights[layer], key: change(run.weights[layer][key])}
    return replace(run, weights={**run.weights, layer: values})


def with_outputs(run: KerasRun, **parts: Any) -> KerasRun:
    """Return the run with other outputs of Keras."""
    return replace(run, keras=replace(run.keras, **parts))


def with_number(run: KerasRun, layer: str, at: tuple, value: float) -> KerasRun:
    """Return the run with one number of Keras's states, or of its y_hat, changed."""
    h = np.array(run.keras.states["simple_rnn"]["h"])
    y_hat = np.array(run.keras.each["dense"][0])
    {"simple_rnn": h, "dense": y_hat}[layer][at] = value
    each = {"simple_rnn": (h,), "dense": (y_hat,)}
    return with_outputs(run, states={"simple_rnn": {"h": h}}, each=each)
