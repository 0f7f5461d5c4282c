"""Convolution beyond its tables: errors in TF1's words, declared shapes and names, digits of indices, packing of windows, fusion."""
from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.codegen import ir
from graphc.codegen.llvm.product_digits import seen_along
from graphc.codegen.lower import lower
from graphc.core import dtypes
from graphc.core.program import Program
from graphc.core.text import print_program
from graphc.core.types import TensorType
from graphc.passes.expand import Expand
from graphc.passes.pipelines import DEFAULT, run_pipeline
from graphc.passes.storage import is_step
from tests.composite_convolution import convolved
from tests.executing import execute

F32 = dtypes.float32
Ints = tuple[int, ...]


def image(*shape: int | None, dtype: gc.DType = gc.float32) -> gc.Tensor:
    return gc.placeholder(dtype, list(shape))


# Errors -------------------------------------------------------------------------------------------------------------------------------

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "rank of images": (lambda: gc.nn.conv2d(image(2, 7, 8), image(3, 3, 3, 8), 1, "SAME"), ValueError,
                       "Shape must be rank 4 but is rank 3"),
    "rank of filters": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3), 1, "SAME"), ValueError,
                        "Shape must be rank 4 but is rank 3"),
    "channels": (lambda: gc.nn.conv2d(image(2, 7, 8, 4), image(3, 3, 3, 8), 1, "SAME"), ValueError,
                 "Depth of input (4) is not a multiple of input depth of filter (3)"),
    "groups": (lambda: gc.nn.conv2d(image(2, 7, 8, 9), image(3, 3, 3, 8), 1, "SAME"), ValueError,
               "Depth of output (8) is not a multiple of the number of groups (3)"),
    "too small": (lambda: gc.nn.conv2d(image(2, 2, 8, 3), image(3, 3, 3, 8), 1, "VALID"), ValueError,
                  "Negative dimension size caused by subtracting 3 from 2"),
    "stride zero": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), [1, 0, 1, 1], "VALID"), ValueError,
                    "Stride must be > 0, but got 0"),
    "stride of the batch": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), [2, 1, 1, 1], "VALID"), ValueError,
                            "does not yet support strides in the batch and depth dimensions"),
    "number of strides": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), [1, 1, 1], "VALID"), ValueError,
                          "strides should be of length 1, 2 or 4 but was 3"),
    "padding's word": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), 1, "same"), ValueError,
                       "Attr 'padding' of 'Conv2D' Op passed string 'same' not in: \"SAME\", \"VALID\", \"EXPLICIT\""),
    "no padding": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), 1), TypeError,
                   "Expected string for argument 'padding' not None"),
    "padding's pairs": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), 1, [[0, 0], [1, 2]]), ValueError,
                        "When padding is a list, it must be of size 4. Got padding of size: 2"),
    "padding of the batch": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), 1, [[1, 0], [1, 1], [1, 1], [0, 0]]), ValueError,
                             "Nonzero explicit padding in the batch or depth dimensions is not supported"),
    "layout": (lambda: gc.nn.conv2d(image(2, 3, 7, 8), image(3, 3, 3, 8), [1, 1, 2, 2], "SAME", data_format="NHCW"), ValueError,
               "Attr 'data_format' of 'Conv2D' Op passed string 'NHCW' not in: \"NHWC\", \"NCHW\""),
    "two filters": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(3, 3, 3, 8), 1, "SAME", filters=image(3, 3, 3, 8)), ValueError,
                    "Cannot specify both 'filter' and 'filters'"),
    "integers": (lambda: gc.nn.conv2d(image(2, 7, 8, 3, dtype=gc.int32), image(1, 1, 3, 1, dtype=gc.int32), 1, "SAME"), TypeError,
                 "Value passed to parameter 'input' has DataType int32 not in list of allowed values"),
    "types": (lambda: gc.nn.conv2d(image(2, 7, 8, 3), image(1, 1, 3, 1, dtype=gc.float64), 1, "SAME"), TypeError,
              "Input 'filter' of 'Conv2D' Op has type float64 that does not match type float32 of argument 'input'"),
    "strides and rates": (lambda: gc.nn.convolution(image(2, 7, 8, 3), image(3, 3, 3, 8), "VALID", [2, 1], [2, 3]), ValueError,
                          "strides > 1 not supported in conjunction with dilation_rate > 1"),
    "rank of a convolution": (lambda: gc.nn.convolution(image(2, 7), image(3, 4), "SAME"), ValueError,
                              "Input tensor must be of rank 3, 4 or 5 but was 2"),
    "strides of volumes": (lambda: gc.nn.conv3d(image(2, 7, 6, 5, 3), image(3, 3, 2, 3, 5), 2, "SAME"), TypeError,
                           "Expected list for 'strides' argument to 'conv3d' Op, not 2"),
    "transposed sizes": (lambda: gc.nn.conv2d_transpose(image(2, 4, 5, 3), image(3, 3, 4, 3), [8, 10, 4], 2), ValueError,
                         "Shape must be rank 4 but is rank 3"),
    "transposed size": (lambda: gc.nn.conv2d_transpose(image(2, 4, 5, 3), image(3, 3, 4, 3), [2, 19, 11, 4], 2, "VALID"), ValueError,
                        "Size of out_backprop doesn't match computed: actual = 4, computed = 9, spatial_dim: 1 input: 19 filter: 3"),
    "transposed batch": (lambda: gc.nn.conv2d_transpose(image(2, 4, 5, 3), image(3, 3, 4, 3), [3, 8, 10, 4], 2), ValueError,
                         "input and out_backprop must have the same batch size: 3 and 2"),
    "depthwise channels": (lambda: gc.nn.depthwise_conv2d(image(2, 7, 8, 5), image(3, 3, 4, 2), [1, 1, 1, 1], "SAME"), ValueError,
                           "Dimensions must be equal, but are 5 and 4"),
    "depthwise strides": (lambda: gc.nn.depthwise_conv2d(image(2, 7, 8, 4), image(3, 3, 4, 2), 2, "SAME"), TypeError,
                          "Expected list for 'strides' argument to 'depthwise_conv2d_native' Op, not 2"),
    "pointwise": (lambda: gc.nn.separable_conv2d(image(2, 7, 8, 4), image(3, 3, 4, 2), image(3, 1, 8, 5), [1] * 4, "SAME"), ValueError,
                  "Dimensions 3 and 1 are not compatible"),
    "rate": (lambda: gc.nn.atrous_conv2d_transpose(image(2, 3, 4, 2), image(3, 3, 4, 2), [2, 7, 8, 4], 0, "VALID"), ValueError,
             "rate 0 cannot be less than one"),
    "morphology": (lambda: gc.nn.dilation2d(image(2, 7, 8, 5), image(3, 3, 4), [1] * 4, [1] * 4, "SAME"), ValueError,
                   "Dimensions must be equal, but are 5 and 4"),
    "block size": (lambda: gc.space_to_depth(image(2, 8, 8, 4), 1), ValueError, "passed 1 less than minimum 2"),
    "block": (lambda: gc.space_to_depth(image(2, 7, 8, 4), 2), ValueError, "Dimension size must be evenly divisible by 2 but is 7"),
    "depth": (lambda: gc.depth_to_space(image(2, 6, 8, 6), 2), ValueError, "Dimension size must be evenly divisible by 4 but is 6"),
    "block of the batch": (lambda: gc.space_to_batch_nd(image(2, 6, 8, 4), [2, 3], [[1, 1], [0, 0]]), ValueError,
                           "Dimension size must be evenly divisible by 3 but is 8"),
    "block shape": (lambda: gc.space_to_batch_nd(image(2, 6, 8, 4), [0, 2], [[1, 1], [0, 0]]), ValueError, "block_shape must be positive"),
    "paddings": (lambda: gc.space_to_batch_nd(image(2, 6, 8, 4), [1, 2], [[-1, 1], [0, 0]]), ValueError, "paddings cannot be negative"),
    "crops": (lambda: gc.batch_to_space_nd(image(8, 1, 8, 4), [2, 2], [[2, 1], [0, 0]]), ValueError,
              "Negative dimension size caused by subtracting 1 from 0"),
    "patches": (lambda: gc.image.extract_image_patches(image(2, 7, 8, 3), [1, 3, 3, 2], [1] * 4, [1] * 4, "SAME"), ValueError,
                "'ksizes' of 'extract_image_patches' must be positive, and 1 for batch and channels"),
}


