"""What was compiled, why, and how long it took: the debug ladder. `calls.py` reports each compilation here, as soon as it is done.

    GRAPHC_DEBUG=1   one paragraph for each compilation: what, why, milliseconds by phase, hits of the object cache
    GRAPHC_DEBUG=2   also the program after each pass
    GRAPHC_DEBUG=3   also the kernels, in the kernel language
    GRAPHC_DEBUG=4   also the kernels as LLVM text
    GRAPHC_DUMP=FOLDER   writes a dump of each compilation (`Executable.dump`) into FOLDER, with an index of all

The environment is read at each compilation. Everything goes through the logger "graphc"; the ladder gives it a handler on stderr where the
program has set none up.
"""
from __future__ import annotations

import itertools
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.inspection.folder import dump
from graphc.runtime.executable import Executable

log = logging.getLogger("graphc")
LEVELS = range(5)
_serial = itertools.count(1)


@dataclass(frozen=True)
class Page:
    """One text of a report, for those who ask for `level` or more."""

    level: int
    title: str
    text: str


def report(executable: Executable, fetches: Sequence[str], cause: str, phases: Mapping[str, float]) -> None:
    """Tells what the environment asks to be told of a compilation.

    fetches: names of what it computes. cause: why it was needed. phases: milliseconds of each step on the way.
    """
    folder = os.environ.get("GRAPHC_DUMP", "")
    level = _level()
    if not folder and not level and not log.isEnabledFor(logging.INFO):
        return
    what = ", ".join(fetches) or "nothing"
    summary = _summary(executable, what, cause, phases)
    if folder:
        _write(Path(folder), executable, what, summary)
    if not level and not log.isEnabledFor(logging.INFO):
        return
    _ensure_handler(level)
    log.info("%s", summary)
    for page in _pages(executable) if level > 1 else ():
        if page.level <= level:
            log.info("---- %s\n%s", page.title, page.text)


def _level() -> int:
    text = os.environ.get("GRAPHC_DEBUG", "")
    if not text:
        return 0
    if not text.isdecimal() or int(text) not in LEVELS:
        raise ValueError(f"GRAPHC_DEBUG must be a number from 0 to {LEVELS[-1]}; got {text!r}")
    return int(text)


def _ensure_handler(level: int) -> None:
    """Messages must be seen by somebody who only set the environment, and not twice by somebody who has set up logging."""
    if not level:
        return
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("graphc: %(message)s"))
        log.addHandler(handler)
    if log.getEffectiveLevel() > logging.INFO:
        log.setLevel(logging.INFO)


def _summary(executable: Executable, what: str, cause: str, phases: Mapping[str, float]) -> str:
    kernels, distinct = len(executable.kernels), len({kernel.symbol for kernel in executable.kernels})
    lines = [f"compiled {what}",
             f"  because of {cause}",
             f"  {sum(phases.values()):.1f} ms: " + ", ".join(f"{name} {ms:.1f}" for name, ms in phases.items()),
             "  passes: " + ", ".join(_pass_summary(executable)),
             f"  {kernels} kernels, {distinct} distinct; machine code: {_cache_summary(executable)}",
             f"  arena {executable.memory.arena_bytes} bytes (the least possible {executable.memory.lower_bound}), "
             f"{executable.bytes_moved} bytes moved, {executable.expectation}"]
    return "\n".join(lines)


def _pass_summary(executable: Executable) -> Iterator[str]:
    before: Program | None = None
    for stage in executable.stages:
        change = "failed" if stage.problem else f"{len(stage.program.nodes)} nodes" if stage.program is not before else "unchanged"
        yield f"{stage.name} {change}" + (f" {stage.ms:.1f} ms" if before is not None else "")
        before = stage.program


def _cache_summary(executable: Executable) -> str:
    return ", ".join(f"{count} {how}" for how, count in executable.objects_from.items() if count) or "none"


def _pages(executable: Executable) -> Iterator[Page]:
    before = ""
    for stage in executable.stages:
        text = print_program(stage.program)
        shown = text if text != before else "// unchanged"
        yield Page(2, f"program after {stage.name}", shown)
        before = text
    seen: set[str] = set()
    for kernel in executable.kernels:
        if kernel.symbol in seen:
            continue
        seen.add(kernel.symbol)
        origins = "\n".join(f"// {origin}" for origin in kernel.origins)
        yield Page(3, f"kernel {kernel.name}", f"{origins}\n{kernel.text}".lstrip())
        yield Page(4, f"{executable.language} of {kernel.name}", kernel.code)
    yield Page(4, f"{executable.language} of the plan", executable.plan_text)


def _write(root: Path, executable: Executable, what: str, summary: str) -> None:
    """A dump of this compilation in a folder of its own, and a line in the index of all."""
    try:
        folder = _new_folder(root, f"{next(_serial):04}-{_plain(what)[:40].rstrip('_')}")
        dump(executable, folder, what)
        (folder / "compilation.txt").write_text(summary + "\n")  # with its times: no part of the dump, which is the same every time
        with open(root / "index.md", "a") as index:
            index.write(f"- [{folder.name}]({folder.name}/index.md): {summary.splitlines()[1].strip()}\n")
    except (OSError, ValueError) as error:
        warnings.warn(f"graphc: GRAPHC_DUMP={root}: {error}; nothing was dumped", RuntimeWarning, stacklevel=2)


def _new_folder(root: Path, name: str) -> Path:
    """An empty folder of that name, or where another process has it, with this one's number added."""
    root.mkdir(parents=True, exist_ok=True)
    for each in (name, f"{name}-{os.getpid()}"):
        with suppress(FileExistsError):
            (root / each).mkdir()
            return root / each
    raise FileExistsError(f"{root / name} exists already")


def _plain(text: str) -> str:
    """`text` as a part of a file name."""
    return re.sub(r"\W+", "_", text).strip("_") or "unnamed"
