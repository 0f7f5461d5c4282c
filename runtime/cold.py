"""Compiling as if for the first time: what the process remembers and the object cache out of the way, then back. For `graphc.benchmark`."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from graphc.codegen.llvm import cache
from graphc.runtime.planned import Remembered

_FOLDER = "GRAPHC_CACHE_DIR"


@contextmanager
def cold() -> Iterator[None]:
    """A context in which no step and no machine code has been compiled before; what is compiled within it serves within it alone.

    The object cache is an empty folder meanwhile, for all threads of the process: they only compile more than they had to.
    """
    with ExitStack() as stack:
        for remembered in Remembered.everywhere:
            stack.enter_context(remembered.forgotten())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="graphc-cold-"))
        before = os.environ.get(_FOLDER)
        os.environ[_FOLDER] = folder
        try:
            yield
        finally:
            cache.default().clear()
            if before is None:
                del os.environ[_FOLDER]
            else:
                os.environ[_FOLDER] = before
