"""The arguments of TF1's convolutions and poolings, in the many forms that callers pass them: read here, once, into attributes.

A stride may be a number, a list for the spatial axes, or a list for all axes of a layout ("NHWC", "NCHW", ...); a filter may be called
`filter` or `filters`; padding may be a word or pairs of numbers.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.core.operation import Tensor

Ints = tuple[int, ...]
FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}  # by number of spatial axes: channels last, channels second


def alternative(name: str, value: Any, other: str, other_value: Any) -> Any:
    """The argument that was given of two names for one; ValueError where both were."""
    if value is not None and other_value is not None:
        raise ValueError(f"Cannot specify both '{name}' and '{other}'")
    return other_value if value is None else value


def channel_axis(data_format: str | None) -> int:
    """Where the channels stand in a layout; last where none is given."""
    return 1 if data_format is not None and data_format.startswith("NC") else -1


def spatial_axes(data_format: str) -> tuple[int, ...]:
    """The axes of a layout that are neither batch nor channels."""
    rank = len(data_format) - 2
    return tuple(range(2, rank + 2)) if data_format.startswith("NC") else tuple(range(1, rank + 1))


def per_axis(value: Any, rank: int, data_format: str | None, what: str) -> Ints:
    """An entry for each axis of a layout with `rank` spatial axes, from a number, a list for the spatial axes, or one for all axes."""
    entries = [1] if value is None else [value] if isinstance(value, int) else list(value)
    if len(entries) not in (1, rank, rank + 2):
        raise ValueError(f"{what} should be of length 1, {rank} or {rank + 2} but was {len(entries)}")
    numbers = tuple(int(entry) for entry in entries)
    if len(numbers) == rank + 2:
        return numbers
    spatial = numbers * rank if len(numbers) == 1 else numbers
    return (1, 1, *spatial) if channel_axis(data_format) == 1 else (1, *spatial, 1)


def checked_list(function: str, argument: str, value: Any, length: int) -> Ints:
    """`value`, which must be a list with an entry for each of `length` axes."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"Expected list for '{argument}' argument to '{function}' Op, not {value}.")
    if len(value) != length:
        raise ValueError(f"'{argument}' of '{function}' must have {length} entries, but has {len(value)}")
    return tuple(int(entry) for entry in value)


def explicit_padding(padding: Any, data_format: str) -> tuple[Any, Ints]:
    """Padding as a word and numbers: pairs for all four axes become "EXPLICIT" and a flat tuple of them."""
    if not isinstance(padding, list | tuple):
        if padding == "EXPLICIT":
            raise ValueError('"EXPLICIT" is not a valid value for the padding parameter. To use explicit padding, the padding parameter '
                             "must be a list.")
        return padding, ()
    if len(padding) != 4:
        raise ValueError(f"When padding is a list, it must be of size 4. Got padding of size: {len(padding)}")
    for pair in padding:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ValueError("When padding is a list, each element must be a list/tuple of size 2. "
                             f"Element with value {pair} is not")
    flat = tuple(int(number) for pair in padding for number in pair)
    if min(flat) < 0:
        raise ValueError(f"All elements of explicit_paddings must be nonnegative, but they are {list(flat)}")
    spatial = spatial_axes(data_format)
    if any(any(pair) for axis, pair in enumerate(padding) if axis not in spatial):
        raise ValueError("Nonzero explicit padding in the batch or depth dimensions is not supported")
    return ("EXPLICIT", flat) if any(flat) else ("VALID", ())


def checked_word(op: str, attribute: str, value: Any, allowed: Sequence[str]) -> str:
    """`value`, which must be one of the words `allowed`; errors in TF1's words."""
    if not isinstance(value, str):
        raise TypeError(f"Expected string for argument '{attribute}' not {value}.")
    if value not in allowed:
        quoted = ", ".join(f'"{word}"' for word in allowed)
        raise ValueError(f"Attr '{attribute}' of '{op}' Op passed string '{value}' not in: {quoted}.")
    return value


def attributes(op: str, strides: Ints, padding: Any, data_format: str, dilations: Ints, explicit: Ints = ()) -> dict[str, Any]:
    """The attributes of an operation of type `op`, checked. Strides and dilations stand in the order of the layout."""
    rank = len(strides) - 2
    if padding != "EXPLICIT" or not explicit:
        checked_word(op, "padding", padding, ("SAME", "VALID", "EXPLICIT") if rank == 2 else ("SAME", "VALID"))
    checked_word(op, "data_format", data_format, FORMATS[rank])
    for what, numbers in (("Stride", strides), ("Dilation", dilations)):
        if min(numbers) < 1:
            raise ValueError(f"{what} must be > 0, but got {min(numbers)}")
        if any(number != 1 for axis, number in enumerate(numbers) if axis not in spatial_axes(data_format)):
            raise ValueError(f"Current implementation does not yet support {what.lower()}s in the batch and depth dimensions: {numbers}")
    found = {"strides": strides, "padding": padding, "data_format": data_format, "dilations": dilations}
    return {**found, "explicit_paddings": explicit} if explicit else found


def data_format_2d(data_format: str | None) -> tuple[str, int]:
    """The layout of images of one row for a layout of lines, and the axis of the row."""
    if data_format in (None, "NHWC", "NWC"):
        return "NHWC", 1
    if data_format in ("NCHW", "NCW"):
        return "NCHW", 2
    raise ValueError('data_format must be "NWC" or "NCW".')


def spatial_rank(x: Tensor, w: Tensor) -> int:
    """How many spatial axes `x` has, or where that is unknown the filters `w`."""
    rank = x.rank if x.rank is not None else w.rank
    if rank is None:
        raise ValueError("rank of input or filter must be known")
    if rank not in (3, 4, 5):
        raise ValueError(f"Input tensor must be of rank 3, 4 or 5 but was {rank}.")
    return rank - 2


def floating(value: Any, argument: str) -> None:
    """TypeError, in TF1's words, for a tensor that is not of floats."""
    if isinstance(value, Tensor) and not value.dtype.is_floating:
        raise TypeError(f"Value passed to parameter '{argument}' has DataType {value.dtype.name} not in list of allowed values: "
                        "float16, bfloat16, float32, float64")
