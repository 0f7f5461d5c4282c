"""Pictures: what the recorded answers do not show. Gradients of what TF1 computes in float32, random functions, names, types, errors."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.ops.image_resize import Taps, area_taps, bicubic_taps, bilinear_taps, nearest_taps

pytestmark = pytest.mark.filterwarnings("ignore::graphc.runtime.feeds.SlowFeedWarning")
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)


def _run(fetches: Any, feeds: dict[gc.Tensor, Any] | None = None) -> Any:
    with gc.Session() as session:
        return session.run(fetches, feeds)


# Gradients ------------------------------------------------------------------------------------------------------------------------------

Function = Callable[..., gc.Tensor]
DIFFERENTIABLE: dict[str, tuple[Function, tuple[Array, ...], float]] = {  # and the step: what is linear takes a long one
    "bilinear": (lambda x: gc.image.resize_bilinear(x, [5, 4]), (RNG.random((1, 3, 6, 2)),), 0.5),
    "bicubic": (lambda x: gc.image.resize_bicubic(x, [2, 7], half_pixel_centers=True), (RNG.random((1, 3, 6, 2)),), 0.5),
    "area": (lambda x: gc.image.resize_area(x, [2, 4]), (RNG.random((1, 5, 6, 2)),), 0.5),
    "nearest": (lambda x: gc.image.resize_nearest_neighbor(x, [6, 3]), (RNG.random((1, 3, 6, 2)),), 0.5),
    "images": (lambda x: gc.image.resize_images(x, [6, 6]), (RNG.random((3, 3, 2)),), 0.5),
    "with_pad": (lambda x: gc.image.resize_image_with_pad(x, 7, 3), (RNG.random((3, 3, 2)),), 0.5),
    "brightness": (lambda x: gc.image.adjust_brightness(x, 0.25), (RNG.random((3, 3, 3)),), 0.5),
    "contrast": (gc.image.adjust_contrast, (RNG.random((2, 3, 3, 2)), np.array(1.75)), 0.5),
    "gamma": (lambda x: gc.image.adjust_gamma(x, 2.0, 0.5), (RNG.random((3, 3, 1)),), 0.05),
    "hue": (gc.image.adjust_hue, (RNG.permutation(27).reshape(3, 3, 3) / 27, np.array(0.17)), 0.004),
    "saturation": (gc.image.adjust_saturation, (RNG.permutation(27).reshape(3, 3, 3) / 27, np.array(0.5)), 0.004),
    "standardization": (gc.image.per_image_standardization, (RNG.random((3, 3, 2)),), 0.01),
    "grey": (gc.image.rgb_to_grayscale, (RNG.random((3, 3, 3)),), 0.5),
    "ssim": (lambda x, y: gc.image.ssim(x, y, 1.0, filter_size=3), (RNG.random((5, 5, 1)), RNG.random((5, 5, 1))), 0.004),
    "multiscale": (lambda x: gc.image.ssim_multiscale(x, x * 0.5 + 0.25, 1.0, [0.5, 0.5], 3), (RNG.random((6, 6, 1)),), 0.01),
    "psnr": (lambda x, y: gc.image.psnr(x, y, 1.0), (RNG.random((3, 3, 1)), RNG.random((3, 3, 1))), 0.01),
    "crop_and_resize": (lambda x, boxes: gc.image.crop_and_resize(x, boxes, [0, 1], [2, 3]),
                        (RNG.random((2, 5, 5, 2)), np.array([[0.03, 0.06, 0.81, 0.93], [0.91, 0.12, 0.09, 0.8]])), 0.001),
    "glimpse": (lambda x: gc.image.extract_glimpse(x, [2, 2], [[0.0, 0.0]]), (RNG.random((1, 5, 5, 2)),), 0.5),
    "boxes": (lambda x: gc.image.draw_bounding_boxes(x, [[[0.0, 0.0, 0.5, 0.5]]]), (RNG.random((1, 5, 5, 3)),), 0.5),
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradient_in_float32(name: str) -> None:
    """Against central differences of the same function, along one direction for each operand; the step is the greatest for which what
    is left out, of third order, stays below the rounding of float32."""
    function, operands, step = DIFFERENTIABLE[name]
    rng = np.random.default_rng(7)
    inputs = [gc.placeholder(gc.float32, each.shape) for each in operands]
    result = function(*inputs)
    weight = rng.standard_normal(_run(result, dict(zip(inputs, operands, strict=True))).shape)
    total = gc.reduce_sum(gc.cast(result, gc.float64) * weight)
    found = gc.gradients(total, inputs)
    with gc.Session() as session:
        slopes = session.run(found, dict(zip(inputs, operands, strict=True)))
        for n, (operand, slope) in enumerate(zip(operands, slopes, strict=True)):
            direction = rng.uniform(-1, 1, operand.shape)
            ends = []
            for sign in (1, -1):
                moved = [each + sign * step * direction if k == n else each for k, each in enumerate(operands)]
                ends.append(session.run(total, dict(zip(inputs, moved, strict=True))))
            expected = (ends[0] - ends[1]) / (2 * step)
            bound = 2e-3 * max(abs(expected), np.abs(slope).max(), 1)
            assert abs(np.sum(slope * direction) - expected) <= bound, (n, np.sum(slope * direction), expected)


@pytest.mark.parametrize("resize", [gc.image.resize_bilinear, gc.image.resize_bicubic, gc.image.resize_area,
                                    gc.image.resize_nearest_neighbor])
def test_the_gradient_of_a_resize_is_its_transpose(resize: Function) -> None:
    """<resize(x), g> = <x, gradient(g)>, and the gradient's own gradient by g is the resize."""
    x, g = (RNG.standard_normal(shape).astype(np.float32) for shape in ((2, 5, 9, 3), (2, 8, 4, 3)))
    operand, cotangent = gc.placeholder(gc.float32, x.shape), gc.placeholder(gc.float32, g.shape)
    forward = resize(operand, [8, 4])
    (back,) = gc.gradients(forward, operand, cotangent)
    (again,) = gc.gradients(back, cotangent, operand)
    found = _run([forward, back, again], {operand: x, cotangent: g})
    assert np.sum(found[0] * g, dtype=np.float64) == pytest.approx(np.sum(x * found[1], dtype=np.float64), rel=1e-4, abs=1e-4)
    np.testing.assert_allclose(found[0], found[2], atol=1e-5)


