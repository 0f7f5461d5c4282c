"""Scheduling for a GPU: how a kernel's plain loops become grids of blocks and teams of threads. Between `lower` and the CUDA printer.

A schedule is a list of steps, each a function from kernel to kernel that can be printed before and after. Each of them knows one family of
kernels and leaves the others alone; after the last one, every statement stands in a grid loop. What is chosen depends on shapes and on the
architecture, never on how many multiprocessors a device has, so that results do not either.
"""
from __future__ import annotations

from collections.abc import Callable

from graphc.codegen import ir
from graphc.codegen.gpu import Gpu
from graphc.codegen.idioms import recognise
from graphc.codegen.schedule_gpu_flat import batch_products, map_elements, one_thread_a_cell
from graphc.codegen.schedule_gpu_keep import keep_rows
from graphc.codegen.schedule_gpu_rows import cells_in_teams
from graphc.codegen.schedule_gpu_scatter import collect_updates
from graphc.codegen.schedule_gpu_tiles import tile_transposes
from graphc.codegen.schedule_sums import split_sums

Step = Callable[[ir.Kernel], ir.Kernel]


def schedule_gpu(kernel: ir.Kernel, gpu: Gpu) -> ir.Kernel:
    """`kernel` with its loops spread over the threads of `gpu`; it computes the same. Parameters may lose dims, their elements stay."""
    for step in gpu_steps(gpu):
        kernel = step(kernel)
    return kernel


def gpu_steps(gpu: Gpu) -> tuple[Step, ...]:
    """The schedule, step by step. (The limits that it minds are those of every architecture from sm_75 on: none looks at `gpu` yet.)"""
    return (
        recognise, batch_products, collect_updates, tile_transposes, map_elements, cells_in_teams, one_thread_a_cell, keep_rows, split_sums,
    )  # fmt: skip
