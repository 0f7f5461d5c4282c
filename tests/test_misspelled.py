"""A name that does not exist: the error names the nearest one that does."""
from __future__ import annotations

from typing import Any

import pytest

import graphc as gc
from graphc.core.graph import get_default_graph
from graphc.ops.nn import BIAS_ADD


@pytest.mark.parametrize(("module", "name", "meant"), [
    (gc, "resahpe", "reshape"), (gc, "Placeholder", "placeholder"), (gc.nn, "conv_2d", "conv2d"), (gc.losses, "huberloss", "huber_loss"),
    (gc.math, "cumsums", "cumsum"), (gc.linalg, "choleksy", "cholesky"),
])
def test_the_nearest_name_is_told(module: Any, name: str, meant: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute '{name}'; did you mean '{meant}'\\?"):
        getattr(module, name)


def test_nothing_near() -> None:
    with pytest.raises(AttributeError, match=r"module 'graphc' has no attribute 'zzzzqqq'$"):
        _ = gc.zzzzqqq
    assert not hasattr(gc, "__zzz__")


def test_attributes_of_operations() -> None:
    x = gc.constant([[1.0]])
    with pytest.raises(TypeError, match="BiasAdd: unknown attribute 'data_fromat'; it has data_format; did you mean 'data_format'"):
        get_default_graph().create_op(BIAS_ADD, (x, x[0]), {"data_fromat": "NHWC"})
