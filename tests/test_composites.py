"""The table of composites, compiled: every public function, its shapes known, unknown in part, and of unknown rank.

One program per family, so that it is compiled and linked once: with known shapes at a vector width drawn by its name (their primitives are
tested at every width), else at the machine's own. The last test fails for a function or an operation type that has no sample and no stated
reason.
"""
from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.codegen.llvm.target import available
from graphc.core.graph import get_default_graph
from graphc.core.interpret import interpret
from graphc.core.opdef import OPDEFS
from graphc.core.specialise import specialise
from tests.composite_cases import Array, Case
from tests.composite_table import FAMILIES
from tests.public_functions import declare, operations_behind, public_functions
from tests.tolerances import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
Update = Callable[[Array, list[Array], Array, int], Any]  # (variable, slots, gradient, number of the step) -> variable


def run(cases: Sequence[Case], shapes_of: Any) -> None:
    """All cases in one run, each result checked; the failures of all are told together."""
    fetches: list[list[gc.Tensor]] = []
    feeds: dict[gc.Tensor, Array] = {}
    for case in cases:
        outputs, arrays = declare(case, shapes_of(case))
        fetches.append(outputs)
        feeds.update(arrays)
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        results = session.run(fetches, feeds)
    failures = [problem for case, outputs, got in zip(cases, fetches, results, strict=True) if (problem := _problem(case, outputs, got))]
    assert not failures, f"{len(failures)} of {len(cases)} samples are wrong:\n" + "\n".join(failures)


def _problem(case: Case, outputs: Sequence[gc.Tensor], got: Sequence[Array]) -> str:
    try:
        for tensor, result, want in zip(outputs, got, case.want(), strict=True):
            assert tensor.shape.is_compatible_with(want.shape), f"declared as {tensor.shape}, expected {want.shape}"
            assert_close(result, want, case.dtype_of(want), case.depth, case.scale)
    except (AssertionError, ValueError) as error:
        return f"{case.id}: {' '.join(str(error).split())[:300]}"
    return ""


