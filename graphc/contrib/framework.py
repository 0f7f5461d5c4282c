"""TF1's `contrib.framework`, what layers lean on: default arguments by scope (`arg_scope`), model variables, lists of variables."""
from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from graphc.core import dtypes
from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.global_step import assert_global_step, create_global_step, get_global_step, get_or_create_global_step
from graphc.variable_scope import get_variable, get_variable_scope
from graphc.variables import Variable, global_variables, model_variables

__all__ = [
    "add_arg_scope", "add_model_variable", "arg_scope", "arg_scoped_arguments", "assert_global_step", "create_global_step",
    "current_arg_scope", "get_global_step", "get_model_variables", "get_or_create_global_step", "get_trainable_variables",
    "get_unique_variable", "get_variables", "get_variables_by_name", "get_variables_by_suffix", "get_variables_to_restore",
    "has_arg_scope", "local_variable", "model_variable", "variable",
]
Scope = Mapping[str, Mapping[str, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])


# Default arguments by scope ------------------------------------------------------------------------------------------------------------

class _Scopes(threading.local):
    """The defaults that are open on this thread: by function, by argument."""

    def __init__(self) -> None:
        self.current: Scope = {}


_scopes = _Scopes()
_known: dict[str, Callable[..., Any]] = {}


def _key(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def add_arg_scope(func: Function) -> Function:
    """Lets `arg_scope` give `func` default arguments."""
    key = _key(func)

    @wraps(func)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **{**_scopes.current.get(key, {}), **kwargs})
    _known[key] = scoped
    return scoped  # type: ignore[return-value]  # the same signature


def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Whether `arg_scope` can give the function default arguments."""
    return _key(func) in _known


def arg_scoped_arguments(func: Callable[..., Any]) -> dict[str, Any]:
    """The default arguments of the function in the scopes that are open."""
    return dict(_scopes.current.get(_key(func), {}))


def current_arg_scope() -> Scope:
    """What `arg_scope` gives inside: the defaults that are open now."""
    return _scopes.current


@contextmanager
def arg_scope(list_ops_or_scope: Sequence[Callable[..., Any]] | Scope, **kwargs: Any) -> Iterator[Scope]:
    """Inside, calls of the functions take `kwargs` as defaults; gives the scope, which can be opened again.

    list_ops_or_scope: functions that `add_arg_scope` knows, or a scope that an earlier `arg_scope` gave (then without kwargs).
    """
    if isinstance(list_ops_or_scope, Mapping):
        if kwargs:
            raise ValueError("When attempting to re-use a scope by suppling a dictionary, kwargs must be empty.")
        scope: Scope = dict(list_ops_or_scope)
    else:
        if not isinstance(list_ops_or_scope, list | tuple):
            raise TypeError("list_ops_or_scope must either be a list/tuple or reused scope (i.e. dict)")
        unknown = [function for function in list_ops_or_scope if not has_arg_scope(function)]
        if unknown:
            raise ValueError(f"{_key(unknown[0])} is not decorated with @add_arg_scope")
        scope = {**_scopes.current, **{_key(f): {**_scopes.current.get(_key(f), {}), **kwargs} for f in list_ops_or_scope}}
    before = _scopes.current
    _scopes.current = scope
    try:
        yield scope
    finally:
        _scopes.current = before


# Variables -----------------------------------------------------------------------------------------------------------------------------

@add_arg_scope
def variable(name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None, trainable: bool = True,
             collections: Iterable[str] | None = None, caching_device: Any = None, device: Any = None, partitioner: Any = None,
             custom_getter: Any = None, use_resource: bool | None = None) -> Any:
    """`get_variable` on `device` (a name, or a function of the operation)."""
    keys = None if collections is None else list(dict.fromkeys(collections))
    with get_default_graph().device(device or ""):
        getter = get_variable_scope() if custom_getter is None else None
        if getter is not None:
            return getter.get_variable(name, shape, dtype, initializer, regularizer, trainable=trainable, collections=keys,
                                       caching_device=caching_device, partitioner=partitioner, use_resource=use_resource)
        return get_variable(name, shape, dtype, initializer, regularizer, trainable, keys, caching_device, partitioner,
                            use_resource=use_resource, custom_getter=custom_getter)


@add_arg_scope
def model_variable(name: str, shape: Any = None, dtype: Any = dtypes.float32, initializer: Any = None, regularizer: Any = None,
                   trainable: bool = True, collections: Iterable[str] | None = None, caching_device: Any = None, device: Any = None,
                   partitioner: Any = None, custom_getter: Any = None, use_resource: bool | None = None) -> Any:
    """`variable`, also in the collection MODEL_VARIABLES."""
    keys = [*(collections or ()), GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES]
    return variable(name, shape, dtype, initializer, regularizer, trainable, keys, caching_device, device, partitioner, custom_getter,
                    use_resource)


def local_variable(initial_value: Any, validate_shape: bool = True, name: str | None = None, use_resource: bool | None = None) -> Variable:
    """A variable in the collection LOCAL_VARIABLES, not trainable."""
    return Variable(initial_value, trainable=False, collections=[GraphKeys.LOCAL_VARIABLES], validate_shape=validate_shape, name=name)


def add_model_variable(var: Variable) -> None:
    """Adds a variable to the collection MODEL_VARIABLES, where it is not there."""
    if not any(var is other for other in model_variables()):
        get_default_graph().add_to_collection(GraphKeys.MODEL_VARIABLES, var)


def get_variables(scope: Any = None, suffix: str | None = None, collection: str = GraphKeys.GLOBAL_VARIABLES) -> list[Variable]:
    """The variables of a collection whose names begin with `scope` (a regular expression, or a variable scope) and end in "/<suffix>"."""
    pattern = getattr(scope, "name", scope)
    if suffix is not None:
        suffix = suffix if ":" in suffix else f"{suffix}:"
        pattern = f"{pattern or ''}.*{suffix}"
    return get_default_graph().get_collection(collection, pattern)


def get_model_variables(scope: Any = None, suffix: str | None = None) -> list[Variable]:
    """`get_variables` of MODEL_VARIABLES."""
    return get_variables(scope, suffix, GraphKeys.MODEL_VARIABLES)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Variable]:
    """`get_variables` of TRAINABLE_VARIABLES."""
    return get_variables(scope, suffix, GraphKeys.TRAINABLE_VARIABLES)


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Variable]:
    """The variables whose names end in `suffix`."""
    return get_variables(scope, suffix)


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Variable]:
    """The variables whose names end in "/<given_name>", or are it."""
    suffix = f"/{given_name}:|^{given_name}:"
    return get_variables(scope, suffix)


def get_unique_variable(var_op_name: str) -> Variable:
    """The variable of this name; ValueError where there is none."""
    found = [each for each in get_variables(re.escape(var_op_name)) if each.op.name == var_op_name]
    if not found:
        raise ValueError(f"Variable {var_op_name} does not match any variable in the model")
    return found[0]


def get_variables_to_restore(include: Iterable[str] | None = None, exclude: Iterable[str] | None = None) -> list[Variable]:
    """The global variables in the scopes of `include` (default: all), without those in the scopes of `exclude`."""
    chosen = global_variables() if include is None else [each for scope in include for each in get_variables(scope)]
    left_out = {each for scope in exclude or () for each in get_variables(scope)}
    return [each for each in dict.fromkeys(chosen) if each not in left_out]


