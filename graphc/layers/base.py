"""`Layer`: an object that makes its variables when it is first called and uses the same ones ever after. Base of all layers.

A layer's variables live in a variable scope of its name ("dense", "dense_1"), its operations in the name scope opened with it. The
functions of `layers` make a layer, call it once and give the result; what is shared by name is shared through the variable scope.
"""
from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Operation, Tensor
from graphc.core.shapes import TensorShape
from graphc.ops.array import shape as shape_of
from graphc.ops.declare import as_tensor
from graphc.ops.elementwise import cast
from graphc.partitions import PartitionedVariable
from graphc.variable_scope import AUTO, NO_AGGREGATION, VariableScope, get_variable, variable_scope
from graphc.variables import Variable, VariableAggregation, VariableSynchronization, global_variables

Function = Callable[[Any], Any]
_COUNTS = ("__layer_names",)  # the collection that keeps how many layers of each class a graph has


class InputSpec:
    """What a layer takes: dtype, the whole shape, the rank or its bounds, and the sizes of some axes. None: anything."""

    def __init__(self, dtype: Any = None, shape: Any = None, ndim: int | None = None, max_ndim: int | None = None,
                 min_ndim: int | None = None, axes: Mapping[int, int | None] | None = None) -> None:
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(axis): size for axis, size in (axes or {}).items()}

    def check(self, x: Tensor, layer: str) -> None:
        """ValueError that names the layer and the rule where `x` is not what it takes."""
        problem = self._problem(x)
        if problem:
            raise ValueError(f"Input 0 of layer {layer} is incompatible with the layer: {problem}")

    def _problem(self, x: Tensor) -> str:
        dims = x.shape_tuple
        if dims is None:
            ranked = any(bound is not None for bound in (self.ndim, self.min_ndim, self.max_ndim))
            return "its rank is undefined, but the layer requires a defined rank." if ranked else ""
        received = f"Full shape received: {list(dims)}"
        if self.ndim is not None and len(dims) != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={len(dims)}. {received}"
        if self.max_ndim is not None and len(dims) > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={len(dims)}"
        if self.min_ndim is not None and len(dims) < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={len(dims)}. {received}"
        if self.dtype is not None and x.dtype is not as_dtype(self.dtype):
            return f"expected dtype={as_dtype(self.dtype).name}, found dtype={x.dtype.name}"
        for axis, size in self.axes.items():
            if size is not None and dims[axis] not in (size, None):
                return f"expected axis {axis} of input shape to have value {size} but received input with shape {list(dims)}"
        if self.shape is not None and not TensorShape(self.shape).is_compatible_with(TensorShape(dims)):
            return f"expected shape={tuple(self.shape)}, found shape={list(dims)}"
        return ""


