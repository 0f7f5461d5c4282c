"""The third room: composites over primitives, and the public functions that declare operations, under TF1's names.

Each file holds one family: the composites and beside them the functions. Importing this room installs Python's operators on tensors.
"""
from graphc.ops import operators as operators
from graphc.ops.aliases import batch_matmul, complex_abs, concat_v2, inv, mul, neg, pack, select, sub, unpack
from graphc.ops.arithmetic import accumulate_n, add_n, scalar_mul
from graphc.ops.array import (
    broadcast_dynamic_shape,
    broadcast_static_shape,
    broadcast_to,
    ensure_shape,
    expand_dims,
    identity,
    identity_n,
    matrix_transpose,
    rank,
    reshape,
    shape,
    shape_n,
    size,
    squeeze,
    stop_gradient,
    transpose,
)
from graphc.ops.array import range_ as range
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
from graphc.ops.bitwise import bitcast
from graphc.ops.checking import add_check_numerics_ops, check_numerics, verify_tensor_all_finite
from graphc.ops.choosing import where, where_v2
from graphc.ops.clipping import clip_by_average_norm, clip_by_global_norm, clip_by_norm, clip_by_value, global_norm
from graphc.ops.complex import angle, imag, real
from graphc.ops.complex import complex_ as complex
from graphc.ops.creation import fill, linspace, one_hot, ones, ones_like, zeros, zeros_like
from graphc.ops.creation import linspace as lin_space
from graphc.ops.cumulative import cumprod, cumsum
from graphc.ops.einsum import einsum
from graphc.ops.elementwise import abs_ as abs
from graphc.ops.elementwise import (
    acos,
    acosh,
    add,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    cast,
    ceil,
    cos,
    cosh,
    div,
    div_no_nan,
    divide,
    equal,
    erf,
    erfc,
    exp,
    expm1,
    floor,
    floor_div,
    floordiv,
    floormod,
    greater,
    greater_equal,
    is_finite,
    is_inf,
    is_nan,
    less,
    less_equal,
    log,
    log1p,
    log_sigmoid,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    multiply,
    negative,
    not_equal,
    reciprocal,
    rint,
    rsqrt,
    saturate_cast,
    sigmoid,
    sign,
    sin,
    sinh,
    sqrt,
    square,
    squared_difference,
    subtract,
    tan,
    tanh,
    to_bfloat16,
    to_complex64,
    to_complex128,
    to_double,
    to_float,
    to_int32,
    to_int64,
    truediv,
    truncatediv,
    truncatemod,
    xdivy,
    xlogy,
)
from graphc.ops.elementwise import pow_ as pow
from graphc.ops.elementwise import real_div as realdiv
from graphc.ops.elementwise import round_ as round
from graphc.ops.fft import fft, fft2d, fft3d, ifft, ifft2d, ifft3d
from graphc.ops.gamma import digamma, lbeta, lgamma, polygamma, zeta
from graphc.ops.gathering import batch_gather, gather, gather_nd
from graphc.ops.histograms import bincount, confusion_matrix, histogram_fixed_width, histogram_fixed_width_bins
from graphc.ops.holomorphic import conj
from graphc.ops.image_geometry import random_crop
from graphc.ops.incomplete import betainc, igamma, igammac
from graphc.ops.joining import concat, pad, reverse, split, stack, tile, unstack
from graphc.ops.joining import reverse as reverse_v2
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
from graphc.ops.linear import matmul, tensordot
from graphc.ops.matrices import cross, diag, diag_part, eye, matrix_band_part, matrix_diag, matrix_diag_part, matrix_set_diag, trace
from graphc.ops.matrix_functions import sqrtm as matrix_square_root
from graphc.ops.norms import norm
from graphc.ops.ordering import argsort, invert_permutation, searchsorted, sort
from graphc.ops.passing import guarantee_const, placeholder_with_default
from graphc.ops.passing import tuple_ as tuple
from graphc.ops.patches import (
    batch_to_space,
    batch_to_space_nd,
    depth_to_space,
    extract_image_patches,
    extract_volume_patches,
    space_to_batch,
    space_to_batch_nd,
    space_to_depth,
)
from graphc.ops.printing import Print
from graphc.ops.printing import print_ as print
from graphc.ops.python_calls import numpy_function, py_func
from graphc.ops.quantization import (
    fake_quant_with_min_max_args,
    fake_quant_with_min_max_args_gradient,
    fake_quant_with_min_max_vars,
    fake_quant_with_min_max_vars_gradient,
    fake_quant_with_min_max_vars_per_channel,
    fake_quant_with_min_max_vars_per_channel_gradient,
)
from graphc.ops.random import (
    get_seed,
    multinomial,
    random_gamma,
    random_normal,
    random_poisson,
    random_shuffle,
    random_uniform,
    set_random_seed,
    truncated_normal,
)
from graphc.ops.reductions import (
    arg_max,
    arg_min,
    argmax,
    argmin,
    count_nonzero,
    l2_normalize,
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_std,
    reduce_sum,
    reduce_variance,
)
from graphc.ops.scatter import (
    scatter_nd,
    tensor_scatter_add,
    tensor_scatter_nd_add,
    tensor_scatter_nd_sub,
    tensor_scatter_nd_update,
    tensor_scatter_sub,
    tensor_scatter_update,
)
from graphc.ops.scatter_variables import (
    batch_scatter_update,
    scatter_add,
    scatter_div,
    scatter_max,
    scatter_min,
    scatter_mul,
    scatter_nd_add,
    scatter_nd_sub,
    scatter_nd_update,
    scatter_sub,
    scatter_update,
)
from graphc.ops.segments import (
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    sparse_segment_mean,
    sparse_segment_sqrt_n,
    sparse_segment_sum,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)
