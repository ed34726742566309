"""``verify --against``: stacks whose layers start from the port's own h of the layer before."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port import report
from rnnshapes.port.explanation import Diagnosis, Explanation
from rnnshapes.port.hypothesis import Hypothesis, Mistake
from rnnshapes.port.location import Extent
from tests.helpers.handmade import LAYERS, Port, explained, weights_of
from tests.helpers.models import dtype_policy, randomized, sequential

SIZES: dict[str, Any] = {"N": 2, "T": 7, "D": 3, "M": [4, 5], "K": 2}
Arrays = dict[str, np.ndarray]


def ported(first: Port, second: Port, *, repeated: bool = False) -> tuple[dict[str, Any], Arrays]:
    """Return the sizes of a stack, and h of both layers and y_hat by a port of each."""
    sizes = {**SIZES, "cell": first.cell}
    golden = rnnshapes.golden(**sizes).arrays
    name = LAYERS[first.cell]
    h = first.run(weights_of(golden, name, head=""), golden["x"])["h"]
    passed_on = np.repeat(h[:, -1:], h.shape[1], axis=1) if repeated else h
    found = second.run(weights_of(golden, f"{name}_1"), passed_on)
    return sizes, {f"{name}.h": h, f"{name}_1.h": found["h"], "y_hat": found["y_hat"]}


def layers_of(result: Any) -> list[tuple[str, str]]:
    """Return id and layer of every explanation in JSON."""
    return [(one["id"], one["where"]["layer"]) for one in result.to_dict()["diagnosis"]]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_right_stacks_agree_layer_by_layer(cell: str) -> None:
    sizes, port = ported(Port(cell), Port(cell))
    result = rnnshapes.verify(**sizes, against=port)
    assert result.passed
    proven = [check.proven for check in result.checks]
    assert proven == [cell != "lstm", cell != "lstm", False]  # c of an LSTM is missing


@pytest.mark.parametrize(
    ("cell", "first", "id_"),
    [
        ("lstm", {"order": ("i", "o", "f", "c")}, "gates.order"),
        ("gru", {"activation": "relu"}, "activation.other"),
    ],
)
def test_two_layers_have_two_explanations(cell: str, first: dict[str, Any], id_: str) -> None:
    sizes, port = ported(Port(cell, **first), Port(cell, bias=0, head_bias=False))
    result = rnnshapes.verify(**sizes, against=port)
    name = LAYERS[cell]
    assert sorted(layers_of(result)) == sorted(
        [(id_, name), ("bias.omitted", f"{name}_1"), ("head.bias", "dense")]
    )
    assert len(result.diagnosis.explanations) == 1


def test_a_layer_behind_a_wrong_one_agrees() -> None:
    sizes, port = ported(Port("gru", bias=2), Port("gru"))
    result = rnnshapes.verify(**sizes, against={k: port[k] for k in ("gru.h", "gru_1.h")})
    assert [check.agrees for check in result.checks] == [False, True]
    assert layers_of(result) == [("bias.twice", "gru")]


def test_a_layer_may_start_from_other_states() -> None:
    """Behind one with a mistake."""
    sizes, port = ported(Port("gru", bias=2), Port("gru"))
    golden = rnnshapes.golden(**sizes).arrays
    start = np.random.default_rng(0).uniform(-0.5, 0.5, (len(golden["x"]), sizes["M"][1]))
    weights = weights_of(golden, "gru_1", "")
    second = Port("gru").run(weights, port["gru.h"], start=start.astype("f"))
    result = rnnshapes.verify(**sizes, against={"gru.h": port["gru.h"], "gru_1.h": second["h"]})
    assert layers_of(result) == [("bias.twice", "gru"), ("state.starts_nonzero", "gru_1")]
    (one,) = result.diagnosis.explanations
    assert (one.ratio <= 1, len(one.comparisons)) == (True, 2)


def test_layers_joined_wrongly_are_named() -> None:
    sizes, port = ported(Port("simple"), Port("simple"), repeated=True)
    result = rnnshapes.verify(**sizes, against=port)
    assert explained(result) == [("stack.last_repeated",)]


def test_rounded_text_is_not_passed_on_as_exact(tmp_path: Path) -> None:
    sizes, port = ported(Port("gru"), Port("gru"))
    file = tmp_path / "port.json"
    text = json.dumps({name: values.tolist() for name, values in port.items()})
    file.write_text(re.sub(r"-?\d\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.4f}", text))
    assert rnnshapes.verify(**sizes, against=file).passed


BEHIND = "simple_rnn_1 y_hat"


@pytest.mark.parametrize(
    ("first", "answers", "expected", "agreeing", "tried"),
    [
        (1, {BEHIND: "p q"}, ["p", "q"], 1, 7),
        (0, {"simple_rnn": "p q", BEHIND: "r"}, ["p r"], 0, 7),
        (0, {"simple_rnn": "p", "all": "s t"}, ["s", "t"], 0, 9),
        (1, {"all": "s"}, ["s"], 0, 9),
        (0, {"simple_rnn": "p", BEHIND: "r", "common": "t u"}, ["t", "u"], 0, 7),
        (1, {}, [], 0, 9),
    ],
)
@pytest.mark.parametrize(
    ("dtype", "stated"), [("float32", None), ("float64", "float64"), ("float64", None)]
)
def test_sections_are_explained_one_by_one(
    first: int,
    answers: dict[str, str],
    expected: list[str],
    agreeing: int,
    tried: int,
    dtype: str,
    stated: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After common mistakes of all layers, and before all others."""

    def diagnosed(
        part: Hypothesis, own: str, *, mixed: bool, extent: Extent, deep: bool = True
    ) -> Diagnosis:
        assert (own, mixed) == (dtype, dtype != stated and dtype == "float64")
        names = [quantity.name for quantity in part.quantities]
        assert extent.unit is None
        ids = answers.get((" ".join(names) if len(names) < 3 else "all") if deep else "common", "")
        made = (Explanation((Mistake(one, one),), own, ()) for one in ids.split())
        return Diagnosis(tuple(made), 9 if deep else 7)

    monkeypatch.setattr(report, "diagnose", diagnosed)
    sizes, port = ported(Port("simple", dtype, bias=first), Port("simple", dtype, bias=0))
    found = rnnshapes.verify(**sizes, against=port, dtype=stated).diagnosis
    assert [" ".join(one.ids) for one in found.explanations] == expected
    assert [len(one.comparisons) for one in found.explanations] == [agreeing] * len(expected)
    assert found.tried == tried


