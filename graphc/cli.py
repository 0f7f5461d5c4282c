"""The command line. The last room, on top of all: each command's module adds its own options (`add_command`) and does the work."""
from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

import graphc as gc
from graphc import bench, bisecting, demo, dump, export, gpu, opt, profile, report
from graphc.core.errors import OpError

COMMANDS = (demo, dump, export, bench, profile, report, bisecting, opt, gpu)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 where it succeeded, 1 where it found an error (`graphc bisect`), 2 after one line that says what was wrong with
    the command line or with what it names, 130 where somebody interrupted it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no box-drawing characters shows question marks
    try:
        options = _parser().parse_args(arguments)
        code = options.command(options)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        sys.stderr.close()  # the reader (`| head`) has seen enough
    except KeyboardInterrupt:
        print("graphc: interrupted", file=sys.stderr)
        return 130  # as of a program that SIGINT ended
    except (ValueError, OSError, OpError) as error:
        print(f"graphc: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graphc", description="A compiler for graphs declared in the words of TensorFlow 1.")
    parser.add_argument("--version", action="version", version=f"graphc {gc.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_command(commands)
    return parser
