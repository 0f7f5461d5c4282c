"""Samples of pictures and pooling whose expectation is a recorded answer of TensorFlow 1.15, and the program that recorded them.

Each is one line of user code, in which `tf` is TensorFlow there and graphc here, and x, y, ... are operands made of its own text. To record
again (golden/tf1_images.npz), with a Python that has TensorFlow 1.15:

    python tests/recorded_images.py

Nothing of graphc is imported here, and nothing but numpy, so that such a Python can read it.
"""
from __future__ import annotations

import importlib
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

GOLDEN = pathlib.Path(__file__).parent / "golden" / "tf1_images.npz"

# name of the function: lines of code, each before the descriptions of its operands: element type, shape and range of its values
SAMPLES: dict[str, list[tuple[str, ...]]] = {
    "image.resize_bilinear": [
        ("tf.image.resize_bilinear(x, [9, 7])", "float32 2x4x5x3"),
        ("tf.image.resize_bilinear(x, [8, 10])", "float32 2x4x5x1"),
        ("tf.image.resize_bilinear(x, [3, 4])", "float32 2x7x9x3"),
        ("tf.image.resize_bilinear(x, [9, 7], align_corners=True)", "float32 2x4x5x3"),
        ("tf.image.resize_bilinear(x, [9, 3], half_pixel_centers=True)", "float32 2x4x5x3"),
        ("tf.image.resize_bilinear(x, [1, 1], align_corners=True)", "float32 1x4x5x3"),
        ("tf.image.resize_bilinear(x, [3, 5])", "float32 2x1x1x2"),
        ("tf.image.resize_bilinear(x, [6, 5])", "uint8 2x4x3x3 0:255"),
        ("tf.image.resize_bilinear(x, [6, 5])", "float64 2x4x3x3"),
        ("tf.image.resize_bilinear(x, [61, 35])", "float32 1x40x50x17"),
        ("tf.gradients(tf.image.resize_bilinear(x, [9, 7]), x, y)[0]", "float32 2x4x5x3", "float32 2x9x7x3"),
        ("tf.gradients(tf.image.resize_bilinear(x, [9, 7], True), x, y)[0]", "float32 2x4x5x3", "float32 2x9x7x3"),
        ("tf.gradients(tf.image.resize_bilinear(x, [24, 3], half_pixel_centers=True), x, y)[0]", "float32 2x4x5x3", "float32 2x24x3x3"),
    ],
    "image.resize_nearest_neighbor": [
        ("tf.image.resize_nearest_neighbor(x, [9, 7])", "float32 2x4x5x3"),
        ("tf.image.resize_nearest_neighbor(x, [8, 10])", "uint8 2x4x5x3 0:255"),
        ("tf.image.resize_nearest_neighbor(x, [9, 7], align_corners=True)", "float64 2x4x5x3"),
        ("tf.image.resize_nearest_neighbor(x, [3, 9], half_pixel_centers=True)", "float16 2x4x5x3"),
        ("tf.image.resize_nearest_neighbor(x, [2, 2])", "int32 1x5x7x2 -9:9"),
        ("tf.gradients(tf.image.resize_nearest_neighbor(x, [8, 10]), x, y)[0]", "float32 2x4x5x3", "float32 2x8x10x3"),
        ("tf.gradients(tf.image.resize_nearest_neighbor(x, [9, 3]), x, y)[0]", "float32 2x4x5x3", "float32 2x9x3x3"),
        ("tf.gradients(tf.image.resize_nearest_neighbor(x, [9, 3], True), x, y)[0]", "float32 2x4x5x3", "float32 2x9x3x3"),
    ],
    "image.resize_bicubic": [
        ("tf.image.resize_bicubic(x, [9, 7])", "float32 2x4x5x3"),
        ("tf.image.resize_bicubic(x, [3, 4])", "float32 2x7x9x3"),
        ("tf.image.resize_bicubic(x, [9, 7], align_corners=True)", "float32 2x4x5x3"),
        ("tf.image.resize_bicubic(x, [9, 3], half_pixel_centers=True)", "float32 2x4x5x3"),
        ("tf.image.resize_bicubic(x, [3, 5])", "uint8 2x1x2x2 0:255"),
        ("tf.gradients(tf.image.resize_bicubic(x, [9, 7]), x, y)[0]", "float32 2x4x5x3", "float32 2x9x7x3"),
    ],
    "image.resize_area": [
        ("tf.image.resize_area(x, [9, 7])", "float32 2x4x5x3"),
        ("tf.image.resize_area(x, [3, 4])", "float32 2x7x9x3"),
        ("tf.image.resize_area(x, [2, 3])", "uint8 2x4x9x3 0:255"),
        ("tf.image.resize_area(x, [3, 4], align_corners=True)", "float32 2x7x9x3"),
        ("tf.image.resize_area(x, [3, 3])", "float32 1x60x17x5"),
    ],
    "image.resize_images": [
        ("tf.image.resize_images(x, [9, 7])", "float32 4x5x3"),
        ("tf.image.resize_images(x, [4, 5])", "float32 4x5x3"),
        ("tf.image.resize_images(x, [9, 7], 1)", "uint8 4x5x3 0:255"),
        ("tf.image.resize_images(x, size=[9, 7], method=tf.image.ResizeMethod.BICUBIC)", "float32 2x4x5x3"),
        ("tf.image.resize_images(x, [3, 2], method=tf.image.ResizeMethod.AREA)", "float32 2x4x5x3"),
        ("tf.image.resize_images(x, [20, 7], preserve_aspect_ratio=True)", "float32 2x4x5x3"),
        ("tf.image.resize(x, [6, 40], preserve_aspect_ratio=True, align_corners=True)", "float32 4x5x3"),
        ("tf.image.resize_images(x, tf.shape(x)[1:3] * 2)", "float32 2x4x5x3"),
    ],
    "image.resize_image_with_pad": [
        ("tf.image.resize_image_with_pad(x, 9, 7)", "float32 4x5x3"),
        ("tf.image.resize_image_with_pad(x, 3, 14)", "float32 2x4x5x3"),
        ("tf.image.resize_image_with_pad(x, 13, 4, method=1)", "uint8 2x4x5x3 0:255"),
    ],
    "image.resize_image_with_crop_or_pad": [
        ("tf.image.resize_image_with_crop_or_pad(x, 9, 2)", "float32 4x5x3"),
        ("tf.image.resize_image_with_crop_or_pad(x, 3, 8)", "uint8 2x4x5x3 0:255"),
        ("tf.image.resize_image_with_crop_or_pad(x, 4, 5)", "float64 2x4x5x3"),
        ("tf.image.resize_with_crop_or_pad(x, 7, 2)", "float64 2x4x5x3"),
    ],
    "image.crop_to_bounding_box": [
        ("tf.image.crop_to_bounding_box(x, 1, 2, 3, 2)", "float64 4x5x3"),
        ("tf.image.crop_to_bounding_box(x, 0, 0, 4, 1)", "uint8 2x4x5x3 0:255"),
    ],
    "image.pad_to_bounding_box": [
        ("tf.image.pad_to_bounding_box(x, 1, 2, 6, 9)", "float64 4x5x3"),
        ("tf.image.pad_to_bounding_box(x, 0, 3, 4, 8)", "uint8 2x4x5x3 0:255"),
    ],
    "image.central_crop": [
        ("tf.image.central_crop(x, 0.5)", "float64 7x9x3"),
        ("tf.image.central_crop(x, 0.33)", "float64 2x10x13x3"),
        ("tf.image.central_crop(x, 1.0)", "float64 2x4x5x3"),
        ("tf.image.central_crop(x, 0.875)", "float32 57x64x3"),
    ],
    "image.flip_left_right": [
        ("tf.image.flip_left_right(x)", "float64 4x5x3"),
        ("tf.image.flip_left_right(x)", "float32 2x4x33x3"),
    ],
    "image.flip_up_down": [
        ("tf.image.flip_up_down(x)", "float64 4x5x3"),
        ("tf.image.flip_up_down(x)", "uint8 2x4x33x3 0:255"),
    ],
    "image.transpose_image": [
        ("tf.image.transpose_image(x)", "float64 4x5x3"),
        ("tf.image.transpose(x)", "float32 2x4x33x3"),
    ],
    "image.rot90": [
        ("tf.image.rot90(x)", "float64 4x5x3"),
        ("tf.image.rot90(x, 2)", "float64 2x4x5x3"),
        ("tf.image.rot90(x, 3)", "float64 2x4x5x3"),
        ("tf.image.rot90(x, k=4)", "float64 4x5x3"),
        ("tf.image.rot90(x, -1)", "float64 4x5x3"),
    ],
    "image.adjust_brightness": [
        ("tf.image.adjust_brightness(x, 0.25)", "float32 4x5x3"),
        ("tf.image.adjust_brightness(x, delta=-0.5)", "uint8 2x4x5x3 0:255"),
        ("tf.cast(tf.image.adjust_brightness(x, 0.1), tf.float32)", "float64 4x5x3"),
        ("tf.image.adjust_brightness(x, 0.1)", "float16 4x5x3"),
    ],
    "image.adjust_contrast": [
        ("tf.image.adjust_contrast(x, 1.75)", "float32 4x5x3"),
        ("tf.image.adjust_contrast(x, 0.25)", "uint8 2x4x5x3 0:255"),
        ("tf.image.adjust_contrast(x, 2)", "float32 2x3x4x5x1"),
        ("tf.cast(tf.image.adjust_contrast(x, 0.5), tf.float32)", "float64 4x5x3"),
    ],
    "image.adjust_gamma": [
        ("tf.image.adjust_gamma(x)", "float32 4x5x3"),
        ("tf.image.adjust_gamma(x, 2.25, 0.5)", "float32 4x5x3"),
        ("tf.image.adjust_gamma(x, gamma=0.5, gain=2)", "uint8 2x4x5x3 0:255"),
    ],
    "image.adjust_hue": [
        ("tf.image.adjust_hue(x, 0.25)", "float32 4x5x3"),
        ("tf.image.adjust_hue(x, -0.6)", "float32 2x4x5x3"),
        ("tf.image.adjust_hue(x, delta=0.9)", "uint8 2x4x5x3 0:255"),
        ("tf.cast(tf.image.adjust_hue(x, 0.1), tf.float32)", "float64 4x5x3"),
    ],
    "image.adjust_saturation": [
        ("tf.image.adjust_saturation(x, 0.25)", "float32 4x5x3"),
        ("tf.image.adjust_saturation(x, 2)", "float32 2x4x5x3"),
        ("tf.image.adjust_saturation(x, saturation_factor=1.5)", "uint8 2x4x5x3 0:255"),
        ("tf.cast(tf.image.adjust_saturation(x, 0.0), tf.float32)", "float64 4x5x3"),
    ],
    "image.convert_image_dtype": [
        ("tf.image.convert_image_dtype(x, tf.uint8)", "float32 4x5x3"),
        ("tf.image.convert_image_dtype(x, tf.uint8, saturate=True)", "float32 4x5x3 -2:2"),
        ("tf.image.convert_image_dtype(x, tf.float32)", "uint8 4x5x3 0:255"),
        ("tf.image.convert_image_dtype(x, tf.float64)", "float32 4x5x3"),
        ("tf.image.convert_image_dtype(x, tf.float16)", "float32 4x5x3"),
        ("tf.image.convert_image_dtype(x, tf.int16)", "uint8 4x5x3 0:255"),
        ("tf.image.convert_image_dtype(x, dtype=tf.uint8, saturate=True)", "int32 4x5x3 -30000:2000000000"),
        ("tf.image.convert_image_dtype(x, tf.int32)", "int16 4x5x3 -30000:30000"),
        ("tf.image.convert_image_dtype(x, tf.float32)", "float32 4x5x3"),
    ],
    "image.per_image_standardization": [
        ("tf.image.per_image_standardization(x)", "float32 4x5x3"),
        ("tf.image.per_image_standardization(x)", "float32 2x4x5x3 10:300"),
        ("tf.image.per_image_standardization(x)", "uint8 2x4x5x3 0:255"),
        ("tf.image.per_image_standardization(tf.ones_like(x))", "float32 4x5x3"),
        ("tf.cast(tf.image.per_image_standardization(x), tf.float32)", "float64 4x5x3"),
    ],
    "image.rgb_to_hsv": [
        ("tf.image.rgb_to_hsv(x)", "float32 4x5x3"),
        ("tf.image.rgb_to_hsv(x)", "float64 2x4x5x3"),
        ("tf.image.rgb_to_hsv(tf.round(x))", "float32 64x3"),
        ("tf.image.rgb_to_hsv(x)", "float32 3"),
        ("tf.image.rgb_to_hsv(x)", "float32 0x5x3"),
    ],
    "image.hsv_to_rgb": [
        ("tf.image.hsv_to_rgb(x)", "float32 4x5x3"),
        ("tf.image.hsv_to_rgb(x)", "float64 2x4x5x3"),
        ("tf.image.hsv_to_rgb(tf.round(x * 6) / 6)", "float32 64x3"),
    ],
    "image.rgb_to_grayscale": [
        ("tf.image.rgb_to_grayscale(x)", "float32 4x5x3"),
        ("tf.image.rgb_to_grayscale(x)", "uint8 2x4x5x3 0:255"),
        ("tf.cast(tf.image.rgb_to_grayscale(x), tf.float32)", "float64 2x4x5x3"),
    ],
    "image.grayscale_to_rgb": [
        ("tf.image.grayscale_to_rgb(x)", "float64 4x5x1"),
        ("tf.image.grayscale_to_rgb(x)", "uint8 2x4x5x1 0:255"),
    ],
    "image.rgb_to_yuv": [("tf.image.rgb_to_yuv(x)", "float64 4x5x3"), ("tf.image.rgb_to_yuv(x)", "float32 2x4x5x3")],
    "image.yuv_to_rgb": [("tf.image.yuv_to_rgb(x)", "float64 4x5x3 -1:1")],
    "image.rgb_to_yiq": [("tf.image.rgb_to_yiq(x)", "float64 4x5x3")],
    "image.yiq_to_rgb": [("tf.image.yiq_to_rgb(x)", "float64 4x5x3 -1:1")],
    "image.total_variation": [
        ("tf.image.total_variation(x)", "float64 4x5x3"),
        ("tf.image.total_variation(x)", "float32 2x24x33x3"),
        ("tf.image.total_variation(x)", "float32 2x1x1x3"),
    ],
    "image.image_gradients": [
        ("tf.image.image_gradients(x)", "float64 2x4x5x3"),
        ("tf.image.image_gradients(x)", "int32 2x3x33x1 -99:99"),
    ],
    "image.sobel_edges": [
        ("tf.image.sobel_edges(x)", "float32 2x4x5x3"),
        ("tf.image.sobel_edges(x)", "float64 1x2x7x2"),
    ],
    "image.psnr": [
        ("tf.image.psnr(x, y, 1.0)", "float32 2x4x5x3", "float32 2x4x5x3"),
        ("tf.image.psnr(x, y, max_val=255)", "uint8 4x5x3 0:255", "uint8 2x4x5x3 0:255"),
        ("tf.image.psnr(x, x, 1.0)", "float32 2x4x5x3"),
    ],
    "image.ssim": [
        ("tf.image.ssim(x, y, 1.0)", "float32 2x13x15x3", "float32 2x13x15x3"),
        ("tf.image.ssim(x, x * 0.9, 1.0, filter_size=5, filter_sigma=1.0, k1=0.02, k2=0.05)", "float32 2x13x15x3"),
        ("tf.image.ssim(x, y, max_val=255)", "uint8 13x15x1 0:255", "uint8 13x15x1 0:255"),
    ],
    "image.ssim_multiscale": [
        ("tf.image.ssim_multiscale(x, x * 0.9 + 0.05, 1.0, [0.5, 0.5], 5)", "float32 2x13x15x3"),
        ("tf.image.ssim_multiscale(x, y, 1.0, filter_size=3)", "float32 1x49x53x1", "float32 1x49x53x1"),
    ],
    "image.crop_and_resize": [
        ("tf.image.crop_and_resize(x, y, [0, 1, 1, 0, 1], [3, 4])", "float32 2x7x9x3", "float32 5x4"),
        ("tf.image.crop_and_resize(x, y, [0, 1, 1, 0, 1], [3, 4], extrapolation_value=0.5)", "uint8 2x7x9x3 0:255", "float32 5x4 -0.5:1.5"),
        ("tf.image.crop_and_resize(x, y, box_ind=[0, 1], crop_size=[1, 1])", "float32 2x7x9x3", "float32 2x4"),
        ("tf.image.crop_and_resize(x, y, box_indices=[0, 1, 0], crop_size=[5, 6], method='nearest')", "float32 2x7x9x3", "float32 3x4"),
        ("tf.image.crop_and_resize(x, [[0., 0., 1., 1.]], [1], [7, 9])", "float64 2x7x9x3"),
        ("tf.gradients(tf.image.crop_and_resize(x, y, [0, 1, 1], [3, 4]), [x, y], z)",
         "float32 2x7x9x3", "float32 3x4", "float32 3x3x4x3"),
    ],
    "image.draw_bounding_boxes": [
        ("tf.image.draw_bounding_boxes(x, y)", "float32 2x12x14x3", "float32 2x3x4 -0.3:1.3"),
        ("tf.image.draw_bounding_boxes(x, [[[0.2, 0.1, 0.8, 0.7], [0.0, 0.5, 0.3, 1.2], [0.9, 0.9, 0.1, 0.2]]])", "float32 1x12x14x1"),
        ("tf.image.draw_bounding_boxes(x, [[[0.2, 0.1, 0.8, 0.7], [-0.5, 0.5, 0.3, 0.8]]], colors=y)", "float32 1x12x14x4", "float32 1x4"),
        ("tf.image.draw_bounding_boxes(x, tf.reshape(tf.range(48.0) / 60.0, [1, 12, 4]))", "float32 1x32x32x3"),
        ("tf.image.draw_bounding_boxes(x, tf.zeros([1, 0, 4]))", "float32 1x3x4x3"),
    ],
    "image.extract_glimpse": [
        ("tf.image.extract_glimpse(x, [3, 4], [[0.1, -0.2], [0.0, 0.3]])", "float32 2x8x9x2"),
        ("tf.image.extract_glimpse(x, [3, 4], y, centered=False)", "float32 2x8x9x2", "float32 2x2 0.25:0.75"),
        ("tf.image.extract_glimpse(x, [2, 3], y, normalized=False)", "float32 2x8x9x2", "float32 2x2 -4:4"),
        ("tf.image.extract_glimpse(x, [3, 3], y, False, False)", "float32 2x8x9x2", "float32 2x2 2:6"),
    ],
    "image.extract_patches": [
        ("tf.image.extract_patches(x, [1, 2, 3, 1], [1, 2, 1, 1], [1, 1, 1, 1], 'SAME')", "float32 2x4x5x3"),
    ],
    "image.non_max_suppression": [
        ("tf.image.non_max_suppression(x, y, 10)", "float32 40x4", "float32 40"),
        ("tf.image.non_max_suppression(x, y, tf.constant(5), iou_threshold=0.2)", "float32 40x4 -3:3", "float32 40 -9:9"),
        ("tf.image.non_max_suppression(x, y, 100, 0.3, score_threshold=0.6)", "float32 40x4", "float32 40"),
        ("tf.image.non_max_suppression(x, y, 3)", "float32 0x4", "float32 0"),
        ("tf.gather(x, tf.image.non_max_suppression(x, y, 10))", "float32 40x4", "float32 40"),
    ],
    "image.non_max_suppression_padded": [
        ("tf.image.non_max_suppression_padded(x, y, 30, 0.3, pad_to_max_output_size=True)[0]", "float32 20x4", "float32 20"),
        ("tf.image.non_max_suppression_padded(x, y, 30, 0.3, pad_to_max_output_size=True)[1]", "float32 20x4", "float32 20"),
        ("tf.image.non_max_suppression_padded(x, y, 30, 0.3)", "float32 20x4", "float32 20"),
    ],
    "image.non_max_suppression_with_scores": [
        ("tf.image.non_max_suppression_with_scores(x, y, 12, 0.4)[1]", "float32 20x4", "float32 20"),
        ("tf.image.non_max_suppression_with_scores(x, y, 12, 1.0, 0.2, soft_nms_sigma=0.5)[0]", "float32 20x4", "float32 20"),
        ("tf.image.non_max_suppression_with_scores(x, y, 12, 0.6, soft_nms_sigma=0.25)[1]", "float32 20x4", "float32 20"),
    ],
    "image.non_max_suppression_overlaps": [
        ("tf.image.non_max_suppression_overlaps(tf.maximum(x, tf.eye(20)), y, 8, 0.7)", "float32 20x20", "float32 20"),
    ],
    "nn.max_pool": [
        ("tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME')", "float32 2x7x9x3"),
        ("tf.nn.max_pool(x, ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1], padding='VALID')", "float64 2x5x4x3"),
        ("tf.nn.max_pool(x, 3, 2, 'SAME')", "float16 2x5x4x33 -1:1"),
        ("tf.nn.max_pool(x, [2, 3], 1, 'SAME')", "int32 2x5x4x3 -99:99"),
        ("tf.nn.max_pool(x, ksize=2, strides=2, padding='VALID', data_format=None)", "uint8 2x5x4x3 0:255"),
        ("tf.nn.max_pool(x, [1, 1, 1, 3], [1, 1, 1, 3], 'VALID')", "float32 2x3x4x6"),
        ("tf.nn.max_pool(x, 5, 3, 'SAME')", "float32 1x1x1x1"),
        ("tf.nn.max_pool(x, 2, 2, 'VALID')", "float32 0x4x4x2"),
        ("tf.nn.max_pool(x, 3, 2, 'SAME')", "float32 2x30x31x17 -1:1"),
        ("tf.gradients(tf.nn.max_pool(x, 3, 2, 'SAME'), x, y)", "float32 2x5x6x3", "float32 2x3x3x3"),
        ("tf.gradients(tf.nn.max_pool(x, 3, 1, 'SAME'), x, y)", "float32 2x5x6x3 0:2 whole", "float32 2x5x6x3"),
        ("tf.gradients(tf.nn.max_pool(x, 2, 2, 'VALID'), x, y)", "float32 2x4x6x3 0:2 whole", "float32 2x2x3x3"),
    ],
    "nn.max_pool_v2": [
        ("tf.nn.max_pool_v2(x, 3, 2, 'SAME')", "float32 2x7x3"),
        ("tf.nn.max_pool_v2(x, 2, 2, 'VALID')", "float64 2x4x6x3"),
        ("tf.nn.max_pool_v2(x, 2, 1, 'SAME')", "float32 1x3x4x3x2"),
    ],
    "nn.max_pool1d": [
        ("tf.nn.max_pool1d(x, 3, 2, 'SAME')", "float64 2x7x3"),
        ("tf.nn.max_pool1d(x, [1, 2, 1], 3, 'VALID')", "float32 2x7x3"),
    ],
    "nn.max_pool2d": [("tf.nn.max_pool2d(x, 2, 2, 'SAME')", "float64 2x3x4x3")],
    "nn.max_pool3d": [
        ("tf.nn.max_pool3d(x, 2, 2, 'SAME')", "float32 2x3x4x3x2"),
        ("tf.nn.max_pool3d(x, [1, 2, 3, 1, 1], [1, 1, 2, 1, 1], 'VALID')", "float32 2x3x4x3x2"),
    ],
    "nn.avg_pool": [
        ("tf.nn.avg_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], 'SAME')", "float32 2x7x9x3"),
        ("tf.nn.avg_pool(x, ksize=[1, 3, 2, 1], strides=[1, 2, 1, 1], padding='VALID')", "float64 2x5x4x3"),
        ("tf.nn.avg_pool(x, 3, 2, 'SAME')", "float64 2x4x3x3"),
        ("tf.nn.avg_pool(x, 3, 1, 'SAME')", "float16 2x5x4x33 -1:1"),
        ("tf.nn.avg_pool(x, [4, 5], 1, 'VALID')", "float32 2x4x5x3"),
        ("tf.nn.avg_pool(x, 3, 2, 'SAME')", "float32 2x30x31x17 -1:1"),
        ("tf.gradients(tf.nn.avg_pool(x, 3, 2, 'SAME'), x, y)", "float32 2x5x6x3", "float32 2x3x3x3"),
        ("tf.gradients(tf.nn.avg_pool(x, 2, 2, 'VALID'), x, y)", "float32 2x5x6x3", "float32 2x2x3x3"),
    ],
    "nn.avg_pool_v2": [
        ("tf.nn.avg_pool_v2(x, 3, 2, 'SAME')", "float32 2x7x3"),
        ("tf.nn.avg_pool_v2(x, 2, 1, 'SAME')", "float32 1x3x4x3x2"),
    ],
    "nn.avg_pool1d": [
        ("tf.nn.avg_pool1d(x, 3, 2, 'SAME')", "float64 2x7x3"),
        ("tf.nn.avg_pool1d(x, [2], [3], 'VALID')", "float32 2x7x3"),
    ],
    "nn.avg_pool3d": [
        ("tf.nn.avg_pool3d(x, 2, 2, 'SAME')", "float64 2x3x4x3x2"),
        ("tf.nn.avg_pool3d(x, [1, 2, 3, 1, 1], [1, 1, 2, 1, 1], 'VALID')", "float32 2x3x4x3x2"),
    ],
    "nn.pool": [
        ("tf.nn.pool(x, [2, 2], 'MAX', 'SAME')", "float64 2x4x5x3"),
        ("tf.nn.pool(x, [3, 2], 'AVG', 'VALID', strides=[2, 1])", "float64 2x4x5x3"),
        ("tf.nn.pool(x, [3, 2], 'MAX', 'VALID', dilation_rate=[2, 3])", "float64 2x7x8x3"),
        ("tf.nn.pool(x, [2, 2], 'AVG', 'VALID', dilations=[2, 1])", "float64 2x5x4x3"),
        ("tf.nn.pool(x, [3], 'AVG', 'SAME', strides=[2])", "float32 2x7x3"),
        ("tf.nn.pool(x, [2], 'MAX', 'VALID', dilation_rate=[3])", "float32 2x7x3"),
        ("tf.nn.pool(x, [2, 2, 2], 'AVG', 'SAME')", "float32 1x3x4x3x2"),
    ],
    "nn.max_pool_with_argmax": [
        ("tf.nn.max_pool_with_argmax(x, [1, 3, 3, 1], [1, 2, 2, 1], 'SAME')[0]", "float64 2x5x4x3"),
        ("tf.nn.max_pool_with_argmax(x, [1, 3, 3, 1], [1, 2, 2, 1], 'SAME')[1]", "float32 2x7x6x3"),
        ("tf.nn.max_pool_with_argmax(tf.round(x), [1, 2, 3, 1], [1, 2, 1, 1], 'VALID')[1]", "float32 2x7x6x3"),
        ("tf.nn.max_pool_with_argmax(x, [1, 2, 2, 1], [1, 2, 2, 1], 'VALID', include_batch_in_index=True)[1]", "float32 3x5x6x5"),
    ],
    "nn.local_response_normalization": [
        ("tf.nn.local_response_normalization(x)", "float32 2x3x4x13 -1:1"),
        ("tf.nn.lrn(x, 2, 1.0, 1e-1, 0.75)", "float32 2x3x4x33 -3:3"),
        ("tf.nn.lrn(x, depth_radius=1, bias=2.0, alpha=0.5, beta=1.0)", "float32 2x3x4x5 -3:3"),
        ("tf.nn.lrn(x, depth_radius=3, bias=1.5, alpha=0.25, beta=0.6)", "float32 2x3x4x5 -3:3"),
        ("tf.nn.lrn(x, 7)", "float32 2x3x1x2"),
        ("tf.nn.lrn(x)", "float16 2x3x4x13 -1:1"),
        ("tf.gradients(tf.nn.lrn(x, 2, 1.0, 0.25, 0.75), x, y)", "float32 2x3x4x13 -1:1", "float32 2x3x4x13 -1:1"),
    ],
}


