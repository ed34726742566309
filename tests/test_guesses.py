"""First guesses at options: understood, or answered in one line that names the right one."""

from __future__ import annotations

import json

import pytest

from rnnshapes.cli import guesses
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


#: The options of each command.
OPTIONS = {
    "inspect": ["--T", "-T", "--json", "--format", "--view"],
    "trace": ["--T", "--input", "--golden", "--format", "--output"],
    "verify": ["--T", "--input", "--against"],
}
#: An unknown option of a command, and the option that its answer names, if any.
REMEDIES = [
    *(
        ("--units", "inspect", "--M "),
        ("--Hidden_Size", "trace", "--M "),
        ("--m", "verify", "--M "),
    ),
    *(("--time-steps", "inspect", "--T "), ("--k", "trace", "--K "), ("--n", "trace", "--N ")),
    *(
        ("--type", "trace", ""),
        ("--gru", "trace", "--cell gru"),
        ("--bi-lstm", "trace", "--cell lstm --bidirectional"),
    ),
    *(
        ("--port", "verify", "--against PORT"),
        ("--port", "trace", ""),
        ("--x", "trace", "--input X"),
    ),
    *(("--x", "inspect", ""), ("--out", "trace", "--output FILE"), ("--path", "trace", "the path")),
    *(("--csv", "trace", "--format csv"), ("--csv", "verify", ""), ("--unheard", "trace", "")),
]


@pytest.mark.parametrize(("name", "command", "named"), REMEDIES)
def test_remedy_is_an_option_of_the_command(name: str, command: str, named: str) -> None:
    text = guesses.option_remedy(name, command, OPTIONS)
    assert text.startswith(f"use {named}" if named else "")
    assert bool(text) == bool(named)


def test_option_of_another_command_is_named() -> None:
    one = guesses.option_remedy("--golden", "inspect", OPTIONS)
    assert ("trace" in one, "verify" in one) == (True, False)
    two = guesses.option_remedy("--input", "inspect", OPTIONS)
    assert ("trace" in two, "verify" in two) == (True, True)
    assert one.split()[1:] != two.split()[3:]
    first = guesses.option_remedy("--golden", "", OPTIONS)
    assert "rnnshapes trace --golden" in first
    assert "trace --no-keras" in guesses.option_remedy("--no-keras", "verify", OPTIONS)
    assert guesses.option_remedy("--no-keras", "trace", OPTIONS) == ""


@pytest.mark.parametrize(
    ("word", "options"),
    [
        ("lstm", "--cell lstm"),
        ("LSTM", "--cell lstm"),
        ("SimpleRNN", "--cell simple"),
        ("bilstm", "--cell lstm --bidirectional"),
        ("Bi_GRU", "--cell gru --bidirectional"),
        ("bi-simple", "--cell simple --bidirectional"),
        ("mylstm", ""),
        ("bi", ""),
    ],
)
def test_names_of_cells_are_understood(word: str, options: str, in_folder) -> None:
    remedy = guesses.cell_remedy(word)
    assert remedy == (f"use {options}" if options else "")
    assert guesses.model_remedy(word) == remedy
    command = guesses.command_remedy(word, ["inspect", "trace"])
    assert command == (f"write rnnshapes inspect {options}" if options else "")


def test_files_that_exist_are_no_guess(in_folder) -> None:
    (in_folder / "lstm").touch()
    assert guesses.model_remedy("lstm") == ""
    assert guesses.model_remedy("gru.keras") == ""
    assert guesses.model_remedy("other") == ""
    assert "--T 10" in guesses.model_remedy("10")
    assert "rnnshapes inspect m.h5" in guesses.command_remedy("m.h5", ["inspect", "trace"])
    assert "--help" in guesses.command_remedy("help", ["inspect"])
    assert guesses.command_remedy("inspekt", ["inspect"]) == ""


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
