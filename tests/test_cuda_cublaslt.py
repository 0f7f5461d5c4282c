"""cublasLt at run time: every epilogue, transposition, batch and type on the fake library, against numpy; errors, recording, choice."""
from __future__ import annotations

import ctypes
import functools
import importlib.util
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import graphc as gc
from graphc.codegen import cache
from graphc.core.dtypes import DType
from graphc.runtime.cuda import cublaslt
from graphc.runtime.cuda.cublaslt import EPILOGUES, INSTALL, CublasError, Library, Plan, Unsupported
from graphc.runtime.cuda.device import CudaDevice, DeviceMemory, device
from graphc.runtime.cuda.graph import CudaGraph
from graphc.runtime.cuda.launches import GemmLaunch, KernelLaunch
from graphc.runtime.cuda.tuning import settle
from tests.cuda_host.device import Failed, counters, in_subprocess
from tests.gemm_cases import BF16, BIAS, CASES, F16, F32, F64, Array, Case, D, expected_memory, memory_of, seen


def test_the_cases_have_every_epilogue() -> None:
    assert set(EPILOGUES) == {case.epilogue for case in CASES.values()}


# On the fake device -------------------------------------------------------------------------------------------------------------------


def blocks_of(gpu: CudaDevice, memory: dict[int, Array]) -> dict[int, DeviceMemory]:
    """`memory` on the device."""
    blocks = {number: gpu.allocate(array.nbytes, "a test") for number, array in memory.items()}
    for number, array in memory.items():
        gpu.upload(blocks[number], array)
    return blocks


def addresses_of(blocks: dict[int, DeviceMemory]) -> list[int]:
    return [blocks[number].address if number in blocks else 0 for number in range(6)]


def run_cases(gpu: CudaDevice, library: Library) -> dict[str, dict[int, str]]:
    """Every case that the library supports: each parameter's memory after the run, in hex."""
    found = {}
    for case in CASES.values():
        memory = memory_of(case)
        blocks = blocks_of(gpu, memory)
        try:
            plan = library.prepare(case.gemm, gpu.ordinal, case.precision)
        except Unsupported:
            continue
        plan.chosen = min(case.algorithm, len(plan.candidates) - 1)
        workspace, stream = gpu.allocate(plan.workspace_bytes, "a test"), gpu.stream()
        plan.run(stream.handle, addresses_of(blocks), workspace.address)
        stream.raw.synchronize()
        for number, array in memory.items():
            gpu.download(blocks[number].address, array)
            blocks[number].free()
        workspace.free()
        found[case.id] = {number: array.tobytes().hex() for number, array in memory.items()}
    return found


def run_sections() -> None:
    """In the subprocess: what every function of SECTIONS gives, as JSON."""
    gpu, library = device(0), Library.find()
    assert library is not None
    with gpu.current:
        print(json.dumps({name: section(gpu, library) for name, section in SECTIONS.items()}))


@functools.cache
def results() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        text = in_subprocess("from tests.test_cuda_cublaslt import run_sections; run_sections()", devices=2, GRAPHC_CACHE_DIR=folder,
                             GRAPHC_CACHE="1", GRAPHC_CUDA_TUNE="1")  # fmt: skip
    return cast(dict[str, Any], json.loads(text))


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.id)
def test_products_are_those_of_numpy(case: Case) -> None:
    compare(case, results()["cases"][case.id], 1e-3 if "DGELU" in case.epilogue else 0.0)


def compare(case: Case, found: dict[str, str], loose: float) -> None:
    """loose: the least tolerance."""
    tolerance = max(loose, {F32: 2e-5, F64: 1e-12, F16: 4e-3, BF16: 3e-2}[case.out_dtype] * case.k)
    for number, want in expected_memory(case).items():
        got = np.frombuffer(bytes.fromhex(found[str(number)]), want.dtype)
        if want.dtype == np.uint8:
            np.testing.assert_array_equal(got, want, err_msg=f"parameter {number}")
        else:
            np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), tolerance, tolerance, err_msg=f"parameter {number}")


def test_what_is_no_part_of_the_result_is_not_written() -> None:
    """Gaps between rows and the elements before the first keep their bits."""
    case = CASES["turned-10"]
    got = np.frombuffer(bytes.fromhex(results()["cases"][case.id][str(D)]), np.float32)
    before = memory_of(case)[D]
    written = np.zeros(got.shape, bool)
    seen(written, case.gemm.d, 1, case.m, case.n)[...] = True
    np.testing.assert_array_equal(got[~written], before[~written])
    assert (got[written] != before[written]).all()


