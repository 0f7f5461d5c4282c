"""Formulas that are recognised as one function, and those that must not be."""
from __future__ import annotations

import math

import numpy as np
import pytest

from graphc.codegen import interp
from graphc.codegen.idioms import recognise
from graphc.codegen.parse import parse_kernel
from graphc.codegen.text import print_kernel
from graphc.codegen.verify import verify


def kernel_of(body: str) -> str:
    return f"kernel k(x: f32[40] in, y: f32[40] out) {{\n  for i in 40 serial {{\n{body}\n  }}\n}}"


@pytest.mark.parametrize("sum_", ["erf(x[i] * 2.0_f32) + 1.0_f32", "1.0_f32 + erf(x[i] * 2.0_f32)"])
def test_one_plus_erf(sum_: str) -> None:
    plain = parse_kernel(kernel_of(f"    y[i] = 0.5_f32 * ({sum_})"))
    named = recognise(plain)
    verify(named)
    assert "erf_plus_one(x[i] * 2.0_f32)" in print_kernel(named)
    assert parse_kernel(print_kernel(named)) == named
    x, y = np.linspace(-2, 2, 40).astype(np.float32), np.zeros(40, np.float32)
    interp.run(named, [x, y])
    np.testing.assert_allclose(y, [0.5 * (1 + math.erf(2 * each)) for each in x.tolist()], atol=1e-7)


@pytest.mark.parametrize("expr", ["erf(x[i]) + 2.0_f32", "erf(x[i]) - 1.0_f32", "erfc(x[i]) + 1.0_f32", "tanh(x[i]) + 1.0_f32"])
def test_other_sums_stay_as_they_are(expr: str) -> None:
    kernel = parse_kernel(kernel_of(f"    y[i] = {expr}"))
    assert recognise(kernel) == kernel
