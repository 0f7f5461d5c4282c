"""Matrix products: a body with one floating dot_general becomes one `ir.Product`, inside loops over its batch.

What feeds the product (conversions, transposes, scaling) is computed while its operands are packed, and what follows it, element by
element of its result (bias, activation, residual, conversion), while the result is still in registers; a transpose at the end moves the
stores:

    for b in batch parallel { product i < m, j < n, k < depth: lhs(i, k) * rhs(k, j) { out[b, i, j] = epilogue(acc) } }
"""
from __future__ import annotations

import math

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import accumulator_dtype, folds_of
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_nest import LETTERS, Attempt, Group, reductions
from graphc.codegen.lower_scope import Nest, Space, walk
from graphc.codegen.lower_values import Values, contracted
from graphc.core.loops import Contract
from graphc.core.program import Node


def product_of(group: Group) -> Node | None:
    """The dot_general around which `group` can be one `ir.Product`: the only one, of floats, every output with its number of elements."""
    dots = [node for node in group.body.nodes if isinstance(node.primitive.loop, Contract) and node not in group.buffers]
    if len(dots) != 1 or not dots[0].dtype.is_floating or reductions(group):
        return None
    return dots[0] if all(buffer.size == dots[0].type.size for buffer in group.outputs) else None


def lower_product(group: Group, dot: Node) -> Attempt:
    """The body of the kernel of `group` around its product `dot` (see `product_of`)."""
    batch = Space("batch", math.prod(dot.dims[:len(dot.attrs.lhs_batch)]))
    while True:
        attempt = _attempt(group, dot, batch)
        finer = batch
        for _, cut in sorted(attempt.cuts, key=lambda each: -each[1]):
            finer = finer.with_cut(cut)
        if finer == batch:
            return attempt
        batch = finer


def _attempt(group: Group, dot: Node, batch: Space) -> Attempt:
    nest = Nest()
    values = Values(nest, group.buffers)
    values.folds_allowed = False
    batches = len(dot.attrs.lhs_batch)
    rows = len(dot.attrs.free(len(dot.operands[0].dims), "lhs"))
    m, n = math.prod(dot.dims[batches:batches + rows]), math.prod(dot.dims[batches + rows:])
    contract = folds_of(dot)[0].extents
    depth = math.prod(contract)
    if dot.type.size:
        loops = batch.loops(LETTERS[3:])
        with walk(nest, loops, "parallel") as outer, nest.block() as block:
            i, j, k = (nest.loop_var(LoopVar(letter, extent)) for letter, extent in zip("ijk", (m, n, depth), strict=True))
            position = (outer * m + i) * n + j
            at = li.unflatten(position, dot.dims)
            at_lhs, at_rhs = contracted(dot, at, li.unflatten(k, contract))
            nest.inline = True
            lhs, rhs = values.at(dot.operands[0], at_lhs), values.at(dot.operands[1], at_rhs)
            nest.inline, nest.floor = False, nest.depth
            acc = ir.Var(nest.fresh("acc"), accumulator_dtype(dot.dtype))
            nest.bind(acc.name, nest.depth)
            nest.scopes[-1].values[dot, at, None] = values.convert(acc, dot.dtype)
            places = [_place(node, group, position) for node in group.body.outputs]
            results = [values.at(node, index) for node, index, _ in places]
            for buffer, result, (_, _, place) in zip(group.outputs, results, places, strict=True):
                values.store(buffer, place, result)
            names = (ir.Var("i"), ir.Var("j"), ir.Var("k"))
            nest.emit(ir.Product(*names, m, n, depth, lhs, rhs, acc, tuple(block.stmts)), nest.depth - 1)
    return Attempt(tuple(nest.scopes[0].stmts), values.positions, values.cuts, frozenset())


def _place(output: Node, group: Group, position: Index) -> tuple[Node, tuple[Index, ...], Index]:
    """What to compute for an output at `position` of the product, at which index, and where in the output it belongs.

    Transposes and reshapes at the very end are not computed: they move the store. (A product is walked in its own order in any case.)
    """
    moves: list[Node] = []
    node = output
    while node.name in ("transpose", "reshape") and node not in group.buffers:
        moves.append(node)
        node = node.operands[0]
    at = index = li.unflatten(position, node.dims)
    for move in reversed(moves):
        if move.name == "transpose":
            index = tuple(index[axis] for axis in move.attrs.permutation)
        else:
            index = li.unflatten(li.flatten(index, move.operands[0].dims), move.dims)
    return node, at, li.flatten(index, output.dims)
