"""Pooling and resizing against NumPy loops in float64."""

import itertools
import math
import tracemalloc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import (
    as_tuple,
    assert_close,
    avg_pool_loop,
    check_against_finite_differences,
    max_pool_loop,
    normal,
    value_and_gradients,
    weights,
    whole,
)

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L

HALVES = [jnp.bfloat16, jnp.float16]
METHODS = ["auto", "lax"]


def with_ties(shape):
    """Numbers that differ, then small whole ones, many of which are equal: float32 holds both."""
    return np.concatenate([normal(shape, 4), whole(shape, 5)]).astype(np.float32)


# Windows with gaps, that overlap

POOLS = {
    "1-D": ((2, 8, 2), (3,), {"dilation": 2}),
    "1-D padded": ((1, 7, 3), (2,), {"dilation": 3, "strides": 1, "padding": 2}),
    "2-D": ((1, 6, 7, 2), (2, 3), {"dilation": (3, 2), "strides": (2, 1), "padding": ((1, 0), (1, 2))}),
    "2-D SAME": ((1, 5, 4, 1), (3, 2), {"dilation": (1, 2), "strides": 1, "padding": "SAME"}),
    "3-D": ((1, 3, 4, 3, 1), (2, 2, 1), {"dilation": (2, 1, 1), "strides": 1}),
    "1-D causal": ((2, 6, 1), (3,), {"strides": 2, "padding": "CAUSAL"}),
}
every_pool = pytest.mark.parametrize(("shape", "size", "options"), POOLS.values(), ids=POOLS)


def for_loop(size, options):
    strides, padding = options.get("strides"), options.get("padding", "VALID")
    strides = size if strides is None else as_tuple(strides, len(size))
    # To the loop, causal padding is a pair as any other.
    padding = [(size[0] - 1, 0)] if padding == "CAUSAL" else padding
    return {"strides": strides, "padding": padding, "dilation": options.get("dilation", 1)}


@every_pool
@pytest.mark.parametrize("method", METHODS)
def test_max_pool_equals_the_loop_and_the_first_of_equals_takes_the_gradient(shape, size, options, method):
    x = with_ties(shape)
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=size, method=method, **options), x)
    expected, expected_dx = max_pool_loop(x, size, **for_loop(size, options), dy=weights(y))
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)


