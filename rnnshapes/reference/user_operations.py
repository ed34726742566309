"""Calls of layers in a model that computes between them by functions that Keras does not see.

The model runs on tensors of the backend, by whose identity a tensor is known as the output of a
layer. Any other tensor that a layer takes, or the model returns, is made by the user's code.
The graph of layers has an ``operations`` layer for each of these, which runs the whole model again
for its value. :mod:`rnnshapes.reference`, the only module that imports Keras, passes it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from rnnshapes.load.live.keras_private import OTHER_MASK, get_mask, set_mask


class TensorCall(NamedTuple):
    """One call of a layer on tensors."""

    layer: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any


class ModelRun(NamedTuple):
    """One run of a model: its inputs, the calls of its layers in order, and what it returns."""

    inputs: list[Any]
    calls: list[TensorCall]
    result: Any


class UserCode:
    """The code of ``model`` between ``layers``; ``structure`` is how it takes its inputs."""

    def __init__(
        self, keras: Any, model: Any, layers: Sequence[Any], structure: Any, options: dict[str, Any]
    ) -> None:
        self.keras, self.model, self.structure, self.options = keras, model, structure, options
        self.layers = {id(layer): layer for layer in layers}
        self.last: ModelRun | None = None
        self.recorded_calls: list[Any] = []

    def run(self, inputs: Sequence[Any]) -> ModelRun:
        """Run the model, unless its last run was on the same tensors."""
        last = self.last
        if last is None or [*map(id, last.inputs)] != [*map(id, inputs)]:
            x = self.keras.tree.pack_sequence_as(self.structure, list(inputs))
            with self._recorded(inputs[0]) as calls:
                result = self.model(x, **self.options)
            last = self.last = ModelRun(list(inputs), calls, result)
            layers = [call.layer for call in calls]
            self.recorded_calls = self.recorded_calls or layers
            if layers != self.recorded_calls:
                raise ValueError("its code calls other layers than when they were recorded")
        return last

    def tensors_in(self, value: Any) -> list[Any]:
        """Return the tensors in a value, without variables."""
        return [part for part in self.keras.tree.flatten(value) if self.is_tensor(part)]

    def is_tensor(self, value: Any) -> bool:
        """Return whether a value is a tensor, and no variable."""
        return bool(self.keras.ops.is_tensor(value)) and not hasattr(value, "trainable")

    def used_tensors(self, run: ModelRun) -> list[Any]:
        """Return the tensors that layers take, or the model returns, with their masks."""
        taken = [(call.args, call.kwargs) for call in run.calls]
        tensors = self.tensors_in((taken, run.result))
        return [part for tensor in tensors for part in (tensor, get_mask(tensor))]

    @contextmanager
    def _recorded(self, x: Any) -> Iterator[list[TensorCall]]:
        """Record the calls of the layers, but for those inside another one, or inside a loop.

        TensorFlow has a graph of its own for the body of a loop; ``x`` is not in that.
        """
        kind = self.keras.layers.Layer
        call_layer = kind.__call__
        calls: list[TensorCall] = []
        inside: list[Any] = []

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            if inside or id(layer) not in self.layers:
                return call_layer(layer, *args, **kwargs)
            inside.append(layer)
            try:
                result = call_layer(layer, *args, **kwargs)
            finally:
                inside.pop()
            graphs = {id(getattr(t, "graph", None)) for t in (x, *self.tensors_in(result))}
            if len(graphs) == 1:
                calls.append(TensorCall(layer, args, kwargs, result))
            return result

        kind.__call__ = call
        try:
            yield calls
        finally:
            kind.__call__ = call_layer


def record(code: UserCode, inputs: Sequence[Any]) -> Any:
    """Run the model on symbolic inputs, repeat the calls of its layers, and return its result."""
    keras = code.keras
    runs: list[ModelRun] = []
    errors: list[Exception] = []

    class Run(keras.layers.Layer):  # type: ignore[misc,name-defined]
        def call(self, tensors: Any) -> Any:
            try:
                runs.append(code.run(tensors))
            except Exception as error:  # Keras would raise another one
                errors.append(error)
                return tensors
            return runs[-1].result

    Run(autocast=False).compute_output_spec(list(inputs))
    for error in errors:
        raise error
    return _SymbolicRun(code, runs[-1], list(inputs)).repeat()


class _SymbolicRun:
    """The calls of ``run``, repeated on symbolic tensors.

    ``symbols`` are the symbolic tensors by the ``id`` of those that they stand for, ``known`` the
    latter, without masks.
    """

    def __init__(self, code: UserCode, run: ModelRun, inputs: list[Any]) -> None:
        self.code, self.run, self.inputs = code, run, inputs
        self.used_tensors = code.used_tensors(run)
        self.symbols = dict(zip(map(id, run.inputs), inputs, strict=True))
        self.known = dict(zip(map(id, run.inputs), run.inputs, strict=True))
        self.operations = _operations_class(code)

    def repeat(self) -> Any:
        """Repeat all calls, and return the symbolic result."""
        for call in self.run.calls:
            args, kwargs = self._symbolic((call.args, call.kwargs))
            result = call.layer(*args, **kwargs)
            pairs = zip(
                self.code.keras.tree.flatten(call.result),
                self.code.keras.tree.flatten(result),
                strict=True,
            )
            for tensor, symbol in pairs:
                if (get_mask(tensor) is None) != (get_mask(symbol) is None):
                    raise ValueError(OTHER_MASK)
                self._add(tensor, symbol)
        return self._symbolic(self.run.result)

    def _add(self, tensor: Any, symbol: Any) -> None:
        self.known[id(tensor)], self.symbols[id(tensor)] = tensor, symbol
        mask = get_mask(tensor)
        if mask is not None:
            self.symbols[id(mask)] = get_mask(symbol)

    def _symbolic(self, value: Any) -> Any:
        """Return a value with symbolic tensors in the places of its tensors."""

        def replace(part: Any) -> Any:
            return self._symbol(part) if self.code.is_tensor(part) else part

        return self.code.keras.tree.map_structure(replace, value)

    def _symbol(self, tensor: Any) -> Any:
        if id(tensor) not in self.symbols:
            number = [id(used) for used in self.used_tensors].index(id(tensor))
            shape = tuple(tensor.shape)
            dtype = self.code.keras.backend.standardize_dtype(tensor.dtype)
            spec = self.code.keras.KerasTensor((*[None] * bool(shape), *shape[1:]), dtype)
            layer = self.operations(number, spec)
            symbol = layer(self._sources(tensor), model_inputs=self.inputs)
            if get_mask(tensor) is not None:
                set_mask(symbol, self._symbol(get_mask(tensor)))
            self._add(tensor, symbol)
        return self.symbols[id(tensor)]

    def _sources(self, tensor: Any) -> list[Any]:
        """Return the tensors from which the user's code made a tensor.

        Only graphs of TensorFlow tell; elsewhere it may be made from all that are known before.
        """
        if not hasattr(tensor, "op"):
            return [self.symbols[key] for key in self.known]
        ids = {known.name: key for key, known in self.known.items()}
        stack, visited, found = [tensor], set(), set()
        while stack:
            for source in stack.pop().op.inputs:
                if source.name in ids:
                    found.add(ids[source.name])
                elif source.name not in visited:
                    visited.add(source.name)
                    stack.append(source)
        return [self.symbols[key] for key in self.known if key in found] or self.inputs[:1]


def _operations_class(code: UserCode) -> Any:
    """Return a class of layers, each of which computes one of the tensors that the code makes."""
    keras = code.keras

    class Operations(keras.layers.Layer):  # type: ignore[misc,name-defined]
        reruns_model = True

        def __init__(self, number: int, spec: Any) -> None:
            super().__init__(name="operations", dtype=code.model.dtype_policy, autocast=False)
            self.number, self.spec, self.built = number, spec, True
            self.supports_masking = True

        def compute_mask(self, tensors: Any, previous_mask: Any) -> None:
            """Make no mask; the tensor has one if the user's code gives it one."""

        def compute_output_spec(self, tensors: Any, model_inputs: Any) -> Any:
            return self.spec

        def call(self, tensors: Any, model_inputs: Any) -> Any:
            return code.used_tensors(code.run(model_inputs))[self.number]

    return Operations
