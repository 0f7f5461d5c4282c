"""The fake driver and the fake cublasLt, through the real pycuda: they do what CUDA documents, and refuse what it refuses."""
from __future__ import annotations

import atexit
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.cuda_host import pycuda_build
from tests.cuda_host.device import Failed, in_subprocess
from tests.cuda_worker import Worker

IMPORTS = """
import atexit, ctypes, itertools, math, os, threading
from ctypes import byref, c_int, c_int64, c_uint32, c_uint64, c_void_p, c_float, c_double, c_size_t
import ml_dtypes, numpy as np, pycuda.driver as drv
from tests.cuda_host import device
from graphc.codegen.cuda.compiler import compile_cuda
"""
START = """
drv.init()
context = drv.Device(0).retain_primary_context()
context.push()
atexit.register(drv.Context.pop)
"""
# Two kernels and a stream, and short words for what the tests do with them.
BEGIN = """
TEXT = '''
extern "C" __global__ void twice(float* x) { x[blockIdx.x * 64 + threadIdx.x] *= 2; }
extern "C" __global__ void wait_alone(float* x) { if (threadIdx.x < 8) __syncthreads(); }
'''
module = drv.module_from_buffer(compile_cuda(TEXT, "sm_90").image)
twice, wait_alone = (module.get_function(name).prepare("P") for name in ("twice", "wait_alone"))
stream = drv.Stream(1)
host = drv.pagelocked_empty(128, np.float32)
host[:] = np.arange(128)
x = drv.mem_alloc(host.nbytes)
def launch(blocks=2, function=twice, stream=stream): function.prepared_async_call((blocks, 1), (64, 1, 1), stream, x)
def refused(what, *arguments):
    try: what(*arguments)
    except drv.Error as error: return str(error).split(" failed: ")[1]
    raise AssertionError("it was not refused")
call = lambda name, *a: getattr(ctypes.CDLL("libcuda.so.1"), name)(*a)
handle = ctypes.c_void_p(stream.handle)
"""


@cache
def worker() -> Worker:
    made = Worker(IMPORTS)
    atexit.register(made.close)
    return made


def on_device(code: str, begin: str = BEGIN, devices: int = 1, memory: int = 8 << 30) -> None:
    """Runs a script on a device of its own."""
    done = worker().run(START + begin + code, devices, memory)
    assert done.status == 0, f"exit status {done.status}\n{done.output}\n{done.errors}"


def test_work_happens_when_something_waits_for_it_and_not_before() -> None:
    on_device("""
drv.memcpy_htod_async(x, host, stream)
launch()
out = drv.pagelocked_empty(128, np.float32)
out[:] = -1
drv.memcpy_dtoh_async(out, x, stream)
assert (out == -1).all(), "too early"
host[:] = 5  # still to be copied: what a careless program does
stream.synchronize()
assert (out == 10).all(), out
""")


def test_pageable_memory_is_copied_when_the_call_is_made() -> None:
    on_device("""
source = np.full(128, 3, np.float32)
drv.memcpy_htod_async(x, source, stream)
source[:] = 7
launch()
out = np.zeros(128, np.float32)
drv.memcpy_dtoh_async(out, x, stream)  # waits
assert (out == 6).all(), out
""")


def test_the_default_stream_waits_for_blocking_streams_alone() -> None:
    on_device("""
blocking = drv.Stream()
out = np.zeros(128, np.float32)
drv.memcpy_htod(x, host)
launch(stream=blocking)
launch(stream=stream)
drv.memcpy_dtoh(out, x)
assert (out == 2 * host).all(), out
context.synchronize()
drv.memcpy_dtoh(out, x)
assert (out == 4 * host).all(), out
""")


def test_events_order_streams_and_tell_time() -> None:
    on_device("""
other, first, second = drv.Stream(1), drv.Event(), drv.Event()
drv.memcpy_htod_async(x, host, stream)
first.record(stream)
launch()
second.record(stream)
other.wait_for_event(second)
out = drv.pagelocked_empty(128, np.float32)
drv.memcpy_dtoh_async(out, x, other)
other.synchronize()
assert (out == 2 * host).all(), out
assert first.time_till(second) >= 0
unordered = drv.Event()
unordered.record(stream)
assert "not ready" in refused(first.time_till, unordered)
""")


