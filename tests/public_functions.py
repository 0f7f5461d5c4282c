"""The public functions that declare operations, by name, and what a sample of one declares: shared by the tables and the reference page."""
from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import graphc as gc
from graphc.ops import names_arrays, names_numbers, names_others
from tests.composite_cases import Array, Case

NAMESPACES = ("bitwise", "debugging", "distributions", "image", "layers", "linalg", "losses", "math", "metrics", "nn", "quantization",
              "random", "signal", "sparse")
TOP_LEVEL = (names_arrays, names_numbers, names_others)
Shape = tuple[int | None, ...] | None


def public_functions() -> dict[str, Any]:
    """Every public function that may declare operations, by its name below `gc`."""
    tables = [*(("", names) for names in TOP_LEVEL), *((f"{space}.", getattr(gc, space)) for space in NAMESPACES if hasattr(gc, space))]
    named = {f"{prefix}{name}": getattr(module, name) for prefix, module in tables for name in module.__all__}
    return {name: thing for name, thing in named.items() if inspect.isfunction(thing)}


def declare(case: Case, shapes: Sequence[Shape], dtypes: Sequence[Any] | None = None) -> tuple[list[gc.Tensor], dict[gc.Tensor, Array]]:
    """The results of the case on placeholders of `shapes` (and `dtypes`, by default those of its arrays), and what to feed."""
    kinds = [a.dtype for a in case.arrays] if dtypes is None else dtypes
    inputs = [gc.placeholder(dtype, shape) for dtype, shape in zip(kinds, shapes, strict=True)]
    built = case.build(*inputs)
    return list(built) if isinstance(built, list | tuple) else [built], dict(zip(inputs, case.arrays, strict=True))


def operations_behind(tensors: Sequence[gc.Tensor]) -> set[gc.Operation]:
    """All operations that `tensors` are made by."""
    found: set[gc.Operation] = set()
    waiting = [t.op for t in tensors]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [t.op for t in operation.inputs]
    return found
