"""Plain gradient descent, and gradient descent with momentum."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.core.graph import get_default_graph
from graphc.core.operation import Operation, Tensor
from graphc.train.optimizer import Optimizer, as_type, hyperparameter
from graphc.train.updates import APPLY_GRADIENT_DESCENT, APPLY_MOMENTUM
from graphc.variables import Variable


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * gradient. learning_rate: a number, a tensor, or a function that gives one."""

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._rate: Tensor

    def _prepare(self) -> None:
        self._rate = hyperparameter(self._learning_rate, "learning_rate")

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        inputs = (variable._as_graph_element(), as_type(self._rate, variable.dtype), gradient)
        return get_default_graph().create_op(APPLY_GRADIENT_DESCENT, inputs, {}, "ApplyGradientDescent")


class MomentumOptimizer(Optimizer):
    """accumulation = momentum * accumulation + gradient; var -= learning_rate * accumulation (Sutskever et al. 2013 for use_nesterov).

    Slot "momentum", a variable `<var>/Momentum`.
    """

    def __init__(self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum",
                 use_nesterov: bool = False) -> None:
        super().__init__(use_locking, name)
        self._learning_rate, self._momentum, self._use_nesterov = learning_rate, momentum, use_nesterov
        self._rate: Tensor
        self._kept: Tensor

    def _create_slots(self, var_list: Sequence[Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "momentum", self._name)

    def _prepare(self) -> None:
        self._rate = hyperparameter(self._learning_rate, "learning_rate")
        self._kept = hyperparameter(self._momentum, "momentum")

    def _apply(self, gradient: Tensor, variable: Variable) -> Operation:
        slot = self._slots["momentum"][variable]
        inputs = (variable._as_graph_element(), slot._as_graph_element(), as_type(self._rate, variable.dtype), gradient,
                  as_type(self._kept, variable.dtype))
        return get_default_graph().create_op(APPLY_MOMENTUM, inputs, {"use_nesterov": self._use_nesterov}, "ApplyMomentum")
