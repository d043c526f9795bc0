"""Convolution's further forms against PyTorch: values and gradients, from odd shapes."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch_reference import (
    assert_alike,
    channels_first,
    channels_last,
    kernel_first,
    kernel_last,
    normal,
    ours,
    same,
    theirs,
)

from jaxdl import functional as F

T = torch.nn.functional
CONVS = {3: T.conv1d, 4: T.conv2d, 5: T.conv3d}
TRANSPOSED = {3: T.conv_transpose1d, 4: T.conv_transpose2d, 5: T.conv_transpose3d}
WORDS = {
    "strides": "stride",
    "padding": "padding",
    "output_padding": "output_padding",
    "dilation": "dilation",
    "groups": "groups",
}


def translated(options):
    return {WORDS[name]: value for name, value in options.items()}


PADDED = {
    "1-D": ((2, 7, 3), (3, 3, 4), {"padding": 2}),
    "1-D strides dilation": ((2, 8, 2), (3, 2, 3), {"padding": 3, "strides": 2, "dilation": 2}),
    "2-D": ((2, 5, 4, 2), (3, 2, 2, 3), {"padding": 1}),
    "2-D groups": ((1, 5, 6, 4), (3, 3, 2, 2), {"padding": 2, "groups": 2, "strides": (1, 2)}),
    "3-D": ((1, 3, 4, 3, 2), (2, 3, 2, 2, 3), {"padding": 1}),
}


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "kernel_shape", "options"), PADDED.values(), ids=PADDED)
def test_padding_modes(shape, kernel_shape, options, mode, dtype):
    arguments = normal(shape, dtype), normal(kernel_shape, dtype, 1), normal(kernel_shape[-1:], dtype, 2)
    rank = len(shape) - 2
    rest = translated({name: value for name, value in options.items() if name != "padding"})

    def pytorch(x, kernel, bias):
        padded = T.pad(x, [options["padding"]] * (2 * rank), mode=mode)
        return CONVS[len(shape)](padded, kernel, bias, **rest)

    expected = theirs(
        pytorch,
        *arguments,
        there=[channels_first, kernel_first, same],
        back=[channels_last, channels_last, kernel_last, same],
    )
    assert_alike(ours(partial(F.conv, padding_mode=mode, **options), *arguments), expected, dtype)


DEPTHWISE = {
    "1-D": ((2, 7, 3), (3, 1, 3), {}),
    "1-D multiplier": ((2, 8, 2), (3, 1, 6), {"strides": 2, "dilation": 2, "padding": 1}),
    "2-D": ((2, 4, 5, 3), (3, 2, 1, 6), {"padding": 1, "strides": (1, 2)}),
    "3-D": ((1, 3, 3, 4, 2), (2, 2, 3, 1, 2), {}),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_conv(shape, kernel_shape, options, dtype):
    arguments = normal(shape, dtype), normal(kernel_shape, dtype, 1), normal(kernel_shape[-1:], dtype, 2)
    expected = theirs(
        partial(CONVS[len(shape)], groups=shape[-1], **translated(options)),
        *arguments,
        there=[channels_first, kernel_first, same],
        back=[channels_last, channels_last, kernel_last, same],
    )
    assert_alike(ours(partial(F.depthwise_conv, **options), *arguments), expected, dtype)


def test_separable_conv(dtype):
    x, depthwise, pointwise = (
        normal((2, 5, 4, 2), dtype),
        normal((3, 2, 1, 6), dtype, 1),
        normal((1, 1, 6, 3), dtype, 2),
    )

    def pytorch(x, depthwise, pointwise):
        return T.conv2d(T.conv2d(x, depthwise, groups=2, stride=2, padding=1), pointwise)

    expected = theirs(
        pytorch,
        x,
        depthwise,
        pointwise,
        there=[channels_first, kernel_first, kernel_first],
        back=[channels_last, channels_last, kernel_last, kernel_last],
    )
    assert_alike(ours(partial(F.separable_conv, strides=2, padding=1), x, depthwise, pointwise), expected, dtype)


STAMPED = {
    "1-D": ((2, 5, 3), (3, 3, 4), {}),
    "1-D strides": ((2, 4, 3), (4, 3, 2), {"strides": 3, "padding": 2, "output_padding": 1}),
    "1-D window below the stride": ((1, 4, 2), (2, 2, 3), {"strides": 3, "output_padding": 2}),
    "1-D dilation": ((2, 4, 2), (3, 2, 3), {"dilation": 3, "strides": 2, "output_padding": 2, "padding": 1}),
    "1-D groups": ((2, 4, 6), (3, 2, 9), {"groups": 3, "strides": 2}),
    "2-D": ((2, 3, 4, 3), (3, 2, 3, 4), {"strides": (2, 1), "padding": (1, 0), "output_padding": (1, 0)}),
    "2-D groups dilation": (
        (1, 4, 3, 4),
        (2, 3, 2, 6),
        {"groups": 2, "dilation": (1, 2), "strides": 2, "padding": 1, "output_padding": 1},
    ),
    "3-D": ((1, 2, 3, 2, 2), (2, 3, 2, 2, 3), {"strides": (2, 1, 2), "padding": 1, "output_padding": (1, 0, 1)}),
    "3-D groups dilation": ((1, 2, 2, 3, 4), (2, 2, 2, 2, 2), {"groups": 2, "dilation": (1, 3, 2)}),
}


def in_pairs(options):
    """Our explicit padding, where PyTorch has one number for each axis."""
    padding = options.get("padding", 0)
    return options | {"padding": [(p, p) for p in padding] if isinstance(padding, tuple) else padding}


@pytest.mark.parametrize("method", ["auto", "lax"])
@pytest.mark.parametrize(("shape", "kernel_shape", "options"), STAMPED.values(), ids=STAMPED)
def test_conv_transpose(shape, kernel_shape, options, method, dtype):
    arguments = normal(shape, dtype), normal(kernel_shape, dtype, 1), normal(kernel_shape[-1:], dtype, 2)
    groups, (*window, inside, out) = options.get("groups", 1), kernel_shape

    def there(kernel):
        """``(*window, in / groups, out) -> (in, out / groups, *window)``."""
        parts = kernel.reshape(*window, inside, groups, out // groups)
        return np.moveaxis(parts, (-2, -3, -1), (0, 1, 2)).reshape(groups * inside, out // groups, *window)

    def back(kernel):
        parts = kernel.reshape(groups, inside, out // groups, *window)
        return np.moveaxis(parts, (0, 1, 2), (-2, -3, -1)).reshape(kernel_shape)

    expected = theirs(
        partial(TRANSPOSED[len(shape)], **translated(options)),
        *arguments,
        there=[channels_first, there, same],
        back=[channels_last, channels_last, back, same],
    )
    found = ours(partial(F.conv_transpose, method=method, **in_pairs(options)), *arguments)
    assert_alike(found, expected, dtype)


FRAMES = {
    "plain": ((2, 5, 4, 3), (3, 2), {}),
    "strides": ((1, 6, 7, 2), (2, 3), {"strides": (2, 3), "padding": 1}),
    "dilation": ((2, 6, 7, 1), (3, 2), {"dilation": (2, 3), "strides": (1, 2), "padding": 2}),
}
every_frame = pytest.mark.parametrize(("shape", "window", "options"), FRAMES.values(), ids=FRAMES)


def window_first(columns, taps, positions):
    """PyTorch's ``(batch, channels · taps, places)`` as ``(batch, taps · channels, *positions)``."""
    batch, rows, _ = columns.shape
    return columns.reshape(batch, rows // taps, taps, *positions).swapaxes(1, 2).reshape(batch, rows, *positions)


@every_frame
def test_unfold(shape, window, options, dtype):
    x = normal(shape, dtype)
    positions = F.patches(x, window, **options).shape[1:-1]

    def pytorch(x):
        return window_first(T.unfold(x, window, **translated(options)), math.prod(window), positions)

    expected = theirs(pytorch, x, there=[channels_first], back=[channels_last, channels_last])
    assert_alike(ours(partial(F.patches, window=window, **options), x), expected, dtype)


@every_frame
def test_fold(shape, window, options, dtype):
    taken = F.patches(np.ones(shape, dtype), window, **options)
    x, taps = normal(taken.shape, dtype), math.prod(window)

    def pytorch(x):
        columns = x.reshape(x.shape[0], taps, shape[-1], -1).swapaxes(1, 2).flatten(1, 2)
        return T.fold(columns, shape[1:-1], window, **translated(options))

    expected = theirs(pytorch, x, there=[channels_first], back=[channels_last, channels_last])
    assert_alike(ours(partial(F.fold, window=window, spatial=shape[1:-1], **options), x), expected, dtype)
