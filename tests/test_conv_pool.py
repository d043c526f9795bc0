"""Convolution and max pool in one against NumPy loops in float64, and against the two by themselves."""

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
    conv_loop,
    max_pool_loop,
    normal,
    value_and_gradients,
    weights,
    whole,
)

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.functional import conv_pool

GEOMETRIES = {
    "1-D": ((5, 11, 1), (3, 1, 4), {}),
    "1-D padded": ((3, 9, 2), (3, 2, 2), {"window": 3, "padding": "SAME", "strides": 2}),
    "1-D causal": ((2, 8, 1), (2, 1, 3), {"padding": "CAUSAL", "dilation": 3}),
    "2-D": ((4, 7, 8, 1), (3, 3, 1, 3), {}),
    "2-D windows": ((2, 8, 9, 2), (2, 3, 2, 2), {"window": (1, 3), "padding": ((1, 0), (0, 2)), "dilation": (2, 1)}),
    "2-D strides": ((3, 9, 10, 1), (3, 2, 1, 2), {"window": (2, 1), "strides": (1, 3), "padding": 1}),
    "3-D": ((2, 4, 5, 6, 1), (2, 2, 1, 1, 2), {"window": (2, 1, 2)}),
}
every_geometry = pytest.mark.parametrize(("shape", "kernel_shape", "options"), GEOMETRIES.values(), ids=GEOMETRIES)


def loop(x, kernel, bias, dy, window=2, **options):
    """The result, and the gradients to x, kernel and bias, of one loop after the other."""
    size = as_tuple(window, x.ndim - 2)
    if options.get("padding") == "CAUSAL":
        options["padding"] = [((kernel.shape[0] - 1) * options.get("dilation", 1), 0)]
    middle, _ = conv_loop(x, kernel, bias, **options)
    y, dmiddle = max_pool_loop(middle, size, size, "VALID", dy)
    _, gradients = conv_loop(x, kernel, bias, **options, dy=dmiddle)
    return y, gradients


def arguments(shape, kernel_shape, numbers=normal):
    return [numbers(s, seed).astype(np.float64) for seed, s in enumerate((shape, kernel_shape, kernel_shape[-1:]))]


def is_fused(function, *arguments):
    return "_fused" in str(jax.make_jaxpr(function)(*arguments))


@pytest.fixture(params=["cpu", "elsewhere"])
def platform(request, monkeypatch):
    """Each half of what is chosen by platform, run here."""
    if request.param == "elsewhere":
        monkeypatch.setattr(jax.lax, "platform_dependent", lambda *arguments, cpu, default: default(*arguments))
    return request.param


@every_geometry
@pytest.mark.parametrize("numbers", [normal, whole], ids=["distinct", "ties"])
def test_it_equals_the_loops_and_the_first_of_equals_takes_the_gradient(
    x64, platform, shape, kernel_shape, options, numbers
):
    x, kernel, bias = arguments(shape, kernel_shape, numbers)
    pool = partial(F.conv_max_pool, **options)
    y, gradients = value_and_gradients(pool, x, kernel, bias)
    expected, expected_gradients = loop(x, kernel, bias, weights(y), **options)
    for found, wanted in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert_close(found, wanted)
    assert_close(jax.jit(pool)(x, kernel, bias), expected)
    assert is_fused(pool, x, kernel, bias)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_it_equals_the_two_in_every_precision(dtype):
    x, kernel, bias = (jnp.asarray(a / 4, dtype) for a in arguments((4, 9, 8, 2), (3, 2, 2, 3), whole))
    found = value_and_gradients(F.conv_max_pool, x, kernel, bias)
    expected = value_and_gradients(partial(F.conv_max_pool, method="lax"), x, kernel, bias)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype
        assert_close(a, b, dtype)


