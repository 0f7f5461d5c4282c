"""`Optimizer`: what all optimizers share: gradients of a loss, slots (variables beside each trained one), and one update operation each.

An optimizer only declares: `minimize` appends the backward pass and the updates to the user's graph, and the compiler fuses them.
"""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.dtypes import DType
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.leaves import group
from graphc.core.operation import Operation, Tensor
from graphc.gradients import gradients
from graphc.ops import cast, zeros
from graphc.variables import Variable, assign_add, trainable_variables

GradAndVar = tuple[Tensor | None, Variable]


class Optimizer:
    """Base of the optimizers. A subclass gives `_prepare` (hyperparameters as tensors), `_create_slots` and `_apply`."""

    GATE_NONE, GATE_OP, GATE_GRAPH = 0, 1, 2

    def __init__(self, use_locking: bool = False, name: str = "Optimizer") -> None:
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._name = name
        self._slots: dict[str, dict[Variable, Variable]] = {}
        self._extra: dict[str, Variable] = {}

    def get_name(self) -> str:
        return self._name

    # -- declaring ----------------------------------------------------------------------------------------------------------------------

    def minimize(self, loss: Tensor, global_step: Variable | None = None, var_list: Iterable[Variable] | None = None,
                 gate_gradients: int = GATE_OP, aggregation_method: int | None = None, colocate_gradients_with_ops: bool = False,
                 name: str | None = None, grad_loss: Tensor | None = None) -> Operation:
        """Declares one training step that lowers `loss` (any shape; its sum counts) and gives its operation.

        global_step: a variable to add one to. var_list: the variables to train (default: all trainable ones). ValueError where no
        variable has a gradient.
        """
        pairs = self.compute_gradients(loss, var_list, gate_gradients, aggregation_method, colocate_gradients_with_ops, grad_loss)
        if all(gradient is None for gradient, _ in pairs):
            names = [str(variable) for _, variable in pairs]
            raise ValueError("No gradients provided for any variable, check your graph for ops that do not support gradients, "
                             f"between variables {names} and loss {loss}.")
        return self.apply_gradients(pairs, global_step, name)

    def compute_gradients(self, loss: Tensor, var_list: Iterable[Variable] | None = None, gate_gradients: int = GATE_OP,
                          aggregation_method: int | None = None, colocate_gradients_with_ops: bool = False,
                          grad_loss: Tensor | None = None) -> list[GradAndVar]:
        """(gradient of `loss`, variable) for each variable; None for one that the loss does not depend on."""
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ValueError("gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, Optimizer.GATE_GRAPH.  "
                             f"Not {gate_gradients}")
        variables = list(trainable_variables() if var_list is None else var_list)
        for variable in variables:
            if not isinstance(variable, Variable):
                raise TypeError(f"Argument is not a variable: {variable}")
        if not variables:
            raise ValueError("No variables to optimize.")
        found = gradients(loss, variables, grad_ys=grad_loss)
        return list(zip(found, variables, strict=True))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]], global_step: Variable | None = None,
                        name: str | None = None) -> Operation:
        """Declares the updates for (gradient, variable) pairs and gives the operation that makes all of them. Pairs without gradient are
        left out; ValueError where none is left."""
        pairs = [(gradient, variable) for gradient, variable in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        present = [(convert_to_tensor(gradient, variable.dtype), variable) for gradient, variable in pairs if gradient is not None]
        if not present:
            raise ValueError(f"No gradients provided for any variable: {[str(variable) for _, variable in pairs]}.")
        graph = get_default_graph()
        with graph.control_dependencies(None):
            self._create_slots([variable for _, variable in present])
        with graph.name_scope(name or self._name) as scope:
            self._prepare()
            updates = [self._update(gradient, variable) for gradient, variable in present]
            updates += self._finish([update for update in updates if update is not None])
            if global_step is None:
                step = group(*updates, name=scope)
            else:
                with graph.control_dependencies([group(*updates, name="update")]):
                    step = assign_add(global_step, _one(global_step.dtype), name=scope).op
        graph.get_collection_ref(GraphKeys.TRAIN_OP).append(step)
        return step

    def _update(self, gradient: Tensor, variable: Variable) -> Operation:
        with get_default_graph().name_scope(f"update_{variable.op.name}"), get_default_graph().colocate_with(variable):
            update = self._apply(gradient, variable)
            if variable.constraint is None:
                return update
            with get_default_graph().control_dependencies([update]):
                constrained: Operation = variable.assign(variable.constraint(variable.value())).op
            return constrained

    # -- slots --------------------------------------------------------------------------------------------------------------------------

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The slot `name` ("momentum", "m", ...) of `var`; None before it is made."""
        return self._slots.get(name, {}).get(var)

    def get_slot_names(self) -> list[str]:
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All variables that the optimizer keeps: slots and what it keeps once."""
        slots = [slot for each in self._slots.values() for slot in each.values()]
        return sorted([*self._extra.values(), *slots], key=lambda variable: variable.name)

    def _zeros_slot(self, variable: Variable, slot: str, scope: str) -> Variable:
        """A variable of zeros shaped like `variable`, named `<variable>/<scope>`."""
        known = self._slots.setdefault(slot, {})
        if variable not in known:
            shape, dtype = variable.shape_tuple, variable.dtype
            with get_default_graph().name_scope(None), get_default_graph().colocate_with(variable):
                known[variable] = Variable(lambda: zeros(shape, dtype), trainable=False, name=f"{variable.op.name}/{scope}")
        return known[variable]

    def _extra_variable(self, name: str, value: float, var_list: Sequence[Variable]) -> Variable:
        """A scalar that the optimizer keeps once, by `name`, made at the root of the name scopes, on the device of the first of `var_list`;
        a Python number is float32, as in TF1."""
        if name not in self._extra:
            first = min(var_list, key=lambda variable: variable.name)
            with get_default_graph().name_scope(None), get_default_graph().colocate_with(first):
                self._extra[name] = Variable(value, trainable=False, name=name)
        return self._extra[name]

    # -- what a subclass gives ----------------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        """Makes tensors of the hyperparameters, inside the update's name scope."""

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        """Makes the slots of `var_list`."""

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        """Declares the update of one variable."""
        raise TypeError(f"{type(self).__name__} does not say how to update a variable: it must define _apply")

    def _finish(self, updates: Sequence[Operation]) -> list[Operation]:
        """Declares what follows all updates."""
        return []


def hyperparameter(value: Any, name: str) -> Tensor:
    """A number, a tensor, or a function that gives one, as a tensor."""
    return convert_to_tensor(value() if callable(value) else value, name=name)


def as_type(tensor: Tensor, dtype: DType) -> Tensor:
    """A hyperparameter in a variable's type."""
    return tensor if tensor.dtype is dtype else cast(tensor, dtype)


def _one(dtype: DType) -> Tensor:
    return convert_to_tensor(1, dtype, name="value")


