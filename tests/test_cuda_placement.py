"""Graphs on CPUs and GPUs, through the real pycuda on the fake driver: the same numbers as on one CPU, and errors that change nothing."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from tests.cuda_worker import run

MODEL = """
x = gc.placeholder(gc.float32, (None, 6), name="x")
target = gc.placeholder(gc.float32, (None, 4), name="target")
with gc.device("/cpu:0"):
    table = gc.get_variable("table", (6, 5), initializer=gc.random_normal_initializer(seed=1))
    embedded = gc.matmul(x, table)
with gc.device("/gpu:0"):
    w = gc.get_variable("w", (5, 4), initializer=gc.random_normal_initializer(seed=2))
    b = gc.Variable(np.zeros(4, np.float32), name="b")
    y = gc.nn.softmax(gc.matmul(embedded, w) + b)
    noise = gc.random_uniform((3,), seed=3)
with gc.device("/gpu:1"):
    z = gc.tanh(y * 2.0)
with gc.device("/cpu:0"):
    loss = gc.reduce_mean(gc.square(z - target))
step = gc.train.GradientDescentOptimizer(0.5).minimize(loss)
random = np.random.default_rng(0)
feeds = {x: random.standard_normal((7, 6)).astype(np.float32), target: random.random((7, 4)).astype(np.float32)}
variables = gc.global_variables()
"""


def test_training_on_a_cpu_and_two_gpus_is_training_on_a_cpu() -> None:
    run(MODEL + """
results = []
for options in ({}, {"device_count": {"GPU": 0}, "allow_soft_placement": True}):
    with gc.Session(config=gc.ConfigProto(**options)) as session:
        session.run(gc.global_variables_initializer())
        plan = session.compile([loss, step, noise], feeds)
        devices = [segment.device for segment in getattr(plan, "segments", ())]
        results.append([session.run([loss, step, noise], feeds) for _ in range(6)] + [session.run(variables), session.list_variables()])
        if not options:
            assert devices == ["CPU:0", "GPU:0", "GPU:1", "CPU:0", "GPU:1", "GPU:0", "CPU:0"], devices
            assert [device.name[-5:] for device in session.list_devices()] == ["CPU:0", "GPU:0", "GPU:1"]
            assert session.run([loss, y], {x: feeds[x][:3], target: feeds[target][:3]})[1].shape == (3, 4)
for one, other in zip(*results):
    for a, b in zip(one, other):
        if isinstance(a, str) or a is None:
            assert a == b
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
assert results[0][5][0] < results[0][0][0]
collector.collect()
assert alive() == (0, 0, 2, 0, 0), alive()  # the two devices' own streams
""", devices=2)


@pytest.mark.gpu
def test_training_on_a_cpu_and_a_real_gpu_is_training_on_a_cpu() -> None:
    results = []
    for options in ({}, {"device_count": {"GPU": 0}, "allow_soft_placement": True}):
        with gc.Graph().as_default():
            names: dict[str, Any] = {"gc": gc, "np": np}
            exec(MODEL.replace("/gpu:1", "/gpu:0"), names)
            with gc.Session(config=gc.ConfigProto(**options)) as session:
                session.run(gc.global_variables_initializer())
                losses = [session.run([names["loss"], names["step"]], names["feeds"])[0] for _ in range(6)]
                results.append([*losses, *session.run(names["variables"])])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_gpu_that_fails_leaves_the_variables_of_the_cpu_as_they_were() -> None:
    run(MODEL + """
session = gc.Session()
session.run(gc.global_variables_initializer())
session.run([loss, step], feeds)
before = session.run(table)
fail_launch(3)
print(error_of(session.run, [loss, step], feeds).splitlines()[0])
np.testing.assert_array_equal(session.run(table), before)
assert "InternalError" in error_of(session.run, [loss, step], feeds)
session.close()
with gc.Session(config=gc.ConfigProto(device_count={"GPU": 0}, allow_soft_placement=True)) as other:
    other.run(gc.global_variables_initializer())
    other.run([loss, step], feeds)
""", devices=2)


def test_what_is_fed_from_a_device_must_be_on_the_device_of_the_whole_run() -> None:
    run(MODEL + """
