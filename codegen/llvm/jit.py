"""From LLVM text to object code, and from object code to addresses that can be called. The only file that parses, emits and links.

One LLJIT serves the whole process. `compile_module` makes an object file of a module's text (`cache` remembers it), `link` loads object
files side by side into a library of their own and gives the addresses of their symbols. The machine code lives exactly as long as the
`Loaded` it came from, and every function pointer taken from a `Loaded` keeps it alive.
"""
from __future__ import annotations

import ctypes
import functools
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm

from graphc.codegen.llvm.target import Target

_CONTEXT_LINES = 2  # lines of LLVM text shown around an error

# Held, reentrantly, by the thread that is inside the compiler; `fork` waits for it, since a child forked in the middle would find it taken
# for ever. It is llvmlite's own lock, because the collector unloads dropped code on any thread.
lock: Any = llvm.ffi.lib._lock
os.register_at_fork(before=lock.__enter__, after_in_parent=lock.__exit__, after_in_child=lock.__exit__)
_serial = itertools.count()


class CodeError(Exception):
    """LLVM rejected text or object code that graphc made: an error of the compiler, never of its user."""


class Loaded:
    """Object files loaded into memory: `address(symbol)` of what was exported, valid while this object lives."""

    def __init__(self, name: str, tracker: Any, exports: Sequence[str]) -> None:
        self.name = name
        self._tracker = tracker  # LLVM unloads the code when the tracker is collected
        self._addresses: dict[str, int] = {symbol: tracker[symbol] for symbol in exports}

    def address(self, symbol: str) -> int:
        """Where `symbol` is in memory; KeyError if it was not exported."""
        return self._addresses[symbol]

    def function(self, symbol: str, result: Any, *arguments: Any) -> Any:
        """`symbol` as a ctypes function of these ctypes types, which releases the GIL and keeps the code alive."""
        pointer: Any = ctypes.CFUNCTYPE(result, *arguments)(self.address(symbol))
        pointer.loaded = self
        return pointer

    def __repr__(self) -> str:
        return f"Loaded({self.name!r}, {', '.join(self._addresses)})"


def compile_module(text: str, target: Target) -> bytes:
    """The object file of one LLVM module, made for `target`. No IR passes run: the text is expected to be vectorised and tidy already.

    The module is verified first, since LLVM's code generator aborts the process on input that the verifier would refuse. CodeError, with
    the lines around the fault, when the text does not parse or verify.
    """
    with _verified(text, target) as module:
        return bytes(target.target_machine().emit_object(module))


def assembly(text: str, target: Target) -> str:
    """What `compile_module` makes, as assembly to read."""
    with _verified(text, target) as module:
        return str(target.target_machine().emit_assembly(module))


@contextmanager
def _verified(text: str, target: Target) -> Iterator[Any]:
    """The module of `text`, which may be given to the code generator."""
    machine = target.target_machine()
    context = llvm.create_context()  # types and constants of this module die with it
    try:
        module = llvm.parse_assembly(text, context)
    except RuntimeError as error:
        raise CodeError(_explain("does not parse", str(error), text)) from None
    with module:
        module.triple = machine.triple
        module.data_layout = str(machine.target_data)
        try:
            module.verify()
        except RuntimeError as error:
            raise CodeError(_explain("does not verify", str(error), text)) from None
        yield module


def link(name: str, objects: Sequence[bytes], imports: Mapping[str, int], exports: Sequence[str]) -> Loaded:
    """Loads object files into one new library and resolves their symbols.

    They see each other, `imports` (symbol -> address) and what the process itself exports (libc, libm). CodeError when a symbol is missing
    (LLVM says which on stderr) or defined twice, or when the bytes are not an object file. `name` is for people: it need not be unique.
    """
    builder = llvm.JITLibraryBuilder().add_current_process()
    for image in objects:
        builder.add_object_img(image)
    for symbol, address in imports.items():
        builder.import_symbol(symbol, address)
    for symbol in exports:
        builder.export_symbol(symbol)
    with lock:  # so that two threads cannot make two LLJITs
        lljit = _lljit()
    try:
        tracker = builder.link(lljit, f"{name}.{next(_serial)}")  # LLVM never lets a library's name be used again
    except RuntimeError as error:
        raise CodeError(f"could not link {name}: {error}") from None
    return Loaded(name, tracker, exports)


@functools.cache
def _lljit() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler()


def _explain(fault: str, message: str, text: str) -> str:
    """LLVM's message, and the lines of `text` around the line that it names or around the instruction that it quotes."""
    lines = text.splitlines()
    number = _faulty_line(message, lines)
    if number is None:
        return f"LLVM text {fault}: {message.strip()}"
    first = max(0, number - _CONTEXT_LINES)
    shown = "\n".join(
        f"{'>' if at == number else ' '}{at + 1:5} | {line}" for at, line in enumerate(lines[first : number + _CONTEXT_LINES + 1], first)
    )
    return f"LLVM text {fault}: {message.strip()}\n{shown}"


def _faulty_line(message: str, lines: Sequence[str]) -> int | None:
    """Counted from 0. The parser names a line ("<string>:3:7: error"); the verifier prints the instruction itself."""
    named = re.search(r":(\d+):\d+: error", message)
    if named:
        return int(named.group(1)) - 1
    quoted = {line.strip() for line in message.splitlines() if line.startswith("  ")}
    return next((at for at, line in enumerate(lines) if line.strip() in quoted), None)
