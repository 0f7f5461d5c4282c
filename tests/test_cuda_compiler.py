"""CUDA C to cubins: what each compiler makes, what is remembered, registers and occupancy, what an error says. Needs no GPU."""
from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from graphc.codegen import cache
from graphc.codegen.cuda import compiler, nvcc, nvrtc, toolchain
from graphc.codegen.cuda.compiler import NoCudaCompiler, compile_cuda, compile_many, usable_compiler
from graphc.codegen.cuda.nvcc import Nvcc
from graphc.codegen.cuda.nvrtc import Nvrtc
from graphc.codegen.cuda.resources import Resources, occupancy, resident_blocks, resources_of
from graphc.codegen.cuda.toolchain import CudaCompileError, architecture_option
from graphc.codegen.gpu import gpu_for

ELF = b"\x7fELF"
HEADER = "#pragma once\n#define TWICE(x) ((x) + (x))\n"
TEXT = """#include "graphc.cuh"

// dense/Relu (train.py:7)
extern "C" __global__ void __launch_bounds__(256) scale(const float* x, float* y) {
  __shared__ float row[256];
  row[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = TWICE(row[255 - threadIdx.x]);
}
"""


@pytest.fixture
def header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A header of the tests' own, and compilers that include it."""
    path = tmp_path / "header" / "graphc.cuh"
    path.parent.mkdir()
    path.write_text(HEADER)
    monkeypatch.setattr(compiler, "COMPILERS", [Nvrtc(path), Nvcc(path)])
    monkeypatch.setattr(compiler, "_header_text", path.read_text)
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    return path


def fresh_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a second process would find it: the folder with its files, nothing in memory."""
    again = cache.ObjectCache(tmp_path / "cache")
    monkeypatch.setattr(compiler, "default", lambda kind: again)


def stats() -> cache.Stats:
    """What the process's cache of cubins has done."""
    return compiler.default(cache.ObjectCache).stats


# What a compiler makes -------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90"])
def test_nvrtc_makes_machine_code_and_says_what_it_takes(header: Path, arch: str) -> None:
    image, log = Nvrtc(header).compile(TEXT, arch)
    assert image.startswith(ELF)
    used = resources_of(log)["scale"]
    assert used.shared_bytes == 4 * 256
    assert 4 <= used.registers <= 32
    assert used.spill_bytes == used.local_bytes == 0


@pytest.mark.skipif(nvcc.find() is None, reason="no nvcc here: its script of the same name below stands for it")
def test_nvcc_makes_the_same_of_it(header: Path) -> None:
    image, log = Nvcc(header).compile(TEXT, "sm_90")
    assert image.startswith(ELF)
    assert resources_of(log)["scale"].shared_bytes == 4 * 256


def test_names_carry_versions(header: Path) -> None:
    kind, version = Nvrtc(header).name.split()
    assert kind == "NVRTC"
    assert len(version.split(".")) >= 2
    assert all(part.isdigit() for part in version.split("."))


@pytest.mark.parametrize("arch", ["sm_99", "sm_999"])
def test_an_architecture_newer_than_the_compiler_gets_ptx(header: Path, arch: str) -> None:
    cubin = compile_cuda(TEXT, arch)
    assert b".visible .entry scale" in cubin.image
    assert cubin.image.endswith(b"\0")
    assert cubin.resources == {}


def test_an_architecture_older_than_the_compiler_is_refused(header: Path) -> None:
    with pytest.raises(CudaCompileError, match=r"NVRTC .* refuses generated code for sm_60:\nNVRTC .* compiles for sm_\d+ and newer"):
        compile_cuda(TEXT, "sm_60")


def test_the_option_for_an_architecture() -> None:
    known = (90, 75, 80)
    assert architecture_option("sm_80", known, "x") == ("sm_80", True)
    assert architecture_option("sm_86", known, "x") == ("compute_80", False)
    assert architecture_option("sm_120", known, "x") == ("compute_90", False)


