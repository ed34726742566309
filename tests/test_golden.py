"""``trace --golden``: what a port has to reproduce, recomputed here from weights and x alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.render.documents import tracing
from tests.helpers.files import saved
from tests.helpers.golden import CELLS, SIZES, WAYS, Arrays, by_hand, compare
from tests.helpers.models import model_of, randomized, sequential, stateful


def of(group: str, found: Arrays) -> set[str]:
    """The names of what a recurrence computes."""
    return {name for name in found if name.startswith(f"{group}.")}


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("options", CELLS, ids=lambda o: " ".join(map(str, o.values())))
def test_each_intermediate_equals_a_handwritten_loop(options: Any, way: Any) -> None:
    found = rnnshapes.golden(**SIZES, **options, **way, seed=3).arrays
    layer = {"simple": "simple_rnn"}.get(options["cell"], options["cell"])
    scans = {layer: bool(way.get("go_backwards"))}
    if "bidirectional" in way:
        sides = (("forward", False), ("backward", True))
        scans = {f"bidirectional/{side}_{layer}": reverse for side, reverse in sides}
    x = found["x"].astype("float64")
    hs, ends = [], []
    for group, reverse in scans.items():
        expected = by_hand(found, group, x, reverse=reverse, **options)
        assert of(group, found) == set(expected)
        compare(found, expected)
        hs.append(expected[f"{group}.h"])
        ends.append(hs[-1][:, 0 if reverse else -1])
    W, b = (found[f"dense/{name}"].astype("float64") for name in ("kernel", "bias"))
    assert np.all(b != 0)
    y_hat = np.concatenate(hs, axis=-1) @ W + b
    compare(found, {"y_hat": y_hat, "output": np.concatenate(ends, axis=-1) @ W + b})
    assert {found[name].dtype.name for name in found if "/" in name and "." not in name} == {
        "float32"
    }


def test_second_layer_reads_the_first() -> None:
    """x of the second layer is h of the first."""
    found = rnnshapes.golden(N=2, T=5, D=3, M=[4, 6], K=2, cell="gru", return_sequences=True).arrays
    first = by_hand(found, "gru", found["x"].astype("float64"), "gru")
    second = by_hand(found, "gru_1", first["gru.h"], "gru")
    compare(found, first | second)
    np.testing.assert_array_equal(found["y_hat"], found["output"])


@pytest.mark.parametrize(
    "name",
    [
        *("masked, both", "masked, backwards", "stacked cells, both, masked", "embedded, masked"),
        *("masked zeros", "encoder, decoder, both", "shared", "given states", "flattened"),
    ],
)
def test_states_gates_and_masks_equal_the_trace(name: str) -> None:
    model = model_of(name)
    result = rnnshapes.golden(model, N=3)
    parts = {part.rstrip("0123456789") for part in ("y", *_states(result))}
    whole = rnnshapes.trace(model, N=3, keras=False, show=[*parts, "gates"])
    shown = tracing.arrays(whole)
    assert len(shown) > 2
    for key, values in shown.items():
        np.testing.assert_array_equal(result.arrays[key], values, err_msg=key)
    for key, values in result.arrays.items():
        scan, dot, _ = key.rpartition(".")
        if dot and f"{scan}.mask" in shown and key not in shown and not key.endswith("_initial"):
            np.testing.assert_array_equal(np.isfinite(values).all(-1), shown[f"{scan}.mask"])


def _states(result: Any) -> set[str]:
    scans = [direction for node in result.network.recurrent for _, direction in node.scans]
    return {key for direction in scans for key in direction.cell.states}


@pytest.mark.parametrize("reverse", [False, True])
def test_masked_step_holds_states_and_nan(reverse: bool) -> None:
    layer = la.LSTM(5, go_backwards=reverse, name="lstm")
    model = randomized(sequential(la.Masking(0.0), layer, la.Dense(2), shape=(9, 3)))
    x = np.random.default_rng(2).standard_normal((3, 9, 3)).astype("float32")
    x[0, 6:] = x[1, :2] = x[2, [3, 5]] = 0
    found = rnnshapes.golden(model, x=x).arrays
    mask = (x != 0).any(axis=-1)
    np.testing.assert_array_equal(found["lstm.mask"], mask)
    expected = by_hand(found, "lstm", x.astype("float64"), "lstm", mask=mask, reverse=reverse)
    compare(found, expected)
    assert np.isnan(found["lstm.z_f"][~mask]).all()


def test_stacked_cells_have_numbered_arrays() -> None:
    cells = la.StackedRNNCells([la.LSTMCell(5), la.LSTMCell(4)])
    model = randomized(sequential(la.RNN(cells, name="rnn")))
    found = rnnshapes.golden(model, N=2).arrays
    kernels = [name for name in found if re.search(r"/(kernel|recurrent_kernel|bias)$", name)]
    parts = [kernels[:3], kernels[3:]]
    x = found["x"].astype("float64")
    for number, names in enumerate(parts, 1):
        inner = {f"cell/{name.rsplit('/')[-1]}": found[name] for name in names}
        for key, values in by_hand(inner, "cell", x, "lstm").items():
            what = key.removeprefix("cell.")
            if what == "x Wx":
                what = ("x Wx1", "h1 Wx2")[number - 1]
            elif what == "h Wh":
                what = f"h{number} Wh{number}"
            else:
                what += str(number)
            compare(found, {f"rnn.{what}": values})
        x = found[f"rnn.h{number}"]
    assert of("rnn", found) >= {"rnn.z_i1", "rnn.z_i2", "rnn.gate_o2", "rnn.h1 Wx2"}


@pytest.mark.parametrize("name", ["sentences", "models at each step", "cells", "shared"])
def test_every_weight_has_a_name_of_its_own(name: str) -> None:
    """Also those of both directions inside a TimeDistributed."""
    model = model_of(name)
    weights = rnnshapes.golden(model, keras=False, only=["weights"]).arrays.values()
    assert sum(values.size for values in weights) == model.count_params()


def test_initial_states_are_written_where_given() -> None:
    found = rnnshapes.golden(model_of("encoder, decoder"), N=2).arrays
    encoder, decoder = dict.fromkeys(name.split(".")[0] for name in found if "." in name)
    assert f"{encoder}.h_initial" not in found
    for key in "hc":
        there = found[f"{decoder}.{key}_initial"]
        np.testing.assert_array_equal(there, found[f"{encoder}.{key}"][:, -1])
    inputs = [name for name, values in found.items() if values.shape == (2, 6, 4)]
    start = {key: found[f"{decoder}.{key}_initial"] for key in "hc"}
    x = found[inputs[0]].astype("float64")
    compare(found, by_hand(found, decoder, x, "lstm", start=start))


def test_stateful_model_continues_between_batches() -> None:
    model = randomized(stateful(la.GRU(5, stateful=True, name="gru")))
    model.predict(np.ones((2, 9, 3), "float32"), verbose=0)
    found = rnnshapes.golden(model, N=4).arrays
    initial = found["gru.h_initial"]
    np.testing.assert_array_equal(initial[:2], model.get_layer("gru").states[0].numpy())
    np.testing.assert_array_equal(initial[2:], found["gru.h"][:2, -1])
    x = found["x"].astype("float64")
    compare(found, by_hand(found, "gru", x, "gru", start={"h": initial}))


@pytest.mark.parametrize("chunk", [1, 100])
def test_block_size_does_not_change_the_arrays(chunk: int, monkeypatch) -> None:
    options = {"N": 3, "T": 50, "D": 2, "M": 4, "cell": "lstm"}
    once = rnnshapes.golden(**options).arrays
    monkeypatch.setattr("rnnshapes.forward.scan.BLOCK_BYTES", 1)
    monkeypatch.setattr("rnnshapes.forward.golden.CHUNK", chunk)
    again = rnnshapes.golden(**options).arrays
    assert list(once) == list(again)
    compare({name: a.astype("float64") for name, a in again.items()}, once)


def test_inputs_may_have_the_names_of_outputs() -> None:
    x = {name: la.Input((6, size), name=name) for name, size in (("y_hat", 3), ("output", 4))}
    h = la.GRU(5, return_sequences=True)(la.Concatenate()(list(x.values())))
    model = randomized(keras.Model(x, la.Dense(2, name="dense")(h)))
    rng = np.random.default_rng(3)
    given = {
        name: rng.standard_normal((2, *each.shape[1:])).astype("f") for name, each in x.items()
    }
    found = rnnshapes.golden(model, x=given, keras=False).arrays
    for name, values in given.items():
        np.testing.assert_array_equal(found[f"input {name}"], values)
        assert found[name].shape == (2, 6, 2)


def test_saved_and_live_model_are_recorded_alike(tmp_path: Path) -> None:
    model = randomized(sequential(la.Bidirectional(la.GRU(4)), la.Dense(2), shape=(5, 3)))
    live = rnnshapes.golden(model, N=2, seed=4).arrays
    file = rnnshapes.golden(str(saved(model, tmp_path / "m.keras")), N=2, seed=4).arrays
    assert list(live) == list(file)
    for name, values in live.items():
        np.testing.assert_array_equal(file[name], values)
