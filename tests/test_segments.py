"""A Program in segments computes what it does in one piece, whatever stands where: interpreted, and compiled (every device is a CPU)."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

import graphc as gc
import graphc.primitives as p
from graphc.core.devices import KEPT, Devices
from graphc.core.dtypes import float32
from graphc.core.interpret import interpret
from graphc.core.program import Node, Program, make
from graphc.core.types import TensorType
from graphc.core.verify import verify
from graphc.runtime.placed import PlacedBound, placed_executable
from graphc.runtime.placement import Device
from graphc.runtime.segments import Split, split, whole
from graphc.runtime.targets import Targets
from tests.random_programs import programs

X = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
Array = np.ndarray[Any, Any]


def config(cpus: int = 2, **options: Any) -> gc.ConfigProto:
    return gc.ConfigProto(device_count={"CPU": cpus}, **options)


# Programs --------------------------------------------------------------------------------------------------------------------------------

HOMES = {"v": "GPU:0", "w": "CPU:0"}


def spread(program: Program, choose: Callable[[Node], str]) -> Program:
    """`program` with its nodes on the devices that `choose` says, and transfers between."""
    devices = Devices(HOMES)
    new: dict[Node, Node] = {}
    for node in program.nodes:
        device = HOMES[node.attrs.variable] if node.name == "variable_assign" else choose(node)
        operands = [devices.bring(new[operand], device) for operand in node.operands]
        new[node] = make(node.primitive, operands, node.attrs)
    return Program(program.parameters, tuple(new[o] for o in program.outputs), tuple(new[e] for e in program.effects))


def run_segments(parts: Split, feeds: list[Array], variables: Mapping[str, Array]) -> tuple[list[Array], dict[str, Array]]:
    """Interprets segment by segment. Every array is there when it is taken, and given once; variables change at their device's last."""
    arrays: dict[int, Array] = dict(enumerate(feeds))
    written: dict[str, Array] = {}
    kept: dict[tuple[str, str], Array] = {}
    for number, segment in enumerate(parts.segments):
        verify(segment.program)
        assert not any(node.name == "transfer" for node in segment.program.nodes)
        names = segment.program.variables
        assert {HOMES[name] for name in names if not name.startswith(KEPT)} <= {segment.device}
        assert not segment.device.startswith("CPU") or not any(name.startswith(KEPT) for name in names)
        own = {name: value for (device, name), value in kept.items() if device == segment.device}
        outputs, changed = interpret(segment.program, [arrays[each] for each in segment.takes], {**variables, **own})
        assert not arrays.keys() & set(segment.gives)
        arrays.update(zip(segment.gives, outputs, strict=True))
        kept.update({(segment.device, name): value for name, value in changed.items() if name.startswith(KEPT)})
        written.update({name: value for name, value in changed.items() if not name.startswith(KEPT)})
        if written.keys() & changed.keys():
            assert segment.device not in [later.device for later in parts.segments[number + 1:]]
    count = len(parts.program.parameters)
    outputs = [arrays.pop(count + number) for number in range(len(parts.program.outputs))]
    assert [(a.dtype, a.shape) for _, a in sorted(arrays.items())[count:]] == [(t.dtype.np_dtype, t.dims) for t in parts.handed_over]
    return outputs, written


@given(programs(), st.data())
@effort(max_examples=150, deadline=None)
def test_segments_compute_what_the_program_does(program: Program, data: st.DataObject) -> None:
    names = data.draw(st.sampled_from((["CPU:0", "GPU:0"], ["GPU:0", "GPU:1"], ["CPU:0", "CPU:1", "GPU:0", "GPU:1"])))
    placed = spread(program, lambda node: data.draw(st.sampled_from(names)))
    verify(placed)
    parts = split(placed, HOMES)
    assert all(one.device != other.device for one, other in zip(parts.segments, parts.segments[1:], strict=False))
    generator = np.random.default_rng(0)
    feeds = [generator.standard_normal(each.dims).astype(np.float32) for each in program.parameters]
    variables = {name: generator.standard_normal(t.dims).astype(np.float32) for name, t in program.variables.items()}
    wanted, written = interpret(program, feeds, variables)
    for outputs, changed in (interpret(placed, feeds, variables), run_segments(parts, feeds, variables)):
        for one, other in zip((*outputs, *changed.values()), (*wanted, *written.values()), strict=True):
            np.testing.assert_array_equal(one, other)
        assert changed.keys() == written.keys()


