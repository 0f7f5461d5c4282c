"""Windows reduced, and back: every sample as it is compiled for users, what its kernels are, and what is refused."""
from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.core import dtypes
from graphc.core.interpret import interpret
from graphc.core.program import Program
from graphc.passes.pipelines import DEFAULT
from graphc.primitives.reduce_window import window_attrs
from graphc.runtime.compile import compile_program
from tests.executing import execute
from tests.op_cases import in_one_program
from tests.op_table import Case, t
from tests.op_table_pooling import ALL
from tests.tolerances import assert_close


@pytest.mark.parametrize("primitive", ["reduce_window", "select_and_scatter", "select_and_gather"])
@pytest.mark.usefixtures("vector_bits")
def test_fused(primitive: str) -> None:
    cases = [case for case in ALL if case.primitive == primitive]
    program, feeds = in_one_program(cases)
    for case, node, result in zip(cases, program.outputs, execute(program, feeds)[0], strict=True):
        try:
            assert_close(result, case.want(), node.dtype, case.depth, case.scale)
        except AssertionError as error:
            raise AssertionError(f"{case.id}: {error}") from None


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_reference(case: Case) -> None:
    assert_close(interpret(case.program(), case.arrays())[0][0], case.want(), case.dtype, case.depth, case.scale)


def _pooled_and_back(shape: tuple[int, ...], size: int, stride: int) -> Program:
    x = p.parameter("x", t(dtypes.float32, *shape))
    attrs = window_attrs(x, "maximum", (1, size, size, 1), (1, stride, stride, 1))
    pooled = p.reduce_window(x, "maximum", attrs.sizes, attrs.strides)
    g = p.parameter("g", pooled.type)
    return Program((x, g), (pooled, p.select_and_scatter(x, g, attrs)))


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_max_pooling_and_its_gradient_are_three_kernels(size: int, stride: int) -> None:
    """The greatest, which tap it is, and the sum over covering windows; nothing as large as all windows together."""
    program = _pooled_and_back((2, 13, 13, 8), size, stride)
    plan = compile_program(program, DEFAULT, 1)
    assert len(plan.kernels) == 3
    assert plan.memory.arena_bytes <= 2 * program.outputs[0].type.nbytes


def test_nan() -> None:
    """It is the greatest of its windows, whose gradient then goes nowhere."""
    x = gc.placeholder(gc.float32, [1, 1, 4, 1])
    y = gc.nn.max_pool(x, [1, 2], 1, "VALID")
    (back,) = gc.gradients(y, x)
    with gc.Session() as session:
        found = session.run([y, back], {x: np.array([1, np.nan, 2, 3], np.float32).reshape(1, 1, 4, 1)})
    np.testing.assert_array_equal(found[0].ravel(), [np.nan, np.nan, 3])
    np.testing.assert_array_equal(found[1].ravel(), [0, 0, 0, 1])


def test_channels_first() -> None:
    """The same numbers in the other layout."""
    x = np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype(np.float32)
    last, first = gc.constant(x), gc.constant(np.moveaxis(x, -1, 1).copy())
    pairs = [(f(last, 3, 2, "SAME"), f(first, 3, 2, "SAME", data_format="NCHW")) for f in (gc.nn.max_pool, gc.nn.avg_pool)]
    with gc.Session() as session:
        for a, b in session.run(pairs):
            assert_close(np.moveaxis(a, -1, 1), b, depth=9)


def test_positions_of_type_int32() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 3)).astype(np.float32)
    wide = gc.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")[1]
    narrow = gc.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME", Targmax=gc.int32)[1]
    assert (wide.dtype, narrow.dtype) == (gc.int64, gc.int32)
    with gc.Session() as session:
        np.testing.assert_array_equal(*session.run([wide, narrow]))


_X = "gc.placeholder(gc.float32, [2, 7, 9, 3])"


@pytest.mark.parametrize(("code", "error", "message"), [
    ("nn.max_pool(gc.ones([3, 4, 5]), 2, 2, 'SAME')", ValueError, "Shape must be rank 4 but is rank 3"),
    (f"nn.max_pool({_X}, [1, 2, 2], 2, 'SAME')", ValueError, "ksize should be of length 1, 2 or 4 but was 3"),
    (f"nn.max_pool({_X}, [1, 20, 2, 1], 1, 'VALID')", ValueError, "Negative dimension size caused by subtracting 20 from 7"),
    (f"nn.max_pool({_X}, 2, [1, 0, 1, 1], 'VALID')", ValueError, "Stride must be > 0, but got 0"),
    (f"nn.max_pool({_X}, [1, 0, 2, 1], 1, 'VALID')", ValueError, "ksize cannot be zero"),
    (f"nn.max_pool({_X}, 2, 2, 'FULL')", ValueError, "'padding' of 'MaxPool' Op passed string 'FULL' not in: \"SAME\", \"VALID\""),
    (f"nn.max_pool({_X}, 2, 2, [[0, 0]])", TypeError, "Expected string for argument 'padding'"),
    (f"nn.max_pool({_X}, 2, 2, 'SAME', 'NHWD')", ValueError, "'data_format' of 'MaxPool' Op passed string 'NHWD'"),
    (f"nn.max_pool({_X}, 2, 2, 'SAME', input={_X})", ValueError, "Cannot specify both 'value' and 'input'"),
    ("nn.max_pool(gc.ones([2, 3, 3, 1], gc.bool), 2, 2, 'SAME')", TypeError, "not bool"),
    ("nn.avg_pool(gc.ones([2, 3, 3, 1], gc.uint8), 2, 2, 'SAME')", TypeError, "not uint8"),
    ("nn.max_pool_v2(gc.ones([2, 3]), 2, 2, 'SAME')", ValueError, "Input tensor must be of rank 3, 4 or 5 but was 2"),
    ("nn.max_pool_v2(gc.placeholder(gc.float32), 2, 2, 'SAME')", ValueError, "must have a rank or a data format"),
    ("nn.max_pool1d(gc.ones([2, 3]), 2, 2, 'SAME')", ValueError, "Shape must be rank 3 but is rank 2"),
    ("nn.max_pool1d(gc.ones([2, 3, 4]), 2, 2, 'SAME', data_format='NHWC')", ValueError, "data_format must be 'NWC' or 'NCW'"),
    (f"nn.pool({_X}, [2, 2], 'MIN', 'SAME')", ValueError, "2-D MIN pooling is not supported"),
    (f"nn.pool({_X}, [2], 'MAX', 'SAME')", ValueError, "must have rank 3"),
    (f"nn.pool({_X}, [2, 2], 'MAX', 'VALID', [2, 2], [2, 2])", ValueError, "strides > 1 not supported in conjunction"),
    (f"nn.pool({_X}, [2, 2], 'MAX', 'SAME', [2, 2])", ValueError, "SAME padding is not implemented for dilation_rate > 1"),
    (f"nn.max_pool_with_argmax({_X}, 2, 2, 'SAME')", TypeError, "Expected list for 'ksize' argument"),
    (f"nn.max_pool_with_argmax({_X}, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME', 'NCHW')", ValueError, "Data formats other than 'NHWC'"),
    (f"nn.max_pool_with_argmax({_X}, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME', Targmax=gc.float32)", TypeError, "must be int32 or int64"),
    ("nn.lrn(gc.ones([3, 4, 5]))", ValueError, "Shape must be rank 4 but is rank 3"),
    ("nn.lrn(gc.ones([3, 4, 5, 6], gc.int32))", TypeError, "LRN takes floating numbers, not int32"),
], ids=lambda value: value if isinstance(value, str) and value.startswith("nn") else "")
def test_refused(code: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        eval(f"gc.{code}", {"gc": gc})


def test_static_shapes() -> None:
    x = gc.placeholder(gc.float32, [None, 28, None, 3])
    assert gc.nn.max_pool(x, 2, 2, "SAME").shape.as_list() == [None, 14, None, 3]
    assert gc.nn.avg_pool(x, 3, 2, "VALID").shape.as_list() == [None, 13, None, 3]
    assert gc.nn.max_pool(gc.placeholder(gc.float32), 2, 2, "SAME").shape.rank in (4, None)
    assert [each.shape.as_list() for each in gc.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")] == [[None, 14, None, 3]] * 2


def test_names() -> None:
    x = gc.ones([1, 4, 4, 1])
    names = [gc.nn.max_pool(x, 2, 2, "SAME").name, gc.nn.max_pool2d(x, 2, 2, "SAME").name, gc.nn.avg_pool(x, 2, 2, "SAME").name,
             gc.nn.max_pool1d(x[0], 2, 2, "SAME").name, gc.nn.avg_pool1d(x[0], 2, 2, "SAME").name,
             gc.nn.pool(x, [2, 2], "MAX", "SAME").name, gc.nn.lrn(x).name]
    assert names == ["MaxPool:0", "MaxPool2d:0", "AvgPool:0", "MaxPool1d/Squeeze:0", "AvgPool1D/Squeeze:0", "max_pool:0", "LRN:0"]
