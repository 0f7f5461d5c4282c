"""The table of composites, continued: pictures and pooling, against the recorded answers of TensorFlow 1.15 (tests/recorded_images.py)."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import graphc as gc
from graphc.core import dtypes
from tests.composite_cases import Array, Case
from tests.recorded_images import GOLDEN, keys, operands_of

# Of a sample with a first operand of float64: the orders of derivatives that finite differences confirm. What TF1 computes in float32
# whatever its operands are has none; tests/test_images.py differentiates those.
SLOPES = {
    **dict.fromkeys((f"image.{name}" for name in (
        "crop_to_bounding_box", "pad_to_bounding_box", "central_crop", "flip_left_right", "flip_up_down", "rot90", "transpose_image",
        "grayscale_to_rgb", "rgb_to_yuv", "yuv_to_rgb", "rgb_to_yiq", "yiq_to_rgb", "image_gradients", "sobel_edges", "total_variation",
        "resize_image_with_crop_or_pad")), 1),
    **dict.fromkeys(("image.rgb_to_hsv", "image.hsv_to_rgb"), 2),
    **dict.fromkeys((f"nn.{name}" for name in (
        "max_pool", "max_pool_v2", "max_pool1d", "max_pool2d", "max_pool3d", "avg_pool", "avg_pool1d", "avg_pool3d", "pool",
        "max_pool_with_argmax")), 2),
}
KNOWN = {  # what must be known when a graph is declared
    **dict.fromkeys(("nn.max_pool_v2", "nn.avg_pool_v2"), "rank"),
    **dict.fromkeys(("image.resize_images", "image.central_crop", "image.resize_image_with_pad"), "rank"),
}
DEPTH = {"image.total_variation": 4000, "image.resize_area": 100, "image.ssim": 400, "image.ssim_multiscale": 4000, "image.psnr": 100}


def recorded() -> Iterator[Case]:
    answers = np.load(GOLDEN)
    for subject, code, operands, label in keys():
        arrays = tuple(operands_of(label, operands))
        want: list[Array] = []
        while f"{label}|{len(want)}" in answers:
            want.append(answers[f"{label}|{len(want)}"])

        def build(*tensors: gc.Tensor, code: str = code) -> Any:
            return eval(code, {"tf": gc, **dict(zip("xyz", tensors, strict=False))})
        first = arrays[0]
        largest = max(float(np.abs(each.astype(np.float64)).max(initial=1)) for each in (*arrays, *want))
        yield Case(subject, label, build, arrays, lambda *_, w=want: list(w), dtype=dtypes.as_dtype(want[0].dtype),
                   depth=DEPTH.get(subject, 16), scale=largest, slopes=SLOPES.get(subject, 0) if first.dtype == np.float64 else 0,
                   known=KNOWN.get(subject, "rank" if first.ndim == 4 else ""))


def families() -> dict[str, Sequence[Case]]:
    return {"images": list(recorded())}
