"""Kernel IR in, LLVM text out: one kernel becomes one function `void @NAME(ptr %bufs, ptr %scratch, i64 %begin, i64 %end)`.

`bufs` points at the kernel's parameter pointers in order; `scratch` at this thread's memory (64-byte aligned): the local buffers, then the
panels of products; [begin, end) is a slice of the range that `launch_extent` counts: the parallel loop's iterations, or the tasks of a
product that is the whole kernel, or 1.
"""
from __future__ import annotations

from graphc.codegen import ir
from graphc.codegen.llvm.body import Body
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.product import emit_product, product_scratch, product_tasks
from graphc.codegen.llvm.target import Target

_ALIGN = 64


def print_kernel(kernel: ir.Kernel, target: Target) -> str:
    """The text of a module that defines the kernel's function."""
    e = Emitter(f"define void @{kernel.name}(ptr %bufs, ptr %scratch, i64 %begin, i64 %end)")
    pointers = {}
    for position, buffer in enumerate(kernel.params):
        slot = e.let(f"getelementptr ptr, ptr %bufs, i64 {position}")
        pointers[buffer.name] = e.let(f"load ptr, ptr {slot}, align 8")
    offsets, end = _local_offsets(kernel)
    for name, offset in offsets.items():
        pointers[name] = e.let(f"getelementptr i8, ptr %scratch, i64 {offset}")
    panels = e.let(f"getelementptr i8, ptr %scratch, i64 {end}")
    some = e.let("icmp ult i64 %begin, %end")
    e.do(f"br i1 {some}, label %work, label %out")
    e.label("work")
    split = ("%begin", "%end") if _is_product(kernel) else None
    Body(e, target, pointers, lambda body, product: emit_product(body, product, split), panels).execute(kernel.body)
    e.do("br label %out")
    e.label("out")
    e.do("ret void")
    return e.finish("nounwind ").text()


def scratch_bytes(kernel: ir.Kernel, target: Target) -> int:
    """Bytes of scratch memory that each thread of a launch needs: every local buffer, and the panels of the hungriest product."""
    panels = max((product_scratch(stmt, target) for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Product)), default=0)
    return _local_offsets(kernel)[1] + panels


def launch_extent(kernel: ir.Kernel, target: Target) -> int:
    """Length of the range that a launch splits over threads."""
    first = kernel.body[0] if kernel.body else None
    if isinstance(first, ir.Product) and _is_product(kernel):
        return product_tasks(first, target)
    return kernel.parallel_extent


def _is_product(kernel: ir.Kernel) -> bool:
    """Whether the kernel is one product and nothing else: its tasks are then what a launch splits."""
    return len(kernel.body) == 1 and isinstance(kernel.body[0], ir.Product)


def _local_offsets(kernel: ir.Kernel) -> tuple[dict[str, int], int]:
    """The place of each local buffer in the scratch memory, and where the panels begin."""
    offsets, end = {}, 0
    for stmt in ir.walk(kernel.body):
        if isinstance(stmt, ir.Local):
            offsets[stmt.buffer.name] = end
            end += -(-stmt.buffer.nbytes // _ALIGN) * _ALIGN
    return offsets, end
