"""Feeds on their way to the device, and outputs on their way back.

On the device every feed and output has a place in the workspace's `SLOTS`; the small ones have the same place in its `STAGING`, page-locked
memory of the host, so one copy moves neighbours together, gaps and all:

    SLOTS     | small feeds | small outputs | large feeds | large outputs |
    STAGING   | small feeds | small outputs |

A run fills the small feeds of STAGING, uploads them, launches, downloads the small outputs and takes them out of STAGING. Uploads and
downloads of small ones have fixed addresses and sizes, and are part of the recorded graph. Large ones go through two page-locked chunks
in turn, before and after the graph: while the device copies one, the host copies the other. A feed that is on the device already is copied
there.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.core.types import TensorType
from graphc.runtime.cuda.arrays import address_of
from graphc.runtime.cuda.device import CudaDevice, DeviceMemory, Event, PinnedMemory
from graphc.runtime.cuda.memory import DeviceWorkspace

Array = np.ndarray[Any, Any]
LARGE = 1 << 20  # bytes from which a feed or an output does not go through STAGING
CHUNK = 2 << 20  # bytes of each of the two chunks
ALIGNMENT = 256  # of each place: what device memory begins at, more than any load needs


@dataclass(frozen=True)
class Place:
    """Where a feed or an output lies in SLOTS, and in STAGING unless it is `large`. dtype: the very object that an ndarray must have."""

    type: TensorType
    dims: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int
    nbytes: int
    large: bool

    def takes(self, value: Any) -> bool:
        """Whether an ndarray can be fed here as it is."""
        return (type(value) is np.ndarray and value.dtype is self.dtype and value.shape == self.dims
                and (not self.large or value.flags.c_contiguous))


class Transfers:
    """Moves the feeds and outputs of one executable, through what it borrows from the workspace. The device is current for all but `takes`.

    moved: called when SLOTS or STAGING have another address than before.
    """

    def __init__(self, feeds: Sequence[TensorType], outputs: Sequence[TensorType], workspace: DeviceWorkspace, moved: Callable[[], None],
                 ) -> None:
        self.feeds, self.outputs, self.slots_bytes, self.staging_bytes = _layout(feeds, outputs)
        self._workspace = workspace
        self._device: CudaDevice = workspace.device
        self._api = self._device.api
        self._moved = moved
        self._slots: DeviceMemory
        self._staging: PinnedMemory
        self._views: list[Array | None] = []  # of STAGING, for feeds and then outputs; None for large ones
        self._chunks: PinnedMemory | None = None
        self._events: tuple[Event, Event] | None = None
        self._turn = 0  # which of the two chunks is next

    def borrow(self) -> None:
        """Takes the memory; ResourceExhaustedError where there is too little."""
        workspace = self._workspace
        workspace.lend(workspace.STAGING, self.staging_bytes, self._place)
        workspace.lend(workspace.SLOTS, self.slots_bytes, self._place)
        if any(place.large for place in (*self.feeds, *self.outputs)):
            workspace.lend(workspace.CHUNKS, 2 * CHUNK, self._place)

    def give_back(self) -> None:
        """Ends the loan: what moves from now on is of no concern."""
        self._workspace.take_back(self._place)

    def _place(self, kind: str, block: Any) -> None:
        if kind == DeviceWorkspace.CHUNKS:
            self._chunks = block
            return
        if kind == DeviceWorkspace.SLOTS:
            self._slots = block
        else:
            self._staging = block
            self._views = [None if place.large else _view(block.array, place) for place in (*self.feeds, *self.outputs)]
        self._moved()

    def feed_address(self, number: int) -> int:
        return self._slots.address + self.feeds[number].offset

    def output_address(self, number: int) -> int:
        return self._slots.address + self.outputs[number].offset

    # -- before the launches ------------------------------------------------------------------------------------------------------------

    def refused(self, values: Sequence[Any]) -> int | None:
        """The position of the first feed that cannot be taken as it is."""
        for number, (place, value) in enumerate(zip(self.feeds, values, strict=True)):
            if not place.takes(value) and address_of(value, place.type, self._device.ordinal) is None:
                return number
        return None

    def begin(self, values: Sequence[Any]) -> tuple[int, ...]:
        """Puts the feeds on their way: small ones of the host into STAGING, the others to the device.

        Gives the numbers of those in STAGING, for `enqueue_uploads`.
        """
        staged = []
        for number, (place, value) in enumerate(zip(self.feeds, values, strict=True)):
            view = self._views[number]
            if type(value) is not np.ndarray:
                self._copy_on_device(number, value)
            elif view is None:
                self._upload(number, value)
            else:
                view[...] = value
                if place.nbytes:
                    staged.append(number)
        return tuple(staged)

    def enqueue_uploads(self, staged: Sequence[int]) -> None:
        """Enqueues the copies of these feeds from STAGING, neighbours in one."""
        for start, end in self._stretches(staged):
            self._api.memcpy_htod_async(self._slots.address + start, self._staging.array[start:end], self._workspace.stream.raw)

    def _stretches(self, staged: Sequence[int]) -> list[tuple[int, int]]:
        """[start, end) of what holds these feeds and nothing else but gaps: between two of one stretch no other feed lies."""
        small = [number for number, place in enumerate(self.feeds) if not place.large and place.nbytes]
        found: list[tuple[int, int]] = []
        last = -1  # position in `small` of the last feed taken
        for number in staged:
            place, position = self.feeds[number], small.index(number)
            start = found.pop()[0] if found and position == last + 1 else place.offset
            found.append((start, place.offset + place.nbytes))
            last = position
        return found

    def _copy_on_device(self, number: int, value: Any) -> None:
        place = self.feeds[number]
        source = address_of(value, place.type, self._device.ordinal)
        assert source is not None, "refused() has asked"
        if place.nbytes:
            self._api.memcpy_dtod_async(self.feed_address(number), source, place.nbytes, self._workspace.stream.raw)

    def _upload(self, number: int, value: Array) -> None:
        stream, address = self._workspace.stream.raw, self.feed_address(number)
        for start, chunk, event in self._pieces(_bytes(value)):
            event.raw.synchronize()  # what was copied from this chunk before has arrived
            chunk[...] = _bytes(value)[start:start + chunk.nbytes]
            self._api.memcpy_htod_async(address + start, chunk, stream)
            event.raw.record(stream)

    # -- after the launches -------------------------------------------------------------------------------------------------------------

    def enqueue_downloads(self) -> None:
        """Enqueues the copy of the small outputs to STAGING."""
        small = [place for place in self.outputs if not place.large and place.nbytes]
        if small:
            start, end = small[0].offset, small[-1].offset + small[-1].nbytes
            self._api.memcpy_dtoh_async(self._staging.array[start:end], self._slots.address + start, self._workspace.stream.raw)

    def finish(self, outputs: Sequence[Array]) -> None:
        """Waits for the run, and fills the arrays."""
        self._download([(number, _bytes(array)) for number, array in enumerate(outputs) if self.outputs[number].large])
        self._workspace.stream.raw.synchronize()
        for array, view in zip(outputs, self._views[len(self.feeds):], strict=True):
            if view is not None:
                array[...] = view

    def _download(self, outputs: Sequence[tuple[int, Array]]) -> None:
        stream = self._workspace.stream.raw
        waiting: list[tuple[Array, Array, Event]] = []  # chunks that the device fills, oldest first
        for number, array in outputs:
            address = self.output_address(number)
            for start, chunk, event in self._pieces(array):
                if len(waiting) == 2:
                    _take(*waiting.pop(0))
                self._api.memcpy_dtoh_async(chunk, address + start, stream)
                event.raw.record(stream)
                waiting.append((array[start:start + chunk.nbytes], chunk, event))
        for each in waiting:
            _take(*each)

    def _pieces(self, array: Array) -> Iterator[tuple[int, Array, Event]]:
        """For each piece of `array`, bytes: where it starts, a chunk of its size, the chunk's event. The two chunks take turns."""
        assert self._chunks is not None, "there are large feeds or outputs"
        self._events = self._events or (self._workspace.event(), self._workspace.event())
        for start in range(0, array.nbytes, CHUNK):
            turn, self._turn = self._turn, 1 - self._turn
            begin = turn * CHUNK
            yield start, self._chunks.array[begin:begin + min(CHUNK, array.nbytes - start)], self._events[turn]


def _take(target: Array, chunk: Array, event: Event) -> None:
    event.raw.synchronize()
    target[...] = chunk


def _bytes(array: Array) -> Array:
    """The content of a contiguous array as uint8[nbytes]."""
    return array.reshape(-1).view(np.uint8)


def _view(block: Array, place: Place) -> Array:
    return block[place.offset:place.offset + place.nbytes].view(place.dtype).reshape(place.dims)


def _layout(feeds: Sequence[TensorType], outputs: Sequence[TensorType]) -> tuple[tuple[Place, ...], tuple[Place, ...], int, int]:
    """Places for feeds and outputs, the size of SLOTS and of STAGING."""
    types = [*feeds, *outputs]
    places: dict[int, Place] = {}
    end = staging = 0
    for large in (False, True):
        for number, type_ in enumerate(types):
            if (type_.nbytes >= LARGE) == large:
                places[number] = Place(type_, type_.dims, type_.dtype.np_dtype, end, type_.nbytes, large)
                end += -(-type_.nbytes // ALIGNMENT) * ALIGNMENT
        staging = staging if large else end
    return tuple(places[n] for n in range(len(feeds))), tuple(places[len(feeds) + n] for n in range(len(outputs))), end, staging
