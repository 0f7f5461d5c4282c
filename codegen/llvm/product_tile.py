"""The micro-kernel of a matrix product: one tile of accumulators, held in registers over a whole block of depth.

Each tile shape is one internal function, called for every tile of that shape. A step of depth loads one row of the right panel (`vectors`
registers), broadcasts one element per row of the left side, and multiplies and adds. On AVX-512 one step per turn of the loop is as fast as
four: a 14 x 2 tile takes 28 multiply-adds in 14 cycles, and the other 18 instructions fit beside them.

The last block of depth ends in the epilogue. A cheap one is printed for every row and reads the accumulators where they are; one that
computes more is printed once, in a loop over the rows of a copy on the stack: 28 copies of an error function would take longer to compile
than to run, and their constants would push the accumulators out of the registers anyway.
"""
from __future__ import annotations

from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.llvm import types
from graphc.codegen.llvm.body import Body
from graphc.codegen.llvm.forms import Affine, Value, Width
from graphc.codegen.llvm.product_loops import byte_offset, counted, plus, times
from graphc.codegen.llvm.product_plan import Plan
from graphc.codegen.llvm.target import Target
from graphc.codegen.llvm.vec import constant, mangled, vector

_CHEAP = frozenset({"add", "subtract", "multiply", "maximum", "minimum", "negate", "abs", "select", "convert", "lt", "le", "gt", "ge"})
_MOST_CHEAP = 8  # operations per element up to which an epilogue is printed for each row

_PARTS = 2  # vectors of a costly epilogue printed side by side: enough to keep the multipliers busy
_LINES_AHEAD = 4  # of the cache: how far ahead the left side is prefetched

PARAMETERS = "ptr %a, ptr %b, ptr %sums, i64 %depth, i1 %starts, i1 %ends, i64 %i, i64 %j"


