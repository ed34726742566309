"""One symbolic call of a subclassed model, which records the calls of its layers as a graph.

:mod:`rnnshapes.reference`, the only module that imports Keras, passes it in.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from rnnshapes.errors import UnsupportedError
from rnnshapes.load.live.graph import read_graph
from rnnshapes.load.live.keras_private import calls_recorded_inside, is_symbolic, takes_training
from rnnshapes.load.live.network import takes_indices
from rnnshapes.load.live.recorded_model import RecordedModel, calls_layers, layers_inside
from rnnshapes.reference import user_operations
from rnnshapes.reference.quiet import one_line


def record(keras: Any, model: Any) -> RecordedModel:
    """Call a built model on symbolic inputs of the shapes on which it was built.

    The number of time steps stays open, unless the code of the model needs it.

    Raises:
        UnsupportedError: the call fails.
    """
    if len(arguments := _required_arguments(model)) > 1:
        raise UnsupportedError(
            f"{type(model).__name__}.call takes {len(arguments)} arguments "
            f"({', '.join(arguments)}), but only one is supported: pass all inputs as one list, "
            "call(self, inputs)"
        )
    config = model.get_build_config() or {}
    if (shapes := config.get("input_shape")) is None:
        raise UnsupportedError(
            f"it is not known on which x this model ({type(model).__name__}) was built: call it "
            "on x alone, an array or a list of arrays"
        )
    call = _SymbolicCall(keras, model, shapes)
    errors = []
    # Only TensorFlow tells which sizes of tensors follow from open ones.
    attempts = [(False, True), (False, False), (True, True), (True, False)]
    if keras.backend.backend() != "tensorflow":
        attempts.remove((True, True))
    for on_tensors, open_steps in attempts:
        try:
            return call.record(on_tensors=on_tensors, open_steps=open_steps)
        except Exception as error:  # whatever the user's code raises
            errors.append(error)
    raise UnsupportedError(
        f"the calls of layers in this model ({type(model).__name__}) cannot be recorded "
        f"({one_line(errors[-1])[:200]})"
    ) from errors[-1]


def _required_arguments(model: Any) -> list[str]:
    """Return the arguments that ``call`` of a model cannot do without."""
    return [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and name not in ("training", "mask")
    ]


@dataclass(frozen=True)
class _Shape:
    """Shape of an input, ``None`` for an open axis; a leaf of a nested structure."""

    sizes: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class _SymbolicCall:
    """Symbolic calls of ``model``; ``shapes`` are nested as it takes its inputs."""

    keras: Any
    model: Any
    shapes: Any

    def record(self, *, on_tensors: bool, open_steps: bool) -> RecordedModel:
        """Call the model, and once more if inputs turn out to be indices.

        Args:
            on_tensors: Whether its code takes only tensors of the backend.
            open_steps: Whether the number of time steps stays open.
        """
        recorded = self._call((), on_tensors=on_tensors, open_steps=open_steps)
        graph = read_graph(recorded)
        indices = [i for i in range(len(recorded.inputs)) if takes_indices(graph, i)]
        if not indices:
            return recorded
        return self._call(indices, on_tensors=on_tensors, open_steps=open_steps)

    def _call(
        self, indices: Collection[int], *, on_tensors: bool, open_steps: bool
    ) -> RecordedModel:
        """Call the model; the inputs of these numbers are ``indices`` of an Embedding."""
        tree, model = self.keras.tree, self.model
        structure = tree.map_shape_structure(lambda sizes: _Shape(tuple(sizes)), self.shapes)
        shapes = [shape.sizes for shape in tree.flatten(structure)]
        names = sorted(structure) if isinstance(structure, dict) else None
        inputs = []
        for number, sizes in enumerate(shapes):
            is_index = number in indices
            axes = list(sizes[1:])
            if open_steps and (len(axes) > 1 or is_index):
                axes[0] = None
            default = f"x{number + 1}" if len(shapes) > 1 else "x"
            inputs.append(
                self.keras.Input(
                    batch_shape=(None, *axes),
                    dtype="int32" if is_index else model.input_dtype,
                    name=names[number] if names and len(names) == len(shapes) else default,
                )
            )
        layers = layers_inside(model)
        inside = [layer for layer in layers.values() if layer is model or calls_layers(layer)]
        options = {"training": False} if takes_training(model) else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lost masks, as in any call
            if on_tensors:
                others = [layer for layer in layers.values() if layer not in inside]
                code = user_operations.UserCode(self.keras, model, others, structure, options)
                result = user_operations.record(code, inputs)
            else:
                # Weights that the code assigns keep their values, as in any symbolic call.
                with self.keras.StatelessScope(), calls_recorded_inside(inside, self._tensors_in):
                    result = model(tree.pack_sequence_as(structure, inputs), **options)
        outputs = tuple(tree.flatten(result))
        if not outputs or not all(map(is_symbolic, outputs)):
            raise TypeError("it does not return tensors that follow from x")
        return RecordedModel(model, tuple(inputs), outputs, structure, tuple(shapes), layers)

    def _tensors_in(self, value: Any) -> list[Any]:
        return [part for part in self.keras.tree.flatten(value) if is_symbolic(part)]
