"""Object code made once, kept on disk: text of an LLVM module in, object file out. Between the printers and `jit`.

`object_code` is the way in. It looks in memory, then in a folder that only its owner can write, and compiles as a last resort; so equal
kernels compile once, and a second process starts without compiling anything.

The folder is $GRAPHC_CACHE_DIR, $XDG_CACHE_HOME/graphc or ~/.cache/graphc. GRAPHC_CACHE=0 switches the folder off (memory stays on);
GRAPHC_CACHE_MB bounds its size (default 512; least recently used files go first). Files are written whole or not at all and carry a
checksum: what was cut short or altered is made again. Machine code is executed, so a folder that others own or can write is refused.
"""
from __future__ import annotations

import functools
import hashlib
import os
import stat
import tempfile
import time
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import llvmlite

from graphc.codegen.llvm import jit
from graphc.codegen.llvm.target import Target

CACHE_VERSION = 1  # part of every key: raise it when `jit.compile_module` makes other code of the same text
_MAGIC = b"graphc object 1\n"
_DIGEST_BYTES = 20
_SUFFIX = ".o"
_TEMPORARY = ".part-"  # prefix of a file being written
_MEMORY_BYTES = 64 << 20
_DEFAULT_MB = 512
_KEPT = 0.75  # of the bound stays when the folder outgrew it, so that not every write has to tidy up
_RECENT_SECONDS = 3600.0  # how exact "recently used" is: saves a disk write for most reads


@dataclass
class Stats:
    """What happened since the process began, or since `clear`."""

    memory_hits: int = 0
    disk_hits: int = 0
    compiled: int = 0
    rejected: int = 0  # files on disk that were cut short or altered
    evicted: int = 0


class ObjectCache:
    """Object files by key, in memory and (unless `folder` is None) in a folder.

    Several processes may use one folder. Threads take turns: each look-up holds the compiler's lock, so nothing is compiled twice.
    """

    def __init__(self, folder: Path | None, limit_bytes: int = _DEFAULT_MB << 20, memory_bytes: int = _MEMORY_BYTES) -> None:
        self.stats = Stats()
        self._folder = None if folder is None else _safe_folder(folder)
        self._limit = limit_bytes
        self._memory_limit = memory_bytes
        self._memory: OrderedDict[str, bytes] = OrderedDict()  # oldest use first
        self._memory_used = 0
        self._disk_used: int | None = None  # unknown before the first write

    @property
    def folder(self) -> Path | None:
        """Where files are kept; None when in memory only."""
        return self._folder

    def object_code(self, text: str, target: Target) -> bytes:
        """The object file of the LLVM module `text` for `target`; jit.CodeError as `jit.compile_module`."""
        key = key_of(text, target)
        with jit.lock:
            data = self._memory.get(key)
            if data is not None:
                self._memory.move_to_end(key)
                self.stats.memory_hits += 1
                return data
            data = self._read(key)
            if data is None:
                data = jit.compile_module(text, target)
                self.stats.compiled += 1
                self._write(key, data)
            self._remember(key, data)
            return data

    def clear(self) -> None:
        """Forgets everything, on disk too, and starts counting anew."""
        with jit.lock:
            self._memory.clear()
            self._memory_used, self._disk_used = 0, None
            self.stats = Stats()
            for path, _ in self._files():
                path.unlink(missing_ok=True)

    def _remember(self, key: str, data: bytes) -> None:
        self._memory[key] = data
        self._memory_used += len(data)
        while self._memory_used > self._memory_limit and len(self._memory) > 1:
            self._memory_used -= len(self._memory.popitem(last=False)[1])

    def _read(self, key: str) -> bytes | None:
        """What the folder has under `key`, if it is whole."""
        if self._folder is None:
            return None
        path = self._folder / (key + _SUFFIX)
        try:
            with open(path, "rb") as file:
                content = file.read()
                age = time.time() - os.fstat(file.fileno()).st_mtime
            if age > _RECENT_SECONDS:
                os.utime(path)  # a file's mtime is when it was last used
        except FileNotFoundError:
            return None
        except OSError as error:
            self._give_up(error)
            return None
        data = _unwrap(key, content)
        if data is None:
            self.stats.rejected += 1
        else:
            self.stats.disk_hits += 1
        return data

    def _write(self, key: str, data: bytes) -> None:
        """Puts a whole file in place at once: readers and other writers see the old one, the new one, or none."""
        if self._folder is None:
            return
        content = _wrap(key, data)
        try:
            handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder)  # mode 0600
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, self._folder / (key + _SUFFIX))
            except BaseException:
                os.unlink(temporary)
                raise
            self._make_room(len(content))
        except OSError as error:
            self._give_up(error)

    def _make_room(self, added: int) -> None:
        """Counts what was written, and deletes the least recently used files when the bound is passed."""
        if self._disk_used is not None and self._disk_used + added <= self._limit:
            self._disk_used += added
            return
        # The first write, or the bound seems reached: other processes write here as well, so look.
        files = sorted(self._files(), key=lambda file: file[1].st_mtime_ns)
        used = sum(info.st_size for _, info in files)
        room = self._limit if used <= self._limit else int(self._limit * _KEPT)
        for path, info in files[:-1]:  # the last is what was just written
            if used <= room:
                break
            path.unlink(missing_ok=True)
            used -= info.st_size
            self.stats.evicted += 1
        self._disk_used = used

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """The object files in the folder. Removes what a killed process left half written."""
        files: list[tuple[Path, os.stat_result]] = []
        if self._folder is None:
            return files
        for entry in os.scandir(self._folder):
            try:
                info = entry.stat(follow_symlinks=False)
                if entry.name.endswith(_SUFFIX):
                    files.append((Path(entry.path), info))
                elif entry.name.startswith(_TEMPORARY) and time.time() - info.st_mtime > _RECENT_SECONDS:
                    os.unlink(entry.path)
            except FileNotFoundError:  # another process was faster
                continue
        return files

    def _give_up(self, error: OSError) -> None:
        """A full or failing disk must not stop a computation."""
        _warn(f"graphc keeps compiled code in memory only: cannot use {self._folder}: {error.strerror or error}")
        self._folder = None


