"""Work grows with the size of what is read, and not with its square.

Work is counted in calls of functions, so no clock is needed: an input four times as large may take
about four times as many.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnshapes import InputError
from rnnshapes.load.inputs import read_input
from rnnshapes.load.saved import network as saved_network
from rnnshapes.network.summary import inspect_network
from rnnshapes.port.arrays import read_port

#: Calls for four times the input, as a share of four times the calls.
MOST_GROWTH = 1.5


def work(function: Callable[[], object]) -> int:
    """Return how many functions are called."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def assert_linear(make: Callable[[int], Callable[[], object]], size: int) -> None:
    """Assert that four times the size takes about four times the work."""
    make(size)()  # fill caches
    small, large = work(make(size)), work(make(4 * size))
    assert large <= 4 * MOST_GROWTH * small, (small, large)


# --- Configs of models --------------------------------------------------------------------------


def layer(class_name: str, name: str, *sources: str, **config: Any) -> dict[str, Any]:
    """Return a layer of a functional config, called on the outputs of ``sources``."""
    tensors = [
        {"class_name": "__keras_tensor__", "config": {"keras_history": [source, 0, 0]}}
        for source in sources
    ]
    args = [tensors if len(tensors) > 1 else tensors[0]] if tensors else []
    return {
        "module": "keras.layers",
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [{"args": args, "kwargs": {}}] if args else [],
    }


def model(layers: list[dict[str, Any]], outputs: list[str], name: str = "model") -> dict[str, Any]:
    """Return a functional model of these layers."""
    inputs = [each["name"] for each in layers if each["class_name"] == "InputLayer"]
    config = {
        "name": name,
        "layers": layers,
        "input_layers": [[each, 0, 0] for each in inputs],
        "output_layers": [[each, 0, 0] for each in outputs],
    }
    return {"module": "keras", "class_name": "Functional", "config": config, "name": name}


def sequence(name: str = "x") -> dict[str, Any]:
    """Return an input (None, 5, 3)."""
    return layer("InputLayer", name, batch_shape=[None, 5, 3])


def chain(size: int) -> dict[str, Any]:
    """Return Dense after Dense."""
    names = ["x", *(f"d{i}" for i in range(size))]
    layers = [layer("Dense", b, a, units=4) for a, b in pairwise(names)]
    return model([sequence(), *layers], names[-1:])


def branches(size: int) -> dict[str, Any]:
    """Return many layers side by side, added in groups, and these groups added."""
    names = [f"d{i}" for i in range(size)]
    layers = [layer("Dense", name, "x", units=4) for name in names]
    while len(names) > 1:
        groups = [names[start : start + 8] for start in range(0, len(names), 8)]
        layers += [
            layer("Add", f"a{len(layers)}.{i}", *group) if len(group) > 1 else None
            for i, group in enumerate(groups)
        ]
        names = [
            layers[-len(groups) + i]["name"] if layers[-len(groups) + i] else group[0]
            for i, group in enumerate(groups)
        ]
        layers = [each for each in layers if each]
    return model([sequence(), *layers], names)


def many_inputs(size: int) -> dict[str, Any]:
    """Return many inputs, each of which goes through an LSTM."""
    layers = []
    for i in range(size):
        layers += [sequence(f"x{i}"), layer("GRU", f"g{i}", f"x{i}", units=4)]
    return model(layers, [f"g{i}" for i in range(size)])


def inner_models(size: int) -> dict[str, Any]:
    """Return models in a model, one after the other, each called with an unknown option."""
    layers, last = [sequence()], "x"
    for i in range(size):
        name = f"m{i}"
        inside = [sequence(f"{name}.x"), layer("Dense", f"{name}.d", f"{name}.x", units=3)]
        inner = model(inside, [f"{name}.d"], name)
        call = layer("Functional", name, last)["inbound_nodes"]
        call[0]["kwargs"] = {"option": 3}
        layers.append({**inner, "inbound_nodes": call})
        last = name
    return model([*layers, layer("Dense", "last", last, units=2)], ["last"])


@pytest.mark.parametrize("make", [chain, branches, many_inputs, inner_models])
def test_reading_a_config_takes_linear_work(make: Callable[[int], dict[str, Any]]) -> None:
    def read(size: int) -> Callable[[], object]:
        config = make(size)
        return lambda: saved_network.flatten(config, legacy=False)

    assert_linear(read, 60)


@pytest.mark.parametrize("make", [chain, branches, many_inputs])
def test_inspecting_a_config_takes_linear_work(make: Callable[[int], dict[str, Any]]) -> None:
    def read(size: int) -> Callable[[], object]:
        graph, outputs = saved_network.flatten(make(size), legacy=False)
        return lambda: inspect_network(saved_network.build_network(graph, outputs, {}))

    assert_linear(read, 24)


def refusal(config: Any) -> str:
    """Return why a config is not read, or an empty text; any other error is raised."""
    try:
        graph, outputs = saved_network.flatten(config, legacy=False)
        inspect_network(saved_network.build_network(graph, outputs, {}))
    except InputError as error:
        return str(error)
    return ""


NESTED = st.recursive(
    st.sampled_from([None, True, 0, -4, 2.5, "LSTM", "x", "64", [], {}]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["class_name", "config", "layers", "layer", "cell", "units", "name"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=30,
)


@settings(max_examples=100, deadline=None)
@given(config=NESTED, units=NESTED, shape=NESTED)
def test_any_config_is_read_or_refused(config: Any, units: Any, shape: Any) -> None:
    layers = [
        layer("InputLayer", "x", batch_shape=shape if isinstance(shape, list) else [None, 5, 3]),
        layer("LSTM", "lstm", "x", units=units),
        {**layer("Dense", "dense", "lstm"), "config": config},
    ]
    for each in (model(layers, ["dense"]), {"class_name": "Functional", "config": config}):
        assert "\n" not in refusal(each)


# --- Array files --------------------------------------------------------------------------------


def json_text(size: int) -> str:
    """Return y_hat of so many samples."""
    return json.dumps({"y_hat": [[[0.5, 1.25]] * 3] * size})


def c_text(size: int) -> str:
    """Return a header of so many arrays, with comments between them."""
    array = (
        "/* a{}: b */ /* c */\n/* lstm.a{}: h, float32 */\nstatic const float a{}[2] = {{1, 2}};\n"
    )
    return "".join(array.format(i, i, i) for i in range(size))


def csv_text(size: int) -> str:
    """Return so many samples of one step."""
    rows = "".join(f"{i},0,0.5,1.25\n" for i in range(size))
    return f"sample,t,y_hat[0],y_hat[1]\n{rows}"


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("y.json", json_text, read_port),
        ("y.h", c_text, read_port),
        ("y.csv", csv_text, read_port),
        ("x.csv", csv_text, read_input),
    ],
)
def test_reading_arrays_takes_linear_work(name, text, read, tmp_path: Path) -> None:
    def make(size: int) -> Callable[[], object]:
        path = tmp_path / f"{size}{name}"
        path.write_text(text(size), encoding="utf-8")
        return lambda: read(path)

    assert_linear(make, 100)
