"""Object code of LLVM modules, made once: text of a module in, object file out. Between the printers and `jit`.

`object_code` is the way in: it asks the process's cache (`codegen/cache.py`: in memory, then on disk) and compiles as a last resort.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite

from graphc.codegen import cache
from graphc.codegen.cache import Stats
from graphc.codegen.llvm import jit
from graphc.codegen.llvm.target import Target

__all__ = ["CACHE_VERSION", "ObjectCache", "Stats", "default", "key_of", "object_code", "stats"]

CACHE_VERSION = 1  # part of every key: raise it when `jit.compile_module` makes other code of the same text


class ObjectCache(cache.ObjectCache):
    """Object files by module and machine. Each look-up holds the compiler's lock, so nothing is compiled twice."""

    lock: Any = jit.lock

    def object_code(self, text: str, target: Target) -> bytes:
        """The object file of the LLVM module `text` for `target`; jit.CodeError as `jit.compile_module`."""
        with self.lock:
            data, _ = self.get(_parts(text, target), ".o", lambda: jit.compile_module(text, target))
            return data


def object_code(text: str, target: Target) -> bytes:
    """The object file of the LLVM module `text` for `target`, from the process's cache. jit.CodeError as `jit.compile_module`."""
    return default().object_code(text, target)


def stats() -> Stats:
    """Hits, misses and evictions of the process's cache."""
    return default().stats


def default() -> ObjectCache:
    """The process's cache, in the folder that the environment asks for now."""
    return cache.default(ObjectCache)


def key_of(text: str, target: Target) -> str:
    """A name for all that the object code depends on: the text, the machine, the compiler."""
    return cache.key_of(_parts(text, target))


def _parts(text: str, target: Target) -> Sequence[str]:
    return str(CACHE_VERSION), llvmlite.__version__, target.name, target.cpu, target.features, text
