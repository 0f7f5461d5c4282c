"""Convolutions beside PyTorch's, on one core, in turns: `python -m benchmarks.convolution [--batch N] [--only WORD] [--seconds S]`.

A line for each shape and direction (forward, and the gradients by input and by filter): the milliseconds of each, their ratio, and how
many of the core's multiply-adds graphc does in a second. PyTorch is measured in both of its layouts, and the better one counts.
"""
from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
_parser.add_argument("--batch", type=int, nargs="*", default=[1, 8, 32], help="examples (default: 1 8 32)")
_parser.add_argument("--only", default="", help="shapes whose name contains this")
_parser.add_argument("--direction", default="", help="forward, input or filter")
_parser.add_argument("--seconds", type=float, default=1.0, help="how long to measure a line (default: %(default)s)")
_parser.add_argument("--nchw", action="store_true", help="graphc with channels second, too")
OPTIONS = _parser.parse_args()
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])  # before numpy and torch are imported: they count the cores when they start

import numpy as np
import torch
from torch.nn import functional

import graphc as gc
from graphc.timing import interleaved


@dataclass(frozen=True)
class Shape:
    """An image of size by size pixels, a square filter, equal strides and padding."""

    name: str
    size: int
    channels: int
    outer: int
    filter: int
    stride: int = 1
    groups: int = 1

    @property
    def padding(self) -> int:
        return self.filter // 2

    @property
    def positions(self) -> int:
        return (self.size + 2 * self.padding - self.filter) // self.stride + 1

    @property
    def flops(self) -> float:
        """For one example."""
        return 2.0 * self.positions ** 2 * self.filter ** 2 * self.channels * self.outer / self.groups


SHAPES = (
    Shape("first 7x7/2", 224, 3, 64, 7, 2), Shape("3x3 64", 56, 64, 64, 3), Shape("3x3 128", 28, 128, 128, 3),
    Shape("3x3 256", 14, 256, 256, 3), Shape("3x3 512", 7, 512, 512, 3), Shape("3x3/2 64-128", 56, 64, 128, 3, 2),
    Shape("1x1 64-256", 56, 64, 256, 1), Shape("1x1 256-64", 56, 256, 64, 1), Shape("1x1 1024-256", 14, 1024, 256, 1),
    Shape("1x1/2 256-512", 56, 256, 512, 1, 2), Shape("depthwise 3x3 32", 112, 32, 32, 3, groups=32),
    Shape("depthwise 3x3/2 144", 56, 144, 144, 3, 2, 144), Shape("depthwise 3x3 512", 14, 512, 512, 3, groups=512),
    Shape("grouped 3x3 128", 56, 128, 128, 3, groups=32), Shape("digits 5x5", 28, 1, 32, 5), Shape("digits 5x5 32", 14, 32, 64, 5),
)


def arrays(shape: Shape, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, filters and a gradient of the result, as graphc has them: channels last."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, shape.size, shape.size, shape.channels), dtype=np.float32)
    w = rng.standard_normal((shape.filter, shape.filter, shape.channels // shape.groups, shape.outer), dtype=np.float32)
    y = rng.standard_normal((batch, shape.positions, shape.positions, shape.outer), dtype=np.float32)
    return x, w, y


def by_graphc(shape: Shape, batch: int, direction: str, layout: str = "NHWC") -> Callable[[], object]:
    x, w, y = arrays(shape, batch)
    pad = [[0, 0], [shape.padding] * 2, [shape.padding] * 2, [0, 0]]
    order = (0, 1, 2, 3)
    if layout == "NCHW":
        order, pad = (0, 3, 1, 2), [pad[0], pad[3], pad[1], pad[2]]
    graph = gc.Graph()
    with graph.as_default():
        images, filters, given = (gc.placeholder(gc.float32, a.shape) for a in (x.transpose(order), w, y.transpose(order)))
        result = gc.nn.conv2d(images, filters, shape.stride, pad, data_format=layout)
        feeds = {images: x.transpose(order), filters: w}
        if direction == "forward":
            fetch = result
        else:
            feeds[given] = y.transpose(order)
            (fetch,) = gc.gradients(result, [images if direction == "input" else filters], [given])
    session = gc.Session(graph=graph, config=gc.ConfigProto(intra_op_parallelism_threads=1))
    call, values = session.make_callable(fetch, list(feeds)), [np.ascontiguousarray(value) for value in feeds.values()]
    return lambda: call(*values)


def by_torch(shape: Shape, batch: int, direction: str, layout: torch.memory_format) -> Callable[[], object]:
    x, w, y = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays(shape, batch))
    x, y = (t.permute(0, 3, 1, 2).contiguous(memory_format=layout) for t in (x, y))
    w = w.permute(3, 2, 0, 1).contiguous(memory_format=layout)
    geometry = {"stride": shape.stride, "padding": shape.padding, "groups": shape.groups}
    if direction == "forward":
        return lambda: functional.conv2d(x, w, **geometry)
    mask = (direction == "input", direction == "filter", False)
    both, ones = ([shape.stride] * 2, [shape.padding] * 2), [1, 1]
    return lambda: torch.ops.aten.convolution_backward(y, x, w, None, *both, ones, False, [0, 0], shape.groups, mask)


def lines() -> Iterator[str]:
    """The table, measured line by line."""
    yield f"{'shape':22} {'batch':>5} {'direction':9} {'graphc':>9} {'torch':>9} {'ratio':>6} {'GFLOP/s':>8}"
    for shape in SHAPES:
        for batch in OPTIONS.batch:
            for direction in ("forward", "input", "filter"):
                if OPTIONS.only not in shape.name or OPTIONS.direction not in direction:
                    continue
                calls = {"graphc": by_graphc(shape, batch, direction)}
                if OPTIONS.nchw:
                    calls["nchw"] = by_graphc(shape, batch, direction, "NCHW")
                with torch.inference_mode():
                    for layout in (torch.contiguous_format, torch.channels_last):
                        calls[str(layout)] = by_torch(shape, batch, direction, layout)
                    times = interleaved(calls, OPTIONS.seconds)
                peer = min(times[name].least for name in calls if name.startswith("torch"))
                own = times["graphc"].least
                more = f" nchw {times['nchw'].least * 1e3:9.3f}" if OPTIONS.nchw else ""
                yield (f"{shape.name:22} {batch:5} {direction:9} {own * 1e3:9.3f} {peer * 1e3:9.3f} {own / peer:6.2f} "
                       f"{batch * shape.flops / own / 1e9:8.1f}{more}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for line in lines():
        print(line, flush=True)
