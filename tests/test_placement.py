"""Which device an operation goes to: TF1's rules, TF1's words for what is wrong, and the options of a session that have to do with it.

A second CPU (`device_count`) and faked GPUs stand for other devices; test_placed_sessions.py runs graphs on several.
"""
from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.errors import InvalidArgumentError
from graphc.runtime import placement
from graphc.runtime.config import Settings
from graphc.runtime.cuda.detect import Device as FoundGpu
from graphc.runtime.placement import Placer

FULL = "/job:localhost/replica:0/task:0/device:"
X = np.arange(12, dtype=np.float32).reshape(4, 3) / 8


def config(cpus: int = 2, **options: Any) -> gc.ConfigProto:
    return gc.ConfigProto(device_count={"CPU": cpus}, **options)


def settings(cpus: int = 2, **options: Any) -> Settings:
    return config(cpus, **options).settings()


def devices(**options: Any) -> dict[str, str]:
    """Where the operations of the default graph go: name -> short name of the device."""
    graph = gc.get_default_graph()
    return {operation.name: device.short for operation, device in Placer(graph, settings(**options)).place(graph.get_operations()).items()}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs whose architecture is the CPU's."""
    monkeypatch.setattr(placement, "gpus", lambda: ((FoundGpu("one", "", 1 << 30, 1), FoundGpu("two", "", 2 << 30, 1)), None))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "gpus", lambda: ((), "the NVIDIA driver is missing: install it"))


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where anybody looks for GPUs."""
    monkeypatch.setattr(placement, "gpus", lambda: pytest.fail("looked for GPUs"))


# Where an operation goes -----------------------------------------------------------------------------------------------------------------

def test_scopes_then_config_then_the_cpu(two_gpus: None) -> None:
    gc.placeholder(gc.float32, (), name="plain")
    with gc.device("/gpu:1"):
        gc.placeholder(gc.float32, (), name="scoped")
        with gc.device("/cpu:0"):
            gc.placeholder(gc.float32, (), name="inner")
        with gc.device(None):
            gc.placeholder(gc.float32, (), name="forgotten")
    with gc.device(lambda operation: "/cpu:1" if operation.name == "called" else ""):
        gc.placeholder(gc.float32, (), name="called")
        gc.placeholder(gc.float32, (), name="refused")
    with gc.device("/job:localhost/task:0"), gc.device("gpu"):
        gc.placeholder(gc.float32, (), name="merged")
    there = {"scoped": "GPU:1", "inner": "CPU:0", "called": "CPU:1", "merged": "GPU:0"}
    assert devices() == {"plain": "CPU:0", "forgotten": "CPU:0", "refused": "CPU:0"} | there
    assert devices(device="gpu") == {"plain": "GPU:0", "forgotten": "GPU:0", "refused": "GPU:0"} | there
    assert devices(device="/cpu:1") == {"plain": "CPU:1", "forgotten": "CPU:1", "refused": "CPU:1"} | there


def test_what_touches_a_variable_is_with_it() -> None:
    with gc.device("/cpu:1"):
        v = gc.Variable([1.0, 2.0], name="v")
    with gc.device("/cpu:0"):
        gc.assign(v, [3.0, 4.0], name="write")
        v.assign_add([1.0, 1.0])
        v.read_value()
        gc.negative(v, name="user")
    found = devices()
    assert {name: device for name, device in found.items() if "value" not in name} == {
        "v": "CPU:1", "v/Assign": "CPU:1", "v/read": "CPU:1", "write": "CPU:1", "AssignAdd": "CPU:1", "read": "CPU:1", "user": "CPU:0",
        "v/read_1": "CPU:1"}


def test_an_optimizer_works_where_its_variables_are() -> None:
    """As TensorFlow 1.15 places the same graph, but for the gradients, which go with their forward operations here."""
    x = gc.placeholder(gc.float32, (2,), name="x")
    with gc.device("/cpu:1"):
        v = gc.get_variable("v", (2,))
        y = gc.reduce_sum(gc.tanh(v * x) * v)
    gc.train.AdamOptimizer().minimize(y)
    gc.global_variables_initializer()
    found = devices()
    assert {name for name, device in found.items() if device == "CPU:0"} == {"x", "Adam", "init"}


def test_initial_values_are_made_where_they_are_read() -> None:
    with gc.device("/cpu:1"):
        v = gc.get_variable("v", (3,), initializer=gc.random_normal_initializer())
    noise = gc.random_uniform((3,), name="noise")
    with gc.device("/cpu:1"):
        gc.add(noise, v)
    shared = gc.random_uniform((3,), name="shared")
    with gc.device("/cpu:1"):
        gc.add(shared, v)
    with gc.device("/cpu:0"):
        gc.add(shared, v)
    found = devices()
    assert {device for name, device in found.items() if name.startswith(("v", "noise"))} == {"CPU:1"}
    assert {device for name, device in found.items() if name.startswith("shared")} == {"CPU:0"}
    assert {device for name, device in devices(device="/cpu:0").items() if name.startswith("noise")} == {"CPU:0"}


def test_colocation() -> None:
    with gc.device("/cpu:1"):
        a = gc.placeholder(gc.float32, (), name="a")
    with gc.colocate_with(a):
        b = gc.placeholder(gc.float32, (), name="b")
    with gc.device("/cpu:0"), gc.colocate_with(b):
        gc.add(a, b, name="c")
    assert devices() == {"a": "CPU:1", "b": "CPU:1", "c": "CPU:1"}


def test_a_placed_operation_stays() -> None:
    v = gc.Variable([1.0], name="v")
    placer = Placer(gc.get_default_graph(), settings())
    assert {device.short for device in placer.place(gc.get_default_graph().get_operations()).values()} == {"CPU:0"}
    with gc.device("/cpu:1"):
        other = gc.placeholder(gc.float32, (), name="other")
    with gc.colocate_with(v.op), gc.colocate_with(other):
        late = gc.no_op(name="late")
    assert placer.place([late])[late].short == "CPU:0"


def test_long_chains_of_unplaced_operations() -> None:
    value = gc.random_uniform((2,))
    for _ in range(3000):
        value = value + 1.0
    with gc.device("/cpu:1"):
        gc.identity(value)
    assert set(devices().values()) == {"CPU:1"}


# Words of errors -------------------------------------------------------------------------------------------------------------------------

def test_an_unknown_device_is_an_error_that_names_the_operation_and_its_line(no_gpu: None) -> None:
    with gc.device("/gpu:3"):
        y = gc.negative(gc.placeholder(gc.float32, (), name="x"), name="b")
    with gc.Session(config=config()) as session, pytest.raises(InvalidArgumentError) as caught:
        session.run(y, {"x:0": 1.0})
    text = str(caught.value)
    assert text.startswith(
        "Cannot assign a device for operation b: Operation was explicitly assigned to /device:GPU:3 but available devices are "
        f"[ {FULL}CPU:0, {FULL}CPU:1 ]. Make sure the device specification refers to a valid device. The requested device appears to be a "
        "GPU, but the NVIDIA driver is missing: install it")
    assert "in operation 'b' (Neg)" in text
    assert re.search(r"declared at .*test_placement\.py:\d+", text)
    assert caught.value.op.name == "b"


@pytest.mark.parametrize("name", ["/cpu:2", "/device:TPU:0", "/job:worker", "/job:worker/task:1/cpu:0", "/replica:1", "/task:3/gpu:0"])
def test_devices_that_there_are_not(name: str, two_gpus: None) -> None:
    with gc.device(name):
        gc.no_op(name="nothing")
    said = re.escape(str(gc.DeviceSpec.parse(name)))
    words = f"^Cannot assign a device for operation nothing: Operation was explicitly assigned to {said} "
    with pytest.raises(InvalidArgumentError, match=words):
        devices()
    with gc.Session(config=config()) as session:
        assert session.run(gc.constant(3.0)) == 3.0  # nobody asks for the other


def test_a_reader_that_no_run_needs_may_ask_for_anything() -> None:
    noise = gc.random_uniform((2,), name="noise")
    with gc.device("/gpu:7"):
        gc.negative(noise)
    graph = gc.get_default_graph()
    needed = [operation for operation in graph.get_operations() if operation.name.startswith("noise")]
    assert {device.short for device in Placer(graph, settings()).place(needed).values()} == {"CPU:0"}


def test_devices_from_functions_are_checked_too() -> None:
    with gc.device(lambda operation: "/cpu:9"):
        gc.no_op(name="nothing")
    with pytest.raises(InvalidArgumentError, match="explicitly assigned to /device:CPU:9 but"):
        devices()
    with pytest.raises(TypeError, match="Expected binary or unicode string, got 3"), gc.device(lambda operation: 3):
        gc.no_op()
    with gc.device(lambda operation: gc.DeviceSpec(device_type="CPU", device_index=1)):
        assert gc.no_op().device == "/device:CPU:1"
    with pytest.raises(ValueError, match="Unknown attribute: 'foo' in '/foo:1'"), gc.device(lambda operation: "/foo:1"):
        gc.no_op()


@pytest.mark.parametrize(("text", "words"), [
    ("/foo:1", "Unknown attribute: 'foo' in '/foo:1'"), ("cpu:0:1", "Unknown attribute: 'cpu' in 'cpu:0:1'"),
    ("/gpu:0/cpu:0", "Cannot specify multiple device types: /gpu:0/cpu:0"),
    ("/device:CPU:x", "invalid literal for int() with base 10: 'x'")])
def test_words_of_bad_names(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"), gc.device(text):
        pass


def test_conflicting_colocation() -> None:
    with gc.device("/cpu:0"):
        a = gc.placeholder(gc.float32, (), name="a")
    with gc.device("/cpu:1"):
        b = gc.placeholder(gc.float32, (), name="b")
    with gc.colocate_with(a), gc.colocate_with(b):
        c = gc.add(a, b, name="c")
    with gc.Session(config=config()) as session, pytest.raises(InvalidArgumentError) as caught:
        session.run(c, {a: 1.0, b: 2.0})
    assert str(caught.value).startswith(
        "Cannot colocate nodes a and b: Cannot merge devices with incompatible ids: '/device:CPU:0' and '/device:CPU:1'")
    with gc.Session(config=config(allow_soft_placement=True)) as session:
        assert session.run(c, {a: 1.0, b: 2.0}) == 3.0


def test_two_variables_on_two_devices_cannot_be_updated_by_one_operation() -> None:
    """TF1 refuses this graph, too: an operation is with every variable that it writes."""
    with gc.device("/cpu:0"):
        v = gc.Variable([1.0], name="v")
    gc.train.MomentumOptimizer(0.1, 0.9).minimize(gc.reduce_sum(v * v))
    (slot,) = [operation for operation in gc.get_default_graph().get_operations() if operation.name == "v/Momentum"]
    slot.device = "/device:CPU:1"
    with pytest.raises(InvalidArgumentError, match=r"Cannot colocate nodes v and v/Momentum: .* incompatible ids"):
        devices()


# Soft placement and the log --------------------------------------------------------------------------------------------------------------

def test_soft_placement_says_why(no_gpu: None, capsys: pytest.CaptureFixture[str]) -> None:
    with gc.device("/gpu:3"):
        y = gc.negative(gc.placeholder(gc.float32, (), name="x"), name="y")
    with gc.Session(config=config(allow_soft_placement=True, log_device_placement=True)) as session:
        assert session.run(y, {"x:0": 1.0}) == -1.0
        assert session.run(y, {"x:0": 2.0}) == -2.0
    reason = "  (/device:GPU:3 is not available. The requested device appears to be a GPU, but the NVIDIA driver is missing: install it)"
    assert capsys.readouterr().err == f"y: (Neg): {FULL}CPU:0{reason}\n"


def test_soft_placement_says_why_of_the_default_too(no_gpu: None, capsys: pytest.CaptureFixture[str]) -> None:
    with gc.device("/cpu:0"):
        gc.no_op(name="scoped")
    gc.no_op(name="plain")
    devices(device="/gpu:0", allow_soft_placement=True, log_device_placement=True)
    scoped, plain = capsys.readouterr().err.splitlines()
    assert scoped == f"scoped: (NoOp): {FULL}CPU:0"
    assert plain.startswith(f"plain: (NoOp): {FULL}CPU:0  (/device:GPU:0 is not available. The requested device appears")


def test_soft_placement_does_not_find_other_machines() -> None:
    with gc.device("/job:worker"):
        gc.no_op()
    with pytest.raises(InvalidArgumentError, match="explicitly assigned to /job:worker but"):
        devices(allow_soft_placement=True)


def test_the_log_has_one_line_for_each_operation_once(capsys: pytest.CaptureFixture[str]) -> None:
    with gc.device("/cpu:1"):
        y = gc.matmul(gc.placeholder(gc.float32, (2, 2), name="x"), gc.placeholder(gc.float32, (2, 2), name="w"))
    with gc.Session(config=config(log_device_placement=True)) as session:
        for _ in range(3):
            session.run(y, {"x:0": X[:2, :2].copy(), "w:0": X[:2, :2].copy()})
        session.run(gc.negative(y), {y: X[:2, :2].copy()})
    assert capsys.readouterr().err == f"MatMul: (MatMul): {FULL}CPU:1\nNeg: (Neg): {FULL}CPU:0\n"


def test_nothing_is_logged_unless_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with gc.Session() as session:
        session.run(gc.constant(1.0))
    assert capsys.readouterr().err == ""


# Devices that there are ------------------------------------------------------------------------------------------------------------------

def test_list_devices(two_gpus: None) -> None:
    with gc.Session(config=config(gpu_options=gc.GPUOptions(visible_device_list="1,0"))) as session:
        found = session.list_devices()
    halved = config(gpu_options=gc.GPUOptions(per_process_gpu_memory_fraction=0.5))
    with gc.Session(config=halved) as session:
        assert [each.memory_limit_bytes for each in session.list_devices()[2:]] == [1 << 29, 1 << 30]
    assert [(each.name, each.device_type) for each in found] == [
        (f"{FULL}CPU:0", "CPU"), (f"{FULL}CPU:1", "CPU"), (f"{FULL}GPU:0", "GPU"), (f"{FULL}GPU:1", "GPU")]
    assert [each.memory_limit_bytes for each in found[2:]] == [2 << 30, 1 << 30]
    assert all(each.memory_limit_bytes > 1 << 20 for each in found)


def test_gpus_may_be_hidden_and_reordered(two_gpus: None) -> None:
    def gpus(**options: Any) -> list[tuple[str, int]]:
        placer = Placer(gc.get_default_graph(), gc.ConfigProto(**options).settings())
        return [(device.short, device.physical) for device in placer.devices if device.kind == "GPU"]

    assert gpus() == [("GPU:0", 0), ("GPU:1", 1)]
    assert gpus(gpu_options=gc.GPUOptions(visible_device_list="1")) == [("GPU:0", 1)]
    assert gpus(gpu_options=gc.GPUOptions(visible_device_list="1, 0")) == [("GPU:0", 1), ("GPU:1", 0)]
    assert gpus(device_count={"GPU": 1}) == [("GPU:0", 0)]
    assert gpus(device_count={"GPU": 0}) == []
    with pytest.raises(InvalidArgumentError, match="'visible_device_list' listed an invalid GPU id '2' but visible device count is 2"):
        gpus(gpu_options=gc.GPUOptions(visible_device_list="0,2"))


def test_a_gpu_that_is_not_there_is_an_error_when_the_session_is_made(no_gpu: None) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        gc.Session(config=gc.ConfigProto(device="gpu"))
    assert str(caught.value) == (f"ConfigProto(device='/device:GPU:*'): available devices are [ {FULL}CPU:0 ]. The requested device "
                                 "appears to be a GPU, but the NVIDIA driver is missing: install it")
    with gc.Session(config=gc.ConfigProto(device="gpu", allow_soft_placement=True)) as session:
        assert session.run(gc.constant(1.0)) == 1.0
    with gc.Session() as session:
        assert session.run(gc.constant(2.0)) == 2.0


def test_an_ordinal_that_is_not_there(two_gpus: None) -> None:
    gc.Session(config=gc.ConfigProto(device="/gpu:1")).close()
    with pytest.raises(InvalidArgumentError, match=r"ConfigProto\(device='/device:GPU:2'\): available devices are .*GPU:1 \]\.$"):
        gc.Session(config=gc.ConfigProto(device="/gpu:2"))


def test_a_session_on_the_cpu_never_looks_for_gpus(no_search: None) -> None:
    with gc.device("/cpu:0"):
        v = gc.Variable([1.0])
    with gc.Session(config=gc.ConfigProto(device="cpu", log_device_placement=True)) as session:
        session.run(v.initializer)
        assert session.run(v + 1.0) == [2.0]


@pytest.mark.parametrize(("options", "kind", "words"), [
    ({"device": "disk"}, ValueError, """ConfigProto(device='disk'): Unknown attribute: 'disk' in 'disk'; write "cpu", "gpu" or"""),
    ({"device": "/job:x"}, ValueError, "ConfigProto(device='/job:x'): it must name a CPU or a GPU"),
    ({"device": "tpu"}, ValueError, "ConfigProto(device='tpu'): it must name a CPU or a GPU"),
    ({"device": 0}, TypeError, "ConfigProto(device=0) has type int, but expected one of: str, None"),
    ({"device_count": {"CPU": -1}}, ValueError, "a count must not be negative"),
    ({"device_count": {"CPU": "2"}}, TypeError, "it maps names of kinds of devices to ints"),
    ({"device_count": 2}, TypeError, "ConfigProto(device_count=2) has type int, but expected one of: dict"),
    ({"products": "cublas"}, ValueError, "ConfigProto(products='cublas'): it must be one of auto, cublaslt, generated"),
    ({"products_precision": "tf32"}, ValueError, "ConfigProto(products_precision='tf32'): it must be one of float32, tfloat32, bfloat16"),
    ({"gpu_options": {}}, TypeError, "ConfigProto(gpu_options={}) has type dict, but expected one of: GPUOptions"),
    ({"gpu_options": gc.GPUOptions(visible_device_list="0,x")}, ValueError,
     "Could not parse entry in 'visible_device_list': 'x'. visible_device_list = 0,x"),
    ({"gpu_options": gc.GPUOptions(visible_device_list="0,0")}, ValueError, "a GPU is listed twice"),
    ({"gpu_options": gc.GPUOptions(per_process_gpu_memory_fraction=1.5)}, ValueError, "it must be between 0 and 1"),
    ({"gpu_options": gc.GPUOptions(per_process_gpu_memory_fraction="all")}, TypeError, "has type str, but expected one of: int, float"),
])  # fmt: skip
def test_options_are_checked_when_the_session_is_made(options: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        gc.Session(config=gc.ConfigProto(**options))
