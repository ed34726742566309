"""A network with its input and weights, and what can be computed from them."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeGuard, Unpack

from rnnshapes import progress, reference
from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.opened_file import OpenedFile
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.graph import Network
from rnnshapes.network.sizes import DEFAULT_SIZES, check_size

if TYPE_CHECKING:
    from rnnshapes.forward.golden import Golden
    from rnnshapes.forward.quantized import Quantization
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.load.inputs import InputSources
    from rnnshapes.network.weights import Weights
    from rnnshapes.ops.activations import Array
    from rnnshapes.port.report import PortVerification
    from rnnshapes.port.weight_files.comparison import WeightVerification
    from rnnshapes.reference.outputs import ModelOutputs
    from rnnshapes.verification.report import Verification


#: Steps of an open time axis, where weights alone are compared.
_ENOUGH_STEPS = 10_000


class NetworkOptions(TypedDict, total=False):
    """A network given by its sizes and its cell; every option has a default.

    N=1 T=10 D=3 M=5 K=2; several M give a stack. ``cell`` is ``"simple"``, ``"lstm"`` or
    ``"gru"``; the other options are those of the Keras layers, with Keras's defaults. With
    ``bidirectional`` each recurrent layer processes the sequence in both directions, and
    ``merge_mode`` joins the two outputs.
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


