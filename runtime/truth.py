"""What a Program should give, and how far rounding may carry it: how every check of compiled programs tells an error from harmless noise.

    program --float64, nothing rounded--> the truth       found is right where |found - truth| <= what rounding explains
            --its own types-------------> the reference    ... or where it is just what the reference gives
            --float64, each rounding a random one, SAMPLES times--> how far rounding carries each element

The rule. An element of a float is right if its distance to the truth is at most

    ROOM * (largest distance of the reference and of the samples) + POOL * (median of that over elements of its size) + ULPS * eps * |truth|

so passes may reorder sums and replace formulas, and an ill-conditioned value may be as far off as it must be, while a value that a program
computes well has to be right to its last digits. In a sample every result that its type cannot hold exactly is moved by a random part of a
rounding error (of a sum of n terms by sqrt(n) of them, and so its operands): Monte Carlo arithmetic (D. S. Parker, 1997). What is exact,
as a count in floats or a mask, stays so. Integers and bools have to be equal. Elements of which the samples disagree (a comparison of what
is equal but for rounding, an overflow on the way) are not judged.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

from graphc.core.dtypes import DType
from graphc.core.interpret import evaluate, interpret
from graphc.core.loops import (
    ArgReduce,
    Contract,
    DynamicSlice,
    DynamicUpdate,
    Expanded,
    Extern,
    Fill,
    Gather,
    OfParts,
    Reduce,
    Reinterpret,
    Scan,
    Scatter,
    Sort,
    State,
    View,
)
from graphc.core.program import Node, Program
from graphc.core.types import TensorType

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]
SAMPLES = 4
ROOM, POOL, ULPS = 16.0, 8.0, 16.0
ALIKE = 8  # binary digits within which elements are of one size
# Maps, reductions and walks whose results no rounding touches.
_EXACT = frozenset({
    "negate", "abs", "sign", "floor", "ceil", "round_nearest_even", "select", "clamp", "compare", "maximum", "minimum", "convert",
    "bitcast_convert", "reduce_max", "reduce_min", "cumulative_max", "cumulative_min", "select_and_gather", "rearrange", "inverse_order"})
_MOVES = View | Fill | Gather | ArgReduce | DynamicSlice | DynamicUpdate | Sort | State | OfParts | Reinterpret


@dataclass(frozen=True)
class Difference:
    """Where an array is wrong: the first place, what it should be there, what it is, and how many of its elements are wrong."""

    place: tuple[int, ...]
    expected: Any
    found: Any
    wrong: int
    size: int

    def __str__(self) -> str:
        return f"at {list(self.place)} expected {self.expected}, got {self.found} ({self.wrong} of {self.size} elements differ)"


@dataclass(frozen=True)
class Expected:
    """One value: its reference, in its own type; the truth, wide; for each element how far from the truth is right, and whether it can be
    judged at all."""

    reference: Array
    truth: Array
    room: Array = field(repr=False)
    judged: Array = field(repr=False)

    def difference(self, found: Array) -> Difference | str | None:
        """What is wrong with `found`; None where nothing is. A word where it is not even of the type."""
        if found.dtype != self.reference.dtype or found.shape != self.reference.shape:
            return (f"expected {self.reference.dtype}{list(self.reference.shape)}, got {found.dtype}{list(found.shape)}")
        wrong = ~self._right(found)
        if not wrong.any():
            return None
        place = tuple(int(position) for position in np.argwhere(wrong)[0])
        return Difference(place, self.reference[place], found[place], int(wrong.sum()), wrong.size)

    def _right(self, found: Array) -> Array:
        wide, reference = widen(found), widen(self.reference)
        with np.errstate(all="ignore"):
            near = np.abs(wide - self.truth) <= self.room if is_inexact(found.dtype) else wide == self.truth
            same = (wide == reference) | ((wide != wide) & (reference != reference)) | (wide == self.truth)
        return np.asarray(near | same | ~self.judged)

    def distance(self, found: Array) -> float:
        """The largest distance of an element to the truth, as a part of the largest true value; 0.0 where there is none, or rounding leaves
        less than two digits of it."""
        if not is_inexact(found.dtype) or not found.size:
            return 0.0
        with np.errstate(all="ignore"):
            off = np.abs(widen(found) - self.truth)
        largest = float(np.abs(self.truth[np.isfinite(self.truth)]).max(initial=0.0))
        counted = np.isfinite(off) & self.judged & (self.room <= largest / 100)
        return float(off[counted].max(initial=0.0)) / largest if largest else 0.0


def expect(program: Program, feeds: Sequence[Any], variables: Values, seed: int = 0) -> dict[str, Expected]:
    """Every output of `program` and every new value of a variable, by what to call it ("output 0", "variable w")."""
    reference = named(interpret(program, feeds, variables))
    wide = [named(_interpret_wide(program, feeds, variables, random)) for random in _generators(seed)]
    return {name: _expected(value, [each[name] for each in wide]) for name, value in reference.items()}


def expect_node(node: Node, operands: Sequence[Array], seed: int = 0) -> list[Expected]:
    """The outputs of `node` for the values of its operands."""
    reference = evaluate(node, operands)
    given = list(map(widen, operands))
    wide = [_evaluate_wide(node, given, random) for random in (_generators(seed) if _rounds(node) else (None,))]
    if not node.is_tuple:
        return [_expected(reference, wide)]
    return [_expected(value, [each[number] for each in wide]) for number, value in enumerate(reference)]


def named(results: tuple[Sequence[Array], Values]) -> dict[str, Array]:
    """Outputs and new values of variables, by what to call them."""
    outputs, written = results
    return ({f"output {number}": np.asarray(value) for number, value in enumerate(outputs)}
            | {f"variable {name}": np.asarray(value) for name, value in written.items()})


def first_difference(expected: Mapping[str, Expected], found: Values) -> tuple[str, Difference | str] | None:
    """The first of `expected` that `found` lacks or has wrong: its name and what is wrong."""
    for what, value in expected.items():
        if what not in found:
            return what, ""
        difference = value.difference(found[what])
        if difference is not None:
            return what, difference
    return None


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether arrays of `dtype` hold floats or complex numbers."""
    return dtype.kind in "fc" or dtype.name == "bfloat16"


