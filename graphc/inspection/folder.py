"""The dump: one folder a compilation, of texts that are the same in every process, so that two can be compared with `diff`.

    index.md              the page to open: passes, kernels, memory, and links to everything else
    operations.txt        every operation of the user's graph, and what became of it
    1-simplify.program    the Program after each pass that changed it (parses back: `graphc opt`), and beside it
    1-simplify.changes    what that pass did: which rule replaced what
    kernels/03_row.kernel, .ll, .s   each distinct kernel in the kernel language, as LLVM's text, as assembly (.cu for a GPU)
    schedule.txt          the kernels in order, and where what they read and write is
    separations.txt       for every two kernels, one reading what the other wrote, why they are two
    memory.txt            the arena: its buffers, its peak, the least that is possible
    plan.ll               the code that runs the kernels
"""
from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from graphc.core.text import print_program
from graphc.inspection.description import Described, Description
from graphc.passes.storage import value_of
from graphc.terminal import bytes_text, table

if TYPE_CHECKING:
    from graphc.core.program import Node
    from graphc.runtime.executable import DeviceExecutable, Executable

INDEX = "index.md"
MARK = "<!-- a dump of graphc: written anew as a whole -->"
_ORDER = ("replaced", "removed", "added", "fused", "rebuilt")
_LENGTH = 40  # characters of a kernel's or a pass's name in a file name


def dump(executable: Executable, folder: str | os.PathLike[str], title: str = "") -> int:
    """Writes all that is known of `executable` into `folder` (see `write_files`), and says how many files that are."""
    files = files_of(executable, title or title_of(executable))
    write_files(Path(folder), files)
    return len(files)


def title_of(executable: Executable) -> str:
    """The operations whose results it computes, for want of a name."""
    program = executable.program
    names = [origin.operation for node in (*program.outputs, *program.effects) for origin in program.origins.get(node, ())[-1:]]
    return ", ".join(dict.fromkeys(names)) or "a run"


def files_of(executable: Executable, title: str) -> dict[str, str]:
    """What the dump of `executable` consists of, by path within the folder: of one that is in pieces a folder for each."""
    if not executable.pieces:
        return _files_of(cast("DeviceExecutable", executable), title)
    parts = [MARK, f"# {title}", f"{_some(len(executable.pieces), 'piece')}, which run one after the other:"]
    files: dict[str, str] = {}
    for number, (name, piece) in enumerate(executable.pieces):
        files |= {f"{number}/{path}": text for path, text in files_of(piece, f"{title}: {name}").items()}
        parts.append(f"{number}. [{name}]({number}/{INDEX}): {_some(len(piece.kernels), 'kernel')}")
    whole = {"whole.program": print_program(executable.stages[0].program) + "\n", "plan.txt": executable.plan_text + "\n"}
    parts.append("\n".join(f"- [{path}]({path})" for path in whole))
    return {INDEX: "\n\n".join(parts) + "\n", **whole, **files}


