"""What is in a saved file, as a process of its own reads it (:mod:`.hdf5_child`)."""

from __future__ import annotations

import math
import os
import re
import stat
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rnnshapes.errors import CannotRunError, InputError
from rnnshapes.load.saved import spawn, untrusted_json

if TYPE_CHECKING:
    from rnnshapes.ops.activations import Array

#: A frame of names and shapes is no longer than this.
MOST_BYTES = 2**28
#: How long to wait for a disk; what a look may compute is limited in the process itself.
PATIENCE = 30.0


@dataclass(frozen=True)
class Dataset:
    """An array in the file: where it is, and its shape.

    ``number`` is what it is asked for by. ``plain`` says that it holds numbers, packed in no
    way that would need other code.
    """

    number: int
    place: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    plain: bool


class Store:
    """A saved file, looked into. Its process ends with :meth:`close`."""

    def __init__(self, path: Path) -> None:
        """Look into ``path``; raises InputError for what is no file of a model."""
        self.path = path
        _require_regular(path)
        self._process = _start(path)
        try:
            found = untrusted_json.parse(self._frame(MOST_BYTES), f"{path}: what was found in it")
            if "error" in found:
                raise InputError(f"{path}: {found['error']}")
        except BaseException:
            self.close()
            raise
        self.kind: str = found["kind"]
        self.config: str | None = found.get("config.json")
        self.holds_weights: bool = found.get("weights", True)
        self.metadata: str | None = found.get("metadata.json")
        self.groups: Mapping[str, Mapping[str, Any]] = {
            untrusted_json.printable(place): {
                name: value if name == "model_config" else untrusted_json.shown(value)
                for name, value in attributes.items()
            }
            for place, attributes in found["groups"].items()
        }
        self.datasets = [
            Dataset(
                number,
                tuple(map(untrusted_json.printable, d["place"])),
                tuple(d["shape"] or ()),
                d["dtype"],
                d["plain"] and d["shape"] is not None,
            )
            for number, d in enumerate(found["datasets"])
        ]

    def values(self, datasets: Sequence[Dataset]) -> list[Array]:
        """The numbers of datasets, whose shapes have been found good before."""
        import numpy as np

        made = []
        for dataset in datasets:
            if not dataset.plain:
                name = "/".join(dataset.place)
                raise InputError(
                    f"{self.path}: {name} is of dtype {dataset.dtype}, or packed by a plugin: "
                    "its numbers cannot be read"
                )
            self._ask(dataset)
            half = dataset.dtype == "bfloat16"
            dtype = np.dtype("u2" if half else dataset.dtype).newbyteorder("<")
            data = self._frame(math.prod(dataset.shape) * dtype.itemsize, exactly=True)
            values = np.frombuffer(data, dtype).reshape(dataset.shape)
            # A bfloat16 is the upper half of a float32.
            made.append((values.astype("u4") << 16).view("f4") if half else values)
        return made

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _ask(self, dataset: Dataset) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            stream.write(f"{dataset.number}\n".encode())
            stream.flush()
        except OSError:
            raise self._ended() from None

    def _frame(self, most: int, *, exactly: bool = False) -> bytes:
        """The next frame; InputError if the process ends before, or sends anything else."""
        stream = self._process.stdout
        assert stream is not None
        watchdog = threading.Timer(PATIENCE + most / 2**24, self._process.kill)
        watchdog.daemon = True  # Ctrl-C does not wait for it
        watchdog.start()
        try:
            head = _read(stream, 8)
            size = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
            fits = size == most if exactly else 0 <= size <= most
            data = _read(stream, size) if fits else b""
        finally:
            watchdog.cancel()
        if not fits or len(data) != size:
            raise self._ended()
        return data

    def _ended(self) -> InputError:
        return InputError(
            f"{self.path}: it is damaged: the HDF5 library broke off while reading it, or took "
            "too long (it was read in a process of its own, and nothing else was touched)"
        )


def _read(stream: IO[bytes], size: int) -> bytes:
    """``size`` bytes, or as many as there are: what is claimed is not set aside before."""
    parts = []
    while size > 0 and (part := stream.read(min(size, 2**24))):
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _require_regular(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        url = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path))
        hint = "; give the path of a local file, nothing is fetched" if url else ""
        raise InputError(f"{path}: there is no such file{hint or _similar(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: it cannot be opened: {reason}") from None
    if stat.S_ISDIR(mode):
        raise InputError(
            f"{path}: it is a folder; give a .keras, .h5, .hdf5 or .weights.h5 file "
            "(a SavedModel folder is not read)"
        )
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: it is no regular file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: you may not read it")


def _similar(path: Path) -> str:
    """What was perhaps meant."""
    import difflib

    try:
        names = [found.name for found in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.with_name(close[0])}?" if close else ""


def _start(path: Path) -> subprocess.Popen[bytes]:
    try:
        return spawn.process(str(path))
    except (OSError, ValueError) as error:
        raise CannotRunError(f"no process can be started to read {path}: {error}") from None
