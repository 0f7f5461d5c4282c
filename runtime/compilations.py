"""The log of compilations: what a session compiled, why, and how often it need not. `calls.py` writes it; `Session.compilations` shows it.

A run costs nothing here: what was compiled counts its own runs (`Runs.runs`), and only a run that compiles comes by.
"""
from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from graphc.core.operation import Operation, Tensor
from graphc.core.source import user_line
from graphc.core.types import show_dims
from graphc.runtime.executable import Executable

Element = Tensor | Operation
Shape = tuple[int, ...]
# Of each feed the shape, and the bytes where shapes depend on its value.
Shapes = tuple[tuple[Shape, bytes | None], ...]
Asked = tuple[tuple[Element, ...], tuple[Tensor, ...]]  # fetches and feeds
MANY_SHAPES = 32  # compiled for one set of fetches before the session says so
_REMEMBERED = 64  # sets of fetches among which the nearest is looked for
_KEPT = 1000  # compilations
_SHOWN = 6  # sizes in a message


class ManyShapesWarning(UserWarning):
    """Feeds take so many shapes that most of the time goes into compiling for them."""


@dataclass(frozen=True)
class Cause:
    """Why something is compiled. text: in words. new: what the nearest earlier compilation did not have, each as "fetch loss:0",
    "feed x:0", "x:0 dim 0 = 7" or "n:0 = 3". feeds: names and shapes."""

    text: str
    new: tuple[str, ...]
    feeds: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True)
class Compilation:
    """One compilation. cause: why, in words; new: as of `Cause`. fetches: names; feeds: names and shapes. phases: milliseconds by phase.
    objects_from: how many pieces of machine code were "compiled", "from disk" and "from memory". kernels: in one run."""

    cause: str
    new: tuple[str, ...]
    fetches: tuple[str, ...]
    feeds: tuple[tuple[str, Shape], ...]
    target: str
    phases: Mapping[str, float]
    objects_from: Mapping[str, int]
    kernels: int

    @property
    def ms(self) -> float:
        """All phases together."""
        return sum(self.phases.values())

    @property
    def from_cache(self) -> bool:
        """Whether all machine code was there already."""
        return not self.objects_from.get("compiled", 0)

    def __str__(self) -> str:
        code = ", ".join(f"{count} {how}" for how, count in self.objects_from.items() if count) or "none"
        kernels = f"{self.kernels} kernel{'s' if self.kernels != 1 else ''}"
        return (f"{', '.join(self.fetches) or 'nothing'}: {self.ms:.1f} ms, {kernels}, machine code: {code}\n"
                f"  because of {self.cause}")


@dataclass(frozen=True)
class Compilations(Sequence[Compilation]):
    """What a session has compiled, oldest first (of very many the last thousand), as a sequence that prints as text. runs: of anything;
    misses: those that had to compile first; hits: the others."""

    records: tuple[Compilation, ...]
    runs: int
    misses: int

    @property
    def hits(self) -> int:
        return self.runs - self.misses

    @overload
    def __getitem__(self, index: int) -> Compilation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Compilation, ...]: ...
    def __getitem__(self, index: int | slice) -> Compilation | tuple[Compilation, ...]:
        return self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __str__(self) -> str:
        head = f"{len(self)} compilations in {sum(each.ms for each in self):.1f} ms; {self.runs} runs, {self.misses} of them compiled first"
        return "\n".join([head, *map(str, self)])


@dataclass
class Log:
    """What a session writes. asked: sets of fetches and feeds, the latest last. total: compilations, also those that are forgotten.
    misses: runs that compiled. retired: runs of what is there no more."""

    records: deque[Compilation] = field(default_factory=lambda: deque(maxlen=_KEPT))
    asked: deque[Asked] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    total: int = 0
    misses: int = 0
    retired: int = 0

    def add(self, executable: Executable, fetches: Sequence[str], cause: Cause, phases: Mapping[str, float]) -> None:
        """One compilation."""
        self.total += 1
        self.records.append(Compilation(cause.text, cause.new, tuple(fetches), cause.feeds, executable.target, dict(phases),
                                        dict(executable.objects_from), len(executable.kernels)))

    def new_fetches(self, elements: tuple[Element, ...], feeds: tuple[Tensor, ...], arrays: Sequence[Any]) -> Cause:
        """The cause where this set of fetches and feeds is new: what the nearest earlier one did not have."""
        fed = _fed(feeds)
        nearest = max(reversed(self.asked), key=lambda asked: _likeness(asked, (elements, feeds)), default=((), ()))
        self.asked.append((elements, feeds))
        shapes = _shapes(feeds, arrays)
        if not set(elements) & set(nearest[0]):
            return Cause(f"new fetches{fed}", tuple(f"fetch {each.name}" for each in elements), shapes)
        more, fewer = _differences(elements, nearest[0])
        fed_too, not_fed = _differences(feeds, nearest[1])
        parts = [*(f"{name} is new" for name in more), *(f"without {name}" for name in fewer), *(f"{name} is fed" for name in fed_too),
                 *(f"{name} is not fed" for name in not_fed)]
        before = f"{', '.join(each.name for each in nearest[0])}{_fed(nearest[1])}"
        new = (*(f"fetch {name}" for name in more), *(f"feed {name}" for name in fed_too))
        what = "new fetches" if more or fewer or not (fed_too or not_fed) else "new feeds"
        return Cause(f"{what}{fed}: {', '.join(parts) or 'in another order'} (nearest before: {before})", new, shapes)


