"""Rules that replace a formula by one that says the same without losing digits or overflowing. All change results, for the better.

They stand before the rules of algebra in the list of rules, and recognise what those leave: `exp(x) - 1` arrives as `exp(x) + (-1)`.
"""
from __future__ import annotations

from collections.abc import Callable

from graphc.core.program import Node, make
from graphc.passes.rewrite import Rule
from graphc.passes.rules_common import X, fill, filled, is_uniform
from graphc.primitives import (
    abs_,
    add,
    broadcast_in_dim,
    divide,
    erf,
    erfc,
    exponential,
    exponential_minus_one,
    log,
    log_plus_one,
    logistic,
    maximum,
    multiply,
    negate,
    reduce_sum,
    subtract,
)


def _plus_one(node: Node) -> Node | None:
    """x where `node` is x + 1."""
    return node.operands[0] if node.name == "add" and is_uniform(node.operands[1], 1.0) else None


def _log(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name == "exponential":
        return inner.operands[0]
    if inner.name == "logistic":
        return negate(_softplus(negate(inner.operands[0])))
    if inner.name == "subtract" and is_uniform(inner.operands[0], 1.0):
        return log_plus_one(negate(inner.operands[1]))
    plus = _plus_one(inner)
    return log_plus_one(plus) if plus is not None else _log_of_softmax(inner)


def _log_of_softmax(ratio: Node) -> Node | None:
    """log(exp(s) / sum(exp(s))) = s - log(sum(exp(s))), where the division may be a multiplication by 1 / sum(exp(s))."""
    if ratio.name not in ("divide", "multiply"):
        return None
    powers, spread = ratio.operands
    if ratio.name == "multiply" and powers.name != "exponential":
        powers, spread = spread, powers
    if powers.name != "exponential" or spread.name not in ("broadcast_in_dim", "reshape"):
        return None
    total = spread.operands[0]
    if ratio.name == "multiply":
        if total.name != "divide" or not is_uniform(total.operands[0], 1.0):
            return None
        total = total.operands[1]
    if total.name != "reduce_sum" or total.operands[0] is not powers:
        return None
    return subtract(powers.operands[0], make(spread.primitive, (log(total),), spread.attrs))


def _softplus(x: Node) -> Node:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return add(maximum(x, fill(0, x.type)), log_plus_one(exponential(negate(abs_(x)))))


def _log_plus_one(node: Node) -> Node | None:
    inner = node.operands[0]
    if inner.name != "exponential":
        return None
    exponent = inner.operands[0]
    stable = exponent.name == "negate" and exponent.operands[0].name == "abs"
    return None if stable else _softplus(exponent)


def _exponential_minus_one(node: Node) -> Node | None:
    x, y = node.operands
    return exponential_minus_one(x.operands[0]) if x.name == "exponential" and is_uniform(y, -1.0) else None


def _complement(node: Node) -> Node | None:
    x, y = node.operands
    if not is_uniform(x, 1.0):
        return None
    if y.name == "logistic":
        return logistic(negate(y.operands[0]))
    return erfc(y.operands[0]) if y.name == "erf" else None


def _logistic(node: Node) -> Node | None:
    x, y = node.operands
    inner = _plus_one(y)
    if not is_uniform(x, 1.0) or inner is None or inner.name != "exponential" or inner.operands[0].name != "negate":
        return None
    return logistic(inner.operands[0].operands[0])


def _rule(name: str, maths: str, root: str, apply: Callable[[Node], Node | None], *examples: Node) -> Rule:
    return Rule(name, maths, root, apply, examples)


_ONE, _EXP = filled(1), exponential(X)
_SUM = reduce_sum(_EXP, (1,))

STABILITY: tuple[Rule, ...] = (
    _rule("log", "log(exp(x)) ~ x; log(1 + x) ~ log1p(x); log(1 - x) ~ log1p(-x); log(logistic(x)) ~ -softplus(-x); "
          "log(softmax(x)) ~ x - log(sum(exp(x)))", "log", _log,
          log(_EXP), log(add(X, _ONE)), log(subtract(_ONE, X)), log(logistic(X)),
          log(divide(_EXP, broadcast_in_dim(_SUM, (3, 5), (0,)))),
          log(multiply(_EXP, broadcast_in_dim(divide(fill(1.0, _SUM.type), _SUM), (3, 5), (0,))))),
    _rule("softplus", "log1p(exp(x)) ~ max(x, 0) + log1p(exp(-|x|))", "log_plus_one", _log_plus_one, log_plus_one(_EXP)),
    _rule("expm1", "exp(x) - 1 ~ expm1(x)", "add", _exponential_minus_one, add(_EXP, filled(-1))),
    _rule("complement", "1 - logistic(x) ~ logistic(-x); 1 - erf(x) ~ erfc(x)", "subtract", _complement,
          subtract(_ONE, logistic(X)), subtract(_ONE, erf(X))),
    _rule("logistic", "1 / (1 + exp(-x)) ~ logistic(x)", "divide", _logistic, divide(_ONE, add(exponential(negate(X)), _ONE))),
)
