"""Known mistakes of layers beside the recurrence: what a port with each of them gives.

Every row is written out here by hand, and shares no code with the package.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.mistakes.dropout import active_dropout
from rnnshapes.port.mistakes.families import hypotheses
from rnnshapes.port.mistakes.front_end import front_ends
from rnnshapes.port.mistakes.head import decided_outputs
from rnnshapes.port.mistakes.layer import head_layers
from rnnshapes.port.screening import relative_distance, relative_distances, window
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import (
    FUNCTIONS,
    Row,
    base_of,
    hypothesis_of,
    sigmoid,
    softmax,
    tried_from,
    untried_results,
    without_place,
)

Array = np.ndarray
Arrays = dict[str, Array]
N, T, D, M, K = 4, 6, 3, 5, 2


@cache
def with_head(*, activation: str, units: int, sequences: bool, norm: str) -> Any:
    """Return a model, and its weights and h in float64."""
    layers: list[Any] = [la.SimpleRNN(M, return_sequences=sequences, name="rnn")]
    kind, _, omitted = norm.partition(" without ")
    if kind:
        options = {omitted: False} if omitted else {}
        layers.append(getattr(la, kind)(epsilon=0.02, name="norm", **options))
    model = randomized(
        sequential(*layers, la.Dense(units, activation, name="dense"), shape=(T, D)), seed=3
    )
    if kind == "BatchNormalization":  # so that mean and variance may be exchanged
        weights = model.get_layer("norm").get_weights()
        *others, mean, var = weights
        model.get_layer("norm").set_weights([*others, np.abs(mean), var])
    arrays = rnnshapes.golden(model, N=N, keras=False).arrays
    return model, {name: np.asarray(a, float) for name, a in arrays.items()}


def leaky(z: Array, slope: float = 0.2) -> Array:
    return np.where(z > 0, z, slope * z)


HEAD_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    **FUNCTIONS,
    "leaky_relu": leaky,
    "gelu": lambda z: z / 2 * (1 + np.vectorize(math.erf)(z / 2**0.5)),
}
#: Activations that have wrong forms of their own.
WRONG: dict[str, list[Callable[[Array], Array]]] = {
    "sigmoid": [
        *(lambda z: np.clip(z, 0, 1), lambda z: 0.2 * z + 0.5, lambda z: z / 6 + 0.5),
        *(lambda z: sigmoid(z / 2), lambda z: sigmoid(2 * z), lambda z: sigmoid(-z)),
        lambda z: sigmoid(sigmoid(z)),
    ],
    "tanh": [
        *(lambda z: np.tanh(z / 2), lambda z: np.tanh(2 * z), lambda z: np.tanh(-z)),
        *(lambda z: 1.7159 * np.tanh(2 * z / 3), np.arctan, lambda z: np.tanh(np.tanh(z))),
    ],
    "relu": [partial(leaky, slope=0.01), leaky],
    "leaky_relu": [partial(leaky, slope=0.01), partial(leaky, slope=0.3)],
    "gelu": [lambda z: z / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (z + 0.044715 * z**3)))],
}


def outputs(z: Array, right: str) -> Iterator[Row]:
    """Yield what is given instead of an activation of z."""
    act, where = HEAD_FUNCTIONS[right], {"layer": "dense"}
    others = ("linear", "softmax", "sigmoid", "tanh", "relu", "softplus", "exponential")
    for other in others:
        word = "left out" if other == "linear" else f"is {other}, not"
        word = "not divided" if (right, other) == ("softmax", "exponential") else word
        if other != right:
            yield "head.activation", {**where, "says": [word]}, FUNCTIONS[other](z)
    for wrong in WRONG.get(right, ()):
        yield "head.activation", where, wrong(z)
    y = act(z)
    yield "head.clipped", {**where, "says": ["[0, 1]"]}, np.clip(y, 0, 1)
    yield "head.clipped", {**where, "says": ["[-1, 1]"]}, np.clip(y, -1, 1)
    yield "head.activation", {**where, "says": ["sign"]}, np.abs(y)
    if right not in ("linear", *WRONG):
        yield "head.activation", {**where, "says": ["twice"]}, act(y)
        yield "head.activation", {**where, "says": ["of -z"]}, act(-z)
    if right in ("softmax", "sigmoid", "tanh", "exponential"):
        yield "head.activation", {**where, "says": ["2^z"]}, act(z * np.log(2))
    if right == "softmax":
        yield from outputs_of_softmax(z)


def outputs_of_softmax(z: Array) -> Iterator[Row]:
    e, total = np.exp(z), {"axis": -1, "keepdims": True}
    for word, wrong in {
        "log_softmax": np.log(softmax(z)),
        "uses z instead": z / z.sum(**total),
        "uses z^2": z**2 / (z**2).sum(**total),
        "z - max(z)": z - z.max(**total),
        "last unit": e / e[..., :-1].sum(**total),
        "from 1": 1 - softmax(z),
        "the samples": e / e.sum(0),
        "all numbers": e / e.sum(),
        **({"over time": e / e.sum(1, keepdims=True)} if z.ndim > 2 and z.shape[1] == T else {}),
    }.items():
        yield "head.activation", {"layer": "dense", "says": [word]}, wrong


def kernels(W: Array, b: Array) -> Iterator[tuple[str, str | None, Array, Array]]:
    """Yield id and array of a mistake, and kernel and bias after it."""
    for changed in (0 * b, 2 * b, np.roll(b, 1), np.roll(b, -1)):
        yield "head.bias", "bias", W, changed
    yield "sum.not_reset", None, W.cumsum(1), b.cumsum()
    square = W.shape[0] == W.shape[1]
    by_columns = W.ravel().reshape(W.shape, order="F")
    yield "layout.transposed" if square else "layout.fortran", "kernel", by_columns, b
    if not square:
        yield "layout.flat_buffer", "kernel", W.ravel(order="F").reshape(W.shape), b
    rows = np.arange(len(W))[:, None]
    for row in (0, len(W) - 1):
        yield "weights.row_omitted", "kernel", W * (rows != row), b
    for read in (np.roll(W, 1, 0), np.roll(W, -1, 0), W[::-1]):
        yield "weights.permuted", "kernel", read, b
    for axis in (None, 0):
        scale = np.abs(W).max(axis, keepdims=True) / 127
        yield "weights.quantized", "kernel", np.round(W / scale) * scale, b


def normalized(x: Array, g: Arrays, norm: str) -> Iterator[tuple[str, dict[str, Any], Array]]:
    """Yield id and place of a mistake, and what a layer gives for x with it."""
    gamma, beta = g.get("norm/gamma", 1.0), g.get("norm/beta", 0.0)
    batch = norm.startswith("BatchNormalization")
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    if batch:
        mean, var = g["norm/moving_mean"], g["norm/moving_variance"]
    root, where = np.sqrt(var + 0.02), {"layer": "norm"}
    z = (x - mean) / root
    yield "head.batchnorm" if batch else "layer.omitted", where, x
    for epsilon in (1e-5, 1e-3, 0) if batch else (1e-5, 1e-3, 1e-6, 1e-12, 0):
        id_ = "head.batchnorm" if batch else "layer.epsilon"
        wrong = (x - mean) / np.sqrt(var + epsilon)
        yield id_, {**where, "says": [f"is {epsilon:g},"]}, wrong * gamma + beta
    if "norm/gamma" in g:
        yield "layer.unscaled", {**where, "array": "gamma"}, z + beta
    if "norm/beta" in g:
        yield "layer.unscaled", {**where, "array": "beta"}, z * gamma
    if "norm/gamma" in g and "norm/beta" in g:
        yield "layer.unscaled", where, z
        yield "layer.arrays_exchanged", where, z * beta + gamma
    size = x.shape[-1]
    divisors = [var + 0.02, np.sqrt(var) + 0.02]
    if batch:
        exchanged = (x - var) / np.sqrt(mean + 0.02)
        yield "layer.arrays_exchanged", where, exchanged * gamma + beta
        every = tuple(range(x.ndim - 1))
        of_batch = (x - x.mean(every)) / np.sqrt(x.var(every) + 0.02)
        yield "layer.batch_statistics", where, of_batch * gamma + beta
        divisors.append(var)
    else:
        more = var * size / (size - 1)
        divisors += [np.sqrt(more + 0.02), np.sqrt(more) + 0.02]
        squares = (x**2).mean(-1, keepdims=True)
        yield "layer.deviation", where, x / np.sqrt(squares + 0.02) * gamma + beta
        if x.ndim > 2 and x.shape[1] == T:
            over = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 0.02)
            yield "layer.axis", where, over * gamma + beta
    for divisor in divisors:
        yield "layer.deviation", where, (x - mean) / divisor * gamma + beta


def rows_of(g: Arrays, activation: str, norm: str, *, sequences: bool) -> Iterator[Row]:
    """Yield every mistake of the layers behind the recurrence, with y_hat."""
    h, W, b, act = g["rnn.h"], g["dense/kernel"], g["dense/bias"], HEAD_FUNCTIONS[activation]
    h = h if sequences else h[:, -1:]
    x, place = h, {"layer": "dense"}
    if norm:
        mean, var = (
            (h.mean(-1, keepdims=True), h.var(-1, keepdims=True))
            if norm.startswith("LayerNormalization")
            else (g["norm/moving_mean"], g["norm/moving_variance"])
        )
        x = (h - mean) / np.sqrt(var + 0.02) * g.get("norm/gamma", 1.0) + g.get("norm/beta", 0.0)
        for id_, where, wrong in normalized(h, g, norm):
            yield id_, where, act(wrong @ W + b)
    yield from outputs(x @ W + b, activation)
    for id_, array, kernel, bias in kernels(W, b):
        if not (np.array_equal(kernel, W) and np.array_equal(bias, b)):
            yield id_, {**place, "array": array}, act(x @ kernel + bias)
    for name in ("relu", "tanh", "sigmoid"):
        yield "stack.activated", place, act(FUNCTIONS[name](x) @ W + b)
    if activation != "linear":
        yield "head.bias", place, act(x @ W) + b
    if len(b) == M:
        yield "layer.omitted", place, x


HEADS = [
    *(("softmax", 3, True, "LayerNormalization"), ("softmax", 3, False, "")),
    *(("sigmoid", K, True, "BatchNormalization"), ("linear", M, True, "")),
    *(("tanh", K, False, "BatchNormalization"), ("elu", K, False, "LayerNormalization")),
    ("relu", K, True, "LayerNormalization without center"),
    ("gelu", K, True, "LayerNormalization without scale"),
    ("exponential", K, False, "BatchNormalization without center"),
    ("leaky_relu", 1, False, "BatchNormalization without scale"),
]


@pytest.mark.parametrize(("activation", "units", "sequences", "norm"), HEADS)
def test_each_mistake_behind_the_recurrence_is_tried(
    activation: str, units: int, sequences: bool, norm: str
) -> None:
    model, golden = with_head(activation=activation, units=units, sequences=sequences, norm=norm)
    base = base_of(model=model, N=N, last=not sequences)
    rows = list(rows_of(golden, activation, norm, sequences=sequences))
    whole = {"head", "other heads", "input of head", "decided outputs", "head layers", "dropout"}
    assert untried_results(base, rows, whole=whole) == []


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("units", [1, 3])
def test_each_decision_of_outputs_is_tried(units: int, last: bool) -> None:
    """Of several outputs the largest may be 1; rounded numbers, and others, are no decisions."""
    model, golden = with_head(activation="sigmoid", units=units, sequences=not last, norm="")
    h = golden["rnn.h"][:, -1:] if last else golden["rnn.h"]
    y = sigmoid(h @ golden["dense/kernel"] + golden["dense/bias"])
    wrong = {"0 or 1": y > 0.5, "argmax": y == y.max(-1, keepdims=True)}
    wrong = {word: 1.0 * one for word, one in wrong.items() if word != "argmax" or units > 1}
    rows = [("head.decided", {"layer": "dense", "says": [w]}, one) for w, one in wrong.items()]
    for one in wrong.values():
        given = {"output": one[:, 0] if last else one, "rnn.h": golden["rnn.h"]}
        base = hypothesis_of(given, model=model, N=N)
        assert untried_results(base, rows, whole={"decided outputs"}) == []
        for change in ({"values": one / 2}, {"rounding": one + 0.1}, {"key": "h"}):
            (output, *others) = base.quantities
            changed = replace(base, quantities=(replace(output, **change), *others))
            assert list(decided_outputs(changed)) == []


def test_states_of_zeros_and_ones_are_no_decisions() -> None:
    rnn = la.SimpleRNN(M, "relu", return_sequences=True, name="rnn")
    model = randomized(sequential(rnn, shape=(T, D)), seed=3)
    given = {"output": np.random.default_rng(2).integers(0, 2, (N, T, M))}
    assert list(decided_outputs(hypothesis_of(given, model=model, N=N))) == []


def test_sums_over_samples_need_one_output_of_each() -> None:
    """Other outputs have none; all steps are computed, also where h alone is given."""
    model, _ = with_head(activation="softmax", units=7, sequences=False, norm="")
    found = []
    for given in ({"last": True}, {}, {"what": "rnn.h"}):
        tried = [one for _, one in head_layers(base_of(model=model, N=N, **given))]
        some = [window(one, 3, samples=N, reach=1).of(one) for one in tried]
        found.append(len(relative_distances(some)))
    assert found[0] - found[1] == found[2] - found[1] == 2


def test_softmax_over_time_takes_all_steps() -> None:
    """Also where a few before and behind each would be enough for the recurrence."""
    model, golden = with_head(activation="softmax", units=3, sequences=True, norm="")
    powers = np.exp(golden["rnn.h"] @ golden["dense/kernel"] + golden["dense/bias"])
    given = {"rnn.h": golden["rnn.h"], "y_hat": powers / powers.sum(1, keepdims=True)}
    tried = [one for _, one in head_layers(hypothesis_of(given, model=model, N=N))]
    distances = relative_distances([window(one, 3, reach=1).of(one) for one in tried])
    assert min(distances) < 1e-6


def recurrence(g: Arrays, x: Array) -> Array:
    """Return h (N, T, M) of the SimpleRNN ``rnn``."""
    h, steps = np.zeros((len(x), g["rnn/bias"].size)), []
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ g["rnn/kernel"] + h @ g["rnn/recurrent_kernel"] + g["rnn/bias"])
        steps.append(h)
    return np.stack(steps, axis=1)


def golden_of(model: Any, **options: Any) -> Arrays:
    arrays = rnnshapes.golden(model, keras=False, **options).arrays
    return {name: np.asarray(a, float) for name, a in arrays.items()}


def tables(table: Array) -> Iterator[tuple[str, Array]]:
    """Yield id and table of each mistake of an Embedding."""
    count, tokens = len(table), np.arange(len(table))
    yield "embedding.shifted", table[np.maximum(tokens - 1, 0)]
    yield "embedding.shifted", table[np.minimum(tokens + 1, count - 1)]
    yield "embedding.shifted", table[::-1]
    for row in range(1, count):
        lost = np.minimum(tokens + (tokens >= row), count - 1)
        yield "embedding.shifted", table[lost]
        for unknown in range(min(row, 3)):
            yield "embedding.unknown", table[[unknown if k >= row else k for k in tokens]]
    for one, other in itertools.combinations(tokens, 2):
        order = tokens.copy()
        order[[one, other]] = other, one
        yield "embedding.permuted", table[order]
    length = np.linalg.norm(table, axis=1, keepdims=True)
    yield "embedding.normalized", table / np.where(length > 0, length, 1)
    yield "embedding.normalized", table / np.where(length > 1, length, 1)
    yield "embedding.zero_row", table * (tokens > 0)[:, None]
    yield "layout.flat_buffer", table.ravel(order="F").reshape(table.shape)
    yield "layout.fortran", table.ravel().reshape(table.shape, order="F")
    for unit in (0.01, 0.001):
        yield "weights.quantized", np.round(table / unit) * unit
    for axis in (None, 0, 1):
        scale = np.maximum(np.abs(table).max(axis, keepdims=True), 1e-30) / 127
        yield "weights.quantized", np.round(table / scale) * scale


def with_words(count: int) -> Any:
    """Return a model of some words, and x that has each of them."""
    layers = [la.Embedding(count, 4, name="words"), la.SimpleRNN(M, name="rnn")]
    model = randomized(sequential(*layers, la.Dense(K, name="dense"), shape=(9,)), seed=3)
    return model, np.arange(count * 2 // 9 * 9 + 9).reshape(-1, 9) % count


def test_each_misreading_of_words_is_tried() -> None:
    """One of them has a row of zeros, which has no direction."""
    model, x = with_words(7)
    table = model.get_layer("words").get_weights()[0]
    model.get_layer("words").set_weights([table * (np.arange(7) != 2)[:, None]])
    golden = golden_of(model, x=x)
    base = base_of(model=model, x=x, last=True)
    table = golden["words/embeddings"]
    wrong = [(id_, changed) for id_, changed in tables(table) if not np.array_equal(changed, table)]
    h = recurrence(golden, np.concatenate([changed[x] for _, changed in wrong]))[:, -1:]
    y_hat = np.split(h @ golden["dense/kernel"] + golden["dense/bias"], len(wrong))
    place = {"layer": "words", "array": "embeddings"}
    rows = [(id_, place, y) for (id_, _), y in zip(wrong, y_hat, strict=True)]
    assert untried_results(base, rows, whole={"earlier layers"}) == []


@pytest.mark.parametrize(
    ("count", "rows", "pairs"), [(16, 15, 120), (17, 16, 0), (64, 63, 0), (65, 0, 0)]
)
def test_few_words_are_tried_one_by_one(count: int, rows: int, pairs: int) -> None:
    """To lose the last row is no mistake: no token has a row after it."""
    model, x = with_words(count)
    tried = hypotheses(base_of(model=model, x=x, last=True), rare=True)
    ids = Counter(one.mistakes[0].id for one in tried)
    found = (ids["embedding.shifted"] - 3, ids["embedding.unknown"], ids["embedding.permuted"])
    assert found == (max(rows - 1, 0), max(3 * rows - 3, 0), pairs)


def convolved(x: Array, kernel: Array, bias: Array, before: int = 1) -> Array:
    """Return a Conv1D of 3 steps, of which so many are before the step."""
    padded = np.pad(x, ((0, 0), (before, 2 - before), (0, 0)))
    return bias + sum(padded[:, k : k + x.shape[1]] @ kernel[k] for k in range(3))


@pytest.mark.parametrize(
    ("kind", "activation", "padding"),
    [("dense", "tanh", ""), ("conv", "relu", "same"), ("conv", "linear", "causal")],
)
def test_each_mistake_before_the_recurrence_is_tried(
    kind: str, activation: str, padding: str
) -> None:
    layer = la.Dense(4, activation, name="front")
    if kind == "conv":
        layer = la.Conv1D(4, 3, padding=padding, activation=activation, name="front")
    layers = [layer, la.SimpleRNN(M, return_sequences=True, name="rnn"), la.Dense(K, name="dense")]
    model = randomized(sequential(*layers, shape=(T, D)), seed=3)
    golden = golden_of(model, N=N)
    x, W, b, act = golden["x"], golden["front/kernel"], golden["front/bias"], FUNCTIONS[activation]
    before = 2 if padding == "causal" else 1

    def front(kernel: Array, before: int = before, bias: Array = b) -> Array:
        return x @ kernel + bias if kind == "dense" else convolved(x, kernel, bias, before)

    where, array = {"layer": "front"}, {"layer": "front", "array": "kernel"}
    wrong = [
        ("layer.activation", where, FUNCTIONS[other](front(W)))
        for other in ("linear", "relu", "tanh", "sigmoid")
        if other != activation
    ]
    for factor in (0, 2):
        bias = {**where, "array": "bias"}
        wrong.append(("layer.bias", bias, act(front(W, bias=factor * b))))
    if kind == "dense":
        read = W.ravel().reshape(W.shape, order="F")
        wrong.append(("layout.fortran", array, act(front(read))))
        read = W.ravel(order="F").reshape(W.shape)
    else:
        wrong.append(("layer.padding", where, act(front(W, 3 - before))))
        wrong.append(("layer.kernel_reversed", array, act(front(W[::-1]))))
        read = np.transpose(W, (2, 1, 0)).ravel().reshape(W.shape)
    wrong.append(("layout.flat_buffer", array, act(front(read))))
    rows = [
        (id_, place, recurrence(golden, features) @ golden["dense/kernel"] + golden["dense/bias"])
        for id_, place, features in wrong
    ]
    base = base_of(model=model, N=N)
    assert untried_results(base, rows, whole={"front ends", "earlier layers"}) == []


@pytest.mark.parametrize(("padding", "sizes"), [("same", [2]), ("causal", [2]), ("valid", [])])
def test_wrong_padding_needs_two_steps(padding: str, sizes: list[int]) -> None:
    wrong = []
    for size in (1, 2):
        front = la.Conv1D(4, size, padding=padding, name="front")
        rnn = la.SimpleRNN(M, return_sequences=True, name="rnn")
        model = randomized(sequential(front, rnn, shape=(T, D)), seed=3)
        ids = [mistake.id for mistake, _ in front_ends(base_of(model=model, N=N))]
        wrong += [size] * ids.count("layer.padding")
    assert wrong == sizes


def test_bias_of_zeros_has_no_mistake() -> None:
    model = randomized(sequential(la.Dense(4, name="front"), la.SimpleRNN(M), shape=(T, D)))
    kernel, bias = model.layers[0].get_weights()
    found = []
    for factor in (1, 0):
        model.layers[0].set_weights([kernel, factor * bias])
        tried = front_ends(base_of(model=model, N=N, what="output"))
        found.append([mistake.id for mistake, _ in tried].count("layer.bias"))
    assert found == [2, 0]


def test_wrong_padding_is_that_of_steps_alone() -> None:
    """An image has others."""
    layers = [la.Conv2D(2, (3, 2), padding="same", name="front"), la.Reshape((T, 2 * D))]
    model = randomized(sequential(*layers, la.SimpleRNN(M, name="rnn"), shape=(T, D, 1)), seed=3)
    ids = Counter(mistake.id for mistake, _ in front_ends(base_of(model=model, N=N, what="output")))
    assert ids == {"layer.activation": 3, "layer.bias": 2}


@pytest.mark.parametrize("pooling", ["GlobalMaxPooling1D", "GlobalAveragePooling1D", ""])
def test_each_pooling_over_time_is_tried(pooling: str) -> None:
    """Of the steps of h, and of the outputs where the last one is right."""
    layers = [la.SimpleRNN(M, return_sequences=bool(pooling), name="rnn")]
    layers += [getattr(la, pooling)(name="pool")] if pooling else []
    head = la.Dense(K, "sigmoid", name="dense")
    model = randomized(sequential(*layers, head, shape=(T, D)), seed=3)
    golden = golden_of(model, N=N)

    def y_hat(h: Array) -> Array:
        return sigmoid(h @ golden["dense/kernel"] + golden["dense/bias"])[:, None]

    h, every = golden["rnn.h"], {"mean": np.mean, "max": np.max}
    rows: list[Row] = [("time.pooled", {"layer": "rnn"}, y_hat(f(h, 1))) for f in every.values()]
    rows += [("time.pooled", {}, f(y_hat(h)[:, 0], 1)[:, None]) for f in every.values()]
    if pooling:
        other = h.mean(1) if "Max" in pooling else h.max(1)
        rows = [("head.pooling", {"layer": "pool"}, y_hat(one)) for one in (other, h[:, -1])]
    base = base_of(model=model, N=N, what="output")
    assert untried_results(base, rows, whole={"pooled", "head layers"}) == []


DROPPED: dict[str, tuple[int, int, str, int, bool]] = {
    # units, outputs, activation, samples, and whether the choices can be told from the outputs
    "more outputs": (5, 6, "linear", 2, True),
    "one output": (5, 1, "linear", 8, True),
    "one output of many units": (15, 1, "linear", 4, False),
    "outputs of more units": (22, 60, "linear", 2, False),
    "softmax": (4, 3, "softmax", 4, True),
    "softmax of many units": (9, 2, "softmax", 2, False),
}


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("case", DROPPED)
def test_dropped_units_are_found_if_outputs_tell(case: str, sequences: bool) -> None:
    units, count, activation, samples, told = DROPPED[case]
    rnn = la.SimpleRNN(units, return_sequences=sequences, name="rnn")
    layers = [rnn, la.Dropout(0.4, name="drop"), la.Dense(count, activation, name="dense")]
    model = randomized(sequential(*layers, shape=(2, 3)), seed=3)
    golden = golden_of(model, N=samples)
    h = golden["rnn.h"] if sequences else golden["rnn.h"][:, -1]
    kept = np.random.default_rng(2).random(h.shape) > 0.4
    z = (h * kept / 0.6) @ golden["dense/kernel"] + golden["dense/bias"]
    base = hypothesis_of({"output": FUNCTIONS[activation](z)}, model=model, N=samples)
    found = list(active_dropout(base))
    assert [mistake.where.layer for mistake, _ in found] == (["drop"] if told else [])
    for mistake, one in found:
        assert mistake.id == "layer.dropout_active"
        assert f" {(~kept).sum()} of {kept.size} " in mistake.text
        assert relative_distances([one])[0] < 1e-9


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_all_units_or_none_are_not_dropped(kept: float) -> None:
    layers = [la.SimpleRNN(5, name="rnn"), la.Dropout(0.4), la.Dense(3, name="dense")]
    model = randomized(sequential(*layers, shape=(2, 3)), seed=3)
    golden = golden_of(model, N=4)
    h = golden["rnn.h"][:, -1] * kept / 0.6
    output = h @ golden["dense/kernel"] + golden["dense/bias"]
    assert list(active_dropout(hypothesis_of({"output": output}, model=model, N=4))) == []


@pytest.mark.parametrize(
    ("what", "rate"), [("rnn.h", 0.4), ("y_hat output", 0.4), ("y_hat@-1", 0.4), ("y_hat", 0.0)]
)
def test_other_numbers_tell_no_dropped_units(what: str, rate: float) -> None:
    """Those of other quantities, of two, of one step of several, or of no Dropout."""
    rnn = la.SimpleRNN(5, return_sequences=True, name="rnn")
    layers = [rnn, la.Dropout(rate, name="drop"), la.Dense(6, name="dense")]
    model = randomized(sequential(*layers, shape=(2, 3)), seed=3)
    golden = golden_of(model, N=4)
    kept = np.random.default_rng(2).random((4, 2, 5)) > 0.4
    y_hat = (golden["rnn.h"] * kept / 0.6) @ golden["dense/kernel"] + golden["dense/bias"]
    given = {"rnn.h": golden["rnn.h"], "y_hat": y_hat, "output": y_hat + 1.0}
    names = [name.partition("@") for name in what.split()]
    port = {name: given[name][:, -1] if last else given[name] for name, _, last in names}
    assert list(active_dropout(hypothesis_of(port, model=model, N=4))) == []


MODELS: list[Callable[[], Any]] = [
    lambda: sequential(
        la.Masking(-1.25, name="masking"),
        la.Bidirectional(la.GRU(4, return_sequences=True), name="both"),
        la.LSTM(4, return_sequences=True, name="rnn"),
        la.Dense(K, "softmax", name="dense"),
        shape=(T, D),
    ),
    lambda: sequential(
        la.Conv1D(4, 3, padding="same", activation="relu", name="front"),
        la.BatchNormalization(name="first"),
        la.GRU(4, return_sequences=True, name="gru"),
        la.LSTM(4, go_backwards=True, return_sequences=True, name="rnn"),
        la.LayerNormalization(name="norm"),
        la.Dropout(0.5, name="dropout"),
        la.TimeDistributed(la.Dense(K, "sigmoid"), name="dense"),
        shape=(T, D),
    ),
    lambda: sequential(
        la.LayerNormalization(name="norm"),
        la.SimpleRNN(4, return_sequences=True, name="rnn"),
        la.GlobalAveragePooling1D(name="pool"),
        la.Dense(K, "gelu", name="hidden"),
        la.BatchNormalization(name="last"),
        la.Dense(1, "tanh", name="dense"),
        shape=(T, D),
    ),
    lambda: sequential(
        la.Embedding(7, 4, mask_zero=True, name="words"),
        la.LSTM(4, name="rnn"),
        la.Dense(K, name="dense"),
        shape=(T,),
    ),
    lambda: sequential(
        la.SimpleRNN(4, return_sequences=True, name="rnn"),
        la.SimpleRNN(4, name="second"),
        la.Dense(K, name="dense"),
        shape=(T, D),
    ),
    lambda: sequential(
        la.GRU(4, return_sequences=True, name="gru"),
        la.LSTM(4, "softsign", "hard_sigmoid", return_sequences=True, name="lstm"),
        la.Dense(K, name="dense"),
        shape=(T, D),
    ),
]
#: Mistakes that may change no number: beyond all of them, of a sign, at masked steps alone.
UNSEEN = {
    *("activation.clipped", "head.clipped", "head.activation", "activation.argument"),
    *("layer.omitted", "embedding.zero_row", "mask.zeroed_output", "time.padded"),
}


def tried_in(number: int) -> tuple[Hypothesis, list[Hypothesis]]:
    """Return a port of a model that is a little wrong, and what is tried for it."""
    model = randomized(MODELS[number](), seed=3)
    x = np.random.default_rng(6).standard_normal((N, T, D)).astype("f")
    x[0, 4:] = x[1, 2:] = x[2, 1] = -1.25
    x = np.random.default_rng(6).integers(0, 7, (N, T)) if number == 3 else x
    base = base_of(model=model, x=x, what="output")
    errors = np.random.default_rng(1).normal(0, 1e-3, base.quantities[0].values.shape)
    base = base.map_quantities(lambda q: replace(q, values=q.values + errors))
    return base, tried_from(base)


@pytest.mark.parametrize("number", range(len(MODELS)))
def test_mistakes_of_layers_have_texts_of_their_own(number: int) -> None:
    """Each changes something, and has a remedy."""
    base, tried = tried_in(number)
    places = {node.layer.name for node in tried[0].network.nodes}
    texts = Counter(one.mistakes[0].text for one in tried)
    assert [text for text, count in texts.items() if count > 1] == []
    assert all(one.mistakes[0].fix for one in tried)
    wheres = {one.mistakes[0].where.layer for one in tried}
    assert wheres - {None} <= places
    assert without_place(tried) == []
    changes = np.abs(np.array(relative_distances(tried)) - relative_distance(base))
    same = [tried[k].mistakes[0] for k in np.flatnonzero(changes < 1e-9)]
    assert [one.text for one in same if one.id not in UNSEEN] == []


def test_only_cells_that_can_have_a_mistake_are_named() -> None:
    """One of two layers alone has the activation, or the state c."""
    _, tried = tried_in(5)
    mistakes = [one.mistakes[0] for one in tried]
    for id_, words, layer in (
        ("activation.clipped", "of tanh", "gru"),
        ("activation.clipped", "of softsign", "lstm"),
        ("activation.argument", "tanh(z)", "gru"),
        ("activation.gate", "gate f", "lstm"),
        ("state.zeroed_each_step", "c is", "lstm"),
        ("gates.repeated", "gate r", "gru"),
    ):
        layers = {one.where.layer for one in mistakes if one.id == id_ and words in one.text}
        assert layers == {layer}


def without_effect() -> list[Any]:
    return [
        *(la.Activation("linear"), la.Dropout(0.5), la.GaussianNoise(0.5)),
        *(la.SpatialDropout1D(0.5), la.TimeDistributed(la.Dropout(0.5))),
    ]


def test_layers_without_effect_are_not_left_out() -> None:
    """Before the recurrence or behind it; of them, a Dropout alone may be active."""
    layers = [*without_effect(), la.SimpleRNN(M, return_sequences=True, name="rnn")]
    layers += [*without_effect(), la.Dense(2 * M, name="dense")]
    model = randomized(sequential(*layers, shape=(T, D)), seed=3)
    golden = golden_of(model, N=2)
    kept = np.random.default_rng(2).random(golden["rnn.h"].shape) > 0.5
    y_hat = (golden["rnn.h"] * kept * 2) @ golden["dense/kernel"] + golden["dense/bias"]
    base = hypothesis_of({"y_hat": y_hat}, model=model, N=2)
    found = [one.mistakes[0] for one in tried_from(base)]
    assert not any(one.id == "layer.omitted" for one in found)
    (active,) = [one.where.layer for one in found if one.id == "layer.dropout_active"]
    assert base.network.nodes[-5].layer.name == active
