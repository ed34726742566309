"""The process that reads saved files: what it lists, the numbers it sends, what it refuses."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from rnnshapes.errors import InputError
from rnnshapes.load.saved import hdf5_child, spawn
from rnnshapes.load.saved.hdf5_client import Hdf5Client, StoredWeight
from tests.helpers.foreign import written

resource = pytest.importorskip("resource")
Maker = Callable[[h5py.File], object]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[int, int]]]:
    """Record the limits that the process sets."""
    found: dict[int, list[tuple[int, int]]] = {}
    monkeypatch.setattr(
        resource, "setrlimit", lambda which, pair: found.setdefault(which, []).append(pair)
    )
    return found


@pytest.fixture
def served(limits: object, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bytes]]:
    """Return a function that serves a file in this process, and returns its frames."""
    opened, fdopen = [], os.fdopen  # the process ends without closing them

    def keep(*arguments: Any) -> Any:
        opened.append(fdopen(*arguments))
        return opened[-1]

    monkeypatch.setattr(os, "fdopen", keep)

    def serve(path: Path, requests: str = "") -> list[bytes]:
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdin", io.StringIO(requests))
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
        hdf5_child.main(str(path))
        while opened:
            opened.pop().close()
        data, frames = out.getvalue(), []
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            assert len(data) >= 8 + size
            frames.append(data[8 : 8 + size])
            data = data[8 + size :]
        return frames

    return serve


def hdf5(make: Maker, **options: Any) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w", **options) as file:
        make(file)
    return stream.getvalue()


def archive(members: dict[str, bytes], packed: tuple[str, ...] = ()) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members.items():
            method = zipfile.ZIP_DEFLATED if name in packed else zipfile.ZIP_STORED
            file.writestr(name, data, method)
    return stream.getvalue()


ARRAYS: dict[str, Any] = {
    "half": np.array([[0.5, -2]], "f2"),
    "single": np.linspace(-1, 1, 6, dtype="f4").reshape(2, 3),
    "double": np.array(1 / 3),
    "swapped": np.arange(4, dtype=">f4"),
    "long": np.array([-(2**40), 7]),
    "byte": np.array([[[255]]], "u1"),
    "none": np.zeros((0, 3), "f4"),
    "truth": np.array([True, False]),
}


def all_kinds(file: h5py.File) -> None:
    file.attrs["layer_names"] = np.array([b"a", "ä".encode()])
    file.attrs["keras_version"], file.attrs["backend"] = "2.1", b"own"
    file.attrs["other"], file.attrs["name"] = "not of Keras", np.array([1, 2])
    group = file.create_group("g/deep")
    group.attrs["weight_names0"], group.attrs["weight_names2"] = ["k", "r"], ["b"]
    group.attrs["model_config"], group.attrs["name"] = "{}", "own"
    group["type"], file["no text"] = np.dtype("f8"), np.arange(3)
    other = file.create_group("without")
    other.attrs["weight_names"], other.attrs["layer_names"] = np.zeros(0, "S1"), "abc"
    for name, array in ARRAYS.items():
        group[name] = array
    group["upper"] = np.array([0x3F80, 0xC000], "u2").view("V2")
    group["upper"].attrs["dtype"] = "bfloat16"
    group["bytes"] = np.array([1], "u2").view("V2")
    group["complex"], group["text"] = np.array([1j]), "text"
    group["empty"] = h5py.Empty("f4")
    options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    group.create_dataset("packed", data=np.arange(12.0).reshape(3, 4), **options)
    group.create_dataset("quick", data=np.arange(12.0), compression="lzf")
    group.create_dataset("plugin", data=np.arange(12.0), scaleoffset=2)
    group.create_dataset("bomb", (2**21,), "f4", chunks=(2**15,), compression="gzip")
    group.create_dataset("chunk", data=np.ones(1), chunks=(2**20,), maxshape=(None,))
    file["at the top"] = ARRAYS["single"]


#: Shape, dtype, whether the numbers are real, and whether they can be read.
DESCRIBED = {
    "g/deep/half": ([1, 2], "float16", True, True),
    "g/deep/single": ([2, 3], "float32", True, True),
    "g/deep/double": ([], "float64", True, True),
    "g/deep/swapped": ([4], ">f4", True, True),
    "g/deep/long": ([2], "int64", True, True),
    "g/deep/byte": ([1, 1, 1], "uint8", True, True),
    "g/deep/none": ([0, 3], "float32", True, True),
    "g/deep/truth": ([2], "bool", True, True),
    "g/deep/upper": ([2], "bfloat16", True, True),
    "g/deep/bytes": ([1], "|V2", False, False),
    "g/deep/complex": ([1], "complex128", False, False),
    "g/deep/bomb": ([2**21], "float32", True, False),
    "g/deep/chunk": ([1], "float64", True, False),
    "g/deep/text": ([], "object", False, False),
    "g/deep/empty": (None, "float32", True, True),
    "g/deep/packed": ([3, 4], "float64", True, True),
    "g/deep/quick": ([12], "float64", True, True),
    "g/deep/plugin": ([12], "float64", True, False),
    "at the top": ([2, 3], "float32", True, True),
    "no text": ([3], "int64", True, True),
}


@pytest.mark.parametrize("block", [0, 512, 2048])
def test_contents_of_hdf5_are_listed(block: int, served: Any, tmp_path: Path) -> None:
    data = hdf5(all_kinds, **({"userblock_size": block} if block else {}))
    (frame,) = served(written(tmp_path / "m.h5", data))
    found = json.loads(frame)
    assert found["kind"] == "hdf5"
    assert found["groups"] == {
        "": {"layer_names": ["a", "ä"], "keras_version": "2.1", "backend": "own"},
        "g/deep": {"weight_names": ["k", "r", "b"], "model_config": "{}", "name": "own"},
        "without": {"weight_names": []},
    }
    datasets = {
        "/".join(d["path"]): (d["shape"], d["dtype"], d["real"], d["readable"])
        for d in found["datasets"]
    }
    assert datasets == DESCRIBED


def test_requested_numbers_are_sent(served: Any, limits: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5", hdf5(all_kinds))
    names = ["/".join(d["path"]) for d in json.loads(served(path)[0])["datasets"]]
    arrays = {f"g/deep/{name}": array for name, array in ARRAYS.items()}
    arrays["g/deep/packed"] = np.arange(12.0)
    arrays["g/deep/upper"] = np.array([0x3F80, 0xC000], "u2")
    limits.clear()
    frames = served(path, "".join(f"{names.index(name)}\n" for name in reversed(arrays)))
    for frame, array in zip(frames[1:], reversed(arrays.values()), strict=True):
        assert frame == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert len(limits[resource.RLIMIT_CPU]) == 1 + len(arrays)
    assert served(path, "0\n99\n0\n") == frames[:1] + served(path, "0\n")[1:]
    assert len(served(path, "x\n0\n")) == 1


def test_large_dataset_is_sent_in_parts(
    served: Any, limits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5_child, "MIB", 1)
    array = np.random.default_rng(0).integers(0, 255, (5, 7), "u1")
    path = written(tmp_path / "m.h5", hdf5(lambda file: file.update({"a": array, "b": array[0]})))
    parts, read = [], h5py.Dataset.__getitem__

    def read_part(self: h5py.Dataset, part: Any) -> Any:
        parts.append(part)
        return read(self, part)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read_part)
    frames = served(path, "0\n1\n")
    assert frames[1:] == [array.tobytes(), array[0].tobytes()]
    assert len(parts) > 2
    assert all(isinstance(part, slice) for part in parts)
    cpu, memory = limits[resource.RLIMIT_CPU], limits[resource.RLIMIT_AS]
    assert cpu[1][0] > cpu[0][0]
    assert memory[1][0] > memory[0][0]
    assert limits[resource.RLIMIT_CORE] == [(0, 0)] * 3


CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
#: An array that takes more than is read of a file at once.
LARGE = np.random.default_rng(1).random(30_000, "f4")
MEMBERS = {
    METADATA: b'{"v": 1}',
    CONFIG: '{"ä": 1}'.encode(),
    WEIGHTS: hdf5(lambda file: file.update({"a/0": ARRAYS["single"], "b": LARGE})),
    "assets/": b"",
}


@pytest.mark.parametrize("packed", [(), (WEIGHTS,), tuple(MEMBERS)], ids=["no", "one", "all"])
def test_contents_of_an_archive_are_listed(packed: Any, served: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "m.keras", archive(MEMBERS, packed))
    frames = served(path, "0\n1\n0\n")
    found = json.loads(frames[0])
    numbers = {"b": LARGE.tobytes(), "a/0": ARRAYS["single"].tobytes()}
    expected = [numbers["/".join(dataset["path"])] for dataset in found.pop("datasets")]
    assert frames[1:] == [*expected, expected[0]]
    assert found == {
        "kind": "keras",
        "weights": True,
        CONFIG: '{"ä": 1}',
        METADATA: '{"v": 1}',
        "groups": {},
    }


def test_archive_may_have_a_config_alone(served: Any, tmp_path: Path) -> None:
    (frame,) = served(written(tmp_path / "m.keras", archive({CONFIG: b"{}"})), "0\n")
    found = json.loads(frame)
    assert (found["kind"], found["weights"], found[METADATA]) == ("keras", False, None)
    assert (found["groups"], found["datasets"]) == ({}, [])


def changed(member: str, field: int, value: bytes, **more: bytes) -> bytes:
    """Return an archive with other bytes in the entry of a member in its directory."""
    data = bytearray(archive({**MEMBERS, **more}))
    start = data.rindex(member.encode()) - 46 + field
    data[start : start + len(value)] = value
    return bytes(data)


def with_extra(name: str, size: int) -> bytes:
    """Return an archive in which a member's own header announces so many more bytes."""
    data = bytearray(archive(MEMBERS))
    start = data.index(name.encode()) - 2
    data[start : start + 2] = struct.pack("<H", size)
    return bytes(data)


