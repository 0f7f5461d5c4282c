"""Sizes that are only known while the graph runs: one `run` in several stages, with the results, effects and errors of one program.

`pick` is a small boolean_mask of the tests' own, whose size is a count of what is true.
"""
from __future__ import annotations

import gc as collector
import io
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
import graphc.primitives as p
from graphc.cli import main
from graphc.core import dtypes
from graphc.core.devices import KEPT
from graphc.core.errors import FailedPreconditionError, InvalidArgumentError
from graphc.core.opdef import OpDef
from graphc.core.program import Node
from graphc.core.static import static_dims
from graphc.ops.declare import declare_one
from graphc.runtime.executable import Executable
from graphc.runtime.staged import StagedExecutable
from graphc.runtime.stages import MANY_VALUES, MOST_VALUES, ManySizesWarning
from tests.cuda_worker import run as run_on_fake_gpu

Array = np.ndarray[Any, Any]


def _pick(x: Node, mask: Node) -> Node:
    ones = p.convert(mask, dtypes.int32)
    (size,) = static_dims(p.reduce_sum(ones, (0,))) or (None,)
    places = p.subtract(p.cumulative_sum(ones, 0), p.full(1, ones.type))
    nowhere = p.full(-1, ones.type)
    return p.scatter_add(p.full(0, x.type.with_shape((size, *x.shape[1:]))), p.select(mask, places, nowhere), x, 0)


PICK = OpDef("Pick", _pick)


def pick(x: gc.Tensor, mask: gc.Tensor, name: str = "pick") -> gc.Tensor:
    """The rows of `x` where `mask` holds."""
    return declare_one(PICK, {"x": x, "mask": mask}, None, name, other={"mask": None})


def rows(seed: int, count: int = 9) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 3)).astype(np.float32)


def staged(session: gc.Session, fetches: Any, feeds: Any = ()) -> StagedExecutable:
    made = session.compile(fetches, feeds)
    assert isinstance(made, StagedExecutable)
    return made


# Values ---------------------------------------------------------------------------------------------------------------------------------

@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", [gc.float32, gc.float64, gc.float16, gc.bfloat16, gc.int32, gc.uint8], ids=lambda d: d.name)
def test_values_of_every_size(dtype: gc.DType) -> None:
    x = gc.placeholder(dtype, [None, 3])
    mask = gc.placeholder(gc.bool, [None])
    y = pick(x, mask)
    assert y.shape.as_list() == [None, 3]
    array = np.arange(51).reshape(17, 3).astype(dtype.np_dtype)
    with gc.Session() as session:
        for count in (0, 1, 5, 16, 17, 5):
            chosen = np.arange(17) % 17 < count
            np.testing.assert_array_equal(session.run(y, {x: array, mask: chosen}), array[chosen])
        empty = session.run(y, {x: array[:0], mask: np.zeros(0, bool)})
        assert empty.shape == (0, 3)


def test_gradients_of_first_and_second_order() -> None:
    x = gc.placeholder(gc.float64, [None, 3])
    h = gc.tanh(x)
    cube = gc.reduce_sum(pick(h, h[:, 0] > 0) ** 3.0)
    (first,) = gc.gradients(cube, x)
    (second,) = gc.gradients(first, x)
    array = rows(0).astype(np.float64)
    with gc.Session() as session:
        got, again = session.run([first, second], {x: array})
    t = np.tanh(array)
    mask = (t[:, :1] > 0).astype(float)
    slope = 1 - t * t
    np.testing.assert_allclose(got, mask * 3 * t * t * slope, rtol=1e-10)
    np.testing.assert_allclose(again, mask * (6 * t * slope * slope + 3 * t * t * -2 * t * slope), rtol=1e-9, atol=1e-12)


def test_sizes_follow_from_sizes() -> None:
    """Four stages: rows of rows, then a range as long as what is left."""
    x = gc.placeholder(gc.float32, [None, 3])
    once = pick(x, x[:, 0] > 0, "once")
    twice = pick(once, once[:, 1] > 0, "twice")
    places = gc.range(gc.reduce_sum(gc.cast(twice > 0, gc.int32)))
    with gc.Session() as session:
        for seed in (1, 2, 3, 1):
            array = rows(seed, 20)
            first = array[array[:, 0] > 0]
            second = first[first[:, 1] > 0]
            got = session.run([once, twice, places], {x: array})
            np.testing.assert_array_equal(got[0], first)
            np.testing.assert_array_equal(got[1], second)
            np.testing.assert_array_equal(got[2], np.arange((second > 0).sum()))
        made = staged(session, [once, twice, places], {x: array})
        assert [part.title.split(" = ")[0] for part in made.parts] == ["", "size of once", "size of twice", "size of range"]
        assert len(staged(session, [once, twice], {x: array}).parts) == 1  # another computation, which has not run


