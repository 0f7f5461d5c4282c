"""Running results along an axis: cumulative sums, products, extremes, log-sum-exps, and the linear recurrence h[k] = a[k] h[k-1] + b[k].

Each element combines with what all elements before it gave. The recurrence is what makes every gradient here one more pass of the same
kind, with no division and no search: the way back through a running result is a recurrence from the other end.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from graphc.core import dtypes
from graphc.core.loops import Scan
from graphc.core.primitive import Primitive, Vjp, declare
from graphc.core.program import Node, make
from graphc.core.types import TensorType
from graphc.primitives.arithmetic import exponential, like, minimum, multiply, subtract
from graphc.primitives.logic import and_, compare, is_finite, or_, select
from graphc.primitives.movement import pad
from graphc.primitives.numerics import Array, highest, lowest, rounded, widened
from graphc.primitives.rules import Cotangents, Domain, call, is_any, is_floating, is_inexact, is_numeric, named, need, same_type
from graphc.primitives.sources import constant, iota


@dataclass(frozen=True)
class CumulativeAttrs:
    """axis: the one walked. exclusive: an element's own value is left out of its result. reverse: from the last element to the first."""

    axis: int
    exclusive: bool = False
    reverse: bool = False


@dataclass(frozen=True)
class RecurrenceAttrs:
    """axis: the one walked. reverse: from the last element to the first."""

    axis: int
    reverse: bool = False


class Cumulative(Protocol):
    def __call__(self, x: Node, axis: int, exclusive: bool = False, reverse: bool = False) -> Node: ...


def _checked_axis(name: str, axis: int, types: tuple[TensorType, ...]) -> None:
    if not 0 <= axis < types[0].rank:
        raise ValueError(f"{call(name, types)}: axis {axis} must be between 0 and {types[0].rank - 1}")


def _declare(name: str, combine: str, domain: Domain, accumulate: Callable[..., Any], identity: Callable[[np.dtype[Any]], Any], vjp: Vjp,
             doc: str) -> Cumulative:
    """A cumulative primitive. accumulate: numpy's, (array, axis) -> array. identity: what stands before the first element."""
    def infer(attrs: CumulativeAttrs, x: TensorType) -> TensorType:
        need(domain, name, (x,))
        _checked_axis(name, attrs.axis, (x,))
        return x

    def reference(attrs: CumulativeAttrs, x: Array) -> Array:
        walked = np.flip(x, attrs.axis) if attrs.reverse else x
        with np.errstate(all="ignore"):
            result = rounded(accumulate(widened(walked), axis=attrs.axis), x.dtype)
        if attrs.exclusive:
            first = np.full_like(np.take(result, [0] * min(1, x.shape[attrs.axis]), attrs.axis), identity(x.dtype))
            result = np.concatenate([first, np.take(result, range(x.shape[attrs.axis] - 1), attrs.axis)], attrs.axis)
        return np.flip(result, attrs.axis) if attrs.reverse else result

    primitive = declare(Primitive(name, CumulativeAttrs, 1, infer, reference, vjp, Scan(combine), doc))

    def build(x: Node, axis: int, exclusive: bool = False, reverse: bool = False) -> Node:
        return make(primitive, (x,), CumulativeAttrs(axis, exclusive, reverse))
    return named(build, primitive)


# Gradients ------------------------------------------------------------------------------------------------------------------------------

def _moved(x: Node, axis: int, by: int, fill: float) -> Node:
    """`x` moved by one place along `axis` (by: 1 or -1), `fill` coming in."""
    low = [by if each == axis else 0 for each in range(len(x.shape))]
    return pad(x, constant(fill, x.dtype), low, [-n for n in low])


def _of_next(x: Node, attrs: CumulativeAttrs | RecurrenceAttrs, fill: float) -> Node:
    """At each element the value of the one walked after it; `fill` at the last."""
    return _moved(x, attrs.axis, 1 if attrs.reverse else -1, fill)


def _of_previous(x: Node, attrs: CumulativeAttrs | RecurrenceAttrs, fill: float) -> Node:
    """At each element the value of the one walked before it; `fill` at the first."""
    return _moved(x, attrs.axis, -1 if attrs.reverse else 1, fill)


def _back(a: Node, g: Node, attrs: CumulativeAttrs | RecurrenceAttrs) -> Node:
    """s[k] = g[k] + a[k+1] s[k+1]: what arrives at each element from all that are walked after it."""
    return linear_recurrence(_of_next(a, attrs, 0), g, attrs.axis, not attrs.reverse)


def _inclusive(node: Node, build: Cumulative, g: Node) -> tuple[Node, Node, Node]:
    """(operand, results with each element's own value, cotangent of those) of a cumulative node."""
    x, attrs = node.operands[0], node.attrs
    if not attrs.exclusive:
        return x, node, g
    return x, build(x, attrs.axis, False, attrs.reverse), _of_next(g, attrs, 0)


def _sum_vjp(node: Node, g: Node) -> Cotangents:
    attrs = node.attrs
    return (cumulative_sum(g, attrs.axis, attrs.exclusive, not attrs.reverse),)


