"""Updates of variables side by side: the GPU pipelines run this after `order`, so that many small kernels can share one launch.

A launch costs a GPU some microseconds, which is more than a small update computes. The updates of an optimizer need one another in no way,
but each stands after its own gradient in the schedule; here the small ones move to its end, where the runtime merges neighbours that touch
no common memory. Their gradients live until then, so only updates below a size move: larger ones fill the device by themselves.
"""
from __future__ import annotations

from dataclasses import dataclass

from graphc.core.loops import Map
from graphc.core.program import Node, Program
from graphc.passes.order import with_renamings
from graphc.passes.storage import is_step, reads, value_of

SMALL = 1 << 20  # elements: a larger update has enough blocks for every multiprocessor


@dataclass(frozen=True)
class Together:
    """Moves elementwise steps of at most `largest` elements whose results are only assigned to variables to the end of the schedule."""

    largest: int = SMALL
    name: str = "together"

    def __call__(self, program: Program) -> Program:
        steps = [node for node in program.nodes if is_step(node)]
        read = {value[0] for step in steps for value in reads(step)} | {value_of(node)[0] for node in program.outputs}
        assigned = {value_of(effect)[0] for effect in program.effects}
        last = {step for step in steps if step in assigned and step not in read and self._is_small(step)}
        if not last:
            return program
        order = [*(step for step in steps if step not in last), *(step for step in steps if step in last)]
        return program.rewritten({}, with_renamings(program, order))

    def _is_small(self, step: Node) -> bool:
        elementwise = step.attrs.kind == "loop" if step.name == "fusion" else isinstance(step.primitive.loop, Map)
        return elementwise and max(type_.size for type_ in step.types) <= self.largest
