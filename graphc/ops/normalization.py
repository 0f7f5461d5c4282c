"""Moments and normalisation over batches, layers and channels: TF1's `nn.moments`, `nn.batch_normalization`, `nn.fused_batch_norm` and
their kin.

The two that train deep networks, "FusedBatchNormV3" and "LayerNorm", are composites with gradients of their own: the forward pass is two
reductions and a map, the way back two reductions that share a kernel, and a map.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.dtypes import DType
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dims, merge_dims, same_dims, show_dims
from graphc.ops.activations import last_axis
from graphc.ops.array import shape, squeeze
from graphc.ops.creation import zeros_like
from graphc.ops.declare import as_tensor, declare, declare_one, name_scope, normal_axis
from graphc.ops.elementwise import add, cast, multiply, reciprocal, rsqrt, square, squared_difference, subtract
from graphc.ops.reductions import mean_over, reduce_mean, reduce_prod, reduce_sum
from graphc.ops.slicing import gather
from graphc.primitives.sugar import broadcast_to, fill_like, ones_like, reduce_and_spread, size_of

_LEAST_EPSILON = 1.001e-5  # TF1's, for the sake of cuDNN


def moments(x: Any, axes: Any, shift: Any = None, name: str | None = None, keep_dims: bool | None = None,
            keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance of `x` over `axes`; float16 is computed in float32."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    with name_scope(name, "moments", [x, axes]):
        x = as_tensor(x)
        y = cast(x, dtypes.float32) if x.dtype is dtypes.float16 else x
        mean = reduce_mean(y, axes, True, "mean")
        # TF1 stops the gradient at the mean, where it is zero; but its derivative is not, so second derivatives need it.
        variance = reduce_mean(squared_difference(y, mean), axes, True, "variance")
        if not keep:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        return cast(mean, x.dtype), cast(variance, x.dtype)


def weighted_moments(x: Any, axes: Any, frequency_weights: Any, name: str | None = None, keep_dims: bool | None = None,
                     keepdims: bool | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance of `x` over `axes`, each element counted `frequency_weights` times (broadcast against x); float16 in float32."""
    keep = bool(keep_dims if keepdims is None else keepdims)
    with name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x, weights = as_tensor(x, name="x"), as_tensor(frequency_weights, name="frequency_weights")
        given = x.dtype
        y = cast(x, dtypes.float32) if given is dtypes.float16 else x
        weights = cast(weights, y.dtype)
        total = reduce_sum(weights * y, axes, True, "weighted_input_sum")
        inverse = reciprocal(reduce_sum(weights + zeros_like(y), axes, True, "sum_of_weights"), "inv_weight_sum")
        mean = multiply(total, inverse)
        variance = multiply(reduce_sum(weights * squared_difference(y, mean), axes, True, "weighted_distsq"), inverse)
        if not keep:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        return cast(mean, given), cast(variance, given)


