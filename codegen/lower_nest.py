"""Loop nests: every group but a matrix product. Decides which loops there are and what is computed in each.

The domain of a group is the elements that its reductions run over, as alternating runs of kept and reduced dims: [kept] for a `loop`
group, [kept, reduced] for `row`, [reduced, kept] or [kept, reduced, kept] for `column`. The kernel is always of one form:

    for kept...  parallel {
      acc ...                      the folds of stage 0
      for reduced... { ... }       updates them, and stores outputs that need no fold
      acc ...                      the folds of stage 1, which need results of stage 0
      for reduced... { ... }
      out[kept] = ...              outputs with one element per kept index
    }

A stage holds everything that can be computed with the results of the stages before it, so independent folds share a loop: softmax has three
(maximum; sum of exponentials; division), a layer norm three, an argmax two. What two stages of a `row` kernel both need and is costly
is kept in a local buffer of one row, where that fits the first-level cache; anything else is computed again.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower_folds import Fold, folds_of
from graphc.codegen.lower_index import Index
from graphc.codegen.lower_scope import Nest, Space, walk
from graphc.codegen.lower_values import Values
from graphc.core.loops import ArgReduce, Fill, Map, Reduce
from graphc.core.program import Node, Program

ROW_BYTES = 1 << 16  # a kept row larger than this is computed again instead
LETTERS = ("i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w")
COSTLY = frozenset({"divide", "remainder", "power", "exponential", "exponential_minus_one", "log", "log_plus_one", "sqrt", "rsqrt", "cbrt",
                    "tanh", "logistic", "sine", "cosine", "tan", "erf", "erfc", "atan2"})
Runs = tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Group:
    """What becomes one kernel: a body, the buffers of its parameters by node, and one buffer per output."""

    body: Program
    buffers: dict[Node, ir.Buffer]
    outputs: tuple[ir.Buffer, ...]


@dataclass(frozen=True)
class Plan:
    """How a group is computed: its domain as runs of (extent, is reduced), the loops' spaces, and the nodes kept in row buffers."""

    runs: Runs
    kept: Space
    reduced: Space
    stored: frozenset[Node] = frozenset()

    def position(self, kept: Index, reduced: Index) -> Index:
        """The row-major position in the domain of a kept and a reduced position."""
        outer = iter(li.unflatten(kept, tuple(extent for extent, is_reduced in self.runs if not is_reduced)))
        inner = iter(li.unflatten(reduced, tuple(extent for extent, is_reduced in self.runs if is_reduced)))
        index = tuple(next(inner if is_reduced else outer) for _, is_reduced in self.runs)
        return li.flatten(index, tuple(extent for extent, _ in self.runs))

    @property
    def is_row(self) -> bool:
        """Whether the reduced elements of one kept index lie together."""
        return bool(self.runs) and self.runs[-1][1] and sum(is_reduced for _, is_reduced in self.runs) == 1


@dataclass
class Attempt:
    """A kernel's body made by a plan, and what would have made it better: cuts of spaces, nodes worth keeping."""

    body: tuple[ir.Stmt, ...]
    positions: dict[str, dict[ir.Expr, Index]]
    cuts: set[tuple[str, int]]
    kept_nodes: frozenset[Node]


def lower_nest(group: Group) -> Attempt:
    """The body of the kernel of `group`; ValueError where its outputs have no common domain.

    Tries the coarsest loops first, and again with the cuts that an attempt asked for, until it asks for nothing new.
    """
    plan = _plan(group)
    while True:
        attempt = _Builder(group, plan).build()
        kept, reduced = plan.kept, plan.reduced
        for space, cut in sorted(attempt.cuts, key=lambda each: -each[1]):
            kept, reduced = (kept.with_cut(cut), reduced) if space == kept.name else (kept, reduced.with_cut(cut))
        better = replace(plan, kept=kept, reduced=reduced, stored=attempt.kept_nodes)
        if better == plan:
            return attempt
        plan = better