LOOK = Mistake("numeric.noise", "noise")


@pytest.mark.parametrize(
    ("policy", "stated", "at", "noise", "known", "ids", "looks"),
    [
        ("float32", None, np.s_[:], 1e-4, "", [], True),
        ("float32", None, np.s_[:], 1e-4, "p", ["p"], False),
        ("float32", None, np.s_[0, 3, 1], 0.3, "", [], False),
        ("float32", "float32", np.s_[:], 1e-4, "", [], True),
        ("mixed_bfloat16", None, np.s_[:], 1e-4, "", ["numeric.bfloat16"], False),
        ("mixed_bfloat16", None, np.s_[:], 1e-4, "p", ["p"], False),
        ("mixed_bfloat16", "float32", np.s_[:], 1e-4, "", [], True),
        ("mixed_bfloat16", None, np.s_[:], 0.3, "", [], True),
    ],
)
def test_unexplained_ports_may_compute_as_the_model(
    policy: str,
    stated: str | None,
    at: Any,
    noise: float,
    known: str,
    ids: list[str],
    looks: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In 16 bits, if the user states no dtype; otherwise the difference may look like something."""
    found = tuple(Explanation((Mistake(one, one),), "float32", ()) for one in known.split())
    monkeypatch.setattr(report, "diagnose", lambda *_, **__: Diagnosis(found, 5))
    monkeypatch.setattr(report, "appearance", lambda *_: (LOOK,))
    with dtype_policy(policy):
        layers = [la.GRU(5, return_sequences=True, name="gru"), la.Dense(2)]
        model = randomized(sequential(*layers, shape=(7, 3)))
    h = rnnshapes.golden(model, N=4, keras=False).arrays["gru.h"].astype("float32")
    h[at] += (noise * np.random.default_rng(0).uniform(0.5, 1, h.shape))[at]
    diagnosis = rnnshapes.verify(model, N=4, against={"gru.h": h}, dtype=stated).diagnosis
    assert [one.id for one in diagnosis.explanations] == ids
    for one in diagnosis.explanations if "bfloat16" in str(ids) else ():
        assert one.dtype == "bfloat16"
        assert [check.agrees for check in one.comparisons] == [True]
    assert diagnosis.appearance == ((LOOK,) if looks else ())
    assert diagnosis.tried == 5


@pytest.mark.parametrize("names", ["gru.h y_hat", "y_hat", ""])
def test_zeros_are_not_explained(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, as nothing was computed then."""
    monkeypatch.setattr(report, "diagnose", lambda *_, **__: Diagnosis((), 5, max_abs=9.0))
    sizes = {**SIZES, "M": 5, "cell": "gru"}
    golden = rnnshapes.golden(**sizes).arrays
    port = {name: golden[name].astype("float32") for name in ("gru.h", "y_hat")}
    port["y_hat"][0, 1:, 0] += 0.1
    port |= {name: 0 * port[name] for name in names.split()}
    diagnosis = rnnshapes.verify(**sizes, against=port).diagnosis
    largest = max(np.abs(golden[name]).max() for name in port)
    zeros = names == "gru.h y_hat"
    expected = (0, pytest.approx(largest)) if zeros else (5, 9.0)
    assert (diagnosis.tried, diagnosis.max_abs) == expected


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], tuple[Mistake, ...]]]:
    """Leave out the search; return the quantities and mistakes that it begins with."""
    begun = []

    def diagnosed(base: Hypothesis, *_: Any, **__: Any) -> Diagnosis:
        begun.append(([quantity.name for quantity in base.quantities], base.mistakes))
        return Diagnosis((), 5)

    monkeypatch.setattr(report, "diagnose", diagnosed)
    monkeypatch.setattr(report, "appearance", lambda *_: (LOOK,))
    return begun


