"""The layers of a model's config, by name, with what is needed to find their arrays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved import old_keras
from rnnshapes.load.saved.inbound_nodes import references, shape_of
from rnnshapes.network.layers.config import (
    MODEL_CLASSES,
    OPERATION,
    Config,
    is_keras,
    is_operation,
)
from rnnshapes.network.layers.registry import is_recurrent, takes_sequence

#: What contradicts itself in a model of Keras's own that does not list its layers.
NO_LAYERS = "its config has no list of layers"
_ENDS = ("input", "output")


@dataclass(frozen=True)
class SavedLayer:
    """A layer of a saved model, which may have arrays in the file.

    ``name`` begins with the names of the models around it (``encoder/lstm``), ``own_name`` does
    not. ``group`` is the HDF5 group of its arrays in a .keras file, ``top_layer`` the layer of
    the whole model that it is, or is in. ``submodel`` is the config of a model, applied at each
    step if the class is TimeDistributed; ``nesting`` is how many of these are around the layer.
    ``input_shape`` is the shape that the layer was built for, if the config has it.
    ``contradiction`` says why Keras itself would refuse it.
    """

    name: str
    own_name: str
    class_name: str
    config: Config
    trainable: bool
    group: str
    top_layer: str
    submodel: Config | None = None
    input_shape: tuple[int | None, ...] | None = None
    contradiction: str = ""
    nesting: int = 0

    @property
    def is_model(self) -> bool:
        """Whether it is a model itself."""
        return self.submodel is not None and self.class_name in MODEL_CLASSES


@dataclass(frozen=True)
class ModelConfig:
    """A model's config, or that of a model inside it.

    ``layer_configs`` are its layers as Keras writes them, ``layers`` what they are, both by name.
    """

    name: str
    sequential: bool
    config: Config
    layer_configs: Mapping[str, Config]
    layers: Mapping[str, SavedLayer]
    input_shape: tuple[int | None, ...] | None


def read_model_config(model: Config, parent: SavedLayer | None, *, legacy: bool) -> ModelConfig:
    """Return the layers of a model.

    Args:
        model: The model as Keras writes it: ``class_name`` and ``config``.
        parent: The layer that this model is in another one, or ``None``.
        legacy: Whether Keras 1 or 2 wrote it.

    Raises:
        InputError: The config has no layers, or two with one name.
    """
    config = model.get("config")
    if isinstance(config, list):  # a Sequential of Keras 1 and 2.0
        config = {"layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise InputError("its config is not that of a model with a list of layers")
    class_name = str(model.get("class_name"))
    name = str(config.get("name") or class_name.lower())
    group_counts: dict[str, int] = {}
    layer_configs: dict[str, Config] = {}
    layers: dict[str, SavedLayer] = {}
    for layer_config in config["layers"]:
        if not isinstance(layer_config, dict):
            kind = type(layer_config).__name__
            raise InputError(f"a layer of model {name!r} is of type {kind}, an object is expected")
        layer = _read_layer(layer_config, parent, config, group_counts, legacy=legacy)
        if layer.own_name in layers:
            raise InputError(f"model {name!r} has two layers named {layer.own_name!r}")
        layer_configs[layer.own_name], layers[layer.own_name] = layer_config, layer
    if not layers:
        raise InputError(f"model {name!r} has no layers")
    input_shape = shape_of(config.get("build_input_shape")) or _built_shape(model)
    return ModelConfig(name, class_name == "Sequential", config, layer_configs, layers, input_shape)


def _read_layer(
    layer: Config,
    parent: SavedLayer | None,
    model: Config,
    group_counts: dict[str, int],
    *,
    legacy: bool,
) -> SavedLayer:
    """Return a layer of a model; ``group_counts`` counts the model's groups of each class."""
    class_name, config = layer.get("class_name"), layer.get("config")
    contradiction = ""
    if not isinstance(class_name, str) or not class_name:
        class_name, contradiction = "", "it has no class_name"
    is_model = class_name in MODEL_CLASSES and is_keras(layer)
    if is_model and not has_graph(layer):
        is_model, contradiction = False, NO_LAYERS
    submodel = layer if is_model else None
    config = config if isinstance(config, dict) else {}
    model_at_steps = _model_at_each_step(layer, legacy=legacy)
    own_name = str(layer.get("name") or config.get("name") or snake_case(class_name))
    if len(own_name) > 500:
        raise InputError(f"a layer has a name of {len(own_name):,} characters: {own_name[:40]}…")
    group = numbered(snake_case(class_name), group_counts)
    group += "/layer" if model_at_steps else ""
    trainable = config.get("trainable", True) is not False and model.get("trainable") is not False
    if not is_model and legacy:
        class_name, config = old_keras.modernize_layer(class_name, config)
    elif not is_model:
        class_name = _full_class_name(layer, class_name)
    return SavedLayer(
        name=own_name if parent is None else f"{parent.name}/{own_name}",
        own_name=own_name,
        class_name=class_name,
        config=config,
        trainable=trainable and (parent is None or parent.trainable),
        group=f"layers/{group}" if parent is None else f"{parent.group}/layers/{group}",
        top_layer=own_name if parent is None else parent.top_layer,
        submodel=submodel or model_at_steps,
        input_shape=_built_shape(layer),
        contradiction=contradiction,
        nesting=0 if parent is None else parent.nesting + (not parent.is_model),
    )


