"""Parameters of distributions as tensors of one type, checked where it is asked for; probabilities and their logits from each other."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.graph import get_default_graph
from graphc.core.operation import Operation, Tensor
from graphc.ops.activations import softmax
from graphc.ops.array import identity
from graphc.ops.elementwise import log, log1p, sigmoid


def floating(**given: Any) -> list[Tensor]:
    """The parameters as floating tensors of one type: that of the first tensor or array among them, else float32.

    ValueError where types differ or are not floating.
    """
    tensors: list[Tensor] = []
    common = None
    for name, value in given.items():
        tensor = convert_to_tensor(value, None, name, preferred_dtype=common)
        if not tensor.dtype.is_floating:
            raise ValueError(f"Expected floating point type for parameter '{name}', got {tensor.dtype.name}.")
        if common is not None and tensor.dtype is not common:
            first = next(iter(given))
            raise ValueError(f"{tensor.name}, type={tensor.dtype.name}, must be of the same type ({common.name}) as parameter '{first}'.")
        common = tensor.dtype
        tensors.append(tensor)
    return tensors


def checked(tensor: Tensor, wanted: bool, *assertions: Callable[[Tensor], Operation]) -> Tensor:
    """`tensor`, after the assertions about it where they are `wanted`."""
    if not wanted or not assertions:
        return identity(tensor)
    with get_default_graph().control_dependencies([make(tensor) for make in assertions]):
        return identity(tensor)


def logits_and_probs(logits: Any, probs: Any, multidimensional: bool = False) -> tuple[Tensor, Tensor]:
    """Both from the one that is given; ValueError unless exactly one is. multidimensional: the last axis holds the classes."""
    if (logits is None) == (probs is None):
        raise ValueError("Must pass probs or logits, but not both.")
    if probs is None:
        (given,) = floating(logits=logits)
        _check_rank(given, multidimensional)
        return given, softmax(given) if multidimensional else sigmoid(given)
    (given,) = floating(probs=probs)
    _check_rank(given, multidimensional)
    return (log(given) if multidimensional else log(given) - log1p(-given)), given


def _check_rank(given: Tensor, multidimensional: bool) -> None:
    if multidimensional and given.rank == 0:
        raise ValueError("Shape must be at least rank 1 but is rank 0: the last axis of logits or probs holds the classes")
