"""Every scalar operation of the kernel IR as LLVM instructions, on one element or on a vector of them.

`emit_op` looks an operation up in one of three tables, by what its operands are: floats, integers or bools. The results are those that
docs/design.md defines, on every width: no operand is undefined behaviour. Float add, subtract and multiply carry the flag `contract` (LLVM
may fuse a multiply and an add) and nothing carries more: `fast` would delete tests for NaN.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.codegen.llvm import intarith, vecmath
from graphc.codegen.llvm.convert import bitcast, convert
from graphc.codegen.llvm.emit import Emitter
from graphc.codegen.llvm.target import Target
from graphc.codegen.llvm.types import literal, reg_element, reg_type
from graphc.codegen.llvm.vec import Vec, vector
from graphc.core import dtypes
from graphc.core.dtypes import DType

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def emit_op(
    e: Emitter, target: Target, op: str, dtype: DType, lanes: int, args: Sequence[str], arg_dtypes: Sequence[DType]
) -> str:
    """Emits `op` on `lanes` elements; gives the register (or constant) with its result, of `reg_type(dtype, lanes)`.

    `args` are registers or constants of `reg_type(arg_dtypes[i], lanes)`, `dtype` is the result's type. A few operations (integer power,
    sine, cosine, tan) open new blocks: afterwards `e.block` is the current one. ValueError for an operation that the operands' type
    does not have.
    """
    of = arg_dtypes[0]
    if op == "convert":
        return convert(e, target, args[0], of, dtype, lanes)
    if op == "bitcast_convert":
        return bitcast(e, args[0], of, dtype, lanes)
    if op == "assign":
        return args[1]
    if op == "select":
        return _select(e, dtype, lanes, args)
    if op in COMPARISONS:
        return _compare(e, op, of, lanes, args)
    if of.is_floating:
        v = Vec(e, target, reg_element(of), lanes)
        emit = _FLOAT.get(op) or vecmath.FUNCTIONS[v.bits].get(op)
        if emit is not None:
            return emit(v, *args)
    elif of.is_integer:
        emit_int = intarith.OPERATIONS.get(op)
        if emit_int is not None:
            return emit_int(intarith.Int(e, of, lanes), *args)
    elif op in _BOOL:
        return _BOOL[op](e, lanes, *args)
    raise ValueError(f"the LLVM printer has no operation {op!r} on {', '.join(t.name for t in arg_dtypes)}")


def _select(e: Emitter, dtype: DType, lanes: int, args: Sequence[str]) -> str:
    kind = reg_type(dtype, lanes)
    return e.let(f"select {vector('i1', lanes)} {args[0]}, {kind} {args[1]}, {kind} {args[2]}")


def _compare(e: Emitter, op: str, of: DType, lanes: int, args: Sequence[str]) -> str:
    """False where an operand is NaN, but for `ne`. False is less than true."""
    kind = reg_type(of, lanes)
    if of.is_floating:
        return e.let(f"fcmp {'une' if op == 'ne' else 'o' + op} {kind} {args[0]}, {args[1]}")
    how = op if op in ("eq", "ne") else ("s" if of.is_integer and not of.is_unsigned else "u") + op
    return e.let(f"icmp {how} {kind} {args[0]}, {args[1]}")


# Floats


def _contracted(op: str) -> Callable[..., str]:
    return lambda v, x, y: v.e.let(f"{op} contract {v.float_type} {x}, {y}")


def is_constant(operand: str) -> bool:
    """Whether an operand is a constant's text and not a register."""
    return not operand.startswith("%")


def _maximum(v: Vec, x: str, y: str) -> str:
    """NaN where either is NaN."""
    return _extreme(v, x, y, v.gt)


def _minimum(v: Vec, x: str, y: str) -> str:
    """NaN where either is NaN."""
    return _extreme(v, x, y, v.lt)


def _extreme(v: Vec, x: str, y: str, wins: Callable[[str, str], str]) -> str:
    # maxps(x, y) gives y where either is NaN: right for a NaN in y, and x is never NaN if it is a constant (one instruction then).
    if is_constant(y):
        x, y = y, x
    best = v.select(wins(x, y), x, y)
    return best if is_constant(x) and x != v.number(float("nan")) else v.select(v.unordered(x, x), x, best)


def _clamp(v: Vec, low: str, x: str, high: str) -> str:
    return _minimum(v, _maximum(v, low, x), high)


def _sign(v: Vec, x: str) -> str:
    """-1, 0 or 1; NaN for NaN, +0 for both zeros."""
    return v.select(v.gt(x, 0.0), 1.0, v.select(v.lt(x, 0.0), -1.0, v.add(x, 0.0)))


def _rounding(intrinsic: str, correct: Callable[[Vec, str, str], str]) -> Callable[[Vec, str], str]:
    """Rounding to an integer: one instruction from SSE4.1 on; before that by adding and subtracting 2**23 (2**52), then `correct`."""

    def emit(v: Vec, x: str) -> str:
        if not v.target.is_x86 or v.target.has("sse4.1"):
            return v.intrinsic(intrinsic, x)
        magnitude, big = v.abs(x), 2.0 ** (23 if v.bits == 32 else 52)
        nearest = v.copysign(v.sub(v.add(magnitude, big), big), x)
        whole = v.copysign(correct(v, nearest, x), x)
        return v.select(v.lt(magnitude, big), whole, x)

    return emit


def _is_finite(v: Vec, x: str) -> str:
    return v.lt(v.abs(x), float("inf"))


_FLOAT: dict[str, Callable[..., str]] = {
    "add": _contracted("fadd"),
    "subtract": _contracted("fsub"),
    "multiply": _contracted("fmul"),
    "divide": Vec.div,
    "remainder": lambda v, x, y: v.e.let(f"frem {v.float_type} {x}, {y}"),
    "negate": Vec.neg,
    "abs": Vec.abs,
    "sign": _sign,
    "sqrt": Vec.sqrt,
    "floor": _rounding("floor", lambda v, near, x: v.sub(near, v.select(v.gt(near, x), 1.0, 0.0))),
    "ceil": _rounding("ceil", lambda v, near, x: v.add(near, v.select(v.lt(near, x), 1.0, 0.0))),
    "round_nearest_even": _rounding("roundeven", lambda v, near, x: near),
    "is_finite": _is_finite,
    "maximum": _maximum,
    "minimum": _minimum,
    "clamp": _clamp,
}


# Bools


def _bitwise(op: str) -> Callable[..., str]:
    return lambda e, lanes, x, y: e.let(f"{op} {vector('i1', lanes)} {x}, {y}")


_BOOL: dict[str, Callable[..., str]] = {
    "and": _bitwise("and"),
    "or": _bitwise("or"),
    "xor": _bitwise("xor"),
    "minimum": _bitwise("and"),
    "maximum": _bitwise("or"),
    "not": lambda e, lanes, x: e.let(f"xor {vector('i1', lanes)} {x}, {literal(True, dtypes.bool, lanes)}"),
    "clamp": lambda e, lanes, low, x, high: _bitwise("and")(e, lanes, _bitwise("or")(e, lanes, low, x), high),
}
