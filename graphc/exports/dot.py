"""A view as Graphviz's DOT text: name scopes are clusters, results have a thick border, control edges are dashed."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from graphc.core.types import show_dims
from graphc.exports.view import Item, Value, View, source_of
from graphc.pictures.flow import FILLS, quoted

_FILL = {"Placeholder": "feed", "parameter": "feed", "VariableV2": "state", "variable_read": "state", "variable_assign": "state"}
_LONG = 40  # characters of a line in a box


@dataclass
class _Scope:
    """One name scope: the scopes and the items (by number) directly in it."""

    scopes: dict[str, _Scope] = field(default_factory=dict)
    items: list[int] = field(default_factory=list)


def dot(view: View) -> str:
    """The text of `view`."""
    number = {item.name: place for place, item in enumerate(view.items)}
    root, results = _scopes(view), {source_of(name) for name in view.results}
    lines = [f"digraph {quoted(view.title)} {{",
             '  compound=true; node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=10];',
             '  edge [fontname="sans-serif", fontsize=8, color="#777777"];']
    lines += _cluster(root, "", view, results, "  ")
    values = view.values
    for reader, item in enumerate(view.items):
        lines += [f"  n{number[source_of(name)]} -> n{reader} [label={quoted(_type(values[name]))}];" for name in item.inputs]
        lines += [f"  n{number[name]} -> n{reader} [style=dashed];" for name in item.after]
    return "\n".join([*lines, "}"]) + "\n"


def _scopes(view: View) -> _Scope:
    root = _Scope()
    for place, item in enumerate(view.items):
        scope = root
        for part in item.scope.split("/") if item.scope else ():
            scope = scope.scopes.setdefault(part, _Scope())
        scope.items.append(place)
    return root


def _cluster(scope: _Scope, path: str, view: View, results: set[str], indent: str) -> Iterator[str]:
    """The boxes of a scope, and its inner scopes around theirs. A cluster is named by its path: no two scopes share one."""
    for place in scope.items:
        item = view.items[place]
        style = ", penwidth=2" if item.name in results else ""
        yield f'{indent}n{place} [label={_label(item)}, fillcolor="{FILLS[_FILL.get(item.type, "kernel")]}"{style}];'
    for name, inner in scope.scopes.items():
        inner_path = f"{path}/{name}" if path else name
        yield f"{indent}subgraph {quoted(f'cluster {inner_path}')} {{"
        yield f'{indent}  label={quoted(name)}; color="#bbbbbb"; fontname="sans-serif"; fontsize=11;'
        yield from _cluster(inner, inner_path, view, results, indent + "  ")
        yield f"{indent}}}"


def _label(item: Item) -> str:
    own = item.name.rpartition("/")[2]
    lines = [own] if own == item.type else [own, item.type]
    return quoted(*(line if len(line) <= _LONG else f"{line[:_LONG - 1]}…" for line in [*lines, item.line] if line))


def _type(value: Value) -> str:
    return f"{value.dtype.code} {'?' if value.shape is None else show_dims(value.shape)}"
