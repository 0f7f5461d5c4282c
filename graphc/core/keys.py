"""Collections: named lists that a graph carries ("variables", "losses"), and the standard names of TF1."""
from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


class GraphKeys:
    """TF1's standard collection names."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    SUMMARIES = "summaries"
    REGULARIZATION_LOSSES = "regularization_losses"
    LOSSES = "losses"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    SUMMARY_OP = "summary_op"
    GLOBAL_STEP = "global_step"
    TRAIN_OP = "train_op"
    SAVERS = "savers"
    SAVEABLE_OBJECTS = "saveable_objects"
    QUEUE_RUNNERS = "queue_runners"
    ASSET_FILEPATHS = "asset_filepaths"
    EVAL_STEP = "eval_step"
    CONCATENATED_VARIABLES = "concatenated_variables"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"


class Collections:
    """The collections of one graph."""

    def __init__(self) -> None:
        self._lists: dict[Any, list[Any]] = {}

    def add(self, names: Iterable[Any], value: Any) -> None:
        for name in names:
            self._lists.setdefault(name, []).append(value)

    def get(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of a collection. `scope` is a regular expression: only items with a name that it matches from the start are given."""
        items = self._lists.get(name, [])
        if scope is None:
            return list(items)
        pattern = re.compile(scope)
        return [item for item in items if hasattr(item, "name") and pattern.match(item.name)]

    def ref(self, name: Any) -> list[Any]:
        """The collection itself, made when it does not exist: changes to the list change the collection."""
        return self._lists.setdefault(name, [])

    def keys(self) -> list[Any]:
        return list(self._lists)

    def clear(self, name: Any) -> None:
        self._lists.pop(name, None)
