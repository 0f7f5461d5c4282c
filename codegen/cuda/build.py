"""Launches compiled so that nothing spills: the printer's text in, text and machine code out. Between `printer` and the runtime.

ptxas stops at a number of registers that lets several blocks share a multiprocessor, even where it then has to keep values in memory. Such
a kernel is compiled again with leave to use all registers that one block may have: `__launch_bounds__(threads, 1)`.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from graphc.codegen.cuda.compiler import Cubin, compile_many
from graphc.codegen.cuda.printer import CudaSource


def build(sources: Sequence[CudaSource], arch: str) -> list[tuple[CudaSource, Cubin]]:
    """For each source the text that was taken, and its machine code; equal ones compile once. Raises what `compile_cuda` raises."""
    built = _compiled(sources, arch)
    spilling = {source: relaxed(source) for source, cubin in built.items() if spills(cubin)}
    again = _compiled(spilling.values(), arch)
    better = {source: other for source, other in spilling.items() if spills(again[other]) < spills(built[source])}
    return [(better[source], again[better[source]]) if source in better else (source, built[source]) for source in sources]


def relaxed(source: CudaSource) -> CudaSource:
    """`source` with leave to use as many registers as one block may."""
    threads = source.block[0] * source.block[1] * source.block[2]
    return replace(source, text=source.text.replace(f"__launch_bounds__({threads})", f"__launch_bounds__({threads}, 1)"))


def spills(cubin: Cubin) -> int:
    """Bytes that the functions of `cubin` spill."""
    return sum(used.spill_bytes for used in cubin.resources.values())


def _compiled(sources: Iterable[CudaSource], arch: str) -> dict[CudaSource, Cubin]:
    distinct = list(dict.fromkeys(sources))
    return dict(zip(distinct, compile_many([source.text for source in distinct], arch), strict=True))
