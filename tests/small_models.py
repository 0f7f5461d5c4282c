"""The built-in models in sizes that an interpreter, or a GPU made of a CPU, can run in a test: only the transformer is too large, and the
cnn's batch."""
from __future__ import annotations

from typing import Any

import numpy as np

import graphc as gc
from graphc.models import MODELS, Build, cnn, transformer

SIZES = transformer.Sizes(batch=2, length=16, width=32, heads=2, blocks=1)


def _transformer() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    return transformer.build(SIZES)


def _cnn() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    fetches, feeds = cnn.build()
    return fetches, {tensor: value[:4] if np.ndim(value) else value for tensor, value in feeds.items()}


SMALL_MODELS: dict[str, Build] = {**MODELS, "cnn": _cnn, "transformer": _transformer}
