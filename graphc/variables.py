"""Variables: state that outlives a run. Declared as TF1 declares them: `w` (VariableV2), `w/Assign`, `w/read`.

Operations on one variable take effect in the order of their declaration. So using a Variable reads its value at that point: the cached
`w/read`, or a new read where an operation that writes the variable has been declared since.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import partial
from typing import Any

from graphc.core.checks import require
from graphc.core.convert import as_array, convert_to_tensor, register_tensor_conversion_function
from graphc.core.dtypes import DType, as_dtype
from graphc.core.errors import OutOfRangeError
from graphc.core.graph import Graph, get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.leaves import IDENTITY, group
from graphc.core.opdef import Attrs, GraphType, OpDef, State, composite
from graphc.core.operation import OPERATORS, Operation, Operators, Tensor
from graphc.core.program import Node
from graphc.core.scopes import get_default_session
from graphc.core.shapes import TensorShape, check_equal_shapes
from graphc.core.types import Dims, show_dims
from graphc.ops.gathering import gather
from graphc.ops.scatter_variables import RowUpdates
from graphc.primitives import add, compare, full, subtract


class VariableSynchronization(Enum):
    """TF1's word for when replicas of a variable are brought together. There are none here; ON_READ makes a variable not trainable."""

    AUTO = 0
    NONE = 1
    ON_WRITE = 2
    ON_READ = 3


class VariableAggregation(Enum):
    """TF1's word for how the updates of replicas are combined. There are none here."""

    NONE = 0
    SUM = 1
    MEAN = 2
    ONLY_FIRST_REPLICA = 3
    ONLY_FIRST_TOWER = 3


