"""Which variables have a value: asked, reported and asserted when the graph runs. TF1's `is_variable_initialized` and its kin."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.core import dtypes
from graphc.core.checks import require
from graphc.core.components import CompositeTensor
from graphc.core.convert import convert_to_tensor
from graphc.core.errors import FailedPreconditionError
from graphc.core.graph import get_default_graph
from graphc.core.leaves import group
from graphc.core.opdef import Attrs, GraphType, State, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.core.scopes import get_default_session
from graphc.variables import Variable, global_variables, local_variables


def _bool_scalar(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return [(dtypes.bool, ())]


def _no_outputs(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return []


@composite("IsVariableInitialized", stateful=True, infer_types=_bool_scalar)
def IS_VARIABLE_INITIALIZED(state: State, ref: Node) -> Node:
    """Whether the variable has a value at this point."""
    return state.is_initialised()


@composite("AssertInitialized", stateful=True, infer_types=_no_outputs)
def ASSERT_INITIALIZED(state: State, ref: Node) -> Sequence[Node]:
    """FailedPreconditionError unless the variable has a value at this point."""
    name = state.variable
    require(state.is_initialised(), lambda: f"Attempting to use uninitialized value {name}", error=FailedPreconditionError)
    return ()


def is_variable_initialized(variable: Any) -> Tensor:
    """Whether the variable has a value when the graph runs: a bool scalar."""
    target = convert_to_tensor(variable, as_ref=True)
    return target.op.graph.create_op(IS_VARIABLE_INITIALIZED, (target,)).outputs[0]


class UninitializedNames(CompositeTensor):
    """The names of those variables that have no value when it is fetched: a vector of bytes. (Strings are no tensors here.)"""

    def __init__(self, variables: Sequence[Variable], name: str) -> None:
        self._names = [variable.op.name.encode() for variable in variables]
        with get_default_graph().name_scope(name):
            self._initialised = tuple(is_variable_initialized(variable) for variable in variables)

    @property
    def components(self) -> tuple[Tensor, ...]:
        return self._initialised

    def value_of(self, values: Sequence[Any]) -> Any:
        return np.array([name for name, known in zip(self._names, values, strict=True) if not known], dtype=object)

    def eval(self, session: Any = None) -> Any:
        """The names in `session`, or in the default one."""
        chosen = get_default_session() if session is None else session
        if chosen is None:
            raise ValueError("Cannot evaluate the names of uninitialized variables: no default session is registered")
        return chosen.run(self)


def report_uninitialized_variables(var_list: Sequence[Variable] | None = None, name: str = "report_uninitialized_variables"
                                   ) -> UninitializedNames:
    """What a session runs to get the names of the variables without a value, of `var_list` or of all global and local ones."""
    return UninitializedNames(global_variables() + local_variables() if var_list is None else var_list, name)


def assert_variables_initialized(var_list: Sequence[Variable] | None = None) -> Operation | None:
    """An operation whose run raises FailedPreconditionError where a variable (default: global and local ones) has no value; None where
    there is no variable."""
    variables = global_variables() + local_variables() if var_list is None else list(var_list)
    if not variables:
        return None
    return group(*(variable.graph.create_op(ASSERT_INITIALIZED, (variable._as_graph_element(),)) for variable in variables))
