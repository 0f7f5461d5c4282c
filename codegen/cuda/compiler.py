"""CUDA C to machine code: the printers' text in, a cubin and its resources out, remembered on disk. Between `printer` and the runtime.

The first of `COMPILERS` that this machine has is used: NVRTC in this process, else nvcc. Neither needs a GPU. Where the architecture is
newer than the compiler the image is PTX, which the driver compiles when it loads it.
"""
from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from graphc.codegen.cache import ObjectCache, default
from graphc.codegen.cuda.nvcc import Nvcc
from graphc.codegen.cuda.nvrtc import Nvrtc
from graphc.codegen.cuda.resources import Resources, log_of, resources_of
from graphc.codegen.cuda.toolchain import OPTIONS, CudaCompileError

CACHE_VERSION = 2  # part of every key: raise it when a compiler makes other code of the same text
HEADER = Path(__file__).with_name("graphc.cuh")  # what every text includes
INCLUDE = f'#include "{HEADER.name}"\n'
SUFFIX = ".cubin"
TOGETHER = 8  # kernels in one translation unit: each is kept with all of them


class NoCudaCompiler(Exception):
    """This machine has no compiler for CUDA C: the message says what to install."""


@dataclass(frozen=True)
class Cubin:
    """A translation unit compiled for one architecture: what the driver's module loader takes.

    image: an ELF cubin; PTX, with a final NUL, where the compiler is older than the architecture. resources: by __global__ function; empty
    for PTX, whose registers nobody knows yet. compiler: its name and version. log: all that it printed.
    """

    image: bytes = field(repr=False)
    resources: dict[str, Resources]
    compiler: str
    log: str = field(repr=False)


class Compiler(Protocol):
    """One way to compile CUDA C."""

    @property
    def name(self) -> str:
        """With the version: part of the key under which its code is remembered."""

    def problem(self) -> str | None:
        """Why it cannot be used here, and what to do about it; None where it can."""

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        """(image, log) of a translation unit that includes graphc.cuh. CudaCompileError where the text is refused."""


# In the order in which they are tried. Tests put one that makes code for the host in front.
COMPILERS: list[Compiler] = [Nvrtc(HEADER), Nvcc(HEADER)]


def usable_compiler() -> Compiler:
    """The compiler that compiles here; NoCudaCompiler where there is none."""
    problems = []
    for compiler in COMPILERS:
        problem = compiler.problem()
        if problem is None:
            return compiler
        problems.append(problem)
    raise NoCudaCompiler("no compiler for CUDA C was found: " + "; ".join(problems))


def compile_cuda(text: str, arch: str) -> Cubin:
    """The machine code of one translation unit for an architecture such as "sm_90".

    Raises CudaCompileError, with the line at fault and the comments that name the operations, where the text does not compile (an error of
    graphc, never of its user), and NoCudaCompiler. Threads may compile at the same time: the compilers work outside Python's lock.
    """
    compiler = usable_compiler()
    data, _ = default(ObjectCache).get(_parts(compiler, text, arch), SUFFIX, lambda: _pack(compiler, *_compiled(compiler, text, arch)))
    return _unpack(data)


def compile_many(texts: Sequence[str], arch: str) -> list[Cubin]:
    """`compile_cuda` of each text. Those that are not known yet are compiled several in one translation unit, since starting a compiler
    takes as long as many kernels do, and on as many threads as there are processors."""
    compiler, kept = usable_compiler(), default(ObjectCache)
    known: dict[str, bytes] = {}
    for text in dict.fromkeys(texts):
        entry = kept.find(_parts(compiler, text, arch), SUFFIX)
        if entry is not None:
            known[text], _ = entry
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    workers = len(os.sched_getaffinity(0))
    size = max(1, min(TOGETHER, -(-len(missing) // workers)))
    batches = [missing[first : first + size] for first in range(0, len(missing), size)]
    with ThreadPoolExecutor(workers, "graphc-cuda-compiler") as pool:  # makes a thread when there is work for it
        for made in pool.map(lambda batch: _batch(compiler, batch, arch), batches):
            for text, data in made.items():
                kept.put(_parts(compiler, text, arch), SUFFIX, data)
            known |= made
    return [_unpack(known[text]) for text in texts]


def _batch(compiler: Compiler, texts: Sequence[str], arch: str) -> dict[str, bytes]:
    """Each text with what is to be kept of it: they share one image. Where they do not compile together, each is compiled alone, which
    tells whose fault it is."""
    joined = INCLUDE + "\n".join(text.replace(INCLUDE, "") for text in texts)
    try:
        image, log = compiler.compile(joined, arch)
    except CudaCompileError:
        return {text: _pack(compiler, *_compiled(compiler, text, arch)) for text in texts}
    return {text: _pack(compiler, image, "\n".join(log_of(log, text))) for text in texts}


@cache
def _header_text() -> str:
    return HEADER.read_text()


def _parts(compiler: Compiler, text: str, arch: str) -> tuple[str, ...]:
    """All that machine code depends on."""
    return (str(CACHE_VERSION), compiler.name, *OPTIONS, arch, _header_text(), text)


def _compiled(compiler: Compiler, text: str, arch: str) -> tuple[bytes, str]:
    """(image, log) of one translation unit; an error explains itself."""
    try:
        return compiler.compile(text, arch)
    except CudaCompileError as error:
        raise CudaCompileError(_explain(compiler, arch, error.log, text), error.log) from None


def _pack(compiler: Compiler, image: bytes, log: str) -> bytes:
    """What is kept on disk: a line of JSON that says who made the code and what it printed, then the code."""
    return json.dumps({"compiler": compiler.name, "log": log}).encode() + b"\n" + image


def _unpack(data: bytes) -> Cubin:
    line, _, image = data.partition(b"\n")
    about = json.loads(line)
    return Cubin(image, resources_of(about["log"]), about["compiler"], about["log"])


# Explaining an error --------------------------------------------------------------------------------------------------------------------

_FAULT = re.compile(r"kernel\.cu(?:\((\d+)\)|:(\d+):\d+): \w*\s*error\s*:? (.*)")
_CONTEXT_LINES = 2  # shown before and after the line at fault


def _explain(compiler: Compiler, arch: str, log: str, text: str) -> str:
    """The compiler's first complaint, the operations that the text was made of, and the lines around the fault; else the whole log."""
    fault = _FAULT.search(log)
    head = f"{compiler.name} refuses generated code for {arch}"
    if fault is None:
        return f"{head}:\n{log.strip()}"
    lines = text.splitlines()
    number = int(fault[1] or fault[2])
    first = max(1, number - _CONTEXT_LINES)
    origins = [line for line in lines[: first - 1] if line.startswith("//")]
    shown = [f"{'>' if at == number else ' '}{at:5} | {lines[at - 1]}" for at in range(first, min(number + _CONTEXT_LINES, len(lines)) + 1)]
    return "\n".join([f"{head}: {fault[3].strip()}", *origins, *shown])