def test_registers_that_run_out_and_stacks_are_seen(header: Path) -> None:
    many = "\n".join(f"  float v{n} = x[{n} * 1024 + threadIdx.x];" for n in range(80))
    mixed = "\n".join(f"  y[{n} * 1024 + threadIdx.x] = v{n} * v{(7 * n + 3) % 80} + v{79 - n};" for n in range(80))
    text = ('#include "graphc.cuh"\n'
            f'extern "C" __global__ void __launch_bounds__(1024, 2) crowded(const float* x, float* y) {{\n{many}\n{mixed}\n}}\n'
            'extern "C" __global__ void stacked(const int* x, float* y) {\n'
            "  float v[32];\n  for (int n = 0; n < 32; ++n) v[x[n]] = y[n];\n  y[threadIdx.x] = v[x[threadIdx.x]];\n}\n")
    found = compile_cuda(text, "sm_80").resources
    assert found["crowded"].spill_bytes > 0
    assert found["stacked"] == Resources(found["stacked"].registers, 0, 0, 128)


@pytest.mark.parametrize("processors", [1, 4])
def test_many_are_compiled_side_by_side(header: Path, monkeypatch: pytest.MonkeyPatch, processors: int) -> None:
    monkeypatch.setattr(compiler.os, "sched_getaffinity", lambda process: set(range(processors)))
    sizes = [64, 96, 128, 64]
    made = compile_many([TEXT.replace("256", str(size)) for size in sizes], "sm_90")
    assert [cubin.resources["scale"].shared_bytes for cubin in made] == [4 * size for size in sizes]
    assert compile_many([], "sm_90") == []
    with pytest.raises(CudaCompileError, match="identifier \"column\" is undefined"):
        compile_many([TEXT, TEXT.replace("TWICE(row", "TWICE(column")], "sm_90")


def test_the_header_that_kernels_include_compiles_alone() -> None:
    cubin = compile_cuda('#include "graphc.cuh"\nextern "C" __global__ void nothing() {}\n', "sm_90")
    assert cubin.resources["nothing"].spill_bytes == 0


# What is remembered ----------------------------------------------------------------------------------------------------------------------

def test_compiled_once_then_from_memory_then_from_disk(header: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_cuda(TEXT, "sm_90")
    again = compile_cuda(TEXT, "sm_90")
    assert stats() == cache.Stats(memory_hits=1, compiled=1)
    fresh_memory(tmp_path, monkeypatch)
    later = compile_cuda(TEXT, "sm_90")
    assert stats() == cache.Stats(disk_hits=1)
    assert first == again == later  # resources and log too
    assert later.resources["scale"].shared_bytes == 1024


@pytest.mark.parametrize("change", ["text", "arch", "header", "compiler", "options"])
def test_whatever_code_depends_on_makes_other_code(header: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    compile_cuda(TEXT, "sm_90")
    text, arch = TEXT, "sm_90"
    match change:
        case "text":
            text = TEXT.replace("255", "254")
        case "arch":
            arch = "sm_80"
        case "header":
            header.write_text(HEADER.replace("+", "*"))
        case "compiler":
            other = Nvrtc(header)
            other.name = "NVRTC 99.0"
            monkeypatch.setattr(compiler, "COMPILERS", [other])
        case "options":
            monkeypatch.setattr(compiler, "OPTIONS", (*toolchain.OPTIONS, "--fmad=false"))
    for _ in range(2):
        compile_cuda(text, arch)
    assert stats() == cache.Stats(memory_hits=1, compiled=2)


@pytest.mark.parametrize("damage", ["cut", "flipped", "object of a CPU"])
def test_damaged_files_are_made_again(header: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    good = compile_cuda(TEXT, "sm_90")
    (path,) = (tmp_path / "cache").glob("*.cubin")
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-9], "flipped": content[:500] + bytes([content[500] ^ 4]) + content[501:],
                      "object of a CPU": ELF + content}[damage])
    fresh_memory(tmp_path, monkeypatch)
    made = compile_cuda(TEXT, "sm_90")
    assert stats() == cache.Stats(compiled=1, rejected=1)
    assert (made.image, made.resources) == (good.image, good.resources)
    fresh_memory(tmp_path, monkeypatch)
    compile_cuda(TEXT, "sm_90")
    assert stats() == cache.Stats(disk_hits=1)  # the file is whole again


