"""What the ways to compile CUDA C share: options, the error, where a CUDA installation can lie. Beneath `nvrtc` and `nvcc`."""
from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path

# No fast maths: results are the same as on a CPU but for the last bits of functions. ptxas says what each kernel takes.
OPTIONS = ("--std=c++17", "--ptxas-options=-v")
TEXT_NAME = "kernel.cu"  # how logs call the text


class CudaCompileError(Exception):
    """A compiler refused CUDA C that graphc printed. `log`: all that the compiler said."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def architecture_option(arch: str, supported: Iterable[int], compiler: str) -> tuple[str, bool]:
    """("sm_90", True) where `compiler` makes machine code for "sm_90"; where it does not, its newest PTX that such a device takes:
    ("compute_89", False).

    supported: the numbers of the architectures that it knows. CudaCompileError for one that is older than all of them.
    """
    number = int(arch.removeprefix("sm_").rstrip("a"))
    known = sorted(supported)
    if number in known:
        return arch, True
    older = [each for each in known if each < number]
    if not older:
        raise CudaCompileError("", f"{compiler} compiles for sm_{known[0]} and newer; {arch} is older")
    return f"compute_{older[-1]}", False


def wheel_folders() -> list[Path]:
    """The folders of NVIDIA's wheels, which share the package `nvidia`: nvidia/cu13 or nvidia/cuda_nvrtc, each with lib and include."""
    spec = importlib.util.find_spec("nvidia")
    roots = (spec.submodule_search_locations or ()) if spec else ()
    return sorted((folder for root in roots for folder in Path(root).glob("cu*") if folder.is_dir()), reverse=True)


def wheel_version(packages: Path, name: str) -> str:
    """The version of the distribution `name` that is installed in the folder `packages`; "" where none is."""
    found = [path.name for path in packages.glob(f"{name}-*.dist-info")]
    return found[0].removeprefix(f"{name}-").removesuffix(".dist-info") if found else ""


def toolkit_folders() -> list[Path]:
    """The folders of CUDA toolkits: where the environment says, then where the installer puts them."""
    named = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")]
    return [folder for folder in (*(Path(path) for path in named if path), Path("/usr/local/cuda")) if folder.is_dir()]
