"""Good inputs of every reader, changed at random: each is read, or refused in one line.

Run: ``python -m tests.benchmarks.fuzz KIND [COUNT] [FIRST_SEED]``; status 1 if anything else
happened. The kinds are:

- ``files``: model files, ``.keras`` and HDF5, of which configs or bytes change;
- ``configs``: configs of models alone, without a file around them, which is faster;
- ``safetensors``, ``torch`` and ``onnx``: weight files of PyTorch in both containers, and ONNX
  files. Each is opened, its network built, and the shapes of its arrays checked; of those that
  can be read, a share is inspected, drawn, traced, and compared with a network of Keras;
- ``arrays``: array files of every type, for ``--input`` and for ``--against``.

A change is a failure, too, if it takes more than ``SECONDS`` of this process, or adds more than
``MEBIBYTES`` to the most memory that it has used, or if nothing has come after a minute.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

import rnnshapes
from rnnshapes import cli
from rnnshapes.errors import RnnshapesError
from rnnshapes.load.inputs import read_input
from rnnshapes.load.saved import spawn
from rnnshapes.port.arrays import read_port
from rnnshapes.session import open_model
from tests.helpers import foreign
from tests.helpers.exported_graphs import (
    exported_graph,
    of_flat_dense,
    of_tensorflow,
    of_two_layers,
)
from tests.helpers.fork_server import ForkServer

SECONDS, MEBIBYTES = 3.0, 300
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 5, 1.5, -0.0, 2**31, 2**63, 2**70, 10**30, "", "a", "/"),
    *("linear", "LSTM", "\x1b[0m", [], {}, [1], [None, 2], [[]], {"a": 1}, ["x", 0, 0]),
)
#: What may stand in a text of numbers.
TOKENS = (
    *(
        "",
        ",",
        ",,",
        "\n",
        "\n\n",
        " ",
        "{",
        "}",
        "[",
        "]",
        ";",
        "=",
        '"',
        "/*",
        "*/",
        "nan",
        "inf",
    ),
    *("1e999", "-", "1e", "0x1", "1_0", "٣", "\x00", "\x1b[0m", "sample", "y_hat", "=1+1"),
)
#: Which share of the weight files that can be read goes through each command. For all of them
#: most of the time would be spent on the same pages and the same numbers.
SHARE = 0.1
#: The network with which weight files are compared.
NETWORK: dict[str, Any] = {"cell": "lstm", "D": 3, "M": (5, 5), "K": 2}
#: Models whose files are changed, among them a graph with operations and one in another one.
NAMES = ("masked, both", "stacked cells, both, masked", "convolved, same", "nested", "sliced")


# --- Changes ------------------------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Return data with some bytes changed, mostly at its beginning, where HDF5 has its tables."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not changed:
            break
        most = len(changed) if rng.random() < 0.5 else min(len(changed), 4096)
        place = rng.randrange(most)
        kind = rng.random()
        if kind < 0.1:
            del changed[place : place + rng.randrange(1, 64)]
        elif kind < 0.5:
            changed[place] ^= 1 << rng.randrange(8)
        else:
            changed[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def edited(text: str, rng: random.Random) -> str:
    """Return text in which tokens come in, parts are lost, repeated, or moved."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        end = min(end, start + rng.choice((0, 1, 8, 200)))
        part = rng.choice((rng.choice(TOKENS), text[start:end] * rng.choice((0, 2, 3))))
        text = text[:start] + part + text[end:]
    return text


def replace_value(value: Any, rng: random.Random) -> None:
    """Let a value in nested lists and dicts become another, move elsewhere, or be lost."""
    places, stack = [], [value]
    while stack:
        holder = stack.pop()
        for key, part in holder.items() if isinstance(holder, dict) else enumerate(holder):
            places.append((holder, key))
            if isinstance(part, dict | list) and part:
                stack.append(part)
    if not places:
        return
    holder, key = rng.choice(places)
    kind = rng.random()
    if kind < 0.2:
        del holder[key]
    elif kind < 0.4:
        other, place = rng.choice(places)
        holder[key] = copy.deepcopy(other[place])
    elif kind < 0.5 and isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(holder[key])] * rng.choice((1, 3, 50))
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))


