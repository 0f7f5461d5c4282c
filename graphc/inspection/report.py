"""The report page: one HTML file that shows what the compiler made of a graph. It stands at the end of the flow: `describe` says everything
there is to say as plain data, this module packs that into a page, and the scripts in `page/` draw it.

The page needs no network and no server. Its data are blocks of JSON, each compressed by itself, so that a page of 10,000 nodes is small and
opens at once: a stage's nodes or a kernel's machine code are unpacked when somebody looks at them. The two libraries that draw graphs are
blocks of the same kind. `read_report` gives the data back: a report is also a file that programs can read.
"""
from __future__ import annotations

import base64
import html
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from graphc.core.source import texts
from graphc.files import write_whole
from graphc.terminal import bytes_text

Description = Mapping[str, Any]  # what `graphc.inspection.describe` gives

_PAGE = Path(__file__).resolve().parent / "page"
# In the order in which they stand in the page; each opens with a comment that says what it is for.
SCRIPTS = ("core.js", "words.js", "model.js", "tree.js", "layout.js", "canvas.js", "graph.js", "panel.js", "overview.js", "diff.js",
           "textdiff.js", "kernels.js", "roofline.js", "edges.js", "memory.js", "timeline.js", "source.js", "main.js")
LIBRARIES = ("cytoscape", "dagre")
_CODES = ("text", "code", "assembly")  # of a kernel: long, and wanted one kernel at a time
_KERNELS_A_BLOCK = 32
_BLOCK = re.compile(r'<script type="text/plain" data-block="([\w-]+)">([^<]*)</script>')


def write_report(description: Description, path: str | os.PathLike[str]) -> None:
    """Writes the report of `description` to the file `path`, whole or not at all; OSError where the file cannot be written."""
    write_whole(path, report_html(description))


def notebook_html(description: Description) -> str:
    """The report for a notebook: a few figures, and the page in a frame below them, which opens at a click. Kernels' machine code is left
    out, since a notebook keeps every output: `write_report` has it."""
    pieces = [{**piece, "kernels": [{**kernel, "code": "", "assembly": ""} for kernel in piece["kernels"]]}
              for piece in _pieces(description)]
    page = report_html({**description, "pieces": pieces} if "pieces" in description else pieces[0])
    frame = f'<iframe srcdoc="{html.escape(page)}" style="width: 100%; height: 720px; border: 1px solid #8885"></iframe>'
    rows = [f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for piece in pieces for name, value in _figures(piece)]
    caption = f"<caption>{html.escape(description['title'] or 'compiled')}</caption>"
    return f"<table>{caption}{''.join(rows)}</table><details><summary>report</summary>{frame}</details>"


def _figures(description: Description) -> Iterator[tuple[str, str]]:
    """The figures that a notebook shows of one piece."""
    stages, kernels, memory = list(_heads(description["stages"])), description["kernels"], description["memory"]
    yield "nodes", " → ".join(f"{stage['count']} {stage['name']}" for stage in stages if stage["changed"])
    flops, moved = (sum(kernel[key] for kernel in kernels) for key in ("flops", "bytes"))
    yield "kernels", f"{len(kernels)}: {flops:,} flops, {bytes_text(moved)} moved"
    yield "arena", f"{bytes_text(memory['arena'])}, the least possible {bytes_text(memory['lower_bound'])}"
    for warning in description["warnings"]:
        yield "warning", warning


def report_html(description: Description) -> str:
    """The page as text: one HTML document that refers to nothing outside itself. ValueError where a number is NaN or infinite."""
    pieces = [{"lines": texts(operation["line"] for operation in piece["operations"]), **piece} for piece in _pieces(description)]
    names = [piece["title"] for piece in pieces]
    contents = [("pieces", {"title": description["title"], "names": names, "whole": "pieces" not in description})]
    contents += [(f"{number}-{name}", content) for number, piece in enumerate(pieces) for name, content in _blocks(piece)]
    blocks = [_block(name, json.dumps(content, separators=(",", ":"), allow_nan=False)) for name, content in contents]
    blocks += [_block(f"library-{name}", _library(name)) for name in LIBRARIES]
    parts = {
        "title": html.escape(f"{description['title']} · graphc report"),
        "style": _text("report.css"),
        "data": "\n".join(blocks),
        "licences": "\n".join(f"<!-- {name}\n{_text(f'vendor/{name}.LICENSE')}\n-->" for name in LIBRARIES),
        "script": "\n".join(['(() => {\n"use strict";', *map(_text, SCRIPTS), "})();"]),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _text("report.html"))


