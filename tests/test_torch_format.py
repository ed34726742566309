"""The parts of PyTorch's files: the archive, the pickle, the state_dict, and .safetensors."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnshapes.errors import InputError, UnsupportedError
from rnnshapes.load.foreign import safetensors, torch_file, zip_directory
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.foreign.model import open_foreign_file
from rnnshapes.load.foreign.modules import (
    MOST_OTHERS,
    ChainDense,
    ChainRecurrence,
    Contents,
    OtherModule,
    joined,
)
from rnnshapes.load.foreign.network import FileNetwork, build_network
from rnnshapes.load.foreign.state_dict import read_state_dict
from rnnshapes.load.foreign.tensors import Tensor
from rnnshapes.load.foreign.torch_pickle import Storage, StoredTensor, read_pickle
from tests.helpers import foreign
from tests.helpers.foreign import pickled_dict, pickled_tensor, state_dict, written

Array = np.ndarray
Opener = Callable[[bytes], ByteSource]

# --- Archives -------------------------------------------------------------------------------------

MEMBERS = {"a/data.pkl": b"12345", "a/data/0": b"", "ä": b"xyz" * 99}


def archive(members: dict[str, bytes], comment: bytes = b"", method: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        file.comment = comment
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("comment", [b"", b"a comment", b"PK", b"c" * 65_535])
def test_members_of_an_archive_are_listed(comment: bytes, source_of: Opener) -> None:
    source = source_of(archive(MEMBERS, comment))
    found = zip_directory.read_directory(source)
    assert list(found) == list(MEMBERS)
    for name, data in MEMBERS.items():
        assert (found[name].size, found[name].is_plain) == (len(data), True)
        assert found[name].read(source, len(data)) == data
        if data:
            with pytest.raises(InputError, match="more than"):
                found[name].read(source, len(data) - 1)


def test_packed_members_are_not_read(source_of: Opener) -> None:
    source = source_of(archive(MEMBERS, method=zipfile.ZIP_DEFLATED))
    member = zip_directory.read_directory(source)["ä"]
    assert not member.is_plain
    with pytest.raises(InputError, match="packed"):
        member.read(source, 10**6)
    for place, value in ((8, 1), (10, 8)):  # its flags, and its method
        data = bytearray(archive(MEMBERS))
        data[data.index(b"PK\1\2") + place] |= value
        source = source_of(bytes(data))
        first, second, _ = zip_directory.read_directory(source).values()
        assert (first.is_plain, second.is_plain) == (False, True)


def changed(position: int, value: bytes, part: bytes = b"PK\1\2") -> bytes:
    data = bytearray(archive(MEMBERS))
    start = data.index(part) + position
    data[start : start + len(value)] = value
    return bytes(data)


LIST_SIZE = archive(MEMBERS).index(b"PK\5\6") - archive(MEMBERS).index(b"PK\1\2")
BROKEN_ARCHIVES = {
    "empty": b"",
    "no end": archive(MEMBERS)[:-22],
    "cut end": archive(MEMBERS)[:-1],
    "no entry": changed(0, b"PK\1\3"),
    "long name": changed(28, b"\xff\xff"),
    "cut entry": changed(12, bytes([LIST_SIZE - 3]), b"PK\5\6"),
    "long extra": changed(30, b"\xff\xff"),
    "more entries": changed(10, b"\4\0", b"PK\5\6"),
    "list beyond the file": changed(12, b"\xff\xff\xff\0", b"PK\5\6"),
    "no locator": changed(10, b"\xff\xff", b"PK\5\6"),
}


@pytest.mark.parametrize("name", BROKEN_ARCHIVES)
def test_broken_archive_is_refused(name: str, source_of: Opener) -> None:
    with pytest.raises(InputError):
        zip_directory.read_directory(source_of(BROKEN_ARCHIVES[name]))


@pytest.mark.parametrize("wrong", ["", "locator", "end"])
def test_numbers_of_large_archives_have_64_bits(wrong: str, source_of: Opener) -> None:
    data = archive(MEMBERS)
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    parts = {"end": b"PK\6\6", "locator": b"PK\6\7", "last": b"PK\5\6"}
    parts = {name: b"PK\0\0" if name == wrong else part for name, part in parts.items()}
    large = (
        data[:end]
        + parts["end"]
        + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 3, 3, end - start, start)
        + parts["locator"]
        + struct.pack("<IQI", 0, end, 1)
        + parts["last"]
        + struct.pack("<HHHHIIH", 0, 0, *[0xFFFF] * 2, *[0xFFFFFFFF] * 2, 0)
    )
    if wrong:
        with pytest.raises(InputError):
            zip_directory.read_directory(source_of(large))
    else:
        assert list(zip_directory.read_directory(source_of(large))) == list(MEMBERS)


def extra(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


LARGE, UNKNOWN = 2**33, 2**32 - 1
OTHER, TWO = extra(9, b"abc"), extra(1, struct.pack("<QQ", LARGE, LARGE + 1))


@pytest.mark.parametrize(
    ("numbers", "fields", "expected"),
    [
        ((5, 6, 7), TWO, (5, 6, 7)),
        ((UNKNOWN, UNKNOWN, 7), TWO, (LARGE, LARGE + 1, 7)),
        ((5, UNKNOWN, UNKNOWN), OTHER + TWO + OTHER, (5, LARGE, LARGE + 1)),
        ((5, 5, UNKNOWN), OTHER + OTHER + TWO, (5, 5, LARGE)),
        ((UNKNOWN, UNKNOWN, UNKNOWN), TWO, (LARGE, LARGE + 1, UNKNOWN)),
        ((5, 5, UNKNOWN), extra(1, b"") + TWO, (5, 5, UNKNOWN)),
        ((5, 5, UNKNOWN), OTHER, (5, 5, UNKNOWN)),
        ((5, 5, UNKNOWN), TWO[:-9], (5, 5, UNKNOWN)),
        ((5, 5, UNKNOWN), TWO[:3], (5, 5, UNKNOWN)),
    ],
)
def test_numbers_of_a_member_may_have_64_bits(
    numbers: tuple[int, ...], fields: bytes, expected: tuple[int, ...], source_of: Opener
) -> None:
    """Those that are unknown in 32 bits, in the first such field behind the name."""
    size, packed, header = numbers
    sizes = struct.pack("<IIHHH", packed, size, 1, len(fields), 0)
    entry = b"PK\1\2" + bytes(16) + sizes + bytes(8) + struct.pack("<I", header) + b"a" + fields
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), 0, 0)
    (member,) = zip_directory.read_directory(source_of(entry + end)).values()
    assert (member.name, member.size, member.header) == ("a", expected[0], expected[2])
    assert member.is_plain is (expected[0] == expected[1])


def test_header_of_a_member_is_checked(source_of: Opener) -> None:
    source = source_of(changed(0, b"PK\3\5", b"PK\3\4"))
    members = zip_directory.read_directory(source)
    with pytest.raises(InputError, match=r"data\.pkl"):
        members["a/data.pkl"].start(source)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_is_there_once(source_of: Opener) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for _ in range(2):
            file.writestr("a", b"1")
    with pytest.raises(InputError, match="twice"):
        zip_directory.read_directory(source_of(stream.getvalue()))


# --- Pickles --------------------------------------------------------------------------------------

VALUES = [
    {"a": 1, "b": [True, False, None], "c": (), 7: -5, "n": 2**31, "big": -(2**70)},
    OrderedDict(a=0.5, b={"c": [1, [2, [3]]]}),
    [(1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), 255, 256, 65_535, 65_536, "ä" * 300],
    [[], {}, "", 1e300, [{}] * 3],
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", VALUES, ids=["dict", "ordered", "tuples", "empty"])
def test_plain_values_are_read(value: Any, protocol: int) -> None:
    found = read_pickle(pickle.dumps(value, protocol))
    assert found == value
    shared = [1]
    assert read_pickle(b"\x8d\2" + bytes(7) + b"ab.") == "ab"
    assert read_pickle(pickle.dumps([shared, shared, (shared,)], protocol)) == [[1], [1], ([1],)]


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("Double", "float64"),
        ("Float", "float32"),
        ("Half", "float16"),
        ("BFloat16", "bfloat16"),
        ("Long", "int64"),
        ("Int", "int32"),
        ("Short", "int16"),
        ("Char", "int8"),
        ("Byte", "uint8"),
        ("Bool", "bool"),
    ],
)
def test_tensors_are_records(kind: str, dtype: str) -> None:
    array = np.ones((2, 3), "float32")
    data = pickled_tensor("7", array, offset=4, strides=(1, 2), length=20)
    data = data.replace(b"FloatStorage", f"{kind}Storage".encode())
    expected = StoredTensor(Storage(dtype, "7", 20), 4, (2, 3), (1, 2))
    assert read_pickle(data + b".") == expected
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + data + b"\x88N" + b"tR."
    assert read_pickle(parameter) == expected
    assert read_pickle(b"ctorch\nSize\n(K\2K\3t\x85R.") == (2, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"ctorch\nFloatStorage\n)R.", r"torch\.FloatStorage"),
        (b"cos\nsystem\n.", r"os\.system"),
        (b"K\1)R.", "a call"),
        (b"ctorch\nSize\nK\1R.", "a call"),
        (b"K\1K\2K\3s.", "items"),
        (b"K\1K\2a.", "items"),
        (b"K\1}b.", "state"),
        (b"}K\1b.", "state"),
        (b"K\1K\1K\1K\1(X\1\0\0\0xctorch\nFloatStorage\nX\1\0\0\0" + b"0NK\1tQ.", "outside"),
        (b"(X\7\0\0\0storageK\1X\1\0\0\0" + b"0NK\1tQ.", "outside"),
        (b"(X\7\0\0\0storagectorch\nFloatStorage\nK\0NK\1tQ.", "storage"),
        (b"K\1", "damaged"),
        (b"", "damaged"),
        (b"(.", "damaged"),
        (b"h\1.", "damaged"),
        (b"K\1K\2\x93.", "damaged"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n(K\1K\1K\1K\1tR.", "damaged"),
        (b"ctorch\nSize\n(K\2X\1\0\0\0at\x85R.", "damaged"),
        (b"ctorch\nSize\nK\2\x85R.", "damaged"),
        (b"ctorch._utils\n_rebuild_parameter\nK\1\x85R.", "_rebuild_parameter"),
        (b"ccollections\nOrderedDict\nK\1\x85R.", "OrderedDict"),
        (b"0.", "POP"),
    ],
)
def test_other_objects_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_pickle(data)


def torch_tensors(source: ByteSource) -> tuple[list[Tensor], str]:
    members = torch_file.torch_members(source)
    assert members is not None
    return torch_file.read_tensors(source, members)


def test_arrays_of_a_file_are_read(source_of: Opener) -> None:
    arrays = {
        "a.weight": np.arange(6, dtype="float32").reshape(2, 3),
        "b": np.arange(4, dtype="float64") / 3,
        "n": np.array(5),
        "half": np.array([[0.5, 2]], "float16"),
        "none": np.zeros((0, 2), "float32"),
    }
    for nested in ("", "model"):
        tensors, path = torch_tensors(source_of(foreign.torch_file(arrays, nested)))
        assert path == nested
        assert [tensor.name for tensor in tensors] == list(arrays)
        for tensor, array in zip(tensors, arrays.values(), strict=True):
            found = tensor.read()
            assert (tensor.dtype, tensor.shape) == (str(array.dtype), array.shape)
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)


def test_state_dict_under_two_names_is_read_once(source_of: Opener) -> None:
    array = np.random.default_rng(1).standard_normal((4, 3)).astype("float32")
    state = foreign.pickled_dict({"weight": foreign.pickled_tensor("0", array)})
    pickle = foreign.pickled_dict({"model": state + b"q\x01", "best": b"h\x01"})
    tensors, path = torch_tensors(source_of(foreign.torch_zip(pickle, {"0": array.tobytes()})))
    assert path == "model"
    assert [tensor.name for tensor in tensors] == ["weight"]
    np.testing.assert_array_equal(tensors[0].read(), array)


def test_numbers_may_be_big_endian(source_of: Opener) -> None:
    array = np.arange(6, dtype="float32").reshape(2, 3)
    data = foreign.torch_file({"a": array})
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            content = b"big\n" if name.endswith("byteorder") else content
            content = array.astype(">f4").tobytes() if name.endswith("data/0") else content
            new.writestr(name, content)
    (tensor,), _ = torch_tensors(source_of(stream.getvalue()))
    np.testing.assert_array_equal(tensor.read(), array)


def test_numbers_end_within_the_file(source_of: Opener) -> None:
    """By the list of members, though that of the tensor has enough of them."""
    data = bytearray(foreign.torch_file({"a": np.ones((2, 3), "f4")}))
    entry = data.rindex(b"PK\1\2", 0, data.rindex(b"/data/0"))
    for size, is_right in ((24, True), (len(data), False)):
        data[entry + 20 : entry + 28] = struct.pack("<II", size, size)
        if is_right:
            assert len(torch_tensors(source_of(bytes(data)))[0]) == 1
        else:
            with pytest.raises(InputError, match=r"\ba\b"):
                torch_tensors(source_of(bytes(data)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19." + bytes(9), "1.6"),
        (b"\x80\x02}.", "pickle"),
        (b"\x80\x05}.", "pickle"),
        (b"\x80\x06}.", ""),
        (bytes(257) + b"ustar", "0.4"),
        (bytes(256) + b"ustar", ""),
        (b"\x81\x02", ""),
        (b"", ""),
    ],
)
def test_older_formats_are_known(data: bytes, said: str, source_of: Opener) -> None:
    found = torch_file.older_format(source_of(data))
    assert said in found
    assert bool(found) is bool(said)


def test_archives_of_others_are_left(source_of: Opener) -> None:
    for members, is_torch in (
        ({"m/data.pkl": b""}, True),
        ({"m/archive_format": b""}, True),
        ({"m/data.json": b""}, True),
        ({"data.pkl": b""}, False),
        ({"m/other": b""}, False),
        ({"m/data.pkl": b"", "config.json": b""}, False),
    ):
        found = torch_file.torch_members(source_of(archive(members)))
        assert (found is not None) is is_torch, members


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["m/constants.pkl"], "TorchScript"),
        (["m/code/a.py"], "TorchScript"),
        (["m/archive_format"], "pt2"),
        (["n/version"], "several folders"),
        (["version"], "several folders"),
        (["m/code.py", "m/version", "m/extra/code/a"], ""),
    ],
)
def test_members_tell_programs_from_weights(
    more: list[str], reason: str, source_of: Opener
) -> None:
    """Every other member is left alone; so is a storage that is longer than its tensor."""
    pickled = pickled_dict({"w": pickled_tensor("0", np.ones((2, 3), "f4"), length=6)})
    members = {
        "m/data.pkl": b"\x80\2" + pickled + b".",
        "m/data/0": np.arange(7, dtype="f4").tobytes(),
    }
    data = archive({**members, **dict.fromkeys(more, b"")})
    if reason:
        with pytest.raises(InputError, match=reason):
            torch_tensors(source_of(data))
    else:
        (tensor,), _ = torch_tensors(source_of(data))
        np.testing.assert_array_equal(tensor.read(), np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("name", ["m/archive_format", "m/data.json"])
def test_program_without_a_pickle_is_refused(name: str, source_of: Opener) -> None:
    with pytest.raises(InputError, match="pt2"):
        torch_tensors(source_of(archive({name: b""})))


#: Changes of a tensor (2, 3) of a storage of six numbers, and whether it can be read.
TENSORS: list[tuple[dict[str, Any], list[list[float]] | None]] = [
    ({}, [[0, 1, 2], [3, 4, 5]]),
    ({"offset": 1}, None),
    ({"offset": 1, "shape": (1, 3)}, [[1, 2, 3]]),
    ({"offset": 3, "shape": (1, 3)}, [[3, 4, 5]]),
    ({"offset": 4, "shape": (1, 3)}, None),
    ({"strides": (1, 2)}, [[0, 2, 4], [1, 3, 5]]),
    ({"strides": (1, 1)}, [[0, 1, 2], [1, 2, 3]]),
    ({"strides": (0, 1)}, [[0, 1, 2], [0, 1, 2]]),
    ({"strides": (2, 2)}, None),
    ({"shape": (2, 4), "strides": (0, 1)}, None),
    ({"shape": (7, 1), "strides": (0, 1)}, None),
    ({"shape": (6, 1), "strides": (1, 9)}, [[0], [1], [2], [3], [4], [5]]),
    ({"shape": (0, 3), "offset": 9, "strides": (9, 9)}, []),
    ({"length": 7}, None),
    ({"length": 5}, None),
    ({"shape": (2, 3, 1)}, None),
]


@pytest.mark.parametrize(("changes", "expected"), TENSORS)
def test_tensor_lies_within_its_storage(
    changes: dict[str, Any], expected: list[list[float]] | None, source_of: Opener
) -> None:
    array = np.arange(6, dtype="f4").reshape(2, 3)
    parts = {"w": pickled_tensor("0", array, **changes), "m": pickled_tensor("0", array)}
    source = source_of(foreign.torch_zip(pickled_dict(parts), {"0": array.tobytes()}))
    if expected is None:
        with pytest.raises(InputError, match="w"):
            torch_tensors(source)
    else:
        found = torch_tensors(source)[0][0]
        assert found.read().tolist() == expected
        assert found.shape == changes.get("shape", (2, 3))


def checkpoint(**parts: bytes) -> bytes:
    array = np.ones((2, 3), "float32")
    return foreign.torch_zip(pickled_dict(parts), {"0": array.tobytes()})


MATRIX, VECTOR = (pickled_tensor("0", np.ones(shape, "float32")) for shape in ((2, 3), (6,)))
WEIGHTS, STATISTICS = pickled_dict({"w": MATRIX}), pickled_dict({"w": VECTOR})
DEEP = pickled_dict({"b": pickled_dict({"c": pickled_dict({"d": WEIGHTS})})})


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"w": MATRIX}, ""),
        ({"model": WEIGHTS}, "model"),
        ({"a": pickled_dict({"b": WEIGHTS})}, "a.b"),
        ({"a": pickled_dict({"b": pickled_dict({"c": WEIGHTS})})}, "a.b.c"),
        ({"model": WEIGHTS, "mean": STATISTICS}, "model"),
        ({"model": WEIGHTS, "state": pickled_dict({"0": WEIGHTS, "17": WEIGHTS})}, "model"),
        ({"model": WEIGHTS, "state": b"}(K\0" + WEIGHTS + b"u"}, "model"),
        ({"model": WEIGHTS, "vector": VECTOR}, "model"),
    ],
)
def test_weights_are_found_in_a_checkpoint(parts: Any, path: str, source_of: Opener) -> None:
    tensors, found = torch_tensors(source_of(checkpoint(**parts)))
    assert (found, [tensor.name for tensor in tensors]) == (path, ["w"])


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"mean": STATISTICS}, "no state_dict"),
        ({"a": WEIGHTS, "b": pickled_dict({"w": MATRIX})}, "a, b"),
        ({"w": MATRIX, "b": WEIGHTS}, "the top, b"),
        ({"a": DEEP}, "no state_dict"),
        ({"0": WEIGHTS}, "no state_dict"),
    ],
)
def test_other_checkpoints_are_refused(parts: Any, said: str, source_of: Opener) -> None:
    with pytest.raises(InputError, match=said):
        torch_tensors(source_of(checkpoint(**parts)))


# --- Modules of a state_dict ----------------------------------------------------------------------


def contents_of(arrays: dict[str, Array]) -> Contents:
    tensors = [Tensor(n, str(a.dtype), a.shape, lambda a=a: a) for n, a in arrays.items()]
    return read_state_dict(tensors, ".pt")


@pytest.mark.parametrize("cell", foreign.GATES)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_recurrent_module_is_known_by_its_shapes(cell: str, both: bool, layers: int) -> None:
    arrays = state_dict(cell, 3, 5, layers=layers, both=both, prefix="a.b.")
    shuffled = dict(sorted(arrays.items(), key=lambda item: item[0][::-1]))
    (module,) = contents_of(shuffled).modules
    assert (module.name, len(module.layers)) == ("a.b", layers)
    for number, layer in enumerate(module.layers):
        assert layer.features == (3 if number == 0 else 5 * (1 + both))
        assert layer.reverse == (False, True)[: 1 + both]
        assert len(layer.cells) == 1 + both
        assert layer.cell.units.value({}) == 5
        names = [f"{kind}_{end}_l{number}" for kind in ("weight", "bias") for end in ("ih", "hh")]
        expected = [name + way for way in ("", "_reverse")[: 1 + both] for name in names]
        assert [array.name for array in layer.arrays] == expected
        assert [array.direction for array in layer.arrays] == [0] * 4 + [1] * 4 * both
        assert bool(layer.notes) is (cell == "simple")


def test_each_direction_of_a_layer_is_named(tmp_path: Path) -> None:
    arrays = state_dict("gru", 3, 5, both=True, layers=2)
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    with open_foreign_file(path) as file:
        assert file is not None
        scans = [scan for node in file.network.recurrent for scan in node.scans]
    assert [name for name, _ in scans] == [
        f"gru.l{number}/{way}" for number in (0, 1) for way in ("forward", "backward")
    ]
    assert [direction.reverse for _, direction in scans] == [False, True] * 2
    assert len({direction.index for _, direction in scans}) == 4


def test_cell_alone_has_no_layers() -> None:
    arrays = {n.removesuffix("_l0"): a for n, a in state_dict("gru", prefix="cell.").items()}
    (module,) = contents_of(arrays).modules
    assert (module.name, len(module.layers)) == ("cell", 1)
    assert [array.name for array in module.layers[0].arrays] == [
        "weight_ih",
        "weight_hh",
        "bias_ih",
        "bias_hh",
    ]
    names = [contents_of(state_dict(cell)).modules[0].name for cell in foreign.GATES]
    assert names == ["rnn", "lstm", "gru"]


def test_projected_lstm_is_known() -> None:
    (module,) = contents_of(state_dict("lstm", 3, 5, proj_size=2, layers=2)).modules
    assert [layer.features for layer in module.layers] == [3, 2]
    assert [layer.cell.output.value({}) for layer in module.layers] == [2, 2]
    (module,) = contents_of(state_dict("lstm", 3, 5, bias=False)).modules
    assert not module.layers[0].cell.use_bias


WRONG: dict[str, dict[str, Any]] = {
    "no kernel": {"weight_ih_l0": None},
    "kernel of three axes": {"weight_ih_l0": (20, 3, 1)},
    "no features": {"weight_ih_l0": (20, 0)},
    "rows of two gates": {"weight_hh_l0": (10, 5), "weight_ih_l0": (10, 3)},
    "rows of no gates": {"weight_hh_l0": (21, 5)},
    "one bias": {"bias_ih_l0": None},
    "projection of a GRU": {"weight_hh_l0": (15, 2), "weight_hr_l0": (2, 5)},
    "second layer alone": dict.fromkeys(state_dict("lstm")) | {"weight_ih_l1": (20, 3)},
    "layers 0 and 2": {"weight_ih_l2": (20, 5), "weight_hh_l2": (20, 5)},
    "layer beside a cell": {"weight_ih": (20, 3), "weight_hh": (20, 5)},
    "no recurrent kernel": {"weight_hh_l0": None},
    "features of another layer": {"weight_ih_l1": (20, 4), "weight_hh_l1": (20, 5)},
    "layer of another cell": {"weight_ih_l1": (15, 5), "weight_hh_l1": (15, 5)},
    "directions of other sizes": {"weight_ih_l0_reverse": (16, 3), "weight_hh_l0_reverse": (16, 4)},
    "directions, one with biases": {
        "weight_ih_l0_reverse": (20, 3),
        "weight_hh_l0_reverse": (20, 5),
    },
    "half of the features": {
        **state_dict("lstm", both=True, layers=2),
        **dict.fromkeys(("weight_ih_l1", "weight_ih_l1_reverse"), (20, 5)),
    },
    "vector as projection": {"weight_hh_l0": (20, 2), "weight_hr_l0": (2,)},
    "no recurrent rows": {"weight_hh_l0": (0, 5)},
}


@pytest.mark.parametrize("name", WRONG)
def test_impossible_module_contradicts(name: str) -> None:
    arrays = state_dict("lstm", prefix="m.")
    for key, shape in WRONG[name].items():
        arrays.pop(f"m.{key}", None)
        if shape is not None:
            arrays[f"m.{key}"] = np.ones(getattr(shape, "shape", shape), "float32")
    found = contents_of({**arrays, **state_dict("gru", prefix="other.")})
    assert [module.name for module in found.modules] == ["other"]
    assert len(found.contradictions) == 1
    assert found.contradictions[0].startswith("m: ")
    (left,) = found.others
    assert len(left.tensors) == len(arrays)


@pytest.mark.parametrize(
    ("path", "arrays", "kind"),
    [
        ("fc", {"weight": (2, 5), "bias": (2,)}, "Linear"),
        ("fc", {"weight": (2, 5)}, "Linear"),
        ("fc", {"weight": (2, 5), "bias": (5,)}, "?"),
        ("word_Embeddings", {"weight": (9, 5)}, "Embedding"),
        ("emb", {"weight": (9, 5), "bias": (9,)}, "Linear"),
        ("norm", {"weight": (5,), "bias": (5,)}, "LayerNorm"),
        ("bn", {"weight": (5,), "running_mean": (5,), "running_var": (5,)}, "BatchNorm"),
        ("conv", {"weight": (2, 5, 3), "bias": (2,)}, "Conv1d"),
        ("conv", {"weight": (2, 5, 3, 3)}, "Conv2d"),
        ("own", {"scale": (5,)}, "?"),
    ],
)
def test_other_modules_are_guessed(path: str, arrays: dict[str, Any], kind: str) -> None:
    made = {f"{path}.{name}": np.ones(shape, "float32") for name, shape in arrays.items()}
    (module,) = contents_of(made).others
    assert (module.name, module.class_name) == (path, kind)
    roles = {f"{path}.{name}": name for name in arrays if name != "scale"}
    assert module.roles == roles


def test_arrays_at_the_top_have_a_name() -> None:
    (module,) = contents_of({"scale": np.ones(3, "f4")}).others
    assert module.name == "(top)"
    tensor = Tensor("a", "float32", (1,), lambda: np.ones(1))
    with pytest.raises(InputError):
        read_state_dict([tensor, tensor], ".pt")


def test_many_modules_are_joined_by_parent() -> None:
    def of(names: list[str]) -> list[OtherModule]:
        tensor = Tensor("t", "float32", (1,), lambda: np.ones(1))
        return [OtherModule(name, "Linear", (tensor,)) for name in names]

    few = of([f"a.b{n}" for n in range(MOST_OTHERS)])
    assert joined(few) == tuple(few)
    alike = of(["a", "a"])
    assert joined(alike) == tuple(alike)
    parents = [f"a.b{n}" for n in range(MOST_OTHERS - 1)]
    many = joined(of([*(f"{name}.c{m}" for name in parents for m in range(2)), "d"]))
    assert [module.name for module in many] == [*parents, "d"]
    assert {len(module.tensors) for module in many[:-1]} == {2}
    assert many[0].class_name == "2 modules"
    assert many[-1].class_name == "Linear"
    (all_,) = joined(of([f"a{n}" for n in range(MOST_OTHERS + 1)]))
    assert (bool(all_.name), len(all_.tensors)) == (True, MOST_OTHERS + 1)


# --- Modules as a network -------------------------------------------------------------------------


#: Ends of names and of symbols of both directions.
WAYS = (("", "→"), ("_reverse", "←"))


def nodes_of(found: FileNetwork) -> list[str]:
    """Return name, class, sources, shape and weights (name symbol shape) of each node."""
    lines = []
    for node, shapes in zip(found.network.nodes, found.network.node_shapes, strict=True):
        shape = " ".join(map(str, shapes.shapes[0])) if shapes.shapes else ""
        weights = found.weights.get(node.name, getattr(node.layer, "stored_weights", ()))
        texts = [f"{w.name} {w.key} {'·'.join(map(str, w.dims))}" for w in weights]
        sources = ",".join(str(tap.node) for tap in node.sources)
        lines.append(f"{node.name} {node.layer.type} {sources}|{shape}|{', '.join(texts)}")
        assert len(found.stored.get(node.name, weights)) == len(weights)
    return lines


def test_modules_of_a_file_share_inputs() -> None:
    arrays = {
        **state_dict("gru", 3, 5, both=True, layers=2, prefix="a.", bias=False),
        **state_dict("lstm", 3, 4, proj_size=2, prefix="b."),
        **state_dict("simple", 6, 7, prefix="x."),
    }
    others = {
        "fc.weight": (2, 5),
        "x1.weight": (2, 5),
        "bn.weight": (5,),
        "bn.running_mean": (5,),
        "bn.num_batches_tracked": (),
        "a.l0.weight": (3, 5),
        "a.l0.bias": (3,),
    }
    alone = build_network(contents_of(arrays))
    assert nodes_of(alone) == [
        "x1 InputLayer |N T D1|",
        "x2 InputLayer |N T D2|",
        "a.l0 Bidirectional 0|N T 2M1|weight_ih_l0 Wx1ᵀ→ 3M1·D1, weight_hh_l0 Wh1ᵀ→ 3M1·M1, "
        "weight_ih_l0_reverse Wx1ᵀ← 3M1·D1, weight_hh_l0_reverse Wh1ᵀ← 3M1·M1",
        "a.l1 Bidirectional 2|N T 2M2|weight_ih_l1 Wx2ᵀ→ 3M2·2M1, weight_hh_l1 Wh2ᵀ→ 3M2·M2, "
        "weight_ih_l1_reverse Wx2ᵀ← 3M2·2M1, weight_hh_l1_reverse Wh2ᵀ← 3M2·M2",
        "b LSTM 0|N T P|weight_ih_l0 Wx3ᵀ 4M3·D1, weight_hh_l0 Wh3ᵀ 4M3·P, bias_ih_l0 bx3 4M3, "
        "bias_hh_l0 bh3 4M3, weight_hr_l0 Wp3ᵀ P·M3",
        "x:2 RNN 1|N T M4|weight_ih_l0 Wx4ᵀ M4·D2, weight_hh_l0 Wh4ᵀ M4·M4, bias_ih_l0 bx4 M4, "
        "bias_hh_l0 bh4 M4",
    ]
    sizes = {"D1": 3, "D2": 6, "M1": 5, "M2": 5, "M3": 4, "P": 2, "M4": 7}
    assert alone.network.sizes == {"N": None, "T": None, **sizes}
    assert [tap.node for tap in alone.network.outputs] == [3, 4, 5]
    assert [module.name for module in alone.modules] == ["a", "b", "x:2"]
    assert dict(alone.orders) == {
        **dict.fromkeys(("a.l0", "a.l1"), ("r", "z", "h")),
        "b": ("i", "f", "c", "o"),
        "x:2": (),
    }
    assert not alone.is_whole
    with_others = {**arrays, **{name: np.ones(shape, "f4") for name, shape in others.items()}}
    whole = build_network(contents_of(with_others))
    assert nodes_of(whole)[:6] == nodes_of(alone)
    assert nodes_of(whole)[6:] == [
        "fc Linear ||weight fc.weight 2·5",
        "x1:2 Linear ||weight x1.weight 2·5",
        "bn BatchNorm ||weight bn.weight 5, running_mean bn.running_mean 5, "
        "num_batches_tracked bn.num_batches_tracked ",
        "a.l0:2 Linear ||weight a.l0.weight 3·5, bias a.l0.bias 3",
    ]
    assert whole.network.outputs == ()
    stored = [w for node in whole.network.nodes[6:] for w in node.layer.weights]
    assert [weight.learned for weight in stored] == [True] * 3 + [False] * 2 + [True] * 2


def float_tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, "float64", shape, lambda: np.ones(shape))


def test_chain_of_a_file_is_a_network() -> None:
    contents = contents_of(
        {
            **state_dict("lstm", 3, 5, prefix="r.", dtype="float64", bias=False),
            **state_dict("gru", 5, 4, both=True, prefix="s.", dtype="float64", bias=False),
        }
    )

    def of(*chain: Any, **more: Any) -> FileNetwork:
        return build_network(replace(contents, chain=chain, **more))

    kernel, bias = float_tensor("k", 6, 4), float_tensor("b", 6)
    first, second = ChainRecurrence(0), ChainRecurrence(1, False, "sum")
    dense = ChainDense("r", kernel, True, bias, "relu"), float_tensor("k2", 6, 2)
    found = of(first, second, dense[0], ChainDense("d", dense[1], False, None), steps=9)
    gru = [f"weight_ih_l0{w} Wx2ᵀ{a} 3M2·M1, weight_hh_l0{w} Wh2ᵀ{a} 3M2·M2" for w, a in WAYS]
    assert nodes_of(found) == [
        "x1 InputLayer |N T D1|",
        "r LSTM 0|N T M1|weight_ih_l0 Wx1ᵀ 4M1·D1, weight_hh_l0 Wh1ᵀ 4M1·M1",
        f"s Bidirectional 1|N M2|{', '.join(gru)}",
        "r:2 Dense 2|N K1|k W0ᵀ K1·M2, b b0 K1",
        "d Dense 3|N K2|k2 W1 K1·K2",
    ]
    sizes = {"N": None, "T": 9, "D1": 3, "M1": 5, "M2": 4, "K1": 6, "K2": 2}
    assert (found.network.sizes, found.network.dtype, found.is_whole) == (sizes, "float64", True)
    assert [tap.node for tap in found.network.outputs] == [4]
    assert [node.layer.activations for node in found.network.nodes[3:]] == [("relu",), ("linear",)]
    assert [node.layer.use_bias for node in found.network.nodes[3:]] == [True, False]
    assert found.network.groups == ("r", "s/forward", "s/backward", "r:2", "d")
    layouts = [array.layout for name in ("r:2", "d") for array in found.stored[name]]
    assert [(a.parts, a.transposed) for a in layouts] == [
        (("W",), True),
        (("b",), False),
        (("W",), False),
    ]
    joined_both = of(
        first, ChainRecurrence(1), ChainDense("d", float_tensor("k", 8, 2), False, None)
    )
    assert nodes_of(joined_both)[2:] == [
        f"s Bidirectional 1|N T 2M2|{', '.join(gru)}",
        "d Dense 2|N T K|k W0 2M2·K",
    ]
    other = OtherModule("o", "?", (bias, float_tensor("left", 2)))
    for chain, more in (
        ((second, first), {}),
        ((first, ChainDense("d", kernel, False, None)), {}),
        ((first, second, dense[0]), {"others": (other,)}),
    ):
        assert not of(*chain, **more).is_whole
        assert [node.name for node in of(*chain).network.recurrent][:2] == ["r", "s"]
    used = OtherModule("o", "?", (bias, kernel))
    assert of(first, second, dense[0], others=(used,)).is_whole


def test_arrays_beyond_a_thousand_are_counted() -> None:
    names = [f"{kind}.{number}" for kind in "ab" for number in range(500)]
    arrays = {name: np.ones((2, 3), "f4") for name in names}
    few = build_network(contents_of(arrays)).network
    assert [len(layer.weights) for layer in few.layers] == [500, 500]
    many = build_network(contents_of({**arrays, "b.last": np.ones(7, "f4")})).network
    assert [len(layer.weights) for layer in many.layers] == [1, 1]
    assert [layer.count.value({}) for layer in many.layers] == [3000, 3007]
    modules = {k: v for n in range(101) for k, v in state_dict("gru", prefix=f"m{n}.").items()}
    with pytest.raises(InputError, match="101"):
        build_network(contents_of(modules))
    del modules["m100.weight_ih_l0"]
    assert len(build_network(contents_of(modules)).network.recurrent) == 100


# --- .safetensors ---------------------------------------------------------------------------------


def test_written_safetensors_are_read(source_of: Opener) -> None:
    dtypes = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
    arrays = {f"a.{d}": (np.arange(6).reshape(2, 3) % 2).astype(d) for d in dtypes}
    arrays |= {"number": np.array(0.5, "f4"), "none": np.zeros((0, 3), "f4")}
    stream = io.BytesIO()
    safetensors.write_tensors(stream, arrays)
    source = source_of(stream.getvalue())
    assert safetensors.is_safetensors(source)
    tensors = safetensors.read_tensors(source)
    assert {tensor.name for tensor in tensors} == set(arrays)
    for tensor in tensors:
        array = arrays[tensor.name]
        assert (tensor.dtype, tensor.shape) == (str(array.dtype), array.shape)
        np.testing.assert_array_equal(tensor.read().reshape(array.shape), array)


def test_written_numbers_begin_at_eight_bytes() -> None:
    for count in range(1, 9):
        safetensors.write_tensors(stream := io.BytesIO(), {"a" * count: np.ones(2)})
        (length,) = struct.unpack("<Q", stream.getvalue()[:8])
        assert length % 8 == 0
        assert stream.getvalue()[8 + length :] == np.ones(2).tobytes()


def test_bfloat16_is_read_as_float32(source_of: Opener) -> None:
    header = {"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    (tensor,) = safetensors.read_tensors(
        source_of(struct.pack("<Q", len(text)) + text + b"\x80\x3f\x00\xc0")
    )
    assert tensor.dtype == "bfloat16"
    np.testing.assert_array_equal(tensor.read(), np.array([1, -2], "f4"))


def test_beginning_of_safetensors_is_known(tmp_path: Path) -> None:
    cases = [
        (struct.pack("<Q", 2) + b"{}", "a.bin", True),
        (struct.pack("<Q", 3) + b"{}", "a.bin", False),
        (struct.pack("<Q", 3) + b"{}", "a.safetensors", True),
        (struct.pack("<Q", 1) + b"{}", "a.bin", False),
        (struct.pack("<Q", 2) + b"[]", "a.safetensors", False),
        (struct.pack("<Q", 2), "a.safetensors", False),
    ]
    for data, name, expected in cases:
        source = ByteSource(written(tmp_path / name, data))
        assert safetensors.is_safetensors(source) is expected, data
        source.close()


# --- Recurrent layers with their numbers ----------------------------------------------------------

#: Rows of blocks in Keras's order, by the framework and the cell.
ORDERS: dict[tuple[str, str], tuple[tuple[str, ...], tuple[int, ...]]] = {
    ("PyTorch", "simple"): ((), (0,)),
    ("PyTorch", "lstm"): (("i", "f", "c", "o"), (0, 1, 2, 3)),
    ("PyTorch", "gru"): (("r", "z", "h"), (1, 0, 2)),
    ("ONNX", "simple"): ((), (0,)),
    ("ONNX", "lstm"): (("i", "o", "f", "c"), (0, 2, 3, 1)),
    ("ONNX", "gru"): (("z", "r", "h"), (0, 1, 2)),
}


def in_blocks(rows: Array, order: tuple[int, ...]) -> Array:
    """Return the transposed rows, with blocks in this order."""
    blocks = np.split(rows, len(order))
    return np.concatenate([blocks[number] for number in order]).T


@pytest.mark.parametrize(("framework", "cell"), ORDERS)
def test_recurrences_of_a_file_have_their_numbers(
    framework: str, cell: str, tmp_path: Path
) -> None:
    order, blocks = ORDERS[framework, cell]
    D, M = 3, 5
    if framework == "ONNX":
        onnx = foreign.onnx_weights(cell, D, M, dirs=2)
        kinds = {"simple": "RNN", "lstm": "LSTM", "gru": "GRU"}
        made = foreign.onnx_node(
            kinds[cell], ["x", "W", "R", "B"], ["Y"], hidden_size=M, direction="bidirectional"
        )
        data = foreign.onnx_file([made], onnx)
        rows = [
            {
                "Wx": onnx["W"][n],
                "Wh": onnx["R"][n],
                "bx": np.split(onnx["B"][n], 2)[0],
                "bh": np.split(onnx["B"][n], 2)[1],
            }
            for n in (0, 1)
        ]
    else:
        arrays = state_dict(cell, D, M, both=True)
        data = foreign.torch_file(arrays)
        names = {"Wx": "weight_ih", "Wh": "weight_hh", "bx": "bias_ih", "bh": "bias_hh"}
        rows = [
            {key: arrays[f"{name}_l0{way}"] for key, name in names.items()}
            for way in ("", "_reverse")
        ]
    path = written(tmp_path / ("m.onnx" if framework == "ONNX" else "m.pt"), data)
    with open_foreign_file(path) as file:
        assert file is not None
        (found,) = file.recurrences()
        weights = file.weights()
    assert (found.reverse, found.order) == ((False, True), order)
    assert (found.features, found.units, found.dtype) == (D, M, "float32")
    assert found.says_activation is (framework == "ONNX")
    assert found.cell is found.cells[0]
    for number, own in enumerate(rows):
        for key, array in own.items():
            expected = in_blocks(array, blocks)
            np.testing.assert_array_equal(found.parts[number][key], expected)
            if key in found.raw[number]:
                np.testing.assert_array_equal(found.raw[number][key], array)
    assert [*weights.values()][1].keys() == found.parts[1].keys()
    expected_names = ("W",) if framework == "ONNX" else ("weight_ih_l0_reverse",)
    assert found.names("Wx", direction=1) == expected_names
    both = found.names("Wx", "bh", direction=0)
    assert both == (("W", "B") if framework == "ONNX" else ("weight_ih_l0", "bias_hh_l0"))


def test_one_module_of_a_file_is_chosen(tmp_path: Path) -> None:
    arrays = {**state_dict("gru", 3, 5, layers=2, prefix="a."), **state_dict("lstm", prefix="b.")}
    head = {"fc.weight": np.ones((2, 5), "float32")}
    path = written(tmp_path / "m.pt", foreign.torch_file({**arrays, **head}))
    with open_foreign_file(path) as file:
        assert file is not None
        assert len(file.network.nodes) == 5
        for layer, names in (
            (None, ["a.l0", "a.l1", "b"]),
            ("a", ["a.l0", "a.l1"]),
            ("a.l1", ["a.l0", "a.l1"]),
            ("b", ["b"]),
            ("b/forward", ["b"]),
        ):
            part = file.recurrent(layer)
            assert [node.name for node in part.network.recurrent] == names
        with pytest.raises(InputError, match="'c'"):
            file.recurrent("c")
        with pytest.raises(UnsupportedError):
            file.require_computable(file.network, keras=True)
    path = written(tmp_path / "m.pt", foreign.torch_file({"fc.weight": np.ones((2, 5), "f4")}))
    with open_foreign_file(path) as file:
        assert file is not None
        with pytest.raises(InputError, match="no recurrent layer"):
            file.recurrent()


def test_files_of_others_are_left(tmp_path: Path) -> None:
    for name, data, is_foreign in (
        ("m.keras", archive({"config.json": b"{}", "m/data.pkl": b""}), False),
        ("m.keras", archive(MEMBERS)[:-1], False),
        ("m.h5", b"\x89HDF\r\n\x1a\n", False),
        ("m.bin", foreign.torch_file({"fc.weight": np.ones((2, 5), "f4")}), True),
        ("m.bin", foreign.onnx_file([]), True),
        ("m.bin", foreign.safetensors({"fc.weight": np.ones((2, 5), "f4")}), True),
    ):
        with open_foreign_file(written(tmp_path / name, data)) as file:
            assert (file is not None) is is_foreign, name
    with (
        pytest.raises(InputError, match=r"m\.pt"),
        open_foreign_file(written(tmp_path / "m.pt", archive(MEMBERS)[:-1])),
    ):
        pass


def test_file_arrays_are_compared_with_modules(tmp_path: Path) -> None:
    arrays = {
        **state_dict("gru", 3, 5, prefix="a.", dtype="float64", bias=False),
        **state_dict("lstm", 4, 6, prefix="b.", dtype="float64", bias=False),
    }
    path = written(tmp_path / "m.pt", foreign.torch_file(arrays))
    with open_foreign_file(path) as file:
        assert file is not None
        check = file.check(file.network)
        assert (check.path, check.kind, check.framework) == (str(path), "state_dict", "PyTorch")
        assert (check.unbuilt, check.contradictions, check.notes) == (False, (), ())
        assert [(fact.name, fact.expected, fact.found) for fact in check.facts] == [
            (f"{layer}/{name}_l0", shape, shape)
            for layer, name, shape in (
                ("a", "weight_ih", (15, 3)),
                ("a", "weight_hh", (15, 5)),
                ("b", "weight_ih", (24, 4)),
                ("b", "weight_hh", (24, 6)),
            )
        ]
        assert check.agrees
        assert file.input_dtype == "float64"
        assert [each.features for each in file.recurrences()] == [3, 4]
        assert list(file.framework_weights) == ["a", "b"]
        weights = file.weights()
        assert set(weights) == {"a", "b"}
        np.testing.assert_array_equal(weights["b"]["Wh"], arrays["b.weight_hh_l0"].T)
        assert file.recurrent() is not file
    wrong = {**arrays, "a.weight_ih_l0": np.ones((20, 3))}
    with open_foreign_file(written(tmp_path / "w.pt", foreign.torch_file(wrong))) as file:
        assert file is not None
        facts = file.check(file.network).facts
        assert [fact.name for fact in facts if not fact.agrees] == ["a/weight_ih_l0"]
        with pytest.raises(InputError, match=r"w\.pt.*weight_ih_l0 is \(20, 3\).*\(15, 3\)"):
            list(file.recurrences())
    broken = {**arrays, "a.weight_hh_l0": np.ones((14, 5))}
    with open_foreign_file(written(tmp_path / "b.pt", foreign.torch_file(broken))) as file:
        assert file is not None
        assert len(file.check(file.network).contradictions) == 1
        with pytest.raises(InputError, match=r"b\.pt: a: "):
            list(file.recurrences())
    single = {name: array.astype("f4") for name, array in arrays.items()}
    with open_foreign_file(written(tmp_path / "s.pt", foreign.torch_file(single))) as file:
        assert file is not None
        assert file.input_dtype == "float32"