@pytest.mark.parametrize("precision", ["tfloat32", "bfloat16", "float16"])
def test_precision_shows(precision: str) -> None:
    """The result is not that of exact operands: otherwise the option would do nothing."""
    case = CASES[f"precision-{precision}"]
    got = np.frombuffer(bytes.fromhex(results()["cases"][case.id][str(D)]), np.float32)
    assert not np.allclose(got, expected_memory(replace(case, precision="float32"))[D], 1e-6, 1e-6)


# Recording, errors --------------------------------------------------------------------------------------------------------------------

BIASED = CASES["bias"]


def record(gpu: CudaDevice, library: Library) -> list[bool]:
    """One plan twice in one recording, the second time with another result and other biases, which are greater by 100."""
    memory = memory_of(BIASED)
    blocks, plan, stream = blocks_of(gpu, memory), library.prepare(BIASED.gemm), gpu.stream()
    others = blocks_of(gpu, {D: memory[D], BIAS: memory[BIAS] + np.float32(100)})
    workspace = gpu.allocate(plan.workspace_bytes, "a test")
    graph = CudaGraph(stream)
    with graph:
        plan.run(stream.handle, addresses_of(blocks), workspace.address)
        plan.run(stream.handle, addresses_of(blocks | others), workspace.address)
    before, after, shifted = (np.empty_like(memory[D]) for _ in range(3))
    gpu.download(blocks[D].address, before)
    for _ in range(2):
        graph.launch()
    stream.raw.synchronize()
    gpu.download(blocks[D].address, after)
    gpu.download(others[D].address, shifted)
    written = after != memory[D]
    return [bool((before == memory[D]).all()), int(written.sum()) == BIASED.m * BIASED.n,
            bool(np.allclose(shifted[written], after[written] + 100, atol=1e-4))]


def test_a_plan_is_recorded_and_replayed() -> None:
    """Recording runs nothing; each run in it keeps the addresses that it was given."""
    assert results()["record"] == [True, True, True]


def fail(gpu: CudaDevice, library: Library) -> list[str]:
    """What is told of what cannot be."""
    def told(call: Callable[[], object]) -> str:
        try:
            return str(call())
        except (CublasError, ValueError) as error:
            return f"{type(error).__name__} {error}"

    gemm, plan = BIASED.gemm, library.prepare(BIASED.gemm)
    broken = (replace(gemm, k=0), replace(gemm, b=replace(gemm.b, leading=1)))
    gpu.context.pop()
    without_context = told(lambda: Library(library.path).prepare(gemm))
    gpu.context.push()
    return [without_context, *(told(functools.partial(library.prepare, wrong)) for wrong in broken),
            told(lambda: plan.run(gpu.stream().handle, [0] * 6, 0)), told(lambda: library.prepare(gemm, precision="float8"))]


def test_errors_have_words() -> None:
    refused = "Unsupported cublasLt: cublasLtMatmulAlgoGetHeuristic failed with status 7: an invalid value"
    assert results()["fail"] == [
        "Unsupported cublasLt: cublasLtCreate failed with status 1: it does not start: too old a driver, or no context is current",
        refused, refused, "CublasError cublasLt: cublasLtMatmul failed with status 7: an invalid value",
        "ValueError the precision of products must be one of float32, tfloat32, bfloat16, float16; got 'float8'"]  # fmt: skip


def handle(gpu: CudaDevice, library: Library) -> list[bool]:
    mine = Library(library.path)
    first = mine.handle(0)
    with device(1).current:
        differs = mine.handle(1).value != first.value
    same = mine.handle(0) is first
    for ordinal in (0, 0, 7):
        mine.release(ordinal)
    again = mine.handle(0) is not first
    mine.prepare(BIASED.gemm)
    return [differs, same, again]


def test_handles_are_one_a_device_and_can_be_made_again() -> None:
    assert results()["handle"] == [True, True, True]