def test_a_capture_records_and_a_graph_repeats() -> None:
    on_device("""
joined, fork, join = drv.Stream(1), drv.Event(), drv.Event()
drv.memcpy_htod(x, host)
assert call("cuStreamBeginCapture_v2", handle, 0) == 0
launch()
fork.record(stream)
joined.wait_for_event(fork)
launch(stream=joined)
join.record(joined)
stream.wait_for_event(join)
graph, graph_exec = ctypes.c_void_p(), ctypes.c_void_p()
assert call("cuStreamEndCapture", handle, ctypes.byref(graph)) == 0
assert call("cuGraphInstantiateWithFlags", ctypes.byref(graph_exec), graph, ctypes.c_ulonglong(0)) == 0
assert device.counters().graph_nodes == 2
assert device.counters().launches == 0
for _ in range(3): assert call("cuGraphLaunch", graph_exec, handle) == 0
stream.synchronize()
out = np.zeros(128, np.float32)
drv.memcpy_dtoh(out, x)
assert (out == 64 * host).all(), out
""")


@pytest.mark.parametrize(("spoil", "answer"), [
    ("drv.mem_alloc(64)", "STREAM_CAPTURE_UNSUPPORTED"),
    ("stream.synchronize()", "STREAM_CAPTURE_UNSUPPORTED"),
    ("context.synchronize()", "STREAM_CAPTURE_UNSUPPORTED"),
    ("drv.memcpy_htod(x, host)", "STREAM_CAPTURE_IMPLICIT"),
])
def test_what_a_capture_does_not_allow_spoils_it(spoil: str, answer: str) -> None:
    on_device(f"""
assert call("cuStreamBeginCapture_v2", handle, 0) == 0
said = refused(lambda: {spoil})
code = {{"STREAM_CAPTURE_UNSUPPORTED": 900, "STREAM_CAPTURE_IMPLICIT": 906}}["{answer}"]
text = ctypes.c_char_p()
call("cuGetErrorString", code, ctypes.byref(text))
assert said == text.value.decode(), said
graph = ctypes.c_void_p(1)
assert call("cuStreamEndCapture", handle, ctypes.byref(graph)) == 901
assert not graph.value
launch()
stream.synchronize()
""")


def test_work_of_a_stream_that_joined_a_capture_must_come_back() -> None:
    on_device("""
joined, fork = drv.Stream(1), drv.Event()
assert call("cuStreamBeginCapture_v2", handle, 0) == 0
fork.record(stream)
joined.wait_for_event(fork)
launch(stream=joined)
assert call("cuStreamEndCapture", handle, ctypes.byref(ctypes.c_void_p())) == 904
""")


@pytest.mark.parametrize(("fault", "code", "words"), [
    ("launch(3)", 700, "kernel twice, block (2,0,0), thread (0,0,0): illegal memory access"),
    ("launch(function=wait_alone)", 719, "kernel wait_alone, block (0,0,0), divergent barrier: thread 0 waits at __syncthreads"),
    ("device.fail_launch(2, 714); launch(); launch()", 714, "twice: a fault that a test asked for"),
])
def test_a_fault_stays_with_its_context(fault: str, code: int, words: str) -> None:
    on_device(f"""
spare, event = c_void_p(), c_void_p()
assert call("cuStreamCreate", byref(spare), 1) == call("cuEventCreate", byref(event), 0) == 0
{fault}
assert call("cuStreamSynchronize", handle) == {code}
assert call("cuStreamDestroy_v2", spare) == call("cuEventDestroy_v2", event) == {code}
assert {words!r} in device.last_fault(), device.last_fault()
assert call("cuCtxSynchronize") == {code}
refused(drv.mem_alloc, 64)
refused(launch)
context.pop()
call("cuDevicePrimaryCtxReset_v2", 0)
context.push()
drv.mem_alloc(64)
""")


def test_memory_is_counted_bounded_and_starts_as_nan() -> None:
    on_device("""
out = np.zeros(128, np.float32)
drv.memcpy_dtoh(out, x)
assert np.isnan(out).all()
assert refused(drv.memcpy_dtoh, np.zeros(129, np.float32), x) == "invalid argument"
assert refused(drv.memcpy_htod, int(x) + 4, host) == "invalid argument"
try: drv.mem_alloc(1000000)
except drv.MemoryError as error: assert "out of memory" in str(error)
else: raise AssertionError
more = drv.mem_alloc(999000)
assert drv.mem_get_info() == (1000000 - 999000 - 512, 1000000)
assert device.counters().live_allocations == 2
more.free()
assert device.counters().live_bytes == 512
assert device.counters().peak_bytes == 999512
""", memory=1000000)


