"""Server that reads a saved model in its own process: a hostile file may crash it, no more.

The HDF5 library has known memory errors, so this runs as a script, with limits, and imports
nothing of rnnshapes: ``python hdf5_child.py FILE``. To standard output it writes the contents of
the file, as a frame of JSON. For each line of standard input, the number of a dataset, it writes
the values of that dataset as another frame. A frame is its length in eight bytes, then the bytes;
an error is ``{"error": …}`` in a frame. It reads no values before they are requested, and follows
no link. The client is :class:`rnnshapes.load.saved.hdf5_client.Hdf5Client`.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MIB = 2**20
MOST_MEMBERS = 1000  # of a zip archive, and attributes of a group
MOST_TEXT = 16 * MIB  # of a config
MOST_UNPACKED = 64 * MIB  # of weights that were compressed as a whole
MOST_RATIO = 100  # of sizes after and before unpacking
MOST_OBJECTS = 100_000
MOST_GROUP_DEPTH = 64
#: Seconds and bytes that listing names and shapes may take, beyond the start of this process.
MOST_SECONDS, MOST_MEMORY = 2, 96 * MIB
#: gzip, shuffle, checksum, LZF: h5py includes these; HDF5 would load any other from a plugin.
FILTERS = {1, 2, 3, 32000}
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
#: Attributes that Keras writes: lists of texts, and texts.
LIST_ATTRIBUTES = ("layer_names", "weight_names")
TEXT_ATTRIBUTES = ("model_config", "keras_version", "backend", "name")


class RefusedError(Exception):
    """A reason not to read the file, in one line."""


def main(path: str) -> None:
    """Write the contents of the file, then the values that the client requests."""
    try:
        import h5py  # here, so that the limits below count what the file takes

        _limit(MOST_SECONDS, MOST_MEMORY)
        stream = _open(path)
        contents, datasets = _list_contents(h5py, stream)
    except RefusedError as error:
        _send(json.dumps({"error": str(error)}).encode())
        return
    except MemoryError:
        _send(b'{"error": "reading it takes more memory than such a file should"}')
        return
    except ImportError as error:
        _send(json.dumps({"error": f"h5py cannot be imported ({error})"}).encode())
        return
    except Exception as error:  # whatever the libraries make of a broken file
        text = " ".join(str(error).split())[:200] or type(error).__name__
        if "allocat" in text:  # h5py has no MemoryError
            text = "it takes more memory than the names and shapes of a model"
        _send(json.dumps({"error": f"it is damaged ({text}); save the model again"}).encode())
        return
    _send(json.dumps(contents).encode())
    for line in sys.stdin:
        try:
            _send_values(datasets[int(line)])
        except Exception:
            return  # the client sees a frame that is too short


def _limit(seconds: int, memory: int) -> None:
    """Limit the seconds and the bytes that this process may use beyond what it has used."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime)
    _lower_limit(resource, resource.RLIMIT_CPU, used + seconds)
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except OSError:
        return
    _lower_limit(resource, resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE") + memory)


def _lower_limit(resource: Any, which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(which, (value, hard))


def _open(path: str) -> BinaryIO:
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    stream = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        raise RefusedError("it is not a regular file")
    return stream


# --- The file ------------------------------------------------------------------------------


def _list_contents(h5py: Any, stream: BinaryIO) -> tuple[dict[str, Any], list[Any]]:
    """Return the contents of the file without values, and the datasets by their numbers."""
    head = stream.read(8)
    if head[:2] == b"PK":
        contents, weights = _unpack(stream)
    elif head == HDF5_MAGIC or _has_user_block(stream):
        contents, weights = {"kind": "hdf5"}, stream
    elif not head:
        raise RefusedError("it is empty")
    else:
        raise RefusedError("it is no file of Keras (.keras, HDF5), PyTorch or ONNX")
    tree: dict[str, Any] = {"groups": {}, "datasets": []}
    datasets: list[Any] = []
    if weights is not None:
        file = h5py.File(weights, "r")
        for path, dataset in _walk(h5py, file, tree):
            tree["datasets"].append(_describe(h5py, path, dataset))
            datasets.append(dataset)
    return {**contents, **tree}, datasets


def _has_user_block(stream: BinaryIO) -> bool:
    """Return whether HDF5 begins behind a block of 512, 1024, … bytes."""
    for power in range(9, 24):
        stream.seek(2**power)
        if stream.read(8) == HDF5_MAGIC:
            return True
    return False


def _unpack(stream: BinaryIO) -> tuple[dict[str, Any], BinaryIO | None]:
    """Return the texts of a .keras file, and its weights as a stream; no file is extracted."""
    size = stream.seek(0, os.SEEK_END)
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        raise RefusedError(f"its zip archive is damaged: {error}") from None
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise RefusedError(f"it has {len(members):,} members; a .keras file has a few")
    _check_members(members, size)
    by_name = {member.filename: member for member in members}
    if CONFIG not in by_name:
        shards = [name for name in by_name if name.endswith(".weights.json")]
        what = " (weights in several files are not read)" if shards else ""
        raise RefusedError(f"it is a zip archive without {CONFIG}, so no .keras file{what}")
    contents: dict[str, Any] = {"kind": "keras", "weights": WEIGHTS in by_name}
    contents[CONFIG] = _text(archive, by_name[CONFIG])
    contents[METADATA] = _text(archive, by_name[METADATA]) if METADATA in by_name else None
    if WEIGHTS not in by_name:
        return contents, None
    return contents, _weights(archive, stream, by_name[WEIGHTS], size)


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise RefusedError for an archive, of ``size`` bytes, that Keras would not write."""
    names: set[str] = set()
    end = 0
    for member in sorted(members, key=lambda m: m.header_offset):
        name = member.filename[:100]
        if name in names:
            raise RefusedError(f"it has two members named {name!r}")
        names.add(name)
        if member.flag_bits & 1:
            raise RefusedError(f"its member {name!r} is encrypted")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise RefusedError(f"its member {name!r} is a symbolic link")
        begins, ends = member.header_offset, member.header_offset + 30 + member.compress_size
        if begins < end or ends > size:
            raise RefusedError(f"its member {name!r} overlaps another one, or the end of the file")
        end = ends
        is_read = name in (CONFIG, METADATA, WEIGHTS)
        if is_read and member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RefusedError(f"its member {name!r} has a compression that Keras does not use")
        if is_read and member.file_size > MOST_RATIO * member.compress_size + 1024:
            raise RefusedError(f"its member {name!r} would unpack to more than {MOST_RATIO} times")


def _text(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str:
    data = _decompress(archive, member, MOST_TEXT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RefusedError(f"its {member.filename} is not text in UTF-8") from None


def _decompress(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    if member.file_size > most:
        raise RefusedError(f"its {member.filename} is larger than {most // MIB} MiB")
    with archive.open(member) as stream:
        data = stream.read(most + 1)
    if len(data) != member.file_size:
        raise RefusedError(f"its {member.filename} is not as large as it says")
    return data


def _weights(
    archive: zipfile.ZipFile, stream: BinaryIO, member: zipfile.ZipInfo, size: int
) -> BinaryIO:
    if member.compress_type != zipfile.ZIP_STORED:
        return io.BytesIO(_decompress(archive, member, MOST_UNPACKED))
    if member.file_size != member.compress_size:
        raise RefusedError(f"its {member.filename} is not as large as it says")
    archive.open(member).close()  # checks that the member's own header fits the directory
    stream.seek(member.header_offset)
    name, extra = struct.unpack("<26x2H", stream.read(30))
    start = member.header_offset + 30 + name + extra
    if start + member.file_size > size:
        raise RefusedError(f"its {member.filename} goes beyond the end of the file")
    return io.BufferedReader(_Window(stream, start, member.file_size), 2**16)


class _Window(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self.stream, self.start, self.size, self.position = stream, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self.size - self.position))
        self.stream.seek(self.start + self.position)
        read = self.stream.readinto(view[:wanted])  # type: ignore[attr-defined]
        self.position += read
        return int(read)


# --- The tree -----------------------------------------------------------------------------------


def _walk(h5py: Any, file: Any, tree: dict[str, Any]) -> Iterator[tuple[list[str], Any]]:
    """Yield each dataset with its path, and put the attributes that Keras writes into ``tree``."""
    stack: list[tuple[list[str], Any]] = [([], file)]
    addresses: set[int] = set()
    count = text_length = 0
    while stack:
        path, group = stack.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in addresses:
            raise RefusedError(f"its group {_quoted(path)} is there twice, or holds itself")
        addresses.add(address)
        attributes = _attributes(h5py, group)
        text_length += sum(len(str(value)) for value in attributes.values())
        if attributes:
            tree["groups"]["/".join(path)] = attributes
        children = []
        for name in group:
            count, text_length = count + 1, text_length + len(name)
            if count > MOST_OBJECTS or text_length > MOST_TEXT or len(path) >= MOST_GROUP_DEPTH:
                raise RefusedError("it has more, or deeper, groups and names than a model has")
            inner = [*path, name]
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise RefusedError(
                    f"{_quoted(inner)} is a link to another place, which is not followed"
                )
            child = group.get(name)
            if isinstance(child, h5py.Group):
                children.append((inner, child))
            elif isinstance(child, h5py.Dataset):
                yield inner, child
        stack += reversed(children)


def _quoted(path: list[str]) -> str:
    return repr("/".join(path)[:200])


def _attributes(h5py: Any, group: Any) -> dict[str, Any]:
    """Return the attributes that Keras writes, long lists (``weight_names0``, …) joined."""
    attributes: dict[str, Any] = {}
    names = [name for name in group.attrs if isinstance(name, str)]
    if len(names) > MOST_MEMBERS:
        raise RefusedError("one of its groups has more attributes than a model has")
    for name in TEXT_ATTRIBUTES:
        if name in names:
            value = _attribute(h5py, group, name)
            if isinstance(value, str):
                attributes[name] = value
    for name in LIST_ATTRIBUTES:
        keys = [name] if name in names else []
        keys += [f"{name}{i}" for i in range(MOST_MEMBERS) if f"{name}{i}" in names]
        values = [_attribute(h5py, group, key) for key in keys]
        if keys and all(isinstance(value, list) for value in values):
            attributes[name] = [text for value in values for text in value]
    return attributes


def _attribute(h5py: Any, group: Any, name: str) -> Any:
    attribute = group.attrs.get_id(name)
    try:
        stored = attribute.get_storage_size()
    except RuntimeError:  # h5py raises it where there are no bytes
        stored = 0
    if stored > MOST_TEXT or _size(attribute.shape) > MOST_OBJECTS:
        raise RefusedError(f"its attribute {name!r} is larger than that of a model")
    value = group.attrs[name]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_decode(part) for part in value]
    return _decode(value)


def _decode(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _size(shape: Any) -> int:
    size = 1
    for axis in shape or ():
        size *= axis
    return size


def _describe(h5py: Any, path: list[str], dataset: Any) -> dict[str, Any]:
    """Return the path, shape and dtype of a dataset, and whether its values can be read.

    Raises RefusedError for a dataset whose values are in another file.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_external_count():
        raise RefusedError(f"the numbers of {_quoted(path)} are in another file, which is not read")
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedError(f"{_quoted(path)} is composed of other datasets, which are not read")
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    shape, dtype = dataset.shape, str(dataset.dtype)
    # NumPy has no bfloat16: Keras writes the bytes, and the name as an attribute.
    if dtype == "|V2" and "dtype" in dataset.attrs:
        dtype = str(_attribute(h5py, dataset, "dtype"))
    return {
        "path": path,
        "shape": None if shape is None else [int(n) for n in shape],
        "dtype": dtype,
        "real": dataset.dtype.kind in "fiub" or dtype == "bfloat16",
        "readable": (dataset.dtype.kind in "fiub" or dtype == "bfloat16")
        and set(filters) <= FILTERS
        and _size(dataset.chunks) * dataset.dtype.itemsize <= 2 * dataset.nbytes + MIB
        and dataset.nbytes <= MOST_RATIO * dataset.id.get_storage_size() + MIB,
    }


# --- Values -------------------------------------------------------------------------------------


def _send_values(dataset: Any) -> None:
    """Write the numbers of a dataset in C order, some rows at a time."""
    _limit(30 + dataset.nbytes // (20 * MIB), 4 * MOST_MEMORY + dataset.nbytes)
    out = sys.stdout.buffer
    out.write(struct.pack("<Q", dataset.nbytes))
    little = dataset.dtype.newbyteorder("<")
    if not dataset.shape or not dataset.nbytes:
        out.write(dataset[()].astype(little).tobytes())
    else:
        rows = max(1, 16 * MIB * dataset.shape[0] // dataset.nbytes)
        for start in range(0, dataset.shape[0], rows):
            out.write(dataset[start : start + rows].astype(little).tobytes())
    out.flush()


def _send(data: bytes) -> None:
    sys.stdout.buffer.write(struct.pack("<Q", len(data)) + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
