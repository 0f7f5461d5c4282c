"""Aligned memory, and the refusal of sizes that the machine does not have before anything is allocated."""
from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphc.core import dtypes
from graphc.core.errors import ResourceExhaustedError
from graphc.runtime import arena


@given(shape=st.lists(st.integers(0, 7), max_size=4), dtype=st.sampled_from(dtypes.ALL))
def test_arrays_begin_on_a_cache_line(shape: list[int], dtype: dtypes.DType) -> None:
    a = arena.aligned_empty(shape, dtype.np_dtype)
    assert a.ctypes.data % 64 == 0
    assert (type(a), a.shape, a.dtype) == (np.ndarray, tuple(shape), dtype.np_dtype)
    assert a.dtype is dtype.np_dtype
    assert a.flags.c_contiguous
    assert a.flags.writeable
    a[...] = 1
    assert np.all(a == np.ones(shape, dtype.np_dtype))


def test_an_arena() -> None:
    a = arena.allocate_arena(1001)
    assert (a.shape, a.dtype, a.ctypes.data % 64) == ((1001,), np.dtype(np.uint8), 0)
    assert arena.allocate_arena(0).size == 0


@pytest.mark.parametrize("shape", [(1 << 60,), (1 << 40, 1 << 40), (3, 1 << 50)])
def test_absurd_sizes_are_refused_before_allocation(shape: tuple[int, ...]) -> None:
    tracemalloc.start()
    with pytest.raises(ResourceExhaustedError) as info:
        arena.aligned_empty(shape, np.float32, "variable 'w'")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    message = str(info.value)
    assert message.startswith(f"Out of memory: variable 'w' of float32[{', '.join(map(str, shape))}] needs ")
    assert "PiB, and this machine has " in message


def test_a_little_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arena, "available_bytes", lambda: 20 << 20)
    assert arena.allocate_arena(20 << 20).size == 20 << 20
    with pytest.raises(ResourceExhaustedError, match=r"the arena of uint8\[20971521\] needs 20.0 MiB, and this machine has 20.0 MiB"):
        arena.allocate_arena((20 << 20) + 1)


def test_what_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    info.write_text("MemTotal:  900 kB\nMemAvailable:  500 kB\nSwapFree:  20 kB\n")
    monkeypatch.setattr(arena, "_MEMINFO", info)
    monkeypatch.setattr(arena, "_GROUP_LIMITS", (limit,))
    assert arena.available_bytes() == 520 * 1024
    limit.write_text("max\n")
    assert arena.available_bytes() == 520 * 1024
    limit.write_text("4096\n")
    assert arena.available_bytes() == 4096
    info.unlink()
    limit.unlink()
    assert arena.available_bytes() == 1 << 47


def test_this_machine_has_memory() -> None:
    assert 1 << 20 < arena.available_bytes() < 1 << 50


@pytest.mark.parametrize(("nbytes", "text"), [
    (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (1 << 50, "1.0 PiB"), (1 << 62, "4096.0 PiB"),
])
def test_readable_sizes(nbytes: int, text: str) -> None:
    assert arena.readable(nbytes) == text
