"""Weights of a model as a .weights.h5 file, which ``keras.Model.load_weights`` reads.

Such a file is like the member model.weights.h5 of a .keras file, so each array has the path that
it has there. Source: ``keras/src/saving/saving_lib.py``.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved.hdf5_client import Dataset, Hdf5Client
from rnnshapes.load.saved.model import ModelFile

if TYPE_CHECKING:
    from rnnshapes.network.weights import Weights
    from rnnshapes.ops.activations import Array


def require_keras3(model: ModelFile) -> None:
    """Raise InputError unless a saved model is a .keras file."""
    if model.client.kind != "keras":
        raise InputError(
            f"{model.path}: --like requires a .keras file; load this one in Keras, and save it "
            "with model.save('model.keras')"
        )


def write_weights(path: Path, model: ModelFile, weights: Weights) -> None:
    """Write weights under the paths of a model's arrays, each in the dtype of that array.

    The seeds of dropouts are those of the model; the state of its optimizer is left out.

    Raises InputError where the model has two arrays in one place, as no Keras writes it.
    """
    import h5py

    from rnnshapes import memory

    arrays: dict[int, Array] = {}
    for layer in model.network.layers:
        values = (weights[name][w.key] for name, group in layer.groups.items() for w in group)
        for stored in model.in_weight_order(layer):
            (dataset,) = stored.datasets
            arrays[dataset.number] = next(values)
    datasets = [each for each in model.client.datasets if not each.path[0].startswith("optimizer")]
    others = [dataset for dataset in datasets if dataset.number not in arrays]
    count = sum(math.prod(dataset.shape) for dataset in datasets)
    memory.require(16 * count, f"copying {count:,} numbers")
    arrays |= {each.number: model.client.values([each])[0] for each in others}
    content = BytesIO()  # h5py ends the process if the disk is full
    try:
        with h5py.File(content, "w") as file:
            for group, attributes in model.client.groups.items():
                if "name" in attributes and not group.startswith("optimizer"):
                    file.require_group(group).attrs["name"] = attributes["name"]
            for dataset in datasets:
                _write(file, dataset, arrays.pop(dataset.number))
    except (TypeError, ValueError) as error:  # as h5py raises them
        raise InputError(f"{model.path}: its arrays cannot be copied: {error}") from None
    path.write_bytes(content.getvalue())


def read_weights(path: Path, model: ModelFile) -> Weights:
    """Return the weights in a file that :func:`write_weights` has written for a model."""
    with closing(Hdf5Client(path)) as client:
        by_path = {dataset.path: dataset for dataset in client.datasets}
        weights = {
            name: [
                replace(weight, datasets=tuple(by_path[each.path] for each in weight.datasets))
                for weight in stored
            ]
            for name, stored in model.stored_weights.items()
        }
        return replace(model, client=client, stored_weights=weights).weights()


def _write(file: Any, dataset: Dataset, values: Array) -> None:
    """Write an array in the dtype that it has in the model."""
    import numpy as np

    name = "/".join(dataset.path)
    if dataset.dtype != "bfloat16":
        file.create_dataset(name, data=np.asarray(values, dataset.dtype))
        return
    import ml_dtypes  # which comes with Keras

    rounded = np.asarray(values, np.float32).astype(ml_dtypes.bfloat16)
    file.create_dataset(name, data=rounded.view("V2")).attrs["dtype"] = "bfloat16"