def test_a_product_outside_of_memory_is_an_error_of_the_driver() -> None:
    with pytest.raises(Failed, match="illegal memory access"):
        in_subprocess("""
            from tests.test_cuda_cublaslt import *
            gpu, library = device(0), Library.find()
            with gpu.current:
                plan, stream = library.prepare(BIASED.gemm), gpu.stream()
                plan.chosen = 1
                plan.run(stream.handle, [4096] * 6, 0)
                stream.raw.synchronize()""")


def test_without_the_library_there_is_a_reason_and_no_error() -> None:
    code = "from graphc.runtime.cuda.cublaslt import Library, problem\nprint(Library.find(), problem())"
    found = in_subprocess(code, library=False)
    if "None" in found:  # unless this machine has a real one
        assert found.strip() == f"None libcublasLt was not found: {INSTALL}; until then graphc's own kernels compute products"
    assert in_subprocess(code.replace("print(Library.find(), ", "print(Library.find().version, ")).strip() == "130000 None"


def test_a_file_that_is_no_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "cu13" / "lib"
    wheel.mkdir(parents=True)
    (wheel / "libcublasLt.so.13").write_text("not this")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: _spec(tmp_path))
    monkeypatch.setattr(cublaslt, "_places", functools.partial(_only, cublaslt._places, str(tmp_path)))
    library, problem = cublaslt._found.__wrapped__()
    assert library is None
    assert problem is not None
    assert str(wheel) in problem


def _spec(folder: Path) -> Any:
    class Spec:
        submodule_search_locations = (str(folder),)

    return Spec()


def _only(places: Callable[[], Iterable[str]], folder: str) -> list[str]:
    """The places within `folder`: what else this machine has is not asked."""
    return [place for place in places() if place.startswith(folder)]


# What the library is told -------------------------------------------------------------------------------------------------------------


class Recorder:
    """A library that notes what it is told, and has no algorithm with a state other than success."""

    def __init__(self, states: Sequence[int] = (0, 0, 0)) -> None:
        self.told: dict[tuple[str, int], int | None] = {}
        self.made: list[tuple[str, tuple[Any, ...]]] = []
        self.destroyed = 0
        self.states = states

    def handle(self, ordinal: int) -> ctypes.c_void_p:
        return ctypes.c_void_p(1)

    def make(self, kind: str, *arguments: Any) -> ctypes.c_void_p:
        self.made.append((kind, arguments))
        return ctypes.c_void_p(len(self.made))

    def put(self, kind: str, made: ctypes.c_void_p, attribute: int, value: Any) -> None:
        self.told[f"{kind} {made.value}", attribute] = value.value

    def call(self, name: str, *arguments: Any) -> None:
        if name.endswith("Destroy"):
            self.destroyed += 1
        elif name == "MatmulAlgoGetHeuristic":
            for number, state in enumerate(self.states):
                arguments[8][number].state, arguments[8][number].workspace_bytes = state, 256 * number
            ctypes.cast(arguments[9], ctypes.POINTER(ctypes.c_int))[0] = len(self.states)


def plan_of(case: Case, recorder: Recorder) -> Plan:
    return Plan(cast(Library, recorder), case.gemm, 0, case.precision)


@pytest.mark.parametrize(("shift", "dtype", "expected"), [(0, F32, 16), (1, F32, 4), (2, F32, 8), (4, F32, 16), (1, F16, 2), (1, F64, 8)])
def test_algorithms_are_asked_for_the_alignment_that_addresses_have(shift: int, dtype: DType, expected: int) -> None:
    recorder = Recorder()
    plan = plan_of(Case("x", shift=shift, dtype=dtype, out_dtype=dtype, epilogue="BIAS"), recorder)
    preference = "MatmulPreference 5"
    assert [recorder.told[preference, attribute] for attribute in (5, 6, 7, 8)] == [expected] * 4
    assert recorder.told[preference, 1] == 32 << 20
    assert recorder.told["MatmulDesc 1", 8] == expected, "the address that stands for that of the bias"
    assert [candidate.workspace_bytes for candidate in plan.candidates] == [0, 256, 512]
    assert plan.workspace_bytes == 0
    assert plan.most_workspace_bytes == 512


