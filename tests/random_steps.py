"""Steps of random Programs beyond maps, reductions and products: walks, orders, scatters, windows, complex pairs, functions of the host.

Each is a strategy that draws one more node from the nodes there are. Whatever jumps where its operand changes by a rounding (an order, the
place of an extreme, bits) is asked only of `exact` nodes, which every correct compiler must compute bit for bit.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import strategies as st

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.program import Node, postorder
from graphc.primitives.reduce_window import window_attrs

LARGEST = 6000  # elements of an array, windows included
_EXACT = frozenset((
    "parameter", "variable_read", "constant", "iota", "transpose", "reshape", "slice", "pad", "concatenate", "reverse", "broadcast_in_dim",
    "negate", "abs", "maximum", "minimum", "select", "compare", "reduce_max", "reduce_min", "argsort", "rearrange", "gather",
    "dynamic_slice", "dynamic_update_slice", "cumulative_max", "cumulative_min", "convert", "bitcast_convert", "argmax", "argmin"))


@dataclass(frozen=True)
class Pool:
    """The nodes that a step can draw from. dtype: that of the floating ones. host: whether functions of the host are asked for."""

    dtype: dtypes.DType
    nodes: list[Node]
    host: bool

    def recent(self, dtype: dtypes.DType) -> list[Node]:
        """The newest of `dtype`; scalars only where there is nothing else."""
        found = [node for node in self.nodes if node.dtype is dtype]
        return [node for node in found if node.dims][-5:] or found

    @property
    def floats(self) -> list[Node]:
        return self.recent(self.dtype)

    @property
    def wholes(self) -> list[Node]:
        return self.recent(dtypes.int32)

    @property
    def pairs(self) -> list[Node]:
        return self.recent(self.dtype.complex_dtype)

    @property
    def exact(self) -> list[Node]:
        return [node for node in self.nodes if is_exact(node) and not node.dtype.is_complex][-6:]


def is_exact(node: Node) -> bool:
    """Whether no rounding comes into `node`, in whatever order it is computed."""
    return all(each.name in _EXACT or each.dtype.is_integer or each.dtype is dtypes.bool for each in postorder((node,)))


def like(value: float, node: Node) -> Node:
    return p.full(value, node.type)


@st.composite
def step(draw: st.DrawFn, pool: Pool) -> Node:
    """One more node; an operand itself where the drawn kind does not fit it."""
    kinds = [_walk, _whole, _whole, _order, _scatter, _scatter, _box, _windows, _pool, _convolution, _bits, _pair, _pair]
    made: Node = draw(draw(st.sampled_from(kinds + [_hosted] * pool.host))(pool))
    return made


@st.composite
def update(draw: st.DrawFn, pool: Pool, old: Node) -> Node:
    """`old`, of a variable, changed in places."""
    made: Node = draw(draw(st.sampled_from((_scattered, _boxed)))(pool, old))
    return made


# Walks, orders --------------------------------------------------------------------------------------------------------------------------

@st.composite
def _walk(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.floats + pool.wholes))
    if not x.dims:
        return x
    axis, back, exclusive = draw(st.integers(0, len(x.dims) - 1)), draw(st.booleans()), draw(st.booleans())
    kind = draw(st.sampled_from(("sum", "prod", "max", "min", "logsumexp", "linear")))
    if kind in ("max", "min"):
        return (p.cumulative_max if kind == "max" else p.cumulative_min)(x, axis, exclusive and x.dtype.is_integer, back)
    if kind == "sum" or x.dtype.is_integer:
        return p.cumulative_sum(x, axis, exclusive, back)
    tame = p.tanh(x)
    if kind == "prod":
        return p.cumulative_prod(tame, axis, exclusive, back)
    if kind == "logsumexp":
        return p.cumulative_logsumexp(tame, axis, False, back)
    return p.linear_recurrence(tame, draw(st.sampled_from([y for y in pool.nodes if y.type == x.type])), axis, back)


@st.composite
def _order(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.floats + pool.exact))
    if not x.dims or not x.type.size:
        return x
    axis, descending = draw(st.integers(0, len(x.dims) - 1)), draw(st.booleans())
    if not is_exact(x):
        return p.sort((x,), axis, descending)[0]
    beside = draw(st.sampled_from([y for y in pool.nodes if y.dims == x.dims]))
    order = p.argsort(x, axis, descending)
    match draw(st.sampled_from(("order", "inverse", "sorted", "beside", "first"))):
        case "order":
            return order
        case "inverse":
            return p.invert_permutation(order, axis)
        case "sorted":
            return p.rearrange(x, order, axis, True)
        case "beside":
            return p.rearrange(beside, order, axis, True)
        case _:
            some = p.slice_(order, [0] * len(x.dims), [(d + 1) // 2 if a == axis else d for a, d in enumerate(x.dims)], [1] * len(x.dims))
            return p.rearrange(beside, some, axis)


# Integers -------------------------------------------------------------------------------------------------------------------------------

@st.composite
def _whole(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.wholes))
    y = draw(st.sampled_from([y for y in pool.wholes if y.type == x.type]))
    kinds = ("add", "minimum", "subtract", "multiply", "remainder", "divide", "xor", "sum", "place", "float", "of float", "arg")
    match draw(st.sampled_from(kinds)):
        case "remainder":
            return p.remainder(x, like(draw(st.sampled_from((3, 7, -5))), x))
        case "divide":
            return p.divide(x, y)
        case "sum" if x.dims:
            return p.reduce_sum(x, (draw(st.integers(0, len(x.dims) - 1)),))
        case "place" if x.dims:
            return p.add(x, p.iota(x.dims, draw(st.integers(0, len(x.dims) - 1)), x.dtype))
        case "float":
            return p.convert(p.remainder(x, like(7, x)), pool.dtype)
        case "of float" if [z for z in pool.exact if z.dtype.is_floating]:
            return p.convert(draw(st.sampled_from([z for z in pool.exact if z.dtype.is_floating])), x.dtype)
        case "arg" if [z for z in pool.exact if z.type.size]:
            z = draw(st.sampled_from([z for z in pool.exact if z.type.size]))
            return p.argmax(z, draw(st.integers(0, len(z.dims) - 1)), x.dtype) if z.dims else x
        case "minimum":
            return p.minimum(x, y)
        case "subtract":
            return p.subtract(x, y)
        case "multiply":
            return p.multiply(x, y)
        case "xor":
            return p.xor(x, y)
        case _:
            return p.add(x, y)


@st.composite
def _bits(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.floats))
    whole = dtypes.uint32 if pool.dtype.size == 4 else dtypes.uint64
    bits = p.bitcast_convert(x, whole)
    sign = like(1 << 8 * whole.size - 1, bits)
    match draw(st.sampled_from(("negate", "abs", "copysign", "low"))):
        case "negate":
            return p.bitcast_convert(p.xor(bits, sign), x.dtype)
        case "abs":
            return p.bitcast_convert(p.and_(bits, p.not_(sign)), x.dtype)
        case "copysign":
            other = p.bitcast_convert(draw(st.sampled_from([x, *(y for y in pool.exact if y.type == x.type)])), whole)
            return p.bitcast_convert(p.or_(p.and_(bits, p.not_(sign)), p.and_(other, sign)), x.dtype) if is_exact(x) else x
        case _:
            return p.convert(p.and_(bits, like(255, bits)), dtypes.int32) if is_exact(x) else x


# Chosen places --------------------------------------------------------------------------------------------------------------------------

@st.composite
def _scatter(draw: st.DrawFn, pool: Pool) -> Node:
    return draw(_scattered(pool, draw(st.sampled_from(pool.floats + pool.wholes))))


@st.composite
def _scattered(draw: st.DrawFn, pool: Pool, x: Node) -> Node:
    """`x` gathered from by integers there are, and scattered into."""
    indices = draw(st.sampled_from(pool.wholes))
    if not x.dims:
        return x
    axis = draw(st.integers(0, len(x.dims) - 1))
    dims = (*x.dims[:axis], *indices.dims, *x.dims[axis + 1:])
    if math.prod(dims) > LARGEST or len(dims) > 5:
        return x
    if draw(st.booleans()):
        indices = p.remainder(p.maximum(indices, like(0, indices)), like(max(x.dims[axis], 1), indices))
    fitting = [y for y in pool.nodes if y.type == x.type.with_shape(dims)]
    updates = draw(st.sampled_from([*fitting, p.gather(p.add(x, like(1, x)), indices, axis), p.full(0.5, x.type.with_shape(dims))]))
    combine = draw(st.sampled_from(("add", "multiply", "minimum", "maximum", "assign")))
    if combine == "multiply" and x.dtype.is_floating:
        updates = p.tanh(updates)
    return p.scatter(x, indices, updates, axis, combine)


@st.composite
def _box(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.floats + pool.wholes))
    if draw(st.booleans()):
        return draw(_boxed(pool, x))
    return p.gather(x, draw(st.sampled_from(pool.wholes)), 0) if x.dims and len(x.dims) < 3 and x.type.size < 200 else x


@st.composite
def _starts(draw: st.DrawFn, pool: Pool, rank: int) -> list[Node]:
    scalars = [p.reshape(y, ()) for y in pool.wholes if y.type.size == 1] + [p.constant(2, dtypes.int32)]
    wide = [y for y in pool.wholes if y.type.size > 1]
    if wide:
        y = draw(st.sampled_from(wide))
        flat = p.reshape(y, (y.type.size,))
        scalars.append(p.reshape(p.slice_(flat, [1], [2], [1]), ()))
    return [draw(st.sampled_from(scalars)) for _ in range(rank)]


@st.composite
def _boxed(draw: st.DrawFn, pool: Pool, x: Node) -> Node:
    """A box of `x`, or `x` with a box of it changed."""
    sizes = [draw(st.integers(min(1, d), d)) for d in x.dims]
    starts = draw(_starts(pool, len(sizes)))
    others = draw(_starts(pool, len(sizes)))
    box = p.dynamic_slice(x, starts, sizes)
    match draw(st.sampled_from(("box", "moved", "changed"))):
        case "box":
            return p.dynamic_update_slice(x, p.negate(box), starts)
        case "moved":
            return p.dynamic_update_slice(x, box, others)
        case _:
            fitting = [y for y in pool.nodes if y.type == box.type]
            return p.dynamic_update_slice(x, draw(st.sampled_from([*fitting, like(3, box)])), others)


# Windows --------------------------------------------------------------------------------------------------------------------------------

def _images(pool: Pool) -> list[Node]:
    """What there is as [n, spatial..., features]."""
    return [p.reshape(x, (*x.dims[:1], *x.dims[1:], 1)) if len(x.dims) == 2 else x for x in pool.floats
            if len(x.dims) in (2, 3, 4) and 0 < x.type.size <= 2000]


@st.composite
def _frame(draw: st.DrawFn, x: Node, first: int, last: int) -> tuple[list[int], ...]:
    """(sizes, strides, dilations, low, high, base dilations) over the axes [first, last) of `x`: at least one window along each."""
    rows = []
    for dim in x.dims[first:last]:
        size, stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
        dilation, base = draw(st.integers(1, 2)), draw(st.sampled_from((1, 1, 2)))
        low, high = draw(st.integers(-1, 2)), draw(st.integers(0, 2))
        room = low + (dim - 1) * base + 1 + high - ((size - 1) * dilation + 1)
        rows.append((size, stride, dilation, low, high, base) if room >= 0 else (1, 1, 1, 0, 0, 1))
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 6


@st.composite
def _windows(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(pool.floats))
    if not x.dims or len(x.dims) > 3 or not x.type.size:
        return x
    axis = draw(st.integers(0, len(x.dims) - 1))
    sizes, strides, dilations, low, high, base = draw(_frame(x, axis, axis + 1))
    seen = p.windows(x, p.constant(draw(st.sampled_from((0.0, 0.5))), x.dtype), axis, sizes, strides, dilations, low, high, base)
    return seen if seen.type.size <= LARGEST else x


@st.composite
def _pool(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(_images(pool) or [pool.floats[0]]))
    if len(x.dims) < 3:
        return x
    last = len(x.dims) - 1
    columns = draw(_frame(x, 1, last))
    sizes, strides, dilations, low, high, base = ([fill, *column, fill] for column, fill in zip(columns, (1, 1, 1, 0, 0, 1), strict=True))
    combine = draw(st.sampled_from(("add", "maximum", "minimum", "multiply")))
    source = p.tanh(x) if combine == "multiply" else x
    pooled = p.reduce_window(source, combine, sizes, strides, dilations, low, high, base)
    if combine in ("maximum", "minimum") and is_exact(x) and draw(st.booleans()):
        attrs = window_attrs(x, combine, sizes, strides, dilations, low, high, base)
        back = p.select_and_scatter(x, draw(st.sampled_from((p.tanh(pooled), like(1, pooled)))), attrs)
        return draw(st.sampled_from((back, p.select_and_gather(x, p.sine(x), attrs))))
    if combine in ("maximum", "minimum"):  # windows of padding alone are infinite
        return p.clamp(like(-50, pooled), pooled, like(50, pooled))
    return pooled


@st.composite
def _convolution(draw: st.DrawFn, pool: Pool) -> Node:
    x = draw(st.sampled_from(_images(pool) or [pool.floats[0]]))
    if len(x.dims) < 3:
        return x
    last = len(x.dims) - 1
    sizes, strides, dilations, low, high, base = draw(_frame(x, 1, last))
    features = x.dims[-1]
    groups = draw(st.sampled_from([g for g in (1, 2, 3, features) if features % g == 0]))
    outer = groups * draw(st.integers(1, 3))
    dims = (*sizes, features // groups, outer)
    fitting = [y for y in pool.floats if y.dims == dims]
    count = p.convert(p.iota((math.prod(dims),), 0, dtypes.int32), x.dtype)
    w = draw(st.sampled_from([*fitting, p.reshape(p.sine(p.multiply(count, like(0.37, count))), dims)]))
    y = p.convolution(x, w, strides, low, high, base, dilations, groups)
    if y.type.size > LARGEST:
        return x
    kind = draw(st.sampled_from(("forward", "forward", "filter", "back")))
    if kind == "filter":
        return p.convolution_filter(x, p.tanh(y), sizes, strides, low, high, base, dilations, groups)
    if kind == "back":
        return p.convolution_back(p.tanh(y), w, x.dims[1:last], strides, low, high, base, dilations, groups)
    return y


# Complex numbers ------------------------------------------------------------------------------------------------------------------------

@st.composite
def _pair(draw: st.DrawFn, pool: Pool) -> Node:
    if not pool.pairs or draw(st.integers(0, 3)) == 0:
        x = draw(st.sampled_from(pool.floats))
        return p.complex_(x, draw(st.sampled_from([y for y in pool.floats if y.type == x.type])))
    z = draw(st.sampled_from(pool.pairs))
    other = draw(st.sampled_from([y for y in pool.pairs if y.type == z.type]))
    kinds = ("real", "imag", "both", "conj", "multiply", "divide", "add", "sum", "turned", "dot", "walk", "abs", "exp")
    match draw(st.sampled_from(kinds)):
        case "real":
            return p.real(z)
        case "imag":
            return p.imag(z)
        case "both":
            return p.view_as_real(z)
        case "conj":
            return p.conj(z)
        case "divide":
            return p.divide(z, p.add(p.multiply(other, p.conj(other)), like(1, z)))
        case "multiply":
            return p.multiply(z, other)
        case "sum" if z.dims:
            return p.reduce_sum(z, (draw(st.integers(0, len(z.dims) - 1)),))
        case "turned" if z.dims:
            return p.transpose(z, draw(st.permutations(range(len(z.dims)))))
        case "dot" if z.dims and z.type.size**2 // max(z.dims[-1], 1) < LARGEST:
            last = len(z.dims) - 1
            return p.dot_general(z, p.conj(z), (), (), (last,), (last,))
        case "walk" if z.dims:
            return p.cumulative_sum(z, len(z.dims) - 1)
        case "abs":
            return p.sqrt(p.real(p.multiply(z, p.conj(z))))
        case "exp":
            return p.exponential(p.complex_(p.tanh(p.real(z)), p.tanh(p.imag(z))))
        case _:
            return p.add(z, other)


# Functions of the host ------------------------------------------------------------------------------------------------------------------

@st.composite
def _hosted(draw: st.DrawFn, pool: Pool) -> Node:
    """Factorisations of matrices that are far from singular: n on the diagonal, tanh elsewhere."""
    x = draw(st.sampled_from(pool.floats))
    if len(x.dims) < 2 or not 0 < x.type.size <= LARGEST:
        return x
    rank, (rows, n) = len(x.dims), x.dims[-2:]
    small = p.tanh(x)
    batch = tuple(range(rank - 2))
    gram = p.dot_general(small, small, batch, batch, (rank - 2,), (rank - 2,))
    across, along = p.iota(gram.dims, rank - 2, dtypes.int32), p.iota(gram.dims, rank - 1, dtypes.int32)
    diagonal = p.select(p.compare(across, along, "EQ"), like(rows + 1, gram), like(0, gram))
    a = p.add(gram, diagonal)
    right = p.transpose(x, (*batch, rank - 1, rank - 2))
    match draw(st.sampled_from(("cholesky", "solve", "triangular", "determinant", "frequencies"))):
        case "frequencies":
            return p.fft(p.fft(x, "RFFT", (n,)), "FFT", (n // 2 + 1,))
        case "cholesky":
            return p.cholesky(a)
        case "solve":
            return p.solve(a, right)
        case "triangular":
            return p.triangular_solve(a, right, draw(st.booleans()))
        case _:
            return p.slogdet(a)[1]
