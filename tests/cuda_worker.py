"""Many short scripts on fake GPUs, each in a process of its own, without waiting each time for Python to import everything.

A `Worker` is one process with the libraries on its path and the packages imported, but no driver started. For each script it forks a child,
which sets the script's environment, runs it, and ends as any Python process does. (`tests.cuda_host.device.in_subprocess` starts afresh.)
"""
from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.cuda_host import device, pycuda_build

_SERVER = """
import json, os, sys
{prelude}
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in ((1, job["output"]), (2, job["errors"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(job["environment"])
        exec(compile(job["code"], "script.py", "exec"), globals())
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


# What every script of `run` may count on.
PRELUDE = """
import gc as collector, os, threading
import numpy as np
import graphc as gc
from graphc.core import errors
from graphc.runtime.cuda import driver, transfers
from graphc.runtime.cuda.device import device
from graphc.runtime.feeds import SlowFeedWarning
from tests.cuda_handmade import Session, executable, reader
from tests.cuda_host.device import ILLEGAL_ADDRESS, counters, fail_launch

LARGE, CHUNK = transfers.LARGE, transfers.CHUNK = 4096, 8192  # bytes: so that small arrays are large

def alive():
    c = counters()
    return c.live_allocations, c.live_pinned, c.live_streams, c.live_events, c.live_graphs

def error_of(what, *arguments):
    try:
        what(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "no error"
"""


def run(code: str, **options: Any) -> str:
    """What a script prints; it must end well, and write nothing to stderr. options: as `Worker.run`."""
    done = _worker().run(code, **options)
    assert (done.status, done.errors) == (0, ""), f"exit status {done.status}\n{done.output}\n{done.errors}"
    return done.output


@cache
def _worker() -> Worker:
    worker = Worker(PRELUDE)
    atexit.register(worker.close)
    return worker


@dataclass(frozen=True)
class Done:
    """How a script ended, and what it wrote."""

    status: int
    output: str
    errors: str


class Worker:
    """prelude: what every script may count on; it must not start the driver."""

    def __init__(self, prelude: str) -> None:
        folders = [str(device.driver_folder()), str(device.cublaslt_folder())]
        environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders),
                       "PYTHONPATH": os.pathsep.join([str(device.ROOT), *pycuda_build.pycuda_path()])}
        server = _SERVER.format(prelude=device.PRELUDE + prelude)
        self._process = subprocess.Popen([sys.executable, "-c", server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                         env=environment)
        self._folder = tempfile.TemporaryDirectory()

    def run(self, code: str, devices: int = 1, memory: int = 8 << 30, **environment: str) -> Done:
        """Runs `code`, indented as one likes, with so many devices of `memory` bytes each."""
        output, errors = (os.path.join(self._folder.name, name) for name in ("output", "errors"))
        variables = {"FAKE_CUDA_DEVICES": str(devices), "FAKE_CUDA_MEMORY": str(memory), **environment}
        job = {"code": textwrap.dedent(code), "environment": variables, "output": output, "errors": errors}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        texts = []
        for path in (output, errors):
            with open(path) as file:
                texts.append(file.read())
            os.remove(path)
        return Done(status, *texts)

    def close(self) -> None:
        self._process.communicate()  # closes its stdin: it ends
        self._folder.cleanup()
