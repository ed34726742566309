"""Saved models for the tests: files of Keras 3, files as Keras 1 and 2 wrote them, and changes."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from keras.src.legacy.saving import legacy_h5_format

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
rng = np.random.default_rng(7)


def saved(model: Any, path: Path) -> Path:
    """Save a model, as HDF5 unless the file is named .keras, without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.suffix == ".keras":
            model.save(path)
        else:
            legacy_h5_format.save_model_to_hdf5(model, path)
    return path


def numbers(*shape: int) -> np.ndarray:
    """Random weights, not zero anywhere."""
    return rng.normal(0, 0.5, shape).astype("float32")


def legacy_file(
    path: Path,
    config: Any,
    arrays: Mapping[str, Sequence[tuple[str, np.ndarray]]],
    version: str | None = "2.2.4",
    *,
    whole: bool = True,
    backend: str = "tensorflow",
) -> Path:
    """Return an HDF5 file in the layout of Keras 1 and 2, by h5py alone."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        if whole:
            file.attrs["model_config"] = json.dumps(config).encode()
        for place in (file, root) if version else ():
            place.attrs["keras_version"] = version.encode()
            place.attrs["backend"] = backend.encode()
        root.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, weights in arrays.items():
            group = root.create_group(name)
            group.attrs["weight_names"] = [weight.encode() for weight, _ in weights]
            for weight, values in weights:
                group[weight] = values
    return path


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    """Return a layer in a config."""
    return {"class_name": kind, "config": {"name": name, **config}}


def sequential(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Sequential config as Keras 2 writes it."""
    return {"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def members(path: Path) -> dict[str, bytes]:
    """Return the members of a .keras file."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repacked(
    source: Path,
    target: Path,
    *,
    config: Callable[[dict[str, Any]], Any] | None = None,
    weights: Callable[[h5py.File], object] | None = None,
    text: str | None = None,
    method: int = zipfile.ZIP_STORED,
) -> Path:
    """Return a .keras file with another config, or with its weights changed in place."""
    found = members(source)
    if config is not None:
        made = json.loads(found[CONFIG])
        changed = config(made)
        found[CONFIG] = json.dumps(made if changed is None else changed).encode()
    if text is not None:
        found[CONFIG] = text.encode("utf-8", "surrogatepass")
    if weights is not None:
        buffer = io.BytesIO(found[WEIGHTS])
        with h5py.File(buffer, "r+") as file:
            weights(file)
        found[WEIGHTS] = buffer.getvalue()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in found.items():
            archive.writestr(name, data)
    return target


def layers_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the layers of a config, by reference."""
    found: list[dict[str, Any]] = config["config"]["layers"]
    return found
