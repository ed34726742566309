"""``inspect``: one table of networks known by hand drives the function and the command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

import rnnshapes
from rnnshapes import reference, render
from rnnshapes.memory import format_bytes
from rnnshapes.network import from_sizes, structure, summary
from rnnshapes.network.structure import Engine
from rnnshapes.ops.dims import shape_text
from rnnshapes.render.formats.json_csv import json_chunks
from tests.helpers import networks
from tests.helpers.networks import Known

EACH = pytest.mark.parametrize("known", networks.ALL, ids=lambda k: str({**k.cell, **k.sizes}))


@EACH
def test_inspect_returns_every_weight_and_total(known: Known) -> None:
    result = rnnshapes.inspect(**known.sizes, **known.cell)
    found = [
        (w.name, w.symbol, list(w.dims), list(w.shape), w.formula, w.params)
        for layer in result.layers
        for w in layer.weights
    ]
    assert found == known.weights
    assert [(la.name, la.formula, la.params) for la in result.layers] == known.layers
    assert (result.params, result.bytes, result.macs) == (known.params, known.bytes, known.macs)
    assert result.formula == " + ".join(formula for _, formula, _ in known.layers)
    assert result.keras is None


@EACH
def test_json_holds_exact_weights_and_totals(known: Known, run) -> None:
    done = run("inspect", *networks.options(known), "--no-keras", "--format", "json")
    record = json.loads(done.out)
    assert done.status == 0
    assert record["schema"] == "rnnshapes.inspect/1"
    assert record["sizes"] == known.sizes
    keys = ("name", "symbol", "dims", "shape", "formula", "params")
    found = [tuple(w[key] for key in keys) for layer in record["layers"] for w in layer["weights"]]
    assert found == known.weights
    assert record["total"]["params"] == record["total"]["trainable"] == known.params
    assert record["total"]["bytes"] == known.bytes
    assert record["total"]["macs"] == known.macs
    assert record["total"]["non_trainable"] == 0
    assert record["keras"] is None


@EACH
def test_csv_has_a_row_for_each_weight(known: Known, run) -> None:
    done = run("inspect", *networks.options(known), "--no-keras", "--format", "csv")
    rows = list(csv.DictReader(StringIO(done.out)))
    assert [(r["weight"], r["symbol"], int(r["params"])) for r in rows] == [
        (name, symbol, params) for name, symbol, _, _, _, params in known.weights
    ]
    assert sum(int(r["bytes"]) for r in rows) == known.bytes


@EACH
def test_table_has_rows_for_weights_and_layers(known: Known, run) -> None:
    """The count of all parameters is on line 3."""
    out = run("inspect", *networks.options(known), "--no-keras").out
    lines = out.splitlines()
    assert lines[2].startswith(f"{known.params:,} parameters")
    assert format_bytes(known.bytes) in lines[2]
    for name, symbol, dims, shape, formula, params in known.weights:
        row = next(line for line in lines if {name.rpartition("/")[2], symbol} <= {*line.split()})
        assert f"{shape_text(dims)} = {shape_text(shape)}" in out
        assert formula in near(lines, row) or formula == str(params)
        assert row.endswith(f" {params:,}")
    for name, formula, params in known.layers:
        row = next(line for line in lines if line.startswith(f"{name} "))
        assert formula in near(lines, row)
        assert row.endswith(f" {params:,}")


def near(lines: list[str], row: str) -> list[str]:
    """Return the words of a row, which may have shapes and formulas on two more lines."""
    at = lines.index(row)
    return " ".join(lines[at : at + 3]).split()


def test_flow_table_shows_shapes_and_multiply_adds(run) -> None:
    """The head runs once, the recurrence T times."""
    sizes = ("--N", 4, "--T", 7, "--D", 2, "--M", 6, "--K", 3)
    out = run("inspect", *sizes, "--no-keras", "--view", "summary,steps").out
    rows = {line.split("  ")[0]: line for line in out.splitlines() if line}
    assert "(N, T, D)" in rows["x"]
    assert "(4, 7, 2)" in rows["x"]
    assert "(N, D)·(D, M) → (N, M)" in rows["x_t Wx"]
    assert "(4, 2)·(2, 6) → (4, 6)" in rows["x_t Wx"]
    assert rows["x_t Wx"].split()[-1] == "48"
    assert rows["h_{t-1} Wh"].split()[-1] == "144"
    assert "(N, M) + (M,) → (N, M)" in rows["… + bh"]
    assert "(N, M) + (N, M) → (N, M)" in rows["… + h_{t-1} Wh"]
    assert "(4, 6)" in rows["h_t = tanh(…)"]
    assert rows["h_{T-1} W0"].split()[-1] == "72"
    assert "(4, 3)" in rows["y_hat"]
    assert "h_t = tanh(x_t Wx + bh + h_{t-1} Wh)" in out
    assert "y_hat = h_6 W0 + b0" in out
    assert "simple_rnn 192 a step × 7 steps, dense 72 once" in out
    assert "N·T·M(D+M) + N·M·K = 1,416" in out


NAMED = [
    ("lstm", "linear", "sigmoid", {"i_t = sigmoid(z_i)", "f_t = sigmoid(z_f)", "h_t = o_t × c_t"}),
    ("lstm", "tanh", "linear", {"c~_t = tanh(z_c)", "h_t = o_t × …"}),
    ("gru", "linear", "linear", {"z_t = x_z + h_z", "r_t = x_r + h_r", "h~_t = x_h + …"}),
    ("simple", "linear", "sigmoid", {"h_t = … + h_{t-1} Wh"}),
]


@pytest.mark.parametrize(("cell", "activation", "gates", "named"), NAMED)
def test_operation_that_computes_a_value_names_it(cell, activation, gates, named) -> None:
    """A linear activation is no operation, so the one before has the name."""
    given = {"recurrent_activation": gates} if cell != "simple" else {}
    layer = rnnshapes.inspect(cell=cell, activation=activation, **given).layers[0]
    found = {made.label for made in layer.operations if " = " in made.label}
    assert found == {label for label in found if label.count(" = ") == 1}
    assert named <= found
    of = {e.name for e in layer.equations if " " in e.text or "(" in e.text}
    assert {label.partition(" = ")[0] for label in found} == {n for n in of if " " not in n}


def test_keras_line_names_versions_and_counts(run) -> None:
    done = run("inspect", "--M", 7, "--quiet")
    engine = reference.engine()
    last = done.out.splitlines()[-1]
    assert done.status == 0
    assert f"Keras {engine.version}" in last
    assert {"ok", "5", "93"} <= {*last.split()}


def test_json_holds_the_verdict_of_keras(run) -> None:
    record = json.loads(run("inspect", "--M", 7, "--M", 4, "--format", "json").out)
    assert record["keras"]["agrees"] is True
    assert record["keras"]["differences"] == []
    assert record["keras"]["backend"] == reference.engine().backend


def test_layer_names_are_those_of_keras() -> None:
    import keras

    keras.backend.clear_session()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((10, 3)),
            layers.SimpleRNN(5, return_sequences=True),
            layers.SimpleRNN(4),
            layers.Dense(2),
        ]
    )
    shown = [layer.name for layer in from_sizes.from_sizes(M=[5, 4]).layers]
    assert [layer.name for layer in model.layers] == shown


def held(built, layer: str, more: list, start: int = 0, stop: int | None = None):
    """What Keras says, with other weights of one layer."""
    weights = (*more, *built.weights[layer][start:stop])
    return replace(built, weights={**built.weights, layer: weights})


@pytest.mark.parametrize(
    ("mutate", "difference"),
    [
        (
            lambda built: held(built, "simple_rnn", [("kernel", (5, 3))], 1),
            "simple_rnn/kernel: (3, 5) expected, Keras has (5, 3)",
        ),
        (
            lambda built: held(built, "dense", [], 0, -1),
            "dense/bias: (2,) expected, Keras has nothing",
        ),
        (
            lambda built: held(built, "dense", [("scale", (2,))]),
            "dense/scale: nothing expected, Keras has (2,)",
        ),
        (
            lambda built: replace(built, counts={"simple_rnn": 44, "dense": 12}),
            "simple_rnn parameters: 45 expected, Keras has 44",
        ),
        (
            lambda built: replace(built, total=58),
            "count_params(): 57 expected, Keras has 58",
        ),
    ],
)
def test_difference_to_keras_exits_1(mutate, difference, run, monkeypatch):
    real = reference.structure_of
    monkeypatch.setattr(reference, "structure_of", lambda *args: mutate(real(*args)))
    done = run("inspect")
    assert done.status == 1
    (failure,) = [line for line in done.out.splitlines() if line.startswith("FAILED")]
    assert difference in failure
    record = run("inspect", "--format", "json")
    assert record.status == 1
    assert json.loads(record.out)["keras"]["differences"] == [difference]


def test_empty_comparison_fails() -> None:
    assert not summary.KerasCheck(Engine("1", "x", "1"), ()).agrees


def test_facts_cover_weights_layers_and_total() -> None:
    net = from_sizes.from_sizes()
    facts = structure.facts(net, reference.ModelStructure({}, {}, 0))
    assert len(facts) == 5 + 2 + 1
    assert not any(fact.agrees for fact in facts)


def test_too_large_network_is_inspected_without_keras(run) -> None:
    done = run("inspect", "--M", 10**9)
    assert done.status == 0
    assert "1,000,000,006,000,000,002" in done.out
    assert "Not compared with Keras" in done.out
    assert "needs 3.5 EiB of memory" in done.out
    assert "available here" in done.out
    record = json.loads(run("inspect", "--M", 10**9, "--format", "json").out)
    assert record["keras"] is None
    assert "3.5 EiB" in record["not_built"]


def test_largest_sizes_stay_exact() -> None:
    largest = 2**63 - 1
    result = rnnshapes.inspect(N=largest, T=largest, D=largest, M=largest, K=largest)
    assert result.params == largest * (2 * largest + 1) + largest * (largest + 1)
    assert result.macs == largest**2 * largest * 2 * largest + largest**3


SIZES = {"N": 2, "T": 6, "D": 4, "M": 5, "K": 3}
#: Each weight of a SimpleRNN and a Dense layer: symbol, dims, shape and formula.
WEIGHTS = [
    ("simple_rnn/kernel", "Wx", ["D", "M"], [4, 5], "D·M"),
    ("simple_rnn/recurrent_kernel", "Wh", ["M", "M"], [5, 5], "M·M"),
    ("simple_rnn/bias", "bh", ["M"], [5], "M"),
    ("dense/kernel", "W0", ["M", "K"], [5, 3], "M·K"),
    ("dense/bias", "b0", ["K"], [3], "K"),
]
#: Each operation of both: label, symbol, operands, dims and multiply-adds.
OPERATIONS = [
    ("x_t Wx", "·", ["N D", "D M"], "N M", "N·D·M"),
    ("… + bh", "+", ["N M", "M"], "N M", "0"),
    ("h_{t-1} Wh", "·", ["N M", "M M"], "N M", "N·M·M"),
    ("… + h_{t-1} Wh", "+", ["N M", "N M"], "N M", "0"),
    ("h_t = tanh(…)", "tanh", ["N M"], "N M", "0"),
    ("h_{T-1} W0", "·", ["N M", "M K"], "N K", "N·M·K"),
    ("y_hat = … + b0", "+", ["N K", "K"], "N K", "0"),
]


def weight_record(name: str, symbol: str, dims: list[str], shape: list[int], formula: str) -> Any:
    """A weight without gates in float32."""
    counts = {"params": math.prod(shape), "bytes": 4 * math.prod(shape), "dtype": "float32"}
    found = {"name": name, "symbol": symbol, "dims": dims, "shape": shape, "formula": formula}
    return found | counts | {"gates": [], "rows": []}


def operation_record(label: str, symbol: str, operands: list[str], dims: str, macs: str) -> Any:
    """An operation at one step."""

    def shape(names: str) -> list[int]:
        return [SIZES[name] for name in names.split()]

    return {
        "label": label,
        "symbol": symbol,
        "operands": [names.split() for names in operands],
        "operand_shapes": [shape(names) for names in operands],
        "dims": dims.split(),
        "shape": shape(dims),
        "macs_formula": macs,
        "macs": math.prod(shape(macs.replace("·", " "))) if macs != "0" else 0,
    }


def test_record_holds_all_of_a_network() -> None:
    """Every key of a SimpleRNN and a Dense layer, by hand."""
    record = json.loads("".join(json_chunks(rnnshapes.inspect(**SIZES).to_dict())))
    weights = [weight_record(*each) for each in WEIGHTS]
    operations = [operation_record(*each) for each in OPERATIONS]
    common = {"trainable": True, "notes": [], "derived": True}
    recurrent = {
        "name": "simple_rnn",
        "type": "SimpleRNN",
        "label": "SimpleRNN(M)",
        "sources": ["input"],
        "activation": "tanh",
        "activations": ["tanh"],
        "input_shape": [2, 6, 4],
        "input_dims": ["N", "T", "D"],
        "output_shape": [2, 5],
        "output_dims": ["N", "M"],
        "params": 50,
        "formula": "M(D+M+1)",
        "bytes": 200,
        "macs": 540,
        "equations": ["h_t = tanh(x_t Wx + bh + h_{t-1} Wh)"],
        "weights": weights[:3],
        "operations": operations[:5],
    }
    dense = {
        "name": "dense",
        "type": "Dense",
        "label": "Dense(K)",
        "sources": ["simple_rnn"],
        "activation": "linear",
        "activations": ["linear"],
        "input_shape": [2, 5],
        "input_dims": ["N", "M"],
        "output_shape": [2, 3],
        "output_dims": ["N", "K"],
        "params": 18,
        "formula": "K(M+1)",
        "bytes": 72,
        "macs": 30,
        "equations": ["y_hat = h_{T-1} W0 + b0"],
        "weights": weights[3:],
        "operations": operations[5:],
    }
    total = record.pop("total")
    assert "macs_unit" in total
    assert record == {
        "schema": "rnnshapes.inspect/1",
        "sizes": {**SIZES, "M": [5]},
        "layers": [recurrent | common, dense | common],
        **dict.fromkeys(("values", "file", "keras", "not_built")),
    }
    del total["macs_unit"]
    assert total == {
        "params": 68,
        "formula": "M(D+M+1) + K(M+1)",
        "trainable": 68,
        "non_trainable": 0,
        "bytes": 272,
        "macs": 570,
        "macs_formula": "N·T·M(D+M) + N·M·K",
    }


def test_rows_hold_all_of_each_weight() -> None:
    headings, *found = render.to_rows(rnnshapes.inspect(**SIZES))
    assert " ".join(headings) == "layer type weight symbol dims shape formula params dtype bytes"
    layers = {"simple_rnn": "SimpleRNN", "dense": "Dense"}
    assert [list(row) for row in found] == [
        [
            *(name.partition("/")[0], layers[name.partition("/")[0]], name, symbol),
            *(shape_text(dims), shape_text(shape), formula),
            *(math.prod(shape), "float32", 4 * math.prod(shape)),
        ]
        for name, symbol, dims, shape, formula in WEIGHTS
    ]
