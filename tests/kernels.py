"""Helpers of the tests of lowering: a node or a Program run kernel by kernel on numpy arrays, in the interpreter of the kernel IR."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.codegen import interp, ir
from graphc.codegen.lower import lower
from graphc.codegen.verify import verify
from graphc.core.interpret import evaluate
from graphc.core.loops import Extern, Reinterpret
from graphc.core.program import Node, Program
from graphc.primitives import fusion, parameter

Array = np.ndarray[Any, Any]
Schedule = Callable[[ir.Kernel], ir.Kernel]
Runner = Callable[[ir.Kernel, Sequence[Array]], None]


def has_kernel(node: Node) -> bool:
    """Whether `node` is computed by a kernel of its own on every target."""
    return node.name not in ("constant", "get_tuple_element", "parameter") and not isinstance(node.primitive.loop, Extern | Reinterpret)


def as_lowered(kernel: ir.Kernel) -> ir.Kernel:
    return kernel


def fill(dtype: Any, shape: Sequence[int]) -> Array:
    """An array that no result should be taken for: what a kernel must overwrite."""
    return np.full(tuple(shape), 77, dtype=dtype)


def run_node(node: Node, operands: Sequence[Array], schedule: Schedule = as_lowered, runner: Runner = interp.run) -> list[Array]:
    """The outputs of `node`, as one kernel, on one array for each of its distinct operands. What is the host's is computed by it."""
    if isinstance(node.primitive.loop, Extern):
        values = dict(zip(dict.fromkeys(node.operands), operands, strict=True))
        found = evaluate(node, [values[operand] for operand in node.operands])
        return list(found) if node.is_tuple else [found]
    kernel = schedule(lower(node))
    verify(kernel)
    outputs = [fill(t.dtype.np_dtype, t.dims) for t in node.types]
    arrays = [np.ascontiguousarray(a).reshape(p.shape) for a, p in zip(operands, kernel.params, strict=False)]
    results = [o.reshape(p.shape) for o, p in zip(outputs, kernel.params[len(arrays):], strict=True)]
    runner(kernel, [*arrays, *results])
    return [r.reshape(t.dims) for r, t in zip(results, node.types, strict=True)]


def run_program(program: Program, feeds: Sequence[Array], schedule: Schedule = as_lowered, runner: Runner = interp.run) -> list[Array]:
    """The outputs of `program`, one kernel a node."""
    values: dict[Node, Any] = dict(zip(program.parameters, feeds, strict=True))
    for node in program.nodes:
        if node.name == "constant":
            values[node] = node.attrs.value.array
        elif node.name == "get_tuple_element":
            values[node] = values[node.operands[0]][node.attrs.index]
        elif isinstance(node.primitive.loop, Reinterpret):
            values[node] = evaluate(node, [values[node.operands[0]]])
        elif node not in values:
            results = run_node(node, [values[o] for o in dict.fromkeys(node.operands)], schedule, runner)
            values[node] = results if node.is_tuple else results[0]
    return [values[output] for output in program.outputs]


def group(kind: str, outputs: Sequence[Node], parameters: Sequence[Node]) -> Node:
    """`outputs` over `parameters` as one fused node over other parameters of the same types."""
    operands = [parameter(f"of_{p.attrs.name}", p.type) for p in parameters]
    return fusion(kind, Program(tuple(parameters), tuple(outputs)), operands)
