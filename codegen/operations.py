"""The scalar operations of the kernel IR: how many operands each takes, of which types, and the type of its result.

One table for the parser, the verifier and the interpreter. The names and the defined results are those of the elementwise primitives; the
comparisons have a name per direction, `assign(x, y)` is y, for accumulators, and `erf_plus_one` is what `idioms` makes of 1 + erf(x).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.core import dtypes
from graphc.core.dtypes import DType


@dataclass(frozen=True)
class Operation:
    """`arity` operands of one dtype, which `accepts` must hold for; `to_bool`: the result is pred and not that dtype."""

    arity: int
    accepts: Callable[[DType], bool]
    kinds: str
    to_bool: bool = False


def _any(dtype: DType) -> bool:
    return True


def _numeric(dtype: DType) -> bool:
    return not dtype.is_bool


def _floating(dtype: DType) -> bool:
    return dtype.is_floating


def _integer(dtype: DType) -> bool:
    return dtype.is_integer


def _bits(dtype: DType) -> bool:
    return dtype.is_integer or dtype.is_bool


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
_FUNCTIONS = (
    "exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt", "cbrt", "tanh", "logistic", "sine", "cosine", "tan",
    "erf", "erfc", "erf_plus_one", "floor", "ceil", "round_nearest_even",
)  # fmt: skip

# select, convert, bitcast_convert and random_word are not in the table: their operands or results have types of their own.
OPERATIONS: dict[str, Operation] = {
    **{name: Operation(1, _floating, "floats") for name in _FUNCTIONS},
    **{name: Operation(1, _numeric, "numbers") for name in ("negate", "abs", "sign")},
    **{name: Operation(2, _numeric, "numbers") for name in ("add", "subtract", "multiply", "divide", "remainder", "power")},
    **{name: Operation(2, _any, "values") for name in ("maximum", "minimum", "assign")},
    **{name: Operation(2, _bits, "integers or bools") for name in ("and", "or", "xor")},
    **{name: Operation(2, _integer, "integers") for name in ("shift_left", "shift_right_logical", "shift_right_arithmetic")},
    **{name: Operation(2, _any, "values", to_bool=True) for name in COMPARISONS},
    "not": Operation(1, _bits, "integers or bools"),
    "is_finite": Operation(1, _floating, "floats", to_bool=True),
    "atan2": Operation(2, _floating, "floats"),
    "clamp": Operation(3, _any, "values"),
}


def result_dtype(op: str, operands: Sequence[DType]) -> DType | None:
    """The type of `op` on operands of these types; None for a conversion, which may give any. ValueError for an unknown operation."""
    if op in ("convert", "bitcast_convert"):
        _require(len(operands) == 1, f"{op} takes one operand; got {len(operands)}")
        return None
    if op == "select":
        _require(len(operands) == 3, f"select takes 3 operands; got {len(operands)}")
        _require(operands[0].is_bool and operands[1] is operands[2], f"select takes a pred and two of one type; got {_names(operands)}")
        return operands[1]
    if op == "random_word":
        _require(all(t is dtypes.int64 for t in operands) and len(operands) == 3, f"random_word takes three i64; got {_names(operands)}")
        return dtypes.uint32
    _require(op in OPERATIONS, f"there is no operation {op!r}")
    rule = OPERATIONS[op]
    _require(len(operands) == rule.arity, f"{op} takes {rule.arity} operand{'s' * (rule.arity > 1)}; got {len(operands)}")
    _require(all(t is operands[0] for t in operands), f"the operands of {op} must have one type; got {_names(operands)}")
    _require(rule.accepts(operands[0]), f"{op} takes {rule.kinds}; got {_names(operands)}")
    return dtypes.bool if rule.to_bool else operands[0]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _names(operands: Sequence[DType]) -> str:
    return ", ".join(dtype.code for dtype in operands)
