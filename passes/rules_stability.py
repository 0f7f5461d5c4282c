"""Rules that replace a formula by one that says the same without losing digits or overflowing. They change results, for the better."""
from __future__ import annotations

from collections.abc import Callable

from graphc.core.dtypes import float32
from graphc.core.program import Node, make
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import fill, is_uniform, sample
from graphc.primitives import (
    abs_, add, broadcast_in_dim, divide, erf, erfc, exponential, exponential_minus_one, full, log, log_plus_one, logistic, maximum, negate,
    reduce_sum, subtract,
)


def _x(*shape: int) -> Node:
    return sample(float32, *(shape or (3, 5)))


def _one(like: Node) -> Node:
    return full(1, like.type)


def _plus_one(node: Node) -> Node | None:
    """x where `node` is x + 1."""
    return node.operands[0] if node.name == "add" and is_uniform(node.operands[1], 1.0) else None


def _log(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name == "exponential":
        return inner.operands[0]
    plus = _plus_one(inner)
    if plus is not None:
        return log_plus_one(plus)
    if inner.name == "logistic":
        return negate(_softplus(negate(inner.operands[0])))
    return _log_of_softmax(inner)


def _log_of_softmax(ratio: Node) -> Node | None:
    """log(exp(s) / sum(exp(s))) = s - log(sum(exp(s)))."""
    if ratio.name != "divide" or ratio.operands[0].name != "exponential" or ratio.operands[1].name not in ("broadcast_in_dim", "reshape"):
        return None
    spread = ratio.operands[1]
    total = spread.operands[0]
    if total.name != "reduce_sum" or total.operands[0] is not ratio.operands[0]:
        return None
    return subtract(ratio.operands[0].operands[0], make(spread.primitive, (log(total),), spread.attrs))


def _softplus(x: Node) -> Node:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return add(maximum(x, full(0, x.type)), log_plus_one(exponential(negate(abs_(x)))))


def _log_plus_one(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name != "exponential":
        return None
    exponent = inner.operands[0]
    stable = exponent.name == "negate" and exponent.operands[0].name == "abs"
    return None if stable else _softplus(exponent)


def _add(node: Node) -> Node | None:
    """exp(x) + (-1), and 1 - logistic(x), 1 - erf(x) in canonical form."""
    x, y = node.operands
    if x.name == "exponential" and is_uniform(y, -1.0):
        return exponential_minus_one(x.operands[0])
    return None


def _subtract(node: Node) -> Node | None:
    x, y = node.operands
    if not is_uniform(x, 1.0):
        return None
    if y.name == "logistic":
        return logistic(negate(y.operands[0]))
    return erfc(y.operands[0]) if y.name == "erf" else None


def _divide(node: Node) -> Node | None:
    """1 / (1 + exp(-x)) = logistic(x)."""
    x, y = node.operands
    inner = _plus_one(y)
    if not is_uniform(x, 1.0) or inner is None or inner.name != "exponential" or inner.operands[0].name != "negate":
        return None
    return logistic(inner.operands[0].operands[0])


def _softmax_unshifted() -> Node:
    e = exponential(_x())
    return log(divide(e, broadcast_in_dim(reduce_sum(e, (1,)), (3, 5), (0,))))


def _rule(name: str, maths: str, root: str, apply: Callable[[Node], Node | None], *examples: Callable[[], Node]) -> Rule:
    return Rule(name, maths, root, apply, examples)


STABILITY: tuple[Rule, ...] = (
    _rule("log", "log(exp(x)) = x; log(1 + x) = log1p(x); log(logistic(x)) = -softplus(-x); log(softmax(x)) = x - log(sum(exp(x)))", "log", _log,
          lambda: log(exponential(_x())), lambda: log(add(exponential(_x()), _one(_x()))), lambda: log(logistic(_x())), _softmax_unshifted),
    _rule("softplus", "log1p(exp(x)) = max(x, 0) + log1p(exp(-|x|))", "log_plus_one", _log_plus_one, lambda: log_plus_one(exponential(_x()))),
    _rule("expm1", "exp(x) - 1 = expm1(x)", "add", _add, lambda: add(exponential(_x()), fill(-1, _x().type))),
    _rule("complement", "1 - logistic(x) = logistic(-x); 1 - erf(x) = erfc(x)", "subtract", _subtract,
          lambda: subtract(_one(_x()), logistic(_x())), lambda: subtract(_one(_x()), erf(_x()))),
    _rule("logistic", "1 / (1 + exp(-x)) = logistic(x)", "divide", _divide,
          lambda: divide(_one(_x()), add(exponential(negate(_x())), _one(_x())))),
)
