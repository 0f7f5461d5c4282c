"""`graphc dump MODEL`: what every stage of the compiler made of a model, as text or as a picture. Stands on top."""
from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import graphc as gc
from graphc import dump_cuda
from graphc.arguments import PIPELINES, Commands, add_model, add_pipeline
from graphc.compiled import compiled
from graphc.core.program import Node, Origin, Program
from graphc.core.text import print_program
from graphc.files import check_writable, write_whole
from graphc.inspection.folder import INDEX
from graphc.inspection.folder import dump as folder_dump
from graphc.pictures.canvas import Canvas
from graphc.pictures.flow import Box, Flow, dot, draw
from graphc.pictures.memory_map import Block, memory_map
from graphc.pictures.stages import stage_bars
from graphc.terminal import bytes_text, table


def add_command(commands: Commands) -> None:
    """`graphc dump MODEL`."""
    command = commands.add_parser("dump", help="print what every stage made of a model")
    add_model(command)
    add_pipeline(command)
    command.add_argument("--stage", metavar="NAME", help="this stage only")
    command.add_argument("--kernels", action="store_true", help="the kernels instead, in the kernel language")
    command.add_argument("--llvm", action="store_true", help="the kernels instead, as LLVM text")
    command.add_argument("--target", default="", metavar="ARCH", help="for a GPU such as sm_90, which need not be there: as CUDA C, "
                         "or with --stage and --kernels what it is made from")
    command.add_argument("--products", choices=("auto", "cublaslt", "generated"), default="auto", help="with --target: who multiplies "
                         "matrices, cublasLt (which need not be here) or generated kernels (default: cublasLt if it is here)")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write all there is to know as files, with an index; "
                         "with --target a .cu file for each launch")
    command.add_argument("--svg", type=Path, metavar="FILE", help="write a picture of the stages and the memory instead")
    command.add_argument("--flow", type=Path, metavar="FILE", help="write a picture of the kernels and their values (.svg or .dot)")
    command.set_defaults(command=_command)


def _command(options: argparse.Namespace) -> None:
    shown = options.kernels or options.llvm or options.stage is not None
    if options.out is not None and shown:
        raise ValueError("--out writes everything into a folder: leave --stage, --kernels and --llvm out")
    if options.target and (options.llvm or options.svg is not None or options.flow is not None):
        raise ValueError("--llvm, --svg and --flow show what a CPU runs: leave --target out")
    for file in filter(None, (options.svg, options.flow)):
        check_writable(file)  # before the compiler works for nothing
    if options.target and not options.kernels and options.stage is None:
        dump_cuda.main(options.model, options.pipeline, options.target, options.products, options.out)
    elif options.out is not None:
        write_to(options.out, options.model, options.pipeline)
    elif options.svg is None and options.flow is None:
        main(options.model, options.pipeline, options.stage, options.kernels, options.llvm, options.target, options.products)
    for file, flow in ((options.svg, False), (options.flow, True)):
        if file is not None:
            draw_to(file, options.model, options.pipeline, flow)


def main(name: str, pipeline: str | gc.Pipeline, stage: str | None, kernels: bool, llvm: bool, target: str = "",
         products: str = "auto") -> None:
    """Prints the kernels (as kernel text or as LLVM's), or one stage (text that parses), or every stage and the memory plan; of
    a graph on several devices the whole with its transfers, and then so for each segment; of one that runs in stages the first."""
    plan = compiled(name, pipeline, target, products)
    if kernels or llvm:
        for kernel in plan.kernels:
            print(f"// {kernel.name}: {kernel.flops:,} flops, {bytes_text(kernel.bytes)} moved")
            print((kernel.code if llvm else kernel.text) + "\n")
    elif stage is not None:
        print(print_program(program_after(plan, stage)))
    else:
        _print_whole(plan)


def write_to(folder: Path, name: str, pipeline: str | gc.Pipeline) -> None:
    """Writes the dump of a model into `folder` (see `graphc.inspection.folder`)."""
    plan = compiled(name, pipeline)
    count = folder_dump(plan, folder, Path(name).stem)
    print(f"wrote {count} files to {folder}: begin with its {INDEX}")


def _print_whole(plan: gc.Executable) -> None:
    """Every stage and the memory plan; of what is in parts first the whole, then each part."""
    _print_stages(plan)
    print(plan.plan_text if plan.pieces else memory_text(plan))
    for title, part in plan.pieces:
        print(f"\n// {title}")
        _print_whole(part)


def _print_stages(plan: gc.Executable) -> None:
    for each in plan.stages:
        print(f"// after {each.name}: {len(each.program.nodes)} nodes, {each.ms:.1f} ms")
        print(print_program(each.program))


def program_after(plan: gc.Executable, stage: str) -> Program:
    """The program as the pass `stage` left it; ValueError that lists the stages where there is none."""
    programs = {each.name: each.program for each in plan.stages}
    if stage not in programs:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(programs)}")
    return programs[stage]


