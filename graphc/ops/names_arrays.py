"""Top-level names of arrays: shapes, movements, indexing, order, products. A list; `graphc.ops` offers them."""
from graphc.ops.aliases import batch_matmul, complex_abs, concat_v2, inv, mul, neg, pack, select, sub, unpack
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
from graphc.ops.choosing import where, where_v2
from graphc.ops.creation import fill, linspace, one_hot, ones, ones_like, zeros, zeros_like
from graphc.ops.creation import linspace as lin_space
from graphc.ops.einsum import einsum
from graphc.ops.gathering import batch_gather, gather, gather_nd
from graphc.ops.image_geometry import random_crop
from graphc.ops.joining import concat, pad, reverse, split, stack, tile, unstack
from graphc.ops.joining import reverse as reverse_v2
from graphc.ops.linear import matmul, tensordot
from graphc.ops.ordering import argsort, invert_permutation, searchsorted, sort
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
from graphc.ops.unique import setdiff1d, unique, unique_with_counts

__all__ = [
    "argsort", "batch_gather", "batch_matmul", "batch_scatter_update", "batch_to_space", "batch_to_space_nd", "boolean_mask",
    "broadcast_dynamic_shape", "broadcast_static_shape", "broadcast_to", "complex_abs", "concat", "concat_v2", "depth_to_space",
    "dynamic_partition", "dynamic_stitch", "einsum", "ensure_shape", "expand_dims", "extract_image_patches", "extract_volume_patches",
    "fill", "gather", "gather_nd", "identity", "identity_n", "inv", "invert_permutation", "lin_space", "linspace", "matmul",
    "matrix_transpose", "meshgrid", "mul", "neg", "one_hot", "ones", "ones_like", "pack", "pad", "parallel_stack", "random_crop", "range",
    "rank", "repeat", "reshape", "reverse", "reverse_sequence", "reverse_v2", "roll", "scatter_add", "scatter_div", "scatter_max",
    "scatter_min", "scatter_mul", "scatter_nd", "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update", "scatter_sub", "scatter_update",
    "searchsorted", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "select", "sequence_mask", "setdiff1d",
    "shape", "shape_n", "size", "slice", "sort", "space_to_batch", "space_to_batch_nd", "space_to_depth", "sparse_segment_mean",
    "sparse_segment_sqrt_n", "sparse_segment_sum", "split", "squeeze", "stack", "stop_gradient", "strided_slice", "sub",
    "tensor_scatter_add", "tensor_scatter_nd_add", "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "tensor_scatter_sub",
    "tensor_scatter_update", "tensordot", "tile", "transpose", "unique", "unique_with_counts", "unpack", "unravel_index",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n",
    "unsorted_segment_sum", "unstack", "where", "where_v2", "zeros", "zeros_like",
]