@pytest.mark.parametrize("pipeline", ["default", "unfused", "none"])
def test_each_pipeline(pipeline: str) -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    y = gc.reduce_sum(pick(gc.exp(x), x[:, 1] > 0), 0)
    array = rows(4)
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
        np.testing.assert_allclose(session.run(y, {x: array}), np.exp(array[array[:, 1] > 0]).sum(0), rtol=1e-6)


def test_a_size_that_a_variable_has() -> None:
    size = gc.Variable(3, name="size")
    ones = gc.ones([size, 2])
    grow = gc.assign_add(size, 2)
    with gc.control_dependencies([grow]):
        later = gc.zeros([size.read_value()])
    with gc.Session() as session:
        with pytest.raises(FailedPreconditionError, match="uninitialized value size"):
            session.run(ones)
        session.run(size.initializer)
        assert session.run(ones).shape == (3, 2)
        assert [each.shape for each in session.run([ones, later])] == [(3, 2), (5,)]
        assert session.run(size) == 5
        assert session.run(ones).shape == (5, 2)


def test_a_size_that_is_drawn_is_drawn_once() -> None:
    count = gc.random_uniform([], 0, 50, gc.int32, seed=3, name="count")
    noise = gc.random_normal([count], seed=4)
    with gc.Session() as session:
        sizes = []
        for _ in range(8):
            drawn, first, second = session.run([count, noise, noise * 2.0])
            assert first.shape == (drawn,)
            np.testing.assert_array_equal(second, first * 2)
            sizes.append(int(drawn))
    with gc.Session() as session:  # the same numbers as where nothing depends on them
        assert [int(session.run(count)) for _ in range(8)] == sizes
    assert len(set(sizes)) > 3


def test_sums_over_a_feed_do_not_compile_for_each_feed() -> None:
    """The value of the sum counts, not what was fed; what spells a shape, as `n` does, is part of the key."""
    lengths = gc.placeholder(gc.int32, [None])
    n = gc.placeholder(gc.int32, [])
    longest, spelled = gc.range(gc.reduce_max(lengths)), gc.range(n * 2)
    with gc.Session() as session:
        for given in ([1, 4], [4, 2], [4, 4]):
            assert session.run(longest, {lengths: given}).tolist() == [0, 1, 2, 3]
        assert staged(session, longest, {lengths: [4, 3]}).parts[-1].sizes == 1
        assert session.run(spelled, {n: 2}).tolist() == [0, 1, 2, 3]
        assert not isinstance(session.compile(spelled, {n: 2}), StagedExecutable)


def test_part_of_a_shape_is_fed_and_part_computed() -> None:
    x, n = gc.placeholder(gc.float32, [None]), gc.placeholder(gc.int32, [])
    high = gc.reduce_sum(gc.cast(x > 0, gc.int32))
    y = gc.fill(gc.stack([n, high]), 7.0)
    with gc.Session() as session:
        assert session.run(y, {x: [1, -1, 2], n: 4}).shape == (4, 2)
        assert session.run(y, {x: [1, 1, 2], n: 3}).shape == (3, 3)


def test_any_tensor_can_be_fed_between() -> None:
    x = gc.placeholder(gc.float32, [None, 3], name="x")
    y = pick(x, x[:, 0] > 0)
    total = gc.reduce_sum(y)
    with gc.Session() as session:
        assert session.run(total, {y: np.ones((4, 3))}) == 12
        assert isinstance(session.compile(total, {y: np.ones((4, 3), np.float32)}), Executable)


# State ----------------------------------------------------------------------------------------------------------------------------------

def training(seed: int = 5) -> tuple[gc.Tensor, gc.Tensor, gc.Operation, gc.Variable]:
    """Rows that a first layer lets through go on to a second: (x, loss, step, kernel)."""
    x = gc.placeholder(gc.float32, [None, 3], name="x")
    kernel = gc.Variable(np.random.default_rng(seed).standard_normal((3, 4)).astype(np.float32), name="kernel")
    hidden = gc.tanh(gc.matmul(x, kernel))
    chosen = pick(hidden, gc.reduce_sum(hidden, 1) > 0)
    loss = gc.reduce_sum(gc.square(chosen))
    return x, loss, gc.train.MomentumOptimizer(0.05, 0.5).minimize(loss), kernel