class Tile:
    """Prints the micro-kernel for tiles of `rows` by `columns` into `body`'s function, which has PARAMETERS.

    `%a`, `%b`: the tile's first element of the left side and of the right panel. `%sums`: where unfinished accumulators wait between blocks
    of depth. `%starts`, `%ends`: whether this is the first, the last block. `%i`, `%j`: the tile's place in the product.
    """

    def __init__(self, body: Body, target: Target, plan: Plan, rows: int, columns: int) -> None:
        self.body = body
        self.e = body.e
        self.target = target
        self.plan = plan
        self.rows = rows
        self.columns = columns
        self.width = Width.of(columns, plan.lanes)
        self.kind = vector(plan.element, plan.lanes)
        self.places = [(row, part) for row in range(rows) for part in range(self.width.parts)]

    def emit(self) -> None:
        """Prints the function's body, to its `ret`."""
        cheap = _is_cheap(self.plan.product.epilogue)
        if not self.plan.columns.slant:
            self.body.is_multiple("%j", self.plan.columns.pitch)
        copy = "" if cheap else self.e.let(f"alloca [{len(self.places) * self._vector_bytes} x i8], align 64")
        accumulators = self._accumulate() if self.plan.product.depth else self._zeros()
        if self.plan.depth_blocks > 1:
            self._suspend(accumulators)
        if cheap:
            self._epilogue_of_rows(accumulators)
        else:
            self._store(accumulators, copy)
            self._epilogue_loop(copy)
        self.e.do("ret void")

    def _zeros(self) -> list[str]:
        return [constant("0.0", self.plan.element, self.plan.lanes)] * len(self.places)

    @property
    def _vector_bytes(self) -> int:
        return self.plan.lanes * self.plan.size

    # The loop over depth

    def _accumulate(self) -> list[str]:
        """The registers of the finished sums, row by row."""
        e = self.e
        initial = self._initial()
        following = [e.new_value() for _ in self.places]
        head = e.new_label("depth")
        k, a, b, k_next, a_next, b_next = (e.new_value() for _ in range(6))
        entry = e.block
        e.do(f"br label %{head}")
        e.label(head)
        e.do(_phi("i64", k, [("0", entry), (k_next, head)]))
        e.do(_phi("ptr", a, [("%a", entry), (a_next, head)]))
        e.do(_phi("ptr", b, [("%b", entry), (b_next, head)]))
        accumulators = []
        for first, name in zip(initial, following, strict=True):
            accumulators.append(e.new_value())
            e.do(_phi(self.kind, accumulators[-1], [(first, entry), (name, head)]))
        if self.plan.prefetches:
            self._prefetch(k)
        steps = self.plan.steps
        now = accumulators
        for step in range(steps):
            results = following if step == steps - 1 else [e.new_value() for _ in self.places]
            self._step(byte_offset(e, a, step * self.plan.lhs.step), byte_offset(e, b, step * self.plan.rhs.step), now, results)
            now = results
        e.do(f"{a_next} = getelementptr i8, ptr {a}, i64 {steps * self.plan.lhs.step}")
        e.do(f"{b_next} = getelementptr i8, ptr {b}, i64 {steps * self.plan.rhs.step}")
        e.do(f"{k_next} = add nuw nsw i64 {k}, {steps}")
        more, done = e.let(f"icmp ult i64 {k_next}, %depth"), e.new_label("summed")
        e.do(f"br i1 {more}, label %{head}, label %{done}")
        e.label(done)
        return following

    def _initial(self) -> list[str]:
        """What the accumulators begin with: zeros, or what the block of depth before has left."""
        e = self.e
        zeros = self._zeros()
        if self.plan.depth_blocks == 1:
            return zeros
        resume, enter, fresh = e.new_label("resume"), e.new_label("enter"), e.block
        e.do(f"br i1 %starts, label %{enter}, label %{resume}")
        e.label(resume)
        loaded = [self._load_sum("%sums", index) for index in range(len(self.places))]
        e.do(f"br label %{enter}")
        e.label(enter)
        merged = [e.new_value() for _ in loaded]
        for name, zero, value in zip(merged, zeros, loaded, strict=True):
            e.do(_phi(self.kind, name, [(zero, fresh), (value, resume)]))
        return merged

    def _prefetch(self, k: str) -> None:
        """Asks for one line of the left side per step: that of row k % 16, some steps further on than the line of step k.

        The rows lie apart and their lines run out all in the same step; a hardware prefetcher follows only some of so many streams.
        """
        line = 64 // self.plan.size
        row = times(self.e, self.e.let(f"and i64 {k}, {line - 1}"), self.plan.lhs.pitch)
        ahead = plus(self.e, times(self.e, self.e.let(f"lshr i64 {k}, {line.bit_length() - 1}"), 64), str(_LINES_AHEAD * 64))
        address = byte_offset(self.e, "%a", plus(self.e, row, ahead))
        self.e.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.e.do(f"call void @llvm.prefetch.p0(ptr {address}, i32 0, i32 3, i32 1)")  # a read, of data, to be kept near

    def _step(self, a: str, b: str, accumulators: Sequence[str], following: Sequence[str]) -> None:
        right = [self._load_right(b, part) for part in range(self.width.parts)]
        for row in range(self.rows):
            address = byte_offset(self.e, a, row * self.plan.lhs.pitch)
            scalar = self.e.let(f"load {self.plan.element}, ptr {address}, align {self.plan.size}")
            left = types.splat_element(self.e, scalar, self.plan.element, self.plan.lanes)
            for part, register in enumerate(right):
                index = row * self.width.parts + part
                self._multiply_add(following[index], left, register, accumulators[index])

    def _load_right(self, b: str, part: int) -> str:
        """One vector of the right panel. Panels hold whole vectors; in a buffer of the caller's a masked load stays inside the row."""
        address = byte_offset(self.e, b, part * self._vector_bytes)
        mask = self.width.mask(part)
        if not self.plan.rhs.direct or mask is None:
            align = self.plan.size if self.plan.rhs.direct else min(64, self._vector_bytes)
            return self.e.let(f"load {self.kind}, ptr {address}, align {align}")
        masks = f"<{self.plan.lanes} x i1>"
        call = f"{self.kind} @llvm.masked.load.{mangled(self.plan.element, self.plan.lanes)}.p0"
        self.e.declare(f"{call}(ptr, {masks}, {self.kind})")
        return self.e.let(f"call {call}(ptr align {self.plan.size} {address}, {masks} {mask}, {self.kind} zeroinitializer)")

    def _multiply_add(self, result: str, x: str, y: str, total: str) -> None:
        if not self.target.has_fma:
            product = self.e.let(f"fmul {self.kind} {x}, {y}")
            self.e.do(f"{result} = fadd {self.kind} {total}, {product}")
            return
        call = f"{self.kind} @llvm.fma.{mangled(self.plan.element, self.plan.lanes)}"
        self.e.declare(f"{call}({self.kind}, {self.kind}, {self.kind})")
        self.e.do(f"{result} = call {call}({self.kind} {x}, {self.kind} {y}, {self.kind} {total})")

    # Sums in memory: between blocks of depth, and under a costly epilogue

    def _load_sum(self, base: str, index: int) -> str:
        address = byte_offset(self.e, base, index * self._vector_bytes)
        return self.e.let(f"load {self.kind}, ptr {address}, align {min(64, self._vector_bytes)}")

    def _store(self, accumulators: Sequence[str], base: str) -> None:
        for index, name in enumerate(accumulators):
            address = byte_offset(self.e, base, index * self._vector_bytes)
            self.e.do(f"store {self.kind} {name}, ptr {address}, align {min(64, self._vector_bytes)}")

    def _suspend(self, accumulators: Sequence[str]) -> None:
        """Leaves the function with the sums put aside, unless this is the last block of depth."""
        suspend, finish = self.e.new_label("suspend"), self.e.new_label("finish")
        self.e.do(f"br i1 %ends, label %{finish}, label %{suspend}")
        self.e.label(suspend)
        self._store(accumulators, "%sums")
        self.e.do("ret void")
        self.e.label(finish)

    # The epilogue

    def _epilogue_of_rows(self, accumulators: Sequence[str]) -> None:
        parts = self.width.parts
        with self.body.isolated():
            for row in range(self.rows):
                names = tuple(accumulators[row * parts : (row + 1) * parts])
                self._epilogue_at(Affine(row, (("%i", 1),)), Affine.of("%j", 1), names, self.width)

    def _epilogue_loop(self, copy: str) -> None:
        """The epilogue of a copied tile: for each row, `_PARTS` vectors at a time and then what is left."""
        lanes, step = self.plan.lanes, _PARTS * self.plan.lanes
        whole = self.columns - self.columns % step
        with counted(self.e, "0", str(self.rows)) as row:
            base = byte_offset(self.e, copy, times(self.e, row, self.width.parts * self._vector_bytes))
            i = Affine(0, (("%i", 1), (row, 1)))
            if whole:
                with counted(self.e, "0", str(whole), step) as column:
                    self.body.is_multiple(column, step)
                    self._epilogue_of_copy(i, column, base, Width.full(lanes, _PARTS))
            if whole < self.columns:
                self._epilogue_of_copy(i, str(whole), base, Width.of(self.columns - whole, lanes))

    def _epilogue_of_copy(self, i: Affine, column: str, base: str, width: Width) -> None:
        first = byte_offset(self.e, base, times(self.e, column, self.plan.size))
        names = tuple(self._load_sum(first, part) for part in range(width.parts))
        with self.body.isolated():
            self._epilogue_at(i, Affine.of(column) + Affine.of("%j", 1), names, width)

    def _epilogue_at(self, i: Affine, j: Affine, names: tuple[str, ...], width: Width) -> None:
        product = self.plan.product
        acc = Value(names, product.acc.dtype, False)
        with self.body.bound({product.i.name: i, product.j.name: j, product.acc.name: acc}, width):
            self.body.execute(product.epilogue)


def _phi(kind: str, name: str, incoming: Sequence[tuple[str, str]]) -> str:
    return f"{name} = phi {kind} {', '.join(f'[ {value}, %{block} ]' for value, block in incoming)}"


def _is_cheap(epilogue: Sequence[ir.Stmt]) -> bool:
    """Whether an epilogue is so short that it may be printed for every row of a tile."""
    operations = [
        part.op
        for stmt in epilogue
        for expr in ir.expressions(stmt)
        for part in ir.subexpressions(expr)
        if isinstance(part, ir.Apply) and part.dtype.is_floating
    ]
    return len(operations) <= _MOST_CHEAP and _CHEAP.issuperset(operations)