def widen(array: Any) -> Array:
    """Floats as float64, complex numbers as complex128; anything else as it is."""
    value = np.asarray(array)
    if not is_inexact(value.dtype):
        return value
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)


def _generators(seed: int) -> Iterable[np.random.Generator | None]:
    """None for the run without rounding, then one for each sample."""
    return None, *map(np.random.default_rng, range(seed, seed + SAMPLES))


def _expected(reference: Array, wide: Sequence[Array]) -> Expected:
    reference, truth = np.asarray(reference), np.asarray(wide[0])
    everywhere = np.ones(reference.shape, np.bool_)
    with np.errstate(all="ignore"):
        if not is_inexact(reference.dtype):
            judged = np.logical_and.reduce([everywhere, truth == reference, *(truth == each for each in wide[1:])])
            return Expected(reference, truth, np.zeros(reference.shape), judged)
        judged = np.logical_and.reduce([everywhere, *(np.isfinite(each) == np.isfinite(truth) for each in wide[1:])])
        distances = [np.abs(each - truth) for each in (widen(reference), *wide[1:])]
        noise = np.maximum.reduce([np.where(np.isfinite(each), each, 0.0) for each in distances])
        size = np.where(np.isfinite(truth), np.abs(truth), 0.0)
        room = ROOM * noise + POOL * _pooled(noise, size) + ULPS * _eps(reference.dtype) * size + _least(reference.dtype)
    return Expected(reference, truth, room, judged)


