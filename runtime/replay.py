"""A run done again in the reference interpreter, node by node, for those who look into its values: `Session.find_nan`.

Nothing changes by it: variables are read as they are and not written, counters of random numbers neither, so it draws what the next run
would. A run in stages is replayed in stages. Functions of Python's (`py_func`) are called once more.
"""
from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphc.core.graph import Graph
from graphc.core.interpret import evaluate, trace
from graphc.core.loops import Extern
from graphc.core.program import Node, Program
from graphc.core.specialise import Expansion, result_parameters
from graphc.core.types import TensorType
from graphc.inspection.numerics import Replay
from graphc.runtime.python_calls import make_call
from graphc.runtime.stages import Context

Array = np.ndarray[Any, Any]
log = logging.getLogger("graphc")
_LARGE = 1 << 29  # elements computed, about: some ten seconds
_SECONDS = 5.0  # between two lines of progress


class SlowReplayWarning(UserWarning):
    """A large program is computed by the reference interpreter: this takes much longer than a run."""


def replay(expand: Callable[[Context], Expansion], feeds: Sequence[Any], read: Callable[[Mapping[str, TensorType]], Mapping[str, Array]],
           fetches: Sequence[str], graph: Graph) -> Replay:
    """The run whose operations `expand` gives. feeds: checked and converted. read: copies of variables, by name. fetches: names of the
    tensors among what is fetched. Raises what a run would raise of feeds and variables."""
    arrays = [np.asarray(feed) for feed in feeds]
    context, values, variables, nodes = Context(), dict[Node, Any](), dict[str, Array](), dict[Node, None]()
    while True:
        expansion = expand(context)
        need = expansion.need
        wanted = () if need is None else (*need.nodes, *(node for call in need.calls for node in call.inputs))
        program = Program(expansion.parameters, expansion.outputs if need is None else wanted,
                          expansion.effects if need is None else (), origins=expansion.origins)
        reads = {node.attrs.variable: node.type for node in program.nodes if node.name == "variable_read"}
        variables.update(read({name: type_ for name, type_ in reads.items() if name not in variables}))
        values = trace(program, arrays, variables, values, _Watched(program).compute)
        nodes.update(dict.fromkeys(program.nodes))
        if need is None:
            return Replay(program, tuple(nodes), values, fetches, expansion.expanded, graph)
        called = dict(context.called)
        for call in need.calls:
            results = make_call(call, [values[node] for node in call.inputs])
            types = called[call.operation] = [TensorType(dtype, each.shape) for dtype, each in zip(call.types, results, strict=True)]
            values.update(zip(result_parameters(call.operation, types), results, strict=True))
        context = replace(context, found={**context.found, **{node: values[node] for node in need.nodes}}, called=called)


class _Watched:
    """`evaluate` with a word of warning before a long program, and lines of progress in the log."""

    def __init__(self, program: Program) -> None:
        self._nodes, self._done, self._said = len(program.nodes), 0, time.monotonic()
        work = sum(map(_work, program.nodes))
        if work > _LARGE:
            warnings.warn(f"graphc: {self._nodes} nodes with {work:.1g} elements are computed by the reference interpreter: this may take "
                          "minutes. A smaller batch shows the same; the logger 'graphc' tells of progress at level INFO.",
                          SlowReplayWarning, stacklevel=2)

    def compute(self, node: Node, operands: Sequence[Any]) -> Any:
        self._done += 1
        if time.monotonic() - self._said > _SECONDS:
            self._said = time.monotonic()
            log.info("reference interpreter: %d of %d nodes", self._done, self._nodes)
        try:
            return evaluate(node, operands)
        except ValueError:  # a function of the host refuses such values: what the run has of it is no number
            if not isinstance(node.primitive.loop, Extern):
                raise
            nothing = tuple(np.full(type_.dims, np.nan if type_.dtype.is_inexact else 0, type_.dtype.np_dtype) for type_ in node.types)
            return nothing if node.is_tuple else nothing[0]


def _work(node: Node) -> int:
    """About how many elements are computed for `node`: those of its value, times the length of a product."""
    size = sum(type_.size for type_ in node.types)
    if node.name == "dot_general":
        x = node.operands[0]
        return size * int(np.prod([x.dims[axis] for axis in node.attrs.lhs_contract])) // 64  # a matrix product of numpy's is quick
    if node.name.startswith("convolution"):
        return size * node.operands[1].type.size // max(1, node.dims[-1]) // 8
    return size
