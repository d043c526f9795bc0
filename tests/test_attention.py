"""Attention and positions against float64 NumPy loops, Flax, jax.nn and the papers' own code: values and gradients."""

import math
from functools import partial

import flax.linen as nn
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

KEY = jax.random.key(0)


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_close(found, expected, share=1e-8):
    """Every entry within a share of the expected tensor's largest, or what rounding leaves of numbers of size one."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max(initial=0) + 1e-14)


def outcome(function, *arguments):
    """The result and, for a weight of its own on each entry, the gradients to every argument."""

    @jax.jit
    def both(*arguments):
        y, vjp = jax.vjp(function, *arguments)
        return y, *vjp(weights(y))

    return both(*arguments)


def weights(y):
    return jnp.cos(jnp.arange(y.size)).reshape(y.shape).astype(y.dtype)


# The function


def attention_loop(query, key, value, bias, visible):
    """One example, one head, one query at a time; and what flows back from the weights of :func:`outcome`."""
    batch, time, heads, features = query.shape
    group = heads // key.shape[2]
    y = np.zeros((batch, time, heads, value.shape[3]))
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    dquery, dkey, dvalue, dbias = map(np.zeros, (query.shape, key.shape, value.shape, bias.shape))
    for b, t, h in np.ndindex(batch, time, heads):
        seen = np.flatnonzero(visible[b, h, t] & (bias[b, h, t] > -np.inf))
        if not seen.size:
            continue
        keys, values = key[b, seen, h // group], value[b, seen, h // group]
        scores = keys @ query[b, t, h] / math.sqrt(features) + bias[b, h, t, seen]
        share = np.exp(scores - scores.max())
        share /= share.sum()
        y[b, t, h] = share @ values
        back = values @ dy[b, t, h]
        dscores = share * (back - share @ back)
        dbias[b, h, t, seen] = dscores
        dquery[b, t, h] = dscores @ keys / math.sqrt(features)
        dkey[b, seen, h // group] += np.outer(dscores, query[b, t, h]) / math.sqrt(features)
        dvalue[b, seen, h // group] += np.outer(share, dy[b, t, h])
    return y, dquery, dkey, dvalue, dbias


def visible_loop(shape, mask, causal, window, lengths, offset):
    visible = np.ones(shape, bool)
    for b, h, t, k in np.ndindex(shape):
        place = t + (0 if offset is None else offset[b])
        at = tuple(min(index, size - 1) for index, size in zip((b, h, t, k), np.shape(mask), strict=False))
        visible[b, h, t, k] = (
            (mask is None or mask[at])
            and (not causal or k <= place)
            and (window is None or abs(place - k) < window)
            and (lengths is None or k < lengths[b])
        )
    return visible


@st.composite
def cases(draw):
    small = partial(st.integers, 1)
    batch, time, keys, kv_heads, group = (draw(small(n)) for n in (2, 4, 5, 2, 3))
    shape = batch, kv_heads * group, time, keys
    sizes = draw(st.tuples(*(st.sampled_from((1, size)) for size in shape)))
    numbers = draw(st.integers(0, 1000))
    return {
        "shape": shape,
        "kv_heads": kv_heads,
        "seed": numbers,
        "mask": draw(st.none() | st.just(np.random.default_rng(numbers).random(sizes) < 0.6)),
        "hide": draw(st.booleans()),
        "causal": draw(st.booleans()),
        "window": draw(st.none() | st.integers(1, 4)),
        "lengths": draw(st.none() | st.just(np.random.default_rng(numbers).integers(0, keys + 1, batch))),
        "offset": draw(st.none() | st.just(np.random.default_rng(numbers + 1).integers(0, 4, batch))),
    }


def check_against_the_loop(case):
    (batch, heads, time, keys), seed = case["shape"], case["seed"]
    query = normal(batch, time, heads, 3, seed=seed)
    key, value = normal(batch, keys, case["kv_heads"], 3, seed=1), normal(batch, keys, case["kv_heads"], 2, seed=2)
    bias = normal(*case["shape"], seed=3)
    if case["hide"]:
        bias[np.random.default_rng(seed).random(bias.shape) < 0.3] = -np.inf
    options = {name: case[name] for name in ("mask", "causal", "window", "lengths", "offset")}
    expected = attention_loop(query, key, value, bias, visible_loop(case["shape"], **options))
    with jax.enable_x64(True):
        options = {name: jnp.asarray(v) if isinstance(v, np.ndarray) else v for name, v in options.items()}
        found = outcome(lambda q, k, v, b: F.attention(q, k, v, bias=b, **options), query, key, value, bias)
        assert all(leaf.dtype == jnp.float64 for leaf in found)
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)


@given(cases())
@settings(max_examples=12, deadline=None)
def test_attention_equals_the_loop(case):
    check_against_the_loop(case)


@pytest.mark.slow
@given(cases())
@settings(max_examples=150, deadline=None)
def test_attention_equals_the_loop_at_length(case):
    check_against_the_loop(case)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [({"causal": True}, {"is_causal": True}), ({"window": 2}, {"local_window_size": 1})],
    ids=["causal", "window"],
)
def test_attention_equals_that_of_jax_nn(ours, theirs):
    query, key, value = (normal(2, 5, heads, 4, seed=heads, dtype=np.float32) for heads in (4, 2, 2))
    lengths = jnp.array([5, 4], jnp.int32)  # each query sees a key; one that does not is another matter, see below
    found = outcome(partial(F.attention, lengths=lengths, **ours), query, key, value)
    theirs = partial(jax.nn.dot_product_attention, key_value_seq_lengths=lengths, **theirs)
    for one, other in zip(found, outcome(theirs, query, key, value), strict=True):
        assert_close(one, other, 1e-5)


HIDDEN = {
    "mask": {"mask": jnp.array([True, False]).reshape(1, 1, 2, 1)},
    "bias": {"bias": jnp.array([0.0, -jnp.inf]).reshape(1, 1, 2, 1)},
    "lengths": {"lengths": jnp.array([0])},
    "window": {"window": 1, "offset": jnp.array([3])},
    "no keys": {},
}


@pytest.mark.parametrize("options", HIDDEN.values(), ids=HIDDEN)
def test_a_query_that_sees_nothing_gives_zeros_and_no_nan(options):
    query, key = normal(1, 2, 2, 3), normal(1, 3 if options else 0, 1, 3, seed=1)
    y, dquery, dkey, dvalue = outcome(partial(F.attention, **options), query, key, key)
    assert all(jnp.isfinite(leaf).all() for leaf in (y, dquery, dkey, dvalue))
    assert not y[:, 1].any()
    assert not dquery[:, 1].any()
    assert bool(y[:, 0].any()) == ("mask" in options or "bias" in options)


@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 0, 2, 4)], ids=["batch", "time"])
def test_attention_over_nothing(shape):
    x = jnp.zeros(shape)
    lengths = jnp.zeros(shape[0], jnp.int32)
    for leaf in outcome(partial(F.attention, causal=True, window=2, lengths=lengths), x, x, x):
        assert leaf.shape == shape


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_attention_in_half_precision(dtype):
    arguments = [jnp.asarray(3 * normal(2, 6, heads, 8, seed=heads), dtype) for heads in (4, 2, 2)]
    attend = partial(F.attention, causal=True, lengths=jnp.array([6, 4]))
    found = outcome(attend, *arguments)
    expected = outcome(attend, *(leaf.astype(jnp.float32) for leaf in arguments))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert_close(one, other, 4 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("garbage", [np.nan, np.inf])
def test_keys_beyond_the_lengths_are_seen_by_nothing_whatever_they_hold(garbage):
    query, key, value = (normal(2, 3, heads, 4, seed=heads, dtype=np.float32) for heads in (4, 2, 2))
    attend = partial(F.attention, lengths=[2, 0])
    padded = (np.arange(3) >= np.array([[2], [0]]))[..., None, None]
    found = outcome(attend, query, *(np.where(padded, np.float32(garbage), array) for array in (key, value)))
    for one, other in zip(found, outcome(attend, query, key, value), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_nan_in_the_bias_is_no_hidden_key():
    x, bias = jnp.ones((1, 2, 1, 2)), jnp.array([[0.0, jnp.nan], [0.0, -jnp.inf]]).reshape(1, 1, 2, 2)
    y = F.attention(x, x, x, bias=bias)
    assert jnp.isnan(y[:, 0]).all()
    np.testing.assert_array_equal(y[:, 1], x[:, 1])


def test_large_scores_stay_finite():
    x = jnp.asarray(1e4 * normal(1, 4, 1, 2), jnp.float32)
    assert all(jnp.isfinite(leaf).all() for leaf in outcome(partial(F.attention, causal=True), x, x, x))


def test_weights_are_dropped_before_they_meet_the_values():
    x = jnp.asarray(normal(1, 4, 2, 3), jnp.float32)
    doubled = F.attention(x, x, x, drop=lambda weights: 2 * weights)
    assert_close(doubled, 2 * F.attention(x, x, x), 1e-6)


CLOSED = {
    "hidden by a bias": {"bias": jnp.asarray(np.where(normal(1, 4, 5, 6) > 0.5, -np.inf, normal(1, 4, 5, 6, seed=1)))},
    "rows that see nothing": {"mask": jnp.asarray(normal(2, 1, 5, 6) > 0.7).at[:, :, 1:3].set(False)},
    "all": {"causal": True, "lengths": jnp.array([6, 2]), "bias": jnp.zeros((1, 1, 5, 6)).at[..., 0].set(-jnp.inf)},
}


def derivatives(arguments, options):
    """The result, the gradients, and both directions of the second derivative, from the closed form and from JAX's."""

    def every(f):
        def energy(*arguments):
            y = f(*arguments).astype(jnp.promote_types(arguments[0].dtype, jnp.float32))
            return jnp.vdot(weights(y), y) + 0.5 * jnp.vdot(y, y)

        gradient = jax.grad(energy, (0, 1, 2))
        along = jax.tree.map(jnp.cos, arguments)
        forward = jax.jvp(f, arguments, along)
        return forward, gradient(*arguments), jax.jvp(gradient, arguments, along)[1]

    closed = partial(F.attention, **options)
    return jax.jit(lambda: (every(closed), every(partial(closed, drop=lambda weights: weights))))()


