"""TensorFlow 1.15.5 as the judge: the samples of `tests/judge/*.txt`, and every signature that it has.

`tests/judge/record.py` wrote down what TensorFlow answers; here graphc is asked the same. Where it is meant to answer otherwise,
`tests/judge/differences.txt` says so and why: a difference that is not listed fails, and so does one that is listed and is none.
"""
from __future__ import annotations

import ast
import fnmatch
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.core.types import TensorType, same_dims
from tests.judge.inputs import INPUTS
from tests.judge.record import evaluate, flat, plain, weights
from tests.tolerances import JUDGED

pytestmark = [pytest.mark.filterwarnings("ignore")]
FOLDER = Path(__file__).parent / "judge"
FILES = sorted(path for path in FOLDER.glob("*.txt") if path.stem not in ("names", "differences"))


# What TensorFlow answered ----------------------------------------------------------------------------------------------------------------

@dataclass
class Sample:
    code: str
    results: list[list[str]] = field(default_factory=list)  # type, dtype, static shape, name
    values: list[Any] = field(default_factory=list)
    plain: str = ""  # a result that is no tensor
    slopes: dict[str, Any] | None = field(default_factory=dict)  # None: TensorFlow has no gradient there
    error: str = ""  # of declaring
    failure: str = ""  # of running


def _read(path: Path) -> list[Sample]:
    samples: list[Sample] = []
    for line in path.read_text().splitlines():
        mark, _, rest = line.partition(" ")
        match mark:
            case ">>>":
                samples.append(Sample(rest))
            case ":":
                samples[-1].results.append(rest.split(" "))
            case "=":
                samples[-1].values.append(json.loads(rest))
            case "~":
                samples[-1].plain = rest
            case "'":
                name, _, value = rest.partition(" ")
                if name == "none" or samples[-1].slopes is None:
                    samples[-1].slopes = None
                else:
                    samples[-1].slopes[name] = json.loads(value)
            case "!":
                samples[-1].error = rest
            case "!!":
                samples[-1].failure = rest
    return samples


SAMPLES = {path.stem: _read(path) for path in FILES}


# What graphc answers ---------------------------------------------------------------------------------------------------------------------

@dataclass
class Answer:
    """As `Sample`, of graphc."""

    results: list[gc.Tensor] = field(default_factory=list)
    plain: str = ""
    values: list[np.ndarray] = field(default_factory=list)
    slopes: dict[str, np.ndarray] = field(default_factory=dict)
    error: BaseException | None = None
    failure: BaseException | None = None


def _answer(sample: Sample) -> Answer:
    with gc.Graph().as_default():
        used = {name: INPUTS[name] for name in INPUTS if re.search(rf"\b{name}\b", sample.code)}
        placeholders = {name: gc.placeholder(array.dtype, shape, name=name) for name, (array, shape) in used.items()}
        try:
            result = evaluate(sample.code, gc, placeholders)
            results = flat(result, gc.Tensor)
        except Exception as error:
            return Answer(error=error)
        if not results:
            return Answer(plain=plain(result))
        feeds = {placeholders[name]: array for name, (array, _) in used.items()}
        try:
            values = _run(results, feeds, checked=bool(sample.failure))
        except Exception as error:
            return Answer(results, failure=error)
        answer = Answer(results, values=values)
        smooth = [(t, v) for t, v in zip(results, values, strict=True) if t.dtype.is_floating or t.dtype.is_complex]
        by = {name: t for name, t in placeholders.items() if t.dtype.is_floating or t.dtype.is_complex}
        if smooth and by:
            slopes = gc.gradients([t for t, _ in smooth], list(by.values()), [gc.constant(weights(v)) for _, v in smooth])
            found = {name: gc.convert_to_tensor(g) for name, g in zip(by, slopes, strict=True) if g is not None}
            try:
                answer.slopes = dict(zip(found, _run(list(found.values()), feeds), strict=True))
            except Exception as error:
                answer.failure = error
        return answer


