"""How much memory this machine has to give, and whether something fits into it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rnnshapes.errors import TooLargeError

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def available() -> int | None:
    """Bytes of memory that this process can have, ``None`` where the system does not tell.

    On Linux what is free now, within the limit of a container; on macOS all there is.
    """
    if sys.platform == "win32":
        return _windows()
    amounts = [there for there in (_free(), container_limit()) if there is not None]
    return min(amounts, default=None)


def _free() -> int | None:
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
    """Return the limit in bytes of a control group, version 2 or 1; ``None`` without one."""
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((root / limit).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def require(needed: int, what: str) -> None:
    """Raise TooLargeError if ``needed`` bytes for ``what`` are more than there are."""
    there = available()
    if there is not None and needed > there:
        raise TooLargeError(
            f"{what} needs {amount(needed)} of memory; {amount(there)} are available here"
        )


def amount(count: int) -> str:
    """Bytes for people: ``228 B``, ``3.7 GiB``, ``3.5 EiB``; exact below 1 KiB."""
    power = min(max(count.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    if power == 0:
        return f"{count} B"
    tenths = (count * 10 + (1 << (10 * power - 1))) >> (10 * power)
    return f"{tenths // 10:,}.{tenths % 10} {_UNITS[power]}"


def _windows() -> int | None:
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
