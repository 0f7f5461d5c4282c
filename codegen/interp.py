"""Runs a kernel on numpy arrays: the meaning of the kernel IR, written to be read. Tests hold the printers against it.

A vector loop (on a GPU: one over a team of threads) runs all its iterations at once, on arrays: its variable is `arange(extent)`, and every
value inside is an array of that shape or broadcasts to it. A product binds i, j and k to arrays in the same way, and so does a grid loop
whose teams are single threads, many iterations at a time. float16 and bfloat16 live in registers as float32, as in every printer. Every
access is checked against the buffer's shape, and local buffers start as garbage, so that a kernel that relies on zeros fails.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from graphc.codegen import ir
from graphc.core import dtypes
from graphc.core.dtypes import DType
from graphc.core.primitive import PRIMITIVES, NoAttrs
from graphc.primitives import numerics

Array = np.ndarray[Any, Any]

_COMPARE: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
_REDUCE: dict[str, Callable[..., Any]] = {
    "add": np.add.reduce, "multiply": np.multiply.reduce, "maximum": np.maximum.reduce, "minimum": np.minimum.reduce,
    "and": np.bitwise_and.reduce, "or": np.bitwise_or.reduce,
}  # fmt: skip

AT_ONCE = 1 << 16  # iterations of a grid loop


def run(kernel: ir.Kernel, arrays: Sequence[Array], order: str = "forward") -> None:
    """Runs `kernel` on its parameters, one array each of the parameter's dtype and shape; "out" and "inout" arrays are written in place.

    `order`, "forward" or "reversed", is the order of the iterations of parallel and grid loops: a valid kernel gives the same either way.
    ValueError for arrays that do not fit, IndexError for an access outside a buffer.
    """
    if order not in ("forward", "reversed"):
        raise ValueError(f'order must be "forward" or "reversed"; got {order!r}')
    if len(arrays) != len(kernel.params):
        raise ValueError(f"kernel {kernel.name} takes {len(kernel.params)} arrays; got {len(arrays)}")
    for buffer, array in zip(kernel.params, arrays, strict=True):
        if array.dtype != buffer.dtype.np_dtype or array.shape != buffer.shape:
            raise ValueError(f"{buffer.name} is {buffer.dtype.name}{list(buffer.shape)}; got {array.dtype}{list(array.shape)}")
    memory = {buffer.name: _indexable(array) for buffer, array in zip(kernel.params, arrays, strict=True)}
    with np.errstate(all="ignore"):
        _Run(kernel.name, memory, reverse=order == "reversed").execute(kernel.body)


def apply(op: str, args: Sequence[Array], dtype: DType) -> Array:
    """One scalar operation, element by element over broadcast arrays of registers; `dtype` is the type of the result."""
    if op == "convert":
        return to_register(numerics.convert(args[0], dtype.np_dtype))
    if op == "bitcast_convert":
        return np.ascontiguousarray(args[0]).view(dtype.np_dtype).reshape(np.shape(args[0]))
    if op == "assign":
        return np.broadcast_to(args[1], np.broadcast_shapes(*(arg.shape for arg in args)))
    if op in _COMPARE:
        return np.asarray(_COMPARE[op](*args))
    if op == "clamp":
        return np.asarray(np.minimum(np.maximum(args[1], args[0]), args[2]))
    if op == "select":
        return np.asarray(np.where(*args))
    if op == "random_word":
        return _random_word(*np.broadcast_arrays(*args))
    if op == "erf_plus_one":
        return np.asarray(apply("erf", args, dtype) + args[0].dtype.type(1))
    return np.asarray(PRIMITIVES[op].reference(NoAttrs(), *args))


def _random_word(counter: Array, key: Array, position: Array) -> Array:
    """Word `position & 3` of Philox's block `position >> 2`."""
    wide = [each.reshape(-1).astype(np.uint64) for each in (position >> 2, counter)]
    halves = [half for each in wide for half in (each & np.uint64(0xFFFFFFFF), each >> np.uint64(32))]
    counters = np.stack(halves, axis=1).astype(np.uint32)
    packed = int(key.reshape(-1)[0]) if key.size else 0
    words = numerics.philox_4x32(counters, (packed & 0xFFFFFFFF, packed >> 32 & 0xFFFFFFFF))
    return np.asarray(np.take_along_axis(words, (position & 3).reshape(-1, 1), axis=1).reshape(position.shape))