def test_training_is_that_of_a_mask() -> None:
    x, loss, step, kernel = training()
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        w, momentum = session.run(kernel), np.zeros((3, 4))
        for number in range(6):
            array = rows(number)
            got = session.run([loss, step], {x: array})[0]
            hidden = np.tanh(array @ w)
            mask = hidden.sum(1, keepdims=True) > 0
            assert got == pytest.approx(float((hidden ** 2 * mask).sum()), rel=1e-5)
            momentum = 0.5 * momentum + array.T @ (2 * hidden * mask * (1 - hidden ** 2))
            w = w - 0.05 * momentum
            np.testing.assert_allclose(session.run(kernel), w, rtol=1e-4, atol=1e-5)


def test_a_later_stage_that_fails_changes_nothing() -> None:
    total = gc.Variable(1.0, name="total")
    seen = gc.placeholder(gc.float32, [None, 3])
    chosen = pick(seen, seen[:, 0] > 0)
    grown = gc.assign_add(total, gc.reduce_sum(seen))
    with gc.control_dependencies([grown]):
        pairs = gc.reshape(chosen, [-1, 6], name="pairs")
    counted = gc.random_uniform([], seed=1)
    with gc.Session() as session:
        session.run(total.initializer)
        first = session.run(counted)
        with pytest.raises(InvalidArgumentError, match=r"in operation 'pairs' \(Reshape\)"):
            session.run([pairs, counted], {seen: [[1, 1, 1], [-1, 0, 0]]})
        assert session.run(total) == 1
        session.run([pairs, counted], {seen: [[1, 1, 1], [1, 0, 0]]})
        assert session.run(total) == 5
    with gc.Session() as session:
        session.run(total.initializer)
        assert session.run(counted) == first


def test_what_stages_leave_to_each_other_takes_turns_in_one_memory() -> None:
    """Of other computations, other sizes, and other shapes of feeds; each is right when its turn comes again."""
    x = gc.placeholder(gc.float32, [None, 3])
    h = gc.matmul(x, gc.eye(3)) + 1.0
    small, large = pick(h, x[:, 0] > 0), gc.concat([pick(h, x[:, 1] < 0), pick(-h, x[:, 2] < 0)], 0)
    with gc.Session() as session:
        store = session._targets.variables
        sizes = set()
        for seed in (1, 2, 3, 1, 2, 3):
            for count in (60, 90, 120, 60):
                array = rows(seed, count)
                np.testing.assert_allclose(session.run(small, {x: array}), array[array[:, 0] > 0] + 1, rtol=1e-6)
                want = np.concatenate([array[array[:, 1] < 0] + 1, -array[array[:, 2] < 0] - 1])
                np.testing.assert_allclose(session.run(large, {x: array}), want, rtol=1e-6)
            sizes.add(sum(kept.nbytes for name, kept in store._arrays.items() if name.startswith(KEPT)))
        assert len(sizes) == 1
        assert 0 < sizes.pop() <= 4 * 120 * 3 * 4
        assert session.list_variables() == []
    assert not store._arrays


# Many sizes -----------------------------------------------------------------------------------------------------------------------------

def test_many_sizes_are_said_once_and_forgotten_in_turn() -> None:
    x = gc.placeholder(gc.float32, [None])
    y = gc.range(gc.reduce_sum(gc.cast(x > 0, gc.int32)), name="places")
    with gc.Session() as session, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for count in range(MOST_VALUES + 3):
            given = np.where(np.arange(64) < count, 1, -1).astype(np.float32)
            assert session.run(y, {x: given}).size == count
            assert len([w for w in caught if w.category is ManySizesWarning]) == (count + 1 >= MANY_VALUES)
        (computation,) = session._computations.values()
        (stages,) = computation._bounds.values()
        assert len(stages.first.next) == MOST_VALUES
        assert session.run(y, {x: -np.ones(64, np.float32)}).size == 0  # was forgotten
        assert len(stages.first.next) == MOST_VALUES
        assert len(session._targets._host.workspace._borrowers[0]) <= MOST_VALUES + 1
    (said,) = [w for w in caught if w.category is ManySizesWarning]
    assert re.match(r"graphc: the size of 'places' has taken 16 values at test_stages\.py:\d+: y = gc\.range\(.*\n"
                    "  each is compiled anew: pad it", str(said.message))
    assert Path(said.filename).name == "test_stages.py"


def test_a_session_closes_while_stages_are_held() -> None:
    x = gc.placeholder(gc.float32, [None, 3])
    y = pick(x, x[:, 0] > 0)
    session = gc.Session()
    session.run(y, {x: rows(1)})
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run(y, {x: rows(1)})
    del session
    collector.collect()


# What is shown --------------------------------------------------------------------------------------------------------------------------

