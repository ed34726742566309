"""``verify --against``: each mistake of a port fails, and is named; and every two of them.

The ports of :mod:`tests.helpers.handmade` share no code with the package.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import rnnshapes
from tests.helpers.handmade import ALL, GATED, GATES, GIVEN, SIZES, Port, explained, given, ported

LATE_LAST = "the last step is left out"  # for the last step alone it is the same
FORTRAN = "read column by column (Fortran's order)"
#: A mistake, the cells that can have it, what is said of it, and what of the last step alone.
MISTAKES: list[tuple[dict[str, Any], tuple[str, ...], str, str | None]] = [
    (
        {"reset_after": False, "rows": "summed"},
        ("gru",),
        "the reset gate acts before the product with Wh (reset_after=False)",
        "",
    ),
    ({"rows": "input"}, ("gru",), "there is one bias for two: the recurrent row is left out", ""),
    ({"rows": "recurrent"}, ("gru",), "there is one bias for two: the input row is left out", ""),
    ({"rows": "summed"}, ("gru",), "both rows of the bias are added to the input's product", ""),
    ({"z_is_new": True}, ("gru",), "z and 1 - z are exchanged: h is (1 - z) h_{t-1} + z h~", ""),
    ({"bias": 0}, ALL, "the bias of the recurrent layer is left out", ""),
    ({"bias": 2}, ALL, "the bias of the recurrent layer is added twice", ""),
    (
        {"more_forget": 1},
        ("lstm",),
        "1 is added to the forget bias, which Keras's weights have in them already",
        "",
    ),
    ({"times_forget": 2}, ("lstm",), "the forget bias is doubled", ""),
    ({"squashed": False}, ("lstm",), "h is o * c, without the activation of c", ""),
    ({"transposed": ("recurrent_kernel",)}, ALL, "recurrent_kernel is transposed", ""),
    ({"column_by_column": ("kernel",)}, ALL, f"kernel is {FORTRAN}", ""),
    ({"column_by_column": ("recurrent_kernel",)}, GATED, f"recurrent_kernel is {FORTRAN}", ""),
    ({"column_by_column": ("W",)}, ALL, f"the kernel of dense is {FORTRAN}", ""),
    (
        {"column_by_column": ("kernel", "recurrent_kernel", "W")},
        ALL,
        f"every kernel is {FORTRAN}",
        "",
    ),
    ({"activation": "relu"}, ALL, "activation is relu", ""),
    ({"activation": "linear"}, ALL, "activation is none at all", ""),
    ({"activation": "sigmoid"}, ALL, "activation is sigmoid", ""),
    (
        {"recurrent_activation": "hard_sigmoid"},
        GATED,
        "recurrent_activation is Keras 3's hard_sigmoid, clip(z/6 + 0.5)",
        "",
    ),
    (
        {"recurrent_activation": "old_hard_sigmoid"},
        GATED,
        "recurrent_activation is the older hard_sigmoid, clip(0.2 z + 0.5)",
        "",
    ),
    (
        {"activation": "sigmoid", "recurrent_activation": "tanh"},
        GATED,
        "activation and recurrent_activation are exchanged",
        "",
    ),
    ({"head_bias": False}, ALL, "the bias of dense is left out", ""),
    ({"reverse": True}, ALL, "time is reversed: x is read from its last step", ""),
    (
        {"reverse": True, "turned_back": True},
        ALL,
        "time is reversed: x is read from its last step, and put out in the order of x",
        "time is reversed, and what is put out is that of the step that is read first",
    ),
    ({"late": 1}, ALL, "x is one step late: the port reads x_{t-1} at t", ""),
    ({"late": -1}, ALL, "x is one step early: the port reads x_{t+1} at t", ""),
    (
        {"put_out_late": 1},
        ALL,
        "the output is shifted: what belongs to t - 1 is put out at t",
        LATE_LAST,
    ),
    (
        {"put_out_late": -1},
        ALL,
        "the output is shifted: what belongs to t + 1 is put out at t",
        None,
    ),  # nothing is left of it
    ({"carried": True}, ALL, "the state is carried over from one sample to the next", ""),
    (
        {"misread_axes": True},
        ALL,
        "samples and time are exchanged: x (N, T, D) is read as if it were (T, N, D)",
        "",
    ),
    (
        {"over_samples": True},
        ALL,
        "the loop runs over the samples, axis 0 of x, as PyTorch's does without batch_first",
        "",
    ),
    ({"rounded": "float16"}, ALL, "the weights are rounded to float16", ""),
]
WHOSE = {("lstm", *"iofc"): " (ONNX's)", ("gru", *"rzh"): " (PyTorch's)"}
MISTAKES += [
    (
        {"order": order},
        (cell,),
        f"the gates are read in the order {', '.join(order)}{WHOSE.get((cell, *order), '')}",
        "",
    )
    for cell in GATED
    for order in itertools.permutations(GATES[cell])
    if order != GATES[cell]
]
ONE = [
    pytest.param(
        cell,
        options,
        what,
        last if last and what == "last" else said,
        id=f"{cell}-{what}-{said[:44]}",
    )
    for place, (options, cells, said, last) in enumerate(MISTAKES)
    for cell in cells
    for what in (GIVEN if "order" not in options else GIVEN[place % 4 : place % 4 + 1])
    if not (what == "last" and last is None)
    if not (what in ("h", "states") and ("dense" in said or "every kernel" in said))
]


@pytest.mark.parametrize(("cell", "options", "what", "said"), ONE)
def test_a_mistake_fails_and_is_named(cell: str, options: Any, what: str, said: str) -> None:
    """It alone explains the port, whatever the port gives, for weights of several seeds."""
    seed = GIVEN.index(what)
    port = given(ported(Port(cell, **options), seed), what)
    assert explained(rnnshapes.verify(**SIZES, cell=cell, seed=seed, against=port)) == [(said,)]


@pytest.mark.parametrize("cell", ALL)
@pytest.mark.parametrize("what", GIVEN)
def test_arithmetic_in_float16_is_named(cell: str, what: str) -> None:
    """Where the numbers are kept in float32; where float16 is said, the port is right."""
    port = given(ported(Port(cell, dtype="float16")), what)
    assert rnnshapes.verify(**SIZES, cell=cell, against=port).passed
    port = {key: values.astype("float32") for key, values in port.items()}
    assert rnnshapes.verify(**SIZES, cell=cell, against=port, dtype="float16").passed
    assert explained(rnnshapes.verify(**SIZES, cell=cell, against=port)) == [("float16",)]


def test_square_kernels_are_told_apart() -> None:
    """With D = M both are square: kernel, recurrent_kernel, and that of a square Dense layer."""
    sizes = {"N": 3, "T": 7, "D": 5, "M": 5, "K": 5}
    names = {"kernel": "kernel", "recurrent_kernel": "recurrent_kernel", "W": "the kernel of dense"}
    for key, name in names.items():
        found = ported(Port("lstm", transposed=(key,)), **sizes)
        result = rnnshapes.verify(**sizes, cell="lstm", against={"y_hat": found["y_hat"]})
        assert explained(result) == [(f"{name} is transposed",)]


# --- Two mistakes -------------------------------------------------------------------------------

HARD = "recurrent_activation is Keras 3's hard_sigmoid, clip(z/6 + 0.5)"
REVERSED = "time is reversed: x is read from its last step"
TWO: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
    (
        "lstm",
        {"order": ("i", "o", "f", "c"), "recurrent_activation": "hard_sigmoid"},
        ("the gates are read in the order i, o, f, c (ONNX's)", HARD),
    ),
    ("lstm", {"more_forget": 1, "reverse": True}, (MISTAKES[7][2], REVERSED)),
    (
        "lstm",
        {"transposed": ("recurrent_kernel",), "head_bias": False},
        ("recurrent_kernel is transposed", "the bias of dense is left out"),
    ),
    (
        "lstm",
        {"squashed": False, "late": 1},
        (
            "h is o * c, without the activation of c",
            "x is one step late: the port reads x_{t-1} at t",
        ),
    ),
    (
        "gru",
        {"order": ("r", "z", "h"), "rows": "input"},
        (
            "the gates are read in the order r, z, h (PyTorch's)",
            "there is one bias for two: the recurrent row is left out",
        ),
    ),
    (
        "gru",
        {"reset_after": False, "rows": "input"},
        (
            "there is one bias for two: the recurrent row is left out",
            "the reset gate acts before the product with Wh (reset_after=False)",
        ),
    ),
    (
        "gru",
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        ("activation is relu", HARD),
    ),
    (
        "gru",
        {"z_is_new": True, "carried": True},
        (
            "z and 1 - z are exchanged: h is (1 - z) h_{t-1} + z h~",
            "the state is carried over from one sample to the next",
        ),
    ),
    (
        "simple",
        {"bias": 0, "over_samples": True},
        (
            "the bias of the recurrent layer is left out",
            "the loop runs over the samples, axis 0 of x, as PyTorch's does without batch_first",
        ),
    ),
    ("simple", {"activation": "relu", "reverse": True}, ("activation is relu", REVERSED)),
    (
        "simple",
        {"column_by_column": ("kernel",), "rounded": "float16"},
        (f"kernel is {FORTRAN}", "the weights are rounded to float16"),
    ),
]


@pytest.mark.parametrize(
    ("cell", "options", "said", "what"),
    [(*row, ("y_hat", "last")[place % 2]) for place, row in enumerate(TWO)],
)
def test_two_mistakes_are_found_together(cell: str, options: Any, said: Any, what: str) -> None:
    """Where no single one explains the port."""
    port = given(ported(Port(cell, **options), seed=1), what)
    assert explained(rnnshapes.verify(**SIZES, cell=cell, seed=1, against=port)) == [said]


def test_a_mistake_and_exchanged_axes_are_found_together() -> None:
    """The shape has told of the axes; the gates are looked for behind them."""
    y_hat = ported(Port("gru", order=("r", "z", "h")))["y_hat"].swapaxes(0, 1)
    result = rnnshapes.verify(**SIZES, cell="gru", against=y_hat)
    axes, gates = explained(result)[0]
    assert result.swapped
    assert "(T, N, …)" in axes
    assert "PyTorch's" in gates


@pytest.mark.parametrize("n", [3, 9])
def test_exchanged_axes_fail_by_their_shape_or_by_their_numbers(n: int) -> None:
    """(T, N, K) for (N, T, K), also where N = T."""
    y_hat = ported(Port("lstm"), N=n)["y_hat"].swapaxes(0, 1)
    result = rnnshapes.verify(**{**SIZES, "N": n}, cell="lstm", against=y_hat)
    (said,) = explained(result)
    assert "(T, N, …)" in said[0]
    assert not any(check["passed"] for check in result.to_dict()["checks"])


def test_an_array_without_a_name_may_be_another_of_its_shape() -> None:
    """h, where K = M lets it be taken for y_hat; by its name it agrees."""
    sizes = {**SIZES, "K": 5}
    h = ported(Port("gru"), **sizes)["h"]
    result = rnnshapes.verify(**sizes, cell="gru", against=h)
    assert explained(result) == [
        ("the array is not y_hat at every step, but gru: h at every step",)
    ]
    assert rnnshapes.verify(**sizes, cell="gru", against={"h": h}).passed
