"""What TensorFlow 1.15.5 answers for the same lines: operations, names, types, shapes, inputs, and the values of a run.

`tests/golden/tf1_operations.txt` holds lines of user code, each followed by the operations that TensorFlow declared for it
(`name type(inputs) dtype[shape]...`), the names of the results (`->`) and their values (`=`). Where only values follow, graphc reaches them
by fewer operations.
"""
from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.graph import get_default_graph
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.core.types import TensorType

ARRAYS = {
    "x": np.array([[0.25, 0.5, 0.875], [0.125, 0.75, 0.375]], np.float32),
    "y": np.array([[0.5, 0.25, 0.25], [0.125, 0.625, 0.25]], np.float32),
    "i": np.array([1, 0], np.int32),
    "c": np.array([0.5, 2.0, 1.25], np.float32),
}
ARRAYS |= {"u": ARRAYS["x"] + 1, "v": ARRAYS["x"], "b": ARRAYS["x"] > 0.4}
SHAPES: dict[str, Any] = {"x": (2, 3), "y": (2, 3), "i": (2,), "c": (3,), "u": (None, 3), "v": None, "b": (2, 3)}


@dataclass
class Sample:
    code: str
    operations: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)


def _read() -> list[Sample]:
    samples: list[Sample] = []
    for line in (Path(__file__).parent / "golden" / "tf1_operations.txt").read_text().splitlines():
        mark, _, rest = line.partition(" ")
        if mark == ">>>":
            samples.append(Sample(rest))
        elif mark == "->":
            samples[-1].results = rest.split()
        elif mark == "=":
            samples[-1].values.append(json.loads(rest.replace("inf", "Infinity").replace("nan", "NaN")))
        else:
            samples[-1].operations.append(line)
    return samples


SAMPLES = _read()


def _declared(code: str) -> list[gc.Tensor]:
    inputs = {name: gc.placeholder(array.dtype, SHAPES[name], name=name) for name, array in ARRAYS.items()}
    result = eval(code, {"tf": _AsTensorFlow(), **inputs})
    return _tensors(result)


class _AsTensorFlow:
    """graphc under the name that the recorded lines use."""

    math = gc
    realdiv = staticmethod(gc.ops.elementwise.real_div)

    def __getattr__(self, name: str) -> Any:
        return getattr(gc, name)


def _tensors(result: Any) -> list[gc.Tensor]:
    if isinstance(result, list | tuple):
        return [tensor for each in result for tensor in _tensors(each)]
    return [result] if isinstance(result, gc.Tensor) else []


def _line(operation: gc.Operation) -> str:
    def text(tensor: gc.Tensor) -> str:
        dims = tensor.shape_tuple
        inner = "?" if dims is None else "[" + ",".join("?" if d is None else str(d) for d in dims) + "]"
        return f"{tensor.dtype.name}{inner}"
    inputs = ", ".join(tensor.name for tensor in operation.inputs)
    return " ".join([f"{operation.name} {operation.type}({inputs})", *map(text, operation.outputs)])


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.operations], ids=lambda s: s.code)
def test_operations(sample: Sample) -> None:
    results = _declared(sample.code)
    declared = [_line(o) for o in get_default_graph().get_operations() if o.type != "Placeholder"]
    assert declared == sample.operations
    assert [t.name for t in results] == sample.results


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.values], ids=lambda s: s.code)
def test_values(sample: Sample) -> None:
    results = _declared(sample.code)
    graph = get_default_graph()
    feeds = {graph.get_tensor_by_name(f"{name}:0"): TensorType(gc.as_dtype(a.dtype), a.shape) for name, a in ARRAYS.items()}
    values, _ = interpret(specialise(results, feeds), list(ARRAYS.values()))
    for value, expected in zip(values, sample.values, strict=True):
        assert value.shape == np.shape(expected)
        np.testing.assert_allclose(value.astype(np.float64), expected, rtol=2e-5, atol=1e-6, equal_nan=True)


def test_the_recording_is_whole() -> None:
    assert len(SAMPLES) > 170
    assert sum(math.prod(np.shape(v)) for s in SAMPLES for v in s.values) > 500
