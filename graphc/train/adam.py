"""Adam (Kingma and Ba 2014, arXiv 1412.6980)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.core.graph import get_default_graph
from graphc.core.operation import Operation, Tensor
from graphc.ops import multiply
from graphc.train.optimizer import Optimizer, as_type, hyperparameter
from graphc.train.updates import APPLY_ADAM
from graphc.variables import Variable


class AdamOptimizer(Optimizer):
    """Adam with TF1's defaults and formula (`train.updates.APPLY_ADAM`).

    Slots "m" and "v" (`<var>/Adam`, `<var>/Adam_1`); scalars `beta1_power` and `beta2_power`, multiplied by beta1, beta2 after each step.
    """

    def __init__(self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8, use_locking: bool = False,
                 name: str = "Adam") -> None:
        super().__init__(use_locking, name)
        self._hyperparameters = {"learning_rate": learning_rate, "beta1": beta1, "beta2": beta2, "epsilon": epsilon}
        self._tensors: dict[str, Tensor] = {}

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for name in ("beta1", "beta2"):
            value = self._hyperparameters[name]
            self._extra_variable(f"{name}_power", value() if callable(value) else value, var_list)
        for variable in var_list:
            self._zeros_slot(variable, "m", self._name)
            self._zeros_slot(variable, "v", self._name)

    def _prepare(self) -> None:
        self._tensors = {name: hyperparameter(value, name) for name, value in self._hyperparameters.items()}

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        state = (variable, self._slots["m"][variable], self._slots["v"][variable])
        powers = [as_type(self._extra[f"{name}_power"].value(), variable.dtype) for name in ("beta1", "beta2")]
        numbers = [as_type(self._tensors[name], variable.dtype) for name in ("learning_rate", "beta1", "beta2", "epsilon")]
        inputs = (*(each._as_graph_element() for each in state), *powers, *numbers, gradient)
        return get_default_graph().create_op(APPLY_ADAM, inputs, {}, "ApplyAdam")

    def _finish(self, updates: Sequence[Operation]) -> list[Operation]:
        done = []
        with get_default_graph().control_dependencies(updates):
            for name, called in (("beta1", "Assign"), ("beta2", "Assign_1")):
                power = self._extra[f"{name}_power"]
                with get_default_graph().colocate_with(power):
                    grown = multiply(power.value(), as_type(self._tensors[name], power.dtype))
                    done.append(power.assign(grown, name=called).op)
        return done
