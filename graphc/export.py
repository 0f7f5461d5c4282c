"""`graphc export MODEL`: a model's graph, or the kernels that it became, as a file that other programs open. Stands on top."""
from __future__ import annotations

import argparse
from pathlib import Path

import graphc as gc
from graphc.arguments import Commands, add_model, add_pipeline
from graphc.compiled import compiled
from graphc.exports import FORMATS, export
from graphc.exports.view import View, of_executable, of_graph
from graphc.files import check_writable
from graphc.models import declare


def add_command(commands: Commands) -> None:
    """`graphc export MODEL`."""
    command = commands.add_parser("export", help="write a model's graph or kernels for Graphviz, TensorBoard, Netron or networkx")
    add_model(command)
    add_pipeline(command)
    command.add_argument("--format", required=True, choices=list(FORMATS),
                         help="; ".join(f"{name}: {each.opens}" for name, each in FORMATS.items()))
    command.add_argument("--out", required=True, type=Path, metavar="FILE", help="where to; for tensorboard a folder")
    command.add_argument("--what", choices=("graph", "kernels"), default="graph", help="the operations as declared, or what they were "
                         "fused into (default: %(default)s)")
    command.set_defaults(command=_command)


def _command(options: argparse.Namespace) -> None:
    try:
        main(options.model, options.format, options.out, options.what, options.pipeline)
    except ImportError as error:  # networkx is an extra
        raise ValueError(str(error)) from error


def main(name: str, format_: str, out: Path, what: str = "graph", pipeline: str | gc.Pipeline = "default") -> None:
    """Writes the view `what` of the model `name` to `out`, and says so."""
    if FORMATS[format_].content is not None:
        check_writable(out)  # before the compiler works for nothing
    written = export(_view(name, what, pipeline), format_, out)
    print(f"wrote {written}")


def _view(name: str, what: str, pipeline: str | gc.Pipeline) -> View:
    title = Path(name).stem
    if what == "kernels":
        return of_executable(compiled(name, pipeline), title)
    with gc.Graph().as_default() as graph:
        declare(name)
    return of_graph(graph, title)