class Session:
    """A network with its input, and its Keras model, which is built at most once.

    ``model`` is a live ``keras.Model``, a saved model, or ``None`` for a network by sizes.
    """

    def __init__(self, network: Network, sources: InputSources, model: Any, seed: int) -> None:
        self.network, self.sources, self.model, self.seed = network, sources, model, seed
        self.is_keras = not is_saved(model) or model.framework == "Keras"
        self._keras_model = None if model is None or is_saved(model) else model

    def trace(
        self,
        *,
        show: str | Iterable[str] = "y",
        layer: str | None = None,
        keras: bool = True,
        bounds: bool = False,
    ) -> Trace:
        """Compute :func:`rnnshapes.trace` for this session."""
        from rnnshapes.forward import tracing

        keras = keras and self.is_keras
        self._require_computable(keras=keras)
        tracing.check_layer(self.network, layer)
        show = tracing.check_show(self.network, show)
        tracing.require_memory(self.network, show, with_keras=keras)
        with self._work((3 if keras else 1) + (keras and bounds)):
            weights = self.weights()
            outputs = self.keras_outputs(weights) if keras else None
            result = tracing.trace_network(
                self.network, weights, self.sources, show, outputs, layer
            )
            return self._with_bounds(result, weights) if bounds else result

    def trace_with_golden(
        self,
        *,
        show: str | Iterable[str] = "y",
        layer: str | None = None,
        keras: bool = True,
        bounds: bool = False,
        only: Iterable[str] | None = None,
        layout: str = "keras",
        dtype: str | None = None,
    ) -> tuple[Trace, Golden]:
        """Compute :func:`rnnshapes.trace` and :func:`rnnshapes.golden` in one run."""
        from rnnshapes.forward import golden, tracing

        framework = golden.check_layout(layout)
        keras = keras and self.is_keras
        self._require_computable(keras=keras)
        tracing.check_layer(self.network, layer)
        show = tracing.check_show(self.network, show)
        golden.require_memory(self.network, with_keras=keras)
        with self._work((4 if keras else 2) + (keras and bounds)):
            weights = self.weights()
            outputs = self.keras_outputs(weights) if keras else None
            result, arrays = golden.record_network(
                self.network, weights, self.sources, outputs, framework
            )
            result = self._with_bounds(result, weights) if bounds else result
            return result.select(show, layer), arrays.select(only).in_dtype(dtype)

    def quantize(self, to: str) -> Quantization:
        """Compute :func:`rnnshapes.quantize` for this session."""
        return self._quantize(to, with_numbers=False)

    def quantize_with_golden(
        self, to: str, only: Iterable[str] | None
    ) -> tuple[Quantization, Golden]:
        """Compute :func:`rnnshapes.quantize`, and a golden file of its integers."""
        from rnnshapes.forward import golden
        from rnnshapes.forward.quantized import golden_integers

        result = self._quantize(to, with_numbers=True)
        _, arrays = golden.record_network(self.network, self.weights(), self.sources)
        return result, golden_integers(arrays, result).select(only)

    def _quantize(self, to: str, *, with_numbers: bool) -> Quantization:
        from rnnshapes.forward import golden, tracing
        from rnnshapes.forward.quantized import quantize_network
        from rnnshapes.ops.fixed_point import Scheme

        scheme = Scheme.from_name(to)
        self._require_computable(keras=False)
        tracing.check_layer(self.network, None)
        golden.require_memory(self.network)
        with self._work(1 if scheme.fraction is not None else 2):
            return quantize_network(
                self.network,
                self.weights(),
                self.sources,
                scheme,
                with_numbers=with_numbers,
            )

    def steps(self, sample: int = 0, layer: str | None = None, *, keras: bool = False) -> Any:
        """Return the recurrences of one sample, of which each step can be shown in full."""
        from rnnshapes.forward import recurrence_steps, tracing

        keras = keras and self.is_keras
        self._require_computable(keras=keras)
        tracing.check_traced_steps(self.network, layer)
        computed = recurrence_steps.with_needed_samples(self.network, keras=keras)
        with progress.work(computed.scan_steps * (3 if keras else 1)):
            weights = self.weights()
            outputs = self.keras_outputs(weights) if keras else None
            return recurrence_steps.steps_of_sample(
                self.network, weights, self.sources, sample, layer, outputs
            )

    def verify(self) -> Verification:
        """Compute :func:`rnnshapes.verify` for this session, against Keras."""
        from rnnshapes.forward import tracing
        from rnnshapes.verification.report import PASSES, verify_network

        self._require_computable(keras=True)
        tracing.require_memory(self.network, "y", with_keras=True)
        with self._work(2 + PASSES):
            weights = self.weights()
            outputs = self.keras_outputs(weights)
            model = self.keras_model(weights)
            structure = reference.structure_of(model, self.network)
            held = reference.weights_of(model, self.network)
            args = self.network, weights, self.sources, structure, held, outputs
            result = verify_network(*args)
            if result.passed or not result.unsupported:
                return result
            is_random = reference.is_random(model, self.network, self._xs(), outputs.outputs)
            return replace(result, is_random=is_random)

    def compare(
        self,
        against: Any,
        dtype: str | None = None,
        ignore: Collection[str] = (),
        tolerance: float | None = None,
    ) -> PortVerification:
        """Compute :func:`rnnshapes.verify` for this session, against the numbers of a port."""
        from rnnshapes.forward import tracing
        from rnnshapes.port import arrays
        from rnnshapes.port.inexact_verdict import check_tolerance
        from rnnshapes.port.report import check_dtype, verify_port

        dtype, tolerance = check_dtype(dtype), check_tolerance(tolerance)
        port = arrays.read_port(against, ignore)
        self._require_computable(keras=False)
        tracing.require_memory(self.network, tracing.all_parts(self.network))
        weights = self.weights()
        return verify_port(self.network, weights, self.sources, port, dtype, tolerance)

    def weights(self) -> Weights:
        """Return the weights by group and key, read from the model or drawn from the seed."""
        if self.model is None:
            from rnnshapes.network import weights

            return weights.draw(self.network, self.seed)
        if is_saved(self.model):
            return self.model.weights()
        return reference.weights_of(self.model, self.network)

    def keras_model(self, weights: Weights) -> reference.Model:
        """Return the user's own Keras model, or build one with these weights."""
        if self._keras_model is None:
            self._keras_model = reference.build(self.network, weights)
        return self._keras_model

    def keras_outputs(self, weights: Weights) -> ModelOutputs:
        """Run the model in Keras on the whole input."""
        return reference.run(self.keras_model(weights), self.network, self._xs())

    def _xs(self) -> list[Array]:
        """Return the whole input, an array for each input of the network."""
        from rnnshapes.load import inputs

        return [inputs.full_array(source) for source in self.sources]

    def require_weights(self) -> None:
        """Raise an error for a file whose weights are not all there."""
        if is_saved(self.model):
            declared = dict(self.network.declared_sizes)
            steps = {name: _ENOUGH_STEPS for name, size in declared.items() if size is None}
            self.model.require_computable(self.network.with_sizes(**steps), keras=False)

    def _require_computable(self, *, keras: bool) -> None:
        """Raise an error for a file that does not say enough to compute anything."""
        if is_saved(self.model):
            self.model.require_computable(self.network, keras=keras)

    def _work(self, passes: int) -> Any:
        """Measure progress over ``passes`` passes through all steps."""
        return progress.work(self.network.scan_steps * passes)

    def _with_bounds(self, result: Trace, weights: Weights) -> Trace:
        """Add the error and its bound at each step, where Keras has run."""
        from rnnshapes.verification.residuals import network_step_errors

        if result.keras is None:
            return result
        step_errors = network_step_errors(self.network, weights, self._xs(), result.keras)
        return replace(result, step_errors=step_errors)


