"""Functions of arrays against NumPy loops in float64, against their plain forms, and against finite differences."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from loops import (
    as_tuple,
    assert_close,
    avg_pool_loop,
    check_against_finite_differences,
    conv_loop,
    max_pool_loop,
    normal,
    value_and_gradients,
    weights,
    whole,
)

from jaxdl import functional as F

HALVES = [jnp.bfloat16, jnp.float16]
METHODS = ["auto", "lax"]


# Dense


@pytest.mark.parametrize("leading", [(), (5,), (2, 3), (0,), (2, 0, 3)], ids=str)
@pytest.mark.parametrize("use_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dense_is_the_product_over_the_last_axis(x64, leading, use_bias, dtype):
    x, kernel, bias = normal((*leading, 7), 1, dtype), normal((7, 3), 2, dtype), normal((3,), 3, dtype)
    arguments = (x, kernel, bias) if use_bias else (x, kernel)
    y, gradients = value_and_gradients(F.dense, *arguments)
    dy = weights(y).astype(np.float64)
    rows, drows = x.astype(np.float64).reshape(-1, 7), dy.reshape(-1, 3)
    assert_close(y, np.einsum("...i,io->...o", x, kernel, dtype=np.float64) + (bias if use_bias else 0), dtype)
    assert_close(gradients[0], dy @ kernel.T.astype(np.float64), dtype)
    assert_close(gradients[1], rows.T @ drows, dtype)
    if use_bias:
        assert_close(gradients[2], drows.sum(0), dtype)


# Convolution

CONVS = {
    "1-D": ((2, 9, 3), (3, 3, 4), {}),
    "1-D strides": ((2, 10, 3), (3, 3, 4), {"strides": 3}),
    "1-D dilation": ((3, 9, 2), (3, 2, 5), {"dilation": 3}),
    "1-D SAME strides dilation": ((1, 10, 3), (3, 3, 2), {"strides": 3, "dilation": 2, "padding": "SAME"}),
    "1-D explicit": ((2, 5, 1), (4, 1, 3), {"padding": [(3, 0)], "strides": 2}),
    "1-D groups": ((2, 7, 6), (3, 2, 9), {"groups": 3, "padding": 1}),
    "2-D": ((2, 6, 5, 3), (3, 2, 3, 4), {}),
    "2-D one tap": ((2, 3, 5, 3), (1, 1, 3, 4), {}),
    "2-D strides": ((2, 7, 8, 1), (3, 3, 1, 4), {"strides": (2, 3)}),
    "2-D stride beyond the window": ((1, 9, 7, 2), (2, 2, 2, 3), {"strides": (3, 4)}),
    "2-D SAME": ((2, 5, 6, 2), (3, 4, 2, 3), {"padding": "SAME"}),
    "2-D SAME strides": ((2, 5, 8, 2), (3, 2, 2, 3), {"padding": "SAME", "strides": (2, 3)}),
    "2-D int": ((1, 4, 3, 2), (3, 3, 2, 3), {"padding": 2, "strides": 2}),
    "2-D explicit dilation": ((2, 5, 6, 2), (3, 2, 2, 3), {"padding": ((0, 2), (3, 1)), "dilation": (1, 4)}),
    "2-D groups": ((2, 5, 5, 4), (3, 3, 2, 6), {"groups": 2, "strides": 2, "padding": "SAME"}),
    "2-D depthwise": ((2, 5, 4, 3), (3, 3, 1, 3), {"groups": 3, "dilation": (2, 1)}),
    "3-D": ((2, 4, 5, 3, 2), (2, 3, 2, 2, 3), {}),
    "3-D strides SAME": ((1, 4, 5, 3, 2), (3, 2, 3, 2, 3), {"strides": (2, 1, 3), "padding": "SAME"}),
    "3-D dilation int": ((1, 5, 3, 4, 1), (2, 2, 2, 1, 2), {"dilation": (3, 1, 2), "padding": 1}),
    "3-D explicit groups": ((1, 3, 4, 3, 4), (2, 2, 2, 2, 2), {"groups": 2, "padding": ((1, 0), (0, 1), (2, 0))}),
    "4-D": ((1, 3, 2, 3, 2, 2), (2, 2, 2, 2, 2, 3), {}),
}
every_conv = pytest.mark.parametrize(("shape", "kernel_shape", "options"), CONVS.values(), ids=CONVS)


def conv_arguments(shape, kernel_shape, dtype=np.float64):
    return normal(shape, 1, dtype), normal(kernel_shape, 2, dtype), normal(kernel_shape[-1:], 3, dtype)


@every_conv
def test_conv_and_its_gradients_equal_the_loop(x64, shape, kernel_shape, options):
    arguments = conv_arguments(shape, kernel_shape)
    y, gradients = value_and_gradients(partial(F.conv, **options), *arguments)
    expected, expected_gradients = conv_loop(*arguments, **options, dy=weights(y))
    for found, wanted in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert_close(found, wanted)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("1-D strides", jnp.bfloat16), ("2-D SAME", jnp.float16), ("2-D strides", jnp.bfloat16), ("3-D", jnp.float16)],
    ids=str,
)
def test_conv_and_its_gradients_in_half_precision(name, dtype):
    shape, kernel_shape, options = CONVS[name]
    wide = conv_arguments(shape, kernel_shape, np.float32)
    narrow = [argument.astype(dtype) for argument in wide]
    y, gradients = value_and_gradients(partial(F.conv, **options), *narrow)
    expected, expected_gradients = value_and_gradients(partial(F.conv, method="lax", **options), *wide)
    for found, wanted in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert found.dtype == dtype
        assert_close(found, wanted, dtype)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("batch", [0, 1])
def test_conv_of_a_batch_of_any_size(rank, batch):
    x, kernel = np.ones((batch, *[4] * rank, 2), np.float32), np.ones((*[2] * rank, 2, 3), np.float32)
    y, (dx, dkernel) = value_and_gradients(F.conv, x, kernel)
    plain, (plain_dx, plain_dkernel) = value_and_gradients(partial(F.conv, method="lax"), x, kernel)
    for found, wanted in ((y, plain), (dx, plain_dx), (dkernel, plain_dkernel)):
        assert found.shape == wanted.shape
        assert_close(found, wanted, np.float32)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv_vmaps_over_kernels(rank):
    x, kernels = normal((2, *[4] * rank, 2), 1, np.float32), normal((3, *[2] * rank, 2, 3), 2, np.float32)

    def outcome(x, kernel):
        y, vjp = jax.vjp(F.conv, x, kernel)
        return y, vjp(jnp.asarray(weights(y)))

    found = jax.jit(jax.vmap(outcome, in_axes=(None, 0)))(x, kernels)
    one = jax.jit(outcome)
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *[one(x, kernel) for kernel in kernels])
    jax.tree.map(partial(assert_close, dtype=np.float32), found, expected)


def test_conv_vmaps_over_inputs_and_kernels_at_once():
    x, kernels = normal((3, 2, 5, 2), 1, np.float32), normal((3, 2, 2, 4), 2, np.float32)
    found = jax.jit(jax.vmap(F.conv))(x, kernels)
    assert_close(found, np.stack(list(map(F.conv, x, kernels))), np.float32)


def test_conv_has_forward_mode_through_lax():
    x, kernel, bias = conv_arguments((1, 5, 2), (2, 2, 3), np.float32)
    plain = partial(F.conv, method="lax")
    _, tangent = jax.jvp(lambda kernel: plain(x, kernel, bias), (kernel,), (kernel,))
    assert_close(tangent, conv_loop(x, kernel, 0 * bias)[0], np.float32)


@st.composite
def conv_geometries(draw):
    rank = draw(st.integers(1, 3))
    some = partial(st.lists, min_size=rank, max_size=rank)
    size = draw(some(st.integers(1, 3)))
    strides, dilation = draw(some(st.integers(1, 3))), draw(some(st.integers(1, 2)))
    amount = st.integers(0, 2)
    padding = draw(st.sampled_from(["SAME", "VALID"]) | amount | some(st.tuples(amount, amount)))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    # "SAME" fits into any input; the rest needs as much as the window spans.
    least = 1 if padding == "SAME" else max(reach)
    spatial = draw(some(st.integers(least, least + 3)))
    batch, inside, outside = draw(st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 3)))
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    shapes = (batch, *spatial, groups * inside), (*size, inside, groups * outside)
    return *shapes, {"strides": tuple(strides), "dilation": tuple(dilation), "padding": padding, "groups": groups}


def lax_conv(x, kernel, *, strides, padding, dilation, groups):
    """XLA's own reading of the same words."""
    rank = x.ndim - 2
    letters = "DHW"[3 - rank :]
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        [(padding, padding)] * rank if isinstance(padding, int) else padding,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
    )