@pytest.mark.parametrize(
    "dtypes",
    [("bfloat16", "bfloat16", "float32"), ("float32", "bfloat16", "float32"), ("float16", "float16", "bfloat16")],
    ids=" ".join,
)
def test_it_equals_the_two_where_dtypes_are_mixed(platform, dtypes):
    numbers = arguments((4, 9, 8, 2), (3, 2, 2, 3), whole)
    x, kernel, bias = (jnp.asarray(a / 4, dtype) for a, dtype in zip(numbers, dtypes, strict=True))
    found = value_and_gradients(F.conv_max_pool, x, kernel, bias)
    expected = value_and_gradients(partial(F.conv_max_pool, method="lax"), x, kernel, bias)
    assert is_fused(F.conv_max_pool, x, kernel, bias)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        assert_close(a, b, "bfloat16")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_goes_where_the_two_bring_it(platform, number):
    x, kernel, bias = (np.abs(a).astype(np.float32) for a in arguments((3, 7, 8, 1), (2, 2, 1, 2)))
    x[1, 3, 4, 0] = number
    plain = partial(F.conv_max_pool, method="lax")
    y, vjp = jax.vjp(F.conv_max_pool, x, kernel, bias)
    expected, plain_vjp = jax.vjp(lambda *a: F.max_pool(F.conv(*a, method="lax"), 2), x, kernel, bias)
    np.testing.assert_allclose(y, plain(x, kernel, bias), rtol=1e-5)
    # What flows to the input, which does not meet the input.
    np.testing.assert_allclose(vjp(jnp.ones_like(y))[0], plain_vjp(jnp.ones_like(y))[0], rtol=1e-5)


@pytest.mark.parametrize("examples", [0, 1, 2, 7])
def test_any_number_of_examples_in_rounds(monkeypatch, examples):
    monkeypatch.setattr(conv_pool, "ROUND_BYTES", 2 * 4 * 2 * 4)  # two examples, of four positions and two channels
    x, kernel, _ = (jnp.asarray(a, jnp.float32) for a in arguments((examples, 9, 1), (2, 1, 2)))
    found = value_and_gradients(F.conv_max_pool, x, kernel)
    expected = value_and_gradients(lambda x, kernel: F.max_pool(F.conv(x, kernel), 2), x, kernel)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, np.float32)
    assert is_fused(F.conv_max_pool, x, kernel) == (examples > 1)


def test_it_vmaps_over_members():
    x, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments((4, 7, 6, 1), (3, 2, 1, 2)))
    factors = jnp.array([1.0, -2.0, 0.5])

    @jax.jit
    def gradients(factor):
        return jax.grad(lambda k, b: (F.conv_max_pool(x, k, b) ** 2).sum(), (0, 1))(kernel * factor, bias)

    alone = [gradients(factor) for factor in factors]
    found = jax.jit(jax.vmap(gradients))(factors)
    for a, b in zip(found, map(jnp.stack, zip(*alone, strict=True)), strict=True):
        assert_close(a, b, np.float32)


@pytest.mark.parametrize("shift", [0, -6, -100], ids=["some windows", "few windows", "no window"])
def test_relu_may_stand_after_it(shift):
    x, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments((3, 8, 9, 1), (3, 3, 1, 4), whole))
    bias = bias + shift  # whole numbers: windows that are all zero, below zero or tied
    found = value_and_gradients(lambda *a: jax.nn.relu(F.conv_max_pool(*a)), x, kernel, bias)
    expected = value_and_gradients(lambda *a: F.max_pool(jax.nn.relu(F.conv(*a)), 2), x, kernel, bias)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, np.float32)


def test_the_layer_has_the_parameters_of_a_convolution_and_the_results_of_the_two():
    x = jnp.asarray(normal((3, 8, 7, 2)), jnp.float32)
    layer, two = L.conv_max_pool(4, 3, window=(2, 1)), dl.sequential(L.conv(4, 3), L.max_pool((2, 1)))
    params, _ = layer.init(jax.random.key(0), x)
    same, _ = L.conv(4, 3).init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, params, same)
    y, _ = layer.apply(params, {}, x, train=True)
    assert_close(y, two.apply({"conv": params}, {}, x, train=True)[0], np.float32)


COMPOSED = {
    "groups": ((2, 8, 2), (3, 1, 2), {"groups": 2}),
    "padding_mode": ((2, 8, 2), (3, 2, 2), {"padding": 1, "padding_mode": "reflect"}),
    "many terms": ((2, 12, 12, 4), (5, 5, 4, 2), {}),
    "lax": ((2, 8, 1), (3, 1, 2), {"method": "lax"}),
    "no channels": ((2, 8, 0), (3, 0, 2), {}),
    "no positions": ((2, 0, 1), (3, 1, 2), {}),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), COMPOSED.values(), ids=COMPOSED)
