"""Random Programs for hypothesis: small DAGs of primitives with broadcasts, reductions, products, views and variables, values kept tame.

What goes beyond these, walks, orders, scatters, windows and so on, is drawn from `random_steps`.
"""
from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node, Program
from graphc.core.types import TensorType
from tests.random_steps import Pool, step, update

SIZES = (1, 2, 3, 5, 8, 17, 33)
LONGEST = 14  # steps
UNARY: tuple[Callable[[Node], Node], ...] = (
    p.negate, p.abs_, p.tanh, p.logistic, p.erf, p.sine, p.cosine, lambda x: p.exponential(p.tanh(x)), lambda x: p.log_plus_one(p.abs_(x)),
    lambda x: p.sqrt(p.add(p.abs_(x), _const(0.5, x))), lambda x: p.multiply(x, x))
BINARY: tuple[Callable[[Node, Node], Node], ...] = (
    p.add, p.subtract, p.multiply, p.maximum, p.minimum, lambda x, y: p.divide(x, p.add(p.abs_(y), _const(1, y))),
    lambda x, y: p.select(p.compare(x, y, "LT"), x, y))
REDUCE = (p.reduce_sum, p.reduce_max, p.reduce_min)


def _const(value: float, like: Node) -> Node:
    return p.full(value, like.type)


@st.composite
def programs(draw: st.DrawFn, dtype: dtypes.DType = dtypes.float32, special: int = 0, host: bool = True) -> Program:
    """A Program of 3 to 40 nodes or so, 1 to 3 outputs, and at times a variable that is read and written.

    special: how many tenths of the steps are from `random_steps`; where there are any, the last parameter is of int32. host: whether
    functions of the host are among them."""
    shapes = [tuple(draw(st.lists(st.sampled_from(SIZES), min_size=0, max_size=3))) for _ in range(draw(st.integers(1, 3)))]
    parameters = [p.parameter(f"x{n}", TensorType(dtype, shape)) for n, shape in enumerate(shapes)]
    if special:
        places = tuple(draw(st.lists(st.sampled_from(SIZES[:5]), min_size=0, max_size=2)))
        parameters.append(p.parameter("places", TensorType(dtypes.int32, places)))
    values: list[Node] = list(parameters)
    variable = None
    if draw(st.booleans()):
        variable = p.variable_read("v", TensorType(dtype, draw(st.sampled_from(shapes))))
        values.append(variable)
    pool = Pool(dtype, values, host)
    for _ in range(draw(st.integers(2, LONGEST))):
        values.append(draw(step(pool) if special and draw(st.integers(0, 9)) < special else _step(pool)))
    outputs = draw(st.lists(st.sampled_from(values[-6:]), min_size=0 if special else 1, max_size=3))
    outputs += values[-1:] * bool(special)
    effects: tuple[Node, ...] = ()
    if variable is not None:
        fitting = [v for v in values if v.type == variable.type]
        new = draw(st.sampled_from(fitting))
        for _ in range(draw(st.integers(0, 2)) if special else 0):
            new = draw(update(pool, new))
        effects = (p.variable_assign("v", new),)
    return Program(tuple(parameters), tuple(outputs), effects)


@st.composite
def _step(draw: st.DrawFn, pool: Pool) -> Node:
    """One more node of the floating type."""
    values = [v for v in pool.nodes if v.dtype is pool.dtype]
    x = draw(st.sampled_from(values[-5:]))
    kind = draw(st.sampled_from(("unary", "binary", "binary", "reduce", "normalise", "view", "dot", "constant", "row")))
    if kind == "unary":
        return draw(st.sampled_from(UNARY))(x)
    if kind == "constant":
        return draw(st.sampled_from(BINARY))(x, _const(draw(st.sampled_from((0.0, 1.0, -1.0, 2.0, 0.3))), x))
    if kind == "reduce" and x.dims:
        some = draw(st.sets(st.integers(0, len(x.dims) - 1), min_size=1))
        return draw(st.sampled_from(REDUCE))(x, sorted(some))
    if kind in ("normalise", "row") and x.dims:
        axes = [len(x.dims) - 1] if kind == "row" else sorted(draw(st.sets(st.integers(0, len(x.dims) - 1), min_size=1)))
        reduced = draw(st.sampled_from(REDUCE))(x, axes)
        spread = p.broadcast_in_dim(reduced, x.dims, [a for a in range(len(x.dims)) if a not in axes])
        return draw(st.sampled_from(BINARY))(x, spread)
    if kind == "view" and x.dims:
        return draw(_view(x))
    if kind == "dot" and x.dims:
        return draw(_product(x, values))
    same = [v for v in values if v.type == x.type]
    return draw(st.sampled_from(BINARY))(x, draw(st.sampled_from(same)))


@st.composite
def _view(draw: st.DrawFn, x: Node) -> Node:
    rank = len(x.dims)
    axis = draw(st.sampled_from([a for a in range(rank) if x.dims[a]] or [0]))
    match draw(st.sampled_from(("transpose", "flat", "slice", "pad", "concatenate", "reverse", "broadcast"))):
        case "transpose":
            return p.transpose(x, draw(st.permutations(range(rank))))
        case "flat":
            return p.reshape(x, (x.type.size,))
        case "slice":
            start = draw(st.integers(0, max(x.dims[axis] - 1, 0)))
            stop = draw(st.integers(start, x.dims[axis]))
            stride = draw(st.integers(1, 2))
            return p.slice_(x, [start if a == axis else 0 for a in range(rank)], [stop if a == axis else d for a, d in enumerate(x.dims)],
                            [stride if a == axis else 1 for a in range(rank)])
        case "pad":
            low, high = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            sides = [[side if a == axis else 0 for a in range(rank)] for side in (low, high)]
            return p.pad(x, p.constant(0.5, x.dtype), *sides)
        case "concatenate":
            return p.concatenate([x, p.negate(x)], axis)
        case "reverse":
            return p.reverse(x, (axis,))
        case _:
            fits = rank < 4 and x.type.size <= 5000
            return p.broadcast_in_dim(x, (3, *x.dims), range(1, rank + 1)) if fits else x


@st.composite
def _product(draw: st.DrawFn, x: Node, values: list[Node]) -> Node:
    depth = x.dims[-1]
    shaped = [v for v in values if v.dims]
    partners = [v for v in shaped if v.dims[0] == depth and len(v.dims) <= 2] + [v for v in shaped if v.dims[-1] == depth]
    y = draw(st.sampled_from(partners))
    contract = 0 if y.dims[0] == depth and len(y.dims) <= 2 else len(y.dims) - 1
    if x.type.size * y.type.size // max(depth * depth, 1) > 20000:
        return x
    scaled = p.multiply(x, _const(1.0 / max(depth, 1), x))
    return p.dot_general(scaled, y, (), (), (len(x.dims) - 1,), (contract,))
