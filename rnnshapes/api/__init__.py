"""The public functions: sizes, a file or a live model go in, a frozen result comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rnnshapes.errors import InputError, RnnshapesError
from rnnshapes.network.summary import Inspection, inspect_network
from rnnshapes.session import (
    NetworkOptions,
    Session,
    compare_weight_file,
    is_saved,
    is_weight_file,
    network_of,
    open_model,
    open_session,
    with_default_sizes,
)

if TYPE_CHECKING:
    from rnnshapes.forward.golden import Golden
    from rnnshapes.forward.quantized import Quantization
    from rnnshapes.forward.tracing import Trace
    from rnnshapes.network.file_summary import FileSummaries, FileSummary
    from rnnshapes.network.graph import Network
    from rnnshapes.network.weight_values import WeightValues
    from rnnshapes.port.report import PortVerification
    from rnnshapes.port.weight_files.comparison import WeightVerification
    from rnnshapes.verification.report import Verification


def inspect(
    model: Any = None,
    *,
    keras: bool = False,
    values: bool = False,
    **options: Unpack[NetworkOptions],
) -> Inspection:
    """Return every weight's shape and count, and the shape of every tensor.

    Args:
        model: A live ``keras.Model`` or the path of a saved model. A file is read without Keras,
            and nothing in it is executed. Without a model, the options describe
            ``Input((T, D)) → SimpleRNN(M) → Dense(K)``.
        keras: Compare with Keras, which builds the network for that. A live model is always
            compared with its own names, shapes and counts.
        values: Summarize the values of the model's weights, too: range, norm, spectral radius.
        **options: See :class:`rnnshapes.session.NetworkOptions`.

    Raises:
        InputError: a size is not a whole number of at least 1, the cell does not have an option, or
            ``model`` is not a model.
    """
    if values and model is None:
        raise InputError("the values of weights can be shown only for a model; give a saved model")
    with open_model(model) as opened:
        network = with_default_sizes(network_of(opened, **options), opened)
        stored = opened.framework_weights if is_saved(opened) else {}
        result = inspect_network(network, stored)
        if values:
            result = replace(result, values=_weight_values(network, opened))
        if opened is not None and not is_saved(opened):
            from rnnshapes.verification.structure import compare_with_model

            return compare_with_model(result, opened)
    if opened is not None:
        result = replace(result, file=opened.check(network))
    return inspect_in_keras(result) if keras else result


def _weight_values(network: Network, model: Any) -> tuple[WeightValues, ...]:
    from rnnshapes.network.weight_values import summarize_weights

    if is_saved(model) and (model.unbuilt or not model.check(network).agrees):
        raise InputError(f"{model.path}: the weights that its config requires are not in the file")
    return summarize_weights(network, Session(network, (), model, seed=0).weights())


def inspect_files(paths: Iterable[Any], **options: Unpack[NetworkOptions]) -> FileSummaries:
    """Summarize several saved models, each in one row; one that cannot be read has its error there.

    Args:
        paths: The paths of the files. They are read without Keras.
        **options: Sizes for all of them, such as ``T=20``.

    Raises:
        InputError: ``paths`` is a single path.
    """
    from rnnshapes.network.file_summary import FileSummaries, failure, summarize

    if isinstance(paths, str | Path):
        raise InputError(f"{paths}: inspect_files takes a list of paths; use inspect for one")

    def summary(path: Any) -> FileSummary:
        try:
            return summarize(str(path), inspect(Path(path), **options))
        except RnnshapesError as error:
            return failure(str(path), error)

    return FileSummaries(tuple(map(summary, paths)))


def inspect_in_keras(result: Inspection) -> Inspection:
    """Build the network in Keras, and add the comparison or the reason why the build failed."""
    from rnnshapes.verification.structure import compare_with_keras

    return compare_with_keras(result)


def trace(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    probe: bool = False,
    show: str | Iterable[str] = "y",
    layer: str | None = None,
    keras: bool = True,
    bounds: bool = False,
    **options: Unpack[NetworkOptions],
) -> Trace:
    """Compute y_hat at each time step, in NumPy and in Keras.

    Args:
        model: A model or ``None``, as for :func:`inspect`.
        x: An array (N, T, D), or (T, D) for one sample, of real numbers; or the path of a .npy,
            .npz or .csv file. For several inputs a list of these, or a dict by the names of the
            inputs. Random, from ``seed``, if omitted.
        seed: Seed of x, and of the weights of a network given by sizes.
        probe: Use an x that identifies every weight of a port; it chooses N.
        show: What to compute: "y", "h", "c", "gates", joined by commas or as a list, or "all".
        layer: The recurrent layer to show; all of them if left out.
        keras: Run Keras, too.
        bounds: Compute, at each step, Keras's error and the largest error that rounding can
            cause (``result.step_errors``).
        **options: See :class:`rnnshapes.session.NetworkOptions`.

    Raises:
        InputError: bad sizes or data.
        UnsupportedError: the model holds something that is not supported.
        CannotRunError: Keras cannot be imported, or there is not enough memory.
    """
    with open_session(model, x=x, seed=seed, layer=layer, probe=probe, **options) as session:
        return session.trace(show=show, layer=layer, keras=keras, bounds=bounds)


def golden(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    probe: bool = False,
    keras: bool = True,
    only: str | Iterable[str] | None = None,
    layout: str = "keras",
    dtype: str | None = None,
    quantize: str | None = None,
    **options: Unpack[NetworkOptions],
) -> Golden:
    """Compute what a port of the network has to reproduce: ``result.arrays`` by name.

    The arrays are weights, input, every intermediate of each recurrence (N, T, units) and the
    output, in NumPy float64.

    Args:
        model: A model or ``None``, as for :func:`inspect`.
        x: Input, as for :func:`trace`.
        seed: Seed, as for :func:`trace`.
        probe: Use the x of a probe, as for :func:`trace`.
        keras: Let Keras compute the values of layers that rnnshapes does not support.
        only: The names of some arrays: ``"weights"``, ``"h"`` of each layer, ``"lstm.h"``,
            joined by commas or as a list.
        layout: The layout of the weights of recurrent layers: "keras", "pytorch" or "onnx".
        dtype: The dtype of all numbers, "float32" or "float64". If left out, weights have their
            own, and the rest is float64.
        quantize: Return integers in this fixed-point format, as for :func:`quantize`.
        **options: See :class:`rnnshapes.session.NetworkOptions`.

    Raises:
        InputError: bad sizes or data, or an unknown name.
        UnsupportedError: the model holds something that is not supported, or a cell that the
            layout cannot hold.
        CannotRunError: there is not enough memory.
    """
    names = [name.strip() for name in only.split(",")] if isinstance(only, str) else only
    with open_session(model, x=x, seed=seed, probe=probe, **options) as session:
        keras = keras and bool(session.network.unsupported)
        if quantize is not None:
            if layout != "keras" or dtype is not None:
                raise InputError("quantize cannot be combined with layout or dtype")
            return session.quantize_with_golden(quantize, names)[1]
        return session.trace_with_golden(keras=keras, only=names, layout=layout, dtype=dtype)[1]


def quantize(
    model: Any = None,
    *,
    to: str = "int8",
    x: Any = None,
    seed: int = 0,
    **options: Unpack[NetworkOptions],
) -> Quantization:
    """Compute the network in fixed point: range, saturation and error of each value.

    Args:
        model: A model or ``None``, as for :func:`inspect`.
        to: "int8" (kernels, x and h in 8 bits, gates and cell states in 16), "int16" (x and h in
            16 bits, too), each value with a scale by its largest magnitude for this x, or each
            column of a kernel ("int8-columns"); or Qm.n such as "q3.12" for all numbers.
        x: Input, as for :func:`trace`.
        seed: Seed, as for :func:`trace`.
        **options: See :class:`rnnshapes.session.NetworkOptions`.

    Raises:
        InputError: bad sizes or data, or an unknown format.
        UnsupportedError: the model holds something that is not supported.
        CannotRunError: there is not enough memory.
    """
    with open_session(model, x=x, seed=seed, **options) as session:
        return session.quantize(to)


def convert(
    model: Any, path: str | Path, *, to: str | None = None, like: Any = None
) -> WeightVerification:
    """Write the weights of a Keras model for another framework, or those of a file for Keras.

    Neither framework runs. The file is read back, and each weight compared, before it is put in
    place.

    Args:
        model: A live ``keras.Model`` or the path of a saved model. With ``like``, the path of a
            .safetensors, .pt, .pth or .onnx file.
        path: The file to write. A .safetensors file has the arrays of a state_dict, named
            ``LAYER.weight_ih_l0``; where Keras has one bias, the second one is zeros. A .npz file
            has the parameters of Flax linen by their paths, ``LAYER/ii/kernel``; a .h file is a
            C header; a .onnx file is the whole model. With ``like``, a .weights.h5 file for
            ``like.load_weights(path)``.
        to: The framework, ``"torch"``, ``"flax"``, ``"onnx"`` or ``"c"``; that of the file's
            ending if left out.
        like: The Keras model that takes the weights: live, or the path of a .keras file. Its own
            numbers play no part.

    Raises:
        InputError: ``path`` cannot be written, the model's weights are not known, or those of the
            file do not fit ``like``.
        UnsupportedError: a layer has no counterpart, such as a GRU without ``reset_after``.
    """
    from rnnshapes.api import conversion
    from rnnshapes.render.write_file import check_writable

    path = Path(path)
    if like is None:
        to = conversion.target_of(path, to)
    elif to is not None:
        raise InputError("--like MODEL (to Keras) cannot be combined with --to")
    elif not path.name.lower().endswith(conversion.KERAS_ENDING):
        raise InputError(f"{path}: --like requires a name that ends in {conversion.KERAS_ENDING}")
    for source in (model, like):
        check_writable(path, Path(source) if isinstance(source, str | Path) else None)
    if to is not None:
        return conversion.convert_weights(model, path, to)
    if not isinstance(model, str | Path):
        raise InputError("with --like MODEL, convert requires the path of a weight file")
    return conversion.convert_to_keras(Path(model), like, path)


def verify(
    model: Any = None,
    *,
    x: Any = None,
    seed: int = 0,
    probe: bool = False,
    against: Any = None,
    dtype: str | None = None,
    ignore: Iterable[str] = (),
    tolerance: float | None = None,
    **options: Unpack[NetworkOptions],
) -> Verification | PortVerification | WeightVerification:
    """Check names, shapes, counts and every step against Keras; ``result.passed`` is the verdict.

    ``result.unsupported`` names layers that no check covers; ``passed`` says nothing about them.
    ``result.diagnosis`` explains a failure.

    Args:
        model: A model or ``None``, as for :func:`inspect`.
        x: Input, as for :func:`trace`.
        seed: Seed, as for :func:`trace`.
        probe: Use the x of a probe, as for :func:`trace`.
        against: Check the numbers of your own implementation instead: an array of y_hat or h, at
            every step or at the last, a mapping of such arrays by name, or the path of a file
            (.npy, .npz, .csv, .json, .h). Or compare every weight with a file of PyTorch or ONNX
            (.safetensors, .pt, .pth, .onnx), without running either model.
        dtype: The dtype in which that implementation computes; that of its arrays if left out.
        ignore: The names of its arrays to leave out. Any other unknown name is an InputError.
        tolerance: The largest error of that implementation to accept, as a share (0 to 1) of the
            range of each unit and sample: ``result.verdict`` is then "inexact", and it passes.
        **options: See :class:`rnnshapes.session.NetworkOptions`.

    Raises:
        InputError: bad sizes or data, or ``dtype`` or ``tolerance`` without ``against``.
        UnsupportedError: the model holds something that is not supported.
        CannotRunError: Keras cannot be imported, or there is not enough memory.
    """
    if is_weight_file(against):
        if x is not None or probe or dtype is not None or tolerance is not None:
            raise InputError(
                "--input, --probe, --dtype and --tolerance cannot be combined with a weight file "
                "in --against"
            )
        return compare_weight_file(model, against, seed, **options)
    with open_session(model, x=x, seed=seed, keras_only=True, probe=probe, **options) as session:
        if against is not None:
            return session.compare(against, dtype, tuple(ignore), tolerance)
        for name, value in {"dtype": dtype, "tolerance": tolerance}.items():
            if value is not None:
                raise InputError(f"{name} (--{name}) requires against (--against)")
        return session.verify()
