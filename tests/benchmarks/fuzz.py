"""Good files, changed at random, many times: each is answered or refused in one line.

The process that reads a file is forked from one that has loaded h5py, so that a look takes some
milliseconds; all else is what the command does. Run:
``python tests/benchmarks/fuzz.py [COUNT] [FIRST_SEED]``; status 1 if anything else happened.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py

import rnnshapes
from rnnshapes.errors import RnnshapesError
from rnnshapes.load.saved import hdf5_child, hdf5_client

SECONDS = 3.0
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 5, 1.5, -0.0, 2**31, 2**63, 2**70, 10**30, "", "a", "/"),
    *("linear", "LSTM", "\x1b[0m", [], {}, [1], [None, 2], [[]], {"a": 1}, ["x", 0, 0]),
)


class Forked:
    """What the store needs of a process, forked from this one."""

    def __init__(self, path: Path) -> None:
        asked, self.stdin_end = os.pipe()
        self.stdout_end, told = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(asked, 0)
            os.dup2(told, 1)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
            try:
                hdf5_child.main(str(path))
            finally:
                os._exit(0)
        os.close(asked)
        os.close(told)
        self.stdin = os.fdopen(self.stdin_end, "wb")
        self.stdout = os.fdopen(self.stdout_end, "rb")
        self.status = 0

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, 9)

    def wait(self) -> None:
        """Until it has ended."""
        self.status = os.waitpid(self.pid, 0)[1]
        CRASHES[os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0] += 1


CRASHES: Counter[int] = Counter()


def models() -> list[Any]:
    """Of several kinds."""
    import keras
    from keras import layers as la

    x = keras.Input((6, 3))
    inner = keras.Sequential([keras.Input((6, 3)), la.GRU(3, return_sequences=True)])
    states = la.LSTM(4, return_state=True)(inner(inner(x)))
    y = la.LSTM(4)(la.Masking()(x), initial_state=states[1:])
    both = la.Bidirectional(la.RNN([la.GRUCell(3), la.LSTMCell(4)]))(la.Conv1D(4, 2)(x))
    compiled = keras.Sequential([keras.Input((6, 3)), la.LSTM(5), la.BatchNormalization()])
    compiled.compile("adam", "mse")
    return [compiled, keras.Model(x, [la.Dense(2)(la.Concatenate()([y, both])), y])]


def write_goods(folder: Path) -> None:
    """Good files, .keras and HDF5."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, model in enumerate(models()):
            for ending in (".keras", ".h5", ".weights.h5"):
                path = folder / f"{number}{ending}"
                (model.save_weights if "weights" in ending else model.save)(path)


def changed(data: bytes, chance: random.Random) -> bytes:
    """A file that is damaged in one of several ways."""
    if data[:2] != b"PK" or chance.random() < 0.1:
        return flipped(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if chance.random() < 0.6:
        config = json.loads(members["config.json"])
        for _ in range(chance.randrange(1, 4)):
            replaced(config, chance)
        members["config.json"] = json.dumps(config).encode()
    else:
        members["model.weights.h5"] = flipped(members["model.weights.h5"], chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in members.items():
            archive.writestr(name, part)
    return out.getvalue()


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Some bytes, or a stretch of them, changed, mostly where HDF5 keeps its tables."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        most = len(made) if chance.random() < 0.5 else min(len(made), 4096)
        place = chance.randrange(most)
        kind = chance.random()
        if kind < 0.1:
            del made[place : place + chance.randrange(1, 64)]
        elif kind < 0.5:
            made[place] ^= 1 << chance.randrange(8)
        else:
            made[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(made)


def replaced(config: Any, chance: random.Random) -> None:
    """A value in a config becomes another, moves elsewhere, or is lost."""
    places = []
    stack = [config]
    while stack:
        value = stack.pop()
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            places.append((value, key))
            if isinstance(part, dict | list) and part:
                stack.append(part)
    holder, key = chance.choice(places)
    kind = chance.random()
    if kind < 0.2:
        del holder[key]
    elif kind < 0.4:
        other, place = chance.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    else:
        holder[key] = chance.choice(VALUES)


def main() -> int:
    """Run, and print what happened."""
    if sys.argv[1:2] == ["--goods"]:
        write_goods(Path(sys.argv[2]))
        return 0
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    hdf5_client._start = Forked  # type: ignore[assignment]
    assert h5py
    counts: Counter[str] = Counter()
    bad, slowest = 0, 0.0
    with tempfile.TemporaryDirectory() as name:
        # In a process of its own: one that has loaded Keras is slow to fork.
        subprocess.run([sys.executable, __file__, "--goods", name], check=True, capture_output=True)
        files = [path.read_bytes() for path in sorted(Path(name).iterdir())]
        path = Path(name) / "changed"
        for seed in range(first, first + count):
            chance = random.Random(seed)  # noqa: S311 - the same damage for the same seed
            path.write_bytes(changed(chance.choice(files), chance))
            start = time.perf_counter()
            try:
                result = rnnshapes.inspect(path)
                text = repr(result)
                counts["answered" if result.file and result.file.agrees else "broken"] += 1
                fine = all(c.isprintable() or c == "\n" for c in text)
            except RnnshapesError as error:
                counts["refused"] += 1
                fine = "\n" not in str(error)
            except Exception as error:
                fine = False
                print(f"seed {seed}: {type(error).__name__}: {error}")
            took = time.perf_counter() - start
            slowest = max(slowest, took)
            if not fine or took > SECONDS:
                bad += 1
                print(f"seed {seed}: BAD after {took:.2f} s")
            if (seed + 1) % 5000 == 0:
                print(seed + 1, dict(counts), f"slowest {slowest:.2f} s", flush=True)
    signals = {number: n for number, n in CRASHES.items() if number not in (0, 9)}
    print(f"{count} changes: {dict(counts)}, {bad} bad, slowest {slowest:.2f} s")
    print(f"the process that reads ended by signals: {signals}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
