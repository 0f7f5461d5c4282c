"""TensorFlow 1's idiom for a Chrome trace; a program that uses it changes this import alone. `RunMetadata.profile` has the same and more.

    timeline.Timeline(run_metadata.step_stats).generate_chrome_trace_format()
"""
from __future__ import annotations

from typing import Any

from graphc.runtime.run_options import StepStats
from graphc.runtime.trace import EMPTY


class Timeline:
    """What one run did and when. step_stats: of the `RunMetadata` of a run with a trace level; TypeError for anything else. graph: TF1's,
    without use here."""

    def __init__(self, step_stats: StepStats, graph: Any = None) -> None:
        if not isinstance(step_stats, StepStats):
            raise TypeError(f"step_stats must be the step_stats of a graphc.RunMetadata, but got {type(step_stats)}")
        self._profile = step_stats.profile

    def generate_chrome_trace_format(self, show_dataflow: bool = True, show_memory: bool = False) -> str:
        """JSON that Perfetto and chrome://tracing open; of a run that was not traced, one without events. show_dataflow: arrows from kernel
        to kernel. show_memory: the live bytes of the arena."""
        return EMPTY if self._profile is None else self._profile.chrome_trace(show_dataflow, show_memory)
