"""Functions against Flax: values and gradients, float32 within 1e-5 of each tensor's largest entry."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import functional as F


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def outcome(function, *arguments):
    """All results and, for a weight of its own on each entry of the first, the gradients to every argument."""

    @jax.jit
    def both(*arguments):
        y, vjp, rest = jax.vjp(function, *arguments, has_aux=True)
        weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        return y, rest, vjp(weights)

    return both(*arguments)


def assert_alike(found, expected):
    def close(a, b):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max(initial=0))

    jax.tree.map(close, found, expected)


def alone(function):
    """A function of one result, as :func:`outcome` takes them."""
    return lambda *arguments: (function(*arguments), ())


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,)], ids=str)
def test_dense(leading):
    x, kernel, bias = normal(*leading, 7), normal(7, 3, seed=1), normal(3, seed=2)

    def flax(x, kernel, bias):
        return nn.Dense(3).apply({"params": {"kernel": kernel, "bias": bias}}, x)

    assert_alike(outcome(alone(F.dense), x, kernel, bias), outcome(alone(flax), x, kernel, bias))


CONVS = {
    "1-D SAME strides": ((2, 10, 3), (4, 3, 5), {"padding": "SAME", "strides": 3}),
    "1-D dilation": ((1, 9, 2), (3, 2, 3), {"dilation": 3}),
    "2-D": ((2, 6, 5, 3), (3, 2, 3, 4), {}),
    "2-D SAME strides": ((2, 5, 8, 2), (3, 2, 2, 3), {"padding": "SAME", "strides": 2}),
    "2-D SAME dilation": ((1, 5, 7, 2), (2, 3, 2, 3), {"padding": "SAME", "dilation": 2}),
    "2-D explicit": ((1, 5, 4, 2), (3, 2, 2, 3), {"padding": ((0, 2), (3, 1)), "strides": (1, 2)}),
    "2-D groups": ((2, 5, 5, 4), (3, 3, 2, 6), {"groups": 2, "strides": 2}),
    "2-D depthwise SAME": ((2, 5, 4, 3), (3, 3, 1, 3), {"groups": 3, "padding": "SAME"}),
    "3-D SAME strides": ((1, 4, 5, 3, 2), (3, 2, 3, 2, 3), {"padding": "SAME", "strides": (2, 1, 3)}),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), CONVS.values(), ids=CONVS)
def test_conv(shape, kernel_shape, options):
    arguments = normal(*shape), normal(*kernel_shape, seed=1), normal(kernel_shape[-1], seed=2)
    words = {"strides": "strides", "padding": "padding", "dilation": "kernel_dilation", "groups": "feature_group_count"}
    theirs = nn.Conv(
        kernel_shape[-1],
        kernel_shape[:-2],
        **{"padding": "VALID"} | {words[name]: value for name, value in options.items()},
    )

    def flax(x, kernel, bias):
        return theirs.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    assert_alike(outcome(alone(partial(F.conv, **options)), *arguments), outcome(alone(flax), *arguments))


POOLS = {
    "1-D SAME": ((2, 8, 3), (3,), (2,), "SAME"),
    "2-D": ((2, 5, 7, 2), (2, 2), (2, 2), "VALID"),
    "2-D overlapping": ((1, 6, 5, 2), (3, 2), (1, 1), "VALID"),
    "2-D explicit": ((2, 4, 5, 1), (3, 2), (1, 2), ((2, 0), (0, 1))),
    "3-D": ((2, 4, 3, 5, 2), (2, 3, 2), (2, 3, 2), "VALID"),
}
every_pool = pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLS.values(), ids=POOLS)


@every_pool
def test_max_pool(shape, window, strides, padding):
    x = normal(*shape)
    ours = partial(F.max_pool, window=window, strides=strides, padding=padding)
    flax = partial(nn.max_pool, window_shape=window, strides=strides, padding=padding)
    assert_alike(outcome(alone(ours), x), outcome(alone(flax), x))


def test_max_pool_with_ties():
    x = jnp.asarray(np.random.default_rng(3).integers(0, 2, (2, 6, 6, 2)), jnp.float32)
    flax = partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2))
    assert_alike(outcome(alone(partial(F.max_pool, window=2)), x), outcome(alone(flax), x))


@every_pool
@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with padding", "without"])
def test_avg_pool(shape, window, strides, padding, count_include_pad):
    x = normal(*shape)
    ours = partial(F.avg_pool, window=window, strides=strides, padding=padding, count_include_pad=count_include_pad)
    flax = partial(
        nn.avg_pool, window_shape=window, strides=strides, padding=padding, count_include_pad=count_include_pad
    )
    assert_alike(outcome(alone(ours), x), outcome(alone(flax), x))


def flax_batch_norm(train, mask=None):
    # Flax takes E[x²] − E[x]² by default; here the two passes that jaxdl takes.
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-5, use_fast_variance=False)

    def apply(x, scale, bias, mean, var):
        variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": mean, "var": var}}
        y, new = norm.apply(variables, x, mask=mask, mutable=["batch_stats"])
        return y, (new["batch_stats"]["mean"], new["batch_stats"]["var"])

    return apply


def our_batch_norm(train, where=None):
    def apply(x, scale, bias, mean, var):
        y, mean, var = F.batch_norm(x, scale, bias, mean, var, train=train, momentum=0.9, epsilon=1e-5, where=where)
        return y, (mean, var)

    return apply


def norm_arguments(shape):
    x, scale, bias, mean, var = 2 + 3 * normal(*shape), *(normal(shape[-1], seed=seed) for seed in range(1, 5))
    return x, scale, bias, mean, jnp.abs(var) + 0.5


@pytest.mark.parametrize("shape", [(6, 3), (2, 3, 5, 2)], ids=str)
@pytest.mark.parametrize("train", [True, False], ids=["training", "running"])
def test_batch_norm(shape, train):
    arguments = norm_arguments(shape)
    assert_alike(outcome(our_batch_norm(train), *arguments), outcome(flax_batch_norm(train), *arguments))


def test_batch_norm_under_a_mask():
    arguments = norm_arguments((3, 5, 2))
    mask = jnp.asarray(np.arange(5) < np.array([[5], [2], [0]]))[..., None]
    y, statistics, _ = outcome(our_batch_norm(True, mask), *arguments)
    expected, expected_statistics, _ = outcome(flax_batch_norm(True, mask), *arguments)
    # What stands at masked positions is nobody's concern.
    assert_alike((jnp.where(mask, y, 0), statistics), (jnp.where(mask, expected, 0), expected_statistics))


def test_running_statistics_over_many_batches():
    x, scale, bias, mean, var = norm_arguments((40, 8, 3))

    def end(norm):
        def step(statistics, batch):
            _, statistics = norm(batch, scale, bias, *statistics)
            return statistics, None

        return jax.lax.scan(step, (mean, var), x)[0]

    assert_alike(
        jax.jit(end, static_argnums=0)(our_batch_norm(True)), jax.jit(end, static_argnums=0)(flax_batch_norm(True))
    )
