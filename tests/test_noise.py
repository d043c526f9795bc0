"""Noise: its distribution, its key, and what it is on several devices."""

import os
import pathlib
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.functional.noise import _kept

KEY = jax.random.key(11)
ROOT = pathlib.Path(__file__).parent.parent
LAYERS = [
    L.dropout(0.3), L.channel_dropout(0.3), L.drop_path(0.3), L.alpha_dropout(0.3), L.gaussian_noise(0.3),
    L.gaussian_dropout(0.3),
]  # fmt: skip
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.kind)


@pytest.mark.parametrize("rate", [0.001, 0.1, 1 / 3, 0.5, 0.9])
def test_the_mask_drops_just_its_share(rate):
    """Not a multiple of 1/256, and its entries are as good as independent, also the four of one word."""
    rows = 4 * 2**16
    kept = np.asarray(jax.jit(_kept, static_argnums=(1, 2))(KEY, rate, (rows // 4, 4)))
    variance = rate * (1 - rate)
    assert abs((1 - kept).mean() - rate) < 4 * np.sqrt(variance / rows)
    lanes = (kept - (1 - rate)).astype(np.float64)
    correlation = lanes.T @ lanes / len(lanes) / variance
    np.testing.assert_allclose(correlation[~np.eye(4, dtype=bool)], 0, atol=5 / np.sqrt(len(lanes)))
    neighbours = (lanes[1:] * lanes[:-1]).mean() / variance
    assert abs(neighbours) < 5 / np.sqrt(rows)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0, 4), (4, 0), (2, 3, 5), (3, 1, 1, 2)], ids=str)
def test_the_mask_has_any_shape(shape):
    assert _kept(KEY, 0.5, shape).shape == shape


def test_a_rate_next_to_one_or_next_to_zero():
    x = jnp.ones(100)
    assert not F.dropout(KEY, x, 1 - 1e-12).any()
    np.testing.assert_array_equal(F.dropout(KEY, x, 1e-12), x)


