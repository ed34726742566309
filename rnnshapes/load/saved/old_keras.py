"""What Keras 1 and 2 wrote, in terms of Keras 3: options of layers, and arrays of weights.

Sources: ``keras/legacy/interfaces.py`` of Keras 2.0 (options that were renamed),
``keras/saving/hdf5_format.py`` of Keras 2.4 (``preprocess_weights_for_loading``: the twelve
arrays of an LSTM, the nine of a GRU, and those of the CuDNN layers).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rnnshapes.cells.cell import Cell
from rnnshapes.cells.registry import BY_CLASS, by_cudnn_class
from rnnshapes.load.saved.hdf5_client import StoredWeight
from rnnshapes.network.layers.config import Config
from rnnshapes.ops.dims import Dim
from rnnshapes.ops.interface import ACTIVATIONS, KERAS2_HARD_SIGMOID

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: Options of layers in Keras 1, and their names in Keras 3.
_RENAMED_OPTIONS = {
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
_RENAMED_CLASSES = {
    "Convolution1D": "Conv1D",
    "TimeDistributedDense": "Dense",
}
#: Keras 1 and 2: clip(0.2 z + 0.5, 0, 1); Keras 3: clip(z / 6 + 0.5, 0, 1).
_RENAMED_ACTIVATIONS = {"hard_sigmoid": KERAS2_HARD_SIGMOID, "swish": "silu"}


# --- Options ------------------------------------------------------------------------------------


def modernize_layer(class_name: str, config: Config) -> tuple[str, Config]:
    """Return class and options with which Keras 3 writes a layer of Keras 1 or 2."""
    options = {_RENAMED_OPTIONS.get(name, name): value for name, value in config.items()}
    if class_name != "Embedding" and "output_dim" in options:
        options.setdefault("units", options["output_dim"])
    class_name = _RENAMED_CLASSES.get(class_name, class_name)
    if (cell := by_cudnn_class(class_name)) is not None:
        class_name = cell.class_name
        options |= {"activation": "tanh", "recurrent_activation": "sigmoid", "use_bias": True}
        options |= {"reset_after": True}
    if class_name.removesuffix("Cell") in BY_CLASS:
        options.setdefault("recurrent_activation", "hard_sigmoid")
        options.setdefault("activation", "tanh")
        options.setdefault("reset_after", False)
    for name in ("activation", "recurrent_activation"):
        activation = options.get(name)
        if isinstance(activation, str):
            activation = _RENAMED_ACTIVATIONS.get(activation, activation)
            is_known = activation in (*ACTIVATIONS, KERAS2_HARD_SIGMOID)
            # Of a user's function, Keras 1 and 2 wrote the name alone.
            options[name] = activation if is_known else {"config": activation}
    for name in ("layer", "backward_layer", "cell"):
        if isinstance(inner := options.get(name), dict):
            options[name] = _modernize_inner(inner)
    if isinstance(cells := options.get("cells"), list):
        options["cells"] = [
            _modernize_inner(cell) if isinstance(cell, dict) else cell for cell in cells
        ]
    return class_name, options


def _modernize_inner(inner: Config) -> dict[str, Any]:
    """Return the config of a layer or cell inside another layer, as Keras 3 writes it."""
    config = inner.get("config")
    config = config if isinstance(config, dict) else {}
    class_name, options = modernize_layer(str(inner.get("class_name")), config)
    return {**inner, "class_name": class_name, "config": options}


# --- Weights ------------------------------------------------------------------------------------


def modernize_weights(
    class_name: str, weights: Sequence[StoredWeight], backend: str
) -> tuple[StoredWeight, ...]:
    """Return the arrays of a cell or layer as Keras 3 would have them.

    Args:
        class_name: Its class in Keras 3.
        weights: The arrays in the file, in its order.
        backend: The backend that Keras 1 or 2 ran on; Theano flips convolution kernels.
    """
    cell = BY_CLASS.get(class_name)
    if cell is not None and cell.keras1_gate_order and len(weights) == 3 * len(cell.gate_names):
        # Keras 1 wrote kernel, recurrent kernel and bias for one gate after the other.
        starts = [3 * cell.keras1_gate_order.index(gate) for gate in cell.gate_names]
        return _join_gates(weights, starts)
    if cell is not None and cell.cudnn_class and len(weights) == 3:
        return _from_cudnn(cell, weights)
    return tuple(_modernize_weight(class_name, weight, backend) for weight in weights)


def _modernize_weight(class_name: str, weight: StoredWeight, backend: str) -> StoredWeight:
    names = {"W": "embeddings" if class_name == "Embedding" else "kernel"}
    names |= {"b": "bias", "U": "recurrent_kernel"}
    if class_name.startswith("DepthwiseConv"):
        names["kernel"] = "kernel"  # it was depthwise_kernel
    weight = replace(weight, name=names.get(weight.name.rsplit("_", 1)[-1], weight.name))
    has_windows = class_name in ("Conv2D", "Conv3D", "ConvLSTM2D")
    if has_windows and weight.name.endswith("kernel") and backend == "theano":
        flips = (slice(None, None, -1),) * (len(weight.shape) - 2)
        return replace(weight, convert=lambda arrays: arrays[0][flips])
    if class_name != "Conv1D" or weight.name != "kernel":
        return weight
    flip = slice(None, None, -1 if backend == "theano" else 1)
    if len(weight.shape) == 4 and weight.shape[1] == 1:  # (k, 1, D, F)
        size, _, features, filters = weight.shape
        shape = (size, features, filters)
        return replace(weight, shape=shape, convert=lambda arrays: arrays[0][flip, 0])
    if len(weight.shape) == 4 and weight.shape[3] == 1:  # (F, D, k, 1)
        filters, features, size, _ = weight.shape
        return replace(
            weight,
            shape=(size, features, filters),
            convert=lambda arrays: arrays[0][..., 0].transpose(2, 1, 0)[flip],
        )
    if backend == "theano":
        return replace(weight, convert=lambda arrays: arrays[0][flip])
    return weight


def _join_gates(weights: Sequence[StoredWeight], starts: Sequence[int]) -> tuple[StoredWeight, ...]:
    """Return kernel, recurrent kernel and bias, joined from the W, U and b of each gate.

    ``starts`` are the positions of the W of each gate. Where the shapes of gates differ,
    ``weights`` are returned.
    """
    joined = []
    for offset, name in enumerate(("kernel", "recurrent_kernel", "bias")):
        gates = [weights[start + offset] for start in starts]
        shapes = {gate.shape for gate in gates}
        if len(shapes) > 1 or not gates[0].shape:
            return tuple(weights)
        shape = (*gates[0].shape[:-1], len(starts) * gates[0].shape[-1])
        datasets = tuple(dataset for gate in gates for dataset in gate.datasets)
        joined.append(StoredWeight(name, shape, datasets, _concatenate))
    return tuple(joined)


def _concatenate(arrays: Sequence[Array]) -> Array:
    import numpy as np

    return np.concatenate(list(arrays), axis=-1)


def _from_cudnn(cell: type[Cell], weights: Sequence[StoredWeight]) -> tuple[StoredWeight, ...]:
    """Return the weights of a CuDNN layer as those of a layer with this cell.

    A CuDNN layer has two biases one behind the other; any other ``weights`` return as they are.
    """
    kernel, recurrent, bias = weights
    gates = len(cell.gate_names)
    if len(recurrent.shape) != 2 or bias.shape != (2 * recurrent.shape[0] * gates,):
        return tuple(weights)
    units = recurrent.shape[0]
    # A cell that keeps both biases has them as two rows; any other adds them.
    bias_dims = cell(Dim.of(units)).bias(Dim.of(gates * units)).dims
    shape = tuple(dim.value({}) or 0 for dim in bias_dims)

    def convert_kernel(arrays: Sequence[Array]) -> Array:
        import numpy as np

        blocks = np.split(arrays[0], gates, axis=-1)
        return np.concatenate([b.T.reshape(b.shape, order="F") for b in blocks], axis=-1)

    def convert_recurrent(arrays: Sequence[Array]) -> Array:
        import numpy as np

        return np.concatenate([b.T for b in np.split(arrays[0], gates, axis=-1)], axis=-1)

    def convert_bias(arrays: Sequence[Array]) -> Array:
        rows: Array = arrays[0].reshape(2, -1)
        return rows if len(shape) == 2 else rows.sum(axis=0)

    return (
        replace(kernel, convert=convert_kernel),
        replace(recurrent, convert=convert_recurrent),
        replace(bias, shape=shape, convert=convert_bias),
    )


# --- What Keras 3 refuses -----------------------------------------------------------------------


def keras3_refusal(model: Config | list[Any]) -> str:
    """Return why Keras 3 does not load a whole model of Keras 1 or 2, or an empty text."""
    if isinstance(model, list) or isinstance(model.get("config"), list):
        return "its config is a list of layers, and a dictionary is expected there"
    return next(_refusals(model), "") or _input_refusal(model)


def _input_refusal(model: Config) -> str:
    """Return a refusal if the first layer has ``batch_input_shape``, to which Keras 3 adds an axis.

    That is so in a Sequential model whose first layer is not an ``InputLayer``.
    """
    layers = (model.get("config") or {}).get("layers") or [{}]
    first = layers[0] if isinstance(layers[0], dict) else {}
    config = first.get("config")
    if first.get("class_name") == "InputLayer" or model.get("class_name") != "Sequential":
        return ""
    if not isinstance(config, dict) or "batch_input_shape" not in config:
        return ""
    return "it takes the batch_input_shape of the first layer for a shape without samples"


def _refusals(model: Mapping[str, Any]) -> Iterator[str]:
    """Yield reasons of each layer, and of the layers in it."""
    stack: list[Any] = [model]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += reversed(value)
        if not isinstance(value, dict):
            continue
        config = value.get("config")
        if isinstance(config, dict) and "class_name" in value:
            name, class_name = str(config.get("name")), str(value["class_name"])
            if class_name in (*_RENAMED_CLASSES, "Merge") or by_cudnn_class(class_name):
                yield f"it has no {class_name} (layer {name!r})"
            if "/" in name:
                yield f"the name of layer {name!r} has a slash"
            if "time_major" in config:
                yield f"it does not know the option time_major (layer {name!r})"
            yield from _inner_refusals(name, class_name, config)
            unknown = [name for name in (*_RENAMED_OPTIONS, "output_dim") if name in config]
            if unknown and class_name != "Embedding":
                yield f"it does not know the option {unknown[0]} (layer {name!r})"
        stack += reversed(list(value.values()))


def _inner_refusals(name: str, class_name: str, config: Config) -> Iterator[str]:
    """Yield reasons of a layer that is made from others, as Bidirectional and RNN are."""
    cells = config.get("cells")
    parts = [config.get(option) for option in ("layer", "backward_layer", "cell")]
    for part in (*parts, *(cells if isinstance(cells, list) else ())):
        if isinstance(part, dict) and "class_name" in part and not part.get("module"):
            yield f"the module of {part['class_name']!s:.40} is not named (in layer {name!r})"
    part = config.get("layer")
    inner = part.get("config") if isinstance(part, dict) else None
    turned = isinstance(inner, dict) and inner.get("go_backwards")
    if class_name == "Bidirectional" and turned and not config.get("backward_layer"):
        yield f"its Bidirectional takes no layer with go_backwards=True (layer {name!r})"
