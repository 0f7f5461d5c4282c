"""Variables by name: `get_variable` and `variable_scope`, with TF1's rules for names, sharing and defaults.

A variable scope is a prefix of variable names ("encoder/layer") that carries defaults: initializer, regularizer, dtype, and whether
variables are made or found again (`reuse`). Entering one also opens a name scope for operations, which is made unique: the second time
"encoder" is entered its variables are `encoder/w`, its operations `encoder_1/...`.
"""
from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import Enum
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType, as_dtype
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor
from graphc.core.shapes import TensorShape
from graphc.initializers import Initializer, glorot_uniform_initializer, zeros_initializer
from graphc.partitions import PartitionedVariable, Partitioner, PartitionInfo, cut
from graphc.variables import Variable, VariableAggregation, VariableSynchronization


class ReuseMode(Enum):
    """AUTO_REUSE: make a variable where it does not exist, else give the one that does."""

    AUTO_REUSE = 1


AUTO_REUSE = ReuseMode.AUTO_REUSE
Reuse = bool | ReuseMode | None
AUTO, NO_AGGREGATION = VariableSynchronization.AUTO, VariableAggregation.NONE


class VariableScope:
    """The prefix and the defaults that `get_variable` uses. `original_name_scope`: the name scope opened with it, "scope_1/".

    caching_device and use_resource are TF1's and kept for those who ask: they change nothing here.
    """

    def __init__(self, reuse: Reuse, name: str = "", initializer: Any = None, regularizer: Any = None, caching_device: Any = None,
                 partitioner: Partitioner | None = None, custom_getter: Any = None, name_scope: str = "", dtype: Any = dtypes.float32,
                 use_resource: bool | None = None, constraint: Any = None) -> None:
        self.name = name
        self.reuse = reuse
        self.initializer = initializer
        self.regularizer = regularizer
        self.dtype = as_dtype(dtype)
        self.custom_getter = custom_getter
        self.constraint = constraint
        self.caching_device = caching_device
        self.partitioner = partitioner
        self.use_resource = use_resource
        self.original_name_scope = name_scope

    def reuse_variables(self) -> None:
        """From now on variables of this scope must exist already."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def set_dtype(self, dtype: Any) -> None:
        self.dtype = as_dtype(dtype)

    def set_custom_getter(self, custom_getter: Any) -> None:
        self.custom_getter = custom_getter

    def set_partitioner(self, partitioner: Partitioner | None) -> None:
        self.partitioner = partitioner

    def set_caching_device(self, caching_device: Any) -> None:
        self.caching_device = caching_device

    def set_use_resource(self, use_resource: bool | None) -> None:
        self.use_resource = use_resource

    def get_collection(self, name: str) -> list[Any]:
        """The items of a collection whose names begin with this scope's."""
        return get_default_graph().get_collection(name, f"{self.name}/" if self.name else "")

    def trainable_variables(self) -> list[Variable]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Variable]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Variable]:
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(self, name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
                     reuse: Reuse = None, trainable: bool | None = None, collections: Iterable[str] | None = None,
                     caching_device: Any = None, partitioner: Partitioner | None = None, validate_shape: bool = True,
                     use_resource: bool | None = None, custom_getter: Any = None, constraint: Any = None,
                     synchronization: VariableSynchronization = AUTO, aggregation: VariableAggregation = NO_AGGREGATION) -> Any:
        """The variable `name` of this scope: see the function `get_variable`."""
        if dtype is not None and initializer is not None and not callable(initializer):
            given = convert_to_tensor(initializer).dtype
            if given is not as_dtype(dtype):
                raise ValueError(f"Initializer type '{given.name}' and explicit dtype '{as_dtype(dtype).name}' don't match.")
        settings = {
            "shape": shape,
            "dtype": self.dtype if dtype is None else as_dtype(dtype),
            "initializer": self.initializer if initializer is None else initializer,
            "regularizer": self.regularizer if regularizer is None else regularizer,
            "reuse": self.reuse if reuse is None else reuse,
            "trainable": trainable, "collections": collections,
            "caching_device": self.caching_device if caching_device is None else caching_device,
            "partitioner": self.partitioner if partitioner is None else partitioner, "validate_shape": validate_shape,
            "use_resource": self.use_resource if use_resource is None else use_resource,
            "constraint": self.constraint if constraint is None else constraint,
            "synchronization": synchronization, "aggregation": aggregation,
        }
        full_name = f"{self.name}/{name}" if self.name else name
        getter = self.custom_getter if custom_getter is None else custom_getter
        with get_default_graph().name_scope(None):  # a variable's name does not depend on the name scopes around it
            if getter is None:
                return _store().get(full_name, **settings)
            if not callable(getter):
                raise ValueError(f"Passed a custom_getter which is not callable: {getter}")
            return getter(_store().get, name=full_name, **settings)


