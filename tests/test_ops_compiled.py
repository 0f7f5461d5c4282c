"""All operations of the table in one program, with their gradients: what is compiled agrees with the formulas and with the interpreter."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.core.interpret import interpret
from graphc.core.specialise import specialise
from graphc.core.types import TensorType
from tests.test_ops import FORMULAS, MORE
from tests.tolerances import assert_close

Array = np.ndarray[Any, Any]
BUILDS = {**{name: (build, arrays) for name, (build, _, arrays) in FORMULAS.items()}, **{f"more {n}": each for n, each in MORE.items()}}


def _declare() -> tuple[dict[str, gc.Tensor], list[gc.Tensor], dict[gc.Tensor, Array]]:
    """Every operation on placeholders of its own: outputs by name, gradients, feeds."""
    outputs: dict[str, gc.Tensor] = {}
    slopes: list[gc.Tensor] = []
    feeds: dict[gc.Tensor, Array] = {}
    for name, (build, arrays) in BUILDS.items():
        inputs = [gc.placeholder(a.dtype, a.shape) for a in arrays]
        feeds.update(zip(inputs, map(np.ascontiguousarray, arrays), strict=True))
        outputs[name] = build(*inputs)
        slopes += [g for g in gc.gradients(outputs[name], inputs) if g is not None]
    return outputs, slopes, feeds


@pytest.mark.parametrize("pipeline", ["default", "unfused"])
def test_compiled_operations(pipeline: str) -> None:
    outputs, slopes, feeds = _declare()
    with gc.Session(config=gc.ConfigProto(pipeline=pipeline)) as session:
        values, gradients = session.run([outputs, slopes], feeds)
    for name, (_, formula, arrays) in FORMULAS.items():
        assert_close(values[name], formula(*arrays), depth=20)
    types = {tensor: TensorType(tensor.dtype, array.shape) for tensor, array in feeds.items()}
    expected, _ = interpret(specialise(slopes, types), list(feeds.values()))
    for got, want in zip(gradients, expected, strict=True):
        assert_close(got, want, depth=400)
    assert len(slopes) > 90