def _variable_type(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [(attrs["dtype"], attrs["shape"])]


@composite("VariableV2", stateful=True, infer_types=_variable_type)
def VARIABLE(state: State, *, dtype: DType, shape: Dims) -> Node:
    """The variable itself; its value is that at the point where it is used."""
    return state.read(state.name)


def _assigned_type(type_name: str, inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    (dtype, shape), (value_dtype, value_shape) = inputs
    if value_dtype is not dtype:
        raise TypeError(f"Input 'value' of '{type_name}' Op has type {value_dtype.name} that does not match type {dtype.name} "
                        "of argument 'ref'.")
    if shape is not None and value_shape is not None:
        check_equal_shapes(shape, value_shape)
    return [(dtype, shape)]


@composite("Assign", stateful=True, infer_types=partial(_assigned_type, "Assign"))
def ASSIGN(state: State, ref: Node, value: Node) -> Node:
    """ref = value. The output is the new value."""
    state.write(state.variable, value)
    return value


@composite("AssignAdd", stateful=True, infer_types=partial(_assigned_type, "AssignAdd"))
def ASSIGN_ADD(state: State, ref: Node, value: Node) -> Node:
    """ref += value."""
    return _updated(state, add(state.read(state.variable), value))


@composite("AssignSub", stateful=True, infer_types=partial(_assigned_type, "AssignSub"))
def ASSIGN_SUB(state: State, ref: Node, value: Node) -> Node:
    """ref -= value."""
    return _updated(state, subtract(state.read(state.variable), value))


def _updated(state: State, value: Node) -> Node:
    state.write(state.variable, value)
    return value


def _same_type(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [inputs[0]]


@composite("CountUpTo", stateful=True, infer_types=_same_type)
def COUNT_UP_TO(state: State, ref: Node, *, limit: int) -> Node:
    """The value, which then grows by one; OutOfRangeError where it has reached the limit."""
    value = state.read(state.variable)
    require(compare(value, full(limit, value.type), "LT"), lambda: f"Reached limit of {limit}", error=OutOfRangeError)
    state.write(state.variable, add(value, full(1, value.type)))
    return value


class Variable(RowUpdates, Operators):
    """A tensor that keeps its value between runs, until an operation assigns another.

    initial_value: anything that converts to a tensor, or a function that gives it; its shape must be known. trainable: also in the
    collection that optimizers train. collections: default [GraphKeys.GLOBAL_VARIABLES]. constraint: a function of the new value that
    optimizers apply after an update. Raises ValueError without an initial value or a known shape, TypeError or ValueError where `dtype`
    does not fit the value. The other arguments are TF1's and change nothing: reads are always local (caching_device), every variable
    behaves as a resource variable (use_resource), there are no replicas (aggregation; synchronization ON_READ only means not trainable).
    """

    __array_priority__ = 100

    def __init__(self, initial_value: Any = None, trainable: bool | None = None, collections: Iterable[str] | None = None,
                 validate_shape: bool = True, caching_device: Any = None, name: str | None = None, variable_def: Any = None,
                 dtype: Any = None, expected_shape: Any = None, import_scope: str | None = None,
                 constraint: Callable[[Tensor], Tensor] | None = None, use_resource: bool | None = None,
                 synchronization: VariableSynchronization = VariableSynchronization.AUTO,
                 aggregation: VariableAggregation = VariableAggregation.NONE, shape: Any = None) -> None:
        if variable_def is not None:
            raise ValueError("variable_def is not supported: a graph is declared, not loaded")
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        trainable = _trainable(trainable, synchronization, name)
        keys = _collections(collections, trainable)
        expected = TensorShape(shape)
        graph = get_default_graph()
        # A variable is made once, whatever branch or order of operations it is first mentioned in.
        with graph.control_dependencies(None), graph.name_scope(name or "Variable") as scope:
            self._initial_value = _initial_tensor(graph, initial_value, None if dtype is None else as_dtype(dtype))
            shape = self._initial_value.shape_tuple
            if shape is None or None in shape:
                raise ValueError(f"initial_value must have a shape specified: {self._initial_value}")
            if not expected.is_compatible_with(self._initial_value.shape):
                raise ValueError(f"The initial value's shape ({self._initial_value.shape}) is not compatible with the explicitly supplied "
                                 f"`shape` argument ({expected}).")
            attrs = {"dtype": self._initial_value.dtype, "shape": shape}
            self._ref = graph.create_op(VARIABLE, (), attrs, scope).outputs[0]
            self._initializer = graph.create_op(ASSIGN, (self._ref, self._initial_value), {}, "Assign")
            self._read = graph.create_op(IDENTITY, (self._ref,), {}, "read").outputs[0]
        self._trainable = trainable
        self.synchronization, self.aggregation = synchronization, aggregation
        self.constraint = constraint
        graph.add_to_collections(keys, self)

    @property
    def name(self) -> str:
        """The name of the variable's tensor: "w:0"."""
        return self._ref.name

    @property
    def op(self) -> Operation:
        """The "VariableV2" operation. Its output is what gradients and fetches of the variable mean."""
        return self._ref.op

    @property
    def graph(self) -> Graph:
        return self._ref.op.graph

    @property
    def device(self) -> str:
        return self._ref.op.device

    @property
    def dtype(self) -> DType:
        return self._ref.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref.shape

    def get_shape(self) -> TensorShape:
        return self._ref.shape

    def set_shape(self, shape: Any) -> None:
        """ValueError where `shape` contradicts the variable's, which is fully known."""
        self._ref.set_shape(shape)

    @property
    def shape_tuple(self) -> tuple[int, ...]:
        """The shape as plain ints."""
        shape: tuple[int, ...] = self._ref.op.attrs["shape"]
        return shape

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def initial_value(self) -> Tensor:
        return self._initial_value

    @property
    def initializer(self) -> Operation:
        """The operation that gives the variable its initial value."""
        return self._initializer

    def value(self) -> Tensor:
        """The value at this point of the declaration: the last read, unless a write has been declared since."""
        if self.graph.last_write(self.op) > self._read.op.id:
            # Whoever uses the read has its own control inputs; one that stays with the cached read would bind later users too.
            with self.graph.control_dependencies(None), self.graph.name_scope(f"{self.op.name}/"):
                self._read = self.graph.create_op(IDENTITY, (self._ref,), {}, "read").outputs[0]
        return self._read

    def read_value(self) -> Tensor:
        """A new read of the variable, after the control inputs of the scopes that are open."""
        return self.graph.create_op(IDENTITY, (self._ref,), {}, "read").outputs[0]

    def initialized_value(self) -> Tensor:
        """The value, for another variable's initial value: one initialiser that runs both sets this variable first, in their order."""
        return self.value()

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Declares `variable = value`; gives the new value (the operation where `read_value` is False)."""
        return _outcome(_assign(ASSIGN, self._ref, value, name), read_value)

    def assign_add(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Declares `variable += delta`; gives the new value."""
        return _outcome(_assign(ASSIGN_ADD, self._ref, delta, name), read_value)

    def assign_sub(self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Declares `variable -= delta`; gives the new value."""
        return _outcome(_assign(ASSIGN_SUB, self._ref, delta, name), read_value)

    def count_up_to(self, limit: int) -> Tensor:
        """Declares a count: the value, which then grows by one. A run where it has reached `limit` raises OutOfRangeError."""
        return count_up_to(self, limit)

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """The rows at `indices`."""
        return gather(self.value(), indices, name=name)

    def eval(self, session: Any = None) -> Any:
        """The variable's value in `session`, or in the default one."""
        return self._ref.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value in `session` (or the default one) without declaring anything."""
        chosen = get_default_session() if session is None else session
        if chosen is None:
            raise ValueError("Either session argument should be provided or default session should be established")
        chosen.run(self._initializer, {self._initial_value: as_array(value, self.dtype)})

    def _as_graph_element(self) -> Tensor:
        return self._ref

    def __iter__(self) -> Any:
        raise TypeError("'Variable' object is not iterable.")

    def __repr__(self) -> str:
        return f"<graphc.Variable '{self.name}' shape={show_dims(self._ref.shape_tuple)} dtype={self.dtype.name}>"


def _trainable(trainable: bool | None, synchronization: VariableSynchronization, name: str | None) -> bool:
    if synchronization is VariableSynchronization.ON_READ:
        if trainable:
            raise ValueError("Synchronization value can be set to VariableSynchronization.ON_READ only for non-trainable variables. You "
                             f"have specified trainable=True and synchronization=VariableSynchronization.ON_READ for variable {name}.")
        return False
    return trainable is None or bool(trainable)


def _collections(collections: Iterable[str] | None, trainable: bool) -> list[str]:
    if collections is not None and not isinstance(collections, list | tuple | set):
        raise ValueError(f"collections argument to Variable constructor must be a list, tuple, or set. Got {collections} of type "
                         f"{type(collections)}")
    keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
    return [*keys, GraphKeys.TRAINABLE_VARIABLES] if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys else keys


def _initial_tensor(graph: Graph, initial_value: Any, dtype: DType | None) -> Tensor:
    if not callable(initial_value):
        return convert_to_tensor(initial_value, dtype, "initial_value")
    with graph.name_scope("Initializer"), graph.device(None):
        return convert_to_tensor(initial_value(), dtype, "initial_value")


def _assign(definition: OpDef, ref: Any, value: Any, name: str | None) -> Operation:
    """Adds an assignment to `ref` (a Variable or its tensor), with a constant value inside its name scope: "Assign/value"."""
    target = convert_to_tensor(ref, as_ref=True)
    if target.op.type != VARIABLE.type:
        raise TypeError(f"{definition.type} needs a Variable, not {ref!r}")
    graph = target.op.graph
    with graph.name_scope(name or definition.type) as scope:
        dtype = None if isinstance(value, Tensor | Variable) else target.dtype
        return graph.create_op(definition, (target, convert_to_tensor(value, dtype, "value")), {}, scope)


def _outcome(operation: Operation, read_value: bool) -> Tensor | Operation:
    return operation.outputs[0] if read_value else operation


def _convert(variable: Variable, dtype: DType | None, name: str | None, as_ref: bool) -> Tensor:
    if dtype is not None and dtype is not variable.dtype:
        raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for variable of type '{variable.dtype.name}'")
    return variable._ref if as_ref else variable.value()


register_tensor_conversion_function(Variable, _convert)


def read_delegate(operator: str) -> Callable[..., Any]:
    """`operator` of what a variable's `value()` gives. Looked up when used: graphc.ops installs the operators of Tensor later."""
    def apply(variable: Any, *args: Any) -> Any:
        return getattr(Tensor, operator)(variable.value(), *args)
    apply.__name__ = operator
    return apply


for _operator in OPERATORS - {"__eq__", "__ne__"}:
    setattr(Variable, _operator, read_delegate(_operator))


def assign(ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Declares `ref = value` for a Variable; gives the new value."""
    return _assign(ASSIGN, ref, value, name).outputs[0]


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Declares `ref += value` for a Variable; gives the new value."""
    return _assign(ASSIGN_ADD, ref, value, name).outputs[0]


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Tensor:
    """Declares `ref -= value` for a Variable; gives the new value."""
    return _assign(ASSIGN_SUB, ref, value, name).outputs[0]


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """Declares a count: the value of the scalar variable, which then grows by one; OutOfRangeError where it has reached `limit`."""
    target = convert_to_tensor(ref, as_ref=True)
    if target.op.type != VARIABLE.type or target.shape_tuple != () or not target.dtype.is_integer:
        raise TypeError(f"CountUpTo needs a scalar Variable of integers, not {ref!r}")
    return target.op.graph.create_op(COUNT_UP_TO, (target,), {"limit": int(limit)}, name).outputs[0]


def global_variables(scope: str | None = None) -> list[Variable]:
    """The variables of the default graph; with `scope`, those whose names that regular expression matches from the start."""
    return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def local_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.MODEL_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Variable]:
    return get_default_graph().get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Variable]:
    """The variables that optimizers train."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Variable], name: str = "init") -> Operation:
    """An operation that gives each variable of `var_list` its initial value."""
    return group(*(variable.initializer for variable in var_list), name=name)


def global_variables_initializer() -> Operation:
    """An operation that initialises the global variables declared so far."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that initialises the local variables declared so far."""
    return variables_initializer(local_variables())


_resource = {"enabled": False}


def enable_resource_variables() -> None:
    """TF1's switch to resource variables. Every variable behaves as one here, so only `resource_variables_enabled` changes."""
    _resource["enabled"] = True


def disable_resource_variables() -> None:
    """TF1's switch back: only `resource_variables_enabled` changes."""
    _resource["enabled"] = False


def resource_variables_enabled() -> bool:
    """What was asked for last; False at first."""
    return _resource["enabled"]


# TF1's older names, of before 1.0.
all_variables = global_variables
initialize_variables = variables_initializer
initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer
