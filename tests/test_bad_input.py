"""Everything a user can do wrong: one clear error each, of TF1's kind, at most five lines, and the session goes on working after it."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc import cli
from graphc.core.parse import ParseError, parse_program
from graphc.runtime.arena import available_bytes

LINE = r"\n  declared at test_bad_input\.py:\d+: .*"


class World:
    """A graph with one of everything, and a session whose variable must keep its value."""

    def __init__(self) -> None:
        self.x = gc.placeholder(gc.float32, [None, 3], name="x")
        self.n = gc.placeholder(gc.int32, [], name="n")
        self.y = gc.multiply(self.x, 2.0, name="y")
        self.v = gc.Variable([1.0, 2.0], name="v")
        self.up = self.v.assign_add([1.0, 1.0])
        self.unset = gc.Variable([[0.0]], name="unset")
        with gc.Graph().as_default():
            self.foreign = gc.constant(1.0, name="foreign")
        self.session = gc.Session()
        self.session.run(self.v.initializer)
        self.rows = np.ones((2, 3), np.float32)

    def run(self, fetches: Any, feed_dict: Any = None) -> Any:
        return self.session.run(fetches, feed_dict)


@pytest.fixture
def world() -> Iterator[World]:
    """Checks afterwards that the session works and that its variable has not changed."""
    made = World()
    made.run(made.y, {made.x: made.rows})
    yield made
    np.testing.assert_array_equal(made.run(made.y, {made.x: made.rows}), 2 * made.rows)
    np.testing.assert_array_equal(made.run(made.v), [1.0, 2.0])


def refused(kind: type[BaseException], pattern: str, action: Callable[[], Any]) -> str:
    """Runs `action`, which must raise exactly `kind` with a text that `pattern` matches as a whole, in at most five lines."""
    with pytest.raises(kind) as caught:
        action()
    text = str(caught.value)
    assert type(caught.value) is kind
    assert re.fullmatch(pattern, text, re.DOTALL), text
    assert text.count("\n") < 5
    assert all(len(line) < 300 for line in text.splitlines())
    return text


# Declarations -----------------------------------------------------------------------------------------------------------------------------

def test_shapes_that_do_not_fit(world: World) -> None:
    refused(ValueError, r".*\(\?, 3\).*\(4,\).* for 'add' \(op: 'AddV2'\) with input shapes: \[\?,3\], \[4\]\." + LINE,
            lambda: world.x + gc.ones([4]))
    refused(ValueError, r".* for 'MatMul' \(op: 'MatMul'\) with input shapes: \[2,3\], \[2,3\]\." + LINE,
            lambda: gc.matmul(gc.ones([2, 3]), gc.ones([2, 3])))
    refused(ValueError, r"Dimension 0 in both shapes must be equal, but are 2 and 3\. Shapes are \[2\] and \[3\] for 'Assign' .*" + LINE,
            lambda: world.v.assign([1.0, 2.0, 3.0]))
    refused(ValueError, ".*6 elements.*" + LINE, lambda: gc.reshape(gc.ones([2, 3]), [4, 2]))


def test_types_that_do_not_fit(world: World) -> None:
    refused(TypeError, r"Input 'y' of 'AddV2' Op has type int32 that does not match type float32 of argument 'x'\.",
            lambda: world.x + world.n)
    refused(TypeError, r"Input 'y' of 'AddV2' Op has type float32 that does not match type int32 of argument 'x'\.", lambda: world.n + 1.5)
    refused(TypeError, r"Expected int32, got 1\.5 of type 'float' instead\.", lambda: gc.constant(1.5, gc.int32))
    refused(TypeError, "Input 'value' of 'Assign' Op has type int32 that does not match type float32 of argument 'ref'.*",
            lambda: world.v.assign(gc.constant([1, 2])))


def test_values_that_are_no_tensors() -> None:
    refused(ValueError, "None values not supported.", lambda: gc.constant(None))
    refused(ValueError, "Argument must be a dense tensor: .*", lambda: gc.constant([[1, 2], [3]]))
    refused(TypeError, "Failed to convert object of type <class 'str'> to Tensor.*", lambda: gc.constant("text"))
    refused(TypeError, "Failed to convert object of type <class 'object'> to Tensor.*", lambda: gc.constant(object()))
    refused(TypeError, ".*", lambda: gc.constant(np.array([1, None], object)))
    refused(TypeError, "Expected float32, got .*", lambda: gc.constant(1 + 2j, gc.float32))


def test_a_tensor_of_another_graph(world: World) -> None:
    refused(ValueError, r'Tensor\("foreign:0".*\) must be from the same graph as Tensor\("x:0".*\)\.', lambda: world.x + world.foreign)


def test_a_tensor_is_not_a_python_value(world: World) -> None:
    refused(gc.errors.OperatorNotAllowedInGraphError, "using a `Tensor` as a Python `bool` is not allowed.*", lambda: bool(world.n > 0))
    refused(gc.errors.OperatorNotAllowedInGraphError, "iterating over `Tensor` is not allowed.*", lambda: list(world.x))
    refused(TypeError, r"Cannot convert a symbolic Tensor \(n:0\) to a Python number: run it in a session\.", lambda: int(world.n))
    refused(TypeError, r"Cannot convert a symbolic Tensor \(x:0\) to a numpy array: run it in a session\.", lambda: np.sqrt(world.x))


def test_a_finalized_graph(world: World) -> None:
    gc.get_default_graph().finalize()
    refused(RuntimeError, r"Graph is finalized and cannot be modified\.", lambda: gc.constant(1))


# Fetches ----------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("fetch", [None, 3, 1.5, {1, 2}, object(), np.ones(2), b"y:0", (n for n in ())])
def test_a_fetch_of_what_cannot_be_fetched(world: World, fetch: Any) -> None:
    hint = "" if fetch is None else r", must be a string or Tensor\. \(Can not convert a .* into a Tensor or Operation\.\)"
    refused(TypeError, f"Fetch argument .* has invalid type <class '.*'>{hint}", lambda: world.run(fetch))
    refused(TypeError, "Fetch argument .*", lambda: world.run([world.v, {"k": (fetch,)}]))


@pytest.mark.parametrize(("name", "reason"), [
    ("nope:0", r"The name 'nope:0' refers to a Tensor which does not exist\. The operation, 'nope', does not exist in the graph\."),
    ("y:7", r"The name 'y:7' refers to a Tensor which does not exist\. The operation, 'y', exists but only has 1 outputs\."),
    ("nope", r"The name 'nope' refers to an Operation not in the graph\."),
    ("", r"The name '' refers to an Operation not in the graph\."),
    ("y:", "The name 'y:' looks a like a Tensor name, but is not a valid one\\. Tensor names must be of the form .*"),
])
def test_a_fetch_of_a_name_that_is_not_there(world: World, name: str, reason: str) -> None:
    refused(ValueError, rf"Fetch argument '{name}' cannot be interpreted as a Tensor\. \({reason}\)", lambda: world.run(name))


def test_fetches_of_another_graph(world: World) -> None:
    for foreign in (world.foreign, [world.v, world.foreign], world.foreign.op):
        refused(ValueError, "Fetch argument <graphc.* 'foreign.* cannot be interpreted as a Tensor.* is not an element of this graph.*",
                lambda foreign=foreign: world.run(foreign))


def test_a_fetch_that_is_marked(world: World) -> None:
    z = gc.negative(world.x, name="z")
    gc.get_default_graph().prevent_fetching(z.op)
    refused(ValueError, r"Operation 'z' has been marked as not fetchable\." + LINE, lambda: world.run(z))


def test_a_session_of_an_empty_graph() -> None:
    refused(ValueError, "Fetch argument 'a' cannot be interpreted as a Tensor.*", lambda: gc.Session(graph=gc.Graph()).run("a"))


# Feeds ------------------------------------------------------------------------------------------------------------------------------------

def test_a_missing_feed(world: World) -> None:
    expected = (r"You must feed a value for placeholder tensor 'x' with dtype float32 and shape \[\?, 3\]\n"
                r"  in operation 'x' \(Placeholder\)" + LINE + r"self\.x = gc\.placeholder.*")
    refused(gc.errors.InvalidArgumentError, expected, lambda: world.run(world.y))
    refused(gc.errors.InvalidArgumentError, expected, lambda: world.run([world.up, world.y]))  # and nothing is added to v


@pytest.mark.parametrize("shape", [(3, 2), (3,), (), (1, 1, 3), (0,)])
def test_a_feed_of_the_wrong_shape(world: World, shape: tuple[int, ...]) -> None:
    pattern = rf"Cannot feed value of shape {re.escape(str(shape))} for Tensor 'x:0', which has shape '\(\?, 3\)'" + LINE + r"self\.x = .*"
    refused(ValueError, pattern, lambda: world.run([world.up, world.y], {world.x: np.zeros(shape, np.float32)}))
    refused(ValueError, pattern, lambda: world.run(world.v, {world.x: np.zeros(shape, np.float32)}))  # where it is not needed, too


@pytest.mark.parametrize(("value", "reason"), [
    ("abc", "its elements must be numbers or bools, not <U3"), ([["a", "b", "c"]], "its elements must be numbers or bools, not <U1"),
    (None, "its elements must be numbers or bools, not object"), (np.array([[1, None, 2]], object), ".*not object"),
    (np.array([[1, 2, 3]], object), ".*not object"), ([[1j, 2, 3]], ".*not complex128"), ([[object()] * 3], ".*not object"),
    (np.array(["2020-01-01"] * 3, "M8[D]"), ".*not datetime64.*"), (np.zeros((1, 3), "f4,i4"), ".*not .*f4.*"), ({"a": 1}, ".*not object"),
    ([[2**80, 0, 0]], ".*not object"),
])
def test_a_feed_that_is_no_number(world: World, value: Any, reason: str) -> None:
    refused(TypeError, rf"Cannot feed .* for Tensor 'x:0' of type float32: {reason}" + LINE,
            lambda: world.run([world.up, world.y], {world.x: value}))


def test_a_ragged_feed(world: World) -> None:
    refused(ValueError, r"Cannot feed \[\[1, 2, 3\], \[1\]\] for Tensor 'x:0' of type float32: its lists are ragged: rows differ in length"
            + LINE, lambda: world.run(world.y, {world.x: [[1, 2, 3], [1]]}))


@pytest.mark.parametrize("value", [1.5, float("nan"), float("inf"), 2**40, -(2**31) - 1, np.float32(0.5), np.uint64(2**63)])
def test_a_feed_that_its_type_cannot_hold(world: World, value: Any) -> None:
    refused(TypeError, r"Cannot feed .* for Tensor 'n:0' of type int32: values of type .* would change" + LINE,
            lambda: world.run([world.up, world.n], {world.n: value}))


def test_a_tensor_as_a_feed(world: World) -> None:
    for value in (world.y, world.y.op, world.v):
        refused(TypeError, r"The value of a feed cannot be a graphc\.Tensor object\. .* passed to the feed with key Tensor\(\"x:0\".*",
                lambda value=value: world.run(world.y, {world.x: value}))


@pytest.mark.parametrize(("key", "reason"), [
    (1, r"Can not convert a int into a Tensor\."), (None, r"Can not convert a NoneType into a Tensor\."),
    ("x", r"The name 'x' refers to an Operation, not a Tensor\. .*"),
    ("q:0", r"The name 'q:0' refers to a Tensor which does not exist\. The operation, 'q', does not exist in the graph\."),
    (("x:0", 2), r"Can not convert a int into a Tensor\."),
])
def test_a_key_that_is_no_tensor(world: World, key: Any, reason: str) -> None:
    refused(TypeError, rf"Cannot interpret feed_dict key as Tensor: {reason}", lambda: world.run(world.y, {key: world.rows}))


def test_keys_of_another_kind_or_graph(world: World) -> None:
    refused(TypeError, r"Cannot interpret feed_dict key as Tensor: Can not convert a Operation into a Tensor\.",
            lambda: world.run(world.y, {world.x.op: world.rows}))
    refused(TypeError, r'Cannot interpret feed_dict key as Tensor: Tensor Tensor\("foreign:0".*\) is not an element of this graph\.',
            lambda: world.run(world.y, {world.foreign: 1.0}))
    for wrong in ([1], [world.x], [world.x, world.n]):  # the second are the keys of a run that was
        refused(TypeError, r"feed_dict must be a dictionary from tensors to values, but got <class 'list'>",
                lambda wrong=wrong: world.run(world.y, wrong))
    refused(TypeError, r"feed_dict must be a dictionary from tensors to values, but got <class 'int'>", lambda: world.run(world.y, 3))


def test_a_feed_that_is_marked_or_given_twice(world: World) -> None:
    z = gc.negative(world.x, name="z")
    gc.get_default_graph().prevent_feeding(z)
    refused(ValueError, r'Tensor Tensor\("z:0".*\) may not be fed\.' + LINE, lambda: world.run(world.v, {z: world.rows}))
    refused(ValueError, r"Tensor 'x:0' is fed twice in one feed_dict\." + LINE,
            lambda: world.run(world.y, {world.x: world.rows, "x:0": world.rows}))


def test_tuples_of_feeds_that_do_not_match(world: World) -> None:
    refused(ValueError, r"Cannot feed 1 values for a tuple of 2 tensors: .*x:0.*", lambda: world.run(world.y, {(world.x, world.n): (1,)}))
    refused(ValueError, r"Cannot feed a int for a tuple of 2 tensors: .*", lambda: world.run(world.y, {(world.x, world.n): 3}))


# Runs -------------------------------------------------------------------------------------------------------------------------------------

def test_an_uninitialised_variable(world: World) -> None:
    pattern = (r"Attempting to use uninitialized value unset: run its initializer first, for instance "
               r"graphc\.global_variables_initializer\(\)\n  in operation 'unset' \(VariableV2\)" + LINE + r"self\.unset = gc\.Variable.*")
    for fetches in (world.unset, world.unset.value(), [world.up, world.unset * 2.0], world.unset.assign_add([[1.0]])):
        refused(gc.errors.FailedPreconditionError, pattern, lambda fetches=fetches: world.run(fetches))


def test_many_uninitialised_variables() -> None:
    total = gc.add_n([gc.Variable(float(n), name=f"w{n}").value() for n in range(9)])
    refused(gc.errors.FailedPreconditionError, r"Attempting to use uninitialized value w0 \(and w1, w2, w3, w4, w5, \.\.\.\): .*" + LINE,
            lambda: gc.Session().run(total))


def test_a_shape_that_breaks_a_rule_when_it_runs(world: World) -> None:
    reshaped = gc.reshape(world.x, [world.n, 2], name="r")
    refused(gc.errors.InvalidArgumentError, r".*6 elements.*\[4,2\].*\n  in operation 'r' \(Reshape\)\n  inputs: x:0 \(2, 3\).*"
            + LINE, lambda: world.run([world.up, reshaped], {world.x: world.rows, world.n: 4}))
    refused(gc.errors.InvalidArgumentError, r".*\n  in operation 'filled' \(Fill\).*" + LINE,
            lambda: world.run(gc.fill([world.n], 0.0, name="filled"), {world.n: -1}))
    unknown = gc.placeholder(gc.float32, None)
    total = gc.add(world.x, unknown, name="total")
    assert world.run(total, {world.x: world.rows, unknown: 1.0}).shape == (2, 3)
    refused(gc.errors.InvalidArgumentError, r".*\n  in operation 'total' \(Add\)\n  inputs: x:0 \(2, 3\), .* \(5,\)" + LINE,
            lambda: world.run(total, {world.x: world.rows, unknown: np.ones(5, np.float32)}))


def test_a_negative_size_that_is_computed(world: World) -> None:
    filled = gc.fill([gc.reduce_sum(gc.cast(world.x, gc.int32))], 0.0, name="from_sum")
    refused(gc.errors.InvalidArgumentError, r"a shape cannot have negative dims: \(-6,\)\n  in operation 'from_sum' \(Fill\).*" + LINE,
            lambda: world.run(filled, {world.x: -np.ones((2, 3), np.float32)}))


def test_integer_division_by_zero_has_a_result(world: World) -> None:
    seven = gc.constant([7, -7])
    for divide in (gc.div, gc.floordiv, gc.truncatediv):
        np.testing.assert_array_equal(world.run(divide(seven, world.n), {world.n: 0}), [-1, -1])
    np.testing.assert_array_equal(world.run(gc.mod(seven, world.n), {world.n: 0}), [7, -7])
    lowest = gc.constant(-(2**31))
    assert world.run(gc.truncatediv(lowest, world.n), {world.n: -1}) == -(2**31)


@pytest.mark.parametrize("size", [10**7, 2**31, 10**15, 2**62])
def test_sizes_that_no_machine_has(world: World, size: int) -> None:
    def needs(name: str) -> str:
        return (r"Out of memory: a run needs .* [TP]iB, and this machine has .* [MGT]iB available\.\n"
                rf"  in operation '{name}' \(.*\)\n  which alone needs .* [TP]iB" + LINE)

    column = gc.zeros([size, 1])
    wide = gc.broadcast_to(world.x[:1, :1], [size, 10**7])  # at least 400 TiB
    refused(gc.errors.ResourceExhaustedError, needs("BroadcastTo"), lambda: world.run([world.up, wide], {world.x: world.rows}))
    if size >= 10**15:
        refused(gc.errors.ResourceExhaustedError, needs("zeros"), lambda: world.run([world.up, column]))
        refused(gc.errors.ResourceExhaustedError, needs("large"), lambda: world.run(gc.Variable(column, name="large").initializer))
        refused(ValueError, r"Cannot create a constant whose content is larger than 2GB: \(\d+,\) of float32\. Use fill, .*",
                lambda: gc.constant(0.0, shape=[size]))
        assert gc.range(size).shape == [size]
        refused(gc.errors.ResourceExhaustedError, needs("range_1"), lambda: world.run(gc.range(size)))


def test_variables_that_only_together_are_too_large() -> None:
    """Memory that is promised is not taken before it is written: each alone would be allowed."""
    each = 3 * available_bytes() // 4 // 4
    first, second = (gc.Variable(gc.zeros([each]), name=name) for name in ("first", "second"))
    session = gc.Session()
    refused(gc.errors.ResourceExhaustedError, r"Out of memory: a run needs .*\n  in operation '(first|second)' \(VariableV2\)\n.*" + LINE,
            lambda: session.run([first.initializer, second.initializer]))
    assert session.run(gc.constant(1)) == 1


def test_a_feed_whose_copy_no_machine_could_hold(world: World) -> None:
    """Arrays that repeat one element in memory may claim any size."""
    for dtype in (np.float32, np.float64):
        fed = np.broadcast_to(dtype(1), (10**13, 3))
        refused(gc.errors.ResourceExhaustedError, r"Out of memory: a copy of the feed of 'x:0' needs .* TiB, and this machine has .*",
                lambda fed=fed: world.run(world.y, {world.x: fed}))


def test_a_closed_session(world: World) -> None:
    closed = gc.Session()
    closed.close()
    refused(RuntimeError, r"Attempted to use a closed Session\.", lambda: closed.run(world.v))


# Options ----------------------------------------------------------------------------------------------------------------------------------

def test_options_that_are_none(world: World) -> None:
    refused(TypeError, r"config must be a graphc\.ConfigProto, but got <class 'dict'>", lambda: gc.Session(config={}))
    refused(TypeError, r"graph must be a graphc\.Graph, but got <class 'int'>", lambda: gc.Session(graph=3))
    refused(TypeError, r"target must be a string, but got <class 'graphc\.core\.graph\.Graph'>", lambda: gc.Session(gc.get_default_graph()))
    refused(ValueError, r"ConfigProto\(pipeline='fast'\): it must be one of default, unfused, none, or a Pipeline",
            lambda: gc.Session(config=gc.ConfigProto(pipeline="fast")))
    refused(ValueError, r"ConfigProto\(pipeline=\['default'\]\): .*", lambda: gc.Session(config=gc.ConfigProto(pipeline=["default"])))
    refused(ValueError, r"ConfigProto\(intra_op_parallelism_threads=-1\): it must not be negative",
            lambda: gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=-1)))
    for count in ("a", 1.5, None):
        refused(TypeError, r"ConfigProto\(intra_op_parallelism_threads=.*\) has type .*, but expected one of: int",
                lambda count=count: gc.Session(config=gc.ConfigProto(intra_op_parallelism_threads=count)))
    with pytest.raises(AttributeError):
        gc.ConfigProto().intra_op_threads = 2
    with pytest.raises(TypeError):
        gc.ConfigProto(intra_op_threads=2)


# Program text -----------------------------------------------------------------------------------------------------------------------------

GOOD = """program {
  %0 = parameter() {name = "x:0", type = f32[2]} : f32[2]
  %1 = add(%0, %0) : f32[2]
  return %1
}
"""


@pytest.mark.parametrize(("old", "new", "line", "column"), [
    ("add(", "ad d(", 3, 8), ("%1 = add(%0, %0)", "%1 = add(%0, %7)", 3, 16), ("add(%0, %0)", "nonsense(%0)", 3, 8),
    ("}\n", "", 4, None), ("program {", "programme {", 1, 1), ("f32[2]} :", "f32[2} :", 2, None), ("add", "@", 3, 8),
])
def test_text_that_is_no_program(old: str, new: str, line: int, column: int | None) -> None:
    assert parse_program(GOOD).outputs[0].name == "add"
    start = GOOD.rindex(old)
    with pytest.raises(ParseError) as caught:
        parse_program(GOOD[:start] + new + GOOD[start + len(old):])
    assert str(caught.value).startswith(f"line {caught.value.line}, column {caught.value.column}: ")
    assert caught.value.line == line or (column is None and caught.value.line == line + 1)
    if column is not None:
        assert abs(caught.value.column - column) <= 3


def test_text_that_is_no_program_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "broken.program"
    file.write_text(GOOD.replace("add(", "ad("))
    assert cli.main(["opt", "--pass", "simplify", str(file)]) == 2
    assert re.match(r"graphc: \S+/broken\.program: line 3, column \d+: ", capsys.readouterr().err)
