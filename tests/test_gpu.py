"""A real GPU: everything that its fake cannot show. Run by `pytest -m gpu` where there is one; left out otherwise.

The table of operations and the composites through the whole compiler, the built-in models and training against the CPU, feeds of other
libraries, memory, faults (in processes of their own, for a context is lost with its first fault), and what a replay costs.
"""
from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.loops import Extern
from graphc.core.primitive import PRIMITIVES
from graphc.models import MODELS
from graphc.passes.pipelines import DEFAULT, NONE
from graphc.runtime.cuda.device import device
from tests.composite_table import FAMILIES
from tests.cuda_executing import execute
from tests.op_cases import BY_PRIMITIVE, in_one_program
from tests.public_functions import declare
from tests.tolerances import assert_close

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")]
ON_GPU = gc.ConfigProto(device="gpu")
LAUNCHES, REPLAY_US = 100, 20.0  # what a step of so many launches may cost the host
COPY_BYTES = 1 << 28



# Values -----------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("primitive", sorted(name for name in BY_PRIMITIVE if not isinstance(PRIMITIVES[name].loop, Extern)))
@pytest.mark.parametrize("pipeline", [NONE, DEFAULT], ids=["none", "default"])
def test_operation_gives_the_expected_values(primitive: str, pipeline: Any) -> None:
    """All cases of one primitive in one program, so that it is compiled and loaded once."""
    cases = BY_PRIMITIVE[primitive]
    program, feeds = in_one_program(cases)
    results, _ = execute(program, feeds, pipeline=pipeline)
    problems = []
    for case, node, result in zip(cases, program.outputs, results, strict=True):
        try:
            assert_close(result, case.want(), node.dtype, case.depth, case.scale)
        except AssertionError as error:
            problems.append(f"{case.id}: {error}")
    assert not problems, "\n\n".join(problems)


@pytest.mark.parametrize("family", FAMILIES)
def test_composites_give_the_expected_values(family: str) -> None:
    fetches, feeds = [], {}
    for case in FAMILIES[family]:
        outputs, arrays = declare(case, [a.shape for a in case.arrays])
        fetches.append(outputs)
        feeds.update(arrays)
    with gc.Session(config=ON_GPU) as session:
        session.run(gc.global_variables_initializer())
        results = session.run(fetches, feeds)
    problems = []
    for case, got in zip(FAMILIES[family], results, strict=True):
        for result, want in zip(got, case.want(), strict=True):
            try:
                assert_close(result, want, case.dtype_of(want), case.depth, case.scale)
            except AssertionError as error:
                problems.append(f"{case.id}: {error}")
    assert not problems, "\n\n".join(problems)


def losses_of(name: str, runs: int, **options: Any) -> list[Any]:
    with gc.Graph().as_default() as graph:
        gc.set_random_seed(0)
        fetches, feeds = MODELS[name]()
        with gc.Session(graph=graph, config=gc.ConfigProto(**options)) as session:
            session.run(gc.global_variables_initializer())
            return [np.asarray(session.run(fetches, feeds)[0]) for _ in range(runs)]


@pytest.mark.parametrize("products", ["generated", "auto"])
@pytest.mark.parametrize("name", MODELS)
def test_models_are_those_of_the_cpu(name: str, products: str) -> None:
    """Training, where the model trains: the same losses within tolerance, which grows as steps follow each other."""
    expected = losses_of(name, 10)
    found = losses_of(name, 10, device="gpu", products=products)
    for step, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(one, other, rtol=1e-5 * (step + 1), atol=1e-5, err_msg=f"step {step}")


