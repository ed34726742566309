"""Client of the process that reads a saved file (:mod:`rnnshapes.load.saved.hdf5_child`)."""

from __future__ import annotations

import math
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rnnshapes.errors import CannotRunError, InputError
from rnnshapes.load.regular_file import require_regular
from rnnshapes.load.saved import spawn, untrusted_json

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: The most bytes of a frame of names and shapes.
MOST_BYTES = 2**28
#: Seconds to wait for a disk; the process itself limits what it computes.
PATIENCE = 30.0


@dataclass(frozen=True)
class Dataset:
    """An array in the file.

    ``number`` is by what the client requests its values, ``path`` the groups around it and its
    name. ``is_real`` says that it holds real numbers; ``readable``, that no plugin is needed to
    decompress them.
    """

    number: int
    path: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    is_real: bool
    readable: bool


@dataclass(frozen=True)
class StoredWeight:
    """A weight as the file holds it: name and shape, and the datasets of its numbers.

    ``convert`` makes the weight of their arrays, where it is not the only one of them.
    ``trained`` is false if the part of the layer that the weight belongs to is frozen.
    """

    name: str
    shape: tuple[int, ...]
    datasets: tuple[Dataset, ...]
    convert: Callable[[Sequence[Array]], Array] | None = None
    trained: bool = True

    def values(self, client: Hdf5Client) -> Array:
        """Return its numbers."""
        arrays = client.values(self.datasets)
        return arrays[0] if self.convert is None else self.convert(arrays)


class Hdf5Client:
    """The contents of a saved file, which another process reads until :meth:`close`.

    ``kind`` is ``keras`` or ``hdf5``. ``config`` and ``metadata`` are texts of a .keras file,
    ``holds_weights`` says whether it has a member for weights. ``groups`` are the attributes of
    each HDF5 group by its path, ``datasets`` all arrays.
    """

    def __init__(self, path: Path) -> None:
        """Start the process, and list what is in ``path``.

        Raises InputError for what is not the file of a model.
        """
        self.path = path
        require_regular(path)
        self._process = _start(path)
        try:
            frame = self._read_frame(MOST_BYTES)
            contents = untrusted_json.parse(frame, f"{path}: the list of its contents")
            if "error" in contents:
                raise InputError(f"{path}: {contents['error']}")
        except BaseException:
            self.close()
            raise
        self.kind: str = contents["kind"]
        self.config: str | None = contents.get("config.json")
        self.holds_weights: bool = contents.get("weights", True)
        self.metadata: str | None = contents.get("metadata.json")
        self.groups: Mapping[str, Mapping[str, Any]] = {
            untrusted_json.printable(group): {
                name: value if name == "model_config" else untrusted_json.all_printable(value)
                for name, value in attributes.items()
            }
            for group, attributes in contents["groups"].items()
        }
        self.datasets = [
            Dataset(
                number,
                tuple(map(untrusted_json.printable, d["path"])),
                tuple(d["shape"] or ()),
                untrusted_json.printable(d["dtype"]),
                d["real"],
                d["readable"] and d["shape"] is not None,
            )
            for number, d in enumerate(contents["datasets"])
        ]

    def values(self, datasets: Sequence[Dataset]) -> list[Array]:
        """Return the numbers of datasets, in float32 for bfloat16.

        Raises InputError for a dataset that is not readable, and where the process has ended.
        """
        import numpy as np

        arrays = []
        for dataset in datasets:
            if not dataset.readable:
                name = "/".join(dataset.path)
                raise InputError(
                    f"{self.path}: {name} is of dtype {dataset.dtype}, or compressed by a plugin: "
                    "its numbers cannot be read"
                )
            self._request(dataset)
            is_bfloat16 = dataset.dtype == "bfloat16"
            dtype = np.dtype("u2" if is_bfloat16 else dataset.dtype).newbyteorder("<")
            data = self._read_frame(math.prod(dataset.shape) * dtype.itemsize, exactly=True)
            values = np.frombuffer(data, dtype).reshape(dataset.shape)
            # A bfloat16 is the upper half of a float32.
            arrays.append((values.astype("u4") << 16).view("f4") if is_bfloat16 else values)
        return arrays

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _request(self, dataset: Dataset) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            stream.write(f"{dataset.number}\n".encode())
            stream.flush()
        except OSError:
            raise self._broken_off() from None

    def _read_frame(self, most: int, *, exactly: bool = False) -> bytes:
        """Return the next frame of at most ``most`` bytes, or of ``exactly`` as many.

        Raises InputError if the process ends before, or sends anything else.
        """
        stream = self._process.stdout
        assert stream is not None
        watchdog = threading.Timer(PATIENCE + most / 2**24, self._process.kill)
        watchdog.daemon = True  # Ctrl-C does not wait for it
        try:
            watchdog.start()
        except RuntimeError as error:
            raise CannotRunError(f"no thread can be started to read {self.path}: {error}") from None
        try:
            head = _read_bytes(stream, 8)
            size = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
            fits = size == most if exactly else 0 <= size <= most
            data = _read_bytes(stream, size) if fits else b""
        finally:
            watchdog.cancel()
        if not fits or len(data) != size:
            raise self._broken_off()
        return data

    def _broken_off(self) -> InputError:
        return InputError(
            f"{self.path}: it is damaged: the HDF5 library broke off while reading it, or took "
            "too long (it was read in a process of its own, and nothing else was touched)"
        )


def _read_bytes(stream: IO[bytes], size: int) -> bytes:
    """Return ``size`` bytes, or as many as follow; memory is allocated only for those."""
    chunks = []
    while size > 0 and (chunk := stream.read(min(size, 2**24))):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)


def _start(path: Path) -> subprocess.Popen[bytes]:
    try:
        return spawn.get_process(str(path))
    except (OSError, ValueError) as error:
        raise CannotRunError(f"no process can be started to read {path}: {error}") from None