@every_pool
@pytest.mark.parametrize("count_include_pad", [True, False], ids=["with padding", "without"])
def test_avg_pool_equals_the_loop(x64, shape, size, options, count_include_pad):
    x = normal(shape, 5)
    pool = partial(F.avg_pool, window=size, count_include_pad=count_include_pad, **options)
    y, (dx,) = value_and_gradients(pool, x)
    assert_close(y, avg_pool_loop(x, size, **for_loop(size, options), count_include_pad=count_include_pad))
    # It is linear: what flows back to an element is what that element alone would have brought.
    some = np.arange(0, x.size, max(x.size // 7, 1))
    made = jax.jit(jax.vmap(pool))(np.eye(x.size)[some].reshape(len(some), *shape))
    assert_close(dx.ravel()[some], np.tensordot(made, weights(y), x.ndim))


def test_avg_pool_with_gaps_against_finite_differences(x64):
    check_against_finite_differences(partial(F.avg_pool, window=2, dilation=2, strides=1, padding=1), normal((1, 5, 2)))


def test_a_large_window_goes_through_lax_and_ties_stay_with_the_first():
    x = whole((1, 9, 11, 1), 5).astype(np.float32)
    pool = partial(F.max_pool, window=9, strides=1)
    assert "custom_vjp" not in str(jax.make_jaxpr(pool)(x))
    y, (dx,) = value_and_gradients(pool, x)
    expected, expected_dx = max_pool_loop(x, (9, 9), (1, 1), "VALID", weights(y))
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)


LARGE = {
    "max_pool apart": (partial(F.max_pool, window=32), (1, 64, 70, 1)),
    "max_pool with gaps": (partial(F.max_pool, window=9, strides=2, dilation=2), (1, 21, 19, 1)),
    "max_pool with gaps, lax": (partial(F.max_pool, window=9, dilation=2, method="lax"), (1, 21, 19, 1)),
    "adaptive_max_pool": (partial(F.adaptive_max_pool, output_size=1), (2, 48, 48, 1)),
    "patches": (partial(F.patches, window=31), (1, 40, 33, 1)),
    "patches apart": (partial(F.patches, window=16, strides=16), (1, 40, 33, 2)),
    "fold": (partial(F.fold, window=(12, 13), spatial=(13, 15)), (1, 2, 3, 12 * 13)),
}


@pytest.mark.parametrize(("function", "shape"), LARGE.values(), ids=LARGE)
def test_programs_do_not_grow_with_the_window(function, shape):
    program = jax.make_jaxpr(jax.grad(lambda x: jnp.sum(function(x) ** 2)))(jnp.ones(shape))
    assert str(program).count("\n") < 250


@pytest.mark.parametrize(
    ("shape", "size", "options"),
    [
        ((2, 20, 2), (9,), {}),
        ((1, 19, 10, 2), (9, 9), {}),
        ((1, 9, 10, 11, 1), (4, 5, 5), {}),
        ((1, 18, 17, 1), (9, 8), {"dilation": 2, "strides": 1}),
        ((1, 13, 20, 1), (5, 13), {"dilation": (3, 1), "strides": (2, 3), "padding": ((2, 0), (3, 4))}),
        ((0, 18, 9, 1), (9, 9), {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", METHODS)
def test_large_windows_equal_the_loop_and_the_first_of_equals_takes_the_gradient(shape, size, options, method):
    x = with_ties(shape)
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=size, method=method, **options), x)
    expected, expected_dx = max_pool_loop(x, size, **for_loop(size, options), dy=weights(y))
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)


def test_a_tie_of_large_windows_that_are_nan_stays_within_them():
    x = jnp.full((1, 18, 9, 1), jnp.nan)
    y, dx = jax.value_and_grad(lambda x: F.max_pool(x, 9)[0, 0, 0, 0])(x)
    assert np.isnan(y)
    assert (float(jnp.sum(dx)), float(jnp.abs(dx[:, 9:]).sum())) == (1, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "window", "options"),
    [
        ((2, 150, 3), 140, {"strides": 3}),
        ((1, 30, 26, 2), (12, 11), {"strides": (12, 11)}),
        ((1, 20, 13, 2), (13, 11), {"dilation": (1, 2), "padding": "SAME", "strides": (3, 2)}),
    ],
    ids=str,
)
def test_patches_of_large_windows_are_the_slices_and_fold_is_the_transpose(monkeypatch, shape, window, options):
    x = normal(shape, 3, np.float32)
    large = partial(F.patches, window=window, **options)
    y, (dx,) = value_and_gradients(large, x)
    folded = F.fold(jnp.asarray(weights(y), jnp.float32), window, shape[1:-1], **options)
    monkeypatch.setattr("jaxdl.functional.window.SLICES_LIMIT", 1000)
    expected, (expected_dx,) = value_and_gradients(large, x)
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)
    assert_close(folded, expected_dx, np.float32)


@pytest.mark.parametrize("shape", [(1, 0, 20, 1), (0, 20, 20, 1)], ids=str)
@pytest.mark.parametrize("options", [{}, {"dilation": 2, "strides": 1}], ids=["apart", "with gaps"])
def test_large_windows_over_nothing(shape, options):
    for function, channels in ((F.max_pool, 1), (F.patches, 144)):
        window = {"window": (9, 8) if function is F.max_pool else (9, 16), "strides": (9, 16), **options}
        y, (dx,) = value_and_gradients(partial(function, **window), jnp.ones(shape).repeat(3, 1).repeat(3, 2))
        assert (len(y.shape), y.shape[-1], y.size, dx.size) == (4, channels, 0, 0)


