"""Reads protocol buffers, text and binary, as far as tests look into them. Shares nothing with what writes them."""
from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(r'\s*(?:(\w+)\s*\{|(\w+):\s*("(?:[^"\\]|\\.)*"|[^\s{}]+)|(\}))')


def parse_text(text: str) -> dict[str, list[Any]]:
    """A message by its field names, each a list: texts of scalars (strings without quotes, escapes undone), dictionaries of messages."""
    stack: list[dict[str, list[Any]]] = [{}]
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        opened, name, value, closed = match.groups()
        if closed:
            stack.pop()
        elif opened:
            inner: dict[str, list[Any]] = {}
            stack[-1].setdefault(opened, []).append(inner)
            stack.append(inner)
        else:
            plain = value[1:-1].encode("latin1").decode("unicode_escape") if value.startswith('"') else value
            stack[-1].setdefault(name, []).append(plain)
    assert not text[position:].strip(), text[position:position + 40]
    assert len(stack) == 1
    return stack[0]


def parse_wire(data: bytes) -> dict[int, list[Any]]:
    """A message by its field numbers, each a list: integers, and bytes of all else."""
    found: dict[int, list[Any]] = {}
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            found.setdefault(key >> 3, []).append(varint())
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        found.setdefault(key >> 3, []).append(data[position:position + size])
        position += size
    assert position == len(data)
    return found