def _likeness(one: Asked, other: Asked) -> tuple[int, int]:
    """More is nearer: what shares a fetch, and differs in few."""
    shared = set(one[0]) & set(other[0])
    differing = len(set(one[0]) ^ set(other[0])) + len(set(one[1]) ^ set(other[1]))
    return (1 if shared else 0), -differing


def _differences(now: Iterable[Element], before: Iterable[Element]) -> tuple[list[str], list[str]]:
    """Names of what is in one only: now, before."""
    now, before = dict.fromkeys(now), dict.fromkeys(before)
    return [each.name for each in now if each not in before], [each.name for each in before if each not in now]


def _fed(feeds: Sequence[Tensor]) -> str:
    return f" with {', '.join(tensor.name for tensor in feeds)} fed" if feeds else ""


def _shapes(feeds: Sequence[Tensor], arrays: Sequence[Any]) -> tuple[tuple[str, Shape], ...]:
    return tuple((tensor.name, tuple(array.shape)) for tensor, array in zip(feeds, arrays, strict=True))


def new_shapes(feeds: Sequence[Tensor], arrays: Sequence[Any], key: Shapes, earlier: Sequence[Shapes]) -> Cause:
    """The cause where these fetches were compiled before, for `earlier`, and now for `key`: which dim or which value is new."""
    told, new, values = [], [], False
    for number, tensor in enumerate(feeds):
        (shape, data), seen = key[number], list(dict.fromkeys(each[number] for each in earlier))
        if (shape, data) in seen:
            continue
        shapes = list(dict.fromkeys(each for each, _ in seen))
        if shape not in shapes:
            dims = list(_new_dims(shape, shapes))
            told.append(f"{tensor.name} {show_dims(shape)}: {', '.join(f'{what} was {some(sizes)}' for what, _, sizes in dims) or _MIXED}")
            new += [f"{tensor.name} {what} = {size}" for what, size, _ in dims]
        else:
            values = True
            before = [_value(tensor, each, bytes_) for each, bytes_ in seen if bytes_ is not None and each == shape]
            told.append(f"{tensor.name} = {_value(tensor, shape, data or b'')}, which was {some(before)}")
            new.append(f"{tensor.name} = {_value(tensor, shape, data or b'')}")
    if not told:
        told = [f"{', '.join(f'{tensor.name} {show_dims(shape)}' for tensor, (shape, _) in zip(feeds, key, strict=True))}: {_MIXED}"]
    what = "a shape depends on a fed value" if values else "new shapes of feeds"
    return Cause(f"{what}: {'; '.join(told)}", tuple(new), _shapes(feeds, arrays))


_MIXED = "each seen before, but not together"


def _new_dims(shape: Shape, seen: Sequence[Shape]) -> Iterator[tuple[str, int, list[int]]]:
    """What no shape in `seen` has: ("rank", its rank, theirs), or for each dim that is new ("dim 0", its size, theirs)."""
    alike = [each for each in seen if len(each) == len(shape)]
    if not alike:
        yield "rank", len(shape), sorted({len(each) for each in seen})
    for axis, size in enumerate(shape) if alike else ():
        sizes = sorted({each[axis] for each in alike})
        if size not in sizes:
            yield f"dim {axis}", size, sizes


def _value(tensor: Tensor, shape: Shape, data: bytes) -> str:
    value = np.frombuffer(data, tensor.dtype.np_dtype).reshape(shape)
    return np.array2string(value, threshold=_SHOWN, separator=", ")


def some(values: Sequence[Any]) -> str:
    """`5, 8`, or of many the first and their number."""
    shown = ", ".join(map(str, values[:_SHOWN]))
    return shown if len(values) <= _SHOWN else f"{shown}, ... ({len(values)} of them)"


def warn_of_many(elements: Sequence[Element], feeds: Sequence[Tensor], keys: Sequence[Shapes]) -> None:
    """ManyShapesWarning where `keys`, what was compiled for, have just become MANY_SHAPES: which dims vary, and what helps."""
    if len(keys) != MANY_SHAPES:
        return
    lines = [line for number, tensor in enumerate(feeds) for line in _varying(tensor, [key[number] for key in keys])]
    line = user_line()
    warnings.warn_explicit(
        f"graphc: {', '.join(each.name for each in elements)} has been compiled for {len(keys)} shapes of what it is fed\n"
        + "".join(f"  {each}\n" for each in lines) +
        f"  each is compiled for itself: pad what varies to a few sizes, as the next power of two, and mask the rest\n"
        f"  run at {line.describe()}", ManyShapesWarning, line.path or "<unknown>", max(line.line, 1))


def _varying(tensor: Tensor, keys: Sequence[tuple[Shape, bytes | None]]) -> Iterator[str]:
    shapes = [shape for shape, _ in keys]
    ranks = {len(shape) for shape in shapes}
    for axis in range(min(ranks)) if len(ranks) == 1 else ():
        sizes = sorted({shape[axis] for shape in shapes})
        if len(sizes) > 1:
            yield f"dim {axis} of {tensor.name} was {some(sizes)}"
    if len(ranks) > 1:
        yield f"the rank of {tensor.name} was {some(sorted(ranks))}"
    values = {data for _, data in keys if data is not None}
    if len(values) > 1:
        yield f"shapes depend on the value of {tensor.name}, which took {len(values)}"
