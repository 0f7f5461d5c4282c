"""Arithmetic on forms that needs no instruction: sums of affine indices, comparisons whose outcome is known.

Also the neutral elements of combiners, with which partial accumulators start.
"""
from __future__ import annotations

import operator
from collections.abc import Sequence

from graphc.codegen import ir
from graphc.codegen.llvm.forms import Affine, Form, Value
from graphc.core import dtypes
from graphc.core.dtypes import DType

_COMPARE = {"eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}


def fold(expr: ir.Apply, forms: Sequence[Form]) -> Form | None:
    """The form of `expr` where it is affine or known, None where it takes an instruction."""
    if all(isinstance(form, Affine) for form in forms):
        return _fold_affine(expr, [form for form in forms if isinstance(form, Affine)])
    known = _known(forms[0])
    if known is None:
        known = _known(forms[1]) if expr.op in ("and", "or") and len(forms) == 2 else None
        other = forms[0]
    else:
        other = forms[-1]
    if known is None or not expr.args[0].dtype.is_bool:
        return None
    match expr.op:
        case "select":
            return forms[1] if known else forms[2]
        case "not":
            return _bool(not known)
        case "and":
            return other if known else _bool(False)
        case "or":
            return _bool(True) if known else other
    return None


def _fold_affine(expr: ir.Apply, forms: Sequence[Affine]) -> Form | None:
    if expr.op in _COMPARE:
        difference = forms[0] + forms[1].scaled(-1)
        return _bool(_COMPARE[expr.op](difference.const, 0)) if difference.is_constant else None
    if expr.dtype is not dtypes.int64:
        return None
    match expr.op:
        case "add":
            return forms[0] + forms[1]
        case "subtract":
            return forms[0] + forms[1].scaled(-1)
        case "negate":
            return forms[0].scaled(-1)
        case "convert":
            return forms[0]
        case "multiply":
            for a, b in (forms, reversed(forms)):
                if b.is_constant:
                    return a.scaled(b.const)
    return None


def identity(combine: str, dtype: DType) -> int | float | bool:
    """The value e with combine(e, x) = x for every x."""
    match combine:
        case "add":
            return 0
        case "multiply":
            return 1
        case "maximum":
            return float("-inf") if dtype.is_floating else dtype.min.item()
        case "minimum":
            return float("inf") if dtype.is_floating else dtype.max.item()
        case "or":
            return 0
        case "and":
            return True if dtype.is_bool else -1
    raise ValueError(f"no accumulator combines by {combine!r}; known: {', '.join(ir.COMBINERS)}")


def _known(form: Form) -> bool | None:
    if isinstance(form, Value) and form.dtype.is_bool and form.uniform and not form.name.startswith("%"):
        return form.name == "true"
    return None


def _bool(value: bool) -> Value:
    return Value(("true" if value else "false",), dtypes.bool)
