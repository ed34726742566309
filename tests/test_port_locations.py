"""``verify --against``: mistakes of one array, layer, direction or weight, and where they are.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from tests.helpers.handmade import LAYERS, SIZES, Port, explained, weights_of
from tests.helpers.models import functional, randomized, sequential

Array = np.ndarray


def flat(a: Array) -> Array:
    """A buffer of the transposed array, read row by row."""
    return np.ascontiguousarray(a.T).reshape(a.shape)


def interleaved(a: Array) -> Array:
    """The gates of each unit side by side, read as blocks."""
    return a.reshape(*a.shape[:-1], 4, -1).swapaxes(-1, -2).reshape(a.shape)


def reordered(a: Array) -> Array:
    """The blocks in ONNX's order."""
    return np.concatenate([np.split(a, 4, -1)[i] for i in (0, 3, 1, 2)], -1)


@pytest.mark.parametrize(
    ("change", "keys", "id_", "array"),
    [
        (flat, ("kernel",), "layout.flat_buffer", "kernel"),
        (flat, ("kernel", "recurrent_kernel"), "layout.flat_buffer", None),
        (interleaved, ("kernel", "recurrent_kernel", "bias"), "layout.interleaved", None),
        (reordered, ("bias",), "gates.order.bias", "bias"),
        (reordered, ("recurrent_kernel",), "gates.order.recurrent_kernel", "recurrent_kernel"),
    ],
)
def test_order_within_arrays_is_named(
    change: Callable[[Array], Array], keys: Any, id_: str, array: str | None
) -> None:
    golden = rnnshapes.golden(**SIZES, cell="lstm").arrays
    weights = weights_of(golden, "lstm")
    weights |= {key: change(weights[key]) for key in keys}
    y_hat = Port("lstm").run(weights, golden["x"])["y_hat"]
    result = rnnshapes.verify(**SIZES, cell="lstm", against=y_hat)
    assert explained(result) == [(id_,)]
    (one,) = result.to_dict()["diagnosis"]
    assert (one["where"]["layer"], one["where"]["array"]) == ("lstm", array)
    assert one["cure"]


