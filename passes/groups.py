"""Which nodes may share one kernel: the legality of fusion groups, read by `fuse` and stated once.

A group is a set of *compute* nodes. Views between them (reshape, broadcast, transpose, slice, ...) are no members: every reader takes them
along, because a view is only a change of index. What `codegen.lower` can make of a group decides its kind:

- loop: maps, fills and gathers; every node is evaluated where it is read. All outputs have one number of elements.
- row: reductions over the trailing axes of one domain [rows, cols]. What depends on a reduction is one value per row or one per element of
  the domain, and is read in place: through reshapes, or spread along its row by a broadcast. Everything else is evaluated where it is read.
- column: reductions of one shape over the same other axes; what depends on one has the reduced number of elements and is read in place.
- dot: one product; what depends on it has as many elements and is read in place; no reduction.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from graphc.core.loops import ArgReduce, Contract, Fill, Gather, Map, Reduce, View
from graphc.core.program import Node

LARGEST = 64  # compute nodes in one group: keeps kernels readable and compile time linear
# Elementwise operations that cost more than a memory access: not to be computed again for every element of a broadcast.
COSTLY = frozenset("""exponential exponential_minus_one log log_plus_one tanh logistic sine cosine tan erf erfc power cbrt atan2 divide
    remainder sqrt rsqrt""".split())
ROW_BYTES = 1 << 20  # a row longer than this does not stay in cache: its readers gain nothing from one kernel


@dataclass(frozen=True)
class Shape:
    """What kind of kernel a group is, and its domain: elements per row and number of rows (row), elements of the result (others)."""

    kind: str
    size: int
    rows: int = 0


def is_view(node: Node) -> bool:
    return isinstance(node.primitive.loop, View)


def is_alias(node: Node) -> bool:
    """A view that changes nothing in memory: the reader can use the operand's buffer as it is."""
    return node.name in ("reshape", "stop_gradient")


def is_uniform(node: Node) -> bool:
    """A constant of one element: readers take it along like a view."""
    return node.name == "constant" and node.type.size == 1


def is_compute(node: Node) -> bool:
    """Whether `node` can be a member of a group."""
    if node.name == "constant":
        return False
    return not node.is_tuple and isinstance(node.primitive.loop, Map | Reduce | ArgReduce | Contract | Fill | Gather)


def is_cheap_fill(node: Node) -> bool:
    """Made from nothing at almost no cost, so readers take it along: iota."""
    return node.name == "iota"


def travels(node: Node) -> bool:
    """Whether every reader takes `node` along instead of reading it from memory."""
    return is_view(node) or is_uniform(node) or is_cheap_fill(node)


def is_costly(node: Node) -> bool:
    return node.name in COSTLY or node.name == "random_bits"


def reduced_axes(node: Node) -> tuple[int, ...]:
    """The axes that a reduction removes, in order."""
    axes: Sequence[int] = (node.attrs.axis,) if isinstance(node.primitive.loop, ArgReduce) else node.attrs.axes
    return tuple(sorted(axes))


def is_reduction(node: Node) -> bool:
    return isinstance(node.primitive.loop, Reduce | ArgReduce)


def is_trailing(node: Node) -> bool:
    """Whether a reduction removes exactly the last axes (axes of size one do not matter)."""
    dims = node.operands[0].dims
    axes = {a for a in reduced_axes(node) if dims[a] != 1}
    kept = [a for a in range(len(dims)) if dims[a] != 1 and a not in axes]
    return not axes or not kept or max(kept) < min(axes)


def domain(node: Node) -> tuple[int, int]:
    """(rows, cols) of a trailing reduction."""
    dims = node.operands[0].dims
    cols = math.prod(dims[a] for a in reduced_axes(node))
    return node.type.size, cols


