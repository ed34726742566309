"""``verify --against``: each mistake of a port fails, and is named; and every two of them.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port import diagnosis
from rnnshapes.port.fixes import FIXES
from rnnshapes.port.hypothesis import Mistake
from rnnshapes.port.location import Extent
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.port.screening import relative_distance, relative_distances, window
from rnnshapes.reference.outputs import STATES
from tests.helpers.handmade import (
    ALL,
    GATED,
    GATES,
    GIVEN,
    SIZES,
    Port,
    explained,
    given,
    mentions,
    ported,
    weights_of,
)
from tests.helpers.models import randomized, sequential
from tests.helpers.pages import tables
from tests.helpers.tried import base_of, hypothesis_of, tried_from

#: A mistake, the cells that can have it, its id, what the text names, and another id if the port
#: gives the last step alone; ``None`` if nothing is left of the mistake then.
MISTAKES: list[tuple[dict[str, Any], tuple[str, ...], str, tuple[str, ...], str | None]] = [
    ({"reset_after": False, "rows": "summed"}, ("gru",), "gru.reset_before", (), ""),
    ({"rows": "input"}, ("gru",), "bias.recurrent_row_omitted", (), ""),
    ({"rows": "recurrent"}, ("gru",), "bias.input_row_omitted", (), ""),
    ({"rows": "summed"}, ("gru",), "bias.rows_summed", (), ""),
    ({"z_is_new": True}, ("gru",), "gru.z_complement", (), ""),
    ({"bias": 0}, ALL, "bias.omitted", (), ""),
    ({"bias": 2}, ALL, "bias.twice", (), ""),
    ({"more_forget": 1}, ("lstm",), "bias.forget_again", (), ""),
    ({"times_forget": 2}, ("lstm",), "bias.forget_twice", (), ""),
    ({"squashed": False}, ("lstm",), "lstm.c_not_activated", (), ""),
    (
        {"transposed": ("recurrent_kernel",)},
        ALL,
        "layout.transposed",
        ("; recurrent_kernel is",),
        "",
    ),
    ({"column_by_column": ("kernel",)}, ALL, "layout.fortran", ("; kernel is",), ""),
    (
        {"column_by_column": ("recurrent_kernel",)},
        *(GATED, "layout.fortran", ("; recurrent_kernel is",), ""),
    ),
    ({"column_by_column": ("W",)}, ALL, "layout.fortran", ("dense",), ""),
    (
        {"column_by_column": ("kernel", "recurrent_kernel", "W")},
        *(ALL, "layout.fortran", ("; every kernel",), ""),
    ),
    ({"activation": "relu"}, ALL, "activation.other", ("; activation is relu",), ""),
    ({"activation": "linear"}, ALL, "activation.other", ("; activation is none",), ""),
    ({"activation": "sigmoid"}, ALL, "activation.other", ("; activation is sigmoid",), ""),
    (
        {"recurrent_activation": "hard_sigmoid"},
        *(GATED, "activation.other", ("recurrent_activation", "z/6"), ""),
    ),
    (
        {"recurrent_activation": "old_hard_sigmoid"},
        *(GATED, "activation.other", ("recurrent_activation", "0.2 z"), ""),
    ),
    (
        {"activation": "sigmoid", "recurrent_activation": "tanh"},
        *(GATED, "activation.exchanged", (), ""),
    ),
    (
        {"recurrent_activation": "sigmoid_of_minus_z"},
        *(GATED, "activation.argument", ("sigmoid(-z)",), ""),
    ),
    (
        {"recurrent_activation": "half_of_tanh"},
        *(GATED, "activation.argument", ("sigmoid(2 z)",), ""),
    ),
    (
        {"recurrent_activation": "sigmoid_of_half_z"},
        *(("gru",), "activation.argument", ("sigmoid(z / 2)",), ""),
    ),
    ({"activation": "tanh_of_half_z"}, ALL, "activation.argument", ("tanh(z / 2)",), ""),
    ({"activation": "tanh_of_minus_z"}, ("simple",), "activation.argument", ("tanh(-z)",), ""),
    ({"activation": "tanh_of_twice_z"}, ("gru",), "activation.argument", ("tanh(2 z)",), ""),
    ({"activation": "tanh_of_lecun"}, ("lstm",), "activation.other", ("1.7159",), ""),
    ({"activation": "arctan"}, ("simple",), "activation.other", ("arctan",), ""),
    ({"resets_input": True}, ("gru",), "gru.reset_of_input", (), ""),
    ({"order_of_row": 1}, ("gru",), "gates.order.bias", ("bias[1]",), ""),
    ({"read_states": ("c", "h")}, ("lstm",), "lstm.states_exchanged", ("exchanged",), ""),
    ({"read_states": ("h", "h")}, ("lstm",), "lstm.states_exchanged", ("; f multiplies h",), ""),
    ({"units_added_up": True}, ("simple", "lstm"), "sum.not_reset", (), ""),
    ({"head_bias": False}, ALL, "head.bias", ("dense",), ""),
    ({"reverse": True}, ALL, "time.reversed", (), ""),
    ({"reverse": True, "turned_back": True}, ALL, "time.reversed_and_back", (), ""),
    ({"late": 1}, ALL, "time.shifted", ("x_{t-1}",), ""),
    ({"late": -1}, ALL, "time.shifted", ("x_{t+1}",), ""),
    ({"put_out_late": 1}, ALL, "time.shifted", ("output", "t - 1"), "time.last_omitted"),
    ({"put_out_late": -1}, ALL, "time.shifted", ("output", "t + 1"), None),
    ({"carried": True}, ALL, "state.carried", (), ""),
    ({"misread_axes": True}, ALL, "axes.input_swapped", ("(T, N, D)",), ""),
    ({"over_samples": True}, ALL, "axes.loop_over_samples", ("batch_first",), ""),
    ({"rounded": "float16"}, ALL, "weights.float16", (), ""),
]
#: The more common mistake with the same numbers at the last step.
SAME_AT_LAST = {"time.reversed_and_back": "state.zeroed_each_step"}
FRAMEWORKS = {("lstm", *"iofc"): "ONNX", ("gru", *"rzh"): "PyTorch"}
#: Orders of the gates that a port may have: of an LSTM those of frameworks, exchanges of two
#: gates, and cycles.
ORDERS = {
    "lstm": ("iofc", "fico", "icfo", "fcio"),
    "gru": ("rzh", "hrz", "rhz"),
}
MISTAKES += [
    (
        {"order": tuple(order)},
        (cell,),
        "gates.order",
        (", ".join(order), FRAMEWORKS.get((cell, *order), "")),
        "",
    )
    for cell in GATED
    for order in ORDERS[cell]
]


def single_mistakes() -> Iterator[Any]:
    """Yield each mistake with each cell that can have it, and with all or two of ``GIVEN``.

    All that a port may give matters to mistakes about time, states and axes alone.
    """
    for place, (options, cells, id_, words, last) in enumerate(MISTAKES):
        about_time = id_.split(".")[0] in ("time", "state", "axes")
        whats = [*GIVEN[place % 4 :], *GIVEN[: place % 4]]
        if last is None:
            whats.remove("last")
        if {"dense", "; every kernel"} & set(words):
            whats = [what for what in whats if what not in ("h", "states")]
        count = 1 if "order" in options else 4 if about_time else 2
        for number in range(max(len(cells), min(len(whats), count))):
            cell, what = cells[number % len(cells)], whats[number % len(whats)]
            expected = (last, ()) if last and what == "last" else (id_, words)
            name = "-".join([cell, what, id_, *words]).replace("; ", "")
            yield pytest.param(cell, options, what, *expected, id=name)


@pytest.mark.parametrize(("cell", "options", "what", "id_", "words"), list(single_mistakes()))
def test_a_mistake_fails_and_is_named(
    cell: str, options: Any, what: str, id_: str, words: tuple[str, ...]
) -> None:
    """Nothing else explains the port."""
    seed = GIVEN.index(what)
    port = given(ported(Port(cell, **options), seed), what)
    result = rnnshapes.verify(**SIZES, cell=cell, seed=seed, against=port)
    found = explained(result)
    assert set(found) == {(SAME_AT_LAST.get(id_, id_) if what == "last" else id_,)}
    assert mentions(result, *words)


@pytest.mark.parametrize(
    ("cell", "what"), [*zip(ALL, ("last", "states", "y_hat"), strict=True), ("gru", "h")]
)
def test_arithmetic_in_float16_is_named(cell: str, what: str) -> None:
    """With dtype="float16" the port is right."""
    port = given(ported(Port(cell, dtype="float16")), what)
    assert rnnshapes.verify(**SIZES, cell=cell, against=port).passed
    port = {key: values.astype("float32") for key, values in port.items()}
    assert rnnshapes.verify(**SIZES, cell=cell, against=port, dtype="float16").passed
    assert explained(rnnshapes.verify(**SIZES, cell=cell, against=port)) == [("numeric.float16",)]


@pytest.mark.parametrize(("bias", "count"), [(1, 2), (2, 1)])
def test_dtype_alone_corrects_no_mistake(bias: int, count: int) -> None:
    """It is a remedy of the arithmetic, and all agree with it if nothing else is wrong."""
    port = given(ported(Port("lstm", dtype="float16", bias=bias)), "states")
    port = {key: values.astype("float32") for key, values in port.items()}
    result = rnnshapes.verify(**SIZES, cell="lstm", against=port)
    assert repr(result).count("--dtype float16") == count


def test_square_kernels_are_told_apart() -> None:
    """With D = M = K all are square: kernel, recurrent_kernel, and that of the Dense layer."""
    sizes = {"N": 3, "T": 7, "D": 5, "M": 5, "K": 5}
    names = {"kernel": "; kernel", "recurrent_kernel": "; recurrent_kernel", "W": "dense"}
    for key, name in names.items():
        found = ported(Port("lstm", transposed=(key,)), **sizes)
        result = rnnshapes.verify(**sizes, cell="lstm", against={"y_hat": found["y_hat"]})
        assert explained(result) == [("layout.transposed",)]
        assert mentions(result, name)


# --- Two mistakes -------------------------------------------------------------------------------

TWO: list[tuple[str, dict[str, Any], tuple[str, str], tuple[str, ...]]] = [
    (
        *("lstm", {"order": ("i", "o", "f", "c"), "recurrent_activation": "hard_sigmoid"}),
        *(("gates.order", "activation.other"), ("i, o, f, c", "recurrent_activation", "z/6")),
    ),
    (
        *("simple", {"transposed": ("recurrent_kernel",), "head_bias": False}),
        *(("layout.transposed", "head.bias"), ("recurrent_kernel", "dense")),
    ),
    (
        *("gru", {"order": ("r", "z", "h"), "rows": "input"}),
        *(("gates.order", "bias.recurrent_row_omitted"), ("r, z, h", "PyTorch")),
    ),
    (
        *("gru", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
        *(
            ("activation.other", "activation.other"),
            ("; activation is relu", "; recurrent_activation", "z/6"),
        ),
    ),
    ("gru", {"z_is_new": True, "carried": True}, ("gru.z_complement", "state.carried"), ()),
    (
        *("simple", {"bias": 0, "over_samples": True}),
        *(("bias.omitted", "axes.loop_over_samples"), ()),
    ),
    (
        *("simple", {"column_by_column": ("kernel",), "rounded": "float16"}),
        *(("layout.fortran", "weights.float16"), ("; kernel is",)),
    ),
    ("simple", {"bias": 2, "late": 1}, ("bias.twice", "time.shifted"), ("x_{t-1}",)),
]


@pytest.mark.parametrize(
    ("cell", "options", "ids", "words", "what"),
    [(*row, ("y_hat", "last")[place % 2]) for place, row in enumerate(TWO)],
)
def test_two_mistakes_are_found_together(
    cell: str, options: Any, ids: Any, words: tuple[str, ...], what: str
) -> None:
    """No single one explains the port."""
    port = given(ported(Port(cell, **options), seed=1), what)
    result = rnnshapes.verify(**SIZES, cell=cell, seed=1, against=port)
    assert explained(result) == [ids]
    assert mentions(result, *words)


def test_a_mistake_and_exchanged_axes_are_found_together() -> None:
    """The shape shows the axes; the order of the gates explains the rest."""
    y_hat = ported(Port("gru", order=("r", "z", "h")))["y_hat"].swapaxes(0, 1)
    result = rnnshapes.verify(**SIZES, cell="gru", against=y_hat)
    assert result.axes_swapped
    assert explained(result) == [("axes.output_swapped", "gates.order")]
    assert mentions(result, "(T, N, …)", "PyTorch")


@pytest.mark.parametrize("n", [3, 9])
def test_exchanged_axes_fail_by_shape_or_numbers(n: int) -> None:
    """N may equal T."""
    y_hat = ported(Port("lstm"), N=n)["y_hat"].swapaxes(0, 1)
    result = rnnshapes.verify(**{**SIZES, "N": n}, cell="lstm", against=y_hat)
    assert explained(result) == [("axes.output_swapped",)]
    assert not any(check["passed"] for check in result.to_dict()["checks"])


def test_an_array_without_a_name_may_be_another() -> None:
    """h, where K = M lets it be taken for y_hat; by its name it agrees."""
    sizes = {**SIZES, "K": 5}
    h = ported(Port("gru"), **sizes)["h"]
    result = rnnshapes.verify(**sizes, cell="gru", against=h)
    assert explained(result) == [("quantity.other",)]
    assert mentions(result, "gru: h at every step")
    assert rnnshapes.verify(**sizes, cell="gru", against={"h": h}).passed


# --- Several layers and directions ----------------------------------------------------------------

TWO_LAYERS: dict[str, Any] = {"N": 2, "T": 5, "D": 3, "M": [6, 4], "K": 2}


def test_a_mistake_of_one_whole_layer_is_tried() -> None:
    """Of two bidirectional layers each can be wrong as a whole, and each direction alone."""
    spec = {**TWO_LAYERS, "cell": "lstm", "bidirectional": True}
    found = [m for m in tried_for(spec) if m.id == "gates.order" and "i, o, f, c" in m.text]
    layers = {(m.where.layer, m.where.direction) for m in found}
    names = ("bidirectional", "bidirectional_1")
    ways = (None, "forward", "backward")
    assert layers == {(None, None), *itertools.product(names, ways)}
    assert len(found) == len(layers)


def test_a_long_bidirectional_port_is_diagnosed_in_steps() -> None:
    """What is tried does not grow with T; the mistake is found all the same."""
    sizes = {"N": 1, "D": 3, "M": 4, "K": 2, "cell": "gru", "bidirectional": True}
    for what in ("y_hat", "output"):
        golden = rnnshapes.golden(**sizes, T=70).arrays
        x = golden["x"]
        port = 0.0
        for way, step in (("forward", 1), ("backward", -1)):
            name = f"bidirectional/{way}_gru"
            weights = {k: golden[f"{name}/{k}"] for k in ("kernel", "recurrent_kernel", "bias")}
            h = Port("gru", bias=2).run(weights, x[:, ::step])["h"]
            rows = slice(0, 4) if way == "forward" else slice(4, 8)
            part = (h[:, ::step] if what == "y_hat" else h[:, -1]) @ golden["dense/kernel"][rows]
            port = port + part
        port = port + golden["dense/bias"]
        result = rnnshapes.verify(**sizes, T=70, against={what: port.astype("float32")})
        assert explained(result) == [("bias.twice",)]


@pytest.mark.parametrize("function", [lambda h: np.maximum(h, 0), np.tanh])
def test_an_activation_between_layers_is_named(function: Any) -> None:
    spec = {**TWO_LAYERS, "cell": "simple"}
    golden = rnnshapes.golden(**spec).arrays
    first = Port("simple").run(weights_of(golden, "simple_rnn", ""), golden["x"])["h"]
    port = Port("simple").run(weights_of(golden, "simple_rnn_1"), function(first))
    result = rnnshapes.verify(**spec, against=given(port, "y_hat"))
    assert explained(result) == [("stack.activated",)]


def test_states_under_each_others_names_are_named() -> None:
    states = given(ported(Port("lstm")), "states")
    result = rnnshapes.verify(**SIZES, cell="lstm", against={"h": states["c"], "c": states["h"]})
    assert explained(result) == [("state.h_c_swapped",)]


@pytest.mark.parametrize("what", ["y_hat", "last"])
def test_another_start_is_measured(what: str) -> None:
    """From the output alone; c starts at 0."""
    sizes = {**SIZES, "cell": "lstm"}
    golden = rnnshapes.golden(**sizes).arrays
    start = np.full((SIZES["N"], SIZES["M"]), 0.75, "f")
    found = Port("lstm").run(weights_of(golden, "lstm"), golden["x"], start=start)
    result = rnnshapes.verify(**sizes, against=given(found, what))
    assert explained(result) == [("state.starts_nonzero",)]
    assert "h before the first step: 0.75" in result.diagnosis.explanations[0].text


# --- Ids ----------------------------------------------------------------------------------------

#: Ids that need a model with such layers, or that the search itself adds.
OF_MODELS = {
    *("mask.ignored", "mask.shifted", "mask.padding_first", "mask.zeroed_output"),
    *("mask.zeroed_state", "layer.batch_statistics", "layer.deviation", "direction.reversed_back"),
    *("layer.dropout_active", "layer.arrays_exchanged", "mask.inverted", "mask.any_feature"),
    *("embedding.normalized", "embedding.zero_row"),
    *("head.batchnorm", "head.pooling", "layer.axis", "layer.epsilon", "layer.unscaled"),
    *("embedding.unknown", "embedding.permuted"),
    *(
        "embedding.shifted",
        "layer.activation",
        "layer.bias",
        "layer.padding",
        "layer.kernel_reversed",
    ),
    *("mask.length", "mask.state_updated"),
    *("layout.kernels_exchanged", "stack.layer_skipped", "layer.omitted"),
}
OF_SEARCH = {
    *("numeric.float16", "numeric.bfloat16", "numeric.float32"),
    *("numeric.noise", "numeric.rounded", "numeric.fixed_point"),
    *("axes.samples_permuted", "axes.units_permuted", "axes.end_unwritten"),
    "state.starts_nonzero",
    *("input.scaled", "input.shifted", "weights.one_wrong"),
    *("weights.other", "weights.permuted", "weights.scaled", "state.h_c_swapped"),
    *("direction.states_exchanged", "state.two_before", "state.zeroed_in_blocks"),
    *("weights.omitted", "weights.clipped", "weights.pruned", "head.scaled", "head.decided"),
}


def tried_for(spec: dict[str, Any], *, last: bool = False) -> list[Mistake]:
    """Return all mistakes that are tried for y_hat of this network, given without a name."""
    y_hat = rnnshapes.golden(**spec, keras=False).arrays["y_hat"]
    base = hypothesis_of(y_hat[:, -1] if last else y_hat, **spec)
    return [mistake for hypothesis in tried_from(base) for mistake in hypothesis.mistakes]


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstm", "M": [4, 6]},
        {"cell": "gru", "bidirectional": True},
    ],
)
def test_hypotheses_computed_together_differ_as_alone(options: dict[str, Any]) -> None:
    base = base_of(**{**SIZES, **options})
    tried = [*hypotheses(base), *hypotheses(base, rare=True)]
    tried += list(hypotheses(tried[1], after=tried[1].families[-1]))
    places: dict[tuple[str, ...], list[int]] = {}
    for place, hypothesis in enumerate(tried):
        places.setdefault(hypothesis.families, []).append(place)
    # Computed alone: the first, a middle and the last one of each family.
    some = sorted({p[at] for p in places.values() for at in (0, len(p) // 2, -1)})
    alone = [relative_distance(tried[place]) for place in some]
    together = np.array(relative_distances(tried))[some]
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("cell", ["simple", "gru"])
def test_each_mistake_changes_the_numbers(cell: str) -> None:
    """So none is tried with a cell that cannot have it. A limit may lie above all numbers."""
    base = base_of(**SIZES, cell=cell)
    errors = np.random.default_rng(1).normal(0, 1e-3, base.quantities[0].values.shape)
    near = tuple(replace(q, values=q.values + errors) for q in base.quantities)
    base = replace(base, quantities=near)
    tried = [*hypotheses(base), *hypotheses(base, rare=True)]
    tried = [h for h in tried if not h.mistakes[0].id.endswith(".clipped")]
    changes = np.abs(np.array(relative_distances(tried)) - relative_distance(base))
    assert [tried[i].mistakes[0].text for i in np.flatnonzero(changes < 1e-9)] == []


SCOPES = ("all", "recurrence", "all without biases", "recurrence without biases")
Rounding = Callable[[np.ndarray], np.ndarray]


def on_grid(bits: int, axis: int | None) -> Rounding:
    def rounded(values: np.ndarray) -> np.ndarray:
        axes = axis if values.ndim > 1 else None
        scale = np.abs(values).max(axis=axes, keepdims=True) / (2 ** (bits - 1) - 1)
        return np.rint(values / scale) * scale

    return rounded


def multiples(count: float, whole: Rounding = np.rint) -> Rounding:
    return lambda values: whole(values * count) / count


def significant(digits: int) -> Rounding:
    return np.vectorize(lambda value: float(f"{value:.{digits - 1}e}"))


BITS = (4, 5, 6, 7, 8, 10, 11, 12, 15)
#: How weights are rounded: which of all or those of the recurrence alone, with biases or without.
ROUNDINGS: list[tuple[Rounding, tuple[str, ...]]] = [
    *((on_grid(bits, axis), SCOPES) for bits in (4, 8, 16) for axis in (None, 0)),
    *((multiples(10**n), SCOPES[:2]) for n in (2, 3, 4, 5)),
    *((multiples(2**n, whole), SCOPES[:2]) for n in BITS for whole in (np.rint, np.floor)),
    *((significant(n), SCOPES[:1]) for n in (3, 4, 5)),
]


def test_each_rounding_of_weights_is_tried() -> None:
    base = base_of(**SIZES, cell="gru")
    tried = [*hypotheses(base), *hypotheses(base, rare=True)]
    quantized = [h.weights for h in tried if h.mistakes[0].id == "weights.quantized"]
    found = np.array([numbers_of(weights) for weights in quantized])
    for rounded, scopes in ROUNDINGS:
        for scope in scopes:

            def change(group: str, key: str, values: Any, f: Any = rounded, s: str = scope) -> Any:
                is_left = (group != "gru" and "all" not in s) or (key[0] == "b" and "bias" in s)
                return values if is_left else f(values.astype(float))

            expected = numbers_of(base.weights, change)
            assert np.abs(found - expected).max(axis=1).min() < 1e-9, (rounded, scope)


def numbers_of(weights: Any, change: Any = lambda group, key, values: values) -> np.ndarray:
    arrays = [(g, k, values) for g, keys in weights.items() for k, values in keys.items()]
    return np.concatenate([np.ravel(change(*array)) for array in arrays])


def test_hypotheses_of_one_window_keep_their_starts() -> None:
    base = base_of(**SIZES, cell="simple")
    states = {STATES + "simple_rnn": {"h": np.full((1, SIZES["M"]), 0.5)}}
    started = replace(base, weights={**base.weights, **states})
    part = window(started, steps=4)
    assert relative_distance(part.of(base)) < 1e-5 < relative_distance(part.of(started))


def test_a_skipped_layer_has_the_size_of_x() -> None:
    for sizes, is_tried in (([4, 6], True), ([5, 4], False)):
        tried = tried_for({**SIZES, "cell": "simple", "M": sizes})
        assert ("stack.layer_skipped" in {mistake.id for mistake in tried}) == is_tried


def test_limits_and_omitted_layers_change_something() -> None:
    """Dropout and a linear activation have no equation; tanh exceeds no limit of 1."""
    layers = [la.SimpleRNN(5, return_sequences=True), la.Dropout(0.5), la.GaussianNoise(0.5)]
    layers += [la.GRU(5, return_sequences=True), la.Activation("linear"), la.Activation("tanh")]
    model = randomized(sequential(*layers, shape=(6, 4)))
    base = base_of(model=model, N=2)
    ids = {"layer.omitted", "state.clipped", "activation.clipped"}
    tried = [h for h in hypotheses(base, rare=True) if h.mistakes[0].id in ids]
    assert {h.mistakes[0].id for h in tried} == ids
    pairs = zip(relative_distances(tried), tried, strict=True)
    assert [h.mistakes[0].text for distance, h in pairs if distance < 1e-5] == []


def test_limit_of_the_first_layer_is_named() -> None:
    """Each layer has a largest number of its own."""
    spec: dict[str, Any] = {**SIZES, "cell": "simple", "M": [5, 4], "activation": "relu"}
    golden = rnnshapes.golden(**spec).arrays
    port, x = {}, golden["x"]
    for number, name in enumerate(("simple_rnn", "simple_rnn_1")):
        w, h = weights_of(golden, name, ""), [np.zeros((SIZES["N"], spec["M"][number]), "f")]
        for t in range(x.shape[1]):
            z = x[:, t] @ w["kernel"] + h[-1] @ w["recurrent_kernel"] + w["bias"]
            h.append(np.clip(z, 0, None if number else 0.37).astype("f"))
        x = np.stack(h[1:], axis=1)
        port[f"{name}.h"] = x[:, -1]
    result = rnnshapes.verify(**spec, against=port)
    assert explained(result) == [("state.clipped",)]
    assert result.to_dict()["diagnosis"][0]["where"]["layer"] == "simple_rnn"
    assert mentions(result, "±0.37")


def test_steps_of_each_unit_count_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that overwrites h unit by unit takes as long as M + 1 steps."""

    def limit_of_all(units: int) -> int:
        """Return the least limit, a power of 2, within which everything is tried."""
        base = base_of(**{**SIZES, "N": 1, "T": 20, "M": units}, cell="simple", last=True)
        wrong = tuple(replace(q, values=q.values + 0.3) for q in base.quantities)
        base = replace(base, quantities=wrong)
        for limit in (2**n for n in range(8, 20)):
            monkeypatch.setattr(diagnosis, "_MOST_WORK", limit)
            if diagnosis.diagnose(base, "float32", extent=Extent(), deep=False).complete:
                return limit
        raise AssertionError("something is never tried")

    assert limit_of_all(4) < limit_of_all(40)


