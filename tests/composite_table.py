"""The table of composites: for every public function that declares operations, samples with an expectation of numpy or scipy in float64.

Data, not tests: `tests/test_composites.py` runs it compiled at every vector width, with known and unknown shapes, and
`tests/test_composite_gradients.py` differentiates its float64 samples.
"""
from __future__ import annotations

from collections.abc import Sequence

from tests import composite_arrays, composite_elementwise, composite_models
from tests.composite_cases import Case

FAMILIES: dict[str, Sequence[Case]] = {
    **composite_elementwise.families(), **composite_arrays.families(), **composite_models.families(),
}
