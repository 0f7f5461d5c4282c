"""`graphc dump MODEL --target sm_90`: files that say all of themselves and compile, an index of what they take, and one clear line else."""
from __future__ import annotations

import re
from pathlib import Path

import pytest

from graphc import dump_cuda
from graphc.cli import main
from graphc.codegen.cuda import compiler
from graphc.codegen.cuda.compiler import compile_cuda
from graphc.compiled import compiled
from graphc.core.errors import InvalidArgumentError
from graphc.inspection.folder import write_files
from graphc.runtime.cuda import cublaslt
from graphc.runtime.executable import CudaExecutable
from graphc.runtime.targets_cuda import OnGpu
from tests.test_cli import complaint_of

MODEL = """
import numpy as np
import graphc as gc

def build():
    x = gc.placeholder(gc.float32, [64, 300], name="x")
    w = gc.get_variable("w", [300, 40], initializer=gc.ones_initializer())
    y = gc.nn.softmax(gc.matmul(x, w), name="y")
    return [y], {x: np.ones((64, 300), np.float32)}
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "small_model.py"
    path.write_text(MODEL)
    return str(path)


def cuda(name: str, target: str = "sm_90", products: str = "generated") -> CudaExecutable:
    plan = compiled(name, target=target, products=products)
    assert isinstance(plan, CudaExecutable)
    return plan


def test_a_file_for_each_launch_and_an_index(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    assert main(["dump", model, "--target", "sm_90", "--out", str(out)]) == 0
    plan = cuda(model)
    names = sorted(path.name for path in out.iterdir())
    files = [name for name in names if name.endswith(".cu")]
    assert names == sorted([*files, "graphc.cuh", "index.md"])
    assert len(files) == len(plan.kernels)
    assert capsys.readouterr().out.startswith(f"wrote {len(names)} files to {out}\nCompiled by ")
    assert "_Softmax" in "".join(files) or "_y" in "".join(files)
    for name, kernel in zip(files, plan.kernels, strict=True):
        text = (out / name).read_text()
        assert text.startswith("// launch: grid ")
        assert "small_model.py:" in text  # the user's lines
        assert f" {kernel.symbol}(" in text
        assert kernel.symbol in compile_cuda(text, "sm_90").resources  # as it lies there
    page = (out / "index.md").read_text()
    assert all(f"## [{name}]({name})" in page for name in files)
    assert "- MatMul (small_model.py:8)" in page
    (row, *_) = re.findall(r"^ *0 .*$", page, re.MULTILINE)
    resources = plan.kernels[0].resources
    assert resources is not None
    assert row.split()[3] == str(resources.registers)


def test_the_text_alone_goes_to_the_terminal(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", model, "--target", "sm_80"]) == 0
    out = capsys.readouterr().out
    assert out.count("__global__") == len(cuda(model, "sm_80").kernels)
    assert re.search(r"^launch +grid +block +registers +shared +spills +stack +occupancy +bytes moved +flops +computed by$", out, re.M)
    assert main(["dump", model, "--target", "sm_80", "--kernels"]) == 0
    assert " grid(" in capsys.readouterr().out
    assert main(["dump", model, "--target", "sm_80", "--stage", "order"]) == 0
    assert capsys.readouterr().out.startswith("program {")


def test_an_earlier_dump_is_replaced_whole(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = dump_cuda.files_of(model, cuda(model))
    write_files(out, {**files, "7_other.cu": "// of a longer model\n"})
    write_files(out, files)
    assert {path.name: path.read_text() for path in out.iterdir()} == files


def test_without_a_compiler_there_is_text_and_the_reason(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compiler, "COMPILERS", [])
    assert main(["dump", model, "--target", "sm_90", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "Not compiled, so resources are unknown (no compiler for CUDA C was found" in out
    assert list((tmp_path / "out").glob("*.cu"))


def test_a_gpu_that_the_compiler_does_not_know(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dump", model, "--target", "sm_150"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^Compiled to PTX by NVRTC .*, which does not know sm_150: resources are unknown\. ", out, re.MULTILINE)


def test_a_model_without_kernels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "nothing.py"
    file.write_text("import graphc as gc\n\ndef build():\n    return [gc.no_op()], {}\n")
    assert main(["dump", str(file), "--target", "sm_90", "--out", str(tmp_path / "out")]) == 0
    assert "\nNothing to compile. 0 launches, 0 B moved, 0 flops" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["graphc.cuh", "index.md"]


def test_products_of_the_library_are_described(model: str, tmp_path: Path) -> None:
    assert main(["dump", model, "--target", "sm_90", "--products", "cublaslt", "--out", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.md").read_text()
    assert "cublasLt: D = A*B, f32 64x40x300. The file is what runs where the library is missing or slower." in page
    assert [row.split()[-1] for row in re.findall(r"^ *\d .*$", page, re.MULTILINE)] == ["cublasLt", "kernel"]


def test_what_was_compiled_for_the_library_does_not_run_without_it(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cublaslt, "problem", lambda: "libcublasLt was not found")
    with pytest.raises(InvalidArgumentError, match=r"ConfigProto\(products='cublaslt'\): libcublasLt was not found"):
        OnGpu.bind(object.__new__(OnGpu), cuda(model, products="cublaslt"))


def test_wrong_input_gets_one_clear_line_and_no_file(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"

    def complaint(*arguments: str) -> str:
        return complaint_of(["dump", model, *arguments], capsys)

    assert complaint("--target", "hopper", "--out", str(out)) == (
        "graphc: 'hopper' is no GPU architecture: write sm_90 for compute capability 9.0")
    assert complaint("--target", "sm_60", "--out", str(out)).startswith("graphc: sm_60 is too old: ")
    assert complaint("--out", str(out), "--kernels") == (
        "graphc: --out writes everything into a folder: leave --stage, --kernels and --llvm out")
    assert complaint("--target", "sm_90", "--llvm").endswith("leave --target out")
    assert complaint_of(["dump", "nothing", "--target", "sm_90", "--out", str(out)], capsys).startswith("graphc: no model 'nothing'")
    assert not out.exists()
    assert complaint("--target", "sm_90", "--out", f"{model}/out") == f"graphc: cannot write to {model}/out: Not a directory"
    assert complaint("--target", "sm_90", "--out", model) == f"graphc: cannot write to {model}: Not a directory"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert complaint("--target", "sm_90", "--out", str(out)) == (
        f"graphc: {out} holds other files: name a new folder, an empty one, or one that an earlier dump made")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def failing(path: Path, text: str) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(ValueError, match=r"^cannot write to .*out: No space left on device$"):
        write_files(tmp_path / "out", {"0_a.cu": "a", "1_b.cu": "b"})
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
