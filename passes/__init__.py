"""The room of passes: each takes a valid Program and gives a valid Program. `pipelines` lists every order they run in.

Here stands what a user's own pass is written with:

    import graphc as gc
    from graphc.passes import op, rule
    from graphc.primitives import add, multiply, subtract

    @rule("difference of squares", "x x - y y ~ (x + y) (x - y)", op.subtract(op.multiply("x", "x"), op.multiply("y", "y")))
    def difference_of_squares(x, y):
        return multiply(add(x, y), subtract(x, y))

    own = gc.pipelines["default"].after("simplify", "mine", difference_of_squares)
    with gc.Session(config=gc.ConfigProto(pipeline=own)) as session:
        ...

- A *rule* replaces one node: `rule` over a pattern of `op.NAME` (`patterns.py` says what patterns find), `number("c")` for constants,
  `check` to test it on random values, `sample` for its examples. `Rule` by hand where a pattern says too little; `Rewrite` applies rules.
- A *pass* is any function from Program to Program; `map_nodes` writes one node by node, `replace_nodes` one that has looked at the
  whole. Nodes are made by the functions of `graphc.primitives`, whose names program text shows (`graphc dump`).
- A *pipeline* takes both: `Pipeline.after`, `.before`, `.replaced`, `.without`; `run_pipeline` gives every stage. What a user's pass makes
  is verified; where it is wrong, or raises, a warning names the pass, and the compilation goes on without it.
"""
from graphc.passes.patterns import Pattern, WrongRule, check, number, op, rule
from graphc.passes.pipelines import PASSES, PIPELINES, Pass, Pipeline, Stage, as_pass, run_pipeline
from graphc.passes.rewrite import Rewrite, RewriteLoop, Rule, RuleFailed
from graphc.passes.rules_common import sample, uniform
from graphc.passes.users import PassFailed, map_nodes, replace_nodes

__all__ = [
    "PASSES", "PIPELINES", "Pass", "PassFailed", "Pattern", "Pipeline", "Rewrite", "RewriteLoop", "Rule", "RuleFailed", "Stage",
    "WrongRule", "as_pass", "check", "map_nodes", "number", "op", "replace_nodes", "rule", "run_pipeline", "sample", "uniform",
]