def runs_of(node: Node) -> Runs:
    """The domain of a reduction: its operand's dims as merged runs of (extent, is reduced), dims of 1 left out."""
    axes = {axis for fold in folds_of(node) for axis in fold.axes}
    flagged = [(dim, axis in axes) for axis, dim in enumerate(node.operands[0].dims) if dim != 1]
    merged = []
    for is_reduced, run in groupby(flagged, key=lambda each: each[1]):
        extent = 1
        for dim, _ in run:
            extent *= dim
        merged.append((extent, is_reduced))
    return tuple(merged)


def reductions(group: Group) -> list[Node]:
    """The nodes of the group that reduce over axes, in order."""
    return [node for node in group.body.nodes if isinstance(node.primitive.loop, Reduce | ArgReduce) and node not in group.buffers]


def _plan(group: Group) -> Plan:
    """The first reduction whose domain fits all outputs gives the domain; without one it is the outputs' elements."""
    sizes = {buffer.size for buffer in group.outputs}
    for node in reductions(group):
        plan = _plan_of(runs_of(node))
        if sizes <= {plan.kept.size, plan.kept.size * plan.reduced.size}:
            return plan
    if len(sizes) != 1:
        raise ValueError(f"outputs of {', '.join(map(str, sorted(sizes)))} elements cannot be computed in one loop nest")
    return _plan_of(((sizes.pop(), False),))


def _plan_of(runs: Runs) -> Plan:
    """One loop for each run of the domain."""
    spaces = []
    for name, wanted in (("kept", False), ("reduced", True)):
        extents = [extent for extent, is_reduced in runs if is_reduced == wanted]
        size = 1
        for extent in extents:
            size *= extent
        space, inner = Space(name, size), 1
        for extent in reversed(extents[1:]):
            inner *= extent
            space = space.with_cut(inner)
        spaces.append(space)
    return Plan(runs, spaces[0], spaces[1])