@pytest.mark.parametrize("make", [nearest_taps, bilinear_taps, bicubic_taps, area_taps])
@pytest.mark.parametrize(("size", "count"), [(1, 1), (1, 7), (7, 1), (5, 5), (5, 10), (10, 5), (7, 4), (300, 301)])
def test_taps(make: Callable[..., Taps], size: int, count: int) -> None:
    """Every row of weights sums to 1, the same size is the identity, and transposing is what it says."""
    taps = make(size, count, False, False)
    assert taps.dense().shape == (count, size)
    np.testing.assert_allclose(taps.dense().sum(1), 1, rtol=1e-4)
    np.testing.assert_array_equal(taps.transposed().dense(), taps.dense().T)
    if size == count:
        np.testing.assert_allclose(taps.dense(), np.eye(size), atol=1e-6)


def test_grey_has_no_nan_in_its_gradient() -> None:
    """Where all channels are equal, and where they are 0, hue and saturation have no derivative: none comes back as NaN."""
    x = gc.placeholder(gc.float32, [4, 3])
    functions: list[Function] = [gc.image.rgb_to_hsv, lambda x: gc.image.adjust_hue(x[None], 0.25)]
    slopes = [gc.gradients(function(x), x)[0] for function in functions]
    for slope in _run(slopes, {x: [[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 1], [1, 0, 0]]}):
        assert np.isfinite(slope).all()


