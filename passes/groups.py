"""Which nodes may share one kernel: the legality of fusion groups, read by `fuse` and stated once.

A group is a set of *compute* nodes. Views between them (reshape, broadcast, transpose, slice, ...) are no members: every reader takes them
along, because a view is only a change of index. What `codegen.lower` can make of a group decides its kind:

- loop: maps, fills and gathers; every node is evaluated where it is read. All outputs have one number of elements.
- row: reductions over the trailing axes of one domain [rows, cols]. What depends on a reduction is one value per row or one per element of
  the domain, and is read in place: through reshapes, or spread along its row by a broadcast. Everything else is evaluated where it is read.
- column: reductions of one shape over the same other axes; what depends on one has the reduced number of elements and is read in place.
- scan: one walk along an axis, with maps before it, and maps of its result at its own place; along rows, which are walked one element at a
  time, nothing costly.
- scatter: one scatter, and what its operands are made of, but no reduction; every node is evaluated where it is read.
- dot: one product; what depends on it has as many elements and is read in place; no reduction.

A view that must stand in memory (it is fetched, say) may be the end of a loop or of a dot: the values are then stored where it puts them.

Nothing costly is evaluated more often than it would be in a kernel of its own.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from graphc.core.loops import ArgReduce, Contract, DynamicSlice, DynamicUpdate, Fill, Gather, Map, Reduce, Reinterpret, Scan, Scatter, View
from graphc.core.program import Node

LARGEST = 64  # compute nodes in one group: keeps kernels readable and compile time linear
# Elementwise operations that cost more than a memory access: not to be computed again for every element of a broadcast.
COSTLY = frozenset((
    "exponential", "exponential_minus_one", "log", "log_plus_one", "tanh", "logistic", "sine", "cosine", "tan", "erf", "erfc", "power",
    "cbrt", "atan2", "divide", "remainder", "sqrt", "rsqrt", "random_bits"))
ROW_BYTES = 1 << 20  # a row longer than this does not stay in cache: its readers gain nothing from one kernel


@dataclass(frozen=True)
class Shape:
    """What kind of kernel a group is, and its domain: elements per row and number of rows (row), elements of the result (others)."""

    kind: str
    size: int
    rows: int = 0


@dataclass(frozen=True)
class Read:
    """One way by which a node reads another: through `views`, the nearest to the reader first. `whole`: they have one operand each, so
    all of their elements come from `source`."""

    source: Node
    views: tuple[Node, ...]
    whole: bool


# Nodes -------------------------------------------------------------------------------------------------------------------------------

def is_view(node: Node) -> bool:
    return isinstance(node.primitive.loop, View)


def is_alias(node: Node) -> bool:
    """A view that changes nothing in memory: the reader can use the operand's buffer as it is."""
    return node.name in ("reshape", "stop_gradient") or isinstance(node.primitive.loop, Reinterpret)


def is_uniform(node: Node) -> bool:
    """A constant of one element: readers take it along like a view."""
    return node.name == "constant" and node.type.size == 1


def is_cheap_fill(node: Node) -> bool:
    """Made from nothing at almost no cost, so readers take it along: iota."""
    return node.name == "iota"


def travels(node: Node) -> bool:
    """Whether every reader takes `node` along instead of reading it from memory."""
    return is_view(node) or is_uniform(node) or is_cheap_fill(node)


_COMPUTE = Map | Reduce | ArgReduce | Contract | Fill | Gather | Scan | Scatter | DynamicSlice | DynamicUpdate


def is_compute(node: Node) -> bool:
    """Whether `node` can be a member of a group."""
    return isinstance(node.primitive.loop, _COMPUTE) and node.name != "constant"


def is_map(node: Node) -> bool:
    return isinstance(node.primitive.loop, Map)


def is_product(node: Node) -> bool:
    return isinstance(node.primitive.loop, Contract)


def is_reduction(node: Node) -> bool:
    return isinstance(node.primitive.loop, Reduce | ArgReduce)


def is_scan(node: Node) -> bool:
    return isinstance(node.primitive.loop, Scan)


def is_scatter(node: Node) -> bool:
    return isinstance(node.primitive.loop, Scatter)


def reduced_axes(node: Node) -> tuple[int, ...]:
    """The axes that a reduction removes, in order."""
    axes: Sequence[int] = (node.attrs.axis,) if isinstance(node.primitive.loop, ArgReduce) else node.attrs.axes
    return tuple(sorted(axes))


def is_trailing(node: Node) -> bool:
    """Whether a reduction removes exactly the last axes (axes of size one do not matter)."""
    dims = node.operands[0].dims
    axes = {a for a in reduced_axes(node) if dims[a] != 1}
    kept = [a for a in range(len(dims)) if dims[a] != 1 and a not in axes]
    return not axes or not kept or max(kept) < min(axes)


def row_domain(node: Node) -> tuple[int, int]:
    """(rows, cols) of a trailing reduction."""
    dims = node.operands[0].dims
    return node.type.size, math.prod(dims[a] for a in reduced_axes(node))


# Views -------------------------------------------------------------------------------------------------------------------------------

