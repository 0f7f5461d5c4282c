"""What the layers of `contrib` share: variables under the names of slim, and outputs and variables in the collections asked for."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.core.graph import get_default_graph
from graphc.core.keys import GraphKeys
from graphc.core.operation import Tensor

Getter = Callable[..., Any]


def model_getter(rename: Mapping[str, str]) -> Getter:
    """A custom getter: the last part of a variable's name renamed ("kernel" -> "weights"), the variable also in MODEL_VARIABLES."""
    def getter(true_getter: Getter, name: str, *args: Any, **kwargs: Any) -> Any:
        front, slash, last = name.rpartition("/")
        kwargs["collections"] = [*(kwargs.get("collections") or [GraphKeys.GLOBAL_VARIABLES]), GraphKeys.MODEL_VARIABLES]
        return true_getter(f"{front}{slash}{rename.get(last, last)}", *args, **kwargs)
    return getter


def keep_variable(variable: Any, collections: Any, name: str) -> None:
    """Adds a variable to `collections`, a list of keys or one for each name of a variable."""
    keys = collections.get(name, ()) if isinstance(collections, Mapping) else collections or ()
    if variable is not None:
        for key in keys:
            get_default_graph().add_to_collection(key, variable)


def collected(collections: Any, outputs: Tensor) -> Tensor:
    """`outputs`, kept in `collections` (a key, or a list of them)."""
    if collections:
        get_default_graph().add_to_collections(collections, outputs)
    return outputs
