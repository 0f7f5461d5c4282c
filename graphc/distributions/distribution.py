"""What every distribution shares: `Distribution`, its shapes and derived quantities, and the registry of Kullback-Leibler divergences.

A distribution is a set of parameters that broadcast to `batch_shape`; a sample has shape sample_shape + batch_shape + event_shape. The
functions of a distribution declare ordinary operations, so a sample can be differentiated by the parameters where the distribution is
reparameterised (samples are a function of the parameters and of noise), and log_prob always.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape, as_dims
from graphc.ops.array import broadcast_dynamic_shape, broadcast_static_shape, reshape, shape
from graphc.ops.asserts import Assert
from graphc.ops.choosing import where
from graphc.ops.creation import fill
from graphc.ops.declare import name_scope
from graphc.ops.elementwise import cast, exp, log, log1p, sqrt
from graphc.ops.joining import concat
from graphc.ops.reductions import reduce_all, reduce_any

NAN = float("nan")


class UndefinedError(NotImplementedError):
    """The quantity is not defined for this distribution, or has no closed form."""


class ReparameterizationType:
    """Whether gradients flow from samples to parameters: FULLY_REPARAMETERIZED or NOT_REPARAMETERIZED."""

    def __init__(self, rep_type: str) -> None:
        self._rep_type = rep_type

    def __repr__(self) -> str:
        return f"<Reparameterization Type: {self._rep_type}>"


FULLY_REPARAMETERIZED = ReparameterizationType("FULLY_REPARAMETERIZED")
NOT_REPARAMETERIZED = ReparameterizationType("NOT_REPARAMETERIZED")


class Distribution:
    """The base of all distributions. A subclass defines `_sample`, `_log_prob` and whichever of the other underscored functions exist.

    dtype: of samples. validate_args: parameters and values are checked when the graph runs, else wrong ones give wrong results.
    allow_nan_stats: a statistic that does not exist is NaN; else it raises when the graph runs (ValueError where that is known before).
    """

    event_ndims: ClassVar[int] = 0  # axes of one sample

    def __init__(self, dtype: Any, reparameterization_type: ReparameterizationType, validate_args: bool, allow_nan_stats: bool,
                 parameters: Mapping[str, Any] | None = None, graph_parents: Sequence[Tensor] | None = None,
                 name: str | None = None) -> None:
        self._dtype = as_dtype(dtype)
        self._reparameterization_type = reparameterization_type
        self._validate_args, self._allow_nan_stats = validate_args, allow_nan_stats
        self._parameters = {key: value for key, value in (parameters or {}).items() if not key.startswith("_") and key != "self"}
        self._graph_parents = list(graph_parents or [])  # their shapes broadcast to batch_shape + event_shape
        chosen = name or type(self).__name__
        self._name = chosen if chosen.endswith("/") else f"{get_default_graph().unique_name(chosen)}/"

    # -- what it is -----------------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name scope of its operations: "Normal/"."""
        return self._name

    @property
    def dtype(self) -> DType:
        """Of samples."""
        return self._dtype

    @property
    def parameters(self) -> dict[str, Any]:
        """The arguments it was made with."""
        return dict(self._parameters)

    @property
    def reparameterization_type(self) -> ReparameterizationType:
        return self._reparameterization_type

    @property
    def allow_nan_stats(self) -> bool:
        return self._allow_nan_stats

    @property
    def validate_args(self) -> bool:
        return self._validate_args

    def copy(self, **override_parameters_kwargs: Any) -> Any:
        """The same distribution with some arguments replaced."""
        return type(self)(**{**self.parameters, **override_parameters_kwargs})

    @classmethod
    def param_shapes(cls, sample_shape: Any, name: str = "DistributionParamShapes") -> dict[str, Tensor]:
        """The shapes that parameters need, int32 vectors, for samples of `sample_shape`."""
        with name_scope(name, name, [sample_shape]):
            return {key: convert_to_tensor(np.array(dims or (), np.int32)) for key, dims in cls._param_dims(sample_shape).items()}

    @classmethod
    def param_static_shapes(cls, sample_shape: Any) -> dict[str, TensorShape]:
        """`param_shapes`, known when the graph is declared."""
        return {key: TensorShape(dims) for key, dims in cls._param_dims(sample_shape).items()}

    @classmethod
    def _param_dims(cls, sample_shape: Any) -> dict[str, Any]:
        raise UndefinedError(f"param_shapes is not defined for {cls.__name__}")

    # -- shapes ---------------------------------------------------------------------------------------------------------------------------

    @property
    def _whole_shape(self) -> TensorShape:
        whole = TensorShape([])
        for parameter in self._graph_parents:
            whole = broadcast_static_shape(whole, parameter.shape)
        return whole

    def _whole_shape_tensor(self) -> Tensor:
        whole = self._whole_shape
        if whole.is_fully_defined():
            return convert_to_tensor(np.array(whole.as_list(), np.int32))
        first, *rest = [shape(parameter) for parameter in self._graph_parents]
        for each in rest:
            first = broadcast_dynamic_shape(first, each)
        return first

    @property
    def batch_shape(self) -> TensorShape:
        """What is known of the shape of the parameters, broadcast: one distribution each."""
        return TensorShape(self._whole_shape[:-self.event_ndims]) if self.event_ndims else self._whole_shape

    @property
    def event_shape(self) -> TensorShape:
        """What is known of the shape of one sample of one distribution."""
        return TensorShape(self._whole_shape[-self.event_ndims:]) if self.event_ndims else TensorShape([])

    def batch_shape_tensor(self, name: str = "batch_shape_tensor") -> Tensor:
        with self._scope(name):
            whole = self._whole_shape_tensor()
            return whole[:-self.event_ndims] if self.event_ndims else whole

    def event_shape_tensor(self, name: str = "event_shape_tensor") -> Tensor:
        with self._scope(name):
            whole = self._whole_shape_tensor()
            return whole[-self.event_ndims:] if self.event_ndims else whole[:0]

    def is_scalar_event(self, name: str = "is_scalar_event") -> Tensor:
        with self._scope(name):
            return convert_to_tensor(self.event_ndims == 0)

    def is_scalar_batch(self, name: str = "is_scalar_batch") -> Tensor:
        with self._scope(name):
            ndims = self.batch_shape.ndims
            if ndims is not None:
                return convert_to_tensor(ndims == 0)
            return convert_to_tensor(0) >= shape(self._whole_shape_tensor())[0] - self.event_ndims

    # -- what it gives --------------------------------------------------------------------------------------------------------------------

    def sample(self, sample_shape: Any = (), seed: int | None = None, name: str = "sample") -> Tensor:
        """Samples of shape sample_shape + batch_shape + event_shape, drawn anew in each run."""
        with self._scope(name):
            if isinstance(sample_shape, Tensor):
                first: Any = reshape(cast(sample_shape, dtypes.int32), [-1])
                known = None
            else:
                dims = as_dims([sample_shape] if isinstance(sample_shape, int) else sample_shape)
                known, first = dims, convert_to_tensor(np.array(dims or (), np.int32))
            result = self._sample(concat([first, self._whole_shape_tensor()], 0), seed)
            whole = self._whole_shape.dims_tuple
            if known is not None and whole is not None:
                result.set_shape((*known, *whole))
            return result

    def log_prob(self, value: Any, name: str = "log_prob") -> Tensor:
        """The logarithm of the probability (density) of each `value`, whose shape broadcasts with batch_shape + event_shape."""
        return self._call(name, self._log_prob, value)

    def prob(self, value: Any, name: str = "prob") -> Tensor:
        """The probability (density) of each `value`."""
        return self._call(name, self._prob, value)

    def log_cdf(self, value: Any, name: str = "log_cdf") -> Tensor:
        """log P[X <= value]."""
        return self._call(name, self._log_cdf, value)

    def cdf(self, value: Any, name: str = "cdf") -> Tensor:
        """P[X <= value]."""
        return self._call(name, self._cdf, value)

    def log_survival_function(self, value: Any, name: str = "log_survival_function") -> Tensor:
        """log P[X > value]."""
        return self._call(name, self._log_survival_function, value)

    def survival_function(self, value: Any, name: str = "survival_function") -> Tensor:
        """P[X > value]."""
        return self._call(name, self._survival_function, value)

    def quantile(self, value: Any, name: str = "quantile") -> Tensor:
        """The x for which P[X <= x] is `value`."""
        return self._call(name, self._quantile, value)

    def entropy(self, name: str = "entropy") -> Tensor:
        """Shannon's, in nats: [batch_shape]."""
        return self._call(name, self._entropy)

    def mean(self, name: str = "mean") -> Tensor:
        return self._call(name, self._mean)

    def variance(self, name: str = "variance") -> Tensor:
        """Element by element."""
        return self._call(name, self._variance)

    def stddev(self, name: str = "stddev") -> Tensor:
        """The square root of the variance."""
        return self._call(name, self._stddev)

    def covariance(self, name: str = "covariance") -> Tensor:
        """Of distributions of vectors: batch_shape + [n, n]."""
        return self._call(name, self._covariance)

    def mode(self, name: str = "mode") -> Tensor:
        """The most probable value."""
        return self._call(name, self._mode)

    def cross_entropy(self, other: Distribution, name: str = "cross_entropy") -> Tensor:
        """-E[log other(X)] for X of this distribution: its entropy plus its divergence from `other`."""
        with self._scope(name):
            return self.entropy() + kl_divergence(self, other)

    def kl_divergence(self, other: Distribution, name: str = "kl_divergence") -> Tensor:
        """E[log this(X) - log other(X)] for X of this distribution."""
        with self._scope(name):
            return kl_divergence(self, other, self.allow_nan_stats)

    # -- for subclasses -------------------------------------------------------------------------------------------------------------------

    def _scope(self, name: str) -> Any:
        return name_scope(self._name + name, name, [])

    def _call(self, name: str, function: Callable[..., Tensor], *values: Any) -> Tensor:
        with self._scope(name):
            return function(*(convert_to_tensor(value, None, "value", preferred_dtype=self.dtype) for value in values))

    def _take(self, *parameters: Tensor) -> None:
        """Notes the parameters, whose type is that of samples where nothing else was said."""
        self._graph_parents = list(parameters)
        self._dtype = parameters[0].dtype if self._dtype.is_floating else self._dtype
        _ = self._whole_shape  # ValueError where they do not broadcast

    def _undefined(self, what: str) -> UndefinedError:
        return UndefinedError(f"{what} is not implemented: {type(self).__name__}")

    def _sample(self, whole: Tensor, seed: int | None) -> Tensor:
        raise self._undefined("sample")

    def _log_prob(self, value: Tensor) -> Tensor:
        raise self._undefined("log_prob")

    def _prob(self, value: Tensor) -> Tensor:
        return exp(self._log_prob(value))

    def _log_cdf(self, value: Tensor) -> Tensor:
        return log(self._cdf(value))

    def _cdf(self, value: Tensor) -> Tensor:
        raise self._undefined("cdf")

    def _survival_function(self, value: Tensor) -> Tensor:
        return 1.0 - self._cdf(value)

    def _log_survival_function(self, value: Tensor) -> Tensor:
        return log1p(-self._cdf(value))

    def _quantile(self, value: Tensor) -> Tensor:
        raise self._undefined("quantile")

    def _entropy(self) -> Tensor:
        raise self._undefined("entropy")

    def _mean(self) -> Tensor:
        raise self._undefined("mean")

    def _variance(self) -> Tensor:
        raise self._undefined("variance")

    def _stddev(self) -> Tensor:
        return sqrt(self._variance())

    def _covariance(self) -> Tensor:
        raise self._undefined("covariance")

    def _mode(self) -> Tensor:
        raise self._undefined("mode")

    def _spread(self, value: Tensor) -> Tensor:
        """`value` broadcast to the batch shape."""
        return value + fill(self._whole_shape_tensor(), convert_to_tensor(0, value.dtype))

    def _where(self, exists: Tensor, statistic: Tensor, what: str) -> Tensor:
        """`statistic` where it exists, else NaN, or an error."""
        nothing = fill(shape(statistic), convert_to_tensor(NAN, statistic.dtype))
        if self.allow_nan_stats:
            return where(exists, statistic, nothing)
        return self._required(statistic, exists, what)

    def _required(self, tensor: Tensor, condition: Tensor, what: str) -> Tensor:
        """`tensor`, once `condition` was found to hold everywhere."""
        with get_default_graph().control_dependencies([Assert(reduce_all(condition), [what])]):
            return tensor + convert_to_tensor(0, tensor.dtype)

    def __str__(self) -> str:
        return (f'graphc.distributions.{type(self).__name__}("{self.name}", batch_shape={self.batch_shape}, '
                f"event_shape={self.event_shape}, dtype={self.dtype.name})")

    def __repr__(self) -> str:
        return f"<{str(self).removeprefix('graphc.')}>"


