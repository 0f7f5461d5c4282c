"""Are the kernels for a GPU right? Each is interpreted, as it is scheduled, on the reference values of its operands: no GPU is needed.

What a GPU itself computes is compared as a whole, where a session has one (`targets_cuda.py`). Where that is wrong and every kernel here is
right, the CUDA printer, the CUDA compiler, cublasLt or the launches are to blame.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphc.codegen import interp, ir
from graphc.codegen.lower import lower
from graphc.core.interpret import trace
from graphc.core.program import Node
from graphc.runtime.check_kernels import INTERPRETED, as_bytes, filled, typed
from graphc.runtime.check_passes import Inputs, describe, where
from graphc.runtime.executable import CudaExecutable, CudaKernel
from graphc.runtime.truth import expect_node
from graphc.runtime.verdict import Culprit

Array = np.ndarray[Any, Any]


def check_cuda_kernels(executable: CudaExecutable, inputs: Inputs) -> Culprit | None:
    """The first kernel that is wrong in the interpreter of the kernel language; those too large for it are left out. inputs: the final
    Program and what to run it on."""
    values = trace(inputs.program, inputs.feeds, inputs.variables)
    for kernel in executable.kernels:
        steps = [executable.plan.steps[number] for number in kernel.steps]
        sizes = sum(type_.size for step in steps for node in (step, *step.operands) for type_ in node.types)
        if kernel.flops + sizes > INTERPRETED:
            continue
        wrong = _wrong(steps, kernel.ir, values)
        if wrong is not None:
            return _blame(kernel, steps, values, *wrong)
    return None


def _wrong(steps: list[Node], kernel: ir.Kernel, values: Mapping[Node, Any]) -> tuple[Node, str] | None:
    """The step that the kernel gets wrong, and how."""
    memory: list[Array] = []
    results: list[tuple[Node, list[Array]]] = []
    for step in steps:
        made = [filled(type_.nbytes) for type_ in step.types]
        memory += [*(as_bytes(values[operand]) for operand in dict.fromkeys(step.operands)), *made]
        results.append((step, made))
    try:
        interp.run(kernel, [array.view(buffer.dtype.np_dtype).reshape(buffer.shape)
                            for array, buffer in zip(memory, kernel.params, strict=True)])
    except (ArithmeticError, LookupError, ValueError) as error:
        return steps[0], f"cannot be run: {error}"
    for step, made in results:
        expected = expect_node(step, [values[operand] for operand in step.operands])
        for each, array, type_ in zip(expected, made, step.types, strict=True):
            difference = each.difference(typed(array, type_))
            if difference is not None:
                return step, f"gives a wrong result: {difference}"
    return None


def _blame(kernel: CudaKernel, steps: list[Node], values: Mapping[Node, Any], step: Node, how: str) -> Culprit:
    part = "its kernel is wrong before it is scheduled: lowering is to blame"
    if _wrong([step], lower(step), values) is None:
        merging = " or the merging" if len(steps) > 1 else ""
        part = f"its kernel is right before it is scheduled: the schedule for a GPU{merging} is to blame"
    details = (part, f"it computes {describe(step)}", *where(kernel.origins))
    return Culprit("kernel", kernel.name, f"kernel {kernel.name}, interpreted, {how}", details)
