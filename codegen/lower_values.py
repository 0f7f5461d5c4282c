"""The value of a node at an index: the heart of lowering. Everything that a kernel computes is asked for here, element by element.

`Values.at(node, index)` walks down the loop forms: a Map applies its operation to its operands' values at the same index, a View asks its
operand at another index, a parameter becomes a load. Nothing is stored between nodes, so any chain of them is one expression. Folds
(reductions, integer products) open their own loop where no value is known yet; `lower_nest` computes them ahead in loops that they share.

A guard is a predicate under which a value is needed (inside a pad, within a gather's range): every load below it carries it.
"""
from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import Fold, folds_of
from graphc.codegen.lower_index import Index, LoopVar
from graphc.codegen.lower_philox import random_word
from graphc.codegen.lower_scope import Nest, walk
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.loops import ArgReduce, Contract, DynamicSlice, DynamicUpdate, Fill, Gather, Map, Piece, Reduce, State, View
from graphc.core.program import Node

Guard = ir.Expr | None
At = tuple[Index, ...]


class Values:
    """Computes values of `body` nodes in `nest`; `buffers` holds the nodes that are parameters of the kernel.

    `positions` remembers what linear index each load and store expression stands for, `cuts` the factors of loop spaces that would have
    made an index affine: (space, cut) pairs.
    """

    def __init__(self, nest: Nest, buffers: Mapping[Node, ir.Buffer]) -> None:
        self.nest = nest
        self.buffers = buffers
        self.positions: dict[str, dict[ir.Expr, Index]] = {}
        self.cuts: set[tuple[str, int]] = set()
        self.folds_allowed = True

    def at(self, node: Node, index: Sequence[Index | int], guard: Guard = None) -> ir.Expr:
        """The value of `node` at `index` (one entry per dim). Where `guard` is false the value is not used and nothing may be touched."""
        where = tuple(map(li.as_index, index))
        for key in dict.fromkeys([(node, where, None), (node, where, guard)]):
            known = self.nest.recall(key)
            if known is not None:
                return known
        value = self._compute(node, where, guard)
        self.nest.remember((node, where, guard), value)
        return value

    def store(self, buffer: ir.Buffer, position: Index, value: ir.Expr) -> None:
        """`buffer[position] = value`, `position` row-major."""
        self.nest.emit(ir.Store(buffer, (self.address(buffer, position),), value))

    def store_all(self, position: Index, pairs: Sequence[tuple[Node, ir.Buffer]]) -> None:
        """Stores the values of several outputs at one position: all are computed before the first is stored, because an output may lie
        over an operand that is read at the same position."""
        computed = [self.at(node, li.unflatten(position, node.dims)) for node, _ in pairs]
        for (_, buffer), value in zip(pairs, computed, strict=True):
            self.store(buffer, position, value)

    def load(self, buffer: ir.Buffer, position: Index, guard: Guard = None) -> ir.Expr:
        return self.nest.let(ir.Load(buffer, (self.address(buffer, position),), guard), "v")

    def address(self, buffer: ir.Buffer, position: Index) -> ir.Expr:
        """`position` as an expression, remembered so that the buffer can be given a shape later."""
        expr = self.expr(position)
        self.positions.setdefault(buffer.name, {})[expr] = position
        return expr

    def expr(self, x: Index) -> ir.Expr:
        """`x` as an expression; asks for the cuts that would simplify it."""
        for atom in li.unsimplified(x):
            for var, coefficient in atom.x.terms:
                if isinstance(var, LoopVar) and var.space:
                    period = atom.divisor // math.gcd(coefficient, atom.divisor)
                    if 1 < period < var.extent and var.extent % period == 0:
                        self.cuts.add((var.space, var.stride * period))
        return li.to_expr(x)

    def _compute(self, node: Node, index: At, guard: Guard) -> ir.Expr:
        if node in self.buffers:
            return self.load(self.buffers[node], li.flatten(index, node.dims), guard)
        form = node.primitive.loop
        match form:
            case Map():
                op = form.op if isinstance(form.op, str) else form.op(node.attrs)
                args = tuple(self.at(operand, index, guard) for operand in node.operands)
                return self.apply(op, args, node.dtype)
            case View():
                types = tuple(operand.type for operand in node.operands)
                return self._view(node, form.index_map(node.attrs, types, index), guard)
            case Fill():
                return self._fill(node, form.kind, index)
            case Gather():
                return self._gather(node, index, guard)
            case DynamicSlice():
                starts = self.box_starts(node.operands[1:], node.operands[0].dims, node.dims, guard)
                return self.at(node.operands[0], tuple(i + start for i, start in zip(index, starts, strict=True)), guard)
            case DynamicUpdate():
                return self._updated(node, index, guard)
            case Reduce() | ArgReduce() | Contract():
                return self._folded(node, index, guard)
            case State(kind="variable_assign"):
                return self.at(node.operands[-1], index, guard)
        raise ValueError(f"{node.name} cannot stand inside a kernel")

    def apply(self, op: str, args: tuple[ir.Expr, ...], dtype: DType) -> ir.Expr:
        """One scalar operation, named; a conversion to the same type is nothing."""
        if op == "convert" and args[0].dtype is dtype:
            return args[0]
        return self.nest.let(ir.Apply(op, args, dtype), "t")

    def convert(self, value: ir.Expr, dtype: DType) -> ir.Expr:
        return self.apply("convert", (value,), dtype)

    def _view(self, node: Node, pieces: Sequence[Piece], guard: Guard) -> ir.Expr:
        """The first piece whose ranges hold, as selects; pieces that no index can reach vanish."""
        chain: list[tuple[Guard, ir.Expr]] = []
        for piece in pieces:
            test = li.within(self._noted(piece))
            if test == li.NEVER:
                continue
            test = self._named(test)
            needed = self._both(guard, test if test is not None else self._elsewhere([before for before, _ in chain], piece))
            chain.append((test, self.at(node.operands[piece.operand], piece.index, needed)))
            if test is None:
                break
        if len(chain) == 2 and self._loads_zero_elsewhere(node.operands[pieces[0].operand]) and _is_zero(chain[1][1]):
            return chain[0][1]
        value = chain[-1][1]
        for test, other in reversed(chain[:-1]):
            value = self.apply("select", (_certain(test), other, value), node.dtype)
        return value

    def _elsewhere(self, tests: Sequence[Guard], piece: Piece) -> Guard:
        """Where none of `tests` holds: the guard of a last piece, which has no ranges of its own. Constant indices need none."""
        if not tests or not any(li.as_index(i).terms for i in piece.index):
            return None
        apart = [ir.Apply("not", (_certain(test),), dtypes.bool) for test in tests]
        return self._named(li.conjunction(apart))

    def _noted(self, piece: Piece) -> list[tuple[Index, int, int]]:
        """The ranges of a piece, after asking for the cuts that would simplify those which stay."""
        ranges = [(li.as_index(x), lo, hi) for x, lo, hi in piece.where]
        for x, lo, hi in ranges:
            if li.within([(x, lo, hi)]) not in (None, li.NEVER):
                self.expr(li.without_division(x, lo, hi)[0])
        return ranges

    def _loads_zero_elsewhere(self, node: Node) -> bool:
        """Whether `node` is a bare load: where its guard is false it is zero already, and no select need say so."""
        while node not in self.buffers and node.name in ("broadcast_in_dim", "reshape", "transpose", "reverse", "slice"):
            node = node.operands[0]
        return node in self.buffers

    def _named(self, test: ir.Expr | None) -> Guard:
        return None if test is None else self.nest.let(test, "inside")

    def _both(self, guard: Guard, test: Guard) -> Guard:
        return self._named(li.conjunction([guard, test]))

    def _fill(self, node: Node, kind: str, index: At) -> ir.Expr:
        if kind == "constant":
            return uniform_constant(node)
        if kind == "iota":
            return self.convert(self.expr(index[node.attrs.axis]), node.dtype)
        counter = self.convert(self.at(node.operands[0], ()), dtypes.int64)
        return self.nest.let(random_word(counter, node.attrs.key, li.to_expr(li.flatten(index, node.dims))), "bits")

    def _gather(self, node: Node, index: At, guard: Guard) -> ir.Expr:
        source, indices = node.operands
        axis, rank = node.attrs.axis, len(indices.dims)
        if source.type.size == 0:
            return zero(node.dtype)
        row = self.convert(self.at(indices, index[axis:axis + rank], guard), dtypes.int64)
        inside = self._both(guard, _in_range(row, source.dims[axis]))
        place = li.loaded(row, 0, source.dims[axis] - 1)
        value = self.at(source, (*index[:axis], place, *index[axis + rank:]), inside)
        if self._loads_zero_elsewhere(source):
            return value
        return self.apply("select", (_certain(inside), value, zero(node.dtype)), node.dtype)

    def box_starts(self, starts: Sequence[Node], whole: Sequence[int], box: Sequence[int], guard: Guard = None) -> At:
        """Where a box inside `whole` begins: each start clamped, so that its range is known and a walk along it is one along memory."""
        found = []
        for start, dim, size in zip(starts, whole, box, strict=True):
            room = dim - size
            value = self.convert(self.at(start, (), guard), dtypes.int64) if room else ir.index(0)
            clamped = self.apply("clamp", (ir.index(0), value, ir.index(room)), dtypes.int64) if room else value
            found.append(li.loaded(clamped, 0, room) if room else Index())
        return tuple(found)

    def _updated(self, node: Node, index: At, guard: Guard) -> ir.Expr:
        """The update where `index` lies in its box, else operand 0."""
        source, update, *starts = node.operands
        inner = tuple(i - start for i, start in zip(index, self.box_starts(starts, source.dims, update.dims, guard), strict=True))
        inside = self._named(li.within([(i, 0, dim) for i, dim in zip(inner, update.dims, strict=True)]))
        if inside == li.NEVER:
            return self.at(source, index, guard)
        value = self.at(update, inner, self._both(guard, inside))
        if inside is None:
            return value
        return self.apply("select", (inside, value, self.at(source, index, guard)), node.dtype)

    def _folded(self, node: Node, index: At, guard: Guard) -> ir.Expr:
        """The value of a reduction that nobody computed ahead: its loops are written here, in the outermost block that binds the index."""
        if not self.folds_allowed:
            raise ValueError(f"{node.name} cannot be folded into a matrix product")
        depth = min(self.nest.depth, max([self.nest.depth_of(guard), *(self.nest.depth_of(li.to_expr(i)) for i in index)]))
        value: ir.Expr | None = None
        with self.nest.under(depth):
            for fold in folds_of(node):
                accumulator = self.nest.accumulator(self.initial(fold), fold.name)
                loops = tuple(LoopVar(self.nest.fresh("r"), extent) for extent in fold.extents)
                if all(fold.extents):
                    with walk(self.nest, loops):
                        self.update(accumulator, fold, index, tuple(map(li.variable, loops)), guard)
                value = self.finish(fold, accumulator, index)
        return _certain(value)

    def initial(self, fold: Fold) -> ir.Expr:
        """What the accumulator of `fold` starts from."""
        return ir.Const(fold.identity, fold.dtype)

    def update(self, accumulator: ir.Var, fold: Fold, index: At, reduced: At, guard: Guard = None) -> None:
        """Combines into `accumulator` the element at output index `index` and reduced index `reduced`."""
        self.nest.emit(ir.Update(accumulator, fold.combine, self._term(fold, index, reduced, guard)))

    def finish(self, fold: Fold, accumulator: ir.Var, index: At) -> ir.Expr:
        """The result of a fold from its accumulator, remembered as the value of its node (or as the extreme that the next fold needs)."""
        value = accumulator if fold.is_extreme else self.convert(accumulator, fold.node.dtype)
        self.nest.remember(_key(fold, index), value)
        return value

    def _term(self, fold: Fold, index: At, reduced: At, guard: Guard) -> ir.Expr:
        node = fold.node
        form = node.primitive.loop
        if isinstance(form, Contract):
            lhs, rhs = contracted(node, index, reduced)
            product = (self.convert(self.at(node.operands[0], lhs, guard), fold.dtype),
                       self.convert(self.at(node.operands[1], rhs, guard), fold.dtype))
            return self.apply("and" if fold.dtype.is_bool else "multiply", product, fold.dtype)
        value = self.at(node.operands[0], fold.operand_index(index, reduced), guard)
        if not isinstance(form, ArgReduce):
            return self.convert(value, fold.dtype)
        if fold.is_extreme:
            return self.convert(value, fold.dtype)
        return self._position(fold, value, index, reduced)

    def _position(self, fold: Fold, value: ir.Expr, index: At, reduced: At) -> ir.Expr:
        """The position where `value` is the extreme or NaN, else the identity of minimum."""
        extreme = self.nest.recall(_key(folds_of(fold.node)[0], index))
        value = self.convert(value, _certain(extreme).dtype)
        hit = self.apply("eq", (value, _certain(extreme)), dtypes.bool)
        if value.dtype.is_floating:
            hit = self.apply("or", (hit, self.apply("ne", (value, value), dtypes.bool)), dtypes.bool)
        here = self.convert(self.expr(reduced[0]), fold.dtype)
        return self.apply("select", (hit, here, ir.Const(fold.identity, fold.dtype)), fold.dtype)


