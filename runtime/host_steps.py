"""Brings what only the host can compute (`loops.Extern`) there, in a Program for GPUs: with a transfer of its operands, and back.

    %1 = add(%0, %0)                  GPU:0        %1 = add(transfer(%0), ...)       GPU:0
    %2 = cholesky(%1)                 GPU:0   -->  %2 = cholesky(transfer(%1))       CPU:0
    %3 = exponential(%2)              GPU:0        %3 = exponential(transfer(%2))    GPU:0

So it runs wherever its operation is placed, even if all of them must be on a GPU, and the cost is visible. `segments` cuts the result.
"""
from __future__ import annotations

from collections.abc import Mapping

from graphc.core.devices import HOST, Devices
from graphc.core.loops import Extern
from graphc.core.program import Node, Program, inherit, make
from graphc.primitives import transfer


def is_of_host(node: Node) -> bool:
    return isinstance(node.primitive.loop, Extern)


def any_of_host(program: Program) -> bool:
    """Whether the host must compute something of `program`."""
    return any(map(is_of_host, program.nodes))


def on_host(program: Program, variables: Mapping[str, str], alone: str | None = None) -> Program:
    """`program` with its host functions on the host unless they are on a CPU already. variables: the device of each variable. alone: the
    device of the whole program, where it has no transfers because all of it is on one."""
    before, after = Devices(variables), Devices(variables)
    new: dict[Node, Node] = {}
    origins = dict(program.origins)
    for node in program.nodes:
        device = alone if alone is not None and node.operands else before.of(node)
        if node.name == "transfer":
            made = after.bring(new[node.operands[0]], node.attrs.target)
        elif is_of_host(node) and (device is None or not device.startswith("CPU")):
            made = make(node.primitive, [_brought(new[operand], after) for operand in node.operands], node.attrs)
        elif node.name == "get_tuple_element" or device is None or not node.operands:
            made = make(node.primitive, [new[operand] for operand in node.operands], node.attrs)
        else:
            made = make(node.primitive, [after.bring(new[operand], device) for operand in node.operands], node.attrs)
        new[node] = made
        inherit(made, program.origins.get(node, ()), origins)
    return Program(program.parameters, tuple(new[node] for node in program.outputs), tuple(new[node] for node in program.effects),
                   origins=origins)


def _brought(operand: Node, devices: Devices) -> Node:
    """`operand` on the host. One made of constants, which is nowhere, is sent there by name, so that what reads it is there."""
    if devices.of(operand) is None:
        return transfer(operand, HOST, HOST)
    return devices.bring(operand, HOST)