def test_the_executable_shows_its_stages() -> None:
    x, loss, step, _ = training()
    with gc.Session() as session:
        before = staged(session, [loss, step], {x: (9, 3)})
        assert before.plan_text == "// stage 0: takes x:0; gives the size of pick; keeps 2 for later"
        session.run(gc.global_variables_initializer())
        for seed in (0, 1, 2):
            array = rows(seed)
            session.run([loss, step], {x: array})
        made = staged(session, [loss, step], {x: array})
        with pytest.raises(InvalidArgumentError, match="size of 'pick' is only known while the graph runs"):
            session.compile([loss, step], {x: array}, target="cpu")
    lines = made.plan_text.splitlines()
    assert lines[0] == before.plan_text
    results = r"takes x:0; gives the results; writes kernel, kernel/Momentum; one of \d compiled"
    assert re.fullmatch(r"// stage 1 \(size of pick = \d\): " + results, lines[1])
    assert made.writes == made.parts[1].executable.writes
    assert dict(made.reads).keys() == {"kernel", "kernel/Momentum"}
    assert len(made.kernels) == sum(len(part.executable.kernels) for part in made.parts)
    assert [node.name for node in made.program.parameters] == ["parameter"]
    assert made.expectation.count("us a run") == 2


def matmuls(executable: Executable) -> int:
    return sum(node.name == "dot_general" for node in executable.stages[0].program.nodes)


def test_no_work_is_done_twice() -> None:
    """The product before the mask is in the first stage only; the second reads it, and makes again what is cheap."""
    x, loss, _, _ = training()
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        session.run(loss, {x: rows(0)})
        first, second = (part.executable for part in staged(session, loss, {x: rows(0)}).parts)
    assert (matmuls(first), matmuls(second)) == (1, 0)
    kept = [(name, type_) for name, type_ in first.writes if name.startswith(KEPT)]
    assert {name for name, _ in second.reads} <= {name for name, _ in kept}
    assert sum(type_.nbytes for _, type_ in kept) <= 9 * 4 * 4 + 9 * 4  # hidden, and where its rows go or whether


def test_a_compilation_says_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    x = gc.placeholder(gc.float32, [None, 3], name="x")
    y = pick(x, x[:, 0] > 0)
    with gc.Session() as session, caplog.at_level("INFO", "graphc"):
        session.run(y, {x: [[1, 0, 0], [2, 0, 0]]})
    first, second = (record.message.splitlines()[1].strip() for record in caplog.records)
    assert first == "because of new fetches with x:0 fed; computes the size of pick"
    assert second == "because of new fetches with x:0 fed; size of pick = 2"


MODEL = """
import graphc as gc
def build():
    x = gc.placeholder(gc.float32, [4], name="x")
    return gc.range(gc.reduce_sum(gc.cast(x > 0, gc.int32)), name="places"), {x: [1.0, -1.0, 2.0, 3.0]}
"""


def test_the_dump_shows_the_first_stage(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL)
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(["dump", str(tmp_path / "model.py")]) == 0
    assert "// stage 0: takes x:0; gives the size of places" in out.getvalue()
    assert "// stage 0: the first" in out.getvalue()


def test_the_page_about_stages_shows_what_is() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "stages.md").read_text()
    code, printed = (re.search(rf"```{language}\n(.*?)```", page, re.DOTALL) for language in ("python", "text"))
    assert code is not None
    assert printed is not None
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code[1], "stages.md", "exec"), {})
    assert out.getvalue() == printed[1]


# Several devices ------------------------------------------------------------------------------------------------------------------------

def on_devices(place: Callable[[str], Any], config: gc.ConfigProto) -> list[Any]:
    with gc.Graph().as_default():
        x = gc.placeholder(gc.float32, [None, 3], name="x")
        with place("/cpu:0"):
            kernel = gc.Variable(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), name="kernel")
            hidden = gc.tanh(gc.matmul(x, kernel))
        with place("/cpu:1"):
            chosen = pick(hidden, gc.reduce_sum(hidden, 1) > 0)
            scale = gc.Variable(2.0, name="scale")
        with place("/cpu:0"):
            loss = gc.reduce_sum(gc.square(chosen) * scale) + gc.reduce_sum(hidden)
        step = gc.train.GradientDescentOptimizer(0.05).minimize(loss)
        with gc.Session(config=config) as session:
            session.run(gc.global_variables_initializer())
            results = [session.run([loss, chosen, step], {x: rows(seed)})[:2] for seed in (0, 1, 2, 0)]
            return [*results, session.run([kernel, scale])]


