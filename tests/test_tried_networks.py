"""Known mistakes of ports: which are tried in which network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

from rnnshapes.forward.numpy_run import numpy_outputs
from rnnshapes.port.compare import compute_outputs
from rnnshapes.port.hypothesis import Hypothesis
from rnnshapes.port.mistakes.families import FAMILIES, hypotheses
from rnnshapes.port.screening import relative_distances, window
from tests.helpers.handmade import SIZES
from tests.helpers.models import randomized, sequential
from tests.helpers.tried import base_of, tried_from

EVERY = {"return_sequences": True}


def padded_x() -> np.ndarray:
    """Return x whose samples end after 7, 5 and 9 steps; one step between them is masked, too."""
    x = np.random.default_rng(6).standard_normal((3, 9, 4)).astype("f")
    x[0, 7:] = x[1, 5:] = x[2, 4] = x[1, 1, 2] = 0
    return x


def padded_words() -> np.ndarray:
    words = np.random.default_rng(6).integers(1, 7, (3, 9))
    words[0, 6:] = words[1, 3] = 0
    return words


def stateful(*, both: bool = False) -> Any:
    layer = la.SimpleRNN(5, name="rnn", stateful=True, **EVERY)
    layer = la.Bidirectional(layer, name="both") if both else layer
    return keras.Sequential([keras.Input(batch_shape=(3, 9, 4)), layer])


def with_two_inputs() -> Any:
    inputs = [keras.Input((9, 4), name="a"), keras.Input((9, 4), name="b")]
    h = la.SimpleRNN(5, name="rnn", **EVERY)(la.Add(name="add")(inputs))
    return keras.Model(inputs, la.Dense(2, name="dense")(h))


def with_first_state() -> Any:
    x, start = keras.Input((9, 4), name="a"), keras.Input((5,), name="b")
    h = la.SimpleRNN(5, name="rnn", **EVERY)(x, initial_state=start)
    return keras.Model([x, start], la.Dense(2, name="dense")(h))


def with_head(*layers: Any, last: bool = False) -> Any:
    rnn = la.SimpleRNN(5, name="rnn", return_sequences=not last)
    return sequential(rnn, *layers, shape=(9, 4))


BOTH = "bidirectional/forward_simple_rnn.h bidirectional/backward_simple_rnn.h"
#: Networks, and what a port gives of them; ``last``: at the last step alone.
NETWORKS: dict[str, dict[str, Any]] = {
    "one": {},
    "last": {"last": True},
    "N=1": {"N": 1},
    "T=1": {"T": 1},
    "T=2": {"T": 2},
    "T=3": {"T": 3, "N": 2},
    "N=T": {"N": 9},
    "h": {"D": 5, "what": "simple_rnn.h"},
    "h last": {"what": "simple_rnn.h", "last": True},
    "back": {"D": 5, "M": [5, 5], "go_backwards": True},
    "back last": {"go_backwards": True, "last": True},
    "two": {"M": [5, 3]},
    "two last": {"M": [5, 3], "last": True},
    "two same": {"D": 5, "M": [5, 5]},
    "bi last": {"bidirectional": True, "what": "output"},
    "bi": {"bidirectional": True, **EVERY},
    "bi h": {"bidirectional": True, **EVERY, "what": f"{BOTH} y_hat"},
    "bi h alone": {"bidirectional": True, "what": BOTH},
    "back every": {"go_backwards": True, **EVERY},
    "back h": {"go_backwards": True, **EVERY, "what": "simple_rnn.h"},
    "lstm": {"cell": "lstm", "what": "lstm.h lstm.c y_hat"},
}
#: Models that Keras builds; a port gives their output.
MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "pool": (lambda: with_head(la.GlobalMaxPooling1D(), la.Dense(2)), None),
    "both pool": (
        lambda: sequential(
            *(la.Bidirectional(la.SimpleRNN(5, **EVERY)), la.GlobalMaxPooling1D(), la.Dense(2)),
            shape=(9, 4),
        ),
        None,
    ),
    "stateful": (stateful, None),
    "stateful both": (lambda: stateful(both=True), None),
    "inputs": (with_two_inputs, None),
    "start": (with_first_state, None),
    "mask": (
        lambda: sequential(
            *(la.Masking(name="masking"), la.LSTM(5, name="rnn", **EVERY), la.Dense(2)),
            shape=(9, 4),
        ),
        padded_x,
    ),
    "masks": (
        lambda: sequential(
            *(la.Masking(name="masking"), la.Bidirectional(la.SimpleRNN(5, **EVERY), name="both")),
            *(la.SimpleRNN(5, name="rnn"), la.Dense(2)),
            shape=(9, 4),
        ),
        padded_x,
    ),
    "words": (
        lambda: sequential(
            *(la.Embedding(7, 4, mask_zero=True), la.SimpleRNN(5, **EVERY), la.Dense(2)),
            shape=(9,),
        ),
        padded_words,
    ),
    "between": (
        lambda: sequential(
            la.LSTM(5, name="first", **EVERY),
            *(la.LayerNormalization(), la.LSTM(5, name="second", go_backwards=True, **EVERY)),
            shape=(9, 5),
        ),
        None,
    ),
    "two masks": (
        lambda: sequential(
            *(la.Masking(name="masking"), la.GRU(5, zero_output_for_mask=True, **EVERY)),
            *(la.LSTM(5, return_sequences=True), la.Dense(1)),
            shape=(9, 4),
        ),
        padded_x,
    ),
    "softmax": (lambda: with_head(la.BatchNormalization(), la.Dense(3, "softmax")), None),
    "soft last": (
        lambda: with_head(la.LayerNormalization(), la.Dense(3, "softmax"), last=True),
        None,
    ),
    "pair": (lambda: with_head(la.Dense(2, "softmax"), last=True), None),
    "conv": (
        lambda: sequential(
            *(la.Conv1D(4, 3, padding="same", activation="relu"), la.SimpleRNN(5, **EVERY)),
            *(la.Dropout(0.5), la.Dense(1, "sigmoid", use_bias=False)),
            shape=(9, 4),
        ),
        None,
    ),
}
#: Which mistakes each network can have, in this order.
TABLE = """
axes.features_swapped       x x x . x x x x x x x x x x x x x x x x x x x x x . . x x . x x x x x x
axes.input_swapped          x x . . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
axes.loop_over_samples      x x . x x x x x x . . x x x . . . . . . x . . . . . . x . x . x x x x .
axes.output_reshaped        x . . . x x x x . x . x . x . x x x x x x . . x x . . x . x x x x . . x
axes.output_swapped         . . . . . . x . . . . . . . . . . . . . . . . . . . . . . . . . . . . .
axes.sample_repeated        x x . x x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
axes.samples_shifted        x x . x x . x x x x x x x x x x x x x x x x x . . . . x x x x x x x x x
direction.features_reversed . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
direction.halves_swapped    . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
direction.last_step         . . . . . . . . . . . . . . x . . . . . . . . . . . . . . . . . . . . .
direction.missing           . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
direction.not_reversed_back . . . . . . . . . . . . . . . x x x . . . . x . x . . . x . . . . . . .
direction.reversed          . . . . . . . . . x x x x x x x x x x x . . x . x . . . x . x x . . . .
direction.reversed_back     . . . . . . . . . x . . . . . . . . x x . . . . . . . . . . x . . . . .
direction.shared_weights    . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
direction.shifted           . . . . . . . . . . . . . . . x x . . . . . x . x . . . x . . . . . . .
direction.states_carried    . . . . . . . . . . . . . . x x x x . . . . x . . . . . x . . . . . . .
direction.states_exchanged  . . . . . . . . . . . . . . . . x x . . . . . . . . . . . . . . . . . .
direction.weights_exchanged . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
head.activation             x x x x x x x x x x x x x x x x x x x x x x x . . x x x x x . x x x x x
head.bias                   x x x x x x x x x x x x x x x x x x x x x x x . . x x x x x . x x x x .
head.clipped                x x x x x x x x x x x x x x x x x x x x x x x . . x x x x x . x x x x x
head.pooling                . . . . . . . . . . . . . . . . . . . . . x x . . . . . . . . . . . . .
input.first_repeated        x x x x x x x x x x x x x x x x x x x x x x x x x . . x x . x x x x x x
input.overrun               x x x x x x x . x . x x x . x x x x x x x x x x x . . . . . . . x x x .
layer.dropout_active        . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . x
layer.omitted               . . . . . . . . . x . . . x . . . . . . . . . . . . . x x . x x . x . x
layout.concatenation        x x x x x x x . x . x x x . x x x x x x x x x x x x x x x x . x x x x x
layout.kernels_exchanged    . . . . . . . x . x . . . x . . . . . . . . . . . . . . . . x x . . . .
mask.any_feature            . . . . . . . . . . . . . . . . . . . . . . . . . . . x x . . x . . . .
mask.ignored                . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.inverted               . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.length                 . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.padding_first          . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.shifted                . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.state_updated          . . . . . . . . . . . . . . . . . . . . . . . . . . . x . . . . . . . .
mask.zeroed_output          . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
mask.zeroed_state           . . . . . . . . . . . . . . . . . . . . . . . . . . . x x x . x . . . .
merge.mode                  . . . . . . . . . . . . . . x x x x . . . . x . x . . . x . . . . . . .
stack.activated             x x x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x x x
stack.last_repeated         . . . . . . . . . x . x x x . . . . . . . . . . . . . . . . x x . . . .
stack.layer_skipped         . . . . . . . . . x . . . x . . . . . . . . . . . . . . . . . . . . . .
stack.layers_swapped        . . . . . . . . . x . . . x . . . . . . . . . . . . . . . . x . . . . .
stack.previous_step         . . . . . . . . . x . x x x . . . . . . . . . . . . . . . . x x . . . .
stack.shared_states         . . . . . . . . . . . . . x . . . . . . . . . . . . . . . . . . . . . .
stack.shared_weights        . . . . . . . . . x . . . x . . . . . . . . . . . . . . . . x . . . . .
state.c_passed_on           . . . . . . . . . . . . . . . . . . . . x . . . . . . x . . x x . . . .
state.carried               x x x x x x x x x x x x x x x x x x x x x x x . . . . x x x x x x x x x
state.h_c_swapped           . . . . . . . . . . . . . . . . . . . . x . . . . . . . . . . . . . . .
state.passed_up             . . . . . . . . . x . . . x . . . . . . . . . . . . . . . . x . . . . .
state.shared_by_samples     x x . x x x x x x . . x x x . . . . . . x . . . . . . x . x . x x x x .
state.zeroed_each_step      x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
state.zeroed_in_blocks      . . . . . . . . . x x . . . x x x x x x . x x . . . . . x . x . . . . .
sum.not_reset               x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
time.end_repeated           . x . . . . . . x . x . x . x . . . . . . . . . . . . . x . . . . x x .
time.every_repeated         x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
time.first_omitted          x x x . . x x . x x x x x x x x . . x . . x x . . . . x x x x x x x x x
time.first_only             . x . . . . . . x . . . x . . . . . . . . . . . . . . . . . . . . x x .
time.first_repeated         x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
time.last_omitted           x x x . . x x . x x x x x x x x . . x . . x x . . . . x x x x x x x x x
time.last_repeated          x . x . x x x x . . . x . x . . . . . . x . . x . . . x . x . x x . . .
time.output_reversed        x . x . x x x x . . . x . x . . . . . . x . . x . . . x . x . x x . . .
time.permuted               x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
time.pooled                 . x . . . . . x x . x . x . x . . x . . . . . . . . . . . . . . . x x .
time.reversed               x x x . x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
time.reversed_and_back      x . x . x x x x . x . x . x . x x x x x x . . x x x x x . x x x x . . x
time.rotated                x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
time.shifted                x x x . x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x
time.step_omitted           x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
time.strided                x x x . x x x x x x x x x x x x x x x x x x x x x . . x x x x x x x x x
"""
#: Mistakes that are tried only where a port gives certain numbers.
OF_WRONG_NUMBERS = (
    *("axes.end_unwritten", "axes.samples_permuted", "axes.units_permuted", "head.decided"),
    *("quantity.other", "state.two_before"),
)
#: Families of mistakes that every two of which are tried together; of the head; and of many.
COMMON = {
    *("quantity", "kernel", "gates", "bias", "cell", "activation", "recurrent_activation"),
    *("head", "mask", "time", "carried", "axes", "weights"),
}
OF_HEAD = {
    *("quantity", "unwritten ends", "head", "other heads", "input of head", "decided outputs"),
    *("head layers", "dropout", "order"),
}
MANY = {"units", "short buffers"}
ROWS = [line.split() for line in TABLE.split("\n") if line]


@pytest.mark.parametrize(("number", "name"), list(enumerate([*NETWORKS, *MODELS])))
def test_each_network_has_its_mistakes(number: int, name: str) -> None:
    """Each has a text of its own, which names its direction, if it is one direction's.

    Those of other ids depend on sizes or weights alone.
    """
    if name in NETWORKS:
        base = base_of(**{**SIZES, "cell": "simple", **NETWORKS[name]})
    else:
        make, x = MODELS[name]
        options = {"x": x()} if x else {"N": 3}
        base = base_of(model=randomized(make(), seed=3), what="output", **options)
    common, rare = (list(hypotheses(base, rare=rare)) for rare in (False, True))
    assert {one.families[0] for one in common} <= COMMON
    assert {one.families[0] for one in rare if not one.touched} & COMMON == set()
    assert all(len(one.xs) == len(one.network.inputs) for one in (*common, *rare))
    mistakes = [one.mistakes[0] for one in (*common, *rare)]
    expected = {id_ for id_, *networks in ROWS if networks[number] != "."}
    ids = {*(id_ for id_, *_ in ROWS), *OF_WRONG_NUMBERS}
    assert {mistake.id for mistake in mistakes} & ids == expected
    texts = [mistake.text for mistake in mistakes]
    assert len(set(texts)) == len(texts)
    for mistake in mistakes:
        if mistake.id != "direction.shared_weights":
            assert (mistake.where.direction or "") in mistake.text


#: Families of mistakes of cells, weights and single numbers, which say nothing of steps.
WITHOUT_STEPS = {
    *("approximation", "rounded states", "numbers of x", "head", "other heads"),
    *("weights", "quantized"),
}


@pytest.mark.parametrize(
    "options",
    [
        {"D": 5, "M": [5, 5]},
        {"D": 5, "M": [5, 5], "what": "simple_rnn.h simple_rnn_1.h y_hat"},
        NETWORKS["bi h"],
        NETWORKS["bi h alone"],
        NETWORKS["back h"],
    ],
)
def test_a_few_steps_show_no_other_mistake(options: dict[str, Any]) -> None:
    """A port that has made a mistake agrees with it, in all steps and in few that decide."""
    base = base_of(**{**SIZES, "cell": "simple", **options})
    tried = (one for one in tried_from(base) if not one.touched)
    ports = [as_port(one) for one in tried if one.families[0] not in WITHOUT_STEPS]
    parts = [window(one, 3) for one in ports]
    some = [part.of(one) for part, one in zip(parts, ports, strict=True) if part.is_exact]
    assert max(relative_distances([*ports, *some])) < 1e-9


def as_port(tried: Hypothesis) -> Hypothesis:
    """Return a hypothesis with what it computes itself for what the port gives."""
    ours = compute_outputs(tried)
    return tried.map_quantities(lambda q: replace(q, values=q.expected(tried.network, ours)))


#: A head, whether it takes the last state alone, and the number of samples.
Head = tuple[tuple[Any, ...], bool, int]
#: An id, heads each of which has more mistakes of this id than the one before, and whether the
#: first has none.
MORE_AND_MORE: list[tuple[str, list[Head], bool]] = [
    (
        "head.activation",
        [
            ((la.Dense(2, "softplus"),), False, 2),
            ((la.Dense(2, "sigmoid"),), False, 2),
            ((la.Dense(2, "softmax"),), False, 2),
            ((la.Dense(3, "softmax"),), False, 2),
        ],
        False,
    ),
    ("head.activation", [((la.Dense(2, "softmax"),), False, n) for n in (1, 2)], False),
    ("layer.batch_statistics", [((la.BatchNormalization(),), True, n) for n in (1, 2)], True),
    ("layer.batch_statistics", [((la.BatchNormalization(),), a, 1) for a in (True, False)], True),
    (
        "layer.deviation",
        [
            ((la.Dense(1), la.LayerNormalization()), False, 2),
            ((la.LayerNormalization(),), False, 2),
        ],
        False,
    ),
    (
        "head.pooling",
        [((la.GlobalMaxPooling1D(keepdims=keeps),), False, 2) for keeps in (True, False)],
        True,
    ),
    (
        "time.pooled",
        [((), True, 2), ((la.Dense(2),), True, 2), ((la.Dense(2, "sigmoid"),), True, 2)],
        False,
    ),
    ("time.pooled", [((la.Flatten(), la.Dense(2)), True, 2), ((la.Dense(2),), True, 2)], False),
]


@pytest.mark.parametrize(("id_", "heads", "begins_with_none"), MORE_AND_MORE)
def test_some_heads_have_more_mistakes(id_: str, heads: list[Head], begins_with_none: bool) -> None:
    """Sums over samples need several, and the outputs of each step a head of single steps."""
    counts = []
    for head, last, samples in heads:
        model = randomized(with_head(*head, last=last), seed=3)
        tried = tried_from(base_of(model=model, what="output", N=samples))
        counts.append(sum(one.mistakes[0].id == id_ for one in tried))
    assert counts == sorted(set(counts))
    assert (counts[0] == 0) == begins_with_none


def test_only_several_features_are_reversed() -> None:
    """A single feature is the same in reverse."""
    for count, is_tried in ((1, False), (2, True)):
        base = base_of(**{**SIZES, "D": count}, cell="simple", bidirectional=True, what=BOTH)
        ids = {one.mistakes[0].id for one in tried_from(base)}
        assert ("direction.features_reversed" in ids) == is_tried


def test_repeated_last_state_has_no_other_stack() -> None:
    """The second layer receives the same at every step."""
    layers = [la.GRU(4, name="first"), la.RepeatVector(6), la.GRU(4, name="second", **EVERY)]
    base = base_of(model=randomized(sequential(*layers, shape=(9, 5)), seed=3), N=2, what="output")
    ids = {one.mistakes[0].id for one in tried_from(base)}
    tried = {"stack.layers_swapped", "stack.shared_weights"}
    assert {id_ for id_ in ids if id_.startswith(("stack.", "state.passed"))} == tried


def two_layers(*, returns: bool = False, starts: bool = False, cells: bool = False) -> Any:
    """Return a model of two layers of one size; the second may start from states of the first."""
    x = keras.Input((6, 5))
    first = la.SimpleRNN(5, name="first", return_state=returns or starts, **EVERY)(x)
    h, *states = first if returns or starts else [first]
    layer = la.RNN([la.SimpleRNNCell(5)], name="second", **EVERY) if cells else None
    layer = layer or la.SimpleRNN(5, name="second", **EVERY)
    return keras.Model(x, layer(h, initial_state=states if starts else None))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, {"shared_states": 1, "passed_up": 1}),
        *(({name: True}, {}) for name in ("returns", "starts")),
        ({"cells": True}, {"passed_up": 1}),
    ],
)
def test_layers_share_states_if_they_start_from_zeros(options: Any, found: dict[str, int]) -> None:
    """And the second one receives the states of the first only if it does not already."""
    base = base_of(model=randomized(two_layers(**options), seed=3), N=2, what="output")
    ids = [one.mistakes[0].id.partition(".")[2] for one in tried_from(base)]
    assert {name: ids.count(name) for name in ("shared_states", "passed_up")} == {
        **dict.fromkeys(("shared_states", "passed_up"), 0),
        **found,
    }


def both_from_states(*, starts: bool) -> Any:
    x = keras.Input((9, 4))
    _, state = la.SimpleRNN(5, return_state=True, name="first")(x)
    both = la.Bidirectional(la.SimpleRNN(5, **EVERY), name="both")
    return keras.Model(x, both(x, initial_state=[state, state] if starts else None))


@pytest.mark.parametrize("starts", [False, True])
def test_states_that_a_model_gives_are_not_carried(starts: bool) -> None:
    """From one sample to the next, nor from one direction to the other."""
    base = base_of(model=randomized(both_from_states(starts=starts), seed=3), N=3, what="output")
    carried = {"state.carried", "direction.states_carried"}
    ids = {one.mistakes[0].id for one in tried_from(base)}
    assert ids & carried == (set() if starts else carried)


def test_directions_that_are_not_joined_keep_their_outputs() -> None:
    x = keras.Input((9, 4))
    rnn = la.SimpleRNN(5, name="rnn", **EVERY)
    sides = la.Bidirectional(rnn, merge_mode=None, name="both")(x)
    model = keras.Model(x, la.Dense(2)(la.Concatenate()(sides)))
    base = base_of(model=randomized(model, seed=3), N=3, what="output")
    found = {one.mistakes[0].id.partition(".")[::2] for one in tried_from(base)}
    assert {name for kind, name in found if kind in ("direction", "merge")} == {
        *("missing", "shifted", "not_reversed_back", "features_reversed", "reversed"),
        *("states_carried", "weights_exchanged", "shared_weights"),
    }


def with_last(*, steps: int = 6, returns: bool = False, outputs: int = 1) -> Any:
    x = keras.Input((steps, 3))
    h = la.SimpleRNN(5, return_state=returns, name="rnn")(x)
    h = h[0] if returns else h
    heads = [la.Dense(2, "sigmoid", name=f"head_{k}")(h) for k in range(outputs)]
    return keras.Model(x, heads)


@pytest.mark.parametrize(
    ("options", "count"), [({}, 4), ({"steps": 1}, 0), ({"returns": True}, 0), ({"outputs": 2}, 2)]
)
def test_last_of_several_steps_may_be_pooled(options: Any, count: int) -> None:
    """Of h or of the output, if there is one output."""
    base = base_of(model=randomized(with_last(**options), seed=3), N=2, what="output")
    assert [one.mistakes[0].id for one in tried_from(base)].count("time.pooled") == count


def test_last_states_of_masked_samples_are_tried() -> None:
    """They have as many mistakes as the states at every step."""
    make, x = MODELS["mask"]
    model = randomized(make(), seed=3)
    last, every = (
        [
            one.mistakes[0].id
            for one in tried_from(base_of(model=model, x=x(), what="rnn.h", last=last))
        ]
        for last in (True, False)
    )
    for id_ in ("mask.zeroed_output", "mask.length"):
        assert last.count(id_) == every.count(id_) > 0


def test_outputs_that_are_0_when_masked_are_right() -> None:
    """Keras sets those of both directions to 0."""
    both = la.Bidirectional(la.SimpleRNN(5, **EVERY), name="both")
    model = randomized(sequential(la.Masking(name="masking"), both, shape=(9, 4)), seed=3)
    ids = [one.mistakes[0].id for one in tried_from(base_of(model=model, x=padded_x()))]
    assert [id_ for id_ in ids if id_.startswith("mask.zeroed")] == ["mask.zeroed_state"]


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_cells_without_bias_have_no_bias_mistakes(cell: str) -> None:
    tried = tried_from(base_of(**SIZES, cell=cell, use_bias=False))
    mistakes = [one.mistakes[0] for one in tried]
    ids = {one.id.partition(".")[0] for one in mistakes if one.where.array == "bias"}
    assert ids == {"head"}
    assert not any(one.id.startswith("bias.") for one in mistakes)
    texts = [one.text for one in mistakes]
    assert len(set(texts)) == len(texts)


Key = tuple[str, str]


def keys_of(tried: Iterable[Hypothesis]) -> list[Key]:
    """Return the family and the text of the last mistake of each."""
    return [(one.families[-1], one.mistakes[-1].text) for one in tried]


@cache
def of_two_layers() -> Hypothesis:
    return base_of(**{**SIZES, "N": 2, "T": 3, "M": [5, 3]}, cell="simple")


@pytest.mark.parametrize("rare", [False, True])
def test_mistakes_are_divided_by_family(rare: bool) -> None:
    """Into those of the head and others, and into those after a family and the rest."""
    base = of_two_layers()
    every = keys_of(hypotheses(base, rare=rare))
    parts = [keys_of(hypotheses(base, rare=rare, in_head=in_head)) for in_head in (True, False)]
    assert sorted(parts[0] + parts[1]) == sorted(every)
    assert {name for name, _ in parts[0]} == {name for name, _ in every} & OF_HEAD
    for name in ("gates", "states", "head", "quantized"):
        later = {one for one in every if FAMILIES.index(one[0]) > FAMILIES.index(name)}
        assert {*keys_of(hypotheses(base, rare=rare, after=name))} == later


def test_head_mistakes_leave_states_unchanged() -> None:
    base = of_two_layers()
    right = numpy_outputs(base.network, base.weights, base.xs).states
    for rare in (False, True):
        for one in hypotheses(base, rare=rare, in_head=True):
            states = numpy_outputs(one.network, one.weights, one.xs).states
            for name, of_name in right.items():
                np.testing.assert_array_equal(states[name]["h"], of_name["h"])


def test_mistakes_of_one_layer_are_rare() -> None:
    base = of_two_layers()
    common, rare = (list(hypotheses(base, rare=rare)) for rare in (False, True))
    alone = [one for one in rare if one.mistakes[0].text.endswith(" alone")]
    assert {one.mistakes[0].where.layer for one in alone} == {"simple_rnn", "simple_rnn_1"}
    assert not any(one.mistakes[0].text.endswith(" alone") for one in common)
    of_both = {key for key in keys_of(common) if "bias of the recurrent" in key[1]}
    assert len(of_both) == 2
    for family, text in of_both:
        names = [f"{text}, in {name} alone" for name in ("simple_rnn", "simple_rnn_1")]
        assert {key for key in keys_of(rare) if key[0] == family and key[1] in names} == {
            (family, name) for name in names
        }


def test_no_family_has_two_mistakes_unless_beside_another() -> None:
    """Then in other cells alone, unless neither undoes the other."""
    base = of_two_layers()
    first = {one.families[0]: one for one in tried_from(base) if one.touched == {"simple_rnn"}}
    for name, repeatable in (("bias", False), ("states", True)):
        one = first[name]
        again = [h for h in tried_from(one) if h.families[-1] == name]
        assert again == []
        beside = [h for rare in (False, True) for h in hypotheses(one, rare=rare, beside="all")]
        again = [h for h in beside if h.families[-1] == name]
        assert again != []
        assert (any(h.touched >= {"simple_rnn"} for h in again)) == repeatable
        assert all(h.mistakes[0].text != h.mistakes[1].text for h in beside)
        cells = [h for rare in (False, True) for h in hypotheses(one, rare=rare, beside="cells")]
        assert {*keys_of(cells)} < {*keys_of(beside)}
        assert {"head", "time", "quantized"}.isdisjoint(h.families[-1] for h in cells)
        assert MANY.isdisjoint(h.families[-1] for h in (*beside, *cells))


def test_some_families_have_two_mistakes_in_one_cell() -> None:
    """Of which neither undoes the other."""
    base, repeatable = base_of(**SIZES, cell="lstm"), set()
    first = {one.families[0]: one for one in hypotheses(base, rare=True) if one.touched}
    for name, one in first.items():
        again = [h.families[-1] for h in hypotheses(one, rare=True, beside="cells")]
        repeatable |= {name} & {*again}
    assert repeatable == {
        *("gates of arrays", "misread parts", "equation", "single activations"),
        *("wrong functions", "states"),
    }


def test_a_kernel_is_read_before_its_gates_are_split() -> None:
    """Two mistakes of a port happen one after the other, and are tried in this order alone."""
    base = base_of(**SIZES, cell="gru")
    kernel = np.asarray(base.weights["gru"]["Wx"], float)
    by_columns = kernel.ravel().reshape(kernel.shape, order="F")
    z, r, h = np.split(by_columns, 3, axis=1)
    (misread,) = (one for one in hypotheses(base) if one.mistakes[0].text.startswith("kernel is r"))
    orders = [one for one in hypotheses(misread, after="kernel") if one.families[-1] == "gates"]
    (found,) = (one for one in orders if "read as r, z, h" in one.mistakes[-1].text)
    np.testing.assert_array_equal(found.weights["gru"]["Wx"], np.concatenate([r, z, h], axis=1))
    (split,) = (one for one in hypotheses(base) if "read as r, z, h" in one.mistakes[0].text)
    later = {one.families[-1] for one in hypotheses(split, after="gates")}
    assert "kernel" not in later
    assert "weights" in later
