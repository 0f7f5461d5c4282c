"""NVRTC, NVIDIA's compiler of CUDA C as a library, through ctypes: text in, cubin out, in tens of milliseconds. One of `compiler`'s ways.

It comes as a wheel of its own (nvidia-cuda-nvrtc) and with every toolkit. It needs no GPU, no driver and no C++ compiler.
"""
from __future__ import annotations

import ctypes
import re
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p
from functools import cached_property
from pathlib import Path
from typing import Any

from graphc.codegen.cuda.toolchain import (
    OPTIONS,
    TEXT_NAME,
    CudaCompileError,
    architecture_option,
    toolkit_folders,
    wheel_folders,
    wheel_version,
)

_LIBRARY = re.compile(r"libnvrtc\.so\.(\d+)")
_MINIMAL_SINCE = 13  # the option that leaves out what kernels of ours never use (textures, launches from the device)


class Nvrtc:
    """header: the file that texts may include under its name; it is handed over as text."""

    def __init__(self, header: Path) -> None:
        self._header = header

    def problem(self) -> str | None:
        """Why NVRTC cannot be used here, and what to do about it; None where it can."""
        return self._loaded if isinstance(self._loaded, str) else None

    @cached_property
    def name(self) -> str:
        """"NVRTC 13.0.88"; "NVRTC" where it is missing."""
        if isinstance(self._loaded, str):
            return "NVRTC"
        library, path = self._loaded
        major, minor = c_int(), c_int()
        _check(library, library.nvrtcVersion(byref(major), byref(minor)))
        version = f"{major.value}.{minor.value}"
        # The library does not know its patch number; its wheel does, and the name of the file in a toolkit.
        return f"NVRTC {_patched_version(path, version)}"

    @cached_property
    def _loaded(self) -> tuple[Any, Path] | str:
        """The library and its file, or why there is none."""
        paths = _libraries()
        if not paths:
            return "NVRTC is missing (pip install nvidia-cuda-nvrtc)"
        path = paths[0]
        try:
            # It asks for its built-in headers by a bare name, which is found when the file is loaded already.
            for built_in in sorted(path.parent.glob("libnvrtc-builtins.so.*")):
                ctypes.CDLL(str(built_in))
            library = ctypes.CDLL(str(path))
        except OSError as error:
            return f"NVRTC cannot be loaded ({error}; pip install --force-reinstall nvidia-cuda-nvrtc)"
        library.nvrtcGetErrorString.restype = c_char_p
        return library, path

    @cached_property
    def _supported(self) -> list[int]:
        library, _ = self._library()
        count = c_int()
        _check(library, library.nvrtcGetNumSupportedArchs(byref(count)))
        numbers = (c_int * count.value)()
        _check(library, library.nvrtcGetSupportedArchs(numbers))
        return list(numbers)

    def _library(self) -> tuple[Any, Path]:
        if isinstance(self._loaded, str):
            raise CudaCompileError(self._loaded, self._loaded)
        return self._loaded

    def compile(self, text: str, arch: str) -> tuple[bytes, str]:
        """(image, log) of a translation unit. Threads may compile at the same time. CudaCompileError with the log where it is refused."""
        library, _ = self._library()
        option, is_machine_code = architecture_option(arch, self._supported, self.name)
        program = c_void_p()
        headers = (c_char_p * 1)(self._header.read_bytes())
        names = (c_char_p * 1)(self._header.name.encode())
        _check(library, library.nvrtcCreateProgram(byref(program), text.encode(), TEXT_NAME.encode(), 1, headers, names))
        try:
            options = [f"--gpu-architecture={option}", *OPTIONS[: None if is_machine_code else -1], *self._minimal]
            arguments = (c_char_p * len(options))(*(each.encode() for each in options))
            status = library.nvrtcCompileProgram(program, len(options), arguments)
            log = _bytes(library, "ProgramLog", program).rstrip(b"\0").decode(errors="replace")
            if status:
                raise CudaCompileError(library.nvrtcGetErrorString(status).decode(), log)
            return _bytes(library, "CUBIN" if is_machine_code else "PTX", program), log
        finally:
            library.nvrtcDestroyProgram(byref(program))

    @cached_property
    def _minimal(self) -> tuple[str, ...]:
        major = re.search(r"\d+", self.name)
        return ("--minimal",) if major and int(major[0]) >= _MINIMAL_SINCE else ()


def _libraries() -> list[Path]:
    """The files of NVRTC on this machine: those of wheels before those of toolkits, newer before older."""
    folders = [folder / "lib" for folder in wheel_folders()] + [folder / "lib64" for folder in toolkit_folders()]
    found = []
    for folder in folders:
        files = [(int(match[1]), file) for file in folder.glob("libnvrtc.so.*") if (match := _LIBRARY.fullmatch(file.name))]
        found += [file for _, file in sorted(files, reverse=True)]
    return found


def _patched_version(path: Path, version: str) -> str:
    """`version` with its patch number: that of the wheel that `path` is in, or of the file itself."""
    packages = path.parents[3] if len(path.parents) > 3 else path.parent  # nvidia/cu13/lib lies beside what pip says of the wheel
    places = [wheel_version(packages, name) for name in ("nvidia_cuda_nvrtc", "nvidia_cuda_nvrtc_cu12")]
    places.append(path.resolve().name.removeprefix("libnvrtc.so."))
    return next((place for place in places if place.startswith(f"{version}.")), version)


def _bytes(library: Any, what: str, program: c_void_p) -> bytes:
    size = c_size_t()
    _check(library, getattr(library, f"nvrtcGet{what}Size")(program, byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(library, getattr(library, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(library: Any, status: int) -> None:
    if status:
        message = f"NVRTC failed: {library.nvrtcGetErrorString(status).decode()}"
        raise CudaCompileError(message, message)
