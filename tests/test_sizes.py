"""Sizes are checked once, with a message that teaches."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as la

import rnnshapes
from rnnshapes import InputError
from rnnshapes.network.from_sizes import from_sizes
from rnnshapes.network.sizes import check_size, index_range_text, remedy_for_unknown_size
from tests.helpers.commands import mentioning
from tests.helpers.models import functional, sequential


@pytest.mark.parametrize("value", [1, 7, np.int64(3), 2**63 - 1])
def test_whole_numbers_from_1_are_sizes(value: Any) -> None:
    assert check_size("T", value) == int(value)
    assert type(check_size("T", value)) is int


@pytest.mark.parametrize(
    "value", [0, -1, 2.0, 2.5, "3", True, None, 2**63, 10**5000, -(10**5000), "9" * 9999], ids=type
)
def test_other_values_are_no_sizes(value: Any) -> None:
    """The message names the size and the value."""
    with pytest.raises(InputError, match=mentioning("T", "time steps", "1")) as error:
        check_size("T", value)
    assert len(str(error.value)) < 150


def test_empty_list_of_m_is_refused() -> None:
    with pytest.raises(InputError, match="M"):
        from_sizes(M=[])


def test_default_sizes() -> None:
    assert dict(from_sizes().sizes) == {"N": 1, "T": 10, "D": 3, "M": 5, "K": 2}
    assert dict(from_sizes(T=4, M=[7, 8]).sizes) == {
        "N": 1, "T": 4, "D": 3, "M1": 7, "M2": 8, "K": 2,
    }  # fmt: skip


def test_network_is_frozen() -> None:
    """It is validated once."""
    net = from_sizes()
    with pytest.raises(AttributeError):
        net.dtype = "float64"  # type: ignore[misc]
    net.sizes["T"] = 0
    assert net.sizes["T"] == 10


def test_open_sizes_are_set_and_fixed_ones_not() -> None:
    net = from_sizes()
    assert net.with_sizes(T=10) == net
    with pytest.raises(InputError, match=mentioning("T", "10", "11")):
        net.with_sizes(T=11)


@pytest.mark.parametrize(
    ("name", "present", "absent"),
    [
        ("T", ("--T", "--input"), (".npz",)),
        ("T2", ("--T", "--input", ".npz"), ("--T2",)),
        ("T'", ("--T",), ("--T'", "--input")),
        ("F", ("F",), ("--",)),
    ],
)
def test_unknown_size_has_a_remedy(name: str, present: Any, absent: Any) -> None:
    text = remedy_for_unknown_size(name)
    assert all(word in text for word in present)
    assert not any(word in text for word in absent)


@pytest.mark.parametrize(("count", "numbers"), [(4, ["0", "3", "4"]), (1, ["0", "1"])])
def test_range_of_indices_ends_before_the_size(count: int, numbers: list[str]) -> None:
    assert re.findall(r"\d+", index_range_text("T", count)) == numbers


#: Options, the recurrent layers, whether they go backwards, the shape of y_hat, and parameters.
BUILT: list[tuple[dict[str, Any], list[str], str, str, int]] = [
    (
        {"T": 9, "D": 4, "M": [3, 6], "K": 7, "cell": "gru", "bidirectional": True}
        | {"merge_mode": "sum"},
        [
            "bidirectional: Bidirectional(GRU(M1), sum)",
            "bidirectional_1: Bidirectional(GRU(M2), sum)",
        ],
        *("fb fb", "N K", 6 * 3 * (4 + 3 + 2) + 6 * 6 * (3 + 6 + 2) + 7 * (6 + 1)),
    ),
    (
        {"M": [3, 6], "cell": "lstm", "return_sequences": True, "go_backwards": True},
        ["lstm: LSTM(M1)", "lstm_1: LSTM(M2)"],
        *("b b", "N T K", 4 * 3 * (3 + 3 + 1) + 4 * 6 * (3 + 6 + 1) + 2 * (6 + 1)),
    ),
    (
        {"bidirectional": True, "M": np.int64(4)},
        ["bidirectional: Bidirectional(SimpleRNN(M))"],
        *("fb", "N K", 2 * 4 * (3 + 4 + 1) + 2 * (8 + 1)),
    ),
    (
        {"use_bias": False, "reset_after": None, "go_backwards": False},
        *(["simple_rnn: SimpleRNN(M)"], "f", "N K", 5 * (3 + 5) + 2 * (5 + 1)),
    ),
]


@pytest.mark.parametrize(("options", "layers", "directions", "shape", "parameters"), BUILT)
def test_options_build_layers(options, layers, directions, shape, parameters) -> None:
    """Only the last of several recurrent layers may return its last step alone."""
    net = from_sizes(**options)
    found = [f"{node.name}: {node.layer.label}" for node in net.nodes]
    assert found == ["input: InputLayer", *layers, "dense: Dense(K)"]
    ways = ["".join("fb"[d.reverse] for d in node.layer.directions) for node in net.recurrent]
    assert " ".join(ways) == directions
    assert " ".join(map(str, net.output_shapes.shapes[0])) == shape
    assert (net.parameters, net.is_chain) == (parameters, True)
    assert all(each.steps == net.node_shapes[0].steps for each in net.node_shapes)
    assert [each.final for each in net.node_shapes[1:-2]] == [False] * (len(layers) - 1)


#: Options that no network has, and what the message names.
REFUSED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"merge_mode": "own", "bidirectional": True}, ("'own'", "concat")),
    ({"merge_mode": "sum"}, ("--merge-mode", "--bidirectional")),
    ({"merge_mode": "sum", "bidirectional": False}, ("--merge-mode", "--bidirectional")),
    ({"bidirectional": True, "go_backwards": True}, ("--go-backwards", "--bidirectional")),
    ({"cell": "own"}, ("'own'", "simple", "lstm", "gru")),
    (
        {"recurrent_activation": "tanh"},
        ("SimpleRNN", "--activation", "--recurrent-activation", "lstm or gru"),
    ),
    ({"reset_after": True, "cell": "lstm"}, ("LSTM", "--reset-after", "--cell gru")),
    ({"own": 3, "cell": "gru"}, ("GRU", "own", "reset_after")),
    ({"activation": "tanx"}, ("activation", "'tanx'", "'tanh'")),
    ({"recurrent_activation": "Sigmoid", "cell": "gru"}, ("recurrent_activation", "'sigmoid'")),
    ({"activation": 3}, ("activation", "3")),
    ({"M": 2.5}, ("M", "2.5")),
    ({"M": [5, 0]}, ("M", "0")),
    ({"M": range(1, 10**4)}, ("M", "9,999")),
]


@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_impossible_options_are_refused(options: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=mentioning(*words)):
        from_sizes(**options)


# --- Sizes of a model ---------------------------------------------------------------------------


@cache
def model() -> keras.Model:
    """Return a model that leaves N and T open, with two recurrences and a Dense layer."""
    layers = la.LSTM(5, return_sequences=True), la.LSTM(4), la.Dense(2)
    return sequential(*layers, shape=(None, 3))


#: Options for a model, and the sizes that it then has.
GIVEN: list[tuple[dict[str, Any], dict[str, int | None]]] = [
    ({}, {"N": 1, "T": None, "D": 3, "M1": 5, "M2": 4, "K": 2}),
    ({"N": 7, "T": 9}, {"N": 7, "T": 9}),
    ({"D": 3, "K": 2}, {"D": 3, "K": 2}),
    ({"M": [5, 4]}, {"M1": 5, "M2": 4}),
    ({"M": 4}, {"M1": 5, "M2": 4}),
    ({"M1": 5}, {"M1": 5}),
    ({"cell": None, "use_bias": None, "N": None}, {"N": 1}),
]


@pytest.mark.parametrize(("options", "sizes"), GIVEN)
def test_options_fill_in_the_sizes_of_a_model(options: Any, sizes: Any) -> None:
    network = rnnshapes.inspect(model(), keras=False, **options).network
    assert {name: network.sizes[name] for name in sizes} == sizes


#: Options that contradict the model, and what the message names.
FIXED: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"D": 4}, ("D is 3", "--D")),
    ({"M": 7}, ("M is 5, 4", "--M")),
    ({"M": [4, 5]}, ("M is 5, 4", "--M")),
    ({"K": 3}, ("K is 2", "--K")),
    ({"cell": "gru"}, ("cell", "--cell")),
    ({"use_bias": False}, ("use_bias", "--bias")),
    ({"merge_mode": "sum"}, ("merge_mode", "--merge-mode")),
]


@pytest.mark.parametrize(("options", "words"), FIXED)
def test_options_that_a_model_fixes_are_refused(options: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=mentioning(*words)):
        rnnshapes.inspect(model(), keras=False, **options)


@pytest.mark.parametrize(
    ("name", "meant"), [("cel", "'cell'"), ("us_bias", "'use_bias'"), ("Q", "")]
)
def test_unknown_option_of_a_model_is_refused(name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=mentioning(name, meant)) as error:
        rnnshapes.inspect(model(), keras=False, **{name: 1})
    assert ("?" in str(error.value)) == bool(meant)


def test_samples_are_whole_batches_of_the_model() -> None:
    built = sequential(la.LSTM(4, stateful=True), shape=(6, 3), batch_size=3)
    for n, expected in ((None, 3), (3, 3), (6, 6)):
        assert rnnshapes.trace(built, N=n, keras=False).network.size("N") == expected
    for refused in ({"N": 4}, {"x": np.ones((4, 6, 3))}):
        with pytest.raises(InputError, match=mentioning("4", "3")):
            rnnshapes.trace(built, keras=False, **refused)
    assert rnnshapes.trace(built, x=np.ones((6, 6, 3)), keras=False).output.shape == (6, 4)


def test_each_open_time_axis_gets_the_steps() -> None:
    def joined(x: Any, y: Any) -> Any:
        return la.Concatenate()([la.GRU(3)(x), la.GRU(4)(y)])

    two = functional(joined, (None, 3), (None, 2))
    assert rnnshapes.inspect(two, T=8, keras=False).network.sizes["T1"] == 8
    assert rnnshapes.inspect(two, T=8, keras=False).network.sizes["T2"] == 8
    one = rnnshapes.inspect(functional(joined, (7, 3), (None, 2)), T=8, keras=False).network.sizes
    assert (one["T1"], one["T2"]) == (7, 8)
    with pytest.raises(InputError, match=mentioning("T", "7", "8")):
        rnnshapes.inspect(functional(joined, (7, 3), (7, 2)), T=8, keras=False)