def test_the_transposed_problem_is_described() -> None:
    recorder = Recorder()
    plan_of(Case("x", m=5, n=8, k=7, batch=3, gap=2, turned=(False, True)), recorder)
    assert recorder.made == [
        ("MatmulDesc", (68, 0)), ("MatrixLayout", (0, 7, 8, 9)), ("MatrixLayout", (0, 7, 5, 9)), ("MatrixLayout", (0, 8, 5, 10)),
        ("MatmulPreference", ())]  # fmt: skip
    assert (recorder.told["MatmulDesc 1", 3], recorder.told["MatmulDesc 1", 4]) == (1, 0)
    assert [recorder.told[f"MatrixLayout {number}", 5] for number in (2, 3, 4)] == [3] * 3
    assert [recorder.told[f"MatrixLayout {number}", 6] for number in (2, 3, 4)] == [72, 45, 50]


def test_what_is_added_has_a_layout_of_its_own_where_it_lies_otherwise() -> None:
    recorder = Recorder()
    gemm = Case("x", m=5, n=8, beta=1.0).gemm
    assert gemm.c is not None
    Plan(cast(Library, recorder), replace(gemm, c=replace(gemm.c, leading=64)), 0, "float32")
    assert [made[1] for made in recorder.made if made[0] == "MatrixLayout"][2:] == [(0, 8, 5, 8), (0, 8, 5, 64)]


@pytest.mark.parametrize(("dtype", "precision", "expected"), [
    (F32, "float32", (68, 0)), (F32, "tfloat32", (77, 0)), (F32, "bfloat16", (75, 0)), (F32, "float16", (74, 0)),
    (F64, "tfloat32", (70, 1)), (F16, "float32", (68, 0)), (BF16, "tfloat32", (68, 0))])
def test_sums_are_wide(dtype: DType, precision: str, expected: tuple[int, int]) -> None:
    recorder = Recorder()
    plan_of(Case("x", dtype=dtype, out_dtype=dtype, precision=precision), recorder)
    assert recorder.made[0] == ("MatmulDesc", expected)


def test_algorithms_that_cannot_are_left_out() -> None:
    plan = plan_of(Case("x"), Recorder((15, 0, 7)))
    assert [candidate.workspace_bytes for candidate in plan.candidates] == [256]
    for states in ((), (15, 7)):
        recorder = Recorder(states)
        with pytest.raises(Unsupported, match="does not support this product on this device"):
            plan_of(Case("x"), recorder)


@pytest.mark.parametrize(("status", "error"), [(7, Unsupported), (8, Unsupported), (14, CublasError), (15, Unsupported)])
def test_a_library_that_knows_no_algorithms_for_a_device_is_done_without(status: int, error: type[CublasError]) -> None:
    class Refusing(Recorder):
        def call(self, name: str, *arguments: Any) -> None:
            if name == "MatmulAlgoGetHeuristic":
                raise CublasError(name, status)

    with pytest.raises(CublasError) as raised:
        plan_of(Case("x"), Refusing())
    assert type(raised.value) is error


def test_descriptors_go_with_the_plan() -> None:
    recorder = Recorder()
    plan = plan_of(Case("x"), recorder)
    assert recorder.destroyed == 0
    del plan
    assert recorder.destroyed == len(recorder.made) == 5


def test_unknown_statuses_have_words_too() -> None:
    assert str(CublasError("cublasLtMatmul", 99)) == "cublasLt: cublasLtMatmul failed with status 99: unknown to graphc"


# Measuring on the device --------------------------------------------------------------------------------------------------------------


def tune(gpu: CudaDevice, library: Library) -> list[list[Any]]:
    """[origin, candidates, whether the plan follows, whether anything ran] of a choice: new, known, known from the disk, not wanted, and
    of another product without scratch memory. Then what is left of what was made."""
    launch = GemmLaunch(BIASED.gemm, "float32", (), KernelLaunch("dot", b"", (1, 1, 1), (32, 1, 1), (), 0), 0)
    memory, found, start = memory_of(BIASED), [], counters()
    sizes = [memory[number].nbytes if number in memory else 0 for number in range(6)]

    def choose(launch: GemmLaunch = launch, sizes: Sequence[int] = sizes) -> None:
        plan, before = library.prepare(launch.gemm), counters().products
        choice = settle(launch, plan, gpu, sizes)
        follows = choice.name == f"cublasLt {plan.chosen}"
        found.append([choice.origin, sorted(choice.milliseconds), follows, counters().products > before])

    choose()
    choose(sizes=[1 << 50] * 6)
    cache._cache_for.cache_clear()
    choose()
    os.environ["GRAPHC_CUDA_TUNE"] = "0"
    choose()
    del os.environ["GRAPHC_CUDA_TUNE"]
    choose(replace(launch, gemm=replace(launch.gemm, alpha=2.0, m=4)), [1 << 50] * 6)
    end = counters()
    found.append([getattr(end, name) - getattr(start, name) for name in ("live_allocations", "live_streams", "live_events", "live_graphs")])
    return found


