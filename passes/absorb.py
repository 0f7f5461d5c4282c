"""Products take along the maps that read them, where a library can do both: the last word of fusion in pipelines for a GPU.

    u = fusion(x, w, b) {dot_general, add}                          u, g = fusion(x, w, b) {dot_general, add, gelu}
    g = fusion(u) {gelu}                                     ->     ...
    d = dot_general(y, v);   dx = fusion(d, u) {gelu's slope}       dx = fusion(y, v, u) {dot_general, gelu's slope}

`epilogues` has put each map where the library could not do it at the time; since then `recompute` has changed what kernels store, and a
product with an activation may have become one of the library's own forms.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from graphc.core.primitive import lookup
from graphc.core.program import Node, Origin, Program, make, postorder, substitute
from graphc.passes.epilogues import once_for_equal
from graphc.passes.fuse import fused
from graphc.passes.groups import Classifier, Illegal, is_alias, is_compute, is_map, is_product, travels
from graphc.passes.storage import Value, is_step, reads, value_of


@dataclass(frozen=True)
class Absorb:
    """Merges an elementwise step into the product before it where the result is `expressible` (see `Epilogues`), and nobody has read the
    product by then: so every step stays behind all that it reads."""

    expressible: Callable[[Node], bool] = field(repr=False)
    name: str = "absorb"

    def __call__(self, program: Program) -> Program:
        made = _Absorption(program, once_for_equal(self.expressible))
        for node in program.nodes:
            if is_step(node):
                made.add(node)
        return made.program() if made.count else program


class _Absorption:
    """One walk down the schedule. values: the new node of each value. open: products that no step has read yet."""

    def __init__(self, program: Program, can: Callable[[Node], bool]) -> None:
        self.source = program
        self.count = 0
        self._can = can
        self._values: dict[Value, Node] = {}
        self._origins: dict[Node, tuple[Origin, ...]] = {}
        self._open: dict[Node, Node] = {}  # old -> new
        self._classifier = Classifier()
        self._readers: dict[Value, set[Node]] = {}
        for step in filter(is_step, program.nodes):
            for value in reads(step):
                self._readers.setdefault(value, set()).add(step)
        self._kept = {value_of(node) for node in (*program.outputs, *program.effects)}

    def add(self, step: Node) -> None:
        """Takes the next step over, into the product that it reads if that can be."""
        products = [source for source in dict.fromkeys(value[0] for value in reads(step)) if source in self._open]
        if len(products) != 1 or not (_is_elementwise(step) and self._absorb(products[0], step)):
            made = make(step.primitive, [self._new(operand) for operand in step.operands], step.attrs)
            self._place(made, [(step, number) for number in range(len(step.types))], (step,))
            if _has_product(step):
                self._open[step] = made
        for product in products:
            del self._open[product]

    def program(self) -> Program:
        """The Program of everything that was added."""
        outputs, effects = (tuple(map(self._new, nodes)) for nodes in (self.source.outputs, self.source.effects))
        return Program(self.source.parameters, outputs, effects, origins=self._origins)

    def _absorb(self, product: Node, step: Node) -> bool:
        """Whether `product` and `step` are one node now."""
        made = self._open[product]
        first = _expressions(made, made.operands)
        given = {(product, number): expression for number, expression in enumerate(first)}
        second = _expressions(step, [self._new(operand, given) for operand in step.operands])
        wanted = {value: expression for value, expression in given.items() if self._is_needed_beside(step, value)}
        wanted |= {(step, number): expression for number, expression in enumerate(second)}
        inputs = list(dict.fromkeys((*made.operands, *(self._new(o) for o in step.operands if value_of(o)[0] is not product))))
        merged = self._merged(list(wanted.values()), inputs)
        if merged is None or not self._can(merged):
            return False
        self._place(merged, list(wanted), (product, step))
        self.count += 1
        return True

    def _is_needed_beside(self, step: Node, value: Value) -> bool:
        """Whether anything but `step` needs `value`."""
        return value in self._kept or bool(self._readers.get(value, set()) - {step})

    def _merged(self, written: list[Node], inputs: list[Node]) -> Node | None:
        """One node that computes `written` from `inputs`; None where no kernel of a product can."""
        members = [node for node in postorder(written, inputs) if node not in inputs]
        asked = [node for node in members if (node in written and not is_alias(node)) or (is_compute(node) and not travels(node))]
        if len(set(written)) < len(written) or not set(written) <= set(asked):
            return None
        try:
            if self._classifier.classify(asked, written).kind != "dot":
                return None
        except Illegal:
            return None
        used = [node for node in inputs if any(node in member.operands for member in members)]
        return fused("dot", members, used, written, used)

    def _new(self, node: Node, instead: dict[Value, Node] | None = None) -> Node:
        """What stands for `node` now; for values in `instead`, what that says."""
        if is_step(node) or node.name == "get_tuple_element":
            value = value_of(node)
            return instead[value] if instead and value in instead else self._values[value]
        if is_alias(node) or node.name == "variable_assign":
            made = make(node.primitive, [self._new(operand, instead) for operand in node.operands], node.attrs)
        else:
            made = node
        self._inherit(made, (node,))
        return made

    def _place(self, made: Node, values: list[Value], origins: Iterable[Node]) -> None:
        """Notes that `made` computes `values`, in this order, and for what operations."""
        pick = lookup("get_tuple_element")
        for number, value in enumerate(values):
            self._values[value] = make(pick, (made,), pick.attrs(index=number)) if made.is_tuple else made
        self._inherit(made, origins)

    def _inherit(self, made: Node, olds: Iterable[Node]) -> None:
        found = dict.fromkeys(origin for old in olds for origin in self.source.origins.get(old, ()))
        if found:
            self._origins[made] = tuple(found)


def _expressions(step: Node, operands: Iterable[Node]) -> list[Node]:
    """What a step computes, unfused, over its operands."""
    if step.name != "fusion":
        return [make(step.primitive, list(operands), step.attrs)]
    body: Program = step.attrs.body
    mapping = dict(zip(body.parameters, operands, strict=True))
    new = substitute(body.outputs, mapping, mapping)
    return [new[output] for output in body.outputs]


def _has_product(step: Node) -> bool:
    return is_product(step) or (step.name == "fusion" and step.attrs.kind == "dot")


def _is_elementwise(step: Node) -> bool:
    if step.name != "fusion":
        return is_map(step)
    return step.attrs.kind == "loop" and all(is_map(node) or travels(node) or node.name in ("parameter", "constant")
                                             for node in step.attrs.body.nodes)
