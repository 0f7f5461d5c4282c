"""What is missing for a GPU is named, with what to do about it; a CPU needs none of it. A driver made of Python stands in."""
from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from graphc.cli import main
from graphc.codegen.cuda import compiler
from graphc.runtime.cuda import cublaslt, detect, driver, report

HOPPER = ("NVIDIA H200", 9, 0, 143 << 30, 132)
PASCAL = ("Tesla P100", 6, 0, 16 << 30, 56)


@dataclass
class PretendedDriver:
    """The functions of libcuda.so.1 that detection calls, over GPUs of (name, major, minor, bytes, multiprocessors)."""

    gpus: list[tuple[str, int, int, int, int]] = field(default_factory=lambda: [HOPPER])
    version: int = 13010
    status: int = 0

    def cuInit(self, flags: int) -> int:
        return self.status

    def cuDriverGetVersion(self, out: Any) -> int:
        out._obj.value = self.version
        return 0

    def cuDeviceGetCount(self, out: Any) -> int:
        out._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, out: Any, ordinal: int) -> int:
        out._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, handle: Any) -> int:
        buffer.value = self.gpus[handle.value][0].encode()
        return 0

    def cuDeviceTotalMem_v2(self, out: Any, handle: Any) -> int:
        out._obj.value = self.gpus[handle.value][3]
        return 0

    def cuDeviceGetAttribute(self, out: Any, attribute: int, handle: Any) -> int:
        _, major, minor, _, multiprocessors = self.gpus[handle.value]
        out._obj.value = {75: major, 76: minor, 16: multiprocessors}[attribute]
        return 0

    def cuGetErrorString(self, code: int, out: Any) -> int:
        out._obj.value = b"no CUDA-capable device is detected"
        return 0

    def cuGetErrorName(self, code: int, out: Any) -> int:
        out._obj.value = b"CUDA_ERROR_NO_DEVICE"
        return 0


@dataclass
class PretendedCompiler:
    name: str = "NVRTC 13.0.88"
    fault: str | None = None

    def problem(self) -> str | None:
        return self.fault

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        return b"", ""


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> PretendedDriver:
    """A machine that has everything; tests take parts of it away."""
    pretended = PretendedDriver()
    monkeypatch.setattr(driver, "native", lambda: pretended)
    monkeypatch.setattr(driver, "api", lambda: object())
    monkeypatch.setattr(compiler, "COMPILERS", [PretendedCompiler()])
    monkeypatch.setattr(detect, "pycuda_version", lambda: "2026.1")
    monkeypatch.setattr(report, "pycuda_version", lambda: "2026.1")
    monkeypatch.setattr(cublaslt, "problem", lambda: "libcublasLt was not found")
    monkeypatch.setattr(cublaslt.Library, "find", staticmethod(lambda: None))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return pretended


def test_nothing_is_missing(library: PretendedDriver) -> None:
    assert detect.problem() is None
    assert detect.devices() == [detect.Device("NVIDIA H200", "sm_90", 143 << 30, 132)]


