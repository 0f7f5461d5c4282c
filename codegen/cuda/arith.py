"""One scalar operation as CUDA C, for every operation of the kernel IR and every element type: tables, and the few that need more.

Floats use C's operators and CUDA's functions; integers that may wrap around use functions of graphc.cuh with the operation's own name,
since overflow is undefined in C; indices whose bounds are known (`facts`) use operators again, in 32 bits where they fit.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.codegen.cuda import facts
from graphc.codegen.cuda.facts import Fact
from graphc.codegen.cuda.types import is_half, register_type
from graphc.core import dtypes
from graphc.core.dtypes import DType

# How tightly C's operators bind.
TERNARY, OR, AND, EQUAL, LESS, SUM, PRODUCT, UNARY, PRIMARY = range(1, 10)


_NOTHING_KNOWN = Fact()


@dataclass(frozen=True)
class Value:
    """A C expression of an element type: its text, how tightly its outermost operator binds, and for int64 what is known of it.

    `first`: where the value steps from part to part, the C name of the one of part 0.
    """

    text: str
    dtype: DType
    binding: int = PRIMARY
    fact: Fact = _NOTHING_KNOWN
    first: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether this is an int64 that C computes as an int."""
        return self.dtype is dtypes.int64 and self.fact.fits_int

    @property
    def ctype(self) -> str:
        return "int" if self.is_narrow else register_type(self.dtype)

    def inside(self, binding: int) -> str:
        """The text as an operand of an operator that binds like this."""
        return self.text if self.binding >= binding else f"({self.text})"

    def widened(self) -> Value:
        """The same as an i64."""
        return Value(f"i64({self.text})", self.dtype, PRIMARY, facts.Fact(step=self.fact.step)) if self.is_narrow else self


_INFIX = {
    "add": ("+", SUM), "subtract": ("-", SUM), "multiply": ("*", PRODUCT), "divide": ("/", PRODUCT), "remainder": ("%", PRODUCT),
    "eq": ("==", EQUAL), "ne": ("!=", EQUAL), "lt": ("<", LESS), "le": ("<=", LESS), "gt": (">", LESS), "ge": (">=", LESS),
}  # fmt: skip
_COMPARE = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
_BITS = {"and": "&", "or": "|", "xor": "^"}
_OF_BOOLS = {
    "and": ("&&", AND), "or": ("||", OR), "xor": ("!=", EQUAL), "minimum": ("&&", AND), "maximum": ("||", OR),
}  # fmt: skip

# CUDA's functions of double; those of float have an f at the end.
_LIBRARY = {
    "exponential": "exp", "exponential_minus_one": "expm1", "log": "log", "log_plus_one": "log1p", "sqrt": "sqrt", "rsqrt": "rsqrt",
    "cbrt": "cbrt", "tanh": "tanh", "sine": "sin", "cosine": "cos", "tan": "tan", "erf": "erf", "erfc": "erfc", "floor": "floor",
    "ceil": "ceil", "round_nearest_even": "rint", "abs": "fabs", "remainder": "fmod", "power": "pow", "atan2": "atan2",
}  # fmt: skip
_OF_INTEGERS = {"abs": "absolute"}


def apply(op: str, args: Sequence[Value], dtype: DType, parts: int = 1) -> Value:
    """`op` on C expressions; `dtype` is the type of the result, `parts` how many parts a thread has (see `facts`)."""
    of = args[-1].dtype
    step = 0 if all(arg.fact.step == 0 for arg in args) else None
    if op == "convert":
        return convert(args[0], dtype)
    if op == "bitcast_convert":
        return _bitcast(args[0], dtype, step)
    if op == "assign":
        return args[1]
    if op == "select":
        return _select(args, dtype, parts, step)
    if op == "random_word":
        return _call("random_word", args, dtype, step)
    if op in _COMPARE:
        return _infix(op, args, dtype, Fact(step=step))
    if dtype is dtypes.int64:
        return _index(op, args, parts)
    if of.is_bool:
        return _of_bools(op, args, step)
    if of.is_floating:
        return _of_floats(op, args, dtype, step)
    return _of_integers(op, args, dtype, step)


