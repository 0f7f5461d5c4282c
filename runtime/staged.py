"""`StagedExecutable`: the stages of a run, to look into. `stages.py` runs them; `Session.compile` and `graphc dump` show them."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphc.core.devices import KEPT
from graphc.core.program import Program
from graphc.runtime.executable import Executable
from graphc.runtime.placed import side_by_side, summed


@dataclass(frozen=True)
class CompiledStage:
    """One stage. title: what it was compiled for ("size of Where = 37"), "" for the first. gives: what is learnt from it, in words. kept:
    how many values it leaves for later stages. sizes: how many values of its size have been compiled for so far."""

    title: str
    executable: Executable
    gives: str
    kept: int
    sizes: int


@dataclass(frozen=True, kw_only=True)
class StagedExecutable(Executable):
    """What `Session.compile` gives where a size is only known while the graph runs: the stages of the last run, or before any run the
    first. program: the whole, before any pass, as far as it is known; the passes ran on each part (`parts[n].executable.stages`). Figures
    are sums over the parts; in `memory` their arenas lie side by side, though they take turns in one."""

    parts: tuple[CompiledStage, ...]
    language = "text"
    suffix = "txt"

    @property
    def pieces(self) -> tuple[tuple[str, Executable], ...]:
        return tuple((f"stage {number}: {part.title or 'the first'}", part.executable) for number, part in enumerate(self.parts))

    @property
    def expectation(self) -> str:
        return "; ".join(part.executable.expectation for part in self.parts)


def staged_executable(program: Program, parts: Sequence[CompiledStage]) -> StagedExecutable:
    """`parts` as one. program: what they are parts of."""
    executables = [part.executable for part in parts]
    kernels = [replace(kernel, name=f"stage{number}_{kernel.name}")
               for number, executable in enumerate(executables) for kernel in executable.kernels]
    targets = dict.fromkeys(executable.target for executable in executables)
    return StagedExecutable(
        target=next(iter(targets)) if len(targets) == 1 else "mixed", kernels=kernels, memory=side_by_side(executables),
        stages=(replace(executables[0].stages[0], program=program),),
        reads=tuple(dict.fromkeys(read for each in executables for read in each.reads if not read[0].startswith(KEPT))),
        writes=tuple(write for each in executables for write in each.writes if not write[0].startswith(KEPT)),
        compile_ms=summed([each.compile_ms for each in executables]),
        objects_from={how: int(count) for how, count in summed([each.objects_from for each in executables]).items()},
        plan_text="\n".join(_line(number, part) for number, part in enumerate(parts)), parts=tuple(parts))


def _line(number: int, part: CompiledStage) -> str:
    """`// stage 0: takes x:0; gives the size of Where; keeps 2 for later`"""
    executable = part.executable
    taken = ", ".join(str(node.attrs.name) for node in executable.program.parameters)
    written = ", ".join(name for name, _ in executable.writes if not name.startswith(KEPT))
    says = [f"takes {taken}" if taken else "", f"gives {part.gives}", f"keeps {part.kept} for later" if part.kept else "",
            f"writes {written}" if written else "", f"one of {part.sizes} compiled" if part.sizes > 1 else ""]
    return f"// stage {number}{f' ({part.title})' if part.title else ''}: {'; '.join(filter(None, says))}"
