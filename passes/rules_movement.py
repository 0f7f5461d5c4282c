"""Rules of place: views that cancel, merge, or change places with arithmetic. Exact but for products, whose sums run in another order.

Arithmetic moves below the views that it reads, so that it is done on fewer elements, and views meet, cancel, and reach the products.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.core.dtypes import float32
from graphc.core.program import Node, make
from graphc.passes.groups import is_map
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import X, Y, fill, filled, floats, uniform
from graphc.primitives import (
    add,
    broadcast_in_dim,
    concatenate,
    constant,
    dot_general,
    exponential,
    multiply,
    pad,
    reshape,
    reverse,
    slice_,
    stop_gradient,
    transpose,
)

SHARED_VIEWS = ("broadcast_in_dim", "reshape", "transpose", "reverse")  # views of every element, that arithmetic moves past


def _transpose(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name == "transpose":
        return transpose(inner.operands[0], [inner.attrs.permutation[axis] for axis in node.attrs.permutation])
    if [a for a in node.attrs.permutation if inner.dims[a] != 1] == [a for a in range(len(inner.dims)) if inner.dims[a] != 1]:
        return reshape(inner, node.dims)
    return None


def _product_of_transpose(node: Node) -> Node | None:
    """Takes a transpose of an operand into the dimension numbers, where the free axes keep their order."""
    a = node.attrs
    for side, operand in enumerate(node.operands):
        if operand.name != "transpose":
            continue
        permutation = operand.attrs.permutation
        which = "lhs" if side == 0 else "rhs"
        free = [permutation[axis] for axis in a.free(len(operand.dims), which)]
        if free != sorted(free):
            continue
        batches, contracts = [a.lhs_batch, a.rhs_batch], [a.lhs_contract, a.rhs_contract]
        batches[side] = tuple(permutation[axis] for axis in batches[side])
        contracts[side] = tuple(permutation[axis] for axis in contracts[side])
        operands = list(node.operands)
        operands[side] = operand.operands[0]
        return dot_general(operands[0], operands[1], batches[0], batches[1], contracts[0], contracts[1])
    return None


def _reshape(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.dims == node.dims:
        return inner
    if inner.name == "reshape":
        return reshape(inner.operands[0], node.dims)
    value = uniform(inner)
    return fill(value, node.type) if value is not None else None


def _broadcast(node: Node) -> Node | None:
    inner, dims = node.operands[0], node.attrs.dims
    if inner.dims == node.dims:
        return inner
    if uniform(inner) is not None:  # canonical already, or of a constant in another guise
        return fill(uniform(inner), node.type) if inner.name != "constant" or inner.dims else None
    if inner.type.size == node.type.size:
        return reshape(inner, node.dims)
    if inner.name == "broadcast_in_dim":
        return broadcast_in_dim(inner.operands[0], node.dims, [dims[axis] for axis in inner.attrs.dims])
    if inner.name == "reshape":
        return _broadcast_of_reshape(node, inner)
    return None


def _broadcast_of_reshape(node: Node, inner: Node) -> Node | None:
    """A reshape that only adds axes of size one before a broadcast is part of the broadcast; so is one that removes them."""
    source = inner.operands[0]
    real = [(size, node.attrs.dims[axis]) for axis, size in enumerate(inner.dims) if size != 1]
    if [size for size, _ in real] != [size for size in source.dims if size != 1]:
        return None
    if any(size == 1 for size in source.dims):
        return None if inner.dims == tuple(s for s in source.dims if s != 1) else _without_ones(node, source, real)
    return broadcast_in_dim(source, node.dims, [axis for _, axis in real])


def _without_ones(node: Node, source: Node, real: Sequence[tuple[int, int]]) -> Node | None:
    squeezed = reshape(source, [size for size in source.dims if size != 1])
    return broadcast_in_dim(squeezed, node.dims, [axis for _, axis in real])


def _slice(node: Node) -> Node | None:
    inner, a = node.operands[0], node.attrs
    if inner.name == "slice":
        b = inner.attrs
        start = [s0 + s * step for s0, s, step in zip(b.start, a.start, b.strides, strict=True)]
        limit = [first + ((size - 1) * step * step0 + 1 if size else 0)
                 for first, size, step, step0 in zip(start, node.dims, a.strides, b.strides, strict=True)]
        return slice_(inner.operands[0], start, limit, [s * t for s, t in zip(a.strides, b.strides, strict=True)])
    if inner.name == "concatenate":
        return _slice_of_concatenate(node, inner)
    value = uniform(inner)
    return fill(value, node.type) if value is not None else None


def _slice_of_concatenate(node: Node, inner: Node) -> Node | None:
    axis, offset = inner.attrs.axis, 0
    start, limit = list(node.attrs.start), list(node.attrs.limit)
    for part in inner.operands:
        size = part.dims[axis]
        if offset <= start[axis] and limit[axis] <= offset + size and node.type.size:
            start[axis] -= offset
            limit[axis] -= offset
            return slice_(part, start, limit, node.attrs.strides)
        offset += size
    return None


def _concatenate(node: Node) -> Node | None:
    """Drops empty parts and takes in parts that are concatenations along the same axis."""
    parts: list[Node] = []
    for part in node.operands:
        nested = part.name == "concatenate" and part.attrs.axis == node.attrs.axis
        parts += [p for p in (part.operands if nested else (part,)) if p.type.size]
    if not parts or tuple(parts) == node.operands:
        return None
    return concatenate(parts, node.attrs.axis)


def _reverse(node: Node) -> Node | None:
    inner = node.operands[0]
    if uniform(inner) is not None or all(inner.dims[axis] == 1 for axis in node.attrs.axes):
        return inner
    if inner.name == "reverse":
        return reverse(inner.operands[0], sorted(set(node.attrs.axes) ^ set(inner.attrs.axes)))
    return None


def _uniform_view(node: Node) -> Node | None:
    value = uniform(node.operands[0])
    return fill(value, node.type) if value is not None else None


def _pad(node: Node) -> Node | None:
    inner, padding = map(uniform, node.operands)
    same = inner is not None and padding is not None and inner.tobytes() == padding.tobytes()
    return fill(inner, node.type) if same else None


def _uniform_constant(node: Node) -> Node | None:
    """The canonical form of a constant whose elements are all the same bits."""
    array = node.attrs.value.array
    if array.size < 2 or array.tobytes() != array.reshape(-1)[:1].tobytes() * array.size:
        return None
    return fill(array.reshape(-1)[0], node.type)


def _map_of_views(node: Node) -> Node | None:
    """A map whose operands are all shown through the same view works on what is shown. (A uniform constant looks the same through any
    view; operands of another shape are scalars, which have no view.)"""
    if not is_map(node):
        return None
    shaped = [o for o in node.operands if o.shape == node.shape and uniform(o) is None]
    if not shaped:
        return _map_of_constants(node)
    view = shaped[0]
    if view.name not in SHARED_VIEWS or not all(_same_view(o, view) for o in shaped):
        return None
    shown = view.operands[0].dims
    operands = [o if o.shape != node.shape else o.operands[0] if uniform(o) is None else fill(uniform(o), o.type.with_shape(shown))
                for o in node.operands]
    return make(view.primitive, (make(node.primitive, operands, node.attrs),), view.attrs)


def _same_view(node: Node, other: Node) -> bool:
    return node.name == other.name and node.attrs == other.attrs and node.operands[0].dims == other.operands[0].dims


def _map_of_constants(node: Node) -> Node | None:
    """A map of uniform constants is the map of their values, repeated."""
    if not node.operands or not node.dims or any(uniform(o) is None for o in node.operands):
        return None
    scalars = [constant(uniform(o), o.dtype) for o in node.operands]
    return broadcast_in_dim(make(node.primitive, scalars, node.attrs), node.dims, ())


def _empty(node: Node) -> Node | None:
    """A value without elements is a constant."""
    if node.is_tuple or node.type.size or node.name in ("parameter", "constant", "variable_read", "variable_assign", "fusion"):
        return None
    return constant(np.empty(node.dims, node.dtype.np_dtype))


_X234, _X34 = floats(2, 3, 4), floats(3, 4)

MOVEMENT: tuple[Rule, ...] = (
    Rule("uniform constant", "[c, c, ...] = broadcast(c)", "constant", _uniform_constant, (constant([[2.0, 2.0], [2.0, 2.0]]),)),
    Rule("transpose of uniform", "c^T = c", "transpose", _uniform_view, (transpose(filled(3), (1, 0)),)),
    Rule("transpose", "(x^T)^T = x; a transpose of axes of size one is a reshape", "transpose", _transpose,
         (transpose(transpose(_X234, (2, 0, 1)), (2, 0, 1)), transpose(floats(3, 1, 4), (1, 0, 2)))),
    Rule("product of transpose", "dot(x^T, y) ~ dot(x, y) over other axes", "dot_general", _product_of_transpose,
         (dot_general(transpose(floats(4, 3), (1, 0)), floats(4, 5, name="y"), (), (), (1,), (0,)),
          dot_general(_X34, transpose(floats(5, 4, name="y"), (1, 0)), (), (), (1,), (0,)))),
    Rule("reshape", "reshape(reshape(x)) = reshape(x); reshape to the same shape = x", "reshape", _reshape,
         (reshape(reshape(_X34, (2, 6)), (12,)), reshape(filled(2, _X34), (12,)))),
    Rule("broadcast", "broadcast(broadcast(x)) = broadcast(x); one that repeats nothing is a reshape", "broadcast_in_dim", _broadcast,
         (broadcast_in_dim(broadcast_in_dim(floats(3), (3, 4), (0,)), (2, 3, 4), (1, 2)), broadcast_in_dim(floats(3), (1, 3), (1,)),
          broadcast_in_dim(reshape(floats(3), (3, 1)), (3, 5), (0, 1)), broadcast_in_dim(reshape(floats(1, 3), (3, 1)), (3, 5), (0, 1)))),
    Rule("slice", "slice(slice(x)) = slice(x); slice(concat(x, y)) inside x = slice(x)", "slice", _slice,
         (slice_(slice_(floats(9, 7), (1, 2), (9, 6), (2, 1)), (1, 0), (4, 3), (2, 2)), slice_(filled(1, floats(4)), (1,), (3,)),
          slice_(concatenate([floats(3, 2), floats(4, 2, name="y")], 0), (4, 0), (6, 2)))),
    Rule("pad of uniform", "pad(c, c) = c", "pad", _pad, (pad(filled(0), constant(0, float32), (1, 1), (0, 2)),)),
    Rule("concatenate", "concat(concat(x, y), z) = concat(x, y, z); concat(x, empty) = x", "concatenate", _concatenate,
         (concatenate([concatenate([X, floats(2, 5, name="y")], 0), floats(4, 5, name="z")], 0),
          concatenate([X, floats(0, 5, name="y")], 0))),
    Rule("reverse", "reverse(reverse(x)) = x", "reverse", _reverse, (reverse(reverse(X, (0,)), (0, 1)), reverse(filled(1), (0,)))),
    Rule("stop_gradient", "stop_gradient(x) = x: gradients are made before programs", "stop_gradient", lambda node: node.operands[0],
         (stop_gradient(X),)),
    Rule("map of views", "f(view(x), view(y), c) = view(f(x, y, c)) for a broadcast, reshape, transpose, reverse", "*", _map_of_views,
         (exponential(broadcast_in_dim(floats(3), (3, 4), (0,))), multiply(broadcast_in_dim(floats(3), (3, 4), (0,)), filled(2, _X34)),
          exponential(reshape(_X34, (12,))), add(reverse(X, (1,)), reverse(Y, (1,))), multiply(transpose(X, (1, 0)), transpose(Y, (1, 0))),
          add(filled(1), filled(2)))),
    Rule("no elements", "a value without elements is a constant", "*", _empty, (exponential(floats(0, 3)),)),
)
