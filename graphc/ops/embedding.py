"""embedding_lookup: rows of one table, or of a table in several parts, by id."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.core.operation import Tensor
from graphc.ops.array import identity, shape
from graphc.ops.clipping import clip_by_norm
from graphc.ops.declare import as_tensor, name_scope
from graphc.ops.elementwise import cast, floordiv, floormod
from graphc.ops.gathering import gather
from graphc.ops.joining import concat, stack


def embedding_lookup(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None, validate_indices: bool = True,
                     max_norm: float | None = None) -> Tensor:
    """Rows of `params` by the integer `ids`: ids.shape + params.shape[1:]; an id out of range gives zeros.

    params: a table, or a list of its parts. partition_strategy: which rows a part has: "mod" (of n parts the k-th has rows k, n + k,
    2n + k, ...) or "div" (rows one after the other, the first parts one more where they are not equal). max_norm: rows are scaled down to
    this length. ValueError without params or for another strategy.
    """
    del validate_indices
    parts = list(params) if isinstance(params, list | tuple) else [params]
    if not parts:
        raise ValueError("Need at least one param")
    with name_scope(name, "embedding_lookup", [*parts, ids]) as scope:
        tables = [as_tensor(part, None, "params") for part in parts]
        ids = as_tensor(ids, None, "ids")
        if len(tables) == 1:
            return identity(_clipped(gather(tables[0], ids, name=scope), ids, max_norm))
        if partition_strategy not in ("mod", "div"):
            raise ValueError("Unrecognized partition strategy: " + partition_strategy)
        place = ids if partition_strategy == "div" else _place_by_remainder(tables, ids)
        return identity(_clipped(gather(concat(tables, 0), place), ids, max_norm))


def _place_by_remainder(tables: Sequence[Tensor], ids: Tensor) -> Tensor:
    """Where the rows stand in all parts laid one after the other: those of part id % n behind the parts before it."""
    sizes = [cast(shape(table)[0], ids.dtype) for table in tables[:-1]]
    first = as_tensor(0, ids.dtype)
    starts = [first, *(first := first + size for size in sizes)]
    return gather(stack(starts), floormod(ids, len(tables))) + floordiv(ids, len(tables))


def _clipped(rows: Tensor, ids: Tensor, max_norm: float | None) -> Tensor:
    if max_norm is None:
        return rows
    if ids.rank is None or rows.rank is None:
        raise ValueError("max_norm needs ids and params of known rank")
    return clip_by_norm(rows, max_norm, axes=list(range(ids.rank, rows.rank)))
