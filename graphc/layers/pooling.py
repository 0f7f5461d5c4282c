"""Layers of pooling: the greatest or the mean of windows over one, two and three spatial axes; with the functions of TF1's `layers`."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.layers.base import InputSpec, Layer
from graphc.layers.convolutional import FORMATS, padding_of, per_axis, window_length
from graphc.layers.core import data_format_of
from graphc.ops.array import expand_dims, squeeze
from graphc.ops.pooling import avg_pool, avg_pool3d, max_pool, max_pool3d


class _Pooling(Layer):
    """A number for each window of `pool_size` (one integer, or one for each spatial axis), `strides` apart (None: side by side)."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last", name: str | None = None,
                 **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = per_axis(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else per_axis(strides, self.rank, "strides")
        self.padding = padding_of(padding)
        self.data_format = data_format_of(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Tensor) -> Tensor:
        first = self.data_format == "channels_first"
        sizes, steps = self.pool_size, self.strides
        if self.rank == 1:  # as one column of a picture
            sizes, steps = (*sizes, 1), (*steps, 1)
            inputs = expand_dims(inputs, 3 if first else 2)
        full, apart = ([1, 1, *each] if first else [1, *each, 1] for each in (sizes, steps))
        outputs = type(self).function(inputs, full, apart, self.padding.upper(), FORMATS[max(self.rank, 2)][first])
        return squeeze(outputs, [3 if first else 2]) if self.rank == 1 else outputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        dims = TensorShape(input_shape).as_list()
        first = self.data_format == "channels_first"
        space = [window_length(dim, taps, self.padding, step)
                 for dim, taps, step in zip(dims[2:] if first else dims[1:-1], self.pool_size, self.strides, strict=True)]
        return TensorShape([*dims[:2], *space] if first else [dims[0], *space, dims[-1]])


class MaxPooling1D(_Pooling):
    """The greatest of windows of [batch, steps, channels]."""

    rank = 1
    function = staticmethod(max_pool)


class MaxPooling2D(_Pooling):
    """The greatest of windows of [batch, height, width, channels]."""

    rank = 2
    function = staticmethod(max_pool)


class MaxPooling3D(_Pooling):
    """The greatest of windows of [batch, depth, height, width, channels]."""

    rank = 3
    function = staticmethod(max_pool3d)


class AveragePooling1D(_Pooling):
    """The mean of windows of [batch, steps, channels]; of padding "same" only what is there counts."""

    rank = 1
    function = staticmethod(avg_pool)


class AveragePooling2D(_Pooling):
    """The mean of windows of [batch, height, width, channels]; of padding "same" only what is there counts."""

    rank = 2
    function = staticmethod(avg_pool)


class AveragePooling3D(_Pooling):
    """The mean of windows of [batch, depth, height, width, channels]; of padding "same" only what is there counts."""

    rank = 3
    function = staticmethod(avg_pool3d)


def _pooling_function(layer: type[_Pooling], name_: str) -> Callable[..., Tensor]:
    def function(inputs: Any, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
                 name: str | None = None) -> Tensor:
        result: Tensor = layer(pool_size, strides, padding, data_format, name)(inputs)
        return result
    function.__name__ = function.__qualname__ = name_
    function.__doc__ = layer.__doc__
    return function


max_pooling1d = _pooling_function(MaxPooling1D, "max_pooling1d")
max_pooling2d = _pooling_function(MaxPooling2D, "max_pooling2d")
max_pooling3d = _pooling_function(MaxPooling3D, "max_pooling3d")
average_pooling1d = _pooling_function(AveragePooling1D, "average_pooling1d")
average_pooling2d = _pooling_function(AveragePooling2D, "average_pooling2d")
average_pooling3d = _pooling_function(AveragePooling3D, "average_pooling3d")