from graphc.ops.selecting import boolean_mask, dynamic_partition, dynamic_stitch, unravel_index
from graphc.ops.sequences import meshgrid, parallel_stack, repeat, reverse_sequence, roll, sequence_mask
from graphc.ops.slicing import slice_ as slice
from graphc.ops.slicing import strided_slice
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
from graphc.ops.unique import setdiff1d, unique, unique_with_counts

__all__ = [
    "Assert", "IndexedSlices", "Print", "SparseTensor", "SparseTensorValue", "abs", "accumulate_n", "acos", "acosh", "add",
    "add_check_numerics_ops", "add_n", "angle", "arg_max", "arg_min", "argmax", "argmin", "argsort", "asin", "asinh", "assert_equal",
    "assert_greater", "assert_greater_equal", "assert_integer", "assert_less", "assert_less_equal", "assert_near", "assert_negative",
    "assert_non_negative", "assert_non_positive", "assert_none_equal", "assert_positive", "assert_proper_iterable", "assert_rank",
    "assert_rank_at_least", "assert_rank_in", "assert_same_float_dtype", "assert_scalar", "assert_type", "atan", "atan2", "atanh",
    "batch_gather", "batch_matmul", "batch_scatter_update", "batch_to_space", "batch_to_space_nd", "betainc", "bincount", "bitcast",
    "boolean_mask", "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "cast", "ceil", "check_numerics", "cholesky",
    "cholesky_solve", "clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "complex", "complex_abs", "concat",
    "concat_v2", "confusion_matrix", "conj", "convert_to_tensor_or_sparse_tensor", "cos", "cosh", "count_nonzero", "cross", "cumprod",
    "cumsum", "depth_to_space", "diag", "diag_part", "digamma", "div", "div_no_nan", "divide", "dynamic_partition", "dynamic_stitch",
    "einsum", "ensure_shape", "equal", "erf", "erfc", "exp", "expand_dims", "expm1", "extract_image_patches", "extract_volume_patches",
    "eye", "fake_quant_with_min_max_args", "fake_quant_with_min_max_args_gradient", "fake_quant_with_min_max_vars",
    "fake_quant_with_min_max_vars_gradient", "fake_quant_with_min_max_vars_per_channel",
    "fake_quant_with_min_max_vars_per_channel_gradient", "fft", "fft2d", "fft3d", "fill", "floor", "floor_div", "floordiv", "floormod",
    "gather", "gather_nd", "get_seed", "global_norm", "greater", "greater_equal", "guarantee_const", "histogram_fixed_width",
    "histogram_fixed_width_bins", "identity", "identity_n", "ifft", "ifft2d", "ifft3d", "igamma", "igammac", "imag", "inv",
    "invert_permutation", "is_finite", "is_inf", "is_nan", "is_non_decreasing", "is_numeric_tensor", "is_strictly_increasing",
    "l2_normalize", "lbeta", "less", "less_equal", "lgamma", "lin_space", "linspace", "log", "log1p", "log_sigmoid", "logical_and",
    "logical_not", "logical_or", "logical_xor", "matmul", "matrix_band_part", "matrix_determinant", "matrix_diag", "matrix_diag_part",
    "matrix_inverse", "matrix_set_diag", "matrix_solve", "matrix_solve_ls", "matrix_square_root", "matrix_transpose",
    "matrix_triangular_solve", "maximum", "meshgrid", "minimum", "mod", "mul", "multinomial", "multiply", "neg", "negative", "norm",
    "not_equal", "numpy_function", "one_hot", "ones", "ones_like", "pack", "pad", "parallel_stack", "placeholder_with_default", "polygamma",
    "pow", "print", "py_func", "qr", "random_crop", "random_gamma", "random_normal", "random_poisson", "random_shuffle", "random_uniform",
    "range", "rank", "real", "realdiv", "reciprocal", "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean",
    "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "repeat", "reshape", "reverse", "reverse_sequence",
    "reverse_v2", "rint", "roll", "round", "rsqrt", "saturate_cast", "scalar_mul", "scatter_add", "scatter_div", "scatter_max",
    "scatter_min", "scatter_mul", "scatter_nd", "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update", "scatter_sub", "scatter_update",
    "searchsorted", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "select", "self_adjoint_eig",
    "self_adjoint_eigvals", "sequence_mask", "set_random_seed", "setdiff1d", "shape", "shape_n", "sigmoid", "sign", "sin", "sinh", "size",
    "slice", "sort", "space_to_batch", "space_to_batch_nd", "space_to_depth", "sparse_add", "sparse_concat", "sparse_fill_empty_rows",
    "sparse_mask", "sparse_matmul", "sparse_maximum", "sparse_merge", "sparse_minimum", "sparse_placeholder", "sparse_reduce_max",
    "sparse_reduce_max_sparse", "sparse_reduce_sum", "sparse_reduce_sum_sparse", "sparse_reorder", "sparse_reset_shape", "sparse_reshape",
    "sparse_retain", "sparse_segment_mean", "sparse_segment_sqrt_n", "sparse_segment_sum", "sparse_slice", "sparse_softmax", "sparse_split",
    "sparse_tensor_dense_matmul", "sparse_tensor_to_dense", "sparse_to_dense", "sparse_to_indicator", "sparse_transpose", "split", "sqrt",
    "square", "squared_difference", "squeeze", "stack", "stop_gradient", "strided_slice", "sub", "subtract", "svd", "tan", "tanh",
    "tensor_scatter_add", "tensor_scatter_nd_add", "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "tensor_scatter_sub",
    "tensor_scatter_update", "tensordot", "tile", "to_bfloat16", "to_complex128", "to_complex64", "to_double", "to_float", "to_int32",
    "to_int64", "trace", "transpose", "truediv", "truncated_normal", "truncatediv", "truncatemod", "tuple", "unique", "unique_with_counts",
    "unpack", "unravel_index", "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod",
    "unsorted_segment_sqrt_n", "unsorted_segment_sum", "unstack", "verify_tensor_all_finite", "where", "where_v2", "xdivy", "xlogy",
    "zeros", "zeros_like", "zeta",
]