def test_the_check_of_padding_does_not_look_at_each_element_of_each_window():
    x = jax.ShapeDtypeStruct((1, 100_000, 1), jnp.float32)
    tracemalloc.start()
    for padding in ("VALID", "SAME"):
        jax.eval_shape(partial(F.avg_pool, window=1000, strides=1, padding=padding), x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # 100,000 positions × 1,000 elements are 800 MB


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), *[st.integers(0, 7)] * 2)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_padding_is_refused_just_where_a_window_sees_nothing(n, size, stride, spread, low, high):
    first = np.arange(0, n + low + high - (size - 1) * spread, stride) - low
    seen = first[:, None] + np.arange(size) * spread
    sees = ((seen >= 0) & (seen < n)).any(1).all() and len(first) > 0
    options = {"strides": stride, "padding": ((low, high),), "dilation": spread}
    try:
        jax.eval_shape(partial(F.avg_pool, window=size, **options), jax.ShapeDtypeStruct((1, n, 1), jnp.float32))
    except ValueError:
        assert not sees
    else:
        assert sees


@pytest.mark.parametrize(("dilation", "expected"), [(1, "select_and_scatter"), (2, "stablehlo.select")])
def test_the_gradient_of_max_pool_is_there_on_other_platforms(dilation, expected):
    gradient = jax.jit(jax.grad(lambda x: F.max_pool(x, 3, strides=1, dilation=dilation).sum()))
    text = gradient.trace(jnp.ones((1, 7, 2))).lower(lowering_platforms=("cuda",)).as_text()
    assert expected in text


def test_max_pool_with_gaps_has_forward_mode_through_lax():
    x = jnp.asarray(with_ties((1, 6, 2)))
    pool = partial(F.max_pool, window=2, dilation=2, method="lax")
    _, tangent = jax.jvp(pool, (x,), (jnp.ones_like(x),))
    np.testing.assert_array_equal(tangent, jnp.ones_like(tangent))


@st.composite
def pool_geometries(draw):
    rank = draw(st.integers(1, 3))
    some = partial(st.lists, min_size=rank, max_size=rank)
    size, strides, dilation = (tuple(draw(some(st.integers(1, 3)))) for _ in range(3))
    least = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    spatial = [n + draw(st.integers(0, 2)) for n in least]
    padding = draw(st.sampled_from(["VALID", "SAME"]) if dilation == (1,) * rank else st.just("VALID"))
    options = {"strides": strides, "dilation": dilation, "padding": padding}
    return (draw(st.integers(0, 2)), *spatial, draw(st.integers(1, 2))), size, options


def agree_with_the_loop(geometry):
    shape, size, options = geometry
    x = whole(shape, 6).astype(np.float32)
    y, (dx,) = value_and_gradients(partial(F.max_pool, window=size, **options), x)
    expected, expected_dx = max_pool_loop(x, size, **for_loop(size, options), dy=weights(y))
    np.testing.assert_array_equal(y, expected)
    assert_close(dx, expected_dx, np.float32)


@given(pool_geometries())
@settings(max_examples=8, deadline=None, derandomize=True, database=None)
def test_max_pool_equals_the_loop_whatever_the_geometry(geometry):
    agree_with_the_loop(geometry)


@pytest.mark.slow
@given(pool_geometries())
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_max_pool_equals_the_loop_in_many_geometries(geometry):
    agree_with_the_loop(geometry)


# Global and adaptive

ADAPTIVE = {
    "1-D": ((2, 7, 2), 3),
    "1-D even": ((1, 6, 2), 3),
    "1-D larger": ((1, 3, 1), 5),
    "2-D": ((1, 5, 7, 2), (2, 4)),
    "3-D": ((1, 3, 4, 5, 1), (2, 4, 3)),
}