def _files_of(executable: DeviceExecutable, title: str) -> dict[str, str]:
    description = Description(executable, title)
    described = description.described()
    files = {"operations.txt": _operations(described)}
    for number, stage in enumerate(described["stages"]):
        if stage["changed"]:
            files[_stage_file(number, stage)] = stage["text"] + "\n"
            if number:
                files[_stage_file(number, stage, "changes")] = _changes(described["stages"], number)
    files |= _kernel_files(described, executable.suffix)
    files["schedule.txt"] = _schedule(description, described)
    files["separations.txt"] = _separations(described)
    files["memory.txt"] = _memory(described)
    files[f"plan.{executable.suffix}"] = executable.plan_text + "\n"
    return {INDEX: _index(executable, described, files), **files}


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Puts the files into `folder`, which is made, or is empty, or holds an earlier dump, which goes; ValueError where it cannot be had or
    is something else. All files appear, or none."""
    try:
        if folder.exists() and any(folder.iterdir()) and not _is_dump(folder):
            raise ValueError(f"{folder} holds other files: name a new folder, an empty one, or one that an earlier dump made")
        if folder.parent.exists() and not folder.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".graphc-", dir=folder.parent))
        try:
            draft.chmod(0o755)
            for name, text in files.items():
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                (draft / name).write_text(text)
            if folder.exists():
                os.replace(folder, draft.with_suffix(".old"))
            os.replace(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            shutil.rmtree(draft.with_suffix(".old"), ignore_errors=True)
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror or error}") from None


def _is_dump(folder: Path) -> bool:
    index = folder / INDEX
    return index.is_file() and index.read_text(errors="replace").startswith(MARK)


# The texts ------------------------------------------------------------------------------------------------------------------------------

def _index(executable: DeviceExecutable, described: Described, files: Mapping[str, str]) -> str:
    signature = described["signature"]
    feeds = ", ".join(f"{feed['name']} {feed['type']}" for feed in signature["feeds"]) or "nothing"
    computes = "; ".join(signature["fetches"]) or "no value"
    parts = [MARK, f"# {described['title']}", f"Computes {computes} from {feeds}, for {executable.target}.",
             *(f"**Warning**: {warning}" for warning in described["warnings"]), "## Passes", _passes(described), "## Kernels",
             _kernels(described, executable.suffix), "## Memory",
             f"Arena {bytes_text(executable.memory.arena_bytes)}, the least possible {bytes_text(executable.memory.lower_bound)}, without "
             f"planning {bytes_text(executable.memory.unplanned_bytes)}. {bytes_text(executable.bytes_moved)} moved a run.",
             "## Files", "\n".join(f"- [{name}]({name})" for name in sorted(files, key=_natural))]
    return "\n\n".join(parts) + "\n"


def _passes(described: Described) -> str:
    lines = []
    for number, stage in enumerate(described["stages"]):
        if stage["problem"]:
            says = f"FAILED and was left out: {stage['problem']}"
        elif not stage["changed"]:
            says = "unchanged"
        else:
            says = _some(len(stage['nodes']), "node") + (f"; {_counts(stage)}" if number else "")
        link = f"[{stage['name']}]({_stage_file(number, stage)})" if stage["changed"] else stage["name"]
        lines.append(f"{number}. {link}: {says}")
    return "\n".join(lines)


def _counts(stage: Described) -> str:
    counts = Counter(change["kind"] for change in stage["changes"])
    words = {"rebuilt": "over other operands"}
    if counts["fused"]:
        counts["fused"] = sum(len(change["before"]) for change in stage["changes"] if change["kind"] == "fused")
    return ", ".join(f"{counts[kind]} {words.get(kind, kind)}" for kind in _ORDER if counts[kind]) or "another order"


def _kernels(described: Described, suffix: str) -> str:
    rows = []
    for number, kernel in enumerate(described["kernels"]):
        base = _kernel_file(kernel["same_as"], described["kernels"][kernel["same_as"]])
        computes = ", ".join(described["operations"][o]["name"] for o in kernel["operations"]) or kernel["name"]
        rows.append(f"| {number} | [{kernel['kind']}]({base}.kernel) | {computes} | {', '.join(kernel['lines'])} | {kernel['flops']:,} | "
                    f"{bytes_text(kernel['bytes'])} | [code]({base}.{suffix}) |")
    head = "| | kind | computes | lines | flops | moves | |\n| --- | --- | --- | --- | --- | --- | --- |"
    return "\n".join([head, *rows]) if rows else "None: nothing is computed."


def _operations(described: Described) -> str:
    return table([[o["name"], o["type"], o["line"], o["fate"]] for o in described["operations"]], ["operation", "type", "line", "fate"],
                 indent=0) + "\n"


def _changes(stages: Sequence[Described], number: int) -> str:
    """One change a line, those of one rule together."""
    stage = stages[number]
    before = next(each for each in reversed(stages[:number]) if each["changed"])
    old, new = ({node["id"]: node for node in each["nodes"]} for each in (before, stage))
    lines = [f"// {before['name']} -> {stage['name']}: {_counts(stage)}"]
    for kind in _ORDER[:-1]:
        for change in stage["changes"]:
            if change["kind"] != kind:
                continue
            left = ", ".join(_shown(old[n]) for n in change["before"])
            right = ", ".join(_shown(new[n]) for n in change["after"])
            lines.append(f"{kind}  {left}{'  ->  ' if left and right else ''}{right}")
            lines += [f"    {text}" for text in (change["rule"], change["why"]) if text]
    return "\n".join(lines) + "\n"


def _shown(node: Described) -> str:
    return f"%{node['id']} {node['name']}: {node['type']}"


def _kernel_files(described: Described, suffix: str) -> dict[str, str]:
    files = {}
    for number, kernel in enumerate(described["kernels"]):
        if kernel["same_as"] == number:
            base = _kernel_file(number, kernel)
            files[f"{base}.kernel"] = f"// {kernel['flops']:,} flops, {kernel['bytes']:,} bytes moved\n{_buffers(kernel)}{kernel['text']}\n"
            files[f"{base}.{suffix}"] = kernel["code"].rstrip() + "\n"
            if kernel["assembly"]:
                files[f"{base}.s"] = kernel["assembly"].rstrip() + "\n"
    return files


def _buffers(kernel: Described) -> str:
    """What the parameters of a kernel are in the user's words (`x0`, `x1` are what it reads, in order; `y0` and so on what it writes)."""
    named = [(letter, number, each) for letter, values in (("x", kernel["reads"]), ("y", kernel["writes"]))
             for number, each in enumerate(values)]
    return "".join(f"// {letter}{number}: {each['value']}\n" for letter, number, each in named)


