"""Puts pairs of real numbers in the place of complex ones: the first pass of every pipeline, since no kernel knows complex numbers.

    %1 = multiply(%0, %0) : c64[9]       ->   %1 = view_as_real(%0) : f32[9,2]       the same memory
    return %1                                 %2, %3 = its slices : f32[9]           real and imaginary parts
                                              %4 = multiply(%2, %2) ...
                                              return view_as_complex(concatenate(...)) : c64[9]

Parameters, outputs and variables keep their types: in memory complex numbers are pairs already. So do the operands and results of
functions of the host. What is known to be real (a constant factor, say) has no second part, and costs nothing.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphc.core.loops import Extern, Gather, Scatter, View
from graphc.core.program import Node, Program, inherit, make
from graphc.passes import parts
from graphc.passes.parts import Parts
from graphc.primitives import concatenate, constant, convert, full, pad, reshape, slice_
from graphc.primitives.complex import view_as_complex, view_as_real

# What does the same to both parts, whatever its loop form.
LINEAR = ("reduce_sum", "cumulative_sum", "select", "transfer", "copy", "dynamic_slice", "dynamic_update_slice")


@dataclass(frozen=True)
class Real:
    """Replaces every complex node that is computed."""

    name: str = "real"

    def __call__(self, program: Program) -> Program:
        if not any(type_.dtype.is_complex for node in program.nodes for type_ in node.types):
            return program
        return _Parting(program).program()


class _Parting:
    """One call of `Real`. new: for each node without parts what stands for it now; parts: for each complex node its parts."""

    def __init__(self, program: Program) -> None:
        self.old = program
        self.new: dict[Node, Node] = {}
        self.parts: dict[Node, Parts] = {}
        self.origins = dict(program.origins)

    def program(self) -> Program:
        for node in self.old.nodes:
            self._replace(node)
            carried = self.old.origins.get(node)
            if carried:
                for made in self._made(node):
                    inherit(made, carried, self.origins)
        outputs = tuple(map(self._whole, self.old.outputs))
        effects = tuple(self.new[node] for node in self.old.effects)
        for old, made in zip(self.old.outputs, outputs, strict=True):
            inherit(made, self.old.origins.get(old, ()), self.origins)
        return Program(self.old.parameters, outputs, effects, origins=self.origins)

    def _made(self, node: Node) -> Sequence[Node]:
        if node in self.new:
            return (self.new[node],)
        found = self.parts[node]
        return (found.x,) if found.y is None else (found.x, found.y)

    # -- what stands for a node ----------------------------------------------------------------------------------------------------------

    def _whole(self, node: Node) -> Node:
        """The node itself, of its own type, as it stands in memory."""
        return self.new[node] if node in self.new else _joined(self.parts[node])

    def _parts(self, node: Node) -> Parts:
        """The parts of any node; a real one is its own."""
        if node not in self.parts:
            whole = self.new[node]
            self.parts[node] = _split(whole) if whole.dtype.is_complex else Parts(whole)
        return self.parts[node]

    def _replace(self, node: Node) -> None:
        if not any(type_.dtype.is_complex for each in (node, *node.operands) for type_ in each.types):
            self.new[node] = make(node.primitive, [self.new[operand] for operand in node.operands], node.attrs)
        elif not node.operands and node.name != "constant":
            self.new[node] = node
        elif isinstance(node.primitive.loop, Extern) or node.name in ("get_tuple_element", "variable_assign", "view_as_real",
                                                                      "view_as_complex"):
            self.new[node] = make(node.primitive, [self._whole(operand) for operand in node.operands], node.attrs)
        else:
            result = _computed(node, [self._parts(operand) for operand in node.operands])
            if isinstance(result, Parts):
                self.parts[node] = result
            else:
                self.new[node] = result


def _split(whole: Node) -> Parts:
    """The parts of complex numbers in memory."""
    pairs = whole.operands[0] if whole.name == "view_as_complex" else view_as_real(whole)
    *dims, _ = pairs.dims

    def part(number: int) -> Node:
        box = slice_(pairs, (*[0] * len(dims), number), (*dims, number + 1))
        return reshape(box, dims)
    return Parts(part(0), part(1))


def _joined(found: Parts) -> Node:
    """Complex numbers in memory, from their parts."""
    paired = [reshape(part, (*part.shape, 1)) for part in (found.x, found.imaginary)]
    return view_as_complex(concatenate(paired, len(found.x.shape)))


# What functions become --------------------------------------------------------------------------------------------------------------------

def _computed(node: Node, operands: Sequence[Parts]) -> Parts | Node:
    """`node` for the parts of its operands; ValueError for what has no meaning for complex numbers."""
    name = node.name
    if name in parts.UNARY:
        return parts.UNARY[name](*operands)
    if name in parts.BINARY:
        return parts.BINARY[name](*operands)
    if name in OTHERS:
        return OTHERS[name](node, operands)
    if isinstance(node.primitive.loop, View | Gather) or name in LINEAR or (isinstance(node.primitive.loop, Scatter)
                                                                           and node.attrs.combine in ("add", "assign")):
        return _of_each_part(node, operands)
    raise ValueError(f"{name} of complex numbers has no form in their parts")


def _of_each_part(node: Node, operands: Sequence[Parts]) -> Parts:
    """A linear function with real coefficients, of the real parts and of the imaginary parts; other operands belong to both."""
    complex_ones = [operand.dtype.is_complex for operand in node.operands]
    real = make(node.primitive, [each.x for each in operands], node.attrs)
    if all(each.y is None for each in operands):
        return Parts(real)
    second = [each.imaginary if is_complex else each.x for each, is_complex in zip(operands, complex_ones, strict=True)]
    return Parts(real, make(node.primitive, second, node.attrs))


def _constant(node: Node, _: Sequence[Parts]) -> Parts:
    array = node.attrs.value.array
    imag = array.imag
    return Parts(constant(array.real), constant(imag) if imag.any() or np.signbit(imag).any() else None)


def _converted(node: Node, operands: Sequence[Parts]) -> Parts | Node:
    """To a complex type: each part. To a real one: the real part; to bool: whether any part is not zero."""
    (given,), target = operands, node.attrs.dtype
    if target.is_bool:
        return parts.unequal(given, Parts(full(0, given.x.type)))
    if not target.is_complex:
        return convert(given.x, target)
    return given.each(lambda part: part if part.dtype is target.real_dtype else convert(part, target.real_dtype))


def _product_along(node: Node, operands: Sequence[Parts]) -> Parts:
    """The product over axes, by halves: of n numbers the first half times the second, until one is left."""
    (given,) = operands
    axes, dims = node.attrs.axes, node.operands[0].dims
    for axis in axes:
        while given.x.dims[axis] > 1:
            size = given.x.dims[axis]
            half, even = size // 2, size // 2 * 2
            product = parts.times(_between(given, axis, 0, half), _between(given, axis, half, even))
            given = product if even == size else _beside(product, _between(given, axis, even, size), axis)
        if given.x.dims[axis] == 0:
            ones = full(1, given.x.type.with_shape(tuple(1 if n == axis else d for n, d in enumerate(given.x.dims))))
            given = Parts(ones)
    kept = tuple(d for n, d in enumerate(dims) if n not in axes)
    return given.each(lambda x: reshape(x, kept))


def _running_product(node: Node, operands: Sequence[Parts]) -> Parts:
    """Products of all before and itself, in steps that reach twice as far each (W. Hillis, G. Steele, "Data parallel algorithms", 1986)."""
    (given,), attrs = operands, node.attrs
    axis, reach = attrs.axis, 1
    if attrs.exclusive:
        given = _shifted(given, axis, 1, attrs.reverse, 1)
    while reach < given.x.dims[axis]:
        given = parts.times(given, _shifted(given, axis, reach, attrs.reverse, 1))
        reach *= 2
    return given


def _recurrence(node: Node, operands: Sequence[Parts]) -> Parts:
    """Steps y = a x + b composed with those before them, twice as many each time: a a' and a b' + b."""
    (a, b), attrs = operands, node.attrs
    reach = 1
    while reach < b.x.dims[attrs.axis]:
        b = parts.plus(parts.times(a, _shifted(b, attrs.axis, reach, attrs.reverse, 0)), b)
        a = parts.times(a, _shifted(a, attrs.axis, reach, attrs.reverse, 1))
        reach *= 2
    return b


def _shifted(given: Parts, axis: int, count: int, back: bool, entering: int) -> Parts:
    """Each element `count` places later along `axis` (earlier where `back`); `entering` comes in."""
    low = tuple((-count if back else count) if n == axis else 0 for n in range(len(given.x.dims)))
    high = tuple(-each for each in low)
    shifted = pad(given.x, constant(entering, given.x.dtype), low, high)
    return Parts(shifted, None if given.y is None else pad(given.y, constant(0, given.x.dtype), low, high))


def _between(given: Parts, axis: int, start: int, limit: int) -> Parts:
    dims = given.x.dims
    starts = tuple(start if n == axis else 0 for n in range(len(dims)))
    limits = tuple(limit if n == axis else dim for n, dim in enumerate(dims))
    return given.each(lambda part: slice_(part, starts, limits))


def _beside(a: Parts, b: Parts, axis: int) -> Parts:
    imag = None if a.y is None and b.y is None else concatenate([a.imaginary, b.imaginary], axis)
    return Parts(concatenate([a.x, b.x], axis), imag)


def _compared(node: Node, operands: Sequence[Parts]) -> Node:
    return (parts.equal if node.attrs.direction == "EQ" else parts.unequal)(*operands)


OTHERS: dict[str, Callable[[Node, Sequence[Parts]], Parts | Node]] = {
    "constant": _constant, "convert": _converted, "compare": _compared, "reduce_prod": _product_along, "cumulative_prod": _running_product,
    "linear_recurrence": _recurrence,
    "dot_general": lambda node, operands: parts.contracted(node, *operands), "abs": lambda node, operands: parts.size(*operands),
    "complex": lambda node, operands: Parts(operands[0].x, operands[1].x), "real": lambda node, operands: operands[0].x,
    "imag": lambda node, operands: operands[0].imaginary}
