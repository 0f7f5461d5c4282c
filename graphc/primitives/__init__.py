"""The primitives: every operation that the compiler knows, each by one declaration. Importing this fills the registry.

    from graphc.primitives import add, reduce_sum

A function here makes a node from nodes; an identity (a reshape to the same shape, a sum over no axes) gives the operand itself. There
is no broadcasting and no conversion at this level: `sugar` has helpers for those. One family a file, in the order in which they build
on each other.
"""
from graphc.primitives.arithmetic import (
    abs_,
    add,
    atan2,
    cbrt,
    ceil,
    cosine,
    divide,
    erf,
    erfc,
    exponential,
    exponential_minus_one,
    floor,
    log,
    log_plus_one,
    logistic,
    maximum,
    minimum,
    multiply,
    negate,
    power,
    remainder,
    round_nearest_even,
    rsqrt,
    sign,
    sine,
    sqrt,
    subtract,
    tan,
    tanh,
)
from graphc.primitives.broadcast import broadcast_in_dim, full, reduce_sum, reshape
from graphc.primitives.complex import complex_, conj, imag, real, view_as_complex, view_as_real
from graphc.primitives.contraction import dot_general
from graphc.primitives.convolution import convolution, convolution_back, convolution_filter
from graphc.primitives.cumulative import (
    cumulative_logsumexp,
    cumulative_max,
    cumulative_min,
    cumulative_prod,
    cumulative_sum,
    linear_recurrence,
)
from graphc.primitives.dynamic import dynamic_slice, dynamic_update_slice
from graphc.primitives.factorisations import eigenvalues, eigh, qr, singular_values, svd
from graphc.primitives.fft import fft
from graphc.primitives.indexing import gather, scatter, scatter_add, take
from graphc.primitives.linear_algebra import cholesky, determinant, lu, slogdet, solve, triangular_solve
from graphc.primitives.logic import (
    and_,
    bitcast_convert,
    clamp,
    compare,
    convert,
    is_finite,
    not_,
    or_,
    select,
    shift_left,
    shift_right_arithmetic,
    shift_right_logical,
    xor,
)
from graphc.primitives.matrix_functions import matrix_function, tridiagonal_solve
from graphc.primitives.movement import concatenate, copy, pad, reverse, slice_, stop_gradient, transfer, transpose
from graphc.primitives.reduce_window import reduce_window, select_and_gather, select_and_scatter
from graphc.primitives.reduction import argmax, argmin, reduce_max, reduce_min, reduce_prod
from graphc.primitives.sorting import argsort, inverse_order, invert_permutation, rearrange, sort
from graphc.primitives.sources import constant, iota, parameter, random_bits
from graphc.primitives.state import fusion, get_tuple_element, variable_assign, variable_read
from graphc.primitives.suppression import non_max_suppression
from graphc.primitives.windows import windows

__all__ = [
    "abs_", "add", "and_", "argmax", "argmin", "argsort", "atan2", "bitcast_convert", "broadcast_in_dim", "cbrt", "ceil", "cholesky",
    "clamp", "compare", "complex_", "concatenate", "conj", "constant", "convert", "convolution", "convolution_back", "convolution_filter",
    "copy", "cosine", "cumulative_logsumexp", "cumulative_max", "cumulative_min", "cumulative_prod", "cumulative_sum", "determinant",
    "divide", "dot_general", "dynamic_slice", "dynamic_update_slice", "eigenvalues", "eigh", "erf", "erfc", "exponential",
    "exponential_minus_one", "fft", "floor", "full", "fusion", "gather", "get_tuple_element", "imag", "inverse_order", "invert_permutation",
    "iota", "is_finite", "linear_recurrence", "log", "log_plus_one", "logistic", "lu", "matrix_function", "maximum", "minimum", "multiply",
    "negate", "non_max_suppression", "not_", "or_", "pad", "parameter", "power", "qr", "random_bits", "real", "rearrange", "reduce_max",
    "reduce_min", "reduce_prod", "reduce_sum", "reduce_window", "remainder", "reshape", "reverse", "round_nearest_even", "rsqrt", "scatter",
    "scatter_add", "select", "select_and_gather", "select_and_scatter", "shift_left", "shift_right_arithmetic", "shift_right_logical",
    "sign", "sine", "singular_values", "slice_", "slogdet", "solve", "sort", "sqrt", "stop_gradient", "subtract", "svd", "take", "tan",
    "tanh", "transfer", "transpose", "triangular_solve", "tridiagonal_solve", "variable_assign", "variable_read", "view_as_complex",
    "view_as_real", "windows", "xor",
]
