"""Conversion of weights between Keras and other frameworks.

No framework runs. Each file is read back and compared before it is put in place.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from rnnshapes import reference
from rnnshapes.errors import CannotRunError, InputError, UnsupportedError
from rnnshapes.session import Session, network_of, open_model, with_default_sizes

if TYPE_CHECKING:
    from rnnshapes.load.saved.model import ModelFile
    from rnnshapes.network.graph import Network
    from rnnshapes.network.weights import Weights
    from rnnshapes.port.weight_files.comparison import WeightVerification

#: What the name of a file of weights for Keras ends in.
KERAS_ENDING = ".weights.h5"


class ConversionTarget(NamedTuple):
    """A framework, or a kind of file, that weights are converted to.

    ``write`` writes them, reads them back, and returns the comparison.
    """

    name: str
    ending: str
    meaning: str
    write: Callable[[Network, Weights, Path], WeightVerification]


def convert_weights(model: Any, path: Path, to: str) -> WeightVerification:
    """Write a model's weights for a framework, and prove that they are there.

    Args:
        model: The model.
        path: The file, whose ending is that of the framework.
        to: The name of the framework, one of ``TARGETS``.

    Raises:
        InputError: the model is not one of Keras, or its weights are not known.
        UnsupportedError: a layer has no counterpart in the framework.
    """
    from rnnshapes.network.layers.unsupported import require_supported
    from rnnshapes.network.weights import first_nan
    from rnnshapes.render.write_file import replacing

    with open_model(model) as opened:
        network = with_default_sizes(network_of(opened), opened)
        session = Session(network, (), opened, 0)
        if opened is None or not session.is_keras:
            raise InputError(
                "convert requires a model of Keras; to put the weights of another framework into "
                "one, give it with --like MODEL"
            )
        try:
            session.require_weights()
        except UnsupportedError:  # which does not say why
            require_supported(node.layer for node in network.unsupported)
            raise
        weights = session.weights()
        if not any(weights.values()):
            raise InputError("the model has no weights, so there is nothing to convert")
        if name := first_nan(network, weights):
            raise InputError(
                f"{name} holds NaN, which no port computes with: train the model again"
            )
        with replacing(path) as unfinished:
            result = TARGETS[to].write(network, weights, unfinished)
    return replace(result, path=str(path))


def _write_pytorch(network: Network, weights: Weights, path: Path) -> WeightVerification:
    """Write a state_dict of PyTorch."""
    from rnnshapes.load.foreign.model import open_foreign_file
    from rnnshapes.load.foreign.safetensors import write_tensors
    from rnnshapes.port.weight_files.comparison import verify_weights
    from rnnshapes.port.weight_files.pytorch import to_pytorch

    arrays = to_pytorch(network, weights)
    with path.open("wb") as stream:
        write_tensors(stream, arrays)
    with open_foreign_file(path) as file:
        assert file is not None
        result = verify_weights(network, weights, file)
    if not result.passed or result.unknown_arrays:
        raise _different(path)
    return result


def _write_flax(network: Network, weights: Weights, path: Path) -> WeightVerification:
    """Write parameters of Flax linen."""
    from rnnshapes.load.array_files import open_npz
    from rnnshapes.port.weight_files.flax import to_flax, verify_flax
    from rnnshapes.render.write_file import write_npz

    with path.open("wb") as stream:
        write_npz(to_flax(network, weights), stream)
    with open_npz(path) as arrays:
        return verify_flax(network, weights, dict(arrays), str(path))


def _write_c(network: Network, weights: Weights, path: Path) -> WeightVerification:
    """Write a C header of the weights, with the columns of each gate in a comment."""
    import numpy as np

    from rnnshapes.forward.golden import weights_alone
    from rnnshapes.load.array_files import read_c_header
    from rnnshapes.port.weight_files.comparison import WeightCheck, WeightVerification
    from rnnshapes.render.view import View
    from rnnshapes.render.write_file import write_file

    golden = weights_alone(network, weights)
    write_file(golden, "c", View(), path)
    stored = {name: (dtype, numbers) for name, dtype, numbers in read_c_header(path)}
    checks = []
    for name, values in golden.arrays.items():
        dtype, numbers = stored.pop(name, ("float32", ()))
        if dtype != str(values.dtype) or not np.array_equal(np.array(numbers, dtype), values):
            raise _different(path)
        checks.append(WeightCheck(name, (name,), "as it is", values.size))
    return WeightVerification(network, str(path), "C", "header", tuple(checks), (), ())


def _write_onnx(network: Network, weights: Weights, path: Path) -> WeightVerification:
    """Write a whole ONNX model."""
    from rnnshapes.load.foreign.model import open_foreign_file
    from rnnshapes.load.foreign.onnx_writer import is_written, write_model
    from rnnshapes.port.weight_files.onnx import to_onnx, verify_onnx

    export = to_onnx(network, weights)
    with path.open("wb") as stream:
        write_model(stream, export.graph, export.inputs, export.outputs)
    if not is_written(path, export.graph):
        raise _different(path)
    with open_foreign_file(path) as file:
        assert file is not None
        result = verify_onnx(network, weights, file)
    if not result.passed:
        raise _different(path)
    return result


#: The frameworks for which weights are written.
TARGETS: Mapping[str, ConversionTarget] = MappingProxyType(
    {
        target.name: target
        for target in (
            ConversionTarget("torch", ".safetensors", "state_dict of PyTorch", _write_pytorch),
            ConversionTarget("flax", ".npz", "parameters of Flax linen", _write_flax),
            ConversionTarget("onnx", ".onnx", "whole model for ONNX Runtime", _write_onnx),
            ConversionTarget("c", ".h", "header of the weights in C", _write_c),
        )
    }
)


def _different(path: Path) -> CannotRunError:
    return CannotRunError(f"{path.name}: what was written differs from the weights of the model")


def target_of(path: Path, to: str | None) -> str:
    """Return the framework that a file is for: ``to``, or that of its ending.

    Raises:
        InputError: there is no such framework, or the file has another ending.
    """
    if to is not None and to not in TARGETS:
        raise InputError(f"unknown framework {to!r} (--to): use one of {', '.join(TARGETS)}")
    allowed = [target for target in TARGETS.values() if to in (None, target.name)]
    for target in allowed:
        if path.name.lower().endswith(target.ending):
            return target.name
    endings = " or ".join(target.ending for target in allowed)
    raise InputError(f"{path}: unknown kind of file: give it a name that ends in {endings}")


def convert_to_keras(source: Path, like: Any, path: Path) -> WeightVerification:
    """Write the weights of a file of PyTorch or ONNX as those of a Keras model, and prove them.

    The .weights.h5 file is read back and compared with ``source`` before it replaces ``path``.

    Raises:
        InputError: ``like`` is no saved model of Keras 3, or does not take these weights.
        UnsupportedError: the model holds something that is not supported.
    """
    from rnnshapes.load.foreign.model import open_foreign_file
    from rnnshapes.load.saved import weights_h5
    from rnnshapes.port.weight_files.comparison import verify_weights
    from rnnshapes.port.weight_files.keras import added_biases, open_options, to_keras
    from rnnshapes.render.write_file import replacing

    with open_foreign_file(source) as file, _saved_keras_model(like) as model:
        if file is None:
            raise InputError(f"{source}: not a PyTorch or ONNX file, which --like requires")
        network = with_default_sizes(network_of(model), model)
        session = Session(network, (), model, 0)
        weights_h5.require_keras3(model)
        session.require_weights()
        weights = to_keras(network, session.weights(), file)
        with replacing(path) as unfinished:
            weights_h5.write_weights(unfinished, model, weights)
            result = verify_weights(network, weights_h5.read_weights(unfinished, model), file)
            for check in result.checks:
                if check.mistake is not None:
                    raise InputError(
                        f"{source}: the model's dtype cannot hold the numbers of {check.name}; "
                        "give a model of the file's dtype with --like"
                    )
        assumptions = (*open_options(network, file), *added_biases(result))
        return replace(result, assumptions=assumptions)


@contextmanager
def _saved_keras_model(like: Any) -> Iterator[ModelFile]:
    """Open the saved model of Keras at a path, or save a live one for the time being."""
    from rnnshapes.load.saved.model import open_model_file

    if isinstance(like, str | os.PathLike):
        with open_model_file(Path(like)) as model:
            yield model
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        reference.save(like, path)
        with open_model_file(path) as model:
            yield model