def draw_to(file: Path, name: str, pipeline: str | gc.Pipeline, flow: bool) -> None:
    """Writes a picture of the stages and the arena, or of the flow between kernels, as SVG (the flow as DOT where `file` ends in .dot)."""
    plan = compiled(name, pipeline)
    if flow and file.suffix == ".dot":
        write_whole(file, dot(flow_of(plan.program)))
    else:
        write_whole(file, (flow_picture(name, plan) if flow else picture(name, pipeline)).svg())
    print(f"wrote {file}")


def memory_text(plan: gc.Executable) -> str:
    """The arena and its buffers as comment lines of a dump."""
    memory = plan.memory
    rows = [[b.offset, b.size, b.first, b.last, "; ".join(b.values)] for b in memory.buffers]
    head = (f"arena {bytes_text(memory.arena_bytes)}, the least possible {bytes_text(memory.lower_bound)}, "
            f"without planning {bytes_text(memory.unplanned_bytes)}")
    lines = [head, *table(rows, ["offset", "bytes", "first use", "last use", "values in turn"]).splitlines()] if rows else [head]
    return "\n".join(f"// {line}" for line in lines)


def picture(name: str, pipeline: str | gc.Pipeline = "default") -> Canvas:
    """The model's stages, its kernels under each pipeline, and its memory map, on one sheet."""
    plan = compiled(name, pipeline)
    stages = stage_bars(f"From declaration to kernels: {name}", "nodes after each pass",
                        [(stage.name, len(stage.program.nodes)) for stage in plan.stages])
    kernels = stage_bars("Kernels", "under each pipeline", [(each, len(compiled(name, each).kernels)) for each in PIPELINES])
    memory = memory_map([f"{number} {_title(kernel.origins) or kernel.name}" for number, kernel in enumerate(plan.kernels)],
                        blocks_of(plan), plan.memory.arena_bytes, plan.memory.lower_bound, plan.memory.unplanned_bytes)
    sheet = Canvas(stages.width + memory.width, max(stages.height + kernels.height, memory.height))
    sheet.place(stages, 0, 0)
    sheet.place(kernels, 0, stages.height)
    sheet.place(memory, stages.width, 0)
    return sheet


def _title(origins: Iterable[Origin]) -> str:
    """The types of the operations in a kernel, each once: "MatMul BiasAdd Relu"."""
    return " ".join(dict.fromkeys(origin.type for origin in origins if origin.type))


def flow_picture(name: str, plan: gc.Executable) -> Canvas:
    """The kernels and what flows between them."""
    return draw(flow_of(plan.program), f"One run of {name}", f"{len(plan.kernels)} kernels, one native call; "
                "kernels blue, variables yellow, feeds green, fetches pink")


def blocks_of(plan: gc.Executable) -> list[Block]:
    """The arena's buffers, as the memory map draws them."""
    return [Block("; ".join(b.values), b.offset, b.size, b.first, b.last) for b in plan.memory.buffers]


_NOT_DRAWN = {"constant", "get_tuple_element", "variable_assign"}
_KINDS = {"parameter": "feed", "variable_read": "state"}


def flow_of(program: Program) -> Flow:
    """A box for every node that runs, is fed, read or fetched; constants and the picking of outputs are left out."""
    written: dict[Node, list[str]] = {}
    for node in program.effects:
        written.setdefault(_source(node), []).append(node.attrs.variable)
    drawn = [node for node in program.nodes if node.name not in _NOT_DRAWN]
    place = {node: number for number, node in enumerate(drawn)}
    boxes = [_box(node, program, written.get(node, [])) for node in drawn]
    arrows = [(place[source], place[node]) for node in drawn for source in _sources(node) if source in place]
    for number, node in enumerate(program.outputs):
        if _source(node) in place:
            arrows.append((place[_source(node)], len(boxes)))
            boxes.append(Box((f"fetch {number}", str(node.type)), "result"))
    return Flow(tuple(boxes), tuple(arrows))


def _source(node: Node) -> Node:
    """The node that computes what `node` hands on."""
    while node.name in ("get_tuple_element", "variable_assign"):
        node = node.operands[0]
    return node


def _sources(node: Node) -> Iterator[Node]:
    yield from dict.fromkeys(map(_source, node.operands))


def _box(node: Node, program: Program, writes: Sequence[str]) -> Box:
    """Named for the operations that it computes, or for the placeholder or variable that it is."""
    if node.name in _KINDS:
        name = str(node.attrs.name if node.name == "parameter" else node.attrs.variable)
        return Box((name, str(node.type)), _KINDS[node.name])
    kind = node.attrs.kind if node.name == "fusion" else node.name
    lines = [_title(program.origins.get(node, ())) or kind, f"{kind}: {', '.join(map(str, node.types))}"]
    if writes:
        lines.append(f"writes {min(writes, key=len)}" + (f" + {len(writes) - 1}" if len(writes) > 1 else ""))
    return Box(tuple(lines))