def read_report(text: str) -> dict[str, Any]:
    """The description that a report page was made of; ValueError where `text` is none."""
    blocks = {name: zlib.decompress(base64.b64decode(packed)).decode() for name, packed in _BLOCK.findall(text)}
    if "pieces" not in blocks:
        raise ValueError("this is no report of graphc: it has no block of data named 'pieces'")
    outside = json.loads(blocks["pieces"])
    pieces = [_read(blocks, f"{number}-") for number in range(len(outside["names"]))]
    return pieces[0] if outside["whole"] else {"title": outside["title"], "pieces": pieces}


def _pieces(description: Description) -> Sequence[Description]:
    """The descriptions of a compilation in pieces, for several devices or stages; of another one itself."""
    return [each for piece in description["pieces"] for each in _pieces(piece)] if "pieces" in description else [description]


def _read(blocks: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """One piece: what `_blocks` took apart."""
    description: dict[str, Any] = json.loads(blocks[f"{prefix}head"])
    for number, stage in enumerate(description["stages"]):
        del stage["count"], stage["kinds"]
        stage.update(json.loads(blocks[f"{prefix}stage-{number}"]))
    for first in range(0, len(description["kernels"]), _KERNELS_A_BLOCK):
        codes = json.loads(blocks[f"{prefix}code-{first // _KERNELS_A_BLOCK}"])
        for kernel, code in zip(description["kernels"][first:], codes, strict=False):
            kernel.update(code)
    return description


def _blocks(description: Description) -> Iterator[tuple[str, Any]]:
    """The description in pieces: the head with all that is short, each stage's nodes, and the kernels' code a few kernels at a time."""
    stages, kernels = description["stages"], description["kernels"]
    yield "head", {**description, "stages": list(_heads(stages)), "kernels": [_without(kernel, _CODES) for kernel in kernels]}
    for number, stage in enumerate(stages):
        yield f"stage-{number}", {key: stage[key] for key in ("nodes", "changes", "text")}
    for first in range(0, len(kernels), _KERNELS_A_BLOCK):
        some = kernels[first:first + _KERNELS_A_BLOCK]
        yield f"code-{first // _KERNELS_A_BLOCK}", [{key: kernel[key] for key in _CODES} for kernel in some]


def _heads(stages: Sequence[Description]) -> Iterator[dict[str, Any]]:
    """Each stage without its nodes, but with their number and how many changes of each kind there are."""
    count = 0
    for stage in stages:
        count = len(stage["nodes"]) or count  # an unchanged stage has none of its own
        kinds: dict[str, int] = {}
        for change in stage["changes"]:
            kinds[change["kind"]] = kinds.get(change["kind"], 0) + 1
        yield {**_without(stage, ("nodes", "changes", "text")), "count": count, "kinds": kinds}


def _without(content: Description, keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in keys}


def _block(name: str, text: str) -> str:
    """A piece of the page that no browser interprets: base64 has no character that HTML knows, whatever a user calls an operation."""
    packed = base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    return f'<script type="text/plain" data-block="{name}">{packed}</script>'


def _library(name: str) -> str:
    """A vendored library, without the last line that would send a browser's tools looking for its source map."""
    return re.sub(r"\n//# sourceMappingURL=\S+\s*$", "\n", _text(f"vendor/{name}.min.js"))


def _text(name: str) -> str:
    """A file of the page."""
    return (_PAGE / name).read_text(encoding="utf-8")
