"""A rule and a pass of one's own, put into the compiler: what they change, and that the results stay.

Run it with `python examples/own_pass.py`; or hand its `build` and its `passes` to any command: to see what they make of it,
`graphc dump examples/own_pass.py --pipeline examples/own_pass.py`, and what each of them earns (or costs),
`graphc bench examples/own_pass.py --pipeline examples/own_pass.py --only passes`.
"""
from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.core.program import Node, Program
from graphc.passes import op, replace_nodes, rule, sample
from graphc.primitives import add, concatenate, dot_general, slice_

PLAIN = {"lhs_batch": (), "rhs_batch": (), "lhs_contract": (1,), "rhs_contract": (0,)}  # of a product of two matrices


def product(x: Node, w: Node) -> Node:
    return dot_general(x, w, **PLAIN)


X, A, B = sample(gc.float32, 5, 3), sample(gc.float32, 3, 4, name="a"), sample(gc.float32, 3, 4, name="b")


@rule("sum of products", "x A + x B ~ x (A + B)", op.add(op.dot_general("x", "a", **PLAIN), op.dot_general("x", "b", **PLAIN)),
      examples=[add(product(X, A), product(X, B))])
def sum_of_products(x: Node, a: Node, b: Node) -> Node:
    return product(x, add(a, b))


def one_product(program: Program) -> Program:
    """Products of one x, `x A` and `x B`, become the columns of one: `x [A B]`."""
    while group := products_of_one(program):
        whole = product(group[0].operands[0], concatenate([node.operands[1] for node in group], 1))
        parts, start = {}, 0
        for node in group:
            rows, columns = node.dims
            parts[node] = slice_(whole, (0, start), (rows, start + columns))
            start += columns
        program = replace_nodes(program, parts)
    return program


def products_of_one(program: Program) -> list[Node]:
    """The products of the first x that has several; empty where none has."""
    groups: dict[Node, list[Node]] = {}
    for node in program.nodes:
        if node.name == "dot_general" and len(node.dims) == 2 and node.attrs == product(X, A).attrs:
            groups.setdefault(node.operands[0], []).append(node)
    return next((group for group in groups.values() if len(group) > 1), [])


passes = [("sum of products", sum_of_products), ("one product", one_product)]  # what --pipeline asks for: each after simplify


def build() -> tuple[list[gc.Tensor], dict[gc.Tensor, Any]]:
    """A gated layer as one might write it, with four products of one x."""
    x = gc.placeholder(gc.float32, [64, 48], name="x")
    gate, value, left, right = (gc.get_variable(name, [48, 32]) for name in ("gate", "value", "left", "right"))
    y = gc.add(gc.sigmoid(x @ gate) * (x @ value), x @ left + x @ right, name="y")
    return [y], {x: np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32)}


def main() -> float:
    """Compiles the layer twice, runs both, and prints what differs; gives the largest difference of the results."""
    gc.set_random_seed(0)
    fetches, feeds = build()
    default = gc.pipelines["default"]
    own = default.after("simplify", "sum of products", sum_of_products).after("sum of products", "one product", one_product)
    results = []
    for pipeline in (default, own):
        with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
            session.run(gc.global_variables_initializer())
            results.append(session.run(fetches[0], feeds))
            plan = session.compile(fetches, feeds)
        print(f"{pipeline}: {len(plan.kernels)} kernels, {sum(kernel.flops for kernel in plan.kernels):,} flops")
        for stage in plan.stages[1:]:
            print(f"  {stage.name}: {len(stage.program.nodes)} nodes")
            for applied in stage.applied:
                print(f"    {applied}")
    difference = float(np.max(np.abs(results[0] - results[1])))
    print(f"the largest difference of the results is {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