def to_register(array: Array) -> Array:
    """What a load makes of an element: halves become float32."""
    return numerics.widened(np.asarray(array))


class _Run:
    """The state of one run: buffers by name, scalar names bound so far (`env`), and the shape of the open vector loop or product."""

    def __init__(self, name: str, memory: dict[str, Array], reverse: bool) -> None:
        self.name = name
        self.memory = memory
        self.reverse = reverse
        self.env: dict[str, Array] = {}
        self.space: tuple[int, ...] = ()
        self.reduced: frozenset[str] = frozenset()  # accumulators declared outside the open vector loop

    # Statements

    def execute(self, body: Iterable[ir.Stmt]) -> None:
        for stmt in body:
            match stmt:
                case ir.Let():
                    self.env[stmt.var.name] = self.value(stmt.value)
                case ir.Acc():
                    self.env[stmt.var.name] = self.value(stmt.init)
                case ir.Update():
                    self.update(stmt)
                case ir.Local():
                    self.memory[stmt.buffer.name] = _indexable(_garbage(stmt.buffer))
                case ir.Store():
                    self.store(stmt)
                case ir.Prefetch():
                    pass
                case ir.Loop():
                    self.loop(stmt)
                case ir.If():
                    if self.uniform(stmt.cond):
                        self.execute(stmt.body)
                case ir.Product():
                    self.product(stmt)

    def update(self, stmt: ir.Update) -> None:
        name, value = stmt.var.name, self.value(stmt.value)
        if name in self.reduced:
            value = self.everywhere(value)
            # bfloat16 and float16 are float32 here, so dtype= only keeps numpy from widening small integers.
            value = np.asarray(_REDUCE[stmt.combine](value, axis=None, dtype=value.dtype))
        self.env[name] = apply(stmt.combine, (self.env[name], value), stmt.var.dtype)

    def store(self, stmt: ir.Store) -> None:
        place, active = self.place(stmt.buffer, stmt.index, stmt.where)
        array = self.memory[stmt.buffer.name]
        value = self.everywhere(numerics.rounded(self.value(stmt.value), array.dtype))
        if active is None:
            array[place] = value
        else:
            array[tuple(axis[active] for axis in place)] = value[active]

    def loop(self, loop: ir.Loop) -> None:
        if loop.extent == 0:
            return
        if loop.kind in ("vector", *ir.TEAM_KINDS):
            self.vector_loop(loop)
            return
        backwards = self.reverse and loop.kind in ("parallel", "grid")
        if loop.kind == "grid" and all(map(_is_of_one_thread, ir.walk(loop.body))):
            self.threads(loop, backwards)
            return
        for step in reversed(range(loop.extent)) if backwards else range(loop.extent):
            self.env[loop.var.name] = np.asarray(step, np.int64)
            self.execute(loop.body)

    def threads(self, loop: ir.Loop, backwards: bool) -> None:
        """The iterations of a grid loop without team loops, AT_ONCE at a time; their order decides which of two stores to a place stays."""
        steps = np.arange(loop.extent)[:: -1 if backwards else 1]
        for start in range(0, loop.extent, AT_ONCE):
            self.env[loop.var.name] = steps[start:start + AT_ONCE]
            self.space = self.env[loop.var.name].shape
            self.execute(loop.body)
        self.space = ()

    def vector_loop(self, loop: ir.Loop) -> None:
        inside = {stmt.var.name for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Acc)}
        updated = {stmt.var.name for stmt in ir.walk(loop.body) if isinstance(stmt, ir.Update)}
        self.space, self.reduced = (loop.extent,), frozenset(updated - inside)
        self.env[loop.var.name] = np.arange(loop.extent)
        self.execute(loop.body)
        self.space, self.reduced = (), frozenset()

    def product(self, stmt: ir.Product) -> None:
        i, j, k = (np.arange(extent) for extent in (stmt.m, stmt.n, stmt.depth))
        lhs = self.over((stmt.m, stmt.depth), {stmt.i: i[:, None], stmt.k: k[None, :]}, stmt.lhs)
        rhs = self.over((stmt.depth, stmt.n), {stmt.k: k[:, None], stmt.j: j[None, :]}, stmt.rhs)
        # Summed more exactly than any printer does, so that the reference is not one more rounding to argue with.
        wide = np.float64 if stmt.acc.dtype.is_floating else stmt.acc.dtype.np_dtype
        total = to_register(numerics.rounded(lhs.astype(wide) @ rhs.astype(wide), stmt.acc.dtype.np_dtype))
        self.space = (stmt.m, stmt.n)
        self.env.update({stmt.i.name: i[:, None], stmt.j.name: j[None, :], stmt.acc.name: total})
        self.execute(stmt.epilogue)
        self.space = ()

    def over(self, space: tuple[int, ...], bindings: dict[ir.Var, Array], expr: ir.Expr) -> Array:
        """`expr` at every point of `space`."""
        self.space = space
        self.env.update({var.name: array for var, array in bindings.items()})
        value = self.everywhere(self.value(expr))
        self.space = ()
        return value

    # Expressions

    def value(self, expr: ir.Expr) -> Array:
        match expr:
            case ir.Var():
                return self.env[expr.name]
            case ir.Const():
                return to_register(numerics.rounded(expr.value, expr.dtype.np_dtype))
            case ir.Load():
                return self.load(expr)
            case ir.Apply():
                return apply(expr.op, [self.value(arg) for arg in expr.args], expr.dtype)

    def load(self, expr: ir.Load) -> Array:
        array = self.memory[expr.buffer.name]
        place, active = self.place(expr.buffer, expr.index, expr.where)
        if active is None:
            return to_register(array[place])
        result = np.zeros(self.space, array.dtype)
        result[active] = array[tuple(axis[active] for axis in place)]
        return to_register(result)

    def uniform(self, expr: ir.Expr) -> bool:
        """A condition, which must be the same for all iterations of a vector loop."""
        values = np.unique(self.value(expr))
        if values.size != 1:
            raise ValueError(f"kernel {self.name}: the condition of an `if` differs between the iterations of a vector loop")
        return bool(values[0])

    def everywhere(self, value: Array) -> Array:
        """`value` in the shape of the iteration space."""
        return value if value.shape == self.space else np.broadcast_to(value, self.space)

    def place(self, buffer: ir.Buffer, index: tuple[ir.Expr, ...], where: ir.Expr | None) -> tuple[tuple[Array, ...], Array | None]:
        """The index arrays of an access, one per dimension, and where it happens (None: everywhere); all of the shape of the space."""
        active = None if where is None else self.everywhere(self.value(where))
        axes = tuple(self.everywhere(self.value(expr)) for expr in index)
        for position, (axis, dim) in enumerate(zip(axes, buffer.shape, strict=True)):
            outside = (axis < 0) | (axis >= dim)
            if active is not None:
                outside = outside & active
            if outside.any():
                bad = axis[outside].flat[0]
                raise IndexError(
                    f"kernel {self.name}: index {bad} of dimension {position} is outside {buffer.name}: "
                    f"{buffer.dtype.code}[{','.join(map(str, buffer.shape))}]"
                )
        return axes or (np.zeros(self.space, np.int64),), active


def _is_of_one_thread(stmt: ir.Stmt) -> bool:
    """Whether many threads can take this step at once: it is no branch, and no work of a team."""
    return stmt.kind in ("serial", "unrolled") if isinstance(stmt, ir.Loop) else not isinstance(stmt, ir.If | ir.Local | ir.Product)


def _indexable(array: Array) -> Array:
    """The array itself, or a view of one dimension of a scalar, which index arrays cannot address."""
    return array.reshape(array.shape or (1,))


def _garbage(buffer: ir.Buffer) -> Array:
    """A local buffer before anything is stored in it: NaN, or a value unlikely to pass for a result."""
    if buffer.dtype is dtypes.bool:
        return np.ones(buffer.shape, np.bool_)
    return np.full(buffer.shape, np.nan if buffer.dtype.is_floating else 77, buffer.dtype.np_dtype)
