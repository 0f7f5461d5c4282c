"""TensorBoard's event files: `FileWriter` of TF1's `summary`, for the graph and for what a timed run tells.

A file is a list of records (length, checksum, bytes, checksum), each an Event of event.proto. TensorBoard reads it while it is written.
"""
from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from graphc.core.graph import Graph
from graphc.exports.graph_def import DATA_TYPES, GraphDef, as_graph_def, shape_message
from graphc.exports.protobuf import Double, Message, repeated

VERSION = "brain.Event:2"


class FileWriter:
    """Writes to a new file in the folder `logdir`, which is made where it is not there (TF1's `tf.summary.FileWriter`).

    graph: added at once. max_queue, flush_secs and session are TF1's; every event is written at once. OSError where nothing can be written,
    TypeError where the graph is none.
    """

    def __init__(self, logdir: str | os.PathLike[str], graph: Graph | GraphDef | None = None, max_queue: int = 10,
                 flush_secs: int = 120, graph_def: Graph | GraphDef | None = None, filename_suffix: str | None = None,
                 session: Any = None) -> None:
        self._folder = Path(logdir)
        self._suffix = filename_suffix or ""
        self._file: IO[bytes] | None = None
        self._tags: set[str] = set()
        self.reopen()
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def get_logdir(self) -> str:
        """The folder, as it was given."""
        return os.fspath(self._folder)

    @property
    def path(self) -> Path:
        """The newest file."""
        return self._path

    def add_graph(self, graph: Graph | GraphDef | None, global_step: int | None = None, graph_def: Graph | GraphDef | None = None) -> None:
        """Adds a Graph, or what its `as_graph_def` gives, for TensorBoard's page "Graphs". ValueError for two, TypeError for what is
        neither."""
        if graph is not None and graph_def is not None:
            raise ValueError("Please pass only graph, or graph_def (deprecated), but not both.")
        given = graph_def if graph is None else graph
        if isinstance(given, Graph):
            given = as_graph_def(given, add_shapes=True)
        if not isinstance(given, GraphDef):
            raise TypeError(f"The passed graph must be an instance of `Graph` or the deprecated `GraphDef`, but got {type(given)}")
        self._add((4, "graph_def", given.SerializeToString()), global_step)

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: int | None = None) -> None:
        """Adds what a run with a trace level (see `RunOptions`) told: time and memory on TensorBoard's graph, as session run `tag`.
        ValueError where the tag was used before."""
        if tag in self._tags:
            raise ValueError("The provided tag was already used for this event type")
        self._tags.add(tag)
        told = Message((1, "step_stats", step_stats(run_metadata.step_stats)))
        self._add((8, "tagged_run_metadata", Message((1, "tag", tag), (2, "run_metadata", told.wire()))), global_step)

    def flush(self) -> None:
        """Nothing is left to do: every event is written when it is added."""

    def close(self) -> None:
        """Closes the file. What is added later goes to a new one."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def reopen(self) -> None:
        """Begins a new file where the writer is closed."""
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = _new_file(self._folder, self._suffix)
            self._path = Path(self._file.name)
            self._add((3, "file_version", VERSION), None)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _add(self, what: tuple[int, str, Any], step: int | None) -> None:
        self.reopen()
        assert self._file is not None
        event = Message((1, "wall_time", Double(time.time())), (2, "step", None if step is None else int(step)), what)
        self._file.write(record(event.wire()))
        self._file.flush()


def _new_file(folder: Path, suffix: str) -> IO[bytes]:
    """A file of a name that no other has, in the order of time."""
    second, number = int(time.time()), 0
    while True:
        name = f"events.out.tfevents.{second:010d}.{os.uname().nodename}.{os.getpid()}.{number}{suffix}"
        try:
            return open(folder / name, "xb")
        except FileExistsError:
            number += 1


def record(data: bytes) -> bytes:
    """`data` in the frame of a TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    """The checksum as the format stores it, so that one of data that holds checksums is none of theirs."""
    sum_ = crc32c(data)
    return ((sum_ >> 15 | sum_ << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> list[int]:
    """For each byte, the rest that it leaves: Castagnoli's polynomial, lowest bit first."""
    rests = list(range(256))
    for _ in range(8):
        rests = [rest >> 1 ^ (0x82F63B78 if rest & 1 else 0) for rest in rests]
    return rests


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 3720, appendix B.4."""
    sum_, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        sum_ = table[(sum_ ^ byte) & 0xFF] ^ sum_ >> 8
    return sum_ ^ 0xFFFFFFFF


def step_stats(stats: Any) -> Message:
    """step_stats.proto: StepStats, of an object with the same fields (`RunMetadata.step_stats`)."""
    devices = [Message((1, "device", each.device), *repeated(2, "node_stats", map(_node_stats, each.node_stats)))
               for each in stats.dev_stats]
    return Message(*repeated(1, "dev_stats", devices))


def _node_stats(node: Any) -> Message:
    memory = [Message((1, "allocator_name", each.allocator_name), (2, "total_bytes", each.total_bytes), (3, "peak_bytes", each.peak_bytes),
                      (4, "live_bytes", each.live_bytes), (5, "allocator_bytes_in_use", each.allocator_bytes_in_use))
              for each in node.memory]
    times = ((2, "all_start_micros"), (3, "op_start_rel_micros"), (4, "op_end_rel_micros"), (5, "all_end_rel_micros"))
    return Message((1, "node_name", node.node_name), *((number, name, getattr(node, name)) for number, name in times),
                   *repeated(6, "memory", memory), *repeated(7, "output", map(_output, node.output)),
                   (8, "timeline_label", node.timeline_label), (9, "scheduled_micros", node.scheduled_micros),
                   (10, "thread_id", node.thread_id))


def _output(output: Any) -> Message:
    told = output.tensor_description
    allocated = told.allocation_description
    allocation = Message((1, "requested_bytes", allocated.requested_bytes), (2, "allocated_bytes", allocated.allocated_bytes),
                         (3, "allocator_name", allocated.allocator_name))
    tensor = Message((1, "dtype", DATA_TYPES[told.dtype]), (2, "shape", shape_message(tuple(told.shape.as_list()))),
                     (4, "allocation_description", allocation))
    return Message((1, "slot", output.slot), (3, "tensor_description", tensor))