def adaptive_loop(x, output_size, dy):
    """Mean and largest of each window, and what flows back to either; the first of equals takes it."""
    rank = x.ndim - 2
    output = as_tuple(output_size, rank)
    mean, largest = (np.zeros((x.shape[0], *output, x.shape[-1])) for _ in range(2))
    back, back_largest = np.zeros(x.shape), np.zeros(x.shape)
    for b, c, position in itertools.product(range(x.shape[0]), range(x.shape[-1]), np.ndindex(*output)):
        window = tuple(
            slice(math.floor(i * n / m), math.ceil((i + 1) * n / m))
            for i, n, m in zip(position, x.shape[1:-1], output, strict=True)
        )
        taken, at = x[(b, *window, c)].astype(np.float64), (b, *position, c)
        first = np.unravel_index(taken.argmax(), taken.shape)
        mean[at], largest[at] = taken.mean(), taken[first]
        back[(b, *window, c)] += dy[at] / taken.size
        back_largest[(b, *window, c)][first] += dy[at]
    return (mean, back), (largest, back_largest)


@pytest.mark.parametrize(("shape", "output_size"), ADAPTIVE.values(), ids=ADAPTIVE)
def test_adaptive_pools_equal_the_loop(shape, output_size):
    x = with_ties(shape)
    y, (dx,) = value_and_gradients(partial(F.adaptive_avg_pool, output_size=output_size), x)
    top, (dtop,) = value_and_gradients(partial(F.adaptive_max_pool, output_size=output_size), x)
    (mean, back), (largest, back_largest) = adaptive_loop(x, output_size, weights(y))
    for found, expected in ((y, mean), (dx, back), (top, largest), (dtop, back_largest)):
        assert_close(found, expected, np.float32)


@pytest.mark.parametrize("shape", [(5, 2), (3, 4, 1), (2, 3, 2, 2)], ids=str)
def test_global_max_pool_gives_a_tie_to_the_first(shape):
    x = with_ties((1, *shape))
    y, (dx,) = value_and_gradients(F.global_max_pool, x)
    dy = weights(y).reshape(2, *(1,) * (len(shape) - 1), shape[-1])
    _, (expected, expected_dx) = adaptive_loop(x, 1, dy)
    np.testing.assert_array_equal(y, expected.reshape(y.shape))
    assert_close(dx, expected_dx, np.float32)


def test_global_max_pool_of_what_is_masked_is_not_a_number_to_add_up():
    x = jnp.array([[-jnp.inf, -jnp.inf], [3.0, -jnp.inf]]).reshape(1, 2, 2)
    np.testing.assert_array_equal(F.global_max_pool(x), [[3, -np.inf]])


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 5, 2), (3, 5, 4, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_global_pools_of_a_ragged_batch_are_those_of_each_sequence_alone(shape, dtype):
    x, lengths = jnp.asarray(with_ties(shape)[:3] - 5, dtype), (3, 0, 5)
    batch = dl.Ragged(x, jnp.array(lengths))
    padded = dl.Ragged(jnp.where(batch.mask(x.ndim), x, jnp.nan), batch.lengths)
    for layer, function in ((L.global_avg_pool(), F.global_avg_pool), (L.global_max_pool(), F.global_max_pool)):
        y, (dx,) = value_and_gradients(
            lambda x, layer=layer: layer.apply({}, {}, dl.Ragged(x, batch.lengths), train=True)[0], padded.x
        )
        assert (y.shape, y.dtype) == ((3, 2), dtype)
        factors = jnp.asarray(weights(y), dtype)
        for row, n in enumerate(lengths):
            if not n:
                assert not y[row].any() and not dx[row].any()
                continue
            alone, back = jax.vjp(function, x[row : row + 1, :n])
            assert_close(y[row], alone[0], dtype)
            assert_close(dx[row : row + 1, :n], back(factors[row : row + 1])[0], dtype)
            assert not dx[row, n:].any()


# Resizing


def keys(distance):
    """Keys' cubic kernel with a = −½."""
    d = np.abs(distance)
    near, far = ((1.5 * d - 2.5) * d) * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0))


