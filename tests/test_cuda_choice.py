"""Measured choice: the fastest candidate is found, kept for the machine and the product it was measured with, and never measured twice."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graphc.codegen import cache
from graphc.codegen.cuda.gemm import Gemm, Matrix
from graphc.core import dtypes
from graphc.runtime.cuda.choice import CLEARLY, HOPELESS, ROUNDS, Choice, Machine, choose, fastest, measure, text_of
from graphc.runtime.cuda.cublaslt import Candidate, CublasError, Plan

F32, F16 = dtypes.float32, dtypes.float16
GEMM = Gemm(64, 32, 16, 1, F32, F32, Matrix(0, 0, 16, 0), Matrix(1, 0, 32, 0), Matrix(3, 0, 32, 0), None, Matrix(2, 0, 32, 0), None, 1.0,
            0.0, "BIAS")
H200 = Machine("NVIDIA H200", "13000", 130000)


class Clock:
    """A device whose runs take given milliseconds; counts the runs of each candidate. A time of None: the library refuses."""

    def __init__(self, **milliseconds: float | None) -> None:
        self.milliseconds = milliseconds
        self.runs: list[str] = []
        self.plan = cast(Plan, SimpleNamespace(
            gemm=GEMM, chosen=0, candidates=tuple(Candidate(n, 0, 1.0) for n in range(len([m for m in milliseconds if m != "generated"])))))
        self.current = ""

    def library(self) -> None:
        self.current = f"library_{self.plan.chosen}"
        if self.milliseconds[self.current] is None:
            raise CublasError("cublasLtMatmul", 15)

    def generated(self) -> None:
        self.current = "generated"

    def time_ms(self, run: Callable[[], object]) -> float:
        run()
        self.runs.append(self.current)
        found = self.milliseconds[self.current]
        assert found is not None
        return found

    def choose(self, machine: Machine = H200, precision: str = "float32", symbol: str = "dot_1") -> Choice:
        return choose(self.plan, machine, precision, symbol, self.library, self.generated, self.time_ms)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own."""
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("GRAPHC_CACHE", "1")
    monkeypatch.delenv("GRAPHC_CUDA_TUNE", raising=False)
    yield tmp_path / "cache"
    cache._cache_for.cache_clear()


def forget() -> None:
    """What another process would know: the disk alone."""
    cache._cache_for.cache_clear()


@pytest.mark.parametrize(("times", "expected"), [
    ((1.0, 2.0, 3.0), 0), ((3.0, 1.0, 2.0), 1), ((3.0, 2.0, 1.0), 2), ((1.0, 0.98, 1.0), 0), ((1.0, 0.96, 1.0), 1), ((0.0, 0.0, 0.0), 0)])
def test_the_fastest_is_chosen_and_the_first_among_equals(times: tuple[float, float, float], expected: int) -> None:
    clock = Clock(library_0=times[0], library_1=times[1], generated=times[2])
    choice = clock.choose()
    names = ["cublasLt 0", "cublasLt 1", "generated"]
    assert choice.name == names[expected]
    assert choice.is_library == (expected < 2)
    assert choice.milliseconds == dict(zip(names, times, strict=True))
    assert choice.origin == "measured"
    assert clock.plan.chosen == expected % 2


def test_a_choice_is_measured_once() -> None:
    first = Clock(library_0=2.0, library_1=1.0, generated=3.0)
    assert first.choose().origin == "measured"
    again = Clock(library_0=1.0, library_1=2.0, generated=3.0)  # the machine is slower today: nobody looks
    assert again.choose() == Choice("cublasLt 1", {"cublasLt 0": 2.0, "cublasLt 1": 1.0, "generated": 3.0}, "from memory")
    forget()
    assert again.choose().origin == "from disk"
    assert again.plan.chosen == 1
    assert again.runs == []


@pytest.mark.parametrize("change", [
    lambda clock: clock.choose(replace(H200, device="NVIDIA A100")), lambda clock: clock.choose(replace(H200, driver="13010")),
    lambda clock: clock.choose(replace(H200, library=130100)), lambda clock: clock.choose(precision="tfloat32"),
    lambda clock: clock.choose(symbol="dot_2")], ids=["device", "driver", "library", "precision", "generated kernel"])
def test_another_machine_or_kernel_is_measured_anew(change: Callable[[Clock], Choice]) -> None:
    Clock(library_0=2.0, library_1=1.0, generated=3.0).choose()
    assert change(Clock(library_0=1.0, library_1=2.0, generated=3.0)).origin == "measured"


def test_another_number_of_candidates_is_measured_anew() -> None:
    Clock(library_0=2.0, library_1=1.0, generated=3.0).choose()
    assert Clock(library_0=2.0, generated=3.0).choose().origin == "measured"


