"""Norms of vectors and matrices, and tensors divided by them."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core.operation import Tensor
from graphc.ops.array import expand_dims, squeeze, transpose
from graphc.ops.declare import as_tensor, name_scope, normal_axis
from graphc.ops.elementwise import abs_, divide, pow_, sqrt
from graphc.ops.holomorphic import conj
from graphc.ops.linalg import svd
from graphc.ops.reductions import reduce_max, reduce_sum

MATRIX_NORMS = ("euclidean", "fro", 1, 2, np.inf)


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: bool | None = None, name: str | None = None,
         keep_dims: bool | None = None) -> Tensor:
    """A norm over `axis` (None: all): "euclidean", a positive number p, or inf; of a pair of axes the norms of matrices "fro", 1 (the
    greatest sum of a column), inf (of a row) and 2 (the greatest singular value)."""
    if keepdims is not None and keep_dims is not None:
        raise ValueError("Cannot specify both 'keep_dims' and 'keepdims'")
    keep = bool(keep_dims if keepdims is None else keepdims)
    of_matrices = isinstance(axis, tuple | list) and len(axis) == 2
    _check(ord, axis, of_matrices)
    with name_scope(name, "norm", [tensor]):
        x = as_tensor(tensor)
        axes = [axis] if isinstance(axis, int) else axis
        if of_matrices and ord == 2:
            return _spectral(x, axes, keep)
        if ord in ("euclidean", "fro", 2):
            return _kept_or_not(sqrt(reduce_sum(x * conj(x), axes, True)), axes, keep)
        result = abs_(x)
        if of_matrices:
            summed, taken = (axes[0], axes[1]) if ord == 1 else (axes[1], axes[0])
            result = reduce_max(reduce_sum(result, summed, True), taken, True)
        elif ord == np.inf:
            result = reduce_max(result, axes, True)
        elif ord == 1:
            result = reduce_sum(result, axes, True)
        else:
            result = pow_(reduce_sum(pow_(result, ord), axes, True), 1.0 / ord)
        return _kept_or_not(result, axes, keep)


def _check(ord: Any, axis: Any, of_matrices: bool) -> None:
    """ValueError for a norm that there is not, or axes that cannot have one."""
    if not (of_matrices or axis is None or isinstance(axis, int)) or (of_matrices and axis[0] == axis[1]):
        raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
    if of_matrices and ord not in MATRIX_NORMS:
        raise ValueError(f"'ord' must be a supported matrix norm in {list(MATRIX_NORMS)}, got {ord}")
    if not of_matrices and ord != "euclidean" and (isinstance(ord, str) or ord <= 0):
        raise ValueError(f"'ord' must be a supported vector norm, got {ord}")


def _spectral(x: Tensor, axes: Any, keep: bool) -> Tensor:
    """The greatest singular value of the matrices in a pair of axes."""
    if x.rank is None:
        raise ValueError("the matrix norm 2 needs a tensor of known rank")
    pair = [normal_axis(axis, x.rank) for axis in axes]
    rest = [axis for axis in range(x.rank) if axis not in pair]
    result = reduce_max(svd(transpose(x, [*rest, *pair]), compute_uv=False), -1)
    for axis in sorted(pair) if keep else ():
        result = expand_dims(result, axis)
    return result


def _kept_or_not(x: Tensor, axes: Any, keep: bool) -> Tensor:
    return x if keep else squeeze(x, axes)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> tuple[Tensor, Tensor]:
    """`tensor` divided by its `norm` over `axis`, and that norm, its axes kept."""
    with name_scope(name, "normalize", [tensor]):
        x = as_tensor(tensor)
        length = norm(x, ord, axis, keepdims=True)
        return divide(x, length), length
