"""Values in TF1's words, and the operations that print them: Print, print_.

Nothing is printed while a run computes. What an operation prints is one more result of the run (`graphc.core.checks.note`), and appears
when the run is done, in the order in which the operations were declared; a run that fails prints nothing.
"""
from __future__ import annotations

import logging
import pprint
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import graphc.primitives as p
from graphc.core.checks import note
from graphc.core.graph import get_default_graph
from graphc.core.opdef import Attrs, GraphType, composite
from graphc.core.operation import Operation, Tensor
from graphc.core.program import Node
from graphc.ops.declare import as_tensor, name_scope

Array = np.ndarray[Any, Any]
Part = str | None  # of a text: itself, or None for the next tensor
SUMMARIZE = 3  # elements that TF1 shows of a tensor unless told

# Texts -----------------------------------------------------------------------------------------------------------------------------------

def element_text(value: Any) -> str:
    """One element as TF1 writes it: the fewest digits of 6 or 9 (float64: 15 or 17) that read back as the same number."""
    if isinstance(value, np.bool_):
        return str(int(value))
    if isinstance(value, np.integer):
        return str(int(value))
    if isinstance(value, np.complexfloating):
        return f"({element_text(value.real)},{element_text(value.imag)})"
    few, many, kind = (15, 17, np.float64) if isinstance(value, np.float64) else (6, 9, np.float32)
    short = f"{float(value):.{few}g}"
    return short if kind(short) == kind(value) or np.isnan(value) else f"{float(value):.{many}g}"


def summary(array: Array, shape: Sequence[int], limit: int) -> str:
    """The first `limit` elements (all where it is negative) of a tensor of `shape`, as TF1 shows them: "[1 2][3...]...".

    array: at least those elements, in order.
    """
    total = int(np.prod(shape))
    limit = total if limit < 0 else min(limit, total)
    elements = iter([element_text(value) for value in array.reshape(-1)[:limit]])
    shown = "".join(_nested(elements, tuple(shape), limit)[0]) if shape else next(elements, "")
    return shown + ("..." if limit < total else "")


def _nested(elements: Iterator[str], dims: tuple[int, ...], left: int, inner: bool = False) -> tuple[list[str], int]:
    """The pieces of text of one subarray of which `left` elements may be shown, and how many may be after it."""
    if len(dims) == 1:
        count = min(left, dims[0])
        cut = "..." if inner and count < dims[0] else ""
        return [" ".join(next(elements) for _ in range(count)) + cut], left - count
    pieces: list[str] = []
    for _ in range(dims[0]):
        if left <= 0:
            break
        below, left = _nested(elements, dims[1:], left, inner=True)
        pieces += ["[", *below, "]"]
    return pieces, left


def in_full(array: Array, ends: int, indent: int = 1) -> str:
    """`array` as `print_` shows it: rows under each other, and of more than 2 * `ends` elements only so many at both ends."""
    if not array.ndim:
        return element_text(array[()])
    count = len(array)
    is_cut = ends >= 0 and count > 2 * ends
    places = [*range(ends), None, *range(count - ends, count)] if is_cut else [*range(count)]
    parts = ["..." if place is None else in_full(array[place], ends, indent + 1) for place in places]
    return "[" + (" " if array.ndim == 1 else "\n" * (array.ndim - 1) + " " * indent).join(parts) + "]"


# Print -----------------------------------------------------------------------------------------------------------------------------------

@composite("Print", gradient=lambda input, *rest, **attrs: [rest[-1], *[None] * (len(rest) - 2)])
def PRINT(input: Node, *data: Node, texts: tuple[Part, ...], message: str, first_n: int, summarize: int) -> Node:
    """`input`; prints `message` and the beginnings of `data`."""
    if all(each.type.is_static for each in data):
        shapes = [each.dims for each in data]

        def show(*beginnings: Array) -> None:
            shown = iter([summary(array, shape, summarize) for array, shape in zip(beginnings, shapes, strict=True)])
            print(message + "".join(f"[{next(shown) if text is None else text}]" for text in texts), file=sys.stderr, flush=True)

        note(show, *[_beginning(each, summarize) for each in data], first_n=first_n)
    return input


def _beginning(x: Node, limit: int) -> Node:
    """The first `limit` elements of `x` as a vector, all where it is negative."""
    size = x.type.size
    flat = p.reshape(x, (size,))
    return flat if limit < 0 or limit >= size else p.slice_(flat, (0,), (limit,), (1,))


def Print(input_: Any, data: Sequence[Any], message: str | None = None, first_n: int | None = None, summarize: int | None = None,
          name: str | None = None) -> Tensor:
    """`input_`; each of the first `first_n` runs (None or negative: every run) that need it prints `message` and `data` to stderr.

    data: tensors, of each of which `summarize` elements are shown (None: 3; -1: all), and strings. TypeError for arguments of other types.
    """
    for argument, value in (("first_n", first_n), ("summarize", summarize)):
        if value is not None and not isinstance(value, int | np.integer):
            raise TypeError(f"Expected int for argument '{argument}' not {value!r}.")
    if message is not None and not isinstance(message, str):
        raise TypeError(f"Expected string for argument 'message' not {message!r}.")
    with name_scope(name, "Print", [input_, data]) as scope:
        x, (tensors, texts) = as_tensor(input_, name="input_"), parted(data)
        attrs = {"texts": texts, "message": message or "", "first_n": -1 if first_n is None else int(first_n),
                 "summarize": SUMMARIZE if summarize is None else int(summarize)}
        return get_default_graph().create_op(PRINT, (x, *tensors), attrs, scope).outputs[0]


