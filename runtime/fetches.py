"""TF1's fetch structures: a tensor, an operation, a variable, a name, and lists, tuples, namedtuples, dicts of them, nested.

`Fetches` flattens a structure into distinct graph elements once, and puts the results of a run back into the same structure each time.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphc.core.components import CompositeTensor
from graphc.core.graph import Graph
from graphc.core.operation import Operation, Tensor

# Puts results (one per fetched tensor) into the shape of the structure.
Assemble = Callable[[Sequence[Any]], Any]
_LEAVES = frozenset({Tensor, Operation, str})


class Fetches:
    """elements: the distinct tensors, then operations, of `structure`; a run gives values for the tensors, in this order.

    TypeError for what cannot be fetched, ValueError for what is not in the graph or marked as not fetchable.
    """

    def __init__(self, structure: Any, graph: Graph) -> None:
        self._graph = graph
        self._places: dict[Tensor, int] = {}
        self._operations: dict[Operation, None] = {}
        self.assemble = self._assembler(structure)
        if type(structure) is list and len(structure) == len(self._places) and all(type(each) is Tensor for each in structure):
            self.assemble = list  # a list of distinct tensors: its results as they come
        self.elements: tuple[Tensor | Operation, ...] = (*self._places, *self._operations)

    def _assembler(self, structure: Any) -> Assemble:
        if isinstance(structure, Mapping):
            return self._mapping(structure)
        if isinstance(structure, list | tuple):
            return self._sequence(structure)
        if isinstance(structure, CompositeTensor):
            parts, value_of = self._sequence(structure.components), structure.value_of
            return lambda results: value_of(parts(results))
        return self._single(structure)

    def _mapping(self, structure: Mapping[Any, Any]) -> Assemble:
        parts = {key: self._assembler(value) for key, value in structure.items()}
        kind: Any = type(structure)

        def assemble(results: Sequence[Any]) -> Any:
            values = kind()
            values.update((key, part(results)) for key, part in parts.items())
            return values

        return assemble

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
            hint = "" if fetch is None else f", must be a string or Tensor. ({error})"
            raise TypeError(f"Fetch argument {fetch!r} has invalid type {type(fetch)}{hint}") from None
        except (ValueError, KeyError) as error:
            raise ValueError(f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error.args[0]})") from None
        if not self._graph.is_fetchable(element):
            operation = element.op if isinstance(element, Tensor) else element
            raise ValueError(f"Operation {operation.name!r} has been marked as not fetchable.\n"
                             f"  declared at {operation.source_line.describe()}")
        return element


def key_of(structure: Any) -> Hashable:
    """A value by which structures that mean the same are found again: graph elements by identity, containers by type and content.

    Hashing it raises TypeError where something inside has no hash, and so cannot be fetched.
    """
    kind = type(structure)
    leaf: Hashable = structure
    if kind in _LEAVES:
        return leaf
    if isinstance(structure, list | tuple):
        return (kind, *[key_of(each) for each in structure])
    if isinstance(structure, Mapping):
        return (kind, *[(key, key_of(value)) for key, value in structure.items()])
    return leaf