def test_devices_and_threads_have_contexts_of_their_own() -> None:
    on_device("""
import threading
assert drv.Device.count() == 2
said = []
thread = threading.Thread(target=lambda: said.append(refused(drv.mem_alloc, 64)))
thread.start()
thread.join()
assert said == ["invalid device context"], said
second = drv.Device(1).retain_primary_context()
second.push()
y = drv.mem_alloc(host.nbytes)
ordinal = ctypes.c_int()
for address, at in ((x, 0), (y, 1)):
    assert call("cuPointerGetAttribute", ctypes.byref(ordinal), 9, ctypes.c_ulonglong(int(address))) == 0
    assert ordinal.value == at
assert call("cuPointerGetAttribute", ctypes.byref(ordinal), 9, ctypes.c_ulonglong(np.zeros(4).ctypes.data)) == 1
drv.memcpy_htod(x, host)
drv.memcpy_peer(y, x, host.nbytes, second, context)
out = np.zeros(128, np.float32)
drv.memcpy_dtoh(out, y)
assert (out == host).all()
y.free()
second.pop()
""", devices=2)


def test_no_device_no_start_no_child() -> None:
    with pytest.raises(Failed, match="no CUDA-capable device is detected"):
        in_subprocess("import pycuda.driver as drv; drv.init()", devices=0)
    on_device("""
child = os.fork()
if not child: os._exit(call("cuCtxSynchronize"))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3, "a forked child may not use CUDA"
""")


def test_whose_an_address_is_wants_a_context() -> None:
    on_device("""
ordinal, ask = c_int(), lambda: call("cuPointerGetAttribute", byref(ordinal), 9, c_uint64(int(x)))
assert ask() == 0 and ordinal.value == 0
drv.Context.pop()
assert ask() == 201
context.push()
""")


def test_an_image_for_another_machine_is_refused() -> None:
    on_device("""
assert refused(drv.module_from_buffer, b"// no machine code").startswith("device kernel image is invalid")
assert refused(module.get_function, "thrice") == "named symbol not found"
""")


def test_a_kernel_takes_parameters_of_any_type_and_either_form() -> None:
    on_device("""
text = 'extern "C" __global__ void put(char a, double b, short c, float* x, int d) { x[0] = a; x[1] = b; x[2] = c; x[3] = d; }'
function = drv.module_from_buffer(compile_cuda(text, "sm_90").image).get_function("put")
x, out = drv.mem_alloc(16), np.zeros(4, np.float32)
function(np.int8(-1), np.float64(2.5), np.int16(-300), x, np.int32(7), grid=(1, 1), block=(1, 1, 1))
drv.memcpy_dtoh(out, x)
assert list(out) == [-1, 2.5, -300, 7], out
""")


# cublasLt ----------------------------------------------------------------------------------------------------------------

