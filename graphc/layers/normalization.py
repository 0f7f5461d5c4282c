"""`BatchNormalization`: TF1's layer, with its moving averages, and the function that makes and calls one.

The updates of the moving averages are operations in the collection UPDATE_OPS: run them with each training step. Where `training` is a
tensor, the moments to use are chosen when the graph runs, and the updates change nothing while it is False.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import constant
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.initializers import ones_initializer
from graphc.layers.base import Function, InputSpec, Layer
from graphc.layers.core import ZEROS
from graphc.ops.array import identity, reshape, shape, size, stop_gradient
from graphc.ops.choosing import where
from graphc.ops.creation import ones_like, zeros_like
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import cast, maximum, minimum, sqrt
from graphc.ops.normalization import batch_normalization as normalised
from graphc.ops.normalization import fused_batch_norm, moments
from graphc.ops.reductions import reduce_mean
from graphc.variables import Variable

ONES = ones_initializer()
Pair = tuple[Any, Any]


class BatchNormalization(Layer):
    """(x - mean) gamma / sqrt(variance + epsilon) + beta, the moments over all axes but `axis` (S. Ioffe and C. Szegedy, arXiv:1502.03167).

    Variables: "gamma" and "beta" (where `scale` and `center`), "moving_mean" and "moving_variance", float32 for 16-bit inputs. While
    `training`, the moments are the batch's and the moving averages follow with `momentum`; else the moving averages are used.
    renorm: batch renormalization (S. Ioffe, arXiv:1702.03275), with three more variables; renorm_clipping: "rmin", "rmax", "dmax".
    virtual_batch_size: each so many rows are normalised by themselves. adjustment: a function of the inputs' shape that gives (scale, bias)
    for the normalised values while training. fused: nothing to choose here; True where it cannot be is no error, as in TF1's layer.
    """

    def __init__(self, axis: int | Sequence[int] = -1, momentum: Any = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
                 beta_initializer: Any = ZEROS, gamma_initializer: Any = ONES, moving_mean_initializer: Any = ZEROS,
                 moving_variance_initializer: Any = ONES, beta_regularizer: Function | None = None,
                 gamma_regularizer: Function | None = None, beta_constraint: Function | None = None,
                 gamma_constraint: Function | None = None, renorm: bool = False, renorm_clipping: Mapping[str, Any] | None = None,
                 renorm_momentum: Any = 0.99, fused: bool | None = None, trainable: bool = True, virtual_batch_size: int | None = None,
                 adjustment: Any = None, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(trainable, name, **kwargs)
        if not isinstance(axis, int | list | tuple):
            raise TypeError(f"axis must be int or list, type given: {type(axis)}")
        if set(renorm_clipping or {}) - {"rmax", "rmin", "dmax"}:
            raise ValueError(f"renorm_clipping {renorm_clipping} contains keys not in ['rmax', 'rmin', 'dmax']")
        self.axis = [axis] if isinstance(axis, int) else list(axis)
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, center, scale
        self._initializers = {"gamma": gamma_initializer, "beta": beta_initializer, "moving_mean": moving_mean_initializer,
                              "moving_variance": moving_variance_initializer}
        self._regularizers = {"gamma": gamma_regularizer, "beta": beta_regularizer}
        self._constraints = {"gamma": gamma_constraint, "beta": beta_constraint}
        self.renorm, self.renorm_momentum, self.renorm_clipping = renorm, renorm_momentum, dict(renorm_clipping or {})
        self.virtual_batch_size, self.adjustment = virtual_batch_size, adjustment
        self.fused = fused is None or bool(fused)
        self.gamma: Any = None
        self.beta: Any = None

    # -- variables ----------------------------------------------------------------------------------------------------------------------

    def build(self, input_shape: TensorShape) -> None:
        if not input_shape.ndims:
            raise ValueError("Input has undefined rank:", input_shape)
        dims = input_shape.as_list()
        self.axis = self._checked_axis(len(dims))
        sizes = {axis: dims[axis] for axis in self.axis}
        if None in sizes.values():
            raise ValueError("Input has undefined `axis` dimension. Input shape: ", input_shape)
        self.fused = self.fused and len(dims) == 4 and self.axis in ([1], [3]) and not (
            self.renorm or self.virtual_batch_size is not None or self.adjustment)
        self.input_spec = InputSpec(ndim=len(dims), axes=sizes)
        single = len(self.axis) == 1 and self.virtual_batch_size is None
        of_channels = [sizes[self.axis[0]]] if single else [sizes.get(axis, 1) for axis in range(len(dims))]
        if self.virtual_batch_size is not None:
            of_channels.insert(1, 1)
            self.axis = [axis + 1 for axis in self.axis]  # the virtual batches come before
        self._shape = of_channels
        if self.scale:
            self.gamma = self._weight("gamma", True)
        if self.center:
            self.beta = self._weight("beta", True)
        self.moving_mean, self.moving_variance = self._weight("moving_mean"), self._weight("moving_variance")
        if self.renorm:
            mean, deviation = self._initializers["moving_mean"], self._initial_deviation
            self._initializers |= {"moving_stddev": deviation, "renorm_mean": mean, "renorm_stddev": deviation}
            self.moving_stddev = self._weight("moving_stddev")
            self.renorm_mean, self.renorm_stddev = self._weight("renorm_mean"), self._weight("renorm_stddev")

    def _checked_axis(self, rank: int) -> list[int]:
        axes = [axis + rank if axis < 0 else axis for axis in self.axis]
        wrong = [axis for axis in axes if not 0 <= axis < rank]
        if wrong:
            raise ValueError(f"Invalid axis: {wrong[0]}")
        if len(axes) != len(set(axes)):
            raise ValueError(f"Duplicate axis: {axes}")
        if self.virtual_batch_size is not None:
            if self.virtual_batch_size <= 0:
                raise ValueError("virtual_batch_size must be a positive integer that divides the true batch size of the input Tensor")
            if 0 in axes:
                raise ValueError("When using virtual_batch_size, the batch dimension must be 0 and thus axis cannot include 0")
            if self.adjustment is not None:
                raise ValueError("When using virtual_batch_size, adjustment cannot be specified")
        return axes

    def _initial_deviation(self, shape: Any, dtype: DType) -> Tensor:
        return sqrt(self._initializers["moving_variance"](shape, dtype=dtype))

    @property
    def _kind(self) -> DType:
        """Of the variables: float32 where the inputs have 16 bits."""
        kind = self.dtype or dtypes.float32
        return dtypes.float32 if kind.size == 2 else kind

    def _weight(self, name: str, trained: bool = False) -> Variable:
        variable: Variable = self.add_weight(name, self._shape, self._kind, self._initializers[name], self._regularizers.get(name), trained,
                                             self._constraints.get(name))
        return variable

    # -- calling ------------------------------------------------------------------------------------------------------------------------

    def call(self, inputs: Tensor, training: Any = False) -> Tensor:
        training = _python_bool(training)
        if self.fused and isinstance(training, bool):
            return self._fused(inputs, training)
        if self.virtual_batch_size is None:
            return self._normalise(inputs, training)
        rows = [-1 if dim is None or axis == 0 else dim for axis, dim in enumerate(inputs.shape_tuple or ())]
        batches = reshape(inputs, [self.virtual_batch_size, -1, *rows[1:]])
        outputs = reshape(self._normalise(batches, training), rows)
        outputs.set_shape(inputs.shape_tuple)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        return TensorShape(input_shape)

    def _fused(self, inputs: Tensor, training: bool) -> Tensor:
        """All in one operation: rank 4, one axis of channels, and a known `training`."""
        gamma = self.gamma if self.scale else constant(1.0, self._kind, self._shape)
        beta = self.beta if self.center else constant(0.0, self._kind, self._shape)
        data_format = "NCHW" if self.axis == [1] else "NHWC"
        moving = (None, None) if training else (self.moving_mean, self.moving_variance)
        outputs, mean, variance = fused_batch_norm(inputs, gamma, beta, moving[0], moving[1], self.epsilon, data_format, training)
        if training:
            self._follow(self.moving_mean, mean, self.momentum, True)
            self._follow(self.moving_variance, variance, self.momentum, True)
        return outputs

    def _normalise(self, x: Tensor, training: bool | Tensor) -> Tensor:
        rank = len(x.shape_tuple or ())
        scale, offset = self._beside(self.gamma, rank), self._beside(self.beta, rank)
        mean: Any
        variance: Any
        if training is False:
            mean, variance = self.moving_mean.value(), self.moving_variance.value()
        else:
            if self.adjustment:
                scale, offset = _composed(*self._adjusted(x, training), scale, offset)
            mean, variance = self._moments(x, rank, training)
            new_mean, new_variance = mean, variance
            if self.virtual_batch_size is not None:  # one step for all virtual batches
                new_mean, new_variance = reduce_mean(mean, 1, True), reduce_mean(variance, 1, True)
            if self.renorm:
                correction, shift, new_mean, new_variance = self._renormalise(new_mean, new_variance, training)
                scale, offset = _composed(self._beside(stop_gradient(correction, "renorm_r"), rank),
                                          self._beside(stop_gradient(shift, "renorm_d"), rank), scale, offset)
            self._update(x, new_mean, new_variance, training)
        mean, variance, offset, scale = (
            None if each is None else cast(self._beside(each, rank), x.dtype) for each in (mean, variance, offset, scale))
        outputs = normalised(x, mean, variance, offset, scale, self.epsilon)
        outputs.set_shape(x.shape_tuple)
        return outputs

    def _beside(self, v: Any, rank: int) -> Any:
        """A vector of the channels in the shape that broadcasts against inputs of `rank`, where the last axis is not theirs."""
        tensor = None if v is None else as_tensor(v)
        if tensor is None or tensor.rank == rank or (len(self.axis) == 1 and self.axis[0] == rank - 1):
            return tensor
        return reshape(tensor, [self._shape[0] if axis == self.axis[0] else 1 for axis in range(rank)])

    def _moments(self, x: Tensor, rank: int, training: bool | Tensor) -> tuple[Tensor, Tensor]:
        """Those of the batch, or of the moving averages where `training` turns out False."""
        axes = [axis for axis in range(rank) if axis not in self.axis]
        keep = self.virtual_batch_size is not None or len(self.axis) > 1
        if self.virtual_batch_size is not None:
            axes.remove(1)
        mean, variance = moments(cast(x, self._kind), axes, keep_dims=keep)
        return _if(training, mean, self.moving_mean.value()), _if(training, variance, self.moving_variance.value())

    def _adjusted(self, x: Tensor, training: bool | Tensor) -> Pair:
        scale, bias = self.adjustment(shape(x))
        return _if(training, scale, ones_like(scale)), _if(training, bias, zeros_like(bias))

    # -- moving averages ----------------------------------------------------------------------------------------------------------------

    def _update(self, x: Tensor, mean: Tensor, variance: Tensor, training: bool | Tensor) -> None:
        self._follow(self.moving_mean, mean, self.momentum, training)
        if self.fused:  # as the fused operation has it: with n - 1
            count = cast(size(x), self._kind) / cast(size(variance), self._kind)
            variance = variance * (count / maximum(count - 1.0, 1.0))
        if not self.renorm:
            self._follow(self.moving_variance, variance, self.momentum, training)
            return
        deviation = self._follow(self.moving_stddev, sqrt(variance + self.epsilon), self.momentum, training, keep=False)
        squared = maximum(deviation * deviation - self.epsilon, zeros_like(deviation))
        with get_default_graph().name_scope("AssignNewValue") as scope:
            self.add_update(self.moving_variance.assign(_if(training, squared, self.moving_variance.value()), name=scope))

    def _follow(self, variable: Variable, value: Tensor, momentum: Any, training: bool | Tensor, keep: bool = True) -> Tensor:
        """Declares variable -= (1 - momentum) (variable - value), nothing where `training` turns out False; `keep`: as an update."""
        with get_default_graph().name_scope("AssignMovingAvg") as scope, get_default_graph().colocate_with(variable):
            rate = cast(as_tensor(1.0 - momentum, name="decay"), variable.dtype)
            change = (variable - cast(value, variable.dtype)) * rate
            update: Tensor = variable.assign_sub(_if(training, change, zeros_like(change)), name=scope)
        if keep:
            self.add_update(update)
        return update

    def _renormalise(self, mean: Tensor, variance: Tensor, training: bool | Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The factor and the shift that bring the batch's moments to the long averages, and the moments, after whose use those move."""
        deviation = sqrt(variance + self.epsilon)
        long_mean = self.renorm_mean.value()
        long_deviation = maximum(self.renorm_stddev.value(), sqrt(as_tensor(self.epsilon, self._kind)))
        r, d = deviation / long_deviation, (mean - long_mean) / long_deviation
        with get_default_graph().control_dependencies([r, d]):  # both use the averages as they were
            mean, deviation = identity(mean), identity(deviation)
        clip = self.renorm_clipping
        r = r if clip.get("rmin") is None else maximum(r, clip["rmin"])
        r = r if clip.get("rmax") is None else minimum(r, clip["rmax"])
        d = d if clip.get("dmax") is None else minimum(maximum(d, -clip["dmax"]), clip["dmax"])
        r, d = _if(training, r, ones_like(r)), _if(training, d, zeros_like(d))
        moved = [self._follow(kept, value, self.renorm_momentum, training, keep=False)
                 for kept, value in ((self.renorm_mean, mean), (self.renorm_stddev, deviation))]
        with get_default_graph().control_dependencies(moved):
            return r, d, identity(mean), identity(variance)


