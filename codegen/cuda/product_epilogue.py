"""What becomes of a product's sums: the epilogue in CUDA, strip by strip of a few neighbouring columns. Part of `product`.

A strip is loaded, computed and stored by one thread: all its loads come before its stores, so that an output may lie over an operand that
is read at the element being written. For the same reason the loads may come long before: where a thread has a single strip they are made
before the sums are, which takes no time then, as the thread waits for its tiles anyway.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.codegen import ir
from graphc.codegen.cuda.facts import of_loop, of_parts
from graphc.codegen.cuda.product_plan import THREADS, Tile
from graphc.codegen.cuda.product_strip import Access, Held, Share, block, hold_element, hold_strip, unrolled, use, whole
from graphc.codegen.cuda.scalars import Scalars
from graphc.codegen.cuda.types import memory_type
from graphc.codegen.rewrite import map_exprs, variables

_EARLY_VALUES = 24  # registers for what is loaded before the sums are made


def accesses(epilogue: Sequence[ir.Stmt]) -> list[Access]:
    """Every load and store of an epilogue."""
    loads = [sub for stmt in epilogue for expr in ir.expressions(stmt) for sub in ir.subexpressions(expr) if isinstance(sub, ir.Load)]
    return [*loads, *(stmt for stmt in epilogue if isinstance(stmt, ir.Store))]


@dataclass(frozen=True)
class _Strip:
    """width: columns. scalars: what names stand for at the first. held: loads made ahead. moved: accesses that move the strip at once."""

    width: int
    scalars: Scalars
    held: list[Held]
    moved: list[Access]


class Epilogue:
    """Prints the epilogue of one product, whose batch and enclosing `let`s `scalars` knows."""

    def __init__(self, product: ir.Product, tile: Tile, scalars: Scalars) -> None:
        self.product = product
        self.tile = tile
        self.scalars = scalars
        self.i, self.j = scalars.names.of(product.i.name), scalars.names.of(product.j.name)
        self.accesses = accesses(product.epilogue)

    def of_registers(self, rows: Share, columns: Share) -> list[str]:
        """From `sums[r][c]` of each thread, row by row."""
        width = self.width(columns.group)
        first = f"c * {width}" if width > 1 else "c"
        place = f"const int {self.i} = first_row + {rows.place('r')}, {self.j} = first_column + {columns.place(first)};"
        part = {1: first}.get(width, f"{first} + part")
        strips = [place, *_guarded(self.guards(), self.whole_strip(width, f"sums[r][{part}]"))]
        return unrolled("r", rows.count, unrolled("c", columns.count // width, strips))

    def of_tile(self, width: int, total: Sequence[str]) -> tuple[list[str], list[str]]:
        """Over all threads, from the strip of sums that the lines `total` declare as `total`, of the tile's row `row_at` from column
        `column_at` on. The first lines belong before the sums."""
        strips, in_row = self.tile.rows * self.tile.columns // width, self.tile.columns // width
        slots = -(-strips // THREADS)
        number = f"threadIdx.x + slot * {THREADS}" if slots > 1 else "threadIdx.x"
        place = [
            f"const int strip = {number}, row_at = strip / {in_row}, column_at = strip % {in_row} * {width};",
            f"const int {self.i} = first_row + row_at, {self.j} = first_column + column_at;",
        ]
        guards = ([f"strip < {strips}"] if strips % THREADS else []) + self.guards()
        part = f"total[{'part' if width > 1 else '0'}]"
        if slots > 1:
            return [], unrolled("slot", slots, [*place, *_guarded(guards, [*total, *self.whole_strip(width, part)])])
        strip = self.strip(width, early=True)
        declared = [f"{each.ctype} {each.name};" for each in strip.held]
        loaded = [f"{each.name} = {each.text};" for each in strip.held]
        return [*place, *declared, *_guarded(guards, loaded)], _guarded(guards, [*total, *self.computed(strip, part)])

    def guards(self) -> list[str]:
        """Conditions under which a strip lies inside the result."""
        p = self.product
        return ([f"{self.i} < {p.m}"] if p.m % self.tile.rows else []) + ([f"{self.j} < {p.n}"] if p.n % self.tile.columns else [])

    def width(self, most: int) -> int:
        """The longest strips in which something is moved at once; 1 where that is nothing, or the stores depend on `let`s."""
        p = self.product
        scalars = self.scalars.inner()
        scalars.bind(p.i, "", of_loop(p.m))
        stores = [access for access in self.accesses if isinstance(access, ir.Store)]
        known = {*scalars.env, p.j.name}
        if any(store.where is not None or not all(variables(index) <= known for index in store.index) for store in stores):
            return 1
        return next((width for width in (4, 2) if width <= most and p.n % width == 0 and whole(scalars, self.accesses, p.j, p.n, width)), 1)

    # One strip

    def whole_strip(self, width: int, total: str) -> list[str]:
        strip = self.strip(width, early=False)
        return [*(each.line for each in strip.held), *self.computed(strip, total)]

    def strip(self, width: int, early: bool) -> _Strip:
        """What is to be loaded ahead: whole strips; where there is time for it (`early`), also single elements."""
        p = self.product
        scalars = self.scalars.inner()
        scalars.bind(p.i, self.i, of_loop(p.m))
        moved = whole(scalars, self.accesses, p.j, p.n, width) if width > 1 else []
        scalars.bind(p.j, self.j, of_parts(p.n, width) if width > 1 else of_loop(p.n))
        held = [hold_strip(scalars, load, width) for load in moved if isinstance(load, ir.Load)]
        if early:
            room = max(0, _EARLY_VALUES - width * len(held))
            held += [hold_element(scalars, load) for load in self.single_loads(scalars, width) if load not in moved][:room]
        return _Strip(width, scalars, held, moved)

    def single_loads(self, scalars: Scalars, width: int) -> list[ir.Load]:
        """Loads of an element that is the same for all parts of a strip, at a place known before the epilogue runs."""
        found = dict.fromkeys(access for access in self.accesses if isinstance(access, ir.Load) and access.where is None)
        names = scalars.env.keys() - ({self.product.j.name} if width > 1 else set())
        return [load for load in found if all(variables(index) <= names for index in load.index)]

    def computed(self, strip: _Strip, total: str) -> list[str]:
        """The strip's values from its sums (`total`: that of one part), and the stores after them."""
        p, scalars = self.product, strip.scalars
        held = use(scalars, strip.held)
        if strip.width == 1:
            scalars.bind(p.acc, total)
            return scalars.statements(map_exprs(p.epilogue, held))
        each = scalars.inner()
        each.bind(p.j, f"({self.j} + part)", of_loop(p.n))
        each.bind(p.acc, total)
        before, body, after = list[str](), list[str](), list[str]()
        for stmt in p.epilogue:
            if not isinstance(stmt, ir.Store):
                body += each.statements(map_exprs((stmt,), held))
                continue
            pack = scalars.names.fresh(f"{stmt.buffer.name}_strip")
            before.append(f"Pack<{memory_type(stmt.buffer.dtype)}, {strip.width}> {pack};")
            body.append(f"{pack}[part] = {each.stored(replace(stmt, value=held(stmt.value)))};")
            if stmt in strip.moved:
                after.append(f"store<{strip.width}>({scalars.address(stmt.buffer, stmt.index)}, {pack});")
            else:
                after += unrolled("part", strip.width, [f"{each.element(stmt.buffer, stmt.index)} = {pack}[part];"])
        return [*before, *unrolled("part", strip.width, body), *after]


def _guarded(guards: Sequence[str], lines: Sequence[str]) -> list[str]:
    return block(f"if ({' && '.join(guards)})", lines) if guards and lines else [*lines]