@pytest.mark.slow
@pytest.mark.parametrize("options", CLOSED.values(), ids=CLOSED)
def test_the_closed_derivative_is_that_of_jax_in_both_modes_and_orders(options):
    with jax.enable_x64(True):
        arguments = normal(2, 5, 4, 3), normal(2, 6, 2, 3, seed=1), normal(2, 6, 2, 3, seed=2)
        for one, other in zip(*map(jax.tree.leaves, derivatives(arguments, options)), strict=True):
            assert np.isfinite(other).all()
            assert_close(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("options", CLOSED.values(), ids=CLOSED)
def test_the_closed_derivative_in_half_precision(dtype, options):
    shapes = (2, 5, 4, 3), (2, 6, 2, 3), (2, 6, 2, 3)
    arguments = tuple(jnp.asarray(normal(*shape, seed=n), dtype) for n, shape in enumerate(shapes))
    forward, gradients, _ = derivatives(arguments, options)[0]
    wide = tuple(leaf.astype(jnp.float32) for leaf in arguments)
    expected, slopes, _ = derivatives(wide, options)[1]
    # Of the tangent along the cosines, each in half precision itself, which cancel in part.
    for one, other in zip(jax.tree.leaves((forward, gradients)), jax.tree.leaves((expected, slopes)), strict=True):
        assert one.dtype == dtype
        assert_close(one, other, 8 * float(jnp.finfo(dtype).eps))


def test_what_is_hidden_may_overflow_in_half_precision():
    query, key = jnp.ones((1, 2, 1, 4), jnp.float16), jnp.ones((1, 3, 1, 4), jnp.float16)
    value = key.at[:, 2].set(6e4)

    @jax.jit
    def gradients(*arguments):
        y, vjp = jax.vjp(partial(F.attention, mask=jnp.array([True, True, False]).reshape(1, 1, 1, 3)), *arguments)
        return vjp(jnp.full_like(y, 4))

    for found in gradients(query, key, value):
        assert jnp.isfinite(found).all()


def test_values_that_stand_still_cost_no_product():
    query, key, value = (jnp.asarray(normal(1, 3, 2, 4, seed=n)) for n in range(3))

    def products(which):
        def some(*moving):
            arguments = dict(zip(which, moving, strict=True))
            return F.attention(**({"query": query, "key": key, "value": value} | arguments)).sum()

        given = [{"query": query, "key": key, "value": value}[name] for name in which]
        return str(jax.make_jaxpr(jax.grad(some, tuple(range(len(given)))))(*given)).count("dot_general[")

    assert products(("query", "key")) < products(("query", "key", "value"))
    assert products(("value",)) == 3  # the scores, the mixture, and what flows back


X = jnp.zeros((2, 3, 4, 6))
WRONG = {
    r"query must be a floating array; got int32\[2,3,4,6\]": {"query": X.astype(int)},
    r"value must have four axes, \(batch, time, heads, features\); got float32\[2,3\]": {"value": X[:, :, 0, 0]},
    r"key must have shape \(2, keys, kv_heads, 6\) for query float32\[2,3,4,6\]; got float32\[2,3,4,5\]": {
        "key": X[..., :5]
    },
    r"value must have shape \(2, 3, 4\) and features, as the key; got float32\[2,2,4,6\]": {"value": X[:, :2]},
    r"key must have a number of heads that divides the query's 4; got float32\[2,3,3,6\]": {
        "key": X[:, :, :3],
        "value": X[:, :, :3],
    },
    r"lengths must be integers of shape \(2,\); got float32\[2\]": {"lengths": jnp.ones(2)},
    r"lengths must be integers of shape \(2,\); got int64\[1\]": {"lengths": [1]},
    r"lengths must be from 0 to the time, 3; got lengths from 1 to 99": {"lengths": [1, 99]},
    r"offset must be integers of shape \(2,\); got float64\[2\]": {"offset": [0.5, 1.0]},
    r"offset must be integers of shape \(2,\); got int32\[3\]": {"offset": jnp.ones(3, jnp.int32)},
    r"mask must have four axes.*\(2, 4, 3, 3\) here, each of that size or 1; got bool\[3,3\]": {
        "mask": jnp.ones((3, 3), bool)
    },
    r"bias must have four axes.*each of that size or 1; got float32\[2,2,3,3\]": {"bias": jnp.ones((2, 2, 3, 3))},
    r"mask must be of booleans; got float32\[1,1,3,3\]. Did you mean bias=…": {"mask": jnp.ones((1, 1, 3, 3))},
    r"bias must be a floating array; got int32\[1,1,1,1\]": {"bias": jnp.ones((1, 1, 1, 1), jnp.int32)},
    r"window must be a positive int; got 0": {"window": 0},
}


@pytest.mark.parametrize(("message", "wrong"), WRONG.items(), ids=range(len(WRONG)))
def test_attention_says_what_is_wrong(message, wrong):
    with pytest.raises((TypeError, ValueError), match=f"attention: {message}"):
        F.attention(**({"query": X, "key": X, "value": X} | wrong))


# Positions


def test_sinusoidal_positions_equal_the_loop():
    expected = np.zeros((7, 5))
    for p, i in np.ndindex(7, 5):
        angle = p / 50.0 ** (2 * (i // 2) / 5)
        expected[p, i] = math.cos(angle) if i % 2 else math.sin(angle)
    with jax.enable_x64(True):
        assert_close(F.sinusoidal_positions(jnp.arange(7), 5, base=50.0), expected)


def test_rotary_equals_a_product_of_complex_numbers():
    x, places = normal(2, 4, 3, 6), np.array([[0, 1, 5, 9], [3, 2, 1, 100]])
    turn = np.exp(1j * places[:, :, None, None] * 10_000.0 ** (-np.arange(3) * 2 / 6))
    y = (x[..., :3] + 1j * x[..., 3:]) * turn
    dy = np.cos(np.arange(x.size)).reshape(x.shape)
    dx = (dy[..., :3] + 1j * dy[..., 3:]) * turn.conj()
    with jax.enable_x64(True):
        found = outcome(lambda x: F.rotary(x, jnp.asarray(places)), x)
    for one, other in zip(found, (y, dx), strict=True):
        assert_close(one, np.concatenate([other.real, other.imag], axis=-1))


def test_rotary_scores_depend_on_distance_alone():
    query, key = normal(1, 1, 1, 8), normal(1, 1, 1, 8, seed=1)

    def score(p, q):
        return (F.rotary(query, jnp.array([[p]])) * F.rotary(key, jnp.array([[q]]))).sum()

    with jax.enable_x64(True):
        assert_close(score(3, 1), score(1003, 1001), 1e-9)
        assert F.rotary(jnp.asarray(query, jnp.bfloat16), jnp.array([[7]])).dtype == jnp.bfloat16


def slopes_of_the_authors(n):
    """As published with the paper, for any number of heads."""

    def of_a_power(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(n).is_integer():
        return of_a_power(n)
    power = 2 ** math.floor(math.log2(n))
    return of_a_power(power) + slopes_of_the_authors(2 * power)[0::2][: n - power]


@pytest.mark.parametrize("heads", range(1, 26))
def test_alibi_has_the_slopes_of_the_paper(heads):
    assert_close(F.alibi_slopes(heads), slopes_of_the_authors(heads), 1e-12)


def test_alibi_equals_the_loop():
    queries, keys, slopes = np.array([[4, 5], [0, 1]]), np.arange(3)[None], slopes_of_the_authors(3)
    expected = np.zeros((2, 3, 2, 3))
    for b, h, t, k in np.ndindex(expected.shape):
        expected[b, h, t, k] = -slopes[h] * abs(queries[b, t] - keys[0, k])
    with jax.enable_x64(True):
        assert_close(F.alibi(3, jnp.asarray(queries), jnp.asarray(keys)), expected)


def test_alibi_of_unsigned_positions():
    places = jnp.arange(3, dtype=jnp.uint32)[None]
    np.testing.assert_array_equal(F.alibi(2, places, places), F.alibi(2, *[places.astype(int)] * 2))


@pytest.mark.parametrize("layer", [L.learned_positions(4), L.sinusoidal_positions()], ids=lambda layer: layer.kind)
def test_added_positions_keep_the_dtype(layer):
    x = jnp.ones((1, 3, 4), jnp.bfloat16)
    params, state = layer.init(KEY, x)
    y, cache = layer.prefill(params, state, x, length=4)
    again, _ = layer.decode(params, cache, x[:, :1])
    assert layer.apply(params, state, x, train=False)[0].dtype == y.dtype == again.dtype == jnp.bfloat16


def test_learned_positions_are_as_many_as_the_first_input_has_unless_told():
    x = jnp.zeros((1, 5, 2))
    params, state = L.learned_positions().init(KEY, x)
    assert params["embedding"].shape == (5, 2)
    y, _ = L.learned_positions().apply(params, state, x[:, :3], train=False)
    np.testing.assert_array_equal(y[0], params["embedding"][:3])
    with pytest.raises(ValueError, match=r"input must have shape \(batch, up to 5, 2\); got float32\[1,6,2\]"):
        L.learned_positions().apply(params, state, jnp.zeros((1, 6, 2)), train=False)
    whole = L.learned_positions(whole=True)
    np.testing.assert_array_equal(whole.apply(params, state, x, train=False)[0][0], params["embedding"])
    for time in (3, 6):
        with pytest.raises(ValueError, match=rf"input must have shape \(batch, 5, 2\); got float32\[1,{time},2\]"):
            whole.apply(params, state, jnp.zeros((1, time, 2)), train=False)


def test_a_class_token_stands_first_and_the_first_step_is_its_own():
    x, lengths = jnp.arange(12.0).reshape(2, 3, 2), jnp.array([3, 0])
    params, (layer, state) = {"token": jnp.array([7.0, 8.0])}, (L.class_token(), {})
    assert L.class_token().init(KEY, x)[0]["token"].tolist() == [0, 0]
    y, _ = layer.apply(params, state, x, train=False)
    np.testing.assert_array_equal(y, np.concatenate([np.full((2, 1, 2), [7, 8]), x], 1))
    ragged, _ = layer.apply(params, state, dl.Ragged(x, lengths), train=False)
    assert ragged.lengths.tolist() == [4, 1]
    assert layer.apply(params, state, x.astype(jnp.bfloat16), train=False)[0].dtype == jnp.bfloat16
    assert L.first_step().apply({}, {}, ragged, train=False)[0].tolist() == [[7, 8], [7, 8]]
    assert L.first_step().apply({}, {}, dl.Ragged(x, lengths), train=False)[0].tolist() == [[0, 1], [0, 0]]
    with pytest.raises(ValueError, match=r"class_token.*input must have 2 features; got float32\[1,3,4\]"):
        layer.apply(params, state, jnp.ones((1, 3, 4)), train=False)
    for wrong in (jnp.ones(3), jnp.ones((3, 0, 2))):
        with pytest.raises(ValueError, match=r"first_step.*must have shape \(batch, time, …\) and a position; got"):
            L.first_step().apply({}, {}, wrong, train=False)


def test_positions_say_what_is_wrong():
    x, places = jnp.ones((2, 3, 1, 4)), jnp.arange(3)[None]
    with pytest.raises(
        ValueError, match=r"rotary: input must have shape .*even number of features\); got float32\[2,3"
    ):
        F.rotary(x[..., :3], places)
    with pytest.raises(
        ValueError, match=r"rotary: positions must have shape \(1 or 2, 3\) for input .*; got int32\[3\]"
    ):
        F.rotary(x, places[0])
    with pytest.raises(ValueError, match=r"rotary: positions must be integers; got float32\[1,3\]"):
        F.rotary(x, places.astype(float))
    with pytest.raises(ValueError, match=r"rotary: base must be positive; got 0"):
        F.rotary(x, places, base=0)
    with pytest.raises(ValueError, match=r"sinusoidal_positions: features must be a positive int; got 0"):
        F.sinusoidal_positions(places, 0)
    with pytest.raises(ValueError, match=r"alibi_slopes: heads must be a positive int; got 0"):
        F.alibi_slopes(0)
    with pytest.raises(
        ValueError, match=r"alibi: key_positions must be integers of two axes, \(batch, time\); got int32"
    ):
        F.alibi(2, places, places[0])
    with pytest.raises(ValueError, match=r"sinusoidal_positions\(base=-1.0\): base must be positive; got -1.0"):
        L.sinusoidal_positions(base=-1.0)
    with pytest.raises(
        ValueError, match=r"learned_positions\(length=2\): input must be no longer than 2 positions; got"
    ):
        L.learned_positions(2).init(KEY, jnp.ones((1, 3, 4)))
    layer = L.learned_positions(3)
    params, state = layer.init(KEY, jnp.ones((1, 3, 4)))
    with pytest.raises(ValueError, match=r"input must have shape \(batch, up to 3, 4\); got float32\[1,4,4\]"):
        layer.apply(params, state, jnp.ones((1, 4, 4)), train=False)
    with pytest.raises(ValueError, match=r"input must have three axes, \(batch, time, features\); got float32\[3,4\]"):
        layer.apply(params, state, jnp.ones((3, 4)), train=False)
    with pytest.raises(
        ValueError, match=r"prefill's length must be no more than the 3 positions that there are; got 4"
    ):
        layer.prefill(params, state, jnp.ones((1, 2, 4)), length=4)
    _, cache = layer.prefill(params, state, jnp.ones((1, 2, 4)), length=3)
    with pytest.raises(ValueError, match=r"decode must stay within 3 positions; got position 4"):
        layer.decode(params, cache, jnp.ones((1, 2, 4)))


# The layer


def flax_attention(heads, features):
    """Flax's layer as a function of our parameters and of what queries and keys are made of."""
    module = nn.MultiHeadDotProductAttention(heads, deterministic=True)

    def apply(params, x, memory, mask):
        shapes = dict.fromkeys(("query", "key", "value"), (-1, heads, features // heads))
        shapes["out"] = (heads, features // heads, -1)
        theirs = {
            name: {
                "kernel": params[name]["kernel"].reshape(shape),
                "bias": params[name]["bias"].reshape(shape[1:] if name != "out" else -1),
            }
            for name, shape in shapes.items()
        }
        return module.apply({"params": theirs}, x, memory, mask=mask)

    return apply


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["self", "causal", "ragged", "cross"])
def test_multi_head_attention_equals_that_of_flax(kind):
    x = jnp.asarray(normal(2, 5, 6), jnp.float32)
    memory = jnp.asarray(normal(2, 4, 6, seed=1), jnp.float32) if kind == "cross" else x
    layer = L.multi_head_attention(3, causal=kind == "causal", bias_init=jax.nn.initializers.normal())
    lengths = jnp.array([5, 2])
    given = dl.Ragged(x, lengths) if kind == "ragged" else (x, memory) if kind == "cross" else x
    params, state = layer.init(KEY, given)
    mask = jnp.ones((2, 1, 5, memory.shape[1]), bool)
    if kind == "causal":
        mask = nn.make_causal_mask(jnp.ones((2, 5)), dtype=bool)
    real = dl.Ragged(x, lengths).mask()[:, :, None]
    if kind == "ragged":
        mask = real.reshape(2, 1, 1, 5)

    def ours(params, x, memory):
        given = dl.Ragged(x, lengths) if kind == "ragged" else (x, memory) if kind == "cross" else x
        y, _ = layer.apply(params, state, given, train=False)
        return jnp.where(real, y.x, 0) if kind == "ragged" else y

    def theirs(params, x, memory):
        y = flax_attention(3, 6)(params, x, memory if kind == "cross" else x, mask)
        return jnp.where(real, y, 0) if kind == "ragged" else y

    found, expected = (outcome(function, params, x, memory) for function in (ours, theirs))
    # The gradient to the keys' bias is zero in exact arithmetic: each tree is compared with its largest entry.
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected[1]))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0, atol=1e-5 * largest), found, expected)


@pytest.mark.slow
def test_a_padded_memory_changes_nothing():
    layer = L.multi_head_attention(2)
    x, memory = jnp.asarray(normal(3, 4, 6), jnp.float32), jnp.asarray(normal(3, 5, 6, seed=1), jnp.float32)
    lengths = jnp.array([5, 0, 2])
    params, state = layer.init(KEY, (x, memory))

    def attend(memory):
        return layer.apply(params, state, (x, dl.Ragged(memory, lengths)), train=False)[0]

    real = dl.Ragged(memory, lengths).mask()[:, :, None]
    clean, gradient = outcome(attend, memory)
    np.testing.assert_allclose(clean, attend(jnp.where(real, memory, 100.0)), rtol=1e-5, atol=1e-6)
    assert not jnp.where(real, 0, gradient).any()
    alone = layer.apply(params, state, (x[2:], memory[2:, :2]), train=False)[0]
    np.testing.assert_allclose(clean[2:], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("garbage", [np.nan, -np.inf])
def test_padding_that_is_not_finite_reaches_no_output_and_no_gradient(garbage):
    layer = L.multi_head_attention(2)
    x, lengths = jnp.asarray(normal(3, 4, 6), jnp.float32), jnp.array([4, 0, 2])
    real = dl.Ragged(x, lengths).mask()[:, :, None]
    params, state = layer.init(KEY, (x, x))

    def masked(params, x):
        return jnp.where(real, layer.apply(params, state, dl.Ragged(x, lengths), train=False)[0].x, 0)

    dirty = jnp.where(real, x, garbage)
    found, expected = outcome(masked, params, dirty), outcome(masked, params, x)
    jax.tree.map(np.testing.assert_array_equal, found, expected)

    def crossed(params, memory):
        return layer.apply(params, state, (x, dl.Ragged(memory, lengths)), train=False)[0]

    jax.tree.map(np.testing.assert_array_equal, outcome(crossed, params, dirty), outcome(crossed, params, x))


@pytest.mark.slow
@pytest.mark.parametrize("padding", [0.0, -1.0, 100.0])
def test_a_function_that_is_not_finite_at_padding_harms_nothing(padding):
    lengths = jnp.array([4, 0, 2])
    x = 1 + jnp.abs(jnp.asarray(normal(3, 4, 6), jnp.float32))
    real = dl.Ragged(x, lengths).mask()[:, :, None]
    layer = dl.sequential(L.prelu(), jnp.log, L.layer_norm(), L.multi_head_attention(2))
    params, state = layer.init(KEY, x)

    def attend(params, x):
        return jnp.where(real, layer.apply(params, state, dl.Ragged(x, lengths), train=False)[0].x, 0)

    found, expected = outcome(attend, params, jnp.where(real, x, padding)), outcome(attend, params, x)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.slow
def test_a_mask_of_any_pattern_is_a_bias_of_positions():
    def within_blocks(heads, queries, keys):
        same = queries[:, None, :, None] // 2 == keys[:, None, None, :] // 2
        return jnp.where(same, 0.0, -jnp.inf)

    layer = L.multi_head_attention(2, position_bias=within_blocks)
    x = jnp.asarray(normal(1, 4, 6), jnp.float32)
    params, state = layer.init(KEY, x)
    y, _ = layer.apply(params, state, x, train=False)
    halves, _ = layer.apply(params, state, x.reshape(2, 2, 6), train=False)
    np.testing.assert_allclose(y, halves.reshape(1, 4, 6), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_dropout_of_weights_needs_a_key_and_keeps_the_mean():
    layer = L.multi_head_attention(2, dropout=0.5)
    x = jnp.asarray(normal(1, 4, 6), jnp.float32)
    params, state = layer.init(KEY, x)
    with pytest.raises(ValueError, match=r"dropout\(rate=0.5\): train=True needs a key"):
        layer.apply(params, state, x, train=True)
    draws = jax.jit(jax.vmap(lambda key: layer.apply(params, state, x, train=True, key=key)[0]))(
        jax.random.split(KEY, 4000)
    )
    mean, _ = layer.apply(params, state, x, train=False)
    error = draws.std(axis=0) / math.sqrt(len(draws))
    assert (jnp.abs(draws.mean(axis=0) - mean) < 5 * error + 1e-6).all()
    assert not (draws[0] == draws[1]).all()


def test_multi_head_attention_says_what_is_wrong():
    x = jnp.ones((2, 3, 5))
    with pytest.raises(ValueError, match=r"multi_head_attention\(heads=0\): heads must be a positive int; got 0"):
        L.multi_head_attention(0)
    with pytest.raises(ValueError, match=r"kv_heads=3\): kv_heads must divide the 4 heads; got 3"):
        L.multi_head_attention(4, kv_heads=3)
    with pytest.raises(ValueError, match=r"head_features must be a positive int; got 0"):
        L.multi_head_attention(4, head_features=0)
    with pytest.raises(ValueError, match=r"window must be a positive int; got 0"):
        L.multi_head_attention(4, window=0)
    with pytest.raises(ValueError, match=r"dropout\(rate=1\): rate must be"):
        L.multi_head_attention(4, dropout=1)
    with pytest.raises(ValueError, match=r"must be a multiple of the 2 heads; got .* Did you mean head_features=2\?"):
        L.multi_head_attention(2).init(KEY, x)
    with pytest.raises(ValueError, match=r"input must have three axes, \(batch, time, features\); got float32\[3,5\]"):
        L.multi_head_attention(2).init(KEY, x[0])
    with pytest.raises(TypeError, match=r"input must be a sequence or a tuple \(x, memory\); got \(float32.*"):
        L.multi_head_attention(5).init(KEY, (x, x, x))
    with pytest.raises(ValueError, match=r"causal, window, rotate and position_bias are of one sequence.*in cross"):
        L.multi_head_attention(5, causal=True).init(KEY, (x, x))
    plain, causal = L.multi_head_attention(5), L.multi_head_attention(5, causal=True)
    params, state = plain.init(KEY, x)
    with pytest.raises(
        ValueError, match=r"self attention must be causal to read a sequence piece by piece; got causal=F"
    ):
        plain.prefill(params, state, x, length=4)
    with pytest.raises(ValueError, match=r"prefill's length must have room for the input's 3 positions; got 2"):
        causal.prefill(params, state, x, length=2)
    _, cache = causal.prefill(params, state, x, length=4)
    with pytest.raises(ValueError, match=r"decode must stay within 4 positions; got position 5. Did you mean prefill"):
        causal.decode(params, cache, x[:, :2])
    with pytest.raises(ValueError, match=r"the next piece must have the batch of the first, 2; got float32\[1,1,5\]"):
        causal.decode(params, cache, x[:1, :1])
    y, _ = jax.jit(causal.decode)(params, cache, x[:, :2])
    assert jnp.isfinite(y[:, 0]).all()
    assert jnp.isnan(y[:, 1]).all()


def test_attention_differentiates_forwards_as_well():
    with jax.enable_x64(True):
        x = jnp.asarray(normal(1, 3, 2, 2))
        check_grads(jax.jit(partial(F.attention, causal=True)), (x, x, x), order=1, modes=["fwd"])


@pytest.mark.slow
@pytest.mark.parametrize("causal", [False, True])
def test_the_closed_derivative_equals_that_of_weights_that_pass_through_a_function(causal):
    with jax.enable_x64(True):
        arguments = normal(2, 5, 4, 3), normal(2, 5, 2, 3, seed=1), normal(2, 5, 2, 2, seed=2)
        attend = partial(F.attention, causal=causal, lengths=jnp.array([5, 3]))
        found, expected = outcome(attend, *arguments), outcome(partial(attend, drop=lambda w: w), *arguments)
        for one, other in zip(found, expected, strict=True):
            assert_close(one, other, 1e-12)
        check_grads(jax.jit(attend), tuple(map(jnp.asarray, arguments)), order=2, modes=["rev"])