@pytest.mark.slow
@given(conv_geometries())
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_conv_and_its_gradients_equal_lax_whatever_the_geometry(geometry):
    shape, kernel_shape, options = geometry
    x, kernel = normal(shape, 1, np.float32), normal(kernel_shape, 2, np.float32)
    y, gradients = value_and_gradients(partial(F.conv, **options), x, kernel)
    plain, plain_gradients = value_and_gradients(partial(lax_conv, **options), x, kernel)
    for found, wanted in zip((y, *gradients), (plain, *plain_gradients), strict=True):
        assert_close(found, wanted, np.float32)


@given(conv_geometries())
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_conv_has_the_shape_that_lax_has(geometry):
    shape, kernel_shape, options = geometry
    arguments = (jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(kernel_shape, jnp.float32))
    expected = jax.eval_shape(partial(lax_conv, **options), *arguments)
    for method in METHODS:
        assert jax.eval_shape(partial(F.conv, method=method, **options), *arguments) == expected


# Pooling

POOLS = {
    "1-D": ((2, 7, 3), (2,), None, "VALID"),
    "1-D fits": ((1, 6, 2), (3,), None, "VALID"),
    "1-D overlapping": ((2, 8, 3), (3,), 2, "VALID"),
    "1-D gaps": ((2, 9, 1), (2,), 3, "VALID"),
    "1-D int": ((2, 5, 3), (3,), 2, 1),
    "2-D": ((2, 5, 7, 2), (2, 2), None, "VALID"),
    "2-D odd window": ((2, 5, 7, 1), (2, 3), None, "VALID"),
    "2-D overlapping": ((1, 6, 5, 2), (3, 2), 1, "VALID"),
    "2-D SAME": ((2, 5, 7, 2), (2, 3), None, "SAME"),
    "2-D SAME overlapping": ((1, 4, 5, 2), (3, 3), (2, 1), "SAME"),
    "2-D explicit": ((2, 4, 5, 1), (3, 2), (1, 2), ((2, 0), (0, 1))),
    "3-D": ((2, 4, 3, 5, 2), (2, 3, 2), None, "VALID"),
    "3-D SAME": ((1, 3, 4, 3, 1), (2, 2, 3), (1, 2, 2), "SAME"),
}
every_pool = pytest.mark.parametrize(("shape", "size", "strides", "padding"), POOLS.values(), ids=POOLS)


