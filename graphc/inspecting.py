"""Questions about tensors that need no run: what is a tensor, which values and dims are known when they are declared."""
from __future__ import annotations

from typing import Any

import numpy as np

from graphc.core.operation import Tensor
from graphc.core.shapes import Dimension, TensorShape
from graphc.core.static import partial_value
from graphc.variables import Variable

newaxis = None  # in an index: a new axis of size 1


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor or a variable, and not a value that would have to be converted."""
    return isinstance(x, Tensor | Variable)


def executing_eagerly() -> bool:
    """False: operations are declared here, and run in a session."""
    return False


def get_static_value(tensor: Any, partial: bool = False) -> np.ndarray[Any, Any] | None:
    """The value of `tensor` where it is known when the graph is declared: of constants, and of what is made of shapes and constants.

    None where it is not. With `partial`, an array of objects in which None stands for each unknown element.
    """
    if tensor.op.type == "Const":
        return np.array(tensor.op.get_attr("value"))
    found = None if tensor.node is None else partial_value(tensor.node)
    if found is None or (not partial and any(element is None for element in found.flat)):
        return None
    return found if partial else found.astype(tensor.dtype.np_dtype)


def dimension_value(dimension: Any) -> int | None:
    """The number in a `Dimension`, or the int (None) that `dimension` is already."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape: TensorShape, index: int) -> Dimension:
    """Dim `index` of `shape`: an unknown one where even the rank is unknown."""
    return Dimension(None) if shape.dims_tuple is None else Dimension(shape.dims_tuple[index])