def keeps_place(view: Node) -> bool:
    """Whether every element stands at the same row-major position before and after `view`."""
    if is_alias(view):
        return True
    return view.name in ("broadcast_in_dim", "transpose") and view.operands[0].type.size == view.type.size and _keeps_order(view)


def _keeps_order(view: Node) -> bool:
    dims = view.operands[0].dims
    if view.name == "transpose":
        places = [axis for axis in view.attrs.permutation if dims[axis] != 1]
    else:
        places = [view.attrs.dims[axis] for axis in range(len(dims)) if dims[axis] != 1]
    return places == sorted(places)


def is_aligned(view: Node, rows: int, cols: int) -> bool:
    """Whether `view` reads a value of the row domain in place: the same row-major position, or one value per row spread along its row."""
    if keeps_place(view):
        return True
    source = view.operands[0].type
    if view.name != "broadcast_in_dim" or source.size != rows or view.type.size != rows * cols:
        return False
    return spreads_rows(view.dims, source.dims, view.attrs.dims, rows)


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


# Groups ------------------------------------------------------------------------------------------------------------------------------

class Illegal(Exception):
    """One kernel cannot compute the nodes: the message says why, in a few words."""


class Classifier:
    """Finds the kinds of groups. Remembers how each node reads the others, which does not change while groups do."""

    def __init__(self) -> None:
        self._reads: dict[Node, tuple[Read, ...]] = {}

    def classify(self, nodes: Sequence[Node], written: Collection[Node]) -> Shape:
        """The kind of the group of `nodes`, given in a valid order, of which others read those in `written`. Illegal where one kernel
        cannot compute it."""
        if len(nodes) > LARGEST:
            raise Illegal("too large")
        products = [n for n in nodes if is_product(n)]
        reductions = [n for n in nodes if is_reduction(n)]
        if len(products) > 1:
            raise Illegal("two products")
        if products and reductions:
            raise Illegal("a product and a reduction")
        scatters, scans = [n for n in nodes if is_scatter(n)], [n for n in nodes if is_scan(n)]
        if scans:
            return self._scan(nodes, scans, bool(products or reductions or scatters), written)
        if scatters:
            return self._scatter(nodes, scatters, bool(products or reductions), written)
        if products:
            return self._dot(nodes, products[0], written)
        if not reductions:
            return self._loop(nodes, written)
        if all(map(is_trailing, reductions)):
            return self._row(nodes, reductions, written)
        return self._column(nodes, reductions, written)

    def reads(self, node: Node) -> tuple[Read, ...]:
        """How `node` reads nodes that are not views, in the order of its operands."""
        found = self._reads.get(node)
        if found is None:
            found = self._reads[node] = tuple(_reads(node))
        return found

    def _loop(self, nodes: Sequence[Node], written: Collection[Node]) -> Shape:
        sizes = {n.type.size for n in written}
        if len(sizes) != 1:
            raise Illegal("outputs of different sizes")
        self._require_no_repetition(nodes, written, set(), keeps_place)
        return Shape("loop", sizes.pop())

    def _row(self, nodes: Sequence[Node], reductions: Sequence[Node], written: Collection[Node]) -> Shape:
        rows, cols = row_domain(reductions[0])
        if any(row_domain(n) != (rows, cols) for n in reductions):
            raise Illegal("reductions over different rows")

        def aligned(view: Node) -> bool:
            return is_aligned(view, rows, cols)

        dependent = self._dependent(nodes, set(reductions), aligned, (rows, rows * cols))
        if any(n.type.size not in (rows, rows * cols) for n in written):
            raise Illegal("outputs of different sizes")
        if cols > 1 and any(n.type.size == rows * cols and cols * n.dtype.size > ROW_BYTES for n in written):
            raise Illegal("rows too long to stay in cache")
        self._require_no_repetition(nodes, written, dependent, aligned)
        return Shape("row", cols, rows)

    def _column(self, nodes: Sequence[Node], reductions: Sequence[Node], written: Collection[Node]) -> Shape:
        first = reductions[0]
        for each in reductions:
            if each.operands[0].dims != first.operands[0].dims or reduced_axes(each) != reduced_axes(first):
                raise Illegal("reductions over different axes")
            if isinstance(each.primitive.loop, ArgReduce):
                raise Illegal("the position of an extreme along columns")
        dependent = self._dependent(nodes, set(reductions), keeps_place, (first.type.size,))
        if any(read.source in dependent for node in reductions for read in self.reads(node)):
            raise Illegal("a reduction along columns of another's result")
        if not all(n in dependent for n in written):
            raise Illegal("an output before the reduction along columns")
        self._require_no_repetition(nodes, written, dependent, keeps_place)
        return Shape("column", first.type.size)

    def _dot(self, nodes: Sequence[Node], product: Node, written: Collection[Node]) -> Shape:
        before = self._below(product, set(nodes))
        if any(n.name != "convert" for n in before):
            raise Illegal("arithmetic before a product")
        ends = [n for n in nodes if n.name == "transpose"]
        dependent = self._dependent(nodes, {product}, keeps_place, (product.type.size,), ends)
        if not all(n in dependent for n in written):
            raise Illegal("an output beside the product's")
        self._require_no_repetition(nodes, written, dependent, keeps_place)
        return Shape("dot", product.type.size)

    def _scan(self, nodes: Sequence[Node], scans: Sequence[Node], others: bool, written: Collection[Node]) -> Shape:
        scan = scans[0]
        if len(scans) > 1 or others:
            raise Illegal("two walks over everything")
        in_rows = math.prod(scan.dims[scan.attrs.axis + 1:]) == 1
        if in_rows and any(n.name in COSTLY for n in nodes):
            raise Illegal("costly arithmetic, one element at a time")
        dependent = self._dependent(nodes, {scan}, keeps_place, (scan.type.size,))
        if not all(n in dependent for n in written):
            raise Illegal("an output before the walk's")
        self._require_no_repetition(nodes, written, dependent, keeps_place)
        return Shape("scan", scan.type.size)

    def _scatter(self, nodes: Sequence[Node], scatters: Sequence[Node], sums: bool, written: Collection[Node]) -> Shape:
        """The updates are evaluated once for each element, the indices once for each slice of the columns. What is updated is stored
        before: then the scatter can lie over it."""
        scatter = scatters[0]
        if len(scatters) > 1 or sums:
            raise Illegal("two walks over everything")
        if list(written) != [scatter]:
            raise Illegal("an output beside the scatter's")
        inside = set(nodes)
        updated = {read.source for read in _reads_of(scatter.operands[0])}
        if not updated.isdisjoint(inside):
            raise Illegal("better updated where it is stored")
        if any(read.source in updated for node in nodes if node is not scatter for read in self.reads(node)):
            raise Illegal("reads elsewhere what is updated where it is stored")
        if any(self._is_costly(read.source, inside) for read in _reads_of(scatter.operands[1]) if read.source in inside):
            raise Illegal("costly indices")
        self._require_no_repetition(nodes, written, set(), keeps_place)
        return Shape("scatter", scatter.type.size)

    def _dependent(self, nodes: Sequence[Node], roots: set[Node], aligned: Callable[[Node], bool], sizes: Sequence[int],
                   ends: Collection[Node] = ()) -> set[Node]:
        """`roots` and what depends on them. Illegal where that is no map of one of `sizes` (nor in `ends`), or reads another root's value
        out of place."""
        dependent: set[Node] = set()
        for node in nodes:
            inner = [read for read in self.reads(node) if read.source in dependent]
            if node in roots:
                dependent.add(node)
            elif inner:
                if not isinstance(node.primitive.loop, Map) and node not in ends:
                    raise Illegal(f"a {node.name} of a result")
                if node.type.size not in sizes:
                    raise Illegal("a result used in another shape")
                dependent.add(node)
            if any(not read.whole or not all(map(aligned, read.views)) for read in inner):
                raise Illegal("a result read out of place")
        return dependent

    def _below(self, node: Node, group: set[Node]) -> set[Node]:
        """The members of `group` that `node` reads, directly or not."""
        found: set[Node] = set()
        stack = [node]
        while stack:
            for read in self.reads(stack.pop()):
                if read.source in group and read.source not in found:
                    found.add(read.source)
                    stack.append(read.source)
        return found

    def _require_no_repetition(self, nodes: Sequence[Node], written: Collection[Node], held: set[Node],
                               aligned: Callable[[Node], bool]) -> None:
        """Illegal where evaluating members where they are read multiplies work: a costly member read through a broadcast that repeats it,
        or a member evaluated at several different places (in place, or to be written, and through a slice). Values in `held` are not
        evaluated again."""
        group = set(nodes)
        here: tuple[Node, ...] = ()
        places = dict.fromkeys((*written, *held), here)  # for each value the views that move it to where it is needed
        for node in reversed(nodes):
            for read in self.reads(node):
                source = read.source
                if source not in group or source in held:
                    continue
                moving = tuple(v for v in read.views if not aligned(v))
                if is_view(node) and not aligned(node):
                    moving += (node,)
                if any(v.type.size > source.type.size for v in moving) and self._is_costly(source, group):
                    raise Illegal("would repeat costly work")
                place = (*moving, *places[node])
                if places.setdefault(source, place) != place:
                    raise Illegal("a value needed at two places")

    def _is_costly(self, node: Node, group: set[Node]) -> bool:
        """Whether evaluating `node` where it is read evaluates something costly."""
        return node.name in COSTLY or any(n.name in COSTLY for n in self._below(node, group))


def _reads(node: Node) -> list[Read]:
    return _reads_of(*node.operands)


def _reads_of(*operands: Node) -> list[Read]:
    found: dict[Read, None] = {}
    stack = [Read(operand, (), True) for operand in reversed(operands)]
    while stack:
        read = stack.pop()
        if not is_view(read.source):
            found[read] = None
            continue
        view = read.source
        whole = read.whole and len(view.operands) == 1
        stack.extend(Read(operand, (*read.views, view), whole) for operand in reversed(view.operands))
    return list(found)
