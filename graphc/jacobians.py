"""More than one gradient at once: `jacobian`, `hessians`, and `jvp`, the product with a Jacobian from the right. Built upon `gradients`.

The rows of a Jacobian are one backward pass for many cotangents: each operation of the backward pass is declared once more as an operation
of type "Batched<Type>", which computes all rows together (`graphc.primitives.batching`).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.core.convert import convert_to_tensor
from graphc.core.errors import explain
from graphc.core.opdef import DERIVED, OPDEFS, OpDef, abstract, register
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.gradients import gradients
from graphc.ops import concat, identity, one_hot, ones_like, reshape, shape, size, zeros, zeros_like
from graphc.ops import range as positions
from graphc.primitives.batching import batch
from graphc.variables import Variable

PREFIX = "Batched"


def jacobian(ys: Any, xs: Any, name: str = "jacobian") -> Any:
    """The derivative of every element of `ys` by every element of each of `xs`: [shape of ys, shape of x].

    ys: a tensor. xs: a tensor or variable, or a list of them; the result has its form. Zeros where no path leads from an x to `ys`. One
    batched backward pass computes all rows; memory grows with their number.
    """
    y = convert_to_tensor(ys)
    many = isinstance(xs, list | tuple)
    with y.graph.as_default(), y.graph.name_scope(name):
        seed = identity(ones_like(y), name="seed")
        slopes = gradients(y, list(xs) if many else [xs], grad_ys=[seed], name="row")
        rows = reshape(one_hot(positions(size(y)), size(y), dtype=y.dtype), concat([[size(y)], shape(y)], 0))
        every = _Rows(seed, rows)
        found = [_jacobian(y, x, slope, every) for x, slope in zip(xs if many else [xs], slopes, strict=True)]
    return found if many else found[0]


def _jacobian(y: Tensor, x: Any, slope: Tensor | None, every: _Rows) -> Tensor:
    by = convert_to_tensor(x, as_ref=True) if isinstance(x, Variable) else convert_to_tensor(x)
    whole = concat([shape(y), shape(by)], 0)
    if slope is None:
        return zeros(whole, by.dtype)
    result = reshape(every.of(slope), whole)
    if y.shape_tuple is not None and by.shape_tuple is not None:
        result.set_shape((*y.shape_tuple, *by.shape_tuple))
    return result


def hessians(ys: Any, xs: Any, name: str = "hessians", colocate_gradients_with_ops: bool = False, gate_gradients: bool = False,
             aggregation_method: int | None = None) -> list[Tensor]:
    """The second derivatives of sum(ys) by each of `xs`: [shape of x, shape of x], zeros where the first are constant.

    The last three arguments are TF1's and change nothing. ValueError where no gradient leads from an x to `ys`.
    """
    each = list(xs) if isinstance(xs, list | tuple) else [xs]
    slopes = gradients(ys, each, name=name)
    for x, slope in zip(each, slopes, strict=True):
        if slope is None:
            x = convert_to_tensor(x)
            raise ValueError(explain(x.op, f"hessians: no gradient leads from '{x.name}' to ys; graphc.explain_gradient tells why"))
    return [jacobian(slope, x, name=name) for x, slope in zip(each, slopes, strict=True)]


def jvp(ys: Any, xs: Any, tangents: Any, name: str = "jvp") -> list[Tensor]:
    """The change of each of `ys` when `xs` move along `tangents`: the product of the Jacobian with them, one of y's shape for each y.

    ys, xs, tangents: tensors, one or a list; tangents have the shapes and dtypes of `xs`. (`gradients` with `grad_ys` is the product from
    the left.) As the gradient of a gradient, which is linear in its cotangents: J. Townsend, "A new trick for calculating Jacobian vector
    products", 2017.
    """
    y_list, x_list, along = ([*each] if isinstance(each, list | tuple) else [each] for each in (ys, xs, tangents))
    if len(along) != len(x_list):
        raise ValueError(f"tangents must have one entry for each of the {len(x_list)} xs, not {len(along)}")
    graph = convert_to_tensor(y_list[0]).graph
    with graph.as_default(), graph.name_scope(name):
        seeds = [identity(ones_like(y), name="seed") for y in y_list]
        back = gradients(y_list, x_list, grad_ys=seeds, name="back")
        pairs = [(slope, convert_to_tensor(t, slope.dtype)) for slope, t in zip(back, along, strict=True) if slope is not None]
        if not pairs:
            return [zeros_like(y) for y in y_list]
        slopes, moved = zip(*pairs, strict=True)
        found = gradients(list(slopes), seeds, grad_ys=list(moved), name="forth", unconnected_gradients="zero")
    return [each for each in found if each is not None]


# Batched operations ----------------------------------------------------------------------------------------------------------------------

class _Rows:
    """All that follows from `seed`, for each of `rows` in its place."""

    def __init__(self, seed: Tensor, rows: Tensor) -> None:
        self._batched: dict[Tensor, Tensor] = {seed: rows}
        self._rows = rows

    def of(self, tensor: Tensor) -> Tensor:
        """`tensor` for each row: [rows, ...]."""
        for operation in self._following(tensor.op):
            inputs = [self._batched.get(t, t) for t in operation.inputs]
            mapped = tuple(t in self._batched for t in operation.inputs)
            definition = batched(operation.definition)
            attrs = {**operation.attrs, _mapped(operation.definition): mapped}
            made = tensor.graph.create_op(definition, (*inputs, self._rows), attrs, f"{operation.name}_rows")
            self._batched.update(zip(operation.outputs, made.outputs, strict=True))
        return self._batched[tensor]

    def _following(self, last: Operation) -> list[Operation]:
        """The operations between the seed and `last` that are not batched yet, in order."""
        behind: set[Operation] = set()
        stack = [last]
        while stack:
            operation = stack.pop()
            if operation not in behind and not any(t in self._batched for t in operation.outputs):
                behind.add(operation)
                stack.extend(t.op for t in operation.inputs)
        reached = {t.op for t in self._batched}
        result = []
        for operation in sorted(behind, key=lambda each: each.id):
            if any(t.op in reached for t in operation.inputs):
                reached.add(operation)
                result.append(operation)
        return result


def batched(forward: OpDef) -> OpDef:
    """The operation type "Batched<Type>": `forward` for many values of some inputs.

    Inputs: those of `forward`, the ones of which attribute `mapped` says true with one more axis in front; then a tensor with as many rows.
    """
    name = PREFIX + forward.type
    if name in OPDEFS:
        return OPDEFS[name]
    of_mapped = _mapped(forward)

    def expand(*nodes: Node, **attrs: Any) -> Sequence[Node]:
        mapped: tuple[bool, ...] = attrs.pop(of_mapped)
        *inputs, rows = nodes
        rests = [abstract((node.dtype, node.shape[1:]), -1 - n) if many else node
                 for n, (node, many) in enumerate(zip(inputs, mapped, strict=True))]
        stands = {rest: node for rest, node, many in zip(rests, inputs, mapped, strict=True) if many}
        return batch(forward.nodes(rests, attrs), stands, rows.shape[0])

    return register(OpDef(name, expand, attrs={**(forward.attrs or {}), of_mapped: ()}))


def _mapped(forward: OpDef) -> str:
    """The name of the attribute `mapped` of what is batched: "mapped_2" where it is so already."""
    order = 1 + sum(name.startswith("mapped") for name in forward.attrs or {})
    return "mapped" if order == 1 else f"mapped_{order}"


DERIVED[PREFIX] = batched
