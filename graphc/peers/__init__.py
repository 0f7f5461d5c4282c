"""The built-in models by others: what `graphc bench --against` and the benchmarks run beside graphc. Needs none of them to be imported.

`of_model` gives calls that begin with the same numbers as graphc does, so that results can be compared. PyTorch runs eagerly
(`by_torch.py`), and once more with its forward and backward compiled; JAX runs one jitted function (`by_jax.py`). Both are loaded when they
are first asked for.
"""
from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from graphc.models import MODELS
from graphc.scripts import names_of, raised

Array = np.ndarray[Any, Any]
Call = Callable[[], Any]
Arrays = Mapping[str, Array]

PEERS = ("torch", "torch.compile", "jax")


def of_model(name: str, wanted: Sequence[str], threads: int) -> Callable[[Arrays, Arrays], dict[str, Call]] | None:
    """For a model (a built-in one, or a Python file that defines `peers() -> {peer: call}`) a function that makes the calls of the peers
    `wanted`, from the feeds and the first values of the variables, by name; None where none is wanted. "torch" brings "torch.compile".

    ValueError for a peer that is none, is not installed, or that the model's file does not define.
    """
    if not wanted:
        return None
    if name not in MODELS:
        found = _of_file(name, wanted)
        return lambda feeds, variables: found
    unknown = [peer for peer in wanted if peer not in PEERS]
    if unknown:
        raise ValueError(f"no peer {unknown[0]!r}; there are {', '.join(PEERS)}")
    packages = list(dict.fromkeys(peer.partition(".")[0] for peer in wanted))
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ValueError(f"--against {','.join(wanted)}: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed here")
    modules = [module_of(package) for package in packages]

    def make(feeds: Arrays, variables: Arrays) -> dict[str, Call]:
        calls: dict[str, Call] = {}
        for module in modules:
            calls |= module.calls(name, feeds, variables, threads)
        return calls if "torch" in wanted else {peer: call for peer, call in calls.items() if peer in wanted}

    return make


def module_of(package: str) -> ModuleType:
    """`by_torch` or `by_jax`. Idle threads of one peer must not spin on the cores while another is timed: told before they start."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    return importlib.import_module(f"graphc.peers.by_{package}")


def _of_file(name: str, wanted: Sequence[str]) -> dict[str, Call]:
    peers = names_of(name).get("peers")
    if not callable(peers):
        raise ValueError(f"{name} defines no function peers() that returns {{name: call without arguments}}")
    try:
        found = peers()
    except Exception as error:  # the user's code
        raise raised(name, error) from error
    if not isinstance(found, Mapping) or not all(callable(call) for call in found.values()):
        raise ValueError(f"peers() of {name} must return a dictionary of calls by name; it returned {type(found).__name__}")
    missing = [peer for peer in wanted if peer not in found]
    if missing:
        raise ValueError(f"no peer {missing[0]!r}; peers() of {name} gives {', '.join(found) or 'none'}")
    return {peer: found[peer] for peer in wanted}
