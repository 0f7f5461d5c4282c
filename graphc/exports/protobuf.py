"""Protocol buffers, as far as writing them takes: a message is a list of fields, which prints as text (.pbtxt) and as bytes (.pb).

    node = Message((1, "name", "x"), (2, "op", "Placeholder"))
    node.text()   name: "x"\\nop: "Placeholder"\\n
    node.wire()   0a 01 78 12 0b ...

The encoding is that of https://protobuf.dev/programming-guides/encoding and the text format that of .../reference/protobuf/textformat-spec.
Which number and name a field has, the schemas of TensorFlow and ONNX say; the modules beside this one state them where they write them.
"""
from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # how the bytes of a field are laid out
_PLAIN = re.compile(r"[\w./:^@ -]*\Z", re.ASCII)  # needs no escape
_ESCAPES = {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t", ord('"'): '\\"', ord("'"): "\\'", ord("\\"): "\\\\"}


@dataclass(frozen=True)
class Enum:
    """A value of an enumeration: printed by `name`, written as `number`."""

    name: str
    number: int


@dataclass(frozen=True)
class Double:
    """A float of 64 bits; Python's own float stands for one of 32."""

    value: float


@dataclass(frozen=True)
class Packed:
    """Numbers of one repeated field, written side by side."""

    values: tuple[int | float | Enum, ...]


class Message:
    """Fields as (number, name, value): bool, int, float (of 32 bits), str, bytes, Enum, Double, Packed, or a Message. None: not there."""

    __slots__ = ("_wire", "fields")

    def __init__(self, *fields: tuple[int, str, Any]) -> None:
        self.fields = tuple([field for field in fields if field[2] is not None])
        self._wire: bytes | None = None  # kept: a message may be part of many

    def text(self) -> str:
        """The message in protobuf's text format."""
        lines: list[str] = []
        self._add_lines(lines, "")
        return "\n".join(lines) + ("\n" if lines else "")

    def _add_lines(self, lines: list[str], indent: str) -> None:
        for _, name, value in self.fields:
            if isinstance(value, Message):
                lines.append(f"{indent}{name} {{")
                value._add_lines(lines, f"{indent}  ")
                lines.append(f"{indent}}}")
            elif isinstance(value, Packed):
                lines += [f"{indent}{name}: {_scalar_text(each)}" for each in value.values]
            else:
                lines.append(f"{indent}{name}: {_scalar_text(value)}")

    def wire(self) -> bytes:
        """The message in protobuf's binary format."""
        if self._wire is None:
            self._wire = b"".join([_encoded(number, value) for number, _, value in self.fields])
        return self._wire


def repeated(number: int, name: str, values: Iterable[Any]) -> list[tuple[int, str, Any]]:
    """One field for each of `values`."""
    return [(number, name, value) for value in values]


def _scalar_text(value: Any) -> str:
    return _TEXT[type(value)](value)


def _float_text(value: float) -> str:
    """The fewest digits that give the same 32 bits."""
    return repr(float(str(np.float32(value))))


def _escaped(data: bytes) -> str:
    return "".join([_ESCAPES.get(byte) or (chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}") for byte in data])


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN.match(text) else f'"{_escaped(text.encode())}"'


_TEXT: dict[type, Callable[[Any], str]] = {
    bool: lambda value: "true" if value else "false", int: str, float: _float_text, Double: lambda double: repr(double.value),
    Enum: lambda enum: enum.name, str: _quoted, bytes: lambda data: f'"{_escaped(data)}"'}


def _encoded(number: int, value: Any) -> bytes:
    """The key of field `number`, and its value."""
    if isinstance(value, Message | str | bytes | Packed):
        data = _data(value)
        return varint(number << 3 | LENGTH) + varint(len(data)) + data
    return varint(number << 3 | _layout(value)) + _scalar(value)


def _data(value: Message | str | bytes | Packed) -> bytes:
    if isinstance(value, Message):
        return value.wire()
    if isinstance(value, Packed):
        return b"".join(map(_scalar, value.values))
    return value.encode() if isinstance(value, str) else value


def _layout(value: Any) -> int:
    return FIXED32 if isinstance(value, float) else FIXED64 if isinstance(value, Double) else VARINT


def _scalar(value: Any) -> bytes:
    if isinstance(value, float):
        return struct.pack("<f", value)
    if isinstance(value, Double):
        return struct.pack("<d", value.value)
    return varint(value.number if isinstance(value, Enum) else int(value))


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64 bits."""
    value &= (1 << 64) - 1
    if value < 0x80:
        return bytes((value,))
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
