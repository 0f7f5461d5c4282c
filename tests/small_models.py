"""The built-in models in sizes that an interpreter, or a GPU made of a CPU, can run in a test: only the transformer is too large."""
from __future__ import annotations

from typing import Any

import graphc as gc
from graphc.models import MODELS, Build, transformer

SIZES = transformer.Sizes(batch=2, length=16, width=32, heads=2, blocks=1)


def _transformer() -> tuple[list[Any], dict[gc.Tensor, Any]]:
    return transformer.build(SIZES)


SMALL_MODELS: dict[str, Build] = {**MODELS, "transformer": _transformer}
