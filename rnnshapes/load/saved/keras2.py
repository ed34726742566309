"""What Keras 1 and 2 wrote, in the words of Keras 3.

Sources: ``keras/legacy/interfaces.py`` of Keras 2.0 (names of options that changed),
``keras/saving/hdf5_format.py`` of Keras 2.4 (``preprocess_weights_for_loading``: the twelve
arrays of an LSTM, the nine of a GRU, and those of the CuDNN layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnnshapes.cells.registry import BY_CLASS, by_cudnn_class
from rnnshapes.ops.interface import KERAS2_HARD_SIGMOID

Config = Mapping[str, Any]

#: Keras 1's name of each option, and today's.
_OPTIONS = {
    "inner_activation": "recurrent_activation",
    "bias": "use_bias",
    "p": "rate",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample_length": "strides",
    "border_mode": "padding",
    "pool_length": "pool_size",
    "stride": "strides",
    "atrous_rate": "dilation_rate",
}
_CLASSES = {
    "Convolution1D": "Conv1D",
    "TimeDistributedDense": "Dense",
}
#: Keras 1 and 2: clip(0.2 z + 0.5, 0, 1); Keras 3: clip(z / 6 + 0.5, 0, 1).
_ACTIVATIONS = {"hard_sigmoid": KERAS2_HARD_SIGMOID, "swish": "silu"}


def modern(kind: str, config: Config) -> tuple[str, Config]:
    """Class and options of a layer, as Keras 3 would write what Keras 1 or 2 meant."""
    made = {_OPTIONS.get(option, option): value for option, value in config.items()}
    if kind != "Embedding" and "output_dim" in made:
        made.setdefault("units", made["output_dim"])
    kind = _CLASSES.get(kind, kind)
    if (cell := by_cudnn_class(kind)) is not None:
        kind = cell.class_name
        made |= {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
        made |= {"reset_after": True}
    if kind.removesuffix("Cell") in BY_CLASS:
        made.setdefault("recurrent_activation", "hard_sigmoid")
        made.setdefault("activation", "tanh")
        made.setdefault("reset_after", False)
    for option in ("activation", "recurrent_activation"):
        name = made.get(option)
        if isinstance(name, str):
            made[option] = _ACTIVATIONS.get(name, name)
    for option in ("layer", "backward_layer", "cell"):
        if isinstance(part := made.get(option), dict):
            made[option] = _part(part)
    if isinstance(cells := made.get("cells"), list):
        made["cells"] = [_part(cell) if isinstance(cell, dict) else cell for cell in cells]
    return kind, made


def _part(part: Config) -> dict[str, Any]:
    """A layer or cell inside another layer."""
    config = part.get("config")
    kind, made = modern(str(part.get("class_name")), config if isinstance(config, dict) else {})
    return {**part, "class_name": kind, "config": made}


def refusal(model: Config | list[Any]) -> str:
    """Why Keras 3 does not load a whole model of Keras 1 or 2; nothing where it may."""
    if isinstance(model, list) or isinstance(model.get("config"), list):
        return "its config is a list of layers, and a dictionary is expected there"
    return next(_refusals(model), "") or _wrong_input(model)


def _wrong_input(model: Config) -> str:
    """Keras 3 puts an axis in front of the shape that a first layer which is no input was given."""
    layers = (model.get("config") or {}).get("layers") or [{}]
    first = layers[0] if isinstance(layers[0], dict) else {}
    config = first.get("config")
    if first.get("class_name") == "InputLayer" or model.get("class_name") != "Sequential":
        return ""
    if not isinstance(config, dict) or "batch_input_shape" not in config:
        return ""
    return "it takes the batch_input_shape of the first layer for a shape without samples"


def _refusals(value: Any) -> Iterator[str]:
    """The first reason in each layer, and in what is in it."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += reversed(part)
            continue
        if not isinstance(part, dict):
            continue
        config = part.get("config")
        if isinstance(config, dict) and "class_name" in part:
            name, kind = str(config.get("name")), str(part["class_name"])
            if kind in (*_CLASSES, "Merge") or by_cudnn_class(kind) is not None:
                yield f"it has no {kind} (layer {name!r})"
            if "/" in name:
                yield f"the name of layer {name!r} has a slash"
            if "time_major" in config:
                yield f"it does not know the option time_major (layer {name!r})"
            unknown = [option for option in (*_OPTIONS, "output_dim") if option in config]
            if unknown and kind != "Embedding":
                yield f"it does not know the option {unknown[0]} (layer {name!r})"
        stack += reversed(list(part.values()))
