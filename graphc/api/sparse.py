"""TF1's `sparse`: tensors of which most elements are zero."""
from graphc.ops.segments import sparse_segment_mean as segment_mean
from graphc.ops.segments import sparse_segment_sqrt_n as segment_sqrt_n
from graphc.ops.segments import sparse_segment_sum as segment_sum
from graphc.ops.sparse import sparse_reduce_max as reduce_max
from graphc.ops.sparse import sparse_reduce_sum as reduce_sum
from graphc.ops.sparse import sparse_softmax as softmax
from graphc.ops.sparse import sparse_tensor_dense_matmul as matmul
from graphc.ops.sparse import sparse_tensor_dense_matmul as sparse_dense_matmul
from graphc.ops.sparse import sparse_tensor_to_dense as to_dense
from graphc.ops.sparse_structure import from_dense
from graphc.ops.sparse_structure import sparse_add as add
from graphc.ops.sparse_structure import sparse_concat as concat
from graphc.ops.sparse_structure import sparse_expand_dims as expand_dims
from graphc.ops.sparse_structure import sparse_eye as eye
from graphc.ops.sparse_structure import sparse_fill_empty_rows as fill_empty_rows
from graphc.ops.sparse_structure import sparse_mask as mask
from graphc.ops.sparse_structure import sparse_maximum as maximum
from graphc.ops.sparse_structure import sparse_merge as merge
from graphc.ops.sparse_structure import sparse_minimum as minimum
from graphc.ops.sparse_structure import sparse_reduce_max_sparse as reduce_max_sparse
from graphc.ops.sparse_structure import sparse_reduce_sum_sparse as reduce_sum_sparse
from graphc.ops.sparse_structure import sparse_reorder as reorder
from graphc.ops.sparse_structure import sparse_reset_shape as reset_shape
from graphc.ops.sparse_structure import sparse_reshape as reshape
from graphc.ops.sparse_structure import sparse_retain as retain
from graphc.ops.sparse_structure import sparse_slice as slice
from graphc.ops.sparse_structure import sparse_split as split
from graphc.ops.sparse_structure import sparse_to_indicator as to_indicator
from graphc.ops.sparse_structure import sparse_transpose as transpose
from graphc.ops.sparse_tensor import SparseTensor
from graphc.ops.sparse_tensor import sparse_placeholder as placeholder

__all__ = [
    "SparseTensor", "add", "concat", "expand_dims", "eye", "fill_empty_rows", "from_dense", "mask", "matmul", "maximum", "merge",
    "minimum", "placeholder", "reduce_max", "reduce_max_sparse", "reduce_sum", "reduce_sum_sparse", "reorder", "reset_shape", "reshape",
    "retain", "segment_mean", "segment_sqrt_n", "segment_sum", "slice", "softmax", "sparse_dense_matmul", "split", "to_dense",
    "to_indicator", "transpose",
]