def golden_port(names: str, cell: str = "gru", **sizes: Any) -> tuple[dict[str, Any], Arrays]:
    spec = {**SIZES, "M": 5, "cell": cell, **sizes}
    golden = rnnshapes.golden(**spec).arrays
    return spec, {name: golden[name].astype("float32") for name in names.split()}


@pytest.mark.parametrize(
    ("names", "wrong", "detailed"),
    [
        ("gru.h output", "gru.h output", ["gru"]),
        ("gru.h output", "output", ["gru", "output"]),
        ("gru.h y_hat", "gru.h y_hat", ["gru", "y_hat"]),
        ("output", "output", ["output"]),
        ("gru.h output", "", None),
    ],
)
def test_outputs_play_no_part_beside_wrong_states(
    names: str, wrong: str, detailed: list[str] | None, looked_at: Any
) -> None:
    spec, port = golden_port(names)
    for name in wrong.split():
        port[name] += np.random.default_rng(0).uniform(0.1, 0.2, port[name].shape).astype("f")
    result = rnnshapes.verify(**spec, against=port)
    assert [names for names, _ in looked_at] == ([detailed] if detailed else [])
    assert (result.diagnosis is None, result.passed) == (not wrong, not wrong)
    assert result.diagnosis is None or result.diagnosis.appearance == (LOOK,)
    assert [check.passed for check in result.checks] == [n not in wrong.split() for n in port]
    assert [check.error is not None for check in result.checks] == [bool(wrong)] * len(port)


def test_exchanged_axes_begin_the_search(looked_at: Any) -> None:
    """Intermediates, and arrays of the golden file, are not compared then, nor looks told."""
    spec, port = golden_port("gru.h gru.gate_z gru/kernel")
    port["gru.h"] = port["gru.h"].swapaxes(0, 1)
    result = rnnshapes.verify(**spec, against=port)
    assert (result.axes_swapped, result.verdict, len(result.checks)) == (True, "failed", 1)
    assert set(result.unknown_arrays) == {"gru.gate_z", "gru/kernel"}
    (_, (mistake,)) = looked_at[0]
    assert mistake.id.startswith("axes")
    assert result.diagnosis.appearance == ()


def test_wrong_gate_is_the_location_of_its_layer(looked_at: Any) -> None:
    """Other layers are located by their states."""
    spec, port = golden_port("lstm.h lstm.c lstm_1.h lstm_1.c lstm.gate_f", "lstm", M=[4, 5])
    for name in ("lstm.h", "lstm.gate_f", "lstm_1.h"):
        port[name][1, 2:, 3] += np.float32(0.1)
    result = rnnshapes.verify(**spec, against=port)
    places = [(one.where.layer, one.where.array, one.is_line) for one in result.locations]
    assert places == [("lstm", "gate_f", True), ("lstm_1", "h", False)]
    assert [check.quantity.partition(":")[0] for check in result.checks] == [
        *("lstm", "lstm", "lstm_1", "lstm_1", "lstm"),
    ]
    assert len(looked_at) > 0


def test_fixed_point_leaves_out_the_search(looked_at: Any, monkeypatch: Any) -> None:
    spec, port = golden_port("gru.h")
    port["gru.h"] += np.float32(0.01)
    checks = rnnshapes.verify(**spec, against=port).checks
    looked_at.clear()
    monkeypatch.setattr(report, "as_fixed_point", lambda *_: (LOOK, checks))
    (one,) = rnnshapes.verify(**spec, against=port).diagnosis.explanations
    assert (one.mistakes, one.dtype, one.comparisons) == ((LOOK,), "float32", checks)
    assert looked_at == []
