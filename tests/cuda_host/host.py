"""Runs the CUDA C text of kernels on the CPU, unchanged: g++ compiles it with `cuda_host.h`, and every CUDA thread is a fiber.

`run` is to CUDA text what `codegen.interp.run` is to kernel IR. It finds what a GPU would not tell: accesses outside an array (each stands
beside a page that nobody may touch), misaligned ones, writes to inputs, threads that wait at different barriers. Shared memory starts as
NaN, and a missing barrier shows as a difference between `order="forward"`, "reversed" and "shuffled".

The start of g++ takes longer than a kernel does: `build_many` compiles many texts at once, and `run` finds them. Libraries are kept by
their hash in one folder of the test session, whichever process made them.
"""
from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from graphc.codegen import ir

HERE = Path(__file__).parent
DEVICE_HEADERS = HERE.parent.parent / "codegen" / "cuda"
FLAGS = ("-std=c++20", "-O1", "-g1", "-gdwarf-4", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv",
         "-w", "-U_FORTIFY_SOURCE", "-fsanitize=alignment,bounds", "-fno-exceptions")  # fmt: skip
ORDERS = ("forward", "reversed", "shuffled")
PER_LIBRARY = 24  # kernels that one run of g++ compiles
PAGE = mmap.PAGESIZE
RED = 0xFF  # fills what lies between an array and the page's end: NaN to who reads it, checked after the run

Array = np.ndarray[Any, Any]


