"""Scheduling for a CPU: how a kernel's plain loops become vector loops and parallel ones. Between `lower` and the LLVM printer.

A schedule is a list of steps, each a function from kernel to kernel that can be printed before and after. What they rest on:

- The vector loop is the one with the fewest scattered accesses: the columns of a row kernel, the kept axis of a column kernel (whose
  accumulators are then one per lane, and stay in registers while the reduced axis is walked serially inside).
- lanes: what a register holds of the widest type computed. parts: registers worked on at once, many for light bodies, few for heavy ones.
- The parallel range is cut by sizes alone, never by the number of threads, so results do not depend on it.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from graphc.codegen import ir
from graphc.codegen.idioms import recognise
from graphc.codegen.rewrite import Body, substitute
from graphc.codegen.schedule_access import consecutive, element_types, is_independent, is_vectorisable, scattered, work
from graphc.codegen.schedule_few import write_out_few
from graphc.codegen.schedule_prefetch import prefetch_rows
from graphc.codegen.schedule_rows import rows_in_lanes
from graphc.codegen.schedule_sums import split_sums
from graphc.codegen.schedule_tile import tile_transposes
from graphc.core import dtypes
from graphc.core.dtypes import DType

CHUNK = 16384  # elements of a flat loop that one task computes
LIGHT, HEAVY = 12, 60  # vector instructions an iteration: below LIGHT many parts, above HEAVY one
GATHERS = 256  # bits of a vector from which on the machine has an instruction that loads scattered elements
SCATTER = 8  # vector instructions that a scattered access of a vector costs as much as
FEW = 32  # a parallel loop of fewer iterations is joined with the loop inside it

Step = Callable[[ir.Kernel], ir.Kernel]


class Machine(Protocol):
    """What a schedule needs to know of a CPU; `llvm.target.Target` is one."""

    @property
    def vector_bits(self) -> int:
        """Width of a vector register."""

    def lanes(self, dtype: DType) -> int:
        """Elements of `dtype` in a vector register."""


@dataclass(frozen=True)
class CpuShape:
    """A machine with vectors of `vector_bits`, for schedules made without a target at hand."""

    vector_bits: int = 512

    def lanes(self, dtype: DType) -> int:
        """The 16-bit floats count as float32, as which they are computed."""
        return self.vector_bits // (8 * (4 if dtype.is_floating and dtype.size == 2 else dtype.size))


def schedule_cpu(kernel: ir.Kernel, machine: Machine) -> ir.Kernel:
    """`kernel` with its loops vectorised, tiled and made parallel for `machine`; it computes the same."""
    for step in steps(machine):
        kernel = step(kernel)
    return kernel


def steps(machine: Machine) -> tuple[Step, ...]:
    """The schedule, step by step."""
    def vectorised(kernel: ir.Kernel) -> ir.Kernel:
        return vectorise(kernel, machine)

    def short_rows(kernel: ir.Kernel) -> ir.Kernel:
        return rows_in_lanes(kernel, _lanes(kernel.body, machine)) if machine.vector_bits >= GATHERS else kernel

    def written_out(kernel: ir.Kernel) -> ir.Kernel:
        return write_out_few(kernel, _lanes(kernel.body, machine))
    return recognise, tile_transposes, short_rows, written_out, vectorised, prefetch_rows, chunk_parallel, split_sums, join_parallel


# Vectorise ------------------------------------------------------------------------------------------------------------------------------

def vectorise(kernel: ir.Kernel, machine: Machine) -> ir.Kernel:
    """On every way down from the outermost loop, the loop with the fewest scattered accesses becomes a vector loop.

        for i in 8 parallel { for j in 1000 serial { y[i, j] = x[i, j] } }
    ->  for i in 8 parallel { for j in 1000 vector(16, 4) { y[i, j] = x[i, j] } }
    """
    return replace(kernel, body=_vectorise_block(kernel.body, machine))


def _vectorise_block(body: Body, machine: Machine) -> Body:
    return tuple(_vectorise_stmt(stmt, machine) for stmt in body)


def _vectorise_stmt(stmt: ir.Stmt, machine: Machine) -> ir.Stmt:
    if isinstance(stmt, ir.If):
        return replace(stmt, body=_vectorise_block(stmt.body, machine))
    if not isinstance(stmt, ir.Loop):
        return stmt
    inner = [each for each in ir.walk(stmt.body) if isinstance(each, ir.Loop)]
    if any(each.kind == "vector" for each in (stmt, *inner)):
        return stmt
    if is_vectorisable(stmt) and _is_best(stmt, inner) and _is_worth_scattering(stmt):
        return _vector_loop(stmt, machine)
    return replace(stmt, body=_vectorise_block(stmt.body, machine))


def _is_best(loop: ir.Loop, inner: list[ir.Loop]) -> bool:
    """Whether `loop` has fewer scattered accesses than the best choice of loops inside it; at equality the inner ones are taken."""
    if not any(is_vectorisable(each) and each.extent > 1 for each in inner):
        return True
    # What stands outside the inner loops is vectorised by nothing else, so it counts for `loop` only.
    inside = _best_inside(loop)
    return inside is None or _disorder(loop) < inside


Disorder = tuple[int, int]  # scattered accesses, then consecutive ones with a minus: the less the better


def _disorder(loop: ir.Loop) -> Disorder:
    return scattered(loop), -consecutive(loop)


def _best_inside(loop: ir.Loop) -> Disorder | None:
    """The least disorder of vectors of the loops inside `loop`: of loops side by side the sum, of one inside the other the better of the
    two; None where none of them can be a vector loop."""
    found = [best for each in _next_loops(loop.body) if (best := _best_of(each)) is not None]
    return (sum(best[0] for best in found), sum(best[1] for best in found)) if found else None


def _best_of(loop: ir.Loop) -> Disorder | None:
    inside = _best_inside(loop)
    if loop.extent == 1 or not is_vectorisable(loop):
        return inside
    return _disorder(loop) if inside is None else min(_disorder(loop), inside)


def _next_loops(body: Body) -> list[ir.Loop]:
    """The loops of `body`, those under conditions too, but none that stands in another."""
    return [loop for stmt in body
            for loop in ([stmt] if isinstance(stmt, ir.Loop) else _next_loops(stmt.body) if isinstance(stmt, ir.If) else [])]


def _is_worth_scattering(loop: ir.Loop) -> bool:
    """Whether vectors of `loop` save more than its scattered accesses cost, where what it walks in order leaves no other loop to choose."""
    carries = any(isinstance(stmt, ir.Update) and stmt.combine == "assign" for stmt in ir.walk(loop.body))
    return not carries or SCATTER * scattered(loop) <= work(loop.body)


def _vector_loop(loop: ir.Loop, machine: Machine) -> ir.Loop:
    lanes = _lanes(loop.body, machine)
    return replace(loop, kind="vector", lanes=lanes, parts=min(_parts(loop.body), -(-loop.extent // lanes)))


def _lanes(body: Body, machine: Machine) -> int:
    """What a register holds of the widest type in `body`."""
    return min(machine.lanes(dtype) for dtype in element_types(body) or {dtypes.float32})


def _parts(body: Body) -> int:
    """Registers to work on at once: enough to hide the latency of light bodies and of accumulators, few enough to stay in registers."""
    sums = sum(isinstance(stmt, ir.Acc) for stmt in ir.walk(body)) or len({s.var for s in ir.walk(body) if isinstance(s, ir.Update)})
    weight = work(body)
    if weight > HEAVY:
        return 1 if weight > 2 * HEAVY else 2
    if sums:
        return 8 if sums == 1 and weight <= LIGHT else 4 if sums <= 4 else 2
    return 4


# Parallel -------------------------------------------------------------------------------------------------------------------------------

def chunk_parallel(kernel: ir.Kernel) -> ir.Kernel:
    """A kernel that is one long vector loop becomes parallel chunks of vector iterations; the last chunk may be shorter.

        for i in 40000 vector(16, 4) { y[i] = x[i] }
    ->  for c in 3 parallel {
          if c < 2 { for i in 16384 vector(16, 4) { y[c * 16384 + i] = x[c * 16384 + i] } }
          if c >= 2 { for i in 7232 vector(16, 4) { y[c * 16384 + i] = x[c * 16384 + i] } }
        }
    """
    *before, last = kernel.body or (None,)
    if not isinstance(last, ir.Loop) or last.kind != "vector" or not all(isinstance(stmt, ir.Let) for stmt in before):
        return kernel
    return replace(kernel, body=(*kernel.body[:-1], _chunked(last)))


def _chunked(loop: ir.Loop) -> ir.Loop:
    size = _chunk_size(loop)
    if loop.extent <= size:
        return loop
    whole, rest = divmod(loop.extent, size)
    chunk = ir.Var("c")
    start = ir.Apply("multiply", (chunk, ir.index(size)), dtypes.int64)
    body = substitute(loop.body, {loop.var.name: ir.Apply("add", (start, loop.var), dtypes.int64)})
    full = replace(loop, extent=size, body=body)
    if not rest:
        return ir.Loop(chunk, whole, "parallel", (full,))
    last = replace(full, extent=rest)
    return ir.Loop(chunk, whole + 1, "parallel", (ir.If(_test("lt", chunk, whole), (full,)), ir.If(_test("ge", chunk, whole), (last,))))


def _chunk_size(loop: ir.Loop) -> int:
    """Iterations of one chunk: one vector step where they walk a reduced axis inside, else about CHUNK elements: a multiple of a vector
    step, and a divisor of the extent where there is one near (the chunks are then all alike)."""
    step = loop.lanes * loop.parts
    if any(isinstance(stmt, ir.Loop) for stmt in loop.body):
        return step
    return next((size for size in range(CHUNK, CHUNK // 4, -step) if loop.extent % size == 0), CHUNK)


def _test(op: str, var: ir.Var, bound: int) -> ir.Expr:
    return ir.Apply(op, (var, ir.index(bound)), dtypes.bool)


# Joining --------------------------------------------------------------------------------------------------------------------------------

def join_parallel(kernel: ir.Kernel) -> ir.Kernel:
    """A parallel loop of few iterations is joined with the serial loop that is all its body, so that there is work for every thread.

        for i in 2 parallel { for j in 512 serial { ... } }
    ->  for c in 1024 parallel { let i = c / 512   let j = c % 512   ... }
    """
    return replace(kernel, body=tuple(_joined(s) if isinstance(s, ir.Loop) and s.kind == "parallel" else s for s in kernel.body))


def _joined(loop: ir.Loop) -> ir.Loop:
    inner = loop.body[0]
    if loop.extent >= FEW or len(loop.body) != 1 or not isinstance(inner, ir.Loop) or inner.kind != "serial" or not _is_free(inner):
        return loop
    both = ir.Var("c" if loop.var.name != "c" and inner.var.name != "c" else f"{loop.var.name}_{inner.var.name}")
    outer = ir.Let(loop.var, ir.Apply("divide", (both, ir.index(inner.extent)), dtypes.int64))
    rest = ir.Let(inner.var, ir.Apply("remainder", (both, ir.index(inner.extent)), dtypes.int64))
    return _joined(ir.Loop(both, loop.extent * inner.extent, "parallel", (outer, rest, *inner.body)))


def _is_free(loop: ir.Loop) -> bool:
    """Whether the iterations of `loop` are independent, and it updates no accumulator declared outside it either."""
    own = {stmt.var for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Acc)}
    return is_independent(loop) and all(stmt.var in own for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Update))