class Layer:
    """A function with variables of its own. A subclass gives `call(inputs)`, and `build(input_shape)` that makes its variables.

    trainable: whether optimizers find its variables. name: of the variable scope (default: the class's, "my_layer", made unique). dtype:
    of the variables (default: that of the first input). activity_regularizer: a function of the output; its mean over the batch
    is a regularization loss. `_scope` and `_reuse` are what the functions of `layers` pass on.
    """

    def __init__(self, trainable: bool = True, name: str | None = None, dtype: Any = None, *, activity_regularizer: Function | None = None,
                 _scope: str | VariableScope | None = None, _reuse: Any = None) -> None:
        self.trainable = trainable
        self.built = False
        self.input_spec: InputSpec | None = None
        self.activity_regularizer = activity_regularizer
        base = name or _snake_case(type(self).__name__)
        self._base_name = base.name if isinstance(base, VariableScope) else base
        self._name = base if name and isinstance(base, str) else _numbered(_snake_case(type(self).__name__))
        self._dtype = None if dtype is None else as_dtype(dtype)
        self._reuse = _reuse
        self._scope: VariableScope | None = None
        self._current_scope: VariableScope | None = None
        self._trainable_weights: list[Any] = []
        self._non_trainable_weights: list[Any] = []
        self._updates: list[Operation] = []
        self._losses: list[Tensor] = []
        self._takes_scope = "scope" in inspect.signature(self.call).parameters
        if _scope:
            with variable_scope(_scope) as captured:
                self._scope = captured

    # -- what a subclass gives ----------------------------------------------------------------------------------------------------------

    def build(self, input_shape: TensorShape) -> None:
        """Makes the variables with `add_weight`, for inputs of this shape; called once, before the first `call`."""
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs for `inputs`."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """The shape of the outputs for inputs of `input_shape`."""
        raise TypeError(f"{type(self).__name__} does not say what shape its outputs have")

    # -- calling ------------------------------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The outputs for `inputs` (a tensor or a list of them). `scope=`: the variable scope to be in, where none is chosen yet."""
        self._enter(kwargs.pop("scope", None))
        with variable_scope(self._chosen(), reuse=True if self.built else self._reuse, auxiliary_name_scope=False) as scope:
            self._current_scope = scope
            if self._takes_scope:
                kwargs["scope"] = scope
            given = [as_tensor(each) for each in inputs] if isinstance(inputs, list | tuple) else as_tensor(inputs)
            first = given[0] if isinstance(given, list) else given
            if self.input_spec is not None:
                self.input_spec.check(first, self._name)
            before = len(self._updates)
            with get_default_graph().name_scope(scope.original_name_scope):
                if not self.built:
                    self._dtype = self._dtype or first.dtype
                    self.build([each.shape for each in given] if isinstance(given, list) else given.shape)  # type: ignore[arg-type]  # as TF1
                    self.built = True
                outputs = self.call(given, *args, **kwargs)
                self._regularise_activity(outputs)
            _add_new(GraphKeys.UPDATE_OPS, self._updates[before:])
            return outputs

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling the layer."""
        return self(inputs, *args, **kwargs)

    def _enter(self, scope: str | VariableScope | None) -> None:
        """Chooses the variable scope, at the first use."""
        if self._scope is None and self._reuse:
            with variable_scope(scope if scope is not None else self._base_name) as captured:
                self._scope = captured
        elif self._scope is None:
            with variable_scope(scope, default_name=self._base_name) as captured:
                self._scope = captured

    def _chosen(self) -> VariableScope:
        if self._scope is None:
            raise ValueError(f'No name available for layer scope because the layer "{self._name}" has not been used yet. The scope name is '
                             "determined the first time the layer instance is called. You must therefore call the layer before querying "
                             "`scope_name`.")
        return self._scope

    def _regularise_activity(self, outputs: Any) -> None:
        if self.activity_regularizer is None:
            return
        for output in outputs if isinstance(outputs, list | tuple) else [outputs]:
            with get_default_graph().name_scope("ActivityRegularizer"):
                loss = self.activity_regularizer(output)
                self.add_loss(loss / cast(shape_of(output)[0], loss.dtype))

    # -- variables, losses, updates -----------------------------------------------------------------------------------------------------

    def add_weight(self, name: str, shape: Any, dtype: Any = None, initializer: Any = None, regularizer: Function | None = None,
                   trainable: bool | None = None, constraint: Function | None = None, use_resource: bool | None = None,
                   synchronization: VariableSynchronization = AUTO, aggregation: VariableAggregation = NO_AGGREGATION,
                   partitioner: Any = None) -> Any:
        """The variable "<scope>/<name>" of the layer: made, or found where the layer reuses. regularizer: gives a regularization loss when
        the variable is made. trainable: counts only while the layer is trainable."""
        if synchronization is VariableSynchronization.ON_READ and trainable is None:
            trainable = False
        existing = set(global_variables())
        self._enter(None)
        with variable_scope(self._chosen(), reuse=True if self.built else self._reuse, auxiliary_name_scope=False) as scope:
            self._current_scope = scope
            with get_default_graph().name_scope(scope.original_name_scope):
                trained = (trainable is None or trainable) and self.trainable
                variable = get_variable(name, shape, as_dtype(dtype) if dtype is not None else self._dtype, initializer, None, trained,
                                        partitioner=partitioner, constraint=constraint, synchronization=synchronization,
                                        aggregation=aggregation)
                parts = list(variable) if isinstance(variable, PartitionedVariable) else [variable]
                if regularizer is not None and not existing & set(parts):
                    self._regularise(name, variable, regularizer)
        kept = self._trainable_weights if trained and all(part.trainable for part in parts) else self._non_trainable_weights
        if not any(variable is other for other in kept):
            kept.append(variable)
        return variable

    add_variable = add_weight

    def _regularise(self, name: str, variable: Any, regularizer: Function) -> None:
        for part in variable if isinstance(variable, PartitionedVariable) else [variable]:
            with get_default_graph().name_scope(f"{name}/Regularizer"):
                loss = regularizer(part)
            if loss is not None:
                self.add_loss(loss)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Keeps a loss (or several) of the layer, and in the collection REGULARIZATION_LOSSES."""
        new = [as_tensor(each) for each in (losses if isinstance(losses, list | tuple) else [losses])]
        self._losses += new
        _add_new(GraphKeys.REGULARIZATION_LOSSES, new)

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Keeps an operation to run with each training step, in the collection UPDATE_OPS after the call."""
        for each in updates if isinstance(updates, list | tuple) else [updates]:
            element = get_default_graph().as_graph_element(each)
            self._updates.append(element.op if isinstance(element, Tensor) else element)

    @property
    def name(self) -> str:
        return self._name

    @property
    def scope_name(self) -> str:
        """The name of the variable scope; ValueError before the layer is used."""
        return self._chosen().name

    @property
    def dtype(self) -> DType | None:
        """Of the variables; None before the first call where none was given."""
        return self._dtype

    @property
    def trainable_variables(self) -> list[Variable]:
        return list(self._trainable_weights) if self.trainable else []

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return list(self._non_trainable_weights) if self.trainable else [*self._trainable_weights, *self._non_trainable_weights]

    @property
    def variables(self) -> list[Variable]:
        return self.trainable_variables + self.non_trainable_variables

    @property
    def trainable_weights(self) -> list[Variable]:
        return self.trainable_variables

    @property
    def non_trainable_weights(self) -> list[Variable]:
        return self.non_trainable_variables

    @property
    def weights(self) -> list[Variable]:
        return self.variables

    @property
    def losses(self) -> list[Tensor]:
        return list(self._losses)

    @property
    def updates(self) -> list[Operation]:
        return list(self._updates)

    def count_params(self) -> int:
        """The number of elements of all variables; ValueError before they are made."""
        if not self.built:
            raise ValueError(f"You tried to call `count_params` on {self._name}, but the layer isn't built.")
        return sum(variable.shape.num_elements() or 0 for variable in self.variables)


def _add_new(collection: str, items: Sequence[Any]) -> None:
    """Adds to a collection of the default graph what is not in it."""
    kept = get_default_graph().get_collection_ref(collection)
    kept += [item for item in items if not any(item is other for other in kept)]


def _snake_case(name: str) -> str:
    """"Conv2DTranspose" becomes "conv2d_transpose"; a name that begins with "_" cannot begin a scope and gets a word before it."""
    words = re.sub(r"(?<=.)(?=[A-Z][a-z0-9])|(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return f"private{words}" if words.startswith("_") else words


def _numbered(base: str) -> str:
    """"dense_1", "dense_2"...: the name of the next layer of its kind in the default graph."""
    kept = get_default_graph().get_collection_ref(_COUNTS)
    if not kept:
        kept.append({})
    counts: dict[str, int] = kept[0]
    counts[base] = counts.get(base, 0) + 1
    return f"{base}_{counts[base]}"
