"""Templates: a function that makes its variables when it is first called, and finds the same ones at every later call."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from graphc.variable_scope import VariableScope, variable_scope
from graphc.variables import Variable, trainable_variables


class Template:
    """A function that makes its variables at the first call and finds the same ones at every other (see `make_template`)."""

    def __init__(self, name: str, func: Callable[..., Any], create_scope_now: bool, unique_name: str | None, custom_getter: Any) -> None:
        self.func = func
        self.name = name
        self._unique_name = unique_name
        self._custom_getter = custom_getter
        self._made = False
        self._scope: VariableScope | None = None
        if create_scope_now:
            with self._opened():
                pass

    def _opened(self) -> AbstractContextManager[VariableScope]:
        """Opens the scope of the template, of its own unique name at the first time."""
        if self._scope is not None:
            return variable_scope(self._scope, reuse=True if self._made else None)
        return self._first()

    @contextmanager
    def _first(self) -> Iterator[VariableScope]:
        with variable_scope(self._unique_name, self.name, custom_getter=self._custom_getter) as scope:
            self._scope = scope
            yield scope

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._opened():
            if self._made:
                before = len(trainable_variables())
                result = self.func(*args, **kwargs)
                if len(trainable_variables()) != before:
                    raise ValueError("New variable created when calling a template after the first time, perhaps you used graphc.Variable "
                                     f"when you meant graphc.get_variable: {trainable_variables()[before:]}")
                return result
            result = self.func(*args, **kwargs)
            self._made = True
            return result

    @property
    def variable_scope(self) -> VariableScope | None:
        """The scope of the template's variables; None before it is made."""
        return self._scope

    @property
    def variable_scope_name(self) -> str | None:
        return None if self._scope is None else self._scope.name

    @property
    def trainable_variables(self) -> list[Variable]:
        return [] if self._scope is None else self._scope.trainable_variables()

    @property
    def global_variables(self) -> list[Variable]:
        return [] if self._scope is None else self._scope.global_variables()

    @property
    def local_variables(self) -> list[Variable]:
        return [] if self._scope is None else self._scope.local_variables()

    @property
    def variables(self) -> list[Variable]:
        return self.global_variables + self.local_variables


def make_template(name_: str, func_: Callable[..., Any], create_scope_now_: bool = False, unique_name_: str | None = None,
                  custom_getter_: Any = None, **kwargs: Any) -> Template:
    """`func_` (with `kwargs`) as a function whose variables are made at its first call and shared by all later ones.

    name_: of the variable scope, made unique; unique_name_: of the scope as it is. create_scope_now_: the name is made unique now rather
    than at the first call. ValueError at a later call that makes a new variable.
    """
    return Template(name_, partial(func_, **kwargs) if kwargs else func_, create_scope_now_, unique_name_, custom_getter_)
