"""Runs the tour: `python docs/tour.py` writes under each Python block of docs/tour.md what it prints, and draws the page's pictures.

The page is its own source: prose and code are written there, by hand; what the code prints stands in the text block that follows it.
"""
from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import graphc as gc
from graphc.dump import blocks_of, flow_of
from graphc.pictures.flow import draw
from graphc.pictures.memory_map import memory_map

FOLDER = Path(__file__).resolve().parent
PAGE, PICTURES = FOLDER / "tour.md", FOLDER / "pictures"
VECTOR_BITS = "256"  # the page must be the same whatever machine runs it
_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?P<between>\n*)(?P<shown>^```text\n.*?^```\n)?", re.DOTALL | re.MULTILINE)


def toured(page: str) -> tuple[str, dict[str, str]]:
    """`page` with what its code prints, and the pictures by file name. ValueError where a block prints and no text block follows."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def run(block: re.Match[str]) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block["code"], _file(block["code"]), "exec"), names)
        printed = out.getvalue().rstrip()
        if bool(printed) != bool(block["shown"]):
            raise ValueError(f"tour.md: a block and its text do not fit: {block['code'].splitlines()[0]}")
        return block[0] if not printed else f"```python\n{block['code']}```\n{block['between']}```text\n{printed}\n```\n"

    with surroundings():
        made = _BLOCK.sub(run, page)
        return made, pictures(names["plan"])


def _file(code: str) -> str:
    """The file that the user's lines in the dumps are lines of: a block says so in its first."""
    named = re.match(r"# (\S+\.py)\n", code)
    return named[1] if named else PAGE.name


@contextlib.contextmanager
def surroundings() -> Iterator[None]:
    """A graph, a folder to write into, and vectors of 256 bits."""
    before, bits = os.getcwd(), os.environ.get("GRAPHC_VECTOR_BITS")
    os.environ["GRAPHC_VECTOR_BITS"] = VECTOR_BITS
    with tempfile.TemporaryDirectory() as folder, gc.Graph().as_default():
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            del os.environ["GRAPHC_VECTOR_BITS"]
            if bits is not None:
                os.environ["GRAPHC_VECTOR_BITS"] = bits


def pictures(plan: gc.Executable) -> dict[str, str]:
    """What flows between the kernels, and the memory map."""
    memory = memory_map([kernel.name for kernel in plan.kernels], blocks_of(plan), plan.memory.arena_bytes, plan.memory.lower_bound,
                        plan.memory.unplanned_bytes)
    flow = draw(flow_of(plan.program), "One step", f"{len(plan.kernels)} kernels; variables yellow, feeds green, the fetched loss pink")
    return {"tour_flow.svg": flow.svg(), "tour_memory.svg": memory.svg()}


def main() -> None:
    """Writes the page and its pictures anew."""
    page, drawn = toured(PAGE.read_text())
    PAGE.write_text(page)
    for name, text in drawn.items():
        (PICTURES / name).write_text(text)


if __name__ == "__main__":
    main()
