"""Fields of protobuf messages, read from a file within limits, and written.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from rnnshapes.errors import InputError
from rnnshapes.load.foreign.byte_source import ByteSource
from rnnshapes.load.saved.untrusted_json import printable

MOST_FIELDS = 300_000
MOST_NUMBERS = 1000  # in a list of an attribute
MOST_TEXT = 10_000
_WINDOW = 1024
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: A value of a field that is written: a number, a text, or a message.
Encodable = int | float | str | bytes


class ByteSpan(NamedTuple):
    """A message, text or list of numbers: where it begins in the file, and where it ends."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.start


class Field(NamedTuple):
    """A field: its number, and its value as a span, an integer, or the bytes of a number."""

    number: int
    value: ByteSpan | int | bytes

    @property
    def span(self) -> ByteSpan:
        """The span of a message or a text. Raises InputError for another kind of field."""
        if not isinstance(self.value, ByteSpan):
            raise _damaged()
        return self.value

    @property
    def integer(self) -> int:
        """The value as a signed integer of 64 bits."""
        if not isinstance(self.value, int):
            raise _damaged()
        return self.value - 2**64 if self.value >= 2**63 else self.value

    @property
    def real(self) -> float:
        """The value as a number of 32 bits."""
        if not isinstance(self.value, bytes) or len(self.value) != 4:
            raise _damaged()
        (number,) = struct.unpack("<f", self.value)
        return float(number)


class Messages:
    """Reads the fields of messages in a file, at most ``MOST_FIELDS`` with the numbers in lists."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self._left = MOST_FIELDS
        self._window, self._window_start = b"", 0

    def fields(self, span: ByteSpan) -> Iterator[Field]:
        """Yield the fields of a message. Raises InputError if it is damaged."""
        position, end = span
        while position < end:
            self._count(1)
            tag, position = self._varint(position, end)
            kind = tag & 7
            value: ByteSpan | int | bytes
            if kind == _VARINT:
                value, position = self._varint(position, end)
            elif kind == _BYTES:
                length, position = self._varint(position, end)
                value = ByteSpan(position, position + length)
                position += length
            elif kind in (_FIXED64, _FIXED32):
                size = 8 if kind == _FIXED64 else 4
                value = self._bytes(position, min(size, end - position))
                position += size
            else:
                raise _damaged()
            if position > end:
                raise _damaged()
            yield Field(tag >> 3, value)

    def text(self, field: Field) -> str:
        """Return a text that can be printed."""
        if field.span.size > MOST_TEXT:
            raise InputError(f"it has a name of more than {MOST_TEXT:,} bytes")
        data = self.source.read(field.span.start, field.span.size)
        return printable(data.decode("utf-8", "backslashreplace"))

    def integers(self, field: Field) -> list[int]:
        """Return the integers of a list, packed or one alone."""
        if not isinstance(field.value, ByteSpan):
            return [field.integer]
        position, end = field.value
        numbers: list[int] = []
        while position < end:
            self._count(1)
            number, position = self._varint(position, end)
            numbers.append(Field(0, number).integer)
            if len(numbers) > MOST_NUMBERS:
                raise InputError(f"it has a list of more than {MOST_NUMBERS:,} numbers")
        return numbers

    def reals(self, field: Field) -> list[float]:
        """Return the numbers of 32 bits of a list, packed or one alone."""
        if not isinstance(field.value, ByteSpan):
            return [field.real]
        if field.value.size > 4 * MOST_NUMBERS or field.value.size % 4:
            raise _damaged()
        self._count(field.value.size // 4)
        data = self.source.read(field.value.start, field.value.size)
        return list(struct.unpack(f"<{len(data) // 4}f", data))

    def _count(self, number: int) -> None:
        self._left -= number
        if self._left < 0:
            raise InputError(f"it has more than {MOST_FIELDS:,} fields and numbers in lists")

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        data = self._bytes(position, min(10, end - position))
        number = 0
        for count, byte in enumerate(data):
            number |= (byte & 0x7F) << (7 * count)
            if byte < 0x80:
                return number & (2**64 - 1), position + count + 1
        raise _damaged()

    def _bytes(self, position: int, count: int) -> bytes:
        offset = position - self._window_start
        if offset < 0 or offset + count > len(self._window):
            length = max(count, min(_WINDOW, self.source.size - position))
            self._window, self._window_start = self.source.read(position, length), position
            offset = 0
        return self._window[offset : offset + count]


def _damaged() -> InputError:
    return InputError("it is damaged: a message in it is no protobuf; export it again")


def encode(*fields: tuple[int, Encodable]) -> bytes:
    """Return a message of fields: number and value. Numbers with a point have 32 bits."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_encode_varint(number << 3 | _VARINT), _encode_varint(value)]
        elif isinstance(value, float):
            parts += [_encode_varint(number << 3 | _FIXED32), struct.pack("<f", value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            parts += [encode_head(number, len(data)), data]
    return b"".join(parts)


def encode_head(number: int, size: int) -> bytes:
    """Return the bytes before a message, text or list of ``size`` bytes."""
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(size)


def _encode_varint(number: int) -> bytes:
    number, data = number % 2**64, bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*data, number))