def _prod_vjp(node: Node, g: Node) -> Cotangents:
    """The product of what was before, times s[k] = g[k] + x[k+1] s[k+1]: right for zeros too."""
    x, _, g = _inclusive(node, cumulative_prod, g)
    before = cumulative_prod(x, node.attrs.axis, True, node.attrs.reverse)
    return (multiply(before, _back(x, g, node.attrs)),)


def _extremum_vjp(build: Callable[[], Cumulative]) -> Vjp:
    """To the element that set the running extreme: s[k] = g[k] + s[k+1] for as long as nothing new comes."""
    def vjp(node: Node, g: Node) -> Cotangents:
        x, y, g = _inclusive(node, build(), g)
        attrs = node.attrs
        place = iota(x.shape, attrs.axis, dtypes.int64)
        last = None if x.shape[attrs.axis] is None else x.shape[attrs.axis] - 1
        first = compare(place, like(place, 0 if not attrs.reverse or last is None else last), "EQ")
        sets = or_(first, compare(y, _of_previous(y, attrs, 0), "NE"))
        held = select(sets, like(g, 0), like(g, 1))
        return (select(sets, _back(held, g, attrs), like(g, 0)),)
    return vjp


def _logsumexp_vjp(node: Node, g: Node) -> Cotangents:
    """exp(x[k] - y[k]) s[k] with s[k] = g[k] + exp(y[k] - y[k+1]) s[k+1]: no exponent is above zero."""
    x, y, g = _inclusive(node, cumulative_logsumexp, g)
    finite = is_finite(y)
    level = select(finite, y, like(y, 0))
    share = select(finite, exponential(subtract(x, level)), like(x, 0))
    grown = minimum(subtract(_of_previous(level, node.attrs, 0), level), like(x, 0))
    kept = select(and_(finite, _of_previous(finite, node.attrs, False)), exponential(grown), like(x, 0))
    return (multiply(share, _back(kept, g, node.attrs)),)


def _recurrence_vjp(node: Node, g: Node) -> Cotangents:
    a, attrs = node.operands[0], node.attrs
    arriving = _back(a, g, attrs)
    return (multiply(arriving, _of_previous(node, attrs, 0)), arriving)


# Declarations ---------------------------------------------------------------------------------------------------------------------------

def _recurrence_type(attrs: RecurrenceAttrs, a: TensorType, b: TensorType) -> TensorType:
    need(is_inexact, "linear_recurrence", (a, b))
    common = same_type("linear_recurrence", (a, b))
    _checked_axis("linear_recurrence", attrs.axis, (a, b))
    return common


def _recurrence(attrs: RecurrenceAttrs, a: Array, b: Array) -> Array:
    rows = [np.moveaxis(widened(each), attrs.axis, 0) for each in (a, b)]
    result = np.empty_like(rows[1])
    held = np.zeros(rows[1].shape[1:], result.dtype)
    with np.errstate(all="ignore"):
        for place in range(len(result))[::-1 if attrs.reverse else 1]:
            held = result[place] = rows[0][place] * held + rows[1][place]
    return rounded(np.moveaxis(result, 0, attrs.axis), b.dtype)


LINEAR_RECURRENCE = declare(Primitive(
    "linear_recurrence", RecurrenceAttrs, 2, _recurrence_type, _recurrence, _recurrence_vjp, Scan("linear"),
    "h[k] = a[k] h[k-1] + b[k] along `axis`, from h[-1] = 0."))


def linear_recurrence(a: Node, b: Node, axis: int, reverse: bool = False) -> Node:
    """h[k] = a[k] h[k-1] + b[k] along `axis`; a and b have one floating type."""
    return make(LINEAR_RECURRENCE, (a, b), RecurrenceAttrs(axis, reverse))


cumulative_sum: Cumulative = _declare(
    "cumulative_sum", "add", is_numeric, lambda x, axis: np.add.accumulate(x, axis, x.dtype), lambda dtype: 0, _sum_vjp,
    "The sum of all elements up to each along `axis`; integers wrap.")
cumulative_prod: Cumulative = _declare(
    "cumulative_prod", "multiply", is_numeric, lambda x, axis: np.multiply.accumulate(x, axis, x.dtype), lambda dtype: 1, _prod_vjp,
    "The product of all elements up to each along `axis`; integers wrap.")
cumulative_max: Cumulative = _declare(
    "cumulative_max", "maximum", is_any, np.maximum.accumulate, lowest, _extremum_vjp(lambda: cumulative_max),
    "The greatest of all elements up to each along `axis`; NaN from the first one on.")
cumulative_min: Cumulative = _declare(
    "cumulative_min", "minimum", is_any, np.minimum.accumulate, highest, _extremum_vjp(lambda: cumulative_min),
    "The least of all elements up to each along `axis`; NaN from the first one on.")
cumulative_logsumexp: Cumulative = _declare(
    "cumulative_logsumexp", "log_add_exp", is_floating, np.logaddexp.accumulate, lowest, _logsumexp_vjp,
    "The logarithm of the sum of the exponentials of all elements up to each along `axis`, without overflow.")
