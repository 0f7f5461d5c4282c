"""Assembling the text of LLVM functions. Everything in this folder that prints code does so through an `Emitter`.

Plain strings: building text by f-strings takes 12 us for a kernel where llvmlite's IR objects take 600 us, and the text is what LLVM parses
in either case. A `Module` gathers the functions, constants and declarations that become one object file.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Module:
    """The text of one LLVM module, grown by emitters and printed by `text`."""

    _declares: dict[str, None] = field(default_factory=dict)  # a dict as an ordered set: equal input must give equal text
    _constants: dict[str, str] = field(default_factory=dict)  # definition -> global's name
    _functions: list[str] = field(default_factory=list)

    def declare(self, text: str) -> None:
        """Adds `declare text` ("float @sinf(float)") unless it is there already."""
        self._declares[f"declare {text}"] = None

    def constant(self, definition: str, stem: str = "const") -> str:
        """The name ("@const0") of a private constant global holding `definition` ("[2 x i32] [i32 1, i32 2]"); equal ones are shared."""
        if definition not in self._constants:
            self._constants[definition] = f"@{stem}{len(self._constants)}"
        return self._constants[definition]

    def define(self, text: str) -> None:
        """Adds a whole `define ... { ... }`."""
        self._functions.append(text)

    def text(self) -> str:
        """The module, as LLVM reads it."""
        constants = [f"{name} = private unnamed_addr constant {what}, align 64" for what, name in self._constants.items()]
        return "\n".join([*constants, *self._declares, *self._functions]) + "\n"


@dataclass
class Region:
    """A growing piece of a function: its lines, and the block that the next line falls into."""

    lines: list[str] = field(default_factory=list)
    block: str = "entry"

    def interleave(self, starts: Sequence[int]) -> None:
        """Lines from `starts[0]` on are pieces that do not need each other, piece i from `starts[i]`: puts a line of each in turn.

        Processors look for independent instructions a few dozen ahead, which is less than one piece that is a long chain. Pieces of
        different lengths stay as they are.
        """
        pieces = [self.lines[start:end] for start, end in zip(starts, [*starts[1:], len(self.lines)], strict=True)]
        if len({len(piece) for piece in pieces}) == 1:
            self.lines[starts[0]:] = [line for lines in zip(*pieces, strict=True) for line in lines]


class Emitter:
    """Builds the text of one function, line by line.

    `let` names a result, `do` adds an instruction without one, `label` opens a block. Declarations and constants go to `module`, which
    several emitters may share; `finish` adds the function to it.

        e = Emitter("define float @square(float %x)")
        e.do(f"ret float {e.let('fmul float %x, %x')}")
        e.finish().text()
    """

    def __init__(self, header: str = "", module: Module | None = None) -> None:
        self.module = module if module is not None else Module()
        self._header = header
        self._values = 0
        self._labels: dict[str, int] = {}
        self.region = Region()  # where lines go; a printer of loops swaps it, to write into a loop's body or before the loop

    def let(self, text: str) -> str:
        """Adds `%tN = text` and returns "%tN"."""
        name = self.new_value()
        self.region.lines.append(f"  {name} = {text}")
        return name

    def new_value(self) -> str:
        """A value name not used before in this function, for an instruction that is written later (a phi)."""
        self._values += 1
        return f"%t{self._values - 1}"

    def do(self, text: str) -> None:
        """Adds an instruction that has no result."""
        self.region.lines.append(f"  {text}")

    @property
    def block(self) -> str:
        """The block being written, as phi instructions name it."""
        return self.region.block

    def new_label(self, stem: str) -> str:
        """A block name not used before in this function: "stem0", "stem1", ..."""
        count = self._labels.get(stem, 0)
        self._labels[stem] = count + 1
        return f"{stem}{count}"

    def label(self, name: str) -> None:
        """Opens the block `name`; `block` tells its name to the phi instructions of its successors."""
        self.region.lines.append(f"{name}:")
        self.region.block = name

    def declare(self, text: str) -> None:
        """Declares an outer function or intrinsic: `declare("float @llvm.fabs.f32(float)")`. Repeats are dropped."""
        self.module.declare(text)

    def constant_global(self, definition: str, stem: str = "const") -> str:
        """The name of a private constant global; see `Module.constant`."""
        return self.module.constant(definition, stem)

    def body(self) -> str:
        """The lines so far, without header and braces."""
        return "\n".join(self.region.lines)

    def finish(self, attributes: str = "") -> Module:
        """Closes the function, adds it to the module, and returns the module."""
        self.module.define(f"{self._header} {attributes}{{\nentry:\n{self.body()}\n}}")
        return self.module
