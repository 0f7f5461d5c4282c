"""The built-in models, for the command line, the benchmarks and the tests.

A model is a function without arguments that appends to the default graph and returns (fetches, feeds): what `Session.run` takes.
`declare` runs one by its name, or that of a Python file which defines `build`.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from graphc.core.graph import get_default_graph
from graphc.models import attention, cnn, mlp, rows, transformer
from graphc.runtime.feeds import feed_array, feed_tensors, spread
from graphc.runtime.fetches import Fetches
from graphc.scripts import RAISED, names_of, raised

Build = Callable[[], tuple[Any, Mapping[Any, Any]]]

MODELS: dict[str, Build] = {
    "mlp": mlp.build,
    "attention": attention.build,
    "cnn": cnn.build,
    "layernorm": rows.layernorm,
    "softmax": rows.softmax,
    "elementwise": rows.elementwise,
    "transformer": transformer.build,
}


def declare(name: str) -> tuple[Any, Mapping[Any, Any]]:
    """The fetches and feeds of the model `name`, declared in the default graph; ValueError where it is none (see `load`) or returns
    something else."""
    build = load(name)
    try:
        built = build()
    except RAISED as error:
        raise raised(name, error) from error
    if not (isinstance(built, tuple) and len(built) == 2 and isinstance(built[1], Mapping)):
        raise ValueError(f"build() of {name} must return (fetches, feeds), feeds a dictionary; it returned {type(built).__name__}")
    try:
        _check(*built)
    except (TypeError, ValueError) as error:
        raise ValueError(f"build() of {name}: {str(error).splitlines()[0]}") from error
    return built


def _check(fetches: Any, feeds: Mapping[Any, Any]) -> None:
    """TypeError or ValueError where no session could run `fetches` with `feeds`."""
    graph = get_default_graph()
    Fetches(fetches, graph)
    values = [each for key, value in feeds.items() for each in spread(key, value)]
    tensors = feed_tensors(tuple(feeds), graph)
    for tensor, value in zip(tensors, values, strict=True):
        is_shape = isinstance(value, tuple) and all(isinstance(dim, int) for dim in value)  # enough for `Session.compile`, as is None
        if value is not None and not is_shape:
            feed_array(tensor, value, set(tensors))


def load(name: str) -> Build:
    """The built-in model `name`, or the function `build` of the Python file `name`; ValueError that says what is missing."""
    if name in MODELS:
        return MODELS[name]
    if not Path(name).is_file():
        raise ValueError(f"no model {name!r}: give one of {', '.join(MODELS)}, or a Python file that defines build()")
    build = names_of(name).get("build")
    if not callable(build):
        raise ValueError(f"{name} defines no function build() that returns (fetches, feeds)")
    found: Build = build
    return found
