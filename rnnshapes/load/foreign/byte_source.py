"""A file that is read piece by piece, each within its end."""

from __future__ import annotations

import os
from pathlib import Path

from rnnshapes.errors import InputError


class ByteSource:
    """The bytes of a file, which stays open until :meth:`close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            self._file = os.fdopen(os.open(path, flags), "rb")
        except OSError as error:
            raise InputError(f"{path}: it cannot be opened: {error.strerror}") from None
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, start: int, count: int) -> bytes:
        """Return ``count`` bytes from ``start``. Raises InputError if the file ends before."""
        if start < 0 or count < 0 or start + count > self.size:
            raise InputError("it is damaged: it ends before an array that it names")
        try:
            self._file.seek(start)
            data = self._file.read(count)
        except (OSError, OverflowError) as error:
            raise InputError(f"it cannot be read: {error}") from None
        if len(data) != count:
            raise InputError("it became shorter while it was read")
        return data

    def head(self, count: int) -> bytes:
        """Return the first ``count`` bytes, or as many as there are."""
        return self.read(0, min(count, self.size))

    def close(self) -> None:
        """Close the file."""
        self._file.close()
