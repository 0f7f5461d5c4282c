"""Initializers: what `get_variable` fills new variables with. Each is called with (shape, dtype) and gives a tensor.

Of a variable in parts each part is made by itself; an initializer that needs the whole (its fans, the place of a part in it) is told.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.core import convert, dtypes
from graphc.core.dtypes import DType, as_dtype
from graphc.core.operation import Tensor
from graphc.ops import array, creation, elementwise, linalg, matrices, random, slicing
from graphc.variables import global_variables_initializer, local_variables_initializer, variables_initializer

# The standard deviation of a normal distribution cut at two standard deviations: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)).
TRUNCATED_STDDEV = 0.87962566103423978


class Initializer:
    """Base of all: `initializer(shape, dtype)`. `dtype` at construction is the default of the call's."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """A tensor of `shape`. partition_info: of a part of a variable its `full_shape` and `var_offset`."""
        kind = self.dtype if dtype is None else as_dtype(dtype)
        return self.tensor(shape, kind) if partition_info is None else self.part(shape, kind, partition_info)

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        """A tensor of `shape` and `dtype`."""
        raise TypeError(f"{type(self).__name__} does not say what to fill a variable with")

    def part(self, shape: Any, dtype: DType, info: Any) -> Tensor:
        """The part of `shape` of a variable that is made in parts: of most initializers a tensor like any other."""
        return self.tensor(shape, dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal initializer."""
        return {**vars(self), "dtype": self.dtype.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)


class Zeros(Initializer):
    """All zero (False)."""

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return creation.zeros(shape, dtype)


class Ones(Initializer):
    """All one (True)."""

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return creation.ones(shape, dtype)


class Constant(Initializer):
    """A number everywhere, or the elements of a list or array in row-major order, the last one repeated."""

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, list | tuple | np.ndarray)):
            raise TypeError(f"Invalid type for initial value: {type(value)} (expected Python scalar, list or tuple of values, or "
                            "numpy.ndarray).")
        super().__init__(dtype)
        self.value = value
        self.verify_shape = verify_shape

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return convert.constant(self.value, dtype, shape, verify_shape=self.verify_shape)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = 0, maxval: float | None = None, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.seed = seed
        self.minval = minval
        self.maxval = maxval

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return random.random_uniform(shape, self.minval, self.maxval, dtype, self.seed)


class RandomNormal(Initializer):
    """Normal with the given mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.seed = seed
        self.mean = mean
        self.stddev = stddev

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return random.random_normal(shape, self.mean, self.stddev, dtype, self.seed)


class TruncatedNormal(RandomNormal):
    """Normal, with draws beyond two standard deviations drawn again."""

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return random.truncated_normal(shape, self.mean, self.stddev, dtype, self.seed)


class VarianceScaling(Initializer):
    """Variance `scale / n`, n the number of inputs (mode "fan_in"), of outputs ("fan_out") or their mean ("fan_avg") of the weights.

    distribution: "truncated_normal" ("normal" means the same), "untruncated_normal" or "uniform". Keeps the variance of activations
    steady through layers: Glorot & Bengio 2010 (scale 1, fan_avg), He et al. 2015 (scale 2, fan_in), LeCun 1998 (scale 1, fan_in).
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal", seed: int | None = None,
                 dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.seed = seed
        if scale <= 0.0:
            raise ValueError("`scale` must be positive float.")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError("Invalid `mode` argument:", mode)
        if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError("Invalid `distribution` argument:", distribution)
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return self._scaled(shape, dtype, fans(shape))

    def part(self, shape: Any, dtype: DType, info: Any) -> Tensor:
        return self._scaled(shape, dtype, fans(info.full_shape))

    def _scaled(self, shape: Any, dtype: DType, both_fans: tuple[float, float]) -> Tensor:
        fan_in, fan_out = both_fans
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        variance = self.scale / max(1.0, count)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.random_uniform(shape, -limit, limit, dtype, self.seed)
        if self.distribution == "untruncated_normal":
            return random.random_normal(shape, 0.0, math.sqrt(variance), dtype, self.seed)
        # Cutting the tails lowers the variance; ask for that much more.
        return random.truncated_normal(shape, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV, dtype, self.seed)


class GlorotUniform(VarianceScaling):
    """Uniform within sqrt(6 / (fan_in + fan_out)): Glorot & Bengio 2010. The default of `get_variable`."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out): Glorot & Bengio 2010."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, "dtype": self.dtype.name}