class _Builder:
    """Writes the kernel of one group by one plan."""

    def __init__(self, group: Group, plan: Plan) -> None:
        self.group, self.plan = group, plan
        self.nest = Nest()
        self.values = Values(self.nest, group.buffers)
        self.folds = [fold for node in reductions(group) if runs_of(node) == plan.runs for fold in folds_of(node)]
        self.levels = _levels(group, {fold.node for fold in self.folds})
        self.kept_loops = plan.kept.loops(LETTERS)
        self.reduced_loops = plan.reduced.loops(LETTERS[len(self.kept_loops):])
        self.rows: dict[Node, ir.Buffer] = {}
        self.computed: dict[int, set[Node]] = {}

    def build(self) -> Attempt:
        if self.plan.kept.size:
            with walk(self.nest, self.kept_loops, "parallel") as kept:
                self._kept_block(kept)
        values = self.values
        return Attempt(tuple(self.nest.scopes[0].stmts), values.positions, values.cuts, self._worth_keeping())

    def _kept_block(self, kept: Index) -> None:
        """Everything that one kept index computes: the stages, then the outputs of one element per kept index."""
        whole = self.plan.kept.size * self.plan.reduced.size
        pairs = list(zip(self.group.body.outputs, self.group.outputs, strict=True))
        full = [(node, buffer) for node, buffer in pairs if buffer.size == whole and self.plan.reduced.size > 1]
        stages = {self._stage(fold) for fold in self.folds} | {self.levels[node] for node, _ in full}
        for stage in sorted(stages):
            self._stage_loop(stage, kept, [(node, buffer) for node, buffer in full if self.levels[node] == stage])
        self.values.store_all(kept, [pair for pair in pairs if pair not in full and pair[1].size == self.plan.kept.size])

    def _stage(self, fold: Fold) -> int:
        """A fold needs the results of the stages before it; the position of an extreme also needs the extreme."""
        own = folds_of(fold.node)
        return self.levels[fold.node.operands[0]] + own.index(fold)

    def _stage_loop(self, stage: int, kept: Index, stores: Sequence[tuple[Node, ir.Buffer]]) -> None:
        folds = [fold for fold in self.folds if self._stage(fold) == stage]
        results = [self._result_index(fold, kept) for fold in folds]
        sums = [self.nest.accumulator(self.values.initial(fold), fold.name) for fold in folds]
        if self.plan.reduced.size:
            earlier, rows = dict(self.rows), self._declared_rows(stage)
            with walk(self.nest, self.reduced_loops) as reduced:
                self._recall_rows(earlier, kept, reduced)
                for fold, at, accumulator in zip(folds, results, sums, strict=True):
                    # The row-major order of a fold's own dims is that of the domain's reduced runs.
                    self.values.update(accumulator, fold, at, li.unflatten(reduced, fold.extents))
                position = self.plan.position(kept, reduced)
                for node in rows:
                    self.values.store(self.rows[node], reduced, self.values.at(node, li.unflatten(position, node.dims)))
                self.values.store_all(position, stores)
                self._note_computed(stage, position)
        for fold, at, accumulator in zip(folds, results, sums, strict=True):
            self.values.finish(fold, accumulator, at)

    def _result_index(self, fold: Fold, kept: Index) -> tuple[Index, ...]:
        return li.unflatten(kept, fold.node.dims)

    # Rows: values that several stages need, kept in local buffers -----------------------------------------------------------------------

    def _declared_rows(self, stage: int) -> list[Node]:
        """Declares the buffers of the rows that this stage is the first to be able to compute."""
        rows = [node for node in self.group.body.nodes
                if node in self.plan.stored and node not in self.rows and self.levels[node] <= stage]
        for node in rows:
            self.rows[node] = self.nest.local(node.dtype, (self.plan.reduced.size,))
        return rows

    def _recall_rows(self, rows: Mapping[Node, ir.Buffer], kept: Index, reduced: Index) -> None:
        for node, buffer in rows.items():
            value = self.nest.let(ir.Load(buffer, (self.values.address(buffer, reduced),)), "kept")
            self.nest.remember((node, li.unflatten(self.plan.position(kept, reduced), node.dims), None), value)

    def _note_computed(self, stage: int, position: Index) -> None:
        """Remembers which nodes of the whole domain this stage has computed at its own element."""
        known = self.nest.scopes[-1].values
        whole = self.plan.kept.size * self.plan.reduced.size
        self.computed[stage] = {node for node in self.group.body.nodes if node.type.size == whole
                                and (node, li.unflatten(position, node.dims), None) in known}

    def _worth_keeping(self) -> frozenset[Node]:
        """The nodes to keep in row buffers: computed in two stages, with something costly below, and not below another such node."""
        if not self.plan.is_row or self.plan.reduced.size <= 1 or self.plan.stored:
            return self.plan.stored
        chosen: set[Node] = set()
        for stage, nodes in self.computed.items():
            before = set().union(*(self.computed[s] for s in self.computed if s < stage))
            roots = [f.node.operands[0] for f in self.folds if self._stage(f) == stage]
            roots += [n for n in self.group.body.outputs if self.levels[n] == stage]
            chosen |= {n for n in _topmost(roots, nodes, before) if n.type.dtype.size * self.plan.reduced.size <= ROW_BYTES}
        return frozenset(chosen)


def _topmost(roots: Sequence[Node], inside: set[Node], common: set[Node]) -> set[Node]:
    """The first nodes of `common` that are costly to compute, on every way down from `roots` through `inside`."""
    found: set[Node] = set()
    stack, seen = list(roots), set(roots)
    while stack:
        node = stack.pop()
        if node in common and _is_costly(node, inside):
            found.add(node)
            continue
        fresh = [operand for operand in node.operands if operand in inside and operand not in seen]
        seen.update(fresh)
        stack += fresh
    return found


def _is_costly(node: Node, inside: set[Node]) -> bool:
    """Whether something expensive per element stands at or below `node` within `inside`."""
    stack, seen = [node], {node}
    while stack:
        each = stack.pop()
        form = each.primitive.loop
        if each.name in COSTLY if isinstance(form, Map) else form == Fill("random_bits"):
            return True
        fresh = [operand for operand in each.operands if operand in inside and operand not in seen]
        seen.update(fresh)
        stack += fresh
    return False


def _levels(group: Group, folded: set[Node]) -> dict[Node, int]:
    """How many stages must be over before a node's value can be computed: its folds on the longest way to the parameters."""
    levels: dict[Node, int] = {}
    for node in group.body.nodes:
        operands = () if node in group.buffers else node.operands
        below = max((levels[operand] for operand in operands), default=0)
        levels[node] = below + (len(folds_of(node)) if node in folded else 0)
    return levels
