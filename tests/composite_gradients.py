"""The table of composites: what only passes values on."""
from __future__ import annotations

from collections.abc import Sequence

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Case, sample
from tests.op_table import uniform


def families() -> dict[str, Sequence[Case]]:
    arrays = sample("n", uniform(-2, 2), dtypes.float64, 3, 5), sample("m", uniform(-2, 2), dtypes.float64, 7)
    return {"passing": [Case("identity_n", "two", lambda x, y: gc.identity_n([x, y]), arrays, lambda x, y: [x, y], slopes=2)]}