@contextmanager
def open_session(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    layer: str | None = None,
    keras_only: bool = False,
    probe: bool = False,
    **options: Unpack[NetworkOptions],
) -> Iterator[Session]:
    """Open a session; where x is given, N, T and D are those of the data.

    With ``probe``, x is that of :mod:`rnnshapes.load.probe`, which chooses N.

    Of a file of PyTorch or ONNX only recurrent modules can be computed, each from its own input:
    all of them, or that of ``layer``.

    Raises:
        InputError: sizes, data and model contradict each other.
        UnsupportedError: the file is not one of Keras, and ``keras_only`` is set.
    """
    seed = check_seed(seed)
    with open_model(model) as opened:
        if keras_only and is_saved(opened) and opened.framework != "Keras":
            raise UnsupportedError(
                f"{opened.path}: verify requires a Keras model, and this file is from "
                f"{opened.framework}; trace computes it in NumPy, and verify MODEL --against FILE "
                "compares its weights with those of a Keras model"
            )
        computed = opened.recurrent(layer) if is_saved(opened) else opened
        if probe:
            network, sources = _network_and_probe(computed, x, seed, options)
        else:
            network, sources = _network_and_input(computed, x, seed, options)
        yield Session(network, sources, computed, seed)


def is_weight_file(against: Any) -> bool:
    """Return whether something is the path of a file of PyTorch or ONNX."""
    from rnnshapes.load.saved.spawn import FOREIGN_ENDINGS

    is_path = isinstance(against, str | os.PathLike)
    return is_path and os.fspath(against).lower().endswith(FOREIGN_ENDINGS)


def compare_weight_file(
    model: Any, against: Any, seed: int, **options: Unpack[NetworkOptions]
) -> WeightVerification:
    """Compare every weight of a model with a file of PyTorch or ONNX; neither runs.

    Raises:
        InputError: the file cannot be read, or the model is not one of Keras.
        UnsupportedError: the model holds something that is not supported.
    """
    from rnnshapes.load.foreign.model import open_foreign_file
    from rnnshapes.port.weight_files.comparison import verify_weights

    path = Path(against)
    with open_foreign_file(path) as file, open_model(model) as opened:
        if file is None:
            raise InputError(f"{path}: not a PyTorch or ONNX file")
        network = with_default_sizes(network_of(opened, **options), opened)
        session = Session(network, (), opened, check_seed(seed))
        if not session.is_keras:
            raise InputError(
                "--against FILE requires a Keras model; give MODEL as a .keras or .h5 file, "
                "or as sizes"
            )
        session.require_weights()
        return verify_weights(network, session.weights(), file)


@contextmanager
def open_model(model: Any) -> Iterator[Any]:
    """Open the saved model at a path, or record the calls in a subclassed model."""
    if model is None:
        yield None
        return
    if isinstance(model, str | os.PathLike):
        from rnnshapes.load.open_file import open_file

        with open_file(Path(model)) as opened:
            yield opened
        return
    from rnnshapes.load.live.network import has_graph

    if has_graph(model):
        yield model
        return
    with reference.recorded(model) as recorded:
        yield recorded


def is_saved(model: Any) -> TypeGuard[OpenedFile]:
    """Return whether ``model`` is an opened file."""
    return isinstance(model, OpenedFile)


def network_of(model: Any, **options: Any) -> Network:
    """Return the network of a model or of sizes and options; open sizes are filled in."""
    if model is None:
        return from_sizes(**options)
    if is_saved(model):
        network = model.network
    else:
        from rnnshapes.load.live.network import read_model

        network = read_model(model)
        if kept := reference.keeping_steps(model, network):
            network = read_model(model, kept)
    for name, value in options.items():
        if value is not None:
            network = _with_size(network, name, value)
    return network


def with_default_sizes(network: Network, model: Any) -> Network:
    """Return the network with a value for N, and for the sizes that a subclassed model leaves open.

    These are the ones of the x on which the model was built.
    """
    if not network.sizes["N"]:
        network = network.with_sizes(N=network.batch or DEFAULT_SIZES["N"])
    check_batch(network)
    shapes = model.shapes if model is not None and is_recorded(model) else ()
    for node, shape in zip(network.inputs, shapes, strict=False):
        for dim, size in zip(node.layer.shape, shape, strict=True):  # type: ignore[attr-defined]
            if size is not None and network.value(dim) is None:
                network = network.with_sizes(**{str(dim): size})
    return _with_computed_sizes(network, model)