@given(programs(), st.data())
@effort(max_examples=15, deadline=None)
def test_compiled_segments_compute_what_the_program_does(program: Program, data: st.DataObject) -> None:
    names = ["CPU:0", "CPU:1", "GPU:0"]
    parts = split(spread(program, lambda node: data.draw(st.sampled_from(names))), HOMES)
    generator = np.random.default_rng(0)
    feeds = [generator.standard_normal(each.dims).astype(np.float32) for each in program.parameters]
    targets = Targets(gc.Graph(), config().settings())
    variables = {}
    for name, type_ in program.variables.items():
        variables[name] = generator.standard_normal(type_.dims).astype(np.float32)
        with targets._graph.as_default():
            gc.Variable(variables[name], name=name)
        targets.variables.array(name, type_)[...] = variables[name]
    wanted, written = interpret(program, feeds, variables)
    devices = [Device(*segment.device.split(":")) for segment in parts.segments]  # all of them compute on the CPU
    executables = [targets.compile(segment.program, device) for segment, device in zip(parts.segments, devices, strict=True)]
    bounds = [targets.bind(executable, device) for executable, device in zip(executables, devices, strict=True)]
    bound = PlacedBound(placed_executable(parts, executables), bounds)
    outputs = bound.empty_outputs()
    assert bound.run(*feeds, *outputs) is None
    found = {name: targets.variables.array(name, type_) for name, type_ in program.variables.items()}
    for one, other in zip((*outputs, *found.values()), (*wanted, *{**variables, **written}.values()), strict=True):
        scale = np.abs(other[np.isfinite(other)]).max(initial=1.0)
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-3 * scale)


def _tensor(*dims: int) -> TensorType:
    return TensorType(float32, dims)


def test_one_device_is_one_segment_with_every_parameter() -> None:
    x, unused = p.parameter("x", _tensor(3)), p.parameter("unused", _tensor(2))
    there = p.transfer(x, "CPU:0", "GPU:0")
    parts = split(Program((unused, x), (p.tanh(there), x)), HOMES)
    (segment,) = parts.segments
    assert (segment.device, segment.takes, segment.gives) == ("GPU:0", (0, 1), (2, 3))
    assert segment.program == Program((unused, x), (p.tanh(x), x))
    program = Program((unused, x), (p.tanh(x),))
    assert whole(program, "GPU:0").segments[0].program is program


def test_a_program_of_nothing_is_one_segment_on_the_default_device() -> None:
    for program in (Program((), ()), Program((), (p.constant(np.float32(1)),))):
        (segment,) = split(program, HOMES, "GPU:1").segments
        assert segment.device == "GPU:1"
        assert segment.program == program


def test_going_on_with_one_device_makes_few_segments() -> None:
    """Two chains that go back and forth take turns together, whatever the order in which they were declared."""
    devices = Devices(HOMES)
    ends = []
    for name in ("x", "y"):
        node = p.parameter(name, _tensor(3))
        for place in ("CPU:0", "GPU:0", "CPU:0", "GPU:0"):
            node = p.exponential(devices.bring(node, place))
        ends.append(node)
    parameters = tuple(p.parameter(name, _tensor(3)) for name in ("x", "y"))
    assert [segment.device for segment in split(Program(parameters, tuple(ends)), HOMES).segments] == ["CPU:0", "GPU:0"] * 2


