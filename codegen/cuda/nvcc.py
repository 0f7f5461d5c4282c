"""nvcc, the compiler of a CUDA toolkit, as a process of its own: text in, cubin out, in half a second.

`compiler`'s way where NVRTC is missing. It needs a C++ compiler beside it, for its preprocessor.
"""
from __future__ import annotations

import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from graphc.codegen.cuda.toolchain import OPTIONS, TEXT_NAME, CudaCompileError, architecture_option, toolkit_folders


class Nvcc:
    """header: the file that texts may include; its folder is searched."""

    def __init__(self, header: Path) -> None:
        self._header = header

    def problem(self) -> str | None:
        """Why nvcc cannot be used here, and what to do about it; None where it can."""
        path = find()
        if path is None:
            return "nvcc is on no PATH and in no $CUDA_HOME (a CUDA toolkit has it)"
        return None if _release(path) else f"{path} does not say its version, so it cannot be used"

    @property
    def name(self) -> str:
        """"nvcc 13.0.88"; "nvcc" where it is missing."""
        path = find()
        return f"nvcc {_release(path)}".rstrip() if path else "nvcc"

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        """(image, log) of a translation unit. CudaCompileError with the log where it is refused."""
        problem, path = self.problem(), find()
        if problem or path is None:
            raise CudaCompileError(f"{problem}", f"{problem}")
        option, is_machine_code = architecture_option(arch, _supported(path), self.name)
        with tempfile.TemporaryDirectory(prefix="graphc-nvcc-") as folder:
            (Path(folder) / TEXT_NAME).write_text(text)
            command = [path, f"-arch={option}", "-cubin" if is_machine_code else "-ptx", *OPTIONS, "-I", str(self._header.parent),
                       "-o", "image", TEXT_NAME]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
            log = done.stdout + done.stderr
            if done.returncode:
                raise CudaCompileError(f"nvcc ended with {done.returncode}", log)
            image = (Path(folder) / "image").read_bytes()
        return image if is_machine_code else image + b"\0", log


def find() -> str | None:
    """nvcc's path: the one that a shell would find, else that of a toolkit."""
    places = [shutil.which("nvcc"), *(str(folder / "bin" / "nvcc") for folder in toolkit_folders())]
    return next((place for place in places if place and Path(place).is_file()), None)


@functools.cache
def _release(path: str) -> str:
    """"13.0.88"; "" where the program does not say."""
    found = re.search(r"\bV(\d+\.\d+\.\d+)", _answer(path, "--version"))
    return found[1] if found else ""


@functools.cache
def _supported(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"^compute_(\d+)$", _answer(path, "--list-gpu-arch"), re.MULTILINE)]


def _answer(path: str, option: str) -> str:
    try:
        return subprocess.run([path, option], capture_output=True, text=True, errors="replace").stdout
    except OSError:
        return ""
