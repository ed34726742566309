"""Networks with all that is known of them, derived by hand: no number here is computed."""

from __future__ import annotations

from typing import Any, NamedTuple


class Known(NamedTuple):
    """Sizes, weights (name, symbol, dims, shape, formula, params) and totals of a network."""

    sizes: dict[str, Any]
    weights: list[tuple[str, str, list[str], list[int], str, int]]
    layers: list[tuple[str, str, int]]  # name, formula, params
    params: int
    bytes: int
    macs: int
    cell: dict[str, Any] = {}  # noqa: RUF012 - never changed


REFERENCE = Known(
    sizes={"N": 1, "T": 10, "D": 3, "M": [5], "K": 2},
    weights=[
        ("simple_rnn/kernel", "Wx", ["D", "M"], [3, 5], "D·M", 15),
        ("simple_rnn/recurrent_kernel", "Wh", ["M", "M"], [5, 5], "M·M", 25),
        ("simple_rnn/bias", "bh", ["M"], [5], "M", 5),
        ("dense/kernel", "W0", ["M", "K"], [5, 2], "M·K", 10),
        ("dense/bias", "b0", ["K"], [2], "K", 2),
    ],
    layers=[("simple_rnn", "M(D+M+1)", 45), ("dense", "K(M+1)", 12)],
    params=57,
    bytes=228,
    macs=410,  # 10 steps of 3·5 + 5·5, and 5·2 once
)
OTHER = Known(
    sizes={"N": 4, "T": 7, "D": 2, "M": [6], "K": 3},
    weights=[
        ("simple_rnn/kernel", "Wx", ["D", "M"], [2, 6], "D·M", 12),
        ("simple_rnn/recurrent_kernel", "Wh", ["M", "M"], [6, 6], "M·M", 36),
        ("simple_rnn/bias", "bh", ["M"], [6], "M", 6),
        ("dense/kernel", "W0", ["M", "K"], [6, 3], "M·K", 18),
        ("dense/bias", "b0", ["K"], [3], "K", 3),
    ],
    layers=[("simple_rnn", "M(D+M+1)", 54), ("dense", "K(M+1)", 21)],
    params=75,
    bytes=300,
    macs=1416,  # 4·7·(12 + 36) + 4·18
)
STACK = Known(
    sizes={"N": 2, "T": 3, "D": 4, "M": [5, 6], "K": 1},
    weights=[
        ("simple_rnn/kernel", "Wx1", ["D", "M1"], [4, 5], "D·M1", 20),
        ("simple_rnn/recurrent_kernel", "Wh1", ["M1", "M1"], [5, 5], "M1·M1", 25),
        ("simple_rnn/bias", "bh1", ["M1"], [5], "M1", 5),
        ("simple_rnn_1/kernel", "Wx2", ["M1", "M2"], [5, 6], "M1·M2", 30),
        ("simple_rnn_1/recurrent_kernel", "Wh2", ["M2", "M2"], [6, 6], "M2·M2", 36),
        ("simple_rnn_1/bias", "bh2", ["M2"], [6], "M2", 6),
        ("dense/kernel", "W0", ["M2", "K"], [6, 1], "M2·K", 6),
        ("dense/bias", "b0", ["K"], [1], "K", 1),
    ],
    layers=[
        ("simple_rnn", "M1(D+M1+1)", 50),
        ("simple_rnn_1", "M2(M1+M2+1)", 72),
        ("dense", "K(M2+1)", 7),
    ],
    params=129,
    bytes=516,
    macs=678,  # 2·3·(20 + 25) + 2·3·(30 + 36) + 2·6
)
HUGE = Known(
    sizes={"N": 1, "T": 10, "D": 3, "M": [1_000_000_000], "K": 2},
    weights=[
        ("simple_rnn/kernel", "Wx", ["D", "M"], [3, 10**9], "D·M", 3 * 10**9),
        ("simple_rnn/recurrent_kernel", "Wh", ["M", "M"], [10**9, 10**9], "M·M", 10**18),
        ("simple_rnn/bias", "bh", ["M"], [10**9], "M", 10**9),
        ("dense/kernel", "W0", ["M", "K"], [10**9, 2], "M·K", 2 * 10**9),
        ("dense/bias", "b0", ["K"], [2], "K", 2),
    ],
    layers=[
        ("simple_rnn", "M(D+M+1)", 1_000_000_004_000_000_000),
        ("dense", "K(M+1)", 2_000_000_002),
    ],
    params=1_000_000_006_000_000_002,
    bytes=4_000_000_024_000_000_008,
    macs=10_000_000_032_000_000_000,
)
LSTM = Known(
    sizes={"N": 1, "T": 10, "D": 3, "M": [5], "K": 2},
    weights=[
        ("lstm/kernel", "Wx", ["D", "4M"], [3, 20], "4D·M", 60),
        ("lstm/recurrent_kernel", "Wh", ["M", "4M"], [5, 20], "4M·M", 100),
        ("lstm/bias", "bh", ["4M"], [20], "4M", 20),
        ("dense/kernel", "W0", ["M", "K"], [5, 2], "M·K", 10),
        ("dense/bias", "b0", ["K"], [2], "K", 2),
    ],
    layers=[("lstm", "4M(D+M+1)", 180), ("dense", "K(M+1)", 12)],
    params=192,
    bytes=768,
    macs=1610,  # 10 steps of 4·(3·5 + 5·5), and 5·2 once
    cell={"cell": "lstm"},
)
GRU = Known(
    sizes={"N": 2, "T": 7, "D": 4, "M": [6], "K": 3},
    weights=[
        ("gru/kernel", "Wx", ["D", "3M"], [4, 18], "3D·M", 72),
        ("gru/recurrent_kernel", "Wh", ["M", "3M"], [6, 18], "3M·M", 108),
        ("gru/bias", "bh", ["2", "3M"], [2, 18], "6M", 36),
        ("dense/kernel", "W0", ["M", "K"], [6, 3], "M·K", 18),
        ("dense/bias", "b0", ["K"], [3], "K", 3),
    ],
    layers=[("gru", "3M(D+M+2)", 216), ("dense", "K(M+1)", 21)],
    params=237,
    bytes=948,
    macs=2556,  # 2·7·3·(24 + 36), and 2·18 once
    cell={"cell": "gru"},
)
GRU_BEFORE = Known(
    sizes={"N": 2, "T": 7, "D": 4, "M": [6], "K": 3},
    weights=[
        ("gru/kernel", "Wx", ["D", "3M"], [4, 18], "3D·M", 72),
        ("gru/recurrent_kernel", "Wh", ["M", "3M"], [6, 18], "3M·M", 108),
        ("gru/bias", "bh", ["3M"], [18], "3M", 18),
        ("dense/kernel", "W0", ["M", "K"], [6, 3], "M·K", 18),
        ("dense/bias", "b0", ["K"], [3], "K", 3),
    ],
    layers=[("gru", "3M(D+M+1)", 198), ("dense", "K(M+1)", 21)],
    params=219,
    bytes=876,
    macs=2556,
    cell={"cell": "gru", "reset_after": False},
)
NO_BIAS = Known(
    sizes={"N": 1, "T": 2, "D": 3, "M": [4], "K": 5},
    weights=[
        ("lstm/kernel", "Wx", ["D", "4M"], [3, 16], "4D·M", 48),
        ("lstm/recurrent_kernel", "Wh", ["M", "4M"], [4, 16], "4M·M", 64),
        ("dense/kernel", "W0", ["M", "K"], [4, 5], "M·K", 20),
        ("dense/bias", "b0", ["K"], [5], "K", 5),
    ],
    layers=[("lstm", "4M(D+M)", 112), ("dense", "K(M+1)", 25)],
    params=137,
    bytes=548,
    macs=244,  # 2·(48 + 64) + 20
    cell={"cell": "lstm", "use_bias": False},
)
BOTH = Known(
    sizes={"N": 2, "T": 3, "D": 4, "M": [5], "K": 3},
    weights=[
        ("bidirectional/forward_lstm/kernel", "Wx→", ["D", "4M"], [4, 20], "4D·M", 80),
        ("bidirectional/forward_lstm/recurrent_kernel", "Wh→", ["M", "4M"], [5, 20], "4M·M", 100),
        ("bidirectional/forward_lstm/bias", "bh→", ["4M"], [20], "4M", 20),
        ("bidirectional/backward_lstm/kernel", "Wx←", ["D", "4M"], [4, 20], "4D·M", 80),
        ("bidirectional/backward_lstm/recurrent_kernel", "Wh←", ["M", "4M"], [5, 20], "4M·M", 100),
        ("bidirectional/backward_lstm/bias", "bh←", ["4M"], [20], "4M", 20),
        ("dense/kernel", "W0", ["2M", "K"], [10, 3], "2M·K", 30),
        ("dense/bias", "b0", ["K"], [3], "K", 3),
    ],
    layers=[("bidirectional", "8M(D+M+1)", 400), ("dense", "K(2M+1)", 33)],
    params=433,
    bytes=1732,
    macs=2220,  # 2·3·2·(80 + 100), and 2·30 once
    cell={"cell": "lstm", "bidirectional": True},
)
BOTH_STACKED = Known(
    sizes={"N": 1, "T": 2, "D": 3, "M": [4, 5], "K": 2},
    weights=[
        ("bidirectional/forward_gru/kernel", "Wx1→", ["D", "3M1"], [3, 12], "3D·M1", 36),
        ("bidirectional/forward_gru/recurrent_kernel", "Wh1→", ["M1", "3M1"], [4, 12], "3M1·M1", 48),  # noqa: E501
        ("bidirectional/backward_gru/kernel", "Wx1←", ["D", "3M1"], [3, 12], "3D·M1", 36),
        ("bidirectional/backward_gru/recurrent_kernel", "Wh1←", ["M1", "3M1"], [4, 12], "3M1·M1", 48),  # noqa: E501
        ("bidirectional_1/forward_gru_1/kernel", "Wx2→", ["M1", "3M2"], [4, 15], "3M1·M2", 60),
        ("bidirectional_1/forward_gru_1/recurrent_kernel", "Wh2→", ["M2", "3M2"], [5, 15], "3M2·M2", 75),  # noqa: E501
        ("bidirectional_1/backward_gru_1/kernel", "Wx2←", ["M1", "3M2"], [4, 15], "3M1·M2", 60),
        ("bidirectional_1/backward_gru_1/recurrent_kernel", "Wh2←", ["M2", "3M2"], [5, 15], "3M2·M2", 75),  # noqa: E501
        ("dense/kernel", "W0", ["M2", "K"], [5, 2], "M2·K", 10),
        ("dense/bias", "b0", ["K"], [2], "K", 2),
    ],
    layers=[
        ("bidirectional", "6M1(D+M1)", 168),
        ("bidirectional_1", "6M2(M1+M2)", 270),
        ("dense", "K(M2+1)", 12),
    ],
    params=450,
    bytes=1800,
    macs=896,  # 2·2·(36 + 48) + 2·2·(60 + 75), and the head at both steps: 2·10
    cell={
        "cell": "gru",
        "use_bias": False,
        "bidirectional": True,
        "merge_mode": "sum",
        "return_sequences": True,
    },
)  # fmt: skip
ALL = [REFERENCE, OTHER, STACK, HUGE, LSTM, GRU, GRU_BEFORE, NO_BIAS, BOTH, BOTH_STACKED]


_SWITCHES = {
    ("use_bias", False): "--no-bias",
    ("reset_after", False): "--no-reset-after",
    ("cell", "lstm"): "--cell=lstm",
    ("cell", "gru"): "--cell=gru",
    ("bidirectional", True): "--bidirectional",
    ("merge_mode", "sum"): "--merge-mode=sum",
    ("return_sequences", True): "--return-sequences",
}


def options(known: Known) -> list[str]:
    """The sizes and the cell as options of the command line."""
    given = [_SWITCHES[option] for option in known.cell.items()]
    for name, value in known.sizes.items():
        for number in value if isinstance(value, list) else [value]:
            given += [f"--{name}", str(number)]
    return given