def contracted(node: Node, index: At, reduced: At) -> tuple[At, At]:
    """The operands' indices of a dot_general at output index [batch..., lhs free..., rhs free...] and contracted index `reduced`."""
    attrs = node.attrs
    batch, free = len(attrs.lhs_batch), index[len(attrs.lhs_batch):]
    sides: list[At] = []
    for operand, batch_axes, contract_axes in ((node.operands[0], attrs.lhs_batch, attrs.lhs_contract),
                                               (node.operands[1], attrs.rhs_batch, attrs.rhs_contract)):
        given = {**dict(zip(batch_axes, index[:batch], strict=True)), **dict(zip(contract_axes, reduced, strict=True))}
        rest = iter(free)
        sides.append(tuple(given[axis] if axis in given else next(rest) for axis in range(len(operand.dims))))
        free = tuple(rest)
    return sides[0], sides[1]


def uniform_constant(node: Node) -> ir.Const:
    """The one value of a `constant` whose elements are all equal; ValueError for others, which must be parameters of the kernel."""
    array = np.asarray(node.attrs.value.array)
    flat = array.reshape(-1)
    if flat.size and flat.tobytes() != flat[:1].tobytes() * flat.size:
        raise ValueError(f"a constant of type {node.type} with different elements must be an operand of the kernel")
    value = flat[0] if flat.size else node.dtype.np_dtype.type(0)
    if node.dtype.is_floating:
        return ir.Const(float(value), node.dtype)
    return ir.Const(bool(value) if node.dtype.is_bool else int(value), node.dtype)


def zero(dtype: DType) -> ir.Const:
    return ir.Const(False if dtype.is_bool else 0.0 if dtype.is_floating else 0, dtype)


def _is_zero(value: ir.Expr) -> bool:
    return isinstance(value, ir.Const) and not value.value and not str(value.value).startswith("-")


def _in_range(row: ir.Expr, size: int) -> ir.Expr:
    low = ir.Apply("ge", (row, ir.index(0)), dtypes.bool)
    return ir.Apply("and", (low, ir.Apply("lt", (row, ir.index(size)), dtypes.bool)), dtypes.bool)


def _key(fold: Fold, index: At) -> Hashable:
    return (fold, index) if fold.is_extreme else (fold.node, index, None)


def _certain(value: ir.Expr | None) -> ir.Expr:
    """`value`, which the caller knows is there."""
    if value is None:
        raise AssertionError("a value that must be known is not")
    return value