# At random ------------------------------------------------------------------------------------------------------------------------------

PICTURE = RNG.random((6, 5, 3)).astype(np.float32)


@pytest.mark.parametrize(("flip", "axis"), [(gc.image.random_flip_left_right, -2), (gc.image.random_flip_up_down, -3)])
@pytest.mark.parametrize("shape", [[6, 5, 3], None])
def test_random_flips_of_one_picture(flip: Function, axis: int, shape: Any) -> None:
    x = gc.placeholder(gc.float32, shape)
    result = flip(x, seed=1)
    with gc.Session() as session:
        flipped = [np.array_equal(session.run(result, {x: PICTURE}), np.flip(PICTURE, axis)) for _ in range(40)]
    assert 8 < sum(flipped) < 32


def test_random_flips_of_a_batch_are_of_each_picture_by_itself() -> None:
    batch = np.stack([PICTURE] * 64)
    found = _run(gc.image.random_flip_left_right(gc.constant(batch), seed=3))
    flipped = [np.array_equal(each, PICTURE[:, ::-1]) for each in found]
    kept = [np.array_equal(each, PICTURE) for each in found]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48


def test_random_crops_are_boxes_of_the_operand() -> None:
    values = np.arange(6 * 5 * 2).reshape(6, 5, 2)
    x = gc.placeholder(gc.int32, values.shape)
    crop = gc.random_crop(x, [2, 3, 2], seed=2)
    assert crop.shape.as_list() == [2, 3, 2]
    with gc.Session() as session:
        starts = set()
        for _ in range(60):
            found = session.run(crop, {x: values})
            row, column = divmod(found[0, 0, 0] // 2, 5)
            np.testing.assert_array_equal(found, values[row:row + 2, column:column + 3])
            starts.add((int(row), int(column)))
    assert {row for row, _ in starts} == set(range(5))
    assert {column for _, column in starts} == set(range(3))


@pytest.mark.parametrize(("vary", "adjust", "bounds"), [
    (lambda x: gc.image.random_brightness(x, 0.3, seed=1), gc.image.adjust_brightness, (-0.3, 0.3)),
    (lambda x: gc.image.random_contrast(x, 0.5, 1.5, seed=1), gc.image.adjust_contrast, (0.5, 1.5)),
    (lambda x: gc.image.random_saturation(x, 0.5, 0.9, seed=1), gc.image.adjust_saturation, (0.5, 0.9)),
    (lambda x: gc.image.random_hue(x, 0.1, seed=1), gc.image.adjust_hue, (-0.1, 0.1)),
], ids=["brightness", "contrast", "saturation", "hue"])
def test_random_colours_adjust_by_numbers_between_the_bounds(vary: Function, adjust: Function, bounds: tuple[float, float]) -> None:
    x, by = gc.constant(PICTURE), gc.placeholder(gc.float32, [])
    result, candidate = vary(x), adjust(x, by)
    with gc.Session() as session:
        grid = np.linspace(*bounds, 301)
        candidates = np.stack([session.run(candidate, {by: number}) for number in grid])
        nearest = []
        for _ in range(8):
            distance = np.abs(candidates - session.run(result)).max((1, 2, 3))
            nearest.append(int(distance.argmin()))
            assert distance.min() < 0.02
    assert len(set(nearest)) > 4


@pytest.mark.parametrize("uniform", [True, False])
def test_a_glimpse_outside_is_noise_of_the_picture(uniform: bool) -> None:
    x = gc.constant(RNG.uniform(5, 6, (1, 8, 8, 1)), gc.float32)
    found = _run(gc.image.extract_glimpse(x, [20, 20], [[30.0, 0.0]], uniform_noise=uniform))
    assert abs(found.mean() - 5.5) < 0.15
    assert found.std() == pytest.approx(1 / np.sqrt(12), rel=0.25)
    assert not uniform or (found.min() >= 5 and found.max() <= 6)


# Names, types, errors -------------------------------------------------------------------------------------------------------------------

def test_names_and_types() -> None:
    three, four = gc.ones([7, 9, 3]), gc.ones([2, 7, 9, 3])
    bytes_ = gc.cast(four, gc.uint8)
    image = gc.image
    rows: list[tuple[gc.Tensor, str, gc.DType]] = [
        (image.flip_left_right(three), "flip_left_right/ReverseV2:0", gc.float32),
        (image.transpose_image(four), "transpose/transpose:0", gc.float32),
        (image.central_crop(three, 0.5), "central_crop/Slice:0", gc.float32),
        (image.crop_to_bounding_box(three, 1, 2, 3, 4), "crop_to_bounding_box/Squeeze:0", gc.float32),
        (image.pad_to_bounding_box(bytes_, 0, 0, 7, 9), "pad_to_bounding_box/Pad:0", gc.uint8),
        (image.resize_images(three, [5, 6]), "resize/Squeeze:0", gc.float32),
        (image.resize_bilinear(bytes_, [5, 6]), "ResizeBilinear:0", gc.float32),
        (image.resize_nearest_neighbor(bytes_, [5, 6]), "ResizeNearestNeighbor:0", gc.uint8),
        (image.adjust_brightness(three, 0.1), "adjust_brightness/Identity:0", gc.float32),
        (image.adjust_hue(bytes_, 0.1), "adjust_hue/convert_image_1:0", gc.uint8),
        (image.per_image_standardization(gc.cast(four, gc.float64)), "per_image_standardization/convert_image_1:0", gc.float64),
        (image.rgb_to_grayscale(three), "rgb_to_grayscale:0", gc.float32),
        (image.rgb_to_yuv(three), "Tensordot:0", gc.float32),
        (image.rgb_to_hsv(three), "RGBToHSV:0", gc.float32),
        (image.total_variation(three), "total_variation/add:0", gc.float32),
        (image.convert_image_dtype(bytes_, gc.float32), "convert_image:0", gc.float32),
        (image.draw_bounding_boxes(four, gc.zeros([2, 1, 4])), "DrawBoundingBoxes:0", gc.float32),
        (image.crop_and_resize(four, gc.zeros([1, 4]), [0], [2, 2]), "CropAndResize:0", gc.float32),
    ]
    assert [(tensor.name, tensor.dtype) for tensor, _, _ in rows] == [(name, dtype) for _, name, dtype in rows]


def test_a_picture_that_has_the_size_already_is_itself() -> None:
    x = gc.ones([4, 5, 3])
    assert gc.image.resize_images(x, [4, 5]) is x
    assert gc.image.central_crop(x, 1.0) is x


def test_sizes_from_tensors() -> None:
    """Offsets and targets that are fed."""
    x, numbers = gc.constant(PICTURE), gc.placeholder(gc.int32, [4])
    crop = gc.image.crop_to_bounding_box(x, numbers[0], numbers[1], numbers[2], numbers[3])
    padded = gc.image.pad_to_bounding_box(crop, 1, 1, numbers[2] + 2, numbers[3] + 3)
    fitted = gc.image.resize_image_with_crop_or_pad(x, numbers[2], 5)
    found = _run([crop, padded, fitted], {numbers: [1, 2, 3, 2]})
    np.testing.assert_array_equal(found[0], PICTURE[1:4, 2:4])
    np.testing.assert_array_equal(found[1], np.pad(PICTURE[1:4, 2:4], [(1, 1), (1, 2), (0, 0)]))
    np.testing.assert_array_equal(found[2], PICTURE[1:4])


_X, _B = "gc.ones([7, 9, 3])", "gc.ones([2, 7, 9, 3])"


@pytest.mark.parametrize(("code", "error", "message"), [
    ("flip_left_right(gc.ones([3, 4]))", ValueError, "'image' must have either 3 or 4 dimensions"),
    ("transpose_image(gc.ones([3, 4]))", ValueError, "'image' must have either 3 or 4 dimensions"),
    ("rot90(gc.ones([3, 4]))", ValueError, "'image' must have either 3 or 4 dimensions"),
    (f"central_crop({_X}, 1.5)", ValueError, r"central_fraction must be within \(0, 1\]"),
    (f"central_crop({_X}, 0.0)", ValueError, r"central_fraction must be within \(0, 1\]"),
    ("central_crop(gc.placeholder(gc.float32), 0.5)", ValueError, "rank = 3 or rank = 4. Had rank = None"),
    (f"crop_to_bounding_box({_X}, 0, 0, 20, 2)", ValueError, "height must be >= target"),
    (f"crop_to_bounding_box({_X}, 0, 8, 2, 2)", ValueError, "width must be >= target"),
    (f"crop_to_bounding_box({_X}, -1, 0, 2, 2)", ValueError, "offset_height must be >= 0"),
    (f"crop_to_bounding_box({_X}, 0, 0, 0, 2)", ValueError, "target_height must be > 0"),
    (f"pad_to_bounding_box({_X}, 0, 0, 9, 2)", ValueError, "width must be <= target - offset"),
    (f"pad_to_bounding_box({_X}, 0, -1, 20, 20)", ValueError, "offset_width must be >= 0"),
    (f"resize_image_with_crop_or_pad({_X}, 0, 5)", ValueError, "target_height must be > 0"),
    ("resize_images(gc.placeholder(gc.float32), [3, 3])", ValueError, "'images' contains no shape"),
    ("resize_images(gc.ones([3, 3]), [3, 3])", ValueError, "'images' must have either 3 or 4 dimensions"),
    (f"resize_images({_X}, [3, 3, 3])", ValueError, "'size' must be a 1-D Tensor of 2 elements"),
    (f"resize_images({_X}, 3)", ValueError, "'size' must be a 1-D Tensor of 2 elements"),
    (f"resize_images({_X}, [.5, 3])", ValueError, "'size' must be a 1-D int32 Tensor"),
    (f"resize_images({_X}, [3, 3], 7)", ValueError, "Resize method is not implemented"),
    (f"resize_bilinear({_X}, [3, 3])", ValueError, "images must be 4-dimensional"),
    (f"resize_bilinear({_B}, [3, 3], True, None, True)", ValueError, "If half_pixel_centers is True, align_corners must be False".lower()),
    (f"resize_bilinear({_B}, [0, 3])", ValueError, "output dimensions must be positive"),
    ("resize_area(gc.ones([1, 0, 3, 3]), [2, 3])", ValueError, "non-zero size"),
    (f"resize_image_with_pad({_X}, 0, 3)", ValueError, "target_height must be > 0"),
    (f"random_brightness({_X}, -1.0)", ValueError, "max_delta must be non-negative"),
    (f"random_contrast({_X}, 0.5, 0.4)", ValueError, "upper must be > lower"),
    (f"random_contrast({_X}, -0.5, 0.4)", ValueError, "lower must be non-negative"),
    (f"random_hue({_X}, 0.6)", ValueError, "max_delta must be <= 0.5"),
    (f"random_hue({_X}, -0.6)", ValueError, "max_delta must be non-negative"),
    (f"random_saturation({_X}, 0.5, 0.4)", ValueError, "upper must be > lower"),
    (f"adjust_gamma({_X}, -1)", ValueError, "Gamma should be a non-negative real number"),
    ("adjust_contrast(gc.ones([3, 4]), 0.5)", ValueError, "Shape must be at least rank 3 but is rank 2"),
    ("adjust_hue(gc.ones([3, 4]), 0.5)", ValueError, "Shape must be at least rank 3 but is rank 2"),
    ("adjust_saturation(gc.ones([3, 4, 2]), 0.5)", ValueError, "Dimension must be 3 but is 2"),
    ("rgb_to_hsv(gc.ones([3, 2]))", ValueError, "Dimension must be 3 but is 2"),
    ("rgb_to_hsv(gc.ones([]))", ValueError, "Shape must be at least rank 1 but is rank 0"),
    ("rgb_to_hsv(gc.ones([3], gc.uint8))", TypeError, "takes floating pictures, not uint8"),
    (f"grayscale_to_rgb({_X})", ValueError, "Last dimension of a grayscale image should be size 1"),
    ("rgb_to_grayscale(gc.ones([3, 2]))", ValueError, "Dimensions must be equal, but are 2 and 3"),
    (f"convert_image_dtype({_X}, gc.bool)", AttributeError, "dtype must be either floating point or integer"),
    ("per_image_standardization(gc.ones([3, 2]))", ValueError, "must be at least three-dimensional"),
    ("total_variation(gc.ones([3, 2]))", ValueError, "'images' must be either 3 or 4-dimensional"),
    (f"image_gradients({_X})", ValueError, "expects a 4D tensor"),
    (f"sobel_edges({_X})", ValueError, "Shape must be rank 4 but is rank 3"),
    (f"psnr({_X}, {_X}[:2], 1.0)", ValueError, "not compatible"),
    (f"ssim({_X}, {_X}, 1.0)", ValueError, "at least 11 by 11 pixels"),
    ("ssim(gc.ones([3, 4]), gc.ones([3, 4]), 1.0)", ValueError, "must have rank at least 3"),
    (f"crop_and_resize({_B}, gc.ones([3, 4]), [0, 1], [2, 2])", ValueError, "are 3 and 2: one index for each box"),
    (f"crop_and_resize({_B}, gc.ones([2, 5]), [0, 1], [2, 2])", ValueError, "boxes must have 4 columns"),
    (f"crop_and_resize({_B}, gc.ones([2, 4]), [0, 1], [2, 2], 'cubic')", ValueError, "method must be 'bilinear' or 'nearest', got 'cubic'"),
    (f"draw_bounding_boxes({_B}, gc.ones([2, 4]))", ValueError, "boxes of rank 3"),
    (f"extract_glimpse({_X}, [2, 2], [[0.0, 0.0]])", ValueError, "needs images of rank 4"),
])
def test_refused(code: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?i){message}"):
        eval(f"gc.image.{code}", {"gc": gc})


# Choice of boxes ------------------------------------------------------------------------------------------------------------------------

def test_padded_choices_have_a_known_size() -> None:
    indices, number = gc.image.non_max_suppression_padded(gc.placeholder(gc.float32, [None, 4]), gc.placeholder(gc.float32, [None]), 7,
                                                          pad_to_max_output_size=True)
    assert (indices.shape.as_list(), number.shape.as_list()) == ([7], [])
    assert gc.image.non_max_suppression(gc.ones([3, 4]), gc.ones([3]), 2).shape.as_list() == [None]


def test_equal_scores_are_taken_in_order_and_nan_never() -> None:
    boxes = np.array([[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5], [6, 6, 7, 7]], np.float32)
    found = gc.image.non_max_suppression(boxes, np.array([0.5, 0.5, np.nan, 0.75], np.float32), 4)
    np.testing.assert_array_equal(_run(found), [3, 0, 1])


@pytest.mark.parametrize(("threshold", "size", "message"), [
    (1.5, 2, r"iou_threshold must be in \[0, 1\]"), (0.5, -1, "max_output_size must be non-negative, got -1")])
def test_refused_when_it_runs(threshold: float, size: int, message: str) -> None:
    """By the fed value."""
    most, count = gc.placeholder(gc.float32, []), gc.placeholder(gc.int32, [])
    indices = gc.image.non_max_suppression(gc.ones([3, 4]), gc.ones([3]), count, most)
    with pytest.raises(gc.errors.InvalidArgumentError, match=message):
        _run(indices, {most: threshold, count: size})