@pytest.mark.parametrize("damage", [
    pytest.param(lambda content: content[:-3], id="cut short"), pytest.param(lambda content: b"", id="empty"),
    pytest.param(lambda content: content.replace(b"cublasLt 1", b"cublasLt 0"), id="altered"),
    pytest.param(lambda content: b"nonsense", id="nonsense")])
def test_a_damaged_file_is_made_again(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    Clock(library_0=2.0, library_1=1.0, generated=3.0).choose()
    (path,) = folder.glob("*.choice")
    path.write_bytes(damage(path.read_bytes()))
    forget()
    again = Clock(library_0=2.0, library_1=3.0, generated=1.0).choose()
    assert (again.name, again.origin) == ("generated", "measured")
    forget()
    assert Clock(library_0=1.0, library_1=2.0, generated=3.0).choose().name == "generated"
    assert len(list(folder.glob("*"))) == 1


@pytest.mark.parametrize("setting", [("GRAPHC_CUDA_TUNE", "0"), ("GRAPHC_CACHE", "0")])
def test_without_measuring_the_library_decides(setting: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*setting)
    clock = Clock(library_0=2.0, library_1=1.0, generated=0.5)
    clock.plan.chosen = 1
    assert clock.choose() == Choice("cublasLt 0", {}, "the library's guess")
    assert clock.runs == []
    assert clock.plan.chosen == 0


def test_what_the_library_refuses_after_all_is_no_candidate() -> None:
    clock = Clock(library_0=None, library_1=2.0, generated=3.0)
    choice = clock.choose()
    assert choice.name == "cublasLt 1"
    assert "cublasLt 0" not in choice.milliseconds
    assert Clock(library_0=None, library_1=None, generated=3.0).choose(symbol="other").name == "generated"


def test_where_everything_fails_the_error_is_raised_and_nothing_kept(folder: Path) -> None:
    def refuse() -> None:
        raise CublasError("cublasLtMatmul", 13)

    def timed(run: Callable[[], object]) -> float:
        run()
        return 1.0

    with pytest.raises(CublasError, match="a kernel of it failed"):
        measure({"a": refuse, "b": refuse}, timed)
    clock = Clock(library_0=1.0, generated=1.0)

    def lost(run: Callable[[], object]) -> float:
        raise RuntimeError("the context is lost")

    with pytest.raises(RuntimeError, match="the context is lost"):
        choose(clock.plan, H200, "float32", "dot_1", clock.library, clock.generated, lost)
    assert list(folder.glob("*")) == []


def test_slow_candidates_are_not_timed_again() -> None:
    clock = Clock(library_0=1.0, library_1=1.0 * HOPELESS + 0.1, generated=1.2)
    clock.choose()
    assert [clock.runs.count(name) for name in ("library_0", "library_1", "generated")] == [ROUNDS + 1, 2, ROUNDS + 1]


def test_the_shortest_time_counts_and_the_first_run_does_not() -> None:
    """Candidate a: slow at first, then disturbed now and then. Candidate b: steady."""
    times: dict[str, list[float]] = {"a": [90.0, 3.0, 1.0, 3.0, 3.0, 3.0], "b": [0.1, 2.0, 2.0, 2.0, 2.0, 2.0]}
    measured = measure({"a": lambda: "a", "b": lambda: "b"}, lambda run: times[cast(Any, run())].pop(0))
    assert measured == {"a": 1.0, "b": 2.0}
    assert fastest(measured) == "a"
    assert CLEARLY < 1 < HOPELESS


def test_the_key_names_all_that_speed_depends_on() -> None:
    variants = [
        GEMM, replace(GEMM, m=65), replace(GEMM, n=33), replace(GEMM, k=17), replace(GEMM, batch=2), replace(GEMM, rounds=2),
        replace(GEMM, b=replace(GEMM.b, round_stride=512)), replace(GEMM, dtype=F16),
        replace(GEMM, out_dtype=F16), replace(GEMM, epilogue="RELU_BIAS"), replace(GEMM, a=replace(GEMM.a, leading=17)),
        replace(GEMM, a=replace(GEMM.a, transposed=True)), replace(GEMM, b=replace(GEMM.b, batch_stride=512)), replace(GEMM, bias=None),
        replace(GEMM, c=GEMM.d), replace(GEMM, aux=GEMM.d), replace(GEMM, d=replace(GEMM.d, offset=1))]  # fmt: skip
    assert len({text_of(gemm) for gemm in variants}) == len(variants)
    assert text_of(replace(GEMM, a=replace(GEMM.a, parameter=7), alpha=0.5, d=replace(GEMM.d, offset=64))) == text_of(GEMM)
