"""Rules by pattern: `rule` makes a `rewrite.Rule` of a pattern and a function of what the pattern found. For users, and short enough to be
read beside the mathematics:

    from graphc.passes import op, rule
    from graphc.primitives import negate

    @rule("negated difference", "-(x - y) = y - x", op.negate(op.subtract("x", "y")))
    def negated_difference(x, y):
        return subtract(y, x)

A pattern is `op.NAME(...)`, NAME a primitive's, over operands that are patterns themselves: a string finds any node and names it (the same
string again: the same node), a number finds a constant with that value everywhere, `number("c")` one with any value. Keywords ask for
attributes: `op.compare("x", "y", direction="LT")`. `.called("s")` names the node that a pattern found. The operands of what commutes are
tried both ways.
"""
from __future__ import annotations

import difflib
import functools
import inspect
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import ml_dtypes
import numpy as np

from graphc.core import dtypes
from graphc.core.interpret import evaluate
from graphc.core.primitive import PRIMITIVES, Primitive
from graphc.core.program import Node, Program, make, postorder
from graphc.core.types import TensorType
from graphc.passes.rewrite import Rule
from graphc.passes.rules_algebra import COMMUTATIVE
from graphc.passes.rules_common import fill, uniform
from graphc.primitives import parameter

Bound = Mapping[str, Any]  # what the names of a pattern stand for: nodes, and the values of numbers
Replace = Callable[..., Any]  # what was found -> Node, a number (that value everywhere), or None where the rule does not apply
EXAMPLE_SHAPE = (3, 5)
EXAMPLE_NUMBER = 3  # the value of `number("c")` in an example that is made of the pattern
_ROUNDINGS = 64  # of the last digit, by which "~" may change the largest value
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e10, -0.5)


class WrongRule(ValueError):
    """A rule's replacement has another value than what it replaces: the message names the rule, the example and both values."""


# Patterns -------------------------------------------------------------------------------------------------------------------------------

class Pattern(ABC):
    """What a node must look like."""

    @abstractmethod
    def matches(self, node: Node, bound: Bound) -> Iterator[Bound]:
        """Every way in which `node` looks so, given what `bound` names: `bound` and what more was named."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """What it names, in order of appearance."""


@dataclass(frozen=True)
class Anything(Pattern):
    """Any node; the same one wherever `name` stands again."""

    name: str

    def matches(self, node: Node, bound: Bound) -> Iterator[Bound]:
        if bound.get(self.name, node) is node:
            yield {**bound, self.name: node}

    def names(self) -> tuple[str, ...]:
        return (self.name,)


@dataclass(frozen=True)
class Number(Pattern):
    """A constant that is the same everywhere: `value`, or where that is None any value, by `name`."""

    name: str = ""
    value: Any = None

    def matches(self, node: Node, bound: Bound) -> Iterator[Bound]:
        found = None if node.is_tuple else uniform(node)
        if found is None:
            return
        if self.value is not None:
            if _same(found, self.value):
                yield bound
        elif self.name not in bound or _same(found, bound[self.name]):
            yield {**bound, self.name: found}

    def names(self) -> tuple[str, ...]:
        return (self.name,) if self.name else ()


@dataclass(frozen=True)
class Operation(Pattern):
    """A node of `primitive` whose operands look like `operands` and whose attributes have the values of `attrs`. name: "" for none."""

    primitive: Primitive
    operands: tuple[Pattern, ...]
    attrs: tuple[tuple[str, Any], ...] = ()
    name: str = ""

    def called(self, name: str) -> Operation:
        """The same pattern, whose node the rule's function gets as `name`: to ask for its attributes, say."""
        return replace(self, name=_name(name))

    def matches(self, node: Node, bound: Bound) -> Iterator[Bound]:
        if node.primitive is not self.primitive or len(node.operands) != len(self.operands):
            return
        if any(getattr(node.attrs, name) != value for name, value in self.attrs):
            return
        if self.name:
            if bound.get(self.name, node) is not node:
                return
            bound = {**bound, self.name: node}
        yield from _all(self.operands, node.operands, bound)
        if self.primitive.name in COMMUTATIVE and node.operands[0] is not node.operands[1]:
            yield from _all(self.operands, node.operands[::-1], bound)

    def names(self) -> tuple[str, ...]:
        below = itertools.chain.from_iterable(operand.names() for operand in self.operands)
        return tuple(dict.fromkeys((self.name, *below) if self.name else below))


def _all(patterns: Sequence[Pattern], nodes: Sequence[Node], bound: Bound) -> Iterator[Bound]:
    if not patterns:
        yield bound
        return
    for first in patterns[0].matches(nodes[0], bound):
        yield from _all(patterns[1:], nodes[1:], first)


def _same(found: Any, value: Any) -> bool:
    """Whether a constant is `value` as its type holds it: NaN is NaN, and -0.0 is not 0.0."""
    if isinstance(value, bool | np.bool_) != isinstance(found, np.bool_):
        return False
    if isinstance(found, np.bool_ | np.integer):
        return bool(found == value)
    with np.errstate(all="ignore"):
        wanted = np.asarray(value).astype(found.dtype)
    return bool(wanted.tobytes() == found.tobytes() or (wanted != wanted and found != found))


