"""einsum: sums of products named by letters, contracted two operands at a time along the path that opt_einsum finds.

    "bqd,bkd->bqk"    parse     three terms of labels, the labels of the result
                      tidy      per operand: repeated labels become a diagonal, labels that nothing else has are summed
                      contract  per pair: one dot_general over the labels that nothing else needs; a product of numbers
                                side by side, where no axis is free on either side, is a multiply and a sum
                      arrange   one transpose, where the last product does not come out in order

Labels of axes that an ellipsis stands for are ints, -1 for the last of them, so that they align from the right and broadcast.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import opt_einsum

import graphc.primitives as p
from graphc.core.opdef import composite
from graphc.core.operation import Tensor
from graphc.core.program import Node
from graphc.core.types import Dim, same_dim
from graphc.ops.array import ensure_shape
from graphc.ops.declare import as_tensor, declare_one, name_scope
from graphc.ops.parts import box, undetermined

Label = str | int
Labels = tuple[Label, ...]


# The equation ----------------------------------------------------------------------------------------------------------------------------

def _terms(equation: str) -> tuple[list[str], str]:
    """The terms of the operands and of the result; without "->" the labels that occur once, in the order of the alphabet."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        if not re.fullmatch(r"[a-zA-Z]*(\.\.\.)?[a-zA-Z]*", term):
            raise ValueError(f"Indices have incorrect format: {equation}")
    if not arrow:
        letters = [letter for letter in left if letter.isalpha()]
        right = ("..." if "..." in left else "") + "".join(sorted(each for each in set(letters) if letters.count(each) == 1))
    unknown = sorted(set(right) - set(left))
    if unknown:
        raise ValueError(f"Invalid equation: {equation}: '{unknown[0]}' is in the result but in no operand")
    if len(set(right.replace("...", ""))) != len(right.replace("...", "")):
        raise ValueError(f"Invalid equation: {equation}: a label may be only once in the result")
    return terms, right