def test_mistake_of_one_layer_names_it() -> None:
    sizes, wrong = {**SIZES, "cell": "lstm"}, 0
    golden = rnnshapes.golden(**{**sizes, "M": [5, 6]}).arrays
    h = golden["x"]
    for number, name in enumerate(("lstm", "lstm_1")):
        port = Port("lstm", bias=0.0 if number == wrong else 1.0)
        found = port.run(weights_of(golden, name, "dense" if number else ""), h)
        h = found["h"]
    result = rnnshapes.verify(**{**sizes, "M": [5, 6]}, against=found["y_hat"])
    assert explained(result) == [("bias.omitted",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert (where["layer"], where["direction"]) == (("lstm", "lstm_1")[wrong], None)


def test_mistake_of_one_direction_names_it() -> None:
    sizes, wrong = {**SIZES, "cell": "lstm"}, 1
    golden = rnnshapes.golden(**sizes, bidirectional=True).arrays
    ways = ("forward", "backward")
    names = [f"bidirectional/{way}_lstm" for way in ways]
    ports = [
        Port("lstm", reverse=bool(n), turned_back=bool(n), bias=0.0 if n == wrong else 1.0)
        for n in (0, 1)
    ]
    h = {
        f"{name}.h": port.run(weights_of(golden, name, ""), golden["x"])["h"]
        for name, port in zip(names, ports, strict=True)
    }
    result = rnnshapes.verify(**sizes, bidirectional=True, against=h)
    assert explained(result) == [("bias.omitted",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert (where["layer"], where["direction"]) == ("bidirectional", ways[wrong])


@pytest.mark.parametrize(("cell", "what"), [("lstm", "h"), ("gru", "y_hat"), ("simple", "h")])
def test_one_wrong_weight_is_named_with_its_place(cell: str, what: str) -> None:
    golden = rnnshapes.golden(**SIZES, cell=cell).arrays
    weights = weights_of(golden, LAYERS[cell])
    weights["recurrent_kernel"] = weights["recurrent_kernel"].copy()
    weights["recurrent_kernel"][3, 2] += np.float32(0.07)
    port = Port(cell).run(weights, golden["x"])[what]
    result = rnnshapes.verify(**SIZES, cell=cell, against={what: port})
    assert explained(result) == [("weights.one_wrong",)]
    (one,) = result.to_dict()["diagnosis"]
    gate = {"lstm": "i", "gru": "z", "simple": None}[cell]
    found = [one["where"][key] for key in ("layer", "array", "gate", "unit")]
    assert found == [LAYERS[cell], "recurrent_kernel", gate, 2]
    assert "recurrent_kernel[3, 2]" in one["text"]


@pytest.mark.parametrize(
    ("cell", "features"), [("simple", 4), ("lstm", 4), ("gru", 4), ("simple", 5)]
)
def test_other_initial_state_is_named(cell: str, features: int) -> None:
    """Also where another first x of as many numbers would give the same states."""
    sizes = {**SIZES, "cell": cell, "D": features}
    golden = rnnshapes.golden(**sizes).arrays
    start, start_c = np.random.default_rng(0).standard_normal((2, 3, 5)).astype("float32")
    weights = weights_of(golden, LAYERS[cell])
    found = Port(cell).run(weights, golden["x"], start=start, start_c=start_c)
    states = {k: found[k] for k in ("h", "c") if k in found}
    result = rnnshapes.verify(**sizes, against=states)
    assert explained(result) == [("state.starts_nonzero",)]
    assert result.to_dict()["diagnosis"][0]["where"]["layer"] == LAYERS[cell]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_another_first_x_is_no_other_start(cell: str) -> None:
    """It is said that the first step alone differs."""
    sizes = {**SIZES, "cell": cell, "D": 3, "M": 8}
    golden = rnnshapes.golden(**sizes).arrays
    x = golden["x"].copy()
    x[:, 0] = np.random.default_rng(4).standard_normal(x[:, 0].shape)
    found = Port(cell).run(weights_of(golden, LAYERS[cell]), x)
    result = rnnshapes.verify(**sizes, against={k: found[k] for k in ("h", "c") if k in found})
    assert explained(result) == []
    assert result.to_dict()["where"][0]["step"] == 0


def test_first_step_that_no_state_explains_is_located() -> None:
    """No tanh is above 1."""
    sizes = {**SIZES, "cell": "simple"}
    golden = rnnshapes.golden(**sizes).arrays
    weights, x = weights_of(golden, "simple_rnn"), golden["x"]
    first = Port("simple").run(weights, x)["h"][:, 0] + np.float32(1.5)
    rest = Port("simple").run(weights, x[:, 1:], start=first)["h"]
    h = np.concatenate([first[:, None], rest], axis=1)
    result = rnnshapes.verify(**sizes, against={"h": h})
    assert explained(result) == []
    (place,) = result.to_dict()["where"]
    assert (place["layer"], place["step"]) == ("simple_rnn", 0)


def test_few_wrong_numbers_are_located_without_pairs() -> None:
    sizes = {**SIZES, "cell": "lstm", "T": 20, "M": 6}
    golden = rnnshapes.golden(**sizes).arrays
    right = Port("lstm").run(weights_of(golden, "lstm"), golden["x"])
    noise = np.random.default_rng(5).normal(0, 0.05, right["y_hat"].shape)
    all_wrong = rnnshapes.verify(**sizes, against={"y_hat": right["y_hat"] + noise.astype("f")})
    for names in (["y_hat"], ["h"], ["h", "c"]):
        port = {name: right[name].copy() for name in names}
        port[names[0]][1, 19, 1] += np.float32(0.05)
        result = rnnshapes.verify(**sizes, against=port)
        assert explained(result) == []
        assert 2 * result.diagnosis.tried < all_wrong.diagnosis.tried
        place = result.to_dict()["where"][0]
        assert (place["array"], place["unit"], place["step"]) == (names[0], 1, 19)


def test_wrong_weight_of_a_large_head_is_named() -> None:
    """One unit of the output differs, so that no recurrence is tried."""
    sizes = {**SIZES, "cell": "gru", "M": 48, "K": 3, "T": 30}
    golden = rnnshapes.golden(**sizes).arrays
    weights = weights_of(golden, "gru")
    weights["W"] = weights["W"].copy()
    weights["W"][7, 1] += np.float32(0.25)
    y_hat = Port("gru").run(weights, golden["x"])["y_hat"]
    for given in (y_hat, y_hat[:, -1]):
        result = rnnshapes.verify(**sizes, against=given)
        where = {one["where"]["layer"] for one in result.to_dict()["diagnosis"]}
        assert (explained(result), where) == ([("weights.one_wrong",)], {"dense"})
        assert result.diagnosis.tried < 30


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_late_mistake_of_a_direction_is_named(way: str) -> None:
    """Each step starts from the port's own states, in either order."""
    sizes = {**SIZES, "cell": "gru", "bidirectional": True, "T": 30, "M": 4}
    golden = dict(rnnshapes.golden(**sizes).arrays)
    names = {w: f"bidirectional/{w}_gru" for w in ("forward", "backward")}
    x, port = golden["x"].copy(), {}
    later = {"forward": slice(15, None), "backward": slice(0, 15)}[way]
    x[:, :, 0] = 0
    x[:, later, 0] = golden["x"][:, later, 0]
    for w, name in names.items():
        weights = weights_of(golden, name, head="")
        if w == way:  # shows from step 15 on
            weights["kernel"] = weights["kernel"].copy()
            weights["kernel"][0, 2] += np.float32(0.5)
        order = slice(None, None, 1 if w == "forward" else -1)
        port[f"{name}.h"] = Port("gru").run(weights, x[:, order])["h"][:, order]
    result = rnnshapes.verify(x=x, **sizes, against=port)
    assert explained(result) == [("weights.one_wrong",)]
    where = result.to_dict()["diagnosis"][0]["where"]
    assert (where["direction"], where["array"], where["gate"]) == (way, "kernel", "z")


@pytest.mark.parametrize(
    ("step", "ids"),
    [(-1, {"direction.reversed"}), (0, {"direction.reversed", "state.zeroed_each_step"})],
)
def test_last_state_of_a_turned_direction_is_named(step: int, ids: set[str]) -> None:
    """Step 0 from zeros is what the backward direction gives there without its states, too."""
    sizes = {**SIZES, "cell": "gru", "bidirectional": True, "T": 6, "M": 4}
    golden = rnnshapes.golden(**sizes).arrays
    forward, backward = (f"bidirectional/{way}_gru" for way in ("forward", "backward"))
    turned = Port("gru").run(weights_of(golden, backward, head=""), golden["x"])["h"]
    port = {f"{forward}.h": golden[f"{forward}.h"][:, -1], f"{backward}.h": turned[:, step]}
    port = {name: values.astype("f") for name, values in port.items()}
    found = explained(rnnshapes.verify(**sizes, against=port))
    assert {id_ for (id_,) in found} == ids


@pytest.mark.parametrize(("n", "z"), [(1, 0.5), (1, 15.5), (3, 15.5)])
def test_right_unit_that_varies_leaves_the_search_incomplete(n: int, z: float) -> None:
    """The recurrence is most likely right then; a saturated unit is right whatever it is given."""
    head = la.Dense(3, activation="sigmoid", name="dense")
    model = randomized(sequential(la.SimpleRNN(4, name="rnn"), head, shape=(6, 3)))
    kernel, bias = head.get_weights()
    head.set_weights([kernel, np.float32([z, bias[1], bias[2]])])
    port = rnnshapes.golden(model, N=n, keras=False).arrays["output"].astype("f")
    port[:, 1:] = np.random.default_rng(0).uniform(0.1, 0.9, (n, 2))
    diagnosis = rnnshapes.verify(model, N=n, against=port).diagnosis
    assert not diagnosis.explanations
    if z < 1:
        assert (diagnosis.complete, diagnosis.weights_tried) == (False, False)
    else:
        assert diagnosis.complete


@pytest.mark.parametrize("joined", [None, "forward", "backward"])
def test_exchanged_states_of_directions_are_named(joined: str | None) -> None:
    """y_hat tells whether the directions are joined in the wrong order, too."""
    sizes = {**SIZES, "cell": "simple", "bidirectional": True, "T": 4}
    golden = rnnshapes.golden(**sizes).arrays
    forward, backward = (f"bidirectional/{way}_simple_rnn.h" for way in ("forward", "backward"))
    port = {forward: golden[backward], backward: golden[forward]}
    if joined:
        sides = [golden[forward], golden[backward]][:: 1 if joined == "forward" else -1]
        port["y_hat"] = np.concatenate(sides, -1) @ golden["dense/kernel"] + golden["dense/bias"]
    port = {name: values.astype("f") for name, values in port.items()}
    result = rnnshapes.verify(**sizes, against=port)
    id_ = "direction.halves_swapped" if joined == "backward" else "direction.states_exchanged"
    assert explained(result) == [(id_,)]
    assert "name" in result.to_dict()["diagnosis"][0]["cure"]


@pytest.mark.parametrize("decimals", [3, 4])
def test_late_mistake_in_short_decimals_is_named(decimals: int, tmp_path: Path) -> None:
    """The states before the first step that differs are rounded, too."""
    sizes = {"N": 2, "T": 60, "D": 5, "M": 8, "K": 2, "cell": "simple"}
    golden = rnnshapes.golden(**sizes, seed=1).arrays
    x = golden["x"].copy()
    x[:, :30] = 0
    weights = weights_of(golden, "simple_rnn")
    weights["kernel"] = flat(weights["kernel"])
    h = Port("simple").run(weights, x)["h"]
    path = tmp_path / "h.json"
    texts = [[[f"{v:.{decimals}f}" for v in step] for step in sample] for sample in h]
    path.write_text(f'{{"h": {texts}}}'.replace("'", ""))
    result = rnnshapes.verify(x=x, **sizes, seed=1, against=path)
    assert explained(result) == [("layout.flat_buffer",)]


def test_unexplained_port_is_located() -> None:
    """In layer, unit and step; what agrees has no place."""
    sizes = {**SIZES, "cell": "gru"}
    golden = rnnshapes.golden(**sizes).arrays
    found = Port("gru").run(weights_of(golden, "gru"), golden["x"])
    assert rnnshapes.verify(**sizes, against=found["h"]).to_dict()["where"] == []
    found["h"][:, 4:, 3] += np.random.default_rng(0).standard_normal((3, 5)).astype("f")
    result = rnnshapes.verify(**sizes, against={"h": found["h"], "y_hat": found["y_hat"]})
    assert explained(result) == []
    place = result.to_dict()["where"][0]
    assert [place[key] for key in ("layer", "array", "step")] == ["gru", "h", 4]
    assert {"5", "9", "4", "8"} <= set(re.findall(r"\d+", place["text"]))  # 5 of 9, 4 to 8
    assert "where" in repr(result)


@pytest.mark.parametrize("masked", [True, False])
def test_a_mask_is_no_state_that_is_carried(masked: bool) -> None:
    """All samples but the first have masked steps, and differ from the first step on."""
    both = la.Bidirectional(la.SimpleRNN(5, name="rnn", return_sequences=True), name="both")
    first = [la.Masking(0.0)] if masked else []
    model = randomized(sequential(*first, both, shape=(9, 4)))
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("float32")
    x[1, 7:] = x[2, 5:] = 0.0
    y_hat = rnnshapes.golden(model, x=x, keras=False).arrays["y_hat"].astype("f")
    y_hat[1:] += np.random.default_rng(0).standard_normal(y_hat[1:].shape).astype("f")
    result = rnnshapes.verify(model, x=x, against={"y_hat": y_hat})
    assert explained(result) == []
    assert ("sample 0 agrees" in str(result)) != masked


def test_what_follows_from_a_difference_has_no_location() -> None:
    """Each layer starts from the port's own states; y_hat follows from them."""
    sizes = {**SIZES, "M": [5, 6]}
    golden = rnnshapes.golden(**sizes).arrays
    port = {f"{name}.h": golden[f"{name}.h"].astype("f") for name in ("simple_rnn", "simple_rnn_1")}
    for h in port.values():
        h[:, 3, 1] += 0.25
    port["y_hat"] = golden["y_hat"].astype("f") + np.float32(0.25)
    result = rnnshapes.verify(**sizes, against=port)
    assert [check.agrees for check in result.checks] == [False] * 3
    layers = [place["layer"] for place in result.to_dict()["where"]]
    assert layers == ["simple_rnn", "simple_rnn_1"]


def test_states_of_frameworks_are_accepted() -> None:
    """Both directions side by side, ONNX's Y and Y_h, PyTorch's h_n; and none is y_hat."""
    sizes = {**SIZES, "cell": "lstm", "bidirectional": True, "K": 10}
    golden = rnnshapes.golden(**sizes).arrays
    h, c = (
        [golden[f"bidirectional/{way}_lstm.{key}"] for way in ("forward", "backward")]
        for key in "hc"
    )
    sides = np.concatenate(h, -1).astype("f")
    last = np.stack([h[0][:, -1], h[1][:, 0]]).astype("f")
    Y = np.stack(h).transpose(2, 0, 1, 3).astype("f")
    for port in (
        {"h": sides},
        {"h": np.concatenate([*last], -1)},
        {"Y": Y},
        {"Y": np.stack(h, 2).astype("f")},
        {"Y_h": last, "Y_c": np.stack([c[0][:, -1], c[1][:, 0]]).astype("f")},
        {"h_n": last},
    ):
        result = rnnshapes.verify(**sizes, against=port)
        assert result.passed, result
        assert {check.quantity.partition(":")[0] for check in result.checks} == {
            f"bidirectional/{way}_lstm" for way in ("forward", "backward")
        }
    assert rnnshapes.verify(**{**sizes, "K": 2}, against=sides).passed

    sizes = {**SIZES, "cell": "gru", "M": [5, 5]}
    golden = rnnshapes.golden(**sizes).arrays
    h_n = np.stack([golden[f"{name}.h"][:, -1] for name in ("gru", "gru_1")]).astype("f")
    result = rnnshapes.verify(**sizes, against={"h_n": h_n})
    assert result.passed
    assert len(result.checks) == 2


def hints(location: Any) -> list[str]:
    """Return what may be the cause, after the place."""
    return location.text.split("; ")[1:]


def started(x: Any, h: Any) -> Any:
    return la.Dense(2)(la.GRU(4, return_sequences=True)(x, initial_state=h))


@pytest.mark.parametrize(("given", "hinted"), [(False, True), (True, False)])
def test_output_that_differs_from_start_is_located(given: bool, hinted: bool) -> None:
    """Where the states are 0 before, it is not the recurrent kernel alone."""
    layers = [la.GRU(4, return_sequences=True), la.Dense(2)]
    model = functional(started, (6, 3), (4,)) if given else sequential(*layers)
    model = randomized(model, seed=3)
    y_hat = rnnshapes.golden(model, N=3, keras=False).arrays["y_hat"]
    noise = np.random.default_rng(1).normal(0, 0.3, y_hat.shape).astype("f")
    result = rnnshapes.verify(model, N=3, against={"y_hat": y_hat + noise})
    assert explained(result) == []
    assert any(location.text for location in result.locations) == hinted


WRONG: dict[str, Any] = {"N": 3, "T": 6, "D": 3, "M": 4, "K": 2, "cell": "lstm", "seed": 3}


def with_wrong_gates(*gates: int) -> dict[str, np.ndarray]:
    """Return h and c with other weights of some gates; the steps are too few to recover them."""
    golden = rnnshapes.golden(**WRONG).arrays
    rng, units = np.random.default_rng(0), WRONG["M"]
    weights = weights_of(golden, "lstm")
    for name in ("kernel", "recurrent_kernel", "bias"):
        weights[name] = weights[name].copy()
        for gate in gates:
            block = weights[name][..., gate * units : (gate + 1) * units]
            block += rng.normal(0, 0.3, block.shape).astype("f")
    found = Port("lstm").run(weights, golden["x"])
    return {key: found[key] for key in "hc"}


@pytest.mark.parametrize(
    ("gates", "array", "hinted"),
    [((0, 1, 2), "c", True), ((0, 1, 2, 3), "h", False), ((1, 3), "h", False)],
)
def test_output_gate_is_told_from_the_others(
    gates: tuple[int, ...], array: str, hinted: bool
) -> None:
    """The output gate is right if h follows from c."""
    result = rnnshapes.verify(**WRONG, against=with_wrong_gates(*gates))
    (location,) = result.locations
    assert explained(result) == []
    assert location.where.array == array
    assert bool(hints(location)) == hinted


def test_sixteen_bits_tell_no_output_gate() -> None:
    (location,) = rnnshapes.verify(
        **WRONG, against=with_wrong_gates(0, 1, 2), dtype="bfloat16"
    ).locations
    assert not hints(location)


def test_small_error_of_h_says_nothing_of_gates() -> None:
    right, rng = with_wrong_gates(), np.random.default_rng(1)
    port = {key: a + rng.normal(0, 1e-3, a.shape).astype("f") for key, a in right.items()}
    (location,) = rnnshapes.verify(**WRONG, against=port).locations
    assert not hints(location)
