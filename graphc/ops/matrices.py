"""The structure of matrices: diagonals and bands taken out and put in, unit matrices, traces, transposes, cross products, matvec.

Matrices are the last two axes, those before them a batch. None of these copies more than it must: a diagonal is a view, a band a mask that
the next kernel applies. Factorisations and solutions stand in `linalg.py`.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dim, merge_dims, same_dim
from graphc.ops.array import expand_dims, matrix_transpose, scalar_value, squeeze
from graphc.ops.creation import ones, zeros
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.elementwise import minimum
from graphc.ops.joining import concat
from graphc.ops.linear import matmul
from graphc.ops.reductions import reduce_sum
from graphc.primitives import matrices as m
from graphc.primitives.sugar import broadcast_to


def at_least(x: Node, rank: int) -> Node:
    """`x`; ValueError, in TF1's words, where its rank is lower."""
    if len(x.shape) < rank:
        raise ValueError(f"Shape must be at least rank {rank} but is rank {len(x.shape)}")
    return x


# Bands ----------------------------------------------------------------------------------------------------------------------------------

@composite("MatrixBandPart")
def MATRIX_BAND_PART(input: Node, num_lower: Node, num_upper: Node) -> Node:
    """`input` with zeros outside of a band: num_lower diagonals below the main one and num_upper above it; all where negative."""
    at_least(input, 2)
    row, column = m.place(input, -2), m.place(input, -1)
    kept: Node | None = None
    for which, lines, bound, size, distance in (("num_lower", "rows", num_lower, input.shape[-2], p.subtract(row, column)),
                                                ("num_upper", "columns", num_upper, input.shape[-1], p.subtract(column, row))):
        value = scalar_value(bound)
        if value is not None and size is not None and value > size:
            raise ValueError(f"{which} must be negative or less or equal to number of {lines} ({size}) got: {value}")
        if value is None or value >= 0:
            inside = _within(distance, p.convert(bound, dtypes.int32))
            kept = inside if kept is None else p.and_(kept, inside)
    return input if kept is None else p.select(kept, input, p.full(0, input.type))


