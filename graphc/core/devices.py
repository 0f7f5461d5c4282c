"""Which device a value is on, where operations of one Program stand on several: between placement and `specialise`.

A device is written in short here: "CPU:0", "GPU:1". What is fed is on the host. A variable is where placement put it. Any other value is
where it is computed, which its operands decide, since all of them are on one device: where they would not be, `bring` puts a `transfer`
between. A value that is computed from constants alone is nowhere: every device makes its own.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.core.primitive import lookup
from graphc.core.program import Node, make, postorder

HOST = "CPU:0"
KEPT = "/kept/"  # names of variables that hold what one segment or stage of a run leaves for a later one begin with this
_ROOM = f"{KEPT}room "


def room(number: int, nbytes: int) -> str:
    """The name of a variable that holds a kept value of `nbytes`. All runs in stages that keep a value of about this size in room `number`
    share its memory: a run uses each number once, and begins when no other runs."""
    return f"{_ROOM}{number}/{1 << max(6, (nbytes - 1).bit_length())}"


def room_bytes(name: str) -> int:
    """The memory of a variable named by `room`; 0 for any other."""
    return int(name.rpartition("/")[2]) if name.startswith(_ROOM) else 0


@dataclass
class Devices:
    """variables: the device of each variable, by name. Remembers every node that it was asked for."""

    variables: Mapping[str, str]
    _found: dict[Node, str | None] = field(default_factory=dict)

    def of(self, node: Node) -> str | None:
        """The device that `node` is on; None for a value made of constants. ValueError where its operands are on two devices."""
        if node not in self._found:
            for each in postorder((node,), self._found):
                if each not in self._found:
                    self._found[each] = self._locate(each)
        return self._found[node]

    def _locate(self, node: Node) -> str | None:
        match node.name:
            case "parameter":
                return HOST
            case "variable_read" | "variable_assign":
                return self.variables[node.attrs.variable]
            case "transfer":
                target: str = node.attrs.target
                return target
        found = {device for operand in node.operands if (device := self._found[operand]) is not None}
        if len(found) > 1:
            raise ValueError(f"{node!r} has operands on {' and '.join(sorted(found))}")
        return next(iter(found), None)

    def bring(self, node: Node, device: str) -> Node:
        """`node` on `device`: itself, what it was transferred from, or a transfer of it."""
        origin = node.operands[0] if node.name == "transfer" else node
        here = self.of(origin)
        if here is None or here == device:
            return origin
        transfer = lookup("transfer")
        return make(transfer, (origin,), transfer.attrs(source=here, target=device))
