"""The command line: `graphc demo`, `graphc dump`, `graphc bench`, `graphc opt`, `graphc gpu`. The last room, on top of all."""
from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import graphc as gc
from graphc import bench, demo, dump, dump_cuda, opt
from graphc.core.errors import OpError
from graphc.models import MODELS
from graphc.runtime.cuda.report import report

_MODEL = f"one of {', '.join(MODELS)}, or a Python file that defines build() -> (fetches, feeds)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 where it succeeded, 1 after printing what was wrong, 2 for a wrong command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no box-drawing characters shows question marks
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has seen enough
    except (ValueError, OSError, OpError) as error:
        print(f"graphc: {error}", file=sys.stderr)
        return 1
    return 0


def _dump(options: argparse.Namespace) -> None:
    if options.out is not None and not options.target:
        raise ValueError("--out takes CUDA C: say for which GPU, as in --target sm_90")
    if options.target and (options.llvm or options.svg is not None or options.flow is not None):
        raise ValueError("--llvm, --svg and --flow show what a CPU runs: leave --target out")
    if options.target and not options.kernels and options.stage is None:
        dump_cuda.main(options.model, options.pipeline, options.target, options.products, options.out)
    elif options.svg is None and options.flow is None:
        dump.main(options.model, options.pipeline, options.stage, options.kernels, options.llvm, options.target, options.products)
    for file, flow in ((options.svg, False), (options.flow, True)):
        if file is not None:
            dump.draw_to(file, options.model, options.pipeline, flow)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphc", description="A compiler for graphs declared in the words of TensorFlow 1.")
    parser.add_argument("--version", action="version", version=f"graphc {gc.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("demo", help="train a network on real handwritten digits and show what the compiler did")
    command.add_argument("--epochs", type=int, default=demo.EPOCHS, help="passes over the training digits (default: %(default)s)")
    command.add_argument("--device", metavar="DEVICE", help="where it trains: cpu, gpu, /gpu:1 (default: cpu)")
    command.set_defaults(command=lambda o: demo.main(o.epochs, o.device))

    command = commands.add_parser("dump", help="print what every stage made of a model")
    command.add_argument("model", metavar="MODEL", help=_MODEL)
    command.add_argument("--pipeline", choices=bench.PIPELINES, default="default")
    command.add_argument("--stage", metavar="NAME", help="this stage only")
    command.add_argument("--kernels", action="store_true", help="the kernels instead, in the kernel language")
    command.add_argument("--llvm", action="store_true", help="the kernels instead, as LLVM text")
    command.add_argument("--target", default="", metavar="ARCH", help="for a GPU such as sm_90, which need not be there: as CUDA C, "
                         "or with --stage and --kernels what it is made from")
    command.add_argument("--products", choices=("auto", "cublaslt", "generated"), default="auto", help="with --target: who multiplies "
                         "matrices, cublasLt (which need not be here) or generated kernels (default: cublasLt if it is here)")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="with --target: write a .cu file for each launch, and an index")
    command.add_argument("--svg", type=Path, metavar="FILE", help="write a picture of the stages and the memory instead")
    command.add_argument("--flow", type=Path, metavar="FILE", help="write a picture of the kernels and their values (.svg or .dot)")
    command.set_defaults(command=_dump)

    command = commands.add_parser("bench", help="time a model fused, unfused and unoptimised")
    command.add_argument("model", metavar="MODEL", help=_MODEL)
    command.add_argument("--seconds", type=float, default=2.0, help="how long to measure (default: %(default)s)")
    command.add_argument("--threads", type=int, default=0, help="threads in one run (default: one per core)")
    command.add_argument("--device", metavar="DEVICE", help="where it runs: cpu, gpu, /gpu:1 (default: cpu)")
    command.set_defaults(command=lambda o: bench.main(o.model, o.seconds, o.threads, o.device))

    command = commands.add_parser("opt", help="apply passes to the text of a program (as `graphc dump MODEL --stage NAME` prints it)")
    command.add_argument("--pass", dest="passes", action="append", required=True, metavar="NAME", help="a pass; may be given again")
    command.add_argument("file", type=Path, metavar="FILE", help="the program's text, - for standard input")
    command.set_defaults(command=lambda o: opt.main(o.passes, o.file))

    command = commands.add_parser("gpu", help="say what this machine has of what a GPU needs, and what to do about the rest")
    command.set_defaults(command=lambda o: print(report()))
    return parser