@pytest.mark.parametrize("what", ERRORS)
def test_errors_are_told_in_tf1s_words(what: str) -> None:
    build, kind, words = ERRORS[what]
    with pytest.raises(kind, match=re.escape(words)):
        build()


def test_a_size_that_is_computed_is_checked_when_it_is_known() -> None:
    sizes = gc.placeholder(gc.int32, [4])
    given, ones = image(1, 4, 4, 2), np.ones((1, 4, 4, 2), np.float32)
    result = gc.nn.conv2d_transpose(given, gc.ones([3, 3, 1, 2]), sizes, 2)
    assert result.shape.as_list() == [1, None, None, 1]  # images and features are the operands'
    with gc.Session() as session:
        assert session.run(result, {sizes: [1, 8, 8, 1], given: ones}).shape == (1, 8, 8, 1)
        with pytest.raises(gc.errors.InvalidArgumentError, match="actual = 4, computed = 6"):
            session.run(result, {sizes: [1, 11, 8, 1], given: ones})


# Shapes and names, as TF 1.15 gives them --------------------------------------------------------------------------------------------------

def test_declared_shapes_and_names() -> None:
    w = image(3, 3, 3, 8)
    for tensor, name, shape in (
            (gc.nn.conv2d(image(None, None, None, 3), w, [1, 2, 2, 1], "SAME"), "Conv2D:0", [None, None, None, 8]),
            (gc.nn.conv2d(gc.placeholder(gc.float32), w, [1, 2, 2, 1], "SAME"), "Conv2D_1:0", [None, None, None, 8]),
            (gc.nn.conv2d(image(2, 7, 8, 3), gc.placeholder(gc.float32), [1, 2, 2, 1], "SAME"), "Conv2D_2:0", [2, 4, 4, None]),
            (gc.nn.conv1d(image(2, 3, 7), image(3, 3, 5), 2, "SAME", data_format="NCW"), "conv1d/Squeeze:0", [2, 5, 4]),
            (gc.nn.conv3d(image(2, 7, 6, 5, 3), image(3, 3, 2, 3, 5), [1, 2, 2, 1, 1], "SAME"), "Conv3D:0", [2, 4, 3, 5, 5]),
            (gc.nn.convolution(image(2, 7, 8, 3), w, "SAME", [2, 2]), "convolution:0", [2, 4, 4, 8]),
            (gc.nn.conv2d_transpose(image(2, 4, 5, 8), w, gc.placeholder(gc.int32), 2), "conv2d_transpose:0", [2, None, None, 3]),
            (gc.nn.depthwise_conv2d(image(None, None, 8, 4), image(3, 3, 4, 2), [1] * 4, "VALID"), "depthwise:0", [None, None, 6, 8]),
            (gc.nn.separable_conv2d(image(2, 7, 8, 4), image(3, 3, 4, 2), image(1, 1, 8, 5), [1] * 4, "VALID"), "separable_conv2d:0",
             [2, 5, 6, 5]),
            (gc.nn.erosion2d(image(2, 7, 8, 4), image(3, 3, 4), [1] * 4, [1] * 4, "SAME"), "erosion2d/Neg_1:0", [2, 7, 8, 4]),
            (gc.space_to_depth(image(None, None, 6, 4), 2), "SpaceToDepth:0", [None, None, 3, 16]),
            (gc.space_to_batch_nd(image(2, 6, 8, 4), gc.placeholder(gc.int32, [2]), [[1, 1], [0, 0]]), "SpaceToBatchND:0",
             [None, None, None, 4]),
            (gc.image.extract_image_patches(image(None, None, 8, 3), [1, 3, 3, 1], [1, 2, 2, 1], [1] * 4, "VALID"), "ExtractImagePatches:0",
             [None, None, 3, 27])):
        assert (tensor.name, tensor.shape.as_list()) == (name, shape)