class Source(Protocol):
    """What is asked of a `codegen.cuda.printer.CudaSource`."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def grid(self) -> tuple[int, int, int]: ...
    @property
    def block(self) -> tuple[int, int, int]: ...


class HostBuildError(Exception):
    """g++ refused the text of a kernel; the message is its own."""


class KernelFault(Exception):
    """A kernel did what it must not: names the kernel, block and thread, and the line of its text where that is known."""


def folder() -> Path:
    """Where libraries are kept: inside the cache of the test session, which ends with it."""
    found = Path(os.environ.get("GRAPHC_CACHE_DIR") or tempfile.gettempdir()) / "cuda_host"
    found.mkdir(parents=True, exist_ok=True)
    return found


@contextmanager
def made_once(path: Path) -> Iterator[Path | None]:
    """Gives a name to write `path` under, or None where it is there already. One process at a time makes a file."""
    with open(path.with_name(path.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            yield None
            return
        draft = path.with_name(f"draft-{os.getpid()}-{path.name}")
        yield draft
        draft.rename(path)


def compile_library(text: str, path: Path) -> None:
    """C++ `text`, which sees `cuda_host.h`, as a library at `path`, with the code that runs fibers linked in."""
    unit = path.with_suffix(".o")
    try:
        _gcc(*FLAGS, "-I", str(DEVICE_HEADERS), "-include", str(_precompiled_header()), "-c", "-x", "c++", "-", "-o", str(unit), text=text)
        _gcc("-shared", str(unit), str(_runtime_object()), "-o", str(path))
    finally:
        unit.unlink(missing_ok=True)


def _gcc(*arguments: str, text: str | None = None) -> None:
    done = subprocess.run(["g++", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HostBuildError(done.stderr)


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:20]


@cache
def _own_text() -> str:
    """What every library depends on besides its own text."""
    headers = sorted(DEVICE_HEADERS.glob("*.cuh"))
    return digest(*(p.read_text() for p in (HERE / "cuda_host.h", HERE / "cuda_host.cpp", *headers)), *FLAGS)


@cache
def _precompiled_header() -> Path:
    """A copy of the header that stands beside its precompiled form, which g++ finds by itself."""
    name = folder() / f"{_own_text()}.h"
    with made_once(name.with_suffix(".h.gch")) as draft:
        if draft is not None:
            name.write_text((HERE / "cuda_host.h").read_text())
            _gcc(*FLAGS, "-x", "c++-header", str(name), "-o", str(draft))
    return name


@cache
def _runtime_object() -> Path:
    path = folder() / f"{_own_text()}.o"
    with made_once(path) as draft:
        if draft is not None:
            flags = [flag for flag in FLAGS if not flag.startswith("-fsanitize")]
            _gcc(*flags, "-O2", "-c", str(HERE / "cuda_host.cpp"), "-o", str(draft))
    return path


# Building ---------------------------------------------------------------------------------------------------------------------------------


class _Launch(ctypes.Structure):
    """`cuda_host::Launch`."""

    _fields_ = (("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("order", ctypes.c_int), ("packed", ctypes.c_void_p),
                ("error", ctypes.c_char_p), ("error_size", ctypes.c_size_t),
                ("fault_address", ctypes.c_size_t), ("fault_code", ctypes.c_size_t))  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """The entry of one kernel in a library that is loaded."""

    library: Path
    symbol: str

    @property
    def call(self) -> Any:
        return getattr(_load(self.library), self.symbol)


@cache
def _load(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


_built: dict[tuple[str, str], Entry] = {}  # by name and text


def build_many(sources: Iterable[Source]) -> None:
    """Compiles many kernels with few runs of g++, two at a time; `run` then finds them. HostBuildError names the line of the text."""
    missing = list({(s.name, s.text): s for s in sources if (s.name, s.text) not in _built}.values())
    chunks = [missing[n : n + PER_LIBRARY] for n in range(0, len(missing), PER_LIBRARY)]
    with ThreadPoolExecutor(2) as pool:
        for entries in pool.map(_build, chunks):
            _built.update(entries)


def _build(sources: Sequence[Source]) -> dict[tuple[str, str], Entry]:
    text = "".join([*_includes(sources), *(_in_namespace(number, source) for number, source in enumerate(sources))])
    path = folder() / f"{digest(_own_text(), text)}.so"
    with made_once(path) as draft:
        if draft is not None:
            compile_library(text, draft)
    return {(s.name, s.text): Entry(path, f"kernel_{n}") for n, s in enumerate(sources)}


_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include.*$", re.MULTILINE)


def _includes(sources: Sequence[Source]) -> list[str]:
    found = dict.fromkeys(line.strip() for source in sources for line in _INCLUDE.findall(source.text))
    return [f"{line}\n" for line in found]


def _in_namespace(number: int, source: Source) -> str:
    """The text with names and shared memory of its own; lines keep their numbers. C linkage is left out: names may be equal."""
    text = _INCLUDE.sub("", source.text).replace('extern "C" ', "")
    section = f"shared_{number}"
    return (f'{_shared_section(section)}#line 1 "{source.name}.cu"\nnamespace space_{number} {{ {text}\n}}\n'
            f'CUDA_HOST_ENTRY(kernel_{number}, "{source.name}", space_{number}::{source.name}, {section})\n')  # fmt: skip


def _shared_section(name: str) -> str:
    return f'#undef CUDA_HOST_SECTION\n#define CUDA_HOST_SECTION "{name}"\n'


class HostCompiler:
    """A compiler for `graphc.codegen.cuda.compiler.COMPILERS`: its image is a library of the host, which the fake driver loads."""

    _KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")

    @property
    def name(self) -> str:
        """With a hash of what decides about its code besides the text: the name is part of a cache's key."""
        return f"g++ for the host {_own_text()}"

    def problem(self) -> str | None:
        return None

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        """The library's bytes and an empty log. The entry of kernel k is `cuda_host_k`."""
        names = self._KERNEL.findall(text)
        entries = "".join(f'CUDA_HOST_ENTRY(cuda_host_{n}, "{n}", {n}, shared_0)\n' for n in names)
        whole = f"{_shared_section('shared_0')}#line 1 \"{names[0] if names else 'kernel'}.cu\"\n{text}\n{entries}"
        path = folder() / f"{digest(_own_text(), whole)}.so"
        with made_once(path) as draft:
            if draft is not None:
                compile_library(whole, draft)
        return path.read_bytes(), ""


# Running ----------------------------------------------------------------------------------------------------------------------------------


def run(source: Source, kernel: ir.Kernel, arrays: Sequence[Array], order: str = "forward") -> None:
    """Runs `source`, printed from `kernel`, on one array for each parameter; "out" and "inout" arrays are written in place.

    Arrays that are the same memory stay so: an output may lie over an input. ValueError for arrays that do not fit; KernelFault for a
    launch that fails, for a write next to an array or to an input.
    """
    if len(arrays) != len(kernel.params):
        raise ValueError(f"kernel {kernel.name} takes {len(kernel.params)} arrays; got {len(arrays)}")
    for buffer, array in zip(kernel.params, arrays, strict=True):
        if array.dtype != buffer.dtype.np_dtype or array.shape != buffer.shape:
            raise ValueError(f"{buffer.name} is {buffer.dtype.name}{list(buffer.shape)}; got {array.dtype}{list(array.shape)}")
    launch(source, [(b.name, b.space != "in", a) for b, a in zip(kernel.params, arrays, strict=True)], order)