def test_one_folder_and_one_bound_for_all_kinds_of_code(tmp_path: Path) -> None:
    stores = [cache.ObjectCache(tmp_path / "cache", limit_bytes=2500) for _ in range(2)]
    for n in range(6):
        stores[n % 2].get([str(n)], (".o", ".cubin")[n % 2], lambda: bytes(1000))
        assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 2500
    assert sum(store.stats.evicted for store in stores) >= 4
    stores[0].clear()
    assert not list((tmp_path / "cache").iterdir())


def test_what_fails_is_not_remembered(tmp_path: Path) -> None:
    store = cache.ObjectCache(tmp_path / "cache")

    def fail() -> bytes:
        raise CudaCompileError("no", "no")

    with pytest.raises(CudaCompileError):
        store.get(["a"], ".cubin", fail)
    assert store.get(["a"], ".cubin", lambda: b"made") == (b"made", "compiled")
    assert store.get(["a"], ".cubin", fail) == (b"made", "from memory")
    assert cache.ObjectCache(tmp_path / "cache").get(["a"], ".cubin", fail) == (b"made", "from disk")


# What an error says ----------------------------------------------------------------------------------------------------------------------

def test_an_error_shows_the_line_and_the_operations(header: Path) -> None:
    with pytest.raises(CudaCompileError) as caught:
        compile_cuda(TEXT.replace("TWICE(row", "TWICE(column"), "sm_90")
    assert str(caught.value) == f"""{Nvrtc(header).name} refuses generated code for sm_90: identifier "column" is undefined
// dense/Relu (train.py:7)
     6 |   row[threadIdx.x] = x[threadIdx.x];
     7 |   __syncthreads();
>    8 |   y[threadIdx.x] = TWICE(column[255 - threadIdx.x]);
     9 | }}"""
    assert "1 error detected" in caught.value.log


def test_an_error_of_the_header_shows_the_log(header: Path) -> None:
    header.write_text("#error not today\n")
    with pytest.raises(CudaCompileError, match=r"(?s)refuses generated code for sm_80.*graphc.cuh.*not today"):
        compile_cuda(TEXT, "sm_80")


# Which compiler --------------------------------------------------------------------------------------------------------------------------

@dataclass
class Pretender:
    """A compiler that always makes the same, or has a problem."""

    name: str
    fault: str | None = None

    def problem(self) -> str | None:
        return self.fault

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        return f"{self.name} {arch}".encode(), "log"


def test_the_first_usable_compiler_compiles(header: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "COMPILERS", [Pretender("broken", "it is broken"), Pretender("good"), Pretender("late")])
    cubin = compile_cuda(TEXT, "sm_90")
    assert (cubin.image, cubin.compiler, cubin.log, cubin.resources) == (b"good sm_90", "good", "log", {})
    monkeypatch.setattr(compiler, "COMPILERS", [Pretender("a", "a is missing (pip install a)"), Pretender("b", "b is missing")])
    with pytest.raises(NoCudaCompiler, match=r"^no compiler for CUDA C was found: a is missing \(pip install a\); b is missing$"):
        compile_cuda(TEXT, "sm_90")


def test_nvrtc_says_why_it_cannot_be_used(header: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvrtc, "wheel_folders", lambda: [])
    monkeypatch.setattr(nvrtc, "toolkit_folders", lambda: [])
    missing = Nvrtc(header)
    assert missing.problem() == "NVRTC is missing (pip install nvidia-cuda-nvrtc)"
    assert missing.name == "NVRTC"
    folder = tmp_path / "cu13"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "libnvrtc.so.13").write_bytes(b"no library")
    monkeypatch.setattr(nvrtc, "wheel_folders", lambda: [folder])
    problem = Nvrtc(header).problem()
    assert problem is not None
    assert problem.startswith("NVRTC cannot be loaded (")
    with pytest.raises(CudaCompileError, match="cannot be loaded"):
        Nvrtc(header).compile(TEXT, "sm_90")


