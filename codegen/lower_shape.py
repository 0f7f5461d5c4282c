"""The last step of lowering: gives each parameter the shape in which its accesses read best.

While a kernel is built every access is one row-major position. Here a buffer gets as many dims of its tensor as all its accesses can be
split into without division: x[i * 1024 + j] becomes x[i, j] for a tensor [4096, 1024], and stays x[i] for a kernel that walks it flat.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_index import Index
from graphc.codegen.rewrite import Body, map_exprs

Positions = Mapping[str, Mapping[ir.Expr, Index]]


def shape_buffers(params: Sequence[ir.Buffer], dims: Mapping[str, tuple[int, ...]], body: Body,
                  positions: Positions) -> tuple[tuple[ir.Buffer, ...], Body]:
    """Parameters and body with every access in as many of the tensor's dims (`dims`, by buffer name) as need no division."""
    shaped = {p.name: replace(p, shape=_shape(dims[p.name], list(positions.get(p.name, {}).values()))) for p in params}

    def split(buffer: ir.Buffer, index: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ...]:
        position = positions[buffer.name][index[0]]
        return tuple(change(li.to_expr(each)) for each in li.unflatten(position, shaped[buffer.name].shape))

    def change(expr: ir.Expr) -> ir.Expr:
        """Outer first: an index may hold loads of its own (a gather), and positions are known by their first form."""
        if isinstance(expr, ir.Apply):
            return replace(expr, args=tuple(map(change, expr.args)))
        if isinstance(expr, ir.Load):
            where = None if expr.where is None else change(expr.where)
            if expr.buffer.name not in shaped:
                return ir.Load(expr.buffer, tuple(map(change, expr.index)), where)
            return ir.Load(shaped[expr.buffer.name], split(expr.buffer, expr.index), where)
        return expr

    def change_store(store: ir.Store) -> ir.Store:
        if store.buffer.name not in shaped:
            return store
        return replace(store, buffer=shaped[store.buffer.name], index=split(store.buffer, store.index))

    return tuple(shaped.values()), map_exprs(body, change, change_store)


def _shape(dims: tuple[int, ...], accesses: Sequence[Index]) -> tuple[int, ...]:
    """`dims` with neighbours merged where an access could not be split between them, dims of 1 left out; never empty."""
    shape: list[int] = []
    extent, stride = 1, 1
    for dim in reversed(dims):
        if extent > 1 and dim != 1 and all(_splits(position, stride) for position in accesses):
            shape.append(extent)
            extent = 1
        extent *= dim
        stride *= dim
    return (*reversed((*shape, extent)),) if extent != 1 or not shape else tuple(reversed(shape))


def _splits(position: Index, stride: int) -> bool:
    """Whether position // stride and position % stride need no division that `position` does not have already."""
    before = set(li.unsimplified(position))
    return stride > 0 and {*li.unsimplified(position // stride), *li.unsimplified(position % stride)} <= before
