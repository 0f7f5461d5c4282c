"""Elementary functions of float64."""
from __future__ import annotations

from graphc.codegen.llvm.vecmath import FUNCTIONS

__all__ = ["FUNCTIONS"]