@every_pool
def test_max_pool_equals_the_loop_and_the_first_of_equals_takes_the_gradient(shape, size, strides, padding):
    x = np.concatenate([normal(shape, 4), whole(shape, 5)]).astype(np.float32)
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=size, strides=strides, padding=padding), x)
    steps = size if strides is None else as_tuple(strides, len(size))
    expected, expected_dx = max_pool_loop(x, size, steps, padding, weights(y))
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2, 7, 3), (2,)), ((2, 5, 7, 1), (2, 3)), ((2, 4, 3, 5, 2), (2, 3, 2))],
    ids=["1-D", "2-D", "3-D"],
)
def test_max_pool_of_windows_apart_equals_lax(shape, size):
    x = np.concatenate([normal(shape, 4), whole(shape, 5)]).astype(np.float32)
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=size), x)
    plain, (plain_dx,) = value_and_gradients(partial(F.max_pool, window=size, method="lax"), x)
    np.testing.assert_array_equal(y, plain)
    np.testing.assert_array_equal(dx, plain_dx)


@pytest.mark.parametrize("method", METHODS)
def test_max_pool_gives_a_tie_to_the_first_row_by_row(method):
    x = jnp.array([[0.0, 5.0], [5.0, 5.0]]).reshape(1, 2, 2, 1)
    _, (dx,) = value_and_gradients(lambda x: F.max_pool(x, 2, method=method).sum(), x)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("method", METHODS)