@pytest.mark.parametrize("cell", GATED)
def test_every_order_of_gates_is_tried(cell: str) -> None:
    texts = [m.text for m in tried_for({**SIZES, "cell": cell}) if m.id == "gates.order"]
    orders = {", ".join(order) for order in itertools.permutations(GATES[cell])}
    orders.remove(", ".join(GATES[cell]))
    assert len(texts) == len(orders)
    assert [order for order in orders if not any(order in text for text in texts)] == []


def test_the_documentation_lists_every_id() -> None:
    sizes = {"N": 6, "T": 6, "D": 4, "M": 5, "K": 5}
    forms: list[dict[str, Any]] = [*({"cell": cell} for cell in ALL)]
    forms += [{"cell": "gru", "reset_after": False}, {"M": [5, 5]}, {"bidirectional": True}]
    forms.append({"bidirectional": True, "merge_mode": "sum", "return_sequences": True})
    mistakes = {mistake for form in forms for mistake in tried_for({**sizes, **form})}
    for form in ({}, {"bidirectional": True}):
        mistakes |= set(tried_for({**sizes, **form}, last=True))
    assert all(mistake.fix for mistake in mistakes)
    tried = {mistake.id for mistake in mistakes}
    rows = [row for body in tables("docs/mistakes") for row in body if len(row) == 3]
    assert sorted(row[0].strip("`") for row in rows) == sorted(tried | OF_MODELS | OF_SEARCH)
    assert {row[0].strip("`"): row[2] for row in rows}.items() >= FIXES.items()
    assert all(re.fullmatch(r"[a-z]+(\.[a-z0-9_]+)+", id_) for id_ in tried)
