"""Norms against NumPy loops in float64, over shapes, groups and masks; what batch norm's statistics go through."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.functional.moments import moments, normalised

KEY = jax.random.key(0)
SHARE = {"float64": 1e-8, "float32": 1e-5, "bfloat16": 3e-2, "float16": 4e-3}


def normal(shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_close(found, expected):
    """Every entry within the dtype's share of the expected tensor's largest."""
    share = SHARE[found.dtype.name]
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max(initial=0))


def group_norm_loop(x, groups, scale, bias, epsilon, mask=None):
    """Example by example, group by group; ``mask`` says which positions count, and where the result is looked at."""
    y = np.zeros(x.shape)
    size = x.shape[-1] // groups
    for b in range(x.shape[0]):
        real = np.ones(x.shape[1:-1], bool) if mask is None else mask[b]
        for first in range(0, x.shape[-1], size):
            part = x[b, ..., first : first + size].astype(np.float64)
            counted = part[real]
            if counted.size:
                centred = part - counted.mean()
                y[b, ..., first : first + size] = centred / np.sqrt(counted.var() + epsilon)
        y[b][~real] = 0
    return y * scale + bias if mask is None else (y * scale + bias) * mask[..., None]


@st.composite
def group_norms(draw):
    groups, members = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = (draw(st.integers(0, 3)), *draw(st.lists(st.integers(1, 4), min_size=0, max_size=3)), groups * members)
    dtype = draw(st.sampled_from(["float64", "float32", "bfloat16", "float16"]))
    return shape, groups, draw(st.sampled_from([1e-5, 1e-2])), draw(st.booleans()), dtype, draw(st.integers(0, 99))


@given(group_norms())
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_group_norm_equals_the_loop_whatever_the_shape_the_groups_and_the_mask(case):
    shape, groups, epsilon, masked, dtype, seed = case
    with jax.enable_x64(True):
        x = jnp.asarray(2 + 3 * normal(shape, seed), dtype)
        scale, bias = normal(shape[-1:], seed + 1), normal(shape[-1:], seed + 2)
        scale, bias = (np.asarray(jnp.asarray(vector, dtype), np.float64) for vector in (scale, bias))
        mask = np.random.default_rng(seed).uniform(size=shape[:-1]) < 0.7 if masked else None
        of_channels = len(shape) > 2 and groups == shape[-1]
        norm = F.instance_norm if of_channels else partial(F.group_norm, groups=groups)

        @jax.jit
        def normed(x, scale, bias):
            if mask is None:
                return norm(x, scale=scale, bias=bias, epsilon=epsilon)
            where = jnp.asarray(mask[..., None])
            return jnp.where(
                where, norm(jnp.where(where, x, jnp.nan), scale=scale, bias=bias, epsilon=epsilon, where=where), 0
            )

        y = normed(x, scale.astype(x.dtype), bias.astype(x.dtype))
        assert y.dtype == x.dtype
        assert_close(y, group_norm_loop(np.asarray(x, np.float64), groups, scale, bias, epsilon, mask))


@given(
    st.lists(st.integers(0, 3), max_size=3),
    st.integers(1, 6),
    st.sampled_from(["float64", "float32", "bfloat16", "float16"]),
    st.integers(0, 99),
)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_layer_and_rms_norm_equal_numpy_whatever_the_shape(leading, channels, dtype, seed):
    with jax.enable_x64(True):
        x = jnp.asarray(2 + 3 * normal((*leading, channels), seed), dtype)
        scale, bias = (normal((channels,), seed + n).astype(x.dtype) for n in (1, 2))
        wide, wide_scale, wide_bias = (np.asarray(array, np.float64) for array in (x, scale, bias))
        centred = wide - wide.mean(-1, keepdims=True)
        layer = centred / np.sqrt(wide.var(-1, keepdims=True) + 1e-3) * wide_scale + wide_bias
        rms = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-3) * wide_scale

        @jax.jit
        def both(x, scale, bias):
            return F.layer_norm(x, scale, bias, epsilon=1e-3), F.rms_norm(x, scale, epsilon=1e-3)

        for found, expected in zip(both(x, scale, bias), (layer, rms), strict=True):
            assert found.dtype == x.dtype
            assert_close(found, expected)


def test_norms_bear_a_large_mean_and_numbers_beyond_float16():
    x = 1e4 + normal((4, 64, 3), 12, np.float32)
    for y in (F.layer_norm(x.swapaxes(1, 2)).swapaxes(1, 2), F.instance_norm(x)):
        np.testing.assert_allclose(np.std(y, axis=1), 1, rtol=1e-3)
    large = jnp.array([[300.0, -300.0, 300.0, 300.0]], jnp.float16)  # whose squares float16 does not hold
    np.testing.assert_allclose(np.square(np.asarray(F.rms_norm(large), np.float32)), 1, rtol=1e-3)


def test_a_masked_position_takes_part_in_no_gradient_of_a_group_norm():
    x = jnp.asarray(normal((2, 4, 6), 3, np.float32)).at[:, 3].set(jnp.nan)
    where = jnp.arange(4).reshape(1, 4, 1) < jnp.array([3, 0]).reshape(2, 1, 1)

    def total(x, scale):
        return jnp.where(where, F.group_norm(x, 2, scale, where=where), 0).sum()

    dx, dscale = jax.jit(jax.grad(total, (0, 1)))(x, jnp.ones(6))
    assert jnp.isfinite(dscale).all()
    np.testing.assert_array_equal(jnp.where(where, 0, dx), 0)


# The running statistics of batch norm


@pytest.fixture
def norm():
    layer = dl.sequential(L.dense(3), L.batch_norm(momentum=0.5), jnp.tanh)
    x = jnp.asarray(1 + normal((8, 4), 5, np.float32))
    return layer, *layer.init(KEY, x), x


def test_rematerialisation_updates_the_statistics_once(norm):
    layer, params, state, x = norm

    def loss(params, apply):
        y, new = apply(params, state, x)
        return y.sum(), new

    plain = partial(layer.apply, train=True)
    gradient, new = jax.jit(jax.grad(partial(loss, apply=plain), has_aux=True))(params)
    again, remat = jax.jit(jax.grad(partial(loss, apply=jax.checkpoint(plain)), has_aux=True))(params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), remat, new)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), again, gradient)
    h = np.asarray(F.dense(x, **params["dense"]))
    np.testing.assert_allclose(remat["batch_norm"]["mean"], 0.5 * h.mean(0), rtol=1e-5)


def test_micro_batches_update_the_statistics_one_after_the_other(norm):
    layer, params, state, x = norm

    def step(state, micro):
        y, state = layer.apply(params, state, micro, train=True)
        return state, y

    end, _ = jax.jit(lambda state: jax.lax.scan(step, state, x.reshape(2, 4, 4)))(state)
    h = np.asarray(F.dense(x, **params["dense"]), np.float64).reshape(2, 4, 3)
    mean, var = np.zeros(3), np.ones(3)
    for micro in h:
        mean, var = 0.5 * mean + 0.5 * micro.mean(0), 0.5 * var + 0.5 * micro.var(0)
    np.testing.assert_allclose(end["batch_norm"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(end["batch_norm"]["var"], var, rtol=1e-5)


def test_an_empty_batch_changes_no_statistic(norm):
    layer, params, state, x = norm
    _, new = layer.apply(params, state, x[:0], train=True)
    jax.tree.map(np.testing.assert_array_equal, new, state)


# Errors

X = jnp.ones((2, 3, 4))
ERRORS = [
    (lambda: F.layer_norm(jnp.ones(())), "layer_norm: input must have a channel axis, (…, channels); got float32[]"),
    (
        lambda: F.layer_norm(X, jnp.ones(3)),
        "layer_norm: scale must have shape (4,) for input float32[2,3,4]; got float",
    ),
    (
        lambda: F.rms_norm(X, jnp.ones(1)),
        "rms_norm: scale must have shape (4,) for input float32[2,3,4]; got float32[1]",
    ),
    (lambda: F.group_norm(X, 3), "group_norm: the input's channels must be a multiple of groups=3; got float32[2,3,4]"),
    (lambda: F.group_norm(X, 0), "group_norm: groups must be a positive int; got 0"),
    (lambda: F.group_norm(jnp.ones(4), 2), "group_norm: input must have a batch axis and a channel axis, (batch, …,"),
    (lambda: F.group_norm(X, 2, where=jnp.ones((2, 3), bool)), "where must have 3 axes, the last of size 1; got bool"),
    (
        lambda: F.group_norm(X, 2, where=jnp.ones((2, 3, 1))),
        "group_norm: where must be of booleans; got float32[2,3,1]. Did you mean where.astype(bool)?",
    ),
    (
        lambda: F.batch_norm(X, *[None] * 2, *[jnp.ones(4)] * 2, train=True, where=jnp.ones((2, 2, 1), bool)),
        "batch_norm: each axis of where must have size 1 or that of input float32[2,3,4]; got bool[2,2,1]",
    ),
    (
        lambda: F.batch_norm(X, *[None] * 2, *[jnp.ones(4)] * 2, train=True, momentum=1.5),
        "batch_norm: momentum must be a number from 0 up to, but not including, 1; got 1.5",
    ),
    (
        lambda: F.batch_norm(X, *[None] * 2, *[jnp.ones(4)] * 2, train=True, epsilon=-1.0),
        "batch_norm: epsilon must be a positive number; got -1.0",
    ),
    (lambda: F.layer_norm(X, epsilon=0), "layer_norm: epsilon must be a positive number; got 0"),
    (lambda: F.rms_norm(X, epsilon=0), "rms_norm: epsilon must be a positive number; got 0"),
    (lambda: F.group_norm(X, 2, epsilon=0), "group_norm: epsilon must be a positive number; got 0"),
    (lambda: F.instance_norm(X, epsilon=0), "instance_norm: epsilon must be a positive number; got 0"),
    (lambda: F.instance_norm(jnp.ones((2, 4))), "got float32[2,4]. Did you mean layer_norm?"),
    (
        lambda: F.instance_norm(X, None, jnp.ones(2)),
        "instance_norm: bias must have shape (4,) for input float32[2,3,4]",
    ),
    (lambda: L.group_norm(0), "group_norm(groups=0): groups must be a positive int; got 0"),
    (lambda: L.group_norm(3).init(KEY, X), "group_norm(groups=3): the input's channels must be a multiple of groups=3"),
    (lambda: L.layer_norm(epsilon=0), "layer_norm(epsilon=0): epsilon must be a positive number; got 0"),
    (lambda: L.rms_norm(epsilon=-1.0), "rms_norm(epsilon=-1.0): epsilon must be a positive number; got -1.0"),
    (lambda: L.group_norm(2, epsilon=0), "group_norm(groups=2, epsilon=0): epsilon must be a positive number; got 0"),
    (lambda: L.instance_norm(epsilon=0), "instance_norm(epsilon=0): epsilon must be a positive number; got 0"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[text for _, text in ERRORS])
def test_errors_say_what_is_needed(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_a_batch_norm_may_begin_with_another_scale():
    x = jnp.ones((3, 2))
    params, state = L.batch_norm(scale_init=jax.nn.initializers.zeros).init(KEY, x)
    assert params["scale"].tolist() == [0, 0]
    assert (
        L.batch_norm(scale_init=jax.nn.initializers.zeros).apply(params, state, x, train=True)[0].tolist()
        == [[0, 0]] * 3
    )


def test_norms_refuse_integers():
    ints = jnp.ones((2, 3, 4), int)
    for function in (F.layer_norm, F.rms_norm, partial(F.group_norm, groups=2), F.instance_norm):
        with pytest.raises(TypeError, match=r"input must be a floating array; got int32\[2,3,4\]"):
            function(ints)


@pytest.mark.slow
@pytest.mark.parametrize("norm", [F.layer_norm, F.rms_norm])
def test_the_closed_derivative_of_a_norm_is_right_in_both_modes_and_twice(norm):
    with jax.enable_x64(True):
        x, scale = jax.random.normal(jax.random.key(0), (3, 2, 5)), jnp.linspace(0.5, 2, 5)
        check_grads(jax.jit(norm), (x, scale), order=2, modes=["fwd", "rev"])


BATCH_NORMS = {"vectors": (True, True), "scale": (True, False), "bias": (False, True), "neither": (False, False)}


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("with_scale", "with_bias"), BATCH_NORMS.values(), ids=BATCH_NORMS)
def test_the_written_derivative_of_batch_norm_is_the_one_that_jax_finds(x64, with_scale, with_bias, masked):
    x = jnp.asarray(2 + 3 * normal((3, 4, 2, 5), 20))
    scale, bias = (jnp.asarray(normal(5, n)) if there else None for n, there in ((21, with_scale), (22, with_bias)))
    where = jnp.asarray(np.random.default_rng(23).uniform(size=(3, 4, 2, 1)) < 0.7) if masked else None
    weights = jnp.asarray(normal(x.shape, 24))  # at masked places as well

    def written(x, scale, bias):
        y, _, _ = F.batch_norm(x, scale, bias, jnp.zeros(5), jnp.ones(5), train=True, where=where)
        return jnp.sum(weights * y**2)

    def found(x, scale, bias):
        wide = x if where is None else jnp.where(where, x, 0)
        mean, var, _ = moments(wide, (0, 1, 2), where)
        return jnp.sum(weights * normalised(wide, mean, var, scale, bias, 1e-5) ** 2)

    def derivatives(function):
        def all_of_them(*arguments):
            first = jax.grad(function, (0, 1, 2))
            along = jax.tree.map(jnp.cos, arguments)
            _, forward = jax.jvp(function, arguments, along)
            return function(*arguments), first(*arguments), forward, jax.jvp(first, arguments, along)[1]

        return jax.jit(all_of_them)(x, scale, bias)

    for a, b in zip(*(jax.tree.leaves(derivatives(f)) for f in (written, found)), strict=True):
        assert_close(a, b)


@pytest.mark.slow
def test_the_new_statistics_of_a_batch_norm_pass_nothing_back():
    def statistics(x):
        _, mean, var = F.batch_norm(x, None, None, jnp.zeros(2), jnp.ones(2), train=True)
        return (mean + var).sum()

    np.testing.assert_array_equal(jax.grad(statistics)(jnp.asarray(normal((4, 2), 25, np.float32))), np.zeros((4, 2)))
