"""The layers of a model's config: by name, with what has to be known to find their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnshapes.errors import InputError
from rnnshapes.load.saved import keras2 as old
from rnnshapes.load.saved.inbound_nodes import shape_of
from rnnshapes.load.saved.naming import counted, snake_case
from rnnshapes.network.layers.config import is_keras
from rnnshapes.network.layers.registry import is_recurrent, takes_sequence

Config = Mapping[str, Any]
#: Classes of models, which hold layers.
MODELS = ("Sequential", "Functional", "Model")


@dataclass(frozen=True)
class Owner:
    """A layer of the file, which may own arrays.

    ``name`` has those of the models around it in front (``encoder/lstm``), ``own`` not;
    ``group`` is where Keras 3 keeps its arrays, ``top`` the layer of the whole model that it is
    (or is in). ``inner`` is the config of a model, ``built_on`` the shape that it was built on.
    """

    name: str
    own: str
    class_name: str
    config: Config
    trainable: bool
    group: str
    top: str
    inner: Config | None = None
    built_on: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Container:
    """A model: its layers as Keras writes them, and as owners of arrays, by their names."""

    name: str
    sequential: bool
    config: Config
    layers: Mapping[str, Config]
    owners: Mapping[str, Owner]
    built_on: tuple[int | None, ...] | None


def container(model: Config, within: Owner | None, *, legacy: bool) -> Container:
    """The layers of a model, which may be a layer of another one."""
    config = model.get("config")
    if isinstance(config, list):  # a Sequential of Keras 1 and 2.0
        config = {"layers": config}
    if not isinstance(config, dict) or not isinstance(config.get("layers"), list):
        raise InputError("its config is no model with a list of layers")
    kind = str(model.get("class_name"))
    name = str(config.get("name") or kind.lower())
    used: dict[str, int] = {}
    layers: dict[str, Config] = {}
    owners: dict[str, Owner] = {}
    for layer in config["layers"]:
        if not isinstance(layer, dict):
            raise InputError(f"a layer of model {name!r} is {type(layer).__name__}, no object")
        owner = _owner(layer, within, config, used, legacy=legacy)
        if owner.own in owners:
            raise InputError(f"model {name!r} has two layers named {owner.own!r}")
        layers[owner.own], owners[owner.own] = layer, owner
    if not owners:
        raise InputError(f"model {name!r} has no layers")
    built = shape_of(config.get("build_input_shape")) or _built_on(model)
    return Container(name, kind == "Sequential", config, layers, owners, built)


def _owner(
    layer: Config, within: Owner | None, model: Config, used: dict[str, int], *, legacy: bool
) -> Owner:
    kind, config = str(layer.get("class_name")), layer.get("config")
    is_model = kind in MODELS and is_keras(layer)
    inner = layer if is_model else None
    if isinstance(config, list) and is_model:
        config = {}
    config = config if isinstance(config, dict) else {}
    own = str(layer.get("name") or config.get("name") or snake_case(kind))
    if len(own) > 500:
        raise InputError(f"a layer has a name of {len(own):,} characters: {own[:40]}…")
    group = counted(snake_case(kind), used)
    trainable = config.get("trainable", True) is not False and model.get("trainable") is not False
    if not is_model:
        kind = kind if legacy else _full_name(layer, kind, named="module" in layer)
        kind, config = old.modern(kind, config) if legacy else (kind, config)
    return Owner(
        name=own if within is None else f"{within.name}/{own}",
        own=own,
        class_name=kind,
        config=config,
        trainable=trainable and (within is None or within.trainable),
        group=f"layers/{group}" if within is None else f"{within.group}/layers/{group}",
        top=own if within is None else within.top,
        inner=inner,
        built_on=_built_on(layer),
    )


def _full_name(layer: Config, kind: str, *, named: bool) -> str:
    """The class's name, with the module in front where it is no layer of Keras.

    HDF5 files name no modules, but Keras 3 gives every layer ``trainable``, operations not.
    """
    if not is_keras(layer):
        module = layer.get("module")
        return f"{module}.{kind}" if module else str(layer.get("registered_name") or f"own.{kind}")
    config = layer.get("config")
    operation = not named and kind != "InputLayer" and isinstance(config, dict)
    if operation and "trainable" not in config:  # type: ignore[operator]
        return f"keras.ops.{kind}"
    module = str(layer.get("module", "keras.layers"))
    return kind if module.startswith(("keras.layers", "keras.src.layers")) else f"{module}.{kind}"


def _built_on(layer: Config) -> tuple[int | None, ...] | None:
    build = layer.get("build_config")
    return shape_of(build.get("input_shape")) if isinstance(build, dict) else None


def sequential_input(box: Container) -> Owner:
    """Where data comes into a Sequential model, as far as the config tells it."""
    owners = list(box.owners.values())
    first = owners[0]
    if first.class_name == "InputLayer":
        return first
    shape: Any = _given_shape(first) or box.built_on or first.built_on
    if shape is None and first.inner is not None:  # the first layer is a model
        return sequential_input(container(first.inner, None, legacy=False))
    if shape is None:
        sequence = any(takes_sequence(o.class_name) for o in owners)
        axes = 2 if first.class_name == "Embedding" or not sequence else 3
        shape = (None,) * axes
    name = f"{first.own}_input"
    config = {"batch_shape": list(shape)}
    return Owner(name, name, "InputLayer", config, trainable=True, group="", top=name)


def _given_shape(first: Owner) -> tuple[int | None, ...] | None:
    """What the first layer was told of its input, as Keras 1 and 2 keep it."""
    config = first.config
    for option in ("batch_input_shape", "batch_shape"):
        if (shape := shape_of(config.get(option))) is not None:
            return shape
    if (shape := shape_of(config.get("input_shape"))) is not None:
        return (None, *shape)
    size, length = config.get("input_dim"), config.get("input_length")
    if first.class_name == "Embedding":
        return shape_of([None, length])
    if type(size) is int:
        return shape_of([None, length, size] if is_recurrent(first.class_name) else [None, size])
    return None
