"""Configs of models, changed at random, and read without a file."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from rnnshapes.load.saved import network
from rnnshapes.network.summary import Inspection, inspect_network
from tests.helpers.models import MODELS


@functools.cache
def _text(name: str) -> str:
    model = MODELS[name]()
    from keras.src.saving import serialization_lib

    return json.dumps(serialization_lib.serialize_keras_object(model))


def changed(name: str, data: st.DataObject, values: Any) -> dict[str, Any]:
    """Return the config of a model in which up to three values are others."""
    config: dict[str, Any] = copy.deepcopy(json.loads(_text(name)))
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(config))
        if not places:
            break
        holder, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[key]
        else:
            holder[key] = data.draw(values)
    return config


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where values stand, by what holds them."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(pairs):
        yield value, key
        if isinstance(part, dict | list):
            yield from _places(part)


def read_config(config: dict[str, Any]) -> Inspection:
    """Return what inspect shows of a config, as if it were in a file without arrays."""
    graph, outputs = network.flatten(config, legacy=False)
    return inspect_network(network.build_network(graph, outputs, {}))