class UniformUnitScaling(Initializer):
    """Uniform within factor sqrt(3 / n), n the size of all dims but the last: keeps the scale of inputs through a layer (D. Sussillo and
    L. Abbott, arXiv:1412.6558)."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.factor = factor
        self.seed = seed

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        return self._within(shape, dtype, shape)

    def part(self, shape: Any, dtype: DType, info: Any) -> Tensor:
        return self._within(shape, dtype, info.full_shape)

    def _within(self, shape: Any, dtype: DType, full_shape: Sequence[int]) -> Tensor:
        limit = math.sqrt(3 / max(math.prod(int(dim) for dim in full_shape[:-1]), 1)) * self.factor
        return random.random_uniform(shape, -limit, limit, dtype, self.seed)


class Identity(Initializer):
    """`gain` times the identity matrix, of any number of rows and columns."""

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.gain = gain

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        if len(shape) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices.")
        rows, columns = (int(dim) for dim in shape)
        matrix = creation.one_hot(array.range_(rows), columns, dtype=dtype)
        return matrix if self.gain == 1 else self.gain * matrix

    def part(self, shape: Any, dtype: DType, info: Any) -> Tensor:
        return slicing.slice_(self.tensor(info.full_shape, dtype), info.var_offset, shape)


class Orthogonal(Initializer):
    """`gain` times a random matrix with orthonormal columns (or rows, where there are fewer): of more dims, all but the last are rows.

    The Q of a normal matrix's QR, its columns with the signs of R's diagonal, so that all such matrices are as likely (F. Mezzadri,
    Notices of the AMS, 2007); for weights by A. Saxe et al., arXiv:1312.6120.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(dtype)
        self.gain = gain
        self.seed = seed

    def tensor(self, shape: Any, dtype: DType) -> Tensor:
        if len(shape) < 2:
            raise ValueError("The tensor to initialize must be at least two-dimensional")
        rows, columns = math.prod(int(dim) for dim in shape[:-1]), int(shape[-1])
        numbers = random.random_normal([max(rows, columns), min(rows, columns)], dtype=dtype, seed=self.seed)
        q, r = linalg.qr(numbers)
        q = q * elementwise.sign(matrices.matrix_diag_part(r))
        return self.gain * array.reshape(array.matrix_transpose(q) if rows < columns else q, shape)


def fans(shape: Sequence[int]) -> tuple[float, float]:
    """How many inputs and outputs a unit of weights of `shape` has: [inputs, outputs], or [...window, inputs, outputs] of a convolution."""
    dims = [int(dim) for dim in shape]
    if len(dims) < 2:
        only = dims[0] if dims else 1
        return only, only
    window = math.prod(dims[:-2])
    return dims[-2] * window, dims[-1] * window


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance 2 / fan_in: He et al. 2015."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform within sqrt(6 / fan_in): He et al. 2015."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal of variance 1 / fan_in: LeCun 1998."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform within sqrt(3 / fan_in): LeCun 1998."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


# TF1's names: `graphc.initializers.zeros()`, and `graphc.zeros_initializer()`.
zeros = zeros_initializer = Zeros
ones = ones_initializer = Ones
constant = constant_initializer = Constant
random_uniform = random_uniform_initializer = RandomUniform
random_normal = random_normal_initializer = RandomNormal
truncated_normal = truncated_normal_initializer = TruncatedNormal
variance_scaling = variance_scaling_initializer = VarianceScaling
glorot_uniform = glorot_uniform_initializer = GlorotUniform
glorot_normal = glorot_normal_initializer = GlorotNormal
uniform_unit_scaling = uniform_unit_scaling_initializer = UniformUnitScaling
identity = Identity
orthogonal = orthogonal_initializer = Orthogonal
global_variables, local_variables, variables = global_variables_initializer, local_variables_initializer, variables_initializer