def test_ties_go_to_the_first_tap_in_morphology() -> None:
    x = gc.placeholder(gc.float32, [1, 1, 3, 1])
    (slope,) = gc.gradients(gc.nn.dilation2d(x, gc.zeros([1, 2, 1]), [1] * 4, [1] * 4, "VALID"), [x])
    with gc.Session() as session:
        assert session.run(slope, {x: np.ones((1, 1, 3, 1), np.float32)}).ravel().tolist() == [1, 1, 0]


# Digits of indices ----------------------------------------------------------------------------------------------------------------------

def convolution(x: Ints, w: Ints, **fields: Any) -> Program:
    operands = p.parameter("x", TensorType(F32, x)), p.parameter("w", TensorType(F32, w))
    return Program(operands, (p.convolution(*operands, **fields),))


def product_of(program: Program) -> ir.Product:
    final = run_pipeline(program, DEFAULT)[-1].program
    (step,) = (node for node in final.nodes if is_step(node))
    (product,) = (stmt for stmt in ir.walk(lower(step).body) if isinstance(stmt, ir.Product))
    return product


@pytest.mark.parametrize(("channels", "run"), [(32, 32), (16, 16), (5, 15), (1, 9), (8, 24)])
def test_windows_are_runs_of_channels(channels: int, run: int) -> None:
    """Few channels join with the taps beside them in a row, up to a vector of 16; rows of taps do not follow each other in memory."""
    product = product_of(convolution((2, 9, 9, channels), (3, 3, channels, 32), low=(1, 1), high=(1, 1)))
    seen = seen_along(product.lhs, product.k, product.depth, product.i, product.m, 16)
    assert seen is not None
    assert seen.run == (3 if channels == 1 else run)
    assert np.prod([digit.extent for digit in seen.along]) == product.depth


