"""Functions and losses against PyTorch: values and gradients, from odd shapes."""

from functools import partial

import jax
import jax.numpy as jnp
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
from jaxdl import losses

T = torch.nn.functional


# Dense and convolution


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)], ids=str)
def test_dense(leading, dtype):
    arguments = normal((*leading, 7), dtype), normal((7, 3), dtype, 1), normal((3,), dtype, 2)
    expected = theirs(T.linear, *arguments, there=[same, np.transpose, same], back=[same, same, np.transpose, same])
    assert_alike(ours(F.dense, *arguments), expected, dtype)


CONVS = {
    "1-D": ((2, 9, 3), (3, 3, 4), {}),
    "1-D strides": ((2, 10, 3), (4, 3, 5), {"strides": 3, "padding": 1}),
    "1-D dilation": ((3, 9, 2), (3, 2, 5), {"dilation": 3}),
    "1-D groups": ((2, 7, 6), (3, 2, 9), {"groups": 3, "padding": 2}),
    "2-D": ((2, 6, 5, 3), (3, 2, 3, 4), {}),
    "2-D strides": ((2, 7, 8, 1), (3, 3, 1, 4), {"strides": (2, 3)}),
    "2-D padding": ((1, 5, 3, 2), (3, 3, 2, 3), {"padding": 2, "strides": 2}),
    "2-D dilation": ((2, 7, 9, 2), (3, 2, 2, 3), {"dilation": (2, 4), "padding": 1}),
    "2-D groups": ((2, 5, 5, 4), (3, 3, 2, 6), {"groups": 2, "strides": 2, "padding": 1}),
    "2-D depthwise": ((2, 5, 7, 3), (3, 3, 1, 3), {"groups": 3, "dilation": (2, 1)}),
    "3-D": ((2, 4, 5, 3, 2), (2, 3, 2, 2, 3), {}),
    "3-D strides padding": ((1, 4, 5, 3, 2), (3, 2, 3, 2, 3), {"strides": (2, 1, 3), "padding": 1}),
    "3-D dilation": ((1, 5, 3, 4, 1), (2, 2, 2, 1, 2), {"dilation": (3, 1, 2)}),
    "3-D groups": ((1, 3, 4, 3, 4), (2, 2, 2, 2, 6), {"groups": 2}),
}
WORDS = {"strides": "stride", "padding": "padding", "dilation": "dilation", "groups": "groups"}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), CONVS.values(), ids=CONVS)
def test_conv(shape, kernel_shape, options, dtype):
    arguments = normal(shape, dtype), normal(kernel_shape, dtype, 1), normal(kernel_shape[-1:], dtype, 2)
    conv = {3: T.conv1d, 4: T.conv2d, 5: T.conv3d}[len(shape)]
    expected = theirs(
        partial(conv, **{WORDS[name]: value for name, value in options.items()}),
        *arguments,
        there=[channels_first, kernel_first, same],
        back=[channels_last, channels_last, kernel_last, same],
    )
    assert_alike(ours(partial(F.conv, **options), *arguments), expected, dtype)


# Pooling

POOLS = {
    "1-D": ((2, 7, 3), 2, None, 0),
    "1-D overlapping": ((2, 9, 3), 3, 2, 1),
    "2-D": ((2, 5, 7, 2), (2, 2), None, 0),
    "2-D odd window": ((2, 7, 8, 3), (2, 3), None, 0),
    "2-D overlapping": ((1, 6, 5, 2), (3, 2), 1, 1),
    "2-D padding": ((2, 5, 7, 1), (2, 3), (2, 3), 1),
    "3-D": ((2, 4, 3, 5, 2), (2, 3, 2), None, 0),
    "3-D padding": ((1, 3, 5, 3, 2), (2, 2, 3), (1, 2, 2), 1),
}
every_pool = pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLS.values(), ids=POOLS)
MAX_POOLS = {3: T.max_pool1d, 4: T.max_pool2d, 5: T.max_pool3d}
AVG_POOLS = {3: T.avg_pool1d, 4: T.avg_pool2d, 5: T.avg_pool3d}
LAYOUT = {"there": [channels_first], "back": [channels_last, channels_last]}


@every_pool
@pytest.mark.parametrize("method", ["auto", "lax"])
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
def test_max_pool_gives_the_gradient_to_the_same_element(shape, window, strides, padding, method, ties, dtype):
    # Rounded to whole numbers, most windows hold their largest value more than once.
    x = np.round(normal(shape, dtype)) if ties else normal(shape, dtype)
    pool = partial(F.max_pool, window=window, strides=strides, padding=padding, method=method)
    pytorch = partial(MAX_POOLS[len(shape)], kernel_size=window, stride=strides, padding=padding)
    assert_alike(ours(pool, x), theirs(pytorch, x, **LAYOUT), dtype)


@every_pool
@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with padding", "without"])
def test_avg_pool(shape, window, strides, padding, count_include_pad, dtype):
    x = normal(shape, dtype)
    same_words = {"padding": padding, "count_include_pad": count_include_pad}
    pool = partial(F.avg_pool, window=window, strides=strides, **same_words)
    pytorch = partial(AVG_POOLS[len(shape)], kernel_size=window, stride=strides, **same_words)
    assert_alike(ours(pool, x), theirs(pytorch, x, **LAYOUT), dtype)