def _pooled(noise: Array, size: Array) -> Array:
    """For each element the median noise of those of about its size: few samples can be nearly alike by chance."""
    _, exponents = np.frexp(size)
    kinds, places = np.unique(exponents // ALIKE, return_inverse=True)
    medians = np.array([np.median(noise[places.reshape(noise.shape) == kind]) for kind in range(kinds.size)])
    return medians[places].reshape(noise.shape)


# The wide interpreter --------------------------------------------------------------------------------------------------------------------

def _interpret_wide(program: Program, feeds: Sequence[Any], variables: Values, random: np.random.Generator | None,
                    ) -> tuple[list[Array], dict[str, Array]]:
    values: dict[Node, Any] = {parameter: widen(feed) for parameter, feed in zip(program.parameters, feeds, strict=True)}
    for node in program.nodes:
        if node.name == "variable_read":
            values[node] = widen(variables[node.attrs.variable])
        elif node not in values:
            values[node] = _evaluate_wide(node, [values[operand] for operand in node.operands], random)
    written = {node.attrs.variable: values[node] for node in program.effects}
    return [values[node] for node in program.outputs], written


def _evaluate_wide(node: Node, operands: Sequence[Any], random: np.random.Generator | None) -> Any:
    """The value of `node`, floats in float64; where `random` is given, rounded at random as its own type would be."""
    if node.name == "fusion":
        outputs, _ = _interpret_wide(node.attrs.body, operands, {}, random)
        return tuple(outputs) if node.is_tuple else outputs[0]
    value = _apply(node, operands)
    if random is None or not _rounds(node):
        return value
    depth = math.sqrt(_terms(node))
    noisy = value if depth == 1 else _apply(node, [_moved(each, operand.type, depth, random)
                                                   for each, operand in zip(operands, node.operands, strict=True)])
    pairs = zip(value, noisy, node.types, strict=True) if node.is_tuple else [(value, noisy, node.type)]
    whole = depth == 1 or all(map(_is_whole, operands))  # a sum may come out with few digits, and its partial sums not
    found = tuple(_rounded_at_random(exact, other, type_, depth, random, whole) for exact, other, type_ in pairs)
    return found if node.is_tuple else found[0]


def _apply(node: Node, operands: Sequence[Any]) -> Any:
    """The primitive's reference on wide operands; what looks at bits gets them in their own types."""
    if node.name == "bitcast_convert" or isinstance(node.primitive.loop, Sort):
        operands = [each if operand.is_tuple else _narrow(each, operand.dtype)
                    for each, operand in zip(operands, node.operands, strict=True)]
    if node.name == "convert" and node.dtype.is_inexact and is_inexact(operands[0].dtype):
        found: Any = operands[0] if node.dtype.is_complex or operands[0].dtype.kind != "c" else operands[0].real
    else:
        with np.errstate(all="ignore"):
            found = node.primitive.reference(node.attrs, *operands)
    if node.is_tuple:
        return tuple(_wide_or_exact(each, type_.dtype) for each, type_ in zip(found, node.types, strict=True))
    return _wide_or_exact(found, node.dtype)


def _wide_or_exact(value: Any, dtype: DType) -> Array:
    """What a reference gave for wide operands, wide: numbers that overflow in `dtype` stay numbers, for a pass may know a formula on whose
    way they do not occur."""
    return np.asarray(value, np.complex128 if dtype.is_complex else np.float64 if dtype.is_floating else dtype.np_dtype)


def _narrow(value: Array, dtype: DType) -> Array:
    with np.errstate(all="ignore"):
        return value.astype(dtype.np_dtype)


def _is_whole(value: Any) -> bool:
    """Whether `value` is one array of whole numbers."""
    return isinstance(value, np.ndarray) and bool(np.all(value == np.rint(value)))


def _rounded_at_random(exact: Array, noisy: Array, type_: TensorType, depth: float, random: np.random.Generator, whole: bool) -> Array:
    """`noisy`, moved by a random part of a rounding error, where `exact` has to be rounded at all. whole: whether what is exact may
    pass for it."""
    if not type_.dtype.is_inexact:
        return exact
    if (type_.dtype.size == 8 and not type_.dtype.is_complex) or type_.dtype.size == 16:
        held = (exact == np.rint(exact)) & (np.abs(exact) < 2.0**53)
    else:
        held = widen(_narrow(exact, type_.dtype)) == exact
    return np.where((held & whole) | ~np.isfinite(exact), exact, _moved(noisy, type_, depth, random))


def _moved(value: Any, type_: TensorType, depth: float, random: np.random.Generator) -> Any:
    """`value` with every float moved by up to `depth` rounding errors of its type, at random; a complex number in the plane."""
    if not type_.dtype.is_inexact:
        return value
    unit = depth * _eps(type_.dtype.np_dtype) / 2
    with np.errstate(all="ignore"):
        if type_.dtype.is_complex:
            real, imaginary = random.uniform(-unit, unit, (2, *value.shape))
            return value + np.abs(value) * (real + 1j * imaginary)
        return value * (1.0 + random.uniform(-unit, unit, value.shape))


def _rounds(node: Node) -> bool:
    """Whether rounding may touch what `node` computes."""
    if node.name == "fusion":
        return any(map(_rounds, node.attrs.body.nodes))
    if isinstance(node.primitive.loop, _MOVES) or not any(type_.dtype.is_inexact for type_ in node.types):
        return False
    return node.name == "convert" or node.name not in _EXACT


def _terms(node: Node) -> int:
    """About how many terms are summed into an element of `node`; 1 for what is no sum."""
    sizes = [operand.type.size for operand in node.operands if not operand.is_tuple]
    size = max(node.types[0].size, 1)
    match node.primitive.loop:
        case Reduce():
            return max(1, sizes[0] // size)
        case Contract():
            contracted: list[int] = [node.operands[0].dims[axis] for axis in node.attrs.lhs_contract]
            return max(1, math.prod(contracted))
        case Scan():
            return max(1, int(node.dims[node.attrs.axis]))
        case Scatter():
            return max(1, sizes[1])
        case Extern():
            return max(1, *(dim * dim for operand in node.operands for dim in operand.dims[-1:]))
        case Expanded():
            return max(1, min(sizes))
        case _:
            return 2 if any(type_.dtype.is_complex for type_ in node.types) else 1  # products of parts, summed


def _eps(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number of a floating or complex type."""
    return float(ml_dtypes.finfo(np.zeros((), dtype).real.dtype if dtype.kind == "c" else dtype).eps)


def _least(dtype: np.dtype[Any]) -> float:
    """Below this a type has no full precision, and machines may have zero."""
    return float(ml_dtypes.finfo(np.zeros((), dtype).real.dtype if dtype.kind == "c" else dtype).smallest_normal)
