"""Which pass changes a result, and what in it: the application of a rule, or the node. `check.py` asks; the judge is `truth.py`.

    stages --each against the reference--> the pass --Rewrite(limit=n), by halving--> the application --reduce--> a few lines of Program
                                                    --other passes: the first node with a value of its own--> the node --reduce--> the same
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphc.core.interpret import interpret, trace
from graphc.core.program import Node, Origin, Program, postorder
from graphc.core.text import print_program
from graphc.core.verify import InvalidProgram, verify
from graphc.passes.pipelines import PASSES, Pass
from graphc.passes.record import Applied, recording
from graphc.passes.rewrite import Rewrite
from graphc.passes.users import as_run
from graphc.runtime.reduce import Example, cut, reduce_program
from graphc.runtime.truth import Expected, expect, expect_node, first_difference, is_inexact, named
from graphc.runtime.verdict import Culprit

Array = np.ndarray[Any, Any]
_FAILURES = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError)  # of a pass that is wrong
_SHOWN_ORIGINS = 6


@dataclass(frozen=True)
class Inputs:
    """A Program and the values that it is run on."""

    program: Program
    feeds: Sequence[Array]
    variables: Mapping[str, Array]


def wrong_result(expected: Mapping[str, Expected], program: Program, feeds: Sequence[Array], variables: Mapping[str, Array],
                 ) -> tuple[str, float]:
    """What `program` gives otherwise than `expected`, in words, "" where nothing; and how far its results are from the truth."""
    try:
        found = named(interpret(program, feeds, variables))
    except _FAILURES as error:
        return f"made a program that cannot be run: {type(error).__name__}: {error}", 0.0
    difference = first_difference(expected, found)
    if difference is None:
        return "", max((value.distance(found[name]) for name, value in expected.items()), default=0.0)
    what, how = difference
    return f"changed {what}: {how}" if how else f"lost {what}", 0.0


def is_invalid(program: Program) -> str:
    """What rule of Programs is broken; "" where it is valid."""
    try:
        verify(program)
    except InvalidProgram as error:
        return str(error)
    return ""


def blame_pass(name: str, apply: Pass, inputs: Inputs, headline: str) -> Culprit:
    """What in the pass `apply`, which goes wrong on `inputs`, is to blame. headline: how it shows there."""
    search = _Search(name, as_run(apply), inputs)
    applied = search.first_wrong_application()
    if applied is not None:
        return search.rule(headline, applied)
    return search.node(headline)


@dataclass(frozen=True)
class _Search:
    """One wrong pass and the Program on which it is wrong."""

    name: str
    apply: Pass
    inputs: Inputs

    # -- rules --------------------------------------------------------------------------------------------------------------------------

    def first_wrong_application(self) -> Applied | None:
        """The application of a rule with which results go wrong; None where no rule is to blame."""
        applied = _applications(self.apply, self.inputs.program)
        if isinstance(self.apply, Rewrite) and applied:
            expected = expect(self.inputs.program, self.inputs.feeds, self.inputs.variables)
            right, wrong = 0, len(applied)
            while wrong - right > 1:
                middle = (right + wrong) // 2
                if self._is_wrong(replace(self.apply, limit=middle), self.inputs, expected):
                    wrong = middle
                else:
                    right = middle
            return applied[wrong - 1] if self._is_wrong(replace(self.apply, limit=wrong), self.inputs, expected) else None
        return next((each for each in applied if self.difference(each)), None)

    def difference(self, applied: Applied) -> str:
        """How the two sides of an application differ, on the values at hand; "" where they agree or cannot be run by themselves."""
        sides = Program(self.inputs.program.parameters, (applied.before, applied.after))
        try:
            values = trace(sides, self.inputs.feeds, self.inputs.variables)
            expected = expect_node(applied.before, [values[operand] for operand in applied.before.operands])
        except _FAILURES:
            return ""
        found = values[applied.after] if applied.after.is_tuple else [values[applied.after]]
        differences = [each.difference(value) for each, value in zip(expected, found, strict=True)]
        return next((str(each) for each in differences if each is not None), "")

    def rule(self, headline: str, applied: Applied) -> Culprit:
        """The culprit for a wrong application."""
        origins = self.inputs.program.origins
        details = [f"rule '{applied.rule}': {applied.maths}", *where(_origins_of(applied.before, self.inputs.program))]
        difference = self.difference(applied)
        details += [f"by itself it differs {difference}"] if difference else []
        details += [f"it put the second result of this in the place of the first:\n{_indented(print_program(_sides(applied)))}"]
        whole = Program(self.inputs.program.parameters, (applied.before,), origins=origins)
        for apply in self._ways(applied.rule):
            example = self._reduced(replace(self.inputs, program=whole), apply)
            if example is not None:
                made = _text_after(apply, example.program)
                return Culprit("rule", applied.rule, headline, tuple(details), example.program, self._command(), made)
        return Culprit("rule", applied.rule, headline, tuple(details))

    def _ways(self, rule: str) -> Iterator[Pass]:
        """The pass, and it with one rule alone: the others may take a part of a program apart before that one sees it."""
        yield self.apply
        if isinstance(self.apply, Rewrite):
            yield replace(self.apply, rules=tuple(each for each in self.apply.rules if each.name == rule))

    def _command(self) -> str:
        return f"graphc opt --pass {self.name} FILE" if self.name in PASSES else ""

    # -- other passes -------------------------------------------------------------------------------------------------------------------

    def node(self, headline: str) -> Culprit:
        """The culprit where no rule is to blame: the first node whose value the program before has nowhere."""
        details: list[str] = []
        example = self._reduced(self.inputs, self.apply)
        after = self._after()
        strange = None if after is None else self._first_strange(after)
        if after is not None and strange is not None:
            node, how = strange
            details += [f"the first node with a value that no node had before: {describe(node)}{how}"]
            kernel = node.operands[0] if node.name == "get_tuple_element" else node
            details += where(after.origins.get(kernel, ()))
        if example is None:
            return Culprit("pass", self.name, headline, tuple(details))
        made = _text_after(self.apply, example.program)
        return Culprit("pass", self.name, headline, tuple(details), example.program, self._command(), made)

    def _after(self) -> Program | None:
        try:
            after = self.apply(self.inputs.program)
        except _FAILURES:
            return None
        return None if is_invalid(after) else after

    def _first_strange(self, after: Program) -> tuple[Node, str] | None:
        """Of the nodes that a wrong result rests on, the first that the program before should have (a node of its type and operation is
        there) and has not, with how it differs; else the first that it has not."""
        before = self.inputs.program
        try:
            known = trace(before, self.inputs.feeds, self.inputs.variables)
            values = trace(after, self.inputs.feeds, self.inputs.variables)
        except _FAILURES:
            return None
        expected = expect(before, self.inputs.feeds, self.inputs.variables)
        had = _Had(before, known)
        region = self._region(after, values, had, expected)
        for node in region:
            twins = had.twins(node, after.origins.get(node, ()))
            if twins:
                return node, f", {_compared(known[twins[-1]], values[node])}"
        return (region[0], "") if region else None

    def _region(self, after: Program, values: Mapping[Node, Any], had: _Had, expected: Mapping[str, Expected]) -> list[Node]:
        """The nodes of `after` between what the program before has too and a wrong result."""
        results = [*after.outputs, *after.effects]
        names = [f"output {n}" for n in range(len(after.outputs))] + [f"variable {e.attrs.variable}" for e in after.effects]
        stack = [node for name, node in zip(names, results, strict=True)
                 if name in expected and expected[name].difference(np.asarray(values[node])) is not None]
        found: set[Node] = set()
        while stack:
            node = stack.pop()
            if node not in found and not had.has(node, values[node]):
                found.add(node)
                stack.extend(node.operands)
        return [node for node in after.nodes if node in found and not node.is_tuple and node.name != "variable_assign"]

    # -- the smallest example -----------------------------------------------------------------------------------------------------------

    def _reduced(self, inputs: Inputs, apply: Pass) -> Example | None:
        """The least part of a program on which `apply` is wrong."""
        try:
            values = trace(inputs.program, inputs.feeds, inputs.variables)
        except _FAILURES:
            return None
        return reduce_program(inputs.program, values, lambda program, feeds: self._is_wrong(apply, Inputs(program, feeds, {})))

    def _is_wrong(self, apply: Pass, inputs: Inputs, expected: Mapping[str, Expected] | None = None) -> bool:
        try:
            after = apply(inputs.program)
        except _FAILURES:
            return True
        if after is inputs.program:
            return False
        if is_invalid(after):
            return True
        try:
            right = expected or expect(inputs.program, inputs.feeds, inputs.variables)
        except _FAILURES:
            return False
        return bool(wrong_result(right, after, inputs.feeds, inputs.variables)[0])


class _Had:
    """The values of a program, to ask whether it has one."""

    def __init__(self, program: Program, values: Mapping[Node, Any]) -> None:
        self._program = program
        self._values = values
        self._by_type: dict[Any, list[Node]] = {}
        for node in program.nodes:
            if not node.is_tuple and node.name != "variable_assign":
                self._by_type.setdefault(node.type, []).append(node)

    def has(self, node: Node, value: Any) -> bool:
        """Whether a node of the program has this value, or is `node` itself."""
        if node in self._values or node.is_tuple:
            return node in self._values
        return any(_is_close(np.asarray(self._values[each]), np.asarray(value)) for each in self._by_type.get(node.type, ()))

    def twins(self, node: Node, origins: Sequence[Origin]) -> list[Node]:
        """The program's nodes of the same type that come from the same operations."""
        wanted = set(origins)
        return [each for each in self._by_type.get(node.type, ()) if wanted & set(self._program.origins.get(each, ()))]


