"""The sides of a product on their way to shared memory: which thread computes which elements, and how it reads them. Part of `product`.

A side is any expression over a row (or column) and the depth. One step's tile of it is cut into *strips* of `width` neighbouring elements,
along the depth or across it, as they lie in memory: a thread computes whole strips, and a load that is contiguous and aligned moves a strip
at once. Strips wait in registers (`fetch`) until the tile they replace has been used (`deliver`).

In shared memory a tile lies as [depth][extent]. Strips along the depth are written there one element at a time, and the rows of the tile
have some elements more than they need, so that threads that write together hit different banks.
"""
from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.cuda.facts import of_loop, of_parts
from graphc.codegen.cuda.product_plan import THREADS, Source
from graphc.codegen.cuda.product_strip import block, contiguous, hold_strip, unrolled, use, widest
from graphc.codegen.cuda.scalars import Scalars

_NEIGHBOURS = 8  # threads that read along the depth together: 32 bytes or more
_NEIGHBOURS_OF_STRIPS = 4  # where they read 16 bytes each, and padding cannot keep more of them apart


@dataclass(frozen=True)
class Side:
    """One side of a product as its tile is made: `extent` (of `tile_extent` per tile) by `depth` (`tile_depth` per step).

    name: "lhs" or "rhs". along_depth: strips lie along the depth. width: elements of a strip. loads: those that move a strip at once.
    pitch: elements from one step of depth to the next in shared memory.
    """

    name: str
    expr: ir.Expr
    var: ir.Var
    depth_var: ir.Var
    extent: int
    depth: int
    tile_extent: int
    tile_depth: int
    along_depth: bool
    width: int
    loads: tuple[ir.Load, ...]
    pitch: int
    neighbours: int

    @property
    def strips(self) -> int:
        """Of one tile."""
        return self.tile_extent * self.tile_depth // self.width

    @property
    def strips_a_thread(self) -> int:
        return -(-self.strips // THREADS)

    # Text

    def declaration(self, ctype: str) -> str:
        return f"Pack<{ctype}, {self.width}> {self.name}_strips{f'[{self.strips_a_thread}]' if self.strips_a_thread > 1 else ''};"

    @property
    def strip(self) -> str:
        """Strip number `slot` of the thread, in C."""
        return f"{self.name}_strips[slot]" if self.strips_a_thread > 1 else f"{self.name}_strips"

    def fetch(self, scalars: Scalars, first: str, step: str) -> list[str]:
        """Computes the strips of tile `step` ("" where there is only one) into registers; `first`: the tile's first row or column. Zeros
        stand beyond the matrix."""
        inner = scalars.inner()
        names = scalars.names
        var, depth = names.of(self.var.name), names.of(self.depth_var.name)
        place, guards = self._place(), self._guards(var, depth)
        start = f"{step} * {self.tile_depth} + " if step else ""
        body = [*place, f"const int {var} = {first} + at_extent, {depth} = {start}at_depth;"]
        filled = self._filled(inner, var, depth)
        if guards:
            filled = block(f"if ({' && '.join(guards)})", filled)
            body += [f"{self.strip} = {{}};"]
        return unrolled("slot", self.strips_a_thread, [*body, *filled])

    def deliver(self, tile: str) -> list[str]:
        """Writes the strips into `tile`."""
        if self.along_depth and self.width > 1:
            written = unrolled("part", self.width, [f"{tile}[at_depth + part][at_extent] = {self.strip}[part];"])
        else:
            written = [f"store<{self.width}>(&{tile}[at_depth][at_extent], {self.strip});"]
        if self.strips % THREADS:
            written = block(f"if (strip < {self.strips})", written)
        return unrolled("slot", self.strips_a_thread, [*self._place(), *written])

    def _place(self) -> list[str]:
        """Where strip `slot` of this thread lies in the tile."""
        strip = f"const int strip = threadIdx.x + slot * {THREADS};" if self.strips_a_thread > 1 else "const int strip = threadIdx.x;"
        if self.along_depth:
            lanes = self.neighbours
            across = f"strip / {lanes} % {self.tile_extent}" if lanes > 1 else f"strip % {self.tile_extent}"
            depth = f"(strip % {lanes} + strip / {lanes * self.tile_extent} * {lanes})" if lanes > 1 else f"strip / {self.tile_extent}"
            return [strip, f"const int at_extent = {across}, at_depth = {depth} * {self.width};"]
        count = self.tile_extent // self.width
        return [strip, f"const int at_extent = strip % {count} * {self.width}, at_depth = strip / {count};"]

    def _guards(self, var: str, depth: str) -> list[str]:
        """Conditions under which a strip lies inside the matrix (and inside the tile, where not all threads have a strip)."""
        guards = [f"strip < {self.strips}"] if self.strips % THREADS else []
        guards += [f"{var} < {self.extent}"] if self.extent % self.tile_extent else []
        return guards + ([f"{depth} < {self.depth}"] if self.depth % self.tile_depth else [])

    def _filled(self, scalars: Scalars, var: str, depth: str) -> list[str]:
        moving, still = (self.depth_var, self.var) if self.along_depth else (self.var, self.depth_var)
        moving_text, still_text = (depth, var) if self.along_depth else (var, depth)
        extents = {self.var.name: self.extent, self.depth_var.name: self.depth}
        scalars.bind(still, still_text, of_loop(extents[still.name]))
        scalars.bind(moving, moving_text, of_parts(extents[moving.name], self.width))
        if self.width == 1:
            return [f"{self.strip}[0] = {scalars.text(self.expr)};"]
        held = [hold_strip(scalars, load, self.width) for load in self.loads]
        expr = use(scalars, held)(self.expr)
        scalars.bind(moving, f"({moving_text} + part)", of_loop(extents[moving.name]))
        filled = unrolled("part", self.width, [f"{self.strip}[part] = {scalars.text(expr)};"])
        return [*(each.line for each in held), *filled]


def source_of(expr: ir.Expr, row: tuple[ir.Var, int], depth: tuple[ir.Var, int], scalars: Scalars) -> Source:
    """How the loads of a side lie in memory. `row` (or column), `depth`: variables and extents; `scalars` knows all others."""
    across, along = _at(scalars, row), _at(scalars, depth)
    along_depth = contiguous(across, _loads(expr), *depth) > contiguous(along, _loads(expr), *row)
    return Source(max((load.dtype.size for load in _loads(expr)), default=expr.dtype.size), along_depth)


def make_side(name: str, expr: ir.Expr, row: tuple[ir.Var, int, int], depth: tuple[ir.Var, int, int], group: int, scalars: Scalars) -> Side:
    """How to stage `expr`. `row` (or column), `depth`: variables, extents, and extents of a tile; group: see `Tile.group`; `scalars` knows
    all other variables."""
    along_depth = source_of(expr, row[:2], depth[:2], scalars).along_depth
    still, moving = (row, depth) if along_depth else (depth, row)
    width, moved = widest(_at(scalars, still[:2]), _loads(expr), *moving)
    apart = width == 1 or group == 1  # whether padding keeps many threads' elements apart
    neighbours = min(depth[2] // width, _NEIGHBOURS if apart else _NEIGHBOURS_OF_STRIPS)
    pitch = row[2] + (group if along_depth else 0)
    return Side(name, expr, row[0], depth[0], row[1], depth[1], row[2], depth[2], along_depth, width, moved, pitch, neighbours)


def _at(scalars: Scalars, still: tuple[ir.Var, int]) -> Scalars:
    inner = scalars.inner()
    inner.bind(still[0], "", of_loop(still[1]))
    return inner


def _loads(expr: ir.Expr) -> list[ir.Load]:
    return [each for each in ir.subexpressions(expr) if isinstance(each, ir.Load)]