KERNELS = {
    "nearest": lambda d: (d <= 0.5) & (d > -0.5),
    "linear": lambda d: np.maximum(1 - np.abs(d), 0),
    "cubic": keys,
}


def interpolation_matrix(n, factor, kernel):
    """Row by row, what each element of the result takes from the input; rows add up to 1."""
    at = (np.arange(n * factor) + 0.5) / factor - 0.5
    matrix = kernel(at[:, None] - np.arange(n)).astype(np.float64)
    return matrix / matrix.sum(1, keepdims=True)


@pytest.mark.parametrize(("shape", "factor"), [((2, 3, 2), 3), ((1, 4, 3, 2), (2, 3)), ((1, 2, 3, 2, 1), 2)], ids=str)
@pytest.mark.parametrize("interpolation", KERNELS)
def test_upsample_equals_the_formula(x64, shape, factor, interpolation):
    x = normal(shape, 7)
    y, (dx,) = value_and_gradients(partial(F.upsample, factor=factor, interpolation=interpolation), x)
    expected, back = x, weights(y)
    for axis, f in enumerate(as_tuple(factor, len(shape) - 2), start=1):
        matrix = interpolation_matrix(shape[axis], f, KERNELS[interpolation])
        expected = np.moveaxis(np.tensordot(matrix, expected, (1, axis)), 0, axis)
        back = np.moveaxis(np.tensordot(matrix.T, back, (1, axis)), 0, axis)
    assert_close(y, expected)
    assert_close(dx, back)


def test_upsample_nearest_is_that_of_jax():
    x = normal((2, 3, 5, 2), 7, np.float32)
    np.testing.assert_array_equal(F.upsample(x, (3, 4)), jax.image.resize(x, (2, 9, 20, 2), "nearest"))


SHUFFLES = {
    "1-D": ((2, 3, 6), (3,)),
    "2-D": ((1, 2, 3, 12), (2, 3)),
    "3-D": ((2, 1, 2, 2, 8), (2, 1, 2)),
    "4-D": ((1, 2, 1, 2, 1, 32), (2, 2, 2, 2)),
}


@pytest.mark.parametrize(("shape", "factor"), SHUFFLES.values(), ids=SHUFFLES)
def test_pixel_shuffle_equals_the_loop_and_unshuffle_inverts_it(shape, factor):
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    block, channels = math.prod(factor), shape[-1] // math.prod(factor)
    spatial = [n * f for n, f in zip(shape[1:-1], factor, strict=True)]
    expected = np.zeros((shape[0], *spatial, channels))
    for b, place, c in itertools.product(range(shape[0]), np.ndindex(*spatial), range(channels)):
        position, offset = zip(*map(divmod, place, factor), strict=True)
        expected[(b, *place, c)] = x[(b, *position, c * block + np.ravel_multi_index(offset, factor))]
    y = F.pixel_shuffle(jnp.asarray(x), factor)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(F.pixel_unshuffle(y, factor), x)


# Every function

