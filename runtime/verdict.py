"""`Verdict`: what checking a compilation found, for `graphc bisect`, `Session.bisect` and the error of a verified session."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.core.program import Program
from graphc.core.text import print_program

_SHOWN_LINES = 24  # of a program in a report


@dataclass(frozen=True)
class Culprit:
    """What is wrong, as narrowly as it was found. kind: "pass", "rule", "kernel", "memory plan" or "machine code". name: which one.

    headline: one line. details: more lines, from coarse to fine. example: the smallest Program found on which the same goes wrong; made:
    the text of what came of it; command: what repeats it, given a file with the example's text.
    """

    kind: str
    name: str
    headline: str
    details: tuple[str, ...] = ()
    example: Program | None = field(default=None, repr=False)
    command: str = ""
    made: str = field(default="", repr=False)

    def __str__(self) -> str:
        lines = [self.headline, *(f"  {line}" for detail in self.details for line in detail.splitlines())]
        if self.example is not None:
            lines += ["  the smallest example:", *_shown(print_program(self.example))]
        if self.made:
            lines += ["  what came of it:", *_shown(self.made)]
        if self.command:
            lines.append(f"  to repeat it: {self.command}")
        return "\n".join(lines)


def _shown(text: str) -> list[str]:
    """The lines of a program, or as many as a report has room for."""
    lines = text.splitlines()
    more = len(lines) - _SHOWN_LINES
    return [*(f"    {line}" for line in lines[:_SHOWN_LINES]), *([f"    ... {more} more lines"] if more > 0 else [])]


@dataclass(frozen=True)
class Verdict:
    """What was compared with the reference, and what is to blame where something differs.

    passes, applications, kernels: how many were right. largest: the largest distance of a result to the truth, as a part of the largest
    value of its array. unchecked: what could not be compared, and why.
    """

    passes: int = 0
    applications: int = 0
    kernels: int = 0
    largest: float = 0.0
    culprit: Culprit | None = None
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is to blame."""
        return self.culprit is None

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if self.culprit is not None:
            return str(self.culprit)
        counts = ", ".join(f"{count} {what}{'' if count == 1 else 's'}" if what != "pass" else f"{count} pass{'' if count == 1 else 'es'}"
                           for count, what in ((self.passes, "pass"), (self.applications, "rule application"), (self.kernels, "kernel")))
        lines = [f"every pass and kernel agrees with the reference: {counts}, largest difference {self.largest:.1e}"]
        return "\n".join([*lines, *(f"not checked: {each}" for each in self.unchecked)])


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on what runs in several parts: the first culprit, and the sums."""
    return Verdict(sum(each.passes for each in verdicts), sum(each.applications for each in verdicts),
                   sum(each.kernels for each in verdicts), max((each.largest for each in verdicts), default=0.0),
                   next((each.culprit for each in verdicts if each.culprit is not None), None),
                   tuple(why for each in verdicts for why in each.unchecked))
