"""The table of composites: for every public function that declares operations, samples with an expectation of numpy or scipy in float64.

Data, not tests: `tests/test_composites.py` runs it compiled, with known and unknown shapes, and
`tests/test_composite_gradients.py` differentiates its float64 samples. Every file `tests/composite_*.py` that has a function `families`
is part of it.
"""
from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from tests.composite_cases import Case


def _families() -> dict[str, Sequence[Case]]:
    found: dict[str, Sequence[Case]] = {}
    for path in sorted(Path(__file__).parent.glob("composite_*.py")):
        if path.stem in ("composite_table", "composite_cases"):
            continue
        new = import_module(f"tests.{path.stem}").families()
        assert not found.keys() & new.keys(), f"a family of {path.name} has a name that another file gives"
        found |= new
    return found


FAMILIES = _families()
