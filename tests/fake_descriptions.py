"""Descriptions of compilations that never were, for the tests of the report page: any number of nodes, name scopes of any depth.

They have the form of `graphc.inspection.describe` and agree with themselves: operands are there, texts print the nodes, every node of the
last stages belongs to a kernel. What changes between stages follows from the positions of nodes alone, so that a test can count it by hand:
"simplify" removes every tenth computed node and replaces every tenth (that after the fifth of each ten), "fuse" makes one kernel of each
`GROUP` nodes that are left.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = ("dot_general", "add", "maximum", "broadcast_in_dim", "exponential", "reduce_sum", "divide", "multiply", "transpose",
              "subtract")
PARTS = ("attention", "query", "key", "value", "mlp", "norm", "dense", "output", "embedding", "logits")
GROUP = 8
REMOVED = "multiply_by_one: x * 1 = x"
REPLACED = "divide_by_constant: x / c = x * (1 / c)"
REASONS = ("a product starts a kernel of its own", "the rows differ: f32[64,128] and f32[128]", "it is read by two kernels",
           "the cache would overflow")
Changes = list[tuple[str, "list[Draft]", "list[Draft]", str]]  # kind, before, after, why


@dataclass
class Draft:
    """A node before it has a number. parts: of a fused one, the nodes of the stage before."""

    name: str
    type: str
    operands: list[Draft]
    operations: list[int]
    note: str = ""
    kernel: int | None = None
    parts: list[Draft] = field(default_factory=list)


def fake(count: int = 120, depth: int = 3, title: str = "a fake model", names: tuple[str, ...] = ()) -> dict[str, Any]:
    """About `count` nodes in the first stage; operations stand `depth` name scopes deep. names: taken for the first operations."""
    operations = [{"name": names[i] if i < len(names) else _name(i, depth), "type": "MatMul", "line": f"train.py:{10 + i % 40}",
                   "kernels": [], "fate": "computed by itself"} for i in range(max(count // 2, 1))]
    inputs = [Draft("parameter", "f32[64,128]", [], [], 'name = "images:0"'),
              Draft("variable_read", "f32[128,128]", [], [], 'variable = "dense/kernel"')]
    first = list(inputs)
    for i in range(count):
        operands = [first[-1], first[max(0, len(first) - 2 - i % 7)]]
        first.append(Draft(PRIMITIVES[i % 10], "f32[64,128]", operands, [i // 2 % len(operations)], "axes = [1]" if i % 10 == 5 else ""))
    simplified, changes = _simplify(first)
    fused, kernels, fusions = _fuse(simplified)
    stages = [_stage("specialise", first, {}, []),
              _stage("simplify", simplified, _ids(first), changes),
              {"name": "split", "ms": 0.2, "problem": "", "changed": False, "text": "", "nodes": [], "changes": [], "rules": {}},
              _stage("fuse", fused, _ids(simplified), fusions),
              {"name": "order", "ms": 0.4, "problem": "ValueError: no order fits", "changed": False, "text": "", "nodes": [], "changes": [],
               "rules": {}}]
    for number, kernel in enumerate(kernels):
        for operation in kernel["operations"]:
            operations[operation]["kernels"].append(number)
            operations[operation]["fate"] = f"computed by kernel {number}"
    return {
        "title": title, "target": "cpu", "version": "0.0.0",
        "signature": {"fetches": ["loss:0", "train"], "feeds": [{"name": "images:0", "type": "f32[64,128]"}]},
        "phases": {"specialise": 1.9, "passes": 25.2, "lower": 52.5, "machine code": 1.6, "link": 2.7},
        "warnings": ["order failed: ValueError: no order fits"],
        "operations": operations, "stages": stages, "kernels": kernels, "edges": _edges(kernels), "memory": _memory(kernels),
        "timeline": _timeline(kernels), "machine": {"gflops": 110.0, "gbs": 18.5, "cores": 2},
        "lines": {f"train.py:{10 + i}": f"h{i} = gc.layers.dense(h{i - 1}, 128, activation=gc.nn.relu)" for i in range(40)},
    }


def _name(i: int, depth: int) -> str:
    """Scopes of three branches each: 'block_0/attention_2/.../MatMul_7'."""
    scopes = [f"{PARTS[level % len(PARTS)]}_{i // 3 ** (depth - level) % 3}" for level in range(1, depth)]
    return "/".join([f"block_{i // 3 ** depth}", *scopes, f"MatMul_{i}"] if depth else [f"MatMul_{i}"])


def _simplify(before: list[Draft]) -> tuple[list[Draft], Changes]:
    became: dict[int, Draft] = {}
    touched: set[int] = set()
    after: list[Draft] = []
    changes: Changes = []
    for position, node in enumerate(before):
        operands = [became[id(operand)] for operand in node.operands]
        turn = (position - 2) % 10 if position > 1 else -1
        if turn in (6, 9):
            touched.add(id(node))
        if turn == 9:
            became[id(node)] = operands[0]
            changes.append(("removed", [node], [], REMOVED))
            continue
        made = Draft("multiply" if turn == 6 else node.name, node.type, operands, node.operations, node.note)
        became[id(node)] = made
        after.append(made)
        if turn == 6:
            changes.append(("replaced", [node], [made], REPLACED))
        elif any(id(operand) in touched for operand in node.operands):
            touched.add(id(node))  # a node of new operands is a new node, and so are its users
            changes.append(("rebuilt", [node], [made], ""))
    return after, changes


def _fuse(before: list[Draft]) -> tuple[list[Draft], list[dict[str, Any]], Changes]:
    inputs, computed = before[:2], before[2:]
    after, kernels = list(inputs), list[dict[str, Any]]()
    changes: Changes = []
    home: dict[int, Draft] = {id(node): node for node in inputs}
    for number, start in enumerate(range(0, len(computed), GROUP)):
        parts = computed[start:start + GROUP]
        inside = {id(part) for part in parts}
        reads = {id(home[id(o)]): home[id(o)] for part in parts for o in part.operands if id(o) not in inside}
        node = Draft("fusion", "f32[64,128]", list(reads.values()), sorted({o for part in parts for o in part.operations}),
                     f'kind = "{("loop", "row", "dot")[number % 3]}"', number, parts)
        home |= {id(part): node for part in parts}
        after.append(node)
        changes.append(("fused", parts, [node], f"{len(parts)} nodes, one kernel"))
        kernels.append(_kernel(number, node, [other.kernel for other in reads.values()]))
    return after, kernels, changes


def _kernel(number: int, node: Draft, sources: list[int | None]) -> dict[str, Any]:
    kind = ("loop", "row", "dot")[number % 3]
    flops, moved = (2 * 64 * 128 * 128, 130_000) if kind == "dot" else (8_192 * (1 + number % 5), 65_536 * (1 + number % 3))
    name = f"{number}_{kind}_MatMul_{node.operations[0]}"
    text = ["(x0: f32[64,128] in, y0: f32[64,128] out) {", "  for i in 64 parallel {  // rows", "    y0[i] = tanh(x0[i])", "  }", "}"]
    llvm = ["(ptr %bufs, ptr %scratch, i64 %begin, i64 %end) {", "entry:", "  %0 = load ptr, ptr %bufs, align 8", "  ret void", "}"]
    assembly = [":", "\tvmovups\t(%rdi), %zmm0  # rows", "\tvaddps\t%zmm0, %zmm1, %zmm0", "\tretq"]
    return {
        "name": name, "kind": kind, "operations": node.operations, "lines": sorted({f"train.py:{10 + o % 40}" for o in node.operations}),
        "flops": flops, "bytes": moved, "microseconds": 2.0 + number % 7, "measured_us": 2.5 + number % 6, "parallel": number % 2 == 0,
        "text": f"kernel {name}" + "\n".join(text), "code": f"define void @{name}" + "\n".join(llvm),
        "assembly": name + "\n".join(assembly),
        "reads": [{"value": "images:0" if source is None else f"value {source}", "bytes": 32_768, "from": source} for source in sources],
        "writes": [{"value": f"value {number}", "bytes": 32_768}],
    }


def _edges(kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"from": read["from"], "to": to, "value": read["value"], "bytes": read["bytes"],
             "why": REASONS[(read["from"] + to) % len(REASONS)], "text": "in other words"}
            for to, kernel in enumerate(kernels) for read in kernel["reads"] if read["from"] is not None]


def _memory(kernels: list[dict[str, Any]]) -> dict[str, Any]:
    last = len(kernels) - 1
    buffers = [{"offset": 32_768 * (i % 3), "size": 32_768 if i % 4 else 20_000, "first": i, "last": min(i + 2, last),
                "values": [f"value {i}"], "lines": kernel["lines"][:1]} for i, kernel in enumerate(kernels)]
    at = min(2, last)
    return {"arena": 98_304, "lower_bound": 85_536, "unplanned": 32_768 * len(kernels), "buffers": buffers,
            "peak": {"at": at, "live": [i for i, b in enumerate(buffers) if b["first"] <= at <= b["last"]]},
            "variables": [{"name": "dense/kernel", "bytes": 65_536, "in_place": True},
                          {"name": "dense/bias", "bytes": 512, "in_place": False}]}


def _timeline(kernels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows, start = [], 1.5
    for number, kernel in enumerate(kernels):
        rows.append({"kernel": number, "start_us": start, "us": kernel["measured_us"]})
        start += kernel["measured_us"] + 0.3
    return rows


def _ids(nodes: list[Draft]) -> dict[int, int]:
    return {id(node): number for number, node in enumerate(nodes)}


def _stage(name: str, nodes: list[Draft], before: dict[int, int], changes: Changes) -> dict[str, Any]:
    ids = _ids(nodes)
    rules: dict[str, int] = {}
    for kind, _, _, why in changes:
        if kind in ("removed", "replaced"):
            rules[why.split(":")[0]] = rules.get(why.split(":")[0], 0) + 1
    return {
        "name": name, "ms": 0.0 if not before else 0.02 * len(nodes), "problem": "", "changed": True,
        "text": "\n".join(["program {", *(f"  {_line(number, node, ids)}" for number, node in enumerate(nodes)), "}"]),
        "nodes": [{"id": number, "name": node.name, "type": node.type, "operands": [ids[id(o)] for o in node.operands],
                   "operations": node.operations, "kernel": node.kernel, "note": node.note} for number, node in enumerate(nodes)],
        "changes": [{"kind": kind, "before": [before[id(n)] for n in old], "after": [ids[id(n)] for n in new],
                     "rule": why if kind in ("removed", "replaced") else "", "why": "" if kind in ("removed", "replaced") else why}
                    for kind, old, new, why in changes],
        "rules": rules,
    }


def _line(number: int, node: Draft, ids: dict[int, int]) -> str:
    operands = ", ".join(f"%{ids[id(o)]}" for o in node.operands)
    return f"%{number} = {node.name}({operands})" + (f" {{{node.note}}}" if node.note else "") + f" : {node.type}"