def _run(tensors: list[gc.Tensor], feeds: dict[gc.Tensor, np.ndarray], checked: bool = False) -> list[np.ndarray]:
    """Their values: by the interpreter where nothing is kept between runs and no size rests on a value, else in a session. checked: in
    its checked mode, which finds at run time what TensorFlow finds."""
    graph = gc.get_default_graph()
    if not checked and not any(operation.definition.stateful for operation in graph.get_operations()):
        try:
            program = specialise(tensors, {t: TensorType(t.dtype, a.shape) for t, a in feeds.items()})
            return interpret(program, list(feeds.values()))[0]
        except Exception as error:
            if type(error).__name__ not in ("ValueNeeded", "ComputedValueNeeded"):
                raise
    with gc.Session(config=gc.ConfigProto(checked=checked)) as session:
        session.run([gc.global_variables_initializer(), gc.local_variables_initializer()])
        return [np.asarray(value) for value in session.run(tensors, feeds)]


# Compared --------------------------------------------------------------------------------------------------------------------------------

def _differences(sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    """What differs (the field that a line of `differences.txt` names) and how."""
    found = answer.error or answer.failure
    if sample.error or answer.error is not None:
        if not answer.error or not _is_a(answer.error, sample.error):
            yield "error", f"expected {sample.error or 'no error'}, found {found!r}"[:300]
        return
    if sample.plain != answer.plain:
        yield "values", f"expected {sample.plain}, found {answer.plain}"
    yield from _declared_differently(sample, answer)
    if len(sample.results) != len(answer.results):
        return
    if sample.failure or answer.failure is not None:
        if not answer.failure or not _is_a(answer.failure, sample.failure):
            yield "failure", f"expected {sample.failure or 'no failure'}, found {found!r}"[:300]
        return
    for value, want in zip(answer.values, sample.values, strict=True):
        if problem := _far(value, want):
            yield "values", problem
    if sample.slopes is None:
        return
    if sample.slopes.keys() != answer.slopes.keys():
        yield "gradients", f"expected by {sorted(sample.slopes)}, found by {sorted(answer.slopes)}"
        return
    for name, want in sample.slopes.items():
        if problem := _far(answer.slopes[name], want, 10):
            yield "gradients", f"by {name}: {problem}"


def _declared_differently(sample: Sample, answer: Answer) -> Iterator[tuple[str, str]]:
    if len(sample.results) != len(answer.results):
        yield "results", f"expected {len(sample.results)}, found {len(answer.results)}"
        return
    for (type_, dtype, shape, name), tensor in zip(sample.results, answer.results, strict=True):
        for what, want, got in (("types", type_, tensor.op.type), ("dtypes", dtype, tensor.dtype.name), ("names", name, tensor.name)):
            if want != got:
                yield what, f"expected {want}, found {got}"
        if not _as_known(shape, tensor.shape_tuple):
            yield "shapes", f"expected {shape}, found {tensor.shape}"


def _as_known(shape: str, found: tuple[int | None, ...] | None) -> bool:
    """Whether graphc knows of the static shape what TensorFlow knows, or more."""
    if shape == "?":
        return True
    dims = tuple(None if d == "?" else int(d) for d in shape[1:-1].split(",") if d)
    return found is not None and same_dims(dims, found) and all(b is not None for a, b in zip(dims, found, strict=True) if a is not None)


def _is_a(error: BaseException, kind: str) -> bool:
    return any(base.__name__ == kind for base in type(error).__mro__)


def _far(value: np.ndarray, want: Any, factor: float = 1) -> str:
    got = np.asarray(value)
    if got.dtype.kind == "c":
        got = np.stack([got.real, got.imag], -1)
    relative = JUDGED.get(got.dtype.name, JUDGED["float32"]) * factor
    wide, expected = got.astype(np.float64), np.zeros(want["empty"]) if isinstance(want, dict) else np.asarray(want, np.float64)
    if wide.shape != expected.shape:
        return f"shape {wide.shape}, expected {expected.shape}"
    scale = max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0)))
    if np.allclose(wide, expected, rtol=relative, atol=relative * scale, equal_nan=True):
        return ""
    return f"{got.reshape(-1)[:6]}, expected {expected.reshape(-1)[:6]}"