def _within(distance: Node, bound: Node) -> Node:
    """Whether distance <= bound, or bound < 0."""
    limit = broadcast_to(bound, distance.shape)
    free = p.compare(bound, p.full(0, bound.type), "LT")
    return p.or_(p.compare(distance, limit, "LE"), broadcast_to(free, distance.shape))


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Zeros outside of the diagonals from `num_lower` below the main one to `num_upper` above it; a negative number keeps all of that
    side."""
    return declare_one(MATRIX_BAND_PART, {"input": input, "num_lower": num_lower, "num_upper": num_upper}, None, name,
                       other={"num_lower": dtypes.int64, "num_upper": num_lower.dtype if isinstance(num_lower, Tensor) else dtypes.int64})


# Diagonals of matrices --------------------------------------------------------------------------------------------------------------------

@composite("MatrixDiag")
def MATRIX_DIAG(diagonal: Node, *, k: int = 0, num_rows: int = -1, num_cols: int = -1, padding_value: float = 0) -> Node:
    """Vectors as the diagonals, `k` above the main one, of matrices."""
    *batch, length = at_least(diagonal, 1).shape
    rows, columns = _diagonal_dims(length, k, num_rows, num_cols)
    around = p.full(padding_value, diagonal.type.with_shape((*batch, rows, columns)))
    return _put(around, diagonal, k)


def _diagonal_dims(length: Dim, k: int, num_rows: int, num_cols: int) -> tuple[Dim, Dim]:
    """Rows and columns of the least matrices with a diagonal of that length, square where neither is given."""
    if length is None:
        return (num_rows if num_rows >= 0 else None), (num_cols if num_cols >= 0 else None)
    needed = length + max(-k, 0), length + max(k, 0)
    if num_rows < 0 and num_cols < 0:
        return max(needed), max(needed)
    rows, columns = (num_rows if num_rows >= 0 else needed[0]), (num_cols if num_cols >= 0 else needed[1])
    if length != _diagonal_length(rows, columns, k):
        raise ValueError(f"a diagonal of {length} elements at k = {k} does not fit matrices of {rows} rows and {columns} columns")
    return rows, columns


def _diagonal_length(rows: int, columns: int, k: int) -> int:
    return max(min(rows, columns - k) if k >= 0 else min(rows + k, columns), 0)


def _put(x: Node, diagonal: Node, k: int) -> Node:
    """`x` with `diagonal` on the diagonals `k` above the main one: each of its elements stands in the row, or for k < 0 in the column, of
    its number."""
    axis = -1 if k >= 0 else -2
    room = x.shape[-2 if k >= 0 else -1]
    length = diagonal.shape[-1]
    missing = None if room is None or length is None else room - length
    low = (0,) * len(diagonal.shape)
    filled = p.pad(diagonal, p.constant(0, diagonal.dtype), low, (*low[1:], missing), low) if missing != 0 else diagonal
    return p.select(m.on_diagonal(x, k), m.spread(filled, x, axis), x)


@composite("MatrixDiagPart")
def MATRIX_DIAG_PART(input: Node, *, k: int = 0, padding_value: float = 0) -> Node:
    """The diagonals of matrices, `k` above the main ones."""
    rows, columns = at_least(input, 2).shape[-2:]
    if rows is not None and columns is not None and not -rows < k < max(columns, 1) and k:
        raise ValueError(f"k = {k} must lie between {1 - rows} and {columns - 1}, the diagonals of matrices of {rows} rows and {columns} "
                         "columns")
    return m.diagonal(input, k)


@composite("MatrixSetDiag")
def MATRIX_SET_DIAG(input: Node, diagonal: Node, *, k: int = 0) -> Node:
    """Matrices with vectors put on their diagonals, `k` above the main ones."""
    *batch, rows, columns = at_least(input, 2).shape
    if len(diagonal.shape) != len(input.shape) - 1:
        raise ValueError(f"Shape must be rank {len(input.shape) - 1} but is rank {len(diagonal.shape)}")
    length = None if rows is None or columns is None else _diagonal_length(rows, columns, k)
    wanted = (*batch, length)
    if not all(map(same_dim, wanted, diagonal.shape)):
        raise ValueError(f"the diagonal must have shape {wanted}, got {diagonal.shape}")
    return _put(input, diagonal, k)


def _one_diagonal(k: Any) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise ValueError(f"'k' must be an integer, the number of one diagonal; got {k!r}")
    return int(k)


def matrix_diag(diagonal: Any, name: str = "diag", k: Any = 0, num_rows: Any = -1, num_cols: Any = -1, padding_value: Any = 0) -> Tensor:
    """Vectors [..., n] as the diagonals of matrices: `k` above the main one (below: negative), `padding_value` beside it; square, unless
    `num_rows` or `num_cols` say otherwise. `k` is one integer."""
    attrs = {"k": _one_diagonal(k), "num_rows": int(num_rows), "num_cols": int(num_cols), "padding_value": padding_value}
    return declare_one(MATRIX_DIAG, {"diagonal": diagonal}, attrs, name)


def matrix_diag_part(input: Any, name: str = "diag_part", k: Any = 0, padding_value: Any = 0) -> Tensor:
    """The diagonals of matrices [..., m, n], `k` above the main ones (below: negative): [..., their length]. `k` is one integer, so that
    `padding_value`, which fills shorter diagonals of several, is not used."""
    return declare_one(MATRIX_DIAG_PART, {"input": input}, {"k": _one_diagonal(k), "padding_value": padding_value}, name)


def matrix_set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0) -> Tensor:
    """Matrices with `diagonal` put on their diagonals, `k` above the main ones (below: negative). `k` is one integer."""
    return declare_one(MATRIX_SET_DIAG, {"input": input, "diagonal": diagonal}, {"k": _one_diagonal(k)}, name)


# Diagonals of tensors ---------------------------------------------------------------------------------------------------------------------

@composite("Diag")
def DIAG(diagonal: Node) -> Node:
    """A tensor of twice the rank: result[i..., i...] = diagonal[i...], zeros elsewhere."""
    shape = at_least(diagonal, 1).shape
    size = None if None in shape else math.prod(diagonal.dims)
    return p.reshape(m.diagonal_matrix(p.reshape(diagonal, (size,))), (*shape, *shape))


@composite("DiagPart")
def DIAG_PART(input: Node) -> Node:
    """result[i...] = input[i..., i...] of a tensor of even rank."""
    rank = len(input.shape)
    if rank % 2 or not rank:
        raise ValueError(f"Input must have even and non-zero rank, input rank is {rank}")
    left, right = input.shape[:rank // 2], input.shape[rank // 2:]
    for axis, (a, b) in enumerate(zip(left, right, strict=True)):
        if not same_dim(a, b):
            raise ValueError(f"Invalid shape {list(input.shape)}: dimensions {axis} and {axis + rank // 2} do not match.")
    kept = merge_dims(left, right)
    size = None if None in kept else math.prod(d for d in kept if d is not None)
    return p.reshape(m.diagonal(p.reshape(input, (size, size))), kept)


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """A tensor of twice the rank with `diagonal` where both halves of an index are equal, zeros elsewhere."""
    return declare_one(DIAG, {"diagonal": diagonal}, None, name)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The elements of a tensor of even rank where both halves of the index are equal."""
    return declare_one(DIAG_PART, {"input": input}, None, name)


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sums of the diagonals of matrices."""
    with name_scope(name, "Trace", [x]) as scope:
        return reduce_sum(matrix_diag_part(as_tensor(x, name="x")), [-1], name=scope)


def eye(num_rows: Any, num_columns: Any = None, batch_shape: Any = None, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Unit matrices [batch_shape..., num_rows, num_columns], square where `num_columns` is None. Any size may be a tensor."""
    with name_scope(name, "eye", [num_rows, num_columns, batch_shape]):
        is_square = num_columns is None
        columns = num_rows if is_square else num_columns
        fed = isinstance(num_rows, Tensor) or isinstance(columns, Tensor)
        least = minimum(num_rows, columns) if fed else min(num_rows, columns)
        batch = [] if batch_shape is None else batch_shape
        diagonal = ones(_joined(batch, least), dtype)
        if is_square:
            return matrix_diag(diagonal)
        return matrix_set_diag(zeros(_joined(batch, num_rows, columns), dtype), diagonal)


