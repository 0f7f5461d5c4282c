"""Top-level names of matrices, sparse tensors, checks and what else there is. A list; `graphc.ops` offers them."""
from graphc.ops.asserts import (
    Assert,
    assert_equal,
    assert_greater,
    assert_greater_equal,
    assert_less,
    assert_less_equal,
    assert_near,
    assert_negative,
    assert_non_negative,
    assert_non_positive,
    assert_none_equal,
    assert_positive,
    is_non_decreasing,
    is_numeric_tensor,
    is_strictly_increasing,
)
from graphc.ops.checking import add_check_numerics_ops, check_numerics, verify_tensor_all_finite
from graphc.ops.linalg import (
    cholesky,
    cholesky_solve,
    matrix_determinant,
    matrix_inverse,
    matrix_solve,
    matrix_solve_ls,
    matrix_triangular_solve,
    qr,
    self_adjoint_eig,
    self_adjoint_eigvals,
    svd,
)
from graphc.ops.matrices import cross, diag, diag_part, eye, matrix_band_part, matrix_diag, matrix_diag_part, matrix_set_diag, trace
from graphc.ops.matrix_functions import sqrtm as matrix_square_root
from graphc.ops.passing import guarantee_const, placeholder_with_default
from graphc.ops.passing import tuple_ as tuple
from graphc.ops.printing import Print
from graphc.ops.printing import print_ as print
from graphc.ops.python_calls import numpy_function, py_func
from graphc.ops.sparse import (
    sparse_matmul,
    sparse_reduce_max,
    sparse_reduce_sum,
    sparse_softmax,
    sparse_tensor_dense_matmul,
    sparse_tensor_to_dense,
    sparse_to_dense,
)
from graphc.ops.sparse_structure import (
    sparse_add,
    sparse_concat,
    sparse_fill_empty_rows,
    sparse_mask,
    sparse_maximum,
    sparse_merge,
    sparse_minimum,
    sparse_reduce_max_sparse,
    sparse_reduce_sum_sparse,
    sparse_reorder,
    sparse_reset_shape,
    sparse_reshape,
    sparse_retain,
    sparse_slice,
    sparse_split,
    sparse_to_indicator,
    sparse_transpose,
)
from graphc.ops.sparse_tensor import IndexedSlices, SparseTensor, SparseTensorValue, convert_to_tensor_or_sparse_tensor, sparse_placeholder
from graphc.ops.static_asserts import (
    assert_integer,
    assert_proper_iterable,
    assert_rank,
    assert_rank_at_least,
    assert_rank_in,
    assert_same_float_dtype,
    assert_scalar,
    assert_type,
)

__all__ = [
    "Assert", "IndexedSlices", "Print", "SparseTensor", "SparseTensorValue", "add_check_numerics_ops", "assert_equal", "assert_greater",
    "assert_greater_equal", "assert_integer", "assert_less", "assert_less_equal", "assert_near", "assert_negative", "assert_non_negative",
    "assert_non_positive", "assert_none_equal", "assert_positive", "assert_proper_iterable", "assert_rank", "assert_rank_at_least",
    "assert_rank_in", "assert_same_float_dtype", "assert_scalar", "assert_type", "check_numerics", "cholesky", "cholesky_solve",
    "convert_to_tensor_or_sparse_tensor", "cross", "diag", "diag_part", "eye", "guarantee_const", "is_non_decreasing", "is_numeric_tensor",
    "is_strictly_increasing", "matrix_band_part", "matrix_determinant", "matrix_diag", "matrix_diag_part", "matrix_inverse",
    "matrix_set_diag", "matrix_solve", "matrix_solve_ls", "matrix_square_root", "matrix_triangular_solve", "numpy_function",
    "placeholder_with_default", "print", "py_func", "qr", "self_adjoint_eig", "self_adjoint_eigvals", "sparse_add", "sparse_concat",
    "sparse_fill_empty_rows", "sparse_mask", "sparse_matmul", "sparse_maximum", "sparse_merge", "sparse_minimum", "sparse_placeholder",
    "sparse_reduce_max", "sparse_reduce_max_sparse", "sparse_reduce_sum", "sparse_reduce_sum_sparse", "sparse_reorder",
    "sparse_reset_shape", "sparse_reshape", "sparse_retain", "sparse_slice", "sparse_softmax", "sparse_split", "sparse_tensor_dense_matmul",
    "sparse_tensor_to_dense", "sparse_to_dense", "sparse_to_indicator", "sparse_transpose", "svd", "trace", "tuple",
    "verify_tensor_all_finite",
]