# What is listed --------------------------------------------------------------------------------------------------------------------------

def _listed() -> list[tuple[str, frozenset[str], str]]:
    """(pattern of code, or "signature", "no sample" or "absent"; fields or names; reason)."""
    rows = []
    for line in (FOLDER / "differences.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            what, fields, reason = (part.strip() for part in line.split(" | "))
            rows.append((what, frozenset(fields.split()), reason))
    return rows


LISTED = _listed()
OF_SAMPLES = [row for row in LISTED if row[0] not in ("signature", "no sample", "absent")]
_USED: dict[int, set[str]] = {n: set() for n in range(len(OF_SAMPLES))}  # fields that some sample really differs in


def _allowed(code: str) -> set[str]:
    return {each for n in _rows_for(code) for each in OF_SAMPLES[n][1]}


def _rows_for(code: str) -> list[int]:
    return [n for n, (pattern, _, _) in enumerate(OF_SAMPLES) if fnmatch.fnmatchcase(code, pattern.replace("[", "[[]"))]


@pytest.mark.parametrize("file", SAMPLES)
def test_samples(file: str) -> None:
    problems = []
    for sample in SAMPLES[file]:
        assert sample.results or sample.error or sample.plain, f"nothing is recorded for {sample.code!r}: run tests/judge/record.py"
        for what, how in _differences(sample, _answer(sample)):
            for row in _rows_for(sample.code):
                _USED[row].add(what)
            if what not in _allowed(sample.code):
                problems.append(f"{sample.code}\n    {what}: {how}")
    assert not problems, f"{len(problems)} differences from TensorFlow:\n" + "\n".join(problems)


def test_listed_differences_are_differences() -> None:
    """Runs after the samples, of which it asks those that a row speaks of."""
    stale = []
    for n, (pattern, fields, _) in enumerate(OF_SAMPLES):
        if not _USED[n]:  # the samples ran in another process, or not at all
            for sample in (s for samples in SAMPLES.values() for s in samples if n in _rows_for(s.code)):
                _USED[n] |= {what for what, _ in _differences(sample, _answer(sample))}
        if fields - _USED[n]:
            stale.append(f"{pattern}: {' '.join(sorted(fields - _USED[n]))}")
    assert not stale, "listed, but no difference:\n" + "\n".join(stale)


# Names and signatures --------------------------------------------------------------------------------------------------------------------

def _names() -> dict[str, tuple[str, str]]:
    """Every callable of TensorFlow below `tf.`: whether it is a "def" or a "class", and its signature."""
    rows = [line.partition("(") for line in (FOLDER / "names.txt").read_text().splitlines()]
    return {head.split(" ")[1]: (head.split(" ")[0], "(" + rest) for head, _, rest in rows}


NAMES = _names()


def _of_graphc(name: str) -> Any:
    thing: Any = gc
    for part in name.split("."):
        thing = getattr(thing, part, None)
    return thing


def _arguments(signature: str) -> list[tuple[str, str]]:
    """(name, default) of each argument; a default that is no literal counts as "...", none as "", numbers that are all alike as one."""
    plain = re.sub(r"<[^>]*>", "no_literal", signature.replace("tf.", ""))
    tree = ast.parse(f"def f{plain}: pass").body[0]
    assert isinstance(tree, ast.FunctionDef)
    positional = [*tree.args.posonlyargs, *tree.args.args]
    defaults = [None] * (len(positional) - len(tree.args.defaults)) + list(tree.args.defaults)
    found = [(a.arg, _default(d)) for a, d in zip(positional, defaults, strict=True)]
    found += [(a.arg, _default(d)) for a, d in zip(tree.args.kwonlyargs, tree.args.kw_defaults, strict=True)]
    return [each for each in found if each[0] not in ("_sentinel", "self")]


def _default(node: ast.expr | None) -> str:
    if node is None:
        return ""
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return "..."
    if isinstance(value, list | tuple):
        value = value[0] if value and all(each == value[0] for each in value) else tuple(value)
    return repr(float(value)) if isinstance(value, int | float) else "..." if value == () else repr(value)


def _signature(thing: Any) -> list[tuple[str, str]]:
    def default(value: Any) -> str:
        return "" if value is inspect.Parameter.empty else _default(ast.parse(repr(value), mode="eval").body) if _literal(value) else "..."
    return [(name, default(p.default))
            for name, p in inspect.signature(thing).parameters.items()
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name != "_sentinel"]


def _literal(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | bool) or (
        isinstance(value, list | tuple) and all(_literal(each) for each in value))


def _functions() -> dict[str, Any]:
    """graphc's functions and classes of which TensorFlow has one of the same name."""
    return {name: thing for name in NAMES if callable(thing := _of_graphc(name)) and not inspect.ismodule(thing)}


def test_signatures() -> None:
    """Arguments have TensorFlow's names, order and defaults; graphc's own may follow."""
    listed = {name for what, names, _ in LISTED if what == "signature" for name in names}
    problems = {}
    for name, thing in _functions().items():
        _, signature = NAMES[name]
        if signature == "(...)" or "*" in signature.split("=")[0]:
            continue
        wanted, found = _arguments(signature), _signature(thing)
        # What TensorFlow demands may be optional here, where another name may be given instead.
        ours = [(argument, "..." if want == "..." and default else "" if not want and default == "None" else default)
                for (argument, default), (_, want) in zip(found, wanted, strict=False)]
        if ours != wanted:
            problems[name] = f"{name}: expected {wanted}, found {found}"
    unlisted = [problem for name, problem in problems.items() if name not in listed]
    assert not unlisted, f"{len(unlisted)} signatures differ:\n" + "\n".join(unlisted)
    assert listed <= problems.keys(), f"listed, but no difference: {sorted(listed - problems.keys())}"


def test_every_function_is_judged() -> None:
    """Under one of its names every function that TensorFlow has too is in a sample, or listed with the reason."""
    called = {name for samples in SAMPLES.values() for s in samples for name in re.findall(r"\btf\.([\w.]+)\(", s.code)}
    listed = {name for what, names, _ in LISTED if what == "no sample" for name in names}
    functions = {name: thing for name, thing in _functions().items()
                 if NAMES[name][0] == "def" and thing.__module__.startswith(("graphc.ops", "graphc.layers", "graphc.metrics"))}
    judged = {id(functions[name]) for name in functions if name in called}
    missing = sorted(name for name, thing in functions.items() if id(thing) not in judged and name not in listed)
    assert not missing, f"{len(missing)} functions without a sample: {' '.join(missing)}"
    stale = sorted(name for name in listed if name not in functions or id(functions[name]) in judged)
    assert not stale, f"listed without need: {stale}"


def test_every_name_is_there() -> None:
    """Each function of TensorFlow, or a row that says which subject it belongs to."""
    patterns = [(pattern, reason) for what, names, reason in LISTED if what == "absent" for pattern in names]
    missing = {name for name, (kind, _) in NAMES.items() if kind == "def" and _of_graphc(name) is None}
    unlisted = sorted(name for name in missing if not any(fnmatch.fnmatchcase(name, pattern) for pattern, _ in patterns))
    assert not unlisted, f"{len(unlisted)} functions are missing: {' '.join(unlisted)}"
    stale = sorted(pattern for pattern, _ in patterns if not any(fnmatch.fnmatchcase(name, pattern) for name in missing))
    assert not stale, f"listed as absent without need: {stale}"
