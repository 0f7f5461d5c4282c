"""gelu by tanh and its slope, as polynomials: how `gemm` knows the library's GELU and DGELU epilogues, however they are written.

    gelu(u)  = u * logistic(t),    t = SCALE * (u + CUBE * u**3)
    gelu'(u) = L + u * L * (1 - L) * (SCALE + 3 * SCALE * CUBE * u**2),    L = logistic(t)

Where tanh is written, logistic(t) is (1 + tanh(t / 2)) / 2; `Reader` makes 1 - logistic(t) of logistic(-t).
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.codegen import ir
from graphc.codegen.cuda.polynomial import Atom, Function, Polynomial, Reader, close

_SCALE, _CUBE = math.sqrt(8 / math.pi), 0.044715


@dataclass(frozen=True)
class _Curve:
    """logistic(argument), as one function of the value that is looked at."""

    logistic: Polynomial
    argument: Polynomial


def _curve(function: Function, reader: Reader) -> _Curve | None:
    """`function` in terms of a logistic function, None where it is neither that nor tanh."""
    atom = reader.atom(function)
    match function.op:
        case "logistic":
            return _Curve(atom, function.args[0])
        case "tanh":
            return _Curve(reader.scaled(reader.sum(reader.number(1.0), atom), 0.5), reader.scaled(function.args[0], 2.0))
    return None


def _inner(u: Polynomial, reader: Reader) -> Polynomial:
    """_SCALE * (u + _CUBE * u**3)."""
    cube = reader.product(u, reader.product(u, u))
    return reader.scaled(reader.sum(u, reader.scaled(cube, _CUBE)), _SCALE)


def gelu_argument(value: Polynomial, function: Function, reader: Reader, error: float) -> Polynomial | None:
    """u, where `value` is gelu(u), and `function` the only function in it. error: relative, of coefficients."""
    curve = _curve(function, reader)
    if curve is None:
        return None
    # With logistic, u is what it is multiplied with; with tanh, twice what stands without it.
    plain = Polynomial(tuple((monomial, c) for monomial, c in value.terms if function not in monomial))
    u = reader.scaled(plain, 2.0) if function.op == "tanh" else _without(value, function)
    if u is None or not close(value, reader.product(u, curve.logistic), error):
        return None
    return u if close(curve.argument, _inner(u, reader), error) else None


def _without(value: Polynomial, function: Function) -> Polynomial | None:
    """value / function where every monomial has that factor once."""
    if any(monomial.count(function) != 1 for monomial, _ in value.terms):
        return None
    return Polynomial(tuple((tuple(atom for atom in monomial if atom != function), c) for monomial, c in value.terms))


def gelu_slope(value: Polynomial, acc: Atom, function: Function, reader: Reader, error: float) -> tuple[float, ir.Load] | None:
    """(alpha, u), where `value` is alpha * acc * gelu'(u), u a load, and `function` the only function in it."""
    curve = _curve(function, reader)
    loads = [monomial[0] for monomial, _ in function.args[0].terms if len(monomial) == 1]
    if curve is None or len(loads) != 1 or not isinstance(loads[0], ir.Load):
        return None
    u = reader.atom(loads[0])
    if not close(curve.argument, _inner(u, reader), error):
        return None
    above = reader.product(curve.logistic, reader.sum(reader.number(1.0), reader.scaled(curve.logistic, -1.0)))
    steepness = reader.sum(reader.number(_SCALE), reader.scaled(reader.product(u, u), 3 * _SCALE * _CUBE))
    slope = reader.sum(curve.logistic, reader.product(reader.product(u, above), steepness))
    whole = reader.product(reader.atom(acc), slope)
    monomial, factor = whole.terms[0]
    alpha = value.coefficients.get(monomial, 0.0) / factor
    return (alpha, loads[0]) if alpha and close(value, reader.scaled(whole, alpha), error) else None
