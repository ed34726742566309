"""Available memory of this machine, and checks of what needs much of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rnnshapes.errors import TooLargeError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def available() -> int | None:
    """Return the bytes of memory that this process can use, ``None`` if the system does not tell.

    On Linux this is the memory that is free now, within the limit of a container; on macOS it is
    all the memory of the machine.
    """
    if sys.platform == "win32":
        return _available_on_windows()
    limits = [limit for limit in (_system_memory(), container_limit()) if limit is not None]
    return min(limits, default=None)


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        return int(kib) * 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def container_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory limit of a control group (version 2 or 1), ``None`` without a limit."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((root / name).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def require_address_space(needed: int, what: str) -> None:
    """Check that ``ulimit -v`` leaves room for a library that ends the process without it.

    Args:
        needed: Bytes of address space.
        what: What needs them, as the subject of the message.

    Raises:
        TooLargeError: the limit is lower.
    """
    if sys.platform == "win32":
        return
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise TooLargeError(
            f"{what} needs {format_bytes(needed)} of address space; the limit is "
            f"{format_bytes(limit)}; raise it with ulimit -v"
        )


def require(needed: int, what: str) -> None:
    """Check that ``needed`` bytes are available.

    Args:
        needed: Bytes that will be allocated.
        what: What needs them, as the subject of the message.

    Raises:
        TooLargeError: fewer bytes are available, or no array can have as many.
    """
    free = available()
    free = sys.maxsize if free is None else free
    if needed > free:
        raise TooLargeError(
            f"{what} needs {format_bytes(needed)} of memory; "
            f"{format_bytes(free)} are available here; choose smaller sizes or fewer samples"
        )


def format_bytes(count: int) -> str:
    """Return bytes as text: ``228 B``, ``3.7 GiB``, ``3.5 EiB``; exact below 1 KiB."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    if power == 0:
        return f"{count} B"
    tenths = (count * 10 + (1 << (10 * power - 1))) >> (10 * power)
    return f"{tenths // 10:,}.{tenths % 10} {_UNITS[power]}"


def _available_on_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = (
            [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)]
            + [(name, ctypes.c_uint64) for name in ("total", "available")]
            + [(f"other{i}", ctypes.c_uint64) for i in range(5)]
        )

    status = Status(length=ctypes.sizeof(Status))
    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent on other systems
    return status.available if kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