def _joined(batch: Any, *sizes: Any) -> Any:
    """A shape of `batch` dims and more."""
    if isinstance(batch, Tensor):
        return concat([batch, convert_to_tensor(list(sizes), batch.dtype)], 0)
    return [*batch, *sizes]


# Products -------------------------------------------------------------------------------------------------------------------------------

@composite("Cross")
def CROSS(a: Node, b: Node) -> Node:
    """The cross products of vectors in the last axis, which has three elements."""
    for each in (a, b):
        last = at_least(each, 1).shape[-1]
        if last not in (None, 3):
            raise ValueError(f"Dimension must be 3 but is {last}")
    if not (len(a.shape) == len(b.shape) and all(map(same_dim, a.shape, b.shape))):
        raise ValueError(f"Both inputs must be of same shape: {list(a.shape)} vs. {list(b.shape)}")
    shape = (*merge_dims(a.shape, b.shape)[:-1], 3)
    left, right = p.reshape(a, shape), p.reshape(b, shape)

    def from_(x: Node, first: int) -> Node:
        """The elements first, first + 1, first + 2, counted round."""
        return p.concatenate([m.between(x, -1, first, 3), m.between(x, -1, 0, first)], len(shape) - 1)
    return p.subtract(p.multiply(from_(left, 1), from_(right, 2)), p.multiply(from_(left, 2), from_(right, 1)))


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The cross products of vectors [..., 3]."""
    return declare_one(CROSS, {"a": a, "b": b}, None, name)


def matvec(a: Any, b: Any, transpose_a: bool = False, adjoint_a: bool = False, a_is_sparse: bool = False, b_is_sparse: bool = False,
           name: str | None = None) -> Tensor:
    """The products of matrices [..., m, n] and vectors [..., n]."""
    with name_scope(name, "MatVec", [a, b]):
        product = matmul(a, expand_dims(b, -1), transpose_a=transpose_a, adjoint_a=adjoint_a, a_is_sparse=a_is_sparse,
                         b_is_sparse=b_is_sparse)
        return squeeze(product, [-1])


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """Matrices transposed, their elements conjugated."""
    with name_scope(name, "adjoint", [matrix]):
        return matrix_transpose(as_tensor(matrix, name="matrix"), conjugate=True)