def convert(value: Value, dtype: DType) -> Value:
    """`value` as a value of `dtype`, by the rules of docs/design.md."""
    source, fact = value.dtype, value.fact
    if source is dtype:
        return value
    step = fact.step
    if dtype.is_bool:
        return Value(f"{value.inside(EQUAL + 1)} != 0", dtype, EQUAL, Fact(step=step))
    if is_half(dtype):
        single = value.text if value.ctype == "float" else f"float({value.text})"
        return Value(f"float({dtype.code}({single}))", dtype, PRIMARY, Fact(step=step))
    if dtype is dtypes.int64:
        known = facts.of_type(source, step) if not source.is_floating else Fact(step=step)
        result = Value("", dtype, PRIMARY, known)
        text = f"to_integer<i64>({value.text})" if source.is_floating else f"{result.ctype}({value.text})"
        return Value(value.text, dtype, value.binding, known) if result.ctype == value.ctype else Value(text, dtype, PRIMARY, known)
    to = register_type(dtype)
    if to == value.ctype:
        return Value(value.text, dtype, value.binding, Fact(step=step))
    text = f"to_integer<{to}>({value.text})" if source.is_floating and dtype.is_integer else f"{to}({value.text})"
    return Value(text, dtype, PRIMARY, Fact(step=step))


# How CUDA takes the bits of a float, as a signed integer, and makes a float of them.
_BITS_OF_FLOAT = {
    dtypes.float32: ("__float_as_int", "__int_as_float", "int"),
    dtypes.float64: ("__double_as_longlong", "__longlong_as_double", "i64"),
}


def _bitcast(value: Value, dtype: DType, step: int | None) -> Value:
    """The bits of `value` as `dtype`, of the same width."""
    text = value.text
    if value.dtype.is_floating:
        text = f"{_BITS_OF_FLOAT[value.dtype][0]}({text})"
    if dtype.is_floating:
        _, make, signed = _BITS_OF_FLOAT[dtype]
        return Value(f"{make}({signed}({text}))", dtype, PRIMARY, Fact(step=step))
    return Value(f"{register_type(dtype)}({text})", dtype, PRIMARY, Fact(step=step))


def _call(function: str, args: Sequence[Value], dtype: DType, step: int | None) -> Value:
    return Value(f"{function}({', '.join(arg.text for arg in args)})", dtype, PRIMARY, Fact(step=step))


def _infix(op: str, args: Sequence[Value], dtype: DType, fact: Fact) -> Value:
    left, right = args
    if left.dtype.is_bool and op in _OF_BOOLS:
        sign, binding = _OF_BOOLS[op]
        texts = [arg.text if arg.binding == binding else arg.inside(UNARY if binding == EQUAL else EQUAL) for arg in args]
    elif op in _COMPARE:
        sign, binding = _INFIX[op]
        texts = [arg.inside(SUM) for arg in args]
    else:
        sign, binding = _INFIX[op]
        regroups = dtype is dtypes.int64 and op in ("add", "multiply")  # exact: no brackets needed
        texts = [left.inside(binding), right.inside(binding if regroups else binding + 1)]
    return Value(f"{texts[0]} {sign} {texts[1]}", dtype, binding, fact)


def _select(args: Sequence[Value], dtype: DType, parts: int, step: int | None) -> Value:
    condition, yes, no = args
    fact = facts.combine("select", (yes.fact, no.fact), parts) if dtype is dtypes.int64 else Fact()
    fact = Fact(fact.low, fact.high, step)
    if dtype is dtypes.int64 and not fact.fits_int:
        yes, no = yes.widened(), no.widened()
    text = f"{condition.inside(OR)} ? {yes.inside(TERNARY + 1)} : {no.inside(TERNARY)}"
    return Value(text, dtype, TERNARY, fact)


