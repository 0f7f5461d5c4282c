"""Program in, CudaExecutable out: the GPU's counterpart of `compile.py`. Needs no GPU, and no compiler to make readable text.

    specialise (core) -> GPU pipeline and memory plan (passes) -> lower (codegen) -> cublasLt's product, or schedule_gpu, merge
    -> print (codegen.cuda) -> NVRTC or nvcc

The lowered kernels are those of a CPU; everything that knows of a GPU comes after them.
"""
from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from graphc.codegen import cache, ir
from graphc.codegen.cost import Cost, cost
from graphc.codegen.cuda.build import build
from graphc.codegen.cuda.compiler import Cubin, NoCudaCompiler
from graphc.codegen.cuda.gemm import Gemm, gemm_of
from graphc.codegen.cuda.printer import CudaSource, print_cuda
from graphc.codegen.cuda.resources import occupancy
from graphc.codegen.gpu import Gpu
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from graphc.codegen.schedule_gpu_merge import merge
from graphc.codegen.text import print_kernel
from graphc.core.program import Node, Origin, Program
from graphc.passes.epilogues import once_for_equal
from graphc.passes.memory import MemoryPlan
from graphc.passes.pipelines import Pipeline, for_gpu
from graphc.runtime import verifying
from graphc.runtime.cuda.launches import CopyLaunch, GemmLaunch, KernelLaunch, Launch
from graphc.runtime.executable import CudaExecutable, CudaKernel, Slots
from graphc.runtime.merging import Access, shape_of, together
from graphc.runtime.planned import (
    Planned,
    Remembered,
    figures,
    parameters,
    plan,
    pointer_to,
    step_name,
    variables_read,
    variables_written,
)


@dataclass(frozen=True)
class Products:
    """Who computes matrix products. library: whether cublasLt may. exactly: only where it gives NaN where NaN is due (its relu gives 0),
    and is not slower. precision: to which float32 operands are rounded in it ("float32", "tfloat32", "bfloat16", "float16"); sums are
    float32."""

    library: bool = False
    exactly: bool = True
    precision: str = "float32"

    def may_do(self, gemm: Gemm | None) -> bool:
        """Whether the library is to compute `gemm`."""
        return self.library and gemm is not None and not (self.exactly and gemm.hides_nan)


def compile_cuda_program(program: Program, pipeline: Pipeline, gpu: Gpu, products: Products, verify: bool | None = None,
                         ) -> CudaExecutable:
    """Compiles `program` for `gpu`.

    A pass that fails is left out with a warning; errors of lowering and of code generation are raised. Where there is no CUDA compiler the
    executable has text and no machine code: `compiler` says why.
    """
    start = time.perf_counter()
    fitted = for_gpu(pipeline, once_for_equal(functools.partial(_expressible, products)) if products.library else None)
    planned = plan(program, fitted, functools.partial(_wants_apart, gpu, products), verify)
    passed = time.perf_counter()
    final, memory, slots = planned.program, planned.memory, planned.slots
    works = _works(planned, gpu, products)
    lowered = time.perf_counter()
    cubins = _Cubins(gpu.arch)
    merges = any(name == "together" for name, _ in fitted.passes)
    kernels, launches = _launches(works, _groups(works, gpu, merges), memory, slots, gpu, cubins, products)
    kernel_of = {step: number for number, kernel in enumerate(kernels) for step in kernel.steps}
    phases = {"passes": (passed - start) * 1e3, "lower": (lowered - passed) * 1e3, "machine code": (time.perf_counter() - lowered) * 1e3}
    made = CudaExecutable(
        target=gpu.arch, stages=planned.stages, kernels=kernels, memory=figures(final, memory, kernel_of), plan=memory,
        reads=variables_read(final), writes=variables_written(final), slots=slots, compile_ms=phases,
        objects_from=cubins.counts, plan_text=_plan_text(kernels, launches), launches=launches, gpu=gpu, compiler=cubins.compiler)
    if verifying.wanted(verify):
        verifying.check().check_cuda_executable(made)
    return made


def _expressible(products: Products, step: Node) -> bool:
    """Whether cublasLt is to do all that the step does."""
    return products.may_do(gemm_of(lower(step)))


# Steps -----------------------------------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class _Made:
    """What a step becomes, whatever it is called and wherever it stands: its kernel in grid loops, that as CUDA C, its cost, cublasLt's
    view of it."""

    kernel: ir.Kernel
    source: CudaSource
    cost: Cost
    gemm: Gemm | None


@dataclass(frozen=True)
class _Work:
    """One step of the plan, ready to be printed: with its number, names, and where its buffers are."""

    number: int
    name: str
    made: _Made
    origins: tuple[Origin, ...]
    access: Access


_made: Remembered[_Made] = Remembered()


def _works(planned: Planned, gpu: Gpu, products: Products) -> list[_Work]:
    works = []
    for number, step in enumerate(planned.memory.steps):
        made = _made.get(gpu, step, functools.partial(_make, gpu))
        origins = planned.program.origins.get(step, ())
        access = Access.of(made.kernel, parameters(step, planned.memory, planned.slots))
        if not products.may_do(made.gemm):
            made = replace(made, gemm=None)
        works.append(_Work(number, step_name(number, step, origins), made, origins, access))
    return works


def _make(gpu: Gpu, step: Node) -> _Made:
    """The step scheduled and printed."""
    lowered = lower(step)
    kernel = _named(schedule_gpu(lowered, gpu), step.attrs.kind if step.name == "fusion" else step.name)
    return _Made(kernel, print_cuda(kernel, gpu), cost(lowered), gemm_of(lowered))