class _Entered:
    """How often a scope has been entered, and the scopes inside it, by name. No suffix ("_1") below `next_suffix` is free."""

    __slots__ = ("count", "inside", "next_suffix")

    def __init__(self) -> None:
        self.count = 0
        self.next_suffix = 1
        self.inside: dict[str, _Entered] = {}

    def at(self, name: str) -> _Entered:
        """The record of the scope `name` ("a/b") inside this one."""
        record = self
        for part in name.split("/") if name else ():
            record = record.inside.setdefault(part, _Entered())
        return record


class _Store(threading.local):
    """The named variables of one graph, and this thread's current scope in it."""

    def __init__(self, variables: dict[str, Variable], partitioned: dict[str, PartitionedVariable]) -> None:
        self.variables = variables  # shared by all threads, as is
        self.partitioned = partitioned
        self.current = VariableScope(False)
        self.entered = _Entered()  # for the names that `default_name` gives

    def get(self, name: str, shape: Any = None, dtype: Any = dtypes.float32, initializer: Any = None, regularizer: Any = None,
            reuse: Reuse = None, trainable: bool | None = None, collections: Iterable[str] | None = None, caching_device: Any = None,
            partitioner: Partitioner | None = None, validate_shape: bool = True, use_resource: bool | None = None, constraint: Any = None,
            synchronization: VariableSynchronization = AUTO, aggregation: VariableAggregation = NO_AGGREGATION) -> Any:
        """The variable `name`, made or found: the true getter, in whose arguments a custom getter is called."""
        settings = {"trainable": trainable, "collections": collections, "validate_shape": validate_shape, "constraint": constraint,
                    "synchronization": synchronization, "aggregation": aggregation}
        if partitioner is not None:
            return self._parts(name, shape, as_dtype(dtype), initializer, regularizer, reuse, partitioner, settings)
        if f"{name}/part_0" in self.variables:
            raise ValueError(f"No partitioner was provided, but a partitioned version of the variable was found: {name}/part_0. "
                             "Perhaps a variable of the same name was already created with partitioning?")
        return self._single(name, shape, as_dtype(dtype), initializer, regularizer, reuse, None, settings)

    def _single(self, name: str, shape: Any, dtype: DType, initializer: Any, regularizer: Any, reuse: Reuse, part: PartitionInfo | None,
                settings: dict[str, Any]) -> Variable:
        found = self.variables.get(name)
        if found is not None:
            if reuse is False:
                raise ValueError(f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=graphc.AUTO_REUSE "
                                 f"in VarScope? Originally defined at:\n  {found.op.source_line.describe()}")
            _check_shared(found, name, shape, dtype)
            return found
        if reuse is True:
            raise ValueError(f"Variable {name} does not exist, or was not created with graphc.get_variable(). Did you mean to set "
                             f"reuse=graphc.AUTO_REUSE in VarScope?")
        initial, variable_dtype = _initial_value(name, initializer, shape, dtype, part)
        made = Variable(initial, name=name, dtype=variable_dtype, **settings)
        self.variables[name] = made
        if regularizer is not None:
            _add_loss(made, name, regularizer)
        return made

    def _parts(self, name: str, shape: Any, dtype: DType, initializer: Any, regularizer: Any, reuse: Reuse, partitioner: Partitioner,
               settings: dict[str, Any]) -> PartitionedVariable:
        """The variable `name` in parts, "name/part_0"..., each with its share of the initial value and its own regularizer."""
        if name in self.variables:
            raise ValueError(f"A partitioner was provided, but an unpartitioned version of the variable was found: {name}. Perhaps a "
                             "variable of the same name was already created without partitioning?")
        if not (initializer is None or callable(initializer)):
            raise ValueError(f"A partitioned variable ({name}) needs an initializer function, not a value: each part is made by itself")
        counts, parts = cut(name, TensorShape(shape), dtype, partitioner)
        made = [self._single(f"{name}/part_{number}", dims, dtype, initializer, regularizer, reuse, info, settings)
                for number, (info, dims) in enumerate(parts)]
        found = self.partitioned.get(name)
        if found is None:
            found = self.partitioned[name] = PartitionedVariable(name, parts[0][0].full_shape, dtype, made, counts)
        return found


