"""TF1's fetch structures: a tensor, an operation, a variable, a name, and lists, tuples, namedtuples, dicts of them, nested.

`Fetches` flattens a structure into distinct graph elements once, and puts the results of a run back into the same structure each time.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor

# Puts results (one per fetched tensor) into the shape of the structure.
Assemble = Callable[[Sequence[Any]], Any]


class Fetches:
    """elements: the distinct tensors and operations of `structure`. tensors: the tensors among them, in order: what a run gives values for."""

    def __init__(self, structure: Any, graph: Graph) -> None:
        self._graph = graph
        self._places: dict[Tensor, int] = {}
        self._operations: dict[Operation, None] = {}
        self.assemble = self._assembler(structure)
        self.tensors = tuple(self._places)
        self.elements: tuple[Tensor | Operation, ...] = (*self.tensors, *self._operations)

    def _assembler(self, structure: Any) -> Assemble:
        if isinstance(structure, Mapping):
            return self._mapping(structure)
        if isinstance(structure, list | tuple):
            return self._sequence(structure)
        return self._single(structure)

    def _mapping(self, structure: Mapping[Any, Any]) -> Assemble:
        parts = {key: self._assembler(value) for key, value in structure.items()}
        kind = type(structure) if type(structure) is not dict else dict
        return lambda results: kind((key, part(results)) for key, part in parts.items())

    def _sequence(self, structure: Sequence[Any]) -> Assemble:
        parts = [self._assembler(each) for each in structure]
        if isinstance(structure, tuple) and hasattr(structure, "_fields"):
            named = type(structure)
            return lambda results: named(*[part(results) for part in parts])
        if isinstance(structure, tuple):
            return lambda results: tuple([part(results) for part in parts])
        return lambda results: [part(results) for part in parts]

    def _single(self, fetch: Any) -> Assemble:
        element = self._element(fetch)
        if isinstance(element, Operation):
            self._operations[element] = None
            return lambda results: None
        place = self._places.setdefault(element, len(self._places))
        return lambda results: results[place]

    def _element(self, fetch: Any) -> Tensor | Operation:
        try:
            element = self._graph.as_graph_element(fetch, allow_tensor=True, allow_operation=True)
        except TypeError as error:
            raise TypeError(f"Fetch argument {fetch!r} has invalid type {type(fetch)}, must be a string or Tensor. ({error})") from None
        except ValueError as error:
            raise ValueError(f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})") from None
        except KeyError as error:
            raise ValueError(f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error.args[0]})") from None
        if not self._graph.is_fetchable(element):
            raise ValueError(f"Operation {element.name!r} has been marked as not fetchable.")
        return element


def key_of(structure: Any) -> Hashable:
    """A value by which structures that mean the same are found again: graph elements by identity, containers by type and content."""
    if isinstance(structure, Mapping):
        return (type(structure), *((key, key_of(value)) for key, value in structure.items()))
    if isinstance(structure, list | tuple):
        return (type(structure), *map(key_of, structure))
    return structure if isinstance(structure, Hashable) else id(structure)
