"""What generated kernels take of a GPU: the table of operations and the fused groups compile for real devices, and none spills registers.

Many kernels are compiled in one text, since a launch of the compiler costs as much as a few of them.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest

from graphc.codegen import ir
from graphc.codegen.cuda.build import build
from graphc.codegen.cuda.compiler import HEADER, compile_many
from graphc.codegen.cuda.printer import print_cuda
from graphc.codegen.cuda.resources import Resources
from graphc.codegen.gpu import gpu_for
from graphc.codegen.lower import lower
from graphc.codegen.schedule_gpu import schedule_gpu
from graphc.core.program import Node
from tests.groups import SAMPLES
from tests.kernels import has_kernel
from tests.op_cases import CASES

INCLUDE = f'#include "{HEADER.name}"\n'
PER_TEXT = 64  # kernels
PARTS = 4  # of the table, for tests that run side by side


def operations(part: int) -> Iterator[tuple[str, Node]]:
    """Every node of a part of the table that becomes a kernel, and what it tests."""
    return ((case.id, node) for case in CASES[part::PARTS] for node in case.expanded().nodes if has_kernel(node))


def groups() -> Iterator[tuple[str, Node]]:
    return ((sample.id, sample.node()) for sample in SAMPLES)


def resources(nodes: Iterable[tuple[str, Node]], arch: str) -> dict[str, Resources]:
    """What each distinct kernel takes as `build` compiles it, by the first name that it has."""
    gpu = gpu_for(arch)
    kernels: dict[ir.Kernel, str] = {}
    for name, node in nodes:
        kernels.setdefault(replace(schedule_gpu(lower(node), gpu), name="kernel"), name)
    names = list(kernels.values())
    sources = [print_cuda(replace(kernel, name=f"kernel_{number}"), gpu) for number, kernel in enumerate(kernels)]
    texts = [f"// {name}\n" + source.text.replace(INCLUDE, "") for name, source in zip(names, sources, strict=True)]
    cubins = compile_many([INCLUDE + "\n".join(texts[first : first + PER_TEXT]) for first in range(0, len(texts), PER_TEXT)], arch)
    used = {symbol: taken for cubin in cubins for symbol, taken in cubin.resources.items()}
    crowded = [source for source in sources if used[source.name].spill_bytes]
    used |= {source.name: cubin.resources[source.name] for source, cubin in build(crowded, arch)}
    return {name: used[f"kernel_{number}"] for number, name in enumerate(names)}


# Both have as many registers: of the older one a part shows that everything compiles there too.
@pytest.mark.parametrize(("arch", "part"), [*(("sm_90", part) for part in range(PARTS)), ("sm_80", 0)])
def test_no_operation_spills(arch: str, part: int) -> None:
    found = resources(operations(part), arch)
    assert len(found) > 100
    assert {name: used for name, used in found.items() if used.spill_bytes} == {}
    assert {name for name, used in found.items() if used.local_bytes} == {name for name in found if has_stack(name)}


def has_stack(name: str) -> bool:
    """CUDA's own sine of a large float64 keeps a small table on the stack; nothing of graphc's does."""
    return name.startswith(("sine-f64", "cosine-f64", "tan-f64"))


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90"])
def test_no_fused_group_spills(arch: str) -> None:
    found = resources(groups(), arch)
    assert len(found) > 20
    assert {name: used for name, used in found.items() if used.spill_bytes or used.local_bytes} == {}