def _labels(term: str, rank: int, position: int) -> Labels:
    """One label per axis of an operand of `rank`."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after)
    if hidden < 0 or (hidden and not dots):
        raise ValueError(f"Tensor t{position} of rank {rank} does not match einsum reduction of length {len(before) + len(after)}")
    return (*before, *range(-hidden, 0), *after)


def _sizes(nodes: Sequence[Node], labels: Sequence[Labels]) -> dict[Label, Dim]:
    """The size of each label. Axes of an ellipsis broadcast, the others must agree."""
    sizes: dict[Label, Dim] = {}
    for node, own in zip(nodes, labels, strict=True):
        for label, dim in zip(own, node.shape, strict=True):
            before = sizes.get(label, dim)
            if isinstance(label, int) and before in (1, None):
                sizes[label] = dim if before == 1 or dim != 1 else before
            elif isinstance(label, int) and dim == 1:
                continue
            elif not same_dim(before, dim):
                raise ValueError(f"Dimensions must be equal, but are {before} and {dim}: both are '{label}'")
            else:
                sizes[label] = dim if before is None else before
    return sizes


# One operand -----------------------------------------------------------------------------------------------------------------------------

def _diagonal(x: Node, labels: Labels) -> tuple[Node, Labels]:
    """Of axes with one label those elements whose indices are equal, along one axis: every (n + 1)th of the two axes joined."""
    for label in labels:
        places = [axis for axis, each in enumerate(labels) if each == label]
        if len(places) < 2:
            continue
        first, second = places[:2]
        rest = [axis for axis in range(len(labels)) if axis not in (first, second)]
        size, kept = x.shape[first], tuple(x.shape[axis] for axis in rest)
        moved = p.transpose(x, (*rest, first, second))
        remaining = (*(labels[axis] for axis in rest), label)
        if size is None:
            return _diagonal(undetermined(x, (*kept, None)), remaining)
        flat = p.reshape(moved, (*kept, size * size))
        return _diagonal(box(flat, len(kept), 0, size * size, size + 1), remaining)
    return x, labels


def _without_broadcast(x: Node, labels: Labels, sizes: dict[Label, Dim]) -> tuple[Node, Labels]:
    """`x` without the axes of 1 that broadcast to something else, and of the sizes that other operands tell."""
    kept = [axis for axis, label in enumerate(labels) if x.shape[axis] != 1 or sizes[label] == 1]
    told = [sizes[label] if dim is None and isinstance(label, str) else dim for label, dim in zip(labels, x.shape, strict=True)]
    return p.reshape(x, [told[axis] for axis in kept]), tuple(labels[axis] for axis in kept)


def _summed(x: Node, labels: Labels, needed: set[Label]) -> tuple[Node, Labels]:
    """`x` summed over the labels that nothing else needs."""
    axes = [axis for axis, label in enumerate(labels) if label not in needed]
    return (p.reduce_sum(x, axes), tuple(label for label in labels if label in needed)) if axes else (x, labels)


# Two operands ----------------------------------------------------------------------------------------------------------------------------

def _contracted(x: Node, xs: Labels, y: Node, ys: Labels, needed: set[Label], result: Labels) -> tuple[Node, Labels]:
    """The product of two operands, summed over the labels that both have and nothing else needs."""
    batch = [label for label in xs if label in ys and label in needed]
    shared = [label for label in xs if label in ys and label not in needed]
    x_free, y_free = ([label for label in own if label not in other] for own, other in ((xs, ys), (ys, xs)))
    if not shared or not (x_free or y_free):
        return _side_by_side(x, xs, y, ys, needed, result)
    if result and tuple(label for label in result if label in (*x_free, *y_free)) == (*y_free, *x_free):
        (x, xs, x_free), (y, ys, y_free) = (y, ys, y_free), (x, xs, x_free)

    def axes(own: Labels, chosen: Sequence[Label]) -> list[int]:
        return [own.index(label) for label in chosen]
    product = p.dot_general(x, y, axes(xs, batch), axes(ys, batch), axes(xs, shared), axes(ys, shared))
    return product, (*batch, *x_free, *y_free)


def _side_by_side(x: Node, xs: Labels, y: Node, ys: Labels, needed: set[Label], result: Labels) -> tuple[Node, Labels]:
    """The product element by element over all labels of both, then the sum: of an outer or an inner product nothing is a matrix product."""
    union = [*dict.fromkeys((*xs, *ys))]
    order = tuple(sorted(union, key=result.index)) if set(union) <= set(result) else tuple(union)
    dims = dict(zip((*xs, *ys), (*x.shape, *y.shape), strict=True))
    shape = tuple(dims[label] for label in order)
    product = p.multiply(_spread(x, xs, order, shape), _spread(y, ys, order, shape))
    return _summed(product, order, needed)


def _spread(x: Node, labels: Labels, order: Labels, shape: Sequence[Dim]) -> Node:
    """`x` with its axes in `order`, repeated along the labels that it lacks."""
    ascending = sorted(range(len(labels)), key=lambda axis: order.index(labels[axis]))
    turned = p.transpose(x, ascending)
    return p.broadcast_in_dim(turned, shape, [order.index(labels[axis]) for axis in ascending])


def _path(operands: Sequence[tuple[Node, Labels]], result: Labels) -> list[tuple[int, ...]]:
    """Which operands to contract next, as positions in the list; a result goes to its end."""
    symbols: dict[Label, str] = {}
    for _, labels in operands:
        for label in labels:
            symbols.setdefault(label, opt_einsum.get_symbol(len(symbols)))
    shapes = [node.shape for node, _ in operands]
    if len(operands) < 3 or any(None in shape for shape in shapes):
        return [(0, 1)] * (len(operands) - 1)
    terms = ["".join(symbols[label] for label in labels) for _, labels in operands]
    equation = ",".join(terms) + "->" + "".join(symbols[label] for label in result)
    path, _ = opt_einsum.contract_path(equation, *shapes, shapes=True)
    return [tuple(step) for step in path]


@composite("Einsum")
def EINSUM(*inputs: Node, equation: str) -> Node:
    """The sum of products that `equation` names."""
    terms, right = _terms(equation)
    labels = [_labels(term, len(node.shape), position) for position, (term, node) in enumerate(zip(terms, inputs, strict=True))]
    sizes = _sizes(inputs, labels)
    hidden = sorted(label for label in sizes if isinstance(label, int))
    before, dots, after = right.partition("...")
    if hidden and not dots:
        raise ValueError(f"Invalid equation: {equation}: the axes of the ellipsis are not in the result")
    result: Labels = (*before, *hidden, *after)
    operands = [_without_broadcast(*_diagonal(node, own), sizes) for node, own in zip(inputs, labels, strict=True)]
    for position, (node, own) in enumerate(operands):
        others = {label for n, (_, each) in enumerate(operands) if n != position for label in each}
        operands[position] = _summed(node, own, others | set(result))
    for step in _path(operands, result):
        if len(step) == 1:
            operands.append(operands.pop(step[0]))
            continue
        (x, xs), (y, ys) = (operands.pop(place) for place in sorted(step, reverse=True))
        needed = {label for _, each in operands for label in each} | set(result)
        operands.append(_contracted(y, ys, x, xs, needed, () if operands else result))
    (final, own), = operands
    return p.transpose(final, [own.index(label) for label in result])


def einsum(equation: str, *inputs: Any, name: str | None = None) -> Tensor:
    """The sum of products that `equation` names: "ij,jk->ik" is a matrix product, "ii" a trace, "...ij->...ji" a transposition.

    One letter per axis; letters that the result lacks are summed over. Without "->" the result has the letters that occur once, in the
    order of the alphabet. An ellipsis stands for any number of axes, which broadcast. More than two operands are contracted in the order
    that costs least.
    """
    terms, _ = _terms(equation)
    if len(terms) != len(inputs):
        raise ValueError(f'Got {len(inputs)} arguments for equation "{equation}", expecting {len(terms)}')
    with name_scope(name, "einsum", [equation, *inputs]) as scope:
        common = next((each.dtype for each in inputs if isinstance(each, Tensor)), None)
        tensors = [as_tensor(each, None if isinstance(each, Tensor) else common, f"inputs_{n}") for n, each in enumerate(inputs)]
        ranked = {f"inputs_{n}": _of_known_rank(tensor, term) for n, (tensor, term) in enumerate(zip(tensors, terms, strict=True))}
        return declare_one(EINSUM, ranked, {"equation": equation.replace(" ", "")}, scope)


def _of_known_rank(x: Tensor, term: str) -> Tensor:
    """A tensor of unknown rank with the rank that its term says it has."""
    return ensure_shape(x, [None] * len(term)) if x.shape_tuple is None and "..." not in term else x
