"""Where nothing is wrong nothing is blamed: models, random numbers, updates in place, functions of the host, stages; the command."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import graphc as gc
import graphc.primitives as p
from graphc.cli import main
from graphc.core import dtypes
from graphc.core.parse import parse_program
from graphc.core.program import Program
from graphc.core.types import TensorType
from graphc.models import declare
from graphc.passes.pipelines import DEFAULT
from graphc.runtime import check
from graphc.runtime.bisecting import bisect
from graphc.runtime.check import random_inputs
from graphc.runtime.verdict import Verdict
from tests.random_programs import programs

RANDOM = np.random.default_rng(2)
Declared = tuple[Any, Mapping[Any, Any]]


def _bisected(build: Callable[[], Declared], **config: Any) -> Verdict:
    fetches, feeds = build()
    with gc.Session(config=gc.ConfigProto(**config)) as session:
        session.run(gc.global_variables_initializer())
        before = session.run(gc.global_variables())
        verdict = session.bisect(fetches, feeds)
        for left, right in zip(before, session.run(gc.global_variables()), strict=True):
            np.testing.assert_array_equal(left, right)  # nothing has run
        return verdict


# Nothing is wrong ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("model", "pipeline"), [("mlp", "default"), ("mlp", "none"), ("cnn", "default")])
def test_models(model: str, pipeline: str) -> None:
    """On three examples of each batch; `graphc bisect` takes all of them, and every model."""
    def few() -> Declared:
        fetches, feeds = declare(model)
        return fetches, {key: value[:3] if np.ndim(value) else value for key, value in feeds.items()}
    verdict = _bisected(few, pipeline=pipeline)
    assert verdict.ok, str(verdict)
    assert 0 < verdict.largest < 1e-4
    assert (verdict.applications > 0) == (pipeline == "default")


def test_the_verdict_counts() -> None:
    x = gc.placeholder(gc.float32, [3], name="x")
    with gc.Session() as session:
        plan = session.compile(gc.cumsum(gc.exp(x) * 1.0), {x: None})
        lines: list[str] = []
        verdict = session.bisect(gc.cumsum(gc.exp(x) * 1.0), {x: np.ones(3, np.float32)}, lines.append)
    assert (verdict.passes, verdict.kernels) == (len(plan.stages) - 1, len(plan.kernels))
    assert verdict.applications == sum(len(stage.applied) for stage in plan.stages) == 1
    assert bool(verdict) is verdict.ok is True
    assert str(verdict).startswith("every pass and kernel agrees with the reference: 4 passes, 1 rule application, 2 kernels, largest ")
    assert lines[0] == f"pass simplify: {len(plan.stages[1].program.nodes)} nodes, 1 rule applications: agrees"
    assert lines[-1] == "machine code, all kernels in one call: agrees"


def _random_numbers() -> Declared:
    noise = gc.random_normal([64, 9], seed=4)
    kept = gc.nn.dropout(noise + gc.truncated_normal([64, 9], seed=5), rate=0.4, seed=6)
    return [kept, gc.random_shuffle(gc.range(50), seed=1), gc.multinomial(kept, 3, seed=2)], {}


def _integers() -> Declared:
    x = gc.placeholder(gc.float32, [8, 12])
    order = gc.argsort(x, axis=1)
    top, places = gc.nn.top_k(x, 3)
    counts = gc.bincount(gc.argmax(x, axis=1, output_type=gc.int32), minlength=12)
    flags = gc.logical_and(x > 0.0, gc.equal(gc.cast(order, gc.int64) % 2, 0))
    return [order, top, places, counts, flags, gc.bitcast(x, gc.int32), x > gc.reduce_mean(x)], {x: RANDOM.standard_normal((8, 12))}


def _updates_in_place() -> Declared:
    table = gc.get_variable("table", [20, 6])
    moved = gc.get_variable("moved", [6, 6])
    ids = gc.placeholder(gc.int32, [5])
    rows = gc.scatter_add(table, ids, gc.tanh(gc.gather(table, ids)))
    swapped = gc.assign(moved, gc.transpose(gc.matmul(moved, moved)))
    with gc.control_dependencies([rows]):
        read = table.read_value() * 2.0
    return [swapped, read, gc.assign_add(gc.get_variable("count", [], gc.int64, gc.zeros_initializer()), 1)], {ids: [1, 3, 3, 0, 19]}


def _functions_of_the_host() -> Declared:
    x = gc.placeholder(gc.float64, [4, 5, 5])
    square = gc.matmul(x, x, transpose_b=True) + gc.eye(5, dtype=gc.float64)
    factor = gc.cholesky(square)
    spectrum = gc.fft(gc.cast(factor * 2.0, gc.complex128))
    return [gc.matrix_inverse(square) * 3.0, gc.svd(x, compute_uv=False), gc.abs(spectrum), gc.matrix_determinant(square)], {
        x: RANDOM.standard_normal((4, 5, 5))}


def _halves() -> Declared:
    x = gc.placeholder(gc.float16, [30, 40])
    y = gc.nn.softmax(x * gc.constant(3.0, gc.float16))
    slopes = gc.gradients(gc.reduce_sum(gc.tanh(y)), x)
    return [y, gc.reduce_sum(gc.cast(y, gc.bfloat16) * 5.0), slopes], {x: RANDOM.standard_normal((30, 40))}


def _special_values() -> Declared:
    x = gc.placeholder(gc.float32, [7])
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 3e38]
    return [gc.log(x), gc.sqrt(x), x * 1e10, 1.0 / x, gc.nn.softmax(x[3:]), gc.sign(x), gc.floor(x), gc.cast(x, gc.int32),
            gc.reduce_max(x), gc.reduce_sum(x[1:2])], {x: values}


def _nothing() -> Declared:
    x = gc.placeholder(gc.float32, [0, 4])
    return [gc.exp(x) + 1.0, gc.reduce_sum(x, 0), gc.concat([x, x], 0)], {x: np.zeros((0, 4))}


@pytest.mark.parametrize("pipeline", ["default", "none"])
@pytest.mark.parametrize("build", [
    _random_numbers, _integers, _updates_in_place, _functions_of_the_host, _halves, _special_values, _nothing],
    ids=lambda build: build.__name__.strip("_"))
@pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
def test_programs_of_every_kind(build: Callable[[], Declared], pipeline: str) -> None:
    verdict = _bisected(build, pipeline=pipeline, intra_op_parallelism_threads=2)
    assert verdict.ok, str(verdict)
    assert verdict.kernels > 0


@given(programs(special=3))
@settings(max_examples=6)
def test_random_programs(program: Program) -> None:
    inputs = random_inputs(program)
    assert inputs is not None
    verdict = bisect(program, DEFAULT, inputs.feeds, inputs.variables)
    assert verdict.ok, str(verdict)


# Runs in parts ---------------------------------------------------------------------------------------------------------------------------

def _staged() -> tuple[Any, dict[Any, Any], gc.Tensor]:
    x = gc.placeholder(gc.float32, [20], name="x")
    total = gc.get_variable("total", [], initializer=gc.zeros_initializer())
    h = gc.tanh(x * 2.0, name="h")
    picked = gc.boolean_mask(h, h > 0.1, name="picked")
    return [gc.reduce_sum(gc.exp(picked)), gc.assign_add(total, gc.reduce_sum(picked))], {x: np.linspace(-1, 1, 20, dtype=np.float32)}, h


def test_each_stage_of_a_run_in_stages() -> None:
    fetches, feeds, _ = _staged()
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        lines: list[str] = []
        verdict = session.bisect(fetches, feeds, lines.append)
        assert verdict.ok, str(verdict)
        assert verdict.passes == 8  # four in each of two stages
        assert any(line.startswith("stage for size of picked/") for line in lines)
        session.run(fetches, feeds)
        assert verdict.kernels == len(session.compile(fetches, feeds).kernels)


def test_a_check_that_does_not_hold_is_left_to_the_run() -> None:
    x = gc.placeholder(gc.float32, [3])
    with gc.control_dependencies([gc.assert_positive(x)]):
        y = gc.sqrt(x)
    v = gc.get_variable("v", [3])
    with gc.Session() as session:
        session.run(gc.global_variables_initializer())
        assert session.bisect([y, v.assign(y)], {x: np.float32([1, 2, 3])}).ok
        with pytest.raises(ValueError, match=r"a check does not hold, as for 'assert_positive/.*': Session.run says which and why"):
            session.bisect([y, v.assign(y)], {x: np.float32([1, -2, 3])})


def test_several_devices() -> None:
    x = gc.placeholder(gc.float32, [6], name="x")
    with gc.device("/cpu:1"):
        w = gc.get_variable("w", [6])
        y = gc.sin(x) * w
    z = gc.cumsum(gc.exp(y)) + gc.assign_add(w, y)
    with gc.Session(config=gc.ConfigProto(device_count={"CPU": 2})) as session:
        session.run(gc.global_variables_initializer())
        lines: list[str] = []
        verdict = session.bisect(z, {x: np.ones(6, np.float32)}, lines.append)
        assert verdict.ok, str(verdict)
        assert "segment on CPU:1" in lines
        assert verdict.kernels == len(session.compile(z, {x: None}).kernels)


def test_what_a_run_would_refuse_is_refused() -> None:
    v = gc.get_variable("v", [3])
    x = gc.placeholder(gc.float32, [3], name="x")
    with gc.Session() as session:
        with pytest.raises(gc.errors.FailedPreconditionError, match="Attempting to use uninitialized value v"):
            session.bisect(v * x, {x: np.ones(3, np.float32)})
        with pytest.raises(gc.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor 'x'"):
            session.bisect(x * 2.0)
    with pytest.raises(RuntimeError, match="closed Session"):
        session.bisect(x * 2.0)


# While compiling -------------------------------------------------------------------------------------------------------------------------

def test_a_verified_session_computes_the_same() -> None:
    gc.set_random_seed(1)
    fetches, feeds = declare("mlp")
    results = []
    for verify in (True, False):
        with gc.Session(config=gc.ConfigProto(verify=verify)) as session:
            session.run(gc.global_variables_initializer())
            results.append([session.run(fetches, feeds)[0] for _ in range(3)])
    assert results[0] == results[1]


def test_the_session_says_and_else_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(check, "check_stages", lambda stages: asked.append("stages"))
    monkeypatch.setattr(check, "check_executable", lambda executable, run: asked.append("code"))
    for environment, verify, wanted in [("", None, 0), ("1", None, 2), ("1", False, 0), ("", True, 2), ("0", None, 0)]:
        monkeypatch.setenv("GRAPHC_VERIFY", environment)
        asked.clear()
        gc.Session(config=gc.ConfigProto(verify=verify)).run(gc.sin(gc.random_uniform([3])))
        assert len(asked) == wanted
    with pytest.raises(TypeError, match=r"^ConfigProto\(verify='yes'\) has type str, but expected one of: bool, None$"):
        gc.ConfigProto(verify="yes").settings()  # type: ignore[arg-type]


def test_values_that_a_program_refuses_are_told() -> None:
    x = p.parameter("x", TensorType(dtypes.float32, (3, 3)))
    assert random_inputs(Program((x,), (p.cholesky(x),))) is not None  # some random matrices have a factor
    never = Program((x,), (p.cholesky(p.negate(p.dot_general(x, x, (), (), (1,), (1,)))),))
    with pytest.warns(RuntimeWarning, match=r"^graphc: nothing is verified: the program refuses random values \(Cholesky .*\); `Session"):
        assert random_inputs(never) is None


def test_a_program_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LARGEST", 100)
    x = p.parameter("x", TensorType(dtypes.float32, (60,)))
    program = Program((x,), (p.sine(x),))
    assert random_inputs(program) is None
    with pytest.raises(ValueError, match="too large for the reference interpreter: bisect a smaller one"):
        bisect(program, DEFAULT, [np.ones(60)], {})


# The command -----------------------------------------------------------------------------------------------------------------------------

WRONG_PASSES = """
import graphc as gc
from graphc.passes.users import map_nodes
from graphc.primitives import minimum

