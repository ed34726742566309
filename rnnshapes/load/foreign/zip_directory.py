"""The list of members of a zip archive, read within limits; nothing is unpacked.

Source: the APPNOTE.TXT of PKWARE. Python's ``zipfile`` reads a list of any size.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.byte_source import ByteSource

MOST_LIST = 16 * 2**20  # bytes
MOST_ENTRIES = 100_000
_END, _END64, _LOCATOR64, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
_UNKNOWN = 0xFFFFFFFF  # the number is in a field of 64 bits
_STORED, _ENCRYPTED = 0, 1


class Member(NamedTuple):
    """A member: its name and size, where its header is, and whether it is stored as it is."""

    name: str
    size: int
    header: int
    is_plain: bool

    def start(self, source: ByteSource) -> int:
        """Return where its bytes are. Raises InputError if its header is not there."""
        header = source.read(self.header, 30)
        if header[:4] != _LOCAL:
            raise InputError(f"it is damaged: its list of members names no {self.name:.60}")
        name, extra = struct.unpack_from("<HH", header, 26)
        return self.header + 30 + int(name) + int(extra)

    def read(self, source: ByteSource, most: int) -> bytes:
        """Return its bytes. Raises InputError if it is packed, or has more than ``most``."""
        if not self.is_plain or self.size > most:
            reason = f"has more than {most:,} bytes" if self.is_plain else "is packed or encrypted"
            raise InputError(f"its member {self.name:.60} {reason}")
        return source.read(self.start(source), self.size)


def read_directory(source: ByteSource) -> dict[str, Member]:
    """Return the members of an archive by name.

    Raises:
        InputError: It is no zip archive, or its list is damaged, too long, or names one twice.
    """
    size, start, count = _find_list(source)
    if size > MOST_LIST or count > MOST_ENTRIES:
        raise InputError(f"its list of {count:,} members is longer than {MOST_ENTRIES:,}")
    data, position = source.read(start, size), 0
    members: dict[str, Member] = {}
    for _ in range(count):
        member, position = _entry(data, position)
        if member.name in members:
            raise InputError(f"its member {member.name:.60} is there twice")
        members[member.name] = member
    return members


def _find_list(source: ByteSource) -> tuple[int, int, int]:
    """Return the size of the list, where it starts, and how many members it has."""
    length = min(source.size, 22 + 0xFFFF)
    tail = source.read(source.size - length, length)
    position = tail.rfind(_END)
    if position < 0 or position + 22 > length:
        raise InputError("it is damaged: its list of members is missing")
    count, size, start = struct.unpack_from("<HII", tail, position + 10)
    if _UNKNOWN in (size, start) or count == 0xFFFF:
        locator = source.read(source.size - length + position - 20, 20)
        if locator[:4] != _LOCATOR64:
            raise InputError("it is damaged: its list of members is missing")
        end = source.read(struct.unpack_from("<Q", locator, 8)[0], 56)
        if end[:4] != _END64:
            raise InputError("it is damaged: its list of members is missing")
        count, size, start = struct.unpack_from("<QQQ", end, 32)
    return int(size), int(start), int(count)


def _entry(data: bytes, position: int) -> tuple[Member, int]:
    """Return the member that an entry describes, and where the next entry is."""
    if data[position : position + 4] != _ENTRY or position + 46 > len(data):
        raise InputError("its list of members is damaged")
    flags, method = struct.unpack_from("<HH", data, position + 8)
    packed, size, name_length, extra_length, comment = struct.unpack_from(
        "<IIHHH", data, position + 20
    )
    (header,) = struct.unpack_from("<I", data, position + 42)
    name_end = position + 46 + name_length
    end = name_end + extra_length + comment
    if end > len(data):
        raise InputError("its list of members is damaged")
    name = data[position + 46 : name_end].decode("utf-8", "backslashreplace")
    extra = data[name_end : name_end + extra_length]
    size, packed, header = _wide(extra, [size, packed, header])
    is_plain = method == _STORED and not flags & _ENCRYPTED and size == packed
    return Member(name, size, header, is_plain), end


def _wide(extra: bytes, numbers: list[int]) -> list[int]:
    """Return numbers with those of 64 bits in place of the unknown ones."""
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, position)
        if kind == 1:
            field = extra[position + 4 : position + 4 + length]
            wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            return [next(wide, n) if n == _UNKNOWN else n for n in numbers]
        position += 4 + length
    return numbers