def test_newer_libraries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("wheel/lib/libnvrtc.so.12", "wheel/lib/libnvrtc.so.13", "wheel/lib/libnvrtc.alt.so.13", "kit/lib64/libnvrtc.so.14"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    monkeypatch.setattr(nvrtc, "wheel_folders", lambda: [tmp_path / "wheel"])
    monkeypatch.setattr(nvrtc, "toolkit_folders", lambda: [tmp_path / "kit"])
    assert [path.name for path in nvrtc._libraries()] == ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.14"]


NVCC = """#!/bin/sh
case "$1" in
--version) echo "Cuda compilation tools, release 12.9, V12.9.41";;
--list-gpu-arch) printf 'compute_75\\ncompute_80\\n';;
*) echo "$@" > image; grep -c TWICE kernel.cu >> image
   grep -q WRONG kernel.cu && { echo 'kernel.cu(3): error: WRONG is wrong'; exit 2; }
   echo "ptxas info    : Compiling entry function 'scale' for 'sm_80'"
   echo "ptxas info    : Used 11 registers, used 1 barriers, 1024 bytes smem" >&2;;
esac
"""


def test_nvcc_is_run_and_read(header: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "kit" / "bin" / "nvcc"
    program.parent.mkdir(parents=True)
    program.write_text(NVCC)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(nvcc.shutil, "which", lambda name: None)
    monkeypatch.setattr(nvcc, "toolkit_folders", lambda: [tmp_path / "kit"])
    monkeypatch.setattr(compiler, "COMPILERS", [Nvcc(header)])
    cubin = compile_cuda(TEXT, "sm_80")
    assert cubin.compiler == "nvcc 12.9.41"
    assert cubin.resources == {"scale": Resources(11, 1024, 0, 0)}
    assert cubin.image.decode().splitlines() == [
        f"-arch=sm_80 -cubin --std=c++17 --ptxas-options=-v -I {header.parent} -o image kernel.cu", "1"]
    assert b"-arch=compute_80 -ptx " in compile_cuda(TEXT, "sm_90").image
    with pytest.raises(CudaCompileError, match=r"^nvcc 12\.9\.41 refuses generated code for sm_80: WRONG is wrong\n"):
        compile_cuda(TEXT + "// WRONG\n", "sm_80")


def test_nvcc_says_why_it_cannot_be_used(header: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvcc.shutil, "which", lambda name: None)
    monkeypatch.setattr(nvcc, "toolkit_folders", lambda: [])
    assert Nvcc(header).problem() == "nvcc is on no PATH and in no $CUDA_HOME (a CUDA toolkit has it)"
    assert Nvcc(header).name == "nvcc"
    broken = tmp_path / "nvcc"
    broken.write_text("not a program")
    monkeypatch.setattr(nvcc.shutil, "which", lambda name: str(broken))
    assert Nvcc(header).problem() == f"{broken} does not say its version, so it cannot be used"


def test_toolkits_are_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_PATH", str(tmp_path / "missing"))
    assert toolchain.toolkit_folders()[0] == tmp_path
    assert tmp_path / "missing" not in toolchain.toolkit_folders()


# Resources and occupancy -----------------------------------------------------------------------------------------------------------------

def test_resources_of_a_log() -> None:
    log = """ptxas info    : 8 bytes gmem
ptxas info    : Compiling entry function 'b' for 'sm_90'
ptxas info    : Function properties for b
ptxas         .     16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers
ptxas info    : Function properties for helper
    0 bytes stack frame, 24 bytes spill stores, 24 bytes spill loads
ptxas info    : Compiling entry function 'a' for 'sm_90'
ptxas info    : Function properties for a
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 49152 bytes smem, 360 bytes cmem[0]
"""
    assert resources_of(log) == {"b": Resources(40, 0, 60, 16), "a": Resources(255, 49152, 0, 0)}
    assert resources_of("") == {}


# Resident blocks by NVIDIA's own calculator (cuda_occupancy.h of toolkit 13.0, compiled and run): registers, shared bytes, threads, blocks.
OCCUPANCY = {
    "sm_75": [(16, 0, 256, 4), (33, 4096, 256, 4), (40, 0, 128, 8), (64, 1024, 1024, 1), (65, 0, 1024, 0), (255, 0, 256, 1),
              (24, 49152, 256, 1), (20, 12000, 64, 5), (18, 0, 32, 16), (128, 0, 96, 5), (72, 16384, 192, 4)],
    "sm_86": [(16, 0, 256, 6), (33, 4096, 256, 6), (40, 0, 128, 12), (64, 1024, 1024, 1), (65, 0, 1024, 0), (168, 0, 384, 1),
              (24, 49152, 256, 2), (20, 12000, 64, 7), (18, 0, 32, 16), (128, 0, 96, 5), (72, 16384, 192, 4)],
    "sm_90": [(16, 0, 256, 8), (33, 4096, 256, 6), (40, 0, 128, 12), (64, 1024, 1024, 1), (65, 0, 1024, 0), (255, 0, 256, 1),
              (24, 49152, 256, 4), (20, 12000, 64, 17), (18, 0, 32, 32), (0, 0, 1024, 2), (72, 16384, 192, 4)],
}


@pytest.mark.parametrize("arch", OCCUPANCY)
def test_resident_blocks_are_those_of_the_calculator(arch: str) -> None:
    computed = [(registers, shared, threads, resident_blocks(Resources(registers, shared, 0, 0), threads, gpu_for(arch)))
                for registers, shared, threads, _ in OCCUPANCY[arch]]
    assert computed == OCCUPANCY[arch]


def test_occupancy_is_a_share_of_the_warps() -> None:
    assert occupancy(Resources(32, 0, 0, 0), 256, gpu_for("sm_90")) == 1.0
    assert occupancy(Resources(255, 0, 0, 0), 256, gpu_for("sm_90")) == 8 / 64
    assert occupancy(Resources(65, 0, 0, 0), 1024, gpu_for("sm_90")) == 0.0
    assert occupancy(Resources(16, 0, 0, 0), 1, gpu_for("sm_80")) == 32 / 64  # a warp with one thread at work still is a warp


def numbered(number: int) -> str:
    return TEXT.replace(" scale(", f" scale_{number}(")


def test_texts_compile_together_and_are_kept_apart(header: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units: list[str] = []

    inner = usable_compiler()

    class Counting:
        name = "counting"

        def problem(self) -> None:
            return None

        def compile(self, text: str, arch: str) -> tuple[bytes, str]:
            units.append(text)
            return inner.compile(text, arch)

    monkeypatch.setattr(compiler, "COMPILERS", [Counting()])
    texts = [numbered(n) for n in range(20)]
    first = compile_many([*texts, texts[3]], "sm_90")
    assert len(units) < 8
    assert all(unit.count("#include") == 1 for unit in units)
    assert [list(cubin.resources) for cubin in first] == [[f"scale_{n}"] for n in (*range(20), 3)]
    assert compile_many(texts[5:7], "sm_90") == first[5:7]
    assert compile_cuda(texts[4], "sm_90") == first[4]
    assert len(units) < 8, "nothing was compiled again"


def test_one_wrong_text_among_many_is_the_one_that_is_named(header: Path) -> None:
    wrong = numbered(2).replace("{", "{ this is wrong;", 1)
    with pytest.raises(CudaCompileError, match="this is wrong"):
        compile_many([numbered(1), wrong, numbered(3)], "sm_90")
