"""A `Profile` as a Chrome trace: the JSON of "trace events" that Perfetto, chrome://tracing and TensorFlow's users' own scripts read."""
from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from graphc.runtime.recorder import COPY, DOWNLOAD, UPLOAD

if TYPE_CHECKING:
    from graphc.runtime.profile import Profile, StepTime

Event = dict[str, Any]
_SESSION = 0  # the process number of the session itself; those of devices follow
_COMPUTE, _TRANSFERS = 0, 1  # tracks of a device
_MOVES = (COPY, UPLOAD, DOWNLOAD)


def chrome_trace(profile: Profile, dataflow: bool, memory: bool) -> str:
    """The whole trace as JSON text; times are microseconds of CLOCK_MONOTONIC, so that traces of several runs can be merged."""
    devices = dict.fromkeys(step.device for step in profile.steps if step.device)
    pids = {"": _SESSION, **{device: number for number, device in enumerate(devices, _SESSION + 1)}}
    events = [*_names(pids), *_whole(profile), *(_event(profile, step, pids) for step in profile.steps)]
    if dataflow:
        events += _arrows(profile, pids)
    if memory:
        events += _memory(profile)
    return _text(events)


def _text(events: list[Event]) -> str:
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=1)


EMPTY = _text([])


def _names(pids: dict[str, int]) -> Iterator[Event]:
    for device, pid in pids.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": f"{device} Compute" if device else "Session"}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}
        tracks = {_COMPUTE: "kernels", _TRANSFERS: "copies"} if device else {_COMPUTE: "run"}
        for tid, name in tracks.items():
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _whole(profile: Profile) -> Iterator[Event]:
    """The run itself, around what the session does in it."""
    args = {"runs": profile.runs, "kernels_us": round(profile.total_us, 3)}
    yield {"ph": "X", "cat": "Session", "name": "Session.run", "pid": _SESSION, "tid": _COMPUTE, "ts": round(profile.began_us, 3),
           "dur": round(profile.run_us + profile.compile_us, 3), "args": args}


def _event(profile: Profile, step: StepTime, pids: dict[str, int]) -> Event:
    args: Event = {"name": step.name, "op": step.kind}
    if step.index is not None:
        args |= {"operations": list(step.operations), "lines": list(step.lines), "flops": step.flops, "bytes": step.bytes,
                 "GFLOP/s": round(step.gflops, 3), "GB/s": round(step.gbs, 3), "share": round(step.share, 4), "threads": step.threads,
                 "live arena bytes": step.live_bytes}
    elif step.bytes:
        args |= {"bytes": step.bytes, "GB/s": round(step.gbs, 3)}
    return {"ph": "X", "cat": "Op", "name": step.name or step.kind, "pid": pids[step.device], "tid": _track(step),
            "ts": _moment(profile, step), "dur": round(step.us, 3), "args": args}


def _track(step: StepTime) -> int:
    return _TRANSFERS if step.kind in _MOVES else _COMPUTE


def _moment(profile: Profile, step: StepTime, part: float = 0.0) -> float:
    """When `part` of a step is done."""
    return round(profile.began_us + step.start_us + part * step.us, 3)


def _arrows(profile: Profile, pids: dict[str, int]) -> Iterator[Event]:
    """From the end of a kernel to the start of each that reads its results."""
    steps = {step.index: step for step in profile.kernels}
    for number, (source, target) in enumerate(profile.flows):
        if source in steps and target in steps:
            for phase, step, part in (("s", steps[source], 0.999), ("f", steps[target], 0.001)):
                end = {"bp": "e"} if phase == "f" else {}
                yield {"ph": phase, "cat": "DataFlow", "name": "value", "id": number, "pid": pids[step.device], "tid": _track(step),
                       "ts": _moment(profile, step, part), **end}


def _memory(profile: Profile) -> Iterator[Event]:
    """A counter that changes with each kernel, and is 0 when the run is over."""
    moments = [(_moment(profile, step), step.live_bytes) for step in profile.kernels]
    end = round(profile.began_us + profile.run_us + profile.compile_us, 3)
    for moment, count in [*moments, (end, 0)]:
        yield {"ph": "C", "cat": "Memory", "name": "live arena bytes", "pid": _SESSION, "ts": moment, "args": {"bytes": count}}
