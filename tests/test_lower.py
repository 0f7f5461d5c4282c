"""Lowering: every primitive and hand-made groups as kernels in the interpreter, the algebra of indices, and the structure of the loops."""
from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc.primitives as p
from graphc.codegen import ir
from graphc.codegen import lower_index as li
from graphc.codegen.lower import lower
from graphc.codegen.rewrite import loads
from graphc.codegen.schedule import CpuShape, schedule_cpu
from graphc.codegen.text import print_kernel
from graphc.core import dtypes
from graphc.core.program import Node
from graphc.core.types import TensorType
from tests.groups import F32, SAMPLES, Sample, gelu, layer, layer_norm, softmax, t
from tests.kernels import group, run_node, run_program
from tests.op_cases import CASES
from tests.op_table import Case
from tests.tolerances import assert_close

GOLDEN = Path(__file__).parent / "golden"
DIVISIONS = ("divide", "remainder")


def wide(kernel: ir.Kernel) -> ir.Kernel:
    return schedule_cpu(kernel, CpuShape(512))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_primitive(case: Case) -> None:
    got = run_program(case.expanded(), case.arrays(), wide)[0]
    assert_close(got, case.want(), case.dtype, depth=case.depth, scale=case.scale)


def plain(kernel: ir.Kernel) -> ir.Kernel:
    return kernel


# The interpreter takes seconds for the plain loops of long rows; scheduled they are vectors.
AS_IT_IS = [pytest.param(sample, plain, id=f"lowered-{sample.id}") for sample in SAMPLES if sample.id != "softmax-long"]
SCHEDULED = [pytest.param(sample, wide, id=f"scheduled-{sample.id}") for sample in SAMPLES]


@pytest.mark.parametrize(("sample", "schedule"), [*AS_IT_IS, *SCHEDULED])
def test_group(sample: Sample, schedule: Callable[[ir.Kernel], ir.Kernel]) -> None:
    node = sample.node()
    results = run_node(node, sample.arrays(), schedule)
    for got, want, type_ in zip(results, sample.want(), node.types, strict=True):
        assert_close(got, want, type_.dtype, depth=sample.depth, scale=sample.scale)


# Indices --------------------------------------------------------------------------------------------------------------------------------

EXTENTS = (3, 4, 5)
VARS = tuple(li.variable(li.LoopVar(letter, extent)) for letter, extent in zip("ijk", EXTENTS, strict=True))
STEPS = st.tuples(st.sampled_from(("+", "*", "//", "%", "-", "+i", "+j", "+k", "r-")), st.integers(1, 12))


@given(st.sampled_from((0, 1, 2)), st.lists(STEPS, max_size=7))
def test_an_index_is_the_integer_that_it_stands_for(start: int, steps: list[tuple[str, int]]) -> None:
    def build(values: tuple) -> object:
        x = values[start]
        for op, n in steps:
            match op:
                case "+":
                    x = x + n
                case "-":
                    x = x - n
                case "r-":
                    x = n - x
                case "*":
                    x = x * n
                case "//":
                    x = x // n
                case "%":
                    x = x % n
                case _:
                    x = x + values["ijk".index(op[1])] * n
        return x

    symbolic = li.as_index(build(VARS))
    expr = li.to_expr(symbolic)
    for at in np.ndindex(EXTENTS):
        value = build(at)
        assert _evaluate(expr, dict(zip("ijk", at, strict=True))) == value
        assert symbolic.lo <= value <= symbolic.hi


def _evaluate(expr: ir.Expr, env: dict[str, int]) -> int:
    """As the kernel IR says: division truncates."""
    if isinstance(expr, ir.Var):
        return env[expr.name]
    if isinstance(expr, ir.Const):
        return int(expr.value)
    assert isinstance(expr, ir.Apply)
    x, y = (_evaluate(arg, env) for arg in expr.args)
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1) if expr.op in DIVISIONS else 0
    return {"add": x + y, "subtract": x - y, "multiply": x * y, "divide": quotient, "remainder": x - quotient * y}[expr.op]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(0, 3))
def test_splitting_an_index_and_joining_it_again_costs_nothing(dims: list[int], seed: int) -> None:
    position = li.variable(li.LoopVar("i", math.prod(dims)))
    again = li.flatten(li.unflatten(position, tuple(dims)), tuple(dims))
    assert again == position
    loops = tuple(li.variable(li.LoopVar(f"i{n}", dim)) for n, dim in enumerate(dims))
    assert li.unflatten(li.flatten(loops, tuple(dims)), tuple(dims)) == loops


