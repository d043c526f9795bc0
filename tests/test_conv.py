"""Convolution's further forms against NumPy loops in float64, against plain lax, and against Flax."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from loops import (
    amounts,
    as_tuple,
    assert_all_close,
    assert_close,
    conv_loop,
    conv_transpose_loop,
    kernel_and_bias,
    normal,
    value_and_gradients,
    weights,
)

import jaxdl as dl
from jaxdl import functional as F
from jaxdl import layers as L
from jaxdl.functional.forms import leading_taps_conv
from jaxdl.functional.window import make_window

HALVES = [jnp.bfloat16, jnp.float16]


LAYERS = {
    "conv": partial(L.conv, 4, 3),
    "conv_transpose": partial(L.conv_transpose, 4, 3),
    "depthwise_conv": partial(L.depthwise_conv, 3),
    "separable_conv": partial(L.separable_conv, 4, 3),
    "max_pool": partial(L.max_pool, 3, strides=1),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_layer_may_ask_for_the_plain_form(make):
    x = jnp.ones((2, 8, 7, 2))

    def has_a_derivative_of_its_own(**options):
        layer = make(**options)
        params, state = layer.init(jax.random.key(0), x)
        return "custom_vjp" in str(jax.make_jaxpr(lambda p, x: layer.apply(p, state, x, train=True)[0])(params, x))

    assert has_a_derivative_of_its_own()
    assert not has_a_derivative_of_its_own(method="lax")
    with pytest.raises(ValueError, match='method must be "auto" or "lax"; got \'fast\''):
        has_a_derivative_of_its_own(method="fast")


# Padding

NUMPY_WORDS = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
PADDED = {
    "causal": ((2, 7, 2), (3, 2, 3), {"padding": "CAUSAL", "strides": 2, "dilation": 2}, [(4, 0)]),
    "causal circular": (
        (1, 5, 2),
        (3, 2, 2),
        {"padding": "CAUSAL", "padding_mode": "circular", "dilation": 2},
        [(4, 0)],
    ),
    "1-D reflect": ((2, 6, 4), (4, 2, 4), {"padding": [(2, 3)], "padding_mode": "reflect", "groups": 2}, [(2, 3)]),
    "2-D circular SAME": (
        (1, 5, 4, 2),
        (3, 4, 2, 3),
        {"padding": "SAME", "padding_mode": "circular", "strides": (2, 1)},
        [(1, 1), (1, 2)],
    ),
    "2-D replicate": ((1, 3, 4, 2), (3, 2, 2, 2), {"padding": 2, "padding_mode": "replicate"}, [(2, 2)] * 2),
    "3-D reflect": ((1, 3, 2, 3, 1), (2, 2, 3, 1, 2), {"padding": 1, "padding_mode": "reflect"}, [(1, 1)] * 3),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options", "pads"), PADDED.values(), ids=PADDED)
def test_padded_conv_and_its_gradients_equal_the_loop(x64, shape, kernel_shape, options, pads):
    x, (kernel, bias) = normal(shape, 1), kernel_and_bias(kernel_shape)
    y, gradients = value_and_gradients(partial(F.conv, **options), x, kernel, bias)
    # Where each element of the padded input comes from, -1 for nowhere.
    pads = [(0, 0), *pads, (0, 0)]
    word = NUMPY_WORDS[options.get("padding_mode", "zeros")]
    filling = {"constant_values": -1} if word == "constant" else {}
    origin = np.pad(np.arange(x.size).reshape(shape), pads, mode=word, **filling)
    padded = np.where(origin < 0, 0, x.ravel()[origin])
    rest = {name: value for name, value in options.items() if not name.startswith("padding")}
    expected, (dpadded, *others) = conv_loop(padded, kernel, bias, **rest, dy=weights(y))
    dx = np.zeros(x.size)
    np.add.at(dx, origin[origin >= 0], dpadded[origin >= 0])
    assert_all_close((y, *gradients), (expected, dx.reshape(shape), *others))


@pytest.mark.parametrize("word", ["CIRCULAR", "REFLECT"])
def test_flax_has_the_same_padding_for_a_stride_of_one(word):
    x, (kernel, bias) = normal((2, 6, 5, 2), 1, np.float32), kernel_and_bias((3, 4, 2, 3), np.float32)
    theirs = nn.Conv(3, (3, 4), padding=word).apply({"params": {"kernel": kernel, "bias": bias}}, x)
    assert_close(F.conv(x, kernel, bias, padding="SAME", padding_mode=word.lower()), theirs, np.float32)


def test_flax_has_the_same_causal_convolution():
    x, (kernel, bias) = normal((2, 8, 2), 1, np.float32), kernel_and_bias((3, 2, 3), np.float32)
    theirs = nn.Conv(3, (3,), padding="CAUSAL", kernel_dilation=2, strides=2)
    theirs = theirs.apply({"params": {"kernel": kernel, "bias": bias}}, x)
    assert_close(F.conv(x, kernel, bias, padding="CAUSAL", dilation=2, strides=2), theirs, np.float32)


def test_padding_may_be_an_int_of_numpy():
    x, kernel = normal((1, 5, 2)), normal((3, 2, 4))
    for function in (F.conv, F.conv_transpose):
        found, expected = (function(x, kernel, padding=padding) for padding in (np.int64(1), 1))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("padding", "shape"), [("SAME", (2, 6, 3)), ("CAUSAL", (2, 6, 3)), ("SAME", (2, 6, 3, 2))])
def test_a_sequence_in_a_ragged_batch_is_as_if_alone(x64, padding, shape):
    x, lengths = np.random.default_rng(3).normal(size=shape), np.array([6, 2])
    x[1, 2:] = np.nan
    layer = L.conv(4, 3, padding=padding, dilation=2, strides=(1,) * (len(shape) - 2))
    batch = dl.Ragged(jnp.asarray(x), jnp.asarray(lengths))
    params, state = layer.init(jax.random.key(0), batch)
    y, _ = layer.apply(params, state, batch, train=False)
    assert y.lengths is batch.lengths
    alone, _ = layer.apply(params, state, jnp.asarray(x[1:, :2]), train=False)
    np.testing.assert_allclose(y.x[1:, :2], alone, rtol=1e-9, atol=1e-12)


def test_a_ragged_batch_is_refused_where_a_position_has_no_output_of_its_own():
    batch = dl.Ragged(jnp.ones((2, 6, 3)), jnp.array([6, 2]))
    for options in (
        {"padding": "VALID"},
        {"padding": 1},
        {"padding": np.array([[1, 1]])},
        {"padding": "SAME", "strides": 2},
        {"padding": "SAME", "strides": np.int64(2)},
        {"padding": "CAUSAL", "padding_mode": "circular"},
    ):
        with pytest.raises(TypeError, match=r"conv\(.*Ragged.*A ragged batch needs padding=\"SAME\" or \"CAUSAL\""):
            L.conv(4, 3, **options).init(jax.random.key(0), batch)
    L.conv(4, 3, padding="SAME", strides=np.int64(1)).init(jax.random.key(0), batch)


def test_a_causal_convolution_sees_nothing_later():
    @jax.jit
    @jax.jacobian
    def jacobian(x):
        return F.conv(x.reshape(1, 7, 1), jnp.ones((3, 1, 1)), padding="CAUSAL", dilation=2)[0, :, 0]

    np.testing.assert_array_equal(jacobian(jnp.ones(7)), sum(np.eye(7, k=-2 * tap) for tap in range(3)))


# Four and more spatial axes

MANY = {
    "4-D": ((2, 3, 2, 3, 2, 2), (2, 2, 2, 1, 2, 3), {}),
    "4-D strides": ((1, 4, 3, 2, 3, 1), (2, 2, 1, 2, 1, 2), {"strides": (2, 1, 1, 2), "padding": "SAME"}),
    "4-D groups": ((1, 3, 2, 3, 2, 4), (2, 1, 2, 2, 2, 2), {"groups": 2, "dilation": (2, 1, 1, 1), "padding": 1}),
    "5-D": ((1, 2, 3, 2, 2, 2, 1), (1, 2, 2, 1, 2, 1, 2), {"padding": ((1, 0),) * 5}),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), MANY.values(), ids=MANY)
def test_the_sum_over_leading_taps_equals_the_loop(x64, shape, kernel_shape, options):
    x, (kernel, _) = normal(shape, 1), kernel_and_bias(kernel_shape)
    words = {"strides": 1, "padding": "VALID", "dilation": 1} | options
    groups = words.pop("groups", 1)
    window = make_window("conv", shape[1:-1], kernel_shape[:-2], **words)
    y, gradients = value_and_gradients(partial(leading_taps_conv, window, groups), x, kernel)
    expected, (dx, dkernel, _) = conv_loop(x, kernel, np.zeros(kernel_shape[-1]), **options, dy=weights(y))
    assert_all_close((y, *gradients), (expected, dx, dkernel))


@pytest.mark.parametrize("name", ["4-D groups", "5-D"])
def test_conv_of_many_axes_equals_the_loop(x64, name):
    shape, kernel_shape, options = MANY[name]
    x, (kernel, bias) = normal(shape, 1), kernel_and_bias(kernel_shape)
    y, gradients = value_and_gradients(partial(F.conv, **options), x, kernel, bias)
    assert_all_close((y, gradients), conv_loop(x, kernel, bias, **options, dy=weights(y)))


@pytest.mark.parametrize("function", [F.conv, F.conv_transpose, F.depthwise_conv])
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_no_platform_but_the_cpu_is_asked_for_more_than_three_axes(function, platform):
    x, kernel = jnp.ones((1, 2, 3, 2, 3, 2)), jnp.ones((2, 2, 2, 2, 1 if function is F.depthwise_conv else 2, 4))
    gradients = jax.jit(jax.grad(lambda x, kernel: (function(x, kernel) ** 2).sum(), (0, 1)))
    text = gradients.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    ranks = {line.split("->")[-1].count("x") for line in text.splitlines() if "stablehlo.convolution" in line}
    assert ranks <= {5}
    assert bool(ranks) == (function is not F.conv_transpose)


# Depthwise and separable

DEPTHWISE = {
    "1-D": ((2, 7, 3), (3, 1, 3), {}),
    "1-D multiplier": ((2, 8, 2), (3, 1, 6), {"strides": 2, "dilation": 2, "padding": "SAME"}),
    "2-D multiplier": ((2, 4, 5, 3), (3, 2, 1, 6), {"padding": 1, "strides": (1, 2)}),
    "one channel": ((1, 5, 1), (2, 1, 3), {}),
    "3-D": ((1, 3, 3, 4, 2), (2, 2, 3, 1, 2), {"padding": "SAME"}),
    "4-D": ((1, 2, 3, 2, 3, 2), (2, 2, 1, 2, 1, 4), {}),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_conv_and_its_gradients_equal_the_loop(x64, shape, kernel_shape, options):
    x, (kernel, bias) = normal(shape, 1), kernel_and_bias(kernel_shape)
    y, gradients = value_and_gradients(partial(F.depthwise_conv, **options), x, kernel, bias)
    assert_all_close((y, gradients), conv_loop(x, kernel, bias, **options, groups=shape[-1], dy=weights(y)))


def test_separable_conv_is_a_depthwise_and_a_pointwise_one(x64):
    x, depthwise, (pointwise, bias) = normal((2, 5, 4, 2), 1), normal((3, 2, 1, 6), 4), kernel_and_bias((1, 1, 6, 3))
    options = {"strides": 2, "padding": "SAME"}
    y, gradients = value_and_gradients(partial(F.separable_conv, **options), x, depthwise, pointwise, bias)
    middle, _ = conv_loop(x, depthwise, np.zeros(6), **options, groups=2)
    expected, (dmiddle, dpointwise, dbias) = conv_loop(middle, pointwise, bias, dy=weights(y))
    _, (dx, ddepthwise, _) = conv_loop(x, depthwise, np.zeros(6), **options, groups=2, dy=dmiddle)
    assert_all_close((y, *gradients), (expected, dx, ddepthwise, dpointwise, dbias))


def test_depthwise_conv_starts_with_the_variance_of_its_input():
    layer = L.depthwise_conv(3, multiplier=4, use_bias=False)
    x = normal((4, 12, 12, 32), 1, np.float32)
    params, _ = layer.init(jax.random.key(0), x)
    assert float(jax.jit(F.depthwise_conv)(x, params["kernel"]).var()) == pytest.approx(1, rel=0.1)


# Transposed convolution

TRANSPOSED = {
    "1-D": ((2, 4, 3), (3, 3, 2), {}),
    "1-D strides": ((2, 4, 2), (4, 2, 3), {"strides": 3, "padding": 1, "output_padding": 2}),
    "1-D SAME gaps": ((2, 4, 2), (2, 2, 3), {"strides": 4, "padding": "SAME"}),
    "1-D more than was cut": ((1, 3, 2), (2, 2, 2), {"strides": 3, "padding": [(1, 0)], "output_padding": 2}),
    "1-D groups": ((1, 4, 6), (3, 2, 6), {"groups": 3, "dilation": 2, "strides": 2}),
    "2-D SAME": ((2, 3, 2, 2), (3, 4, 2, 3), {"strides": (2, 3), "padding": "SAME"}),
    "2-D": (
        (1, 3, 2, 4),
        (3, 2, 2, 4),
        {"groups": 2, "strides": (2, 1), "dilation": (1, 3), "padding": ((0, 2), (1, 0)), "output_padding": (1, 0)},
    ),
    "2-D all but one cut": ((1, 4, 3, 1), (1, 2, 1, 2), {"padding": ((3, 0), (1, 1))}),
    "3-D": ((1, 2, 3, 2, 2), (2, 3, 2, 2, 2), {"strides": 2, "padding": "SAME"}),
    "4-D": ((1, 2, 1, 3, 2, 1), (2, 1, 2, 2, 1, 2), {"strides": (1, 2, 1, 2)}),
}


def cuts(shape, kernel_shape, options):
    """What is taken off each axis and given back to it, by the documented rule."""
    rank = len(shape) - 2
    strides, dilation = (as_tuple(options.get(name, 1), rank) for name in ("strides", "dilation"))
    more = as_tuple(options.get("output_padding", 0), rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel_shape, dilation, strict=False)]
    padding = options.get("padding", "VALID")
    if padding != "SAME":
        return amounts(padding, shape[1:-1], reach, strides), more
    over = [r - s for r, s in zip(reach, strides, strict=True)]
    cut = [(max(o, 0) // 2, max(o, 0) - max(o, 0) // 2) for o in over]
    return cut, tuple(m + max(-o, 0) for m, o in zip(more, over, strict=True))


@pytest.mark.parametrize(("shape", "kernel_shape", "options"), TRANSPOSED.values(), ids=TRANSPOSED)
def test_conv_transpose_and_its_gradients_equal_the_loop(x64, shape, kernel_shape, options):
    x, (kernel, bias) = normal(shape, 1), kernel_and_bias(kernel_shape)
    y, gradients = value_and_gradients(partial(F.conv_transpose, **options), x, kernel, bias)
    cut, more = cuts(shape, kernel_shape, options)
    rest = {name: value for name, value in options.items() if "padding" not in name}
    assert_all_close((y, gradients), conv_transpose_loop(x, kernel, bias, cut, **rest, more=more, dy=weights(y)))


@st.composite
def transposed_geometries(draw):
    rank = draw(st.integers(1, 3))
    some = partial(st.lists, min_size=rank, max_size=rank)
    size, strides, dilation = (
        draw(some(st.integers(1, 3))),
        draw(some(st.integers(1, 3))),
        draw(some(st.integers(1, 2))),
    )
    spatial, more = draw(some(st.integers(1, 3))), draw(some(st.integers(0, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    pairs = st.tuples(*(st.tuples(st.integers(0, r // 2), st.integers(0, (r - 1) // 2)) for r in reach))
    padding = draw(st.sampled_from(["SAME", "VALID"]) | pairs)
    batch, inside, outside, groups = draw(st.tuples(*(st.integers(0, 2), *[st.integers(1, 2)] * 3)))
    options = {"strides": strides, "dilation": dilation, "padding": padding, "output_padding": more, "groups": groups}
    return (batch, *spatial, groups * inside), (*size, inside, groups * outside), options


def agree_with_lax(geometry):
    shape, kernel_shape, options = geometry
    x, (kernel, _) = normal(shape, 1, np.float32), kernel_and_bias(kernel_shape, np.float32)

    def both(x, kernel):
        return [F.conv_transpose(x, kernel, method=method, **options) for method in ("auto", "lax")]

    found, plain = jax.eval_shape(both, x, kernel)
    assert found == plain
    (y, plain), vjp = jax.vjp(jax.jit(both), x, kernel)
    assert_close(y, plain, np.float32)
    dy, none = jnp.asarray(weights(y)), jnp.zeros_like(y)
    assert_all_close(vjp([dy, none]), vjp([none, dy]), np.float32)


@given(transposed_geometries())
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
def test_conv_transpose_equals_lax_whatever_the_geometry(geometry):
    agree_with_lax(geometry)


@pytest.mark.slow
@given(transposed_geometries())
@settings(max_examples=30, deadline=None, derandomize=True, database=None)
def test_conv_transpose_equals_lax_in_many_geometries(geometry):
    agree_with_lax(geometry)


@given(transposed_geometries())
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_conv_transpose_has_the_documented_shape(geometry):
    shape, kernel_shape, options = geometry
    specs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, kernel_shape)]
    found = jax.eval_shape(partial(F.conv_transpose, **options), *specs).shape
    cut, more = cuts(shape, kernel_shape, options)
    axes = zip(shape[1:-1], kernel_shape, options["strides"], options["dilation"], cut, more, strict=False)
    expected = [(n - 1) * s + (k - 1) * d + 1 - sum(pair) + m for n, k, s, d, pair, m in axes]
    assert found == (shape[0], *expected, kernel_shape[-1])
    if options["padding"] == "SAME":
        scaled = [n * s + m for n, s, m in zip(shape[1:-1], options["strides"], options["output_padding"], strict=True)]
        assert list(found[1:-1]) == scaled


@pytest.mark.parametrize("padding", ["VALID", "SAME", 1])
def test_conv_transpose_is_the_transpose_of_conv(x64, padding):
    x, (kernel, _) = normal((2, 3, 4, 2), 1), kernel_and_bias((3, 2, 2, 5))
    options = {"strides": 2, "padding": padding}
    y = F.conv_transpose(x, kernel, **options)
    there = partial(F.conv, kernel=kernel.swapaxes(-1, -2), method="lax", **options)
    (back,) = jax.linear_transpose(there, jax.ShapeDtypeStruct(y.shape, y.dtype))(jnp.asarray(x))
    assert_close(y, back)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
@pytest.mark.parametrize("size", [(3, 4), (2, 1)])
def test_flax_has_the_same_transposed_convolution_flipped(padding, size):
    x, (kernel, bias) = normal((2, 3, 4, 2), 1, np.float32), kernel_and_bias((*size, 2, 3), np.float32)
    flax = nn.ConvTranspose(3, size, strides=(2, 3), padding=padding)
    theirs = flax.apply({"params": {"kernel": kernel[::-1, ::-1], "bias": bias}}, x)
    more = [max(s - k, 0) for s, k in zip((2, 3), size, strict=True)] if padding == "VALID" else 0
    ours = F.conv_transpose(x, kernel, bias, strides=(2, 3), padding=padding, output_padding=more)
    assert_close(ours, theirs, np.float32)


# Patches

FRAMES = {
    "1-D": ((2, 7, 3), 3, {"strides": 2}),
    "2-D": ((2, 4, 5, 2), (2, 3), {"strides": (2, 1), "dilation": (1, 2), "padding": "SAME"}),
    "2-D apart": ((1, 4, 6, 1), 2, {"strides": 2}),
    "3-D": ((1, 3, 4, 3, 2), (2, 1, 3), {"padding": ((1, 0), (0, 0), (2, 1))}),
}
every_frame = pytest.mark.parametrize(("shape", "window", "options"), FRAMES.values(), ids=FRAMES)


@every_frame
def test_patches_times_a_kernel_is_a_convolution(x64, shape, window, options):
    x, rank = normal(shape, 1), len(shape) - 2
    kernel, bias = kernel_and_bias((*as_tuple(window, rank), shape[-1], 3))
    y = F.patches(x, window, **options) @ kernel.reshape(-1, 3) + bias.reshape((1,) * (rank + 1) + (3,))
    assert_close(y, conv_loop(x, kernel, bias, **options)[0])


def test_patches_go_through_the_window_first_and_lax_through_the_channels():
    x = normal((2, 5, 4, 3), 1, np.float32)
    words = ("NHWC", "HWIO", "NHWC")
    plain = lax.conv_general_dilated_patches(x, (2, 3), (2, 1), "SAME", dimension_numbers=words)
    found = F.patches(x, (2, 3), strides=(2, 1), padding="SAME")
    swapped = found.reshape(*found.shape[:-1], 6, 3).swapaxes(-1, -2).reshape(found.shape)
    np.testing.assert_array_equal(swapped, plain)


@every_frame
def test_fold_is_the_transpose_of_patches(x64, shape, window, options):
    unfolded = partial(F.patches, window=window, **options)
    y, (dx,) = value_and_gradients(unfolded, normal(shape, 1))
    back = partial(F.fold, window=window, spatial=shape[1:-1], **options)
    folded, (dy,) = value_and_gradients(back, weights(y))
    assert_close(folded, dx)
    assert_close(dy, unfolded(jnp.asarray(weights(folded))))


def test_fold_over_its_own_count_inverts_patches(x64):
    x = normal((2, 5, 6, 2), 1)

    @jax.jit
    def there_and_back(x):
        taken = F.patches(x, 3, padding=1)
        back = partial(F.fold, window=3, spatial=(5, 6), padding=1)
        apart = F.patches(x[:, :4], 2, strides=2)
        return back(taken) / back(jnp.ones_like(taken)), F.fold(apart, 2, (4, 6), strides=2)

    mean, whole = there_and_back(x)
    assert_close(mean, x)
    np.testing.assert_array_equal(whole, x[:, :4])


# Every function

NARROW = {
    "depthwise_conv": (F.depthwise_conv, (2, 6, 3), (3, 1, 6)),
    "conv of groups": (partial(F.conv, groups=2), (2, 6, 4), (3, 2, 4)),
    "conv_transpose": (partial(F.conv_transpose, strides=2), (2, 5, 3), (4, 3, 2)),
    "leading taps": (partial(leading_taps_conv, make_window("conv", (3,) * 4, 2, 1, 0), 1), (1, 3, 3, 3, 3, 2), None),
    "fold": (lambda x, k: F.fold(x, 3, 7) * k, (2, 5, 3), (1, 1, 1)),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("function", "shape", "kernel_shape"), NARROW.values(), ids=NARROW)
def test_half_precision(function, shape, kernel_shape, dtype):
    wide = normal(shape, 1, np.float32), normal(kernel_shape or (2, 2, 2, 2, 2, 2), 2, np.float32)
    narrow = [jnp.asarray(array, dtype) for array in wide]
    found = value_and_gradients(function, *narrow)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(found))
    exact = [np.asarray(array, np.float32) for array in narrow]
    assert_all_close(found, value_and_gradients(function, *exact), dtype)


def test_an_axis_of_no_positions():
    for function in (F.conv_transpose, F.depthwise_conv):
        kernel = jnp.ones((2, 1, 1))
        y, gradients = value_and_gradients(function, jnp.ones((1, 0, 1)), kernel)
        assert not y.any()
        assert not gradients[1].any()
    assert F.patches(jnp.ones((1, 0, 2)), 3).shape == (1, 0, 6)


# One spatial axis of nothing, or of no positions, for each of the forms that the other sizes would choose.
EMPTY = {
    "patches": (F.conv, (2, 0, 5, 2), (3, 3, 2, 4), {}),
    "patches padded": (F.conv, (2, 5, 0, 2), (3, 3, 2, 4), {"padding": 2}),
    "patches strided": (F.conv, (2, 0, 5, 2), (1, 1, 2, 4), {"strides": 2}),
    "patches apart": (F.conv, (2, 0, 6, 2), (2, 2, 2, 4), {"strides": 2}),
    "patches in three axes": (F.conv, (2, 4, 0, 4, 2), (2, 2, 2, 2, 4), {}),
    "patches by groups": (F.conv, (2, 0, 5, 4), (3, 3, 2, 4), {"groups": 2}),
    "leading taps": (F.conv, (1, 2, 0, 2, 2, 2), (1, 2, 1, 1, 2, 2), {}),
    "shifted": (F.depthwise_conv, (2, 0, 5, 2), (3, 3, 1, 4), {}),
    "scanned": (F.depthwise_conv, (2, 0, 20, 2), (13, 13, 1, 2), {}),
    "scanned across": (F.depthwise_conv, (2, 20, 0, 2), (13, 13, 1, 2), {"padding": "SAME"}),
    "filtered": (F.conv, (300, 0, 5, 64), (3, 3, 64, 64), {"padding": 1}),
    "filtered, nothing around": (F.conv, (300, 5, 0, 64), (3, 3, 64, 64), {}),
    "stamps": (F.conv_transpose, (2, 0, 5, 2), (3, 3, 2, 4), {"strides": 2}),
    "stamps apart": (F.conv_transpose, (2, 5, 0, 2), (2, 2, 2, 4), {"strides": 2}),
    "stamps apart of large windows": (F.conv_transpose, (1, 0, 3, 2), (16, 12, 2, 2), {"strides": (16, 12)}),
}


@pytest.mark.parametrize(("function", "shape", "kernel_shape", "options"), EMPTY.values(), ids=EMPTY)
def test_a_spatial_axis_of_nothing(function, shape, kernel_shape, options):
    x, kernel = np.ones(shape, np.float32), np.ones(kernel_shape, np.float32)
    y, gradients = value_and_gradients(partial(function, **options), x, kernel)
    assert y.shape == jax.eval_shape(partial(function, method="lax", **options), x, kernel).shape
    assert [g.shape for g in gradients] == [shape, kernel_shape]
    assert not y.any()
    assert not gradients[1].any()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_places_of_taps_are_those_that_they_came_from(x64, size):
    for spatial, strides, dilation, padding in (
        ((7, 9), (4, 3), (1, 2), 0),
        ((5, 6), (2, 5), (1, 1), ((0, 1), (2, 0))),
    ):
        window = make_window("conv", spatial, (size, 1), strides, padding, dilation)
        x = jax.ShapeDtypeStruct((2, *spatial, 3), jnp.float64)

        def taken(x, window=window):
            return list(window.taps(window.pad(x)))

        taps = [jnp.asarray(normal(tap.shape, n)) for n, tap in enumerate(jax.eval_shape(taken, x))]
        (expected,) = jax.linear_transpose(taken, x)(taps)
        assert_close(window.place(taps, spatial), expected)


@pytest.mark.parametrize("function", [F.conv, F.conv_transpose])
def test_programs_do_not_grow_with_the_strides(function):
    def lines(stride):
        x, kernel = jnp.ones((1, 64, 64, 1)), jnp.ones((1, 1, 1, 1))
        both = jax.grad(lambda *arrays: jnp.sum(function(*arrays, strides=stride) ** 2), (0, 1))
        return str(jax.make_jaxpr(both)(x, kernel)).count("\n")

    assert lines(32) <= lines(2)


def test_groups_and_depthwise_vmap_over_kernels():
    x, kernels = normal((2, 5, 4), 1, np.float32), normal((3, 2, 2, 4), 2, np.float32)
    wide = normal((3, 2, 1, 8), 3, np.float32)

    def all_three(kernel, row):
        return F.conv(x, kernel, groups=2), F.depthwise_conv(x, row), F.conv_transpose(x, kernel, groups=2)

    found = jax.jit(jax.vmap(all_three))(kernels, wide)
    one = jax.jit(all_three)
    expected = jax.tree.map(lambda *leaves: np.stack(leaves), *map(one, kernels, wide))
    assert_all_close(found, expected, np.float32)


def test_plain_forms_have_forward_mode():
    x, kernel = jnp.asarray(normal((1, 5, 2), 1, np.float32)), jnp.asarray(normal((2, 2, 2), 2, np.float32))
    row = kernel.reshape(2, 1, 4)
    for function, k in ((F.conv_transpose, kernel), (F.depthwise_conv, row)):
        plain = partial(function, method="lax")
        _, tangent = jax.jvp(lambda k, plain=plain: plain(x, k), (k,), (k,))
        assert_close(tangent, plain(x, k), np.float32)


X1, X2 = jnp.ones((1, 5, 2)), jnp.ones((1, 5, 5, 2))
K1, K2 = jnp.ones((3, 2, 4)), jnp.ones((3, 3, 2, 4))
ERRORS = [
    (lambda: F.conv(X2, K2, padding="CAUSAL"), 'padding="CAUSAL" is for one spatial axis, as in Keras and Flax; got 2'),
    (lambda: F.conv(X2, K2, padding="CAUSAL"), "Did you mean pairs (low, high) for each axis?"),
    (
        lambda: F.conv(X1, K1, padding_mode="wrap"),
        'padding_mode must be "zeros", "reflect", "replicate" or "circular"; got \'wrap\'',
    ),
    (
        lambda: F.conv(X1, K1, padding=5, padding_mode="reflect"),
        'padding_mode="reflect" needs at least 6 elements along an axis padded by 5; got spatial sizes (5,)',
    ),
    (
        lambda: F.conv(X1, K1, padding=6, padding_mode="circular"),
        'padding_mode="circular" needs at least 6 elements along an axis padded by 6',
    ),
    (
        lambda: F.conv(X1[:, :0], K1, padding=2, padding_mode="replicate"),
        'padding_mode="replicate" needs at least 1 elements',
    ),
    (
        lambda: F.depthwise_conv(X1, K1),
        "depthwise_conv: kernel must have shape (*window, 1, 2 · multiplier) for input float32[1,5,2]; got float32[3,2",
    ),
    (lambda: F.depthwise_conv(X1, jnp.ones((3, 1, 3))), "(*window, 1, 2 · multiplier)"),
    (lambda: F.depthwise_conv(X1, jnp.ones((3, 1, 4)), jnp.ones(3)), "depthwise_conv: bias must have shape (4,)"),
    (lambda: F.separable_conv(X1, K1, K1), "separable_conv: depthwise_kernel must have shape (*window, 1, 2 · mult"),
    (
        lambda: F.separable_conv(X2, jnp.ones((3, 3, 1, 4)), K1),
        "separable_conv: pointwise_kernel must have shape (1, 1, 4, out); got float32[3,2,4]",
    ),
    (lambda: F.conv_transpose(X1, K2), "conv_transpose: kernel must have shape (*window, in / groups, out) with 1"),
    (lambda: F.conv_transpose(X1, K1, padding="CAUSAL"), 'must be "VALID", "SAME", an int or pairs (low, high); got'),
    (lambda: F.conv(X1, K1, padding="same"), "of such ints; got 'same'. Did you mean padding=\"SAME\"?"),
    (lambda: F.conv(X1, K1, padding=np.array([[1, 1]])), "or 1 pairs (low, high) of such ints; got array([[1, 1]])"),
    (lambda: F.conv_transpose(X1, K1, padding=np.array([[1, 1]])), "conv_transpose: padding must be"),
    (
        lambda: F.conv_transpose(X1, K1, output_padding=-1),
        "output_padding must be an int of 0 or more, or 1 of them, one for each spatial axis; got -1",
    ),
    (lambda: F.conv_transpose(X1, K1, output_padding=(1, 1)), "or 1 of them, one for each spatial axis; got (1, 1)"),
    (
        lambda: F.conv_transpose(X1, K1, padding=4),
        "conv_transpose: the padding must leave something of the result; got sizes (0,) with padding ((4, 4),)",
    ),
    (lambda: F.patches(X1, 6), "patches: the window, which spans (6,) positions, must fit into the input"),
    (
        lambda: F.fold(X1, 2, 7),
        "fold: input must have positions (6,), as many as the window has over spatial sizes (7,",
    ),
    (lambda: F.fold(X1, 3, 7), "fold: the last axis must be a multiple of the window's 3 taps; got float32[1,5,2]"),
    (lambda: L.depthwise_conv(3, multiplier=0), "multiplier must be a positive int; got 0"),
    (lambda: L.conv_transpose(3, 3, groups=2), "features must be a multiple of groups; got 3 and 2"),
    (lambda: L.separable_conv(3, 0), "kernel_size must be a positive int; got 0"),
    (lambda: L.patches(()), "window must be a positive int; got ()"),
    (lambda: L.fold(2, 0), "spatial must be a positive int; got 0"),
]


@pytest.mark.parametrize(("call", "text"), ERRORS, ids=[text for _, text in ERRORS])
def test_errors_say_what_is_needed(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "function", [F.depthwise_conv, F.conv_transpose, partial(F.separable_conv, pointwise_kernel=K1)]
)
def test_integers_are_refused(function):
    with pytest.raises(TypeError, match=r"input must be a floating array.*astype"):
        function(jnp.ones((1, 5, 2), jnp.int32), jnp.ones((3, 1, 2)))
    for whole in (partial(F.patches, window=2), partial(F.fold, window=2, spatial=6)):
        with pytest.raises(TypeError, match="input must be a floating array"):
            whole(jnp.ones((1, 5, 2), jnp.int32))