# D[m, n] = op(A) op(B) in columns, batch 2; everything stands in one place so that a case is its types, transposes and epilogue.
PRODUCT = """
lt = ctypes.CDLL("libcublasLt.so.13")
TYPES = {np.float32: 0, np.float64: 1, np.float16: 2, ml_dtypes.bfloat16: 14}
M, N, K, BATCH = 5, 4, 7, 2
rng = np.random.default_rng(0)

def make(name, *arguments):
    made = c_void_p()
    assert getattr(lt, f"cublasLt{name}Create")(byref(made), *arguments) == 0
    return made
def put(name, made, attribute, value):
    assert getattr(lt, f"cublasLt{name}SetAttribute")(made, attribute, byref(value), c_size_t(ctypes.sizeof(value))) == 0
def on_device(array):
    memory = drv.mem_alloc(array.nbytes)
    drv.memcpy_htod(memory, array)
    return memory
def back(memory, shape, dtype):
    out = np.zeros(shape, dtype)
    drv.memcpy_dtoh(out, memory)
    return out
def layout(dtype, rows, columns):
    made = make("MatrixLayout", TYPES[dtype], c_uint64(rows), c_uint64(columns), c_int64(rows + 1))
    put("MatrixLayout", made, 5, c_int(BATCH))
    put("MatrixLayout", made, 6, c_int64((rows + 1) * columns))
    return made
def in_columns(matrices, dtype):
    # [batch, rows, columns] -> memory, with a gap of one element after each column
    padded = np.full((BATCH, matrices.shape[2], matrices.shape[1] + 1), np.nan, dtype)
    padded[:, :, :-1] = np.swapaxes(matrices, 1, 2)
    return padded
def product(dtype, transposes=(0, 0), epilogue=1, beta=0.0, compute=None, bias=None, aux=None, aux_ld=8, algorithm=0, stream=None):
    wide = dtype is np.float64
    scalar = c_double if wide else c_float
    description = make("MatmulDesc", compute or (70 if wide else 68), 1 if wide else 0)
    put("MatmulDesc", description, 3, c_int(transposes[0])), put("MatmulDesc", description, 4, c_int(transposes[1]))
    put("MatmulDesc", description, 7, c_uint32(epilogue))
    if bias: put("MatmulDesc", description, 8, c_uint64(int(bias)))
    if aux: put("MatmulDesc", description, 11, c_uint64(int(aux))), put("MatmulDesc", description, 12, c_int64(aux_ld))
    if aux: put("MatmulDesc", description, 13, c_int64(aux_ld * N))
    a, b, c = (rng.normal(size=(BATCH, *shape)).astype(dtype) for shape in ((M, K), (K, N), (M, N)))
    shapes = [(K, M) if transposes[0] else (M, K), (N, K) if transposes[1] else (K, N)]
    stored = [np.swapaxes(each, 1, 2) if t else each for each, t in zip((a, b), transposes)]
    layouts = [layout(dtype, *shape) for shape in (*shapes, (M, N))]
    memory = [on_device(in_columns(each, dtype)) for each in (*stored, c)]
    d, workspace = drv.mem_alloc(BATCH * N * (M + 1) * np.dtype(dtype).itemsize), drv.mem_alloc(4096)
    preference, handle, results, count = make("MatmulPreference"), c_void_p(), (c_uint64 * (12 * 8))(), c_int()
    assert lt.cublasLtCreate(byref(handle)) == 0
    status = lt.cublasLtMatmulAlgoGetHeuristic(handle, description, *layouts, layouts[2], preference, 8, results, byref(count))
    assert (status, count.value) == (0, 2), (status, count.value)
    pointers = [c_void_p(int(each)) for each in memory]
    status = lt.cublasLtMatmul(handle, description, byref(scalar(1.5)), pointers[0], layouts[0], pointers[1], layouts[1],
                               byref(scalar(beta)), pointers[2], layouts[2], c_void_p(int(d)), layouts[2], byref(results, 96 * algorithm),
                               c_void_p(int(workspace)), c_size_t(4096), c_void_p(stream.handle if stream else 0))
    assert status == 0, status
    if stream: return memory, d, workspace  # whose end waits for all work
    got = np.swapaxes(back(d, (BATCH, N, M + 1), dtype)[:, :, :-1], 1, 2).astype(np.float64)
    return got, 1.5 * a.astype(np.float64) @ b.astype(np.float64) + beta * c.astype(np.float64), a.astype(np.float64), b.astype(np.float64)
def near(got, want, error): np.testing.assert_allclose(got, want, rtol=error, atol=10 * error)
def gelu(x): return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
"""


def test_products_of_every_type_and_transpose() -> None:
    on_device("""
for dtype, error in ((np.float64, 1e-14), (np.float32, 1e-6), (np.float16, 2e-3), (ml_dtypes.bfloat16, 2e-2)):
    for case in itertools.product((0, 1), (0, 1)):
        for beta, algorithm in ((0.0, 0), (0.5, 1)):
            got, want, *_ = product(dtype, case, beta=beta, algorithm=algorithm)
            near(got, want, error)
for compute, low, high in ((77, 1e-5, 1e-2), (74, 1e-5, 1e-2), (75, 1e-3, 1e-1)):
    got, want, *_ = product(np.float32, compute=compute)
    assert low < abs(got - want).max() < high, (compute, abs(got - want).max())
""", PRODUCT)