def changed_config(text: str, rng: random.Random) -> Any:
    """Return a config, given as JSON, in which one to three values are others."""
    config = json.loads(text)
    for _ in range(rng.randrange(1, 4)):
        replace_value(config, rng)
    return config


def changed_file(data: bytes, rng: random.Random) -> bytes:
    """Return a model file whose config or bytes are changed."""
    if data[:2] != b"PK" or rng.random() < 0.1:
        return flipped(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if rng.random() < 0.6:
        config = changed_config(members["config.json"].decode(), rng)
        members["config.json"] = json.dumps(config).encode()
    else:
        members["model.weights.h5"] = flipped(members["model.weights.h5"], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in members.items():
            archive.writestr(name, part)
    return out.getvalue()


# --- Kinds of inputs ----------------------------------------------------------------------------

#: Reads the input that a seed makes; returns a word for what happened.
Attempt = Callable[[random.Random], str]


def inspected(result: Any) -> str:
    """Return what a result says; raise ValueError if its text cannot be printed."""
    text = repr(result)
    if not all(character.isprintable() or character == "\n" for character in text):
        raise ValueError("it prints a character that is not printable")
    return (
        "read"
        if getattr(result, "file", None) is None or result.file.agrees
        else "contradicts itself"
    )


@contextmanager
def forked_readers() -> Iterator[None]:
    """Let each process that reads HDF5 be forked from one that has h5py, not started again."""
    script = spawn.SCRIPT
    server = ForkServer("h5py", script.stem, folder=str(script.parent))
    spawn.start = lambda name: server.pipe(script.stem, "main", arguments=[name])
    yield
    server.close()


@contextmanager
def files(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of model files."""
    from tests.helpers.models import MODELS

    good, path = [], folder / "changed"
    for name in NAMES:
        for ending in (".keras", ".h5", ".weights.h5"):
            target, model = folder / f"good{ending}", MODELS[name]()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                (model.save_weights if "weights" in ending else model.save)(target)
            good.append(target.read_bytes())

    def attempt(rng: random.Random) -> str:
        path.write_bytes(changed_file(rng.choice(good), rng))
        return inspected(rnnshapes.inspect(path))

    yield attempt


@contextmanager
def configs(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of configs, of all models of the tests."""
    from keras.src.saving import serialization_lib

    from tests.helpers.configs import read_config
    from tests.helpers.models import MODELS, OPERATIONS

    models = [make() for make in {**MODELS, **OPERATIONS}.values()]
    good = [json.dumps(serialization_lib.serialize_keras_object(model)) for model in models]

    def attempt(rng: random.Random) -> str:
        result = read_config(changed_config(rng.choice(good), rng))
        return inspected(result) if rng.random() < 0.1 else "read"

    yield attempt


@contextmanager
def arrays(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of array files: .npy, .npz, .csv, .json and .h."""
    sizes = ("--T", "4", "--D", "2", "--M", "3", "--K", "2", "--no-keras")
    for ending in (".npz", ".csv", ".json"):
        cli.main(["trace", *sizes, "-o", str(folder / f"good{ending}")])
    for ending in (".npz", ".json", ".h"):
        cli.main(["trace", *sizes, "--golden", str(folder / f"golden{ending}")])
    x = np.random.default_rng(0).standard_normal((2, 4, 3))
    np.save(folder / "good.npy", x)
    np.savez_compressed(folder / "packed.npz", x=x, h=x)
    np.savetxt(folder / "x.csv", x[0], delimiter=",")
    good = [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir())]

    def attempt(rng: random.Random) -> str:
        ending, data = rng.choice(good)
        path = folder / f"changed{ending}"
        if ending == ".json" and rng.random() < 0.5:
            path.write_text(json.dumps(changed_config(data.decode(), rng)), "utf-8")
        elif ending in (".json", ".csv", ".h") and rng.random() < 0.8:
            path.write_text(edited(data.decode(), rng), "utf-8", errors="replace")
        else:
            path.write_bytes(flipped(data, rng))
        if rng.random() < 0.5:
            read_input(path)
        else:
            read_port(path)
        return "read"

    yield attempt


def state_dicts() -> Iterator[foreign.Arrays]:
    """Yield weights of a module of each cell, some with two layers, and of a dense layer."""
    for cell, layers, both in (("simple", 2, True), ("lstm", 2, False), ("gru", 1, True)):
        weights = foreign.state_dict(cell, layers=layers, both=both, prefix="encoder.")
        yield weights | {"fc.weight": np.ones((2, 5 * (1 + both)), "float32")}


@contextmanager
def safetensors(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of .safetensors files: headers and bytes change."""
    good = [foreign.safetensors(weights) for weights in state_dicts()]

    def attempt(rng: random.Random) -> str:
        path = folder / rng.choice(("changed.safetensors", "changed"))
        path.write_bytes(changed_safetensors(rng.choice(good), rng))
        return used(path, rng)

    yield attempt


@contextmanager
def torch(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of .pt files: pickles and other members change, and bytes of the archive."""
    good = []
    for number, weights in enumerate(state_dicts()):
        data = foreign.torch_file(weights, nested="model" * (number % 2))
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            good.append({name: archive.read(name) for name in archive.namelist()})

    def attempt(rng: random.Random) -> str:
        path = folder / rng.choice((*["changed.pt"] * 9, "changed"))
        path.write_bytes(changed_archive(rng.choice(good), rng))
        return used(path, rng)

    yield attempt


def whole_graph(cell: str, kind: str) -> bytes:
    """Return a graph as exporters write it, from x to y."""
    arrays = foreign.onnx_weights(cell) | {"K": np.ones((2, 5), "float32"), "b": np.ones(2, "f4")}
    arrays |= {"axes": np.array([1]), "last": np.asarray(-1), "size": np.array([1, 1, 5])}
    node = foreign.onnx_node
    nodes = [
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("Transpose", ["x"], ["xt"], perm=[1, 0, 2]),
        node(kind, ["xt", "W", "R", "B", "", "zeros"], ["Y", "h"], hidden_size=5),
        node("Squeeze", ["Y", "axes"], ["s"]),
        node("Transpose", ["s"], ["t"], perm=[1, 0, 2]),
        node("Gather", ["t", "last"], ["g"], axis=1),
        node("Gemm", ["g", "K", "b"], ["z"], transB=1),
        node("Softmax", ["z"], ["y"], axis=-1),
    ]
    return foreign.onnx_file(nodes, arrays, inputs=("x",), outputs=("y",))


@contextmanager
def onnx(folder: Path) -> Iterator[Attempt]:
    """Yield a reader of ONNX files: bytes change, and parts of messages move."""
    good = []
    for cell, kind in (("simple", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")):
        weights = foreign.onnx_weights(cell, dirs=2)
        weights |= {"axes": np.array([0]), "W0": weights["W"][0], "W1": weights["W"][1]}
        nodes = [
            foreign.onnx_node("Unsqueeze", ["W0", "axes"], ["a"]),
            foreign.onnx_node("Slice", ["W1"], ["s"], starts=[0], ends=[99], axes=[0]),
            foreign.onnx_node("Unsqueeze", ["s"], ["b"], axes=[0]),
            foreign.onnx_node("Concat", ["a", "b"], ["V"], axis=0),
            foreign.onnx_node(
                kind,
                ["X", "V", "R", "B"],
                ["Y"],
                direction="bidirectional",
                hidden_size=5,
                clip=0.5,
                activations=["HardSigmoid", "Tanh", "Tanh"] * 2,
                activation_alpha=[0.25],
            ),
        ]
        good.append(foreign.onnx_file(nodes, weights))
        good.append(whole_graph(cell, kind))
    good += [exported_graph(of_two_layers(), ("y", "hn"), shape=("n", 5, 3))]
    good += [exported_graph(nodes) for nodes in (of_tensorflow(), of_flat_dense())]

    def attempt(rng: random.Random) -> str:
        data = bytearray(rng.choice(good))
        if rng.random() < 0.3:  # a part comes again somewhere else
            start, end = sorted(rng.randrange(len(data)) for _ in range(2))
            place = rng.randrange(len(data))
            data[place:place] = data[start : min(end, start + 200)]
        path = folder / "changed.onnx"
        path.write_bytes(flipped(bytes(data), rng))
        return used(path, rng)

    yield attempt


def changed_safetensors(data: bytes, rng: random.Random) -> bytes:
    """Return a .safetensors file whose header or bytes are changed."""
    if rng.random() < 0.2:
        return flipped(data, rng)
    length = int.from_bytes(data[:8], "little")
    text, rest = data[8 : 8 + length].decode(), data[8 + length :]
    is_json = rng.random() < 0.7
    text = json.dumps(changed_config(text, rng)) if is_json else edited(text, rng)
    raw = text.encode("utf-8", "replace")
    return len(raw).to_bytes(8, "little") + raw + rest


def changed_archive(members: Mapping[str, bytes], rng: random.Random) -> bytes:
    """Return a .pt file of which a member, mostly the pickle, or the archive is changed."""
    name = rng.choice([*members, *["archive/data.pkl"] * 40])
    whole, changed = rng.random() < 0.2, {name: flipped(members[name], rng)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, part in {**members, **({} if whole else changed)}.items():
            archive.writestr(name, part)
    return flipped(out.getvalue(), rng) if whole else out.getvalue()


def used(path: Path, rng: random.Random) -> str:
    """Open a weight file and check it; sometimes also use it in each command, if that can be."""
    with open_model(path) as opened:
        agrees = opened.check(opened.network).agrees
    if rng.random() < SHARE:
        inspected(rnnshapes.inspect(path))
    if rng.random() < SHARE:
        with suppress(RnnshapesError):
            rnnshapes.trace(path, T=2, keras=False)
    if rng.random() < SHARE:
        with suppress(RnnshapesError):
            inspected(rnnshapes.verify(against=path, **NETWORK))
    return "read" if agrees else "contradicts itself"


KINDS = {kind.__name__: kind for kind in (files, configs, arrays, safetensors, torch, onnx)}


def main() -> int:
    """Run, and print what happened."""
    if sys.argv[1:2] == [] or sys.argv[1] not in KINDS:
        sys.exit(f"give one of {', '.join(KINDS)}")
    numbers = [int(number) for number in sys.argv[2:]]
    count, first = numbers[0] if numbers else 1000, numbers[1] if numbers[1:] else 0
    counts: Counter[str] = Counter()
    bad, slowest = 0, 0.0
    signal.signal(signal.SIGALRM, _interrupt)
    with (
        tempfile.TemporaryDirectory() as name,
        forked_readers(),
        KINDS[sys.argv[1]](Path(name)) as attempt,
    ):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for seed in range(first, first + count):
            rng = random.Random(seed)  # noqa: S311 - the same change for the same seed
            start, problem = time.process_time(), ""
            signal.setitimer(signal.ITIMER_REAL, 20 * SECONDS)
            try:
                counts[attempt(rng)] += 1
            except RnnshapesError as error:
                counts["refused"] += 1
                problem = "two lines" if "\n" in str(error) else ""
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            signal.setitimer(signal.ITIMER_REAL, 0)
            took = time.process_time() - start
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if most - peak > MEBIBYTES * 1024:
                problem, peak = problem or f"{(most - peak) / 1024:.0f} MiB", most
            if took > SECONDS:
                problem = problem or f"{took:.1f} s"
            slowest, bad = max(slowest, took), bad + bool(problem)
            if problem:
                print(f"seed {seed}: {problem}", flush=True)
            if (seed + 1) % 10_000 == 0:
                print(seed + 1, dict(counts), f"slowest {slowest:.2f} s", flush=True)
    print(f"{count} {sys.argv[1]}: {dict(counts)}, {bad} bad, slowest {slowest:.2f} s")
    return int(bad > 0)


def _interrupt(number: int, frame: object) -> None:
    raise TimeoutError("it does not end")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(main())