def test_max_pool_padding_never_wins(method):
    x = jnp.full((1, 3, 1), -7.0)
    y = F.max_pool(x, 3, strides=1, padding="SAME", method=method)
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize("method", METHODS)
def test_max_pool_of_no_examples(method):
    x = jnp.zeros((0, 5, 5, 2))
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=2, method=method), x)
    assert y.shape == (0, 2, 2, 2)
    assert dx.shape == x.shape


def test_max_pool_vmaps():
    x = normal((3, 2, 5, 2), 1, np.float32)
    gradient = jax.grad(lambda x: jnp.sum(F.max_pool(x, 2) ** 2))
    one = jax.jit(gradient)
    assert_close(jax.jit(jax.vmap(gradient))(x), np.stack([one(example) for example in x]), np.float32)


@every_pool
@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with padding", "without"])
def test_avg_pool_equals_the_loop(x64, shape, size, strides, padding, count_include_pad):
    x = normal(shape, 5)
    pool = partial(F.avg_pool, window=size, strides=strides, padding=padding, count_include_pad=count_include_pad)
    y = jax.jit(pool)(x)
    steps = size if strides is None else as_tuple(strides, len(size))
    assert y.dtype == np.float64
    assert_close(y, avg_pool_loop(x, size, steps, padding, count_include_pad))


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 3, 4, 1), (1, 2, 3, 2, 2), (0, 4, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_global_avg_pool_is_the_mean_over_space(x64, shape, dtype):
    x = normal(shape, 6, dtype)
    y = F.global_avg_pool(x)
    assert y.dtype == dtype
    assert_close(y, x.astype(np.float64).mean(tuple(range(1, x.ndim - 1))), dtype)


def test_averages_accumulate_in_float32():
    ones = jnp.ones((1, 4096, 1), jnp.bfloat16)  # Summed up in bfloat16, the count would stop at 256.
    assert float(F.global_avg_pool(ones)[0, 0]) == 1
    assert float(F.avg_pool(ones, 4096)[0, 0, 0]) == 1


# Shape


@pytest.mark.parametrize(
    ("shape", "flat"), [((2, 3, 4), (2, 12)), ((5,), (5, 1)), ((0, 3, 2), (0, 6)), ((2, 0, 3), (2, 0))], ids=str
)
def test_flatten_joins_all_axes_but_the_first(shape, flat):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    y = F.flatten(jnp.asarray(x))
    assert y.shape == flat
    np.testing.assert_array_equal(y, x.reshape(flat))


# Batch normalisation


def batch_norm_loop(x, scale, bias, mean, var, *, momentum=0.9, epsilon=1e-5, mask=None):
    """Channel by channel; ``mask`` says which positions count."""
    y, mean, var = np.zeros(x.shape), np.array(mean, np.float64), np.array(var, np.float64)
    for c in range(x.shape[-1]):
        channel = x[..., c].astype(np.float64)
        counted = channel if mask is None else channel[np.broadcast_to(mask, channel.shape)]
        centre = counted.sum() / counted.size
        spread = ((counted - centre) ** 2).sum() / counted.size
        y[..., c] = (channel - centre) / np.sqrt(spread + epsilon) * scale[c] + bias[c]
        mean[c] = momentum * mean[c] + (1 - momentum) * centre
        var[c] = momentum * var[c] + (1 - momentum) * spread
    return y, mean, var


def norm_arguments(shape, dtype=np.float64):
    channels = shape[-1:]
    scale, bias, mean = normal(channels, 7, dtype), normal(channels, 8, dtype), normal(channels, 9, dtype)
    return 3 * normal(shape, 10, dtype) + 2, scale, bias, mean, np.abs(normal(channels, 11, dtype)) + 0.5


NORM_SHAPES = [(6, 3), (1, 2), (2, 5, 4), (2, 3, 5, 2), (2, 2, 3, 2, 1)]


@pytest.mark.parametrize("shape", NORM_SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_while_training(x64, shape, dtype):
    arguments = norm_arguments(shape, dtype)
    found = jax.jit(partial(F.batch_norm, train=True, momentum=0.8, epsilon=1e-3))(*arguments)
    expected = batch_norm_loop(*arguments, momentum=0.8, epsilon=1e-3)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == dtype
        assert_close(got, wanted, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_norm_by_running_statistics(x64, dtype):
    x, scale, bias, mean, var = norm_arguments((2, 5, 4), dtype)
    y, new_mean, new_var = F.batch_norm(x, scale, bias, mean, var, train=False)
    wide = x.astype(np.float64)
    assert_close(y, (wide - mean) / np.sqrt(var.astype(np.float64) + 1e-5) * scale + bias, dtype)
    np.testing.assert_array_equal(new_mean, mean)
    np.testing.assert_array_equal(new_var, var)


@pytest.mark.parametrize(("use_scale", "use_bias"), itertools.product([True, False], repeat=2))
def test_batch_norm_without_scale_or_bias(x64, use_scale, use_bias):
    x, scale, bias, mean, var = norm_arguments((6, 3))
    y, *_ = F.batch_norm(x, scale if use_scale else None, bias if use_bias else None, mean, var, train=True)
    expected, *_ = batch_norm_loop(x, scale if use_scale else np.ones(3), bias if use_bias else np.zeros(3), mean, var)
    assert_close(y, expected)


MASK = np.arange(5) < np.array([[5], [2], [0]])


def masked_norm(x, scale, bias, mean, var):
    return F.batch_norm(x, scale, bias, mean, var, train=True, where=jnp.asarray(MASK[..., None]))


def test_batch_norm_counts_only_what_the_mask_keeps(x64):
    arguments = norm_arguments((3, 5, 2))
    (y, *statistics), (wanted, *wanted_statistics) = masked_norm(*arguments), batch_norm_loop(*arguments, mask=MASK)
    assert_close(y[MASK], wanted[MASK])
    for got, want in zip(statistics, wanted_statistics, strict=True):
        assert_close(got, want)


@pytest.mark.parametrize("padding", [1e6, np.nan, np.inf], ids=str)
def test_batch_norm_heeds_no_masked_value(x64, padding):
    x, *rest = norm_arguments((3, 5, 2))
    other = np.where(MASK[..., None], x, padding)
    y, *statistics = masked_norm(x, *rest)
    y_other, *statistics_other = masked_norm(other, *rest)
    np.testing.assert_array_equal(y[MASK], y_other[MASK])
    np.testing.assert_array_equal(statistics, statistics_other)


def test_batch_norm_passes_no_gradient_through_the_mask(x64):
    x, *rest = norm_arguments((3, 5, 2))
    real = np.asarray(MASK[..., None])
    _, (dx,) = value_and_gradients(lambda x: jnp.where(real, masked_norm(x, *rest)[0], 0), x)
    assert np.abs(dx[MASK]).min() > 0
    np.testing.assert_array_equal(dx[~MASK], 0)


def test_batch_norm_leaves_the_statistics_alone_when_nothing_counts():
    x, scale, bias, mean, var = norm_arguments((3, 5, 2), np.float32)
    train = jax.jit(partial(F.batch_norm, train=True))
    y, *statistics = train(x, scale, bias, mean, var, where=np.zeros((3, 5, 1), bool))
    np.testing.assert_array_equal(statistics, [mean, var])
    assert np.isfinite(y).all()
    y, *statistics = train(x[:0], scale, bias, mean, var)
    np.testing.assert_array_equal(statistics, [mean, var])
    assert y.shape == (0, 5, 2)


def test_batch_norm_of_an_empty_batch_has_zero_gradients():
    x, scale, bias, mean, var = norm_arguments((0, 5, 2), np.float32)
    _, gradients = value_and_gradients(lambda *some: F.batch_norm(*some, mean, var, train=True)[0], x, scale, bias)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


def test_batch_norm_takes_no_gradient_from_running_statistics():
    x, *rest = norm_arguments((6, 3), np.float32)
    _, (dx,) = value_and_gradients(lambda x: jnp.stack(F.batch_norm(x, *rest, train=True)[1:]), x)
    np.testing.assert_array_equal(dx, 0)


def test_batch_norm_bears_a_large_mean():
    x = 1e4 + normal((64, 2), 12, np.float32)
    y, *_ = F.batch_norm(x, None, None, jnp.zeros(2), jnp.ones(2), train=True)
    np.testing.assert_allclose(np.std(y, axis=0), 1, rtol=1e-4)


# Dropout

KEY = jax.random.key(5)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(rate):
    x = normal((40_000,), 13, np.float32)
    y = np.asarray(F.dropout(KEY, x, rate))
    dropped = y == 0
    assert abs(dropped.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / x.size)
    np.testing.assert_allclose(y[~dropped], x[~dropped] / (1 - rate), rtol=1e-6)


def test_dropout_is_a_function_of_its_key():
    x = jnp.ones((50, 3))
    y = F.dropout(KEY, x, 0.5)
    np.testing.assert_array_equal(y, F.dropout(KEY, x, 0.5))
    np.testing.assert_array_equal(y, F.dropout(KEY, 3 * x, 0.5) / 3)
    assert not np.array_equal(y, F.dropout(jax.random.key(6), x, 0.5))


def test_dropout_keeps_each_expectation():
    x = jnp.array([1.0, -2.0, 5.0])
    many = jax.vmap(lambda key: F.dropout(key, x, 0.3))(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(many.mean(0), x, rtol=0.03)


def test_dropout_of_rate_zero_is_the_identity():
    x = normal((5, 3), 14, np.float32)
    assert F.dropout(KEY, x, 0.0) is x


def test_dropout_passes_the_gradient_where_it_passes_the_value():
    x = jnp.ones((50, 3))
    dx = jax.grad(lambda x: F.dropout(KEY, x, 0.25).sum())(x)
    np.testing.assert_array_equal(dx, F.dropout(KEY, x, 0.25))


# Every function


def spaced(shape):
    """Values far enough apart that a finite step makes no other the largest."""
    return np.random.default_rng(15).permutation(np.prod(shape)).reshape(shape) * 1.0


SMOOTH = {
    "dense": (F.dense, normal((2, 3, 4)), normal((4, 2)), normal((2,))),
    "conv 1-D": (partial(F.conv, strides=2, dilation=2, padding=1), *conv_arguments((2, 6, 2), (2, 2, 3))),
    "conv 2-D groups": (partial(F.conv, groups=2), *conv_arguments((1, 3, 4, 4), (2, 2, 2, 2))),
    "conv 3-D": (F.conv, *conv_arguments((1, 3, 2, 3, 2), (2, 2, 2, 2, 1))),
    "max_pool apart": (partial(F.max_pool, window=2), spaced((2, 5, 4, 1))),
    "max_pool overlapping": (partial(F.max_pool, window=3, strides=1, padding="SAME"), spaced((1, 4, 4, 2))),
    "avg_pool": (partial(F.avg_pool, window=2), normal((2, 5, 4, 1))),
    "avg_pool without padding": (
        partial(F.avg_pool, window=3, strides=2, padding=1, count_include_pad=False),
        normal((1, 5, 2)),
    ),
    "global_avg_pool": (F.global_avg_pool, normal((2, 3, 4, 2))),
    "flatten": (F.flatten, normal((2, 3, 2))),
    "batch_norm training": (lambda *some: F.batch_norm(*some, train=True)[0], *norm_arguments((4, 2, 3))),
    "batch_norm masked": (
        lambda *some: jnp.where(MASK[..., None], masked_norm(*some)[0], 0),
        *norm_arguments((3, 5, 2)),
    ),
    "batch_norm running": (lambda *some: F.batch_norm(*some, train=False)[0], *norm_arguments((4, 3))),
    "dropout": (lambda x: F.dropout(KEY, x, 0.5), normal((5, 3))),
}


@pytest.mark.slow
@pytest.mark.parametrize(("function", "arguments"), [(f, a) for f, *a in SMOOTH.values()], ids=SMOOTH)
def test_gradients_equal_finite_differences(x64, function, arguments):
    check_against_finite_differences(function, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("function", "arguments"), [(f, a) for f, *a in SMOOTH.values()], ids=SMOOTH)
def test_half_precision_in_half_precision_out(function, arguments):
    for dtype in HALVES:
        narrow = [(argument / 4).astype(dtype) for argument in arguments]
        exact = [argument.astype(np.float32) for argument in narrow]
        y, expected = jax.jit(lambda *both: [function(*some) for some in both])(narrow, exact)
        assert y.dtype == dtype
        assert_close(y, expected, dtype)


# Errors

X1, X2, K2 = jnp.ones((2, 5, 3)), jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 4))
INTS = jnp.ones((2, 5, 3), int)
ERRORS = [
    (
        lambda: F.dense(INTS, jnp.ones((3, 2))),
        TypeError,
        "dense: input must be a floating array; got int32[2,5,3]. Did you mean input.astype(jnp.float32)?",
    ),
    (lambda: F.dense(np.array([["a"]]), jnp.ones((1, 2))), TypeError, "input must be a floating array; got <U1[1,1]"),
    (lambda: F.dense(INTS, jnp.ones((3, 2))), TypeError, "Did you mean input.astype(jnp.float32)?"),
    (lambda: F.dense([1.0], jnp.ones((3, 2))), TypeError, "dense: input must be an array; got [1.0]"),
    (lambda: F.dense(jnp.ones(()), jnp.ones((3, 2))), ValueError, "input must have at least one axis, (…, features)"),
    (
        lambda: F.dense(jnp.ones((2, 4)), jnp.ones((3, 2))),
        ValueError,
        "dense: kernel must have shape (4, features) for input float32[2,4]; got float32[3,2]",
    ),
    (lambda: F.dense(X1, jnp.ones((3, 2)), jnp.ones(3)), ValueError, "bias must have shape (2,); got float32[3]"),
    (lambda: F.conv(INTS, K2), TypeError, "conv: input must be a floating array"),
    (lambda: F.conv(jnp.ones((2, 784)), K2), ValueError, "Did you mean x.reshape(2, 28, 28, 1)?"),
    (lambda: F.conv(jnp.ones((2, 7)), K2), ValueError, "Did you mean x[..., None]?"),
    (
        lambda: F.conv(X1, K2),
        ValueError,
        "conv: kernel must have shape (*window, in / groups, out) with 1 spatial axes for input float32[2,5,3]; "
        "got float32[3,3,3,4]",
    ),
    (
        lambda: F.conv(X2[..., :2], K2),
        ValueError,
        "input must have 3 channels for kernel float32[3,3,3,4], groups=1; got float32[2,5,5,2]",
    ),
    (lambda: F.conv(X2, K2, groups=2), ValueError, "the input's channels must be a multiple of groups=2"),
    (lambda: F.conv(X2, K2[:, :, :1], groups=3), ValueError, "output channels must be a multiple of groups=3"),
    (lambda: F.conv(X2, K2, groups=0), ValueError, "groups must be a positive int; got 0"),
    (lambda: F.conv(X2, K2, jnp.ones(3)), ValueError, "bias must have shape (4,); got float32[3]"),
    (lambda: F.conv(X2, K2, method="fast"), ValueError, 'method must be "auto" or "lax"; got \'fast\''),
    (lambda: F.conv(X2, K2, strides=(1, 2, 3)), ValueError, "strides must be an int or 2 ints, one for each"),
    (lambda: F.conv(X2, K2, strides=0), ValueError, "strides must be a positive int; got 0"),
    (lambda: F.conv(X2, K2, dilation=(1, True)), ValueError, "dilation must be a positive int; got True"),
    (
        lambda: F.conv(X2, K2, padding="same"),
        ValueError,
        'must be "VALID", "SAME", "CAUSAL", an int of 0 or more, or 2',
    ),
    (lambda: F.conv(X2, K2, padding=-1), ValueError, "of such ints; got -1"),
    (lambda: F.conv(X2, K2, padding=(1, 1)), ValueError, "or 2 pairs (low, high) of such ints; got (1, 1)"),
    (
        lambda: F.conv(X2, K2, dilation=3),
        ValueError,
        "the window, which spans (7, 7) positions, must fit into the input; got spatial sizes (5, 5)",
    ),
    (lambda: F.conv(X2, K2, dilation=3), ValueError, 'Did you mean padding="SAME"?'),
    (lambda: F.max_pool(INTS, 2), TypeError, "max_pool: input must be a floating array"),
    (lambda: F.max_pool(X1, (2, 2)), ValueError, "max_pool: window must be an int or 1 ints"),
    (lambda: F.max_pool(X1, 2, method="fast"), ValueError, 'max_pool: method must be "auto" or "lax"; got'),
    (lambda: F.avg_pool(X1, 6), ValueError, "avg_pool: the window, which spans (6,) positions, must fit"),
    (
        lambda: F.global_avg_pool(X1[0]),
        ValueError,
        "global_avg_pool: input must have a channel axis last and 1 or more",
    ),
    (lambda: F.flatten(jnp.ones(())), ValueError, "flatten: input must have a batch axis; got float32[]"),
    (
        lambda: F.batch_norm(jnp.ones(3), None, None, jnp.ones(3), jnp.ones(3), train=True),
        ValueError,
        "batch_norm: input must have a batch axis and a channel axis, (batch, …, channels); got float32[3]",
    ),
    (lambda: F.dropout(KEY, INTS, 0.5), TypeError, "dropout: input must be a floating array"),
    (lambda: F.dropout(KEY, X1, 1.0), ValueError, "rate must be a number from 0 up to, but not including, 1; got 1.0"),
    (lambda: F.dropout(KEY, X1, True), ValueError, "not including, 1; got True"),
]


@pytest.mark.parametrize(("call", "kind", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_say_what_is_needed(call, kind, text):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value)


def test_an_axis_of_no_positions():
    assert F.max_pool(jnp.ones((1, 0, 1)), 2).shape == (1, 0, 1)
    gradient = jax.grad(lambda kernel: F.conv(jnp.ones((1, 0, 1)), kernel, strides=2).sum())(jnp.ones((2, 1, 1)))
    assert not gradient.any()


def test_pooling_refuses_padding_that_a_window_could_lie_in():
    with pytest.raises(ValueError, match=r"max_pool: padding must be less than the window \(2,\)"):
        F.max_pool(jnp.ones((1, 4, 1)), 2, padding=2)


def test_batch_norm_refuses_vectors_of_other_lengths():
    x, ones = jnp.ones((2, 3)), jnp.ones(3)
    with pytest.raises(ValueError, match=r"batch_norm: scale must have shape \(3,\) for input float32\[2,3\]; got"):
        F.batch_norm(x, jnp.ones(1), None, ones, ones, train=True)
    with pytest.raises(ValueError, match="where must have 2 axes, the last of size 1"):
        F.batch_norm(x, None, None, ones, ones, train=True, where=jnp.ones(2, bool))


@pytest.mark.slow
def test_batch_norm_lets_nothing_of_a_masked_position_into_a_gradient():
    x, ones = jnp.array([[1.0], [3.0], [jnp.nan]]), jnp.ones(1)
    keep = jnp.array([[True], [True], [False]])

    def total(x, scale):
        return jnp.where(keep, F.batch_norm(x, scale, None, ones, ones, train=True, where=keep)[0], 0).sum()

    assert all(jnp.isfinite(leaf).all() for leaf in jax.grad(total, (0, 1))(x, ones))
