"""The log of compilations: the cause in words, what was new, hits and misses; and the warnings of loops that compile for ever."""
from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.runtime.compilations import MANY_SHAPES, ManyShapesWarning
from graphc.runtime.session import GrowingGraphWarning


@pytest.fixture
def session() -> Iterator[gc.Session]:
    with gc.Graph().as_default(), gc.Session() as session:
        yield session


def ones(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


# Causes -----------------------------------------------------------------------------------------------------------------------------------

def causes(session: gc.Session) -> list[str]:
    return [each.cause for each in session.compilations]


def test_new_dims_are_named(session: gc.Session) -> None:
    x, z = gc.placeholder(gc.float32, name="x"), gc.placeholder(gc.float32, [None], name="z")
    y = gc.add(gc.reduce_sum(x), gc.reduce_sum(z), name="y")
    for x_shape, z_size in [((5, 4), 1), ((8, 4), 1), ((3, 4), 1), ((3, 9), 2), ((8, 9), 1), ((7,), 1), ((5, 4), 2)]:
        session.run(y, {x: ones(*x_shape), z: ones(z_size)})
    assert causes(session) == [
        "new fetches with x:0, z:0 fed",
        "new shapes of feeds: x:0 (8, 4): dim 0 was 5",
        "new shapes of feeds: x:0 (3, 4): dim 0 was 5, 8",
        "new shapes of feeds: x:0 (3, 9): dim 1 was 4; z:0 (2,): dim 0 was 1",
        "new shapes of feeds: x:0 (8, 9): each seen before, but not together",
        "new shapes of feeds: x:0 (7,): rank was 2",
        "new shapes of feeds: x:0 (5, 4), z:0 (2,): each seen before, but not together",
    ]
    assert [each.new for each in session.compilations] == [
        ("fetch y:0",), ("x:0 dim 0 = 8",), ("x:0 dim 0 = 3",), ("x:0 dim 1 = 9", "z:0 dim 0 = 2"), (), ("x:0 rank = 1",), ()]


def test_of_many_sizes_the_first_are_told(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    for size in range(1, 10):
        session.run(gc.get_default_graph().as_graph_element("x:0"), {x: ones(size)})
    assert causes(session)[-1] == "new shapes of feeds: x:0 (9,): dim 0 was 1, 2, 3, 4, 5, 6, ... (8 of them)"


def test_new_fetches_are_named_against_the_nearest_before(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [], name="x")
    a, b, c = gc.add(x, 1.0, name="a"), gc.add(x, 2.0, name="b"), gc.add(x, 3.0, name="c")
    session.run([a], {x: 1.0})
    session.run([a, b], {x: 1.0})
    session.run([b, a, c], {x: 1.0})
    session.run([b, a], {x: 1.0})
    session.run([b, c], {x: 1.0})
    session.run([b, a], {a: 1.0, x: 1.0})
    session.run(gc.add(a, 4.0, name="d"), {x: 1.0})
    assert causes(session) == [
        "new fetches with x:0 fed",
        "new fetches with x:0 fed: b:0 is new (nearest before: a:0 with x:0 fed)",
        "new fetches with x:0 fed: c:0 is new (nearest before: a:0, b:0 with x:0 fed)",
        "new fetches with x:0 fed: in another order (nearest before: a:0, b:0 with x:0 fed)",
        "new fetches with x:0 fed: without a:0 (nearest before: b:0, a:0, c:0 with x:0 fed)",
        "new feeds with a:0, x:0 fed: a:0 is fed (nearest before: b:0, a:0 with x:0 fed)",
        "new fetches with x:0 fed",
    ]
    assert [each.new for each in session.compilations][1:] == [("fetch b:0",), ("fetch c:0",), (), (), ("feed a:0",), ("fetch d:0",)]


def test_values_that_spell_shapes(session: gc.Session) -> None:
    x, n = gc.placeholder(gc.float32, [None], name="x"), gc.placeholder(gc.int32, [], name="n")
    y = gc.reshape(x, [n, -1])
    for size, count in [(12, 1), (12, 3), (24, 3), (24, 4)]:
        session.run(y, {x: ones(size), n: count})
    assert causes(session)[1:] == [
        "a shape depends on a fed value: n:0 = 3, which was 1",
        "new shapes of feeds: x:0 (24,): dim 0 was 12",
        "a shape depends on a fed value: n:0 = 4, which was 1, 3",
    ]
    assert session.compilations[1].new == ("n:0 = 3",)


# Records and counters ---------------------------------------------------------------------------------------------------------------------

def test_what_a_record_says(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.nn.relu(x, name="y")
    session.run({"result": y}, {x: ones(3)})
    (record,) = session.compilations
    assert (record.fetches, record.feeds, record.target, record.kernels) == (("y:0",), (("x:0", (3,)),), "cpu", 1)
    assert {"specialise", "passes", "lower", "machine code", "link"} <= record.phases.keys()
    assert record.ms == pytest.approx(sum(record.phases.values()))
    assert sum(record.objects_from.values()) == 2  # the kernel, the plan
    text = str(session.compilations).splitlines()
    assert text[0].startswith("1 compilations in ")
    assert text[0].endswith(" ms; 1 runs, 1 of them compiled first")
    assert text[1].startswith("y:0: ")
    assert " 1 kernel, machine code: 2 " in text[1]
    assert text[2] == "  because of new fetches with x:0 fed"


def test_machine_code_that_was_there_already() -> None:
    def record() -> Any:
        with gc.Graph().as_default(), gc.Session() as session:
            x = gc.placeholder(gc.float32, [17], name="x")
            session.run(gc.exp(x), {x: ones(17)})
            return session.compilations[0]

    record()
    assert record().from_cache


def test_hits_and_misses(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    y = gc.nn.relu(x, name="y")
    call = session.make_callable(y, [x])
    for size in (3, 4, 3, 3, 4):
        session.run(y, {x: ones(size)})
    call(ones(4))
    call([1.0, 2.0, 3.0])  # converted
    log = session.compilations
    assert (log.runs, log.misses, log.hits, len(log)) == (7, 2, 5, 2)
    session.compile(y, {x: (9,)})  # compiled, but not by a run
    session.run(y, {x: ones(9)})
    log = session.compilations
    assert (log.runs, log.misses, len(log)) == (8, 2, 3)
    session.close()
    assert (session.compilations.runs, session.compilations.hits) == (8, 6)


@pytest.mark.parametrize("entry", ["native", "ctypes"])
def test_runs_are_counted_by_either_entry(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_ENTRY", entry)
    with gc.Graph().as_default(), gc.Session() as session:
        y = gc.constant(2.0) * 3.0
        for _ in range(5):
            session.run(y)
        x = gc.placeholder(gc.float32, [2])
        with pytest.raises(ValueError, match="Cannot feed value of shape"):
            session.run(x, {x: ones(3)})
        assert session.compilations.runs == 5


def test_runs_in_stages_are_counted(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None], name="x")
    positive = gc.boolean_mask(x, x > 0.0)
    for values in ([1.0, -1.0], [1.0, -2.0], [1.0, 2.0], [-1.0, 1.0]):
        session.run(positive, {x: np.array(values, np.float32)})
    log = session.compilations
    assert (log.runs, log.misses) == (4, 2)  # one of the two sizes each
    assert all("new fetches with x:0 fed; " in each.cause for each in log)


def test_the_debugging_page_shows_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "debugging.md").read_text()
    section = re.search(r"^## Why was this compiled\?\n.*?(?=^## )", page, re.DOTALL | re.MULTILINE)
    assert section is not None
    (program,), (shown,) = (re.findall(rf"```{language}\n(.*?)```", section[0], re.DOTALL) for language in ("python", "text"))
    with gc.Graph().as_default():
        exec(program, {})
    assert capsys.readouterr().out == shown


# Warnings ---------------------------------------------------------------------------------------------------------------------------------

def test_many_shapes_are_told_once_with_the_dim(session: gc.Session) -> None:
    x = gc.placeholder(gc.float32, [None, 2], name="x")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for size in range(1, MANY_SHAPES + 9):
            session.run(x, {x: ones(size, 2)})
    (warning,) = seen
    assert warning.category is ManyShapesWarning
    assert warning.filename == __file__
    lines = str(warning.message).splitlines()
    assert lines[0] == f"graphc: x:0 has been compiled for {MANY_SHAPES} shapes of what it is fed"
    assert lines[1] == "  dim 0 of x:0 was 1, 2, 3, 4, 5, 6, ... (32 of them)"
    assert lines[2].startswith("  each is compiled for itself: pad what varies to a few sizes")
    assert lines[3].startswith("  run at test_compilations.py:")
    assert len(lines) == 4


LOOPS = {
    "gradients": """
for n in range(12):
    slope = gc.gradients(loss, v)
    session.run(slope)
""",
    "optimizer": """
for n in range(12):
    train = gc.train.GradientDescentOptimizer(0.1).minimize(loss)
    session.run(train.name)
""",
    "two lines": """
for n in range(12):
    half = v * 0.5
    assign = v.assign(half)
    assign.op.run(session=session)
""",
    "the run itself": """
for n in range(12):
    pass
    session.run(v + 1.0)
""",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_the_line_that_grows_the_graph(session: gc.Session, loop: str, tmp_path: Path) -> None:
    v = gc.get_variable("v", [2], initializer=gc.ones_initializer())
    loss = gc.reduce_sum(v * v)
    session.run(gc.global_variables_initializer())
    file = tmp_path / "loop.py"
    file.write_text(LOOPS[loop].lstrip())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        exec(compile(file.read_text(), str(file), "exec"), {"gc": gc, "session": session, "v": v, "loss": loss})
    (warning,) = seen
    assert warning.category is GrowingGraphWarning
    text = str(warning.message)
    line = 3 if loop in ("two lines", "the run itself") else 2
    assert text.startswith(f"graphc: the graph has grown between runs 10 times at loop.py:{line}: ")
    assert (", also at loop.py:2" in text) == (loop == "two lines")
    assert (warning.filename, warning.lineno) == (str(file), line)