def _check_shared(found: Variable, name: str, shape: Any, dtype: DType) -> None:
    where = f"\n  declared at {found.op.source_line.describe()}"
    if shape is not None and not TensorShape(shape).is_compatible_with(found.shape):
        raise ValueError(f"Trying to share variable {name}, but specified shape {TensorShape(shape)} and found shape {found.shape}.{where}")
    if dtype is not found.dtype:
        raise ValueError(f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype {found.dtype.name}.{where}")


def _initial_value(name: str, initializer: Any, shape: Any, dtype: DType, part: PartitionInfo | None) -> tuple[Any, DType | None]:
    """What to give to Variable: the value, or a function of no arguments, and the dtype to ask for (None: the value's own)."""
    if initializer is None:
        initializer = glorot_uniform_initializer() if dtype.is_floating else zeros_initializer()
    if not callable(initializer):
        if shape is not None:
            raise ValueError("If initializer is a constant, do not specify shape.")
        return initializer, None
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape is None and _needs_nothing(initializer):
        return initializer, None
    static = TensorShape(shape)
    if not static.is_fully_defined():
        raise ValueError(f"Shape of a new variable ({name}) must be fully defined, but instead was {static}.")
    settings = {"dtype": dtype, "partition_info": part} if _takes_partition(initializer) else {"dtype": dtype}
    return lambda: initializer(static.as_list(), **settings), dtype


def _needs_nothing(function: Callable[..., Any]) -> bool:
    """Whether `function` can be called without arguments."""
    return not any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in inspect.signature(function).parameters.values())


def _takes_partition(function: Callable[..., Any]) -> bool:
    """Whether `function` is an initializer of TF1's kind, (shape, dtype, partition_info)."""
    return isinstance(function, Initializer) or "partition_info" in inspect.signature(function).parameters


def _add_loss(variable: Variable, name: str, regularizer: Callable[[Variable], Tensor | None]) -> None:
    with variable.graph.name_scope(f"{name}/Regularizer/"):
        loss = regularizer(variable)
    if loss is not None:
        variable.graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


_STORE_KEY = ("__variable_store",)


def _store() -> _Store:
    """The store of the default graph, which the graph keeps in a collection of one."""
    kept = get_default_graph().get_collection_ref(_STORE_KEY)
    if not kept:
        kept.append(_Store({}, {}))
    store: _Store = kept[0]
    return store


def get_variable_scope() -> VariableScope:
    """The variable scope that is open on this thread in the default graph."""
    return _store().current