def _python_bool(training: Any) -> bool | Tensor:
    """`training` as a Python bool where it is known now: a bool, a number, a constant."""
    if not isinstance(training, Tensor | Variable):
        return bool(training)
    tensor = as_tensor(training)
    return bool(tensor.op.attrs["value"]) if tensor.op.type == "Const" else cast(tensor, dtypes.bool)


def _if(training: bool | Tensor, yes: Tensor, no: Tensor) -> Tensor:
    return where(training, yes, no) if isinstance(training, Tensor) else yes


def _composed(scale: Any, offset: Any, then_scale: Any, then_offset: Any) -> Pair:
    """(x scale + offset) then_scale + then_offset as one scale and offset."""
    if then_scale is not None:
        scale, offset = scale * then_scale, offset * then_scale
    return scale, offset if then_offset is None else offset + then_offset


def batch_normalization(
        inputs: Any, axis: int | Sequence[int] = -1, momentum: Any = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
        beta_initializer: Any = ZEROS, gamma_initializer: Any = ONES, moving_mean_initializer: Any = ZEROS,
        moving_variance_initializer: Any = ONES, beta_regularizer: Function | None = None, gamma_regularizer: Function | None = None,
        beta_constraint: Function | None = None, gamma_constraint: Function | None = None, training: Any = False, trainable: bool = True,
        name: str | None = None, reuse: Any = None, renorm: bool = False, renorm_clipping: Mapping[str, Any] | None = None,
        renorm_momentum: Any = 0.99, fused: bool | None = None, virtual_batch_size: int | None = None, adjustment: Any = None) -> Tensor:
    """(x - mean) gamma / sqrt(variance + epsilon) + beta over all axes but `axis`: see `BatchNormalization`.

    training: True (the batch's moments; run the operations of UPDATE_OPS with each step), False (the moving averages), or a bool tensor.
    """
    layer = BatchNormalization(
        axis, momentum, epsilon, center, scale, beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer,
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint, renorm, renorm_clipping, renorm_momentum, fused, trainable,
        virtual_batch_size, adjustment, name, _reuse=reuse, _scope=name)
    result: Tensor = layer(inputs, training=training)
    return result
