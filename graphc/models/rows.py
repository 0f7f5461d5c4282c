"""Three models of one line each, which have nothing to hide behind: memory bandwidth is their limit."""
from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc

ROWS, COLUMNS = 4096, 1024
Built = tuple[list[Any], dict[gc.Tensor, Any]]


def _input() -> tuple[gc.Tensor, dict[gc.Tensor, Any]]:
    x = gc.placeholder(gc.float32, [ROWS, COLUMNS], name="x")
    return x, {x: np.random.default_rng(0).standard_normal((ROWS, COLUMNS), np.float32)}


def _vectors() -> tuple[gc.Tensor, gc.Tensor, dict[gc.Tensor, Any]]:
    """A scale and a shift for each column."""
    random = np.random.default_rng(1)
    scale, shift = (gc.placeholder(gc.float32, [COLUMNS], name=name) for name in ("scale", "shift"))
    return scale, shift, {each: random.standard_normal(COLUMNS, np.float32) for each in (scale, shift)}


def softmax() -> Built:
    """softmax over each row of [4096, 1024]."""
    x, feeds = _input()
    return [gc.nn.softmax(x)], feeds


def layernorm() -> Built:
    """Layer normalisation over each row of [4096, 1024], with a learned scale and shift (J. L. Ba et al., arXiv:1607.06450)."""
    x, feeds = _input()
    scale, shift, more = _vectors()
    return [gc.nn.layer_norm(x, scale, shift)], feeds | more


def elementwise() -> Built:
    """gelu(x * scale + shift) on 4,194,304 numbers."""
    x, feeds = _input()
    scale, shift, more = _vectors()
    return [gc.nn.gelu(x * scale + shift)], feeds | more