def _is_close(left: Array, right: Array) -> bool:
    if not is_inexact(left.dtype):
        return bool(np.array_equal(left, right))
    with np.errstate(all="ignore"):
        scale = float(np.abs(left[np.isfinite(left)]).astype(np.float64).max(initial=0.0))
        return bool(np.allclose(left.astype(np.complex128), right.astype(np.complex128), rtol=1e-4, atol=1e-4 * scale, equal_nan=True))


def _compared(expected: Any, found: Any) -> str:
    expected, found = np.asarray(expected), np.asarray(found)
    with np.errstate(all="ignore"):
        off = np.abs(expected.astype(np.complex128) - found.astype(np.complex128))
    place = tuple(int(each) for each in np.unravel_index(int(np.argmax(np.nan_to_num(off, nan=np.inf))), off.shape)) if off.size else ()
    return f"most at {list(place)}: {expected[place]} before, {found[place]} now" if off.size else "empty"


def _applications(apply: Pass, program: Program) -> list[Applied]:
    """The rules that `apply` applies to `program`, also where it fails in the end."""
    with recording() as record:
        try:
            apply(program)
        except _FAILURES:
            return list(record.applied)
    return list(record.applied)


def _sides(applied: Applied, depth: int = 3) -> Program:
    """Both sides of an application, down to what they share, or to some depth."""
    before, after = applied.before, applied.after
    below = set(postorder((before,))) - {before}
    made = [node for node in postorder((after,), below) if node not in below]
    shared = {operand for node in made for operand in node.operands if operand in below}
    layer, near = {before}, {before}
    for _ in range(depth - 1):
        layer = {operand for node in layer for operand in node.operands if operand not in shared or operand.is_tuple}
        near |= layer
    border = shared | {operand for node in near for operand in node.operands if operand not in near}
    return cut((before, after), {node for node in border if not node.is_tuple and node.name != "constant"} - {before, after})