def label_of(code: str, operands: Any) -> str:
    return f"{code} {' '.join(operands)}"


def operands_of(label: str, operands: Any) -> list[Any]:
    """The arrays that `operands` describe, the same at every call: "float32 2x3 -1:1" is uniform in [-1, 1) (by default [0, 1)), with
    "whole" after it rounded, so that many elements are equal."""
    rng = np.random.RandomState(zlib.crc32(label.encode()))
    arrays = []
    for each in operands:
        dtype, shape, *span = each.split()
        low, high = (float(bound) for bound in (span[0] if span else "0:1").split(":"))
        dims = [int(dim) for dim in shape.split("x") if dim]
        values = rng.uniform(low, high, dims)
        arrays.append((np.round(values) if np.dtype(dtype).kind in "iu" or "whole" in span else values).astype(dtype))
    return arrays


def keys() -> Iterator[tuple[str, str, list[str], str]]:
    """(name of the function, code, operands, label) of each sample."""
    for subject, lines in SAMPLES.items():
        for code, *operands in lines:
            yield subject, code, operands, label_of(code, operands)


def record() -> None:
    tf: Any = importlib.import_module("tensorflow")
    answers: dict[str, Any] = {}
    for _, code, operands, label in keys():
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            arrays = operands_of(label, operands)
            tensors = [tf.compat.v1.placeholder(array.dtype, array.shape) for array in arrays]
            result = eval(code, {"tf": tf, **{"xyz"[n]: tensor for n, tensor in enumerate(tensors)}})
            found = session.run(result, {tensor: arrays[n] for n, tensor in enumerate(tensors)})
            for n, array in enumerate(found if isinstance(found, (list, tuple)) else [found]):
                answers[f"{label}|{n}"] = array
    np.savez_compressed(str(GOLDEN), **answers)
    print(len(answers), "answers recorded in", GOLDEN)


if __name__ == "__main__":
    record()
