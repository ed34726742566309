"""First guesses at options: understood, or answered in one line that names the right one."""

from __future__ import annotations

import json

import pytest

from tests.helpers.commands import assert_refused

#: What is typed, and what the answer names.
ANSWERED = [
    ("inspect --units 5", ["--units", "--M"]),
    ("inspect --hidden=5", ["--hidden", "--M"]),
    ("trace --hidden_size 5", ["--hidden_size", "--M"]),
    ("trace --timesteps 5", ["--timesteps", "--T"]),
    ("verify --seq-len 5", ["--seq-len", "--T"]),
    ("inspect --features 5", ["--features", "--D"]),
    ("inspect --outputs 5", ["--outputs", "--K"]),
    ("inspect --batch-size 5", ["--batch-size", "--N"]),
    ("inspect --t 5", ["--t", "--T"]),
    ("inspect --layers 2", ["--layers", "--M"]),
    ("inspect --recurrent-activation relu", ["SimpleRNN", "--activation", "--cell lstm", "gru"]),
    ("inspect --reset-after", ["SimpleRNN", "--cell gru"]),
    ("inspect --lstm", ["--lstm", "--cell lstm"]),
    ("trace --bilstm", ["--bilstm", "--cell lstm --bidirectional"]),
    ("trace --cell bigru", ["bigru", "--cell gru --bidirectional"]),
    ("inspect lstm", ["--cell lstm"]),
    ("inspect --M 64 32", ["--M 6,4"]),
    ("verify --no-keras", ["Keras", "--against", "trace --no-keras"]),
    ("inspect m.keras --input x.npy", ["inspect", "--input", "trace", "verify"]),
    ("inspect --follow", ["--follow", "trace"]),
    ("trace --model m.keras", ["--model"]),
    ("inspect --json", ["--format json"]),
    ("verify --port y.npy", ["--against"]),
    ("inspect m.keras --T ten", ["T", "ten"]),
    ("inspect --M 5,0", ["M", "0"]),
    ("inspect --M 5,,6", ["M"]),
    ("--T 5", ["inspect", "--T"]),
    ("m.keras", ["inspect m.keras"]),
    ("lstm", ["inspect --cell lstm"]),
    ("help", ["--help"]),
    ("inspekt", ["inspect"]),
    ("schema trcae", ["trace", "verify", "golden"]),
    ("schema", ["inspect", "trace", "verify", "golden"]),
]


@pytest.mark.parametrize(("line", "names"), ANSWERED, ids=lambda v: v if isinstance(v, str) else "")
def test_guess_is_answered_in_one_line(line: str, names: list[str], run, in_folder) -> None:
    assert_refused(run(*line.split()), *names)


#: What is typed, and the same in full.
UNDERSTOOD = [
    ("-N 2 -T 7 -D 4 -M 6 -K 3", "--N 2 --T 7 --D 4 --M 6 --K 3"),
    ("-T7", "--T 7"),
    ("--M 6,4", "--M 6 --M 4"),
    ("-M 6,4 -M 3", "--M 6 --M 4 --M 3"),
    ("--cell LSTM", "--cell lstm"),
    ("--cell SimpleRNN", "--cell simple"),
]


@pytest.mark.parametrize(("short", "full"), UNDERSTOOD)
def test_guess_is_understood(short: str, full: str, run) -> None:
    records = [
        json.loads(run("inspect", "--no-keras", "--format", "json", *line.split()).out)
        for line in (short, full)
    ]
    assert records[0] == records[1]
    assert records[0] != json.loads(run("inspect", "--no-keras", "--format", "json").out) or (
        short == "--cell SimpleRNN"
    )