def _with_computed_sizes(network: Network, model: Any) -> Network:
    """Return the network of a live model with the sizes that only Keras knows."""
    is_live = model is not None and not is_saved(model)
    return reference.with_computed_sizes(model, network) if is_live else network


def is_recorded(model: Any) -> bool:
    """Return whether ``model`` is a subclassed model whose calls are recorded."""
    from rnnshapes.load.live.recorded_model import RecordedModel

    return isinstance(model, RecordedModel)


def check_batch(network: Network) -> None:
    """Raise InputError if N is not a multiple of the batch size that the model is built for."""
    n = network.size("N")
    if network.batch is not None and n % network.batch:
        raise InputError(
            f"N={n} is not a multiple of {network.batch}, the batch size of this model; "
            f"choose N as a multiple of {network.batch}"
        )


def check_seed(seed: Any) -> int:
    """Return the seed as an int; raise InputError unless it is a whole number of at least 0."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if isinstance(seed, bool) or number < 0:
        raise InputError(f"a seed is a whole number of at least 0, got {seed!r}")
    return number


def _network_and_probe(
    model: Any, x: Any, seed: int, options: NetworkOptions
) -> tuple[Network, InputSources]:
    """Return a network with its probe; N is chosen, T is 10 if open."""
    from rnnshapes.load import probe

    if x is not None:
        raise InputError("--probe chooses x: it cannot be combined with --input")
    if options.get("N") is not None:
        raise InputError("--probe chooses the number of samples: it cannot be combined with --N")
    network = network_of(model, **options)
    steps = {n: probe.STEPS for n, size in network.declared_sizes if n[0] == "T" and size is None}
    network = with_default_sizes(network.with_sizes(**steps), model)
    network = probe.with_probe_samples(network)
    return network, probe.probe_inputs(network, seed)


def _network_and_input(
    model: Any, x: Any, seed: int, options: NetworkOptions
) -> tuple[Network, InputSources]:
    from rnnshapes.load import check_shape, inputs

    if x is None:
        network = with_default_sizes(network_of(model, **options), model)
        return network, inputs.random_inputs(network, seed)
    if model is None:
        data = inputs.sequences(inputs.load(x, "x"))
        check_shape.check_stated_sizes(data, [(name, options.get(name)) for name in "NTD"])
        n, t, d = data.array.shape
        return network_of(None, **{**options, "N": n, "T": t, "D": d}), (data,)
    fixed = {name: value for name, value in options.items() if name not in ("N", "T", "D")}
    network = network_of(model, **fixed)
    if is_saved(model) and not network.inputs:  # the file of a class does not say what it takes
        model.require_computable(network, keras=False)
    network, arrays = check_shape.match_input(network, x, options)
    floatx = model.input_dtype if is_saved(model) else reference.floatx()
    sources = [
        array if getattr(node.layer, "integers", False) else replace(array, dtype=floatx)
        for array, node in zip(arrays, network.inputs, strict=True)
    ]
    check_batch(network)
    return _with_computed_sizes(network, model), tuple(sources)


def _with_size(network: Network, name: str, value: Any) -> Network:
    """Fill in one size for each input that leaves it open: T for T1 and T2."""
    sizes = network.sizes
    if name not in NetworkOptions.__annotations__ and name not in sizes:
        import difflib

        matches = difflib.get_close_matches(name, [*NetworkOptions.__annotations__, *sizes], 1)
        hint = f" (did you mean {matches[0]!r}?)" if matches else ""
        raise TypeError(f"unknown option {name!r}{hint}")
    of_inputs = [size for size in sizes if re.fullmatch(rf"{name}\d*", size)]
    open_sizes = [size for size in of_inputs if sizes[size] is None]
    if open_sizes or name in ("N", "T"):
        return network.with_sizes(**dict.fromkeys(open_sizes or of_inputs, check_size(name, value)))
    fixed = [sizes[size] for size in of_inputs]
    if value not in (fixed, *fixed):
        flag = f"--{name.replace('_', '-').removeprefix('use-')}"
        reason = f"{name} is {', '.join(map(str, fixed))}" if fixed else f"{name} is fixed"
        raise InputError(f"{reason} in this model; leave {flag} out")
    return network