def _wants_apart(gpu: Gpu, products: Products, step: Node) -> bool:
    """Whether the result of `step` must not lie over an operand: cublasLt promises that of C, and not of an aux that it reads."""
    if not products.library or step.name != "fusion" or step.attrs.kind != "dot":
        return False
    gemm = _made.get(gpu, step, functools.partial(_make, gpu)).gemm
    return gemm is not None and gemm.reads_aux and products.may_do(gemm)


# Launches --------------------------------------------------------------------------------------------------------------------------------

def _groups(works: Sequence[_Work], gpu: Gpu, merges: bool) -> list[list[int]]:
    """Which works share a launch, by number: where the pipeline `merges`, small ones that touch no common memory."""
    shapes = [shape_of(work.made.kernel, gpu) if merges and work.made.gemm is None else None for work in works]
    return together([work.access for work in works], shapes)


def _launches(works: Sequence[_Work], groups: Sequence[Sequence[int]], memory: MemoryPlan, slots: Slots, gpu: Gpu, cubins: _Cubins,
              products: Products) -> tuple[tuple[CudaKernel, ...], tuple[Launch, ...]]:
    """The kernels and their launches in order, one for each of `groups` of works."""
    printed = [_printed([works[number] for number in group], gpu) for group in groups]
    compiled = cubins.compile([source for source, _ in printed])
    kernels: list[CudaKernel] = []
    launches: list[Launch] = []
    for position, (group, (_, kernel), (source, cubin)) in enumerate(zip(groups, printed, compiled, strict=True)):
        members = [works[number] for number in group]
        made = _cuda_kernel(members, source, kernel, cubin, gpu)
        params = tuple(pointer for member in members for pointer in member.access.params)
        image = b"" if cubin is None else cubin.image
        launch = KernelLaunch(source.name, image, source.grid, source.block, params, position)
        gemm = members[0].made.gemm
        launches.append(launch if gemm is None else GemmLaunch(gemm, products.precision, params, launch, position, not products.exactly))
        kernels.append(made)
    copies = [CopyLaunch(pointer_to(to, slots), pointer_to(source, slots), size) for source, to, size in memory.copies]
    return tuple(kernels), (*launches, *copies)


def _printed(members: Sequence[_Work], gpu: Gpu) -> tuple[CudaSource, ir.Kernel]:
    """CUDA C for one launch, and the kernel that it is."""
    if len(members) == 1:
        return members[0].made.source, members[0].made.kernel
    kernel = _named(merge([member.made.kernel for member in members], "merged"), "merged")
    return print_cuda(kernel, gpu), kernel


def _named(kernel: ir.Kernel, kind: str) -> ir.Kernel:
    """`kernel` called by its kind and a hash of what it does: equal kernels are equal text, compiled once."""
    text = print_kernel(replace(kernel, name="kernel"), origins=False)
    return replace(kernel, name=f"{kind}_{hashlib.sha256(text.encode()).hexdigest()[:12]}", origins=())


def _cuda_kernel(members: Sequence[_Work], source: CudaSource, kernel: ir.Kernel, cubin: Cubin | None, gpu: Gpu) -> CudaKernel:
    origins = tuple(dict.fromkeys(origin for member in members for origin in member.origins))
    resources = None if cubin is None else cubin.resources.get(source.name)
    threads = source.block[0] * source.block[1] * source.block[2]
    gemm = members[0].made.gemm
    name = members[0].name if len(members) == 1 else f"{members[0].number}_merged_{len(members)}_steps"
    comment = "".join(f"// {origin}\n" for origin in origins)
    return CudaKernel(
        name=name, symbol=source.name, ir=replace(kernel, origins=tuple(map(str, origins))), code=comment + source.text, origins=origins,
        flops=sum(member.made.cost.flops for member in members), bytes=sum(member.made.cost.bytes for member in members),
        microseconds=sum(member.made.cost.microseconds for member in members), steps=tuple(member.number for member in members),
        grid=source.grid, block=source.block, resources=resources,
        occupancy=0.0 if resources is None else occupancy(resources, threads, gpu), library="" if gemm is None else gemm.describe())


def _plan_text(kernels: Sequence[CudaKernel], launches: Sequence[Launch]) -> str:
    """A line for every launch."""
    lines = []
    for launch in launches:
        match launch:
            case CopyLaunch():
                lines.append(f"copy {launch.nbytes} bytes")
            case GemmLaunch():
                kernel = kernels[launch.kernel]
                lines.append(f"{kernel.name}: {kernel.library} (or {kernel.symbol})")
            case KernelLaunch():
                blocks, threads = (f"({', '.join(map(str, dims))})" for dims in (launch.grid, launch.block))
                lines.append(f"{kernels[launch.kernel].name}: {launch.symbol}, grid {blocks}, block {threads}")
    return "\n".join(f"// {number} {line}" for number, line in enumerate(lines))


# Machine code ----------------------------------------------------------------------------------------------------------------------------

@dataclass
class _Cubins:
    """Compiles the distinct texts of one executable, and counts where the code came from."""

    arch: str
    compiler: str = "nothing to compile"
    counts: dict[str, int] = field(default_factory=dict)

    def compile(self, sources: Sequence[CudaSource]) -> list[tuple[CudaSource, Cubin | None]]:
        """For each the text that was taken and its machine code; None for all where there is no compiler."""
        before = replace(cache.default(cache.ObjectCache).stats)
        try:
            built = build(sources, self.arch)
        except NoCudaCompiler as error:
            self.compiler = str(error)
            return [(source, None) for source in sources]
        self.counts = cache.default(cache.ObjectCache).stats.since(before)
        self.compiler = next((cubin.compiler for _, cubin in built), self.compiler)
        return list(built)