def _schedule(description: Description, described: Described) -> str:
    lines = []
    for number, (kernel, steps) in enumerate(zip(described["kernels"], description.steps_of, strict=True)):
        lines.append(f"{number} {kernel['name']}" + (f" (code of {kernel['same_as']})" if kernel["same_as"] != number else ""))
        for step in steps:
            taken = dict.fromkeys(step.operands)
            lines += [f"    reads  {_place(description, node)}  {node.type}" for node in taken]
            lines += [f"    writes {_where(description, (step, n))}  {type_}" for n, type_ in enumerate(step.types)]
    lines += [f"copy {size} bytes from {source.kind} {source.key} to {to.kind} {to.key}"
              for source, to, size in description.executable.plan.copies]
    return "\n".join(lines) + "\n"


def _place(description: Description, node: Node) -> str:
    return _where(description, value_of(node))


def _where(description: Description, value: tuple[Node, int]) -> str:
    location = description.executable.plan.locations[value]
    return f"{location.kind} {location.key}"


def _separations(described: Described) -> str:
    counts = Counter(edge["why"] for edge in described["edges"])
    lines = [f"// {count} times: {why}" for why, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]
    for edge in described["edges"]:
        lines += [f"{edge['from']} -> {edge['to']}  {edge['value']}: {edge['why']}", f"    {edge['text']}"]
    return "\n".join(lines) + "\n"


def _memory(described: Described) -> str:
    memory = described["memory"]
    rows = [[n, b["offset"], b["size"], b["first"], b["last"], "; ".join(b["values"])] for n, b in enumerate(memory["buffers"])]
    lines = [f"arena {memory['arena']} bytes, the least possible {memory['lower_bound']}, without planning {memory['unplanned']}",
             f"most is alive at kernel {memory['peak']['at']}: buffers {', '.join(map(str, memory['peak']['live'])) or 'none'}"]
    lines += [f"variable {v['name']}: {'changed in place' if v['in_place'] else 'copied at the end'}" for v in memory["variables"]]
    lines.append(table(rows, ["buffer", "offset", "bytes", "first use", "last use", "values in turn"], indent=0) if rows else "no buffer")
    return "\n".join(lines) + "\n"


def _stage_file(number: int, stage: Described, suffix: str = "program") -> str:
    """`1-simplify.program`; users call their passes what they like."""
    return f"{number}-{re.sub(r'[^A-Za-z0-9.-]+', '_', stage['name'])[:_LENGTH]}.{suffix}"


def _kernel_file(number: int, kernel: Described) -> str:
    """`kernels/03_row_Softmax`: the position of the first that has the code, and its name."""
    name = str(kernel["name"]).split("_", 1)[-1]
    return f"kernels/{number:03}_{name[:_LENGTH].rstrip('_')}"


def _some(number: int, word: str) -> str:
    """`1 kernel`, `2 kernels`."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def _natural(name: str) -> tuple[bool, str]:
    """Files before those in folders."""
    return "/" in name, name