@pytest.mark.parametrize("family", FAMILIES)
def test_values(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = available()
    monkeypatch.setenv("GRAPHC_VECTOR_BITS", str(targets[zlib.crc32(family.encode()) % len(targets)].vector_bits))
    run(FAMILIES[family], lambda case: [a.shape for a in case.arrays])


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_dims(family: str) -> None:
    run([case for case in FAMILIES[family] if case.known != "shape"], lambda case: [(None,) * a.ndim for a in case.arrays])


@pytest.mark.parametrize("family", FAMILIES)
def test_unknown_rank(family: str) -> None:
    run([case for case in FAMILIES[family] if not case.known], lambda case: [None] * len(case.arrays))


# What is not a function of its inputs alone ---------------------------------------------------------------------------------------------

# Hyperparameters are numbers that float32 holds, as which TF1 takes them for variables of any type.

def _descended(w: Array, slots: list[Array], g: Array, t: int) -> Any:
    return w - 0.125 * g


def _with_momentum(nesterov: bool) -> Update:
    def update(w: Array, slots: list[Array], g: Array, t: int) -> Any:
        slots[0] = 0.875 * slots[0] + g
        return w - 0.125 * (g + 0.875 * slots[0] if nesterov else slots[0])
    return update


def _adam(w: Array, slots: list[Array], g: Array, t: int) -> Any:
    slots[0] = BETA_1 * slots[0] + (1 - BETA_1) * g
    slots[1] = BETA_2 * slots[1] + (1 - BETA_2) * g * g
    rate = 0.125 * np.sqrt(1 - _power(BETA_2, t)) / (1 - _power(BETA_1, t))
    return w - rate * slots[0] / (np.sqrt(slots[1]) + EPSILON)


def _power(beta: float, t: int) -> float:
    """beta^t as TF1 keeps it: a product in float32."""
    return float(np.prod(np.full(t, beta, np.float32), dtype=np.float32))


BETA_1, BETA_2, EPSILON = 0.875, 0.96875, 2.0 ** -20
OPTIMIZERS: dict[str, tuple[Callable[[], gc.train.Optimizer], Update]] = {
    "descent": (lambda: gc.train.GradientDescentOptimizer(0.125), _descended),
    "momentum": (lambda: gc.train.MomentumOptimizer(0.125, 0.875), _with_momentum(False)),
    "nesterov": (lambda: gc.train.MomentumOptimizer(0.125, 0.875, use_nesterov=True), _with_momentum(True)),
    "adam": (lambda: gc.train.AdamOptimizer(0.125, BETA_1, BETA_2, EPSILON), _adam),
}


@pytest.mark.parametrize("dtype", [gc.float32, gc.float64], ids=["float32", "float64"])
@pytest.mark.usefixtures("vector_bits")
def test_updates_of_variables(dtype: gc.DType) -> None:
    """Five steps of each optimizer on variables of odd shapes, and plain assignments, against the formulas in float64."""
    shapes = [(), (7,), (33, 17), (1030,), (0, 3)]
    rng = np.random.default_rng(2)
    starts = [rng.uniform(-1, 1, shape) for shape in shapes]
    slopes = [gc.placeholder(dtype, shape) for shape in shapes]
    held: dict[str, list[gc.Variable]] = {}
    steps: list[Any] = []
    for name, (make, _) in OPTIMIZERS.items():
        held[name] = [gc.Variable(start.astype(dtype.np_dtype), name=f"{name}{n}") for n, start in enumerate(starts)]
        steps.append(make().apply_gradients(list(zip(slopes, held[name], strict=True))))
    plain = [gc.Variable(gc.zeros(shape, dtype)) for shape in shapes]
    steps += [gc.assign_add(v, g * 3.0) for v, g in zip(plain, slopes, strict=True)]
    steps += [gc.assign_sub(v, g) for v, g in zip(plain, slopes, strict=True)]
    rounded = [start.astype(dtype.np_dtype).astype(np.float64) for start in starts]
    values = {name: [(start, [np.zeros_like(start)] * 2) for start in rounded] for name in OPTIMIZERS}
    total = [np.zeros(shape) for shape in shapes]
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        for t in range(1, 6):
            given = [rng.uniform(-1, 1, shape).astype(dtype.np_dtype) for shape in shapes]
            session.run(steps, dict(zip(slopes, given, strict=True)))
            wide = [g.astype(np.float64) for g in given]
            total = [old + 2 * g for old, g in zip(total, wide, strict=True)]
            for name, (_, update) in OPTIMIZERS.items():
                values[name] = [(update(w, slots, g, t), slots) for (w, slots), g in zip(values[name], wide, strict=True)]
        found, sums = session.run([held, plain])
    for name, rows in values.items():
        for got, (want, _) in zip(found[name], rows, strict=True):
            assert_close(got, want, dtype, depth=25)
    for got, want in zip(sums, total, strict=True):
        assert_close(got, want, dtype, depth=10)


@pytest.mark.usefixtures("vector_bits")
def test_random_numbers_are_those_of_the_interpreter() -> None:
    """Whose distributions tests/test_random.py looks at: the same bits on every vector width."""
    tensors = []
    for n, shape in enumerate([(0, 3), (7,), (33, 17)]):
        for dtype in (gc.float32, gc.float64, gc.float16, gc.bfloat16) if shape == (33, 17) else (gc.float32,):
            tensors += [make(shape, dtype=dtype, seed=n) for make in (gc.random_uniform, gc.random_normal, gc.truncated_normal)]
        tensors += [gc.random_uniform(shape, -5, 100, dtype, seed=n) for dtype in (gc.int32, gc.int64)]
        tensors.append(gc.nn.dropout(gc.ones(shape), rate=0.4, seed=n))
        tensors += [gc.random_gamma(shape, [0.3, 4.0], dtype=dtype, seed=n) for dtype in (gc.float32, gc.float64)]
        tensors += [gc.random_poisson([0.7, 30.0], shape, gc.int32, seed=n), gc.multinomial(gc.zeros((shape[0], 5)), 3, seed=n),
                    gc.random.categorical(gc.zeros((3, 5), gc.float64), shape[0], gc.int32, seed=n)]
        tensors += [make(shape, [n, 3]) for make in (gc.random.stateless_uniform, gc.random.stateless_normal,
                                                     gc.random.stateless_truncated_normal)]
        tensors += [gc.random.stateless_uniform(shape, [n, 3], 2, 9, gc.int64),
                    gc.random.stateless_multinomial(gc.zeros((2, 3)), 7, [n, 4]),
                    gc.random.stateless_categorical(gc.zeros((2, 3)), 7, [n, 5])]
    counters = {f"{operation.name}/counter": np.uint64(0) for operation in get_default_graph().get_operations()}
    expected, _ = interpret(specialise(tensors, {}), [], counters)
    with gc.Session() as session:
        found = session.run(tensors)
    for tensor, got, want in zip(tensors, found, expected, strict=True):
        if "uniform" in tensor.op.name or tensor.dtype.is_integer:
            np.testing.assert_array_equal(got, want)
        assert_close(got, want, tensor.dtype, scale=4)


def test_total_loss() -> None:
    labels, guesses = np.array([1, 2, 3], np.float32), gc.placeholder(gc.float32, [3])
    gc.losses.mean_squared_error(labels, guesses)
    gc.losses.add_loss(gc.reduce_sum(guesses))
    gc.get_default_graph().add_to_collection(gc.GraphKeys.REGULARIZATION_LOSSES, guesses[0] * 10.0)
    assert len(gc.losses.get_losses()) == 2
    assert len(gc.losses.get_regularization_losses()) == 1
    totals = [gc.losses.get_total_loss(), gc.losses.get_total_loss(add_regularization_losses=False), gc.losses.get_regularization_loss()]
    with gc.Session() as session:
        found = session.run(totals, {guesses: [2.0, 2.0, 5.0]})
    np.testing.assert_allclose(found, [5 / 3 + 9 + 20, 5 / 3 + 9, 20], rtol=1e-6)


# Completeness ---------------------------------------------------------------------------------------------------------------------------

ELSEWHERE_FUNCTIONS = {
    "distributions.kl_divergence": "tests/test_distributions.py",
    "set_random_seed": "declares nothing", "get_seed": "declares nothing",
    "broadcast_static_shape": "tests/test_shapes.py",
    **dict.fromkeys((*(f"image.{name}" for name in gc.image.__all__ if name.startswith("random_")), "random_crop"), "tests/test_images.py"),
    **dict.fromkeys(("random_normal", "random_uniform", "truncated_normal", "random_gamma", "random_poisson", "multinomial",
                     "random.categorical", "random.stateless_uniform", "random.stateless_normal", "random.stateless_truncated_normal",
                     "random.stateless_multinomial", "random.stateless_categorical"), "test_random_numbers_are_those_of_the_interpreter"),
    **dict.fromkeys(("losses.add_loss", "losses.get_losses", "losses.get_regularization_losses", "losses.get_regularization_loss",
                     "losses.get_total_loss"), "collections: test_total_loss"),
    **dict.fromkeys((f"debugging.{name}" for name in gc.debugging.__all__ if name.startswith("assert_") or name == "Assert"),
                    "their result is an operation: tests/test_checks.py"),
    **dict.fromkeys(("Print", "print", "tuple"), "tests/test_prints.py"),
    **dict.fromkeys(("py_func", "numpy_function"), "tests/test_python_calls.py"),
    **dict.fromkeys(("nn.all_candidate_sampler", "nn.compute_accidental_hits", "nn.fixed_unigram_candidate_sampler",
                     "nn.log_uniform_candidate_sampler", "nn.uniform_candidate_sampler"), "tests/test_candidate_sampling.py"),
    **dict.fromkeys(("sparse_placeholder", "sparse.placeholder"), "tests/test_sparse.py"),
    "add_check_numerics_ops": "tests/test_numerics_checks.py",
    "is_numeric_tensor": "tests/test_checks.py",
    **dict.fromkeys((f"metrics.{name}" for name in gc.metrics.__all__), "they accumulate over runs: tests/test_programs_tf1.py"),
}
ELSEWHERE_OPERATIONS = {
    "NoOp": "has no value",
    "CheckNumericsOps": "tests/test_numerics_checks.py",
    "Assert": "tests/test_checks.py",
    **dict.fromkeys(("Print", "PrintV2"), "tests/test_prints.py"),
    **dict.fromkeys(("PyFunc", "PyFuncStateless"), "tests/test_python_calls.py"),
    **dict.fromkeys(("RandomStandardNormal", "TruncatedNormal", "RandomUniformInt", "RandomGamma", "ImplicitGamma", "RandomPoissonV2",
                     "Multinomial",
                     "StatelessRandomUniform", "StatelessRandomNormal", "StatelessTruncatedNormal", "StatelessRandomUniformInt",
                     "StatelessMultinomial"), "test_random_numbers_are_those_of_the_interpreter"),
    **dict.fromkeys(("Assign", "AssignAdd", "AssignSub"), "test_updates_of_variables"),
    "CheckedShare": "tests/test_metrics.py",
    **dict.fromkeys(("AssertInitialized", "CountUpTo", "IsVariableInitialized"), "tests/test_readiness.py"),
    **dict.fromkeys(("ApplyGradientDescent", "ApplyMomentum", "ApplyAdam"), "test_updates_of_variables"),
}


def test_every_function_has_a_sample() -> None:
    shown = {case.subject for cases in FAMILIES.values() for case in cases}
    functions = public_functions()
    covered = {functions[name] for name in functions if name in shown or name in ELSEWHERE_FUNCTIONS}  # under any of its names
    assert sorted(name for name, function in functions.items() if function not in covered) == [], "functions without a sample"
    assert sorted(shown - functions.keys()) == [], "samples of no function"
    assert sorted(ELSEWHERE_FUNCTIONS.keys() & shown) == [], "stated reasons that no longer hold"


def _types(tensors: Sequence[gc.Tensor]) -> set[str]:
    return {operation.type for operation in operations_behind(tensors)}


def test_every_operation_has_a_sample() -> None:
    shown: set[str] = set()
    for case in (case for cases in FAMILIES.values() for case in cases):
        shown |= _types(declare(case, [a.shape for a in case.arrays])[0])
        if case.known != "shape":
            shown |= _types(declare(case, [(None,) * a.ndim for a in case.arrays])[0])
        if not case.known:
            shown |= _types(declare(case, [None] * len(case.arrays))[0])
    wanted = {name for name in OPDEFS if not name.endswith("Grad")}
    assert sorted(wanted - shown - ELSEWHERE_OPERATIONS.keys()) == [], "operations without a sample"
    assert sorted(ELSEWHERE_OPERATIONS.keys() & shown) == [], "stated reasons that no longer hold"