def get_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
                 trainable: bool | None = None, collections: Iterable[str] | None = None, caching_device: Any = None,
                 partitioner: Partitioner | None = None, validate_shape: bool = True, use_resource: bool | None = None,
                 custom_getter: Any = None, constraint: Any = None, synchronization: VariableSynchronization = AUTO,
                 aggregation: VariableAggregation = NO_AGGREGATION) -> Any:
    """The variable `name` of the current variable scope: made, or found where the scope reuses.

    initializer: a function (shape, dtype) -> tensor, one of no arguments, or a value, which then says the shape (default: the scope's; else
    glorot uniform for floats, zeros otherwise). regularizer: a function of the variable that gives a loss for the collection
    REGULARIZATION_LOSSES, called when the variable is made. partitioner: a function of (shape, dtype) that gives the number of parts along
    each axis; the result is then a PartitionedVariable. Raises ValueError where the variable exists but must not, does not but must, is
    shared with another shape or dtype, or is made without a full shape.
    """
    return get_variable_scope().get_variable(
        name, shape, dtype, initializer, regularizer, None, trainable, collections, caching_device, partitioner, validate_shape,
        use_resource, custom_getter, constraint, synchronization, aggregation)


def get_local_variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
                       trainable: bool = False, collections: Iterable[str] | None = None, caching_device: Any = None,
                       partitioner: Partitioner | None = None, validate_shape: bool = True, use_resource: bool | None = None,
                       custom_getter: Any = None, constraint: Any = None, synchronization: VariableSynchronization = AUTO,
                       aggregation: VariableAggregation = NO_AGGREGATION) -> Any:
    """`get_variable` in the collection LOCAL_VARIABLES; never trainable, whatever `trainable` says."""
    keys = [*(collections or ()), GraphKeys.LOCAL_VARIABLES]
    return get_variable(name, shape, dtype, initializer, regularizer, False, keys, caching_device, partitioner, validate_shape,
                        use_resource, custom_getter, constraint, synchronization, aggregation)


@contextmanager
def variable_scope(name_or_scope: str | VariableScope | None, default_name: str | None = None, values: Iterable[Any] | None = None,
                   initializer: Any = None, regularizer: Any = None, caching_device: Any = None, partitioner: Partitioner | None = None,
                   custom_getter: Any = None, reuse: Reuse = None, dtype: Any = None, use_resource: bool | None = None,
                   constraint: Any = None, auxiliary_name_scope: bool = True) -> Iterator[VariableScope]:
    """Opens a variable scope, by name inside the current one or an existing one as it is, and gives it.

    default_name: used, made unique, where name_or_scope is None. reuse: True (variables must exist), AUTO_REUSE, or None and False (as the
    scope around it says). The other arguments replace the scope's defaults. auxiliary_name_scope: also opens a name scope for operations.
    """
    if name_or_scope is None and default_name is None:
        raise TypeError("If default_name is None then name_or_scope is required")
    if not (reuse is None or isinstance(reuse, bool | ReuseMode)):
        raise ValueError("The reuse parameter must be True or False or None.")
    if not isinstance(name_or_scope, str | VariableScope | None):
        raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
    if name_or_scope is None and reuse:
        raise ValueError("reuse=True cannot be used without a name_or_scope")
    with _name_scope(name_or_scope, default_name, auxiliary_name_scope) as name_scope:
        store = _store()
        outer, scope = store.current, _opened(store, name_or_scope, default_name, name_scope, reuse)
        defaults = {"initializer": initializer, "regularizer": regularizer, "constraint": constraint, "caching_device": caching_device,
                    "partitioner": partitioner, "use_resource": use_resource, "dtype": None if dtype is None else as_dtype(dtype)}
        vars(scope).update({setting: value for setting, value in defaults.items() if value is not None})
        if custom_getter is not None:
            scope.custom_getter = _chained(custom_getter, scope.custom_getter)
        store.current = scope
        record = store.entered.at(scope.name)
        record.count += 1
        inside = copy.deepcopy(record.inside) if isinstance(name_or_scope, VariableScope) else {}
        try:
            yield scope
        finally:
            store.current = outer
            # Default names start anew inside a scope that is entered again: they name the same variables.
            store.entered.at(scope.name).inside = inside


