"""Layers, variables, moving averages and metrics, against what TensorFlow 1.15.5 answers to the same programs (tests/tf1_programs.py)."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from tests.tf1_programs import COLLECTIONS, ramp, read
from tests.tolerances import assert_close

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
GOLDEN = Path(__file__).parent / "golden"
CASES = [(path.stem, name) for path in sorted(GOLDEN.glob("tf1_*.programs")) for name in read(path)]
PROGRAMS = {path.stem: read(path) for path in GOLDEN.glob("tf1_*.programs")}
ANSWERS = {stem: json.loads((GOLDEN / f"{stem}.json").read_text()) for stem in PROGRAMS}


@pytest.mark.parametrize(("file", "name"), CASES)
def test_program(file: str, name: str) -> None:
    want: dict[str, Any] = ANSWERS[file][name]
    space: dict[str, Any] = {"tf": gc, "np": np, "ramp": ramp}
    code = compile(PROGRAMS[file][name], f"<{name}>", "exec")
    if "error" in want:
        kind, _, message = want["error"].partition(": ")
        with pytest.raises({"ValueError": ValueError, "TypeError": TypeError}[kind]) as raised:
            exec(code, space)
        _same_message(str(raised.value), message)
        return
    exec(code, space)
    outputs, final = space.get("outputs", []), space.get("final", [])
    assert [[v.name, v.shape.as_list(), v.dtype.name] for v in gc.global_variables()] == want["variables"]
    for key in COLLECTIONS:
        found = [each.name for each in gc.get_collection(key)]
        if want["named"] or "variables" in key:
            assert found == want["collections"].get(key, []), key
        assert len(found) == len(want["collections"].get(key, [])), key
    if want["named"]:
        assert [t.name for t in outputs] == [output for output, _ in want["outputs"]]
    for tensor, (_, shape) in zip(outputs, want["outputs"], strict=True):
        assert tensor.shape.is_compatible_with(shape)
        known = zip(tensor.shape.as_list(), shape, strict=True) if shape is not None else ()
        assert all(other is None or dim == other for dim, other in known)
    with gc.Session() as session:
        session.run([gc.global_variables_initializer(), gc.local_variables_initializer()])
        for feeds, values in zip(space.get("steps", [{}]), want["values"], strict=True):
            for got, value in zip(session.run(outputs, feeds), values, strict=True):
                _compare(got, value)
        for got, value in zip(session.run(final), want["final"], strict=True):
            _compare(got, value)


def _same_message(ours: str, theirs: str) -> None:
    """The same words, up to the name of the package, the brackets of shapes and the lines that the message adds."""
    words, found = (" ".join(re.sub(r"[][(),.:]", " ", text).split()) for text in (theirs.replace("tf.", "graphc."), ours))
    assert words in found, f"{ours!r} lacks {theirs!r}"


def _compare(got: Any, value: Any) -> None:
    got = np.asarray(got)
    want = np.asarray(value, np.float64 if got.dtype.kind == "f" else got.dtype)
    assert_close(got, want, depth=64, scale=float(np.max(np.nan_to_num(np.abs(want)), initial=1.0)))
