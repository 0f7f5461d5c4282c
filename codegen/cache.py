"""Compiled code made once and kept on disk: what it is made of in, bytes out. Between the printers of all targets and their compilers.

`ObjectCache.get` looks in memory, then in a folder that only its owner can write, and lets the caller's compiler make what is missing; so
equal kernels compile once, and a second process starts without compiling anything.

The folder is $GRAPHC_CACHE_DIR, $XDG_CACHE_HOME/graphc or ~/.cache/graphc. GRAPHC_CACHE=0 switches the folder off (memory stays on);
GRAPHC_CACHE_MB bounds its size (default 512; least recently used files go first). Files are written whole or not at all and carry a
checksum: what was cut short or altered is made again. Machine code is executed, so a folder that others own or can write is refused.
"""
from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
import tempfile
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

_MAGIC = b"graphc object 2\n"
_DIGEST_BYTES = 20
_NAME = re.compile(rf"[0-9a-f]{{{2 * _DIGEST_BYTES}}}\.\w+")  # of a file of ours: its key, and a suffix for what is in it
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

    def since(self, before: Stats) -> dict[str, int]:
        """Where code came from after `before` was noted, in words."""
        return {"compiled": self.compiled - before.compiled, "from disk": self.disk_hits - before.disk_hits,
                "from memory": self.memory_hits - before.memory_hits}


_lock = threading.RLock()  # guards the look-ups of every cache; `fork` waits for it, since a child would find it taken for ever
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
_used: dict[Path | None, int] = {}  # bytes in each folder, as far as this process knows: caches of all kinds count together


class ObjectCache:
    """Compiled code by key, in memory and (unless `folder` is None) in a folder.

    Several processes and several kinds of code may use one folder. Threads take turns to look and to write, not to compile; a kind of
    cache whose compiler has a lock of its own uses that one instead.
    """

    lock: Any = _lock

    def __init__(self, folder: Path | None, limit_bytes: int = _DEFAULT_MB << 20, memory_bytes: int = _MEMORY_BYTES) -> None:
        self.stats = Stats()
        self._folder = None if folder is None else _safe_folder(folder)
        self._limit = limit_bytes
        self._memory_limit = memory_bytes
        self._memory: OrderedDict[str, bytes] = OrderedDict()  # oldest use first
        self._memory_used = 0

    @property
    def folder(self) -> Path | None:
        """Where files are kept; None when in memory only."""
        return self._folder

    def get(self, parts: Sequence[str], suffix: str, make: Callable[[], bytes]) -> tuple[bytes, str]:
        """What `make()` gives for these `parts`, which must be all that it depends on; and where it came from: "compiled", "from disk" or
        "from memory".

        suffix: says what it is (".o"), for the file's name. Threads that miss the same at once all make it. What `make` raises is raised,
        and nothing is kept.
        """
        found = self.find(parts, suffix)
        if found is not None:
            return found
        data = make()
        self.put(parts, suffix, data)
        return data, "compiled"

    def find(self, parts: Sequence[str], suffix: str) -> tuple[bytes, str] | None:
        """What is kept for these `parts`, and where: "from disk" or "from memory"; None where nothing is."""
        key = key_of(parts)
        with self.lock:
            data = self._memory.get(key)
            if data is not None:
                self._memory.move_to_end(key)
                self.stats.memory_hits += 1
                return data, "from memory"
            data = self._read(key + suffix)
            if data is None:
                return None
            self._remember(key, data)
            return data, "from disk"

    def put(self, parts: Sequence[str], suffix: str, data: bytes) -> None:
        """Keeps what was compiled for these `parts`."""
        key = key_of(parts)
        with self.lock:
            self.stats.compiled += 1
            self._write(key + suffix, data)
            self._remember(key, data)

    def clear(self) -> None:
        """Forgets everything, on disk too, and starts counting anew."""
        with self.lock:
            self._memory.clear()
            self._memory_used = 0
            self.stats = Stats()
            for path, _ in self._files():
                path.unlink(missing_ok=True)
            _used.pop(self._folder, None)

    def _remember(self, key: str, data: bytes) -> None:
        self._memory_used += len(data) - len(self._memory.pop(key, b""))
        self._memory[key] = data
        while self._memory_used > self._memory_limit and len(self._memory) > 1:
            self._memory_used -= len(self._memory.popitem(last=False)[1])

    def _read(self, name: str) -> bytes | None:
        """What the file `name` of the folder holds, if it is whole."""
        if self._folder is None:
            return None
        path = self._folder / name
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
        data = _unwrap(name, content)
        if data is None:
            self.stats.rejected += 1
        else:
            self.stats.disk_hits += 1
        return data

    def _write(self, name: str, data: bytes) -> None:
        """Puts a whole file in place at once: readers and other writers see the old one, the new one, or none."""
        if self._folder is None:
            return
        content = _wrap(name, data)
        try:
            handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self._folder)  # mode 0600
            try:
                with open(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, self._folder / name)
            except BaseException:
                os.unlink(temporary)
                raise
            self._make_room(len(content))
        except OSError as error:
            self._give_up(error)

    def _make_room(self, added: int) -> None:
        """Counts what was written, and deletes the least recently used files when the bound is passed."""
        before = _used.get(self._folder)
        if before is not None and before + added <= self._limit:
            _used[self._folder] = before + added
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
        _used[self._folder] = used

    def _files(self) -> list[tuple[Path, os.stat_result]]:
        """The files of compiled code in the folder. Removes what a killed process left half written."""
        files: list[tuple[Path, os.stat_result]] = []
        if self._folder is None:
            return files
        for entry in os.scandir(self._folder):
            try:
                info = entry.stat(follow_symlinks=False)
                if _NAME.fullmatch(entry.name):
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


_Kind = TypeVar("_Kind", bound=ObjectCache)


def default(kind: Callable[..., _Kind]) -> _Kind:
    """The process's cache of this kind (ObjectCache or a subclass) that the environment asks for now (see the module's text)."""
    env = os.environ.get
    return cast(_Kind, _cache_for(kind, env("GRAPHC_CACHE", "1"), env("GRAPHC_CACHE_DIR", ""), env("XDG_CACHE_HOME", ""), env("HOME", ""),
                                  env("GRAPHC_CACHE_MB", "")))


def key_of(parts: Sequence[str]) -> str:
    """A name for all that compiled code depends on: its text, the machine, the compiler."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=_DIGEST_BYTES).hexdigest()


@functools.cache
def _cache_for(kind: Callable[..., ObjectCache], switch: str, explicit: str, xdg: str, home: str, megabytes: str) -> ObjectCache:
    if switch == "0" or not (explicit or xdg or home):
        return kind(None)
    folder = Path(explicit or os.path.join(xdg or os.path.join(home, ".cache"), "graphc"))
    limit = _DEFAULT_MB
    if megabytes.isdigit():
        limit = int(megabytes)
    elif megabytes:
        _warn(f"GRAPHC_CACHE_MB must be a number of megabytes; got {megabytes!r}. Using {_DEFAULT_MB}.")
    return kind(folder, limit << 20)


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


def _wrap(name: str, data: bytes) -> bytes:
    """File content: the magic line, a checksum of the file's name and the data, the data."""
    return _MAGIC + _checksum(name, data) + data


def _unwrap(name: str, content: bytes) -> bytes | None:
    """The data of a file's content; None if it is not what `_wrap` made."""
    start = len(_MAGIC) + _DIGEST_BYTES
    data = content[start:]
    return data if content[:start] == _MAGIC + _checksum(name, data) else None


def _checksum(name: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES, key=name.encode()).digest()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=2)
