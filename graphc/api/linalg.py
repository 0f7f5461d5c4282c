"""TF1's `linalg`: matrices, their factors and solutions."""
from graphc.ops.array import matrix_transpose
from graphc.ops.array import matrix_transpose as transpose
from graphc.ops.clipping import global_norm
from graphc.ops.einsum import einsum
from graphc.ops.linalg import cholesky, cholesky_solve, logdet, lu, matrix_rank, pinv, qr, slogdet, svd
from graphc.ops.linalg import matrix_determinant as det
from graphc.ops.linalg import matrix_inverse as inv
from graphc.ops.linalg import matrix_solve as solve
from graphc.ops.linalg import matrix_solve_ls as lstsq
from graphc.ops.linalg import matrix_triangular_solve as triangular_solve
from graphc.ops.linalg import self_adjoint_eig as eigh
from graphc.ops.linalg import self_adjoint_eigvals as eigvalsh
from graphc.ops.linear import matmul, tensordot
from graphc.ops.matrices import adjoint, cross, eye, matvec, trace
from graphc.ops.matrices import diag as tensor_diag
from graphc.ops.matrices import diag_part as tensor_diag_part
from graphc.ops.matrices import matrix_band_part as band_part
from graphc.ops.matrices import matrix_diag as diag
from graphc.ops.matrices import matrix_diag_part as diag_part
from graphc.ops.matrices import matrix_set_diag as set_diag
from graphc.ops.matrix_functions import expm, logm, sqrtm, tridiagonal_matmul, tridiagonal_solve
from graphc.ops.norms import norm, normalize
from graphc.ops.reductions import l2_normalize

__all__ = [
    "adjoint", "band_part", "cholesky", "cholesky_solve", "cross", "det", "diag", "diag_part", "eigh", "eigvalsh", "einsum", "expm", "eye",
    "global_norm", "inv", "l2_normalize", "logdet", "logm", "lstsq", "lu", "matmul", "matrix_rank", "matrix_transpose", "matvec", "norm",
    "normalize", "pinv", "qr", "set_diag", "slogdet", "solve", "sqrtm", "svd", "tensor_diag", "tensor_diag_part", "tensordot", "trace",
    "transpose", "triangular_solve", "tridiagonal_matmul", "tridiagonal_solve",
]
