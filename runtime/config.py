"""`ConfigProto`: the options of a session, under TF1's names, and what TF1 programs set that a CPU compiler has no use for."""
from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from graphc.passes.pipelines import PIPELINES, Pipeline


@dataclass
class GPUOptions:
    """TF1's options of GPU memory; accepted, without effect on a CPU."""

    allow_growth: bool = False
    per_process_gpu_memory_fraction: float = 0.0
    visible_device_list: str = ""
    allocator_type: str = ""


@dataclass
class ConfigProto:
    """How a session compiles and runs.

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

    def chosen_pipeline(self) -> Pipeline:
        """The pipeline itself; ValueError for a name that is none."""
        if isinstance(self.pipeline, Pipeline):
            return self.pipeline
        if self.pipeline not in PIPELINES:
            raise ValueError(f"ConfigProto(pipeline={self.pipeline!r}): it must be one of {', '.join(PIPELINES)}, or a Pipeline")
        return PIPELINES[self.pipeline]

    def threads(self) -> int:
        """Threads that one kernel may use; ValueError for a negative number."""
        if self.intra_op_parallelism_threads < 0:
            raise ValueError(f"ConfigProto(intra_op_parallelism_threads={self.intra_op_parallelism_threads}): it must not be negative")
        return self.intra_op_parallelism_threads or len(os.sched_getaffinity(0))
