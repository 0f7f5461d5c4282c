"""The object cache: compiled once, warm in a second process, and never fooled by files that are cut, altered or somebody else's."""
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import llvmlite
import pytest

from graphc.codegen import cache as files
from graphc.codegen.llvm import cache, jit, target

HOST = target.host()


def text(n: int) -> str:
    return f"define i32 @answer() {{\n  ret i32 {n}\n}}\n"


def answer(data: bytes) -> int:
    return int(jit.link("t", [data], {}, ["answer"]).function("answer", ctypes.c_int)())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.o")
    return path


def test_compiles_once_and_then_remembers(folder: Path) -> None:
    store = cache.ObjectCache(folder)
    first = store.object_code(text(3), HOST)
    assert store.object_code(text(3), HOST) is first
    assert store.stats == cache.Stats(memory_hits=1, compiled=1)
    again = cache.ObjectCache(folder)
    assert again.object_code(text(3), HOST) == first
    assert again.stats == cache.Stats(disk_hits=1)
    assert answer(first) == 3


def test_the_key_knows_text_machine_and_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {cache.key_of(text(n), t) for n in (1, 2) for t in target.available()}
    assert len(keys) == 2 * len(target.available())
    monkeypatch.setattr(llvmlite, "__version__", "99.0")
    keys.add(cache.key_of(text(1), HOST))
    monkeypatch.setattr(cache, "CACHE_VERSION", cache.CACHE_VERSION + 1)
    keys.add(cache.key_of(text(1), HOST))
    assert len(keys) == 2 * len(target.available()) + 2


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "swapped", "foreign"])
def test_damaged_files_are_made_again(folder: Path, damage: str) -> None:
    store = cache.ObjectCache(folder)
    good = store.object_code(text(4), HOST)
    path = only_file(folder)
    content = path.read_bytes()
    if damage == "swapped":  # another kernel's file, whole, under this name
        other = cache.ObjectCache(folder.with_name("other"))
        other.object_code(text(5), HOST)
        damaged = only_file(folder.with_name("other")).read_bytes()
    else:
        damaged = {"empty": b"", "cut": content[:-7], "foreign": b"\x7fELF" + content,
                   "flipped": content[:200] + bytes([content[200] ^ 1]) + content[201:]}[damage]
    path.write_bytes(damaged)
    again = cache.ObjectCache(folder)
    data = again.object_code(text(4), HOST)
    assert answer(data) == 4
    assert data == good
    assert again.stats == cache.Stats(compiled=1, rejected=1)
    assert path.read_bytes() == content  # and the file is whole again


def test_a_new_folder_and_its_files_are_private(folder: Path) -> None:
    cache.ObjectCache(folder / "a" / "b").object_code(text(1), HOST)
    assert (folder / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert only_file(folder / "a" / "b").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    with pytest.warns(RuntimeWarning, match=r"others can write it \(mode 07.*chmod go-w"):
        store = cache.ObjectCache(folder)
    assert store.folder is None
    store.object_code(text(1), HOST)
    store.object_code(text(1), HOST)
    assert store.stats == cache.Stats(memory_hits=1, compiled=1)
    assert not list(folder.iterdir())


def test_a_folder_of_somebody_else_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.warns(RuntimeWarning, match="belongs to user"):
        assert cache.ObjectCache(folder).folder is None


def test_a_file_in_the_folder_s_place(folder: Path) -> None:
    folder.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="not a folder"):
        assert cache.ObjectCache(folder).folder is None