@contextmanager
def _name_scope(name_or_scope: str | VariableScope | None, default_name: str | None, auxiliary: bool) -> Iterator[str]:
    """The name scope for the operations of a variable scope; gives its prefix."""
    graph = get_default_graph()
    name = name_or_scope.name.split("/")[-1] if isinstance(name_or_scope, VariableScope) else name_or_scope
    name = default_name if name is None else name
    if name and auxiliary:
        with graph.name_scope(name) as prefix:
            yield prefix
    else:
        current = graph.get_name_scope()
        yield f"{current}/" if current else ""


def _opened(store: _Store, name_or_scope: str | VariableScope | None, default_name: str | None, name_scope: str,
            reuse: Reuse) -> VariableScope:
    """The scope to enter, before the arguments of `variable_scope` replace its defaults."""
    if isinstance(name_or_scope, VariableScope):
        scope = copy.copy(name_or_scope)
        scope.reuse = name_or_scope.reuse if reuse is None else reuse
        return scope
    outer = store.current
    scope = copy.copy(outer)
    prefix = f"{outer.name}/" if outer.name else ""
    scope.name = prefix + (name_or_scope if name_or_scope is not None else _unentered(store, prefix, default_name or ""))
    scope.reuse = reuse or outer.reuse
    scope.original_name_scope = name_scope
    return scope


def _unentered(store: _Store, prefix: str, name: str) -> str:
    """`name`, with a suffix where a scope of that name has been entered: "layer", "layer_1"."""
    first = store.entered.at(prefix + name)
    if not first.count:
        return name
    while store.entered.at(f"{prefix}{name}_{first.next_suffix}").count:
        first.next_suffix += 1
    return f"{name}_{first.next_suffix}"


def _chained(inner: Callable[..., Any], outer: Callable[..., Any] | None) -> Callable[..., Any]:
    """A getter that asks `inner` first, which calls `outer`, which calls the true getter."""
    if outer is None:
        return inner
    return lambda getter, *args, **kwargs: inner(lambda *a, **k: outer(getter, *a, **k), *args, **kwargs)


def create_partitioned_variables(shape: Any, slicing: Sequence[int], initializer: Any, dtype: Any = dtypes.float32, trainable: bool = True,
                                 collections: Iterable[str] | None = None, name: str | None = None, reuse: Reuse = None) -> list[Variable]:
    """The parts of a variable, as many along each axis as `slicing` says (more than one along one axis only), in scope `name`."""
    if len(shape) != len(slicing):
        raise ValueError("The 'shape' and 'slicing' of a partitioned Variable must have the length: "
                         f"shape: {list(shape)}, slicing: {list(slicing)}")
    if len(shape) < 1:
        raise ValueError(f"A partitioned Variable must have rank at least 1: shape: {list(shape)}")

    def partitioner(**unused: Any) -> Sequence[int]:
        return slicing
    with variable_scope(name, "PartitionedVariable", reuse=reuse) as scope, get_default_graph().name_scope(None):
        return list(_store().get(scope.name, shape, dtype, initializer, None, scope.reuse, trainable, collections, None, partitioner))


def variable_op_scope(values: Iterable[Any] | None, name_or_scope: str | VariableScope | None, default_name: str | None = None,
                      initializer: Any = None, regularizer: Any = None, caching_device: Any = None, partitioner: Partitioner | None = None,
                      custom_getter: Any = None, reuse: Reuse = None, dtype: Any = None, use_resource: bool | None = None,
                      constraint: Any = None) -> AbstractContextManager[VariableScope]:
    """`variable_scope` with TF1's older order of arguments."""
    return variable_scope(name_or_scope, default_name, values, initializer, regularizer, caching_device, partitioner, custom_getter, reuse,
                          dtype, use_resource, constraint)


def no_regularizer(_: Any) -> None:
    """The regularizer that adds nothing, where the scope's default would."""
