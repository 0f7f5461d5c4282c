"""Tiling of transposes: one schedule step, for kernels that read along one loop and write along another."""
from __future__ import annotations

from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, loads, map_expr, map_exprs, substitute, substitute_expr, variables
from graphc.codegen.schedule_access import is_independent, stride, varying
from graphc.core import dtypes

TILE = 64  # rows and columns of a tile: four cache lines of float32 each way, so that a page is visited for more than one
LEAST = 8  # loops shorter than this are not worth a tile


@dataclass(frozen=True)
class _Nest:
    """Perfectly nested loops, outermost first, and the straight-line body (what stood between the loops has moved into it)."""

    loops: tuple[ir.Loop, ...]
    body: Body


def tile_transposes(kernel: ir.Kernel) -> ir.Kernel:
    """Loads that run along an outer loop are brought in tile by tile, so that every cache line is read and written whole.

        for i in 512 parallel { for j in 512 serial { y[i, j] = x[j, i] } }
    ->  for i0 in 8 parallel { for j0 in 8 serial {
          local tile0: f32[64, 65]
          for j1 in 64 serial { for i1 in 64 serial { tile0[j1, i1] = x[j0 * 64 + j1, i0 * 64 + i1] } }
          for i1 in 64 serial { for j1 in 64 serial { y[i0 * 64 + i1, j0 * 64 + j1] = tile0[j1, i1] } }
        } }

    The odd row length keeps the elements of a column in different sets of the cache. Loops that 64 does not divide end in smaller tiles.
    """
    return replace(kernel, body=tuple(_tiled(stmt) if isinstance(stmt, ir.Loop) else stmt for stmt in kernel.body))


def _tiled(loop: ir.Loop) -> ir.Loop:
    nest = _nest_of(loop)
    if nest is None or not all(map(is_independent, nest.loops)):
        return loop
    inner = nest.loops[-1]
    for outer in reversed(nest.loops[:-1]):
        crossing = _crossing(nest, outer.var.name, inner.var.name)
        if crossing and min(outer.extent, inner.extent) >= LEAST:
            tiled = _Tiler(outer, inner, crossing).loop(nest.body)
            for other in reversed(nest.loops[:-1]):
                tiled = tiled if other is outer else replace(other, kind="serial", body=(tiled,))
            return replace(tiled, kind=loop.kind)
    return loop


def _nest_of(loop: ir.Loop) -> _Nest | None:
    """The perfect nest under `loop`: single loops with nothing but lets beside them; None where there is another form or only one loop."""
    loops, lets = [loop], []
    body = loop.body
    while any(isinstance(stmt, ir.Loop) for stmt in body):
        *before, last = body
        if not isinstance(last, ir.Loop) or not all(isinstance(stmt, ir.Let) for stmt in before):
            return None
        lets += before
        loops.append(last)
        body = last.body
    straight = all(isinstance(stmt, ir.Let | ir.Store) for stmt in body)
    return _Nest(tuple(loops), (*lets, *body)) if straight and len(loops) > 1 else None


def _crossing(nest: _Nest, outer: str, inner: str) -> list[ir.Load]:
    """The loads of consecutive elements along `outer` and scattered ones along `inner`; none where a store is scattered along `inner`."""
    along_outer, along_inner = varying(nest.body, outer), varying(nest.body, inner)
    known = {loop.var.name for loop in nest.loops}
    if any(stride(stmt, inner, along_inner) != 1 for stmt in nest.body if isinstance(stmt, ir.Store)):
        return []
    return [load for load in dict.fromkeys(loads(nest.body))
            if stride(load, outer, along_outer) == 1 and stride(load, inner, along_inner) not in (0, 1, None)
            and load.where is None and variables(load) <= known]


class _Tiler:
    """Rewrites a body in loops over `outer` (along which the crossing loads run) and `inner` (along which the stores run)."""

    def __init__(self, outer: ir.Loop, inner: ir.Loop, crossing: list[ir.Load]) -> None:
        self.outer, self.inner = outer, inner
        self.over, self.over_inside = _split(outer.var)
        self.across, self.across_inside = _split(inner.var)
        self.tiles = {load: ir.Buffer(f"tile{n}", load.dtype, (TILE, TILE + 1), "local") for n, load in enumerate(crossing)}

    def loop(self, body: Body) -> ir.Loop:
        """The tiled loops over `body`."""
        whole, rest = divmod(self.outer.extent, TILE)
        strips = [(_test("lt", self.over, whole), TILE)] * bool(whole) + [(_test("ge", self.over, whole), rest)] * bool(rest)
        tiled = [self._strip(body, rows) for _, rows in strips]
        if len(strips) == 2:
            tiled = [(ir.If(test, strip),) for (test, _), strip in zip(strips, tiled, strict=True)]
        inside = (*map(ir.Local, self.tiles.values()), *(stmt for strip in tiled for stmt in strip))
        return ir.Loop(self.over, whole + bool(rest), "serial", inside)

    def _strip(self, body: Body, rows: int) -> Body:
        """`rows` iterations of the outer loop over the whole of the inner one, tile by tile."""
        whole, rest = divmod(self.inner.extent, TILE)
        strip: Body = (ir.Loop(self.across, whole, "serial", self._tile(body, rows, TILE, _start(self.across))),) if whole else ()
        return (*strip, *self._tile(body, rows, rest, ir.index(whole * TILE))) if rest else strip

    def _tile(self, body: Body, rows: int, columns: int, start: ir.Expr) -> Body:
        """The tile whose columns begin at `start`: its crossing loads into local buffers, then the body on them."""
        places = {self.outer.var.name: _sum(_start(self.over), self.over_inside), self.inner.var.name: _sum(start, self.across_inside)}
        inside = (self.across_inside, self.over_inside)
        fills = tuple(ir.Store(tile, inside, substitute_expr(load, places)) for load, tile in self.tiles.items())

        def from_tile(expr: ir.Expr) -> ir.Expr:
            return ir.Load(self.tiles[expr], inside) if isinstance(expr, ir.Load) and expr in self.tiles else expr

        uses = substitute(map_exprs(body, lambda expr: map_expr(expr, from_tile)), places)
        fill = ir.Loop(self.across_inside, columns, "serial", (ir.Loop(self.over_inside, rows, "serial", fills),))
        use = ir.Loop(self.over_inside, rows, "serial", (ir.Loop(self.across_inside, columns, "serial", uses),))
        return fill, use


def _split(var: ir.Var) -> tuple[ir.Var, ir.Var]:
    """The variables over tiles and inside one."""
    return ir.Var(f"{var.name}0"), ir.Var(f"{var.name}1")


def _start(tile: ir.Var) -> ir.Expr:
    return ir.Apply("multiply", (tile, ir.index(TILE)), dtypes.int64)


def _sum(start: ir.Expr, inside: ir.Var) -> ir.Expr:
    return inside if start == ir.index(0) else ir.Apply("add", (start, inside), dtypes.int64)


def _test(op: str, var: ir.Var, bound: int) -> ir.Expr:
    return ir.Apply(op, (var, ir.index(bound)), dtypes.bool)