def test_candidates_are_timed_on_the_device_and_remembered() -> None:
    names = ["cublasLt 0", "cublasLt 1"]
    assert results()["tune"] == [
        ["measured", names, True, True], ["from memory", names, True, False], ["from disk", names, True, False],
        ["the library's guess", [], True, False], ["the library's guess", [], True, False], [0, 0, 0, 0]]  # fmt: skip


def train(gpu: CudaDevice, library: Library) -> list[Any]:
    """The losses of a few steps on the CPU and on the GPU with each way to compute products; and how many products the library did there
    outside of being timed."""
    found: list[Any] = []
    rng = np.random.default_rng(0)
    image, start = rng.standard_normal((33, 17), np.float32), rng.standard_normal((17, 9), np.float32)
    for device_name, products in (("cpu", "auto"), ("gpu", "generated"), ("gpu", "cublaslt"), ("gpu", "auto")):
        with gc.Graph().as_default():
            x, w, b = gc.placeholder(gc.float32, [33, 17]), gc.Variable(start), gc.Variable(np.ones(9, np.float32))
            loss = gc.reduce_mean(gc.square(gc.tanh(gc.matmul(x, w) + b)))
            step = gc.train.GradientDescentOptimizer(0.5).minimize(loss)
            with gc.Session(config=gc.ConfigProto(device=device_name, products=products)) as session:
                session.run(gc.global_variables_initializer())
                losses = [float(session.run([loss, step], {x: image})[0])]
                before = counters().products
                losses += [float(session.run([loss, step], {x: image})[0]) for _ in range(4)]
                found.append([losses, counters().products - before])
    return found


def test_sessions_train_alike_whoever_computes_products() -> None:
    (cpu, _), *others = results()["train"]
    assert cpu[-1] < cpu[0]
    for losses, _ in others:
        np.testing.assert_allclose(losses, cpu, rtol=1e-5)
    generated, library, _ = (count for _, count in others)
    assert generated == 0
    assert library >= 4


# The real library ---------------------------------------------------------------------------------------------------------------------

# Of the others it may support what it likes: it wants more alignment of some.
REQUIRED = {"bare", "larger", "f32-f32", "f64-f64", "f16-f16", "bf16-bf16", "f16-f32", "bf16-f32", "turned-00", "turned-01", "turned-10",
            "turned-11", "batch-turned-00", "batch-turned-11", "shared-b", "rounds", "in-place", "bias", "relu_bias", "bias-f16",
            "gelu_bias-f16"}  # fmt: skip


@pytest.mark.gpu
def test_the_real_library_agrees_with_numpy() -> None:
    gpu, library = device(0), Library.find()
    assert library is not None, cublaslt.problem()
    with gpu.current:
        found = run_cases(gpu, library)
    assert set(found) >= REQUIRED
    for name, memory in found.items():
        case = CASES[name]
        loose = 5e-3 if case.precision != "float32" else 2e-3 if "GELU" in case.epilogue else 0.0
        compare(case, {str(number): text for number, text in memory.items()}, loose)


@pytest.mark.gpu
def test_a_real_choice_is_no_slower_than_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    gpu, library, case = device(0), Library.find(), Case("x", m=512, n=512, k=512)
    assert library is not None, cublaslt.problem()
    launch = GemmLaunch(case.gemm, "float32", (), KernelLaunch("dot", b"", (1, 1, 1), (32, 1, 1), (), 0), 0)
    memory = memory_of(case)
    with gpu.current:
        choice = settle(launch, library.prepare(case.gemm), gpu, [memory[n].nbytes if n in memory else 0 for n in range(6)])
    assert choice.origin == "measured"
    assert 0 < choice.milliseconds[choice.name] <= choice.milliseconds["cublasLt 0"]


SECTIONS: dict[str, Callable[[CudaDevice, Library], Any]] = {
    "cases": run_cases, "record": record, "fail": fail, "handle": handle, "tune": tune, "train": train}