def least(node):
    return minimum(*node.operands) if node.name == "maximum" else None

passes = [("least", lambda program: map_nodes(program, least))]
"""


def test_the_command_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect", "mlp", "--seed", "3"]) == 0
    out, progress = capsys.readouterr()
    assert out.startswith("every pass and kernel agrees with the reference: 4 passes, ")
    assert "pass fuse: " in progress


def test_the_command_names_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline, saved = tmp_path / "wrong.py", tmp_path / "small.program"
    pipeline.write_text(WRONG_PASSES)
    assert main(["bisect", "mlp", "--pipeline", str(pipeline), "--save", str(saved)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("pass 'least' changed output 0: at [] expected ")
    assert f"wrote {saved}" in out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["small.program", "wrong.py"]
    names = [node.name for node in parse_program(saved.read_text()).nodes]
    assert names[-1] == "maximum"
    assert len(names) <= 4
    assert main(["bisect", str(saved)]) == 0  # the same on the text that it wrote
    assert main(["bisect", str(saved), "--pipeline", str(pipeline)]) == 1
    assert "pass 'least' changed output 0" in capsys.readouterr().out


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, text = tmp_path / "model.py", tmp_path / "text.program"
    broken.write_text("def build():\n    return 1 / 0\n")
    text.write_text("program {\n  %0 = nothing() : f32[]\n}\n")
    for arguments, words in [
            (["nowhere"], "no model 'nowhere': give one of "),
            ([str(broken)], f"{broken}:2 raised ZeroDivisionError: division by zero"),
            ([str(text)], f"{text}: line 2, column "),
            (["mlp", "--pipeline", "fastest"], "no pipeline 'fastest': give one of "),
            (["mlp", "--save", str(tmp_path / "no" / "file")], f"cannot write {tmp_path / 'no' / 'file'}: No such file or directory"),
            (["mlp", "--device", "tpu"], "ConfigProto(device='tpu'): ")]:
        assert main(["bisect", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith(f"graphc: {words}")
        assert captured.err.count("\n") == 1
        assert captured.out == ""
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.py", "text.program"]
