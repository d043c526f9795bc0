"""The forms that convolution takes on CPU, against NumPy loops in float64 and plain lax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from loops import assert_all_close, assert_close, conv_loop, kernel_and_bias, normal, value_and_gradients, weights

from jaxdl import functional as F
from jaxdl.functional import conv_plan, forms, winograd
from jaxdl.functional.window import make_window

# Fewer patches

FEWER = {
    "lines": ("LINES", (2, 6, 7, 3), (3, 2, 3, 4), {"padding": "SAME"}),
    "lines, 3 axes": ("LINES", (2, 5, 4, 6, 2), (3, 2, 3, 2, 3), {"padding": 1}),
    "lines, other strides": ("LINES", (3, 6, 7, 2), (2, 3, 2, 5), {"strides": (1, 2), "padding": ((0, 2), (1, 0))}),
    "lines, dilation": ("LINES", (2, 9, 8, 2), (3, 2, 2, 3), {"dilation": (2, 3), "padding": "SAME"}),
    "lines, no images": ("LINES", (0, 5, 4, 2), (3, 2, 2, 3), {}),
    "pairs": ("PAIRS", (2, 6, 7, 3), (3, 2, 3, 4), {"padding": "SAME"}),
    "pairs, an odd count": ("PAIRS", (2, 5, 8, 1), (2, 2, 1, 3), {}),
    "pairs, 1 axis": ("PAIRS", (2, 9, 1), (3, 1, 4), {"padding": ((2, 0),)}),
    "pairs, 3 axes": ("PAIRS", (2, 5, 4, 6, 2), (3, 2, 3, 2, 3), {"padding": 1}),
    "pairs, other strides": ("PAIRS", (3, 7, 6, 2), (2, 3, 2, 5), {"strides": (2, 1), "dilation": (3, 1)}),
    "pairs, no images": ("PAIRS", (0, 5, 4, 2), (3, 2, 2, 3), {}),
    "patches by axis": ("PATCHES", (2, 9, 8, 2), (3, 2, 2, 3), {"strides": (2, 3), "dilation": (2, 1), "padding": 1}),
}


@pytest.mark.slow
@pytest.mark.parametrize("images", ["all at once", "some at a time"])
@pytest.mark.parametrize(("form", "shape", "kernel_shape", "options"), FEWER.values(), ids=FEWER)
def test_fewer_patches_give_what_the_loop_gives(x64, monkeypatch, form, shape, kernel_shape, options, images):
    if images == "some at a time":
        monkeypatch.setattr(forms, "CHUNK_BYTES", 3_000)
    x, (kernel, _) = normal(shape, 1), kernel_and_bias(kernel_shape)
    arguments = {"strides": 1, "padding": "VALID", "dilation": 1} | options
    words = arguments["strides"], arguments["padding"], arguments["dilation"]
    window = make_window("conv", shape[1:-1], kernel_shape[:-2], *words)
    taken = getattr(conv_plan, form)
    y = jax.jit(partial(taken.forward, window, 1))(x, kernel)
    gradients = jax.jit(partial(taken.gradients, window, 1))(x, kernel, jnp.asarray(weights(y)))
    expected, (dx, dkernel, _) = conv_loop(x, kernel, np.zeros(kernel_shape[-1]), **options, dy=weights(y))
    assert_all_close((y, *gradients), (expected, dx, dkernel))


CHOSEN = {
    "few channels": ((2, 12, 12, 1), (3, 3, 1, 32), {}, "PAIRS"),
    "few channels, padded, by itself": ((2, 12, 12, 3), (3, 3, 3, 16), {"padding": "SAME"}, "PAIRS PAIRS"),
    "a stem": ((2, 12, 12, 3), (7, 7, 3, 16), {"strides": 2}, "PATCHES"),
    "some channels": ((2, 12, 12, 16), (3, 3, 16, 16), {}, "LINES"),
    "more features": ((2, 12, 12, 8), (3, 3, 8, 64), {}, "PATCHES"),
    "a stride": ((2, 12, 12, 16), (3, 3, 16, 16), {"strides": 2}, "PATCHES"),
    "a short axis": ((2, 6, 12, 16), (5, 3, 16, 16), {}, "PATCHES"),
    "one axis": ((2, 30, 16), (3, 16, 16), {}, "PATCHES"),
    "three axes": ((2, 8, 8, 8, 8), (3, 3, 3, 8, 8), {}, "LINES LINES"),
    "groups": ((2, 12, 12, 16), (3, 3, 8, 16), {"groups": 2}, "PATCHES PATCHES"),
}


@pytest.mark.parametrize(("shape", "kernel_shape", "options", "expected"), CHOSEN.values(), ids=CHOSEN)
def test_the_fewest_numbers_are_chosen(shape, kernel_shape, options, expected):
    x, kernel = jnp.ones(shape), jnp.ones(kernel_shape)
    groups = options.pop("groups", 1)
    words = {"strides": 1, "padding": "VALID"} | options
    plan = conv_plan.conv_plan(make_window("conv", shape[1:-1], kernel_shape[:-2], **words), groups, x, kernel)
    names = {getattr(conv_plan, name): name for name in ("LINES", "PAIRS", "PATCHES", "LAX_BATCHED")}
    trained, alone = (*expected.split(), "LAX_BATCHED")[:2]
    assert (names[plan.trained], names[plan.alone]) == (trained, alone)
    half = conv_plan.conv_plan(plan.window, groups, x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    assert names[half.trained] == "PATCHES"


@pytest.mark.parametrize("shape", [(2, 6, 7, 16), (2, 7, 6, 1)], ids=["LINES", "PAIRS"])
def test_fewer_patches_have_a_second_derivative_and_map(x64, shape):
    x, kernels = normal(shape, 1), normal((2, 3, 3, shape[-1], 4), 2)

    def outcome(method):
        def energy(x, kernel):
            return jnp.sin(F.conv(x, kernel, padding="SAME", method=method)).sum()

        slope = jax.grad(energy, (0, 1))
        second = jax.grad(lambda k: sum(jnp.vdot(g, g) for g in slope(x, k)))(kernels[0])
        return second, jax.vmap(slope, (None, 0))(x, kernels)

    assert_all_close(*map(jax.jit(outcome, static_argnums=0), ("auto", "lax")))


# Winograd's filtering

FILTERED = {
    "SAME": ((2, 7, 6, 3), "SAME"),
    "VALID": ((3, 9, 4, 2), "VALID"),
    "one tile": ((1, 3, 3, 2), 0),
    "uneven": ((5, 4, 5, 2), ((0, 2), (3, 1))),
    "empty": ((0, 5, 4, 2), 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("images", ["all at once", "some at a time"])
@pytest.mark.parametrize("form", ["WINOGRAD_2", "WINOGRAD_4"])
@pytest.mark.parametrize(("shape", "padding"), FILTERED.values(), ids=FILTERED)
def test_filtering_and_its_gradients_equal_the_loop(x64, monkeypatch, shape, padding, form, images):
    if images == "some at a time":
        monkeypatch.setattr(forms, "CHUNK_BYTES", 60_000)
    x, (kernel, _) = normal(shape, 1), kernel_and_bias((3, 3, shape[-1], 4))
    window = make_window("conv", shape[1:-1], (3, 3), 1, padding)
    taken = getattr(winograd, form)
    y = jax.jit(partial(taken.forward, window, 1))(x, kernel)
    gradients = jax.jit(partial(taken.gradients, window, 1))(x, kernel, jnp.asarray(weights(y)))
    expected, (dx, dkernel, _) = conv_loop(x, kernel, np.zeros(4), padding=padding, dy=weights(y))
    assert_all_close((y, *gradients), (expected, dx, dkernel))


def wide_arguments(shape=(16, 16, 16, 64), features=64, dtype=np.float32):
    return normal(shape, 1, dtype), 0.05 * normal((3, 3, shape[-1], features), 2, dtype)


def filtered(x, kernel, **options):
    """Whether the convolution is made of tiles: nothing else has barriers."""
    return "optimization_barrier" in str(
        jax.make_jaxpr(lambda x, kernel: jax.vjp(partial(F.conv, padding="SAME", **options), x, kernel)[0])(x, kernel)
    )


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "features"), [((16, 14, 13, 64), 80), ((64, 4, 4, 512), 64)])
def test_wide_convolutions_are_filtered_within_the_documented_tolerance(shape, features):
    x, kernel = wide_arguments(shape, features)
    assert filtered(x, kernel)
    found = value_and_gradients(partial(F.conv, padding="SAME"), x, kernel)
    with jax.enable_x64(True):
        plain = partial(F.conv, padding="SAME", method="lax")
        x, kernel = x.astype(np.float64), kernel.astype(np.float64)
        y, vjp = jax.vjp(plain, jnp.asarray(x), jnp.asarray(kernel))
        expected = y, vjp(jnp.asarray(np.float64(weights(found[0]))))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-5 * np.abs(b).max())


def test_a_convolution_that_is_asked_alone_is_filtered_where_kernels_are_large():
    def alone(channels):
        arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 8, 8, channels), (3, 3, channels, channels))]
        return "optimization_barrier" in str(jax.make_jaxpr(partial(F.conv, padding="SAME"))(*arrays))

    assert filtered(np.ones((64, 8, 8, 64), np.float32), np.ones((3, 3, 64, 64), np.float32))
    assert [alone(channels) for channels in (64, 256)] == [False, True]


def test_what_must_be_exact_is_not_filtered():
    x, kernel = wide_arguments()
    with jax.default_matmul_precision("highest"):
        assert not filtered(x, kernel)
    for dtype in (jnp.bfloat16, jnp.float16):
        assert not filtered(x.astype(dtype), kernel.astype(dtype))
    with jax.enable_x64(True):
        assert not filtered(x.astype(np.float64), kernel.astype(np.float64))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((16, 16, 16, 16), {}),
        ((7, 16, 16, 64), {}),
        ((0, 16, 16, 64), {}),
        ((16, 32, 32, 64), {"strides": 2}),
        ((16, 16, 16, 64), {"dilation": 2}),
        ((16, 16, 16, 128), {"groups": 2}),
        ((16, 16, 16, 64), {"method": "lax"}),
    ],
)
def test_where_filtering_does_not_pay_or_fit_nothing_is_filtered(shape, options):
    x, _ = wide_arguments(shape)
    assert not filtered(x, np.ones((3, 3, shape[-1] // options.get("groups", 1), 64), np.float32), **options)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["WINOGRAD_2", "WINOGRAD_4"])
def test_filtering_has_a_second_derivative_and_maps(x64, form):
    x, kernel = (jnp.asarray(array) for array in (normal((2, 1, 6, 5, 2), 1), normal((2, 3, 3, 2, 3), 2)))
    window = make_window("conv", (6, 5), (3, 3), 1, "SAME")

    def twice(form, x, kernel):
        plan = forms.Plan(window, 1, form, form, forms.LAX)

        def slope(kernel):
            return (jax.grad(lambda x: (forms.planned(plan, x, kernel) ** 3).sum())(x) ** 2).sum()

        return jax.grad(slope)(kernel)

    found, expected = (
        jax.jit(jax.vmap(partial(twice, taken)))(x, kernel) for taken in (getattr(winograd, form), forms.LAX)
    )
    assert_close(found, expected)


@pytest.mark.slow
def test_training_with_filtered_convolutions_reaches_what_lax_reaches():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32)
    (x, held_x), (y, held_y) = ((array[:1536], array[1536:]) for array in (x, y.astype(np.int32)))

    assert filtered(np.ones((64, 8, 8, 64), np.float32), np.ones((3, 3, 64, 64), np.float32))

    def accuracy(method, seed):
        def predicted(params, x):
            for name in ("first", "second"):
                x = jnp.tanh(F.conv(x, params[name], padding="SAME", method=method))
            return F.dense(F.flatten(F.avg_pool(x, 2)), params["dense"])

        def loss(params, x, y):
            return optax.softmax_cross_entropy_with_integer_labels(predicted(params, x), y).mean()

        optimizer = optax.adam(1e-3)
        shapes = {"first": (3, 3, 1, 64), "second": (3, 3, 64, 64), "dense": (1024, 10)}
        draw = jax.nn.initializers.lecun_normal()
        keys = jax.random.split(jax.random.key(seed), 3)
        params = {name: draw(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(1536), (4, 1)), axis=1).reshape(-1, 64)

        @jax.jit  # a dispatch a step: within a loop, lax takes minutes
        def step(params, state, x, y):
            updates, state = optimizer.update(jax.grad(loss)(params, x, y), state)
            return optax.apply_updates(params, updates), state

        state = optimizer.init(params)
        for chosen in order:
            params, state = step(params, state, x[chosen], y[chosen])
        return (predicted(params, held_x).argmax(-1) == held_y).mean()

    found, plain = (np.array([accuracy(method, seed) for seed in range(3)]) for method in ("auto", "lax"))
    assert plain.min() > 0.85
    np.testing.assert_allclose(found, plain, atol=0.01)


# Some images at a time

CHUNKED = {
    "conv": (F.conv, (7, 5, 4, 3), (3, 2, 3, 4), {"strides": 2, "padding": "SAME"}),
    "conv by groups": (F.conv, (5, 6, 4), (3, 2, 6), {"groups": 2}),
    "conv_transpose": (F.conv_transpose, (5, 3, 2, 2), (3, 2, 2, 4), {"strides": 2}),
    "conv_transpose by groups": (F.conv_transpose, (13, 4, 4), (2, 2, 4), {"groups": 2, "strides": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("function", "shape", "kernel_shape", "options"), CHUNKED.values(), ids=CHUNKED)
def test_images_taken_some_at_a_time_give_the_same(x64, monkeypatch, function, shape, kernel_shape, options):
    x, (kernel, _) = normal(shape, 1), kernel_and_bias(kernel_shape)
    # Without a gradient, convolution in one and two dimensions is lax's.
    found = [value_and_gradients(partial(function, **options), x, kernel)]
    monkeypatch.setattr(forms, "CHUNK_BYTES", 3000)
    found.append(value_and_gradients(partial(function, **options), x, kernel))
    assert "scan" in str(jax.make_jaxpr(jax.grad(lambda x: function(x, kernel, **options).sum()))(x))
    assert_all_close(*found)
    everything = value_and_gradients(partial(function, method="lax", **options), x, kernel)
    assert_all_close(found[1], everything)


@pytest.mark.parametrize("count", [0, 1, 3, 7, 8, 12, 100])
def test_no_chunk_is_larger_than_what_fits(monkeypatch, count):
    monkeypatch.setattr(forms, "CHUNK_BYTES", 7 * 10)
    sizes = []

    def function(x):
        sizes.append(x.shape[0])
        return 2 * x, x.sum()

    x = jnp.arange(float(count))
    each, total = forms.by_images(function, 10, x)
    np.testing.assert_array_equal(each, 2 * x)
    assert (float(total), max(sizes)) == (count * (count - 1) / 2, min(count, 7))
    # No more than two programs: the loop's body, which is traced for its result as well, and the rest.
    assert set(sizes) <= {7, count % 7}


# The bytes that one image's patches and what flows to them, stamps, or tiles take.
TOO_LARGE = {
    "filtered": (partial(F.conv, padding="SAME"), (256, 4, 4, 64), (3, 3, 64, 64), 2 * 36 * 128 * 4),
    "by groups": (partial(F.conv, groups=2), (1, 8, 4), (3, 2, 4), 2 * 6 * 12 * 4),
    "strided": (partial(F.conv, strides=2), (1, 9, 4), (3, 4, 2), 2 * 4 * 12 * 4),
    "transposed": (F.conv_transpose, (1, 4, 2), (2, 2, 3), 4 * 6 * 4),
}


@pytest.mark.parametrize(("function", "shape", "kernel_shape", "fits"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_an_image_of_which_too_much_would_be_made_takes_the_plain_form(
    monkeypatch, function, shape, kernel_shape, fits
):
    arrays = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (shape, kernel_shape)]
    plain = []
    for limit in (fits, fits - 1):
        monkeypatch.setattr(forms, "CHUNK_BYTES", limit)
        program = str(jax.make_jaxpr(lambda *a: jax.vjp(function, *a)[0])(*arrays))
        plain.append("branches_platforms" not in program and "conv_general_dilated" in program)
    assert plain == [False, True]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_stamps_are_counted_in_the_dtype_that_is_made(monkeypatch, dtype):
    monkeypatch.setattr(forms, "CHUNK_BYTES", 4 * 6 * 4)
    x, kernel = jnp.ones((2, 4, 2), dtype), jnp.ones((2, 2, 3), dtype)
    assert "scan" in str(jax.make_jaxpr(F.conv_transpose)(x, kernel))


# Mapped over members

MAPPED = {"both": (0, 0), "inputs": (0, None), "kernels": (None, 0)}


@pytest.mark.slow
@pytest.mark.parametrize("axes", MAPPED.values(), ids=MAPPED)
@pytest.mark.parametrize("function", [F.conv, F.conv_transpose])
def test_a_mapped_convolution_is_no_grouped_one(function, axes):
    arrays = normal((3, 2, 5, 4, 2), 1, np.float32), normal((3, 3, 2, 2, 4), 2, np.float32)
    x, kernel = (array if axis == 0 else array[0] for array, axis in zip(arrays, axes, strict=True))
    options = {"strides": 2, "padding": "SAME"}
    mapped, plain = (jax.jit(jax.vmap(partial(function, method=method, **options), axes)) for method in ("auto", "lax"))
    assert "feature_group_count = 3" not in mapped.lower(x, kernel).as_text()
    assert_close(mapped(x, kernel), plain(x, kernel), np.float32)
    both = jax.vmap(jax.vmap(partial(function, **options), (0, None)), (None, 0))
    each = [[function(x, kernel, **options) for x in arrays[0][:2]] for kernel in arrays[1][:2]]
    assert_close(jax.jit(both)(arrays[0][:2], arrays[1][:2]), np.asarray(each), np.float32)


# Large windows

LARGE = {
    "1-D": (F.conv, (2, 420, 1), (400, 1, 3), {"strides": 10}),
    "2-D apart": (F.conv, (1, 32, 40, 2), (16, 16, 2, 3), {"strides": 16}),
    "3-D": (F.conv, (1, 8, 7, 6, 1), (6, 6, 6, 1, 2), {}),
    "grouped": (F.conv, (1, 20, 20, 4), (13, 13, 2, 4), {"groups": 2, "padding": "SAME"}),
    "depthwise": (F.depthwise_conv, (1, 33, 32, 2), (31, 31, 1, 4), {}),
    "depthwise apart": (F.depthwise_conv, (1, 26, 26, 2), (13, 13, 1, 2), {"strides": 13}),
    "transpose": (F.conv_transpose, (1, 4, 3, 2), (13, 12, 2, 3), {"strides": 2}),
    "transpose apart": (F.conv_transpose, (1, 2, 3, 4), (16, 12, 2, 4), {"strides": (16, 12), "groups": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize(("function", "shape", "kernel_shape", "options"), LARGE.values(), ids=LARGE)
def test_programs_do_not_grow_with_the_window_and_give_what_lax_gives(function, shape, kernel_shape, options):
    x, kernel = normal(shape, 1, np.float32), normal(kernel_shape, 2, np.float32)
    auto, plain = (partial(function, **options, method=method) for method in ("auto", "lax"))
    program = jax.make_jaxpr(jax.grad(lambda *args: jnp.sum(auto(*args) ** 2), argnums=(0, 1)))(x, kernel)
    # Where each channel is alone, a row of the window is unrolled, not the whole of it.
    most = 65 * kernel_shape[1] if function is F.depthwise_conv else 400
    assert str(program).count("\n") < most
    assert_all_close(value_and_gradients(auto, x, kernel), value_and_gradients(plain, x, kernel), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [16, 32])
def test_a_filtered_convolution_has_a_second_derivative_and_can_be_vmapped(channels):
    x = jax.random.normal(jax.random.key(0), (8, 16, 16, channels))
    kernel, along = 0.1 * jax.random.normal(jax.random.key(1), (2, 3, 3, channels, channels))

    def outcome(method):
        def energy(kernel):
            return jnp.tanh(F.conv(x, kernel, padding="SAME", method=method)).sum()

        second = jax.grad(lambda kernel: jnp.vdot(jax.grad(energy)(kernel), along))(kernel)
        return second, jax.lax.map(jax.grad(energy), jnp.stack([kernel, along]))

    def vmapped(kernels):
        return jax.vmap(jax.grad(lambda kernel: jnp.tanh(F.conv(x, kernel, padding="SAME")).sum()))(kernels)

    second, each = jax.jit(outcome, static_argnums=0)("auto")
    plain, plain_each = jax.jit(outcome, static_argnums=0)("lax")
    for found, expected in ((second, plain), (each, plain_each), (jax.jit(vmapped)(jnp.stack([kernel, along])), each)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * jnp.abs(expected).max())