def test_what_is_divided_twice_has_no_digits() -> None:
    i, k = ir.Var("i"), ir.Var("k")
    buffer = ir.Buffer("x", F32, (100,), "in")

    def divided(a: ir.Expr, b: int) -> ir.Expr:
        return ir.Apply("divide", (a, ir.index(b)), dtypes.int64)
    both = ir.Apply("add", (divided(k, 4), divided(k, 6)), dtypes.int64)
    assert seen_along(ir.Load(buffer, (both,)), k, 60, i, 4, 16) is None
    assert seen_along(ir.Load(buffer, (k,)), k, 60, i, 4, 16) is None, "nothing to take apart"


# Packing ------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("x", "w", "fields"), [
    ((1, 4, 5, 48), (3, 3, 48, 20), {"low": (1, 1), "high": (1, 1)}),  # runs of whole vectors that no panel divides
    ((1, 3, 3, 256), (3, 3, 256, 18), {"low": (1, 1), "high": (1, 1)}),  # several blocks of depth
    ((1, 2, 15, 1280), (1, 2, 1280, 17), {}),  # runs longer than a block
    ((2, 5, 6, 7), (3, 2, 7, 33), {"strides": (2, 1), "low": (1, 0), "high": (1, 1)}),
    ((1, 17, 19, 3), (7, 7, 3, 40), {"strides": (2, 2), "low": (3, 3), "high": (2, 3)}),
    ((1, 9, 8, 24), (3, 3, 24, 3), {"low": (1, 1), "high": (1, 1), "rhs_dilation": (2, 1)}),  # few outer features
    ((1, 5, 6, 32), (3, 3, 4, 32), {"feature_group_count": 8}),  # narrow groups
    ((1, 4, 4, 40), (4, 4, 40, 2), {"lhs_dilation": (2, 2), "low": (2, 2), "high": (2, 2)})])
@pytest.mark.usefixtures("vector_bits")
def test_windows_are_packed_as_they_are_seen(x: Ints, w: Ints, fields: dict[str, Any]) -> None:
    """The convolution and both of its gradients, against loops over taps, on every vector width."""
    forward = convolution(x, w, **fields)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, w)]
    wide = [a.astype(np.float64) for a in arrays]
    apart = fields.get("lhs_dilation", (1, 1))
    spread = np.zeros((x[0], *((n - 1) * b + 1 for n, b in zip(x[1:3], apart, strict=True)), x[3]))
    spread[:, ::apart[0], ::apart[1]] = wide[0]
    pairs = tuple(zip(fields.get("low", (0, 0)), fields.get("high", (0, 0)), strict=True))
    strides, rates = fields.get("strides", (1, 1)), fields.get("rhs_dilation", (1, 1))
    want = convolved(spread, wide[1], strides, pairs, rates)
    (got,), _ = execute(forward, arrays)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.sqrt(w[0] * w[1] * w[2]))