def test_epilogues_of_products() -> None:
    on_device("""
row = rng.normal(size=M).astype(np.float32)
bias, column = on_device(row), row[:, None].astype(np.float64)
near((r := product(np.float32, epilogue=4, bias=bias))[0], r[1] + column, 1e-5)
near((r := product(np.float32, epilogue=6, bias=bias))[0], np.maximum(r[1] + column, 0), 1e-5)
near((r := product(np.float32, epilogue=36, bias=bias))[0], gelu(r[1] + column), 1e-5)
aux = on_device(np.zeros((BATCH, N, 8), np.float32))
near((r := product(np.float32, epilogue=32 | 128 | 4, bias=bias, aux=aux))[0], gelu(r[1] + column), 1e-5)
near(np.swapaxes(back(aux, (BATCH, N, 8), np.float32)[:, :, :M], 1, 2), r[1] + column, 1e-5)
before = np.swapaxes(back(aux, (BATCH, N, 8), np.float32)[:, :, :M], 1, 2).astype(np.float64)
step = 1e-5
slope = (gelu(before + step) - gelu(before - step)) / (2 * step)
near((r := product(np.float32, epilogue=64 | 128, aux=aux))[0], r[1] * slope, 1e-4)
mask = on_device(np.zeros((BATCH, N, 16), np.uint8))
near((r := product(np.float32, epilogue=2 | 128, aux=mask, aux_ld=128))[0], np.maximum(r[1], 0), 1e-5)
bits = np.unpackbits(back(mask, (BATCH, N, 16), np.uint8), axis=2, bitorder="little")[:, :, :M]
assert (np.swapaxes(bits, 1, 2) == (r[1] > 0)).all()
r = product(np.float32, epilogue=8 | 16 | 128, aux=mask, aux_ld=128, bias=bias)
near(r[0], np.where(np.swapaxes(bits, 1, 2), r[1], 0), 1e-5)
near(back(bias, M, np.float32), r[0][1].sum(1), 1e-5)  # of the last batch: their bias is one
r = product(np.float32, epilogue=256, bias=bias)
near(back(bias, M, np.float32), r[2][1].sum(1), 1e-5)
other = on_device(np.zeros(N, np.float32))
r = product(np.float32, epilogue=512, bias=other)
near(back(other, N, np.float32), r[3][1].sum(0), 1e-5)
""", PRODUCT)


def test_attributes_have_their_sizes() -> None:
    on_device("""
made = {"MatmulDesc": make("MatmulDesc", 68, 0), "MatrixLayout": make("MatrixLayout", 0, c_uint64(4), c_uint64(4), c_int64(4)),
        "MatmulPreference": make("MatmulPreference")}
for kind, attribute, wrong in (("MatmulDesc", 3, c_int64(1)), ("MatmulDesc", 12, c_int(8)), ("MatmulDesc", 200, c_int(1)),
                               ("MatrixLayout", 5, c_int64(1)), ("MatrixLayout", 6, c_int(1)),
                               ("MatmulPreference", 5, c_uint64(16)), ("MatmulPreference", 1, c_uint32(16))):
    set_ = getattr(lt, f"cublasLt{kind}SetAttribute")
    assert set_(made[kind], attribute, byref(wrong), c_size_t(ctypes.sizeof(wrong))) == 7, (kind, attribute)
""", PRODUCT)


def test_products_wait_on_their_stream_and_can_be_captured() -> None:
    on_device("""
stream = drv.Stream(1)
kept = product(np.float32, stream=stream)
assert device.counters().products == 0
stream.synchronize()
assert device.counters().products == 1
drv.Context.pop()
assert lt.cublasLtCreate(byref(c_void_p())) == 1, "no context is current"
context.push()
""", PRODUCT)


# pycuda from source ----------------------------------------------------------------------------------------------------------------


def test_a_stub_of_the_driver_can_be_linked(tmp_path: Path) -> None:
    names = pycuda_build.declared_functions()
    assert {"cuInit", "cuMemAlloc_v2", "cuLaunchKernel", "cuProfilerStop"} <= set(names)
    (tmp_path / "stub.c").write_text(pycuda_build.stubs(names, 100))
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-o", str(tmp_path / "libcuda.so"), str(tmp_path / "stub.c")], check=True)
    (tmp_path / "use.c").write_text("int cuInit(unsigned); int main(void) { return cuInit(0) != 100; }")
    link = [f"-L{tmp_path}", "-lcuda", f"-Wl,-rpath,{tmp_path}"]
    subprocess.run(["gcc", str(tmp_path / "use.c"), *link, "-o", str(tmp_path / "use")], check=True)
    assert subprocess.run([str(tmp_path / "use")], check=False).returncode == 0