def test_runs_are_the_same_bit_for_bit() -> None:
    first, second = (losses_of("mlp", 20, device="gpu", products="generated") for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


# Memory and feeds -------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [0, 1, 1000, (1 << 18) - 1, 1 << 18, 3_000_001, 50_000_003])
def test_feeds_and_fetches_of_all_sizes(count: int) -> None:
    """Through page-locked staging, through chunks, and empty."""
    x = gc.placeholder(gc.float32, [None])
    values = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    with gc.Session(config=ON_GPU) as session:
        for _ in range(3):
            assert np.array_equal(session.run(x * 2.0, {x: values}), values * 2)


def test_a_feed_that_is_on_the_device() -> None:
    gpuarray = pytest.importorskip("pycuda.gpuarray")
    values = np.arange(3000, dtype=np.float32)
    with device(0).current:
        there = gpuarray.to_gpu(values)
    x = gc.placeholder(gc.float32, [3000])
    with gc.Session(config=ON_GPU) as session:
        for feed in (there, values, there, there):
            assert np.array_equal(session.run(x + 1.0, {x: feed}), values + 1)
    with device(0).current:
        there.gpudata.free()


def test_a_feed_that_torch_has_just_computed() -> None:
    """Its kernels may still run when graphc begins."""
    torch = pytest.importorskip("torch")
    x = gc.placeholder(gc.float32, [4096, 4096])
    total = gc.reduce_sum(x, axis=1)
    with gc.Session(config=ON_GPU) as session:
        for scale in range(1, 6):
            fed = torch.ones(4096, 4096, device="cuda")
            for _ in range(20):
                fed = fed * 1.0
            assert session.run(total, {x: fed * scale}).tolist() == [4096.0 * scale] * 4096


def test_too_little_memory_is_told_and_the_session_goes_on() -> None:
    x = gc.placeholder(gc.float32, [4])
    huge = gc.random_uniform([1 << 19, 1 << 19], name="huge")  # 1 TiB
    with gc.Session(config=ON_GPU) as session:
        assert session.run(x * 2.0, {x: np.ones(4, np.float32)}).tolist() == [2] * 4
        with pytest.raises(gc.errors.ResourceExhaustedError, match=r"Out of memory on /gpu:0(.|\n)*operation 'huge"):
            session.run(huge)
        assert session.run(x * 2.0, {x: np.ones(4, np.float32)}).tolist() == [2] * 4


def in_process(code: str) -> str:
    """What a script prints, in a process of its own that must end well."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


FAULT = """
import numpy as np
import graphc as gc
from graphc.runtime.cuda import bound
x = gc.placeholder(gc.float32, [1000], name="x")
y = gc.tanh(x * 2.0, name="squashed")
sessions = [gc.Session(config=gc.ConfigProto(device="gpu")) for _ in range(2)]
values = np.ones(1000, np.float32)
for session in sessions:
    for _ in range({runs}):
        session.run(y, {{x: values}})
# A kernel that is given an address where nothing is.
real = bound.CudaBound._address
bound.CudaBound._address = lambda self, pointer: 1 << 60
for session in (sessions[0], *sessions):
    for known in session._computations.values():
        for made in known._bounds.values():
            made._moved()
    try:
        session.run(y, {{x: values}})
    except gc.errors.InternalError as error:
        print(error)
    print("----")
bound.CudaBound._address = real
with gc.Session() as cpu:
    print(cpu.run(y, {{x: values}})[0] > 0.9)
for session in sessions:
    session.close()
"""


@pytest.mark.parametrize("runs", [0, 3])
def test_a_fault_names_the_operation_and_loses_the_device_alone(runs: int) -> None:
    first, again, other, cpu = in_process(FAULT.format(runs=runs)).split("----\n")
    assert "failed on /gpu:0" in first
    assert "squashed" in first
    for later in (again, other):
        assert "its context is lost" in later
    assert cpu.strip() == "True"


# What a replay costs ----------------------------------------------------------------------------------------------------------------------

def test_a_step_of_many_launches_costs_little() -> None:
    """A chain of kernels too small to take time: what remains is the price of launching, of which the host pays the start of a graph."""
    x = value = gc.placeholder(gc.float32, [8, 8], name="x")
    for _ in range(LAUNCHES):
        value = gc.reduce_sum(value[:, :, None] * x[None, :, :], axis=1) * 0.1
    feed = np.eye(8, dtype=np.float32)
    with gc.Session(config=ON_GPU) as session:
        launches = len(session.compile(value, {x: feed}).launches)
        run = session.make_callable(value, [x])
        whole = min(_timed(run, feed) for _ in range(200))
        bound = session._prepare(value, {x: None}).computation.last
        (graph,) = bound._recorded.values()
        with device(0).current:
            replay = min(_timed(graph.launch) for _ in range(200) if not bound._workspace.stream.raw.synchronize())
            bound._workspace.stream.raw.synchronize()
    x = gc.placeholder(gc.float32, [8, 8], name="x")
    with gc.Session(config=ON_GPU) as session:
        run = session.make_callable(x + 1.0, [x])
        alone = min(_timed(run, feed) for _ in range(200))
    print(f"\n{launches} launches: {whole:.1f} us a run, of which {replay:.1f} us start the graph; a run of one launch: {alone:.1f} us")
    assert launches >= LAUNCHES
    assert replay < REPLAY_US


def _timed(run: Any, *arguments: Any) -> float:
    """Microseconds."""
    start = time.perf_counter()
    run(*arguments)
    return (time.perf_counter() - start) * 1e6


def test_a_profile_of_memory_traffic() -> None:
    """An elementwise kernel over much memory runs at nearly the speed of a copy on the device."""
    count = COPY_BYTES // 4
    a = gc.Variable(gc.zeros([count]), name="a")
    step = gc.assign(a, gc.tanh(a) + 1.0)
    with gc.Session(config=ON_GPU) as session:
        session.run(a.initializer)
        milliseconds = session.profile(step.op).total_us / 1e3
    with device(0).current as here:
        one, other, stream = here.allocate(COPY_BYTES, "a test"), here.allocate(COPY_BYTES, "a test"), here.stream()
        marks = [here.event(timed=True) for _ in range(2)]
        copies = []
        for _ in range(20):
            marks[0].raw.record(stream.raw)
            here.api.memcpy_dtod_async(other.address, one.address, COPY_BYTES, stream.raw)
            marks[1].raw.record(stream.raw)
            stream.raw.synchronize()
            copies.append(marks[0].raw.time_till(marks[1].raw))
        here.discard([one, other, stream, *marks])
    copied = sorted(copies)[10]
    print(f"\ncopy {2 * COPY_BYTES / copied / 1e9:.2f} TB/s, kernel {2 * COPY_BYTES / milliseconds / 1e9:.2f} TB/s")
    assert milliseconds <= copied / 0.9