def test_a_missing_driver(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> ctypes.CDLL:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(driver, "native", missing)
    assert detect.problem() == ("the NVIDIA driver is missing (libcuda.so.1 cannot be loaded): install it, or start the container with its "
                                "GPUs (docker run --gpus all)")
    assert "graphc cannot run on a GPU here" in report.report()


def test_a_driver_that_does_not_start(library: PretendedDriver) -> None:
    library.status = 100
    assert detect.problem() == ("the NVIDIA driver does not start: no CUDA-capable device is detected (CUDA_ERROR_NO_DEVICE)")


@pytest.mark.parametrize(("count", "ordinal", "visible", "words"), [
    (1, 1, None, "there is no /gpu:1: this process may use 1 GPU"),
    (2, -1, None, "there is no /gpu:-1: this process may use 2 GPUs"),
    (0, 0, "", "there is no /gpu:0: this process may use 0 GPUs (CUDA_VISIBLE_DEVICES is '')"),
    (2, 2, "0,1", "there is no /gpu:2: this process may use 2 GPUs (CUDA_VISIBLE_DEVICES is '0,1')")])
def test_a_wrong_ordinal(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch, count: int, ordinal: int, visible: str | None,
                         words: str) -> None:
    library.gpus = [HOPPER] * count
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect.problem(ordinal) == words


def test_a_gpu_that_is_too_old(library: PretendedDriver) -> None:
    library.gpus = [HOPPER, PASCAL]
    assert detect.problem(0) is None
    assert detect.problem(1) == "Tesla P100: sm_60 is too old: graphc generates code from sm_75 (Turing) on"


def test_missing_pycuda(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "pycuda_version", lambda: None)
    assert detect.problem() == "pycuda is missing (pip install 'graphc[cuda]')"


def test_pycuda_that_cannot_be_imported(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ImportError("libcurand.so.10: cannot open shared object file")

    monkeypatch.setattr(driver, "api", broken)
    assert detect.problem() == ("pycuda cannot be imported (libcurand.so.10: cannot open shared object file): build it anew for this "
                                "Python and this CUDA (pip install --force-reinstall pycuda)")


def test_a_missing_compiler(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "COMPILERS", [PretendedCompiler(fault="NVRTC is missing (pip install nvidia-cuda-nvrtc)")])
    assert detect.problem() == "no compiler for CUDA C was found: NVRTC is missing (pip install nvidia-cuda-nvrtc)"


@pytest.mark.parametrize(("driver_version", "compiler_name", "fits"), [
    (13000, "NVRTC 13.2.1", True), (13000, "nvcc 12.9.41", True), (12040, "NVRTC 13.0.88", False), (12040, "the tests' own", True)])
def test_a_compiler_newer_than_the_driver(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch, driver_version: int,
                                          compiler_name: str, fits: bool) -> None:
    library.version = driver_version
    monkeypatch.setattr(compiler, "COMPILERS", [PretendedCompiler(compiler_name)])
    problem = detect.problem()
    assert (problem is None) == fits
    assert fits or problem == ("NVRTC 13.0.88 makes code that this driver, for CUDA 12.4, cannot load: update the driver, or compile with "
                               "CUDA 12 (pip uninstall nvidia-cuda-nvrtc; pip install nvidia-cuda-nvrtc-cu12)")


def test_the_report_has_a_line_for_each_part(library: PretendedDriver, capsys: pytest.CaptureFixture[str]) -> None:
    library.gpus = [HOPPER, PASCAL]
    assert main(["gpu"]) == 0
    *parts, blank, verdict = capsys.readouterr().out.splitlines()
    assert parts[:5] == ["pycuda    2026.1",
                         "driver    for CUDA 13.1",
                         "/gpu:0    NVIDIA H200, sm_90, 143.0 GiB, 132 multiprocessors",
                         "/gpu:1    Tesla P100: sm_60 is too old: graphc generates code from sm_75 (Turing) on",
                         "compiler  NVRTC 13.0.88"]
    assert parts[5:] == ["cublasLt  libcublasLt was not found"]
    assert (blank, verdict) == ("", "graphc can run on a GPU here.")
    library.gpus = []
    assert main(["gpu"]) == 0
    out = capsys.readouterr().out
    assert "device    there is no /gpu:0: this process may use 0 GPUs\n" in out
    assert out.endswith("graphc cannot run on a GPU here; the CPU needs none of this.\n")


def test_cublaslt_is_named_with_its_version(library: PretendedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass
    class Found:
        version: int = 130100
        path: str = "/opt/libcublasLt.so.13"

    monkeypatch.setattr(cublaslt.Library, "find", staticmethod(Found))
    assert "cublasLt  13.1 (/opt/libcublasLt.so.13)\n" in report.report()


def test_graphc_imports_nothing_of_a_gpu() -> None:
    """Importing and running graphc on a CPU loads no pycuda and no library of NVIDIA's."""
    script = """
import sys
import graphc as gc
import graphc.cli
with gc.Session() as session:
    assert session.run(gc.add(1.0, 2.0)) == 3.0
print(sorted(name for name in sys.modules if name.startswith(("pycuda", "nvidia"))))
print([line.split()[-1] for line in open("/proc/self/maps") if "nvrtc" in line or "libcuda" in line or "cublas" in line])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "[]\n[]\n"


def test_gpu_tests_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    """The project's own settings and conftest, over one test that a GPU would run."""
    root = Path(__file__).resolve().parent.parent
    file = tmp_path / "test_it.py"
    file.write_text("import pytest\n\n@pytest.mark.gpu\ndef test_on_a_gpu():\n    pass\n\ndef test_else():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-c", str(root / "pyproject.toml"), "-p", "no:cacheprovider", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root)
    assert "1 passed, 1 deselected" in done.stdout


def test_an_installed_package_says_its_version_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pycuda").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    assert detect.pycuda_version() == ""
    (tmp_path / "pycuda-2031.2.dist-info").mkdir()
    assert detect.pycuda_version() == "2031.2"
    (tmp_path / "pycuda").rmdir()
    sys.path_importer_cache.clear()
    assert detect.pycuda_version() is None