# Divergences -----------------------------------------------------------------------------------------------------------------------------

_DIVERGENCES: dict[tuple[type, type], Callable[..., Tensor]] = {}


class RegisterKL:
    """A decorator: `@RegisterKL(A, B)` over a function (a, b, name=None) -> the divergence of a distribution A from a distribution B."""

    def __init__(self, dist_cls_a: type, dist_cls_b: type) -> None:
        self._key = (dist_cls_a, dist_cls_b)

    def __call__(self, kl_fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if not callable(kl_fn):
            raise TypeError(f"kl_fn must be callable, received: {kl_fn}")
        if self._key in _DIVERGENCES:
            a, b = self._key
            raise ValueError(f"KL({a.__name__} || {b.__name__}) has already been registered to: {_DIVERGENCES[self._key]}")
        _DIVERGENCES[self._key] = kl_fn
        return kl_fn


def kl_divergence(distribution_a: Distribution, distribution_b: Distribution, allow_nan_stats: bool = True,
                  name: str | None = None) -> Tensor:
    """E[log a(X) - log b(X)] for X of `distribution_a`, by the function registered for the nearest classes: [batch_shape].

    allow_nan_stats: where False, a NaN in the result is an error of the run. NotImplementedError where no function is registered.
    """
    kinds_a, kinds_b = type(distribution_a).__mro__, type(distribution_b).__mro__
    found = [(i + j, function) for i, a in enumerate(kinds_a) for j, b in enumerate(kinds_b) if (function := _DIVERGENCES.get((a, b)))]
    if not found:
        raise UndefinedError("No KL(distribution_a || distribution_b) registered for distribution_a type "
                             f"{type(distribution_a).__name__} and distribution_b type {type(distribution_b).__name__}")
    with name_scope(name, "KullbackLeibler", []):
        result = min(found, key=lambda each: each[0])[1](distribution_a, distribution_b)
        if allow_nan_stats:
            return result
        return distribution_a._required(result, ~reduce_any(result != result), "the divergence must not be NaN")