def test_a_gradient_is_the_same_sum_from_the_other_side() -> None:
    """<convolution(x, w), y> = <x, back(y, w)> = <w, filter(x, y)>, computed by machine code."""
    for x, w, fields in (((2, 6, 7, 40), (3, 3, 40, 36), {"strides": (2, 2), "low": (1, 1), "high": (1, 1)}),
                         ((1, 5, 9, 64), (3, 3, 4, 64), {"feature_group_count": 16, "low": (1, 1), "high": (1, 1)})):
        operands = [p.parameter("x", TensorType(F32, x)), p.parameter("w", TensorType(F32, w))]
        result = p.convolution(*operands, **fields)
        y = p.parameter("y", result.type)
        back = p.convolution_back(y, operands[1], x[1:-1], **fields)
        of_filter = p.convolution_filter(operands[0], y, w[:2], **fields)
        rng = np.random.default_rng(0)
        arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, w, y.dims)]
        found, _ = execute(Program((*operands, y), (result, back, of_filter)), arrays)
        sums = [np.vdot(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(found, (arrays[2], *arrays[:2]), strict=True)]
        np.testing.assert_allclose(sums, sums[0], rtol=1e-4)


# Passes -------------------------------------------------------------------------------------------------------------------------------

def test_a_convolution_with_bias_and_relu_is_one_kernel() -> None:
    x, w = p.parameter("x", TensorType(F32, (2, 8, 8, 16))), p.parameter("w", TensorType(F32, (3, 3, 16, 32)))
    b = p.parameter("b", TensorType(F32, (32,)))
    y = p.convolution(x, w, low=(1, 1), high=(1, 1))
    result = p.maximum(p.add(y, p.broadcast_in_dim(b, y.shape, (3,))), p.full(0, y.type))
    final = run_pipeline(Program((x, w, b), (result,)), DEFAULT)[-1].program
    assert [node.attrs.kind for node in final.nodes if is_step(node)] == ["dot"]


def test_channels_second_are_put_in_order_once() -> None:
    x, w = p.parameter("x", TensorType(F32, (2, 16, 8, 8))), p.parameter("w", TensorType(F32, (3, 3, 16, 32)))
    y = p.transpose(p.convolution(p.transpose(x, (0, 2, 3, 1)), w, low=(1, 1), high=(1, 1)), (0, 3, 1, 2))
    final = run_pipeline(Program((x, w), (y,)), DEFAULT)[-1].program
    assert [node.name if node.name != "fusion" else node.attrs.kind for node in final.nodes if is_step(node)] == ["transpose", "dot"]


def test_no_zero_is_multiplied_in_a_transposed_convolution() -> None:
    expanded = Expand()(convolution((1, 4, 4, 8), (3, 3, 8, 8), lhs_dilation=(2, 2), low=(1, 1), high=(2, 2)))
    taps = [node.operands[1].dims[:2] for node in expanded.nodes if node.name == "dot_general"]
    assert sum(a * b for a, b in taps) == 9
    assert "base_dilations = [2" not in print_program(expanded)


def test_programs_without_expansions_stay_as_they_are() -> None:
    x = p.parameter("x", TensorType(F32, (3,)))
    program = Program((x,), (p.exponential(x),))
    assert Expand()(program) is program
    assert "expand" not in [stage.name for stage in run_pipeline(program, DEFAULT)]


ATTRIBUTES: tuple[tuple[Callable[[], Any], str], ...] = (
    (lambda: convolution((1, 4, 2), (2, 2, 2), strides=(0,)), r"convolution\(f32\[1,4,2\], f32\[2,2,2\]\): strides \(0,\)"),
    (lambda: convolution((1, 4, 2), (2, 3, 2)), "1 groups need 1 times the filter's 3 input features"),
    (lambda: convolution((1, 4, 2), (0, 2, 2)), r"the filter's sizes \(0,\) must be positive"),
    (lambda: convolution((1, 4, 2), (2, 2, 2, 2)), "both operands must have 1 spatial axes and two more"),
    (lambda: p.convolution_filter(p.full(0, TensorType(F32, (1, 4, 2))), p.full(0, TensorType(F32, (1, 4, 2))), (2,)),
     r"filters of \(2,\) give f32\[1,3,2\]"),
    (lambda: p.windows(p.full(0, TensorType(F32, (4,))), p.constant(0, F32), 0, (2,), strides=(0,)), r"strides \(0,\)"),
    (lambda: p.windows(p.full(0, TensorType(F32, (4,))), p.constant(0, dtypes.int32), 0, (2,)), "must be a scalar of type f32"))


@pytest.mark.parametrize(("build", "words"), ATTRIBUTES)
def test_primitives_say_what_is_wrong(build: Callable[[], Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        build()