def parted(data: Sequence[Any]) -> tuple[list[Tensor], tuple[Part, ...]]:
    """The tensors among `data`, and its parts in order: strings as they are. TypeError where `data` is not a list."""
    if not isinstance(data, list | tuple):
        raise TypeError(f"data must be a list of tensors and strings, but got {type(data)}")
    tensors = [as_tensor(each, name=f"data_{number}") for number, each in enumerate(data) if not isinstance(each, str)]
    return tensors, tuple([each if isinstance(each, str) else None for each in data])


# print -----------------------------------------------------------------------------------------------------------------------------------

def _nothing(inputs: Sequence[GraphType], attrs: Attrs) -> Sequence[GraphType]:
    return []


@composite("PrintV2", infer_types=_nothing, gradient=False)
def PRINT_V2(*tensors: Node, texts: tuple[Part, ...], summarize: int, end: str, output_stream: str) -> Sequence[Node]:
    """Writes `texts`, with the tensors in their places, to a stream."""
    def show(*arrays: Array) -> None:
        shown = iter([in_full(array, summarize) for array in arrays])
        _write("".join(next(shown) if text is None else text for text in texts) + end, output_stream)

    note(show, *tensors)
    return ()


def print_(*inputs: Any, **kwargs: Any) -> Operation:
    """An operation that prints `inputs` (tensors, values, nested structures of them) when it runs: use it in `control_dependencies`.

    output_stream: sys.stderr (default), sys.stdout, a level of logging, "log(info)" or the like, or "file://PATH" to append to. summarize:
    elements at both ends of every dim (default 3; -1: all). sep (" ") between inputs; end ("\\n") after the last. ValueError for other
    keywords or streams.
    """
    options = {"output_stream": sys.stderr, "summarize": SUMMARIZE, "sep": " ", "end": "\n", "name": None, **kwargs}
    unknown = {key: value for key, value in kwargs.items() if key not in ("output_stream", "summarize", "sep", "end", "name")}
    if unknown:
        raise ValueError(f"Unrecognized keyword arguments for tf.print: {unknown}")
    stream = _stream_name(options["output_stream"])
    tensors: list[Tensor] = []
    texts: list[Part] = []
    for number, each in enumerate(inputs):
        texts += [options["sep"]] if number else []
        texts += _parts(each, tensors)
    summarize = SUMMARIZE if options["summarize"] is None else int(options["summarize"])
    attrs = {"texts": tuple(texts), "summarize": summarize, "end": options["end"], "output_stream": stream}
    return get_default_graph().create_op(PRINT_V2, tensors, attrs, options["name"])


class _Place:
    """Stands for a tensor while a structure around it is written as text."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __repr__(self) -> str:
        return self.mark


def _parts(value: Any, tensors: list[Tensor]) -> list[Part]:
    """`value` as parts of a text; tensors in it are added to `tensors`."""
    if isinstance(value, str):
        return [value]
    mark = "\0"  # in no text that Python writes of a value

    def place(each: Any) -> Any:
        if isinstance(each, Tensor) or hasattr(each, "_as_graph_element"):
            tensors.append(as_tensor(each))
            return _Place(mark)
        if isinstance(each, dict):
            return {key: place(each[key]) for key in sorted(each)}
        if isinstance(each, tuple) and hasattr(each, "_fields"):
            return type(each)(*map(place, each))
        return type(each)(map(place, each)) if isinstance(each, list | tuple) else each

    around = pprint.pformat(place(value)).split(mark)
    return [part for number, text in enumerate(around) for part in ((text,) if not number else (None, text))]


_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_STREAMS: dict[str, Callable[[], Any]] = {"stdout": lambda: sys.stdout, "stderr": lambda: sys.stderr}


def _stream_name(stream: Any) -> str:
    """What TF1 calls a stream; ValueError for one that cannot be printed to."""
    if isinstance(stream, str) and (stream.startswith("file://") or stream in [f"log({level})" for level in _LEVELS]):
        return stream
    for name, current in _STREAMS.items():
        if stream is current() or stream is getattr(sys, f"__{name}__"):
            return name
    for level, number in _LEVELS.items():
        if isinstance(stream, int) and stream == number:
            return f"log({level})"
    raise ValueError(f"Unsupported output stream, logging level, or file: {stream!r}. Supported streams are sys.stdout, sys.stderr, levels "
                     'of logging, and files as "file://PATH".')


def _write(text: str, stream: str) -> None:
    if stream in _STREAMS:
        print(text, end="", file=_STREAMS[stream](), flush=True)
    elif stream.startswith("file://"):
        with Path(stream.removeprefix("file://")).open("a") as file:
            file.write(text)
    else:
        logging.getLogger("graphc").log(_LEVELS[stream[4:-1]], "%s", text.removesuffix("\n"))
