"""Elementary functions of float32."""
from __future__ import annotations

from collections.abc import Callable

from graphc.codegen.llvm.libm import per_lane
from graphc.codegen.llvm.vec import Vec


def _library(name: str) -> Callable[..., str]:
    return lambda v, *args: per_lane(v, name, *args)


def logistic(v: Vec, x: str) -> str:
    return v.div(1.0, v.add(1.0, per_lane(v, "exp", v.neg(x))))


FUNCTIONS: dict[str, Callable[..., str]] = {
    "exponential": _library("exp"), "exponential_minus_one": _library("expm1"), "log": _library("log"), "log_plus_one": _library("log1p"),
    "tanh": _library("tanh"), "logistic": logistic, "sine": _library("sin"), "cosine": _library("cos"), "tan": _library("tan"),
    "erf": _library("erf"), "erfc": _library("erfc"), "cbrt": _library("cbrt"), "power": _library("pow"), "atan2": _library("atan2"),
}