FUNCTIONS = {
    "max_pool with gaps": partial(F.max_pool, window=2, dilation=2, strides=1),
    "avg_pool with gaps": partial(F.avg_pool, window=2, dilation=2, strides=1),
    "global_max_pool": F.global_max_pool,
    "adaptive_avg_pool": partial(F.adaptive_avg_pool, output_size=3),
    "adaptive_max_pool": partial(F.adaptive_max_pool, output_size=3),
    "upsample": partial(F.upsample, factor=2),
    "upsample linear": partial(F.upsample, factor=2, interpolation="linear"),
    "upsample cubic": partial(F.upsample, factor=2, interpolation="cubic"),
    "pixel_shuffle": partial(F.pixel_shuffle, factor=2),
    "pixel_unshuffle": partial(F.pixel_unshuffle, factor=2),
}


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_half_precision_and_no_examples(function):
    wide = np.random.default_rng(8).permutation(4 * 4 * 8).reshape(1, 4, 4, 8).astype(np.float32) / 32
    expected = value_and_gradients(function, wide)
    for dtype in HALVES:
        found = value_and_gradients(function, jnp.asarray(wide, dtype))
        for narrow, exact in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert narrow.dtype == dtype
            assert_close(narrow, exact, dtype)
    none = jax.eval_shape(function, jax.ShapeDtypeStruct((0, 4, 4, 8), jnp.float32))
    assert none.shape == (0, *expected[0].shape[1:])


def test_sums_of_means_are_wide():
    ones = jnp.ones((1, 4097, 1), jnp.bfloat16)  # Summed up in bfloat16, the count would stop at 256.
    np.testing.assert_array_equal(F.adaptive_avg_pool(ones, 2).astype(jnp.float32), np.ones((1, 2, 1)))


X1, X2 = jnp.ones((1, 5, 2)), jnp.ones((1, 4, 5, 6))
ERRORS = [
    (
        lambda: F.max_pool(X1, 2, dilation=5),
        "max_pool: the window, which spans (6,) positions, must fit into the input",
    ),
    (
        lambda: F.max_pool(X1[:, :1], 2, dilation=3, padding=2),
        "max_pool: padding must be less than the window (2,), or a window sees nothing (with dilation (3,), in",
    ),
    (
        lambda: F.avg_pool(X1, 2, padding=((0, 2),), strides=1),
        "avg_pool: padding must be less than the window (2,), or",
    ),
    (lambda: F.max_pool(X1, 2, dilation=0), "dilation must be a positive int; got 0"),
    (lambda: F.global_max_pool(X1[:, :0]), "global_max_pool: every spatial axis must have at least one element; got"),
    (lambda: F.global_avg_pool(X1[:, :0]), "global_avg_pool: every spatial axis must have at least one element; got"),
    (lambda: F.global_avg_pool(X1, where=X1[0] > 0), "global_avg_pool: where must"),
    (lambda: F.global_max_pool(X1, where=X1 > 0), "global_max_pool: where must"),
    (lambda: F.adaptive_avg_pool(X1[:, :0], 2), "adaptive_avg_pool: every spatial axis must have at least one element"),
    (
        lambda: F.adaptive_max_pool(X2, (1, 2, 3)),
        "output_size must be an int or 2 ints, one for each spatial axis; got",
    ),
    (lambda: F.upsample(X1, 0), "upsample: factor must be a positive int; got 0"),
    (lambda: F.upsample(X1[0], 2), "upsample: input must have a channel axis last and 1 or more spatial axes"),
    (lambda: F.upsample(X1, 2, interpolation="bilinear"), '"nearest", "linear" or "cubic"; got \'bilinear\''),
    (
        lambda: F.pixel_shuffle(X1, 3),
        "the input's channels must be a multiple of 3, the block's size; got float32[1,5,2]",
    ),
    (lambda: F.pixel_unshuffle(X2, 2), "the spatial sizes must be multiples of (2, 2); got float32[1,4,5,6]"),
    (lambda: L.max_pool(2, dilation=0), "max_pool(window=2, dilation=0): dilation must be a positive int; got 0"),
    (lambda: L.adaptive_avg_pool(0), "output_size must be a positive int; got 0"),
    (lambda: L.upsample(0), "factor must be a positive int; got 0"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[text for _, text in ERRORS])
def test_errors_say_what_is_needed(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_integers_are_refused(function):
    with pytest.raises(TypeError, match=r"input must be a floating array; got int32\[1,4,4\].*astype"):
        function(jnp.ones((1, 4, 4), jnp.int32))