def test_a_folder_that_vanishes_warns_once_and_computing_goes_on(folder: Path) -> None:
    store = cache.ObjectCache(folder)
    folder.rmdir()
    with pytest.warns(RuntimeWarning, match="in memory only"):
        assert answer(store.object_code(text(1), HOST)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answer(store.object_code(text(2), HOST)) == 2


def test_the_least_recently_used_files_go_first(folder: Path) -> None:
    store = cache.ObjectCache(folder)
    sizes = []
    for n in range(6):
        store.object_code(text(n), HOST)
        path = folder / f"{cache.key_of(text(n), HOST)}.o"
        os.utime(path, (1_000_000 + n, 1_000_000 + n))
        sizes.append(path.stat().st_size)
    reader = cache.ObjectCache(folder)
    reader.object_code(text(0), HOST)  # makes the oldest the most recently used
    small = cache.ObjectCache(folder, limit_bytes=sum(sizes[:5]))
    small.object_code(text(6), HOST)
    kept = {n for n in range(7) if (folder / f"{cache.key_of(text(n), HOST)}.o").exists()}
    assert {0, 6} <= kept
    assert not {1, 2} & kept
    assert small.stats.evicted == 7 - len(kept)
    assert sum(p.stat().st_size for p in folder.glob("*.o")) <= sum(sizes[:5])


def test_many_writes_stay_within_the_bound(folder: Path) -> None:
    size = len(files._wrap(cache.key_of("", HOST) + ".o", jit.compile_module(text(1), HOST)))
    store = cache.ObjectCache(folder, limit_bytes=5 * size)
    for n in range(30):
        store.object_code(text(n), HOST)
        assert sum(p.stat().st_size for p in folder.glob("*.o")) <= 5 * size + 64
    assert store.stats.evicted >= 25


def test_memory_is_bounded_too(folder: Path) -> None:
    store = cache.ObjectCache(folder, memory_bytes=1)
    for n in (1, 2, 1):
        store.object_code(text(n), HOST)
    assert store.stats == cache.Stats(disk_hits=1, compiled=2)


def test_leftovers_of_killed_writers_are_swept(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    old, fresh = folder / ".part-old", folder / ".part-fresh"
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (1_000_000, 1_000_000))
    cache.ObjectCache(folder).object_code(text(1), HOST)
    assert fresh.exists()
    assert not old.exists()


def test_clear_empties_memory_and_folder(folder: Path) -> None:
    store = cache.ObjectCache(folder)
    store.object_code(text(1), HOST)
    store.clear()
    assert not list(folder.glob("*.o"))
    store.object_code(text(1), HOST)
    assert store.stats == cache.Stats(compiled=1)


def test_threads_share_a_cache(folder: Path) -> None:
    store = cache.ObjectCache(folder)
    answers: list[int] = []

    def work() -> None:
        answers.extend(answer(store.object_code(text(n), HOST)) - n for n in range(8))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0] * 32
    assert len(list(folder.glob("*.o"))) == 8


def test_the_environment_chooses_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GRAPHC_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.default().folder == tmp_path / "home" / ".cache" / "graphc"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.default().folder == tmp_path / "xdg" / "graphc"
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "own"))
    assert cache.default().folder == tmp_path / "own"
    assert cache.default() is cache.default()
    monkeypatch.setenv("GRAPHC_CACHE", "0")
    assert cache.default().folder is None
    monkeypatch.setenv("GRAPHC_CACHE", "1")
    monkeypatch.setenv("GRAPHC_CACHE_MB", "lots")
    with pytest.warns(RuntimeWarning, match="GRAPHC_CACHE_MB must be a number"):
        cache.default()


SECOND_PROCESS = """
from graphc.codegen.llvm import cache, target
for n in range(3):
    cache.object_code("define i32 @answer() {\\n  ret i32 %d\\n}\\n" % n, target.host())
print(cache.stats().compiled, cache.stats().disk_hits)
"""


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    env = os.environ | {"GRAPHC_CACHE_DIR": str(tmp_path / "shared")}
    runs = [subprocess.run([sys.executable, "-c", SECOND_PROCESS], env=env, capture_output=True, text=True, check=True, timeout=60)
            for _ in range(2)]
    assert [run.stdout.split() for run in runs] == [["3", "0"], ["0", "3"]]