def test_what_can_wait_does() -> None:
    """On its way to the GPU and back nobody needs the hyperbolic tangent, which is needed later."""
    x = p.parameter("x", _tensor(3))
    a = p.exponential(x)
    there = p.exponential(p.transfer(a, "CPU:0", "GPU:0"))
    aside = p.tanh(p.transfer(p.variable_read("v", _tensor(3)), "GPU:0", "CPU:0"))
    program = Program((x,), (p.add(p.transfer(p.tanh(there), "GPU:0", "CPU:0"), aside),))
    assert [segment.device for segment in split(program, HOMES).segments] == ["CPU:0", "GPU:0", "CPU:0"]


def test_a_gpu_keeps_what_it_needs_again() -> None:
    """The first exponential goes to the CPU, and stays on the GPU for the sum: only what changes device becomes an array."""
    x = p.parameter("x", _tensor(3))
    first = p.exponential(p.transfer(x, "CPU:0", "GPU:0"))
    there = p.tanh(p.transfer(first, "GPU:0", "CPU:0"))
    parts = split(Program((x,), (p.add(first, p.transfer(there, "CPU:0", "GPU:0")),)), HOMES)
    assert [(segment.device, segment.takes, segment.gives) for segment in parts.segments] == [
        ("GPU:0", (0,), (2,)), ("CPU:0", (2,), (3,)), ("GPU:0", (3,), (1,))]
    (kept,) = [effect.attrs.variable for effect in parts.segments[0].program.effects]
    assert kept.startswith(KEPT)
    assert list(parts.segments[2].program.variables) == [kept]


def test_a_gpu_takes_nothing_twice() -> None:
    """A feed and a value of the CPU, read in two segments there."""
    x = p.parameter("x", _tensor(3))
    here = p.tanh(x)
    fed, value = p.transfer(x, "CPU:0", "GPU:0"), p.transfer(here, "CPU:0", "GPU:0")
    first = p.add(fed, value)
    back = p.transfer(p.tanh(p.transfer(first, "GPU:0", "CPU:0")), "CPU:0", "GPU:0")
    program = Program((x,), (p.multiply(p.multiply(fed, value), back),))
    parts = split(program, HOMES)
    assert [(segment.device, segment.takes, segment.gives) for segment in parts.segments] == [
        ("CPU:0", (0,), (2,)), ("GPU:0", (0, 2), (3,)), ("CPU:0", (3,), (4,)), ("GPU:0", (4,), (1,))]
    feeds = [np.array([0.5, -1.0, 2.0], np.float32)]
    np.testing.assert_array_equal(run_segments(parts, feeds, {})[0], interpret(program, feeds)[0])


def test_the_first_device_is_the_one_that_leads_to_fewest_segments() -> None:
    x = p.parameter("x", _tensor(3))
    a = p.tanh(p.transfer(x, "CPU:0", "GPU:0"))
    b = p.add(p.tanh(x), p.transfer(a, "GPU:0", "CPU:0"))
    assert [segment.device for segment in split(Program((x,), (a, b)), HOMES).segments] == ["GPU:0", "CPU:0"]


def test_operands_on_two_devices_are_an_error() -> None:
    x = p.parameter("x", _tensor(3))
    with pytest.raises(ValueError, match=r"^<add\(.*> has operands on CPU:0 and GPU:0$"):
        split(Program((x,), (p.add(x, p.transfer(x, "CPU:0", "GPU:0")),)), HOMES)


def test_what_comes_back_needs_no_transfer() -> None:
    devices = Devices(HOMES)
    x = p.parameter("x", _tensor(3))
    there = devices.bring(x, "GPU:0")
    assert there is p.transfer(x, "CPU:0", "GPU:0")
    assert devices.bring(there, "CPU:0") is x
    assert devices.bring(there, "GPU:1") is p.transfer(x, "CPU:0", "GPU:1")
    constant = p.constant(np.ones(3, np.float32))
    assert devices.bring(constant, "GPU:0") is constant
    assert devices.of(p.exponential(constant)) is None