def test_it_is_the_two_where_that_is_no_slower(shape, kernel_shape, options):
    x, kernel, bias = (jnp.asarray(a, jnp.float32) for a in arguments(shape, kernel_shape))
    pool = partial(F.conv_max_pool, **options)
    np.testing.assert_array_equal(pool(x, kernel, bias), F.max_pool(F.conv(x, kernel, bias, **options), 2))
    assert not is_fused(pool, x, kernel, bias)


def test_other_platforms_have_a_convolution_and_no_loop():
    gradients = jax.jit(jax.grad(lambda x, kernel: F.conv_max_pool(x, kernel).sum(), (0, 1)))
    text = gradients.trace(jnp.ones((4, 9, 1)), jnp.ones((3, 1, 2))).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" in text
    assert "stablehlo.while" not in text


@st.composite
def geometries(draw):
    rank = draw(st.integers(1, 2))
    some = partial(st.lists, min_size=rank, max_size=rank)
    size, strides, dilation, window = (tuple(draw(some(st.integers(1, 3)))) for _ in range(4))
    low = tuple(draw(some(st.integers(0, 2))))
    least = [(w - 1) * s + (k - 1) * d + 1 for w, s, k, d in zip(window, strides, size, dilation, strict=True)]
    spatial = [max(n - pad, 1) + draw(st.integers(0, 3)) for n, pad in zip(least, low, strict=True)]
    options = {"window": window, "strides": strides, "dilation": dilation, "padding": tuple((n, 0) for n in low)}
    channels, features = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    return (draw(st.integers(2, 3)), *spatial, channels), (*size, channels, features), options


@given(geometries())
@settings(max_examples=5, deadline=None, derandomize=True, database=None)
def test_it_equals_the_loops_whatever_the_geometry(geometry):
    agree_with_the_loops(geometry)


@pytest.mark.slow
@given(geometries())
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
def test_it_equals_the_loops_in_many_geometries(geometry):
    agree_with_the_loops(geometry)


def agree_with_the_loops(geometry):
    shape, kernel_shape, options = geometry
    x, kernel, bias = (a.astype(np.float32) for a in arguments(shape, kernel_shape, whole))
    y, gradients = value_and_gradients(partial(F.conv_max_pool, **options), x, kernel, bias)
    expected, expected_gradients = loop(x, kernel, bias, weights(y), **options)
    for found, wanted in zip((y, *gradients), (expected, *expected_gradients), strict=True):
        assert_close(found, wanted, np.float32)


X, KERNEL = jnp.ones((2, 8, 1)), jnp.ones((3, 1, 4))
ERRORS = [
    (lambda: F.conv_max_pool(X[0], KERNEL), "conv_max_pool: input must have a channel axis last and 1 or more spatial"),
    (lambda: F.conv_max_pool(X, KERNEL[0]), "conv_max_pool: kernel must have shape (*window, in / groups, out)"),
    (lambda: F.conv_max_pool(X, KERNEL, X[0, :3, 0]), "conv_max_pool: bias must have shape (4,); got float32[3]"),
    (lambda: F.conv_max_pool(X, KERNEL, window=(2, 2)), "conv_max_pool: window must be an int or 1 ints"),
    (
        lambda: F.conv_max_pool(X, KERNEL, window=7),
        "conv_max_pool: the pool's window (7,) must fit into the convolution's positions; got positions (6,) of",
    ),
    (lambda: F.conv_max_pool(X, KERNEL, method="fast"), 'conv_max_pool: method must be "auto" or "lax"; got'),
    (lambda: L.conv_max_pool(4, 3, window=0), "window must be a positive int; got 0"),
    (lambda: L.conv_max_pool(0, 3), "features must be a positive int; got 0"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[text for _, text in ERRORS])
def test_errors_say_what_is_needed(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="conv_max_pool: input must be a floating array"):
        F.conv_max_pool(jnp.ones((1, 4, 1), jnp.int32), KERNEL)
