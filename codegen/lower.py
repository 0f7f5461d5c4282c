"""Lowering: one Program node (a primitive, or a `fusion` group) becomes one kernel. Between the passes and `schedule`.

What can be lowered. Every primitive alone but `parameter`, `variable_read` and `get_tuple_element`, which compute nothing, and those that
the host computes (`Extern`). Of groups:

  loop    any DAG of maps, views, fills and gathers whose outputs all have one number of elements.
  row     the same around reductions over the trailing axes of one domain [rows..., cols...]: each output has the elements of the
          domain or of the rows. Reductions may need each other (softmax, layer norm), run over reshapes of one another, and give
          positions (argmax).
  column  the same for reductions over any other axes of one domain, e.g. [reduced, kept] or [kept, reduced, kept].
  scan    one walk along an axis (a running sum), with maps, views, fills and gathers on the way to its operands, and maps of its result
          at its own place; each output has the elements of the result.
  scatter one scatter, and maps, views, fills and gathers on the way to its operands.
  dot     one floating dot_general, maps, views, fills and gathers before it, and after it maps of its result at its own index (with any
          views of other operands); each output has the elements of the result, reshaped and transposed at the very end at will.

A constant inside a body must have equal elements (others are operands). A reduction with another domain and an integer dot_general are
right anywhere but inside a `dot`, but are computed again for every element that asks for them. Nothing else is stored between the nodes of
a group: a node read at two different indices (through two slices) is computed at both.

Memory. In one iteration every load comes before the first store, so an output may lie in the memory of an operand that is only read at
the element being written: in a `loop`, `scan` or `dot` group one under no view, in a `row` group also under the reductions, where the
output needs the last of them.

Numbers. The 16-bit floats are float32 inside a kernel: reductions and products accumulate in float32. A sum has one accumulator per
lane and part of its vector loop, added up as a tree, so its error grows with n / (lanes * parts), not n. Nothing depends on the number
of threads.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.lower_dot import lower_product, product_of
from graphc.codegen.lower_nest import Attempt, Group, lower_nest
from graphc.codegen.lower_scan import lower_scan, scan_of
from graphc.codegen.lower_scatter import lower_scatter, lower_update, scatter_of, update_of
from graphc.codegen.lower_shape import shape_buffers
from graphc.codegen.lower_sort import lower_sort_step, sort_step_of
from graphc.codegen.rewrite import inline_lets
from graphc.core.loops import Extern, Region, State
from graphc.core.program import Node, Program


def lower(node: Node, name: str = "kernel", origins: Sequence[str] = (), in_place: bool = False) -> ir.Kernel:
    """The kernel that computes `node`, in plain serial and parallel loops.

    Parameters: the distinct operands in order ("x0", "x1", ...), then one "out" buffer for each output ("y0", ...). in_place: the
    output lies over the operand of which a scatter or a dynamic_update_slice changes some places, and holds the others already. ValueError
    for what the module's docstring excludes.
    """
    operands = tuple(dict.fromkeys(node.operands))
    inputs = {operand: ir.Buffer(f"x{n}", operand.dtype, (operand.type.size,), "in") for n, operand in enumerate(operands)}
    outputs = tuple(ir.Buffer(f"y{n}", t.dtype, (t.size,), "out") for n, t in enumerate(node.types))
    group = _group(node, inputs, outputs)
    attempt = _lowered(group, in_place) if any(buffer.size for buffer in outputs) else Attempt((), {}, set(), frozenset())
    dims = {f"x{n}": operand.dims for n, operand in enumerate(operands)} | {f"y{n}": t.dims for n, t in enumerate(node.types)}
    params, body = shape_buffers((*inputs.values(), *outputs), dims, attempt.body, attempt.positions)
    return ir.Kernel(name, params, inline_lets(body), tuple(origins))


def _group(node: Node, inputs: dict[Node, ir.Buffer], outputs: tuple[ir.Buffer, ...]) -> Group:
    """A fusion's body, or a node alone as a body of one."""
    if node.name == "fusion":
        body: Program = node.attrs.body
        return Group(body, {p: inputs[o] for p, o in zip(body.parameters, node.operands, strict=True)}, outputs)
    form = node.primitive.loop
    if isinstance(form, Extern):
        raise ValueError(f"{node.name} has no kernel: {form.function} computes it, on the host")
    if isinstance(form, Region) or (isinstance(form, State) and form.kind != "variable_assign"):
        raise ValueError(f"{node.name} computes nothing: it has no kernel")
    return Group(Program((), (node,), nodes=(*inputs, node)), dict(inputs), outputs)


def _lowered(group: Group, in_place: bool) -> Attempt:
    scatter, update = scatter_of(group), update_of(group)
    if scatter is not None:
        return lower_scatter(group, scatter, in_place)
    if update is not None and in_place:
        return lower_update(group, update)
    scan = scan_of(group)
    if scan is not None:
        return lower_scan(group, scan)
    sort = sort_step_of(group)
    if sort is not None:
        return lower_sort_step(group, sort)
    dot = product_of(group)
    return lower_nest(group) if dot is None else lower_product(group, dot)
