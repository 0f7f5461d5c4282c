"""Moving averages of variables and tensors: `ExponentialMovingAverage`, and the one assignment that all moving averages are made of."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from graphc.core import dtypes
from graphc.core.convert import convert_to_tensor
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.leaves import group
from graphc.core.operation import Operation, Tensor
from graphc.ops.creation import zeros
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, div, minimum, pow_, truediv
from graphc.variable_scope import get_variable, variable_scope
from graphc.variables import Variable, global_variables, moving_average_variables, trainable_variables


def assign_moving_average(variable: Variable, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None) -> Tensor:
    """Declares variable -= (1 - decay) (variable - value), and gives the new value.

    zero_debias: the variable began as 0; a second variable "<variable>/biased" keeps the average, which is divided by 1 - decay^t, t the
    number of updates ("<variable>/local_step"), as D. Kingma and J. Ba do (arXiv:1412.6980, section 3).
    """
    with name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        rate = cast(as_tensor(1.0 - decay, name="decay"), variable.dtype)
        with get_default_graph().colocate_with(variable):
            if zero_debias:
                return _debiased(variable, as_tensor(value), rate, scope)
            result: Tensor = variable.assign_sub((variable - as_tensor(value)) * rate, name=scope)
            return result


def _debiased(variable: Variable, value: Tensor, rate: Tensor, scope: str) -> Tensor:
    shape, dtype, name = variable.shape_tuple, variable.dtype, variable.op.name
    with get_default_graph().name_scope(None):
        biased = Variable(lambda: zeros(shape, dtype), trainable=False, name=f"{name}/biased")
        local_step = Variable(lambda: zeros((), dtype), trainable=False, name=f"{name}/local_step")
    total = biased.assign_sub((biased - value) * rate)
    updates = local_step.assign_add(1)
    result: Tensor = variable.assign(total / (1 - pow_(1.0 - rate, updates)), name=scope)
    return result


def weighted_moving_average(value: Tensor, decay: Any, weight: Tensor, truediv: bool = True, collections: Sequence[str] | None = None,
                            name: str | None = None) -> Tensor:
    """Declares the update of two moving averages, of value * weight and of weight, from 0, and gives their quotient."""
    keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else collections
    with variable_scope(name, "WeightedMovingAvg", [value, weight, decay]) as scope:
        kept = [get_variable(what, each.shape, each.dtype, lambda shape, dtype: zeros(shape, dtype), trainable=False, collections=keys)
                for what, each in (("value_x_weight", value), ("weight", weight))]
        above = assign_moving_average(kept[0], value * weight, decay, zero_debias=False)
        below = assign_moving_average(kept[1], weight, decay, zero_debias=False)
        return _divided(above, below, truediv, scope.name)


def _divided(x: Tensor, y: Tensor, true: bool, name: str) -> Tensor:
    return truediv(x, y, name) if true else div(x, y, name)


class ExponentialMovingAverage:
    """Keeps for each variable a shadow that follows it: shadow -= (1 - decay) (shadow - variable).

    num_updates: a count (a tensor or variable); the decay is then min(decay, (1 + n) / (10 + n)), so that averages move faster at first.
    zero_debias: of tensors, whose shadows begin as 0, the average is corrected for that. name: of the shadows, "<variable>/<name>".
    """

    def __init__(self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage") -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """Declares the update of all shadows (made where there are none yet) and gives its operation.

        var_list: variables or tensors of floats; default all trainable variables. The shadow of a variable begins with its initial value,
        and the variable joins MOVING_AVERAGE_VARIABLES; that of a tensor begins as 0. TypeError for what is not of floats.
        """
        chosen = list(trainable_variables() if var_list is None else var_list)
        debiased = set()
        for each in chosen:
            if not each.dtype.is_floating:
                raise TypeError(f"The variables must be half, float, or double: {each.name}")
            if each not in self._averages:
                self._averages[each] = self._shadow(each)
                if self._zero_debias and not isinstance(each, Variable):
                    debiased.add(each)
        with get_default_graph().name_scope(self._name) as scope:
            decay = convert_to_tensor(self._decay, name="decay")
            if self._num_updates is not None:
                count = cast(self._num_updates, dtypes.float32, name="num_updates")
                decay = minimum(decay, (1.0 + count) / (10.0 + count))
            updates = [assign_moving_average(self._averages[each], each, decay, each in debiased) for each in chosen]
            return group(*updates, name=scope)

    def _shadow(self, each: Any) -> Variable:
        graph = get_default_graph()
        with graph.control_dependencies(None), graph.name_scope(None), graph.colocate_with(each):
            name = f"{each.op.name}/{self._name}"
            if isinstance(each, Variable):
                graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, each)
                return Variable(each.initialized_value(), trainable=False, name=name)
            shape, dtype = each.shape_tuple, each.dtype
            return Variable(lambda: zeros(shape, dtype), trainable=False, name=name)

    def average(self, var: Any) -> Variable | None:
        """The shadow of `var`; None where there is none."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the shadow of `var`, be it made already or not: "w/ExponentialMovingAverage"."""
        if var in self._averages:
            return self._averages[var].op.name
        return get_default_graph().unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Iterable[Variable] | None = None) -> dict[str, Variable]:
        """For a Saver: each variable by the name of its shadow where it has one (default: trainable and moving average variables), all
        other global variables by their own names."""
        averaged = trainable_variables() + moving_average_variables() if moving_avg_variables is None else list(moving_avg_variables)
        names = {self.average_name(variable): variable for variable in dict.fromkeys(averaged)}
        names.update({variable.op.name: variable for variable in global_variables()
                      if variable not in averaged and variable.op.name not in names})
        return names