def _model_at_each_step(layer: Config, *, legacy: bool) -> Config | None:
    """Return the model that a TimeDistributed applies, if it has one input and one output."""
    config = layer.get("config")
    model = config.get("layer") if isinstance(config, dict) else None
    if layer.get("class_name") != "TimeDistributed" or not is_keras(layer) or legacy:
        return None
    if not isinstance(model, dict) or model.get("class_name") not in MODEL_CLASSES:
        return None
    if not is_keras(model) or not has_graph(model):
        return None
    assert isinstance(model["config"], dict)
    ends = [len(list(references(model["config"].get(f"{end}_layers")))) for end in _ENDS]
    return model if model["class_name"] == "Sequential" or ends == [1, 1] else None


def has_graph(model: Config) -> bool:
    """Return whether a model lists its layers; Keras 1 and 2.0 wrote a Sequential as a list."""
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config
    return isinstance(layers, list)


def _full_class_name(layer: Config, class_name: str) -> str:
    """Return the class of a layer, with its module in front unless it is a layer of Keras."""
    if not is_keras(layer):
        module, registered = layer.get("module"), layer.get("registered_name")
        if module:
            return f"{module}.{class_name}"
        is_registered = isinstance(registered, str) and ">" in registered  # as "package>Name"
        return str(registered) if is_registered else f"own.{class_name}"
    if is_operation(layer):
        return f"{OPERATION}{class_name}"
    module = str(layer.get("module", "keras.layers"))
    is_layer = module.startswith(("keras.layers", "keras.src.layers"))
    return class_name if is_layer else f"{module}.{class_name}"


def _built_shape(layer: Config) -> tuple[int | None, ...] | None:
    build = layer.get("build_config")
    return shape_of(build.get("input_shape")) if isinstance(build, dict) else None


def sequential_input(model: ModelConfig) -> SavedLayer:
    """Return the input of a Sequential model, with the shape that the config gives or implies."""
    layers = list(model.layers.values())
    first = layers[0]
    if first.class_name == "InputLayer":
        return first
    shape: Any = _stated_shape(first) or model.input_shape or first.input_shape
    if shape is None and first.submodel is not None and first.is_model:
        return sequential_input(read_model_config(first.submodel, None, legacy=False))
    if shape is None:
        timed = any(takes_sequence(layer.class_name) for layer in layers)
        shape = (None,) * (3 if timed else 2)
    name = f"{first.own_name}_input"
    config = {"batch_shape": list(shape)}
    return SavedLayer(name, name, "InputLayer", config, trainable=True, group="", top_layer=name)


def _stated_shape(first: SavedLayer) -> tuple[int | None, ...] | None:
    """Return the input shape that Keras 1 and 2 write into the options of the first layer."""
    config = first.config
    for option in ("batch_input_shape", "batch_shape"):
        if (shape := shape_of(config.get(option))) is not None:
            return shape
    if (shape := shape_of(config.get("input_shape"))) is not None:
        return (None, *shape)
    features, steps = config.get("input_dim"), config.get("input_length")
    if first.class_name == "Embedding":
        return shape_of([None, steps])
    if type(features) is int:
        recurrent = is_recurrent(first.class_name)
        return shape_of([None, steps, features] if recurrent else [None, features])
    return None


# --- How Keras 3 names the groups of its files --------------------------------------------------


def snake_case(name: str) -> str:
    """Return a class's name in snake case, as ``keras/src/utils/naming.py`` does."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def numbered(name: str, counts: dict[str, int]) -> str:
    """Return ``gru``, then ``gru_1``, as ``keras/src/saving/saving_lib.py`` does."""
    counts[name] = counts.get(name, -1) + 1
    return name if counts[name] == 0 else f"{name}_{counts[name]}"
