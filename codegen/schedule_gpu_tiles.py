"""GPU schedule of maps that read along one loop and write along another: square tiles in shared memory, read and written whole."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.rewrite import Body, loads, map_expr, map_exprs, variables
from graphc.codegen.schedule_access import stride, varying
from graphc.codegen.schedule_gpu_flat import SCRATCH_BYTES
from graphc.codegen.schedule_gpu_nest import Nest, fresh, names, nest_of, on_grid
from graphc.core import dtypes

TILE = 32  # rows and columns of a tile: a warp reads or writes a row, 128 bytes of float32; twice as many for types of one or two bytes
TEAM = 256  # threads of a tile
LEAST = 8  # loops shorter than this are not worth a tile: what a line of the cache holds is used soon after


def tile_transposes(kernel: ir.Kernel) -> ir.Kernel:
    """Loads that run along an outer loop are brought in tile by tile, so that threads side by side read and write side by side.

        for i in 512 parallel { for j in 512 serial { y[i, j] = x[j, i] } }
    ->  for c in 256 grid(1, 1) {
          let i0 = c / 16   let j0 = c % 16
          shared tile0: f32[32,33]
          for e in 1024 team(256, 1) { let i = i0 * 32 + e % 32   let j = j0 * 32 + e / 32   tile0[e / 32, e % 32] = x[j, i] }
          for e in 1024 team(256, 1) { let i = i0 * 32 + e / 32   let j = j0 * 32 + e % 32   y[i, j] = tile0[e % 32, e / 32] }
        }

    The odd row length keeps the elements of a column in different banks. Tiles at the edges are guarded.
    """
    nest = nest_of(kernel)
    if nest is None or len(nest.loops) < 2 or not all(isinstance(stmt, ir.Let | ir.Store) for stmt in nest.body):
        return kernel
    able = [outer for outer in nest.loops[:-1] if min(outer.extent, nest.loops[-1].extent) >= LEAST]
    found = [(outer, _crossing(nest, outer)) for outer in reversed(able)]
    outer, crossing = max(found, key=lambda each: len(each[1]), default=(nest.loops[0], []))
    return _Tiler(kernel, nest, outer, crossing).kernel() if crossing else kernel


def _crossing(nest: Nest, outer: ir.Loop) -> list[ir.Load]:
    """The loads of consecutive elements along `outer` and of scattered ones along the innermost loop; none where a store is scattered."""
    inner = nest.loops[-1].var.name
    along_outer, along_inner = varying(nest.body, outer.var.name), varying(nest.body, inner)
    known = {loop.var.name for loop in nest.loops}
    if any(stride(stmt, inner, along_inner) != 1 for stmt in nest.body if isinstance(stmt, ir.Store)):
        return []
    return [load for load in dict.fromkeys(loads(nest.body))
            if stride(load, outer.var.name, along_outer) == 1 and stride(load, inner, along_inner) not in (0, 1, None)
            and variables(load) <= known]


@dataclass(frozen=True)
class _Axis:
    """A loop in tiles: over them goes `over`, inside one `inside`."""

    loop: ir.Loop
    over: ir.Var
    inside: ir.Expr
    size: int

    @property
    def tiles(self) -> ir.Loop:
        return ir.Loop(self.over, -(-self.loop.extent // self.size), "serial", ())

    def let(self) -> ir.Let:
        """The loop's own variable."""
        return ir.Let(self.loop.var, _apply("add", _apply("multiply", self.over, ir.index(self.size)), self.inside))

    def guard(self) -> list[ir.Expr]:
        """What holds inside the loop, where its last tile is not whole."""
        return [ir.Apply("lt", (self.loop.var, ir.index(self.loop.extent)), dtypes.bool)] if self.loop.extent % self.size else []


class _Tiler:
    """Rewrites a nest in tiles over `outer`, along which the `crossing` loads run, and the innermost loop, along which the stores run."""

    def __init__(self, kernel: ir.Kernel, nest: Nest, outer: ir.Loop, crossing: Sequence[ir.Load]) -> None:
        self.of, self.nest, self.outer, self.inner = kernel, nest, outer, nest.loops[-1]
        self.taken = names(kernel)
        self.size = TILE if max(load.dtype.size for load in crossing) > 2 else 2 * TILE
        self.place, self.inside = ir.Var(self.fresh("e")), ir.Var(self.fresh("inside"), dtypes.bool)
        self.tiles: dict[ir.Load, ir.Buffer] = {}
        for load in crossing:
            tile = ir.Buffer(self.fresh("tile"), load.dtype, (self.size, self.size + 1), "shared")
            if sum(each.nbytes for each in (*self.tiles.values(), tile)) <= SCRATCH_BYTES:
                self.tiles[load] = tile

    def fresh(self, stem: str) -> str:
        name = fresh(stem, self.taken)
        self.taken.add(name)
        return name

    def kernel(self) -> ir.Kernel:
        """One block of threads for each tile."""
        over = {loop: ir.Var(self.fresh(f"{loop.var.name}0")) for loop in (self.outer, self.inner)}
        high = _apply("divide", self.place, ir.index(self.size))
        low = _apply("remainder", self.place, ir.index(self.size))
        filling = (_Axis(self.outer, over[self.outer], low, self.size), _Axis(self.inner, over[self.inner], high, self.size))
        using = (_Axis(self.outer, over[self.outer], high, self.size), _Axis(self.inner, over[self.inner], low, self.size))
        fill = tuple(ir.Store(tile, (high, low), load) for load, tile in self.tiles.items())
        use = map_exprs(self.nest.body, lambda expr: map_expr(expr, lambda each: self._from_tile(each, (low, high))))
        tiles: Body = tuple(map(ir.Local, self.tiles.values()))
        body = (*tiles, self._team(filling, fill), self._team(using, use))
        tiled = {axis.loop.var: axis.tiles for axis in using}
        loops = tuple(tiled.get(loop.var, loop) for loop in self.nest.loops)
        return on_grid(self.of, replace(self.nest, loops=loops), body, lanes=1)

    def _from_tile(self, expr: ir.Expr, index: tuple[ir.Expr, ...]) -> ir.Expr:
        return ir.Load(self.tiles[expr], index) if isinstance(expr, ir.Load) and expr in self.tiles else expr

    def _team(self, axes: tuple[_Axis, _Axis], body: Body) -> ir.Loop:
        """The elements of a tile, shared out; those outside the loops touch nothing."""
        lets: Body = tuple(axis.let() for axis in axes)
        guards = [each for axis in axes for each in axis.guard()]
        if guards:
            test = guards[0] if len(guards) == 1 else ir.Apply("and", tuple(guards), dtypes.bool)
            lets, body = (*lets, ir.Let(self.inside, test)), _guarded(body, self.inside)
        return ir.Loop(self.place, self.size * self.size, "team", (*lets, *body), TEAM)


def _guarded(body: Body, inside: ir.Var) -> Body:
    """`body` with its accesses of memory done where `inside` holds."""
    def both(where: ir.Expr | None) -> ir.Expr:
        return inside if where is None else ir.Apply("and", (inside, where), dtypes.bool)

    def change(expr: ir.Expr) -> ir.Expr:
        return replace(expr, where=both(expr.where)) if isinstance(expr, ir.Load) else expr

    mapped = map_exprs(body, lambda expr: map_expr(expr, change))
    return tuple(replace(stmt, where=both(stmt.where)) if isinstance(stmt, ir.Store) else stmt for stmt in mapped)


def _apply(op: str, left: ir.Expr, right: ir.Expr) -> ir.Expr:
    return ir.Apply(op, (left, right), dtypes.int64)