class OnDevice:
    def __init__(self, array, ordinal):
        with device(ordinal).current as here:
            self.memory = here.allocate(array.nbytes, "a feed")
            here.upload(self.memory, array)
        data, typestr = (self.memory.address, False), array.dtype.str
        self.__cuda_array_interface__ = {"data": data, "shape": array.shape, "typestr": typestr, "version": 3}
there, wrong = OnDevice(feeds[x], 0), OnDevice(feeds[x], 1)
with gc.Session() as session:
    session.run(gc.global_variables_initializer())
    error = error_of(session.run, y, {x: there})
    assert error.startswith("InvalidArgumentError: The feed of 'x:0' is an array on a GPU, and the session runs on /cpu:0"), error
    with gc.device("/gpu:0"):
        doubled = gc.identity(x) * 2.0
    np.testing.assert_array_equal(session.run(doubled, {x: there}), feeds[x] * 2)
    assert "is an array on /gpu:1, and the session runs on /gpu:0" in error_of(session.run, doubled, {x: wrong})
""", devices=2)


@pytest.mark.parametrize("ordinal", [0, 1])
def test_config_and_visible_devices_choose_the_gpu(ordinal: int) -> None:
    run(f"""
v = gc.Variable([1.0, 2.0])
double = v * 2.0
options = gc.GPUOptions(visible_device_list="{ordinal}")
with gc.Session(config=gc.ConfigProto(device="gpu", gpu_options=options)) as session:
    session.run(v.initializer)
    assert session.run(double).tolist() == [2.0, 4.0]
    with device({ordinal}).current as here:
        assert here.free_bytes()[0] < here.free_bytes()[1]
    with device({1 - ordinal}).current as here:
        assert here.free_bytes()[0] == here.free_bytes()[1]
    with gc.device("/gpu:1"):
        other = gc.negative(v)
    error = error_of(session.run, other)
    assert "explicitly assigned to /device:GPU:1 but available devices are [ " in error, error
""", devices=2)


def test_too_little_memory_on_one_device_changes_nothing() -> None:
    """The GPU has no room for what its second segment reads; what the first took is given back, and smaller feeds run."""
    run("""
x = gc.placeholder(gc.float32, (None, 1024), name="x")
with gc.device("/gpu:0"):
    a = gc.tanh(x)
with gc.device("/cpu:0"):
    b = gc.concat([a, a * 2.0, a * 3.0], 0)
with gc.device("/gpu:0"):
    v = gc.Variable([0.0], name="v")
    c = v.assign_add(gc.reshape(gc.reduce_sum(b), [1]))
with gc.Session() as session:
    session.run(v.initializer)
    error = error_of(session.run, c, {x: np.ones((2048, 1024), np.float32)})
    assert error.startswith("ResourceExhaustedError: Out of memory on /gpu:0"), error
    assert session.run(v).tolist() == [0.0]
    np.testing.assert_allclose(session.run(c, {x: np.ones((4, 1024), np.float32)}), [4 * 1024 * 6 * np.tanh(1.0)], rtol=1e-5)
""", memory=24 << 20)


def test_a_session_takes_no_more_of_a_gpu_than_its_part() -> None:
    run("""
x = gc.placeholder(gc.float32, (None, 1024), name="x")
y = gc.tanh(x, name="y")
v = gc.Variable(np.zeros((256, 1024), np.float32), name="v")
def session(fraction):
    options = gc.GPUOptions(per_process_gpu_memory_fraction=fraction)
    return gc.Session(config=gc.ConfigProto(device="gpu", gpu_options=options))
rows = np.ones((700, 1024), np.float32)
with session(0.05) as small, session(0.5) as large:
    small.run(v.initializer)
    error = error_of(small.run, y, {x: rows})
    assert error.startswith("ResourceExhaustedError: Out of memory on /gpu:0"), error
    assert "the session may take 3.2 MiB (per_process_gpu_memory_fraction=0.05), of which" in error, error
    assert small.run(y, {x: rows[:50]}).shape == (50, 1024)
    assert large.run(y, {x: rows}).shape == (700, 1024)
    assert [device.memory_limit_bytes >> 20 for device in small.list_devices()[1:]] == [3]
""", memory=64 << 20)