def test_channel_dropout_takes_whole_channels_and_drop_path_whole_examples():
    x = jnp.ones((64, 3, 5, 40))
    channels = np.asarray(jax.jit(F.channel_dropout, static_argnums=2)(KEY, x, 0.25))
    np.testing.assert_array_equal(channels, np.broadcast_to(channels[:, :1, :1], channels.shape))
    np.testing.assert_allclose(np.unique(channels), [0, 1 / 0.75], rtol=1e-6)
    assert abs((channels[:, 0, 0] == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / (64 * 40))
    paths = np.asarray(jax.jit(F.drop_path, static_argnums=2)(KEY, jnp.ones((4000, 2, 3)), 0.25))
    np.testing.assert_array_equal(paths, np.broadcast_to(paths[:, :1, :1], paths.shape))
    assert abs((paths[:, 0, 0] == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = jax.random.normal(jax.random.key(1), (200_000,))
    y = F.alpha_dropout(KEY, x, rate)
    np.testing.assert_allclose((y.mean(), y.var()), (0, 1), atol=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_gaussian_noise_has_the_moments_that_it_says(rate):
    x = jnp.full(200_000, 2.0)
    added, times = F.gaussian_noise(KEY, x, 0.3), F.gaussian_dropout(KEY, x, rate)
    np.testing.assert_allclose((added.mean(), added.std()), (2, 0.3), rtol=0.01)
    np.testing.assert_allclose((times.mean(), times.std()), (2, 2 * np.sqrt(rate / (1 - rate))), rtol=0.01)


def test_a_gaussian_sample_has_its_moments_and_a_gradient_in_both():
    mean, log_variance = jnp.full(10**5, 2.0), jnp.full(10**5, np.log(9.0), jnp.float32)
    z = np.asarray(F.gaussian_sample(KEY, mean, log_variance), np.float64)
    np.testing.assert_allclose((z.mean(), z.std()), (2, 3), rtol=0.02)
    slopes = jax.grad(lambda *moments: F.gaussian_sample(KEY, *moments).sum(), (0, 1))(mean, log_variance)
    np.testing.assert_array_equal(slopes[0], 1)
    np.testing.assert_allclose(slopes[1], (z - 2) / 2, rtol=1e-4, atol=1e-4)
    assert F.gaussian_sample(KEY, mean.astype(jnp.bfloat16), log_variance).dtype == jnp.bfloat16


def test_a_sample_is_drawn_in_training_and_is_the_mean_otherwise():
    layer, moments = L.gaussian_sample(), (jnp.ones((2, 3)), jnp.zeros((2, 3)))
    assert layer.apply({}, {}, moments, train=False)[0] is moments[0]
    one, other = (layer.apply({}, {}, moments, train=True, key=jax.random.key(seed))[0] for seed in (0, 1))
    assert not np.array_equal(one, other)
    with pytest.raises(ValueError, match=r"gaussian_sample.*train=True needs a key; got None"):
        layer.apply({}, {}, moments, train=True)
    with pytest.raises(
        TypeError, match=r"gaussian_sample.*must be a tuple of arrays \(mean, log_variance\); got float"
    ):
        layer.init(KEY, moments[0])
    with pytest.raises(ValueError, match=r"must have the shape of mean, float32\[2,3\]; got float32\[2,2\]"):
        layer.init(KEY, (moments[0], moments[1][:, :2]))
    with pytest.raises(TypeError, match="log_variance must be a floating array; got int32"):
        layer.init(KEY, (moments[0], jnp.ones((2, 3), int)))


def test_a_gaussian_sample_of_ragged_moments_keeps_the_lengths():
    layer, (mean, log_variance) = L.gaussian_sample(), (jnp.ones((2, 3, 4)), jnp.zeros((2, 3, 4)))
    batch = tuple(dl.Ragged(x, jnp.array([3, 1])) for x in (mean, log_variance))
    assert layer.init(KEY, batch) == ({}, {})
    assert layer.apply({}, {}, batch, train=False)[0] is batch[0]
    z, _ = layer.apply({}, {}, batch, train=True, key=KEY)
    assert z.lengths is batch[0].lengths
    np.testing.assert_array_equal(z.x, F.gaussian_sample(KEY, mean, log_variance))
    for mixed in ((batch[0], log_variance), (mean, batch[1])):
        with pytest.raises(TypeError, match=r"must be a tuple of arrays \(mean, log_variance\).*; got \("):
            layer.init(KEY, mixed)


@pytest.mark.slow
@every_layer
def test_noise_is_a_function_of_key_and_name(layer):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 8, 4)), jnp.float32)
    run = jax.jit(partial(dl.sequential(layer, ("second", layer)).apply, {}, {}, x, train=True))
    one, again, other = (np.asarray(run(key=key)[0]) for key in (KEY, KEY, jax.random.fold_in(KEY, 1)))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    first, second = (
        np.asarray(dl.sequential((name, layer)).apply({}, {}, x, train=True, key=KEY)[0]) for name in ("a", "b")
    )
    assert not np.array_equal(first, second)


@every_layer
def test_noise_is_for_training_and_needs_a_key(layer):
    x = jnp.ones((4, 3))
    assert layer.apply({}, {}, x, train=False)[0] is x
    with pytest.raises(
        ValueError, match=rf"{layer.kind}\(.*\): train=True needs a key; got None. Did you mean key=jax"
    ):
        layer.apply({}, {}, x, train=True)


@pytest.mark.parametrize("make", [L.dropout, L.channel_dropout, L.drop_path, L.alpha_dropout, L.gaussian_dropout])
def test_rates_are_shares_below_one(make):
    x = jnp.ones((4, 3))
    assert make(0.0).apply({}, {}, x, train=True, key=KEY)[0] is x
    assert getattr(F, make.__name__)(KEY, x, 0.0) is x
    for rate in (1.0, -0.1, True, "0.5"):
        with pytest.raises(
            ValueError, match=rf"{make.__name__}\(rate=.*\): rate must be a number from 0 up to, but not"
        ):
            make(rate)
    with pytest.raises(TypeError, match=rf"{make.__name__}\(rate=0.5\): input must be a floating array; got int32"):
        make(0.5).init(KEY, jnp.ones((2, 3), int))


def test_errors_of_noise():
    with pytest.raises(
        ValueError, match=r"channel_dropout: input must have a batch and a channel axis.*got float32\[3\]"
    ):
        F.channel_dropout(KEY, jnp.ones(3), 0.5)
    with pytest.raises(ValueError, match=r"drop_path: input must have a batch axis; got float32\[\]"):
        F.drop_path(KEY, jnp.ones(()), 0.5)
    for stddev in (-1, float("inf"), float("nan"), True):
        with pytest.raises(
            ValueError, match=r"gaussian_noise\(stddev=.*\): stddev must be a finite number, 0 or greater"
        ):
            L.gaussian_noise(stddev)
    assert F.gaussian_noise(KEY, jnp.ones(3), 0).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@every_layer
def test_noise_in_half_precision(layer, dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5, 4)), jnp.float32)
    wide, _ = layer.apply({}, {}, x, train=True, key=KEY)
    narrow, _ = layer.apply({}, {}, x.astype(dtype), train=True, key=KEY)
    assert narrow.dtype == dtype
    np.testing.assert_allclose(
        narrow.astype(np.float32), wide, atol=4 * jnp.finfo(dtype).eps, rtol=4 * jnp.finfo(dtype).eps
    )


SHARDED = """
import functools, jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec
import jaxdl as dl
from jaxdl import layers as L
model = dl.sequential(L.dense(6), L.batch_norm(), L.dropout(0.3), L.channel_dropout(0.3), L.drop_path(0.3),
                      L.gaussian_noise(0.1), L.alpha_dropout(0.1), L.gaussian_dropout(0.1))
x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 5, 6)), jnp.float32)
params, state = model.init(jax.random.key(0), x)
step = jax.jit(functools.partial(model.apply, train=True))
mesh = jax.make_mesh((2,), ("data",))
assert len(jax.devices()) == 2
expected = step(params, state, x, key=jax.random.key(1))
for spec in (PartitionSpec("data"), PartitionSpec(None, None, "data")):
    found = step(params, state, jax.device_put(x, NamedSharding(mesh, spec)), key=jax.random.key(1))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), found, expected)
    np.testing.assert_array_equal(np.asarray(found[0]) == 0, np.asarray(expected[0]) == 0)
print("equal")
"""


@pytest.mark.slow
def test_two_devices_have_the_masks_and_the_statistics_of_one():
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", SHARDED], capture_output=True, text=True, cwd=ROOT, env={**os.environ, **flags}
    )
    assert result.stdout == "equal\n", result.stderr
