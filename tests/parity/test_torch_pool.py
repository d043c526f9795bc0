"""Pooling and resizing against PyTorch: values and gradients, from odd shapes."""

from functools import partial

import jax
import numpy as np
import pytest
import torch
from torch_reference import (
    assert_alike,
    channels_first,
    channels_last,
    normal,
    ours,
    theirs,
)

from jaxdl import functional as F

T = torch.nn.functional
LAYOUT = {"there": [channels_first], "back": [channels_last, channels_last]}
MAX_POOLS = {3: T.max_pool1d, 4: T.max_pool2d, 5: T.max_pool3d}
ADAPTIVE_AVG = {3: T.adaptive_avg_pool1d, 4: T.adaptive_avg_pool2d, 5: T.adaptive_avg_pool3d}
ADAPTIVE_MAX = {3: T.adaptive_max_pool1d, 4: T.adaptive_max_pool2d, 5: T.adaptive_max_pool3d}

# Rounded to whole numbers, most windows hold their largest value more than once.
ties = pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])


def numbers(shape, dtype, ties):
    return np.round(normal(shape, dtype)) if ties else normal(shape, dtype)


POOLS = {
    "1-D": ((2, 9, 3), 3, {"dilation": 2, "strides": 1}),
    "1-D padding": ((2, 8, 2), 3, {"dilation": 2, "padding": 1}),
    "2-D": ((2, 7, 8, 2), (2, 3), {"dilation": (3, 2), "strides": (1, 2), "padding": 1}),
    "2-D overlapping": ((1, 6, 7, 2), 3, {"strides": 1, "padding": 1}),
    "3-D": ((1, 4, 5, 4, 1), (2, 2, 2), {"dilation": (1, 2, 3), "strides": 1}),
}
WORDS = {"strides": "stride", "padding": "padding", "dilation": "dilation"}


@pytest.mark.parametrize(("shape", "window", "options"), POOLS.values(), ids=POOLS)
@pytest.mark.parametrize("method", ["auto", "lax"])
@ties
def test_max_pool_with_gaps(shape, window, options, method, ties, dtype):
    x = numbers(shape, dtype, ties)
    pytorch = partial(MAX_POOLS[len(shape)], kernel_size=window, **{WORDS[k]: v for k, v in options.items()})
    pool = partial(F.max_pool, window=window, method=method, **options)
    assert_alike(ours(pool, x), theirs(pytorch, x, **LAYOUT), dtype)


ADAPTIVE = {
    "1-D": ((2, 7, 3), 3),
    "1-D larger": ((1, 3, 2), 5),
    "1-D even": ((1, 6, 2), 3),
    "2-D": ((2, 5, 7, 2), (2, 4)),
    "2-D one": ((2, 5, 4, 2), 1),
    "3-D": ((1, 3, 4, 5, 2), (2, 4, 3)),
}
adaptive = pytest.mark.parametrize(("shape", "output_size"), ADAPTIVE.values(), ids=ADAPTIVE)


@adaptive
def test_adaptive_avg_pool(shape, output_size, dtype):
    x = normal(shape, dtype)
    pytorch = partial(ADAPTIVE_AVG[len(shape)], output_size=output_size)
    found = ours(partial(F.adaptive_avg_pool, output_size=output_size), x)
    assert_alike(found, theirs(pytorch, x, **LAYOUT), dtype)


@adaptive
@ties
def test_adaptive_max_pool(shape, output_size, ties, dtype):
    x = numbers(shape, dtype, ties)
    pytorch = partial(ADAPTIVE_MAX[len(shape)], output_size=output_size)
    found = ours(partial(F.adaptive_max_pool, output_size=output_size), x)
    assert_alike(found, theirs(pytorch, x, **LAYOUT), dtype)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 4, 2), (1, 2, 3, 2, 2)], ids=str)
@ties
def test_global_max_pool(shape, ties, dtype):
    x = numbers(shape, dtype, ties)

    def ours_kept(x):
        y = F.global_max_pool(x)
        return y.reshape(y.shape[0], *(1,) * (x.ndim - 2), y.shape[1])

    pytorch = partial(ADAPTIVE_MAX[len(shape)], output_size=1)
    assert_alike(ours(ours_kept, x), theirs(pytorch, x, **LAYOUT), dtype)


LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 4, 2), (1, 2, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_upsample(shape, factor, interpolation, dtype):
    x = normal(shape, dtype)
    if interpolation == "nearest":
        pytorch = partial(T.interpolate, scale_factor=factor, mode="nearest")
    else:
        pytorch = partial(T.interpolate, scale_factor=factor, mode=LINEAR[len(shape)], align_corners=False)
    found = ours(partial(F.upsample, factor=factor, interpolation=interpolation), x)
    assert_alike(found, theirs(pytorch, x, **LAYOUT), dtype)


def test_cubic_interpolation_is_another_one(dtype):
    """PyTorch has a = −¾ and repeats the edge; with antialias it has a = −½ and weights scaled at the edge."""
    x = normal((2, 6, 5, 2), dtype)
    found = ours(partial(F.upsample, factor=2, interpolation="cubic"), x)
    cubic = partial(T.interpolate, scale_factor=2, mode="bicubic", align_corners=False)
    assert_alike(found, theirs(partial(cubic, antialias=True), x, **LAYOUT), dtype)
    with pytest.raises(AssertionError):
        assert_alike(found, theirs(cubic, x, **LAYOUT), dtype)


def test_pixel_shuffle_and_back(dtype):
    x = normal((2, 3, 4, 18), dtype)
    found = ours(partial(F.pixel_shuffle, factor=3), x)
    assert_alike(found, theirs(partial(T.pixel_shuffle, upscale_factor=3), x, **LAYOUT), dtype)
    y = normal((2, 6, 9, 2), dtype)
    found = ours(partial(F.pixel_unshuffle, factor=3), y)
    assert_alike(found, theirs(partial(T.pixel_unshuffle, downscale_factor=3), y, **LAYOUT), dtype)
    np.testing.assert_array_equal(jax.jit(lambda y: F.pixel_shuffle(F.pixel_unshuffle(y, 3), 3))(y), y)