def launch(source: Source, arguments: Sequence[tuple[str, bool, Array]], order: str = "forward") -> None:
    """Runs `source` on named arrays; those that are marked so are written in place. See `run`."""
    if (source.name, source.text) not in _built:
        build_many([source])
    guarded: dict[tuple[int, int], _Guarded] = {}
    written: set[tuple[int, int]] = set()
    keys: list[tuple[int, int]] = []
    for name, is_output, array in arguments:
        key = (array.__array_interface__["data"][0] if array.size else len(keys), array.nbytes)
        if key not in guarded:
            # In reversed order an array begins at the page that nobody may touch, otherwise it ends there.
            guarded[key] = _Guarded(name, array, at_start=order == "reversed")
        if is_output:
            written.add(key)
        keys.append(key)
    try:
        _call(source, [guarded[key] for key in keys], order)
        for key, (_, is_output, array) in zip(keys, arguments, strict=True):
            guarded[key].check(source.name, array, read_only=key not in written)
            if is_output:
                array[...] = guarded[key].array
    finally:
        for each in guarded.values():
            each.close()


def _call(source: Source, memory: Sequence[_Guarded], order: str) -> None:
    entry = _built[source.name, source.text]
    packed = (ctypes.c_void_p * max(1, len(memory)))(*(each.address for each in memory))
    error = ctypes.create_string_buffer(512)
    what = _Launch((ctypes.c_uint * 3)(*source.grid), (ctypes.c_uint * 3)(*source.block), ORDERS.index(order),
                   ctypes.addressof(packed), ctypes.cast(error, ctypes.c_char_p), len(error), 0, 0)  # fmt: skip
    if entry.call(ctypes.byref(what)):
        place = next((text for each in memory if (text := each.describe(what.fault_address))), "")
        raise KernelFault(error.value.decode() + place + _line_of(entry.library, what.fault_code))


def _line_of(library: Path, code: int) -> str:
    """", at k.cu:12", where binutils can tell."""
    if not code:
        return ""
    try:
        done = subprocess.run(["addr2line", "-e", str(library), hex(code)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    place = done.stdout.strip().rsplit("/", 1)[-1]
    return "" if done.returncode or place.startswith("?") else f", at {place.split(' ')[0]}"


class _Guarded:
    """A copy of an array between two pages that nobody may touch: right before the second, or right after the first.

    Its address is a multiple of 16, so up to 15 bytes stay between; they and the rest of the pages are filled with RED.
    """

    def __init__(self, name: str, array: Array, at_start: bool) -> None:
        self.name = name
        size = -(-array.nbytes // 16) * 16
        inner = -(-size // PAGE) * PAGE
        self.map = mmap.mmap(-1, inner + 2 * PAGE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.map))
        _protect(base, PAGE)
        _protect(base + PAGE + inner, PAGE)
        self.bytes = np.frombuffer(self.map, np.uint8, inner, PAGE)
        self.bytes[...] = RED
        self.start = 0 if at_start else inner - size
        self.address = base + PAGE + self.start
        self.nbytes = array.nbytes
        self.array = self.bytes[self.start : self.start + array.nbytes].view(array.dtype).reshape(array.shape)
        self.array[...] = array
        self.reach = (base, base + inner + 2 * PAGE)

    def describe(self, fault: int) -> str:
        """Where `fault` lies, if near this array."""
        if not self.reach[0] <= fault < self.reach[1]:
            return ""
        if fault < self.address:
            return f", {self.address - fault} bytes before {self.name}"
        return f", {fault - self.address - self.nbytes} bytes past the end of {self.name} ({self.nbytes} bytes)"

    def check(self, kernel: str, before: Array, read_only: bool) -> None:
        around = self.bytes.copy()
        around[self.start : self.start + self.nbytes] = RED
        if (wrong := np.flatnonzero(around != RED)).size:
            raise KernelFault(f"kernel {kernel} wrote outside of {self.name}, at byte {wrong[0] - self.start} of {self.nbytes}")
        if read_only and self.array.tobytes() != before.tobytes():
            raise KernelFault(f"kernel {kernel} wrote to {self.name}, which is an input")

    def close(self) -> None:
        """Gives the memory back; a view that is still alive keeps it."""
        _protect(self.reach[0], PAGE, readable=True)
        del self.array, self.bytes


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _protect(address: int, size: int, readable: bool = False) -> None:
    failed = _libc().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ if readable else 0)
    assert not failed, "mprotect failed"
