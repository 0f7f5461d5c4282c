"""Products of matrices: matmul, batched and broadcast, tensordot, and what is made of them."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.ops.array import reshape, transpose
from graphc.ops.declare import as_tensor, declare_one, name_scope, normal_axis
from graphc.ops.holomorphic import conj
from graphc.primitives.sugar import broadcast_dims, broadcast_to

Pairs = tuple[tuple[int, ...], tuple[int, ...]]  # the axes of a and of b that are contracted

@composite("MatMul")
def MATMUL(a: Node, b: Node, *, transpose_a: bool = False, transpose_b: bool = False) -> Node:
    """The product of two matrices, either of them transposed first."""
    for x in (a, b):
        if len(x.shape) != 2:
            raise ValueError(f"Shape must be rank 2 but is rank {len(x.shape)}")
    rows, columns = (0 if transpose_a else 1), (1 if transpose_b else 0)
    _check_inner(a, b, rows, columns)
    return p.dot_general(a, b, (), (), (rows,), (columns,))


def _check_inner(a: Node, b: Node, i: int, j: int) -> None:
    left, right = a.shape[i], b.shape[j]
    if left is not None and right is not None and left != right:
        raise ValueError(f"Dimensions must be equal, but are {left} and {right}")


@composite("BatchMatMulV2")
def BATCH_MATMUL(x: Node, y: Node, *, adj_x: bool = False, adj_y: bool = False) -> Node:
    """Products of the matrices in the last two axes; the axes before them broadcast."""
    for each in (x, y):
        if len(each.shape) < 2:
            raise ValueError(f"Shape must be at least rank 2 but is rank {len(each.shape)}")
    batch = broadcast_dims(x.shape[:-2], y.shape[:-2])
    count = len(batch)
    left, right = (broadcast_to(each, (*batch, *each.shape[-2:])) for each in (x, y))
    i, j = (count if adj_x else count + 1), (count + 1 if adj_y else count)
    _check_inner(left, right, i, j)
    left, right = p.conj(left) if adj_x else left, p.conj(right) if adj_y else right
    axes = tuple(range(count))
    return p.dot_general(left, right, axes, axes, (i,), (j,))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, adjoint_a: bool = False, adjoint_b: bool = False,
           a_is_sparse: bool = False, b_is_sparse: bool = False, name: str | None = None) -> Tensor:
    """The product of two matrices, or of the matrices in the last two axes of larger arrays."""
    for both, what in ((transpose_a and adjoint_a, "transpose_a and adjoint_a"), (transpose_b and adjoint_b, "transpose_b and adjoint_b")):
        if both:
            raise ValueError(f"Only one of {what} can be True.")
    with name_scope(name, "MatMul", [a, b]) as scope:
        a = as_tensor(a, name="a")
        b = as_tensor(b, a.dtype if not isinstance(b, Tensor) else None, "b")
        left, right = bool(transpose_a or adjoint_a), bool(transpose_b or adjoint_b)
        if any(each.rank is None or each.rank > 2 for each in (a, b)):
            # The operation conjugates what it transposes: so what is transposed alone is conjugated first.
            a, b = conj(a) if transpose_a else a, conj(b) if transpose_b else b
            return declare_one(BATCH_MATMUL, {"x": a, "y": b}, {"adj_x": left, "adj_y": right}, scope)
        a, b = conj(a) if adjoint_a else a, conj(b) if adjoint_b else b
        return declare_one(MATMUL, {"a": a, "b": b}, {"transpose_a": left, "transpose_b": right}, scope)


@composite("Tensordot")
def TENSORDOT(a: Node, b: Node, *, axes: int | Pairs) -> Node:
    """Sums products over pairs of axes; the free axes of a, then of b remain. For shapes that are not known when declared."""
    axes_a, axes_b = _paired_axes(axes, len(a.shape), len(b.shape))
    return p.dot_general(a, b, (), (), axes_a, axes_b)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sums products over pairs of axes: the last `axes` of `a` with the first of `b`, or the axes listed for each."""
    with name_scope(name, "Tensordot", [a, b, axes]) as scope:
        a = as_tensor(a, name="a")
        b = as_tensor(b, a.dtype if not isinstance(b, Tensor) else None, "b")
        pairs = _listed(axes)
        if a.shape_tuple is None or b.shape_tuple is None or None in (*a.shape_tuple, *b.shape_tuple):
            return declare_one(TENSORDOT, {"a": a, "b": b}, {"axes": pairs}, scope)
        axes_a, axes_b = _paired_axes(pairs, len(a.shape_tuple), len(b.shape_tuple))
        left, free_a = _as_matrix(a, axes_a, contract_last=True)
        right, free_b = _as_matrix(b, axes_b, contract_last=False)
        product = matmul(left, right)
        return reshape(product, as_tensor(np.array([*free_a, *free_b], np.int32), name="shape"), scope)


def _listed(axes: Any) -> int | Pairs:
    """How many axes, or which of each operand."""
    if isinstance(axes, int | np.integer):
        if axes < 0:
            raise ValueError("'axes' must be at least 0.")
        return int(axes)
    if not isinstance(axes, list | tuple | np.ndarray) or len(axes) != 2:
        raise ValueError("'axes' must be an integer or have length 2.")
    left, right = (tuple(int(axis) for axis in np.atleast_1d(each)) for each in axes)
    if len(left) != len(right):
        raise ValueError(f"Different number of contraction axes 'a' and 'b', {len(left)} != {len(right)}.")
    return left, right


def _paired_axes(axes: int | Pairs, rank_a: int, rank_b: int) -> Pairs:
    if isinstance(axes, int):
        if axes > rank_a or axes > rank_b:
            raise ValueError(f"'axes' must not be larger than the number of dimensions of tensor {rank_a if axes > rank_a else rank_b}.")
        return tuple(range(rank_a - axes, rank_a)), tuple(range(axes))
    left, right = axes
    return tuple(normal_axis(axis, rank_a) for axis in left), tuple(normal_axis(axis, rank_b) for axis in right)


def _as_matrix(x: Tensor, axes: Sequence[int], contract_last: bool) -> tuple[Tensor, list[int]]:
    """`x` as a matrix with `axes` as its columns (or rows), and the sizes of its free axes."""
    dims = [dim for dim in x.shape_tuple or () if dim is not None]
    free = [axis for axis in range(len(dims)) if axis not in axes]
    order = [*free, *axes] if contract_last else [*axes, *free]
    rows, columns = math.prod(dims[axis] for axis in free), math.prod(dims[axis] for axis in axes)
    shape = [rows, columns] if contract_last else [columns, rows]
    return reshape(transpose(x, order), shape), [dims[axis] for axis in free]