def sufficient_statistics(x: Any, axes: Any, shift: Any = None, keep_dims: bool | None = None, name: str | None = None,
                          keepdims: bool | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(count, sum of x - shift, sum of (x - shift)^2, shift) over `axes`: what `normalize_moments` makes mean and variance of."""
    axes = sorted(set(axes))
    keep = bool(keep_dims if keepdims is None else keepdims)
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = as_tensor(x, name="x")
        dims = x.shape_tuple
        sizes = [None] if dims is None else [dims[normal_axis(axis, len(dims))] for axis in axes]
        if None not in sizes:
            count = constant(math.prod(size or 0 for size in sizes), x.dtype)
        else:
            count = reduce_prod(gather(cast(shape(x), x.dtype), axes), name="count")
        if shift is None:
            deviations, squares = x, square(x)
        else:
            shift = as_tensor(shift, x.dtype, "shift")
            deviations, squares = subtract(x, shift), squared_difference(x, shift)
        return count, reduce_sum(deviations, axes, keep, "mean_ss"), reduce_sum(squares, axes, keep, "var_ss"), shift


def normalize_moments(counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """Mean and variance from `sufficient_statistics`."""
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = reciprocal(counts, "divisor")
        shifted = multiply(mean_ss, divisor, "mean" if shift is None else "shifted_mean")
        mean = shifted if shift is None else add(shifted, shift, "mean")
        return mean, subtract(multiply(variance_ss, divisor), square(shifted), "variance")


def batch_normalization(x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any,
                        name: str | None = None) -> Tensor:
    """(x - mean) scale / sqrt(variance + epsilon) + offset (S. Ioffe and C. Szegedy, arXiv:1502.03167); scale and offset may be None."""
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        factor = rsqrt(variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        values = as_tensor(x)
        scaled = values * cast(factor, values.dtype)
        rest = offset - mean * factor if offset is not None else -mean * factor
        return scaled + cast(rest, values.dtype)


def batch_norm_with_global_normalization(t: Any = None, m: Any = None, v: Any = None, beta: Any = None, gamma: Any = None,
                                         variance_epsilon: Any = None, scale_after_normalization: bool | None = None,
                                         name: str | None = None, input: Any = None, mean: Any = None, variance: Any = None) -> Tensor:
    """`batch_normalization` under the names of TF1's oldest; `gamma` counts only where `scale_after_normalization` holds."""
    chosen = []
    for old_name, old, new_name, new in (("t", t, "input", input), ("m", m, "mean", mean), ("v", v, "variance", variance)):
        if old is not None and new is not None:
            raise ValueError(f"Cannot specify both '{old_name}' and '{new_name}'")
        chosen.append(old if new is None else new)
    return batch_normalization(chosen[0], chosen[1], chosen[2], beta, gamma if scale_after_normalization else None, variance_epsilon, name)


# batch normalisation in one operation ----------------------------------------------------------------------------------------------------

def _channel_axis(x: Node, data_format: str) -> int:
    return 1 if data_format.startswith("NC") else len(x.shape) - 1


def _wide(x: Node) -> DType:
    """The type that 16-bit floats are computed in, else that of `x`."""
    return dtypes.float32 if x.dtype.size == 2 else x.dtype


class _Batch:
    """`x` seen as channels: what the forward pass and the gradient of a batch normalisation both need.

    No kernel stores the distance from the mean for another to read: each makes it of `x`. A value with two readers would be stored, so the
    distance has three forms: mean - x for the variance, x - mean for sums, and a x + b, the mean in b, where `x` is mapped.
    """

    def __init__(self, x: Node, data_format: str) -> None:
        self.channel = _channel_axis(x, data_format)
        self.x = p.convert(x, _wide(x))
        self.axes = tuple(axis for axis in range(len(x.shape)) if axis != self.channel)

    def spread(self, v: Node) -> Node:
        """One value per channel, beside each element of the channel."""
        return p.broadcast_in_dim(v, self.x.shape, (self.channel,))

    def total(self, x: Node) -> Node:
        return p.reduce_sum(x, self.axes)

    def count(self, like: Node) -> Node:
        """How many elements a channel has, once for each channel."""
        return broadcast_to(size_of(self.x, self.axes, like.dtype), like.shape)

    def moments(self) -> tuple[Node, Node]:
        """Mean, and the mean square of the distance from it: no precision is lost where the mean is far from 0."""
        mean = mean_over(self.x, self.axes)
        distance = p.subtract(self.spread(mean), self.x)
        return mean, mean_over(p.multiply(distance, distance), self.axes)

    def total_with_distance(self, flow: Node, mean: Node) -> Node:
        """The sum of flow (x - mean)."""
        return self.total(p.multiply(flow, p.subtract(self.x, self.spread(mean))))

    def mapped(self, mean: Node, factor: Node, offset: Node) -> Node:
        """(x - mean) factor + offset."""
        return p.add(p.multiply(self.x, self.spread(factor)), self.spread(p.subtract(offset, p.multiply(mean, factor))))

    def unbiased(self, variance: Node) -> Node:
        """The factor n / (n - 1), 1 of a single element."""
        count = self.count(variance)
        return p.divide(count, p.maximum(p.subtract(count, ones_like(count)), ones_like(count)))


def _inverse_deviation(variance: Node, epsilon: float) -> Node:
    return p.rsqrt(p.add(variance, fill_like(variance, epsilon)))


def _fused_batch_norm_gradient(x: Node, scale: Node, offset: Node, mean: Node, variance: Node, y: Node, batch_mean: Node,
                               batch_variance: Node, g: Node | None, g_mean: Node | None, g_variance: Node | None, *, epsilon: float,
                               data_format: str, is_training: bool) -> Sequence[Node | None]:
    """Training, by x: scale / deviation (g - mean(g) - n mean(g n)), n the normalised x (S. Ioffe and C. Szegedy, arXiv:1502.03167,
    section 3), and what flows to the batch's mean and variance. Else the moments are inputs like any other."""
    batch = _Batch(x, data_format)
    centre, spread_of = batch.moments() if is_training else (mean, variance)
    inverse = _inverse_deviation(spread_of, epsilon)
    factor = p.multiply(inverse, scale)
    by_x = by_scale = by_offset = by_mean = by_variance = None
    if g is not None:
        flow = p.convert(g, batch.x.dtype)
        by_offset = batch.total(flow)
        by_scale = p.multiply(batch.total_with_distance(flow, centre), inverse)  # the sum of g n
        by_x = p.multiply(flow, batch.spread(factor))
        if is_training:
            share = p.divide(factor, batch.count(factor))
            by_distance = p.negate(p.multiply(share, p.multiply(inverse, by_scale)))
            by_x = p.add(by_x, batch.mapped(centre, by_distance, p.negate(p.multiply(share, by_offset))))
        else:
            by_mean = p.negate(p.multiply(by_offset, factor))
            half = fill_like(inverse, -0.5)
            by_variance = p.multiply(p.multiply(by_scale, scale), p.multiply(half, p.multiply(inverse, inverse)))
    if g_mean is not None:
        if is_training:
            by_x = _sum(by_x, batch.spread(p.divide(g_mean, batch.count(g_mean))))
        else:
            by_mean = _sum(by_mean, g_mean)
    if g_variance is not None:
        if is_training:
            by_distance = p.multiply(p.divide(p.add(g_variance, g_variance), batch.count(g_variance)), batch.unbiased(g_variance))
            by_x = _sum(by_x, batch.mapped(centre, by_distance, fill_like(centre, 0)))
        else:
            by_variance = _sum(by_variance, g_variance)
    return (None if by_x is None else p.convert(by_x, x.dtype), by_scale, by_offset, by_mean, by_variance)


def _sum(x: Node | None, y: Node) -> Node:
    return y if x is None else p.add(x, y)


@composite("FusedBatchNormV3", gradient=_fused_batch_norm_gradient)
def FUSED_BATCH_NORM(x: Node, scale: Node, offset: Node, mean: Node, variance: Node, *, epsilon: float = 1e-4, data_format: str = "NHWC",
                     is_training: bool = True) -> Sequence[Node]:
    """`x` normalised per channel, and the mean and variance: of the batch while training (the variance times n / (n - 1), as TF1 gives
    it for the moving average; the normalisation itself uses that of the batch), else as given."""
    if len(x.shape) != 4:
        raise ValueError(f"x must be 4-dimensional, not of rank {len(x.shape)}")
    channel = _channel_axis(x, data_format)
    channels: Dims = (x.shape[channel],)
    for each, what in ((scale, "scale"), (offset, "offset"), *(() if is_training else ((mean, "mean"), (variance, "variance")))):
        if not same_dims(each.shape, channels):
            raise ValueError(f"{what} must be a vector of an element for each of {channels[0]} channels, not of shape "
                             f"{show_dims(each.shape)}")
        if each.dtype is not _wide(x):
            raise TypeError(f"Input '{what}' of 'FusedBatchNormV3' Op has type {each.dtype.name} that does not match expected type of "
                            f"{_wide(x).name}.")
        channels = merge_dims(channels, each.shape)
    batch = _Batch(p.reshape(x, (*x.shape[:channel], *channels, *x.shape[channel + 1:])), data_format)
    centre, spread_of = batch.moments() if is_training else (mean, variance)
    factor = p.multiply(_inverse_deviation(spread_of, epsilon), scale)
    y = batch.mapped(centre, factor, offset)
    given = p.multiply(spread_of, batch.unbiased(spread_of)) if is_training else spread_of
    return p.convert(y, x.dtype), centre, given


def fused_batch_norm(x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 0.001,
                     data_format: str = "NHWC", is_training: bool = True, name: str | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """(y, mean, variance): y = scale (x - mean) / sqrt(variance + epsilon) + offset per channel of `x` of rank 4 (S. Ioffe and C. Szegedy,
    arXiv:1502.03167); the batch's moments while `is_training`, with the unbiased variance as output, else those given.

    data_format: "NHWC" or "NCHW". A 16-bit `x` takes float32 for all else and is computed in it. An epsilon below 1.001e-5 counts as that.
    ValueError where `mean` or `variance` is given while training.
    """
    if is_training and (mean is not None or variance is not None):
        raise ValueError("Both 'mean' and 'variance' must be None if is_training is True.")
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(f"Value for attr 'data_format' of \"{data_format}\" is not in the list of allowed values: \"NHWC\", \"NCHW\"")
    values = as_tensor(x, name="input")
    given = [as_tensor(scale, name="scale"), as_tensor(offset, name="offset")]
    given += [constant([], given[0].dtype) if each is None else as_tensor(each) for each in (mean, variance)]
    inputs = dict(zip(("x", "scale", "offset", "mean", "variance"), (values, *given), strict=True))
    attrs = {"epsilon": max(float(epsilon), _LEAST_EPSILON), "data_format": data_format, "is_training": bool(is_training)}
    other: dict[str, DType | None] = dict.fromkeys(("scale", "offset", "mean", "variance"))
    y, batch_mean, batch_variance = declare(FUSED_BATCH_NORM, inputs, attrs, name, other=other).outputs
    return y, batch_mean, batch_variance


# layer normalisation ---------------------------------------------------------------------------------------------------------------------

def _normalised(x: Node, epsilon: float) -> tuple[Node, Node]:
    """x with mean 0 and variance 1 along the last axis, and 1 / sqrt(variance + epsilon) beside each element."""
    centred = p.subtract(x, reduce_and_spread(mean_over, x, last_axis(x)))
    variance = mean_over(p.multiply(centred, centred), last_axis(x))
    scale = p.rsqrt(p.add(variance, fill_like(variance, epsilon)))
    spread = p.broadcast_in_dim(scale, x.shape, range(len(x.shape) - 1))
    return p.multiply(centred, spread), spread


def _layer_norm_gradient(x: Node, scale: Node, offset: Node, y: Node, g: Node, *, epsilon: float) -> Sequence[Node | None]:
    """By x: (h - mean(h) - n mean(h n)) / deviation, where n is the normalised x and h = g scale."""
    wide = dtypes.float32 if x.dtype.size == 2 else x.dtype
    n, inverse = _normalised(p.convert(x, wide), epsilon)
    flow = p.convert(g, wide)
    h = p.multiply(flow, broadcast_to(p.convert(scale, wide), n.shape))
    by_n = p.multiply(n, reduce_and_spread(mean_over, p.multiply(h, n), last_axis(n)))
    by_x = p.multiply(inverse, p.subtract(p.subtract(h, reduce_and_spread(mean_over, h, last_axis(n))), by_n))
    rows = tuple(range(len(x.shape) - 1))
    by_scale, by_offset = p.reduce_sum(p.multiply(flow, n), rows), p.reduce_sum(flow, rows)
    return (p.convert(by_x, x.dtype), p.convert(by_scale, x.dtype), p.convert(by_offset, x.dtype))


@composite("LayerNorm", gradient=_layer_norm_gradient)
def LAYER_NORM(x: Node, scale: Node, offset: Node, *, epsilon: float = 1e-6) -> Node:
    """Mean 0 and variance 1 along the last axis, then scale and offset: the centred variance keeps its accuracy for any mean."""
    (last,) = last_axis(x)
    for each, what in ((scale, "scale"), (offset, "offset")):
        if not same_dims(each.shape, (x.shape[last],)):
            raise ValueError(f"{what} must be a vector of the size of the last axis, {x.shape[last]}, not of shape {show_dims(each.shape)}")
    wide = dtypes.float32 if x.dtype.size == 2 else x.dtype
    n, _ = _normalised(p.convert(x, wide), epsilon)
    scaled = p.multiply(n, broadcast_to(p.convert(scale, wide), n.shape))
    return p.convert(p.add(scaled, broadcast_to(p.convert(offset, wide), n.shape)), x.dtype)


def layer_norm(x: Any, scale: Any, offset: Any, epsilon: float = 1e-6, name: str | None = None) -> Tensor:
    """Mean 0 and variance 1 along the last axis, times `scale` plus `offset` (J. L. Ba et al., arXiv:1607.06450)."""
    return declare_one(LAYER_NORM, {"x": x, "scale": scale, "offset": offset}, {"epsilon": float(epsilon)}, name)