def test_stages_on_several_devices() -> None:
    apart = on_devices(gc.device, gc.ConfigProto(device_count={"CPU": 2}))
    together = on_devices(lambda _: gc.device(None), gc.ConfigProto())
    for one, other in zip((a for each in apart for a in each), (a for each in together for a in each), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_stages_on_a_gpu() -> None:
    """What a stage keeps stays on the device; it is freed with the session."""
    run_on_fake_gpu("""
    from tests.test_stages import training, pick, rows
    def train(device):
        with gc.Graph().as_default():
            x, loss, step, kernel = training()
            with gc.Session(config=gc.ConfigProto(device=device)) as session:
                session.run(gc.global_variables_initializer())
                losses = [session.run([loss, step], {x: rows(seed)})[0] for seed in (0, 1, 0)]
                return losses, session.run(kernel)
    expected, found = train("cpu"), train("gpu")
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert alive() == (0, 0, 1, 0, 0), alive()
    """)


def test_sizes_that_are_independent_are_found_together() -> None:
    """Two stages for four sizes of two operations; the third waits for the first."""
    x = gc.placeholder(gc.float32, [None, 3])
    parts = gc.dynamic_partition(x, gc.cast(x[:, 0] > 0, gc.int32) + gc.cast(x[:, 1] > 0, gc.int32), 3)
    picked = gc.boolean_mask(gc.exp(x), x[:, 2] > 0)
    array = rows(3, 20)
    number = (array[:, 0] > 0).astype(int) + (array[:, 1] > 0)
    with gc.Session() as session:
        got = session.run([parts, picked], {x: array})
        for each, want in zip((*got[0], got[1]), (*(array[number == n] for n in range(3)), np.exp(array[array[:, 2] > 0])), strict=True):
            np.testing.assert_allclose(each, want, rtol=1e-6)
        made = staged(session, [parts, picked], {x: array})
    assert len(made.parts) == 2
    assert re.fullmatch(r"(size of DynamicPartition = \d+, ){3}size of boolean_mask/Where = \d+", made.parts[1].title)


# Against one program -------------------------------------------------------------------------------------------------------------------

STEPS: list[Callable[[gc.Tensor, gc.Tensor], gc.Tensor]] = [
    lambda h, w: gc.tanh(gc.matmul(h, w)), lambda h, w: gc.nn.softmax(h), lambda h, w: h - gc.reduce_mean(h, 0, keepdims=True),
    lambda h, w: gc.exp(-h * h), lambda h, w: gc.concat([h[:, 2:], h[:, :2] * 2.0], 1), lambda h, w: gc.cumsum(h, 0) / 8.0,
    lambda h, w: gc.nn.relu(h) + gc.transpose(gc.transpose(h)), lambda h, w: gc.gather(h, gc.range(gc.shape(h)[0] - 1, -1, -1))]


def random_network(seed: int, masks: list[gc.Tensor] | None, x: gc.Tensor, w: gc.Variable) -> tuple[list[gc.Tensor], list[gc.Tensor]]:
    """Random steps with two selections of rows between them: what is fetched, and the masks. masks: those to use, where they are known."""
    random = np.random.default_rng(seed)
    h, used, seen = STEPS[0](x, w), [], []
    for part in range(3):
        for number in random.integers(0, len(STEPS), 3):
            h = STEPS[number](h, w)
        seen.append(gc.reduce_sum(h, 0))
        if part < 2:
            mask = h[:, 0] > gc.reduce_mean(h[:, 0]) if masks is None else masks[part]
            used.append(mask)
            h = gc.boolean_mask(h, mask) if random.integers(2) else pick(h, mask)
    loss = gc.reduce_sum(h * h) + gc.add_n([gc.reduce_sum(each) for each in seen])
    return [*seen, loss, *gc.gradients(loss, [x, w])], used


@pytest.mark.parametrize("seed", range(12))
def test_stages_give_what_one_program_gives_that_knows_the_masks(seed: int) -> None:
    array = np.random.default_rng(seed + 100).standard_normal((14, 6))
    x = gc.placeholder(gc.float64, [None, 6])
    w = gc.Variable(np.random.default_rng(seed).standard_normal((6, 6)) / 3, name="w")
    computed, masks = random_network(seed, None, x, w)
    with gc.Session() as session:
        session.run(w.initializer)
        *found, known = session.run([*computed, masks], {x: array})
        assert len(staged(session, [*computed, masks], {x: array}).parts) == 3
        fetches, _ = random_network(seed, [gc.constant(mask) for mask in known], x, w)
        expected = session.run(fetches, {x: array})
        assert not isinstance(session.compile(fetches, {x: array}), StagedExecutable)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11)