def object_code(text: str, target: Target) -> bytes:
    """The object file of the LLVM module `text` for `target`, from the process's cache. jit.CodeError as `jit.compile_module`."""
    return default().object_code(text, target)


def stats() -> Stats:
    """Hits, misses and evictions of the process's cache."""
    return default().stats


def default() -> ObjectCache:
    """The cache that the environment asks for now (see the module's text)."""
    env = os.environ.get
    return _cache_for(env("GRAPHC_CACHE", "1"), env("GRAPHC_CACHE_DIR", ""), env("XDG_CACHE_HOME", ""), env("HOME", ""),
                      env("GRAPHC_CACHE_MB", ""))


def key_of(text: str, target: Target) -> str:
    """A name for all that the object code depends on: the text, the machine, the compiler."""
    parts = (str(CACHE_VERSION), llvmlite.__version__, target.name, target.cpu, target.features, text)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=_DIGEST_BYTES).hexdigest()


@functools.cache
def _cache_for(switch: str, explicit: str, xdg: str, home: str, megabytes: str) -> ObjectCache:
    if switch == "0" or not (explicit or xdg or home):
        return ObjectCache(None)
    folder = Path(explicit or os.path.join(xdg or os.path.join(home, ".cache"), "graphc"))
    limit = _DEFAULT_MB
    if megabytes.isdigit():
        limit = int(megabytes)
    elif megabytes:
        _warn(f"GRAPHC_CACHE_MB must be a number of megabytes; got {megabytes!r}. Using {_DEFAULT_MB}.")
    return ObjectCache(folder, limit << 20)


def _safe_folder(folder: Path) -> Path | None:
    """`folder`, made if it was missing; None, with a warning, if somebody else could put code there."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
        info = folder.stat()
    except OSError as error:
        _warn(f"graphc keeps compiled code in memory only: cannot use {folder}: {error.strerror or error}")
        return None
    fault = ""
    if not stat.S_ISDIR(info.st_mode):
        fault = "it is not a folder"
    elif info.st_uid != os.geteuid():
        fault = f"it belongs to user {info.st_uid}, and machine code from it would run as user {os.geteuid()}"
    elif info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        fault = f"others can write it (mode {stat.S_IMODE(info.st_mode):04o}; chmod go-w makes it safe)"
    if fault:
        _warn(f"graphc keeps compiled code in memory only: {folder} is refused: {fault}")
        return None
    return folder


def _wrap(key: str, data: bytes) -> bytes:
    """File content: the magic line, a checksum of key and data, the data."""
    return _MAGIC + _checksum(key, data) + data


def _unwrap(key: str, content: bytes) -> bytes | None:
    """The data of a file's content; None if it is not what `_wrap` made."""
    start = len(_MAGIC) + _DIGEST_BYTES
    data = content[start:]
    return data if content[:start] == _MAGIC + _checksum(key, data) else None


def _checksum(key: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=bytes.fromhex(key)).digest()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