def is_aligned(view: Node, rows: int, cols: int) -> bool:
    """Whether `view` reads a value of the row domain in place: the same row-major position, or one value per row spread along its row."""
    source = view.operands[0].type
    if is_alias(view) or (view.name in ("broadcast_in_dim", "transpose") and source.size == view.type.size and _keeps_order(view)):
        return True
    if view.name != "broadcast_in_dim" or source.size != rows or view.type.size != rows * cols:
        return False
    return spreads_rows(view.dims, source.dims, view.attrs.dims, rows)


def _keeps_order(view: Node) -> bool:
    moved = view.attrs.permutation if view.name == "transpose" else view.attrs.dims
    dims = view.operands[0].dims
    real = [axis for axis in (moved if view.name == "transpose" else range(len(dims))) if dims[axis] != 1]
    places = real if view.name == "transpose" else [moved[axis] for axis in real]
    return places == sorted(places)


def spreads_rows(target: Sequence[int], source: Sequence[int], dims: Sequence[int], rows: int) -> bool:
    """Whether broadcasting `source` into `target` repeats each element along the trailing axes: a leading block of axes whose product is
    `rows` is covered in order, nothing after it."""
    covered = 1
    lead = 0
    while lead < len(target) and covered < rows:
        covered *= target[lead]
        lead += 1
    placed = [dims[axis] for axis in range(len(source)) if source[axis] != 1]
    expected = [axis for axis in range(lead) if target[axis] != 1]
    return covered == rows and placed == expected


def classify(members: Iterable[Node], order: Callable[[Node], int], outputs: Callable[[set[Node]], Iterable[Node]]) -> Shape | None:
    """The kind of the group `members`, or None where one kernel cannot compute it. `outputs` gives the members that others read."""
    group = set(members)
    if len(group) > LARGEST:
        return None
    nodes = sorted(group, key=order)
    written = list(outputs(group))
    dots = [n for n in nodes if isinstance(n.primitive.loop, Contract)]
    reductions = [n for n in nodes if is_reduction(n)]
    if dots:
        return _as_dot(nodes, dots, reductions, written)
    if not reductions:
        sizes = {n.type.size for n in written}
        return Shape("loop", sizes.pop()) if len(sizes) == 1 and _read_once(nodes, group, set()) else None
    return _as_row(nodes, reductions, written) or _as_column(nodes, reductions, written)


def _as_row(nodes: Sequence[Node], reductions: Sequence[Node], written: Sequence[Node]) -> Shape | None:
    domains = {domain(n) for n in reductions if is_trailing(n)}
    if len(domains) != 1 or not all(map(is_trailing, reductions)):
        return None
    rows, cols = domains.pop()
    dependent: set[Node] = set()
    for node in nodes:
        if node in reductions or depends(node, dependent):
            if node not in reductions and node.type.size not in (rows, rows * cols):
                return None
            if not _reads_in_place(node, dependent, lambda view: is_aligned(view, rows, cols)):
                return None
            if not isinstance(node.primitive.loop, Map | Reduce | ArgReduce):
                return None
            dependent.add(node)
    full = [n for n in written if n.type.size == rows * cols and rows * cols != rows]
    if any(n.type.size not in (rows, rows * cols) for n in written) or (full and cols * full[0].dtype.size > ROW_BYTES):
        return None
    if not _read_once(nodes, set(nodes), dependent):
        return None
    return Shape("row", cols, rows)


def _as_column(nodes: Sequence[Node], reductions: Sequence[Node], written: Sequence[Node]) -> Shape | None:
    first = reductions[0]
    size = first.type.size
    for each in reductions:
        if each.operands[0].dims != first.operands[0].dims or reduced_axes(each) != reduced_axes(first) or isinstance(each.primitive.loop, ArgReduce):
            return None
    dependent: set[Node] = set()
    for node in nodes:
        if node in reductions:
            if depends(node, dependent):
                return None
            dependent.add(node)
        elif depends(node, dependent):
            if node.type.size != size or not isinstance(node.primitive.loop, Map) or not _reads_in_place(node, dependent, keeps_place):
                return None
            dependent.add(node)
    return Shape("column", size) if all(n in dependent for n in written) and _read_once(nodes, set(nodes), dependent) else None


