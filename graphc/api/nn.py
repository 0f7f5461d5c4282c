"""TF1's `nn`: activations, losses on logits, normalisation, convolution, pooling, embeddings."""
from graphc.ops.activations import elu, gelu, leaky_relu, log_softmax, relu, relu6, selu, softmax, softsign, swish
from graphc.ops.attention import scaled_dot_product_attention
from graphc.ops.candidate_sampling import (
    all_candidate_sampler,
    compute_accidental_hits,
    fixed_unigram_candidate_sampler,
    log_uniform_candidate_sampler,
    nce_loss,
    sampled_softmax_loss,
    uniform_candidate_sampler,
)
from graphc.ops.convolution import (
    atrous_conv2d,
    atrous_conv2d_transpose,
    conv1d,
    conv1d_transpose,
    conv2d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
    conv3d,
    conv3d_backprop_filter,
    conv3d_backprop_filter_v2,
    conv3d_transpose,
    conv_transpose,
    convolution,
)
from graphc.ops.depthwise import (
    depthwise_conv2d,
    depthwise_conv2d_backprop_filter,
    depthwise_conv2d_backprop_input,
    depthwise_conv2d_native,
    depthwise_conv2d_native_backprop_filter,
    depthwise_conv2d_native_backprop_input,
    separable_conv2d,
)
from graphc.ops.elementwise import log_sigmoid, sigmoid, softplus, tanh
from graphc.ops.embedding import embedding_lookup
from graphc.ops.entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
    weighted_cross_entropy_with_logits,
)
from graphc.ops.losses import compute_average_loss, scale_regularization_loss
from graphc.ops.nn import (
    bias_add,
    crelu,
    dropout,
    log_poisson_loss,
    relu_layer,
    xw_plus_b,
    zero_fraction,
)
from graphc.ops.normalization import (
    batch_norm_with_global_normalization,
    batch_normalization,
    fused_batch_norm,
    layer_norm,
    moments,
    normalize_moments,
    sufficient_statistics,
    weighted_moments,
)
from graphc.ops.ordering import in_top_k, top_k
from graphc.ops.patches import depth_to_space, dilation2d, erosion2d, space_to_batch, space_to_depth
from graphc.ops.pooling import (
    avg_pool,
    avg_pool1d,
    avg_pool3d,
    avg_pool_v2,
    local_response_normalization,
    lrn,
    max_pool,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_pool_v2,
    max_pool_with_argmax,
    pool,
)
from graphc.ops.pooling import avg_pool as avg_pool2d
from graphc.ops.reductions import l2_loss, l2_normalize
from graphc.ops.sparse_embedding import embedding_lookup_sparse, safe_embedding_lookup_sparse

__all__ = [
    "all_candidate_sampler", "atrous_conv2d", "atrous_conv2d_transpose", "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d",
    "avg_pool_v2", "batch_norm_with_global_normalization", "batch_normalization", "bias_add", "compute_accidental_hits",
    "compute_average_loss", "conv1d", "conv1d_transpose", "conv2d", "conv2d_backprop_filter", "conv2d_backprop_input",
    "conv2d_transpose", "conv3d", "conv3d_backprop_filter", "conv3d_backprop_filter_v2", "conv3d_transpose", "conv_transpose",
    "convolution", "crelu", "depth_to_space", "depthwise_conv2d", "depthwise_conv2d_backprop_filter", "depthwise_conv2d_backprop_input",
    "depthwise_conv2d_native", "depthwise_conv2d_native_backprop_filter", "depthwise_conv2d_native_backprop_input", "dilation2d",
    "dropout", "elu", "embedding_lookup", "embedding_lookup_sparse", "erosion2d", "fixed_unigram_candidate_sampler", "fused_batch_norm",
    "gelu", "in_top_k", "l2_loss", "l2_normalize", "layer_norm", "leaky_relu", "local_response_normalization", "log_poisson_loss",
    "log_sigmoid", "log_softmax", "log_uniform_candidate_sampler", "lrn", "max_pool", "max_pool1d", "max_pool2d", "max_pool3d",
    "max_pool_v2", "max_pool_with_argmax", "moments", "nce_loss", "normalize_moments", "pool", "relu", "relu6", "relu_layer",
    "safe_embedding_lookup_sparse", "sampled_softmax_loss", "scale_regularization_loss", "scaled_dot_product_attention", "selu",
    "separable_conv2d", "sigmoid", "sigmoid_cross_entropy_with_logits", "softmax", "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2", "softplus", "softsign", "space_to_batch", "space_to_depth",
    "sparse_softmax_cross_entropy_with_logits", "sufficient_statistics", "swish", "tanh", "top_k", "uniform_candidate_sampler",
    "weighted_cross_entropy_with_logits", "weighted_moments", "xw_plus_b", "zero_fraction",
]