def number(name: str) -> Number:
    """The pattern of a constant with one value everywhere, which the rule's function gets as `name` (a numpy scalar)."""
    return Number(_name(name))


class _Operations:
    """`op.NAME`: makes patterns of the primitive called NAME, or NAME_ where that is a word of Python (`op.and_`)."""

    def __getattr__(self, name: str) -> Callable[..., Operation]:
        primitive = PRIMITIVES.get(name) or PRIMITIVES.get(name.removesuffix("_"))
        if primitive is None:
            near = difflib.get_close_matches(name, PRIMITIVES, n=3)
            raise AttributeError(f"no primitive is called {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))

        def build(*operands: Pattern | str | float | complex, **attrs: Any) -> Operation:
            return _operation(primitive, operands, attrs)
        return build


op = _Operations()


def _operation(primitive: Primitive, operands: Sequence[Any], attrs: Mapping[str, Any]) -> Operation:
    if primitive.arity is not None and len(operands) != primitive.arity:
        raise TypeError(f"op.{primitive.name} takes {primitive.arity} operands, not {len(operands)}")
    known = [field.name for field in fields(primitive.attrs)]
    for name in attrs:
        if name not in known:
            raise TypeError(f"op.{primitive.name} has no attribute {name!r}; it has {', '.join(known) or 'none'}")
    return Operation(primitive, tuple(map(_pattern, operands)), tuple(attrs.items()))


def _pattern(given: Any) -> Pattern:
    if isinstance(given, Pattern):
        return given
    if isinstance(given, str):
        return Anything(_name(given))
    if isinstance(given, bool | int | float | complex | np.generic):
        return Number(value=given)
    raise TypeError(f"an operand of a pattern is a pattern, a name or a number; got {type(given).__name__}")


def _name(given: str) -> str:
    if not isinstance(given, str) or not given.isidentifier() or given == "node":
        raise ValueError(f'a name in a pattern is that of an argument, and not "node", which is the whole; got {given!r}')
    return given


# Rules ----------------------------------------------------------------------------------------------------------------------------------

def rule(name: str, maths: str, pattern: Operation, examples: Sequence[Node] = ()) -> Callable[[Replace], Rule]:
    """Makes a `Rule` of the decorated function.

    The function takes what it needs of the pattern's names, and `node` for the whole that is replaced, and gives the replacement: a node of
    the same type, a number for that value everywhere, or None where the rule does not apply (then other ways to match are tried). maths:
    the law, "~" for "=" where results may differ by rounding. examples: nodes on which the rule must fire. Where there are none, one is
    made of the pattern; that needs no primitive with attributes but those that the pattern gives.

    ValueError or TypeError, naming the rule, where the function asks for what the pattern does not name, where the law states nothing,
    where no example can be made, and where the rule does not fire on an example or gives another type. `check` tests values.
    """
    if not isinstance(pattern, Operation):
        raise TypeError(f'rule {name!r}: its pattern must be an operation, as in op.negate("x"); got {type(pattern).__name__}')
    if "=" not in maths and "~" not in maths:
        raise ValueError(f'rule {name!r}: say what it states with "=", or "~" where rounding may differ; got {maths!r}')

    both = sorted({leaf.name for leaf in _parts(pattern) if isinstance(leaf, Number) and leaf.name}
                  & {part.name for part in _parts(pattern) if isinstance(part, Anything | Operation)})
    if both:
        raise ValueError(f"rule {name!r}: {both[0]!r} names a number and a node: give them two names")

    def decorate(function: Replace) -> Rule:
        wanted = _wanted(name, pattern, function)

        @functools.wraps(function)  # the rule stands where its function does
        def apply(node: Node) -> Node | None:
            for bound in pattern.matches(node, {}):
                made = _replacement(name, node, function(**{each: node if each == "node" else bound[each] for each in wanted}))
                if made is not None and made is not node:
                    return made
            return None
        made = Rule(name, maths, pattern.primitive.name, apply, tuple(examples))
        return _tried(made) if examples else _with_example(made, pattern)
    return decorate


def _wanted(name: str, pattern: Operation, function: Replace) -> list[str]:
    """The arguments that `function` must be given."""
    known = pattern.names()
    wanted = []
    for each in inspect.signature(function).parameters.values():
        if each.name in known or each.name == "node":
            wanted.append(each.name)
        elif each.default is inspect.Parameter.empty:
            raise ValueError(f"rule {name!r} asks for {each.name!r}; its pattern names {', '.join(known) or 'nothing'}")
    return wanted


def _replacement(name: str, node: Node, made: Any) -> Node | None:
    if made is None:
        return None
    if isinstance(made, bool | int | float | complex | np.generic):
        return fill(made, node.type)
    if not isinstance(made, Node):
        raise TypeError(f"rule {name!r} gave a {type(made).__name__} for {node!r}: it must give a node, a number or None")
    if made.types != node.types:
        raise TypeError(f"rule {name!r} changed the type of {node!r} to {', '.join(map(str, made.types))}")
    return made


def _tried(made: Rule) -> Rule:
    """`made` itself, where it fires on all its examples."""
    for example in made.examples:
        if not isinstance(example, Node):
            raise TypeError(f"rule {made.name!r}: an example is a node; got {type(example).__name__}")
        if example.name != made.root or made.apply(example) is None:
            raise ValueError(f"rule {made.name!r} does not fire on its example {example!r}")
    return made


def _with_example(made: Rule, pattern: Operation) -> Rule:
    """`made` with the first example of the pattern on which it fires."""
    problem: Exception | None = None
    for example in _examples(pattern):
        try:
            if made.apply(example) is not None:
                return replace(made, examples=(example,))
        except Exception as error:  # the user's code
            problem = problem or error
    if problem is not None:
        raise problem
    raise ValueError(f"rule {made.name!r}: no example of its pattern could be made on which it fires; give it one: examples=[...]")


def _examples(pattern: Operation) -> Iterator[Node]:
    """Nodes that look like the pattern, for each choice of element types that its primitives take."""
    leaves = list(dict.fromkeys(part for part in _parts(pattern) if not isinstance(part, Operation)))
    for types in itertools.product((dtypes.float32, dtypes.int32, dtypes.bool), repeat=len(leaves)):
        made = {leaf: _leaf(leaf, TensorType(dtype, EXAMPLE_SHAPE)) for leaf, dtype in zip(leaves, types, strict=True)}
        try:
            yield _built(pattern, made)
        except (TypeError, ValueError):
            continue  # these types do not go together, or a primitive has attributes that the pattern does not give


def _parts(pattern: Pattern) -> Iterator[Pattern]:
    """The pattern and all that it is made of."""
    yield pattern
    for operand in pattern.operands if isinstance(pattern, Operation) else ():
        yield from _parts(operand)


def _leaf(leaf: Pattern, type_: TensorType) -> Node:
    if isinstance(leaf, Number):
        return fill(EXAMPLE_NUMBER if leaf.value is None else leaf.value, type_)
    return parameter(leaf.names()[0], type_)


def _built(pattern: Pattern, made: Mapping[Pattern, Node]) -> Node:
    if not isinstance(pattern, Operation):
        return made[pattern]
    return make(pattern.primitive, [_built(operand, made) for operand in pattern.operands], pattern.primitive.attrs(**dict(pattern.attrs)))


# Values ---------------------------------------------------------------------------------------------------------------------------------

def check(made: Rule, trials: int = 20, seed: int = 0) -> None:
    """WrongRule where the replacement of an example has other values than the example, on random operands run by the reference interpreter;
    on zeros, infinities and NaN too, where the rule's mathematics says "="."""
    random = np.random.default_rng(seed)
    for example in made.examples:
        replacement = made.apply(example)
        if replacement is None:
            raise WrongRule(f"rule {made.name!r} does not fire on its example {example!r}")
        leaves = [node for node in postorder([example, replacement]) if node.name in ("parameter", "variable_read")]
        for trial in range(trials):
            values = {node: _random(node.type, random, odd=made.exact and trial % 2 == 1) for node in leaves}
            _compare(made, example, _value(example, values), _value(replacement, values))


def _value(node: Node, leaves: Mapping[Node, Any]) -> Any:
    values: dict[Node, Any] = dict(leaves)
    for each in Program((), (node,)).nodes:
        if each not in values:
            values[each] = evaluate(each, [values[operand] for operand in each.operands])
    return values[node]


def _random(type_: TensorType, random: np.random.Generator, odd: bool) -> np.ndarray[Any, Any]:
    if type_.dtype.is_bool or type_.dtype.is_integer:
        return random.integers(0, 2 if type_.dtype.is_bool else 7, type_.dims).astype(type_.dtype.np_dtype)
    plain = random.standard_normal(type_.dims)
    mixed = np.where(random.random(type_.dims) < 0.5 * odd, random.choice(SPECIAL, type_.dims), plain)
    return np.asarray(mixed).astype(type_.dtype.np_dtype)


def _epsilon(dtype: np.dtype[Any]) -> float:
    """The distance of 1 to the next number of a type; 0 for integers and bool."""
    return 0.0 if dtype.kind in "iub" else float(ml_dtypes.finfo(dtype).eps)


def _compare(made: Rule, example: Node, before: Any, after: Any) -> None:
    for old, new in zip(*((each if isinstance(each, tuple) else (each,)) for each in (before, after)), strict=True):
        wide = np.complex128 if old.dtype.kind == "c" else np.float64
        left, right = old.astype(wide), new.astype(wide)
        with np.errstate(invalid="ignore"):
            near = (left == right) | (np.isnan(left) & np.isnan(right))
            if not made.exact:
                near |= np.abs(left - right) <= _ROUNDINGS * _epsilon(old.dtype) * np.abs(left[np.isfinite(left)]).max(initial=1.0)
        if not near.all():
            place = tuple(int(each) for each in np.argwhere(~near)[0])
            raise WrongRule(f"rule {made.name!r} ({made.maths}) changes the value of {example!r}: at {list(place)} "
                            f"expected {old[place]}, got {new[place]}")
