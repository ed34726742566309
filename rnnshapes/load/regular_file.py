"""Check that a path names a file that can be read, before anything opens it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from rnnshapes.errors import InputError


def require_regular(path: Path) -> None:
    """Raise InputError unless ``path`` is a regular file that may be read."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise InputError(f"{path}: it is a link to a file that does not exist") from None
        url = re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path))
        hint = "; give the path of a local file, nothing is fetched" if url else ""
        raise InputError(f"{path}: there is no such file{hint or _suggestion(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: it cannot be opened: {reason}") from None
    if stat.S_ISDIR(mode):
        raise InputError(
            f"{path}: it is a folder; give a .keras, .h5, .hdf5 or .weights.h5 file "
            "(a SavedModel folder is not read)"
        )
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: it is not a regular file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it; change its permissions")


def _suggestion(path: Path) -> str:
    """Return a hint at a file of a similar name, or an empty text."""
    import difflib

    try:
        names = [sibling.name for sibling in path.parent.iterdir()]
    except OSError:
        return ""
    matches = difflib.get_close_matches(path.name, names, 1)
    return f"; did you mean {path.with_name(matches[0])}?" if matches else ""
