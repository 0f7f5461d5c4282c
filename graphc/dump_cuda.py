"""`graphc dump MODEL --target sm_90`: the CUDA C of every launch as files to read, with an index. Needs no GPU. Stands on top."""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from graphc.codegen.cuda.compiler import HEADER
from graphc.compiled import compiled
from graphc.inspection.folder import INDEX, MARK, write_files
from graphc.passes.pipelines import Pipeline
from graphc.runtime.cuda.launches import CopyLaunch, GemmLaunch
from graphc.runtime.executable import CudaExecutable, CudaKernel
from graphc.terminal import bytes_text, table

_COLUMNS = ("launch", "grid", "block", "registers", "shared", "spills", "stack", "occupancy", "bytes moved", "flops", "computed by")
_UNKNOWN = "-"
_NAME_LENGTH = 60


def main(model: str, pipeline: str | Pipeline, target: str, products: str, out: Path | None) -> None:
    """Compiles the model for the GPU `target`, writes files into the folder `out` or prints the code, and prints what each launch takes.

    ValueError for a target or a model that is none, and for a folder that cannot be had.
    """
    plan = compiled(model, pipeline, target, products)
    if not isinstance(plan, CudaExecutable):
        raise ValueError(f"{target!r} is no GPU")
    files = files_of(model, plan)
    if out is None:
        print("\n".join(files[name] for name in file_names(plan.kernels)))
    else:
        write_files(out, files)
        print(f"wrote {len(files)} files to {out}")
    print(f"{summary(plan)}\n\n{resource_table(plan)}")


def files_of(model: str, plan: CudaExecutable) -> dict[str, str]:
    """What a dump consists of, by file name: a .cu file for each launch, in order, the header that they include, and the index."""
    names = file_names(plan.kernels)
    files = {name: f"// launch: grid {_dims(kernel.grid)}, block {_dims(kernel.block)}\n{kernel.code.rstrip()}\n"
             for name, kernel in zip(names, plan.kernels, strict=True)}
    return {**files, HEADER.name: HEADER.read_text(), INDEX: index(model, plan)}


def file_names(kernels: Sequence[CudaKernel]) -> list[str]:
    """`02_row_Softmax.cu`: the position of the launch, then what it computes."""
    width = len(str(max(len(kernels) - 1, 0)))
    return [f"{number:0{width}}_{_plain(kernel.name)}.cu" for number, kernel in enumerate(kernels)]


def index(model: str, plan: CudaExecutable) -> str:
    """A page about all launches: what each takes of the device, what it computes, and the lines that asked for it."""
    names = file_names(plan.kernels)
    parts = [MARK, f"# {Path(model).name} for {plan.target}", summary(plan), f"```\n{resource_table(plan)}\n```"]
    parts += [_section(name, kernel) for name, kernel in zip(names, plan.kernels, strict=True)]
    return "\n\n".join(parts) + "\n"


def summary(plan: CudaExecutable) -> str:
    """Who compiled the kernels, how many launches there are, and what they move."""
    count = len(plan.launches)
    return (f"{_compiler_text(plan)}. {count} launch{'' if count == 1 else 'es'}, {bytes_text(plan.bytes_moved)} moved, "
            f"{plan.flops:,} flops, arena {bytes_text(plan.memory.arena_bytes)}.")


def _compiler_text(plan: CudaExecutable) -> str:
    own = [launch.generated if isinstance(launch, GemmLaunch) else launch for launch in plan.launches if not isinstance(launch, CopyLaunch)]
    if not own:
        return "Nothing to compile"
    if not any(launch.image for launch in own):
        return f"Not compiled, so resources are unknown ({plan.compiler})"
    if not any(kernel.resources for kernel in plan.kernels):
        return f"Compiled to PTX by {plan.compiler}, which does not know {plan.target}: resources are unknown"
    return f"Compiled by {plan.compiler}"


def resource_table(plan: CudaExecutable) -> str:
    """A row for each launch. Registers, spills and stack are of one thread, shared memory of one block; occupancy is the share of a
    multiprocessor's warps that can be resident."""
    rows = [[number, _dims(kernel.grid), _dims(kernel.block), *_resources(kernel), bytes_text(kernel.bytes), f"{kernel.flops:,}",
             "cublasLt" if kernel.library else "its kernel"]
            for number, kernel in enumerate(plan.kernels)]
    return table(rows, _COLUMNS, indent=0)


def _section(name: str, kernel: CudaKernel) -> str:
    """One launch: its file, who computes it, its operations with the lines that declared them."""
    lines = [f"## [{name}]({name})"]
    if kernel.library:
        lines += ["", f"{kernel.library}. The file is what runs where the library is missing or slower."]
    if kernel.origins:
        lines += ["", *(f"- {origin}" for origin in kernel.origins)]
    return "\n".join(lines)


def _resources(kernel: CudaKernel) -> list[str]:
    found = kernel.resources
    if found is None:
        return [_UNKNOWN] * 5
    return [str(found.registers), bytes_text(found.shared_bytes), bytes_text(found.spill_bytes), bytes_text(found.local_bytes),
            f"{kernel.occupancy:.0%}"]


def _dims(dims: tuple[int, int, int]) -> str:
    """(8, 2, 1) -> "8x2"."""
    return "x".join(str(dim) for dim in dims[: max((n + 1 for n, dim in enumerate(dims) if dim > 1), default=1)])


def _plain(name: str) -> str:
    """A kernel's name as a part of a file name, without its number, which counts steps and not launches."""
    return re.sub(r"\W+", "_", re.sub(r"^\d+_", "", name)).strip("_")[:_NAME_LENGTH] or "kernel"
