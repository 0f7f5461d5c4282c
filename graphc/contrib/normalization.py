"""TF1's `contrib.layers` of normalisation: over batches, layers, groups of channels and single pictures."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.contrib.framework import add_arg_scope, model_variable
from graphc.contrib.outputs import collected, keep_variable, model_getter
from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.initializers import ones_initializer, zeros_initializer
from graphc.layers.base import Function
from graphc.layers.normalization import BatchNormalization
from graphc.ops.array import identity, reshape, shape
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import maximum, square
from graphc.ops.normalization import batch_normalization as normalised
from graphc.ops.normalization import layer_norm as layer_normalised
from graphc.ops.normalization import moments
from graphc.ops.reductions import reduce_mean
from graphc.variable_scope import variable_scope

_ZEROS, _ONES = zeros_initializer(), ones_initializer()
Initializers = Mapping[str, Any] | None


@add_arg_scope
def batch_norm(inputs: Any, decay: Any = 0.999, center: bool = True, scale: bool = False, epsilon: float = 0.001,
               activation_fn: Function | None = None, param_initializers: Initializers = None, param_regularizers: Initializers = None,
               updates_collections: str | None = GraphKeys.UPDATE_OPS, is_training: Any = True, reuse: Any = None,
               variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True, batch_weights: Any = None,
               fused: bool | None = None, data_format: str = "NHWC", zero_debias_moving_mean: bool = False, scope: str | None = None,
               renorm: bool = False, renorm_clipping: Mapping[str, Any] | None = None, renorm_decay: Any = 0.99,
               adjustment: Any = None) -> Tensor:
    """Batch normalisation, in training unless `is_training` is False (a bool or a bool tensor); see `layers.BatchNormalization`.

    updates_collections: where the operations that move the averages are kept; None: the output waits for them. Rows [batch, channels] are
    normalised as pictures of one point, with the unbiased variance in the moving average, unless `fused` is False.
    ValueError for batch_weights and zero_debias_moving_mean, which have no counterpart here.
    """
    if data_format not in ("NCHW", "NHWC"):
        raise ValueError("data_format has to be either NCHW or NHWC.")
    if batch_weights is not None or zero_debias_moving_mean:
        raise ValueError("batch_norm takes neither batch_weights nor zero_debias_moving_mean")
    x = as_tensor(inputs)
    if x.rank is None:
        raise ValueError(f"Inputs {x.name} has undefined rank")
    with variable_scope(scope, "BatchNorm", [x], reuse=reuse, custom_getter=model_getter({})) as inner:
        started, regularized = param_initializers or {}, param_regularizers or {}
        layer = BatchNormalization(
            1 if data_format == "NCHW" else -1, decay, epsilon, center, scale, started.get("beta", _ZEROS), started.get("gamma", _ONES),
            started.get("moving_mean", _ZEROS), started.get("moving_variance", _ONES), regularized.get("beta"), regularized.get("gamma"),
            renorm=renorm, renorm_clipping=renorm_clipping, renorm_momentum=renorm_decay, fused=fused, trainable=trainable,
            adjustment=adjustment, name=inner.name, _scope=inner, _reuse=reuse)
        kept = get_default_graph().get_collection_ref(GraphKeys.UPDATE_OPS)
        before = len(kept)
        as_pictures = x.rank == 2 and fused is not False and not renorm and adjustment is None
        depth = x.shape.as_list()[-1]
        given = reshape(x, [-1, depth, 1, 1] if data_format == "NCHW" else [-1, 1, 1, depth]) if as_pictures else x
        outputs = layer(given, training=is_training)
        if updates_collections != GraphKeys.UPDATE_OPS:
            del kept[before:]
        outputs = _updated(outputs, layer, updates_collections)
        if as_pictures:
            outputs = reshape(outputs, shape(x))
            outputs.set_shape(x.shape)
        for name in ("beta", "gamma", "moving_mean", "moving_variance"):
            keep_variable(getattr(layer, name, None), variables_collections, name)
        return collected(outputs_collections, outputs if activation_fn is None else activation_fn(outputs))


def _updated(outputs: Tensor, layer: BatchNormalization, updates_collections: str | None) -> Tensor:
    """`outputs`; with no collection for the updates, only after them."""
    if updates_collections is None:
        with get_default_graph().control_dependencies(layer.updates):
            return identity(outputs)
    if updates_collections != GraphKeys.UPDATE_OPS:
        for update in layer.updates:
            get_default_graph().add_to_collections(updates_collections, update)
    return outputs


def _parameter(name: str, wanted: bool, dims: Sequence[int], x: Tensor, initializers: Initializers, default: Any, collections: Any,
               trainable: bool) -> Any:
    """The model variable `name` of shape `dims`, None where it is not wanted."""
    if not wanted:
        return None
    made = model_variable(name, list(dims), x.dtype, (initializers or {}).get(name, default), trainable=trainable)
    keep_variable(made, collections, name)
    return made


@add_arg_scope
def layer_norm(inputs: Any, center: bool = True, scale: bool = True, activation_fn: Function | None = None, reuse: Any = None,
               variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True, begin_norm_axis: int = 1,
               begin_params_axis: int = -1, scope: str | None = None) -> Tensor:
    """Mean 0 and variance 1 over the axes from `begin_norm_axis` on, then gamma and beta of the dims from `begin_params_axis` on (J. L. Ba
    et al., arXiv:1607.06450)."""
    x = as_tensor(inputs)
    if x.rank is None:
        raise ValueError(f"Inputs {x.name} has undefined rank.")
    first = begin_norm_axis + x.rank if begin_norm_axis < 0 else begin_norm_axis
    if begin_params_axis >= x.rank or first >= x.rank:
        raise ValueError(f"begin_params_axis ({begin_params_axis}) and begin_norm_axis ({begin_norm_axis}) must be < rank(inputs) "
                         f"({x.rank})")
    given = x.shape.as_list()[begin_params_axis:]
    dims = [dim for dim in given if dim is not None]
    if len(dims) < len(given):
        raise ValueError(f"Inputs {x.name}: shape(inputs)[{begin_params_axis}:] is not fully defined: {x.shape}")
    with variable_scope(scope, "LayerNorm", [x], reuse=reuse):
        beta = _parameter("beta", center, dims, x, None, _ZEROS, variables_collections, trainable)
        gamma = _parameter("gamma", scale, dims, x, None, _ONES, variables_collections, trainable)
        epsilon = 1e-3 if x.dtype is dtypes.float16 else 1e-12
        if first == x.rank - 1 and len(dims) == 1:  # one operation does all
            one, zero = (each if each is not None else constant(value, x.dtype, dims) for each, value in ((gamma, 1), (beta, 0)))
            outputs = layer_normalised(x, one, zero, epsilon)
        else:
            mean, variance = moments(x, list(range(first, x.rank)), keep_dims=True)
            outputs = normalised(x, mean, variance, beta, gamma, epsilon)
        outputs.set_shape(x.shape)
        return collected(outputs_collections, outputs if activation_fn is None else activation_fn(outputs))


@add_arg_scope
def instance_norm(inputs: Any, center: bool = True, scale: bool = True, epsilon: float = 1e-6, activation_fn: Function | None = None,
                  param_initializers: Initializers = None, reuse: Any = None, variables_collections: Any = None,
                  outputs_collections: Any = None, trainable: bool = True, data_format: str = "NHWC", scope: str | None = None) -> Tensor:
    """Mean 0 and variance 1 over the space of each channel of each picture, then gamma and beta per channel (D. Ulyanov et al.,
    arXiv:1607.08022)."""
    x = as_tensor(inputs)
    if x.rank is None:
        raise ValueError(f"Inputs {x.name} has undefined rank.")
    if data_format not in ("NCHW", "NHWC"):
        raise ValueError("data_format has to be either NCHW or NHWC.")
    with variable_scope(scope, "InstanceNorm", [x], reuse=reuse):
        channel = 1 if data_format == "NCHW" else x.rank - 1
        depth = x.shape.as_list()[channel]
        if depth is None:
            raise ValueError(f"Inputs {x.name} has undefined channels dimension ({depth},).")
        beta = _parameter("beta", center, [depth], x, param_initializers, _ZEROS, variables_collections, trainable)
        gamma = _parameter("gamma", scale, [depth], x, param_initializers, _ONES, variables_collections, trainable)
        if data_format == "NCHW":
            wide = [1, depth, *[1] * (x.rank - 2)]
            beta, gamma = (None if each is None else reshape(each, wide) for each in (beta, gamma))
        mean, variance = moments(x, [axis for axis in range(1, x.rank) if axis != channel], keep_dims=True)
        outputs = normalised(x, mean, variance, beta, gamma, epsilon)
        outputs.set_shape(x.shape)
        return collected(outputs_collections, outputs if activation_fn is None else activation_fn(outputs))


@add_arg_scope
def group_norm(inputs: Any, groups: int = 32, channels_axis: int = -1, reduction_axes: Sequence[int] = (-3, -2), center: bool = True,
               scale: bool = True, epsilon: float = 1e-6, activation_fn: Function | None = None, param_initializers: Initializers = None,
               reuse: Any = None, variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
               scope: str | None = None, mean_close_to_zero: bool = False) -> Tensor:
    """Mean 0 and variance 1 over `reduction_axes` and each of `groups` of neighbouring channels, then gamma and beta per channel (Y. Wu and
    K. He, arXiv:1803.08494). mean_close_to_zero: the variance as mean(x^2) - mean(x)^2, in one walk."""
    x = as_tensor(inputs)
    rank = x.rank
    if rank is None:
        raise ValueError(f"Inputs {x.name} has undefined rank.")
    if not -rank <= channels_axis < rank:
        raise ValueError("Axis is out of bounds.")
    channel = channels_axis % rank
    axes = [axis % rank for axis in reduction_axes]
    if channel in axes:
        raise ValueError(f"reduction_axis must be mutually exclusive with channels_axis: {list(reduction_axes)}, {channels_axis}")
    dims = x.shape.as_list()
    depth = dims[channel]
    if depth is None:
        raise ValueError(f"Inputs {x.name} has undefined channel dimension: {dims}.")
    if groups > depth:
        raise ValueError(f"Invalid groups {groups} for {depth} channels.")
    if depth % groups:
        raise ValueError(f"{depth} channels is not commensurate with {groups} groups.")
    sizes = shape(x)
    known = [sizes[axis] if dim is None else dim for axis, dim in enumerate(dims)]
    split = [*known[:channel], groups, depth // groups, *known[channel + 1:]]
    moved = [axis + (axis > channel) for axis in axes] + [channel + 1]  # one more axis since the channels are split
    wide = [1] * (rank + 1)
    wide[channel:channel + 2] = [groups, depth // groups]
    with variable_scope(scope, "GroupNorm", [x], reuse=reuse):
        beta = _parameter("beta", center, [depth], x, param_initializers, _ZEROS, variables_collections, trainable)
        gamma = _parameter("gamma", scale, [depth], x, param_initializers, _ONES, variables_collections, trainable)
        beta, gamma = (None if each is None else reshape(each, wide) for each in (beta, gamma))
        grouped = reshape(x, split)
        if mean_close_to_zero:
            mean = reduce_mean(grouped, sorted(moved), True)
            variance = maximum(reduce_mean(square(grouped), sorted(moved), True) - square(mean), 0.0)
        else:
            mean, variance = moments(grouped, sorted(moved), keep_dims=True)
        outputs = reshape(normalised(grouped, mean, variance, beta, gamma, epsilon), known)
        outputs.set_shape(x.shape)
        return collected(outputs_collections, outputs if activation_fn is None else activation_fn(outputs))