def _origins_of(node: Node, program: Program) -> tuple[Origin, ...]:
    """Where `node` comes from; one that a rule made has the origins of what it is made of."""
    for each in reversed(postorder((node,))):
        if program.origins.get(each):
            return program.origins[each]
    return ()


def _text_after(apply: Pass, program: Program) -> str:
    try:
        return print_program(apply(program))
    except _FAILURES as error:
        return f"{type(error).__name__}: {error}"


def describe(node: Node) -> str:
    """A node in one line: `add(reshape, parameter): f32[3]`, a fusion with what it holds."""
    inside = ""
    if node.name == "get_tuple_element":
        return f"output {node.attrs.index} of {describe(node.operands[0])}"
    if node.name == "fusion":
        members = [each.name for each in node.attrs.body.nodes if each.name not in ("parameter", "constant")]
        inside = f" of {', '.join(members[:8])}{', ...' if len(members) > 8 else ''}"
    types = ", ".join(map(str, node.types))
    return f"{node.name}({', '.join(operand.name for operand in node.operands)}): {types}{inside}"


def where(origins: Sequence[Origin]) -> list[str]:
    """The operations and the user's lines, in one line."""
    if not origins:
        return []
    more = len(origins) - _SHOWN_ORIGINS
    return [f"from {', '.join(map(str, origins[:_SHOWN_ORIGINS]))}{f' and {more} more' if more > 0 else ''}"]


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