def _as_dot(nodes: Sequence[Node], dots: Sequence[Node], reductions: Sequence[Node], written: Sequence[Node]) -> Shape | None:
    if len(dots) > 1 or reductions:
        return None
    dot = dots[0]
    dependent = {dot}
    before = _below(dot, set(nodes))
    for node in nodes:
        if node is dot:
            continue
        if node in before:
            if node.name != "convert":
                return None
        elif depends(node, dependent):
            if node.type.size != dot.type.size or not isinstance(node.primitive.loop, Map) or not _reads_in_place(node, dependent, keeps_place):
                return None
            dependent.add(node)
    return Shape("dot", dot.type.size) if all(n in dependent for n in written) and _read_once(nodes, set(nodes), dependent) else None


def keeps_place(view: Node) -> bool:
    return is_alias(view) or (view.name in ("broadcast_in_dim", "transpose") and view.operands[0].type.size == view.type.size and _keeps_order(view))


def through_views(operand: Node) -> tuple[Node, list[Node]]:
    """The node that `operand` shows after its chain of one-operand views, and the views, nearest first."""
    views = []
    while is_view(operand) and len(operand.operands) == 1:
        views.append(operand)
        operand = operand.operands[0]
    return operand, views


def sources(node: Node) -> list[Node]:
    """The nodes other than views that `node` reads, through views of any number of operands."""
    found: dict[Node, None] = {}
    stack = list(reversed(node.operands))
    while stack:
        operand = stack.pop()
        if is_view(operand):
            stack.extend(reversed(operand.operands))
        else:
            found[operand] = None
    return list(found)


def depends(node: Node, dependent: set[Node]) -> bool:
    return any(source in dependent for source in sources(node))


def _reads_in_place(node: Node, dependent: set[Node], aligned: Callable[[Node], bool]) -> bool:
    """Whether every dependent value that `node` reads comes through aligned views only."""
    for operand in node.operands:
        base, views = through_views(operand)
        if is_view(base):  # a view of several operands: pad, concatenate
            if any(source in dependent for source in sources(base)):
                return False
        elif base in dependent and not all(map(aligned, views)):
            return False
    return True


def _below(node: Node, group: set[Node]) -> set[Node]:
    """The members that `node` reads, directly or not."""
    found: set[Node] = set()
    stack = [node]
    while stack:
        for source in sources(stack.pop()):
            if source in group and source not in found:
                found.add(source)
                stack.append(source)
    return found


def _read_once(nodes: Sequence[Node], group: set[Node], kept: set[Node]) -> bool:
    """Whether evaluating members where they are read multiplies no work: a costly member may not be read through a broadcast that
    repeats it, nor a member at several different places (once in place, once through a slice, say). The values in `kept` are held, not
    evaluated again."""
    places: dict[Node, set[tuple[Node, ...]]] = {}
    for node in nodes:
        for operand in node.operands:
            for base, views in _paths(operand):
                if base not in group or base in kept:
                    continue
                moving = tuple(v for v in views if not keeps_place(v))
                if is_costly_inside(base, group) and any(v.type.size > base.type.size for v in moving):
                    return False
                places.setdefault(base, set()).add(moving)
    return all(len(found) == 1 for found in places.values())


def is_costly_inside(node: Node, group: set[Node]) -> bool:
    """Whether evaluating `node` where it is read evaluates something costly."""
    return is_costly(node) or any(is_costly(n) for n in _below(node, group))


def _paths(operand: Node) -> list[tuple[Node, list[Node]]]:
    """Every non-view node behind `operand` with the views on the way to it."""
    found = []
    stack: list[tuple[Node, list[Node]]] = [(operand, [])]
    while stack:
        node, views = stack.pop()
        if is_view(node):
            stack.extend((inner, [*views, node]) for inner in node.operands)
        else:
            found.append((node, views))
    return found
