"""The words for what goes wrong on a GPU: too little memory before a run, a fault during it."""
from __future__ import annotations

from collections.abc import Sequence

from graphc.core.errors import InternalError, ResourceExhaustedError, explain
from graphc.core.graph import Graph
from graphc.core.operation import Operation
from graphc.runtime.arena import readable
from graphc.runtime.executable import CudaExecutable, names_of

BLOCKING = "GRAPHC_CUDA_BLOCKING"
_SHOWN = 4  # kernels named where any of them may be guilty


def not_enough(problem: str, executable: CudaExecutable, variables: Sequence[tuple[int, str]], graph: Graph) -> ResourceExhaustedError:
    """`problem`, and the operation that needs most of the memory. variables: bytes and names of those not allocated yet."""
    program = executable.program
    results = [(node.type.nbytes, origin.operation) for node in (*program.outputs, *program.parameters)
               for origin in program.origins.get(node, ())[:1]]
    buffers = [(buffer.size, buffer.values[0].split(", ")[0]) for buffer in executable.memory.buffers]
    nbytes, name = max([*results, *buffers, *variables], default=(0, ""))
    operation = _operation(graph, name)
    who = "which" if operation else f"'{name}'"
    return ResourceExhaustedError(None, operation, explain(operation, problem, f"{who} alone needs {readable(nbytes)}" if name else ""))


def failed(problem: str, executable: CudaExecutable, suspects: Sequence[int], label: str, graph: Graph) -> InternalError:
    """A fault on the device. problem: what the driver says of it; suspects: positions of the kernels that may have caused it."""
    if len(suspects) == 1:
        kernel = executable.kernels[suspects[0]]
        operation = _operation(graph, kernel.origins[-1].operation) if kernel.origins else None
        what = names_of(kernel.origins)
        rule = f"Kernel '{kernel.name}' ({kernel.symbol}) failed on {label}: {problem}"
        return InternalError(None, operation, explain(operation, rule, f"it computes {what}" if what else ""))
    kernels = [executable.kernels[number] for number in suspects]
    named = [f"{kernel.name} ({kernel.origins[-1]})" if kernel.origins else kernel.name for kernel in kernels]
    rest = f", and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    which = f"\n  it was one of {len(named)} kernels: {', '.join(named[:_SHOWN])}{rest}" if named else ""
    hint = f"\n  run again with {BLOCKING}=1 to learn which" if named else ""
    return InternalError(None, None, f"A run failed on {label}: {problem}{which}{hint}")


def _operation(graph: Graph, name: str) -> Operation | None:
    return next((each for each in graph.get_operations() if each.name == name.split(":")[0]), None)