def test_what_is_split_and_joined_in_part_is_whole_again() -> None:
    i = li.variable(li.LoopVar("i", 1000))
    assert i // 2 % 3 * 2 + i % 2 == i % 6
    assert i % 6 // 2 == i // 2 % 3
    assert (i // 2 % 3 * 2 + i % 2) * 5 + 7 == i % 6 * 5 + 7


def test_ranges_decide_conditions() -> None:
    i = VARS[0]
    assert li.within([(i, 0, 3)]) is None
    assert li.within([(i, 3, 9)]) == li.NEVER
    assert li.within([(i + 1, 2, 9)]) == ir.Apply("ge", (ir.Var("i"), ir.index(1)), dtypes.bool)
    position = li.variable(li.LoopVar("n", 20))
    assert li.within([(position // 4, 0, 2)]) == ir.Apply("lt", (ir.Var("n"), ir.index(8)), dtypes.bool)


@given(st.data())
def test_any_chain_of_views_reads_the_right_element(data: st.DataObject) -> None:
    dims = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    x = p.parameter("x", t(*dims))
    value = np.arange(math.prod(dims), dtype=np.float32).reshape(dims)
    node, want = x, value
    for _ in range(data.draw(st.integers(1, 5))):
        node, want = data.draw(_views(node, want))
    got = run_node(group("loop", [p.negate(node)], [x]), [value], wide)[0]
    np.testing.assert_array_equal(got, -want)


@st.composite
def _views(draw: st.DrawFn, node: Node, value: np.ndarray) -> tuple[Node, np.ndarray]:
    """A view of `node` and of `value`, drawn at random."""
    rank = len(node.dims)
    match draw(st.sampled_from(("transpose", "reshape", "reverse", "pad", "slice", "concatenate", "broadcast"))):
        case "transpose":
            order = draw(st.permutations(range(rank)))
            return p.transpose(node, order), value.transpose(order)
        case "reshape":
            shape = draw(st.sampled_from(_factorings(value.size)))
            return p.reshape(node, shape), value.reshape(shape)
        case "reverse" if rank:
            axis = draw(st.integers(0, rank - 1))
            return p.reverse(node, (axis,)), np.flip(value, axis)
        case "pad" if rank:
            low, high = ([draw(st.integers(0, 2)) for _ in range(rank)] for _ in range(2))
            return p.pad(node, p.constant(7.0, F32), low, high), np.pad(value, list(zip(low, high, strict=True)), constant_values=7)
        case "slice" if rank:
            start = [draw(st.integers(0, dim - 1)) for dim in node.dims]
            stride = [draw(st.integers(1, 2)) for _ in range(rank)]
            return p.slice_(node, start, node.dims, stride), value[tuple(slice(a, None, s) for a, s in zip(start, stride, strict=True))]
        case "concatenate" if rank and value.size < 200:
            axis = draw(st.integers(0, rank - 1))
            return p.concatenate([node, p.negate(node)], axis), np.concatenate([value, -value], axis)
        case _ if value.size < 200:
            return p.broadcast_in_dim(node, (2, *node.dims), range(1, rank + 1)), np.broadcast_to(value, (2, *value.shape))
    return node, value


def _factorings(size: int) -> list[tuple[int, ...]]:
    two = [(a, size // a) for a in range(1, size + 1) if size % a == 0]
    return [(size,), *two, *((a, b // c, c) for a, b in two for c in range(1, b + 1) if b % c == 0)]


# Structure ------------------------------------------------------------------------------------------------------------------------------


def loops_of(kernel: ir.Kernel) -> list[ir.Loop]:
    return [stmt for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Loop)]


def index_divisions(kernel: ir.Kernel) -> list[ir.Apply]:
    """The divisions and remainders in the addresses of `kernel`."""
    stores = [stmt for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Store)]
    indices = [each for access in (*loads(kernel.body), *stores) for each in access.index]
    return [sub for each in indices for sub in ir.subexpressions(each) if isinstance(sub, ir.Apply) and sub.op in DIVISIONS]


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.id not in ("shuffled", "heads")], ids=lambda sample: sample.id)
def test_addresses_need_no_division(sample: Sample) -> None:
    assert not index_divisions(lower(sample.node()))


def one(kind: str, build: Callable[..., object], *types: TensorType) -> ir.Kernel:
    parameters = [p.parameter(f"p{n}", each) for n, each in enumerate(types)]
    return lower(group(kind, build(*parameters), parameters))


@pytest.mark.parametrize(("build", "types", "passes"), [
    (softmax, (t(40, 100),), 3),
    (layer_norm, (t(40, 100), t(100), t(100)), 3),
    (lambda x: (p.argmax(x, 1, dtypes.int32),), (t(40, 100),), 2),
    (lambda x: (p.reduce_sum(x, (1,)), p.reduce_max(x, (1,))), (t(40, 100),), 1),
])  # fmt: skip
def test_a_row_kernel_walks_its_rows_once_per_dependent_reduction(build: Callable[..., object], types: tuple, passes: int) -> None:
    kernel = one("row", build, *types)
    outer, *inner = loops_of(kernel)
    assert (outer.kind, outer.extent) == ("parallel", 40)
    assert [loop.extent for loop in inner] == [100] * passes


def test_what_two_passes_need_and_is_costly_is_computed_once() -> None:
    kernel = one("row", softmax, t(40, 100))
    text = print_kernel(kernel)
    assert text.count("exponential") == 1
    assert sum(isinstance(stmt, ir.Local) for stmt in ir.walk(kernel.body)) == 1
    long = one("row", softmax, t(40, 100_000))
    assert not any(isinstance(stmt, ir.Local) for stmt in ir.walk(long.body)), "a row larger than the cache is computed again"


def test_cheap_values_are_computed_again() -> None:
    kernel = one("row", layer_norm, t(40, 100), t(100), t(100))
    assert not any(isinstance(stmt, ir.Local) for stmt in ir.walk(kernel.body))


def test_elementwise_work_is_one_flat_loop() -> None:
    kernel = one("loop", lambda x, y: (gelu(p.add(x, p.reshape(y, x.dims))),), t(8, 9, 10), t(720))
    assert [loop.extent for loop in loops_of(kernel)] == [720]


def test_loops_are_as_few_as_broadcasts_allow() -> None:
    kernel = one("loop", lambda x, b: (p.add(x, p.broadcast_in_dim(b, x.dims, (2,))),), t(8, 9, 10), t(10))
    assert [loop.extent for loop in loops_of(kernel)] == [72, 10]


def test_a_layer_is_one_product_with_its_epilogue() -> None:
    kernel = one("dot", layer, t(30, 20), t(20, 45), t(45))
    (product,) = kernel.body
    assert isinstance(product, ir.Product)
    assert (product.m, product.n, product.depth) == (30, 45, 20)
    assert {stmt.buffer.name for stmt in product.epilogue if isinstance(stmt, ir.Store)} == {"y0", "y1"}


def test_16_bit_floats_accumulate_in_float32() -> None:
    kernel = one("row", lambda x: (p.reduce_sum(x, (1,)),), t(4, 9, dtype=dtypes.float16))
    (acc,) = (stmt for stmt in ir.walk(kernel.body) if isinstance(stmt, ir.Acc))
    assert acc.var.dtype is F32
    (product,) = lower(p.dot_general(*(p.parameter(n, t(4, 4, dtype=dtypes.bfloat16)) for n in "xy"), (), (), (1,), (0,))).body
    assert isinstance(product, ir.Product)
    assert product.acc.dtype is F32


def test_equal_operands_are_one_parameter() -> None:
    x = p.parameter("x", t(5))
    kernel = lower(p.multiply(x, x))
    assert [(b.name, b.space) for b in kernel.params] == [("x0", "in"), ("y0", "out")]


def test_names_of_the_graph_leave_no_trace() -> None:
    assert lower(p.tanh(p.parameter("a", t(5)))) == lower(p.tanh(p.parameter("b", t(5))))


def test_nothing_is_stored_for_no_elements() -> None:
    assert lower(p.tanh(p.parameter("x", t(3, 0)))).body == ()


@pytest.mark.parametrize("node", [p.parameter("x", t(3)), p.variable_read("v", t(3))], ids=lambda node: node.name)
def test_what_computes_nothing_has_no_kernel(node: Node) -> None:
    with pytest.raises(ValueError, match="computes nothing"):
        lower(node)


def test_a_group_without_a_common_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="outputs of 3, 6 elements cannot be computed in one loop nest"):
        one("loop", lambda x, y: (p.tanh(x), p.tanh(y)), t(6), t(3))


def test_a_constant_table_must_be_an_operand() -> None:
    with pytest.raises(ValueError, match=r"constant of type f32\[3\] with different elements"):
        one("loop", lambda x: (p.add(x, p.constant(np.array([1, 2, 3], np.float32))),), t(3))


def test_nan_and_infinity_go_through_reductions() -> None:
    x = np.array([[1, np.nan, 3], [np.inf, 2, 1], [-np.inf, -np.inf, -np.inf]], np.float32)
    node = p.parameter("x", t(3, 3))
    np.testing.assert_array_equal(run_node(p.argmax(node, 1, dtypes.int64), [x], wide)[0], [1, 0, 0])
    np.testing.assert_array_equal(run_node(p.reduce_max(node, (1,)), [x], wide)[0], [np.nan, np.inf, -np.inf])
    np.testing.assert_array_equal(run_node(p.reduce_min(node, (0,)), [x], wide)[0], [-np.inf, np.nan, -np.inf])


def test_rows_out_of_range_are_never_touched() -> None:
    """The interpreter raises for any access outside a buffer."""
    table, ids = p.parameter("w", t(4, 3)), p.parameter("i", t(5, dtype=dtypes.int32))
    values, rows = np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 4, -1, 3, 2**31 - 1], np.int32)
    got = run_node(group("loop", [p.exponential(p.gather(p.tanh(table), ids, 0))], [table, ids]), [values, rows], wide)[0]
    want = np.where(((rows >= 0) & (rows < 4))[:, None], np.exp(np.tanh(values[np.clip(rows, 0, 3)])), 1)
    np.testing.assert_allclose(got, want, rtol=1e-6)


# Texts ----------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax-4x1000", "layer-norm", "argmax-of-scaled", "layer", "heads", "column-moments", "embedding",
                                  "shuffled"])  # fmt: skip
def test_text(name: str, request: pytest.FixtureRequest) -> None:
    (sample,) = (each for each in SAMPLES if each.id == name)
    text = print_kernel(lower(sample.node()))
    path = GOLDEN / f"lower-{name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text + "\n")
    assert path.read_text() == text + "\n", f"{path.name} differs; if the new text is better, run pytest with --update-golden"