def size_of(number: int) -> bytes:
    return struct.pack("<I", number)


def twice(file: h5py.File) -> None:
    file["a/b"] = ARRAYS["single"]
    file["c"] = file["a"]


def virtual(file: h5py.File) -> None:
    file["a"] = ARRAYS["half"]
    layout = h5py.VirtualLayout((1, 2), "f2")
    layout[:] = h5py.VirtualSource(file["a"])
    file.create_virtual_dataset("b", layout)


def outside(file: h5py.File) -> None:
    file.create_dataset("own", (2,), "f4", external=[("other", 0, 8)])


def link(kind: str) -> Maker:
    links = {"soft": h5py.SoftLink("/x"), "external": h5py.ExternalLink("other.h5", "/x")}
    return lambda file: file.update({"a/b": links[kind]})


#: Files, and what the reason for refusing them has to mention.
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"not a model", "no file of"),
    "magic in the middle": (bytes(1000) + hdf5_child.HDF5_MAGIC, "no file of"),
    "cut": (hdf5(all_kinds)[:600], "damaged"),
    "magic alone": (hdf5_child.HDF5_MAGIC, "damaged"),
    "no archive": (b"PK\3\4" + bytes(40), "zip"),
    "no config": (archive({"other": b""}), CONFIG),
    "shards": (archive({"model.weights.json": b""}), "several files"),
    "no text": (archive({CONFIG: b"\xff"}), CONFIG),
    "encrypted": (changed(CONFIG, 8, b"\1"), CONFIG),
    "two of a name": (changed("asset1/", 46, b"assets/", **{"asset1/": b""}), "'assets/'"),
    "symbolic link": (changed(CONFIG, 38, size_of((stat.S_IFLNK | 0o777) << 16)), CONFIG),
    "own compression": (changed(CONFIG, 10, b"\x0c"), CONFIG),
    "longer": (changed(CONFIG, 24, size_of(500)), CONFIG),
    "weights longer": (changed(WEIGHTS, 24, size_of(10**6)), WEIGHTS),
    "both longer": (changed(WEIGHTS, 20, size_of(10**8) * 2), WEIGHTS),
    "overlapping": (changed(CONFIG, 42, size_of(0)), "overlaps"),
    "bomb": (archive({CONFIG: b" " * 10**6}, (CONFIG,)), CONFIG),
    "another own name": (archive(MEMBERS).replace(WEIGHTS.encode(), b"x" * 16, 1), "damaged"),
    "broken weights": (archive({**MEMBERS, WEIGHTS: b"x" * 600}), "damaged"),
    "packed broken": (archive({**MEMBERS, WEIGHTS: b"xyz" * 9}, (WEIGHTS,)), "damaged"),
    "held twice": (hdf5(twice), "twice"),
    "soft link": (hdf5(link("soft")), "'a/b'"),
    "external link": (hdf5(link("external")), "'a/b'"),
    "virtual": (hdf5(virtual), "'b'"),
    "numbers outside": (hdf5(outside), "'own'"),
    "deep": (hdf5(lambda file: file.create_group("/".join("a" * 100))), "deeper"),
    "wide": (hdf5(lambda file: file.attrs.update({str(n): 1 for n in range(1200)})), "attributes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_file_has_a_reason(name: str, served: Any, tmp_path: Path) -> None:
    data, said = REFUSED[name]
    (frame,) = served(written(tmp_path / "m", data), "0\n")
    found = json.loads(frame)
    assert list(found) == ["error"]
    assert said in found["error"]
    for fact in ("it is damaged", "several files"):
        assert (fact in found["error"]) is (said in fact)


def test_named_pipe_is_not_read(served: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m")
    (frame,) = served(tmp_path / "m", "0\n")
    assert "regular file" in json.loads(frame)["error"]


def test_weights_beyond_the_end_are_refused(served: Any, tmp_path: Path) -> None:
    """The newer versions of zipfile see it themselves."""
    (frame,) = served(written(tmp_path / "m", with_extra(WEIGHTS, 1000)), "0\n")
    assert WEIGHTS in json.loads(frame)["error"]


def test_other_members_may_be_anything(served: Any, tmp_path: Path) -> None:
    members = {**MEMBERS, "other": b" " * 10**6}
    data = bytearray(archive(members, ("other",)))
    data[data.rindex(b"other") - 46 + 10] = 12
    (frame,) = served(written(tmp_path / "m.keras", bytes(data)))
    assert json.loads(frame)["kind"] == "keras"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("unable to allocate"), "memory"),
        (RuntimeError("a  b\nc"), "damaged (a b c)"),
        (RuntimeError(), "damaged (RuntimeError)"),
        (ImportError("no h5py"), "imported (no h5py)"),
    ],
    ids=["memory", "allocation", "text", "no text", "import"],
)
def test_failure_of_a_library_is_one_line(
    error: Exception, said: str, served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise error

    path = written(tmp_path / "m.h5", hdf5(all_kinds))
    monkeypatch.setattr(h5py, "File", fail)
    (frame,) = served(path, "0\n")
    assert said in json.loads(frame)["error"]


def small(file: h5py.File) -> None:
    file["a/b/c"] = ARRAYS["half"]
    file["a"].attrs["weight_names"] = np.array([b"12", b"345"])
    file["a"].attrs["backend"] = "own"


def names(file: h5py.File) -> None:
    """Write six texts of one character, each of which takes 50 in the file."""
    file.attrs["weight_names"] = np.array([b"a"] * 6, "S50").reshape(2, 3)


@pytest.mark.parametrize(
    ("make", "limit", "most"),
    [
        (small, "MOST_OBJECTS", 3),
        (small, "MOST_GROUP_DEPTH", 3),
        (small, "MOST_TEXT", 19),
        (small, "MOST_MEMBERS", 2),
        (names, "MOST_OBJECTS", 6),
        (names, "MOST_TEXT", 6 * 50),
    ],
)
def test_contents_have_a_largest_size(
    make: Maker,
    limit: str,
    most: int,
    served: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, found = written(tmp_path / "m.h5", hdf5(make)), []
    for number in (most - 1, most, most + 100):
        monkeypatch.setattr(hdf5_child, limit, number)
        found.append("error" in json.loads(served(path)[0]))
    assert found == [True, False, False]


def test_no_limit_is_raised(served: Any, limits: Any, tmp_path: Path, monkeypatch: Any) -> None:
    path = written(tmp_path / "m.h5", hdf5(all_kinds))
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    used *= os.sysconf("SC_PAGE_SIZE")
    for hard, is_set in ((1, False), (resource.RLIM_INFINITY, True), (2**60, True)):
        limits.clear()
        monkeypatch.setattr(resource, "getrlimit", lambda which, hard=hard: (2**50, hard))
        served(path)
        for which in (resource.RLIMIT_CPU, resource.RLIMIT_AS):
            pairs = limits.get(which, [])
            assert [pair[1] for pair in pairs] == [hard] * is_set
            least = used if which == resource.RLIMIT_AS else 0
            assert all(least < pair[0] < 2**50 for pair in pairs)

    def unknown(*arguments: Any) -> None:
        raise OSError

    limits.clear()
    monkeypatch.setattr(Path, "read_text", unknown)
    (frame,) = served(path)
    assert json.loads(frame)["kind"] == "hdf5"
    assert resource.RLIMIT_AS not in limits


# --- The client -----------------------------------------------------------------------------------


def test_client_reads_what_it_lists(tmp_path: Path) -> None:
    path = written(tmp_path / "m.h5", hdf5(all_kinds))
    with closing(Hdf5Client(path)) as client:
        assert (client.kind, client.config, client.metadata) == ("hdf5", None, None)
        assert client.holds_weights
        assert client.groups["g/deep"]["weight_names"] == ["k", "r", "b"]
        datasets = {"/".join(each.path): each for each in client.datasets}
        described = {
            name: (list(d.shape), d.dtype, d.is_real, d.readable) for name, d in datasets.items()
        }
        assert described == {**DESCRIBED, "g/deep/empty": ([], "float32", True, False)}
        names = [f"g/deep/{name}" for name in ARRAYS]
        for found, array in zip(
            client.values([datasets[name] for name in names]), ARRAYS.values(), strict=True
        ):
            assert (found.shape, found.dtype.kind) == (array.shape, array.dtype.kind)
            np.testing.assert_array_equal(found, array)
        (upper,) = client.values([datasets["g/deep/upper"]])
        np.testing.assert_array_equal(upper, np.array([1, -2], "f4"))
        pair = (datasets["g/deep/single"], datasets["at the top"])
        plain = StoredWeight("w", (2, 3), pair[:1]).values(client)
        summed = StoredWeight("w", (2, 3), pair, lambda both: both[0] + both[1]).values(client)
        np.testing.assert_array_equal(2 * plain, summed)
        for name in ("empty", "plugin", "complex"):
            with pytest.raises(InputError, match=name):
                client.values([datasets[f"g/deep/{name}"]])
    with pytest.raises((InputError, ValueError)):
        client.values([datasets["at the top"]])


def test_client_names_a_bad_file(tmp_path: Path) -> None:
    path = written(tmp_path / "bad.keras", b"not a model")
    with pytest.raises(InputError, match=r"bad\.keras"):
        Hdf5Client(path)
    with pytest.raises(InputError):
        Hdf5Client(tmp_path)


class FakeProcess:
    """A process that has already written these bytes."""

    def __init__(self, data: bytes) -> None:
        self.stdin, self.stdout = io.BytesIO(), io.BytesIO(data)
        self.ended = 0

    def kill(self) -> None:
        self.ended += 1

    def wait(self) -> None:
        assert self.ended


def framed(data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(data) if size is None else size) + data


LISTED = {
    "kind": "hdf5",
    "groups": {"a\x1b": {"name": "x\x1b", "model_config": "{}\x1b"}},
    "datasets": [
        {"path": ["a\x1b", "0"], "shape": [2], "dtype": "float32", "real": True, "readable": True}
    ],
}
NUMBERS = np.array([1, -2], "<f4").tobytes()


@pytest.fixture
def client_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that opens a client of a process with these frames."""

    def open_one(*frames: bytes) -> tuple[Hdf5Client, FakeProcess]:
        process = FakeProcess(b"".join(frames))
        monkeypatch.setattr(spawn, "get_process", lambda path: process)
        try:
            return Hdf5Client(written(tmp_path / "m.h5", b"x")), process
        except InputError:
            assert process.ended == 1
            assert process.stdout.closed
            raise

    return open_one


def test_client_asks_for_numbers(client_of: Any) -> None:
    contents = framed(json.dumps(LISTED).encode())
    client, process = client_of(contents, framed(NUMBERS), framed(NUMBERS))
    (dataset,) = client.datasets
    assert dataset.path == ("a\\x1b", "0")
    assert dict(client.groups) == {"a\\x1b": {"name": "x\\x1b", "model_config": "{}\x1b"}}
    first, second = client.values([dataset, dataset])
    np.testing.assert_array_equal(first, np.array([1, -2], "f4"))
    np.testing.assert_array_equal(first, second)
    assert process.stdin.getvalue() == b"0\n0\n"
    with pytest.raises(InputError, match=r"m\.h5"):
        client.values([dataset])
    client.close()
    assert process.ended == 1
    assert process.stdin.closed


def test_no_watchdog_is_left_behind(client_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, function: Any) -> None:
            assert seconds > 0
            events.append(function.__name__)

        def start(self) -> None:
            events.append(f"start, {self.daemon}")

        def cancel(self) -> None:
            events.append("cancel")

    monkeypatch.setattr(threading, "Timer", Timer)
    client, _ = client_of(framed(json.dumps(LISTED).encode()), framed(NUMBERS))
    client.values(client.datasets)
    assert events == ["kill", "start, True", "cancel"] * 2
    with pytest.raises(InputError):
        client.values(client.datasets)
    assert events[-1] == "cancel"


@pytest.mark.parametrize(
    "frame",
    [
        framed(NUMBERS + NUMBERS),
        framed(NUMBERS[:4]),
        framed(NUMBERS[:4], 8),
        framed(NUMBERS, 2**63)[:12],
        framed(NUMBERS)[:7],
    ],
    ids=["longer", "shorter", "cut", "huge", "no size"],
)
def test_wrong_frame_of_numbers_is_refused(frame: bytes, client_of: Any) -> None:
    client, _ = client_of(framed(json.dumps(LISTED).encode()), frame)
    with pytest.raises(InputError, match="damaged"):
        client.values(client.datasets)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "damaged"),
        (framed(b"{}")[:9], "damaged"),
        (framed(b"{}", 2**40), "damaged"),
        (framed(b"{"), "JSON"),
        (framed(b'{"error": "a reason"}'), "m.h5: a reason"),
    ],
    ids=["nothing", "cut", "huge", "no JSON", "error"],
)
def test_wrong_list_of_contents_is_refused(data: bytes, said: str, client_of: Any) -> None:
    with pytest.raises(InputError, match=said):
        client_of(data)
