"""TF1's `nn`: activations, losses on logits, normalisation, convolution, pooling, embeddings."""
from graphc.ops.activations import elu, gelu, leaky_relu, log_softmax, relu, relu6, selu, softmax, softsign, swish
from graphc.ops.elementwise import log_sigmoid, sigmoid, softplus, tanh
from graphc.ops.embedding import embedding_lookup
from graphc.ops.entropy import (
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
    weighted_cross_entropy_with_logits,
)
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
from graphc.ops.reductions import l2_loss, l2_normalize
from graphc.ops.sparse_embedding import embedding_lookup_sparse, safe_embedding_lookup_sparse

__all__ = [
    "batch_norm_with_global_normalization", "batch_normalization", "bias_add", "crelu", "dropout", "elu", "embedding_lookup",
    "embedding_lookup_sparse", "fused_batch_norm", "gelu", "l2_loss", "l2_normalize", "layer_norm", "leaky_relu", "log_poisson_loss",
    "log_sigmoid", "log_softmax", "moments", "normalize_moments", "relu", "relu6", "relu_layer", "safe_embedding_lookup_sparse", "selu",
    "sigmoid", "sigmoid_cross_entropy_with_logits", "softmax", "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2", "softplus", "softsign", "sparse_softmax_cross_entropy_with_logits", "sufficient_statistics",
    "swish", "tanh", "weighted_cross_entropy_with_logits", "weighted_moments", "xw_plus_b", "zero_fraction",
]