def _of_bools(op: str, args: Sequence[Value], step: int | None) -> Value:
    fact = Fact(step=step)
    if op == "not":
        return Value(f"!{args[0].inside(UNARY)}", dtypes.bool, UNARY, fact)
    if op == "clamp":
        low, x, high = args
        return _of_bools("and", (_of_bools("or", (low, x), step), high), step)
    return _infix(op, args, dtypes.bool, fact)


def _of_floats(op: str, args: Sequence[Value], dtype: DType, step: int | None) -> Value:
    fact = Fact(step=step)
    if op == "negate":
        return Value(f"-{_signed_operand(args[0])}", dtype, UNARY, fact)
    if op in _LIBRARY:
        return _call(_LIBRARY[op] + ("" if dtype is dtypes.float64 else "f"), args, dtype, step)
    if op in _INFIX:
        return _infix(op, args, dtype, fact)
    return _call(op, args, dtype, step)


def _of_integers(op: str, args: Sequence[Value], dtype: DType, step: int | None) -> Value:
    """Unsigned integers of 32 and 64 bits wrap in C too."""
    fact = Fact(step=step)
    wraps = dtype.is_unsigned and dtype.size >= 4
    if op in ("add", "subtract", "multiply") and wraps:
        return _infix(op, args, dtype, fact)
    if dtype.size >= 4 and op in _BITS:
        return Value(f"({args[0].inside(UNARY)} {_BITS[op]} {args[1].inside(UNARY)})", dtype, PRIMARY, fact)
    if op in _BITS or op == "not":
        inner = f"~{args[0].inside(UNARY)}" if op == "not" else f"{args[0].inside(UNARY)} {_BITS[op]} {args[1].inside(UNARY)}"
        return Value(f"{register_type(dtype)}({inner})", dtype, PRIMARY, fact)
    return _call(_OF_INTEGERS.get(op, op), args, dtype, step)


def _index(op: str, args: Sequence[Value], parts: int) -> Value:
    """An operation on int64: with C's operators where the result is known to stay in bounds, in 32 bits where it fits."""
    fact = facts.combine(op, [arg.fact for arg in args], parts)
    dtype = dtypes.int64
    if not fact.is_known:
        return Value(_of_integers(op, [arg.widened() for arg in args], dtype, fact.step).text, dtype, PRIMARY, fact)
    narrow = fact.fits_int and all(arg.is_narrow for arg in args)
    ctype = "int" if fact.fits_int else "i64"
    match op:
        case "add" | "subtract" | "multiply":
            if not narrow and all(arg.is_narrow for arg in args):
                args = [args[0].widened(), *args[1:]]
            result = _infix(op, args, dtype, fact)
        case "negate":
            operand = args[0] if narrow else args[0].widened()
            result = Value(f"-{_signed_operand(operand)}", dtype, UNARY, fact)
        case "divide" | "remainder":
            # As unsigned: the dividend is not negative, which compilers cannot see and would have to correct for.
            divisor = f"{args[1].fact.low}{'u' if args[0].is_narrow and args[1].is_narrow else 'ull'}"
            return Value(f"{ctype}({args[0].inside(PRODUCT)} {_INFIX[op][0]} {divisor})", dtype, PRIMARY, fact)
        case _:
            operands = args if narrow else [arg.widened() for arg in args]
            result = replace(_call(_OF_INTEGERS.get(op, op), operands, dtype, fact.step), fact=fact)
    return Value(f"int({result.text})", dtype, PRIMARY, fact) if fact.fits_int and not narrow else result


def _signed_operand(value: Value) -> str:
    """The operand of a minus sign: `--x` would be something else."""
    text = value.inside(UNARY)
    return f"({text})" if text.startswith("-") else text