# Batch normalisation

NORM_SHAPES = [(6, 3), (2, 5, 4), (2, 3, 5, 2), (2, 2, 3, 2, 1)]


def norm_arguments(shape, dtype):
    x, scale, bias, mean, var = 2 + 3 * normal(shape, dtype), *(normal(shape[-1:], dtype, n) for n in range(1, 5))
    return x, scale, bias, mean, np.abs(var) + dtype(0.5)


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
@pytest.mark.parametrize("train", [True, False], ids=["training", "running"])
def test_batch_norm_output(shape, train, dtype):
    x, scale, bias, mean, var = norm_arguments(shape, dtype)

    def pytorch(x, scale, bias):
        statistics = torch.tensor(mean), torch.tensor(var)
        return T.batch_norm(x, *statistics, scale, bias, training=train, momentum=0.1, eps=1e-5)

    def norm(x, scale, bias):
        return F.batch_norm(x, scale, bias, mean, var, train=train, momentum=0.9, epsilon=1e-5)[0]

    layout = {"there": [channels_first, same, same], "back": [channels_last, channels_last, same, same]}
    assert_alike(ours(norm, x, scale, bias), theirs(pytorch, x, scale, bias, **layout), dtype)


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
def test_batch_norm_running_statistics(shape, dtype):
    """PyTorch's momentum is 1 minus ours, and its running variance takes the unbiased one, n / (n − 1) times ours."""
    x, scale, bias, mean, var = norm_arguments(shape, dtype)
    their_mean, their_var = torch.tensor(mean), torch.tensor(var)
    T.batch_norm(torch.tensor(channels_first(x)), their_mean, their_var, training=True, momentum=0.1)
    _, new_mean, new_var = F.batch_norm(x, scale, bias, mean, var, train=True, momentum=0.9)
    n = x.size / x.shape[-1]
    unbiased = 0.9 * var + (np.asarray(new_var) - 0.9 * var) * n / (n - 1)
    found = np.asarray(new_mean), unbiased.astype(dtype)
    assert_alike(found, (their_mean.numpy(), their_var.numpy()), dtype)


# Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_has_the_same_distribution(rate):
    ones, many = np.ones(100_000, np.float32), 100_000
    found = np.asarray(F.dropout(jax.random.key(0), jnp.asarray(ones), rate))
    torch.manual_seed(0)
    expected = T.dropout(torch.tensor(ones), rate).numpy()
    np.testing.assert_allclose(np.unique(found), np.unique(expected), rtol=1e-6)
    deviation = np.sqrt(rate / (1 - rate) / many)
    assert abs(found.mean() - 1) < 4 * deviation
    assert abs(expected.mean() - 1) < 4 * deviation


# Losses


def their_loss(loss, target, **options):
    """A loss of PyTorch, for each example, as a function of predictions alone."""
    target = torch.tensor(target)
    return lambda prediction: loss(prediction, target, reduction="none", **options)


def assert_losses_alike(loss, prediction, target, pytorch, dtype):
    expected = theirs(pytorch, prediction, there=[same], back=[same, same])
    assert_alike(ours(lambda p: loss(p, target), prediction), expected, dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("scale", [1, 100])
def test_cross_entropy(smoothing, scale, dtype):
    logits, labels = scale * normal((7, 5), dtype), np.random.default_rng(1).integers(0, 5, 7)
    loss = partial(losses.cross_entropy, label_smoothing=smoothing)
    soft = np.random.default_rng(2).dirichlet(np.ones(5), 7).astype(dtype)
    for target in (labels, soft):
        pytorch = their_loss(T.cross_entropy, target, label_smoothing=smoothing)
        assert_losses_alike(loss, logits, target, pytorch, dtype)


def test_cross_entropy_over_positions(dtype):
    logits, labels = normal((3, 4, 5), dtype), np.random.default_rng(1).integers(0, 5, (3, 4))

    def pytorch(logits):
        return T.cross_entropy(logits.movedim(-1, 1), torch.tensor(labels), reduction="none")

    assert_losses_alike(losses.cross_entropy, logits, labels, pytorch, dtype)


@pytest.mark.parametrize("scale", [1, 100])
def test_binary_cross_entropy(scale, dtype):
    logits = scale * normal((7, 3), dtype)
    labels = np.random.default_rng(1).uniform(size=(7, 3)).astype(dtype)
    for target in (labels, np.round(labels)):
        pytorch = their_loss(T.binary_cross_entropy_with_logits, target)
        assert_losses_alike(losses.binary_cross_entropy, logits, target, pytorch, dtype)


def test_binary_cross_entropy_equals_that_of_probabilities(dtype):
    logits = normal((7, 3), dtype)
    labels = np.random.default_rng(1).integers(0, 2, (7, 3)).astype(dtype)

    def pytorch(logits):
        return T.binary_cross_entropy(torch.sigmoid(logits), torch.tensor(labels), reduction="none")

    assert_losses_alike(losses.binary_cross_entropy, logits, labels, pytorch, dtype)


def test_mean_squared_error(dtype):
    prediction, target = normal((7, 3), dtype), normal((7, 3), dtype, 1)
    assert_losses_alike(losses.mean_squared_error, prediction, target, their_loss(T.mse_loss, target), dtype)
