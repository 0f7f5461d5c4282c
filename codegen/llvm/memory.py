"""Loads and stores: an index form becomes the cheapest access that serves it.

Along the lanes of a vector loop: stride 0 is one scalar load, 1 a vector load, -1 a reversed one, anything else a gather. Lanes that are
off (the tail's constant mask, a `where` predicate) touch no memory and give zero.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.llvm import types
from graphc.codegen.llvm.forms import Affine, Form, Value, Width
from graphc.codegen.llvm.scopes import Scopes
from graphc.codegen.llvm.target import Target
from graphc.core import dtypes
from graphc.core.dtypes import DType

LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class Address:
    """Where each lane of each part lies: an affine element index, plus `varying` (a vector of i64 per part) where it is not affine."""

    affine: Affine
    varying: tuple[str, ...] = ()


class Memory:
    """Accesses to the buffers of one function. `pointers`: buffer name -> register of its first element."""

    def __init__(self, scopes: Scopes, target: Target, pointers: Mapping[str, str]) -> None:
        self.scopes = scopes
        self.e = scopes.e
        self.target = target
        self.pointers = dict(pointers)

    # Index arithmetic

    def splat(self, name: str, dtype: DType, lanes: int) -> str:
        """A scalar register or constant in every lane."""
        if lanes == 1:
            return name
        if not name.startswith("%"):
            return f"splat ({types.reg_element(dtype)} {name})"
        return self.scopes.pure(("splat", name, lanes), [name], lambda: types.splat(self.e, name, dtype, lanes))

    def scalar(self, form: Affine) -> str:
        """The register (or constant) of a uniform affine int64; terms of outer loops are added up outside."""
        total = ""
        for name, coefficient in sorted(form.terms, key=lambda term: self.scopes.depth([term[0]])):
            term = name if coefficient == 1 else self._int_op("mul", name, str(coefficient))
            total = self._int_op("add", total, term) if total else term
        if not total:
            return str(form.const)
        return self._int_op("add", total, str(form.const)) if form.const else total

    def lanes_of(self, form: Affine, width: Width) -> tuple[str, ...]:
        """The registers of an affine int64 that differs from lane to lane, one per part."""
        base = self.scalar(Affine(0, form.terms)) if form.terms else ""
        return tuple(self._lanes_of_part(base, form, part, width.lanes) for part in range(width.parts))

    def _lanes_of_part(self, base: str, form: Affine, part: int, lanes: int) -> str:
        steps = [form.const + form.vector * (part * lanes + lane) for lane in range(lanes)]
        if lanes == 1:
            return self._int_op("add", base, str(steps[0])) if base else str(steps[0])
        constant = f"<{', '.join(f'i64 {step}' for step in steps)}>"
        if not base:
            return constant
        whole = self.splat(base, dtypes.int64, lanes)
        return self._let(f"add <{lanes} x i64> {whole}, {constant}", [whole])

    def _int_op(self, op: str, a: str, b: str) -> str:
        return self._let(f"{op} i64 {a}, {b}", [a, b])

    def _let(self, text: str, operands: Sequence[str]) -> str:
        return self.scopes.pure(text, operands, lambda: self.e.let(text))

    # Addresses

    def address(self, buffer: ir.Buffer, index: Sequence[Form], width: Width) -> Address:
        """The place of an element, or of one element per lane, from one index form per dimension."""
        affine, varying = Affine(), [""] * width.parts
        stride = 1
        for form, dim in zip(reversed(index), reversed(buffer.shape), strict=True):
            if isinstance(form, Affine):
                affine = affine + form.scaled(stride)
            else:
                varying = [self._add_scaled(total, name, stride, width.lanes) for total, name in zip(varying, form.names, strict=True)]
            stride *= dim
        return Address(affine, tuple(varying) if varying[0] else ())

    def _add_scaled(self, total: str, name: str, stride: int, lanes: int) -> str:
        kind = types.vector("i64", lanes)
        scaled = name
        if stride != 1:
            scaled = self._let(f"mul {kind} {name}, {types.literal(stride, dtypes.int64, lanes)}", [name])
        return self._let(f"add {kind} {total}, {scaled}", [total, scaled]) if total else scaled

    def _pointer(self, buffer: ir.Buffer, form: Affine) -> str:
        """The pointer to the element at a uniform index: outer loops' terms first, so that each is added outside the inner loops."""
        element = types.mem_type(buffer.dtype)
        pointer = self.pointers[buffer.name]
        by_depth: dict[int, list[tuple[str, int]]] = {}
        for name, coefficient in form.terms:
            by_depth.setdefault(self.scopes.depth([name]), []).append((name, coefficient))
        for depth in sorted(by_depth):
            offset = self.scalar(Affine(0, tuple(by_depth[depth])))
            pointer = self._let(f"getelementptr {element}, ptr {pointer}, i64 {offset}", [pointer, offset])
        if form.const:
            pointer = self._let(f"getelementptr {element}, ptr {pointer}, i64 {form.const}", [pointer])
        return pointer

    def _pointers(self, buffer: ir.Buffer, place: Address, part: int, width: Width) -> str:
        """A vector of pointers, one per lane of a part."""
        element, lanes = types.mem_type(buffer.dtype), width.lanes
        pointer = self._pointer(buffer, place.affine.part(part, lanes))
        if place.affine.vector:
            steps = ", ".join(f"i64 {place.affine.vector * lane}" for lane in range(lanes))
            offsets = f"<{steps}>"
            if place.varying:
                offsets = self._let(f"add <{lanes} x i64> {place.varying[part]}, {offsets}", [place.varying[part]])
        else:
            offsets = place.varying[part] if place.varying else "splat (i64 0)"
        return self._let(f"getelementptr {element}, ptr {pointer}, <{lanes} x i64> {offsets}", [pointer, offsets])

    def _lane_pointer(self, buffer: ir.Buffer, place: Address, part: int) -> str:
        """The pointer of a part of one lane."""
        pointer = self._pointer(buffer, place.affine.part(part, 1))
        if not place.varying:
            return pointer
        offset = place.varying[part]
        return self._let(f"getelementptr {types.mem_type(buffer.dtype)}, ptr {pointer}, i64 {offset}", [pointer, offset])

    def _or_zeros(self, pointer: str, where: str | None, dtype: DType, lanes: int) -> str:
        """`pointer` where the uniform predicate holds, else a place that holds zeros: a load without a branch."""
        if where is None:
            return pointer
        zeros = self.e.constant_global(f"[{lanes * dtype.size} x i8] zeroinitializer", "zeros")
        return self._let(f"select i1 {where}, ptr {pointer}, ptr {zeros}", [pointer, where])

    # Loads

    def load(self, buffer: ir.Buffer, place: Address, where: Value | None, width: Width) -> Value:
        """The elements at `place`; zero in the lanes where the predicate is false."""
        uniform = where.name if where is not None and where.uniform else None
        masks = where.names if where is not None and not where.uniform else None
        if not place.varying and not place.affine.vector and masks is None:
            pointer = self._or_zeros(self._pointer(buffer, place.affine), uniform, buffer.dtype, 1)
            return Value((self._load_plain(buffer, pointer, 1),), buffer.dtype)
        parts = range(width.parts)
        if width.lanes == 1:
            guards = masks or (uniform,) * width.parts
            pointers = [self._or_zeros(self._lane_pointer(buffer, place, p), guards[p], buffer.dtype, 1) for p in parts]
            return Value(tuple(self._load_plain(buffer, pointer, 1) for pointer in pointers), buffer.dtype, False)
        names = tuple(self._load_part(buffer, place, p, uniform, masks[p] if masks else None, width) for p in parts)
        return Value(names, buffer.dtype, False)

    def _load_part(self, buffer: ir.Buffer, place: Address, part: int, uniform: str | None, where: str | None, width: Width) -> str:
        lanes, stride = width.lanes, place.affine.vector
        mask = self._both(width.mask(part), where, lanes)
        if place.varying or stride not in (1, -1):
            if uniform is not None:
                mask = self._both(mask, self.splat(uniform, dtypes.bool, lanes), lanes)
            return self._gather(buffer, self._pointers(buffer, place, part, width), mask, lanes)
        first = place.affine.part(part, lanes) + Affine(0 if stride == 1 else 1 - lanes)
        pointer = self._or_zeros(self._pointer(buffer, first), uniform, buffer.dtype, lanes)
        if stride == -1:
            mask = self._reversed_mask(mask, lanes)
        name = self._load_plain(buffer, pointer, lanes) if mask is None else self._load_masked(buffer, pointer, mask, lanes)
        return name if stride == 1 else self._reverse(name, types.reg_type(buffer.dtype, lanes), lanes)

    def _load_plain(self, buffer: ir.Buffer, pointer: str, lanes: int) -> str:
        text = f"load {types.mem_type(buffer.dtype, lanes)}, ptr {pointer}, align {buffer.dtype.size}"
        return self._loaded(buffer, text, [pointer], lanes)

    def _load_masked(self, buffer: ir.Buffer, pointer: str, mask: str, lanes: int) -> str:
        whole, align = types.mem_type(buffer.dtype, lanes), buffer.dtype.size
        call = f"{whole} @llvm.masked.load.{types.mangled(types.mem_type(buffer.dtype), lanes)}.p0"
        self.e.declare(f"{call}(ptr, <{lanes} x i1>, {whole})")
        text = f"call {call}(ptr align {align} {pointer}, <{lanes} x i1> {mask}, {whole} zeroinitializer)"
        return self._loaded(buffer, text, [pointer, mask], lanes)

    def _gather(self, buffer: ir.Buffer, pointers: str, mask: str | None, lanes: int) -> str:
        whole, align = types.mem_type(buffer.dtype, lanes), buffer.dtype.size
        call = f"{whole} @llvm.masked.gather.{types.mangled(types.mem_type(buffer.dtype), lanes)}.v{lanes}p0"
        self.e.declare(f"{call}(<{lanes} x ptr>, <{lanes} x i1>, {whole})")
        mask = mask or "splat (i1 true)"
        text = f"call {call}(<{lanes} x ptr> align {align} {pointers}, <{lanes} x i1> {mask}, {whole} zeroinitializer)"
        return self._loaded(buffer, text, [pointers, mask], lanes)

    def _loaded(self, buffer: ir.Buffer, text: str, operands: Sequence[str], lanes: int) -> str:
        def emit() -> str:
            return types.to_register(self.e, self.target, self.e.let(text), buffer.dtype, lanes)

        return self.scopes.load(buffer.name, text, operands, emit)

    def prefetch(self, buffer: ir.Buffer, index: Sequence[Form], width: Width) -> None:
        """Asks for the cache lines of elements that lie one after another; scattered ones are not worth an instruction each."""
        place = self.address(buffer, index, width)
        if place.varying or place.affine.vector not in (0, 1):
            return
        self.e.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for part in range(width.parts if place.affine.vector else 1):
            for first in range(0, width.lanes if place.affine.vector else 1, LINE // buffer.dtype.size):
                pointer = self._pointer(buffer, place.affine.part(part, width.lanes) + Affine(first))
                self.e.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 3, i32 1)")  # for a read, into all caches, as data

    # Stores

    def store(self, buffer: ir.Buffer, place: Address, value: Value, where: Value | None, width: Width) -> None:
        """Stores `value` (already one register per part unless the place is uniform). A uniform `where` is the caller's `if`."""
        if not place.varying and not place.affine.vector and value.uniform and where is None:
            self._store_plain(buffer, self._pointer(buffer, place.affine), value.name, 1)
        else:
            for part in range(width.parts):
                name = self.splat(value.name, value.dtype, width.lanes) if value.uniform else value.names[part]
                self._store_part(buffer, place, name, part, where.names[part] if where is not None else None, width)
        self.scopes.stored(buffer.name)

    def _store_part(self, buffer: ir.Buffer, place: Address, name: str, part: int, where: str | None, width: Width) -> None:
        lanes, stride = width.lanes, place.affine.vector
        mask = self._both(width.mask(part), where, lanes)
        if lanes == 1:
            self._store_guarded(buffer, self._lane_pointer(buffer, place, part), name, where)
        elif place.varying or stride not in (1, -1):
            self._scatter(buffer, self._pointers(buffer, place, part, width), name, mask, lanes)
        else:
            first = place.affine.part(part, lanes) + Affine(0 if stride == 1 else 1 - lanes)
            if stride == -1:
                name = self._reverse(name, types.reg_type(buffer.dtype, lanes), lanes)
                mask = self._reversed_mask(mask, lanes)
            pointer = self._pointer(buffer, first)
            if mask is None:
                self._store_plain(buffer, pointer, name, lanes)
            else:
                self._store_masked(buffer, pointer, name, mask, lanes)

    def _store_plain(self, buffer: ir.Buffer, pointer: str, name: str, lanes: int) -> None:
        stored = self._stored(buffer, name, lanes)
        self.e.do(f"store {types.mem_type(buffer.dtype, lanes)} {stored}, ptr {pointer}, align {buffer.dtype.size}")

    def _store_guarded(self, buffer: ir.Buffer, pointer: str, name: str, where: str | None) -> None:
        if where is None:
            self._store_plain(buffer, pointer, name, 1)
            return
        stored = self._stored(buffer, name, 1)
        then, after = self.e.new_label("store"), self.e.new_label("stored")
        self.e.do(f"br i1 {where}, label %{then}, label %{after}")
        self.e.label(then)
        self.e.do(f"store {types.mem_type(buffer.dtype)} {stored}, ptr {pointer}, align {buffer.dtype.size}")
        self.e.do(f"br label %{after}")
        self.e.label(after)

    def _store_masked(self, buffer: ir.Buffer, pointer: str, name: str, mask: str, lanes: int) -> None:
        alive = mask.strip("<>").split(", ")
        if alive.count("i1 1") == 1:
            self._store_lane(buffer, pointer, name, alive.index("i1 1"), lanes)
            return
        whole, align = types.mem_type(buffer.dtype, lanes), buffer.dtype.size
        call = f"void @llvm.masked.store.{types.mangled(types.mem_type(buffer.dtype), lanes)}.p0"
        self.e.declare(f"{call}({whole}, ptr, <{lanes} x i1>)")
        self.e.do(f"call {call}({whole} {self._stored(buffer, name, lanes)}, ptr align {align} {pointer}, <{lanes} x i1> {mask})")

    def _store_lane(self, buffer: ir.Buffer, pointer: str, name: str, lane: int, lanes: int) -> None:
        """Stores one lane alone. LLVM 22 makes a scalar store of such a masked store too, but of the element before a truncation:
        of too many bytes."""
        element = self.e.let(f"extractelement {types.reg_type(buffer.dtype, lanes)} {name}, i64 {lane}")
        place = self.e.let(f"getelementptr {types.mem_type(buffer.dtype)}, ptr {pointer}, i64 {lane}") if lane else pointer
        self._store_plain(buffer, place, element, 1)

    def _scatter(self, buffer: ir.Buffer, pointers: str, name: str, mask: str | None, lanes: int) -> None:
        whole, align = types.mem_type(buffer.dtype, lanes), buffer.dtype.size
        call = f"void @llvm.masked.scatter.{types.mangled(types.mem_type(buffer.dtype), lanes)}.v{lanes}p0"
        self.e.declare(f"{call}({whole}, <{lanes} x ptr>, <{lanes} x i1>)")
        stored = self._stored(buffer, name, lanes)
        self.e.do(f"call {call}({whole} {stored}, <{lanes} x ptr> align {align} {pointers}, <{lanes} x i1> {mask or 'splat (i1 true)'})")

    def _stored(self, buffer: ir.Buffer, name: str, lanes: int) -> str:
        return types.to_memory(self.e, self.target, name, buffer.dtype, lanes)

    # Masks

    def _both(self, constant: str | None, where: str | None, lanes: int) -> str | None:
        if constant is None or where is None:
            return constant or where
        return self._let(f"and <{lanes} x i1> {where}, {constant}", [where, constant])

    def _reverse(self, name: str, kind: str, lanes: int) -> str:
        order = ", ".join(f"i32 {lane}" for lane in reversed(range(lanes)))
        return self._let(f"shufflevector {kind} {name}, {kind} poison, <{lanes} x i32> <{order}>", [name])

    def _reversed_mask(self, mask: str | None, lanes: int) -> str | None:
        if mask is None:
            return None
        if mask.startswith("<"):
            return f"<{', '.join(reversed(mask[1:-1].split(', ')))}>"
        return self._reverse(mask, f"<{lanes} x i1>", lanes)
