"""`ConfigProto`: the options of a session, under TF1's names, and what TF1 programs set that a CPU compiler has no use for."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from graphc.passes.pipelines import PIPELINES, Pipeline

__all__ = ["PIPELINES", "ConfigProto", "GPUOptions", "Pipeline", "Settings"]


@dataclass(slots=True)
class GPUOptions:
    """TF1's options of GPU memory; accepted, without effect on a CPU."""

    allow_growth: bool = False
    per_process_gpu_memory_fraction: float = 0.0
    visible_device_list: str = ""
    allocator_type: str = ""


@dataclass(frozen=True)
class Settings:
    """What a `ConfigProto` says, checked: how programs are compiled."""

    pipeline: Pipeline
    threads: int


@dataclass(slots=True)
class ConfigProto:
    """How a session compiles and runs. Read when the session is made; TypeError or ValueError there for a value that is none.

    pipeline: "default", "unfused", "none", or a `Pipeline`. intra_op_parallelism_threads: threads that one kernel may use (0: one per
    processor that this process may run on); results do not depend on it. The other fields are TF1's; they are accepted so that old
    programs run, and have no effect here.
    """

    pipeline: str | Pipeline = "default"
    intra_op_parallelism_threads: int = 0
    inter_op_parallelism_threads: int = 0
    allow_soft_placement: bool = False
    log_device_placement: bool = False
    device_count: dict[str, int] = field(default_factory=dict)
    gpu_options: GPUOptions = field(default_factory=GPUOptions)
    use_per_session_threads: bool = False
    operation_timeout_in_ms: int = 0
    graph_options: Any = None

    def settings(self) -> Settings:
        """The values checked."""
        return Settings(self._chosen_pipeline(), self._threads())

    def _chosen_pipeline(self) -> Pipeline:
        if isinstance(self.pipeline, Pipeline):
            return self.pipeline
        if not isinstance(self.pipeline, str) or self.pipeline not in PIPELINES:
            raise ValueError(f"ConfigProto(pipeline={self.pipeline!r}): it must be one of {', '.join(PIPELINES)}, or a Pipeline")
        return PIPELINES[self.pipeline]

    def _threads(self) -> int:
        count: Any = self.intra_op_parallelism_threads
        given = f"ConfigProto(intra_op_parallelism_threads={count!r})"
        if not isinstance(count, int):
            raise TypeError(f"{given} has type {type(count).__name__}, but expected one of: int")
        if count < 0:
            raise ValueError(f"{given}: it must not be negative")
        return count or len(os.sched_getaffinity(0))
